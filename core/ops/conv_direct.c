/* conv_direct.c: the variant that every device and shape has: chooses blocks, tiles and slots of a direct convolution and appends the
 * steps of shaders/conv.k. All choices depend on the shapes and the device's description alone, never on the number of threads, so
 * that results repeat. Leaves out local memory on GPUs. */
#include "core/ops/conv_variant.h"

#include "core/base/debug.h"

enum {
    LOCAL_BUDGET = 128 << 10,       /* bytes of a CPU's tile: half of a small level-2 cache */
    OUT_BLOCKS = 8,                 /* of a group of a CPU's weight gradient; 3x3 taps are much to do for what is staged of x anyway */
    RUN = 128,                      /* pixels after which a sum starts anew */
    SEGMENT = 16                    /* of them, side by side, go to one item */
};

static cdu_conv_blocks choose_blocks(const cdu_device_info *device, const cdu_layout *x, const cdu_layout *y, bool single)
{
    cdu_conv_blocks b = {.ib = 4, .vw = 4, .nv = 1};
    if (cdu_op_wide(device)) {
        b.ib = cdu_conv_vector_of(x, 16);
        b.vw = cdu_conv_vector_of(y, device->vector_width);
        if (b.vw == device->vector_width && y->lanes % (2 * b.vw) == 0) b.nv = 2;
    } else if (!single) {
        /* on GPUs items side by side have a vector each of a block, on CPUs an item has them all */
        uint32_t most = device->kind == CDU_CPU ? 2 : 8;
        while (b.nv < most && y->lanes % (8 * b.nv) == 0) b.nv *= 2;
    }
    b.in_blocks = x->lanes / b.ib;
    b.out_blocks = y->lanes / (b.vw * b.nv);
    return b;
}

/* Pads at the end of a single block need no products; those within a concatenation are multiplied by zero. */
static uint32_t used_lanes(const cdu_layout *x, const cdu_conv_blocks *b)
{
    bool gaps = x->split < x->shape.c || b->in_blocks > 1;
    return gaps ? b->ib : cdu_smaller(x->shape.c, b->ib);
}

/* Pixels of a register tile: of those that fit into registers the number that wastes least of a row. */
static uint32_t choose_pixels(const cdu_device_info *device, const cdu_conv_window *window, const cdu_conv_blocks *b, uint32_t w)
{
    /* on GPUs what fits into registers: 128 are all that some compilers for RDNA3 use (tests/kernels) */
    bool few = device->kind == CDU_CPU || window->stride > 1 || window->parities > 1 || cdu_conv_few_registers(device);
    if (!cdu_op_wide(device)) return few || window->side == 1 ? 4 : 8;
    static const struct { uint32_t pixels; double worth; } choices[3][3] = {
        {{8, 1.0}, {12, 0.9}, {4, 0.7}},            /* two vectors of 32 registers */
        {{12, 1.0}, {8, 0.95}, {4, 0.7}},           /* one vector */
        {{6, 1.0}, {4, 0.9}, {2, 0.6}}};            /* two vectors of 16 registers */
    uint32_t row = b->nv == 1 ? 1 : device->vector_width >= 16 ? 0 : 2;
    uint32_t best = 0;
    double most = 0;
    for (uint32_t i = 0; i < 3; i++) {
        uint32_t pixels = choices[row][i].pixels;
        double use = choices[row][i].worth * w / (cdu_ceil_div(w, pixels) * pixels);
        if (use > most) most = use, best = pixels;
    }
    return best;
}

typedef struct { uint32_t np, tw, th, chunk; } tiling;

static uint64_t tile_bytes(const cdu_conv_window *window, const cdu_conv_blocks *b, uint32_t chunk, uint32_t th, uint32_t tw)
{
    return 4ull * chunk * b->ib * ((th - 1) * window->stride + window->side) * ((tw - 1) * window->stride + window->side);
}

