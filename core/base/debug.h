/* debug.h: CDUNET_DEBUG=word,word switches one clever thing off at a time, so that a bug can be cornered. An unknown word is an
 * error that prints the table. Read once, at cdu_debug_load; a program calls that first. Threads: read-only afterwards. */
#ifndef CDU_BASE_DEBUG_H
#define CDU_BASE_DEBUG_H

#include <stdbool.h>

#include "cdunet/error.h"

/* name, word, meaning */
#define CDU_DEBUG_LIST(X)                                                                                  \
    X(CDU_DEBUG_NO_REUSE, "no-reuse", "every tensor has memory of its own")                                \
    X(CDU_DEBUG_NO_RECOMPUTE, "no-recompute", "store normalized activations instead of recomputing them")  \
    X(CDU_DEBUG_NO_FUSION, "no-fusion", "activation functions and statistics run as steps of their own")   \
    X(CDU_DEBUG_NO_DEFER, "no-defer", "normalized activations are written, not made where they are read")  \
    X(CDU_DEBUG_STREAM, "stream", "all results are stored past the caches, not large ones alone")          \
    X(CDU_DEBUG_BARRIERS, "barriers", "a barrier before every step")                                       \
    X(CDU_DEBUG_POISON, "poison", "memory is filled with NaN before a tensor's first use")                 \
    X(CDU_DEBUG_NO_CACHE, "no-cache", "compiled kernels are neither read from nor written to disk")        \
    X(CDU_DEBUG_OFFSETS, "offsets", "OpenCL kernels get buffers and offsets in them, not sub-buffers")       \
    X(CDU_DEBUG_TWINS, "twins", "Vulkan: what the host reads has a twin in device memory, as on cards")     \
    X(CDU_DEBUG_STEPS, "steps", "log every step of a plan")                                            \
    X(CDU_DEBUG_MEMORY, "memory", "log what lies in memory where a plan needs most")

typedef enum {
#define CDU_DEBUG_ENUM(name, word, meaning) name,
    CDU_DEBUG_LIST(CDU_DEBUG_ENUM)
#undef CDU_DEBUG_ENUM
    CDU_DEBUG_WORDS
} cdu_debug_word;

/* Parses the environment variable CDUNET_DEBUG. CDU_USAGE with the table for an unknown word. */
cdu_status cdu_debug_load(cdu_error *error);
bool cdu_debug(cdu_debug_word word);
/* For tests. */
void cdu_debug_set(cdu_debug_word word, bool on);

#endif
