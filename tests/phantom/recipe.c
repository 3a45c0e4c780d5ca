/* recipe.c: what is drawn for slides, cases and hands keeps to the recipe of docs/phantom.md, in figures over many draws: scanners,
 * stains, maps, outlines. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/slide/annotation.h"
#include "tools/phantom/hand.h"
#include "tools/phantom/section.h"
#include "tools/phantom/set.h"

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Sorts. */
static double quantile(double *values, size_t count, double share)
{
    qsort(values, count, sizeof *values, by_value);
    return values[(size_t)(share * (double)(count - 1))];
}

static double deviation(const double *values, size_t count)
{
    double sum = 0, squares = 0;
    for (size_t i = 0; i < count; i++) sum += values[i];
    for (size_t i = 0; i < count; i++) squares += (values[i] - sum / (double)count) * (values[i] - sum / (double)count);
    return sqrt(squares / (double)count);
}

static phantom_map make_map(uint64_t seed, float side)
{
    phantom_shares shares = {.tissue = 0.2f, .tumor = 0.2f, .necrosis = 0.1f, .islands = 1};
    phantom_map map;
    cdu_error error = {0};
    cr_assert_eq(phantom_map_make(seed, side, side, &shares, &map, &error), CDU_OK, "%s", error.words);
    return map;
}

Test(recipe, scanners_and_stains_stray_as_far_as_they_should)
{
    enum { SLIDES = 540 };
    static double blur[SLIDES], white[SLIDES], quality[SLIDES], shift[SLIDES], strength[SLIDES], turned[SLIDES];
    static const double blue[3] = {.650, .704, .286};
    phantom_map map = make_map(5, 512);
    size_t lab[3] = {0}, halved = 0, most = 0, with = 0;
    for (uint32_t i = 0; i < SLIDES; i++) {
        phantom_section s;
        const phantom_assay *assay = &phantom_assays[i % phantom_assay_count];
        phantom_section_draw(1000 + i / 9, i % 9, &map, assay, 1024, 1024, &s);
        const phantom_style *style = &s.style;
        const float *v = style->vector[0];
        double length = sqrt((double)(v[0] * v[0] + v[1] * v[1] + v[2] * v[2])), along = 0;
        for (int k = 0; k < 3; k++) along += (double)v[k] * blue[k] / 1.0003;
        lab[style->lab]++;
        blur[i] = (double)style->blur;
        white[i] = 255 * (double)style->white[i % 3];
        quality[i] = style->jpeg_quality;
        halved += style->jpeg_subsampling;
        shift[i] = (double)hypotf(style->shift[0][0], style->shift[0][1]);
        strength[i] = log(length / (double)assay->counterstain);
        turned[i] = acos(fmin(along / length, 1)) * 57.29578;
        for (int k = 0; k < 2; k++) {
            bool stained = assay->chromogens[k] != PHANTOM_NO_STAIN;
            cr_assert(stained ? style->haze[k] >= 0.02f && style->haze[k] <= 0.08f : style->haze[k] <= 0);
        }
        size_t excluded = (size_t)(s.folds + s.strays);
        with += excluded > 0;
        if (excluded > most) most = excluded;
    }
    phantom_map_free(&map);
    for (int k = 0; k < 3; k++) cr_expect(lab[k] > SLIDES / 4, "lab %d: %zu slides", k, lab[k]);
    cr_expect(quantile(blur, SLIDES, 0) >= 0.349 && quantile(blur, SLIDES, 1) <= 0.901 &&
              fabs(quantile(blur, SLIDES, 0.5) - 0.625) < 0.05);
    cr_expect(quantile(white, SLIDES, 0) > 231.9 && quantile(white, SLIDES, 1) < 248.1 && deviation(white, SLIDES) > 3.5);
    cr_expect(quantile(quality, SLIDES, 0) >= 70 && quantile(quality, SLIDES, 1) <= 90 && deviation(quality, SLIDES) > 5);
    cr_expect(quantile(shift, SLIDES, 1) < 0.501 && quantile(shift, SLIDES, 0.5) > 0.15);
    cr_expect(halved > 4 * SLIDES / 10 && halved < 6 * SLIDES / 10, "%zu halved", halved);
    cr_expect(fabs(quantile(strength, SLIDES, 0.5)) < 0.08, "median strength %.3f", exp(quantile(strength, SLIDES, 0.5)));
    cr_expect(deviation(strength, SLIDES) > 0.2 && deviation(strength, SLIDES) < 0.35, "%.3f", deviation(strength, SLIDES));
    double middle = quantile(turned, SLIDES, 0.5), far = quantile(turned, SLIDES, 0.99);
    cr_expect(middle > 2 && middle < 6 && far < 13, "turned by %.1f and %.1f degrees", middle, far);
    cr_expect(most <= 3 && with > SLIDES / 5 && with < SLIDES, "at most %zu; %zu slides with any", most, with);
}

