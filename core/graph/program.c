/* program.c: a plan becomes buffers, compiled kernels and a recorded list; the host's reads and writes translate between dense arrays
 * and the device's padded layouts. One program, one list: overlap of two batches would take two. */
#include "core/graph/program.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cdunet/log.h"
#include "core/base/memory.h"
#include "core/base/progress.h"
#include "core/base/thread.h"
#include "core/graph/internal.h"
#include "shaders/shaders.h"

static const uint64_t STAGING_BYTES = 16 << 20;

static const size_t NOT_LENT = SIZE_MAX;

static bool same_kernel(const cdu_draft *a, const cdu_draft *b)
{
    return !strcmp(a->source, b->source) && !strcmp(a->kernel, b->kernel) && !strcmp(a->defines, b->defines) &&
           a->uses == b->uses && a->params == b->params && a->subgroup == b->subgroup;
}

static cdu_status find_kernels(cdu_program *p, cdu_error *error)
{
    const cdu_lowering *l = &p->plan->lowering;
    CDU_TRY(cdu_allocate(&p->kernels, l->draft_count, sizeof *p->kernels, error));
    CDU_TRY(cdu_allocate(&p->kernel_of, l->draft_count, sizeof *p->kernel_of, error));
    for (size_t d = 0; d < l->draft_count; d++) {
        size_t k = 0;
        if (l->drafts[d].copy) continue;
        while (k < p->kernel_count && !same_kernel(p->kernels[k].draft, &l->drafts[d])) k++;
        if (k == p->kernel_count) p->kernels[p->kernel_count++].draft = &l->drafts[d];
        p->kernel_of[d] = (uint32_t)k;
    }
    p->plan->report.kernels = (uint32_t)p->kernel_count;
    return CDU_OK;
}

typedef struct {
    cdu_program *program;
    pthread_mutex_t lock;
    cdu_progress_bar bar;
    uint64_t done;
    cdu_compilers *compilers;           /* processes that compile ahead; may be null */
    cdu_compile_request *requests;
} compilation;

static cdu_status compile_one(void *context, size_t i, cdu_error *error)
{
    compilation *c = context;
    cdu_kernel_slot *slot = &c->program->kernels[i];
    const cdu_gpu *gpu = c->program->gpu;
    const char *text;
    CDU_TRY(cdu_shader_text(slot->draft->source, &text, error));
    cdu_compilers_ask(c->compilers, &c->requests[i]);
    if (gpu->backend->kernel_create(gpu->device, text, slot->draft->kernel, slot->draft->defines, slot->draft->uses,
                                    slot->draft->params, slot->draft->subgroup, &slot->kernel, NULL, error) != CDU_OK)
        return cdu_error_prefix(error, "%s, %s (%s)", gpu->id, slot->draft->source, slot->draft->defines);
    pthread_mutex_lock(&c->lock);
    cdu_progress_update(&c->bar, ++c->done, slot->draft->kernel);
    pthread_mutex_unlock(&c->lock);
    return CDU_OK;
}

static cdu_compile_request request_of(const cdu_program *p, const cdu_draft *draft)
{
    cdu_compile_request r = {.bytes = sizeof r, .uses = draft->uses, .params = draft->params, .subgroup = draft->subgroup};
    snprintf(r.device, sizeof r.device, "%s", p->gpu->id);
    snprintf(r.source, sizeof r.source, "%s", draft->source);
    snprintf(r.kernel, sizeof r.kernel, "%s", draft->kernel);
    memcpy(r.defines, draft->defines, sizeof r.defines);
    memcpy(r.param, draft->param, sizeof r.param);
    memcpy(r.groups, draft->groups, sizeof r.groups);
    for (uint32_t u = 0; u < draft->uses; u++) {
        cdu_tensor root;
        uint64_t begin, end;
        cdu_use_range(&p->plan->lowering, &draft->use[u], &root, &begin, &end);
        r.size[u] = end - begin;
        r.access[u] = draft->use[u].access;
    }
    return r;
}

static cdu_status compile_kernels(cdu_program *p, cdu_error *error)
{
    compilation c = {.program = p, .lock = PTHREAD_MUTEX_INITIALIZER};
    CDU_TRY(cdu_allocate(&c.requests, p->kernel_count, sizeof *c.requests, error));
    for (size_t k = 0; k < p->kernel_count; k++) c.requests[k] = request_of(p, p->kernels[k].draft);
    c.compilers = cdu_compilers_start(p->gpu, c.requests, p->kernel_count);
    c.bar = cdu_progress_begin("kernels", p->kernel_count);
    cdu_status status = cdu_parallel(0, p->kernel_count, compile_one, &c, error);
    if (status == CDU_OK) cdu_progress_end(&c.bar);
    cdu_compilers_stop(c.compilers);
    free(c.requests);
    return status;
}

