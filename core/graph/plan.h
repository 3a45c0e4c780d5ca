/* plan.h: a graph lowered for one device and given memory: steps, where every tensor lies, barriers, segments. Needs a device's
 * description, not the device; nothing is allocated there, so the peak is known and can be printed before. */
#ifndef CDU_GRAPH_PLAN_H
#define CDU_GRAPH_PLAN_H

#include "core/graph/lowering.h"

typedef struct cdu_plan cdu_plan;

/* Appends the steps of a weight update (core/ops/sgd.c); called once, after all gradients are there. */
typedef cdu_status cdu_update_lowering(cdu_lowering *, cdu_error *);

#define CDU_SPEND 0.01
#define CDU_BUCKET_BYTES ((uint64_t)4 << 20)

typedef struct {
    bool training;                  /* backward too; else forward alone */
    cdu_update_lowering *update;    /* null: gradients only (tests) */
    bool keep;                      /* of an inference: packed weights are kept from run to run, where there is memory for them */
    bool exact;                     /* no kernels that round in another domain than the sum's own (Winograd) */
    uint64_t memory;                /* bytes that the peak must not exceed, at the price of computing more again; 0: no limit */
    uint64_t reserved;              /* bytes of `memory` that something else will take */
    uint64_t room;                  /* bytes that there are for activations at least: a program beside will use them */
    double spend;                   /* share of work that may be added for a lower peak where there is no limit: CDU_SPEND where a step is run often */
    uint32_t ranks;                 /* programs that train together, this one among them: gradients are summed over them; 0 and 1: alone */
    uint32_t images;                /* of the batch over all ranks */
    bool synchronized;              /* batch norm's statistics are those of all ranks' images */
    uint64_t bucket;                /* bytes of gradients that are summed at once, at least; 0: CDU_BUCKET_BYTES */
    bool quiet;                     /* a program's memory is logged as CDU_LOG_DEBUG: self-tests */
} cdu_plan_options;

typedef struct {
    uint64_t activations;           /* planned arena: activations, gradients of activations, saved values, scratch */
    uint64_t activations_unshared;  /* what they would take without reuse of memory */
    uint64_t arenas;                /* parameters, gradients, momentum, states, what is kept */
    uint64_t host_visible;          /* inputs, outputs, patch */
    uint64_t peak;                  /* all of it */
    uint32_t steps, segments, barriers, kernels, tensors;
    double flops, bytes;            /* of a run, without what is kept */
    double work;                    /* to compare plans by: bytes moved, and twelve operations as a byte, as on most devices */
} cdu_plan_report;

/* CDU_TRY_AGAIN where options->memory is less than the least peak that was found, with both numbers; CDU_NO_DEVICE where the device's
 * limits are too small for the shapes. */
cdu_status cdu_plan_create(const cdu_graph *graph, const cdu_device_info *device, const cdu_plan_options *options,
                           cdu_plan **out, cdu_error *error);
void cdu_plan_destroy(cdu_plan *plan);
cdu_plan_report cdu_plan_report_of(const cdu_plan *plan);
/* The kernel steps, for whoever wants to compile or count them without running. */
uint32_t cdu_plan_drafts(const cdu_plan *plan);
const cdu_draft *cdu_plan_draft(const cdu_plan *plan, uint32_t index);

#endif
