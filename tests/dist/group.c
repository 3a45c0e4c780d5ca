/* group.c: the collective contract, run alone (solo) or under mpiexec (mpi): the same program, each rank checks what it sees.
 * Usage: test_dist KIND [stall | stall-without-deadline], the last with a group that does not give up, for the check to find. A plain program instead of Criterion, whose processes for each test MPI does not survive. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/progress.h"
#include "dist/collective.h"

static const cdu_collective_kind *kind;
static cdu_collective *group;
static int failures;

#define CHECK(condition)                                                                                    \
    do {                                                                                                    \
        if (!(condition)) {                                                                                 \
            fprintf(stderr, "%s:%d: not so: %s (%s)\n", __FILE__, __LINE__, #condition, error.words);       \
            failures++;                                                                                     \
        }                                                                                                   \
    } while (0)

static void check_reductions(uint32_t rank, uint32_t size)
{
    cdu_error error = {0};
    float sums[1000], again[1000];
    double precise[3];
    uint32_t flags[2] = {rank == size - 1, 0};
    for (int i = 0; i < 1000; i++) sums[i] = again[i] = (float)i + 0.1f * (float)(rank + 1);
    for (int i = 0; i < 3; i++) precise[i] = (double)(rank + 1);
    CHECK(cdu_collective_reduce(kind, group, CDU_REDUCE_SUM_F32, sums, 1000, &error) == CDU_OK);
    CHECK(cdu_collective_reduce(kind, group, CDU_REDUCE_SUM_F32, again, 1000, &error) == CDU_OK);
    CHECK(cdu_collective_reduce(kind, group, CDU_REDUCE_SUM_F64, precise, 3, &error) == CDU_OK);
    CHECK(cdu_collective_reduce(kind, group, CDU_REDUCE_MAX_U32, flags, 2, &error) == CDU_OK);
    double ranks = (double)size * (size + 1) / 2;
    for (int i = 0; i < 1000; i++) CHECK(fabs((double)sums[i] - (size * (double)i + 0.1 * ranks)) < 1e-3);
    CHECK(memcmp(sums, again, sizeof sums) == 0);
    for (int i = 0; i < 1000; i++) { /* in the order of ranks, in double, rounded once */
        double exact = 0;
        for (uint32_t r = 0; r < size; r++) exact += (double)((float)i + 0.1f * (float)(r + 1));
        CHECK(sums[i] == (float)exact);
    }
    uint32_t own = rank + 7, all[64] = {0};
    CHECK(size <= 64 && kind->gather(group, &own, sizeof own, all, &error) == CDU_OK);
    for (uint32_t r = 0; r < size; r++) CHECK(all[r] == r + 7);
    for (int i = 0; i < 3; i++) CHECK(precise[i] == ranks);
    CHECK(flags[0] == 1 && flags[1] == 0);

    /* large ones, several at once: their second halves begin in an order that is each rank's own */
    enum { MANY = 12, LARGE = 40000 };
    static float large[MANY][LARGE];
    uint32_t requests[MANY];
    bool ended[MANY] = {false};
    for (int k = 0; k < MANY; k++) {
        for (int i = 0; i < LARGE; i++) large[k][i] = (float)(k + 1) * (float)(rank + 1) + (float)(i % 7);
        CHECK(kind->reduce_start(group, CDU_REDUCE_SUM_F32, large[k], LARGE, &requests[k], &error) == CDU_OK);
    }
    for (int left = MANY, round = 0; left && !failures; round++) {
        int k = rank % 2 ? round % MANY : MANY - 1 - round % MANY;
        if (ended[k]) continue;
        CHECK(kind->reduce_test(group, requests[k], &ended[k], &error) == CDU_OK);
        left -= ended[k];
    }
    for (int k = 0; k < MANY; k++)
        for (int i = 0; i < LARGE; i += 97) CHECK(large[k][i] == (float)((k + 1) * ranks + (double)size * (i % 7)));

    /* two at once, asked for in the other order */
    float a[8], b[8];
    uint32_t first = 0, second = 0;
    bool first_done = false, second_done = false;
    for (int i = 0; i < 8; i++) a[i] = 1, b[i] = 2;
    CHECK(kind->reduce_start(group, CDU_REDUCE_SUM_F32, a, 8, &first, &error) == CDU_OK);
    CHECK(kind->reduce_start(group, CDU_REDUCE_SUM_F32, b, 8, &second, &error) == CDU_OK);
    while (!second_done && !failures) CHECK(kind->reduce_test(group, second, &second_done, &error) == CDU_OK);
    while (!first_done && !failures) CHECK(kind->reduce_test(group, first, &first_done, &error) == CDU_OK);
    CHECK(a[3] == (float)size && b[3] == 2 * (float)size);
}

