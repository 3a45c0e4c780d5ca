/* cmd_record.c: `cdunet-bench record`: all measurements of a device into RESULTS/VENDOR/DEVICE-DRIVER/DATE.json. A file that is there stays: the next
 * one of a day gets a number. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/commands.h"
#include "core/base/file.h"

static const struct { const char *name, *repeats; bench_measurement *measure; } parts[] = {
    {"peaks", "20", bench_measure_peaks}, {"ops", NULL, bench_measure_ops}, {"step", NULL, bench_measure_step},
    {"infer", NULL, bench_measure_infer}, {"memory", NULL, bench_measure_memory}, {"first", NULL, bench_measure_first},
};
enum { PARTS = sizeof parts / sizeof parts[0] };

static cdu_status measure_part(const bench_settings *all, int part, json_t *root, cdu_error *error)
{
    bench_settings s = *all;
    bench_report report;
    if (parts[part].repeats) s.repeats = strtoull(parts[part].repeats, NULL, 10);
    s.layers = true;
    if (strcmp(parts[part].name, "ops") != 0) s.only = NULL;
    fprintf(stderr, "record: %s\n", parts[part].name);
    CDU_TRY(bench_report_begin(&report, parts[part].name, error));
    cdu_status status = parts[part].measure(&s, &report, error);
    if (status == CDU_OK) json_object_set(root, parts[part].name, report.root);
    bench_report_end(&report);
    return status == CDU_OK ? CDU_OK : cdu_error_prefix(error, "%s", parts[part].name);
}

/* A name for a folder: letters, digits, '.', '+' and '_' stay, all else becomes one '_'. */
static void folder_name(char *out, size_t size, const char *text)
{
    size_t used = 0;
    for (; *text && used + 1 < size; text++) {
        bool plain = isalnum((unsigned char)*text) || strchr(".+_", *text);
        if (plain || (used && out[used - 1] != '_')) out[used++] = plain ? *text : '_';
    }
    while (used && out[used - 1] == '_') used--;
    out[used] = 0;
}

static cdu_status choose_path(const bench_settings *s, const cdu_gpu *gpu, char path[CDU_PATH_LIMIT], cdu_error *error)
{
    char vendor[64], device[96], driver[96], folder[CDU_PATH_LIMIT], date[32];
    time_t now = time(NULL);
    struct tm parts_of_now;
    folder_name(vendor, sizeof vendor, gpu->info.vendor[0] ? gpu->info.vendor : "unknown");
    folder_name(device, sizeof device, gpu->info.name);
    folder_name(driver, sizeof driver, gpu->info.driver);
    strftime(date, sizeof date, "%Y-%m-%d", gmtime_r(&now, &parts_of_now));
    if ((size_t)snprintf(folder, sizeof folder, "%s/%s/%s-%s", s->results, vendor, device, driver) >= sizeof folder - 64)
        return cdu_fail(error, CDU_USAGE, "--results %.80s...: the path is too long", s->results);
    CDU_TRY(cdu_folder_create(folder, error));
    snprintf(path, CDU_PATH_LIMIT, "%.4000s/%s.json", folder, date);
    for (int n = 2; cdu_file_exists(path); n++) snprintf(path, CDU_PATH_LIMIT, "%.4000s/%s-%d.json", folder, date, n);
    return cdu_file_try(path, error);
}

static cdu_status record(const bench_settings *s, const char *path, cdu_error *error)
{
    json_t *root = json_object();
    cdu_status status = CDU_OK;
    for (int i = 0; status == CDU_OK && i < PARTS; i++) status = measure_part(s, i, root, error);
    char *text = status == CDU_OK ? json_dumps(root, JSON_INDENT(1) | JSON_REAL_PRECISION(6)) : NULL;
    if (status == CDU_OK && !text) status = cdu_fail(error, CDU_FAILED, "the results cannot be written as JSON");
    if (status == CDU_OK) status = cdu_file_write(path, text, strlen(text), error);
    free(text);
    json_decref(root);
    return status;
}

cdu_status bench_cmd_record(int argc, char **argv, cdu_error *error)
{
    bench_settings s = {0};
    char path[CDU_PATH_LIMIT];
    bool done = false;
    cdu_gpu gpu;
    CDU_TRY(bench_settings_parse(&s, BENCH_TAKES_DEVICE | BENCH_TAKES_REPEATS | BENCH_TAKES_NETWORK | BENCH_TAKES_RESULTS | BENCH_TAKES_ONLY, "5",
                                 "peaks, ops, step, infer, memory and first of a device, into a file by vendor, device, driver and day",
                                 "What was recorded before stays. --only TEXT is for the cases of ops. 'cdunet-bench results' shows all that is there.",
                                 NULL, argc, argv, &done, error));
    if (done) return CDU_OK;
    CDU_TRY(cdu_gpu_open(s.device, false, true, &gpu, error));
    cdu_status status = choose_path(&s, &gpu, path, error);
    char id[sizeof gpu.id];
    memcpy(id, gpu.id, sizeof id);
    cdu_gpu_close(&gpu);
    s.device = id;
    if (status == CDU_OK) status = record(&s, path, error);
    if (status == CDU_OK) printf("%s\n", path);
    return status;
}
