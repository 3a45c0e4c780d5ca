/* source.c: puts a kernel's source together and reads its defines and the compiler's answers. */
#include "backends/source.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "shaders/shaders.h"

/* Writes one "#define NAME VALUE" for each word of `defines`; returns the end of what was written. */
static char *write_defines(char *at, const char *defines)
{
    for (const char *word = defines; *word;) {
        size_t length = strcspn(word, " ");
        size_t name = strcspn(word, "= ");
        if (length) {
            at += sprintf(at, "#define %.*s ", (int)name, word);
            if (name < length)
                at += sprintf(at, "%.*s\n", (int)(length - name - 1), word + name + 1);
            else
                at += sprintf(at, "1\n");
        }
        word += length;
        word += strspn(word, " ");
    }
    return at;
}

cdu_status cdu_source_assemble(const char *version, const char *prelude, const char *defines, const char *name, const char *text,
                               char **out, cdu_error *error)
{
    const char *before;
    CDU_TRY(cdu_shader_text(prelude, &before, error));
    size_t words = 1;
    for (const char *c = defines; *c; c++) words += *c == ' ';
    size_t size = strlen(version) + strlen(before) + strlen(defines) + 16 * words + strlen(name) + strlen(text) + 64;
    char *whole;
    CDU_TRY(cdu_allocate(&whole, size, 1, error));
    char *at = whole + sprintf(whole, "%s", version);
    at = write_defines(at, defines);
    sprintf(at, "#define KERNEL_%s 1\n%s\n#line 1\n%s", name, before, text);
    *out = whole;
    return CDU_OK;
}

bool cdu_source_define(const char *defines, const char *name, uint32_t *value)
{
    size_t length = strlen(name);
    for (const char *word = defines; *word;) {
        if (!strncmp(word, name, length) && word[length] == '=') {
            char *end;
            unsigned long number = strtoul(word + length + 1, &end, 0);
            if (end == word + length + 1 || (*end && *end != ' ' && *end != 'u') || number > UINT32_MAX) return false;
            *value = (uint32_t)number;
            return true;
        }
        word += strcspn(word, " ");
        word += strspn(word, " ");
    }
    return false;
}

cdu_status cdu_source_subgroup(const cdu_device_info *device, const char *name, bool chooses, uint32_t subgroup, cdu_error *error)
{
    bool within = subgroup >= device->subgroup_min && subgroup <= device->subgroup_max && !(subgroup & (subgroup - 1));
    if (chooses && within) return CDU_OK;
    if (!chooses) return cdu_fail(error, CDU_NO_DEVICE, "kernel %s: subgroups of %u; %s does not let kernels choose", name, subgroup, device->name);
    return cdu_fail(error, CDU_NO_DEVICE, "kernel %s: subgroups of %u; %s takes powers of 2 from %u to %u", name, subgroup, device->name,
                    device->subgroup_min, device->subgroup_max);
}

cdu_status cdu_source_group(const char *defines, const char *name, uint32_t group[3], cdu_error *error)
{
    static const char *const axis[3] = {"GX", "GY", "GZ"};
    for (int i = 0; i < 3; i++)
        if (!cdu_source_define(defines, axis[i], &group[i]) || !group[i])
            return cdu_fail(error, CDU_FAILED, "kernel %s: its defines (%s) do not give %s, the size of the work-group", name,
                            defines, axis[i]);
    return CDU_OK;
}

void cdu_source_excerpt(char out[CDU_LOG_EXCERPT], const char *log)
{
    const char *from = strstr(log, "error");
    if (!from) from = strstr(log, "ERROR");
    if (!from) from = log;
    while (from > log && from[-1] != '\n') from--;
    size_t used = 0;
    for (; *from && used + 2 < CDU_LOG_EXCERPT; from++) {
        if (isspace((unsigned char)*from)) {
            if (used && out[used - 1] != ' ') out[used++] = ' ';
        } else {
            out[used++] = *from;
        }
    }
    while (used && out[used - 1] == ' ') used--;
    out[used] = 0;
}
