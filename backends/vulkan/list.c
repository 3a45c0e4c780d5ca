/* list.c: lists of steps on Vulkan: one command buffer a segment, recorded once with its descriptor sets, push constants and
 * barriers, and submitted again and again. What changes between runs goes through host-visible memory: the patch, and the ticket
 * that the segment's last command copies to where wait looks for it. */
#include "backends/vulkan/vulkan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/host.h"
#include "core/base/memory.h"

struct cdu_list {
    cdu_device *device;
    uint32_t segments;
    uint32_t *first;           /* step numbers, segments + 1 places */
    VkCommandBuffer *commands; /* of each segment; behind them the one that copies the patch */
    cdu_ticket *running;       /* last ticket of each segment */
    VkDescriptorPool descriptors;
    VkQueryPool queries; /* timed: segment s begins at query first[s] + s */
    cdu_buffer *tickets_in, *tickets_out, *patch, *staging;
};

static const VkPipelineStageFlags work = VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_TRANSFER_BIT;

static void barrier(const cdu_device *device, VkCommandBuffer commands)
{
    VkMemoryBarrier memory = {.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER,
                              .srcAccessMask = VK_ACCESS_SHADER_WRITE_BIT | VK_ACCESS_TRANSFER_WRITE_BIT,
                              .dstAccessMask = VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_SHADER_WRITE_BIT |
                                               VK_ACCESS_TRANSFER_READ_BIT | VK_ACCESS_TRANSFER_WRITE_BIT};
    device->vk.vkCmdPipelineBarrier(commands, work, work, 0, 1, &memory, 0, NULL, 0, NULL);
}

static cdu_status check_range(const cdu_device *device, const cdu_binding *b, const char *label, cdu_error *error)
{
    if (!b->buffer || !b->bytes || b->offset > b->buffer->bytes || b->bytes > b->buffer->bytes - b->offset)
        return cdu_fail(error, CDU_FAILED, "step %s: bytes %llu to %llu are bound of a buffer of %llu", label,
                        (unsigned long long)b->offset, (unsigned long long)(b->offset + b->bytes),
                        (unsigned long long)(b->buffer ? b->buffer->bytes : 0));
    if (b->offset % 4 || b->bytes % 4)
        return cdu_fail(error, CDU_FAILED, "step %s: offset %llu and size %llu are not multiples of 4", label,
                        (unsigned long long)b->offset, (unsigned long long)b->bytes);
    (void)device;
    return CDU_OK;
}

static cdu_status check_binding(const cdu_device *device, const cdu_binding *b, const char *label, cdu_error *error)
{
    CDU_TRY(check_range(device, b, label, error));
    if (b->offset % device->info.binding_align)
        return cdu_fail(error, CDU_FAILED, "step %s: offset %llu is not a multiple of %u", label, (unsigned long long)b->offset,
                        device->info.binding_align);
    if (b->bytes > device->info.largest_binding)
        return cdu_fail(error, CDU_FAILED, "step %s: %llu bytes are bound; %s takes %llu", label, (unsigned long long)b->bytes,
                        device->info.name, (unsigned long long)device->info.largest_binding);
    return CDU_OK;
}

