/* operators.c: every row of the operator table on every device present. CDUNET_TEST_DEVICE=opencl:0 takes one device only,
 * CDUNET_TEST_ROW=text the rows whose names hold the text, CDUNET_TEST_AS_CARD=NVIDIA what operators choose for that vendor's cards. What compiles many kernels takes some of its cases where CDUNET_TEST_ALL is
 * not set: most of the time here goes into compilers. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cdunet/log.h"
#include "core/base/debug.h"
#include "ops/run.h"

static cdu_op_failures failures;

static bool all(void)
{
    return getenv("CDUNET_TEST_ALL") != NULL;
}

static void all_right(void)
{
    cr_assert(failures.count == 0, "%u failures:\n%s", failures.count, failures.text);
}

/* The prelude has to declare all that kernels use: otherwise each of them is compiled twice. */
static void no_header(cdu_log_level level, const char *line, void *context)
{
    (void)level, (void)context;
    cr_expect(!strstr(line, "header of built-in functions"), "%s", line);
}

static void begin(void)
{
    cdu_log_set_handler(no_header, NULL, CDU_LOG_WARNING);
}

TestSuite(operators, .init = begin);

/* Every `stride`-th row. */
static void every_row(cdu_op_variant variant, uint32_t stride, uint32_t vector_width, bool cpu_only, uint32_t *ran)
{
    cdu_debug_set(CDU_DEBUG_POISON, true);
    const cdu_op_devices *devices = cdu_op_devices_open();
    cr_assert(devices->count > 0, "no device at all");
    for (uint32_t g = 0; g < devices->count; g++) {
        cdu_gpu gpu = devices->gpu[g];
        if (cpu_only && gpu.info.vector_width <= 4) continue;
        if (vector_width) gpu.info.vector_width = vector_width;
        for (uint32_t r = 0; cdu_op_row_at(r); r += stride)
            if (cdu_op_run(&gpu, cdu_op_row_at(r), variant, NULL, NULL, &failures)) (*ran)++;
    }
    all_right();
}

Test(operators, match_double_precision_loops)
{
    uint32_t ran = 0;
    every_row((cdu_op_variant){0}, 1, 0, false, &ran);
    cr_assert(ran > 0);
}

/* A CPU with wide vectors runs the kernels that GPUs get, too. */
Test(operators, match_with_the_kernels_of_gpus)
{
    uint32_t ran = 0;
    every_row((cdu_op_variant){0}, all() ? 1 : 3, 4, true, &ran);
}

/* Each way of computing a convolution, with settings that divide the work differently; where one does not fit, the default runs. Where
 * not all is run, a setting takes a third of the rows, the next one another third. */
Test(operators, match_with_every_variant_of_convolution)
{
    static const struct { const char *name; bool always; } forced[] = {
        {"direct", false}, {"winograd:1", true}, {"winograd:2", false}, {"winograd:1:0:0:64", false}, {"winograd:2:8:4", true},
        {"winograd:0:0:6", false}, {"winograd_items:1", false}, {"winograd_items:2:2:2:64", true}, {"winograd_items:3", false},
        {"winograd_items:1:4:1:64", true}, {"winograd_items:2:8", false}, {"winograd_items:4", true}, {"winograd_items:4:4:1:64", false},
        {"gemm", true}, {"gemm:8:1:8:2", false}, {"gemm:2:2:16:1", true}};
    cdu_debug_set(CDU_DEBUG_POISON, true);
    const cdu_op_devices *devices = cdu_op_devices_open();
    uint32_t ran = 0, taken = 0;
    for (size_t f = 0; f < sizeof forced / sizeof *forced; f++) {
        if (!forced[f].always && !all()) continue;
        const char *name = forced[f].name;
        setenv("CDUNET_VARIANT", name, 1);
        for (uint32_t g = 0; g < devices->count; g++)
            for (uint32_t r = all() ? 0 : taken % 3; cdu_op_row_at(r); r += all() ? 1 : 3) {
                const cdu_op_row *row = cdu_op_row_at(r);
                bool winograd = !strncmp(name, "winograd", 8), wide = !strncmp(name, "winograd:", 9);
                if (strncmp(row->name, "conv", 4) || (winograd && row->name[5] != '3')) continue;
                if (wide && devices->gpu[g].info.vector_width <= 4) continue;
                uint32_t before = failures.count;
                if (cdu_op_run(&devices->gpu[g], row, (cdu_op_variant){.slice = f % 2, .view = f % 2 == 0}, NULL, NULL, &failures)) ran++;
                if (failures.count > before) cdu_op_fail(&failures, "the last was forced to %s", name);
            }
        taken++;
    }
    unsetenv("CDUNET_VARIANT");
    all_right();
    cr_assert(ran > 0);
}

