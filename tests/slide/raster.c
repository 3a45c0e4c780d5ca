/* raster.c: class maps from polygons against a plain point-in-polygon test, whatever the window and the scale; precedence, regions,
 * exclusion; label-map images. */
#include <criterion/criterion.h>
#include <math.h>
#include <png.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/memory.h"
#include "core/base/progress.h"
#include "core/base/random.h"
#include "core/base/thread.h"
#include "core/slide/pyramid.h"
#include "core/slide/raster.h"

static bool ring_covers(const cdu_ring *ring, double x, double y)
{
    bool inside = false;
    for (size_t i = 0; i < ring->count; i++) {
        cdu_point a = ring->points[i], b = ring->points[(i + 1) % ring->count];
        if (a.y > b.y) {
            cdu_point t = a;
            a = b;
            b = t;
        }
        if (a.y <= y && y < b.y && fmin(fmax(a.x + (y - a.y) * ((b.x - a.x) / (b.y - a.y)), fmin(a.x, b.x)), fmax(a.x, b.x)) <= x)
            inside = !inside;
    }
    return inside;
}

/* The meaning: in the outline and in no hole, each even-odd by the ray to the left. */
static bool covers(const cdu_polygon *polygon, double x, double y)
{
    for (size_t r = 1; r < polygon->count; r++)
        if (ring_covers(&polygon->rings[r], x, y)) return false;
    return ring_covers(&polygon->rings[0], x, y);
}

static void add(cdu_annotations *to, const char *name, size_t rings, size_t points, const cdu_point *from)
{
    cdu_error error = {0};
    size_t capacity = to->count;
    cr_assert(cdu_grow(&to->items, &capacity, to->count + 1, sizeof *to->items, &error) == CDU_OK);
    cdu_annotation *item = &to->items[to->count];
    *item = (cdu_annotation){.is_annotation = true, .line = ++to->count, .count = 1, .polygons = calloc(1, sizeof(cdu_polygon))};
    cr_assert(cdu_copy_text(&item->class_name, name, &error) == CDU_OK);
    item->polygons[0] = (cdu_polygon){.count = rings, .rings = calloc(rings, sizeof(cdu_ring))};
    for (size_t r = 0; r < rings; r++) {
        item->polygons[0].rings[r] = (cdu_ring){.count = points, .points = calloc(points, sizeof(cdu_point))};
        memcpy(item->polygons[0].rings[r].points, from + r * points, points * sizeof *from);
    }
}

static void add_box(cdu_annotations *to, const char *name, double x0, double y0, double x1, double y1)
{
    add(to, name, 1, 4, (const cdu_point[]){{x0, y0}, {x1, y0}, {x1, y1}, {x0, y1}});
}

static struct cdu_label_rule table[] = {
    {"Background", 0, 9, false}, {"Tissue", 1, 3, false}, {"Tumor", 2, 2, false}, {"Necrosis", 3, 1, false},
    {"Ignore*", CDU_EXCLUDED, 0, false}, {"Region*", 0, 0, true}};
static const cdu_label_rules rules = {.rules = table, .count = 6, .unannotated = 0, .unknown_is_error = true};

static cdu_label_source *build(cdu_annotations *annotations)
{
    cdu_label_source *source;
    cdu_error error = {0};
    cr_assert(cdu_label_source_create("memory", annotations, &rules, &source, &error) == CDU_OK, "%s", error.words);
    return source;
}

static void read_labels(const cdu_label_source *source, double scale, int64_t x, int64_t y, uint32_t width, uint32_t height, uint8_t *out)
{
    cdu_error error = {0};
    cr_assert(cdu_label_source_read(source, scale, x, y, width, height, out, &error) == CDU_OK, "%s", error.words);
}