static cdu_status record_kernel(cdu_list *list, VkCommandBuffer commands, const cdu_step *step, const char *label, cdu_error *error)
{
    cdu_device *device = list->device;
    const cdu_vulkan_api *vk = &device->vk;
    const cdu_kernel *kernel = step->kernel;
    if (!kernel || kernel->bindings != step->bindings || kernel->params != step->params)
        return cdu_fail(error, CDU_FAILED, "step %s: %u buffers and %u parameters do not fit its kernel, which has %u and %u",
                        label, step->bindings, step->params, kernel ? kernel->bindings : 0, kernel ? kernel->params : 0);
    for (int i = 0; i < 3; i++)
        if (!step->groups[i] || step->groups[i] > device->info.group_count[i])
            return cdu_fail(error, CDU_FAILED, "step %s: %u groups on axis %d; %s takes 1 to %u", label, step->groups[i], i,
                            device->info.name, device->info.group_count[i]);
    vk->vkCmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_COMPUTE, kernel->pipeline);
    if (step->bindings) {
        VkDescriptorSetAllocateInfo allocate = {.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO,
                                                .descriptorPool = list->descriptors,
                                                .descriptorSetCount = 1,
                                                .pSetLayouts = &device->set_layout[step->bindings]};
        VkDescriptorSet set;
        CDU_VK(device, vk->vkAllocateDescriptorSets(device->handle, &allocate, &set), error, "making a descriptor set");
        VkDescriptorBufferInfo buffers[CDU_BINDINGS];
        VkWriteDescriptorSet writes[CDU_BINDINGS];
        for (uint32_t i = 0; i < step->bindings; i++) {
            const cdu_binding *b = &step->bind[i];
            CDU_TRY(check_binding(device, b, label, error));
            buffers[i] = (VkDescriptorBufferInfo){cdu_vulkan_seen_by_steps(b->buffer), b->offset, b->bytes};
            writes[i] = (VkWriteDescriptorSet){.sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET,
                                               .dstSet = set,
                                               .dstBinding = i,
                                               .descriptorCount = 1,
                                               .descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
                                               .pBufferInfo = &buffers[i]};
        }
        vk->vkUpdateDescriptorSets(device->handle, step->bindings, writes, 0, NULL);
        vk->vkCmdBindDescriptorSets(commands, VK_PIPELINE_BIND_POINT_COMPUTE, kernel->layout, 0, 1, &set, 0, NULL);
    }
    vk->vkCmdPushConstants(commands, kernel->layout, VK_SHADER_STAGE_COMPUTE_BIT, 0, 4 * step->params, step->param);
    vk->vkCmdDispatch(commands, step->groups[0], step->groups[1], step->groups[2]);
    return CDU_OK;
}

/* What steps [first, end) write of a buffer, from the first byte to the last; false where they write nothing. */
static bool written(const cdu_step *steps, uint32_t first, uint32_t end, const cdu_buffer *buffer, VkBufferCopy *region)
{
    uint64_t from = UINT64_MAX, to = 0;
    for (uint32_t i = first; i < end; i++)
        for (uint32_t b = 0; b < steps[i].bindings; b++) {
            const cdu_binding *bind = &steps[i].bind[b];
            if (bind->buffer != buffer || !(bind->access & CDU_WRITE)) continue;
            if (bind->offset < from) from = bind->offset;
            if (bind->offset + bind->bytes > to) to = bind->offset + bind->bytes;
        }
    if (to) *region = (VkBufferCopy){from, from, to - from};
    return to > 0;
}

static cdu_status record_transfer(cdu_list *list, VkCommandBuffer commands, const cdu_step *steps, uint32_t first, uint32_t at,
                                  const char *label, cdu_error *error)
{
    const cdu_device *device = list->device;
    const cdu_step *step = &steps[at];
    VkBufferCopy ignored;
    uint32_t wanted = step->kind == CDU_STEP_COPY ? 2 : 1;
    if (step->bindings != wanted)
        return cdu_fail(error, CDU_FAILED, "step %s: %u buffers where %u are needed", label, step->bindings, wanted);
    for (uint32_t i = 0; i < wanted; i++) CDU_TRY(check_range(device, &step->bind[i], label, error));
    const cdu_binding *from = &step->bind[0], *to = &step->bind[wanted - 1];
    if (step->kind == CDU_STEP_FILL) {
        device->vk.vkCmdFillBuffer(commands, cdu_vulkan_seen_by_steps(to->buffer), to->offset, to->bytes, step->param[0]);
        return CDU_OK;
    }
    if (from->bytes != to->bytes)
        return cdu_fail(error, CDU_FAILED, "step %s: %llu bytes are copied to %llu", label, (unsigned long long)from->bytes,
                        (unsigned long long)to->bytes);
    VkBufferCopy region = {from->offset, to->offset, to->bytes};
    /* copies read what the host sees, and may have written there, but for what the segment's own steps wrote to a twin */
    bool own = written(steps, first, at, from->buffer, &ignored);
    device->vk.vkCmdCopyBuffer(commands, own ? cdu_vulkan_seen_by_steps(from->buffer) : from->buffer->handle,
                               cdu_vulkan_seen_by_steps(to->buffer), 1, &region);
    return CDU_OK;
}

