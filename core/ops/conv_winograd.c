/* conv_winograd.c: the variant "winograd": 3x3 convolutions of stride 1 by F(4x4, 3x3) on CPUs (shaders/conv_winograd.k). Needs 2.25 to 4
 * times fewer multiplications than the direct variant; its error is larger: see cdu_conv_winograd in conv_variant.h.
 * Leaves out fewer than 8 lanes (the first layer) and GPUs. */
#include <string.h>

#include "core/base/debug.h"
#include "core/ops/conv_variant.h"

enum {
    PLACES = 36,                    /* of a tile in the domain */
    LOCAL_BUDGET = 512 << 10,       /* bytes of a group's tiles in a weight gradient: half of a level-2 cache, or less */
    WEIGHTS_AGAIN = 48 << 20,       /* bytes of transformed weights that may be read again for every group */
    FEW_TILES = 24,                 /* so few share what was read that weights beyond CHUNK_BYTES had better come in parts */
    CHUNK_BYTES = 4 << 20,          /* of V, of half a part of U, or of a part of P on its way through memory */
    SLOTS = 32,                     /* sums of a fused weight gradient */
    RUN = 128,                      /* tiles after which a sum starts anew */
    MOST_FUSED = 64 * 64            /* input times output lanes of a fused weight gradient */
};
enum { FUSED, TILES, ROWS, CHUNK }; /* settings */
enum { SEPARATE = 1, TOGETHER = 2 };

/* x in blocks of ib lanes, y (or d) in blocks of nv vectors of vw lanes; np tiles of a register tile. */
typedef struct { uint32_t ib, in_blocks, vw, nv, out_blocks, np; } blocks;

/* Tiles of a register tile of two vectors of 32 registers: those with the least to do, products with tiles that are not there counted. */
static uint32_t choose_tile(uint64_t tiles)
{
    static const struct { uint32_t tiles; double cost; } choices[] = {{12, 1.0}, {16, 1.04}, {8, 1.06}};
    uint32_t best = 0;
    double least = 0;
    for (uint32_t i = 0; i < 3; i++) {
        double cost = (double)((tiles + choices[i].tiles - 1) / choices[i].tiles * choices[i].tiles) * choices[i].cost;
        if (!best || cost < least) best = choices[i].tiles, least = cost;
    }
    return best;
}

static blocks choose_blocks(const cdu_device_info *device, uint32_t ib, uint32_t vw, uint32_t in_lanes, uint32_t out_lanes, uint64_t tiles,
                            const cdu_choice *choice)
{
    blocks b = {.ib = ib, .vw = vw, .nv = 1};
    if (vw == device->vector_width && out_lanes % (2 * vw) == 0) b.nv = 2;
    b.np = device->vector_width >= 16 || b.nv == 1 ? 12 : 6;
    if (device->vector_width >= 16 && b.nv == 2) b.np = choose_tile(tiles);
    if (choice->setting[ROWS]) b.np = choice->setting[ROWS];
    b.in_blocks = in_lanes / ib;
    b.out_blocks = out_lanes / (vw * b.nv);
    return b;
}

static uint64_t tiles_of(uint32_t n, uint32_t h, uint32_t w)
{
    return (uint64_t)n * cdu_ceil_div(h, 4) * cdu_ceil_div(w, 4);
}

static blocks blocks_of(const cdu_lowering *l, const cdu_layout *x, const cdu_layout *y, const cdu_choice *choice)
{
    const cdu_device_info *device = cdu_lowering_device(l);
    uint32_t limit = cdu_smaller(device->vector_width, 16);
    return choose_blocks(device, cdu_conv_vector_of(x, limit), cdu_conv_vector_of(y, limit), x->lanes, y->lanes,
                         tiles_of(y->shape.n, y->shape.h, y->shape.w), choice);
}

/* Vectors from one place of the domain to the next: an odd number of vectors more, so that not all lie in one set of a cache. */
static uint32_t padded(uint32_t vectors)
{
    return vectors | 1;
}

static uint64_t fused_bytes(const blocks *b, uint32_t tiles)
{
    return 4ull * PLACES * ((uint64_t)padded(b->in_blocks * tiles) * b->ib + (uint64_t)(tiles + 1) * b->nv * b->vw);
}

static uint32_t fused_tiles(const blocks *b, const cdu_choice *choice)
{
    return choice->setting[TILES] ? choice->setting[TILES] : cdu_ceil_div(12, b->np) * b->np;
}

static bool takes_fused(const cdu_device_info *device, const blocks *b, uint64_t tiles, const cdu_choice *choice)
{
    if (choice->setting[FUSED]) return choice->setting[FUSED] == TOGETHER;
    uint64_t weights = 4ull * PLACES * b->in_blocks * b->ib * b->out_blocks * b->nv * b->vw;
    if (tiles <= FEW_TILES && weights > CHUNK_BYTES) return false;
    uint64_t bytes = fused_bytes(b, fused_tiles(b, choice));
    return weights <= WEIGHTS_AGAIN && bytes <= device->local_bytes;    /* PoCL says what the level-2 cache holds */
}

