/* geojson.c: polygons from GeoJSON, a feature at a time, with jansson. Reads QuPath's old style (a bare array of features whose id is the
 * object's Java class) and new style (FeatureCollection, objectType, names), one Feature alone, and other programs' `label` and
 * `group`. Points and lines are left out: they cover nothing. Coordinates stay in the text (json_text.h), so that memory
 * is bounded by the file's size and the polygons kept. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/base/memory.h"
#include "core/slide/annotation/json_text.h"

enum { GEOMETRY_DEPTH = 8, NAME_LIMIT = 512 };

/* What a polygon, a ring and a feature take beside the points, at most. */
enum { ITEM_BYTES = 256, RING_BYTES = 64 };
#define KEPT_LIMIT (384u << 20)
enum { POLYGON_POINTS = 1 << 22 }; /* measuring takes some 130 bytes for each */

/* One feature at hand: its parts that cover nothing, and where its coordinates are. */
typedef struct {
    cdu_annotation_build *b;
    cdu_json_text *text;
    const cdu_json_value *value;
    cdu_annotation *to;
    size_t capacity, lines, rings, points; /* points: of the polygon at hand */
    size_t *kept; /* bytes of all polygons of the file */
} outlines;

static cdu_status keep(outlines *f, size_t count, size_t size)
{
    if (count > (KEPT_LIMIT - *f->kept) / size)
        return cdu_build_fail(f->b, "the polygons up to here take more than %u MiB: divide the file", KEPT_LIMIT >> 20);
    *f->kept += count * size;
    return CDU_OK;
}

/* ---- geometry ---- */

static cdu_status read_point(outlines *f, cdu_json_span position, cdu_point *out)
{
    json_t *pair;
    CDU_TRY(cdu_json_short(f->b, f->text, position, &pair));
    const json_t *x = json_array_get(pair, 0), *y = json_array_get(pair, 1);
    bool good = json_is_number(x) && json_is_number(y);
    *out = (cdu_point){json_number_value(x), json_number_value(y)};
    json_decref(pair);
    if (!good) return cdu_build_fail(f->b, "a position must be an array of two numbers, [x, y]");
    return cdu_build_check(f->b, out->x, out->y);
}

/* Rings of fewer than three different points cover nothing and come out with count 0. */
static cdu_status read_ring(outlines *f, cdu_json_span positions, cdu_ring *out)
{
    size_t count;
    *out = (cdu_ring){0};
    if (!cdu_json_is_array(f->text, positions)) return cdu_build_fail(f->b, "a ring must be an array of positions");
    CDU_TRY(cdu_json_count(f->b, f->text, positions, &count));
    f->points += count;
    if (f->points > POLYGON_POINTS) return cdu_build_fail(f->b, "a polygon of more than %d points: divide or simplify it", POLYGON_POINTS);
    CDU_TRY(keep(f, 1, RING_BYTES));
    CDU_TRY(keep(f, count, sizeof *out->points));
    CDU_TRY(cdu_allocate(&out->points, count, sizeof *out->points, f->b->error));
    cdu_json_span position = {0};
    bool more;
    for (; out->count < count; out->count++) {
        CDU_TRY(cdu_json_next(f->b, f->text, positions, &position, &more));
        CDU_TRY(read_point(f, position, &out->points[out->count]));
    }
    cdu_build_clean(out);
    return CDU_OK;
}

static cdu_status read_rings(outlines *f, cdu_json_span rings, size_t count, cdu_polygon *polygon)
{
    cdu_json_span at = {0};
    bool more;
    for (size_t i = 0; i < count; i++) {
        CDU_TRY(cdu_json_next(f->b, f->text, rings, &at, &more));
        cdu_ring *ring = &polygon->rings[polygon->count++];
        CDU_TRY(read_ring(f, at, ring));
        if (ring->count) continue;
        free(ring->points);
        *ring = (cdu_ring){0};
        polygon->count--;
        f->rings++;
        if (i == 0) break; /* an outline that covers nothing has no holes either */
    }
    return CDU_OK;
}

