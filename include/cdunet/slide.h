/* slide.h: whole slide images and plain pictures as one thing: pixels in micrometres. Opens what OpenSlide opens, and PNG, JPEG and
 * TIFF pictures. Sizes and places are in pixels of level 0 (full resolution) or, where a function says so, in pixels at a given
 * resolution in micrometres per pixel (mpp). */
#ifndef CDUNET_SLIDE_H
#define CDUNET_SLIDE_H

#include <stdbool.h>
#include <stdint.h>

#include "cdunet/error.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct cdu_slide cdu_slide;

typedef struct {
    int64_t width, height;                 /* level 0 */
    double mpp;                            /* micrometres per pixel of level 0 (mean of x and y) */
    uint32_t levels;
    int64_t bounds_x, bounds_y;            /* openslide.bounds-*: where the scanned part begins; 0 where unknown */
    int64_t bounds_width, bounds_height;   /* width, height where unknown */
    char format[48];                       /* "aperio", "generic-tiff", "png", ... */
} cdu_slide_info;

/* Opens a slide. `mpp` > 0 overrules what the file says; with 0 a file that does not say is CDU_BAD_DATA, and the words tell how to
 * give it. Missing, corrupt, hostile or unsupported files: CDU_BAD_DATA with the file's name. Close with cdu_slide_close. */
cdu_status cdu_slide_open(const char *path, double mpp, cdu_slide **out, cdu_error *error);
void cdu_slide_close(cdu_slide *slide);
cdu_slide_info cdu_slide_info_of(const cdu_slide *slide);
const char *cdu_slide_path(const cdu_slide *slide);
/* Size of the whole slide at a resolution: ceil(width * own mpp / mpp). */
void cdu_slide_size_at(const cdu_slide *slide, double mpp, int64_t *width, int64_t *height);

/* The region of width x height pixels at `mpp` with its top left corner at (x, y) in pixels at `mpp`, as R, G, B bytes, row after
 * row, 3 * width * height. Read from the best level, reduced by an area filter (exact box for any ratio), enlarged bilinearly.
 * Transparent pixels and what lies outside the slide are white. The same bytes whatever the region's cut: a pixel's value depends
 * on its place alone. Threads: may be called for one slide from several threads. A corrupt tile is CDU_BAD_DATA. */
cdu_status cdu_slide_read(cdu_slide *slide, double mpp, int64_t x, int64_t y, uint32_t width, uint32_t height, uint8_t *rgb,
                          cdu_error *error);

/* Where tissue may be, found from a small overview: cells of `cell` pixels at `mpp`, columns x rows of them, one byte a cell, row
 * after row: 0 where all is glass, else 1. Cautious: pale tissue counts as tissue. *cells is freed with free(). */
cdu_status cdu_slide_find_tissue(cdu_slide *slide, double mpp, uint32_t cell, uint8_t **cells, uint32_t *columns, uint32_t *rows,
                                 cdu_error *error);

#ifdef __cplusplus
}
#endif
#endif
