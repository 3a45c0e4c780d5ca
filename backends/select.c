/* select.c: the rules by which a device is chosen. */
#include "backends/select.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void cdu_select_mark_same(cdu_device_row *rows, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        rows[i].same_as[0] = 0;
        for (uint32_t k = 0; k < i && rows[i].info.uuid[0]; k++)
            if (!strcmp(rows[i].info.uuid, rows[k].info.uuid)) {
                memcpy(rows[i].same_as, rows[k].id, sizeof rows[i].same_as);
                break;
            }
    }
}

bool cdu_select_parse(const char *name, char backend[24], uint32_t *index)
{
    const char *colon = strchr(name, ':');
    if (!colon || colon == name || colon - name >= 24 || !isdigit((unsigned char)colon[1])) return false;
    char *end;
    unsigned long number = strtoul(colon + 1, &end, 10);
    if (*end || number > 9999) return false;
    memcpy(backend, name, (size_t)(colon - name));
    backend[colon - name] = 0;
    *index = (uint32_t)number;
    return true;
}

/* Lower is better: discrete, integrated, then CPUs; among CPUs PoCL, other OpenCL runtimes, software rasterizers. */
int cdu_select_rank(const cdu_device_row *row)
{
    if (row->info.kind == CDU_DISCRETE) return 0;
    if (row->info.kind == CDU_INTEGRATED) return 1;
    if (strstr(row->info.driver, "Portable Computing Language")) return 2;
    if (strstr(row->info.name, "llvmpipe") || strstr(row->info.name, "SwiftShader") || strncmp(row->id, "opencl:", 7)) return 4;
    return 3;
}

static bool contains(const char *text, const char *part)
{
    size_t length = strlen(part);
    for (; strlen(text) >= length; text++) {
        size_t i = 0;
        while (i < length && tolower((unsigned char)text[i]) == tolower((unsigned char)part[i])) i++;
        if (i == length) return true;
        if (!*text) break;
    }
    return false;
}

static void list_names(const cdu_device_row *rows, uint32_t count, char *out, size_t size)
{
    out[0] = 0;
    for (uint32_t i = 0; i < count; i++) {
        size_t used = strlen(out);
        snprintf(out + used, size - used, "%s%s (%s)", i ? ", " : "", rows[i].id, rows[i].info.name);
    }
}

static bool same_card(const cdu_device_row *a, const cdu_device_row *b)
{
    return a->info.uuid[0] && !strcmp(a->info.uuid, b->info.uuid);
}

cdu_status cdu_select(const cdu_device_row *rows, uint32_t count, const char *name, uint32_t *chosen, cdu_error *error)
{
    char there[512];
    list_names(rows, count, there, sizeof there);
    if (!count)
        return cdu_fail(error, CDU_NO_DEVICE,
                        "there is no device: install an OpenCL or Vulkan driver (Debian, without a GPU: pocl-opencl-icd)");
    if (!name || !*name || !strcmp(name, "auto")) {
        uint32_t best = 0;
        for (uint32_t i = 1; i < count; i++)
            if (cdu_select_rank(&rows[i]) < cdu_select_rank(&rows[best])) best = i;
        *chosen = best;
        return CDU_OK;
    }
    for (uint32_t i = 0; i < count; i++)
        if (!strcmp(rows[i].id, name)) return *chosen = i, CDU_OK;
    uint32_t found = count;
    for (uint32_t i = 0; i < count; i++) {
        if (!contains(rows[i].info.name, name)) continue;
        if (found < count && !same_card(&rows[found], &rows[i]))
            return cdu_fail(error, CDU_NO_DEVICE, "\"%s\" may mean %s or %s; there are: %s", name, rows[found].id, rows[i].id,
                            there);
        if (found == count) found = i;
    }
    if (found == count) return cdu_fail(error, CDU_NO_DEVICE, "there is no device \"%s\"; there are: %s", name, there);
    *chosen = found;
    return CDU_OK;
}
