/* rows_conv.c: convolution 3x3 and 1x1, with and without epilogue, and transposed convolution 2x2.
 * The loops go over outputs, taps and channels, and say nothing of blocks, lanes or runs. Bounds: a sum over a window is one chain of
 * its products; a sum over pixels starts anew after 128 of them. */
#include <math.h>

#include "ops/table.h"

enum { KERNEL, FILTERS, EPILOGUE };     /* attribute */
enum { TRANSPOSED = 2 };                /* KERNEL */
enum { WEIGHT, BIAS, SCALE, SHIFT };    /* own */

static uint64_t pair_of(const cdu_op_row *row, uint64_t i, uint64_t o, uint64_t channels, uint64_t filters)
{
    return row->attribute[KERNEL] == TRANSPOSED ? i * filters + o : o * channels + i;
}

/* The pixel of x that output pixel (y, x) reads at tap (kh, kw); false where it reads none. */
static bool tap(const cdu_op_row *row, const cdu_op_array *in, int64_t y, int64_t x, int64_t kh, int64_t kw, uint64_t *iy, uint64_t *ix)
{
    if (row->attribute[KERNEL] == TRANSPOSED) {
        if (y % 2 != kh || x % 2 != kw) return false;
        y /= 2;
        x /= 2;
    } else {
        y += kh - (int64_t)row->attribute[KERNEL] / 2;
        x += kw - (int64_t)row->attribute[KERNEL] / 2;
    }
    if (y < 0 || x < 0 || y >= in->dims[1] || x >= in->dims[2]) return false;
    *iy = (uint64_t)y;
    *ix = (uint64_t)x;
    return true;
}

/* Calls visit for every product x * w of every output. */
typedef struct { const cdu_op_row *row; cdu_op_data *data; double depth, window; } walk; /* relative errors */
typedef void product(walk *, uint64_t out, uint64_t in, uint64_t weight);

static void walk_products(walk *w, product *visit)
{
    const cdu_op_array *y = &w->data->out[0], *x = &w->data->in[0];
    uint32_t k = w->row->attribute[KERNEL], filters = y->dims[3], channels = x->dims[3];
    for (uint32_t n = 0; n < y->dims[0]; n++)
        for (uint32_t oy = 0; oy < y->dims[1]; oy++)
            for (uint32_t ox = 0; ox < y->dims[2]; ox++)
                for (uint32_t t = 0; t < k * k; t++) {
                    uint64_t iy, ix;
                    if (!tap(w->row, x, oy, ox, t / k, t % k, &iy, &ix)) continue;
                    for (uint32_t o = 0; o < filters; o++)
                        for (uint32_t i = 0; i < channels; i++)
                            visit(w, cdu_op_at(y, n, oy, ox, o), cdu_op_at(x, n, iy, ix, i),
                                  pair_of(w->row, i, o, channels, filters) * k * k + t);
                }
}

/* ---- the error of Winograd's F(4x4, 3x3) ----
 * A sum of products of sums errs by at most gamma(operations) times the same expression with every number and every coefficient replaced
 * by its absolute value. Coefficients are those of the points 0, +-5/8, +-3/2 and infinity, written here once more. */

#define A2 (0.625 * 0.625)
#define B2 (1.5 * 1.5)
#define NA (1 / (2 * A2 * (B2 - A2)))
#define NB (1 / (2 * B2 * (B2 - A2)))
static const double of_x[6][6] = {{A2 * B2, 0, A2 + B2, 0, 1, 0}, {0, 0.625 * B2, B2, 0.625, 1, 0}, {0, 0.625 * B2, B2, 0.625, 1, 0},
                                  {0, 1.5 * A2, A2, 1.5, 1, 0},   {0, 1.5 * A2, A2, 1.5, 1, 0},     {0, A2 * B2, 0, A2 + B2, 0, 1}};
