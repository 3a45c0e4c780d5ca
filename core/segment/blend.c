/* blend.c: see blend.h. Memory: what waits for the tile to the right, what waits for the row below, and one row of finished
 * labels. */
#include "core/segment/blend.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"

static uint32_t tiles_along(int64_t size, uint32_t tile, uint32_t step)
{
    return size <= tile ? 1 : 1 + (uint32_t)((size - tile + step - 1) / step);
}

cdu_status cdu_blend_begin(cdu_blend *b, int64_t width, int64_t height, uint32_t tile, uint32_t halo, uint32_t classes,
                           const uint8_t *cells, uint32_t cell_columns, uint32_t cell_rows, cdu_error *error)
{
    const uint32_t step = tile - halo;
    *b = (cdu_blend){.width = width,
                     .height = height,
                     .tile = tile,
                     .halo = halo,
                     .classes = classes,
                     .columns = tiles_along(width, tile, step),
                     .rows = tiles_along(height, tile, step),
                     .cells = cells,
                     .cell_columns = cell_columns,
                     .cell_rows = cell_rows};
    CDU_TRY(cdu_allocate(&b->ramp, halo, sizeof *b->ramp, error));
    for (uint32_t i = 0; i < halo; i++) {
        double t = ((i + 0.5) / halo - 0.25) * 2;
        t = t < 0 ? 0 : t > 1 ? 1 : t;
        b->ramp[i] = (float)(t * t * (3 - 2 * t));
    }
    CDU_TRY(cdu_allocate(&b->beside, (size_t)tile * halo * classes, sizeof *b->beside, error));
    CDU_TRY(cdu_allocate(&b->above, (size_t)halo * (size_t)width * classes, sizeof *b->above, error));
    return cdu_allocate(&b->labels, (size_t)tile * (size_t)width, 1, error);
}

void cdu_blend_end(cdu_blend *b)
{
    free(b->ramp);
    free(b->beside);
    free(b->above);
    free(b->labels);
    *b = (cdu_blend){0};
}

bool cdu_blend_needed(const cdu_blend *b, uint32_t row, uint32_t column)
{
    if (!b->cells) return true;
    const int64_t step = b->tile - b->halo;
    int64_t x0 = column * step / CDU_GLASS_CELL, x1 = (column * step + b->tile - 1) / CDU_GLASS_CELL;
    int64_t y0 = row * step / CDU_GLASS_CELL, y1 = (row * step + b->tile - 1) / CDU_GLASS_CELL;
    for (int64_t y = y0; y <= y1 && y < b->cell_rows; y++)
        for (int64_t x = x0; x <= x1 && x < b->cell_columns; x++)
            if (b->cells[y * b->cell_columns + x]) return true;
    return false;
}

uint32_t cdu_blend_finished(const cdu_blend *b, uint32_t row)
{
    const int64_t step = b->tile - b->halo;
    return row + 1 == b->rows ? (uint32_t)(b->height - row * step) : (uint32_t)step;
}

static uint16_t quantized(float value)
{
    if (!(value > 0)) return 0;
    return value >= 1 ? UINT16_MAX : (uint16_t)(value * (float)UINT16_MAX + 0.5f);
}

static uint8_t largest(const float *value, uint32_t classes)
{
    uint32_t best = 0;
    for (uint32_t c = 1; c < classes; c++)
        if (value[c] > value[best]) best = c;
    return (uint8_t)best;
}

static float weight(const cdu_blend *b, uint32_t i, uint32_t index, uint32_t count)
{
    if (i < b->halo && index > 0) return b->ramp[i];
    if (i >= b->tile - b->halo && index + 1 < count) return b->ramp[b->tile - 1 - i];
    return 1;
}

/* A pixel whose row of tiles is complete at this place: what came from above joins; then a label, or a rest for the row below. */
static void finish_pixel(cdu_blend *b, uint32_t row, uint32_t j, uint32_t finished, int64_t x, float *sum)
{
    const uint32_t classes = b->classes;
    const size_t pitch = (size_t)b->width * classes;
    if (j < b->halo && row > 0) {
        const uint16_t *above = b->above + j * pitch + (size_t)x * classes;
        for (uint32_t c = 0; c < classes; c++) sum[c] += (float)above[c] * (1.0f / UINT16_MAX);
    }
    if (j >= finished) {
        uint16_t *rest = b->above + (j - (b->tile - b->halo)) * pitch + (size_t)x * classes;
        for (uint32_t c = 0; c < classes; c++) rest[c] = quantized(sum[c]);
        return;
    }
    bool glass = false;
    if (b->cells) {
        int64_t y = (int64_t)row * (b->tile - b->halo) + j;
        glass = !b->cells[y / CDU_GLASS_CELL * b->cell_columns + x / CDU_GLASS_CELL];
    }
    b->labels[(size_t)j * (size_t)b->width + (size_t)x] = glass ? 0 : largest(sum, classes);
}

void cdu_blend_tile(cdu_blend *b, uint32_t row, uint32_t column, const float *probabilities)
{
    const uint32_t tile = b->tile, halo = b->halo, step = tile - halo, classes = b->classes;
    const int64_t x0 = (int64_t)column * step, y0 = (int64_t)row * step;
    const uint32_t width = b->width - x0 < tile ? (uint32_t)(b->width - x0) : tile;
    const uint32_t height = b->height - y0 < tile ? (uint32_t)(b->height - y0) : tile;
    const uint32_t finished = cdu_blend_finished(b, row), complete = column + 1 == b->columns ? width : step;
    if (!probabilities) { /* glass to its last pixel: the neighbours' shares of it do not matter */
        for (uint32_t j = 0; j < finished; j++) memset(b->labels + (size_t)j * (size_t)b->width + x0, 0, complete);
        return;
    }
    for (uint32_t j = 0; j < height; j++) {
        const float weight_y = weight(b, j, row, b->rows);
        float *beside = b->beside + (size_t)j * halo * classes;
        for (uint32_t i = 0; i < width; i++) {
            const float w = weight_y * weight(b, i, column, b->columns), *p = probabilities + ((size_t)j * tile + i) * classes;
            float sum[256];
            for (uint32_t c = 0; c < classes; c++) sum[c] = w * p[c];
            if (i < halo && column > 0)
                for (uint32_t c = 0; c < classes; c++) sum[c] += beside[i * classes + c];
            if (i < complete)
                finish_pixel(b, row, j, finished, x0 + i, sum);
            else
                memcpy(beside + (i - step) * classes, sum, classes * sizeof *sum);
        }
    }
}
