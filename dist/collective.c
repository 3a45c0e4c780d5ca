/* collective.c: what all kinds of groups share. */
#include "dist/collective.h"

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
    uint32_t request = 0;
    bool done = false;
    CDU_TRY(kind->reduce_start(group, reduction, data, count, &request, error));
    for (;;) {
        CDU_TRY(kind->reduce_test(group, request, &done, error));
        if (done) return CDU_OK;
        nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
    }
}
