/* open.h: how everything above the operators opens a device: by name, with the self-test of the backend and of the operators. */
#ifndef CDU_OPS_OPEN_H
#define CDU_OPS_OPEN_H

#include <stdbool.h>

#include "backends/backend.h"

/* Opens the device that `name` means (cdunet/device.h; null: "auto"), with both self-tests, and reads its tune pack (tuning.h). CDU_NO_DEVICE
 * where none matches or where the device computes wrong; the words name the operator. CDU_BAD_DATA where a tune pack was named that is damaged
 * or another device's. Close with cdu_gpu_close. Threads: one caller at a time. */
cdu_status cdu_open_device(const char *name, bool timed, cdu_gpu *out, cdu_error *error);

/* A tiny graph of the operators, forward and backward, on small integers, against plain loops: every value must be equal.
 * CDU_NO_DEVICE with the operator's name where one is not. The null backend passes: it computes nothing. */
cdu_status cdu_ops_self_test(const cdu_gpu *gpu, cdu_error *error);

#endif
