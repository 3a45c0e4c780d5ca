/* values.c: which tensors a value has while a graph is lowered: what its producer wrote in the forward pass, what is computed again for
 * the backward pass where that is not kept, its gradient. Layouts, and the flat arenas of parameters. No memory yet: plan.c. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/debug.h"
#include "core/base/memory.h"
#include "core/graph/internal.h"

static uint32_t round_up(uint32_t x, uint32_t unit)
{
    return (x + unit - 1) / unit * unit;
}

uint32_t cdu_channel_lanes(const cdu_device_info *device, uint32_t c)
{
    if (device->vector_width <= 4 || c <= 4) return round_up(c, 4);
    return c <= 8 ? 8 : round_up(c, 16);
}

uint32_t cdu_layout_lane(const cdu_layout *layout, uint32_t c)
{
    return layout->offset + (c < layout->split ? c : layout->split_lane + c - layout->split);
}

const cdu_layout *cdu_tensor_layout(const cdu_lowering *l, cdu_tensor tensor)
{
    return &l->tensors[tensor].layout;
}

static cdu_status add_tensor(cdu_lowering *l, const cdu_tensor_record *record, cdu_tensor *out, cdu_error *error)
{
#ifdef __SANITIZE_ADDRESS__
    l->tensor_capacity = l->tensor_count; /* moves them every time, so that a layout held for too long is seen */
#endif
    CDU_TRY(cdu_grow(&l->tensors, &l->tensor_capacity, l->tensor_count + 1, sizeof *l->tensors, error));
    *out = (cdu_tensor)l->tensor_count++;
    l->tensors[*out] = *record;
    if (record->root == CDU_NO_TENSOR) l->tensors[*out].root = *out;
    l->tensors[*out].first = UINT32_MAX;
    l->tensors[*out].last = 0;
    return CDU_OK;
}

static cdu_layout dense_layout(uint64_t elements)
{
    uint32_t c = (uint32_t)elements;
    return (cdu_layout){.shape = {1, 1, 1, c}, .storage = CDU_F32, .pitch = c, .lanes = c, .split = c, .split_lane = c,
                        .image_bytes = elements * 4};
}

static cdu_layout value_layout(const cdu_lowering *l, cdu_value value)
{
    const cdu_value_info *info = cdu_graph_value(l->graph, value);
    if (info->rank) return dense_layout(cdu_value_elements(info));
    cdu_layout layout = {.shape = info->shape, .storage = info->storage};
    bool packed = info->storage == CDU_U32;
    if (info->kind == CDU_VALUE_CONCAT) {
        cdu_layout a = value_layout(l, info->parts[0]), b = value_layout(l, info->parts[1]);
        layout.lanes = layout.pitch = a.lanes + b.lanes;
        layout.split = a.shape.c;
        layout.split_lane = a.lanes;
    } else {
        layout.lanes = layout.pitch = packed ? info->shape.c : cdu_channel_lanes(&l->device, info->shape.c);
        layout.split = info->shape.c;
        layout.split_lane = layout.lanes;
    }
    layout.image_bytes = (uint64_t)info->shape.h * info->shape.w * layout.pitch * 4;
    return layout;
}

/* The layout of a part within its parent's memory: parent's pitch, its own lanes. value_layout must not do this itself, since the
 * parent's layout is made from the parts'. */
static cdu_layout part_layout(const cdu_lowering *l, const cdu_value_info *info, cdu_value value, const cdu_layout *parent)
{
    cdu_layout layout = value_layout(l, value);
    layout.pitch = parent->pitch;
    layout.offset = info->part ? parent->split_lane : 0;
    layout.image_bytes = parent->image_bytes;
    return layout;
}

static cdu_status new_tensor(cdu_lowering *l, cdu_value value, cdu_place place, const char *suffix, cdu_tensor *out, cdu_error *error)
{
    cdu_tensor_record record = {.layout = value_layout(l, value), .place = place, .root = CDU_NO_TENSOR};
    record.bytes = record.layout.image_bytes * record.layout.shape.n;
    snprintf(record.name, sizeof record.name, "%.80s%s", cdu_graph_value(l->graph, value)->name, suffix);
    return add_tensor(l, &record, out, error);
}