static tiling choose_tiling(const cdu_device_info *device, const cdu_conv_window *window, const cdu_conv_blocks *b, uint32_t h, uint32_t w,
                            uint32_t images)
{
    tiling t = {.np = choose_pixels(device, window, b, w), .th = 1};
    const uint32_t budget = LOCAL_BUDGET;
    t.tw = cdu_smaller(cdu_ceil_div(w, t.np), cdu_larger(64 / t.np, 1)) * t.np;
    t.chunk = cdu_smaller(b->in_blocks, 128 / b->ib);
    while (t.chunk > 1 && tile_bytes(window, b, t.chunk, 1, t.tw) > budget) t.chunk--;
    while (t.tw > t.np && tile_bytes(window, b, t.chunk, 1, t.tw) > budget) t.tw -= t.np;
    uint64_t across = (uint64_t)images * cdu_ceil_div(w, t.tw);
    while (t.th < 8 && t.th < h && tile_bytes(window, b, t.chunk, t.th + 1, t.tw) <= budget && across * cdu_ceil_div(h, t.th + 1) >= 16) t.th++;
    return t;
}

static void sum_params(cdu_draft *draft, const cdu_layout *x, const cdu_layout *y, const cdu_conv_blocks *b, const tiling *t, uint32_t h, uint32_t w,
                       uint64_t bias_at, uint32_t first_image, bool biased, uint32_t saved_row)
{
    CDU_CONV_WORDS(draft, b->in_blocks, b->out_blocks, h, w, x->shape.h, x->shape.w, x->pitch / b->ib, x->offset / b->ib,
                        y->shape.h, y->shape.w, y->pitch / b->vw, y->offset / b->vw, (uint32_t)(bias_at / b->vw), y->lanes / b->vw,
                        first_image, biased, t->th, t->tw, t->chunk, saved_row);
}

static cdu_status append_main(cdu_lowering *l, const cdu_node *node, const char *pass, const cdu_conv_sum *sum, const cdu_conv_blocks *b,
                              const cdu_conv_packing *order, cdu_tensor packed, cdu_epilogue epilogue, uint32_t n0, uint32_t n1, cdu_error *error)
{
    const cdu_device_info *device = cdu_lowering_device(l);
    const cdu_conv_window *window = &sum->window;
    const cdu_layout *x = cdu_tensor_layout(l, sum->x), *y = cdu_tensor_layout(l, sum->y);
    bool wide = cdu_op_wide(device);
    uint32_t h = window->parities == 4 ? x->shape.h : y->shape.h, w = window->parities == 4 ? x->shape.w : y->shape.w;
    tiling t = choose_tiling(device, window, b, h, w, n1 - n0);
    uint32_t an_image = wide ? 1 : b->out_blocks * window->parities, most = cdu_larger(device->group_count[2] / an_image, 1);
    for (uint32_t first = 0; first < n1 - n0; first += most) {
        uint32_t images = cdu_smaller(most, n1 - n0 - first);
        cdu_draft draft = cdu_draft_begin("conv.k", wide ? "conv_wide" : "conv_direct", node, pass);
        cdu_conv_blocks of_item = *b;
        if (!wide && device->kind != CDU_CPU) of_item.nv = 1;
        cdu_conv_define(&draft, window, &of_item);
        cdu_draft_define(&draft, "NP", t.np);
        cdu_draft_define(&draft, "PARITIES", window->parities);
        cdu_draft_define(&draft, "EPILOGUE", epilogue);
        cdu_draft_define(&draft, "ACCUMULATE", sum->accumulate);
        if (!sum->accumulate && t.chunk >= b->in_blocks) cdu_op_stream(l, &draft, sum->y, b->vw);
        cdu_draft_define(&draft, "LANES", used_lanes(x, b));
        if (wide) {
            cdu_draft_define(&draft, "TILE", LOCAL_BUDGET / 4);
            cdu_draft_groups(&draft, cdu_ceil_div(w, t.tw), cdu_ceil_div(h, t.th), images, 1, 1, 1);
        } else {
            uint32_t side = b->nv / of_item.nv, items = (device->kind == CDU_CPU ? 16 : 128) / side, strips = cdu_ceil_div(w, t.np), across = 1;
            while (across < strips && across < items) across *= 2;
            uint32_t down = cdu_smaller(items / across, device->group_size[2]);     /* NVIDIA: 64 */
            cdu_draft_groups(&draft, cdu_ceil_div(strips, across), cdu_ceil_div(h, down), images * an_image, side, across, down);
        }
        cdu_draft_use(&draft, sum->x, CDU_READ, n0, n1);
        cdu_draft_use(&draft, packed, CDU_READ, 0, 0);
        cdu_draft_use(&draft, sum->y, sum->accumulate || t.chunk < b->in_blocks ? CDU_READ | CDU_WRITE : CDU_WRITE, n0, n1);
        cdu_conv_use_norm(&draft, &sum->norm);
        sum_params(&draft, x, y, b, &t, h, w, order->weights, first, sum->bias != CDU_NO_TENSOR, sum->norm.row_lanes / b->ib);
        double pixels = (double)images * h * w;
        draft.flops = 2.0 * pixels * order->taps * x->shape.c * y->shape.c;
        draft.bytes = 4.0 * images * ((double)x->shape.h * x->shape.w * x->lanes +
                                      (double)y->shape.h * y->shape.w * y->lanes * (sum->accumulate ? 2 : 1)) + 4.0 * (double)order->weights;
        CDU_TRY(cdu_append(l, &draft, error));
    }
    return CDU_OK;
}

