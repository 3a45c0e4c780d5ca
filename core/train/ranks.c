/* ranks.c: see ranks.h. */
#include "core/train/ranks.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "core/base/memory.h"
#include "core/base/progress.h"

enum { FACTS_LIMIT = 4096, WORDS_LIMIT = 600 };

void cdu_team_begin(cdu_team *team, const cdu_ranks *group)
{
    *team = (cdu_team){.size = 1};
    if (group && group->size > 1) *team = (cdu_team){.group = *group, .rank = group->rank, .size = group->size};
}

void cdu_team_end(cdu_team *team)
{
    free(team->shares);
    free(team->told);
    free(team->names);
    team->names = NULL;
    team->shares = NULL;
    team->told = NULL;
}

/* ---- shares ---- */

static void place(cdu_team *team)
{
    team->batch = team->first = 0;
    for (uint32_t i = 0; i < team->size; i++) {
        if (i == team->rank) team->first = team->batch;
        team->batch += team->shares[i];
    }
    team->share = team->shares[team->rank];
}

static cdu_status prepare_shares(cdu_team *team, cdu_error *error)
{
    free(team->shares);
    team->shares = NULL;
    return cdu_allocate(&team->shares, team->size, sizeof *team->shares, error);
}

cdu_status cdu_team_share(cdu_team *team, const char *shares, uint32_t each, uint32_t parts, cdu_error *error)
{
    CDU_TRY(prepare_shares(team, error));
    const char *at = shares;
    for (uint32_t i = 0; i < team->size; i++) {
        char *end = NULL;
        unsigned long value = at ? strtoul(at, &end, 10) : each;
        bool last = i + 1 == team->size;
        if (at && (*at < '0' || *at > '9' || *end != (last ? 0 : ',')))
            return cdu_fail(error, CDU_USAGE, "--shares %s: %u ranks need %u numbers with commas between them", shares, team->size, team->size);
        if (!value || value > 65536)
            return cdu_fail(error, CDU_USAGE, "rank %u would have %lu tiles a step; it must be 1 to 65536", i, value);
        if (value % parts)
            return cdu_fail(error, CDU_USAGE, "the %lu tiles of rank %u cannot be done in %u equal parts: train.accumulate must divide them",
                            value, i, parts);
        team->shares[i] = (uint32_t)value;
        if (at) at = end + 1;
    }
    place(team);
    return CDU_OK;
}

cdu_status cdu_team_share_as_told(cdu_team *team, const uint32_t *shares, cdu_error *error)
{
    uint32_t *told;
    CDU_TRY(cdu_allocate(&told, team->size, sizeof *told, error));
    memcpy(told, shares, team->size * sizeof *told);
    cdu_status status = cdu_team_tell(team, told, team->size * sizeof *told, error);
    if (status == CDU_OK) status = prepare_shares(team, error);
    if (status == CDU_OK) memcpy(team->shares, told, team->size * sizeof *told);
    if (status == CDU_OK) place(team);
    free(told);
    return status;
}

cdu_status cdu_team_share_evenly(cdu_team *team, uint32_t batch, uint32_t parts, cdu_error *error)
{
    uint32_t units = batch / parts;
    CDU_TRY(prepare_shares(team, error));
    if (batch % parts || units < team->size)
        return cdu_fail(error, CDU_USAGE, "a batch of %u tiles in %u parts cannot be shared by %u ranks: each needs a tile in each part", batch,
                        parts, team->size);
    for (uint32_t i = 0; i < team->size; i++) team->shares[i] = (units / team->size + (i < units % team->size)) * parts;
    place(team);
    return CDU_OK;
}

/* ---- before step 1 ---- */

typedef struct {
    int32_t status;
    char words[WORDS_LIMIT], facts[FACTS_LIMIT];
} report;

