/* main_lost_device.c: stands in for the OpenCL loader (CDUNET_LIBOPENCL), which it is linked with: a device that is lost after LOST_AFTER
 * kernels of a process. From then on every launch fails, as after a driver's reset. */
#define CL_TARGET_OPENCL_VERSION 120
#include <CL/cl.h>
#include <dlfcn.h>
#include <stdatomic.h>
#include <stdlib.h>

#define LOADER "libOpenCL.so.1"

static atomic_long launches;

typedef cl_int launch(cl_command_queue, cl_kernel, cl_uint, const size_t *, const size_t *, const size_t *, cl_uint, const cl_event *, cl_event *);

cl_int clEnqueueNDRangeKernel(cl_command_queue queue, cl_kernel kernel, cl_uint dimensions, const size_t *offset, const size_t *global,
                              const size_t *local, cl_uint waits, const cl_event *wait, cl_event *event)
{
    const char *after = getenv("LOST_AFTER");
    void *loader = dlopen(LOADER, RTLD_NOW | RTLD_NOLOAD);
    launch *real = NULL;
    if (loader) *(void **)&real = dlsym(loader, "clEnqueueNDRangeKernel");
    if (!real || (after && atomic_fetch_add(&launches, 1) >= atol(after))) return CL_OUT_OF_RESOURCES;
    return real(queue, kernel, dimensions, offset, global, local, waits, wait, event);
}