static cdu_status direct_sum(cdu_lowering *l, const cdu_node *node, const char *pass, const cdu_conv_sum *sum, const cdu_choice *choice,
                             cdu_error *error)
{
    (void)choice;
    const cdu_layout *x = cdu_tensor_layout(l, sum->x), *y = cdu_tensor_layout(l, sum->y);
    cdu_conv_blocks b = choose_blocks(cdu_lowering_device(l), x, y, false);
    cdu_conv_packing order = cdu_conv_packing_of(&sum->window, &b);
    cdu_tensor packed;
    CDU_TRY(cdu_conv_append_pack(l, node, sum, &b, &order, &packed, error));
    bool apart = sum->epilogue != CDU_EPILOGUE_NONE && cdu_debug(CDU_DEBUG_NO_FUSION);
    cdu_tensor both[2] = {sum->x, sum->y};
    for (uint32_t n0 = 0, n1 = 0; cdu_next_range(l, both, 2, &n0, &n1);) {
        CDU_TRY(append_main(l, node, pass, sum, &b, &order, packed, apart ? CDU_EPILOGUE_NONE : sum->epilogue, n0, n1, error));
        if (apart) CDU_TRY(cdu_conv_append_epilogue(l, node, sum, &b, &order, packed, n0, n1, error));
    }
    return CDU_OK;
}

/* How the pixels of d are cut into tiles, and tiles into slots. Of wide kernels a group has `across` blocks of output lanes, r products at once. Of others it has across x down
 * items with a weight's vectors each, and `deep` that share a tile: th segments of tw pixels side by side, deep / th rows. */
typedef struct { uint32_t tw, th, tiles_x, tiles_y, tiles_a_slot, r, across, down, deep; } cutting;

static uint32_t row_products(const cdu_device_info *device, const cdu_conv_window *window, const cdu_conv_blocks *b)
{
    uint32_t products = window->side * b->ib;
    bool few = device->vector_width < 16 && b->nv == 2;
    if (window->side == 3) return few ? 6 : b->nv == 2 && b->ib >= 8 ? 8 : 12;
    return cdu_smaller(products, few ? 4 : b->nv == 2 ? 8 : 16);
}

static void choose_slots(cutting *c, const cdu_layout *d, uint64_t slot_floats, uint64_t wanted, uint64_t at_once, uint32_t most)
{
    uint64_t tiles = (uint64_t)d->shape.n * c->tiles_x * c->tiles_y;
    uint64_t slots = cdu_conv_slots((wanted + at_once - 1) / at_once, 1024, CDU_CONV_SLOT_BYTES, slot_floats);
    uint64_t each = (tiles + slots - 1) / slots;
    if (each > most && CDU_CONV_SLOT_BYTES / (slot_floats * 4) > tiles / most) each = most;
    c->tiles_a_slot = (uint32_t)each;
}

