/* mpi.c: a group of ranks over MPICH. Reductions and meeting points are the non-blocking calls, polled up to a deadline, since a
 * stopped rank would hang a blocking one for ever. Leaves out buckets and overlap: those are the caller's. */
#include <limits.h>
#include <mpi.h>
#include <stdlib.h>
#include <time.h>

#include "core/base/memory.h"
#include "core/base/progress.h"
#include "dist/collective.h"

typedef struct { MPI_Request handle; double began; bool used; } running;
struct cdu_collective {
    int rank, size;
    double deadline;
    bool initialized_here;
    running requests[CDU_REDUCTIONS_RUNNING];
};

static cdu_status mpi_fail(int code, const char *what, cdu_error *error)
{
    char text[MPI_MAX_ERROR_STRING] = "";
    int length = 0;
    MPI_Error_string(code, text, &length);
    return cdu_fail(error, CDU_RANK_SILENT, "MPI: %s failed: %s", what, text);
}

static cdu_status silent(const cdu_collective *group, const char *what, cdu_error *error)
{
    return cdu_fail(error, CDU_RANK_SILENT, "rank %d of %d waited %.0f s for the others at %s; one of them has stopped or died",
                    group->rank, group->size, group->deadline, what);
}

static cdu_status mpi_open(double deadline_seconds, cdu_collective **out, cdu_error *error)
{
    int there = 0, provided = 0;
    CDU_TRY(cdu_allocate(out, 1, sizeof(cdu_collective), error));
    cdu_collective *group = *out;
    group->deadline = deadline_seconds > 0 ? deadline_seconds : 600;
    MPI_Initialized(&there);
    int code = there ? MPI_SUCCESS : MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &provided);
    if (code != MPI_SUCCESS) {
        free(group);
        *out = NULL;
        return cdu_fail(error, CDU_RANK_SILENT, "MPI cannot start (code %d)", code);
    }
    group->initialized_here = !there;
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    MPI_Comm_rank(MPI_COMM_WORLD, &group->rank);
    MPI_Comm_size(MPI_COMM_WORLD, &group->size);
    return CDU_OK;
}

static void mpi_close(cdu_collective *group)
{
    if (!group) return;
    if (group->initialized_here) MPI_Finalize();
    free(group);
}

static uint32_t mpi_rank(const cdu_collective *group)
{
    return (uint32_t)group->rank;
}

static uint32_t mpi_size(const cdu_collective *group)
{
    return (uint32_t)group->size;
}

static cdu_status mpi_reduce_start(cdu_collective *group, cdu_reduction reduction, void *data, size_t count, uint32_t *request,
                                   cdu_error *error)
{
    static const struct { MPI_Datatype type; MPI_Op operation; } rows[] = {
        [CDU_REDUCE_SUM_F32] = {MPI_FLOAT, MPI_SUM},
        [CDU_REDUCE_SUM_F64] = {MPI_DOUBLE, MPI_SUM},
        [CDU_REDUCE_MAX_U32] = {MPI_UINT32_T, MPI_MAX},
    };
    uint32_t slot = 0;
    if (count > INT_MAX) return cdu_fail(error, CDU_FAILED, "reduction of %zu elements; at most %d go at once", count, INT_MAX);
    while (slot < CDU_REDUCTIONS_RUNNING && group->requests[slot].used) slot++;
    if (slot == CDU_REDUCTIONS_RUNNING)
        return cdu_fail(error, CDU_FAILED, "more than %d reductions are under way", CDU_REDUCTIONS_RUNNING);
    running *r = &group->requests[slot];
    int code = MPI_Iallreduce(MPI_IN_PLACE, data, (int)count, rows[reduction].type, rows[reduction].operation, MPI_COMM_WORLD,
                              &r->handle);
    if (code != MPI_SUCCESS) return mpi_fail(code, "reduction", error);
    r->used = true;
    r->began = cdu_seconds();
    *request = slot;
    return CDU_OK;
}

static cdu_status mpi_reduce_test(cdu_collective *group, uint32_t request, bool *done, cdu_error *error)
{
    if (request >= CDU_REDUCTIONS_RUNNING || !group->requests[request].used)
        return cdu_fail(error, CDU_FAILED, "reduction %u is not under way", request);
    running *r = &group->requests[request];
    int flag = 0, code = MPI_Test(&r->handle, &flag, MPI_STATUS_IGNORE);
    if (code != MPI_SUCCESS) return mpi_fail(code, "reduction", error);
    if (!flag && cdu_seconds() - r->began > group->deadline) return silent(group, "a reduction", error);
    if (flag) r->used = false;
    *done = flag != 0;
    return CDU_OK;
}

static cdu_status wait_for(cdu_collective *group, MPI_Request *handle, const char *what, cdu_error *error)
{
    double began = cdu_seconds();
    for (;;) {
        int flag = 0, code = MPI_Test(handle, &flag, MPI_STATUS_IGNORE);
        if (code != MPI_SUCCESS) return mpi_fail(code, what, error);
        if (flag) return CDU_OK;
        if (cdu_seconds() - began > group->deadline) return silent(group, what, error);
        nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
    }
}

static cdu_status mpi_broadcast(cdu_collective *group, void *data, size_t bytes, uint32_t root, cdu_error *error)
{
    enum { PIECE = 1 << 28 };
    for (size_t at = 0; at < bytes; at += PIECE) {
        MPI_Request handle;
        size_t size = bytes - at < PIECE ? bytes - at : PIECE;
        int code = MPI_Ibcast((char *)data + at, (int)size, MPI_BYTE, (int)root, MPI_COMM_WORLD, &handle);
        if (code != MPI_SUCCESS) return mpi_fail(code, "broadcast", error);
        CDU_TRY(wait_for(group, &handle, "a broadcast", error));
    }
    return CDU_OK;
}

static cdu_status mpi_barrier(cdu_collective *group, cdu_error *error)
{
    MPI_Request handle;
    int code = MPI_Ibarrier(MPI_COMM_WORLD, &handle);
    if (code != MPI_SUCCESS) return mpi_fail(code, "barrier", error);
    return wait_for(group, &handle, "a barrier", error);
}

static void mpi_abort(cdu_collective *group, cdu_status status)
{
    (void)group;
    MPI_Abort(MPI_COMM_WORLD, (int)status);
    exit((int)status);
}

const cdu_collective_kind cdu_collective_mpi = {
    "mpi", mpi_open, mpi_close, mpi_rank, mpi_size, mpi_reduce_start, mpi_reduce_test, mpi_broadcast, mpi_barrier, mpi_abort,
};
