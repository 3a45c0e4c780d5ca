/* cmd_tune.c: `cdunet-bench tune`: the search for the fastest right way to compute each convolution of the network on a device. Problems
 * with much work and their variants' first candidates come first; each is tried in a child process (tune.h). What is found goes into a tune
 * pack (core/ops/tuning.h), what was tried into a journal beside it, so that a search can be ended at any time and gone on with. */
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "bench/commands.h"
#include "bench/tune.h"
#include "cdunet/log.h"
#include "core/base/file.h"
#include "core/base/memory.h"
#include "core/base/progress.h"
#include "core/base/stop.h"
#include "tools/options.h"

enum { CANDIDATES = 64, PROBES = 3, PROBE_PAUSE_SECONDS = 3, DESCRIBE_SECONDS = 30 };
static const double GAIN = 0.98;        /* of the default's time: less than that is noise */

typedef struct { uint32_t problem; cdu_choice choice; double weight; uint64_t steps; } task;

typedef struct {
    tune_network network;
    tune_description device;
    tune_journal *journal;
    char pack[CDU_PATH_LIMIT], only[64], variant[16];
    double deadline, ends;
    task *tasks;
    size_t count, capacity, tried, known;
    bool needed;                /* some default computes wrong here */
} search;

static void on_signal(int number)
{
    (void)number;
    cdu_stop_request();
}

/* ---- what to try ---- */

static double work_of(const cdu_conv_problem *p, uint32_t times)
{
    return (double)times * p->n * p->h * p->w * p->parities * p->side * p->side * p->in_lanes * p->out_lanes;
}

static bool same_choice(const cdu_choice *a, const cdu_choice *b)
{
    return !strcmp(a->variant, b->variant) && !memcmp(a->setting, b->setting, sizeof a->setting);
}

/* Stands for the steps that a choice leads to: settings that make no difference need not be tried. */
static cdu_status steps_of(const cdu_device_info *device, const cdu_conv_problem *problem, const cdu_choice *choice, uint64_t *out, cdu_error *error)
{
    cdu_graph *graph = NULL;
    cdu_plan *plan = NULL;
    cdu_value x, y;
    bool training = false;
    *out = 0;
    cdu_status status = tune_graph(problem, &graph, &x, &y, &training, error);
    cdu_conv_force(choice);
    if (status == CDU_OK) status = cdu_plan_create(graph, device, &(cdu_plan_options){.training = training, .quiet = true}, &plan, error);
    cdu_conv_force(NULL);
    for (uint32_t i = 0; status == CDU_OK && i < cdu_plan_drafts(plan); i++) {
        const cdu_draft *draft = cdu_plan_draft(plan, i);
        if (!tune_solves(problem, draft)) continue;
        *out = XXH64(draft->kernel, strlen(draft->kernel), *out);
        *out = XXH64(draft->defines, strlen(draft->defines), *out);
        *out = XXH64(draft->param, sizeof draft->param, *out);
        *out = XXH64(draft->groups, sizeof draft->groups, *out);
    }
    cdu_plan_destroy(plan);
    cdu_graph_destroy(graph);
    return status;
}

/* A choice whose steps the device does not allow is none. */
static cdu_status add_task(search *s, uint32_t problem, const cdu_choice *choice, uint32_t place, cdu_error *error)
{
    double weight = work_of(&s->device.problems[problem], s->device.times[problem]) / (1 + place);
    uint64_t steps;
    cdu_status status = steps_of(&s->device.info, &s->device.problems[problem], choice, &steps, error);
    if (status == CDU_NO_DEVICE) return CDU_OK;
    CDU_TRY(status);
    for (size_t i = 0; i < s->count; i++)
        if (s->tasks[i].problem == problem && s->tasks[i].steps == steps) return CDU_OK;
    CDU_TRY(cdu_grow(&s->tasks, &s->capacity, s->count + 1, sizeof *s->tasks, error));
    s->tasks[s->count++] = (task){.problem = problem, .choice = *choice, .weight = weight, .steps = steps};
    return CDU_OK;
}

