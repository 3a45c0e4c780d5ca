/* conv.c: convolution 3x3 and 1x1, stride 1, zero padding, with bias; in inference with ReLU and an affine map behind it. */
#include "core/ops/conv_variant.h"

enum { KERNEL, FILTERS, EPILOGUE };             /* attributes.integer */
enum { WEIGHT, BIAS, SCALE, SHIFT };            /* own */

static cdu_status infer(cdu_graph *graph, cdu_node *node, cdu_error *error)
{
    const cdu_value_info *x = cdu_graph_value(graph, node->input[0]);
    uint32_t kernel = node->attributes.integer[KERNEL], filters = node->attributes.integer[FILTERS];
    cdu_shape shape = x->shape;
    if (kernel != 1 && kernel != 3)
        return cdu_fail(error, CDU_FAILED, "%s: a convolution's kernel is 1 or 3, not %u", node->name, kernel);
    if (!filters || x->storage != CDU_F32)
        return cdu_fail(error, CDU_FAILED, "%s: a convolution needs a float input and at least 1 filter, not %u", node->name, filters);
    uint32_t dims[4] = {filters, shape.c, kernel, kernel};
    if (cdu_node_parameter(graph, node, "weight", dims, 4, CDU_INIT_HE, shape.c * kernel * kernel) == CDU_NO_VALUE ||
        cdu_node_parameter(graph, node, "bias", dims, 1, CDU_INIT_ZERO, 0) == CDU_NO_VALUE)
        return cdu_graph_status(graph, error);
    if (node->attributes.integer[EPILOGUE] == CDU_EPILOGUE_RELU_AFFINE &&
        (cdu_node_state(graph, node, "scale", filters, CDU_INIT_ONE) == CDU_NO_VALUE ||
         cdu_node_state(graph, node, "shift", filters, CDU_INIT_ZERO) == CDU_NO_VALUE))
        return cdu_graph_status(graph, error);
    shape.c = filters;
    return cdu_node_output(graph, node, shape, CDU_F32) == CDU_NO_VALUE ? cdu_graph_status(graph, error) : CDU_OK;
}

/* The window as the forward pass reads it: weight (O, I, k, k). */
static cdu_conv_window window_of(const cdu_lowering *l, const cdu_node *node)
{
    uint32_t kernel = node->attributes.integer[KERNEL], c = cdu_graph_value(cdu_lowering_graph(l), node->input[0])->shape.c;
    return (cdu_conv_window){.side = kernel, .stride = 1, .pad = kernel / 2, .parities = 1, .in_step = kernel * kernel,
                             .out_step = (uint64_t)c * kernel * kernel};
}

static cdu_status forward(cdu_lowering *l, const cdu_node *node, cdu_error *error)
{
    cdu_conv_sum sum = {.window = window_of(l, node), .scale = CDU_NO_TENSOR, .shift = CDU_NO_TENSOR,
                        .epilogue = (cdu_epilogue)node->attributes.integer[EPILOGUE]};
    CDU_TRY(cdu_lower_normalized(l, node->input[0], &sum.norm, error));
    sum.x = sum.norm.x;
    sum.moments_of = cdu_lower_moments_wanted(l, node->output[0], &sum.moments_of_relu) ? node->output[0] : CDU_NO_VALUE;
    CDU_TRY(cdu_lower_value(l, node->output[0], &sum.y, error));
    CDU_TRY(cdu_lower_value(l, node->own[WEIGHT], &sum.weight, error));
    CDU_TRY(cdu_lower_value(l, node->own[BIAS], &sum.bias, error));
    if (sum.epilogue == CDU_EPILOGUE_RELU_AFFINE) {
        CDU_TRY(cdu_lower_value(l, node->own[SCALE], &sum.scale, error));
        CDU_TRY(cdu_lower_value(l, node->own[SHIFT], &sum.shift, error));
    }
    return cdu_conv_append_sum(l, node, "forward", &sum, error);
}

static cdu_status backward(cdu_lowering *l, const cdu_node *node, cdu_error *error)
{
    if (node->attributes.integer[EPILOGUE] != CDU_EPILOGUE_NONE)
        return cdu_fail(error, CDU_FAILED, "%s: a convolution with an epilogue has no gradient", node->name);
    cdu_conv_window window = window_of(l, node), turned = window;
    cdu_conv_gradient gradient = {.window = window};
    CDU_TRY(cdu_lower_gradient(l, node->output[0], &gradient.d, error));
    CDU_TRY(cdu_lower_gradient_target(l, node->own[WEIGHT], &gradient.weight, &gradient.add_weight, error));
    CDU_TRY(cdu_lower_gradient_target(l, node->own[BIAS], &gradient.bias, &gradient.add_bias, error));
    if (gradient.weight != CDU_NO_TENSOR && gradient.bias != CDU_NO_TENSOR) {
        CDU_TRY(cdu_lower_normalized(l, node->input[0], &gradient.norm, error));
        gradient.x = gradient.norm.x;
        CDU_TRY(cdu_conv_append_gradient(l, node, &gradient, error));
    }
    turned.in_step = window.out_step;
    turned.out_step = window.in_step;
    turned.rotated = true;
    cdu_conv_sum sum = {.window = turned, .x = gradient.d, .bias = CDU_NO_TENSOR, .scale = CDU_NO_TENSOR, .shift = CDU_NO_TENSOR,
                        .norm.saved = CDU_NO_TENSOR, .moments_of = CDU_NO_VALUE};
    CDU_TRY(cdu_lower_gradient_target(l, node->input[0], &sum.y, &sum.accumulate, error));
    if (sum.y == CDU_NO_TENSOR) return CDU_OK;
    CDU_TRY(cdu_lower_value(l, node->own[WEIGHT], &sum.weight, error));
    return cdu_conv_append_sum(l, node, "data gradient", &sum, error);
}

static bool normalizes(const cdu_lowering *l, const cdu_node *node, cdu_value value)
{
    cdu_layout x = cdu_lower_layout(l, value), y = cdu_lower_layout(l, node->output[0]);
    cdu_conv_problem problem = {.side = node->attributes.integer[KERNEL], .stride = 1, .parities = 1, .n = y.shape.n, .h = y.shape.h,
                                .w = y.shape.w, .in_lanes = x.lanes, .out_lanes = y.lanes};
    for (problem.pass = CDU_CONV_SUM; problem.pass <= CDU_CONV_GRADIENT; problem.pass++)
        if (!cdu_conv_normalizes(l, &problem)) return false;
    return true;
}

static const cdu_operator conv = {.name = "conv", .infer = infer, .forward = forward, .backward = backward, .normalizes = normalizes};

cdu_value cdu_conv(cdu_graph *graph, const char *name, cdu_value x, uint32_t kernel, uint32_t filters, cdu_epilogue epilogue)
{
    cdu_attributes attributes = {.integer = {[KERNEL] = kernel, [FILTERS] = filters, [EPILOGUE] = epilogue}};
    return cdu_graph_apply(graph, &conv, name, &x, 1, &attributes);
}
