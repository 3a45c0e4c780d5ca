/* conv_common.h: what the convolution and the transposed convolution share: both are one sum over a window, read forward or backward.
 * How they are computed is the variants' business (conv_variant.h). */
#ifndef CDU_OPS_CONV_COMMON_H
#define CDU_OPS_CONV_COMMON_H

#include "core/ops/common.h"
#include "core/ops/ops.h"

/* A window of side x side taps, moved by `stride`, `pad` zeros around x; parities: 4 for one tap to each pixel of every 2x2 of y.
 * The weight of input channel i, output channel o, tap t is element i * in_step + o * out_step + t of the parameter; rotated: of
 * taps - 1 - t. */
typedef struct {
    uint32_t side, stride, pad, parities;
    uint64_t in_step, out_step;
    bool rotated;
} cdu_conv_window;

/* y = (or, with accumulate, y +=) the window's sum over x, plus bias, then the epilogue. bias, scale, shift: CDU_NO_TENSOR where there
 * is none; scale and shift with CDU_EPILOGUE_RELU_AFFINE. */
typedef struct {
    cdu_conv_window window;
    cdu_tensor x, y, weight, bias, scale, shift;
    bool accumulate;
    cdu_epilogue epilogue;
    cdu_normalized norm;    /* of x, which it repeats; variants that do not normalize are given none */
    cdu_value moments_of;   /* y, where its moments are wanted, of its positive part alone or of all; else CDU_NO_VALUE */
    bool moments_of_relu;
} cdu_conv_sum;
cdu_status cdu_conv_append_sum(cdu_lowering *, const cdu_node *, const char *pass, const cdu_conv_sum *, cdu_error *);

/* The gradients of weight and bias from x and d, the gradient of what the window's sum over x was. bias_of_x: the bias belongs to the
 * channels of x (transposed convolution, whose roles are swapped) instead of d's. */
typedef struct {
    cdu_conv_window window;
    cdu_tensor x, d, weight, bias;
    bool add_weight, add_bias, bias_of_x;
    cdu_normalized norm;    /* as above; with norm_of_d of d instead, which it repeats */
    bool norm_of_d;
} cdu_conv_gradient;
cdu_status cdu_conv_append_gradient(cdu_lowering *, const cdu_node *, const cdu_conv_gradient *, cdu_error *);

/* For the variants. The widest vector of a tensor's lanes, at most `limit`, that its pitch and its place in a concatenation allow. */
uint32_t cdu_conv_vector_of(const cdu_layout *, uint32_t limit);
/* How a kernel finds the channel of a lane, and its weights: channels, split, split_lane, step. */
void cdu_conv_channel_params(cdu_draft *, const cdu_layout *, uint64_t step);

/* Intel's GPUs have 4 KiB of registers a thread (Xe2: 8): 128 floats an item at 8 items a subgroup, the fewest there are. */
bool cdu_conv_few_registers(const cdu_device_info *);
/* NVIDIA's GPUs: what goes through memory from one step to the next mostly stays in a cache. */
bool cdu_conv_large_caches(const cdu_device_info *);
/* NVIDIA's have 255 an item, and still enough items at once. */
bool cdu_conv_many_registers(const cdu_device_info *);

/* Slots of a split sum: as many as are wanted, but no more than `most` and than fit into `bytes`; at least one. */
uint64_t cdu_conv_slots(uint64_t wanted, uint64_t most, uint64_t bytes, uint64_t slot_floats);
enum { CDU_CONV_SLOT_BYTES = 64 << 20 };    /* of all partial sums of a gradient, if it can be */

/* Lanes of x in in_blocks blocks of ib, of y (or d) in out_blocks blocks of nv vectors of vw. */
typedef struct { uint32_t ib, in_blocks, vw, nv, out_blocks; } cdu_conv_blocks;
/* Weights as kernels read them (conv.k, conv_pack): steps from block to block and from tap to tap, floats of all; with parities a tap is
 * outermost. Bias, scale and shift lie behind the weights, one after another, as many lanes as y has. */
typedef struct { uint64_t block_step, tap_step, weights; uint32_t taps, tap_side; } cdu_conv_packing;
cdu_conv_packing cdu_conv_packing_of(const cdu_conv_window *, const cdu_conv_blocks *);
/* IB, VW, NV, K, STRIDE, PAD. */
void cdu_conv_define(cdu_draft *, const cdu_conv_window *, const cdu_conv_blocks *);
/* What a step takes that packs weights of a sum from x to y: BIASED, SCALED, the bindings, and cdu_conv_channel_params of both. */
void cdu_conv_use_weights(cdu_draft *, const cdu_conv_sum *, cdu_tensor packed, const cdu_layout *x, const cdu_layout *y);
/* Scratch for the packed weights, and the step that packs them. */
cdu_status cdu_conv_append_pack(cdu_lowering *, const cdu_node *, const cdu_conv_sum *, const cdu_conv_blocks *, const cdu_conv_packing *,
                                cdu_tensor *packed, cdu_error *);
/* The epilogue as a step of its own, for CDUNET_DEBUG=no-fusion. */
cdu_status cdu_conv_append_epilogue(cdu_lowering *, const cdu_node *, const cdu_conv_sum *, const cdu_conv_blocks *,
                                    const cdu_conv_packing *, cdu_tensor packed, uint32_t n0, uint32_t n1, cdu_error *);
/* Adds up the slots of partial sums, in order, and writes the gradients; a slot is slot_floats long, holds weights in packed order, then
 * bias_parts times the lanes of the bias. */
cdu_status cdu_conv_append_unpack(cdu_lowering *, const cdu_node *, const cdu_conv_gradient *, const cdu_conv_blocks *,
                                  const cdu_conv_packing *, cdu_tensor partial, uint64_t slot_floats, uint32_t slots, uint32_t bias_parts,
                                  cdu_error *);
/* NORMALIZED, and `saved` as the next binding, where there is a normalization. */
void cdu_conv_use_norm(cdu_draft *, const cdu_normalized *);
void cdu_conv_words(cdu_draft *, const uint32_t *words, size_t count);
#define CDU_CONV_WORDS(draft, ...) \
    cdu_conv_words((draft), (const uint32_t[]){__VA_ARGS__}, sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t))

#endif
