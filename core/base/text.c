/* text.c: see text.h. */
#include "core/base/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/base/memory.h"

static char *room_for(cdu_text *text, size_t more)
{
    if (text->status != CDU_OK) return NULL;
    size_t needed = text->size + more + 1;
    if (needed > text->capacity) {
        size_t doubled = 2 * text->capacity;
        text->status = cdu_grow(&text->bytes, &text->capacity, needed > doubled ? needed : doubled, 1, &text->error);
    }
    return text->status == CDU_OK ? text->bytes + text->size : NULL;
}

void cdu_text_add(cdu_text *text, const void *bytes, size_t size)
{
    char *at = room_for(text, size);
    if (!at) return;
    if (size) memcpy(at, bytes, size);
    at[size] = 0;
    text->size += size;
}

void cdu_text_put(cdu_text *text, const char *words)
{
    cdu_text_add(text, words, strlen(words));
}

void cdu_text_print(cdu_text *text, const char *format, ...)
{
    va_list once, again;
    va_start(once, format);
    va_copy(again, once);
    int length = vsnprintf(NULL, 0, format, once);
    va_end(once);
    char *at = length >= 0 ? room_for(text, (size_t)length) : NULL;
    if (at) {
        vsnprintf(at, (size_t)length + 1, format, again);
        text->size += (size_t)length;
    }
    va_end(again);
}

void cdu_text_put_csv(cdu_text *text, const char *field)
{
    if (!strpbrk(field, ",\"\r\n")) {
        cdu_text_put(text, field);
        return;
    }
    cdu_text_put(text, "\"");
    for (; *field; field++) {
        if (*field == '"') cdu_text_put(text, "\"");
        cdu_text_add(text, field, 1);
    }
    cdu_text_put(text, "\"");
}

cdu_status cdu_text_write(const cdu_text *text, const char *path, cdu_error *error)
{
    if (text->status == CDU_OK) return cdu_file_write(path, text->bytes, text->size, error);
    if (error) *error = text->error;
    return text->status;
}

void cdu_text_free(cdu_text *text)
{
    free(text->bytes);
    *text = (cdu_text){0};
}
