/* kernel.c: from a kernel's text to a built OpenCL program, through the cache on disk. */
#include "backends/opencl/opencl.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/cache.h"
#include "backends/source.h"
#include "cdunet/log.h"
#include "core/base/memory.h"

#define KERNEL_SPILL_MEM_SIZE_INTEL 0x4109

static cdu_cache_key key_of(const cdu_device *device, const char *source)
{
    char group[32], width[16];
    snprintf(group, sizeof group, "%u", device->info.group_items);
    snprintf(width, sizeof width, "%u", device->info.vector_width);
    const char *parts[] = {
        "opencl", source, device->options, device->info.name, device->info.vendor, device->info.driver, device->platform,
        group,    width};
    return cdu_cache_key_of(parts, sizeof parts / sizeof parts[0]);
}

static bool load_binary(cdu_device *device, cdu_cache_key key, cl_program *out)
{
    const cdu_opencl_api *cl = device->cl;
    void *bytes;
    size_t size;
    if (!cdu_cache_load("opencl", key, &bytes, &size)) return false;
    cl_int code, loaded = CL_SUCCESS;
    cl_program program =
        cl->clCreateProgramWithBinary(device->context, 1, &device->id, &size, (const unsigned char **)&bytes, &loaded, &code);
    free(bytes);
    if (!program) return false;
    if (code != CL_SUCCESS || loaded != CL_SUCCESS ||
        cl->clBuildProgram(program, 1, &device->id, device->options, NULL, NULL) != CL_SUCCESS) {
        cl->clReleaseProgram(program);
        return false;
    }
    *out = program;
    return true;
}

static void store_binary(cdu_device *device, cdu_cache_key key, cl_program program)
{
    const cdu_opencl_api *cl = device->cl;
    size_t size = 0;
    unsigned char *bytes;
    if (cl->clGetProgramInfo(program, CL_PROGRAM_BINARY_SIZES, sizeof size, &size, NULL) != CL_SUCCESS || !size) return;
    if (cdu_allocate(&bytes, size, 1, NULL) != CDU_OK) return;
    if (cl->clGetProgramInfo(program, CL_PROGRAM_BINARIES, sizeof bytes, &bytes, NULL) == CL_SUCCESS)
        cdu_cache_store("opencl", key, bytes, size);
    free(bytes);
}

static cdu_status build_failed(cdu_device *device, cl_program program, const char *name, cl_int code, cdu_error *error)
{
    const cdu_opencl_api *cl = device->cl;
    size_t size = 0;
    char *log = NULL, excerpt[CDU_LOG_EXCERPT] = "";
    cl->clGetProgramBuildInfo(program, device->id, CL_PROGRAM_BUILD_LOG, 0, NULL, &size);
    if (size && cdu_allocate(&log, size + 1, 1, NULL) == CDU_OK &&
        cl->clGetProgramBuildInfo(program, device->id, CL_PROGRAM_BUILD_LOG, size, log, NULL) == CL_SUCCESS) {
        cdu_source_excerpt(excerpt, log);
        cdu_log(CDU_LOG_DEBUG, "%s", log);
    }
    free(log);
    if (code == CL_OUT_OF_HOST_MEMORY || code == CL_OUT_OF_RESOURCES) return CDU_CL_FAIL(error, device, code, "compiling a kernel");
    return cdu_fail(error, CDU_NO_DEVICE, "kernel %s does not compile on %s (OpenCL error %d): %s", name, device->info.name, code,
                    excerpt[0] ? excerpt : "the driver gives no reason");
}

/* Oclgrind's compiler crashes when used from two threads. */
static pthread_mutex_t oclgrind = PTHREAD_MUTEX_INITIALIZER;

/* PoCL has Clang read its header of all built-in functions, 0.9 MB, for each program, even to look it up in its cache: half of a start from warm caches. The header's
 * guard keeps it out; the prelude then declares what the dialect uses. */
static cl_int compile(cdu_device *device, cl_program program, const char *name)
{
    const cdu_opencl_api *cl = device->cl;
    if (device->pocl) {
        char brief[192];
        snprintf(brief, sizeof brief, "%s -D_OPENCL_H_ -DDECLARED=1", device->options);
        if (cl->clBuildProgram(program, 1, &device->id, brief, NULL, NULL) == CL_SUCCESS) return CL_SUCCESS;
    }
    cl_int code = cl->clBuildProgram(program, 1, &device->id, device->options, NULL, NULL);
    if (device->pocl && code == CL_SUCCESS)
        cdu_log(CDU_LOG_WARNING, "kernel %s: %s compiles it with its own header of built-in functions alone, which takes longer", name, device->platform);
    return code;
}

static cdu_status build(cdu_device *device, const char *source, const char *name, cl_program *out, cdu_error *error)
{
    const cdu_opencl_api *cl = device->cl;
    cdu_cache_key key = key_of(device, source);
    /* asked for a binary, PoCL compiles all again for work-groups of any size; it keeps what it compiles for the real size itself */
    if (!device->pocl && load_binary(device, key, out)) return CDU_OK;
    cl_int code;
    cl_program program = cl->clCreateProgramWithSource(device->context, 1, &source, NULL, &code);
    if (!program) return CDU_CL_FAIL(error, device, code, "taking a kernel's source");
    /* PoCL 3.1 removes what another process has just compiled and then writes its own; who looks meanwhile fails, or ends */
    int lock = device->pocl ? cdu_cache_lock(key) : -1;
    code = compile(device, program, name);
    cdu_cache_unlock(lock);
    if (code != CL_SUCCESS) {
        cdu_status status = build_failed(device, program, name, code, error);
        cl->clReleaseProgram(program);
        return status;
    }
    if (!device->pocl) store_binary(device, key, program);
    *out = program;
    return CDU_OK;
}

