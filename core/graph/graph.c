/* graph.c: values and nodes. Building keeps the first error in the graph; gradients, memory and steps are lowering.c's business. */
#include "core/graph/graph.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"

struct cdu_graph {
    cdu_value_info *values;
    size_t value_count, value_capacity;
    cdu_node **nodes;
    size_t node_count, node_capacity;
    cdu_error error;
};

cdu_status cdu_graph_create(cdu_graph **out, cdu_error *error)
{
    return cdu_allocate(out, 1, sizeof **out, error);
}

void cdu_graph_destroy(cdu_graph *graph)
{
    if (!graph) return;
    for (size_t i = 0; i < graph->node_count; i++) free(graph->nodes[i]);
    free(graph->nodes);
    free(graph->values);
    free(graph);
}

cdu_status cdu_graph_status(const cdu_graph *graph, cdu_error *error)
{
    if (graph->error.status != CDU_OK && error) *error = graph->error;
    return graph->error.status;
}

uint32_t cdu_graph_values(const cdu_graph *graph)
{
    return (uint32_t)graph->value_count;
}

uint32_t cdu_graph_nodes(const cdu_graph *graph)
{
    return (uint32_t)graph->node_count;
}

const cdu_value_info *cdu_graph_value(const cdu_graph *graph, cdu_value value)
{
    return &graph->values[value];
}

const cdu_node *cdu_graph_node(const cdu_graph *graph, uint32_t node)
{
    return graph->nodes[node];
}

cdu_value cdu_graph_find(const cdu_graph *graph, const char *name)
{
    for (size_t i = 0; i < graph->value_count; i++)
        if (!strcmp(graph->values[i].name, name)) return (cdu_value)i;
    return CDU_NO_VALUE;
}

uint64_t cdu_value_elements(const cdu_value_info *value)
{
    uint64_t elements = 1;
    if (!value->rank) return (uint64_t)value->shape.n * value->shape.h * value->shape.w * value->shape.c;
    for (uint32_t i = 0; i < value->rank; i++) elements *= value->dims[i];
    return elements;
}

static bool broken(const cdu_graph *graph)
{
    return graph->error.status != CDU_OK;
}

static bool known(cdu_graph *graph, cdu_value value)
{
    if (broken(graph)) return false;
    if (value >= 0 && (size_t)value < graph->value_count) return true;
    cdu_fail(&graph->error, CDU_FAILED, "value %d is not in this graph", (int)value);
    return false;
}

static cdu_value add_value(cdu_graph *graph, const char *prefix, const char *name, cdu_value_kind kind)
{
    if (broken(graph)) return CDU_NO_VALUE;
    if (cdu_grow(&graph->values, &graph->value_capacity, graph->value_count + 1, sizeof *graph->values, &graph->error) != CDU_OK)
        return CDU_NO_VALUE;
    cdu_value_info info = {.kind = kind, .node = -1, .parent = CDU_NO_VALUE, .parts = {CDU_NO_VALUE, CDU_NO_VALUE}};
    int used = snprintf(info.name, sizeof info.name, "%s%s%s", prefix, *prefix && *name ? "." : "", name);
    if (used < 0 || (size_t)used >= sizeof info.name || cdu_graph_find(graph, info.name) != CDU_NO_VALUE) {
        cdu_fail(&graph->error, CDU_FAILED, "value '%s': the name is too long or already taken", info.name);
        return CDU_NO_VALUE;
    }
    info.wants_gradient = kind == CDU_VALUE_PARAMETER;
    graph->values[graph->value_count] = info;
    return (cdu_value)graph->value_count++;
}

static bool shape_fits(cdu_graph *graph, const char *name, cdu_shape s)
{
    if (s.n && s.h && s.w && s.c && (uint64_t)s.n * s.h < UINT32_MAX && (uint64_t)s.n * s.h * s.w < INT32_MAX &&
        (uint64_t)s.h * s.w * s.c < INT32_MAX)
        return true;
    cdu_fail(&graph->error, CDU_USAGE, "%s: shape %u x %u x %u x %u is empty or too large", name, s.n, s.h, s.w, s.c);
    return false;
}

