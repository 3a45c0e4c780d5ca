/* sections.c: see sections.h. */
#include "core/report/sections.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/base/file.h"
#include "core/report/chart.h"
#include "core/report/page.h"

enum { PICTURE_LIMIT = 8 << 20 };

static const char *text_of(const json_t *object, const char *key)
{
    const char *words = json_string_value(json_object_get(object, key));
    return words ? words : "";
}

static const char *file_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash && slash[1] ? slash + 1 : path;
}

static double percent(double part, double whole)
{
    return whole > 0 ? 100 * part / whole : 0;
}

/* ---- scores ---- */

static void put_class_scores(cdu_text *out, const cdu_run_record *run, const json_t *scores)
{
    static const char *const heads[] = {"class", "precision", "recall", "F1", "95 % interval", "IoU", "F1 off boundary", "pixels"};
    const json_t *off = json_object_get(scores, "off_boundary");
    cdu_page_table(out, heads, sizeof heads / sizeof *heads);
    for (uint32_t c = 0; c <= run->classes; c++) {
        const bool mean = c == run->classes;
        const json_t *one = mean ? json_object_get(scores, "macro") : json_array_get(json_object_get(scores, "classes"), c);
        const json_t *inner = mean ? json_object_get(off, "macro") : json_array_get(json_object_get(off, "classes"), c);
        cdu_text_put(out, "<tr>");
        if (mean) cdu_page_words(out, "mean of the classes");
        else cdu_page_class(out, run, c);
        cdu_page_number(out, cdu_page_json_number(one, "precision"));
        cdu_page_number(out, cdu_page_json_number(one, "recall"));
        cdu_page_score(out, cdu_page_json_number(one, "f1"));
        cdu_page_interval(out, json_object_get(one, "f1_interval"));
        cdu_page_number(out, cdu_page_json_number(one, "iou"));
        cdu_page_number(out, cdu_page_json_number(inner, "f1"));
        cdu_page_count(out, cdu_page_json_number(mean ? scores : one, "pixels"));
        cdu_text_put(out, "</tr>\n");
    }
    cdu_page_table_end(out);
}

static void put_matrix(cdu_text *out, const cdu_run_record *run, const json_t *scores)
{
    cdu_text_put(out, "<h3>Confusion matrix</h3>\n<p class=\"dim\">Rows: the truth; columns: the segmentation; shares of a row.</p>\n"
                      "<div class=\"scroll\"><table class=\"matrix\">\n<tr><th>truth</th>");
    for (uint32_t c = 0; c < run->classes; c++) {
        cdu_text_put(out, "<th>");
        cdu_text_put_escaped(out, run->class_names[c]);
        cdu_text_put(out, "</th>");
    }
    cdu_text_put(out, "</tr>\n");
    for (uint32_t t = 0; t < run->classes; t++) {
        const json_t *row = json_array_get(json_object_get(scores, "confusion"), t);
        double sum = 0;
        for (uint32_t p = 0; p < run->classes; p++) sum += json_number_value(json_array_get(row, p));
        cdu_text_put(out, "<tr>");
        cdu_page_class(out, run, t);
        for (uint32_t p = 0; p < run->classes; p++) {
            char count[40];
            double pixels = json_number_value(json_array_get(row, p)), share = sum > 0 ? pixels / sum : 0;
            int red = (int)lround(255 - 175 * share), green = (int)lround(255 - 115 * share);
            cdu_page_grouped(count, pixels);
            cdu_text_print(out, "<td style=\"background:#%02x%02xff%s\" title=\"%s pixels\">%.1f %%</td>", red, green,
                           share > 0.8 ? ";color:#000000" : "", count, 100 * share);
        }
        cdu_text_put(out, "</tr>\n");
    }
    cdu_page_table_end(out);
}

