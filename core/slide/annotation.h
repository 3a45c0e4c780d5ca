/* annotation.h: polygons with class names, as people draw them. Coordinates are level-0 pixels of the slide's own frame (bounds
 * already added, see cdu_annotations_shift). Read from GeoJSON (QuPath old and new style, others' `label`/`group`); XML formats
 * come later. Also written as QuPath reads them. */
#ifndef CDU_SLIDE_ANNOTATION_H
#define CDU_SLIDE_ANNOTATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cdunet/error.h"

typedef struct { double x, y; } cdu_point;
typedef struct { cdu_point *points; size_t count; } cdu_ring;         /* closed implicitly: last point differs from the first */
typedef struct { cdu_ring *rings; size_t count; } cdu_polygon;        /* first ring: outline; others: holes */
typedef struct {
    char *class_name;                                                  /* "" where the file gives none */
    uint8_t color[3];                                                  /* R, G, B; used when writing */
    bool is_annotation;                                                /* false: a cell, detection or tile object; not a label */
    size_t line;                                                       /* where it begins in the file, for messages; 0: unknown */
    cdu_polygon *polygons;
    size_t count;
} cdu_annotation;
typedef struct { cdu_annotation *items; size_t count; } cdu_annotations;

/* CDU_BAD_DATA with file and line for broken, too deep, NaN or out-of-range content. Free with cdu_annotations_free. */
cdu_status cdu_annotations_read(const char *path, cdu_annotations *out, cdu_error *error);
/* The same from memory (for the fuzzer); `name` stands for the file in messages. */
cdu_status cdu_annotations_parse(const char *name, const char *text, size_t size, cdu_annotations *out, cdu_error *error);
void cdu_annotations_free(cdu_annotations *annotations);
/* Adds (dx, dy) to every point. */
void cdu_annotations_shift(cdu_annotations *annotations, double dx, double dy);
/* A FeatureCollection that QuPath opens; ids are derived from `seed` and the order, so equal input gives equal bytes. */
cdu_status cdu_annotations_write(const char *path, const cdu_annotations *annotations, uint64_t seed, cdu_error *error);

#endif
