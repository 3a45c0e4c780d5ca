/* limit.c: a plan that obeys a limit on memory. What the backward pass reads is dropped and computed again, value by value, until the
 * peak is low enough: greedy, each time the change that saves most bytes per work added, found by planning with it. Then
 * what turned out needless is taken back. Nothing runs, and no kernel changes: recomputed bytes are the same ones.
 *
 * The trade of computation for memory is that of Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost"; the choice by
 * gain over cost is that of Kirisame et al. 2021, "Dynamic Tensor Rematerialization" (section 3), made before anything runs. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cdunet/log.h"
#include "core/base/debug.h"
#include "core/base/memory.h"
#include "core/base/thread.h"
#include "core/graph/internal.h"

enum { LIGHT = 512 };   /* values of less than that part of the peak are let be */

/* What a search compares plans by. */
typedef struct {
    uint64_t peak;      /* bytes */
    double excess;      /* bytes above the search's level, over all steps: falls where one of several like peaks does */
    double work;        /* as in the report */
} standing;

typedef struct {
    const cdu_graph *graph;
    const cdu_device_info *device;
    const cdu_plan_options *options;
    cdu_plan *plan;     /* with `keeping` */
    standing at;
    uint64_t target;    /* bytes */
    double budget;      /* work that must not be exceeded on the way down */
    uint64_t level;     /* bytes: a little below the present peak; never the target, so that every target is sought on the same way */
    uint8_t *keeping;   /* a cdu_keeping for each value */
    uint32_t values;
} search;

static standing standing_of(const cdu_plan *plan, uint64_t level)
{
    const cdu_lowering *l = &plan->lowering;
    standing s = {.peak = plan->report.peak, .work = plan->report.work};
    uint64_t fixed = plan->report.arenas + plan->report.host_visible, room = level > fixed ? level - fixed : 0;
    for (uint32_t d = 0; d < l->draft_count; d++)
        if (plan->living[d] > room) s.excess += (double)(plan->living[d] - room);
    return s;
}

/* The first step at which most bytes live. */
static uint32_t fullest_step(const cdu_plan *plan)
{
    uint32_t at = 0;
    for (uint32_t d = 0; d < plan->lowering.draft_count; d++)
        if (plan->living[d] > plan->living[at]) at = d;
    return at;
}

static bool lives(const cdu_plan *plan, cdu_tensor tensor, uint32_t at)
{
    if (tensor == CDU_NO_TENSOR) return false;
    const cdu_tensor_record *root = &plan->lowering.tensors[plan->lowering.tensors[tensor].root];
    return root->first <= at && at <= root->last;
}

/* Whether what there is of the value lies in memory at the fullest step, and is no trifle: else dropping it cannot lower the peak. */
static bool weighs(const search *s, cdu_value value, uint32_t at)
{
    const cdu_value_record *record = &s->plan->lowering.values[value];
    cdu_tensor tensor = record->again != CDU_NO_TENSOR ? record->again : record->forward;
    if (tensor == CDU_NO_TENSOR || s->plan->lowering.tensors[tensor].bytes < s->at.peak / LIGHT) return false;
    return lives(s->plan, record->forward, at) || lives(s->plan, record->again, at);
}

/* One change that may be made, and what it would lead to. */
typedef struct {
    cdu_value value;
    cdu_keeping keeping;
    bool planned;
    standing then;
} change;

typedef struct {
    const search *search;
    change *changes;
    size_t count, capacity;
} changes;

static cdu_status add_change(changes *c, cdu_value value, cdu_keeping keeping, cdu_error *error)
{
    CDU_TRY(cdu_grow(&c->changes, &c->capacity, c->count + 1, sizeof *c->changes, error));
    c->changes[c->count++] = (change){.value = value, .keeping = keeping};
    return CDU_OK;
}

static cdu_status plan_with(const search *s, const change *made, cdu_plan **out, cdu_error *error)
{
    uint8_t *keeping;
    CDU_TRY(cdu_allocate(&keeping, s->values, 1, error));
    memcpy(keeping, s->keeping, s->values);
    keeping[made->value] = (uint8_t)made->keeping;
    cdu_status status = cdu_plan_place(s->graph, s->device, s->options, keeping, out, error);
    free(keeping);
    return status;
}

/* What cannot be planned, such as steps that the device has no room to bind, is no change that may be made. */
static cdu_status try_change(void *context, size_t i, cdu_error *error)
{
    changes *c = context;
    cdu_plan *plan;
    cdu_status status = plan_with(c->search, &c->changes[i], &plan, error);
    if (status == CDU_TRY_AGAIN) return status;
    c->changes[i].planned = status == CDU_OK;
    if (status == CDU_OK) c->changes[i].then = standing_of(plan, c->search->level);
    if (status == CDU_OK) cdu_plan_destroy(plan);
    return CDU_OK;
}

static cdu_status adopt(search *s, const change *made, cdu_error *error)
{
    cdu_plan *plan;
    CDU_TRY(plan_with(s, made, &plan, error));
    cdu_plan_destroy(s->plan);
    s->plan = plan;
    s->at = standing_of(plan, s->level);
    s->keeping[made->value] = (uint8_t)made->keeping;
    return CDU_OK;
}

/* Bytes saved per unit of work added: of the peak, or, where that does not fall, of the excess. */
static double worth(const standing *now, const standing *then, bool by_excess)
{
    if (then->peak > now->peak) return 0;
    double saved = by_excess ? now->excess - then->excess : (double)now->peak - (double)then->peak;
    double added = then->work - now->work, least = now->work * 1e-6;
    return saved / (added > least ? added : least);
}

