/* safetensors.c: the file format alone. Reading trusts nothing: the header's brackets are counted before jansson sees it, and every tensor
 * must lie exactly where the sum of those before it says. Types other than those written here are refused. */
#include "core/model/safetensors.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "core/base/file.h"
#include "core/base/memory.h"

enum { HEADER_LIMIT = 100000000, TENSOR_LIMIT = 65536, DEPTH_LIMIT = 3, RANK_LIMIT = 8 };
static const uint64_t file_limit = (uint64_t)16 << 30;
static const char metadata_key[] = "__metadata__", checksum_key[] = "checksum";
static const struct {
    const char *name;
    uint32_t bytes;
} types[] = {[CDU_SAFE_F32] = {"F32", 4}, [CDU_SAFE_I64] = {"I64", 8}, [CDU_SAFE_U64] = {"U64", 8}, [CDU_SAFE_U8] = {"U8", 1}};
enum { TYPES = sizeof types / sizeof *types };

void cdu_safe_free(cdu_safe_file *file)
{
    for (size_t i = 0; i < file->tensor_count; i++) free(file->tensors[i].name);
    for (size_t i = 0; i < file->metadata_count; i++) {
        free(file->metadata[i].key);
        free(file->metadata[i].value);
    }
    free(file->tensors);
    free(file->metadata);
    free(file->memory);
    *file = (cdu_safe_file){0};
}

const char *cdu_safe_metadata(const cdu_safe_file *file, const char *key)
{
    for (size_t i = 0; i < file->metadata_count; i++)
        if (!strcmp(file->metadata[i].key, key)) return file->metadata[i].value;
    return NULL;
}

const cdu_safe_tensor *cdu_safe_find(const cdu_safe_file *file, const char *name)
{
    for (size_t i = 0; i < file->tensor_count; i++)
        if (!strcmp(file->tensors[i].name, name)) return &file->tensors[i];
    return NULL;
}

/* The array grows by powers of two, counted from its length, so that no capacity needs a place in the public struct. */
static cdu_status room_for_one(void *array, size_t count, size_t size, cdu_error *error)
{
    if (count & (count - 1)) return CDU_OK;
    size_t capacity = count;
    return cdu_grow(array, &capacity, count ? 2 * count : 1, size, error);
}

cdu_status cdu_safe_add(cdu_safe_file *file, const char *name, cdu_safe_type type, const uint64_t *dims, uint32_t rank,
                        const void *data, cdu_error *error)
{
    if (rank > RANK_LIMIT) return cdu_fail(error, CDU_FAILED, "tensor %s has %u dimensions, more than %d", name, rank, RANK_LIMIT);
    CDU_TRY(room_for_one(&file->tensors, file->tensor_count, sizeof *file->tensors, error));
    cdu_safe_tensor tensor = {.type = type, .rank = rank, .data = data, .bytes = types[type].bytes};
    for (uint32_t i = 0; i < rank; i++) {
        tensor.dims[i] = dims[i];
        if (__builtin_mul_overflow(tensor.bytes, dims[i], &tensor.bytes))
            return cdu_fail(error, CDU_BAD_DATA, "tensor '%.80s': the product of its shape overflows", name);
    }
    CDU_TRY(cdu_copy_text(&tensor.name, name, error));
    file->tensors[file->tensor_count++] = tensor;
    return CDU_OK;
}

static cdu_status append_entry(cdu_safe_file *file, const char *key, const char *value, cdu_error *error)
{
    CDU_TRY(room_for_one(&file->metadata, file->metadata_count, sizeof *file->metadata, error));
    cdu_safe_entry entry = {0};
    CDU_TRY(cdu_copy_text(&entry.key, key, error));
    if (cdu_copy_text(&entry.value, value, error) != CDU_OK) return free(entry.key), CDU_TRY_AGAIN;
    file->metadata[file->metadata_count++] = entry;
    return CDU_OK;
}

cdu_status cdu_safe_set(cdu_safe_file *file, const char *key, const char *value, cdu_error *error)
{
    for (size_t i = 0; i < file->metadata_count; i++) {
        if (strcmp(file->metadata[i].key, key) != 0) continue;
        char *copy;
        CDU_TRY(cdu_copy_text(&copy, value, error));
        free(file->metadata[i].value);
        file->metadata[i].value = copy;
        return CDU_OK;
    }
    return append_entry(file, key, value, error);
}

