/* cases.c: the operators that can be measured by themselves. To add one: a function that builds it and a row in `operators`, and rows in
 * bench_case_rows. */
#include "bench/cases.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/base/random.h"
#include "core/ops/ops.h"
#include "core/train/augment.h"

struct bench_operator {
    const char *name;
    bool filters, pixels;       /* has a number of output channels; has a height and width */
    bool inference;             /* forward alone */
    const char *pass;           /* the only one that counts, or null */
    cdu_value (*build)(cdu_graph *, const bench_case *);
};

static cdu_value float_input(cdu_graph *graph, const bench_case *c)
{
    cdu_value x = cdu_graph_input(graph, "x", (cdu_shape){c->n, c->h, c->w, c->in}, CDU_F32);
    if (!c->operator->inference) cdu_graph_want_gradient(graph, x);
    return x;
}

static cdu_value build_conv3(cdu_graph *graph, const bench_case *c)
{
    return cdu_conv(graph, "conv", float_input(graph, c), 3, c->out, CDU_EPILOGUE_NONE);
}

static cdu_value build_conv1(cdu_graph *graph, const bench_case *c)
{
    return cdu_conv(graph, "conv", float_input(graph, c), 1, c->out, CDU_EPILOGUE_NONE);
}

static cdu_value build_conv3_relu(cdu_graph *graph, const bench_case *c)
{
    return cdu_conv(graph, "conv", float_input(graph, c), 3, c->out, CDU_EPILOGUE_RELU);
}

static cdu_value build_transposed(cdu_graph *graph, const bench_case *c)
{
    return cdu_conv_transposed(graph, "up", float_input(graph, c), c->out);
}

static cdu_value build_batch_norm(cdu_graph *graph, const bench_case *c)
{
    return cdu_batch_norm(graph, "norm", float_input(graph, c), CDU_BATCH_NORM_RELU, 1e-5f, 0.1f);
}

static cdu_value build_pool(cdu_graph *graph, const bench_case *c)
{
    return cdu_max_pool(graph, "pool", float_input(graph, c));
}

static cdu_value build_softmax(cdu_graph *graph, const bench_case *c)
{
    return cdu_softmax(graph, "probabilities", float_input(graph, c));
}

static cdu_value build_cross_entropy(cdu_graph *graph, const bench_case *c)
{
    cdu_value x = float_input(graph, c);
    cdu_value label = cdu_graph_input(graph, "label", (cdu_shape){c->n, c->h, c->w, 1}, CDU_U32);
    cdu_value weight = cdu_graph_input(graph, "class_weight", (cdu_shape){1, 1, 1, c->in}, CDU_F32);
    return cdu_cross_entropy(graph, "loss", x, label, weight, CDU_MEAN_WEIGHTS);
}

static cdu_value build_tile_input(cdu_graph *graph, const bench_case *c)
{
    cdu_value label;
    return cdu_tile_input(graph, "input", cdu_graph_input(graph, "tile", (cdu_shape){c->n, c->h, c->w, 1}, CDU_U32), true, &label);
}

static cdu_value build_augment(cdu_graph *graph, const bench_case *c)
{
    cdu_value label, tile = cdu_graph_input(graph, "tile", (cdu_shape){c->n, c->h, c->w, 1}, CDU_U32);
    return cdu_tile_augment(graph, "input", tile, cdu_graph_input(graph, "table", (cdu_shape){c->n, 1, 1, CDU_AUGMENT_WORDS}, CDU_U32), true, &label);
}

/* A convolution of one pixel, for its weights' sake. */
static cdu_value build_update(cdu_graph *graph, const bench_case *c)
{
    bench_case small = *c;
    small.h = small.w = 1;
    return cdu_conv(graph, "conv", float_input(graph, &small), 1, c->out, CDU_EPILOGUE_NONE);
}

static const bench_operator operators[] = {
    {"conv3x3", true, true, false, NULL, build_conv3},
    {"conv1x1", true, true, false, NULL, build_conv1},
    {"transposed", true, true, false, NULL, build_transposed},
    {"batch-norm", false, true, false, NULL, build_batch_norm},
    {"max-pool", false, true, false, NULL, build_pool},
    {"cross-entropy", false, true, false, NULL, build_cross_entropy},
    {"conv3x3-relu", true, true, true, NULL, build_conv3_relu},
    {"softmax", false, true, true, NULL, build_softmax},
    {"tile-input", false, true, true, NULL, build_tile_input},
    {"tile-augment", false, true, true, NULL, build_augment},
    {"update", true, false, false, "update", build_update},
};
enum { OPERATORS = sizeof operators / sizeof operators[0] };

