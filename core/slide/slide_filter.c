/* slide_filter.c: the area filter of slide regions. Reducing, an output pixel is the mean over the exact area that it covers;
 * enlarging, it is bilinear between pixel centres. Weights are integers of 20 bits that depend on the output pixel's own place,
 * and sums are exact 64-bit integers rounded once, so the same pixel has the same value whatever region it is read with. No
 * colour management. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/slide/slide_source.h"

/* Share of the output pixel [begin, begin + ratio) that lies before `edge`. */
static uint32_t share_before(double edge, double begin, double ratio)
{
    double share = (edge - begin) / ratio;
    if (share <= 0) return 0;
    if (share >= 1) return CDU_FILTER_ONE;
    return (uint32_t)(share * CDU_FILTER_ONE + 0.5);
}

cdu_filter_span cdu_filter_weights(double ratio, int64_t size, int64_t i, uint32_t *weights)
{
    cdu_filter_span span = {0, 0, 0};
    if (ratio < 1) {
        double centre = ((double)i + 0.5) * ratio - 0.5, low = floor(centre);
        uint32_t second = (uint32_t)((centre - low) * CDU_FILTER_ONE + 0.5);
        span.first = (int64_t)low;
        span.count = 2;
        weights[0] = CDU_FILTER_ONE - second;
        weights[1] = second;
        if (span.first < 0 || span.first + 1 >= size) { /* the outermost pixels go on to the edge */
            span.first = span.first < 0 ? 0 : size - 1;
            span.count = 1;
            weights[0] = CDU_FILTER_ONE;
        }
        return span;
    }
    double begin = (double)i * ratio;
    int64_t end = (int64_t)ceil((double)(i + 1) * ratio);
    span.first = (int64_t)floor(begin);
    uint32_t before = 0;
    for (int64_t k = span.first; k < end && k < size; k++) {
        uint32_t until = share_before((double)(k + 1), begin, ratio);
        weights[span.count++] = until - before;
        before = until;
    }
    span.white = CDU_FILTER_ONE - before;
    if (end <= size && span.count) { /* rounding at the last edge */
        weights[span.count - 1] += span.white;
        span.white = 0;
    }
    return span;
}

void cdu_filter_reach(double ratio, int64_t size, int64_t i, uint32_t count, int64_t *first, int64_t *end)
{
    double low = (double)i * ratio, high = ((double)i + count) * ratio;
    if (ratio < 1) low -= 1, high += 1;
    *first = (int64_t)floor(low);
    *end = (int64_t)ceil(high) + 1;
    if (*first < 0) *first = 0;
    if (*first >= size) *first = size - 1;
    if (*end > size) *end = size;
    if (*end <= *first) *end = *first + 1;
}

typedef struct {
    const uint8_t *source;
    int64_t source_x, source_y;
    uint32_t source_width, width;
    cdu_filter_span *columns;
    uint32_t *weights; /* of all columns, `reach` apart */
    size_t reach;
    uint32_t *row[2]; /* two source rows filtered along x, by parity of their number */
    int64_t held[2];
} resampler;

static const uint32_t *filtered_row(resampler *r, int64_t y)
{
    uint32_t *out = r->row[y & 1];
    if (r->held[y & 1] == y) return out;
    r->held[y & 1] = y;
    const uint8_t *row = r->source + (size_t)(y - r->source_y) * r->source_width * CDU_SLIDE_CHANNELS;
    for (uint32_t i = 0; i < r->width; i++) {
        cdu_filter_span span = r->columns[i];
        const uint8_t *pixel = row + (span.first - r->source_x) * CDU_SLIDE_CHANNELS;
        const uint32_t *weight = r->weights + i * r->reach;
        uint32_t white = span.white * 255, red = white, green = white, blue = white;
        for (uint32_t k = 0; k < span.count; k++, pixel += CDU_SLIDE_CHANNELS) {
            red += weight[k] * pixel[0];
            green += weight[k] * pixel[1];
            blue += weight[k] * pixel[2];
        }
        out[i * 3] = red;
        out[i * 3 + 1] = green;
        out[i * 3 + 2] = blue;
    }
    return out;
}

static void resample_rows(resampler *r, const cdu_slide_level *level, double ratio_y, int64_t y, uint32_t height, uint64_t *sums,
                          uint32_t *weights, uint8_t *rgb, size_t stride)
{
    const uint32_t values = r->width * CDU_SLIDE_CHANNELS;
    for (uint32_t j = 0; j < height; j++) {
        cdu_filter_span span = cdu_filter_weights(ratio_y, level->height, y + j, weights);
        uint64_t white = (uint64_t)span.white * 255 * CDU_FILTER_ONE;
        for (uint32_t v = 0; v < values; v++) sums[v] = white + ((uint64_t)1 << 39);
        for (uint32_t k = 0; k < span.count; k++) {
            if (!weights[k]) continue;
            const uint32_t *row = filtered_row(r, span.first + k);
            for (uint32_t v = 0; v < values; v++) sums[v] += (uint64_t)weights[k] * row[v];
        }
        for (uint32_t v = 0; v < values; v++) rgb[j * stride + v] = (uint8_t)(sums[v] >> 40);
    }
}

cdu_status cdu_filter_resample(const uint8_t *source, int64_t source_x, int64_t source_y, uint32_t source_width,
                               const cdu_slide_level *level, double ratio_x, double ratio_y, int64_t x, int64_t y, uint32_t width,
                               uint32_t height, uint8_t *rgb, size_t stride, cdu_error *error)
{
    resampler r = {.source = source,
                   .source_x = source_x,
                   .source_y = source_y,
                   .source_width = source_width,
                   .width = width,
                   .reach = (size_t)ceil(ratio_x) + 2,
                   .held = {-1, -1}};
    uint64_t *sums = NULL;
    uint32_t *weights = NULL;
    cdu_status status = cdu_allocate(&r.columns, width, sizeof *r.columns, error);
    if (status == CDU_OK) status = cdu_allocate(&r.weights, width * r.reach, sizeof *r.weights, error);
    for (int i = 0; i < 2 && status == CDU_OK; i++)
        status = cdu_allocate(&r.row[i], (size_t)width * CDU_SLIDE_CHANNELS, sizeof *r.row[i], error);
    if (status == CDU_OK) status = cdu_allocate(&sums, (size_t)width * CDU_SLIDE_CHANNELS, sizeof *sums, error);
    if (status == CDU_OK) status = cdu_allocate(&weights, (size_t)ceil(ratio_y) + 2, sizeof *weights, error);
    if (status == CDU_OK) {
        for (uint32_t i = 0; i < width; i++)
            r.columns[i] = cdu_filter_weights(ratio_x, level->width, x + i, r.weights + i * r.reach);
        resample_rows(&r, level, ratio_y, y, height, sums, weights, rgb, stride);
    }
    free(r.columns);
    free(r.weights);
    free(r.row[0]);
    free(r.row[1]);
    free(sums);
    free(weights);
    return status;
}