/* Brackets nest at most DEPTH_LIMIT deep and there are few enough of them; jansson checks all else. */
static cdu_status check_brackets(const char *name, const char *header, size_t length, cdu_error *error)
{
    size_t objects = 0;
    int depth = 0;
    bool text = false;
    for (size_t i = 0; i < length; i++) {
        char c = header[i];
        if (text) {
            if (c == '\\')
                i++;
            else if (c == '"')
                text = false;
            continue;
        }
        if (c == '"') text = true;
        if (c == '{' && ++objects > TENSOR_LIMIT)
            return cdu_fail(error, CDU_BAD_DATA, "%s: byte %zu: more than %d tensors", name, i + 8, TENSOR_LIMIT);
        if ((c == '{' || c == '[') && ++depth > DEPTH_LIMIT)
            return cdu_fail(error, CDU_BAD_DATA, "%s: byte %zu: the header nests deeper than %d", name, i + 8, DEPTH_LIMIT);
        if (c == '}' || c == ']') depth--;
    }
    return CDU_OK;
}

static cdu_status whole_number(const json_t *value, uint64_t *out)
{
    if (!json_is_integer(value) || json_integer_value(value) < 0) return CDU_BAD_DATA;
    *out = (uint64_t)json_integer_value(value);
    return CDU_OK;
}

static cdu_status read_tensor(const char *file, const char *name, const json_t *entry, const char *data, uint64_t size,
                              uint64_t *begin, cdu_safe_file *out, cdu_error *error)
{
    const json_t *type = json_object_get(entry, "dtype"), *shape = json_object_get(entry, "shape");
    const json_t *offsets = json_object_get(entry, "data_offsets");
    if (!json_is_string(type) || !json_is_array(shape) || json_array_size(offsets) != 2 || json_object_size(entry) != 3)
        return cdu_fail(error, CDU_BAD_DATA, "%s: tensor '%.80s' has not just dtype, shape and two data_offsets", file, name);
    int kind = 0;
    while (kind < TYPES && strcmp(types[kind].name, json_string_value(type)) != 0) kind++;
    if (kind == TYPES)
        return cdu_fail(error, CDU_BAD_DATA, "%s: tensor '%.80s' is of type '%.20s'; F32, I64, U64 and U8 are known", file, name,
                        json_string_value(type));
    if (json_array_size(shape) > RANK_LIMIT)
        return cdu_fail(error, CDU_BAD_DATA, "%s: tensor '%.80s' has %zu dimensions, more than %d", file, name,
                        json_array_size(shape), RANK_LIMIT);
    uint64_t dims[RANK_LIMIT], from, to;
    for (size_t i = 0; i < json_array_size(shape); i++)
        if (whole_number(json_array_get(shape, i), &dims[i]) != CDU_OK)
            return cdu_fail(error, CDU_BAD_DATA, "%s: tensor '%.80s': dimension %zu is no whole number", file, name, i);
    if (whole_number(json_array_get(offsets, 0), &from) != CDU_OK || whole_number(json_array_get(offsets, 1), &to) != CDU_OK ||
        from > to || to > size)
        return cdu_fail(error, CDU_BAD_DATA, "%s: tensor '%.80s': its data_offsets do not lie within the %" PRIu64 " bytes of data",
                        file, name, size);
    cdu_status status = cdu_safe_add(out, name, (cdu_safe_type)kind, dims, (uint32_t)json_array_size(shape), data + from, error);
    if (status != CDU_OK) return error ? cdu_error_prefix(error, "%s", file) : status;
    if (out->tensors[out->tensor_count - 1].bytes != to - from)
        return cdu_fail(error, CDU_BAD_DATA, "%s: tensor '%.80s' has %" PRIu64 " bytes, its shape needs %" PRIu64, file, name,
                        to - from, out->tensors[out->tensor_count - 1].bytes);
    *begin = from;
    return CDU_OK;
}

typedef struct {
    uint64_t begin, end;
    const char *name;
} extent;

static int compare_extents(const void *a, const void *b)
{
    const extent *x = a, *y = b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    return (x->end > y->end) - (x->end < y->end);
}

/* Data must be covered once, from the first byte to the last. */
static cdu_status check_cover(const char *file, extent *extents, size_t count, uint64_t size, cdu_error *error)
{
    uint64_t at = 0;
    qsort(extents, count, sizeof *extents, compare_extents);
    for (size_t i = 0; i < count; i++) {
        if (extents[i].begin != at)
            return cdu_fail(error, CDU_BAD_DATA,
                            "%s: tensor '%.80s' begins at data byte %" PRIu64 ", which %s the tensor before it, ending at %" PRIu64,
                            file, extents[i].name, extents[i].begin, extents[i].begin < at ? "overlaps" : "leaves a hole behind",
                            at);
        at = extents[i].end;
    }
    if (at == size) return CDU_OK;
    return cdu_fail(error, CDU_BAD_DATA, "%s: %" PRIu64 " bytes behind the last tensor's end at data byte %" PRIu64, file,
                    size - at, at);
}

