/* memory.c: what a network under a limit of memory computes, programs that share memory, and what devices gave against what was
 * planned, by the backends' own count, which is held to the process's resident memory where the device is the processor. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/debug.h"
#include "core/model/model.h"
#include "ops/run.h"

static cdu_error error;
#define OK(call) cr_assert((call) == CDU_OK, "%s: %s", #call, error.words)

typedef struct {
    cdu_graph *graph;
    cdu_training_graph values;
    cdu_model_settings settings;
    uint32_t n, size;
} network;

static network build(uint32_t width, uint32_t depth, uint32_t n, uint32_t size)
{
    network net = {.settings = cdu_model_defaults(), .n = n, .size = size};
    net.settings.width = width;
    net.settings.depth = depth;
    OK(cdu_graph_create(&net.graph, &error));
    OK(cdu_model_build_training(net.graph, &net.settings, n, size, size, false, &net.values, &error));
    return net;
}

static uint32_t *tiles(const network *net)
{
    size_t count = (size_t)net->n * net->size * net->size;
    uint32_t *pixels = malloc(count * sizeof *pixels);
    cdu_random random = cdu_random_stream(3, CDU_RANDOM_TEST, 11, 0);
    for (size_t i = 0; i < count; i++)
        pixels[i] = (cdu_random_u32(&random) & 0xffffffu) | cdu_random_below(&random, net->settings.classes) << 24;
    return pixels;
}

static cdu_program *create(const network *net, const cdu_gpu *gpu, uint64_t memory)
{
    cdu_program *program;
    const cdu_plan_options options = {.training = true, .update = cdu_sgd_update, .memory = memory};
    const float ones[CDU_CLASS_LIMIT] = {1, 1, 1, 1};
    cdu_weights weights = {0};
    uint32_t *pixels = tiles(net);
    OK(cdu_program_create(net->graph, gpu, &options, &program, &error));
    OK(cdu_model_initialize(&net->settings, 5, &weights, &error));
    OK(cdu_model_load(net->graph, program, &weights, &error));
    OK(cdu_program_write(program, net->values.tile, pixels, &error));
    OK(cdu_program_write(program, net->values.class_weight, ones, &error));
    cdu_weights_free(&weights);
    free(pixels);
    return program;
}

static void step(cdu_program *program)
{
    static const struct cdu_sgd_patch patch = {0.05f, 0.9f};
    OK(cdu_program_run(program, &patch, sizeof patch, &error));
}

static float *arenas(cdu_program *program, uint64_t *count)
{
    *count = 0;
    for (int a = 0; a < CDU_ARENAS; a++) *count += cdu_program_arena_elements(program, (cdu_arena)a);
    float *all = malloc(*count * sizeof *all), *at = all;
    for (int a = 0; a < CDU_ARENAS; at += cdu_program_arena_elements(program, (cdu_arena)a), a++)
        OK(cdu_program_read_arena(program, (cdu_arena)a, at, &error));
    return all;
}

/* Weights, gradients, momentum and statistics behind two steps. */
static float *trained(const network *net, const cdu_gpu *gpu, uint64_t memory, cdu_plan_report *report, uint64_t *count)
{
    cdu_program *program = create(net, gpu, memory);
    *report = cdu_program_report(program);
    step(program);
    step(program);
    float *all = arenas(program, count);
    cdu_program_destroy(program);
    return all;
}

/* Bytes that the least plan takes, by halving. */
static uint64_t least_memory(const network *net, const cdu_gpu *gpu, uint64_t most)
{
    uint64_t low = 0, high = most;
    while (high - low > most / 64) {
        uint64_t middle = low + (high - low) / 2;
        cdu_plan *plan;
        const cdu_plan_options options = {.training = true, .update = cdu_sgd_update, .memory = middle, .quiet = true};
        cdu_status status = cdu_plan_create(net->graph, &gpu->info, &options, &plan, &error);
        cr_assert(status == CDU_OK || status == CDU_TRY_AGAIN, "%s", error.words);
        if (status == CDU_OK) cdu_plan_destroy(plan);
        *(status == CDU_OK ? &high : &low) = middle;
    }
    return high;
}

