/* limits.h: what a device can do at most through its runtime: multiply-adds from registers, copying, reading local memory. Sampled in
 * turn with whatever is measured, so that shares of a limit do not depend on clocks or on other work on the machine. */
#ifndef CDU_BENCH_LIMITS_H
#define CDU_BENCH_LIMITS_H

#include "bench/report.h"

typedef struct bench_limits bench_limits;
typedef enum { BENCH_MULTIPLY_ADD, BENCH_COPY, BENCH_LOCAL, BENCH_LIMITS } bench_limit;

/* The device must have been opened timed and must outlive the limits. Samples each limit once, for nothing, to warm up. */
cdu_status bench_limits_open(const cdu_gpu *, bench_limits **, cdu_error *);
void bench_limits_close(bench_limits *);
/* One sample of each limit, the fastest of three runs, since a limit is what can be; about 100 ms. */
cdu_status bench_limits_sample(bench_limits *, cdu_error *);
/* Of all samples so far: GFLOP/s, or GB/s read and written. */
bench_spread bench_limits_of(const bench_limits *, bench_limit);
/* A table "limits" with a row for each. */
void bench_limits_report(const bench_limits *, bench_report *);
/* The larger of the shares of the median multiply-add and copy limits; *bound: "compute" or "memory". */
double bench_limits_share(const bench_limits *, double gflop, double gbyte, double seconds, const char **bound);

#endif
