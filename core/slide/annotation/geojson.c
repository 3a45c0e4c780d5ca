/* geojson.c: polygons from GeoJSON, with jansson. Reads QuPath's old style (a bare array of features whose id is the object's Java class)
 * and new style (FeatureCollection, objectType, names), one Feature alone, and other programs' `label` and `group`. Points and
 * lines are left out: they cover nothing. jansson tells lines for broken syntax only, so where each feature begins is found by a
 * scan of our own over the text. QuPath writes bare NaN into measurements, which JSON does not know: such words are overwritten
 * with a number too large for a coordinate before parsing, so that they pass in measurements and are refused in geometry. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/base/memory.h"
#include "core/slide/annotation/format.h"

enum { GEOMETRY_DEPTH = 8, NAME_LIMIT = 512 };

/* Parts of a feature that cover nothing. */
typedef struct { size_t lines, rings; } flat_parts;

/* ---- geometry ---- */

static cdu_status read_point(cdu_annotation_build *b, const json_t *pair, cdu_point *out)
{
    if (!json_is_array(pair) || json_array_size(pair) < 2 || !json_is_number(json_array_get(pair, 0)) ||
        !json_is_number(json_array_get(pair, 1)))
        return cdu_build_fail(b, "a position must be an array of two numbers, [x, y]");
    out->x = json_number_value(json_array_get(pair, 0));
    out->y = json_number_value(json_array_get(pair, 1));
    return cdu_build_check(b, out->x, out->y);
}

/* Rings of fewer than three different points cover nothing and come out with count 0. */
static cdu_status read_ring(cdu_annotation_build *b, const json_t *positions, cdu_ring *out)
{
    *out = (cdu_ring){0};
    if (!json_is_array(positions)) return cdu_build_fail(b, "a ring must be an array of positions");
    size_t count = json_array_size(positions);
    CDU_TRY(cdu_allocate(&out->points, count, sizeof *out->points, b->error));
    for (; out->count < count; out->count++) CDU_TRY(read_point(b, json_array_get(positions, out->count), &out->points[out->count]));
    cdu_build_clean(out);
    return CDU_OK;
}

static cdu_status add_polygon(cdu_annotation_build *b, const json_t *rings, cdu_annotation *to, size_t *capacity, flat_parts *left_out)
{
    if (!json_is_array(rings)) return cdu_build_fail(b, "a polygon's coordinates must be an array of rings");
    size_t count = json_array_size(rings);
    if (!count) return CDU_OK;
    CDU_TRY(cdu_grow(&to->polygons, capacity, to->count + 1, sizeof *to->polygons, b->error));
    cdu_polygon *polygon = &to->polygons[to->count++];
    *polygon = (cdu_polygon){0};
    CDU_TRY(cdu_allocate(&polygon->rings, count, sizeof *polygon->rings, b->error));
    for (size_t i = 0; i < count; i++) {
        cdu_ring *ring = &polygon->rings[polygon->count++];
        CDU_TRY(read_ring(b, json_array_get(rings, i), ring));
        if (ring->count) continue;
        free(ring->points);
        *ring = (cdu_ring){0};
        polygon->count--;
        left_out->rings++;
        if (i == 0) break; /* an outline that covers nothing has no holes either */
    }
    if (!polygon->count) {
        free(polygon->rings);
        to->count--;
    }
    return CDU_OK;
}

