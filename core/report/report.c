/* report.c: the page about one run: its sections, in order. */
#include "core/report/report.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/report/chart.h"
#include "core/report/curves.h"
#include "core/report/page.h"
#include "core/report/sections.h"

static const char *text_of(const json_t *object, const char *key)
{
    const char *words = json_string_value(json_object_get(object, key));
    return words ? words : "";
}

/* ---- what stands on top ---- */

static void put_title(cdu_text *out, const cdu_run_record *run)
{
    cdu_text_put(out, "<h1>");
    cdu_text_put_escaped(out, run->name);
    cdu_text_put(out, "</h1>\n<p class=\"dim\">");
    if (run->facts) {
        cdu_text_put_escaped(out, text_of(run->facts, "network"));
        if (text_of(run->facts, "study")[0]) cdu_text_put(out, ", trained on ");
        cdu_text_put_escaped(out, text_of(run->facts, "study"));
        cdu_text_put(out, ", ");
        cdu_text_put_escaped(out, text_of(json_object_get(run->facts, "device"), "name"));
    }
    cdu_text_put(out, "</p>\n");
}

static void put_score_facts(cdu_text *out, const cdu_run_record *run)
{
    char value[64], note[160], what[64];
    for (int s = 0; s < CDU_RUN_SPLITS; s++) {
        if (!run->scores[s]) continue;
        const json_t *macro = json_object_get(run->scores[s], "macro"), *interval = json_object_get(macro, "f1_interval");
        snprintf(what, sizeof what, "macro F1, %s", cdu_run_split_name(s));
        snprintf(value, sizeof value, "%.4f", cdu_page_json_number(macro, "f1"));
        cdu_page_scored(note, run->scores[s]);
        if (json_array_size(interval) == 2)
            snprintf(note, sizeof note, "95 %%: %.3f to %.3f", json_number_value(json_array_get(interval, 0)),
                     json_number_value(json_array_get(interval, 1)));
        cdu_page_fact(out, what, isnan(cdu_page_json_number(macro, "f1")) ? "&ndash;" : value, note);
    }
}

static void put_facts(cdu_text *out, const cdu_run_record *run)
{
    char value[64], note[160], took[32];
    const cdu_log_table *log = &run->log;
    cdu_page_facts(out, true);
    put_score_facts(out, run);
    size_t best = cdu_log_table_best(log);
    if (best != SIZE_MAX) {
        snprintf(value, sizeof value, "%.4f", log->validations[best].macro);
        snprintf(note, sizeof note, "macro F1, best of %zu validations, at step %" PRIu64, log->validation_count, log->validations[best].step);
        cdu_page_fact(out, "best in training", value, note);
    }
    if (log->step_count) {
        cdu_run_times times = cdu_run_times_of(run);
        uint64_t steps = log->steps[log->step_count - 1].step;
        cdu_page_grouped(value, (double)steps);
        if (run->steps_per_epoch) snprintf(note, sizeof note, "%.4g epochs", (double)steps / (double)run->steps_per_epoch);
        else note[0] = 0;
        cdu_page_fact(out, "steps", value, note);
        cdu_page_duration(value, times.training);
        cdu_page_duration(took, times.validation);
        snprintf(note, sizeof note, "and %s of validation", took);
        cdu_page_fact(out, "training time", value, note);
        snprintf(value, sizeof value, "%.4f", log->steps[log->step_count - 1].loss);
        cdu_page_fact(out, "loss", value, "of the last step");
    }
    if (run->facts) {
        cdu_page_grouped(value, cdu_page_json_number(run->facts, "parameters"));
        cdu_page_fact(out, "parameters", value, "");
    }
    cdu_page_facts(out, false);
}

/* ---- training ---- */

