/* tuning.c: tune packs: what is read, what is refused with which words, where they are found, and that convolutions obey them. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cdunet/log.h"
#include "core/graph/plan.h"
#include "core/ops/open.h"
#include "core/ops/tuning.h"

#define BAD CDUNET_SOURCE_DIR "/tests/ops/bad-packs/"
#define GOOD CDUNET_SOURCE_DIR "/tests/fuzz/fuzz_tune/good.json"

static char folder[100], logged[2048];
static int warnings;

static void keep_warning(cdu_log_level level, const char *line, void *context)
{
    (void)context;
    if (level < CDU_LOG_WARNING) return;
    warnings++;
    snprintf(logged, sizeof logged, "%s", line);
}

static void begin(void)
{
    snprintf(folder, sizeof folder, "/tmp/cdunet-tuning-XXXXXX");
    cr_assert(mkdtemp(folder) != NULL);
    cdu_log_set_handler(keep_warning, NULL, CDU_LOG_INFO);
    unsetenv("CDUNET_TUNE");
    unsetenv("CDUNET_VARIANT");
    setenv("XDG_DATA_HOME", folder, 1);
    setenv("XDG_DATA_DIRS", folder, 1);
}

static void end(void)
{
    char command[200];
    cdu_tune_forget();
    snprintf(command, sizeof command, "rm -r '%s'", folder);
    cr_assert(system(command) == 0);
}

TestSuite(tuning, .init = begin, .fini = end);

/* A CPU with wide vectors, for which the packs here are made. */
static cdu_device_info invented(void)
{
    return (cdu_device_info){.name = "invented", .driver = "Driver 1.0 (x)", .kind = CDU_CPU, .memory = 1ull << 34, .largest_buffer = 1ull << 31,
                             .largest_binding = 1ull << 31, .binding_align = 256, .group_items = 4096, .group_size = {4096, 4096, 4096},
                             .group_count = {1u << 30, 1u << 30, 1u << 30}, .local_bytes = 1 << 20, .compute_units = 2, .vector_width = 16};
}

static cdu_conv_problem problem(uint32_t size, uint32_t lanes)
{
    return (cdu_conv_problem){.pass = CDU_CONV_SUM, .side = 3, .stride = 1, .parities = 1, .n = 1, .h = size, .w = size, .in_lanes = lanes,
                              .out_lanes = lanes};
}

/* How a convolution of that size is computed, forward and for the gradient of its weights. */
static void variants_of(const cdu_device_info *device, uint32_t size, bool exact, char forward[32], char gradient[32])
{
    cdu_graph *graph;
    cdu_plan *plan = NULL;
    cdu_error error = {0};
    cr_assert_eq(cdu_graph_create(&graph, &error), CDU_OK);
    cdu_value x = cdu_graph_input(graph, "x", (cdu_shape){1, size, size, 32}, CDU_F32);
    cdu_graph_seed(graph, cdu_conv(graph, "conv", x, 3, 32, CDU_EPILOGUE_NONE));
    cr_assert_eq(cdu_plan_create(graph, device, &(cdu_plan_options){.training = true, .exact = exact}, &plan, &error), CDU_OK, "%s", error.words);
    for (uint32_t i = 0; i < cdu_plan_drafts(plan); i++) {
        const cdu_draft *draft = cdu_plan_draft(plan, i);
        snprintf(strcmp(draft->pass, "forward") ? gradient : forward, 32, "%s", draft->variant);
    }
    cdu_plan_destroy(plan);
    cdu_graph_destroy(graph);
}

static void copy_pack(const char *from, const char *to, const char *what, const char *with)
{
    char command[600];
    snprintf(command, sizeof command, "mkdir -p \"$(dirname '%s')\" && sed 's|%s|%s|' '%s' >'%s'", to, what, with, from, to);
    cr_assert(system(command) == 0);
}

Test(tuning, a_pack_comes_back_as_it_was_written)
{
    char path[200];
    cdu_error error = {0};
    cdu_tune_pack pack = {.device = "a \"quoted\" \\ device", .driver = "1", .vector_width = 8}, again;
    cdu_tune_entry entry = {.problem = problem(64, 32), .choice = {.variant = "winograd", .setting = {1, 0, 0, 1024}}, .share = 0.875};
    snprintf(path, sizeof path, "%s/pack.json", folder);
    cr_assert_eq(cdu_tune_add(&pack, &entry, &error), CDU_OK);
    entry.problem.pass = CDU_CONV_GRADIENT;
    cr_assert_eq(cdu_tune_add(&pack, &entry, &error), CDU_OK);
    cr_assert_eq(cdu_tune_refuse(&pack, "direct", "says \"no\"", &error), CDU_OK);
    cr_assert_eq(cdu_tune_write(path, &pack, &error), CDU_OK, "%s", error.words);
    cr_assert_eq(cdu_tune_read(path, &again, &error), CDU_OK, "%s", error.words);
    cr_assert_str_eq(again.device, pack.device);
    cr_assert_eq(again.vector_width, 8);
    cr_assert_eq(again.count, 2);
    for (size_t i = 0; i < 2; i++) {
        cr_assert(!memcmp(&again.entries[i].problem, &pack.entries[i].problem, sizeof entry.problem));
        cr_assert(!memcmp(&again.entries[i].choice, &pack.entries[i].choice, sizeof entry.choice));
        cr_assert_float_eq(again.entries[i].share, 0.875, 1e-9);
    }
    cdu_tune_free(&pack);
    cdu_tune_free(&again);
}

