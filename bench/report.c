/* report.c: reports made and printed. */
#include "bench/report.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/host.h"
#include "core/base/memory.h"

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

bench_spread bench_spread_of(double *numbers, size_t count)
{
    if (!count) return (bench_spread){0};
    qsort(numbers, count, sizeof *numbers, by_size);
    double middle = count % 2 ? numbers[count / 2] : (numbers[count / 2 - 1] + numbers[count / 2]) / 2;
    return (bench_spread){numbers[0], middle, numbers[count - 1]};
}

cdu_status bench_report_begin(bench_report *report, const char *command, cdu_error *error)
{
    *report = (bench_report){.root = json_object()};
    bench_host host = bench_host_now();
    json_t *about = json_pack("{s:s, s:I, s:f}", "cpu", host.cpu, "processors", (json_int_t)host.processors, "load", host.load);
    json_object_set_new(report->root, "program", json_string("cdunet-bench"));
    json_object_set_new(report->root, "version", json_string(CDUNET_VERSION));
    json_object_set_new(report->root, "command", json_string(command));
    json_object_set_new(report->root, "host", about ? about : json_null());
    json_object_set_new(report->root, "devices", json_array());
    json_object_set_new(report->root, "notes", json_array());
    return json_object_size(report->root) == 6 ? CDU_OK : cdu_fail(error, CDU_TRY_AGAIN, "no memory for a report");
}

void bench_report_end(bench_report *report)
{
    json_decref(report->root);
    report->root = NULL;
}

cdu_status bench_report_device(bench_report *report, const cdu_gpu *gpu, cdu_error *error)
{
    static const char *const kinds[] = {"cpu", "integrated", "discrete"};
    const cdu_device_info *d = &gpu->info;
    json_t *device = json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:I}", "id", gpu->id, "name", d->name, "vendor", d->vendor, "driver",
                               d->driver, "kind", kinds[d->kind], "compute_units", (json_int_t)d->compute_units, "vector_width",
                               (json_int_t)d->vector_width, "memory", (json_int_t)d->memory);
    if (!device || json_array_append_new(json_object_get(report->root, "devices"), device) != 0)
        return cdu_fail(error, CDU_FAILED, "%s: the device's name or driver is no UTF-8 and cannot be written as JSON", gpu->id);
    return CDU_OK;
}

json_t *bench_report_table(bench_report *report, const char *key, const char *title, const bench_column *columns)
{
    json_t *rows = json_array();
    if (report->table_count == BENCH_TABLES || json_object_set_new(report->root, key, rows) != 0) return NULL;
    report->tables[report->table_count++] = (bench_table){key, title, columns, rows};
    return rows;
}

