/* null.c: a device that runs no kernel and checks everything else: ranges, alignment, group counts, parameters, the read and
 * write marks against the kernels' own declarations, and that barrier bits suffice. Buffers are host memory; copies, fills and
 * patches are really done, so that what the host writes comes back. Behind every buffer lies a guard that must stay as it was.
 * One device, "null:0", opened by its name alone. Its limits are those of a modest GPU. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/backend.h"
#include "backends/host.h"
#include "backends/source.h"
#include "core/base/memory.h"

enum { GUARD = 256, GUARD_BYTE = 0xA5 };

struct cdu_device {
    cdu_ticket last;
    cdu_memory_usage usage;
    cdu_device_info info;
};
struct cdu_buffer {
    cdu_device *device;
    unsigned char *bytes;
    uint64_t size;
    cdu_memory kind;
    bool mapped;
};

/* declared: for each binding CDU_READ, CDU_WRITE or both as the kernel's source says, 0 where that could not be read.
 * optional: under an #if, which is not evaluated here. */
struct cdu_kernel {
    char name[64];
    uint32_t bindings, params, declared[CDU_BINDINGS];
    bool optional[CDU_BINDINGS];
};

typedef struct {
    cdu_step step;
    char label[64];
} entry;
struct cdu_list {
    cdu_device *device;
    entry *entries;
    uint32_t count, segments;
    cdu_buffer *patch;
};

/* Number 0 is like a processor, number 1 like a large card: what operators choose for such can be checked without one. */
static cdu_device_info describe(uint32_t index)
{
    uint64_t memory = cdu_memory_free();
    cdu_device_info info = {.name = "null",
                             .vendor = "cdunet",
                             .driver = "checks marks and sizes, runs nothing",
                             .kind = CDU_CPU,
                             .memory = memory ? memory : (uint64_t)8 << 30,
                             .largest_buffer = (uint64_t)1 << 30,
                             .largest_binding = (uint64_t)1 << 30,
                             .binding_align = 256,
                             .group_items = 1024,
                             .group_size = {1024, 1024, 64},
                             .group_count = {65535, 65535, 65535},
                             .local_bytes = 32768,
                             .subgroup_min = 32,
                             .subgroup_max = 32,
                             .compute_units = 1,
                             .vector_width = 4,
                             .segment_ms = 0};
    if (index) {
        snprintf(info.name, sizeof info.name, "null card");
        snprintf(info.vendor, sizeof info.vendor, "NVIDIA");
        info.kind = CDU_DISCRETE;
        info.local_bytes = 49152;
        info.compute_units = 132;
        info.segment_ms = 100;
    }
    return info;
}

static cdu_status enumerate(cdu_device_info *out, uint32_t *count, cdu_error *error)
{
    (void)error;
    for (uint32_t i = 0; i < 2 && i < *count; i++) out[i] = describe(i);
    *count = 2;
    return CDU_OK;
}

static cdu_status open_device(uint32_t index, bool timed, cdu_device **out, cdu_error *error)
{
    (void)timed;
    if (index > 1) return cdu_fail(error, CDU_NO_DEVICE, "there is no device null:%u; there are null:0 and null:1", index);
    CDU_TRY(cdu_allocate(out, 1, sizeof **out, error));
    (*out)->info = describe(index);
    return CDU_OK;
}

static void close_device(cdu_device *device)
{
    free(device);
}

static cdu_status budget(cdu_device *device, uint64_t *free_bytes, cdu_error *error)
{
    (void)error;
    *free_bytes = device->info.memory > device->usage.now ? device->info.memory - device->usage.now : 0;
    return CDU_OK;
}

static cdu_memory_usage usage(const cdu_device *device)
{
    return device->usage;
}

