/* cmd_step.c: `cdunet-bench step` and `infer`: the whole network, where its time goes, and what the host adds. */
#include <stdio.h>
#include <string.h>

#include "bench/commands.h"
#include "bench/footprint.h"
#include "bench/profile.h"

static const bench_column network_columns[] = {
    {"what", "what", 0, 0}, {"wall_min", "s min", 1, 4}, {"wall_median", "median", 1, 4}, {"wall_max", "max", 1, 4},
    {"device_median", "on device", 1, 4}, {"host_share", "% host", 100, 2}, {"seconds_a_tile", "s a tile", 1, 4},
    {"gflop", "GFLOP", 1, 1}, {"gflops", "GFLOP/s", 1, 1}, {"compute_share", "% of fma", 100, 1}, {"gbyte", "GB", 1, 2},
    {"memory_planned", "MiB planned", 1.0 / 1048576, 1}, {"memory_seen", "seen", 1.0 / 1048576, 1}, {"steps", "steps", 1, 0},
    {"kernels", "kernels", 1, 0}, {"segments", "segments", 1, 0}, {"size", NULL, 0, 0}, {"batch", NULL, 0, 0}, {"width", NULL, 0, 0},
    {"exact", NULL, 0, 0}, {"repeat", NULL, 0, 0}, {0},
};

typedef struct {
    const bench_settings *settings;
    bool training;
    const cdu_gpu *gpu;
    bench_limits *limits;
    bench_network network;
    bench_footprint footprint;
    bench_profile profile;
    double wall[1000];      /* of GPUs: runs without timers, which cost time there */
} measuring;

static double add_network(const measuring *m, bench_report *report)
{
    const bench_settings *s = m->settings;
    const bench_profile *p = &m->profile;
    cdu_plan_report plan = cdu_program_report(m->network.program);
    char what[64], repeat[256];
    double host[1000];
    for (uint32_t r = 0; r < p->runs; r++) host[r] = p->device[r] < p->wall[r] ? 1 - p->device[r] / p->wall[r] : 0;
    bench_spread wall = bench_spread_of(p->wall, p->runs), on_device = bench_spread_of(p->device, p->runs);
    double fma = bench_limits_of(m->limits, BENCH_MULTIPLY_ADD).median;
    snprintf(what, sizeof what, "%s %ux%ux%u width %u", m->training ? "step" : "infer", (unsigned)s->batch, (unsigned)s->size,
             (unsigned)s->size, (unsigned)s->width);
    snprintf(repeat, sizeof repeat, "cdunet-bench %s --device %s --size %u --batch %u --width %u --repeats %u%s", m->training ? "step" : "infer",
             m->gpu->id, (unsigned)s->size, (unsigned)s->batch, (unsigned)s->width, p->runs, s->exact ? " --exact-conv" : "");
    json_t *row = json_pack("{s:s, s:s, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:I, s:I, s:I, s:I, s:I, s:b}", "what", what, "repeat", repeat,
                            "device_median", on_device.median, "host_share", bench_spread_of(host, p->runs).median, "seconds_a_tile",
                            wall.median / (double)s->batch, "gflop", p->gflop, "gflops", p->gflop / wall.median, "compute_share",
                            p->gflop / wall.median / fma, "gbyte", p->gbyte, "steps", (json_int_t)plan.steps, "kernels",
                            (json_int_t)plan.kernels, "size", (json_int_t)s->size, "batch", (json_int_t)s->batch, "width",
                            (json_int_t)s->width, "exact", s->exact);
    bench_row_spread(row, "wall", wall);
    json_object_set_new(row, "segments", json_integer((json_int_t)plan.segments));
    json_object_set_new(row, "memory_planned", json_integer((json_int_t)plan.peak));
    json_object_set_new(row, "memory_seen", json_integer((json_int_t)bench_footprint_seen(m->gpu, &m->footprint).device));
    json_array_append_new(bench_report_table(report, "network", m->training ? "a training step" : "an inference", network_columns), row);
    return on_device.median;
}

/* Columns of the two tables of groups: without a case, with or without a layer. */
static const bench_column *columns(bool layers)
{
    static bench_column kept[2][BENCH_COLUMNS];
    size_t count = 0;
    for (const bench_column *c = bench_group_columns; c->key; c++)
        if (strcmp(c->key, "case") && strcmp(c->key, "repeat") && (layers || strcmp(c->key, "layer"))) kept[layers][count++] = *c;
    kept[layers][count] = (bench_column){0};
    return kept[layers];
}