static void put_group(cdu_text *out, const cdu_run_record *run, const json_t *scores, const char *group, bool open)
{
    const char *heads[CDU_CLASS_LIMIT + 5] = {group, "slides"};
    char key[16];
    size_t count = 2, i;
    json_t *part;
    snprintf(key, sizeof key, "by_%s", group);
    for (uint32_t c = 0; c < run->classes; c++) heads[count++] = run->class_names[c];
    heads[count++] = "macro F1";
    heads[count++] = "95 % interval";
    heads[count++] = "excluded";
    const json_t *parts = json_object_get(scores, key);
    cdu_text_print(out, "<details%s><summary>F1 by %s (%zu)</summary>\n", open ? " open=\"open\"" : "", group, json_array_size(parts));
    cdu_page_table(out, heads, count);
    json_array_foreach(parts, i, part) {
        const json_t *classes = json_object_get(part, "classes"), *macro = json_object_get(part, "macro");
        double excluded = cdu_page_json_number(part, "excluded_pixels");
        cdu_text_put(out, "<tr>");
        cdu_page_words(out, !strcmp(group, "slide") || !strcmp(group, "case") ? file_name(text_of(part, group)) : text_of(part, group));
        cdu_page_count(out, cdu_page_json_number(part, "slides"));
        for (uint32_t c = 0; c < run->classes; c++) cdu_page_score(out, cdu_page_json_number(json_array_get(classes, c), "f1"));
        cdu_page_score(out, cdu_page_json_number(macro, "f1"));
        cdu_page_interval(out, json_object_get(macro, "f1_interval"));
        cdu_text_print(out, "<td>%.1f %%</td></tr>\n", percent(excluded, excluded + cdu_page_json_number(part, "pixels")));
    }
    cdu_page_table_end(out);
    cdu_text_put(out, "</details>\n");
}

static void put_list(cdu_text *out, const json_t *list, const char *words)
{
    size_t i;
    json_t *name;
    if (!json_array_size(list)) return;
    cdu_text_print(out, "<p>%s: ", words);
    json_array_foreach(list, i, name) {
        if (i) cdu_text_put(out, ", ");
        cdu_text_put_escaped(out, file_name(json_string_value(name) ? json_string_value(name) : ""));
    }
    cdu_text_put(out, "</p>\n");
}

static void put_excluded(cdu_text *out, const json_t *scores)
{
    double excluded = cdu_page_json_number(scores, "excluded_pixels"), pixels = cdu_page_json_number(scores, "pixels");
    double near = cdu_page_json_number(scores, "boundary_pixels"), boundary = cdu_page_json_number(scores, "boundary_um");
    double resamples = cdu_page_json_number(scores, "bootstrap_resamples"), cases = cdu_page_json_number(scores, "cases");
    char words[40];
    cdu_page_grouped(words, excluded);
    cdu_text_print(out, "<p>Excluded, since the truth leaves them open: %s pixels, %.2f %% of the slides.", words,
                   percent(excluded, excluded + pixels));
    if (boundary > 0) {
        cdu_page_grouped(words, near);
        cdu_text_print(out, " Within %g \xc2\xb5m of another class, and not in the F1 off boundary: %s pixels, %.1f %% of the scored ones.", boundary,
                       words, percent(near, pixels));
    }
    if (cases < 2 || !resamples) cdu_text_put(out, " No intervals: they are drawn over cases, and there are too few.");
    else cdu_text_print(out, " Intervals: %.0f resamples of %.0f cases.", resamples, cases);
    cdu_text_put(out, "</p>\n");
    put_list(out, json_object_get(scores, "slides_without_truth"), "Not scored, without annotation");
    put_list(out, json_object_get(scores, "slides_unreadable"), "Not scored, could not be read");
}

/* One picture of a tile; one that is not there any more, or is no PNG, leaves a note. */
static void put_picture(cdu_text *out, const cdu_run_record *run, const char *name, const char *words)
{
    char path[CDU_PATH_LIMIT], *png = NULL;
    size_t size = 0;
    bool inside = !strstr(name, "..") && name[0] != '/';
    bool there = inside && cdu_path_join(path, run->folder, name, NULL) == CDU_OK && cdu_file_exists(path) &&
                 cdu_file_read(path, PICTURE_LIMIT, &png, &size, NULL) == CDU_OK && size > 8 && !memcmp(png, "\x89PNG\r\n\x1a\n", 8);
    if (there) {
        cdu_page_png(out, png, size, words);
    } else {
        cdu_text_put(out, "<span class=\"dim\">");
        cdu_text_put_escaped(out, name);
        cdu_text_put(out, " is missing</span>");
    }
    free(png);
}

