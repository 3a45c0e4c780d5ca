/* program.h: a plan on a device: buffers, compiled kernels, the recorded list. The host writes inputs, runs, reads outputs.
 * Threads: everything on the thread that opened the device. The graph and the gpu must outlive the program. */
#ifndef CDU_GRAPH_PROGRAM_H
#define CDU_GRAPH_PROGRAM_H

#include "core/graph/plan.h"

typedef struct cdu_program cdu_program;

/* Logs the peak, compares it with what the device has free (a training step that needs more computes more again, as under a limit;
 * CDU_TRY_AGAIN where that does not suffice, with both numbers) and its limits, compiles
 * all kernels in parallel with progress, allocates, records. Parameters, gradients, momentum, states start at zero. */
cdu_status cdu_program_create(const cdu_graph *graph, const cdu_gpu *gpu, const cdu_plan_options *options, cdu_program **out,
                              cdu_error *error);
/* The same, but activations lie in the memory of those of `beside` (null: none) where they have room there: only one of the two may
 * run at a time, and what a run left there is lost to the other's. Outputs are not concerned. options->memory then is what both may
 * take together: CDU_TRY_AGAIN with the least that would do. `beside` must outlive the program. */
cdu_status cdu_program_create_beside(const cdu_graph *graph, const cdu_gpu *gpu, const cdu_plan_options *options, cdu_program *beside,
                                     cdu_program **out, cdu_error *error);
/* Whether there is memory for it, without compiling or allocating: CDU_TRY_AGAIN where not, as cdu_program_create. */
cdu_status cdu_program_check(const cdu_graph *graph, const cdu_gpu *gpu, const cdu_plan_options *options, cdu_error *error);
void cdu_program_destroy(cdu_program *program);
cdu_plan_report cdu_program_report(const cdu_program *program);
/* Bytes of its plan's peak that it allocated itself: all but what lies in memory of the program beside it. */
uint64_t cdu_program_own_bytes(const cdu_program *program);

/* A graph input (or a seeded gradient, cdu_program_write_gradient), given dense as N, H, W, C of 4-byte elements without pads. */
cdu_status cdu_program_write(cdu_program *, cdu_value, const void *dense, cdu_error *);
cdu_status cdu_program_write_gradient(cdu_program *, cdu_value, const void *dense, cdu_error *);
/* A value marked cdu_graph_output, or a gradient marked cdu_graph_output_gradient, dense. Parameters' gradients need no mark. */
cdu_status cdu_program_read(cdu_program *, cdu_value, void *dense, cdu_error *);
cdu_status cdu_program_read_gradient(cdu_program *, cdu_value, void *dense, cdu_error *);

/* One parameter or state, dense in PyTorch's order. */
cdu_status cdu_program_write_parameter(cdu_program *, cdu_value, const float *dense, cdu_error *);
cdu_status cdu_program_read_parameter(cdu_program *, cdu_value, float *dense, cdu_error *);
/* A whole arena, cdu_program_arena_elements floats; parameters lie at multiples of 128 floats in the order of declaration, on every
 * device alike; what lies between is zero. */
uint64_t cdu_program_arena_elements(const cdu_program *, cdu_arena);
cdu_status cdu_program_write_arena(cdu_program *, cdu_arena, const float *, cdu_error *);
cdu_status cdu_program_read_arena(cdu_program *, cdu_arena, float *, cdu_error *);

/* Runs all segments and waits; those that make what is kept (cdu_plan_options.keep) only where parameters were written since. `patch`: what the steps read from the patch tensor, at most CDU_PATCH_BYTES; null: unchanged.
 * CDU_TRY_AGAIN where the device was lost. */
cdu_status cdu_program_run(cdu_program *, const void *patch, uint32_t bytes, cdu_error *);
/* The same in two halves, so that the host can prepare the next input: nothing may be written or read between them but host memory. */
cdu_status cdu_program_submit(cdu_program *, const void *patch, uint32_t bytes, cdu_error *);
cdu_status cdu_program_wait(cdu_program *, cdu_error *);

/* What a program asks for that was planned for several ranks (cdu_plan_options.ranks); every rank's program asks for the same, in the same
 * order. All on the thread that runs it. */
typedef struct {
    void *context;
    /* Begins to replace the data by their sums over all ranks; polls for it. */
    cdu_status (*sum_start)(void *context, float *data, uint64_t count, uint32_t *request, cdu_error *);
    cdu_status (*sum_test)(void *context, uint32_t request, bool *done, cdu_error *);
    /* `count` floats of each rank, in the order of ranks. */
    cdu_status (*gather)(void *context, const float *mine, uint32_t count, float *all, cdu_error *);
    /* All of this rank's gradients are there, outputs can be read, sums may still be under way: sets what the update reads. Called again and
     * again until it sets *done. */
    cdu_status (*before_update)(void *context, void *patch, bool *done, cdu_error *);
    /* Between two polls, with nothing else to do; *round rises. */
    void (*pause)(uint32_t *round);
} cdu_exchanger;
/* Seconds in which the device had nothing to do: gathering of statistics; before_update; and from then until the sums were there. */
typedef struct { double gathering, slowest, network; } cdu_exchange_times;

/* As cdu_program_run. After a failure other ranks may wait for this one for ever. */
cdu_status cdu_program_run_exchanging(cdu_program *, void *patch, uint32_t bytes, const cdu_exchanger *, cdu_exchange_times *, cdu_error *);

/* Whether the last run's update took place: it does not where a gradient is not finite; weights and momentum are as before then, the
 * gradients can be read. */
cdu_status cdu_program_verdict(cdu_program *, bool *updated, cdu_error *);

/* Nanoseconds of each step of the last run (0: it had no need to run, since what it makes was kept), on a device opened timed; labels and work by cdu_program_step. */
uint32_t cdu_program_steps(const cdu_program *);
const cdu_step *cdu_program_step(const cdu_program *, uint32_t);
/* What a step was made from; null for those that only fill memory. */
const cdu_draft *cdu_program_draft(const cdu_program *, uint32_t);
cdu_status cdu_program_times(cdu_program *, uint64_t *nanoseconds, cdu_error *);

#endif
