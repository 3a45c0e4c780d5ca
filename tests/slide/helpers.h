/* helpers.h: what the tests of slides share. */
#ifndef TEST_SLIDE_HELPERS_H
#define TEST_SLIDE_HELPERS_H

#include <criterion/criterion.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/file.h"
#include "cdunet/error.h"

#define MUST(call)                                                                                                                 \
    do {                                                                                                                           \
        cdu_error error_ = {0}, *error = &error_;                                                                                  \
        cdu_status status_ = (call);                                                                                               \
        cr_assert(status_ == CDU_OK, "%s: %d %s (%s)", #call, (int)status_, error->words, error->where);                           \
    } while (0)

/* A file of the data folder; the test is skipped where it is absent. */
static inline void data_path(char out[CDU_PATH_LIMIT], const char *name)
{
    const char *folder = getenv("CDUNET_DATA");
    if (folder)
        snprintf(out, CDU_PATH_LIMIT, "%s/%s", folder, name);
    else
        snprintf(out, CDU_PATH_LIMIT, "%s/../shared/data/%s", CDUNET_SOURCE_DIR, name);
    if (access(out, R_OK) != 0) cr_skip_test("%s is not here", out);
}

static inline void scratch_path(char out[CDU_PATH_LIMIT], const char *name)
{
    mkdir(CDUNET_BINARY_DIR "/scratch", 0777);
    snprintf(out, CDU_PATH_LIMIT, "%s/scratch/%s", CDUNET_BINARY_DIR, name);
}

/* A small generator of test pictures; not Philox, since nothing depends on its quality. */
static inline uint32_t noise(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

#endif
