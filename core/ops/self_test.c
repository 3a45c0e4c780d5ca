/* self_test.c: the operators' own kernels against known answers, once at opening. A chain x -> conv 3x3 -> max pool ->
 * transposed conv runs forward and backward in one graph. All numbers are small integers, so that sums are exact in any order
 * and one wrong index shows. Where the device's own choice is a variant that rounds (Winograd), the convolution runs by that too, and
 * may be off by a hundred-thousandth of its largest value. The meaning of each operator is written here as plain loops; floating-point
 * accuracy is the operator table's business (tests/ops). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/graph/program.h"
#include "core/ops/open.h"
#include "core/ops/ops.h"

/* Odd sizes and channel counts, so that edges, tails and pad lanes are in it. */
enum {
    N = 2,
    H = 7,
    W = 5,
    C = 3,
    F = 6,
    U = 5,
    PH = H / 2,
    PW = W / 2,
    X = N * H * W * C,
    Y = N * H * W * F,
    P = N * PH * PW * F,
    Z = N * 4 * PH * PW * U,
    CONV = F * C * 9,
    TRANSPOSED = F * U * 4
};

/* Inputs, answers: forward values, then gradients. */
typedef struct {
    float x[X], conv_w[CONV], conv_b[F], up_w[TRANSPOSED], up_b[U], z_gradient[Z];
    float y[Y], pooled[P], z[Z];
    float pooled_gradient[P], y_gradient[Y], x_gradient[X], conv_w_gradient[CONV], conv_b_gradient[F], up_w_gradient[TRANSPOSED],
        up_b_gradient[U];
} answers;

static void fill(float *to, size_t count, unsigned step, unsigned modulus)
{
    for (size_t i = 0; i < count; i++) to[i] = (float)(i * step % modulus) - (float)(modulus / 2);
}

/* Calls for every tap inside the image: y[at_y] and x[at_x] are connected by conv_w[at_w]. */
typedef void tap(answers *a, size_t at_y, size_t at_x, size_t at_w);

static void each_conv_tap(answers *a, tap *visit)
{
    for (int n = 0; n < N; n++)
        for (int h = 0; h < H; h++)
            for (int w = 0; w < W; w++)
                for (int k = 0; k < 9; k++) {
                    int r = h + k / 3 - 1, s = w + k % 3 - 1;
                    if (r < 0 || r >= H || s < 0 || s >= W) continue;
                    for (int f = 0; f < F; f++)
                        for (int c = 0; c < C; c++)
                            visit(a, (size_t)(((n * H + h) * W + w) * F + f), (size_t)(((n * H + r) * W + s) * C + c),
                                  (size_t)((f * C + c) * 9 + k));
                }
}

static void each_up_tap(answers *a, tap *visit)
{
    for (int n = 0; n < N; n++)
        for (int h = 0; h < 2 * PH; h++)
            for (int w = 0; w < 2 * PW; w++)
                for (int f = 0; f < F; f++)
                    for (int u = 0; u < U; u++)
                        visit(a, (size_t)(((n * 2 * PH + h) * 2 * PW + w) * U + u),
                              (size_t)(((n * PH + h / 2) * PW + w / 2) * F + f), (size_t)((f * U + u) * 4 + h % 2 * 2 + w % 2));
}

/* The place in y of the largest value, the first of equals, of each place in pooled. */
static size_t pool_source(const answers *a, size_t at)
{
    size_t f = at % F, w = at / F % PW, h = at / F / PW % PH, n = at / F / PW / PH, best = 0;
    for (size_t k = 0; k < 4; k++) {
        size_t from = ((n * H + 2 * h + k / 2) * W + 2 * w + k % 2) * F + f;
        if (!k || a->y[from] > a->y[best]) best = from;
    }
    return best;
}

static void conv_forward(answers *a, size_t y, size_t x, size_t w)
{
    a->y[y] += a->x[x] * a->conv_w[w];
}

static void up_forward(answers *a, size_t z, size_t p, size_t w)
{
    a->z[z] += a->pooled[p] * a->up_w[w];
}

static void up_backward(answers *a, size_t z, size_t p, size_t w)
{
    a->pooled_gradient[p] += a->z_gradient[z] * a->up_w[w];
    a->up_w_gradient[w] += a->z_gradient[z] * a->pooled[p];
}

static void conv_backward(answers *a, size_t y, size_t x, size_t w)
{
    a->x_gradient[x] += a->y_gradient[y] * a->conv_w[w];
    a->conv_w_gradient[w] += a->y_gradient[y] * a->x[x];
}

