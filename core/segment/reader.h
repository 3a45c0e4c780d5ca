/* reader.h: tiles of a slide read ahead in the background while the device works on those before. Private to core/segment. */
#ifndef CDU_SEGMENT_READER_H
#define CDU_SEGMENT_READER_H

#include "cdunet/slide.h"

typedef struct {
    int64_t x, y;
} cdu_tile_place; /* top left corner, pixels at the resolution of reading */
typedef struct cdu_tile_reader cdu_tile_reader;

/* Starts reading `count` tiles of tile x tile pixels in batches of `batch`, in order. `places` is kept. */
cdu_status cdu_tile_reader_begin(cdu_slide *slide, double mpp, uint32_t tile, uint32_t batch, const cdu_tile_place *places,
                                 size_t count, cdu_tile_reader **out, cdu_error *error);
/* Waits for the next batch: pixels as cdu_tile_input takes them, class 255; what lies behind the last tile of all is white. They
 * stay until the next call. */
cdu_status cdu_tile_reader_next(cdu_tile_reader *reader, const uint32_t **pixels, cdu_error *error);
/* Stops reading and frees. */
void cdu_tile_reader_end(cdu_tile_reader *reader);

#endif
