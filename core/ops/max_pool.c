/* max_pool.c: 2x2 maximum with stride 2. The backward pass reads the input again: no index is stored. */
#include "core/ops/common.h"
#include "core/ops/ops.h"

static cdu_status infer(cdu_graph *graph, cdu_node *node, cdu_error *error)
{
    const cdu_value_info *x = cdu_graph_value(graph, node->input[0]);
    cdu_shape shape = x->shape;
    if (node->inputs != 1 || x->storage != CDU_F32 || shape.h < 2 || shape.w < 2)
        return cdu_fail(error, CDU_FAILED, "%s: 2x2 pooling of %u x %u pixels has no output; at least 2 x 2 are needed", node->name,
                        shape.h, shape.w);
    shape.h /= 2;
    shape.w /= 2;
    cdu_node_output(graph, node, shape, CDU_F32);
    return cdu_graph_status(graph, error);
}

typedef struct { cdu_tensor x, y, dx; bool add; } pooling;

/* Forward with dx = CDU_NO_TENSOR, else backward (y: its gradient). */
static cdu_status append(cdu_lowering *l, const cdu_node *node, const pooling *p, cdu_error *error)
{
    cdu_tensor tensors[3] = {p->x, p->y, p->dx};
    bool backward = p->dx != CDU_NO_TENSOR;
    CDU_TRY(cdu_op_same_lanes(l, node, tensors, 3, error));
    const cdu_layout *x = cdu_tensor_layout(l, p->x), *y = cdu_tensor_layout(l, p->y);
    const cdu_layout *dx = cdu_tensor_layout(l, backward ? p->dx : p->x);
    const cdu_device_info *device = cdu_lowering_device(l);
    uint32_t width = cdu_op_width(l, tensors, 3);
    cdu_op_division d = cdu_op_divide(l, p->x, width, x->shape.w, 1, false);
    /* backward also visits the windows that an odd edge cuts, to write their zeros */
    uint32_t rows_each = backward ? (x->shape.h + 1) / 2 : y->shape.h, columns = backward ? (x->shape.w + 1) / 2 : y->shape.w;
    for (uint32_t n0 = 0, n1 = 0; cdu_next_range(l, tensors, 3, &n0, &n1);) {
        uint32_t rows = (n1 - n0) * rows_each;
        cdu_draft draft =
            cdu_draft_begin("max_pool.k", backward ? "max_pool_gradient" : "max_pool", node, backward ? "backward" : "forward");
        cdu_draft_use(&draft, p->x, CDU_READ, n0, n1);
        cdu_draft_use(&draft, p->y, backward ? CDU_READ : CDU_WRITE, n0, n1);
        if (backward) cdu_draft_use(&draft, p->dx, p->add ? CDU_READ | CDU_WRITE : CDU_WRITE, n0, n1);
        uint32_t params[] = {d.vectors, x->shape.h, x->shape.w, rows_each, columns, rows, x->pitch / width, x->offset / width,
                             y->pitch / width, y->offset / width, dx->pitch / width, dx->offset / width};
        for (size_t i = 0; i < sizeof params / sizeof *params; i++) cdu_draft_param(&draft, params[i]);
        cdu_draft_define(&draft, "VW", width);
        if (backward) cdu_draft_define(&draft, "ADD", p->add);
        if (!backward || !p->add) cdu_op_stream(l, &draft, backward ? p->dx : p->y, width);
        uint32_t limit = device->group_count[2] < 65535 ? device->group_count[2] : 65535;
        cdu_draft_groups(&draft, d.columns, cdu_op_wide(device) ? 1 : (columns + d.size[1] - 1) / d.size[1],
                         rows < limit ? rows : limit, d.size[0], d.size[1], 1);
        draft.bytes = (double)cdu_op_pixels(x, n0, n1) * x->lanes * 4.0 * (backward ? 2.25 : 1.25);
        CDU_TRY(cdu_append(l, &draft, error));
    }
    return CDU_OK;
}

static cdu_status forward(cdu_lowering *l, const cdu_node *node, cdu_error *error)
{
    pooling p = {.dx = CDU_NO_TENSOR};
    CDU_TRY(cdu_lower_value(l, node->input[0], &p.x, error));
    CDU_TRY(cdu_lower_value(l, node->output[0], &p.y, error));
    return append(l, node, &p, error);
}

static cdu_status backward(cdu_lowering *l, const cdu_node *node, cdu_error *error)
{
    pooling p;
    CDU_TRY(cdu_lower_gradient_target(l, node->input[0], &p.dx, &p.add, error));
    if (p.dx == CDU_NO_TENSOR) return CDU_OK;
    CDU_TRY(cdu_lower_value(l, node->input[0], &p.x, error));
    CDU_TRY(cdu_lower_gradient(l, node->output[0], &p.y, error));
    return append(l, node, &p, error);
}

static const cdu_operator max_pool = {.name = "max_pool", .infer = infer, .forward = forward, .backward = backward};

cdu_value cdu_max_pool(cdu_graph *graph, const char *name, cdu_value x)
{
    return cdu_graph_apply(graph, &max_pool, name, &x, 1, NULL);
}
