/* balance.c: see balance.h. */
#include "core/train/balance.h"

#include <string.h>

#include "core/base/progress.h"
#include "core/train/pace.h"

/* Steps that are run and not counted (compilers finish, clocks rise); the least that are counted, and for how long; times that are kept. */
enum { WARM = 2, LEAST = 3, KEPT = 256 };
static const double least_seconds = 1;

/* ---- an exchange with nobody ---- */

static cdu_status sum_start(void *context, float *data, uint64_t count, uint32_t *request, cdu_error *error)
{
    (void)context, (void)data, (void)count, (void)error;
    *request = 0;
    return CDU_OK;
}

static cdu_status sum_test(void *context, uint32_t request, bool *done, cdu_error *error)
{
    (void)context, (void)request, (void)error;
    *done = true;
    return CDU_OK;
}

/* As if all ranks had the same rows. */
static cdu_status gather(void *context, const float *mine, uint32_t count, float *all, cdu_error *error)
{
    const cdu_team *team = context;
    (void)error;
    for (uint32_t r = 0; r < team->size; r++) memcpy(all + (size_t)r * count, mine, count * sizeof *mine);
    return CDU_OK;
}

static cdu_status before_update(void *context, void *patch, bool *done, cdu_error *error)
{
    (void)context, (void)patch, (void)error;
    *done = true;
    return CDU_OK;
}

static cdu_status run(const cdu_team *team, cdu_program *program, double *seconds, cdu_error *error)
{
    const cdu_exchanger nobody = {.context = (void *)team, .sum_start = sum_start, .sum_test = sum_test, .gather = gather,
                                  .before_update = before_update, .pause = cdu_collective_pause};
    struct cdu_sgd_shared_patch patch = {{0, 0}, 1}; /* a rate of 0: the weights stay */
    cdu_exchange_times times;
    double began = cdu_seconds();
    CDU_TRY(cdu_program_run_exchanging(program, &patch, sizeof patch, &nobody, &times, error));
    *seconds = cdu_seconds() - began;
    return CDU_OK;
}

cdu_status cdu_balance_measure(const cdu_team *team, cdu_program *program, uint32_t tiles, double *speed, cdu_error *error)
{
    const cdu_ranks *g = &team->group;
    double times[KEPT], ready = 1, began = 0;
    uint32_t request = 0;
    size_t count = 0;
    bool telling = false, done = false;
    for (uint32_t i = 0; i < WARM; i++) CDU_TRY(run(team, program, &times[0], error));
    CDU_TRY(g->kind->barrier(g->group, error));
    for (began = cdu_seconds(); !done; count++) {
        CDU_TRY(run(team, program, &times[count % KEPT], error));
        if (telling) {
            CDU_TRY(g->kind->reduce_test(g->group, request, &done, error));
        } else if (count + 1 >= LEAST && cdu_seconds() - began >= least_seconds) {
            CDU_TRY(g->kind->reduce_start(g->group, CDU_REDUCE_SUM_F64, &ready, 1, &request, error));
            telling = true;
        }
    }
    *speed = tiles / cdu_median(times, count < KEPT ? count : KEPT);
    return CDU_OK;
}

void cdu_balance_shares(const cdu_balance_rank *ranks, uint32_t size, uint32_t batch, uint32_t parts, uint32_t *shares)
{
    uint32_t given = 0;
    for (uint32_t i = 0; i < size; i++, given += parts) shares[i] = parts;
    for (; given + parts <= batch; given += parts) {
        uint32_t first = size;
        double soonest = 0;
        for (uint32_t i = 0; i < size; i++) {
            double seconds = (shares[i] + parts) / ranks[i].speed;
            if (shares[i] + parts > ranks[i].most || (first < size && seconds >= soonest)) continue;
            first = i;
            soonest = seconds;
        }
        if (first == size) return;
        shares[first] += parts;
    }
}
