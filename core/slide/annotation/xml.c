/* xml.c: annotation files in XML, read by expat element by element. Nothing outside the file is ever read, and a document type, the only
 * place where entities can be declared, is refused, so nothing expands. */
#include <expat.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/slide/annotation/xml.h"

enum { DEPTH_LIMIT = 32, PIECE = 1 << 20 };

static const cdu_xml_dialect *const dialects[] = {&cdu_xml_asap, &cdu_xml_imagescope};
enum { DIALECTS = sizeof dialects / sizeof *dialects };

typedef struct {
    cdu_annotation_build *b;
    XML_Parser parser;
    const cdu_xml_dialect *dialect;
    void *state;
    unsigned depth;
    cdu_status status;                 /* the first failure; the parser is stopped there */
} reader;

const char *cdu_xml_attribute(const char **attributes, const char *name)
{
    for (; *attributes; attributes += 2)
        if (!strcmp(attributes[0], name)) return attributes[1];
    return "";
}

/* strtod takes the locale's decimal sign alone; the point is put to that. */
bool cdu_xml_number(const char *text, double *out)
{
    char copy[64], *end;
    size_t length = strlen(text);
    if (!length || length >= sizeof copy || strspn(text, "0123456789+-.eE") != length) return false;
    memcpy(copy, text, length + 1);
    *out = strtod(copy, &end);
    if (*end == '.') {
        snprintf(copy, sizeof copy, "%.1f", 0.5);
        char sign = copy[1];
        memcpy(copy, text, length + 1);
        *strchr(copy, '.') = sign;
        *out = strtod(copy, &end);
    }
    return !*end && *out - *out == 0;
}

static cdu_status read_coordinate(const cdu_annotation_build *b, const char *element, const char **attributes, const char *name, double *out)
{
    const char *text = cdu_xml_attribute(attributes, name);
    if (!*text) return cdu_build_fail(b, "<%.40s> has no %s", element, name);
    if (!cdu_xml_number(text, out)) return cdu_build_fail(b, "%s of <%.40s> is '%.40s', which is no number", name, element, text);
    return CDU_OK;
}

cdu_status cdu_xml_point(const cdu_annotation_build *b, const char *element, const char **attributes, cdu_point *out)
{
    CDU_TRY(read_coordinate(b, element, attributes, "X", &out->x));
    CDU_TRY(read_coordinate(b, element, attributes, "Y", &out->y));
    return cdu_build_check(b, out->x, out->y);
}

static cdu_status choose_dialect(reader *r, const char *root)
{
    for (size_t i = 0; i < DIALECTS; i++)
        if (!strcmp(root, dialects[i]->root)) r->dialect = dialects[i];
    if (!r->dialect)
        return cdu_fail(r->b->error, CDU_BAD_DATA, "%s:%zu: the root element is <%.60s>; known are <ASAP_Annotations> of ASAP and <Annotations> of "
                        "ImageScope and Halo", r->b->name, r->b->line, root);
    r->b->unit = r->dialect->unit;
    r->b->out->format = r->dialect->format;
    return cdu_allocate(&r->state, 1, r->dialect->state_size, r->b->error);
}

static void stop_at(reader *r, cdu_status status)
{
    if (status == CDU_OK || r->status != CDU_OK) return;
    r->status = status;
    XML_StopParser(r->parser, XML_FALSE);
}

static void XMLCALL on_begin(void *context, const XML_Char *element, const XML_Char **attributes)
{
    reader *r = context;
    if (r->status != CDU_OK) return;
    r->b->line = XML_GetCurrentLineNumber(r->parser);
    if (r->depth == 0) stop_at(r, choose_dialect(r, element));
    if (++r->depth > DEPTH_LIMIT) stop_at(r, cdu_build_fail(r->b, "elements are nested deeper than %d", DEPTH_LIMIT));
    if (r->status == CDU_OK) stop_at(r, r->dialect->begin(r->state, r->b, element, attributes, r->depth));
}

static void XMLCALL on_end(void *context, const XML_Char *element)
{
    reader *r = context;
    if (r->status != CDU_OK) return;
    r->b->line = XML_GetCurrentLineNumber(r->parser);
    stop_at(r, r->dialect->end(r->state, r->b, element, r->depth--));
}

static void XMLCALL on_doctype(void *context, const XML_Char *name, const XML_Char *system, const XML_Char *public, int internal)
{
    (void)name, (void)system, (void)public, (void)internal;
    reader *r = context;
    r->b->line = XML_GetCurrentLineNumber(r->parser);
    r->b->number = 0;
    stop_at(r, cdu_build_fail(r->b, "a document type (<!DOCTYPE>) is refused, since it can declare entities; take it out"));
}

static cdu_status fail_syntax(reader *r)
{
    enum XML_Error code = XML_GetErrorCode(r->parser);
    if (r->status != CDU_OK) return r->status;
    return cdu_fail(r->b->error, code == XML_ERROR_NO_MEMORY ? CDU_TRY_AGAIN : CDU_BAD_DATA, "%s:%llu: broken XML at column %llu: %s", r->b->name,
                    (unsigned long long)XML_GetCurrentLineNumber(r->parser), (unsigned long long)XML_GetCurrentColumnNumber(r->parser) + 1,
                    XML_ErrorString(code));
}

cdu_status cdu_xml_read(cdu_annotation_build *b, const char *text, size_t size)
{
    reader r = {.b = b, .parser = XML_ParserCreate(NULL)};
    if (!r.parser) return cdu_fail(b->error, CDU_TRY_AGAIN, "%s: no memory to read XML", b->name);
    XML_SetUserData(r.parser, &r);
    XML_SetElementHandler(r.parser, on_begin, on_end);
    XML_SetStartDoctypeDeclHandler(r.parser, on_doctype);
    cdu_status status = CDU_OK;
    for (size_t at = 0; at < size && status == CDU_OK; at += PIECE) {
        size_t length = size - at < PIECE ? size - at : PIECE;
        if (XML_Parse(r.parser, text + at, (int)length, at + length == size) != XML_STATUS_OK) status = fail_syntax(&r);
    }
    if (r.state) r.dialect->clear(r.state);
    free(r.state);
    XML_ParserFree(r.parser);
    return status;
}
