/* kernel_check.c: every kernel of the default networks, as a GPU would get it, for compilers whose devices are not here. Plans need a
 * device's description alone, so the steps of training and inference are made for a made-up GPU, and each kernel with its
 * defines is taken once.
 *
 * Usage: kernel_check write FOLDER    writes each as OpenCL C into FOLDER, one line each to standard output: file, kernel, defines;
 *                                     with "Intel" behind FOLDER as such a GPU gets them
 *        kernel_check vulkan [NAME]   compiles each with the first Vulkan device (whose name holds NAME) and prints registers, local
 *                                     memory and spills; exits 1 where one spills, 77 where there is no such device
 * With "planted" as last word one more kernel is taken, which no compiler can hold in registers: it must be found. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/backend.h"
#include "backends/source.h"
#include "core/base/file.h"
#include "core/graph/plan.h"
#include "core/model/model.h"
#include "core/ops/ops.h"
#include "shaders/shaders.h"

enum { KERNEL_LIMIT = 512, LOCAL_BYTES_LIMIT = 32768 };

static cdu_draft kernels[KERNEL_LIMIT];
static size_t kernel_count;
static bool planted;

/* Indexed at run time, so it must lie in memory. */
static const char planted_text[] =
    "PARAMS(planted_params)\n    uint count;\nPARAMS_END(planted_params)\nKERNEL(planted)\n    IN(0, x)\n    OUT(1, y)\n"
    "BEGIN(planted_params, NO_SHARED)\n    float a[200];\n    uint i = GID(0);\n"
    "    for (uint k = 0u; k < 200u; k++) a[k] = LD(x, i * 200u + k);\n"
    "    float s = 0.0f;\n    for (uint k = 0u; k < p.count; k++) s = MAD(s, a[(k * i) % 200u], a[to_u(LD(x, k)) % 200u]);\n"
    "    ST(y, i, s);\nEND\n";

static const char *vendor = "made-up vendor";

static cdu_device_info made_up_gpu(void)
{
    cdu_device_info info = {.kind = CDU_DISCRETE, .memory = 16ull << 30, .largest_buffer = 2ull << 30, .largest_binding = 2ull << 30,
                            .binding_align = 256, .group_items = 1024, .group_size = {1024, 1024, 64},
                            .group_count = {65535, 65535, 65535}, .local_bytes = LOCAL_BYTES_LIMIT, .subgroup_min = 32,
                            .subgroup_max = 64, .compute_units = 40, .vector_width = 4, .segment_ms = 100};
    snprintf(info.name, sizeof info.name, "made-up GPU");
    snprintf(info.vendor, sizeof info.vendor, "%s", vendor);
    info.features |= CDU_HAS_SUBGROUP_SIZE;
    if (strstr(vendor, "Intel")) info.subgroup_min = 8, info.subgroup_max = 32;
    return info;
}

/* Equal but for how a work-group of as many items is laid out, which changes no registers. */
static bool same_defines(const cdu_draft *a, const cdu_draft *b)
{
    uint32_t ga[3] = {1, 1, 1}, gb[3] = {1, 1, 1};
    const char *end_a = strstr(a->defines, "GX="), *end_b = strstr(b->defines, "GX=");
    if (!end_a || !end_b) return !strcmp(a->defines, b->defines);
    sscanf(end_a, "GX=%u GY=%u GZ=%u", &ga[0], &ga[1], &ga[2]);
    sscanf(end_b, "GX=%u GY=%u GZ=%u", &gb[0], &gb[1], &gb[2]);
    return end_a - a->defines == end_b - b->defines && !memcmp(a->defines, b->defines, (size_t)(end_a - a->defines)) &&
           ga[0] * ga[1] * ga[2] == gb[0] * gb[1] * gb[2] && (ga[1] > 1) == (gb[1] > 1);
}

static void take(const cdu_draft *draft)
{
    for (size_t i = 0; i < kernel_count; i++)
        if (!strcmp(kernels[i].kernel, draft->kernel) && !strcmp(kernels[i].source, draft->source) && same_defines(&kernels[i], draft))
            return;
    if (kernel_count < KERNEL_LIMIT) kernels[kernel_count++] = *draft;
}

