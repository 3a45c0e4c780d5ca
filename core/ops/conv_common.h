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
} cdu_conv_sum;
cdu_status cdu_conv_append_sum(cdu_lowering *, const cdu_node *, const char *pass, const cdu_conv_sum *, cdu_error *);

/* The gradients of weight and bias from x and d, the gradient of what the window's sum over x was. bias_of_x: the bias belongs to the
 * channels of x (transposed convolution, whose roles are swapped) instead of d's. */
typedef struct {
    cdu_conv_window window;
    cdu_tensor x, d, weight, bias;
    bool add_weight, add_bias, bias_of_x;
} cdu_conv_gradient;
cdu_status cdu_conv_append_gradient(cdu_lowering *, const cdu_node *, const cdu_conv_gradient *, cdu_error *);

/* For the variants. The widest vector of a tensor's lanes, at most `limit`, that its pitch and its place in a concatenation allow. */
uint32_t cdu_conv_vector_of(const cdu_layout *, uint32_t limit);
/* How a kernel finds the channel of a lane, and its weights: channels, split, split_lane, step. */
void cdu_conv_channel_params(cdu_draft *, const cdu_layout *, uint64_t step);

#endif
