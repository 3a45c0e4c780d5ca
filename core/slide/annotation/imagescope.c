/* imagescope.c: XML of Aperio ImageScope and its near relative, Halo's: Annotations > Annotation (a layer) > Regions > Region > Vertices > Vertex
 * (Halo: V). The class is the layer's name, else its description, else the region's text, else the layer's colour as "#rrggbb"; the
 * rest are further words for it, the colour also as the decimal number that stands in the file. LineColor has blue in its high
 * byte. A Region with NegativeROA is cut out of the layer's other regions. Halo gives rectangles and ellipses by two corners.
 * Coordinates count from the slide's corner. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/base/memory.h"
#include "core/slide/annotation/xml.h"

#define PAIRS_LIMIT 1e9                /* regions times holes of a layer */
#define CUT_POINTS_LIMIT (16u << 20)   /* of all holes, counted once for each region that they are cut out of */

static const char nothing_to_cut[] = "a negative region that lies on no region of its layer";

typedef enum { SHAPE_POLYGON, SHAPE_RECTANGLE, SHAPE_ELLIPSE, SHAPE_FLAT } shape_kind;

typedef struct { double left, top, right, bottom; } box;

typedef struct {
    bool in_layer, in_region, negative;
    char *name, *description, *color, *number, *text; /* of the layer; text: of the region */
    uint8_t rgb[3];
    size_t first_item;                 /* of the layer */
    shape_kind kind;
    size_t line;
    cdu_point *vertices;
    size_t vertex_count, vertex_capacity;
    struct hole { cdu_ring ring; box around; size_t line; bool used; } *holes; /* of the layer */
    size_t hole_count, hole_capacity;
    uint64_t cut_points;
} state;

/* ImageScope numbers its shapes, Halo names them. */
static const struct { const char *name; shape_kind kind; } kinds[] = {
    {"", SHAPE_POLYGON}, {"0", SHAPE_POLYGON}, {"Polygon", SHAPE_POLYGON}, {"Freehand", SHAPE_POLYGON}, {"1", SHAPE_RECTANGLE},
    {"Rectangle", SHAPE_RECTANGLE}, {"2", SHAPE_ELLIPSE}, {"Ellipse", SHAPE_ELLIPSE}, {"3", SHAPE_FLAT}, {"Arrow", SHAPE_FLAT},
    {"Line", SHAPE_FLAT}, {"4", SHAPE_FLAT}, {"Ruler", SHAPE_FLAT}, {"5", SHAPE_FLAT}, {"Pin", SHAPE_FLAT}, {"Point", SHAPE_FLAT}};

static cdu_status set_text(char **to, const char *text, cdu_error *error)
{
    free(*to);
    *to = NULL;
    return cdu_copy_text(to, text, error);
}

static bool is_true(const char *text)
{
    return !strcmp(text, "1") || !strcasecmp(text, "true");
}

static cdu_status begin_layer(state *s, cdu_annotation_build *b, const char **attributes)
{
    if (s->in_layer) return cdu_build_fail(b, "an Annotation stands inside of another one");
    const char *given = cdu_xml_attribute(attributes, "LineColor");
    char color[16] = "";
    double value = 0;
    s->in_layer = true;
    s->first_item = b->out->count;
    memset(s->rgb, 0, sizeof s->rgb);
    if (cdu_xml_number(given, &value) && value >= 0 && value < 16777216) {
        uint32_t packed = (uint32_t)value;
        for (int i = 0; i < 3; i++) s->rgb[i] = (uint8_t)(packed >> 8 * i);
        snprintf(color, sizeof color, "#%02x%02x%02x", s->rgb[0], s->rgb[1], s->rgb[2]);
    }
    CDU_TRY(set_text(&s->name, cdu_xml_attribute(attributes, "Name"), b->error));
    CDU_TRY(set_text(&s->description, "", b->error));
    CDU_TRY(set_text(&s->color, color, b->error));
    return set_text(&s->number, given, b->error);
}