static const double of_weights[6][3] = {{1 / (A2 * B2), 0, 0},         {NA, NA * 0.625, NA * A2}, {NA, NA * 0.625, NA * A2},
                                        {NB, NB * 1.5, NB * B2}, {NB, NB * 1.5, NB * B2}, {0, 0, 1}};
static const double to_y[4][6] = {{1, 1, 1, 1, 1, 0}, {0, 0.625, 0.625, 1.5, 1.5, 0}, {0, A2, A2, B2, B2, 0},
                                  {0, 0.625 * A2, 0.625 * A2, 1.5 * B2, 1.5 * B2, 1}};
enum { TRANSFORM_OPERATIONS = 40 };

/* to (m x m) = a |from| a^T for a (m x k) with row length k: from is k x k. */
static void both_sides(const double *a, int m, int k, const double *from, double *to)
{
    double half[36];
    for (int i = 0; i < m; i++)
        for (int j = 0; j < k; j++) {
            half[i * k + j] = 0;
            for (int q = 0; q < k; q++) half[i * k + j] += a[i * k + q] * fabs(from[q * k + j]);
        }
    for (int i = 0; i < m; i++)
        for (int j = 0; j < m; j++) {
            to[i * m + j] = 0;
            for (int q = 0; q < k; q++) to[i * m + j] += half[i * k + q] * a[j * k + q];
        }
}

/* The transposed: to (k x k) = a^T |from| a for a (m x k): from is m x m. */
static void both_sides_turned(const double *a, int m, int k, const double *from, double *to)
{
    double turned[36];
    for (int i = 0; i < m; i++)
        for (int j = 0; j < k; j++) turned[j * m + i] = a[i * k + j];
    both_sides(turned, k, m, from, to);
}

/* `size` x `size` pixels of channel c from (y, x) on, zero outside. */
static void patch(const cdu_op_array *a, const double *values, uint64_t n, int y, int x, uint64_t c, int size, double *to)
{
    for (int r = 0; r < size; r++)
        for (int s = 0; s < size; s++) {
            bool in = y + r >= 0 && x + s >= 0 && y + r < (int)a->dims[1] && x + s < (int)a->dims[2];
            to[r * size + s] = in ? values[cdu_op_at(a, n, (uint64_t)(y + r), (uint64_t)(x + s), c)] : 0;
        }
}

/* Slack of out = conv(in, w): w of input channel i, output channel o begins at i * in_step + o * out_step, its 9 taps in any order. */
static void winograd_sum_slack(const cdu_op_array *in, const double *in_values, const cdu_op_array *out, double *slack, const double *w,
                               uint64_t in_step, uint64_t out_step, bool rotated, double gamma)
{
    uint32_t channels = in->dims[3], filters = out->dims[3];
    for (uint64_t n = 0; n < in->dims[0]; n++)
        for (int y = 0; y < (int)in->dims[1]; y += 4)
            for (int x = 0; x < (int)in->dims[2]; x += 4)
                for (uint64_t o = 0; o < filters; o++) {
                    double sum[36] = {0}, pixels[36], v[36], u[36], tile[16];
                    for (uint64_t i = 0; i < channels; i++) {
                        double taps[9];
                        for (int t = 0; t < 9; t++) taps[t] = w[i * in_step + o * out_step + (uint64_t)(rotated ? 8 - t : t)];
                        patch(in, in_values, n, y - 1, x - 1, i, 6, pixels);
                        both_sides(&of_x[0][0], 6, 6, pixels, v);
                        both_sides(&of_weights[0][0], 6, 3, taps, u);
                        for (int k = 0; k < 36; k++) sum[k] += u[k] * v[k];
                    }
                    both_sides(&to_y[0][0], 4, 6, sum, tile);
                    for (int r = 0; r < 4 && y + r < (int)in->dims[1]; r++)
                        for (int s = 0; s < 4 && x + s < (int)in->dims[2]; s++)
                            slack[cdu_op_at(out, n, (uint64_t)(y + r), (uint64_t)(x + s), o)] += gamma * tile[r * 4 + s];
                }
}

