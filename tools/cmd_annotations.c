/* cmd_annotations.c: what annotation files hold, how a study's classes would take it and what is left out and why, so that a wrong
 * mapping shows before a night is lost; and conversion to QuPath's GeoJSON. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cdunet/log.h"
#include "cdunet/slide.h"
#include "core/base/file.h"
#include "core/base/memory.h"
#include "tools/annotation_summary.h"
#include "tools/commands.h"
#include "tools/options.h"

typedef struct {
    const char **files, *slide, *study_path, *to, *out;
    size_t count;
    double mpp;
    bool json, no_bounds;
    cdu_study *study;
    cdu_slide_info info;
    bool has_slide;
    cdu_annotations all;               /* of every file, for --out */
    size_t capacity;
    json_t *list;
} job;

static cdu_status open_slide(job *j, cdu_error *error)
{
    if (!j->slide) return CDU_OK;
    cdu_slide *slide;
    CDU_TRY(cdu_slide_open(j->slide, j->mpp, &slide, error));
    j->info = cdu_slide_info_of(slide);
    j->has_slide = true;
    cdu_slide_close(slide);
    return CDU_OK;
}

static double mpp_of(const job *j, const cdu_annotations *found)
{
    return j->has_slide ? j->info.mpp : j->mpp > 0 ? j->mpp : found->mpp;
}

static void print_row(const summary_row *row, double mpp)
{
    char area[32] = "", known[160] = "";
    if (mpp > 0) snprintf(area, sizeof area, "%.4f", row->area * mpp * mpp / 1e6);
    if (row->known_by && strcmp(row->known_by, row->class_name) != 0) snprintf(known, sizeof known, " (by '%.100s')", row->known_by);
    printf("  %-24.100s %7zu %8zu %16.1f %12s  %s%s\n", *row->class_name ? row->class_name : "(no class)", row->count, row->polygons, row->area,
           area, row->maps_to, known);
}

static void print_file(const job *j, const char *path, const cdu_annotations *found, const annotation_summary *summary)
{
    double mpp = mpp_of(j, found);
    size_t count = 0;
    for (size_t i = 0; i < summary->count; i++) count += summary->rows[i].count;
    printf("%s: %s, %zu annotation%s", path, found->format, count, count == 1 ? "" : "s");
    if (mpp > 0) printf(", %g um/px", mpp);
    if (count) printf(", x %.0f to %.0f, y %.0f to %.0f", summary->left, summary->right, summary->top, summary->bottom);
    printf("\n");
    if (count) printf("  %-24s %7s %8s %16s %12s  %s\n", "class", "count", "polygons", "area px", "area mm2", "class of the study");
    for (size_t i = 0; i < summary->count; i++) print_row(&summary->rows[i], mpp);
    for (size_t i = 0; i < found->ignored_count; i++) {
        const cdu_annotation_ignored *left = &found->ignored[i];
        char line[64] = "";
        if (left->line) snprintf(line, sizeof line, ", the first in line %zu", left->line);
        printf("  left out: %zu of %s%.100s%s%s: %s\n", left->count, *left->class_name ? "class '" : "no class", left->class_name,
               *left->class_name ? "'" : "", line, left->reason);
    }
    if (summary->crossed)
        printf("  note: the rings of %zu cross each other, the first in line %zu: outlines count even-odd, holes are cut out\n", summary->crossed,
               summary->crossed_line);
    if (summary->outside)
        printf("  warning: %zu lie wholly outside of the slide of %lld x %lld pixels, the first in line %zu\n", summary->outside,
               (long long)j->info.width, (long long)j->info.height, summary->outside_line);
    if (summary->unknown && j->study_path)
        printf("  warning: the study does not know the class of %zu; name it under classes (name or also) or annotations.exclude\n", summary->unknown);
}

static json_t *row_as_json(const summary_row *row, double mpp)
{
    json_t *item = json_pack("{s:s, s:i, s:i, s:i, s:f, s:s, s:s?, s:[i,i,i]}", "class", row->class_name, "count", (int)row->count, "polygons",
                             (int)row->polygons, "points", (int)row->points, "area_px", row->area, "study_class", row->maps_to, "known_by",
                             row->known_by, "color", row->color[0], row->color[1], row->color[2]);
    if (mpp > 0) json_object_set_new(item, "area_mm2", json_real(row->area * mpp * mpp / 1e6));
    return item;
}

static void add_json(const job *j, const char *path, const cdu_annotations *found, const annotation_summary *summary)
{
    double mpp = mpp_of(j, found);
    json_t *classes = json_array(), *ignored = json_array();
    for (size_t i = 0; i < summary->count; i++) json_array_append_new(classes, row_as_json(&summary->rows[i], mpp));
    for (size_t i = 0; i < found->ignored_count; i++)
        json_array_append_new(ignored, json_pack("{s:s, s:s, s:i, s:i}", "reason", found->ignored[i].reason, "class", found->ignored[i].class_name,
                                                 "count", (int)found->ignored[i].count, "line", (int)found->ignored[i].line));
    json_t *file = json_pack("{s:s, s:s, s:b, s:i, s:i, s:o, s:o}", "file", path, "format", found->format, "from_bounds", found->from_bounds,
                             "crossed", (int)summary->crossed, "outside", (int)summary->outside, "classes", classes, "ignored", ignored);
    if (mpp > 0) json_object_set_new(file, "mpp", json_real(mpp));
    json_array_append_new(j->list, file);
}

