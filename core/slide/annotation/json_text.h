/* json_text.h: JSON looked at as text, so that long arrays are read an element at a time and never stand in memory as a tree. Not for others. */
#ifndef CDU_SLIDE_ANNOTATION_JSON_TEXT_H
#define CDU_SLIDE_ANNOTATION_JSON_TEXT_H

#include <jansson.h>

#include "core/slide/annotation/format.h"

/* The file's text, and how far its lines have been counted. */
typedef struct {
    const char *text;
    size_t size, counted, line; /* line 0: none counted yet */
} cdu_json_text;

typedef struct { size_t begin, end; } cdu_json_span;

/* A value whose long arrays were left in the text: in the tree each stands as [n], an array of one number, which of the spans it is. */
typedef struct {
    json_t *tree;
    cdu_json_span *arrays;
    size_t count, capacity;
} cdu_json_value;

/* Parses the value in `span`. Left in the text are arrays under a key "coordinates"; with `whole` also the text's own array and the one under
 * "features" in its outermost object. NaN and Infinity, which QuPath writes though JSON does not know them, become 9e9. CDU_BAD_DATA with line
 * and column: broken, or more than 4 MiB beside those arrays. Free with cdu_json_value_free in any case. */
cdu_status cdu_json_parse(cdu_annotation_build *b, cdu_json_text *text, cdu_json_span span, bool whole, cdu_json_value *out);
void cdu_json_value_free(cdu_json_value *value);

/* The array in the text that `item` stands for; false where it is none that was left there. */
bool cdu_json_array_of(const cdu_json_value *value, const json_t *item, cdu_json_span *out);
bool cdu_json_is_array(const cdu_json_text *text, cdu_json_span value);

/* The element behind `last`, which begins as {0, 0}; *more is false behind the last one. CDU_BAD_DATA with line and column: no comma between two. */
cdu_status cdu_json_next(cdu_annotation_build *b, cdu_json_text *text, cdu_json_span array, cdu_json_span *last, bool *more);
/* How many elements an array has. */
cdu_status cdu_json_count(cdu_annotation_build *b, cdu_json_text *text, cdu_json_span array, size_t *out);

/* Parses a short value, of at most 500 bytes. */
cdu_status cdu_json_short(cdu_annotation_build *b, cdu_json_text *text, cdu_json_span span, json_t **out);

/* The line, from 1, of a place in the text; fast where it is behind the last one asked for. */
size_t cdu_json_line(cdu_json_text *text, size_t at);

#endif
