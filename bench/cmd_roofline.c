/* cmd_roofline.c: `cdunet-bench roofline OUT`: OUT.svg and OUT.png from a measured training step. */
#include <stdio.h>

#include "bench/commands.h"
#include "bench/roofline.h"
#include "core/base/file.h"

cdu_status bench_cmd_roofline(int argc, char **argv, cdu_error *error)
{
    bench_settings s = {0};
    bench_report report;
    const char *out = NULL;
    char svg[CDU_PATH_LIMIT], png[CDU_PATH_LIMIT];
    bool done = false;
    const cdu_positional positionals[] = {{.name = "OUT", .value = &out, .help = "path of the picture, without .svg and .png"}, {0}};
    CDU_TRY(bench_settings_parse(&s, BENCH_TAKES_DEVICE | BENCH_TAKES_REPEATS | BENCH_TAKES_NETWORK, "5",
                                 "a picture of a training step: what each layer and pass reaches between the device's limits",
                                 "The measurements are printed too, as 'step --layers' does.", positionals, argc, argv, &done, error));
    if (done) return CDU_OK;
    if ((size_t)snprintf(svg, sizeof svg, "%s.svg", out) >= sizeof svg || (size_t)snprintf(png, sizeof png, "%s.png", out) >= sizeof png)
        return cdu_fail(error, CDU_USAGE, "%.80s...: the path is too long", out);
    CDU_TRY(cdu_file_try(svg, error));
    CDU_TRY(cdu_file_try(png, error));
    s.layers = true;
    CDU_TRY(bench_report_begin(&report, argv[0], error));
    cdu_status status = bench_measure_step(&s, &report, error);
    if (status == CDU_OK) status = bench_roofline_draw(report.root, svg, png, error);
    if (status == CDU_OK) bench_report_note(&report, "written: %s, %s", svg, png);
    if (status == CDU_OK) status = bench_report_print(&report, s.form, error);
    bench_report_end(&report);
    return status;
}
