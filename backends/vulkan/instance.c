/* instance.c: the Vulkan loader, one instance for the program, its devices and what they say about themselves. */
#define _GNU_SOURCE
#include "backends/vulkan/vulkan.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include "backends/host.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static cdu_vulkan_instance shared;

static cdu_status find_loader(PFN_vkGetInstanceProcAddr *out, cdu_error *error)
{
    static const char *const names[] = {"libvulkan.so.1", "libvulkan.so", "libvulkan.1.dylib", "libMoltenVK.dylib", NULL};
    static PFN_vkGetInstanceProcAddr found;
    if (!found) {
        void *library;
        CDU_TRY(cdu_library_open(names, "CDUNET_LIBVULKAN",
                                 "install a Vulkan loader (Debian: libvulkan1) and a driver (mesa-vulkan-drivers), or use OpenCL",
                                 &library, error));
        *(void **)&found = dlsym(library, "vkGetInstanceProcAddr");
        if (!found) return cdu_fail(error, CDU_NO_DEVICE, "the Vulkan loader has no vkGetInstanceProcAddr");
    }
    *out = found;
    return CDU_OK;
}

static bool has_portability(const cdu_vulkan_instance *instance)
{
    VkExtensionProperties list[256];
    uint32_t count = 256;
    VkResult code = instance->vkEnumerateInstanceExtensionProperties(NULL, &count, list);
    if (code != VK_SUCCESS && code != VK_INCOMPLETE) return false;
    for (uint32_t i = 0; i < count; i++)
        if (!strcmp(list[i].extensionName, VK_KHR_PORTABILITY_ENUMERATION_EXTENSION_NAME)) return true;
    return false;
}

