/* run.h: what a run folder holds, read for reports and checked, so that whoever draws it need not ask again: log.csv, run.json, study.yaml,
 * command.txt, evaluation-SPLIT.json. Any of them may be missing, but not all. No slide and no device is opened. */
#ifndef CDU_REPORT_RUN_H
#define CDU_REPORT_RUN_H

#include <jansson.h>

#include "core/train/log_table.h"

enum { CDU_RUN_SPLITS = 3 };

typedef struct {
    char *folder, *name;           /* name: the folder's own */
    uint32_t classes;
    char *class_names[CDU_CLASS_LIMIT];
    uint8_t colors[CDU_CLASS_LIMIT][3];
    bool has_log;
    cdu_log_table log;
    uint64_t steps_per_epoch;      /* 0: unknown */
    json_t *facts;                 /* run.json; null: not there */
    json_t *scores[CDU_RUN_SPLITS];/* evaluations of validation, test, train, in this order; null: not there */
    char *study, *command;         /* texts; null: not there */
} cdu_run_record;

/* CDU_BAD_DATA: a folder that is not there or holds no run, a damaged file (named, with line or key), files whose classes differ. Free with
 * cdu_run_record_free. */
cdu_status cdu_run_record_read(const char *folder, cdu_run_record *out, cdu_error *error);
void cdu_run_record_free(cdu_run_record *run);
/* "validation", "test", "train". */
const char *cdu_run_split_name(int split);
/* CDU_BAD_DATA, naming both lists, where the runs' classes differ. */
cdu_status cdu_run_record_same_classes(const cdu_run_record *a, const cdu_run_record *b, cdu_error *error);
/* Checks an evaluation's JSON; `path` is for words. */
cdu_status cdu_run_check_scores(const char *path, const json_t *scores, cdu_error *error);

#endif