const bench_case_row bench_case_rows[] = {
    {"conv3x3-3-32-512x512-n1", "paper"}, {"conv3x3-32-32-512x512-n1", "paper"}, {"conv3x3-64-32-512x512-n1", "paper"},
    {"conv3x3-32-64-256x256-n1", "paper"}, {"conv3x3-64-64-256x256-n1", "paper"}, {"conv3x3-128-64-256x256-n1", "paper"},
    {"conv3x3-64-128-128x128-n1", "paper"}, {"conv3x3-128-128-128x128-n1", "paper"}, {"conv3x3-256-128-128x128-n1", "paper"},
    {"conv3x3-128-256-64x64-n1", "paper"}, {"conv3x3-256-256-64x64-n1", "paper"}, {"conv3x3-512-256-64x64-n1", "paper"},
    {"conv3x3-256-512-32x32-n1", "paper"}, {"conv3x3-512-512-32x32-n1", "paper"},
    {"conv1x1-3-6-512x512-n1", "paper"}, {"conv1x1-6-3-512x512-n1", "paper"}, {"conv1x1-32-4-512x512-n1", "paper"},
    {"transposed-512-256-32x32-n1", "paper"}, {"transposed-256-128-64x64-n1", "paper"}, {"transposed-128-64-128x128-n1", "paper"},
    {"transposed-64-32-256x256-n1", "paper"},
    {"batch-norm-6-512x512-n1", "paper"}, {"batch-norm-3-512x512-n1", "paper"}, {"batch-norm-32-512x512-n1", "paper"},
    {"batch-norm-64-256x256-n1", "paper"}, {"batch-norm-128-128x128-n1", "paper"}, {"batch-norm-256-64x64-n1", "paper"},
    {"batch-norm-512-32x32-n1", "paper"},
    {"max-pool-32-512x512-n1", "paper"}, {"max-pool-64-256x256-n1", "paper"}, {"max-pool-128-128x128-n1", "paper"},
    {"max-pool-256-64x64-n1", "paper"},
    {"cross-entropy-4-512x512-n1", "paper"}, {"tile-input-1-512x512-n1", "paper"}, {"tile-augment-1-512x512-n1", "paper"}, {"update-2786-2786", "paper"},
    {"conv3x3-relu-32-32-512x512-n1", "paper"}, {"conv3x3-relu-256-256-64x64-n1", "paper"}, {"softmax-4-512x512-n1", "paper"},

    {"conv3x3-3-5-131x67-n1", "hard"}, {"conv3x3-3-32-509x383-n1", "hard"}, {"conv3x3-33-47-101x97-n1", "hard"},
    {"conv3x3-3-32-128x128-n16", "hard"}, {"conv3x3-32-32-128x128-n16", "hard"}, {"conv3x3-256-256-16x16-n16", "hard"},
    {"conv3x3-512-512-7x9-n1", "hard"}, {"conv1x1-3-6-509x383-n1", "hard"}, {"conv1x1-65-3-63x65-n16", "hard"},
    {"transposed-33-17-61x67-n1", "hard"}, {"transposed-64-32-32x32-n16", "hard"}, {"batch-norm-3-509x383-n1", "hard"},
    {"batch-norm-33-61x67-n16", "hard"}, {"max-pool-33-101x97-n1", "hard"}, {"max-pool-32-64x64-n16", "hard"},
    {"cross-entropy-3-509x383-n1", "hard"}, {"cross-entropy-16-61x67-n16", "hard"}, {0},
};

void bench_case_name(const bench_case *c, char out[BENCH_NAME])
{
    char channels[32], pixels[48] = "";
    snprintf(channels, sizeof channels, c->operator->filters ? "%u-%u" : "%u", c->in, c->out);
    if (c->operator->pixels) snprintf(pixels, sizeof pixels, "-%ux%u-n%u", c->h, c->w, c->n);
    snprintf(out, BENCH_NAME, "%s-%s%s", c->operator->name, channels, pixels);
}

static cdu_status bad_name(const char *name, cdu_error *error)
{
    char list[256] = "";
    for (int i = 0; i < OPERATORS; i++) snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s", i ? ", " : "", operators[i].name);
    return cdu_fail(error, CDU_USAGE,
                    "there is no case '%.80s'; a case is OPERATOR-IN[-OUT]-HxW-nN, as in conv3x3-32-64-256x256-n1, batch-norm-32-512x512-n1, "
                    "update-100-200, with one of %s; IN, OUT, N at most 4096, H, W at most 8192", name, list);
}