static cdu_status start(cdu_vulkan_instance *instance, cdu_error *error)
{
    PFN_vkGetInstanceProcAddr find = NULL;
    CDU_TRY(find_loader(&find, error));
#define CDU_VULKAN_FIND(function)                                                                                                  \
    instance->function = (PFN_##function)find(instance->handle, #function);                                                        \
    if (!instance->function)                                                                                                       \
        return cdu_fail(error, CDU_NO_DEVICE, "the Vulkan loader has no %s: it is older than Vulkan 1.1", #function);
    CDU_VULKAN_GLOBALS(CDU_VULKAN_FIND)
    VkApplicationInfo application = {
        .sType = VK_STRUCTURE_TYPE_APPLICATION_INFO, .pApplicationName = "cdunet", .apiVersion = VK_API_VERSION_1_1};
    const char *extension = VK_KHR_PORTABILITY_ENUMERATION_EXTENSION_NAME; /* MoltenVK hides itself without it */
    bool portability = has_portability(instance);
    VkInstanceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO,
                                 .flags = portability ? VK_INSTANCE_CREATE_ENUMERATE_PORTABILITY_BIT_KHR : 0,
                                 .pApplicationInfo = &application,
                                 .enabledExtensionCount = portability,
                                 .ppEnabledExtensionNames = &extension};
    VkResult code = instance->vkCreateInstance(&info, NULL, &instance->handle);
    if (code == VK_ERROR_INCOMPATIBLE_DRIVER) instance->handle = NULL;
    if (code != VK_SUCCESS)
        return cdu_fail(error, CDU_NO_DEVICE,
                        "Vulkan cannot be started (error %d): no driver is installed, or it is older than 1.1", code);
    CDU_VULKAN_INSTANCE(CDU_VULKAN_FIND)
#undef CDU_VULKAN_FIND
    return CDU_OK;
}

cdu_status cdu_vulkan_acquire(const cdu_vulkan_instance **out, cdu_error *error)
{
    pthread_mutex_lock(&lock);
    cdu_status status = CDU_OK;
    if (!shared.handle) status = start(&shared, error);
    if (status != CDU_OK) {
        if (shared.handle && shared.vkDestroyInstance) shared.vkDestroyInstance(shared.handle, NULL);
        memset(&shared, 0, sizeof shared);
    }
    pthread_mutex_unlock(&lock);
    *out = &shared;
    return status;
}

cdu_status cdu_vulkan_fail(cdu_error *error, const char *where, const char *device, VkResult code, const char *what)
{
    switch (code) {
    case VK_ERROR_OUT_OF_HOST_MEMORY:
    case VK_ERROR_OUT_OF_DEVICE_MEMORY:
        return cdu_error_set(error, CDU_TRY_AGAIN, where,
                             "%s: %s: out of memory (Vulkan error %d); use a smaller batch or tile, or free memory", device, what,
                             code);
    case VK_ERROR_DEVICE_LOST:
        return cdu_error_set(error, CDU_TRY_AGAIN, where, "%s: %s: the device is lost (Vulkan error %d); run again", device, what,
                             code);
    default: return cdu_error_set(error, CDU_FAILED, where, "%s: %s: Vulkan error %d", device, what, code);
    }
}

uint32_t cdu_vulkan_family(const cdu_vulkan_instance *instance, VkPhysicalDevice device, VkQueueFamilyProperties *out)
{
    VkQueueFamilyProperties families[32];
    uint32_t count = 32;
    instance->vkGetPhysicalDeviceQueueFamilyProperties(device, &count, families);
    for (uint32_t i = 0; i < count; i++)
        if (families[i].queueFlags & VK_QUEUE_COMPUTE_BIT && families[i].queueCount) {
            if (out) *out = families[i];
            return i;
        }
    return UINT32_MAX;
}

uint32_t cdu_vulkan_places(const cdu_vulkan_instance *instance, VkPhysicalDevice out[CDU_VULKAN_DEVICES])
{
    VkPhysicalDevice all[CDU_VULKAN_DEVICES];
    uint32_t count = CDU_VULKAN_DEVICES, usable = 0;
    VkResult code = instance->vkEnumeratePhysicalDevices(instance->handle, &count, all);
    if (code != VK_SUCCESS && code != VK_INCOMPLETE) return 0;
    for (uint32_t i = 0; i < count; i++) {
        VkPhysicalDeviceProperties properties;
        instance->vkGetPhysicalDeviceProperties(all[i], &properties);
        if (properties.apiVersion >= VK_API_VERSION_1_1 && cdu_vulkan_family(instance, all[i], NULL) != UINT32_MAX)
            out[usable++] = all[i];
    }
    return usable;
}

bool cdu_vulkan_extension(const cdu_vulkan_instance *instance, VkPhysicalDevice device, const char *name)
{
    VkExtensionProperties list[512];
    uint32_t count = 512;
    VkResult code = instance->vkEnumerateDeviceExtensionProperties(device, NULL, &count, list);
    if (code != VK_SUCCESS && code != VK_INCOMPLETE) return false;
    for (uint32_t i = 0; i < count; i++)
        if (!strcmp(list[i].extensionName, name)) return true;
    return false;
}

static const char *vendor_name(uint32_t id)
{
    static const struct {
        uint32_t id;
        const char *name;
    } known[] = {
        {0x1002, "AMD"},    {0x1010, "Imagination"}, {0x106B, "Apple"}, {0x10DE, "NVIDIA"}, {0x13B5, "ARM"},
        {0x1AE0, "Google"}, {0x5143, "Qualcomm"},    {0x8086, "Intel"}, {0x10005, "Mesa"},  {0, NULL},
    };
    for (int i = 0; known[i].name; i++)
        if (known[i].id == id) return known[i].name;
    return NULL;
}

/* The PCI address where the driver tells it, as OpenCL does; else the UUID. */
static void identify(const VkPhysicalDevicePCIBusInfoPropertiesEXT *pci, bool has_pci, const uint8_t uuid[VK_UUID_SIZE],
                     cdu_device_info *out)
{
    if (has_pci && (pci->pciDomain || pci->pciBus || pci->pciDevice)) {
        snprintf(out->uuid, sizeof out->uuid, "pci %04x:%02x:%02x.%x", pci->pciDomain, pci->pciBus, pci->pciDevice,
                 pci->pciFunction);
        return;
    }
    bool any = false;
    for (uint32_t i = 0; i < VK_UUID_SIZE; i++) any |= uuid[i] != 0;
    for (uint32_t i = 0; any && i < VK_UUID_SIZE; i++) snprintf(out->uuid + 2 * i, 3, "%02x", uuid[i]);
}

static void describe_memory(const cdu_vulkan_instance *instance, VkPhysicalDevice device, cdu_device_info *out)
{
    VkPhysicalDeviceMemoryProperties2 memory = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2};
    instance->vkGetPhysicalDeviceMemoryProperties2(device, &memory);
    const VkPhysicalDeviceMemoryProperties *m = &memory.memoryProperties;
    for (uint32_t i = 0; i < m->memoryHeapCount; i++)
        if (m->memoryHeaps[i].flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT && m->memoryHeaps[i].size > out->memory)
            out->memory = m->memoryHeaps[i].size;
    const VkMemoryPropertyFlags both = VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT | VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT;
    for (uint32_t i = 0; i < m->memoryTypeCount; i++)
        if ((m->memoryTypes[i].propertyFlags & both) == both && out->kind != CDU_DISCRETE) out->unified = true;
}

