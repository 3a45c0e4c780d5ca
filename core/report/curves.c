/* curves.c: see curves.h. */
#include "core/report/curves.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/base/memory.h"
#include "core/report/chart.h"
#include "core/report/events.h"

enum { STRETCHES = 240, SERIES = 4096, STEP_EVENTS = 100000 };

const uint8_t *cdu_curves_run_color(size_t run)
{
    static const uint8_t colors[][3] = {{31, 90, 180}, {214, 90, 20}, {20, 140, 90}, {170, 40, 130},
                                        {110, 90, 60}, {100, 60, 200}, {200, 160, 0}, {90, 90, 90}};
    return colors[run % 8];
}

/* ---- charts ---- */

typedef struct {
    cdu_chart_series *series;
    size_t count;
    bool epochs;           /* else steps */
    cdu_text *out;         /* where failures go */
} drawing;

static bool begin(drawing *d, cdu_text *out, const cdu_run_record *const *runs, size_t count)
{
    *d = (drawing){.epochs = true, .out = out};
    for (size_t r = 0; r < count; r++)
        if (runs[r]->has_log && !runs[r]->steps_per_epoch) d->epochs = false;
    if (out->status == CDU_OK) out->status = cdu_allocate(&d->series, SERIES, sizeof *d->series, &out->error);
    return out->status == CDU_OK;
}

static void end(drawing *d, const char *title, const char *y_label, double y_high, bool file)
{
    cdu_chart chart = {.title = title, .x_label = d->epochs ? "epochs" : "steps", .y_label = y_label, .y_high = y_high,
                       .series = d->series, .count = d->count};
    cdu_chart_draw(d->out, &chart, file);
    for (size_t s = 0; s < d->count; s++) free((void *)(uintptr_t)d->series[s].points);
    free(d->series);
}

/* A further line with room for `count` points; null where there is no memory. */
static cdu_chart_point *add_line(drawing *d, const char *name, const uint8_t color[3], cdu_chart_dash dash, size_t count)
{
    cdu_chart_point *points = NULL;
    if (d->count == SERIES || d->out->status != CDU_OK) return NULL;
    if (count) d->out->status = cdu_allocate(&points, count, sizeof *points, &d->out->error);
    cdu_chart_series *s = &d->series[d->count++];
    *s = (cdu_chart_series){.name = name, .dash = dash, .points = points, .count = points ? count : 0};
    for (int k = 0; k < 3; k++) s->color[k] = color[k];
    return points;
}

static double place(const drawing *d, const cdu_run_record *run, double step)
{
    return d->epochs ? step / (double)run->steps_per_epoch : step;
}

static void add_f1(drawing *d, const cdu_run_record *run, uint32_t c, const char *name, const uint8_t color[3], cdu_chart_dash dash)
{
    const cdu_log_table *log = &run->log;
    cdu_chart_point *points = add_line(d, name, color, dash, log->validation_count);
    for (size_t i = 0; points && i < log->validation_count; i++)
        points[i] = (cdu_chart_point){place(d, run, (double)log->validations[i].step), log->validations[i].f1[c]};
}

/* The last run is solid, the first dotted, as in the paper. */
static cdu_chart_dash dash_of(size_t run, size_t count)
{
    return run + 1 == count ? CDU_DASH_SOLID : (cdu_chart_dash)(run + 1);
}

void cdu_curves_f1(cdu_text *out, const cdu_run_record *const *runs, size_t count, int class_value, bool file)
{
    static const uint8_t gray[3] = {90, 90, 90};
    drawing d;
    char title[200];
    if (!begin(&d, out, runs, count)) return;
    if (class_value != CDU_CURVES_ALL) {
        for (size_t r = 0; r < count; r++)
            add_f1(&d, runs[r], (uint32_t)class_value, runs[r]->name, cdu_curves_run_color(r), dash_of(r, count));
        snprintf(title, sizeof title, "Validation F1: %s", runs[0]->class_names[class_value]);
        end(&d, title, "F1", 1, file);
        return;
    }
    if (count > CDU_CURVES_TOGETHER) count = CDU_CURVES_TOGETHER;
    for (uint32_t c = 0; c < runs[0]->classes; c++) {
        for (size_t r = 0; r < count; r++)
            add_f1(&d, runs[r], c, r + 1 == count ? runs[0]->class_names[c] : NULL, runs[0]->colors[c], dash_of(r, count));
    }
    for (size_t r = 0; count > 1 && r < count; r++) add_line(&d, runs[r]->name, gray, dash_of(r, count), 0);
    end(&d, "Validation F1 per class", "F1", 1, file);
}

static void add_loss(drawing *d, const cdu_run_record *run, const char *name, const uint8_t color[3])
{
    const cdu_log_table *log = &run->log;
    size_t stretches = log->step_count < STRETCHES ? log->step_count : STRETCHES;
    cdu_chart_point *points = add_line(d, name, color, CDU_DASH_SOLID, stretches);
    for (size_t i = 0; points && i < stretches; i++) {
        size_t from = i * log->step_count / stretches, to = (i + 1) * log->step_count / stretches;
        double loss = 0, step = 0;
        for (size_t k = from; k < to; k++) loss += log->steps[k].loss, step += (double)log->steps[k].step;
        points[i] = (cdu_chart_point){place(d, run, step / (double)(to - from)), loss / (double)(to - from)};
    }
}

