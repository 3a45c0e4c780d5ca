/* tune_try.c: what the tuner's children do: describe the device and the network's convolutions, try a candidate. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/tune.h"
#include "core/base/memory.h"
#include "core/base/progress.h"
#include "core/base/random.h"
#include "core/model/model.h"
#include "core/ops/open.h"
#include "core/ops/ops.h"

enum { ROUNDS_LEAST = 5, ROUNDS_MOST = 25 };
static const double ROUNDS_SECONDS = 0.5;

/* ---- the device and the network ---- */

static void see(void *context, const cdu_conv_problem *problem)
{
    tune_description *d = context;
    uint32_t i = 0;
    while (i < d->count && memcmp(&d->problems[i], problem, sizeof *problem)) i++;
    if (i == TUNE_PROBLEMS) return;
    if (i == d->count) d->problems[d->count++] = *problem;
    d->times[i]++;
}

static cdu_status see_network(const tune_network *network, const cdu_gpu *gpu, tune_description *d, cdu_error *error)
{
    cdu_model_settings settings = cdu_model_defaults();
    cdu_graph *graph = NULL;
    cdu_plan *plan = NULL;
    cdu_training_graph values;
    settings.width = network->width;
    CDU_TRY(cdu_graph_create(&graph, error));
    cdu_status status = cdu_model_build_training(graph, &settings, network->batch, network->size, network->size, false, &values, error);
    cdu_conv_observe(see, d);
    if (status == CDU_OK) status = cdu_plan_create(graph, &gpu->info, &(cdu_plan_options){.training = true, .quiet = true}, &plan, error);
    cdu_conv_observe(NULL, NULL);
    cdu_plan_destroy(plan);
    cdu_graph_destroy(graph);
    return status;
}

void tune_describe(const void *request, void *answer)
{
    const tune_network *network = request;
    tune_description *d = answer;
    cdu_gpu gpu;
    cdu_tune_place("off");
    d->status = cdu_open_device(network->device, false, &gpu, &d->error);
    if (d->status != CDU_OK) return;
    d->info = gpu.info;
    memcpy(d->id, gpu.id, sizeof d->id);
    d->status = see_network(network, &gpu, d, &d->error);
}

/* ---- a candidate ---- */

typedef struct {
    cdu_graph *graph;
    cdu_program *program;
    uint32_t first, last;       /* the steps of the problem's pass */
} timed_program;

static cdu_status fill_value(timed_program *t, cdu_value value, bool gradient, cdu_error *error)
{
    const cdu_value_info *info = cdu_graph_value(t->graph, value);
    bool parameter = info->kind == CDU_VALUE_PARAMETER;
    uint64_t count = parameter ? cdu_value_elements(info) : (uint64_t)info->shape.n * info->shape.h * info->shape.w * info->shape.c;
    float *numbers = NULL;
    cdu_random random = cdu_random_stream(1, CDU_RANDOM_TEST, (uint32_t)value, gradient);
    CDU_TRY(cdu_allocate(&numbers, count, sizeof *numbers, error));
    for (uint64_t i = 0; i < count; i++) numbers[i] = cdu_random_float(&random) - 0.5f;
    cdu_status status = parameter  ? cdu_program_write_parameter(t->program, value, numbers, error)
                        : gradient ? cdu_program_write_gradient(t->program, value, numbers, error)
                                   : cdu_program_write(t->program, value, numbers, error);
    free(numbers);
    return status;
}

static void end_timed(timed_program *t)
{
    cdu_program_destroy(t->program);
    cdu_graph_destroy(t->graph);
}

static cdu_status begin_timed(const cdu_conv_problem *p, const cdu_gpu *gpu, const cdu_choice *choice, timed_program *t, cdu_error *error)
{
    cdu_value x, y;
    bool training;
    CDU_TRY(tune_graph(p, &t->graph, &x, &y, &training, error));
    cdu_conv_force(choice);
    cdu_status status = tune_steps(p, &gpu->info, t->graph, &t->first, &t->last, error);
    if (status == CDU_OK)
        status = cdu_program_create(t->graph, gpu, &(cdu_plan_options){.training = training, .quiet = true}, &t->program, error);
    cdu_conv_force(NULL);
    if (status == CDU_OK) status = fill_value(t, x, false, error);
    if (status == CDU_OK) status = fill_value(t, cdu_graph_find(t->graph, "conv.weight"), false, error);
    if (status == CDU_OK && training) status = fill_value(t, y, true, error);
    return status;
}

static cdu_status run_timed(timed_program *t, uint64_t *nanoseconds, double *ms, cdu_error *error)
{
    CDU_TRY(cdu_program_run(t->program, NULL, 0, error));
    CDU_TRY(cdu_program_times(t->program, nanoseconds, error));
    *ms = 0;
    for (uint32_t i = t->first; i < t->last; i++) *ms += (double)nanoseconds[i] * 1e-6;
    return CDU_OK;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double median(double *values, uint32_t count)
{
    qsort(values, count, sizeof *values, by_size);
    return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

/* One after the other, each round in the other order. */
static cdu_status alternate(timed_program both[2], double ms[2], cdu_error *error)
{
    double times[2][ROUNDS_MOST], began = cdu_seconds(), now;
    uint32_t steps = cdu_program_steps(both[0].program), other = cdu_program_steps(both[1].program), rounds = 0;
    uint64_t *nanoseconds;
    CDU_TRY(cdu_allocate(&nanoseconds, steps > other ? steps : other, sizeof *nanoseconds, error));
    cdu_status status = run_timed(&both[0], nanoseconds, &now, error);
    if (status == CDU_OK) status = run_timed(&both[1], nanoseconds, &now, error);
    while (status == CDU_OK && rounds < ROUNDS_MOST && (rounds < ROUNDS_LEAST || cdu_seconds() - began < ROUNDS_SECONDS)) {
        for (uint32_t i = 0; i < 2 && status == CDU_OK; i++) {
            uint32_t which = (i + rounds) % 2;
            status = run_timed(&both[which], nanoseconds, &times[which][rounds], error);
        }
        rounds++;
    }
    for (uint32_t i = 0; i < 2 && status == CDU_OK; i++) ms[i] = median(times[i], rounds);
    free(nanoseconds);
    return status;
}

static cdu_status try_on(const cdu_gpu *gpu, const tune_trial *trial, tune_verdict *v, cdu_error *error)
{
    CDU_TRY(tune_check(gpu, trial, error));
    if (!memcmp(&trial->candidate, &trial->standard, sizeof trial->standard)) return CDU_OK;
    timed_program both[2] = {{0}};
    double ms[2] = {0};
    cdu_status status = begin_timed(&trial->problem, gpu, &trial->candidate, &both[0], error);
    if (status == CDU_OK) status = begin_timed(&trial->problem, gpu, &trial->standard, &both[1], error);
    if (status == CDU_OK) status = alternate(both, ms, error);
    v->ms = ms[0];
    v->standard_ms = ms[1];
    end_timed(&both[0]);
    end_timed(&both[1]);
    return status;
}

void tune_try(const void *request, void *answer)
{
    const tune_trial *trial = request;
    tune_verdict *v = answer;
    cdu_gpu gpu;
    cdu_tune_place("off");
    v->status = cdu_gpu_open(trial->device, true, true, &gpu, &v->error);
    if (v->status == CDU_OK) v->status = try_on(&gpu, trial, v, &v->error);
}
