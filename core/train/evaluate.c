/* evaluate.c: see evaluate.h. */
#include "core/train/evaluate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "cdunet/log.h"
#include "core/base/file.h"
#include "core/base/memory.h"
#include "core/base/thread.h"
#include "core/study/labels.h"
#include "core/train/boundary.h"

enum { STRIP = 32 }; /* rows of truth that one thread draws at once */

const char *cdu_split_name(cdu_split split)
{
    return split == CDU_SPLIT_TRAIN ? "train" : split == CDU_SPLIT_VALIDATION ? "validation" : "test";
}

static void add_name(char *list, size_t size, const char *name)
{
    size_t used = strlen(list);
    snprintf(list + used, size - used, "%s%s", used ? ", " : "", name);
}

cdu_status cdu_evaluation_check_classes(const cdu_study *study, const cdu_model_about *about, cdu_error *error)
{
    bool same = study->class_count == about->settings.classes;
    for (size_t c = 0; same && c < study->class_count; c++) same = !strcasecmp(study->classes[c].name, about->class_names[c]);
    if (same) return CDU_OK;
    char ours[256] = "", theirs[256] = "";
    for (size_t c = 0; c < study->class_count; c++) add_name(ours, sizeof ours, study->classes[c].name);
    for (uint32_t c = 0; c < about->settings.classes; c++) add_name(theirs, sizeof theirs, about->class_names[c]);
    return cdu_fail(error, CDU_BAD_DATA,
                    "%s has the classes %s, the model has %s; evaluate a model on a study with its classes, in their order",
                    study->path, ours, theirs);
}

/* ---- one slide ---- */

typedef struct {
    const cdu_label_source *labels;
    double scale;   /* level-0 pixels a label pixel */
    double radius;  /* of the boundary, label pixels; below 1: none */
    int64_t height; /* of the label map */
    uint32_t threads;
    cdu_evaluation_part *part;
    cdu_gallery *gallery;  /* or null */
    uint8_t *truth, *near; /* of the rows at hand */
    size_t truth_capacity, near_capacity;
    int64_t y, width;
    uint32_t rows, strip;
} comparison;

/* Draws a strip with as many rows above and below as the boundary reaches. */
static cdu_status draw_with_boundary(const comparison *c, int64_t y, uint32_t rows, uint8_t *truth, uint8_t *near, cdu_error *error)
{
    int64_t margin = (int64_t)c->radius, top = y > margin ? y - margin : 0;
    int64_t bottom = y + rows + margin < c->height ? y + rows + margin : c->height;
    uint8_t *drawn;
    CDU_TRY(cdu_allocate(&drawn, (size_t)(bottom - top) * (size_t)c->width, 1, error));
    cdu_status status = cdu_label_source_read(c->labels, c->scale, 0, top, (uint32_t)c->width, (uint32_t)(bottom - top), drawn, error);
    if (status == CDU_OK)
        status = cdu_boundary_mark(drawn, (uint32_t)c->width, (uint32_t)(bottom - top), (uint32_t)(y - top), rows,
                                   c->part->confusion.classes, c->radius, near, error);
    memcpy(truth, drawn + (size_t)(y - top) * (size_t)c->width, (size_t)rows * (size_t)c->width);
    free(drawn);
    return status;
}

static cdu_status draw_strip(void *context, size_t i, cdu_error *error)
{
    comparison *c = context;
    uint32_t first = (uint32_t)i * c->strip, rows = c->rows - first < c->strip ? c->rows - first : c->strip;
    size_t at = (size_t)first * (size_t)c->width;
    if (c->radius >= 1) return draw_with_boundary(c, c->y + first, rows, c->truth + at, c->near + at, error);
    return cdu_label_source_read(c->labels, c->scale, 0, c->y + first, (uint32_t)c->width, rows, c->truth + at, error);
}

