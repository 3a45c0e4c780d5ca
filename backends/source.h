/* source.h: what every runtime does with a kernel's text before its compiler sees it. Threads: all functions may be called from any
 * thread. */
#ifndef CDU_BACKENDS_SOURCE_H
#define CDU_BACKENDS_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cdunet/device.h"
#include "cdunet/error.h"

enum { CDU_LOG_EXCERPT = 560 };

/* Defines, KERNEL_<name>, the prelude and the text, in the order that shaders/README.md gives, behind `version` (a line such as
 * "#version 450\n", or ""). Free *out with free(). */
cdu_status cdu_source_assemble(const char *version, const char *prelude, const char *defines, const char *name, const char *text,
                               char **out, cdu_error *error);

/* The value of one define of "NAME=VALUE NAME=VALUE"; false where it is not there or no unsigned number. */
bool cdu_source_define(const char *defines, const char *name, uint32_t *value);

/* CDU_NO_DEVICE where the device does not let a kernel choose subgroups of this size: a power of 2 within its range. */
cdu_status cdu_source_subgroup(const cdu_device_info *device, const char *name, bool chooses, uint32_t subgroup, cdu_error *error);

/* GX, GY, GZ. CDU_FAILED where one is missing or 0. */
cdu_status cdu_source_group(const char *defines, const char *name, uint32_t group[3], cdu_error *error);

/* The part of a compiler's log that says what is wrong: from the first line with "error" on, in one line. */
void cdu_source_excerpt(char out[CDU_LOG_EXCERPT], const char *log);

#endif
