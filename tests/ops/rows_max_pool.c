/* rows_max_pool.c: 2x2 maximum. Exact: nothing is rounded but the sum of two gradients. */
#include <math.h>

#include "ops/table.h"

/* Index of the element of the window at (n, y, x) of the output that counts: the first largest; NaN is largest, the last one. */
static uint64_t chosen(const cdu_op_array *x, uint64_t n, uint64_t y, uint64_t column, uint64_t c)
{
    uint64_t best = cdu_op_at(x, n, 2 * y, 2 * column, c);
    for (uint64_t k = 1; k < 4; k++) {
        uint64_t at = cdu_op_at(x, n, 2 * y + k / 2, 2 * column + k % 2, c);
        if (x->v[at] > x->v[best] || isnan(x->v[at])) best = at;
    }
    return best;
}

static void walk(cdu_op_data *d, bool backward)
{
    cdu_op_array *x = &d->in[0], *out = &d->out[0];
    for (uint64_t n = 0; n < out->dims[0]; n++)
        for (uint64_t y = 0; y < out->dims[1]; y++)
            for (uint64_t column = 0; column < out->dims[2]; column++)
                for (uint64_t c = 0; c < out->dims[3]; c++) {
                    uint64_t to = cdu_op_at(out, n, y, column, c), from = chosen(x, n, y, column, c);
                    if (backward) x->g[from] = out->g[to];
                    else out->v[to] = x->v[from];
                }
}

static void forward(const cdu_op_row *row, cdu_op_data *d)
{
    (void)row;
    walk(d, false);
}

static void backward(const cdu_op_row *row, cdu_op_data *d)
{
    (void)row;
    walk(d, true);
}

/* Ties everywhere, and some NaN, infinities and negative zeros. */
static void special(const cdu_op_row *row, cdu_op_data *d, cdu_random *random)
{
    (void)row;
    static const double values[] = {NAN, INFINITY, -INFINITY, 0, 1, -1, 2, 2};
    for (uint64_t i = 0; i < d->in[0].count; i++) d->in[0].v[i] = values[cdu_random_below(random, 8)];
}

static cdu_value build(cdu_graph *graph, const cdu_op_row *row, const char *name, const cdu_value *in)
{
    (void)row;
    return cdu_max_pool(graph, name, in[0]);
}

#define ROW(text, n, h, w, c)                                                                                                      \
    {                                                                                                                              \
        .name = text, .input = {{{n, h, w, c}, CDU_F32, false}}, .build = build, .forward = forward, .backward = backward,         \
        .exact = true                                                                                                              \
    }
static const cdu_op_row pools[] = {
    ROW("max pool, 4 x 6, 3 channels", 1, 4, 6, 3),
    ROW("max pool, odd sides, 5 channels", 3, 7, 9, 5),
    ROW("max pool, 2 x 2, 1 channel", 1, 2, 2, 1),
    ROW("max pool, one odd side, 17 channels", 2, 3, 8, 17),
    ROW("max pool, 32 channels", 3, 8, 8, 32),
    {.name = "max pool, ties and NaN", .input = {{{2, 9, 8, 8}, CDU_F32, false}}, .build = build, .forward = forward,
     .backward = backward, .fill = special},
};
CDU_OP_ROWS(pools)
