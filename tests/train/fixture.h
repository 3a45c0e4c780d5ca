/* fixture.h: a small study on disk: pictures of coloured blocks with label maps, for the tests of training. */
#ifndef TEST_TRAIN_FIXTURE_H
#define TEST_TRAIN_FIXTURE_H

#include <criterion/criterion.h>
#include <png.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cdunet/error.h"
#include "cdunet/study.h"
#include "core/base/file.h"
#include "core/base/random.h"

#define MUST(call)                                                                                                                 \
    do {                                                                                                                           \
        cdu_error error_ = {0}, *error = &error_;                                                                                  \
        cdu_status status_ = (call);                                                                                               \
        cr_assert(status_ == CDU_OK, "%s: %d %s (%s)", #call, (int)status_, error->words, error->where);                           \
    } while (0)

enum { FIXTURE_SIDE = 96, FIXTURE_CLASSES = 3 };
typedef struct {
    char folder[128], study[160];
} fixture;

static inline void fixture_picture(const char *path, uint32_t slide, bool labels)
{
    static uint8_t bytes[FIXTURE_SIDE * FIXTURE_SIDE * 3];
    cdu_random noise = cdu_random_stream(7, CDU_RANDOM_TEST, slide, 0);
    for (uint32_t y = 0; y < FIXTURE_SIDE; y++)
        for (uint32_t x = 0; x < FIXTURE_SIDE; x++) {
            cdu_random block = cdu_random_stream(7, CDU_RANDOM_TEST, 100 + slide, y / 12 * 64 + x / 12);
            uint32_t at = y * FIXTURE_SIDE + x, label = cdu_random_below(&block, FIXTURE_CLASSES);
            if (labels)
                bytes[at] = (uint8_t)label;
            else
                for (uint32_t c = 0; c < 3; c++)
                    bytes[3 * at + c] = (uint8_t)((label == c ? 60 : 150) + cdu_random_below(&noise, 60));
        }
    png_image image = {.version = PNG_IMAGE_VERSION,
                       .width = FIXTURE_SIDE,
                       .height = FIXTURE_SIDE,
                       .format = labels ? PNG_FORMAT_GRAY : PNG_FORMAT_RGB};
    cr_assert(png_image_write_to_file(&image, path, 0, bytes, 0, NULL), "%s: %s", path, image.message);
}

/* Four slides: two to train, one to validate, one to test; tiles of 32 with a stride of 32 (9 a slide); width 2, depth 3. `more` are further lines
 * of the train section, two spaces in. */
static inline void fixture_create(fixture *f, const char *more)
{
    static const char *const splits[] = {"train", "train", "validation", "test"};
    char path[200];
    snprintf(f->folder, sizeof f->folder, "/tmp/cdunet-train-XXXXXX");
    cr_assert(mkdtemp(f->folder) != NULL);
    snprintf(path, sizeof path, "%s/slides.csv", f->folder);
    FILE *list = fopen(path, "w");
    fprintf(list, "slide,annotation,stain,case,split,mpp\n");
    for (uint32_t i = 0; i < 4; i++) {
        snprintf(path, sizeof path, "%s/slide%u.png", f->folder, i);
        fixture_picture(path, i, false);
        snprintf(path, sizeof path, "%s/labels%u.png", f->folder, i);
        fixture_picture(path, i, true);
        fprintf(list, "slide%u.png,labels%u.png,HE,case%u,%s,1.0\n", i, i, i, splits[i]);
    }
    fclose(list);
    snprintf(f->study, sizeof f->study, "%s/study.yaml", f->folder);
    FILE *study = fopen(f->study, "w");
    fprintf(
        study,
        "format: 1\nname: fixture\nslides: slides.csv\nclasses:\n  - {name: Ground, color: \"#000000\"}\n"
        "  - {name: Tissue, color: \"#00a000\"}\n  - {name: Tumor, color: \"#c80000\"}\n"
        "tiles: {mpp: 1.0, size: 32, stride: 32, empty: 1.0}\n"
        "model: {kind: cdunet, width: 2, depth: 3}\ntrain:\n  batch: 4\n  epochs: 3\n  validate-every: 2\n  learning-rate: 0.05\n"
        "  learning-rate-batch: 4\n%s",
        more ? more : "");
    fclose(study);
}

static inline void fixture_remove(fixture *f)
{
    char command[160];
    snprintf(command, sizeof command, "rm -rf '%s'", f->folder);
    cr_assert_eq(system(command), 0);
}

static inline void fixture_path(char out[CDU_PATH_LIMIT], const fixture *f, const char *name)
{
    snprintf(out, CDU_PATH_LIMIT, "%s/%s", f->folder, name);
}

static inline bool same_files(const char *a, const char *b)
{
    char *x, *y;
    size_t n, m;
    MUST(cdu_file_read(a, 1 << 26, &x, &n, error));
    MUST(cdu_file_read(b, 1 << 26, &y, &m, error));
    bool same = n == m && !memcmp(x, y, n);
    free(x);
    free(y);
    return same;
}

#endif
