/* asap.c: XML of ASAP: ASAP_Annotations > Annotations > Annotation > Coordinates > Coordinate, and behind them AnnotationGroups > Group. The class is
 * the group; the groups above it are further words for it. Without a group it is the annotation's name, unless that is ASAP's own
 * "Annotation 0". Coordinates count from the slide's corner and are ordered by Order. A Spline goes through its points as ASAP
 * draws it: a closed centripetal Catmull-Rom curve. Dots, point sets and measurements cover nothing. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/base/memory.h"
#include "core/slide/annotation/xml.h"

enum { GROUP_DEPTH = 16, CURVE_PIECES = 64 };  /* pieces of a pixel each, but no more than so many between two points */
#define CURVE_LIMIT (8u << 20)         /* points; a longer curve stays straight between those given */

typedef struct {
    double order;
    size_t place;                      /* in the file */
    cdu_point at;
} vertex;

typedef struct {
    char *name, *parent;
    uint8_t color[3];
    bool colored;
} group;

typedef enum { SHAPE_POLYGON, SHAPE_SPLINE, SHAPE_RECTANGLE, SHAPE_FLAT } shape_kind;

typedef struct {
    bool inside;                       /* an Annotation */
    shape_kind kind;
    size_t line;
    char *class_name;
    uint8_t color[3];
    vertex *vertices;
    size_t vertex_count, vertex_capacity;
    group *groups;
    size_t group_count, group_capacity;
} state;

static const struct { const char *name; shape_kind kind; } kinds[] = {
    {"Polygon", SHAPE_POLYGON}, {"Spline", SHAPE_SPLINE}, {"Rectangle", SHAPE_RECTANGLE}, {"None", SHAPE_FLAT},
    {"Dot", SHAPE_FLAT}, {"PointSet", SHAPE_FLAT}, {"Measurement", SHAPE_FLAT}};

static bool is_default_name(const char *name)
{
    const char *number = !strncmp(name, "Annotation ", 11) ? name + 11 : "";
    return *number && !number[strspn(number, "0123456789")];
}

static cdu_status begin_annotation(state *s, cdu_annotation_build *b, const char **attributes)
{
    const char *type = cdu_xml_attribute(attributes, "Type"), *class_name = cdu_xml_attribute(attributes, "PartOfGroup");
    b->number++;
    if (s->inside) return cdu_build_fail(b, "stands inside of another annotation");
    size_t i = 0;
    while (i < sizeof kinds / sizeof *kinds && strcasecmp(type, kinds[i].name) != 0) i++;
    if (i == sizeof kinds / sizeof *kinds)
        return cdu_build_fail(b, "Type is '%.40s', which is none of Polygon, Spline, Rectangle, Dot, PointSet, Measurement, None", type);
    if (!*class_name || !strcmp(class_name, "None")) {
        class_name = cdu_xml_attribute(attributes, "Name");
        if (is_default_name(class_name)) class_name = "";
    }
    s->inside = true;
    s->kind = kinds[i].kind;
    s->line = b->line;
    s->vertex_count = 0;
    memset(s->color, 0, sizeof s->color);
    cdu_build_color(cdu_xml_attribute(attributes, "Color"), s->color);
    free(s->class_name);
    s->class_name = NULL;
    return cdu_copy_text(&s->class_name, class_name, b->error);
}

static cdu_status add_vertex(state *s, cdu_annotation_build *b, const char **attributes)
{
    if (!s->inside) return cdu_build_fail(b, "a Coordinate stands outside of an Annotation");
    CDU_TRY(cdu_grow(&s->vertices, &s->vertex_capacity, s->vertex_count + 1, sizeof *s->vertices, b->error));
    vertex *v = &s->vertices[s->vertex_count];
    const char *order = cdu_xml_attribute(attributes, "Order");
    v->place = s->vertex_count++;
    v->order = (double)v->place;
    if (*order && !cdu_xml_number(order, &v->order)) return cdu_build_fail(b, "Order of a Coordinate is '%.40s', which is no number", order);
    return cdu_xml_point(b, "Coordinate", attributes, &v->at);
}

static cdu_status add_group(state *s, cdu_annotation_build *b, const char **attributes)
{
    const char *name = cdu_xml_attribute(attributes, "Name"), *parent = cdu_xml_attribute(attributes, "PartOfGroup");
    CDU_TRY(cdu_grow(&s->groups, &s->group_capacity, s->group_count + 1, sizeof *s->groups, b->error));
    group *g = &s->groups[s->group_count++];
    g->colored = cdu_build_color(cdu_xml_attribute(attributes, "Color"), g->color);
    CDU_TRY(cdu_copy_text(&g->name, name, b->error));
    return cdu_copy_text(&g->parent, strcmp(parent, "None") != 0 ? parent : "", b->error);
}

static cdu_status begin(void *context, cdu_annotation_build *b, const char *element, const char **attributes, unsigned depth)
{
    (void)depth;
    if (!strcmp(element, "Annotation")) return begin_annotation(context, b, attributes);
    if (!strcmp(element, "Coordinate")) return add_vertex(context, b, attributes);
    if (!strcmp(element, "Group")) return add_group(context, b, attributes);
    return CDU_OK;
}

/* ---- shapes ---- */

static int by_order(const void *a, const void *b)
{
    const vertex *one = a, *two = b;
    if (one->order != two->order) return one->order < two->order ? -1 : 1;
    return one->place < two->place ? -1 : one->place > two->place;
}

static double knot(double at, cdu_point a, cdu_point b)
{
    return at + sqrt(hypot(b.x - a.x, b.y - a.y));
}

