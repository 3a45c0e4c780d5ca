/* loader.c: see loader.h. Positions in the endless row of tiles are handed out one by one; position k belongs to batch k / share, which lies
 * in a ring of a few batches. Threads wait while their batch is not yet in the ring, the consumer while its batch is not full. */
#include "core/train/loader.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "cdunet/log.h"
#include "core/base/memory.h"
#include "core/base/random.h"
#include "core/base/thread.h"
#include "core/train/slide_pool.h"
#include "core/train/tile_cache.h"

enum { RING = 3, THREAD_LIMIT = 64, OPEN_SLIDES = 32 };

typedef struct {
    uint32_t *pixels, *tiles, *asked;
    uint64_t epoch;
    uint32_t done;
} ring_batch;

struct cdu_loader {
    const cdu_study *study;
    const cdu_tile_index *index;
    cdu_loader_settings settings;
    cdu_slide_pool *pool;
    cdu_tile_cache *cache;
    ring_batch ring[RING];
    uint32_t *order; /* of order_epoch */
    uint64_t order_epoch;
    uint64_t steps_per_epoch;
    uint64_t next;             /* position not yet handed out */
    uint64_t opened, consumed; /* batches laid out in the ring; batches given back by the consumer */
    atomic_bool *unreadable;   /* tiles */
    bool *warned;              /* slides */
    cdu_status status;
    uint64_t failed; /* position of the failure */
    cdu_error error;
    bool quit, holding;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    pthread_t threads[THREAD_LIMIT];
    uint32_t started;
};

uint64_t cdu_loader_steps_per_epoch(size_t tiles, uint32_t batch)
{
    return (tiles + batch - 1) / batch;
}

void cdu_loader_order(uint64_t seed, uint64_t epoch, uint32_t *order, size_t count)
{
    cdu_random stream = cdu_random_stream(seed, CDU_RANDOM_ORDER, (uint32_t)epoch, 0);
    for (size_t i = 0; i < count; i++) order[i] = (uint32_t)i;
    for (size_t i = count; i > 1; i--) {
        size_t j = cdu_random_below(&stream, (uint32_t)i);
        uint32_t kept = order[i - 1];
        order[i - 1] = order[j];
        order[j] = kept;
    }
}

/* Under the lock: chooses the tiles of batch `step`. */
static void lay_out(cdu_loader *l, uint64_t step)
{
    ring_batch *batch = &l->ring[step % RING];
    uint64_t epoch = step / l->steps_per_epoch, place = step % l->steps_per_epoch * l->settings.batch + l->settings.place;
    if (epoch != l->order_epoch) cdu_loader_order(l->settings.seed, epoch, l->order, l->index->count);
    l->order_epoch = batch->epoch = epoch;
    batch->done = 0;
    for (uint32_t i = 0; i < l->settings.share; i++) batch->tiles[i] = batch->asked[i] = l->order[(place + i) % l->index->count];
}

/* rgb and labels of `area` pixels to packed pixels. */
static void pack(const uint8_t *rgb, const uint8_t *labels, size_t area, uint32_t *out)
{
    for (size_t i = 0; i < area; i++)
        out[i] = rgb[3 * i] | (uint32_t)rgb[3 * i + 1] << 8 | (uint32_t)rgb[3 * i + 2] << 16 | (uint32_t)labels[i] << 24;
}

static cdu_status read_from(const cdu_labelled_slide *slide, const cdu_tile_index *index, const cdu_tile *tile, uint8_t *rgb,
                            uint8_t *labels, cdu_error *error)
{
    uint32_t size = index->size;
    CDU_TRY(cdu_slide_read(slide->slide, index->mpp, tile->x, tile->y, size, size, rgb, error));
    if (!slide->labels) return memset(labels, CDU_EXCLUDED, (size_t)size * size), CDU_OK;
    double scale = index->mpp / cdu_slide_info_of(slide->slide).mpp;
    return cdu_label_source_read(slide->labels, scale, tile->x, tile->y, size, size, labels, error);
}

/* A damaged place puts a whole slide handle into an error state, so what fails is tried again with a fresh one: whether a tile can be
 * read is then a property of the tile, not of what other threads met before. */
