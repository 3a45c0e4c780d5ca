/* measure.c: the device's peaks, and the times of a program's steps. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/bench.h"
#include "core/base/memory.h"
#include "core/base/progress.h"
#include "shaders/shaders.h"

enum { GROUP = 64, ITEMS = 16384, ROUNDS = 20000, COPY_BYTES = 64 << 20, PEAK_REPEATS = 5 };

cdu_status bench_add(bench_rows *rows, const bench_row *row, cdu_error *error)
{
    CDU_TRY(cdu_grow(&rows->rows, &rows->capacity, rows->count + 1, sizeof *row, error));
    rows->rows[rows->count++] = *row;
    return CDU_OK;
}

/* The smallest time in seconds of one step run alone. */
static cdu_status time_step(const cdu_gpu *gpu, const cdu_step *step, double *seconds, cdu_error *error)
{
    cdu_list *list = NULL;
    CDU_TRY(gpu->backend->list_create(gpu->device, step, 1, NULL, &list, error));
    cdu_status status = CDU_OK;
    *seconds = INFINITY;
    for (int i = 0; status == CDU_OK && i < PEAK_REPEATS; i++) {
        cdu_ticket ticket = 0;
        cdu_progress progress = CDU_RUNNING;
        uint64_t ns = 0;
        status = gpu->backend->submit(list, 0, CDU_COMPUTE, NULL, 0, &ticket, error);
        if (status == CDU_OK) status = gpu->backend->wait(gpu->device, ticket, 60000000000u, &progress, error);
        if (status == CDU_OK && progress != CDU_DONE) status = cdu_fail(error, CDU_TRY_AGAIN, "the device did not finish");
        if (status == CDU_OK) status = gpu->backend->times(list, 0, &ns, error);
        if (status == CDU_OK && (double)ns * 1e-9 < *seconds) *seconds = (double)ns * 1e-9;
    }
    gpu->backend->list_destroy(list);
    return status;
}

static uint32_t float_word(float value)
{
    uint32_t word;
    memcpy(&word, &value, 4);
    return word;
}

/* Items of a work-group of multiply-adds: one on CPUs with wide vectors, as the operators have it; a loop over items would keep its
 * vectors in memory. Copying does not mind, and groups cost time. */
static uint32_t group_items(const cdu_gpu *gpu)
{
    return gpu->info.vector_width > 4 ? 1 : GROUP;
}

/* Builds one kernel of peaks.k, times it on `buffers` and frees it. */
static cdu_status time_kernel(const cdu_gpu *gpu, const char *name, uint32_t group, cdu_step *step, double *seconds, cdu_error *error)
{
    const char *text = NULL;
    char defines[64];
    snprintf(defines, sizeof defines, "GX=%u GY=1 GZ=1 VW=%u", group, gpu->info.vector_width);
    CDU_TRY(cdu_shader_text("peaks.k", &text, error));
    CDU_TRY(gpu->backend->kernel_create(gpu->device, text, name, defines, step->bindings, step->params, 0, &step->kernel, NULL, error));
    cdu_status status = time_step(gpu, step, seconds, error);
    gpu->backend->kernel_destroy(step->kernel);
    return status;
}

static cdu_status measure_copy(const cdu_gpu *gpu, cdu_buffer *from, cdu_buffer *to, uint64_t bytes, double *gbytes, cdu_error *error)
{
    uint32_t vectors = (uint32_t)(bytes / 4 / gpu->info.vector_width);
    double seconds = 0;
    cdu_step step = {.kind = CDU_STEP_KERNEL, .bindings = 2, .params = 1, .param = {vectors}, .groups = {(vectors + GROUP - 1) / GROUP, 1, 1},
                     .bind = {{from, 0, bytes, CDU_READ}, {to, 0, bytes, CDU_WRITE}}, .label = "copy"};
    CDU_TRY(time_kernel(gpu, "peak_copy", GROUP, &step, &seconds, error));
    *gbytes = 2e-9 * (double)bytes / seconds;
    return CDU_OK;
}

