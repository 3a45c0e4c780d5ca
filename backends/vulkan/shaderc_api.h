/* shaderc_api.h: the functions of shaderc that are used, as a table. It is filled from libshaderc.so or taken whole from the module
 * of shaderc_module.c. */
#ifndef CDU_BACKENDS_VULKAN_SHADERC_API_H
#define CDU_BACKENDS_VULKAN_SHADERC_API_H

#include <shaderc/shaderc.h>

#define CDU_SHADERC_FUNCTIONS(X)                                                                                                   \
    X(shaderc_compiler_initialize) X(shaderc_compile_options_initialize) X(shaderc_compile_options_set_target_env)                \
    X(shaderc_compile_options_set_optimization_level) X(shaderc_compile_into_spv) X(shaderc_result_get_compilation_status)        \
    X(shaderc_result_get_error_message) X(shaderc_result_get_bytes) X(shaderc_result_get_length) X(shaderc_result_release)

typedef struct {
#define CDU_SHADERC_MEMBER(name) __typeof__(name) *name;
    CDU_SHADERC_FUNCTIONS(CDU_SHADERC_MEMBER)
#undef CDU_SHADERC_MEMBER
} cdu_shaderc_api;

#endif
