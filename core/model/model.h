/* model.h: UNET and CD-UNET (the paper, Methodology; docs/method.md) as graphs, their initial weights, weights in and out.
 * Parameter names are those of a PyTorch module: cd.0.0.weight, down.0.0.0.weight, up.0.weight, join.0.0.0.weight, out.weight; in a stage
 * .0 is the convolution and .1 the batch norm, whatever their order. */
#ifndef CDU_MODEL_MODEL_H
#define CDU_MODEL_MODEL_H

#include "cdunet/study.h"
#include "core/graph/program.h"

/* What the network sees while training: one input of tiles (ops.h, cdu_tile_input) and the loss. */
typedef struct {
    cdu_value tile, class_weight, image, label, logits, loss;
    cdu_value augment; /* the table of cdu_tile_augment, or CDU_NO_VALUE */
} cdu_training_graph;
typedef struct {
    cdu_value tile, image, logits, probabilities;
} cdu_inference_graph;

/* A batch of n tiles of height x width. Both must be multiples of 2^(depth-1): CDU_USAGE says which size would do. */
cdu_status cdu_model_build_training(cdu_graph *graph, const cdu_model_settings *settings, uint32_t n, uint32_t height,
                                    uint32_t width, bool mean_of_pixels, cdu_training_graph *out, cdu_error *error);
/* The same with a second input, `augment`: what augmentation does to each tile. */
cdu_status cdu_model_build_augmented(cdu_graph *graph, const cdu_model_settings *settings, uint32_t n, uint32_t height,
                                     uint32_t width, bool mean_of_pixels, cdu_training_graph *out, cdu_error *error);
/* Batch norm folded into the convolutions: give its program weights with cdu_model_load_folded. */
cdu_status cdu_model_build_inference(cdu_graph *graph, const cdu_model_settings *settings, uint32_t n, uint32_t height,
                                     uint32_t width, cdu_inference_graph *out, cdu_error *error);

/* Named float tensors in memory: what a state_dict is. */
typedef struct {
    char name[CDU_NAME_LIMIT];
    uint32_t dims[4], rank;
    float *data;
} cdu_weight;
typedef struct {
    cdu_weight *items;
    size_t count;
} cdu_weights;

void cdu_weights_free(cdu_weights *weights);
const cdu_weight *cdu_weights_find(const cdu_weights *weights, const char *name);
/* He initialization (He et al. 2015) from Philox: the same bytes on every platform. Biases and running means 0, batch norm weights and
 * running variances 1. */
cdu_status cdu_model_initialize(const cdu_model_settings *settings, uint64_t seed, cdu_weights *out, cdu_error *error);
uint64_t cdu_model_parameters(const cdu_model_settings *settings);

/* Between a training program's arenas and weights; names decide, all must be there and of the right shape. */
cdu_status cdu_model_load(const cdu_graph *graph, cdu_program *program, const cdu_weights *weights, cdu_error *error);
cdu_status cdu_model_store(const cdu_graph *graph, cdu_program *program, cdu_weights *out, cdu_error *error);
/* Into an inference program: batch norm with running statistics folded into weight and bias (in double). */
cdu_status cdu_model_load_folded(const cdu_graph *graph, cdu_program *program, const cdu_model_settings *settings,
                                 const cdu_weights *weights, cdu_error *error);

/* What a model file knows beside its weights. */
typedef struct {
    cdu_model_settings settings;
    double mpp;
    uint32_t tile;
    char class_names[CDU_CLASS_LIMIT][48];
    uint8_t class_colors[CDU_CLASS_LIMIT][3];
    char study[96], training[256]; /* name of the study; what trained it, in words */
} cdu_model_about;

/* safetensors with cdu_model_about in __metadata__; also num_batches_tracked (I64) for PyTorch. Hostile files are CDU_BAD_DATA with the byte offset or
 * tensor concerned. A file whose settings and tensors disagree is refused. */
cdu_status cdu_model_write(const char *path, const cdu_model_about *about, const cdu_weights *weights, cdu_error *error);
cdu_status cdu_model_read(const char *path, cdu_model_about *about, cdu_weights *weights, cdu_error *error);

#endif
