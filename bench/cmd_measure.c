/* cmd_measure.c: `cdunet-bench ops|step|peaks`: times operators and training steps on one device and sets them beside what the device can
 * do at most. Each measurement is a row of `measurements`; results are rows of numbers, as a table or as JSON. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/bench.h"
#include "bench/commands.h"
#include "tools/options.h"

typedef cdu_status measurement(const bench_context *, bench_rows *, cdu_error *);

static cdu_status only_peaks(const bench_context *context, bench_rows *rows, cdu_error *error)
{
    (void)context, (void)rows, (void)error;
    return CDU_OK;
}

static const struct { const char *name; measurement *run; } measurements[] = {
    {"ops", bench_ops}, {"step", bench_step}, {"peaks", only_peaks},
};
enum { MEASUREMENTS = sizeof measurements / sizeof measurements[0] };

/* The larger of the shares of both peaks: how near the row is to the device's roof. */
static double share(const bench_row *row, const bench_peaks *peaks)
{
    double compute = row->gflop / (row->ms * 1e-3) / peaks->gflops, memory = row->gbyte / (row->ms * 1e-3) / peaks->gbytes;
    return compute > memory ? compute : memory;
}

static void print_table(const bench_context *context, const bench_rows *rows)
{
    printf("%s, %s, %s\npeaks: %.1f GFLOP/s of multiply-adds, %.1f GB/s of copying\n", context->gpu.id, context->gpu.info.name,
           context->gpu.info.driver, context->peaks.gflops, context->peaks.gbytes);
    if (rows->count) printf("\n%-72s %6s %10s %9s %8s %7s\n", "what", "steps", "ms", "GFLOP/s", "GB/s", "of peak");
    for (size_t i = 0; i < rows->count; i++) {
        const bench_row *r = &rows->rows[i];
        printf("%-72s %6u %10.3f %9.1f %8.1f %6.1f%%\n", r->name, r->times, r->ms, r->gflop / (r->ms * 1e-3), r->gbyte / (r->ms * 1e-3),
               100 * share(r, &context->peaks));
    }
}

static void print_json(const bench_context *context, const bench_rows *rows)
{
    json_t *list = json_array();
    for (size_t i = 0; i < rows->count; i++) {
        const bench_row *r = &rows->rows[i];
        json_array_append_new(list, json_pack("{s:s, s:i, s:f, s:f, s:f, s:f}", "name", r->name, "steps", (int)r->times, "ms", r->ms,
                                              "gflop", r->gflop, "gbyte", r->gbyte, "share", share(r, &context->peaks)));
    }
    json_t *root = json_pack("{s:s, s:s, s:s, s:s, s:f, s:f, s:o}", "version", CDUNET_VERSION, "device", context->gpu.id, "name",
                             context->gpu.info.name, "driver", context->gpu.info.driver, "peak_gflops", context->peaks.gflops,
                             "peak_gbytes", context->peaks.gbytes, "rows", list);
    json_dumpf(root, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
    printf("\n");
    json_decref(root);
}

static cdu_status measure(const char *device, measurement *run, bench_context *context, bool json, cdu_error *error)
{
    bench_rows rows = {0};
    CDU_TRY(cdu_gpu_open(device, true, true, &context->gpu, error));
    cdu_status status = bench_measure_peaks(context, error);
    if (status == CDU_OK) status = run(context, &rows, error);
    if (status == CDU_OK && json) print_json(context, &rows);
    else if (status == CDU_OK) print_table(context, &rows);
    free(rows.rows);
    cdu_gpu_close(&context->gpu);
    return status;
}

cdu_status bench_cmd_measure(int argc, char **argv, cdu_error *error)
{
    const char *device = NULL;
    uint64_t repeats = 0, width = 0, batch = 0, size = 0;
    bool json = false, done = false;
    bench_context context = {0};
    const cdu_option options[] = {
        {.name = "device", .letter = 'd', .type = CDU_OPTION_TEXT, .value = &device, .argument = "D", .fallback = "auto",
         .help = "opencl:0, vulkan:1, or a part of the name"},
        {.name = "only", .type = CDU_OPTION_TEXT, .value = &context.only, .argument = "TEXT", .help = "ops: cases whose name holds TEXT"},
        {.name = "repeats", .type = CDU_OPTION_UNSIGNED, .value = &repeats, .argument = "N", .fallback = "3", .least = 1, .most = 1000,
         .help = "runs after the first, of which the fastest counts"},
        {.name = "width", .type = CDU_OPTION_UNSIGNED, .value = &width, .argument = "N", .fallback = "8", .least = 1, .most = 512,
         .help = "step: filters of the first stage"},
        {.name = "size", .type = CDU_OPTION_UNSIGNED, .value = &size, .argument = "N", .fallback = "256", .least = 16, .most = 8192,
         .help = "step: width and height of a tile"},
        {.name = "batch", .type = CDU_OPTION_UNSIGNED, .value = &batch, .argument = "N", .fallback = "1", .least = 1, .most = 1024,
         .help = "step: tiles"},
        {.name = "json", .type = CDU_OPTION_FLAG, .value = &json, .help = "print JSON"},
        {0},
    };
    const cdu_usage usage = {argv[0], "times operators and training steps", NULL, options, NULL};
    CDU_TRY(cdu_options_parse(&usage, argc, argv, &done, error));
    if (done) return CDU_OK;
    context.repeats = (uint32_t)repeats;
    context.width = (uint32_t)width;
    context.size = (uint32_t)size;
    context.batch = (uint32_t)batch;
    for (int i = 0; i < MEASUREMENTS; i++)
        if (!strcmp(argv[0], measurements[i].name)) return measure(device, measurements[i].run, &context, json, error);
    return cdu_fail(error, CDU_USAGE, "there is no measurement '%s'", argv[0]);
}
