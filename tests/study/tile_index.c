/* tile_index.c: tiles, their counts and what is kept, against plain counting on small pictures; class weights against hand computation. */
#include <criterion/criterion.h>
#include <math.h>
#include <png.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/base/memory.h"
#include "core/study/tile_index.h"

static char folder[100];

static void make_folder(void)
{
    snprintf(folder, sizeof folder, "/tmp/cdunet-tiles-XXXXXX");
    cr_assert(mkdtemp(folder) != NULL);
}

static void remove_folder(void)
{
    char command[200];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    cr_assert(system(command) == 0);
}

__attribute__((format(printf, 2, 3))) static const char *put(const char *name, const char *format, ...)
{
    static char path[200];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "wb");
    va_list arguments;
    va_start(arguments, format);
    vfprintf(file, format, arguments);
    va_end(arguments);
    fclose(file);
    return path;
}

/* A picture of glass, with tissue in columns [from, to). */
static void put_slide(const char *name, uint32_t width, uint32_t height, uint32_t from, uint32_t to)
{
    char path[200];
    uint8_t *pixels = malloc((size_t)width * height * 3);
    for (uint32_t y = 0; y < height; y++)
        for (uint32_t x = 0; x < width; x++) {
            uint8_t *at = pixels + ((size_t)y * width + x) * 3;
            bool tissue = x >= from && x < to;
            at[0] = tissue ? (uint8_t)(150 + (x * 7 + y * 13) % 60) : 244;
            at[1] = tissue ? (uint8_t)(60 + (x * 5 + y * 3) % 60) : 244;
            at[2] = tissue ? (uint8_t)(140 + (x * 3 + y * 11) % 60) : 246;
        }
    png_image image = {.version = PNG_IMAGE_VERSION, .width = width, .height = height, .format = PNG_FORMAT_RGB};
    snprintf(path, sizeof path, "%s/%s", folder, name);
    cr_assert(png_image_write_to_file(&image, path, 0, pixels, 0, NULL));
    free(pixels);
}

static void put_boxes(const char *name, int count, const char *const *classes, const int (*boxes)[4])
{
    char text[4096];
    size_t used = (size_t)snprintf(text, sizeof text, "[");
    for (int i = 0; i < count; i++) {
        const int *b = boxes[i];
        used += (size_t)snprintf(text + used, sizeof text - used,
                                 "%s{\"type\":\"Feature\",\"geometry\":{\"type\":\"Polygon\",\"coordinates\":[[[%d,%d],[%d,%d],[%d,%d],[%d,%d]]]},"
                                 "\"properties\":{\"classification\":\"%s\"}}", i ? ",\n" : "", b[0], b[1], b[2], b[1], b[2], b[3], b[0], b[3], classes[i]);
    }
    put(name, "%s]", text);
}

static cdu_study *read_study(const char *settings)
{
    cdu_study *study;
    cdu_error error = {0};
    const char *path = put("study.yaml", "slides: slides.csv\n%s", settings);
    cr_assert(cdu_study_read(path, &study, &error) == CDU_OK, "%s", error.words);
    return study;
}

static cdu_tile_index build(const cdu_study *study, cdu_split split, uint32_t threads)
{
    cdu_tile_index index;
    cdu_error error = {0};
    cr_assert(cdu_tile_index_build(study, split, false, threads, &index, &error) == CDU_OK, "%s", error.words);
    return index;
}

TestSuite(tile_index, .init = make_folder, .fini = remove_folder);

