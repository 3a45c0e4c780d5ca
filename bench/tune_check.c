/* tune_check.c: whether a candidate computes what a convolution is, on this driver: in the ways in which networks use it, at small shapes with
 * odd tails, and at the shape it is meant for. The meaning is written here as plain loops in double precision, one element at a time, so
 * that of large results a part can be looked at: corners, edges, and others at random. The rest is compared with the direct variant.
 *
 * What is accepted: off by at most NORM of the result's norm, as core/ops/conv_variant.h states it, and nowhere by more than ELEMENT of the
 * result's root mean square (Winograd was seen at 2e-5). Memory that nobody wrote holds NaN. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/tune.h"
#include "core/base/debug.h"
#include "core/base/memory.h"
#include "core/base/random.h"
#include "core/ops/ops.h"

static const double NORM = 5e-6, ELEMENT = 6e-5;
static const double MACS_SMALL = 1e8, MACS_LARGE = 3e7;
enum { COPIES = 2, TRANSPOSED = 2 };

typedef enum { RESULT, DATA_GRADIENT, WEIGHT_GRADIENT } aspect;

/* One or two convolutions that read x, their outputs side by side. kernel: 1, 3 or TRANSPOSED. */
typedef struct {
    aspect look;
    uint32_t kernel, n, h, w, in, out, copies;
    bool affine;                            /* with the epilogue of inference */
} check_case;

typedef struct {
    const cdu_gpu *gpu;
    const tune_trial *trial;
    check_case c;
    float *x, *weight[COPIES], *bias[COPIES], *seed;
    cdu_random random;
} check;

/* A result: dims as it lies in memory, the last one fastest. macs: multiply-adds behind an element. */
typedef struct { const char *name; uint32_t dims[4], copy; double macs; float *got, *reference; } result;
enum { RESULTS = 1 + 2 * COPIES };

static uint32_t stretch(const check *k)
{
    return k->c.kernel == TRANSPOSED ? 2 : 1;
}

static uint32_t taps(const check *k)
{
    return k->c.kernel * k->c.kernel;
}

static size_t weight_at(const check *k, uint32_t i, uint32_t o, uint32_t tap)
{
    size_t pair = k->c.kernel == TRANSPOSED ? (size_t)i * k->c.out + o : (size_t)o * k->c.in + i;
    return pair * taps(k) + tap;
}

/* Of x; 0 outside. */
static const float *pixel(const check *k, uint32_t n, int64_t y, int64_t x)
{
    if (y < 0 || x < 0 || y >= k->c.h || x >= k->c.w) return NULL;
    return k->x + ((size_t)(n * k->c.h + y) * k->c.w + (size_t)x) * k->c.in;
}

static const float *seed_pixel(const check *k, uint32_t copy, uint32_t n, int64_t y, int64_t x)
{
    int64_t h = (int64_t)k->c.h * stretch(k), w = (int64_t)k->c.w * stretch(k);
    if (y < 0 || x < 0 || y >= h || x >= w) return NULL;
    return k->seed + (((size_t)n * (size_t)h + (size_t)y) * (size_t)w + (size_t)x) * k->c.out * k->c.copies + (size_t)copy * k->c.out;
}

/* ---- the meaning ---- */

static double result_at(const check *k, const uint32_t at[4])
{
    uint32_t copy = at[3] / k->c.out, o = at[3] % k->c.out;
    double sum = k->bias[copy][o];
    for (uint32_t t = 0; t < taps(k); t++) {
        int64_t kh = t / k->c.kernel, kw = t % k->c.kernel, y = at[1], x = at[2];
        if (k->c.kernel == TRANSPOSED) {
            if (y % 2 != kh || x % 2 != kw) continue;
            y /= 2, x /= 2;
        } else {
            y += kh - k->c.kernel / 2, x += kw - k->c.kernel / 2;
        }
        const float *from = pixel(k, at[0], y, x);
        for (uint32_t i = 0; from && i < k->c.in; i++) sum += (double)from[i] * k->weight[copy][weight_at(k, i, o, t)];
    }
    return k->c.affine ? (sum > 0 ? sum : 0) * 0.75 + 0.25 : sum;
}