static cdu_status compare(void *context, int64_t y, uint32_t rows, int64_t width, const uint8_t *labels, cdu_error *error)
{
    comparison *c = context;
    cdu_evaluation_part *part = c->part;
    size_t count = (size_t)width * rows;
    CDU_TRY(cdu_grow(&c->truth, &c->truth_capacity, count, 1, error));
    if (c->radius >= 1) CDU_TRY(cdu_grow(&c->near, &c->near_capacity, count, 1, error));
    c->y = y;
    c->width = width;
    c->rows = rows;
    CDU_TRY(cdu_parallel(c->threads, (rows + c->strip - 1) / c->strip, draw_strip, c, error));
    for (size_t i = 0; i < count; i++) part->excluded += c->truth[i] >= part->confusion.classes;
    cdu_confusion_add(&part->confusion, c->truth, labels, count);
    if (c->gallery) CDU_TRY(cdu_gallery_rows(c->gallery, width, rows, c->truth, labels, error));
    for (size_t i = 0; c->near && i < count; i++)
        if (c->near[i]) c->truth[i] = CDU_EXCLUDED;
    cdu_confusion_add(&part->interior, c->truth, labels, count);
    return CDU_OK;
}

static cdu_status mask_path(const char *folder, const char *slide, char path[CDU_PATH_LIMIT], cdu_error *error)
{
    const char *base = strrchr(slide, '/');
    base = base ? base + 1 : slide;
    const char *dot = strrchr(base, '.');
    char name[512];
    snprintf(name, sizeof name, "%.*s.tif", (int)(dot ? dot - base : (long)strlen(base)), base);
    return cdu_path_join(path, folder, name, error);
}

/* The mask as the slide's truth, instead of its annotation. */
static cdu_status open_slide(const cdu_evaluation_settings *s, const cdu_study_slide *which, cdu_labelled_slide *slide,
                             cdu_error *error)
{
    if (!s->masks) return cdu_labelled_slide_open(s->study, which, slide, error);
    char path[CDU_PATH_LIMIT];
    cdu_study_slide bare = *which;
    bare.annotation = NULL;
    CDU_TRY(mask_path(s->masks, which->slide, path, error));
    CDU_TRY(cdu_labelled_slide_open(s->study, &bare, slide, error));
    cdu_slide_info info = cdu_slide_info_of(slide->slide);
    cdu_status status =
        cdu_label_source_from_image(path, info.width, info.height, (uint32_t)s->study->class_count, &slide->labels, error);
    if (status == CDU_OK)
        cdu_label_source_set_size(slide->labels, info.width, info.height);
    else
        cdu_labelled_slide_close(slide);
    return status;
}

static cdu_status evaluate_slide(const cdu_evaluation_settings *s, const cdu_study_slide *which, cdu_segmenter *segmenter,
                                 const char *progress, cdu_evaluation *e, cdu_evaluation_part *part, cdu_error *error)
{
    cdu_labelled_slide slide;
    int64_t width;
    CDU_TRY(open_slide(s, which, &slide, error));
    comparison c = {.labels = slide.labels,
                    .scale = s->about->mpp / cdu_slide_info_of(slide.slide).mpp,
                    .radius = e->boundary_um / s->about->mpp,
                    .threads = s->threads,
                    .gallery = s->gallery ? &e->gallery : NULL,
                    .part = part};
    c.strip = STRIP > 2 * c.radius ? STRIP : (uint32_t)(2 * c.radius);
    cdu_slide_size_at(slide.slide, s->about->mpp, &width, &c.height);
    cdu_gallery_slide(&e->gallery, width, c.height);
    cdu_status status = cdu_segment_slide(segmenter, slide.slide, 0, compare, &c, progress, error);
    if (status == CDU_OK && s->gallery)
        status = cdu_gallery_slide_end(&e->gallery, slide.slide, s->about->mpp, part->name, part->stain, error);
    cdu_labelled_slide_close(&slide);
    free(c.truth);
    free(c.near);
    return status;
}

/* ---- all slides of a split ---- */

static cdu_evaluation_part new_part(const char *name, const char *stain, const char *case_name, uint32_t classes)
{
    return (cdu_evaluation_part){
        .name = name, .stain = stain, .case_name = case_name, .confusion.classes = classes, .interior.classes = classes};
}

