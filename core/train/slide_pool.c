/* slide_pool.c: see slide_pool.h. A slide is opened under its own lock, so that others can be used meanwhile. */
#include "core/train/slide_pool.h"

#include <pthread.h>
#include <stdlib.h>

#include "core/base/memory.h"

typedef struct {
    pthread_mutex_t opening;
    cdu_labelled_slide open;
    uint32_t users;
    uint64_t used; /* pool's clock */
    bool is_open;
} slot;

struct cdu_slide_pool {
    const cdu_study *study;
    slot *slots;
    uint32_t limit, open;
    uint64_t clock;
    pthread_mutex_t lock; /* all of slots but for `opening` */
};

cdu_status cdu_slide_pool_create(const cdu_study *study, uint32_t limit, cdu_slide_pool **out, cdu_error *error)
{
    cdu_slide_pool *pool;
    CDU_TRY(cdu_allocate(&pool, 1, sizeof *pool, error));
    if (cdu_allocate(&pool->slots, study->slide_count, sizeof *pool->slots, error) != CDU_OK) return free(pool), CDU_TRY_AGAIN;
    pool->study = study;
    pool->limit = limit;
    pthread_mutex_init(&pool->lock, NULL);
    for (size_t i = 0; i < study->slide_count; i++) pthread_mutex_init(&pool->slots[i].opening, NULL);
    *out = pool;
    return CDU_OK;
}

void cdu_slide_pool_destroy(cdu_slide_pool *pool)
{
    if (!pool) return;
    for (size_t i = 0; i < pool->study->slide_count; i++) {
        if (pool->slots[i].is_open) cdu_labelled_slide_close(&pool->slots[i].open);
        pthread_mutex_destroy(&pool->slots[i].opening);
    }
    pthread_mutex_destroy(&pool->lock);
    free(pool->slots);
    free(pool);
}

/* Under the lock: closes unused slides, the longest unused first, until one more may be opened. */
static void make_room(cdu_slide_pool *pool)
{
    while (pool->open >= pool->limit) {
        slot *oldest = NULL;
        for (size_t i = 0; i < pool->study->slide_count; i++) {
            slot *s = &pool->slots[i];
            if (s->is_open && !s->users && (!oldest || s->used < oldest->used)) oldest = s;
        }
        if (!oldest) return;
        cdu_labelled_slide_close(&oldest->open);
        oldest->is_open = false;
        pool->open--;
    }
}

cdu_status cdu_slide_pool_acquire(cdu_slide_pool *pool, uint32_t slide, const cdu_labelled_slide **out, cdu_error *error)
{
    slot *s = &pool->slots[slide];
    cdu_status status = CDU_OK;
    pthread_mutex_lock(&s->opening);
    pthread_mutex_lock(&pool->lock);
    s->users++;
    s->used = ++pool->clock;
    bool is_open = s->is_open;
    if (!is_open) make_room(pool);
    pthread_mutex_unlock(&pool->lock);
    if (!is_open) status = cdu_labelled_slide_open(pool->study, &pool->study->slides[slide], &s->open, error);
    pthread_mutex_lock(&pool->lock);
    if (status != CDU_OK) {
        s->users--;
    } else if (!is_open) {
        s->is_open = true;
        pool->open++;
    }
    pthread_mutex_unlock(&pool->lock);
    pthread_mutex_unlock(&s->opening);
    *out = &s->open;
    return status;
}

void cdu_slide_pool_release(cdu_slide_pool *pool, uint32_t slide)
{
    pthread_mutex_lock(&pool->lock);
    pool->slots[slide].users--;
    pthread_mutex_unlock(&pool->lock);
}