/* Each chunk of ours into one of beside's that is large enough and taken by no other. */
static cdu_status borrow(cdu_program *p, cdu_error *error)
{
    CDU_TRY(cdu_allocate(&p->lent_by, p->plan->chunk_count, sizeof *p->lent_by, error));
    for (size_t c = 0; c < p->plan->chunk_count; c++) {
        p->lent_by[c] = NOT_LENT;
        for (size_t b = 0; p->beside && b < p->beside->plan->chunk_count && p->lent_by[c] == NOT_LENT; b++) {
            bool free_for_us = p->beside->plan->chunk_bytes[b] >= p->plan->chunk_bytes[c];
            for (size_t before = 0; before < c; before++) free_for_us = free_for_us && p->lent_by[before] != b;
            if (free_for_us) p->lent_by[c] = b;
        }
        if (p->lent_by[c] != NOT_LENT) p->lent += p->plan->chunk_bytes[c];
    }
    return CDU_OK;
}

uint64_t cdu_program_own_bytes(const cdu_program *p)
{
    return p->plan->report.peak - p->lent;
}

/* With a program beside: the limit is for both. */
static cdu_status check_limit(const cdu_program *p, uint64_t limit, cdu_error *error)
{
    uint64_t both = cdu_program_own_bytes(p) + cdu_program_own_bytes(p->beside);
    if (!limit || both <= limit) return CDU_OK;
    return cdu_fail(error, CDU_TRY_AGAIN, "a limit of %.1f MiB of memory is too small: on %s this network beside the one that lies there needs "
                    "%llu MiB; allow that, or use a smaller tile or width", (double)limit / 1048576, p->gpu->info.name,
                    (unsigned long long)((both + 1048575) >> 20));
}

static cdu_status check_budget(const cdu_program *p, cdu_error *error)
{
    const cdu_plan_report *r = &p->plan->report;
    const cdu_gpu *gpu = p->gpu;
    uint64_t free_bytes = 0;
    char shared[64] = "";
    if (p->lent) snprintf(shared, sizeof shared, "; %.1f of it lent by the program beside", (double)p->lent / 1048576);
    CDU_TRY(gpu->backend->budget(gpu->device, &free_bytes, error));
    cdu_log(p->quiet ? CDU_LOG_DEBUG : CDU_LOG_INFO, "%s: memory %.1f MiB (activations %.1f, without reuse %.1f; parameters and their like %.1f; host-visible %.1f%s), %u steps, %u kernels, %u segments", gpu->id, (double)r->peak / 1048576, (double)r->activations / 1048576,
            (double)r->activations_unshared / 1048576, (double)r->arenas / 1048576, (double)r->host_visible / 1048576, shared,
            r->steps, r->kernels, r->segments);
    if (free_bytes && cdu_program_own_bytes(p) > free_bytes)
        return cdu_fail(error, CDU_TRY_AGAIN, "%s: the plan needs %llu MiB, %s has %llu MiB free: use a smaller batch, tile or width",
                        gpu->id, (unsigned long long)(cdu_program_own_bytes(p) >> 20), gpu->info.name, (unsigned long long)(free_bytes >> 20));
    return CDU_OK;
}

/* A step that does not fit into what is free there is planned again as under a limit. */
static cdu_status fit_into_budget(cdu_program *p, cdu_plan_options *options, cdu_error *error)
{
    uint64_t free_bytes = 0;
    CDU_TRY(p->gpu->backend->budget(p->gpu->device, &free_bytes, error));
    if (!free_bytes || p->plan->report.peak + options->reserved <= free_bytes) return CDU_OK;
    cdu_plan_destroy(p->plan);
    p->plan = NULL;
    options->memory = free_bytes;
    if (cdu_plan_create(p->graph, &p->gpu->info, options, &p->plan, error) == CDU_OK) return CDU_OK;
    return cdu_error_prefix(error, "%s: %.1f MiB of memory are free", p->gpu->id, (double)free_bytes / 1048576);
}

