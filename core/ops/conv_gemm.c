/* conv_gemm.c: the variant "gemm": convolutions of every window as implicit products of matrices with local memory and a register tile,
 * for GPUs (shaders/conv_gemm.k). Choices depend on shapes and the device's description alone; the order of every sum on the shape alone.
 * docs/kernels.md has the arithmetic behind them. Leaves out local memory for weights. */
#include <string.h>

#include "core/base/debug.h"
#include "core/ops/conv_variant.h"

enum {
    ITEMS = 64,                     /* of a group: a subgroup of the widest device, so that its barriers cost little */
    LOCAL_BUDGET = 16 << 10,        /* bytes of a group's tile: four groups at once where there are 64 KiB */
    FEW_ITEMS = 32 << 10,           /* fewer are too few for a large GPU: smaller register tiles */
    RUN = 128,                      /* pixels after which a sum of a weight gradient starts anew */
    WANTED_GROUPS = 512,            /* of a weight gradient, all slots together */
    FETCH = 10, FETCH_GRADIENT = 2  /* vectors that an item has under way on their way to local memory: as registers allow on RDNA3 */
};
enum { ROWS, VECTORS, COLUMNS, CHUNK }; /* settings; of a gradient: rows and columns of a tile, CHUNK vectors of input lanes */

/* An item has `rows` pixels of a column times nv vectors of lanes; a group across x down items; kc vectors of input lanes in local memory. */
typedef struct { uint32_t rows, nv, across, down, kc; } tiling;

static uint64_t tile_bytes(uint32_t side, uint32_t stride, const tiling *t)
{
    uint64_t rows = (t->down * t->rows - 1) * stride + side, columns = (t->across - 1) * stride + side;
    return 16ull * t->kc * (t->kc == 1 ? rows * columns : rows * columns + 15); /* as PLANE of the kernel, at most */
}

static tiling choose_tiling(const cdu_device_info *device, const cdu_conv_problem *p, const cdu_choice *choice)
{
    bool few = cdu_conv_few_registers(device);
    tiling t = {.rows = few ? 4 : 8, .nv = 2, .across = 8, .kc = 1};
    if (p->side < 3) t.rows = 4, t.nv = few ? 2 : 4;            /* nothing is read twice: more lanes share what was fetched */
    while (t.nv > 1 && p->out_lanes % (4 * t.nv)) t.nv /= 2;
    if (t.nv == 1) t.rows = 8;
    uint64_t pixels = (uint64_t)p->n * p->h * p->w, across = p->out_lanes / 4 * p->parities;
    if (pixels * across / (t.rows * t.nv) < FEW_ITEMS) t.rows = 4;
    if (choice->setting[ROWS]) t.rows = choice->setting[ROWS];
    if (choice->setting[VECTORS]) t.nv = choice->setting[VECTORS];
    while (t.across < 32 && t.across < p->w) t.across *= 2;
    if (choice->setting[COLUMNS]) t.across = choice->setting[COLUMNS];
    t.down = ITEMS / t.across;
    while (t.down > 1 && tile_bytes(p->side, p->stride, &t) > LOCAL_BUDGET) t.down /= 2;
    while (t.kc < 4 && 2 * t.kc * 4 <= p->in_lanes) {
        t.kc *= 2;
        if (tile_bytes(p->side, p->stride, &t) <= LOCAL_BUDGET) continue;
        t.kc /= 2;
        break;
    }
    if (choice->setting[CHUNK]) t.kc = choice->setting[CHUNK];
    return t;
}