void bench_report_note(bench_report *report, const char *format, ...)
{
    char words[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(words, sizeof words, format, arguments);
    va_end(arguments);
    json_array_append_new(json_object_get(report->root, "notes"), json_string(words));
}

void bench_row_spread(json_t *row, const char *key, bench_spread spread)
{
    static const char *const ends[] = {"min", "median", "max"};
    const double values[] = {spread.min, spread.median, spread.max};
    char name[64];
    for (int i = 0; i < 3; i++) {
        snprintf(name, sizeof name, "%s_%s", key, ends[i]);
        json_object_set_new(row, name, json_real(values[i]));
    }
}

/* ---- printing ---- */

enum { CELL = 160 };

static void cell(char out[CELL], const bench_column *column, const json_t *row, bool plain)
{
    const json_t *value = json_object_get(row, column->key);
    if (json_is_string(value)) snprintf(out, CELL, "%s", json_string_value(value));
    else if (json_is_boolean(value)) snprintf(out, CELL, "%s", json_is_true(value) ? "yes" : "no");
    else if (!json_is_number(value)) snprintf(out, CELL, "%s", plain ? "" : "-");
    else if (plain && json_is_integer(value)) snprintf(out, CELL, "%lld", (long long)json_integer_value(value));
    else if (plain) snprintf(out, CELL, "%.9g", json_number_value(value));
    else snprintf(out, CELL, "%.*f", column->digits, json_number_value(value) * (column->scale != 0 ? column->scale : 1));
}

static bool is_text(const bench_table *table, const bench_column *column)
{
    for (size_t r = 0; r < json_array_size(table->rows); r++)
        if (json_is_string(json_object_get(json_array_get(table->rows, r), column->key))) return true;
    return false;
}

static void print_cell(const char *words, int width, bool left, bool last)
{
    if (left) printf("%-*s", last ? 0 : width + 2, words);
    else printf("%*s%s", width, words, last ? "" : "  ");
    if (last) printf("\n");
}

static void print_table(const bench_table *table)
{
    const bench_column *shown[BENCH_COLUMNS];
    int width[BENCH_COLUMNS], count = 0;
    bool left[BENCH_COLUMNS];
    char words[CELL];
    if (!json_array_size(table->rows)) return;
    for (const bench_column *c = table->columns; c->key && count < BENCH_COLUMNS; c++) {
        if (!c->heading) continue;
        width[count] = (int)strlen(c->heading);
        left[count] = is_text(table, c);
        for (size_t r = 0; r < json_array_size(table->rows); r++) {
            cell(words, c, json_array_get(table->rows, r), false);
            if ((int)strlen(words) > width[count]) width[count] = (int)strlen(words);
        }
        shown[count++] = c;
    }
    printf("\n%s\n", table->title);
    for (int i = 0; i < count; i++) print_cell(shown[i]->heading, width[i], left[i], i == count - 1);
    for (size_t r = 0; r < json_array_size(table->rows); r++)
        for (int i = 0; i < count; i++) {
            cell(words, shown[i], json_array_get(table->rows, r), false);
            print_cell(words, width[i], left[i], i == count - 1);
        }
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "?";
}

static void print_text(const bench_report *report)
{
    const json_t *devices = json_object_get(report->root, "devices"), *host = json_object_get(report->root, "host"),
                 *notes = json_object_get(report->root, "notes");
    for (size_t i = 0; i < json_array_size(devices); i++) {
        const json_t *d = json_array_get(devices, i);
        printf("%s: %s, %s\n", text_of(d, "id"), text_of(d, "name"), text_of(d, "driver"));
    }
    printf("host: %s, %lld processors, load %.1f at the start\n", text_of(host, "cpu"),
           (long long)json_integer_value(json_object_get(host, "processors")), json_number_value(json_object_get(host, "load")));
    for (uint32_t t = 0; t < report->table_count; t++) print_table(&report->tables[t]);
    if (json_array_size(notes)) printf("\n");
    for (size_t i = 0; i < json_array_size(notes); i++) printf("%s\n", json_string_value(json_array_get(notes, i)));
}

/* Quoted where it must be (RFC 4180). */
static void print_csv_field(const char *words)
{
    if (!strpbrk(words, ",\"\n")) {
        printf("%s", words);
        return;
    }
    printf("\"");
    for (; *words; words++) printf(*words == '"' ? "\"\"" : "%c", *words);
    printf("\"");
}

/* One block a table, with the device's name and driver in every row. */
static void print_csv(const bench_report *report)
{
    const json_t *device = json_array_get(json_object_get(report->root, "devices"), 0);
    char words[CELL];
    for (uint32_t t = 0; t < report->table_count; t++) {
        const bench_table *table = &report->tables[t];
        printf("%stable,device,driver", t ? "\n" : "");
        for (const bench_column *c = table->columns; c->key; c++) printf(",%s", c->key);
        printf("\n");
        for (size_t r = 0; r < json_array_size(table->rows); r++) {
            printf("%s,", table->key);
            print_csv_field(device ? text_of(device, "name") : "");
            printf(",");
            print_csv_field(device ? text_of(device, "driver") : "");
            for (const bench_column *c = table->columns; c->key; c++) {
                cell(words, c, json_array_get(table->rows, r), true);
                printf(",");
                print_csv_field(words);
            }
            printf("\n");
        }
    }
}

cdu_status bench_report_print(const bench_report *report, bench_form form, cdu_error *error)
{
    if (form == BENCH_TEXT) return print_text(report), CDU_OK;
    if (form == BENCH_CSV) return print_csv(report), CDU_OK;
    char *text = json_dumps(report->root, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    if (!text) return cdu_fail(error, CDU_FAILED, "the report cannot be written as JSON");
    puts(text);
    free(text);
    return CDU_OK;
}