static double data_gradient_at(const check *k, const uint32_t at[4])
{
    double sum = 0;
    for (uint32_t copy = 0; copy < k->c.copies; copy++)
        for (uint32_t t = 0; t < taps(k); t++) {
            int64_t kh = t / k->c.kernel, kw = t % k->c.kernel, s = stretch(k), half = k->c.kernel == TRANSPOSED ? 0 : k->c.kernel / 2;
            int64_t y = s == 2 ? at[1] * s + kh : at[1] - kh + half, x = s == 2 ? at[2] * s + kw : at[2] - kw + half;
            const float *g = seed_pixel(k, copy, at[0], y, x);
            for (uint32_t o = 0; g && o < k->c.out; o++) sum += (double)g[o] * k->weight[copy][weight_at(k, at[3], o, t)];
        }
    return sum;
}

static double weight_gradient_at(const check *k, uint32_t copy, const uint32_t at[4])
{
    bool turned = k->c.kernel == TRANSPOSED;
    uint32_t i = turned ? at[0] : at[1], o = turned ? at[1] : at[0];
    int64_t half = turned ? 0 : k->c.kernel / 2, kh = at[2], kw = at[3], s = stretch(k);
    double sum = 0;
    for (uint32_t n = 0; n < k->c.n; n++)
        for (int64_t y = 0; y < k->c.h; y++)
            for (int64_t x = 0; x < k->c.w; x++) {
                const float *g = turned ? seed_pixel(k, copy, n, y * s + kh, x * s + kw) : seed_pixel(k, copy, n, y - kh + half, x - kw + half);
                if (g) sum += (double)g[o] * pixel(k, n, y, x)[i];
            }
    return sum;
}

static double bias_gradient_at(const check *k, uint32_t copy, uint32_t o)
{
    double sum = 0;
    for (uint32_t n = 0; n < k->c.n; n++)
        for (uint32_t y = 0; y < k->c.h * stretch(k); y++)
            for (uint32_t x = 0; x < k->c.w * stretch(k); x++) sum += seed_pixel(k, copy, n, y, x)[o];
    return sum;
}

static double meaning(const check *k, const result *r, const uint32_t at[4])
{
    if (k->c.look == RESULT) return result_at(k, at);
    if (k->c.look == DATA_GRADIENT) return data_gradient_at(k, at);
    return r->dims[1] * r->dims[2] * r->dims[3] == 1 ? bias_gradient_at(k, r->copy, at[0]) : weight_gradient_at(k, r->copy, at);
}

/* ---- comparing ---- */

static uint64_t elements(const result *r)
{
    return (uint64_t)r->dims[0] * r->dims[1] * r->dims[2] * r->dims[3];
}

static void place(const result *r, uint64_t index, uint32_t at[4])
{
    for (int d = 3; d >= 0; d--) {
        at[d] = (uint32_t)(index % r->dims[d]);
        index /= r->dims[d];
    }
}

static uint64_t index_of(const result *r, const uint32_t at[4])
{
    return (((uint64_t)at[0] * r->dims[1] + at[1]) * r->dims[2] + at[2]) * r->dims[3] + at[3];
}

static cdu_status wrong(const check *k, const result *r, uint64_t index, double expected, const char *beside, cdu_error *error)
{
    uint32_t at[4];
    place(r, index, at);
    return cdu_fail(error, CDU_BAD_DATA, "computes wrong: %s of %u x %u x %u x %u to %u at (%u, %u, %u, %u): %.9g, and %.9g by %s", r->name,
                    k->c.n, k->c.h, k->c.w, k->c.in, k->c.out, at[0], at[1], at[2], at[3], (double)r->got[index], expected, beside);
}

static double root_mean_square(const float *values, uint64_t count)
{
    double squares = 0;
    for (uint64_t i = 0; i < count; i++) squares += (double)values[i] * values[i];
    return sqrt(squares / (double)count);
}

static cdu_status compare_element(const check *k, const result *r, uint64_t index, double allowed, cdu_error *error)
{
    uint32_t at[4];
    place(r, index, at);
    double expected = meaning(k, r, at);
    return fabs(r->got[index] - expected) <= allowed ? CDU_OK : wrong(k, r, index, expected, "the definition", error);
}