static cdu_status buffer_create(cdu_device *device, uint64_t bytes, cdu_memory kind, cdu_buffer **out, cdu_error *error)
{
    if (!bytes || bytes > device->info.largest_buffer)
        return cdu_fail(error, CDU_TRY_AGAIN, "null: a buffer of %llu bytes was asked for; it takes 1 to %llu",
                        (unsigned long long)bytes, (unsigned long long)device->info.largest_buffer);
    cdu_buffer *buffer;
    CDU_TRY(cdu_allocate(&buffer, 1, sizeof *buffer, error));
    cdu_status status = cdu_allocate(&buffer->bytes, bytes + GUARD, 1, error);
    if (status != CDU_OK) {
        free(buffer);
        return status;
    }
    memset(buffer->bytes + bytes, GUARD_BYTE, GUARD);
    buffer->device = device;
    buffer->size = bytes;
    buffer->kind = kind;
    cdu_memory_take(&device->usage, bytes);
    *out = buffer;
    return CDU_OK;
}

static void buffer_destroy(cdu_buffer *buffer)
{
    if (!buffer) return;
    cdu_memory_give(&buffer->device->usage, buffer->size);
    free(buffer->bytes);
    free(buffer);
}

static cdu_status buffer_map(cdu_buffer *buffer, uint64_t offset, uint64_t bytes, uint32_t access, void **out, cdu_error *error)
{
    if (buffer->kind == CDU_MEM_DEVICE) return cdu_fail(error, CDU_FAILED, "null: a buffer in device memory cannot be mapped");
    if (buffer->mapped) return cdu_fail(error, CDU_FAILED, "null: a buffer is mapped twice");
    if (!(access & (CDU_READ | CDU_WRITE)))
        return cdu_fail(error, CDU_FAILED, "null: a buffer is mapped neither to read nor to write");
    if (!bytes || offset > buffer->size || bytes > buffer->size - offset)
        return cdu_fail(error, CDU_FAILED, "null: bytes %llu to %llu of a buffer of %llu bytes cannot be mapped",
                        (unsigned long long)offset, (unsigned long long)(offset + bytes), (unsigned long long)buffer->size);
    buffer->mapped = true;
    *out = buffer->bytes + offset;
    return CDU_OK;
}

static cdu_status buffer_unmap(cdu_buffer *buffer, cdu_error *error)
{
    if (!buffer->mapped) return cdu_fail(error, CDU_FAILED, "null: a buffer is unmapped that is not mapped");
    buffer->mapped = false;
    for (int i = 0; i < GUARD; i++)
        if (buffer->bytes[buffer->size + (uint64_t)i] != GUARD_BYTE)
            return cdu_fail(error, CDU_FAILED, "null: the host wrote %d bytes behind the end of a buffer of %llu bytes", i + 1,
                            (unsigned long long)buffer->size);
    return CDU_OK;
}

/* Marks by the kernel's declarations between KERNEL(name) and BEGIN: IN..., OUT..., INOUT... with the binding's number. */
static void read_declarations(const char *source, cdu_kernel *kernel)
{
    static const struct {
        const char *word;
        uint32_t access;
    } words[] = {
        {"INOUTV", 3}, {"INOUTU", 3}, {"INOUT", 3}, {"INV", 1}, {"INU", 1}, {"IN", 1}, {"OUTV", 2}, {"OUTU", 2}, {"OUT", 2},
    };
    char head[80];
    snprintf(head, sizeof head, "KERNEL(%s)", kernel->name);
    const char *at = strstr(source, head);
    if (!at) return;
    const char *end = strstr(at, "BEGIN(");
    int depth = 0;
    for (at += strlen(head); end && at < end; at++) {
        if (!strncmp(at, "#if", 3)) depth++;
        if (!strncmp(at, "#endif", 6)) depth--;
        if (isalnum((unsigned char)at[-1]) || at[-1] == '_') continue;
        for (size_t w = 0; w < sizeof words / sizeof words[0]; w++) {
            size_t length = strlen(words[w].word);
            unsigned number;
            if (strncmp(at, words[w].word, length) || sscanf(at + length, " ( %u", &number) != 1 || number >= CDU_BINDINGS)
                continue;
            kernel->optional[number] = depth > 0;
            kernel->declared[number] |= words[w].access; /* several under #if: whatever any of them allows */
            break;
        }
    }
}