cdu_value cdu_graph_input(cdu_graph *graph, const char *name, cdu_shape shape, cdu_storage storage)
{
    if (broken(graph) || !shape_fits(graph, name, shape)) return CDU_NO_VALUE;
    cdu_value value = add_value(graph, "", name, CDU_VALUE_INPUT);
    if (value == CDU_NO_VALUE) return value;
    graph->values[value].shape = shape;
    graph->values[value].storage = storage;
    return value;
}

cdu_value cdu_graph_apply(cdu_graph *graph, const cdu_operator *operator, const char *name, const cdu_value *inputs,
                          uint32_t count, const cdu_attributes *attributes)
{
    if (broken(graph)) return CDU_NO_VALUE;
    if (count > CDU_NODE_INPUTS || strlen(name) + 32 > CDU_NAME_LIMIT) {
        cdu_fail(&graph->error, CDU_FAILED, "node '%s': too many inputs or too long a name", name);
        return CDU_NO_VALUE;
    }
    for (uint32_t i = 0; i < count; i++)
        if (!known(graph, inputs[i])) return CDU_NO_VALUE;
    cdu_node *node;
    if (cdu_grow(&graph->nodes, &graph->node_capacity, graph->node_count + 1, sizeof *graph->nodes, &graph->error) != CDU_OK ||
        cdu_allocate(&node, 1, sizeof *node, &graph->error) != CDU_OK)
        return CDU_NO_VALUE;
    graph->nodes[graph->node_count++] = node;
    snprintf(node->name, sizeof node->name, "%s", name);
    node->operator= operator;
    if (attributes) node->attributes = *attributes;
    memcpy(node->input, inputs, count * sizeof *inputs);
    node->inputs = count;
    cdu_error error = {0};
    if (operator->infer(graph, node, &error) != CDU_OK && !broken(graph)) graph->error = error;
    if (!broken(graph) && node->outputs == 0) cdu_fail(&graph->error, CDU_FAILED, "node '%s' has no output", name);
    return broken(graph) ? CDU_NO_VALUE : node->output[0];
}

cdu_value cdu_graph_concat(cdu_graph *graph, const char *name, cdu_value a, cdu_value b)
{
    if (!known(graph, a) || !known(graph, b)) return CDU_NO_VALUE;
    const cdu_value_info *va = &graph->values[a], *vb = &graph->values[b];
    if (a == b || va->kind != CDU_VALUE_ACTIVATION || vb->kind != CDU_VALUE_ACTIVATION || va->parent != CDU_NO_VALUE ||
        vb->parent != CDU_NO_VALUE || va->storage != vb->storage) {
        cdu_fail(&graph->error, CDU_FAILED, "%s: '%s' and '%s' must be two operators' outputs, part of nothing else", name,
                 va->name, vb->name);
        return CDU_NO_VALUE;
    }
    if (va->shape.n != vb->shape.n || va->shape.h != vb->shape.h || va->shape.w != vb->shape.w) {
        cdu_fail(&graph->error, CDU_USAGE, "%s: '%s' is %u x %u x %u and '%s' is %u x %u x %u: N, H, W must be equal", name,
                 va->name, va->shape.n, va->shape.h, va->shape.w, vb->name, vb->shape.n, vb->shape.h, vb->shape.w);
        return CDU_NO_VALUE;
    }
    cdu_shape shape = va->shape;
    cdu_storage storage = va->storage;
    shape.c += vb->shape.c;
    cdu_value value = add_value(graph, "", name, CDU_VALUE_CONCAT);
    if (value == CDU_NO_VALUE) return value;
    cdu_value_info *info = &graph->values[value];
    info->shape = shape;
    info->storage = storage;
    info->parts[0] = a;
    info->parts[1] = b;
    for (uint32_t part = 0; part < 2; part++) {
        graph->values[info->parts[part]].parent = value;
        graph->values[info->parts[part]].part = part;
    }
    return value;
}

