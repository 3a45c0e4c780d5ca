/* select.c: which device a name means, over lists that no machine here has. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "backends/select.h"
#include "backends/source.h"
#include "tests/backends/support.h"

static const char *chosen(const cdu_device_row *rows, uint32_t count, const char *name)
{
    static char words[1024];
    uint32_t i = 0;
    cdu_error error = {0};
    if (cdu_select(rows, count, name, &i, &error) == CDU_OK) return rows[i].id;
    cr_assert_eq(error.status, CDU_NO_DEVICE);
    snprintf(words, sizeof words, "%s", error.words);
    return words;
}

#define POCL row("opencl:0", "pthread-znver3", "Portable Computing Language 3.1", CDU_CPU, "")
#define LAVAPIPE row("vulkan:0", "llvmpipe (LLVM 15)", "llvmpipe Mesa 22", CDU_CPU, "6d65")

Test(select, automatic)
{
    cdu_device_row cpus[] = {LAVAPIPE, POCL};
    cr_assert_str_eq(chosen(cpus, 2, "auto"), "opencl:0");
    cr_assert_str_eq(chosen(cpus, 2, NULL), "opencl:0");
    cr_assert_str_eq(chosen(cpus, 1, "auto"), "vulkan:0");
    cdu_device_row clover[] = {row("opencl:0", "llvmpipe (LLVM 15)", "Clover 1.1", CDU_CPU, ""),
                               row("opencl:1", "Intel Xeon", "Intel OpenCL", CDU_CPU, ""),
                               row("opencl:2", "pthread-znver3", "Portable Computing Language 3.1", CDU_CPU, "")};
    cr_assert_str_eq(chosen(clover, 3, "auto"), "opencl:2");
    cr_assert_str_eq(chosen(clover, 2, "auto"), "opencl:1");
    cdu_device_row laptop[] = {POCL, LAVAPIPE, row("vulkan:1", "Intel Iris Xe", "ANV", CDU_INTEGRATED, "pci 0000:00:02.0")};
    cr_assert_str_eq(chosen(laptop, 3, "auto"), "vulkan:1");
    cdu_device_row both[] = {POCL, row("opencl:1", "Intel Iris Xe", "NEO", CDU_INTEGRATED, "pci 0000:00:02.0"),
                             row("vulkan:0", "Intel Iris Xe", "ANV", CDU_INTEGRATED, "pci 0000:00:02.0"),
                             row("vulkan:1", "AMD Radeon RX 7900", "radv", CDU_DISCRETE, "pci 0000:03:00.0"),
                             row("vulkan:2", "AMD Radeon RX 7800", "radv", CDU_DISCRETE, "pci 0000:04:00.0")};
    cr_assert_str_eq(chosen(both, 5, "auto"), "vulkan:1"); /* the first discrete one */
}

Test(select, by_name)
{
    cdu_device_row rows[] = {POCL, row("opencl:1", "AMD Radeon RX 7900", "ROCm", CDU_DISCRETE, "pci 0000:03:00.0"),
                             row("vulkan:0", "AMD Radeon RX 7900 (RADV)", "radv", CDU_DISCRETE, "pci 0000:03:00.0"),
                             row("vulkan:1", "AMD Radeon RX 7800 (RADV)", "radv", CDU_DISCRETE, "pci 0000:04:00.0"),
                             row("vulkan:2", "llvmpipe (LLVM 15)", "llvmpipe", CDU_CPU, "6d65")};
    cr_assert_str_eq(chosen(rows, 5, "vulkan:1"), "vulkan:1");
    cr_assert_str_eq(chosen(rows, 5, "LLVMpipe"), "vulkan:2");
    cr_assert_str_eq(chosen(rows, 5, "7800"), "vulkan:1");
    cr_assert_str_eq(chosen(rows, 5, "7900"), "opencl:1"); /* one card, seen twice */
    cr_assert(strstr(chosen(rows, 5, "radeon"), "may mean opencl:1 or vulkan:1"), "%s", chosen(rows, 5, "radeon"));
    cr_assert(strstr(chosen(rows, 5, "geforce"), "there is no device \"geforce\"; there are: opencl:0 (pthread-znver3), opencl:1"));
    cr_assert(strstr(chosen(rows, 5, "opencl:7"), "there is no device \"opencl:7\""));
    cr_assert(strstr(chosen(rows, 0, "auto"), "install"));
}

Test(select, one_card_seen_twice)
{
    cdu_device_row rows[] = {POCL, row("opencl:1", "a", "", CDU_DISCRETE, "pci 0000:03:00.0"),
                             row("opencl:2", "cpu", "", CDU_CPU, ""), row("vulkan:0", "b", "", CDU_DISCRETE, "pci 0000:04:00.0"),
                             row("vulkan:1", "c", "", CDU_DISCRETE, "pci 0000:03:00.0")};
    cdu_select_mark_same(rows, 5);
    cr_assert_str_empty(rows[0].same_as);
    cr_assert_str_empty(rows[1].same_as);
    cr_assert_str_empty(rows[2].same_as); /* unknown is not the same as unknown */
    cr_assert_str_empty(rows[3].same_as);
    cr_assert_str_eq(rows[4].same_as, "opencl:1");
}

Test(select, parts_of_an_id)
{
    char backend[24];
    uint32_t index;
    cr_assert(cdu_select_parse("vulkan:12", backend, &index));
    cr_assert_str_eq(backend, "vulkan");
    cr_assert_eq(index, 12);
    static const char *const bad[] = {
        "vulkan", "vulkan:", ":0", "vulkan:-1", "vulkan:1x", "vulkan:99999", "averyveryverylongbackendname:0"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) cr_assert_not(cdu_select_parse(bad[i], backend, &index), "%s", bad[i]);
}

Test(source, defines_and_excerpts)
{
    uint32_t value, group[3];
    cdu_error error = {0};
    cr_assert(cdu_source_define("A=1 GX=64 GXX=3", "GX", &value) && value == 64);
    cr_assert(cdu_source_define("A=1 GX=64 GXX=3u", "GXX", &value) && value == 3);
    cr_assert_not(cdu_source_define("A=1 GX=64", "X", &value));
    cr_assert_not(cdu_source_define("A=1 GX=6.5", "GX", &value));
    cr_assert_eq(cdu_source_group("GX=8 GY=4 GZ=2", "k", group, &error), CDU_OK);
    cr_assert(group[0] == 8 && group[1] == 4 && group[2] == 2);
    cr_assert_eq(cdu_source_group("GX=8 GY=0 GZ=2", "k", group, &error), CDU_FAILED);
    char excerpt[CDU_LOG_EXCERPT];
    cdu_source_excerpt(excerpt, "warning: this\n  f.k:3: error:\tno such   thing\n\n");
    cr_assert_str_eq(excerpt, "f.k:3: error: no such thing");
    cdu_source_excerpt(excerpt, "");
    cr_assert_str_empty(excerpt);
    char *text;
    cr_assert_eq(cdu_source_assemble("#version 450\n", "prelude.vulkan.h", "A=1 B C=2", "k", "body\n", &text, &error), CDU_OK);
    cr_assert_eq(strncmp(text, "#version 450\n#define A 1\n#define B 1\n#define C 2\n#define KERNEL_k 1\n", 68), 0, "%s", text);
    cr_assert_str_eq(strstr(text, "#line 1"), "#line 1\nbody\n");
}
