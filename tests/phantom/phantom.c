/* phantom.c: sets of phantom slides: planned splits, bytes that threads do not change, slides that open, annotations that follow
 * the exact masks, a study that reads. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <tiffio.h>
#include <unistd.h>

#include "cdunet/slide.h"
#include "cdunet/study.h"
#include "core/base/file.h"
#include "core/slide/annotation.h"
#include "tools/phantom/paint.h"
#include "tools/phantom/set.h"

static char folder[512];

static void begin(void)
{
    snprintf(folder, sizeof folder, "%s/phantom-test-%ld", CDUNET_BINARY_DIR, (long)getpid());
}

static void end(void)
{
    char command[600];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    cr_assert_eq(system(command), 0);
}

/* Exit code of `cdunet phantom folder/NAME arguments`; its last line of complaint in `words`. */
static int run(const char *name, const char *arguments, char words[400])
{
    char command[1400], path[600];
    snprintf(path, sizeof path, "%s-words", folder);
    snprintf(command, sizeof command, "'%s/cdunet' --quiet phantom '%s/%s' %s >/dev/null 2>'%s'", CDUNET_BINARY_DIR, folder, name,
             arguments, path);
    int status = system(command);
    FILE *file = fopen(path, "rb");
    cr_assert_not_null(file);
    words[fread(words, 1, 399, file)] = 0;
    fclose(file);
    remove(path);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static phantom_order order_of(uint32_t slides, uint32_t stains)
{
    phantom_order order = {.slides = slides, .stain_count = stains, .width = 1024, .height = 1024, .seed = 3};
    for (uint32_t i = 0; i < stains; i++) order.stains[i] = &phantom_assays[i];
    return order;
}

Test(phantom, splits_share_out_cases_and_stains)
{
    for (uint32_t stains = 1; stains <= 3; stains++) {
        for (uint32_t slides = 1; slides <= 40; slides++) {
            phantom_order order = order_of(slides, stains);
            phantom_set set;
            cdu_error error = {0};
            cr_assert_eq(phantom_set_plan(&order, &set, &error), CDU_OK, "%s", error.words);
            uint32_t of_split[3] = {0};
            bool seen[3][3] = {{false}};
            cr_assert_eq(set.slide_count, slides);
            for (uint32_t i = 0; i < slides; i++) {
                const phantom_slide *slide = &set.slides[i];
                phantom_split split = set.cases[slide->case_index].split;
                of_split[split]++;
                for (uint32_t k = 0; k < stains; k++) seen[split][k] |= slide->assay == &phantom_assays[k];
                for (uint32_t k = 0; k < i; k++) cr_assert_str_neq(slide->name, set.slides[k].name);
            }
            cr_assert(of_split[PHANTOM_TRAIN] >= 1);
            if (slides == 2) cr_assert_eq(of_split[PHANTOM_TEST], 1);
            for (int split = 0; split < 3 && slides >= 3; split++)
                cr_assert(of_split[split] >= 1, "%u slides, %u stains", slides, stains);
            for (uint32_t k = 0; k < stains && slides >= stains; k++) {
                cr_assert(seen[0][k] || seen[1][k] || seen[2][k], "%u slides, %u stains", slides, stains);
            }
            for (uint32_t k = 0; k < stains && slides > 2 * stains; k++) {
                cr_assert(seen[PHANTOM_TRAIN][k] && seen[PHANTOM_TEST][k], "%u slides, %u stains", slides, stains);
            }
            phantom_set_free(&set);
        }
    }
}

Test(phantom, shares_of_area_are_near_the_aim)
{
    double sum[3] = {0};
    phantom_order order = order_of(300, 1);
    phantom_set set;
    cdu_error error = {0};
    cr_assert_eq(phantom_set_plan(&order, &set, &error), CDU_OK);
    uint32_t without_necrosis = 0, without_tumor = 0;
    for (uint32_t i = 0; i < set.case_count; i++) {
        const phantom_shares *s = &set.cases[i].shares;
        sum[0] += (double)s->tissue / set.case_count;
        sum[1] += (double)s->tumor / set.case_count;
        sum[2] += (double)s->necrosis / set.case_count;
        without_tumor += s->tumor <= 0;
        without_necrosis += s->tumor > 0 && s->necrosis <= 0;
    }
    cr_assert(fabs(sum[0] - 0.18) < 0.03 && fabs(sum[1] - 0.19) < 0.03 && fabs(sum[2] - 0.08) < 0.03, "%.3f %.3f %.3f", sum[0],
              sum[1], sum[2]);
    cr_assert(without_tumor > 10 && without_tumor < 60);
    cr_assert(without_necrosis > 20 && without_necrosis < 80);
    phantom_set_free(&set);
}

Test(phantom, same_bytes_for_any_threads, .init = begin, .fini = end)
{
    static const char *const files[] = {"slides/case01-he.tif", "slides/case02-ki67-cd3.tif",
                                        "masks/case01-he.tif",  "annotations/case01-he.geojson",
                                        "slides.csv",           "study.yaml"};
    char words[400], path[CDU_PATH_LIMIT];
    cr_assert_eq(run("one", "--slides 2 --stains he,ki67-cd3 --size 700x600 --seed 9 --threads 1", words), 0, "%s", words);
    cr_assert_eq(run("three", "--slides 2 --stains he,ki67-cd3 --size 700x600 --seed 9 --threads 3", words), 0, "%s", words);
    cr_assert_eq(run("other", "--slides 2 --stains he,ki67-cd3 --size 700x600 --seed 10 --threads 3", words), 0, "%s", words);
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        char *bytes[3];
        size_t size[3];
        for (int k = 0; k < 3; k++) {
            static const char *const names[] = {"one", "three", "other"};
            cdu_error error = {0};
            snprintf(path, sizeof path, "%s/%s/%s", folder, names[k], files[i]);
            cr_assert_eq(cdu_file_read(path, 1u << 26, &bytes[k], &size[k], &error), CDU_OK, "%s", error.words);
        }
        cr_assert(size[0] == size[1] && memcmp(bytes[0], bytes[1], size[0]) == 0, "%s", files[i]);
        if (i < 4)
            cr_assert(size[0] != size[2] || memcmp(bytes[0], bytes[2], size[0]) != 0, "another seed gives the same %s", files[i]);
        for (int k = 0; k < 3; k++) free(bytes[k]);
    }
}

