/* shaders.c: finds a kernel text, embedded or, with CDUNET_SHADERS=dir, on disk. Files read from disk stay in memory until the
 * program ends, as the embedded ones do. */
#include "shaders/shaders.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/base/memory.h"
#include "shaders/table.h"

enum { TEXT_LIMIT = 1 << 20 };

typedef struct loaded { struct loaded *next; char *name, *text; } loaded;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static loaded *files;

static cdu_status load(const char *folder, const char *name, const char **text, cdu_error *error)
{
    for (loaded *l = files; l; l = l->next)
        if (!strcmp(l->name, name)) return *text = l->text, CDU_OK;
    char path[CDU_PATH_LIMIT];
    CDU_TRY(cdu_path_join(path, folder, name, error));
    loaded *fresh;
    CDU_TRY(cdu_allocate(&fresh, 1, sizeof *fresh, error));
    cdu_status status = cdu_copy_text(&fresh->name, name, error);
    if (status == CDU_OK) status = cdu_file_read(path, TEXT_LIMIT, &fresh->text, NULL, error);
    if (status != CDU_OK) {
        free(fresh->name);
        free(fresh);
        return status;
    }
    fresh->next = files;
    files = fresh;
    *text = fresh->text;
    return CDU_OK;
}

cdu_status cdu_shader_text(const char *name, const char **text, cdu_error *error)
{
    const char *folder = getenv("CDUNET_SHADERS");
    if (folder && *folder) {
        pthread_mutex_lock(&lock);
        cdu_status status = load(folder, name, text, error);
        pthread_mutex_unlock(&lock);
        return status;
    }
    for (const cdu_shader_row *row = cdu_shader_table; row->name; row++)
        if (!strcmp(row->name, name)) return *text = row->text, CDU_OK;
    return cdu_fail(error, CDU_FAILED, "no kernel file %s is built in", name);
}
