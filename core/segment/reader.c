/* reader.c: one thread that fills two groups of batches in turn, each by cdu_parallel over its tiles: a group has a tile for every
 * processor. Results do not depend on timing: batches are handed over in order, and so is the first failure. */
#include "core/segment/reader.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/base/thread.h"

enum { SLOTS = 2, GROUP_PIXELS = 16 << 20 };

typedef struct {
    uint32_t *pixels;
    cdu_status status;
    cdu_error error;
} slot;

struct cdu_tile_reader {
    cdu_slide *slide;
    double mpp;
    uint32_t tile, batch, group; /* group: tiles, a multiple of batch */
    const cdu_tile_place *places;
    size_t count, groups;
    uint8_t *rgb; /* group x tile x tile x 3 */
    slot slot[SLOTS];
    pthread_t thread;
    bool running;
    pthread_mutex_t lock;
    pthread_cond_t change;
    size_t filled, taken; /* groups; at most SLOTS apart, `taken` counts the one in use as not taken */
    size_t next;          /* tile that the next batch begins with */
    bool stop;
};

typedef struct {
    cdu_tile_reader *reader;
    size_t first;
    uint32_t *pixels;
} fill;

static cdu_status read_tile(void *context, size_t i, cdu_error *error)
{
    fill *f = context;
    cdu_tile_reader *r = f->reader;
    const size_t pixels = (size_t)r->tile * r->tile;
    const cdu_tile_place *place = &r->places[f->first + i];
    uint8_t *rgb = r->rgb + i * pixels * 3;
    uint32_t *out = f->pixels + i * pixels;
    CDU_TRY(cdu_slide_read(r->slide, r->mpp, place->x, place->y, r->tile, r->tile, rgb, error));
    for (size_t k = 0; k < pixels; k++)
        out[k] = (uint32_t)rgb[k * 3] | (uint32_t)rgb[k * 3 + 1] << 8 | (uint32_t)rgb[k * 3 + 2] << 16 | 0xff000000u;
    return CDU_OK;
}

static void *read_all(void *context)
{
    cdu_tile_reader *r = context;
    for (size_t b = 0; b < r->groups; b++) {
        pthread_mutex_lock(&r->lock);
        while (!r->stop && b >= r->taken + SLOTS) pthread_cond_wait(&r->change, &r->lock);
        bool stop = r->stop;
        pthread_mutex_unlock(&r->lock);
        if (stop) break;
        slot *s = &r->slot[b % SLOTS];
        fill f = {r, b * r->group, s->pixels};
        size_t count = r->count - f.first < r->group ? r->count - f.first : r->group;
        memset(s->pixels, 255, (size_t)r->group * r->tile * r->tile * sizeof *s->pixels);
        s->status = cdu_parallel(0, count, read_tile, &f, &s->error);
        pthread_mutex_lock(&r->lock);
        r->filled = b + 1;
        stop = s->status != CDU_OK;
        pthread_cond_broadcast(&r->change);
        pthread_mutex_unlock(&r->lock);
        if (stop) break;
    }
    return NULL;
}

static cdu_status allocate(cdu_tile_reader *r, cdu_error *error)
{
    const size_t pixels = (size_t)r->group * r->tile * r->tile;
    CDU_TRY(cdu_allocate(&r->rgb, pixels, 3, error));
    for (int i = 0; i < SLOTS; i++) CDU_TRY(cdu_allocate(&r->slot[i].pixels, pixels, sizeof *r->slot[i].pixels, error));
    return CDU_OK;
}

cdu_status cdu_tile_reader_begin(cdu_slide *slide, double mpp, uint32_t tile, uint32_t batch, const cdu_tile_place *places,
                                 size_t count, cdu_tile_reader **out, cdu_error *error)
{
    cdu_tile_reader *r;
    CDU_TRY(cdu_allocate(&r, 1, sizeof *r, error));
    r->slide = slide;
    r->mpp = mpp;
    r->tile = tile;
    r->batch = batch;
    r->places = places;
    r->count = count;
    const uint64_t most = GROUP_PIXELS / ((uint64_t)tile * tile);
    uint64_t group = cdu_processors() < most ? cdu_processors() : most;
    if (group > count) group = count;
    r->group = batch * (uint32_t)(group > batch ? (group + batch - 1) / batch : 1);
    r->groups = (count + r->group - 1) / r->group;
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->change, NULL);
    cdu_status status = allocate(r, error);
    if (status == CDU_OK && pthread_create(&r->thread, NULL, read_all, r) != 0)
        status = cdu_fail(error, CDU_TRY_AGAIN, "a thread for reading tiles could not be started");
    r->running = status == CDU_OK;
    if (status != CDU_OK)
        cdu_tile_reader_end(r);
    else
        *out = r;
    return status;
}

cdu_status cdu_tile_reader_next(cdu_tile_reader *r, const uint32_t **pixels, cdu_error *error)
{
    const size_t group = r->next / r->group;
    pthread_mutex_lock(&r->lock);
    if (group != r->taken) {
        r->taken = group;
        pthread_cond_broadcast(&r->change);
    }
    while (r->filled <= group) pthread_cond_wait(&r->change, &r->lock);
    slot *s = &r->slot[group % SLOTS];
    pthread_mutex_unlock(&r->lock);
    *pixels = s->pixels + r->next % r->group * r->tile * r->tile;
    r->next += r->batch;
    if (s->status != CDU_OK && error) *error = s->error;
    return s->status;
}

void cdu_tile_reader_end(cdu_tile_reader *r)
{
    if (!r) return;
    if (r->running) {
        pthread_mutex_lock(&r->lock);
        r->stop = true;
        pthread_cond_broadcast(&r->change);
        pthread_mutex_unlock(&r->lock);
        pthread_join(r->thread, NULL);
    }
    pthread_mutex_destroy(&r->lock);
    pthread_cond_destroy(&r->change);
    for (int i = 0; i < SLOTS; i++) free(r->slot[i].pixels);
    free(r->rgb);
    free(r);
}