cdu_status bench_case_parse(const char *name, bench_case *c, cdu_error *error)
{
    for (int i = 0; i < OPERATORS; i++) {
        size_t length = strlen(operators[i].name);
        const char *format = !operators[i].pixels ? "-%u-%u%n" : operators[i].filters ? "-%u-%u-%ux%u-n%u%n" : "-%u-%ux%u-n%u%n";
        int end = -1;
        *c = (bench_case){.operator = &operators[i], .in = 1, .out = 1, .h = 1, .w = 1, .n = 1};
        if (strncmp(name, operators[i].name, length) || strspn(name + length + (name[length] == '-'), "0123456789") == 0) continue;
        if (!operators[i].pixels) sscanf(name + length, format, &c->in, &c->out, &end);
        else if (operators[i].filters) sscanf(name + length, format, &c->in, &c->out, &c->h, &c->w, &c->n, &end);
        else sscanf(name + length, format, &c->in, &c->h, &c->w, &c->n, &end);
        bool sane = end > 0 && !name[length + (size_t)end] && c->in && c->out && c->h && c->w && c->n && c->in <= 4096 && c->out <= 4096 &&
                    c->n <= 4096 && c->h <= 8192 && c->w <= 8192;
        return sane ? CDU_OK : bad_name(name, error);
    }
    return bad_name(name, error);
}

bool bench_case_counts(const bench_case *c, const char *pass)
{
    return !c->operator->pass || !strcmp(c->operator->pass, pass);
}

/* Every image turned a little, with noise. */
static void fill_table(uint32_t *words, uint32_t images)
{
    const cdu_augment row = {.matrix = {16000, 3500, -3500, 16000}, .side = 1, .color = {4000, 50, 50, 50, 4000, 50, 50, 50, 4000}, .noise = 2000};
    for (uint32_t i = 0; i < images; i++) memcpy(words + (size_t)i * CDU_AUGMENT_WORDS, &row, sizeof row);
}

/* Floats in [-0.5, 0.5), labels below `classes`. */
static cdu_status fill(cdu_program *program, const cdu_graph *graph, cdu_value value, bool gradient, uint32_t classes, cdu_error *error)
{
    const cdu_value_info *info = cdu_graph_value(graph, value);
    size_t count = (size_t)info->shape.n * info->shape.h * info->shape.w * info->shape.c;
    uint32_t *words = NULL;
    cdu_random random = cdu_random_stream(1, CDU_RANDOM_TEST, (uint32_t)value, gradient);
    CDU_TRY(cdu_allocate(&words, count, sizeof *words, error));
    for (size_t i = 0; i < count; i++) {
        float number = cdu_random_float(&random) - 0.5f;
        if (info->storage == CDU_U32) words[i] = cdu_random_below(&random, classes);
        else memcpy(&words[i], &number, sizeof number);
    }
    if (!strcmp(info->name, "table")) fill_table(words, info->shape.n);
    cdu_status status = gradient ? cdu_program_write_gradient(program, value, words, error) : cdu_program_write(program, value, words, error);
    free(words);
    return status;
}

cdu_status bench_case_open(const bench_case *c, const cdu_gpu *gpu, bool exact, cdu_graph **graph, cdu_program **program, cdu_error *error)
{
    bool training = !c->operator->inference;
    *graph = NULL;
    *program = NULL;
    CDU_TRY(cdu_graph_create(graph, error));
    cdu_value y = c->operator->build(*graph, c);
    CDU_TRY(cdu_graph_status(*graph, error));
    const cdu_operator *last = cdu_graph_node(*graph, (uint32_t)cdu_graph_value(*graph, y)->node)->operator;
    bool seeded = training && !last->loss;
    if (seeded) cdu_graph_seed(*graph, y);
    else cdu_graph_output(*graph, y);
    CDU_TRY(cdu_graph_status(*graph, error));
    cdu_plan_options options = {.training = training, .exact = exact, .update = c->operator->pass ? cdu_sgd_update : NULL};
    CDU_TRY(cdu_program_create(*graph, gpu, &options, program, error));
    for (cdu_value v = 0; v < (cdu_value)cdu_graph_values(*graph); v++)
        if (cdu_graph_value(*graph, v)->kind == CDU_VALUE_INPUT) CDU_TRY(fill(*program, *graph, v, false, c->in, error));
    return seeded ? fill(*program, *graph, y, true, c->in, error) : CDU_OK;
}
