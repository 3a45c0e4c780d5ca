/* log.h: log.csv of a run: a row each step (loss, rate, seconds, and in how many of these the device had nothing to do), and one after each validation (F1 of each class). */
#ifndef CDU_TRAIN_LOG_H
#define CDU_TRAIN_LOG_H

#include "cdunet/study.h"
#include "core/train/metrics.h"

typedef struct cdu_train_log cdu_train_log;

/* Begins the file, or goes on with it: rows beyond `step` are dropped, since these steps will be done again; so is the validation at
 * `step` unless `validated`. With `several` ranks three more columns, in a file that begins or has them: seconds of waiting for
 * the network, and for the slowest rank; the rank that has fallen behind. */
cdu_status cdu_train_log_open(const char *folder, const cdu_study *study, bool resume, uint64_t step, bool validated, bool several,
                              cdu_train_log **out, cdu_error *error);
void cdu_train_log_close(cdu_train_log *log);
/* behind: a rank, or -1 for none. CDU_CANNOT_WRITE with a full disk. */
cdu_status cdu_train_log_step(cdu_train_log *log, uint64_t step, uint64_t epoch, double loss, double rate, double seconds,
                              double waits, double network, double slowest, int behind, cdu_error *error);
cdu_status cdu_train_log_validation(cdu_train_log *log, uint64_t step, uint64_t epoch, const cdu_confusion *confusion,
                                    double seconds, cdu_error *error);

#endif
