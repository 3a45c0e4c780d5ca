/* annotation.c: polygons from GeoJSON and back, with jansson. Reads QuPath's old style (a bare array of features whose id is the object's
 * Java class) and new style (FeatureCollection, objectType, names), one Feature alone, and other programs' `label` and `group`. Points
 * and lines are left out: they cover nothing. jansson tells lines for broken syntax only, so where each feature begins is found by a
 * scan of our own over the text. QuPath writes bare NaN into measurements, which JSON does not know: such words are overwritten
 * with a number too large for a coordinate before parsing, so that they pass in measurements and are refused in geometry. */
#include "core/slide/annotation.h"

#include <jansson.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <zlib.h>

#include "core/base/file.h"
#include "core/base/memory.h"
#include "core/base/random.h"

#define COORDINATE_LIMIT 2147483648.0
#define TEXT_LIMIT (256u << 20)
enum { GEOMETRY_DEPTH = 8, NAME_LIMIT = 512 };

typedef struct {
    const char *name;                  /* of the file */
    size_t number, line;               /* of the feature at hand, from 1; line 0: unknown */
    cdu_error *error;
} place;

#define fail_at(p, ...) fail_feature((p), CDU_STRING(__LINE__), __VA_ARGS__)

__attribute__((format(printf, 3, 4))) static cdu_status fail_feature(const place *p, const char *where, const char *format, ...)
{
    char words[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(words, sizeof words, format, arguments);
    va_end(arguments);
    char here[64];
    snprintf(here, sizeof here, "core/slide/annotation.c:%s", where);
    if (p->line)
        return cdu_error_set(p->error, CDU_BAD_DATA, here, "%s:%zu: feature %zu: %s", p->name, p->line, p->number, words);
    return cdu_error_set(p->error, CDU_BAD_DATA, here, "%s: feature %zu: %s", p->name, p->number, words);
}

static void free_polygons(cdu_polygon *polygons, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < polygons[i].count; k++) free(polygons[i].rings[k].points);
        free(polygons[i].rings);
    }
    free(polygons);
}

