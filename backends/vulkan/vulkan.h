/* vulkan.h: inside the Vulkan backend: the loader's, the instance's, the device's and shaderc's functions, all found at run
 * time, and the objects. */
#ifndef CDU_BACKENDS_VULKAN_H
#define CDU_BACKENDS_VULKAN_H

#include <pthread.h>

#define VK_NO_PROTOTYPES
#include <vulkan/vulkan.h>

#include "backends/backend.h"

#define CDU_VULKAN_GLOBALS(X)                                                                                                      \
    X(vkCreateInstance) X(vkEnumerateInstanceExtensionProperties) X(vkEnumerateInstanceVersion)
#define CDU_VULKAN_INSTANCE(X)                                                                                                     \
    X(vkDestroyInstance) X(vkEnumeratePhysicalDevices) X(vkGetPhysicalDeviceProperties) X(vkGetPhysicalDeviceProperties2)         \
    X(vkGetPhysicalDeviceFeatures2) X(vkGetPhysicalDeviceMemoryProperties2) X(vkGetPhysicalDeviceQueueFamilyProperties)           \
    X(vkEnumerateDeviceExtensionProperties) X(vkCreateDevice) X(vkGetDeviceProcAddr)
#define CDU_VULKAN_DEVICE(X)                                                                                                       \
    X(vkDestroyDevice) X(vkGetDeviceQueue) X(vkDeviceWaitIdle) X(vkCreateBuffer) X(vkDestroyBuffer)                               \
    X(vkGetBufferMemoryRequirements) X(vkAllocateMemory) X(vkFreeMemory) X(vkBindBufferMemory) X(vkMapMemory)                     \
    X(vkFlushMappedMemoryRanges) X(vkInvalidateMappedMemoryRanges) X(vkCreateShaderModule) X(vkDestroyShaderModule)               \
    X(vkCreateDescriptorSetLayout) X(vkDestroyDescriptorSetLayout) X(vkCreatePipelineLayout) X(vkDestroyPipelineLayout)           \
    X(vkCreateComputePipelines) X(vkDestroyPipeline) X(vkCreatePipelineCache) X(vkDestroyPipelineCache) X(vkGetPipelineCacheData) \
    X(vkCreateDescriptorPool) X(vkDestroyDescriptorPool) X(vkAllocateDescriptorSets) X(vkUpdateDescriptorSets)                    \
    X(vkCreateCommandPool) X(vkDestroyCommandPool) X(vkAllocateCommandBuffers) X(vkFreeCommandBuffers) X(vkBeginCommandBuffer)    \
    X(vkEndCommandBuffer) X(vkCmdBindPipeline) X(vkCmdBindDescriptorSets) X(vkCmdPushConstants) X(vkCmdDispatch)                  \
    X(vkCmdCopyBuffer) X(vkCmdFillBuffer) X(vkCmdPipelineBarrier) X(vkCreateQueryPool) X(vkDestroyQueryPool)                      \
    X(vkCmdResetQueryPool) X(vkCmdWriteTimestamp) X(vkGetQueryPoolResults) X(vkQueueSubmit) X(vkCreateFence) X(vkDestroyFence)    \
    X(vkResetFences) X(vkWaitForFences)

/* Tickets in flight at once; one more waits for the oldest. */
enum { CDU_VULKAN_SLOTS = 64, CDU_VULKAN_DEVICES = 32 };

#define CDU_VULKAN_MEMBER(name) PFN_##name name;
/* One instance for the whole program, made at the first use and kept: loading the drivers takes longer than all else, and some leak
 * a little each time they are unloaded. */
typedef struct {
    VkInstance handle;
    CDU_VULKAN_GLOBALS(CDU_VULKAN_MEMBER)
    CDU_VULKAN_INSTANCE(CDU_VULKAN_MEMBER)
} cdu_vulkan_instance;

typedef struct { CDU_VULKAN_DEVICE(CDU_VULKAN_MEMBER) } cdu_vulkan_api;
#undef CDU_VULKAN_MEMBER

struct cdu_device {
    const cdu_vulkan_instance *instance;
    VkPhysicalDevice physical;
    VkDevice handle;
    cdu_vulkan_api vk;
    VkQueue queue;
    uint32_t family;
    cdu_device_info info;
    VkPhysicalDeviceMemoryProperties memory;
    uint32_t memory_type[4];                    /* of each cdu_memory */
    uint64_t atom;                              /* nonCoherentAtomSize */
    double timestamp_ns;                        /* nanoseconds a tick; 0: no timestamps */
    uint64_t timestamp_mask;
    bool timed, statistics, has_budget;
    bool subgroup_control, full_subgroups;      /* a kernel's size of subgroups can be chosen; they can be asked to be full */
    uint32_t most_subgroups;                    /* of a work-group whose kernel chose */
    bool used;                                  /* something was submitted */
    cdu_memory_usage usage;
    VkDescriptorSetLayout set_layout[CDU_BINDINGS + 1]; /* by number of bindings */
    VkCommandPool pool;
    VkPipelineCache pipelines;
    uint64_t pipelines_loaded[2];               /* key of the pipeline cache's file */
    size_t pipelines_size;
    PFN_vkGetPipelineExecutablePropertiesKHR executables;
    PFN_vkGetPipelineExecutableStatisticsKHR executable_statistics;
    cdu_ticket last;
    struct {
        VkFence fence;
        cdu_ticket ticket;
        cdu_buffer *seen;                       /* where the ticket will be; null once waited for */
        uint32_t segment;
    } slot[CDU_VULKAN_SLOTS];
    char lost[96];                              /* why, once the device is lost */
};