static void put_tiles(cdu_text *out, const cdu_run_record *run, const json_t *scores, const char *kind)
{
    static const char *const words[] = {"tile of the slide", "truth", "segmentation"};
    size_t i, count = 0;
    json_t *tile;
    json_array_foreach(json_object_get(scores, "tiles"), i, tile) count += !strcmp(text_of(tile, "kind"), kind);
    if (!count) return;
    cdu_text_print(out, "<h3>%s tiles</h3>\n<p class=\"dim\">Slide, truth, segmentation.</p>\n<div class=\"tiles\">\n",
                   strcmp(kind, "best") ? "Worst" : "Best");
    json_array_foreach(json_object_get(scores, "tiles"), i, tile) {
        if (strcmp(text_of(tile, "kind"), kind)) continue;
        cdu_text_put(out, "<figure><div class=\"three\">");
        for (size_t k = 0; k < 3; k++) put_picture(out, run, json_string_value(json_array_get(json_object_get(tile, "files"), k)), words[k]);
        cdu_text_put(out, "</div><figcaption>");
        cdu_text_put_escaped(out, file_name(text_of(tile, "slide")));
        if (text_of(tile, "stain")[0]) cdu_text_put(out, ", ");
        cdu_text_put_escaped(out, text_of(tile, "stain"));
        cdu_text_print(out, ", at (%.0f, %.0f): %.1f %% right</figcaption></figure>\n", cdu_page_json_number(tile, "x"),
                       cdu_page_json_number(tile, "y"), 100 * cdu_page_json_number(tile, "right"));
    }
    cdu_text_put(out, "</div>\n");
}

static void put_key(cdu_text *out, const cdu_run_record *run)
{
    cdu_text_put(out, "<p class=\"key dim\">");
    for (uint32_t c = 0; c < run->classes; c++) {
        const uint8_t *k = run->colors[c];
        cdu_text_print(out, "<span><span class=\"square\" style=\"background:#%02x%02x%02x;margin-right:.4em\"></span>", k[0], k[1], k[2]);
        cdu_text_put_escaped(out, run->class_names[c]);
        cdu_text_put(out, "</span> ");
    }
    cdu_text_put(out, "<span><span class=\"square\" style=\"background:#ffffff;margin-right:.4em\"></span>excluded</span></p>\n");
}

void cdu_section_scores(cdu_text *out, const cdu_run_record *run, int split)
{
    const json_t *scores = run->scores[split];
    char title[64];
    snprintf(title, sizeof title, "Scores: %s slides", cdu_run_split_name(split));
    cdu_page_heading(out, title);
    cdu_page_scored(title, scores);
    cdu_text_print(out, "<p class=\"dim\">%s, stitched, every pixel of %g \xc2\xb5m once; truth: ", title, cdu_page_json_number(scores, "mpp"));
    cdu_text_put_escaped(out, text_of(scores, "truth"));
    cdu_text_put(out, "; study: ");
    cdu_text_put_escaped(out, file_name(text_of(scores, "study")));
    cdu_text_put(out, "; device: ");
    cdu_text_put_escaped(out, text_of(scores, "device"));
    cdu_text_put(out, "</p>\n");
    put_class_scores(out, run, scores);
    put_excluded(out, scores);
    put_matrix(out, run, scores);
    cdu_text_put(out, "<h3>F1 by group</h3>\n");
    put_group(out, run, scores, "stain", true);
    put_group(out, run, scores, "case", json_array_size(json_object_get(scores, "by_case")) <= 12);
    put_group(out, run, scores, "slide", json_array_size(json_object_get(scores, "by_slide")) <= 12);
    put_tiles(out, run, scores, "best");
    put_tiles(out, run, scores, "worst");
    if (json_array_size(json_object_get(scores, "tiles"))) put_key(out, run);
}

/* ---- data ---- */

static void put_stains(cdu_text *out, const json_t *slides)
{
    static const char *const heads[] = {"stain", "train", "validation", "test", "all"}, *const splits[] = {"train", "validation", "test"};
    size_t i, k;
    json_t *one, *other;
    cdu_page_table(out, heads, 5);
    json_array_foreach(slides, i, one) {
        size_t counts[4] = {0}, before = 0;
        json_array_foreach(slides, k, other) {
            if (strcmp(text_of(one, "stain"), text_of(other, "stain"))) continue;
            before += k < i;
            for (int s = 0; s < 3; s++) counts[s] += !strcmp(text_of(other, "split"), splits[s]);
            counts[3]++;
        }
        if (before) continue;
        cdu_text_put(out, "<tr>");
        cdu_page_words(out, text_of(one, "stain")[0] ? text_of(one, "stain") : "not given");
        for (int s = 0; s < 4; s++) cdu_page_count(out, (double)counts[s]);
        cdu_text_put(out, "</tr>\n");
    }
    cdu_page_table_end(out);
}

static double total(const json_t *list)
{
    double sum = 0;
    for (size_t c = 0; c < json_array_size(list); c++) sum += json_number_value(json_array_get(list, c));
    return sum;
}

