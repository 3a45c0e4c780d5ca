/* sgd.c: SGD with momentum over the flat arenas, in windows where an arena is larger than one binding. Leaves out weight decay,
 * which the method does not use. */
#include "core/ops/common.h"
#include "core/ops/ops.h"

enum { GPU_ITEMS = 256, GPU_PER_ITEM = 4, WIDE_GROUPS = 64, CHECK_PER_ITEM = 32 };

/* How a window's `count` units are shared out. */
typedef struct { uint32_t items, per, groups; } division;

static division divide(const cdu_device_info *device, uint32_t count, uint32_t per_item)
{
    bool wide = cdu_op_wide(device);
    division d = {.items = wide ? 1 : cdu_smaller(GPU_ITEMS, device->group_items)};
    d.per = wide ? (count + WIDE_GROUPS - 1) / WIDE_GROUPS : d.items * per_item;
    while ((count + d.per - 1) / d.per > device->group_count[0]) d.per *= 2;
    d.groups = (count + d.per - 1) / d.per;
    return d;
}

/* An arena, or a window of it. */
static cdu_status part_of(cdu_lowering *l, cdu_arena arena, uint64_t first, uint64_t count, cdu_tensor *out, cdu_error *error)
{
    *out = cdu_lower_arena(l, arena);
    if (!first && count == cdu_lowering_arena_elements(l, arena)) return CDU_OK;
    return cdu_lower_arena_window(l, arena, first, count, out, error);
}

static cdu_status check_window(cdu_lowering *l, uint64_t first, uint64_t count, cdu_tensor flags, uint32_t first_flag,
                               cdu_error *error)
{
    division d = divide(cdu_lowering_device(l), (uint32_t)count, CHECK_PER_ITEM);
    cdu_draft draft = cdu_draft_begin("sgd.k", "sgd_check", NULL, "update");
    cdu_tensor window;
    CDU_TRY(part_of(l, CDU_ARENA_GRADIENTS, first, count, &window, error));
    cdu_draft_use(&draft, window, CDU_READ, 0, 0);
    cdu_draft_use(&draft, flags, CDU_WRITE, 0, 0);
    cdu_draft_param(&draft, (uint32_t)count);
    cdu_draft_param(&draft, d.per);
    cdu_draft_param(&draft, first_flag);
    cdu_draft_groups(&draft, d.groups, 1, 1, d.items, 1, 1);
    draft.bytes = 4.0 * (double)count;
    return cdu_append(l, &draft, error);
}

static cdu_status update_window(cdu_lowering *l, uint64_t first, uint64_t count, cdu_error *error)
{
    static const cdu_arena arenas[3] = {CDU_ARENA_PARAMETERS, CDU_ARENA_GRADIENTS, CDU_ARENA_MOMENTUM};
    const cdu_device_info *device = cdu_lowering_device(l);
    uint32_t width = !cdu_op_wide(device) ? 4 : device->vector_width >= 16 ? 16 : 8;   /* arenas are multiples of 128 floats */
    uint32_t vectors = (uint32_t)(count / width);
    division d = divide(device, vectors, GPU_PER_ITEM);
    cdu_draft draft = cdu_draft_begin("sgd.k", "sgd_update", NULL, "update");
    cdu_tensor verdict;
    for (int a = 0; a < 3; a++) {
        cdu_tensor window;
        CDU_TRY(part_of(l, arenas[a], first, count, &window, error));
        cdu_draft_use(&draft, window, arenas[a] == CDU_ARENA_GRADIENTS ? CDU_READ : CDU_READ | CDU_WRITE, 0, 0);
    }
    CDU_TRY(cdu_lower_verdict(l, &verdict, error));
    cdu_draft_use(&draft, cdu_lower_patch(l), CDU_READ, 0, 0);
    cdu_draft_use(&draft, verdict, CDU_READ, 0, 0);
    cdu_draft_param(&draft, vectors);
    cdu_draft_param(&draft, d.per);
    cdu_draft_define(&draft, "VW", width);
    if (cdu_lowering_ranks(l) > 1) cdu_draft_define(&draft, "SEVERAL", 1);
    cdu_draft_groups(&draft, d.groups, 1, 1, d.items, 1, 1);
    draft.flops = 4.0 * (double)count;
    draft.bytes = 20.0 * (double)count;
    return cdu_append(l, &draft, error);
}

/* All flags to one word, which the host reads too. */
static cdu_status join_flags(cdu_lowering *l, cdu_tensor flags, uint32_t count, cdu_error *error)
{
    cdu_draft draft = cdu_draft_begin("sgd.k", "sgd_verdict", NULL, "update");
    cdu_tensor verdict;
    CDU_TRY(cdu_lower_verdict(l, &verdict, error));
    cdu_draft_use(&draft, flags, CDU_READ, 0, 0);
    cdu_draft_use(&draft, verdict, CDU_WRITE, 0, 0);
    cdu_draft_param(&draft, count);
    cdu_draft_groups(&draft, 1, 1, 1, divide(cdu_lowering_device(l), 1, 1).items, 1, 1);
    return cdu_append(l, &draft, error);
}

cdu_status cdu_sgd_update(cdu_lowering *l, cdu_error *error)
{
    const cdu_device_info *device = cdu_lowering_device(l);
    uint64_t total = cdu_lowering_arena_elements(l, CDU_ARENA_PARAMETERS);
    uint64_t unit = device->binding_align / 4 > 128 ? device->binding_align / 4 : 128;
    uint64_t window = device->largest_binding / 4 / unit * unit;
    uint32_t count = 0, flag = 0;
    cdu_tensor flags;
    if (!window)
        return cdu_fail(error, CDU_NO_DEVICE, "%s binds at most %llu bytes, the weight update needs %llu", device->name,
                        (unsigned long long)device->largest_binding, (unsigned long long)unit * 4);
    if (!total) return CDU_OK;
#define EACH_WINDOW(first, size) \
    for (uint64_t first = 0, size; size = total - first < window ? total - first : window, first < total; first += window)
    EACH_WINDOW(first, size) count += divide(device, (uint32_t)size, CHECK_PER_ITEM).groups;
    CDU_TRY(cdu_lower_scratch(l, "finite", count, &flags, error));
    EACH_WINDOW(first, size) {
        CDU_TRY(check_window(l, first, size, flags, flag, error));
        flag += divide(device, (uint32_t)size, CHECK_PER_ITEM).groups;
    }
    CDU_TRY(join_flags(l, flags, count, error));
    EACH_WINDOW(first, size) CDU_TRY(update_window(l, first, size, error));
    return CDU_OK;
}
