/* roofline.h: a picture of what steps reach between a device's limits (Williams, Waterman and Patterson 2009). */
#ifndef CDU_BENCH_ROOFLINE_H
#define CDU_BENCH_ROOFLINE_H

#include <jansson.h>

#include "cdunet/error.h"

/* From the report of `step` with layers; writes `svg` and `png`, each whole or not at all. CDU_CANNOT_WRITE. */
cdu_status bench_roofline_draw(const json_t *report, const char *svg, const char *png, cdu_error *error);

#endif