static cdu_status new_part(cdu_lowering *l, cdu_value value, cdu_tensor parent, const char *suffix, cdu_tensor *out, cdu_error *error)
{
    const cdu_value_info *info = cdu_graph_value(l->graph, value);
    const cdu_tensor_record *p = &l->tensors[parent];
    cdu_tensor_record record = {.layout = part_layout(l, info, value, &p->layout), .place = p->place, .root = p->root,
                                .start = p->start, .bytes = p->bytes};
    snprintf(record.name, sizeof record.name, "%.80s%s", info->name, suffix);
    return add_tensor(l, &record, out, error);
}

static cdu_status arena_tensor(cdu_lowering *l, cdu_arena arena, const char *name, uint64_t first, uint64_t count,
                               cdu_tensor *out, cdu_error *error)
{
    cdu_tensor_record record = {.layout = dense_layout(count), .place = CDU_PLACE_ARENA, .arena = arena, .root = CDU_NO_TENSOR,
                                .start = first * 4, .bytes = count * 4};
    if (l->arenas[arena] != CDU_NO_TENSOR) record.root = l->arenas[arena];
    snprintf(record.name, sizeof record.name, "%s", name);
    return add_tensor(l, &record, out, error);
}

cdu_status cdu_lower_arena_window(cdu_lowering *l, cdu_arena arena, uint64_t first, uint64_t count, cdu_tensor *out, cdu_error *error)
{
    return arena_tensor(l, arena, "arena window", first, count, out, error);
}

cdu_tensor cdu_lower_arena(cdu_lowering *l, cdu_arena arena)
{
    return l->arenas[arena];
}

cdu_tensor cdu_lower_patch(cdu_lowering *l)
{
    return l->patch;
}

cdu_status cdu_lower_verdict(cdu_lowering *l, cdu_tensor *out, cdu_error *error)
{
    cdu_tensor_record record = {.name = "verdict", .layout = dense_layout(CDU_VERDICT_WORDS), .place = CDU_PLACE_HOST_READS,
                                .root = CDU_NO_TENSOR, .bytes = CDU_VERDICT_WORDS * 4};
    if (l->verdict == CDU_NO_TENSOR) CDU_TRY(add_tensor(l, &record, &l->verdict, error));
    *out = l->verdict;
    return CDU_OK;
}

cdu_status cdu_lower_scratch(cdu_lowering *l, const char *label, uint64_t count, cdu_tensor *out, cdu_error *error)
{
    if (!count || count > UINT32_MAX) return cdu_fail(error, CDU_FAILED, "%s: scratch of %llu elements", label, (unsigned long long)count);
    cdu_tensor_record record = {.layout = dense_layout(count), .place = CDU_PLACE_PLANNED, .root = CDU_NO_TENSOR, .bytes = count * 4};
    snprintf(record.name, sizeof record.name, "%.80s scratch", label);
    return add_tensor(l, &record, out, error);
}

cdu_status cdu_lower_host(cdu_lowering *l, const char *label, cdu_place place, uint64_t count, cdu_tensor *out, cdu_error *error)
{
    cdu_tensor_record record = {.layout = dense_layout(count), .place = place, .root = CDU_NO_TENSOR, .bytes = count * 4};
    snprintf(record.name, sizeof record.name, "%.80s exchange", label);
    return add_tensor(l, &record, out, error);
}

static cdu_status forward_tensor(cdu_lowering *l, cdu_value value, cdu_tensor *out, cdu_error *error)
{
    cdu_value_record *record = &l->values[value];
    if (record->forward == CDU_NO_TENSOR) {
        const cdu_value_info *info = cdu_graph_value(l->graph, value);
        bool host_reads = info->host_reads;
        for (int i = 0; i < 2 && info->kind == CDU_VALUE_CONCAT; i++)
            host_reads = host_reads || cdu_graph_value(l->graph, info->parts[i])->host_reads;
        cdu_tensor parent;
        if (info->kind == CDU_VALUE_INPUT) CDU_TRY(new_tensor(l, value, CDU_PLACE_HOST_WRITES, "", &record->forward, error));
        else if (info->parent != CDU_NO_VALUE) {
            CDU_TRY(forward_tensor(l, info->parent, &parent, error));
            CDU_TRY(new_part(l, value, parent, "", &record->forward, error));
        } else CDU_TRY(new_tensor(l, value, host_reads ? CDU_PLACE_HOST_READS : CDU_PLACE_PLANNED, "", &record->forward, error));
    }
    *out = record->forward;
    return CDU_OK;
}

