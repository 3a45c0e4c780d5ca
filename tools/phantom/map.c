/* map.c: the compartment map of a case. Tissue islands are noise-displaced ellipses, nodules are noise-displaced discs inside them,
 * necrosis lies deep in nodules. How far each reaches is set by a quantile of its field, so the shares of area come out as asked;
 * then each is turned into a signed Euclidean distance (Felzenszwalb and Huttenlocher, 2012). */
#include "tools/phantom/map.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/base/random.h"
#include "tools/phantom/noise.h"

enum { GRID_LIMIT = 1400, BLOB_LIMIT = 64 };

typedef struct {
    float x, y, a, b, cosine, sine;
} blob;

typedef struct {
    phantom_map *map;
    float width, height;
    float *field;   /* one value a cell */
    uint8_t *frame; /* 1 where the cell lies in the slide's frame */
    float *work;    /* columns * rows, and lines */
} maker;

static float cell_x(const phantom_map *m, int32_t i)
{
    return m->x0 + (float)i * m->cell;
}

static float cell_y(const phantom_map *m, int32_t j)
{
    return m->y0 + (float)j * m->cell;
}

/* Squared distance along one line: lower envelope of parabolas. f, d: n; v: n; z: n + 1. */
static void line_distance(const float *f, float *d, int32_t n, int32_t *v, float *z)
{
    int32_t k = 0;
    v[0] = 0;
    z[0] = -1e20f;
    z[1] = 1e20f;
    for (int32_t q = 1; q < n; q++) {
        float s;
        for (;;) {
            int32_t p = v[k];
            s = ((f[q] + (float)q * (float)q) - (f[p] + (float)p * (float)p)) / (float)(2 * (q - p));
            if (s > z[k] || k == 0) break;
            k--;
        }
        if (s <= z[k]) s = z[k];
        k++;
        v[k] = q;
        z[k] = s;
        z[k + 1] = 1e20f;
    }
    k = 0;
    for (int32_t q = 0; q < n; q++) {
        while (z[k + 1] < (float)q) k++;
        float t = (float)(q - v[k]);
        d[q] = t * t + f[v[k]];
    }
}

/* Squared distance, in cells, from every cell to the nearest with inside(cell) == value, into out. */
static cdu_status squared_distance(const maker *m, const uint8_t *inside, uint8_t value, float *out, cdu_error *error)
{
    int32_t w = m->map->columns, h = m->map->rows, n = w > h ? w : h;
    float *f = NULL;
    int32_t *v = NULL;
    CDU_TRY(cdu_allocate(&f, (size_t)n * 3 + 1, sizeof *f, error));
    cdu_status status = cdu_allocate(&v, (size_t)n, sizeof *v, error);
    if (status != CDU_OK) {
        free(f);
        return status;
    }
    float *d = f + n, *z = d + n;
    for (int32_t y = 0; y < h; y++) {
        for (int32_t x = 0; x < w; x++) f[x] = inside[(size_t)y * (size_t)w + (size_t)x] == value ? 0 : 1e9f;
        line_distance(f, out + (size_t)y * (size_t)w, w, v, z);
    }
    for (int32_t x = 0; x < w; x++) {
        for (int32_t y = 0; y < h; y++) f[y] = out[(size_t)y * (size_t)w + (size_t)x];
        line_distance(f, d, h, v, z);
        for (int32_t y = 0; y < h; y++) out[(size_t)y * (size_t)w + (size_t)x] = d[y];
    }
    free(f);
    free(v);
    return CDU_OK;
}

/* Signed distance in um, positive inside; softened by a 3 x 3 binomial so that cells do not show. */
static cdu_status signed_distance(maker *m, const uint8_t *inside, float *out, cdu_error *error)
{
    int32_t w = m->map->columns, h = m->map->rows;
    size_t count = (size_t)w * (size_t)h;
    CDU_TRY(squared_distance(m, inside, 0, out, error));
    CDU_TRY(squared_distance(m, inside, 1, m->work, error));
    for (size_t i = 0; i < count; i++) {
        float d = inside[i] ? sqrtf(out[i]) - 0.5f : 0.5f - sqrtf(m->work[i]);
        out[i] = m->map->cell * phantom_clamp(d, -3000, 3000);
    }
    for (int pass = 0; pass < 2; pass++) {
        memcpy(m->work, out, count * sizeof *out);
        for (int32_t y = 1; y + 1 < h; y++) {
            for (int32_t x = 1; x + 1 < w; x++) {
                const float *p = m->work + (size_t)y * (size_t)w + (size_t)x;
                float sides = p[-1] + p[1] + p[-w] + p[w], corners = p[-w - 1] + p[-w + 1] + p[w - 1] + p[w + 1];
                out[(size_t)y * (size_t)w + (size_t)x] = (4 * p[0] + 2 * sides + corners) / 16;
            }
        }
    }
    return CDU_OK;
}

