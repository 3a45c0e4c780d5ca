/* cmd_scale.c: `cdunet-bench scale`, alone or under mpiexec: how long sums over all ranks take, and how much of that a training step hides. The step is
 * the program that training runs, of the paper's network, on real devices, or on the null device, whose segments here sleep in proportion to their work:
 * the buckets of gradients leave as they do on a real one, and no rank takes a processor from another. Leaves out reading tiles, and a network between
 * ranks, which cmd_link.c makes. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "bench/commands.h"
#include "bench/network.h"
#include "core/base/memory.h"
#include "core/base/progress.h"
#include "core/ops/ops.h"
#include "core/train/ranks.h"
#include "dist/collective.h"

enum { TILE = 128, SMALLEST = 1024, LARGEST = 64 << 20, DEADLINE = 120, SEGMENTS = 256, MOST = 1000 };

static const bench_column sum_columns[] = {
    {"bytes", "KiB", 1.0 / 1024, 0}, {"ranks", "ranks", 1, 0}, {"seconds_min", "ms min", 1e3, 3}, {"seconds_median", "median", 1e3, 3},
    {"seconds_max", "max", 1e3, 3}, {"rate", "GB/s", 1e-9, 3}, {0},
};
static const bench_column step_columns[] = {
    {"ranks", "ranks", 1, 0}, {"sleep", "ms asleep", 1e3, 1}, {"step_min", "ms min", 1e3, 1}, {"step_median", "median", 1e3, 1},
    {"step_max", "max", 1e3, 1}, {"bytes", "MB summed", 1e-6, 1}, {"buckets", "buckets", 1, 0}, {"alone_median", "alone", 1e3, 1},
    {"slowest", "waits for ranks", 1e3, 1}, {"network", "for network", 1e3, 1}, {"hidden", "% hidden", 100, 1}, {"last_bucket", NULL, 0, 0},
    {"alone_min", NULL, 0, 0}, {"alone_max", NULL, 0, 0}, {0},
};

/* ---- the sleeping device: the null backend, whose segments are done later ---- */

static struct {
    const cdu_backend *null;
    double seconds, share[SEGMENTS];    /* of a step; of each segment in it */
    double ready;                       /* when all that was submitted is done */
    cdu_ticket last;
    double done[SEGMENTS];              /* by ticket, in a ring */
} bed;

static cdu_status sleeping_submit(cdu_list *list, uint32_t segment, cdu_lane lane, const void *patch, uint32_t bytes, cdu_ticket *ticket,
                                  cdu_error *error)
{
    double now = cdu_seconds();
    CDU_TRY(bed.null->submit(list, segment, lane, patch, bytes, ticket, error));
    bed.ready = (now > bed.ready ? now : bed.ready) + bed.seconds * (segment < SEGMENTS ? bed.share[segment] : 0);
    bed.done[*ticket % SEGMENTS] = bed.ready;
    return CDU_OK;
}

static cdu_status sleeping_wait(cdu_device *device, cdu_ticket ticket, uint64_t timeout, cdu_progress *progress, cdu_error *error)
{
    double left = bed.done[ticket % SEGMENTS] - cdu_seconds(), patience = (double)timeout * 1e-9;
    if (left > patience) {
        nanosleep(&(struct timespec){(time_t)patience, (long)((patience - (double)(time_t)patience) * 1e9)}, NULL);
        *progress = CDU_RUNNING;
        return CDU_OK;
    }
    if (left > 0) nanosleep(&(struct timespec){(time_t)left, (long)((left - (double)(time_t)left) * 1e9)}, NULL);
    return bed.null->wait(device, ticket, timeout, progress, error);
}

/* ---- what a step needs ---- */

typedef struct {
    const bench_settings *settings;
    cdu_ranks ranks;
    cdu_gpu gpu;
    cdu_backend sleeping;
    bench_network network;
    uint64_t elements[SEGMENTS];        /* of each bucket, as they left */
    double left[SEGMENTS], began;       /* when, at the earliest of all steps, seconds from the beginning of one */
    uint32_t buckets;
    float *data;                        /* LARGEST bytes */
    double flag;
    uint32_t telling;
    bool told;
} scale;

