/* hand.c: annotations by an imperfect hand: regions of a coarse grid are traced, thinned to far-apart vertices, moved by smooth
 * noise. */
#include "tools/phantom/hand.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "tools/phantom/noise.h"
#include "tools/phantom/labels.h"

enum { BORDER = 6, TRACE_LIMIT = 1 << 22 };
#define CELL 6.0f       /* um */
#define SMALLEST 900.0f /* um2; nobody draws smaller */
#define SMALL 40000.0f  /* um2; may be missed */

typedef struct {
    const phantom_section *section;
    cdu_annotations *out;
    int32_t columns, rows;
    float cell;
    phantom_depths *depths; /* a cell */
    float *fold, *stray;
    uint8_t *inside;
    uint32_t *region; /* 0: none yet */
    uint8_t *traced;  /* the cell's upper edge has been walked */
    int32_t *stack;
    cdu_point *points;
    size_t point_limit;
    uint32_t drawn;
} hand;

static bool in_region(const hand *h, int32_t x, int32_t y, uint32_t region)
{
    return x >= 0 && y >= 0 && x < h->columns && y < h->rows && h->region[(size_t)y * (size_t)h->columns + (size_t)x] == region;
}

/* Marks the 4-connected region of a cell; returns its cells. */
static size_t flood(hand *h, int32_t start, uint32_t region)
{
    size_t depth = 0, cells = 0;
    h->stack[depth++] = start;
    h->region[start] = region;
    while (depth) {
        int32_t at = h->stack[--depth], x = at % h->columns;
        int32_t near[4] = {x > 0 ? at - 1 : -1, x + 1 < h->columns ? at + 1 : -1, at - h->columns, at + h->columns};
        cells++;
        for (int k = 0; k < 4; k++) {
            if (near[k] < 0 || near[k] >= h->columns * h->rows || !h->inside[near[k]] || h->region[near[k]]) continue;
            h->region[near[k]] = region;
            h->stack[depth++] = near[k];
        }
    }
    return cells;
}

/* Walks the border that begins on the upper edge of cell (x, y), the region to the right; returns edges walked, their middles in
 * points. */
static cdu_status walk(hand *h, int32_t x, int32_t y, uint32_t region, size_t *count, cdu_error *error)
{
    static const int32_t step[4][2] = {{1, 0}, {0, 1}, {-1, 0}, {0, -1}};
    static const int32_t right[4][2] = {{0, 0}, {-1, 0}, {-1, -1}, {0, -1}}, left[4][2] = {{0, -1}, {0, 0}, {-1, 0}, {-1, -1}};
    int32_t vx = x, vy = y, direction = 0;
    *count = 0;
    do {
        if (direction == 0) h->traced[(size_t)vy * (size_t)h->columns + (size_t)vx] = 1;
        if (*count >= TRACE_LIMIT)
            return cdu_fail(error, CDU_FAILED, "a phantom outline has over %d edges; report this with the seed", TRACE_LIMIT);
        CDU_TRY(cdu_grow(&h->points, &h->point_limit, *count + 1, sizeof *h->points, error));
        h->points[(*count)++] = (cdu_point){vx + 0.5 * step[direction][0], vy + 0.5 * step[direction][1]};
        vx += step[direction][0];
        vy += step[direction][1];
        if (!in_region(h, vx + right[direction][0], vy + right[direction][1], region))
            direction = (direction + 1) & 3;
        else if (in_region(h, vx + left[direction][0], vy + left[direction][1], region))
            direction = (direction + 3) & 3;
    } while (vx != x || vy != y || direction != 0);
    return CDU_OK;
}

/* The hand's error at a place, um: the same for all classes, since a common border is drawn once. */
static cdu_point stray(const phantom_section *s, double x, double y)
{
    enum { SIGMA = 10 };
    const float wave = 130, unit = 0.33f; /* deviation of phantom_noise */
    float u = phantom_noise(s->seed + 601, (float)x / wave, (float)y / wave),
          v = phantom_noise(s->seed + 602, (float)x / wave, (float)y / wave);
    return (cdu_point){(double)(SIGMA * u / unit), (double)(SIGMA * v / unit)};
}

/* Vertices 30 to 60 um apart along the walked border. A ring of fewer than three is dropped (count 0). */
static cdu_status draw_ring(hand *h, size_t count, cdu_ring *ring, cdu_error *error)
{
    const phantom_section *s = h->section;
    double last_x = s->width / PHANTOM_MPP, last_y = s->height / PHANTOM_MPP;
    size_t limit = 0, next = 0;
    *ring = (cdu_ring){0};
    /* small rings get at least eight vertices */
    double most = fmin(60, (double)count * (double)h->cell / 8), length = 0, wanted = 0;
    for (size_t i = 0; i < count; i++, length += (double)h->cell * 0.85) {
        if (length < wanted) continue;
        uint32_t hash = phantom_hash(s->seed + 603, (int32_t)h->drawn, (int32_t)next++);
        wanted = length + most * (0.5 + 0.5 * (double)phantom_unit(hash, 1));
        double x = (h->points[i].x - BORDER) * (double)h->cell, y = (h->points[i].y - BORDER) * (double)h->cell;
        cdu_point off = stray(s, x, y);
        cdu_status status = cdu_grow(&ring->points, &limit, ring->count + 1, sizeof *ring->points, error);
        if (status != CDU_OK) return status;
        x = fmin(fmax((x + off.x) / PHANTOM_MPP, 0), last_x);
        y = fmin(fmax((y + off.y) / PHANTOM_MPP, 0), last_y);
        ring->points[ring->count++] = (cdu_point){round(x * 4) / 4, round(y * 4) / 4};
    }
    return CDU_OK;
}

