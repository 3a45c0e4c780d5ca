/* concatenation.c: a convolution of a concatenation, whose lanes have a gap where the first part's channels are odd, gives on every
 * device what the convolution of the same numbers without a gap gives: output, gradients of parameters and of both parts. Integers, and exact variants, so
 * the sums are exact in any order. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/random.h"
#include "ops/run.h"

enum { N = 2, H = 3, W = 5 };

typedef struct { uint32_t kind, a, b, filters; bool joined; } setup; /* kind: 1 and 3, or 2: transposed */
typedef struct { float *y, *x, *weight, *bias; uint64_t ys, xs, weights; } result;

static float *integers(uint64_t count, uint32_t stream)
{
    float *v = malloc(count * sizeof *v);
    cr_assert(v);
    cdu_random random = cdu_random_stream(11, CDU_RANDOM_TEST, stream, 0);
    for (uint64_t i = 0; i < count; i++) v[i] = (float)cdu_random_below(&random, 9) - 4;
    return v;
}

#define RIGHT(call) cr_assert((call) == CDU_OK, "%s", error.words)

/* A part's values, four times over: its max pool is the part again. */
static void give_part(cdu_program *p, cdu_value in, const float *x, uint32_t all, uint32_t first, uint32_t channels)
{
    cdu_error error = {0};
    float *big = malloc(sizeof *big * N * 4 * H * W * channels);
    cr_assert(big);
    for (uint32_t i = 0; i < N * 4 * H * W; i++) {
        uint32_t n = i / (4 * H * W), y = i / (2 * W) % (2 * H) / 2, c = i % (2 * W) / 2;
        memcpy(big + (size_t)i * channels, x + (size_t)((n * H + y) * W + c) * all + first, channels * sizeof *big);
    }
    RIGHT(cdu_program_write(p, in, big, &error));
    free(big);
}

/* The pool gives its gradient to the first of four equal elements. */
static void take_part(cdu_program *p, cdu_value in, float *x, uint32_t all, uint32_t first, uint32_t channels)
{
    cdu_error error = {0};
    float *big = malloc(sizeof *big * N * 4 * H * W * channels);
    cr_assert(big);
    RIGHT(cdu_program_read_gradient(p, in, big, &error));
    for (uint32_t i = 0; i < N * H * W; i++) {
        uint32_t n = i / (H * W), y = i / W % H, c = i % W, from = (n * 2 * H + 2 * y) * 2 * W + 2 * c;
        memcpy(x + (size_t)i * all + first, big + (size_t)from * channels, channels * sizeof *big);
    }
    free(big);
}

static cdu_value input(cdu_graph *g, const char *name, uint32_t scale, uint32_t c)
{
    cdu_value in = cdu_graph_input(g, name, (cdu_shape){N, scale * H, scale * W, c}, CDU_F32);
    cdu_graph_want_gradient(g, in);
    cdu_graph_output_gradient(g, in);
    return in;
}

static result run(const cdu_gpu *gpu, const setup *s)
{
    cdu_error error = {0};
    cdu_graph *g = NULL;
    RIGHT(cdu_graph_create(&g, &error));
    uint32_t c = s->a + s->b;
    cdu_value x, in[2] = {CDU_NO_VALUE, CDU_NO_VALUE};
    if (s->joined) {
        in[0] = input(g, "a", 2, s->a);
        in[1] = input(g, "b", 2, s->b);
        x = cdu_graph_concat(g, "both", cdu_max_pool(g, "pool a", in[0]), cdu_max_pool(g, "pool b", in[1]));
    } else x = in[0] = input(g, "x", 1, c);
    cdu_value y = s->kind == 2 ? cdu_conv_transposed(g, "conv", x, s->filters)
                               : cdu_conv(g, "conv", x, s->kind, s->filters, CDU_EPILOGUE_NONE);
    cdu_graph_output(g, y);
    cdu_graph_seed(g, y);
    RIGHT(cdu_graph_status(g, &error));
    cdu_program *p = NULL;
    RIGHT(cdu_program_create(g, gpu, &(cdu_plan_options){.training = true, .exact = true}, &p, &error));
    uint64_t scale = s->kind == 2 ? 4 : 1;
    result r = {.ys = scale * N * H * W * s->filters, .xs = (uint64_t)N * H * W * c, .weights = (uint64_t)s->kind * s->kind * c * s->filters};
    r.x = integers(r.xs, 1);
    r.y = integers(r.ys, 2);
    r.weight = integers(r.weights, 3);
    r.bias = integers(s->filters, 4);
    cdu_value weight = cdu_graph_find(g, "conv.weight"), bias = cdu_graph_find(g, "conv.bias");
    RIGHT(cdu_program_write_parameter(p, weight, r.weight, &error));
    RIGHT(cdu_program_write_parameter(p, bias, r.bias, &error));
    RIGHT(cdu_program_write_gradient(p, y, r.y, &error));
    if (s->joined) {
        give_part(p, in[0], r.x, c, 0, s->a);
        give_part(p, in[1], r.x, c, s->a, s->b);
    } else RIGHT(cdu_program_write(p, x, r.x, &error));
    RIGHT(cdu_program_run(p, NULL, 0, &error));
    RIGHT(cdu_program_read(p, y, r.y, &error));
    RIGHT(cdu_program_read_gradient(p, weight, r.weight, &error));
    RIGHT(cdu_program_read_gradient(p, bias, r.bias, &error));
    if (s->joined) {
        take_part(p, in[0], r.x, c, 0, s->a);
        take_part(p, in[1], r.x, c, s->a, s->b);
    } else RIGHT(cdu_program_read_gradient(p, x, r.x, &error));
    cdu_program_destroy(p);
    cdu_graph_destroy(g);
    return r;
}

static void result_free(result *r)
{
    free(r->x);
    free(r->y);
    free(r->weight);
    free(r->bias);
}

Test(concatenation, reads_as_one_tensor)
{
    static const setup setups[] = {{3, 3, 5, 9, true}, {1, 8, 8, 6, true}, {2, 17, 5, 4, true}, {3, 16, 16, 16, true}};
    const cdu_op_devices *devices = cdu_op_devices_open();
    for (uint32_t g = 0; g < devices->count; g++)
        for (uint32_t i = 0; i < sizeof setups / sizeof *setups && !cdu_op_is_null(&devices->gpu[g]); i++) {
            setup apart = setups[i];
            apart.joined = false;
            result one = run(&devices->gpu[g], &apart), two = run(&devices->gpu[g], &setups[i]);
            const char *id = devices->gpu[g].id;
            cr_assert(!memcmp(one.y, two.y, one.ys * sizeof *one.y), "%s: output of setup %u", id, i);
            cr_assert(!memcmp(one.weight, two.weight, one.weights * sizeof *one.y), "%s: gradient of the weight of setup %u", id, i);
            cr_assert(!memcmp(one.bias, two.bias, apart.filters * sizeof *one.y), "%s: gradient of the bias of setup %u", id, i);
            cr_assert(!memcmp(one.x, two.x, one.xs * sizeof *one.y), "%s: gradient of the parts of setup %u", id, i);
            result_free(&one);
            result_free(&two);
        }
}
