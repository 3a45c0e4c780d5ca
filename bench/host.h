/* host.h: the machine that measures, and this process on it. */
#ifndef CDU_BENCH_HOST_H
#define CDU_BENCH_HOST_H

#include <stdint.h>

typedef struct {
    char cpu[96];           /* as /proc/cpuinfo calls it, else "unknown" */
    uint32_t processors;
    double load;            /* of the last minute: how much else was going on */
} bench_host;

bench_host bench_host_now(void);

/* Resident bytes of this process: without what lies in files (programs, compiled kernels), and the most there was of all. 0 where the system
 * does not say. */
uint64_t bench_resident(void);
uint64_t bench_resident_peak(void);
/* The peak counts from here. */
void bench_resident_reset(void);
/* Gives freed memory back to the system, so that what is resident is what is used. */
void bench_trim(void);

#endif