Test(memory, a_limit_changes_no_byte_of_what_is_trained)
{
    const cdu_op_devices *devices = cdu_op_devices_open();
    network net = build(8, 3, 2, 32);
    for (uint32_t d = 0; d < devices->count; d++) {
        const cdu_gpu *gpu = &devices->gpu[d];
        if (cdu_op_is_null(gpu)) continue;
        cdu_plan_report free_report, report;
        uint64_t count, again_count;
        float *first = trained(&net, gpu, 0, &free_report, &count);
        uint64_t least = least_memory(&net, gpu, free_report.peak);
        cr_assert_lt(least, free_report.peak, "%s: nothing can be saved", gpu->id);
        for (int k = 0; k < 3; k++) {
            uint64_t limit = least + (free_report.peak - least) * (uint64_t)k / 3;
            cdu_debug_set(CDU_DEBUG_POISON, k == 1);
            float *again = trained(&net, gpu, limit, &report, &again_count);
            cdu_debug_set(CDU_DEBUG_POISON, false);
            cr_assert(report.peak <= limit && report.steps > free_report.steps, "%s: %llu of %llu bytes, %u of %u steps", gpu->id,
                      (unsigned long long)report.peak, (unsigned long long)limit, report.steps, free_report.steps);
            cr_assert(count == again_count && !memcmp(first, again, count * sizeof *first), "%s: other bytes within %llu", gpu->id,
                      (unsigned long long)limit);
            free(again);
        }
        free(first);
    }
    cdu_graph_destroy(net.graph);
}

static uint64_t little;

static cdu_status little_is_free(cdu_device *device, uint64_t *free_bytes, cdu_error *why)
{
    (void)device, (void)why;
    *free_bytes = little;
    return CDU_OK;
}

Test(memory, a_step_fits_into_what_is_free_or_is_refused)
{
    const cdu_op_devices *devices = cdu_op_devices_open();
    network net = build(8, 3, 2, 32);
    for (uint32_t d = 0; d < devices->count; d++) {
        cdu_gpu gpu = devices->gpu[d];
        cdu_backend backend = *gpu.backend;
        cdu_program *program = create(&net, &gpu, 0);
        little = cdu_program_report(program).peak - 1;
        backend.budget = little_is_free;
        gpu.backend = &backend;
        cdu_program_destroy(program);
        program = create(&net, &gpu, 0);
        cr_assert_leq(cdu_program_report(program).peak, little, "%s", gpu.id);
        cdu_program_destroy(program);
        little /= 4;
        cr_assert_eq(cdu_program_create(net.graph, &gpu, &(cdu_plan_options){.training = true}, &program, &error), CDU_TRY_AGAIN);
        cr_assert(strstr(error.words, "are free") && strstr(error.words, "at least"), "%s", error.words);
    }
    cdu_graph_destroy(net.graph);
}

