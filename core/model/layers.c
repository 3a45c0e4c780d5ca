/* layers.c: which layers and tensors the settings mean. */
#include "core/model/layers.h"

#include <stdio.h>
#include <string.h>

enum { WIDTH_LIMIT = 512, CD_FILTER_LIMIT = 256, FILTER_LIMIT = 16384 };

cdu_status cdu_model_check(const cdu_model_settings *s, cdu_error *error)
{
    if (s->kind != CDU_MODEL_UNET && s->kind != CDU_MODEL_CDUNET)
        return cdu_fail(error, CDU_BAD_DATA, "model: kind %d is neither unet nor cdunet", (int)s->kind);
    if (s->width < 1 || s->width > WIDTH_LIMIT)
        return cdu_fail(error, CDU_BAD_DATA, "model: width %u is outside 1 to %d", s->width, WIDTH_LIMIT);
    if (s->depth < 1 || s->depth > CDU_DEPTH_LIMIT)
        return cdu_fail(error, CDU_BAD_DATA, "model: depth %u is outside 1 to %d", s->depth, CDU_DEPTH_LIMIT);
    if (s->width << (s->depth - 1) > FILTER_LIMIT)
        return cdu_fail(error, CDU_BAD_DATA, "model: width %u with depth %u gives %u filters at the bottom, more than %d", s->width,
                        s->depth, s->width << (s->depth - 1), FILTER_LIMIT);
    if (s->classes < 2 || s->classes > CDU_CLASS_LIMIT)
        return cdu_fail(error, CDU_BAD_DATA, "model: %u classes; it must be 2 to %d", s->classes, CDU_CLASS_LIMIT);
    if (s->kind == CDU_MODEL_CDUNET)
        for (int i = 0; i < 2; i++)
            if (s->cd_filters[i] < 1 || s->cd_filters[i] > CD_FILTER_LIMIT)
                return cdu_fail(error, CDU_BAD_DATA, "model: cd-filters %u is outside 1 to %d", s->cd_filters[i], CD_FILTER_LIMIT);
    return CDU_OK;
}

static void add_stage(cdu_layer *out, uint32_t *count, const char *name, uint32_t in, uint32_t filters, uint32_t kernel,
                      bool relu_first)
{
    cdu_layer *layer = &out[(*count)++];
    *layer = (cdu_layer){.in = in, .out = filters, .kernel = kernel, .relu_first = relu_first};
    snprintf(layer->conv, sizeof layer->conv, "%s.0", name);
    snprintf(layer->batch_norm, sizeof layer->batch_norm, "%s.1", name);
}

static void add_pair(cdu_layer *out, uint32_t *count, const char *name, uint32_t i, uint32_t in, uint32_t filters, bool relu_first)
{
    char stage[32];
    for (uint32_t j = 0; j < 2; j++) {
        snprintf(stage, sizeof stage, "%s.%u.%u", name, i, j);
        add_stage(out, count, stage, j ? filters : in, filters, 3, relu_first);
    }
}

uint32_t cdu_model_layers(const cdu_model_settings *s, cdu_layer out[CDU_LAYERS])
{
    uint32_t count = 0, channels = 3;
    for (uint32_t i = 0; i < 2 && s->kind == CDU_MODEL_CDUNET; i++) {
        add_stage(out, &count, i ? "cd.1" : "cd.0", channels, s->cd_filters[i], 1, s->cd_relu_before_batch_norm);
        channels = s->cd_filters[i];
    }
    for (uint32_t i = 0; i < s->depth; i++) {
        add_pair(out, &count, "down", i, channels, s->width << i, s->relu_before_batch_norm);
        channels = s->width << i;
    }
    for (uint32_t i = 0; i + 1 < s->depth; i++) {
        uint32_t filters = s->width << (s->depth - 2 - i);
        out[count] = (cdu_layer){.in = 2 * filters, .out = filters, .kernel = 2, .transposed = true};
        snprintf(out[count].conv, sizeof out[count].conv, "up.%u", i);
        count++;
    }
    for (uint32_t i = 0; i + 1 < s->depth; i++) {
        uint32_t filters = s->width << (s->depth - 2 - i);
        add_pair(out, &count, "join", i, 2 * filters, filters, s->relu_before_batch_norm);
    }
    out[count++] = (cdu_layer){.conv = "out", .in = s->width, .out = s->classes, .kernel = 1};
    return count;
}

static void add_tensor(cdu_layer_tensor *out, uint32_t *count, const char *prefix, const char *name, uint32_t length, cdu_init init,
                       bool trained)
{
    cdu_layer_tensor *tensor = &out[(*count)++];
    *tensor = (cdu_layer_tensor){.dims = {length}, .rank = 1, .init = init, .trained = trained};
    snprintf(tensor->name, sizeof tensor->name, "%s.%s", prefix, name);
}

uint32_t cdu_layer_tensors(const cdu_layer *layer, cdu_layer_tensor out[CDU_LAYER_TENSORS])
{
    uint32_t count = 0, k = layer->kernel;
    add_tensor(out, &count, layer->conv, "weight", 0, CDU_INIT_HE, true);
    uint32_t dims[4] = {layer->transposed ? layer->in : layer->out, layer->transposed ? layer->out : layer->in, k, k};
    memcpy(out[0].dims, dims, sizeof dims);
    out[0].rank = 4;
    /* a 2x2 kernel of stride 2 meets every output pixel with one of its four places */
    out[0].fan_in = layer->transposed ? layer->in : layer->in * k * k;
    add_tensor(out, &count, layer->conv, "bias", layer->out, CDU_INIT_ZERO, true);
    if (!layer->batch_norm[0]) return count;
    add_tensor(out, &count, layer->batch_norm, "weight", layer->out, CDU_INIT_ONE, true);
    add_tensor(out, &count, layer->batch_norm, "bias", layer->out, CDU_INIT_ZERO, true);
    add_tensor(out, &count, layer->batch_norm, "running_mean", layer->out, CDU_INIT_ZERO, false);
    add_tensor(out, &count, layer->batch_norm, "running_var", layer->out, CDU_INIT_ONE, false);
    return count;
}