/* All elements where that is affordable; else the corners' first and last channels and others at random. */
static cdu_status compare_with_loops(check *k, const result *r, double macs, cdu_error *error)
{
    uint64_t count = elements(r), affordable = (uint64_t)(macs / r->macs) + 64;
    double allowed = ELEMENT * root_mean_square(r->reference ? r->reference : r->got, count) + 1e-30;
    for (uint64_t i = 0; affordable >= count && i < count; i++) CDU_TRY(compare_element(k, r, i, allowed, error));
    for (uint32_t corner = 0; affordable < count && corner < 32; corner++) {
        uint32_t at[4];
        for (int d = 0; d < 3; d++) at[d] = corner >> d & 1 ? r->dims[d] - 1 : 0;
        at[3] = corner >> 4 ? r->dims[3] - 1 : corner >> 3 & 1 ? r->dims[3] / 2 : 0;
        CDU_TRY(compare_element(k, r, index_of(r, at), allowed, error));
    }
    for (uint64_t i = 0; affordable < count && i < affordable; i++)
        CDU_TRY(compare_element(k, r, (uint64_t)(cdu_random_double(&k->random) * (double)count), allowed, error));
    return CDU_OK;
}

static cdu_status compare_with_direct(const check *k, const result *r, cdu_error *error)
{
    uint64_t count = elements(r), worst = 0;
    double allowed = ELEMENT * root_mean_square(r->reference, count) + 1e-30, squares = 0, error_squares = 0, largest = 0;
    for (uint64_t i = 0; i < count; i++) {
        double distance = fabs((double)r->got[i] - r->reference[i]);
        if (!(distance <= allowed)) return wrong(k, r, i, r->reference[i], "the direct variant", error);
        if (distance > largest) largest = distance, worst = i;
        squares += (double)r->reference[i] * r->reference[i];
        error_squares += distance * distance;
    }
    if (sqrt(error_squares) <= 2 * NORM * sqrt(squares) + 1e-30) return CDU_OK;
    return wrong(k, r, worst, r->reference[worst], "the direct variant", error);
}

/* ---- running ---- */

typedef struct { cdu_graph *graph; cdu_value x, y; } built;

static cdu_value one(const check *k, cdu_graph *graph, const char *name, cdu_value x)
{
    if (k->c.kernel == TRANSPOSED) return cdu_conv_transposed(graph, name, x, k->c.out);
    return cdu_conv(graph, name, x, k->c.kernel, k->c.out, k->c.affine ? CDU_EPILOGUE_RELU_AFFINE : CDU_EPILOGUE_NONE);
}

static cdu_status build(const check *k, built *b, cdu_error *error)
{
    CDU_TRY(cdu_graph_create(&b->graph, error));
    b->x = cdu_graph_input(b->graph, "x", (cdu_shape){k->c.n, k->c.h, k->c.w, k->c.in}, CDU_F32);
    if (k->c.look == DATA_GRADIENT) cdu_graph_want_gradient(b->graph, b->x);
    if (k->c.look == DATA_GRADIENT) cdu_graph_output_gradient(b->graph, b->x);
    b->y = one(k, b->graph, "a", b->x);
    if (k->c.copies == COPIES) b->y = cdu_graph_concat(b->graph, "both", b->y, one(k, b->graph, "b", b->x));
    if (k->c.look == RESULT && b->y != CDU_NO_VALUE) cdu_graph_output(b->graph, b->y);
    if (k->c.look != RESULT && b->y != CDU_NO_VALUE) cdu_graph_seed(b->graph, b->y);
    return cdu_graph_status(b->graph, error);
}

static cdu_status give_parameter(const built *b, cdu_program *program, uint32_t copy, const char *name, const float *values, cdu_error *error)
{
    char full[32];
    snprintf(full, sizeof full, "%s.%s", copy ? "b" : "a", name);
    return cdu_program_write_parameter(program, cdu_graph_find(b->graph, full), values, error);
}

