/* conv_winograd_items.c: the variant "winograd_items": 3x3 convolutions of stride 1 by F(4x4, 3x3), all three passes, for GPUs and for CPUs that run
 * groups of items (shaders/conv_winograd.k and winograd_products.k, kernels winograd_items_...). Chunks of tiles go through memory: their transformed
 * input, and their products for all 36 places, or the transformed gradient. docs/kernels.md has the figures. Leaves out fewer than 8 lanes. */
#include <string.h>

#include "core/ops/conv_variant.h"

enum {
    PLACES = 36,
    CHUNK_BYTES_CPU = 4 << 20,      /* of V or M on their way through memory: half of what a processor's caches hold for a core */
    CHUNK_BYTES_GPU = 32 << 20,     /* enough groups at once for a large GPU */
    CHUNK_BYTES_MOST = 128 << 20,   /* with large caches: every further chunk costs about 10 us there (H100) */
    ITEMS = 64,                     /* of a group */
    FEW_TILES = 64,                 /* of which a group of half as many items takes all */
    RUN = 256,                      /* tiles after which a sum of a weight gradient starts anew */
    WANTED_GROUPS = 1024,           /* of a product, all slots or parts together, for a large GPU */
    LEAST_SLOT = 32,                /* tiles of a slot */
    LEAST_PART = 64,                /* input lanes of a part of a sum */
    LEAST_LOCAL = 256,              /* output lanes from which the product in local memory is faster (H100: 0.8 of the time; 1.1 to 1.3 below) */
    LANES_AT_ONCE = 8,              /* of which a group has weights in local memory */
    LOCAL_BUDGET = 24 << 10,        /* bytes of a group of a product in local memory */
    AT_ONCE = 4,                    /* tiles of d that an item transforms, one after another, */
    ENOUGH_ITEMS = 64 << 10         /* where that leaves so many items */
};
enum { FORM, TILES, VECTORS, CHUNK };           /* settings; of a gradient: tiles in local memory; products of vectors of an item */
/* form: lanes that an item transforms; SPREAD: 4, and a subgroup hands weights round; LOCAL: 1, and the product in local memory */
enum { SCALARS = 1, LANES4 = 2, SPREAD = 3, LOCAL = 4 };

/* A register tile of np tiles times nv vectors of output lanes; `items` side by side in a group of the product; `split`, LOCAL's alone: parts of the input
 * lanes. */
typedef struct { uint32_t form, np, nv, items, slots, split, gx, gy; } shape_of_work;

static uint64_t chunk_bytes(const cdu_device_info *device, const cdu_choice *choice)
{
    uint64_t bytes = device->kind == CDU_CPU ? CHUNK_BYTES_CPU : CHUNK_BYTES_GPU, share = device->memory / 128;
    if (device->kind != CDU_CPU && cdu_conv_large_caches(device) && share > bytes) bytes = share < CHUNK_BYTES_MOST ? share : CHUNK_BYTES_MOST;
    if (choice->setting[CHUNK]) bytes = (uint64_t)choice->setting[CHUNK] << 10;
    return bytes < device->largest_binding ? bytes : device->largest_binding;
}

static uint32_t tiles_of(const cdu_conv_problem *p)
{
    return cdu_ceil_div(p->w, 4) * cdu_ceil_div(p->h, 4);
}

/* Chunks of like size; 0 where not even one tile fits. */
static uint64_t tiles_a_chunk(const cdu_device_info *device, const cdu_conv_problem *p, const cdu_choice *choice)
{
    uint64_t tiles = (uint64_t)p->n * tiles_of(p), fit = chunk_bytes(device, choice) / (4ull * PLACES * cdu_larger(p->in_lanes, p->out_lanes));
    if (!fit || fit >= tiles) return fit ? tiles : 0;
    uint64_t chunks = (tiles + fit - 1) / fit;
    return (tiles + chunks - 1) / chunks;
}

/* One size of subgroup, so that a group of that many items is one. */
static bool can_spread(const cdu_device_info *device)
{
    return device->kind == CDU_CPU && device->features & CDU_HAS_BROADCAST && device->subgroup_min >= 4 &&
           device->subgroup_min == device->subgroup_max;
}

