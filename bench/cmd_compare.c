/* cmd_compare.c: `cdunet-bench compare D1 D2 [PEER]`: a training step and an inference on two devices, and in a peer, taking turns. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/child.h"
#include "bench/commands.h"
#include "bench/network.h"
#include "bench/profile.h"

enum { MEMBERS = 3, MOST = 1000 };

typedef struct {
    char name[160];
    const cdu_gpu *gpu;     /* null: a peer */
    bench_network network;
    bench_child child;
    double seconds[MOST];
} member;

typedef struct {
    const bench_settings *settings;
    const char *peer;       /* "pytorch" or "pytorch:nhwc:eager", or null */
    const cdu_gpu *gpu;     /* two */
    member members[MEMBERS];
    int count;
} comparison;

static const bench_column columns[] = {
    {"work", "work", 0, 0}, {"who", "who", 0, 0}, {"seconds_min", "s min", 1, 4}, {"seconds_median", "median", 1, 4}, {"seconds_max", "max", 1, 4},
    {"ratio", "times as fast", 1, 3}, {"ratio_min", "round min", 1, 3}, {"ratio_max", "max", 1, 3}, {"gflops", "GFLOP/s", 1, 1}, {0},
};

static cdu_status run_member(member *m, double *seconds, cdu_error *error)
{
    json_t *answer = NULL;
    if (m->gpu) return bench_run(m->network.program, seconds, error);
    if (fputs("run\n", m->child.in) == EOF || fflush(m->child.in) != 0) return cdu_fail(error, CDU_FAILED, "%s ended early", m->name);
    if (bench_child_line(&m->child, &answer, error) != CDU_OK) return cdu_error_prefix(error, "%s", m->name);
    *seconds = json_number_value(json_object_get(answer, "seconds"));
    json_decref(answer);
    return *seconds > 0 ? CDU_OK : cdu_fail(error, CDU_FAILED, "%s answered without seconds", m->name);
}

/* The peer's script under its setting; it says by itself why it cannot take part. */
static cdu_status start_peer(comparison *c, bool training, member *m, bench_report *report, cdu_error *error)
{
    const bench_settings *s = c->settings;
    char script[4096], size[16], batch[16], width[16];
    size_t length = strcspn(c->peer, ":");
    json_t *about = NULL;
    snprintf(script, sizeof script, "%s/%.*s.py", s->peers, (int)length, c->peer);
    snprintf(size, sizeof size, "%u", (unsigned)s->size);
    snprintf(batch, sizeof batch, "%u", (unsigned)s->batch);
    snprintf(width, sizeof width, "%u", (unsigned)s->width);
    const char *arguments[] = {s->python, script, training ? "step" : "infer", "--serve", "--size", size, "--batch", batch, "--width", width,
                               c->peer[length] ? "--setting" : NULL, c->peer[length] ? c->peer + length + 1 : NULL, NULL};
    CDU_TRY(bench_child_start(&m->child, arguments, NULL, true, error));
    if (bench_child_line(&m->child, &about, error) != CDU_OK)
        return cdu_error_prefix(error, "the peer '%s' cannot take part in %s", c->peer, training ? "step" : "infer");
    const char *peer = json_string_value(json_object_get(about, "peer")), *version = json_string_value(json_object_get(about, "version")),
               *setting = json_string_value(json_object_get(about, "setting")), *settings = json_string_value(json_object_get(about, "settings"));
    snprintf(m->name, sizeof m->name, "%s %s %s", peer ? peer : c->peer, version ? version : "", setting ? setting : "");
    bench_report_note(report, "%s, %s: %s", training ? "step" : "infer", m->name, settings ? settings : "");
    json_decref(about);
    return CDU_OK;
}

static cdu_status open_members(comparison *c, bool training, bench_report *report, cdu_error *error)
{
    const bench_settings *s = c->settings;
    bench_network_settings settings = bench_network_of(s, training);
    for (c->count = 0; c->count < 2; c->count++) {
        member *m = &c->members[c->count];
        *m = (member){.gpu = &c->gpu[c->count]};
        snprintf(m->name, sizeof m->name, "%s %s", m->gpu->id, m->gpu->info.name);
        CDU_TRY(bench_network_open(m->gpu, &settings, &m->network, error));
    }
    if (!c->peer) return CDU_OK;
    c->members[c->count] = (member){.gpu = NULL};
    return start_peer(c, training, &c->members[c->count++], report, error);
}

static void close_members(comparison *c)
{
    for (int i = 0; i < c->count; i++) {
        if (c->members[i].gpu) bench_network_close(&c->members[i].network);
        else bench_child_end(&c->members[i].child);
    }
    c->count = 0;
}

/* Each member once to warm up, then in turn, there and back. */
static cdu_status take_turns(comparison *c, cdu_error *error)
{
    double ignored;
    for (int i = 0; i < c->count; i++) CDU_TRY(run_member(&c->members[i], &ignored, error));
    for (uint64_t r = 0; r < c->settings->repeats; r++)
        for (int i = 0; i < c->count; i++) {
            member *m = &c->members[r % 2 ? c->count - 1 - i : i];
            usleep(30000); /* a peer's threads may still spin */
            CDU_TRY(run_member(m, &m->seconds[r], error));
        }
    return CDU_OK;
}