static cutting wide_cutting(const cdu_device_info *device, const cdu_conv_window *window, const cdu_conv_blocks *b, const cdu_layout *d,
                            uint64_t slot_floats)
{
    cutting c = {.tw = d->shape.w > 48 ? 32 : d->shape.w, .r = row_products(device, window, b), .across = window->side == 3 ? 1 : OUT_BLOCKS};
    c.th = cdu_smaller(d->shape.h, cdu_larger(RUN / c.tw, 1));
    c.tiles_x = cdu_ceil_div(d->shape.w, c.tw);
    c.tiles_y = cdu_ceil_div(d->shape.h, c.th);
    choose_slots(&c, d, slot_floats, 64, (uint64_t)cdu_ceil_div(b->out_blocks, c.across) * b->in_blocks, 256);
    return c;
}

static cutting items_cutting(const cdu_device_info *device, const cdu_conv_window *window, const cdu_conv_blocks *b, const cdu_layout *d,
                             uint64_t slot_floats)
{
    uint32_t rows = b->in_blocks * window->side, items = device->kind == CDU_CPU ? 64 : 256;
    cutting c = {.across = 1, .deep = 1, .tw = SEGMENT, .th = 1, .down = cdu_smaller(rows, 8)};
    while (c.across < b->out_blocks && c.across < 8) c.across *= 2;
    while (2 * c.deep <= cdu_smaller(device->group_size[2], 64) && 2 * c.across * c.down * c.deep <= items) c.deep *= 2;
    while (2 * c.th <= c.deep && c.th * c.tw < d->shape.w) c.th *= 2;
    c.tiles_x = cdu_ceil_div(d->shape.w, c.th * c.tw);
    c.tiles_y = cdu_ceil_div(d->shape.h, c.deep / c.th);
    uint32_t groups = cdu_ceil_div(b->out_blocks, c.across) * cdu_ceil_div(rows, c.down);
    choose_slots(&c, d, slot_floats, device->kind == CDU_CPU ? 32 : 1024, groups, UINT32_MAX);
    return c;
}

static cdu_status append_partial(cdu_lowering *l, const cdu_node *node, const cdu_conv_gradient *g, const cdu_conv_blocks *b, const cdu_conv_packing *order,
                                 const cutting *c, cdu_tensor partial, uint64_t slot_floats, uint32_t n0, uint32_t n1, uint32_t first_slot,
                                 uint32_t slots, cdu_error *error)
{
    const cdu_device_info *device = cdu_lowering_device(l);
    const cdu_layout *x = cdu_tensor_layout(l, g->x), *d = cdu_tensor_layout(l, g->d);
    bool wide = cdu_op_wide(device);
    cdu_draft draft = cdu_draft_begin("conv.k", wide ? "conv_weight_gradient_wide" : "conv_weight_gradient", node, "weight gradient");
    cdu_conv_define(&draft, &g->window, b);
    cdu_draft_define(&draft, "BIAS_OF_X", g->bias_of_x);
    cdu_draft_define(&draft, "RUN", RUN);
    if (wide) {
        /* (th + 2) * (tw + 2) <= 3 * (RUN + 2) and, with stride 2, 4 * RUN pixels */
        cdu_draft_define(&draft, "TILE", 4 * RUN * b->ib);
        cdu_draft_define(&draft, "R", c->r);
        cdu_draft_define(&draft, "BLOCKS", c->across);
        cdu_draft_groups(&draft, b->in_blocks, cdu_ceil_div(b->out_blocks, c->across), slots, 1, 1, 1);
    } else {
        cdu_draft_define(&draft, "LANES", used_lanes(x, b));
        uint32_t few = g->window.side > 2 ? 1 : 2; /* of 3x3 taps the sums alone take 48 registers */
        cdu_draft_define(&draft, "AT_ONCE", device->kind == CDU_CPU ? 1 : cdu_conv_few_registers(device) ? few : 4);
        cdu_draft_groups(&draft, cdu_ceil_div(b->out_blocks, c->across), cdu_ceil_div(b->in_blocks * g->window.side, c->down), slots, c->across,
                         c->down, c->deep);
    }
    cdu_draft_use(&draft, g->x, CDU_READ, n0, n1);
    cdu_draft_use(&draft, g->d, CDU_READ, n0, n1);
    cdu_draft_use(&draft, partial, CDU_WRITE, 0, 0);
    cdu_conv_use_norm(&draft, &g->norm);
    if (g->norm_of_d) cdu_draft_define(&draft, "NORM_D", 1);
    uint32_t tiles = (n1 - n0) * c->tiles_x * c->tiles_y;
    CDU_CONV_WORDS(&draft, b->in_blocks, b->out_blocks, d->shape.h, d->shape.w, x->shape.h, x->shape.w, x->pitch / b->ib, x->offset / b->ib,
                        d->pitch / b->vw, d->offset / b->vw, tiles, c->tiles_a_slot, c->tiles_x, c->tiles_y, first_slot, slots,
                        (uint32_t)(slot_floats / b->vw), (uint32_t)(order->weights / b->vw), x->lanes / b->vw, c->th, c->tw,
                   g->norm.row_lanes / (g->norm_of_d ? b->vw : b->ib));
    double pixels = (double)(n1 - n0) * d->shape.h * d->shape.w;
    draft.flops = pixels * (2.0 * order->taps * x->shape.c * d->shape.c + (g->bias_of_x ? order->taps * x->shape.c : d->shape.c));
    draft.bytes = 4.0 * (n1 - n0) * ((double)x->shape.h * x->shape.w * x->lanes + (double)d->shape.h * d->shape.w * d->lanes) +
                  4.0 * slots * (double)slot_floats;
    return cdu_append(l, &draft, error);
}

