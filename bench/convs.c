/* convs.c: the shapes come from the model's own list of layers. */
#include "bench/convs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/profile.h"
#include "core/base/memory.h"
#include "core/model/layers.h"

static void add(bench_convs *c, const bench_case *layer)
{
    uint32_t i = 0;
    while (i < c->count && (c->what[i].in != layer->in || c->what[i].out != layer->out || c->what[i].h != layer->h)) i++;
    if (i == BENCH_CONVS) return;
    if (i == c->count) c->what[c->count++] = *layer;
    c->times[i]++;
}

void bench_convs_list(bench_convs *c, uint32_t size, uint32_t width)
{
    cdu_model_settings settings = cdu_model_defaults();
    cdu_layer layers[CDU_LAYERS];
    *c = (bench_convs){0};
    settings.width = width;
    uint32_t count = cdu_model_layers(&settings, layers);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t stage = 0;
        bench_case layer;
        if (layers[i].kernel != 3 || bench_case_parse("conv3x3-1-1-1x1-n1", &layer, NULL) != CDU_OK) continue;
        if (sscanf(layers[i].conv, "down.%u.", &stage) != 1 && sscanf(layers[i].conv, "join.%u.", &stage) == 1)
            stage = settings.depth - 2 - stage;
        layer.in = layers[i].in;
        layer.out = layers[i].out;
        layer.h = layer.w = size >> stage;
        add(c, &layer);
    }
}

cdu_status bench_convs_open(bench_convs *c, const cdu_gpu *gpu, bool exact, cdu_error *error)
{
    for (uint32_t i = 0; i < c->count; i++)
        CDU_TRY(bench_case_open(&c->what[i], gpu, exact, &c->graph[i], &c->program[i], error));
    return CDU_OK;
}

void bench_convs_close(bench_convs *c)
{
    for (uint32_t i = 0; i < c->count; i++) {
        cdu_program_destroy(c->program[i]);
        cdu_graph_destroy(c->graph[i]);
        c->program[i] = NULL;
        c->graph[i] = NULL;
    }
}

static cdu_status run_one(cdu_program *program, uint32_t times, double seconds[BENCH_PASSES], cdu_error *error)
{
    static const char *const passes[BENCH_PASSES] = {"forward", "data gradient", "weight gradient"};
    uint32_t steps = cdu_program_steps(program);
    uint64_t *ns = NULL;
    double wall;
    CDU_TRY(bench_run(program, &wall, error));
    CDU_TRY(cdu_allocate(&ns, steps, sizeof *ns, error));
    cdu_status status = cdu_program_times(program, ns, error);
    for (uint32_t i = 0; status == CDU_OK && i < steps; i++) {
        const cdu_draft *draft = cdu_program_draft(program, i);
        for (int p = 0; draft && p < BENCH_PASSES; p++)
            if (!strcmp(draft->pass, passes[p])) seconds[p] += times * (double)ns[i] * 1e-9;
    }
    free(ns);
    return status;
}

cdu_status bench_convs_run(bench_convs *c, double seconds[BENCH_PASSES], cdu_error *error)
{
    memset(seconds, 0, BENCH_PASSES * sizeof *seconds);
    for (uint32_t i = 0; i < c->count; i++) CDU_TRY(run_one(c->program[i], c->times[i], seconds, error));
    return CDU_OK;
}