Test(recipe, a_small_part_of_a_slide_is_out_of_focus)
{
    phantom_map map = make_map(5, 512);
    double blurred = 0, all = 0, thickness[2] = {9, 0};
    for (uint32_t i = 0; i < 40; i++) {
        phantom_section s;
        phantom_section_draw(2000 + i, 0, &map, &phantom_assays[i % phantom_assay_count], 2048, 2048, &s);
        for (int k = 0; k < 64 * 64; k++) {
            phantom_place at;
            phantom_place_at(&s, (float)(k % 64) * 32, (float)(k / 64) * 32, &at);
            blurred += at.focus > 0.5f;
            all++;
            thickness[0] = fmin(thickness[0], (double)at.thickness);
            thickness[1] = fmax(thickness[1], (double)at.thickness);
        }
    }
    phantom_map_free(&map);
    cr_expect(blurred / all > 0.015 && blurred / all < 0.06, "%.3f", blurred / all);
    cr_expect(thickness[0] > 0.83 && thickness[0] < 0.92 && thickness[1] > 1.08 && thickness[1] < 1.17, "%.3f to %.3f",
              thickness[0], thickness[1]);
}

/* Glass, and the rim of living tumor around necrosis, over the cases of a set. */
Test(recipe, maps_have_their_glass_and_rims)
{
    phantom_order order = {
        .slides = 40, .stain_count = 1, .stains = {&phantom_assays[0]}, .width = 4096, .height = 4096, .seed = 9};
    phantom_set set;
    cdu_error error = {0};
    cr_assert_eq(phantom_set_plan(&order, &set, &error), CDU_OK);
    static double rim[200000];
    size_t rims = 0;
    double glass = 0, all = 0;
    for (uint32_t i = 0; i < set.case_count; i++) {
        phantom_map map;
        cr_assert_eq(phantom_map_make(set.cases[i].seed, 2048, 2048, &set.cases[i].shares, &map, &error), CDU_OK);
        for (int k = 0; k < 256 * 256; k++) {
            phantom_depths d = phantom_map_at(&map, (float)(k % 256) * 8, (float)(k / 256) * 8);
            glass += d.tissue <= 0;
            all++;
            if (fabsf(d.necrosis) < 4 && rims < 200000) rim[rims++] = (double)fminf(d.tumor, d.tissue);
        }
        phantom_map_free(&map);
    }
    phantom_set_free(&set);
    cr_expect(glass / all > 0.45 && glass / all < 0.62, "%.3f", glass / all);
    cr_assert(rims > 1000);
    double least = quantile(rim, rims, 0.02), middle = quantile(rim, rims, 0.5), most = quantile(rim, rims, 0.98);
    cr_expect(least > 30 && middle > 55 && middle < 150 && most < 300, "%.0f, %.0f, %.0f um", least, middle, most);
}

/* Vertices of hands lie 30 to 60 um apart and off the true border by 10 um. */
Test(recipe, hands_draw_as_far_off_as_they_should)
{
    static double off[20000], apart[20000];
    size_t offs = 0, sides = 0;
    for (uint64_t seed = 0; seed < 6; seed++) {
        phantom_map map = make_map(300 + seed, 2048);
        phantom_section s;
        cdu_annotations drawn = {0};
        cdu_error error = {0};
        phantom_section_draw(300 + seed, 1, &map, &phantom_assays[seed], 2048, 2048, &s);
        cr_assert_eq(phantom_hand_draw(&s, &drawn, &error), CDU_OK, "%s", error.words);
        for (size_t i = 0; i < drawn.count; i++) {
            const cdu_ring *ring = &drawn.items[i].polygons[0].rings[0];
            if (strcmp(drawn.items[i].class_name, "Tissue") != 0 || ring->count < 40) continue;
            for (size_t k = 0; k < ring->count && sides < 20000; k++) {
                cdu_point a = ring->points[k], b = ring->points[(k + 1) % ring->count];
                double x = a.x * (double)PHANTOM_MPP, y = a.y * (double)PHANTOM_MPP;
                if (fmin(x, y) < 30 || fmax(x, y) > 2018) continue; /* along the frame */
                apart[sides++] = hypot(b.x - a.x, b.y - a.y) * (double)PHANTOM_MPP;
                off[offs++] = (double)phantom_section_depths(&s, (float)x, (float)y).tissue;
            }
        }
        cdu_annotations_free(&drawn);
        phantom_map_free(&map);
    }
    cr_assert(sides > 300);
    cr_expect(deviation(off, offs) > 7 && deviation(off, offs) < 14, "%.1f um off", deviation(off, offs));
    double least = quantile(apart, sides, 0.1), middle = quantile(apart, sides, 0.5), most = quantile(apart, sides, 0.95);
    cr_expect(least > 20 && middle > 30 && middle < 55 && most < 70, "%.0f, %.0f, %.0f um apart", least, middle, most);
}