static void put_shares(cdu_text *out, const cdu_run_record *run)
{
    const char *heads[4 + CDU_RUN_SPLITS] = {"class", "training slides", "training tiles", "weight in the loss"};
    const json_t *training = json_object_get(run->facts, "training");
    const json_t *slides = json_object_get(training, "slide_pixels"), *tiles = json_object_get(training, "tile_pixels");
    size_t count = 4;
    for (int s = 0; s < CDU_RUN_SPLITS; s++)
        if (run->scores[s]) heads[count++] = s == 0 ? "validation slides" : s == 1 ? "test slides" : "scored training slides";
    cdu_text_put(out, "<h3>Shares of the classes in labelled pixels</h3>\n");
    cdu_page_table(out, heads, count);
    for (uint32_t c = 0; c < run->classes; c++) {
        cdu_text_put(out, "<tr>");
        cdu_page_class(out, run, c);
        cdu_text_print(out, "<td>%.1f %%</td><td>%.1f %%</td><td>%.3g</td>", percent(json_number_value(json_array_get(slides, c)), total(slides)),
                       percent(json_number_value(json_array_get(tiles, c)), total(tiles)),
                       json_number_value(json_array_get(json_object_get(training, "class_weights"), c)));
        for (int s = 0; s < CDU_RUN_SPLITS; s++)
            if (run->scores[s])
                cdu_text_print(out, "<td>%.1f %%</td>",
                               percent(cdu_page_json_number(json_array_get(json_object_get(run->scores[s], "classes"), c), "pixels"),
                                       cdu_page_json_number(run->scores[s], "pixels")));
        cdu_text_put(out, "</tr>\n");
    }
    cdu_page_table_end(out);
}

void cdu_section_data(cdu_text *out, const cdu_run_record *run)
{
    static const char *const heads[] = {"slide", "stain", "case", "split"};
    const json_t *slides = json_object_get(run->facts, "slides");
    char words[40];
    size_t i;
    json_t *one;
    cdu_page_heading(out, "Data");
    cdu_page_grouped(words, cdu_page_json_number(json_object_get(run->facts, "training"), "tiles"));
    cdu_text_print(out, "<p>%zu slides; %s training tiles.</p>\n", json_array_size(slides), words);
    const json_t *training = json_object_get(run->facts, "training");
    if (cdu_page_json_number(training, "unreadable_tiles") > 0)
        cdu_text_print(out, "<p>%.0f tiles of %.0f slides could not be read while training; others took their places.</p>\n",
                       cdu_page_json_number(training, "unreadable_tiles"), cdu_page_json_number(training, "unreadable_slides"));
    put_stains(out, slides);
    put_shares(out, run);
    cdu_text_put(out, "<details><summary>all slides</summary>\n");
    cdu_page_table(out, heads, 4);
    json_array_foreach(slides, i, one) {
        cdu_text_put(out, "<tr>");
        cdu_page_words(out, file_name(text_of(one, "slide")));
        cdu_page_words(out, text_of(one, "stain"));
        cdu_page_words(out, text_of(one, "case"));
        cdu_page_words(out, text_of(one, "split"));
        cdu_text_put(out, "</tr>\n");
    }
    cdu_page_table_end(out);
    cdu_text_put(out, "</details>\n");
}

/* ---- settings ---- */

/* Walks over the lines "section:" and "  key: value" of study.yaml, as core/study writes it; deeper lines are passed over. */
typedef struct { const char *at; char section[48], key[64], value[256]; } yaml_walk;

static bool next_setting(yaml_walk *w)
{
    while (*w->at) {
        const char *line = w->at, *end = strchr(line, '\n'), *colon;
        w->at = end ? end + 1 : line + strlen(line);
        if (!end) end = w->at;
        while (end > line && (end[-1] == '\r' || end[-1] == '\n')) end--;
        size_t indent = strspn(line, " ");
        colon = memchr(line, ':', (size_t)(end - line));
        if (!colon || line[indent] == '-' || line[indent] == '#' || (indent != 0 && indent != 2)) continue;
        if (!indent) {
            snprintf(w->section, sizeof w->section, "%.*s", (int)(colon - line), line);
            continue;
        }
        snprintf(w->key, sizeof w->key, "%.*s", (int)(colon - line - 2), line + 2);
        const char *value = colon + 1 + strspn(colon + 1, " ");
        snprintf(w->value, sizeof w->value, "%.*s", value < end ? (int)(end - value) : 0, value);
        return true;
    }
    return false;
}

void cdu_run_setting(const cdu_run_record *run, const char *section, const char *key, char *out, size_t size)
{
    yaml_walk walk = {.at = run->study ? run->study : ""};
    out[0] = 0;
    while (next_setting(&walk))
        if (!strcmp(walk.section, section) && !strcmp(walk.key, key)) snprintf(out, size, "%s", walk.value);
}

