/* open.c: devices as everything above the operators sees them: listed and opened with both self-tests, the backend's and the operators'. */
#include "core/ops/open.h"

#include <stdio.h>

#include "cdunet/log.h"
#include "core/ops/tuning.h"

cdu_status cdu_open_device(const char *name, bool timed, cdu_gpu *out, cdu_error *error)
{
    CDU_TRY(cdu_gpu_open(name, timed, false, out, error));
    cdu_status status = cdu_tune_load(&out->info, error);
    if (status == CDU_OK) status = cdu_ops_self_test(out, error);
    if (status != CDU_OK) cdu_gpu_close(out);
    return status;
}

static void test_row(cdu_device_row *row)
{
    cdu_gpu gpu;
    cdu_error error = {0};
    cdu_status status = cdu_gpu_open(row->id, false, false, &gpu, &error);
    if (status == CDU_OK) {
        /* a pack of another device is no fault of this one */
        if (cdu_tune_load(&gpu.info, &error) != CDU_OK) cdu_log(CDU_LOG_INFO, "%s; defaults are taken", error.words);
        status = cdu_ops_self_test(&gpu, &error);
        cdu_gpu_close(&gpu);
    }
    if (status == CDU_OK)
        snprintf(row->self_test, sizeof row->self_test, "passed");
    else
        snprintf(row->self_test, sizeof row->self_test, "failed: %.150s", error.words);
}

cdu_status cdu_devices_list(bool self_test, cdu_device_row **out, uint32_t *count, char *missing, size_t missing_size,
                            cdu_error *error)
{
    CDU_TRY(cdu_gpu_list(out, count, missing, missing_size, error));
    for (uint32_t i = 0; self_test && i < *count; i++) test_row(&(*out)[i]);
    return CDU_OK;
}
