/* backend.h: all that core asks of a runtime. A backend knows buffers, kernels and lists of steps; no operators, shapes or
 * models. Threads: kernel_create may run on several threads at once; everything else on the thread that opened the device.
 * Order: segments submitted to one lane run in order, each sees all writes of those before it; across lanes the host waits
 * first. */
#ifndef CDU_BACKENDS_BACKEND_H
#define CDU_BACKENDS_BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cdunet/device.h"
#include "cdunet/error.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { CDU_BINDINGS = 8, CDU_PARAM_WORDS = 32, CDU_PATCH_BYTES = 256, CDU_DEFINES_LIMIT = 320 };

typedef struct cdu_device cdu_device;
typedef struct cdu_buffer cdu_buffer;
typedef struct cdu_kernel cdu_kernel;
typedef struct cdu_list cdu_list;
typedef uint64_t cdu_ticket;                                /* rises by one a submit; 0 is none */

typedef enum { CDU_MEM_DEVICE, CDU_MEM_UPLOAD, CDU_MEM_READBACK, CDU_MEM_SHARED } cdu_memory; /* SHARED: only if unified */
typedef enum { CDU_STEP_KERNEL, CDU_STEP_COPY, CDU_STEP_FILL } cdu_step_kind;
typedef enum { CDU_COMPUTE, CDU_TRANSFER } cdu_lane;        /* without a second queue both are the same one */
typedef enum { CDU_DONE, CDU_RUNNING, CDU_LOST } cdu_progress;
enum { CDU_READ = 1, CDU_WRITE = 2 };                       /* access */

/* offset: a multiple of the device's binding_align; bytes: a multiple of 4. UPLOAD and READBACK buffers may be bound too:
 * a kernel then reads or writes host memory. */
typedef struct { cdu_buffer *buffer; uint64_t offset, bytes; uint32_t access; } cdu_binding;

typedef struct {                                            /* core fills it once; the backend copies what it needs */
    cdu_step_kind kind;
    cdu_kernel *kernel;
    cdu_binding bind[CDU_BINDINGS];                         /* COPY: from, to; FILL: the target, word in param[0] */
    uint32_t bindings, params, param[CDU_PARAM_WORDS];      /* fixed for the list's life: OpenCL args, push constants */
    uint32_t groups[3];                                     /* within group_count of the device */
    bool barrier;                                           /* core's: waits for earlier steps, from byte ranges, not names */
    uint32_t segment;                                       /* starts at 0, never falls; the host may act between two segments */
    const char *label;
    double flops, bytes;                                    /* for profiles and for cutting segments */
} cdu_step;

typedef struct { uint32_t registers, spill_bytes, local_bytes, subgroup; } cdu_kernel_stats; /* 0: driver does not say */

/* Bytes of the device that its buffers take, with what the driver adds to align them: now, and most at a time since opening. */
typedef struct { uint64_t now, most; } cdu_memory_usage;

typedef struct {                                            /* one const table a backend */
    const char *name;
    /* *count in: rows that `out` holds; out: devices there are. CDU_NO_DEVICE with words where the loader is missing. */
    cdu_status (*enumerate)(cdu_device_info *out, uint32_t *count, cdu_error *);
    cdu_status (*open)(uint32_t index, bool timed, cdu_device **, cdu_error *);
    void (*close)(cdu_device *);
    cdu_status (*budget)(cdu_device *, uint64_t *free_bytes, cdu_error *); /* asked again before each plan */
    cdu_memory_usage (*usage)(const cdu_device *);

    cdu_status (*buffer_create)(cdu_device *, uint64_t bytes, cdu_memory, cdu_buffer **, cdu_error *); /* zeroed, touched */
    void (*buffer_destroy)(cdu_buffer *);
    /* UPLOAD, READBACK and SHARED only; nothing that uses the buffer may be running. */
    cdu_status (*buffer_map)(cdu_buffer *, uint64_t offset, uint64_t bytes, uint32_t access, void **, cdu_error *);
    cdu_status (*buffer_unmap)(cdu_buffer *, cdu_error *);  /* flush or invalidate */

    /* source: the text of a kernel file without prelude (shaders/README.md says what the backend puts in front); name: the kernel
     * in it; defines: "NAME=VALUE NAME=VALUE", GX, GY, GZ (the work-group's size) among them; subgroup: size to pin, 0 for any.
     * CDU_NO_DEVICE with the build log where it does not compile, and where the device cannot have subgroups of that size. `stats` may be null. */
    cdu_status (*kernel_create)(cdu_device *, const char *source, const char *name, const char *defines, uint32_t bindings,
                                uint32_t params, uint32_t subgroup, cdu_kernel **, cdu_kernel_stats *, cdu_error *);
    void (*kernel_destroy)(cdu_kernel *);

    /* OpenCL: one cl_kernel a step, arguments set here, replay only enqueues. Vulkan: one command buffer a segment.
     * `patch` may be null where no step binds it. Kernels and buffers must outlive the list. */
    cdu_status (*list_create)(cdu_device *, const cdu_step *, uint32_t count, cdu_buffer *patch, cdu_list **, cdu_error *);
    void (*list_destroy)(cdu_list *);
    /* Writes patch_data into the list's patch buffer, then runs the segment. At most CDU_PATCH_BYTES; null: unchanged. A segment
     * is in flight once: for overlap build two lists. The last thing a segment does is write its ticket for wait to check. */
    cdu_status (*submit)(cdu_list *, uint32_t segment, cdu_lane, const void *patch_data, uint32_t bytes, cdu_ticket *, cdu_error *);
    /* 0 polls; sleeps, no spin. Where work cannot be lost (a driver on the processor) a wait of a second or more may last until its end. */
    cdu_status (*wait)(cdu_device *, cdu_ticket, uint64_t timeout_ns, cdu_progress *, cdu_error *);
    cdu_status (*times)(cdu_list *, uint32_t segment, uint64_t *ns_of_each_step, cdu_error *);      /* device opened timed */
} cdu_backend;