/* ---- values that are not kept for the backward pass ---- */

/* The value whose memory this one's is: the outermost concatenation it is a part of, or itself. */
static cdu_value owner_of(const cdu_graph *graph, cdu_value value)
{
    const cdu_value_info *info = cdu_graph_value(graph, value);
    return info->parent == CDU_NO_VALUE ? value : info->parent;
}

static bool made_by_operators(const cdu_graph *graph, const cdu_value_info *info)
{
    if (info->kind == CDU_VALUE_CONCAT)
        return made_by_operators(graph, cdu_graph_value(graph, info->parts[0])) &&
               made_by_operators(graph, cdu_graph_value(graph, info->parts[1]));
    return info->kind == CDU_VALUE_ACTIVATION && !info->host_reads;
}

bool cdu_value_droppable(const cdu_graph *graph, cdu_value value)
{
    const cdu_value_info *info = cdu_graph_value(graph, value);
    return info->parent == CDU_NO_VALUE && !info->host_reads && made_by_operators(graph, info);
}

cdu_keeping cdu_value_keeping_at_first(const cdu_graph *graph, cdu_value value)
{
    const cdu_value_info *info = cdu_graph_value(graph, value);
    bool cheap = info->kind == CDU_VALUE_ACTIVATION && cdu_value_droppable(graph, value) &&
                 cdu_graph_node(graph, (uint32_t)info->node)->operator->cheap;
    return cheap && !cdu_debug(CDU_DEBUG_NO_RECOMPUTE) ? CDU_AGAIN_ONCE : CDU_KEPT;
}

static cdu_keeping keeping_of(const cdu_lowering *l, cdu_value value)
{
    return l->values[owner_of(l->graph, value)].keeping;
}

/* What was computed again is there for whoever reads now. */
static bool held(const cdu_lowering *l, cdu_value value)
{
    const cdu_value_record *record = &l->values[value];
    return record->again != CDU_NO_TENSOR && (keeping_of(l, value) == CDU_AGAIN_ONCE || record->again_for == l->backward_node);
}

static void hold(cdu_lowering *l, cdu_value value, cdu_tensor tensor)
{
    l->values[value].again = tensor;
    l->values[value].again_for = l->backward_node;
}

/* The forward steps of the node that made `made`, once more, into its `again`; the node's other outputs get a tensor as well. */
static cdu_status lower_again(cdu_lowering *l, cdu_value made, cdu_error *error)
{
    const cdu_node *node = cdu_graph_node(l->graph, (uint32_t)cdu_graph_value(l->graph, made)->node), *before = l->again;
    for (uint32_t i = 0; i < node->outputs; i++) {
        cdu_tensor tensor;
        if (node->output[i] == made) continue;
        CDU_TRY(new_tensor(l, node->output[i], CDU_PLACE_PLANNED, " again", &tensor, error));
        hold(l, node->output[i], tensor);
    }
    l->again = node;
    cdu_status status = node->operator->forward(l, node, error);
    l->again = before;
    return status;
}

static cdu_status compute_again(cdu_lowering *l, cdu_value value, cdu_error *error)
{
    const cdu_value_info *info = cdu_graph_value(l->graph, value);
    cdu_tensor whole, part;
    /* kernels of operators that are not cheap may depend on the layout: bytes are equal only where the layout is */
    if (info->parent != CDU_NO_VALUE && !cdu_graph_node(l->graph, (uint32_t)info->node)->operator->cheap)
        return compute_again(l, info->parent, error);
    CDU_TRY(new_tensor(l, value, CDU_PLACE_PLANNED, " again", &whole, error));
    hold(l, value, whole);
    if (info->kind != CDU_VALUE_CONCAT) return lower_again(l, value, error);
    for (int i = 0; i < 2; i++) {
        CDU_TRY(new_part(l, info->parts[i], whole, " again", &part, error));
        hold(l, info->parts[i], part);
    }
    for (int i = 0; i < 2; i++) CDU_TRY(lower_again(l, info->parts[i], error));
    return CDU_OK;
}

