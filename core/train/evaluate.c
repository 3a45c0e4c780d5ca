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
    double scale; /* level-0 pixels a label pixel */
    cdu_confusion *confusion;
    uint64_t excluded;
    uint32_t threads;
    uint8_t *truth;
    size_t capacity;
    int64_t y, width; /* of the rows at hand */
    uint32_t rows;
} comparison;

static cdu_status draw_strip(void *context, size_t i, cdu_error *error)
{
    comparison *c = context;
    uint32_t first = (uint32_t)i * STRIP, rows = c->rows - first < STRIP ? c->rows - first : STRIP;
    return cdu_label_source_read(c->labels, c->scale, 0, c->y + first, (uint32_t)c->width, rows,
                                 c->truth + (size_t)first * (size_t)c->width, error);
}

static cdu_status compare(void *context, int64_t y, uint32_t rows, int64_t width, const uint8_t *labels, cdu_error *error)
{
    comparison *c = context;
    size_t count = (size_t)width * rows;
    CDU_TRY(cdu_grow(&c->truth, &c->capacity, count, 1, error));
    c->y = y;
    c->width = width;
    c->rows = rows;
    CDU_TRY(cdu_parallel(c->threads, (rows + STRIP - 1) / STRIP, draw_strip, c, error));
    for (size_t i = 0; i < count; i++) c->excluded += c->truth[i] >= c->confusion->classes;
    cdu_confusion_add(c->confusion, c->truth, labels, count);
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
                                 const char *progress, cdu_evaluation *out, cdu_evaluation_part *part, cdu_error *error)
{
    cdu_labelled_slide slide;
    CDU_TRY(open_slide(s, which, &slide, error));
    comparison c = {.labels = slide.labels,
                    .scale = s->about->mpp / cdu_slide_info_of(slide.slide).mpp,
                    .confusion = &part->confusion,
                    .threads = s->threads};
    cdu_status status = cdu_segment_slide(segmenter, slide.slide, 0, compare, &c, progress, error);
    cdu_labelled_slide_close(&slide);
    free(c.truth);
    out->excluded += c.excluded;
    return status;
}

/* ---- all slides of a split ---- */

static cdu_evaluation_part *stain_part(cdu_evaluation *e, const char *stain)
{
    for (size_t i = 0; i < e->stain_count; i++) {
        if (!strcmp(e->stains[i].name, stain)) return &e->stains[i];
    }
    cdu_evaluation_part *part = &e->stains[e->stain_count++];
    *part = (cdu_evaluation_part){.name = stain, .stain = stain, .confusion.classes = e->confusion.classes};
    return part;
}

static cdu_status evaluate_split(const cdu_evaluation_settings *s, cdu_segmenter *segmenter, size_t total, cdu_evaluation *e,
                                 cdu_error *error)
{
    for (size_t i = 0; i < s->study->slide_count; i++) {
        const cdu_study_slide *which = &s->study->slides[i];
        if (which->split != s->split || (!s->masks && !which->annotation)) continue;
        const char *stain = which->stain ? which->stain : "";
        cdu_evaluation_part *part = &e->slides[e->slide_count++];
        *part = (cdu_evaluation_part){.name = which->slide, .stain = stain, .slides = 1, .confusion.classes = e->confusion.classes};
        char label[48];
        snprintf(label, sizeof label, "%s slide %zu of %zu", cdu_split_name(s->split), e->slide_count, total);
        CDU_TRY(evaluate_slide(s, which, segmenter, label, e, part, error));
        cdu_evaluation_part *of_stain = stain_part(e, stain);
        of_stain->slides++;
        cdu_confusion_merge(&of_stain->confusion, &part->confusion);
        cdu_confusion_merge(&e->confusion, &part->confusion);
    }
    return CDU_OK;
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

cdu_status cdu_evaluate(const cdu_evaluation_settings *settings, const cdu_gpu *gpu, cdu_evaluation *out, cdu_error *error)
{
    static const cdu_segment_settings as_trained;
    cdu_segmenter *segmenter = NULL;
    size_t total;
    *out = (cdu_evaluation){.confusion.classes = (uint32_t)settings->study->class_count};
    CDU_TRY(cdu_evaluation_check_classes(settings->study, settings->about, error));
    CDU_TRY(count_slides(settings, &total, error));
    cdu_status status = cdu_allocate(&out->slides, total, sizeof *out->slides, error);
    if (status == CDU_OK) status = cdu_allocate(&out->stains, total, sizeof *out->stains, error);
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
    *evaluation = (cdu_evaluation){0};
}
