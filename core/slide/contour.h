/* contour.h: label maps to polygons with holes, row by row, so that memory is bounded by the polygons and not by the map. */
#ifndef CDU_SLIDE_CONTOUR_H
#define CDU_SLIDE_CONTOUR_H

#include "core/slide/annotation.h"

typedef struct cdu_contour cdu_contour;

typedef struct {
    int64_t width, height;             /* of the label map */
    double scale;                      /* level-0 pixels a map pixel; polygons come out in level-0 pixels */
    uint32_t classes;                  /* values 0 .. classes-1; others are no class */
    uint32_t skip;                     /* bit c set: no polygons of class c (background) */
    const char *const *names;          /* of the classes, kept until the end */
    const uint8_t (*colors)[3];
    double smallest;                   /* areas and holes under this many map pixels are left out */
    double tolerance;                  /* Douglas-Peucker, in map pixels; 0: every corner */
} cdu_contour_settings;

cdu_status cdu_contour_begin(const cdu_contour_settings *settings, cdu_contour **out, cdu_error *error);
cdu_status cdu_contour_write(cdu_contour *contour, const uint8_t *labels, uint32_t rows, cdu_error *error);
/* One annotation a connected area (4-neighbours), holes inside. Frees the contour in any case. */
cdu_status cdu_contour_finish(cdu_contour *contour, cdu_annotations *out, cdu_error *error);
void cdu_contour_discard(cdu_contour *contour);

#endif