static void define_blocks(cdu_draft *draft, const blocks *b)
{
    cdu_draft_define(draft, "IB", b->ib);
    cdu_draft_define(draft, "VW", b->vw);
    cdu_draft_define(draft, "NV", b->nv);
}

/* What the steps of one sum share. */
typedef struct {
    cdu_lowering *l;
    const cdu_node *node;
    const char *pass;
    const cdu_conv_sum *sum;
    cdu_layout x, y;
    blocks b;
    cdu_tensor packed, v, m;
    uint32_t tiles_x, tiles_y;
    uint32_t u_step;                        /* vectors */
    uint64_t bias_at;                       /* floats */
    cdu_epilogue epilogue;
    cdu_tensor part;                        /* moments of y: rows so far, floats of a row */
    uint32_t part_rows;
} sum_steps;

/* Rows of moments that a step with so many groups adds. */
static void use_moments(cdu_draft *draft, const sum_steps *s)
{
    if (s->part == CDU_NO_TENSOR) return;
    cdu_draft_define(draft, "MOMENTS", s->sum->moments_of_relu ? 2 : 1);
    cdu_draft_use(draft, s->part, s->part_rows ? CDU_READ | CDU_WRITE : CDU_WRITE, 0, 0);
}

static cdu_status begin_moments(sum_steps *s, uint32_t rows, cdu_error *error)
{
    s->part = CDU_NO_TENSOR;
    if (s->sum->moments_of == CDU_NO_VALUE) return CDU_OK;
    CDU_TRY(cdu_lower_scratch(s->l, "moments", 5ull * rows * s->y.lanes, &s->part, error));
    cdu_lower_offer_moments(s->l, s->sum->moments_of, s->part, rows);
    return CDU_OK;
}

static cdu_status append_pack(const sum_steps *s, uint32_t first, uint32_t out_blocks, cdu_error *error)
{
    cdu_draft draft = cdu_draft_begin("conv_winograd.k", "winograd_pack", s->node, "pack");
    define_blocks(&draft, &s->b);
    if (out_blocks == s->b.out_blocks) cdu_draft_define(&draft, "STREAM", 1);
    cdu_draft_groups(&draft, out_blocks, s->b.in_blocks, 1, 1, 1, 1);
    cdu_conv_use_weights(&draft, s->sum, s->packed, &s->x, &s->y);
    CDU_CONV_WORDS(&draft, s->b.in_blocks, s->u_step, (uint32_t)s->bias_at, s->y.lanes, s->sum->window.rotated, first);
    draft.bytes = 4.0 * (9 + PLACES) * s->x.lanes * out_blocks * s->b.nv * s->b.vw;
    return cdu_append(s->l, &draft, error);
}

/* The parameters of all kernels of a sum; first_tile, chunk, slots: of this step, out_blocks from `first` on. */
static void sum_params(cdu_draft *draft, const sum_steps *s, uint32_t tiles, uint32_t first_tile, uint32_t chunk, uint32_t slots,
                       uint32_t v_step, uint32_t m_step, uint32_t first, uint32_t out_blocks)
{
    const blocks *b = &s->b;
    CDU_CONV_WORDS(draft, b->in_blocks, out_blocks, s->y.shape.h, s->y.shape.w, s->x.pitch / b->ib, s->x.offset / b->ib, s->y.pitch / b->vw,
           s->y.offset / b->vw, s->tiles_x, s->tiles_y, tiles, first_tile, chunk, slots, s->u_step, v_step, m_step,
           (uint32_t)(s->bias_at / b->vw), s->y.lanes / b->vw, s->sum->bias != CDU_NO_TENSOR, s->sum->accumulate, first,
           s->sum->norm.row_lanes / b->ib, s->part_rows);
}

static double direct_flops(const sum_steps *s, double pixels, uint32_t out_blocks)
{
    double out = cdu_smaller(out_blocks * s->b.nv * s->b.vw, s->y.shape.c);
    return 18.0 * pixels * s->x.shape.c * out;
}

