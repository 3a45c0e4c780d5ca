/* fuzz_study.c: any bytes as a study file: refused with file, line and words, or settings within their ranges that are written and read
 * back as the same text. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/base/memory.h"
#include "core/study/study.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *write_text(const cdu_study *study, size_t *size)
{
    char path[64], *text;
    cdu_error error = {0};
    snprintf(path, sizeof path, "/tmp/cdunet-fuzz-study-%ld.yaml", (long)getpid());
    cdu_status status = cdu_study_write(study, path, "slides.csv", &error);
    if (status == CDU_BAD_DATA) return NULL; /* a name that is no UTF-8 */
    if (status != CDU_OK || cdu_file_read(path, 1 << 24, &text, size, &error) != CDU_OK) abort();
    unlink(path);
    return text;
}

static cdu_status parse(cdu_study *study, const char *text, size_t size, cdu_error *error)
{
    *study = (cdu_study){0};
    if (cdu_copy_text(&study->path, "fuzz/study.yaml", error) != CDU_OK) abort();
    return cdu_study_parse(study, text, size, error);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    cdu_study study, again;
    cdu_error error = {0};
    if (parse(&study, (const char *)data, size, &error) != CDU_OK) {
        if (error.status != CDU_BAD_DATA || strncmp(error.words, "fuzz/study.yaml:", 16) != 0) abort();
        cdu_study_clear(&study);
        return 0;
    }
    if (!study.class_count || study.tiles.size % (1u << (study.model.depth - 1)) || study.tiles.stride > study.tiles.size) abort();
    size_t one_size, two_size;
    char *one = write_text(&study, &one_size);
    if (one) {
        if (parse(&again, one, one_size, &error) != CDU_OK) abort();
        char *two = write_text(&again, &two_size);
        if (!two || one_size != two_size || memcmp(one, two, one_size) != 0) abort();
        free(two);
        cdu_study_clear(&again);
    }
    free(one);
    cdu_study_clear(&study);
    return 0;
}