static cdu_status take_plan(const cdu_graph *graph, const cdu_plan_options *options, cdu_error *error)
{
    cdu_device_info info = made_up_gpu();
    cdu_plan *plan = NULL;
    CDU_TRY(cdu_graph_status(graph, error));
    CDU_TRY(cdu_plan_create(graph, &info, options, &plan, error));
    for (uint32_t i = 0; i < cdu_plan_drafts(plan); i++) take(cdu_plan_draft(plan, i));
    cdu_plan_destroy(plan);
    return CDU_OK;
}

static cdu_status take_model(const cdu_model_settings *settings, uint32_t n, uint32_t size, bool mean_of_pixels, cdu_error *error)
{
    cdu_graph *training = NULL, *inference = NULL;
    cdu_training_graph training_values;
    cdu_inference_graph inference_values;
    cdu_status status = cdu_graph_create(&training, error);
    if (status == CDU_OK)
        status = cdu_model_build_augmented(training, settings, n, size, size, mean_of_pixels, &training_values, error);
    if (status == CDU_OK) status = take_plan(training, &(cdu_plan_options){.training = true, .update = cdu_sgd_update}, error);
    if (status == CDU_OK) status = cdu_graph_create(&inference, error);
    if (status == CDU_OK) status = cdu_model_build_inference(inference, settings, n, size, size, &inference_values, error);
    if (status == CDU_OK) status = take_plan(inference, &(cdu_plan_options){0}, error);
    cdu_graph_destroy(inference);
    cdu_graph_destroy(training);
    return status;
}

/* The paper's network, the plain one, the other order of normalization, and odd widths. */
static cdu_status take_all(cdu_error *error)
{
    cdu_model_settings paper = cdu_model_defaults(), plain = paper, other = paper, odd = paper;
    plain.kind = CDU_MODEL_UNET;
    other.relu_before_batch_norm = other.cd_relu_before_batch_norm = true;
    odd.width = 5;
    odd.depth = 3;
    odd.cd_filters[0] = 7;
    CDU_TRY(take_model(&paper, 16, 512, false, error));
    CDU_TRY(take_model(&plain, 1, 512, false, error));
    CDU_TRY(take_model(&other, 2, 256, true, error));
    CDU_TRY(take_model(&odd, 3, 52, false, error));
    if (planted) {
        cdu_draft draft = {.source = "planted.k", .kernel = "planted", .defines = "GX=64 GY=1 GZ=1", .uses = 2, .params = 1};
        take(&draft);
    }
    return CDU_OK;
}

static cdu_status text_of(const cdu_draft *draft, const char **text, cdu_error *error)
{
    *text = planted_text;
    return !strcmp(draft->source, "planted.k") ? CDU_OK : cdu_shader_text(draft->source, text, error);
}

static cdu_status write_all(const char *folder, cdu_error *error)
{
    CDU_TRY(cdu_folder_create(folder, error));
    for (size_t i = 0; i < kernel_count; i++) {
        const char *text = NULL;
        char path[CDU_PATH_LIMIT], defines[CDU_DEFINES_LIMIT + 16], *whole = NULL;
        CDU_TRY(text_of(&kernels[i], &text, error));
        bool intel = strstr(vendor, "Intel"), pinned = intel && kernels[i].subgroup;
        snprintf(defines, sizeof defines, pinned ? "%s PINNED=%u" : intel ? "%s" : "%s ALIGNED=1", kernels[i].defines, kernels[i].subgroup);
        CDU_TRY(cdu_source_assemble("", "prelude.opencl.h", defines, kernels[i].kernel, text, &whole, error));
        snprintf(path, sizeof path, "%s/%03zu-%s.cl", folder, i, kernels[i].kernel);
        cdu_status status = cdu_file_write(path, whole, strlen(whole), error);
        free(whole);
        if (status != CDU_OK) return status;
        printf("%03zu-%s.cl\t%s\t%s\n", i, kernels[i].kernel, kernels[i].source, defines);
    }
    return CDU_OK;
}

