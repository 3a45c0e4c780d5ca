/* commands.h: the subcommands of cdunet-bench, one file each. main.c holds their table. A command parses its arguments with
 * tools/options.h, prints results to standard output and returns a status; it fills `error` and prints no error itself. argv[0] is the
 * command's name. Talk goes to standard error. */
#ifndef CDU_BENCH_COMMANDS_H
#define CDU_BENCH_COMMANDS_H

#include "cdunet/error.h"

typedef cdu_status bench_command(int argc, char **argv, cdu_error *error);

bench_command bench_cmd_measure;

#endif
