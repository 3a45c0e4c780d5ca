/* label_map.c: a label-map image as annotations, traced at its own resolution with every corner kept. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/slide/annotation/format.h"
#include "core/slide/contour.h"
#include "core/slide/label_image.h"
#include "core/slide/raster.h"

static const char excluded[] = "pixels of value 255 are excluded";

bool cdu_is_label_map(const char *path)
{
    uint8_t magic[4] = {0};
    FILE *file = fopen(path, "rb");
    if (!file) return false;
    size_t got = fread(magic, 1, sizeof magic, file);
    fclose(file);
    return got == sizeof magic && (!memcmp(magic, "\x89PNG", 4) || !memcmp(magic, "II", 2) || !memcmp(magic, "MM", 2));
}

cdu_status cdu_label_map_look(const char *path, uint32_t classes, int64_t *width, int64_t *height, uint64_t counts[256], cdu_error *error)
{
    cdu_label_image *image;
    double scale;
    CDU_TRY(cdu_label_image_open(path, 0, 0, classes, &image, error));
    cdu_label_image_look(image, width, height, &scale, counts);
    cdu_label_image_close(image);
    return CDU_OK;
}

static cdu_status trace(const cdu_label_image *image, int64_t width, int64_t height, double scale, cdu_contour *contour, cdu_error *error)
{
    uint8_t *row;
    CDU_TRY(cdu_allocate(&row, (size_t)width, 1, error));
    cdu_status status = CDU_OK;
    for (int64_t y = 0; status == CDU_OK && y < height; y++) {
        cdu_label_image_read(image, scale, 0, y, (uint32_t)width, 1, row);
        status = cdu_contour_write(contour, row, 1, error);
    }
    free(row);
    return status;
}

cdu_status cdu_annotations_from_label_map(const char *path, int64_t slide_width, int64_t slide_height, uint32_t classes,
                                          const char *const *names, const uint8_t (*colors)[3], cdu_annotations *out, cdu_error *error)
{
    *out = (cdu_annotations){0};
    cdu_label_image *image;
    cdu_contour *contour;
    uint64_t counts[256];
    int64_t width, height;
    double scale;
    CDU_TRY(cdu_label_image_open(path, slide_width, slide_height, classes, &image, error));
    cdu_label_image_look(image, &width, &height, &scale, counts);
    const cdu_contour_settings settings = {.width = width, .height = height, .scale = scale, .classes = classes, .skip = 1, .names = names, .colors = colors};
    cdu_status status = cdu_contour_begin(&settings, &contour, error);
    if (status == CDU_OK) {
        status = trace(image, width, height, scale, contour, error);
        if (status == CDU_OK) status = cdu_contour_finish(contour, out, error);
        else cdu_contour_discard(contour);
    }
    cdu_label_image_close(image);
    cdu_annotation_build b = {.name = path, .out = out, .error = error};
    if (status == CDU_OK && counts[CDU_EXCLUDED]) status = cdu_build_ignore(&b, excluded, "");
    if (status != CDU_OK) return cdu_annotations_free(out), status;
    if (out->ignored_count) out->ignored[0].count = counts[CDU_EXCLUDED];
    out->format = "label map";
    return CDU_OK;
}