/* The host's patch into the list's patch buffer, submitted in front of a segment where there is a new one. */
static cdu_status record_patch(cdu_list *list, cdu_error *error)
{
    cdu_device *device = list->device;
    VkCommandBuffer commands = list->commands[list->segments];
    VkCommandBufferBeginInfo begin = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
    VkBufferCopy region = {.size = list->patch->bytes < CDU_PATCH_BYTES ? list->patch->bytes & ~(uint64_t)3 : CDU_PATCH_BYTES};
    CDU_VK(device, device->vk.vkBeginCommandBuffer(commands, &begin), error, "recording");
    barrier(device, commands);
    device->vk.vkCmdCopyBuffer(commands, list->staging->handle, list->patch->handle, 1, &region);
    CDU_VK(device, device->vk.vkEndCommandBuffer(commands), error, "recording");
    return CDU_OK; /* the segment behind it begins with a barrier */
}

/* What the segment's steps wrote to a twin goes to where the host reads it. */
static void record_read_back(const cdu_list *list, VkCommandBuffer commands, const cdu_step *steps, uint32_t segment)
{
    uint32_t first = list->first[segment], end = list->first[segment + 1];
    for (uint32_t i = first; i < end; i++)
        for (uint32_t b = 0; b < steps[i].bindings; b++) {
            const cdu_buffer *buffer = steps[i].bind[b].buffer;
            VkBufferCopy region;
            if (!buffer->twin || written(steps, first, i, buffer, &region) || !written(steps, i, end, buffer, &region)) continue;
            list->device->vk.vkCmdCopyBuffer(commands, buffer->twin->handle, buffer->handle, 1, &region);
        }
}

static void record_end(const cdu_list *list, VkCommandBuffer commands, const cdu_step *steps, uint32_t segment)
{
    const cdu_vulkan_api *vk = &list->device->vk;
    barrier(list->device, commands); /* the ticket comes after all work */
    record_read_back(list, commands, steps, segment);
    VkBufferCopy region = {8 * (VkDeviceSize)segment, 8 * (VkDeviceSize)segment, 8};
    vk->vkCmdCopyBuffer(commands, list->tickets_in->handle, list->tickets_out->handle, 1, &region);
    VkMemoryBarrier memory = {.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER,
                              .srcAccessMask = VK_ACCESS_SHADER_WRITE_BIT | VK_ACCESS_TRANSFER_WRITE_BIT,
                              .dstAccessMask = VK_ACCESS_HOST_READ_BIT | VK_ACCESS_HOST_WRITE_BIT};
    vk->vkCmdPipelineBarrier(commands, work, VK_PIPELINE_STAGE_HOST_BIT, 0, 1, &memory, 0, NULL, 0, NULL);
}

static cdu_status record_segment(cdu_list *list, const cdu_step *steps, uint32_t segment, cdu_error *error)
{
    cdu_device *device = list->device;
    const cdu_vulkan_api *vk = &device->vk;
    VkCommandBuffer commands = list->commands[segment];
    VkCommandBufferBeginInfo begin = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
    CDU_VK(device, vk->vkBeginCommandBuffer(commands, &begin), error, "recording");
    uint32_t query = list->first[segment] + segment;
    if (list->queries) vk->vkCmdResetQueryPool(commands, list->queries, query, list->first[segment + 1] - list->first[segment] + 1);
    barrier(device, commands); /* after all submissions before this one */
    if (list->queries) vk->vkCmdWriteTimestamp(commands, VK_PIPELINE_STAGE_BOTTOM_OF_PIPE_BIT, list->queries, query++);
    for (uint32_t i = list->first[segment]; i < list->first[segment + 1]; i++) {
        const cdu_step *step = &steps[i];
        char label[64];
        snprintf(label, sizeof label, "%s", step->label ? step->label : "?");
        /* a device opened timed runs step after step, or the times would be of no step in particular */
        if (i > list->first[segment] && (step->barrier || list->queries)) barrier(device, commands);
        if (step->kind == CDU_STEP_KERNEL)
            CDU_TRY(record_kernel(list, commands, step, label, error));
        else
            CDU_TRY(record_transfer(list, commands, steps, list->first[segment], i, label, error));
        if (list->queries) vk->vkCmdWriteTimestamp(commands, VK_PIPELINE_STAGE_BOTTOM_OF_PIPE_BIT, list->queries, query++);
    }
    record_end(list, commands, steps, segment);
    CDU_VK(device, vk->vkEndCommandBuffer(commands), error, "recording");
    return CDU_OK;
}