/* Inference in the memory of training's activations, between two steps: neither sees the other. */
Test(memory, programs_beside_each_other_share_activations_alone)
{
    const cdu_op_devices *devices = cdu_op_devices_open();
    network net = build(8, 3, 2, 32);
    cdu_graph *graph;
    cdu_inference_graph values;
    OK(cdu_graph_create(&graph, &error));
    OK(cdu_model_build_inference(graph, &net.settings, 1, 32, 32, &values, &error));
    uint32_t *pixels = tiles(&net);
    enum { PIXELS = 32 * 32 };
    for (uint32_t d = 0; d < devices->count; d++) {
        const cdu_gpu *gpu = &devices->gpu[d];
        if (cdu_op_is_null(gpu)) continue;
        cdu_plan_report report;
        uint64_t count, again_count;
        cdu_weights weights = {0};
        cdu_program *beside, *alone;
        float *expected = trained(&net, gpu, 0, &report, &count);
        float *probabilities = malloc(2 * PIXELS * net.settings.classes * sizeof *probabilities), *second = probabilities + PIXELS * net.settings.classes;
        cdu_program *training = create(&net, gpu, 0);
        OK(cdu_model_initialize(&net.settings, 6, &weights, &error));
        uint64_t before = gpu->backend->usage(gpu->device).now;
        OK(cdu_program_create_beside(graph, gpu, &(cdu_plan_options){.quiet = true}, training, &beside, &error));
        uint64_t taken = gpu->backend->usage(gpu->device).now - before, own = cdu_program_own_bytes(beside);
        cr_assert_eq(own, cdu_program_report(beside).peak - cdu_program_report(beside).activations, "%s", gpu->id);
        cr_assert(taken >= own && taken < own + 65536, "%s: %llu bytes taken, %llu announced", gpu->id, (unsigned long long)taken,
                  (unsigned long long)own);
        OK(cdu_program_create(graph, gpu, &(cdu_plan_options){.quiet = true}, &alone, &error));
        cdu_program *const both[] = {beside, alone};
        step(training);
        for (int i = 0; i < 2; i++) {
            OK(cdu_model_load_folded(graph, both[i], &net.settings, &weights, &error));
            OK(cdu_program_write(both[i], values.tile, pixels, &error));
            OK(cdu_program_run(both[i], NULL, 0, &error));
            OK(cdu_program_read(both[i], values.probabilities, i ? second : probabilities, &error));
        }
        step(training);
        cr_assert(!memcmp(probabilities, second, PIXELS * net.settings.classes * sizeof *second), "%s: other probabilities", gpu->id);
        float *got = arenas(training, &again_count);
        cr_assert(count == again_count && !memcmp(expected, got, count * sizeof *got), "%s: training was disturbed", gpu->id);
        cdu_program_destroy(beside);
        cdu_program_destroy(alone);
        uint64_t both_bytes = own + cdu_program_report(training).peak;
        cr_assert_eq(cdu_program_create_beside(graph, gpu, &(cdu_plan_options){.memory = both_bytes - 1}, training, &beside, &error),
                     CDU_TRY_AGAIN, "%s", gpu->id);
        cr_assert(strstr(error.words, "MiB"), "%s", error.words);
        OK(cdu_program_create_beside(graph, gpu, &(cdu_plan_options){.memory = both_bytes}, training, &beside, &error));
        cdu_program_destroy(beside);
        cdu_program_destroy(training);
        cdu_weights_free(&weights);
        free(got);
        free(probabilities);
        free(expected);
    }
    free(pixels);
    cdu_graph_destroy(graph);
    cdu_graph_destroy(net.graph);
}

typedef struct { cdu_program *program; cdu_inference_graph values; cdu_graph *graph; } inference;

static void infer(inference *i, const network *net, const uint32_t *pixels, const cdu_weights *weights, float *out)
{
    if (weights) OK(cdu_model_load_folded(i->graph, i->program, &net->settings, weights, &error));
    OK(cdu_program_write(i->program, i->values.tile, pixels, &error));
    OK(cdu_program_run(i->program, NULL, 0, &error));
    OK(cdu_program_read(i->program, i->values.probabilities, out, &error));
}

/* Packed weights that are kept give the bytes of those packed in each run, as often as it runs and whenever weights change; where the limit on
 * memory has no room for them, they are packed in each run. */
Test(memory, weights_are_packed_once_where_there_is_room)
{
    const cdu_op_devices *devices = cdu_op_devices_open();
    network net = build(16, 3, 1, 32);
    cdu_graph *graph;
    cdu_inference_graph values;
    cdu_weights first = {0}, second = {0};
    enum { PIXELS = 32 * 32 };
    OK(cdu_graph_create(&graph, &error));
    OK(cdu_model_build_inference(graph, &net.settings, 1, 32, 32, &values, &error));
    OK(cdu_model_initialize(&net.settings, 6, &first, &error));
    OK(cdu_model_initialize(&net.settings, 7, &second, &error));
    uint32_t *pixels = tiles(&net);
    size_t bytes = PIXELS * net.settings.classes * sizeof(float);
    float *expected = malloc(bytes), *got = malloc(bytes), *other = malloc(bytes);
    for (uint32_t d = 0; d < devices->count; d++) {
        const cdu_gpu *gpu = &devices->gpu[d];
        inference each = {.values = values, .graph = graph}, kept = each, limited = each;
        OK(cdu_program_create(graph, gpu, &(cdu_plan_options){.quiet = true}, &each.program, &error));
        uint64_t before = gpu->backend->usage(gpu->device).now;
        OK(cdu_program_create(graph, gpu, &(cdu_plan_options){.quiet = true, .keep = true}, &kept.program, &error));
        cdu_plan_report a = cdu_program_report(each.program), b = cdu_program_report(kept.program);
        double seen = (double)(gpu->backend->usage(gpu->device).now - before);
        cr_assert(b.bytes < a.bytes && b.arenas > a.arenas && b.activations <= a.activations, "%s: nothing is kept", gpu->id);
        cr_assert(seen >= (double)b.peak && seen <= 1.02 * (double)b.peak, "%s: %llu bytes planned, %.0f taken", gpu->id,
                  (unsigned long long)b.peak, seen);
        infer(&each, &net, pixels, &first, expected);
        for (int run = 0; run < 3; run++) {
            infer(&kept, &net, pixels, run ? NULL : &first, got);
            cr_assert(cdu_op_is_null(gpu) || !memcmp(expected, got, bytes), "%s: other probabilities in run %d", gpu->id, run);
        }
        infer(&each, &net, pixels, &second, other);
        infer(&kept, &net, pixels, &second, got);
        cr_assert(cdu_op_is_null(gpu) || (!memcmp(other, got, bytes) && memcmp(other, expected, bytes)), "%s: weights of before", gpu->id);
        OK(cdu_program_create(graph, gpu, &(cdu_plan_options){.quiet = true, .keep = true, .memory = b.peak - 1}, &limited.program, &error));
        cr_assert_eq(cdu_program_report(limited.program).peak, a.peak, "%s", gpu->id);
        infer(&limited, &net, pixels, &first, got);
        cr_assert(cdu_op_is_null(gpu) || !memcmp(expected, got, bytes), "%s: other probabilities under a limit", gpu->id);
        cdu_program_destroy(each.program);
        cdu_program_destroy(kept.program);
        cdu_program_destroy(limited.program);
    }
    free(pixels);
    free(expected);
    free(got);
    free(other);
    cdu_weights_free(&first);
    cdu_weights_free(&second);
    cdu_graph_destroy(graph);
    cdu_graph_destroy(net.graph);
}