bool cdu_run_setting_at(const cdu_run_record *run, size_t n, char section[48], char key[64], char value[256])
{
    yaml_walk walk = {.at = run->study ? run->study : ""};
    for (size_t i = 0; i <= n; i++)
        if (!next_setting(&walk)) return false;
    snprintf(section, 48, "%s", walk.section);
    snprintf(key, 64, "%s", walk.key);
    snprintf(value, 256, "%s", walk.value);
    return true;
}

void cdu_section_settings(cdu_text *out, const cdu_run_record *run)
{
    yaml_walk walk = {.at = run->study};
    char section[48] = "";
    cdu_page_heading(out, "Settings");
    if (run->command) {
        cdu_text_put(out, "<pre>");
        cdu_text_put_escaped(out, run->command);
        cdu_text_put(out, "</pre>\n");
    }
    cdu_text_put(out, "<div class=\"settings\">\n");
    while (next_setting(&walk)) {
        if (strcmp(section, walk.section)) {
            if (section[0]) cdu_page_table_end(out);
            snprintf(section, sizeof section, "%s", walk.section);
            cdu_text_put(out, "<div class=\"scroll\"><table>\n<tr><th colspan=\"2\">");
            cdu_text_put_escaped(out, section);
            cdu_text_put(out, "</th></tr>\n");
        }
        cdu_text_put(out, "<tr>");
        cdu_page_words(out, walk.key);
        cdu_page_words(out, walk.value);
        cdu_text_put(out, "</tr>\n");
    }
    if (section[0]) cdu_page_table_end(out);
    cdu_text_put(out, "</div>\n");
    cdu_text_put(out, "<details><summary>study.yaml, as it can be trained again</summary>\n<pre>");
    cdu_text_put_escaped(out, run->study);
    cdu_text_put(out, "</pre></details>\n");
}

/* ---- time, memory, device ---- */

cdu_run_times cdu_run_times_of(const cdu_run_record *run)
{
    cdu_run_times times = {0};
    size_t timed = 0;
    if (!run->log.has_waits) times.waits = NAN;
    for (size_t i = 0; i < run->log.step_count; i++) {
        double seconds = run->log.steps[i].seconds;
        if (isnan(seconds)) continue;
        times.training += seconds;
        if (!isnan(run->log.steps[i].waits)) times.waits += run->log.steps[i].waits;
        if (i) times.step += seconds, timed++;
    }
    if (timed) times.step /= (double)timed;
    for (size_t i = 0; i < run->log.validation_count; i++)
        if (!isnan(run->log.validations[i].seconds)) times.validation += run->log.validations[i].seconds;
    return times;
}

static void put_row(cdu_text *out, const char *what, const char *value)
{
    if (!*value) return;
    cdu_text_put(out, "<tr>");
    cdu_page_words(out, what);
    cdu_page_words(out, value);
    cdu_text_put(out, "</tr>\n");
}

void cdu_section_machine(cdu_text *out, const cdu_run_record *run)
{
    char words[64];
    cdu_page_heading(out, "Time, memory, device");
    cdu_text_put(out, "<div class=\"settings\"><div class=\"scroll\"><table>\n");
    if (run->has_log) {
        cdu_run_times times = cdu_run_times_of(run);
        cdu_page_duration(words, times.training);
        put_row(out, "training", words);
        cdu_page_duration(words, times.validation);
        put_row(out, "validation", words);
        snprintf(words, sizeof words, "%.4f s", times.step);
        put_row(out, "a step, on average without the first", times.step > 0 ? words : "");
        snprintf(words, sizeof words, "%.2f %% of the training time", percent(times.waits, times.training));
        put_row(out, "the device waited for tiles", times.waits >= 0 ? words : "");
    }
    if (run->facts) {
        const json_t *device = json_object_get(run->facts, "device");
        time_t began = (time_t)cdu_page_json_number(run->facts, "began");
        struct tm parts;
        if (gmtime_r(&began, &parts) && strftime(words, sizeof words, "%Y-%m-%d %H:%M UTC", &parts)) put_row(out, "began", words);
        cdu_page_bytes(words, cdu_page_json_number(run->facts, "device_bytes"));
        put_row(out, "device memory, as planned for training", words);
        cdu_page_bytes(words, cdu_page_json_number(run->facts, "host_peak_bytes"));
        put_row(out, "host memory, at most", words);
        put_row(out, "device", text_of(device, "id"));
        put_row(out, "its name", text_of(device, "name"));
        put_row(out, "vendor", text_of(device, "vendor"));
        put_row(out, "driver", text_of(device, "driver"));
    }
    cdu_page_table_end(out);
    cdu_text_put(out, "</div>\n");
}
