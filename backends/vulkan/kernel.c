/* kernel.c: from a kernel's text to a pipeline: GLSL to SPIR-V by shaderc (opened at run time, not needed where the cache has the
 * SPIR-V), then the driver's own compiler, whose results are kept too where it gives them. */
#define _GNU_SOURCE
#include "backends/vulkan/vulkan.h"

#include <dlfcn.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/cache.h"
#include "backends/host.h"
#include "backends/source.h"
#include "backends/vulkan/shaderc_api.h"
#include "cdunet/log.h"
#include "core/base/memory.h"

/* Written into the cache's key: change it with the options below. */
#define OPTIONS "shaderc vulkan1.1 performance 1"

static cdu_shaderc_api sc;
static shaderc_compiler_t compiler;
static shaderc_compile_options_t compile_options;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static cdu_error load_error;

/* The table of our own module, or the functions of a shared library. */
static cdu_status take_functions(void *library)
{
    const cdu_shaderc_api *table = dlsym(library, "cdu_shaderc_table");
    if (table) {
        sc = *table;
        return CDU_OK;
    }
#define SHADERC_FIND(function)                                                                                                     \
    *(void **)&sc.function = dlsym(library, #function);                                                                            \
    if (!sc.function) return cdu_fail(&load_error, CDU_NO_DEVICE, "shaderc has no %s", #function);
    CDU_SHADERC_FUNCTIONS(SHADERC_FIND)
#undef SHADERC_FIND
    return CDU_OK;
}

static void load(void)
{
    static const char *const names[] = {"libshaderc.so.1", "libshaderc_shared.so.1", "libcdunet_shaderc.so",
                                        "libshaderc_shared.dylib", NULL};
    void *library;
    if (cdu_library_open(names, "CDUNET_LIBSHADERC", "Vulkan kernels need shaderc; OpenCL does not", &library, &load_error) !=
            CDU_OK ||
        take_functions(library) != CDU_OK)
        return;
    compiler = sc.shaderc_compiler_initialize();
    compile_options = sc.shaderc_compile_options_initialize();
    if (!compiler || !compile_options) {
        cdu_fail(&load_error, CDU_TRY_AGAIN, "shaderc cannot be started: out of memory");
        return;
    }
    sc.shaderc_compile_options_set_target_env(compile_options, shaderc_target_env_vulkan, shaderc_env_version_vulkan_1_1);
    sc.shaderc_compile_options_set_optimization_level(compile_options, shaderc_optimization_level_performance);
}

cdu_status cdu_vulkan_compile(const char *source, const char *name, uint32_t **words, size_t *bytes, cdu_error *error)
{
    const char *parts[] = {"spirv", source, OPTIONS};
    cdu_cache_key key = cdu_cache_key_of(parts, sizeof parts / sizeof parts[0]);
    void *cached;
    if (cdu_cache_load("spirv", key, &cached, bytes)) return *words = cached, CDU_OK;
    pthread_once(&once, load);
    if (load_error.status != CDU_OK) {
        if (error) *error = load_error;
        return load_error.status;
    }
    shaderc_compilation_result_t result =
        sc.shaderc_compile_into_spv(compiler, source, strlen(source), shaderc_compute_shader, name, "main", compile_options);
    if (!result) return cdu_fail(error, CDU_TRY_AGAIN, "kernel %s: shaderc is out of memory", name);
    cdu_status status = CDU_OK;
    if (sc.shaderc_result_get_compilation_status(result) != shaderc_compilation_status_success) {
        char excerpt[CDU_LOG_EXCERPT];
        cdu_source_excerpt(excerpt, sc.shaderc_result_get_error_message(result));
        cdu_log(CDU_LOG_DEBUG, "%s", sc.shaderc_result_get_error_message(result));
        status = cdu_fail(error, CDU_NO_DEVICE, "kernel %s does not compile for Vulkan: %s", name, excerpt);
    } else {
        *bytes = sc.shaderc_result_get_length(result);
        status = cdu_allocate(words, *bytes, 1, error);
        if (status == CDU_OK) {
            memcpy(*words, sc.shaderc_result_get_bytes(result), *bytes);
            cdu_cache_store("spirv", key, *words, *bytes);
        }
    }
    sc.shaderc_result_release(result);
    return status;
}

static cdu_cache_key pipelines_key(const cdu_device *device)
{
    VkPhysicalDeviceProperties properties;
    device->instance->vkGetPhysicalDeviceProperties(device->physical, &properties);
    char id[2 * VK_UUID_SIZE + 40];
    int used = snprintf(id, sizeof id, "%x %x %x ", properties.vendorID, properties.deviceID, properties.driverVersion);
    for (uint32_t i = 0; i < VK_UUID_SIZE; i++)
        used += snprintf(id + used, sizeof id - (size_t)used, "%02x", properties.pipelineCacheUUID[i]);
    const char *parts[] = {"pipelines", id, device->info.name, device->info.driver};
    return cdu_cache_key_of(parts, sizeof parts / sizeof parts[0]);
}

void cdu_vulkan_load_pipelines(cdu_device *device)
{
    void *data = NULL;
    size_t size = 0;
    if (!cdu_cache_load("pipelines", pipelines_key(device), &data, &size)) size = 0;
    VkPipelineCacheCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO, .initialDataSize = size, .pInitialData = data};
    if (device->vk.vkCreatePipelineCache(device->handle, &info, NULL, &device->pipelines) != VK_SUCCESS)
        device->pipelines = VK_NULL_HANDLE; /* slower, not wrong */
    device->pipelines_size = size;
    free(data);
}

void cdu_vulkan_store_pipelines(cdu_device *device)
{
    size_t size = 0;
    void *data;
    if (!device->pipelines) return;
    if (device->vk.vkGetPipelineCacheData(device->handle, device->pipelines, &size, NULL) == VK_SUCCESS &&
        size > device->pipelines_size && cdu_allocate(&data, size, 1, NULL) == CDU_OK) {
        /* 32 bytes are the header alone: drivers that keep nothing */
        if (size > 32 && device->vk.vkGetPipelineCacheData(device->handle, device->pipelines, &size, data) == VK_SUCCESS)
            cdu_cache_store("pipelines", pipelines_key(device), data, size);
        free(data);
    }
    device->vk.vkDestroyPipelineCache(device->handle, device->pipelines, NULL);
    device->pipelines = VK_NULL_HANDLE;
}

static uint64_t statistic(const VkPipelineExecutableStatisticKHR *s)
{
    switch (s->format) {
    case VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_BOOL32_KHR: return s->value.b32;
    case VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_INT64_KHR: return s->value.i64 > 0 ? (uint64_t)s->value.i64 : 0;
    case VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_FLOAT64_KHR: return s->value.f64 > 0 ? (uint64_t)s->value.f64 : 0;
    default: return s->value.u64;
    }
}

/* Drivers name their statistics freely: RADV "VGPRs", "Spilled VGPRs", "Scratch size", "LDS size"; ANV "Spill count", "Scratch
 * Memory Size"; NVIDIA "Register Count", "Local Memory Size". Spills are the larger of spilled registers and scratch memory. */
static void read_statistics(const cdu_device *device, VkPipeline pipeline, cdu_kernel_stats *stats)
{
    if (!device->executable_statistics) return;
    VkPipelineInfoKHR about = {.sType = VK_STRUCTURE_TYPE_PIPELINE_INFO_KHR, .pipeline = pipeline};
    VkPipelineExecutablePropertiesKHR properties[4] = {{.sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_PROPERTIES_KHR}};
    for (int i = 0; i < 4; i++) properties[i].sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_PROPERTIES_KHR;
    uint32_t executables = 4;
    VkResult code = device->executables(device->handle, &about, &executables, properties);
    if ((code != VK_SUCCESS && code != VK_INCOMPLETE) || !executables) return;
    stats->subgroup = properties[0].subgroupSize;
    VkPipelineExecutableStatisticKHR list[64];
    for (int i = 0; i < 64; i++)
        list[i] = (VkPipelineExecutableStatisticKHR){.sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_STATISTIC_KHR};
    VkPipelineExecutableInfoKHR which = {.sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_INFO_KHR, .pipeline = pipeline};
    uint32_t count = 64;
    code = device->executable_statistics(device->handle, &which, &count, list);
    if (code != VK_SUCCESS && code != VK_INCOMPLETE) return;
    uint64_t spilled = 0, scratch = 0;
    for (uint32_t i = 0; i < count; i++) {
        const char *name = list[i].name;
        uint64_t value = statistic(&list[i]);
        if (!strcmp(name, "VGPRs") || strcasestr(name, "register count"))
            stats->registers = (uint32_t)value;
        else if (!strcmp(name, "Spilled VGPRs") || !strcmp(name, "Spilled SGPRs") || strcasestr(name, "spill count"))
            spilled += 4 * value;
        else if (strcasestr(name, "scratch"))
            scratch = value;
        else if (strcasestr(name, "LDS size") || strcasestr(name, "shared memory"))
            stats->local_bytes = (uint32_t)value;
    }
    stats->spill_bytes = (uint32_t)(spilled > scratch ? spilled : scratch);
}

/* full: no subgroup has idle items, which needs a width of the group that is a multiple of the pinned size. */
static cdu_status make_pipeline(cdu_kernel *kernel, const uint32_t *words, size_t bytes, uint32_t subgroup, bool full, bool statistics,
                                cdu_error *error)
{
    cdu_device *device = kernel->device;
    const cdu_vulkan_api *vk = &device->vk;
    VkPushConstantRange push = {.stageFlags = VK_SHADER_STAGE_COMPUTE_BIT, .size = 4 * kernel->params};
    VkPipelineLayoutCreateInfo layout = {.sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO,
                                         .setLayoutCount = 1,
                                         .pSetLayouts = &device->set_layout[kernel->bindings],
                                         .pushConstantRangeCount = 1,
                                         .pPushConstantRanges = &push};
    CDU_VK(device, vk->vkCreatePipelineLayout(device->handle, &layout, NULL, &kernel->layout), error, "making a pipeline's layout");
    VkShaderModuleCreateInfo module_info = {
        .sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO, .codeSize = bytes, .pCode = words};
    VkShaderModule module;
    CDU_VK(device, vk->vkCreateShaderModule(device->handle, &module_info, NULL, &module), error, "making a shader module");
    VkPipelineShaderStageRequiredSubgroupSizeCreateInfo size = {
        .sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_REQUIRED_SUBGROUP_SIZE_CREATE_INFO, .requiredSubgroupSize = subgroup};
    VkComputePipelineCreateInfo info = {.sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO,
                                        .flags = statistics ? VK_PIPELINE_CREATE_CAPTURE_STATISTICS_BIT_KHR : 0,
                                        .stage = {.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
                                                  .pNext = subgroup ? &size : NULL,
                                                  .flags = full ? VK_PIPELINE_SHADER_STAGE_CREATE_REQUIRE_FULL_SUBGROUPS_BIT : 0,
                                                  .stage = VK_SHADER_STAGE_COMPUTE_BIT,
                                                  .module = module,
                                                  .pName = "main"},
                                        .layout = kernel->layout};
    VkResult code = vk->vkCreateComputePipelines(device->handle, device->pipelines, 1, &info, NULL, &kernel->pipeline);
    vk->vkDestroyShaderModule(device->handle, module, NULL);
    if (code == VK_SUCCESS) return CDU_OK;
    kernel->pipeline = VK_NULL_HANDLE;
    if (code == VK_ERROR_OUT_OF_HOST_MEMORY || code == VK_ERROR_OUT_OF_DEVICE_MEMORY)
        return CDU_VK_FAIL(error, device, code, "compiling a kernel");
    return cdu_fail(error, CDU_NO_DEVICE, "kernel %s: the driver of %s cannot compile it (Vulkan error %d)", kernel->name,
                    device->info.name, code);
}

static cdu_status check(const cdu_device *device, const char *name, const uint32_t group[3], uint32_t bindings, uint32_t params,
                        uint32_t subgroup, cdu_error *error)
{
    if (bindings > CDU_BINDINGS || !params || params > CDU_PARAM_WORDS)
        return cdu_fail(error, CDU_FAILED, "kernel %s: %u buffers and %u parameters; at most %d, and 1 to %d", name, bindings,
                        params, CDU_BINDINGS, CDU_PARAM_WORDS);
    const cdu_device_info *info = &device->info;
    if ((uint64_t)group[0] * group[1] * group[2] > info->group_items || group[0] > info->group_size[0] ||
        group[1] > info->group_size[1] || group[2] > info->group_size[2])
        return cdu_fail(error, CDU_NO_DEVICE, "kernel %s: groups of %u x %u x %u items; %s takes %u, at most %u x %u x %u", name,
                        group[0], group[1], group[2], info->name, info->group_items, info->group_size[0], info->group_size[1],
                        info->group_size[2]);
    if (!subgroup) return CDU_OK;
    CDU_TRY(cdu_source_subgroup(info, name, device->subgroup_control, subgroup, error));
    uint64_t items = (uint64_t)group[0] * group[1] * group[2];
    if (items > (uint64_t)subgroup * device->most_subgroups)
        return cdu_fail(error, CDU_NO_DEVICE, "kernel %s: a group of %llu items in subgroups of %u; %s takes at most %u subgroups", name,
                        (unsigned long long)items, subgroup, info->name, device->most_subgroups);
    return CDU_OK;
}

cdu_status cdu_vulkan_kernel_create(cdu_device *device, const char *source, const char *name, const char *defines,
                                    uint32_t bindings, uint32_t params, uint32_t subgroup, cdu_kernel **out,
                                    cdu_kernel_stats *stats, cdu_error *error)
{
    uint32_t group[3], *words = NULL;
    size_t bytes = 0;
    char *text;
    CDU_TRY(cdu_source_group(defines, name, group, error));
    CDU_TRY(check(device, name, group, bindings, params, subgroup, error));
    CDU_TRY(cdu_source_assemble("#version 450\n", "prelude.vulkan.h", defines, name, source, &text, error));
    cdu_status status = cdu_vulkan_compile(text, name, &words, &bytes, error);
    free(text);
    cdu_kernel *kernel = NULL;
    if (status == CDU_OK) status = cdu_allocate(&kernel, 1, sizeof *kernel, error);
    if (status == CDU_OK) {
        kernel->device = device;
        kernel->bindings = bindings;
        kernel->params = params;
        snprintf(kernel->name, sizeof kernel->name, "%s", name);
        bool full = subgroup && device->full_subgroups && group[0] % subgroup == 0;
        status = make_pipeline(kernel, words, bytes, subgroup, full, stats && device->statistics, error);
    }
    free(words);
    if (status != CDU_OK) {
        cdu_vulkan_kernel_destroy(kernel);
        return status;
    }
    if (stats) {
        *stats = (cdu_kernel_stats){0};
        if (device->statistics) read_statistics(device, kernel->pipeline, stats);
    }
    *out = kernel;
    return CDU_OK;
}

void cdu_vulkan_kernel_destroy(cdu_kernel *kernel)
{
    if (!kernel) return;
    cdu_device *device = kernel->device;
    if (kernel->pipeline) device->vk.vkDestroyPipeline(device->handle, kernel->pipeline, NULL);
    if (kernel->layout) device->vk.vkDestroyPipelineLayout(device->handle, kernel->layout, NULL);
    free(kernel);
}