Test(raster, equals_point_in_polygon_for_random_polygons)
{
    cdu_random random = cdu_random_stream(5, CDU_RANDOM_TEST, 0, 0);
    for (int round = 0; round < 60; round++) {
        cdu_annotations annotations = {0};
        cdu_point points[3 * 12];
        for (size_t i = 0; i < 36; i++) {
            points[i] = (cdu_point){cdu_random_double(&random) * 120 - 20, cdu_random_double(&random) * 120 - 20};
            /* many points on the lattice and on pixel centres, where ties are */
            if (round % 3 == 1) points[i] = (cdu_point){floor(points[i].x), floor(points[i].y)};
            if (round % 3 == 2) points[i] = (cdu_point){floor(points[i].x) + 0.5, floor(points[i].y) + 0.5};
        }
        add(&annotations, "Tumor", 1 + (size_t)(round / 3 % 3), 12, points);
        cdu_label_source *source = build(&annotations);
        const double scale = (double[]){1, 1, 0.37, 2.5}[round % 4];
        enum { SIDE = 80 };
        static uint8_t labels[SIDE * SIDE], part[SIDE * SIDE];
        read_labels(source, scale, -20, -20, SIDE, SIDE, labels);
        for (int y = 0; y < SIDE; y++)
            for (int x = 0; x < SIDE; x++) {
                bool inside = covers(&annotations.items[0].polygons[0], (x - 20 + 0.5) * scale, (y - 20 + 0.5) * scale);
                cr_assert(labels[y * SIDE + x] == (inside ? 2 : 0), "round %d, pixel (%d, %d)", round, x, y);
            }
        for (int cut = 0; cut < 20; cut++) {
            uint32_t x = cdu_random_below(&random, SIDE), y = cdu_random_below(&random, SIDE);
            uint32_t width = 1 + cdu_random_below(&random, SIDE - x), height = 1 + cdu_random_below(&random, SIDE - y);
            read_labels(source, scale, -20 + (int64_t)x, -20 + (int64_t)y, width, height, part);
            for (uint32_t row = 0; row < height; row++)
                cr_assert(!memcmp(part + row * width, labels + (y + row) * SIDE + x, width));
        }
        cdu_label_source_destroy(source);
        cdu_annotations_free(&annotations);
    }
}

Test(raster, neighbours_share_their_border_without_gap_or_overlap)
{
    cdu_random random = cdu_random_stream(6, CDU_RANDOM_TEST, 0, 0);
    cdu_annotations annotations = {0};
    cdu_point left[22], right[22];
    for (int i = 0; i < 20; i++) right[i] = left[i] = (cdu_point){20 + 20 * cdu_random_double(&random), i * 60.0 / 19};
    left[20] = (cdu_point){0, 60}, left[21] = (cdu_point){0, 0};
    right[20] = (cdu_point){60, 60}, right[21] = (cdu_point){60, 0};
    for (int i = 0; i < 11; i++) { /* the other way round */
        cdu_point t = right[i];
        right[i] = right[21 - i];
        right[21 - i] = t;
    }
    add(&annotations, "Tissue", 1, 22, left);
    add(&annotations, "Tumor", 1, 22, right);
    cdu_label_source *source = build(&annotations);
    uint8_t labels[3600];
    read_labels(source, 1, 0, 0, 60, 60, labels);
    for (size_t i = 0; i < sizeof labels; i++) cr_assert(labels[i] == 1 || labels[i] == 2);
    cdu_label_source_destroy(source);
    cdu_annotations_free(&annotations);
}

Test(raster, overlaps_are_decided_by_precedence)
{
    cdu_annotations annotations = {0};
    add_box(&annotations, "Necrosis", 2, 0, 6, 4);
    add_box(&annotations, "ignore this", 4, 0, 5, 4);
    add_box(&annotations, "TUMOR", 1, 0, 6, 4);
    add_box(&annotations, "Tissue", 0, 0, 8, 4);
    add_box(&annotations, "Tissue", 0, 0, 8, 4);
    annotations.items[4].is_annotation = false;
    free(annotations.items[4].class_name);
    annotations.items[4].class_name = strdup("a cell of no class");
    cdu_label_source *source = build(&annotations);
    uint8_t labels[10];
    read_labels(source, 1, 0, 1, 10, 1, labels);
    cr_assert(!memcmp(labels, (const uint8_t[]){1, 2, 3, 3, 255, 3, 1, 1, 0, 0}, 10));
    cdu_label_source_destroy(source);
    cdu_annotations_free(&annotations);
}

