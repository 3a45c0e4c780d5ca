/* develop.c: from optical densities to the bytes of a scanner: Beer and Lambert on display values, with a little stray light; blur,
 * colour channels out of register, vignetting, sensor noise. */
#include <math.h>
#include <string.h>

#include "tools/phantom/paint.h"

enum { LEVELS = 4096, TAPS = 15 };
#define DENSEST 1.8f

static float transmission[LEVELS + 2];

void phantom_develop_prepare(void)
{
    for (int i = 0; i < LEVELS + 2; i++) transmission[i] = (float)(0.015 + 0.985 * pow(10, -(double)DENSEST * i / LEVELS));
}

static float through(float density)
{
    float x = phantom_clamp(density, 0, DENSEST) * (LEVELS / DENSEST);
    int i = (int)x;
    return phantom_mix(transmission[i], transmission[i + 1], x - (float)i);
}

static void expose(const phantom_section *section, phantom_tile *t, int channel, float *out)
{
    const phantom_style *style = &section->style;
    float v[PHANTOM_COMPONENTS];
    for (int c = 0; c < PHANTOM_COMPONENTS; c++) v[c] = style->vector[c][channel];
    for (int i = 0; i < PHANTOM_AREA; i++) {
        float haematoxylin = t->haematoxylin[i] + style->body * t->protein[i];
        float density =
            v[0] * haematoxylin + v[1] * t->protein[i] + v[2] * t->mark[0][i] + v[3] * t->mark[1][i] + v[4] * t->pigment[i];
        out[i] = through(density * t->thickness[i] + v[5] * t->ink[i] + v[6] * t->grey[i]);
    }
}

/* Gauss around `shift`, of `sigma`; sums to 1. */
static int kernel(float sigma, float shift, float taps[TAPS])
{
    int radius = (int)ceilf(2.6f * sigma + fabsf(shift));
    if (radius > TAPS / 2) radius = TAPS / 2;
    float sum = 0;
    for (int k = -radius; k <= radius; k++) {
        float d = ((float)k - shift) / sigma;
        taps[k + radius] = expf(-0.5f * d * d);
        sum += taps[k + radius];
    }
    for (int k = 0; k <= 2 * radius; k++) taps[k] /= sum;
    return radius;
}

/* Rows, then columns; what lies beyond the margin is not needed, the outermost pixels repeat. */
static void blur(const float *in, float *between, float *out, float sigma, const float shift[2])
{
    float taps[TAPS];
    int radius = kernel(sigma, shift[0], taps);
    for (int y = 0; y < PHANTOM_SIDE; y++) {
        const float *row = in + y * PHANTOM_SIDE;
        for (int x = radius; x < PHANTOM_SIDE - radius; x++) {
            float sum = 0;
            for (int k = -radius; k <= radius; k++) sum += taps[k + radius] * row[x + k];
            between[y * PHANTOM_SIDE + x] = sum;
        }
    }
    radius = kernel(sigma, shift[1], taps);
    for (int y = PHANTOM_MARGIN; y < PHANTOM_SIDE - PHANTOM_MARGIN; y++) {
        float *row = out + y * PHANTOM_SIDE;
        memset(row, 0, PHANTOM_SIDE * sizeof *row);
        for (int k = -radius; k <= radius; k++) {
            const float *from = between + (y + k) * PHANTOM_SIDE;
            for (int x = PHANTOM_MARGIN; x < PHANTOM_SIDE - PHANTOM_MARGIN; x++) row[x] += taps[k + radius] * from[x];
        }
    }
}

static float vignetting(int32_t x, int32_t y)
{
    enum { FIELD = 1600 }; /* px; the scanner stitches fields of view */
    float u = (float)(x % FIELD) / FIELD * 2 - 1, v = (float)(y % FIELD) / FIELD * 2 - 1;
    return 1 - 0.01f * (u * u + v * v);
}

void phantom_develop(const phantom_section *section, phantom_tile *t, uint32_t width, uint32_t height, uint8_t *rgb,
                     uint8_t *classes, size_t row_pixels)
{
    const phantom_style *style = &section->style;
    bool defocused = false;
    for (int i = 0; i < PHANTOM_AREA && !defocused; i++) defocused = t->focus[i] > 0;
    for (int channel = 0; channel < 3; channel++) {
        expose(section, t, channel, t->work[0]);
        blur(t->work[0], t->work[1], t->work[2], style->blur, style->shift[channel]);
        if (defocused) blur(t->work[0], t->work[1], t->work[3], 2.5f, style->shift[channel]);
        for (uint32_t y = 0; y < height; y++) {
            for (uint32_t x = 0; x < width; x++) {
                size_t at = (size_t)(y + PHANTOM_MARGIN) * PHANTOM_SIDE + x + PHANTOM_MARGIN;
                int32_t px = t->x0 + PHANTOM_MARGIN + (int32_t)x, py = t->y0 + PHANTOM_MARGIN + (int32_t)y;
                float light = defocused ? phantom_mix(t->work[2][at], t->work[3][at], t->focus[at]) : t->work[2][at];
                float value = 255 * style->white[channel] * vignetting(px, py) * light;
                float noise = phantom_bell(phantom_hash(section->seed + 501 + (uint32_t)channel, px, py), 1);
                value += style->noise * sqrtf(0.6f + 0.02f * value) * noise;
                rgb[((size_t)y * row_pixels + x) * 3 + (size_t)channel] = (uint8_t)(phantom_clamp(value, 0, 255) + 0.5f);
            }
        }
    }
    for (uint32_t y = 0; y < height; y++) {
        memcpy(classes + (size_t)y * row_pixels, t->class_of + (size_t)(y + PHANTOM_MARGIN) * PHANTOM_SIDE + PHANTOM_MARGIN, width);
    }
}
