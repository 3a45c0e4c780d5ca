/* rows_tile_input.c: the loader's packed pixels. Exact: each of the 256 quotients is the correctly rounded one. */
#include "ops/table.h"

static void forward(const cdu_op_row *row, cdu_op_data *d)
{
    for (uint64_t i = 0; i < d->in[0].count; i++) {
        uint32_t word = d->in[0].u[i];
        for (uint32_t c = 0; c < 3; c++) {
            uint32_t byte = row->attribute[0] ? 2 - c : c;
            d->out[0].v[i * 3 + c] = (float)(word >> (8 * byte) & 255) / 255.0f;
        }
        d->out[1].u[i] = word >> 24;
    }
}

/* every value of a byte in every place */
static void fill(const cdu_op_row *row, cdu_op_data *d, cdu_random *random)
{
    (void)row;
    (void)random;
    for (uint32_t i = 0; i < d->in[0].count; i++)
        d->in[0].u[i] = (i & 255) | ((i * 7 + 3) & 255) << 8 | ((i * 11 + 5) & 255) << 16 | ((i * 13) & 255) << 24;
}

static cdu_value build(cdu_graph *graph, const cdu_op_row *row, const char *name, const cdu_value *in)
{
    return cdu_tile_input(graph, name, in[0], row->attribute[0] != 0, NULL);
}

#define ROW(text, n, h, w, bgr)                                                                                                \
    {.name = text, .input = {{{n, h, w, 1}, CDU_U32, true}}, .attribute = {bgr}, .build = build, .forward = forward, .fill = fill, \
     .whole = true}
static const cdu_op_row tiles[] = {
    ROW("tile input, RGB", 1, 17, 19, 0),
    ROW("tile input, BGR", 3, 8, 16, 1),
};
CDU_OP_ROWS(tiles)
