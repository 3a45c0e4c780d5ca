/* common.c: see common.h. */
#include "core/ops/common.h"

#include "core/base/debug.h"

enum {
    WIDE_PARTS = 64,        /* groups of a reduction on a CPU */
    WIDE_BYTES = 32 << 10,  /* what a CPU group walks at least, and a tile of a reduction: stays in its first cache */
    STREAM_BYTES = 8 << 20, /* gain by size measured on Zen 4 with 32 MiB of shared cache: 4 to 16 MiB alike */
    GROUP_ITEMS = 256,
    FULL_GROUPS = 1024,     /* fill a large GPU */
    GROUP_PARTS = 128       /* groups of a reduction on a GPU */
};

bool cdu_op_wide(const cdu_device_info *device)
{
    return device->vector_width > 4;
}

cdu_status cdu_op_same_lanes(const cdu_lowering *l, const cdu_node *node, const cdu_tensor *tensors, uint32_t count,
                             cdu_error *error)
{
    const cdu_layout *first = NULL;
    for (uint32_t i = 0; i < count; i++) {
        if (tensors[i] == CDU_NO_TENSOR) continue;
        const cdu_layout *layout = cdu_tensor_layout(l, tensors[i]);
        if (!first) first = layout;
        bool plain = layout->split >= layout->shape.c || layout->split_lane == layout->split;
        if (!plain || layout->lanes != first->lanes || layout->shape.c != first->shape.c)
            return cdu_fail(
                error, CDU_FAILED,
                "%s: %s cannot work on a concatenation whose parts have pads (%u channels in %u lanes, split %u at lane %u); "
                "put it before the concatenation",
                node->name, node->operator->name, layout->shape.c, layout->lanes, layout->split, layout->split_lane);
    }
    return CDU_OK;
}

uint32_t cdu_op_width(const cdu_lowering *l, const cdu_tensor *tensors, uint32_t count)
{
    uint32_t width = cdu_lowering_device(l)->vector_width;
    width = width >= 16 ? 16 : width >= 8 ? 8 : 4;
    for (uint32_t i = 0; i < count; i++) {
        if (tensors[i] == CDU_NO_TENSOR) continue;
        const cdu_layout *layout = cdu_tensor_layout(l, tensors[i]);
        while (width > 4 && (layout->pitch % width || layout->offset % width || layout->lanes % width)) width /= 2;
    }
    return width;
}

static uint32_t least(uint64_t a, uint64_t b)
{
    return (uint32_t)(a < b ? a : b);
}

static uint64_t ceil_div(uint64_t a, uint64_t b)
{
    return (a + b - 1) / b;
}

cdu_op_division cdu_op_divide(const cdu_lowering *l, cdu_tensor like, uint32_t width, uint64_t pixels, uint32_t streams,
                              bool reduction)
{
    const cdu_device_info *device = cdu_lowering_device(l);
    const cdu_layout *layout = cdu_tensor_layout(l, like);
    cdu_op_division d = {.vectors = layout->lanes / width, .width = width, .size = {1, 1}, .columns = 1};
    uint64_t bytes = 4ull * layout->lanes * streams, per;
    if (cdu_op_wide(device)) {
        uint64_t some = ceil_div(WIDE_BYTES, bytes);
        some = ceil_div(some, 8) * 8;
        d.tile = (uint32_t)some;
        per = ceil_div(pixels, WIDE_PARTS);
        if (per < some) per = some;
    } else {
        uint32_t items = least(GROUP_ITEMS, device->group_items ? device->group_items : GROUP_ITEMS);
        while (d.size[0] < d.vectors && d.size[0] < 64 && d.size[0] * 2 <= items) d.size[0] *= 2;
        while (d.size[0] * d.size[1] * 2 <= items) d.size[1] *= 2;
        d.columns = (uint32_t)ceil_div(d.vectors, d.size[0]);
        per = d.size[1] * 8ull;
        if (reduction && ceil_div(pixels, per) > GROUP_PARTS) per = ceil_div(pixels, GROUP_PARTS);
        uint32_t limit = least(device->group_count[1] ? device->group_count[1] : 65535, 65535);
        if (ceil_div(pixels, per) > limit) per = ceil_div(pixels, limit);
        d.tile = (uint32_t)per;
    }
    d.per = (uint32_t)per;
    d.groups = (uint32_t)ceil_div(pixels, per);
    return d;
}

void cdu_op_division_spread(const cdu_lowering *l, cdu_op_division *d, uint64_t pixels)
{
    if (cdu_lowering_device(l)->kind == CDU_CPU) return;
    while (d->per > d->size[1] && ceil_div(pixels, d->per) * d->columns < FULL_GROUPS) d->per /= 2;
    d->groups = (uint32_t)ceil_div(pixels, d->per);
}

void cdu_op_division_apply(const cdu_op_division *d, cdu_draft *draft)
{
    cdu_draft_define(draft, "VW", d->width);
    cdu_draft_groups(draft, d->columns, d->groups, 1, d->size[0], d->size[1], 1);
}

uint64_t cdu_op_pixels(const cdu_layout *layout, uint32_t n0, uint32_t n1)
{
    return (uint64_t)(n1 - n0) * layout->shape.h * layout->shape.w;
}

uint32_t cdu_op_groups(uint64_t items, uint32_t size, uint32_t limit)
{
    uint32_t groups = least(ceil_div(items, size), limit);
    return groups ? groups : 1;
}

void cdu_op_stream(const cdu_lowering *l, cdu_draft *draft, cdu_tensor written, uint32_t width)
{
    const cdu_layout *layout = cdu_tensor_layout(l, written);
    const cdu_device_info *device = cdu_lowering_device(l);
    uint64_t bytes = 4ull * layout->lanes * cdu_op_pixels(layout, 0, layout->shape.n);
    /* a line that is stored in parts would be read after all */
    if (layout->pitch > layout->lanes && (layout->lanes % 16 || layout->offset % 16 || layout->pitch % 16)) return;
    if (cdu_op_wide(device) && width >= 8 && (bytes >= STREAM_BYTES || cdu_debug(CDU_DEBUG_STREAM))) cdu_draft_define(draft, "STREAM", 1);
}

bool cdu_op_pixel_vectors(const cdu_lowering *l, cdu_draft *draft, const char *source, const char *wide, uint64_t pixels, uint32_t groups)
{
    const cdu_device_info *device = cdu_lowering_device(l);
    uint32_t width = device->vector_width >= 16 ? 16 : 8;
    if (!cdu_op_wide(device) || pixels < width) return false;
    draft->source = source;
    draft->kernel = wide;
    cdu_draft_define(draft, "VW", width);
    cdu_draft_groups(draft, groups, 1, 1, 1, 1, 1);
    return true;
}