static cdu_point mix(cdu_point a, cdu_point b, double from, double to, double t)
{
    double share = (t - from) / (to - from);
    return (cdu_point){a.x + share * (b.x - a.x), a.y + share * (b.y - a.y)};
}

static size_t pieces_between(cdu_point a, cdu_point b)
{
    double length = ceil(hypot(b.x - a.x, b.y - a.y));
    return length < CURVE_PIECES ? (size_t)length : CURVE_PIECES;
}

/* The curve from p[1] to p[2] without its end, by the pyramid of Barry and Goldman (SIGGRAPH 1988) with centripetal knots (Yuksel et
 * al., Computer-Aided Design 43, 2011). Neighbours differ, so knots do. */
static void add_curve(const cdu_point p[4], cdu_ring *out)
{
    const size_t pieces = pieces_between(p[1], p[2]);
    double t[4] = {0};
    for (int i = 0; i < 3; i++) t[i + 1] = knot(t[i], p[i], p[i + 1]);
    out->points[out->count++] = p[1];
    for (size_t i = 1; i < pieces; i++) {
        double at = t[1] + (t[2] - t[1]) * (double)i / (double)pieces;
        cdu_point a = mix(p[0], p[1], t[0], t[1], at), b = mix(p[1], p[2], t[1], t[2], at), c = mix(p[2], p[3], t[2], t[3], at);
        out->points[out->count++] = mix(mix(a, b, t[0], t[2], at), mix(b, c, t[1], t[3], at), t[1], t[2], at);
    }
}

static cdu_status bend(cdu_annotation_build *b, cdu_ring *ring)
{
    cdu_ring curve = {0};
    size_t total = 0;
    cdu_build_clean(ring);
    for (size_t i = 0; i < ring->count; i++) total += pieces_between(ring->points[i], ring->points[(i + 1) % ring->count]);
    if (!ring->count || total > CURVE_LIMIT) return CDU_OK;
    CDU_TRY(cdu_allocate(&curve.points, total, sizeof *curve.points, b->error));
    for (size_t i = 0; i < ring->count; i++) {
        cdu_point around[4];
        for (size_t k = 0; k < 4; k++) around[k] = ring->points[(i + ring->count - 1 + k) % ring->count];
        add_curve(around, &curve);
    }
    free(ring->points);
    *ring = curve;
    return CDU_OK;
}

static cdu_status make_ring(state *s, cdu_annotation_build *b, cdu_ring *ring)
{
    if (s->vertex_count > 1) qsort(s->vertices, s->vertex_count, sizeof *s->vertices, by_order);
    if (s->kind == SHAPE_RECTANGLE && s->vertex_count == 2) return cdu_build_rectangle(b, s->vertices[0].at, s->vertices[1].at, ring);
    CDU_TRY(cdu_allocate(&ring->points, s->vertex_count, sizeof *ring->points, b->error));
    for (size_t i = 0; i < s->vertex_count; i++) ring->points[i] = s->vertices[i].at;
    ring->count = s->vertex_count;
    cdu_status status = s->kind == SHAPE_SPLINE ? bend(b, ring) : CDU_OK;
    cdu_build_clean(ring);
    return status;
}

static cdu_status end_annotation(state *s, cdu_annotation_build *b)
{
    cdu_annotation *item;
    cdu_ring ring = {0};
    s->inside = false;
    b->line = s->line;
    if (s->kind == SHAPE_FLAT) return cdu_build_ignore(b, cdu_point_or_line, s->class_name);
    cdu_status status = make_ring(s, b, &ring);
    bool covers = ring.count > 0;
    if (status == CDU_OK && covers) status = cdu_build_item(b, s->class_name, &item);
    if (status == CDU_OK && covers) {
        memcpy(item->color, s->color, sizeof item->color);
        return cdu_build_outline(b, item, &ring);
    }
    free(ring.points);
    return status == CDU_OK ? cdu_build_ignore(b, cdu_covers_nothing, s->class_name) : status;
}

static const group *find_group(const state *s, const char *name)
{
    for (size_t i = 0; *name && i < s->group_count; i++)
        if (!strcmp(s->groups[i].name, name)) return &s->groups[i];
    return NULL;
}

/* The groups stand behind the annotations. A group has its class's colour; the annotations' own may all differ. */
static cdu_status join_groups(state *s, cdu_annotation_build *b)
{
    for (size_t i = 0; s->group_count && i < b->out->count; i++) {
        cdu_annotation *item = &b->out->items[i];
        const group *own = find_group(s, item->class_name), *above = own;
        if (own && own->colored) memcpy(item->color, own->color, sizeof own->color);
        for (int depth = 0; above && *above->parent && depth < GROUP_DEPTH; depth++) {
            CDU_TRY(cdu_build_also(b, item, above->parent));
            above = find_group(s, above->parent);
        }
    }
    return CDU_OK;
}

static cdu_status end(void *context, cdu_annotation_build *b, const char *element, unsigned depth)
{
    if (!strcmp(element, "Annotation")) return end_annotation(context, b);
    return depth == 1 ? join_groups(context, b) : CDU_OK;
}

static void clear(void *context)
{
    state *s = context;
    for (size_t i = 0; i < s->group_count; i++) {
        free(s->groups[i].name);
        free(s->groups[i].parent);
    }
    free(s->groups);
    free(s->vertices);
    free(s->class_name);
}

const cdu_xml_dialect cdu_xml_asap = {"ASAP_Annotations", "ASAP XML", "annotation", sizeof(state), begin, end, clear};
