/* list.c: lists of steps on OpenCL. Each kernel step has a cl_kernel of its own whose arguments are set once, so that a replay only
 * enqueues. A binding that is not a whole buffer is a sub-buffer, made once a list for each range; or, where the driver does badly with them, the
 * whole buffer and an offset. NVIDIA's driver (580) crashes when sub-buffers that begin at the same place are released in the order of their
 * making, and the more of them there are the longer it takes to start a kernel: 100 microseconds with those of a training step. */
#include "backends/opencl/opencl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/host.h"
#include "core/base/memory.h"

static const uint64_t LONG_WAIT_NANOSECONDS = 1000000000u;

typedef struct {
    const cdu_buffer *buffer;
    uint64_t offset, bytes;
    cl_mem memory;
} range;

typedef struct {
    cdu_step_kind kind;
    cl_kernel kernel;
    size_t global[3], local[3];
    cl_mem from, to;
    uint64_t from_offset, to_offset, bytes;
    cl_uint word;
    char label[64];
    cl_event event; /* of the last run, on a device opened timed */
} entry;

struct cdu_list {
    cdu_device *device;
    entry *entries;
    uint32_t count, segments;
    uint32_t *first;     /* segments + 1 places */
    cdu_ticket *running; /* last ticket of each segment */
    range *ranges;
    size_t range_count, range_room;
    cdu_buffer *patch;
    unsigned char patch_data[CDU_PATCH_BYTES];
};

static cdu_status check_range(const cdu_device *device, const cdu_binding *b, const char *label, cdu_error *error)
{
    if (!b->buffer || !b->bytes || b->offset > b->buffer->bytes || b->bytes > b->buffer->bytes - b->offset)
        return cdu_fail(error, CDU_FAILED, "step %s: bytes %llu to %llu are bound of a buffer of %llu", label,
                        (unsigned long long)b->offset, (unsigned long long)(b->offset + b->bytes),
                        (unsigned long long)(b->buffer ? b->buffer->bytes : 0));
    if (b->offset % 4 || b->bytes % 4)
        return cdu_fail(error, CDU_FAILED, "step %s: offset %llu and size %llu are not multiples of 4", label,
                        (unsigned long long)b->offset, (unsigned long long)b->bytes);
    if (b->bytes > device->info.largest_binding)
        return cdu_fail(error, CDU_FAILED, "step %s: %llu bytes are bound; %s takes %llu", label, (unsigned long long)b->bytes,
                        device->info.name, (unsigned long long)device->info.largest_binding);
    return CDU_OK;
}

static cdu_status bind(cdu_list *list, const cdu_binding *b, const char *label, cl_mem *out, cdu_error *error)
{
    const cdu_device *device = list->device;
    CDU_TRY(check_range(device, b, label, error));
    if (b->offset % device->info.binding_align)
        return cdu_fail(error, CDU_FAILED, "step %s: offset %llu is not a multiple of %u", label, (unsigned long long)b->offset,
                        device->info.binding_align);
    *out = b->buffer->memory;
    if (device->offsets || (!b->offset && b->bytes == b->buffer->bytes)) return CDU_OK;
    for (size_t i = 0; i < list->range_count; i++) {
        const range *r = &list->ranges[i];
        if (r->buffer == b->buffer && r->offset == b->offset && r->bytes == b->bytes) return *out = r->memory, CDU_OK;
    }
    CDU_TRY(cdu_grow(&list->ranges, &list->range_room, list->range_count + 1, sizeof *list->ranges, error));
    cl_int code;
    cl_buffer_region region = {b->offset, b->bytes};
    *out = device->cl->clCreateSubBuffer(b->buffer->memory, CL_MEM_READ_WRITE, CL_BUFFER_CREATE_TYPE_REGION, &region, &code);
    if (!*out) return CDU_CL_FAIL(error, device, code, "binding a part of a buffer");
    list->ranges[list->range_count++] = (range){b->buffer, b->offset, b->bytes, *out};
    return CDU_OK;
}

