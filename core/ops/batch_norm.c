/* batch_norm.c: batch normalization with the batch's statistics, ReLU fused. Forward: parts of the statistics over fixed ranges of
 * pixels, their join (which also updates the running statistics), apply. Only apply is lowered again in the backward pass, from the
 * saved statistics. Inference folds batch norm into the convolution, so running statistics are never read here. */
#include "core/base/debug.h"
#include "core/ops/common.h"
#include "core/ops/ops.h"

enum { WEIGHT, BIAS, RUNNING_MEAN, RUNNING_VAR, SAVED };    /* own values, in order of declaration */
enum { FORWARD_ROWS = 5, BACKWARD_ROWS = 4, SAVED_ROWS = 4, MEANS_ROWS = 2 };
enum { JOIN_LANES = 64, NARROW_LANES = 8, NARROW_ITEMS = 32, PARTS_AN_ITEM = 4 };

static uint32_t relu_define(const cdu_node *node)
{
    return node->attributes.integer[0] == CDU_RELU_BATCH_NORM ? 1 : node->attributes.integer[0] == CDU_BATCH_NORM_RELU ? 2 : 0;
}

/* Lanes of a row of saved values: no device gives a tensor of c channels more lanes. */
static uint32_t row_lanes(uint32_t c)
{
    return (c + 15) / 16 * 16;
}

static cdu_status infer(cdu_graph *graph, cdu_node *node, cdu_error *error)
{
    const cdu_value_info *x = cdu_graph_value(graph, node->input[0]);
    cdu_shape shape = x->shape;
    if (node->inputs != 1 || x->storage != CDU_F32)
        return cdu_fail(error, CDU_FAILED, "%s: batch norm takes one float tensor", node->name);
    if ((uint64_t)shape.n * shape.h * shape.w < 2)
        return cdu_fail(error, CDU_FAILED, "%s: batch norm needs more than one value per channel; the input is %u x %u x %u pixels",
                        node->name, shape.n, shape.h, shape.w);
    cdu_node_output(graph, node, shape, CDU_F32);
    cdu_node_parameter(graph, node, "weight", &shape.c, 1, CDU_INIT_ONE, 0);
    cdu_node_parameter(graph, node, "bias", &shape.c, 1, CDU_INIT_ZERO, 0);
    cdu_node_state(graph, node, "running_mean", shape.c, CDU_INIT_ZERO);
    cdu_node_state(graph, node, "running_var", shape.c, CDU_INIT_ONE);
    cdu_node_saved(graph, node, "saved", SAVED_ROWS * row_lanes(shape.c));
    return cdu_graph_status(graph, error);
}

static void params(cdu_draft *draft, const uint32_t *words, size_t count)
{
    for (size_t i = 0; i < count; i++) cdu_draft_param(draft, words[i]);
}
/* Items of a step that joins parts: an item a lane; where items are plenty, several that share the parts of a lane. */
static void join_groups(cdu_draft *draft, const cdu_device_info *device, uint32_t lanes, uint32_t parts)
{
    uint32_t across = cdu_op_wide(device) ? JOIN_LANES : NARROW_LANES, down = 1;
    while (!cdu_op_wide(device) && down < NARROW_ITEMS && parts > PARTS_AN_ITEM * down) down *= 2;
    cdu_draft_groups(draft, cdu_op_groups(lanes, across, UINT32_MAX), 1, 1, across, down, 1);
}

#define PARAMS(draft, ...)                                                                                                         \
    params((draft), (const uint32_t[]){__VA_ARGS__}, sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t))

/* What x is for the steps: with no-fusion ReLU first, y holds relu(x) and is normalized in place. */
typedef struct { cdu_tensor x, y, saved; uint32_t relu; bool in_place; } normalization;

/* One of several ranks whose statistics are those of all: *part becomes a row of moments of each. */
static cdu_status append_exchange(cdu_lowering *l, const cdu_node *node, const cdu_layout *x, cdu_tensor *part, uint32_t *parts,
                                  cdu_error *error)
{
    cdu_tensor mine;
    CDU_TRY(cdu_lower_gather(l, node->name, FORWARD_ROWS, x->shape.c, x->lanes, &mine, error));
    cdu_draft draft = cdu_draft_begin("batch_norm.k", "batch_norm_join", node, "statistics of this rank");
    cdu_draft_use(&draft, *part, CDU_READ, 0, 0);
    cdu_draft_use(&draft, mine, CDU_WRITE, 0, 0);
    PARAMS(&draft, *parts, x->lanes);
    cdu_draft_define(&draft, "RELU", 0);
    join_groups(&draft, cdu_lowering_device(l), x->lanes, *parts);
    CDU_TRY(cdu_append(l, &draft, error));
    *parts = cdu_lowering_ranks(l);
    return cdu_lower_gathered(l, mine, part, error);
}