static cdu_status direct_gradient(cdu_lowering *l, const cdu_node *node, const cdu_conv_gradient *g, const cdu_choice *choice,
                                  cdu_error *error)
{
    (void)choice;
    const cdu_device_info *device = cdu_lowering_device(l);
    const cdu_layout *x = cdu_tensor_layout(l, g->x), *d = cdu_tensor_layout(l, g->d);
    cdu_conv_blocks b = choose_blocks(device, x, d, true);
    cdu_conv_packing order = cdu_conv_packing_of(&g->window, &b);
    uint32_t bias_parts = g->bias_of_x && !cdu_op_wide(device) ? g->window.side : 1;
    uint64_t slot_floats = order.weights + (g->bias_of_x ? (uint64_t)x->lanes * bias_parts : d->lanes);
    slot_floats = (slot_floats + 15) / 16 * 16;
    cutting c = (cdu_op_wide(device) ? wide_cutting : items_cutting)(device, &g->window, &b, d, slot_floats);
    cdu_tensor both[2] = {g->x, g->d}, partial;
    uint32_t slots = 0, an_image = c.tiles_x * c.tiles_y;
    for (uint32_t n0 = 0, n1 = 0; cdu_next_range(l, both, 2, &n0, &n1);) slots += cdu_ceil_div((n1 - n0) * an_image, c.tiles_a_slot);
    CDU_TRY(cdu_lower_scratch(l, "partial sums", slot_floats * slots, &partial, error));
    uint32_t first = 0;
    for (uint32_t n0 = 0, n1 = 0; cdu_next_range(l, both, 2, &n0, &n1);) {
        uint32_t count = cdu_ceil_div((n1 - n0) * an_image, c.tiles_a_slot);
        CDU_TRY(append_partial(l, node, g, &b, &order, &c, partial, slot_floats, n0, n1, first, count, error));
        first += count;
    }
    return cdu_conv_append_unpack(l, node, g, &b, &order, partial, slot_floats, slots, bias_parts, error);
}

static bool always(const cdu_device_info *device, const cdu_conv_problem *problem, const cdu_choice *choice)
{
    (void)device, (void)problem;
    return !choice->setting[0];
}

static bool preferred(const cdu_device_info *device, const cdu_conv_problem *problem)
{
    (void)device, (void)problem;
    return true;
}

static uint32_t candidates(const cdu_device_info *device, const cdu_conv_problem *problem, cdu_choice *out, uint32_t limit)
{
    (void)device, (void)problem;
    if (!limit) return 0;
    out[0] = (cdu_choice){.variant = "direct"};
    return 1;
}

const cdu_conv_variant cdu_conv_direct = {.name = "direct", .subgroup = cdu_conv_subgroup, .normalizes = true, .fits = always, .preferred = preferred, .candidates = candidates,
                                          .sum = direct_sum, .gradient = direct_gradient};
