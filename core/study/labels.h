/* labels.h: the study's classes as rules for rasterizing, and a slide of the study opened with its labels. */
#ifndef CDU_STUDY_LABELS_H
#define CDU_STUDY_LABELS_H

#include "cdunet/slide.h"
#include "cdunet/study.h"
#include "core/slide/raster.h"

/* Free rules->rules with free(); the patterns belong to the study. */
cdu_status cdu_study_label_rules(const cdu_study *study, cdu_label_rules *rules, cdu_error *error);

/* Moves the polygons of a file from the corner of the slide's scanned part to that of the slide, as annotations.bounds says. */
void cdu_study_add_bounds(const cdu_study *study, const cdu_slide_info *info, cdu_annotations *annotations);

typedef struct { cdu_slide *slide; cdu_label_source *labels; } cdu_labelled_slide; /* labels: null where the slide has no annotation */

/* Opens one slide of the study and its annotation (polygons, or a label-map image); bounds are added. Close with cdu_labelled_slide_close. */
cdu_status cdu_labelled_slide_open(const cdu_study *study, const cdu_study_slide *which, cdu_labelled_slide *out, cdu_error *error);
void cdu_labelled_slide_close(cdu_labelled_slide *slide);

#endif