static cdu_status make_pools(cdu_list *list, const cdu_step *steps, uint32_t count, cdu_error *error)
{
    cdu_device *device = list->device;
    uint32_t sets = 0, bindings = 0;
    for (uint32_t i = 0; i < count; i++)
        if (steps[i].kind == CDU_STEP_KERNEL && steps[i].bindings) sets++, bindings += steps[i].bindings;
    VkDescriptorPoolSize size = {VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, bindings};
    VkDescriptorPoolCreateInfo pool = {
        .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO, .maxSets = sets, .poolSizeCount = 1, .pPoolSizes = &size};
    if (sets)
        CDU_VK(device, device->vk.vkCreateDescriptorPool(device->handle, &pool, NULL, &list->descriptors), error,
               "making descriptor sets");
    VkQueryPoolCreateInfo queries = {.sType = VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO,
                                     .queryType = VK_QUERY_TYPE_TIMESTAMP,
                                     .queryCount = count + list->segments};
    if (device->timed && device->timestamp_ns > 0 && list->segments)
        CDU_VK(device, device->vk.vkCreateQueryPool(device->handle, &queries, NULL, &list->queries), error, "making timers");
    VkCommandBufferAllocateInfo allocate = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
                                            .commandPool = device->pool,
                                            .level = VK_COMMAND_BUFFER_LEVEL_PRIMARY,
                                            .commandBufferCount = list->segments + 1};
    CDU_VK(device, device->vk.vkAllocateCommandBuffers(device->handle, &allocate, list->commands), error, "making command buffers");
    return CDU_OK;
}

static cdu_status build(cdu_list *list, const cdu_step *steps, uint32_t count, cdu_error *error)
{
    cdu_device *device = list->device;
    size_t places = (size_t)list->segments + 1;
    CDU_TRY(cdu_allocate(&list->first, places, sizeof *list->first, error));
    CDU_TRY(cdu_allocate(&list->commands, places, sizeof *list->commands, error));
    CDU_TRY(cdu_allocate(&list->running, places, sizeof *list->running, error));
    uint32_t segment = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (steps[i].segment < segment)
            return cdu_fail(error, CDU_FAILED, "step %s: its segment %u follows segment %u", steps[i].label ? steps[i].label : "?",
                            steps[i].segment, segment);
        while (segment < steps[i].segment) list->first[++segment] = i;
    }
    while (segment < list->segments) list->first[++segment] = count;
    CDU_TRY(cdu_vulkan_buffer_create(device, 8 * places, CDU_MEM_UPLOAD, &list->tickets_in, error));
    CDU_TRY(cdu_vulkan_buffer_create(device, 8 * places, CDU_MEM_READBACK, &list->tickets_out, error));
    if (list->patch) CDU_TRY(cdu_vulkan_buffer_create(device, CDU_PATCH_BYTES, CDU_MEM_UPLOAD, &list->staging, error));
    CDU_TRY(make_pools(list, steps, count, error));
    for (uint32_t s = 0; s < list->segments; s++) CDU_TRY(record_segment(list, steps, s, error));
    return list->patch ? record_patch(list, error) : CDU_OK;
}

