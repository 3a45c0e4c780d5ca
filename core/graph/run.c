/* run.c: a program runs: alone, all segments at once; among several ranks, segment by segment, with what these tell each other between them. */
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/base/progress.h"
#include "core/graph/internal.h"

static const uint64_t POLL_NANOSECONDS = 200000;

cdu_status cdu_program_submit(cdu_program *p, const void *patch, uint32_t bytes, cdu_error *error)
{
    uint32_t begin = p->fresh ? p->plan->kept_segments : 0;
    for (uint32_t s = begin; s < p->plan->report.segments; s++)
        CDU_TRY(p->gpu->backend->submit(p->list, s, CDU_COMPUTE, s == begin ? patch : NULL, s == begin ? bytes : 0, &p->ticket, error));
    p->ran_kept = !p->fresh;
    p->fresh = true;
    return CDU_OK;
}

cdu_status cdu_program_wait(cdu_program *p, cdu_error *error)
{
    return p->ticket ? cdu_gpu_wait(p->gpu, p->ticket, error) : CDU_OK;
}

cdu_status cdu_program_run(cdu_program *p, const void *patch, uint32_t bytes, cdu_error *error)
{
    CDU_TRY(cdu_program_submit(p, patch, bytes, error));
    return cdu_program_wait(p, error);
}

/* ---- several ranks ---- */

typedef struct {
    cdu_program *program;
    const cdu_exchanger *with;
    cdu_exchange_times *times;
    cdu_ticket *tickets;        /* of segments */
    struct { bool started, done, mapped; uint32_t request; } *state;    /* of exchanges */
} exchange_run;

/* Looks at the sums that are under way. */
static cdu_status poll_sums(exchange_run *r, cdu_error *error)
{
    const cdu_lowering *l = &r->program->plan->lowering;
    for (size_t i = 0; i < l->exchange_count; i++)
        if (l->exchanges[i].sum && r->state[i].started && !r->state[i].done)
            CDU_TRY(r->with->sum_test(r->with->context, r->state[i].request, &r->state[i].done, error));
    return CDU_OK;
}

static bool sums_run(const exchange_run *r)
{
    const cdu_lowering *l = &r->program->plan->lowering;
    for (size_t i = 0; i < l->exchange_count; i++)
        if (l->exchanges[i].sum && r->state[i].started && !r->state[i].done) return true;
    return false;
}

/* Until a segment is done; sums go on meanwhile. */
static cdu_status wait_segment(exchange_run *r, uint32_t segment, cdu_error *error)
{
    cdu_program *p = r->program;
    cdu_progress progress = CDU_RUNNING;
    while (r->tickets[segment] && progress == CDU_RUNNING) {
        bool busy = sums_run(r);
        CDU_TRY(p->gpu->backend->wait(p->gpu->device, r->tickets[segment], busy ? POLL_NANOSECONDS : CDU_WAIT_NANOSECONDS, &progress, error));
        if (progress == CDU_LOST) return cdu_fail(error, CDU_TRY_AGAIN, "%s: the device was lost", p->gpu->id);
        if (busy) CDU_TRY(poll_sums(r, error));
    }
    r->tickets[segment] = 0;
    return CDU_OK;
}

static cdu_status map(exchange_run *r, cdu_tensor tensor, uint32_t access, void **memory, cdu_error *error)
{
    cdu_program *p = r->program;
    return p->gpu->backend->buffer_map(p->own[tensor], 0, p->plan->lowering.tensors[tensor].bytes, access, memory, error);
}

static cdu_status unmap(exchange_run *r, cdu_tensor tensor, cdu_error *error)
{
    return r->program->gpu->backend->buffer_unmap(r->program->own[tensor], error);
}

static cdu_status gather(exchange_run *r, const cdu_exchange *e, cdu_error *error)
{
    uint32_t ranks = cdu_lowering_ranks(&r->program->plan->lowering), count = e->rows * e->channels;
    float *dense;
    void *memory;
    CDU_TRY(cdu_allocate(&dense, (size_t)count * (ranks + 1), sizeof *dense, error));
    float *all = dense + count;
    cdu_status status = map(r, e->mine, CDU_READ, &memory, error);
    if (status == CDU_OK) {
        for (uint32_t row = 0; row < e->rows; row++)
            memcpy(dense + (size_t)row * e->channels, (float *)memory + (size_t)row * e->lanes, e->channels * sizeof(float));
        status = unmap(r, e->mine, error);
    }
    if (status == CDU_OK) status = r->with->gather(r->with->context, dense, count, all, error);
    if (status == CDU_OK) status = map(r, e->all, CDU_WRITE, &memory, error);
    if (status == CDU_OK) {
        memset(memory, 0, (size_t)e->rows * ranks * e->lanes * sizeof(float));
        for (uint32_t row = 0; row < e->rows * ranks; row++)
            memcpy((float *)memory + (size_t)row * e->lanes, all + (size_t)row * e->channels, e->channels * sizeof(float));
        status = unmap(r, e->all, error);
    }
    free(dense);
    return status;
}

