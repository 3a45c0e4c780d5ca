/* log_table.h: log.csv read back: the one place that knows its columns but for log.c, which writes them. Columns are found by their heads,
 * so a log with more of them is read too. */
#ifndef CDU_TRAIN_LOG_TABLE_H
#define CDU_TRAIN_LOG_TABLE_H

#include "cdunet/study.h"

typedef struct { uint64_t step, epoch; double loss, rate, seconds, waits; } cdu_log_step; /* epoch: the one it is part of, from 1; waits: seconds of the device, NaN in logs without them */
typedef struct {
    uint64_t step, epoch;                    /* done by then */
    double seconds, macro, f1[CDU_CLASS_LIMIT]; /* NaN: the class had no score */
} cdu_log_validation;

typedef struct {
    uint32_t classes;
    char *class_names[CDU_CLASS_LIMIT];
    cdu_log_step *steps;
    size_t step_count;
    cdu_log_validation *validations;
    size_t validation_count;
    uint64_t steps_per_epoch;                /* 0: the log does not go far enough to tell */
    bool has_waits;
    bool unfinished;                         /* the last row was being written */
} cdu_log_table;

/* CDU_BAD_DATA, naming file, line and column, for a file that is no log or is damaged. A last row without its line end is left out: the run
 * may be going on. Free with cdu_log_table_free. */
cdu_status cdu_log_table_read(const char *path, cdu_log_table *out, cdu_error *error);
/* The same from text; `path` is for words. */
cdu_status cdu_log_table_parse(const char *path, const char *text, size_t size, cdu_log_table *out, cdu_error *error);
void cdu_log_table_free(cdu_log_table *table);
/* Index of the validation with the highest macro F1, the first of equal ones; SIZE_MAX where there is none. */
size_t cdu_log_table_best(const cdu_log_table *table);

#endif
