/* blend.c: stitching without a network: probabilities that are a function of the place must come back as that function's labels,
 * and weights must sum to one. */
#include "core/segment/blend.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { CLASSES = 3 };
static const float CLOSE = 2e-4f; /* sums wait for the next row in 16 bits, so near ties may go either way */

static void truth(int64_t x, int64_t y, float p[CLASSES])
{
    double a = 1 + sin((double)x / 9) * sin((double)y / 11), b = 1 + cos((double)x / 13 + (double)y / 7), c = 0.9;
    p[0] = (float)(a / (a + b + c));
    p[1] = (float)(b / (a + b + c));
    p[2] = (float)(c / (a + b + c));
}

static uint8_t truth_label(int64_t x, int64_t y, float *margin)
{
    float p[CLASSES];
    truth(x, y, p);
    uint8_t best = 0;
    for (uint8_t c = 1; c < CLASSES; c++)
        if (p[c] > p[best]) best = c;
    *margin = 1;
    for (uint8_t c = 0; c < CLASSES; c++)
        if (c != best) *margin = fminf(*margin, p[best] - p[c]);
    return best;
}

/* The truth, but for the outermost quarter of the halo, which lies: it must have no weight. */
static void fill_tile(const cdu_blend *b, uint32_t row, uint32_t column, float *p)
{
    const uint32_t tile = b->tile, margin = b->halo / 4;
    const int64_t step = tile - b->halo;
    for (uint32_t j = 0; j < tile; j++)
        for (uint32_t i = 0; i < tile; i++) {
            float *at = p + (j * tile + i) * CLASSES;
            bool lies = (i < margin && column > 0) || (j < margin && row > 0) || (i >= tile - margin && column + 1 < b->columns) ||
                        (j >= tile - margin && row + 1 < b->rows);
            truth(column * step + i, row * step + j, at);
            if (lies) at[0] = at[1] = 0, at[2] = 1;
        }
}

static void stitch(int64_t width, int64_t height, uint32_t tile, uint32_t halo, const uint8_t *cells, uint32_t cell_columns,
                   uint32_t cell_rows, uint8_t *map)
{
    cdu_blend blend;
    cdu_error error = {0};
    cr_assert_eq(cdu_blend_begin(&blend, width, height, tile, halo, CLASSES, cells, cell_columns, cell_rows, &error), CDU_OK);
    float *p = malloc(sizeof *p * tile * tile * CLASSES);
    int64_t next = 0;
    for (uint32_t row = 0; row < blend.rows; row++) {
        for (uint32_t column = 0; column < blend.columns; column++) {
            fill_tile(&blend, row, column, p);
            cdu_blend_tile(&blend, row, column, cdu_blend_needed(&blend, row, column) ? p : NULL);
        }
        uint32_t rows = cdu_blend_finished(&blend, row);
        cr_assert_leq(next + rows, height);
        memcpy(map + next * width, blend.labels, (size_t)(rows * width));
        next += rows;
    }
    cr_assert_eq(next, height);
    free(p);
    cdu_blend_end(&blend);
}

Test(blend, stitched_labels_are_those_of_the_whole)
{
    static const struct {
        int64_t width, height;
        uint32_t tile, halo;
    } cases[] = {
        {200, 150, 64, 16}, {64, 64, 64, 16}, {65, 63, 64, 32}, {33, 400, 32, 8}, {401, 20, 32, 16}, {112, 112, 64, 16},
    };
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        const int64_t width = cases[k].width, height = cases[k].height;
        uint8_t *map = malloc((size_t)(width * height));
        stitch(width, height, cases[k].tile, cases[k].halo, NULL, 0, 0, map);
        for (int64_t y = 0; y < height; y++)
            for (int64_t x = 0; x < width; x++) {
                float margin;
                uint8_t want = truth_label(x, y, &margin);
                cr_assert(margin < CLOSE || map[y * width + x] == want, "case %d at %lld %lld", (int)k, (long long)x, (long long)y);
            }
        free(map);
    }
}

Test(blend, weights_of_neighbours_sum_to_one)
{
    cdu_blend blend;
    cdu_error error = {0};
    cr_assert_eq(cdu_blend_begin(&blend, 500, 500, 128, 40, CLASSES, NULL, 0, 0, &error), CDU_OK);
    for (uint32_t i = 0; i < 40; i++) {
        cr_assert_float_eq(blend.ramp[i] + blend.ramp[39 - i], 1, 1e-6);
        cr_assert(i == 0 || blend.ramp[i] >= blend.ramp[i - 1]);
    }
    cr_assert_eq(blend.ramp[9], 0);
    cr_assert_eq(blend.ramp[30], 1);
    cdu_blend_end(&blend);
}

Test(blend, glass_does_not_depend_on_the_tile)
{
    enum { WIDTH = 700, HEIGHT = 450, COLUMNS = 11, ROWS = 8 };
    uint8_t cells[COLUMNS * ROWS] = {0}, *a = malloc(WIDTH * HEIGHT), *b = malloc(WIDTH * HEIGHT);
    for (int i = 0; i < COLUMNS * ROWS; i++) cells[i] = i * 7 % 5 == 0 && i / COLUMNS < 5;
    stitch(WIDTH, HEIGHT, 96, 24, cells, COLUMNS, ROWS, a);
    stitch(WIDTH, HEIGHT, 160, 48, cells, COLUMNS, ROWS, b);
    size_t tissue = 0;
    for (int y = 0; y < HEIGHT; y++)
        for (int x = 0; x < WIDTH; x++) {
            float margin;
            uint8_t want = truth_label(x, y, &margin);
            if (!cells[y / CDU_GLASS_CELL * COLUMNS + x / CDU_GLASS_CELL])
                want = 0;
            else if (margin < CLOSE)
                continue;
            else
                tissue++;
            cr_assert_eq(a[y * WIDTH + x], want, "at %d %d", x, y);
            cr_assert_eq(b[y * WIDTH + x], want, "at %d %d", x, y);
        }
    cr_assert_gt(tissue, 10000);
    free(a);
    free(b);
}