static cdu_status append_fused(const sum_steps *s, uint32_t tiles_a_group, uint32_t n0, uint32_t n1, cdu_error *error)
{
    const blocks *b = &s->b;
    cdu_draft draft = cdu_draft_begin("conv_winograd.k", "winograd_fused", s->node, s->pass);
    uint32_t tiles = (n1 - n0) * s->tiles_x * s->tiles_y, v_step = padded(b->in_blocks * tiles_a_group), m_step = (tiles_a_group + 1) * b->nv;
    /* few sizes of local memory, so that few kernels are compiled */
    uint32_t v_floats = 64 << 10, needed = PLACES * v_step * b->ib;
    while (v_floats < needed) v_floats *= 2;
    if (4 * (v_floats + PLACES * m_step * b->vw) > cdu_lowering_device(s->l)->local_bytes) v_floats = needed;
    define_blocks(&draft, b);
    cdu_draft_define(&draft, "NP", b->np);
    cdu_draft_define(&draft, "FT", tiles_a_group);
    cdu_draft_define(&draft, "EPILOGUE", s->epilogue);
    cdu_draft_define(&draft, "V_FLOATS", v_floats);
    cdu_draft_define(&draft, "M_FLOATS", PLACES * m_step * b->vw);
    if (!s->sum->accumulate) cdu_op_stream(s->l, &draft, s->sum->y, b->vw);
    cdu_draft_groups(&draft, cdu_ceil_div(tiles, tiles_a_group), 1, 1, 1, 1, 1);
    cdu_draft_use(&draft, s->sum->x, CDU_READ, n0, n1);
    cdu_draft_use(&draft, s->packed, CDU_READ, 0, 0);
    cdu_draft_use(&draft, s->sum->y, s->sum->accumulate ? CDU_READ | CDU_WRITE : CDU_WRITE, n0, n1);
    cdu_conv_use_norm(&draft, &s->sum->norm);
    if (s->part != CDU_NO_TENSOR) cdu_draft_define(&draft, "MOMENTS_AT", draft.uses);
    use_moments(&draft, s);
    sum_params(&draft, s, tiles, 0, tiles, tiles, v_step, m_step, 0, b->out_blocks);
    double pixels = (double)(n1 - n0) * s->y.shape.h * s->y.shape.w;
    draft.flops = direct_flops(s, pixels, b->out_blocks);
    draft.bytes = 4.0 * pixels * (s->x.lanes + s->y.lanes * (s->sum->accumulate ? 2.0 : 1.0)) +
                  4.0 * PLACES * s->u_step * b->vw * b->out_blocks;
    return cdu_append(s->l, &draft, error);
}

/* Chunks of tiles through memory. */
typedef struct { uint32_t slots, v_step, m_step, part_blocks; } chunking;

static uint64_t chunk_bytes(const cdu_choice *choice)
{
    return choice->setting[CHUNK] ? (uint64_t)choice->setting[CHUNK] << 10 : CHUNK_BYTES;
}

/* Of `tiles`, in multiples of `unit`, so many as have chunk_bytes with this many lanes a tile; all of them where twice that holds what lies in memory at once. */
static uint32_t chunk_tiles(const cdu_choice *choice, uint32_t lanes, uint32_t lanes_at_once, uint32_t unit, uint32_t tiles)
{
    uint32_t chunk = cdu_larger((uint32_t)(chunk_bytes(choice) / (4 * PLACES * lanes)) / unit, 1) * unit, all = cdu_ceil_div(tiles, unit) * unit;
    return 4ull * PLACES * all * lanes_at_once <= 2 * chunk_bytes(choice) ? all : cdu_smaller(chunk, all);
}

static chunking choose_chunking(const sum_steps *s, const cdu_choice *choice, uint32_t tiles)
{
    const blocks *b = &s->b;
    chunking c = {0};
    c.slots = chunk_tiles(choice, cdu_larger(s->x.lanes, s->y.lanes), s->x.lanes, b->np, tiles);
    c.v_step = padded(b->in_blocks * c.slots);
    uint32_t part = cdu_larger((uint32_t)(2 * chunk_bytes(choice) / (4 * PLACES * s->u_step * b->vw)), 1);
    c.part_blocks = c.slots >= tiles ? cdu_smaller(part, b->out_blocks) : b->out_blocks;
    c.m_step = padded(c.part_blocks * c.slots * b->nv);
    return c;
}

static cdu_status append_input(const sum_steps *s, const chunking *c, uint32_t n0, uint32_t n1, uint32_t first, uint32_t chunk, cdu_error *error)
{
    cdu_draft draft = cdu_draft_begin("conv_winograd.k", "winograd_input", s->node, s->pass);
    uint32_t tiles = (n1 - n0) * s->tiles_x * s->tiles_y;
    define_blocks(&draft, &s->b);
    cdu_draft_groups(&draft, cdu_ceil_div(c->slots, 2), 1, 1, 1, 1, 1);
    cdu_draft_use(&draft, s->sum->x, CDU_READ, n0, n1);
    cdu_draft_use(&draft, s->v, CDU_WRITE, 0, 0);
    cdu_conv_use_norm(&draft, &s->sum->norm);
    sum_params(&draft, s, tiles, first, chunk, c->slots, c->v_step, c->m_step, 0, s->b.out_blocks);
    draft.bytes = 4.0 * chunk * (16 + PLACES) * s->x.lanes;
    return cdu_append(s->l, &draft, error);
}

