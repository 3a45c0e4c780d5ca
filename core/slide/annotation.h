/* annotation.h: polygons with class names, as people draw them, from the files of many programs: GeoJSON (QuPath of old and new, others'
 * `label`/`group`), XML of ASAP, ImageScope and Halo, each also packed by gzip. Coordinates are level-0 pixels; QuPath counts them from the corner of
 * the scanned part, see cdu_annotations.from_bounds. Also written as QuPath reads them. One file a format under annotation/. */
#ifndef CDU_SLIDE_ANNOTATION_H
#define CDU_SLIDE_ANNOTATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cdunet/error.h"

typedef struct { double x, y; } cdu_point;
typedef struct { cdu_point *points; size_t count; } cdu_ring;         /* closed implicitly: last point differs from the first */
typedef struct { cdu_ring *rings; size_t count; } cdu_polygon;        /* first ring: outline, even-odd where it crosses itself; others: holes,
                                                                          each cut out, wherever it lies */
typedef struct {
    char *class_name;                                                  /* "" where the file gives none */
    char **also;                                                       /* other words of the file for the class (groups above, a colour), tried
                                                                          in this order by rules that do not know class_name */
    size_t also_count;
    uint8_t color[3];                                                  /* R, G, B; used when writing */
    bool is_annotation;                                                /* false: a cell, detection or tile object; not a label */
    size_t line;                                                       /* where it begins in the file, for messages; 0: unknown */
    cdu_polygon *polygons;
    size_t count;
} cdu_annotation;
/* What a file holds that is no label, told once for each reason and class. */
typedef struct {
    const char *reason;                                                /* "a point or a line covers nothing"; static */
    char *class_name;
    size_t count, line;                                                /* line: of the first */
} cdu_annotation_ignored;
typedef struct {
    cdu_annotation *items;
    size_t count;
    const char *format;                                                /* "QuPath GeoJSON", "ASAP XML", ...; static; null: made, not read */
    bool from_bounds;                                                  /* coordinates count from openslide.bounds-x/y, as QuPath's do */
    double mpp;                                                        /* micrometres per pixel that the file tells; 0: nothing */
    cdu_annotation_ignored *ignored;
    size_t ignored_count;
} cdu_annotations;

/* CDU_BAD_DATA with file and line for broken, too deep, NaN or out-of-range content. The format is told by the content, not by the
 * name. Free with cdu_annotations_free. */
cdu_status cdu_annotations_read(const char *path, cdu_annotations *out, cdu_error *error);
/* The same from memory (for the fuzzer); `name` stands for the file in messages. */
cdu_status cdu_annotations_parse(const char *name, const char *text, size_t size, cdu_annotations *out, cdu_error *error);
/* A label map as annotations: the outlines of its connected areas, by the classes' names and colours; value 0 gives none, 255 is excluded and told
 * as ignored. Level-0 size of the slide, or 0 x 0 where the map is as large as it. CDU_BAD_DATA: no label map, a value that is no class, another shape than the slide's. */
cdu_status cdu_annotations_from_label_map(const char *path, int64_t slide_width, int64_t slide_height, uint32_t classes,
                                          const char *const *names, const uint8_t (*colors)[3], cdu_annotations *out, cdu_error *error);
/* Whether the file begins as PNG or TIFF does, so that it can only be a label map. */
bool cdu_is_label_map(const char *path);
/* Size of a label map and how many of its pixels have each value; `classes` as above. */
cdu_status cdu_label_map_look(const char *path, uint32_t classes, int64_t *width, int64_t *height, uint64_t counts[256], cdu_error *error);
void cdu_annotations_free(cdu_annotations *annotations);
/* Adds (dx, dy) to every point. */
void cdu_annotations_shift(cdu_annotations *annotations, double dx, double dy);
/* A FeatureCollection that QuPath opens; ids are derived from `seed` and the order, so equal input gives equal bytes. */
cdu_status cdu_annotations_write(const char *path, const cdu_annotations *annotations, uint64_t seed, cdu_error *error);

/* Square pixels that a polygon covers; exact, but to about one in 10^4 where rings cross each other or there are millions of long edges.
 * *crossed is set where they do (may be null). */
cdu_status cdu_polygon_area(const cdu_polygon *polygon, double *area, bool *crossed, cdu_error *error);

#endif