static void winograd_gradient_slack(const cdu_op_array *x, const cdu_op_array *y, double *slack, double gamma)
{
    for (uint64_t o = 0; o < y->dims[3]; o++)
        for (uint64_t i = 0; i < x->dims[3]; i++) {
            double sum[36] = {0}, pixels[36], gradients[16], v[36], d[36], taps[9];
            for (uint64_t n = 0; n < x->dims[0]; n++)
                for (int r = 0; r < (int)x->dims[1]; r += 4)
                    for (int s = 0; s < (int)x->dims[2]; s += 4) {
                        patch(x, x->v, n, r - 1, s - 1, i, 6, pixels);
                        patch(y, y->g, n, r, s, o, 4, gradients);
                        both_sides(&of_x[0][0], 6, 6, pixels, v);
                        both_sides_turned(&to_y[0][0], 4, 6, gradients, d);
                        for (int k = 0; k < 36; k++) sum[k] += d[k] * v[k];
                    }
            both_sides_turned(&of_weights[0][0], 6, 3, sum, taps);
            for (int t = 0; t < 9; t++) slack[(o * x->dims[3] + i) * 9 + (uint64_t)t] += gamma * taps[t];
        }
}

static void add_output(walk *w, uint64_t out, uint64_t in, uint64_t weight)
{
    double p = w->data->in[0].v[in] * w->data->own[WEIGHT].v[weight];
    w->data->out[0].v[out] += p;
    w->data->out[0].slack[out] += w->depth * fabs(p);
}

static void add_gradients(walk *w, uint64_t out, uint64_t in, uint64_t weight)
{
    double g = w->data->out[0].g[out], x = w->data->in[0].v[in], v = w->data->own[WEIGHT].v[weight];
    w->data->in[0].g[in] += g * v;
    w->data->in[0].g_slack[in] += w->window * fabs(g * v);
    w->data->own[WEIGHT].g[weight] += g * x;
    w->data->own[WEIGHT].g_slack[weight] += w->depth * fabs(g * x);
}

static void forward(const cdu_op_row *row, cdu_op_data *d)
{
    cdu_op_array *y = &d->out[0];
    uint32_t k = row->attribute[KERNEL], taps = k == TRANSPOSED ? 1 : k * k;
    double depth = d->exact ? 0 : cdu_op_gamma((double)d->in[0].dims[3] * taps + 2);
    for (uint64_t i = 0; i < y->count; i++) {
        y->v[i] = d->own[BIAS].v[i % y->dims[3]];
        y->slack[i] = depth * fabs(y->v[i]);
    }
    walk_products(&(walk){.row = row, .data = d, .depth = depth}, add_output);
    if (k == 3 && d->approximate)
        winograd_sum_slack(&d->in[0], d->in[0].v, y, y->slack, d->own[WEIGHT].v, 9, 9ull * d->in[0].dims[3], false,
                           cdu_op_gamma(d->in[0].dims[3] + TRANSFORM_OPERATIONS));
    for (uint32_t state = SCALE; state < d->owns; state++)
        for (uint64_t i = 0; i < d->own[state].count; i++) d->own[state].after[i] = d->own[state].v[i];
    for (uint64_t i = 0; i < y->count && row->attribute[EPILOGUE] != CDU_EPILOGUE_NONE; i++) {
        if (y->v[i] < 0) y->v[i] = 0;
        if (row->attribute[EPILOGUE] != CDU_EPILOGUE_RELU_AFFINE) continue;
        double scale = d->own[SCALE].v[i % y->dims[3]], shift = d->own[SHIFT].v[i % y->dims[3]];
        y->slack[i] = y->slack[i] * fabs(scale) + (d->exact ? 0 : cdu_op_gamma(2) * (fabs(y->v[i] * scale) + fabs(shift)));
        y->v[i] = y->v[i] * scale + shift;
    }
}

