/* contour.c: polygons of a label map rasterize back to the map, one an area, with simple rings; filtering and simplifying. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/base/progress.h"
#include "core/base/random.h"
#include "core/slide/contour.h"
#include "core/slide/raster.h"

static const char *const names[] = {"a", "b", "c", "d"};
static const uint8_t colors[][3] = {{1, 2, 3}, {4, 5, 6}, {7, 8, 9}, {10, 11, 12}};

static cdu_annotations trace(const uint8_t *map, int width, int height, uint32_t skip, double smallest, double tolerance, double scale)
{
    cdu_contour_settings settings = {.width = width, .height = height, .scale = scale, .classes = 4, .skip = skip, .names = names,
                                     .colors = colors, .smallest = smallest, .tolerance = tolerance};
    cdu_contour *contour;
    cdu_annotations found;
    cdu_error error = {0};
    cr_assert(cdu_contour_begin(&settings, &contour, &error) == CDU_OK, "%s", error.words);
    for (int y = 0; y < height;) { /* in uneven portions */
        uint32_t rows = (uint32_t)(1 + y % 3) > (uint32_t)(height - y) ? (uint32_t)(height - y) : (uint32_t)(1 + y % 3);
        cr_assert(cdu_contour_write(contour, map + (size_t)y * (size_t)width, rows, &error) == CDU_OK, "%s", error.words);
        y += (int)rows;
    }
    cr_assert(cdu_contour_finish(contour, &found, &error) == CDU_OK, "%s", error.words);
    return found;
}

static void rasterize(const cdu_annotations *annotations, double scale, int width, int height, uint8_t *out)
{
    struct cdu_label_rule table[] = {{"a", 0, 1, false}, {"b", 1, 2, false}, {"c", 2, 3, false}, {"d", 3, 4, false}};
    cdu_label_rules rules = {.rules = table, .count = 4, .unannotated = CDU_EXCLUDED, .unknown_is_error = true};
    cdu_label_source *source;
    cdu_error error = {0};
    cr_assert(cdu_label_source_create("traced", annotations, &rules, &source, &error) == CDU_OK, "%s", error.words);
    cr_assert(cdu_label_source_read(source, scale, 0, 0, (uint32_t)width, (uint32_t)height, out, &error) == CDU_OK, "%s", error.words);
    cdu_label_source_destroy(source);
}

/* Areas of touching pixels of one class, by flood fill; classes in `skip` and unknown ones do not count. */
static size_t count_areas(const uint8_t *map, int width, int height, uint32_t skip)
{
    size_t areas = 0, depth, *stack = malloc((size_t)width * height * 4 * sizeof *stack);
    uint8_t *seen = calloc((size_t)width, (size_t)height);
    for (int start = 0; start < width * height; start++) {
        if (seen[start] || map[start] > 3 || skip >> map[start] & 1) continue;
        areas++;
        stack[0] = (size_t)start;
        for (depth = 1, seen[start] = 1; depth;) {
            size_t at = stack[--depth], x = at % (size_t)width, y = at / (size_t)width;
            const size_t next[4] = {x ? at - 1 : at, x + 1 < (size_t)width ? at + 1 : at, y ? at - (size_t)width : at,
                                    y + 1 < (size_t)height ? at + (size_t)width : at};
            for (int k = 0; k < 4; k++)
                if (!seen[next[k]] && map[next[k]] == map[start]) {
                    seen[next[k]] = 1;
                    stack[depth++] = next[k];
                }
        }
    }
    free(stack);
    free(seen);
    return areas;
}

static double ring_area(const cdu_ring *ring)
{
    double twice = 0;
    for (size_t i = 0; i < ring->count; i++) {
        cdu_point a = ring->points[i], b = ring->points[(i + 1) % ring->count];
        twice += a.x * b.y - b.x * a.y;
    }
    return twice / 2;
}