static void describe_limits(const VkPhysicalDeviceLimits *limits, uint64_t largest, cdu_device_info *out)
{
    out->largest_buffer = largest < out->memory ? largest : out->memory;
    out->largest_binding = limits->maxStorageBufferRange;
    if (out->largest_binding > out->largest_buffer) out->largest_binding = out->largest_buffer;
    out->largest_binding &= ~(uint64_t)3;
    uint64_t align = limits->minStorageBufferOffsetAlignment;
    out->binding_align = align > 256 ? (uint32_t)align : 256;
    out->group_items = limits->maxComputeWorkGroupInvocations;
    for (int i = 0; i < 3; i++) {
        out->group_size[i] = limits->maxComputeWorkGroupSize[i];
        out->group_count[i] = limits->maxComputeWorkGroupCount[i] > INT32_MAX ? INT32_MAX : limits->maxComputeWorkGroupCount[i];
    }
    out->local_bytes = limits->maxComputeSharedMemorySize;
}

/* As the vendors' own extensions tell; 0 where there is none (Intel). */
static uint32_t count_units(const cdu_vulkan_instance *instance, VkPhysicalDevice device)
{
    VkPhysicalDeviceShaderSMBuiltinsPropertiesNV nvidia = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_SM_BUILTINS_PROPERTIES_NV};
    VkPhysicalDeviceShaderCorePropertiesAMD amd = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_CORE_PROPERTIES_AMD};
    VkPhysicalDeviceProperties2 all = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2};
    void **tail = &all.pNext;
    if (cdu_vulkan_extension(instance, device, VK_NV_SHADER_SM_BUILTINS_EXTENSION_NAME)) *tail = &nvidia, tail = &nvidia.pNext;
    if (cdu_vulkan_extension(instance, device, VK_AMD_SHADER_CORE_PROPERTIES_EXTENSION_NAME)) *tail = &amd;
    if (!all.pNext) return 0;
    instance->vkGetPhysicalDeviceProperties2(device, &all);
    return nvidia.shaderSMCount + amd.shaderEngineCount * amd.shaderArraysPerEngineCount * amd.computeUnitsPerShaderArray;
}

uint32_t cdu_vulkan_most_subgroups(const cdu_vulkan_instance *instance, VkPhysicalDevice device)
{
    VkPhysicalDeviceSubgroupSizeControlProperties sizes = {.sType =
                                                               VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_PROPERTIES};
    VkPhysicalDeviceProperties2 all = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2, .pNext = &sizes};
    if (!cdu_vulkan_extension(instance, device, VK_EXT_SUBGROUP_SIZE_CONTROL_EXTENSION_NAME)) return 0;
    instance->vkGetPhysicalDeviceProperties2(device, &all);
    return sizes.maxComputeWorkgroupSubgroups;
}