static cdu_status sum_start(void *context, float *data, uint64_t count, uint32_t *request, cdu_error *error)
{
    scale *s = context;
    if (s->buckets < SEGMENTS) {
        double now = cdu_seconds() - s->began, *left = &s->left[s->buckets];
        if (*left == 0 || now < *left) *left = now;
        s->elements[s->buckets++] = count;
    }
    return s->ranks.kind->reduce_start(s->ranks.group, CDU_REDUCE_SUM_F32, data, count, request, error);
}

static cdu_status sum_test(void *context, uint32_t request, bool *done, cdu_error *error)
{
    scale *s = context;
    return s->ranks.kind->reduce_test(s->ranks.group, request, done, error);
}

static cdu_status gather(void *context, const float *mine, uint32_t count, float *all, cdu_error *error)
{
    scale *s = context;
    return s->ranks.kind->gather(s->ranks.group, mine, count * sizeof *mine, all, error);
}

/* The ranks meet, as they do to tell their losses. */
static cdu_status meet(void *context, void *patch, bool *done, cdu_error *error)
{
    scale *s = context;
    (void)patch;
    *done = false;
    if (s->told) {
        CDU_TRY(s->ranks.kind->reduce_test(s->ranks.group, s->telling, done, error));
        s->told = !*done;
        return CDU_OK;
    }
    s->flag = 1;
    s->told = true;
    return s->ranks.kind->reduce_start(s->ranks.group, CDU_REDUCE_SUM_F64, &s->flag, 1, &s->telling, error);
}

static void share_out(cdu_program *program)
{
    double work[SEGMENTS] = {0}, all = 0;
    for (uint32_t i = 0; i < cdu_program_steps(program); i++) {
        const cdu_draft *draft = cdu_program_draft(program, i);
        uint32_t segment = cdu_program_step(program, i)->segment;
        double more = draft ? draft->bytes + draft->flops / 12 : 0;
        if (segment < SEGMENTS) work[segment] += more, all += more;
    }
    for (uint32_t i = 0; i < SEGMENTS; i++) bed.share[i] = all > 0 ? work[i] / all : 0;
}

static cdu_status open_sleeping(scale *s, cdu_error *error)
{
    cdu_training_graph values;
    cdu_model_settings model = cdu_model_defaults();
    cdu_plan_options options = {.training = true, .update = cdu_sgd_update, .spend = CDU_SPEND, .quiet = true, .ranks = s->ranks.size,
                                .images = s->ranks.size};
    CDU_TRY(cdu_gpu_open("null:0", false, true, &s->gpu, error));
    bed.null = s->gpu.backend;
    s->sleeping = *bed.null;
    s->sleeping.submit = sleeping_submit;
    s->sleeping.wait = sleeping_wait;
    s->gpu.backend = &s->sleeping;
    CDU_TRY(cdu_graph_create(&s->network.graph, error));
    CDU_TRY(cdu_model_build_training(s->network.graph, &model, 1, TILE, TILE, false, &values, error));
    CDU_TRY(cdu_program_create(s->network.graph, &s->gpu, &options, &s->network.program, error));
    share_out(s->network.program);
    bed.seconds = s->settings->sleep * 1e-3;
    return CDU_OK;
}

static cdu_status open_real(scale *s, cdu_error *error)
{
    const bench_settings *o = s->settings;
    bench_network_settings network = bench_network_of(o, true);
    network.ranks = s->ranks.size;
    char name[256];
    cdu_team team;
    cdu_team_begin(&team, &s->ranks);
    cdu_status status = cdu_team_device(&team, o->device, o->oversubscribe, name, sizeof name, error);
    cdu_team_end(&team);
    if (status == CDU_OK) status = cdu_gpu_open(name, false, false, &s->gpu, error);
    return status == CDU_OK ? bench_network_open(&s->gpu, &network, &s->network, error) : status;
}

/* The largest of all ranks' values, on all of them. */
static cdu_status largest(scale *s, double *values, size_t count, cdu_error *error)
{
    double *all;
    CDU_TRY(cdu_allocate(&all, count * s->ranks.size, sizeof *all, error));
    cdu_status status = s->ranks.kind->gather(s->ranks.group, values, count * sizeof *values, all, error);
    for (size_t i = 0; status == CDU_OK && i < count * s->ranks.size; i++)
        if (all[i] > values[i % count]) values[i % count] = all[i];
    free(all);
    return status;
}

