/* cmd_memory.c: `cdunet-bench memory`: planned and seen memory of training and inference, at one tile and at four, each in a process of its
 * own, so that nothing of one is left in the next. */
#include <stdio.h>
#include <string.h>

#include "bench/child.h"
#include "bench/commands.h"
#include "bench/footprint.h"
#include "bench/host.h"
#include "bench/profile.h"

static const bench_column columns[] = {
    {"what", "what", 0, 0}, {"size", "size", 1, 0},
    {"batch", "batch", 1, 0}, {"width", "width", 1, 0},
    {"planned", "MiB planned", 1.0 / 1048576, 1}, {"seen", "seen", 1.0 / 1048576, 1}, {"seen_share", "% of plan", 100, 1},
    {"resident", "resident", 1.0 / 1048576, 1},
    {"activations", "activations", 1.0 / 1048576, 1}, {"unshared", "without reuse", 1.0 / 1048576, 1}, {"arenas", "weights", 1.0 / 1048576, 1},
    {"host_visible", "host-visible", 1.0 / 1048576, 1}, {"process", "process", 1.0 / 1048576, 1}, {0},
};

static cdu_status measure_here(const bench_settings *s, bool training, const cdu_gpu *gpu, json_t *rows, cdu_error *error)
{
    bench_network_settings settings = bench_network_of(s, training);
    bench_network network = {0};
    bench_footprint footprint;
    double seconds;
    cdu_status status = bench_footprint_open(gpu, &settings, &network, &footprint, error);
    for (int i = 0; status == CDU_OK && i < 2; i++) status = bench_run(network.program, &seconds, error);
    if (status == CDU_OK) {
        bench_footprint seen = bench_footprint_seen(gpu, &footprint);
        cdu_plan_report r = cdu_program_report(network.program);
        json_t *row = json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "what", training ? "step" : "infer", "size",
                                (json_int_t)s->size, "batch", (json_int_t)s->batch, "width", (json_int_t)s->width, "planned",
                                (json_int_t)r.peak, "activations", (json_int_t)r.activations, "unshared",
                                (json_int_t)r.activations_unshared, "arenas", (json_int_t)r.arenas, "host_visible",
                                (json_int_t)r.host_visible, "process", (json_int_t)bench_resident_peak());
        json_object_set_new(row, "seen", json_integer((json_int_t)seen.device));
        json_object_set_new(row, "seen_share", json_real((double)seen.device / (double)r.peak));
        json_object_set_new(row, "resident", seen.resident ? json_integer((json_int_t)seen.resident) : json_null());
        json_array_append_new(rows, row);
    }
    bench_network_close(&network);
    return status;
}

/* One row from a process of its own. */
static cdu_status measure_there(const bench_settings *s, const char *device, bool training, unsigned batch, json_t *rows, cdu_error *error)
{
    char self[4096], size[16], tiles[16], width[16];
    bench_child child;
    json_t *answer = NULL;
    CDU_TRY(bench_child_self(self, sizeof self, error));
    snprintf(size, sizeof size, "%u", (unsigned)s->size);
    snprintf(tiles, sizeof tiles, "%u", batch);
    snprintf(width, sizeof width, "%u", (unsigned)s->width);
    const char *arguments[] = {self, "memory", "--here", "--json", "--device", device, "--size", size, "--batch", tiles, "--width", width,
                               training ? "--only=step" : "--only=infer", s->exact ? "--exact-conv" : NULL, NULL};
    CDU_TRY(bench_child_start(&child, arguments, NULL, false, error));
    CDU_TRY(bench_child_json(&child, &answer, error));
    json_array_extend(rows, json_object_get(answer, "memory"));
    json_decref(answer);
    return CDU_OK;
}

cdu_status bench_measure_memory(const bench_settings *s, bench_report *report, cdu_error *error)
{
    cdu_gpu gpu;
    CDU_TRY(cdu_gpu_open(s->device, false, true, &gpu, error));
    cdu_status status = bench_report_device(report, &gpu, error);
    char device[sizeof gpu.id];
    memcpy(device, gpu.id, sizeof device);
    json_t *rows = bench_report_table(report, "memory", "memory, as planned and as seen", columns);
    for (int training = 1; status == CDU_OK && training >= 0; training--) {
        if (s->only && strcmp(s->only, training ? "step" : "infer") != 0) continue;
        if (s->here) status = measure_here(s, training, &gpu, rows, error);
        for (unsigned batch = 1; !s->here && status == CDU_OK && batch <= 4; batch += 3)
            status = measure_there(s, device, training, batch, rows, error);
    }
    cdu_gpu_close(&gpu);
    return status;
}

cdu_status bench_cmd_memory(int argc, char **argv, cdu_error *error)
{
    bench_settings s = {0};
    bool done = false;
    CDU_TRY(bench_settings_parse(&s, BENCH_TAKES_DEVICE | BENCH_TAKES_NETWORK | BENCH_TAKES_ONLY | BENCH_TAKES_HERE, "1",
                                 "planned and seen memory of training and inference",
                                 "At one tile and at four, in processes of their own; with --here at --batch, in this process. \"seen\" is the backend's\n"
                                 "count; \"resident\" what the process grew by, the driver's compiled kernels too; \"process\" all that it had\n"
                                 "resident at most.", NULL, argc, argv, &done, error));
    if (!done && s.only && strcmp(s.only, "step") != 0 && strcmp(s.only, "infer") != 0)
        return cdu_fail(error, CDU_USAGE, "memory: --only step or --only infer, not '%s'", s.only);
    return done ? CDU_OK : bench_run_measurement(bench_measure_memory, argv[0], &s, error);
}