static cdu_status measure_multiply_add(const cdu_gpu *gpu, cdu_buffer *to, double *gflops, cdu_error *error)
{
    uint64_t bytes = (uint64_t)ITEMS * gpu->info.vector_width * 4;
    uint32_t rounds = gpu->info.kind == CDU_CPU ? ROUNDS / 10 : ROUNDS;
    double seconds = 0;
    cdu_step step = {.kind = CDU_STEP_KERNEL, .bindings = 1, .params = 3, .param = {rounds, float_word(0.999f), float_word(0.001f)},
                     .groups = {ITEMS / group_items(gpu), 1, 1}, .bind = {{to, 0, bytes, CDU_WRITE}}, .label = "multiply-add"};
    CDU_TRY(time_kernel(gpu, "peak_multiply_add", group_items(gpu), &step, &seconds, error));
    *gflops = 1e-9 * 2 * 8 * (double)rounds * ITEMS * gpu->info.vector_width / seconds;
    return CDU_OK;
}

cdu_status bench_measure_peaks(bench_context *context, cdu_error *error)
{
    const cdu_gpu *gpu = &context->gpu;
    cdu_buffer *from = NULL, *to = NULL;
    uint64_t bytes = COPY_BYTES;
    uint64_t per_group = (uint64_t)GROUP * gpu->info.vector_width * 4;
    if (bytes > gpu->info.largest_binding) bytes = gpu->info.largest_binding;
    if (bytes > per_group * gpu->info.group_count[0]) bytes = per_group * gpu->info.group_count[0];
    bytes -= bytes % per_group;
    CDU_TRY(gpu->backend->buffer_create(gpu->device, bytes, CDU_MEM_DEVICE, &from, error));
    cdu_status status = gpu->backend->buffer_create(gpu->device, bytes, CDU_MEM_DEVICE, &to, error);
    if (status == CDU_OK) status = measure_copy(gpu, from, to, bytes, &context->peaks.gbytes, error);
    if (status == CDU_OK) status = measure_multiply_add(gpu, to, &context->peaks.gflops, error);
    if (to) gpu->backend->buffer_destroy(to);
    gpu->backend->buffer_destroy(from);
    return status;
}

/* Steps with equal labels become one row. */
static cdu_status add_rows(const char *name, cdu_program *program, const uint64_t *best, double wall, bench_rows *rows, cdu_error *error)
{
    size_t first = rows->count;
    bench_row all = {.ms = wall * 1e3};
    snprintf(all.name, sizeof all.name, "%s / all", name);
    for (uint32_t i = 0; i < cdu_program_steps(program); i++) {
        const cdu_step *step = cdu_program_step(program, i);
        bench_row row = {0};
        size_t at = first;
        snprintf(row.name, sizeof row.name, "%s / %s", name, step->label ? step->label : "step");
        while (at < rows->count && strcmp(rows->rows[at].name, row.name)) at++;
        if (at == rows->count) CDU_TRY(bench_add(rows, &row, error));
        rows->rows[at].ms += (double)best[i] * 1e-6;
        rows->rows[at].gflop += step->flops * 1e-9;
        rows->rows[at].gbyte += step->bytes * 1e-9;
        rows->rows[at].times++;
        all.gflop += step->flops * 1e-9;
        all.gbyte += step->bytes * 1e-9;
        all.times++;
    }
    return bench_add(rows, &all, error);
}

cdu_status bench_program(const bench_context *context, const char *name, cdu_program *program, bench_rows *rows, cdu_error *error)
{
    uint32_t steps = cdu_program_steps(program);
    uint64_t *now = NULL, *best = NULL;
    double wall = INFINITY;
    static const uint32_t patch[CDU_PATCH_BYTES / 4];
    CDU_TRY(cdu_allocate(&now, steps, sizeof *now, error));
    cdu_status status = cdu_allocate(&best, steps, sizeof *best, error);
    for (uint32_t r = 0; status == CDU_OK && r <= context->repeats; r++) {
        double began = cdu_seconds();
        status = cdu_program_run(program, patch, sizeof patch, error);
        double spent = cdu_seconds() - began;
        if (status == CDU_OK) status = cdu_program_times(program, now, error);
        for (uint32_t i = 0; i < steps; i++)
            if (r == 1 || (r > 1 && now[i] < best[i])) best[i] = now[i];
        if (r > 0 && spent < wall) wall = spent;
    }
    if (status == CDU_OK) status = add_rows(name, program, best, wall, rows, error);
    free(best);
    free(now);
    return status;
}