void cdu_graph_output(cdu_graph *graph, cdu_value value)
{
    if (known(graph, value)) graph->values[value].host_reads = true;
}

void cdu_graph_output_gradient(cdu_graph *graph, cdu_value value)
{
    if (known(graph, value)) graph->values[value].host_reads_gradient = true;
}

void cdu_graph_seed(cdu_graph *graph, cdu_value value)
{
    if (known(graph, value)) graph->values[value].host_writes_gradient = true;
}

void cdu_graph_want_gradient(cdu_graph *graph, cdu_value value)
{
    if (known(graph, value)) graph->values[value].wants_gradient = true;
}

cdu_value cdu_node_output(cdu_graph *graph, cdu_node *node, cdu_shape shape, cdu_storage storage)
{
    char name[24] = "output";
    if (node->outputs) snprintf(name, sizeof name, "output.%u", node->outputs);
    if (broken(graph) || !shape_fits(graph, node->name, shape)) return CDU_NO_VALUE;
    if (node->outputs == CDU_NODE_OUTPUTS) {
        cdu_fail(&graph->error, CDU_FAILED, "node '%s' has too many outputs", node->name);
        return CDU_NO_VALUE;
    }
    cdu_value value = add_value(graph, node->name, name, CDU_VALUE_ACTIVATION);
    if (value == CDU_NO_VALUE) return value;
    graph->values[value].shape = shape;
    graph->values[value].storage = storage;
    graph->values[value].node = (int32_t)graph->node_count - 1;
    node->output[node->outputs++] = value;
    return value;
}

static cdu_value own(cdu_graph *graph, cdu_node *node, const char *name, cdu_value_kind kind, const uint32_t *dims, uint32_t rank)
{
    if (broken(graph)) return CDU_NO_VALUE;
    if (node->owned == CDU_NODE_OWN || rank > 4) {
        cdu_fail(&graph->error, CDU_FAILED, "node '%s' owns too much, or '%s' has too many dimensions", node->name, name);
        return CDU_NO_VALUE;
    }
    cdu_value value = add_value(graph, node->name, name, kind);
    if (value == CDU_NO_VALUE) return value;
    cdu_value_info *info = &graph->values[value];
    memcpy(info->dims, dims, rank * sizeof *dims);
    info->rank = rank;
    uint64_t elements = cdu_value_elements(info);
    if (!elements || elements > INT32_MAX) {
        cdu_fail(&graph->error, CDU_USAGE, "%s: %llu elements are none or too many", info->name, (unsigned long long)elements);
        return CDU_NO_VALUE;
    }
    info->shape = (cdu_shape){1, 1, 1, (uint32_t)elements};
    info->node = (int32_t)graph->node_count - 1;
    node->own[node->owned++] = value;
    return value;
}

cdu_value cdu_node_parameter(cdu_graph *graph, cdu_node *node, const char *name, const uint32_t *dims, uint32_t rank,
                             cdu_init init, uint32_t fan_in)
{
    cdu_value value = own(graph, node, name, CDU_VALUE_PARAMETER, dims, rank);
    if (value == CDU_NO_VALUE) return value;
    graph->values[value].init = init;
    graph->values[value].fan_in = fan_in;
    return value;
}

cdu_value cdu_node_state(cdu_graph *graph, cdu_node *node, const char *name, uint32_t count, cdu_init init)
{
    cdu_value value = own(graph, node, name, CDU_VALUE_STATE, &count, 1);
    if (value != CDU_NO_VALUE) graph->values[value].init = init;
    return value;
}

cdu_value cdu_node_saved(cdu_graph *graph, cdu_node *node, const char *name, uint32_t count)
{
    return own(graph, node, name, CDU_VALUE_SAVED, &count, 1);
}
