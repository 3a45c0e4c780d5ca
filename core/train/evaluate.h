/* evaluate.h: scores a model on the slides of one split: each slide is segmented whole, and every pixel counts once. */
#ifndef CDU_TRAIN_EVALUATE_H
#define CDU_TRAIN_EVALUATE_H

#include "core/segment/engine.h"
#include "core/train/bootstrap.h"
#include "core/train/gallery.h"

typedef struct {
    const cdu_study *study;
    cdu_split split;
    const cdu_model_about *about;
    const cdu_weights *weights;
    const char *masks;             /* folder of exact label maps, NAME.tif for the slide NAME.*; null: the study's annotations */
    bool exact;                    /* cdu_segment_settings.exact */
    uint64_t memory;               /* cdu_segment_settings.memory */
    uint32_t gallery;              /* how many of the best and worst tiles are kept; 0: none */
    bool skip_unreadable;          /* leave out slides that cannot be read, with a warning, instead of failing */
    uint32_t threads;              /* that draw the truth; 0: as many as there are processors */
} cdu_evaluation_settings;

/* What was scored: a slide, a case, all slides of a stain, or all of them. */
typedef struct {
    const char *name;              /* the slide's path, the case, the stain; belongs to the study */
    const char *stain, *case_name; /* of a slide; of a case the stain is "" */
    uint32_t slides, cases;
    cdu_confusion confusion;       /* every pixel that has a truth, once */
    cdu_confusion interior;        /* of these, the ones off the boundaries between classes */
    uint64_t excluded;             /* pixels without a truth: drawn as excluded, or outside of a region */
    cdu_intervals intervals;       /* of `confusion`, over cases; none for a slide or a case */
} cdu_evaluation_part;

typedef struct {
    cdu_evaluation_part whole;
    cdu_evaluation_part *slides, *stains, *cases;
    size_t slide_count, stain_count, case_count;
    double boundary_um;            /* within it of another class's pixel a pixel is not in `interior`; 0: all are */
    uint32_t resamples;            /* of the bootstrap */
    const char **unannotated, **unreadable; /* slides of the split that are not scored; belong to the study */
    size_t unannotated_count, unreadable_count;
    cdu_gallery gallery;
} cdu_evaluation;

/* CDU_BAD_DATA where the model's classes are not the study's (the words list both), where no slide of the split has a truth (a
 * slide without annotation is left out with a warning), and for a slide, annotation or mask that cannot be read: a score over
 * fewer slides than asked for would mislead. Boundary and bootstrap are the study's. Free with cdu_evaluation_free. The same numbers for any number of threads. */
cdu_status cdu_evaluate(const cdu_evaluation_settings *settings, const cdu_gpu *gpu, cdu_evaluation *out, cdu_error *error);
void cdu_evaluation_free(cdu_evaluation *evaluation);

/* "train", "validation", "test". */
const char *cdu_split_name(cdu_split split);
/* CDU_BAD_DATA, listing both, where the classes differ in number, order or name (case aside). */
cdu_status cdu_evaluation_check_classes(const cdu_study *study, const cdu_model_about *about, cdu_error *error);

#endif
