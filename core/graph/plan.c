/* plan.c: gives the tensors of a lowered graph their place in memory, and the steps their barriers and segments. Best fit, largest
 * first, over lifetimes; offline, so the greedy order costs nothing at run time. */
#include "core/graph/plan.h"

#include <stdlib.h>

#include "core/base/debug.h"
#include "core/base/memory.h"
#include "core/graph/internal.h"

static const uint64_t CHUNK_LIMIT = (uint64_t)1 << 30;
enum { PLACE_ALIGN = 512, FLOPS_A_BYTE = 12 };

static uint64_t aligned(uint64_t bytes)
{
    return (bytes + PLACE_ALIGN - 1) / PLACE_ALIGN * PLACE_ALIGN;
}

typedef struct { cdu_tensor tensor; uint64_t bytes; uint32_t first, last; } job;

static int by_size(const void *a, const void *b)
{
    const job *x = a, *y = b;
    if (x->bytes != y->bytes) return x->bytes < y->bytes ? 1 : -1;
    if (x->first != y->first) return x->first < y->first ? -1 : 1;
    return x->tensor < y->tensor ? -1 : 1;
}

/* What has its place, in order of chunks and offsets. */
typedef struct { uint64_t begin, end; uint32_t chunk, first, last; } placed;

/* The smallest gap of the chunk that holds the job beside what lives at the same time. */
static bool find_gap(const placed *all, size_t count, const job *j, uint32_t chunk, uint64_t limit, uint64_t *offset)
{
    bool reuse = !cdu_debug(CDU_DEBUG_NO_REUSE);
    uint64_t at = 0, best = UINT64_MAX;
    for (size_t i = 0; i < count; i++) {
        const placed *p = &all[i];
        bool apart = reuse && (p->last < j->first || j->last < p->first);
        if (p->chunk != chunk || apart) continue;
        if (p->begin >= at && p->begin - at >= j->bytes && p->begin - at < best) {
            best = p->begin - at;
            *offset = at;
        }
        if (p->end > at) at = p->end;
    }
    if (best < UINT64_MAX) return true;
    *offset = at;
    return limit >= at && limit - at >= j->bytes;
}

static void insert(placed *all, size_t *count, placed p)
{
    size_t i = (*count)++;
    for (; i && (all[i - 1].chunk > p.chunk || (all[i - 1].chunk == p.chunk && all[i - 1].begin > p.begin)); i--) all[i] = all[i - 1];
    all[i] = p;
}

static cdu_status place(cdu_plan *plan, cdu_error *error)
{
    cdu_lowering *l = &plan->lowering;
    job *jobs = NULL;
    placed *all = NULL;
    size_t count = 0, done = 0;
    cdu_status status = cdu_allocate(&jobs, l->tensor_count, sizeof *jobs, error);
    if (status == CDU_OK) status = cdu_allocate(&all, l->tensor_count, sizeof *all, error);
    for (size_t t = 0; t < l->tensor_count && status == CDU_OK; t++) {
        cdu_tensor_record *tensor = &l->tensors[t];
        if (tensor->place != CDU_PLACE_PLANNED || tensor->root != (cdu_tensor)t || tensor->first > tensor->last) continue;
        jobs[count++] = (job){(cdu_tensor)t, aligned(tensor->bytes), tensor->first, tensor->last};
        plan->report.activations_unshared += aligned(tensor->bytes);
    }
    qsort(jobs, count, sizeof *jobs, by_size);
    uint64_t limit = l->device.largest_buffer < CHUNK_LIMIT ? l->device.largest_buffer / PLACE_ALIGN * PLACE_ALIGN : CHUNK_LIMIT;
    for (size_t i = 0; i < count && status == CDU_OK; i++) {
        cdu_tensor_record *tensor = &l->tensors[jobs[i].tensor];
        uint64_t offset = 0;
        uint32_t chunk = 0;
        if (jobs[i].bytes > l->device.largest_buffer) {
            status = cdu_fail(error, CDU_NO_DEVICE, "'%s' needs %llu bytes, the largest buffer of %s is %llu: use a smaller tile or batch",
                              tensor->name, (unsigned long long)jobs[i].bytes, l->device.name,
                              (unsigned long long)l->device.largest_buffer);
            break;
        }
        while (chunk < plan->chunk_count && !find_gap(all, done, &jobs[i], chunk, limit, &offset)) chunk++;
        if (chunk == plan->chunk_count) {
            status = cdu_grow(&plan->chunk_bytes, &plan->chunk_capacity, chunk + 1, sizeof *plan->chunk_bytes, error);
            if (status != CDU_OK) break;
            plan->chunk_bytes[plan->chunk_count++] = 0;
            offset = 0;
        }
        tensor->chunk = chunk;
        tensor->offset = offset;
        insert(all, &done, (placed){offset, offset + jobs[i].bytes, chunk, jobs[i].first, jobs[i].last});
        if (offset + jobs[i].bytes > plan->chunk_bytes[chunk]) plan->chunk_bytes[chunk] = offset + jobs[i].bytes;
    }
    uint64_t room = aligned(l->options.room < limit ? l->options.room : limit);
    if (plan->chunk_count && plan->chunk_bytes[0] < room) plan->chunk_bytes[0] = room;
    for (size_t c = 0; c < plan->chunk_count; c++) plan->report.activations += plan->chunk_bytes[c];
    plan->report.tensors = (uint32_t)count;
    free(jobs);
    free(all);
    return status;
}

