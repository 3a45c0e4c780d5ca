/* cmd_results.c: `cdunet-bench results`: a table of all that `record` wrote, by vendor. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/commands.h"
#include "core/base/file.h"

static const bench_column columns[] = {
    {"vendor", "vendor", 0, 0}, {"device", "device", 0, 0}, {"driver", "driver", 0, 0}, {"day", "day", 0, 0}, {"version", "version", 0, 0},
    {"processors", "cores", 1, 0}, {"fma", "GFLOP/s fma", 1, 0}, {"copy", "GB/s copy", 1, 1}, {"step", "s a step", 1, 4},
    {"step_share", "% of fma", 100, 0}, {"infer", "s infer", 1, 4}, {"host_share", "% host", 100, 1}, {"memory", "MiB", 1.0 / 1048576, 0},
    {"cold", "s cold", 1, 1}, {"warm", "s warm", 1, 1}, {"what", "what", 0, 0}, {0},
};

/* Row `index` of a table of one part of a record, or null. */
static const json_t *row_of(const json_t *record, const char *part, const char *table, size_t index)
{
    return json_array_get(json_object_get(json_object_get(record, part), table), index);
}

static void copy(json_t *to, const char *key, const json_t *from, const char *from_key)
{
    json_t *value = json_object_get(from, from_key);
    if (value) json_object_set(to, key, value);
}

static cdu_status add(json_t *rows, const char *path, const char *day, cdu_error *error)
{
    char *text = NULL;
    size_t size = 0;
    json_error_t where;
    CDU_TRY(cdu_file_read(path, 64u << 20, &text, &size, error));
    json_t *record = json_loadb(text, size, 0, &where);
    free(text);
    if (!record) return cdu_fail(error, CDU_BAD_DATA, "%s: line %d: %s", path, where.line, where.text);
    const json_t *step = row_of(record, "step", "network", 0), *infer = row_of(record, "infer", "network", 0);
    const json_t *device = row_of(record, "step", "devices", 0), *host = json_object_get(json_object_get(record, "step"), "host");
    json_t *row = json_object();
    copy(row, "vendor", device, "vendor"), copy(row, "device", device, "name"), copy(row, "driver", device, "driver");
    copy(row, "version", json_object_get(record, "step"), "version"), copy(row, "processors", host, "processors");
    copy(row, "fma", row_of(record, "peaks", "limits", 0), "rate_median"), copy(row, "copy", row_of(record, "peaks", "limits", 1), "rate_median");
    copy(row, "step", step, "wall_median"), copy(row, "step_share", step, "compute_share"), copy(row, "host_share", step, "host_share");
    copy(row, "memory", step, "memory_planned"), copy(row, "what", step, "what"), copy(row, "infer", infer, "wall_median");
    copy(row, "cold", row_of(record, "first", "first", 0), "total_median"), copy(row, "warm", row_of(record, "first", "first", 1), "total_median");
    json_object_set_new(row, "day", json_stringn(day, strcspn(day, ".")));
    cdu_status status = device ? CDU_OK : cdu_fail(error, CDU_BAD_DATA, "%s: is no record of cdunet-bench", path);
    if (status == CDU_OK) json_array_append_new(rows, row);
    else json_decref(row);
    json_decref(record);
    return status;
}

/* Files two folders below `base`, in order of name. What cannot be read gets a line and is left out. */
static cdu_status walk(const char *base, int depth, json_t *rows, cdu_error *error)
{
    struct dirent **entries = NULL;
    int count = scandir(base, &entries, NULL, alphasort);
    cdu_status status = CDU_OK;
    for (int i = 0; i < count; i++) {
        const char *name = entries[i]->d_name;
        char path[CDU_PATH_LIMIT];
        size_t length = strlen(name);
        if (name[0] != '.' && status == CDU_OK) {
            status = cdu_path_join(path, base, name, error);
            cdu_error bad = {0};
            if (status == CDU_OK && depth < 2) status = walk(path, depth + 1, rows, error);
            else if (status == CDU_OK && length > 5 && !strcmp(name + length - 5, ".json") && add(rows, path, name, &bad) != CDU_OK)
                fprintf(stderr, "warning: %s; it is left out\n", bad.words);
        }
        free(entries[i]);
    }
    free(entries);
    return status;
}

cdu_status bench_cmd_results(int argc, char **argv, cdu_error *error)
{
    bench_settings s = {0};
    bench_report report;
    bool done = false;
    CDU_TRY(bench_settings_parse(&s, BENCH_TAKES_RESULTS, "1", "all that was recorded, by vendor", NULL, NULL, argc, argv, &done, error));
    if (done) return CDU_OK;
    CDU_TRY(bench_report_begin(&report, argv[0], error));
    json_t *rows = bench_report_table(&report, "results", "recorded results", columns);
    cdu_status status = walk(s.results, 0, rows, error);
    if (status == CDU_OK && !json_array_size(rows)) bench_report_note(&report, "Nothing is recorded in %s; 'cdunet-bench record' does.", s.results);
    if (status == CDU_OK) status = bench_report_print(&report, s.form, error);
    bench_report_end(&report);
    return status;
}
