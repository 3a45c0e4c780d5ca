/* cmd_compare.c: `cdunet compare RUN... --out FILE.html`: several runs in one report. Two label maps are compared by cmd_agree.c. */
#include <stdio.h>
#include <string.h>

#include "core/report/report.h"
#include "tools/commands.h"
#include "tools/options.h"

static bool ends_in(const char *words, const char *end)
{
    size_t length = strlen(words), part = strlen(end);
    return length >= part && !strcmp(words + length - part, end);
}

cdu_status cmd_compare(int argc, char **argv, cdu_error *error)
{
    const char **folders = NULL, *out = NULL;
    size_t count = 0;
    bool done = false;
    const cdu_option options[] = {{.name = "out",
                                   .letter = 'o',
                                   .type = CDU_OPTION_TEXT,
                                   .value = &out,
                                   .argument = "F.html",
                                   .fallback = "compare.html",
                                   .help = "the page; its charts and a CSV file lie beside it, with its name"},
                                  {0}};
    const cdu_positional positionals[] = {{.name = "RUN", .values = &folders, .count = &count, .help = "two run folders or more"}, {0}};
    const cdu_usage usage = {
        "compare", "puts several runs with the same classes into one report",
        "In the chart of all classes the first run is dotted and the last one solid. Two label maps are compared by `cdunet agree`.", options,
        positionals};
    CDU_TRY(cdu_options_parse(&usage, argc, argv, &done, error));
    if (done) return CDU_OK;
    for (size_t i = 0; i < count; i++)
        if (ends_in(folders[i], ".tif") || ends_in(folders[i], ".tiff"))
            return cdu_fail(error, CDU_USAGE, "%s is a label map, not a run folder: two of them are compared by 'cdunet agree'", folders[i]);
    if (count < 2) return cdu_fail(error, CDU_USAGE, "two runs at least are needed; 'cdunet report' makes a page of one");
    CDU_TRY(cdu_report_compare(folders, count, out, error));
    printf("%s\n", out);
    return CDU_OK;
}
