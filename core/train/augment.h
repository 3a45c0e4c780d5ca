/* augment.h: what augmentation does to a tile, drawn on the host from (seed, epoch, tile) and the study's ranges, for the device to do
 * (core/ops/tile_augment.c). Threads: any. */
#ifndef CDU_TRAIN_AUGMENT_H
#define CDU_TRAIN_AUGMENT_H

#include "cdunet/study.h"
#include "core/ops/ops.h"

enum { CDU_AUGMENT_BOXES = 4 };

/* A tile's words. The matrix leads from an output pixel to the place in the tile that it is taken from, both from the middle and in
 * halves of pixels: 16384 is 1, over `side`. `side` x `side` places are taken for a pixel: 1, or more where a tile is shrunk to less
 * than 4/5. Colours: 4096 is 1, rows for red, green, blue. Noise: at most so many 256ths of a level, up or down. A box covers
 * columns [x & 65535, x >> 16), rows the same. */
typedef struct {
    int32_t matrix[4];
    uint32_t side;
    int32_t color[9];
    uint32_t noise;
    uint32_t key[2], epoch, tile; /* of the noise: CDU_RANDOM_NOISE */
    struct { uint32_t x, y, color; } box[CDU_AUGMENT_BOXES];
    uint32_t spare;
} cdu_augment;
_Static_assert(sizeof(cdu_augment) == CDU_AUGMENT_WORDS * 4, "the table's rows are words");

/* Whether study->augment asks for anything. */
bool cdu_augment_wanted(const cdu_study *study);
/* Draws for one tile (its place in the index) in an epoch. Each part has numbers of its own, so that one part's range does not change
 * what another part does. Uniform draws: flips by a coin each; hue: turned about the grey axis by up to `hue` of a whole turn;
 * brightness: times 1 +- `brightness`; scale: times 1 +- `scale`; noise: an amplitude of up to `noise` of the whole range, then for each
 * pixel a shift of red, green and blue alike; occlusion: 1 to 4 boxes of one colour each that cover up to the share `occlusion` of the tile, where
 * they do not overlap; rotate and shear: by up to so many degrees either way. */
void cdu_augment_draw(const cdu_study *study, uint64_t seed, uint64_t epoch, uint32_t tile, uint32_t size, cdu_augment *out);

#endif