Test(raster, regions_and_slide_bounds_exclude_the_rest)
{
    cdu_annotations annotations = {0};
    add_box(&annotations, "Tumor", 0, 0, 4, 4);
    add_box(&annotations, "Region 1", 2, 0, 6, 4);
    add_box(&annotations, "region*", 7, 0, 20, 4);
    cdu_label_source *source = build(&annotations);
    uint8_t labels[12];
    read_labels(source, 1, -1, 1, 12, 1, labels);
    cr_assert(!memcmp(labels, (const uint8_t[]){255, 255, 255, 2, 2, 0, 0, 255, 0, 0, 0, 0}, 12));
    cdu_label_source_set_size(source, 9, 4);
    read_labels(source, 1, -1, 1, 12, 1, labels);
    cr_assert(!memcmp(labels, (const uint8_t[]){255, 255, 255, 2, 2, 0, 0, 255, 0, 0, 255, 255}, 12));
    read_labels(source, 1, -1, 4, 12, 1, labels);
    for (int i = 0; i < 12; i++) cr_assert(labels[i] == 255);
    cdu_label_source_destroy(source);
    cdu_annotations_free(&annotations);
}

Test(raster, unknown_class_is_an_error_or_excluded)
{
    cdu_annotations annotations = {0};
    add_box(&annotations, "Tumor", 0, 0, 4, 4);
    add_box(&annotations, "Mucus", 0, 0, 2, 4);
    cdu_label_source *source;
    cdu_error error = {0};
    cr_assert(cdu_label_source_create("x.geojson", &annotations, &rules, &source, &error) == CDU_BAD_DATA);
    cr_assert(strstr(error.words, "x.geojson:2: class 'Mucus' that the study does not know") != NULL, "%s", error.words);
    cdu_label_rules lenient = rules;
    lenient.unknown_is_error = false;
    cr_assert(cdu_label_source_create("x.geojson", &annotations, &lenient, &source, &error) == CDU_OK);
    uint8_t labels[4];
    read_labels(source, 1, 0, 1, 4, 1, labels);
    cr_assert(!memcmp(labels, (const uint8_t[]){255, 255, 2, 2}, 4));
    cdu_label_source_destroy(source);
    cdu_annotations_free(&annotations);
}

enum { VERTICES = 100000, WINDOWS = 64 };
static cdu_status read_window(void *context, size_t i, cdu_error *error)
{
    uint8_t *labels = malloc(512 * 512);
    cdu_status status = cdu_label_source_read(context, 2, (int64_t)(i % 8) * 512, (int64_t)(i / 8) * 512, 512, 512, labels, error);
    free(labels);
    return status;
}

Test(raster, many_vertices_are_fast)
{
    cdu_point *points = malloc(VERTICES * sizeof *points);
    cdu_random random = cdu_random_stream(9, CDU_RANDOM_TEST, 0, 0);
    for (int i = 0; i < VERTICES; i++) {
        double angle = 6.283185307179586 * i / VERTICES, radius = 3500 + 200 * cdu_random_double(&random);
        points[i] = (cdu_point){4096 + radius * cos(angle), 4096 + radius * sin(angle)};
    }
    cdu_annotations annotations = {0};
    add(&annotations, "Tumor", 1, VERTICES, points);
    double began = cdu_seconds();
    cdu_label_source *source = build(&annotations);
    cdu_error error = {0};
    cr_assert(cdu_parallel(2, WINDOWS, read_window, source, &error) == CDU_OK);
    cr_assert(cdu_seconds() - began < 8, "%g s", cdu_seconds() - began);
    cdu_label_source_destroy(source);
    cdu_annotations_free(&annotations);
    free(points);
}

static void temporary_path(char out[80], const char *name)
{
    snprintf(out, 80, "/tmp/cdunet-raster-%ld-%s", (long)getpid(), name);
}

