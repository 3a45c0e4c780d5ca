/* memory.h: allocation with words. Every allocation of the project goes through here, so that sizes are checked for overflow
 * and tests can make the n-th one fail. Threads: all functions may be called from any thread. */
#ifndef CDU_BASE_MEMORY_H
#define CDU_BASE_MEMORY_H

#include <stddef.h>
#include <stdint.h>

#include "cdunet/error.h"

/* count * size bytes, zeroed, into *out. CDU_TRY_AGAIN where there is no memory. Free with free(). */
cdu_status cdu_allocate(void *out, size_t count, size_t size, cdu_error *error);

/* Grows *array to hold at least `needed` items of `size` bytes; *capacity is in items; new bytes are zeroed. */
cdu_status cdu_grow(void *array, size_t *capacity, size_t needed, size_t size, cdu_error *error);

/* A copy of `text`; free with free(). */
cdu_status cdu_copy_text(char **out, const char *text, cdu_error *error);

/* Main memory that may still be taken, in bytes; 0 where the system does not say. */
uint64_t cdu_memory_free(void);

/* The n-th allocation from now on fails (1 is the next one); 0 switches this off. For tests. */
void cdu_allocate_fail_at(uint64_t n);
/* Allocations since the program began. For tests. */
uint64_t cdu_allocate_count(void);

#endif