static cdu_status add_polygon(outlines *f, cdu_json_span rings)
{
    size_t count;
    if (!cdu_json_is_array(f->text, rings)) return cdu_build_fail(f->b, "a polygon's coordinates must be an array of rings");
    CDU_TRY(cdu_json_count(f->b, f->text, rings, &count));
    if (!count) return CDU_OK;
    CDU_TRY(keep(f, count, sizeof(cdu_ring)));
    CDU_TRY(cdu_grow(&f->to->polygons, &f->capacity, f->to->count + 1, sizeof *f->to->polygons, f->b->error));
    cdu_polygon *polygon = &f->to->polygons[f->to->count++];
    *polygon = (cdu_polygon){0};
    f->points = 0;
    CDU_TRY(cdu_allocate(&polygon->rings, count, sizeof *polygon->rings, f->b->error));
    CDU_TRY(read_rings(f, rings, count, polygon));
    if (!polygon->count) {
        free(polygon->rings);
        f->to->count--;
    }
    return CDU_OK;
}

static cdu_status add_polygons(outlines *f, cdu_json_span polygons)
{
    cdu_json_span at = {0};
    bool more;
    for (;;) {
        CDU_TRY(cdu_json_next(f->b, f->text, polygons, &at, &more));
        if (!more) return CDU_OK;
        CDU_TRY(add_polygon(f, at));
    }
}

static cdu_status read_geometry(outlines *f, const json_t *geometry, int depth)
{
    if (json_is_null(geometry)) return CDU_OK;
    const char *type = json_string_value(json_object_get(geometry, "type"));
    if (!type) return cdu_build_fail(f->b, "the geometry has no type");
    cdu_json_span coordinates;
    bool given = cdu_json_array_of(f->value, json_object_get(geometry, "coordinates"), &coordinates);
    if (!strcmp(type, "Polygon"))
        return given ? add_polygon(f, coordinates) : cdu_build_fail(f->b, "a polygon's coordinates must be an array of rings");
    if (!strcmp(type, "MultiPolygon"))
        return given ? add_polygons(f, coordinates) : cdu_build_fail(f->b, "a MultiPolygon's coordinates must be an array of polygons");
    if (!strcmp(type, "GeometryCollection")) {
        const json_t *parts = json_object_get(geometry, "geometries");
        if (!json_is_array(parts)) return cdu_build_fail(f->b, "a GeometryCollection needs an array 'geometries'");
        if (depth >= GEOMETRY_DEPTH) return cdu_build_fail(f->b, "GeometryCollections are nested deeper than %d", GEOMETRY_DEPTH);
        for (size_t i = 0; i < json_array_size(parts); i++) CDU_TRY(read_geometry(f, json_array_get(parts, i), depth + 1));
        return CDU_OK;
    }
    static const char *const flat[] = {"Point", "MultiPoint", "LineString", "MultiLineString"};
    for (size_t i = 0; i < sizeof flat / sizeof *flat; i++)
        if (!strcmp(type, flat[i])) return f->lines++, CDU_OK;
    return cdu_build_fail(f->b, "unknown geometry type '%.60s'", type);
}

/* ---- class, colour, kind of object ---- */

static void read_color(const json_t *object, uint8_t color[3])
{
    const json_t *list = json_object_get(object, "color"), *packed = json_object_get(object, "colorRGB");
    if (json_is_array(list) && json_array_size(list) >= 3) {
        for (size_t i = 0; i < 3; i++) {
            double value = json_number_value(json_array_get(list, i));
            color[i] = (uint8_t)(value > 255 ? 255 : value > 0 ? value : 0);
        }
    } else if (json_is_number(packed) && fabs(json_number_value(packed)) < 4294967296.0) {
        uint32_t value = (uint32_t)(int64_t)json_number_value(packed); /* Java's signed ARGB */
        color[0] = (uint8_t)(value >> 16);
        color[1] = (uint8_t)(value >> 8);
        color[2] = (uint8_t)value;
    }
}