static cdu_status append_product(const sum_steps *s, const chunking *c, uint32_t tiles, uint32_t first_tile, uint32_t chunk, uint32_t first,
                                 uint32_t out_blocks, cdu_error *error)
{
    cdu_draft draft = cdu_draft_begin("conv_winograd.k", "winograd_product", s->node, s->pass);
    define_blocks(&draft, &s->b);
    cdu_draft_define(&draft, "NP", s->b.np);
    cdu_draft_groups(&draft, out_blocks, PLACES, 1, 1, 1, 1);
    cdu_draft_use(&draft, s->v, CDU_READ, 0, 0);
    cdu_draft_use(&draft, s->packed, CDU_READ, 0, 0);
    cdu_draft_use(&draft, s->m, CDU_WRITE, 0, 0);
    sum_params(&draft, s, tiles, first_tile, chunk, c->slots, c->v_step, c->m_step, first, out_blocks);
    draft.flops = direct_flops(s, 16.0 * chunk, out_blocks);
    draft.bytes = 4.0 * PLACES * ((double)c->slots * (s->x.lanes + out_blocks * s->b.nv * s->b.vw) + (double)s->u_step * s->b.vw * out_blocks);
    return cdu_append(s->l, &draft, error);
}

static cdu_status append_output(const sum_steps *s, const chunking *c, uint32_t n0, uint32_t n1, uint32_t first_tile, uint32_t chunk,
                                uint32_t first, uint32_t out_blocks, cdu_error *error)
{
    cdu_draft draft = cdu_draft_begin("conv_winograd.k", "winograd_output", s->node, s->pass);
    uint32_t tiles = (n1 - n0) * s->tiles_x * s->tiles_y, lanes = out_blocks * s->b.nv * s->b.vw;
    define_blocks(&draft, &s->b);
    cdu_draft_define(&draft, "EPILOGUE", s->epilogue);
    if (!s->sum->accumulate) cdu_op_stream(s->l, &draft, s->sum->y, s->b.vw);
    cdu_draft_groups(&draft, cdu_ceil_div(chunk, 2), 1, 1, 1, 1, 1);
    cdu_draft_use(&draft, s->m, CDU_READ, 0, 0);
    cdu_draft_use(&draft, s->packed, CDU_READ, 0, 0);
    bool reads = s->sum->accumulate || first_tile || first || out_blocks < s->b.out_blocks;     /* part of y alone is written */
    cdu_draft_use(&draft, s->sum->y, reads ? CDU_READ | CDU_WRITE : CDU_WRITE, n0, n1);
    use_moments(&draft, s);
    sum_params(&draft, s, tiles, first_tile, chunk, c->slots, c->v_step, c->m_step, first, out_blocks);
    draft.bytes = 4.0 * chunk * (PLACES + 16) * lanes;
    return cdu_append(s->l, &draft, error);
}

/* Chunks of tiles; where there is one chunk alone, the weights come in parts that stay in a cache. */
static cdu_status append_separate(sum_steps *s, const cdu_choice *choice, cdu_error *error)
{
    const blocks *b = &s->b;
    cdu_tensor both[2] = {s->sum->x, s->sum->y};
    uint32_t an_image = s->tiles_x * s->tiles_y, most = 0, ranges = 0;
    for (uint32_t n0 = 0, n1 = 0; cdu_next_range(s->l, both, 2, &n0, &n1); ranges++) most = cdu_larger(most, (n1 - n0) * an_image);
    chunking c = choose_chunking(s, choice, most);
    if (ranges > 1 || cdu_lowering_keeps(s->l)) c.part_blocks = b->out_blocks, c.m_step = padded(c.part_blocks * c.slots * b->nv);
    uint64_t u_floats = (uint64_t)PLACES * s->u_step * b->vw * c.part_blocks;
    s->bias_at = u_floats;
    CDU_TRY(cdu_lower_scratch(s->l, "transformed weights", u_floats + 3ull * s->y.lanes, &s->packed, error));
    CDU_TRY(cdu_lower_scratch(s->l, "transformed input", (uint64_t)PLACES * c.v_step * b->ib, &s->v, error));
    CDU_TRY(cdu_lower_scratch(s->l, "products", (uint64_t)PLACES * c.m_step * b->vw, &s->m, error));
    bool parts = c.part_blocks < b->out_blocks;
    uint32_t rows = 0;
    for (uint32_t n0 = 0, n1 = 0; cdu_next_range(s->l, both, 2, &n0, &n1);) {
        uint32_t tiles = (n1 - n0) * an_image;
        for (uint32_t first_tile = 0; first_tile < tiles; first_tile += c.slots)
            rows += cdu_ceil_div(cdu_smaller(c.slots, tiles - first_tile), 2);
    }
    CDU_TRY(begin_moments(s, rows, error));
    if (!parts) CDU_TRY(append_pack(s, 0, b->out_blocks, error));
    for (uint32_t n0 = 0, n1 = 0; cdu_next_range(s->l, both, 2, &n0, &n1);) {
        uint32_t tiles = (n1 - n0) * an_image;
        for (uint32_t first_tile = 0; first_tile < tiles; first_tile += c.slots) {
            uint32_t chunk = cdu_smaller(c.slots, tiles - first_tile);
            CDU_TRY(append_input(s, &c, n0, n1, first_tile, chunk, error));
            for (uint32_t first = 0; first < b->out_blocks; first += c.part_blocks) {
                uint32_t count = cdu_smaller(c.part_blocks, b->out_blocks - first);
                if (parts) CDU_TRY(append_pack(s, first, count, error));
                CDU_TRY(append_product(s, &c, tiles, first_tile, chunk, first, count, error));
                CDU_TRY(append_output(s, &c, n0, n1, first_tile, chunk, first, count, error));
            }
            s->part_rows += cdu_ceil_div(chunk, 2);
        }
    }
    return CDU_OK;
}