static cdu_status add_groups(const measuring *m, bench_report *report, double device, cdu_error *error)
{
    const bench_profile *p = &m->profile;
    bench_group *groups = NULL;
    size_t count = 0;
    cdu_status status = bench_profile_by_operator(p, &groups, &count, error);
    json_t *rows = bench_report_table(report, "operators", "where the time goes", columns(false));
    for (size_t g = 0; status == CDU_OK && g < count; g++)
        json_array_append_new(rows, bench_group_row(&groups[g], p->runs, m->limits, device));
    bench_groups_free(groups, count);
    if (!m->settings->layers) return status;
    rows = bench_report_table(report, "layers", "by layer, in the order of a run", columns(true));
    for (size_t g = 0; status == CDU_OK && g < p->group_count; g++)
        json_array_append_new(rows, bench_group_row(&p->groups[g], p->runs, m->limits, device));
    return status;
}

static cdu_status measure_network(measuring *m, bench_report *report, cdu_error *error)
{
    const bench_settings *s = m->settings;
    bench_network_settings network = bench_network_of(s, m->training);
    CDU_TRY(bench_limits_open(m->gpu, &m->limits, error));
    CDU_TRY(bench_footprint_open(m->gpu, &network, &m->network, &m->footprint, error));
    CDU_TRY(bench_profile_begin(&m->profile, m->network.program, (uint32_t)s->repeats, error));
    CDU_TRY(bench_profile_run(&m->profile, m->limits, error));
    if (m->wall[0] > 0) memcpy(m->profile.wall, m->wall, m->profile.runs * sizeof *m->wall);
    double device = add_network(m, report);
    CDU_TRY(add_groups(m, report, device, error));
    bench_limits_report(m->limits, report);
    return CDU_OK;
}

static cdu_status run_untimed(measuring *m, const cdu_gpu *gpu, cdu_error *error)
{
    const bench_settings *s = m->settings;
    bench_network_settings settings = bench_network_of(s, m->training);
    bench_network network;
    CDU_TRY(bench_network_open(gpu, &settings, &network, error));
    double ignored;
    cdu_status status = bench_run(network.program, &ignored, error);
    for (uint64_t r = 0; status == CDU_OK && r < s->repeats; r++) status = bench_run(network.program, &m->wall[r], error);
    bench_network_close(&network);
    return status;
}

/* A GPU opened timed runs step after step (Vulkan), or makes an event for each (OpenCL): the host's clock is read without that. */
static cdu_status measure_untimed(measuring *m, cdu_error *error)
{
    cdu_gpu gpu;
    CDU_TRY(cdu_gpu_open(m->settings->device, false, true, &gpu, error));
    cdu_status status = run_untimed(m, &gpu, error);
    cdu_gpu_close(&gpu);
    return status;
}

static cdu_status measure(const bench_settings *s, bool training, bench_report *report, cdu_error *error)
{
    cdu_gpu gpu;
    measuring m = {.settings = s, .training = training, .gpu = &gpu};
    CDU_TRY(cdu_gpu_open(s->device, true, true, &gpu, error));
    cdu_status status = gpu.info.kind == CDU_CPU ? CDU_OK : measure_untimed(&m, error);
    if (status == CDU_OK) status = bench_report_device(report, &gpu, error);
    if (status == CDU_OK) status = measure_network(&m, report, error);
    bench_profile_end(&m.profile);
    bench_network_close(&m.network);
    bench_limits_close(m.limits);
    cdu_gpu_close(&gpu);
    return status;
}

cdu_status bench_measure_step(const bench_settings *s, bench_report *report, cdu_error *error)
{
    return measure(s, true, report, error);
}

cdu_status bench_measure_infer(const bench_settings *s, bench_report *report, cdu_error *error)
{
    return measure(s, false, report, error);
}

enum { TAKES = BENCH_TAKES_DEVICE | BENCH_TAKES_REPEATS | BENCH_TAKES_NETWORK | BENCH_TAKES_LAYERS };
static const char details[] =
    "\"% host\" is what the host's clock shows (of GPUs: in runs without timers) beyond the sum of the device's times. Memory that is seen is counted by\n"
    "the backend as buffers are made. Convolutions are counted as direct ones.";

cdu_status bench_cmd_step(int argc, char **argv, cdu_error *error)
{
    bench_settings s = {0};
    bool done = false;
    CDU_TRY(bench_settings_parse(&s, TAKES, "5", "a training step of CD-UNET, and where its time goes", details, NULL, argc, argv, &done, error));
    return done ? CDU_OK : bench_run_measurement(bench_measure_step, argv[0], &s, error);
}

cdu_status bench_cmd_infer(int argc, char **argv, cdu_error *error)
{
    bench_settings s = {0};
    bool done = false;
    CDU_TRY(bench_settings_parse(&s, TAKES, "5", "an inference of CD-UNET, and where its time goes", details, NULL, argc, argv, &done, error));
    return done ? CDU_OK : bench_run_measurement(bench_measure_infer, argv[0], &s, error);
}