static void work_out(answers *a)
{
    fill(a->x, X, 7, 5);
    fill(a->conv_w, CONV, 5, 7);
    fill(a->conv_b, F, 1, 3);
    fill(a->up_w, TRANSPOSED, 4, 5);
    fill(a->up_b, U, 2, 5);
    fill(a->z_gradient, Z, 3, 5);
    for (int i = 0; i < Y; i++) a->y[i] = a->conv_b[i % F];
    each_conv_tap(a, conv_forward);
    for (size_t i = 0; i < P; i++) a->pooled[i] = a->y[pool_source(a, i)];
    for (int i = 0; i < Z; i++) a->z[i] = a->up_b[i % U];
    each_up_tap(a, up_forward);
    each_up_tap(a, up_backward);
    for (size_t i = 0; i < P; i++) a->y_gradient[pool_source(a, i)] += a->pooled_gradient[i];
    each_conv_tap(a, conv_backward);
    for (int i = 0; i < Z; i++) a->up_b_gradient[i % U] += a->z_gradient[i];
    for (int i = 0; i < Y; i++) a->conv_b_gradient[i % F] += a->y_gradient[i];
}

typedef struct {
    cdu_graph *graph;
    cdu_program *program;
    const cdu_gpu *gpu;
    answers *a;
    float *seen;
    double allowed; /* of an array's largest value; 0 demands equality */
} trial;

typedef enum { VALUE, GRADIENT } aspect;

static cdu_status check(const trial *t, const char *operator, cdu_value value, aspect what, const float *right, size_t count,
                        cdu_error *error)
{
    if (what == VALUE)
        CDU_TRY(cdu_program_read(t->program, value, t->seen, error));
    else
        CDU_TRY(cdu_program_read_gradient(t->program, value, t->seen, error));
    size_t wrong = 0, first = 0;
    double largest = 0;
    for (size_t i = 0; i < count; i++) largest = fmax(largest, fabs((double)right[i]));
    for (size_t i = count; i-- > 0;)
        if (!(fabs((double)t->seen[i] - (double)right[i]) <= t->allowed * largest)) wrong++, first = i;
    if (!wrong) return CDU_OK;
    return cdu_fail(error, CDU_NO_DEVICE, "%s (%s) computes wrong: %s: %zu of %zu values, the first at %zu: %g instead of %g",
                    t->gpu->id, t->gpu->info.name, operator, wrong, count, first, (double)t->seen[first], (double)right[first]);
}

static cdu_status write_convolution(const trial *t, cdu_value x, cdu_error *error)
{
    CDU_TRY(cdu_program_write(t->program, x, t->a->x, error));
    CDU_TRY(cdu_program_write_parameter(t->program, cdu_graph_find(t->graph, "conv.weight"), t->a->conv_w, error));
    return cdu_program_write_parameter(t->program, cdu_graph_find(t->graph, "conv.bias"), t->a->conv_b, error);
}

static cdu_status check_convolution_gradients(const trial *t, const char *which, cdu_value x, cdu_error *error)
{
    const answers *a = t->a;
    char words[80];
    snprintf(words, sizeof words, "gradient of %s", which);
    CDU_TRY(check(t, words, x, GRADIENT, a->x_gradient, X, error));
    snprintf(words, sizeof words, "weight gradient of %s", which);
    CDU_TRY(check(t, words, cdu_graph_find(t->graph, "conv.weight"), GRADIENT, a->conv_w_gradient, CONV, error));
    snprintf(words, sizeof words, "bias gradient of %s", which);
    return check(t, words, cdu_graph_find(t->graph, "conv.bias"), GRADIENT, a->conv_b_gradient, F, error);
}

/* The whole chain, exactly. */
static cdu_status run_chain(trial *t, cdu_error *error)
{
    cdu_graph *g = t->graph;
    const answers *a = t->a;
    cdu_value x = cdu_graph_input(g, "x", (cdu_shape){N, H, W, C}, CDU_F32);
    cdu_graph_want_gradient(g, x);
    cdu_value y = cdu_conv(g, "conv", x, 3, F, CDU_EPILOGUE_NONE);
    cdu_value pooled = cdu_max_pool(g, "pool", y);
    cdu_value z = cdu_conv_transposed(g, "up", pooled, U);
    cdu_graph_output(g, y);
    cdu_graph_output(g, pooled);
    cdu_graph_output(g, z);
    cdu_graph_output_gradient(g, x);
    cdu_graph_output_gradient(g, y);
    cdu_graph_output_gradient(g, pooled);
    cdu_graph_seed(g, z);
    CDU_TRY(cdu_graph_status(g, error));
    cdu_plan_options options = {.training = true, .exact = true, .quiet = true};
    CDU_TRY(cdu_program_create(g, t->gpu, &options, &t->program, error));
    cdu_value up_w = cdu_graph_find(g, "up.weight"), up_b = cdu_graph_find(g, "up.bias");
    CDU_TRY(write_convolution(t, x, error));
    CDU_TRY(cdu_program_write_parameter(t->program, up_w, a->up_w, error));
    CDU_TRY(cdu_program_write_parameter(t->program, up_b, a->up_b, error));
    CDU_TRY(cdu_program_write_gradient(t->program, z, a->z_gradient, error));
    CDU_TRY(cdu_program_run(t->program, NULL, 0, error));
    /* in the order of work, so that the first operator that is wrong is the one named */
    CDU_TRY(check(t, "convolution 3x3", y, VALUE, a->y, Y, error));
    CDU_TRY(check(t, "max pooling", pooled, VALUE, a->pooled, P, error));
    CDU_TRY(check(t, "transposed convolution", z, VALUE, a->z, Z, error));
    CDU_TRY(check(t, "gradient of the transposed convolution", pooled, GRADIENT, a->pooled_gradient, P, error));
    CDU_TRY(check(t, "weight gradient of the transposed convolution", up_w, GRADIENT, a->up_w_gradient, TRANSPOSED, error));
    CDU_TRY(check(t, "bias gradient of the transposed convolution", up_b, GRADIENT, a->up_b_gradient, U, error));
    CDU_TRY(check(t, "gradient of the max pooling", y, GRADIENT, a->y_gradient, Y, error));
    return check_convolution_gradients(t, "the convolution 3x3", x, error);
}

