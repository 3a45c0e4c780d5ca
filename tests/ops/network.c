/* network.c: operators together: a small network with a skip, whose gradients are compared with differences of its own loss, whose
 * bytes must not depend on anything clever, and whose weight update must be the plain C loop's to the bit. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/debug.h"
#include "ops/run.h"

static cdu_error error;
#define OK(call) cr_assert((call) == CDU_OK, "%s: %s", #call, error.words)

typedef struct {
    cdu_graph *graph;
    cdu_value image, label, weight, loss;
} network;

/* conv, batch norm, ReLU, pool, conv, ReLU, batch norm, up, beside the skip, conv, batch norm, ReLU, conv, loss */
/* deeper: with two normalizations that CPUs do where the next convolution reads. */
static network build(bool deeper)
{
    network n;
    OK(cdu_graph_create(&n.graph, &error));
    cdu_graph *g = n.graph;
    n.image = cdu_graph_input(g, "image", (cdu_shape){2, 10, 8, 3}, CDU_F32);
    n.label = cdu_graph_input(g, "label", (cdu_shape){2, 10, 8, 1}, CDU_U32);
    n.weight = cdu_graph_input(g, "class weight", (cdu_shape){1, 1, 1, 4}, CDU_F32);
    cdu_value x = cdu_conv(g, "a", n.image, 3, 6, CDU_EPILOGUE_NONE);
    cdu_value skip = cdu_batch_norm(g, "b", x, CDU_BATCH_NORM_RELU, 1e-5f, 0.1f);
    x = cdu_max_pool(g, "c", skip);
    x = cdu_conv(g, "d", x, 3, 9, CDU_EPILOGUE_NONE);
    x = cdu_batch_norm(g, "e", x, CDU_RELU_BATCH_NORM, 1e-5f, 0.1f);
    x = cdu_conv_transposed(g, "f", x, 5);
    x = cdu_graph_concat(g, "g", skip, x);
    x = cdu_conv(g, "h", x, 3, 7, CDU_EPILOGUE_NONE);
    x = cdu_batch_norm(g, "i", x, CDU_BATCH_NORM_RELU, 1e-5f, 0.1f);
    if (deeper) {
        x = cdu_conv(g, "l", x, 3, 8, CDU_EPILOGUE_NONE);
        x = cdu_batch_norm(g, "m", x, CDU_RELU_BATCH_NORM, 1e-5f, 0.1f);
        x = cdu_conv(g, "n", x, 3, 5, CDU_EPILOGUE_NONE);
    }
    x = cdu_conv(g, "j", x, 1, 4, CDU_EPILOGUE_NONE);
    n.loss = cdu_cross_entropy(g, "k", x, n.label, n.weight, CDU_MEAN_WEIGHTS);
    OK(cdu_graph_status(g, &error));
    return n;
}

static void give(const network *n, cdu_program *program)
{
    cdu_random random = cdu_random_stream(5, CDU_RANDOM_TEST, 3, 0);
    float image[2 * 10 * 8 * 3], weight[4] = {1, 0.5f, 2, 1.5f};
    uint32_t label[2 * 10 * 8];
    for (size_t i = 0; i < sizeof image / sizeof *image; i++) image[i] = cdu_random_float(&random);
    for (size_t i = 0; i < sizeof label / sizeof *label; i++) label[i] = i % 9 ? cdu_random_below(&random, 4) : 255;
    OK(cdu_program_write(program, n->image, image, &error));
    OK(cdu_program_write(program, n->label, label, &error));
    OK(cdu_program_write(program, n->weight, weight, &error));
}

/* He-like numbers into the parameters, zero in what lies between them. */
static float *start(const network *n, cdu_program *program)
{
    cdu_random random = cdu_random_stream(6, CDU_RANDOM_TEST, 4, 0);
    for (uint32_t v = 0; v < cdu_graph_values(n->graph); v++) {
        const cdu_value_info *info = cdu_graph_value(n->graph, (cdu_value)v);
        if (info->kind != CDU_VALUE_PARAMETER) continue;
        uint64_t count = cdu_value_elements(info);
        float *f = malloc(count * sizeof *f);
        double deviation = info->init == CDU_INIT_HE ? sqrt(2.0 / info->fan_in) : 0.2;
        for (uint64_t i = 0; i < count; i++)
            f[i] = (float)(deviation * cdu_random_normal(&random) + (info->init == CDU_INIT_ONE ? 1 : 0));
        OK(cdu_program_write_parameter(program, (cdu_value)v, f, &error));
        free(f);
    }
    float *all = malloc(cdu_program_arena_elements(program, CDU_ARENA_PARAMETERS) * sizeof *all);
    OK(cdu_program_read_arena(program, CDU_ARENA_PARAMETERS, all, &error));
    return all;
}