/* A group of the product in local memory: gx times nv vectors of output lanes, gy times np tiles. */
static void choose_local(shape_of_work *s, const cdu_device_info *device, const cdu_conv_problem *p)
{
    /* whole vectors of tiles, and whole lines of a cache */
    uint32_t more = cdu_ceil_div(s->slots, 8) * 8;
    s->slots = 4ull * PLACES * more * cdu_larger(p->in_lanes, p->out_lanes) <= device->largest_binding ? more : s->slots / 8 * 8;
    if (!s->slots) return;
    s->gx = s->gy = 1;
    while (s->gx < 8 && s->gx * s->nv * 4 < p->out_lanes) s->gx *= 2;
    while (s->gx * s->gy < ITEMS && s->gy * s->np < s->slots) s->gy *= 2;
    while (s->gx * s->gy < ITEMS && s->gx * s->nv * 4 < p->out_lanes) s->gx *= 2;
    uint32_t groups = PLACES * cdu_ceil_div(p->out_lanes / 4, s->gx * s->nv) * cdu_ceil_div(s->slots, s->gy * s->np);
    s->split = cdu_smaller(cdu_ceil_div(WANTED_GROUPS, groups), cdu_smaller(cdu_larger(p->in_lanes / LEAST_PART, 1), 8));
}

/* Vectors of output lanes that weights and products lie together in. */
static uint32_t vectors_together(const shape_of_work *s, uint32_t out_lanes)
{
    uint32_t nv = s->form == LOCAL ? 4 : s->nv;
    while (nv > 1 && out_lanes % (4 * nv)) nv /= 2;
    return nv;
}

static shape_of_work choose(const cdu_device_info *device, const cdu_conv_problem *p, const cdu_choice *choice)
{
    bool processor = device->kind == CDU_CPU, spread = can_spread(device);
    bool few = cdu_conv_few_registers(device), local = !few && p->out_lanes >= LEAST_LOCAL;
    shape_of_work s = {.form = processor ? (spread ? SPREAD : LANES4) : local ? LOCAL : SCALARS, .np = few ? 2 : 4, .nv = 4, .split = 1};
    if (s.form == SCALARS && cdu_conv_large_caches(device)) s.nv = 2;
    if (choice->setting[FORM]) s.form = choice->setting[FORM];
    if (s.form == SPREAD) s.np = 8, s.nv = 8;
    if (s.form == LOCAL) s.np = 8, s.nv = 2;
    if (choice->setting[VECTORS]) s.nv = choice->setting[VECTORS];
    while (s.nv > 1 && p->out_lanes % (4 * s.nv)) s.nv /= 2;
    s.items = s.form == SPREAD ? device->subgroup_min : processor ? 16 : ITEMS;
    uint64_t tiles = (uint64_t)p->n * tiles_of(p);
    /* so few tiles leave an item one of them, and four loads of weights for each of it: rather two tiles, and half the lanes */
    if (s.form == SCALARS && tiles <= FEW_TILES) {
        s.items = ITEMS / 2, s.np = 2;
        if (!choice->setting[VECTORS]) s.nv = cdu_smaller(s.nv, 2);
    }
    if (choice->setting[TILES]) s.np = choice->setting[TILES];
    while (s.form != LOCAL && s.np > 1 && (uint64_t)s.items * s.np / 2 >= tiles) s.np /= 2;
    uint64_t slots = tiles_a_chunk(device, p, choice);
    s.slots = (uint32_t)(slots > 1u << 16 ? 1u << 16 : slots);
    if (s.form == LOCAL && s.slots) choose_local(&s, device, p);
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
    uint32_t together, u_step;  /* vectors of output lanes; floats */
    uint64_t bias_at;
} steps;

