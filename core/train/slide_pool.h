/* slide_pool.h: the study's slides, opened when first asked for and kept open up to a limit. Internal to core/train. */
#ifndef CDU_TRAIN_SLIDE_POOL_H
#define CDU_TRAIN_SLIDE_POOL_H

#include "core/study/labels.h"

typedef struct cdu_slide_pool cdu_slide_pool;

cdu_status cdu_slide_pool_create(const cdu_study *study, uint32_t limit, cdu_slide_pool **out, cdu_error *error);
void cdu_slide_pool_destroy(cdu_slide_pool *pool);
/* Threads: any. What was acquired stays open until it is released. */
cdu_status cdu_slide_pool_acquire(cdu_slide_pool *pool, uint32_t slide, const cdu_labelled_slide **out, cdu_error *error);
void cdu_slide_pool_release(cdu_slide_pool *pool, uint32_t slide);

#endif
