/* solo.c: a group of one rank: every reduction is done as soon as it starts. */
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "dist/collective.h"

struct cdu_collective { char unused; };

static cdu_status solo_open(double deadline_seconds, cdu_collective **out, cdu_error *error)
{
    (void)deadline_seconds;
    return cdu_allocate(out, 1, sizeof(cdu_collective), error);
}

static void solo_close(cdu_collective *group)
{
    free(group);
}

static uint32_t solo_rank(const cdu_collective *group)
{
    (void)group;
    return 0;
}

static uint32_t solo_size(const cdu_collective *group)
{
    (void)group;
    return 1;
}

static cdu_status solo_reduce_start(cdu_collective *group, cdu_reduction reduction, void *data, size_t count, uint32_t *request,
                                    cdu_error *error)
{
    (void)group, (void)reduction, (void)data, (void)count, (void)error;
    *request = 0;
    return CDU_OK;
}

static cdu_status solo_reduce_test(cdu_collective *group, uint32_t request, bool *done, cdu_error *error)
{
    (void)group, (void)request, (void)error;
    *done = true;
    return CDU_OK;
}

static cdu_status solo_broadcast(cdu_collective *group, void *data, size_t bytes, uint32_t root, cdu_error *error)
{
    (void)group, (void)data, (void)bytes;
    if (root != 0) return cdu_fail(error, CDU_FAILED, "broadcast from rank %u in a group of one", root);
    return CDU_OK;
}

static cdu_status solo_barrier(cdu_collective *group, cdu_error *error)
{
    (void)group, (void)error;
    return CDU_OK;
}

static cdu_status solo_gather(cdu_collective *group, const void *mine, size_t bytes, void *all, cdu_error *error)
{
    (void)group, (void)error;
    memcpy(all, mine, bytes);
    return CDU_OK;
}

static void solo_abort(cdu_collective *group, cdu_status status)
{
    (void)group;
    exit((int)status);
}

const cdu_collective_kind cdu_collective_solo = {
    "solo", solo_open, solo_close, solo_rank, solo_size, solo_reduce_start, solo_reduce_test, solo_broadcast, solo_barrier, solo_gather,
    solo_abort,
};