static cdu_status append_pack(steps *s, cdu_error *error)
{
    cdu_draft draft = cdu_draft_begin("conv_winograd.k", "winograd_items_pack", s->node, "pack");
    uint32_t block = 4 * s->together;
    cdu_draft_define(&draft, "NV", s->together);
    cdu_draft_define(&draft, "LANES", 1);
    cdu_draft_groups(&draft, s->y.lanes / block, s->x.lanes / 4, 1, block, 4, 1);
    cdu_conv_use_weights(&draft, s->sum, s->packed, &s->x, &s->y);
    CDU_CONV_WORDS(&draft, s->u_step, (uint32_t)s->bias_at, s->y.lanes, s->sum->window.rotated);
    draft.bytes = 4.0 * (9 + PLACES) * s->x.lanes * s->y.lanes;
    return cdu_append(s->l, &draft, error);
}

/* What the kernels that go over a chunk's tiles take, lanes counted by `unit`; bias_at by it already. */
static void items_params(cdu_draft *draft, const cdu_layout *x, const cdu_layout *y, uint32_t unit, uint32_t first_tile, uint32_t chunk,
                         uint32_t room, uint32_t u_step, uint32_t bias_at, bool biased, uint32_t parts)
{
    CDU_CONV_WORDS(draft, x->lanes / unit, y->lanes / unit, y->shape.h, y->shape.w, x->pitch / unit, x->offset / unit, y->pitch / unit,
                   y->offset / unit, cdu_ceil_div(y->shape.w, 4), cdu_ceil_div(y->shape.h, 4), first_tile, chunk, room, u_step / unit,
                   room * (x->lanes / unit), room * (y->lanes / unit), bias_at, biased, parts);
}

static void sum_params(cdu_draft *draft, const steps *s, uint32_t unit, uint32_t first_tile, uint32_t chunk)
{
    items_params(draft, &s->x, &s->y, unit, first_tile, chunk, s->s.slots, s->u_step, (uint32_t)(s->bias_at / unit), s->sum->bias != CDU_NO_TENSOR,
                 s->s.split);
}

/* Lanes that an item transforms. */
static uint32_t unit_of(uint32_t form)
{
    return form == SCALARS || form == LOCAL ? 1 : 4;
}

/* Items of a transformation: lanes side by side, then tiles. */
static void output_groups(cdu_draft *draft, uint32_t form, uint32_t lanes, uint32_t chunk)
{
    uint32_t unit = unit_of(form), count = lanes / unit, items = unit == 1 ? ITEMS : 16, across = 1;
    while (across < count && across < (unit == 1 ? 16 : 8)) across *= 2;
    cdu_draft_define(draft, "LANES", unit);
    cdu_draft_groups(draft, cdu_ceil_div(count, across), cdu_ceil_div(chunk, items / across), 1, across, items / across, 1);
}

/* Of x or d, `at_once` tiles an item; with a lane an item 8 lanes by 8 tiles, in the kernel's own order. Returns the groups that share lanes. */
static uint32_t input_groups(cdu_draft *draft, uint32_t form, uint32_t lanes, uint32_t chunk, uint32_t at_once)
{
    uint32_t across = 1, groups = cdu_ceil_div(chunk, 8 * at_once);
    cdu_draft_define(draft, "LANES", unit_of(form));
    if (unit_of(form) == 1) {
        cdu_draft_groups(draft, cdu_ceil_div(lanes, 8), groups, 1, ITEMS, 1, 1);
        return groups;
    }
    while (across < lanes / 4 && across < 8) across *= 2;
    groups = cdu_ceil_div(chunk, 16 / across * at_once);
    cdu_draft_groups(draft, cdu_ceil_div(lanes / 4, across), groups, 1, across, 16 / across, 1);
    return groups;
}

/* x to V, for sums and weight gradients. */
static cdu_status append_transform(cdu_lowering *l, const cdu_node *node, const char *pass, uint32_t form, cdu_tensor x, cdu_tensor v,
                                   const cdu_layout *in, const cdu_layout *out, uint32_t n0, uint32_t n1, uint32_t first_tile, uint32_t chunk,
                                   uint32_t room, cdu_error *error)
{
    cdu_draft draft = cdu_draft_begin("conv_winograd.k", "winograd_items_input", node, pass);
    input_groups(&draft, form, in->lanes, chunk, 1);
    if (form == LOCAL) cdu_draft_define(&draft, "BY_TILES", 1);
    cdu_draft_use(&draft, x, CDU_READ, n0, n1);
    cdu_draft_use(&draft, v, CDU_WRITE, 0, 0);
    items_params(&draft, in, out, unit_of(form), first_tile, chunk, room, 0, 0, false, 1);
    draft.bytes = 4.0 * chunk * (16 + PLACES) * in->lanes;
    return cdu_append(l, &draft, error);
}