static cdu_status rounds(const trial *t, const cdu_plan_options *options, bool *out, cdu_error *error)
{
    cdu_plan *plan;
    CDU_TRY(cdu_plan_create(t->graph, &t->gpu->info, options, &plan, error));
    *out = false;
    for (uint32_t i = 0; i < cdu_plan_drafts(plan); i++) *out = *out || strstr(cdu_plan_draft(plan, i)->source, "winograd");
    cdu_plan_destroy(plan);
    return CDU_OK;
}

/* The convolution alone, by what the device's users get; nothing where that is exact. Alone, since the maximum of nearly equal values would
 * be another one. */
static cdu_status run_convolution(trial *t, cdu_error *error)
{
    cdu_graph *g = t->graph;
    const answers *a = t->a;
    cdu_value x = cdu_graph_input(g, "x", (cdu_shape){N, H, W, C}, CDU_F32);
    cdu_graph_want_gradient(g, x);
    cdu_value y = cdu_conv(g, "conv", x, 3, F, CDU_EPILOGUE_NONE);
    cdu_graph_output(g, y);
    cdu_graph_output_gradient(g, x);
    cdu_graph_seed(g, y);
    CDU_TRY(cdu_graph_status(g, error));
    cdu_plan_options options = {.training = true, .quiet = true};
    bool needed;
    CDU_TRY(rounds(t, &options, &needed, error));
    if (!needed) return CDU_OK;
    CDU_TRY(cdu_program_create(g, t->gpu, &options, &t->program, error));
    CDU_TRY(write_convolution(t, x, error));
    CDU_TRY(cdu_program_write_gradient(t->program, y, a->y_gradient, error));
    CDU_TRY(cdu_program_run(t->program, NULL, 0, error));
    CDU_TRY(check(t, "Winograd's convolution 3x3", y, VALUE, a->y, Y, error));
    return check_convolution_gradients(t, "Winograd's convolution 3x3", x, error);
}

static cdu_status run(trial *t, cdu_error *error)
{
    static cdu_status (*const parts[])(trial *, cdu_error *) = {run_chain, run_convolution};
    static const double allowed[] = {0, 1e-5};
    cdu_status status = CDU_OK;
    for (size_t i = 0; i < sizeof parts / sizeof *parts && status == CDU_OK; i++) {
        t->allowed = allowed[i];
        status = cdu_graph_create(&t->graph, error);
        if (status == CDU_OK) status = parts[i](t, error);
        cdu_program_destroy(t->program);
        cdu_graph_destroy(t->graph);
        t->program = NULL;
        t->graph = NULL;
    }
    return status;
}

cdu_status cdu_ops_self_test(const cdu_gpu *gpu, cdu_error *error)
{
    if (!strcmp(gpu->backend->name, "null")) return CDU_OK;
    trial t = {.gpu = gpu};
    cdu_error own = {0};
    cdu_status status = cdu_allocate(&t.a, 1, sizeof *t.a, &own);
    if (status == CDU_OK) status = cdu_allocate(&t.seen, Z > Y ? Z : Y, sizeof *t.seen, &own);
    if (status == CDU_OK) {
        work_out(t.a);
        status = run(&t, &own);
    }
    free(t.seen);
    free(t.a);
    if (status == CDU_OK) return CDU_OK;
    if (status == CDU_NO_DEVICE) {
        if (error) *error = own;
        return status;
    }
    return cdu_fail(error, CDU_NO_DEVICE, "%s (%s) fails the self-test of the operators: %s", gpu->id, gpu->info.name, own.words);
}