static int heavier_first(const void *a, const void *b)
{
    const task *x = a, *y = b;
    if (x->weight != y->weight) return x->weight < y->weight ? 1 : -1;
    return x->problem < y->problem ? -1 : x->problem > y->problem;
}

/* The default and the direct variant of a problem first: what the others are compared with. */
static cdu_status list_tasks(search *s, cdu_error *error)
{
    const cdu_device_info *info = &s->device.info;
    for (uint32_t p = 0; p < s->device.count; p++) {
        const cdu_conv_problem *problem = &s->device.problems[p];
        char text[TUNE_TEXT];
        cdu_choice standard, direct = {.variant = "direct"}, candidates[CANDIDATES];
        tune_problem_text(problem, text);
        if (s->only[0] && !strstr(text, s->only)) continue;
        CDU_TRY(cdu_conv_default(info, problem, false, &standard, error));
        CDU_TRY(add_task(s, p, &direct, 0, error));
        CDU_TRY(add_task(s, p, &standard, 0, error));
        for (uint32_t v = 0, place = 1; cdu_conv_variants[v]; v++) {
            if (s->variant[0] && strcmp(cdu_conv_variants[v]->name, s->variant)) continue;
            uint32_t count = cdu_conv_variants[v]->candidates(info, problem, candidates, CANDIDATES);
            for (uint32_t c = 0; c < count; c++) CDU_TRY(add_task(s, p, &candidates[c], place++, error));
        }
    }
    if (!s->count) return cdu_fail(error, CDU_USAGE, "no convolution of the network has '%s' in its description", s->only);
    qsort(s->tasks, s->count, sizeof *s->tasks, heavier_first);
    return CDU_OK;
}

/* ---- trying ---- */

static tune_state look(const search *s, uint32_t problem, const cdu_choice *choice, double *share)
{
    const char *why;
    return tune_journal_look(s->journal, &s->device.problems[problem], choice, share, &why);
}

/* Whether the device still works, with pauses, since a driver may need time to come back. */
static cdu_status probe(search *s, const char *after, cdu_error *error)
{
    char why[192] = "";
    tune_description *d;
    tune_end end = TUNE_DIED;
    CDU_TRY(cdu_allocate(&d, 1, sizeof *d, error));
    cdu_status status = CDU_OK;
    for (int i = 0; i < PROBES && status == CDU_OK; i++) {
        double until = cdu_seconds() + (i ? PROBE_PAUSE_SECONDS : 0);
        while (cdu_seconds() < until && !cdu_stop_requested()) tune_pause(50);
        status = tune_child(tune_describe, &s->network, d, sizeof *d, DESCRIBE_SECONDS, &end, why, error);
        if (status != CDU_OK || (end == TUNE_ANSWERED && d->status == CDU_OK) || end == TUNE_STUCK) break;
    }
    if (status == CDU_OK && (end != TUNE_ANSWERED || d->status != CDU_OK))
        status = cdu_fail(error, CDU_TRY_AGAIN,
                          "%s was lost while %s was tried, and does not come back (%s); what was found so far is kept: restart its driver or "
                          "the machine and run the same command again",
                          s->device.id, after, end == TUNE_ANSWERED ? d->error.words : why);
    free(d);
    return status;
}

static cdu_status refuse(search *s, const task *t, const char *why, cdu_error *error)
{
    char choice[CDU_CHOICE_TEXT], problem[TUNE_TEXT];
    cdu_choice_text(&t->choice, choice);
    tune_problem_text(&s->device.problems[t->problem], problem);
    cdu_progress_clear();
    printf("refused: %s for %s: %s\n", choice, problem, why);
    fflush(stdout);
    return tune_journal_refuse(s->journal, &s->device.problems[t->problem], &t->choice, why, error);
}

/* What candidates are compared with: the default, or, where that was refused, the direct variant. */
static cdu_status standard_of(const search *s, const task *t, cdu_choice *out, cdu_error *error)
{
    double share;
    CDU_TRY(cdu_conv_default(&s->device.info, &s->device.problems[t->problem], false, out, error));
    if (look(s, t->problem, out, &share) == TUNE_REFUSED) *out = (cdu_choice){.variant = "direct"};
    if (look(s, t->problem, out, &share) == TUNE_REFUSED) *out = t->choice;
    return CDU_OK;
}

