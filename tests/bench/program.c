/* program.c: cdunet-bench from outside: every command's JSON and CSV are well-formed and agree with themselves, bad input gets one line and the right
 * exit code, and what was recorded stays. Times are not tested. */
#include <criterion/criterion.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static char output[400000], complaint[20000], folder[200];

static void read_all(const char *path, char *into, size_t size)
{
    FILE *file = fopen(path, "rb");
    cr_assert_not_null(file);
    into[fread(into, 1, size - 1, file)] = 0;
    fclose(file);
}

/* Runs `before cdunet-bench arguments`, %s in them being a folder of the test's own; what it printed is in output and complaint. */
static int run_after(const char *before, const char *arguments)
{
    char command[2048], words[1024], path[300];
    if (!folder[0]) {
        snprintf(folder, sizeof folder, "/tmp/cdunet-bench-test-XXXXXX");
        cr_assert_not_null(mkdtemp(folder));
    }
    snprintf(words, sizeof words, arguments, folder, folder);
    snprintf(command, sizeof command, "cd '%s' && %s '%s/cdunet-bench' %s >%s/out 2>%s/err", CDUNET_SOURCE_DIR, before, CDUNET_BINARY_DIR, words, folder, folder);
    int status = system(command);
    snprintf(path, sizeof path, "%s/out", folder);
    read_all(path, output, sizeof output);
    snprintf(path, sizeof path, "%s/err", folder);
    read_all(path, complaint, sizeof complaint);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int run(const char *arguments)
{
    return run_after("", arguments);
}

static void remove_folder(void)
{
    char command[300];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    if (folder[0]) cr_assert_eq(system(command), 0);
}

TestSuite(bench, .fini = remove_folder);

static int lines(const char *text)
{
    int count = 0;
    for (; *text; text++) count += *text == '\n';
    return count;
}

static const char *device(void)
{
    const char *given = getenv("CDUNET_TEST_DEVICE");
    return given ? given : "opencl:0";
}

/* The JSON that a command prints for a device. */
static json_t *json_after(const char *before, const char *command, const char *on)
{
    char words[600];
    json_error_t error;
    snprintf(words, sizeof words, "%s --json --device %s", command, on);
    cr_assert_eq(run_after(before, words), 0, "%s: %s", words, complaint);
    json_t *root = json_loads(output, 0, &error);
    cr_assert_not_null(root, "%s: line %d: %s", words, error.line, error.text);
    cr_assert_str_eq(json_string_value(json_object_get(root, "program")), "cdunet-bench");
    cr_assert(json_string_value(json_object_get(json_object_get(root, "host"), "cpu")));
    const json_t *about = json_array_get(json_object_get(root, "devices"), 0);
    cr_assert(json_string_value(json_object_get(about, "name")) && json_string_value(json_object_get(about, "driver")));
    return root;
}

static json_t *json_of(const char *command)
{
    return json_after("", command, device());
}

static double number(const json_t *row, const char *key)
{
    const json_t *value = json_object_get(row, key);
    cr_assert(json_is_number(value), "%s is no number", key);
    return json_number_value(value);
}

static void check_spread(const json_t *row, const char *key)
{
    char names[3][64];
    static const char *const ends[] = {"min", "median", "max"};
    for (int i = 0; i < 3; i++) snprintf(names[i], sizeof names[i], "%s_%s", key, ends[i]);
    cr_assert(number(row, names[0]) > 0 && number(row, names[0]) <= number(row, names[1]) && number(row, names[1]) <= number(row, names[2]));
}

Test(bench, peaks)
{
    json_t *root = json_of("peaks --repeats 2"), *limits = json_object_get(root, "limits");
    cr_assert_eq(json_array_size(limits), 3);
    for (size_t i = 0; i < 3; i++) {
        const json_t *row = json_array_get(limits, i);
        check_spread(row, "rate");
        cr_assert_eq(number(row, "samples"), 2);
        cr_assert_str_eq(json_string_value(json_object_get(row, "storage")), "f32");
    }
    json_decref(root);
}

/* The operators' work adds up to the network's, the layers' to the operators'. */
static void check_network(const char *command)
{
    json_t *root = json_of(command), *network = json_array_get(json_object_get(root, "network"), 0);
    static const char *const tables[] = {"operators", "layers"};
    check_spread(network, "wall");
    double planned = number(network, "memory_planned"), seen = number(network, "memory_seen");
    cr_assert(seen >= planned && seen <= 1.02 * planned + 65536, "%g planned, %g seen", planned, seen); /* buffers are aligned */
    for (int t = 0; t < 2; t++) {
        const json_t *rows = json_object_get(root, tables[t]);
        double steps = 0, gflop = 0, part = 0;
        for (size_t i = 0; i < json_array_size(rows); i++) {
            const json_t *row = json_array_get(rows, i);
            check_spread(row, "seconds");
            steps += number(row, "steps"), gflop += number(row, "gflop"), part += number(row, "part");
            cr_assert(number(row, "share") > 0 || number(row, "gbyte") == 0);
        }
        cr_assert_eq(steps, number(network, "steps"));
        cr_assert_float_eq(gflop, number(network, "gflop"), 1e-6 * gflop);
        cr_assert(part > 0.5 && part < 2, "parts add up to %g", part);
    }
    json_decref(root);
}

Test(bench, step)
{
    check_network("step --size 32 --width 2 --repeats 3 --layers");
}

Test(bench, infer)
{
    check_network("infer --size 32 --batch 2 --width 2 --repeats 3 --layers");
}

static void check_variants(const char *before, const char *command, const char *expected, bool is)
{
    json_t *root = json_after(before, command, device()), *rows = json_object_get(root, "ops");
    cr_assert_eq(json_array_size(rows), 3);
    for (size_t i = 0; i < 3; i++) {
        const char *variant = json_string_value(json_object_get(json_array_get(rows, i), "variant"));
        const char *repeat = json_string_value(json_object_get(json_array_get(rows, i), "repeat"));
        cr_assert_eq(!strncmp(variant, expected, strlen(expected)), is, "%s", variant);
        cr_assert(strstr(repeat, "ops --device ") && strstr(repeat, " --case conv3x3-32-32-32x32-n1"), "%s", repeat);
    }
    json_decref(root);
}

Test(bench, ops_tells_the_variant)
{
    check_variants("CDUNET_VARIANT=direct", "ops --repeats 1 --case conv3x3-32-32-32x32-n1", "direct", true);
    check_variants("CDUNET_VARIANT=winograd", "ops --repeats 1 --case conv3x3-32-32-32x32-n1", "winograd", true);
    check_variants("CDUNET_VARIANT=winograd", "ops --repeats 1 --exact-conv --case conv3x3-32-32-32x32-n1", "winograd", false);
}

/* Every case is built, and its passes are the operator's, on the device that checks steps and runs nothing. */
Test(bench, ops_all_cases)
{
    json_t *root = json_after("", "ops --repeats 1", "null:0"), *rows = json_object_get(root, "ops");
    size_t forward = 0, weights = 0, updates = 0;
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const char *pass = json_string_value(json_object_get(json_array_get(rows, i), "pass"));
        forward += !strcmp(pass, "forward"), weights += !strcmp(pass, "weight gradient"), updates += !strcmp(pass, "update");
    }
    cr_assert_eq(updates, 1);
    cr_assert(weights > 30 && forward > weights, "%zu %zu", weights, forward);
    json_decref(root);
}

