/* rows_tile_augment.c: a tile moved, coloured, with noise and boxes. What the table's words mean, in real numbers: the kernel's bytes are
 * the nearest ones to these but for its rounding on the way, at most 3/256 of a level before the colour matrix. Labels are exact. */
#include <math.h>
#include <string.h>

#include "core/train/augment.h"
#include "ops/table.h"

static double mirrored(const cdu_op_array *tile, uint64_t n, int64_t y, int64_t x, int byte)
{
    int64_t h = tile->dims[1], w = tile->dims[2];
    while (x < 0 || x >= w) x = x < 0 ? -1 - x : 2 * w - 1 - x;
    while (y < 0 || y >= h) y = y < 0 ? -1 - y : 2 * h - 1 - y;
    return tile->u[cdu_op_at(tile, n, (uint64_t)y, (uint64_t)x, 0)] >> (8 * byte) & 255;
}

static double bilinear(const cdu_op_array *tile, uint64_t n, double y, double x, int byte)
{
    int64_t iy = (int64_t)floor(y), ix = (int64_t)floor(x);
    double fy = y - (double)iy, fx = x - (double)ix;
    return (1 - fy) * ((1 - fx) * mirrored(tile, n, iy, ix, byte) + fx * mirrored(tile, n, iy, ix + 1, byte)) +
           fy * ((1 - fx) * mirrored(tile, n, iy + 1, ix, byte) + fx * mirrored(tile, n, iy + 1, ix + 1, byte));
}

/* the tile's place of an output place, both from the tile's corner */
static void place(const cdu_augment *a, const uint32_t *dims, double y, double x, double *ty, double *tx)
{
    double u = x - (dims[2] - 1) / 2.0, v = y - (dims[1] - 1) / 2.0, one = 16384.0 / a->side;
    *tx = (a->matrix[0] * u + a->matrix[1] * v) / one + (dims[2] - 1) / 2.0;
    *ty = (a->matrix[2] * u + a->matrix[3] * v) / one + (dims[1] - 1) / 2.0;
}

static double noise(const cdu_augment *a, uint32_t width, uint64_t y, uint64_t x)
{
    uint32_t counter[4] = {(uint32_t)(y * ((width + 3) / 4) + x / 4), CDU_RANDOM_NOISE, a->epoch, a->tile};
    uint64_t word = cdu_philox(counter, a->key).word[x % 4];
    return a->noise ? floor((double)word * (2.0 * a->noise + 1) / 0x1p32) - a->noise : 0;
}

static int box_at(const cdu_augment *a, uint64_t y, uint64_t x)
{
    int found = -1;
    for (int i = 0; i < CDU_AUGMENT_BOXES; i++)
        if (x >= (a->box[i].x & 65535) && x < a->box[i].x >> 16 && y >= (a->box[i].y & 65535) && y < a->box[i].y >> 16) found = i;
    return found;
}

static void pixel(const cdu_op_row *row, cdu_op_data *d, const cdu_augment *a, uint64_t n, uint64_t y, uint64_t x)
{
    const cdu_op_array *tile = &d->in[0];
    double color[3] = {0}, ty, tx, samples = (double)a->side * a->side;
    for (uint32_t j = 0; j < a->side; j++)
        for (uint32_t i = 0; i < a->side; i++) {
            place(a, tile->dims, (double)y + (2.0 * j + 1 - a->side) / (2.0 * a->side),
                  (double)x + (2.0 * i + 1 - a->side) / (2.0 * a->side), &ty, &tx);
            for (int c = 0; c < 3; c++) color[c] += bilinear(tile, n, ty, tx, c) / samples;
        }
    place(a, tile->dims, (double)y, (double)x, &ty, &tx);
    int64_t ny = (int64_t)floor(ty + 0.5), nx = (int64_t)floor(tx + 0.5);
    bool inside = ny >= 0 && nx >= 0 && ny < tile->dims[1] && nx < tile->dims[2];
    d->out[1].u[cdu_op_at(&d->out[1], n, y, x, 0)] =
        inside ? tile->u[cdu_op_at(tile, n, (uint64_t)ny, (uint64_t)nx, 0)] >> 24 : 255;
    int box = box_at(a, y, x);
    for (int c = 0; c < 3; c++) {
        double level = noise(a, tile->dims[2], y, x) / 256, lost = 0.5;
        for (int k = 0; k < 3; k++) {
            level += a->color[3 * c + k] / 4096.0 * color[k];
            lost += fabs(a->color[3 * c + k] / 4096.0) * 1.5;
        }
        uint64_t at = cdu_op_at(&d->out[0], n, y, x, (uint64_t)(row->attribute[0] ? 2 - c : c));
        d->out[0].v[at] = fmin(fmax(level, 0), 255) / 255;
        d->out[0].slack[at] = (0.5 + lost / 256) / 255 + 1e-7;
        if (box >= 0) d->out[0].v[at] = (float)(a->box[box].color >> (8 * c) & 255) / 255.0f, d->out[0].slack[at] = 0;
    }
}

