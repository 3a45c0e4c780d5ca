/* read.c: an annotation file of whatever format: unpacked where it is gzip, told by its first bytes, read by the format's own file. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "core/base/file.h"
#include "core/base/memory.h"
#include "core/slide/annotation/format.h"

#define TEXT_LIMIT (256u << 20)

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

cdu_status cdu_annotations_parse(const char *name, const char *text, size_t size, cdu_annotations *out, cdu_error *error)
{
    *out = (cdu_annotations){0};
    cdu_annotation_build b = {.name = name, .unit = "item", .out = out, .error = error};
    size_t first = size >= 3 && !memcmp(text, "\xef\xbb\xbf", 3) ? 3 : 0;
    size_t seen = first;
    while (seen < size && (text[seen] == ' ' || text[seen] == '\t' || text[seen] == '\r' || text[seen] == '\n')) seen++;
    /* expat knows the byte order marks of UTF-16 itself */
    bool xml = size - seen >= 2 && (text[seen] == '<' || !memcmp(text, "\xff\xfe", 2) || !memcmp(text, "\xfe\xff", 2));
    cdu_status status = xml ? cdu_xml_read(&b, text, size) : cdu_geojson_read(&b, text + first, size - first);
    if (status != CDU_OK) cdu_annotations_free(out);
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

