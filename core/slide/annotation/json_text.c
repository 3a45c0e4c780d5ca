/* json_text.c: see json_text.h. A tree of jansson's takes up to forty times its text. So only what is short is parsed into one, and the
 * scan over the rest knows texts and brackets, no more; each element gets its grammar checked when it is parsed in its turn. */
#include "core/slide/annotation/json_text.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"

#define TREE_LIMIT (4u << 20) /* bytes of text parsed at once */
enum { SHORT_LIMIT = 500 };

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static size_t skip_space(const cdu_json_text *t, size_t i, size_t end)
{
    while (i < end && is_space(t->text[i])) i++;
    return i;
}

/* Behind the closing quote, or `end`. */
static size_t skip_text(const cdu_json_text *t, size_t i, size_t end)
{
    for (i++; i < end && t->text[i] != '"'; i++)
        if (t->text[i] == '\\') i++;
    return i < end ? i + 1 : end;
}

/* Behind the value that begins at i; `end` where it does not close. */
static size_t skip_value(const cdu_json_text *t, size_t i, size_t end)
{
    size_t depth = 0;
    while (i < end) {
        char c = t->text[i];
        if (c == '"') {
            i = skip_text(t, i, end);
        } else if (c == '[' || c == '{') {
            depth++;
            i++;
            continue;
        } else if (c == ']' || c == '}') {
            if (!depth) return i;
            depth--;
            i++;
        } else if (!depth) {
            while (i < end && !is_space(t->text[i]) && !strchr(",]}", t->text[i])) i++;
        } else {
            i++;
            continue;
        }
        if (!depth) return i;
    }
    return end;
}

size_t cdu_json_line(cdu_json_text *t, size_t at)
{
    if (!t->line || at < t->counted) {
        t->line = 1;
        t->counted = 0;
    }
    for (const char *found; t->counted < at && (found = memchr(t->text + t->counted, '\n', at - t->counted)); t->line++)
        t->counted = (size_t)(found - t->text) + 1;
    t->counted = at;
    return t->line;
}

static cdu_status broken(const cdu_annotation_build *b, const cdu_json_text *t, size_t at, const char *words)
{
    cdu_json_text fresh = {.text = t->text, .size = t->size};
    size_t first = at < t->size ? at : t->size, line = cdu_json_line(&fresh, first);
    while (first > 0 && t->text[first - 1] != '\n') first--;
    return cdu_fail(b->error, CDU_BAD_DATA, "%s:%zu: broken JSON at column %zu: %s", b->name, line, at - first + 1, words);
}

/* ---- a value without its long arrays ---- */

/* The short text. */
typedef struct {
    char *text;
    size_t size, capacity;
} buffer;

static cdu_status put(cdu_annotation_build *b, buffer *to, const char *text, size_t size)
{
    if (to->size + size > TREE_LIMIT)
        return cdu_build_fail(b, "holds more than %u MiB beside its coordinates", TREE_LIMIT >> 20);
    if (!size) return CDU_OK;
    CDU_TRY(cdu_grow(&to->text, &to->capacity, to->size + size, 1, b->error));
    memcpy(to->text + to->size, text, size);
    to->size += size;
    return CDU_OK;
}

/* Overwrites NaN and Infinity outside of texts with 9e9, too large for a coordinate: they pass in measurements and are refused in geometry. */
static void replace_nan(char *text, size_t size)
{
    static const char *const words[] = {"NaN", "Infinity"};
    const cdu_json_text t = {.text = text, .size = size};
    for (size_t i = 0; i < size; i++) {
        if (text[i] == '"') {
            i = skip_text(&t, i, size) - 1;
            continue;
        }
        for (size_t k = 0; k < 2; k++) {
            size_t length = strlen(words[k]);
            if (size - i < length || memcmp(text + i, words[k], length) != 0) continue;
            memset(text + i, ' ', length);
            memcpy(text + i, "9e9", 3);
        }
    }
}

/* Whether the key whose text is [at, behind) names an array that stays in the file. */
static bool stays(const cdu_json_text *t, size_t at, size_t behind, size_t depth, bool whole)
{
    size_t length = behind - at;
    return (length == 13 && !memcmp(t->text + at, "\"coordinates\"", 13)) || (whole && depth == 1 && length == 10 && !memcmp(t->text + at, "\"features\"", 10));
}

static cdu_status leave(cdu_annotation_build *b, const cdu_json_text *t, cdu_json_span array, cdu_json_value *out, buffer *to)
{
    if (t->text[array.end - 1] != ']') return broken(b, t, array.end, "the array is not closed");
    CDU_TRY(cdu_grow(&out->arrays, &out->capacity, out->count + 1, sizeof *out->arrays, b->error));
    out->arrays[out->count] = array;
    char word[32];
    int length = snprintf(word, sizeof word, "[%zu]", out->count++);
    return put(b, to, word, (size_t)length);
}