static cdu_status append_sum(cdu_lowering *l, const cdu_node *node, const char *pass, const cdu_conv_sum *sum, const tiling *t,
                             const cdu_conv_blocks *b, const cdu_conv_packing *order, cdu_tensor packed, cdu_epilogue epilogue, uint32_t n0,
                             uint32_t n1, cdu_error *error)
{
    const cdu_device_info *device = cdu_lowering_device(l);
    const cdu_layout *x = cdu_tensor_layout(l, sum->x), *y = cdu_tensor_layout(l, sum->y);
    const cdu_layout *computed = sum->window.parities == 4 ? x : y;
    uint32_t h = computed->shape.h, w = computed->shape.w, most = device->group_count[2];
    for (uint32_t first = 0; first < n1 - n0; first += most) {
        uint32_t images = cdu_smaller(most, n1 - n0 - first);
        cdu_draft draft = cdu_draft_begin("conv_gemm.k", "gemm_sum", node, pass);
        cdu_conv_define(&draft, &sum->window, b);
        cdu_draft_define(&draft, "NP", t->rows);
        cdu_draft_define(&draft, "KC", t->kc);
        cdu_draft_define(&draft, "FETCH", FETCH);
        cdu_draft_define(&draft, "PARITIES", sum->window.parities);
        cdu_draft_define(&draft, "EPILOGUE", epilogue);
        cdu_draft_define(&draft, "ACCUMULATE", sum->accumulate);
        cdu_draft_groups(&draft, cdu_ceil_div(w, t->across) * b->out_blocks * sum->window.parities, cdu_ceil_div(h, t->down * t->rows), images,
                         t->across, t->down, 1);
        cdu_draft_use(&draft, sum->x, CDU_READ, n0, n1);
        cdu_draft_use(&draft, packed, CDU_READ, 0, 0);
        cdu_draft_use(&draft, sum->y, sum->accumulate ? CDU_READ | CDU_WRITE : CDU_WRITE, n0, n1);
        CDU_CONV_WORDS(&draft, b->in_blocks, b->out_blocks, h, w, x->shape.h, x->shape.w, x->pitch / 4, x->offset / 4, y->shape.h, y->shape.w,
                       y->pitch / 4, y->offset / 4, (uint32_t)(order->weights / 4), y->lanes / 4, first, sum->bias != CDU_NO_TENSOR);
        double pixels = (double)images * h * w;
        draft.flops = 2.0 * pixels * order->taps * x->shape.c * y->shape.c;
        draft.bytes = 4.0 * images * ((double)x->shape.h * x->shape.w * x->lanes +
                                      (double)y->shape.h * y->shape.w * y->lanes * (sum->accumulate ? 2 : 1)) + 4.0 * (double)order->weights;
        CDU_TRY(cdu_append(l, &draft, error));
    }
    return CDU_OK;
}

static cdu_status gemm_sum(cdu_lowering *l, const cdu_node *node, const char *pass, const cdu_conv_sum *sum, const cdu_choice *choice,
                           cdu_error *error)
{
    cdu_conv_problem problem = cdu_conv_problem_of_sum(l, sum);
    tiling t = choose_tiling(cdu_lowering_device(l), &problem, choice);
    cdu_conv_blocks b = {.ib = 4, .in_blocks = problem.in_lanes / 4, .vw = 4, .nv = t.nv, .out_blocks = problem.out_lanes / (4 * t.nv)};
    cdu_conv_packing order = cdu_conv_packing_of(&sum->window, &b);
    cdu_tensor packed, both[2] = {sum->x, sum->y};
    CDU_TRY(cdu_conv_append_pack(l, node, sum, &b, &order, &packed, error));
    bool apart = sum->epilogue != CDU_EPILOGUE_NONE && cdu_debug(CDU_DEBUG_NO_FUSION);
    for (uint32_t n0 = 0, n1 = 0; cdu_next_range(l, both, 2, &n0, &n1);) {
        CDU_TRY(append_sum(l, node, pass, sum, &t, &b, &order, packed, apart ? CDU_EPILOGUE_NONE : sum->epilogue, n0, n1, error));
        if (apart) CDU_TRY(cdu_conv_append_epilogue(l, node, sum, &b, &order, packed, n0, n1, error));
    }
    return CDU_OK;
}

/* A group of a weight gradient: `across` blocks of nv vectors of output lanes, `ins` vectors of input lanes; tiles of th x tw pixels. */
typedef struct { uint32_t nv, across, ins, th, tw, tiles_x, tiles_y, tiles_a_slot; uint64_t slot_floats; } cutting;

static uint64_t cutting_bytes(uint32_t side, uint32_t stride, const cutting *c)
{
    return 16ull * (c->ins * ((c->th - 1) * stride + side) * ((c->tw - 1) * stride + side) +
                   c->across * c->nv * (c->th * c->tw + c->ins * side));
}