static cdu_status record_kernel(cdu_list *list, const cdu_step *step, entry *e, cdu_error *error)
{
    const cdu_device *device = list->device;
    const cdu_opencl_api *cl = device->cl;
    const cdu_kernel *kernel = step->kernel;
    if (!kernel || kernel->bindings != step->bindings || kernel->params != step->params)
        return cdu_fail(error, CDU_FAILED, "step %s: %u buffers and %u parameters do not fit its kernel, which has %u and %u",
                        e->label, step->bindings, step->params, kernel ? kernel->bindings : 0, kernel ? kernel->params : 0);
    for (int i = 0; i < 3; i++) {
        if (!step->groups[i] || step->groups[i] > device->info.group_count[i])
            return cdu_fail(error, CDU_FAILED, "step %s: %u groups on axis %d; %s takes 1 to %u", e->label, step->groups[i], i,
                            device->info.name, device->info.group_count[i]);
        e->local[i] = kernel->group[i];
        e->global[i] = kernel->group[i] * step->groups[i];
    }
    cl_int code;
    e->kernel = cl->clCreateKernel(kernel->program, kernel->name, &code);
    if (!e->kernel) return CDU_CL_FAIL(error, device, code, "making a kernel");
    cl_uint argument = 0;
    for (uint32_t i = 0; i < step->bindings; i++) {
        cl_mem memory;
        CDU_TRY(bind(list, &step->bind[i], e->label, &memory, error));
        CDU_CL(device, cl->clSetKernelArg(e->kernel, argument++, sizeof memory, &memory), error, "binding a buffer");
        cl_uint place = (cl_uint)(step->bind[i].offset / 16); /* binding_align is a multiple of 16, and 64 GiB the largest buffer */
        if (device->offsets) CDU_CL(device, cl->clSetKernelArg(e->kernel, argument++, sizeof place, &place), error, "binding a buffer");
    }
    code = cl->clSetKernelArg(e->kernel, argument, 4 * (size_t)step->params, step->param);
    if (code == CL_INVALID_ARG_SIZE)
        return cdu_fail(error, CDU_FAILED, "step %s: kernel %s does not have %u parameters", e->label, kernel->name, step->params);
    if (code != CL_SUCCESS) return CDU_CL_FAIL(error, device, code, "setting parameters");
    return CDU_OK;
}

static cdu_status record_transfer(cdu_list *list, const cdu_step *step, entry *e, cdu_error *error)
{
    uint32_t wanted = step->kind == CDU_STEP_COPY ? 2 : 1;
    if (step->bindings != wanted)
        return cdu_fail(error, CDU_FAILED, "step %s: %u buffers where %u are needed", e->label, step->bindings, wanted);
    for (uint32_t i = 0; i < wanted; i++) CDU_TRY(check_range(list->device, &step->bind[i], e->label, error));
    const cdu_binding *to = &step->bind[wanted - 1];
    e->to = to->buffer->memory;
    e->to_offset = to->offset;
    e->bytes = to->bytes;
    e->word = step->param[0];
    if (step->kind == CDU_STEP_FILL) return CDU_OK;
    const cdu_binding *from = &step->bind[0];
    e->from = from->buffer->memory;
    e->from_offset = from->offset;
    if (from->bytes != to->bytes)
        return cdu_fail(error, CDU_FAILED, "step %s: %llu bytes are copied to %llu", e->label, (unsigned long long)from->bytes,
                        (unsigned long long)to->bytes);
    return CDU_OK;
}

static cdu_status record(cdu_list *list, const cdu_step *steps, cdu_error *error)
{
    uint32_t segment = 0;
    for (uint32_t i = 0; i < list->count; i++) {
        const cdu_step *step = &steps[i];
        entry *e = &list->entries[i];
        e->kind = step->kind;
        snprintf(e->label, sizeof e->label, "%s", step->label ? step->label : "?");
        if (step->segment < segment)
            return cdu_fail(error, CDU_FAILED, "step %s: its segment %u follows segment %u", e->label, step->segment, segment);
        while (segment < step->segment) list->first[++segment] = i;
        if (step->kind == CDU_STEP_KERNEL)
            CDU_TRY(record_kernel(list, step, e, error));
        else
            CDU_TRY(record_transfer(list, step, e, error));
    }
    while (segment < list->segments) list->first[++segment] = list->count;
    return CDU_OK;
}