/* A guess at seconds, on the slow side, so that segments end before drivers lose patience: every submission costs tens of microseconds. Where
 * the driver does not tell its units, as many are taken as the smallest cards and built-in GPUs of the last ten years have. */
static double guess_seconds(const cdu_device_info *device, const cdu_draft *draft)
{
    double units = device->compute_units ? device->compute_units : device->kind == CDU_DISCRETE ? 8 : 4;
    double compute = draft->flops / (20e9 * units), traffic = draft->bytes / (4e9 * units);
    return compute > traffic ? compute : traffic;
}

static cdu_status add_step(cdu_plan *plan, bool fill, uint32_t index, uint32_t segment, cdu_error *error)
{
    CDU_TRY(cdu_grow(&plan->steps, &plan->step_capacity, plan->step_count + 1, sizeof *plan->steps, error));
    plan->steps[plan->step_count++] = (cdu_planned_step){.fill = fill, .draft = index, .segment = segment};
    return CDU_OK;
}

static cdu_status order_steps(cdu_plan *plan, cdu_error *error)
{
    cdu_lowering *l = &plan->lowering;
    uint32_t segment = 0;
    size_t cut = 0;
    double spent = 0, limit = l->device.segment_ms ? l->device.segment_ms * 0.5e-3 : 0;
    for (uint32_t d = 0; d < l->draft_count; d++) {
        bool begins = cut < l->cut_count && l->cuts[cut] == d;
        if (begins) cut++;
        begins = begins || (d && d == l->kept);
        double guess = guess_seconds(&l->device, &l->drafts[d]);
        if (d && (begins || (limit > 0 && spent > 0 && spent + guess > limit))) {
            segment++;
            spent = 0;
        }
        spent += guess;
        for (uint32_t u = 0; u < l->drafts[d].uses && cdu_debug(CDU_DEBUG_POISON); u++) {
            cdu_tensor root = l->tensors[l->drafts[d].use[u].tensor].root;
            if (l->tensors[root].place != CDU_PLACE_PLANNED || l->tensors[root].first != d) continue;
            bool twice = false;
            for (uint32_t v = 0; v < u; v++) twice = twice || l->tensors[l->drafts[d].use[v].tensor].root == root;
            if (!twice) CDU_TRY(add_step(plan, true, (uint32_t)root, segment, error));
        }
        CDU_TRY(add_step(plan, false, d, segment, error));
        if (d < l->kept) {
            plan->kept_segments = segment + 1;
            continue;
        }
        plan->report.flops += l->drafts[d].flops;
        plan->report.bytes += l->drafts[d].bytes;
    }
    for (size_t i = 0; i < l->exchange_count; i++)
        for (size_t s = 0; s < plan->step_count; s++) {
            cdu_exchange *exchange = &l->exchanges[i];
            if (plan->steps[s].fill) continue;
            if (plan->steps[s].draft + 1 == exchange->ready) exchange->after = plan->steps[s].segment;
            if (plan->steps[s].draft == exchange->needed) exchange->before = plan->steps[s].segment;
        }
    plan->report.segments = plan->step_count ? segment + 1 : 0;
    plan->report.steps = (uint32_t)plan->step_count;
    return CDU_OK;
}

/* Memory of a use as (space, begin, end): two uses conflict where their spaces are equal and their bytes meet. */
typedef struct { uint64_t space, begin, end; bool write; } touch;

static touch touch_of(const cdu_plan *plan, const cdu_use *use)
{
    cdu_tensor root;
    touch t = {.write = use->access & CDU_WRITE};
    cdu_use_range(&plan->lowering, use, &root, &t.begin, &t.end);
    const cdu_tensor_record *record = &plan->lowering.tensors[root];
    if (record->place == CDU_PLACE_PLANNED) {
        t.space = record->chunk;
        t.begin += record->offset;
        t.end += record->offset;
    } else {
        t.space = ((uint64_t)1 << 32) + (uint64_t)root;
    }
    return t;
}

