/* rate.h: the learning rate by the paper's rule: proportional to the batch. Internal to core/train. */
#ifndef CDU_TRAIN_RATE_H
#define CDU_TRAIN_RATE_H

#include "cdunet/study.h"

/* learning-rate is meant for learning-rate-batch tiles; a step with more tiles is larger in proportion. */
static inline double cdu_learning_rate(const cdu_study *study)
{
    return study->train.learning_rate * study->train.batch / study->train.learning_rate_batch;
}

#endif