cdu_status cdu_opencl_list_create(cdu_device *device, const cdu_step *steps, uint32_t count, cdu_buffer *patch, cdu_list **out,
                                  cdu_error *error)
{
    cdu_list *list;
    CDU_TRY(cdu_allocate(&list, 1, sizeof *list, error));
    list->device = device;
    list->count = count;
    list->segments = count ? steps[count - 1].segment + 1 : 0;
    list->patch = patch;
    cdu_status status = cdu_allocate(&list->entries, count ? count : 1, sizeof *list->entries, error);
    if (status == CDU_OK) status = cdu_allocate(&list->first, (size_t)list->segments + 1, sizeof *list->first, error);
    if (status == CDU_OK) status = cdu_allocate(&list->running, (size_t)list->segments + 1, sizeof *list->running, error);
    if (status == CDU_OK) status = record(list, steps, error);
    if (status == CDU_OK)
        *out = list;
    else
        cdu_opencl_list_destroy(list);
    return status;
}

void cdu_opencl_list_destroy(cdu_list *list)
{
    if (!list) return;
    const cdu_opencl_api *cl = list->device->cl;
    cl->clFinish(list->device->queue);
    for (uint32_t i = 0; list->entries && i < list->count; i++) {
        if (list->entries[i].kernel) cl->clReleaseKernel(list->entries[i].kernel);
        if (list->entries[i].event) cl->clReleaseEvent(list->entries[i].event);
    }
    for (size_t i = 0; i < list->range_count; i++) cl->clReleaseMemObject(list->ranges[i].memory);
    free(list->ranges);
    free(list->running);
    free(list->first);
    free(list->entries);
    free(list);
}

static cl_int enqueue(cdu_device *device, entry *e)
{
    const cdu_opencl_api *cl = device->cl;
    cl_event *event = NULL;
    if (device->timed) {
        if (e->event) cl->clReleaseEvent(e->event);
        e->event = NULL;
        event = &e->event;
    }
    switch (e->kind) {
    case CDU_STEP_KERNEL: return cl->clEnqueueNDRangeKernel(device->queue, e->kernel, 3, NULL, e->global, e->local, 0, NULL, event);
    case CDU_STEP_COPY:
        return cl->clEnqueueCopyBuffer(device->queue, e->from, e->to, e->from_offset, e->to_offset, e->bytes, 0, NULL, event);
    case CDU_STEP_FILL:
        return cl->clEnqueueFillBuffer(device->queue, e->to, &e->word, sizeof e->word, e->to_offset, e->bytes, 0, NULL, event);
    }
    return CL_INVALID_OPERATION;
}

/* The submission's last commands: its ticket into device memory, and from there to the host. */
static cdu_status enqueue_ticket(cdu_device *device, cdu_ticket ticket, cdu_error *error)
{
    const cdu_opencl_api *cl = device->cl;
    uint32_t slot = ticket % CDU_OPENCL_SLOTS;
    CDU_CL(device, cl->clEnqueueFillBuffer(device->queue, device->ticket_memory, &ticket, 8, 8 * slot, 8, 0, NULL, NULL), error,
           "writing a ticket");
    CDU_CL(device,
           cl->clEnqueueReadBuffer(device->queue, device->ticket_memory, CL_FALSE, 8 * slot, 8, &device->ticket_seen[slot], 0, NULL,
                                   &device->ticket_event[slot]),
           error, "reading a ticket");
    device->ticket_of[slot] = ticket;
    CDU_CL(device, cl->clFlush(device->queue), error, "submitting");
    return CDU_OK;
}

cdu_status cdu_opencl_submit(cdu_list *list, uint32_t segment, cdu_lane lane, const void *patch_data, uint32_t bytes,
                             cdu_ticket *out, cdu_error *error)
{
    (void)lane; /* one queue */
    cdu_device *device = list->device;
    if (segment >= list->segments) return cdu_fail(error, CDU_FAILED, "segment %u of %u is submitted", segment, list->segments);
    cdu_progress progress;
    if (list->running[segment]) CDU_TRY(cdu_opencl_wait(device, list->running[segment], UINT64_MAX, &progress, error));
    cdu_ticket ticket = device->last + 1;
    if (ticket > CDU_OPENCL_SLOTS) CDU_TRY(cdu_opencl_wait(device, ticket - CDU_OPENCL_SLOTS, UINT64_MAX, &progress, error));
    if (patch_data && bytes) {
        if (!list->patch || bytes > CDU_PATCH_BYTES || bytes > list->patch->bytes)
            return cdu_fail(error, CDU_FAILED, "%u bytes of patch data; the list takes %u", bytes,
                            list->patch ? CDU_PATCH_BYTES : 0);
        /* another segment's submission may still be copying from patch_data */
        for (uint32_t s = 0; s < list->segments; s++)
            if (list->running[s]) CDU_TRY(cdu_opencl_wait(device, list->running[s], UINT64_MAX, &progress, error));
        memcpy(list->patch_data, patch_data, bytes);
        CDU_CL(device,
               device->cl->clEnqueueWriteBuffer(device->queue, list->patch->memory, CL_FALSE, 0, bytes, list->patch_data, 0, NULL,
                                                NULL),
               error, "writing patch data");
    }
    for (uint32_t i = list->first[segment]; i < list->first[segment + 1]; i++) {
        cl_int code = enqueue(device, &list->entries[i]);
        if (code != CL_SUCCESS) {
            char what[96];
            snprintf(what, sizeof what, "starting step %.64s", list->entries[i].label);
            return CDU_CL_FAIL(error, device, code, what);
        }
    }
    CDU_TRY(enqueue_ticket(device, ticket, error));
    device->last = ticket;
    list->running[segment] = ticket;
    *out = ticket;
    return CDU_OK;
}