static cdu_status shorten(cdu_annotation_build *b, const cdu_json_text *t, cdu_json_span span, bool whole, cdu_json_value *out, buffer *to)
{
    size_t depth = 0, i = span.begin, kept = i; /* kept: what is not yet copied begins there */
    while (i < span.end) {
        char c = t->text[i];
        size_t array = 0; /* where one begins that stays, plus 1 */
        if (c == '"') {
            size_t behind = skip_text(t, i, span.end), value = skip_space(t, behind, span.end);
            if (stays(t, i, behind, depth, whole) && value < span.end && t->text[value] == ':') {
                value = skip_space(t, value + 1, span.end);
                if (value < span.end && t->text[value] == '[') array = value + 1;
            }
            i = behind;
        } else if (whole && c == '[' && !depth) {
            array = i + 1;
        } else {
            if (c == '[' || c == '{') depth++;
            if ((c == ']' || c == '}') && depth) depth--;
            i++;
        }
        if (!array) continue;
        CDU_TRY(put(b, to, t->text + kept, array - 1 - kept));
        kept = i = skip_value(t, array - 1, span.end);
        CDU_TRY(leave(b, t, (cdu_json_span){array - 1, i}, out, to));
    }
    return put(b, to, t->text + kept, span.end - kept);
}

/* Where in the file the place `at` of the short text is. */
static size_t place_of(const cdu_json_value *value, cdu_json_span span, size_t at)
{
    size_t left_out = 0; /* bytes that the file has more than the short text, up to there */
    for (size_t i = 0; i < value->count; i++) {
        char word[32];
        if (span.begin + at + left_out <= value->arrays[i].begin) break;
        left_out += value->arrays[i].end - value->arrays[i].begin - (size_t)snprintf(word, sizeof word, "[%zu]", i);
    }
    return span.begin + at + left_out;
}

cdu_status cdu_json_parse(cdu_annotation_build *b, cdu_json_text *text, cdu_json_span span, bool whole, cdu_json_value *out)
{
    *out = (cdu_json_value){0};
    buffer to = {0};
    cdu_status status = shorten(b, text, span, whole, out, &to);
    if (status == CDU_OK) {
        json_error_t about;
        replace_nan(to.text, to.size);
        out->tree = json_loadb(to.text ? to.text : "", to.size, JSON_DECODE_INT_AS_REAL | JSON_DECODE_ANY, &about);
        size_t at = about.position > 0 ? (size_t)about.position - 1 : 0;
        if (!out->tree) status = broken(b, text, place_of(out, span, at), about.text);
    }
    free(to.text);
    return status;
}

void cdu_json_value_free(cdu_json_value *value)
{
    json_decref(value->tree);
    free(value->arrays);
    *value = (cdu_json_value){0};
}

bool cdu_json_array_of(const cdu_json_value *value, const json_t *item, cdu_json_span *out)
{
    if (!json_is_array(item) || json_array_size(item) != 1) return false;
    size_t index = (size_t)json_number_value(json_array_get(item, 0));
    if (index >= value->count) return false;
    *out = value->arrays[index];
    return true;
}

/* ---- elements of an array ---- */

bool cdu_json_is_array(const cdu_json_text *text, cdu_json_span value)
{
    return text->text[value.begin] == '[';
}

cdu_status cdu_json_next(cdu_annotation_build *b, cdu_json_text *t, cdu_json_span array, cdu_json_span *last, bool *more)
{
    size_t close = array.end - 1; /* the bracket */
    size_t i = skip_space(t, last->end ? last->end : array.begin + 1, close);
    *more = i < close;
    if (t->text[close] != ']') return broken(b, t, array.end, "the array is not closed");
    if (!*more) return CDU_OK;
    if (last->end) {
        if (t->text[i] != ',') return broken(b, t, i, "a comma is missing between two elements");
        i = skip_space(t, i + 1, close);
    }
    size_t end = skip_value(t, i, close);
    if (end == i) return broken(b, t, i, "an element is missing");
    *last = (cdu_json_span){i, end};
    return CDU_OK;
}

cdu_status cdu_json_count(cdu_annotation_build *b, cdu_json_text *text, cdu_json_span array, size_t *out)
{
    cdu_json_span element = {0};
    bool more = true;
    *out = 0;
    for (;;) {
        CDU_TRY(cdu_json_next(b, text, array, &element, &more));
        if (!more) return CDU_OK;
        ++*out;
    }
}

cdu_status cdu_json_short(cdu_annotation_build *b, cdu_json_text *text, cdu_json_span span, json_t **out)
{
    char copy[SHORT_LIMIT];
    size_t size = span.end - span.begin;
    *out = NULL;
    if (size > sizeof copy) return broken(b, text, span.begin, "a position is longer than 500 bytes");
    memcpy(copy, text->text + span.begin, size);
    replace_nan(copy, size);
    json_error_t about;
    *out = json_loadb(copy, size, JSON_DECODE_INT_AS_REAL | JSON_DECODE_ANY, &about);
    if (!*out) return broken(b, text, span.begin + (about.position > 0 ? (size_t)about.position - 1 : 0), about.text);
    return CDU_OK;
}