static double loss_at(const network *n, cdu_program *program, cdu_value parameter, const float *base, const float *direction,
                      double h)
{
    uint64_t count = cdu_value_elements(cdu_graph_value(n->graph, parameter));
    float *moved = malloc(count * sizeof *moved), result[4];
    for (uint64_t i = 0; i < count; i++) moved[i] = (float)((double)base[i] + h * (double)direction[i]);
    OK(cdu_program_write_parameter(program, parameter, moved, &error));
    OK(cdu_program_run(program, NULL, 0, &error));
    OK(cdu_program_read(program, n->loss, result, &error));
    free(moved);
    return result[0];
}

/* Along its gradient the loss must rise as steeply as the gradient is long. */
static void check_parameter(const network *n, cdu_program *program, cdu_value parameter, const char *device, uint32_t *checked)
{
    const cdu_value_info *info = cdu_graph_value(n->graph, parameter);
    uint64_t count = cdu_value_elements(info);
    float *base = malloc(count * sizeof *base), *g = malloc(count * sizeof *g);
    OK(cdu_program_read_parameter(program, parameter, base, &error));
    OK(cdu_program_run(program, NULL, 0, &error));
    OK(cdu_program_read_gradient(program, parameter, g, &error));
    double length = 0;
    for (uint64_t i = 0; i < count; i++) length += (double)g[i] * (double)g[i];
    length = sqrt(length);
    if (length > 1e-3) {    /* a bias before batch norm has none */
        double h = 2e-3 / length < 2e-2 ? 2e-3 / length : 2e-2;
        for (uint64_t i = 0; i < count; i++) g[i] = (float)((double)g[i] / length);
        double slope = (loss_at(n, program, parameter, base, g, h) - loss_at(n, program, parameter, base, g, -h)) / (2 * h);
        cr_assert(fabs(slope - length) < 0.02 * length, "%s: the gradient of %s is %.6g long, the loss rises by %.6g along it",
                  device, info->name, length, slope);
        (*checked)++;
    }
    OK(cdu_program_write_parameter(program, parameter, base, &error));
    free(base);
    free(g);
}

Test(network, gradients_are_those_of_its_own_loss)
{
    const cdu_op_devices *devices = cdu_op_devices_open();
    cdu_debug_set(CDU_DEBUG_POISON, true);
    network n = build(false);
    for (uint32_t d = 0; d < devices->count; d++) {
        if (cdu_op_is_null(&devices->gpu[d])) continue;
        cdu_program *program;
        uint32_t checked = 0;
        OK(cdu_program_create(n.graph, &devices->gpu[d], &(cdu_plan_options){.training = true}, &program, &error));
        give(&n, program);
        free(start(&n, program));
        for (uint32_t v = 0; v < cdu_graph_values(n.graph); v++)
            if (cdu_graph_value(n.graph, (cdu_value)v)->kind == CDU_VALUE_PARAMETER)
                check_parameter(&n, program, (cdu_value)v, devices->gpu[d].id, &checked);
        cr_assert(checked >= 12, "%s: only %u parameters have a gradient", devices->gpu[d].id, checked);
        cdu_program_destroy(program);
    }
    cdu_graph_destroy(n.graph);
}

/* the last two: a batch in two parts */
static const struct cdu_sgd_patch steps[] = {{0.1f, 0.9f}, {0.037f, 0.5f}, {0.02f, 0}, {0, 0.9f}, {0.05f, 1}};