static cdu_status is_lost(cdu_device *device, cdu_progress *progress, cdu_error *error)
{
    *progress = CDU_LOST;
    return cdu_fail(error, CDU_TRY_AGAIN, "%s is lost: %s; run again", device->info.name, device->lost);
}

cdu_status cdu_opencl_wait(cdu_device *device, cdu_ticket ticket, uint64_t timeout_ns, cdu_progress *progress, cdu_error *error)
{
    const cdu_opencl_api *cl = device->cl;
    uint32_t slot = ticket % CDU_OPENCL_SLOTS, round = 0;
    *progress = CDU_DONE;
    if (!ticket) return CDU_OK;
    if (ticket > device->last) return cdu_fail(error, CDU_FAILED, "ticket %llu was never given", (unsigned long long)ticket);
    if (device->lost[0]) return is_lost(device, progress, error);
    if (device->ticket_of[slot] != ticket || !device->ticket_event[slot]) return CDU_OK; /* seen done before */
    uint64_t began = cdu_host_nanoseconds();
    /* GPUs' runtimes may spin in there; to poll PoCL takes its lock, and a hundredth of a step from the processors that compute */
    if (device->sleeps && timeout_ns >= LONG_WAIT_NANOSECONDS) cl->clWaitForEvents(1, &device->ticket_event[slot]);
    for (;;) {
        cl_int state = CL_QUEUED;
        CDU_CL(device,
               cl->clGetEventInfo(device->ticket_event[slot], CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof state, &state, NULL), error,
               "asking how far the work is");
        if (state < 0) {
            snprintf(device->lost, sizeof device->lost, "its work ended with OpenCL error %d", state);
            return is_lost(device, progress, error);
        }
        if (state == CL_COMPLETE) break;
        if (cdu_host_nanoseconds() - began >= timeout_ns) {
            *progress = CDU_RUNNING;
            return CDU_OK;
        }
        cdu_host_pause(&round);
    }
    cl->clReleaseEvent(device->ticket_event[slot]);
    device->ticket_event[slot] = NULL;
    if (device->ticket_seen[slot] == ticket) return CDU_OK;
    snprintf(device->lost, sizeof device->lost, "submission %llu was given up silently", (unsigned long long)ticket);
    return is_lost(device, progress, error);
}

cdu_status cdu_opencl_times(cdu_list *list, uint32_t segment, uint64_t *nanoseconds, cdu_error *error)
{
    cdu_device *device = list->device;
    if (!device->timed) return cdu_fail(error, CDU_FAILED, "%s was not opened for timing", device->info.name);
    if (segment >= list->segments || !list->running[segment]) return cdu_fail(error, CDU_FAILED, "segment %u has not run", segment);
    for (uint32_t i = list->first[segment]; i < list->first[segment + 1]; i++) {
        cl_ulong began = 0, ended = 0;
        CDU_CL(device,
               device->cl->clGetEventProfilingInfo(list->entries[i].event, CL_PROFILING_COMMAND_START, sizeof began, &began, NULL),
               error, "asking for times");
        CDU_CL(device,
               device->cl->clGetEventProfilingInfo(list->entries[i].event, CL_PROFILING_COMMAND_END, sizeof ended, &ended, NULL),
               error, "asking for times");
        *nanoseconds++ = ended > began ? ended - began : 0;
    }
    return CDU_OK;
}