Test(tile_index, covers_the_slide_and_counts_classes)
{
    put_slide("a.png", 100, 70, 0, 100);
    put_boxes("a.geojson", 3, (const char *const[]){"Tissue", "Tumor", "Exclude"}, (const int[][4]){{0, 0, 100, 70}, {10, 10, 50, 60}, {90, 0, 100, 10}});
    put("slides.csv", "slide,annotation,split,mpp\na.png,a.geojson,train,1\n");
    cdu_study *study = read_study("tiles: {size: 32, stride: 20}\n");
    cdu_tile_index index = build(study, CDU_SPLIT_TRAIN, 1);
    /* columns at 0 20 40 60 68, rows at 0 20 38 */
    static const int64_t columns[] = {0, 20, 40, 60, 68}, rows[] = {0, 20, 38};
    cr_assert(index.count == 15 && index.size == 32 && index.classes == 4);
    for (size_t i = 0; i < 15; i++) {
        const cdu_tile *tile = &index.tiles[i];
        cr_assert(tile->x == columns[i % 5] && tile->y == rows[i / 5], "tile %zu at %ld %ld", i, (long)tile->x, (long)tile->y);
        uint32_t counts[3] = {0};
        for (int64_t y = tile->y; y < tile->y + 32; y++)
            for (int64_t x = tile->x; x < tile->x + 32; x++) counts[x >= 90 && y < 10 ? 0 : x >= 10 && x < 50 && y >= 10 && y < 60 ? 2 : 1]++;
        cr_assert(tile->pixels[0] == 0 && tile->pixels[1] == counts[1] && tile->pixels[2] == counts[2]);
    }
    cr_assert(index.slide_class_pixels[2] == 40 * 50);
    cr_assert(index.slide_class_pixels[1] == 100 * 70 - 40 * 50 - 100);
    cr_assert(index.slide_class_pixels[0] == 0);
    cdu_tile_index_free(&index);
    cdu_study_free(study);
}

Test(tile_index, scales_and_pads)
{
    put_slide("a.png", 50, 41, 0, 50);
    put_boxes("a.geojson", 1, (const char *const[]){"Tumor"}, (const int[][4]){{0, 0, 20, 20}});
    put("slides.csv", "slide,annotation,split,mpp\na.png,a.geojson,train,0.5\n");
    cdu_study *study = read_study("tiles: {size: 32, stride: 32, mpp: 1.0}\n");
    cdu_tile_index index = build(study, CDU_SPLIT_TRAIN, 1);
    /* 25 x 20.5 pixels at 1 um/px: one tile; the centre of row 20 lies on the edge and is outside */
    cr_assert(index.count == 1 && index.tiles[0].x == 0 && index.tiles[0].y == 0);
    cr_assert(index.tiles[0].pixels[2] == 100 && index.tiles[0].pixels[0] == 25 * 20 - 100);
    cdu_tile_index_free(&index);
    cdu_study_free(study);
}

Test(tile_index, keeps_a_share_of_glass_the_same_for_any_threads)
{
    put_slide("a.png", 640, 640, 0, 160);
    put_slide("b.png", 320, 320, 0, 0);
    put_boxes("a.geojson", 1, (const char *const[]){"Tissue"}, (const int[][4]){{0, 0, 100, 640}});
    put_boxes("b.geojson", 1, (const char *const[]){"Tumor"}, (const int[][4]){{300, 300, 316, 316}});
    put("slides.csv", "slide,annotation,split,mpp\na.png,a.geojson,train,1\nb.png,b.geojson,train,1\n");
    cdu_study *study = read_study("tiles: {size: 32, stride: 32, empty: 1}\nsplit: {validation: 0}\n");
    cdu_tile_index all = build(study, CDU_SPLIT_TRAIN, 1);
    cr_assert(all.count == 500);
    cdu_tile_index_free(&all);
    study->tiles.empty = 0;
    cdu_tile_index none = build(study, CDU_SPLIT_TRAIN, 1);
    /* 5 columns of a look like tissue, one tile of b holds the tumor; the cautious finder may see a column more */
    cr_assert(none.count >= 101 && none.count <= 121, "%zu", none.count);
    cr_assert(none.class_pixels[2] == 256);
    study->tiles.empty = 0.3;
    cdu_tile_index some = build(study, CDU_SPLIT_TRAIN, 1), again = build(study, CDU_SPLIT_TRAIN, 4);
    cr_assert(some.count > none.count + 80 && some.count < none.count + 160, "%zu", some.count);
    cr_assert(some.count == again.count && !memcmp(some.tiles, again.tiles, some.count * sizeof *some.tiles));
    cr_assert(!memcmp(some.class_pixels, again.class_pixels, sizeof some.class_pixels));
    study->train.seed++;
    cdu_tile_index other = build(study, CDU_SPLIT_TRAIN, 1);
    cr_assert(other.count != some.count || memcmp(some.tiles, other.tiles, some.count * sizeof *some.tiles) != 0);
    /* whatever tiles are kept, the slides' own pixels are all counted once */
    cr_assert(some.slide_class_pixels[0] + some.slide_class_pixels[1] + some.slide_class_pixels[2] == 640 * 640 + 320 * 320);
    cr_assert(some.slide_class_pixels[1] == 64000);
    cdu_tile_index_free(&none);
    cdu_tile_index_free(&some);
    cdu_tile_index_free(&again);
    cdu_tile_index_free(&other);
    cdu_study_free(study);
}

