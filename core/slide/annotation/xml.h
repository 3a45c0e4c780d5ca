/* xml.h: annotation files in XML: a dialect is told by its root element and gets the elements one after another. Not for others. */
#ifndef CDU_SLIDE_ANNOTATION_XML_H
#define CDU_SLIDE_ANNOTATION_XML_H

#include "core/slide/annotation/format.h"

/* begin, end: an element opens or closes; `depth` is 1 for the root. b->line is where it stands. State begins zeroed. */
typedef struct {
    const char *root, *format, *unit;
    size_t state_size;
    cdu_status (*begin)(void *state, cdu_annotation_build *b, const char *element, const char **attributes, unsigned depth);
    cdu_status (*end)(void *state, cdu_annotation_build *b, const char *element, unsigned depth);
    void (*clear)(void *state);
} cdu_xml_dialect;

extern const cdu_xml_dialect cdu_xml_asap, cdu_xml_imagescope;

/* "" where it is not there. */
const char *cdu_xml_attribute(const char **attributes, const char *name);
/* X and Y of an element, checked. */
cdu_status cdu_xml_point(const cdu_annotation_build *b, const char *element, const char **attributes, cdu_point *out);
/* `text`, what an attribute says, as a finite number, whatever the locale. */
bool cdu_xml_number(const char *text, double *out);

#endif