/* Where what is kept does not fit into what is free, it is made in each run instead. */
static cdu_status keep_what_fits(cdu_program *p, cdu_plan_options *options, cdu_error *error)
{
    uint64_t free_bytes = 0;
    if (!p->plan->kept_segments) return CDU_OK;
    CDU_TRY(p->gpu->backend->budget(p->gpu->device, &free_bytes, error));
    if (!free_bytes || p->plan->report.peak <= free_bytes) return CDU_OK;
    cdu_plan_destroy(p->plan);
    p->plan = NULL;
    options->keep = false;
    return cdu_plan_create(p->graph, &p->gpu->info, options, &p->plan, error);
}

static cdu_status create_buffers(cdu_program *p, cdu_error *error)
{
    const cdu_lowering *l = &p->plan->lowering;
    const cdu_gpu *gpu = p->gpu;
    CDU_TRY(cdu_allocate(&p->chunks, p->plan->chunk_count, sizeof *p->chunks, error));
    CDU_TRY(cdu_allocate(&p->own, l->tensor_count, sizeof *p->own, error));
    for (size_t c = 0; c < p->plan->chunk_count; c++)
        if (p->lent_by[c] != NOT_LENT) p->chunks[c] = p->beside->chunks[p->lent_by[c]];
        else CDU_TRY(gpu->backend->buffer_create(gpu->device, p->plan->chunk_bytes[c], CDU_MEM_DEVICE, &p->chunks[c], error));
    for (size_t t = 0; t < l->tensor_count; t++) {
        const cdu_tensor_record *tensor = &l->tensors[t];
        if (tensor->root != (cdu_tensor)t || tensor->place == CDU_PLACE_PLANNED || !tensor->bytes) continue;
        cdu_memory memory = tensor->place == CDU_PLACE_HOST_READS ? CDU_MEM_READBACK
                            : tensor->place == CDU_PLACE_KEPT     ? CDU_MEM_DEVICE
                            : tensor->place != CDU_PLACE_ARENA    ? CDU_MEM_UPLOAD
                            : gpu->info.unified                   ? CDU_MEM_SHARED
                                                                  : CDU_MEM_DEVICE;
        CDU_TRY(gpu->backend->buffer_create(gpu->device, tensor->bytes, memory, &p->own[t], error));
    }
    return CDU_OK;
}

typedef struct { cdu_program *program; cdu_status status; cdu_error error; } compiling;

static void *compile_beside(void *argument)
{
    compiling *c = argument;
    c->status = compile_kernels(c->program, &c->error);
    return NULL;
}

/* Buffers are zeroed while kernels are compiled: a driver's compiler often keeps one processor busy, zeroing another. */
static cdu_status compile_and_allocate(cdu_program *p, cdu_error *error)
{
    compiling c = {.program = p};
    pthread_t thread;
    bool beside = !pthread_create(&thread, NULL, compile_beside, &c);
    cdu_status status = create_buffers(p, error);
    if (beside) pthread_join(thread, NULL);
    else if (status == CDU_OK) compile_beside(&c);
    if (status == CDU_OK && c.status != CDU_OK && error) *error = c.error;
    return status == CDU_OK ? c.status : status;
}

static cdu_binding bind(const cdu_program *p, const cdu_use *use)
{
    cdu_tensor root;
    uint64_t begin, end;
    cdu_use_range(&p->plan->lowering, use, &root, &begin, &end);
    const cdu_tensor_record *record = &p->plan->lowering.tensors[root];
    bool planned = record->place == CDU_PLACE_PLANNED;
    return (cdu_binding){.buffer = planned ? p->chunks[record->chunk] : p->own[root],
                         .offset = begin + (planned ? record->offset : 0), .bytes = end - begin, .access = use->access};
}

