/* cmd_serve.c: `cdunet-bench serve WHAT`: one measurement for each line on standard input, one line of JSON for each, so that another program
 * can take turns between us and others. "run 16" is 16 pieces of work on end, as in a training, and the mean of their seconds. The peers' scripts speak the same way: a first line that tells what they are, then {"seconds": S}
 * for every line read, and {"peak_bytes": B} at the end of the input. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/commands.h"
#include "bench/convs.h"
#include "bench/host.h"
#include "bench/network.h"
#include "bench/profile.h"
#include "core/base/progress.h"

typedef struct {
    const bench_settings *settings;
    cdu_gpu gpu;
    bench_network network;
    bench_convs convs;
    bench_limits *limits;
    double gflop;
} server;

typedef struct {
    const char *name;
    bool timed;             /* the device's clock is needed */
    cdu_status (*open)(server *, cdu_error *);
    cdu_status (*run)(server *, json_t *answer, cdu_error *);
} service;

static cdu_status open_network(server *s, bool training, cdu_error *error)
{
    const bench_settings *o = s->settings;
    bench_network_settings settings = bench_network_of(o, training);
    CDU_TRY(bench_network_open(&s->gpu, &settings, &s->network, error));
    s->gflop = cdu_program_report(s->network.program).flops * 1e-9;
    return CDU_OK;
}

static cdu_status open_step(server *s, cdu_error *error)
{
    return open_network(s, true, error);
}

static cdu_status open_infer(server *s, cdu_error *error)
{
    return open_network(s, false, error);
}

static cdu_status run_network(server *s, json_t *answer, cdu_error *error)
{
    double seconds;
    CDU_TRY(bench_run(s->network.program, &seconds, error));
    json_object_set_new(answer, "seconds", json_real(seconds));
    return CDU_OK;
}

static cdu_status open_convs(server *s, cdu_error *error)
{
    bench_convs_list(&s->convs, (uint32_t)s->settings->size, (uint32_t)s->settings->width);
    return bench_convs_open(&s->convs, &s->gpu, s->settings->exact, error);
}

static cdu_status run_convs(server *s, json_t *answer, cdu_error *error)
{
    double p[BENCH_PASSES];
    CDU_TRY(bench_convs_run(&s->convs, p, error));
    json_object_set_new(answer, "seconds", json_real(p[BENCH_FORWARD] + p[BENCH_DATA_GRADIENT] + p[BENCH_WEIGHT_GRADIENT]));
    json_object_set_new(answer, "forward", json_real(p[BENCH_FORWARD]));
    json_object_set_new(answer, "data_gradient", json_real(p[BENCH_DATA_GRADIENT]));
    json_object_set_new(answer, "weight_gradient", json_real(p[BENCH_WEIGHT_GRADIENT]));
    return CDU_OK;
}

static cdu_status open_limits(server *s, cdu_error *error)
{
    return bench_limits_open(&s->gpu, &s->limits, error);
}

/* The most of some time: threads that slept begin on one processor, and it takes a while until they are apart. */
static const double LIMITS_SECONDS = 0.8;

static cdu_status run_limits(server *s, json_t *answer, cdu_error *error)
{
    double began = cdu_seconds();
    bench_limits_close(s->limits);
    s->limits = NULL;
    CDU_TRY(bench_limits_open(&s->gpu, &s->limits, error));
    while (cdu_seconds() - began < LIMITS_SECONDS) CDU_TRY(bench_limits_sample(s->limits, error));
    json_object_set_new(answer, "seconds", json_real(cdu_seconds() - began));
    json_object_set_new(answer, "fma_gflops", json_real(bench_limits_of(s->limits, BENCH_MULTIPLY_ADD).max));
    json_object_set_new(answer, "copy_gbytes", json_real(bench_limits_of(s->limits, BENCH_COPY).max));
    return CDU_OK;
}

static const service services[] = {
    {"step", false, open_step, run_network}, {"infer", false, open_infer, run_network}, {"convs", true, open_convs, run_convs},
    {"limits", true, open_limits, run_limits},
};
enum { SERVICES = sizeof services / sizeof services[0] };

static cdu_status say(json_t *line, cdu_error *error)
{
    char *text = line ? json_dumps(line, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
    json_decref(line);
    if (!text) return cdu_fail(error, CDU_FAILED, "an answer cannot be written as JSON");
    puts(text);
    free(text);
    return fflush(stdout) == 0 ? CDU_OK : cdu_fail(error, CDU_CANNOT_WRITE, "standard output cannot be written");
}

static cdu_status run_times(server *s, const service *what, unsigned long times, json_t *answer, cdu_error *error)
{
    double sum = 0;
    for (unsigned long i = 0; i < times; i++) {
        CDU_TRY(what->run(s, answer, error));
        sum += json_number_value(json_object_get(answer, "seconds"));
    }
    json_object_set_new(answer, "seconds", json_real(sum / (double)times));
    return CDU_OK;
}

static cdu_status answer_all(server *s, const service *what, cdu_error *error)
{
    char line[64];
    json_t *ignored = json_object();
    CDU_TRY(what->open(s, error));
    bench_trim();
    bench_resident_reset(); /* the peak is that of running, not of compiling */
    cdu_status status = what->run(s, ignored, error);
    json_decref(ignored);
    CDU_TRY(status);
    uint64_t planned = s->network.program ? cdu_program_report(s->network.program).peak : 0;
    CDU_TRY(say(json_pack("{s:b, s:s, s:s, s:s, s:s, s:f, s:I}", "ready", 1, "peer", "cdunet", "version", CDUNET_VERSION, "settings",
                          s->gpu.info.name, "driver", s->gpu.info.driver, "gflop", s->gflop, "planned_bytes", (json_int_t)planned), error));
    while (fgets(line, sizeof line, stdin)) {
        json_t *answer = json_object();
        unsigned long times = strncmp(line, "run ", 4) ? 1 : strtoul(line + 4, NULL, 10);
        status = run_times(s, what, times ? times : 1, answer, error);
        if (status != CDU_OK) return json_decref(answer), status;
        CDU_TRY(say(answer, error));
    }
    return say(json_pack("{s:I}", "peak_bytes", (json_int_t)bench_resident_peak()), error);
}

static cdu_status serve(const bench_settings *settings, const service *what, cdu_error *error)
{
    server s = {.settings = settings};
    CDU_TRY(cdu_gpu_open(settings->device, what->timed, true, &s.gpu, error));
    cdu_status status = answer_all(&s, what, error);
    bench_network_close(&s.network);
    bench_convs_close(&s.convs);
    bench_limits_close(s.limits);
    cdu_gpu_close(&s.gpu);
    return status;
}

cdu_status bench_cmd_serve(int argc, char **argv, cdu_error *error)
{
    bench_settings s = {0};
    const char *name = NULL;
    bool done = false;
    const cdu_positional positionals[] = {{.name = "WHAT", .value = &name, .help = "step, infer, convs (all 3x3 layers) or limits"}, {0}};
    CDU_TRY(bench_settings_parse(&s, BENCH_TAKES_DEVICE | BENCH_TAKES_NETWORK, "1", "one measurement for each line of input, for programs that "
                                 "measure in turn", "bench/peers/README.md has the protocol.", positionals, argc, argv, &done, error));
    if (done) return CDU_OK;
    for (int i = 0; i < SERVICES; i++)
        if (!strcmp(name, services[i].name)) return serve(&s, &services[i], error);
    return cdu_fail(error, CDU_USAGE, "serve: there is no '%s'; there are step, infer, convs, limits", name);
}
