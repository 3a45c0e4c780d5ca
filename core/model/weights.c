/* weights.c: initial weights, and weights to and from programs, folded or not. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "core/base/memory.h"
#include "core/base/random.h"
#include "core/base/thread.h"
#include "core/model/layers.h"

static const double batch_norm_epsilon = 1e-5f; /* as the float that the training graph has */

static uint64_t elements(const uint32_t *dims, uint32_t rank)
{
    uint64_t product = 1;
    for (uint32_t i = 0; i < rank; i++) product *= dims[i];
    return product;
}

void cdu_weights_free(cdu_weights *weights)
{
    for (size_t i = 0; i < weights->count; i++) free(weights->items[i].data);
    free(weights->items);
    *weights = (cdu_weights){0};
}

const cdu_weight *cdu_weights_find(const cdu_weights *weights, const char *name)
{
    for (size_t i = 0; i < weights->count; i++)
        if (!strcmp(weights->items[i].name, name)) return &weights->items[i];
    return NULL;
}

/* The next item of a list that has room for it, its data zero. */
static cdu_status add_weight(cdu_weights *weights, const char *name, const uint32_t *dims, uint32_t rank, cdu_error *error)
{
    cdu_weight *weight = &weights->items[weights->count];
    snprintf(weight->name, sizeof weight->name, "%s", name);
    memcpy(weight->dims, dims, sizeof weight->dims);
    weight->rank = rank;
    CDU_TRY(cdu_allocate(&weight->data, elements(dims, rank), sizeof(float), error));
    weights->count++;
    return CDU_OK;
}

uint64_t cdu_model_parameters(const cdu_model_settings *settings)
{
    cdu_layer layers[CDU_LAYERS];
    cdu_layer_tensor tensors[CDU_LAYER_TENSORS];
    uint64_t sum = 0;
    if (cdu_model_check(settings, NULL) != CDU_OK) return 0;
    uint32_t count = cdu_model_layers(settings, layers);
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t j = 0, n = cdu_layer_tensors(&layers[i], tensors); j < n; j++)
            if (tensors[j].trained) sum += elements(tensors[j].dims, tensors[j].rank);
    return sum;
}

/* The stream is chosen by the tensor's name, so a layer begins with the same weights in UNET and in CD-UNET. */
static void initialize(const cdu_layer_tensor *tensor, uint64_t seed, float *data)
{
    uint64_t count = elements(tensor->dims, tensor->rank), hash = XXH64(tensor->name, strlen(tensor->name), 0);
    if (tensor->init == CDU_INIT_HE) {
        cdu_random stream = cdu_random_stream(seed, CDU_RANDOM_WEIGHTS, (uint32_t)hash, (uint32_t)(hash >> 32));
        double deviation = sqrt(2.0 / tensor->fan_in);
        for (uint64_t i = 0; i < count; i++) data[i] = (float)(deviation * cdu_random_normal(&stream));
    } else if (tensor->init == CDU_INIT_ONE) {
        for (uint64_t i = 0; i < count; i++) data[i] = 1;
    }
}

typedef struct {
    cdu_layer_tensor tensors[CDU_LAYERS * CDU_LAYER_TENSORS];
    uint64_t seed;
    const cdu_weights *weights;
} initialization;

/* Each tensor has a stream of its own, so any thread may draw it. */
static cdu_status initialize_one(void *context, size_t i, cdu_error *error)
{
    const initialization *all = context;
    (void)error;
    initialize(&all->tensors[i], all->seed, all->weights->items[i].data);
    return CDU_OK;
}

