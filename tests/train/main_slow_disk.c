/* main_slow_disk.c: loaded before the program (LD_PRELOAD): a disk that takes its time over *.safetensors, so that kills hit the middle of a
 * write. With SLOW_DISK=in-place temporary names become final ones, renames and second names are left out: what a program that writes in
 * place would do. The kill test must see the difference. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

enum { FILES = 1024, PARTS = 8 };
static bool slow[FILES];

static bool in_place(void)
{
    const char *word = getenv("SLOW_DISK");
    return word && !strcmp(word, "in-place");
}

static bool begun(const char *path)
{
    return strstr(path, ".safetensors.part-") || strstr(path, "checkpoint-next.safetensors");
}

/* "checkpoint-next.safetensors.part-7-1" is "checkpoint.safetensors" in truth. */
static const char *final_name(const char *path, char out[4096])
{
    if (!in_place() || !begun(path)) return path;
    snprintf(out, 4096, "%s", path);
    char *part = strstr(out, ".part-"), *next = strstr(out, "-next.");
    if (part) *part = 0;
    if (next) memmove(next, next + 5, strlen(next + 5) + 1);
    return out;
}

static void *real(const char *name)
{
    return dlsym(RTLD_NEXT, name);
}

int open(const char *path, int flags, ...)
{
    char name[4096];
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = flags & O_CREAT ? va_arg(arguments, mode_t) : 0;
    va_end(arguments);
    int (*next)(const char *, int, ...);
    *(void **)&next = real("open");
    int handle = next(final_name(path, name), flags, mode);
    if (handle >= 0 && handle < FILES) slow[handle] = begun(path) && (flags & O_WRONLY);
    return handle;
}

ssize_t write(int handle, const void *bytes, size_t size)
{
    ssize_t (*next)(int, const void *, size_t);
    *(void **)&next = real("write");
    if (handle < 0 || handle >= FILES || !slow[handle]) return next(handle, bytes, size);
    nanosleep(&(struct timespec){0, 4000000}, NULL);
    return next(handle, bytes, size < 4096 ? size : size / PARTS + 1);
}

int rename(const char *from, const char *to)
{
    int (*next)(const char *, const char *);
    *(void **)&next = real("rename");
    return in_place() && begun(from) ? 0 : next(from, to);
}

int link(const char *from, const char *to)
{
    int (*next)(const char *, const char *);
    *(void **)&next = real("link");
    return in_place() ? 0 : next(from, to);
}