static cdu_status record_list(cdu_program *p, cdu_error *error)
{
    const cdu_plan *plan = p->plan;
    const cdu_lowering *l = &plan->lowering;
    CDU_TRY(cdu_allocate(&p->steps, plan->step_count, sizeof *p->steps, error));
    for (size_t s = 0; s < plan->step_count; s++) {
        const cdu_planned_step *planned = &plan->steps[s];
        cdu_step *step = &p->steps[s];
        step->barrier = planned->barrier;
        step->segment = planned->segment;
        if (planned->fill) {
            cdu_use use = {.tensor = (cdu_tensor)planned->draft, .access = CDU_WRITE};
            step->kind = CDU_STEP_FILL;
            step->bind[0] = bind(p, &use);
            step->bindings = step->params = 1;
            step->param[0] = 0x7fc0dead; /* a quiet NaN that is easy to spot */
            step->label = "poison";
            step->bytes = (double)step->bind[0].bytes;
            continue;
        }
        const cdu_draft *draft = &l->drafts[planned->draft];
        step->kind = draft->copy ? CDU_STEP_COPY : CDU_STEP_KERNEL;
        step->kernel = draft->copy ? NULL : p->kernels[p->kernel_of[planned->draft]].kernel;
        step->bindings = draft->uses;
        for (uint32_t u = 0; u < draft->uses; u++) step->bind[u] = bind(p, &draft->use[u]);
        step->params = draft->params;
        memcpy(step->param, draft->param, sizeof step->param);
        memcpy(step->groups, draft->groups, sizeof step->groups);
        step->label = draft->label;
        bool once = planned->segment < plan->kept_segments; /* no part of a run's work */
        step->flops = once ? 0 : draft->flops;
        step->bytes = once ? 0 : draft->bytes;
    }
    return p->gpu->backend->list_create(p->gpu->device, p->steps, (uint32_t)plan->step_count, p->own[l->patch], &p->list, error);
}

cdu_status cdu_program_create(const cdu_graph *graph, const cdu_gpu *gpu, const cdu_plan_options *options, cdu_program **out,
                              cdu_error *error)
{
    return cdu_program_create_beside(graph, gpu, options, NULL, out, error);
}

cdu_status cdu_program_create_beside(const cdu_graph *graph, const cdu_gpu *gpu, const cdu_plan_options *options, cdu_program *beside,
                                     cdu_program **out, cdu_error *error)
{
    *out = NULL;
    cdu_program *p;
    CDU_TRY(cdu_allocate(&p, 1, sizeof *p, error));
    p->graph = graph;
    p->gpu = gpu;
    p->quiet = options->quiet;
    p->beside = beside;
    cdu_plan_options planned = *options;
    if (beside) planned.memory = 0; /* what is lent is known only then */
    if (beside) planned.keep = false; /* room for two is scarce */
    cdu_status status = cdu_plan_create(graph, &gpu->info, &planned, &p->plan, error);
    if (status == CDU_OK) status = keep_what_fits(p, &planned, error);
    if (status == CDU_OK && options->training) status = fit_into_budget(p, &planned, error);
    if (status == CDU_OK) status = borrow(p, error);
    if (status == CDU_OK && beside) status = check_limit(p, options->memory, error);
    if (status == CDU_OK) status = find_kernels(p, error);
    if (status == CDU_OK) status = check_budget(p, error);
    if (status == CDU_OK) status = compile_and_allocate(p, error);
    if (status == CDU_OK) status = record_list(p, error);
    if (status != CDU_OK) {
        cdu_program_destroy(p);
        return status;
    }
    *out = p;
    return CDU_OK;
}

cdu_status cdu_program_check(const cdu_graph *graph, const cdu_gpu *gpu, const cdu_plan_options *options, cdu_error *error)
{
    cdu_program p = {.graph = graph, .gpu = gpu};
    cdu_plan_options planned = *options;
    planned.quiet = true;
    cdu_status status = cdu_plan_create(graph, &gpu->info, &planned, &p.plan, error);
    if (status == CDU_OK) status = fit_into_budget(&p, &planned, error);
    cdu_plan_destroy(p.plan);
    return status;
}

void cdu_program_destroy(cdu_program *p)
{
    if (!p) return;
    const cdu_backend *backend = p->gpu->backend;
    if (p->list) backend->list_destroy(p->list);
    for (size_t k = 0; k < p->kernel_count; k++)
        if (p->kernels[k].kernel) backend->kernel_destroy(p->kernels[k].kernel);
    for (size_t c = 0; p->chunks && c < p->plan->chunk_count; c++)
        if (p->chunks[c] && p->lent_by[c] == NOT_LENT) backend->buffer_destroy(p->chunks[c]);
    for (size_t t = 0; p->own && t < p->plan->lowering.tensor_count; t++)
        if (p->own[t]) backend->buffer_destroy(p->own[t]);
    cdu_plan_destroy(p->plan);
    free(p->chunks);
    free(p->lent_by);
    free(p->own);
    free(p->kernels);
    free(p->kernel_of);
    free(p->steps);
    free(p);
}

cdu_plan_report cdu_program_report(const cdu_program *p)
{
    return p->plan->report;
}

/* ---- the host's reads and writes ---- */

