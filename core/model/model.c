/* model.c: UNET (Ronneberger et al. 2015, with the paper's changes) and CD-UNET as graphs for training and for inference. The two differ in
 * their stages alone: training has convolution, then batch norm with ReLU; inference has a convolution with an epilogue. */
#include "core/model/model.h"

#include <stdio.h>

#include "core/model/layers.h"
#include "core/ops/ops.h"

static const float batch_norm_epsilon = 1e-5f, batch_norm_momentum = 0.1f; /* PyTorch's */

typedef struct {
    cdu_graph *graph;
    const cdu_model_settings *settings;
    bool training;
} builder;

static cdu_value stage(const builder *b, const char *name, cdu_value x, uint32_t kernel, uint32_t filters, bool relu_first)
{
    char conv[48], batch_norm[48];
    snprintf(conv, sizeof conv, "%s.0", name);
    snprintf(batch_norm, sizeof batch_norm, "%s.1", name);
    if (!b->training)
        return cdu_conv(b->graph, conv, x, kernel, filters, relu_first ? CDU_EPILOGUE_RELU_AFFINE : CDU_EPILOGUE_RELU);
    x = cdu_conv(b->graph, conv, x, kernel, filters, CDU_EPILOGUE_NONE);
    return cdu_batch_norm(b->graph, batch_norm, x, relu_first ? CDU_RELU_BATCH_NORM : CDU_BATCH_NORM_RELU, batch_norm_epsilon,
                          batch_norm_momentum);
}

static cdu_value pair(const builder *b, const char *name, uint32_t i, cdu_value x, uint32_t filters)
{
    char inner[40];
    for (uint32_t j = 0; j < 2; j++) {
        snprintf(inner, sizeof inner, "%s.%u.%u", name, i, j);
        x = stage(b, inner, x, 3, filters, b->settings->relu_before_batch_norm);
    }
    return x;
}

/* image (N, H, W, 3) to logits (N, H, W, classes) */
static cdu_value network(const builder *b, cdu_value x)
{
    const cdu_model_settings *s = b->settings;
    char name[32];
    if (s->kind == CDU_MODEL_CDUNET) {
        x = stage(b, "cd.0", x, 1, s->cd_filters[0], s->cd_relu_before_batch_norm);
        x = stage(b, "cd.1", x, 1, s->cd_filters[1], s->cd_relu_before_batch_norm);
    }
    cdu_value skip[CDU_DEPTH_LIMIT];
    for (uint32_t i = 0; i < s->depth; i++) {
        if (i) {
            snprintf(name, sizeof name, "pool.%u", i);
            x = cdu_max_pool(b->graph, name, x);
        }
        skip[i] = x = pair(b, "down", i, x, s->width << i);
    }
    for (uint32_t i = 0; i + 1 < s->depth; i++) {
        uint32_t level = s->depth - 2 - i;
        snprintf(name, sizeof name, "up.%u", i);
        x = cdu_conv_transposed(b->graph, name, x, s->width << level);
        snprintf(name, sizeof name, "skip.%u", i);
        x = cdu_graph_concat(b->graph, name, skip[level], x);
        x = pair(b, "join", i, x, s->width << level);
    }
    return cdu_conv(b->graph, "out", x, 1, s->classes, CDU_EPILOGUE_NONE);
}

static cdu_status check_size(const cdu_model_settings *s, uint32_t n, uint32_t height, uint32_t width, cdu_error *error)
{
    CDU_TRY(cdu_model_check(s, error));
    uint32_t step = 1u << (s->depth - 1);
    if (!n) return cdu_fail(error, CDU_USAGE, "a batch of 0 tiles; it must be at least 1");
    if (height && width && height % step == 0 && width % step == 0) return CDU_OK;
    uint32_t fit_h = height < step ? step : height / step * step, fit_w = width < step ? step : width / step * step;
    return cdu_fail(error, CDU_USAGE,
                    "tiles of %u x %u pixels do not fit a network of depth %u: sides must be multiples of %u; %u x %u would do",
                    width, height, s->depth, step, fit_w, fit_h);
}

static cdu_status build_training(cdu_graph *graph, const cdu_model_settings *settings, cdu_shape tiles, bool mean_of_pixels,
                                 bool augmented, cdu_training_graph *out, cdu_error *error)
{
    CDU_TRY(check_size(settings, tiles.n, tiles.h, tiles.w, error));
    builder b = {graph, settings, true};
    out->tile = cdu_graph_input(graph, "tile", tiles, CDU_U32);
    out->augment = CDU_NO_VALUE;
    if (augmented) out->augment = cdu_graph_input(graph, "augment", (cdu_shape){tiles.n, 1, 1, CDU_AUGMENT_WORDS}, CDU_U32);
    out->class_weight = cdu_graph_input(graph, "class_weight", (cdu_shape){1, 1, 1, settings->classes}, CDU_F32);
    out->label = CDU_NO_VALUE;
    out->image = augmented ? cdu_tile_augment(graph, "input", out->tile, out->augment, settings->bgr, &out->label)
                           : cdu_tile_input(graph, "input", out->tile, settings->bgr, &out->label);
    out->logits = network(&b, out->image);
    out->loss = cdu_cross_entropy(graph, "loss", out->logits, out->label, out->class_weight,
                                  mean_of_pixels ? CDU_MEAN_PIXELS : CDU_MEAN_WEIGHTS);
    CDU_TRY(cdu_graph_status(graph, error));
    cdu_graph_output(graph, out->loss);
    return cdu_graph_status(graph, error);
}

cdu_status cdu_model_build_training(cdu_graph *graph, const cdu_model_settings *settings, uint32_t n, uint32_t height,
                                    uint32_t width, bool mean_of_pixels, cdu_training_graph *out, cdu_error *error)
{
    return build_training(graph, settings, (cdu_shape){n, height, width, 1}, mean_of_pixels, false, out, error);
}

cdu_status cdu_model_build_augmented(cdu_graph *graph, const cdu_model_settings *settings, uint32_t n, uint32_t height,
                                     uint32_t width, bool mean_of_pixels, cdu_training_graph *out, cdu_error *error)
{
    return build_training(graph, settings, (cdu_shape){n, height, width, 1}, mean_of_pixels, true, out, error);
}

cdu_status cdu_model_build_inference(cdu_graph *graph, const cdu_model_settings *settings, uint32_t n, uint32_t height,
                                     uint32_t width, cdu_inference_graph *out, cdu_error *error)
{
    CDU_TRY(check_size(settings, n, height, width, error));
    builder b = {graph, settings, false};
    cdu_value label = CDU_NO_VALUE;
    out->tile = cdu_graph_input(graph, "tile", (cdu_shape){n, height, width, 1}, CDU_U32);
    out->image = cdu_tile_input(graph, "input", out->tile, settings->bgr, &label);
    out->logits = network(&b, out->image);
    out->probabilities = cdu_softmax(graph, "probabilities", out->logits);
    CDU_TRY(cdu_graph_status(graph, error));
    cdu_graph_output(graph, out->probabilities);
    return cdu_graph_status(graph, error);
}
