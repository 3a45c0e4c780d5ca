/* fuzz_slides.c: any bytes as a slide list: refused with file and line, or slides that all have a path, a case and a split. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/study/study.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    cdu_study study = {.split = {.test = 0.3, .validation = 0.1, .balance_stain = true, .seed = 5}};
    cdu_error error = {0};
    cdu_slide_origin *origins;
    if (cdu_copy_text(&study.slides_path, "fuzz/slides.csv", &error) != CDU_OK) abort();
    cdu_status status = cdu_study_parse_slides(&study, (const char *)data, size, false, &origins, &error);
    if (status == CDU_OK) status = cdu_study_assign_splits(&study, origins, &error);
    if (status != CDU_OK && (status != CDU_BAD_DATA || strncmp(error.words, "fuzz/slides.csv:", 16) != 0)) abort();
    size_t train = 0;
    for (size_t i = 0; status == CDU_OK && i < study.slide_count; i++) {
        const cdu_study_slide *slide = &study.slides[i];
        if (!slide->slide || !slide->stain || !slide->case_name || slide->split > CDU_SPLIT_TEST || !(slide->mpp >= 0)) abort();
        train += slide->split == CDU_SPLIT_TRAIN;
    }
    if (status == CDU_OK && !train) abort();
    free(origins);
    cdu_study_clear(&study);
    return 0;
}
