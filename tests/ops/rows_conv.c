/* rows_conv.c: convolution 3x3 and 1x1, with and without epilogue, alone and behind a concatenation, and transposed convolution 2x2.
 * The loops go over outputs, taps and channels, and say nothing of blocks, lanes or runs. Bounds: a sum over a window is one chain of
 * its products; a sum over pixels starts anew after 128 of them. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "ops/table.h"

enum { KERNEL, FILTERS, EPILOGUE };     /* attribute */
enum { TRANSPOSED = 2 };                /* KERNEL */
enum { WEIGHT, BIAS, SCALE, SHIFT };    /* own */

/* What the window reads: the input, or with two inputs the max pools of both side by side. from: index into in[] of each element. */
typedef struct { uint32_t n, h, w, c; double *v, *g, *slack; struct { uint32_t in; uint64_t at; } *from; } source;

static void *room(uint64_t count, size_t size)
{
    void *memory = calloc(count, size);
    if (!memory) abort();
    return memory;
}

static uint64_t source_at(const source *s, uint64_t n, uint64_t y, uint64_t x, uint64_t c)
{
    return ((n * s->h + y) * s->w + x) * s->c + c;
}

static void take_pooled(source *s, const cdu_op_data *d, uint32_t in, uint32_t first)
{
    const cdu_op_array *a = &d->in[in];
    for (uint32_t n = 0; n < s->n; n++)
        for (uint32_t y = 0; y < s->h; y++)
            for (uint32_t x = 0; x < s->w; x++)
                for (uint32_t c = 0; c < a->dims[3]; c++) {
                    uint64_t best = cdu_op_at(a, n, 2 * y, 2 * x, c), to = source_at(s, n, y, x, first + c);
                    for (uint32_t k = 1; k < 4; k++) {
                        uint64_t at = cdu_op_at(a, n, 2 * y + k / 2, 2 * x + k % 2, c);
                        if (a->v[at] > a->v[best]) best = at;
                    }
                    s->v[to] = a->v[best];
                    s->from[to].in = in;
                    s->from[to].at = best;
                }
}

static source source_of(const cdu_op_data *d)
{
    const cdu_op_array *a = &d->in[0];
    source s = {.n = a->dims[0], .h = a->dims[1], .w = a->dims[2], .c = a->dims[3]};
    if (d->ins == 2) {
        s.h /= 2;
        s.w /= 2;
        s.c += d->in[1].dims[3];
    }
    uint64_t count = (uint64_t)s.n * s.h * s.w * s.c;
    s.v = room(count, sizeof *s.v);
    s.g = room(count, sizeof *s.g);
    s.slack = room(count, sizeof *s.slack);
    s.from = room(count, sizeof *s.from);
    if (d->ins == 2) {
        take_pooled(&s, d, 0, 0);
        take_pooled(&s, d, 1, a->dims[3]);
    }
    for (uint64_t i = 0; i < count && d->ins == 1; i++) {
        s.v[i] = a->v[i];
        s.from[i].at = i;
    }
    return s;
}

static void source_free(source *s)
{
    free(s->v);
    free(s->g);
    free(s->slack);
    free(s->from);
}

/* The pixel of the source that output pixel (y, x) reads at tap (kh, kw); false where it reads none. */
static bool tap(const cdu_op_row *row, const source *s, int64_t y, int64_t x, int64_t kh, int64_t kw, uint64_t *iy, uint64_t *ix)
{
    if (row->attribute[KERNEL] == TRANSPOSED) {
        if (y % 2 != kh || x % 2 != kw) return false;
        y /= 2;
        x /= 2;
    } else {
        y += kh - (int64_t)row->attribute[KERNEL] / 2;
        x += kw - (int64_t)row->attribute[KERNEL] / 2;
    }
    if (y < 0 || x < 0 || y >= s->h || x >= s->w) return false;
    *iy = (uint64_t)y;
    *ix = (uint64_t)x;
    return true;
}