static cdu_status kernel_create(cdu_device *device, const char *source, const char *name, const char *defines, uint32_t bindings,
                                uint32_t params, uint32_t subgroup, cdu_kernel **out, cdu_kernel_stats *stats, cdu_error *error)
{
    uint32_t group[3];
    CDU_TRY(cdu_source_group(defines, name, group, error));
    const cdu_device_info *info = &device->info;
    if (subgroup) CDU_TRY(cdu_source_subgroup(info, name, info->features & CDU_HAS_SUBGROUP_SIZE, subgroup, error));
    if ((uint64_t)group[0] * group[1] * group[2] > info->group_items || group[0] > info->group_size[0] ||
        group[1] > info->group_size[1] || group[2] > info->group_size[2])
        return cdu_fail(error, CDU_NO_DEVICE, "kernel %s: groups of %u x %u x %u items; null takes %u, at most %u x %u x %u", name,
                        group[0], group[1], group[2], info->group_items, info->group_size[0], info->group_size[1],
                        info->group_size[2]);
    if (bindings > CDU_BINDINGS || !params || params > CDU_PARAM_WORDS)
        return cdu_fail(error, CDU_FAILED, "kernel %s: %u buffers and %u parameters; at most %d, and 1 to %d", name, bindings,
                        params, CDU_BINDINGS, CDU_PARAM_WORDS);
    char wanted[80];
    snprintf(wanted, sizeof wanted, "KERNEL_%s", name);
    if (!strstr(source, wanted)) return cdu_fail(error, CDU_NO_DEVICE, "kernel %s is not in its source", name);
    cdu_kernel *kernel;
    CDU_TRY(cdu_allocate(&kernel, 1, sizeof *kernel, error));
    kernel->bindings = bindings;
    kernel->params = params;
    snprintf(kernel->name, sizeof kernel->name, "%s", name);
    read_declarations(source, kernel);
    for (uint32_t i = bindings; i < CDU_BINDINGS; i++)
        if (kernel->declared[i] && !kernel->optional[i]) {
            free(kernel);
            return cdu_fail(error, CDU_FAILED, "kernel %s declares buffer %u; the step says there are %u", name, i, bindings);
        }
    if (stats) *stats = (cdu_kernel_stats){0};
    *out = kernel;
    return CDU_OK;
}

static void kernel_destroy(cdu_kernel *kernel)
{
    free(kernel);
}

static cdu_status check_binding(const cdu_device *device, const entry *e, uint32_t i, cdu_error *error)
{
    const cdu_binding *b = &e->step.bind[i];
    if (!b->buffer || !b->bytes || b->offset > b->buffer->size || b->bytes > b->buffer->size - b->offset)
        return cdu_fail(error, CDU_FAILED, "step %s, buffer %u: bytes %llu to %llu are bound of a buffer of %llu", e->label, i,
                        (unsigned long long)b->offset, (unsigned long long)(b->offset + b->bytes),
                        (unsigned long long)(b->buffer ? b->buffer->size : 0));
    bool kernel = e->step.kind == CDU_STEP_KERNEL;
    uint32_t align = kernel ? device->info.binding_align : 4;
    if (b->offset % align || b->bytes % 4)
        return cdu_fail(error, CDU_FAILED, "step %s, buffer %u: offset %llu is not a multiple of %u, or size %llu not of 4",
                        e->label, i, (unsigned long long)b->offset, align, (unsigned long long)b->bytes);
    if (kernel && b->bytes > device->info.largest_binding)
        return cdu_fail(error, CDU_FAILED, "step %s, buffer %u: %llu bytes are bound; null takes %llu", e->label, i,
                        (unsigned long long)b->bytes, (unsigned long long)device->info.largest_binding);
    static const char *const marks[] = {"nothing", "read", "write", "read and write"};
    uint32_t declared = 0;
    if (kernel)
        declared = e->step.kernel->declared[i];
    else
        declared = e->step.kind == CDU_STEP_COPY && !i ? CDU_READ : CDU_WRITE;
    bool wrong = !(b->access & 3) || b->access & ~3u;
    if (declared == CDU_READ)
        wrong |= b->access != CDU_READ;
    else if (declared)
        wrong |= !(b->access & CDU_WRITE);
    if (wrong)
        return cdu_fail(error, CDU_FAILED, "step %s, buffer %u: it is marked %s; the kernel says %s", e->label, i,
                        marks[b->access & 3], marks[declared]);
    for (uint32_t k = 0; kernel && k < i; k++) {
        const cdu_binding *other = &e->step.bind[k];
        bool alias = other->buffer == b->buffer && other->offset == b->offset && other->bytes == b->bytes;
        bool promised = declared != 3 || e->step.kernel->declared[k] != 3; /* IN and OUT are restrict */
        if (alias && promised && declared && (b->access | other->access) & CDU_WRITE)
            return cdu_fail(error, CDU_FAILED,
                            "step %s: buffers %u and %u are the same memory, and the kernel does not say INOUT of both", e->label,
                            k, i);
    }
    return CDU_OK;
}