/* The part of that name; made where there is none yet. */
static cdu_evaluation_part *part_of(cdu_evaluation_part *parts, size_t *count, const char *name, uint32_t classes)
{
    for (size_t i = 0; i < *count; i++)
        if (!strcmp(parts[i].name, name)) return &parts[i];
    parts[*count] = new_part(name, "", "", classes);
    return &parts[(*count)++];
}

static void add_part(cdu_evaluation_part *sum, const cdu_evaluation_part *part)
{
    sum->slides += part->slides;
    sum->excluded += part->excluded;
    cdu_confusion_merge(&sum->confusion, &part->confusion);
    cdu_confusion_merge(&sum->interior, &part->interior);
}

/* Intervals of a part from the slides that have its stain; of all of them with a null stain. */
static cdu_status find_intervals(const cdu_evaluation *e, const char *stain, cdu_evaluation_part *part, cdu_error *error)
{
    cdu_evaluation_part *cases;
    cdu_confusion *confusions;
    size_t count = 0;
    CDU_TRY(cdu_allocate(&cases, e->slide_count, sizeof *cases, error));
    for (size_t i = 0; i < e->slide_count; i++) {
        if (stain && strcmp(e->slides[i].stain, stain)) continue;
        add_part(part_of(cases, &count, e->slides[i].case_name, e->whole.confusion.classes), &e->slides[i]);
    }
    part->cases = (uint32_t)count;
    cdu_status status = cdu_allocate(&confusions, count, sizeof *confusions, error);
    for (size_t i = 0; status == CDU_OK && i < count; i++) confusions[i] = cases[i].confusion;
    if (status == CDU_OK) {
        status = cdu_bootstrap(confusions, count, e->resamples, &part->intervals, error);
        free(confusions);
    }
    free(cases);
    return status;
}

static cdu_status sum_up(cdu_evaluation *e, cdu_error *error)
{
    const uint32_t classes = e->whole.confusion.classes;
    for (size_t i = 0; i < e->slide_count; i++) {
        cdu_evaluation_part *slide = &e->slides[i];
        add_part(&e->whole, slide);
        add_part(part_of(e->stains, &e->stain_count, slide->stain, classes), slide);
        add_part(part_of(e->cases, &e->case_count, slide->case_name, classes), slide);
        CDU_TRY(cdu_bootstrap(NULL, 0, 0, &slide->intervals, error));
    }
    CDU_TRY(find_intervals(e, NULL, &e->whole, error));
    for (size_t i = 0; i < e->stain_count; i++) CDU_TRY(find_intervals(e, e->stains[i].name, &e->stains[i], error));
    for (size_t i = 0; i < e->case_count; i++) {
        e->cases[i].cases = 1;
        CDU_TRY(cdu_bootstrap(NULL, 0, 0, &e->cases[i].intervals, error));
    }
    return CDU_OK;
}

static cdu_status evaluate_split(const cdu_evaluation_settings *s, cdu_segmenter *segmenter, size_t total, cdu_evaluation *e,
                                 cdu_error *error)
{
    for (size_t i = 0; i < s->study->slide_count; i++) {
        const cdu_study_slide *which = &s->study->slides[i];
        if (which->split != s->split) continue;
        if (!s->masks && !which->annotation) {
            e->unannotated[e->unannotated_count++] = which->slide;
            continue;
        }
        const char *case_name = which->case_name && which->case_name[0] ? which->case_name : which->slide;
        cdu_evaluation_part *part = &e->slides[e->slide_count];
        *part = new_part(which->slide, which->stain ? which->stain : "", case_name, e->whole.confusion.classes);
        part->slides = part->cases = 1;
        char label[48];
        snprintf(label, sizeof label, "%s slide %zu of %zu", cdu_split_name(s->split), e->slide_count + 1, total);
        cdu_error fault = {0};
        cdu_status status = evaluate_slide(s, which, segmenter, label, e, part, &fault);
        if (status == CDU_OK) {
            e->slide_count++;
        } else if (status == CDU_BAD_DATA && s->skip_unreadable) {
            cdu_log(CDU_LOG_WARNING, "%s; it is not scored", fault.words);
            e->unreadable[e->unreadable_count++] = which->slide;
        } else {
            if (error) *error = fault;
            return status;
        }
    }
    if (!e->slide_count)
        return cdu_fail(error, CDU_BAD_DATA, "%s: no slide of the split '%s' can be read", s->study->slides_path, cdu_split_name(s->split));
    return sum_up(e, error);
}

