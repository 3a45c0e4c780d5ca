/* saver.c: see saver.h. A thread a checkpoint: they are rare. */
#include "core/train/saver.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "core/base/memory.h"

struct cdu_saver {
    char *folder;
    cdu_checkpoint checkpoint; /* a view */
    pthread_t thread;
    bool started;
    atomic_bool busy;
    cdu_status status;
    cdu_error error;
};

cdu_status cdu_saver_create(const char *folder, cdu_saver **out, cdu_error *error)
{
    cdu_saver *saver;
    CDU_TRY(cdu_allocate(&saver, 1, sizeof *saver, error));
    if (cdu_copy_text(&saver->folder, folder, error) != CDU_OK) return free(saver), CDU_TRY_AGAIN;
    *out = saver;
    return CDU_OK;
}

void cdu_saver_destroy(cdu_saver *saver)
{
    if (!saver) return;
    cdu_saver_wait(saver, NULL);
    free(saver->folder);
    free(saver);
}

static void *work(void *argument)
{
    cdu_saver *saver = argument;
    saver->status = cdu_checkpoint_write(saver->folder, &saver->checkpoint, &saver->error);
    atomic_store(&saver->busy, false);
    return NULL;
}

cdu_status cdu_saver_wait(cdu_saver *saver, cdu_error *error)
{
    if (!saver->started) return CDU_OK;
    pthread_join(saver->thread, NULL);
    saver->started = false;
    if (saver->status != CDU_OK && error) *error = saver->error;
    return saver->status;
}

cdu_status cdu_saver_begin(cdu_saver *saver, const cdu_checkpoint *checkpoint, cdu_error *error)
{
    CDU_TRY(cdu_saver_wait(saver, error));
    saver->checkpoint = *checkpoint;
    saver->error = (cdu_error){0};
    atomic_store(&saver->busy, true);
    saver->started = pthread_create(&saver->thread, NULL, work, saver) == 0;
    if (saver->started) return CDU_OK;
    work(saver); /* no thread to be had: training waits */
    if (saver->status != CDU_OK && error) *error = saver->error;
    return saver->status;
}

bool cdu_saver_busy(cdu_saver *saver)
{
    return atomic_load(&saver->busy);
}
