/* lowering.h: from nodes to steps. An operator's forward and backward ask here for tensors (memory with a layout, not yet placed)
 * and append steps that read and write them. Nothing runs.
 *
 * A tensor belongs to a value (its forward instance, a recomputed instance in the backward pass, its gradient), or is scratch.
 * Its layout is N, H, W and a channel pitch: pads are lanes beyond the channels; every writer of a tensor writes its pad lanes
 * with zero, every reader may rely on that. A concatenation of a and b has a's lanes (pads included), then b's: channel c of it
 * lies at lane c for c < split, else at lane split_lane + c - split. */
#ifndef CDU_GRAPH_LOWERING_H
#define CDU_GRAPH_LOWERING_H

#include "backends/backend.h"
#include "core/graph/graph.h"

typedef int32_t cdu_tensor;
enum { CDU_NO_TENSOR = -1 };

typedef struct {
    cdu_shape shape;            /* shape.c: channels, without pads */
    cdu_storage storage;
    uint32_t pitch;             /* lanes (of 4 bytes) from one pixel to the next; a view's is its parent's */
    uint32_t offset;            /* first lane of this tensor within the pixel; 0 unless a view; a multiple of 4 */
    uint32_t lanes;             /* lanes of this tensor, pads included; a multiple of 4 (of 1 for CDU_U32) */
    uint32_t split, split_lane; /* see above; split = shape.c, split_lane = lanes where it is no concatenation */
    uint64_t image_bytes;       /* shape.h * shape.w * pitch * 4 */
} cdu_layout;

/* Lanes for c channels on this device: rounded up to 4; on CPUs with wide vectors to 4, 8 or a multiple of 16. */
uint32_t cdu_channel_lanes(const cdu_device_info *device, uint32_t c);
/* Lane of channel c. */
uint32_t cdu_layout_lane(const cdu_layout *layout, uint32_t c);

typedef struct { cdu_tensor tensor; uint32_t access; uint32_t n0, n1; } cdu_use; /* images [n0, n1); n1 = 0: the whole tensor */

typedef struct {
    bool copy;                  /* no kernel: the bytes of use[0] to use[1] */
    const char *source;         /* "conv.k" */
    const char *kernel;         /* "conv_direct" */
    char defines[CDU_DEFINES_LIMIT];
    cdu_use use[CDU_BINDINGS];
    uint32_t uses;
    uint32_t param[CDU_PARAM_WORDS], params;
    uint32_t groups[3], group_size[3];
    uint32_t subgroup;          /* items of a subgroup that it was made for, where the device lets choose; 0: any */
    char label[64];             /* "down.0.0.0 forward" */
    double flops, bytes;
    const cdu_node *node;       /* whose it is; null: the update */
    const char *pass;           /* "forward", "again", "backward", "update", of convolutions "data gradient" and "weight gradient" */
    char variant[32];           /* of convolutions, as CDUNET_VARIANT would force it: "direct:64:2" */
} cdu_draft;

const cdu_device_info *cdu_lowering_device(const cdu_lowering *);
const cdu_graph *cdu_lowering_graph(const cdu_lowering *);
/* forward is being lowered once more, for the backward pass: read the saved statistics, never touch running ones. */
bool cdu_lowering_again(const cdu_lowering *);
/* There will be a backward pass. */
bool cdu_lowering_training(const cdu_lowering *);

/* Operators are to take no approximate variant (cdu_plan_options.exact). */
bool cdu_lowering_exact(const cdu_lowering *);

/* What is made from parameters alone will be kept from run to run: to make it in parts would gain nothing. */
bool cdu_lowering_keeps(const cdu_lowering *);

/* The tensor of a value: in forward, what its producer wrote or (for outputs of this node) is to write; in backward, the stored or
 * the recomputed one. Parameters, states and saved values too (dense, pitch = elements, one "pixel"). */
cdu_status cdu_lower_value(cdu_lowering *, cdu_value, cdu_tensor *, cdu_error *);
/* For backward. Reading the gradient of an output of the node: */
cdu_status cdu_lower_gradient(cdu_lowering *, cdu_value, cdu_tensor *, cdu_error *);
/* Writing the gradient of an input or a parameter: *add tells to add to what is there, else to set. *out is CDU_NO_TENSOR where no
 * gradient is wanted. Asked once for each gradient a node writes; a gradient that is written in ranges is asked for once. */
cdu_status cdu_lower_gradient_target(cdu_lowering *, cdu_value, cdu_tensor *out, bool *add, cdu_error *);
/* The same for an operator that can write the gradient of an input over the gradient of its output, element by element: *over tells
 * that *out is the output's gradient, which nothing reads afterwards. */
cdu_status cdu_lower_gradient_over(cdu_lowering *, cdu_value, cdu_value output, cdu_tensor *out, bool *add, bool *over, cdu_error *);
/* Memory of `count` 4-byte elements for use between steps of this node. A scratch tensor has one image. */
cdu_status cdu_lower_scratch(cdu_lowering *, const char *label, uint64_t count, cdu_tensor *, cdu_error *);
/* The 256 bytes that the host gives with each run. */
cdu_tensor cdu_lower_patch(cdu_lowering *);
/* CDU_VERDICT_WORDS words that the host reads after each run, cdu_program_verdict: what the update made of the gradients. */
enum { CDU_VERDICT_WORDS = 4 };
cdu_status cdu_lower_verdict(cdu_lowering *, cdu_tensor *, cdu_error *);
/* The flat arenas, for the update: */
typedef enum { CDU_ARENA_PARAMETERS, CDU_ARENA_GRADIENTS, CDU_ARENA_MOMENTUM, CDU_ARENA_STATES, CDU_ARENAS } cdu_arena;
cdu_tensor cdu_lower_arena(cdu_lowering *, cdu_arena);
/* Like lower_scratch, but a window of `count` elements from `first` of an arena; first * 4 a multiple of binding_align. */
cdu_status cdu_lower_arena_window(cdu_lowering *, cdu_arena, uint64_t first, uint64_t count, cdu_tensor *, cdu_error *);
uint64_t cdu_lowering_arena_elements(const cdu_lowering *, cdu_arena);

