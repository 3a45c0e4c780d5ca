/* options.c: see options.h. */
#include "tools/options.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAMES_LIMIT = 64, WORD_LIMIT = 64, HELP_COLUMN = 30 };

/* Levenshtein's distance, counting a swap of neighbours as two. */
static size_t distance(const char *a, const char *b)
{
    size_t la = strlen(a), lb = strlen(b), row[WORD_LIMIT + 1];
    if (la > WORD_LIMIT || lb > WORD_LIMIT) return WORD_LIMIT;
    for (size_t j = 0; j <= lb; j++) row[j] = j;
    for (size_t i = 1; i <= la; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= lb; j++) {
            size_t best = diagonal + (a[i - 1] != b[j - 1]);
            if (row[j] + 1 < best) best = row[j] + 1;
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            diagonal = row[j];
            row[j] = best;
        }
    }
    return row[lb];
}

const char *cdu_options_nearest(const char *word, const char *const *names, size_t count)
{
    const char *nearest = NULL;
    size_t least = strlen(word) / 3 + 2;
    for (size_t i = 0; i < count; i++) {
        size_t d = distance(word, names[i]);
        if (strlen(word) >= 3 && !strncmp(names[i], word, strlen(word))) d = 1;
        if (d < least) {
            least = d;
            nearest = names[i];
        }
    }
    return nearest;
}

static size_t option_count(const cdu_usage *usage)
{
    size_t count = 0;
    while (usage->options && usage->options[count].name) count++;
    return count;
}

static size_t positional_count(const cdu_usage *usage)
{
    size_t count = 0;
    while (usage->positionals && usage->positionals[count].name) count++;
    return count;
}

/* `text` behind column HELP_COLUMN, its line breaks kept. */
static void print_help_text(int column, const char *text)
{
    if (column >= HELP_COLUMN) {
        printf("\n");
        column = 0;
    }
    printf("%*s", HELP_COLUMN - column, "");
    for (; *text; text++) {
        putchar(*text);
        if (*text == '\n') printf("%*s", HELP_COLUMN, "");
    }
}

static const char *program = "cdunet";

void cdu_options_set_program(const char *name)
{
    program = name;
}

static void print_option_help(const cdu_option *option)
{
    int column = 0;
    if (option->letter) column = printf("  -%c, --%s", option->letter, option->name);
    else column = printf("      --%s", option->name);
    if (option->argument) column += printf(" %s", option->argument);
    print_help_text(column + 2 > HELP_COLUMN ? HELP_COLUMN : column, option->help);
    if (option->required) printf(" (needed)");
    if (option->fallback) printf(" (default: %s)", option->fallback);
    printf("\n");
}

static void print_help(const cdu_usage *usage)
{
    printf("usage: %s %s%s", program, usage->name, usage->options ? " [options]" : "");
    for (size_t i = 0; i < positional_count(usage); i++) {
        const cdu_positional *p = &usage->positionals[i];
        printf(p->optional ? " [%s]%s" : " %s%s", p->name, p->values ? "..." : "");
    }
    printf("\n%s\n", usage->summary);
    if (positional_count(usage)) printf("\narguments:\n");
    for (size_t i = 0; i < positional_count(usage); i++) {
        print_help_text(printf("  %s", usage->positionals[i].name), usage->positionals[i].help ? usage->positionals[i].help : "");
        printf("\n");
    }
    printf("\noptions:\n");
    for (size_t i = 0; i < option_count(usage); i++) print_option_help(&usage->options[i]);
    print_option_help(&(cdu_option){.name = "help", .letter = 'h', .help = "print this help"});
    if (usage->details) printf("\n%s\n", usage->details);
}

static bool parse_unsigned(const char *text, uint64_t *out, const char **end)
{
    if (text[0] < '0' || text[0] > '9') return false;
    char *stop;
    errno = 0;
    unsigned long long value = strtoull(text, &stop, 10);
    if (errno) return false;
    *out = value;
    *end = stop;
    return true;
}

