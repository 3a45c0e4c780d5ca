/* host.c: read from /proc, where there is one. */
#include "bench/host.h"

#include <malloc.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/thread.h"

/* The text behind "key ...:" in a file of such lines, without the blanks around it; false where there is none. */
static bool line_of(const char *path, const char *key, char *out, size_t size)
{
    FILE *file = fopen(path, "r");
    char line[512];
    bool found = false;
    while (file && !found && fgets(line, sizeof line, file)) {
        char *text = strchr(line, ':');
        if (strncmp(line, key, strlen(key)) || !text) continue;
        text += 1 + strspn(text + 1, " \t");
        text[strcspn(text, "\n")] = 0;
        snprintf(out, size, "%s", text);
        found = true;
    }
    if (file) fclose(file);
    return found;
}

bench_host bench_host_now(void)
{
    bench_host host = {.cpu = "unknown", .processors = cdu_processors()};
    char model[96], family[16], number[16];
    if (line_of("/proc/cpuinfo", "model name", model, sizeof model)) snprintf(host.cpu, sizeof host.cpu, "%s", model);
    /* some machines hide the processor's name behind its maker's; family and model still tell the generation */
    if (line_of("/proc/cpuinfo", "cpu family", family, sizeof family) && line_of("/proc/cpuinfo", "model\t", number, sizeof number))
        snprintf(host.cpu + strlen(host.cpu), sizeof host.cpu - strlen(host.cpu), " (family %s, model %s)", family, number);
    if (getloadavg(&host.load, 1) != 1) host.load = 0;
    return host;
}

static uint64_t status_bytes(const char *key)
{
    char text[64];
    return line_of("/proc/self/status", key, text, sizeof text) ? strtoull(text, NULL, 10) * 1024 : 0;
}

uint64_t bench_resident(void)
{
    return status_bytes("RssAnon:");
}

uint64_t bench_resident_peak(void)
{
    return status_bytes("VmHWM:");
}

void bench_resident_reset(void)
{
    FILE *file = fopen("/proc/self/clear_refs", "w");
    if (!file) return;
    fputs("5", file);
    fclose(file);
}

void bench_trim(void)
{
    malloc_trim(0);
}