static cdu_status read_tile(cdu_loader *l, uint32_t which, uint8_t *rgb, uint8_t *labels, cdu_error *error)
{
    const cdu_tile *tile = &l->index->tiles[which];
    const cdu_labelled_slide *shared;
    cdu_status status = cdu_slide_pool_acquire(l->pool, tile->slide, &shared, error);
    if (status == CDU_OK) {
        status = read_from(shared, l->index, tile, rgb, labels, error);
        cdu_slide_pool_release(l->pool, tile->slide);
    }
    if (status != CDU_BAD_DATA) return status;
    cdu_labelled_slide fresh;
    CDU_TRY(cdu_labelled_slide_open(l->study, &l->study->slides[tile->slide], &fresh, error));
    status = read_from(&fresh, l->index, tile, rgb, labels, error);
    cdu_labelled_slide_close(&fresh);
    return status;
}

static void warn_once(cdu_loader *l, uint32_t slide, const cdu_error *error)
{
    pthread_mutex_lock(&l->lock);
    bool first = !l->warned[slide];
    l->warned[slide] = true;
    pthread_mutex_unlock(&l->lock);
    if (first) cdu_log(CDU_LOG_WARNING, "%s; training goes on without its unreadable tiles", error->words);
}

/* The tile itself, or the next readable one of the index: no thread's timing decides. *which becomes the one taken. */
static cdu_status read_or_replace(cdu_loader *l, uint32_t *which, uint8_t *rgb, uint32_t *out, cdu_error *error)
{
    size_t area = (size_t)l->index->size * l->index->size;
    for (size_t tried = 0; tried < l->index->count; tried++) {
        uint32_t candidate = (uint32_t)((*which + tried) % l->index->count);
        if (atomic_load(&l->unreadable[candidate])) continue;
        bool kept = cdu_tile_cache_get(l->cache, candidate, out);
        cdu_status status = kept ? CDU_OK : read_tile(l, candidate, rgb, rgb + 3 * area, error);
        if (status == CDU_OK) *which = candidate;
        if (status == CDU_OK && !kept) {
            pack(rgb, rgb + 3 * area, area, out);
            cdu_tile_cache_put(l->cache, candidate, out);
        }
        if (status != CDU_BAD_DATA) return status;
        atomic_store(&l->unreadable[candidate], true);
        warn_once(l, l->index->tiles[candidate].slide, error);
    }
    return cdu_fail(error, CDU_BAD_DATA, "none of the %zu training tiles can be read", l->index->count);
}

static void note_failure(cdu_loader *l, uint64_t position, cdu_status status, const cdu_error *error)
{
    if (l->status == CDU_OK || position < l->failed) {
        l->status = status;
        l->failed = position;
        l->error = *error;
    }
}

static void *work(void *argument)
{
    cdu_loader *l = argument;
    size_t area = (size_t)l->index->size * l->index->size;
    uint8_t *rgb = NULL;
    cdu_error error = {0};
    cdu_status status = cdu_allocate(&rgb, 4 * area, 1, &error);
    pthread_mutex_lock(&l->lock);
    while (!l->quit && l->status == CDU_OK) {
        uint64_t position = l->next++, step = position / l->settings.share, place = position % l->settings.share;
        while (!l->quit && step >= l->consumed + RING) pthread_cond_wait(&l->changed, &l->lock);
        if (l->quit) break;
        for (; l->opened <= step; l->opened++) lay_out(l, l->opened);
        ring_batch *batch = &l->ring[step % RING];
        uint32_t which = batch->tiles[place];
        pthread_mutex_unlock(&l->lock);
        if (status == CDU_OK) status = read_or_replace(l, &which, rgb, batch->pixels + place * area, &error);
        pthread_mutex_lock(&l->lock);
        batch->tiles[place] = which;
        if (status != CDU_OK)
            note_failure(l, position, status, &error);
        else
            batch->done++;
        pthread_cond_broadcast(&l->changed);
    }
    pthread_mutex_unlock(&l->lock);
    free(rgb);
    return NULL;
}

static cdu_status start(cdu_loader *l, cdu_error *error)
{
    uint32_t wanted = l->settings.threads ? l->settings.threads : cdu_processors();
    if (wanted > THREAD_LIMIT) wanted = THREAD_LIMIT;
    while (l->started < wanted && pthread_create(&l->threads[l->started], NULL, work, l) == 0) l->started++;
    return l->started ? CDU_OK : cdu_fail(error, CDU_TRY_AGAIN, "no thread could be started to read tiles");
}

