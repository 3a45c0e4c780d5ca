/* table.h: the operator table. A row is one case of one operator: its shapes, its settings, the plain double-precision loops that
 * say what it means. run.c runs every row on every device present: forward and gradients against the loops, gradients of the loops
 * against finite differences, with integer inputs where the operator is exact, as slices of a concatenation, with small bindings,
 * with poisoned memory, with each clever thing switched off.
 *
 * To add an operator: a file rows_NAME.c with its loops, its rows and CDU_OP_ROWS. Nothing else here has to be touched. */
#ifndef CDU_TESTS_OPS_TABLE_H
#define CDU_TESTS_OPS_TABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/random.h"
#include "core/ops/ops.h"

/* The unit roundoff of float32. */
#define CDU_OP_UNIT 5.9604644775390625e-8

/* One value of a case, dense: N, H, W, C, or a parameter in PyTorch's order. */
typedef struct {
    char name[CDU_NAME_LIMIT];
    uint32_t dims[4];       /* N, H, W, C; a parameter's own dims, missing ones 1 */
    uint64_t count;
    bool integers;          /* CDU_U32: u instead of v */
    uint32_t *u;
    double *v;              /* values; inputs and parameters are representable in float32 */
    double *slack;          /* outputs: how far a float32 result may be from v, absolute; 0 demands equality */
    double *g;              /* gradient of the loss, the sum of output * output's g */
    double *g_slack;        /* as slack, for g */
    double *after;          /* states: the value after one run */
    double *after_slack;
    cdu_value_kind kind;
} cdu_op_array;

/* forward reads in[], own[] and writes out[].v, out[].slack, own[].after and own[].after_slack (or out[].u). backward, called after
 * forward, reads out[].g as well and writes in[].g, own[].g and their slack; all were set to zero before. */
typedef struct {
    cdu_op_array in[CDU_NODE_INPUTS], own[CDU_NODE_OWN], out[CDU_NODE_OUTPUTS];
    uint32_t ins, owns, outs;
    bool exact;             /* integer inputs: what the operator computes exactly gets no slack */
    bool approximate;       /* some step rounds in another domain (conv_variant.h): slack is that of Winograd's F(4x4, 3x3) */
} cdu_op_data;

typedef struct { cdu_shape shape; cdu_storage storage; bool constant; } cdu_op_input; /* constant: no gradient wanted */

typedef struct cdu_op_row {
    const char *name;                       /* "conv 3x3 odd" */
    cdu_op_input input[CDU_NODE_INPUTS];    /* up to the first shape with n == 0 */
    uint32_t attribute[4];                  /* the row's own business */
    float real[2];
    /* Applies the operator; returns its first output, which all comparisons and gradients start from. */
    cdu_value (*build)(cdu_graph *, const struct cdu_op_row *, const char *name, const cdu_value *in);
    void (*forward)(const struct cdu_op_row *, cdu_op_data *);
    void (*backward)(const struct cdu_op_row *, cdu_op_data *);     /* null: no gradient */
    /* Null: normal numbers everywhere; small integers for the exact run. Called for inputs and parameters alike. */
    void (*fill)(const struct cdu_op_row *, cdu_op_data *, cdu_random *);
    bool exact;                             /* integers in: 0 mismatches demanded */
    bool own_loss;                          /* the output is a loss at which backward starts: no seed (cross entropy) */
    bool whole;                             /* cannot be a slice of a concatenation */
} cdu_op_row;

void cdu_op_register(const cdu_op_row *rows, uint32_t count);
#define CDU_OP_ROWS(table)                                                                       \
    __attribute__((constructor)) static void table##_register(void)                              \
    {                                                                                            \
        cdu_op_register(table, (uint32_t)(sizeof table / sizeof *table));                        \
    }

/* Relative error of a sum of k products in any order: k u / (1 - k u). */
double cdu_op_gamma(double k);
/* Index of (n, y, x, c) in an array of N, H, W, C. */
uint64_t cdu_op_at(const cdu_op_array *, uint64_t n, uint64_t y, uint64_t x, uint64_t c);

#endif
