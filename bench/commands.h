/* commands.h: the subcommands of cdunet-bench, one file each. main.c holds their table. A command parses its arguments with
 * bench/settings.h, prints results to standard output and returns a status; it fills `error` and prints no error itself. argv[0] is the
 * command's name. Talk goes to standard error. */
#ifndef CDU_BENCH_COMMANDS_H
#define CDU_BENCH_COMMANDS_H

#include "bench/settings.h"

typedef cdu_status bench_command(int argc, char **argv, cdu_error *error);

bench_command bench_cmd_peaks, bench_cmd_ops, bench_cmd_step, bench_cmd_infer, bench_cmd_first, bench_cmd_memory, bench_cmd_tune,
    bench_cmd_serve, bench_cmd_compare, bench_cmd_roofline, bench_cmd_record, bench_cmd_results, bench_cmd_scale, bench_cmd_link;

/* What `record` gathers: the same measurements, into a report that the caller has begun. */
typedef cdu_status bench_measurement(const bench_settings *, bench_report *, cdu_error *error);

bench_measurement bench_measure_peaks, bench_measure_ops, bench_measure_step, bench_measure_infer, bench_measure_first, bench_measure_memory;

/* Begins a report, fills it, prints it. */
cdu_status bench_run_measurement(bench_measurement *, const char *command, const bench_settings *, cdu_error *);

#endif