void cdu_vulkan_describe(const cdu_vulkan_instance *instance, VkPhysicalDevice device, cdu_device_info *out)
{
    *out = (cdu_device_info){0};
    bool has_pci = cdu_vulkan_extension(instance, device, VK_EXT_PCI_BUS_INFO_EXTENSION_NAME);
    bool has_driver = cdu_vulkan_extension(instance, device, VK_KHR_DRIVER_PROPERTIES_EXTENSION_NAME);
    bool has_sizes = cdu_vulkan_extension(instance, device, VK_EXT_SUBGROUP_SIZE_CONTROL_EXTENSION_NAME);
    VkPhysicalDevicePCIBusInfoPropertiesEXT pci = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PCI_BUS_INFO_PROPERTIES_EXT};
    VkPhysicalDeviceDriverProperties driver = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DRIVER_PROPERTIES};
    VkPhysicalDeviceSubgroupSizeControlProperties sizes = {.sType =
                                                               VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_PROPERTIES};
    VkPhysicalDeviceSubgroupProperties subgroup = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_PROPERTIES};
    VkPhysicalDeviceIDProperties id = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_ID_PROPERTIES, .pNext = &subgroup};
    VkPhysicalDeviceMaintenance3Properties sizes3 = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAINTENANCE_3_PROPERTIES,
                                                     .pNext = &id};
    VkPhysicalDeviceProperties2 all = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2, .pNext = &sizes3};
    void **tail = &subgroup.pNext;
    if (has_pci) *tail = &pci, tail = &pci.pNext;
    if (has_driver) *tail = &driver, tail = &driver.pNext;
    if (has_sizes) *tail = &sizes, tail = &sizes.pNext;
    instance->vkGetPhysicalDeviceProperties2(device, &all);
    const VkPhysicalDeviceProperties *p = &all.properties;

    snprintf(out->name, sizeof out->name, "%.127s", p->deviceName);
    const char *vendor = vendor_name(p->vendorID);
    if (vendor)
        snprintf(out->vendor, sizeof out->vendor, "%s", vendor);
    else
        snprintf(out->vendor, sizeof out->vendor, "0x%04x", p->vendorID);
    if (has_driver)
        snprintf(out->driver, sizeof out->driver, "%.56s%s%.64s", driver.driverName, driver.driverInfo[0] ? " " : "",
                 driver.driverInfo);
    else
        snprintf(out->driver, sizeof out->driver, "%u", p->driverVersion);
    switch (p->deviceType) {
    case VK_PHYSICAL_DEVICE_TYPE_CPU: out->kind = CDU_CPU; break;
    case VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU: out->kind = CDU_INTEGRATED; break;
    default: out->kind = CDU_DISCRETE; break;
    }
    describe_memory(instance, device, out);
    describe_limits(&p->limits, sizes3.maxMemoryAllocationSize, out);
    if (cdu_vulkan_extension(instance, device, VK_KHR_SHADER_FLOAT16_INT8_EXTENSION_NAME)) {
        VkPhysicalDeviceShaderFloat16Int8Features half = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_FLOAT16_INT8_FEATURES};
        VkPhysicalDeviceFeatures2 features = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2, .pNext = &half};
        instance->vkGetPhysicalDeviceFeatures2(device, &features);
        if (half.shaderFloat16) out->features |= CDU_HAS_F16;
    }
    if (cdu_vulkan_extension(instance, device, "VK_KHR_cooperative_matrix")) out->features |= CDU_HAS_MATRIX;
    out->subgroup_min = has_sizes ? sizes.minSubgroupSize : subgroup.subgroupSize;
    out->subgroup_max = has_sizes ? sizes.maxSubgroupSize : subgroup.subgroupSize;
    if (has_sizes && sizes.requiredSubgroupSizeStages & VK_SHADER_STAGE_COMPUTE_BIT) out->features |= CDU_HAS_SUBGROUP_SIZE;
    if (subgroup.supportedStages & VK_SHADER_STAGE_COMPUTE_BIT && subgroup.supportedOperations & VK_SUBGROUP_FEATURE_BALLOT_BIT)
        out->features |= CDU_HAS_BROADCAST;
    out->vector_width = 4;
    out->compute_units = count_units(instance, device);
    out->segment_ms = out->kind == CDU_CPU ? 0 : 100;
    identify(&pci, has_pci, id.deviceUUID, out);
}