/* From `parts` rows of moments. */
static cdu_status append_joined(cdu_lowering *l, const cdu_node *node, const normalization *b, cdu_tensor part, uint32_t parts, cdu_error *error)
{
    cdu_layout x = *cdu_tensor_layout(l, b->x);
    cdu_tensor own[4];
    if (cdu_lowering_synchronized(l)) CDU_TRY(append_exchange(l, node, &x, &part, &parts, error));
    cdu_draft draft = cdu_draft_begin("batch_norm.k", "batch_norm_finish", node, "statistics joined");
    cdu_draft_use(&draft, part, CDU_READ, 0, 0);
    for (int i = 0; i < 4; i++) {
        CDU_TRY(cdu_lower_value(l, node->own[i], &own[i], error));
        cdu_draft_use(&draft, own[i], i < RUNNING_MEAN ? CDU_READ : CDU_READ | CDU_WRITE, 0, 0);
    }
    cdu_draft_use(&draft, b->saved, CDU_WRITE, 0, 0);
    PARAMS(&draft, parts, x.lanes, x.shape.c, row_lanes(x.shape.c));
    cdu_draft_param_float(&draft, node->attributes.real[0]);
    cdu_draft_param_float(&draft, node->attributes.real[1]);
    cdu_draft_define(&draft, "RELU", 0);
    join_groups(&draft, cdu_lowering_device(l), row_lanes(x.shape.c), parts);
    return cdu_append(l, &draft, error);
}

static cdu_status append_statistics(cdu_lowering *l, const cdu_node *node, const normalization *b, cdu_error *error)
{
    cdu_layout x = *cdu_tensor_layout(l, b->x);
    uint32_t width = cdu_op_width(l, &b->x, 1), parts, done = 0;
    cdu_tensor part;
    cdu_lower_moments(l, node->input[0], &part, &parts);
    if (part != CDU_NO_TENSOR) return append_joined(l, node, b, part, parts, error);
    for (uint32_t n0 = 0, n1 = 0; cdu_next_range(l, &b->x, 1, &n0, &n1);)
        parts += cdu_op_divide(l, b->x, width, cdu_op_pixels(&x, n0, n1), 1, true).groups;
    CDU_TRY(cdu_lower_scratch(l, node->name, (uint64_t)parts * FORWARD_ROWS * x.lanes, &part, error));
    for (uint32_t n0 = 0, n1 = 0; cdu_next_range(l, &b->x, 1, &n0, &n1);) {
        uint64_t pixels = cdu_op_pixels(&x, n0, n1);
        cdu_op_division d = cdu_op_divide(l, b->x, width, pixels, 1, true);
        cdu_draft draft = cdu_draft_begin("batch_norm.k", "batch_norm_statistics", node, "statistics");
        cdu_draft_use(&draft, b->x, CDU_READ, n0, n1);
        cdu_draft_use(&draft, part, CDU_READ | CDU_WRITE, 0, 0);
        PARAMS(&draft, (uint32_t)pixels, d.per, d.tile, d.vectors, x.pitch / width, x.offset / width, done);
        cdu_draft_define(&draft, "RELU", b->relu);
        cdu_op_division_apply(&d, &draft);
        draft.bytes = (double)pixels * x.lanes * 4;
        CDU_TRY(cdu_append(l, &draft, error));
        done += d.groups;
    }
    return append_joined(l, node, b, part, parts, error);
}

