/* program.c: the program from outside: exit codes, one line for an error, results and talk kept apart. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static char output[8192], complaint[8192];

static void read_all(const char *path, char *into, size_t size)
{
    FILE *file = fopen(path, "rb");
    cr_assert_not_null(file);
    into[fread(into, 1, size - 1, file)] = 0;
    fclose(file);
    remove(path);
}

/* Runs `before cdunet arguments`; what it printed is in output and complaint. */
static int run_after(const char *before, const char *arguments)
{
    char command[1024], out[200], err[200];
    snprintf(out, sizeof out, "%s/program-out-%ld", CDUNET_BINARY_DIR, (long)getpid());
    snprintf(err, sizeof err, "%s/program-err-%ld", CDUNET_BINARY_DIR, (long)getpid());
    snprintf(command, sizeof command, "%s '%s/cdunet' %s >'%s' 2>'%s'", before, CDUNET_BINARY_DIR, arguments, out, err);
    int status = system(command);
    read_all(out, output, sizeof output);
    read_all(err, complaint, sizeof complaint);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int run(const char *arguments)
{
    return run_after("", arguments);
}

static int lines(const char *text)
{
    int count = 0;
    for (; *text; text++) count += *text == '\n';
    return count;
}

Test(program, help_and_version)
{
    cr_assert_eq(run("--version"), 0);
    cr_assert_str_eq(output, "cdunet 0.1.0\n");
    cr_assert_eq(run("help"), 0);
    static const char *const commands[] = {"devices", "phantom", "train", "augment", "evaluate", "segment"};
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) cr_assert(strstr(output, commands[i]));
    cr_assert_str_empty(complaint);
}

Test(program, usage_errors_are_one_line)
{
    static const struct { const char *arguments, *words; } rows[] = {
        {"trian", "did you mean 'train'"},
        {"conquer", "'cdunet help' lists them"},
        {"--fast", "where a command is expected"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        cr_assert_eq(run(rows[i].arguments), 2, "%s", rows[i].arguments);
        cr_assert(strstr(complaint, rows[i].words), "%s", complaint);
        cr_assert_eq(lines(complaint), 1);
        cr_assert(!strncmp(complaint, "cdunet: ", 8));
        cr_assert_str_empty(output);
    }
    cr_assert_eq(run(""), 2);
}

Test(program, tune_packs_that_were_named_are_checked)
{
    cr_assert_eq(run("devices --tune"), 2);
    cr_assert(strstr(complaint, "--tune needs a tune pack"), "%s", complaint);
    cr_assert_eq(lines(complaint), 1);
    cr_assert_eq(run("--tune=off devices --help"), 0);
    cr_assert(!strstr(output, "--tune"));
}

Test(program, debug_words_are_checked)
{
    cr_assert_eq(run_after("CDUNET_DEBUG=psion", "devices"), 2);
    cr_assert(strstr(complaint, "psion") && strstr(complaint, "poison"), "%s", complaint);
}

Test(program, a_full_disk_behind_standard_output)
{
    char command[600];
    snprintf(command, sizeof command, "'%s/cdunet' help >/dev/full 2>/dev/null", CDUNET_BINARY_DIR);
    int status = system(command);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 73);
}
