/* pace.h: which rank has fallen behind: the time that each takes for its tiles, step by step, against what it took when its share was set,
 * and against how that has changed for the others: a run that as a whole becomes slower has nobody behind. Internal to core/train. One thread. */
#ifndef CDU_TRAIN_PACE_H
#define CDU_TRAIN_PACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cdunet/error.h"

enum { CDU_PACE_STEPS = 8, CDU_PACE_SKIPPED = 2, CDU_PACE_FIRST = 5, CDU_PACE_WINDOWS = 3 };

typedef enum { CDU_PACE_SAME, CDU_PACE_BEHIND, CDU_PACE_AGAIN } cdu_pace_news;

typedef struct {
    double first[CDU_PACE_FIRST]; /* seconds of a step in the first windows: the mean */
    double usual;           /* their median */
    double window;          /* seconds of this window's steps */
    double ratio;           /* of the last window: how many times slower than it was, against the others */
    uint32_t slow;          /* windows in a row that were too slow */
    bool behind;
    cdu_pace_news news;     /* of the last step */
} cdu_pace_rank;

typedef struct {
    cdu_pace_rank *ranks;
    double *others;         /* for medians */
    uint32_t size, steps, skipped, windows; /* steps of this window; windows so far, up to CDU_PACE_FIRST */
    double seconds;         /* of this window's steps: the slowest rank's */
    bool known;             /* what is usual */
} cdu_pace;

#define CDU_PACE_SECONDS 1.0    /* a window is at least that long, and CDU_PACE_STEPS steps */
#define CDU_PACE_SLOW 1.5       /* a rank is behind after CDU_PACE_WINDOWS windows in a row beyond that, */
#define CDU_PACE_FINE 1.2       /* until a window is below this */

/* The lower one of two in the middle; sorts the values, of which there is at least one. */
double cdu_median(double *values, size_t count);

cdu_status cdu_pace_begin(cdu_pace *pace, uint32_t size, cdu_error *error);
void cdu_pace_end(cdu_pace *pace);
/* One step: seconds[i * stride] is what rank i needed for its tiles, without waiting for others. True where a window ended: ranks[].news then tell
 * who has fallen behind or keeps up again. */
bool cdu_pace_step(cdu_pace *pace, const double *seconds, size_t stride);
/* The rank that is furthest behind; -1: none is. */
int cdu_pace_behind(const cdu_pace *pace);
/* The rank whose usual step takes longest, and how many times as long as that of the others (their median). */
uint32_t cdu_pace_slowest(const cdu_pace *pace, double *times);

#endif