static void write_png(const char *path, int width, int height, int bits, const uint8_t *rows, size_t pitch)
{
    FILE *file = fopen(path, "wb");
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png_create_info_struct(png);
    png_init_io(png, file);
    png_set_IHDR(png, info, (png_uint_32)width, (png_uint_32)height, bits, bits < 8 ? PNG_COLOR_TYPE_PALETTE : PNG_COLOR_TYPE_GRAY,
                 PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_color colors[4] = {{9, 9, 9}, {0, 200, 0}, {255, 0, 0}, {1, 2, 3}};
    if (bits < 8) png_set_PLTE(png, info, colors, 4);
    png_write_info(png, info);
    for (int y = 0; y < height; y++) png_write_row(png, rows + (size_t)y * pitch);
    png_write_end(png, NULL);
    png_destroy_write_struct(&png, &info);
    fclose(file);
}

Test(raster, label_images_are_read_by_value)
{
    char path[80];
    temporary_path(path, "a.png");
    cdu_label_source *source;
    cdu_error error = {0};
    /* 5 x 3 pixels of a slide of 10 x 5: rounded up */
    write_png(path, 5, 3, 8, (const uint8_t[]){0, 1, 2, 3, 255, 1, 1, 1, 1, 1, 2, 2, 0, 0, 3}, 5);
    cr_assert(cdu_label_source_from_image(path, 10, 5, 4, &source, &error) == CDU_OK, "%s", error.words);
    uint8_t labels[144];
    read_labels(source, 1, -1, -1, 12, 7, labels);
    cr_assert(!memcmp(labels + 12, (const uint8_t[]){255, 0, 0, 1, 1, 2, 2, 3, 3, 255, 255, 255}, 12));
    cr_assert(!memcmp(labels + 60, (const uint8_t[]){255, 2, 2, 2, 2, 0, 0, 0, 0, 3, 3, 255}, 12));
    for (int i = 0; i < 12; i++) cr_assert(labels[i] == 255 && labels[72 + i] == 255);
    read_labels(source, 2, 3, 0, 2, 2, labels);
    cr_assert(!memcmp(labels, (const uint8_t[]){3, 255, 1, 1}, 4));
    cdu_label_source_destroy(source);
    /* the wrong shape: both sizes are named */
    cr_assert(cdu_label_source_from_image(path, 10, 10, 4, &source, &error) == CDU_BAD_DATA);
    cr_assert(strstr(error.words, "5 x 3") && strstr(error.words, "10 x 10"), "%s", error.words);
    /* a value that no class has */
    cr_assert(cdu_label_source_from_image(path, 10, 5, 3, &source, &error) == CDU_BAD_DATA);
    cr_assert(strstr(error.words, "the label at (3, 0) is 3") != NULL, "%s", error.words);
    /* palette of 2 bits: 0 1 2 3 / 3 2 1 0 */
    write_png(path, 4, 2, 2, (const uint8_t[]){0x1b, 0xe4}, 1);
    cr_assert(cdu_label_source_from_image(path, 4, 2, 4, &source, &error) == CDU_OK, "%s", error.words);
    read_labels(source, 1, 0, 0, 4, 2, labels);
    cr_assert(!memcmp(labels, (const uint8_t[]){0, 1, 2, 3, 3, 2, 1, 0}, 8));
    cdu_label_source_destroy(source);
    FILE *file = fopen(path, "r+b"); /* cut off */
    cr_assert(ftruncate(fileno(file), 60) == 0);
    fclose(file);
    cr_assert(cdu_label_source_from_image(path, 4, 2, 4, &source, &error) == CDU_BAD_DATA);
    cr_assert(strstr(error.words, path) != NULL);
    unlink(path);
}

Test(raster, label_maps_of_our_own_writer_are_read)
{
    enum { WIDTH = 700, HEIGHT = 531 };
    char path[80];
    temporary_path(path, "b.tif");
    uint8_t *map = malloc(WIDTH * HEIGHT), *read = malloc(WIDTH * HEIGHT);
    cdu_random random = cdu_random_stream(4, CDU_RANDOM_TEST, 0, 0);
    for (int y = 0; y < HEIGHT; y++)
        for (int x = 0; x < WIDTH; x++) map[y * WIDTH + x] = (uint8_t)((x / 30 + y / 17 + (cdu_random_u32(&random) % 50 == 0)) % 4);
    cdu_pyramid *pyramid;
    cdu_error error = {0};
    cdu_pyramid_settings settings = {.width = WIDTH, .height = HEIGHT, .mpp = 1, .labels = true};
    cr_assert(cdu_pyramid_begin(path, &settings, &pyramid, &error) == CDU_OK, "%s", error.words);
    cr_assert(cdu_pyramid_write(pyramid, map, HEIGHT, &error) == CDU_OK);
    cr_assert(cdu_pyramid_finish(pyramid, &error) == CDU_OK);
    cdu_label_source *source;
    cr_assert(cdu_label_source_from_image(path, 2 * WIDTH - 1, 2 * HEIGHT, 4, &source, &error) == CDU_OK, "%s", error.words);
    read_labels(source, 2, 0, 0, WIDTH, HEIGHT, read);
    for (int y = 0; y < HEIGHT; y++) read[y * WIDTH + WIDTH - 1] = map[y * WIDTH + WIDTH - 1]; /* the last centre lies on the edge */
    cr_assert(!memcmp(map, read, WIDTH * HEIGHT));
    cdu_label_source_destroy(source);
    unlink(path);
    free(map);
    free(read);
}
