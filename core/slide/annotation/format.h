/* format.h: what the readers of annotation files share: building items, telling places, noting what is left out. Not for others. */
#ifndef CDU_SLIDE_ANNOTATION_FORMAT_H
#define CDU_SLIDE_ANNOTATION_FORMAT_H

#include "core/slide/annotation.h"

#define CDU_COORDINATE_LIMIT 2147483648.0

typedef struct {
    const char *name;                  /* of the file */
    const char *unit;                  /* what the format calls an item: "feature", "annotation", "region" */
    size_t number, line;               /* of the item at hand, from 1; number 0: none; line 0: unknown */
    cdu_annotations *out;
    size_t capacity, ignored_capacity;
    cdu_error *error;
} cdu_annotation_build;

extern const char cdu_covers_nothing[], cdu_point_or_line[], cdu_not_an_annotation[];

/* CDU_BAD_DATA "file:line: unit number: words". */
#define cdu_build_fail(b, ...) cdu_build_fail_((b), __FILE__ ":" CDU_STRING(__LINE__), __VA_ARGS__)
__attribute__((format(printf, 3, 4))) cdu_status cdu_build_fail_(const cdu_annotation_build *b, const char *where, const char *format, ...);

/* Another item, at b->line, at the end of out->items; valid until the next one. */
cdu_status cdu_build_item(cdu_annotation_build *b, const char *class_name, cdu_annotation **out);
/* Takes the last item off again. */
void cdu_build_drop(cdu_annotation_build *b);
/* One more word for the class; empty ones and those it has already are left out. */
cdu_status cdu_build_also(cdu_annotation_build *b, cdu_annotation *item, const char *name);
cdu_status cdu_build_ignore(cdu_annotation_build *b, const char *reason, const char *class_name);

cdu_status cdu_build_check(const cdu_annotation_build *b, double x, double y);
/* Takes out points that repeat the one before, and a last that repeats the first; count becomes 0 where fewer than three are left. */
void cdu_build_clean(cdu_ring *ring);
/* A polygon of one ring, which is taken over in any case. A ring without points adds none. */
cdu_status cdu_build_outline(cdu_annotation_build *b, cdu_annotation *item, cdu_ring *ring);
/* A copy of `hole` as a further ring of the polygon, whose array has room for it. */
cdu_status cdu_build_hole(cdu_annotation_build *b, cdu_polygon *polygon, const cdu_ring *hole);
/* A rectangle or the ellipse in it, between two corners. */
cdu_status cdu_build_rectangle(cdu_annotation_build *b, cdu_point a, cdu_point c, cdu_ring *out);
cdu_status cdu_build_ellipse(cdu_annotation_build *b, cdu_point a, cdu_point c, cdu_ring *out);
/* "#rrggbb" */
bool cdu_build_color(const char *text, uint8_t color[3]);

/* Readers: fill b->out; on failure the caller frees it. */
cdu_status cdu_geojson_read(cdu_annotation_build *b, const char *text, size_t size);
cdu_status cdu_xml_read(cdu_annotation_build *b, const char *text, size_t size);

#endif