/* All arenas behind three steps. */
static float *train(const network *n, const cdu_gpu *gpu, uint64_t *size)
{
    cdu_program *program;
    OK(cdu_program_create(n->graph, gpu, &(cdu_plan_options){.training = true, .update = cdu_sgd_update}, &program, &error));
    give(n, program);
    free(start(n, program));
    for (size_t s = 0; s < sizeof steps / sizeof *steps; s++) OK(cdu_program_run(program, &steps[s], sizeof steps[s], &error));
    *size = 0;
    for (int a = 0; a < CDU_ARENAS; a++) *size += cdu_program_arena_elements(program, (cdu_arena)a);
    float *all = malloc(*size * sizeof *all);
    uint64_t at = 0;
    for (int a = 0; a < CDU_ARENAS; a++) {
        OK(cdu_program_read_arena(program, (cdu_arena)a, all + at, &error));
        at += cdu_program_arena_elements(program, (cdu_arena)a);
    }
    cdu_program_destroy(program);
    return all;
}

static double distance(const float *a, const float *b, uint64_t count)
{
    double apart = 0, length = 0;
    for (uint64_t i = 0; i < count; i++) apart += ((double)a[i] - b[i]) * ((double)a[i] - b[i]), length += (double)a[i] * a[i];
    return sqrt(apart / length);
}

Test(network, trains_to_the_same_bytes_with_each_clever_thing_off)
{
    static const cdu_debug_word words[] = {CDU_DEBUG_WORDS, CDU_DEBUG_POISON, CDU_DEBUG_NO_REUSE, CDU_DEBUG_BARRIERS,
                                           CDU_DEBUG_NO_RECOMPUTE, CDU_DEBUG_NO_FUSION, CDU_DEBUG_NO_DEFER, CDU_DEBUG_STREAM};
    const cdu_op_devices *devices = cdu_op_devices_open();
    network n = build(true);
    for (uint32_t d = 0; d < devices->count; d++) {
        if (cdu_op_is_null(&devices->gpu[d])) continue;
        uint64_t size, again_size;
        float *first = train(&n, &devices->gpu[d], &size);
        for (uint64_t i = 0; i < size; i++)
            cr_assert(isfinite(first[i]), "%s: element %llu", devices->gpu[d].id, (unsigned long long)i);
        for (size_t w = 0; w < sizeof words / sizeof *words; w++) {
            if (words[w] != CDU_DEBUG_WORDS) cdu_debug_set(words[w], true);
            float *again = train(&n, &devices->gpu[d], &again_size);
            if (words[w] != CDU_DEBUG_WORDS) cdu_debug_set(words[w], false);
            cr_assert(size == again_size);
            /* statistics that convolutions gather are summed in another order */
            double far = words[w] == CDU_DEBUG_NO_FUSION && devices->gpu[d].info.vector_width > 4 ? distance(first, again, size) : -1;
            cr_assert(far < 0 ? !memcmp(first, again, size * sizeof *first) : far < 2e-5,
                      "%s: other bytes with debug word %d (%d: a second run), %g away", devices->gpu[d].id, (int)words[w], CDU_DEBUG_WORDS, far);
            free(again);
        }
        free(first);
    }
    cdu_graph_destroy(n.graph);
}

/* ---- the weight update ---- */

static float *arena(cdu_program *program, cdu_arena which)
{
    float *f = malloc(cdu_program_arena_elements(program, which) * sizeof *f);
    OK(cdu_program_read_arena(program, which, f, &error));
    return f;
}

/* One gradient that is not finite, the last one or the first, keeps all weights and the momentum as they were. */
static void check_gate(const cdu_gpu *gpu, cdu_program *program, cdu_value y, const float *seed)
{
    static const float bad[] = {NAN, INFINITY, -INFINITY, 1};
    for (int i = 0; i < 4; i++) {
        float spoilt[2 * 2 * 4];
        bool updated = i < 3;
        uint64_t bytes = cdu_program_arena_elements(program, CDU_ARENA_PARAMETERS) * 4;
        memcpy(spoilt, seed, sizeof spoilt);
        spoilt[i % 2 ? 15 : 0] = bad[i];
        OK(cdu_program_write_gradient(program, y, spoilt, &error));
        float *w = arena(program, CDU_ARENA_PARAMETERS), *v = arena(program, CDU_ARENA_MOMENTUM);
        OK(cdu_program_run(program, &steps[0], sizeof steps[0], &error));
        OK(cdu_program_verdict(program, &updated, &error));
        float *new_w = arena(program, CDU_ARENA_PARAMETERS), *new_v = arena(program, CDU_ARENA_MOMENTUM);
        bool same = !memcmp(w, new_w, bytes) && !memcmp(v, new_v, bytes);
        cr_assert(updated == (i == 3) && same == (i < 3), "%s, bindings of %llu bytes, seed %g: updated %d, the same %d", gpu->id,
                  (unsigned long long)gpu->info.largest_binding, (double)bad[i], updated, same);
        float *all[] = {w, v, new_w, new_v};
        for (size_t k = 0; k < sizeof all / sizeof *all; k++) free(all[k]);
    }
}

