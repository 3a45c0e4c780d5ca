/* internal.h: what lowering.c, plan.c and program.c share: the tensors and steps of a plan. For core/graph alone. */
#ifndef CDU_GRAPH_INTERNAL_H
#define CDU_GRAPH_INTERNAL_H

#include "core/graph/program.h"

typedef enum {
    CDU_PLACE_PLANNED,      /* activations, their gradients, saved values, scratch: in chunks, memory reused */
    CDU_PLACE_ARENA,        /* one of the flat arenas */
    CDU_PLACE_KEPT,         /* a buffer of its own: made from parameters, good until they change */
    CDU_PLACE_HOST_WRITES,  /* a buffer of its own that the host fills */
    CDU_PLACE_HOST_READS,   /* a buffer of its own that the host reads */
    CDU_PLACE_PATCH
} cdu_place;

typedef struct {
    char name[CDU_NAME_LIMIT];
    cdu_layout layout;
    cdu_place place;
    cdu_tensor root;            /* itself, or the tensor in whose memory this one lies */
    uint64_t start;             /* bytes from the root's beginning */
    uint64_t bytes;
    cdu_arena arena;            /* CDU_PLACE_ARENA */
    bool keep;                  /* lives for the whole list: saved by the host or needed from one run to the next */
    /* the plan's answer, for roots: */
    uint32_t first, last;       /* steps that use it; first > last: never used */
    uint32_t chunk;
    uint64_t offset;
} cdu_tensor_record;

/* What the backward pass reads of an activation or a concatenation (parts follow it): what the forward pass wrote, kept until then; or
 * what the same steps write once more, for the first node that needs it and held until the last; or once more for each. */
typedef enum { CDU_KEPT, CDU_AGAIN_ONCE, CDU_AGAIN_EACH } cdu_keeping;

typedef struct {
    cdu_tensor forward, again, gradient;
    cdu_keeping keeping;
    uint32_t again_for;         /* the node in whose backward pass `again` was written */
    bool gradient_written;
    bool wants_gradient;        /* itself, or something before it */
    uint64_t arena_offset;      /* parameters and states: elements from the arena's beginning */
    cdu_tensor moments;         /* offered by who writes it */
    uint32_t moment_rows;
    bool deferred;              /* readers normalize: */
    cdu_value raw, saved;
    uint32_t row_lanes;
    cdu_relu_place relu;
} cdu_value_record;

/* What the host does between two segments where there are several ranks. */
typedef struct {
    bool sum;                   /* of gradients, in place; else rows gathered */
    cdu_tensor mine, all;       /* sum: both the same */
    uint64_t first, count;      /* sum: elements of the gradients' arena */
    uint32_t rows, channels, lanes;
    uint32_t ready, needed;     /* drafts: may begin in front of the one, has to be done in front of the other */
    uint32_t after, before;     /* the same as segments: when this one is done; before that one begins (the plan's answer) */
} cdu_exchange;

struct cdu_lowering {
    const cdu_graph *graph;
    cdu_device_info device;
    cdu_plan_options options;
    cdu_value_record *values;
    cdu_tensor_record *tensors;
    size_t tensor_count, tensor_capacity;
    cdu_draft *drafts;
    size_t draft_count, draft_capacity;
    uint32_t *cuts;             /* a segment begins before these drafts */
    size_t cut_count, cut_capacity;
    cdu_tensor patch, verdict, arenas[CDU_ARENAS]; /* verdict: CDU_NO_TENSOR until asked for */
    uint64_t arena_elements[CDU_ARENAS];
    const uint8_t *keeping;     /* a cdu_keeping for each value; null: cdu_value_keeping_at_first */
    bool backward;
    uint32_t backward_node;     /* whose backward pass is being lowered */
    cdu_exchange *exchanges;
    size_t exchange_count, exchange_capacity;
    uint64_t bucket_end;        /* gradients below are not yet in a bucket */
    uint32_t update;            /* the draft at which the sums are needed; 0: alone */
    const cdu_node *again;      /* whose forward pass is being lowered once more, or null */
    const char *mark_pass, *mark_variant; /* cdu_lowering_mark */
    uint32_t kept;              /* so many drafts at the front make what is kept */
    uint32_t subgroup;          /* cdu_lowering_pin */
};

