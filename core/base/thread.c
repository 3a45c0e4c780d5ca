/* thread.c: a parallel loop on POSIX threads. */
#define _GNU_SOURCE
#include "core/base/thread.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <unistd.h>

enum { THREAD_LIMIT = 64 };

typedef struct {
    size_t count;
    cdu_work *work;
    void *context;
    atomic_size_t next;
    pthread_mutex_t lock;
    cdu_status status;
    size_t failed;
    cdu_error error;
} loop;

uint32_t cdu_processors(void)
{
#ifdef __linux__
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) {
        int usable = CPU_COUNT(&set);
        if (usable > 0) return (uint32_t)usable;
    }
#endif
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (uint32_t)online : 1;
}

static void *run_loop(void *argument)
{
    loop *l = argument;
    for (;;) {
        size_t i = atomic_fetch_add(&l->next, 1);
        if (i >= l->count) return NULL;
        cdu_error error = {0};
        cdu_status status = l->work(l->context, i, &error);
        if (status == CDU_OK) continue;
        pthread_mutex_lock(&l->lock);
        if (l->status == CDU_OK || i < l->failed) {
            l->status = status;
            l->failed = i;
            l->error = error;
        }
        pthread_mutex_unlock(&l->lock);
        atomic_store(&l->next, l->count);
    }
}

cdu_status cdu_parallel(uint32_t threads, size_t count, cdu_work *work, void *context, cdu_error *error)
{
    loop l = {.count = count, .work = work, .context = context, .lock = PTHREAD_MUTEX_INITIALIZER};
    if (!threads) threads = cdu_processors();
    if (threads > THREAD_LIMIT) threads = THREAD_LIMIT;
    if (threads > count) threads = (uint32_t)count;
    pthread_t handles[THREAD_LIMIT];
    uint32_t started = 0;
    while (started + 1 < threads && pthread_create(&handles[started], NULL, run_loop, &l) == 0) started++;
    run_loop(&l);
    for (uint32_t i = 0; i < started; i++) pthread_join(handles[i], NULL);
    if (l.status != CDU_OK && error) *error = l.error;
    return l.status;
}
