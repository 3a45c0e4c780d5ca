/* collective.h: what training asks of a group of processes (ranks): sums over all of them, one rank's data to all, a meeting point,
 * and an end for all. solo.c is a group of one; mpi.c is MPICH, in builds with CDUNET_MPI. Nothing here knows devices or graphs.
 *
 * Nothing blocks for ever: what waits has a deadline, after which it fails with CDU_RANK_SILENT; the caller then calls `abort`, which
 * ends every rank. Sums are made in the order of ranks, whatever the transport does, so they are equal to the bit on all ranks, and from run
 * to run at the same number of ranks, not between different numbers. All ranks must make the same calls in the same order. Threads: all
 * calls on the thread that opened the group. */
#ifndef CDU_DIST_COLLECTIVE_H
#define CDU_DIST_COLLECTIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cdunet/error.h"

typedef struct cdu_collective cdu_collective;

typedef enum { CDU_REDUCE_SUM_F32, CDU_REDUCE_SUM_F64, CDU_REDUCE_MAX_U32 } cdu_reduction;
enum { CDU_REDUCTIONS_RUNNING = 64 };   /* reductions that may be under way at once */

/* One const table an implementation. */
typedef struct {
    const char *name;
    cdu_status (*open)(double deadline_seconds, cdu_collective **, cdu_error *);
    void (*close)(cdu_collective *);
    uint32_t (*rank)(const cdu_collective *);
    uint32_t (*size)(const cdu_collective *);
    /* Begins to replace `data` (count elements) on every rank by the reduction over all ranks. Until `test` says done, the data belong
     * to the group. *request names it. */
    cdu_status (*reduce_start)(cdu_collective *, cdu_reduction, void *data, size_t count, uint32_t *request, cdu_error *);
    /* Polls; *done once the data are there. CDU_RANK_SILENT once the deadline has passed since the start. */
    cdu_status (*reduce_test)(cdu_collective *, uint32_t request, bool *done, cdu_error *);
    /* `bytes` of rank `root` to all. */
    cdu_status (*broadcast)(cdu_collective *, void *data, size_t bytes, uint32_t root, cdu_error *);
    cdu_status (*barrier)(cdu_collective *, cdu_error *);
    /* `bytes` of every rank, in the order of ranks, into `all` (size * bytes) of every rank. */
    cdu_status (*gather)(cdu_collective *, const void *mine, size_t bytes, void *all, cdu_error *);
    /* Ends all ranks with `status` as their exit code; does not return. For programs, once an error on one rank leaves the others
     * waiting. */
    void (*abort)(cdu_collective *, cdu_status status);
} cdu_collective_kind;

extern const cdu_collective_kind cdu_collective_solo;
#ifdef CDUNET_MPI
extern const cdu_collective_kind cdu_collective_mpi;
#endif

/* A group that is open, as whoever works in it takes it. */
typedef struct cdu_ranks {
    const cdu_collective_kind *kind;
    cdu_collective *group;
    uint32_t rank, size;
} cdu_ranks;

/* Whether mpiexec or srun started this process, by the variables that they set. */
bool cdu_ranks_started(void);
/* Opens the group that the process was started in: MPI where one of those did, else a group of
 * one. CDU_USAGE where mpiexec started it and this build has no MPI. Close with kind->close. */
cdu_status cdu_ranks_open(double deadline_seconds, cdu_ranks *out, cdu_error *error);

/* The kind of that name ("solo", "mpi"); CDU_USAGE where this build does not have it, naming those it has. */
cdu_status cdu_collective_find(const char *name, const cdu_collective_kind **out, cdu_error *error);
/* reduce_start, then reduce_test until done, asleep between polls. */
cdu_status cdu_collective_reduce(const cdu_collective_kind *kind, cdu_collective *group, cdu_reduction reduction, void *data,
                                 size_t count, cdu_error *error);
size_t cdu_reduction_bytes(cdu_reduction reduction);
/* Between two polls: gives the processor away, then sleeps, for longer from round to round, at most 0.2 ms. *round begins at 0. */
void cdu_collective_pause(uint32_t *round);

#endif