/* A derived class is told as QuPath shows it: "Tumor: Positive". */
static void join_names(const json_t *names, char out[NAME_LIMIT])
{
    size_t used = 0;
    for (size_t i = 0; i < json_array_size(names) && used < NAME_LIMIT; i++) {
        const char *name = json_string_value(json_array_get(names, i));
        if (!name) continue;
        int wrote = snprintf(out + used, NAME_LIMIT - used, "%s%s", used ? ": " : "", name);
        used += wrote > 0 ? (size_t)wrote : 0;
    }
}

/* "Tumor: Positive" is a Tumor. */
static cdu_status add_base_class(cdu_annotation_build *b, cdu_annotation *to)
{
    const char *colon = strstr(to->class_name, ": ");
    if (!colon || colon == to->class_name) return CDU_OK;
    char base[NAME_LIMIT];
    snprintf(base, sizeof base, "%.*s", (int)(colon - to->class_name < NAME_LIMIT ? colon - to->class_name : NAME_LIMIT - 1), to->class_name);
    return cdu_build_also(b, to, base);
}

static cdu_status read_class(cdu_annotation_build *b, const json_t *properties, cdu_annotation *to)
{
    char joined[NAME_LIMIT] = "";
    const char *name = NULL;
    const json_t *class_of = json_object_get(properties, "classification");
    read_color(properties, to->color);
    if (json_is_string(class_of)) {
        name = json_string_value(class_of);
    } else if (json_is_object(class_of)) {
        name = json_string_value(json_object_get(class_of, "name"));
        const json_t *names = json_object_get(class_of, "names");
        if (!name && json_is_array(names)) {
            join_names(names, joined);
            name = joined;
        }
        if (!name) return cdu_build_fail(b, "the classification has neither 'name' nor 'names'");
        read_color(class_of, to->color);
    } else if (class_of && !json_is_null(class_of)) {
        return cdu_build_fail(b, "the classification must be a text or an object with 'name' or 'names'");
    } else {
        /* "name" is QuPath's name of the single annotation, which stands for a class only where nothing else does */
        static const char *const keys[] = {"label", "group", "name"};
        for (size_t i = 0; i < sizeof keys / sizeof *keys && (!name || !*name); i++) {
            const json_t *value = json_object_get(properties, keys[i]);
            if (json_is_object(value)) value = json_object_get(value, "value");
            name = json_string_value(value);
        }
    }
    free(to->class_name);
    to->class_name = NULL;
    CDU_TRY(cdu_copy_text(&to->class_name, name ? name : "", b->error));
    return add_base_class(b, to);
}

static bool is_annotation(const json_t *feature, const json_t *properties)
{
    const char *type = json_string_value(json_object_get(properties, "objectType"));
    if (!type) type = json_string_value(json_object_get(properties, "object_type"));
    if (type) return !strcasecmp(type, "annotation");
    const char *id = json_string_value(json_object_get(feature, "id"));
    static const char *const others[] = {"PathDetectionObject", "PathCellObject", "PathTileObject", "TMACoreObject", "PathRootObject"};
    for (size_t i = 0; id && i < sizeof others / sizeof *others; i++)
        if (!strcmp(id, others[i])) return false;
    return true;
}

/* QuPath's own files, whose coordinates count from the scanned part, have at least one of these. */
static bool is_qupaths(const json_t *feature, const json_t *properties)
{
    const char *id = json_string_value(json_object_get(feature, "id"));
    if (id && !strncmp(id, "Path", 4) && strstr(id, "Object")) return true;
    return json_object_get(properties, "objectType") || json_object_get(properties, "object_type") ||
           json_is_object(json_object_get(properties, "classification"));
}

