/* group.c: the collective contract, run alone (solo) or under mpiexec (mpi): the same program, each rank checks what it sees.
 * Usage: test_dist KIND [stall]. A plain program instead of Criterion, whose processes for each test MPI does not survive. */
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
    for (int i = 0; i < 3; i++) CHECK(precise[i] == ranks);
    CHECK(flags[0] == 1 && flags[1] == 0);

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

/* The last rank never comes: the others must notice at the deadline and end everyone. */
static void stall(uint32_t rank, uint32_t size)
{
    cdu_error error = {0};
    float value = 1;
    if (rank == size - 1) pause();
    double began = cdu_seconds();
    cdu_status status = cdu_collective_reduce(kind, group, CDU_REDUCE_SUM_F32, &value, 1, &error);
    CHECK(status == CDU_RANK_SILENT && strstr(error.words, "waited"));
    CHECK(cdu_seconds() - began < 4);
    kind->abort(group, failures ? CDU_FAILED : CDU_RANK_SILENT);
}

int main(int argc, char **argv)
{
    cdu_error error = {0};
    const cdu_collective_kind *none = NULL;
    bool stalling = argc > 2 && !strcmp(argv[2], "stall");
    CHECK(cdu_collective_find("carrier-pigeon", &none, &error) == CDU_USAGE && strstr(error.words, "solo"));
    if (cdu_collective_find(argc > 1 ? argv[1] : "solo", &kind, &error) != CDU_OK ||
        kind->open(stalling ? 2 : 30, &group, &error) != CDU_OK) {
        fprintf(stderr, "%s\n", error.words);
        return (int)error.status;
    }
    uint32_t rank = kind->rank(group), size = kind->size(group);
    const char *expected = getenv("EXPECTED_RANKS");
    CHECK(!expected || size == (uint32_t)atoi(expected));
    if (stalling) stall(rank, size);
    check_reductions(rank, size);
    check_broadcast(rank, size);
    kind->close(group);
    return failures ? 1 : 0;
}