/* again: time one that was found right once more. */
static cdu_status try_task(search *s, const task *t, bool again, cdu_error *error)
{
    static const cdu_choice direct = {.variant = "direct"};
    const cdu_conv_problem *problem = &s->device.problems[t->problem];
    tune_trial trial = {.problem = *problem, .candidate = t->choice, .again = again};
    tune_verdict verdict = {0};
    tune_end end;
    char why[192] = "", choice[CDU_CHOICE_TEXT];
    double share;
    memcpy(trial.device, s->network.device, sizeof trial.device);
    cdu_choice_text(&t->choice, choice);
    trial.reference = look(s, t->problem, &direct, &share) == TUNE_KEPT && !same_choice(&direct, &t->choice);
    trial.standard = t->choice;
    if (again || !same_choice(&direct, &t->choice)) CDU_TRY(standard_of(s, t, &trial.standard, error));
    if (!again) CDU_TRY(tune_journal_begin(s->journal, problem, &t->choice, error));
    CDU_TRY(tune_child(tune_try, &trial, &verdict, sizeof verdict, s->deadline, &end, why, error));
    if (end != TUNE_ANSWERED) {
        CDU_TRY(refuse(s, t, why, error));
        if (end == TUNE_STUCK)
            return cdu_fail(error, CDU_TRY_AGAIN, "%s: %s %s; restart the machine and run the same command again", s->device.id, choice, why);
        return probe(s, choice, error);
    }
    if (verdict.status == CDU_OK)
        return (again ? tune_journal_confirm : tune_journal_keep)(s->journal, problem, &t->choice, verdict.share, error);
    if (!verdict.opened) {          /* what was tried before has lost it */
        if (!again) CDU_TRY(tune_journal_take_back(s->journal, problem, &t->choice, error));
        return probe(s, choice, error);
    }
    CDU_TRY(refuse(s, t, verdict.error.words, error));
    return verdict.status == CDU_TRY_AGAIN ? probe(s, choice, error) : CDU_OK;
}

static cdu_status try_all(search *s, cdu_error *error)
{
    cdu_progress_bar bar = cdu_progress_begin("tune", s->count);
    double share;
    cdu_status status = CDU_OK;
    for (size_t i = 0; i < s->count && status == CDU_OK; i++) {
        const task *t = &s->tasks[i];
        char text[TUNE_TEXT];
        if (look(s, t->problem, &t->choice, &share) != TUNE_NEW) {
            s->known++;
            continue;
        }
        if (cdu_stop_requested() || cdu_seconds() > s->ends) continue;
        tune_problem_text(&s->device.problems[t->problem], text);
        cdu_progress_update(&bar, i, text);
        status = try_task(s, t, false, error);
        s->tried++;
    }
    cdu_progress_end(&bar);
    return status;
}

/* ---- the pack ---- */

static bool is_confirmed(const search *s, const task *t)
{
    return tune_journal_confirmed(s->journal, &s->device.problems[t->problem], &t->choice);
}

static cdu_status confirm(search *s, const task *t, cdu_error *error)
{
    return is_confirmed(s, t) || cdu_stop_requested() ? CDU_OK : try_task(s, t, true, error);
}

/* The fastest right choice but the default, or null. The direct variant, tried before all others, was timed against itself at first. */
static const task *fastest(const search *s, uint32_t problem, const cdu_choice *standard, bool standard_wrong, double *share)
{
    const task *best = NULL;
    double now;
    *share = 0;
    for (size_t i = 0; i < s->count; i++) {
        const task *t = &s->tasks[i];
        if (t->problem != problem || same_choice(&t->choice, standard) || look(s, problem, &t->choice, &now) != TUNE_KEPT) continue;
        if (!strcmp(t->choice.variant, "direct") && !standard_wrong && !is_confirmed(s, t)) continue;
        if (best && now >= *share) continue;
        *share = now;
        best = t;
    }
    return best;
}

