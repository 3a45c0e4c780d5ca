/* debug.c: the table of debug words. */
#include "core/base/debug.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct { const char *word, *meaning; } table[CDU_DEBUG_WORDS] = {
#define CDU_DEBUG_ROW(name, word, meaning) {word, meaning},
    CDU_DEBUG_LIST(CDU_DEBUG_ROW)
#undef CDU_DEBUG_ROW
};
static bool switched[CDU_DEBUG_WORDS];

bool cdu_debug(cdu_debug_word word)
{
    return switched[word];
}

void cdu_debug_set(cdu_debug_word word, bool on)
{
    switched[word] = on;
}

cdu_status cdu_debug_load(cdu_error *error)
{
    const char *at = getenv("CDUNET_DEBUG");
    while (at && *at) {
        size_t length = strcspn(at, ",");
        bool found = length == 0;
        for (int i = 0; i < CDU_DEBUG_WORDS; i++) {
            if (strlen(table[i].word) != length || memcmp(table[i].word, at, length) != 0) continue;
            switched[i] = found = true;
        }
        if (!found) {
            char list[600] = "";
            for (int i = 0; i < CDU_DEBUG_WORDS; i++) {
                size_t used = strlen(list);
                snprintf(list + used, sizeof list - used, "%s%s (%s)", i ? ", " : "", table[i].word, table[i].meaning);
            }
            return cdu_fail(error, CDU_USAGE, "CDUNET_DEBUG: unknown word '%.*s'; known are: %s", (int)length, at, list);
        }
        at += length + (at[length] == ',');
    }
    return CDU_OK;
}