/* The first pair in which two texts of facts differ. */
static cdu_status refuse_difference(const report *a, const report *b, uint32_t rank, cdu_error *error)
{
    const char *x = a->facts, *y = b->facts;
    while (*x && *x == *y) x++, y++;
    while (x > a->facts && x[-1] != ' ') x--, y--;
    return cdu_fail(error, CDU_USAGE, "rank 0 has %.*s, rank %u has %.*s: all ranks must have the same study, slides, settings and program",
                    (int)strcspn(x, " "), x, rank, (int)strcspn(y, " "), y);
}

static cdu_status judge(const report *all, uint32_t size, cdu_error *error)
{
    uint32_t failed = 0, first = size;
    bool alike = true;
    for (uint32_t i = 0; i < size; i++) {
        if (all[i].status == CDU_OK) continue;
        failed++;
        if (first == size) first = i;
        alike = alike && all[i].status == all[first].status && !strcmp(all[i].words, all[first].words);
    }
    if (failed == size && alike) return cdu_fail(error, (cdu_status)all[first].status, "%s", all[first].words);
    if (failed) return cdu_fail(error, (cdu_status)all[first].status, "rank %u: %s", first, all[first].words);
    for (uint32_t i = 1; i < size; i++)
        if (strcmp(all[0].facts, all[i].facts) != 0) return refuse_difference(&all[0], &all[i], i, error);
    return CDU_OK;
}

cdu_status cdu_team_agree(cdu_team *team, cdu_status mine, const char *facts, cdu_error *error)
{
    if (team->size == 1) return mine;
    report *all;
    CDU_TRY(cdu_allocate(&all, (size_t)team->size + 1, sizeof *all, error));
    report *own = &all[team->size];
    own->status = (int32_t)mine;
    snprintf(own->words, sizeof own->words, "%s", mine != CDU_OK && error ? error->words : "");
    snprintf(own->facts, sizeof own->facts, "%s", mine == CDU_OK && facts ? facts : "");
    cdu_status status = team->group.kind->gather(team->group.group, own, sizeof *own, all, error);
    if (status == CDU_OK) {
        status = judge(all, team->size, error);
        team->agreed = status != CDU_OK;
    }
    free(all);
    return status;
}

cdu_status cdu_team_tell(const cdu_team *team, void *data, size_t bytes, cdu_error *error)
{
    return team->size == 1 ? CDU_OK : team->group.kind->broadcast(team->group.group, data, bytes, 0, error);
}

cdu_status cdu_team_spread(const cdu_team *team, cdu_program *program, cdu_error *error)
{
    static const cdu_arena arenas[] = {CDU_ARENA_PARAMETERS, CDU_ARENA_MOMENTUM, CDU_ARENA_STATES};
    for (size_t a = 0; a < sizeof arenas / sizeof *arenas && team->size > 1; a++) {
        uint64_t count = cdu_program_arena_elements(program, arenas[a]);
        float *values;
        CDU_TRY(cdu_allocate(&values, count, sizeof *values, error));
        cdu_status status = cdu_program_read_arena(program, arenas[a], values, error);
        if (status == CDU_OK) status = cdu_team_tell(team, values, count * sizeof *values, error);
        if (status == CDU_OK) status = cdu_program_write_arena(program, arenas[a], values, error);
        free(values);
        CDU_TRY(status);
    }
    return CDU_OK;
}

/* ---- in and after steps ---- */

cdu_status cdu_team_tell_all(cdu_team *team, const double mine[CDU_TOLD], bool *done, cdu_error *error)
{
    const cdu_collective_kind *kind = team->group.kind;
    size_t count = (size_t)team->size * CDU_TOLD;
    *done = team->size == 1;
    if (!team->told) CDU_TRY(cdu_allocate(&team->told, count, sizeof *team->told, error));
    if (!team->telling) {
        /* as a sum, which goes on beside others: every rank has zeros but in its own row */
        for (size_t i = 0; i < count; i++) team->told[i] = 0;
        memcpy(team->told + (size_t)team->rank * CDU_TOLD, mine, CDU_TOLD * sizeof *mine);
        if (team->size == 1) return CDU_OK;
        CDU_TRY(kind->reduce_start(team->group.group, CDU_REDUCE_SUM_F64, team->told, count, &team->request, error));
        team->telling = true;
        return CDU_OK;
    }
    CDU_TRY(kind->reduce_test(team->group.group, team->request, done, error));
    team->telling = !*done;
    return CDU_OK;
}

