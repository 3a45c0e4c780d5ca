/* host.c: shared libraries at run time, sleeping. POSIX. */
#define _GNU_SOURCE
#include "backends/host.h"

#include <dlfcn.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static bool beside(const char *file, const char *name, const char *const *folders, bool (*take)(const char *, void *), void *context)
{
    const char *slash = strrchr(file, '/');
    for (size_t i = 0; slash && folders[i]; i++) {
        char path[5000];
        int used = snprintf(path, sizeof path, "%.*s/%s%s", (int)(slash - file), file, folders[i], name);
        if (used < (int)sizeof path && !access(path, R_OK) && take(path, context)) return true;
    }
    return false;
}

/* The program is looked at too, since in one that is linked whole, dladdr's name is but its argv[0]. */
bool cdu_host_beside(const char *name, const char *const *folders, bool (*take)(const char *path, void *context), void *context)
{
    Dl_info here;
    char program[4096];
    if (dladdr((void *)(uintptr_t)&cdu_library_open, &here) && here.dli_fname && beside(here.dli_fname, name, folders, take, context))
        return true;
    ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
    if (length <= 0) return false;
    program[length] = 0;
    return beside(program, name, folders, take, context);
}

static bool open_at(const char *path, void *library)
{
    return (*(void **)library = dlopen(path, RTLD_NOW | RTLD_LOCAL)) != NULL;
}

cdu_status cdu_library_open(const char *const *names, const char *variable, const char *advice, void **out, cdu_error *error)
{
    static const char *const folders[] = {"", "../", "../lib/", "../lib64/", "../lib/x86_64-linux-gnu/", "../lib/aarch64-linux-gnu/", NULL};
    const char *one[2] = {getenv(variable), NULL};
    if (one[0] && *one[0]) names = one;
    char tried[256] = "", why[256] = "";
    for (size_t i = 0; names[i]; i++) {
        *out = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
        if (!*out && !strncmp(names[i], "libcdunet", 9)) cdu_host_beside(names[i], folders, open_at, out);
        if (*out) return CDU_OK;
        const char *reason = dlerror();
        if (!i) snprintf(why, sizeof why, "%s", reason ? reason : "no reason given");
        size_t used = strlen(tried);
        snprintf(tried + used, sizeof tried - used, "%s%s", i ? ", " : "", names[i]);
    }
    return cdu_fail(error, CDU_NO_DEVICE, "%s cannot be opened (%s): %s", tried, why, advice);
}

void cdu_memory_take(cdu_memory_usage *usage, uint64_t bytes)
{
    usage->now += bytes;
    if (usage->now > usage->most) usage->most = usage->now;
}

void cdu_memory_give(cdu_memory_usage *usage, uint64_t bytes)
{
    usage->now -= bytes;
}

void cdu_host_pause(uint32_t *round)
{
    /* 20 us at first: the shortest segments; 1 ms in the end: a thousand polls a second cost nothing */
    uint64_t microseconds = 20 + 5 * (uint64_t)*round;
    if (microseconds > 1000)
        microseconds = 1000;
    else
        ++*round;
    nanosleep(&(struct timespec){.tv_nsec = (long)(microseconds * 1000)}, NULL);
}

uint64_t cdu_host_nanoseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}
