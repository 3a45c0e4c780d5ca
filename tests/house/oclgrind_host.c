/* oclgrind_host.c: between a program and Oclgrind's runtime. Oclgrind's notes of what is initialized (--uninitialized) go wrong where the host
 * touches a part of a buffer: its plugin makes the notes of the whole buffer anew, as large as the part, and takes the rest for uninitialized
 * (Uninitialized::allocAndStoreShadowMemory; seen in 21.10 and 26.03). Here fills and copies of a part become writes of the whole buffer, and maps
 * read as well as write, which leaves the notes alone. All that the host wrote once counts as initialized, as our buffers are: they are
 * cleared when they are made.
 *
 * Built and opened by oclgrind.sh; linked with the runtime, so that whoever opens this finds the other functions too. */
#define _GNU_SOURCE
#define CL_TARGET_OPENCL_VERSION 120
#include <CL/cl.h>
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

static void *next(const char *name)
{
    void *function = dlsym(RTLD_NEXT, name);
    if (!function) abort();
    return function;
}
#define NEXT(name) ((__typeof__(&name))next(#name))

/* The buffer that `memory` is a part of, its bytes, and where the part begins. */
static cl_mem whole(cl_mem memory, size_t *bytes, size_t *offset)
{
    cl_mem parent = NULL;
    *offset = 0;
    clGetMemObjectInfo(memory, CL_MEM_ASSOCIATED_MEMOBJECT, sizeof parent, &parent, NULL);
    if (parent) clGetMemObjectInfo(memory, CL_MEM_OFFSET, sizeof *offset, offset, NULL);
    clGetMemObjectInfo(parent ? parent : memory, CL_MEM_SIZE, sizeof *bytes, bytes, NULL);
    return parent ? parent : memory;
}

/* Writes `bytes` of `from`, repeated every `period` bytes, to `at` of the part, with all else as it was. */
static cl_int write(cl_command_queue queue, cl_mem memory, const unsigned char *from, size_t period, size_t at, size_t bytes)
{
    size_t size, offset;
    cl_mem buffer = whole(memory, &size, &offset);
    if (bytes > size || at + offset > size - bytes) return CL_INVALID_VALUE;
    unsigned char *all = malloc(size);
    if (!all) return CL_OUT_OF_HOST_MEMORY;
    cl_int code = NEXT(clEnqueueReadBuffer)(queue, buffer, CL_TRUE, 0, size, all, 0, NULL, NULL);
    for (size_t i = 0; i < bytes; i += period) memcpy(all + offset + at + i, from, period);
    if (code == CL_SUCCESS) code = NEXT(clEnqueueWriteBuffer)(queue, buffer, CL_TRUE, 0, size, all, 0, NULL, NULL);
    free(all);
    return code;
}

/* The event of a command that has been done: that of a marker. */
static cl_int done(cl_command_queue queue, cl_int code, cl_event *event)
{
    return code == CL_SUCCESS && event ? NEXT(clEnqueueMarkerWithWaitList)(queue, 0, NULL, event) : code;
}

cl_int clEnqueueFillBuffer(cl_command_queue queue, cl_mem memory, const void *pattern, size_t period, size_t at, size_t bytes, cl_uint waits,
                           const cl_event *wait, cl_event *event)
{
    if (!period || bytes % period || at % period) return CL_INVALID_VALUE;
    if (waits) clWaitForEvents(waits, wait);
    return done(queue, write(queue, memory, pattern, period, at, bytes), event);
}

cl_int clEnqueueWriteBuffer(cl_command_queue queue, cl_mem memory, cl_bool blocking, size_t at, size_t bytes, const void *from, cl_uint waits,
                            const cl_event *wait, cl_event *event)
{
    (void)blocking;
    if (!bytes) return CL_INVALID_VALUE;
    if (waits) clWaitForEvents(waits, wait);
    return done(queue, write(queue, memory, from, bytes, at, bytes), event);
}

cl_int clEnqueueCopyBuffer(cl_command_queue queue, cl_mem from, cl_mem to, size_t from_at, size_t to_at, size_t bytes, cl_uint waits,
                           const cl_event *wait, cl_event *event)
{
    if (!bytes) return CL_INVALID_VALUE;
    if (waits) clWaitForEvents(waits, wait);
    unsigned char *part = malloc(bytes);
    if (!part) return CL_OUT_OF_HOST_MEMORY;
    cl_int code = NEXT(clEnqueueReadBuffer)(queue, from, CL_TRUE, from_at, bytes, part, 0, NULL, NULL);
    if (code == CL_SUCCESS) code = write(queue, to, part, bytes, to_at, bytes);
    free(part);
    return done(queue, code, event);
}

void *clEnqueueMapBuffer(cl_command_queue queue, cl_mem memory, cl_bool blocking, cl_map_flags flags, size_t at, size_t bytes, cl_uint waits,
                         const cl_event *wait, cl_event *event, cl_int *code)
{
    return NEXT(clEnqueueMapBuffer)(queue, memory, blocking, flags | CL_MAP_READ, at, bytes, waits, wait, event, code);
}