static int by_value(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* The field value that `wanted` cells of the frame with pick[i] exceed. */
static float threshold(maker *m, const uint8_t *pick, double wanted)
{
    size_t count = (size_t)m->map->columns * (size_t)m->map->rows, n = 0;
    for (size_t i = 0; i < count; i++) {
        if (m->frame[i] && (!pick || pick[i])) m->work[n++] = m->field[i];
    }
    if (n == 0 || wanted < 1) return 1e30f;
    qsort(m->work, n, sizeof *m->work, by_value);
    return wanted >= (double)n ? -1e30f : m->work[n - (size_t)wanted];
}

static float blob_value(const blob *b, float x, float y)
{
    float dx = x - b->x, dy = y - b->y;
    float u = (dx * b->cosine + dy * b->sine) / b->a, v = (dy * b->cosine - dx * b->sine) / b->b;
    return 1 - sqrtf(u * u + v * v);
}

static blob draw_blob(cdu_random *random, float x, float y, float a, float b)
{
    blob made = {.x = x, .y = y, .a = a, .b = b};
    float u = 2 * cdu_random_float(random) - 1, v = 2 * cdu_random_float(random) - 1, length = sqrtf(u * u + v * v) + 1e-6f;
    made.cosine = u / length;
    made.sine = v / length;
    return made;
}

/* field = the highest blob + noise of `octaves`, the longest wave `wave` um, of height `rough`. */
static void fill_field(maker *m, const blob *blobs, uint32_t count, uint32_t seed, float wave, float rough, int octaves)
{
    for (int32_t j = 0; j < m->map->rows; j++) {
        for (int32_t i = 0; i < m->map->columns; i++) {
            float x = cell_x(m->map, i), y = cell_y(m->map, j), best = -1e9f;
            for (uint32_t b = 0; b < count; b++) {
                float value = blob_value(&blobs[b], x, y);
                if (value > best) best = value;
            }
            m->field[(size_t)j * (size_t)m->map->columns + (size_t)i] =
                best + rough * phantom_fractal(seed, x / wave, y / wave, octaves);
        }
    }
}

static uint32_t draw_islands(maker *m, cdu_random *random, uint32_t wanted, blob *blobs)
{
    float unit = sqrtf(m->width * m->height), longer = m->width / m->height;
    bool wide = longer > 1.5f || (longer > 0.67f && cdu_random_below(random, 2));
    for (uint32_t i = 0; i < wanted; i++) {
        float place = ((float)i + 0.5f) / (float)wanted, across = 0.5f + 0.22f * (2 * cdu_random_float(random) - 1);
        place += (cdu_random_float(random) - 0.5f) * 0.25f / (float)wanted;
        float x = m->width * (wide ? place : across), y = m->height * (wide ? across : place);
        float a = unit * (0.34f + 0.12f * cdu_random_float(random)) / sqrtf((float)wanted);
        blobs[i] = draw_blob(random, x, y, a * (0.8f + 0.2f * cdu_random_float(random)), a);
    }
    return wanted;
}

/* Nodules: centres well inside the tissue, kept apart. */
static uint32_t draw_nodules(maker *m, cdu_random *random, double area, blob *blobs)
{
    uint32_t made = 0;
    double covered = 0;
    for (int attempt = 0; attempt < 400 && made < BLOB_LIMIT && covered < area; attempt++) {
        float x = m->width * cdu_random_float(random), y = m->height * cdu_random_float(random);
        float r = 200 + 300 * cdu_random_float(random);
        if (phantom_map_at(m->map, x, y).tissue < (attempt < 200 ? 70.0f : 10.0f)) continue;
        bool apart = true;
        for (uint32_t i = 0; i < made && attempt < 300; i++) {
            float dx = x - blobs[i].x, dy = y - blobs[i].y, least = 0.8f * (r + blobs[i].a);
            if (dx * dx + dy * dy < least * least) apart = false;
        }
        if (!apart) continue;
        blobs[made++] = draw_blob(random, x, y, r, r * (0.75f + 0.25f * cdu_random_float(random)));
        covered += 3.1 * r * r;
    }
    return made;
}

static cdu_status make(maker *m, uint64_t seed, const phantom_shares *shares, cdu_error *error)
{
    phantom_map *map = m->map;
    size_t count = (size_t)map->columns * (size_t)map->rows;
    uint8_t *inside = NULL;
    CDU_TRY(cdu_allocate(&inside, count, 2, error));
    uint8_t *within = inside + count;
    cdu_random random = cdu_random_stream(seed, CDU_RANDOM_PHANTOM, 1, 0);
    blob blobs[BLOB_LIMIT];
    double framed = 0;
    for (size_t i = 0; i < count; i++) framed += m->frame[i];

    uint32_t islands = draw_islands(m, &random, shares->islands, blobs);
    fill_field(m, blobs, islands, cdu_random_u32(&random), 0.35f * (m->width < m->height ? m->width : m->height), 0.45f, 5);
    float t = threshold(m, NULL, framed * (double)(shares->tissue + shares->tumor + shares->necrosis));
    for (size_t i = 0; i < count; i++) within[i] = m->field[i] > t;
    cdu_status status = signed_distance(m, within, map->tissue, error);

    if (status == CDU_OK) {
        double area = (double)(shares->tumor + shares->necrosis) * (double)m->width * (double)m->height;
        uint32_t nodules = draw_nodules(m, &random, area, blobs);
        fill_field(m, blobs, nodules, cdu_random_u32(&random), 260, 0.30f, 5);
        t = nodules ? threshold(m, within, framed * (double)(shares->tumor + shares->necrosis)) : 1e30f;
        for (size_t i = 0; i < count; i++) inside[i] = m->field[i] > t;
        status = signed_distance(m, inside, map->tumor, error);
    }
    if (status == CDU_OK) {
        uint32_t noise = cdu_random_u32(&random);
        for (size_t i = 0; i < count; i++) {
            float depth = map->tumor[i] < map->tissue[i] ? map->tumor[i] : map->tissue[i];
            float x = cell_x(map, (int32_t)(i % (size_t)map->columns)), y = cell_y(map, (int32_t)(i / (size_t)map->columns));
            m->field[i] = depth < 40 ? -1e9f : depth + 70 * phantom_fractal(noise, x / 170, y / 170, 4);
            inside[i] = inside[i] && within[i];
        }
        t = threshold(m, inside, framed * (double)shares->necrosis);
        if (t < -1e8f) t = -1e8f;
        for (size_t i = 0; i < count; i++) inside[i] = inside[i] && m->field[i] > t;
        status = signed_distance(m, inside, map->necrosis, error);
    }
    free(inside);
    return status;
}

cdu_status phantom_map_make(uint64_t seed, float width, float height, const phantom_shares *shares, phantom_map *out,
                            cdu_error *error)
{
    float longest = (width > height ? width : height) + 2 * PHANTOM_MAP_MARGIN;
    *out = (phantom_map){
        .cell = longest / GRID_LIMIT > 4 ? longest / GRID_LIMIT : 4, .x0 = -PHANTOM_MAP_MARGIN, .y0 = -PHANTOM_MAP_MARGIN};
    out->columns = (int32_t)((width + 2 * PHANTOM_MAP_MARGIN) / out->cell) + 2;
    out->rows = (int32_t)((height + 2 * PHANTOM_MAP_MARGIN) / out->cell) + 2;
    size_t count = (size_t)out->columns * (size_t)out->rows;
    maker m = {.map = out, .width = width, .height = height};
    float *planes = NULL;
    CDU_TRY(cdu_allocate(&planes, count * 3, sizeof *planes, error));
    out->tissue = planes;
    out->tumor = planes + count;
    out->necrosis = planes + 2 * count;
    cdu_status status = cdu_allocate(&m.field, count * 2, sizeof *m.field, error);
    if (status == CDU_OK) status = cdu_allocate(&m.frame, count, 1, error);
    if (status == CDU_OK) {
        m.work = m.field + count;
        for (size_t i = 0; i < count; i++) {
            float x = cell_x(out, (int32_t)(i % (size_t)out->columns)), y = cell_y(out, (int32_t)(i / (size_t)out->columns));
            m.frame[i] = x >= 0 && x < width && y >= 0 && y < height;
        }
        status = make(&m, seed, shares, error);
    }
    free(m.field);
    free(m.frame);
    if (status != CDU_OK) phantom_map_free(out);
    return status;
}

void phantom_map_free(phantom_map *map)
{
    free(map->tissue);
    *map = (phantom_map){0};
}

phantom_depths phantom_map_at(const phantom_map *map, float x, float y)
{
    float fx = phantom_clamp((x - map->x0) / map->cell, 0, (float)map->columns - 1.001f);
    float fy = phantom_clamp((y - map->y0) / map->cell, 0, (float)map->rows - 1.001f);
    int32_t i = (int32_t)fx, j = (int32_t)fy;
    float u = fx - (float)i, v = fy - (float)j;
    size_t at = (size_t)j * (size_t)map->columns + (size_t)i, below = at + (size_t)map->columns;
    phantom_depths depths;
    const float *planes[3] = {map->tissue, map->tumor, map->necrosis};
    float *into[3] = {&depths.tissue, &depths.tumor, &depths.necrosis};
    for (int k = 0; k < 3; k++) {
        const float *p = planes[k];
        *into[k] = phantom_mix(phantom_mix(p[at], p[at + 1], u), phantom_mix(p[below], p[below + 1], u), v);
    }
    return depths;
}