cdu_status cdu_vulkan_list_create(cdu_device *device, const cdu_step *steps, uint32_t count, cdu_buffer *patch, cdu_list **out,
                                  cdu_error *error)
{
    cdu_list *list;
    CDU_TRY(cdu_allocate(&list, 1, sizeof *list, error));
    list->device = device;
    list->segments = count ? steps[count - 1].segment + 1 : 0;
    list->patch = patch;
    cdu_status status = build(list, steps, count, error);
    if (status == CDU_OK)
        *out = list;
    else
        cdu_vulkan_list_destroy(list);
    return status;
}

void cdu_vulkan_list_destroy(cdu_list *list)
{
    if (!list) return;
    cdu_device *device = list->device;
    const cdu_vulkan_api *vk = &device->vk;
    cdu_progress progress;
    for (uint32_t s = 0; list->running && s < list->segments; s++)
        if (list->running[s]) cdu_vulkan_wait(device, list->running[s], UINT64_MAX, &progress, NULL);
    if (device->lost[0]) vk->vkDeviceWaitIdle(device->handle);
    for (int i = 0; i < CDU_VULKAN_SLOTS; i++) /* nobody may look into the ticket memory any more */
        for (uint32_t s = 0; list->running && s < list->segments; s++)
            if (device->slot[i].ticket && device->slot[i].ticket == list->running[s]) device->slot[i].seen = NULL;
    if (list->commands && list->commands[0])
        vk->vkFreeCommandBuffers(device->handle, device->pool, list->segments + 1, list->commands);
    if (list->descriptors) vk->vkDestroyDescriptorPool(device->handle, list->descriptors, NULL);
    if (list->queries) vk->vkDestroyQueryPool(device->handle, list->queries, NULL);
    cdu_vulkan_buffer_destroy(list->tickets_in);
    cdu_vulkan_buffer_destroy(list->tickets_out);
    cdu_vulkan_buffer_destroy(list->staging);
    free(list->first);
    free(list->commands);
    free(list->running);
    free(list);
}

/* Everything of this list that runs must be done before its staging memory is written. */
static cdu_status write_patch(cdu_list *list, const void *data, uint32_t bytes, cdu_error *error)
{
    if (!list->patch || bytes > CDU_PATCH_BYTES || bytes > list->patch->bytes)
        return cdu_fail(error, CDU_FAILED, "%u bytes of patch data; the list takes %u", bytes, list->patch ? CDU_PATCH_BYTES : 0);
    cdu_progress progress;
    for (uint32_t s = 0; s < list->segments; s++)
        if (list->running[s]) CDU_TRY(cdu_vulkan_wait(list->device, list->running[s], UINT64_MAX, &progress, error));
    memcpy(list->staging->host, data, bytes);
    return cdu_vulkan_flush(list->staging, error);
}

cdu_status cdu_vulkan_submit(cdu_list *list, uint32_t segment, cdu_lane lane, const void *patch_data, uint32_t bytes,
                             cdu_ticket *out, cdu_error *error)
{
    (void)lane; /* one queue */
    cdu_device *device = list->device;
    const cdu_vulkan_api *vk = &device->vk;
    if (segment >= list->segments) return cdu_fail(error, CDU_FAILED, "segment %u of %u is submitted", segment, list->segments);
    cdu_progress progress;
    if (list->running[segment]) CDU_TRY(cdu_vulkan_wait(device, list->running[segment], UINT64_MAX, &progress, error));
    cdu_ticket ticket = device->last + 1;
    uint32_t slot = ticket % CDU_VULKAN_SLOTS;
    if (ticket > CDU_VULKAN_SLOTS) CDU_TRY(cdu_vulkan_wait(device, ticket - CDU_VULKAN_SLOTS, UINT64_MAX, &progress, error));
    bool patched = patch_data && bytes;
    if (patched) CDU_TRY(write_patch(list, patch_data, bytes, error));
    VkFence *fence = &device->slot[slot].fence;
    VkFenceCreateInfo fence_info = {.sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO};
    if (*fence)
        CDU_VK(device, vk->vkResetFences(device->handle, 1, fence), error, "resetting a fence");
    else
        CDU_VK(device, vk->vkCreateFence(device->handle, &fence_info, NULL, fence), error, "making a fence");
    ((uint64_t *)list->tickets_in->host)[segment] = ticket;
    CDU_TRY(cdu_vulkan_flush(list->tickets_in, error));
    VkCommandBuffer commands[2] = {list->commands[list->segments], list->commands[segment]};
    VkSubmitInfo submit = {.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO,
                           .commandBufferCount = patched ? 2 : 1,
                           .pCommandBuffers = patched ? commands : commands + 1};
    device->used = true;
    CDU_VK(device, vk->vkQueueSubmit(device->queue, 1, &submit, *fence), error, "submitting");
    device->slot[slot].ticket = ticket;
    device->slot[slot].seen = list->tickets_out;
    device->slot[slot].segment = segment;
    device->last = ticket;
    list->running[segment] = ticket;
    *out = ticket;
    return CDU_OK;
}

