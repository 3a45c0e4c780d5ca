/* graph.h: the network as data. A graph holds values (what flows, and parameters) and nodes (an operator applied to values). It
 * knows shapes, names and gradients' existence; no device, no memory. lowering.h turns it into steps, plan.h gives these memory,
 * program.h runs them.
 *
 * Shapes are N, H, W, C, channels last. A graph is built once, by one thread, and read-only afterwards. Building functions return
 * CDU_NO_VALUE once something failed; the first error stays in the graph (cdu_graph_status), so a model can be built without a
 * check at every line. */
#ifndef CDU_GRAPH_GRAPH_H
#define CDU_GRAPH_GRAPH_H

#include <stdbool.h>
#include <stdint.h>

#include "cdunet/error.h"

typedef int32_t cdu_value;
enum { CDU_NO_VALUE = -1, CDU_NODE_INPUTS = 4, CDU_NODE_OUTPUTS = 2, CDU_NODE_OWN = 8, CDU_NAME_LIMIT = 96 };

typedef struct { uint32_t n, h, w, c; } cdu_shape;
typedef enum { CDU_F32, CDU_U32 } cdu_storage;              /* 4 bytes each; half precision comes here later */

typedef enum {
    CDU_VALUE_INPUT,        /* written by the host before a run */
    CDU_VALUE_ACTIVATION,   /* written by an operator */
    CDU_VALUE_CONCAT,       /* written by the producers of its two parts; its memory is theirs */
    CDU_VALUE_PARAMETER,    /* trained; lies in a flat arena, dense, in PyTorch's order */
    CDU_VALUE_STATE,        /* running statistics; a flat arena of its own, no gradient */
    CDU_VALUE_SAVED         /* kept from the forward pass for the backward pass: statistics */
} cdu_value_kind;

typedef enum { CDU_INIT_ZERO, CDU_INIT_ONE, CDU_INIT_HE } cdu_init; /* HE: normal, deviation sqrt(2 / fan_in) */

typedef struct {
    char name[CDU_NAME_LIMIT];      /* "down.0.0.0.weight"; unique in its graph */
    cdu_value_kind kind;
    cdu_storage storage;
    cdu_shape shape;                /* activations and inputs */
    uint32_t dims[4], rank;         /* parameters, states, saved: PyTorch's shape */
    cdu_init init;                  /* parameters and states */
    uint32_t fan_in;
    int32_t node;                   /* producer, or -1 */
    cdu_value parent;               /* the concatenation this value is a part of, or CDU_NO_VALUE */
    uint32_t part;                  /* 0 or 1 */
    cdu_value parts[2];             /* CDU_VALUE_CONCAT */
    bool wants_gradient;            /* cdu_graph_want_gradient, and every parameter */
    bool host_reads;                /* cdu_graph_output: lies in memory the host can read */
    bool host_reads_gradient;       /* cdu_graph_output_gradient */
    bool host_writes_gradient;      /* cdu_graph_seed: the host gives the gradient at which backward starts */
} cdu_value_info;

typedef struct cdu_graph cdu_graph;
typedef struct cdu_node cdu_node;
typedef struct cdu_lowering cdu_lowering;

/* What an operator is: one const struct a file of core/ops.
 * infer checks the inputs and declares outputs, parameters, states and saved values. forward and backward append steps through
 * lowering.h and run nothing; several lowerings of one graph may go on at once, on threads of their own. cheap: forward may be
 * lowered again in the backward pass, instead of storing its output (cdu_lowering_again tells). loss: backward starts here, without a gradient of its output. backward may be null: no gradient
 * passes. */
typedef enum { CDU_RELU_NONE, CDU_RELU_BEFORE, CDU_RELU_BEHIND } cdu_relu_place;

typedef struct cdu_operator {
    const char *name;
    bool cheap, loss;
    cdu_status (*infer)(cdu_graph *, cdu_node *, cdu_error *);
    cdu_status (*forward)(cdu_lowering *, const cdu_node *, cdu_error *);
    cdu_status (*backward)(cdu_lowering *, const cdu_node *, cdu_error *);
    /* May be null. Whether the operator wants the moments of its input, and of that or of its positive part (cdu_lower_moments). */
    bool (*wants_moments)(const cdu_node *, bool *of_relu);
    /* May be null. Whether both passes of the node can normalize this input where they read it (cdu_lower_normalized). */
    bool (*normalizes)(const cdu_lowering *, const cdu_node *, cdu_value);
} cdu_operator;

/* Settings of one node; their meaning is the operator's, which offers a builder function in ops.h that fills them. */
typedef struct { uint32_t integer[8]; float real[4]; } cdu_attributes;

struct cdu_node {
    char name[CDU_NAME_LIMIT];
    const cdu_operator *operator;
    cdu_attributes attributes;
    cdu_value input[CDU_NODE_INPUTS];
    cdu_value output[CDU_NODE_OUTPUTS];
    cdu_value own[CDU_NODE_OWN];    /* parameters, states, saved values, in order of declaration */
    uint32_t inputs, outputs, owned;
};

cdu_status cdu_graph_create(cdu_graph **out, cdu_error *error);
void cdu_graph_destroy(cdu_graph *graph);
/* CDU_OK, or the first thing that went wrong while building, with its words. */
cdu_status cdu_graph_status(const cdu_graph *graph, cdu_error *error);

cdu_value cdu_graph_input(cdu_graph *graph, const char *name, cdu_shape shape, cdu_storage storage);
/* Applies an operator; returns its first output. `name` becomes the prefix of its parameters' names. */
cdu_value cdu_graph_apply(cdu_graph *graph, const cdu_operator *operator, const char *name, const cdu_value *inputs,
                          uint32_t count, const cdu_attributes *attributes);
/* The two values side by side in channels, `a` first; both must be outputs of operators and part of nothing else. No copy is
 * made: their producers write into slices of the result. */
cdu_value cdu_graph_concat(cdu_graph *graph, const char *name, cdu_value a, cdu_value b);

void cdu_graph_output(cdu_graph *graph, cdu_value value);
void cdu_graph_output_gradient(cdu_graph *graph, cdu_value value);
void cdu_graph_seed(cdu_graph *graph, cdu_value value);
/* For graph inputs that want a gradient (tests, looking into the network); parameters always have one. */
void cdu_graph_want_gradient(cdu_graph *graph, cdu_value value);

uint32_t cdu_graph_values(const cdu_graph *graph);
uint32_t cdu_graph_nodes(const cdu_graph *graph);
const cdu_value_info *cdu_graph_value(const cdu_graph *graph, cdu_value value);
const cdu_node *cdu_graph_node(const cdu_graph *graph, uint32_t node);
/* CDU_NO_VALUE where there is none of that name. */
cdu_value cdu_graph_find(const cdu_graph *graph, const char *name);
/* Product of dims. */
uint64_t cdu_value_elements(const cdu_value_info *value);

/* For infer: */
cdu_value cdu_node_output(cdu_graph *graph, cdu_node *node, cdu_shape shape, cdu_storage storage);
cdu_value cdu_node_parameter(cdu_graph *graph, cdu_node *node, const char *name, const uint32_t *dims, uint32_t rank,
                             cdu_init init, uint32_t fan_in);
cdu_value cdu_node_state(cdu_graph *graph, cdu_node *node, const char *name, uint32_t count, cdu_init init);
cdu_value cdu_node_saved(cdu_graph *graph, cdu_node *node, const char *name, uint32_t count);

#endif