static cdu_status add_annotation(hand *h, const phantom_label *label, cdu_annotation **out, cdu_error *error)
{
    size_t capacity = h->out->count;
    CDU_TRY(cdu_grow(&h->out->items, &capacity, h->out->count + 1, sizeof *h->out->items, error));
    cdu_annotation *made = &h->out->items[h->out->count++];
    *made = (cdu_annotation){.is_annotation = true};
    memcpy(made->color, label->color, sizeof made->color);
    CDU_TRY(cdu_copy_text(&made->class_name, label->name, error));
    CDU_TRY(cdu_allocate(&made->polygons, 1, sizeof *made->polygons, error));
    made->count = 1;
    *out = made;
    return CDU_OK;
}

/* One region: its longest border is the outline, the others are holes. */
static cdu_status draw_region(hand *h, uint32_t region, const phantom_label *label, cdu_error *error)
{
    cdu_annotation *made = NULL;
    CDU_TRY(add_annotation(h, label, &made, error));
    size_t longest = 0, capacity = 0;
    for (int32_t y = 0; y < h->rows; y++) {
        for (int32_t x = 0; x < h->columns; x++) {
            size_t at = (size_t)y * (size_t)h->columns + (size_t)x, edges;
            if (h->region[at] != region || h->traced[at] || in_region(h, x, y - 1, region)) continue;
            CDU_TRY(walk(h, x, y, region, &edges, error));
            if (edges * (size_t)h->cell < 90 && longest) continue;
            cdu_polygon *polygon = &made->polygons[0];
            CDU_TRY(cdu_grow(&polygon->rings, &capacity, polygon->count + 1, sizeof *polygon->rings, error));
            cdu_ring *ring = &polygon->rings[polygon->count++];
            CDU_TRY(draw_ring(h, edges, ring, error));
            if (edges > longest) {
                cdu_ring first = polygon->rings[0];
                polygon->rings[0] = *ring;
                *ring = polygon->count > 1 ? first : *ring;
                longest = edges;
            }
        }
    }
    return CDU_OK;
}

static bool covered(const hand *h, size_t at, uint8_t value)
{
    phantom_depths d = h->depths[at];
    if (value == PHANTOM_EXCLUDED) return h->fold[at] < 0 || h->stray[at] < 0;
    if (d.tissue <= 0) return false;
    return value == PHANTOM_TISSUE || (value == PHANTOM_TUMOR && d.tumor > 0) ||
           (value == PHANTOM_NECROSIS && d.tumor > 0 && d.necrosis > 0);
}

static cdu_status draw_class(hand *h, const phantom_label *label, cdu_error *error)
{
    size_t count = (size_t)h->columns * (size_t)h->rows;
    uint32_t regions = 0;
    memset(h->region, 0, count * sizeof *h->region);
    memset(h->traced, 0, count);
    for (size_t i = 0; i < count; i++) h->inside[i] = covered(h, i, label->value);
    for (size_t i = 0; i < count; i++) {
        if (!h->inside[i] || h->region[i]) continue;
        float area = (float)flood(h, (int32_t)i, ++regions) * h->cell * h->cell;
        uint32_t hash = phantom_hash(h->section->seed + 604, label->value, (int32_t)regions);
        h->drawn++;
        if (area < SMALLEST || (area < SMALL && phantom_unit(hash, 1) < 0.02f)) continue;
        CDU_TRY(draw_region(h, regions, label, error));
    }
    return CDU_OK;
}

static cdu_status draw_all(hand *h, cdu_error *error)
{
    size_t count = (size_t)h->columns * (size_t)h->rows;
    CDU_TRY(cdu_allocate(&h->depths, count, sizeof *h->depths, error));
    CDU_TRY(cdu_allocate(&h->fold, count, sizeof *h->fold, error));
    CDU_TRY(cdu_allocate(&h->stray, count, sizeof *h->stray, error));
    CDU_TRY(cdu_allocate(&h->inside, count, 1, error));
    CDU_TRY(cdu_allocate(&h->region, count, sizeof *h->region, error));
    CDU_TRY(cdu_allocate(&h->traced, count, 1, error));
    CDU_TRY(cdu_allocate(&h->stack, count, sizeof *h->stack, error));
    for (int32_t j = 0; j < h->rows; j++) {
        for (int32_t i = 0; i < h->columns; i++) {
            float x = ((float)(i - BORDER) + 0.5f) * h->cell, y = ((float)(j - BORDER) + 0.5f) * h->cell;
            size_t at = (size_t)j * (size_t)h->columns + (size_t)i;
            h->depths[at] = phantom_section_depths(h->section, x, y);
            h->fold[at] = phantom_artefact_at(h->section, x, y);
            h->stray[at] = phantom_stray_at(h->section, x, y, NULL);
        }
    }
    for (size_t k = 0; k < phantom_label_count; k++) {
        if (phantom_labels[k].value != PHANTOM_BACKGROUND) CDU_TRY(draw_class(h, &phantom_labels[k], error));
    }
    return CDU_OK;
}

cdu_status phantom_hand_draw(const phantom_section *section, cdu_annotations *out, cdu_error *error)
{
    *out = (cdu_annotations){0};
    float longest = section->width > section->height ? section->width : section->height;
    hand h = {.section = section, .out = out, .cell = fmaxf(CELL, longest / 2500)};
    h.columns = (int32_t)ceilf(section->width / h.cell) + 2 * BORDER;
    h.rows = (int32_t)ceilf(section->height / h.cell) + 2 * BORDER;
    cdu_status status = draw_all(&h, error);
    free(h.depths);
    free(h.fold);
    free(h.stray);
    free(h.inside);
    free(h.region);
    free(h.traced);
    free(h.stack);
    free(h.points);
    if (status != CDU_OK) cdu_annotations_free(out);
    return status;
}