void cdu_annotations_free(cdu_annotations *annotations)
{
    if (!annotations) return;
    for (size_t i = 0; i < annotations->count; i++) {
        free_polygons(annotations->items[i].polygons, annotations->items[i].count);
        free(annotations->items[i].class_name);
    }
    free(annotations->items);
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

/* ---- geometry ---- */

static cdu_status read_point(const place *p, const json_t *pair, cdu_point *out)
{
    if (!json_is_array(pair) || json_array_size(pair) < 2 || !json_is_number(json_array_get(pair, 0)) ||
        !json_is_number(json_array_get(pair, 1)))
        return fail_at(p, "a position must be an array of two numbers, [x, y]");
    out->x = json_number_value(json_array_get(pair, 0));
    out->y = json_number_value(json_array_get(pair, 1));
    if (!(fabs(out->x) <= COORDINATE_LIMIT && fabs(out->y) <= COORDINATE_LIMIT))
        return fail_at(p, "a coordinate is NaN, infinite or more than %.0f pixels away", COORDINATE_LIMIT);
    return CDU_OK;
}

/* Rings of fewer than three different points cover nothing and come out with count 0. */
static cdu_status read_ring(const place *p, const json_t *positions, cdu_ring *out)
{
    *out = (cdu_ring){0};
    if (!json_is_array(positions)) return fail_at(p, "a ring must be an array of positions");
    size_t count = json_array_size(positions);
    CDU_TRY(cdu_allocate(&out->points, count, sizeof *out->points, p->error));
    for (size_t i = 0; i < count; i++) {
        cdu_point point;
        CDU_TRY(read_point(p, json_array_get(positions, i), &point));
        if (out->count && out->points[out->count - 1].x == point.x && out->points[out->count - 1].y == point.y) continue;
        out->points[out->count++] = point;
    }
    while (out->count > 1 && out->points[out->count - 1].x == out->points[0].x &&
           out->points[out->count - 1].y == out->points[0].y)
        out->count--;
    if (out->count < 3) out->count = 0;
    return CDU_OK;
}

static cdu_status add_polygon(const place *p, const json_t *rings, cdu_annotation *to, size_t *capacity)
{
    if (!json_is_array(rings)) return fail_at(p, "a polygon's coordinates must be an array of rings");
    size_t count = json_array_size(rings);
    if (!count) return CDU_OK;
    CDU_TRY(cdu_grow(&to->polygons, capacity, to->count + 1, sizeof *to->polygons, p->error));
    cdu_polygon *polygon = &to->polygons[to->count++];
    *polygon = (cdu_polygon){0};
    CDU_TRY(cdu_allocate(&polygon->rings, count, sizeof *polygon->rings, p->error));
    for (size_t i = 0; i < count; i++) {
        cdu_ring *ring = &polygon->rings[polygon->count++];
        CDU_TRY(read_ring(p, json_array_get(rings, i), ring));
        if (ring->count) continue;
        free(ring->points);
        *ring = (cdu_ring){0};
        polygon->count--;
        if (i == 0) break; /* an outline that covers nothing has no holes either */
    }
    if (!polygon->count) {
        free(polygon->rings);
        to->count--;
    }
    return CDU_OK;
}

static cdu_status read_geometry(const place *p, const json_t *geometry, int depth, cdu_annotation *to, size_t *capacity)
{
    if (json_is_null(geometry)) return CDU_OK;
    const char *type = json_string_value(json_object_get(geometry, "type"));
    if (!type) return fail_at(p, "the geometry has no type");
    const json_t *coordinates = json_object_get(geometry, "coordinates");
    if (!strcmp(type, "Polygon")) return add_polygon(p, coordinates, to, capacity);
    if (!strcmp(type, "MultiPolygon")) {
        if (!json_is_array(coordinates)) return fail_at(p, "a MultiPolygon's coordinates must be an array of polygons");
        for (size_t i = 0; i < json_array_size(coordinates); i++)
            CDU_TRY(add_polygon(p, json_array_get(coordinates, i), to, capacity));
        return CDU_OK;
    }
    if (!strcmp(type, "GeometryCollection")) {
        const json_t *parts = json_object_get(geometry, "geometries");
        if (!json_is_array(parts)) return fail_at(p, "a GeometryCollection needs an array 'geometries'");
        if (depth >= GEOMETRY_DEPTH) return fail_at(p, "GeometryCollections are nested deeper than %d", GEOMETRY_DEPTH);
        for (size_t i = 0; i < json_array_size(parts); i++)
            CDU_TRY(read_geometry(p, json_array_get(parts, i), depth + 1, to, capacity));
        return CDU_OK;
    }
    static const char *const flat[] = {"Point", "MultiPoint", "LineString", "MultiLineString"};
    for (size_t i = 0; i < sizeof flat / sizeof *flat; i++)
        if (!strcmp(type, flat[i])) return CDU_OK;
    return fail_at(p, "unknown geometry type '%.60s'", type);
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

static cdu_status read_class(const place *p, const json_t *properties, cdu_annotation *to)
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
        if (!name) return fail_at(p, "the classification has neither 'name' nor 'names'");
        read_color(class_of, to->color);
    } else if (class_of && !json_is_null(class_of)) {
        return fail_at(p, "the classification must be a text or an object with 'name' or 'names'");
    } else {
        static const char *const keys[] = {"label", "group"};
        for (size_t i = 0; i < 2 && !name; i++) {
            const json_t *value = json_object_get(properties, keys[i]);
            if (json_is_object(value)) value = json_object_get(value, "value");
            name = json_string_value(value);
        }
    }
    return cdu_copy_text(&to->class_name, name ? name : "", p->error);
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

static cdu_status read_feature(const place *p, const json_t *feature, cdu_annotations *out, size_t *capacity)
{
    const char *type = json_string_value(json_object_get(feature, "type"));
    if (!type || strcmp(type, "Feature") != 0)
        return fail_at(p, "is of type '%.60s' where 'Feature' must stand", type ? type : "(none)");
    const json_t *properties = json_object_get(feature, "properties"), *geometry = json_object_get(feature, "geometry");
    if (properties && !json_is_null(properties) && !json_is_object(properties)) return fail_at(p, "'properties' must be an object");
    if (!geometry) return fail_at(p, "has no geometry");
    CDU_TRY(cdu_grow(&out->items, capacity, out->count + 1, sizeof *out->items, p->error));
    cdu_annotation *to = &out->items[out->count++];
    *to = (cdu_annotation){.line = p->line, .is_annotation = is_annotation(feature, properties)};
    size_t polygons = 0;
    CDU_TRY(read_class(p, properties, to));
    CDU_TRY(read_geometry(p, geometry, 0, to, &polygons));
    if (to->count) return CDU_OK;
    free(to->class_name);
    free(to->polygons);
    *to = (cdu_annotation){0};
    out->count--;
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

static cdu_status read_root(const char *name, const json_t *root, const line_table *lines, cdu_annotations *out, cdu_error *error)
{
    place p = {.name = name, .number = 1, .error = error};
    size_t capacity = 0;
    const json_t *features = root;
    if (json_is_object(root)) {
        const char *type = json_string_value(json_object_get(root, "type"));
        features = json_object_get(root, "features");
        if (type && !strcmp(type, "Feature")) {
            p.line = 1;
            return read_feature(&p, root, out, &capacity);
        }
        if (!type || strcmp(type, "FeatureCollection") != 0 || !json_is_array(features))
            return cdu_fail(error, CDU_BAD_DATA, "%s:1: is no GeoJSON of features: it must hold a FeatureCollection, a Feature or an "
                            "array of Features, but its type is '%.60s'", name, type ? type : "(none)");
    }
    for (size_t i = 0; i < json_array_size(features); i++) {
        p.number = i + 1;
        p.line = lines->count == json_array_size(features) ? lines->lines[i] : 0;
        CDU_TRY(read_feature(&p, json_array_get(features, i), out, &capacity));
    }
    return CDU_OK;
}

cdu_status cdu_annotations_parse(const char *name, const char *text, size_t size, cdu_annotations *out, cdu_error *error)
{
    *out = (cdu_annotations){0};
    if (size >= 3 && !memcmp(text, "\xef\xbb\xbf", 3)) {
        text += 3;
        size -= 3;
    }
    char *copy = NULL;
    CDU_TRY(replace_nan(&text, size, &copy, error));
    json_error_t about;
    json_t *root = json_loadb(text, size, JSON_DECODE_INT_AS_REAL, &about);
    line_table lines = {0};
    cdu_status status;
    if (!root) status = cdu_fail(error, CDU_BAD_DATA, "%s:%d: broken JSON at column %d: %s", name, about.line, about.column, about.text);
    else status = find_lines(text, size, &lines, error);
    if (status == CDU_OK) status = read_root(name, root, &lines, out, error);
    if (status != CDU_OK) cdu_annotations_free(out);
    free(lines.lines);
    free(copy);
    json_decref(root);
    return status;
}

/* Inflates gzip of one or more members into *out, at most TEXT_LIMIT bytes. */
static cdu_status inflate_text(const char *name, const char *packed, size_t packed_size, char **out, size_t *size, cdu_error *error)
{
    z_stream stream = {.next_in = (Bytef *)(uintptr_t)packed, .avail_in = (uInt)packed_size};
    if (inflateInit2(&stream, 15 + 16) != Z_OK) return cdu_fail(error, CDU_TRY_AGAIN, "%s: no memory to unpack it", name);
    size_t capacity = 0;
    *out = NULL;
    *size = 0;
    cdu_status status = CDU_OK;
    for (;;) {
        status = cdu_grow(out, &capacity, *size + 65536, 1, error);
        if (status != CDU_OK) break;
        uInt room = capacity - *size > 1u << 30 ? 1u << 30 : (uInt)(capacity - *size);
        stream.next_out = (Bytef *)*out + *size;
        stream.avail_out = room;
        int result = inflate(&stream, Z_NO_FLUSH);
        *size += room - stream.avail_out;
        if (*size > TEXT_LIMIT) {
            status = cdu_fail(error, CDU_BAD_DATA, "%s: unpacks to more than %u MiB", name, TEXT_LIMIT >> 20);
        } else if (result == Z_STREAM_END) {
            if (!stream.avail_in) break;
            if (inflateReset(&stream) == Z_OK) continue;
            status = cdu_fail(error, CDU_BAD_DATA, "%s: is broken gzip", name);
        } else if (result != Z_OK || (!stream.avail_in && stream.avail_out)) {
            status = cdu_fail(error, CDU_BAD_DATA, "%s: is broken or cut-off gzip: %s", name, stream.msg ? stream.msg : "its end is missing");
        }
        if (status != CDU_OK) break;
    }
    inflateEnd(&stream);
    if (status != CDU_OK) {
        free(*out);
        *out = NULL;
    }
    return status;
}

cdu_status cdu_annotations_read(const char *path, cdu_annotations *out, cdu_error *error)
{
    *out = (cdu_annotations){0};
    char *text, *packed;
    size_t size, packed_size;
    CDU_TRY(cdu_file_read(path, TEXT_LIMIT, &text, &size, error));
    if (size >= 2 && (uint8_t)text[0] == 0x1f && (uint8_t)text[1] == 0x8b) {
        packed = text;
        packed_size = size;
        cdu_status status = inflate_text(path, packed, packed_size, &text, &size, error);
        free(packed);
        if (status != CDU_OK) return status;
    }
    cdu_status status = cdu_annotations_parse(path, text, size, out, error);
    free(text);
    return status;
}

/* ---- writing ---- */

typedef struct {
    char *text;
    size_t size, capacity;
    cdu_error *error;
} buffer;

static cdu_status put(buffer *b, const char *text)
{
    size_t length = strlen(text);
    CDU_TRY(cdu_grow(&b->text, &b->capacity, b->size + length + 1, 1, b->error));
    memcpy(b->text + b->size, text, length + 1);
    b->size += length;
    return CDU_OK;
}

/* Up to two decimals. Not printf's %f, which follows the locale. */
static int format_coordinate(char *out, size_t room, double value)
{
    long long hundredths = llround(value * 100);
    unsigned long long magnitude = hundredths < 0 ? 0ULL - (unsigned long long)hundredths : (unsigned long long)hundredths;
    const char *sign = hundredths < 0 ? "-" : "";
    unsigned rest = (unsigned)(magnitude % 100);
    if (rest == 0) return snprintf(out, room, "%s%llu", sign, magnitude / 100);
    if (rest % 10 == 0) return snprintf(out, room, "%s%llu.%u", sign, magnitude / 100, rest / 10);
    return snprintf(out, room, "%s%llu.%02u", sign, magnitude / 100, rest);
}

static cdu_status put_point(buffer *b, cdu_point point, bool comma)
{
    char x[40], y[40], text[96];
    format_coordinate(x, sizeof x, point.x);
    format_coordinate(y, sizeof y, point.y);
    snprintf(text, sizeof text, "%s[%s,%s]", comma ? "," : "", x, y);
    return put(b, text);
}

static cdu_status put_polygon(buffer *b, const cdu_polygon *polygon)
{
    CDU_TRY(put(b, "["));
    for (size_t r = 0; r < polygon->count; r++) {
        CDU_TRY(put(b, r ? ",[" : "["));
        for (size_t i = 0; i < polygon->rings[r].count; i++) CDU_TRY(put_point(b, polygon->rings[r].points[i], i > 0));
        if (polygon->rings[r].count) CDU_TRY(put_point(b, polygon->rings[r].points[0], true)); /* GeoJSON closes its rings */
        CDU_TRY(put(b, "]"));
    }
    return put(b, "]");
}

static cdu_status put_properties(buffer *b, const cdu_annotation *item)
{
    CDU_TRY(put(b, ",\"properties\":{\"objectType\":"));
    CDU_TRY(put(b, item->is_annotation ? "\"annotation\"" : "\"detection\""));
    if (!item->class_name || !item->class_name[0]) return put(b, "}}");
    json_t *text = json_string(item->class_name);
    char *quoted = text ? json_dumps(text, JSON_ENCODE_ANY) : NULL, color[64];
    json_decref(text);
    if (!quoted) return cdu_fail(b->error, CDU_BAD_DATA, "class name '%.60s' is not UTF-8", item->class_name);
    snprintf(color, sizeof color, ",\"color\":[%d,%d,%d]}}}", item->color[0], item->color[1], item->color[2]);
    cdu_status status = put(b, ",\"classification\":{\"name\":");
    if (status == CDU_OK) status = put(b, quoted);
    if (status == CDU_OK) status = put(b, color);
    free(quoted);
    return status;
}

static cdu_status put_feature(buffer *b, const cdu_annotation *item, uint64_t seed, size_t number)
{
    cdu_random stream = cdu_random_stream(seed, CDU_RANDOM_IDENTITY, (uint32_t)number, (uint32_t)((uint64_t)number >> 32));
    uint32_t w[4];
    for (int i = 0; i < 4; i++) w[i] = cdu_random_u32(&stream);
    char head[160];
    /* version 4, variant 1 of RFC 4122 */
    snprintf(head, sizeof head, "{\"type\":\"Feature\",\"id\":\"%08x-%04x-4%03x-%04x-%04x%08x\",\"geometry\":{\"type\":\"%s\",\"coordinates\":",
             w[0], w[1] >> 16, w[1] & 0xfff, 0x8000 | (w[2] >> 16 & 0x3fff), w[2] & 0xffff, w[3],
             item->count == 1 ? "Polygon" : "MultiPolygon");
    CDU_TRY(put(b, head));
    if (item->count != 1) CDU_TRY(put(b, "["));
    for (size_t i = 0; i < item->count; i++) {
        if (i) CDU_TRY(put(b, ","));
        CDU_TRY(put_polygon(b, &item->polygons[i]));
    }
    CDU_TRY(put(b, item->count != 1 ? "]}" : "}"));
    return put_properties(b, item);
}

static cdu_status put_all(buffer *b, const cdu_annotations *annotations, uint64_t seed)
{
    CDU_TRY(put(b, "{\"type\":\"FeatureCollection\",\"features\":["));
    for (size_t i = 0; i < annotations->count; i++) {
        CDU_TRY(put(b, i ? ",\n" : "\n"));
        CDU_TRY(put_feature(b, &annotations->items[i], seed, i));
    }
    return put(b, "\n]}\n");
}

cdu_status cdu_annotations_write(const char *path, const cdu_annotations *annotations, uint64_t seed, cdu_error *error)
{
    buffer b = {.error = error};
    cdu_status status = put_all(&b, annotations, seed);
    if (status == CDU_OK) status = cdu_file_write(path, b.text, b.size, error);
    free(b.text);
    return status;
}
