/* compare.c: the page about several runs: what they are, their curves in one chart, their scores side by side. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/base/file.h"
#include "core/base/memory.h"
#include "core/report/chart.h"
#include "core/report/curves.h"
#include "core/report/page.h"
#include "core/report/report.h"
#include "core/report/sections.h"

enum { RUNS = 64 };

typedef struct {
    cdu_run_record records[RUNS];
    const cdu_run_record *runs[RUNS], *logged[RUNS]; /* logged: those with a log that has something */
    size_t count, logged_count;
} comparison;

/* ---- what the runs are ---- */

static void put_run_name(cdu_text *out, const comparison *c, size_t r)
{
    char color[8];
    cdu_text_put(out, "<td>");
    for (size_t i = 0; i < c->logged_count; i++) { /* the colour of its curves */
        if (c->logged[i] != c->runs[r]) continue;
        cdu_chart_color(cdu_curves_run_color(i), color);
        cdu_text_print(out, "<span class=\"square\" style=\"background:%s\"></span>", color);
    }
    cdu_text_put_escaped(out, c->runs[r]->name);
    cdu_text_put(out, "</td>");
}

static void put_runs(cdu_text *out, const comparison *c)
{
    static const char *const heads[] = {"run", "network", "study", "steps", "epochs", "best validation macro F1", "at step", "training time",
                                        "a step", "parameters", "device memory", "device"};
    cdu_page_heading(out, "The runs");
    cdu_page_table(out, heads, sizeof heads / sizeof *heads);
    for (size_t r = 0; r < c->count; r++) {
        const cdu_run_record *run = c->runs[r];
        const cdu_log_table *log = &run->log;
        const json_t *facts = run->facts;
        const char *words = json_string_value(json_object_get(facts, "network"));
        cdu_run_times times = cdu_run_times_of(run);
        uint64_t steps = log->step_count ? log->steps[log->step_count - 1].step : 0;
        size_t best = cdu_log_table_best(log);
        char text[40];
        cdu_text_put(out, "<tr>");
        put_run_name(out, c, r);
        cdu_page_words(out, words ? words : "");
        words = json_string_value(json_object_get(facts, "study"));
        cdu_page_words(out, words ? words : "");
        cdu_page_count(out, (double)steps);
        if (run->steps_per_epoch) cdu_text_print(out, "<td>%.4g</td>", (double)steps / (double)run->steps_per_epoch);
        else cdu_text_put(out, "<td></td>");
        cdu_page_score(out, best == SIZE_MAX ? NAN : log->validations[best].macro);
        cdu_page_count(out, best == SIZE_MAX ? 0 : (double)log->validations[best].step);
        cdu_page_duration(text, times.training);
        cdu_text_print(out, "<td>%s</td><td>%.4f s</td>", text, times.step);
        cdu_page_count(out, facts ? cdu_page_json_number(facts, "parameters") : 0);
        if (facts) cdu_page_bytes(text, cdu_page_json_number(facts, "device_bytes"));
        cdu_text_print(out, "<td>%s</td>", facts ? text : "");
        words = json_string_value(json_object_get(json_object_get(facts, "device"), "name"));
        cdu_page_words(out, words ? words : "");
        cdu_text_put(out, "</tr>\n");
    }
    cdu_page_table_end(out);
}

/* ---- curves ---- */

static void put_curves(cdu_text *out, const comparison *c)
{
    if (!c->logged_count) return;
    cdu_page_heading(out, "Validation F1 and loss");
    cdu_text_put(out, "<div class=\"charts\">\n");
    if (c->logged_count <= CDU_CURVES_TOGETHER) cdu_curves_f1(out, c->logged, c->logged_count, CDU_CURVES_ALL, false);
    cdu_curves_loss(out, c->logged, c->logged_count, false);
    for (uint32_t k = 0; k < c->runs[0]->classes; k++) cdu_curves_f1(out, c->logged, c->logged_count, (int)k, false);
    cdu_text_put(out, "</div>\n");
}

/* ---- scores ---- */

static void put_score_cell(cdu_text *out, const json_t *entry)
{
    cdu_page_score_interval(out, cdu_page_json_number(entry, "f1"), json_object_get(entry, "f1_interval"));
}

