/* shaders.h: the kernel texts, embedded at build time. CDUNET_SHADERS=dir reads them from a folder instead, for whoever tunes. */
#ifndef CDU_SHADERS_H
#define CDU_SHADERS_H

#include "cdunet/error.h"

/* The text of shaders/NAME ("conv.k", "prelude.opencl.h"). It belongs to the library and lives until the program ends.
 * CDU_FAILED for an unknown name. Threads: may be called from any thread. */
cdu_status cdu_shader_text(const char *name, const char **text, cdu_error *error);

#endif