static cdu_status winograd_sum(cdu_lowering *l, const cdu_node *node, const char *pass, const cdu_conv_sum *sum, const cdu_choice *choice,
                               cdu_error *error)
{
    sum_steps s = {.l = l, .node = node, .pass = pass, .sum = sum, .x = *cdu_tensor_layout(l, sum->x), .y = *cdu_tensor_layout(l, sum->y),
                   .epilogue = sum->epilogue, .part = CDU_NO_TENSOR};
    s.b = blocks_of(l, &s.x, &s.y, choice);
    s.tiles_x = cdu_ceil_div(s.y.shape.w, 4);
    s.tiles_y = cdu_ceil_div(s.y.shape.h, 4);
    s.u_step = padded(s.b.in_blocks * s.b.ib * s.b.nv);
    if (!takes_fused(cdu_lowering_device(l), &s.b, tiles_of(s.y.shape.n, s.y.shape.h, s.y.shape.w), choice)) return append_separate(&s, choice, error);
    s.bias_at = (uint64_t)PLACES * s.u_step * s.b.vw * s.b.out_blocks;
    CDU_TRY(cdu_lower_scratch(l, "transformed weights", s.bias_at + 3ull * s.y.lanes, &s.packed, error));
    CDU_TRY(append_pack(&s, 0, s.b.out_blocks, error));
    cdu_tensor both[2] = {sum->x, sum->y};
    uint32_t a_group = fused_tiles(&s.b, choice), an_image = s.tiles_x * s.tiles_y, rows = 0;
    for (uint32_t n0 = 0, n1 = 0; cdu_next_range(l, both, 2, &n0, &n1);) rows += cdu_ceil_div((n1 - n0) * an_image, a_group);
    CDU_TRY(begin_moments(&s, rows, error));
    for (uint32_t n0 = 0, n1 = 0; cdu_next_range(l, both, 2, &n0, &n1);) {
        CDU_TRY(append_fused(&s, a_group, n0, n1, error));
        s.part_rows += cdu_ceil_div((n1 - n0) * an_image, a_group);
    }
    return CDU_OK;
}

/* What the steps of one weight gradient share. */
typedef struct {
    cdu_lowering *l;
    const cdu_node *node;
    const cdu_conv_gradient *g;
    cdu_layout x, d;
    blocks b;
    uint32_t r;                             /* input lanes of a register tile */
    uint32_t tiles_x, tiles_y, v_step, d_step, p_step, slots, slot_tiles;
    uint64_t slot_size, bias_at;            /* floats */
    cdu_tensor partial, v, dd;
} gradient_steps;

static void gradient_params(cdu_draft *draft, const gradient_steps *s, uint32_t tiles, uint32_t first_tile, uint32_t chunk, uint32_t first_slot,
                            uint32_t first_block)
{
    const blocks *b = &s->b;
    CDU_CONV_WORDS(draft, b->in_blocks, b->out_blocks, s->d.shape.h, s->d.shape.w, s->x.pitch / b->ib, s->x.offset / b->ib, s->d.pitch / b->vw,
           s->d.offset / b->vw, s->tiles_x, s->tiles_y, tiles, first_tile, chunk, s->slots, s->slot_tiles, first_slot, s->v_step, s->d_step,
           s->p_step, (uint32_t)s->slot_size, (uint32_t)s->bias_at, s->d.lanes / b->vw, s->g->norm.row_lanes / b->ib, first_block);
}

static cdu_status append_unpack(const gradient_steps *s, uint32_t slots, uint32_t bias_rows, uint64_t bias_step, uint32_t first_block, uint32_t in_blocks,
                                cdu_error *error)
{
    cdu_draft draft = cdu_draft_begin("conv_winograd.k", "winograd_unpack", s->node, "unpack");
    const cdu_conv_gradient *g = s->g;
    define_blocks(&draft, &s->b);
    cdu_draft_groups(&draft, s->b.out_blocks, in_blocks, 1, 1, 1, 1);
    cdu_draft_use(&draft, s->partial, CDU_READ, 0, 0);
    cdu_draft_use(&draft, g->weight, g->add_weight || first_block ? CDU_READ | CDU_WRITE : CDU_WRITE, 0, 0);
    cdu_draft_use(&draft, g->bias, g->add_bias || first_block ? CDU_READ | CDU_WRITE : CDU_WRITE, 0, 0);
    cdu_conv_channel_params(&draft, &s->x, g->window.in_step);
    cdu_conv_channel_params(&draft, &s->d, g->window.out_step);
    CDU_CONV_WORDS(&draft, s->b.in_blocks, s->b.out_blocks, s->p_step, slots, (uint32_t)s->slot_size, (uint32_t)s->bias_at, bias_rows,
           (uint32_t)bias_step, g->add_weight, g->add_bias, first_block);
    draft.bytes = 4.0 * in_blocks * s->b.ib * s->d.lanes * ((double)PLACES * slots + 9);
    return cdu_append(s->l, &draft, error);
}