static void check_broadcast(uint32_t rank, uint32_t size)
{
    cdu_error error = {0};
    char text[32];
    snprintf(text, sizeof text, "from rank %u", rank);
    CHECK(kind->broadcast(group, text, sizeof text, size - 1, &error) == CDU_OK);
    char expected[32];
    snprintf(expected, sizeof expected, "from rank %u", size - 1);
    CHECK(!strcmp(text, expected));
    CHECK(kind->barrier(group, &error) == CDU_OK);
}

/* The planted fault. */
static const cdu_collective_kind *sound;

static cdu_status never_give_up(cdu_collective *any, uint32_t request, bool *done, cdu_error *error)
{
    cdu_status status = sound->reduce_test(any, request, done, error);
    if (status == CDU_RANK_SILENT) *done = false;
    return status == CDU_RANK_SILENT ? CDU_OK : status;
}

/* What a reduction comes to within 8 seconds; CDU_TRY_AGAIN where it comes to nothing. */
static cdu_status reduce_for_a_while(float *value, cdu_error *error)
{
    uint32_t request = 0, round = 0;
    bool done = false;
    double began = cdu_seconds();
    cdu_status status = kind->reduce_start(group, CDU_REDUCE_SUM_F32, value, 1, &request, error);
    while (status == CDU_OK && !done && cdu_seconds() - began < 8) {
        status = kind->reduce_test(group, request, &done, error);
        cdu_collective_pause(&round);
    }
    return status == CDU_OK && !done ? cdu_fail(error, CDU_TRY_AGAIN, "no end") : status;
}

/* The last rank never comes: the others must notice at the deadline and end everyone. */
static void stall(uint32_t rank, uint32_t size)
{
    cdu_error error = {0};
    float value = 1;
    if (rank == size - 1) pause();
    double began = cdu_seconds();
    cdu_status status = reduce_for_a_while(&value, &error);
    CHECK(status == CDU_RANK_SILENT && strstr(error.words, "waited"));
    CHECK(cdu_seconds() - began < 4);
    kind->abort(group, failures ? CDU_FAILED : CDU_RANK_SILENT);
}

int main(int argc, char **argv)
{
    cdu_error error = {0};
    const cdu_collective_kind *none = NULL;
    bool stalling = argc > 2 && !strncmp(argv[2], "stall", 5);
    CHECK(cdu_collective_find("carrier-pigeon", &none, &error) == CDU_USAGE && strstr(error.words, "solo"));
    if (cdu_collective_find(argc > 1 ? argv[1] : "solo", &kind, &error) != CDU_OK ||
        kind->open(stalling ? 2 : 30, &group, &error) != CDU_OK) {
        fprintf(stderr, "%s\n", error.words);
        return (int)error.status;
    }
    uint32_t rank = kind->rank(group), size = kind->size(group);
    const char *expected = getenv("EXPECTED_RANKS");
    CHECK(!expected || size == (uint32_t)atoi(expected));
    static cdu_collective_kind faulty;
    if (stalling && argv[2][5]) {
        sound = kind;
        faulty = *kind;
        faulty.reduce_test = never_give_up;
        kind = &faulty;
    }
    if (stalling) stall(rank, size);
    check_reductions(rank, size);
    check_broadcast(rank, size);
    kind->close(group);
    return failures ? 1 : 0;
}
