/* options.h: command lines from tables. A command declares its options and positional arguments; parsing, defaults, checks, hints
 * for misspelt names and the text of --help come from the tables. Leaves out: options that may be given several times (the last
 * one counts, but for lists of positional arguments).
 *
 *     const char *out = NULL; uint64_t epochs = 0; bool json = false; const char *study = NULL;
 *     const cdu_option options[] = {
 *         {.name = "out", .letter = 'o', .type = CDU_OPTION_TEXT, .value = &out, .argument = "DIR", .required = true,
 *          .help = "folder for the results"},
 *         {.name = "epochs", .type = CDU_OPTION_UNSIGNED, .value = &epochs, .argument = "N", .fallback = "200", .help = "passes"},
 *         {.name = "json", .type = CDU_OPTION_FLAG, .value = &json, .help = "print JSON"},
 *         {0}};
 *     const cdu_positional positionals[] = {{.name = "STUDY", .value = &study, .help = "the study file"}, {0}};
 *     const cdu_usage usage = {"train", "trains a network", NULL, options, positionals};
 *     bool done = false;
 *     CDU_TRY(cdu_options_parse(&usage, argc, argv, &done, error));
 *     if (done) return CDU_OK;
 */
#ifndef CDU_TOOLS_OPTIONS_H
#define CDU_TOOLS_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cdunet/error.h"

typedef enum {
    CDU_OPTION_FLAG,        /* bool *: true where given */
    CDU_OPTION_TEXT,        /* const char **: points into argv */
    CDU_OPTION_UNSIGNED,    /* uint64_t * */
    CDU_OPTION_FLOAT,       /* double *: finite */
    CDU_OPTION_SIZE,        /* cdu_size *: "2048x1024", both at least 1 */
    CDU_OPTION_BYTES        /* uint64_t *: "2GiB", "900MiB", "1.5 GB": with a unit, at least 1 byte */
} cdu_option_type;

typedef struct { uint64_t width, height; } cdu_size;

typedef struct {
    const char *name;       /* "out" for --out; a null name ends the table */
    char letter;            /* 'o' for -o; 0: none */
    cdu_option_type type;
    void *value;            /* by type, see above; untouched where neither the option nor a fallback is given */
    const char *argument;   /* what the help calls the argument: "DIR"; null for flags */
    const char *help;       /* one line or several */
    const char *fallback;   /* the default as one would type it, shown in the help; or null */
    bool required;
    double least, most;     /* bounds for UNSIGNED and FLOAT; both 0: none */
    bool *given;            /* set to whether the option stood on the command line; may be null */
} cdu_option;

typedef struct {
    const char *name;       /* "SLIDE"; a null name ends the table */
    const char **value;     /* one argument */
    const char ***values;   /* or, in the last row: all that are left, as a part of argv, with their count */
    size_t *count;
    bool optional;
    const char *help;
} cdu_positional;

typedef struct {
    const char *name, *summary;
    const char *details;                /* paragraphs behind the options in the help, or null */
    const cdu_option *options;          /* or null */
    const cdu_positional *positionals;  /* or null */
} cdu_usage;

/* CDU_USAGE, with a hint, for unknown or ambiguous options, missing or surplus arguments and values that do not parse. Long options
 * may be written --name value or --name=value, short ones -n value or -nvalue; "--" ends the options. With --help or -h the help is
 * printed to standard output and *done is set: the command returns CDU_OK at once. argv is reordered for lists. */
cdu_status cdu_options_parse(const cdu_usage *usage, int argc, char **argv, bool *done, cdu_error *error);

/* The program's name in help and hints, kept as a pointer; "cdunet" until this is called. */
void cdu_options_set_program(const char *name);

/* Takes --tune FILE (or --tune=FILE) out of the words, wherever it stands before "--", for cdu_tune_place; *argc is then how many words are left. It is an
 * option of all commands. *place stays null without it. CDU_USAGE where its value is missing. */
cdu_status cdu_options_take_tune(int *argc, char **argv, const char **place, cdu_error *error);

/* The one of `count` names nearest to `word` by edits, or null where none is near. */
const char *cdu_options_nearest(const char *word, const char *const *names, size_t count);

#endif
