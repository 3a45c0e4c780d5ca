/* validate.c: see validate.h. */
#include "core/train/validate.h"

#include <stdlib.h>

#include "cdunet/log.h"
#include "core/base/memory.h"
#include "core/base/stop.h"
#include "core/study/labels.h"

typedef struct {
    const cdu_labelled_slide *slide;
    double scale; /* level-0 pixels a label pixel */
    cdu_confusion *confusion;
    uint8_t *truth;
    size_t capacity;
} comparison;

static cdu_status compare(void *context, int64_t y, uint32_t rows, int64_t width, const uint8_t *labels, cdu_error *error)
{
    comparison *c = context;
    size_t count = (size_t)width * rows;
    if (cdu_stop_requested()) return cdu_fail(error, CDU_STOPPED, "stopped while validating; a checkpoint is written, --resume goes on");
    CDU_TRY(cdu_grow(&c->truth, &c->capacity, count, 1, error));
    CDU_TRY(cdu_label_source_read(c->slide->labels, c->scale, 0, y, (uint32_t)width, rows, c->truth, error));
    cdu_confusion_add(c->confusion, c->truth, labels, count);
    return CDU_OK;
}

static bool validates(const cdu_study_slide *slide)
{
    return slide->split == CDU_SPLIT_VALIDATION && slide->annotation;
}

size_t cdu_validation_slides(const cdu_study *study)
{
    size_t count = 0;
    for (size_t i = 0; i < study->slide_count; i++) count += validates(&study->slides[i]);
    return count;
}

/* A slide that fails half-way counts not at all. */
static cdu_status validate_slide(const cdu_study *study, const cdu_study_slide *which, const cdu_model_about *about,
                                 cdu_segmenter *segmenter, cdu_confusion *out, cdu_error *error)
{
    cdu_labelled_slide slide;
    cdu_confusion confusion = {.classes = out->classes};
    CDU_TRY(cdu_labelled_slide_open(study, which, &slide, error));
    comparison c = {&slide, about->mpp / cdu_slide_info_of(slide.slide).mpp, &confusion, NULL, 0};
    cdu_status status = cdu_segment_slide(segmenter, slide.slide, 0, compare, &c, "validation", error);
    cdu_labelled_slide_close(&slide);
    free(c.truth);
    if (status == CDU_OK) cdu_confusion_merge(out, &confusion);
    return status;
}

/* After a round of slides: a rank that was stopped stops all; one that failed ends here and lets the program end the others. */
static cdu_status meet(const cdu_team *team, cdu_status status, cdu_error *error)
{
    double stopped = status == CDU_STOPPED;
    if (team->size == 1 || (status != CDU_OK && status != CDU_STOPPED)) return status;
    CDU_TRY(cdu_team_sum(team, &stopped, 1, error));
    return stopped > 0 ? cdu_fail(error, CDU_STOPPED, "stopped while validating; a checkpoint is written, --resume goes on") : CDU_OK;
}

cdu_status cdu_validate(const cdu_study *study, const cdu_gpu *gpu, const cdu_model_about *about, const cdu_weights *weights,
                        const cdu_segment_settings *settings, cdu_segmenter **segmenter, const cdu_team *team, cdu_confusion *out,
                        cdu_error *error)
{
    *out = (cdu_confusion){.classes = about->settings.classes};
    if (*segmenter)
        CDU_TRY(cdu_segmenter_set_weights(*segmenter, weights, error));
    else
        CDU_TRY(cdu_segmenter_create(gpu, about, weights, settings, segmenter, error));
    uint32_t turn = 0;
    cdu_status status = CDU_OK;
    for (size_t i = 0; i < study->slide_count; i++) {
        cdu_error fault = {0};
        if (!validates(&study->slides[i])) continue;
        if (status == CDU_OK && turn % team->size == team->rank)
            status = validate_slide(study, &study->slides[i], about, *segmenter, out, &fault);
        if (status == CDU_BAD_DATA) {
            cdu_log(CDU_LOG_WARNING, "%s; validation goes on without this slide", fault.words);
            status = CDU_OK;
        } else if (fault.status != CDU_OK && error) {
            *error = fault;
        }
        bool round_ends = ++turn % team->size == 0;
        if (round_ends) status = meet(team, status, error);
        if (status != CDU_OK && (round_ends || status != CDU_STOPPED)) return status;
    }
    if (turn % team->size) status = meet(team, status, error);
    return status == CDU_OK ? cdu_team_sum_confusion(team, out, error) : status;
}