static void render_tile(const phantom_section *section, int32_t x, int32_t y, uint8_t *rgb, uint8_t *classes)
{
    phantom_tile *tile = calloc(1, sizeof *tile);
    cr_assert_not_null(tile);
    tile->x0 = x - PHANTOM_MARGIN;
    tile->y0 = y - PHANTOM_MARGIN;
    phantom_paint_ground(section, tile);
    phantom_paint_cells(section, tile);
    phantom_develop(section, tile, PHANTOM_TILE, PHANTOM_TILE, rgb, classes, PHANTOM_TILE);
    free(tile);
}

/* A pixel is the same whichever tile it is painted in, so no seam can show. */
Test(phantom, tiles_do_not_show)
{
    enum { SHIFT_X = 100, SHIFT_Y = 57 };
    static uint8_t rgb[2][PHANTOM_TILE * PHANTOM_TILE * 3], classes[2][PHANTOM_TILE * PHANTOM_TILE];
    phantom_shares shares = {.tissue = 0.25f, .tumor = 0.3f, .necrosis = 0.2f, .islands = 1};
    cdu_error error = {0};
    phantom_develop_prepare();
    for (uint32_t a = 0; a < phantom_assay_count; a++) {
        phantom_map map;
        phantom_section section;
        cr_assert_eq(phantom_map_make(77 + a, 512, 512, &shares, &map, &error), CDU_OK);
        phantom_section_draw(77 + a, 1, &map, &phantom_assays[a], 512, 512, &section);
        size_t differing = 0, compared = 0, tissue = 0;
        for (int32_t at = 0; at < 768; at += 256) {
            render_tile(&section, at, at, rgb[0], classes[0]);
            render_tile(&section, at + SHIFT_X, at + SHIFT_Y, rgb[1], classes[1]);
            for (int32_t y = SHIFT_Y; y < PHANTOM_TILE; y++) {
                for (int32_t x = SHIFT_X; x < PHANTOM_TILE; x++) {
                    size_t i = (size_t)y * PHANTOM_TILE + (size_t)x, k = (size_t)(y - SHIFT_Y) * PHANTOM_TILE + (size_t)(x - SHIFT_X);
                    differing += memcmp(&rgb[0][3 * i], &rgb[1][3 * k], 3) != 0 || classes[0][i] != classes[1][k];
                    tissue += classes[0][i] != 0;
                    compared++;
                }
            }
        }
        cr_assert_eq(differing, 0, "%s: %zu of %zu pixels differ", phantom_assays[a].name, differing, compared);
        cr_assert(tissue > compared / 4);
        phantom_map_free(&map);
    }
}

