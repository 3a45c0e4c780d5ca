/* cache.c: compiled kernels on disk: used again, rebuilt when damaged, done without when the folder cannot be written. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backends/cache.h"
#include "cdunet/log.h"
#include "core/base/debug.h"
#include "core/base/file.h"
#include "tests/backends/support.h"

static int warnings;

static void count_warnings(cdu_log_level level, const char *line, void *context)
{
    (void)line;
    (void)context;
    if (level == CDU_LOG_WARNING) warnings++;
}

/* Builds the kernel and checks that it computes; returns by how much the cache's hits rose. */
static uint64_t build_and_run(const cdu_gpu *gpu)
{
    uint64_t before = cdu_cache_hits();
    cdu_kernel *k = kernel(gpu, affine_source, "affine", "GX=32 GY=1 GZ=1 CACHED=1", 2, 3);
    uint64_t hits = cdu_cache_hits() - before;
    cdu_buffer *x = make(gpu, 256, CDU_MEM_UPLOAD), *y = make(gpu, 256, CDU_MEM_READBACK);
    float values[64], seen[64];
    for (int i = 0; i < 64; i++) values[i] = (float)i;
    put(gpu, x, values, sizeof values);
    cdu_step step = {.kind = CDU_STEP_KERNEL,
                     .kernel = k,
                     .bindings = 2,
                     .params = 3,
                     .param = {64, float_bits(3), float_bits(1)},
                     .groups = {2, 1, 1},
                     .label = "affine"};
    step.bind[0] = part(x, 0, 256, CDU_READ);
    step.bind[1] = part(y, 0, 256, CDU_WRITE);
    run_steps(gpu, &step, 1);
    get(gpu, y, seen, sizeof seen);
    for (int i = 0; i < 64; i++) cr_assert_eq(seen[i], 3.0f * (float)i + 1);
    gpu->backend->kernel_destroy(k);
    gpu->backend->buffer_destroy(x);
    gpu->backend->buffer_destroy(y);
    return hits;
}