static cdu_status append_local_product(const steps *s, uint32_t chunk, cdu_error *error)
{
    cdu_draft draft = cdu_draft_begin("winograd_products.k", "winograd_items_local", s->node, s->pass);
    const shape_of_work *w = &s->s;
    cdu_draft_define(&draft, "NI", w->np / 4);
    cdu_draft_define(&draft, "NO", w->nv);
    cdu_draft_define(&draft, "NV", s->together);
    cdu_draft_define(&draft, "KT", LANES_AT_ONCE);
    cdu_draft_groups(&draft, cdu_ceil_div(s->y.lanes / 4, w->gx * w->nv), cdu_ceil_div(chunk, w->gy * w->np), PLACES * w->split, w->gx, w->gy, 1);
    cdu_draft_use(&draft, s->v, CDU_READ, 0, 0);
    cdu_draft_use(&draft, s->packed, CDU_READ, 0, 0);
    cdu_draft_use(&draft, s->m, CDU_WRITE, 0, 0);
    uint32_t part = cdu_ceil_div(cdu_ceil_div(s->x.lanes, w->split), LANES_AT_ONCE) * LANES_AT_ONCE;
    CDU_CONV_WORDS(&draft, s->x.lanes, s->y.lanes / 4, chunk, w->slots / 4, s->u_step / 4, w->slots * (s->y.lanes / 4), part);
    draft.flops = 18.0 * 16.0 * chunk * s->x.shape.c * s->y.shape.c;
    draft.bytes = 4.0 * PLACES * (chunk * (double)(s->x.lanes + w->split * s->y.lanes) + (double)s->x.lanes * s->y.lanes);
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
    sum_params(&draft, s, 4, first_tile, chunk);
    draft.flops = 18.0 * 16.0 * chunk * s->x.shape.c * s->y.shape.c;
    draft.bytes = 4.0 * PLACES * (chunk * (double)(s->x.lanes + s->y.lanes) + (double)s->x.lanes * s->y.lanes);
    return cdu_append(s->l, &draft, error);
}

static cdu_status append_output(const steps *s, uint32_t n0, uint32_t n1, uint32_t first_tile, uint32_t chunk, cdu_error *error)
{
    cdu_draft draft = cdu_draft_begin("conv_winograd.k", "winograd_items_output", s->node, s->pass);
    cdu_draft_define(&draft, "NV", s->together);
    cdu_draft_define(&draft, "EPILOGUE", s->epilogue);
    cdu_draft_define(&draft, "ACCUMULATE", s->sum->accumulate);
    output_groups(&draft, s->s.form, s->y.lanes, chunk);
    cdu_draft_use(&draft, s->m, CDU_READ, 0, 0);
    cdu_draft_use(&draft, s->packed, CDU_READ, 0, 0);
    cdu_draft_use(&draft, s->sum->y, s->sum->accumulate || first_tile ? CDU_READ | CDU_WRITE : CDU_WRITE, n0, n1);
    sum_params(&draft, s, unit_of(s->s.form), first_tile, chunk);
    draft.bytes = 4.0 * chunk * (PLACES * s->s.split + 16) * s->y.lanes;
    return cdu_append(s->l, &draft, error);
}