static double gradient_flops(const gradient_steps *s, double pixels)
{
    return pixels * s->d.shape.c * (18.0 * s->x.shape.c + 1);
}

static void local_or_none(gradient_steps *s, uint32_t tiles)
{
    s->slots = tiles;
    s->v_step = padded(s->b.in_blocks * tiles);
    s->d_step = padded(s->b.out_blocks * tiles * s->b.nv);
}

static cdu_status append_gradient_fused(gradient_steps *s, uint32_t tiles_at_once, cdu_error *error)
{
    const blocks *b = &s->b;
    cdu_tensor both[2] = {s->g->x, s->g->d};
    uint32_t an_image = s->tiles_x * s->tiles_y, tiles = s->d.shape.n * an_image, slots = 0, first = 0;
    local_or_none(s, tiles_at_once);
    s->slot_tiles = cdu_ceil_div(cdu_ceil_div(tiles, SLOTS), tiles_at_once) * tiles_at_once;
    s->p_step = padded(b->in_blocks * b->out_blocks * b->ib * b->nv);
    s->bias_at = (uint64_t)PLACES * s->p_step * b->vw;
    s->slot_size = s->bias_at + s->d.lanes;
    for (uint32_t n0 = 0, n1 = 0; cdu_next_range(s->l, both, 2, &n0, &n1);) slots += cdu_ceil_div((n1 - n0) * an_image, s->slot_tiles);
    CDU_TRY(cdu_lower_scratch(s->l, "partial sums", s->slot_size * slots, &s->partial, error));
    for (uint32_t n0 = 0, n1 = 0; cdu_next_range(s->l, both, 2, &n0, &n1);) {
        cdu_draft draft = cdu_draft_begin("conv_winograd.k", "winograd_gradient_fused", s->node, "weight gradient");
        uint32_t count = cdu_ceil_div((n1 - n0) * an_image, s->slot_tiles);
        define_blocks(&draft, b);
        cdu_draft_define(&draft, "R", s->r);
        cdu_draft_define(&draft, "V_FLOATS", PLACES * s->v_step * b->ib);
        cdu_draft_define(&draft, "D_FLOATS", PLACES * s->d_step * b->vw);
        cdu_draft_groups(&draft, count, 1, 1, 1, 1, 1);
        cdu_draft_use(&draft, s->g->x, CDU_READ, n0, n1);
        cdu_draft_use(&draft, s->g->d, CDU_READ, n0, n1);
        cdu_draft_use(&draft, s->partial, first ? CDU_READ | CDU_WRITE : CDU_WRITE, 0, 0);
        cdu_conv_use_norm(&draft, &s->g->norm);
        gradient_params(&draft, s, (n1 - n0) * an_image, 0, tiles_at_once, first, 0);
        double pixels = (double)(n1 - n0) * s->d.shape.h * s->d.shape.w;
        draft.flops = gradient_flops(s, pixels);
        draft.bytes = 4.0 * pixels * (s->x.lanes + s->d.lanes) + 4.0 * count * (double)s->slot_size;
        CDU_TRY(cdu_append(s->l, &draft, error));
        first += count;
    }
    return append_unpack(s, slots, slots, s->slot_size, 0, b->in_blocks, error);
}