Test(memory, devices_give_what_was_planned)
{
    const cdu_op_devices *devices = cdu_op_devices_open();
    network net = build(16, 4, 1, 128);
    for (uint32_t d = 0; d < devices->count; d++) {
        const cdu_gpu *gpu = &devices->gpu[d];
        uint64_t before = gpu->backend->usage(gpu->device).now;
        cdu_program *program = create(&net, gpu, 0);
        cdu_memory_usage usage = gpu->backend->usage(gpu->device);
        double planned = (double)cdu_program_report(program).peak, seen = (double)(usage.now - before);
        cr_assert(seen >= planned && seen <= 1.02 * planned, "%s: %.0f bytes planned, %.0f taken", gpu->id, planned, seen);
        cr_assert_geq(usage.most, usage.now);
        cdu_program_destroy(program);
        cr_assert_eq(gpu->backend->usage(gpu->device).now, before, "%s: not all is given back", gpu->id);
    }
    cdu_graph_destroy(net.graph);
}

static uint64_t resident_bytes(void)
{
    FILE *file = fopen("/proc/self/statm", "r");
    unsigned long long whole, pages;
    cr_assert_not_null(file);
    cr_assert_eq(fscanf(file, "%llu %llu", &whole, &pages), 2);
    fclose(file);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* Where the device is the processor, the system tells apart from the backend what buffers take. */
Test(memory, resident_memory_is_what_was_counted)
{
    static const struct { uint64_t bytes; cdu_memory memory; } parts[] = {
        {100 << 20, CDU_MEM_DEVICE}, {40 << 20, CDU_MEM_SHARED}, {20 << 20, CDU_MEM_UPLOAD}, {3 << 20, CDU_MEM_READBACK}};
    enum { PARTS = sizeof parts / sizeof parts[0] };
    const cdu_op_devices *devices = cdu_op_devices_open();
    for (uint32_t d = 0; d < devices->count; d++) {
        const cdu_gpu *gpu = &devices->gpu[d];
        cdu_buffer *buffers[PARTS];
        if (gpu->info.kind != CDU_CPU || cdu_op_is_null(gpu)) continue;
        uint64_t counted = gpu->backend->usage(gpu->device).now, resident = resident_bytes();
        for (int i = 0; i < PARTS; i++)
            OK(gpu->backend->buffer_create(gpu->device, parts[i].bytes, parts[i].memory, &buffers[i], &error));
        double taken = (double)(gpu->backend->usage(gpu->device).now - counted), seen = (double)(resident_bytes() - resident);
        cr_assert(seen >= 0.98 * taken && seen <= 1.02 * taken, "%s: %.1f MiB counted, %.1f resident", gpu->id, taken / 1048576,
                  seen / 1048576);
        for (int i = 0; i < PARTS; i++) gpu->backend->buffer_destroy(buffers[i]);
    }
}