static cdu_status start(exchange_run *r, size_t i, cdu_error *error)
{
    const cdu_exchange *e = &r->program->plan->lowering.exchanges[i];
    void *memory;
    if (r->state[i].started) return CDU_OK;
    CDU_TRY(wait_segment(r, e->after, error));
    r->state[i].started = true;
    if (!e->sum) {
        double began = cdu_seconds();
        CDU_TRY(gather(r, e, error));
        r->state[i].done = true;
        r->times->gathering += cdu_seconds() - began;
        return CDU_OK;
    }
    CDU_TRY(map(r, e->mine, CDU_READ | CDU_WRITE, &memory, error));
    r->state[i].mapped = true;
    return r->with->sum_start(r->with->context, memory, e->count, &r->state[i].request, error);
}

/* All gradients are there: the caller's turn, while the last sums are on their way. Then these. */
static cdu_status before_update(exchange_run *r, void *patch, cdu_error *error)
{
    const cdu_lowering *l = &r->program->plan->lowering;
    double began = cdu_seconds(), met = began;
    bool done = false;
    for (uint32_t round = 0; !done || sums_run(r);) {
        if (!done) {
            CDU_TRY(r->with->before_update(r->with->context, patch, &done, error));
            if (done) met = cdu_seconds();
        }
        CDU_TRY(poll_sums(r, error));
        if (!done || sums_run(r)) r->with->pause(&round);
    }
    r->times->slowest = met - began;
    r->times->network = cdu_seconds() - met;
    for (size_t i = 0; i < l->exchange_count; i++) {
        if (!r->state[i].mapped) continue;
        r->state[i].mapped = false;
        CDU_TRY(unmap(r, l->exchanges[i].mine, error));
    }
    return CDU_OK;
}

static cdu_status run_segments(exchange_run *r, void *patch, uint32_t bytes, cdu_error *error)
{
    cdu_program *p = r->program;
    const cdu_lowering *l = &p->plan->lowering;
    uint32_t update = l->exchange_count ? l->exchanges[l->exchange_count - 1].before : UINT32_MAX;
    for (uint32_t s = 0; s < p->plan->report.segments; s++) {
        for (size_t i = 0; i < l->exchange_count; i++)
            if (l->exchanges[i].before == s) CDU_TRY(start(r, i, error));
        if (s == update) CDU_TRY(before_update(r, patch, error));
        bool patched = !s || s == update;
        CDU_TRY(p->gpu->backend->submit(p->list, s, CDU_COMPUTE, patched ? patch : NULL, patched ? bytes : 0, &p->ticket, error));
        r->tickets[s] = p->ticket;
        /* what was ready when this segment began leaves while it runs */
        for (size_t i = 0; i < l->exchange_count; i++)
            if (l->exchanges[i].sum && l->exchanges[i].after < s) CDU_TRY(start(r, i, error));
    }
    return cdu_program_wait(p, error);
}

cdu_status cdu_program_run_exchanging(cdu_program *p, void *patch, uint32_t bytes, const cdu_exchanger *with, cdu_exchange_times *times,
                                      cdu_error *error)
{
    exchange_run r = {.program = p, .with = with, .times = times};
    size_t count = p->plan->lowering.exchange_count;
    *times = (cdu_exchange_times){0};
    cdu_status status = cdu_allocate(&r.tickets, p->plan->report.segments, sizeof *r.tickets, error);
    if (status == CDU_OK) status = cdu_allocate(&r.state, count ? count : 1, sizeof *r.state, error);
    if (status == CDU_OK) status = run_segments(&r, patch, bytes, error);
    for (size_t i = 0; r.state && i < count; i++)
        if (r.state[i].mapped) unmap(&r, p->plan->lowering.exchanges[i].mine, NULL);
    free(r.tickets);
    free(r.state);
    return status;
}
