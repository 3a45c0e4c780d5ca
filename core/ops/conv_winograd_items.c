/* conv_winograd_items.c: the variant "winograd_items": 3x3 convolutions of stride 1 by F(4x4, 3x3), forward pass and data gradient, for GPUs and
 * for CPUs that run groups of items (shaders/conv_winograd.k, kernels winograd_items_...). Chunks of tiles go through memory: their transformed
 * input, and their products for all 36 places. docs/kernels.md has the figures. Leaves out the weight gradient, fewer than 8 lanes, and keeping
 * transformed weights from one run to the next. */
#include <string.h>

#include "core/ops/conv_variant.h"

enum {
    PLACES = 36,
    CHUNK_BYTES_CPU = 4 << 20,      /* of V or M on their way through memory: half of what a processor's caches hold for a core */
    CHUNK_BYTES_GPU = 32 << 20,     /* enough groups at once for a large GPU */
    ITEMS = 64,                     /* of a group */
    FEW_TILES = 64                  /* of which a group of half as many items takes all */
};
enum { FORM, TILES, VECTORS, CHUNK };           /* settings */
enum { SCALARS = 1, LANES4 = 2, SPREAD = 3 };   /* form: lanes that an item transforms; SPREAD: 4, and a subgroup hands weights round */

/* A register tile of np tiles times nv vectors of output lanes; `items` side by side in a group of the product. */
typedef struct { uint32_t form, np, nv, items, slots; } shape_of_work;

static uint32_t tiles_of(const cdu_conv_problem *p)
{
    return cdu_ceil_div(p->w, 4) * cdu_ceil_div(p->h, 4);
}

/* One size of subgroup, so that a group of that many items is one. */
static bool can_spread(const cdu_device_info *device)
{
    return device->kind == CDU_CPU && device->features & CDU_HAS_BROADCAST && device->subgroup_min >= 4 &&
           device->subgroup_min == device->subgroup_max;
}

static shape_of_work choose(const cdu_device_info *device, const cdu_conv_problem *p, const cdu_choice *choice)
{
    bool processor = device->kind == CDU_CPU, spread = can_spread(device);
    shape_of_work s = {.form = !processor ? SCALARS : spread ? SPREAD : LANES4, .np = cdu_conv_few_registers(device) ? 2 : 4, .nv = 4};
    if (choice->setting[FORM]) s.form = choice->setting[FORM];
    if (s.form == SPREAD) s.np = 8, s.nv = 8;
    if (choice->setting[VECTORS]) s.nv = choice->setting[VECTORS];
    while (s.nv > 1 && p->out_lanes % (4 * s.nv)) s.nv /= 2;
    s.items = s.form == SPREAD ? device->subgroup_min : processor ? 16 : ITEMS;
    uint64_t tiles = (uint64_t)p->n * tiles_of(p);
    /* so few tiles leave an item one of them, and four loads of weights for each of it: rather two tiles, and half the lanes */
    if (!processor && tiles <= FEW_TILES) {
        s.items = ITEMS / 2, s.np = 2;
        if (!choice->setting[VECTORS]) s.nv = cdu_smaller(s.nv, 2);
    }
    if (choice->setting[TILES]) s.np = choice->setting[TILES];
    while (s.np > 1 && (uint64_t)s.items * s.np / 2 >= tiles) s.np /= 2;
    uint64_t bytes = choice->setting[CHUNK] ? (uint64_t)choice->setting[CHUNK] << 10 : processor ? CHUNK_BYTES_CPU : CHUNK_BYTES_GPU;
    if (bytes > device->largest_binding) bytes = device->largest_binding;
    uint64_t slots = bytes / (4ull * PLACES * cdu_larger(p->in_lanes, p->out_lanes));
    if (slots > tiles) slots = tiles;
    if (slots) slots = (tiles + (tiles + slots - 1) / slots - 1) / ((tiles + slots - 1) / slots);   /* chunks of like size */
    s.slots = (uint32_t)(slots > 1u << 16 ? 1u << 16 : slots);
    return s;
}

typedef struct {
    cdu_lowering *l;
    const cdu_node *node;
    const char *pass;
    const cdu_conv_sum *sum;
    cdu_layout x, y;
    shape_of_work s;
    cdu_epilogue epilogue;
    cdu_tensor packed, v, m;
    uint32_t u_step;        /* floats */
    uint64_t bias_at;
} steps;