/* Calls `act` on every file of the folder; returns how many there are. */
static int each_file(const char *folder, void (*act)(const char *path))
{
    DIR *dir = opendir(folder);
    int count = 0;
    if (!dir) return 0;
    for (struct dirent *entry; (entry = readdir(dir));) {
        char path[8192];
        if (entry->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        count++;
        if (act) act(path);
    }
    closedir(dir);
    return count;
}

static void flip_last(const char *path)
{
    FILE *file = fopen(path, "r+b");
    cr_assert_eq(fseek(file, -1, SEEK_END), 0);
    int last = fgetc(file);
    fseek(file, -1, SEEK_END);
    fputc(last ^ 1, file);
    fclose(file);
}

static void cut_short(const char *path)
{
    FILE *file = fopen(path, "wb");
    fputs("CDUKRNL1", file);
    fclose(file);
}

static void empty(const char *path)
{
    fclose(fopen(path, "wb"));
}

/* PoCL keeps what it compiled itself; to ask it for binaries would make it compile everything once more, for no size of work-group. */
static bool keeps_itself(const cdu_gpu *gpu)
{
    return strstr(gpu->info.driver, "Portable Computing Language");
}

static void use(const cdu_gpu *gpu)
{
    const char *folder = getenv("CDUNET_CACHE");
    if (keeps_itself(gpu)) {
        int before = each_file(folder, NULL); /* of other devices */
        cr_assert_eq(build_and_run(gpu), 0);
        cr_assert_eq(build_and_run(gpu), 0);
        cr_assert_eq(each_file(folder, NULL), before, "%s: kept twice", gpu->id);
        return;
    }
    cr_assert_eq(build_and_run(gpu), 0, "%s: the first build came from a cache", gpu->id);
    cr_assert(each_file(folder, NULL) > 0, "%s: nothing was kept", gpu->id);
    cr_assert_eq(build_and_run(gpu), 1, "%s: the second build did not come from the cache", gpu->id);
    void (*const damages[])(const char *) = {flip_last, cut_short, empty};
    for (int i = 0; i < 3; i++) {
        each_file(folder, damages[i]);
        cr_assert_eq(build_and_run(gpu), 0, "%s: a damaged entry was used (%d)", gpu->id, i);
        cr_assert_eq(build_and_run(gpu), 1, "%s: a damaged entry was not replaced (%d)", gpu->id, i);
    }
    cdu_debug_set(CDU_DEBUG_NO_CACHE, true);
    cr_assert_eq(build_and_run(gpu), 0);
    cdu_debug_set(CDU_DEBUG_NO_CACHE, false);
}

Test(cache, second_build_is_read_back)
{
    char folder[8192];
    snprintf(folder, sizeof folder, "%s/deeper", fresh_folder());
    setenv("CDUNET_CACHE", folder, 1);
    cdu_log_set_handler(count_warnings, NULL, CDU_LOG_WARNING);
    each_device(false, use);
    cr_assert_eq(warnings, 0);
}

static char oclgrind[256];

static void find_oclgrind(void)
{
    FILE *found = popen("ls /usr/lib/oclgrind/liboclgrind-rt.so /usr/lib/*/oclgrind/liboclgrind-rt.so 2>/dev/null", "r");
    if (found && fgets(oclgrind, sizeof oclgrind, found)) oclgrind[strcspn(oclgrind, "\n")] = 0;
    if (found) pclose(found);
}

/* An OpenCL runtime that keeps nothing. */
Test(cache, second_build_is_read_back_through_opencl)
{
    cdu_gpu gpu;
    cdu_error error = {0};
    find_oclgrind();
    if (!oclgrind[0]) cr_skip("oclgrind is not installed");
    setenv("CDUNET_LIBOPENCL", oclgrind, 1);
    setenv("CDUNET_CACHE", fresh_folder(), 1);
    must(cdu_gpu_open("opencl:0", false, true, &gpu, &error));
    use(&gpu);
    cdu_gpu_close(&gpu);
}

static void use_twice(const cdu_gpu *gpu)
{
    cr_assert_eq(build_and_run(gpu), 0);
    cr_assert_eq(build_and_run(gpu), 0);
}

/* Permissions do not stop root, but nobody makes a folder inside a file. */
Test(cache, a_folder_that_cannot_be_written_gives_one_warning)
{
    char path[8192];
    cdu_error error = {0};
    snprintf(path, sizeof path, "%s/file", fresh_folder());
    must(cdu_file_write(path, "x", 1, &error));
    strcat(path, "/cache");
    setenv("CDUNET_CACHE", path, 1);
    cdu_log_set_handler(count_warnings, NULL, CDU_LOG_WARNING);
    each_device(false, use_twice);
    cr_assert_eq(warnings, 1, "%d warnings", warnings);
}

Test(cache, off)
{
    char path[8192];
    snprintf(path, sizeof path, "%s", fresh_folder());
    setenv("XDG_CACHE_HOME", path, 1);
    setenv("CDUNET_CACHE", "off", 1);
    cdu_log_set_handler(count_warnings, NULL, CDU_LOG_WARNING);
    each_device(false, use_twice);
    cr_assert_eq(warnings, 0);
    strcat(path, "/cdunet"); /* drivers keep caches of their own there */
    cr_assert_not(cdu_file_exists(path));
}

Test(cache, keys_do_not_run_into_each_other)
{
    const char *one[] = {"ab", "c"}, *two[] = {"a", "bc"}, *three[] = {"ab", "c", ""};
    cdu_cache_key a = cdu_cache_key_of(one, 2), b = cdu_cache_key_of(two, 2), c = cdu_cache_key_of(three, 3);
    cr_assert(a.low != b.low && a.low != c.low && b.low != c.low);
    cdu_cache_key again = cdu_cache_key_of(one, 2);
    cr_assert(a.low == again.low && a.high == again.high);
}

/* A second process waits for the lock of the same key, not for that of another. */
Test(cache, a_lock_is_held_by_one_process)
{
    char folder[] = "/tmp/cdunet-lock-XXXXXX", seen = 0;
    int pipes[2];
    cr_assert(mkdtemp(folder) && !pipe(pipes));
    setenv("CDUNET_CACHE", folder, 1);
    cdu_cache_key one = cdu_cache_key_of((const char *[]){"one"}, 1), two = cdu_cache_key_of((const char *[]){"two"}, 1);
    int lock = cdu_cache_lock(one);
    cr_assert(lock >= 0);
    pid_t child = fork();
    if (!child) {
        close(lock);            /* what it inherited */
        int other = cdu_cache_lock(two);
        cr_assert_eq(write(pipes[1], "2", 1), 1);
        cdu_cache_unlock(other);
        other = cdu_cache_lock(one);
        cr_assert_eq(write(pipes[1], "1", 1), 1);
        _exit(other < 0);
    }
    struct pollfd ready = {.fd = pipes[0], .events = POLLIN};
    cr_assert(poll(&ready, 1, 10000) == 1 && read(pipes[0], &seen, 1) == 1);
    cr_assert_eq(seen, '2', "the other key's lock");
    cr_assert_eq(poll(&ready, 1, 200), 0, "two processes have one lock");
    cdu_cache_unlock(lock);
    cr_assert(poll(&ready, 1, 10000) == 1 && read(pipes[0], &seen, 1) == 1);
    cr_assert_eq(seen, '1');
    int state = 1;
    waitpid(child, &state, 0);
    cr_assert_eq(state, 0);
    setenv("CDUNET_CACHE", "off", 1);
    cr_assert_eq(cdu_cache_lock(one), -1);
}