static cdu_status check_step(const cdu_device *device, const entry *e, cdu_error *error)
{
    const cdu_step *step = &e->step;
    if (step->kind == CDU_STEP_KERNEL) {
        const cdu_kernel *kernel = step->kernel;
        if (!kernel || kernel->bindings != step->bindings || kernel->params != step->params)
            return cdu_fail(error, CDU_FAILED, "step %s: %u buffers and %u parameters do not fit its kernel, which has %u and %u",
                            e->label, step->bindings, step->params, kernel ? kernel->bindings : 0, kernel ? kernel->params : 0);
        for (int i = 0; i < 3; i++)
            if (!step->groups[i] || step->groups[i] > device->info.group_count[i])
                return cdu_fail(error, CDU_FAILED, "step %s: %u groups on axis %d; null takes 1 to %u", e->label, step->groups[i],
                                i, device->info.group_count[i]);
    } else if (step->bindings != (step->kind == CDU_STEP_COPY ? 2u : 1u)) {
        return cdu_fail(error, CDU_FAILED, "step %s: a copy takes two buffers, a fill one; it has %u", e->label, step->bindings);
    } else if (step->kind == CDU_STEP_COPY && step->bind[0].bytes != step->bind[1].bytes) {
        return cdu_fail(error, CDU_FAILED, "step %s: %llu bytes are copied to %llu", e->label,
                        (unsigned long long)step->bind[0].bytes, (unsigned long long)step->bind[1].bytes);
    }
    for (uint32_t i = 0; i < step->bindings; i++) CDU_TRY(check_binding(device, e, i, error));
    return CDU_OK;
}

static cdu_status check_against(const entry *before, const entry *e, cdu_error *error)
{
    for (uint32_t i = 0; i < before->step.bindings; i++)
        for (uint32_t k = 0; k < e->step.bindings; k++) {
            const cdu_binding *a = &before->step.bind[i], *b = &e->step.bind[k];
            if (a->buffer != b->buffer || !((a->access | b->access) & CDU_WRITE)) continue;
            if (a->offset >= b->offset + b->bytes || b->offset >= a->offset + a->bytes) continue;
            return cdu_fail(error, CDU_FAILED,
                            "a barrier is missing before step %s: it %s bytes %llu to %llu, which step %s %s (bytes %llu to %llu)",
                            e->label, b->access & CDU_WRITE ? "writes" : "reads", (unsigned long long)b->offset,
                            (unsigned long long)(b->offset + b->bytes), before->label, a->access & CDU_WRITE ? "writes" : "reads",
                            (unsigned long long)a->offset, (unsigned long long)(a->offset + a->bytes));
        }
    return CDU_OK;
}

/* A segment's start is a barrier; within it a step must not touch what a step since the last barrier writes, nor write what it
 * reads. */
static cdu_status check_barriers(const cdu_list *list, cdu_error *error)
{
    uint32_t since = 0;
    for (uint32_t i = 0; i < list->count; i++) {
        const entry *e = &list->entries[i];
        if (e->step.barrier || (i && e->step.segment != list->entries[i - 1].step.segment)) since = i;
        for (uint32_t k = since; k < i; k++) CDU_TRY(check_against(&list->entries[k], e, error));
    }
    return CDU_OK;
}

static void list_destroy(cdu_list *list)
{
    if (!list) return;
    free(list->entries);
    free(list);
}