static cdu_status give(const check *k, const built *b, cdu_program *program, cdu_error *error)
{
    CDU_TRY(cdu_program_write(program, b->x, k->x, error));
    for (uint32_t copy = 0; copy < k->c.copies; copy++) {
        CDU_TRY(give_parameter(b, program, copy, "weight", k->weight[copy], error));
        CDU_TRY(give_parameter(b, program, copy, "bias", k->bias[copy], error));
    }
    if (k->c.affine) {
        float *scale;
        CDU_TRY(cdu_allocate(&scale, k->c.out, 2 * sizeof *scale, error));
        for (uint32_t i = 0; i < k->c.out; i++) scale[i] = 0.75f, scale[k->c.out + i] = 0.25f;
        cdu_status status = give_parameter(b, program, 0, "scale", scale, error);
        if (status == CDU_OK) status = give_parameter(b, program, 0, "shift", scale + k->c.out, error);
        free(scale);
        CDU_TRY(status);
    }
    return k->c.look == RESULT ? CDU_OK : cdu_program_write_gradient(program, b->y, k->seed, error);
}

static cdu_status take(const check *k, const built *b, cdu_program *program, result *results, uint32_t count, bool reference, cdu_error *error)
{
    for (uint32_t i = 0; i < count; i++) {
        float *to = reference ? results[i].reference : results[i].got;
        if (k->c.look == RESULT) CDU_TRY(cdu_program_read(program, b->y, to, error));
        else if (k->c.look == DATA_GRADIENT) CDU_TRY(cdu_program_read_gradient(program, b->x, to, error));
        else {
            char name[32];
            bool bias = results[i].dims[1] * results[i].dims[2] * results[i].dims[3] == 1;
            snprintf(name, sizeof name, "%s.%s", results[i].copy ? "b" : "a", bias ? "bias" : "weight");
            CDU_TRY(cdu_program_read_gradient(program, cdu_graph_find(b->graph, name), to, error));
        }
    }
    return CDU_OK;
}

static cdu_status run(const check *k, const cdu_choice *choice, result *results, uint32_t count, bool reference, cdu_error *error)
{
    built b = {0};
    cdu_program *program = NULL;
    cdu_status status = build(k, &b, error);
    tune_phase(true);
    cdu_conv_force(choice);
    if (status == CDU_OK)
        status = cdu_program_create(b.graph, k->gpu, &(cdu_plan_options){.training = k->c.look != RESULT, .quiet = true}, &program, error);
    cdu_conv_force(NULL);
    tune_phase(false);
    if (status == CDU_OK) status = give(k, &b, program, error);
    if (status == CDU_OK) status = cdu_program_run(program, NULL, 0, error);
    if (status == CDU_OK) status = take(k, &b, program, results, count, reference, error);
    cdu_program_destroy(program);
    cdu_graph_destroy(b.graph);
    return status;
}

/* What to look at: its arrays allocated, `reference` too where asked for. */
static cdu_status list_results(const check *k, result *results, uint32_t *count, bool reference, cdu_error *error)
{
    const check_case *c = &k->c;
    uint32_t s = stretch(k), side = c->kernel;
    double pixels = (double)c->n * c->h * c->w;
    *count = 1;
    if (c->look == RESULT)
        results[0] = (result){.name = "the result", .dims = {c->n, c->h * s, c->w * s, c->out * c->copies}, .macs = (double)c->in * (s == 2 ? 1 : taps(k))};
    else if (c->look == DATA_GRADIENT)
        results[0] = (result){.name = "the data gradient", .dims = {c->n, c->h, c->w, c->in}, .macs = (double)c->out * taps(k) * c->copies};
    else
        for (uint32_t copy = *count = 0; copy < c->copies; copy++) {
            uint32_t first = s == 2 ? c->in : c->out, second = s == 2 ? c->out : c->in;
            results[(*count)++] = (result){.name = "the weight gradient", .dims = {first, second, side, side}, .copy = copy, .macs = pixels};
            results[(*count)++] = (result){.name = "the bias gradient", .dims = {c->out, 1, 1, 1}, .copy = copy, .macs = pixels * s * s};
        }
    for (uint32_t i = 0; i < *count; i++) {
        CDU_TRY(cdu_allocate(&results[i].got, elements(&results[i]), sizeof(float), error));
        if (reference) CDU_TRY(cdu_allocate(&results[i].reference, elements(&results[i]), sizeof(float), error));
    }
    return CDU_OK;
}

static cdu_status fill(check *k, float **out, uint64_t count, cdu_error *error)
{
    CDU_TRY(cdu_allocate(out, count, sizeof **out, error));
    for (uint64_t i = 0; i < count; i++) (*out)[i] = cdu_random_float(&k->random) - 0.5f;
    return CDU_OK;
}

