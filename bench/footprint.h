/* footprint.h: how much memory a network takes, as the device or the system sees it. */
#ifndef CDU_BENCH_FOOTPRINT_H
#define CDU_BENCH_FOOTPRINT_H

#include "bench/network.h"

typedef struct { uint64_t resident, device; } bench_footprint;

/* Opens the network once for nothing, so that what compilers leave behind is not counted, then again. */
cdu_status bench_footprint_open(const cdu_gpu *, const bench_network_settings *, bench_network *, bench_footprint *, cdu_error *);
/* Bytes taken since: on the device, as its backend counts them, alignment included; and what this process grew by without compiled
 * kernels, where the device is the processor and the system says it, else 0. Run the network before. */
bench_footprint bench_footprint_seen(const cdu_gpu *, const bench_footprint *before);

#endif