static cdu_status allocate_all(cdu_loader *l, cdu_error *error)
{
    size_t area = (size_t)l->index->size * l->index->size;
    for (int i = 0; i < RING; i++) {
        CDU_TRY(cdu_allocate(&l->ring[i].pixels, l->settings.share * area, sizeof(uint32_t), error));
        CDU_TRY(cdu_allocate(&l->ring[i].tiles, l->settings.share, sizeof(uint32_t), error));
        CDU_TRY(cdu_allocate(&l->ring[i].asked, l->settings.share, sizeof(uint32_t), error));
    }
    CDU_TRY(cdu_allocate(&l->order, l->index->count, sizeof *l->order, error));
    CDU_TRY(cdu_allocate(&l->unreadable, l->index->count, sizeof *l->unreadable, error));
    CDU_TRY(cdu_allocate(&l->warned, l->study->slide_count, sizeof *l->warned, error));
    CDU_TRY(cdu_tile_cache_create(l->index->count, area, l->settings.cache, &l->cache, error));
    return cdu_slide_pool_create(l->study, OPEN_SLIDES, &l->pool, error);
}

cdu_status cdu_loader_create(const cdu_study *study, const cdu_tile_index *index, const cdu_loader_settings *settings,
                             cdu_loader **out, cdu_error *error)
{
    cdu_loader *l;
    *out = NULL;
    if (!settings->batch || !index->count)
        return cdu_fail(error, CDU_USAGE, "a batch of %u of %zu tiles", settings->batch, index->count);
    CDU_TRY(cdu_allocate(&l, 1, sizeof *l, error));
    l->study = study;
    l->index = index;
    l->settings = *settings;
    if (!l->settings.share) l->settings.share = settings->batch;
    l->steps_per_epoch = cdu_loader_steps_per_epoch(index->count, settings->batch);
    l->order_epoch = UINT64_MAX;
    l->opened = l->consumed = settings->first;
    l->next = settings->first * l->settings.share;
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->changed, NULL);
    cdu_status status = allocate_all(l, error);
    if (status == CDU_OK) status = start(l, error);
    if (status != CDU_OK) return cdu_loader_destroy(l), status;
    *out = l;
    return CDU_OK;
}

void cdu_loader_destroy(cdu_loader *l)
{
    if (!l) return;
    pthread_mutex_lock(&l->lock);
    l->quit = true;
    pthread_cond_broadcast(&l->changed);
    pthread_mutex_unlock(&l->lock);
    for (uint32_t i = 0; i < l->started; i++) pthread_join(l->threads[i], NULL);
    for (int i = 0; i < RING; i++) {
        free(l->ring[i].pixels);
        free(l->ring[i].tiles);
        free(l->ring[i].asked);
    }
    cdu_slide_pool_destroy(l->pool);
    cdu_tile_cache_destroy(l->cache);
    pthread_cond_destroy(&l->changed);
    pthread_mutex_destroy(&l->lock);
    free(l->order);
    free(l->unreadable);
    free(l->warned);
    free(l);
}

cdu_status cdu_loader_next(cdu_loader *l, cdu_batch *out, cdu_error *error)
{
    cdu_status status = CDU_OK;
    pthread_mutex_lock(&l->lock);
    if (l->holding) l->consumed++;
    l->holding = true;
    pthread_cond_broadcast(&l->changed);
    uint64_t step = l->consumed;
    ring_batch *batch = &l->ring[step % RING];
    while (l->status == CDU_OK && (l->opened <= step || batch->done < l->settings.share)) pthread_cond_wait(&l->changed, &l->lock);
    if (l->opened <= step || batch->done < l->settings.share) {
        status = l->status;
        if (error) *error = l->error;
    }
    *out = (cdu_batch){batch->pixels, batch->tiles, batch->asked, step, batch->epoch};
    pthread_mutex_unlock(&l->lock);
    return status;
}

cdu_loader_counts cdu_loader_count(cdu_loader *l)
{
    cdu_loader_counts counts = {.cached_bytes = cdu_tile_cache_bytes(l->cache), .cache_limit = cdu_tile_cache_limit(l->cache)};
    for (size_t i = 0; i < l->index->count; i++) counts.unreadable_tiles += atomic_load(&l->unreadable[i]);
    pthread_mutex_lock(&l->lock);
    for (size_t i = 0; i < l->study->slide_count; i++) counts.unreadable_slides += l->warned[i];
    pthread_mutex_unlock(&l->lock);
    return counts;
}