/* kernel: batch_norm_apply, or batch_norm_relu alone. */
static cdu_status append_apply(cdu_lowering *l, const cdu_node *node, const normalization *b, const char *kernel, const char *pass,
                               cdu_error *error)
{
    cdu_tensor tensors[2] = {b->y, b->x};
    cdu_layout x = *cdu_tensor_layout(l, b->x), y = *cdu_tensor_layout(l, b->y);
    uint32_t width = cdu_op_width(l, tensors, 2);
    bool normalizes = kernel[sizeof "batch_norm_" - 1] == 'a';
    for (uint32_t n0 = 0, n1 = 0; cdu_next_range(l, tensors, 2, &n0, &n1);) {
        uint64_t pixels = cdu_op_pixels(&x, n0, n1);
        cdu_op_division d = cdu_op_divide(l, b->x, width, pixels, 2, false);
        cdu_op_division_spread(l, &d, pixels);
        cdu_draft draft = cdu_draft_begin("batch_norm.k", kernel, node, pass);
        if (normalizes) cdu_draft_use(&draft, b->saved, CDU_READ, 0, 0);
        cdu_draft_use(&draft, b->y, b->in_place ? CDU_READ | CDU_WRITE : CDU_WRITE, n0, n1);
        if (!b->in_place) cdu_draft_use(&draft, b->x, CDU_READ, n0, n1);
        PARAMS(&draft, (uint32_t)pixels, d.per, d.vectors, row_lanes(x.shape.c) / width, x.pitch / width, x.offset / width,
               y.pitch / width, y.offset / width, 0, 0);
        cdu_draft_define(&draft, "RELU", b->relu);
        cdu_draft_define(&draft, "IN_PLACE", b->in_place);
        if (!b->in_place) cdu_op_stream(l, &draft, b->y, width);
        cdu_op_division_apply(&d, &draft);
        draft.bytes = (double)pixels * x.lanes * 8;
        CDU_TRY(cdu_append(l, &draft, error));
    }
    return CDU_OK;
}

static cdu_status forward(cdu_lowering *l, const cdu_node *node, cdu_error *error)
{
    normalization b = {.relu = relu_define(node)};
    cdu_tensor x;
    CDU_TRY(cdu_lower_value(l, node->input[0], &x, error));
    CDU_TRY(cdu_lower_value(l, node->own[SAVED], &b.saved, error));
    if (!cdu_lowering_again(l) && cdu_lower_defer(l, node->output[0], node->input[0], node->own[SAVED],
                                                  row_lanes(cdu_tensor_layout(l, x)->shape.c), (cdu_relu_place)relu_define(node))) {
        b.x = x;
        CDU_TRY(cdu_op_same_lanes(l, node, &x, 1, error));
        return append_statistics(l, node, &b, error);
    }
    CDU_TRY(cdu_lower_value(l, node->output[0], &b.y, error));
    CDU_TRY(cdu_op_same_lanes(l, node, (const cdu_tensor[]){x, b.y}, 2, error));
    b.x = x;
    normalization relu = b;
    bool apart = b.relu && cdu_debug(CDU_DEBUG_NO_FUSION);
    if (apart) {
        b.in_place = b.relu == 1;
        relu.in_place = b.relu == 2;
        b.x = b.in_place ? b.y : x;
        relu.x = relu.in_place ? b.y : x;
        if (relu.relu == 1) CDU_TRY(append_apply(l, node, &relu, "batch_norm_relu", "relu", error));
        b.relu = 0;
    }
    if (!cdu_lowering_again(l)) CDU_TRY(append_statistics(l, node, &b, error));
    CDU_TRY(append_apply(l, node, &b, "batch_norm_apply", cdu_lowering_again(l) ? "again" : "forward", error));
    if (apart && relu.relu == 2) CDU_TRY(append_apply(l, node, &relu, "batch_norm_relu", "relu", error));
    return CDU_OK;
}

typedef struct { cdu_tensor x, dy, saved, means, dx, d_weight, d_bias; bool add, over, add_weight, add_bias; uint32_t relu; } gradients;