static void put_validations(cdu_text *out, const cdu_run_record *run)
{
    const char *heads[CDU_CLASS_LIMIT + 3] = {"step", "epochs", "macro"};
    for (uint32_t c = 0; c < run->classes; c++) heads[3 + c] = run->class_names[c];
    cdu_text_print(out, "<details><summary>all %zu validations</summary>\n", run->log.validation_count);
    cdu_page_table(out, heads, 3 + run->classes);
    for (size_t i = 0; i < run->log.validation_count; i++) {
        const cdu_log_validation *v = &run->log.validations[i];
        cdu_text_print(out, "<tr><td>%" PRIu64 "</td>", v->step);
        if (run->steps_per_epoch) cdu_text_print(out, "<td>%.4g</td>", (double)v->step / (double)run->steps_per_epoch);
        else cdu_text_put(out, "<td>&ndash;</td>");
        cdu_page_score(out, v->macro);
        for (uint32_t c = 0; c < run->classes; c++) cdu_page_score(out, v->f1[c]);
        cdu_text_put(out, "</tr>\n");
    }
    cdu_page_table_end(out);
    cdu_text_put(out, "</details>\n");
}

static void put_training(cdu_text *out, const cdu_run_record *run)
{
    cdu_page_heading(out, "Training");
    if (run->log.unfinished || !run->log.step_count)
        cdu_text_put(out, "<p class=\"dim\">The run has not ended, or ended in the middle of a row of its log: this is what there is so far.</p>\n");
    cdu_text_put(out, "<div class=\"charts\">\n");
    if (run->log.validation_count) cdu_curves_f1(out, &run, 1, CDU_CURVES_ALL, false);
    if (run->log.step_count) cdu_curves_loss(out, &run, 1, false);
    cdu_text_put(out, "</div>\n");
    if (run->log.validation_count)
        put_validations(out, run);
    else
        cdu_text_put(out, "<p>There was no validation: no F1 over the epochs.</p>\n");
    cdu_text_put(out, "<p class=\"dim\">The same beside this page: curves.csv, curves-f1.svg, curves-loss.svg; tensorboard/ for TensorBoard.</p>\n");
}

/* ---- the whole ---- */

static void put_page(cdu_text *out, const cdu_run_record *run)
{
    char title[300];
    snprintf(title, sizeof title, "%s: cdunet report", run->name);
    cdu_page_begin(out, title);
    put_title(out, run);
    put_facts(out, run);
    if (run->has_log) put_training(out, run);
    for (int s = 0; s < CDU_RUN_SPLITS; s++)
        if (run->scores[s]) cdu_section_scores(out, run, s);
    if (run->facts) cdu_section_data(out, run);
    if (run->study) cdu_section_settings(out, run);
    if (run->facts || run->has_log) cdu_section_machine(out, run);
    cdu_page_end(out);
}

typedef void put_file(cdu_text *out, const cdu_run_record *run);

static void put_csv(cdu_text *out, const cdu_run_record *run)
{
    cdu_curves_csv(out, run, true, NULL);
}

static void put_f1(cdu_text *out, const cdu_run_record *run)
{
    cdu_curves_f1(out, &run, 1, CDU_CURVES_ALL, true);
}

static void put_loss(cdu_text *out, const cdu_run_record *run)
{
    cdu_curves_loss(out, &run, 1, true);
}

cdu_status cdu_report_write(const char *folder, cdu_error *error)
{
    static const struct {
        const char *name;
        put_file *put;
        bool of_log;
    } files[] = {{"curves.csv", put_csv, true},
                 {"curves-f1.svg", put_f1, true},
                 {"curves-loss.svg", put_loss, true},
                 {"tensorboard/events.out.tfevents.cdunet", cdu_curves_events, true},
                 {"report.html", put_page, false}};
    cdu_run_record run;
    char path[CDU_PATH_LIMIT];
    CDU_TRY(cdu_run_record_read(folder, &run, error));
    cdu_status status = cdu_path_join(path, folder, "tensorboard", error);
    if (status == CDU_OK && run.has_log) status = cdu_folder_create(path, error);
    for (size_t i = 0; status == CDU_OK && i < sizeof files / sizeof *files; i++) {
        cdu_text text = {0};
        if (files[i].of_log && !run.has_log) continue;
        files[i].put(&text, &run);
        status = cdu_path_join(path, folder, files[i].name, error);
        if (status == CDU_OK) status = cdu_text_write(&text, path, error);
        cdu_text_free(&text);
    }
    cdu_run_record_free(&run);
    return status;
}