Test(bench, memory_and_first)
{
    json_t *root = json_after("", "memory --size 32 --width 2", "null:0"), *rows = json_object_get(root, "memory");
    cr_assert_eq(json_array_size(rows), 4); /* step and infer, at 1 and 4 tiles */
    cr_assert(number(json_array_get(rows, 1), "planned") > number(json_array_get(rows, 0), "planned"));
    json_decref(root);
    root = json_after("", "first --size 32 --width 2 --repeats 2", "null:0");
    rows = json_object_get(root, "first");
    cr_assert_eq(json_array_size(rows), 2);
    cr_assert_eq(number(json_array_get(rows, 1), "starts"), 2);
    check_spread(json_array_get(rows, 1), "total");
    json_decref(root);
}

static int commas(const char *line)
{
    int count = 0;
    bool quoted = false;
    for (; *line && *line != '\n'; line++) {
        quoted ^= *line == '"';
        count += !quoted && *line == ',';
    }
    return count;
}

Test(bench, csv_has_as_many_fields_in_each_row)
{
    char command[200];
    snprintf(command, sizeof command, "step --csv --size 32 --width 2 --repeats 1 --device %s", device());
    cr_assert_eq(run(command), 0, "%s", complaint);
    int blocks = 0, fields = 0;
    for (char *line = output; *line; line = strchr(line, '\n') + 1) {
        if (!strncmp(line, "table,device,driver,", 20)) blocks++, fields = commas(line);
        else if (*line != '\n') cr_assert_eq(commas(line), fields, "%.200s", line);
    }
    cr_assert_eq(blocks, 3);
}