cdu_status cdu_lower_value(cdu_lowering *l, cdu_value value, cdu_tensor *out, cdu_error *error)
{
    const cdu_value_info *info = cdu_graph_value(l->graph, value);
    bool computed = info->kind == CDU_VALUE_ACTIVATION || info->kind == CDU_VALUE_CONCAT;
    bool target = computed && l->again && info->node >= 0 && cdu_graph_node(l->graph, (uint32_t)info->node) == l->again;
    if (!target && (!computed || !l->backward || keeping_of(l, value) == CDU_KEPT)) return forward_tensor(l, value, out, error);
    if (!target && !held(l, value)) CDU_TRY(compute_again(l, value, error));
    *out = l->values[value].again;
    return CDU_OK;
}

static cdu_status gradient_tensor(cdu_lowering *l, cdu_value value, cdu_tensor *out, cdu_error *error)
{
    cdu_value_record *record = &l->values[value];
    if (record->gradient == CDU_NO_TENSOR) {
        const cdu_value_info *info = cdu_graph_value(l->graph, value);
        cdu_tensor parent;
        cdu_place place = info->host_writes_gradient  ? CDU_PLACE_HOST_WRITES
                          : info->host_reads_gradient ? CDU_PLACE_HOST_READS
                                                      : CDU_PLACE_PLANNED;
        if (info->kind == CDU_VALUE_PARAMETER)
            CDU_TRY(arena_tensor(l, CDU_ARENA_GRADIENTS, info->name, record->arena_offset, cdu_value_elements(info),
                                 &record->gradient, error));
        else if (info->parent != CDU_NO_VALUE) {
            CDU_TRY(gradient_tensor(l, info->parent, &parent, error));
            CDU_TRY(new_part(l, value, parent, " gradient", &l->values[value].gradient, error));
        } else CDU_TRY(new_tensor(l, value, place, " gradient", &record->gradient, error));
    }
    *out = l->values[value].gradient;
    return CDU_OK;
}

bool cdu_value_seeded(const cdu_lowering *l, cdu_value value)
{
    const cdu_value_info *info = cdu_graph_value(l->graph, value);
    return info->host_writes_gradient || (info->parent != CDU_NO_VALUE && cdu_value_seeded(l, info->parent));
}

cdu_status cdu_lower_gradient(cdu_lowering *l, cdu_value value, cdu_tensor *out, cdu_error *error)
{
    const cdu_value_info *info = cdu_graph_value(l->graph, value);
    if (!cdu_value_seeded(l, value) && !l->values[value].gradient_written)
        return cdu_fail(error, CDU_FAILED, "%s: its gradient is read before anything wrote it", info->name);
    return gradient_tensor(l, value, out, error);
}

cdu_status cdu_lower_gradient_target(cdu_lowering *l, cdu_value value, cdu_tensor *out, bool *add, cdu_error *error)
{
    *out = CDU_NO_TENSOR;
    *add = false;
    cdu_value_record *record = &l->values[value];
    if (!record->wants_gradient) return CDU_OK;
    const cdu_value_info *info = cdu_graph_value(l->graph, value);
    if (info->kind == CDU_VALUE_CONCAT) {
        cdu_value_record *a = &l->values[info->parts[0]], *b = &l->values[info->parts[1]];
        if (a->gradient_written != b->gradient_written)
            return cdu_fail(error, CDU_FAILED, "%s: one part's gradient was written before the whole; apply what reads the part alone "
                            "before what reads the concatenation", info->name);
        *add = a->gradient_written;
        a->gradient_written = b->gradient_written = true;
    } else {
        *add = record->gradient_written;
    }
    record->gradient_written = true;
    if (info->host_writes_gradient)
        return cdu_fail(error, CDU_FAILED, "%s: the host gives its gradient, so nothing else may write it", info->name);
    return gradient_tensor(l, value, out, error);
}

