/* conv_transposed.c: transposed convolution 2x2, stride 2, with bias: each pixel of x becomes 2x2 pixels of y. It is the data gradient
 * of a 2x2 convolution of stride 2 from y to x, and lowered so. */
#include "core/ops/conv_variant.h"

enum { FILTERS };                               /* attributes.integer */
enum { WEIGHT, BIAS };                          /* own */

static cdu_status infer(cdu_graph *graph, cdu_node *node, cdu_error *error)
{
    const cdu_value_info *x = cdu_graph_value(graph, node->input[0]);
    uint32_t filters = node->attributes.integer[FILTERS];
    cdu_shape shape = x->shape;
    if (!filters || x->storage != CDU_F32)
        return cdu_fail(error, CDU_FAILED, "%s: a transposed convolution needs a float input and at least 1 filter, not %u", node->name,
                        filters);
    uint32_t dims[4] = {shape.c, filters, 2, 2}, bias_dims[1] = {filters};
    /* every output pixel is a sum over the input channels alone */
    if (cdu_node_parameter(graph, node, "weight", dims, 4, CDU_INIT_HE, shape.c) == CDU_NO_VALUE ||
        cdu_node_parameter(graph, node, "bias", bias_dims, 1, CDU_INIT_ZERO, 0) == CDU_NO_VALUE)
        return cdu_graph_status(graph, error);
    shape.h *= 2;
    shape.w *= 2;
    shape.c = filters;
    return cdu_node_output(graph, node, shape, CDU_F32) == CDU_NO_VALUE ? cdu_graph_status(graph, error) : CDU_OK;
}

static cdu_status forward(cdu_lowering *l, const cdu_node *node, cdu_error *error)
{
    cdu_conv_sum sum = {.scale = CDU_NO_TENSOR, .shift = CDU_NO_TENSOR, .norm.saved = CDU_NO_TENSOR, .moments_of = CDU_NO_VALUE};
    uint32_t filters = node->attributes.integer[FILTERS];
    sum.window = (cdu_conv_window){.side = 1, .stride = 1, .parities = 4, .in_step = 4ull * filters, .out_step = 4};
    CDU_TRY(cdu_lower_normalized(l, node->input[0], &sum.norm, error));
    sum.x = sum.norm.x;
    CDU_TRY(cdu_lower_value(l, node->output[0], &sum.y, error));
    CDU_TRY(cdu_lower_value(l, node->own[WEIGHT], &sum.weight, error));
    CDU_TRY(cdu_lower_value(l, node->own[BIAS], &sum.bias, error));
    return cdu_conv_append_sum(l, node, "forward", &sum, error);
}

static cdu_status backward(cdu_lowering *l, const cdu_node *node, cdu_error *error)
{
    uint32_t filters = node->attributes.integer[FILTERS];
    cdu_conv_window window = {.side = 2, .stride = 2, .parities = 1, .in_step = 4, .out_step = 4ull * filters};
    cdu_conv_gradient gradient = {.window = window, .bias_of_x = true, .norm_of_d = true, .norm.saved = CDU_NO_TENSOR};
    CDU_TRY(cdu_lower_gradient(l, node->output[0], &gradient.x, error));
    CDU_TRY(cdu_lower_gradient_target(l, node->own[WEIGHT], &gradient.weight, &gradient.add_weight, error));
    CDU_TRY(cdu_lower_gradient_target(l, node->own[BIAS], &gradient.bias, &gradient.add_bias, error));
    if (gradient.weight != CDU_NO_TENSOR && gradient.bias != CDU_NO_TENSOR) {
        CDU_TRY(cdu_lower_normalized(l, node->input[0], &gradient.norm, error));
        gradient.d = gradient.norm.x;
        CDU_TRY(cdu_conv_append_gradient(l, node, &gradient, error));
    }
    cdu_conv_sum sum = {.window = window, .x = gradient.x, .bias = CDU_NO_TENSOR, .scale = CDU_NO_TENSOR, .shift = CDU_NO_TENSOR,
                        .norm.saved = CDU_NO_TENSOR, .moments_of = CDU_NO_VALUE};
    CDU_TRY(cdu_lower_gradient_target(l, node->input[0], &sum.y, &sum.accumulate, error));
    if (sum.y == CDU_NO_TENSOR) return CDU_OK;
    CDU_TRY(cdu_lower_value(l, node->own[WEIGHT], &sum.weight, error));
    return cdu_conv_append_sum(l, node, "data gradient", &sum, error);
}

static bool normalizes(const cdu_lowering *l, const cdu_node *node, cdu_value value)
{
    cdu_layout x = cdu_lower_layout(l, value), y = cdu_lower_layout(l, node->output[0]);
    cdu_conv_problem sum = {.pass = CDU_CONV_SUM, .side = 1, .stride = 1, .parities = 4, .n = x.shape.n, .h = x.shape.h, .w = x.shape.w,
                            .in_lanes = x.lanes, .out_lanes = y.lanes};
    cdu_conv_problem gradient = {.pass = CDU_CONV_GRADIENT, .side = 2, .stride = 2, .parities = 1, .n = x.shape.n, .h = x.shape.h,
                                 .w = x.shape.w, .in_lanes = y.lanes, .out_lanes = x.lanes};
    return cdu_conv_normalizes(l, &sum) && cdu_conv_normalizes(l, &gradient);
}

static const cdu_operator conv_transposed = {.name = "conv_transposed", .infer = infer, .forward = forward, .backward = backward,
                                             .normalizes = normalizes};

cdu_value cdu_conv_transposed(cdu_graph *graph, const char *name, cdu_value x, uint32_t filters)
{
    cdu_attributes attributes = {.integer = {[FILTERS] = filters}};
    return cdu_graph_apply(graph, &conv_transposed, name, &x, 1, &attributes);
}