Test(tile_index, refuses_what_cannot_be_trained_on)
{
    put_slide("a.png", 64, 64, 0, 64);
    put_boxes("a.geojson", 1, (const char *const[]){"Tumor"}, (const int[][4]){{0, 0, 40, 64}});
    put_boxes("e.geojson", 1, (const char *const[]){"Exclude"}, (const int[][4]){{-5, -5, 70, 70}});
    put("slides.csv", "slide,annotation,split,mpp\na.png,a.geojson,train,1\n");
    cdu_study *study = read_study("tiles: {size: 32, stride: 32}\n");
    cdu_tile_index index;
    cdu_error error = {0};
    cr_assert(cdu_tile_index_build(study, CDU_SPLIT_TRAIN, true, 1, &index, &error) == CDU_BAD_DATA);
    cr_assert(strstr(error.words, "class 'Tissue' has no pixel in the 1 annotated training slides") != NULL, "%s", error.words);
    cr_assert(cdu_tile_index_build(study, CDU_SPLIT_TEST, false, 1, &index, &error) == CDU_BAD_DATA);
    cdu_study_free(study);
    put("slides.csv", "slide,annotation,split,mpp\na.png,e.geojson,train,1\n");
    study = read_study("tiles: {size: 32, stride: 32}\n");
    cr_assert(cdu_tile_index_build(study, CDU_SPLIT_TRAIN, false, 1, &index, &error) == CDU_BAD_DATA);
    cr_assert(strstr(error.words, "give no tile with labelled pixels") != NULL, "%s", error.words);
    cdu_study_free(study);
    put("slides.csv", "# two lines\nslide,annotation,split,mpp\na.png,a.geojson,train,\n");
    study = read_study("");
    cr_assert(cdu_tile_index_build(study, CDU_SPLIT_TRAIN, false, 1, &index, &error) == CDU_BAD_DATA);
    cr_assert(strstr(error.words, "slides.csv:3: ") && strstr(error.words, "a.png"), "%s", error.words);
    cdu_study_free(study);
}

Test(tile_index, takes_label_images)
{
    put_slide("a.png", 64, 64, 0, 64);
    uint8_t map[32 * 32];
    for (int i = 0; i < 32 * 32; i++) map[i] = i % 32 < 8 ? 3 : i % 32 < 12 ? 255 : 1;
    png_image image = {.version = PNG_IMAGE_VERSION, .width = 32, .height = 32, .format = PNG_FORMAT_GRAY};
    char path[200];
    snprintf(path, sizeof path, "%s/map.png", folder);
    cr_assert(png_image_write_to_file(&image, path, 0, map, 0, NULL));
    put("slides.csv", "slide,annotation,split,mpp\na.png,map.png,train,1\n");
    cdu_study *study = read_study("tiles: {size: 64, stride: 64}\n");
    cdu_tile_index index = build(study, CDU_SPLIT_TRAIN, 1);
    cr_assert(index.count == 1 && index.tiles[0].pixels[3] == 16 * 64 && index.tiles[0].pixels[1] == 40 * 64 && index.tiles[0].pixels[0] == 0);
    cdu_tile_index_free(&index);
    cdu_study_free(study);
}

