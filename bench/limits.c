/* limits.c: the kernels of shaders/peaks.k, each long enough for the device's clock. */
#include "bench/limits.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "shaders/shaders.h"

enum { GROUP = 64, ITEMS = 16384, COPY_BYTES = 64 << 20, LOCAL_FLOATS = 4096, LEAST_NANOSECONDS = 8000000, MOST_ROUNDS = 1 << 20, RUNS = 3 };

typedef struct {
    const char *name, *kernel, *unit;
    uint32_t group;             /* items of a work-group */
    double per_round;           /* FLOP or bytes of the whole launch; for copying of the one round there is */
    cdu_step step;              /* param[0]: rounds */
    cdu_list *list;
    double *samples;
    size_t count, capacity;
} limit;

struct bench_limits {
    const cdu_gpu *gpu;
    cdu_buffer *from, *to;
    limit limits[BENCH_LIMITS];
};

static cdu_status run(const bench_limits *l, const limit *m, uint64_t *ns, cdu_error *error)
{
    const cdu_backend *backend = l->gpu->backend;
    cdu_ticket ticket = 0;
    cdu_progress progress = CDU_RUNNING;
    CDU_TRY(backend->submit(m->list, 0, CDU_COMPUTE, NULL, 0, &ticket, error));
    CDU_TRY(backend->wait(l->gpu->device, ticket, 60000000000u, &progress, error));
    if (progress != CDU_DONE) return cdu_fail(error, CDU_TRY_AGAIN, "%s: measuring %s did not end", l->gpu->id, m->name);
    CDU_TRY(backend->times(m->list, 0, ns, error));
    if (!*ns) *ns = 1;
    return CDU_OK;
}

static cdu_status record(const bench_limits *l, limit *m, cdu_error *error)
{
    if (m->list) l->gpu->backend->list_destroy(m->list);
    m->list = NULL;
    return l->gpu->backend->list_create(l->gpu->device, &m->step, 1, NULL, &m->list, error);
}

/* Compiles the kernel, and doubles the rounds until the device is busy long enough. Copying has no rounds. */
static cdu_status prepare(const bench_limits *l, limit *m, bool rounds, cdu_error *error)
{
    const cdu_gpu *gpu = l->gpu;
    const char *text = NULL;
    char defines[96];
    uint64_t ns = 0;
    snprintf(defines, sizeof defines, "GX=%u GY=1 GZ=1 VW=%u FLOATS=%u", m->group, gpu->info.vector_width, LOCAL_FLOATS);
    CDU_TRY(cdu_shader_text("peaks.k", &text, error));
    CDU_TRY(gpu->backend->kernel_create(gpu->device, text, m->kernel, defines, m->step.bindings, m->step.params, 0, &m->step.kernel,
                                        NULL, error));
    if (rounds) m->step.param[0] = 64;
    CDU_TRY(record(l, m, error));
    CDU_TRY(run(l, m, &ns, error));
    while (rounds && ns < LEAST_NANOSECONDS && m->step.param[0] < MOST_ROUNDS) {
        m->step.param[0] *= 2;
        CDU_TRY(record(l, m, error));
        CDU_TRY(run(l, m, &ns, error));
    }
    return CDU_OK;
}

static uint32_t float_word(float value)
{
    uint32_t word;
    memcpy(&word, &value, 4);
    return word;
}

