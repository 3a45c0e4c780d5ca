/* raster.h: annotations to class maps. A pixel has the class of the polygons that cover its centre (even-odd within a ring; what lies in
 * a hole is not covered). Where classes overlap the study's order decides. */
#ifndef CDU_SLIDE_RASTER_H
#define CDU_SLIDE_RASTER_H

#include "core/slide/annotation.h"

enum { CDU_EXCLUDED = 255 };

/* How class names become values, from the study file. Names are compared without regard to case; a `*` at a pattern's end stands
 * for anything. */
typedef struct {
    struct cdu_label_rule {
        const char *pattern;
        uint8_t value;             /* class value, or CDU_EXCLUDED */
        uint32_t precedence;       /* smaller wins where two overlap */
        bool region;               /* outlines the annotated area: all outside such is excluded */
    } *rules;
    size_t count;
    uint8_t unannotated;           /* value where nothing is drawn: background's, or CDU_EXCLUDED */
    bool unknown_is_error;         /* else a class that no rule knows is excluded */
} cdu_label_rules;

/* The rule that knows the annotation's class or, where none does, one of its other words, tried in turn; null where none does. *word
 * (may be null) is what it was known by. */
const struct cdu_label_rule *cdu_label_rule_of(const cdu_label_rules *rules, const cdu_annotation *item, const char **word);

/* The annotations of one slide, prepared for being asked about any region. */
typedef struct cdu_label_source cdu_label_source;

/* Takes over nothing; `annotations` and `rules` may be freed afterwards. CDU_BAD_DATA, naming `path`, line and class, for a class
 * that no rule knows. */
cdu_status cdu_label_source_create(const char *path, const cdu_annotations *annotations, const cdu_label_rules *rules,
                                   cdu_label_source **out, cdu_error *error);
/* From a label-map image of the whole slide (values are class values, 255 excluded; any size of the slide's shape within a pixel of
 * rounding); level-0 size given. CDU_BAD_DATA where the sizes do not fit. */
cdu_status cdu_label_source_from_image(const char *path, int64_t slide_width, int64_t slide_height, uint32_t classes,
                                       cdu_label_source **out, cdu_error *error);
/* Pixels whose centre lies outside of width x height level-0 pixels are excluded from now on. Call it before reading. */
void cdu_label_source_set_size(cdu_label_source *source, int64_t width, int64_t height);
void cdu_label_source_destroy(cdu_label_source *source);

/* Labels of the region of width x height pixels, each `scale` level-0 pixels wide, its top left corner at (x, y) of those pixels.
 * Threads: may be called from several threads at once. */
cdu_status cdu_label_source_read(const cdu_label_source *source, double scale, int64_t x, int64_t y, uint32_t width,
                                 uint32_t height, uint8_t *labels, cdu_error *error);

#endif