Test(operators, match_as_slices_of_a_concatenation)
{
    uint32_t ran = 0;
    every_row((cdu_op_variant){.slice = true}, all() ? 1 : 2, 0, false, &ran);
    cr_assert(ran > 0);
}

/* Reads views, adds to gradients that are views. */
Test(operators, match_where_inputs_are_views)
{
    uint32_t ran = 0;
    every_row((cdu_op_variant){.view = true}, all() ? 1 : 3, 0, false, &ran);
    cr_assert(ran > 0);
}

/* Sets gradients in memory that held NaN: nothing may be left out. */
Test(operators, write_all_of_a_gradient)
{
    uint32_t ran = 0;
    every_row((cdu_op_variant){.relay = true}, all() ? 1 : 2, 0, false, &ran);
    cr_assert(ran > 0);
}

Test(operators, are_exact_on_integers)
{
    uint32_t ran = 0;
    every_row((cdu_op_variant){.exact = true}, 1, 0, false, &ran);
    cr_assert(ran > 0);
}

Test(operators, match_where_bindings_hold_one_image)
{
    uint32_t ran = 0;
    every_row((cdu_op_variant){.ranges = true}, all() ? 1 : 2, 0, false, &ran);
    cr_assert(ran > 0);
}

/* The same bytes twice, and with each clever thing off. */
Test(operators, give_the_same_bytes_with_each_clever_thing_off)
{
    static const cdu_debug_word words[] = {CDU_DEBUG_WORDS, CDU_DEBUG_POISON, CDU_DEBUG_NO_REUSE, CDU_DEBUG_BARRIERS,
                                           CDU_DEBUG_NO_RECOMPUTE, CDU_DEBUG_NO_FUSION, CDU_DEBUG_NO_DEFER, CDU_DEBUG_STREAM};
    const cdu_op_devices *devices = cdu_op_devices_open();
    for (uint32_t g = 0; g < devices->count; g++)
        for (uint32_t r = 0; cdu_op_row_at(r) && !cdu_op_is_null(&devices->gpu[g]); r += all() ? 1 : 4) {
            const cdu_op_row *row = cdu_op_row_at(r);
            float *first = NULL;
            uint64_t size = 0;
            cdu_op_run(&devices->gpu[g], row, (cdu_op_variant){0}, &first, &size, &failures);
            for (size_t w = 0; w < sizeof words / sizeof *words; w++) {
                float *again = NULL;
                uint64_t again_size = 0;
                if (words[w] != CDU_DEBUG_WORDS) cdu_debug_set(words[w], true);
                cdu_op_run(&devices->gpu[g], row, (cdu_op_variant){0}, &again, &again_size, &failures);
                if (words[w] != CDU_DEBUG_WORDS) cdu_debug_set(words[w], false);
                if (size != again_size || (size && memcmp(first, again, size * sizeof *first)))
                    cdu_op_fail(&failures, "%s on %s: other bytes with debug word %d (%d: a second run)", row->name,
                                devices->gpu[g].id, (int)words[w], (int)CDU_DEBUG_WORDS);
                free(again);
            }
            free(first);
        }
    all_right();
}