static cdu_status begin_region(state *s, cdu_annotation_build *b, const char **attributes)
{
    const char *type = cdu_xml_attribute(attributes, "Type");
    b->number++;
    if (!s->in_layer) return cdu_build_fail(b, "stands outside of an Annotation");
    if (s->in_region) return cdu_build_fail(b, "stands inside of another region");
    size_t i = 0;
    while (i < sizeof kinds / sizeof *kinds && strcasecmp(type, kinds[i].name) != 0) i++;
    if (i == sizeof kinds / sizeof *kinds)
        return cdu_build_fail(b, "Type is '%.40s'; known are 0 to 5 (polygon, rectangle, ellipse, arrow, ruler, point) and their names", type);
    s->in_region = true;
    s->kind = kinds[i].kind;
    s->line = b->line;
    s->vertex_count = 0;
    s->negative = is_true(cdu_xml_attribute(attributes, "NegativeROA"));
    return set_text(&s->text, cdu_xml_attribute(attributes, "Text"), b->error);
}

static cdu_status add_vertex(state *s, cdu_annotation_build *b, const char *element, const char **attributes)
{
    if (!s->in_region) return cdu_build_fail(b, "<%s> stands outside of a Region", element);
    CDU_TRY(cdu_grow(&s->vertices, &s->vertex_capacity, s->vertex_count + 1, sizeof *s->vertices, b->error));
    return cdu_xml_point(b, element, attributes, &s->vertices[s->vertex_count++]);
}

static cdu_status begin(void *context, cdu_annotation_build *b, const char *element, const char **attributes, unsigned depth)
{
    state *s = context;
    double mpp;
    if (depth == 1 && cdu_xml_number(cdu_xml_attribute(attributes, "MicronsPerPixel"), &mpp) && mpp >= 0.01 && mpp <= 100) b->out->mpp = mpp;
    if (!strcmp(element, "Annotation")) return begin_layer(s, b, attributes);
    if (!strcmp(element, "Region")) return begin_region(s, b, attributes);
    if (!strcmp(element, "Vertex")) return add_vertex(s, b, element, attributes);
    if (!strcmp(element, "V")) {
        b->out->format = "Halo XML";
        return add_vertex(s, b, element, attributes);
    }
    if (!strcmp(element, "Attribute") && s->in_layer && !s->in_region && !strcasecmp(cdu_xml_attribute(attributes, "Name"), "Description"))
        return set_text(&s->description, cdu_xml_attribute(attributes, "Value"), b->error);
    return CDU_OK;
}

/* ---- regions ---- */

static box box_of(const cdu_point *points, size_t count)
{
    box around = {INFINITY, INFINITY, -INFINITY, -INFINITY};
    for (size_t i = 0; i < count; i++) {
        around.left = fmin(around.left, points[i].x);
        around.right = fmax(around.right, points[i].x);
        around.top = fmin(around.top, points[i].y);
        around.bottom = fmax(around.bottom, points[i].y);
    }
    return around;
}

static cdu_status make_ring(const state *s, cdu_annotation_build *b, cdu_ring *ring)
{
    if (s->kind == SHAPE_RECTANGLE && s->vertex_count == 2) return cdu_build_rectangle(b, s->vertices[0], s->vertices[1], ring);
    if (s->kind == SHAPE_ELLIPSE && s->vertex_count >= 2 && s->vertex_count <= 4) {
        box around = box_of(s->vertices, s->vertex_count);
        return cdu_build_ellipse(b, (cdu_point){around.left, around.top}, (cdu_point){around.right, around.bottom}, ring);
    }
    CDU_TRY(cdu_allocate(&ring->points, s->vertex_count, sizeof *ring->points, b->error));
    if (s->vertex_count) memcpy(ring->points, s->vertices, s->vertex_count * sizeof *ring->points);
    ring->count = s->vertex_count;
    cdu_build_clean(ring);
    return CDU_OK;
}

/* Names the item by the first word that says something; the others go behind. */
static cdu_status name_item(const state *s, cdu_annotation_build *b, cdu_ring *ring)
{
    const char *words[] = {s->name, s->description, s->text, s->color, s->number};
    size_t first = 0;
    cdu_annotation *item = NULL;
    while (first < 4 && !*words[first]) first++;
    cdu_status status = cdu_build_item(b, words[first], &item);
    if (status != CDU_OK) return free(ring->points), status;
    memcpy(item->color, s->rgb, sizeof item->color);
    CDU_TRY(cdu_build_outline(b, item, ring));
    for (size_t i = first + 1; i < sizeof words / sizeof *words; i++) CDU_TRY(cdu_build_also(b, item, words[i]));
    return CDU_OK;
}