static cdu_status append_pack(steps *s, cdu_error *error)
{
    cdu_draft draft = cdu_draft_begin("conv_winograd.k", "winograd_items_pack", s->node, "pack");
    uint32_t block = 4 * s->s.nv;
    cdu_draft_define(&draft, "NV", s->s.nv);
    cdu_draft_define(&draft, "LANES", 1);
    cdu_draft_groups(&draft, s->y.lanes / block, s->x.lanes / 4, 1, block, 4, 1);
    cdu_conv_use_weights(&draft, s->sum, s->packed, &s->x, &s->y);
    CDU_CONV_WORDS(&draft, s->u_step, (uint32_t)s->bias_at, s->y.lanes, s->sum->window.rotated);
    draft.bytes = 4.0 * (9 + PLACES) * s->x.lanes * s->y.lanes;
    return cdu_append(s->l, &draft, error);
}

/* What all three kernels of a chunk take, lanes counted by `unit`. */
static void items_params(cdu_draft *draft, const steps *s, uint32_t unit, uint32_t first_tile, uint32_t chunk)
{
    const cdu_layout *x = &s->x, *y = &s->y;
    CDU_CONV_WORDS(draft, x->lanes / unit, y->lanes / unit, y->shape.h, y->shape.w, x->pitch / unit, x->offset / unit, y->pitch / unit,
                   y->offset / unit, cdu_ceil_div(y->shape.w, 4), cdu_ceil_div(y->shape.h, 4), first_tile, chunk, s->s.slots,
                   s->u_step / unit, s->s.slots * (x->lanes / unit), s->s.slots * (y->lanes / unit), (uint32_t)(s->bias_at / unit),
                   s->sum->bias != CDU_NO_TENSOR);
}

/* Items of a transformation: lanes side by side, then tiles. */
static void transform_groups(cdu_draft *draft, const steps *s, uint32_t lanes, uint32_t chunk)
{
    uint32_t unit = s->s.form == SCALARS ? 1 : 4, count = lanes / unit, items = s->s.form == SCALARS ? ITEMS : 16, across = 1;
    while (across < count && across < (s->s.form == SCALARS ? 16 : 8)) across *= 2;
    cdu_draft_define(draft, "LANES", unit);
    cdu_draft_groups(draft, cdu_ceil_div(count, across), cdu_ceil_div(chunk, items / across), 1, across, items / across, 1);
}

static cdu_status append_input(const steps *s, uint32_t n0, uint32_t n1, uint32_t first_tile, uint32_t chunk, cdu_error *error)
{
    cdu_draft draft = cdu_draft_begin("conv_winograd.k", "winograd_items_input", s->node, s->pass);
    transform_groups(&draft, s, s->x.lanes, chunk);
    cdu_draft_use(&draft, s->sum->x, CDU_READ, n0, n1);
    cdu_draft_use(&draft, s->v, CDU_WRITE, 0, 0);
    items_params(&draft, s, s->s.form == SCALARS ? 1 : 4, first_tile, chunk);
    draft.bytes = 4.0 * chunk * (16 + PLACES) * s->x.lanes;
    return cdu_append(s->l, &draft, error);
}

static cdu_status append_product(const steps *s, uint32_t first_tile, uint32_t chunk, cdu_error *error)
{
    cdu_draft draft = cdu_draft_begin("conv_winograd.k", "winograd_items_product", s->node, s->pass);
    const shape_of_work *w = &s->s;
    cdu_draft_define(&draft, "NV", w->nv);
    cdu_draft_define(&draft, "NP", w->np);
    if (w->form == SPREAD) cdu_draft_define(&draft, "SUBGROUP", w->items);
    cdu_draft_groups(&draft, s->y.lanes / (4 * w->nv), cdu_ceil_div(chunk, w->items * w->np), PLACES, w->items, 1, 1);
    cdu_draft_use(&draft, s->v, CDU_READ, 0, 0);
    cdu_draft_use(&draft, s->packed, CDU_READ, 0, 0);
    cdu_draft_use(&draft, s->m, CDU_WRITE, 0, 0);
    items_params(&draft, s, 4, first_tile, chunk);
    draft.flops = 18.0 * 16.0 * chunk * s->x.shape.c * s->y.shape.c;
    draft.bytes = 4.0 * PLACES * (chunk * (double)(s->x.lanes + s->y.lanes) + (double)s->x.lanes * s->y.lanes);
    return cdu_append(s->l, &draft, error);
}

