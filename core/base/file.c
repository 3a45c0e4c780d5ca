/* file.c: whole-file reading and atomic writing on POSIX. */
#include "core/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/memory.h"

enum { PENDING_LIMIT = 64 };

static atomic_uint_fast64_t operations, failing;
static pthread_mutex_t pending_lock = PTHREAD_MUTEX_INITIALIZER;
static char pending[PENDING_LIMIT][CDU_PATH_LIMIT];

static int planted_fault(void)
{
    uint_fast64_t now = atomic_fetch_add(&operations, 1) + 1;
    if (now != atomic_load(&failing)) return 0;
    errno = ENOSPC;
    return 1;
}

void cdu_file_fail_at(uint64_t n)
{
    atomic_store(&failing, n ? atomic_load(&operations) + n : 0);
}

cdu_status cdu_file_read(const char *path, uint64_t limit, char **out, size_t *size, cdu_error *error)
{
    *out = NULL;
    int handle = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a named pipe without a writer would wait for ever */
    FILE *file = handle >= 0 ? fdopen(handle, "rb") : NULL;
    if (!file) {
        int reason = errno;
        if (handle >= 0) close(handle);
        return cdu_fail(error, CDU_BAD_DATA, "%s: cannot be opened: %s", path, strerror(reason));
    }
    struct stat about;
    if (fstat(fileno(file), &about) != 0 || !S_ISREG(about.st_mode)) {
        fclose(file);
        return cdu_fail(error, CDU_BAD_DATA, "%s: is not a regular file", path);
    }
    if ((uint64_t)about.st_size > limit) {
        fclose(file);
        return cdu_fail(error, CDU_BAD_DATA, "%s: %lld bytes, more than the %llu that such a file may have", path,
                        (long long)about.st_size, (unsigned long long)limit);
    }
    size_t length = (size_t)about.st_size;
    cdu_status status = cdu_allocate(out, length + 1, 1, error);
    if (status == CDU_OK && fread(*out, 1, length, file) != length) {
        status = cdu_fail(error, CDU_BAD_DATA, "%s: could not be read to its end: %s", path, strerror(errno));
        free(*out);
        *out = NULL;
    }
    fclose(file);
    if (status == CDU_OK && size) *size = length;
    return status;
}

cdu_status cdu_file_begin(const char *path, char temporary[CDU_PATH_LIMIT], cdu_error *error)
{
    static atomic_uint serial;
    int used = snprintf(temporary, CDU_PATH_LIMIT, "%s.part-%ld-%u", path, (long)getpid(), atomic_fetch_add(&serial, 1));
    if (used < 0 || used >= CDU_PATH_LIMIT) return cdu_fail(error, CDU_CANNOT_WRITE, "%.200s...: the path is too long", path);
    /* the rename would put a file in the place of a device such as /dev/null, and fail on a folder after all the work */
    struct stat about;
    if (stat(path, &about) == 0 && !S_ISREG(about.st_mode))
        return cdu_fail(error, CDU_CANNOT_WRITE, "%s: is there, but is not a regular file; name another", path);
    pthread_mutex_lock(&pending_lock);
    int handle = planted_fault() ? -1 : open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666), reason = errno;
    for (int i = 0; i < PENDING_LIMIT && handle >= 0; i++)
        if (!pending[i][0]) {
            memcpy(pending[i], temporary, (size_t)used + 1);
            break;
        }
    pthread_mutex_unlock(&pending_lock);
    if (handle < 0) return cdu_fail(error, CDU_CANNOT_WRITE, "%s: cannot be written: %s", path, strerror(reason));
    close(handle);
    return CDU_OK;
}

static void forget(const char *temporary)
{
    pthread_mutex_lock(&pending_lock);
    for (int i = 0; i < PENDING_LIMIT; i++)
        if (!strcmp(pending[i], temporary)) pending[i][0] = 0;
    pthread_mutex_unlock(&pending_lock);
}

void cdu_file_discard(const char *temporary)
{
    unlink(temporary);
    forget(temporary);
}

void cdu_file_discard_for_good(void)
{
    pthread_mutex_lock(&pending_lock);
    for (int i = 0; i < PENDING_LIMIT; i++)
        if (pending[i][0]) {
            unlink(pending[i]);
            pending[i][0] = 0;
        }
}

void cdu_file_discard_all(void)
{
    cdu_file_discard_for_good();
    pthread_mutex_unlock(&pending_lock);
}

static int sync_path(const char *path, int flags)
{
    int handle = open(path, flags | O_CLOEXEC);
    if (handle < 0) return -1;
    int result = planted_fault() ? -1 : fsync(handle);
    close(handle);
    return result;
}

cdu_status cdu_file_commit(const char *temporary, const char *path, cdu_error *error)
{
    char folder[CDU_PATH_LIMIT];
    cdu_status status = cdu_path_folder(folder, path, error);
    if (status == CDU_OK &&
        (sync_path(temporary, O_RDONLY) != 0 || planted_fault() || rename(temporary, path) != 0))
        status = cdu_fail(error, CDU_CANNOT_WRITE, "%s: cannot be written: %s", path, strerror(errno));
    if (status != CDU_OK) {
        cdu_file_discard(temporary);
        return status;
    }
    forget(temporary);
    /* without this a power cut can undo the rename; file systems that cannot sync a folder need no telling */
    if (sync_path(folder, O_RDONLY | O_DIRECTORY) != 0 && errno != EINVAL)
        return cdu_fail(error, CDU_CANNOT_WRITE, "%s: its folder cannot be synced: %s", path, strerror(errno));
    return CDU_OK;
}

