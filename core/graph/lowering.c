/* lowering.c: walks a graph forward, then backward, and lets the operators append steps. Keeps the books: which tensor a value has,
 * whether its gradient was written, what must be recomputed. Memory is plan.c's business. */
#include "core/graph/lowering.h"

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

const cdu_device_info *cdu_lowering_device(const cdu_lowering *l)
{
    return &l->device;
}

const cdu_graph *cdu_lowering_graph(const cdu_lowering *l)
{
    return l->graph;
}

bool cdu_lowering_again(const cdu_lowering *l)
{
    return l->again;
}

bool cdu_lowering_training(const cdu_lowering *l)
{
    return l->options.training;
}

bool cdu_lowering_exact(const cdu_lowering *l)
{
    return l->options.exact;
}

const cdu_layout *cdu_tensor_layout(const cdu_lowering *l, cdu_tensor tensor)
{
    return &l->tensors[tensor].layout;
}

uint64_t cdu_lowering_arena_elements(const cdu_lowering *l, cdu_arena arena)
{
    return l->arena_elements[arena];
}

static cdu_status add_tensor(cdu_lowering *l, const cdu_tensor_record *record, cdu_tensor *out, cdu_error *error)
{
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

cdu_status cdu_lower_scratch(cdu_lowering *l, const char *label, uint64_t count, cdu_tensor *out, cdu_error *error)
{
    if (!count || count > UINT32_MAX) return cdu_fail(error, CDU_FAILED, "%s: scratch of %llu elements", label, (unsigned long long)count);
    cdu_tensor_record record = {.layout = dense_layout(count), .place = CDU_PLACE_PLANNED, .root = CDU_NO_TENSOR, .bytes = count * 4};
    snprintf(record.name, sizeof record.name, "%.80s scratch", label);
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

static bool recomputable(const cdu_lowering *l, const cdu_value_info *info)
{
    return info->kind == CDU_VALUE_ACTIVATION && info->parent == CDU_NO_VALUE && !info->host_reads && info->node >= 0 &&
           cdu_graph_node(l->graph, (uint32_t)info->node)->operator->cheap && !cdu_debug(CDU_DEBUG_NO_RECOMPUTE);
}

static cdu_status lower_again(cdu_lowering *l, const cdu_value_info *info, cdu_error *error)
{
    const cdu_node *node = cdu_graph_node(l->graph, (uint32_t)info->node);
    for (uint32_t i = 0; i < node->outputs; i++) {
        cdu_value_record *record = &l->values[node->output[i]];
        if (record->again == CDU_NO_TENSOR)
            CDU_TRY(new_tensor(l, node->output[i], CDU_PLACE_PLANNED, " again", &record->again, error));
    }
    bool before = l->again;
    l->again = true;
    cdu_status status = node->operator->forward(l, node, error);
    l->again = before;
    return status;
}

cdu_status cdu_lower_value(cdu_lowering *l, cdu_value value, cdu_tensor *out, cdu_error *error)
{
    const cdu_value_info *info = cdu_graph_value(l->graph, value);
    if (!l->backward || !recomputable(l, info)) return forward_tensor(l, value, out, error);
    if (l->values[value].again == CDU_NO_TENSOR) CDU_TRY(lower_again(l, info, error));
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

/* The host gives the gradient, of the value or of the concatenation it is a part of. */
static bool seeded(const cdu_lowering *l, cdu_value value)
{
    const cdu_value_info *info = cdu_graph_value(l->graph, value);
    return info->host_writes_gradient || (info->parent != CDU_NO_VALUE && seeded(l, info->parent));
}

cdu_status cdu_lower_gradient(cdu_lowering *l, cdu_value value, cdu_tensor *out, cdu_error *error)
{
    const cdu_value_info *info = cdu_graph_value(l->graph, value);
    if (!seeded(l, value) && !l->values[value].gradient_written)
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

bool cdu_next_range(const cdu_lowering *l, const cdu_tensor *tensors, uint32_t count, uint32_t *n0, uint32_t *n1)
{
    uint32_t images = 1, step = UINT32_MAX, unit = 1;
    for (uint32_t i = 0; i < count; i++) {
        if (tensors[i] == CDU_NO_TENSOR) continue;
        const cdu_layout *layout = &l->tensors[tensors[i]].layout;
        if (layout->shape.n > images) images = layout->shape.n;
        uint64_t fit = l->device.largest_binding / layout->image_bytes;
        if (fit < step) step = (uint32_t)fit;
        /* the fewest images after which a binding may begin again */
        uint32_t need = 1;
        while (need < l->device.binding_align && (need * layout->image_bytes) % l->device.binding_align) need *= 2;
        if (need > unit) unit = need;
    }
    *n0 = *n1;
    if (*n0 >= images) return false;
    if (step >= images) *n1 = images;
    else {
        step = step / unit * unit;
        *n1 = *n0 + (step ? step : unit);
        if (*n1 > images) *n1 = images;
    }
    return true;
}

cdu_draft cdu_draft_begin(const char *source, const char *kernel, const cdu_node *node, const char *pass)
{
    cdu_draft draft = {.source = source, .kernel = kernel, .groups = {1, 1, 1}, .group_size = {1, 1, 1}};
    snprintf(draft.label, sizeof draft.label, "%.44s%s%.16s", node ? node->name : "", node ? " " : "", pass);
    return draft;
}

void cdu_draft_use(cdu_draft *draft, cdu_tensor tensor, uint32_t access, uint32_t n0, uint32_t n1)
{
    if (draft->uses < CDU_BINDINGS) draft->use[draft->uses] = (cdu_use){tensor, access, n0, n1};
    draft->uses++;
}

void cdu_draft_param(cdu_draft *draft, uint32_t word)
{
    if (draft->params < CDU_PARAM_WORDS) draft->param[draft->params] = word;
    draft->params++;
}

void cdu_draft_param_float(cdu_draft *draft, float value)
{
    uint32_t word;
    memcpy(&word, &value, sizeof word);
    cdu_draft_param(draft, word);
}

void cdu_draft_define(cdu_draft *draft, const char *name, uint32_t value)
{
    size_t used = strlen(draft->defines);
    snprintf(draft->defines + used, sizeof draft->defines - used, "%s%s=%u", used ? " " : "", name, value);
}

void cdu_draft_groups(cdu_draft *draft, uint32_t x, uint32_t y, uint32_t z, uint32_t size_x, uint32_t size_y, uint32_t size_z)
{
    uint32_t groups[3] = {x, y, z}, size[3] = {size_x, size_y, size_z};
    memcpy(draft->groups, groups, sizeof groups);
    memcpy(draft->group_size, size, sizeof size);
    cdu_draft_define(draft, "GX", size_x);
    cdu_draft_define(draft, "GY", size_y);
    cdu_draft_define(draft, "GZ", size_z);
}

void cdu_use_range(const cdu_lowering *l, const cdu_use *use, cdu_tensor *root, uint64_t *begin, uint64_t *end)
{
    const cdu_tensor_record *tensor = &l->tensors[use->tensor];
    *root = tensor->root;
    *begin = tensor->start + use->n0 * tensor->layout.image_bytes;
    *end = use->n1 ? tensor->start + use->n1 * tensor->layout.image_bytes : tensor->start + tensor->bytes;
}

static cdu_status check_use(const cdu_lowering *l, const cdu_draft *draft, const cdu_use *use, cdu_error *error)
{
    if (use->tensor < 0 || (size_t)use->tensor >= l->tensor_count || !(use->access & (CDU_READ | CDU_WRITE)))
        return cdu_fail(error, CDU_FAILED, "%s: binding %d has no tensor or no mark", draft->label, (int)(use - draft->use));
    const cdu_tensor_record *tensor = &l->tensors[use->tensor];
    cdu_tensor root;
    uint64_t begin, end;
    cdu_use_range(l, use, &root, &begin, &end);
    if (begin >= end || end > tensor->start + tensor->bytes)
        return cdu_fail(error, CDU_FAILED, "%s: images %u to %u of '%s', which has %u", draft->label, use->n0, use->n1, tensor->name,
                        tensor->layout.shape.n);
    if (end - begin > l->device.largest_binding)
        return cdu_fail(error, CDU_NO_DEVICE, "%s: '%s' needs %llu bytes in one binding, %s allows %llu: use a smaller tile or batch",
                        draft->label, tensor->name, (unsigned long long)(end - begin), l->device.name,
                        (unsigned long long)l->device.largest_binding);
    if (begin % l->device.binding_align)
        return cdu_fail(error, CDU_NO_DEVICE, "%s: '%s' would be bound at byte %llu, %s asks for multiples of %u: make the tile's sides "
                        "multiples of 16", draft->label, tensor->name, (unsigned long long)begin, l->device.name,
                        l->device.binding_align);
    return CDU_OK;
}

cdu_status cdu_append(cdu_lowering *l, const cdu_draft *draft, cdu_error *error)
{
    if (draft->uses > CDU_BINDINGS || draft->params > CDU_PARAM_WORDS || strlen(draft->defines) + 1 >= CDU_DEFINES_LIMIT)
        return cdu_fail(error, CDU_FAILED, "%s: %u bindings, %u parameter words, %zu bytes of defines are too many", draft->label,
                        draft->uses, draft->params, strlen(draft->defines));
    uint64_t items = 1;
    for (int i = 0; i < 3; i++) {
        items *= draft->group_size[i];
        if (!draft->groups[i] || !draft->group_size[i])
            return cdu_fail(error, CDU_FAILED, "%s: no groups", draft->label);
        if (draft->groups[i] > l->device.group_count[i] || draft->group_size[i] > l->device.group_size[i])
            return cdu_fail(error, CDU_NO_DEVICE, "%s: %u groups of %u items on axis %d; %s allows %u of %u", draft->label,
                            draft->groups[i], draft->group_size[i], i, l->device.name, l->device.group_count[i],
                            l->device.group_size[i]);
    }
    if (items > l->device.group_items)
        return cdu_fail(error, CDU_NO_DEVICE, "%s: groups of %llu items; %s allows %u", draft->label, (unsigned long long)items,
                        l->device.name, l->device.group_items);
    for (uint32_t i = 0; i < draft->uses; i++) CDU_TRY(check_use(l, draft, &draft->use[i], error));
    CDU_TRY(cdu_grow(&l->drafts, &l->draft_capacity, l->draft_count + 1, sizeof *l->drafts, error));
    uint32_t at = (uint32_t)l->draft_count++;
    l->drafts[at] = *draft;
    for (uint32_t i = 0; i < draft->uses; i++) {
        cdu_tensor_record *root = &l->tensors[l->tensors[draft->use[i].tensor].root];
        if (at < root->first) root->first = at;
        if (at > root->last) root->last = at;
    }
    return CDU_OK;
}

cdu_status cdu_lowering_cut(cdu_lowering *l, cdu_error *error)
{
    uint32_t at = (uint32_t)l->draft_count;
    if (!at || (l->cut_count && l->cuts[l->cut_count - 1] == at)) return CDU_OK;
    CDU_TRY(cdu_grow(&l->cuts, &l->cut_capacity, l->cut_count + 1, sizeof *l->cuts, error));
    l->cuts[l->cut_count++] = at;
    return CDU_OK;
}

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

static cdu_status lower_backward(cdu_lowering *l, cdu_error *error)
{
    l->backward = true;
    for (uint32_t n = cdu_graph_nodes(l->graph); n-- > 0;) {
        const cdu_node *node = cdu_graph_node(l->graph, n);
        if (!node->operator->backward) continue;
        bool wanted = false, given = node->operator->loss;
        for (uint32_t i = 0; i < node->inputs; i++) wanted = wanted || l->values[node->input[i]].wants_gradient;
        for (uint32_t i = 0; i < node->owned; i++) wanted = wanted || l->values[node->own[i]].wants_gradient;
        for (uint32_t i = 0; i < node->outputs; i++)
            given = given || l->values[node->output[i]].gradient_written || seeded(l, node->output[i]);
        if (wanted && given) CDU_TRY(node->operator->backward(l, node, error));
    }
    for (uint32_t v = 0; v < cdu_graph_values(l->graph); v++) {
        const cdu_value_info *info = cdu_graph_value(l->graph, (cdu_value)v);
        if (info->kind == CDU_VALUE_PARAMETER && !l->values[v].gradient_written)
            return cdu_fail(error, CDU_FAILED, "%s: no gradient reaches this parameter", info->name);
    }
    return CDU_OK;
}

cdu_status cdu_lowering_run(cdu_lowering *l, cdu_error *error)
{
    CDU_TRY(cdu_graph_status(l->graph, error));
    CDU_TRY(cdu_allocate(&l->values, cdu_graph_values(l->graph), sizeof *l->values, error));
    for (uint32_t v = 0; v < cdu_graph_values(l->graph); v++)
        l->values[v].forward = l->values[v].again = l->values[v].gradient = CDU_NO_TENSOR;
    for (int a = 0; a < CDU_ARENAS; a++) l->arenas[a] = CDU_NO_TENSOR;
    find_wanted_gradients(l);
    CDU_TRY(lay_out_arenas(l, error));
    for (uint32_t n = 0; n < cdu_graph_nodes(l->graph); n++) {
        const cdu_node *node = cdu_graph_node(l->graph, n);
        CDU_TRY(node->operator->forward(l, node, error));
    }
    if (!l->options.training) return CDU_OK;
    CDU_TRY(lower_backward(l, error));
    return l->options.update ? l->options.update(l, error) : CDU_OK;
}

void cdu_lowering_free(cdu_lowering *l)
{
    free(l->values);
    free(l->tensors);
    free(l->drafts);
    free(l->cuts);
}
