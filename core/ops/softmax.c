/* softmax.c: class probabilities for inference. No gradient: training goes through cross_entropy.c. */
#include "core/ops/common.h"
#include "core/ops/ops.h"

enum { ITEMS = 64, GROUP_LIMIT = 16384, PARTS = 64, CLASS_LIMIT = 16 };

static cdu_status infer(cdu_graph *graph, cdu_node *node, cdu_error *error)
{
    const cdu_value_info *x = cdu_graph_value(graph, node->input[0]);
    if (node->inputs != 1 || x->storage != CDU_F32 || !x->shape.c || x->shape.c > CLASS_LIMIT)
        return cdu_fail(error, CDU_FAILED, "%s: softmax is for 1 to %d classes, not %u", node->name, CLASS_LIMIT, x->shape.c);
    cdu_node_output(graph, node, x->shape, CDU_F32);
    return cdu_graph_status(graph, error);
}

static cdu_status forward(cdu_lowering *l, const cdu_node *node, cdu_error *error)
{
    cdu_tensor tensors[2];
    CDU_TRY(cdu_lower_value(l, node->input[0], &tensors[0], error));
    CDU_TRY(cdu_lower_value(l, node->output[0], &tensors[1], error));
    CDU_TRY(cdu_op_same_lanes(l, node, tensors, 2, error));
    const cdu_layout *x = cdu_tensor_layout(l, tensors[0]), *y = cdu_tensor_layout(l, tensors[1]);
    for (uint32_t n0 = 0, n1 = 0; cdu_next_range(l, tensors, 2, &n0, &n1);) {
        uint64_t pixels = cdu_op_pixels(x, n0, n1);
        cdu_draft draft = cdu_draft_begin("softmax.k", "softmax", node, "forward");
        cdu_draft_use(&draft, tensors[0], CDU_READ, n0, n1);
        cdu_draft_use(&draft, tensors[1], CDU_WRITE, n0, n1);
        uint32_t params[] = {(uint32_t)pixels, x->pitch, x->offset, y->pitch, y->offset, y->lanes};
        for (size_t i = 0; i < sizeof params / sizeof *params; i++) cdu_draft_param(&draft, params[i]);
        cdu_draft_define(&draft, "CLASSES", x->shape.c);
        if (!cdu_op_pixel_vectors(l, &draft, "softmax_wide.k", "softmax_wide", pixels, cdu_op_groups(pixels, ITEMS, PARTS)))
            cdu_draft_groups(&draft, cdu_op_groups(pixels, ITEMS, GROUP_LIMIT), 1, 1, ITEMS, 1, 1);
        draft.bytes = (double)pixels * 4.0 * (x->lanes + y->lanes);
        CDU_TRY(cdu_append(l, &draft, error));
    }
    return CDU_OK;
}

static const cdu_operator softmax = {.name = "softmax", .infer = infer, .forward = forward};

cdu_value cdu_softmax(cdu_graph *graph, const char *name, cdu_value logits)
{
    return cdu_graph_apply(graph, &softmax, name, &logits, 1, NULL);
}
