/* device.c: the Vulkan backend's table; opening and closing a device. Vulkan 1.1, one compute queue; every extension is
 * optional. */
#include "backends/vulkan/vulkan.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"

static cdu_status enumerate(cdu_device_info *out, uint32_t *count, cdu_error *error)
{
    const cdu_vulkan_instance *instance;
    uint32_t room = *count;
    *count = 0;
    CDU_TRY(cdu_vulkan_acquire(&instance, error));
    VkPhysicalDevice places[CDU_VULKAN_DEVICES];
    *count = cdu_vulkan_places(instance, places);
    for (uint32_t i = 0; i < *count && i < room; i++) cdu_vulkan_describe(instance, places[i], &out[i]);
    return CDU_OK;
}

static void close_device(cdu_device *device)
{
    if (!device) return;
    const cdu_vulkan_api *vk = &device->vk;
    if (device->handle && vk->vkDestroyDevice) {
        /* RADV without hardware, which compiles kernels for checks, cannot wait */
        if (device->used) vk->vkDeviceWaitIdle(device->handle);
        for (int i = 0; i < CDU_VULKAN_SLOTS; i++)
            if (device->slot[i].fence) vk->vkDestroyFence(device->handle, device->slot[i].fence, NULL);
        for (int i = 0; i <= CDU_BINDINGS; i++)
            if (device->set_layout[i]) vk->vkDestroyDescriptorSetLayout(device->handle, device->set_layout[i], NULL);
        if (device->pool) vk->vkDestroyCommandPool(device->handle, device->pool, NULL);
        cdu_vulkan_store_pipelines(device);
        vk->vkDestroyDevice(device->handle, NULL);
    }
    free(device);
}

/* Creates the logical device with those optional extensions that are there. */
static cdu_status create(cdu_device *device, cdu_error *error)
{
    const cdu_vulkan_instance *instance = device->instance;
    const char *names[8];
    uint32_t count = 0;
    VkPhysicalDevicePipelineExecutablePropertiesFeaturesKHR executable = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PIPELINE_EXECUTABLE_PROPERTIES_FEATURES_KHR};
    VkPhysicalDeviceSubgroupSizeControlFeatures control = {.sType =
                                                               VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_FEATURES};
    VkPhysicalDeviceFeatures2 features = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2};
    void **tail = &features.pNext;
    bool has_executable = cdu_vulkan_extension(instance, device->physical, VK_KHR_PIPELINE_EXECUTABLE_PROPERTIES_EXTENSION_NAME);
    bool has_control = cdu_vulkan_extension(instance, device->physical, VK_EXT_SUBGROUP_SIZE_CONTROL_EXTENSION_NAME);
    if (has_executable) *tail = &executable, tail = &executable.pNext;
    if (has_control) *tail = &control, tail = &control.pNext;
    instance->vkGetPhysicalDeviceFeatures2(device->physical, &features);
    device->statistics = has_executable && executable.pipelineExecutableInfo;
    device->subgroup_control = has_control && control.subgroupSizeControl && device->info.features & CDU_HAS_SUBGROUP_SIZE;
    device->full_subgroups = device->subgroup_control && control.computeFullSubgroups;
    device->has_budget = cdu_vulkan_extension(instance, device->physical, VK_EXT_MEMORY_BUDGET_EXTENSION_NAME);
    if (has_executable) names[count++] = VK_KHR_PIPELINE_EXECUTABLE_PROPERTIES_EXTENSION_NAME;
    if (has_control) names[count++] = VK_EXT_SUBGROUP_SIZE_CONTROL_EXTENSION_NAME;
    if (device->has_budget) names[count++] = VK_EXT_MEMORY_BUDGET_EXTENSION_NAME;
    /* a driver that offers it demands it */
    if (cdu_vulkan_extension(instance, device->physical, "VK_KHR_portability_subset")) names[count++] = "VK_KHR_portability_subset";

    features.features = (VkPhysicalDeviceFeatures){0}; /* none of the core features is needed */
    float priority = 1.0f;
    VkDeviceQueueCreateInfo queue = {.sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
                                     .queueFamilyIndex = device->family,
                                     .queueCount = 1,
                                     .pQueuePriorities = &priority};
    VkDeviceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
                               .pNext = features.pNext,
                               .queueCreateInfoCount = 1,
                               .pQueueCreateInfos = &queue,
                               .enabledExtensionCount = count,
                               .ppEnabledExtensionNames = names};
    CDU_VK(device, instance->vkCreateDevice(device->physical, &info, NULL, &device->handle), error, "opening the device");