static void forward(const cdu_op_row *row, cdu_op_data *d)
{
    for (uint64_t n = 0; n < d->in[0].dims[0]; n++) {
        cdu_augment a;
        memcpy(&a, d->in[1].u + n * CDU_AUGMENT_WORDS, sizeof a);
        for (uint64_t y = 0; y < d->in[0].dims[1]; y++)
            for (uint64_t x = 0; x < d->in[0].dims[2]; x++) pixel(row, d, &a, n, y, x);
    }
}

/* smooth pictures with a hard edge, classes in blocks; and what the row's ranges draw */
static void fill(const cdu_op_row *row, cdu_op_data *d, cdu_random *random)
{
    static const cdu_study parts[] = {
        {.augment = {.flip = true}},
        {.augment = {.hue = 0.5, .brightness = 0.9}},
        {.augment = {.noise = 0.5, .occlusion = 0.6}},
        {.augment = {.flip = true, .scale = 0.3, .rotate = 180, .shear = 20}},
        {.augment = {.scale = 0.9, .shear = 45}},
        {.augment = {.flip = true, .hue = 0.05, .brightness = 0.15, .scale = 0.1, .noise = 0.03, .occlusion = 0.1, .rotate = 10, .shear = 5}},
    };
    const uint32_t *dims = d->in[0].dims;
    (void)random;
    for (uint32_t i = 0; i < d->in[0].count; i++) {
        uint32_t x = i % dims[2], y = i / dims[2];
        uint32_t class_value = (x / 3 + y / 2) % 7 == 6 ? 255 : (x / 3 + y / 2) % 7;
        d->in[0].u[i] = ((x * 9 + y) & 255) | (x > y ? 0xf000u : 0x1000u) | ((y * y * 3) & 255) << 16 | class_value << 24;
    }
    for (uint32_t n = 0; n < dims[0]; n++) {
        cdu_augment a;
        cdu_augment_draw(&parts[row->attribute[1]], 0x123456789abcdef0u, 3, row->attribute[2] + n, dims[1] < dims[2] ? dims[1] : dims[2], &a);
        memcpy(d->in[1].u + n * CDU_AUGMENT_WORDS, &a, sizeof a);
    }
}

static cdu_value build(cdu_graph *graph, const cdu_op_row *row, const char *name, const cdu_value *in)
{
    return cdu_tile_augment(graph, name, in[0], in[1], row->attribute[0] != 0, NULL);
}

#define ROW(text, n, h, w, bgr, part, tile)                                                                                             \
    {.name = text, .input = {{{n, h, w, 1}, CDU_U32, true}, {{n, 1, 1, CDU_AUGMENT_WORDS}, CDU_U32, true}},                            \
     .attribute = {bgr, part, tile}, .build = build, .forward = forward, .fill = fill, .whole = true}
static const cdu_op_row tiles[] = {
    ROW("tile augment, flips", 4, 16, 16, 0, 0, 0),
    ROW("tile augment, colours", 4, 17, 19, 0, 1, 4),
    ROW("tile augment, noise and boxes", 4, 16, 16, 1, 2, 8),
    ROW("tile augment, turned and scaled", 4, 33, 31, 0, 3, 12),
    ROW("tile augment, far out", 8, 16, 24, 0, 4, 16),
    ROW("tile augment, all", 8, 32, 32, 1, 5, 24),
};
CDU_OP_ROWS(tiles)
