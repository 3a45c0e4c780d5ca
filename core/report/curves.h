/* curves.h: what a run's log says over its epochs: F1 per class in the style of the paper's figures 2 and 4, and the loss, as charts, as CSV
 * and as TensorBoard events. Failures stay in the text they are put into (core/base/text.h). */
#ifndef CDU_REPORT_CURVES_H
#define CDU_REPORT_CURVES_H

#include "core/base/text.h"
#include "core/report/run.h"

enum { CDU_CURVES_TOGETHER = 4, CDU_CURVES_ALL = -1 };

/* Validation F1 of one class, a line in its own colour for each run; or, with CDU_CURVES_ALL, of all classes in their colours, the runs told
 * apart by dashes (at most CDU_CURVES_TOGETHER of them): the first dotted, the last solid. Runs must have the same classes. Over
 * epochs where all runs tell how many steps one has, else over steps. `file`: as a file of its own. */
void cdu_curves_f1(cdu_text *out, const cdu_run_record *const *runs, size_t count, int class_value, bool file);
/* Training loss; of long runs, means over 240 stretches. */
void cdu_curves_loss(cdu_text *out, const cdu_run_record *const *runs, size_t count, bool file);
/* The colour of the n-th of several runs. */
const uint8_t *cdu_curves_run_color(size_t run);

/* Rows: each epoch's mean loss, and each validation. With `head` a first line; with `name` a first column. */
void cdu_curves_csv(cdu_text *out, const cdu_run_record *run, bool head, const char *name);
/* A whole event file: loss, learning rate and seconds of each step, F1 of each validation. */
void cdu_curves_events(cdu_text *out, const cdu_run_record *run);

#endif
