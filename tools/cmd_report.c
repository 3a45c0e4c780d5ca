/* cmd_report.c: `cdunet report RUN...`: writes report.html, curves and event files into run folders, from what lies there. */
#include <stdio.h>

#include "core/base/file.h"
#include "core/report/report.h"
#include "tools/commands.h"
#include "tools/options.h"

cdu_status cmd_report(int argc, char **argv, cdu_error *error)
{
    const char **folders = NULL;
    size_t count = 0;
    bool done = false;
    const cdu_positional positionals[] = {{.name = "RUN", .values = &folders, .count = &count, .help = "a run folder of `cdunet train`"}, {0}};
    const cdu_usage usage = {
        "report", "writes report.html into a run folder, and its curves for other programs",
        "Reads log.csv, run.json, study.yaml and evaluation-SPLIT.json; needs no device and no slides, and may be asked while the run goes on.",
        NULL, positionals};
    CDU_TRY(cdu_options_parse(&usage, argc, argv, &done, error));
    if (done) return CDU_OK;
    for (size_t i = 0; i < count; i++) {
        CDU_TRY(cdu_report_write(folders[i], error));
        printf("%s/report.html\n", folders[i]);
    }
    return CDU_OK;
}