static cdu_status append_transforms(const gradient_steps *s, uint32_t n0, uint32_t n1, uint32_t first_tile, uint32_t chunk, uint32_t first_row,
                                    cdu_error *error)
{
    const blocks *b = &s->b;
    uint32_t tiles = (n1 - n0) * s->tiles_x * s->tiles_y;
    cdu_draft draft = cdu_draft_begin("conv_winograd.k", "winograd_input", s->node, "weight gradient");
    define_blocks(&draft, b);
    cdu_draft_groups(&draft, cdu_ceil_div(chunk, 2), 1, 1, 1, 1, 1);
    cdu_draft_use(&draft, s->g->x, CDU_READ, n0, n1);
    cdu_draft_use(&draft, s->v, CDU_WRITE, 0, 0);
    cdu_conv_use_norm(&draft, &s->g->norm);
    CDU_CONV_WORDS(&draft, b->in_blocks, b->out_blocks, s->x.shape.h, s->x.shape.w, s->x.pitch / b->ib, s->x.offset / b->ib, 0, 0, s->tiles_x,
           s->tiles_y, tiles, first_tile, chunk, s->slots, 0, s->v_step, 0, 0, 0, 0, 0, 0, s->g->norm.row_lanes / b->ib, 0);
    draft.bytes = 4.0 * chunk * (16 + PLACES) * s->x.lanes;
    CDU_TRY(cdu_append(s->l, &draft, error));
    draft = cdu_draft_begin("conv_winograd.k", "winograd_gradient_input", s->node, "weight gradient");
    define_blocks(&draft, b);
    cdu_draft_groups(&draft, cdu_ceil_div(chunk, 4), 1, 1, 1, 1, 1);
    cdu_draft_use(&draft, s->g->d, CDU_READ, n0, n1);
    cdu_draft_use(&draft, s->dd, CDU_WRITE, 0, 0);
    cdu_draft_use(&draft, s->partial, first_tile || first_row ? CDU_READ | CDU_WRITE : CDU_WRITE, 0, 0);
    gradient_params(&draft, s, tiles, first_tile, chunk, first_row, 0);
    draft.bytes = 4.0 * chunk * (16 + PLACES) * s->d.lanes;
    return cdu_append(s->l, &draft, error);
}

static cdu_status append_gradient_product(const gradient_steps *s, uint32_t tiles, uint32_t first_tile, uint32_t chunk, uint32_t first_row,
                                          uint32_t first_block, uint32_t in_blocks, cdu_error *error)
{
    const blocks *b = &s->b;
    cdu_draft draft = cdu_draft_begin("conv_winograd.k", "winograd_gradient_product", s->node, "weight gradient");
    define_blocks(&draft, b);
    cdu_draft_define(&draft, "R", s->r);
    cdu_draft_define(&draft, "RUN", RUN);
    cdu_draft_groups(&draft, b->out_blocks, in_blocks, PLACES, 1, 1, 1);
    cdu_draft_use(&draft, s->v, CDU_READ, 0, 0);
    cdu_draft_use(&draft, s->dd, CDU_READ, 0, 0);
    cdu_draft_use(&draft, s->partial, CDU_READ | CDU_WRITE, 0, 0);
    gradient_params(&draft, s, tiles, first_tile, chunk, first_row, first_block);
    draft.flops = gradient_flops(s, 16.0 * chunk) * in_blocks / b->in_blocks;
    draft.bytes = 4.0 * PLACES * ((double)chunk * (in_blocks * b->ib + s->d.lanes) + 2.0 * in_blocks * b->ib * s->d.lanes);
    return cdu_append(s->l, &draft, error);
}

/* Chunks of tiles; where there is one chunk alone, the sums go by parts that stay in a cache. */
static cdu_status append_gradient_separate(gradient_steps *s, const cdu_choice *choice, cdu_error *error)
{
    const blocks *b = &s->b;
    cdu_tensor both[2] = {s->g->x, s->g->d};
    uint32_t an_image = s->tiles_x * s->tiles_y, rows = 0, first_row = 0, ranges = 0, all = s->d.shape.n * an_image;
    local_or_none(s, chunk_tiles(choice, cdu_larger(s->x.lanes, s->d.lanes), s->x.lanes + s->d.lanes, 4, all));     /* 4: whole rows of bias sums */
    for (uint32_t n0 = 0, n1 = 0; cdu_next_range(s->l, both, 2, &n0, &n1); ranges++) rows += cdu_ceil_div((n1 - n0) * an_image, 4);
    uint32_t part = cdu_larger((uint32_t)(chunk_bytes(choice) / (4 * PLACES * b->ib * b->out_blocks * b->nv * b->vw)), 1);
    if (s->slots < all || ranges > 1 || part > b->in_blocks) part = b->in_blocks;
    s->p_step = padded(part * b->out_blocks * b->ib * b->nv);
    s->bias_at = (uint64_t)PLACES * s->p_step * b->vw;
    s->slot_size = s->bias_at + (uint64_t)rows * s->d.lanes;
    CDU_TRY(cdu_lower_scratch(s->l, "transformed input", (uint64_t)PLACES * s->v_step * b->ib, &s->v, error));
    CDU_TRY(cdu_lower_scratch(s->l, "transformed gradient", (uint64_t)PLACES * s->d_step * b->vw, &s->dd, error));
    CDU_TRY(cdu_lower_scratch(s->l, "partial sums", s->slot_size, &s->partial, error));
    for (uint32_t n0 = 0, n1 = 0; cdu_next_range(s->l, both, 2, &n0, &n1);) {
        uint32_t tiles = (n1 - n0) * an_image;
        for (uint32_t first_tile = 0; first_tile < tiles; first_tile += s->slots) {
            uint32_t count = cdu_smaller(s->slots, tiles - first_tile);
            CDU_TRY(append_transforms(s, n0, n1, first_tile, count, first_row, error));
            for (uint32_t block = 0; block < b->in_blocks; block += part) {
                uint32_t blocks_here = cdu_smaller(part, b->in_blocks - block);
                CDU_TRY(append_gradient_product(s, tiles, first_tile, count, first_row, block, blocks_here, error));
                if (part < b->in_blocks) CDU_TRY(append_unpack(s, 1, rows, s->d.lanes, block, blocks_here, error));
            }
        }
        first_row += cdu_ceil_div(tiles, 4);
    }
    return part < b->in_blocks ? CDU_OK : append_unpack(s, 1, rows, s->d.lanes, 0, b->in_blocks, error);
}

