/* memory.c: which memory type serves which purpose, and buffers. Every buffer has an allocation of its own: a plan asks for few,
 * large ones. Host-visible memory stays mapped for its life. On a card with memory of its own, what the host reads has a twin there: steps write to
 * it, and a copy at the end of their segment brings it over (list.c). A kernel's own stores across the bus run at a quarter of the copy's rate (H100). */
#include "backends/vulkan/vulkan.h"

#include <stdlib.h>
#include <string.h>

#include "backends/host.h"
#include "core/base/debug.h"
#include "core/base/memory.h"

enum { TWIN_BYTES = 64 << 10 }; /* smaller ones are not worth a copy */
enum {
    LOCAL = VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT,
    VISIBLE = VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT,
    COHERENT = VK_MEMORY_PROPERTY_HOST_COHERENT_BIT,
    CACHED = VK_MEMORY_PROPERTY_HOST_CACHED_BIT
};

static const VkBufferUsageFlags usage =
    VK_BUFFER_USAGE_STORAGE_BUFFER_BIT | VK_BUFFER_USAGE_TRANSFER_SRC_BIT | VK_BUFFER_USAGE_TRANSFER_DST_BIT;

/* The first type of `allowed` that has all of `wanted` and none of `unwanted`; UINT32_MAX where there is none. */
static uint32_t find_type(const VkPhysicalDeviceMemoryProperties *m, uint32_t allowed, uint32_t wanted, uint32_t unwanted)
{
    for (uint32_t i = 0; i < m->memoryTypeCount; i++) {
        uint32_t flags = m->memoryTypes[i].propertyFlags;
        /* AMD's device-coherent types are slow and need a feature */
        if (flags & (VK_MEMORY_PROPERTY_PROTECTED_BIT | VK_MEMORY_PROPERTY_DEVICE_COHERENT_BIT_AMD)) continue;
        if (allowed >> i & 1 && (flags & wanted) == wanted && !(flags & unwanted)) return i;
    }
    return UINT32_MAX;
}

/* A type that is missing is no error yet: RADV without hardware, used to compile kernels for checks, has none. */
cdu_status cdu_vulkan_choose_memory(cdu_device *device, cdu_error *error)
{
    /* in order of preference; wanted 0 and unwanted 0 end a row */
    static const uint32_t choices[4][4][2] = {
        [CDU_MEM_DEVICE] = {{LOCAL, VISIBLE}, {LOCAL, 0}, {VISIBLE, 0}},
        [CDU_MEM_UPLOAD] = {{VISIBLE | COHERENT, LOCAL | CACHED}, {VISIBLE | COHERENT, LOCAL}, {VISIBLE | COHERENT, 0}},
        [CDU_MEM_READBACK] = {{VISIBLE | COHERENT | CACHED, LOCAL}, {VISIBLE | CACHED, 0}, {VISIBLE | COHERENT, 0}},
        [CDU_MEM_SHARED] = {{LOCAL | VISIBLE | COHERENT | CACHED, 0}, {LOCAL | VISIBLE | COHERENT, 0}},
    };
    VkPhysicalDeviceMemoryProperties2 memory = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2};
    device->instance->vkGetPhysicalDeviceMemoryProperties2(device->physical, &memory);
    device->memory = memory.memoryProperties;
    VkBufferCreateInfo info = {.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO, .size = 256, .usage = usage};
    VkBuffer probe;
    CDU_VK(device, device->vk.vkCreateBuffer(device->handle, &info, NULL, &probe), error, "making a buffer");
    VkMemoryRequirements needs;
    device->vk.vkGetBufferMemoryRequirements(device->handle, probe, &needs);
    device->vk.vkDestroyBuffer(device->handle, probe, NULL);
    for (int kind = 0; kind < 4; kind++) {
        device->memory_type[kind] = UINT32_MAX;
        for (int i = 0; i < 4 && choices[kind][i][0] && device->memory_type[kind] == UINT32_MAX; i++)
            device->memory_type[kind] = find_type(&device->memory, needs.memoryTypeBits, choices[kind][i][0], choices[kind][i][1]);
    }
    return CDU_OK;
}

cdu_status cdu_vulkan_budget(cdu_device *device, uint64_t *free_bytes, cdu_error *error)
{
    (void)error;
    VkPhysicalDeviceMemoryBudgetPropertiesEXT budget = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT};
    VkPhysicalDeviceMemoryProperties2 memory = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2,
                                                .pNext = device->has_budget ? &budget : NULL};
    device->instance->vkGetPhysicalDeviceMemoryProperties2(device->physical, &memory);
    if (device->memory_type[CDU_MEM_DEVICE] == UINT32_MAX) return *free_bytes = 0, CDU_OK;
    uint32_t heap = device->memory.memoryTypes[device->memory_type[CDU_MEM_DEVICE]].heapIndex;
    uint64_t size = memory.memoryProperties.memoryHeaps[heap].size;
    if (device->has_budget) {
        uint64_t whole = budget.heapBudget[heap], used = budget.heapUsage[heap];
        *free_bytes = whole > used ? whole - used : 0;
    } else {
        *free_bytes = size > device->usage.now ? size - device->usage.now : 0;
        if (device->info.kind == CDU_DISCRETE)
            *free_bytes -= *free_bytes / 10; /* the driver does not say: leave room for the desktop */
    }
    uint64_t host = device->info.kind == CDU_DISCRETE ? 0 : cdu_memory_free();
    if (host && host < *free_bytes) *free_bytes = host;
    return CDU_OK;
}

