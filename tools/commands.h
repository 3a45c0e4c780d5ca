/* commands.h: the subcommands of the program, one file each (cmd_NAME.c). main.c holds their table.
 * A command parses its arguments with options.h, writes results to standard output and returns a status; it fills `error` and prints
 * no error itself. argv[0] is the command's name. Talk goes through cdu_log and core/base/progress.h to standard error. */
#ifndef CDU_TOOLS_COMMANDS_H
#define CDU_TOOLS_COMMANDS_H

#include "cdunet/error.h"

typedef cdu_status cdu_command(int argc, char **argv, cdu_error *error);

cdu_command cmd_devices, cmd_phantom, cmd_train, cmd_evaluate, cmd_segment, cmd_overview, cmd_agree, cmd_annotations, cmd_augment, cmd_check, cmd_init;
cdu_command cmd_report, cmd_compare;

#endif