/* The first level of a label map. */
static uint8_t *read_mask(const char *path, uint32_t *width, uint32_t *height)
{
    TIFF *tiff = TIFFOpen(path, "r");
    uint32_t side = 0;
    cr_assert_not_null(tiff);
    cr_assert(TIFFGetField(tiff, TIFFTAG_IMAGEWIDTH, width) && TIFFGetField(tiff, TIFFTAG_IMAGELENGTH, height));
    cr_assert(TIFFGetField(tiff, TIFFTAG_TILEWIDTH, &side));
    uint8_t *mask = calloc(*height, *width), *tile = malloc((size_t)side * side);
    for (uint32_t y = 0; y < *height; y += side) {
        for (uint32_t x = 0; x < *width; x += side) {
            cr_assert(TIFFReadTile(tiff, tile, x, y, 0, 0) > 0);
            for (uint32_t k = 0; k < side && y + k < *height; k++) {
                memcpy(mask + (size_t)(y + k) * *width + x, tile + (size_t)k * side, *width - x < side ? *width - x : side);
            }
        }
    }
    TIFFClose(tiff);
    free(tile);
    return mask;
}

static bool inside(const cdu_polygon *polygon, double x, double y)
{
    bool in = false;
    for (size_t r = 0; r < polygon->count; r++) {
        const cdu_ring *ring = &polygon->rings[r];
        for (size_t i = 0, j = ring->count - 1; i < ring->count; j = i++) {
            cdu_point a = ring->points[i], b = ring->points[j];
            if ((a.y > y) != (b.y > y) && x < (b.x - a.x) * (y - a.y) / (b.y - a.y) + a.x) in = !in;
        }
    }
    return in;
}

/* What the annotations say of a place: the classes' order resolves overlaps. */
static int drawn_at(const cdu_annotations *drawn, double x, double y)
{
    static const char *const order[] = {"Exclude", "Necrosis", "Tumor", "Tissue"};
    static const int values[] = {255, 3, 2, 1};
    for (int k = 0; k < 4; k++) {
        for (size_t i = 0; i < drawn->count; i++) {
            if (strcmp(drawn->items[i].class_name, order[k]) == 0 && inside(&drawn->items[i].polygons[0], x, y)) return values[k];
        }
    }
    return 0;
}

/* Intersection over union of each class on every fourth pixel; returns that of tissue of all kinds. */
static double agreement(const uint8_t *mask, uint32_t width, uint32_t height, const cdu_annotations *drawn, double of_class[4])
{
    double both[5] = {0}, either[5] = {0};
    for (uint32_t y = 2; y < height; y += 4) {
        for (uint32_t x = 2; x < width; x += 4) {
            int exact = mask[(size_t)y * width + x], hand = drawn_at(drawn, x + 0.5, y + 0.5);
            if (exact == 255 || hand == 255) continue;
            for (int c = 0; c < 4; c++) {
                both[c] += exact == c && hand == c;
                either[c] += exact == c || hand == c;
            }
            both[4] += exact > 0 && hand > 0;
            either[4] += exact > 0 || hand > 0;
        }
    }
    for (int c = 0; c < 4; c++) of_class[c] = either[c] > 0 ? both[c] / either[c] : -1;
    return both[4] / either[4];
}

