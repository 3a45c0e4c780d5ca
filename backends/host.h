/* host.h: what backends ask of the machine they run on. */
#ifndef CDU_BACKENDS_HOST_H
#define CDU_BACKENDS_HOST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backends/backend.h"

/* Opens the first library of `names` (null-terminated) that is there; the environment variable `variable`, if set, names another
 * one instead. CDU_NO_DEVICE with what was tried and `advice`. It is never closed: drivers leave threads behind. */
cdu_status cdu_library_open(const char *const *names, const char *variable, const char *advice, void **out, cdu_error *error);

/* Where an installation has what belongs to it: `take` gets the path of each file `name` that can be read in one of `folders` (null-terminated,
 * "" or ending in a slash), seen from the folder of the library that this code is in, then from that of the program, until it says true. */
bool cdu_host_beside(const char *name, const char *const *folders, bool (*take)(const char *path, void *context), void *context);

/* Counts `bytes` as taken, or as given back. */
void cdu_memory_take(cdu_memory_usage *usage, uint64_t bytes);
void cdu_memory_give(cdu_memory_usage *usage, uint64_t bytes);

/* Sleeps for a poll: short at first, then longer. *round counts from 0. */
void cdu_host_pause(uint32_t *round);

/* Nanoseconds of a monotonic clock. */
uint64_t cdu_host_nanoseconds(void);

#endif
