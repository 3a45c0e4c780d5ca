/* report.h: what a measurement found, as JSON values with tables whose columns are declared once; printed for people, as JSON or as
 * CSV. Units in JSON and CSV are plain: seconds, bytes, GFLOP, shares of 1. */
#ifndef CDU_BENCH_REPORT_H
#define CDU_BENCH_REPORT_H

#include <jansson.h>

#include "backends/backend.h"

enum { BENCH_TABLES = 6, BENCH_COLUMNS = 24 };

/* The value of `key` in each row. For people: under `heading` (null: left out), a number times `scale` with `digits` behind the point. */
typedef struct { const char *key, *heading; double scale; int digits; } bench_column;

typedef struct { const char *key, *title; const bench_column *columns; json_t *rows; } bench_table;

typedef struct {
    json_t *root;               /* owned */
    bench_table tables[BENCH_TABLES];
    uint32_t table_count;
} bench_report;

typedef enum { BENCH_TEXT, BENCH_JSON, BENCH_CSV } bench_form;

/* Smallest, middle and largest of some numbers, which are put in order. */
typedef struct { double min, median, max; } bench_spread;
bench_spread bench_spread_of(double *numbers, size_t count);

/* Program, version, host. CDU_TRY_AGAIN where there is no memory. */
cdu_status bench_report_begin(bench_report *, const char *command, cdu_error *);
void bench_report_end(bench_report *);
/* Adds the device to "devices". CDU_FAILED where its texts are no UTF-8. */
cdu_status bench_report_device(bench_report *, const cdu_gpu *, cdu_error *);
/* A new table; columns end with a null key and outlive the report. Returns its array of rows, owned by the report. */
json_t *bench_report_table(bench_report *, const char *key, const char *title, const bench_column *columns);
/* A remark, in all forms but CSV. */
void bench_report_note(bench_report *, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* "seconds" into seconds_min, seconds_median, seconds_max of a row. */
void bench_row_spread(json_t *row, const char *key, bench_spread);
/* To standard output. */
cdu_status bench_report_print(const bench_report *, bench_form, cdu_error *);

#endif
