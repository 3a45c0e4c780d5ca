/* fuzz_asap.c: any bytes as XML of ASAP: whole files, and what does not begin as one as the inside of one. */
#include "fuzz/annotation_checks.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char begin[] = "<ASAP_Annotations>", end[] = "</ASAP_Annotations>";
    check_annotations((const char *)data, size);
    char *text = malloc(size + sizeof begin + sizeof end);
    if (!text) return 0;
    memcpy(text, begin, sizeof begin - 1);
    if (size) memcpy(text + sizeof begin - 1, data, size);
    memcpy(text + sizeof begin - 1 + size, end, sizeof end - 1);
    check_annotations(text, size + sizeof begin + sizeof end - 2);
    free(text);
    return 0;
}
