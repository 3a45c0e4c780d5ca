/* settings.c: the table of options. */
#include "bench/settings.h"

cdu_status bench_settings_parse(bench_settings *s, unsigned takes, const char *repeats, const char *summary, const char *details,
                                const cdu_positional *positionals, int argc, char **argv, bool *done, cdu_error *error)
{
    bool json = false, csv = false;
    const struct { unsigned takes; cdu_option option; } table[] = {
        {BENCH_TAKES_DEVICE, {.name = "device", .letter = 'd', .type = CDU_OPTION_TEXT, .value = &s->device, .argument = "D",
         .fallback = "auto", .help = "opencl:0, vulkan:1, or a part of the name"}},
        {BENCH_TAKES_REPEATS, {.name = "repeats", .type = CDU_OPTION_UNSIGNED, .value = &s->repeats, .argument = "N", .fallback = repeats,
         .least = 1, .most = 1000, .help = "runs after the first, taken in turn with the limits; minimum, median and maximum are told"}},
        {BENCH_TAKES_CASES, {.name = "case", .type = CDU_OPTION_TEXT, .value = &s->case_name, .argument = "NAME",
         .help = "this case alone, of any shape: conv3x3-32-64-256x256-n1"}},
        {BENCH_TAKES_ONLY, {.name = "only", .type = CDU_OPTION_TEXT, .value = &s->only, .argument = "TEXT", .help = "what has TEXT in its name"}},
        {BENCH_TAKES_NETWORK, {.name = "size", .type = CDU_OPTION_UNSIGNED, .value = &s->size, .argument = "N", .fallback = "512",
         .least = 16, .most = 8192, .help = "width and height of a tile"}},
        {BENCH_TAKES_NETWORK, {.name = "batch", .type = CDU_OPTION_UNSIGNED, .value = &s->batch, .argument = "N", .fallback = "1",
         .least = 1, .most = 1024, .help = "tiles"}},
        {BENCH_TAKES_NETWORK, {.name = "width", .type = CDU_OPTION_UNSIGNED, .value = &s->width, .argument = "N", .fallback = "32",
         .least = 1, .most = 512, .help = "filters of the first stage; the paper has 32"}},
        {BENCH_TAKES_NETWORK | BENCH_TAKES_CASES, {.name = "exact-conv", .type = CDU_OPTION_FLAG, .value = &s->exact,
         .help = "direct convolution everywhere"}},
        {BENCH_TAKES_LAYERS, {.name = "layers", .type = CDU_OPTION_FLAG, .value = &s->layers, .help = "a row for each layer and pass too"}},
        {BENCH_TAKES_HERE, {.name = "here", .type = CDU_OPTION_FLAG, .value = &s->here,
         .help = "in this process, with the caches as they are; otherwise in processes of their own"}},
        {BENCH_TAKES_RESULTS, {.name = "results", .type = CDU_OPTION_TEXT, .value = &s->results, .argument = "DIR", .fallback = "bench/results",
         .help = "folder of recorded results"}},
        {BENCH_TAKES_RANKS, {.name = "sleep", .type = CDU_OPTION_FLOAT, .value = &s->sleep, .argument = "MS", .fallback = "500",
         .least = 0, .most = 60000, .help = "milliseconds for which the device without kernels sleeps in a step"}},
        {BENCH_TAKES_RANKS, {.name = "device", .letter = 'd', .type = CDU_OPTION_TEXT, .value = &s->device, .argument = "D,D...",
         .help = "a device for each rank, or auto; default: none, but one that sleeps"}},
        {BENCH_TAKES_RANKS, {.name = "oversubscribe", .type = CDU_OPTION_FLAG, .value = &s->oversubscribe, .help = "ranks may share a device"}},
        {BENCH_TAKES_PEERS, {.name = "peers", .type = CDU_OPTION_TEXT, .value = &s->peers, .argument = "DIR", .fallback = "bench/peers",
         .help = "folder of the peers' scripts"}},
        {BENCH_TAKES_PEERS, {.name = "python", .type = CDU_OPTION_TEXT, .value = &s->python, .argument = "PROGRAM",
         .given = &s->python_given, .help = "Python in which the peer is installed; default: that of ./dev bench, else python3"}},
        {~0u, {.name = "json", .type = CDU_OPTION_FLAG, .value = &json, .help = "print JSON"}},
        {~0u, {.name = "csv", .type = CDU_OPTION_FLAG, .value = &csv, .help = "print CSV"}},
    };
    cdu_option options[sizeof table / sizeof table[0] + 1] = {0};
    for (size_t i = 0, count = 0; i < sizeof table / sizeof table[0]; i++)
        if (table[i].takes & (takes | 0x80000000u)) options[count++] = table[i].option;
    const cdu_usage usage = {argv[0], summary, details, options, positionals};
    CDU_TRY(cdu_options_parse(&usage, argc, argv, done, error));
    if (json && csv) return cdu_fail(error, CDU_USAGE, "%s: --json or --csv, not both", argv[0]);
    s->form = json ? BENCH_JSON : csv ? BENCH_CSV : BENCH_TEXT;
    return CDU_OK;
}
