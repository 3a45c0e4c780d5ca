/* footprint.h: how much memory a network takes, as the device or the system sees it. */
#ifndef CDU_BENCH_FOOTPRINT_H
#define CDU_BENCH_FOOTPRINT_H

#include "bench/network.h"

typedef struct { uint64_t resident, budget; } bench_footprint;

/* Opens the network once for nothing, so that what compilers leave behind is not counted, then again. */
cdu_status bench_footprint_open(const cdu_gpu *, const bench_network_settings *, bench_network *, bench_footprint *, cdu_error *);
/* Bytes taken since: growth of this process for devices in the host's memory, compiled kernels left out; shrinkage of the device's budget
 * for others. 0: the system does not say. Run the network before: buffers are touched when they are made, and stay. */
cdu_status bench_footprint_seen(const cdu_gpu *, const bench_footprint *, uint64_t *bytes, cdu_error *);

#endif
