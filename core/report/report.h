/* report.h: what a run came to, as a page for people (report.html) and as files for programs. */
#ifndef CDU_REPORT_REPORT_H
#define CDU_REPORT_REPORT_H

#include "cdunet/error.h"

/* Reads the run folder (core/report/run.h) and writes into it report.html, and where there is a log curves.csv, curves-f1.svg,
 * curves-loss.svg and tensorboard/events.out.tfevents.cdunet, each whole or not at all. A run that goes on may be reported at any time.
 * CDU_BAD_DATA for a folder without a run and for damaged files, CDU_CANNOT_WRITE. The same folder gives the same bytes. */
cdu_status cdu_report_write(const char *folder, cdu_error *error);

/* One page about several runs with the same classes: `path` (.html), beside it the same name with -f1.svg, -loss.svg and .csv. */
cdu_status cdu_report_compare(const char *const *folders, size_t count, const char *path, cdu_error *error);

#endif
