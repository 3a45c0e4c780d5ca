/* convs.h: all 3x3 convolutions of the paper's network, each shape as a program of its own, as libraries of layers are measured. */
#ifndef CDU_BENCH_CONVS_H
#define CDU_BENCH_CONVS_H

#include "bench/cases.h"

enum { BENCH_CONVS = 32 };
typedef enum { BENCH_FORWARD, BENCH_DATA_GRADIENT, BENCH_WEIGHT_GRADIENT, BENCH_PASSES } bench_pass;

typedef struct {
    bench_case what[BENCH_CONVS];
    uint32_t times[BENCH_CONVS];    /* layers of this shape */
    uint32_t count;
    cdu_graph *graph[BENCH_CONVS];
    cdu_program *program[BENCH_CONVS];
} bench_convs;

/* Shapes for one tile of size x size, `width` filters at first. */
void bench_convs_list(bench_convs *, uint32_t size, uint32_t width);
/* Opens all of them; close them in any case. */
cdu_status bench_convs_open(bench_convs *, const cdu_gpu *, bool exact, cdu_error *);
void bench_convs_close(bench_convs *);
/* Runs each shape once; seconds on the device, which must have been opened timed, of all layers by pass. */
cdu_status bench_convs_run(bench_convs *, double seconds[BENCH_PASSES], cdu_error *);

#endif