static cdu_status items_sum(cdu_lowering *l, const cdu_node *node, const char *pass, const cdu_conv_sum *sum, const cdu_choice *choice,
                            cdu_error *error)
{
    cdu_conv_problem problem = cdu_conv_problem_of_sum(l, sum);
    steps s = {.l = l, .node = node, .pass = pass, .sum = sum, .x = *cdu_tensor_layout(l, sum->x), .y = *cdu_tensor_layout(l, sum->y),
               .s = choose(cdu_lowering_device(l), &problem, choice), .epilogue = sum->epilogue};
    s.together = vectors_together(&s.s, s.y.lanes);
    s.u_step = s.x.lanes * 4 * s.together;
    s.bias_at = (uint64_t)PLACES * s.x.lanes * s.y.lanes;
    CDU_TRY(cdu_lower_scratch(l, "transformed weights", s.bias_at + 3ull * s.y.lanes, &s.packed, error));
    CDU_TRY(cdu_lower_scratch(l, "transformed input", (uint64_t)PLACES * s.s.slots * s.x.lanes, &s.v, error));
    CDU_TRY(cdu_lower_scratch(l, "products", (uint64_t)s.s.split * PLACES * s.s.slots * s.y.lanes, &s.m, error));
    CDU_TRY(append_pack(&s, error));
    cdu_tensor both[2] = {sum->x, sum->y};
    for (uint32_t n0 = 0, n1 = 0; cdu_next_range(l, both, 2, &n0, &n1);) {
        uint32_t tiles = (n1 - n0) * tiles_of(&problem);
        for (uint32_t first = 0; first < tiles; first += s.s.slots) {
            uint32_t chunk = cdu_smaller(s.s.slots, tiles - first);
            CDU_TRY(append_transform(l, node, pass, s.s.form, sum->x, s.v, &s.x, &s.y, n0, n1, first, chunk, s.s.slots, error));
            CDU_TRY(s.s.form == LOCAL ? append_local_product(&s, chunk, error) : append_product(&s, first, chunk, error));
            CDU_TRY(append_output(&s, n0, n1, first, chunk, error));
        }
    }
    return CDU_OK;
}

/* A weight gradient. A group has gx vectors of output lanes, no of them an item, gy times ni of input lanes, and gz slots of slot_tiles tiles, of which it
 * holds kt; `room` tiles of V and D. */
typedef struct {
    uint32_t form, ni, no, gx, gy, gz, kt, room, slots, slot_tiles, in_groups, out_groups, at_once;
    uint64_t slot_floats;
} gradient_work;

static uint64_t local_bytes_of(const gradient_work *g)
{
    return 16ull * g->gz * (g->gx * g->no + g->gy * g->ni) * (g->kt + 1);
}

static gradient_work choose_gradient(const cdu_device_info *device, const cdu_conv_problem *p, const cdu_choice *choice)
{
    bool processor = device->kind == CDU_CPU;
    gradient_work g = {.form = processor ? LANES4 : SCALARS, .gx = 1, .gy = 1, .gz = 1};
    g.kt = cdu_conv_large_caches(device) ? 8 : 4;    /* 8 take 16 registers more, too many for RDNA3 */
    uint32_t in = p->in_lanes / 4, out = p->out_lanes / 4, products = choice->setting[VECTORS] ? choice->setting[VECTORS] : cdu_conv_few_registers(device) ? 2 : 4;
    if (choice->setting[FORM]) g.form = choice->setting[FORM] == LANES4 ? LANES4 : SCALARS;
    if (choice->setting[TILES]) g.kt = choice->setting[TILES];
    g.ni = cdu_smaller(in, products > 1 ? 2 : 1);
    g.no = cdu_smaller(out, products > 2 ? 2 : 1);
    while (g.gx < 8 && g.gx * g.no < out) g.gx *= 2;
    while (g.gy < 8 && g.gy * g.ni < in) g.gy *= 2;
    g.in_groups = cdu_ceil_div(in, g.gy * g.ni);
    g.out_groups = cdu_ceil_div(out, g.gx * g.no);
    uint64_t tiles = (uint64_t)p->n * tiles_of(p), room = tiles_a_chunk(device, p, choice);
    if (room > 1u << 20) room = 1u << 20;
    if (room >= 8 && room < tiles) room = room / 8 * 8;     /* whole lines of a cache */
    g.room = (uint32_t)room;
    g.at_once = (uint64_t)g.room * p->out_lanes >= AT_ONCE * (uint64_t)ENOUGH_ITEMS ? AT_ONCE : 1;
    if (!g.room) return g;
    g.slot_floats = (uint64_t)PLACES * p->in_lanes * p->out_lanes;
    uint32_t most_slots = cdu_ceil_div(g.room, LEAST_SLOT);
    while (g.gx * g.gy * g.gz < ITEMS && g.gz < most_slots) {
        g.gz *= 2;
        if (local_bytes_of(&g) <= cdu_smaller(LOCAL_BUDGET, device->local_bytes)) continue;
        g.gz /= 2;
        break;
    }
    uint64_t bytes = device->largest_binding < CDU_CONV_SLOT_BYTES ? device->largest_binding : CDU_CONV_SLOT_BYTES;
    uint64_t wanted = (uint64_t)cdu_ceil_div(processor ? 1 : WANTED_GROUPS, PLACES * g.in_groups * g.out_groups) * g.gz;
    uint64_t slots = cdu_conv_slots(wanted, most_slots, bytes, g.slot_floats);
    g.slot_tiles = cdu_smaller(cdu_ceil_div(cdu_ceil_div(g.room, (uint32_t)slots), g.kt) * g.kt, RUN);
    g.slots = cdu_smaller(cdu_ceil_div(g.room, g.slot_tiles), (uint32_t)slots);
    return g;
}