struct cdu_buffer {
    cdu_device *device;
    VkBuffer handle;
    VkDeviceMemory memory;
    uint64_t bytes, reserved;
    cdu_memory kind;
    void *host;                                 /* whole buffer, mapped for its life; null for device memory */
    bool coherent, mapped;
    uint32_t access;
    cdu_buffer *twin;                           /* null, or the memory that steps see: memory.c */
};

/* What commands work on. */
static inline VkBuffer cdu_vulkan_seen_by_steps(const cdu_buffer *buffer)
{
    return buffer->twin ? buffer->twin->handle : buffer->handle;
}

struct cdu_kernel {
    cdu_device *device;
    VkPipelineLayout layout;
    VkPipeline pipeline;
    char name[64];
    uint32_t bindings, params;
};

/* instance.c */
cdu_status cdu_vulkan_acquire(const cdu_vulkan_instance **out, cdu_error *error);
uint32_t cdu_vulkan_places(const cdu_vulkan_instance *instance, VkPhysicalDevice out[CDU_VULKAN_DEVICES]);
/* Family of the compute queue; UINT32_MAX where there is none. */
uint32_t cdu_vulkan_family(const cdu_vulkan_instance *instance, VkPhysicalDevice device, VkQueueFamilyProperties *out);
bool cdu_vulkan_extension(const cdu_vulkan_instance *instance, VkPhysicalDevice device, const char *name);
void cdu_vulkan_describe(const cdu_vulkan_instance *instance, VkPhysicalDevice device, cdu_device_info *out);
/* Subgroups of a work-group, at most, for kernels that choose the size of theirs; 0: cannot be chosen. */
uint32_t cdu_vulkan_most_subgroups(const cdu_vulkan_instance *instance, VkPhysicalDevice device);

/* Words for a Vulkan error: `what` failed on this device. Lost device and out of memory become CDU_TRY_AGAIN. */
cdu_status cdu_vulkan_fail(cdu_error *error, const char *where, const char *device, VkResult code, const char *what);
#define CDU_VK_FAIL(error, device, code, what)                                                                                    \
    cdu_vulkan_fail((error), __FILE__ ":" CDU_STRING(__LINE__), (device)->info.name, (code), (what))
#define CDU_VK(device, call, error, what)                                                                                         \
    do {                                                                                                                          \
        VkResult cdu_vk_code_ = (call);                                                                                           \
        if (cdu_vk_code_ != VK_SUCCESS) return CDU_VK_FAIL(error, device, cdu_vk_code_, what);                                    \
    } while (0)

/* memory.c */
cdu_status cdu_vulkan_choose_memory(cdu_device *, cdu_error *);
cdu_memory_usage cdu_vulkan_usage(const cdu_device *);
cdu_status cdu_vulkan_budget(cdu_device *, uint64_t *free_bytes, cdu_error *);
cdu_status cdu_vulkan_buffer_create(cdu_device *, uint64_t bytes, cdu_memory, cdu_buffer **, cdu_error *);
void cdu_vulkan_buffer_destroy(cdu_buffer *);
cdu_status cdu_vulkan_buffer_map(cdu_buffer *, uint64_t offset, uint64_t bytes, uint32_t access, void **, cdu_error *);
cdu_status cdu_vulkan_buffer_unmap(cdu_buffer *, cdu_error *);
/* Makes what the host wrote visible to the device, or the other way round; nothing to do for coherent memory. */
cdu_status cdu_vulkan_flush(cdu_buffer *, cdu_error *);
cdu_status cdu_vulkan_invalidate(cdu_buffer *, cdu_error *);

/* kernel.c */
cdu_status cdu_vulkan_compile(const char *source, const char *name, uint32_t **words, size_t *bytes, cdu_error *);
cdu_status cdu_vulkan_kernel_create(cdu_device *, const char *source, const char *name, const char *defines, uint32_t bindings,
                                    uint32_t params, uint32_t subgroup, cdu_kernel **, cdu_kernel_stats *, cdu_error *);
void cdu_vulkan_kernel_destroy(cdu_kernel *);
void cdu_vulkan_load_pipelines(cdu_device *);
void cdu_vulkan_store_pipelines(cdu_device *);

/* list.c */
cdu_status cdu_vulkan_list_create(cdu_device *, const cdu_step *, uint32_t count, cdu_buffer *patch, cdu_list **, cdu_error *);
void cdu_vulkan_list_destroy(cdu_list *);
cdu_status cdu_vulkan_submit(cdu_list *, uint32_t segment, cdu_lane, const void *patch_data, uint32_t bytes, cdu_ticket *,
                             cdu_error *);
cdu_status cdu_vulkan_wait(cdu_device *, cdu_ticket, uint64_t timeout_ns, cdu_progress *, cdu_error *);
cdu_status cdu_vulkan_times(cdu_list *, uint32_t segment, uint64_t *ns_of_each_step, cdu_error *);

#endif
