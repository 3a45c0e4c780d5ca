/* main.c: the program `cdunet`: a table of subcommands, where messages go, what signals do, and one line for an error. Everything
 * else is in the commands' own files and in the library. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cdunet/log.h"
#include "core/base/debug.h"
#include "core/base/file.h"
#include "core/base/progress.h"
#include "core/base/stop.h"
#include "core/ops/tuning.h"
#include "tools/commands.h"
#include "tools/options.h"
#include "tools/rank_guard.h"

#ifndef CDUNET_VERSION
#define CDUNET_VERSION "unknown"
#endif

typedef struct {
    const char *name, *summary;
    cdu_command *run;
    bool stops;     /* asks cdu_stop_requested and ends tidily; others end at once at a signal, unfinished files removed */
} command;

static const command commands[] = {
    {"devices", "lists devices, their limits and whether they compute rightly", cmd_devices, false},
    {"init", "writes slides.csv and study.yaml for a folder of slides and annotations, to be looked at", cmd_init, false},
    {"annotations", "shows what annotation files hold and how it maps to a study's classes; converts them", cmd_annotations, false},
    {"check", "opens every slide of a study and shows labels, splits, tiles and what looks wrong", cmd_check, false},
    {"phantom", "makes procedural slides with exact masks, to try everything without data", cmd_phantom, false},
    {"train", "trains a network on the slides of a study", cmd_train, true},
    {"augment", "draws what augmentation does to training tiles: before and after, with labels", cmd_augment, false},
    {"evaluate", "scores a model on the test slides of a study", cmd_evaluate, false},
    {"segment", "segments a slide: label map, polygons, overlay", cmd_segment, false},
    {"report", "writes report.html of a run, with curves for other programs", cmd_report, false},
    {"compare", "puts several runs into one report", cmd_compare, false},
    {"agree", "tells how far two label maps of one slide agree", cmd_agree, false},
    {"overview", "puts slides, truth and segmentations side by side in one picture", cmd_overview, false},
};
enum { COMMANDS = sizeof commands / sizeof commands[0] };

static int signal_pipe[2];
static bool command_stops;
static struct { char *at; size_t size; } own_words;     /* argv, one word behind the other */

/* Only notes the signal: the work is done by watch_signals, since a handler may do next to nothing. */
static void on_signal(int number)
{
    int kept = errno;
    unsigned char byte = (unsigned char)number;
    ssize_t ignored = write(signal_pipe[1], &byte, 1);
    (void)ignored;
    errno = kept;
}

/* The first signal asks a command that can to end tidily; the second, or the first for other commands, ends the program. */
static void *watch_signals(void *unused)
{
    (void)unused;
    unsigned char number;
    for (int seen = 1;; seen++) {
        while (read(signal_pipe[0], &number, 1) != 1) continue;
        if (seen == 1 && command_stops) {
            cdu_stop_request();
            cdu_progress_clear();
            fprintf(stderr, "cdunet: ending at the next safe point; a second signal ends at once\n");
            continue;
        }
        cdu_file_discard_for_good();
        cdu_progress_clear();
        fprintf(stderr, "cdunet: stopped by signal %d\n", number);
        _exit(CDU_STOPPED);
    }
}

static void install_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigset_t all, before;
    pthread_t watcher;
    signal(SIGPIPE, SIG_IGN);
    if (pipe(signal_pipe) != 0) return;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&watcher, NULL, watch_signals, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed) return;
    pthread_detach(watcher);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

static void print_log_line(cdu_log_level level, const char *line, void *context)
{
    (void)context;
    cdu_progress_clear();
    fprintf(stderr, "%s%s\n", level == CDU_LOG_WARNING ? "warning: " : level == CDU_LOG_ERROR ? "error: " : "", line);
}

static void print_usage(FILE *stream)
{
    fprintf(stream, "usage: cdunet [--quiet | --verbose] [--tune FILE] COMMAND [options] [arguments]\n\ncommands:\n");
    for (int i = 0; i < COMMANDS; i++) fprintf(stream, "  %-11s %s\n", commands[i].name, commands[i].summary);
    fprintf(stream, "\n'cdunet COMMAND --help' explains a command; 'cdunet --version' prints the version.\n"
                    "Devices are called opencl:0, vulkan:1, a part of the device's name, or auto.\n");
}

static cdu_status find_command(const char *name, const command **out, cdu_error *error)
{
    const char *names[COMMANDS];
    for (int i = 0; i < COMMANDS; i++) {
        names[i] = commands[i].name;
        if (!strcmp(name, commands[i].name)) {
            *out = &commands[i];
            return CDU_OK;
        }
    }
    const char *nearest = cdu_options_nearest(name, names, COMMANDS);
    if (nearest) return cdu_fail(error, CDU_USAGE, "there is no command '%s'; did you mean '%s'?", name, nearest);
    return cdu_fail(error, CDU_USAGE, "there is no command '%s'; 'cdunet help' lists them", name);
}

/* Takes --quiet and --verbose out of the words, wherever they stand before "--"; returns how many words are left. */
static int take_global_options(int argc, char **argv, cdu_log_level *least, bool *progress)
{
    int kept = 1, plain = 0;
    for (int i = 1; i < argc; i++) {
        plain |= !strcmp(argv[i], "--");
        if (!plain && !strcmp(argv[i], "--quiet")) {
            *least = CDU_LOG_ERROR;
            *progress = false;
        } else if (!plain && !strcmp(argv[i], "--verbose")) {
            *least = CDU_LOG_DEBUG;
        } else {
            argv[kept++] = argv[i];
        }
    }
    argv[kept] = NULL;
    return kept;
}

static cdu_status run_command(int argc, char **argv, cdu_error *error)
{
    const command *chosen = NULL;
    static char help_word[] = "--help";
    char *help_words[] = {NULL, help_word, NULL};
    if (argc < 2) {
        print_usage(stderr);
        return cdu_fail(error, CDU_USAGE, "a command is missing");
    }
    bool help = !strcmp(argv[1], "help");
    if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || (help && argc == 2)) return print_usage(stdout), CDU_OK;
    if (!strcmp(argv[1], "--version")) return printf("cdunet %s\n", CDUNET_VERSION), CDU_OK;
    if (argv[1][0] == '-')
        return cdu_fail(error, CDU_USAGE, "'%s' stands where a command is expected; 'cdunet help' lists them", argv[1]);
    CDU_TRY(cdu_debug_load(error));
    CDU_TRY(find_command(argv[1 + help], &chosen, error));
    help_words[0] = argv[1 + help];
    command_stops = chosen->stops;
    if (chosen->run == cmd_train) rank_guard(own_words.at, own_words.size);
    install_signals();
    return help ? chosen->run(2, help_words, error) : chosen->run(argc - 1, argv + 1, error);
}

int main(int argc, char **argv)
{
    cdu_error error = {0};
    cdu_log_level least = CDU_LOG_INFO;
    bool progress = true;
    own_words.at = argv[0];
    own_words.size = (size_t)(argv[argc - 1] - argv[0]) + strlen(argv[argc - 1]) + 1;
    argc = take_global_options(argc, argv, &least, &progress);
    cdu_log_set_handler(print_log_line, NULL, least);
    cdu_progress_set_stream(progress ? stderr : NULL);
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
        fprintf(stderr, "cdunet: %s\n", error.words[0] ? error.words : cdu_status_text(status));
    }
    cdu_file_discard_all();
    rank_guard_release();
    return (int)status;
}
