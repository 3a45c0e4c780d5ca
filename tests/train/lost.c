/* lost.c: a device that is lost in the middle of a training: code 75, one line that says so, and going on ends with the bytes of a run that
 * lost nothing. */
#include <sys/wait.h>

#include "backends/backend.h"
#include "tests/train/fixture.h"

static fixture f;

static void begin(void)
{
    fixture_create(&f, "  seed: 3\n");
}

static void end(void)
{
    fixture_remove(&f);
}

/* Trains in the folder `run` on a device that is lost after so many kernels, or never (0); what was said is in the file `said`. */
static int train(const char *run, unsigned lost_after)
{
    char command[2048], loss[300] = "";
    if (lost_after) snprintf(loss, sizeof loss, "CDUNET_LIBOPENCL='" CDUNET_BINARY_DIR "/liblost_device.so' LOST_AFTER=%u ", lost_after);
    snprintf(command, sizeof command,
             "cd '%s' && %s'" CDUNET_BINARY_DIR "/cdunet' --quiet train '%s' --out %s --device opencl:0 --resume --epochs=8 --no-report >/dev/null 2>said", f.folder,
             loss, f.study, run);
    int status = system(command);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

Test(lost, device_in_the_middle_of_a_training, .init = begin, .fini = end, .timeout = 300)
{
    static const unsigned after[] = {600, 1500, 2500};
    char said[CDU_PATH_LIMIT], whole[CDU_PATH_LIMIT], again[CDU_PATH_LIMIT], words[2000];
    cdu_gpu gpu;
    if (access(CDUNET_BINARY_DIR "/cdunet", X_OK) != 0 || access(CDUNET_BINARY_DIR "/liblost_device.so", R_OK) != 0)
        cr_skip_test("the program or the loader of a lost device is not built");
    if (cdu_gpu_open("opencl:0", false, true, &gpu, NULL) != CDU_OK) cr_skip_test("there is no opencl:0");
    cdu_gpu_close(&gpu);
    fixture_path(said, &f, "said");
    cr_assert_eq(train("whole", 0), 0);
    for (size_t i = 0; i < sizeof after / sizeof *after; i++) {
        cr_expect_eq(train("lost", after[i]), 75, "after %u kernels", after[i]);
        FILE *file = fopen(said, "r");
        cr_assert_not_null(file);
        words[fread(words, 1, sizeof words - 1, file)] = 0;
        fclose(file);
        cr_expect(strstr(words, "lost") && strstr(words, "run again") && strchr(words, '\n') == words + strlen(words) - 1, "%s", words);
    }
    cr_assert_eq(train("lost", 0), 0);
    fixture_path(whole, &f, "whole/model.safetensors");
    fixture_path(again, &f, "lost/model.safetensors");
    cr_expect(same_files(whole, again), "other weights than those of a run that lost nothing");
}
