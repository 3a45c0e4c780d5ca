/* report.c: what a plan tells of itself: its memory in sum, its steps, and the tensors that live where it needs most. */
#include <stdlib.h>

#include "cdunet/log.h"
#include "core/base/memory.h"
#include "core/graph/internal.h"

static const double MEBI = 1048576;

void cdu_plan_report_memory(cdu_plan *plan)
{
    const cdu_lowering *l = &plan->lowering;
    for (size_t t = 0; t < l->tensor_count; t++) {
        const cdu_tensor_record *tensor = &l->tensors[t];
        if (tensor->root != (cdu_tensor)t) continue;
        if (tensor->place == CDU_PLACE_ARENA || tensor->place == CDU_PLACE_KEPT) plan->report.arenas += tensor->bytes;
        else if (tensor->place != CDU_PLACE_PLANNED) plan->report.host_visible += tensor->bytes;
    }
    plan->report.peak = plan->report.activations + plan->report.arenas + plan->report.host_visible;
}

void cdu_plan_log_steps(const cdu_plan *plan)
{
    for (size_t s = 0; s < plan->step_count; s++) {
        const cdu_planned_step *step = &plan->steps[s];
        if (step->fill) {
            cdu_log(CDU_LOG_INFO, "step %zu segment %u%s: poison %s", s, step->segment, step->barrier ? " barrier" : "",
                    plan->lowering.tensors[step->draft].name);
            continue;
        }
        const cdu_draft *d = &plan->lowering.drafts[step->draft];
        cdu_log(CDU_LOG_INFO, "step %zu segment %u%s: %s: %s %s, %u x %u x %u groups, %.3g GFLOP, %.3g MiB", s, step->segment,
                step->barrier ? " barrier" : "", d->label, d->kernel, d->defines, d->groups[0], d->groups[1], d->groups[2],
                d->flops * 1e-9, d->bytes / MEBI);
    }
}

static int larger_first(const void *a, const void *b)
{
    const cdu_tensor_record *const *x = a, *const *y = b;
    if ((*x)->bytes != (*y)->bytes) return (*x)->bytes < (*y)->bytes ? 1 : -1;
    return *x < *y ? -1 : 1;
}

/* The planned tensors that live at a draft, into `out`; returns their bytes. */
static uint64_t living(const cdu_lowering *l, uint32_t at, const cdu_tensor_record **out, size_t *count)
{
    uint64_t bytes = 0;
    *count = 0;
    for (size_t t = 0; t < l->tensor_count; t++) {
        const cdu_tensor_record *tensor = &l->tensors[t];
        if (tensor->place != CDU_PLACE_PLANNED || tensor->root != (cdu_tensor)t || at < tensor->first || at > tensor->last) continue;
        bytes += tensor->bytes;
        out[(*count)++] = tensor;
    }
    return bytes;
}

void cdu_plan_log_memory(const cdu_plan *plan)
{
    const cdu_lowering *l = &plan->lowering;
    const cdu_tensor_record **tensors;
    size_t count = 0;
    uint64_t most = 0;
    uint32_t at = 0;
    if (!l->draft_count || cdu_allocate(&tensors, l->tensor_count, sizeof *tensors, NULL) != CDU_OK) return;
    for (uint32_t d = 0; d < l->draft_count; d++) {
        uint64_t bytes = living(l, d, tensors, &count);
        if (bytes > most) most = bytes, at = d;
    }
    living(l, at, tensors, &count);
    qsort(tensors, count, sizeof *tensors, larger_first);
    cdu_log(CDU_LOG_INFO, "memory: %.1f MiB live at '%s', planned are %.1f; %.1f MiB of arenas and %.1f host-visible beside them",
            (double)most / MEBI, l->drafts[at].label, (double)plan->report.activations / MEBI, (double)plan->report.arenas / MEBI,
            (double)plan->report.host_visible / MEBI);
    for (size_t i = 0; i < count; i++)
        cdu_log(CDU_LOG_INFO, "memory: %9.3f MiB %s, from '%s' to '%s'", (double)tensors[i]->bytes / MEBI, tensors[i]->name,
                l->drafts[tensors[i]->first].label, l->drafts[tensors[i]->last].label);
    free(tensors);
}
