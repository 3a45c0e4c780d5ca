/* boundary.c: see boundary.h. For each class: the vertical distance to it at each pixel, by one pass down and one up; then each
 * such distance marks a stretch of its row, as wide as the disk is at that height. Linear in the pixels, whatever the radius. */
#include "core/train/boundary.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"

typedef struct {
    const uint8_t *labels;
    uint32_t width, rows, first, count, far; /* far: a vertical distance beyond the radius */
    uint32_t *half;      /* by vertical distance: how far the disk reaches to each side */
    uint32_t *run;       /* width: distance in the pass at hand */
    uint32_t *vertical;  /* count x width */
    int32_t *edges;      /* width + 1: stretches that begin less those that end */
} work;

static void vertical_pass(const work *w, uint8_t class_value, bool down)
{
    for (uint32_t x = 0; x < w->width; x++) w->run[x] = w->far;
    for (uint32_t i = 0; i < w->rows; i++) {
        uint32_t row = down ? i : w->rows - 1 - i;
        const uint8_t *labels = w->labels + (size_t)row * w->width;
        for (uint32_t x = 0; x < w->width; x++)
            w->run[x] = labels[x] == class_value ? 0 : w->run[x] < w->far ? w->run[x] + 1 : w->far;
        if (row < w->first || row >= w->first + w->count) continue;
        uint32_t *kept = w->vertical + (size_t)(row - w->first) * w->width;
        for (uint32_t x = 0; x < w->width; x++)
            if (down || w->run[x] < kept[x]) kept[x] = w->run[x];
    }
}

static void spread(const work *w, uint8_t class_value, uint32_t classes, uint32_t row, uint8_t *marks)
{
    const uint32_t *vertical = w->vertical + (size_t)row * w->width;
    const uint8_t *labels = w->labels + (size_t)(w->first + row) * w->width;
    memset(w->edges, 0, ((size_t)w->width + 1) * sizeof *w->edges);
    for (uint32_t x = 0; x < w->width; x++) {
        if (vertical[x] >= w->far) continue;
        uint32_t half = w->half[vertical[x]];
        w->edges[x > half ? x - half : 0]++;
        w->edges[half < w->width - 1 - x ? x + half + 1 : w->width]--;
    }
    int32_t within = 0;
    for (uint32_t x = 0; x < w->width; x++) {
        within += w->edges[x];
        if (within && labels[x] != class_value && labels[x] < classes) marks[(size_t)row * w->width + x] = 1;
    }
}

cdu_status cdu_boundary_mark(const uint8_t *labels, uint32_t width, uint32_t rows, uint32_t first, uint32_t count, uint32_t classes,
                             double radius, uint8_t *marks, cdu_error *error)
{
    bool present[256] = {false};
    uint32_t kinds = 0;
    memset(marks, 0, (size_t)count * width);
    for (size_t i = 0; i < (size_t)rows * width; i++) present[labels[i]] = true;
    for (uint32_t c = 0; c < classes; c++) kinds += present[c];
    if (kinds < 2 || !(radius >= 1)) return CDU_OK;
    work w = {.labels = labels, .width = width, .rows = rows, .first = first, .count = count, .far = (uint32_t)radius + 1};
    cdu_status status = cdu_allocate(&w.half, w.far, sizeof *w.half, error);
    if (status == CDU_OK) status = cdu_allocate(&w.run, width, sizeof *w.run, error);
    if (status == CDU_OK) status = cdu_allocate(&w.vertical, (size_t)count * width, sizeof *w.vertical, error);
    if (status == CDU_OK) status = cdu_allocate(&w.edges, (size_t)width + 1, sizeof *w.edges, error);
    for (uint32_t v = 0; status == CDU_OK && v < w.far; v++) w.half[v] = (uint32_t)sqrt(radius * radius - (double)v * v);
    for (uint32_t c = 0; status == CDU_OK && c < classes; c++) {
        if (!present[c]) continue;
        vertical_pass(&w, (uint8_t)c, true);
        vertical_pass(&w, (uint8_t)c, false);
        for (uint32_t row = 0; row < count; row++) spread(&w, (uint8_t)c, classes, row, marks);
    }
    free(w.half);
    free(w.run);
    free(w.vertical);
    free(w.edges);
    return status;
}
