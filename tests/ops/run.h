/* run.h: runs rows of the operator table (table.h) and compares. For this folder alone. */
#ifndef CDU_TESTS_OPS_RUN_H
#define CDU_TESTS_OPS_RUN_H

#include "core/graph/program.h"
#include "ops/table.h"

/* The rows of all files, one after another; null behind the last. */
const cdu_op_row *cdu_op_row_at(uint32_t index);

/* Arrays for the node that makes `out`, filled with numbers from `seed`. */
void cdu_op_data_make(cdu_op_data *, const cdu_op_row *, const cdu_graph *, cdu_value out, bool exact, uint32_t seed);
void cdu_op_data_free(cdu_op_data *);
/* No input is NaN or infinite. */
bool cdu_op_finite(const cdu_op_data *);

/* Failures are collected as text, so that one run tells all of them. */
typedef struct { char text[12000]; uint32_t count; } cdu_op_failures;
__attribute__((format(printf, 2, 3))) void cdu_op_fail(cdu_op_failures *, const char *format, ...);

typedef struct {
    bool slice;                 /* two of the operator, their outputs the two parts of a concatenation */
    bool exact;                 /* integer inputs */
    bool ranges;                /* bindings that hold one image of the largest tensor */
    bool view;                  /* inputs are views: the outputs of identity convolutions, parts of a concatenation that others read */
    bool relay;                 /* as view, but tensors of their own: gradients lie in memory that is poisoned first */
} cdu_op_variant;

/* Builds, runs and compares one row on one device; `bytes` (may be null) gets everything read back, *size floats, to be freed.
 * Returns false where the row has no such variant. */
bool cdu_op_run(const cdu_gpu *, const cdu_op_row *, cdu_op_variant, float **bytes, uint64_t *size, cdu_op_failures *);

/* All devices there are, opened once; the null device last. */
typedef struct { cdu_gpu gpu[16]; uint32_t count; } cdu_op_devices;
const cdu_op_devices *cdu_op_devices_open(void);
bool cdu_op_is_null(const cdu_gpu *);

#endif