static void check_update(const cdu_gpu *gpu, const cdu_graph *graph, cdu_value x, cdu_value y)
{
    cdu_program *program;
    OK(cdu_program_create(graph, gpu, &(cdu_plan_options){.training = true, .update = cdu_sgd_update}, &program, &error));
    cdu_random random = cdu_random_stream(8, CDU_RANDOM_TEST, 5, 0);
    uint64_t count = cdu_program_arena_elements(program, CDU_ARENA_PARAMETERS);
    float *numbers = malloc(count * sizeof *numbers), values[2 * 2 * 4], seed[2 * 2 * 4];
    for (int k = 0; k < 16; k++) values[k] = (float)cdu_random_normal(&random);
    for (int k = 0; k < 16; k++) seed[k] = (float)cdu_random_normal(&random);
    OK(cdu_program_write(program, x, values, &error));
    OK(cdu_program_write_gradient(program, y, seed, &error));
    for (int a = 0; a < 2; a++) {
        for (uint64_t i = 0; i < count; i++) numbers[i] = (float)cdu_random_normal(&random);
        OK(cdu_program_write_arena(program, a ? CDU_ARENA_MOMENTUM : CDU_ARENA_PARAMETERS, numbers, &error));
    }
    for (size_t s = 0; s < sizeof steps / sizeof *steps; s++) {
        float *w = arena(program, CDU_ARENA_PARAMETERS), *v = arena(program, CDU_ARENA_MOMENTUM);
        OK(cdu_program_run(program, &steps[s], sizeof steps[s], &error));
        float *new_w = arena(program, CDU_ARENA_PARAMETERS), *new_v = arena(program, CDU_ARENA_MOMENTUM);
        float *g = arena(program, CDU_ARENA_GRADIENTS);
        for (uint64_t i = 0; i < count; i++) {
            float kept = steps[s].momentum * v[i], velocity = kept + g[i], step = steps[s].rate * velocity, weight = w[i] - step;
            cr_assert(!memcmp(&velocity, &new_v[i], 4) && !memcmp(&weight, &new_w[i], 4),
                      "%s, bindings of %llu bytes, step %zu, element %llu: weight %.9g and velocity %.9g, expected %.9g and %.9g",
                      gpu->id, (unsigned long long)gpu->info.largest_binding, s, (unsigned long long)i, (double)new_w[i],
                      (double)new_v[i], (double)weight, (double)velocity);
        }
        float *all[] = {w, v, new_w, new_v, g};
        for (size_t k = 0; k < sizeof all / sizeof *all; k++) free(all[k]);
    }
    check_gate(gpu, program, y, seed);
    free(numbers);
    cdu_program_destroy(program);
}

Test(update, is_the_plain_loop_to_the_bit_whole_and_in_windows)
{
    const cdu_op_devices *devices = cdu_op_devices_open();
    cdu_graph *graph;
    OK(cdu_graph_create(&graph, &error));
    cdu_value x = cdu_graph_input(graph, "x", (cdu_shape){1, 2, 2, 4}, CDU_F32), y = x;
    for (int k = 0; k < 5; k++)
        y = cdu_batch_norm(graph, (const char *[]){"a", "b", "c", "d", "e"}[k], y, CDU_BATCH_NORM_ONLY, 1e-5f, 0.1f);
    cdu_graph_output(graph, y);
    cdu_graph_seed(graph, y);
    OK(cdu_graph_status(graph, &error));
    for (uint32_t d = 0; d < devices->count; d++) {
        if (cdu_op_is_null(&devices->gpu[d])) continue;
        cdu_gpu gpu = devices->gpu[d];
        check_update(&gpu, graph, x, y);
        gpu.info.largest_binding = 1536;    /* 3 parameters of 128 elements a window, 10 in all */
        check_update(&gpu, graph, x, y);
    }
    cdu_graph_destroy(graph);
}