typedef struct {
    cdu_lowering *l;
    const cdu_node *node;
    const cdu_conv_gradient *g;
    cdu_layout x, d;
    gradient_work w;
    cdu_tensor v, dd, partial, sums;
    uint32_t rows;          /* of sums for the bias, so far */
} gradient_steps;

static cdu_status append_gradient_input(gradient_steps *s, uint32_t n0, uint32_t n1, uint32_t first_tile, uint32_t chunk, cdu_error *error)
{
    cdu_draft draft = cdu_draft_begin("conv_winograd.k", "winograd_items_gradient_input", s->node, "weight gradient");
    uint32_t rows = input_groups(&draft, s->w.form, s->d.lanes, chunk, s->w.at_once);
    cdu_draft_use(&draft, s->g->d, CDU_READ, n0, n1);
    cdu_draft_use(&draft, s->dd, CDU_WRITE, 0, 0);
    cdu_draft_use(&draft, s->sums, s->rows ? CDU_READ | CDU_WRITE : CDU_WRITE, 0, 0);
    items_params(&draft, &s->x, &s->d, unit_of(s->w.form), first_tile, chunk, s->w.room, 0, s->rows, false, s->w.at_once);
    s->rows += rows;
    draft.flops = 16.0 * chunk * s->d.shape.c;
    draft.bytes = 4.0 * chunk * (16 + PLACES) * s->d.lanes;
    return cdu_append(s->l, &draft, error);
}

static cdu_status append_gradient_product(const gradient_steps *s, uint32_t chunk, uint32_t first, bool begun, cdu_error *error)
{
    const gradient_work *w = &s->w;
    cdu_draft draft = cdu_draft_begin("winograd_products.k", "winograd_items_gradient", s->node, "weight gradient");
    cdu_draft_define(&draft, "NI", w->ni);
    cdu_draft_define(&draft, "NO", w->no);
    cdu_draft_define(&draft, "KT", w->kt);
    cdu_draft_groups(&draft, w->out_groups * w->in_groups, cdu_ceil_div(w->slots, w->gz), PLACES, w->gx, w->gy, w->gz);
    cdu_draft_use(&draft, s->v, CDU_READ, 0, 0);
    cdu_draft_use(&draft, s->dd, CDU_READ, 0, 0);
    cdu_draft_use(&draft, s->partial, begun ? CDU_READ | CDU_WRITE : CDU_WRITE, 0, 0);
    CDU_CONV_WORDS(&draft, s->x.lanes / 4, s->d.lanes / 4, w->out_groups, chunk, w->room, first, w->slot_tiles, w->slots, (uint32_t)(w->slot_floats / 4), begun);
    double tiles = cdu_smaller(chunk - first, w->slots * w->slot_tiles);
    draft.flops = 18.0 * 16.0 * tiles * s->x.shape.c * s->d.shape.c;
    draft.bytes = 4.0 * PLACES * tiles * (double)(s->x.lanes + s->d.lanes) + 4.0 * w->slots * (double)w->slot_floats * (begun ? 2 : 1);
    return cdu_append(s->l, &draft, error);
}