/* Moves the file's annotations to those that are written. */
static cdu_status keep(job *j, cdu_annotations *found, cdu_error *error)
{
    CDU_TRY(cdu_grow(&j->all.items, &j->capacity, j->all.count + found->count, sizeof *found->items, error));
    for (size_t i = 0; i < found->count; i++)
        if (found->items[i].is_annotation) {
            j->all.items[j->all.count++] = found->items[i];
            found->items[i] = (cdu_annotation){0};
        }
    return CDU_OK;
}

static cdu_status read_label_map(const job *j, const char *path, cdu_annotations *found, cdu_error *error)
{
    const char *names[CDU_CLASS_LIMIT];
    uint8_t colors[CDU_CLASS_LIMIT][3];
    for (size_t c = 0; c < j->study->class_count; c++) {
        names[c] = j->study->classes[c].name;
        memcpy(colors[c], j->study->classes[c].color, 3);
    }
    return cdu_annotations_from_label_map(path, j->info.width, j->info.height, (uint32_t)j->study->class_count, names, colors, found, error);
}

static cdu_status show_file(job *j, const char *path, cdu_error *error)
{
    cdu_annotations found;
    annotation_summary summary = {0};
    bool label_map = cdu_is_label_map(path);
    CDU_TRY(label_map ? read_label_map(j, path, &found, error) : cdu_annotations_read(path, &found, error));
    if (!j->no_bounds && !label_map) cdu_study_add_bounds(j->study, &j->info, &found);
    cdu_status status = annotation_summarize(&found, j->study, j->has_slide ? &j->info : NULL, &summary, error);
    if (status == CDU_OK && j->json) add_json(j, path, &found, &summary);
    else if (status == CDU_OK) print_file(j, path, &found, &summary);
    free(summary.rows);
    if (status == CDU_OK && j->out) status = keep(j, &found, error);
    cdu_annotations_free(&found);
    return status;
}

static cdu_status show(job *j, cdu_error *error)
{
    CDU_TRY(cdu_study_read_settings(j->study_path, &j->study, error));
    CDU_TRY(open_slide(j, error));
    if (j->out) CDU_TRY(cdu_file_try(j->out, error));
    for (size_t i = 0; i < j->count; i++) {
        if (j->out && cdu_file_same(j->files[i], j->out))
            return cdu_fail(error, CDU_USAGE, "annotations: --out %s is a file that is read; give another name", j->out);
        CDU_TRY(show_file(j, j->files[i], error));
    }
    if (!j->json && !j->study_path) printf("Classes are those of a study file without settings; --study S.yaml shows another's.\n");
    if (j->out) {
        if (!j->no_bounds) cdu_annotations_shift(&j->all, -(double)j->info.bounds_x, -(double)j->info.bounds_y); /* QuPath's origin */
        CDU_TRY(cdu_annotations_write(j->out, &j->all, 1, error));
        cdu_log(CDU_LOG_INFO, "%s: %zu annotations written", j->out, j->all.count);
    }
    return CDU_OK;
}

cdu_status cmd_annotations(int argc, char **argv, cdu_error *error)
{
    job j = {0};
    bool done = false, mpp_given = false;
    const cdu_option options[] = {
        {.name = "slide", .letter = 's', .type = CDU_OPTION_TEXT, .value = &j.slide, .argument = "SLIDE",
         .help = "the slide: areas in mm2, warnings for what lies outside,\nand the corner of its scanned part, from which QuPath counts"},
        {.name = "study", .type = CDU_OPTION_TEXT, .value = &j.study_path, .argument = "S.yaml",
         .help = "the study whose classes and rules are shown; its slides need not be there"},
        {.name = "mpp", .type = CDU_OPTION_FLOAT, .value = &j.mpp, .argument = "X", .least = 0.01, .most = 100, .given = &mpp_given,
         .help = "micrometres a pixel, overruling what slide or file say"},
        {.name = "to", .type = CDU_OPTION_TEXT, .value = &j.to, .argument = "FORMAT", .fallback = "geojson", .help = "what --out becomes: geojson, as QuPath reads it"},
        {.name = "out", .letter = 'o', .type = CDU_OPTION_TEXT, .value = &j.out, .argument = "F", .help = "write the annotations of all files into this one"},
        {.name = "no-bounds", .type = CDU_OPTION_FLAG, .value = &j.no_bounds,
         .help = "count from the slide's corner in reading and writing,\nnot from its scanned part"},
        {.name = "json", .type = CDU_OPTION_FLAG, .value = &j.json, .help = "print JSON"},
        {0}};
    const cdu_positional positionals[] = {
        {.name = "FILE", .values = &j.files, .count = &j.count, .help = "GeoJSON (QuPath's and others'), XML of ASAP, ImageScope or Halo, any of them in gzip;\nlabel maps (PNG, TIFF)"},
        {0}};
    const cdu_usage usage = {"annotations", "shows what annotation files hold and how it maps to a study's classes; converts them",
                             "Areas are those of each annotation by itself; where two overlap, the study's order decides in training.", options, positionals};
    CDU_TRY(cdu_options_parse(&usage, argc, argv, &done, error));
    if (done) return CDU_OK;
    if (strcmp(j.to, "geojson") != 0) return cdu_fail(error, CDU_USAGE, "annotations: --to: '%s' is not known; it can be geojson", j.to);
    j.list = json_array();
    cdu_status status = show(&j, error);
    if (status == CDU_OK && j.json) {
        char *text = json_dumps(j.list, JSON_INDENT(2) | JSON_REAL_PRECISION(12));
        printf("%s\n", text ? text : "[]");
        free(text);
    }
    json_decref(j.list);
    cdu_annotations_free(&j.all);
    cdu_study_free(j.study);
    return status;
}
