/* cmd_peaks.c: `cdunet-bench peaks`: the limits of a device. */
#include "bench/commands.h"
#include "bench/limits.h"

static cdu_status sample(const bench_settings *s, const cdu_gpu *gpu, bench_report *report, cdu_error *error)
{
    bench_limits *limits = NULL;
    CDU_TRY(bench_limits_open(gpu, &limits, error));
    cdu_status status = CDU_OK;
    for (uint64_t i = 0; status == CDU_OK && i < s->repeats; i++) status = bench_limits_sample(limits, error);
    if (status == CDU_OK) bench_limits_report(limits, report);
    bench_limits_close(limits);
    return status;
}

cdu_status bench_measure_peaks(const bench_settings *s, bench_report *report, cdu_error *error)
{
    cdu_gpu gpu;
    CDU_TRY(cdu_gpu_open(s->device, true, true, &gpu, error));
    cdu_status status = bench_report_device(report, &gpu, error);
    if (status == CDU_OK) status = sample(s, &gpu, report, error);
    if (status == CDU_OK && gpu.info.features & CDU_HAS_F16)
        bench_report_note(report, "The device has f16; the kernels store f32 alone so far, so that is what is measured.");
    cdu_gpu_close(&gpu);
    return status;
}

cdu_status bench_cmd_peaks(int argc, char **argv, cdu_error *error)
{
    bench_settings s = {0};
    bool done = false;
    CDU_TRY(bench_settings_parse(&s, BENCH_TAKES_DEVICE | BENCH_TAKES_REPEATS, "20", "what the device can do at most: multiply-adds from "
                                 "registers, copying, reading local memory", NULL, NULL, argc, argv, &done, error));
    return done ? CDU_OK : bench_run_measurement(bench_measure_peaks, argv[0], &s, error);
}
