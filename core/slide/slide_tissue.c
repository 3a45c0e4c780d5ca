/* slide_tissue.c: finding glass from a small overview. Glass is what is nearly as bright as the brightest large part of the
 * slide, colourless and smooth; all else may be tissue, dust and pen too. Cautious: a few pixels that are not glass make their
 * cell, and those around them, tissue. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cdunet/log.h"
#include "core/base/memory.h"
#include "core/base/thread.h"
#include "core/slide/slide_source.h"

enum {
    FINEST = 64,               /* overview pixels of a cell's side, at most */
    OVERVIEW_LIMIT = 16 << 20, /* overview pixels of the slide */
    DARKER = 14,               /* darker than the glass by this many of 255 levels: not glass */
    COLOURED = 14,             /* largest less smallest channel, beyond the glass's own */
    BAND = 64,                 /* overview rows read at once */
    ROUGH = 14                 /* largest less smallest brightness of 3 x 3 pixels */
};
static const double OVERVIEW_MPP = 8;

static int smallest(const uint8_t *p)
{
    int m = p[0] < p[1] ? p[0] : p[1];
    return m < p[2] ? m : p[2];
}

static int largest(const uint8_t *p)
{
    int m = p[0] > p[1] ? p[0] : p[1];
    return m > p[2] ? m : p[2];
}

/* Brightness (smallest channel) and colour of the glass: the brightest value at which a fiftieth of the slide lies. Pure white
 * is what scanners put where they did not look. Returns false where there is no glass to be seen. */
static bool find_glass(const uint8_t *rgb, size_t pixels, int *bright, int *colour)
{
    size_t count[256] = {0}, colours[256] = {0}, seen = 0, dark = 0;
    for (size_t i = 0; i < pixels; i++) {
        int least = smallest(rgb + i * 3), most = largest(rgb + i * 3);
        if (least == 255) continue;
        seen++;
        count[least]++;
        colours[least] += (size_t)(most - least);
        dark += most < 60;
    }
    *bright = 255;
    *colour = 0;
    if (!seen) return true;
    if (dark > seen / 2) return false;
    for (int v = 252; v >= 205; v--) {
        size_t near = count[v - 2] + count[v - 1] + count[v] + count[v + 1] + count[v + 2];
        if (near * 50 < seen) continue;
        size_t sum = colours[v - 2] + colours[v - 1] + colours[v] + colours[v + 1] + colours[v + 2];
        int mean = (int)(sum / near);
        if (mean > 24) continue; /* pale tissue */
        *bright = v;
        *colour = mean;
        return true;
    }
    *bright = 245;
    return true;
}

static bool is_glass(const uint8_t *rgb, int64_t width, int64_t height, int64_t x, int64_t y, int bright, int colour)
{
    const uint8_t *pixel = rgb + (y * width + x) * 3;
    int least = smallest(pixel), low = 255, high = 0;
    if (least < bright - DARKER || largest(pixel) - least > colour + COLOURED) return false;
    for (int64_t j = y > 0 ? y - 1 : 0; j <= y + 1 && j < height; j++)
        for (int64_t i = x > 0 ? x - 1 : 0; i <= x + 1 && i < width; i++) {
            int value = smallest(rgb + (j * width + i) * 3);
            if (value == 255) continue;
            if (value < low) low = value;
            if (value > high) high = value;
        }
    return high - low <= ROUGH;
}

/* Marks the cells within two overview pixels of every pixel that is not glass. */
static void mark(const uint8_t *rgb, int64_t width, int64_t height, uint32_t fine, int bright, int colour, uint8_t *cells,
                 uint32_t columns, uint32_t rows)
{
    for (int64_t y = 0; y < height; y++)
        for (int64_t x = 0; x < width; x++) {
            if (is_glass(rgb, width, height, x, y, bright, colour)) continue;
            int64_t x0 = x > 2 ? (x - 2) / fine : 0, x1 = (x + 2) / fine, y0 = y > 2 ? (y - 2) / fine : 0, y1 = (y + 2) / fine;
            for (int64_t j = y0; j <= y1 && j < rows; j++)
                for (int64_t i = x0; i <= x1 && i < columns; i++) cells[j * columns + i] = 1;
        }
}

typedef struct {
    cdu_slide *slide;
    double mpp;
    int64_t width, height;
    uint8_t *rgb;
} overview;

/* One band of rows; of a slide without coarse levels this is all the work there is. */
static cdu_status read_band(void *context, size_t i, cdu_error *error)
{
    const overview *o = context;
    int64_t y = (int64_t)i * BAND, rows = o->height - y < BAND ? o->height - y : BAND;
    return cdu_slide_read(o->slide, o->mpp, 0, y, (uint32_t)o->width, (uint32_t)rows, o->rgb + y * o->width * CDU_SLIDE_CHANNELS,
                          error);
}

cdu_status cdu_slide_find_tissue(cdu_slide *slide, double mpp, uint32_t cell, uint8_t **cells, uint32_t *columns, uint32_t *rows,
                                 cdu_error *error)
{
    *cells = NULL;
    if (!cell) return cdu_fail(error, CDU_USAGE, "cells of no size");
    int64_t width, height;
    cdu_slide_size_at(slide, mpp, &width, &height);
    int64_t across = (width + cell - 1) / cell, down = (height + cell - 1) / cell;
    if (across * (double)down > OVERVIEW_LIMIT)
        return cdu_fail(error, CDU_USAGE, "%s: %lld x %lld cells of %u pixels are too many", cdu_slide_path(slide),
                        (long long)across, (long long)down, cell);
    uint32_t fine = (uint32_t)fmin(FINEST, fmin(cell, fmax(4, round(cell * mpp / OVERVIEW_MPP))));
    while (fine > 1 && (double)across * (double)down * fine * fine > OVERVIEW_LIMIT) fine--;
    double coarse = mpp * cell / fine;
    int64_t overview_width, overview_height;
    cdu_slide_size_at(slide, coarse, &overview_width, &overview_height);
    uint8_t *rgb = NULL;
    cdu_status status = cdu_allocate(&rgb, (size_t)overview_width * (size_t)overview_height, CDU_SLIDE_CHANNELS, error);
    if (status == CDU_OK) status = cdu_allocate(cells, (size_t)(across * down), 1, error);
    if (status == CDU_OK)
        status = cdu_parallel(cdu_processors() < 8 ? 0 : 8, (size_t)((overview_height + BAND - 1) / BAND), read_band,
                              &(overview){slide, coarse, overview_width, overview_height, rgb}, error);
    if (status == CDU_OK) {
        int bright, colour;
        if (find_glass(rgb, (size_t)(overview_width * overview_height), &bright, &colour)) {
            mark(rgb, overview_width, overview_height, fine, bright, colour, *cells, (uint32_t)across, (uint32_t)down);
        } else {
            cdu_log(CDU_LOG_WARNING, "%s: is mostly dark, as fluorescence is; bright-field slides are what is understood here",
                    cdu_slide_path(slide));
            memset(*cells, 1, (size_t)(across * down));
        }
        *columns = (uint32_t)across;
        *rows = (uint32_t)down;
    } else {
        free(*cells);
        *cells = NULL;
    }
    free(rgb);
    return status;
}
