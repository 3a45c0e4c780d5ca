/* opencl.c: the OpenCL backend: devices and buffers. One context and one in-order queue a device, so steps run in their order and
 * the plan's barrier bits need nothing here. The runtime is opened with dlopen; a binary without it still starts. */
#include "backends/opencl/opencl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/host.h"
#include "core/base/debug.h"
#include "core/base/memory.h"

#define DEVICE_GLOBAL_FREE_MEMORY_AMD 0x4039

static cdu_status enumerate(cdu_device_info *out, uint32_t *count, cdu_error *error)
{
    const cdu_opencl_api *cl;
    uint32_t room = *count;
    *count = 0;
    CDU_TRY(cdu_opencl_load(&cl, error));
    cdu_opencl_place places[CDU_OPENCL_DEVICES];
    *count = cdu_opencl_places(cl, places);
    for (uint32_t i = 0; i < *count && i < room; i++) cdu_opencl_describe(cl, places[i], &out[i]);
    return CDU_OK;
}

static void close_device(cdu_device *device)
{
    if (!device) return;
    const cdu_opencl_api *cl = device->cl;
    if (device->queue) cl->clFinish(device->queue);
    for (int i = 0; i < CDU_OPENCL_SLOTS; i++)
        if (device->ticket_event[i]) cl->clReleaseEvent(device->ticket_event[i]);
    if (device->ticket_memory) cl->clReleaseMemObject(device->ticket_memory);
    if (device->queue) cl->clReleaseCommandQueue(device->queue);
    if (device->side) cl->clReleaseCommandQueue(device->side);
    if (device->context) cl->clReleaseContext(device->context);
    free(device);
}

static cdu_status start(cdu_device *device, cl_platform_id platform, cdu_error *error)
{
    const cdu_opencl_api *cl = device->cl;
    char name[64] = "", version[120] = "";
    cl->clGetPlatformInfo(platform, CL_PLATFORM_NAME, sizeof name, name, NULL);
    cl->clGetPlatformInfo(platform, CL_PLATFORM_VERSION, sizeof version, version, NULL);
    snprintf(device->platform, sizeof device->platform, "%.63s %.119s", name, version);
    device->pocl = device->info.features & CDU_HAS_ONE_COMPILER;
    device->offsets = strstr(device->platform, "NVIDIA") || cdu_debug(CDU_DEBUG_OFFSETS);
    device->oclgrind = strstr(device->platform, "Oclgrind");
    device->sleeps = device->info.kind == CDU_CPU && !device->oclgrind;
    device->whole = device->sleeps && device->info.vector_width >= 8;
    bool card = device->info.kind != CDU_CPU && !strstr(device->info.vendor, "Intel") && !device->oclgrind;
    device->aligned = card || device->offsets;
    /* No -cl-mad-enable: the dialect's MAD is a fused multiply-add already, and EXACT_MUL and EXACT_ADD must stay exact. Denormals
     * are kept where the device keeps them. */
    cl_device_fp_config config = 0;
    cl->clGetDeviceInfo(device->id, CL_DEVICE_SINGLE_FP_CONFIG, sizeof config, &config, NULL);
    device->fuses = config & CL_FP_FMA;
    snprintf(device->options, sizeof device->options, "-cl-std=CL1.2%s",
             config & CL_FP_CORRECTLY_ROUNDED_DIVIDE_SQRT ? " -cl-fp32-correctly-rounded-divide-sqrt" : "");
    cl_int code;
    cl_context_properties properties[] = {CL_CONTEXT_PLATFORM, (cl_context_properties)platform, 0};
    device->context = cl->clCreateContext(properties, 1, &device->id, NULL, NULL, &code);
    if (!device->context) return CDU_CL_FAIL(error, device, code, "opening the device");
    device->queue = cl->clCreateCommandQueue(device->context, device->id, device->timed ? CL_QUEUE_PROFILING_ENABLE : 0, &code);
    if (!device->queue) return CDU_CL_FAIL(error, device, code, "making a queue");
    device->ticket_memory = cl->clCreateBuffer(device->context, CL_MEM_READ_WRITE, sizeof device->ticket_seen, NULL, &code);
    if (!device->ticket_memory) return CDU_CL_FAIL(error, device, code, "making a buffer for tickets");
    cdu_memory_take(&device->usage, sizeof device->ticket_seen);
    return CDU_OK;
}