static cdu_status append_output(const steps *s, uint32_t n0, uint32_t n1, uint32_t first_tile, uint32_t chunk, cdu_error *error)
{
    cdu_draft draft = cdu_draft_begin("conv_winograd.k", "winograd_items_output", s->node, s->pass);
    cdu_draft_define(&draft, "NV", s->s.nv);
    cdu_draft_define(&draft, "EPILOGUE", s->epilogue);
    cdu_draft_define(&draft, "ACCUMULATE", s->sum->accumulate);
    transform_groups(&draft, s, s->y.lanes, chunk);
    cdu_draft_use(&draft, s->m, CDU_READ, 0, 0);
    cdu_draft_use(&draft, s->packed, CDU_READ, 0, 0);
    cdu_draft_use(&draft, s->sum->y, s->sum->accumulate || first_tile ? CDU_READ | CDU_WRITE : CDU_WRITE, n0, n1);
    items_params(&draft, s, s->s.form == SCALARS ? 1 : 4, first_tile, chunk);
    draft.bytes = 4.0 * chunk * (PLACES + 16) * s->y.lanes;
    return cdu_append(s->l, &draft, error);
}

static cdu_status items_sum(cdu_lowering *l, const cdu_node *node, const char *pass, const cdu_conv_sum *sum, const cdu_choice *choice,
                            cdu_error *error)
{
    cdu_conv_problem problem = cdu_conv_problem_of_sum(l, sum);
    steps s = {.l = l, .node = node, .pass = pass, .sum = sum, .x = *cdu_tensor_layout(l, sum->x), .y = *cdu_tensor_layout(l, sum->y),
               .s = choose(cdu_lowering_device(l), &problem, choice), .epilogue = sum->epilogue};
    s.u_step = s.x.lanes * 4 * s.s.nv;
    s.bias_at = (uint64_t)PLACES * s.x.lanes * s.y.lanes;
    CDU_TRY(cdu_lower_scratch(l, "transformed weights", s.bias_at + 3ull * s.y.lanes, &s.packed, error));
    CDU_TRY(cdu_lower_scratch(l, "transformed input", (uint64_t)PLACES * s.s.slots * s.x.lanes, &s.v, error));
    CDU_TRY(cdu_lower_scratch(l, "products", (uint64_t)PLACES * s.s.slots * s.y.lanes, &s.m, error));
    CDU_TRY(append_pack(&s, error));
    cdu_tensor both[2] = {sum->x, sum->y};
    for (uint32_t n0 = 0, n1 = 0; cdu_next_range(l, both, 2, &n0, &n1);) {
        uint32_t tiles = (n1 - n0) * tiles_of(&problem);
        for (uint32_t first = 0; first < tiles; first += s.s.slots) {
            uint32_t chunk = cdu_smaller(s.s.slots, tiles - first);
            CDU_TRY(append_input(&s, n0, n1, first, chunk, error));
            CDU_TRY(append_product(&s, first, chunk, error));
            CDU_TRY(append_output(&s, n0, n1, first, chunk, error));
        }
    }
    return CDU_OK;
}

static bool fits(const cdu_device_info *device, const cdu_conv_problem *p, const cdu_choice *choice)
{
    const uint32_t *setting = choice->setting;
    if (p->pass != CDU_CONV_SUM || p->side != 3 || p->stride != 1 || p->parities != 1 || p->in_lanes % 4 || p->out_lanes % 4 || p->in_lanes < 8)
        return false;
    if (setting[FORM] > SPREAD || setting[TILES] > 16 || !cdu_setting_is_power(setting[VECTORS], 1, 8)) return false;
    if (setting[FORM] == SPREAD && !can_spread(device)) return false;
    shape_of_work s = choose(device, p, choice);
    if (setting[VECTORS] && s.nv != setting[VECTORS]) return false;
    return s.slots > 0 && 4ull * PLACES * p->in_lanes * p->out_lanes + 12ull * p->out_lanes <= device->largest_binding;
}

static bool preferred(const cdu_device_info *device, const cdu_conv_problem *p)
{
    if (cdu_op_wide(device)) return false;
    if (device->kind == CDU_CPU) return true;
    uint32_t least = cdu_conv_large_caches(device) ? 64 : 128;   /* docs/kernels.md; 128 on paper */
    return p->in_lanes >= least && p->out_lanes >= least;
}

static uint32_t candidates(const cdu_device_info *device, const cdu_conv_problem *problem, cdu_choice *out, uint32_t limit)
{
    static const uint32_t settings[][CDU_SETTINGS] = {{0}, {0, 2, 4}, {0, 2, 8}, {0, 4, 2}, {0, 8, 2}, {0, 8, 8}, {0, 0, 0, 8 << 10}, {0, 0, 0, 64 << 10}};
    return cdu_op_wide(device) ? 0 : cdu_conv_candidates(&cdu_conv_winograd_items, device, problem, settings, sizeof settings / sizeof *settings, out, limit);
}

const cdu_conv_variant cdu_conv_winograd_items = {.name = "winograd_items", .approximate = true, .setting = {"form", "tiles", "vectors", "chunk"},
                                                  .fits = fits, .preferred = preferred, .candidates = candidates, .sum = items_sum};
