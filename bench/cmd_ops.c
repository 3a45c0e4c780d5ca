/* cmd_ops.c: `cdunet-bench ops`: every operator and pass by itself. The passes of a case run in turn, with the device's limits between
 * them. */
#include <stdio.h>
#include <string.h>

#include "bench/cases.h"
#include "bench/commands.h"
#include "bench/profile.h"
#include "core/base/progress.h"

typedef struct {
    const bench_settings *settings;
    const cdu_gpu *gpu;
    bench_limits *limits;
    json_t *rows;
} measuring;

static void add_rows(const measuring *m, const bench_case *c, const bench_profile *profile)
{
    char name[BENCH_NAME], repeat[256];
    bench_case_name(c, name);
    snprintf(repeat, sizeof repeat, "cdunet-bench ops --device %s --case %s --repeats %llu%s", m->gpu->id, name,
             (unsigned long long)m->settings->repeats, m->settings->exact ? " --exact-conv" : "");
    for (size_t g = 0; g < profile->group_count; g++) {
        if (!bench_case_counts(c, profile->groups[g].pass)) continue;
        json_t *row = bench_group_row(&profile->groups[g], profile->runs, m->limits, 0);
        json_object_del(row, "layer");
        json_object_set_new(row, "case", json_string(name));
        json_object_set_new(row, "repeat", json_string(repeat));
        json_array_append_new(m->rows, row);
    }
}

static cdu_status measure_case(const measuring *m, const char *name, cdu_error *error)
{
    bench_case c;
    bench_profile profile = {0};
    cdu_graph *graph = NULL;
    cdu_program *program = NULL;
    CDU_TRY(bench_case_parse(name, &c, error));
    cdu_status status = bench_case_open(&c, m->gpu, m->settings->exact, &graph, &program, error);
    if (status == CDU_OK) status = bench_profile_begin(&profile, program, (uint32_t)m->settings->repeats, error);
    if (status == CDU_OK) status = bench_profile_run(&profile, m->limits, error);
    if (status == CDU_OK) add_rows(m, &c, &profile);
    bench_profile_end(&profile);
    cdu_program_destroy(program);
    cdu_graph_destroy(graph);
    return status == CDU_OK ? CDU_OK : cdu_error_prefix(error, "%s", name);
}

static bool wanted(const bench_settings *s, const bench_case_row *row)
{
    return !s->only || strstr(row->name, s->only) || !strcmp(row->set, s->only);
}

static cdu_status measure_all(const measuring *m, cdu_error *error)
{
    const bench_settings *s = m->settings;
    uint64_t count = 0, done = 0;
    if (s->case_name) return measure_case(m, s->case_name, error);
    for (const bench_case_row *row = bench_case_rows; row->name; row++) count += wanted(s, row);
    if (!count) return cdu_fail(error, CDU_USAGE, "ops: no case has '%s' in its name; --case NAME takes any shape", s->only);
    cdu_progress_bar bar = cdu_progress_begin("ops", count);
    for (const bench_case_row *row = bench_case_rows; row->name; row++) {
        if (!wanted(s, row)) continue;
        cdu_progress_set_stream(NULL); /* one bar, instead of one of kernels for each case */
        cdu_status status = measure_case(m, row->name, error);
        cdu_progress_set_stream(stderr);
        CDU_TRY(status);
        cdu_progress_update(&bar, ++done, row->name);
    }
    cdu_progress_end(&bar);
    return CDU_OK;
}

/* The columns of a layer's rows are empty here, as "case" is in those of a network. */
static const bench_column *columns(void)
{
    static bench_column kept[BENCH_COLUMNS];
    size_t count = 0;
    for (const bench_column *c = bench_group_columns; c->key; c++)
        if (strcmp(c->key, "layer") && strcmp(c->key, "part")) kept[count++] = *c;
    kept[count] = (bench_column){0};
    return kept;
}

static cdu_status measure(const bench_settings *s, const cdu_gpu *gpu, bench_report *report, cdu_error *error)
{
    measuring m = {s, gpu, NULL, NULL};
    CDU_TRY(bench_limits_open(gpu, &m.limits, error));
    m.rows = bench_report_table(report, "ops", "operators by themselves", columns());
    cdu_status status = measure_all(&m, error);
    if (status == CDU_OK) bench_limits_report(m.limits, report);
    if (status == CDU_OK && json_array_size(m.rows))
        bench_report_note(report, "A case is repeated by: cdunet-bench ops --device %s --case NAME%s", gpu->id, s->exact ? " --exact-conv" : "");
    bench_limits_close(m.limits);
    return status;
}

cdu_status bench_measure_ops(const bench_settings *s, bench_report *report, cdu_error *error)
{
    cdu_gpu gpu;
    bench_case c;
    if (s->case_name) CDU_TRY(bench_case_parse(s->case_name, &c, error));
    CDU_TRY(cdu_gpu_open(s->device, true, true, &gpu, error));
    cdu_status status = bench_report_device(report, &gpu, error);
    if (status == CDU_OK) status = measure(s, &gpu, report, error);
    cdu_gpu_close(&gpu);
    return status;
}

cdu_status bench_cmd_ops(int argc, char **argv, cdu_error *error)
{
    bench_settings s = {0};
    bool done = false;
    CDU_TRY(bench_settings_parse(&s, BENCH_TAKES_DEVICE | BENCH_TAKES_REPEATS | BENCH_TAKES_CASES | BENCH_TAKES_ONLY, "5",
                                 "every operator and pass by itself, at the paper's shapes and at hard ones",
                                 "Convolutions are counted as direct ones, whatever variant computes them. --only paper or --only hard takes one of\n"
                                 "the two sets. CDUNET_VARIANT=NAME forces a variant of convolution where it fits.",
                                 NULL, argc, argv, &done, error));
    return done ? CDU_OK : bench_run_measurement(bench_measure_ops, argv[0], &s, error);
}
