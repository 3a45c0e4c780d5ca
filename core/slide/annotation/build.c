/* build.c: items of annotation files being made, whatever the format. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/base/memory.h"
#include "core/slide/annotation/format.h"

const char cdu_covers_nothing[] = "fewer than three different points cover nothing";
const char cdu_point_or_line[] = "points and lines cover nothing";
const char cdu_not_an_annotation[] = "cells, detections and tiles are no labels";

enum {
    ELLIPSE_POINTS = 128,              /* within 0.02 % of the area */
    IGNORED_KINDS = 200                /* told apart; further classes are told together */
};

cdu_status cdu_build_fail_(const cdu_annotation_build *b, const char *where, const char *format, ...)
{
    char words[512], item[64] = "", line[32] = "";
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(words, sizeof words, format, arguments);
    va_end(arguments);
    if (b->number) snprintf(item, sizeof item, "%s %zu: ", b->unit, b->number);
    if (b->line) snprintf(line, sizeof line, "%zu:", b->line);
    return cdu_error_set(b->error, CDU_BAD_DATA, where, "%s:%s %s%s", b->name, line, item, words);
}

static void free_item(cdu_annotation *item)
{
    for (size_t k = 0; k < item->count; k++) {
        for (size_t r = 0; r < item->polygons[k].count; r++) free(item->polygons[k].rings[r].points);
        free(item->polygons[k].rings);
    }
    for (size_t i = 0; i < item->also_count; i++) free(item->also[i]);
    free(item->also);
    free(item->polygons);
    free(item->class_name);
    *item = (cdu_annotation){0};
}

void cdu_annotations_free(cdu_annotations *annotations)
{
    if (!annotations) return;
    for (size_t i = 0; i < annotations->count; i++) free_item(&annotations->items[i]);
    for (size_t i = 0; i < annotations->ignored_count; i++) free(annotations->ignored[i].class_name);
    free(annotations->items);
    free(annotations->ignored);
    *annotations = (cdu_annotations){0};
}

void cdu_annotations_shift(cdu_annotations *annotations, double dx, double dy)
{
    for (size_t i = 0; i < annotations->count; i++)
        for (size_t k = 0; k < annotations->items[i].count; k++) {
            cdu_polygon *polygon = &annotations->items[i].polygons[k];
            for (size_t r = 0; r < polygon->count; r++)
                for (size_t j = 0; j < polygon->rings[r].count; j++) {
                    polygon->rings[r].points[j].x += dx;
                    polygon->rings[r].points[j].y += dy;
                }
        }
}

cdu_status cdu_build_item(cdu_annotation_build *b, const char *class_name, cdu_annotation **out)
{
    cdu_annotations *to = b->out;
    CDU_TRY(cdu_grow(&to->items, &b->capacity, to->count + 1, sizeof *to->items, b->error));
    *out = &to->items[to->count++];
    **out = (cdu_annotation){.line = b->line, .is_annotation = true};
    return cdu_copy_text(&(*out)->class_name, class_name, b->error);
}

void cdu_build_drop(cdu_annotation_build *b)
{
    free_item(&b->out->items[--b->out->count]);
}

cdu_status cdu_build_also(cdu_annotation_build *b, cdu_annotation *item, const char *name)
{
    if (!*name || !strcasecmp(name, item->class_name)) return CDU_OK;
    for (size_t i = 0; i < item->also_count; i++)
        if (!strcasecmp(name, item->also[i])) return CDU_OK;
    size_t capacity = item->also_count;
    CDU_TRY(cdu_grow(&item->also, &capacity, item->also_count + 1, sizeof *item->also, b->error));
    CDU_TRY(cdu_copy_text(&item->also[item->also_count], name, b->error));
    item->also_count++;
    return CDU_OK;
}

cdu_status cdu_build_ignore(cdu_annotation_build *b, const char *reason, const char *class_name)
{
    cdu_annotations *to = b->out;
    for (size_t i = 0; i < to->ignored_count; i++)
        if (!strcmp(to->ignored[i].reason, reason) && !strcmp(to->ignored[i].class_name, class_name)) return to->ignored[i].count++, CDU_OK;
    static const char others[] = "(other classes)";
    if (to->ignored_count >= IGNORED_KINDS && strcmp(class_name, others) != 0) return cdu_build_ignore(b, reason, others);
    CDU_TRY(cdu_grow(&to->ignored, &b->ignored_capacity, to->ignored_count + 1, sizeof *to->ignored, b->error));
    cdu_annotation_ignored *item = &to->ignored[to->ignored_count];
    *item = (cdu_annotation_ignored){.reason = reason, .count = 1, .line = b->line};
    CDU_TRY(cdu_copy_text(&item->class_name, class_name, b->error));
    to->ignored_count++;
    return CDU_OK;
}

