/* scores.c: see scores.h. */
#include "core/report/scores.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/base/text.h"

/* ---- JSON ---- */

static json_t *number(double x)
{
    return isnan(x) ? json_null() : json_real(x);
}

static json_t *interval(cdu_interval x)
{
    return isnan(x.low) ? json_null() : json_pack("[f, f]", x.low, x.high);
}

/* All scores of a class, or with class_value = classes the means over them. */
static json_t *scores_of(const cdu_confusion *confusion, const cdu_intervals *intervals, uint32_t class_value)
{
    json_t *all = json_object();
    char key[32];
    for (int s = 0; s < CDU_SCORES; s++) {
        json_object_set_new(all, cdu_score_name((cdu_score)s), number(cdu_confusion_score(confusion, (cdu_score)s, class_value)));
        if (!intervals) continue;
        snprintf(key, sizeof key, "%s_interval", cdu_score_name((cdu_score)s));
        json_object_set_new(all, key, interval(intervals->of[s][class_value]));
    }
    return all;
}

/* Rows of "confusion" are the truth. */
static void add_confusion(json_t *to, const cdu_study *study, const cdu_confusion *confusion, const cdu_intervals *intervals)
{
    json_t *classes = json_array(), *matrix = json_array();
    for (uint32_t c = 0; c < confusion->classes; c++) {
        json_t *one = json_pack("{s:s}", "class", study->classes[c].name), *row = json_array();
        const uint8_t *color = study->classes[c].color;
        json_object_set_new(one, "color", json_pack("[i, i, i]", color[0], color[1], color[2]));
        json_t *scores = scores_of(confusion, intervals, c);
        json_object_update(one, scores);
        json_decref(scores);
        json_object_set_new(one, "pixels", json_integer((json_int_t)cdu_confusion_truth(confusion, c)));
        json_object_set_new(one, "predicted_pixels", json_integer((json_int_t)cdu_confusion_predicted(confusion, c)));
        json_array_append_new(classes, one);
        for (uint32_t k = 0; k < confusion->classes; k++)
            json_array_append_new(row, json_integer((json_int_t)confusion->pixels[c][k]));
        json_array_append_new(matrix, row);
    }
    json_object_set_new(to, "macro_f1", number(cdu_confusion_macro_f1(confusion)));
    json_object_set_new(to, "macro", scores_of(confusion, intervals, confusion->classes));
    json_object_set_new(to, "classes", classes);
    json_object_set_new(to, "confusion", matrix);
}

static void add_part(json_t *to, const cdu_study *study, const cdu_evaluation_part *part)
{
    json_t *interior = json_object();
    uint64_t pixels = cdu_confusion_pixels(&part->confusion);
    json_object_set_new(to, "slides", json_integer(part->slides));
    json_object_set_new(to, "cases", json_integer(part->cases));
    json_object_set_new(to, "pixels", json_integer((json_int_t)pixels));
    json_object_set_new(to, "excluded_pixels", json_integer((json_int_t)part->excluded));
    json_object_set_new(to, "boundary_pixels", json_integer((json_int_t)(pixels - cdu_confusion_pixels(&part->interior))));
    add_confusion(to, study, &part->confusion, &part->intervals);
    add_confusion(interior, study, &part->interior, NULL);
    json_object_set_new(to, "off_boundary", interior);
}

static json_t *parts(const cdu_study *study, const cdu_evaluation_part *from, size_t count, const char *key)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        json_t *one = json_pack("{s:s}", key, from[i].name);
        if (!strcmp(key, "slide")) {
            json_object_set_new(one, "stain", json_string(from[i].stain));
            json_object_set_new(one, "case", json_string(from[i].case_name));
        }
        add_part(one, study, &from[i]);
        json_array_append_new(list, one);
    }
    return list;
}

