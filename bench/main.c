/* main.c: the program `cdunet-bench`: a table of subcommands, where messages go, and one line for an error. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "bench/commands.h"
#include "cdunet/log.h"
#include "core/base/debug.h"
#include "core/base/file.h"
#include "core/base/progress.h"
#include "core/ops/tuning.h"
#include "tools/options.h"

typedef struct {
    const char *name, *summary;
    bench_command *run;
} command;

static const command commands[] = {
    {"peaks", "what the device can do at most", bench_cmd_peaks},
    {"ops", "every operator and pass by itself", bench_cmd_ops},
    {"step", "a training step, and where its time goes", bench_cmd_step},
    {"infer", "an inference, and where its time goes", bench_cmd_infer},
    {"first", "time from a bare start to the first step, with cold and warm caches", bench_cmd_first},
    {"memory", "planned and seen memory", bench_cmd_memory},
    {"compare", "two devices, and a peer, side by side", bench_cmd_compare},
    {"roofline", "a picture: what each layer reaches between the device's limits", bench_cmd_roofline},
    {"record", "all of that into a file by vendor, device, driver and day", bench_cmd_record},
    {"results", "all that was recorded, by vendor", bench_cmd_results},
    {"tune", "finds the fastest convolutions for a device and writes a tune pack", bench_cmd_tune},
    {"scale", "under mpiexec: sums over ranks, and how much of them a step hides", bench_cmd_scale},
    {"link", "a slow network between namespaces of this machine, for scale", bench_cmd_link},
    {"serve", "one measurement for each line of input, for programs that measure in turn", bench_cmd_serve},
};
enum { COMMANDS = sizeof commands / sizeof commands[0] };

static void print_log_line(cdu_log_level level, const char *line, void *context)
{
    (void)context;
    cdu_progress_clear();
    fprintf(stderr, "%s%s\n", level == CDU_LOG_WARNING ? "warning: " : level == CDU_LOG_ERROR ? "error: " : "", line);
}

static void print_usage(FILE *stream)
{
    fprintf(stream, "usage: cdunet-bench [--tune FILE] COMMAND [options] [arguments]\n\ncommands:\n");
    for (int i = 0; i < COMMANDS; i++) fprintf(stream, "  %-10s %s\n", commands[i].name, commands[i].summary);
    fprintf(stream, "\n'cdunet-bench COMMAND --help' explains a command. Devices are called opencl:0, vulkan:1, a part of the device's name, or auto.\n");
}

static cdu_status run_command(int argc, char **argv, cdu_error *error)
{
    const char *names[COMMANDS];
    if (argc < 2) {
        print_usage(stderr);
        return cdu_fail(error, CDU_USAGE, "a command is missing");
    }
    if (!strcmp(argv[1], "help") || !strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")) return print_usage(stdout), CDU_OK;
    if (!strcmp(argv[1], "--version")) return printf("cdunet-bench %s\n", CDUNET_VERSION), CDU_OK;
    CDU_TRY(cdu_debug_load(error));
    for (int i = 0; i < COMMANDS; i++) {
        names[i] = commands[i].name;
        if (!strcmp(argv[1], names[i])) return commands[i].run(argc - 1, argv + 1, error);
    }
    const char *nearest = cdu_options_nearest(argv[1], names, COMMANDS);
    if (nearest) return cdu_fail(error, CDU_USAGE, "there is no command '%s'; did you mean '%s'?", argv[1], nearest);
    return cdu_fail(error, CDU_USAGE, "there is no command '%s'; 'cdunet-bench help' lists them", argv[1]);
}

int main(int argc, char **argv)
{
    cdu_error error = {0};
    cdu_log_set_handler(print_log_line, NULL, CDU_LOG_WARNING);
    cdu_progress_set_stream(stderr);
    cdu_options_set_program("cdunet-bench");
    const char *tune = NULL;
    cdu_status status = cdu_options_take_tune(&argc, argv, &tune, &error);
    cdu_tune_place(tune);
    if (status == CDU_OK) status = run_command(argc, argv, &error);
    cdu_progress_clear();
    if ((fflush(stdout) != 0 || ferror(stdout)) && status == CDU_OK)
        status = cdu_fail(&error, CDU_CANNOT_WRITE, "standard output cannot be written: %s", strerror(errno));
    if (status != CDU_OK) {
        for (char *at = error.words; *at; at++)
            if (*at == '\n') *at = ' ';
        fprintf(stderr, "cdunet-bench: %s\n", error.words[0] ? error.words : cdu_status_text(status));
    }
    cdu_file_discard_all();
    return (int)status;
}
