/* memory.c: checked allocation with a planted-fault counter. `out` and `array` are void * so that any pointer type can be
 * passed by address; the pointer is written with memcpy, which is free of aliasing trouble. */
#include "core/base/memory.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static atomic_uint_fast64_t allocations, failing;

static int planted_fault(void)
{
    uint_fast64_t now = atomic_fetch_add(&allocations, 1) + 1;
    return now == atomic_load(&failing);
}

void cdu_allocate_fail_at(uint64_t n)
{
    atomic_store(&failing, n ? atomic_load(&allocations) + n : 0);
}

uint64_t cdu_allocate_count(void)
{
    return atomic_load(&allocations);
}

cdu_status cdu_allocate(void *out, size_t count, size_t size, cdu_error *error)
{
    void *memory = NULL;
    if (size && count > SIZE_MAX / size)
        return cdu_fail(error, CDU_TRY_AGAIN, "%zu items of %zu bytes are more than this machine can address", count, size);
    if (!planted_fault()) memory = calloc(count ? count : 1, size ? size : 1);
    memcpy(out, &memory, sizeof memory);
    if (!memory) return cdu_fail(error, CDU_TRY_AGAIN, "out of memory: %zu bytes could not be had", count * size);
    return CDU_OK;
}

cdu_status cdu_grow(void *array, size_t *capacity, size_t needed, size_t size, cdu_error *error)
{
    if (needed <= *capacity) return CDU_OK;
    size_t wanted = *capacity + *capacity / 2 + 8;
    if (wanted < needed) wanted = needed;
    if (wanted > SIZE_MAX / size)
        return cdu_fail(error, CDU_TRY_AGAIN, "%zu items of %zu bytes are more than this machine can address", wanted, size);
    void *old, *memory = NULL;
    memcpy(&old, array, sizeof old);
    if (!planted_fault()) memory = realloc(old, wanted * size);
    if (!memory) return cdu_fail(error, CDU_TRY_AGAIN, "out of memory: %zu bytes could not be had", wanted * size);
    memset((char *)memory + *capacity * size, 0, (wanted - *capacity) * size);
    memcpy(array, &memory, sizeof memory);
    *capacity = wanted;
    return CDU_OK;
}

cdu_status cdu_copy_text(char **out, const char *text, cdu_error *error)
{
    size_t length = strlen(text) + 1;
    CDU_TRY(cdu_allocate(out, length, 1, error));
    memcpy(*out, text, length);
    return CDU_OK;
}

uint64_t cdu_memory_free(void)
{
    FILE *file = fopen("/proc/meminfo", "r");
    if (file) {
        char line[128];
        uint64_t kilobytes = 0;
        while (fgets(line, sizeof line, file))
            if (sscanf(line, "MemAvailable: %" SCNu64, &kilobytes) == 1) break;
        fclose(file);
        if (kilobytes) return kilobytes * 1024;
    }
#ifdef _SC_AVPHYS_PAGES
    long pages = sysconf(_SC_AVPHYS_PAGES), size = sysconf(_SC_PAGESIZE);
    if (pages > 0 && size > 0) return (uint64_t)pages * (uint64_t)size;
#endif
    return 0;
}
