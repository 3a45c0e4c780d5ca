/* network.c: builds and fills the network. */
#include "bench/network.h"

#include <stdlib.h>

#include "core/base/memory.h"
#include "core/base/random.h"
#include "core/ops/ops.h"

static cdu_status fill_tiles(cdu_program *program, cdu_value tile, const bench_network_settings *s, uint32_t classes, cdu_error *error)
{
    size_t count = (size_t)s->batch * s->size * s->size;
    uint32_t *pixels = NULL;
    cdu_random random = cdu_random_stream(1, CDU_RANDOM_TEST, 0, 0);
    CDU_TRY(cdu_allocate(&pixels, count, sizeof *pixels, error));
    for (size_t i = 0; i < count; i++) pixels[i] = (cdu_random_u32(&random) & 0xffffffu) | cdu_random_below(&random, classes) << 24;
    cdu_status status = cdu_program_write(program, tile, pixels, error);
    free(pixels);
    return status;
}

static cdu_status open_training(const cdu_gpu *gpu, const bench_network_settings *s, const cdu_model_settings *model, const cdu_weights *weights,
                                bench_network *n, cdu_error *error)
{
    float class_weights[CDU_CLASS_LIMIT];
    cdu_training_graph values;
    cdu_plan_options options = {.training = true, .update = cdu_sgd_update, .spend = CDU_SPEND, .exact = s->exact, .ranks = s->ranks,
                                .images = s->batch * s->ranks};
    for (uint32_t i = 0; i < CDU_CLASS_LIMIT; i++) class_weights[i] = 1;
    CDU_TRY(cdu_model_build_training(n->graph, model, s->batch, s->size, s->size, false, &values, error));
    CDU_TRY(cdu_program_create(n->graph, gpu, &options, &n->program, error));
    CDU_TRY(cdu_model_load(n->graph, n->program, weights, error));
    CDU_TRY(cdu_program_write(n->program, values.class_weight, class_weights, error));
    return fill_tiles(n->program, values.tile, s, model->classes, error);
}

static cdu_status open_inference(const cdu_gpu *gpu, const bench_network_settings *s, const cdu_model_settings *model, const cdu_weights *weights,
                                 bench_network *n, cdu_error *error)
{
    cdu_inference_graph values;
    cdu_plan_options options = {.exact = s->exact, .keep = true};
    CDU_TRY(cdu_model_build_inference(n->graph, model, s->batch, s->size, s->size, &values, error));
    CDU_TRY(cdu_program_create(n->graph, gpu, &options, &n->program, error));
    CDU_TRY(cdu_model_load_folded(n->graph, n->program, model, weights, error));
    return fill_tiles(n->program, values.tile, s, model->classes, error);
}

bench_network_settings bench_network_of(const bench_settings *s, bool training)
{
    return (bench_network_settings){training, s->exact, (uint32_t)s->size, (uint32_t)s->batch, (uint32_t)s->width, 1};
}

cdu_status bench_network_open(const cdu_gpu *gpu, const bench_network_settings *s, bench_network *n, cdu_error *error)
{
    cdu_model_settings model = cdu_model_defaults();
    cdu_weights weights = {0};
    model.width = s->width;
    *n = (bench_network){0};
    CDU_TRY(cdu_graph_create(&n->graph, error));
    cdu_status status = cdu_model_initialize(&model, 1, &weights, error);
    if (status == CDU_OK)
        status = s->training ? open_training(gpu, s, &model, &weights, n, error) : open_inference(gpu, s, &model, &weights, n, error);
    cdu_weights_free(&weights);
    if (status != CDU_OK) bench_network_close(n);
    return status;
}

void bench_network_close(bench_network *n)
{
    cdu_program_destroy(n->program);
    cdu_graph_destroy(n->graph);
    *n = (bench_network){0};
}
