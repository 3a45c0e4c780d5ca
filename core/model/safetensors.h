/* safetensors.h: the file format alone, without knowing models. */
#ifndef CDU_MODEL_SAFETENSORS_H
#define CDU_MODEL_SAFETENSORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cdunet/error.h"

typedef enum { CDU_SAFE_F32, CDU_SAFE_I64, CDU_SAFE_U64, CDU_SAFE_U8 } cdu_safe_type;
typedef struct {
    char *name;
    cdu_safe_type type;
    uint64_t dims[8];
    uint32_t rank;
    const void *data;
    uint64_t bytes;
} cdu_safe_tensor;
typedef struct {
    char *key, *value;
} cdu_safe_entry;
typedef struct {
    cdu_safe_tensor *tensors;
    size_t tensor_count;
    cdu_safe_entry *metadata;
    size_t metadata_count;
    char *memory; /* the file's bytes, which tensors point into; null when written by the caller */
} cdu_safe_file;

/* Refuses, with the byte offset or the tensor's name: a header longer than the file or 100 MB, broken or deep JSON, duplicate names, unknown
 * types, shapes that overflow or disagree with their bytes, offsets that overlap, leave holes or pass the end, trailing bytes. */
cdu_status cdu_safe_read(const char *path, cdu_safe_file *out, cdu_error *error);
/* From memory that stays the caller's (for the fuzzer). */
cdu_status cdu_safe_parse(const char *name, const char *bytes, size_t size, cdu_safe_file *out, cdu_error *error);
/* Atomic. Equal content gives equal bytes. The data of 8-byte types come first, so that all are aligned in the file. */
cdu_status cdu_safe_write(const char *path, const cdu_safe_file *file, cdu_error *error);
void cdu_safe_free(cdu_safe_file *file);
/* Null where there is no such key. */
const char *cdu_safe_metadata(const cdu_safe_file *file, const char *key);
/* Null where there is no such tensor. */
const cdu_safe_tensor *cdu_safe_find(const cdu_safe_file *file, const char *name);
/* For building a file to write: name, key and value are copied, data stay the caller's. */
cdu_status cdu_safe_add(cdu_safe_file *file, const char *name, cdu_safe_type type, const uint64_t *dims, uint32_t rank,
                        const void *data, cdu_error *error);
cdu_status cdu_safe_set(cdu_safe_file *file, const char *key, const char *value, cdu_error *error);

/* The metadata key "checksum" holds XXH3 (64 bits, hexadecimal) of all else: names, types, shapes, data, metadata. */
cdu_status cdu_safe_seal(cdu_safe_file *file, cdu_error *error);
/* CDU_BAD_DATA where the sum is there and wrong, or is missing and `required`. */
cdu_status cdu_safe_verify(const cdu_safe_file *file, const char *name, bool required, cdu_error *error);

#endif