static cdu_status append_unpack(const gradient_steps *s, cdu_error *error)
{
    const cdu_conv_gradient *g = s->g;
    cdu_draft draft = cdu_draft_begin("conv_winograd.k", "winograd_items_unpack", s->node, "unpack");
    cdu_draft_groups(&draft, s->d.lanes / 4, s->x.lanes / 4, 1, 16, 6, 1);
    cdu_draft_use(&draft, s->partial, CDU_READ, 0, 0);
    cdu_draft_use(&draft, s->sums, CDU_READ, 0, 0);
    cdu_draft_use(&draft, g->weight, g->add_weight ? CDU_READ | CDU_WRITE : CDU_WRITE, 0, 0);
    cdu_draft_use(&draft, g->bias, g->add_bias ? CDU_READ | CDU_WRITE : CDU_WRITE, 0, 0);
    cdu_conv_channel_params(&draft, &s->x, g->window.in_step);
    cdu_conv_channel_params(&draft, &s->d, g->window.out_step);
    CDU_CONV_WORDS(&draft, s->x.lanes / 4, s->d.lanes / 4, s->w.slots, (uint32_t)s->w.slot_floats, s->rows, g->add_weight, g->add_bias);
    draft.bytes = 4.0 * ((double)s->w.slots * (double)s->w.slot_floats + 9.0 * s->x.shape.c * s->d.shape.c * (g->add_weight ? 2 : 1));
    return cdu_append(s->l, &draft, error);
}

static cdu_status items_gradient(cdu_lowering *l, const cdu_node *node, const cdu_conv_gradient *g, const cdu_choice *choice, cdu_error *error)
{
    cdu_conv_problem problem = cdu_conv_problem_of_gradient(l, g);
    gradient_steps s = {.l = l, .node = node, .g = g, .x = *cdu_tensor_layout(l, g->x), .d = *cdu_tensor_layout(l, g->d),
                        .w = choose_gradient(cdu_lowering_device(l), &problem, choice)};
    cdu_tensor both[2] = {g->x, g->d};
    uint32_t rows = 0, an_image = tiles_of(&problem);
    for (uint32_t n0 = 0, n1 = 0; cdu_next_range(l, both, 2, &n0, &n1);)
        for (uint32_t first = 0; first < (n1 - n0) * an_image; first += s.w.room)
            rows += cdu_ceil_div(cdu_smaller(s.w.room, (n1 - n0) * an_image - first), s.w.at_once);     /* at most */
    CDU_TRY(cdu_lower_scratch(l, "transformed input", (uint64_t)PLACES * s.w.room * s.x.lanes, &s.v, error));
    CDU_TRY(cdu_lower_scratch(l, "transformed gradient", (uint64_t)PLACES * s.w.room * s.d.lanes, &s.dd, error));
    CDU_TRY(cdu_lower_scratch(l, "partial sums", s.w.slot_floats * s.w.slots, &s.partial, error));
    CDU_TRY(cdu_lower_scratch(l, "sums of the gradient", (uint64_t)rows * s.d.lanes, &s.sums, error));
    for (uint32_t n0 = 0, n1 = 0; cdu_next_range(l, both, 2, &n0, &n1);) {
        uint32_t tiles = (n1 - n0) * an_image;
        for (uint32_t first = 0; first < tiles; first += s.w.room) {
            uint32_t chunk = cdu_smaller(s.w.room, tiles - first);
            bool begun = s.rows > 0;
            CDU_TRY(append_transform(l, node, "weight gradient", s.w.form, g->x, s.v, &s.x, &s.d, n0, n1, first, chunk, s.w.room, error));
            CDU_TRY(append_gradient_input(&s, n0, n1, first, chunk, error));
            for (uint32_t at = 0; at < chunk; at += s.w.slots * s.w.slot_tiles, begun = true)
                CDU_TRY(append_gradient_product(&s, chunk, at, begun, error));
        }
    }
    return append_unpack(&s, error);
}

