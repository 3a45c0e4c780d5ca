/* rows_batch_norm.c: batch norm with ReLU before, behind, or none. Bounds: means and sums are compensated, so their errors do not grow
 * with the number of pixels: blocks of 8 (3 roundings deep) and a final rounding; the mean itself is rounded to float32. */
#include <math.h>
#include <stdlib.h>

#include "ops/table.h"

#define EPSILON 1e-5f
#define MOMENTUM 0.1f

typedef struct { double mean, variance, inverse, pixels, magnitude; } statistics;

static double first(const cdu_op_row *row, double x)
{
    return row->attribute[0] == CDU_RELU_BATCH_NORM && x < 0 ? 0 : x;
}

static statistics statistics_of(const cdu_op_row *row, const cdu_op_array *x, uint32_t c)
{
    statistics s = {0};
    uint32_t channels = x->dims[3];
    s.pixels = (double)(x->count / channels);
    for (uint64_t i = c; i < x->count; i += channels) s.mean += first(row, x->v[i]) / s.pixels;
    for (uint64_t i = c; i < x->count; i += channels) s.variance += pow(first(row, x->v[i]) - s.mean, 2) / s.pixels;
    s.inverse = 1 / sqrt(s.variance + (double)EPSILON);
    return s;
}

/* Error of x - mean, of the normalized value; relative error of inverse deviation: half of the variance's and three roundings. */
static double centre_slack(const statistics *s, double x)
{
    return 2 * CDU_OP_UNIT * fabs(s->mean) + cdu_op_gamma(2) * fabs(x - s->mean) + cdu_op_gamma(3) * sqrt(s->variance);
}

static double before_relu(const cdu_op_data *d, const statistics *s, uint32_t c, double x, double *slack)
{
    double scale = d->own[0].v[c] * s->inverse, y = (x - s->mean) * scale + d->own[1].v[c];
    *slack = fabs(scale) * centre_slack(s, x) + cdu_op_gamma(12) * fabs((x - s->mean) * scale) + CDU_OP_UNIT * fabs(y);
    return y;
}

static void forward(const cdu_op_row *row, cdu_op_data *d)
{
    const cdu_op_array *x = &d->in[0];
    for (uint32_t c = 0; c < x->dims[3]; c++) {
        statistics s = statistics_of(row, x, c);
        for (uint64_t i = c; i < x->count; i += x->dims[3]) {
            double y = before_relu(d, &s, c, first(row, x->v[i]), &d->out[0].slack[i]);
            d->out[0].v[i] = row->attribute[0] == CDU_BATCH_NORM_RELU && y < 0 ? 0 : y;
        }
        double keep = 1 - (double)MOMENTUM, unbiased = s.variance * s.pixels / (s.pixels - 1);
        d->own[2].after[c] = keep * d->own[2].v[c] + (double)MOMENTUM * s.mean;
        d->own[3].after[c] = keep * d->own[3].v[c] + (double)MOMENTUM * unbiased;
        d->own[2].after_slack[c] = cdu_op_gamma(4) * (fabs(d->own[2].v[c]) + fabs(s.mean) + sqrt(s.variance));
        d->own[3].after_slack[c] = cdu_op_gamma(16) * (fabs(d->own[3].v[c]) + unbiased);
    }
}

/* dy where the ReLU behind is open; *doubt: what it may be off by, where y is too near to zero to tell. */
static double open(const cdu_op_row *row, const cdu_op_data *d, const statistics *s, uint32_t c, uint64_t i, double *doubt)
{
    double slack, y = before_relu(d, s, c, first(row, d->in[0].v[i]), &slack), g = d->out[0].g[i];
    *doubt = 0;
    if (row->attribute[0] != CDU_BATCH_NORM_RELU) return g;
    if (fabs(y) <= slack) *doubt = fabs(g);
    return y > 0 ? g : 0;
}

