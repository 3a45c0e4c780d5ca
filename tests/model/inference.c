/* The inference graph with folded batch norm, run on a device, against the network written as plain double-precision loops with running
 * statistics. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/random.h"
#include "core/model/model.h"

enum { SIDE = 16, LIMIT_CHANNELS = 32 };
typedef struct {
    uint32_t side, c;
    double at[SIDE * SIDE * LIMIT_CHANNELS];
} image; /* side x side x c */

static const float *weight(const cdu_weights *w, const char *prefix, const char *name)
{
    char full[128];
    snprintf(full, sizeof full, "%s.%s", prefix, name);
    const cdu_weight *found = cdu_weights_find(w, full);
    cr_assert(found, "%s", full);
    return found->data;
}

static image *convolve(const cdu_weights *w, const char *name, image *x, uint32_t k, uint32_t filters)
{
    const float *kernel = weight(w, name, "weight"), *bias = weight(w, name, "bias");
    image *y = calloc(1, sizeof *y);
    *y = (image){.side = x->side, .c = filters};
    int n = (int)x->side, half = (int)k / 2;
    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++)
            for (uint32_t f = 0; f < filters; f++) {
                double sum = bias[f];
                for (int a = 0; a < (int)k; a++)
                    for (int b = 0; b < (int)k; b++) {
                        int r = i + a - half, s = j + b - half;
                        if (r < 0 || s < 0 || r >= n || s >= n) continue;
                        for (uint32_t c = 0; c < x->c; c++)
                            sum += x->at[(uint32_t)(r * n + s) * x->c + c] *
                                   kernel[((f * x->c + c) * k + (uint32_t)a) * k + (uint32_t)b];
                    }
                y->at[(uint32_t)(i * n + j) * filters + f] = sum;
            }
    free(x);
    return y;
}

static image *stage(const cdu_weights *w, const char *name, image *x, uint32_t k, uint32_t filters, bool relu_first)
{
    char conv[64], norm[64];
    snprintf(conv, sizeof conv, "%s.0", name);
    snprintf(norm, sizeof norm, "%s.1", name);
    x = convolve(w, conv, x, k, filters);
    const float *g = weight(w, norm, "weight"), *b = weight(w, norm, "bias"), *m = weight(w, norm, "running_mean"),
                *v = weight(w, norm, "running_var");
    for (uint32_t i = 0; i < x->side * x->side * filters; i++) {
        uint32_t c = i % filters;
        double value = relu_first ? fmax(x->at[i], 0) : x->at[i];
        value = (value - m[c]) / sqrt(v[c] + (double)1e-5f) * g[c] + b[c];
        x->at[i] = relu_first ? value : fmax(value, 0);
    }
    return x;
}

static image *pair(const cdu_weights *w, const char *name, uint32_t i, image *x, uint32_t filters, bool relu_first)
{
    char inner[64];
    for (uint32_t j = 0; j < 2; j++) {
        snprintf(inner, sizeof inner, "%s.%u.%u", name, i, j);
        x = stage(w, inner, x, 3, filters, relu_first);
    }
    return x;
}

static image *pool(const image *x)
{
    image *y = calloc(1, sizeof *y);
    *y = (image){.side = x->side / 2, .c = x->c};
    for (uint32_t i = 0; i < y->side; i++)
        for (uint32_t j = 0; j < y->side; j++)
            for (uint32_t c = 0; c < x->c; c++) {
                double best = -INFINITY;
                for (uint32_t p = 0; p < 4; p++) best = fmax(best, x->at[((2 * i + p / 2) * x->side + 2 * j + p % 2) * x->c + c]);
                y->at[(i * y->side + j) * x->c + c] = best;
            }
    return y;
}

/* skip, then x enlarged by the transposed convolution `name` */
static image *up(const cdu_weights *w, const char *name, image *x, const image *skip)
{
    const float *kernel = weight(w, name, "weight"), *bias = weight(w, name, "bias");
    image *y = calloc(1, sizeof *y);
    uint32_t filters = skip->c, side = skip->side;
    *y = (image){.side = side, .c = 2 * filters};
    for (uint32_t i = 0; i < side; i++)
        for (uint32_t j = 0; j < side; j++)
            for (uint32_t f = 0; f < filters; f++) {
                double sum = bias[f];
                for (uint32_t c = 0; c < x->c; c++)
                    sum += x->at[(i / 2 * x->side + j / 2) * x->c + c] * kernel[((c * filters + f) * 2 + i % 2) * 2 + j % 2];
                y->at[(i * side + j) * 2 * filters + f] = skip->at[(i * side + j) * filters + f];
                y->at[(i * side + j) * 2 * filters + filters + f] = sum;
            }
    free(x);
    return y;
}

