/* safetensors.h: the file format alone, without knowing models. */
#ifndef CDU_MODEL_SAFETENSORS_H
#define CDU_MODEL_SAFETENSORS_H

#include <stddef.h>
#include <stdint.h>

#include "cdunet/error.h"

typedef enum { CDU_SAFE_F32, CDU_SAFE_I64, CDU_SAFE_U64, CDU_SAFE_U8 } cdu_safe_type;
typedef struct { char *name; cdu_safe_type type; uint64_t dims[8]; uint32_t rank; const void *data; uint64_t bytes; } cdu_safe_tensor;
typedef struct { char *key, *value; } cdu_safe_entry;
typedef struct {
    cdu_safe_tensor *tensors; size_t tensor_count;
    cdu_safe_entry *metadata; size_t metadata_count;
    char *memory;                              /* the file's bytes, which tensors point into; null when written by the caller */
} cdu_safe_file;

/* Refuses, with the byte offset or the tensor's name: a header longer than the file or 100 MB, broken or deep JSON, duplicate names, unknown
 * types, shapes that overflow or disagree with their bytes, offsets that overlap, leave holes or pass the end, trailing bytes. */
cdu_status cdu_safe_read(const char *path, cdu_safe_file *out, cdu_error *error);
/* From memory that stays the caller's (for the fuzzer). */
cdu_status cdu_safe_parse(const char *name, const char *bytes, size_t size, cdu_safe_file *out, cdu_error *error);
/* Atomic. Equal content gives equal bytes. */
cdu_status cdu_safe_write(const char *path, const cdu_safe_file *file, cdu_error *error);
void cdu_safe_free(cdu_safe_file *file);
const char *cdu_safe_metadata(const cdu_safe_file *file, const char *key);

#endif