Test(tuning, damaged_packs_are_refused_with_words)
{
    static const struct { const char *file, *words; } rows[] = {
        {"cut.json", "cut.json:8: a damaged tune pack"},
        {"no-json.json", "no-json.json:1: a damaged tune pack"},
        {"other-format.json", "\"format\" is not \"cdunet tune pack 1\""},
        {"no-device.json", "\"device\", \"driver\" or \"vector_width\""},
        {"device-number.json", "\"device\", \"driver\" or \"vector_width\""},
        {"no-list.json", "\"convolutions\" is missing"},
        {"list-object.json", "\"convolutions\" is missing or no list"},
        {"pass.json", "entry 2 of \"convolutions\": its pass is neither"},
        {"zero.json", "entry 1 of \"convolutions\": h"},
        {"huge.json", "huge.json:7: a damaged tune pack: too big integer"},
        {"lanes.json", "entry 1 of \"convolutions\": in_lanes"},
        {"text-number.json", "entry 1 of \"convolutions\": n"},
        {"twice.json", "entry 2 of \"convolutions\" stands there twice"},
        {"key-twice.json", "key-twice.json:7: a damaged tune pack: duplicate"},
        {"setting-negative.json", "entry 1 of \"convolutions\": settings"},
        {"setting-huge.json", "entry 1 of \"convolutions\": settings"},
        {"settings-list.json", "entry 1 of \"convolutions\": settings"},
        {"variant-long.json", "entry 1 of \"convolutions\": variant"},
        {"no-variant.json", "entry 2 of \"convolutions\": variant"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char path[300];
        cdu_tune_pack pack;
        cdu_error error = {0};
        snprintf(path, sizeof path, BAD "%s", rows[i].file);
        cr_assert_eq(cdu_tune_read(path, &pack, &error), CDU_BAD_DATA, "%s", rows[i].file);
        cr_assert(strstr(error.words, rows[i].words) && strstr(error.words, "cdunet-bench tune"), "%s: %s", rows[i].file, error.words);
        cr_assert(!strchr(error.words, '\n'), "%s", error.words);
        cdu_tune_free(&pack);
    }
}

Test(tuning, the_nearest_size_counts_within_limits)
{
    cdu_tune_pack pack = {0};
    cdu_error error = {0};
    const uint32_t sizes[] = {64, 128, 1024};
    for (size_t i = 0; i < 3; i++) cr_assert_eq(cdu_tune_add(&pack, &(cdu_tune_entry){.problem = problem(sizes[i], 32)}, &error), CDU_OK);
    const struct { uint32_t size, lanes; int found; } rows[] = {{64, 32, 0},  {70, 32, 0},   {120, 32, 1},  {32, 32, 0},    {31, 32, -1},
                                                                 {511, 32, 1}, {513, 32, 2}, {4096, 32, 2}, {4097, 32, -1}, {64, 64, -1}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        cdu_conv_problem p = problem(rows[i].size, rows[i].lanes);
        const cdu_tune_entry *entry = cdu_tune_nearest(&pack, &p);
        cr_assert_eq(entry ? entry - pack.entries : -1, rows[i].found, "%u", rows[i].size);
        p.pass = CDU_CONV_GRADIENT;
        cr_assert_null(cdu_tune_nearest(&pack, &p));
    }
    cdu_tune_free(&pack);
}

Test(tuning, convolutions_obey_the_pack)
{
    cdu_device_info device = invented();
    char forward[32], gradient[32];
    cdu_error error = {0};
    setenv("CDUNET_TUNE", GOOD, 1);
    cr_assert_eq(cdu_tune_load(&device, &error), CDU_OK, "%s", error.words);
    variants_of(&device, 64, false, forward, gradient);
    cr_assert_str_eq(forward, "winograd:2:24:8");
    cr_assert_str_eq(gradient, "direct");
    variants_of(&device, 257, false, forward, gradient);       /* too far away */
    cr_assert_str_eq(forward, "winograd");
    variants_of(&device, 64, true, forward, gradient);         /* --exact-conv */
    cr_assert_str_eq(forward, "direct");
    setenv("CDUNET_VARIANT", "winograd:1", 1);                  /* what is forced goes first */
    variants_of(&device, 64, false, forward, gradient);
    cr_assert_str_eq(forward, "winograd:1");
    cr_assert_eq(warnings, 0, "%s", logged);
}

Test(tuning, a_pack_of_another_device_or_driver_is_refused_where_it_was_named)
{
    cdu_device_info device = invented();
    cdu_error error = {0};
    char forward[32], gradient[32];
    cdu_tune_place(GOOD);
    snprintf(device.driver, sizeof device.driver, "Driver 2.0");
    cr_assert_eq(cdu_tune_load(&device, &error), CDU_BAD_DATA);
    cr_assert(strstr(error.words, "is for invented, Driver 1.0 (x), vectors of 16, and this is invented, Driver 2.0"), "%s", error.words);
    cr_assert(strstr(error.words, "leave it away") && !strchr(error.words, '\n'));
    variants_of(&device, 64, false, forward, gradient);
    cr_assert_str_eq(forward, "winograd");
    cdu_gpu gpu;
    cr_assert_eq(cdu_open_device("null:0", false, &gpu, &error), CDU_BAD_DATA);
    cr_assert(strstr(error.words, "a tune pack of another device"), "%s", error.words);
    cdu_tune_place("/nowhere/pack.json");
    cdu_tune_forget();
    cr_assert_eq(cdu_tune_load(&device, &error), CDU_BAD_DATA);
    cr_assert(strstr(error.words, "/nowhere/pack.json"), "%s", error.words);
    cdu_tune_place(NULL);
}

Test(tuning, packs_are_found_in_folders_by_device_and_driver)
{
    cdu_device_info device = invented();
    char path[300], name[CDU_TUNE_NAME], forward[32], gradient[32];
    cdu_error error = {0};
    cdu_tune_file_name(&device, name);
    cr_assert_str_eq(name, "invented-driver-1-0-x.json");
    variants_of(&device, 64, false, forward, gradient);
    cr_assert_str_eq(forward, "winograd");
    snprintf(path, sizeof path, "%s/cdunet/tune/%s", folder, name);
    copy_pack(GOOD, path, "nothing", "nothing");
    cdu_tune_forget();
    cr_assert_eq(cdu_tune_load(&device, &error), CDU_OK, "%s", error.words);
    variants_of(&device, 64, false, forward, gradient);
    cr_assert_str_eq(forward, "winograd:2:24:8");
    cdu_tune_place("off");
    cdu_tune_forget();
    variants_of(&device, 64, false, forward, gradient);
    cr_assert_str_eq(forward, "winograd");
    snprintf(path, sizeof path, "%s/cdunet/tune", folder);
    cdu_tune_place(path);                                       /* a folder */
    cdu_tune_forget();
    variants_of(&device, 64, false, forward, gradient);
    cr_assert_str_eq(forward, "winograd:2:24:8");
    cdu_tune_place(NULL);
    cr_assert_eq(warnings, 0, "%s", logged);
}

/* A fault of a pack that nobody named costs a warning, once. */
Test(tuning, a_damaged_pack_that_was_found_is_a_warning)
{
    cdu_device_info device = invented();
    char path[300], name[CDU_TUNE_NAME], forward[32], gradient[32];
    cdu_error error = {0};
    cdu_tune_file_name(&device, name);
    snprintf(path, sizeof path, "%s/cdunet/tune/%s", folder, name);
    copy_pack(BAD "cut.json", path, "nothing", "nothing");
    cr_assert_eq(cdu_tune_load(&device, &error), CDU_OK);
    variants_of(&device, 64, false, forward, gradient);
    cr_assert_str_eq(forward, "winograd");
    cr_assert_eq(warnings, 1);
    cr_assert(strstr(logged, "a damaged tune pack") && strstr(logged, "defaults are taken"), "%s", logged);
}

Test(tuning, settings_beyond_the_devices_limits_are_left_out)
{
    static const struct { const char *what, *with; } rows[] = {
        {"\"tiles\": 24", "\"tiles\": 2400"},               /* local memory */
        {"\"rows\": 8", "\"rows\": 25"},                    /* a register tile */
        {"\"tiles\": 24", "\"tiles\": 25"},                 /* no multiple of rows */
        {"\"winograd\"", "\"matrix\""},                     /* unknown */
        {"\"tiles\": 24", "\"lanes\": 24"},
    };
    char path[200], forward[32], gradient[32];
    snprintf(path, sizeof path, "%s/pack.json", folder);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        cdu_device_info device = invented();
        cdu_error error = {0};
        copy_pack(GOOD, path, rows[i].what, rows[i].with);
        cdu_tune_place(path);
        cdu_tune_forget();
        warnings = 0;
        cr_assert_eq(cdu_tune_load(&device, &error), CDU_OK, "%s", error.words);
        cr_assert_eq(warnings, 1);
        cr_assert(strstr(logged, "1 of 2 settings do not fit invented"), "%s", logged);
        variants_of(&device, 64, false, forward, gradient);
        cr_assert_str_eq(forward, "winograd", "%s", rows[i].with);
        cr_assert_str_eq(gradient, "direct");
    }
    cdu_tune_place(NULL);
}

/* A device with less than the pack was made for, under the same name. */
Test(tuning, a_smaller_device_takes_what_fits)
{
    cdu_device_info device = invented();
    char forward[32], gradient[32];
    device.local_bytes = 64 << 10;
    cdu_tune_place(GOOD);
    variants_of(&device, 64, false, forward, gradient);
    cr_assert_str_eq(forward, "winograd");
    cr_assert_str_eq(gradient, "direct");
    cr_assert_eq(warnings, 1);
    cdu_tune_place(NULL);
}
