/* Runs that are killed at random, 20 times, and end with the same bytes as one that was not. A program that writes in place must fail here. */
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <time.h>

#include "backends/backend.h"
#include "tests/train/fixture.h"

extern char **environ;
enum { KILLS = 20, LONGEST_MS = 400, DAMAGED = 65 };
static fixture f;

static void begin(void)
{
    fixture_create(&f, "  seed: 3\n");
}

static void end(void)
{
    fixture_remove(&f);
}

static void need(const char *device)
{
    cdu_gpu gpu;
    if (access(CDUNET_BINARY_DIR "/cdunet", X_OK) != 0) cr_skip_test("the program is not built");
    if (system("LD_PRELOAD=" CDUNET_BINARY_DIR "/libslow_disk.so '" CDUNET_BINARY_DIR "/cdunet' --version >/dev/null 2>&1") != 0)
        cr_skip_test("nothing can be loaded before this build of the program");
    if (cdu_gpu_open(device, false, true, &gpu, NULL) != CDU_OK) cr_skip_test("there is no %s", device);
    cdu_gpu_close(&gpu);
}

static pid_t start(const char *run, const char *device, const char *disk)
{
    char folder[CDU_PATH_LIMIT], mode[64];
    char *words[] = {(char[]){CDUNET_BINARY_DIR "/cdunet"}, (char[]){"train"}, f.study, (char[]){"--out"}, folder, (char[]){"--device"},
                     strdup(device), (char[]){"--resume"}, (char[]){"--epochs=16"}, (char[]){"--no-report"}, NULL};
    char *variables[256] = {(char[]){"LD_PRELOAD=" CDUNET_BINARY_DIR "/libslow_disk.so"}, mode};
    posix_spawn_file_actions_t actions;
    pid_t child;
    size_t count = 2;
    snprintf(mode, sizeof mode, "SLOW_DISK=%s", disk);
    fixture_path(folder, &f, run);
    for (char **at = environ; *at && count < 255; at++)
        if (strncmp(*at, "LD_PRELOAD=", 11)) variables[count++] = *at;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    cr_assert_eq(posix_spawn(&child, words[0], &actions, NULL, words, variables), 0);
    posix_spawn_file_actions_destroy(&actions);
    free(words[6]);
    return child;
}

static void rest(uint32_t milliseconds)
{
    nanosleep(&(struct timespec){milliseconds / 1000, milliseconds % 1000 * 1000000L}, NULL);
}

static uint64_t size_of(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file) return 0;
    fseek(file, 0, SEEK_END);
    long size = ftell(file);
    fclose(file);
    return (uint64_t)size;
}

/* The exit code, or -9 where it was killed: `milliseconds` after it began to train. */
static int run_and_kill(const char *run, const char *device, const char *disk, uint32_t milliseconds)
{
    char log[CDU_PATH_LIMIT], name[64];
    int status;
    snprintf(name, sizeof name, "%s/log.csv", run);
    fixture_path(log, &f, name);
    uint64_t before = size_of(log);
    pid_t child = start(run, device, disk);
    for (int i = 0; i < 4000 && size_of(log) == before; i++) {
        if (waitpid(child, &status, WNOHANG) == child) return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
        rest(5);
    }
    rest(milliseconds);
    kill(child, SIGKILL);
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static int run_to_its_end(const char *run, const char *device, const char *disk)
{
    int status;
    waitpid(start(run, device, disk), &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static bool same(const char *name)
{
    char a[CDU_PATH_LIMIT], b[CDU_PATH_LIMIT], path[64];
    snprintf(path, sizeof path, "whole/%s", name);
    fixture_path(a, &f, path);
    snprintf(path, sizeof path, "killed/%s", name);
    fixture_path(b, &f, path);
    return same_files(a, b);
}

static size_t part_files(void)
{
    char command[CDU_PATH_LIMIT];
    unsigned count = 0;
    snprintf(command, sizeof command, "ls '%s/killed' | grep -c part-", f.folder);
    FILE *pipe = popen(command, "r");
    cr_assert(pipe && fscanf(pipe, "%u", &count) == 1);
    pclose(pipe);
    return count;
}

/* Kills until one attempt ends with a code of its own; returns that, or -9. */
static int kill_often(const char *device, const char *disk, int *kills)
{
    cdu_random random = cdu_random_stream(20, CDU_RANDOM_TEST, 0, 0);
    for (*kills = 0; *kills < KILLS; (*kills)++) {
        int code = run_and_kill("killed", device, disk, cdu_random_below(&random, LONGEST_MS));
        if (code != -SIGKILL) return code;
    }
    return -SIGKILL;
}

static void check(const char *device)
{
    int kills;
    need(device);
    cr_assert_eq(run_to_its_end("whole", device, "slow"), 0);
    int code = kill_often(device, "slow", &kills);
    cr_assert(code == -SIGKILL || code == 0, "after %d kills: code %d", kills, code);
    cr_expect_geq(kills, 5, "the run was over after %d kills", kills);
    cr_expect_eq(run_to_its_end("killed", device, "slow"), 0);
    cr_expect(same("model.safetensors") && same("checkpoint.safetensors"), "other bytes after %d kills", kills);
    cr_expect_eq(part_files(), 0, "what was begun and killed is cleared away");
    fprintf(stderr, "%s: %d kills, the same bytes\n", device, kills);
}

Test(kill, twenty_kills_leave_the_same_bytes_opencl, .init = begin, .fini = end, .timeout = 400)
{
    check("opencl:0");
}

Test(kill, twenty_kills_leave_the_same_bytes_vulkan, .init = begin, .fini = end, .timeout = 600)
{
    check("vulkan:0");
}

Test(kill, a_program_that_writes_in_place_is_caught, .init = begin, .fini = end, .timeout = 400)
{
    int kills;
    need("opencl:0");
    cr_assert_eq(run_to_its_end("whole", "opencl:0", "slow"), 0);
    int code = kill_often("opencl:0", "in-place", &kills);
    bool caught = code == DAMAGED;
    if (!caught) caught = run_to_its_end("killed", "opencl:0", "in-place") != 0 || !same("model.safetensors");
    fprintf(stderr, "writing in place: caught after %d kills, code %d\n", kills, code);
    cr_expect(caught, "%d kills and nothing torn", kills);
}