/* Between a dense array and the layout's padded pixels; pads are written as zero, but for a part's neighbours in a concatenation. */
static void convert(const cdu_layout *layout, uint32_t *padded, uint32_t *dense, bool to_device)
{
    uint64_t pixels = (uint64_t)layout->shape.n * layout->shape.h * layout->shape.w;
    uint32_t c = layout->shape.c;
    for (uint64_t i = 0; i < pixels; i++) {
        uint32_t *pixel = padded + i * layout->pitch;
        if (to_device) memset(pixel + layout->offset, 0, layout->lanes * 4u);
        for (uint32_t k = 0; k < c; k++) {
            uint32_t lane = cdu_layout_lane(layout, k);
            if (to_device) pixel[lane] = dense[i * c + k];
            else dense[i * c + k] = pixel[lane];
        }
    }
}

static cdu_status host_tensor(cdu_program *p, cdu_tensor tensor, void *dense, bool write, const char *what, cdu_error *error)
{
    if (tensor == CDU_NO_TENSOR) return cdu_fail(error, CDU_FAILED, "%s: not part of this program", what);
    const cdu_tensor_record *record = &p->plan->lowering.tensors[tensor];
    if (record->place != (write ? CDU_PLACE_HOST_WRITES : CDU_PLACE_HOST_READS))
        return cdu_fail(error, CDU_FAILED, "%s: is not marked for the host to %s", what, write ? "write" : "read");
    cdu_buffer *buffer = p->own[record->root];
    void *memory;
    CDU_TRY(p->gpu->backend->buffer_map(buffer, 0, record->bytes, write ? CDU_WRITE : CDU_READ, &memory, error));
    convert(&record->layout, memory, dense, write);
    return p->gpu->backend->buffer_unmap(buffer, error);
}

/* The host's array is never written through when the direction is to the device; the cast keeps one conversion loop. */
static void *writable(const void *dense)
{
    void *memory;
    memcpy(&memory, &dense, sizeof memory);
    return memory;
}

cdu_status cdu_program_write(cdu_program *p, cdu_value value, const void *dense, cdu_error *error)
{
    return host_tensor(p, p->plan->lowering.values[value].forward, writable(dense), true, cdu_graph_value(p->graph, value)->name, error);
}

cdu_status cdu_program_write_gradient(cdu_program *p, cdu_value value, const void *dense, cdu_error *error)
{
    return host_tensor(p, p->plan->lowering.values[value].gradient, writable(dense), true, cdu_graph_value(p->graph, value)->name, error);
}

cdu_status cdu_program_read(cdu_program *p, cdu_value value, void *dense, cdu_error *error)
{
    return host_tensor(p, p->plan->lowering.values[value].forward, dense, false, cdu_graph_value(p->graph, value)->name, error);
}

cdu_status cdu_program_verdict(cdu_program *p, bool *updated, cdu_error *error)
{
    uint32_t words[CDU_VERDICT_WORDS];
    CDU_TRY(host_tensor(p, p->plan->lowering.verdict, words, false, "verdict", error));
    *updated = !words[0];
    return CDU_OK;
}

/* One copy on the device, waited for: for arenas in memory that the host does not see. */
static cdu_status copy_now(cdu_program *p, cdu_binding from, cdu_binding to, cdu_error *error)
{
    cdu_step step = {.kind = CDU_STEP_COPY, .bind = {from, to}, .bindings = 2, .label = "transfer", .bytes = 2.0 * (double)from.bytes};
    return cdu_gpu_run_step(p->gpu, &step, error);
}

static cdu_status stage(cdu_program *p, cdu_buffer *staging, cdu_buffer *buffer, uint64_t offset, uint64_t bytes, char *host,
                        bool write, cdu_error *error)
{
    const cdu_backend *backend = p->gpu->backend;
    cdu_binding here = {staging, 0, bytes, write ? CDU_READ : CDU_WRITE}, there = {buffer, offset, bytes, write ? CDU_WRITE : CDU_READ};
    void *memory;
    if (!write) CDU_TRY(copy_now(p, there, here, error));
    CDU_TRY(backend->buffer_map(staging, 0, bytes, write ? CDU_WRITE : CDU_READ, &memory, error));
    memcpy(write ? memory : (void *)host, write ? (void *)host : memory, bytes);
    CDU_TRY(backend->buffer_unmap(staging, error));
    return write ? copy_now(p, here, there, error) : CDU_OK;
}