cdu_status cdu_scores_write_json(const char *path, const cdu_scores_about *about, const cdu_evaluation *e, cdu_error *error)
{
    json_t *without = json_array();
    for (size_t i = 0; i < e->unannotated_count; i++) json_array_append_new(without, json_string(e->unannotated[i]));
    json_t *root = json_pack("{s:i, s:s, s:s, s:s, s:s, s:f, s:s, s:f, s:i, s:o}", "format", 1, "study", about->study->path, "model",
                             about->model, "split", about->split, "truth", about->truth, "mpp", about->mpp, "device", about->device,
                             "boundary_um", e->boundary_um, "bootstrap_resamples", (int)e->resamples, "slides_without_truth", without);
    if (!root) return cdu_fail(error, CDU_FAILED, "%s: the scores could not be put into JSON (is a name not UTF-8?)", path);
    add_part(root, about->study, &e->whole);
    json_object_set_new(root, "by_stain", parts(about->study, e->stains, e->stain_count, "stain"));
    json_object_set_new(root, "by_case", parts(about->study, e->cases, e->case_count, "case"));
    json_object_set_new(root, "by_slide", parts(about->study, e->slides, e->slide_count, "slide"));
    char *text = json_dumps(root, JSON_INDENT(1) | JSON_REAL_PRECISION(12));
    json_decref(root);
    if (!text) return cdu_fail(error, CDU_FAILED, "%s: the scores could not be put into JSON", path);
    cdu_status status = cdu_file_write(path, text, strlen(text), error);
    free(text);
    return status;
}

/* ---- CSV ---- */

static void put_number(cdu_text *text, double x)
{
    if (isnan(x))
        cdu_text_put(text, ",");
    else
        cdu_text_print(text, ",%.9g", x);
}

static void put_row(cdu_text *text, const cdu_study *study, const char *group, const cdu_evaluation_part *part, uint32_t c)
{
    const cdu_confusion *confusion = &part->confusion;
    const bool mean = c == confusion->classes;
    cdu_text_put(text, group);
    const char *fields[] = {part->name, part->stain, part->case_name, mean ? "macro" : study->classes[c].name};
    for (int i = 0; i < 4; i++) {
        cdu_text_put(text, ",");
        cdu_text_put_csv(text, fields[i]);
    }
    cdu_text_print(text, ",%u,%u", part->slides, part->cases);
    for (int s = 0; s < CDU_SCORES; s++) {
        put_number(text, cdu_confusion_score(confusion, (cdu_score)s, c));
        put_number(text, part->intervals.of[s][c].low);
        put_number(text, part->intervals.of[s][c].high);
    }
    put_number(text, cdu_confusion_score(&part->interior, CDU_SCORE_F1, c));
    uint64_t truth = mean ? cdu_confusion_pixels(confusion) : cdu_confusion_truth(confusion, c);
    uint64_t predicted = mean ? truth : cdu_confusion_predicted(confusion, c);
    uint64_t interior = mean ? cdu_confusion_pixels(&part->interior) : cdu_confusion_truth(&part->interior, c);
    cdu_text_print(text, ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 "\n", truth, predicted, truth - interior, part->excluded);
}

static void put_parts(cdu_text *text, const cdu_study *study, const char *group, const cdu_evaluation_part *part, size_t count)
{
    for (size_t i = 0; i < count; i++)
        for (uint32_t c = 0; c <= part[i].confusion.classes; c++) put_row(text, study, group, &part[i], c);
}

cdu_status cdu_scores_write_csv(const char *path, const cdu_scores_about *about, const cdu_evaluation *e, cdu_error *error)
{
    cdu_text text = {0};
    cdu_text_put(&text, "group,name,stain,case,class,slides,cases");
    for (int s = 0; s < CDU_SCORES; s++) {
        const char *name = cdu_score_name((cdu_score)s);
        cdu_text_print(&text, ",%s,%s low,%s high", name, name, name);
    }
    cdu_text_put(&text, ",f1 off boundary,truth pixels,predicted pixels,boundary pixels,excluded pixels\n");
    put_parts(&text, about->study, "all", &e->whole, 1);
    put_parts(&text, about->study, "stain", e->stains, e->stain_count);
    put_parts(&text, about->study, "case", e->cases, e->case_count);
    put_parts(&text, about->study, "slide", e->slides, e->slide_count);
    cdu_status status = cdu_text_write(&text, path, error);
    cdu_text_free(&text);
    return status;
}