/* The fastest that is better than the default when timed once more, or that is right where the default is not. */
static cdu_status add_best(search *s, uint32_t problem, cdu_tune_pack *pack, cdu_error *error)
{
    const cdu_conv_problem *p = &s->device.problems[problem];
    cdu_choice standard;
    double share;
    CDU_TRY(cdu_conv_default(&s->device.info, p, false, &standard, error));
    tune_state state = look(s, problem, &standard, &share);
    bool wrong = state == TUNE_REFUSED;
    for (size_t i = 0; state == TUNE_KEPT && i < s->count; i++) {
        const task *t = &s->tasks[i];
        if (t->problem != problem || strcmp(t->choice.variant, "direct") || same_choice(&t->choice, &standard)) continue;
        if (look(s, problem, &t->choice, &share) == TUNE_KEPT) CDU_TRY(confirm(s, t, error));
    }
    const task *best = fastest(s, problem, &standard, wrong, &share);
    while (best && !wrong && share <= GAIN && !is_confirmed(s, best) && !cdu_stop_requested()) {
        CDU_TRY(confirm(s, best, error));
        best = fastest(s, problem, &standard, wrong, &share);
    }
    if (!best || (!wrong && (share > GAIN || !is_confirmed(s, best)))) return CDU_OK;
    s->needed = s->needed || wrong;
    return cdu_tune_add(pack, &(cdu_tune_entry){.problem = *p, .choice = best->choice, .share = share}, error);
}

static cdu_status add_refusals(search *s, cdu_tune_pack *pack, cdu_error *error)
{
    for (size_t i = 0; i < s->count; i++) {
        char choice[CDU_CHOICE_TEXT], text[TUNE_TEXT], both[64];
        double share;
        const char *why = "";
        if (tune_journal_look(s->journal, &s->device.problems[s->tasks[i].problem], &s->tasks[i].choice, &share, &why) != TUNE_REFUSED) continue;
        cdu_choice_text(&s->tasks[i].choice, choice);
        tune_problem_text(&s->device.problems[s->tasks[i].problem], text);
        snprintf(both, sizeof both, "%s for %s", choice, text);
        CDU_TRY(cdu_tune_refuse(pack, both, why, error));
    }
    return CDU_OK;
}

static void print_pack(const search *s, const cdu_tune_pack *pack)
{
    printf("%s, %s, %s\n", s->device.id, s->device.info.name, s->device.info.driver);
    if (pack->count) printf("\n%-56s %-24s %s\n", "convolution", "variant", "of the default's time");
    for (size_t i = 0; i < pack->count; i++) {
        char choice[CDU_CHOICE_TEXT], text[TUNE_TEXT];
        cdu_choice_text(&pack->entries[i].choice, choice);
        tune_problem_text(&pack->entries[i].problem, text);
        printf("%-56s %-24s %5.1f %%\n", text, choice, 100 * pack->entries[i].share);
    }
    printf("\n%zu candidates: %zu tried now, %zu before, %zu refused in all, %zu not yet tried\n", s->count, s->tried, s->known, pack->refused,
           s->count - s->tried - s->known);
}

