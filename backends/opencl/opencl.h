/* opencl.h: inside the OpenCL backend: the runtime's functions, found at run time, and the objects. */
#ifndef CDU_BACKENDS_OPENCL_H
#define CDU_BACKENDS_OPENCL_H

#define CL_TARGET_OPENCL_VERSION 120
#include <CL/cl.h>

#include "backends/backend.h"

#define CDU_OPENCL_FUNCTIONS(X)                                                                                                    \
    X(clGetPlatformIDs) X(clGetPlatformInfo) X(clGetDeviceIDs) X(clGetDeviceInfo) X(clCreateContext) X(clReleaseContext)          \
    X(clCreateCommandQueue) X(clReleaseCommandQueue) X(clCreateBuffer) X(clCreateSubBuffer) X(clReleaseMemObject)                 \
    X(clCreateProgramWithSource) X(clCreateProgramWithBinary) X(clBuildProgram) X(clReleaseProgram) X(clGetProgramInfo)           \
    X(clGetProgramBuildInfo) X(clCreateKernel) X(clReleaseKernel) X(clGetKernelInfo) X(clGetKernelWorkGroupInfo)                  \
    X(clSetKernelArg) X(clEnqueueNDRangeKernel) X(clEnqueueCopyBuffer) X(clEnqueueFillBuffer) X(clEnqueueReadBuffer)              \
    X(clEnqueueWriteBuffer) X(clEnqueueMapBuffer) X(clEnqueueUnmapMemObject) X(clFlush) X(clFinish) X(clGetEventInfo)             \
    X(clWaitForEvents) X(clGetEventProfilingInfo) X(clReleaseEvent)

typedef struct {
#define CDU_OPENCL_MEMBER(name) __typeof__(name) *name;
    CDU_OPENCL_FUNCTIONS(CDU_OPENCL_MEMBER)
#undef CDU_OPENCL_MEMBER
} cdu_opencl_api;

/* Tickets in flight at once; one more waits for the oldest. */
enum { CDU_OPENCL_SLOTS = 64, CDU_OPENCL_ZEROS = 128 };

struct cdu_device {
    const cdu_opencl_api *cl;
    cl_device_id id;
    cl_context context;
    cl_command_queue queue;                     /* in order: barrier bits ask for nothing more */
    cl_command_queue side;                      /* made at the first need: maps what nothing uses while the other one works */
    cdu_device_info info;
    bool timed;
    bool oclgrind;                              /* its compiler takes one kernel at a time */
    bool offsets;                               /* kernels get whole buffers and where their part begins: list.c */
    bool aligned;                               /* vectors are loaded as such: shaders/prelude.opencl.h */
    bool pocl;                                  /* keeps compiled kernels itself */
    bool whole;                                 /* wide vectors are loaded as they are, not by vload */
    bool fuses;                                 /* fma is one instruction */
    bool sleeps;                                /* a thread that waits in there costs the device nothing; Intel's for CPUs computes with it */
    char options[128], platform[192];           /* platform: name and version, for the cache's key */
    cdu_memory_usage usage;
    cdu_ticket last;
    cl_mem ticket_memory;                       /* one word of 8 bytes a slot, written by the last command of a submission ... */
    uint64_t ticket_seen[CDU_OPENCL_SLOTS];     /* ... and copied here */
    cl_event ticket_event[CDU_OPENCL_SLOTS];
    cdu_ticket ticket_of[CDU_OPENCL_SLOTS];
    char lost[96];                              /* why, once the device is lost */
};

struct cdu_buffer {
    cdu_device *device;
    cl_mem memory;
    uint64_t bytes;                             /* as asked for */
    uint64_t reserved;
    cdu_memory kind;
    void *mapped;
    cl_command_queue mapped_by;
};

struct cdu_kernel {
    cdu_device *device;
    cl_program program;
    char name[64];
    uint32_t bindings, params;
    size_t group[3];
};

/* The runtime's functions. CDU_NO_DEVICE where the loader is missing. Threads: any. */
cdu_status cdu_opencl_load(const cdu_opencl_api **out, cdu_error *error);
/* Words for an OpenCL error: `what` failed on this device. Lost device and out of memory become CDU_TRY_AGAIN. */
cdu_status cdu_opencl_fail(cdu_error *error, const char *where, const char *device, cl_int code, const char *what);
#define CDU_CL_FAIL(error, device, code, what)                                                                                    \
    cdu_opencl_fail((error), __FILE__ ":" CDU_STRING(__LINE__), (device)->info.name, (code), (what))
/* Returns from the caller where an OpenCL call failed. */
#define CDU_CL(device, call, error, what)                                                                                         \
    do {                                                                                                                          \
        cl_int cdu_cl_code_ = (call);                                                                                             \
        if (cdu_cl_code_ != CL_SUCCESS) return CDU_CL_FAIL(error, device, cdu_cl_code_, what);                                    \
    } while (0)

/* info.c: device number `index` over all platforms; `out` may be null. Returns false where there is none. */
typedef struct { cl_platform_id platform; cl_device_id device; } cdu_opencl_place;
enum { CDU_OPENCL_DEVICES = 64 };
uint32_t cdu_opencl_places(const cdu_opencl_api *cl, cdu_opencl_place out[CDU_OPENCL_DEVICES]);
void cdu_opencl_describe(const cdu_opencl_api *cl, cdu_opencl_place place, cdu_device_info *out);
void cdu_opencl_text(const cdu_opencl_api *cl, cl_device_id device, cl_device_info what, char *out, size_t size);
bool cdu_opencl_extension(const cdu_opencl_api *cl, cl_device_id device, const char *name);

/* kernel.c */
cdu_status cdu_opencl_kernel_create(cdu_device *, const char *source, const char *name, const char *defines, uint32_t bindings,
                                    uint32_t params, uint32_t subgroup, cdu_kernel **, cdu_kernel_stats *, cdu_error *);
void cdu_opencl_kernel_destroy(cdu_kernel *);

/* list.c */
cdu_status cdu_opencl_list_create(cdu_device *, const cdu_step *, uint32_t count, cdu_buffer *patch, cdu_list **, cdu_error *);
void cdu_opencl_list_destroy(cdu_list *);
cdu_status cdu_opencl_submit(cdu_list *, uint32_t segment, cdu_lane, const void *patch_data, uint32_t bytes, cdu_ticket *,
                             cdu_error *);
cdu_status cdu_opencl_wait(cdu_device *, cdu_ticket, uint64_t timeout_ns, cdu_progress *, cdu_error *);
cdu_status cdu_opencl_times(cdu_list *, uint32_t segment, uint64_t *ns_of_each_step, cdu_error *);

#endif
