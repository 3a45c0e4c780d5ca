/* blend.h: overlapping tiles of probabilities to rows of labels. Private to core/segment.
 *
 * Tiles of `tile` pixels stand every `tile - halo` pixels from the slide's top left corner, so neighbours share `halo` pixels.
 * Across these the weight of one falls as that of the other rises, smoothly, and their sum is one; the outermost quarter, which
 * the network's zero padding touches most, has no weight at all. At the slide's own edges a tile has its full weight. */
#ifndef CDU_SEGMENT_BLEND_H
#define CDU_SEGMENT_BLEND_H

#include <stdbool.h>
#include <stdint.h>

#include "cdunet/error.h"

enum {
    CDU_GLASS_CELL = 64
}; /* pixels of a side of the cells in which glass is looked for: no tile size, so labels do not depend on it */

typedef struct {
    int64_t width, height;
    uint32_t tile, halo, classes;
    uint32_t columns, rows; /* of tiles */
    const uint8_t *cells;   /* 0: glass; null: no glass known */
    uint32_t cell_columns, cell_rows;
    float *ramp;     /* halo weights, rising */
    float *beside;   /* tile x halo x classes: weighted sums that the tile to the left left over */
    uint16_t *above; /* halo x width x classes: those of the row above, of 65535 */
    uint8_t *labels; /* the rows that are finished: tile x width */
} cdu_blend;

/* `cells` is kept. Free with cdu_blend_end, after a failure too. */
cdu_status cdu_blend_begin(cdu_blend *blend, int64_t width, int64_t height, uint32_t tile, uint32_t halo, uint32_t classes,
                           const uint8_t *cells, uint32_t cell_columns, uint32_t cell_rows, cdu_error *error);
void cdu_blend_end(cdu_blend *blend);
/* Whether the tile touches anything but glass. */
bool cdu_blend_needed(const cdu_blend *blend, uint32_t row, uint32_t column);
/* Every tile of a row, from left to right, rows from top to bottom. Probabilities (tile, tile, classes), or null for a tile that
 * is not needed. */
void cdu_blend_tile(cdu_blend *blend, uint32_t row, uint32_t column, const float *probabilities);
/* How many rows of labels are finished once the last tile of a row was given, from row * (tile - halo) on. */
uint32_t cdu_blend_finished(const cdu_blend *blend, uint32_t row);

#endif
