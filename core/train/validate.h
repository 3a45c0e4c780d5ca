/* validate.h: how good the weights are on the validation slides, stitched, every pixel once. Internal to core/train. */
#ifndef CDU_TRAIN_VALIDATE_H
#define CDU_TRAIN_VALIDATE_H

#include "core/segment/engine.h"
#include "core/train/metrics.h"
#include "core/train/ranks.h"

/* How many validation slides have annotations. */
size_t cdu_validation_slides(const cdu_study *study);
/* *segmenter is made at the first call, with `settings`, and given new weights at later ones; destroy it in the end. A slide that cannot be read is left
 * out with a warning. CDU_STOPPED after a stop request. Ranks take slides in turn, and meet after each round; *out is that of all of them. */
cdu_status cdu_validate(const cdu_study *study, const cdu_gpu *gpu, const cdu_model_about *about, const cdu_weights *weights,
                        const cdu_segment_settings *settings, cdu_segmenter **segmenter, const cdu_team *team, cdu_confusion *out,
                        cdu_error *error);

#endif
