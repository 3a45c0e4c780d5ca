/* tile_cache.h: decoded tiles kept in memory, up to a bound. Nothing is ever put out again: an epoch asks for every tile once, in a new
 * order, so that whoever waited longest is no more likely to be asked for next. Which tiles are kept depends on timing, the bytes do not.
 * Threads: any. Internal to core/train. */
#ifndef CDU_TRAIN_TILE_CACHE_H
#define CDU_TRAIN_TILE_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cdunet/error.h"

typedef struct cdu_tile_cache cdu_tile_cache;

/* For `tiles` tiles of `words` words each. limit: bytes; 0: a quarter of the memory that is free, at most 4 GiB. */
cdu_status cdu_tile_cache_create(size_t tiles, size_t words, uint64_t limit, cdu_tile_cache **out, cdu_error *error);
void cdu_tile_cache_destroy(cdu_tile_cache *cache);
/* Copies tile `which` into `words`; false where it is not kept. */
bool cdu_tile_cache_get(cdu_tile_cache *cache, uint32_t which, uint32_t *words);
/* Keeps a copy where there is room; a lack of memory is none of the caller's business. */
void cdu_tile_cache_put(cdu_tile_cache *cache, uint32_t which, const uint32_t *words);
/* Bytes kept now; never more than cdu_tile_cache_limit. */
uint64_t cdu_tile_cache_bytes(cdu_tile_cache *cache);
uint64_t cdu_tile_cache_limit(const cdu_tile_cache *cache);

#endif