/* ---- the loops themselves ---- */

static double loss_of(const cdu_op_row *row, cdu_op_data *d)
{
    row->forward(row, d);
    if (row->own_loss) return d->out[0].v[0];
    double loss = 0;
    for (uint64_t i = 0; i < d->out[0].count; i++) loss += d->out[0].v[i] * d->out[0].g[i];
    return loss;
}

static double difference(const cdu_op_row *row, cdu_op_data *d, double *x, double h)
{
    double kept = *x;
    *x = kept + h;
    double up = loss_of(row, d);
    *x = kept - h;
    double down = loss_of(row, d);
    *x = kept;
    return (up - down) / (2 * h);
}

/* A few elements of one array. Where two steps disagree there is a kink (ReLU, maximum) nearby and nothing is said. */
static void check_array(const cdu_op_row *row, cdu_op_data *d, cdu_op_array *a, cdu_random *random, uint32_t *checked,
                        uint32_t *kinks)
{
    double largest = 1e-12;
    for (uint64_t i = 0; i < a->count; i++) largest = fmax(largest, fabs(a->g[i]));
    for (uint64_t k = 0; k < 6; k++) {
        uint64_t i = a->count > 6 ? cdu_random_below(random, (uint32_t)a->count) : k;
        if (i >= a->count) return;
        double h = 1e-4 * fmax(1e-2, fmin(1, fabs(a->v[i])));
        double one = difference(row, d, &a->v[i], h), two = difference(row, d, &a->v[i], h / 4);
        if (fabs(one - two) > 1e-4 * (fabs(one) + largest)) {
            (*kinks)++;
            continue;
        }
        (*checked)++;
        if (fabs(two - a->g[i]) > 1e-4 * largest)
            cdu_op_fail(&failures, "%s: the loop's gradient of '%s' element %llu is %.9g, differences say %.9g", row->name, a->name,
                        (unsigned long long)i, a->g[i], two);
    }
}

Test(operators, loops_have_the_gradients_that_differences_show)
{
    uint32_t checked = 0, kinks = 0;
    cdu_random random = cdu_random_stream(3, CDU_RANDOM_TEST, 2, 0);
    for (uint32_t r = 0; cdu_op_row_at(r); r++) {
        const cdu_op_row *row = cdu_op_row_at(r);
        if (!row->backward) continue;
        cdu_graph *graph;
        cdu_error error = {0};
        cdu_value in[CDU_NODE_INPUTS];
        cr_assert(cdu_graph_create(&graph, &error) == CDU_OK);
        for (uint32_t i = 0; i < CDU_NODE_INPUTS && row->input[i].shape.n; i++)
            in[i] = cdu_graph_input(graph, (const char *[]){"a", "b", "c", "d"}[i], row->input[i].shape, row->input[i].storage);
        cdu_value out = row->build(graph, row, "op", in);
        cr_assert(cdu_graph_status(graph, &error) == CDU_OK, "%s: %s", row->name, error.words);
        cdu_op_data d;
        cdu_op_data_make(&d, row, graph, out, false, 11);
        if (cdu_op_finite(&d)) {
            row->forward(row, &d);
            row->backward(row, &d);
            for (uint32_t i = 0; i < d.ins; i++)
                if (!d.in[i].integers && !row->input[i].constant) check_array(row, &d, &d.in[i], &random, &checked, &kinks);
            for (uint32_t i = 0; i < d.owns; i++)
                if (d.own[i].kind == CDU_VALUE_PARAMETER) check_array(row, &d, &d.own[i], &random, &checked, &kinks);
        }
        cdu_op_data_free(&d);
        cdu_graph_destroy(graph);
    }
    all_right();
    cr_assert(checked > 20 && kinks * 5 < checked, "%u elements checked, %u beside kinks", checked, kinks);
}