/* exchange.c: called after a node's backward pass: what is complete and large enough becomes a bucket. last: the rest too. */
cdu_status cdu_lower_buckets(cdu_lowering *l, const cdu_node *node, bool last, cdu_error *error);
/* The sums back into the arena, before the update. */
cdu_status cdu_lower_sums(cdu_lowering *l, cdu_error *error);
/* keep.c: what is made from parameters alone goes to the front. */
cdu_status cdu_lower_keep(cdu_lowering *l, cdu_error *error);
/* values.c: a dense tensor with a buffer of its own. */
cdu_status cdu_lower_host(cdu_lowering *l, const char *label, cdu_place place, uint64_t count, cdu_tensor *out, cdu_error *error);

enum { CDU_ARENA_ALIGN = 128 }; /* elements: 512 bytes, the strictest alignment met, so arenas are alike on all devices */

typedef struct {
    bool fill;                  /* else a kernel */
    uint32_t draft;             /* kernel: which draft; fill: which tensor */
    uint32_t segment;
    bool barrier;
} cdu_planned_step;

struct cdu_plan {
    cdu_lowering lowering;
    cdu_planned_step *steps;
    size_t step_count, step_capacity;
    uint64_t *chunk_bytes;
    size_t chunk_count, chunk_capacity;
    uint32_t kept_segments;     /* at the front: they make what is kept */
    uint64_t *living;           /* for each draft: bytes of planned tensors that live while it runs */
    cdu_plan_report report;
};

typedef struct {
    const cdu_draft *draft;     /* the first that needs it */
    cdu_kernel *kernel;
} cdu_kernel_slot;

struct cdu_program {
    const cdu_graph *graph;
    const cdu_gpu *gpu;
    cdu_plan *plan;
    cdu_program *beside;        /* in whose chunks some of ours lie, or null */
    size_t *lent_by;            /* for each chunk: which of beside's, or NOT_LENT */
    uint64_t lent;              /* bytes */
    cdu_buffer **chunks;        /* chunk_count */
    cdu_buffer **own;           /* a buffer for each tensor that has one of its own, else null */
    cdu_kernel_slot *kernels;
    size_t kernel_count;
    uint32_t *kernel_of;        /* for each draft */
    cdu_step *steps;
    cdu_list *list;
    cdu_ticket ticket;          /* of the last segment submitted */
    bool fresh, ran_kept;       /* what is kept is that of the parameters; the last run made it */
    bool quiet;
};

/* Lowers the whole graph; the result owns its arrays, cdu_lowering_free releases them. */
cdu_status cdu_lowering_run(cdu_lowering *l, cdu_error *error);
void cdu_lowering_free(cdu_lowering *l);
/* values.c. Needs graph, device, options and keeping of the lowering; makes the records of values, and the arenas. */
cdu_status cdu_values_begin(cdu_lowering *l, cdu_error *error);
/* The host gives the gradient, of the value or of the concatenation it is a part of. */
bool cdu_value_seeded(const cdu_lowering *l, cdu_value value);
/* The backward pass may do without what the forward pass wrote: no part of anything, made by operators, unseen by the host. */
bool cdu_value_droppable(const cdu_graph *graph, cdu_value value);
/* Cheap operators' outputs are computed again. */
cdu_keeping cdu_value_keeping_at_first(const cdu_graph *graph, cdu_value value);
/* Bytes [*begin, *end) of the use's root. */
void cdu_use_range(const cdu_lowering *l, const cdu_use *use, cdu_tensor *root, uint64_t *begin, uint64_t *end);

/* plan.c: a plan as far as its memory goes: lowered and placed, without the order of steps. keeping: as in cdu_lowering. */
cdu_status cdu_plan_place(const cdu_graph *graph, const cdu_device_info *device, const cdu_plan_options *options,
                          const uint8_t *keeping, cdu_plan **out, cdu_error *error);
/* limit.c: the same, with the peak within options->memory. */
cdu_status cdu_plan_within(const cdu_graph *graph, const cdu_device_info *device, const cdu_plan_options *options, cdu_plan **out,
                           cdu_error *error);

/* report.c: sums up the memory of a plan; CDUNET_DEBUG=steps and memory. */
void cdu_plan_report_memory(cdu_plan *plan);
void cdu_plan_log_steps(const cdu_plan *plan);
void cdu_plan_log_memory(const cdu_plan *plan);

#endif