void cdu_curves_loss(cdu_text *out, const cdu_run_record *const *runs, size_t count, bool file)
{
    drawing d;
    if (!begin(&d, out, runs, count)) return;
    for (size_t r = 0; r < count; r++) add_loss(&d, runs[r], count > 1 ? runs[r]->name : NULL, cdu_curves_run_color(r));
    end(&d, "Training loss", "loss", 0, file);
}

/* ---- CSV ---- */

static void put_score(cdu_text *out, double score)
{
    if (isnan(score))
        cdu_text_put(out, ",");
    else
        cdu_text_print(out, ",%.6f", score);
}

static void put_place(cdu_text *out, const cdu_run_record *run, const char *name, uint64_t step)
{
    if (name) {
        cdu_text_put_csv(out, name);
        cdu_text_put(out, ",");
    }
    if (run->steps_per_epoch) cdu_text_print(out, "%.6g", (double)step / (double)run->steps_per_epoch);
    cdu_text_print(out, ",%" PRIu64, step);
}

static void put_validation(cdu_text *out, const cdu_run_record *run, const cdu_log_validation *v, const char *name)
{
    put_place(out, run, name, v->step);
    cdu_text_put(out, ",");
    put_score(out, v->macro);
    for (uint32_t c = 0; c < run->classes; c++) put_score(out, v->f1[c]);
    cdu_text_put(out, "\n");
}

void cdu_curves_csv(cdu_text *out, const cdu_run_record *run, bool head, const char *name)
{
    const cdu_log_table *log = &run->log;
    size_t validation = 0;
    if (head) {
        cdu_text_print(out, "%sepoch,step,mean loss,macro F1", name ? "run," : "");
        for (uint32_t c = 0; c < run->classes; c++) {
            char title[600];
            snprintf(title, sizeof title, "F1 %s", run->class_names[c]);
            cdu_text_put(out, ",");
            cdu_text_put_csv(out, title);
        }
        cdu_text_put(out, "\n");
    }
    for (size_t i = 0, next; i < log->step_count; i = next) {
        double loss = 0;
        for (next = i; next < log->step_count && log->steps[next].epoch == log->steps[i].epoch; next++) loss += log->steps[next].loss;
        for (; validation < log->validation_count && log->validations[validation].step < log->steps[next - 1].step; validation++)
            put_validation(out, run, &log->validations[validation], name);
        put_place(out, run, name, log->steps[next - 1].step);
        cdu_text_print(out, ",%.9g,", loss / (double)(next - i));
        for (uint32_t c = 0; c < run->classes; c++) cdu_text_put(out, ",");
        cdu_text_put(out, "\n");
    }
    for (; validation < log->validation_count; validation++) put_validation(out, run, &log->validations[validation], name);
}

/* ---- TensorBoard ---- */

static void put_validation_event(cdu_text *out, const cdu_run_record *run, const cdu_log_validation *v, double seconds)
{
    char tags[CDU_CLASS_LIMIT + 1][560];
    cdu_event_scalar scalars[CDU_CLASS_LIMIT + 1];
    size_t count = 0;
    for (uint32_t c = 0; c <= run->classes; c++) {
        double score = c < run->classes ? v->f1[c] : v->macro;
        if (isnan(score)) continue;
        snprintf(tags[count], sizeof tags[count], "validation F1/%s", c < run->classes ? run->class_names[c] : "macro");
        scalars[count] = (cdu_event_scalar){tags[count], (float)score};
        count++;
    }
    cdu_events_add(out, seconds, v->step, scalars, count);
}

void cdu_curves_events(cdu_text *out, const cdu_run_record *run)
{
    const cdu_log_table *log = &run->log;
    double seconds = run->facts ? json_number_value(json_object_get(run->facts, "began")) : 0;
    size_t validation = 0, every = (log->step_count + STEP_EVENTS - 1) / STEP_EVENTS;
    cdu_events_begin(out, seconds);
    for (size_t i = 0; i < log->step_count; i++) {
        const cdu_log_step *s = &log->steps[i];
        for (; validation < log->validation_count && log->validations[validation].step < s->step; validation++) {
            seconds += isnan(log->validations[validation].seconds) ? 0 : log->validations[validation].seconds;
            put_validation_event(out, run, &log->validations[validation], seconds);
        }
        seconds += isnan(s->seconds) ? 0 : s->seconds;
        if (i % every && i + 1 < log->step_count) continue;
        cdu_event_scalar scalars[] = {{"training/loss", (float)s->loss},
                                      {"training/learning rate", (float)s->rate},
                                      {"training/seconds a step", (float)s->seconds}};
        cdu_events_add(out, seconds, s->step, scalars, 3);
    }
    for (; validation < log->validation_count; validation++) {
        seconds += isnan(log->validations[validation].seconds) ? 0 : log->validations[validation].seconds;
        put_validation_event(out, run, &log->validations[validation], seconds);
    }
}
