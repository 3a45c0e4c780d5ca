/* progress.h: progress with an estimate of the time left: one rewritten line on a terminal, a plain line now and then elsewhere.
 * Where it goes is set once by the program (standard error); without a stream nothing is shown. Threads: one caller at a time. */
#ifndef CDU_BASE_PROGRESS_H
#define CDU_BASE_PROGRESS_H

#include <stdint.h>
#include <stdio.h>

typedef struct {
    char label[48];
    uint64_t total, done;
    double began, shown;
    double most_left; /* seconds after which the work ends in any case, kept up by the caller; 0: no such limit */
} cdu_progress_bar;

/* `stream` may be null: silent. */
void cdu_progress_set_stream(FILE *stream);
cdu_progress_bar cdu_progress_begin(const char *label, uint64_t total);
/* `note` is a short text behind the bar, or null. */
void cdu_progress_update(cdu_progress_bar *bar, uint64_t done, const char *note);
void cdu_progress_end(cdu_progress_bar *bar);
/* Clears a bar that stands on the terminal, so that a log line can be printed. */
void cdu_progress_clear(void);

/* Seconds of a monotonic clock. */
double cdu_seconds(void);

#endif
