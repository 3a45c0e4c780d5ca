/* study.h: what the files of this folder share. Not for others. */
#ifndef CDU_STUDY_STUDY_H
#define CDU_STUDY_STUDY_H

#include "cdunet/study.h"

/* Where a slide's split comes from. */
typedef struct { bool given; } cdu_slide_origin;

/* Reads study->slides_path into study->slides; *origins has an item a slide, free with free(). */
cdu_status cdu_study_read_slides(cdu_study *study, cdu_slide_origin **origins, cdu_error *error);
/* The same from memory, without looking whether slides are there when `check_files` is false (for the fuzzer). */
cdu_status cdu_study_parse_slides(cdu_study *study, const char *text, size_t size, bool check_files, cdu_slide_origin **origins,
                                  cdu_error *error);
/* Gives every slide its split and holds out a validation part, see cdu_study_read. */
cdu_status cdu_study_assign_splits(cdu_study *study, const cdu_slide_origin *origins, cdu_error *error);

/* Fills everything but the slides; study->path is set. */
cdu_status cdu_study_parse(cdu_study *study, const char *text, size_t size, cdu_error *error);
void cdu_study_clear(cdu_study *study);

#endif
