/* mpi.c: a group of ranks over MPICH, whose library is opened while running, so that the program starts where there is none. Everything
 * that waits is a non-blocking call, polled up to a deadline, since a stopped rank would hang a blocking one for ever. Leaves out buckets
 * and overlap: those are the caller's.
 *
 * MPI does not promise the order in which it sums. So a large sum is a scatter of pieces, one rank's sum of its piece in the order of ranks,
 * and a gathering of the pieces: as many bytes as a ring would move. A small one is gathered whole, and every rank sums.
 * Ranks must begin what belongs together in the same order, but when a sum comes to its second half is each rank's own affair: so the n-th
 * reduction has a communicator that it shares with the (n + 64)-th alone. */
#include <dlfcn.h>
#include <limits.h>
#include <mpi.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/base/progress.h"
#include "dist/collective.h"

#define MPI_CALLS(X)                                                                                                          \
    X(Init_thread) X(Initialized) X(Finalize) X(Comm_set_errhandler) X(Comm_rank) X(Comm_size) X(Iallreduce) X(Ialltoallv)      \
    X(Iallgather) X(Iallgatherv) X(Ibcast) X(Ibarrier) X(Comm_dup) X(Comm_free) X(Test) X(Abort) X(Error_string)
#define MPI_MEMBER(call) __typeof__(MPI_##call) *call;
static struct { MPI_CALLS(MPI_MEMBER) } mpi;

enum { SMALL_BYTES = 4096 };
typedef enum { UNUSED, WHOLE, SCATTERED, GATHERED } stage;

typedef struct {
    MPI_Comm communicator;
    MPI_Request handle;
    double began;
    stage stage;
    cdu_reduction reduction;
    char *data, *received;      /* received: kept from use to use */
    size_t count, capacity;
} running;

struct cdu_collective {
    int rank, size;
    double deadline;
    bool initialized_here;
    uint64_t reductions;        /* begun so far */
    running requests[CDU_REDUCTIONS_RUNNING];
    int *integers;              /* counts and places, for one call */
};