static cdu_status read_feature(cdu_annotation_build *b, cdu_json_text *text, const cdu_json_value *value, size_t *kept)
{
    const json_t *tree = value->tree;
    const char *type = json_string_value(json_object_get(tree, "type"));
    if (!type || strcmp(type, "Feature") != 0)
        return cdu_build_fail(b, "is of type '%.60s' where 'Feature' must stand", type ? type : "(none)");
    const json_t *properties = json_object_get(tree, "properties"), *geometry = json_object_get(tree, "geometry");
    if (properties && !json_is_null(properties) && !json_is_object(properties)) return cdu_build_fail(b, "'properties' must be an object");
    if (!geometry) return cdu_build_fail(b, "has no geometry");
    cdu_annotation *to;
    CDU_TRY(cdu_build_item(b, "", &to));
    to->is_annotation = is_annotation(tree, properties);
    outlines f = {.b = b, .text = text, .value = value, .to = to, .kept = kept};
    CDU_TRY(keep(&f, 1, ITEM_BYTES));
    CDU_TRY(read_class(b, properties, to));
    CDU_TRY(read_geometry(&f, geometry, 0));
    if (is_qupaths(tree, properties)) {
        b->out->format = "QuPath GeoJSON";
        b->out->from_bounds = true;
    }
    if (f.lines) CDU_TRY(cdu_build_ignore(b, cdu_point_or_line, to->class_name));
    if (f.rings) CDU_TRY(cdu_build_ignore(b, cdu_covers_nothing, to->class_name));
    if (!to->is_annotation && to->count) CDU_TRY(cdu_build_ignore(b, cdu_not_an_annotation, to->class_name));
    if (!to->count) {
        cdu_build_drop(b);
        *kept -= ITEM_BYTES;
    }
    return CDU_OK;
}

/* ---- the file ---- */

static cdu_status read_features(cdu_annotation_build *b, cdu_json_text *text, cdu_json_span features)
{
    cdu_json_span at = {0};
    size_t kept = 0, number = 0;
    bool more;
    for (;;) {
        b->number = 0;
        CDU_TRY(cdu_json_next(b, text, features, &at, &more));
        if (!more) return CDU_OK;
        b->line = cdu_json_line(text, at.begin);
        b->number = ++number;
        cdu_json_value value;
        cdu_status status = cdu_json_parse(b, text, at, false, &value);
        if (status == CDU_OK) status = read_feature(b, text, &value, &kept);
        cdu_json_value_free(&value);
        if (status != CDU_OK) return status;
    }
}

static cdu_status read_root(cdu_annotation_build *b, cdu_json_text *text, const cdu_json_value *root)
{
    const char *type = json_string_value(json_object_get(root->tree, "type"));
    cdu_json_span features;
    size_t kept = 0;
    if (type && !strcmp(type, "Feature")) {
        b->line = b->number = 1;
        return read_feature(b, text, root, &kept);
    }
    bool collection = type && !strcmp(type, "FeatureCollection");
    if (!cdu_json_array_of(root, collection ? json_object_get(root->tree, "features") : root->tree, &features))
        return cdu_fail(b->error, CDU_BAD_DATA, "%s:1: is no GeoJSON of features: it must hold a FeatureCollection, a Feature or an "
                        "array of Features, but its type is '%.60s'", b->name, type ? type : "(none)");
    return read_features(b, text, features);
}

cdu_status cdu_geojson_read(cdu_annotation_build *b, const char *text, size_t size)
{
    b->unit = "feature";
    b->out->format = "GeoJSON";
    cdu_json_text whole = {.text = text, .size = size};
    cdu_json_value root;
    cdu_status status = cdu_json_parse(b, &whole, (cdu_json_span){0, size}, true, &root);
    if (status == CDU_OK) status = read_root(b, &whole, &root);
    cdu_json_value_free(&root);
    return status;
}