static cutting choose_cutting(const cdu_conv_problem *p, const cdu_choice *choice, uint64_t weights, uint64_t bias)
{
    cutting c = {.nv = p->side > 1 ? 1 : 4, .across = 1, .th = 2, .tw = 16};
    if (choice->setting[VECTORS]) c.nv = choice->setting[VECTORS];
    while (!choice->setting[VECTORS] && c.nv > 1 && p->out_lanes % (4 * c.nv)) c.nv /= 2;
    if (choice->setting[COLUMNS]) c.tw = choice->setting[COLUMNS];
    if (choice->setting[ROWS]) c.th = choice->setting[ROWS];
    uint32_t out_blocks = p->out_lanes / (4 * c.nv), in_blocks = p->in_lanes / 4;
    while (c.across < 8 && c.across < out_blocks) c.across *= 2;
    c.ins = cdu_smaller(in_blocks, choice->setting[CHUNK] ? choice->setting[CHUNK] : 4);
    while (c.ins > 1 && cutting_bytes(p->side, p->stride, &c) > LOCAL_BUDGET) c.ins--;
    c.tiles_x = cdu_ceil_div(p->w, c.tw);
    c.tiles_y = cdu_ceil_div(p->h, c.th);
    c.slot_floats = (weights + bias + 15) / 16 * 16;
    uint64_t tiles = (uint64_t)p->n * c.tiles_x * c.tiles_y;
    uint32_t wanted = cdu_ceil_div(p->side > 2 ? WANTED_GROUPS : 2 * WANTED_GROUPS, cdu_ceil_div(out_blocks, c.across) * cdu_ceil_div(in_blocks, c.ins));
    uint64_t slots = cdu_conv_slots(wanted, wanted, CDU_CONV_SLOT_BYTES, c.slot_floats);
    c.tiles_a_slot = (uint32_t)((tiles + slots - 1) / slots);
    return c;
}

static cdu_status append_partial(cdu_lowering *l, const cdu_node *node, const cdu_conv_gradient *g, const cdu_conv_blocks *b,
                                 const cdu_conv_packing *order, const cutting *c, cdu_tensor partial, uint32_t n0, uint32_t n1,
                                 uint32_t first_slot, uint32_t slots, cdu_error *error)
{
    const cdu_device_info *device = cdu_lowering_device(l);
    const cdu_layout *x = cdu_tensor_layout(l, g->x), *d = cdu_tensor_layout(l, g->d);
    cdu_draft draft = cdu_draft_begin("conv_gemm.k", "gemm_gradient", node, "weight gradient");
    cdu_conv_define(&draft, &g->window, b);
    cdu_draft_define(&draft, "BIAS_OF_X", g->bias_of_x);
    cdu_draft_define(&draft, "RUN", RUN);
    cdu_draft_define(&draft, "FETCH", cdu_conv_many_registers(device) ? 2 * FETCH_GRADIENT : FETCH_GRADIENT);
    cdu_draft_define(&draft, "AT_ONCE", cdu_conv_many_registers(device) ? 2 : 1);
    cdu_draft_define(&draft, "INS", c->ins);
    cdu_draft_define(&draft, "TH", c->th);
    cdu_draft_define(&draft, "TW", c->tw);
    cdu_draft_groups(&draft, cdu_ceil_div(b->out_blocks, c->across), cdu_ceil_div(b->in_blocks, c->ins), slots, c->across,
                     c->ins * g->window.side, 1);
    cdu_draft_use(&draft, g->x, CDU_READ, n0, n1);
    cdu_draft_use(&draft, g->d, CDU_READ, n0, n1);
    cdu_draft_use(&draft, partial, first_slot ? CDU_READ | CDU_WRITE : CDU_WRITE, 0, 0);
    CDU_CONV_WORDS(&draft, b->in_blocks, b->out_blocks, d->shape.h, d->shape.w, x->shape.h, x->shape.w, x->pitch / 4, x->offset / 4,
                   d->pitch / 4, d->offset / 4, (n1 - n0) * c->tiles_x * c->tiles_y, c->tiles_a_slot, c->tiles_x, c->tiles_y, first_slot,
                   (uint32_t)(c->slot_floats / 4), (uint32_t)(order->weights / 4), x->lanes / 4);
    double pixels = (double)(n1 - n0) * d->shape.h * d->shape.w;
    draft.flops = pixels * (2.0 * order->taps * x->shape.c * d->shape.c + (g->bias_of_x ? order->taps * x->shape.c : d->shape.c));
    draft.bytes = 4.0 * (n1 - n0) * ((double)x->shape.h * x->shape.w * x->lanes + (double)d->shape.h * d->shape.w * d->lanes) +
                  4.0 * slots * (double)c->slot_floats;
    return cdu_append(l, &draft, error);
}

