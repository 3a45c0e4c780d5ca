/* footprint.c: measured by what the system says before and after. */
#include "bench/footprint.h"

#include <stdbool.h>

#include "bench/host.h"

cdu_status bench_footprint_open(const cdu_gpu *gpu, const bench_network_settings *s, bench_network *network, bench_footprint *f,
                                cdu_error *error)
{
    CDU_TRY(bench_network_open(gpu, s, network, error));
    bench_network_close(network);
    bench_trim();
    f->device = gpu->backend->usage(gpu->device).now;
    f->resident = bench_resident();
    CDU_TRY(bench_network_open(gpu, s, network, error));
    bench_trim(); /* of what filling it took */
    bench_resident_reset();
    return CDU_OK;
}

bench_footprint bench_footprint_seen(const cdu_gpu *gpu, const bench_footprint *before)
{
    uint64_t resident = bench_resident();
    bool counts = gpu->info.kind == CDU_CPU && before->resident && resident > before->resident;
    return (bench_footprint){counts ? resident - before->resident : 0, gpu->backend->usage(gpu->device).now - before->device};
}