static void put_scores(cdu_text *out, const comparison *c, int split)
{
    const char *heads[CDU_CLASS_LIMIT + 4] = {"run"};
    char title[64];
    size_t columns = 1, scored = 0;
    for (size_t r = 0; r < c->count; r++) scored += c->runs[r]->scores[split] != NULL;
    if (!scored) return;
    for (uint32_t k = 0; k <= c->runs[0]->classes; k++)
        heads[columns++] = k < c->runs[0]->classes ? c->runs[0]->class_names[k] : "macro F1";
    heads[columns++] = "slides";
    heads[columns++] = "truth";
    snprintf(title, sizeof title, "F1 on the %s slides", cdu_run_split_name(split));
    cdu_page_heading(out, title);
    cdu_text_put(out, "<p class=\"dim\">With 95 % intervals over cases where there are two cases or more.</p>\n");
    cdu_page_table(out, heads, columns);
    for (size_t r = 0; r < c->count; r++) {
        const json_t *scores = c->runs[r]->scores[split];
        if (!scores) continue;
        cdu_text_put(out, "<tr>");
        put_run_name(out, c, r);
        for (uint32_t k = 0; k < c->runs[0]->classes; k++) put_score_cell(out, json_array_get(json_object_get(scores, "classes"), k));
        put_score_cell(out, json_object_get(scores, "macro"));
        cdu_page_count(out, cdu_page_json_number(scores, "slides"));
        cdu_page_words(out, json_string_value(json_object_get(scores, "truth")));
        cdu_text_put(out, "</tr>\n");
    }
    cdu_page_table_end(out);
}

static const json_t *part_of(const json_t *scores, const char *stain)
{
    size_t i;
    json_t *part;
    json_array_foreach(json_object_get(scores, "by_stain"), i, part)
        if (!strcmp(json_string_value(json_object_get(part, "stain")), stain)) return part;
    return NULL;
}

/* Macro F1 by stain: a column a run; the stains of all runs, in the order in which they are met. */
static void put_stains(cdu_text *out, const comparison *c, int split)
{
    const char *heads[RUNS + 1] = {"macro F1 by stain"};
    size_t columns = 1, i;
    json_t *part;
    for (size_t r = 0; r < c->count; r++)
        if (c->runs[r]->scores[split]) heads[columns++] = c->runs[r]->name;
    if (columns == 1) return;
    cdu_page_table(out, heads, columns);
    for (size_t r = 0; r < c->count; r++)
        json_array_foreach(json_object_get(c->runs[r]->scores[split], "by_stain"), i, part) {
            const char *stain = json_string_value(json_object_get(part, "stain"));
            bool shown = false;
            for (size_t k = 0; k < r; k++) shown |= part_of(c->runs[k]->scores[split], stain) != NULL;
            if (shown) continue;
            cdu_text_put(out, "<tr>");
            cdu_page_words(out, stain);
            for (size_t k = 0; k < c->count; k++)
                if (c->runs[k]->scores[split])
                    cdu_page_score(out, cdu_page_json_number(json_object_get(part_of(c->runs[k]->scores[split], stain), "macro"), "f1"));
            cdu_text_put(out, "</tr>\n");
        }
    cdu_page_table_end(out);
}

/* ---- settings that differ ---- */

static void put_settings(cdu_text *out, const comparison *c)
{
    const char *heads[RUNS + 1] = {"setting"};
    char section[48], key[64], value[256], other[256];
    size_t shown = 0;
    for (size_t r = 0; r < c->count; r++) heads[r + 1] = c->runs[r]->name;
    for (size_t i = 0; cdu_run_setting_at(c->runs[0], i, section, key, value); i++) {
        bool differs = false;
        for (size_t r = 1; r < c->count; r++) {
            cdu_run_setting(c->runs[r], section, key, other, sizeof other);
            differs |= c->runs[r]->study && strcmp(value, other) != 0;
        }
        if (!differs) continue;
        if (!shown++) {
            cdu_page_heading(out, "Settings that differ");
            cdu_page_table(out, heads, c->count + 1);
        }
        snprintf(value, sizeof value, "%s: %s", section, key);
        cdu_text_put(out, "<tr>");
        cdu_page_words(out, value);
        for (size_t r = 0; r < c->count; r++) {
            cdu_run_setting(c->runs[r], section, key, other, sizeof other);
            cdu_page_words(out, other);
        }
        cdu_text_put(out, "</tr>\n");
    }
    if (shown) cdu_page_table_end(out);
}