static cdu_status add_all(const cdu_model_settings *settings, initialization *all, cdu_weights *out, cdu_error *error)
{
    cdu_layer layers[CDU_LAYERS];
    uint32_t count = cdu_model_layers(settings, layers);
    CDU_TRY(cdu_allocate(&out->items, CDU_LAYERS * CDU_LAYER_TENSORS, sizeof *out->items, error));
    for (uint32_t i = 0; i < count; i++) {
        cdu_layer_tensor *tensors = all->tensors + out->count;
        for (uint32_t j = 0, n = cdu_layer_tensors(&layers[i], tensors); j < n; j++)
            CDU_TRY(add_weight(out, tensors[j].name, tensors[j].dims, tensors[j].rank, error));
    }
    return CDU_OK;
}

cdu_status cdu_model_initialize(const cdu_model_settings *settings, uint64_t seed, cdu_weights *out, cdu_error *error)
{
    initialization *all;
    *out = (cdu_weights){0};
    CDU_TRY(cdu_model_check(settings, error));
    CDU_TRY(cdu_allocate(&all, 1, sizeof *all, error));
    all->seed = seed;
    all->weights = out;
    cdu_status status = add_all(settings, all, out, error);
    if (status == CDU_OK) status = cdu_parallel(0, out->count, initialize_one, all, error);
    else cdu_weights_free(out);
    free(all);
    return status;
}

static bool has_weights(const cdu_value_info *info)
{
    return info->kind == CDU_VALUE_PARAMETER || info->kind == CDU_VALUE_STATE;
}

static cdu_status find_weight(const cdu_weights *weights, const char *name, uint64_t count, const cdu_weight **out,
                              cdu_error *error)
{
    *out = cdu_weights_find(weights, name);
    if (!*out) return cdu_fail(error, CDU_BAD_DATA, "the weights have no tensor %s", name);
    uint64_t there = elements((*out)->dims, (*out)->rank);
    if (there != count)
        return cdu_fail(error, CDU_BAD_DATA, "tensor %s has %llu elements, the network needs %llu", name, (unsigned long long)there,
                        (unsigned long long)count);
    return CDU_OK;
}

cdu_status cdu_model_load(const cdu_graph *graph, cdu_program *program, const cdu_weights *weights, cdu_error *error)
{
    for (uint32_t v = 0; v < cdu_graph_values(graph); v++) {
        const cdu_value_info *info = cdu_graph_value(graph, (cdu_value)v);
        const cdu_weight *weight;
        if (!has_weights(info)) continue;
        CDU_TRY(find_weight(weights, info->name, cdu_value_elements(info), &weight, error));
        if (weight->rank != info->rank || memcmp(weight->dims, info->dims, info->rank * sizeof *info->dims) != 0)
            return cdu_fail(error, CDU_BAD_DATA, "tensor %s has another shape than the network", info->name);
        CDU_TRY(cdu_program_write_parameter(program, (cdu_value)v, weight->data, error));
    }
    return CDU_OK;
}

cdu_status cdu_model_store(const cdu_graph *graph, cdu_program *program, cdu_weights *out, cdu_error *error)
{
    *out = (cdu_weights){0};
    CDU_TRY(cdu_allocate(&out->items, cdu_graph_values(graph) + 1, sizeof *out->items, error));
    for (uint32_t v = 0; v < cdu_graph_values(graph); v++) {
        const cdu_value_info *info = cdu_graph_value(graph, (cdu_value)v);
        if (!has_weights(info)) continue;
        cdu_status status = add_weight(out, info->name, info->dims, info->rank, error);
        if (status == CDU_OK) status = cdu_program_read_parameter(program, (cdu_value)v, out->items[out->count - 1].data, error);
        if (status != CDU_OK) return cdu_weights_free(out), status;
    }
    return CDU_OK;
}

static cdu_status write_named(const cdu_graph *graph, cdu_program *program, const char *prefix, const char *name, const float *data,
                              uint64_t count, cdu_error *error)
{
    char full[CDU_NAME_LIMIT];
    snprintf(full, sizeof full, "%s.%s", prefix, name);
    cdu_value value = cdu_graph_find(graph, full);
    if (value == CDU_NO_VALUE) return cdu_fail(error, CDU_FAILED, "the inference graph has no value %s", full);
    if (cdu_value_elements(cdu_graph_value(graph, value)) != count)
        return cdu_fail(error, CDU_FAILED, "value %s of the inference graph has %llu elements, the layer %llu", full,
                        (unsigned long long)cdu_value_elements(cdu_graph_value(graph, value)), (unsigned long long)count);
    return cdu_program_write_parameter(program, value, data, error);
}

