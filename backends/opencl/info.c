/* info.c: the OpenCL loader, its platforms and devices, and what they say about themselves. */
#define _GNU_SOURCE
#include "backends/opencl/opencl.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/host.h"

/* From extension headers that not every Debian has. */
#define DEVICE_UUID_KHR 0x106A
#define DEVICE_PCI_BUS_INFO_KHR 0x410F
#define DEVICE_TOPOLOGY_AMD 0x4037
#define DEVICE_PCI_BUS_ID_NV 0x4008
#define DEVICE_PCI_SLOT_ID_NV 0x4009
#define DEVICE_PCI_DOMAIN_ID_NV 0x400A
#define DEVICE_SUB_GROUP_SIZES_INTEL 0x4108

static pthread_once_t once = PTHREAD_ONCE_INIT;
static cdu_opencl_api functions;
static cdu_error load_error;

static void load(void)
{
    static const char *const names[] = {"libOpenCL.so.1", "libOpenCL.so", "libOpenCL.dylib", NULL};
    void *library = RTLD_DEFAULT;
    /* checkers such as Oclgrind preload a runtime of their own */
    bool preloaded = !getenv("CDUNET_LIBOPENCL") && dlsym(RTLD_DEFAULT, "clGetPlatformIDs");
    if (!preloaded && cdu_library_open(names, "CDUNET_LIBOPENCL",
                                       "install an OpenCL loader (Debian: ocl-icd-libopencl1) and a driver, or use Vulkan",
                                       &library, &load_error) != CDU_OK)
        return;
#define CDU_OPENCL_FIND(name)                                                                                                      \
    *(void **)&functions.name = dlsym(library, #name);                                                                             \
    if (!functions.name) {                                                                                                         \
        cdu_fail(&load_error, CDU_NO_DEVICE, "the OpenCL loader has no %s: it is older than OpenCL 1.2", #name);                   \
        return;                                                                                                                    \
    }
    CDU_OPENCL_FUNCTIONS(CDU_OPENCL_FIND)
#undef CDU_OPENCL_FIND
}

cdu_status cdu_opencl_load(const cdu_opencl_api **out, cdu_error *error)
{
    pthread_once(&once, load);
    *out = &functions;
    if (load_error.status != CDU_OK && error) *error = load_error;
    return load_error.status;
}

cdu_status cdu_opencl_fail(cdu_error *error, const char *where, const char *device, cl_int code, const char *what)
{
    switch (code) {
    case CL_MEM_OBJECT_ALLOCATION_FAILURE:
    case CL_OUT_OF_HOST_MEMORY:
        return cdu_error_set(error, CDU_TRY_AGAIN, where,
                             "%s: %s: out of memory (OpenCL error %d); use a smaller batch or tile, or free memory", device, what,
                             code);
    case CL_OUT_OF_RESOURCES:
    case CL_INVALID_COMMAND_QUEUE:
    case -9999:
        return cdu_error_set(error, CDU_TRY_AGAIN, where,
                             "%s: %s: the device is lost or out of resources (OpenCL error %d); run again", device, what, code);
    default: return cdu_error_set(error, CDU_FAILED, where, "%s: %s: OpenCL error %d", device, what, code);
    }
}

static bool usable(const cdu_opencl_api *cl, cl_device_id device)
{
    cl_bool available = CL_FALSE, compiler = CL_FALSE;
    cl->clGetDeviceInfo(device, CL_DEVICE_AVAILABLE, sizeof available, &available, NULL);
    cl->clGetDeviceInfo(device, CL_DEVICE_COMPILER_AVAILABLE, sizeof compiler, &compiler, NULL);
    return available && compiler;
}

uint32_t cdu_opencl_places(const cdu_opencl_api *cl, cdu_opencl_place out[CDU_OPENCL_DEVICES])
{
    cl_platform_id platforms[CDU_OPENCL_DEVICES];
    cl_uint platform_count = 0;
    uint32_t count = 0;
    if (cl->clGetPlatformIDs(CDU_OPENCL_DEVICES, platforms, &platform_count) != CL_SUCCESS) return 0; /* a loader without drivers */
    if (platform_count > CDU_OPENCL_DEVICES) platform_count = CDU_OPENCL_DEVICES;
    for (cl_uint p = 0; p < platform_count; p++) {
        cl_device_id devices[CDU_OPENCL_DEVICES];
        cl_uint device_count = 0;
        if (cl->clGetDeviceIDs(platforms[p], CL_DEVICE_TYPE_ALL, CDU_OPENCL_DEVICES, devices, &device_count) != CL_SUCCESS)
            continue;
        if (device_count > CDU_OPENCL_DEVICES) device_count = CDU_OPENCL_DEVICES;
        for (cl_uint d = 0; d < device_count && count < CDU_OPENCL_DEVICES; d++)
            if (usable(cl, devices[d])) out[count++] = (cdu_opencl_place){platforms[p], devices[d]};
    }
    return count;
}

void cdu_opencl_text(const cdu_opencl_api *cl, cl_device_id device, cl_device_info what, char *out, size_t size)
{
    char whole[1024] = "";
    size_t length = 0;
    out[0] = 0;
    if (cl->clGetDeviceInfo(device, what, sizeof whole, whole, &length) != CL_SUCCESS) return;
    whole[sizeof whole - 1] = 0;
    const char *from = whole + strspn(whole, " "); /* Intel pads names in front */
    snprintf(out, size, "%.*s", (int)(size - 1), from);
}

bool cdu_opencl_extension(const cdu_opencl_api *cl, cl_device_id device, const char *name)
{
    char list[16384] = "";
    if (cl->clGetDeviceInfo(device, CL_DEVICE_EXTENSIONS, sizeof list - 1, list, NULL) != CL_SUCCESS) return false;
    size_t length = strlen(name);
    for (const char *at = list; (at = strstr(at, name)); at += length)
        if ((at == list || at[-1] == ' ') && (at[length] == ' ' || !at[length])) return true;
    return false;
}

/* The PCI address where any extension tells it, as Vulkan does; else the UUID; else nothing. */
static void identify(const cdu_opencl_api *cl, cl_device_id device, cdu_device_info *out)
{
    struct {
        cl_uint domain, bus, device, function;
    } pci;
    struct {
        cl_uint type;
        cl_uchar unused[17], bus, device, function;
    } amd;
    cl_uint bus, slot, domain = 0;
    cl_uchar uuid[16];
    if (cdu_opencl_extension(cl, device, "cl_khr_pci_bus_info") &&
        cl->clGetDeviceInfo(device, DEVICE_PCI_BUS_INFO_KHR, sizeof pci, &pci, NULL) == CL_SUCCESS) {
        snprintf(out->uuid, sizeof out->uuid, "pci %04x:%02x:%02x.%x", pci.domain, pci.bus, pci.device, pci.function);
    } else if (cdu_opencl_extension(cl, device, "cl_amd_device_attribute_query") &&
               cl->clGetDeviceInfo(device, DEVICE_TOPOLOGY_AMD, sizeof amd, &amd, NULL) == CL_SUCCESS && amd.type == 1) {
        snprintf(out->uuid, sizeof out->uuid, "pci %04x:%02x:%02x.%x", 0, amd.bus, amd.device, amd.function);
    } else if (cdu_opencl_extension(cl, device, "cl_nv_device_attribute_query") &&
               cl->clGetDeviceInfo(device, DEVICE_PCI_BUS_ID_NV, sizeof bus, &bus, NULL) == CL_SUCCESS &&
               cl->clGetDeviceInfo(device, DEVICE_PCI_SLOT_ID_NV, sizeof slot, &slot, NULL) == CL_SUCCESS) {
        cl->clGetDeviceInfo(device, DEVICE_PCI_DOMAIN_ID_NV, sizeof domain, &domain, NULL);
        snprintf(out->uuid, sizeof out->uuid, "pci %04x:%02x:%02x.%x", domain, bus, slot >> 3, slot & 7);
    } else if (cdu_opencl_extension(cl, device, "cl_khr_device_uuid") &&
               cl->clGetDeviceInfo(device, DEVICE_UUID_KHR, sizeof uuid, uuid, NULL) == CL_SUCCESS) {
        for (int i = 0; i < 16; i++) snprintf(out->uuid + 2 * i, 3, "%02x", uuid[i]);
    }
}

/* Floats in a CPU's vector register. A runtime that does not say is asked by its device's name. CDUNET_VECTOR_WIDTH overrules both, so
 * that one machine can test the kernels of another. */
static uint32_t cpu_vector_width(const cdu_opencl_api *cl, cl_device_id device, const char *name)
{
    cl_uint native = 0;
    const char *forced = getenv("CDUNET_VECTOR_WIDTH");
    if (forced && (!strcmp(forced, "4") || !strcmp(forced, "8") || !strcmp(forced, "16"))) return (uint32_t)atoi(forced);
    cl->clGetDeviceInfo(device, CL_DEVICE_NATIVE_VECTOR_WIDTH_FLOAT, sizeof native, &native, NULL);
    if (native >= 16) return 16;
    if (native == 8) return 8;
    if (strstr(name, "avx512")) return 16;
    if (strstr(name, "haswell") || strstr(name, "znver") || strstr(name, "broadwell") || strstr(name, "skylake")) return 8;
    return 4;
}

static uint64_t number(const cdu_opencl_api *cl, cl_device_id device, cl_device_info what)
{
    cl_ulong value = 0; /* smaller answers fill the low bytes; little endian is assumed, as everywhere here */
    cl->clGetDeviceInfo(device, what, sizeof value, &value, NULL);
    return value;
}

static void describe_limits(const cdu_opencl_api *cl, cl_device_id device, cdu_device_info *out)
{
    out->memory = number(cl, device, CL_DEVICE_GLOBAL_MEM_SIZE);
    out->largest_buffer = number(cl, device, CL_DEVICE_MAX_MEM_ALLOC_SIZE);
    uint64_t four_gigabytes = (uint64_t)4 << 30;
    /* garbage was reported above 4 GiB on Intel's GPUs, whatever the driver says */
    if (out->kind != CDU_CPU && strstr(out->vendor, "Intel") && out->largest_buffer > four_gigabytes)
        out->largest_buffer = four_gigabytes;
    out->largest_binding = out->largest_buffer;
    uint32_t align = (uint32_t)(number(cl, device, CL_DEVICE_MEM_BASE_ADDR_ALIGN) / 8);
    out->binding_align = align > 256 ? align : 256;
    size_t items[16] = {1, 1, 1}, group = 0;
    cl->clGetDeviceInfo(device, CL_DEVICE_MAX_WORK_GROUP_SIZE, sizeof group, &group, NULL);
    cl->clGetDeviceInfo(device, CL_DEVICE_MAX_WORK_ITEM_SIZES, sizeof items, items, NULL);
    out->group_items = (uint32_t)group;
    for (int i = 0; i < 3; i++) {
        out->group_size[i] = (uint32_t)items[i];
        out->group_count[i] = i ? 65535 : INT32_MAX; /* OpenCL has no limit; the hardware below it does */
    }
    out->local_bytes = (uint32_t)number(cl, device, CL_DEVICE_LOCAL_MEM_SIZE);
    out->compute_units = (uint32_t)number(cl, device, CL_DEVICE_MAX_COMPUTE_UNITS);
}

/* The sizes among which a kernel may choose; a driver that does not tell them gets no choice. */
static void describe_subgroups(const cdu_opencl_api *cl, cl_device_id device, cdu_device_info *out)
{
    size_t sizes[8], bytes = 0;
    if (!cdu_opencl_extension(cl, device, "cl_intel_required_subgroup_size") ||
        cl->clGetDeviceInfo(device, DEVICE_SUB_GROUP_SIZES_INTEL, sizeof sizes, sizes, &bytes) != CL_SUCCESS || bytes < sizeof *sizes)
        return;
    out->features |= CDU_HAS_SUBGROUP_SIZE;
    out->subgroup_min = UINT32_MAX;
    for (size_t i = 0; i < bytes / sizeof *sizes; i++) {
        if (sizes[i] < out->subgroup_min) out->subgroup_min = (uint32_t)sizes[i];
        if (sizes[i] > out->subgroup_max) out->subgroup_max = (uint32_t)sizes[i];
    }
}

void cdu_opencl_describe(const cdu_opencl_api *cl, cdu_opencl_place place, cdu_device_info *out)
{
    *out = (cdu_device_info){0};
    char platform[64] = "", version[56];
    cdu_opencl_text(cl, place.device, CL_DEVICE_NAME, out->name, sizeof out->name);
    cdu_opencl_text(cl, place.device, CL_DEVICE_VENDOR, out->vendor, sizeof out->vendor);
    cdu_opencl_text(cl, place.device, CL_DRIVER_VERSION, version, sizeof version);
    if (cl->clGetPlatformInfo(place.platform, CL_PLATFORM_NAME, sizeof platform, platform, NULL) != CL_SUCCESS)
        snprintf(platform, sizeof platform, "OpenCL");
    platform[sizeof platform - 1] = 0;
    snprintf(out->driver, sizeof out->driver, "%s %s", platform, version);
    cl_device_type type = (cl_device_type)number(cl, place.device, CL_DEVICE_TYPE);
    cl_bool unified = CL_FALSE;
    cl->clGetDeviceInfo(place.device, CL_DEVICE_HOST_UNIFIED_MEMORY, sizeof unified, &unified, NULL);
    out->kind = type & CL_DEVICE_TYPE_CPU ? CDU_CPU : unified ? CDU_INTEGRATED : CDU_DISCRETE;
    /* software that calls itself a GPU must not be taken for one */
    if (strstr(out->name, "llvmpipe") || strstr(out->name, "softpipe")) out->kind = CDU_CPU;
    out->unified = unified || out->kind == CDU_CPU;
    describe_limits(cl, place.device, out);
    if (cdu_opencl_extension(cl, place.device, "cl_khr_fp16")) out->features |= CDU_HAS_F16;
    describe_subgroups(cl, place.device, out);
    if (strstr(platform, "Portable Computing Language")) out->features |= CDU_HAS_ONE_COMPILER;
    bool wide = out->kind == CDU_CPU && !strstr(out->name, "llvmpipe");
    out->vector_width = wide ? cpu_vector_width(cl, place.device, out->name) : 4;
    out->segment_ms = out->kind == CDU_CPU ? 0 : 100;
    identify(cl, place.device, out);
}