Test(phantom, slides_masks_annotations_and_study_agree, .init = begin, .fini = end)
{
    char words[400], path[CDU_PATH_LIMIT];
    cr_assert_eq(run("set", "--slides 3 --stains he,cea,ki67-cd3 --size 1536x1536 --seed 5", words), 0, "%s", words);
    cdu_error error = {0};
    cdu_study *study = NULL;
    snprintf(path, sizeof path, "%s/set/study.yaml", folder);
    cr_assert_eq(cdu_study_read(path, &study, &error), CDU_OK, "%s", error.words);
    cr_assert_eq(study->slide_count, 3);
    cr_assert_eq(study->class_count, 4);
    for (size_t i = 0; i < study->slide_count; i++) {
        cdu_slide *slide = NULL;
        cr_assert_eq(cdu_slide_open(study->slides[i].slide, 0, &slide, &error), CDU_OK, "%s", error.words);
        cdu_slide_info info = cdu_slide_info_of(slide);
        cr_assert(info.width == 1536 && info.height == 1536 && fabs(info.mpp - 0.5) < 1e-4 && info.levels >= 2);
        cdu_slide_close(slide);
        const char *name = strrchr(study->slides[i].slide, '/') + 1;
        snprintf(path, sizeof path, "%s/set/masks/%s", folder, name);
        uint32_t width, height;
        uint8_t *mask = read_mask(path, &width, &height);
        cr_assert(width == 1536 && height == 1536);
        size_t pixels[256] = {0};
        for (size_t k = 0; k < (size_t)width * height; k++) pixels[mask[k]]++;
        for (int c = 0; c < 4; c++)
            cr_assert(pixels[c] > (size_t)width * height / 50, "%s has %zu pixels of class %d", name, pixels[c], c);
        cr_assert_eq(pixels[0] + pixels[1] + pixels[2] + pixels[3] + pixels[255], (size_t)width * height);
        cdu_annotations drawn = {0};
        cr_assert_eq(cdu_annotations_read(study->slides[i].annotation, &drawn, &error), CDU_OK, "%s", error.words);
        double of_class[4], tissue = agreement(mask, width, height, &drawn, of_class);
        cr_log_info("%s: tissue of all kinds %.3f; classes %.3f %.3f %.3f %.3f", name, tissue, of_class[0], of_class[1],
                    of_class[2], of_class[3]);
        cr_assert(tissue > 0.90 && tissue < 0.995, "%s: tissue %.3f", name, tissue);
        for (int c = 0; c < 4; c++) cr_assert(of_class[c] > 0.70, "%s: class %d %.3f", name, c, of_class[c]);
        cdu_annotations_free(&drawn);
        free(mask);
    }
    cdu_study_free(study);
}

Test(phantom, bad_arguments_are_refused_in_one_line, .init = begin, .fini = end)
{
    static const struct {
        const char *arguments, *words;
        int code;
    } rows[] = {
        {"--slides 0", "--slides", 2},
        {"--stains he,silver", "known are he, cea, ki67-cd3, cd163-cd68, cd8-cd3, foxp3, ki67-cd8, prf-cd3, pd1", 2},
        {"--stains he,he", "twice", 2},
        {"--size 64x64", "from 512", 2},
    };
    char words[400];
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        cr_assert_eq(run("none", rows[i].arguments, words), rows[i].code);
        cr_assert(strstr(words, rows[i].words), "%s", words);
        cr_assert_eq(strchr(words, '\n'), words + strlen(words) - 1);
        cr_assert_not(cdu_file_exists(folder));
    }
    cr_assert_eq(run("../../../../../../../../../../../../dev/null/x", "--size 512x512", words), 73, "%s", words);
}
