/* sgd.c: SGD with momentum over the flat arenas, in windows where an arena is larger than one binding. Leaves out weight decay,
 * which the method does not use. */
#include "core/ops/common.h"
#include "core/ops/ops.h"

enum { GPU_ITEMS = 256, GPU_PER_ITEM = 4, WIDE_GROUPS = 64 };

static cdu_status update_window(cdu_lowering *l, uint64_t first, uint64_t count, cdu_error *error)
{
    static const cdu_arena arenas[3] = {CDU_ARENA_PARAMETERS, CDU_ARENA_GRADIENTS, CDU_ARENA_MOMENTUM};
    const cdu_device_info *device = cdu_lowering_device(l);
    bool wide = cdu_op_wide(device);
    uint32_t width = !wide ? 4 : device->vector_width >= 16 ? 16 : 8;   /* arenas are multiples of 128 floats */
    uint32_t vectors = (uint32_t)(count / width), items = wide ? 1 : GPU_ITEMS;
    if (items > device->group_items) items = device->group_items;
    uint32_t per = wide ? (vectors + WIDE_GROUPS - 1) / WIDE_GROUPS : items * GPU_PER_ITEM;
    while ((vectors + per - 1) / per > device->group_count[0]) per *= 2;
    cdu_draft draft = cdu_draft_begin("sgd.k", "sgd_update", NULL, "update");
    for (int a = 0; a < 3; a++) {
        cdu_tensor window = cdu_lower_arena(l, arenas[a]);
        if (first || count != cdu_lowering_arena_elements(l, arenas[a]))
            CDU_TRY(cdu_lower_arena_window(l, arenas[a], first, count, &window, error));
        cdu_draft_use(&draft, window, arenas[a] == CDU_ARENA_GRADIENTS ? CDU_READ : CDU_READ | CDU_WRITE, 0, 0);
    }
    cdu_draft_use(&draft, cdu_lower_patch(l), CDU_READ, 0, 0);
    cdu_draft_param(&draft, vectors);
    cdu_draft_param(&draft, per);
    cdu_draft_define(&draft, "VW", width);
    cdu_draft_groups(&draft, (vectors + per - 1) / per, 1, 1, items, 1, 1);
    draft.flops = 4.0 * (double)count;
    draft.bytes = 20.0 * (double)count;
    return cdu_append(l, &draft, error);
}

cdu_status cdu_sgd_update(cdu_lowering *l, cdu_error *error)
{
    const cdu_device_info *device = cdu_lowering_device(l);
    uint64_t total = cdu_lowering_arena_elements(l, CDU_ARENA_PARAMETERS);
    uint64_t unit = device->binding_align / 4 > 128 ? device->binding_align / 4 : 128;
    uint64_t window = device->largest_binding / 4 / unit * unit;
    if (!window)
        return cdu_fail(error, CDU_NO_DEVICE, "%s binds at most %llu bytes, the weight update needs %llu", device->name,
                        (unsigned long long)device->largest_binding, (unsigned long long)unit * 4);
    for (uint64_t first = 0; first < total; first += window)
        CDU_TRY(update_window(l, first, total - first < window ? total - first : window, error));
    return CDU_OK;
}