static cdu_status fill_all(check *k, cdu_error *error)
{
    const check_case *c = &k->c;
    uint64_t pixels = (uint64_t)c->n * c->h * c->w, s = stretch(k);
    CDU_TRY(fill(k, &k->x, pixels * c->in, error));
    for (uint32_t copy = 0; copy < c->copies; copy++) {
        CDU_TRY(fill(k, &k->weight[copy], (uint64_t)c->in * c->out * taps(k), error));
        CDU_TRY(fill(k, &k->bias[copy], c->out, error));
    }
    return c->look == RESULT ? CDU_OK : fill(k, &k->seed, pixels * s * s * c->out * c->copies, error);
}

static cdu_status check_one(const cdu_gpu *gpu, const tune_trial *trial, const check_case *c, double macs, cdu_error *error)
{
    static const cdu_choice direct = {.variant = "direct"};
    check k = {.gpu = gpu, .trial = trial, .c = *c, .random = cdu_random_stream(5, CDU_RANDOM_TEST, c->look, c->n * c->h * c->w)};
    result results[RESULTS] = {{0}};
    uint32_t count = 0;
    cdu_status status = fill_all(&k, error);
    if (status == CDU_OK) status = list_results(&k, results, &count, trial->reference, error);
    if (status == CDU_OK) status = run(&k, &trial->candidate, results, count, false, error);
    if (status == CDU_OK && trial->reference) status = run(&k, &direct, results, count, true, error);
    tune_phase(true);   /* the host's loops take their time */
    for (uint32_t i = 0; i < count && status == CDU_OK; i++) {
        status = compare_with_loops(&k, &results[i], macs / count, error);
        if (status == CDU_OK && trial->reference) status = compare_with_direct(&k, &results[i], error);
    }
    for (uint32_t i = 0; i < RESULTS; i++) free(results[i].got), free(results[i].reference);
    for (uint32_t copy = 0; copy < COPIES; copy++) free(k.weight[copy]), free(k.bias[copy]);
    free(k.x);
    free(k.seed);
    return status;
}

/* The forward pass, or the backward pass that solves the same problem. */
static check_case case_of(const cdu_conv_problem *p, bool backward)
{
    check_case c = {.kernel = p->side, .n = p->n, .h = p->h, .w = p->w, .in = p->in_lanes, .out = p->out_lanes, .copies = 1};
    if (p->parities == 4) c.kernel = TRANSPOSED;
    if (p->pass == CDU_CONV_GRADIENT) c.look = WEIGHT_GRADIENT;
    else if (backward) c.look = DATA_GRADIENT;
    if (p->side == 2 || c.look == DATA_GRADIENT) c.in = p->out_lanes, c.out = p->in_lanes;
    return c;
}

cdu_status tune_check(const cdu_gpu *gpu, const tune_trial *trial, cdu_error *error)
{
    static const uint32_t small[][4] = {{1, 1, 1, 0}, {2, 7, 13, 1}, {1, 18, 21, 0}};    /* n, h, w, channels less than lanes */
    const cdu_conv_problem *p = &trial->problem;
    bool sum = p->pass == CDU_CONV_SUM, backward = sum && p->side == 2, plain = sum && p->side != 2 && p->parities == 1;
    cdu_debug_set(CDU_DEBUG_POISON, true);
    cdu_status status = CDU_OK;
    for (size_t i = 0; i < sizeof small / sizeof *small && status == CDU_OK; i++)
        for (int also = 0; also <= (plain ? 2 : 0) && status == CDU_OK; also++) {
            check_case c = case_of(p, backward || also == 1);
            c.n = small[i][0], c.h = small[i][1], c.w = small[i][2];
            c.in -= small[i][3], c.out -= small[i][3];
            c.affine = also == 2;
            c.copies = c.affine ? 1 : COPIES;
            status = check_one(gpu, trial, &c, MACS_SMALL / (plain ? 3 : 1), error);
        }
    check_case whole = case_of(p, backward);
    if (status == CDU_OK) status = check_one(gpu, trial, &whole, MACS_LARGE, error);
    cdu_debug_set(CDU_DEBUG_POISON, false);
    return status;
}
