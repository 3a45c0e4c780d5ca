/* cache.c: entries are files of a header and the payload, written to a temporary name and renamed (core/base/file.h). */
#define _GNU_SOURCE
#include "backends/cache.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "cdunet/log.h"
#include "core/base/debug.h"
#include "core/base/file.h"
#include "core/base/memory.h"

enum { ENTRY_LIMIT = 256 << 20 };
static const char format[8] = "CDUKRNL1";

typedef struct {
    char format[8];
    cdu_cache_key key;
    uint64_t size, checksum;
} header;

static atomic_uint_fast64_t hits;
static atomic_flag warned = ATOMIC_FLAG_INIT;

cdu_cache_key cdu_cache_key_of(const char *const *parts, size_t count)
{
    /* hashes of hashes: no state to allocate, and the parts cannot run into each other */
    XXH128_hash_t sum = XXH3_128bits(format, sizeof format);
    for (size_t i = 0; i < count; i++) {
        XXH128_hash_t two[2] = {sum, XXH3_128bits(parts[i], strlen(parts[i]))};
        sum = XXH3_128bits(two, sizeof two);
    }
    return (cdu_cache_key){sum.low64, sum.high64};
}

/* The cache's folder; false where there is none or the cache is off. */
static bool folder_of(char folder[CDU_PATH_LIMIT])
{
    if (cdu_debug(CDU_DEBUG_NO_CACHE)) return false;
    const char *own = getenv("CDUNET_CACHE"), *shared = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    int used;
    if (own && !strcmp(own, "off")) return false;
    if (own && *own)
        used = snprintf(folder, CDU_PATH_LIMIT, "%s", own);
    else if (shared && *shared == '/')
        used = snprintf(folder, CDU_PATH_LIMIT, "%s/cdunet", shared);
    else if (home && *home)
        used = snprintf(folder, CDU_PATH_LIMIT, "%s/.cache/cdunet", home);
    else
        return false;
    return used > 0 && used < CDU_PATH_LIMIT;
}

static bool path_of(char path[CDU_PATH_LIMIT], const char *folder, const char *kind, cdu_cache_key key)
{
    int used = snprintf(path, CDU_PATH_LIMIT, "%s/%s-%016" PRIx64 "%016" PRIx64, folder, kind, key.high, key.low);
    return used > 0 && used < CDU_PATH_LIMIT;
}

bool cdu_cache_load(const char *kind, cdu_cache_key key, void **bytes, size_t *size)
{
    char folder[CDU_PATH_LIMIT], path[CDU_PATH_LIMIT], *file;
    size_t length;
    if (!folder_of(folder) || !path_of(path, folder, kind, key) || !cdu_file_exists(path)) return false;
    if (cdu_file_read(path, ENTRY_LIMIT, &file, &length, NULL) != CDU_OK) return false;
    header h;
    if (length >= sizeof h) {
        memcpy(&h, file, sizeof h);
        if (!memcmp(h.format, format, sizeof format) && h.key.low == key.low && h.key.high == key.high &&
            h.size == length - sizeof h && h.checksum == XXH3_64bits(file + sizeof h, h.size)) {
            memmove(file, file + sizeof h, h.size);
            *bytes = file;
            *size = h.size;
            atomic_fetch_add(&hits, 1);
            return true;
        }
    }
    cdu_log(CDU_LOG_DEBUG, "%s: a damaged entry of the kernel cache; it is built again", path);
    free(file);
    return false;
}

void cdu_cache_store(const char *kind, cdu_cache_key key, const void *bytes, size_t size)
{
    char folder[CDU_PATH_LIMIT], path[CDU_PATH_LIMIT], *file;
    if (size > ENTRY_LIMIT - sizeof(header) || !folder_of(folder) || !path_of(path, folder, kind, key)) return;
    if (cdu_allocate(&file, sizeof(header) + size, 1, NULL) != CDU_OK) return;
    header h = {.key = key, .size = size, .checksum = XXH3_64bits(bytes, size)};
    memcpy(h.format, format, sizeof format);
    memcpy(file, &h, sizeof h);
    memcpy(file + sizeof h, bytes, size);
    cdu_error error = {0};
    cdu_status status = cdu_folder_create(folder, &error);
    if (status == CDU_OK) status = cdu_file_write(path, file, sizeof h + size, &error);
    if (status != CDU_OK && !atomic_flag_test_and_set(&warned))
        cdu_log(CDU_LOG_WARNING,
                "compiled kernels are not kept: %s; CDUNET_CACHE=folder names another place, CDUNET_CACHE=off none", error.words);
    free(file);
}

/* One file for all keys, a byte of it for each: nothing to clean up. */
int cdu_cache_lock(cdu_cache_key key)
{
    char folder[CDU_PATH_LIMIT], path[CDU_PATH_LIMIT];
    if (!folder_of(folder) || cdu_folder_create(folder, NULL) != CDU_OK || cdu_path_join(path, folder, ".lock", NULL) != CDU_OK) return -1;
    int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    struct flock byte = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = (off_t)(key.low >> 8), .l_len = 1};
    while (file >= 0 && fcntl(file, F_OFD_SETLKW, &byte))
        if (errno != EINTR) return close(file), -1;
    return file;
}

void cdu_cache_unlock(int lock)
{
    if (lock >= 0) close(lock);
}

uint64_t cdu_cache_hits(void)
{
    return atomic_load(&hits);
}