static cdu_status transfer(cdu_program *p, cdu_arena arena, uint64_t offset, uint64_t bytes, void *host, bool write, cdu_error *error)
{
    const cdu_backend *backend = p->gpu->backend;
    cdu_buffer *buffer = p->own[p->plan->lowering.arenas[arena]];
    if (!bytes) return CDU_OK;
    if (!buffer) return cdu_fail(error, CDU_FAILED, "the program has no such arena");
    if (write) p->fresh = false;
    if (p->gpu->info.unified) {
        void *memory;
        CDU_TRY(backend->buffer_map(buffer, offset, bytes, write ? CDU_WRITE : CDU_READ, &memory, error));
        memcpy(write ? memory : host, write ? host : memory, bytes);
        return backend->buffer_unmap(buffer, error);
    }
    cdu_buffer *staging;
    uint64_t piece = bytes < STAGING_BYTES ? bytes : STAGING_BYTES;
    CDU_TRY(backend->buffer_create(p->gpu->device, piece, write ? CDU_MEM_UPLOAD : CDU_MEM_READBACK, &staging, error));
    cdu_status status = CDU_OK;
    for (uint64_t at = 0; at < bytes && status == CDU_OK; at += piece)
        status = stage(p, staging, buffer, offset + at, bytes - at < piece ? bytes - at : piece, (char *)host + at, write, error);
    backend->buffer_destroy(staging);
    return status;
}

static cdu_status parameter(cdu_program *p, cdu_value value, cdu_arena arena, float *dense, bool write, cdu_error *error)
{
    const cdu_value_info *info = cdu_graph_value(p->graph, value);
    if (info->kind != CDU_VALUE_PARAMETER && info->kind != CDU_VALUE_STATE)
        return cdu_fail(error, CDU_FAILED, "%s: is no parameter and no state", info->name);
    if (info->kind == CDU_VALUE_STATE) arena = CDU_ARENA_STATES;
    return transfer(p, arena, p->plan->lowering.values[value].arena_offset * 4, cdu_value_elements(info) * 4, dense, write, error);
}

cdu_status cdu_program_read_gradient(cdu_program *p, cdu_value value, void *dense, cdu_error *error)
{
    const cdu_value_info *info = cdu_graph_value(p->graph, value);
    if (info->kind == CDU_VALUE_PARAMETER) return parameter(p, value, CDU_ARENA_GRADIENTS, dense, false, error);
    return host_tensor(p, p->plan->lowering.values[value].gradient, dense, false, info->name, error);
}

cdu_status cdu_program_write_parameter(cdu_program *p, cdu_value value, const float *dense, cdu_error *error)
{
    return parameter(p, value, CDU_ARENA_PARAMETERS, writable(dense), true, error);
}

cdu_status cdu_program_read_parameter(cdu_program *p, cdu_value value, float *dense, cdu_error *error)
{
    return parameter(p, value, CDU_ARENA_PARAMETERS, dense, false, error);
}

uint64_t cdu_program_arena_elements(const cdu_program *p, cdu_arena arena)
{
    return p->plan->lowering.arena_elements[arena];
}

cdu_status cdu_program_write_arena(cdu_program *p, cdu_arena arena, const float *dense, cdu_error *error)
{
    return transfer(p, arena, 0, cdu_program_arena_elements(p, arena) * 4, writable(dense), true, error);
}

cdu_status cdu_program_read_arena(cdu_program *p, cdu_arena arena, float *dense, cdu_error *error)
{
    return transfer(p, arena, 0, cdu_program_arena_elements(p, arena) * 4, dense, false, error);
}

/* ---- steps ---- */

uint32_t cdu_program_steps(const cdu_program *p)
{
    return (uint32_t)p->plan->step_count;
}

const cdu_draft *cdu_program_draft(const cdu_program *p, uint32_t index)
{
    const cdu_planned_step *planned = &p->plan->steps[index];
    return planned->fill ? NULL : &p->plan->lowering.drafts[planned->draft];
}

const cdu_step *cdu_program_step(const cdu_program *p, uint32_t step)
{
    return &p->steps[step];
}

cdu_status cdu_program_times(cdu_program *p, uint64_t *nanoseconds, cdu_error *error)
{
    uint32_t at = 0;
    for (uint32_t s = 0; s < p->plan->report.segments; s++) {
        if (s < p->plan->kept_segments && !p->ran_kept) {
            for (; at < p->plan->step_count && p->steps[at].segment == s; at++) nanoseconds[at] = 0;
            continue;
        }
        CDU_TRY(p->gpu->backend->times(p->list, s, nanoseconds + at, error));
        while (at < p->plan->step_count && p->steps[at].segment == s) at++;
    }
    return CDU_OK;
}