static bool gradient_fits(const cdu_device_info *device, const cdu_conv_problem *p, const cdu_choice *choice)
{
    const uint32_t *setting = choice->setting;
    if (setting[FORM] > LOCAL || setting[FORM] == SPREAD || !cdu_setting_is_power(setting[TILES], 4, 32) || !cdu_setting_is_power(setting[VECTORS], 1, 4)) return false;
    gradient_work g = choose_gradient(device, p, choice);
    return g.room > 0 && local_bytes_of(&g) <= cdu_smaller(device->local_bytes, 32 << 10) && 4 * g.slot_floats <= device->largest_binding;
}

static bool fits(const cdu_device_info *device, const cdu_conv_problem *p, const cdu_choice *choice)
{
    const uint32_t *setting = choice->setting;
    if (p->side != 3 || p->stride != 1 || p->parities != 1 || p->in_lanes % 4 || p->out_lanes % 4 || p->in_lanes < 8)
        return false;
    if (p->pass == CDU_CONV_GRADIENT) return gradient_fits(device, p, choice);
    if (setting[FORM] == LOCAL && ((setting[TILES] && setting[TILES] != 4 && setting[TILES] != 8) || setting[VECTORS] > 2)) return false;
    if (setting[FORM] > LOCAL || setting[TILES] > 16 || !cdu_setting_is_power(setting[VECTORS], 1, 8)) return false;
    if (setting[FORM] == SPREAD && !can_spread(device)) return false;
    shape_of_work s = choose(device, p, choice);
    if (setting[VECTORS] && s.nv != setting[VECTORS]) return false;
    return s.slots > 0 && 4ull * PLACES * p->in_lanes * p->out_lanes + 12ull * p->out_lanes <= device->largest_binding;
}

static bool preferred(const cdu_device_info *device, const cdu_conv_problem *p)
{
    if (cdu_op_wide(device)) return false;
    if (device->kind == CDU_CPU) return p->pass == CDU_CONV_SUM;
    if (p->pass == CDU_CONV_GRADIENT) return p->in_lanes >= 64 && p->out_lanes >= 64;
    uint32_t least = cdu_conv_large_caches(device) ? 64 : 128;   /* docs/kernels.md; 128 on paper */
    return p->in_lanes >= least && p->out_lanes >= least;
}

static uint32_t candidates(const cdu_device_info *device, const cdu_conv_problem *problem, cdu_choice *out, uint32_t limit)
{
    static const uint32_t settings[][CDU_SETTINGS] = {{0}, {0, 2, 4}, {0, 2, 8}, {0, 4, 2}, {0, 8, 2}, {0, 8, 8}, {0, 0, 0, 8 << 10}, {0, 0, 0, 64 << 10},
                                                    {LOCAL}, {LOCAL, 4, 2}, {LOCAL, 8, 1}, {SCALARS}};
    static const uint32_t of_gradient[][CDU_SETTINGS] = {{0}, {0, 8, 1}, {0, 8, 2}, {0, 16}, {0, 16, 1}, {0, 16, 2}, {0, 0, 0, 8 << 10}, {0, 0, 0, 16 << 10}, {0, 0, 0, 64 << 10}};
    if (cdu_op_wide(device)) return 0;
    if (problem->pass == CDU_CONV_GRADIENT)
        return cdu_conv_candidates(&cdu_conv_winograd_items, device, problem, of_gradient, sizeof of_gradient / sizeof *of_gradient, out, limit);
    return cdu_conv_candidates(&cdu_conv_winograd_items, device, problem, settings, sizeof settings / sizeof *settings, out, limit);
}

/* On Intel's GPUs the tiles of sums leave room for 16 items a subgroup, that of the gradient does not. */
static uint32_t subgroup(const cdu_device_info *device, const cdu_conv_problem *problem)
{
    uint32_t size = cdu_conv_subgroup(device, problem);
    return size == 8 && cdu_conv_few_registers(device) && problem->pass == CDU_CONV_SUM && device->subgroup_max >= 16 ? 16 : size;
}

const cdu_conv_variant cdu_conv_winograd_items = {.name = "winograd_items", .subgroup = subgroup, .approximate = true, .setting = {"form", "tiles", "vectors", "chunk"},
                                                  .fits = fits, .preferred = preferred, .candidates = candidates, .sum = items_sum, .gradient = items_gradient};
