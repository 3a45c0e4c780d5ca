/* segment_overlay.c: see segment_overlay.h. PNG through cairo. */
#include "tools/segment_overlay.h"

#include <cairo.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "tools/picture.h"

enum { BAND = 64 };
static const double TINT = 0.30, OUTLINE = 0.85;

cdu_status cdu_overlay_begin(cdu_overlay *o, int64_t width, int64_t height, double mpp, uint32_t classes,
                             const uint8_t (*colors)[3], cdu_error *error)
{
    int64_t longest = width > height ? width : height;
    uint32_t factor = (uint32_t)((longest + CDU_OVERLAY_SIDE - 1) / CDU_OVERLAY_SIDE);
    *o = (cdu_overlay){.width = width,
                       .height = height,
                       .mpp = mpp,
                       .classes = classes,
                       .factor = factor,
                       .colors = colors,
                       .columns = (uint32_t)((width + factor - 1) / factor),
                       .rows = (uint32_t)((height + factor - 1) / factor)};
    CDU_TRY(cdu_allocate(&o->labels, (size_t)o->columns * o->rows, 1, error));
    return cdu_allocate(&o->counts, (size_t)o->columns * classes, sizeof *o->counts, error);
}

void cdu_overlay_end(cdu_overlay *o)
{
    free(o->labels);
    free(o->counts);
    *o = (cdu_overlay){0};
}

static void finish_row(cdu_overlay *o, int64_t row)
{
    for (uint32_t x = 0; x < o->columns; x++) {
        const uint32_t *counts = o->counts + (size_t)x * o->classes;
        uint32_t best = 0;
        for (uint32_t c = 1; c < o->classes; c++)
            if (counts[c] > counts[best]) best = c;
        o->labels[(size_t)row * o->columns + x] = (uint8_t)best;
    }
    memset(o->counts, 0, (size_t)o->columns * o->classes * sizeof *o->counts);
}

void cdu_overlay_take(cdu_overlay *o, const uint8_t *labels, uint32_t rows)
{
    for (uint32_t j = 0; j < rows; j++) {
        const uint8_t *row = labels + (size_t)j * (size_t)o->width;
        for (int64_t x = 0; x < o->width; x++)
            if (row[x] < o->classes) o->counts[(size_t)(x / o->factor) * o->classes + row[x]]++;
        o->taken++;
        if (o->taken % o->factor == 0 || o->taken == o->height) finish_row(o, (o->taken - 1) / o->factor);
    }
}

/* A pixel at which its class meets another, to the right or below, or the picture's own class begins. */
static bool is_edge(const cdu_overlay *o, uint32_t x, uint32_t y)
{
    const uint8_t *at = o->labels + (size_t)y * o->columns + x;
    return (x > 0 && at[-1] != *at) || (x + 1 < o->columns && at[1] != *at) || (y > 0 && *(at - o->columns) != *at) ||
           (y + 1 < o->rows && at[o->columns] != *at);
}

static void paint_row(const cdu_overlay *o, uint32_t y, const uint8_t *rgb, uint32_t *out)
{
    for (uint32_t x = 0; x < o->columns; x++) {
        uint8_t label = o->labels[(size_t)y * o->columns + x];
        double share = label == 0 ? 0 : is_edge(o, x, y) ? OUTLINE : TINT;
        uint32_t pixel = 0;
        for (int c = 0; c < 3; c++)
            pixel = pixel << 8 | (uint32_t)((1 - share) * rgb[x * 3 + (uint32_t)c] + share * o->colors[label][c] + 0.5);
        out[x] = pixel;
    }
}

static cdu_status paint(const cdu_overlay *o, cdu_slide *slide, cairo_surface_t *surface, cdu_error *error)
{
    uint8_t *rgb;
    unsigned char *data = cairo_image_surface_get_data(surface);
    const size_t stride = (size_t)cairo_image_surface_get_stride(surface);
    CDU_TRY(cdu_allocate(&rgb, (size_t)o->columns * BAND, 3, error));
    cdu_status status = CDU_OK;
    for (uint32_t y = 0; y < o->rows && status == CDU_OK; y += BAND) {
        uint32_t rows = o->rows - y < BAND ? o->rows - y : BAND;
        status = cdu_slide_read(slide, o->mpp * o->factor, 0, y, o->columns, rows, rgb, error);
        for (uint32_t j = 0; j < rows && status == CDU_OK; j++)
            paint_row(o, y + j, rgb + (size_t)j * o->columns * 3, (uint32_t *)(void *)(data + (y + j) * stride));
    }
    free(rgb);
    return status;
}

cdu_status cdu_overlay_write(const cdu_overlay *o, cdu_slide *slide, const char *path, cdu_error *error)
{
    cairo_surface_t *surface = cairo_image_surface_create(CAIRO_FORMAT_RGB24, (int)o->columns, (int)o->rows);
    cdu_status status = CDU_OK;
    if (cairo_surface_status(surface) != CAIRO_STATUS_SUCCESS)
        status = cdu_fail(error, CDU_TRY_AGAIN, "%s: no memory for a picture of %u x %u pixels", path, o->columns, o->rows);
    cairo_surface_flush(surface);
    if (status == CDU_OK) status = paint(o, slide, surface, error);
    cairo_surface_mark_dirty(surface);
    if (status == CDU_OK) status = cdu_picture_write(surface, path, error);
    cairo_surface_destroy(surface);
    return status;
}