/* How many slides there are to score; warns of those without a truth. */
static cdu_status count_slides(const cdu_evaluation_settings *s, size_t *count, cdu_error *error)
{
    *count = 0;
    for (size_t i = 0; i < s->study->slide_count; i++) {
        const cdu_study_slide *which = &s->study->slides[i];
        if (which->split != s->split) continue;
        if (s->masks || which->annotation)
            ++*count;
        else
            cdu_log(CDU_LOG_WARNING, "%s:%zu: %s has no annotation and is left out", s->study->slides_path, which->line,
                    which->slide);
    }
    if (*count) return CDU_OK;
    return cdu_fail(error, CDU_BAD_DATA, "%s: no annotated slide in the split '%s'; give another --split, or annotations",
                    s->study->slides_path, cdu_split_name(s->split));
}

/* Margins of that many rows are drawn around each strip. */
static cdu_status check_boundary(const cdu_evaluation_settings *s, cdu_error *error)
{
    enum { MOST = 512 };
    if (s->study->evaluate.boundary_um / s->about->mpp <= MOST) return CDU_OK;
    return cdu_fail(error, CDU_BAD_DATA,
                    "%s: evaluate: boundary-um: %g um are %.0f pixels at the model's %g um a pixel; at most %d are possible",
                    s->study->path, s->study->evaluate.boundary_um, s->study->evaluate.boundary_um / s->about->mpp, s->about->mpp,
                    (int)MOST);
}

cdu_status cdu_evaluate(const cdu_evaluation_settings *settings, const cdu_gpu *gpu, cdu_evaluation *out, cdu_error *error)
{
    const cdu_segment_settings as_trained = {.memory = settings->memory, .exact = settings->exact};
    const cdu_study *study = settings->study;
    cdu_segmenter *segmenter = NULL;
    size_t total;
    *out = (cdu_evaluation){.whole = new_part("", "", "", (uint32_t)study->class_count),
                            .boundary_um = study->evaluate.boundary_um,
                            .resamples = study->evaluate.bootstrap};
    CDU_TRY(cdu_evaluation_check_classes(study, settings->about, error));
    CDU_TRY(check_boundary(settings, error));
    CDU_TRY(count_slides(settings, &total, error));
    cdu_status status = cdu_allocate(&out->slides, total, sizeof *out->slides, error);
    if (status == CDU_OK) status = cdu_allocate(&out->stains, total, sizeof *out->stains, error);
    if (status == CDU_OK) status = cdu_allocate(&out->cases, total, sizeof *out->cases, error);
    if (status == CDU_OK) status = cdu_allocate(&out->unannotated, study->slide_count, sizeof *out->unannotated, error);
    if (status == CDU_OK) status = cdu_allocate(&out->unreadable, study->slide_count, sizeof *out->unreadable, error);
    cdu_gallery_begin(&out->gallery, settings->about->tile, settings->gallery, (uint32_t)study->class_count);
    if (status == CDU_OK) status = cdu_segmenter_create(gpu, settings->about, settings->weights, &as_trained, &segmenter, error);
    if (status == CDU_OK) status = evaluate_split(settings, segmenter, total, out, error);
    if (segmenter) cdu_segmenter_destroy(segmenter);
    if (status != CDU_OK) cdu_evaluation_free(out);
    return status;
}

void cdu_evaluation_free(cdu_evaluation *evaluation)
{
    free(evaluation->slides);
    free(evaluation->stains);
    free(evaluation->cases);
    free(evaluation->unannotated);
    free(evaluation->unreadable);
    cdu_gallery_free(&evaluation->gallery);
    *evaluation = (cdu_evaluation){0};
}