/* Calls visit for every product x * w of every output. */
typedef struct { const cdu_op_row *row; cdu_op_data *data; source *source; double depth; } walk;
typedef void product(walk *, uint64_t out, uint64_t in, uint64_t weight);

static void walk_products(walk *w, product *visit)
{
    const cdu_op_array *y = &w->data->out[0];
    uint32_t k = w->row->attribute[KERNEL], filters = y->dims[3], channels = w->source->c;
    for (uint32_t n = 0; n < y->dims[0]; n++)
        for (uint32_t oy = 0; oy < y->dims[1]; oy++)
            for (uint32_t ox = 0; ox < y->dims[2]; ox++)
                for (uint32_t t = 0; t < k * k; t++) {
                    uint64_t iy, ix;
                    if (!tap(w->row, w->source, oy, ox, t / k, t % k, &iy, &ix)) continue;
                    for (uint32_t o = 0; o < filters; o++)
                        for (uint32_t i = 0; i < channels; i++) {
                            uint64_t pair = k == TRANSPOSED ? (uint64_t)i * filters + o : (uint64_t)o * channels + i;
                            visit(w, cdu_op_at(y, n, oy, ox, o), source_at(w->source, n, iy, ix, i), pair * k * k + t);
                        }
                }
}

static void add_output(walk *w, uint64_t out, uint64_t in, uint64_t weight)
{
    double p = w->source->v[in] * w->data->own[WEIGHT].v[weight];
    w->data->out[0].v[out] += p;
    w->data->out[0].slack[out] += w->depth * fabs(p);
}

static void add_gradients(walk *w, uint64_t out, uint64_t in, uint64_t weight)
{
    double g = w->data->out[0].g[out], x = w->source->v[in], v = w->data->own[WEIGHT].v[weight];
    w->source->g[in] += g * v;
    w->source->slack[in] += fabs(g * v);
    w->data->own[WEIGHT].g[weight] += g * x;
    w->data->own[WEIGHT].g_slack[weight] += w->depth * fabs(g * x);
}

static void forward(const cdu_op_row *row, cdu_op_data *d)
{
    source s = source_of(d);
    cdu_op_array *y = &d->out[0];
    uint32_t k = row->attribute[KERNEL], taps = k == TRANSPOSED ? 1 : k * k;
    double depth = d->exact ? 0 : cdu_op_gamma((double)s.c * taps + 2);
    for (uint64_t i = 0; i < y->count; i++) {
        y->v[i] = d->own[BIAS].v[i % y->dims[3]];
        y->slack[i] = depth * fabs(y->v[i]);
    }
    walk_products(&(walk){row, d, &s, depth}, add_output);
    for (uint64_t i = 0; i < y->count && row->attribute[EPILOGUE] != CDU_EPILOGUE_NONE; i++) {
        if (y->v[i] < 0) y->v[i] = 0;
        if (row->attribute[EPILOGUE] != CDU_EPILOGUE_RELU_AFFINE) continue;
        double scale = d->own[SCALE].v[i % y->dims[3]], shift = d->own[SHIFT].v[i % y->dims[3]];
        y->slack[i] = y->slack[i] * fabs(scale) + (d->exact ? 0 : cdu_op_gamma(2) * (fabs(y->v[i] * scale) + fabs(shift)));
        y->v[i] = y->v[i] * scale + shift;
    }
    source_free(&s);
}

static void backward(const cdu_op_row *row, cdu_op_data *d)
{
    source s = source_of(d);
    const cdu_op_array *y = &d->out[0];
    uint32_t k = row->attribute[KERNEL];
    double pixels = (double)y->count / y->dims[3], depth = fmin(pixels, 128) + pixels / 128 + 40;
    double window = d->exact ? 0 : cdu_op_gamma((double)y->dims[3] * k * k + 2);
    walk w = {row, d, &s, d->exact ? 0 : cdu_op_gamma(depth)};
    walk_products(&w, add_gradients);
    for (uint64_t i = 0; i < y->count; i++) {
        d->own[BIAS].g[i % y->dims[3]] += y->g[i];
        d->own[BIAS].g_slack[i % y->dims[3]] += w.depth * fabs(y->g[i]);
    }
    for (uint64_t i = 0; i < (uint64_t)s.n * s.h * s.w * s.c; i++) {
        cdu_op_array *a = &d->in[s.from[i].in];
        a->g[s.from[i].at] += s.g[i];
        a->g_slack[s.from[i].at] += window * s.slack[i];
    }
    source_free(&s);
}

