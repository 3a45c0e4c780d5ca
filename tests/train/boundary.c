/* boundary.c: the marks against looking at every pair of pixels; a strip at a time against all at once. */
#include "core/train/boundary.h"

#include <criterion/criterion.h>
#include <string.h>

#include "core/base/random.h"

enum { WIDTH = 41, ROWS = 37, CLASSES = 3 };

static void draw(uint8_t *labels, uint32_t variant)
{
    for (uint32_t i = 0; i < WIDTH * ROWS; i++) {
        uint32_t x = i % WIDTH, y = i / WIDTH;
        cdu_random block = cdu_random_stream(variant, CDU_RANDOM_TEST, x / 9, y / 7);
        uint32_t value = cdu_random_below(&block, variant % 2 ? 4 : 9);
        labels[i] = value < CLASSES ? (uint8_t)value : value == 3 ? 255 : 0;
    }
}

static bool near(const uint8_t *labels, int x, int y, double radius)
{
    uint8_t own = labels[y * WIDTH + x];
    if (own >= CLASSES) return false;
    for (int v = 0; v < ROWS; v++)
        for (int u = 0; u < WIDTH; u++) {
            uint8_t other = labels[v * WIDTH + u];
            if (other < CLASSES && other != own && (u - x) * (u - x) + (v - y) * (v - y) <= radius * radius) return true;
        }
    return false;
}

Test(boundary, marks_what_every_pair_of_pixels_says)
{
    static uint8_t labels[WIDTH * ROWS], marks[WIDTH * ROWS], strip[WIDTH * ROWS];
    static const double radii[] = {0.99, 1, 1.5, 3, 4.25, 20, 100};
    cdu_error error = {0};
    for (uint32_t variant = 0; variant < 6; variant++)
        for (size_t r = 0; r < sizeof radii / sizeof *radii; r++) {
            uint32_t marked = 0;
            draw(labels, variant);
            cr_assert_eq(cdu_boundary_mark(labels, WIDTH, ROWS, 0, ROWS, CLASSES, radii[r], marks, &error), CDU_OK);
            for (int i = 0; i < WIDTH * ROWS; i++) {
                cr_assert_eq(marks[i], near(labels, i % WIDTH, i / WIDTH, radii[r]), "%u, radius %g, (%d, %d)", variant, radii[r],
                             i % WIDTH, i / WIDTH);
                marked += marks[i];
            }
            cr_assert(radii[r] < 1 ? marked == 0 : marked > 0, "%u pixels of %u at radius %g", marked, variant, radii[r]);
            /* five rows with no more around them than the radius asks for */
            uint32_t margin = (uint32_t)radii[r], top = 15 > margin ? 15 - margin : 0, bottom = 20 + margin < ROWS ? 20 + margin : ROWS;
            cr_assert_eq(cdu_boundary_mark(labels + top * WIDTH, WIDTH, bottom - top, 15 - top, 5, CLASSES, radii[r], strip, &error), CDU_OK);
            cr_assert_eq(memcmp(strip, marks + 15 * WIDTH, 5 * WIDTH), 0);
        }
}
