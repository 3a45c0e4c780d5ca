/* lowering.c: walks a graph forward, then backward, and lets the operators append drafts of steps, which are checked here. Which tensors
 * values have is values.c's business, memory plan.c's. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/graph/internal.h"

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
    return l->again != NULL;
}

bool cdu_lowering_training(const cdu_lowering *l)
{
    return l->options.training;
}

bool cdu_lowering_exact(const cdu_lowering *l)
{
    return l->options.exact;
}

uint64_t cdu_lowering_arena_elements(const cdu_lowering *l, cdu_arena arena)
{
    return l->arena_elements[arena];
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

/* Up to `most` characters behind the `used` first ones; returns how many there are then. A search for a plan lowers hundreds of them, and
 * snprintf would take half of its time. */
static size_t put(char *text, size_t used, size_t size, const char *from, size_t most)
{
    while (*from && most-- && used + 1 < size) text[used++] = *from++;
    text[used] = 0;
    return used;
}

cdu_draft cdu_draft_begin(const char *source, const char *kernel, const cdu_node *node, const char *pass)
{
    cdu_draft draft = {.source = source, .kernel = kernel, .groups = {1, 1, 1}, .group_size = {1, 1, 1}, .node = node};
    size_t used = put(draft.label, 0, sizeof draft.label, node ? node->name : "", 44);
    used = put(draft.label, used, sizeof draft.label, node ? " " : "", 1);
    put(draft.label, used, sizeof draft.label, pass, 16);
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
    char digits[12] = {0}, *digit = digits + sizeof digits - 1;
    size_t used = strlen(draft->defines), size = sizeof draft->defines;
    do *--digit = (char)('0' + value % 10);
    while (value /= 10);
    used = put(draft->defines, used, size, used ? " " : "", 1);
    used = put(draft->defines, used, size, name, size);
    used = put(draft->defines, used, size, "=", 1);
    put(draft->defines, used, size, digit, size);
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

void cdu_lowering_mark(cdu_lowering *l, const char *pass, const char *variant)
{
    l->mark_pass = pass;
    l->mark_variant = variant;
}

void cdu_lowering_pin(cdu_lowering *l, uint32_t subgroup)
{
    l->subgroup = subgroup;
}

static void mark(const cdu_lowering *l, cdu_draft *draft)
{
    draft->subgroup = l->subgroup;
    draft->pass = l->mark_pass ? l->mark_pass : !draft->node ? "update" : l->again ? "again" : l->backward ? "backward" : "forward";
    if (l->mark_variant) snprintf(draft->variant, sizeof draft->variant, "%s", l->mark_variant);
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
    if (draft->copy && draft->uses != 2) return cdu_fail(error, CDU_FAILED, "%s: a copy has two uses", draft->label);
    if (items > l->device.group_items)
        return cdu_fail(error, CDU_NO_DEVICE, "%s: groups of %llu items; %s allows %u", draft->label, (unsigned long long)items,
                        l->device.name, l->device.group_items);
    for (uint32_t i = 0; i < draft->uses; i++) CDU_TRY(check_use(l, draft, &draft->use[i], error));
    CDU_TRY(cdu_grow(&l->drafts, &l->draft_capacity, l->draft_count + 1, sizeof *l->drafts, error));
    uint32_t at = (uint32_t)l->draft_count++;
    l->drafts[at] = *draft;
    mark(l, &l->drafts[at]);
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
            given = given || l->values[node->output[i]].gradient_written || cdu_value_seeded(l, node->output[i]);
        l->backward_node = n;
        if (wanted && given) CDU_TRY(node->operator->backward(l, node, error));
        CDU_TRY(cdu_lower_buckets(l, node, false, error));
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
    CDU_TRY(cdu_values_begin(l, error));
    for (uint32_t n = 0; n < cdu_graph_nodes(l->graph); n++) {
        const cdu_node *node = cdu_graph_node(l->graph, n);
        CDU_TRY(node->operator->forward(l, node, error));
    }
    if (!l->options.training) return cdu_lower_keep(l, error);
    CDU_TRY(lower_backward(l, error));
    CDU_TRY(cdu_lower_buckets(l, NULL, true, error));
    CDU_TRY(cdu_lower_sums(l, error));
    return l->options.update ? l->options.update(l, error) : CDU_OK;
}

void cdu_lowering_free(cdu_lowering *l)
{
    free(l->values);
    free(l->tensors);
    free(l->drafts);
    free(l->cuts);
    free(l->exchanges);
}