/* Tiles of which V and D fit into local memory; 0: too few. */
static uint32_t gradient_tiles(const cdu_device_info *device, const blocks *b, const cdu_choice *choice)
{
    if (choice->setting[FUSED] == SEPARATE) return 0;
    uint32_t in = b->in_blocks * b->ib, out = b->out_blocks * b->nv * b->vw;
    uint32_t budget = cdu_smaller(LOCAL_BUDGET, device->local_bytes), fit = budget / (4 * PLACES * (in + out));
    if (fit * 4 * PLACES * (in + out) + 4 * PLACES * (b->ib + b->vw) > budget && fit) fit--;   /* padding */
    uint32_t tiles = choice->setting[TILES] ? choice->setting[TILES] : cdu_smaller(fit, 32);
    if (tiles > fit || tiles < 8) return 0;
    return choice->setting[FUSED] == TOGETHER || (uint64_t)in * out <= MOST_FUSED ? tiles : 0;
}

static cdu_status winograd_gradient(cdu_lowering *l, const cdu_node *node, const cdu_conv_gradient *g, const cdu_choice *choice, cdu_error *error)
{
    gradient_steps s = {.l = l, .node = node, .g = g, .x = *cdu_tensor_layout(l, g->x), .d = *cdu_tensor_layout(l, g->d)};
    s.b = blocks_of(l, &s.x, &s.d, choice);
    s.tiles_x = cdu_ceil_div(s.d.shape.w, 4);
    s.tiles_y = cdu_ceil_div(s.d.shape.h, 4);
    s.r = cdu_smaller(s.b.ib, s.b.nv == 2 && cdu_lowering_device(l)->vector_width < 16 ? 4 : 8);
    uint32_t tiles = gradient_tiles(cdu_lowering_device(l), &s.b, choice);
    return tiles ? append_gradient_fused(&s, tiles, error) : append_gradient_separate(&s, choice, error);
}

static bool fits(const cdu_device_info *device, const cdu_conv_problem *p, const cdu_choice *choice)
{
    if (!cdu_op_wide(device) || p->side != 3 || p->stride != 1 || p->parities != 1 || p->in_lanes % 8 || p->out_lanes % 8) return false;
    uint32_t limit = cdu_smaller(device->vector_width, 16), ib = limit, vw = limit;
    while (ib > 4 && p->in_lanes % ib) ib /= 2;
    while (vw > 4 && p->out_lanes % vw) vw /= 2;
    blocks b = choose_blocks(device, ib, vw, p->in_lanes, p->out_lanes, tiles_of(p->n, p->h, p->w), choice);
    if (b.np > 24 || choice->setting[FUSED] > TOGETHER || (choice->setting[CHUNK] && choice->setting[CHUNK] < 64)) return false;
    if (p->pass == CDU_CONV_GRADIENT) return choice->setting[FUSED] != TOGETHER || gradient_tiles(device, &b, choice);
    uint32_t tiles = fused_tiles(&b, choice);
    if (choice->setting[FUSED] != SEPARATE && tiles % b.np) return false;
    return choice->setting[FUSED] != TOGETHER || fused_bytes(&b, tiles) <= device->local_bytes;
}

static bool preferred(const cdu_device_info *device, const cdu_conv_problem *problem)
{
    (void)device, (void)problem;
    return true;
}

static uint32_t candidates(const cdu_device_info *device, const cdu_conv_problem *problem, cdu_choice *out, uint32_t limit)
{
    static const uint32_t settings[][CDU_SETTINGS] = {
        {0}, {SEPARATE}, {TOGETHER}, {TOGETHER, 24}, {0, 0, 6}, {0, 0, 12}, {TOGETHER, 12, 6}, {TOGETHER, 24, 8}, {TOGETHER, 16, 8},
        {SEPARATE, 0, 8}, {SEPARATE, 0, 16}, {SEPARATE, 0, 0, 1024}, {SEPARATE, 0, 0, 2048}, {SEPARATE, 0, 0, 8192}};
    return cdu_conv_candidates(&cdu_conv_winograd, device, problem, settings, sizeof settings / sizeof *settings, out, limit);
}

const cdu_conv_variant cdu_conv_winograd = {.name = "winograd", .approximate = true, .normalizes = true, .setting = {"fused", "tiles", "rows", "chunk"}, .fits = fits,
                                            .preferred = preferred, .candidates = candidates, .sum = winograd_sum,
                                            .gradient = winograd_gradient};