static cdu_status is_lost(cdu_device *device, cdu_progress *progress, cdu_error *error)
{
    *progress = CDU_LOST;
    return cdu_fail(error, CDU_TRY_AGAIN, "%s is lost: %s; run again", device->info.name, device->lost);
}

cdu_status cdu_vulkan_wait(cdu_device *device, cdu_ticket ticket, uint64_t timeout_ns, cdu_progress *progress, cdu_error *error)
{
    uint32_t slot = ticket % CDU_VULKAN_SLOTS;
    *progress = CDU_DONE;
    if (!ticket) return CDU_OK;
    if (ticket > device->last) return cdu_fail(error, CDU_FAILED, "ticket %llu was never given", (unsigned long long)ticket);
    if (device->lost[0]) return is_lost(device, progress, error);
    if (device->slot[slot].ticket != ticket || !device->slot[slot].seen) return CDU_OK; /* seen done before */
    /* the wait sleeps in the driver */
    VkResult code = device->vk.vkWaitForFences(device->handle, 1, &device->slot[slot].fence, VK_TRUE, timeout_ns);
    if (code == VK_TIMEOUT) {
        *progress = CDU_RUNNING;
        return CDU_OK;
    }
    if (code != VK_SUCCESS) {
        if (code == VK_ERROR_DEVICE_LOST) {
            snprintf(device->lost, sizeof device->lost, "its driver says so (Vulkan error %d)", code);
            return is_lost(device, progress, error);
        }
        return CDU_VK_FAIL(error, device, code, "waiting");
    }
    cdu_buffer *tickets = device->slot[slot].seen;
    device->slot[slot].seen = NULL;
    CDU_TRY(cdu_vulkan_invalidate(tickets, error));
    uint64_t seen = ((const uint64_t *)tickets->host)[device->slot[slot].segment];
    if (seen == ticket) return CDU_OK;
    snprintf(device->lost, sizeof device->lost, "submission %llu was given up silently", (unsigned long long)ticket);
    return is_lost(device, progress, error);
}

cdu_status cdu_vulkan_times(cdu_list *list, uint32_t segment, uint64_t *nanoseconds, cdu_error *error)
{
    cdu_device *device = list->device;
    if (!list->queries) return cdu_fail(error, CDU_FAILED, "%s was not opened for timing, or has no timestamps", device->info.name);
    if (segment >= list->segments || !list->running[segment]) return cdu_fail(error, CDU_FAILED, "segment %u has not run", segment);
    uint32_t count = list->first[segment + 1] - list->first[segment];
    uint64_t *ticks;
    CDU_TRY(cdu_allocate(&ticks, (size_t)count + 1, sizeof *ticks, error));
    VkResult code =
        device->vk.vkGetQueryPoolResults(device->handle, list->queries, list->first[segment] + segment, count + 1,
                                         8 * ((size_t)count + 1), ticks, 8, VK_QUERY_RESULT_64_BIT | VK_QUERY_RESULT_WAIT_BIT);
    for (uint32_t i = 0; code == VK_SUCCESS && i < count; i++)
        nanoseconds[i] = (uint64_t)((double)((ticks[i + 1] - ticks[i]) & device->timestamp_mask) * device->timestamp_ns);
    free(ticks);
    return code == VK_SUCCESS ? CDU_OK : CDU_VK_FAIL(error, device, code, "asking for times");
}