static void backward(const cdu_op_row *row, cdu_op_data *d)
{
    const cdu_op_array *x = &d->in[0];
    for (uint32_t c = 0; c < x->dims[3]; c++) {
        statistics s = statistics_of(row, x, c);
        double sum = 0, dot = 0, sum_slack = 0, dot_slack = 0, doubt;
        for (uint64_t i = c; i < x->count; i += x->dims[3]) {
            double g = open(row, d, &s, c, i, &doubt), value = first(row, x->v[i]), centred = value - s.mean;
            sum += g;
            sum_slack += cdu_op_gamma(5) * fabs(g) + doubt;
            dot += g * centred;
            dot_slack += cdu_op_gamma(8) * fabs(g * centred) + fabs(g) * centre_slack(&s, value) + doubt * fabs(centred);
        }
        d->own[0].g[c] = dot * s.inverse;
        d->own[0].g_slack[c] = (dot_slack + cdu_op_gamma(12) * fabs(dot)) * s.inverse;
        d->own[1].g[c] = sum;
        d->own[1].g_slack[c] = sum_slack;
        double scale = d->own[0].v[c] * s.inverse, k = dot * s.inverse * s.inverse / s.pixels,
               k_slack = dot_slack * s.inverse * s.inverse / s.pixels;
        for (uint64_t i = c; i < x->count; i += x->dims[3]) {
            double g = open(row, d, &s, c, i, &doubt), value = first(row, x->v[i]), centred = value - s.mean,
                   mean_g = sum / s.pixels;
            bool closed = row->attribute[0] == CDU_RELU_BATCH_NORM && x->v[i] <= 0;
            d->in[0].g[i] = closed ? 0 : scale * (g - mean_g - centred * k);
            d->in[0].g_slack[i] =
                fabs(scale) * (cdu_op_gamma(20) * (fabs(g) + fabs(mean_g) + fabs(centred * k)) + sum_slack / s.pixels +
                               fabs(centred) * k_slack + centre_slack(&s, value) * fabs(k) + doubt);
        }
    }
}

static cdu_value build(cdu_graph *graph, const cdu_op_row *row, const char *name, const cdu_value *in)
{
    return cdu_batch_norm(graph, name, in[0], (cdu_batch_norm_order)row->attribute[0], EPSILON, MOMENTUM);
}

/* A mean far from zero, and a first pixel far from the others: what E[x2] - mean2 and a fixed shift get wrong. */
static void hard(const cdu_op_row *row, cdu_op_data *d, cdu_random *random)
{
    (void)row;
    cdu_op_array *x = &d->in[0];
    for (uint64_t i = 0; i < x->count; i++) {
        uint64_t c = i % x->dims[3];
        x->v[i] = (float)(cdu_random_normal(random) * 0.01 + (i < x->dims[3] ? 30 : 1) * ((double)c - 1.5));
    }
}

#define ROW(text, n, h, w, c, order)                                                                                               \
    {                                                                                                                              \
        .name = text, .input = {{{n, h, w, c}, CDU_F32, false}}, .attribute = {order}, .build = build, .forward = forward,         \
        .backward = backward                                                                                                       \
    }
static const cdu_op_row rows[] = {
    ROW("batch norm, ReLU, 3 channels", 1, 5, 7, 3, CDU_BATCH_NORM_RELU),
    ROW("batch norm, ReLU, 1 channel, 2 pixels", 1, 1, 2, 1, CDU_BATCH_NORM_RELU),
    ROW("batch norm, ReLU, 6 channels", 3, 8, 8, 6, CDU_BATCH_NORM_RELU),
    ROW("batch norm, ReLU, 32 channels", 2, 33, 17, 32, CDU_BATCH_NORM_RELU),
    ROW("batch norm, ReLU, 48 channels, many parts", 3, 64, 32, 48, CDU_BATCH_NORM_RELU),
    ROW("ReLU, batch norm, 5 channels", 2, 9, 7, 5, CDU_RELU_BATCH_NORM),
    ROW("ReLU, batch norm, 17 channels", 3, 8, 8, 17, CDU_RELU_BATCH_NORM),
    ROW("batch norm alone, 4 channels", 1, 31, 3, 4, CDU_BATCH_NORM_ONLY),
    ROW("batch norm alone, 272 channels", 1, 4, 3, 272, CDU_BATCH_NORM_ONLY),
    {.name = "batch norm alone, far from zero", .input = {{{2, 40, 25, 4}, CDU_F32, false}}, .attribute = {CDU_BATCH_NORM_ONLY},
     .build = build, .forward = forward, .backward = backward, .fill = hard},
};
CDU_OP_ROWS(rows)