static cdu_status read_metadata(const char *file, json_t *entries, cdu_safe_file *out, cdu_error *error)
{
    const char *key;
    json_t *value;
    if (!json_is_object(entries)) return cdu_fail(error, CDU_BAD_DATA, "%s: __metadata__ is not an object", file);
    json_object_foreach(entries, key, value)
    {
        if (!json_is_string(value)) return cdu_fail(error, CDU_BAD_DATA, "%s: __metadata__ '%.80s' is not a string", file, key);
        CDU_TRY(append_entry(out, key, json_string_value(value), error)); /* jansson has refused a key that is there twice */
    }
    return CDU_OK;
}

static cdu_status read_header(const char *file, json_t *root, const char *data, uint64_t size, cdu_safe_file *out, cdu_error *error)
{
    extent *extents;
    const char *key;
    json_t *value;
    if (!json_is_object(root)) return cdu_fail(error, CDU_BAD_DATA, "%s: byte 8: the header is not a JSON object", file);
    CDU_TRY(cdu_allocate(&extents, json_object_size(root) + 1, sizeof *extents, error));
    cdu_status status = CDU_OK;
    json_object_foreach(root, key, value)
    {
        uint64_t begin = 0;
        if (!strcmp(key, metadata_key)) {
            status = read_metadata(file, value, out, error);
        } else if ((status = read_tensor(file, key, value, data, size, &begin, out, error)) == CDU_OK) {
            const cdu_safe_tensor *tensor = &out->tensors[out->tensor_count - 1];
            extents[out->tensor_count - 1] = (extent){begin, begin + tensor->bytes, key};
        }
        if (status != CDU_OK) break;
    }
    if (status == CDU_OK) status = check_cover(file, extents, out->tensor_count, size, error);
    free(extents);
    return status;
}

cdu_status cdu_safe_parse(const char *name, const char *bytes, size_t size, cdu_safe_file *out, cdu_error *error)
{
    *out = (cdu_safe_file){0};
    if (size < 8) return cdu_fail(error, CDU_BAD_DATA, "%s: %zu bytes are too few for a safetensors file", name, size);
    uint64_t length = 0;
    for (int i = 7; i >= 0; i--) length = length << 8 | (unsigned char)bytes[i];
    if (length > HEADER_LIMIT || length > size - 8)
        return cdu_fail(error, CDU_BAD_DATA,
                        "%s: byte 0: the header's length, %" PRIu64 ", is more than the file has (%zu) or may have (%d)", name,
                        length, size - 8, HEADER_LIMIT);
    CDU_TRY(check_brackets(name, bytes + 8, (size_t)length, error));
    json_error_t fault;
    json_t *root = json_loadb(bytes + 8, (size_t)length, JSON_REJECT_DUPLICATES, &fault);
    if (!root)
        return cdu_fail(error, CDU_BAD_DATA, "%s: byte %d: the header is broken: %.120s", name, fault.position + 8, fault.text);
    cdu_status status = read_header(name, root, bytes + 8 + length, size - 8 - length, out, error);
    json_decref(root);
    if (status != CDU_OK) cdu_safe_free(out);
    return status;
}

cdu_status cdu_safe_read(const char *path, cdu_safe_file *out, cdu_error *error)
{
    char *bytes;
    size_t size;
    *out = (cdu_safe_file){0};
    CDU_TRY(cdu_file_read(path, file_limit, &bytes, &size, error));
    cdu_status status = cdu_safe_parse(path, bytes, size, out, error);
    if (status == CDU_OK)
        out->memory = bytes;
    else
        free(bytes);
    return status;
}

static json_t *shape_and_place(const cdu_safe_tensor *tensor, uint64_t begin)
{
    json_t *shape = json_array();
    for (uint32_t i = 0; i < tensor->rank; i++) json_array_append_new(shape, json_integer((json_int_t)tensor->dims[i]));
    return json_pack("{s:s, s:o, s:[I, I]}", "dtype", types[tensor->type].name, "shape", shape, "data_offsets", (json_int_t)begin,
                     (json_int_t)(begin + tensor->bytes));
}

