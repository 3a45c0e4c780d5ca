/* text.h: a text that grows, for files that are put together in memory and then written whole. The first failure is remembered and
 * later calls do nothing, so that only the end has to be checked. */
#ifndef CDU_BASE_TEXT_H
#define CDU_BASE_TEXT_H

#include <stddef.h>

#include "cdunet/error.h"

/* Zero-initialize; free with cdu_text_free. `bytes` ends with a zero byte that `size` does not count; null while empty. */
typedef struct {
    char *bytes;
    size_t size, capacity;
    cdu_status status;
    cdu_error error;
} cdu_text;

void cdu_text_add(cdu_text *text, const void *bytes, size_t size);
void cdu_text_put(cdu_text *text, const char *words);
void cdu_text_print(cdu_text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A field of a CSV row: quoted where it has commas, quotes or line ends. */
void cdu_text_put_csv(cdu_text *text, const char *field);
/* CDU_TRY_AGAIN where memory ran out on the way, else CDU_CANNOT_WRITE or CDU_OK; whole or not at all. The text is kept. */
cdu_status cdu_text_write(const cdu_text *text, const char *path, cdu_error *error);
void cdu_text_free(cdu_text *text);

#endif