/* The same for the backward pass. */
static cdu_status append_gradient_exchange(cdu_lowering *l, const cdu_node *node, const gradients *g, cdu_tensor part, uint32_t parts,
                                           cdu_error *error)
{
    cdu_layout x = *cdu_tensor_layout(l, g->x);
    cdu_tensor mine, all;
    uint32_t row = row_lanes(x.shape.c);
    CDU_TRY(cdu_lower_gather(l, node->name, BACKWARD_ROWS, x.shape.c, x.lanes, &mine, error));
    cdu_draft draft = cdu_draft_begin("batch_norm.k", "batch_norm_gradient_join", node, "backward sums of this rank");
    cdu_draft_use(&draft, part, CDU_READ, 0, 0);
    cdu_draft_use(&draft, g->saved, CDU_READ, 0, 0);
    cdu_draft_use(&draft, g->d_weight, CDU_READ | CDU_WRITE, 0, 0);
    cdu_draft_use(&draft, g->d_bias, CDU_READ | CDU_WRITE, 0, 0);
    cdu_draft_use(&draft, mine, CDU_WRITE, 0, 0);
    PARAMS(&draft, parts, x.lanes, x.shape.c, row, g->add_weight, g->add_bias);
    cdu_draft_define(&draft, "RELU", 0);
    join_groups(&draft, cdu_lowering_device(l), x.lanes, parts);
    CDU_TRY(cdu_append(l, &draft, error));
    CDU_TRY(cdu_lower_gathered(l, mine, &all, error));
    draft = cdu_draft_begin("batch_norm.k", "batch_norm_gradient_means", node, "backward sums joined");
    cdu_draft_use(&draft, all, CDU_READ, 0, 0);
    cdu_draft_use(&draft, g->saved, CDU_READ, 0, 0);
    cdu_draft_use(&draft, g->means, CDU_WRITE, 0, 0);
    PARAMS(&draft, cdu_lowering_ranks(l), x.lanes, x.shape.c, row);
    cdu_draft_param_float(&draft, (float)(cdu_lowering_images(l, x.shape.n) * x.shape.h * x.shape.w));
    cdu_draft_define(&draft, "RELU", 0);
    join_groups(&draft, cdu_lowering_device(l), row, cdu_lowering_ranks(l));
    return cdu_append(l, &draft, error);
}

static cdu_status append_sums(cdu_lowering *l, const cdu_node *node, const gradients *g, cdu_error *error)
{
    cdu_tensor tensors[2] = {g->x, g->dy}, part;
    cdu_layout x = *cdu_tensor_layout(l, g->x), dy = *cdu_tensor_layout(l, g->dy);
    uint32_t width = cdu_op_width(l, tensors, 2), parts = 0, done = 0;
    for (uint32_t n0 = 0, n1 = 0; cdu_next_range(l, tensors, 2, &n0, &n1);)
        parts += cdu_op_divide(l, g->x, width, cdu_op_pixels(&x, n0, n1), 2, true).groups;
    CDU_TRY(cdu_lower_scratch(l, node->name, (uint64_t)parts * BACKWARD_ROWS * x.lanes, &part, error));
    for (uint32_t n0 = 0, n1 = 0; cdu_next_range(l, tensors, 2, &n0, &n1);) {
        uint64_t pixels = cdu_op_pixels(&x, n0, n1);
        cdu_op_division d = cdu_op_divide(l, g->x, width, pixels, 2, true);
        cdu_draft draft = cdu_draft_begin("batch_norm.k", "batch_norm_gradient_sums", node, "backward sums");
        cdu_draft_use(&draft, g->x, CDU_READ, n0, n1);
        cdu_draft_use(&draft, g->dy, CDU_READ, n0, n1);
        cdu_draft_use(&draft, g->saved, CDU_READ, 0, 0);
        cdu_draft_use(&draft, part, CDU_READ | CDU_WRITE, 0, 0);
        PARAMS(&draft, (uint32_t)pixels, d.per, d.tile, d.vectors, row_lanes(x.shape.c) / width, done, x.pitch / width,
               x.offset / width, dy.pitch / width, dy.offset / width);
        cdu_draft_define(&draft, "RELU", g->relu);
        cdu_op_division_apply(&d, &draft);
        draft.bytes = (double)pixels * x.lanes * 8;
        CDU_TRY(cdu_append(l, &draft, error));
        done += d.groups;
    }
    if (cdu_lowering_synchronized(l)) return append_gradient_exchange(l, node, g, part, parts, error);
    cdu_draft draft = cdu_draft_begin("batch_norm.k", "batch_norm_gradient_finish", node, "backward sums joined");
    cdu_draft_use(&draft, part, CDU_READ, 0, 0);
    cdu_draft_use(&draft, g->saved, CDU_READ, 0, 0);
    cdu_draft_use(&draft, g->d_weight, CDU_READ | CDU_WRITE, 0, 0);
    cdu_draft_use(&draft, g->d_bias, CDU_READ | CDU_WRITE, 0, 0);
    cdu_draft_use(&draft, g->means, CDU_WRITE, 0, 0);
    PARAMS(&draft, parts, x.lanes, x.shape.c, row_lanes(x.shape.c), g->add_weight, g->add_bias);
    cdu_draft_param_float(&draft, (float)cdu_op_pixels(&x, 0, x.shape.n));
    cdu_draft_define(&draft, "RELU", 0);
    join_groups(&draft, cdu_lowering_device(l), row_lanes(x.shape.c), parts);
    return cdu_append(l, &draft, error);
}

