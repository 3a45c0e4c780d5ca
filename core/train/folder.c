/* folder.c: see folder.h. */
#include "core/train/folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "core/base/file.h"

static cdu_status refuse_old_run(const char *folder, cdu_error *error)
{
    static const char *const names[] = {"checkpoint.safetensors", "checkpoint-previous.safetensors", "model.safetensors",
                                        "log.csv"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[CDU_PATH_LIMIT];
        CDU_TRY(cdu_path_join(path, folder, names[i], error));
        if (cdu_file_exists(path))
            return cdu_fail(error, CDU_USAGE, "%s: a run lies here already (%s): go on with it by --resume, or name another folder",
                            folder, names[i]);
    }
    return CDU_OK;
}

/* What a killed run had begun to write: it would never be removed. Called with the lock; others may write reports here, so only our own. */
static void clear_begun(const char *folder)
{
    static const char *const names[] = {"checkpoint", "model.safetensors", "log.csv", "study.yaml", "command.txt", "run.json"};
    DIR *open_folder = opendir(folder);
    if (!open_folder) return;
    for (struct dirent *entry; (entry = readdir(open_folder));) {
        char path[CDU_PATH_LIMIT];
        bool ours = !strcmp(entry->d_name, "checkpoint-next.safetensors");
        for (size_t i = 0; i < sizeof names / sizeof *names; i++)
            ours = ours || (!strncmp(entry->d_name, names[i], strlen(names[i])) && strstr(entry->d_name, ".part-"));
        if (ours && cdu_path_join(path, folder, entry->d_name, NULL) == CDU_OK) unlink(path);
    }
    closedir(open_folder);
}

cdu_status cdu_run_folder_lock(const char *folder, bool resume, int *lock, cdu_error *error)
{
    char path[CDU_PATH_LIMIT];
    CDU_TRY(cdu_folder_create(folder, error));
    CDU_TRY(cdu_path_join(path, folder, "lock", error));
    *lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (*lock < 0) return cdu_fail(error, CDU_CANNOT_WRITE, "%s: cannot be written: %s", path, strerror(errno));
    cdu_status status = CDU_OK;
    if (flock(*lock, LOCK_EX | LOCK_NB) != 0)
        status = cdu_fail(error, CDU_CANNOT_WRITE,
                          errno == EWOULDBLOCK ? "%s: another process trains here: wait for it, or name another folder"
                                               : "%s: its lock cannot be taken",
                          folder);
    else if (!resume)
        status = refuse_old_run(folder, error);
    if (status == CDU_OK) return clear_begun(folder), CDU_OK;
    cdu_run_folder_unlock(*lock);
    *lock = -1;
    return status;
}

void cdu_run_folder_unlock(int lock)
{
    if (lock >= 0) close(lock);
}

cdu_status cdu_run_folder_describe(const char *folder, const cdu_study *study, const char *command, cdu_error *error)
{
    char path[CDU_PATH_LIMIT];
    char *slides = realpath(study->slides_path, NULL);
    CDU_TRY(cdu_path_join(path, folder, "study.yaml", error));
    cdu_status status = cdu_study_write(study, path, slides ? slides : study->slides_path, error);
    free(slides);
    CDU_TRY(status);
    if (!command) return CDU_OK;
    CDU_TRY(cdu_path_join(path, folder, "command.txt", error));
    return cdu_file_write(path, command, strlen(command), error);
}

cdu_status cdu_run_folder_complete(const char *folder, bool complete, cdu_error *error)
{
    static const char words[] = "this run came to its end\n";
    char path[CDU_PATH_LIMIT];
    CDU_TRY(cdu_path_join(path, folder, "complete", error));
    if (complete) return cdu_file_write(path, words, sizeof words - 1, error);
    if (unlink(path) == 0 || errno == ENOENT) return CDU_OK;
    return cdu_fail(error, CDU_CANNOT_WRITE, "%s: cannot be removed: %s", path, strerror(errno));
}
