/* cross_entropy.c: weighted softmax cross entropy over pixels, where training's backward pass starts. Sums are compensated and have
 * a fixed order: items of a group by a tree, then groups. One of several ranks does not know the sum of the weights of all: its
 * gradients are divided by the number of all pixels, and the update sets that right (cdu_sgd_patch). */
#include "core/ops/common.h"
#include "core/ops/ops.h"

enum { ITEMS = 64, GROUP_LIMIT = 16384, PARTS = 64, GPU_ITEMS = 256, GPU_PARTS = 256, PART_WORDS = 5, CLASS_LIMIT = 16, RESULT = 4 };

static cdu_status infer(cdu_graph *graph, cdu_node *node, cdu_error *error)
{
    const cdu_value_info *x = cdu_graph_value(graph, node->input[0]), *label = cdu_graph_value(graph, node->input[1]);
    const cdu_value_info *weight = cdu_graph_value(graph, node->input[2]);
    cdu_shape a = x->shape, b = label->shape, w = weight->shape;
    if (x->storage != CDU_F32 || !a.c || a.c > CLASS_LIMIT)
        return cdu_fail(error, CDU_FAILED, "%s: cross entropy is for 1 to %d classes, not %u", node->name, CLASS_LIMIT, a.c);
    if (label->storage != CDU_U32 || b.c != 1 || b.n != a.n || b.h != a.h || b.w != a.w)
        return cdu_fail(error, CDU_FAILED, "%s: classes of %u x %u x %u pixels in %u channels do not fit logits of %u x %u x %u",
                        node->name, b.n, b.h, b.w, b.c, a.n, a.h, a.w);
    if (weight->storage != CDU_F32 || w.n != 1 || w.h != 1 || w.w != 1 || w.c != a.c)
        return cdu_fail(error, CDU_FAILED, "%s: %u class weights for %u classes", node->name, w.c, a.c);
    cdu_value result = cdu_node_output(graph, node, (cdu_shape){1, 1, 1, RESULT}, CDU_F32);
    if (result != CDU_NO_VALUE) cdu_graph_output(graph, result);
    cdu_node_saved(graph, node, "divisor", 1);
    return cdu_graph_status(graph, error);
}

/* How the pixels of a range are summed: at most so many groups, their items, pixels each. */
typedef struct { uint32_t groups, items, per; } division;

static division divide(const cdu_device_info *device, uint64_t pixels)
{
    bool gpu = device->kind != CDU_CPU;
    uint32_t items = gpu ? GPU_ITEMS : ITEMS, parts = gpu ? GPU_PARTS : PARTS;
    uint64_t per = (pixels + parts - 1) / parts;
    division d = {.items = items, .per = (uint32_t)(per < items ? items : per)};
    d.groups = cdu_op_groups(pixels, d.per, parts);
    return d;
}

static cdu_status forward(cdu_lowering *l, const cdu_node *node, cdu_error *error)
{
    cdu_tensor ranged[2], weight, result, saved, part;
    CDU_TRY(cdu_lower_value(l, node->input[0], &ranged[0], error));
    CDU_TRY(cdu_lower_value(l, node->input[1], &ranged[1], error));
    CDU_TRY(cdu_lower_value(l, node->input[2], &weight, error));
    CDU_TRY(cdu_lower_value(l, node->output[0], &result, error));
    CDU_TRY(cdu_lower_value(l, node->own[0], &saved, error));
    CDU_TRY(cdu_op_same_lanes(l, node, ranged, 1, error));
    cdu_layout x = *cdu_tensor_layout(l, ranged[0]), label = *cdu_tensor_layout(l, ranged[1]);
    const cdu_device_info *device = cdu_lowering_device(l);
    uint32_t parts = 0, done = 0, items = 1;
    for (uint32_t n0 = 0, n1 = 0; cdu_next_range(l, ranged, 2, &n0, &n1);) {
        parts += divide(device, cdu_op_pixels(&x, n0, n1)).groups;
    }
    CDU_TRY(cdu_lower_scratch(l, node->name, (uint64_t)parts * PART_WORDS, &part, error));
    for (uint32_t n0 = 0, n1 = 0; cdu_next_range(l, ranged, 2, &n0, &n1);) {
        uint64_t pixels = cdu_op_pixels(&x, n0, n1);
        division sums = divide(device, pixels);
        cdu_draft draft = cdu_draft_begin("softmax.k", "cross_entropy_sums", node, "forward");
        cdu_draft_use(&draft, ranged[0], CDU_READ, n0, n1);
        cdu_draft_use(&draft, ranged[1], CDU_READ, n0, n1);
        cdu_draft_use(&draft, weight, CDU_READ, 0, 0);
        cdu_draft_use(&draft, part, CDU_WRITE, 0, 0);
        uint32_t params[] = {(uint32_t)pixels, sums.per, done, x.pitch, x.offset, label.pitch, label.offset};
        for (size_t i = 0; i < sizeof params / sizeof *params; i++) cdu_draft_param(&draft, params[i]);
        cdu_draft_define(&draft, "CLASSES", x.shape.c);
        if (!cdu_op_pixel_vectors(l, &draft, "softmax_wide.k", "cross_entropy_sums_wide", pixels, sums.groups))
            cdu_draft_groups(&draft, sums.groups, 1, 1, sums.items, 1, 1);
        draft.bytes = (double)pixels * 4.0 * (x.lanes + 1);
        CDU_TRY(cdu_append(l, &draft, error));
        done += sums.groups;
    }
    cdu_draft draft = cdu_draft_begin("softmax.k", "cross_entropy_total", node, "total");
    cdu_draft_use(&draft, part, CDU_READ, 0, 0);
    cdu_draft_use(&draft, result, CDU_WRITE, 0, 0);
    cdu_draft_use(&draft, saved, CDU_WRITE, 0, 0);
    cdu_draft_param(&draft, parts);
    cdu_draft_param(&draft, cdu_tensor_layout(l, result)->lanes);
    cdu_draft_param(&draft, node->attributes.integer[0] == CDU_MEAN_PIXELS);
    cdu_draft_param_float(&draft, (float)(cdu_lowering_images(l, x.shape.n) * x.shape.h * x.shape.w));
    cdu_draft_param(&draft, cdu_lowering_ranks(l) > 1);
    while (!cdu_op_wide(device) && items < parts && items < GPU_ITEMS) items *= 2;
    cdu_draft_groups(&draft, 1, 1, 1, items, 1, 1);
    return cdu_append(l, &draft, error);
}

