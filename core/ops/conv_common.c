/* conv_common.c: see conv_common.h. */
#include "core/ops/conv_common.h"

#include <string.h>

enum { UNPACK_ITEMS = 256, UNPACK_GROUPS = 512 };

bool cdu_conv_few_registers(const cdu_device_info *device)
{
    return strstr(device->vendor, "Intel") != NULL;
}

bool cdu_conv_large_caches(const cdu_device_info *device)
{
    return strstr(device->vendor, "NVIDIA") != NULL;
}

bool cdu_conv_many_registers(const cdu_device_info *device)
{
    return strstr(device->vendor, "NVIDIA") != NULL;
}

uint64_t cdu_conv_slots(uint64_t wanted, uint64_t most, uint64_t bytes, uint64_t slot_floats)
{
    uint64_t fit = bytes / (slot_floats * 4), slots = wanted < most ? wanted : most;
    if (slots > fit) slots = fit;
    return slots ? slots : 1;
}

uint32_t cdu_conv_vector_of(const cdu_layout *layout, uint32_t limit)
{
    uint32_t width = limit;
    while (width > 4 && (layout->lanes % width || layout->pitch % width || layout->offset % width)) width /= 2;
    return width;
}

void cdu_conv_channel_params(cdu_draft *draft, const cdu_layout *layout, uint64_t step)
{
    cdu_draft_param(draft, layout->shape.c);
    cdu_draft_param(draft, layout->split);
    cdu_draft_param(draft, layout->split_lane);
    cdu_draft_param(draft, (uint32_t)step);
}

void cdu_conv_use_norm(cdu_draft *draft, const cdu_normalized *norm)
{
    if (norm->saved == CDU_NO_TENSOR) return;
    cdu_draft_define(draft, "NORMALIZED", 1 + norm->relu);
    cdu_draft_use(draft, norm->saved, CDU_READ, 0, 0);
}

void cdu_conv_words(cdu_draft *draft, const uint32_t *words, size_t count)
{
    for (size_t i = 0; i < count; i++) cdu_draft_param(draft, words[i]);
}

void cdu_conv_define(cdu_draft *draft, const cdu_conv_window *window, const cdu_conv_blocks *b)
{
    cdu_draft_define(draft, "IB", b->ib);
    cdu_draft_define(draft, "VW", b->vw);
    cdu_draft_define(draft, "NV", b->nv);
    cdu_draft_define(draft, "K", window->side);
    cdu_draft_define(draft, "STRIDE", window->stride);
    cdu_draft_define(draft, "PAD", window->pad);
}

cdu_conv_packing cdu_conv_packing_of(const cdu_conv_window *window, const cdu_conv_blocks *b)
{
    uint64_t block = (uint64_t)b->ib * b->vw * b->nv, all = block * b->in_blocks * b->out_blocks;
    uint32_t side = window->parities == 4 ? 2 : window->side;
    cdu_conv_packing p = {.taps = side * side, .tap_side = side};
    p.weights = all * p.taps;
    p.block_step = window->parities == 4 ? block : block * p.taps;
    p.tap_step = window->parities == 4 ? all : block;
    return p;
}

/* Groups of conv_pack and conv_unpack: a block of lanes each. */
static void block_groups(cdu_draft *draft, const cdu_device_info *device, const cdu_conv_blocks *b)
{
    if (cdu_op_wide(device)) cdu_draft_groups(draft, b->out_blocks, b->in_blocks, 1, 1, 1, 1);
    else cdu_draft_groups(draft, b->out_blocks, b->in_blocks, 1, b->ib, b->vw * b->nv, 1);
}

void cdu_conv_use_weights(cdu_draft *draft, const cdu_conv_sum *sum, cdu_tensor packed, const cdu_layout *x, const cdu_layout *y)
{
    bool biased = sum->bias != CDU_NO_TENSOR, scaled = sum->scale != CDU_NO_TENSOR;
    cdu_draft_define(draft, "BIASED", biased);
    cdu_draft_define(draft, "SCALED", scaled);
    cdu_draft_use(draft, sum->weight, CDU_READ, 0, 0);
    cdu_draft_use(draft, packed, CDU_WRITE, 0, 0);
    if (biased) cdu_draft_use(draft, sum->bias, CDU_READ, 0, 0);
    if (scaled) {
        cdu_draft_use(draft, sum->scale, CDU_READ, 0, 0);
        cdu_draft_use(draft, sum->shift, CDU_READ, 0, 0);
    }
    cdu_conv_channel_params(draft, x, sum->window.in_step);
    cdu_conv_channel_params(draft, y, sum->window.out_step);
}

