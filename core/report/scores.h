/* scores.h: an evaluation as files: JSON with everything, CSV with a row for each class of each group. docs/reports.md explains the keys. */
#ifndef CDU_REPORT_SCORES_H
#define CDU_REPORT_SCORES_H

#include "core/train/evaluate.h"

/* What the scores are of; texts belong to the caller. */
typedef struct {
    const cdu_study *study;
    const char *model, *split, *truth, *device; /* truth: "annotations" or a folder of masks */
    double mpp;
} cdu_scores_about;

/* For a run folder: evaluation-SPLIT.json and .csv, and the gallery's tiles as PNGs in evaluation-SPLIT-tiles/. */
cdu_status cdu_scores_write_folder(const char *folder, const cdu_scores_about *about, const cdu_evaluation *evaluation, cdu_error *error);

/* CDU_CANNOT_WRITE. Each file is written whole or not at all. */
cdu_status cdu_scores_write_json(const char *path, const cdu_scores_about *about, const cdu_evaluation *evaluation, cdu_error *error);
cdu_status cdu_scores_write_csv(const char *path, const cdu_scores_about *about, const cdu_evaluation *evaluation, cdu_error *error);

#endif