/* The network's training step with the pack beside the one with defaults. *good: the pack is worth having. */
static cdu_status try_step(search *s, const char *path, bool *good, cdu_error *error)
{
    tune_step_trial trial = {.network = s->network};
    tune_step_verdict v = {0};
    tune_end end;
    char why[192] = "";
    snprintf(trial.pack, sizeof trial.pack, "%s", path);
    /* a whole network is compiled here, not one kernel */
    CDU_TRY(tune_child(tune_step, &trial, &v, sizeof v, 8 * s->deadline, &end, why, error));
    *good = false;
    printf("\na training step, %u x %u x %u, width %u: ", s->network.batch, s->network.size, s->network.size, s->network.width);
    if (end != TUNE_ANSWERED) {
        printf("with all of these together it %s\n", why);
    } else if (v.status != CDU_OK) {
        *good = v.status == CDU_TRY_AGAIN || s->needed;     /* no memory for two of them */
        printf("not measured: %s\n", v.error.words);
    } else {
        bool right = s->needed || fabs(v.loss[1] - v.loss[0]) <= 1e-3 * fabs(v.loss[0]) + 1e-4;
        *good = s->needed || (right && v.ms[1].median <= v.ms[0].median);
        printf("%.1f ms with defaults (%.1f to %.1f), %.1f ms with these (%.1f to %.1f): %.1f %% of the time\n", v.ms[0].median, v.ms[0].min,
               v.ms[0].max, v.ms[1].median, v.ms[1].min, v.ms[1].max, 100 * v.ms[1].median / v.ms[0].median);
        if (!right) printf("its loss is %.6g with defaults and %.6g with these\n", v.loss[0], v.loss[1]);
    }
    return CDU_OK;
}

/* A pack takes its place only where the step as a whole gains by it; what was there before stays otherwise. */
static cdu_status place_pack(search *s, cdu_tune_pack *pack, cdu_error *error)
{
    char temporary[CDU_PATH_LIMIT];
    bool good = false;
    if (!pack->count) return printf("no convolution gains 2 %% over the defaults: no pack is written\n"), CDU_OK;
    CDU_TRY(cdu_file_begin(s->pack, temporary, error));
    cdu_status status = cdu_tune_write(temporary, pack, error);
    if (status == CDU_OK) status = try_step(s, temporary, &good, error);
    if (status != CDU_OK || !good) {
        cdu_file_discard(temporary);
        if (status == CDU_OK) printf("the step does not gain: no pack is written\n");
        return status;
    }
    CDU_TRY(cdu_file_commit(temporary, s->pack, error));
    printf("%s: %zu convolutions differ from the defaults\n", s->pack, pack->count);
    return CDU_OK;
}

static cdu_status write_pack(search *s, cdu_error *error)
{
    cdu_tune_pack pack = {.vector_width = s->device.info.vector_width};
    snprintf(pack.device, sizeof pack.device, "%s", s->device.info.name);
    snprintf(pack.driver, sizeof pack.driver, "%s", s->device.info.driver);
    cdu_status status = CDU_OK;
    for (uint32_t p = 0; p < s->device.count && status == CDU_OK; p++) status = add_best(s, p, &pack, error);
    if (status == CDU_OK) status = add_refusals(s, &pack, error);
    if (status == CDU_OK) print_pack(s, &pack);
    if (status == CDU_OK) status = place_pack(s, &pack, error);
    cdu_tune_free(&pack);
    return status;
}

/* ---- the command ---- */

static cdu_status describe(search *s, cdu_error *error)
{
    tune_end end;
    char why[192] = "";
    CDU_TRY(tune_child(tune_describe, &s->network, &s->device, sizeof s->device, DESCRIBE_SECONDS, &end, why, error));
    if (end != TUNE_ANSWERED) return cdu_fail(error, CDU_NO_DEVICE, "%s: opening it and its self-test %s", s->network.device, why);
    if (s->device.status != CDU_OK) return cdu_fail(error, s->device.status, "%s", s->device.error.words);
    memcpy(s->network.device, s->device.id, sizeof s->device.id);
    return CDU_OK;
}

static cdu_status find_place(search *s, const char *out, cdu_error *error)
{
    char folder[CDU_PATH_LIMIT], name[CDU_TUNE_NAME];
    if (out) {
        snprintf(s->pack, sizeof s->pack, "%s", out);
    } else {
        cdu_tune_file_name(&s->device.info, name);
        CDU_TRY(cdu_tune_user_folder(folder, sizeof folder, error));
        CDU_TRY(cdu_folder_create(folder, error));
        CDU_TRY(cdu_path_join(s->pack, folder, name, error));
    }
    return cdu_file_try(s->pack, error);
}