static cdu_status open_all(bench_limits *l, cdu_error *error)
{
    const cdu_gpu *gpu = l->gpu;
    const uint32_t width = gpu->info.vector_width;
    /* on CPUs with wide vectors one item a group, as the operators have it: a loop over items would keep its vectors in memory */
    const uint32_t group = width > 4 ? 1 : GROUP;
    uint32_t items = gpu->info.kind == CDU_CPU ? ITEMS / 8 : gpu->info.compute_units * 2048;
    if (items < ITEMS / 8) items = ITEMS;
    uint64_t bytes = COPY_BYTES, unit = (uint64_t)GROUP * width * 4;
    if (bytes > gpu->info.largest_binding) bytes = gpu->info.largest_binding;
    if (bytes > unit * gpu->info.group_count[0]) bytes = unit * gpu->info.group_count[0];
    bytes -= bytes % unit;
    uint64_t out = (uint64_t)items * width * 4;
    if (out > bytes) items = (uint32_t)(bytes / (width * 4) / group * group), out = (uint64_t)items * width * 4;
    CDU_TRY(gpu->backend->buffer_create(gpu->device, bytes, CDU_MEM_DEVICE, &l->from, error));
    CDU_TRY(gpu->backend->buffer_create(gpu->device, bytes, CDU_MEM_DEVICE, &l->to, error));

    const uint32_t vectors = (uint32_t)(bytes / 4 / width);
    l->limits[BENCH_MULTIPLY_ADD] = (limit){
        .name = "multiply-add", .kernel = "peak_multiply_add", .unit = "GFLOP/s", .group = group, .per_round = 2.0 * 8 * items * width,
        .step = {.kind = CDU_STEP_KERNEL, .bindings = 1, .params = 3, .param = {0, float_word(0.999f), float_word(0.001f)},
                 .groups = {items / group, 1, 1}, .bind = {{l->to, 0, out, CDU_WRITE}}, .label = "multiply-add"}};
    l->limits[BENCH_COPY] = (limit){
        .name = "copy", .kernel = "peak_copy", .unit = "GB/s", .group = GROUP, .per_round = 2.0 * (double)bytes,
        .step = {.kind = CDU_STEP_KERNEL, .bindings = 2, .params = 1, .param = {vectors}, .groups = {(vectors + GROUP - 1) / GROUP, 1, 1},
                 .bind = {{l->from, 0, bytes, CDU_READ}, {l->to, 0, bytes, CDU_WRITE}}, .label = "copy"}};
    l->limits[BENCH_LOCAL] = (limit){
        .name = "local memory", .kernel = "peak_local", .unit = "GB/s", .group = group, .per_round = 4.0 * 8 * items * width,
        .step = {.kind = CDU_STEP_KERNEL, .bindings = 1, .params = 1, .groups = {items / group, 1, 1},
                 .bind = {{l->to, 0, out, CDU_WRITE}}, .label = "local memory"}};
    for (int i = 0; i < BENCH_LIMITS; i++) CDU_TRY(prepare(l, &l->limits[i], i != BENCH_COPY, error));
    return CDU_OK;
}

cdu_status bench_limits_open(const cdu_gpu *gpu, bench_limits **out, cdu_error *error)
{
    *out = NULL;
    bench_limits *l;
    CDU_TRY(cdu_allocate(&l, 1, sizeof *l, error));
    l->gpu = gpu;
    cdu_status status = open_all(l, error);
    if (status == CDU_OK) *out = l;
    else bench_limits_close(l);
    return status;
}

void bench_limits_close(bench_limits *l)
{
    if (!l) return;
    const cdu_backend *backend = l->gpu->backend;
    for (int i = 0; i < BENCH_LIMITS; i++) {
        if (l->limits[i].list) backend->list_destroy(l->limits[i].list);
        if (l->limits[i].step.kernel) backend->kernel_destroy(l->limits[i].step.kernel);
        free(l->limits[i].samples);
    }
    if (l->from) backend->buffer_destroy(l->from);
    if (l->to) backend->buffer_destroy(l->to);
    free(l);
}

cdu_status bench_limits_sample(bench_limits *l, cdu_error *error)
{
    for (int i = 0; i < BENCH_LIMITS; i++) {
        limit *m = &l->limits[i];
        uint64_t ns = UINT64_MAX;
        for (int r = 0; r < RUNS; r++) {
            uint64_t now = 0;
            CDU_TRY(run(l, m, &now, error));
            if (now < ns) ns = now;
        }
        CDU_TRY(cdu_grow(&m->samples, &m->capacity, m->count + 1, sizeof *m->samples, error));
        m->samples[m->count++] = m->per_round * (i == BENCH_COPY ? 1 : m->step.param[0]) / (double)ns;
    }
    return CDU_OK;
}

bench_spread bench_limits_of(const bench_limits *l, bench_limit which)
{
    return bench_spread_of(l->limits[which].samples, l->limits[which].count);
}

static const bench_column columns[] = {
    {"limit", "limit", 0, 0}, {"storage", "storage", 0, 0}, {"unit", "unit", 0, 0}, {"rate_min", "min", 1, 1},
    {"rate_median", "median", 1, 1}, {"rate_max", "max", 1, 1}, {"samples", "samples", 1, 0}, {0},
};

void bench_limits_report(const bench_limits *l, bench_report *report)
{
    json_t *rows = bench_report_table(report, "limits", "limits of the device", columns);
    for (int i = 0; i < BENCH_LIMITS; i++) {
        const limit *m = &l->limits[i];
        json_t *row = json_pack("{s:s, s:s, s:s, s:I}", "limit", m->name, "storage", "f32", "unit", m->unit, "samples", (json_int_t)m->count);
        bench_row_spread(row, "rate", bench_limits_of(l, (bench_limit)i));
        json_array_append_new(rows, row);
    }
}

double bench_limits_share(const bench_limits *l, double gflop, double gbyte, double seconds, const char **bound)
{
    double compute = gflop / seconds / bench_limits_of(l, BENCH_MULTIPLY_ADD).median;
    double memory = gbyte / seconds / bench_limits_of(l, BENCH_COPY).median;
    *bound = compute > memory ? "compute" : "memory";
    return compute > memory ? compute : memory;
}