cdu_memory_usage cdu_vulkan_usage(const cdu_device *device)
{
    return device->usage;
}

/* Fills a buffer in device memory with zeros and waits: memory is really there afterwards, or the driver said why not. */
static cdu_status clear(cdu_device *device, VkBuffer buffer, cdu_error *error)
{
    const cdu_vulkan_api *vk = &device->vk;
    VkCommandBufferAllocateInfo info = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
                                        .commandPool = device->pool,
                                        .level = VK_COMMAND_BUFFER_LEVEL_PRIMARY,
                                        .commandBufferCount = 1};
    VkCommandBufferBeginInfo begin = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO,
                                      .flags = VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT};
    VkFenceCreateInfo fence_info = {.sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO};
    VkCommandBuffer commands = NULL;
    VkFence fence = VK_NULL_HANDLE;
    VkResult code = vk->vkAllocateCommandBuffers(device->handle, &info, &commands);
    if (code == VK_SUCCESS) code = vk->vkCreateFence(device->handle, &fence_info, NULL, &fence);
    if (code == VK_SUCCESS) code = vk->vkBeginCommandBuffer(commands, &begin);
    if (code == VK_SUCCESS) {
        vk->vkCmdFillBuffer(commands, buffer, 0, VK_WHOLE_SIZE, 0);
        code = vk->vkEndCommandBuffer(commands);
    }
    VkSubmitInfo submit = {.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO, .commandBufferCount = 1, .pCommandBuffers = &commands};
    device->used = true;
    if (code == VK_SUCCESS) code = vk->vkQueueSubmit(device->queue, 1, &submit, fence);
    if (code == VK_SUCCESS) code = vk->vkWaitForFences(device->handle, 1, &fence, VK_TRUE, UINT64_MAX);
    if (fence) vk->vkDestroyFence(device->handle, fence, NULL);
    if (commands) vk->vkFreeCommandBuffers(device->handle, device->pool, 1, &commands);
    return code == VK_SUCCESS ? CDU_OK : CDU_VK_FAIL(error, device, code, "clearing a new buffer");
}

static cdu_status fill_in(cdu_buffer *buffer, cdu_error *error)
{
    cdu_device *device = buffer->device;
    const cdu_vulkan_api *vk = &device->vk;
    VkBufferCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO, .size = (buffer->bytes + 3) & ~(uint64_t)3, .usage = usage};
    CDU_VK(device, vk->vkCreateBuffer(device->handle, &info, NULL, &buffer->handle), error, "making a buffer");
    VkMemoryRequirements needs;
    vk->vkGetBufferMemoryRequirements(device->handle, buffer->handle, &needs);
    uint32_t type = device->memory_type[buffer->kind];
    if (!(needs.memoryTypeBits >> type & 1))
        return cdu_fail(error, CDU_NO_DEVICE, "%s: memory type %u does not take a buffer of %llu bytes", device->info.name, type,
                        (unsigned long long)buffer->bytes);
    uint64_t heap = device->memory.memoryHeaps[device->memory.memoryTypes[type].heapIndex].size;
    if (needs.size > heap) /* some drivers accept the absurd and die of it later */
        return cdu_fail(error, CDU_TRY_AGAIN, "%s: a buffer of %llu bytes in memory of %llu", device->info.name,
                        (unsigned long long)needs.size, (unsigned long long)heap);
    VkMemoryAllocateInfo allocate = {
        .sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO, .allocationSize = needs.size, .memoryTypeIndex = type};
    CDU_VK(device, vk->vkAllocateMemory(device->handle, &allocate, NULL, &buffer->memory), error, "making a buffer");
    buffer->reserved = buffer->twin ? 0 : needs.size; /* the twin counts */
    cdu_memory_take(&device->usage, buffer->reserved);
    CDU_VK(device, vk->vkBindBufferMemory(device->handle, buffer->handle, buffer->memory, 0), error, "making a buffer");
    buffer->coherent = device->memory.memoryTypes[type].propertyFlags & COHERENT;
    if (buffer->kind == CDU_MEM_DEVICE) return clear(device, buffer->handle, error);
    CDU_VK(device, vk->vkMapMemory(device->handle, buffer->memory, 0, VK_WHOLE_SIZE, 0, &buffer->host), error, "mapping a buffer");
    memset(buffer->host, 0, (size_t)info.size);
    return cdu_vulkan_flush(buffer, error);
}

