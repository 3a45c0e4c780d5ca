/* ops.h: the operators, one file each. Every builder applies its operator to a graph and returns the first output; failures stay
 * in the graph (graph.h). Shapes are N, H, W, C. */
#ifndef CDU_OPS_OPS_H
#define CDU_OPS_OPS_H

#include "core/graph/graph.h"
#include "core/graph/lowering.h"

/* What inference fuses behind a convolution: nothing; ReLU; ReLU, then y * scale[c] + shift[c] (two more inputs, batch norm after
 * ReLU folded). Gradients exist for CDU_EPILOGUE_NONE alone: training keeps the convolution's own output. */
typedef enum { CDU_EPILOGUE_NONE, CDU_EPILOGUE_RELU, CDU_EPILOGUE_RELU_AFFINE } cdu_epilogue;

/* Convolution, stride 1, zero padding that keeps H and W. kernel: 1 or 3. Parameters: weight (filters, C, kernel, kernel), bias
 * (filters); with CDU_EPILOGUE_RELU_AFFINE also the states scale and shift (filters). */
cdu_value cdu_conv(cdu_graph *, const char *name, cdu_value x, uint32_t kernel, uint32_t filters, cdu_epilogue);
/* Transposed convolution, 2x2, stride 2: (N, H, W, C) to (N, 2H, 2W, filters). Parameters: weight (C, filters, 2, 2), bias (filters). */
cdu_value cdu_conv_transposed(cdu_graph *, const char *name, cdu_value x, uint32_t filters);
/* Batch normalization over N, H, W with the batch's statistics (biased variance), fused with ReLU before or behind it.
 * Parameters: weight, bias (C); states: running_mean, running_var (unbiased variance, as PyTorch), updated once a run. Saved: mean,
 * inverse deviation, scale and shift of the batch. A channel of one value is refused. NaN goes through the ReLU. Neither this nor max
 * pool reads a concatenation whose first part has pad lanes (refused, with words). */
typedef enum { CDU_BATCH_NORM_RELU, CDU_RELU_BATCH_NORM, CDU_BATCH_NORM_ONLY } cdu_batch_norm_order;
cdu_value cdu_batch_norm(cdu_graph *, const char *name, cdu_value x, cdu_batch_norm_order, float epsilon, float momentum);
/* Max pooling 2x2, stride 2; an odd last row or column is left out, as in PyTorch. The first largest element gets the gradient; NaN is
 * larger than all. */
cdu_value cdu_max_pool(cdu_graph *, const char *name, cdu_value x);
/* Tile pixels as the loader gives them, CDU_U32 (N, H, W, 1): byte 0 red, 1 green, 2 blue, 3 class (255: ignored). First output: the
 * image (N, H, W, 3), scaled to [0, 1], in BGR order if `bgr`; second output: the classes, CDU_U32 (N, H, W, 1). No gradient. */
cdu_value cdu_tile_input(cdu_graph *, const char *name, cdu_value tile, bool bgr, cdu_value *label);
/* The same, augmented as `table` says, CDU_U32 (N, 1, 1, CDU_AUGMENT_WORDS), words as in core/train/augment.h: moved, turned, scaled and flipped
 * about the tile's middle (bilinear; labels by nearest; beyond the tile the image is mirrored and the class is 255), then the colour
 * matrix, noise, boxes. Integers throughout: the same bytes on every device. The identity's bytes are those of cdu_tile_input. */
enum { CDU_AUGMENT_WORDS = 32 };
cdu_value cdu_tile_augment(cdu_graph *, const char *name, cdu_value tile, cdu_value table, bool bgr, cdu_value *label);
/* Weighted softmax cross entropy. logits (N, H, W, C), C at most 16, label CDU_U32 (N, H, W, 1), class 255 and every other class that is
 * not below C ignored, class_weight: input (1, 1, 1, C).
 * Output, a host-readable (1, 1, 1, 4): loss, sum of weighted losses, divisor, count of pixels that were not ignored. The loss is the
 * sum divided by the sum of the pixels' weights (CDU_MEAN_WEIGHTS, as PyTorch does) or by the number of all pixels N*H*W
 * (CDU_MEAN_PIXELS); 0, and zero gradients, where the divisor is 0. Backward starts here.
 * One of several ranks (cdu_plan_options.ranks): all pixels are those of all ranks, and gradients are divided by their number, whatever the mean:
 * summed over ranks and scaled by that number over the sum of the ranks' divisors they are those of the whole batch. */
typedef enum { CDU_MEAN_WEIGHTS, CDU_MEAN_PIXELS } cdu_loss_mean;
cdu_value cdu_cross_entropy(cdu_graph *, const char *name, cdu_value logits, cdu_value label, cdu_value class_weight, cdu_loss_mean);
/* Softmax over channels, for inference: probabilities (N, H, W, C). No gradient. */
cdu_value cdu_softmax(cdu_graph *, const char *name, cdu_value logits);

/* SGD with momentum over the flat arenas: v = momentum * v + g; w = w - rate * v, each product and sum rounded on its own, so
 * that equal inputs give equal bits on every driver. Where some gradient is not finite nothing is changed, and
 * cdu_program_verdict tells. Patch data: struct cdu_sgd_patch. For cdu_plan_options.update. Among several ranks the patch data are a struct
 * cdu_sgd_shared_patch, g is the sum of their gradients times `scale`, and what any rounding leaves below the least normal number is zero. */
struct cdu_sgd_patch { float rate, momentum; };
struct cdu_sgd_shared_patch { struct cdu_sgd_patch plain; float scale; };
cdu_status cdu_sgd_update(cdu_lowering *, cdu_error *);

#endif