/* ---- the measurements ---- */

static cdu_status measure_sum(scale *s, size_t bytes, json_t *rows, cdu_error *error)
{
    double seconds[MOST];
    uint64_t repeats = bytes > 1 << 22 && s->settings->repeats > 5 ? 5 : s->settings->repeats;
    for (uint64_t i = 0; i <= repeats; i++) {
        CDU_TRY(s->ranks.kind->barrier(s->ranks.group, error));
        double began = cdu_seconds();
        CDU_TRY(cdu_collective_reduce(s->ranks.kind, s->ranks.group, CDU_REDUCE_SUM_F32, s->data, bytes / sizeof(float), error));
        seconds[i ? i - 1 : 0] = cdu_seconds() - began;  /* the first is for nothing */
    }
    CDU_TRY(largest(s, seconds, repeats, error));
    bench_spread spread = bench_spread_of(seconds, repeats);
    json_t *row = json_pack("{s:I, s:I, s:f}", "bytes", (json_int_t)bytes, "ranks", (json_int_t)s->ranks.size, "rate",
                            spread.median > 0 ? (double)bytes / spread.median : 0);
    bench_row_spread(row, "seconds", spread);
    json_array_append_new(rows, row);
    return CDU_OK;
}

/* All buckets of a step at once, with nothing else to do. */
static cdu_status sum_alone(scale *s, double *seconds, cdu_error *error)
{
    uint32_t requests[SEGMENTS], round = 0, left = s->buckets;
    bool done[SEGMENTS] = {false};
    uint64_t at = 0;
    CDU_TRY(s->ranks.kind->barrier(s->ranks.group, error));
    double began = cdu_seconds();
    for (uint32_t i = 0; i < s->buckets; at += s->elements[i++])
        CDU_TRY(s->ranks.kind->reduce_start(s->ranks.group, CDU_REDUCE_SUM_F32, s->data + at, s->elements[i], &requests[i], error));
    for (; left; cdu_collective_pause(&round))
        for (uint32_t i = 0; i < s->buckets; i++) {
            if (done[i]) continue;
            CDU_TRY(s->ranks.kind->reduce_test(s->ranks.group, requests[i], &done[i], error));
            left -= done[i];
        }
    *seconds = cdu_seconds() - began;
    return CDU_OK;
}

static cdu_status one_step(scale *s, double *seconds, cdu_exchange_times *times, cdu_error *error)
{
    struct cdu_sgd_shared_patch patch = {{0, 0}, 1};
    const cdu_exchanger exchanger = {.context = s, .sum_start = sum_start, .sum_test = sum_test, .gather = gather, .before_update = meet,
                                     .pause = cdu_collective_pause};
    s->buckets = 0;
    CDU_TRY(s->ranks.kind->barrier(s->ranks.group, error));
    double began = s->began = cdu_seconds();
    if (s->ranks.size > 1) CDU_TRY(cdu_program_run_exchanging(s->network.program, &patch, sizeof patch, &exchanger, times, error));
    else CDU_TRY(cdu_program_run(s->network.program, &patch.plain, sizeof patch.plain, error));
    *seconds = cdu_seconds() - began;
    return CDU_OK;
}

