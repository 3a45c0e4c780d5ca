/* collective.c: what all kinds of groups share. */
#include "dist/collective.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const cdu_collective_kind *const kinds[] = {
    &cdu_collective_solo,
#ifdef CDUNET_MPI
    &cdu_collective_mpi,
#endif
};

cdu_status cdu_collective_find(const char *name, const cdu_collective_kind **out, cdu_error *error)
{
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (!strcmp(kinds[i]->name, name)) {
            *out = kinds[i];
            return CDU_OK;
        }
#ifdef CDUNET_MPI
    return cdu_fail(error, CDU_USAGE, "there is no collective '%s'; known are solo and mpi", name);
#else
    return cdu_fail(error, CDU_USAGE, "this build has no collective '%s', only solo; build with -DCDUNET_MPI=ON for mpi", name);
#endif
}

size_t cdu_reduction_bytes(cdu_reduction reduction)
{
    return reduction == CDU_REDUCE_SUM_F64 ? 8 : 4;
}

cdu_status cdu_collective_reduce(const cdu_collective_kind *kind, cdu_collective *group, cdu_reduction reduction, void *data,
                                 size_t count, cdu_error *error)
{
    uint32_t request = 0, round = 0;
    bool done = false;
    CDU_TRY(kind->reduce_start(group, reduction, data, count, &request, error));
    for (;;) {
        CDU_TRY(kind->reduce_test(group, request, &done, error));
        if (done) return CDU_OK;
        cdu_collective_pause(&round);
    }
}

void cdu_collective_pause(uint32_t *round)
{
    enum { YIELDS = 32, SHORTEST = 10000, LONGEST = 200000 };
    uint32_t at = (*round)++;
    long sleep = at < YIELDS ? 0 : (at - YIELDS + 1) * SHORTEST;
    if (!sleep) sched_yield();
    else nanosleep(&(struct timespec){.tv_nsec = sleep < LONGEST ? sleep : LONGEST}, NULL);
}

bool cdu_ranks_started(void)
{
    static const char *const variables[] = {"PMI_RANK", "PMI_FD", "PMI_PORT", "PMIX_RANK"};
    for (size_t i = 0; i < sizeof variables / sizeof *variables; i++)
        if (getenv(variables[i])) return true;
    return false;
}

cdu_status cdu_ranks_open(double deadline_seconds, cdu_ranks *out, cdu_error *error)
{
    bool several = cdu_ranks_started();
    *out = (cdu_ranks){0};
    if (!several && getenv("OMPI_COMM_WORLD_SIZE"))
        return cdu_fail(error, CDU_USAGE, "the mpiexec that started this is Open MPI's; cdunet works with MPICH's (Debian: mpiexec.mpich)");
    CDU_TRY(cdu_collective_find(several ? "mpi" : "solo", &out->kind, error));
    CDU_TRY(out->kind->open(deadline_seconds, &out->group, error));
    out->rank = out->kind->rank(out->group);
    out->size = out->kind->size(out->group);
    return CDU_OK;
}