static cdu_status derive_barriers(cdu_plan *plan, cdu_error *error)
{
    touch *seen = NULL;
    size_t count = 0, capacity = 0;
    for (size_t s = 0; s < plan->step_count; s++) {
        cdu_planned_step *step = &plan->steps[s];
        cdu_use fill = {.tensor = (cdu_tensor)step->draft, .access = CDU_WRITE};
        const cdu_use *uses = step->fill ? &fill : plan->lowering.drafts[step->draft].use;
        uint32_t uses_count = step->fill ? 1 : plan->lowering.drafts[step->draft].uses;
        if (s && plan->steps[s - 1].segment != step->segment) count = 0; /* a submission ends with a barrier */
        for (uint32_t u = 0; u < uses_count && !step->barrier; u++) {
            touch mine = touch_of(plan, &uses[u]);
            for (size_t i = 0; i < count && !step->barrier; i++)
                step->barrier = seen[i].space == mine.space && (seen[i].write || mine.write) && seen[i].begin < mine.end &&
                                mine.begin < seen[i].end;
        }
        if (cdu_debug(CDU_DEBUG_BARRIERS)) step->barrier = true;
        if (step->barrier) {
            count = 0;
            plan->report.barriers++;
        }
        cdu_status status = cdu_grow(&seen, &capacity, count + uses_count, sizeof *seen, error);
        if (status != CDU_OK) {
            free(seen);
            return status;
        }
        for (uint32_t u = 0; u < uses_count; u++) seen[count++] = touch_of(plan, &uses[u]);
    }
    free(seen);
    return CDU_OK;
}

/* The bytes that live at each draft, from first and last uses, and the whole list's work. */
static cdu_status weigh(cdu_plan *plan, cdu_error *error)
{
    const cdu_lowering *l = &plan->lowering;
    CDU_TRY(cdu_allocate(&plan->living, l->draft_count + 1, sizeof *plan->living, error));
    for (size_t t = 0; t < l->tensor_count; t++) {
        const cdu_tensor_record *tensor = &l->tensors[t];
        if (tensor->place != CDU_PLACE_PLANNED || tensor->root != (cdu_tensor)t || tensor->first > tensor->last) continue;
        plan->living[tensor->first] += aligned(tensor->bytes);
        plan->living[tensor->last + 1] -= aligned(tensor->bytes);   /* wraps, and back again in the sum */
    }
    for (size_t d = 0; d < l->draft_count; d++) {
        if (d) plan->living[d] += plan->living[d - 1];
        plan->report.work += l->drafts[d].flops / FLOPS_A_BYTE + l->drafts[d].bytes;
    }
    return CDU_OK;
}

cdu_status cdu_plan_place(const cdu_graph *graph, const cdu_device_info *device, const cdu_plan_options *options,
                          const uint8_t *keeping, cdu_plan **out, cdu_error *error)
{
    *out = NULL;
    cdu_plan *plan;
    CDU_TRY(cdu_allocate(&plan, 1, sizeof *plan, error));
    plan->lowering.graph = graph;
    plan->lowering.device = *device;
    plan->lowering.options = *options;
    plan->lowering.keeping = keeping;
    cdu_status status = cdu_lowering_run(&plan->lowering, error);
    plan->lowering.keeping = NULL;      /* the caller's; what it says stands in the records of values */
    if (status == CDU_OK) status = place(plan, error);
    if (status == CDU_OK) status = weigh(plan, error);
    if (status != CDU_OK) {
        cdu_plan_destroy(plan);
        return status;
    }
    cdu_plan_report_memory(plan);
    *out = plan;
    return CDU_OK;
}

cdu_status cdu_plan_create(const cdu_graph *graph, const cdu_device_info *device, const cdu_plan_options *options,
                           cdu_plan **out, cdu_error *error)
{
    *out = NULL;
    cdu_plan *plan;
    cdu_plan_options without = *options;
    cdu_status status = options->memory || options->spend > 0 ? cdu_plan_within(graph, device, options, &plan, error)
                                                              : cdu_plan_place(graph, device, options, NULL, &plan, error);
    if (status == CDU_TRY_AGAIN && without.keep && !without.training) {
        without.keep = false;
        return cdu_plan_create(graph, device, &without, out, error);
    }
    CDU_TRY(status);
    status = order_steps(plan, error);
    if (status == CDU_OK) status = derive_barriers(plan, error);
    if (status != CDU_OK) {
        cdu_plan_destroy(plan);
        return status;
    }
    if (cdu_debug(CDU_DEBUG_STEPS)) cdu_plan_log_steps(plan);
    if (cdu_debug(CDU_DEBUG_MEMORY)) cdu_plan_log_memory(plan);
    *out = plan;
    return CDU_OK;
}

void cdu_plan_destroy(cdu_plan *plan)
{
    if (!plan) return;
    cdu_lowering_free(&plan->lowering);
    free(plan->steps);
    free(plan->chunk_bytes);
    free(plan->living);
    free(plan);
}

cdu_plan_report cdu_plan_report_of(const cdu_plan *plan)
{
    return plan->report;
}

uint32_t cdu_plan_drafts(const cdu_plan *plan)
{
    return (uint32_t)plan->lowering.draft_count;
}

const cdu_draft *cdu_plan_draft(const cdu_plan *plan, uint32_t index)
{
    return &plan->lowering.drafts[index];
}