/* Until the next tensor is asked for: copy it to keep it. */
const cdu_layout *cdu_tensor_layout(const cdu_lowering *, cdu_tensor);

/* Moments of a value, gathered where it is written: rows of 5 times the value's lanes (mean, its low part, M2, its low part, count), to be
 * joined in order (shaders/batch_norm.k). Who writes a value asks whether one reader wants them, offers them, and that reader takes them:
 * *part is CDU_NO_TENSOR where there are none. Never while lowering again. */
bool cdu_lower_moments_wanted(const cdu_lowering *, cdu_value, bool *of_relu);
void cdu_lower_offer_moments(cdu_lowering *, cdu_value, cdu_tensor part, uint32_t rows);
void cdu_lower_moments(const cdu_lowering *, cdu_value, cdu_tensor *part, uint32_t *rows);

/* A normalized value that nobody writes: (x - mean) * scale + shift lane by lane, as batch_norm_apply does it, with ReLU before or behind;
 * `saved` has rows of row_lanes floats: mean, inverse deviation, scale, shift. saved = CDU_NO_TENSOR: x is the value itself. */
typedef struct { cdu_tensor x, saved; uint32_t row_lanes; cdu_relu_place relu; } cdu_normalized;
/* Asked in forward by who would write `value`: true where all readers normalize it themselves, on CPUs alone; then it is not written. */
bool cdu_lower_defer(cdu_lowering *, cdu_value value, cdu_value x, cdu_value saved, uint32_t row_lanes, cdu_relu_place relu);
/* For operators whose `normalizes` said yes; others call cdu_lower_value. */
cdu_status cdu_lower_normalized(cdu_lowering *, cdu_value, cdu_normalized *, cdu_error *);
/* The layout that a value's own tensor has, or would have. */
cdu_layout cdu_lower_layout(const cdu_lowering *, cdu_value);

/* The next range of images such that every tensor in `tensors` can be bound: at the first call *n1 must be 0. Returns false when all
 * images are done. Ranges obey largest_binding and binding_align; where one image is too large to bind, the step that binds it
 * is refused by cdu_append. */
bool cdu_next_range(const cdu_lowering *, const cdu_tensor *tensors, uint32_t count, uint32_t *n0, uint32_t *n1);

/* A fresh draft with its kernel named and all else zero; then cdu_draft_use for each binding in order, cdu_draft_param for each
 * word in order, cdu_draft_define for each define. GX, GY, GZ are set by cdu_draft_groups. */
cdu_draft cdu_draft_begin(const char *source, const char *kernel, const cdu_node *node, const char *pass);
void cdu_draft_use(cdu_draft *, cdu_tensor, uint32_t access, uint32_t n0, uint32_t n1);
void cdu_draft_param(cdu_draft *, uint32_t word);
void cdu_draft_param_float(cdu_draft *, float value);
void cdu_draft_define(cdu_draft *, const char *name, uint32_t value);
/* Group counts and the group's size. */
void cdu_draft_groups(cdu_draft *, uint32_t x, uint32_t y, uint32_t z, uint32_t size_x, uint32_t size_y, uint32_t size_z);
/* Checks the draft against the device's limits and appends it. CDU_FAILED for misuse, CDU_NO_DEVICE where the device's limits are
 * too small for the shape, with both numbers. */
cdu_status cdu_append(cdu_lowering *, const cdu_draft *, cdu_error *);

/* What the drafts from now on belong to, for profiles; null: by the walk, without a variant. */
void cdu_lowering_mark(cdu_lowering *, const char *pass, const char *variant);
/* Size of subgroups of the drafts from now on; 0: any. */
void cdu_lowering_pin(cdu_lowering *, uint32_t subgroup);

/* A host acts between the steps before and after this call (all-reduce, synchronized batch norm): a new segment starts. */
cdu_status cdu_lowering_cut(cdu_lowering *, cdu_error *);

/* ---- several ranks (cdu_plan_options.ranks), one program on each; exchange.c ---- */

/* 1: alone. */
uint32_t cdu_lowering_ranks(const cdu_lowering *);
/* Images of the whole batch, over all ranks, where this rank's program has `mine`. */
uint64_t cdu_lowering_images(const cdu_lowering *, uint64_t mine);
/* Batch norm's statistics are to be those of all ranks' images. */
bool cdu_lowering_synchronized(const cdu_lowering *);
/* Rows of `channels` values, `lanes` apart, that go to all ranks: the operator writes *mine, then asks for *all, which has the rows of rank 0,
 * then those of rank 1 and so on. Between the two calls a segment ends: what is appended in front of the second is done before the exchange. */
cdu_status cdu_lower_gather(cdu_lowering *, const char *label, uint32_t rows, uint32_t channels, uint32_t lanes, cdu_tensor *mine,
                            cdu_error *);
cdu_status cdu_lower_gathered(cdu_lowering *, cdu_tensor mine, cdu_tensor *all, cdu_error *);

#endif
