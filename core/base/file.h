/* file.h: files read whole and written whole or not at all. A file being written has a temporary name in the same folder; it
 * gets its own name by rename after fsync, so a crash, a full disk or a signal leaves what was there before. */
#ifndef CDU_BASE_FILE_H
#define CDU_BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "cdunet/error.h"

/* The whole file, with a zero byte behind it that *size does not count. CDU_BAD_DATA if it is missing, unreadable or larger
 * than `limit` bytes. Free with free(). */
cdu_status cdu_file_read(const char *path, uint64_t limit, char **out, size_t *size, cdu_error *error);

/* `size` bytes as the file `path`, whole or not at all. CDU_CANNOT_WRITE. */
cdu_status cdu_file_write(const char *path, const void *bytes, size_t size, cdu_error *error);

/* For writers that need a path of their own (libtiff, cairo): makes the temporary name for `path`, same folder, into
 * `temporary`; then cdu_file_commit syncs and renames it, or cdu_file_discard removes it. */
enum { CDU_PATH_LIMIT = 4096 };
cdu_status cdu_file_begin(const char *path, char temporary[CDU_PATH_LIMIT], cdu_error *error);
cdu_status cdu_file_commit(const char *temporary, const char *path, cdu_error *error);
void cdu_file_discard(const char *temporary);

/* Removes every temporary file begun and neither committed nor discarded; safe in a signal-driven exit path (not in the
 * handler itself). */
void cdu_file_discard_all(void);
/* The same for a program that ends now while other threads still write: none of them begins or commits a file any more (they wait
 * for ever). Only _exit may follow. */
void cdu_file_discard_for_good(void);

/* Whether a file could be written as `path` now, so that an hour's work need not find out. CDU_CANNOT_WRITE. */
cdu_status cdu_file_try(const char *path, cdu_error *error);

/* Whether two paths lead to one file, whether it is there already or not. */
bool cdu_file_same(const char *a, const char *b);

/* Creates the folder and its parents. CDU_CANNOT_WRITE. */
cdu_status cdu_folder_create(const char *path, cdu_error *error);
bool cdu_file_exists(const char *path);
/* Bytes; 0 where there is no such file. */
uint64_t cdu_file_size(const char *path);

/* "folder/name" into out[CDU_PATH_LIMIT]; an absolute `name` is taken as it is. CDU_BAD_DATA where it is too long. */
cdu_status cdu_path_join(char out[CDU_PATH_LIMIT], const char *folder, const char *name, cdu_error *error);
/* The folder part of `path` ("." if none) into out[CDU_PATH_LIMIT]. */
cdu_status cdu_path_folder(char out[CDU_PATH_LIMIT], const char *path, cdu_error *error);

/* The n-th open, write, sync or rename from now on fails as with a full disk; 0 switches this off. For tests. */
void cdu_file_fail_at(uint64_t n);

#endif