/* "1.5GiB" as bytes. K, M, G and T alone mean the same as with iB; with B they are powers of a thousand. */
static bool parse_bytes(const char *text, uint64_t *out)
{
    static const char letters[] = "KMGT";
    char *unit;
    double bytes = strtod(text, &unit);
    if (unit == text || text[0] < '0' || text[0] > '9') return false;
    while (*unit == ' ') unit++;
    const char *letter = *unit ? strchr(letters, *unit >= 'a' ? *unit - 'a' + 'A' : *unit) : NULL;
    if (!letter) return false;
    bool decimal = !strcmp(unit + 1, "B");
    if (!decimal && unit[1] && strcmp(unit + 1, "iB")) return false;
    for (const char *l = letters; l <= letter; l++) bytes *= decimal ? 1000 : 1024;
    if (!(bytes >= 1 && bytes < 0x1p63)) return false;
    *out = (uint64_t)bytes;
    return true;
}

static cdu_status set_value(const cdu_usage *usage, const cdu_option *option, const char *text, cdu_error *error)
{
    const char *end = "";
    bool bounded = option->least != 0 || option->most != 0;
    double number = 0;
    switch (option->type) {
    case CDU_OPTION_FLAG: *(bool *)option->value = true; return CDU_OK;
    case CDU_OPTION_TEXT: *(const char **)option->value = text; return CDU_OK;
    case CDU_OPTION_UNSIGNED: {
        uint64_t value;
        if (!parse_unsigned(text, &value, &end) || *end)
            return cdu_fail(error, CDU_USAGE, "%s: --%s: '%s' is not a whole number", usage->name, option->name, text);
        *(uint64_t *)option->value = value;
        number = (double)value;
        break;
    }
    case CDU_OPTION_FLOAT: {
        char *stop;
        number = strtod(text, &stop);
        if (stop == text || *stop || !isfinite(number))
            return cdu_fail(error, CDU_USAGE, "%s: --%s: '%s' is not a number", usage->name, option->name, text);
        *(double *)option->value = number;
        break;
    }
    case CDU_OPTION_SIZE: {
        cdu_size size;
        if (!parse_unsigned(text, &size.width, &end) || (*end != 'x' && *end != 'X') || !parse_unsigned(end + 1, &size.height, &end) ||
            *end || !size.width || !size.height)
            return cdu_fail(error, CDU_USAGE, "%s: --%s: '%s' is not a size such as 2048x1024", usage->name, option->name, text);
        *(cdu_size *)option->value = size;
        return CDU_OK;
    }
    case CDU_OPTION_BYTES:
        if (!parse_bytes(text, option->value))
            return cdu_fail(error, CDU_USAGE, "%s: --%s: '%s' is not an amount of memory such as 2GiB or 900MiB", usage->name, option->name,
                            text);
        return CDU_OK;
    }
    if (bounded && (number < option->least || number > option->most))
        return cdu_fail(error, CDU_USAGE, "%s: --%s: %s is not between %g and %g", usage->name, option->name, text, option->least,
                        option->most);
    return CDU_OK;
}

static cdu_status unknown_option(const cdu_usage *usage, const char *word, cdu_error *error)
{
    const char *names[NAMES_LIMIT];
    size_t count = 0;
    for (; count < option_count(usage) && count < NAMES_LIMIT - 1; count++) names[count] = usage->options[count].name;
    names[count++] = "help";
    const char *nearest = cdu_options_nearest(word, names, count);
    if (nearest)
        return cdu_fail(error, CDU_USAGE, "%s: there is no option --%s; did you mean --%s?", usage->name, word, nearest);
    return cdu_fail(error, CDU_USAGE, "%s: there is no option --%s; '%s %s --help' lists them", usage->name, word, program, usage->name);
}

static const cdu_option *find_long(const cdu_usage *usage, const char *word, size_t length)
{
    for (size_t i = 0; i < option_count(usage); i++)
        if (strlen(usage->options[i].name) == length && !memcmp(usage->options[i].name, word, length)) return &usage->options[i];
    return NULL;
}

static const cdu_option *find_short(const cdu_usage *usage, char letter)
{
    for (size_t i = 0; i < option_count(usage); i++)
        if (usage->options[i].letter == letter) return &usage->options[i];
    return NULL;
}

