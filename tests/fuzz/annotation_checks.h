/* annotation_checks.h: what the fuzz targets of annotation readers hold: any bytes are refused with words, or become polygons that can be
 * measured and rasterized, the same for a part of a window as for the whole, and that are written as GeoJSON which reads back. */
#ifndef TEST_FUZZ_ANNOTATION_CHECKS_H
#define TEST_FUZZ_ANNOTATION_CHECKS_H

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/slide/annotation.h"
#include "core/slide/raster.h"

static inline void check_rings(const cdu_annotations *found)
{
    for (size_t i = 0; i < found->count; i++) {
        if (!found->items[i].class_name || !found->items[i].count) abort();
        for (size_t k = 0; k < found->items[i].count; k++) {
            const cdu_polygon *polygon = &found->items[i].polygons[k];
            if (!polygon->count) abort();
            for (size_t r = 0; r < polygon->count; r++) {
                if (polygon->rings[r].count < 3) abort();
                for (size_t j = 0; j < polygon->rings[r].count; j++)
                    if (!(fabs(polygon->rings[r].points[j].x) < 1e10 && fabs(polygon->rings[r].points[j].y) < 1e10)) abort();
            }
        }
    }
}

static inline void check_areas(const cdu_annotations *found)
{
    cdu_error error = {0};
    for (size_t i = 0; i < found->count; i++)
        for (size_t k = 0; k < found->items[i].count; k++) {
            double area;
            if (cdu_polygon_area(&found->items[i].polygons[k], &area, NULL, &error) != CDU_OK) abort();
            if (!(area >= -1e-3 && area < 1e20)) abort();
        }
}

static inline void check_raster(const cdu_annotations *found)
{
    enum { SIDE = 24 };
    struct cdu_label_rule table[] = {{"Tumor", 1, 2, false}, {"T*", 2, 1, false}, {"Region*", 0, 0, true}};
    cdu_label_rules rules = {.rules = table, .count = 3};
    uint8_t whole[SIDE * SIDE], part[SIDE * SIDE];
    cdu_label_source *source;
    cdu_error error = {0};
    if (cdu_label_source_create("fuzz", found, &rules, &source, &error) != CDU_OK) abort();
    for (int scale = 1; scale <= 1000; scale *= 10) {
        if (cdu_label_source_read(source, scale, -4, -4, SIDE, SIDE, whole, &error) != CDU_OK) abort();
        if (cdu_label_source_read(source, scale, 3, 1, 9, 5, part, &error) != CDU_OK) abort();
        for (int row = 0; row < 5; row++)
            if (memcmp(part + row * 9, whole + (row + 5) * SIDE + 7, 9) != 0) abort();
    }
    cdu_label_source_destroy(source);
}

static inline void check_annotations(const char *text, size_t size)
{
    cdu_annotations found;
    cdu_error error = {0};
    if (cdu_annotations_parse("fuzz", text, size, &found, &error) != CDU_OK) {
        if (!error.words[0] || found.count || found.ignored_count) abort();
        return;
    }
    for (size_t i = 0; i < found.ignored_count; i++)
        if (!found.ignored[i].count || !found.ignored[i].reason || !found.ignored[i].class_name) abort();
    check_rings(&found);
    check_areas(&found);
    check_raster(&found);
    cdu_annotations_free(&found);
}

#endif