/* The gradient's memory belongs to an operator's output alone, and to nothing that the host sees. */
static bool plain_gradient(const cdu_lowering *l, cdu_value value)
{
    const cdu_value_info *info = cdu_graph_value(l->graph, value);
    return info->kind == CDU_VALUE_ACTIVATION && info->parent == CDU_NO_VALUE && !info->host_reads_gradient &&
           !info->host_writes_gradient;
}

cdu_status cdu_lower_gradient_over(cdu_lowering *l, cdu_value value, cdu_value output, cdu_tensor *out, bool *add, bool *over,
                                   cdu_error *error)
{
    cdu_value_record *record = &l->values[value];
    const cdu_value_record *from = &l->values[output];
    *over = record->wants_gradient && record->gradient == CDU_NO_TENSOR && from->gradient != CDU_NO_TENSOR &&
            plain_gradient(l, value) && plain_gradient(l, output) && !cdu_debug(CDU_DEBUG_NO_REUSE);
    if (*over) {
        cdu_layout a = value_layout(l, value), b = l->tensors[from->gradient].layout;
        *over = !memcmp(&a.shape, &b.shape, sizeof a.shape) && a.storage == b.storage && a.lanes == b.lanes && a.pitch == b.pitch;
    }
    if (*over) record->gradient = from->gradient;
    return cdu_lower_gradient_target(l, value, out, add, error);
}

/* ---- normalization where it is read, moments where they are written ---- */

cdu_layout cdu_lower_layout(const cdu_lowering *l, cdu_value value)
{
    return value_layout(l, value);
}

bool cdu_lower_moments_wanted(const cdu_lowering *l, cdu_value value, bool *of_relu)
{
    if (!l->options.training || l->again || l->backward || cdu_debug(CDU_DEBUG_NO_FUSION)) return false;
    for (uint32_t n = 0; n < cdu_graph_nodes(l->graph); n++) {
        const cdu_node *node = cdu_graph_node(l->graph, n);
        if (node->operator->wants_moments && node->input[0] == value) return node->operator->wants_moments(node, of_relu);
    }
    return false;
}

void cdu_lower_offer_moments(cdu_lowering *l, cdu_value value, cdu_tensor part, uint32_t rows)
{
    l->values[value].moments = part;
    l->values[value].moment_rows = rows;
}

void cdu_lower_moments(const cdu_lowering *l, cdu_value value, cdu_tensor *part, uint32_t *rows)
{
    *part = l->values[value].moments;
    *rows = l->values[value].moment_rows;
}

bool cdu_lower_defer(cdu_lowering *l, cdu_value value, cdu_value x, cdu_value saved, uint32_t row_lanes, cdu_relu_place relu)
{
    const cdu_value_info *info = cdu_graph_value(l->graph, value);
    bool read = false;
    if (l->device.vector_width <= 4 || !l->options.training || info->parent != CDU_NO_VALUE || info->host_reads ||
        cdu_debug(CDU_DEBUG_NO_FUSION) || cdu_debug(CDU_DEBUG_NO_DEFER))
        return false;
    for (uint32_t n = 0; n < cdu_graph_nodes(l->graph); n++) {
        const cdu_node *node = cdu_graph_node(l->graph, n);
        for (uint32_t i = 0; i < node->inputs; i++) {
            if (node->input[i] != value) continue;
            if (!node->operator->normalizes || !node->operator->normalizes(l, node, value)) return false;
            read = true;
        }
    }
    cdu_value_record *record = &l->values[value];
    record->deferred = read;
    record->raw = x;
    record->saved = saved;
    record->row_lanes = row_lanes;
    record->relu = relu;
    return read;
}

cdu_status cdu_lower_normalized(cdu_lowering *l, cdu_value value, cdu_normalized *out, cdu_error *error)
{
    cdu_value_record record = l->values[value];
    *out = (cdu_normalized){.saved = CDU_NO_TENSOR, .row_lanes = record.row_lanes, .relu = record.relu};
    if (!record.deferred) return cdu_lower_value(l, value, &out->x, error);
    CDU_TRY(cdu_lower_value(l, record.raw, &out->x, error));
    return cdu_lower_value(l, record.saved, &out->saved, error);
}

/* ---- the beginning ---- */