static cdu_status check_list(cdu_list *list, const cdu_step *steps, cdu_error *error)
{
    for (uint32_t i = 0; i < list->count; i++) {
        entry *e = &list->entries[i];
        e->step = steps[i];
        snprintf(e->label, sizeof e->label, "%s", steps[i].label ? steps[i].label : "?");
        if (i && steps[i].segment < steps[i - 1].segment)
            return cdu_fail(error, CDU_FAILED, "step %s: its segment %u follows segment %u", e->label, steps[i].segment,
                            steps[i - 1].segment);
        CDU_TRY(check_step(list->device, e, error));
    }
    return check_barriers(list, error);
}

static cdu_status list_create(cdu_device *device, const cdu_step *steps, uint32_t count, cdu_buffer *patch, cdu_list **out,
                              cdu_error *error)
{
    cdu_list *list;
    CDU_TRY(cdu_allocate(&list, 1, sizeof *list, error));
    list->device = device;
    list->count = count;
    list->patch = patch;
    list->segments = count ? steps[count - 1].segment + 1 : 0;
    cdu_status status = cdu_allocate(&list->entries, count ? count : 1, sizeof *list->entries, error);
    if (status == CDU_OK) status = check_list(list, steps, error);
    if (status == CDU_OK)
        *out = list;
    else
        list_destroy(list);
    return status;
}

static void fill(const cdu_binding *to, uint32_t word)
{
    for (uint64_t i = 0; i < to->bytes; i += 4) memcpy(to->buffer->bytes + to->offset + i, &word, 4);
}

static cdu_status submit(cdu_list *list, uint32_t segment, cdu_lane lane, const void *patch_data, uint32_t bytes, cdu_ticket *out,
                         cdu_error *error)
{
    (void)lane;
    if (segment >= list->segments) return cdu_fail(error, CDU_FAILED, "segment %u of %u is submitted", segment, list->segments);
    if (patch_data && bytes) {
        if (!list->patch || bytes > CDU_PATCH_BYTES || bytes > list->patch->size)
            return cdu_fail(error, CDU_FAILED, "%u bytes of patch data; the list takes %u", bytes,
                            list->patch ? CDU_PATCH_BYTES : 0);
        memcpy(list->patch->bytes, patch_data, bytes);
    }
    for (uint32_t i = 0; i < list->count; i++) {
        const cdu_step *step = &list->entries[i].step;
        if (step->segment != segment) continue;
        for (uint32_t k = 0; k < step->bindings; k++)
            if (step->bind[k].buffer->mapped)
                return cdu_fail(error, CDU_FAILED, "step %s, buffer %u: it is still mapped", list->entries[i].label, k);
        const cdu_binding *b = step->bind;
        if (step->kind == CDU_STEP_FILL) fill(b, step->param[0]);
        if (step->kind == CDU_STEP_COPY) memmove(b[1].buffer->bytes + b[1].offset, b[0].buffer->bytes + b[0].offset, b[0].bytes);
    }
    *out = ++list->device->last;
    return CDU_OK;
}

static cdu_status wait_for(cdu_device *device, cdu_ticket ticket, uint64_t timeout_ns, cdu_progress *progress, cdu_error *error)
{
    (void)timeout_ns;
    *progress = CDU_DONE;
    if (ticket > device->last) return cdu_fail(error, CDU_FAILED, "ticket %llu was never given", (unsigned long long)ticket);
    return CDU_OK;
}

static cdu_status times(cdu_list *list, uint32_t segment, uint64_t *nanoseconds, cdu_error *error)
{
    (void)error;
    for (uint32_t i = 0; i < list->count; i++)
        if (list->entries[i].step.segment == segment) *nanoseconds++ = 0;
    return CDU_OK;
}

extern const cdu_backend cdu_backend_null;
const cdu_backend cdu_backend_null = {
    .name = "null",
    .enumerate = enumerate,
    .open = open_device,
    .close = close_device,
    .budget = budget,
    .usage = usage,
    .buffer_create = buffer_create,
    .buffer_destroy = buffer_destroy,
    .buffer_map = buffer_map,
    .buffer_unmap = buffer_unmap,
    .kernel_create = kernel_create,
    .kernel_destroy = kernel_destroy,
    .list_create = list_create,
    .list_destroy = list_destroy,
    .submit = submit,
    .wait = wait_for,
    .times = times,
};