static cdu_status keep_hole(state *s, cdu_ring *ring, cdu_error *error)
{
    cdu_status status = cdu_grow(&s->holes, &s->hole_capacity, s->hole_count + 1, sizeof *s->holes, error);
    if (status != CDU_OK) return free(ring->points), status;
    s->holes[s->hole_count++] = (struct hole){.ring = *ring, .around = box_of(ring->points, ring->count), .line = s->line};
    return CDU_OK;
}

static cdu_status end_region(state *s, cdu_annotation_build *b)
{
    const char *class_name = *s->name ? s->name : *s->description ? s->description : *s->text ? s->text : s->color;
    cdu_ring ring = {0};
    s->in_region = false;
    b->line = s->line;
    if (s->kind == SHAPE_FLAT) return cdu_build_ignore(b, cdu_point_or_line, class_name);
    CDU_TRY(make_ring(s, b, &ring));
    if (!ring.count) {
        free(ring.points);
        return cdu_build_ignore(b, cdu_covers_nothing, class_name);
    }
    return s->negative ? keep_hole(s, &ring, b->error) : name_item(s, b, &ring);
}

static bool boxes_meet(const box *a, const box *b)
{
    return a->left < b->right && b->left < a->right && a->top < b->bottom && b->top < a->bottom;
}

/* Each hole out of every region of the layer that it may touch: what lies in a hole is in none of them. */
static cdu_status cut_holes(state *s, cdu_annotation_build *b, cdu_polygon *polygon)
{
    box around = box_of(polygon->rings[0].points, polygon->rings[0].count);
    size_t met = 0;
    for (size_t i = 0; i < s->hole_count; i++) {
        if (!boxes_meet(&around, &s->holes[i].around)) continue;
        met++;
        s->cut_points += s->holes[i].ring.count;
    }
    if (s->cut_points > CUT_POINTS_LIMIT) return cdu_build_fail(b, "negative regions overlap so many others that it takes more than %u points", CUT_POINTS_LIMIT);
    size_t capacity = polygon->count;
    CDU_TRY(cdu_grow(&polygon->rings, &capacity, polygon->count + met, sizeof *polygon->rings, b->error));
    for (size_t i = 0; met && i < s->hole_count; i++) {
        if (!boxes_meet(&around, &s->holes[i].around)) continue;
        s->holes[i].used = true;
        CDU_TRY(cdu_build_hole(b, polygon, &s->holes[i].ring));
    }
    return CDU_OK;
}

static void free_holes(state *s)
{
    for (size_t i = 0; i < s->hole_count; i++) free(s->holes[i].ring.points);
    s->hole_count = 0;
}

static cdu_status end_layer(state *s, cdu_annotation_build *b)
{
    const size_t items = b->out->count - s->first_item;
    s->in_layer = false;
    if ((double)items * (double)s->hole_count > PAIRS_LIMIT)
        return cdu_build_fail(b, "%zu negative regions on %zu others in one layer are more than can be cut", s->hole_count, items);
    for (size_t i = s->first_item; s->hole_count && i < b->out->count; i++) CDU_TRY(cut_holes(s, b, &b->out->items[i].polygons[0]));
    for (size_t i = 0; i < s->hole_count; i++) {
        b->line = s->holes[i].line;
        if (!s->holes[i].used) CDU_TRY(cdu_build_ignore(b, nothing_to_cut, *s->name ? s->name : *s->description ? s->description : s->color));
    }
    free_holes(s);
    return CDU_OK;
}

static cdu_status end(void *context, cdu_annotation_build *b, const char *element, unsigned depth)
{
    (void)depth;
    if (!strcmp(element, "Region")) return end_region(context, b);
    return !strcmp(element, "Annotation") ? end_layer(context, b) : CDU_OK;
}

static void clear(void *context)
{
    state *s = context;
    free_holes(s);
    free(s->holes);
    free(s->vertices);
    free(s->name);
    free(s->description);
    free(s->color);
    free(s->number);
    free(s->text);
}

const cdu_xml_dialect cdu_xml_imagescope = {"Annotations", "ImageScope XML", "region", sizeof(state), begin, end, clear};
