/* cases.c: what is measured: single operators, forward and backward, at the shapes of the network, and a whole training step. To add
 * an operator: a row in `cases` and, if it is built differently, a function. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/bench.h"
#include "core/base/memory.h"
#include "core/base/random.h"
#include "core/model/model.h"
#include "core/ops/ops.h"

typedef struct op_case op_case;
struct op_case {
    const char *name;
    cdu_value (*build)(cdu_graph *, const op_case *, cdu_value x);
    cdu_shape shape;        /* of the input */
    uint32_t kernel, filters;
    bool whole;             /* only where all cases are asked for by name: too slow for a quick look on a CPU */
};

static cdu_value build_conv(cdu_graph *graph, const op_case *c, cdu_value x)
{
    return cdu_conv(graph, "conv", x, c->kernel, c->filters, CDU_EPILOGUE_NONE);
}

static cdu_value build_transposed(cdu_graph *graph, const op_case *c, cdu_value x)
{
    return cdu_conv_transposed(graph, "up", x, c->filters);
}

static cdu_value build_batch_norm(cdu_graph *graph, const op_case *c, cdu_value x)
{
    (void)c;
    return cdu_batch_norm(graph, "norm", x, CDU_BATCH_NORM_RELU, 1e-5f, 0.1f);
}

static cdu_value build_pool(cdu_graph *graph, const op_case *c, cdu_value x)
{
    (void)c;
    return cdu_max_pool(graph, "pool", x);
}

static const op_case cases[] = {
    {"conv3x3 3-32 512x512", build_conv, {1, 512, 512, 3}, 3, 32, false},
    {"conv3x3 32-32 512x512", build_conv, {1, 512, 512, 32}, 3, 32, false},
    {"conv3x3 64-64 256x256", build_conv, {1, 256, 256, 64}, 3, 64, false},
    {"conv3x3 128-128 128x128", build_conv, {1, 128, 128, 128}, 3, 128, false},
    {"conv3x3 256-256 64x64", build_conv, {1, 64, 64, 256}, 3, 256, false},
    {"conv3x3 512-512 32x32", build_conv, {1, 32, 32, 512}, 3, 512, false},
    {"conv3x3 32-32 128x128", build_conv, {1, 128, 128, 32}, 3, 32, true},
    {"conv1x1 3-6 512x512", build_conv, {1, 512, 512, 3}, 1, 6, false},
    {"conv1x1 32-4 512x512", build_conv, {1, 512, 512, 32}, 1, 4, false},
    {"transposed 512-256 32x32", build_transposed, {1, 32, 32, 512}, 2, 256, false},
    {"transposed 64-32 256x256", build_transposed, {1, 256, 256, 64}, 2, 32, false},
    {"batch-norm 32 512x512", build_batch_norm, {1, 512, 512, 32}, 0, 0, false},
    {"max-pool 32 512x512", build_pool, {1, 512, 512, 32}, 0, 0, false},
};

static cdu_status fill(cdu_program *program, const cdu_graph *graph, cdu_value value, bool gradient, cdu_error *error)
{
    cdu_shape s = cdu_graph_value(graph, value)->shape;
    size_t count = (size_t)s.n * s.h * s.w * s.c;
    float *numbers = NULL;
    cdu_random random = cdu_random_stream(1, CDU_RANDOM_TEST, (uint32_t)value, gradient);
    CDU_TRY(cdu_allocate(&numbers, count, sizeof *numbers, error));
    for (size_t i = 0; i < count; i++) numbers[i] = cdu_random_float(&random) - 0.5f;
    cdu_status status = gradient ? cdu_program_write_gradient(program, value, numbers, error)
                                 : cdu_program_write(program, value, numbers, error);
    free(numbers);
    return status;
}

static cdu_status run_case(const bench_context *context, const op_case *c, bench_rows *rows, cdu_error *error)
{
    cdu_graph *graph = NULL;
    cdu_program *program = NULL;
    CDU_TRY(cdu_graph_create(&graph, error));
    cdu_value x = cdu_graph_input(graph, "x", c->shape, CDU_F32);
    cdu_graph_want_gradient(graph, x);
    cdu_value y = c->build(graph, c, x);
    if (y != CDU_NO_VALUE) cdu_graph_seed(graph, y);
    cdu_status status = cdu_graph_status(graph, error);
    if (status == CDU_OK)
        status = cdu_program_create(graph, &context->gpu, &(cdu_plan_options){.training = true}, &program, error);
    if (status == CDU_OK) status = fill(program, graph, x, false, error);
    if (status == CDU_OK) status = fill(program, graph, y, true, error);
    if (status == CDU_OK) status = bench_program(context, c->name, program, rows, error);
    cdu_program_destroy(program);
    cdu_graph_destroy(graph);
    return status == CDU_OK ? CDU_OK : cdu_error_prefix(error, "%s", c->name);
}

cdu_status bench_ops(const bench_context *context, bench_rows *rows, cdu_error *error)
{
    size_t before = rows->count;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (context->only ? strstr(cases[i].name, context->only) != NULL : !cases[i].whole)
            CDU_TRY(run_case(context, &cases[i], rows, error));
    if (rows->count == before) return cdu_fail(error, CDU_USAGE, "ops: no case has '%s' in its name", context->only);
    return CDU_OK;
}

static cdu_status fill_tiles(cdu_program *program, const cdu_training_graph *values, const bench_context *context, uint32_t classes,
                             cdu_error *error)
{
    size_t count = (size_t)context->batch * context->size * context->size;
    uint32_t *pixels = NULL;
    float weights[CDU_CLASS_LIMIT];
    cdu_random random = cdu_random_stream(1, CDU_RANDOM_TEST, 0, 0);
    CDU_TRY(cdu_allocate(&pixels, count, sizeof *pixels, error));
    for (size_t i = 0; i < count; i++) pixels[i] = (cdu_random_u32(&random) & 0xffffffu) | cdu_random_below(&random, classes) << 24;
    for (uint32_t i = 0; i < CDU_CLASS_LIMIT; i++) weights[i] = 1;
    cdu_status status = cdu_program_write(program, values->tile, pixels, error);
    if (status == CDU_OK) status = cdu_program_write(program, values->class_weight, weights, error);
    free(pixels);
    return status;
}

/* Rate 0: the weights stay as they are, the work is the same. */
cdu_status bench_step(const bench_context *context, bench_rows *rows, cdu_error *error)
{
    cdu_model_settings settings = cdu_model_defaults();
    cdu_graph *graph = NULL;
    cdu_program *program = NULL;
    cdu_training_graph values;
    cdu_weights weights = {0};
    char name[64];
    settings.width = context->width;
    snprintf(name, sizeof name, "step width %u, %u x %u x %u", context->width, context->batch, context->size, context->size);
    CDU_TRY(cdu_graph_create(&graph, error));
    cdu_status status = cdu_model_build_training(graph, &settings, context->batch, context->size, context->size, false, &values, error);
    if (status == CDU_OK)
        status = cdu_program_create(graph, &context->gpu, &(cdu_plan_options){.training = true, .update = cdu_sgd_update}, &program, error);
    if (status == CDU_OK) status = cdu_model_initialize(&settings, 1, &weights, error);
    if (status == CDU_OK) status = cdu_model_load(graph, program, &weights, error);
    if (status == CDU_OK) status = fill_tiles(program, &values, context, settings.classes, error);
    if (status == CDU_OK) status = bench_program(context, name, program, rows, error);
    cdu_weights_free(&weights);
    cdu_program_destroy(program);
    cdu_graph_destroy(graph);
    return status;
}