static cdu_status measure_step(scale *s, json_t *rows, cdu_error *error)
{
    double steps[MOST], alone[MOST], slowest[MOST], network[MOST], bytes = 0;
    uint64_t repeats = s->settings->repeats;
    for (uint64_t i = 0; i <= repeats; i++) {
        uint64_t at = i ? i - 1 : 0;
        cdu_exchange_times times = {0};
        CDU_TRY(one_step(s, &steps[at], &times, error));
        CDU_TRY(sum_alone(s, &alone[at], error));
        slowest[at] = times.slowest;
        network[at] = times.network;
    }
    CDU_TRY(largest(s, steps, repeats, error));
    CDU_TRY(largest(s, alone, repeats, error));
    CDU_TRY(largest(s, slowest, repeats, error));
    CDU_TRY(largest(s, network, repeats, error));
    for (uint32_t i = 0; i < s->buckets; i++) bytes += 4.0 * (double)s->elements[i];
    bench_spread step = bench_spread_of(steps, repeats), sums = bench_spread_of(alone, repeats);
    double waits = bench_spread_of(slowest, repeats).median, rest = bench_spread_of(network, repeats).median;
    double hidden = sums.median > 0 ? 1 - (waits + rest) / sums.median : 1;
    json_t *row = json_pack("{s:I, s:f, s:f, s:I, s:f, s:f, s:f}", "ranks", (json_int_t)s->ranks.size, "sleep", bed.seconds, "bytes", bytes,
                            "buckets", (json_int_t)s->buckets, "slowest", waits, "network", rest, "last_bucket",
                            s->buckets ? 4.0 * (double)s->elements[s->buckets - 1] : 0.0);
    bench_row_spread(row, "step", step);
    bench_row_spread(row, "alone", sums);
    json_object_set_new(row, "hidden", s->buckets ? json_real(hidden > 0 ? hidden : 0) : json_null());
    json_t *left = json_array(), *sizes = json_array();
    for (uint32_t i = 0; i < s->buckets; i++) {
        json_array_append_new(left, json_real(s->left[i]));
        json_array_append_new(sizes, json_integer(4 * (json_int_t)s->elements[i]));
    }
    json_object_set_new(row, "bucket_bytes", sizes);
    json_object_set_new(row, "bucket_left", left);
    json_array_append_new(rows, row);
    return CDU_OK;
}

static cdu_status measure(scale *s, bench_report *report, cdu_error *error)
{
    json_t *sums = bench_report_table(report, "sums", "a sum over all ranks", sum_columns);
    json_t *steps = bench_report_table(report, "steps", s->settings->device ? "a step of CD-UNET" : "a step of CD-UNET on a device that sleeps", step_columns);
    CDU_TRY(cdu_allocate(&s->data, LARGEST, 1, error));
    CDU_TRY(s->settings->device ? open_real(s, error) : open_sleeping(s, error));
    CDU_TRY(bench_report_device(report, &s->gpu, error));
    for (size_t bytes = SMALLEST; bytes <= LARGEST; bytes *= 4) CDU_TRY(measure_sum(s, bytes, sums, error));
    CDU_TRY(measure_step(s, steps, error));
    bench_report_note(report, "Hidden: what of the time that the sums take alone the device did not wait for, be it for the network or for other ranks.");
    return CDU_OK;
}

cdu_status bench_cmd_scale(int argc, char **argv, cdu_error *error)
{
    bench_settings settings = {0};
    bool done = false;
    scale s = {.settings = &settings};
    bench_report report = {0};
    CDU_TRY(bench_settings_parse(&settings, BENCH_TAKES_REPEATS | BENCH_TAKES_RANKS | BENCH_TAKES_NETWORK, "10", "sums over ranks, and how much of them a step hides",
                                 "Run it alone, or by mpiexec -n RANKS: times are those of the slowest rank. bench/scale.py runs it over several\n"
                                 "numbers of ranks and predicts others. The size of tiles, batch and width are those of a step on real devices.", NULL, argc, argv, &done, error));
    if (done) return CDU_OK;
    CDU_TRY(cdu_ranks_open(DEADLINE, &s.ranks, error));
    cdu_status status = bench_report_begin(&report, argv[0], error);
    if (status == CDU_OK) status = measure(&s, &report, error);
    if (status == CDU_OK && !s.ranks.rank) status = bench_report_print(&report, settings.form, error);
    if (status != CDU_OK && s.ranks.size > 1) {
        fprintf(stderr, "cdunet-bench: rank %u: %s\n", s.ranks.rank, error->words);
        s.ranks.kind->abort(s.ranks.group, status);
    }
    bench_report_end(&report);
    bench_network_close(&s.network);
    if (s.gpu.device) {
        if (bed.null) s.gpu.backend = bed.null;
        cdu_gpu_close(&s.gpu);
    }
    free(s.data);
    s.ranks.kind->close(s.ranks.group);
    return status;
}