/* ---- geometry ---- */

cdu_status cdu_build_check(const cdu_annotation_build *b, double x, double y)
{
    if (fabs(x) <= CDU_COORDINATE_LIMIT && fabs(y) <= CDU_COORDINATE_LIMIT) return CDU_OK;
    return cdu_build_fail(b, "a coordinate is NaN, infinite or more than %.0f pixels away", CDU_COORDINATE_LIMIT);
}

static bool same_point(cdu_point a, cdu_point b)
{
    return a.x == b.x && a.y == b.y;
}

void cdu_build_clean(cdu_ring *ring)
{
    size_t kept = 0;
    for (size_t i = 0; i < ring->count; i++)
        if (!kept || !same_point(ring->points[kept - 1], ring->points[i])) ring->points[kept++] = ring->points[i];
    while (kept > 1 && same_point(ring->points[kept - 1], ring->points[0])) kept--;
    ring->count = kept < 3 ? 0 : kept;
}

cdu_status cdu_build_outline(cdu_annotation_build *b, cdu_annotation *item, cdu_ring *ring)
{
    size_t capacity = item->count;
    cdu_status status = CDU_OK;
    if (ring->count) {
        status = cdu_grow(&item->polygons, &capacity, item->count + 1, sizeof *item->polygons, b->error);
        cdu_polygon *polygon = status == CDU_OK ? &item->polygons[item->count++] : NULL;
        if (polygon) status = cdu_allocate(&polygon->rings, 1, sizeof *polygon->rings, b->error);
        if (status == CDU_OK) {
            polygon->rings[polygon->count++] = *ring;
            *ring = (cdu_ring){0};
        }
    }
    free(ring->points);
    *ring = (cdu_ring){0};
    return status;
}

cdu_status cdu_build_hole(cdu_annotation_build *b, cdu_polygon *polygon, const cdu_ring *hole)
{
    cdu_ring *ring = &polygon->rings[polygon->count];
    CDU_TRY(cdu_allocate(&ring->points, hole->count, sizeof *ring->points, b->error));
    memcpy(ring->points, hole->points, hole->count * sizeof *hole->points);
    ring->count = hole->count;
    polygon->count++;
    return CDU_OK;
}

cdu_status cdu_build_rectangle(cdu_annotation_build *b, cdu_point a, cdu_point c, cdu_ring *out)
{
    *out = (cdu_ring){0};
    CDU_TRY(cdu_allocate(&out->points, 4, sizeof *out->points, b->error));
    const cdu_point corners[4] = {a, {c.x, a.y}, c, {a.x, c.y}};
    memcpy(out->points, corners, sizeof corners);
    out->count = a.x == c.x || a.y == c.y ? 0 : 4;
    return CDU_OK;
}

cdu_status cdu_build_ellipse(cdu_annotation_build *b, cdu_point a, cdu_point c, cdu_ring *out)
{
    const double turn = 6.283185307179586;
    *out = (cdu_ring){0};
    CDU_TRY(cdu_allocate(&out->points, ELLIPSE_POINTS, sizeof *out->points, b->error));
    for (int i = 0; i < ELLIPSE_POINTS; i++)
        out->points[i] = (cdu_point){(a.x + c.x) / 2 + (c.x - a.x) / 2 * cos(turn * i / ELLIPSE_POINTS),
                                     (a.y + c.y) / 2 + (c.y - a.y) / 2 * sin(turn * i / ELLIPSE_POINTS)};
    out->count = a.x == c.x || a.y == c.y ? 0 : ELLIPSE_POINTS;
    return CDU_OK;
}

bool cdu_build_color(const char *text, uint8_t color[3])
{
    if (text[0] != '#' || strlen(text) != 7 || strspn(text + 1, "0123456789abcdefABCDEF") != 6) return false;
    unsigned long value = strtoul(text + 1, NULL, 16);
    for (int i = 0; i < 3; i++) color[i] = (uint8_t)(value >> (16 - 8 * i));
    return true;
}
