/* fuzz_geojson.c: any bytes as GeoJSON. */
#include "fuzz/annotation_checks.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_annotations((const char *)data, size);
    return 0;
}