static cdu_status backward(cdu_lowering *l, const cdu_node *node, cdu_error *error)
{
    cdu_tensor ranged[3], weight, saved;
    bool add;
    CDU_TRY(cdu_lower_gradient_target(l, node->input[0], &ranged[2], &add, error));
    if (ranged[2] == CDU_NO_TENSOR) return CDU_OK;
    CDU_TRY(cdu_lower_value(l, node->input[0], &ranged[0], error));
    CDU_TRY(cdu_lower_value(l, node->input[1], &ranged[1], error));
    CDU_TRY(cdu_lower_value(l, node->input[2], &weight, error));
    CDU_TRY(cdu_lower_value(l, node->own[0], &saved, error));
    cdu_layout x = *cdu_tensor_layout(l, ranged[0]), label = *cdu_tensor_layout(l, ranged[1]), d = *cdu_tensor_layout(l, ranged[2]);
    for (uint32_t n0 = 0, n1 = 0; cdu_next_range(l, ranged, 3, &n0, &n1);) {
        uint64_t pixels = cdu_op_pixels(&x, n0, n1);
        cdu_draft draft = cdu_draft_begin("softmax.k", "cross_entropy_gradient", node, "backward");
        cdu_draft_use(&draft, ranged[0], CDU_READ, n0, n1);
        cdu_draft_use(&draft, ranged[1], CDU_READ, n0, n1);
        cdu_draft_use(&draft, weight, CDU_READ, 0, 0);
        cdu_draft_use(&draft, saved, CDU_READ, 0, 0);
        cdu_draft_use(&draft, ranged[2], add ? CDU_READ | CDU_WRITE : CDU_WRITE, n0, n1);
        uint32_t params[] = {(uint32_t)pixels, x.pitch, x.offset, label.pitch, label.offset, d.pitch, d.offset, d.lanes};
        for (size_t i = 0; i < sizeof params / sizeof *params; i++) cdu_draft_param(&draft, params[i]);
        cdu_draft_define(&draft, "CLASSES", x.shape.c);
        cdu_draft_define(&draft, "ADD", add);
        if (!cdu_op_pixel_vectors(l, &draft, "softmax_wide.k", "cross_entropy_gradient_wide", pixels, cdu_op_groups(pixels, ITEMS, PARTS)))
            cdu_draft_groups(&draft, cdu_op_groups(pixels, ITEMS, GROUP_LIMIT), 1, 1, ITEMS, 1, 1);
        draft.bytes = (double)pixels * 4.0 * (x.lanes + d.lanes + 1);
        CDU_TRY(cdu_append(l, &draft, error));
    }
    return CDU_OK;
}

static const cdu_operator cross_entropy = {
    .name = "cross_entropy", .loss = true, .infer = infer, .forward = forward, .backward = backward};

cdu_value cdu_cross_entropy(cdu_graph *graph, const char *name, cdu_value logits, cdu_value label, cdu_value class_weight,
                            cdu_loss_mean mean)
{
    cdu_attributes attributes = {.integer = {mean}};
    const cdu_value inputs[3] = {logits, label, class_weight};
    return cdu_graph_apply(graph, &cross_entropy, name, inputs, 3, &attributes);
}
