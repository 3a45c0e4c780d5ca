/* checkpoint.h: all that a run needs to go on to the same bytes: weights, running statistics, momentum, step, the best so far. Random
 * numbers come from (seed, epoch, tile), so the step is their position. A checkpoint is a model file with more in it: segmenting with
 * one works. checkpoint.safetensors is the last, checkpoint-previous.safetensors the one before. */
#ifndef CDU_TRAIN_CHECKPOINT_H
#define CDU_TRAIN_CHECKPOINT_H

#include <stdbool.h>

#include "core/model/model.h"

enum { CDU_RUN_SETTINGS = 1024, CDU_RUN_SHARES = 4096 };

typedef struct {
    cdu_model_about about;
    cdu_weights weights;
    float *momentum; /* the flat arena */
    uint64_t momentum_count;
    uint64_t step;           /* steps done */
    uint64_t validated_step; /* 0: not yet */
    uint64_t best_step;
    double best;                     /* macro F1; negative: none yet */
    uint32_t ranks;                  /* 0 and 1: one process */
    char shares[CDU_RUN_SHARES];     /* with several ranks: "2,1": tiles of each in a step */
    char settings[CDU_RUN_SETTINGS]; /* "key=value key=value": what must be the same to go on */
} cdu_checkpoint;

/* CDU_CANNOT_WRITE leaves the checkpoint that was there. CDU_FAILED where a weight is not finite: such a state is not worth keeping. */
cdu_status cdu_checkpoint_write(const char *folder, const cdu_checkpoint *checkpoint, cdu_error *error);
/* The last one, or with a warning the one before where the last is damaged. *found is false where there is none at all. CDU_BAD_DATA
 * where all are damaged. Free with cdu_checkpoint_free. */
cdu_status cdu_checkpoint_read(const char *folder, cdu_checkpoint *out, bool *found, cdu_error *error);
void cdu_checkpoint_free(cdu_checkpoint *checkpoint);
/* CDU_USAGE, naming the first key that differs, where `now` is not what the checkpoint was begun with. */
cdu_status cdu_checkpoint_match(const cdu_checkpoint *checkpoint, const char *now, cdu_error *error);

#endif