double cdu_team_told(const cdu_team *team, uint32_t column)
{
    double sum = 0;
    for (uint32_t i = 0; i < team->size; i++) sum += team->told[i * CDU_TOLD + column];
    return sum;
}

uint32_t cdu_team_wishes(const cdu_team *team)
{
    uint32_t wishes = 0;
    for (uint32_t i = 0; i < team->size; i++) wishes |= (uint32_t)team->told[i * CDU_TOLD + CDU_TOLD_WISHES];
    return wishes;
}

cdu_status cdu_team_sum(const cdu_team *team, double *values, size_t count, cdu_error *error)
{
    if (team->size == 1) return CDU_OK;
    return cdu_collective_reduce(team->group.kind, team->group.group, CDU_REDUCE_SUM_F64, values, count, error);
}

cdu_status cdu_team_sum_confusion(const cdu_team *team, cdu_confusion *confusion, cdu_error *error)
{
    enum { CELLS = CDU_CLASS_LIMIT * CDU_CLASS_LIMIT };
    double cells[CELLS];
    uint64_t *count = &confusion->pixels[0][0];
    if (team->size == 1) return CDU_OK;
    for (size_t i = 0; i < CELLS; i++) cells[i] = (double)count[i]; /* exact up to 2^53 pixels */
    CDU_TRY(cdu_team_sum(team, cells, CELLS, error));
    for (size_t i = 0; i < CELLS; i++) count[i] = (uint64_t)cells[i];
    return CDU_OK;
}

cdu_status cdu_team_join_states(const cdu_team *team, cdu_program *program, cdu_error *error)
{
    uint64_t count = cdu_program_arena_elements(program, CDU_ARENA_STATES);
    if (team->size == 1 || !count) return CDU_OK;
    float *values;
    double *weighted = NULL;
    CDU_TRY(cdu_allocate(&values, count, sizeof *values, error));
    cdu_status status = cdu_allocate(&weighted, count, sizeof *weighted, error);
    if (status == CDU_OK) status = cdu_program_read_arena(program, CDU_ARENA_STATES, values, error);
    for (uint64_t i = 0; status == CDU_OK && i < count; i++) weighted[i] = (double)values[i] * team->share;
    if (status == CDU_OK) status = cdu_team_sum(team, weighted, count, error);
    for (uint64_t i = 0; status == CDU_OK && i < count; i++) values[i] = (float)(weighted[i] / team->batch);
    if (status == CDU_OK) status = cdu_program_write_arena(program, CDU_ARENA_STATES, values, error);
    free(weighted);
    free(values);
    return status;
}

static uint64_t elements_of(const cdu_weight *weight)
{
    uint64_t count = 1;
    for (uint32_t d = 0; d < weight->rank; d++) count *= weight->dims[d];
    return count;
}

cdu_status cdu_team_compare(const cdu_team *team, const cdu_weights *weights, const float *momentum, uint64_t elements, uint64_t step,
                            uint64_t *hash, cdu_error *error)
{
    size_t count = weights->count + 1;
    uint64_t *all;
    if (team->size == 1) return CDU_OK;
    CDU_TRY(cdu_allocate(&all, (team->size + 1) * count, sizeof *all, error));
    uint64_t *own = all + team->size * count;
    for (size_t i = 0; i < weights->count; i++)
        own[i] = XXH64(weights->items[i].data, elements_of(&weights->items[i]) * sizeof(float), 0);
    own[weights->count] = XXH64(momentum, elements * sizeof(float), 0);
    *hash = XXH64(own, count * sizeof *own, 0);
    cdu_status status = team->group.kind->gather(team->group.group, own, count * sizeof *own, all, error);
    for (uint32_t rank = 1; status == CDU_OK && rank < team->size; rank++)
        for (size_t i = 0; status == CDU_OK && i < count; i++)
            if (all[rank * count + i] != all[i])
                status = cdu_fail(error, CDU_FAILED, "step %" PRIu64 ": %s of rank %u is not that of rank 0 (%016" PRIx64 ", %016" PRIx64
                                  "): no checkpoint is written, the last good one is kept", step,
                                  i < weights->count ? weights->items[i].name : "the momentum", rank, all[rank * count + i], all[i]);
    free(all);
    return status;
}

