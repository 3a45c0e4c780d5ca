/* write.c: annotations as a GeoJSON FeatureCollection that QuPath opens. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/base/memory.h"
#include "core/base/random.h"
#include "core/slide/annotation.h"

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