#define CDU_VULKAN_FIND(function)                                                                                                  \
    device->vk.function = (PFN_##function)instance->vkGetDeviceProcAddr(device->handle, #function);                                \
    if (!device->vk.function) return cdu_fail(error, CDU_NO_DEVICE, "%s: its driver has no %s", device->info.name, #function);
    CDU_VULKAN_DEVICE(CDU_VULKAN_FIND)
#undef CDU_VULKAN_FIND
    if (device->statistics) {
        device->executables = (PFN_vkGetPipelineExecutablePropertiesKHR)instance->vkGetDeviceProcAddr(
            device->handle, "vkGetPipelineExecutablePropertiesKHR");
        device->executable_statistics = (PFN_vkGetPipelineExecutableStatisticsKHR)instance->vkGetDeviceProcAddr(
            device->handle, "vkGetPipelineExecutableStatisticsKHR");
        device->statistics = device->executables && device->executable_statistics;
    }
    device->vk.vkGetDeviceQueue(device->handle, device->family, 0, &device->queue);
    return CDU_OK;
}

static cdu_status make_layouts(cdu_device *device, cdu_error *error)
{
    VkDescriptorSetLayoutBinding bindings[CDU_BINDINGS];
    for (uint32_t i = 0; i < CDU_BINDINGS; i++)
        bindings[i] = (VkDescriptorSetLayoutBinding){.binding = i,
                                                     .descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
                                                     .descriptorCount = 1,
                                                     .stageFlags = VK_SHADER_STAGE_COMPUTE_BIT};
    for (uint32_t i = 0; i <= CDU_BINDINGS; i++) {
        VkDescriptorSetLayoutCreateInfo info = {
            .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO, .bindingCount = i, .pBindings = bindings};
        CDU_VK(device, device->vk.vkCreateDescriptorSetLayout(device->handle, &info, NULL, &device->set_layout[i]), error,
               "making a descriptor layout");
    }
    return CDU_OK;
}

static cdu_status start(cdu_device *device, cdu_error *error)
{
    VkPhysicalDeviceProperties properties;
    VkQueueFamilyProperties family;
    device->instance->vkGetPhysicalDeviceProperties(device->physical, &properties);
    device->most_subgroups = cdu_vulkan_most_subgroups(device->instance, device->physical);
    cdu_vulkan_describe(device->instance, device->physical, &device->info);
    device->family = cdu_vulkan_family(device->instance, device->physical, &family);
    device->atom = properties.limits.nonCoherentAtomSize;
    if (family.timestampValidBits) {
        device->timestamp_ns = properties.limits.timestampPeriod;
        device->timestamp_mask = family.timestampValidBits >= 64 ? UINT64_MAX : ((uint64_t)1 << family.timestampValidBits) - 1;
    }
    if (properties.limits.maxPushConstantsSize < 4 * CDU_PARAM_WORDS)
        return cdu_fail(error, CDU_NO_DEVICE, "%s: %u bytes of push constants; %d are needed", device->info.name,
                        properties.limits.maxPushConstantsSize, 4 * CDU_PARAM_WORDS);
    CDU_TRY(create(device, error));
    CDU_TRY(cdu_vulkan_choose_memory(device, error));
    CDU_TRY(make_layouts(device, error));
    VkCommandPoolCreateInfo pool = {.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO, .queueFamilyIndex = device->family};
    CDU_VK(device, device->vk.vkCreateCommandPool(device->handle, &pool, NULL, &device->pool), error, "making a command pool");
    cdu_vulkan_load_pipelines(device);
    return CDU_OK;
}

static cdu_status open_device(uint32_t index, bool timed, cdu_device **out, cdu_error *error)
{
    const cdu_vulkan_instance *instance;
    CDU_TRY(cdu_vulkan_acquire(&instance, error));
    VkPhysicalDevice places[CDU_VULKAN_DEVICES];
    uint32_t count = cdu_vulkan_places(instance, places);
    cdu_status status = CDU_OK;
    cdu_device *device = NULL;
    if (index >= count) status = cdu_fail(error, CDU_NO_DEVICE, "there is no device vulkan:%u; Vulkan has %u", index, count);
    if (status == CDU_OK) status = cdu_allocate(&device, 1, sizeof *device, error);
    if (status != CDU_OK) return status;
    device->instance = instance;
    device->physical = places[index];
    device->timed = timed;
    status = start(device, error);
    if (status != CDU_OK)
        close_device(device);
    else
        *out = device;
    return status;
}

extern const cdu_backend cdu_backend_vulkan;
const cdu_backend cdu_backend_vulkan = {
    .name = "vulkan",
    .enumerate = enumerate,
    .open = open_device,
    .close = close_device,
    .budget = cdu_vulkan_budget,
    .usage = cdu_vulkan_usage,
    .buffer_create = cdu_vulkan_buffer_create,
    .buffer_destroy = cdu_vulkan_buffer_destroy,
    .buffer_map = cdu_vulkan_buffer_map,
    .buffer_unmap = cdu_vulkan_buffer_unmap,
    .kernel_create = cdu_vulkan_kernel_create,
    .kernel_destroy = cdu_vulkan_kernel_destroy,
    .list_create = cdu_vulkan_list_create,
    .list_destroy = cdu_vulkan_list_destroy,
    .submit = cdu_vulkan_submit,
    .wait = cdu_vulkan_wait,
    .times = cdu_vulkan_times,
};