Test(bench, serve_answers_each_line)
{
    char command[200];
    static const char *const works[] = {"step", "infer", "convs", "limits"};
    for (int i = 0; i < 4; i++) {
        snprintf(command, sizeof command, "serve %s --size 32 --width 2 --device %s", works[i], device());
        cr_assert_eq(run_after("printf 'run\\nrun\\n' |", command), 0, "%s", complaint);
        cr_assert_eq(lines(output), 4, "%s", output);
        json_t *all[4];
        char *line = output;
        for (int l = 0; l < 4; l++) {
            all[l] = json_loads(line, JSON_DISABLE_EOF_CHECK, NULL);
            cr_assert_not_null(all[l], "%s", output);
            line = strchr(line, '\n') + 1;
        }
        cr_assert(json_is_true(json_object_get(all[0], "ready")));
        cr_assert(number(all[1], "seconds") > 0 && number(all[2], "seconds") > 0 && json_is_integer(json_object_get(all[3], "peak_bytes")));
        for (int l = 0; l < 4; l++) json_decref(all[l]);
    }
}

Test(bench, bad_input_gets_one_line)
{
    static const struct { const char *arguments; int code; const char *words; } rows[] = {
        {"", 2, NULL},
        {"stp", 2, "did you mean 'step'"},
        {"step --device opencl:99", 69, "opencl:99"},
        {"peaks --json --csv --device null:0", 2, "not both"},
        {"step --size 100 --device null:0", 2, "multiples of 16"},
        {"ops --case conv9 --device null:0", 2, "conv3x3-32-64-256x256-n1"},
        {"ops --only nothing-like-it --device null:0", 2, "nothing-like-it"},
        {"step --steps 3", 2, "'cdunet-bench step --help'"},
        {"memory --only both --device null:0", 2, "--only step"},
        {"serve dinner --device null:0", 2, "dinner"},
        {"compare null:0 null:0 nobody", 2, "there is no peer 'nobody'"},
        {"compare null:0", 2, "D2"},
        {"record --device null:0 --results /proc/none", 73, "/proc/none"},
        {"roofline /proc/none/picture --device null:0", 73, "/proc/none"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        cr_assert_eq(run(rows[i].arguments), rows[i].code, "%s: %s", rows[i].arguments, complaint);
        cr_assert_str_empty(output);
        if (rows[i].words) cr_assert(strstr(complaint, rows[i].words) && lines(complaint) == 1, "%s: %s", rows[i].arguments, complaint);
    }
}

/* A module of that name which cannot be imported stands for one that is not there. */
Test(bench, a_peer_that_is_not_installed)
{
    char path[300];
    cr_assert_eq(run("help"), 0);
    snprintf(path, sizeof path, "%s/openvino.py", folder);
    FILE *file = fopen(path, "w");
    cr_assert(file && fputs("raise ImportError('planted')\n", file) > 0 && fclose(file) == 0);
    snprintf(path, sizeof path, "PYTHONPATH='%s'", folder);
    cr_assert_eq(run_after(path, "compare null:0 null:0 open_vino --only infer --size 32 --width 2 --python /usr/bin/python3"), 69, "%s", complaint);
    cr_assert(strstr(complaint, "OpenVINO is not installed") && strstr(complaint, "pip install openvino"), "%s", complaint);
    cr_assert_eq(lines(complaint), 1);
    cr_assert_str_empty(output);
}

Test(bench, compare_and_the_same_device_twice)
{
    json_t *root;
    cr_assert_eq(run("compare null:0 null:0 --size 32 --width 2 --repeats 3 --json"), 0, "%s", complaint);
    root = json_loads(output, 0, NULL);
    cr_assert_eq(json_array_size(json_object_get(root, "devices")), 2);
    cr_assert_eq(json_array_size(json_object_get(root, "compare")), 4);
    check_spread(json_array_get(json_object_get(root, "compare"), 3), "seconds");
    cr_assert_eq(number(json_array_get(json_object_get(root, "compare"), 2), "ratio"), 1);
    json_decref(root);
}

static int files_below(const char *path)
{
    char command[400], path_of_count[300], text[32];
    snprintf(command, sizeof command, "find '%s' -type f | wc -l >%s/count", path, folder);
    cr_assert_eq(system(command), 0);
    snprintf(path_of_count, sizeof path_of_count, "%s/count", folder);
    read_all(path_of_count, text, sizeof text);
    return atoi(text);
}

Test(bench, what_is_recorded_stays)
{
    char results[300], command[500];
    const char *record = "record --device null:0 --size 32 --width 2 --repeats 1 --only max-pool --results %s/results";
    cr_assert_eq(run(record), 0, "%s", complaint);
    cr_assert(strstr(output, ".json"), "%s", output);
    cr_assert_eq(run(record), 0, "%s", complaint);
    snprintf(results, sizeof results, "%s/results", folder);
    cr_assert_eq(files_below(results), 2);
    /* --only takes some of the operators, not of the rest */
    snprintf(command, sizeof command, "grep -q '\"seen_device\"\\|\"resident' '%s'/*/*/*-2.json", results);
    cr_assert_eq(system(command), 0, "no memory is recorded");
    /* one that fails leaves what was there, and nothing of its own */
    cr_assert_eq(run("record --device null:0 --size 32 --width 2 --only no-such-case --results %s/results"), 2, "%s", complaint);
    cr_assert_eq(files_below(results), 2);
    cr_assert_eq(run("results --json --results %s/results"), 0);
    json_t *root = json_loads(output, 0, NULL), *rows = json_object_get(root, "results");
    cr_assert_eq(json_array_size(rows), 2);
    for (size_t i = 0; i < 2; i++) cr_assert(number(json_array_get(rows, i), "step") > 0 && number(json_array_get(rows, i), "cold") > 0);
    json_decref(root);
    /* a damaged file is told of and left out */
    snprintf(command, sizeof command, "for f in '%s'/*/*/*-2.json; do head -c 3000 \"$f\" >'%s/cut' && mv '%s/cut' \"$f\"; done", results, folder, folder);
    cr_assert_eq(system(command), 0);
    cr_assert_eq(run("results --json --results %s/results"), 0);
    root = json_loads(output, 0, NULL);
    cr_assert_eq(json_array_size(json_object_get(root, "results")), 1);
    cr_assert(strstr(complaint, "-2.json") && strstr(complaint, "left out") && lines(complaint) == 1, "%s", complaint);
    json_decref(root);
}

Test(bench, roofline_draws_both_files)
{
    char path[300];
    cr_assert_eq(run("roofline %s/picture --size 32 --width 2 --repeats 1 --device null:0"), 0, "%s", complaint);
    snprintf(path, sizeof path, "%s/picture.svg", folder);
    read_all(path, output, sizeof output);
    cr_assert(!strncmp(output, "<?xml", 5) && strstr(output, "</svg>"));
    snprintf(path, sizeof path, "%s/picture.png", folder);
    read_all(path, output, sizeof output);
    cr_assert(!memcmp(output, "\x89PNG\r\n\x1a\n", 8));
}
