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

/* A library beside `program`, or in the lib folder beside its folder: where an installation puts its own. */
static void *open_beside(const char *program, const char *name)
{
    static const char *const folders[] = {
        "", "../", "../lib/", "../lib64/", "../lib/x86_64-linux-gnu/", "../lib/aarch64-linux-gnu/"};
    const char *slash = strrchr(program, '/');
    if (!slash) return NULL;
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++) {
        char path[5000];
        if (snprintf(path, sizeof path, "%.*s/%s%s", (int)(slash - program), program, folders[i], name) >= (int)sizeof path)
            continue;
        if (access(path, R_OK)) continue;
        void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
        if (library) return library;
    }
    return NULL;
}

/* The same beside the library that this code is in, or beside the program (whose dladdr name is but its argv[0]). */
static void *open_own(const char *name)
{
    Dl_info here;
    char program[4096];
    void *library = NULL;
    if (dladdr((void *)(uintptr_t)&cdu_library_open, &here) && here.dli_fname) library = open_beside(here.dli_fname, name);
    if (library) return library;
    ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
    if (length <= 0) return NULL;
    program[length] = 0;
    return open_beside(program, name);
}

cdu_status cdu_library_open(const char *const *names, const char *variable, const char *advice, void **out, cdu_error *error)
{
    const char *one[2] = {getenv(variable), NULL};
    if (one[0] && *one[0]) names = one;
    char tried[256] = "", why[256] = "";
    for (size_t i = 0; names[i]; i++) {
        *out = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
        if (!*out && !strncmp(names[i], "libcdunet", 9)) *out = open_own(names[i]);
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