/* Visits tensors in the order in which their data stand in the file. */
static const cdu_safe_tensor *in_file_order(const cdu_safe_file *file, size_t *state)
{
    while (*state < 2 * file->tensor_count) {
        const cdu_safe_tensor *tensor = &file->tensors[*state % file->tensor_count];
        bool wide = types[tensor->type].bytes == 8, first_round = (*state)++ < file->tensor_count;
        if (wide == first_round) return tensor;
    }
    return NULL;
}

static cdu_status header_text(const cdu_safe_file *file, char **out, cdu_error *error)
{
    json_t *root = json_object(), *metadata = json_object();
    int broken = 0;
    for (size_t i = 0; i < file->metadata_count; i++)
        broken |= json_object_set_new(metadata, file->metadata[i].key, json_string(file->metadata[i].value));
    broken |= json_object_set_new(root, metadata_key, metadata);
    uint64_t begin = 0;
    size_t state = 0;
    for (const cdu_safe_tensor *tensor; (tensor = in_file_order(file, &state)); begin += tensor->bytes)
        broken |= json_object_set_new(root, tensor->name, shape_and_place(tensor, begin));
    bool twice = json_object_size(root) != file->tensor_count + 1;
    *out = broken ? NULL : json_dumps(root, JSON_COMPACT);
    json_decref(root);
    if (twice && *out) {
        free(*out);
        return cdu_fail(error, CDU_FAILED, "two tensors of one name in a file to be written");
    }
    return *out ? CDU_OK : cdu_fail(error, CDU_FAILED, "a header cannot be written: names and metadata must be UTF-8");
}

cdu_status cdu_safe_write(const char *path, const cdu_safe_file *file, cdu_error *error)
{
    char *text, *bytes;
    CDU_TRY(header_text(file, &text, error));
    size_t used = strlen(text), length = (used + 7) / 8 * 8;
    uint64_t size = 8 + length;
    for (size_t i = 0; i < file->tensor_count; i++) size += file->tensors[i].bytes;
    cdu_status status = cdu_allocate(&bytes, size, 1, error);
    if (status == CDU_OK) {
        for (int i = 0; i < 8; i++) bytes[i] = (char)((uint64_t)length >> (8 * i));
        memcpy(bytes + 8, text, used);
        memset(bytes + 8 + used, ' ', length - used);
        char *at = bytes + 8 + length;
        size_t state = 0;
        for (const cdu_safe_tensor *tensor; (tensor = in_file_order(file, &state)); at += tensor->bytes)
            if (tensor->bytes) memcpy(at, tensor->data, tensor->bytes);
        status = cdu_file_write(path, bytes, size, error);
        free(bytes);
    }
    free(text);
    return status;
}

/* Independent of the order of tensors: it changes between memory and file. */
static uint64_t checksum(const cdu_safe_file *file)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < file->tensor_count; i++) {
        const cdu_safe_tensor *tensor = &file->tensors[i];
        uint64_t shape[RANK_LIMIT + 2] = {tensor->type, tensor->rank};
        memcpy(shape + 2, tensor->dims, tensor->rank * sizeof *shape);
        uint64_t hash = XXH3_64bits_withSeed(tensor->name, strlen(tensor->name), 1);
        hash = XXH3_64bits_withSeed(shape, sizeof shape, hash);
        sum += XXH3_64bits_withSeed(tensor->data, tensor->bytes, hash);
    }
    for (size_t i = 0; i < file->metadata_count; i++) {
        const cdu_safe_entry *entry = &file->metadata[i];
        if (!strcmp(entry->key, checksum_key)) continue;
        uint64_t hash = XXH3_64bits_withSeed(entry->key, strlen(entry->key), 2);
        sum += XXH3_64bits_withSeed(entry->value, strlen(entry->value), hash);
    }
    return sum;
}

cdu_status cdu_safe_seal(cdu_safe_file *file, cdu_error *error)
{
    char text[20];
    snprintf(text, sizeof text, "%016" PRIx64, checksum(file));
    return cdu_safe_set(file, checksum_key, text, error);
}

cdu_status cdu_safe_verify(const cdu_safe_file *file, const char *name, bool required, cdu_error *error)
{
    char text[20];
    const char *there = cdu_safe_metadata(file, checksum_key);
    if (!there) return required ? cdu_fail(error, CDU_BAD_DATA, "%s: has no checksum in its metadata", name) : CDU_OK;
    snprintf(text, sizeof text, "%016" PRIx64, checksum(file));
    if (!strcmp(text, there)) return CDU_OK;
    return cdu_fail(error, CDU_BAD_DATA, "%s: its checksum is %s, but should be %.20s: the file is damaged", name, text, there);
}
