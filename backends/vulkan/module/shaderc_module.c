/* shaderc_module.c: shaderc from its static libraries as a module that is opened at run time, for systems whose libshaderc.so.1
 * cannot be loaded by itself: Debian 12's lacks symbols of glslang and SPIRV-Tools. The static library hides its functions, so
 * they go out as a table. Built by cmake/shaderc.cmake where it is needed. */
#include "backends/vulkan/shaderc_api.h"

extern const cdu_shaderc_api cdu_shaderc_table;
const cdu_shaderc_api cdu_shaderc_table = {
#define CDU_SHADERC_ENTRY(name) .name = name,
    CDU_SHADERC_FUNCTIONS(CDU_SHADERC_ENTRY)
#undef CDU_SHADERC_ENTRY
};
