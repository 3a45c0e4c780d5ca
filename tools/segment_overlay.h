/* segment_overlay.h: a small picture of a slide with its classes: colours blended over the slide, outlines between classes.
 * Labels are taken in rows, as the engine gives them; the slide is read once more, coarsely, at the end. */
#ifndef CDU_TOOLS_SEGMENT_OVERLAY_H
#define CDU_TOOLS_SEGMENT_OVERLAY_H

#include "cdunet/slide.h"

enum { CDU_OVERLAY_SIDE = 2000 };

typedef struct {
    int64_t width, height;    /* of the label map */
    double mpp;               /* of the label map */
    uint32_t classes, factor; /* label pixels of an overlay pixel's side */
    const uint8_t (*colors)[3];
    uint32_t columns, rows; /* of the overlay */
    uint8_t *labels;        /* most frequent class of each overlay pixel; the smallest in a tie */
    uint32_t *counts;       /* of the overlay row that is being filled: columns x classes */
    int64_t taken;          /* label rows */
} cdu_overlay;

/* `colors` is kept. Free with cdu_overlay_end. */
cdu_status cdu_overlay_begin(cdu_overlay *overlay, int64_t width, int64_t height, double mpp, uint32_t classes,
                             const uint8_t (*colors)[3], cdu_error *error);
void cdu_overlay_take(cdu_overlay *overlay, const uint8_t *labels, uint32_t rows);
/* Class 0, the background, stays as the slide is. */
cdu_status cdu_overlay_write(const cdu_overlay *overlay, cdu_slide *slide, const char *path, cdu_error *error);
void cdu_overlay_end(cdu_overlay *overlay);

#endif