/* Outline first and turning one way, holes the other; no corner twice in a ring; corners only where the border turns. */
static void check_rings(const cdu_annotations *found, bool exact)
{
    for (size_t i = 0; i < found->count; i++) {
        cr_assert(found->items[i].count == 1 && found->items[i].is_annotation);
        const cdu_polygon *polygon = &found->items[i].polygons[0];
        for (size_t r = 0; r < polygon->count; r++) {
            const cdu_ring *ring = &polygon->rings[r];
            cr_assert(ring->count >= 3);
            cr_assert(r ? ring_area(ring) < 0 : ring_area(ring) > 0);
            for (size_t k = 0; exact && k < ring->count; k++) {
                cdu_point a = ring->points[k], b = ring->points[(k + 1) % ring->count], d = ring->points[(k + 2) % ring->count];
                cr_assert((a.x == b.x) != (a.y == b.y));
                cr_assert((a.x == b.x) != (b.x == d.x));
                for (size_t m = 0; m < k; m++) cr_assert(ring->points[m].x != a.x || ring->points[m].y != a.y);
            }
        }
    }
}

static void check_map(const uint8_t *map, int width, int height, uint32_t skip, double scale)
{
    uint8_t *back = malloc((size_t)width * (size_t)height);
    cdu_annotations found = trace(map, width, height, skip, 0, 0, scale);
    rasterize(&found, scale, width, height, back);
    for (int i = 0; i < width * height; i++) {
        uint8_t expected = map[i] > 3 || skip >> map[i] & 1 ? CDU_EXCLUDED : map[i];
        cr_assert(back[i] == expected, "pixel (%d, %d): %d, not %d", i % width, i / width, back[i], expected);
    }
    cr_assert(found.count == count_areas(map, width, height, skip));
    check_rings(&found, true);
    cdu_annotations_free(&found);
    free(back);
}

Test(contour, random_maps_come_back_exactly)
{
    cdu_random random = cdu_random_stream(11, CDU_RANDOM_TEST, 0, 0);
    uint8_t map[48 * 48];
    for (int round = 0; round < 400; round++) {
        int width = 1 + (int)cdu_random_below(&random, round < 200 ? 8 : 48), height = 1 + (int)cdu_random_below(&random, round < 200 ? 8 : 48);
        uint32_t classes = 2 + cdu_random_below(&random, 3), smooth = cdu_random_below(&random, 3);
        for (int i = 0; i < width * height; i++) {
            map[i] = (uint8_t)cdu_random_below(&random, classes);
            if (smooth && i >= width && cdu_random_below(&random, 4)) map[i] = map[i - width];
            if (smooth && i % width && cdu_random_below(&random, 4)) map[i] = map[i - 1];
            if (round % 5 == 0 && cdu_random_below(&random, 9) == 0) map[i] = 200;
        }
        check_map(map, width, height, round % 3 == 0 ? 1 : round % 3 == 1 ? 0 : 6, (double[]){1, 4, 2.202}[round % 3]);
    }
}

Test(contour, every_small_map_comes_back_exactly)
{
    for (uint32_t bits = 0; bits < 1u << 16; bits += 1) {
        uint8_t map[16];
        for (int i = 0; i < 16; i++) map[i] = bits >> i & 1;
        if (bits % 7 == 0 || bits < 4096) check_map(map, 4, 4, bits & 1, 1);
    }
}

Test(contour, a_ring_that_touches_itself_becomes_outline_and_hole)
{
    /* the hole of b meets the outside at a corner only */
    static const uint8_t map[] = {1, 1, 1, 0,
                                  1, 0, 1, 0,
                                  1, 1, 0, 0};
    cdu_annotations found = trace(map, 4, 3, 1, 0, 0, 1);
    cr_assert(found.count == 1 && found.items[0].polygons[0].count == 2);
    cr_assert(!strcmp(found.items[0].class_name, "b") && found.items[0].color[2] == 6);
    check_rings(&found, true);
    cdu_annotations_free(&found);
}

