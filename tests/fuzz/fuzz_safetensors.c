/* fuzz_safetensors.c: any bytes as a safetensors file: refused with words, or a valid file whose tensors lie within the bytes. */
#include <stdint.h>
#include <stdlib.h>

#include "core/model/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    cdu_safe_file file;
    cdu_error error = {0};
    if (cdu_safe_parse("fuzz", (const char *)data, size, &file, &error) != CDU_OK) {
        if (!error.words[0]) abort();
        return 0;
    }
    for (size_t i = 0; i < file.tensor_count; i++) {
        const char *begin = file.tensors[i].data, *bytes = (const char *)data;
        if (begin < bytes || file.tensors[i].bytes > size || begin + file.tensors[i].bytes > bytes + size) abort();
    }
    cdu_safe_verify(&file, "fuzz", true, &error);
    cdu_safe_free(&file);
    return 0;
}