enum { CONV_WEIGHT, CONV_BIAS, NORM_WEIGHT, NORM_BIAS, NORM_MEAN, NORM_VARIANCE };

/* Room for one layer: folded weight, and per filter bias, scale, shift. */
typedef struct {
    float *weight, *bias, *scale, *shift;
} folded;

static cdu_status fold_layer(const cdu_graph *graph, cdu_program *program, const cdu_layer *layer, const cdu_weights *weights,
                             folded *room, cdu_error *error)
{
    cdu_layer_tensor tensors[CDU_LAYER_TENSORS];
    const cdu_weight *w[CDU_LAYER_TENSORS];
    uint32_t count = cdu_layer_tensors(layer, tensors);
    for (uint32_t j = 0; j < count; j++)
        CDU_TRY(find_weight(weights, tensors[j].name, elements(tensors[j].dims, tensors[j].rank), &w[j], error));
    uint64_t size = elements(tensors[CONV_WEIGHT].dims, 4), each = size / layer->out;
    memcpy(room->weight, w[CONV_WEIGHT]->data, size * sizeof(float));
    memcpy(room->bias, w[CONV_BIAS]->data, layer->out * sizeof(float));
    for (uint32_t f = 0; f < layer->out && layer->batch_norm[0]; f++) {
        double scale = w[NORM_WEIGHT]->data[f] / sqrt(w[NORM_VARIANCE]->data[f] + batch_norm_epsilon);
        double mean = w[NORM_MEAN]->data[f], shift = w[NORM_BIAS]->data[f];
        if (layer->relu_first) {
            room->scale[f] = (float)scale;
            room->shift[f] = (float)(shift - mean * scale);
            continue;
        }
        for (uint64_t i = f * each; i < (f + 1) * each; i++) room->weight[i] = (float)(w[CONV_WEIGHT]->data[i] * scale);
        room->bias[f] = (float)((w[CONV_BIAS]->data[f] - mean) * scale + shift);
    }
    CDU_TRY(write_named(graph, program, layer->conv, "weight", room->weight, size, error));
    CDU_TRY(write_named(graph, program, layer->conv, "bias", room->bias, layer->out, error));
    if (!layer->batch_norm[0] || !layer->relu_first) return CDU_OK;
    CDU_TRY(write_named(graph, program, layer->conv, "scale", room->scale, layer->out, error));
    return write_named(graph, program, layer->conv, "shift", room->shift, layer->out, error);
}

cdu_status cdu_model_load_folded(const cdu_graph *graph, cdu_program *program, const cdu_model_settings *settings,
                                 const cdu_weights *weights, cdu_error *error)
{
    cdu_layer layers[CDU_LAYERS];
    CDU_TRY(cdu_model_check(settings, error));
    uint32_t count = cdu_model_layers(settings, layers);
    uint64_t largest = 0, filters = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t size = (uint64_t)layers[i].in * layers[i].out * layers[i].kernel * layers[i].kernel;
        if (size > largest) largest = size;
        if (layers[i].out > filters) filters = layers[i].out;
    }
    float *memory;
    CDU_TRY(cdu_allocate(&memory, largest + 3 * filters, sizeof(float), error));
    folded room = {memory, memory + largest, memory + largest + filters, memory + largest + 2 * filters};
    cdu_status status = CDU_OK;
    for (uint32_t i = 0; i < count && status == CDU_OK; i++) status = fold_layer(graph, program, &layers[i], weights, &room, error);
    free(memory);
    return status;
}
