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
#include "tools/phantom/hand.h"
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

/* Every assay: one thread and three give the same slide and mask. */
Test(phantom, every_assay_has_the_same_bytes_again, .init = begin, .fini = end)
{
    char words[400], path[CDU_PATH_LIMIT];
    const char *const runs[] = {"one", "three"};
    cr_assert_eq(run("one", "--slides 9 --stains all --size 512x512 --seed 6 --threads 1", words), 0, "%s", words);
    cr_assert_eq(run("three", "--slides 9 --stains all --size 512x512 --seed 6 --threads 3", words), 0, "%s", words);
    phantom_order order = order_of(9, (uint32_t)phantom_assay_count);
    phantom_set set;
    cdu_error error = {0};
    cr_assert_eq(phantom_assay_count, 9);
    cr_assert_eq(phantom_set_plan(&order, &set, &error), CDU_OK, "%s", error.words);
    for (uint32_t i = 0; i < set.slide_count; i++) {
        for (int part = 0; part < 2; part++) {
            char *bytes[2];
            size_t size[2];
            for (int k = 0; k < 2; k++) {
                snprintf(path, sizeof path, "%s/%s/%s/%s.tif", folder, runs[k], part ? "masks" : "slides", set.slides[i].name);
                cr_assert_eq(cdu_file_read(path, 1u << 26, &bytes[k], &size[k], &error), CDU_OK, "%s", error.words);
            }
            cr_assert(size[0] == size[1] && memcmp(bytes[0], bytes[1], size[0]) == 0, "%s", path);
            for (int k = 0; k < 2; k++) free(bytes[k]);
        }
    }
    phantom_set_free(&set);
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
                    size_t i = (size_t)y * PHANTOM_TILE + (size_t)x,
                           k = (size_t)(y - SHIFT_Y) * PHANTOM_TILE + (size_t)(x - SHIFT_X);
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

/* ---- what each assay marks ---- */

enum { PATCH = 4 }; /* tiles a side that are looked at */

/* One section of 512 um, painted but for the scanner: what each pixel holds. */
typedef struct {
    phantom_section section;
    phantom_map map;
    phantom_tile *tiles;
} painting;

/* `index` draws other slides of the same case. */
static void paint_section(painting *p, const phantom_assay *assay, uint64_t seed, uint32_t index)
{
    phantom_shares shares = {.tissue = 0.3f, .tumor = 0.3f, .necrosis = 0.15f, .islands = 1};
    cdu_error error = {0};
    cr_assert_eq(phantom_map_make(seed, 512, 512, &shares, &p->map, &error), CDU_OK);
    phantom_section_draw(seed, index, &p->map, assay, 512, 512, &p->section);
    p->tiles = calloc(PATCH * PATCH, sizeof *p->tiles);
    cr_assert_not_null(p->tiles);
    for (int i = 0; i < PATCH * PATCH; i++) {
        p->tiles[i].x0 = i % PATCH * PHANTOM_TILE - PHANTOM_MARGIN;
        p->tiles[i].y0 = i / PATCH * PHANTOM_TILE - PHANTOM_MARGIN;
        phantom_paint_ground(&p->section, &p->tiles[i]);
        phantom_paint_cells(&p->section, &p->tiles[i]);
    }
}

static void drop(painting *p)
{
    phantom_map_free(&p->map);
    free(p->tiles);
}

/* Of the pixels of a class (0: of all but glass) that part which carries more than `least` of a chromogen. */
static double marked(const painting *p, int chromogen, int class_of, float least)
{
    size_t all = 0, with = 0;
    for (int i = 0; i < PATCH * PATCH; i++) {
        const phantom_tile *t = &p->tiles[i];
        for (int k = 0; k < PHANTOM_AREA; k++) {
            if (t->class_of[k] == 0 || t->class_of[k] == 255 || (class_of && t->class_of[k] != class_of)) continue;
            all++;
            with += t->mark[chromogen][k] > least;
        }
    }
    return all ? (double)with / (double)all : 0;
}

/* Of the pixels with more than `least` of a chromogen, that part which lies on a nucleus, as the same slide unmarked has them. */
static double on_nuclei(const painting *p, const painting *unmarked, int chromogen, float least)
{
    size_t all = 0, on = 0;
    for (int i = 0; i < PATCH * PATCH; i++) {
        for (int k = 0; k < PHANTOM_AREA; k++) {
            if (p->tiles[i].mark[chromogen][k] <= least) continue;
            all++;
            on += unmarked->tiles[i].haematoxylin[k] > 0.25f;
        }
    }
    return all ? (double)on / (double)all : 0;
}

/* The same slide with the assay's colours and none of its marks. */
static void paint_unmarked(painting *p, const char *name, uint64_t seed)
{
    phantom_assay bare = *phantom_assay_find(name);
    bare.cell_count = bare.site_count = 0;
    paint_section(p, &bare, seed, 1);
    p->section.assay = NULL;
}

static const struct {
    const char *name;
    int chromogen;
    double tissue[2], tumor[2], necrosis[2]; /* least and most share of marked pixels */
    double nuclei[2];                        /* and of these on nuclei */
} expected_marks[] = {
    {"cea", 0, {0, 0.05}, {0.10, 0.9}, {0.02, 0.9}, {0, 0.6}},
    {"ki67-cd3", 0, {0, 0.03}, {0.02, 0.3}, {0, 0.03}, {0.6, 1}},
    {"ki67-cd3", 1, {0.001, 0.08}, {0.0002, 0.05}, {0, 0.01}, {0, 0.75}},
    {"cd163-cd68", 0, {0.002, 0.08}, {0.0005, 0.08}, {0, 0.05}, {0, 0.75}},
    {"cd163-cd68", 1, {0.001, 0.08}, {0.0003, 0.08}, {0, 0.05}, {0, 0.75}},
    {"cd8-cd3", 0, {0.0005, 0.05}, {0.0001, 0.03}, {0, 0.01}, {0, 0.75}},
    {"cd8-cd3", 1, {0.001, 0.08}, {0.0002, 0.05}, {0, 0.01}, {0, 0.75}},
    {"foxp3", 0, {0.00002, 0.01}, {0, 0.01}, {0, 0.003}, {0.6, 1}},
    {"ki67-cd8", 0, {0, 0.03}, {0.02, 0.3}, {0, 0.03}, {0.6, 1}},
    {"ki67-cd8", 1, {0.0005, 0.05}, {0.0001, 0.03}, {0, 0.01}, {0, 0.75}},
    {"prf-cd3", 0, {0.00001, 0.005}, {0, 0.005}, {0, 0.003}, {0, 1}},
    {"prf-cd3", 1, {0.001, 0.08}, {0.0002, 0.05}, {0, 0.01}, {0, 0.75}},
    {"pd1", 0, {0.0002, 0.06}, {0.00001, 0.03}, {0, 0.01}, {0, 0.75}},
};

Test(phantom, assays_mark_the_structures_they_name)
{
    for (size_t i = 0; i < sizeof expected_marks / sizeof expected_marks[0]; i++) {
        painting p, bare;
        paint_section(&p, phantom_assay_find(expected_marks[i].name), 91, 1);
        paint_unmarked(&bare, expected_marks[i].name, 91);
        const double *bounds[] = {expected_marks[i].tissue, expected_marks[i].tumor, expected_marks[i].necrosis};
        int k = expected_marks[i].chromogen;
        for (int c = 1; c <= 3; c++) {
            double share = marked(&p, k, c, 0.3f);
            cr_expect(share >= bounds[c - 1][0] && share <= bounds[c - 1][1], "%s, chromogen %d, class %d: %.5f",
                      expected_marks[i].name, k, c, share);
        }
        double nuclei = on_nuclei(&p, &bare, k, 0.3f);
        cr_expect(nuclei >= expected_marks[i].nuclei[0] && nuclei <= expected_marks[i].nuclei[1],
                  "%s, chromogen %d: %.3f on nuclei", expected_marks[i].name, k, nuclei);
        cr_expect(marked(&bare, k, 0, 0.3f) < 1e-9, "%s: marks without marks", expected_marks[i].name);
        drop(&p);
        drop(&bare);
    }
}

/* CD8 and perforin lie in T cells alone: near every such pixel lies the ring of CD3. */
Test(phantom, cells_of_two_marks_are_the_same_cells)
{
    static const char *const names[] = {"cd8-cd3", "prf-cd3"};
    for (int n = 0; n < 2; n++) {
        painting p;
        paint_section(&p, phantom_assay_find(names[n]), 91, 1);
        size_t all = 0, near = 0;
        for (int i = 0; i < PATCH * PATCH; i++) {
            const phantom_tile *t = &p.tiles[i];
            for (int y = 10; y < PHANTOM_SIDE - 10; y++) {
                for (int x = 10; x < PHANTOM_SIDE - 10; x++) {
                    if (t->mark[0][y * PHANTOM_SIDE + x] < 0.35f) continue;
                    float most = 0;
                    for (int dy = -9; dy <= 9; dy++) {
                        for (int dx = -9; dx <= 9; dx++) most = fmaxf(most, t->mark[1][(y + dy) * PHANTOM_SIDE + x + dx]);
                    }
                    all++;
                    near += most > 0.3f;
                }
            }
        }
        cr_assert(all > 20 && near == all, "%s: %zu of %zu", names[n], near, all);
        drop(&p);
    }
}

/* Amid a heap of lymphocytes PD1 marks more of them: against the same slides with every lymphocyte ringed. */
Test(phantom, pd1_is_dense_in_heaps)
{
    static const phantom_cell_mark ring = {
        .cell = PHANTOM_LYMPHOCYTE, .part = PHANTOM_ON_MEMBRANE, .share = {1, 1}, .strength = {0.7f, 0.7f}};
    phantom_assay every = *phantom_assay_find("pd1");
    every.cells = &ring;
    every.cell_count = 1;
    double all[2] = {0}, with[2] = {0};
    for (uint64_t seed = 91; seed < 97; seed++) {
        painting p, rings;
        paint_section(&p, phantom_assay_find("pd1"), seed, 1);
        paint_section(&rings, &every, seed, 1);
        for (int i = 0; i < PATCH * PATCH; i++) {
            for (int block = 0; block < 16; block++) {
                size_t ringed = 0, marks = 0;
                for (int k = 0; k < 64 * 64; k++) {
                    int at = (PHANTOM_MARGIN + block / 4 * 64 + k / 64) * PHANTOM_SIDE + PHANTOM_MARGIN + block % 4 * 64 + k % 64;
                    ringed += rings.tiles[i].mark[0][at] > 0.3f;
                    marks += p.tiles[i].mark[0][at] > 0.3f;
                }
                int heap = ringed > 64 * 64 / 8;
                if (!heap && ringed > 64 * 64 / 20) continue; /* neither heap nor apart */
                all[heap] += (double)ringed;
                with[heap] += (double)marks;
            }
        }
        drop(&p);
        drop(&rings);
    }
    cr_assert(all[0] > 1000 && all[1] > 1000, "%.0f %.0f", all[0], all[1]);
    cr_assert(with[1] / all[1] > 1.5 * with[0] / all[0], "in heaps %.3f, apart %.3f", with[1] / all[1], with[0] / all[0]);
}

static double degrees_between(const double a[3], const float b[3])
{
    double along = 0, aa = 0, bb = 0;
    for (int k = 0; k < 3; k++) {
        along += a[k] * (double)b[k];
        aa += a[k] * a[k];
        bb += (double)b[k] * (double)b[k];
    }
    return acos(fmin(along / sqrt(aa * bb), 1)) * 57.29578;
}

/* Adds the optical density of the pixels that hold from 0.25 to 0.9 of `plane`; returns how many. */
static size_t add_density(painting *p, const float *(*plane)(const phantom_tile *tile), double density[3])
{
    static uint8_t rgb[PHANTOM_TILE * PHANTOM_TILE * 3], classes[PHANTOM_TILE * PHANTOM_TILE];
    size_t count = 0;
    for (int i = 0; i < PATCH * PATCH; i++) {
        phantom_tile *t = &p->tiles[i];
        phantom_develop(&p->section, t, PHANTOM_TILE, PHANTOM_TILE, rgb, classes, PHANTOM_TILE);
        for (int y = 0; y < PHANTOM_TILE; y++) {
            for (int x = 0; x < PHANTOM_TILE; x++) {
                size_t at = (size_t)(y + PHANTOM_MARGIN) * PHANTOM_SIDE + (size_t)(x + PHANTOM_MARGIN);
                if (t->class_of[at] == 255 || plane(t)[at] < 0.25f || plane(t)[at] > 0.9f) continue;
                count++;
                for (int k = 0; k < 3; k++) {
                    double white = 255 * (double)p->section.style.white[k], seen = rgb[3 * (y * PHANTOM_TILE + x) + k];
                    density[k] -= log10(fmax(seen, 1) / white);
                }
            }
        }
    }
    return count;
}

static const float *first_mark(const phantom_tile *t)
{
    return t->mark[0];
}

static const float *second_mark(const phantom_tile *t)
{
    return t->mark[1];
}

static const float *protein(const phantom_tile *t)
{
    return t->protein;
}

static const float *haematoxylin(const phantom_tile *t)
{
    return t->haematoxylin;
}

/* As published, or as set from absorption peaks, by lab: not read from the program, so that a wrong row shows. */
static const float fast_red[3] = {.214f, .851f, .478f}, aec[3] = {.274f, .680f, .680f}, brown[3] = {.268f, .570f, .776f},
                   blue[3] = {.650f, .704f, .286f}, pink[3] = {.093f, .954f, .283f}, purple[3] = {.36f, .86f, .36f},
                   yellow[3] = {.03f, .15f, .99f};
static const struct {
    const char *name;
    const float *pink, *chromogen[2]; /* fast_red stands for AEC in lab 2 */
} expected_colors[] = {
    {"he", pink, {NULL, NULL}},
    {"cea", NULL, {brown, NULL}},
    {"ki67-cd3", NULL, {brown, fast_red}},
    {"cd163-cd68", NULL, {brown, fast_red}},
    {"cd8-cd3", NULL, {brown, fast_red}},
    {"foxp3", NULL, {brown, NULL}},
    {"ki67-cd8", NULL, {purple, yellow}},
    {"prf-cd3", NULL, {brown, fast_red}},
    {"pd1", NULL, {brown, NULL}},
};

/* What each stain looks like by itself is its published colour, but for the lab's and the slide's own turn; the scanner's stray
 * light pales the darkest. */
Test(phantom, stains_have_their_colours)
{
    static const float *(*const planes[4])(const phantom_tile *) = {haematoxylin, protein, first_mark, second_mark};
    phantom_develop_prepare();
    for (size_t a = 0; a < sizeof expected_colors / sizeof expected_colors[0]; a++) {
        const phantom_assay *assay = phantom_assay_find(expected_colors[a].name);
        cr_assert_not_null(assay, "%s", expected_colors[a].name);
        const float *colors[4] = {blue, expected_colors[a].pink, expected_colors[a].chromogen[0], expected_colors[a].chromogen[1]};
        for (int c = 0; c < 4; c++) {
            if (!colors[c]) continue;
            double density[3] = {0};
            size_t count = 0;
            int lab = 0;
            for (uint32_t index = 1; index <= 12 && count < 40; index++) { /* some slides mark little */
                painting p;
                paint_section(&p, assay, 91, index);
                for (int other = 0; other < PHANTOM_COMPONENTS; other++) {
                    if (other != c) memset(p.section.style.vector[other], 0, sizeof p.section.style.vector[other]);
                }
                p.section.style.body = 0;
                lab = p.section.style.lab;
                memset(density, 0, sizeof density);
                count = add_density(&p, planes[c], density);
                drop(&p);
            }
            const float *wanted = colors[c] == fast_red && lab == 2 ? aec : colors[c];
            cr_expect(count >= 40, "%s, stain %d: %zu pixels", assay->name, c, count);
            cr_expect(degrees_between(density, wanted) < 13, "%s, stain %d: %.1f degrees off", assay->name, c,
                      degrees_between(density, wanted));
        }
    }
}

/* ---- what lies on the glass, and confusers ---- */

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

Test(phantom, pen_dust_and_bubbles_are_excluded_and_drawn)
{
    phantom_shares shares = {.tissue = 0.3f, .tumor = 0.3f, .necrosis = 0.15f, .islands = 1};
    phantom_map map;
    cdu_error error = {0};
    cr_assert_eq(phantom_map_make(31, 1500, 1500, &shares, &map, &error), CDU_OK);
    size_t seen[3] = {0}, sections = 0, strays = 0, on_glass = 0, drawn = 0, large = 0;
    for (uint32_t index = 0; index < 60; index++, sections++) {
        phantom_section s;
        phantom_section_draw(31, index, &map, &phantom_assays[index % phantom_assay_count], 1500, 1500, &s);
        strays += (size_t)s.strays;
        cr_assert(s.strays <= PHANTOM_STRAY_LIMIT);
        for (int i = 0; i < s.strays; i++) {
            phantom_place place;
            seen[s.stray[i].kind]++;
            phantom_place_at(&s, s.stray[i].x, s.stray[i].y, &place);
            cr_assert(place.stray < 0);
            cr_assert_eq(phantom_class_at(&s, &place, s.stray[i].x, s.stray[i].y), PHANTOM_EXCLUDED);
            on_glass += place.tissue < 0;
        }
        if (index >= 12) continue;
        cdu_annotations by_hand = {0};
        cr_assert_eq(phantom_hand_draw(&s, &by_hand, &error), CDU_OK, "%s", error.words);
        for (int i = 0; i < s.strays; i++) {
            const struct phantom_stray *f = &s.stray[i];
            if (f->kind == PHANTOM_DUST || f->x < 60 || f->y < 60 || f->x > 1440 || f->y > 1440) continue;
            large++;
            bool found = false;
            for (size_t k = 0; k < by_hand.count; k++) {
                found |= strcmp(by_hand.items[k].class_name, "Exclude") == 0 &&
                         inside(&by_hand.items[k].polygons[0], (double)(f->x / PHANTOM_MPP), (double)(f->y / PHANTOM_MPP));
            }
            drawn += found;
        }
        cdu_annotations_free(&by_hand);
    }
    phantom_map_free(&map);
    cr_assert(seen[PHANTOM_PEN] > 0 && seen[PHANTOM_DUST] > 0 && seen[PHANTOM_BUBBLE] > 0);
    cr_assert(on_glass > 0 && on_glass < strays, "%zu of %zu on glass", on_glass, strays);
    cr_assert(strays > sections / 5 && strays < 2 * sections, "%zu on %zu slides", strays, sections);
    cr_assert(large > 0 && drawn + 1 >= large, "%zu of %zu drawn", drawn, large);
}

/* Scars, mucin, haemorrhage and fat stand in Tissue and in Tumor alike: none tells the class. */
Test(phantom, confusers_stand_in_tissue_and_tumor)
{
    size_t all[2] = {0}, scar[2] = {0}, mucin[2] = {0}, blood[2] = {0}, fat[2] = {0};
    for (uint64_t seed = 40; seed < 52; seed++) {
        phantom_shares shares = {.tissue = 0.3f, .tumor = 0.3f, .necrosis = 0.1f, .islands = 1};
        phantom_map map;
        phantom_section s;
        cdu_error error = {0};
        cr_assert_eq(phantom_map_make(seed, 1024, 1024, &shares, &map, &error), CDU_OK);
        phantom_section_draw(seed, 0, &map, &phantom_assays[0], 1024, 1024, &s);
        for (int i = 0; i < 128 * 128; i++) {
            phantom_place at;
            phantom_place_at(&s, (float)(i % 128) * 8, (float)(i / 128) * 8, &at);
            if (at.tissue < 10 || at.necrosis > 0 || (at.tumor > -60 && at.tumor < 10)) continue;
            int k = at.tumor > 0;
            all[k]++;
            scar[k] += at.scar < 0;
            mucin[k] += at.mucin > 0;
            blood[k] += at.blood > 0;
            fat[k] += at.fat > 0;
        }
        phantom_map_free(&map);
    }
    for (int k = 0; k < 2; k++) {
        cr_expect(all[k] > 5000, "%zu", all[k]);
        cr_expect(scar[k] * 200 > all[k] && scar[k] < all[k] / 3, "class %d: scar %zu of %zu", k + 1, scar[k], all[k]);
        cr_expect(mucin[k] * 500 > all[k] && mucin[k] < all[k] / 10, "class %d: mucin %zu of %zu", k + 1, mucin[k], all[k]);
        cr_expect(blood[k] * 500 > all[k] && blood[k] < all[k] / 10, "class %d: blood %zu of %zu", k + 1, blood[k], all[k]);
        cr_expect(fat[k] * 500 > all[k] && fat[k] < all[k] / 10, "class %d: fat %zu of %zu", k + 1, fat[k], all[k]);
    }
}

/* The regional factors are those of the recipe, and no class has its own: median 1, log-normal. */
Test(phantom, regional_factors_follow_one_law_in_all_classes)
{
    double count[4] = {0}, sum[4][2] = {0}, squares[4][2] = {0};
    for (uint64_t seed = 60; seed < 84; seed++) {
        phantom_shares shares = {.tissue = 0.25f, .tumor = 0.25f, .necrosis = 0.25f, .islands = 1};
        phantom_map map;
        phantom_section s;
        cdu_error error = {0};
        cr_assert_eq(phantom_map_make(seed, 1024, 1024, &shares, &map, &error), CDU_OK);
        phantom_section_draw(seed, 0, &map, &phantom_assays[seed % phantom_assay_count], 1024, 1024, &s);
        for (int i = 0; i < 128 * 128; i++) {
            phantom_place at;
            phantom_place_at(&s, (float)(i % 128) * 8, (float)(i / 128) * 8, &at);
            int c = (int)phantom_class_at(&s, &at, (float)(i % 128) * 8, (float)(i / 128) * 8);
            if (c == 0 || c > 3) continue;
            double factors[2] = {log((double)at.density), log((double)at.chromatin)};
            count[c]++;
            for (int k = 0; k < 2; k++) {
                sum[c][k] += factors[k];
                squares[c][k] += factors[k] * factors[k];
            }
        }
        phantom_map_free(&map);
    }
    static const double sigma[2] = {0.30, 0.25};
    for (int c = 1; c <= 3; c++) {
        for (int k = 0; k < 2; k++) {
            double mean = sum[c][k] / count[c], deviation = sqrt(squares[c][k] / count[c] - mean * mean);
            cr_expect(fabs(mean) < 0.1 * sigma[k] / 0.25, "class %d, factor %d: mean %.3f", c, k, mean);
            cr_expect(fabs(deviation / sigma[k] - 1) < 0.2, "class %d, factor %d: deviation %.3f", c, k, deviation);
        }
    }
}

/* Macrophages ring necrosis, through glands too: brown in the band over its border against the dead middle and the rest. */
Test(phantom, macrophages_ring_necrosis)
{
    double all[3] = {0}, with[3] = {0};
    for (uint64_t seed = 91; seed < 95; seed++) {
        painting p;
        paint_section(&p, phantom_assay_find("cd163-cd68"), seed, 1);
        for (int i = 0; i < PATCH * PATCH; i++) {
            const phantom_tile *t = &p.tiles[i];
            for (int k = 0; k < PHANTOM_AREA; k += 3) {
                float x = ((float)(t->x0 + k % PHANTOM_SIDE) + 0.5f) * PHANTOM_MPP,
                      y = ((float)(t->y0 + k / PHANTOM_SIDE) + 0.5f) * PHANTOM_MPP;
                phantom_depths d = phantom_section_depths(&p.section, x, y);
                if (d.tumor < 5 || d.tissue < 5) continue;
                float place = (d.necrosis + 0.2f * p.section.ring) / p.section.ring;
                int zone = fabsf(place) < 0.4f ? 1 : place > 0.8f ? 2 : place < -0.8f ? 0 : -1;
                if (zone < 0) continue;
                all[zone]++;
                with[zone] += t->mark[0][k] > 0.3f;
            }
        }
        drop(&p);
    }
    cr_assert(all[0] > 1000 && all[1] > 1000 && all[2] > 1000, "%.0f %.0f %.0f", all[0], all[1], all[2]);
    double rest = with[0] / all[0], ring = with[1] / all[1], dead = with[2] / all[2];
    cr_assert(ring > 0.02 && ring > 3 * rest && ring > 10 * dead, "ring %.4f, around %.4f, dead %.4f", ring, rest, dead);
}

/* --haematoxylin: the same places, one colour. */
Test(phantom, haematoxylin_alone_keeps_masks_and_has_one_colour, .init = begin, .fini = end)
{
    char words[400], path[CDU_PATH_LIMIT], *bytes[2];
    size_t size[2];
    const char *const parts[] = {"masks", "slides"}, *const runs[] = {"whole", "bare"};
    cr_assert_eq(run("whole", "--slides 1 --stains cea --size 512x512 --seed 6", words), 0, "%s", words);
    cr_assert_eq(run("bare", "--slides 1 --stains cea --size 512x512 --seed 6 --haematoxylin", words), 0, "%s", words);
    for (int part = 0; part < 2; part++) {
        cdu_error error = {0};
        for (int k = 0; k < 2; k++) {
            snprintf(path, sizeof path, "%s/%s/%s/case01-cea.tif", folder, runs[k], parts[part]);
            cr_assert_eq(cdu_file_read(path, 1u << 26, &bytes[k], &size[k], &error), CDU_OK, "%s", error.words);
        }
        bool same = size[0] == size[1] && memcmp(bytes[0], bytes[1], size[0]) == 0;
        cr_assert(same == (part == 0), "%s", parts[part]);
        for (int k = 0; k < 2; k++) free(bytes[k]);
    }
    phantom_develop_prepare();
    painting p;
    paint_section(&p, phantom_assay_find("cea"), 91, 1);
    phantom_section_bare(&p.section);
    double density[3] = {0};
    cr_assert(add_density(&p, haematoxylin, density) > 1000);
    cr_assert(degrees_between(density, blue) < 13, "%.1f degrees off", degrees_between(density, blue));
    drop(&p);
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