static cdu_status open_device(uint32_t index, bool timed, cdu_device **out, cdu_error *error)
{
    const cdu_opencl_api *cl;
    CDU_TRY(cdu_opencl_load(&cl, error));
    cdu_opencl_place places[CDU_OPENCL_DEVICES];
    uint32_t count = cdu_opencl_places(cl, places);
    if (index >= count) return cdu_fail(error, CDU_NO_DEVICE, "there is no device opencl:%u; OpenCL has %u", index, count);
    cdu_device *device;
    CDU_TRY(cdu_allocate(&device, 1, sizeof *device, error));
    device->cl = cl;
    device->id = places[index].device;
    device->timed = timed;
    cdu_opencl_describe(cl, places[index], &device->info);
    cdu_status status = start(device, places[index].platform, error);
    if (status != CDU_OK)
        close_device(device);
    else
        *out = device;
    return status;
}

static cdu_status budget(cdu_device *device, uint64_t *free_bytes, cdu_error *error)
{
    (void)error;
    uint64_t taken = device->usage.now < device->info.memory ? device->usage.now : device->info.memory;
    *free_bytes = device->info.memory - taken;
    if (device->info.kind == CDU_DISCRETE) {
        size_t kilobytes[2] = {0, 0};
        if (cdu_opencl_extension(device->cl, device->id, "cl_amd_device_attribute_query") &&
            device->cl->clGetDeviceInfo(device->id, DEVICE_GLOBAL_FREE_MEMORY_AMD, sizeof kilobytes, kilobytes, NULL) ==
                CL_SUCCESS &&
            kilobytes[0])
            *free_bytes = (uint64_t)kilobytes[0] * 1024;
        else
            *free_bytes -= *free_bytes / 10; /* the driver does not say: leave room for the desktop */
        return CDU_OK;
    }
    uint64_t host = cdu_memory_free();
    if (host && host < *free_bytes) *free_bytes = host;
    return CDU_OK;
}

static cdu_memory_usage usage(const cdu_device *device)
{
    return device->usage;
}

static void buffer_destroy(cdu_buffer *buffer)
{
    if (!buffer) return;
    cdu_device *device = buffer->device;
    if (buffer->mapped) {
        device->cl->clEnqueueUnmapMemObject(buffer->mapped_by, buffer->memory, buffer->mapped, 0, NULL, NULL);
        device->cl->clFinish(device->queue);
    }
    if (buffer->memory) {
        device->cl->clReleaseMemObject(buffer->memory);
        cdu_memory_give(&device->usage, buffer->reserved);
    }
    free(buffer);
}

/* OpenCL may give memory only at the first touch: now is the time to hear that there is none. */
static cl_int clear(cdu_buffer *buffer)
{
    cdu_device *device = buffer->device;
    const cdu_opencl_api *cl = device->cl;
    static const unsigned char zeros[CDU_OPENCL_ZEROS];
    size_t piece = buffer->reserved % CDU_OPENCL_ZEROS ? 1 : CDU_OPENCL_ZEROS;
    cl_int code = cl->clEnqueueFillBuffer(device->queue, buffer->memory, zeros, piece, 0, buffer->reserved, 0, NULL, NULL);
    return code == CL_SUCCESS ? cl->clFinish(device->queue) : code;
}

static cdu_status buffer_create(cdu_device *device, uint64_t bytes, cdu_memory kind, cdu_buffer **out, cdu_error *error)
{
    const cdu_opencl_api *cl = device->cl;
    if (!bytes || bytes > device->info.largest_buffer)
        return cdu_fail(error, CDU_TRY_AGAIN, "%s: a buffer of %llu bytes was asked for; it takes 1 to %llu", device->info.name,
                        (unsigned long long)bytes, (unsigned long long)device->info.largest_buffer);
    cdu_buffer *buffer;
    CDU_TRY(cdu_allocate(&buffer, 1, sizeof *buffer, error));
    buffer->device = device;
    buffer->kind = kind;
    buffer->bytes = bytes;
    buffer->reserved = (bytes + CDU_OPENCL_ZEROS - 1) / CDU_OPENCL_ZEROS * CDU_OPENCL_ZEROS;
    if (buffer->reserved > device->info.largest_buffer) buffer->reserved = bytes;
    cl_int code;
    cl_mem_flags flags = CL_MEM_READ_WRITE | (kind == CDU_MEM_DEVICE ? 0 : CL_MEM_ALLOC_HOST_PTR);
    buffer->memory = cl->clCreateBuffer(device->context, flags, buffer->reserved, NULL, &code);
    if (!buffer->memory) {
        free(buffer);
        return CDU_CL_FAIL(error, device, code, "making a buffer");
    }
    cdu_memory_take(&device->usage, buffer->reserved);
    code = clear(buffer);
    if (code != CL_SUCCESS) {
        buffer_destroy(buffer);
        return CDU_CL_FAIL(error, device, code, "clearing a new buffer");
    }
    *out = buffer;
    return CDU_OK;
}