/* Checks the kernel's arguments against what the caller says, and asks for its statistics. */
static cdu_status inspect(cdu_kernel *kernel, cdu_kernel_stats *stats, cdu_error *error)
{
    cdu_device *device = kernel->device;
    const cdu_opencl_api *cl = device->cl;
    cl_int code;
    cl_kernel one = cl->clCreateKernel(kernel->program, kernel->name, &code);
    if (!one) {
        if (code == CL_INVALID_KERNEL_NAME) return cdu_fail(error, CDU_NO_DEVICE, "kernel %s is not in its source", kernel->name);
        return CDU_CL_FAIL(error, device, code, "making a kernel");
    }
    cl_uint arguments = 0;
    cl_ulong local = 0, spill = 0;
    size_t multiple = 0, items = 0;
    cl->clGetKernelInfo(one, CL_KERNEL_NUM_ARGS, sizeof arguments, &arguments, NULL);
    cl->clGetKernelWorkGroupInfo(one, device->id, CL_KERNEL_LOCAL_MEM_SIZE, sizeof local, &local, NULL);
    cl->clGetKernelWorkGroupInfo(one, device->id, CL_KERNEL_WORK_GROUP_SIZE, sizeof items, &items, NULL);
    cl->clGetKernelWorkGroupInfo(one, device->id, CL_KERNEL_PREFERRED_WORK_GROUP_SIZE_MULTIPLE, sizeof multiple, &multiple, NULL);
    if (strstr(device->info.vendor, "Intel") && device->info.kind != CDU_CPU)
        cl->clGetKernelWorkGroupInfo(one, device->id, KERNEL_SPILL_MEM_SIZE_INTEL, sizeof spill, &spill, NULL);
    cl->clReleaseKernel(one);
    if (stats)
        *stats = (cdu_kernel_stats){.local_bytes = (uint32_t)local, .subgroup = (uint32_t)multiple, .spill_bytes = (uint32_t)spill};
    cl_uint a_buffer = device->offsets ? 2 : 1;
    if (arguments != a_buffer * kernel->bindings + 1)
        return cdu_fail(error, CDU_FAILED, "kernel %s has %u buffers; the step says %u", kernel->name,
                        arguments ? (arguments - 1) / a_buffer : 0, kernel->bindings);
    size_t group = kernel->group[0] * kernel->group[1] * kernel->group[2];
    if (items && group > items)
        return cdu_fail(error, CDU_NO_DEVICE, "kernel %s: groups of %zu items; %s runs it with at most %zu", kernel->name, group,
                        device->info.name, items);
    if (local > device->info.local_bytes)
        return cdu_fail(error, CDU_NO_DEVICE, "kernel %s: %llu bytes of local memory; %s has %u", kernel->name,
                        (unsigned long long)local, device->info.name, device->info.local_bytes);
    return CDU_OK;
}

cdu_status cdu_opencl_kernel_create(cdu_device *device, const char *source, const char *name, const char *defines,
                                    uint32_t bindings, uint32_t params, uint32_t subgroup, cdu_kernel **out,
                                    cdu_kernel_stats *stats, cdu_error *error)
{
    uint32_t group[3];
    CDU_TRY(cdu_source_group(defines, name, group, error));
    if (bindings > CDU_BINDINGS || !params || params > CDU_PARAM_WORDS)
        return cdu_fail(error, CDU_FAILED, "kernel %s: %u buffers and %u parameters; at most %d, and 1 to %d", name, bindings,
                        params, CDU_BINDINGS, CDU_PARAM_WORDS);
    char all[512], pinned[24] = "", *text;
    if (subgroup) CDU_TRY(cdu_source_subgroup(&device->info, name, device->info.features & CDU_HAS_SUBGROUP_SIZE, subgroup, error));
    if (subgroup) snprintf(pinned, sizeof pinned, " PINNED=%u", subgroup);
    int length = snprintf(all, sizeof all, "%s%s%s%s%s%s", defines, pinned, device->offsets ? " OFFSETS=1" : "",
                          device->aligned ? " ALIGNED=1" : "", device->whole ? " WHOLE=1" : "", device->fuses ? "" : " UNFUSED=1");
    if (length >= (int)sizeof all)
        return cdu_fail(error, CDU_FAILED, "kernel %s: its defines are too long", name);
    CDU_TRY(cdu_source_assemble("", "prelude.opencl.h", all, name, source, &text, error));
    cdu_kernel *kernel;
    cdu_status status = cdu_allocate(&kernel, 1, sizeof *kernel, error);
    if (status == CDU_OK) {
        kernel->device = device;
        kernel->bindings = bindings;
        kernel->params = params;
        for (int i = 0; i < 3; i++) kernel->group[i] = group[i];
        snprintf(kernel->name, sizeof kernel->name, "%s", name);
        if (device->oclgrind) pthread_mutex_lock(&oclgrind);
        status = build(device, text, name, &kernel->program, error);
        if (device->oclgrind) pthread_mutex_unlock(&oclgrind);
        if (status == CDU_OK) status = inspect(kernel, stats, error);
        if (status == CDU_OK)
            *out = kernel;
        else
            cdu_opencl_kernel_destroy(kernel);
    }
    free(text);
    return status;
}

void cdu_opencl_kernel_destroy(cdu_kernel *kernel)
{
    if (!kernel) return;
    if (kernel->program) kernel->device->cl->clReleaseProgram(kernel->program);
    free(kernel);
}