static const change *best_way_down(const search *s, const changes *c)
{
    for (int by_excess = 0; by_excess < 2; by_excess++) {
        const change *best = NULL;
        double most = 0;
        for (size_t i = 0; i < c->count; i++) {
            double w = c->changes[i].planned && c->changes[i].then.work <= s->budget ? worth(&s->at, &c->changes[i].then, by_excess) : 0;
            if (w > most) most = w, best = &c->changes[i];
        }
        if (best) return best;
    }
    return NULL;
}

/* What need not be dropped any more, since other things were later: most work first. */
static const change *best_way_back(const search *s, const changes *c)
{
    const change *best = NULL;
    double least = s->at.work;
    for (size_t i = 0; i < c->count; i++) {
        const standing *then = &c->changes[i].then;
        if (!c->changes[i].planned || then->peak > s->target || then->work >= least) continue;
        least = then->work;
        best = &c->changes[i];
    }
    return best;
}

static cdu_status list_changes(const search *s, bool down, changes *c, cdu_error *error)
{
    uint32_t at = fullest_step(s->plan);
    c->count = 0;
    for (uint32_t v = 0; v < s->values; v++) {
        cdu_value value = (cdu_value)v;
        cdu_keeping now = (cdu_keeping)s->keeping[v], first = cdu_value_keeping_at_first(s->graph, value);
        if (down && (!cdu_value_droppable(s->graph, value) || !weighs(s, value, at))) continue;
        for (cdu_keeping k = down ? (cdu_keeping)(now + 1) : first; down ? k <= CDU_AGAIN_EACH : k < now; k++)
            CDU_TRY(add_change(c, value, k, error));
    }
    return CDU_OK;
}

/* Changes one by one, as long as there is a good one: down to the target, or back with the target kept. */
static cdu_status walk(search *s, bool down, cdu_error *error)
{
    changes c = {.search = s};
    cdu_status status = CDU_OK;
    while (status == CDU_OK && (!down || s->at.peak > s->target)) {
        s->level = s->at.peak / 16 * 15;
        s->at = standing_of(s->plan, s->level);
        status = list_changes(s, down, &c, error);
        if (status == CDU_OK) status = cdu_parallel(0, c.count, try_change, &c, error);
        const change *best = status != CDU_OK ? NULL : down ? best_way_down(s, &c) : best_way_back(s, &c);
        if (!best) break;
        status = adopt(s, best, error);
    }
    free(c.changes);
    return status;
}

static cdu_status refuse(const search *s, cdu_error *error)
{
    return cdu_fail(error, CDU_TRY_AGAIN,
                    "a limit of %.1f MiB of memory is too small: on %s this network and batch need at least %llu MiB; allow that, or use a "
                    "smaller %s", (double)s->options->memory / 1048576, s->device->name,
                    (unsigned long long)((s->at.peak + s->options->reserved + 1048575) >> 20), s->options->training ? "batch, tile or width" : "tile");
}

static void tell(const search *s, const standing *first)
{
    const cdu_plan_options *o = s->options;
    cdu_log(o->quiet || !o->memory ? CDU_LOG_DEBUG : CDU_LOG_INFO, "more is computed again: %.1f MiB instead of %.1f, for about %.1f %% more work",
            (double)s->at.peak / 1048576, (double)first->peak / 1048576, 100 * (s->at.work / first->work - 1));
}

/* Down to the limit at any price, or as far as the budget reaches. What turns out needless on the way is taken back. */
static cdu_status look(search *s, cdu_error *error)
{
    const cdu_plan_options *o = s->options;
    for (uint32_t v = 0; v < s->values; v++) s->keeping[v] = (uint8_t)cdu_value_keeping_at_first(s->graph, (cdu_value)v);
    CDU_TRY(cdu_plan_place(s->graph, s->device, o, s->keeping, &s->plan, error));
    standing first = s->at = standing_of(s->plan, 0);
    uint64_t limit = o->memory > o->reserved ? o->memory - o->reserved : 0;
    if (o->training && o->spend > 0 && !cdu_debug(CDU_DEBUG_NO_RECOMPUTE)) {
        s->budget = first.work * (1 + o->spend);
        s->target = 0;
        CDU_TRY(walk(s, true, error));
        s->target = s->at.peak;
        CDU_TRY(walk(s, false, error));
    }
    if (o->memory && s->at.peak > limit) {
        s->budget = INFINITY;
        s->target = limit;
        if (o->training) CDU_TRY(walk(s, true, error));
        if (s->at.peak > limit) return refuse(s, error);
        CDU_TRY(walk(s, false, error));
    }
    if (s->at.work > first.work) tell(s, &first);
    return CDU_OK;
}

cdu_status cdu_plan_within(const cdu_graph *graph, const cdu_device_info *device, const cdu_plan_options *options, cdu_plan **out,
                           cdu_error *error)
{
    search s = {.graph = graph, .device = device, .options = options, .values = cdu_graph_values(graph)};
    CDU_TRY(cdu_allocate(&s.keeping, s.values, 1, error));
    cdu_status status = look(&s, error);
    if (status == CDU_OK) *out = s.plan;
    else cdu_plan_destroy(s.plan);
    free(s.keeping);
    return status;
}
