/* options.c: option tables: what they take, what they refuse and with which words. */
#include "tools/options.h"

#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <string.h>

static const char *out, *study, **slides;
static uint64_t epochs;
static double mpp;
static bool json, epochs_given;
static cdu_size size;
static uint64_t memory;
static size_t slide_count;

static const cdu_option options[] = {
    {.name = "out", .letter = 'o', .type = CDU_OPTION_TEXT, .value = &out, .argument = "DIR", .required = true, .help = "a folder"},
    {.name = "epochs", .type = CDU_OPTION_UNSIGNED, .value = &epochs, .argument = "N", .fallback = "200", .given = &epochs_given,
     .least = 1, .most = 1000, .help = "passes over the data"},
    {.name = "mpp", .type = CDU_OPTION_FLOAT, .value = &mpp, .argument = "X", .help = "microns per pixel"},
    {.name = "size", .letter = 's', .type = CDU_OPTION_SIZE, .value = &size, .argument = "WxH", .help = "size"},
    {.name = "memory", .type = CDU_OPTION_BYTES, .value = &memory, .argument = "LIMIT", .help = "memory"},
    {.name = "json", .type = CDU_OPTION_FLAG, .value = &json, .help = "print JSON"},
    {0},
};
static const cdu_positional positionals[] = {
    {.name = "STUDY", .value = &study, .help = "the study file"},
    {.name = "SLIDE", .values = &slides, .count = &slide_count, .optional = true, .help = "slides"},
    {0},
};
static const cdu_usage usage = {"train", "trains", "More words.", options, positionals};

/* Splits `line` at blanks and parses it. */
static cdu_status parse(const char *line, bool *done, cdu_error *error)
{
    static char copy[512], *words[32];
    int count = 0;
    snprintf(copy, sizeof copy, "train %s", line);
    for (char *word = strtok(copy, " "); word; word = strtok(NULL, " ")) words[count++] = word;
    out = study = NULL;
    slides = NULL;
    epochs = 0;
    mpp = 0;
    json = false;
    slide_count = 0;
    return cdu_options_parse(&usage, count, words, done, error);
}

Test(options, takes_all_forms)
{
    bool done = true;
    cdu_error error = {0};
    cr_assert_eq(parse("study.yaml -o run --mpp=0.5 --size 20x30 --json --epochs 3 a b", &done, &error), CDU_OK, "%s", error.words);
    cr_assert(!done && json && epochs_given);
    cr_assert_str_eq(out, "run");
    cr_assert_str_eq(study, "study.yaml");
    cr_assert_eq(epochs, 3);
    cr_assert_float_eq(mpp, 0.5, 0);
    cr_assert(size.width == 20 && size.height == 30);
    cr_assert_eq(slide_count, 2);
    cr_assert_str_eq(slides[1], "b");
    cr_assert_eq(parse("-orun -s7X8 -- --odd-name", &done, &error), CDU_OK, "%s", error.words);
    cr_assert_str_eq(out, "run");
    cr_assert_str_eq(study, "--odd-name");
    cr_assert(epochs == 200 && !epochs_given && size.width == 7);
}

Test(options, amounts_of_memory)
{
    static const struct { const char *text; uint64_t bytes; } rows[] = {
        {"2GiB", 2ull << 30}, {"900MiB", 900ull << 20}, {"1.5g", 3ull << 29}, {"512M", 512ull << 20}, {"3kB", 3000}, {"0.5TiB", 1ull << 39}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char line[64];
        bool done;
        cdu_error error = {0};
        snprintf(line, sizeof line, "s -o d --memory %s", rows[i].text);
        cr_assert_eq(parse(line, &done, &error), CDU_OK, "%s", error.words);
        cr_assert_eq(memory, rows[i].bytes, "%s: %llu", rows[i].text, (unsigned long long)memory);
    }
}

Test(options, refuses_with_words)
{
    static const struct { const char *line, *words; } rows[] = {
        {"s --out d --epoch 3", "did you mean --epochs"},
        {"s --out d --jsn", "did you mean --json"},
        {"s --out d --frobnicate", "no option --frobnicate; 'cdunet train --help'"},
        {"s --out d -x", "no option -x"},
        {"s", "--out DIR is needed"},
        {"--out d", "STUDY is missing"},
        {"s --out", "--out needs a value (DIR)"},
        {"s --out d --epochs three", "'three' is not a whole number"},
        {"s --out d --epochs -3", "'-3' is not a whole number"},
        {"s --out d --epochs 18446744073709551616", "is not a whole number"},
        {"s --out d --epochs 0", "not between 1 and 1000"},
        {"s --out d --mpp nan", "'nan' is not a number"},
        {"s --out d --mpp 1um", "'1um' is not a number"},
        {"s --out d --size 20", "not a size such as"},
        {"s --out d --size 20x0", "not a size such as"},
        {"s --out d --memory 2", "'2' is not an amount of memory such as 2GiB"},
        {"s --out d --memory GiB", "not an amount of memory"},
        {"s --out d --memory -1GiB", "not an amount of memory"},
        {"s --out d --memory 0MiB", "not an amount of memory"},
        {"s --out d --memory 2GiBs", "not an amount of memory"},
        {"s --out d --memory infGiB", "not an amount of memory"},
        {"s --out d --memory 1e30T", "not an amount of memory"},
        {"s --out d --json=yes", "takes no value"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        bool done = false;
        cdu_error error = {0};
        cr_assert_eq(parse(rows[i].line, &done, &error), CDU_USAGE, "%s", rows[i].line);
        cr_assert(strstr(error.words, rows[i].words), "%s: %s", rows[i].line, error.words);
    }
}

Test(options, help_tells_everything, .init = cr_redirect_stdout)
{
    bool done = false;
    cdu_error error = {0};
    cr_assert_eq(parse("--help", &done, &error), CDU_OK);
    cr_assert(done);
    fflush(stdout);
    FILE *stream = cr_get_redirected_stdout();
    char text[4096] = "";
    cr_assert_gt(fread(text, 1, sizeof text - 1, stream), 0);
    static const char *const expected[] = {"usage: cdunet train [options] STUDY [SLIDE]...", "-o, --out DIR", "(needed)", "(default: 200)",
                                           "--size WxH", "-h, --help", "the study file", "More words."};
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) cr_assert(strstr(text, expected[i]), "%s", expected[i]);
}
