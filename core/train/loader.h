/* loader.h: batches of training tiles, read from the slides by background threads into a bounded queue. Which tiles a batch holds
 * follows from (seed, epoch) alone, so any number of threads gives the same bytes, and any number of ranks shares the same batches. Nothing is dumped to disk. Augmentation is not done here but
 * on the device (core/train/augment.h). */
#ifndef CDU_TRAIN_LOADER_H
#define CDU_TRAIN_LOADER_H

#include "core/study/tile_index.h"

typedef struct cdu_loader cdu_loader;

typedef struct {
    uint64_t seed;
    uint32_t batch;
    uint32_t share, place; /* one of several ranks: tiles [place, place + share) of each batch alone; share 0: all */
    uint32_t threads; /* 0: as many as processors */
    uint64_t cache; /* bytes of decoded tiles to keep; 0: a quarter of the free memory, at most 4 GiB */
    uint64_t first; /* step at which to begin: 0, or where a run is resumed */
} cdu_loader_settings;

typedef struct {
    const uint32_t
        *pixels; /* share x size x size of R | G << 8 | B << 16 | class << 24 (255: ignored), as cdu_tile_input takes them */
    const uint32_t *tiles; /* share indices into the tile index */
    const uint32_t *asked; /* the same, but where a tile cannot be read: the tile, not its replacement. Augmentation goes by this */
    uint64_t step, epoch;
} cdu_batch;

/* An epoch visits every tile once, in an order of its own; where the last batch of an epoch is short, it is filled from the epoch's
 * beginning, so that shapes stay fixed. */
uint64_t cdu_loader_steps_per_epoch(size_t tiles, uint32_t batch);

/* Study and index must outlive the loader. */
cdu_status cdu_loader_create(const cdu_study *study, const cdu_tile_index *index, const cdu_loader_settings *settings,
                             cdu_loader **out, cdu_error *error);
void cdu_loader_destroy(cdu_loader *loader);
/* The next batch, in order; the loader's memory, valid until the next call. A tile that cannot be read (a corrupt slide) is replaced
 * by the next readable one of the index, with one warning a slide; CDU_BAD_DATA where no tile can be read. One caller. */
cdu_status cdu_loader_next(cdu_loader *loader, cdu_batch *out, cdu_error *error);

/* So far: tiles that could not be read, and slides that have such tiles; bytes of tiles that are kept, and at most. */
typedef struct { uint64_t unreadable_tiles, unreadable_slides, cached_bytes, cache_limit; } cdu_loader_counts;
cdu_loader_counts cdu_loader_count(cdu_loader *loader);

/* The order of an epoch's tiles into order[count]. */
void cdu_loader_order(uint64_t seed, uint64_t epoch, uint32_t *order, size_t count);

#endif