static cdu_status gemm_gradient(cdu_lowering *l, const cdu_node *node, const cdu_conv_gradient *g, const cdu_choice *choice, cdu_error *error)
{
    cdu_conv_problem problem = cdu_conv_problem_of_gradient(l, g);
    uint32_t bias_parts = g->bias_of_x ? g->window.side : 1;
    uint64_t weights = (uint64_t)problem.in_lanes * problem.out_lanes * problem.side * problem.side;
    cutting c = choose_cutting(&problem, choice, weights, g->bias_of_x ? problem.in_lanes * bias_parts : problem.out_lanes);
    cdu_conv_blocks b = {.ib = 4, .in_blocks = problem.in_lanes / 4, .vw = 4, .nv = c.nv, .out_blocks = problem.out_lanes / (4 * c.nv)};
    cdu_conv_packing order = cdu_conv_packing_of(&g->window, &b);
    cdu_tensor both[2] = {g->x, g->d}, partial;
    uint32_t slots = 0, first = 0, an_image = c.tiles_x * c.tiles_y;
    for (uint32_t n0 = 0, n1 = 0; cdu_next_range(l, both, 2, &n0, &n1);) slots += cdu_ceil_div((n1 - n0) * an_image, c.tiles_a_slot);
    CDU_TRY(cdu_lower_scratch(l, "partial sums", c.slot_floats * slots, &partial, error));
    for (uint32_t n0 = 0, n1 = 0; cdu_next_range(l, both, 2, &n0, &n1);) {
        uint32_t count = cdu_ceil_div((n1 - n0) * an_image, c.tiles_a_slot);
        CDU_TRY(append_partial(l, node, g, &b, &order, &c, partial, n0, n1, first, count, error));
        first += count;
    }
    return cdu_conv_append_unpack(l, node, g, &b, &order, partial, c.slot_floats, slots, bias_parts, error);
}

static bool fits(const cdu_device_info *device, const cdu_conv_problem *p, const cdu_choice *choice)
{
    const uint32_t *setting = choice->setting;
    if (setting[ROWS] > 16 || !cdu_setting_is_power(setting[VECTORS], 1, 4) || !cdu_setting_is_power(setting[COLUMNS], 4, ITEMS) || !cdu_setting_is_power(setting[CHUNK], 1, 8))
        return false;
    if (p->out_lanes % (4 * (setting[VECTORS] ? setting[VECTORS] : 1))) return false;
    if (p->pass == CDU_CONV_GRADIENT) {
        cutting c = choose_cutting(p, choice, 0, 1);
        return c.tw % 4 == 0 && cutting_bytes(p->side, p->stride, &c) <= cdu_smaller(device->local_bytes, 32 << 10);
    }
    tiling t = choose_tiling(device, p, choice);
    return tile_bytes(p->side, p->stride, &t) <= cdu_smaller(device->local_bytes, 32 << 10);
}

/* A group of a weight gradient has no items that share pixels: where lanes are few, there are too few items. */
static bool preferred(const cdu_device_info *device, const cdu_conv_problem *problem)
{
    bool few = problem->pass == CDU_CONV_GRADIENT && (problem->side == 1 || problem->out_lanes < 16);
    return device->kind != CDU_CPU && problem->in_lanes >= 8 && !few;
}

static uint32_t candidates(const cdu_device_info *device, const cdu_conv_problem *problem, cdu_choice *out, uint32_t limit)
{
    static const uint32_t settings[][CDU_SETTINGS] = {
        {0}, {8, 2, 32}, {8, 2, 16}, {4, 2}, {4, 4}, {8, 1}, {16, 1}, {2, 4}, {4, 1}, {8, 2, 32, 2}, {4, 2, 32, 2}};
    return cdu_conv_candidates(&cdu_conv_gemm, device, problem, settings, sizeof settings / sizeof *settings, out, limit);
}

const cdu_conv_variant cdu_conv_gemm = {.name = "gemm", .subgroup = cdu_conv_subgroup, .setting = {"rows", "vectors", "columns", "chunk"}, .fits = fits,
                                        .preferred = preferred, .candidates = candidates, .sum = gemm_sum, .gradient = gemm_gradient};