/* The queue is in order: in it a buffer would wait for work that does not concern it. */
static cl_command_queue mapping_queue(cdu_device *device)
{
    uint32_t slot = device->last % CDU_OPENCL_SLOTS;
    cl_int code;
    if (!device->ticket_event[slot] || device->ticket_of[slot] != device->last) return device->queue;
    if (!device->side) device->side = device->cl->clCreateCommandQueue(device->context, device->id, 0, &code);
    return device->side ? device->side : device->queue;
}

static cdu_status buffer_map(cdu_buffer *buffer, uint64_t offset, uint64_t bytes, uint32_t access, void **out, cdu_error *error)
{
    cdu_device *device = buffer->device;
    if (buffer->kind == CDU_MEM_DEVICE)
        return cdu_fail(error, CDU_FAILED, "%s: a buffer in device memory cannot be mapped", device->info.name);
    if (buffer->mapped) return cdu_fail(error, CDU_FAILED, "%s: a buffer is mapped twice", device->info.name);
    if (!bytes || offset > buffer->bytes || bytes > buffer->bytes - offset)
        return cdu_fail(error, CDU_FAILED, "%s: bytes %llu to %llu of a buffer of %llu bytes cannot be mapped", device->info.name,
                        (unsigned long long)offset, (unsigned long long)(offset + bytes), (unsigned long long)buffer->bytes);
    cl_map_flags flags = (access & CDU_READ ? CL_MAP_READ : 0) | (access & CDU_WRITE ? CL_MAP_WRITE : 0);
    cl_int code;
    buffer->mapped_by = mapping_queue(device);
    buffer->mapped =
        device->cl->clEnqueueMapBuffer(buffer->mapped_by, buffer->memory, CL_TRUE, flags, offset, bytes, 0, NULL, NULL, &code);
    if (!buffer->mapped || code != CL_SUCCESS) {
        buffer->mapped = NULL;
        return CDU_CL_FAIL(error, device, code, "mapping a buffer");
    }
    *out = buffer->mapped;
    return CDU_OK;
}

static cdu_status buffer_unmap(cdu_buffer *buffer, cdu_error *error)
{
    cdu_device *device = buffer->device;
    if (!buffer->mapped) return cdu_fail(error, CDU_FAILED, "%s: a buffer is unmapped that is not mapped", device->info.name);
    void *mapped = buffer->mapped;
    buffer->mapped = NULL;
    CDU_CL(device, device->cl->clEnqueueUnmapMemObject(buffer->mapped_by, buffer->memory, mapped, 0, NULL, NULL), error,
           "unmapping a buffer");
    if (buffer->mapped_by != device->queue) CDU_CL(device, device->cl->clFinish(buffer->mapped_by), error, "unmapping a buffer");
    return CDU_OK; /* the queue is in order: what comes next sees it */
}

extern const cdu_backend cdu_backend_opencl;
const cdu_backend cdu_backend_opencl = {
    .name = "opencl",
    .enumerate = enumerate,
    .open = open_device,
    .close = close_device,
    .budget = budget,
    .usage = usage,
    .buffer_create = buffer_create,
    .buffer_destroy = buffer_destroy,
    .buffer_map = buffer_map,
    .buffer_unmap = buffer_unmap,
    .kernel_create = cdu_opencl_kernel_create,
    .kernel_destroy = cdu_opencl_kernel_destroy,
    .list_create = cdu_opencl_list_create,
    .list_destroy = cdu_opencl_list_destroy,
    .submit = cdu_opencl_submit,
    .wait = cdu_opencl_wait,
    .times = cdu_opencl_times,
};