static bool wants(const cdu_lowering *l, cdu_value value)
{
    const cdu_value_info *info = cdu_graph_value(l->graph, value);
    return l->values[value].wants_gradient || info->wants_gradient ||
           (info->kind == CDU_VALUE_CONCAT && (wants(l, info->parts[0]) || wants(l, info->parts[1])));
}

static void find_wanted_gradients(cdu_lowering *l)
{
    for (uint32_t n = 0; n < cdu_graph_nodes(l->graph); n++) {
        const cdu_node *node = cdu_graph_node(l->graph, n);
        bool wanted = false;
        for (uint32_t i = 0; i < node->inputs; i++) wanted = wanted || wants(l, node->input[i]);
        for (uint32_t i = 0; i < node->owned; i++) wanted = wanted || wants(l, node->own[i]);
        for (uint32_t i = 0; i < node->outputs && node->operator->backward; i++)
            l->values[node->output[i]].wants_gradient = wanted && cdu_graph_value(l->graph, node->output[i])->storage == CDU_F32;
    }
    for (uint32_t v = 0; v < cdu_graph_values(l->graph); v++) l->values[v].wants_gradient = wants(l, (cdu_value)v);
}

static cdu_status lay_out_arenas(cdu_lowering *l, cdu_error *error)
{
    uint64_t elements[2] = {0, 0};
    for (uint32_t v = 0; v < cdu_graph_values(l->graph); v++) {
        const cdu_value_info *info = cdu_graph_value(l->graph, (cdu_value)v);
        if (info->kind != CDU_VALUE_PARAMETER && info->kind != CDU_VALUE_STATE) continue;
        uint64_t *total = &elements[info->kind == CDU_VALUE_STATE];
        l->values[v].arena_offset = *total;
        *total += (cdu_value_elements(info) + CDU_ARENA_ALIGN - 1) / CDU_ARENA_ALIGN * CDU_ARENA_ALIGN;
    }
    static const char *const names[CDU_ARENAS] = {"parameters", "gradients", "momentum", "states"};
    for (int a = 0; a < CDU_ARENAS; a++) {
        bool trained = a == CDU_ARENA_GRADIENTS || a == CDU_ARENA_MOMENTUM;
        l->arena_elements[a] = trained && !l->options.training ? 0 : elements[a == CDU_ARENA_STATES];
        CDU_TRY(arena_tensor(l, (cdu_arena)a, names[a], 0, l->arena_elements[a], &l->arenas[a], error));
    }
    for (uint32_t v = 0; v < cdu_graph_values(l->graph); v++) {
        const cdu_value_info *info = cdu_graph_value(l->graph, (cdu_value)v);
        if (info->kind != CDU_VALUE_PARAMETER && info->kind != CDU_VALUE_STATE) continue;
        cdu_arena arena = info->kind == CDU_VALUE_STATE ? CDU_ARENA_STATES : CDU_ARENA_PARAMETERS;
        CDU_TRY(arena_tensor(l, arena, info->name, l->values[v].arena_offset, cdu_value_elements(info), &l->values[v].forward, error));
    }
    cdu_tensor_record patch = {.name = "patch", .layout = dense_layout(CDU_PATCH_BYTES / 4), .place = CDU_PLACE_PATCH,
                               .root = CDU_NO_TENSOR, .bytes = CDU_PATCH_BYTES};
    return add_tensor(l, &patch, &l->patch, error);
}

cdu_status cdu_values_begin(cdu_lowering *l, cdu_error *error)
{
    uint32_t count = cdu_graph_values(l->graph);
    CDU_TRY(cdu_allocate(&l->values, count, sizeof *l->values, error));
    for (uint32_t v = 0; v < count; v++) {
        l->values[v].forward = l->values[v].again = l->values[v].gradient = l->values[v].moments = CDU_NO_TENSOR;
        l->values[v].keeping = l->keeping ? (cdu_keeping)l->keeping[v] : cdu_value_keeping_at_first(l->graph, (cdu_value)v);
    }
    for (int a = 0; a < CDU_ARENAS; a++) l->arenas[a] = CDU_NO_TENSOR;
    l->verdict = CDU_NO_TENSOR;
    find_wanted_gradients(l);
    return lay_out_arenas(l, error);
}
