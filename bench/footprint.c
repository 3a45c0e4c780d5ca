/* footprint.c: measured by what the system says before and after. */
#include "bench/footprint.h"

#include "bench/host.h"

cdu_status bench_footprint_open(const cdu_gpu *gpu, const bench_network_settings *s, bench_network *network, bench_footprint *f,
                                cdu_error *error)
{
    CDU_TRY(bench_network_open(gpu, s, network, error));
    bench_network_close(network);
    bench_trim();
    CDU_TRY(gpu->backend->budget(gpu->device, &f->budget, error));
    f->resident = bench_resident();
    CDU_TRY(bench_network_open(gpu, s, network, error));
    bench_trim(); /* of what filling it took */
    bench_resident_reset();
    return CDU_OK;
}

cdu_status bench_footprint_seen(const cdu_gpu *gpu, const bench_footprint *f, uint64_t *bytes, cdu_error *error)
{
    uint64_t budget = 0, resident = bench_resident();
    *bytes = 0;
    CDU_TRY(gpu->backend->budget(gpu->device, &budget, error));
    if (gpu->info.kind == CDU_CPU) *bytes = f->resident && resident > f->resident ? resident - f->resident : 0;
    else if (f->budget > budget) *bytes = f->budget - budget;
    return CDU_OK;
}
