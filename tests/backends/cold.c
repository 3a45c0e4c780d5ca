/* cold.c: several processes start at once with one empty cache of the driver's, as ranks of a machine do. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/file.h"
#include "tests/backends/support.h"

enum { PROCESSES = 3 };
static const char program[] = CDUNET_BINARY_DIR "/cdunet", preloaded[] = CDUNET_BINARY_DIR "/libremoved.so";

/* Lists the devices with their self-tests, which compile kernels, into the file. alone: without processes that compile ahead. */
static void be_a_process(const char *out, bool alone)
{
    int file = open(out, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    if (alone) setenv("CDUNET_COMPILE", "off", 1);
    dup2(file, 1);
    setenv("LD_PRELOAD", preloaded, 1);
    execl(program, program, "devices", "--json", (char *)NULL);
    _exit(127);
}

/* PoCL 3.1 compiles what another process compiles too, removes the other's result and writes its own: whoever looks in between fails to build
 * the kernel. One process at a time may compile a kernel, so nothing is ever removed. */
Test(cold, processes_with_one_empty_cache_of_the_drivers_do_not_remove_what_others_compiled)
{
    const char *folder = fresh_folder();
    char removed[8192], out[PROCESSES][8192], *text;
    pid_t child[PROCESSES];
    cdu_gpu gpu;
    cdu_error error = {0};
    if (cdu_gpu_open("opencl:0", false, true, &gpu, &error) != CDU_OK) cr_skip_test("%s", error.words);
    bool keeps_itself = gpu.info.features & CDU_HAS_ONE_COMPILER;
    cdu_gpu_close(&gpu);
    if (!keeps_itself) cr_skip_test("this driver keeps no cache of that kind");
    if (system("LD_PRELOAD=" CDUNET_BINARY_DIR "/libremoved.so '" CDUNET_BINARY_DIR "/cdunet' --version >/dev/null 2>&1"))
        cr_skip_test("a library cannot be loaded before this build's program");
    snprintf(removed, sizeof removed, "%s/removed", folder);
    setenv("REMOVED", removed, 1);
    setenv("POCL_CACHE_DIR", folder, 1);
    setenv("CDUNET_CACHE", folder, 1);
    setenv("CDUNET_LIBVULKAN", "/nowhere", 1);
    for (int i = 0; i < PROCESSES; i++) {
        snprintf(out[i], sizeof out[i], "%s/out-%d", folder, i);
        if (!(child[i] = fork())) be_a_process(out[i], i > 0);
    }
    for (int i = 0; i < PROCESSES; i++) {
        int state = 1;
        size_t size;
        waitpid(child[i], &state, 0);
        cr_assert_eq(state, 0, "process %d: state %x", i, (unsigned)state);
        must(cdu_file_read(out[i], 1 << 20, &text, &size, &error));
        cr_assert(strstr(text, "\"passed\"") && !strstr(text, "failed"), "process %d: %s", i, text);
        free(text);
    }
    if (cdu_file_exists(removed)) must(cdu_file_read(removed, 1 << 20, &text, &(size_t){0}, &error));
    else text = NULL;
    cr_assert_null(text, "removed:\n%s", text);
}
