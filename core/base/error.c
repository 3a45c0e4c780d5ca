/* error.c: filling error objects. Words that do not fit are cut; nothing is allocated, so it also works without memory. */
#include "cdunet/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *cdu_status_text(cdu_status status)
{
    switch (status) {
#define CDU_STATUS_CASE(code, number, text) \
    case code: return text;
        CDU_STATUS_LIST(CDU_STATUS_CASE)
#undef CDU_STATUS_CASE
    }
    return "unknown status";
}

cdu_status cdu_error_set(cdu_error *error, cdu_status status, const char *where, const char *format, ...)
{
    if (!error) return status;
    error->status = status;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error->words, sizeof error->words, format, arguments);
    va_end(arguments);
    snprintf(error->where, sizeof error->where, "%s", where);
    return status;
}

cdu_status cdu_error_prefix(cdu_error *error, const char *format, ...)
{
    if (!error) return CDU_FAILED;
    char old[sizeof error->words];
    memcpy(old, error->words, sizeof old);
    va_list arguments;
    va_start(arguments, format);
    int used = vsnprintf(error->words, sizeof error->words, format, arguments);
    va_end(arguments);
    if (used >= 0 && (size_t)used < sizeof error->words)
        snprintf(error->words + used, sizeof error->words - (size_t)used, ": %s", old);
    return error->status;
}
