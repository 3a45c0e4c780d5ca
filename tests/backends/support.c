#include "tests/backends/support.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char affine_source[] = "#ifdef KERNEL_affine\n"
                             "PARAMS(affine_params)\n"
                             "    uint count; float factor; float add;\n"
                             "PARAMS_END(affine_params)\n"
                             "KERNEL(affine)\n"
                             "    IN(0, x)\n"
                             "    OUT(1, y)\n"
                             "BEGIN(affine_params, NO_SHARED)\n"
                             "    uint i = GID(0);\n"
                             "    if (i < p.count) ST(y, i, LD(x, i) * p.factor + p.add);\n"
                             "END\n"
                             "#endif\n";

void must_(cdu_status status, const cdu_error *error, const char *what, int line)
{
    cr_assert(status == CDU_OK, "line %d: %s: %s", line, what, error->words);
}

void each_device(bool timed, void (*test)(const cdu_gpu *gpu))
{
    cdu_error error = {0};
    cdu_device_row *rows;
    uint32_t count;
    must(cdu_devices_list(false, &rows, &count, NULL, 0, &error));
    cr_assert(count > 0, "no device: install pocl-opencl-icd and mesa-vulkan-drivers");
    for (uint32_t i = 0; i < count; i++) {
        cdu_gpu gpu;
        must(cdu_gpu_open(rows[i].id, timed, true, &gpu, &error));
        test(&gpu);
        cdu_gpu_close(&gpu);
    }
    free(rows);
}

cdu_buffer *make(const cdu_gpu *gpu, uint64_t bytes, cdu_memory kind)
{
    cdu_error error = {0};
    cdu_buffer *buffer;
    must(gpu->backend->buffer_create(gpu->device, bytes, kind, &buffer, &error));
    return buffer;
}

void put(const cdu_gpu *gpu, cdu_buffer *buffer, const void *from, size_t bytes)
{
    cdu_error error = {0};
    void *at;
    must(gpu->backend->buffer_map(buffer, 0, bytes, CDU_WRITE, &at, &error));
    memcpy(at, from, bytes);
    must(gpu->backend->buffer_unmap(buffer, &error));
}

void get(const cdu_gpu *gpu, cdu_buffer *buffer, void *to, size_t bytes)
{
    cdu_error error = {0};
    void *at;
    must(gpu->backend->buffer_map(buffer, 0, bytes, CDU_READ, &at, &error));
    memcpy(to, at, bytes);
    must(gpu->backend->buffer_unmap(buffer, &error));
}

cdu_kernel *kernel(const cdu_gpu *gpu, const char *source, const char *name, const char *defines, uint32_t bindings,
                   uint32_t params)
{
    cdu_error error = {0};
    cdu_kernel *out;
    must(gpu->backend->kernel_create(gpu->device, source, name, defines, bindings, params, 0, &out, NULL, &error));
    return out;
}

cdu_binding part(cdu_buffer *buffer, uint64_t offset, uint64_t bytes, uint32_t access)
{
    return (cdu_binding){buffer, offset, bytes, access};
}

cdu_step copy_step(cdu_binding from, cdu_binding to, uint32_t segment)
{
    return (cdu_step){
        .kind = CDU_STEP_COPY, .bind = {from, to}, .bindings = 2, .barrier = true, .segment = segment, .label = "copy"};
}

cdu_step fill_step(cdu_binding to, uint32_t word, uint32_t segment)
{
    return (cdu_step){
        .kind = CDU_STEP_FILL, .bind = {to}, .bindings = 1, .param = {word}, .barrier = true, .segment = segment, .label = "fill"};
}

void submit_and_wait(const cdu_gpu *gpu, cdu_list *list, uint32_t segment, const void *patch, uint32_t bytes)
{
    cdu_error error = {0};
    cdu_ticket ticket;
    cdu_progress progress;
    must(gpu->backend->submit(list, segment, CDU_COMPUTE, patch, bytes, &ticket, &error));
    must(gpu->backend->wait(gpu->device, ticket, UINT64_MAX, &progress, &error));
    cr_assert_eq(progress, CDU_DONE);
}

void run_steps(const cdu_gpu *gpu, const cdu_step *steps, uint32_t count)
{
    cdu_error error = {0};
    cdu_list *list;
    must(gpu->backend->list_create(gpu->device, steps, count, NULL, &list, &error));
    submit_and_wait(gpu, list, 0, NULL, 0);
    gpu->backend->list_destroy(list);
}

const char *fresh_folder(void)
{
    static char path[4096], command[8300];
    snprintf(path, sizeof path, "%s/test-backends/%s", CDUNET_BINARY_DIR, criterion_current_test->name);
    snprintf(command, sizeof command, "rm -rf '%s' && mkdir -p '%s'", path, path);
    cr_assert_eq(system(command), 0);
    return path;
}

uint32_t float_bits(float value)
{
    uint32_t word;
    memcpy(&word, &value, sizeof word);
    return word;
}

cdu_device_row row(const char *id, const char *name, const char *driver, cdu_kind kind, const char *uuid)
{
    cdu_device_row r = {.info = {.kind = kind}};
    snprintf(r.id, sizeof r.id, "%s", id);
    snprintf(r.info.name, sizeof r.info.name, "%s", name);
    snprintf(r.info.driver, sizeof r.info.driver, "%s", driver);
    snprintf(r.info.uuid, sizeof r.info.uuid, "%s", uuid);
    return r;
}
