/* tile_input.c: the loader's packed pixels to a float image and a class image. No gradient. */
#include "core/ops/common.h"
#include "core/ops/ops.h"

enum { ITEMS = 64, GROUP_LIMIT = 16384 };

static cdu_status infer(cdu_graph *graph, cdu_node *node, cdu_error *error)
{
    const cdu_value_info *tile = cdu_graph_value(graph, node->input[0]);
    if (node->inputs != 1 || tile->storage != CDU_U32 || tile->shape.c != 1)
        return cdu_fail(error, CDU_FAILED, "%s: tile input takes words of shape N, H, W, 1, not %u channels", node->name,
                        tile->shape.c);
    cdu_shape shape = tile->shape;
    shape.c = 3;
    cdu_node_output(graph, node, shape, CDU_F32);
    cdu_node_output(graph, node, tile->shape, CDU_U32);
    return cdu_graph_status(graph, error);
}

static cdu_status forward(cdu_lowering *l, const cdu_node *node, cdu_error *error)
{
    cdu_tensor tensors[3];
    CDU_TRY(cdu_lower_value(l, node->input[0], &tensors[0], error));
    CDU_TRY(cdu_lower_value(l, node->output[0], &tensors[1], error));
    CDU_TRY(cdu_lower_value(l, node->output[1], &tensors[2], error));
    const cdu_layout *tile = cdu_tensor_layout(l, tensors[0]), *image = cdu_tensor_layout(l, tensors[1]);
    const cdu_layout *label = cdu_tensor_layout(l, tensors[2]);
    for (uint32_t n0 = 0, n1 = 0; cdu_next_range(l, tensors, 3, &n0, &n1);) {
        uint64_t pixels = cdu_op_pixels(tile, n0, n1);
        cdu_draft draft = cdu_draft_begin("tile_input.k", "tile_input", node, "forward");
        cdu_draft_use(&draft, tensors[0], CDU_READ, n0, n1);
        cdu_draft_use(&draft, tensors[1], CDU_WRITE, n0, n1);
        cdu_draft_use(&draft, tensors[2], CDU_WRITE, n0, n1);
        uint32_t params[] = {(uint32_t)pixels, image->pitch, image->offset, image->lanes, label->pitch, label->offset,
                             tile->pitch, tile->offset, node->attributes.integer[0]};
        for (size_t i = 0; i < sizeof params / sizeof *params; i++) cdu_draft_param(&draft, params[i]);
        cdu_draft_groups(&draft, cdu_op_groups(pixels, ITEMS, GROUP_LIMIT), 1, 1, ITEMS, 1, 1);
        draft.bytes = (double)pixels * 4.0 * (2 + image->lanes);
        CDU_TRY(cdu_append(l, &draft, error));
    }
    return CDU_OK;
}

static const cdu_operator tile_input = {.name = "tile_input", .infer = infer, .forward = forward};

cdu_value cdu_tile_input(cdu_graph *graph, const char *name, cdu_value tile, bool bgr, cdu_value *label)
{
    cdu_attributes attributes = {.integer = {bgr}};
    cdu_value image = cdu_graph_apply(graph, &tile_input, name, &tile, 1, &attributes);
    const cdu_value_info *info = image == CDU_NO_VALUE ? NULL : cdu_graph_value(graph, image);
    if (label) *label = info ? cdu_graph_node(graph, (uint32_t)info->node)->output[1] : CDU_NO_VALUE;
    return image;
}
