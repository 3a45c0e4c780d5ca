/* tile_cache.c: see tile_cache.h. A tile's place is written once, from null to its copy, so that readers need no lock. */
#include "core/train/tile_cache.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"

struct cdu_tile_cache {
    size_t tiles, words;
    uint64_t limit;
    atomic_uint_fast64_t bytes;
    _Atomic(uint32_t *) *kept;
};

static uint64_t default_limit(void)
{
    uint64_t most = (uint64_t)4 << 30, quarter = cdu_memory_free() / 4;
    return quarter < most ? quarter : most;
}

cdu_status cdu_tile_cache_create(size_t tiles, size_t words, uint64_t limit, cdu_tile_cache **out, cdu_error *error)
{
    cdu_tile_cache *cache;
    CDU_TRY(cdu_allocate(&cache, 1, sizeof *cache, error));
    if (cdu_allocate(&cache->kept, tiles, sizeof *cache->kept, error) != CDU_OK) return free(cache), CDU_TRY_AGAIN;
    cache->tiles = tiles;
    cache->words = words;
    cache->limit = limit ? limit : default_limit();
    *out = cache;
    return CDU_OK;
}

void cdu_tile_cache_destroy(cdu_tile_cache *cache)
{
    if (!cache) return;
    for (size_t i = 0; i < cache->tiles; i++) free(atomic_load(&cache->kept[i]));
    free(cache->kept);
    free(cache);
}

bool cdu_tile_cache_get(cdu_tile_cache *cache, uint32_t which, uint32_t *words)
{
    const uint32_t *kept = atomic_load_explicit(&cache->kept[which], memory_order_acquire);
    if (kept) memcpy(words, kept, cache->words * sizeof *words);
    return kept != NULL;
}

/* False where the bound does not allow it. */
static bool reserve(cdu_tile_cache *cache, uint64_t size)
{
    uint_fast64_t now = atomic_load(&cache->bytes);
    do
        if (now + size > cache->limit) return false;
    while (!atomic_compare_exchange_weak(&cache->bytes, &now, now + size));
    return true;
}

void cdu_tile_cache_put(cdu_tile_cache *cache, uint32_t which, const uint32_t *words)
{
    uint64_t size = cache->words * sizeof *words;
    uint32_t *copy = NULL, *nothing = NULL;
    if (atomic_load(&cache->kept[which]) || !reserve(cache, size)) return;
    if (cdu_allocate(&copy, cache->words, sizeof *copy, NULL) == CDU_OK) {
        memcpy(copy, words, size);
        if (atomic_compare_exchange_strong(&cache->kept[which], &nothing, copy)) return;
    }
    atomic_fetch_sub(&cache->bytes, size);
    free(copy);
}

uint64_t cdu_tile_cache_bytes(cdu_tile_cache *cache)
{
    return atomic_load(&cache->bytes);
}

uint64_t cdu_tile_cache_limit(const cdu_tile_cache *cache)
{
    return cache->limit;
}