static void backward(const cdu_op_row *row, cdu_op_data *d)
{
    const cdu_op_array *y = &d->out[0];
    uint32_t k = row->attribute[KERNEL];
    double pixels = (double)y->count / y->dims[3], depth = fmin(pixels, 128) + pixels / 128 + 40;
    walk w = {.row = row, .data = d};
    if (!d->exact) w.depth = cdu_op_gamma(depth), w.window = cdu_op_gamma((double)y->dims[3] * k * k + 2);
    walk_products(&w, add_gradients);
    if (k == 3 && d->approximate) {
        winograd_sum_slack(y, y->g, &d->in[0], d->in[0].g_slack, d->own[WEIGHT].v, 9ull * d->in[0].dims[3], 9, true,
                           cdu_op_gamma(y->dims[3] + TRANSFORM_OPERATIONS));
        winograd_gradient_slack(&d->in[0], y, d->own[WEIGHT].g_slack, cdu_op_gamma(fmin(pixels / 16, 256) + pixels / 2048 + 32 + TRANSFORM_OPERATIONS));
    }
    for (uint64_t i = 0; i < y->count; i++) {
        d->own[BIAS].g[i % y->dims[3]] += y->g[i];
        d->own[BIAS].g_slack[i % y->dims[3]] += w.depth * fabs(y->g[i]);
    }
}

static cdu_value build(cdu_graph *graph, const cdu_op_row *row, const char *name, const cdu_value *in)
{
    if (row->attribute[KERNEL] == TRANSPOSED) return cdu_conv_transposed(graph, name, in[0], row->attribute[FILTERS]);
    return cdu_conv(graph, name, in[0], row->attribute[KERNEL], row->attribute[FILTERS], (cdu_epilogue)row->attribute[EPILOGUE]);
}

#define CONV(k, n, h, w, c, f)                                                                                       \
    {.name = "conv " #k "x" #k " " #n "x" #h "x" #w "x" #c " to " #f, .input = {{.shape = {n, h, w, c}}}, .attribute = {k, f}, \
     .build = build, .forward = forward, .backward = backward, .exact = true}
#define CONV_AND(e, k, n, h, w, c, f)                                                                                \
    {.name = "conv " #k "x" #k " " #c " to " #f " " #e, .input = {{.shape = {n, h, w, c}}}, .attribute = {k, f, CDU_EPILOGUE_##e}, \
     .build = build, .forward = forward, .exact = true}

static const cdu_op_row rows[] = {
    CONV(3, 1, 1, 1, 1, 1),
    CONV(3, 2, 7, 13, 3, 6),
    CONV(3, 3, 8, 8, 16, 16),
    CONV(3, 1, 5, 70, 17, 5),
    CONV(3, 2, 6, 9, 32, 48),
    CONV(3, 1, 3, 5, 150, 4),
    CONV(3, 16, 16, 16, 4, 3),
    CONV(3, 1, 9, 30, 64, 40),
    CONV(3, 2, 34, 21, 8, 24),
    CONV(3, 3, 2, 3, 16, 96),
    CONV(3, 1, 5, 6, 200, 304),         /* Winograd: too many weights for a cache, in parts */
    CONV(1, 2, 7, 13, 3, 6),
    CONV(1, 1, 30, 17, 6, 4),
    CONV(1, 1, 1, 1, 33, 32),
    CONV_AND(RELU, 3, 1, 7, 13, 5, 6),
    CONV_AND(RELU_AFFINE, 3, 2, 5, 9, 8, 17),
    CONV_AND(RELU_AFFINE, 1, 1, 7, 13, 3, 4),
    CONV(2, 1, 1, 1, 1, 1),
    CONV(2, 2, 7, 13, 16, 8),
    CONV(2, 1, 5, 9, 3, 17),
    CONV(2, 1, 13, 7, 6, 32),
};
CDU_OP_ROWS(rows)