cdu_status cdu_conv_append_pack(cdu_lowering *l, const cdu_node *node, const cdu_conv_sum *sum, const cdu_conv_blocks *b,
                                const cdu_conv_packing *order, cdu_tensor *packed, cdu_error *error)
{
    const cdu_layout x = *cdu_tensor_layout(l, sum->x), y = *cdu_tensor_layout(l, sum->y); /* copies: a new tensor moves all layouts */
    cdu_draft draft = cdu_draft_begin("conv.k", "conv_pack", node, "pack");
    cdu_conv_define(&draft, &(cdu_conv_window){.side = order->tap_side, .stride = 1}, b);
    block_groups(&draft, cdu_lowering_device(l), b);
    CDU_TRY(cdu_lower_scratch(l, "packed weights", order->weights + (sum->bias != CDU_NO_TENSOR ? 3ull * y.lanes : 0), packed, error));
    cdu_conv_use_weights(&draft, sum, *packed, &x, &y);
    CDU_CONV_WORDS(&draft, b->in_blocks, (uint32_t)order->block_step, (uint32_t)order->tap_step, (uint32_t)order->weights, y.lanes,
                   sum->window.rotated);
    draft.bytes = 4.0 * ((double)order->weights + (double)x.shape.c * y.shape.c * order->taps);
    return cdu_append(l, &draft, error);
}

cdu_status cdu_conv_append_epilogue(cdu_lowering *l, const cdu_node *node, const cdu_conv_sum *sum, const cdu_conv_blocks *b,
                                    const cdu_conv_packing *order, cdu_tensor packed, uint32_t n0, uint32_t n1, cdu_error *error)
{
    const cdu_layout *y = cdu_tensor_layout(l, sum->y);
    cdu_draft draft = cdu_draft_begin("conv.k", "conv_epilogue", node, "epilogue");
    cdu_conv_define(&draft, &sum->window, b);
    cdu_draft_define(&draft, "EPILOGUE", sum->epilogue);
    uint32_t vectors = y->lanes / b->vw, pixels = (n1 - n0) * y->shape.h * y->shape.w;
    uint32_t across = cdu_smaller(vectors, 8), down = 64 / across;
    cdu_draft_groups(&draft, cdu_ceil_div(vectors, across), cdu_smaller(cdu_ceil_div(pixels, down), 4096), 1, across, down, 1);
    cdu_draft_use(&draft, packed, CDU_READ, 0, 0);
    cdu_draft_use(&draft, sum->y, CDU_READ | CDU_WRITE, n0, n1);
    CDU_CONV_WORDS(&draft, pixels, y->pitch / b->vw, y->offset / b->vw, vectors, (uint32_t)(order->weights / b->vw));
    draft.flops = (double)pixels * y->shape.c * (sum->epilogue == CDU_EPILOGUE_RELU_AFFINE ? 3 : 1);
    draft.bytes = 8.0 * pixels * y->lanes;
    return cdu_append(l, &draft, error);
}

/* Where items are plenty, up to 16 of them share the slots of a weight, 16 slots or more each; the rest of a group are further blocks. Few
 * weights are spread over groups by their taps too. */
static void unpack_groups(cdu_draft *draft, const cdu_device_info *device, const cdu_conv_blocks *b, uint32_t taps, uint32_t slots)
{
    if (cdu_op_wide(device)) {
        block_groups(draft, device, b);
        return;
    }
    uint32_t lanes = b->vw * b->nv, deep = cdu_larger(UNPACK_ITEMS / (b->ib * lanes), 1), split = 1;
    while (2 * split <= deep && split < 16 && slots > 16 * split) split *= 2;
    uint32_t rows = cdu_ceil_div(b->in_blocks, deep / split);
    bool few = (uint64_t)b->out_blocks * rows < UNPACK_GROUPS;
    cdu_draft_define(draft, "SPLIT", split);
    cdu_draft_groups(draft, b->out_blocks, rows, few ? taps : 1, b->ib, lanes, deep);
}

cdu_status cdu_conv_append_unpack(cdu_lowering *l, const cdu_node *node, const cdu_conv_gradient *g, const cdu_conv_blocks *b,
                                  const cdu_conv_packing *order, cdu_tensor partial, uint64_t slot_floats, uint32_t slots,
                                  uint32_t bias_parts, cdu_error *error)
{
    const cdu_layout *x = cdu_tensor_layout(l, g->x), *d = cdu_tensor_layout(l, g->d);
    cdu_draft draft = cdu_draft_begin("conv.k", "conv_unpack", node, "unpack");
    cdu_conv_define(&draft, &g->window, b);
    cdu_draft_define(&draft, "BIAS_OF_X", g->bias_of_x);
    unpack_groups(&draft, cdu_lowering_device(l), b, order->taps, slots);
    cdu_draft_use(&draft, partial, CDU_READ, 0, 0);
    cdu_draft_use(&draft, g->weight, g->add_weight ? CDU_READ | CDU_WRITE : CDU_WRITE, 0, 0);
    cdu_draft_use(&draft, g->bias, g->add_bias ? CDU_READ | CDU_WRITE : CDU_WRITE, 0, 0);
    cdu_conv_channel_params(&draft, x, g->window.in_step);
    cdu_conv_channel_params(&draft, d, g->window.out_step);
    CDU_CONV_WORDS(&draft, b->in_blocks, (uint32_t)order->block_step, (uint32_t)order->tap_step, slots, (uint32_t)slot_floats,
                   (uint32_t)order->weights, bias_parts, x->lanes, g->add_weight, g->add_bias);
    double elements = (double)x->shape.c * d->shape.c * order->taps;
    draft.flops = elements * slots;
    draft.bytes = 4.0 * ((double)slot_floats * slots + elements * (g->add_weight ? 2 : 1));
    return cdu_append(l, &draft, error);
}
