/* label_image.h: a label map from a PNG or TIFF picture, kept as runs of equal pixels row by row, which takes little memory whatever
 * its size. Private to core/slide. */
#ifndef CDU_SLIDE_LABEL_IMAGE_H
#define CDU_SLIDE_LABEL_IMAGE_H

#include <stdint.h>

#include "cdunet/error.h"

typedef struct cdu_label_image cdu_label_image;

/* See cdu_label_source_from_image. With a slide of 0 x 0 pixels the picture is as large as the slide. */
cdu_status cdu_label_image_open(const char *path, int64_t slide_width, int64_t slide_height, uint32_t classes, cdu_label_image **out,
                                cdu_error *error);
/* Its size, level-0 pixels a pixel of its rows, and how many pixels have each value. */
void cdu_label_image_look(const cdu_label_image *image, int64_t *width, int64_t *height, double *scale, uint64_t counts[256]);
void cdu_label_image_close(cdu_label_image *image);
/* The picture's value at each pixel's centre; 255 outside. Parameters as of cdu_label_source_read. */
void cdu_label_image_read(const cdu_label_image *image, double scale, int64_t x, int64_t y, uint32_t width, uint32_t height,
                          uint8_t *labels);

#endif
