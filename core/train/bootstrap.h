/* bootstrap.h: how far scores would move with other cases: the percentile bootstrap (Efron and Tibshirani 1993, chapter 13) over
 * cases, the unit that is independent: slides of one case share anatomy, pixels of one slide share everything. */
#ifndef CDU_TRAIN_BOOTSTRAP_H
#define CDU_TRAIN_BOOTSTRAP_H

#include "core/train/metrics.h"

/* NaN: no interval. */
typedef struct { double low, high; } cdu_interval;
/* By score and class; behind the last class the mean over the classes. */
typedef struct { cdu_interval of[CDU_SCORES][CDU_CLASS_LIMIT + 1]; } cdu_intervals;

/* 95 % intervals of all scores. `resamples` times as many cases as there are, drawn with replacement, are added up and scored; the interval
 * runs from the 2.5th to the 97.5th percentile (linear between neighbours). Draws come from Philox with a fixed seed: the same
 * cases in the same order give the same numbers everywhere. A resample in which a class has no score does not count for it. With fewer
 * than two cases, or no resamples, there is no interval. */
cdu_status cdu_bootstrap(const cdu_confusion *cases, size_t count, uint32_t resamples, cdu_intervals *out, cdu_error *error);

#endif
