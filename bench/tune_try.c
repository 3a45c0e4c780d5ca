/* tune_try.c: what the tuner's children do: describe the device and the network's convolutions, try a candidate, time a training step. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/network.h"
#include "bench/tune.h"
#include "core/base/memory.h"
#include "core/base/progress.h"
#include "core/base/random.h"
#include "core/model/model.h"
#include "core/ops/open.h"
#include "core/ops/ops.h"

enum { ROUNDS_LEAST = 5, ROUNDS_MOST = 75 };
static const double ROUNDS_SECONDS = 0.4, AGAIN_SECONDS = 1.5, STEP_SECONDS = 20, HOPELESS = 1.5;

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
    const cdu_conv_problem *problem;
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
    t->problem = p;
    tune_phase(true);
    cdu_conv_force(choice);
    cdu_status status = cdu_program_create(t->graph, gpu, &(cdu_plan_options){.training = training, .quiet = true}, &t->program, error);
    cdu_conv_force(NULL);
    if (status == CDU_OK) status = fill_value(t, x, false, error);
    if (status == CDU_OK) status = fill_value(t, cdu_graph_find(t->graph, "conv.weight"), false, error);
    if (status == CDU_OK && training) status = fill_value(t, y, true, error);
    return status;
}

static cdu_status run_timed(timed_program *t, uint64_t *nanoseconds, double *ms, cdu_error *error)
{
    tune_phase(false);
    CDU_TRY(cdu_program_run(t->program, NULL, 0, error));
    CDU_TRY(cdu_program_times(t->program, nanoseconds, error));
    *ms = 0;
    for (uint32_t i = 0; i < cdu_program_steps(t->program); i++)
        if (tune_solves(t->problem, cdu_program_draft(t->program, i))) *ms += (double)nanoseconds[i] * 1e-6;
    return CDU_OK;
}

/* One after the other, each round in the other order, until enough is known: what the first takes of the second one's time. */
static cdu_status alternate(timed_program both[2], double seconds, double *share, cdu_error *error)
{
    double times[2], shares[ROUNDS_MOST], began = cdu_seconds(), now;
    uint32_t steps = cdu_program_steps(both[0].program), other = cdu_program_steps(both[1].program), rounds = 0;
    uint64_t *nanoseconds;
    CDU_TRY(cdu_allocate(&nanoseconds, steps > other ? steps : other, sizeof *nanoseconds, error));
    cdu_status status = run_timed(&both[0], nanoseconds, &now, error);
    if (status == CDU_OK) status = run_timed(&both[1], nanoseconds, &now, error);
    while (status == CDU_OK && rounds < ROUNDS_MOST && (rounds < ROUNDS_LEAST || cdu_seconds() - began < seconds)) {
        for (uint32_t i = 0; i < 2 && status == CDU_OK; i++) {
            uint32_t which = (i + rounds) % 2;
            status = run_timed(&both[which], nanoseconds, &times[which], error);
        }
        shares[rounds++] = times[0] / (times[1] > 0 ? times[1] : 1e-6);
        if (rounds > 1 && shares[rounds - 1] > HOPELESS && shares[rounds - 2] > HOPELESS) break;
    }
    if (status == CDU_OK) *share = bench_spread_of(shares, rounds).median;
    free(nanoseconds);
    return status;
}

static cdu_status try_on(const cdu_gpu *gpu, const tune_trial *trial, tune_verdict *v, cdu_error *error)
{
    v->share = 1;
    if (!trial->again) CDU_TRY(tune_check(gpu, trial, error));
    if (!memcmp(&trial->candidate, &trial->standard, sizeof trial->standard)) return CDU_OK;
    timed_program both[2] = {{0}};
    cdu_status status = begin_timed(&trial->problem, gpu, &trial->candidate, &both[0], error);
    if (status == CDU_OK) status = begin_timed(&trial->problem, gpu, &trial->standard, &both[1], error);
    if (status == CDU_OK) status = alternate(both, trial->again ? AGAIN_SECONDS : ROUNDS_SECONDS, &v->share, error);
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
    v->opened = v->status == CDU_OK;
    if (v->opened) v->status = try_on(&gpu, trial, v, &v->error);
}

/* ---- a training step ---- */

/* Rate 0: the weights stay as they are. */
static cdu_status run_step(bench_network *net, double *ms, double *loss, cdu_error *error)
{
    static const uint32_t patch[CDU_PATCH_BYTES / 4];
    float results[4];
    cdu_value value = cdu_graph_find(net->graph, "loss.output");
    if (value == CDU_NO_VALUE) return cdu_fail(error, CDU_FAILED, "the network has no loss");
    tune_phase(false);
    double began = cdu_seconds();
    CDU_TRY(cdu_program_run(net->program, patch, sizeof patch, error));
    *ms = 1e3 * (cdu_seconds() - began);
    CDU_TRY(cdu_program_read(net->program, value, results, error));
    *loss = results[0];
    return CDU_OK;
}

static cdu_status open_step(const tune_step_trial *trial, const cdu_gpu *gpu, const char *place, bench_network *net, cdu_error *error)
{
    const tune_network *n = &trial->network;
    tune_phase(true);
    cdu_tune_place(place);
    cdu_tune_forget();
    CDU_TRY(cdu_tune_load(&gpu->info, error));
    return bench_network_open(gpu, &(bench_network_settings){true, false, n->size, n->batch, n->width, 1}, net, error);
}

static cdu_status step_on(const cdu_gpu *gpu, const tune_step_trial *trial, tune_step_verdict *v, cdu_error *error)
{
    bench_network nets[2] = {{0}};
    double times[2][ROUNDS_MOST], now;
    uint32_t rounds = 0;
    cdu_status status = open_step(trial, gpu, "off", &nets[0], error);
    if (status == CDU_OK) status = open_step(trial, gpu, trial->pack, &nets[1], error);
    for (uint32_t i = 0; i < 2 && status == CDU_OK; i++) status = run_step(&nets[i], &now, &v->loss[i], error);
    double began = cdu_seconds();
    for (; status == CDU_OK && rounds < ROUNDS_MOST && (rounds < ROUNDS_LEAST || cdu_seconds() - began < STEP_SECONDS); rounds++)
        for (uint32_t i = 0; i < 2 && status == CDU_OK; i++) {
            uint32_t which = (i + rounds) % 2;
            status = run_step(&nets[which], &times[which][rounds], &v->loss[which], error);
        }
    for (uint32_t i = 0; i < 2 && status == CDU_OK; i++) v->ms[i] = bench_spread_of(times[i], rounds);
    for (uint32_t i = 0; i < 2; i++) bench_network_close(&nets[i]);
    return status;
}

void tune_step(const void *request, void *answer)
{
    const tune_step_trial *trial = request;
    tune_step_verdict *v = answer;
    cdu_gpu gpu;
    v->status = cdu_gpu_open(trial->network.device, false, true, &gpu, &v->error);
    if (v->status == CDU_OK) v->status = step_on(&gpu, trial, v, &v->error);
}
