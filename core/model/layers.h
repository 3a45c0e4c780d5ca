/* layers.h: the network as a list of its layers with weights, and of their tensors, from the settings alone. Initialization, weight files
 * and folding walk these lists; model.c builds the graph, and a test holds both to each other. Internal to core/model. */
#ifndef CDU_MODEL_LAYERS_H
#define CDU_MODEL_LAYERS_H

#include "core/model/model.h"

enum { CDU_LAYERS = 2 + 5 * CDU_DEPTH_LIMIT, CDU_LAYER_TENSORS = 6 };

/* One (transposed) convolution; in a stage a batch norm follows it. */
typedef struct {
    char conv[48], batch_norm[48]; /* prefixes of their tensors; batch_norm is empty outside stages */
    uint32_t in, out, kernel;
    bool transposed, relu_first;
} cdu_layer;

typedef struct {
    char name[CDU_NAME_LIMIT];
    uint32_t dims[4], rank, fan_in;
    cdu_init init;
    bool trained;
} cdu_layer_tensor;

/* CDU_BAD_DATA for settings that no network can have, with the value met and the range. */
cdu_status cdu_model_check(const cdu_model_settings *settings, cdu_error *error);
/* In the order of a PyTorch state_dict; returns the count. The settings must have passed cdu_model_check. */
uint32_t cdu_model_layers(const cdu_model_settings *settings, cdu_layer out[CDU_LAYERS]);
/* The tensors of one layer in the order of a state_dict, num_batches_tracked apart; returns the count. */
uint32_t cdu_layer_tensors(const cdu_layer *layer, cdu_layer_tensor out[CDU_LAYER_TENSORS]);

#endif
