/* annotation_summary.h: what an annotation file holds, class by class, and what a study would make of it. */
#ifndef CDU_TOOLS_ANNOTATION_SUMMARY_H
#define CDU_TOOLS_ANNOTATION_SUMMARY_H

#include "core/study/labels.h"

typedef struct {
    const char *class_name;            /* these two belong to the annotations */
    const char *known_by;              /* the word by which the study knows it; null: it does not */
    const char *maps_to;               /* class of the study, "(excluded)", "(region)", "(unknown)"; the study's */
    uint8_t color[3];
    size_t count, polygons, points;
    double area;                       /* square pixels, each annotation for itself */
} summary_row;

typedef struct {
    summary_row *rows;                 /* in the order of the file */
    size_t count;
    size_t crossed, crossed_line;      /* annotations whose rings cross each other, and where the first is */
    size_t outside, outside_line;      /* wholly outside of the slide */
    size_t unknown;                    /* annotations that the study does not know */
    double left, top, right, bottom;   /* of all annotations; left > right: there are none */
} annotation_summary;

/* `info`: of the slide, or null. Free out->rows with free(). */
cdu_status annotation_summarize(const cdu_annotations *annotations, const cdu_study *study, const cdu_slide_info *info, annotation_summary *out,
                                cdu_error *error);

#endif