static cdu_status load(cdu_error *error)
{
    static const char *const names[] = {"libmpich.so.12", "libmpich.so", "libmpi.so.12"};
    void *library = NULL;
    setenv("UCX_HANDLE_ERRORS", "none", 0); /* else a rank that is sent SIGSEGV lives on, and one that crashes prints pages */
    for (size_t i = 0; i < sizeof names / sizeof *names && !library; i++) library = dlopen(names[i], RTLD_NOW | RTLD_GLOBAL);
    if (!library) return cdu_fail(error, CDU_USAGE, "MPICH's library, %s, cannot be opened: install it (Debian: libmpich12)", names[0]);
#define MPI_LOAD(call)                                                                                               \
    *(void **)&mpi.call = dlsym(library, "MPI_" #call);                                                              \
    if (!mpi.call) return cdu_fail(error, CDU_USAGE, "MPICH's library has no MPI_" #call ": it is too old or damaged");
    MPI_CALLS(MPI_LOAD)
    return CDU_OK;
}

static cdu_status mpi_fail(int code, const char *what, cdu_error *error)
{
    char text[MPI_MAX_ERROR_STRING] = "";
    int length = 0;
    mpi.Error_string(code, text, &length);
    return cdu_fail(error, CDU_RANK_SILENT, "MPI: %s failed: %s", what, text);
}

static cdu_status silent(const cdu_collective *group, const char *what, cdu_error *error)
{
    return cdu_fail(error, CDU_RANK_SILENT, "rank %d of %d waited %.0f s for the others at %s; one of them has stopped or died",
                    group->rank, group->size, group->deadline, what);
}

static void mpi_close(cdu_collective *group)
{
    if (!group) return;
    for (uint32_t i = 0; i < CDU_REDUCTIONS_RUNNING; i++) {
        if (group->requests[i].communicator != MPI_COMM_NULL) mpi.Comm_free(&group->requests[i].communicator);
        free(group->requests[i].received);
    }
    if (group->initialized_here) mpi.Finalize();
    free(group->integers);
    free(group);
}

static cdu_status mpi_open(double deadline_seconds, cdu_collective **out, cdu_error *error)
{
    int there = 0, provided = 0;
    *out = NULL;
    if (!mpi.Finalize) CDU_TRY(load(error));
    cdu_collective *group;
    CDU_TRY(cdu_allocate(&group, 1, sizeof *group, error));
    group->deadline = deadline_seconds > 0 ? deadline_seconds : 600;
    mpi.Initialized(&there);
    int code = there ? MPI_SUCCESS : mpi.Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &provided);
    if (code != MPI_SUCCESS) {
        free(group);
        return cdu_fail(error, CDU_RANK_SILENT, "MPI cannot start (code %d)", code);
    }
    group->initialized_here = !there;
    mpi.Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    for (uint32_t i = 0; i < CDU_REDUCTIONS_RUNNING; i++) group->requests[i].communicator = MPI_COMM_NULL;
    for (uint32_t i = 0; i < CDU_REDUCTIONS_RUNNING && code == MPI_SUCCESS; i++)
        code = mpi.Comm_dup(MPI_COMM_WORLD, &group->requests[i].communicator);
    mpi.Comm_rank(MPI_COMM_WORLD, &group->rank);
    mpi.Comm_size(MPI_COMM_WORLD, &group->size);
    cdu_status status = cdu_allocate(&group->integers, 4 * (size_t)group->size, sizeof(int), error);
    if (code != MPI_SUCCESS) status = mpi_fail(code, "the beginning", error);
    if (status != CDU_OK) return mpi_close(group), status;
    *out = group;
    return CDU_OK;
}

static uint32_t mpi_rank(const cdu_collective *group)
{
    return (uint32_t)group->rank;
}

static uint32_t mpi_size(const cdu_collective *group)
{
    return (uint32_t)group->size;
}

/* As MPI_Test. One call moves little (UCX over TCP: 64 KiB a connection), and callers sleep between polls: so it is called again for as long as it moves
 * something, which shows in the time that it takes. */
static int test(MPI_Request *handle, int *done)
{
    enum { MOST = 64 };
    const double idle = 4e-6;   /* seconds */
    int code = MPI_SUCCESS;
    for (int i = 0; i < MOST; i++) {
        double began = cdu_seconds();
        code = mpi.Test(handle, done, MPI_STATUS_IGNORE);
        if (code != MPI_SUCCESS || *done || cdu_seconds() - began < idle) break;
    }
    return code;
}

/* ---- reductions ---- */

static MPI_Datatype type_of(cdu_reduction reduction)
{
    return reduction == CDU_REDUCE_SUM_F32 ? MPI_FLOAT : reduction == CDU_REDUCE_SUM_F64 ? MPI_DOUBLE : MPI_UINT32_T;
}

/* Elements [first, first + count) of `rank`'s piece of `all`. */
static size_t piece(const cdu_collective *group, size_t all, int rank, size_t *first)
{
    size_t ranks = (size_t)group->size, each = all / ranks, more = all % ranks, r = (size_t)rank;
    *first = r * each + (r < more ? r : more);
    return each + (r < more);
}

/* `size` rows of `count` elements, summed in the order of ranks; in blocks, since a loop over the rows of one element cannot be made a vector loop. */
static void sum_rows(cdu_reduction reduction, const void *rows, size_t count, int size, void *out)
{
    enum { BLOCK = 512 };
    double sums[BLOCK];
    bool floats = reduction == CDU_REDUCE_SUM_F32;
    for (size_t at = 0, n; at < count; at += n) {
        n = count - at < BLOCK ? count - at : BLOCK;
        memset(sums, 0, n * sizeof *sums);
        for (size_t r = 0; r < (size_t)size; r++) {
            const float *f = (const float *)rows + r * count + at;
            const double *d = (const double *)rows + r * count + at;
            if (floats) for (size_t i = 0; i < n; i++) sums[i] += (double)f[i];
            else for (size_t i = 0; i < n; i++) sums[i] += d[i];
        }
        if (floats) for (size_t i = 0; i < n; i++) ((float *)out)[at + i] = (float)sums[i];
        else memcpy((double *)out + at, sums, n * sizeof *sums);
    }
}

static int start_scatter(cdu_collective *group, running *r)
{
    int *send = group->integers, *send_at = send + group->size, *receive = send_at + group->size, *receive_at = receive + group->size;
    size_t first, mine = piece(group, r->count, group->rank, &first);
    for (int k = 0; k < group->size; k++) {
        send[k] = (int)piece(group, r->count, k, &first);
        send_at[k] = (int)first;
        receive[k] = (int)mine;
        receive_at[k] = (int)mine * k;
    }
    MPI_Datatype type = type_of(r->reduction);
    return mpi.Ialltoallv(r->data, send, send_at, type, r->received, receive, receive_at, type, r->communicator, &r->handle);
}

static int start_gather(cdu_collective *group, running *r)
{
    int *counts = group->integers, *places = counts + group->size;
    size_t first, width = cdu_reduction_bytes(r->reduction), mine = piece(group, r->count, group->rank, &first);
    sum_rows(r->reduction, r->received, mine, group->size, r->data + first * width);
    for (int k = 0; k < group->size; k++) {
        counts[k] = (int)piece(group, r->count, k, &first);
        places[k] = (int)first;
    }
    return mpi.Iallgatherv(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, r->data, counts, places, type_of(r->reduction), r->communicator, &r->handle);
}

static cdu_status mpi_reduce_start(cdu_collective *group, cdu_reduction reduction, void *data, size_t count, uint32_t *request,
                                   cdu_error *error)
{
    uint32_t slot = (uint32_t)(group->reductions % CDU_REDUCTIONS_RUNNING);
    size_t width = cdu_reduction_bytes(reduction), first;
    if (count > INT_MAX) return cdu_fail(error, CDU_FAILED, "reduction of %zu elements; at most %d go at once", count, INT_MAX);
    if (group->requests[slot].stage != UNUSED)
        return cdu_fail(error, CDU_FAILED, "more than %d reductions are under way", CDU_REDUCTIONS_RUNNING);
    running *r = &group->requests[slot];
    bool whole = count * width <= SMALL_BYTES, largest = reduction == CDU_REDUCE_MAX_U32;
    size_t rows = (size_t)group->size * (whole ? count : piece(group, count, group->rank, &first));
    if (!largest) CDU_TRY(cdu_grow(&r->received, &r->capacity, rows * width + 1, 1, error));
    r->reduction = reduction;
    r->data = data;
    r->count = count;
    r->began = cdu_seconds();
    MPI_Datatype type = type_of(reduction);
    int code = largest ? mpi.Iallreduce(MPI_IN_PLACE, data, (int)count, type, MPI_MAX, r->communicator, &r->handle)
               : whole ? mpi.Iallgather(data, (int)count, type, r->received, (int)count, type, r->communicator, &r->handle)
                       : start_scatter(group, r);
    if (code != MPI_SUCCESS) return mpi_fail(code, "reduction", error);
    r->stage = largest ? GATHERED : whole ? WHOLE : SCATTERED;
    group->reductions++;
    *request = slot;
    return CDU_OK;
}

static cdu_status mpi_reduce_test(cdu_collective *group, uint32_t request, bool *done, cdu_error *error)
{
    if (request >= CDU_REDUCTIONS_RUNNING || group->requests[request].stage == UNUSED)
        return cdu_fail(error, CDU_FAILED, "reduction %u is not under way", request);
    running *r = &group->requests[request];
    int flag = 0, code = test(&r->handle, &flag);
    *done = false;
    if (code == MPI_SUCCESS && flag && r->stage == SCATTERED) {
        code = start_gather(group, r);
        r->stage = GATHERED;
        flag = 0;
    }
    if (code != MPI_SUCCESS) return mpi_fail(code, "reduction", error);
    if (!flag && cdu_seconds() - r->began > group->deadline) return silent(group, "a reduction", error);
    if (!flag) return CDU_OK;
    if (r->stage == WHOLE) sum_rows(r->reduction, r->received, r->count, group->size, r->data);
    r->stage = UNUSED;
    *done = true;
    return CDU_OK;
}

/* ---- the rest ---- */

static cdu_status wait_for(cdu_collective *group, MPI_Request *handle, const char *what, cdu_error *error)
{
    double began = cdu_seconds();
    for (uint32_t round = 0;;) {
        int flag = 0, code = test(handle, &flag);
        if (code != MPI_SUCCESS) return mpi_fail(code, what, error);
        if (flag) return CDU_OK;
        if (cdu_seconds() - began > group->deadline) return silent(group, what, error);
        cdu_collective_pause(&round);
    }
}

static cdu_status mpi_broadcast(cdu_collective *group, void *data, size_t bytes, uint32_t root, cdu_error *error)
{
    enum { PIECE = 1 << 28 };
    for (size_t at = 0; at < bytes; at += PIECE) {
        MPI_Request handle;
        size_t size = bytes - at < PIECE ? bytes - at : PIECE;
        int code = mpi.Ibcast((char *)data + at, (int)size, MPI_BYTE, (int)root, MPI_COMM_WORLD, &handle);
        if (code != MPI_SUCCESS) return mpi_fail(code, "broadcast", error);
        CDU_TRY(wait_for(group, &handle, "a broadcast", error));
    }
    return CDU_OK;
}

static cdu_status mpi_barrier(cdu_collective *group, cdu_error *error)
{
    MPI_Request handle;
    int code = mpi.Ibarrier(MPI_COMM_WORLD, &handle);
    if (code != MPI_SUCCESS) return mpi_fail(code, "barrier", error);
    return wait_for(group, &handle, "a barrier", error);
}

static cdu_status mpi_gather(cdu_collective *group, const void *mine, size_t bytes, void *all, cdu_error *error)
{
    MPI_Request handle;
    if (bytes > INT_MAX) return cdu_fail(error, CDU_FAILED, "gathering of %zu bytes a rank; at most %d go at once", bytes, INT_MAX);
    int code = mpi.Iallgather(mine, (int)bytes, MPI_BYTE, all, (int)bytes, MPI_BYTE, MPI_COMM_WORLD, &handle);
    if (code != MPI_SUCCESS) return mpi_fail(code, "gathering", error);
    return wait_for(group, &handle, "a gathering", error);
}

static void mpi_abort(cdu_collective *group, cdu_status status)
{
    (void)group;
    mpi.Abort(MPI_COMM_WORLD, (int)status);
    exit((int)status);
}

const cdu_collective_kind cdu_collective_mpi = {
    "mpi",       mpi_open,    mpi_close,  mpi_rank,  mpi_size, mpi_reduce_start, mpi_reduce_test, mpi_broadcast,
    mpi_barrier, mpi_gather, mpi_abort,
};