/* ---- the whole ---- */

static void put_page(cdu_text *out, const comparison *c)
{
    cdu_page_begin(out, "cdunet: runs compared");
    cdu_text_put(out, "<h1>");
    for (size_t r = 0; r < c->count; r++) {
        if (r) cdu_text_put(out, r + 1 == c->count ? " and " : ", ");
        cdu_text_put_escaped(out, c->runs[r]->name);
    }
    cdu_text_put(out, "</h1>\n");
    put_runs(out, c);
    put_curves(out, c);
    static const int order[CDU_RUN_SPLITS] = {1, 0, 2}; /* test slides first */
    for (int s = 0; s < CDU_RUN_SPLITS; s++) {
        put_scores(out, c, order[s]);
        put_stains(out, c, order[s]);
    }
    put_settings(out, c);
    cdu_page_end(out);
}

static void put_csv(cdu_text *out, const comparison *c)
{
    for (size_t r = 0; r < c->logged_count; r++) cdu_curves_csv(out, c->logged[r], r == 0, c->logged[r]->name);
}

static void put_f1(cdu_text *out, const comparison *c)
{
    cdu_curves_f1(out, c->logged, c->logged_count, CDU_CURVES_ALL, true);
}

static void put_loss(cdu_text *out, const comparison *c)
{
    cdu_curves_loss(out, c->logged, c->logged_count, true);
}

static cdu_status write_files(const comparison *c, const char *path, cdu_error *error)
{
    static const struct {
        const char *end;
        void (*put)(cdu_text *, const comparison *);
    } files[] = {{".csv", put_csv}, {"-f1.svg", put_f1}, {"-loss.svg", put_loss}, {".html", put_page}};
    const size_t length = strlen(path), stem = length > 5 && !strcasecmp(path + length - 5, ".html") ? length - 5 : length;
    cdu_status status = CDU_OK;
    for (size_t i = 0; status == CDU_OK && i < sizeof files / sizeof *files; i++) {
        const bool page = files[i].put == put_page;
        char name[CDU_PATH_LIMIT];
        cdu_text text = {0};
        if (!page && !c->logged_count) continue;
        files[i].put(&text, c);
        if (snprintf(name, sizeof name, "%.*s%s", (int)stem, path, files[i].end) >= (int)sizeof name)
            status = cdu_fail(error, CDU_USAGE, "%.60s...: the name is too long", path);
        if (status == CDU_OK) status = cdu_text_write(&text, page ? path : name, error);
        cdu_text_free(&text);
    }
    return status;
}

/* Runs whose folders have the same name are told apart by the paths that were given. */
static cdu_status tell_apart(comparison *c, cdu_error *error)
{
    bool same[RUNS] = {false};
    for (size_t a = 0; a < c->count; a++)
        for (size_t b = 0; b < c->count; b++) same[a] |= a != b && !strcmp(c->records[a].name, c->records[b].name);
    for (size_t r = 0; r < c->count; r++) {
        if (!same[r]) continue;
        free(c->records[r].name);
        c->records[r].name = NULL;
        CDU_TRY(cdu_copy_text(&c->records[r].name, c->records[r].folder, error));
    }
    return CDU_OK;
}

cdu_status cdu_report_compare(const char *const *folders, size_t count, const char *path, cdu_error *error)
{
    comparison *c;
    if (count > RUNS) return cdu_fail(error, CDU_USAGE, "%zu runs are too many for one page: at most %d", count, RUNS);
    CDU_TRY(cdu_allocate(&c, 1, sizeof *c, error));
    cdu_status status = CDU_OK;
    for (size_t r = 0; status == CDU_OK && r < count; r++) {
        status = cdu_run_record_read(folders[r], &c->records[r], error);
        if (status != CDU_OK) break;
        c->runs[c->count++] = &c->records[r];
        if (c->records[r].has_log && c->records[r].log.step_count) c->logged[c->logged_count++] = &c->records[r];
        status = cdu_run_record_same_classes(&c->records[0], &c->records[r], error);
    }
    if (status == CDU_OK) status = tell_apart(c, error);
    if (status == CDU_OK) status = write_files(c, path, error);
    for (size_t r = 0; r < c->count; r++) cdu_run_record_free(&c->records[r]);
    free(c);
    return status;
}