Test(tile_index, frequencies_count_slides_with_the_class_only)
{
    put_slide("a.png", 64, 32, 0, 64);
    put_slide("b.png", 32, 32, 0, 32);
    put_boxes("a.geojson", 2, (const char *const[]){"Tissue", "Tumor"}, (const int[][4]){{0, 0, 40, 32}, {40, 0, 60, 32}});
    put_boxes("b.geojson", 1, (const char *const[]){"Tissue"}, (const int[][4]){{0, 0, 16, 32}});
    put("slides.csv", "slide,annotation,split,mpp\na.png,a.geojson,train,1\nb.png,b.geojson,train,1\n");
    cdu_study *study = read_study("tiles: {size: 32, stride: 32}\nsplit: {validation: 0}\n");
    cdu_tile_index index = build(study, CDU_SPLIT_TRAIN, 2);
    cr_assert(index.count == 3 && index.tiles[2].slide == 1);
    cr_assert(index.class_pixels[0] == 20 * 32 && index.class_pixels[1] == 56 * 32 && index.class_pixels[2] == 20 * 32);
    cr_assert(index.present_pixels[0] == 96 * 32 && index.present_pixels[1] == 96 * 32);
    cr_assert(index.present_pixels[2] == 64 * 32); /* the second slide has no tumor */
    cr_assert(index.present_pixels[3] == 0);
    cdu_tile_index_free(&index);
    cdu_study_free(study);
}

Test(tile_index, median_frequency_by_hand)
{
    /* slide 1: 10 background, 60 tissue, 30 tumor; slide 2: 50 tissue, 50 tumor. Frequencies: background 10/100 = 0.1, tissue 110/200 = 0.55,
     * tumor 80/200 = 0.4; median 0.4; weights 4, 0.4/0.55, 1; necrosis, without pixels, 0 */
    cdu_study study = {.train = {.median_frequency = true}};
    cdu_tile_index index = {.classes = 4, .class_pixels = {10, 110, 80, 0}, .present_pixels = {100, 200, 200, 0}};
    float weights[CDU_CLASS_LIMIT];
    cdu_class_weights(&study, &index, weights);
    cr_assert(fabsf(weights[0] - 4) < 1e-6f && fabsf(weights[1] - 0.727272727f) < 1e-6f && weights[2] == 1 && weights[3] == 0 && weights[4] == 0);
    /* an even number: the mean of the two in the middle, (0.1 + 0.4) / 2 */
    index.class_pixels[3] = 4;
    index.present_pixels[3] = 100;
    cdu_class_weights(&study, &index, weights);
    cr_assert(fabsf(weights[2] - 0.625f) < 1e-6f && fabsf(weights[3] - 6.25f) < 1e-5f);
    study.train.median_frequency = false;
    cdu_class_weights(&study, &index, weights);
    cr_assert(weights[0] == 1 && weights[3] == 1 && weights[4] == 0);
}

Test(tile_index, overlap_order_becomes_precedence)
{
    put_slide("a.png", 64, 64, 0, 64);
    put_boxes("a.geojson", 5, (const char *const[]){"Fold", "liver", "Tumor", "Necrosis", "IGNORE me"},
              (const int[][4]){{0, 0, 10, 64}, {5, 0, 30, 64}, {20, 0, 40, 64}, {35, 0, 50, 64}, {45, 0, 60, 64}});
    put("slides.csv", "slide,annotation,split,mpp\na.png,a.geojson,train,1\n");
    cdu_study *study = read_study(
        "classes: [{name: Background}, {name: Tissue, also: [Liver]}, {name: Tumor}, {name: Necrosis}]\n"
        "annotations: {exclude: [Exclude, Fold, \"Ignore*\"], overlap: [Liver, Exclude, Tumor]}\n");
    cdu_labelled_slide opened;
    cdu_error error = {0};
    cr_assert(cdu_labelled_slide_open(study, &study->slides[0], &opened, &error) == CDU_OK, "%s", error.words);
    uint8_t row[64], expected[64] = {0};
    cr_assert(cdu_label_source_read(opened.labels, 1, 0, 30, 64, 1, row, &error) == CDU_OK);
    for (int x = 0; x < 64; x++) expected[x] = x < 5 ? 255 : x < 30 ? 1 : x < 40 ? 2 : x < 45 ? 3 : x < 60 ? 255 : 0;
    cr_assert(!memcmp(row, expected, 64));
    cdu_labelled_slide_close(&opened);
    cdu_study_free(study);
}
