/* profile.h: a program run again and again, with the times of its steps gathered by layer and pass. */
#ifndef CDU_BENCH_PROFILE_H
#define CDU_BENCH_PROFILE_H

#include "bench/limits.h"
#include "core/graph/program.h"

/* The steps of one pass of one node, or of all nodes of an operator. */
typedef struct {
    char operator[32], layer[CDU_NAME_LIMIT], pass[24], variant[32];
    uint32_t steps;
    double gflop, gbyte;
    double *seconds;            /* on the device, one for each run */
} bench_group;

typedef struct {
    cdu_program *program;
    bench_group *groups;
    size_t group_count, capacity;
    uint32_t *group_of;         /* each step's */
    uint64_t *nanoseconds;      /* of each step of the last run */
    double *wall, *device;      /* seconds of each run: on the host's clock, and the sum of its steps on the device's */
    uint32_t runs, most;
    double gflop, gbyte;
} bench_profile;

/* For at most `most` runs of a program on a device opened timed. */
cdu_status bench_profile_begin(bench_profile *, cdu_program *, uint32_t most, cdu_error *);
void bench_profile_end(bench_profile *);
/* One run; seconds on the host's clock. Patch data are zeros: with a learning rate of 0 the weights stay as they are. */
cdu_status bench_run(cdu_program *, double *seconds, cdu_error *);
/* Runs once to warm up; then `most` times, each between two samples of the limits, which may be null. */
cdu_status bench_profile_run(bench_profile *, bench_limits *, cdu_error *);
/* The groups of equal operator and pass joined, longest first. Free with bench_groups_free. */
cdu_status bench_profile_by_operator(const bench_profile *, bench_group **out, size_t *count, cdu_error *);
void bench_groups_free(bench_group *groups, size_t count);

/* Columns of a table of groups, and a row of it: `share_of` is the device's seconds that "part" refers to, 0: none. */
extern const bench_column bench_group_columns[];
json_t *bench_group_row(const bench_group *, uint32_t runs, const bench_limits *, double share_of);

#endif
