/* evaluate.h: scores a model on the slides of one split: each slide is segmented whole, and every pixel counts once. */
#ifndef CDU_TRAIN_EVALUATE_H
#define CDU_TRAIN_EVALUATE_H

#include "core/segment/engine.h"
#include "core/train/metrics.h"

typedef struct {
    const cdu_study *study;
    cdu_split split;
    const cdu_model_about *about;
    const cdu_weights *weights;
    const char *masks;             /* folder of exact label maps, NAME.tif for the slide NAME.*; null: the study's annotations */
    uint32_t threads;              /* that draw the truth; 0: as many as there are processors */
} cdu_evaluation_settings;

/* What was scored alone: a slide, or all slides of a stain. */
typedef struct {
    const char *name;              /* the slide's path or the stain; belongs to the study */
    const char *stain;
    uint32_t slides;
    cdu_confusion confusion;
} cdu_evaluation_part;

typedef struct {
    cdu_confusion confusion;       /* over all slides */
    cdu_evaluation_part *slides, *stains;
    size_t slide_count, stain_count;
    uint64_t excluded;             /* pixels that the truth leaves out */
} cdu_evaluation;

/* CDU_BAD_DATA where the model's classes are not the study's (the words list both), where no slide of the split has a truth (a
 * slide without annotation is left out with a warning), and for a slide, annotation or mask that cannot be read: a score over
 * fewer slides than asked for would mislead. Free with cdu_evaluation_free. The same numbers for any number of threads. */
cdu_status cdu_evaluate(const cdu_evaluation_settings *settings, const cdu_gpu *gpu, cdu_evaluation *out, cdu_error *error);
void cdu_evaluation_free(cdu_evaluation *evaluation);

/* "train", "validation", "test". */
const char *cdu_split_name(cdu_split split);
/* CDU_BAD_DATA, listing both, where the classes differ in number, order or name (case aside). */
cdu_status cdu_evaluation_check_classes(const cdu_study *study, const cdu_model_about *about, cdu_error *error);

#endif