/* One option at argv[*at]; moves *at to the last word used. */
static cdu_status parse_option(const cdu_usage *usage, int argc, char **argv, int *at, bool *given, cdu_error *error)
{
    const char *word = argv[*at], *value = NULL;
    const cdu_option *option;
    if (word[1] == '-') {
        size_t length = strcspn(word + 2, "=");
        option = find_long(usage, word + 2, length);
        if (!option) {
            char name[WORD_LIMIT];
            snprintf(name, sizeof name, "%.*s", (int)(length < WORD_LIMIT ? length : WORD_LIMIT - 1), word + 2);
            return unknown_option(usage, name, error);
        }
        if (word[2 + length]) value = word + 2 + length + 1;
    } else {
        option = find_short(usage, word[1]);
        if (!option)
            return cdu_fail(error, CDU_USAGE, "%s: there is no option -%c; '%s %s --help' lists them", usage->name, word[1],
                            program, usage->name);
        if (word[2]) value = word + 2 + (word[2] == '=');
    }
    if (option->type == CDU_OPTION_FLAG) {
        if (value) return cdu_fail(error, CDU_USAGE, "%s: --%s takes no value", usage->name, option->name);
    } else if (!value) {
        if (*at + 1 >= argc)
            return cdu_fail(error, CDU_USAGE, "%s: --%s needs a value (%s)", usage->name, option->name,
                            option->argument ? option->argument : "VALUE");
        value = argv[++*at];
    }
    given[option - usage->options] = true;
    return set_value(usage, option, value, error);
}

static cdu_status take_positionals(const cdu_usage *usage, char **words, size_t count, cdu_error *error)
{
    size_t rows = positional_count(usage);
    for (size_t i = 0; i < rows; i++) {
        const cdu_positional *p = &usage->positionals[i];
        if (p->values) {
            *p->values = (const char **)(words + i);
            *p->count = count > i ? count - i : 0;
            if (!*p->count && !p->optional)
                return cdu_fail(error, CDU_USAGE, "%s: %s is missing; see '%s %s --help'", usage->name, p->name, program, usage->name);
            return CDU_OK;
        }
        if (i < count) *p->value = words[i];
        else if (!p->optional)
            return cdu_fail(error, CDU_USAGE, "%s: %s is missing; see '%s %s --help'", usage->name, p->name, program, usage->name);
    }
    if (count > rows)
        return cdu_fail(error, CDU_USAGE, "%s: '%s' is one argument too many; see '%s %s --help'", usage->name, words[rows],
                        program, usage->name);
    return CDU_OK;
}

cdu_status cdu_options_parse(const cdu_usage *usage, int argc, char **argv, bool *done, cdu_error *error)
{
    bool given[NAMES_LIMIT] = {false};
    size_t options = option_count(usage);
    int words = 0; /* positional arguments, moved to argv[1...] */
    *done = false;
    for (int i = 1; i < argc && strcmp(argv[i], "--"); i++)
        if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) {
            print_help(usage);
            *done = true;
            return CDU_OK;
        }
    for (size_t i = 0; i < options; i++)
        if (usage->options[i].fallback) CDU_TRY(set_value(usage, &usage->options[i], usage->options[i].fallback, error));
    for (int i = 1, plain = 0; i < argc; i++) {
        if (!plain && !strcmp(argv[i], "--")) plain = 1;
        else if (!plain && argv[i][0] == '-' && argv[i][1]) CDU_TRY(parse_option(usage, argc, argv, &i, given, error));
        else argv[1 + words++] = argv[i];
    }
    for (size_t i = 0; i < options; i++) {
        if (usage->options[i].given) *usage->options[i].given = given[i];
        if (usage->options[i].required && !given[i])
            return cdu_fail(error, CDU_USAGE, "%s: --%s %s is needed; see '%s %s --help'", usage->name, usage->options[i].name,
                            usage->options[i].argument ? usage->options[i].argument : "", program, usage->name);
    }
    return take_positionals(usage, argv + 1, (size_t)words, error);
}

cdu_status cdu_options_take_tune(int *argc, char **argv, const char **place, cdu_error *error)
{
    int kept = 1;
    bool plain = false;
    for (int i = 1; i < *argc; i++) {
        plain = plain || !strcmp(argv[i], "--");
        bool word = !plain && !strcmp(argv[i], "--tune"), joined = !plain && !strncmp(argv[i], "--tune=", 7);
        if (!word && !joined) {
            argv[kept++] = argv[i];
            continue;
        }
        *place = joined ? argv[i] + 7 : i + 1 < *argc ? argv[++i] : "";
        if (!**place) return cdu_fail(error, CDU_USAGE, "--tune needs a tune pack: --tune FILE, a folder of them, or off");
    }
    argv[kept] = NULL;
    *argc = kept;
    return CDU_OK;
}