static image *network(const cdu_model_settings *s, const cdu_weights *w, image *x)
{
    image *skip[CDU_DEPTH_LIMIT];
    char name[64];
    if (s->kind == CDU_MODEL_CDUNET) {
        x = stage(w, "cd.0", x, 1, s->cd_filters[0], s->cd_relu_before_batch_norm);
        x = stage(w, "cd.1", x, 1, s->cd_filters[1], s->cd_relu_before_batch_norm);
    }
    for (uint32_t i = 0; i < s->depth; i++) {
        if (i) x = pool(x);
        skip[i] = x = pair(w, "down", i, x, s->width << i, s->relu_before_batch_norm);
    }
    for (uint32_t i = 0; i + 1 < s->depth; i++) {
        uint32_t level = s->depth - 2 - i;
        snprintf(name, sizeof name, "up.%u", i);
        x = up(w, name, x, skip[level]);
        free(skip[level]);
        x = pair(w, "join", i, x, s->width << level, s->relu_before_batch_norm);
    }
    x = convolve(w, "out", x, 1, s->classes);
    for (uint32_t i = 0; i < x->side * x->side; i++) {
        double *p = x->at + i * s->classes, most = -INFINITY, sum = 0;
        for (uint32_t c = 0; c < s->classes; c++) most = fmax(most, p[c]);
        for (uint32_t c = 0; c < s->classes; c++) sum += p[c] = exp(p[c] - most);
        for (uint32_t c = 0; c < s->classes; c++) p[c] /= sum;
    }
    return x;
}

/* As after training: no bias is 0, no variance 1. */
static void stir(cdu_weights *w)
{
    cdu_random noise = cdu_random_stream(3, CDU_RANDOM_TEST, 0, 0);
    for (size_t i = 0; i < w->count; i++)
        for (uint32_t k = 0; k < w->items[i].dims[0] && w->items[i].rank == 1; k++)
            w->items[i].data[k] +=
                strstr(w->items[i].name, "running_var") ? 2 * cdu_random_float(&noise) - 0.5f : cdu_random_float(&noise) - 0.5f;
}

static void expect_folding(const char *device, cdu_model_settings s)
{
    cdu_error error = {0};
    cdu_gpu gpu;
    cdu_graph *graph;
    cdu_program *program;
    cdu_inference_graph values;
    cdu_weights w;
    static const cdu_plan_options options;
    uint32_t tile[SIDE * SIDE];
    float got[SIDE * SIDE * CDU_CLASS_LIMIT];
    if (cdu_gpu_open(device, false, true, &gpu, &error) != CDU_OK) cr_skip_test("%s", error.words);
    cr_assert_eq(cdu_model_initialize(&s, 1, &w, &error), CDU_OK);
    stir(&w);
    cr_assert_eq(cdu_graph_create(&graph, &error), CDU_OK);
    cr_assert_eq(cdu_model_build_inference(graph, &s, 1, SIDE, SIDE, &values, &error), CDU_OK, "%s", error.words);
    cr_assert_eq(cdu_program_create(graph, &gpu, &options, &program, &error), CDU_OK, "%s", error.words);
    cr_assert_eq(cdu_model_load_folded(graph, program, &s, &w, &error), CDU_OK, "%s", error.words);
    image *x = calloc(1, sizeof *x);
    *x = (image){.side = SIDE, .c = 3};
    cdu_random noise = cdu_random_stream(4, CDU_RANDOM_TEST, 0, 0);
    for (int i = 0; i < SIDE * SIDE; i++) {
        tile[i] = cdu_random_u32(&noise);
        for (int c = 0; c < 3; c++) x->at[3 * i + (s.bgr ? 2 - c : c)] = (tile[i] >> (8 * c) & 255) / 255.0;
    }
    cr_assert_eq(cdu_program_write(program, values.tile, tile, &error), CDU_OK);
    cr_assert_eq(cdu_program_run(program, NULL, 0, &error), CDU_OK, "%s", error.words);
    cr_assert_eq(cdu_program_read(program, values.probabilities, got, &error), CDU_OK, "%s", error.words);
    x = network(&s, &w, x);
    double worst = 0;
    for (uint32_t i = 0; i < SIDE * SIDE * s.classes; i++) worst = fmax(worst, isfinite(got[i]) ? fabs(got[i] - x->at[i]) : 1);
    cr_expect_lt(worst, 2e-5, "%s: probabilities differ by %g", device, worst);
    free(x);
    cdu_weights_free(&w);
    cdu_program_destroy(program);
    cdu_graph_destroy(graph);
    cdu_gpu_close(&gpu);
}

static const cdu_model_settings small = {CDU_MODEL_CDUNET, 3, 3, {6, 3}, 4, false, false, false};

Test(inference, folded_batch_norm_is_the_network_with_running_statistics)
{
    cdu_model_settings s = small;
    expect_folding("opencl:0", s);
    s.bgr = s.relu_before_batch_norm = s.cd_relu_before_batch_norm = true;
    expect_folding("opencl:0", s);
    s.kind = CDU_MODEL_UNET, s.classes = 3;
    expect_folding("opencl:0", s);
}

Test(inference, so_it_is_on_vulkan)
{
    cdu_model_settings s = small;
    s.cd_relu_before_batch_norm = true;
    expect_folding("vulkan:0", s);
}