cdu_status cdu_file_write(const char *path, const void *bytes, size_t size, cdu_error *error)
{
    char temporary[CDU_PATH_LIMIT];
    CDU_TRY(cdu_file_begin(path, temporary, error));
    int handle = open(temporary, O_WRONLY | O_CLOEXEC);
    size_t done = 0;
    int broken = handle < 0;
    while (!broken && done < size) {
        ssize_t wrote = planted_fault() ? -1 : write(handle, (const char *)bytes + done, size - done);
        if (wrote < 0 && errno == EINTR) continue;
        if (wrote <= 0) broken = 1;
        else done += (size_t)wrote;
    }
    if (broken) {
        cdu_fail(error, CDU_CANNOT_WRITE, "%s: cannot be written: %s", path, strerror(errno));
        if (handle >= 0) close(handle);
        cdu_file_discard(temporary);
        return CDU_CANNOT_WRITE;
    }
    if (close(handle) != 0) {
        cdu_fail(error, CDU_CANNOT_WRITE, "%s: cannot be written: %s", path, strerror(errno));
        cdu_file_discard(temporary);
        return CDU_CANNOT_WRITE;
    }
    return cdu_file_commit(temporary, path, error);
}

cdu_status cdu_folder_create(const char *path, cdu_error *error)
{
    char partial[CDU_PATH_LIMIT];
    size_t length = strlen(path);
    if (length >= sizeof partial) return cdu_fail(error, CDU_CANNOT_WRITE, "%.200s...: the path is too long", path);
    memcpy(partial, path, length + 1);
    for (size_t i = 1; i <= length; i++) {
        if (partial[i] != '/' && partial[i] != 0) continue;
        char kept = partial[i];
        partial[i] = 0;
        if (mkdir(partial, 0777) != 0 && errno != EEXIST)
            return cdu_fail(error, CDU_CANNOT_WRITE, "%s: the folder cannot be created: %s", partial, strerror(errno));
        partial[i] = kept;
    }
    struct stat about;
    if (stat(path, &about) != 0 || !S_ISDIR(about.st_mode))
        return cdu_fail(error, CDU_CANNOT_WRITE, "%s: is there, but is not a folder", path);
    return CDU_OK;
}

bool cdu_file_exists(const char *path)
{
    struct stat about;
    return stat(path, &about) == 0;
}

uint64_t cdu_file_size(const char *path)
{
    struct stat about;
    return stat(path, &about) == 0 ? (uint64_t)about.st_size : 0;
}

cdu_status cdu_file_try(const char *path, cdu_error *error)
{
    char temporary[CDU_PATH_LIMIT];
    CDU_TRY(cdu_file_begin(path, temporary, error));
    cdu_file_discard(temporary);
    return CDU_OK;
}

/* A file that is not there yet is known by its folder and its name. */
bool cdu_file_same(const char *a, const char *b)
{
    struct stat about_a, about_b;
    bool there_a = stat(a, &about_a) == 0, there_b = stat(b, &about_b) == 0;
    if (there_a != there_b) return false;
    if (!there_a) {
        char folder_a[CDU_PATH_LIMIT], folder_b[CDU_PATH_LIMIT];
        const char *slash_a = strrchr(a, '/'), *slash_b = strrchr(b, '/');
        if (strcmp(slash_a ? slash_a + 1 : a, slash_b ? slash_b + 1 : b)) return false;
        if (cdu_path_folder(folder_a, a, NULL) != CDU_OK || cdu_path_folder(folder_b, b, NULL) != CDU_OK) return false;
        if (stat(folder_a, &about_a) != 0 || stat(folder_b, &about_b) != 0) return false;
    }
    return about_a.st_dev == about_b.st_dev && about_a.st_ino == about_b.st_ino;
}

cdu_status cdu_path_join(char out[CDU_PATH_LIMIT], const char *folder, const char *name, cdu_error *error)
{
    int used = name[0] == '/' ? snprintf(out, CDU_PATH_LIMIT, "%s", name)
                              : snprintf(out, CDU_PATH_LIMIT, "%s/%s", folder, name);
    if (used < 0 || used >= CDU_PATH_LIMIT) return cdu_fail(error, CDU_BAD_DATA, "%.200s...: the path is too long", name);
    return CDU_OK;
}

cdu_status cdu_path_folder(char out[CDU_PATH_LIMIT], const char *path, cdu_error *error)
{
    const char *slash = strrchr(path, '/');
    size_t length = slash == path ? 1 : slash ? (size_t)(slash - path) : 0;
    if (length >= CDU_PATH_LIMIT) return cdu_fail(error, CDU_BAD_DATA, "%.200s...: the path is too long", path);
    if (!slash) return memcpy(out, ".", 2), CDU_OK;
    memcpy(out, path, length);
    out[length] = 0;
    return CDU_OK;
}
