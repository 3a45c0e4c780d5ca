/* library.c: the public way to segment (cdunet/segment.h): a model file, a device, rows of labels, and what goes wrong. */
#include "cdunet/segment.h"

#include <criterion/criterion.h>
#include <png.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/model/model.h"

enum { SIDE = 96 };
static const char *const folder = CDUNET_BINARY_DIR "/scratch";
static const char *const model_path = CDUNET_BINARY_DIR "/scratch/library.safetensors";

typedef struct { int64_t next; uint64_t counts[256]; int64_t stop_at; } seen;

static cdu_status take(void *context, int64_t y, uint32_t rows, int64_t width, const uint8_t *labels, cdu_error *error)
{
    seen *s = context;
    cr_assert_eq(y, s->next);
    cr_assert_eq(width, SIDE);
    for (int64_t i = 0; i < rows * width; i++) s->counts[labels[i]]++;
    s->next = y + rows;
    if (s->stop_at && s->next >= s->stop_at) return cdu_error_set(error, CDU_STOPPED, "here", "enough");
    return CDU_OK;
}

static cdu_slide *picture(void)
{
    static uint8_t rgb[SIDE * SIDE * 3];
    for (int i = 0; i < SIDE * SIDE * 3; i++) rgb[i] = (uint8_t)(60 + (i * 7 + i / SIDE) % 140);
    png_image image = {.version = PNG_IMAGE_VERSION, .width = SIDE, .height = SIDE, .format = PNG_FORMAT_RGB};
    mkdir(folder, 0777);
    cr_assert(png_image_write_to_file(&image, CDUNET_BINARY_DIR "/scratch/library.png", 0, rgb, 0, NULL));
    cdu_slide *slide;
    cr_assert_eq(cdu_slide_open(CDUNET_BINARY_DIR "/scratch/library.png", 1, &slide, NULL), CDU_OK);
    return slide;
}

static void write_model(void)
{
    cdu_model_about about = {.settings = cdu_model_defaults(), .mpp = 1, .tile = 32};
    about.settings.width = 4;
    about.settings.depth = 2;
    about.settings.classes = 2;
    strcpy(about.class_names[0], "Glass");
    strcpy(about.class_names[1], "Tissue");
    about.class_colors[1][1] = 160;
    cdu_weights weights = {0};
    cdu_error error = {0};
    mkdir(folder, 0777);
    cr_assert_eq(cdu_model_initialize(&about.settings, 3, &weights, &error), CDU_OK, "%s", error.words);
    cr_assert_eq(cdu_model_write(model_path, &about, &weights, &error), CDU_OK, "%s", error.words);
    cdu_weights_free(&weights);
}

Test(library, segments_with_a_model_file)
{
    write_model();
    cdu_model *model;
    cdu_error error = {0};
    if (cdu_model_open(model_path, "opencl:0", &model, &error) != CDU_OK) cr_skip_test("no OpenCL device: %s", error.words);
    cdu_model_info info = cdu_model_info_of(model);
    cr_assert_eq(info.classes, 2);
    cr_assert_str_eq(info.class_names[1], "Tissue");
    cr_assert_eq(info.class_colors[1][1], 160);
    cr_assert_str_eq(info.device, "opencl:0");
    cdu_slide *slide = picture();
    seen s = {0};
    cr_assert_eq(cdu_model_segment(model, slide, 0, take, &s, &error), CDU_OK, "%s", error.words);
    cr_assert_eq(s.next, SIDE);
    cr_assert_eq(s.counts[0] + s.counts[1], SIDE * SIDE);
    cr_assert_gt(s.counts[1], 0, "random weights on a noisy picture give both classes");
    seen stopped = {.stop_at = 1};
    cr_assert_eq(cdu_model_segment(model, slide, 0, take, &stopped, &error), CDU_STOPPED);
    cr_assert_str_eq(error.words, "enough");
    cdu_slide_close(slide);
    cdu_model_close(model);
}

Test(library, what_is_wrong_is_said)
{
    cdu_model *model = NULL;
    cdu_error error = {0};
    cr_assert_eq(cdu_model_open("no-such-model.safetensors", NULL, &model, &error), CDU_BAD_DATA);
    cr_assert(strstr(error.words, "no-such-model.safetensors"), "%s", error.words);
    cr_assert_null(model);
    write_model();
    cr_assert_eq(cdu_model_open(model_path, "no such device", &model, &error), CDU_NO_DEVICE);
    cr_assert_null(model);
}
