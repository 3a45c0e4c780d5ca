/* label_map.c: label-map images as annotations: outlines whose areas are the counts of pixels, at the slide's scale; what is refused. */
#include <criterion/criterion.h>
#include <png.h>
#include <string.h>

#include "core/slide/annotation.h"
#include "slide/helpers.h"

enum { WIDTH = 60, HEIGHT = 40 };
static const char *const names[] = {"Background", "Tissue", "Tumor"};
static const uint8_t colors[][3] = {{0, 0, 0}, {0, 160, 0}, {200, 0, 0}};

static void write_map(const char *path, const uint8_t *labels)
{
    png_image image = {.version = PNG_IMAGE_VERSION, .width = WIDTH, .height = HEIGHT, .format = PNG_FORMAT_GRAY};
    cr_assert(png_image_write_to_file(&image, path, 0, labels, 0, NULL));
}

Test(label_map, areas_are_counts_of_pixels_at_the_slides_scale)
{
    static uint8_t labels[WIDTH * HEIGHT];
    char path[CDU_PATH_LIMIT];
    uint32_t state = 7;
    double counts[4] = {0};
    scratch_path(path, "label-map.png");
    for (int y = 0; y < HEIGHT; y++)
        for (int x = 0; x < WIDTH; x++) {
            uint8_t *at = &labels[y * WIDTH + x];
            *at = x > 10 && x < 40 && y > 5 && y < 30 ? 1 : 0;
            if (x > 20 && x < 30 && y > 10 && y < 20) *at = 2; /* a hole in the tissue */
            if (noise(&state) % 50 == 0) *at = (uint8_t)(noise(&state) % 3);
            if (y == 39) *at = 255;
            counts[*at == 255 ? 3 : *at]++;
        }
    write_map(path, labels);
    cr_assert(cdu_is_label_map(path));
    for (int scale = 1; scale <= 4; scale *= 4) {
        cdu_annotations found;
        double area[3] = {0};
        MUST(cdu_annotations_from_label_map(path, scale == 1 ? 0 : WIDTH * scale, scale == 1 ? 0 : HEIGHT * scale, 3, names, colors, &found, error));
        cr_assert_str_eq(found.format, "label map");
        for (size_t i = 0; i < found.count; i++)
            for (size_t k = 0; k < found.items[i].count; k++) {
                double one;
                MUST(cdu_polygon_area(&found.items[i].polygons[k], &one, NULL, error));
                area[strcmp(found.items[i].class_name, "Tumor") == 0 ? 2 : 1] += one;
                cr_assert(strcmp(found.items[i].class_name, "Background") != 0);
            }
        for (int c = 1; c < 3; c++) cr_assert_eq(area[c], counts[c] * scale * scale, "class %d: %g, %g", c, area[c], counts[c]);
        cr_assert_eq(found.ignored_count, 1);
        cr_assert_eq(found.ignored[0].count, WIDTH);
        cdu_annotations_free(&found);
    }
    int64_t width, height;
    uint64_t seen[256];
    MUST(cdu_label_map_look(path, 3, &width, &height, seen, error));
    cr_assert(width == WIDTH && height == HEIGHT && seen[255] == WIDTH && (double)seen[2] == counts[2]);
    unlink(path);
}

Test(label_map, what_is_none_is_refused)
{
    static uint8_t labels[WIDTH * HEIGHT];
    char path[CDU_PATH_LIMIT];
    cdu_annotations found;
    cdu_error error = {0};
    scratch_path(path, "label-map-bad.png");
    labels[3 * WIDTH + 5] = 9;
    write_map(path, labels);
    cr_assert_eq(cdu_annotations_from_label_map(path, 0, 0, 3, names, colors, &found, &error), CDU_BAD_DATA);
    cr_assert(strstr(error.words, "the label at (5, 3) is 9"), "%s", error.words);
    labels[3 * WIDTH + 5] = 1;
    write_map(path, labels);
    cr_assert_eq(cdu_annotations_from_label_map(path, 1000, 1000, 3, names, colors, &found, &error), CDU_BAD_DATA);
    cr_assert(strstr(error.words, "not the shape of the slide"), "%s", error.words);
    cr_assert_eq(found.count, 0);
    cr_assert(!cdu_is_label_map(CDUNET_SOURCE_DIR "/README.md") && !cdu_is_label_map("/nowhere"));
    unlink(path);
}
