/* registry.c: the backends built in, the list of all their devices, and opening one by name. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/backend.h"
#include "backends/select.h"
#include "cdunet/log.h"
#include "core/base/memory.h"

extern const cdu_backend cdu_backend_opencl, cdu_backend_vulkan, cdu_backend_null;

const cdu_backend *const cdu_backends[] = {
#ifdef CDUNET_OPENCL
    &cdu_backend_opencl,
#endif
#ifdef CDUNET_VULKAN
    &cdu_backend_vulkan,
#endif
    &cdu_backend_null,
    NULL,
};

typedef struct {
    cdu_device_row *rows;
    size_t count, room;
} table;

static cdu_status append(const cdu_backend *backend, table *t, char *missing, size_t missing_size, cdu_error *error)
{
    cdu_device_info *infos;
    uint32_t room = 64, count = 64;
    CDU_TRY(cdu_allocate(&infos, room, sizeof *infos, error));
    cdu_error why = {0};
    cdu_status status = backend->enumerate(infos, &count, &why);
    if (status != CDU_OK) {
        cdu_log(CDU_LOG_DEBUG, "%s: %s", backend->name, why.words);
        size_t used = missing ? strlen(missing) : 0;
        if (missing) snprintf(missing + used, missing_size - used, "%s%s: %s", used ? "\n" : "", backend->name, why.words);
        count = 0;
        status = CDU_OK;
    }
    if (count > room) count = room;
    status = cdu_grow(&t->rows, &t->room, t->count + count + 1, sizeof *t->rows, error);
    for (uint32_t i = 0; status == CDU_OK && i < count; i++) {
        cdu_device_row *row = &t->rows[t->count++];
        *row = (cdu_device_row){.info = infos[i]};
        snprintf(row->id, sizeof row->id, "%.12s:%u", backend->name, i);
    }
    free(infos);
    return status;
}

static cdu_status collect(const char *only, table *t, char *missing, size_t missing_size, cdu_error *error)
{
    for (const cdu_backend *const *b = cdu_backends; *b; b++) {
        bool wanted = only ? !strcmp((*b)->name, only) : *b != &cdu_backend_null;
        if (wanted) CDU_TRY(append(*b, t, missing, missing_size, error));
    }
    cdu_select_mark_same(t->rows, (uint32_t)t->count);
    return CDU_OK;
}

cdu_status cdu_gpu_list(cdu_device_row **out, uint32_t *count, char *missing, size_t missing_size, cdu_error *error)
{
    table t = {0};
    if (missing && missing_size) missing[0] = 0;
    cdu_status status = collect(NULL, &t, missing_size ? missing : NULL, missing_size, error);
    if (status != CDU_OK) {
        free(t.rows);
        return status;
    }
    *out = t.rows;
    *count = (uint32_t)t.count;
    return CDU_OK;
}

static const cdu_backend *find_backend(const char *name, size_t length)
{
    for (const cdu_backend *const *b = cdu_backends; *b; b++)
        if (strlen((*b)->name) == length && !strncmp((*b)->name, name, length)) return *b;
    return NULL;
}

static cdu_status open_row(const cdu_device_row *row, bool timed, cdu_gpu *out, cdu_error *error)
{
    const char *colon = strchr(row->id, ':');
    *out = (cdu_gpu){.backend = find_backend(row->id, (size_t)(colon - row->id)), .info = row->info};
    memcpy(out->id, row->id, sizeof out->id);
    return out->backend->open((uint32_t)strtoul(colon + 1, NULL, 10), timed, &out->device, error);
}

cdu_status cdu_gpu_open(const char *name, bool timed, bool untested, cdu_gpu *out, cdu_error *error)
{
    char backend[24], missing[512] = "";
    uint32_t index, chosen = 0;
    /* a device named by its place needs no other runtime's drivers to be started */
    bool exact = name && cdu_select_parse(name, backend, &index);
    if (exact && !find_backend(backend, strlen(backend)))
        return cdu_fail(error, CDU_NO_DEVICE, "%s: there is no backend \"%s\" in this build", name, backend);
    table t = {0};
    cdu_status status = collect(exact ? backend : NULL, &t, missing, sizeof missing, error);
    if (status == CDU_OK && !t.count && missing[0])
        status = cdu_fail(error, CDU_NO_DEVICE, "%s%s%s", name ? name : "", name ? ": " : "", missing);
    if (status == CDU_OK) status = cdu_select(t.rows, (uint32_t)t.count, name, &chosen, error);
    if (status == CDU_OK) status = open_row(&t.rows[chosen], timed, out, error);
    free(t.rows);
    if (status != CDU_OK || untested) return status;
    status = cdu_gpu_self_test(out, error);
    if (status != CDU_OK) cdu_gpu_close(out);
    return status;
}

void cdu_gpu_close(cdu_gpu *gpu)
{
    if (gpu->device) gpu->backend->close(gpu->device);
    gpu->device = NULL;
}

cdu_status cdu_gpu_wait(const cdu_gpu *gpu, cdu_ticket ticket, cdu_error *error)
{
    cdu_progress progress = CDU_RUNNING;
    while (progress == CDU_RUNNING) CDU_TRY(gpu->backend->wait(gpu->device, ticket, CDU_WAIT_NANOSECONDS, &progress, error));
    return progress == CDU_LOST ? cdu_fail(error, CDU_TRY_AGAIN, "%s: the device was lost", gpu->id) : CDU_OK;
}

cdu_status cdu_gpu_run_step(const cdu_gpu *gpu, const cdu_step *step, cdu_error *error)
{
    cdu_list *list;
    cdu_ticket ticket;
    CDU_TRY(gpu->backend->list_create(gpu->device, step, 1, NULL, &list, error));
    cdu_status status = gpu->backend->submit(list, 0, CDU_COMPUTE, NULL, 0, &ticket, error);
    if (status == CDU_OK) status = cdu_gpu_wait(gpu, ticket, error);
    gpu->backend->list_destroy(list);
    return status;
}