static const cdu_backend *find_backend(const char *name)
{
    for (const cdu_backend *const *b = cdu_backends; *b; b++)
        if (!strcmp((*b)->name, name)) return *b;
    return NULL;
}

/* Compiles all on the device; *bad counts those that went to memory. */
static cdu_status compile_all(const cdu_backend *backend, cdu_device *device, uint32_t *bad, cdu_error *error)
{
    printf("%-28s %9s %6s %6s  %s\n", "kernel", "registers", "local", "spills", "defines");
    for (size_t i = 0; i < kernel_count; i++) {
        const cdu_draft *k = &kernels[i];
        const char *text = NULL;
        cdu_kernel *kernel = NULL;
        cdu_kernel_stats stats = {0};
        CDU_TRY(text_of(k, &text, error));
        if (backend->kernel_create(device, text, k->kernel, k->defines, k->uses, k->params, k->subgroup, &kernel, &stats, error) != CDU_OK)
            return cdu_error_prefix(error, "%s (%s)", k->source, k->defines);
        backend->kernel_destroy(kernel);
        bool fits = stats.spill_bytes == 0 && stats.local_bytes <= LOCAL_BYTES_LIMIT;
        printf("%-28s %9u %6u %6u  %s%s\n", k->kernel, stats.registers, stats.local_bytes, stats.spill_bytes, k->defines,
               fits ? "" : "  <-- does not fit");
        *bad += !fits;
        if (!stats.registers) return cdu_fail(error, CDU_FAILED, "the driver tells nothing of registers for %s", k->kernel);
    }
    return CDU_OK;
}

static int check_vulkan(const char *wanted, cdu_error *error)
{
    cdu_device_info infos[8];
    uint32_t count = 8, chosen = 0, bad = 0;
    const cdu_backend *backend = find_backend("vulkan");
    if (!backend || backend->enumerate(infos, &count, error) != CDU_OK || !count) {
        printf("skipped: no Vulkan device (%s)\n", error->words);
        return 77;
    }
    if (count > 8) count = 8;
    while (chosen < count && !strstr(infos[chosen].name, wanted)) chosen++;
    if (chosen == count) {
        printf("skipped: no Vulkan device whose name holds '%s'\n", wanted);
        return 77;
    }
    printf("%s, %s\n", infos[chosen].name, infos[chosen].driver);
    cdu_device *device = NULL;
    cdu_status status = backend->open(chosen, false, &device, error);
    if (status == CDU_OK) status = compile_all(backend, device, &bad, error);
    if (status == CDU_OK) printf("%zu kernels, %u that do not fit\n", kernel_count, bad);
    else fprintf(stderr, "kernel_check: %s\n", error->words);
    if (device) backend->close(device);
    return status != CDU_OK || bad ? 1 : 0;
}

int main(int argc, char **argv)
{
    cdu_error error = {0};
    planted = !strcmp(argv[argc - 1], "planted");
    if (argc > 3 && !strcmp(argv[1], "write") && strcmp(argv[3], "planted")) vendor = argv[3];
    cdu_status status = take_all(&error);
    if (status == CDU_OK && kernel_count == KERNEL_LIMIT) status = cdu_fail(&error, CDU_FAILED, "more kernels than %d", KERNEL_LIMIT);
    if (status == CDU_OK && argc > 1 && !strcmp(argv[1], "vulkan")) return check_vulkan(argc > 2 ? argv[2] : "", &error);
    if (status == CDU_OK && argc > 2 && !strcmp(argv[1], "write")) status = write_all(argv[2], &error);
    else if (status == CDU_OK) status = cdu_fail(&error, CDU_USAGE, "usage: kernel_check write FOLDER [VENDOR] | vulkan [NAME]");
    if (status != CDU_OK) fprintf(stderr, "kernel_check: %s\n", error.words);
    return (int)status;
}