Test(contour, small_areas_and_holes_are_left_out)
{
    static uint8_t map[40 * 40];
    memset(map, 0, sizeof map);
    for (int y = 2; y < 30; y++)
        for (int x = 2; x < 30; x++) map[y * 40 + x] = 1;
    for (int y = 5; y < 8; y++)
        for (int x = 5; x < 8; x++) map[y * 40 + x] = 0;   /* a hole of 9 */
    for (int y = 15; y < 20; y++)
        for (int x = 15; x < 20; x++) map[y * 40 + x] = 2; /* a hole of 25, filled by c */
    for (int x = 32; x < 38; x++) map[35 * 40 + x] = 3;    /* an area of 6 */
    cdu_annotations found = trace(map, 40, 40, 1, 10, 0, 2);
    cr_assert(found.count == 2);
    const cdu_annotation *b = strcmp(found.items[0].class_name, "b") ? &found.items[1] : &found.items[0];
    cr_assert(b->polygons[0].count == 2);
    cr_assert(ring_area(&b->polygons[0].rings[0]) == 4 * 28 * 28 && ring_area(&b->polygons[0].rings[1]) == -4 * 25);
    cdu_annotations_free(&found);
    found = trace(map, 40, 40, 1, 9, 0, 1);
    cr_assert(found.count == 2 && found.items[0].count == 1);
    cdu_annotations_free(&found);
    found = trace(map, 40, 40, 1, 6, 0, 1);
    cr_assert(found.count == 3);
    cdu_annotations_free(&found);
}

Test(contour, simplified_rings_stay_near_and_whole)
{
    enum { SIDE = 200 };
    static uint8_t map[SIDE * SIDE], back[SIDE * SIDE];
    cdu_random random = cdu_random_stream(12, CDU_RANDOM_TEST, 0, 0);
    for (int y = 0; y < SIDE; y++)
        for (int x = 0; x < SIDE; x++) {
            double r = hypot(x - 100, y - 100);
            map[y * SIDE + x] = r < 80 + 4 * sin(atan2(y - 100, x - 100) * 9) && r > 30;
            if (cdu_random_below(&random, 3000) == 0) map[y * SIDE + x] = 2;
        }
    cdu_annotations exact = trace(map, SIDE, SIDE, 1, 0, 0, 1), rough = trace(map, SIDE, SIDE, 1, 0, 1.5, 1);
    cr_assert(exact.count == rough.count);
    check_rings(&rough, false);
    size_t before = 0, after = 0, wrong = 0;
    for (size_t i = 0; i < exact.count; i++) {
        cr_assert(exact.items[i].polygons[0].count == rough.items[i].polygons[0].count);
        for (size_t r = 0; r < exact.items[i].polygons[0].count; r++) {
            before += exact.items[i].polygons[0].rings[r].count;
            after += rough.items[i].polygons[0].rings[r].count;
        }
    }
    cr_assert(after * 2 < before, "%zu of %zu", after, before);
    rasterize(&rough, 1, SIDE, SIDE, back);
    for (int i = 0; i < SIDE * SIDE; i++) wrong += (back[i] == 1) != (map[i] == 1);
    cr_assert(wrong < SIDE * SIDE / 50, "%zu", wrong);
    cdu_annotations_free(&exact);
    cdu_annotations_free(&rough);
    /* an absurd tolerance still leaves rings with an area */
    rough = trace(map, SIDE, SIDE, 1, 0, 1000, 1);
    check_rings(&rough, false);
    cdu_annotations_free(&rough);
}