static cdu_status read_geometry(cdu_annotation_build *b, const json_t *geometry, int depth, cdu_annotation *to, size_t *capacity,
                                flat_parts *left_out)
{
    if (json_is_null(geometry)) return CDU_OK;
    const char *type = json_string_value(json_object_get(geometry, "type"));
    if (!type) return cdu_build_fail(b, "the geometry has no type");
    const json_t *coordinates = json_object_get(geometry, "coordinates");
    if (!strcmp(type, "Polygon")) return add_polygon(b, coordinates, to, capacity, left_out);
    if (!strcmp(type, "MultiPolygon")) {
        if (!json_is_array(coordinates)) return cdu_build_fail(b, "a MultiPolygon's coordinates must be an array of polygons");
        for (size_t i = 0; i < json_array_size(coordinates); i++)
            CDU_TRY(add_polygon(b, json_array_get(coordinates, i), to, capacity, left_out));
        return CDU_OK;
    }
    if (!strcmp(type, "GeometryCollection")) {
        const json_t *parts = json_object_get(geometry, "geometries");
        if (!json_is_array(parts)) return cdu_build_fail(b, "a GeometryCollection needs an array 'geometries'");
        if (depth >= GEOMETRY_DEPTH) return cdu_build_fail(b, "GeometryCollections are nested deeper than %d", GEOMETRY_DEPTH);
        for (size_t i = 0; i < json_array_size(parts); i++)
            CDU_TRY(read_geometry(b, json_array_get(parts, i), depth + 1, to, capacity, left_out));
        return CDU_OK;
    }
    static const char *const flat[] = {"Point", "MultiPoint", "LineString", "MultiLineString"};
    for (size_t i = 0; i < sizeof flat / sizeof *flat; i++)
        if (!strcmp(type, flat[i])) return left_out->lines++, CDU_OK;
    return cdu_build_fail(b, "unknown geometry type '%.60s'", type);
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

static cdu_status read_feature(cdu_annotation_build *b, const json_t *feature)
{
    const char *type = json_string_value(json_object_get(feature, "type"));
    if (!type || strcmp(type, "Feature") != 0)
        return cdu_build_fail(b, "is of type '%.60s' where 'Feature' must stand", type ? type : "(none)");
    const json_t *properties = json_object_get(feature, "properties"), *geometry = json_object_get(feature, "geometry");
    if (properties && !json_is_null(properties) && !json_is_object(properties)) return cdu_build_fail(b, "'properties' must be an object");
    if (!geometry) return cdu_build_fail(b, "has no geometry");
    cdu_annotation *to;
    CDU_TRY(cdu_build_item(b, "", &to));
    to->is_annotation = is_annotation(feature, properties);
    size_t polygons = 0;
    flat_parts flat = {0};
    CDU_TRY(read_class(b, properties, to));
    CDU_TRY(read_geometry(b, geometry, 0, to, &polygons, &flat));
    if (is_qupaths(feature, properties)) {
        b->out->format = "QuPath GeoJSON";
        b->out->from_bounds = true;
    }
    if (flat.lines) CDU_TRY(cdu_build_ignore(b, cdu_point_or_line, to->class_name));
    if (flat.rings) CDU_TRY(cdu_build_ignore(b, cdu_covers_nothing, to->class_name));
    if (!to->is_annotation && to->count) CDU_TRY(cdu_build_ignore(b, cdu_not_an_annotation, to->class_name));
    if (!to->count) cdu_build_drop(b);
    return CDU_OK;
}

/* ---- text ---- */

/* Where each element of the array of features begins, as lines from 1. The text is known to be JSON. */
typedef struct {
    size_t *lines, count, capacity;
} line_table;

static size_t skip_string(const char *text, size_t size, size_t i)
{
    for (i++; i < size && text[i] != '"'; i++)
        if (text[i] == '\\') i++;
    return i;
}

static cdu_status find_lines(const char *text, size_t size, line_table *table, cdu_error *error)
{
    size_t depth = 0, line = 1, features = 0; /* features: depth inside the array of features, 0 while outside */
    bool bare = false, named = false, fresh = false;
    for (size_t i = 0; i < size; i++) {
        char c = text[i];
        if (c == '\n') line++;
        if (c == ' ' || c == '\t' || c == '\r' || c == '\n') continue;
        if (features && depth == features && fresh && c != ']') {
            CDU_TRY(cdu_grow(&table->lines, &table->capacity, table->count + 1, sizeof *table->lines, error));
            table->lines[table->count++] = line;
            fresh = false;
        }
        if (c == '"') {
            size_t end = skip_string(text, size, i);
            named = depth == 1 && !bare && end - i == 9 && !memcmp(text + i, "\"features", 9);
            i = end;
        } else if (c == '[' || c == '{') {
            depth++;
            if (depth == 1) bare = c == '[';
            if (c == '[' && ((bare && depth == 1) || (named && depth == 2))) {
                features = depth;
                fresh = true;
                table->count = 0;
            }
            named = false;
        } else if (c == ']' || c == '}') {
            if (depth == features) features = 0;
            if (depth) depth--;
        } else if (c == ',' && depth == features) {
            fresh = true;
        }
    }
    return CDU_OK;
}

/* Overwrites NaN and Infinity outside of texts with 9e9; makes a copy when the first is met. */
static cdu_status replace_nan(const char **text, size_t size, char **copy, cdu_error *error)
{
    static const char *const words[] = {"NaN", "Infinity"};
    for (size_t i = 0; i < size; i++) {
        if ((*text)[i] == '"') {
            i = skip_string(*text, size, i);
            continue;
        }
        for (size_t k = 0; k < 2; k++) {
            size_t length = strlen(words[k]);
            if ((*text)[i] != words[k][0] || size - i < length || memcmp(*text + i, words[k], length) != 0) continue;
            if (!*copy) {
                CDU_TRY(cdu_allocate(copy, size + 1, 1, error));
                memcpy(*copy, *text, size);
                *text = *copy;
            }
            memset(*copy + i, ' ', length);
            memcpy(*copy + i, "9e9", 3);
        }
    }
    return CDU_OK;
}

static cdu_status read_root(cdu_annotation_build *b, const json_t *root, const line_table *lines)
{
    const json_t *features = root;
    b->number = 1;
    if (json_is_object(root)) {
        const char *type = json_string_value(json_object_get(root, "type"));
        features = json_object_get(root, "features");
        if (type && !strcmp(type, "Feature")) {
            b->line = 1;
            return read_feature(b, root);
        }
        if (!type || strcmp(type, "FeatureCollection") != 0 || !json_is_array(features))
            return cdu_fail(b->error, CDU_BAD_DATA, "%s:1: is no GeoJSON of features: it must hold a FeatureCollection, a Feature or an "
                            "array of Features, but its type is '%.60s'", b->name, type ? type : "(none)");
    }
    for (size_t i = 0; i < json_array_size(features); i++) {
        b->number = i + 1;
        b->line = lines->count == json_array_size(features) ? lines->lines[i] : 0;
        CDU_TRY(read_feature(b, json_array_get(features, i)));
    }
    return CDU_OK;
}

cdu_status cdu_geojson_read(cdu_annotation_build *b, const char *text, size_t size)
{
    b->unit = "feature";
    b->out->format = "GeoJSON";
    char *copy = NULL;
    CDU_TRY(replace_nan(&text, size, &copy, b->error));
    json_error_t about;
    json_t *root = json_loadb(text, size, JSON_DECODE_INT_AS_REAL, &about);
    line_table lines = {0};
    cdu_status status;
    if (!root) status = cdu_fail(b->error, CDU_BAD_DATA, "%s:%d: broken JSON at column %d: %s", b->name, about.line, about.column, about.text);
    else status = find_lines(text, size, &lines, b->error);
    if (status == CDU_OK) status = read_root(b, root, &lines);
    free(lines.lines);
    free(copy);
    json_decref(root);
    return status;
}