static void add_rows(const comparison *c, bool training, json_t *rows)
{
    size_t runs = c->settings->repeats;
    double gflop = cdu_program_report(c->members[0].network.program).flops * 1e-9;
    double first[MOST], kept[MOST], ratios[MOST];
    memcpy(first, c->members[0].seconds, sizeof first);
    double median = bench_spread_of(first, runs).median;
    for (int i = 0; i < c->count; i++) {
        const member *m = &c->members[i];
        for (size_t r = 0; r < runs; r++) ratios[r] = c->members[0].seconds[r] / m->seconds[r];
        memcpy(kept, m->seconds, sizeof kept);
        bench_spread spread = bench_spread_of(kept, runs), ratio = bench_spread_of(ratios, runs);
        json_t *row = json_pack("{s:s, s:s, s:f, s:f, s:f, s:f}", "work", training ? "step" : "infer", "who", m->name, "ratio",
                                median / spread.median, "ratio_min", ratio.min, "ratio_max", ratio.max, "gflops", gflop / spread.median);
        bench_row_spread(row, "seconds", spread);
        json_array_append_new(rows, row);
    }
}

static cdu_status compare_work(comparison *c, bool training, bench_report *report, json_t *rows, cdu_error *error)
{
    cdu_status status = open_members(c, training, report, error);
    if (status == CDU_OK) status = take_turns(c, error);
    if (status == CDU_OK) add_rows(c, training, rows);
    close_members(c);
    return status;
}

static cdu_status compare(comparison *c, bench_report *report, cdu_error *error)
{
    const bench_settings *s = c->settings;
    char title[128];
    for (int i = 0; i < 2; i++) CDU_TRY(bench_report_device(report, &c->gpu[i], error));
    snprintf(title, sizeof title, "%u x %u x %u, width %u, in turn; how many times as fast as the first", (unsigned)s->batch, (unsigned)s->size,
             (unsigned)s->size, (unsigned)s->width);
    json_t *rows = bench_report_table(report, "compare", title, columns);
    for (int training = 1; training >= 0; training--)
        if (!s->only || !strcmp(s->only, training ? "step" : "infer")) CDU_TRY(compare_work(c, training, report, rows, error));
    return CDU_OK;
}

/* The environment that ./dev bench makes, where it is there. */
static const char *default_python(char path[4096])
{
    const char *own = getenv("CDUNET_PEERS_CACHE"), *shared = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    if (own && *own) snprintf(path, 4096, "%s/venv/bin/python", own);
    else if (shared && *shared) snprintf(path, 4096, "%s/cdunet-peers/venv/bin/python", shared);
    else snprintf(path, 4096, "%s/.cache/cdunet-peers/venv/bin/python", home ? home : "");
    return access(path, X_OK) == 0 ? path : "python3";
}

static cdu_status run(comparison *c, const char *const *devices, cdu_error *error)
{
    bench_report report;
    cdu_gpu gpu[2];
    CDU_TRY(cdu_gpu_open(devices[0], false, true, &gpu[0], error));
    cdu_status status = cdu_gpu_open(devices[1], false, true, &gpu[1], error);
    if (status != CDU_OK) return cdu_gpu_close(&gpu[0]), status;
    c->gpu = gpu;
    status = bench_report_begin(&report, "compare", error);
    if (status == CDU_OK) {
        status = compare(c, &report, error);
        if (status == CDU_OK) status = bench_report_print(&report, c->settings->form, error);
        bench_report_end(&report);
    }
    cdu_gpu_close(&gpu[1]);
    cdu_gpu_close(&gpu[0]);
    return status;
}

cdu_status bench_cmd_compare(int argc, char **argv, cdu_error *error)
{
    static comparison c;
    bench_settings s = {0};
    const char *devices[2] = {NULL, NULL}, *peer = NULL;
    bool done = false;
    const cdu_positional positionals[] = {{.name = "D1", .value = &devices[0], .help = "a device"},
                                          {.name = "D2", .value = &devices[1], .help = "another, or the same, which shows the noise"},
                                          {.name = "PEER", .value = &peer, .optional = true,
                                           .help = "a script of bench/peers, with a setting: pytorch, pytorch:nhwc:eager, onnx_runtime"},
                                          {0}};
    CDU_TRY(bench_settings_parse(&s, BENCH_TAKES_REPEATS | BENCH_TAKES_NETWORK | BENCH_TAKES_PEERS | BENCH_TAKES_ONLY, "5",
                                 "two devices, and a peer, side by side in one run", "--only step or --only infer takes one of the two works.", positionals,
                                 argc, argv, &done, error));
    if (done) return CDU_OK;
    if (s.only && strcmp(s.only, "step") != 0 && strcmp(s.only, "infer") != 0)
        return cdu_fail(error, CDU_USAGE, "compare: --only step or --only infer, not '%s'", s.only);
    char python[4096];
    if (!s.python_given) s.python = default_python(python);
    c = (comparison){.settings = &s, .peer = peer};
    if (peer) {
        char script[4096];
        snprintf(script, sizeof script, "%s/%.*s.py", s.peers, (int)strcspn(peer, ":"), peer);
        if (access(script, R_OK) != 0) return cdu_fail(error, CDU_USAGE, "there is no peer '%s': %s is not there", peer, script);
    }
    return run(&c, devices, error);
}
