/* saver.h: writes checkpoints on a thread of its own, so that training goes on meanwhile. One at a time. Internal to core/train. */
#ifndef CDU_TRAIN_SAVER_H
#define CDU_TRAIN_SAVER_H

#include "core/train/checkpoint.h"

typedef struct cdu_saver cdu_saver;

cdu_status cdu_saver_create(const char *folder, cdu_saver **out, cdu_error *error);
/* Waits for the write that is under way, whose failure nobody hears of any more. Null is fine. */
void cdu_saver_destroy(cdu_saver *saver);

/* Begins to write; waits for the checkpoint before it and returns that one's failure, if it failed. What `checkpoint` points to must
 * stay as it is until cdu_saver_wait. */
cdu_status cdu_saver_begin(cdu_saver *saver, const cdu_checkpoint *checkpoint, cdu_error *error);
/* Until nothing is being written. As cdu_checkpoint_write. */
cdu_status cdu_saver_wait(cdu_saver *saver, cdu_error *error);
bool cdu_saver_busy(cdu_saver *saver);

#endif
