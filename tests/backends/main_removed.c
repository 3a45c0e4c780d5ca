/* main_removed.c: loaded before the program (LD_PRELOAD): tells of every program.bc that PoCL removes from its cache, into the file that REMOVED
 * names, and lets half a second pass behind it, so that others see the gap. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

int remove(const char *path)
{
    int (*next)(const char *);
    *(void **)&next = dlsym(RTLD_NEXT, "remove");
    int result = next(path);
    const char *told = getenv("REMOVED");
    if (!told || !strstr(path, "program.bc")) return result;
    FILE *file = fopen(told, "a");
    if (file) fprintf(file, "%s\n", path), fclose(file);
    nanosleep(&(struct timespec){0, 500000000}, NULL);
    return result;
}