/* By plain comparison of all sides of all rings of a polygon: does any pair cross in its inside? */
static bool polygon_crosses(const cdu_polygon *polygon)
{
    for (size_t r = 0; r < polygon->count; r++)
        for (size_t i = 0; i < polygon->rings[r].count; i++)
            for (size_t q = 0; q <= r; q++)
                for (size_t k = 0; k < polygon->rings[q].count; k++) {
                    const cdu_ring *one = &polygon->rings[r], *two = &polygon->rings[q];
                    cdu_point a = one->points[i], b = one->points[(i + 1) % one->count], c = two->points[k], d = two->points[(k + 1) % two->count];
                    double ac = (b.x - a.x) * (c.y - a.y) - (b.y - a.y) * (c.x - a.x), ad = (b.x - a.x) * (d.y - a.y) - (b.y - a.y) * (d.x - a.x);
                    double ca = (d.x - c.x) * (a.y - c.y) - (d.y - c.y) * (a.x - c.x), cb = (d.x - c.x) * (b.y - c.y) - (d.y - c.y) * (b.x - c.x);
                    if (ac * ad < 0 && ca * cb < 0) return true;
                }
    return false;
}

Test(contour, simplified_rings_do_not_cross)
{
    enum { SIDE = 64 };
    static uint8_t map[SIDE * SIDE];
    cdu_random random = cdu_random_stream(14, CDU_RANDOM_TEST, 0, 0);
    for (int round = 0; round < 60; round++) {
        for (int i = 0; i < SIDE * SIDE; i++) {
            map[i] = (uint8_t)cdu_random_below(&random, 2);
            if (i >= SIDE && cdu_random_below(&random, 6)) map[i] = map[i - SIDE];
            if (i % SIDE && cdu_random_below(&random, 3)) map[i] = map[i - 1];
        }
        cdu_annotations found = trace(map, SIDE, SIDE, 0, 3, 0.8 + round % 4, 1);
        check_rings(&found, false);
        for (size_t i = 0; i < found.count; i++) cr_assert(!polygon_crosses(&found.items[i].polygons[0]), "round %d", round);
        cdu_annotations_free(&found);
    }
}

Test(contour, rows_are_counted)
{
    cdu_contour_settings settings = {.width = 3, .height = 2, .scale = 1, .classes = 4, .names = names, .colors = colors};
    cdu_contour *contour;
    cdu_annotations found;
    cdu_error error = {0};
    static const uint8_t rows[9];
    cr_assert(cdu_contour_begin(&settings, &contour, &error) == CDU_OK);
    cr_assert(cdu_contour_write(contour, rows, 3, &error) == CDU_FAILED);
    cr_assert(cdu_contour_write(contour, rows, 1, &error) == CDU_OK);
    cr_assert(cdu_contour_finish(contour, &found, &error) == CDU_FAILED);
    cr_assert(strstr(error.words, "1 rows") != NULL && found.count == 0);
}

Test(contour, survives_failing_memory)
{
    uint8_t map[20 * 20];
    cdu_random random = cdu_random_stream(13, CDU_RANDOM_TEST, 0, 0);
    for (int i = 0; i < 400; i++) map[i] = (uint8_t)cdu_random_below(&random, 2);
    cdu_contour_settings settings = {.width = 20, .height = 20, .scale = 1, .classes = 4, .names = names, .colors = colors, .tolerance = 1};
    uint64_t n = 1;
    for (bool done = false; !done; n++) {
        cdu_contour *contour;
        cdu_annotations found = {0};
        cdu_error error = {0};
        cdu_allocate_fail_at(n);
        cdu_status status = cdu_contour_begin(&settings, &contour, &error);
        if (status == CDU_OK) {
            status = cdu_contour_write(contour, map, 20, &error);
            if (status == CDU_OK) status = cdu_contour_finish(contour, &found, &error);
            else cdu_contour_discard(contour);
        }
        cdu_allocate_fail_at(0);
        cr_assert(status == CDU_OK || status == CDU_TRY_AGAIN);
        done = status == CDU_OK;
        cdu_annotations_free(&found);
    }
    cr_assert(n > 100);
}