/* All backends built in, null-terminated, in the order in which `auto` and the device list go through them. */
extern const cdu_backend *const cdu_backends[];

/* An opened device with what is needed to use it. */
typedef struct {
    const cdu_backend *backend;
    cdu_device *device;
    cdu_device_info info;
    char id[24];
} cdu_gpu;

/* What cdu_devices_list (device.h) returns, without any test. */
cdu_status cdu_gpu_list(cdu_device_row **out, uint32_t *count, char *missing, size_t missing_size, cdu_error *error);

/* Opens the device that `name` means (device.h), with the self-test unless `untested`. CDU_NO_DEVICE where none matches (the
 * words list those there are), where a part of a name is ambiguous, or where the device computes wrong. */
cdu_status cdu_gpu_open(const char *name, bool timed, bool untested, cdu_gpu *out, cdu_error *error);
void cdu_gpu_close(cdu_gpu *gpu);

/* How long a wait sleeps at once where there is nothing else to look at. */
static const uint64_t CDU_WAIT_NANOSECONDS = 10000000000u;
/* Until the ticket's segment is done; CDU_TRY_AGAIN where the device was lost. */
cdu_status cdu_gpu_wait(const cdu_gpu *gpu, cdu_ticket ticket, cdu_error *error);
/* One step as a list of its own, waited for. */
cdu_status cdu_gpu_run_step(const cdu_gpu *gpu, const cdu_step *step, cdu_error *error);

/* One of several processes that take a device each. machine: equal where two see the same cards; host: what people call it. list: the
 * devices it was told, with commas between: one for all ranks, one for each, or one for each on its machine; "auto" may be among them
 * (null: is it). rows: the devices that it sees. */
typedef struct {
    const char *machine, *host, *list;
    const cdu_device_row *rows;
    uint32_t count;
} cdu_gpu_seat;

/* Which device each of `size` ranks takes, as `ids`. No two ranks of a machine have one card, through whichever runtimes, unless `oversubscribe`;
 * cards are told apart by device.h's uuid. A processor may be named by several ranks; for "auto" it counts as one device, and as none where
 * there is a GPU. CDU_NO_DEVICE where a machine has too few, CDU_USAGE for a list that does not fit the ranks or names a card twice. A pure
 * function: ranks that know all seats come to the same answer. */
cdu_status cdu_gpu_assign(const cdu_gpu_seat *seats, uint32_t size, bool oversubscribe, char (*ids)[24], cdu_error *error);

/* Known answers on an open device: exact-integer convolution, barrier reduction, a binding beyond 2 GiB where a GPU claims
 * it, a denormal probe (logged, not refused). Less than a second on a warm cache. */
cdu_status cdu_gpu_self_test(const cdu_gpu *gpu, cdu_error *error);

/* Kernels compiled in processes of their own, where a driver compiles one at a time in a process, and most of a kernel only when it first
 * runs (CDU_HAS_ONE_COMPILER: PoCL). A process `cdunet-compile` runs a kernel once, as it will run here, on buffers of zeros; what its
 * driver compiled lies in the driver's cache on disk then, where this process finds it. Nothing depends on it: where the program is
 * missing, ends or hangs, the kernel is compiled here, later. Without a cache on disk there is nothing to be gained, and it is left alone. */
typedef struct cdu_compilers cdu_compilers;

/* What a kernel is compiled from, and what it is run on. */
typedef struct {
    uint32_t bytes;             /* of this struct: both sides must be of one build */
    char device[24], source[64], kernel[64], defines[CDU_DEFINES_LIMIT]; /* source: a file of shaders/ */
    uint32_t uses, params, subgroup, access[CDU_BINDINGS], param[CDU_PARAM_WORDS], groups[3];
    uint64_t size[CDU_BINDINGS];
} cdu_compile_request;

/* A process for each processor; null where the device gains nothing by it or the cache has all of these kernels. The largest request's
 * buffers must fit into an eighth of what the device has free, for each process. */
cdu_compilers *cdu_compilers_start(const cdu_gpu *gpu, const cdu_compile_request *requests, size_t count);
/* Waits until the kernel is compiled, here or for another process with the same cache, or cannot be. From any thread; null does nothing.
 * Returns whether it was compiled for this call. */
bool cdu_compilers_ask(cdu_compilers *compilers, const cdu_compile_request *request);
void cdu_compilers_stop(cdu_compilers *compilers);
/* What cdunet-compile does: serves the requests that come through `socket` until its other end is closed. */
void cdu_compilers_serve(int socket);

#ifdef __cplusplus
}
#endif
#endif
