/* check_slide.c: see check_slide.h. Areas are counted on pixels of the study's tiles, or on coarser ones where a slide is large: they are
 * for people. */
#include "tools/check_slide.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/study/labels.h"
#include "tools/annotation_summary.h"

enum { BAND = 64 };
#define PIXELS_LIMIT 4e6               /* that areas are counted on */
static const double TINT = 0.25, OUTLINE = 0.95, PALE = 0.7;

static cdu_status count_areas(const cdu_study *study, const cdu_labelled_slide *opened, checked_slide *out, cdu_error *error)
{
    double mpp = study->tiles.mpp;
    int64_t width, height;
    uint64_t counts[256] = {0};
    uint8_t *labels;
    for (;; mpp *= 2) {
        cdu_slide_size_at(opened->slide, mpp, &width, &height);
        if ((double)width * (double)height <= PIXELS_LIMIT) break;
    }
    CDU_TRY(cdu_allocate(&labels, (size_t)width * BAND, 1, error));
    cdu_status status = CDU_OK;
    for (int64_t y = 0; status == CDU_OK && y < height; y += BAND) {
        uint32_t rows = height - y < BAND ? (uint32_t)(height - y) : BAND;
        status = cdu_label_source_read(opened->labels, mpp / out->info.mpp, 0, y, (uint32_t)width, rows, labels, error);
        for (size_t i = 0; status == CDU_OK && i < (size_t)width * rows; i++) counts[labels[i]]++;
    }
    free(labels);
    for (size_t c = 0; c < study->class_count; c++) out->area[c] = (double)counts[c] * mpp * mpp / 1e6;
    out->excluded = (double)counts[CDU_EXCLUDED] * mpp * mpp / 1e6;
    return status;
}

static cdu_status look_at_annotation(const cdu_study *study, const char *path, checked_slide *out, cdu_error *error)
{
    cdu_annotations found;
    annotation_summary summary;
    out->format = "label map";
    if (cdu_is_label_map(path)) return CDU_OK;
    CDU_TRY(cdu_annotations_read(path, &found, error));
    out->format = found.format;
    cdu_study_add_bounds(study, &out->info, &found);
    cdu_status status = annotation_summarize(&found, study, &out->info, &summary, error);
    for (size_t i = 0; status == CDU_OK && i < summary.count; i++) out->annotations += summary.rows[i].count;
    for (size_t i = 0; i < found.ignored_count; i++) out->left_out += found.ignored[i].count;
    out->outside = summary.outside;
    out->outside_line = summary.outside_line;
    out->crossed = summary.crossed;
    out->crossed_line = summary.crossed_line;
    free(summary.rows);
    cdu_annotations_free(&found);
    return status;
}

static bool meets_another(const uint8_t *labels, const checked_slide *of, uint32_t x, uint32_t y)
{
    const uint8_t *at = labels + (size_t)y * of->width + x;
    return (x && at[-1] != *at) || (x + 1 < of->width && at[1] != *at) || (y && *(at - of->width) != *at) ||
           (y + 1 < of->height && at[of->width] != *at);
}

/* A class is drawn by its outline and a tint; the background stays as it is, what is excluded becomes pale. */
static void draw_labels(const cdu_study *study, const uint8_t *labels, checked_slide *out)
{
    static const uint8_t white[3] = {255, 255, 255};
    for (uint32_t y = 0; y < out->height; y++)
        for (uint32_t x = 0; x < out->width; x++) {
            const size_t at = (size_t)y * out->width + x;
            const uint8_t label = labels[at], *color = label < study->class_count ? study->classes[label].color : white;
            double share = label == 0 ? 0 : label == CDU_EXCLUDED ? PALE : meets_another(labels, out, x, y) ? OUTLINE : TINT;
            for (size_t c = 0; c < 3; c++) out->rgb[3 * at + c] = (uint8_t)lround((1 - share) * out->rgb[3 * at + c] + share * color[c]);
        }
}

static cdu_status draw_picture(const cdu_study *study, const cdu_labelled_slide *opened, uint32_t panel, checked_slide *out, cdu_error *error)
{
    int64_t width, height, longest = out->info.width > out->info.height ? out->info.width : out->info.height;
    double mpp = out->info.mpp * (double)longest / panel;
    cdu_slide_size_at(opened->slide, mpp, &width, &height);
    out->width = (uint32_t)width;
    out->height = (uint32_t)height;
    CDU_TRY(cdu_allocate(&out->rgb, (size_t)width * (size_t)height, 3, error));
    CDU_TRY(cdu_slide_read(opened->slide, mpp, 0, 0, out->width, out->height, out->rgb, error));
    if (!opened->labels) return CDU_OK;
    uint8_t *labels;
    CDU_TRY(cdu_allocate(&labels, (size_t)width * (size_t)height, 1, error));
    cdu_status status = cdu_label_source_read(opened->labels, mpp / out->info.mpp, 0, 0, out->width, out->height, labels, error);
    if (status == CDU_OK) draw_labels(study, labels, out);
    free(labels);
    return status;
}

static cdu_status look(const cdu_study *study, size_t slide, uint32_t panel, checked_slide *out, cdu_error *error)
{
    const cdu_study_slide *which = &study->slides[slide];
    cdu_labelled_slide opened;
    CDU_TRY(cdu_labelled_slide_open(study, which, &opened, error));
    out->info = cdu_slide_info_of(opened.slide);
    cdu_status status = draw_picture(study, &opened, panel, out, error);
    if (status == CDU_OK && opened.labels) status = count_areas(study, &opened, out, error);
    if (status == CDU_OK && opened.labels) status = look_at_annotation(study, which->annotation, out, error);
    cdu_labelled_slide_close(&opened);
    return status;
}

cdu_status check_slide(const cdu_study *study, size_t slide, uint32_t panel, checked_slide *out, cdu_error *error)
{
    *out = (checked_slide){0};
    cdu_error reason = {0};
    cdu_status status = look(study, slide, panel, out, &reason);
    if (status == CDU_TRY_AGAIN) return *error = reason, status;
    out->usable = status == CDU_OK;
    if (!out->usable) snprintf(out->fault, sizeof out->fault, "%s", reason.words);
    return CDU_OK;
}
