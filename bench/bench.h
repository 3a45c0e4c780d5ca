/* bench.h: what the measurements share. A measurement fills rows; main.c prints them as a table or as JSON. Times are the smallest
 * of several runs, as the device's own clock tells them, since other work on the machine only adds. */
#ifndef CDU_BENCH_BENCH_H
#define CDU_BENCH_BENCH_H

#include "core/graph/program.h"

typedef struct {
    char name[128];         /* "conv3x3 64-64 256x256 n1 / x forward" */
    double ms, gflop, gbyte;/* of one run; 0 where it makes no sense */
    uint32_t times;         /* steps behind this row */
} bench_row;

typedef struct {
    bench_row *rows;
    size_t count, capacity;
} bench_rows;

typedef struct { double gflops, gbytes; } bench_peaks;

typedef struct {
    cdu_gpu gpu;
    uint32_t repeats;
    uint32_t width, size, batch;    /* of the network, for steps */
    const char *only;               /* cases whose name holds this, or null */
    bench_peaks peaks;
} bench_context;

cdu_status bench_add(bench_rows *rows, const bench_row *row, cdu_error *error);
/* Multiply-adds from registers and copying, measured on the device. */
cdu_status bench_measure_peaks(bench_context *context, cdu_error *error);
/* Runs a program `repeats` times after one to warm up; adds a row for each different label of its steps, then one for all. */
cdu_status bench_program(const bench_context *context, const char *name, cdu_program *program, bench_rows *rows, cdu_error *error);

/* The measurements: */
cdu_status bench_ops(const bench_context *context, bench_rows *rows, cdu_error *error);
cdu_status bench_step(const bench_context *context, bench_rows *rows, cdu_error *error);

#endif
