/* compilers.c: kernels compiled ahead in processes of their own lie in the driver's cache before anything has run; a process that ends, or
 * is not there, changes nothing but the time. */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/thread.h"
#include "core/graph/program.h"
#include "core/model/model.h"

enum { SIDE = 32 };
static uint32_t objects;

static int count_object(const char *path, const struct stat *state, int type, struct FTW *place)
{
    (void)state, (void)place;
    size_t length = strlen(path);
    objects += type == FTW_F && length > 3 && !strcmp(path + length - 3, ".so");
    return 0;
}

static int remove_one(const char *path, const struct stat *state, int type, struct FTW *place)
{
    (void)state, (void)type, (void)place;
    return remove(path);
}

typedef struct { uint32_t kernels, compiled; float probability; } outcome;

/* Makes a network's program with `compile` for CDUNET_COMPILE (null: unset), counts what the driver keeps, then runs it. */
static outcome make(const cdu_gpu *gpu, const char *compile, const char *cache)
{
    static const uint32_t tile[SIDE * SIDE];
    cdu_model_settings s = cdu_model_defaults();
    cdu_error error = {0};
    cdu_graph *graph;
    cdu_program *program;
    cdu_inference_graph values;
    cdu_weights weights;
    outcome o = {0};
    if (compile) setenv("CDUNET_COMPILE", compile, 1);
    else unsetenv("CDUNET_COMPILE");
    s.width = 4;
    s.depth = 4;
    cr_assert_eq(cdu_model_initialize(&s, 1, &weights, &error), CDU_OK);
    cr_assert_eq(cdu_graph_create(&graph, &error), CDU_OK);
    cr_assert_eq(cdu_model_build_inference(graph, &s, 1, SIDE, SIDE, &values, &error), CDU_OK, "%s", error.words);
    cr_assert_eq(cdu_program_create(graph, gpu, &(cdu_plan_options){.quiet = true}, &program, &error), CDU_OK, "%s", error.words);
    objects = 0;
    nftw(cache, count_object, 16, FTW_PHYS);
    o.kernels = cdu_program_report(program).kernels;
    o.compiled = objects;
    cr_assert_eq(cdu_model_load_folded(graph, program, &s, &weights, &error), CDU_OK, "%s", error.words);
    cr_assert_eq(cdu_program_write(program, values.tile, tile, &error), CDU_OK);
    cr_assert_eq(cdu_program_run(program, NULL, 0, &error), CDU_OK, "%s", error.words);
    float *all = malloc(SIDE * SIDE * s.classes * sizeof *all);
    cr_assert_eq(cdu_program_read(program, values.probabilities, all, &error), CDU_OK);
    o.probability = all[0];
    free(all);
    cdu_program_destroy(program);
    cdu_graph_destroy(graph);
    cdu_weights_free(&weights);
    return o;
}

static outcome in_empty_caches(const char *compile)
{
    char folder[] = "/tmp/cdunet-compilers-XXXXXX";
    cdu_gpu gpu;
    cdu_error error = {0};
    cr_assert(mkdtemp(folder));
    setenv("POCL_CACHE_DIR", folder, 1);
    setenv("XDG_CACHE_HOME", folder, 1);
    unsetenv("CDUNET_CACHE");
    if (cdu_gpu_open("opencl:0", false, true, &gpu, &error) != CDU_OK) cr_skip_test("%s", error.words);
    bool gains = gpu.info.features & CDU_HAS_ONE_COMPILER && cdu_processors() > 1;
    outcome o = {0};
    if (gains) o = make(&gpu, compile, folder);
    cdu_gpu_close(&gpu);
    nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    if (!gains) cr_skip_test("this driver compiles on all processors, or there is but one");
    cr_assert(o.kernels >= 8 && o.probability > 0 && o.probability < 1);
    return o;
}

Test(compilers, the_drivers_cache_has_all_kernels_before_the_first_run)
{
    outcome o = in_empty_caches(NULL);
    cr_assert(o.compiled >= o.kernels, "%u of %u", o.compiled, o.kernels);
}

/* What the other tests compare with: this driver compiles late. */
Test(compilers, without_them_it_has_none)
{
    cr_assert_eq(in_empty_caches("off").compiled, 0);
}

Test(compilers, a_process_that_ends_at_once_costs_nothing_but_time)
{
    cr_assert_eq(in_empty_caches("/bin/false").compiled, 0);
}