static cdu_status tune(search *s, const char *out, double minutes, cdu_error *error)
{
    char journal[CDU_PATH_LIMIT];
    CDU_TRY(describe(s, error));
    CDU_TRY(find_place(s, out, error));
    if (snprintf(journal, sizeof journal, "%s.journal", s->pack) >= (int)sizeof journal)
        return cdu_fail(error, CDU_USAGE, "%s: the name is too long", s->pack);
    CDU_TRY(list_tasks(s, error));
    CDU_TRY(tune_journal_open(journal, &s->device.info, &s->journal, error));
    s->ends = cdu_seconds() + 60 * minutes;
    cdu_status status = try_all(s, error);
    cdu_error writing = {0};
    cdu_status written = write_pack(s, &writing);
    if (status != CDU_OK || written == CDU_OK) return status;
    return cdu_fail(error, written, "%s", writing.words);
}

cdu_status bench_cmd_tune(int argc, char **argv, cdu_error *error)
{
    const char *device = NULL, *out = NULL, *only = NULL, *variant = NULL;
    double minutes = 0, deadline = 0;
    uint64_t width = 0, batch = 0, size = 0;
    bool done = false;
    const cdu_option options[] = {
        {.name = "device", .letter = 'd', .type = CDU_OPTION_TEXT, .value = &device, .argument = "D", .fallback = "auto",
         .help = "opencl:0, vulkan:1, or a part of the name"},
        {.name = "minutes", .letter = 'm', .type = CDU_OPTION_FLOAT, .value = &minutes, .argument = "M", .fallback = "10", .least = 0.01,
         .most = 10000, .help = "how long to search; running it again goes on"},
        {.name = "out", .letter = 'o', .type = CDU_OPTION_TEXT, .value = &out, .argument = "FILE",
         .help = "the pack; else it goes where cdunet looks for it"},
        {.name = "only", .type = CDU_OPTION_TEXT, .value = &only, .argument = "TEXT",
         .help = "convolutions whose description holds TEXT, as in 'sum 3x3'"},
        {.name = "variant", .type = CDU_OPTION_TEXT, .value = &variant, .argument = "NAME", .help = "settings of this variant alone"},
        {.name = "deadline", .type = CDU_OPTION_FLOAT, .value = &deadline, .argument = "SECONDS", .fallback = "20", .least = 0.1, .most = 3600,
         .help = "how long a candidate may run at a time; its compilation may take ten times that"},
        {.name = "width", .type = CDU_OPTION_UNSIGNED, .value = &width, .argument = "N", .fallback = "32", .least = 1, .most = 512,
         .help = "filters of the network's first stage"},
        {.name = "size", .type = CDU_OPTION_UNSIGNED, .value = &size, .argument = "N", .fallback = "512", .least = 16, .most = 8192,
         .help = "width and height of a tile"},
        {.name = "batch", .type = CDU_OPTION_UNSIGNED, .value = &batch, .argument = "N", .fallback = "1", .least = 1, .most = 1024,
         .help = "tiles"},
        {0},
    };
    const cdu_usage usage = {argv[0], "finds the fastest convolutions for a device and writes a tune pack",
                             "Each candidate is checked and timed in a process of its own; one that computes wrong, hangs or ends its process\n"
                             "is refused and not tried again. The machine should be idle. docs/tuning.md tells more.",
                             options, NULL};
    CDU_TRY(cdu_options_parse(&usage, argc, argv, &done, error));
    if (done) return CDU_OK;
    search *s;
    cdu_choice named;
    if (variant) CDU_TRY(cdu_choice_parse(variant, &named, error));
    CDU_TRY(cdu_allocate(&s, 1, sizeof *s, error));
    s->network = (tune_network){.width = (uint32_t)width, .size = (uint32_t)size, .batch = (uint32_t)batch};
    snprintf(s->network.device, sizeof s->network.device, "%s", device);
    snprintf(s->only, sizeof s->only, "%s", only ? only : "");
    if (variant) memcpy(s->variant, named.variant, sizeof s->variant);
    s->deadline = deadline;
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    cdu_status status = tune(s, out, minutes, error);
    tune_journal_close(s->journal);
    free(s->tasks);
    free(s);
    return status;
}
