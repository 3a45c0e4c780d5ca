/* augment.c: see augment.h. Done in doubles and rounded to the table's integers here and nowhere else, so that all devices get the same. */
#include "core/train/augment.h"

#include <math.h>
#include <string.h>

#include "core/base/random.h"

static const double pi = 3.14159265358979323846, shrunk = 1.25;

bool cdu_augment_wanted(const cdu_study *s)
{
    return s->augment.flip || s->augment.hue > 0 || s->augment.brightness > 0 || s->augment.scale > 0 || s->augment.noise > 0 ||
           s->augment.occlusion > 0 || s->augment.rotate > 0 || s->augment.shear > 0;
}

static double either_way(cdu_random *random, double range)
{
    return range * (2 * cdu_random_double(random) - 1);
}

static void multiply(double out[4], const double a[4], const double b[4])
{
    double product[4] = {a[0] * b[0] + a[1] * b[2], a[0] * b[1] + a[1] * b[3], a[2] * b[0] + a[3] * b[2], a[2] * b[1] + a[3] * b[3]};
    memcpy(out, product, sizeof product);
}

/* From the output back to the tile: turned and scaled back, sheared back, flipped. */
static void draw_matrix(const cdu_study *s, uint32_t flips, cdu_random *random, cdu_augment *out)
{
    double scale = 1 + either_way(random, s->augment.scale), angle = either_way(random, s->augment.rotate) * pi / 180;
    double slope = tan(either_way(random, s->augment.shear) * pi / 180);
    bool upright = cdu_random_u32(random) & 1;
    double turn[4] = {cos(angle) / scale, sin(angle) / scale, -sin(angle) / scale, cos(angle) / scale};
    double shear[4] = {1, upright ? 0 : -slope, upright ? -slope : 0, 1};
    double flip[4] = {flips & 1 ? -1 : 1, 0, 0, flips & 2 ? -1 : 1}, m[4];
    multiply(m, shear, turn);
    multiply(m, flip, m);
    /* pixels of the tile that an output pixel spans: the matrix's larger singular value */
    double squares = m[0] * m[0] + m[1] * m[1] + m[2] * m[2] + m[3] * m[3], area = m[0] * m[3] - m[1] * m[2];
    double span = sqrt((squares + sqrt(fmax(0, squares * squares - 4 * area * area))) / 2);
    out->side = span > shrunk ? (uint32_t)ceil(span / shrunk) : 1;
    for (int i = 0; i < 4; i++) out->matrix[i] = (int32_t)lround(m[i] / out->side * 16384);
}

/* A rotation about the axis of greys, times a factor: grey stays grey, the mean of red, green and blue is multiplied by the factor. */
static void draw_color(const cdu_study *s, cdu_random *random, cdu_augment *out)
{
    double angle = either_way(random, s->augment.hue) * 2 * pi, factor = 1 + either_way(random, s->augment.brightness);
    double even = (1 - cos(angle)) / 3, odd = sin(angle) / sqrt(3);
    int32_t whole = (int32_t)lround(factor * 4096), next = (int32_t)lround((even - odd) * factor * 4096);
    int32_t last = (int32_t)lround((even + odd) * factor * 4096), own = whole - next - last;
    memcpy(out->color, (int32_t[9]){own, next, last, last, own, next, next, last, own}, sizeof out->color);
}

static void draw_boxes(const cdu_study *s, uint32_t size, cdu_random *random, cdu_augment *out)
{
    uint32_t count = 1 + cdu_random_u32(random) % CDU_AUGMENT_BOXES;
    double share = s->augment.occlusion * cdu_random_double(random) / count;
    for (uint32_t i = 0; i < CDU_AUGMENT_BOXES; i++) {
        double stretch = exp2(either_way(random, 0.5)), side = sqrt(share) * size;
        double width = fmin(round(side * stretch), size), height = fmin(round(side / stretch), size);
        double left = cdu_random_double(random), top = cdu_random_double(random);
        uint32_t color = cdu_random_u32(random) & 0xffffff;
        if (i >= count || width < 1 || height < 1) continue;
        uint32_t x = (uint32_t)(left * (size - width + 1)), y = (uint32_t)(top * (size - height + 1));
        out->box[i].x = x | (x + (uint32_t)width) << 16;
        out->box[i].y = y | (y + (uint32_t)height) << 16;
        out->box[i].color = color;
    }
}

void cdu_augment_draw(const cdu_study *s, uint64_t seed, uint64_t epoch, uint32_t tile, uint32_t size, cdu_augment *out)
{
    cdu_random flips = cdu_random_stream(seed, CDU_RANDOM_FLIP, (uint32_t)epoch, tile);
    cdu_random random = cdu_random_stream(seed, CDU_RANDOM_AUGMENT, (uint32_t)epoch, tile);
    *out = (cdu_augment){.key = {(uint32_t)seed, (uint32_t)(seed >> 32)}, .epoch = (uint32_t)epoch, .tile = tile};
    draw_matrix(s, s->augment.flip ? cdu_random_u32(&flips) & 3 : 0, &random, out);
    draw_color(s, &random, out);
    out->noise = (uint32_t)lround(s->augment.noise * cdu_random_double(&random) * 65280);
    draw_boxes(s, size, &random, out);
}