cdu_status cdu_vulkan_buffer_create(cdu_device *device, uint64_t bytes, cdu_memory kind, cdu_buffer **out, cdu_error *error)
{
    if (!bytes || bytes > device->info.largest_buffer)
        return cdu_fail(error, CDU_TRY_AGAIN, "%s: a buffer of %llu bytes was asked for; it takes 1 to %llu", device->info.name,
                        (unsigned long long)bytes, (unsigned long long)device->info.largest_buffer);
    if (device->memory_type[kind] == UINT32_MAX)
        return cdu_fail(error, CDU_NO_DEVICE, "%s has no memory for %s buffers", device->info.name,
                        (const char *[]){"device", "upload", "read-back", "shared"}[kind]);
    cdu_buffer *buffer;
    CDU_TRY(cdu_allocate(&buffer, 1, sizeof *buffer, error));
    buffer->device = device;
    buffer->kind = kind;
    buffer->bytes = bytes;
    bool apart = device->info.kind == CDU_DISCRETE || cdu_debug(CDU_DEBUG_TWINS);
    cdu_status status = CDU_OK;
    if (kind == CDU_MEM_READBACK && apart && bytes >= TWIN_BYTES)
        status = cdu_vulkan_buffer_create(device, bytes, CDU_MEM_DEVICE, &buffer->twin, error);
    if (status == CDU_OK) status = fill_in(buffer, error);
    if (status == CDU_OK)
        *out = buffer;
    else
        cdu_vulkan_buffer_destroy(buffer);
    return status;
}

void cdu_vulkan_buffer_destroy(cdu_buffer *buffer)
{
    if (!buffer) return;
    cdu_device *device = buffer->device;
    cdu_vulkan_buffer_destroy(buffer->twin);
    if (buffer->handle) device->vk.vkDestroyBuffer(device->handle, buffer->handle, NULL);
    if (buffer->memory) device->vk.vkFreeMemory(device->handle, buffer->memory, NULL);
    cdu_memory_give(&device->usage, buffer->reserved);
    free(buffer);
}

cdu_status cdu_vulkan_flush(cdu_buffer *buffer, cdu_error *error)
{
    if (buffer->coherent) return CDU_OK;
    VkMappedMemoryRange range = {.sType = VK_STRUCTURE_TYPE_MAPPED_MEMORY_RANGE, .memory = buffer->memory, .size = VK_WHOLE_SIZE};
    CDU_VK(buffer->device, buffer->device->vk.vkFlushMappedMemoryRanges(buffer->device->handle, 1, &range), error,
           "flushing a buffer");
    return CDU_OK;
}

cdu_status cdu_vulkan_invalidate(cdu_buffer *buffer, cdu_error *error)
{
    if (buffer->coherent) return CDU_OK;
    VkMappedMemoryRange range = {.sType = VK_STRUCTURE_TYPE_MAPPED_MEMORY_RANGE, .memory = buffer->memory, .size = VK_WHOLE_SIZE};
    CDU_VK(buffer->device, buffer->device->vk.vkInvalidateMappedMemoryRanges(buffer->device->handle, 1, &range), error,
           "invalidating a buffer");
    return CDU_OK;
}

cdu_status cdu_vulkan_buffer_map(cdu_buffer *buffer, uint64_t offset, uint64_t bytes, uint32_t access, void **out, cdu_error *error)
{
    const char *name = buffer->device->info.name;
    if (buffer->kind == CDU_MEM_DEVICE) return cdu_fail(error, CDU_FAILED, "%s: a buffer in device memory cannot be mapped", name);
    if (buffer->mapped) return cdu_fail(error, CDU_FAILED, "%s: a buffer is mapped twice", name);
    if (!bytes || offset > buffer->bytes || bytes > buffer->bytes - offset)
        return cdu_fail(error, CDU_FAILED, "%s: bytes %llu to %llu of a buffer of %llu bytes cannot be mapped", name,
                        (unsigned long long)offset, (unsigned long long)(offset + bytes), (unsigned long long)buffer->bytes);
    CDU_TRY(cdu_vulkan_invalidate(buffer, error));
    buffer->mapped = true;
    buffer->access = access;
    *out = (char *)buffer->host + offset;
    return CDU_OK;
}

cdu_status cdu_vulkan_buffer_unmap(cdu_buffer *buffer, cdu_error *error)
{
    if (!buffer->mapped)
        return cdu_fail(error, CDU_FAILED, "%s: a buffer is unmapped that is not mapped", buffer->device->info.name);
    buffer->mapped = false;
    return buffer->access & CDU_WRITE ? cdu_vulkan_flush(buffer, error) : CDU_OK;
}
