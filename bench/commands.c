/* commands.c: what all measuring commands do. */
#include "bench/commands.h"

cdu_status bench_run_measurement(bench_measurement *measure, const char *command, const bench_settings *s, cdu_error *error)
{
    bench_report report;
    CDU_TRY(bench_report_begin(&report, command, error));
    cdu_status status = measure(s, &report, error);
    if (status == CDU_OK) status = bench_report_print(&report, s->form, error);
    bench_report_end(&report);
    return status;
}
