/* cmd_first.c: `cdunet-bench first`: from a bare start to the end of the first training step, with empty caches and with full ones. Each start
 * is a process of its own; the caches lie in a folder made for it and removed afterwards. */
#define _GNU_SOURCE /* nftw */
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/child.h"
#include "bench/commands.h"
#include "bench/network.h"
#include "bench/profile.h"
#include "core/base/progress.h"

static const bench_column columns[] = {
    {"what", "what", 0, 0}, {"starts", "starts", 1, 0}, {"total_min", "s min", 1, 2}, {"total_median", "median", 1, 2}, {"total_max", "max", 1, 2},
    {"open", "open device", 1, 2}, {"create", "compile, allocate", 1, 2}, {"step", "first step", 1, 3}, {"kernels", "kernels", 1, 0},
    {"size", NULL, 0, 0}, {"batch", NULL, 0, 0}, {"width", NULL, 0, 0}, {0},
};

/* Caches of the runtimes that are known, beside ours. */
static const char *const caches[] = {"XDG_CACHE_HOME", "CDUNET_CACHE", "POCL_CACHE_DIR", "MESA_SHADER_CACHE_DIR", "CUDA_CACHE_PATH",
                                     "__GL_SHADER_DISK_CACHE_PATH", "NEO_CACHE_DIR", "AMD_SHADER_DISK_CACHE_PATH"};
enum { CACHES = sizeof caches / sizeof caches[0], MOST_STARTS = 100 };

static cdu_status measure_here(const bench_settings *s, bench_report *report, cdu_error *error)
{
    cdu_gpu gpu;
    bench_network network;
    bench_network_settings settings = bench_network_of(s, true);
    double began = cdu_seconds(), step = 0;
    CDU_TRY(cdu_gpu_open(s->device, false, false, &gpu, error));
    double opened = cdu_seconds();
    cdu_status status = bench_report_device(report, &gpu, error);
    if (status == CDU_OK) status = bench_network_open(&gpu, &settings, &network, error);
    double created = cdu_seconds();
    if (status == CDU_OK) {
        status = bench_run(network.program, &step, error);
        double total = cdu_seconds() - began;
        json_t *row = json_pack("{s:s, s:I, s:f, s:f, s:f, s:I, s:I, s:I, s:I}", "what", "these caches", "starts", (json_int_t)1, "open",
                                opened - began, "create", created - opened, "step", step, "kernels",
                                (json_int_t)cdu_program_report(network.program).kernels, "size", (json_int_t)s->size, "batch",
                                (json_int_t)s->batch, "width", (json_int_t)s->width);
        bench_row_spread(row, "total", (bench_spread){total, total, total});
        json_array_append_new(bench_report_table(report, "first", "from a bare start to the first step", columns), row);
        bench_network_close(&network);
    }
    cdu_gpu_close(&gpu);
    return status;
}

/* One start in a process of its own with its caches below `folder`; its row, and its devices into the report once. */
static cdu_status start(const bench_settings *s, const char *folder, bench_report *report, json_t **row, cdu_error *error)
{
    char self[4096], size[16], batch[16], width[16], settings[CACHES][4096];
    const char *environment[CACHES + 1] = {NULL};
    bench_child child;
    json_t *answer = NULL;
    CDU_TRY(bench_child_self(self, sizeof self, error));
    for (int i = 0; i < CACHES; i++) {
        snprintf(settings[i], sizeof settings[i], "%s=%.2000s/%d", caches[i], folder, i);
        environment[i] = settings[i];
    }
    snprintf(size, sizeof size, "%u", (unsigned)s->size);
    snprintf(batch, sizeof batch, "%u", (unsigned)s->batch);
    snprintf(width, sizeof width, "%u", (unsigned)s->width);
    const char *arguments[] = {self, "first", "--here", "--json", "--device", s->device, "--size", size, "--batch", batch, "--width", width,
                               s->exact ? "--exact-conv" : NULL, NULL};
    CDU_TRY(bench_child_start(&child, arguments, environment, false, error));
    CDU_TRY(bench_child_json(&child, &answer, error));
    json_t *devices = json_object_get(report->root, "devices");
    if (!json_array_size(devices)) json_array_extend(devices, json_object_get(answer, "devices"));
    *row = json_incref(json_array_get(json_object_get(answer, "first"), 0));
    json_decref(answer);
    return *row ? CDU_OK : cdu_fail(error, CDU_FAILED, "the process that measures told nothing");
}

/* Starts with one set of caches; the row of the last one, with the spread of all. */
static cdu_status starts(const bench_settings *s, const char *folder, const char *what, uint64_t count, bench_report *report, json_t *rows,
                         cdu_error *error)
{
    double totals[MOST_STARTS];
    json_t *row = NULL;
    if (count > MOST_STARTS) count = MOST_STARTS;
    for (uint64_t i = 0; i < count; i++) {
        json_decref(row);
        CDU_TRY(start(s, folder, report, &row, error));
        totals[i] = json_number_value(json_object_get(row, "total_min"));
    }
    json_object_set_new(row, "what", json_string(what));
    json_object_set_new(row, "starts", json_integer((json_int_t)count));
    bench_row_spread(row, "total", bench_spread_of(totals, count));
    json_array_append_new(rows, row);
    return CDU_OK;
}

static int remove_one(const char *path, const struct stat *state, int type, struct FTW *place)
{
    (void)state, (void)type, (void)place;
    return remove(path);
}

cdu_status bench_measure_first(const bench_settings *s, bench_report *report, cdu_error *error)
{
    char folder[2048];
    const char *base = getenv("TMPDIR");
    if (s->here) return measure_here(s, report, error);
    snprintf(folder, sizeof folder, "%s/cdunet-first-XXXXXX", base && *base ? base : "/tmp");
    if (!mkdtemp(folder)) return cdu_fail(error, CDU_CANNOT_WRITE, "%s: no folder for empty caches: %s", folder, strerror(errno));
    json_t *rows = bench_report_table(report, "first", "from a bare start to the end of the first step", columns);
    cdu_status status = starts(s, folder, "cold caches", 1, report, rows, error);
    if (status == CDU_OK) status = starts(s, folder, "warm caches", s->repeats, report, rows, error);
    nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return status;
}

cdu_status bench_cmd_first(int argc, char **argv, cdu_error *error)
{
    bench_settings s = {0};
    bool done = false;
    CDU_TRY(bench_settings_parse(&s, BENCH_TAKES_DEVICE | BENCH_TAKES_REPEATS | BENCH_TAKES_NETWORK | BENCH_TAKES_HERE, "3",
                                 "time from a bare start to the end of the first training step, with cold and warm caches",
                                 "Opening the device includes its self-test, as in training. Cold is measured once, since it takes long. With --here in\n"
                                 "this process, with the caches as they are.", NULL, argc, argv, &done, error));
    return done ? CDU_OK : bench_run_measurement(bench_measure_first, argv[0], &s, error);
}