static cdu_status append_gradient(cdu_lowering *l, const cdu_node *node, const gradients *g, cdu_error *error)
{
    cdu_tensor tensors[3] = {g->x, g->dy, g->dx};
    cdu_layout x = *cdu_tensor_layout(l, g->x), dy = *cdu_tensor_layout(l, g->dy), dx = *cdu_tensor_layout(l, g->dx);
    uint32_t width = cdu_op_width(l, tensors, 3);
    for (uint32_t n0 = 0, n1 = 0; cdu_next_range(l, tensors, 3, &n0, &n1);) {
        uint64_t pixels = cdu_op_pixels(&x, n0, n1);
        cdu_op_division d = cdu_op_divide(l, g->x, width, pixels, 3, false);
        cdu_op_division_spread(l, &d, pixels);
        cdu_draft draft = cdu_draft_begin("batch_norm.k", "batch_norm_gradient", node, "backward");
        cdu_draft_use(&draft, g->x, CDU_READ, n0, n1);
        cdu_draft_use(&draft, g->saved, CDU_READ, 0, 0);
        cdu_draft_use(&draft, g->means, CDU_READ, 0, 0);
        cdu_draft_use(&draft, g->dx, g->add || g->over ? CDU_READ | CDU_WRITE : CDU_WRITE, n0, n1);
        if (!g->over) cdu_draft_use(&draft, g->dy, CDU_READ, n0, n1);
        PARAMS(&draft, (uint32_t)pixels, d.per, d.vectors, row_lanes(x.shape.c) / width, x.pitch / width, x.offset / width,
               dy.pitch / width, dy.offset / width, dx.pitch / width, dx.offset / width);
        cdu_draft_define(&draft, "RELU", g->relu);
        cdu_draft_define(&draft, "ADD", g->add);
        cdu_draft_define(&draft, "IN_PLACE", g->over);
        if (!g->add && !g->over) cdu_op_stream(l, &draft, g->dx, width);
        cdu_op_division_apply(&d, &draft);
        draft.bytes = (double)pixels * x.lanes * 12;
        CDU_TRY(cdu_append(l, &draft, error));
    }
    return CDU_OK;
}

static cdu_status backward(cdu_lowering *l, const cdu_node *node, cdu_error *error)
{
    gradients g = {.relu = relu_define(node)};
    CDU_TRY(cdu_lower_value(l, node->input[0], &g.x, error));
    CDU_TRY(cdu_lower_value(l, node->own[SAVED], &g.saved, error));
    CDU_TRY(cdu_lower_gradient(l, node->output[0], &g.dy, error));
    CDU_TRY(cdu_lower_gradient_target(l, node->own[WEIGHT], &g.d_weight, &g.add_weight, error));
    CDU_TRY(cdu_lower_gradient_target(l, node->own[BIAS], &g.d_bias, &g.add_bias, error));
    CDU_TRY(cdu_lower_gradient_over(l, node->input[0], node->output[0], &g.dx, &g.add, &g.over, error));
    CDU_TRY(cdu_op_same_lanes(l, node, (const cdu_tensor[]){g.x, g.dy, g.dx}, 3, error));
    uint32_t channels = cdu_tensor_layout(l, g.x)->shape.c;
    CDU_TRY(cdu_lower_scratch(l, node->name, (uint64_t)MEANS_ROWS * row_lanes(channels), &g.means, error));
    CDU_TRY(append_sums(l, node, &g, error));
    return g.dx == CDU_NO_TENSOR ? CDU_OK : append_gradient(l, node, &g, error);
}

static bool wants_moments(const cdu_node *node, bool *of_relu)
{
    *of_relu = relu_define(node) == 1;
    return true;
}

static const cdu_operator batch_norm = {.name = "batch_norm", .cheap = true, .infer = infer, .forward = forward, .backward = backward,
                                        .wants_moments = wants_moments};

cdu_value cdu_batch_norm(cdu_graph *graph, const char *name, cdu_value x, cdu_batch_norm_order order, float epsilon, float momentum)
{
    cdu_attributes attributes = {.integer = {order}, .real = {epsilon, momentum}};
    return cdu_graph_apply(graph, &batch_norm, name, &x, 1, &attributes);
}
