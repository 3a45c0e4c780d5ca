/* tile_augment.c: tile_input with augmentation: the loader's packed pixels and a table of what to do with each tile, to a float image and a
 * class image. No gradient. What the table says is decided elsewhere (core/train/augment.c). */
#include "core/base/random.h"
#include "core/ops/common.h"
#include "core/ops/ops.h"

enum { ITEMS = 64, GROUP_LIMIT = 16384 };

static cdu_status infer(cdu_graph *graph, cdu_node *node, cdu_error *error)
{
    const cdu_value_info *tile = cdu_graph_value(graph, node->input[0]), *table = cdu_graph_value(graph, node->input[1]);
    if (tile->storage != CDU_U32 || tile->shape.c != 1)
        return cdu_fail(error, CDU_FAILED, "%s: augmentation takes words of shape N, H, W, 1, not %u channels", node->name,
                        tile->shape.c);
    if (table->storage != CDU_U32 || table->shape.n != tile->shape.n || table->shape.h != 1 || table->shape.w != 1 ||
        table->shape.c != CDU_AUGMENT_WORDS)
        return cdu_fail(error, CDU_FAILED, "%s: augmentation takes a table of %u x 1 x 1 x %d words, not %u x %u x %u x %u", node->name,
                        tile->shape.n, (int)CDU_AUGMENT_WORDS, table->shape.n, table->shape.h, table->shape.w, table->shape.c);
    cdu_shape shape = tile->shape, label = tile->shape;
    shape.c = 3;
    cdu_node_output(graph, node, shape, CDU_F32);
    cdu_node_output(graph, node, label, CDU_U32);
    return cdu_graph_status(graph, error);
}

static cdu_status forward(cdu_lowering *l, const cdu_node *node, cdu_error *error)
{
    enum { TILE, IMAGE, LABEL, TABLE };
    cdu_tensor tensors[4];
    CDU_TRY(cdu_lower_value(l, node->input[0], &tensors[TILE], error));
    CDU_TRY(cdu_lower_value(l, node->output[0], &tensors[IMAGE], error));
    CDU_TRY(cdu_lower_value(l, node->output[1], &tensors[LABEL], error));
    CDU_TRY(cdu_lower_value(l, node->input[1], &tensors[TABLE], error));
    const cdu_layout *tile = cdu_tensor_layout(l, tensors[TILE]), *image = cdu_tensor_layout(l, tensors[IMAGE]);
    const cdu_layout *label = cdu_tensor_layout(l, tensors[LABEL]);
    /* the table is bound whole: its rows are shorter than what bindings begin at */
    for (uint32_t n0 = 0, n1 = 0; cdu_next_range(l, tensors, 3, &n0, &n1);) {
        cdu_draft draft = cdu_draft_begin("tile_input.k", "tile_augment", node, "forward");
        cdu_draft_use(&draft, tensors[TILE], CDU_READ, n0, n1);
        cdu_draft_use(&draft, tensors[TABLE], CDU_READ, 0, 0);
        cdu_draft_use(&draft, tensors[IMAGE], CDU_WRITE, n0, n1);
        cdu_draft_use(&draft, tensors[LABEL], CDU_WRITE, n0, n1);
        uint32_t params[] = {n0,           n1 - n0,       tile->shape.h, tile->shape.w, image->pitch,
                             image->offset, image->lanes, label->pitch,  label->offset, tile->pitch,
                             tile->offset, node->attributes.integer[0],  CDU_RANDOM_NOISE};
        for (size_t i = 0; i < sizeof params / sizeof *params; i++) cdu_draft_param(&draft, params[i]);
        uint32_t quads = cdu_ceil_div(tile->shape.w, 4);
        /* On CPUs an item walks a row. On all of PoCL's: 6.0 with LLVM 18, as Debian 13 has it, ends the process at groups of several items here ("Instruction
         * Combining did not reach a fixpoint", pocl's issue 1608). */
        const cdu_device_info *device = cdu_lowering_device(l);
        uint32_t items = cdu_op_wide(device) || device->features & CDU_HAS_ONE_COMPILER ? 1 : ITEMS;
        cdu_draft_groups(&draft, items == 1 ? 1 : cdu_ceil_div(quads, ITEMS), cdu_smaller(tile->shape.h, GROUP_LIMIT),
                         cdu_smaller(n1 - n0, GROUP_LIMIT), items, 1, 1);
        draft.bytes = (double)cdu_op_pixels(tile, n0, n1) * 4.0 * (2 + image->lanes);
        CDU_TRY(cdu_append(l, &draft, error));
    }
    return CDU_OK;
}

static const cdu_operator tile_augment = {.name = "tile_augment", .infer = infer, .forward = forward};

cdu_value cdu_tile_augment(cdu_graph *graph, const char *name, cdu_value tile, cdu_value table, bool bgr, cdu_value *label)
{
    cdu_attributes attributes = {.integer = {bgr}};
    cdu_value image = cdu_graph_apply(graph, &tile_augment, name, (cdu_value[]){tile, table}, 2, &attributes);
    const cdu_value_info *info = image == CDU_NO_VALUE ? NULL : cdu_graph_value(graph, image);
    if (label) *label = info ? cdu_graph_node(graph, (uint32_t)info->node)->output[1] : CDU_NO_VALUE;
    return image;
}
