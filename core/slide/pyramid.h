/* pyramid.h: writes tiled pyramidal TIFF: RGB slides (JPEG) and label maps (8-bit, palette, deflate), whose pixel size QuPath
 * and OpenSlide read. Rows come from top to bottom, so memory is bounded by rows of tiles whatever the size; BigTIFF where 4 GB
 * may be passed. The file appears under its name when finished, not before. Threads: one writer, one thread. */
#ifndef CDU_SLIDE_PYRAMID_H
#define CDU_SLIDE_PYRAMID_H

#include <stdbool.h>

#include <stdint.h>

#include "cdunet/error.h"

typedef struct cdu_pyramid cdu_pyramid;

typedef struct {
    int64_t width, height;
    double mpp;
    uint32_t tile;                 /* 0: 256 */
    bool labels;                   /* 1 byte a pixel with a palette; else R, G, B */
    uint8_t palette[256][3];       /* labels */
    int jpeg_quality;              /* RGB: 1..100, 0: 85 */
    bool jpeg_subsampling;         /* RGB: 4:2:0 instead of 4:4:4 */
    const char *description;       /* ImageDescription, or null */
} cdu_pyramid_settings;

cdu_status cdu_pyramid_begin(const char *path, const cdu_pyramid_settings *settings, cdu_pyramid **out, cdu_error *error);
/* The next `rows` rows of the full image: 3 or 1 byte a pixel, no padding. */
cdu_status cdu_pyramid_write(cdu_pyramid *pyramid, const uint8_t *pixels, uint32_t rows, cdu_error *error);
/* Writes the levels (each half of the one before: labels by the most frequent of 4, smallest value in a tie; RGB by the mean),
 * syncs and renames. Frees the pyramid in any case. */
cdu_status cdu_pyramid_finish(cdu_pyramid *pyramid, cdu_error *error);
/* Removes what was begun. */
void cdu_pyramid_discard(cdu_pyramid *pyramid);

#endif