static cdu_value build(cdu_graph *graph, const cdu_op_row *row, const char *name, const cdu_value *in)
{
    cdu_value x = in[0];
    if (row->input[1].shape.n) {
        char part[3][64];
        const char *suffix[3] = {"a", "b", "both"};
        for (int i = 0; i < 3; i++) snprintf(part[i], sizeof part[i], "%.40s.%s", name, suffix[i]);
        cdu_value a = cdu_max_pool(graph, part[0], in[0]), b = cdu_max_pool(graph, part[1], in[1]);
        x = cdu_graph_concat(graph, part[2], a, b);
    }
    if (row->attribute[KERNEL] == TRANSPOSED) return cdu_conv_transposed(graph, name, x, row->attribute[FILTERS]);
    return cdu_conv(graph, name, x, row->attribute[KERNEL], row->attribute[FILTERS], (cdu_epilogue)row->attribute[EPILOGUE]);
}

#define CONV(k, n, h, w, c, f)                                                                                       \
    {.name = "conv " #k "x" #k " " #n "x" #h "x" #w "x" #c " to " #f, .input = {{.shape = {n, h, w, c}}}, .attribute = {k, f}, \
     .build = build, .forward = forward, .backward = backward, .exact = true}
#define CONV_OF_TWO(k, n, h, w, c, d, f)                                                                             \
    {.name = "conv " #k "x" #k " of " #c " and " #d " to " #f, .input = {{.shape = {n, 2 * h, 2 * w, c}}, {.shape = {n, 2 * h, 2 * w, d}}}, \
     .attribute = {k, f}, .build = build, .forward = forward, .backward = backward, .exact = true}
#define CONV_AND(e, k, n, h, w, c, f)                                                                                \
    {.name = "conv " #k "x" #k " " #c " to " #f " " #e, .input = {{.shape = {n, h, w, c}}}, .attribute = {k, f, CDU_EPILOGUE_##e}, \
     .build = build, .forward = forward, .exact = true}

static const cdu_op_row rows[] = {
    CONV(3, 1, 1, 1, 1, 1),
    CONV(3, 2, 7, 13, 3, 6),
    CONV(3, 1, 30, 17, 5, 17),
    CONV(3, 3, 8, 8, 16, 16),
    CONV(3, 1, 5, 70, 17, 8),
    CONV(3, 2, 6, 9, 32, 48),
    CONV(3, 1, 3, 5, 150, 4),
    CONV(3, 16, 16, 16, 4, 3),
    CONV(1, 2, 7, 13, 3, 6),
    CONV(1, 1, 30, 17, 6, 3),
    CONV(1, 1, 5, 70, 8, 4),
    CONV(1, 1, 1, 1, 33, 32),
    CONV_OF_TWO(3, 2, 5, 7, 3, 5, 9),
    CONV_OF_TWO(3, 1, 4, 6, 17, 16, 16),
    CONV_OF_TWO(1, 1, 3, 5, 8, 8, 6),
    CONV_AND(RELU, 3, 1, 7, 13, 5, 6),
    CONV_AND(RELU_AFFINE, 3, 2, 5, 9, 8, 17),
    CONV_AND(RELU_AFFINE, 1, 1, 7, 13, 3, 4),
    CONV(2, 1, 1, 1, 1, 1),
    CONV(2, 2, 7, 13, 16, 8),
    CONV(2, 1, 5, 9, 3, 17),
    CONV(2, 2, 4, 4, 33, 5),
    CONV(2, 1, 30, 17, 6, 32),
};
CDU_OP_ROWS(rows)
