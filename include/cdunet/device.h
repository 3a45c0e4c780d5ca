/* device.h: what devices there are, through which runtimes, and which one a name means.
 * A device is named "opencl:0", "vulkan:1", "null:0", "auto", or by a part of its name ("radeon"). "auto" takes the first discrete
 * GPU, then integrated ones, and a CPU only where there is no GPU. Threads: one caller at a time. */
#ifndef CDUNET_DEVICE_H
#define CDUNET_DEVICE_H

#include <stdbool.h>
#include <stdint.h>

#include "cdunet/error.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum { CDU_CPU, CDU_INTEGRATED, CDU_DISCRETE } cdu_kind;
/* features; ONE_COMPILER: compiles one kernel at a time in a process, keeps what it compiled on disk; BROADCAST: within subgroups */
enum { CDU_HAS_F16 = 1, CDU_HAS_BF16 = 2, CDU_HAS_SUBGROUP_SIZE = 4, CDU_HAS_MATRIX = 8, CDU_HAS_ONE_COMPILER = 16,
       CDU_HAS_BROADCAST = 32 };

typedef struct {
    char name[128], vendor[64], driver[128];
    char uuid[48];                 /* UUID or PCI address: one card seen twice has it twice; empty: unknown */
    cdu_kind kind;
    uint32_t features;             /* CDU_HAS_* */
    bool unified;                  /* CDU_MEM_SHARED is as fast as CDU_MEM_DEVICE */
    uint64_t memory;               /* bytes */
    uint64_t largest_buffer;       /* bytes; PAL 2 GiB a buffer */
    uint64_t largest_binding;      /* bytes; lavapipe 128 MiB */
    uint32_t binding_align;        /* bytes; at least 256 */
    uint32_t group_items, group_size[3], group_count[3];
    uint32_t local_bytes;          /* local memory of a work-group */
    uint32_t subgroup_min, subgroup_max, compute_units;
    uint32_t vector_width;         /* floats: 8 or 16 on a CPU through OpenCL, else 4 */
    uint32_t segment_ms;           /* longest safe submission in milliseconds; 0: no limit (CPUs) */
} cdu_device_info;

/* One row of the device list. */
typedef struct {
    char id[24];                   /* "opencl:0" */
    cdu_device_info info;
    char same_as[24];              /* id of an earlier row that is the same card, or empty */
    char self_test[160];           /* "passed", "failed: ...", or empty where it was not run */
} cdu_device_row;

/* Lists all devices of all backends into *out (free with free()). A backend whose loader is missing contributes no rows and one
 * line to `missing` (newline-separated, may be null). `self_test`: open each device and fill that column.
 * Finding no device at all is not an error here. */
cdu_status cdu_devices_list(bool self_test, cdu_device_row **out, uint32_t *count, char *missing, size_t missing_size, cdu_error *error);

#ifdef __cplusplus
}
#endif
#endif