/* ---- a step ---- */

struct cdu_team_running {
    const cdu_team_part *part;
    bool read;
    double mine[CDU_TOLD];
    float *loss;
    const cdu_exchange_times *times;
};

static cdu_status sum_start(void *context, float *data, uint64_t count, uint32_t *request, cdu_error *error)
{
    const cdu_team *team = context;
    return team->group.kind->reduce_start(team->group.group, CDU_REDUCE_SUM_F32, data, count, request, error);
}

static cdu_status sum_test(void *context, uint32_t request, bool *done, cdu_error *error)
{
    const cdu_team *team = context;
    return team->group.kind->reduce_test(team->group.group, request, done, error);
}

static cdu_status gather(void *context, const float *mine, uint32_t count, float *all, cdu_error *error)
{
    const cdu_team *team = context;
    return team->group.kind->gather(team->group.group, mine, count * sizeof(float), all, error);
}

/* Losses and sums of weights go round. What is divided by is known only now. */
static cdu_status settle(void *context, void *patch, bool *done, cdu_error *error)
{
    cdu_team *team = context;
    struct cdu_team_running *r = team->running;
    if (!r->read) {
        float loss[4];
        CDU_TRY(cdu_program_read(r->part->program, r->part->loss, loss, error));
        r->read = true;
        r->mine[CDU_TOLD_BUSY] = cdu_seconds() - r->part->began - r->times->gathering;
        bool bad = !isfinite(loss[1]);
        r->mine[CDU_TOLD_LOSS] = bad ? 0 : (double)loss[1];
        r->mine[CDU_TOLD_DIVISOR] = (double)loss[2];
        r->mine[CDU_TOLD_BAD] = bad;
        r->mine[CDU_TOLD_WISHES] = r->part->wishes ? r->part->wishes(r->part->context) : 0;
    }
    CDU_TRY(cdu_team_tell_all(team, r->mine, done, error));
    if (!*done) return CDU_OK;
    double pixels = (double)r->part->pixels, divisor = r->part->mean_of_pixels ? pixels : cdu_team_told(team, CDU_TOLD_DIVISOR);
    bool bad = cdu_team_told(team, CDU_TOLD_BAD) > 0;
    struct cdu_sgd_shared_patch *sgd = patch;
    sgd->scale = divisor > 0 ? (float)(pixels / divisor) : 0;
    if (bad) sgd->plain.rate = 0;
    *r->loss = bad ? NAN : divisor > 0 ? (float)(cdu_team_told(team, CDU_TOLD_LOSS) / divisor) : 0;
    return CDU_OK;
}

cdu_status cdu_team_run(cdu_team *team, const cdu_team_part *part, struct cdu_sgd_patch patch, float *loss, cdu_exchange_times *times,
                        cdu_error *error)
{
    struct cdu_team_running r = {.part = part, .loss = loss, .times = times};
    const cdu_exchanger exchanger = {.context = team, .sum_start = sum_start, .sum_test = sum_test, .gather = gather,
                                     .before_update = settle, .pause = cdu_collective_pause};
    struct cdu_sgd_shared_patch shared = {patch, 1};
    team->running = &r;
    cdu_status status = cdu_program_run_exchanging(part->program, &shared, sizeof shared, &exchanger, times, error);
    team->running = NULL;
    return status == CDU_OK ? cdu_team_join_states(team, part->program, error) : status;
}

bool cdu_team_others_bad(const cdu_team *team)
{
    return team->size > 1 && cdu_team_told(team, CDU_TOLD_BAD) > 0 && !(team->told[team->rank * CDU_TOLD + CDU_TOLD_BAD] > 0);
}
