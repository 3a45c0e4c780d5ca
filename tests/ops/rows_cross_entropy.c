/* rows_cross_entropy.c: softmax, and weighted cross entropy over it. Bounds: exp errs by at most 4 roundings, and by the rounding of its
 * argument; log by 4; sums of pixels are compensated. */
#include <float.h>
#include <math.h>

#include "ops/table.h"

typedef struct { double probability[16], sum, largest, error; } pixel;

/* error: relative error of a probability, less the own argument's part */
static pixel softmax_of(const cdu_op_array *x, uint64_t at)
{
    pixel p = {.largest = -INFINITY};
    uint32_t classes = x->dims[3];
    double argument = 0;
    for (uint32_t c = 0; c < classes; c++) p.largest = fmax(p.largest, x->v[at * classes + c]);
    for (uint32_t c = 0; c < classes; c++) p.sum += p.probability[c] = exp(x->v[at * classes + c] - p.largest);
    for (uint32_t c = 0; c < classes; c++) p.probability[c] /= p.sum;
    for (uint32_t c = 0; c < classes; c++) argument = fmax(argument, p.probability[c] * fabs(x->v[at * classes + c] - p.largest));
    p.error = cdu_op_gamma(classes + 12 + argument * classes);
    return p;
}

static void softmax_forward(const cdu_op_row *row, cdu_op_data *d)
{
    (void)row;
    const cdu_op_array *x = &d->in[0];
    for (uint64_t i = 0; i < x->count; i++) {
        pixel p = softmax_of(x, i / x->dims[3]);
        d->out[0].v[i] = p.probability[i % x->dims[3]];
        d->out[0].slack[i] = d->out[0].v[i] * (p.error + CDU_OP_UNIT * fabs(x->v[i] - p.largest)) + 1e-37;
    }
}

/* Sum of weighted losses, of weights, count; *slack of the first. */
static void totals(const cdu_op_data *d, double *loss, double *weights, double *count, double *slack)
{
    const cdu_op_array *x = &d->in[0];
    uint32_t classes = x->dims[3];
    *loss = *weights = *count = *slack = 0;
    for (uint64_t i = 0; i < x->count / classes; i++) {
        uint32_t t = d->in[1].u[i];
        if (t >= classes) continue;
        pixel p = softmax_of(x, i);
        double w = d->in[2].v[t], term = log(p.sum) + p.largest - x->v[i * classes + t];
        *loss += w * term;
        *weights += w;
        *count += 1;
        *slack += fabs(w) * (p.error + cdu_op_gamma(8) * (fabs(term) + fabs(p.largest - x->v[i * classes + t])));
    }
}

static double divisor_of(const cdu_op_row *row, const cdu_op_data *d, double weights)
{
    return row->attribute[0] == CDU_MEAN_PIXELS ? (double)d->in[1].count : weights;
}

static void forward(const cdu_op_row *row, cdu_op_data *d)
{
    double loss, weights, count, slack, *v = d->out[0].v;
    totals(d, &loss, &weights, &count, &slack);
    double divisor = divisor_of(row, d, weights);
    v[0] = divisor == 0 ? 0 : loss / divisor;
    v[1] = loss;
    v[2] = divisor;
    v[3] = count;
    d->out[0].slack[0] = divisor == 0 ? 0 : slack / divisor + cdu_op_gamma(4) * fabs(v[0]);
    d->out[0].slack[1] = slack + cdu_op_gamma(2) * fabs(loss);
    d->out[0].slack[2] = cdu_op_gamma(2) * fabs(divisor);
}

static void backward(const cdu_op_row *row, cdu_op_data *d)
{
    cdu_op_array *x = &d->in[0];
    uint32_t classes = x->dims[3];
    double loss, weights, count, slack;
    totals(d, &loss, &weights, &count, &slack);
    double divisor = divisor_of(row, d, weights);
    for (uint64_t i = 0; i < x->count && divisor != 0; i++) {
        uint32_t t = d->in[1].u[i / classes], c = (uint32_t)(i % classes);
        if (t >= classes) continue;
        pixel p = softmax_of(x, i / classes);
        double w = d->in[2].v[t] / divisor;
        x->g[i] = w * (p.probability[c] - (c == t));
        x->g_slack[i] = fabs(w) * (p.probability[c] * (p.error + CDU_OP_UNIT * fabs(x->v[i] - p.largest)) + 1e-37) +
                        cdu_op_gamma(6) * fabs(x->g[i]) + FLT_MIN; /* drivers may write zero for numbers below */
    }
}

/* Classes, one in five ignored, some that no class knows; positive weights. */
static void fill(const cdu_op_row *row, cdu_op_data *d, cdu_random *random)
{
    uint32_t classes = d->in[0].dims[3];
    for (uint64_t i = 0; i < d->in[0].count; i++) d->in[0].v[i] = (float)(d->in[0].v[i] * row->real[0]);
    for (uint64_t i = 0; i < d->in[1].count; i++) {
        uint32_t kind = cdu_random_below(random, 5);
        d->in[1].u[i] = row->attribute[1] || !kind ? 255
                        : kind == 1 && i % 7 == 0  ? classes + cdu_random_below(random, 2) * cdu_random_below(random, 100)
                                                   : cdu_random_below(random, classes);
    }
    for (uint64_t i = 0; i < d->in[2].count; i++) d->in[2].v[i] = (float)(0.25 + cdu_random_double(random) * 4);
}

static cdu_value build(cdu_graph *graph, const cdu_op_row *row, const char *name, const cdu_value *in)
{
    return cdu_cross_entropy(graph, name, in[0], in[1], in[2], (cdu_loss_mean)row->attribute[0]);
}

static cdu_value build_softmax(cdu_graph *graph, const cdu_op_row *row, const char *name, const cdu_value *in)
{
    (void)row;
    return cdu_softmax(graph, name, in[0]);
}

#define SOFTMAX(text, n, h, w, c) \
    {.name = text, .input = {{{n, h, w, c}, CDU_F32, true}}, .build = build_softmax, .forward = softmax_forward}
/* spread: deviation of the logits; all: every pixel ignored */
#define LOSS(text, n, h, w, c, mean, spread, all)                                                                         \
    {.name = text, .input = {{{n, h, w, c}, CDU_F32, false}, {{n, h, w, 1}, CDU_U32, true}, {{1, 1, 1, c}, CDU_F32, true}}, \
     .attribute = {mean, all}, .real = {spread}, .build = build, .forward = forward, .backward = backward, .fill = fill,  \
     .own_loss = true, .whole = true}
static const cdu_op_row losses[] = {
    SOFTMAX("softmax, 4 classes", 2, 7, 5, 4),
    SOFTMAX("softmax, 3 classes", 3, 8, 8, 3),
    LOSS("cross entropy, 4 classes", 3, 8, 8, 4, CDU_MEAN_WEIGHTS, 2, 0),
    LOSS("cross entropy, 4 classes, mean of pixels", 1, 9, 7, 4, CDU_MEAN_PIXELS, 2, 0),
    LOSS("cross entropy, 3 classes, large logits", 2, 65, 67, 3, CDU_MEAN_WEIGHTS, 40, 0),
    LOSS("cross entropy, 16 classes", 1, 13, 11, 16, CDU_MEAN_WEIGHTS, 1, 0),
    LOSS("cross entropy, all ignored", 1, 5, 3, 4, CDU_MEAN_WEIGHTS, 1, 1),
};
CDU_OP_ROWS(losses)
