/* settings.h: what the subcommands are told. One table of options, of which each command takes some. */
#ifndef CDU_BENCH_SETTINGS_H
#define CDU_BENCH_SETTINGS_H

#include "bench/report.h"
#include "tools/options.h"

typedef struct {
    const char *device, *only, *case_name, *results, *peers, *python;
    uint64_t repeats, size, batch, width;
    double sleep;
    bool exact, layers, here, python_given, oversubscribe;
    bench_form form;
} bench_settings;

/* Which options a command takes beside --json and --csv: */
enum {
    BENCH_TAKES_DEVICE = 1,     /* --device */
    BENCH_TAKES_REPEATS = 2,    /* --repeats */
    BENCH_TAKES_NETWORK = 4,    /* --size --batch --width --exact-conv */
    BENCH_TAKES_CASES = 8,      /* --case --exact-conv */
    BENCH_TAKES_LAYERS = 16,    /* --layers */
    BENCH_TAKES_HERE = 32,      /* --here */
    BENCH_TAKES_RESULTS = 64,   /* --results */
    BENCH_TAKES_PEERS = 128,    /* --peers --python */
    BENCH_TAKES_ONLY = 256,     /* --only */
    BENCH_TAKES_RANKS = 512     /* --sleep --device (none: the one that sleeps) --oversubscribe */
};

/* Parses a command line; `repeats` is that option's default. *done: help was printed. */
cdu_status bench_settings_parse(bench_settings *, unsigned takes, const char *repeats, const char *summary, const char *details,
                                const cdu_positional *positionals, int argc, char **argv, bool *done, cdu_error *error);

#endif
