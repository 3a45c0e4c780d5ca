/* self_test.c: known answers on an open device, one case after another. Every case has integer answers, so that a device is
 * right or wrong, never nearly right. What the device does with denormals is logged, not judged. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/backend.h"
#include "cdunet/log.h"
#include "shaders/shaders.h"

/* The far case wants this many times its buffer free. */
enum { HEIGHT = 11, WIDTH = 13, CHANNELS = 4, ITEMS = 64, GROUPS = 5, ROOM = 8192, FAR_FACTOR = 3 };

typedef struct {
    const cdu_gpu *gpu;
    const char *source;
    cdu_buffer *upload, *device, *readback, *patch;
} bench;

/* One run of a few steps. */
typedef struct {
    cdu_step step[6];
    uint32_t count;
    cdu_kernel *kernel;
    cdu_list *list;
} run;

static uint64_t align_up(const bench *b, uint64_t bytes)
{
    uint64_t to = b->gpu->info.binding_align;
    return (bytes + to - 1) / to * to;
}

static void run_end(const bench *b, run *r)
{
    b->gpu->backend->list_destroy(r->list);
    if (r->kernel) b->gpu->backend->kernel_destroy(r->kernel);
    r->list = NULL;
    r->kernel = NULL;
}

static cdu_binding part(cdu_buffer *buffer, uint64_t offset, uint64_t bytes, uint32_t access)
{
    return (cdu_binding){buffer, offset, bytes, access};
}

static void add_copy(run *r, cdu_binding from, cdu_binding to)
{
    r->step[r->count++] =
        (cdu_step){.kind = CDU_STEP_COPY, .bind = {from, to}, .bindings = 2, .barrier = true, .label = "self-test copy"};
}

static void add_fill(run *r, cdu_binding to, uint32_t word)
{
    r->step[r->count++] =
        (cdu_step){.kind = CDU_STEP_FILL, .bind = {to}, .bindings = 1, .param = {word}, .barrier = true, .label = "self-test fill"};
}

static uint32_t bits(float value)
{
    uint32_t word;
    memcpy(&word, &value, sizeof word);
    return word;
}

/* Compiles kernel `name` with `uses` bindings and appends its step; the caller fills in bindings, parameters and groups. */
static cdu_status add_kernel(const bench *b, run *r, const char *name, const char *defines, uint32_t bindings, cdu_step **out,
                             cdu_error *error)
{
    CDU_TRY(b->gpu->backend->kernel_create(b->gpu->device, b->source, name, defines, bindings, 2, 0, &r->kernel, NULL, error));
    *out = &r->step[r->count++];
    **out = (cdu_step){.kind = CDU_STEP_KERNEL,
                       .kernel = r->kernel,
                       .bindings = bindings,
                       .params = 2,
                       .groups = {1, 1, 1},
                       .barrier = true,
                       .label = name};
    return CDU_OK;
}

static cdu_status execute(const bench *b, run *r, const void *patch, uint32_t bytes, cdu_error *error)
{
    const cdu_backend *backend = b->gpu->backend;
    CDU_TRY(backend->list_create(b->gpu->device, r->step, r->count, b->patch, &r->list, error));
    cdu_ticket ticket;
    cdu_progress progress;
    CDU_TRY(backend->submit(r->list, 0, CDU_COMPUTE, patch, bytes, &ticket, error));
    return backend->wait(b->gpu->device, ticket, UINT64_MAX, &progress, error);
}

static cdu_status upload(const bench *b, const float *values, size_t count, cdu_error *error)
{
    void *at;
    CDU_TRY(b->gpu->backend->buffer_map(b->upload, 0, 4 * count, CDU_WRITE, &at, error));
    memcpy(at, values, 4 * count);
    return b->gpu->backend->buffer_unmap(b->upload, error);
}

/* Compares what lies in the read-back buffer with what is right. */
static cdu_status compare(const bench *b, const char *operator, const float * right, size_t count, cdu_error *error)
{
    void *at;
    CDU_TRY(b->gpu->backend->buffer_map(b->readback, 0, 4 * count, CDU_READ, &at, error));
    size_t wrong = 0, first = 0;
    float seen = 0;
    for (size_t i = count; i-- > 0;) {
        float value;
        memcpy(&value, (const char *)at + 4 * i, 4);
        if (bits(value) == bits(right[i])) continue;
        wrong++;
        first = i;
        seen = value;
    }
    CDU_TRY(b->gpu->backend->buffer_unmap(b->readback, error));
    if (!wrong) return CDU_OK;
    return cdu_fail(error, CDU_NO_DEVICE, "%s (%s) computes wrong: %s: %zu of %zu values, the first at %zu: %g instead of %g",
                    b->gpu->id, b->gpu->info.name, operator, wrong, count, first, (double)seen, (double)right[first]);
}

/* Upload, fill over a part, copy back. */
static cdu_status test_transfer(const bench *b, run *r, cdu_error *error)
{
    enum { COUNT = 1024 };
    float values[COUNT];
    for (int i = 0; i < COUNT; i++) values[i] = (float)(i * 3 - 700);
    CDU_TRY(upload(b, values, COUNT, error));
    add_copy(r, part(b->upload, 0, 4 * COUNT, CDU_READ), part(b->device, 256, 4 * COUNT, CDU_WRITE));
    add_fill(r, part(b->device, 256 + 400, 84, CDU_WRITE), bits(-5.0f));
    add_copy(r, part(b->device, 256, 4 * COUNT, CDU_READ), part(b->readback, 0, 4 * COUNT, CDU_WRITE));
    for (int i = 100; i < 121; i++) values[i] = -5.0f;
    CDU_TRY(execute(b, r, NULL, 0, error));
    return compare(b, "copy and fill", values, COUNT, error);
}

static void convolve(const float *x, const float *w, float *y)
{
    for (int row = 0; row < HEIGHT; row++)
        for (int column = 0; column < WIDTH; column++)
            for (int o = 0; o < CHANNELS; o++) {
                float sum = 0;
                for (int k = 0; k < 9; k++) {
                    int r = row + k / 3 - 1, c = column + k % 3 - 1;
                    if (r < 0 || r >= HEIGHT || c < 0 || c >= WIDTH) continue;
                    for (int i = 0; i < CHANNELS; i++)
                        sum += x[(r * WIDTH + c) * CHANNELS + i] * w[(k * CHANNELS + i) * CHANNELS + o];
                }
                y[(row * WIDTH + column) * CHANNELS + o] = sum;
            }
}

/* Input, weights and output lie in one buffer, so two of the three bindings have an offset. */
static cdu_status test_convolution(const bench *b, run *r, cdu_error *error)
{
    enum { X = HEIGHT * WIDTH * CHANNELS, W = 9 * CHANNELS * CHANNELS };
    float values[ROOM] = {0}, right[X];
    uint64_t w_at = align_up(b, 4 * X), y_at = w_at + align_up(b, 4 * W), end = y_at + align_up(b, 4 * X);
    for (int i = 0; i < X; i++) values[i] = (float)(i * 7 % 11 - 5);
    float *w = values + w_at / 4;
    for (int i = 0; i < W; i++) w[i] = (float)(i * 5 % 7 - 3);
    convolve(values, w, right);
    CDU_TRY(upload(b, values, end / 4, error));
    add_copy(r, part(b->upload, 0, end, CDU_READ), part(b->device, 0, end, CDU_WRITE));
    cdu_step *step;
    CDU_TRY(add_kernel(b, r, "self_conv", "GX=32 GY=4 GZ=1", 3, &step, error));
    step->bind[0] = part(b->device, 0, 4 * X, CDU_READ);
    step->bind[1] = part(b->device, w_at, 4 * W, CDU_READ);
    step->bind[2] = part(b->device, y_at, 4 * X, CDU_WRITE);
    step->param[0] = HEIGHT;
    step->param[1] = WIDTH;
    step->groups[0] = (HEIGHT * WIDTH + 31) / 32;
    add_copy(r, part(b->device, y_at, 4 * X, CDU_READ), part(b->readback, 0, 4 * X, CDU_WRITE));
    CDU_TRY(execute(b, r, NULL, 0, error));
    return compare(b, "convolution 3x3", right, X, error);
}

static cdu_status test_reduction(const bench *b, run *r, cdu_error *error)
{
    uint32_t width = b->gpu->info.vector_width, count = GROUPS * ITEMS * width;
    float values[GROUPS * ITEMS * 16], right[GROUPS * 16] = {0};
    for (uint32_t i = 0; i < count; i++) {
        values[i] = (float)(i * 13 % 101) - 50.0f;
        right[i / (ITEMS * width) * width + i % width] += values[i];
    }
    CDU_TRY(upload(b, values, count, error));
    char defines[64];
    snprintf(defines, sizeof defines, "GX=%d GY=1 GZ=1 VW=%u", ITEMS, width);
    uint64_t y_at = align_up(b, 4 * count), y_bytes = 4 * (uint64_t)GROUPS * width;
    cdu_step *step;
    CDU_TRY(add_kernel(b, r, "self_reduce", defines, 2, &step, error));
    step->bind[0] = part(b->upload, 0, 4 * count, CDU_READ);
    step->bind[1] = part(b->device, y_at, y_bytes, CDU_WRITE);
    step->param[0] = GROUPS;
    step->groups[0] = GROUPS;
    add_copy(r, part(b->device, y_at, y_bytes, CDU_READ), part(b->readback, 0, y_bytes, CDU_WRITE));
    CDU_TRY(execute(b, r, NULL, 0, error));
    return compare(b, "reduction through local memory", right, GROUPS * width, error);
}

/* Patch data and a parameter; the last value is a denormal, which is looked at and not judged. */
static cdu_status test_patch(const bench *b, run *r, cdu_error *error)
{
    enum { COUNT = 100 };
    float values[COUNT + 1], right[COUNT];
    for (int i = 0; i < COUNT; i++) {
        values[i] = (float)(i - 40);
        right[i] = values[i] * 3.0f + 2.0f;
    }
    CDU_TRY(upload(b, values, COUNT, error));
    cdu_step *step;
    CDU_TRY(add_kernel(b, r, "self_patch", "GX=32 GY=1 GZ=1", 3, &step, error));
    step->bind[0] = part(b->upload, 0, 4 * COUNT, CDU_READ);
    step->bind[1] = part(b->patch, 0, CDU_PATCH_BYTES, CDU_READ);
    step->bind[2] = part(b->readback, 0, 4 * COUNT, CDU_WRITE);
    step->param[0] = COUNT;
    step->param[1] = bits(2.0f);
    step->groups[0] = (COUNT + 31) / 32;
    float patch[2] = {3.0f, 0.0f};
    CDU_TRY(execute(b, r, patch, sizeof patch, error));
    return compare(b, "patch data and host memory in kernels", right, COUNT, error);
}

static cdu_status probe_denormals(const bench *b, run *r, cdu_error *error)
{
    float value = 1e-39f, seen;
    CDU_TRY(upload(b, &value, 1, error));
    cdu_step *step;
    CDU_TRY(add_kernel(b, r, "self_patch", "GX=32 GY=1 GZ=1", 3, &step, error));
    step->bind[0] = part(b->upload, 0, 4, CDU_READ);
    step->bind[1] = part(b->patch, 0, CDU_PATCH_BYTES, CDU_READ);
    step->bind[2] = part(b->readback, 0, 4, CDU_WRITE);
    step->param[0] = 1;
    float patch = 0.5f;
    CDU_TRY(execute(b, r, &patch, sizeof patch, error));
    void *at;
    CDU_TRY(b->gpu->backend->buffer_map(b->readback, 0, 4, CDU_READ, &at, error));
    memcpy(&seen, at, 4);
    cdu_log(CDU_LOG_DEBUG, "%s %s denormals", b->gpu->id, seen == value * 0.5f ? "keeps" : "flushes");
    return b->gpu->backend->buffer_unmap(b->readback, error);
}

/* One element beyond 2 GiB of a binding; its neighbour 2 GiB (and 4) below must stay as it was. */
static cdu_status test_far(const bench *b, run *r, cdu_error *error)
{
    const cdu_backend *backend = b->gpu->backend;
    const uint64_t two = (uint64_t)2 << 30, bytes = two + 4096, at = two + 512;
    uint64_t free_bytes;
    /* a CPU addresses its host's memory: touching 2 GiB of it would take the second that all of this may */
    if (b->gpu->info.kind == CDU_CPU) return CDU_OK;
    if (b->gpu->info.largest_binding < bytes || b->gpu->info.largest_buffer < bytes) return CDU_OK;
    CDU_TRY(backend->budget(b->gpu->device, &free_bytes, error));
    if (free_bytes < FAR_FACTOR * bytes) {
        cdu_log(CDU_LOG_DEBUG, "%s: bindings beyond 2 GiB are not tested: %llu MiB are free, %llu wanted", b->gpu->id,
                (unsigned long long)(free_bytes >> 20), (unsigned long long)(FAR_FACTOR * bytes >> 20));
        return CDU_OK;
    }
    cdu_buffer *far;
    CDU_TRY(backend->buffer_create(b->gpu->device, bytes, CDU_MEM_DEVICE, &far, error));
    cdu_step *step;
    cdu_status status = add_kernel(b, r, "self_far", "GX=32 GY=1 GZ=1", 1, &step, error);
    if (status == CDU_OK) {
        step->bind[0] = part(far, 0, bytes, CDU_READ | CDU_WRITE);
        step->param[0] = (uint32_t)(at / 4);
        step->param[1] = bits(7.0f);
        add_copy(r, part(far, at, 4, CDU_READ), part(b->readback, 0, 4, CDU_WRITE));
        add_copy(r, part(far, at - two, 4, CDU_READ), part(b->readback, 4, 4, CDU_WRITE));
        status = execute(b, r, NULL, 0, error);
    }
    const float right[2] = {7.0f, 0.0f};
    if (status == CDU_OK) status = compare(b, "a binding beyond 2 GiB", right, 2, error);
    run_end(b, r);
    backend->buffer_destroy(far);
    return status;
}

static cdu_status make_bench(bench *b, cdu_error *error)
{
    const cdu_backend *backend = b->gpu->backend;
    cdu_device *device = b->gpu->device;
    CDU_TRY(cdu_shader_text("self_test.k", &b->source, error));
    CDU_TRY(backend->buffer_create(device, 4 * ROOM, CDU_MEM_UPLOAD, &b->upload, error));
    CDU_TRY(backend->buffer_create(device, 4 * ROOM, CDU_MEM_DEVICE, &b->device, error));
    CDU_TRY(backend->buffer_create(device, 4 * ROOM, CDU_MEM_READBACK, &b->readback, error));
    return backend->buffer_create(device, CDU_PATCH_BYTES, CDU_MEM_UPLOAD, &b->patch, error);
}

cdu_status cdu_gpu_self_test(const cdu_gpu *gpu, cdu_error *error)
{
    static cdu_status (*const tests[])(const bench *, run *, cdu_error *) = {test_transfer, test_convolution, test_reduction,
                                                                             test_patch,    probe_denormals,  test_far};
    if (!strcmp(gpu->backend->name, "null")) return CDU_OK; /* it runs nothing and says so */
    bench b = {.gpu = gpu};
    cdu_error own = {0};
    cdu_status status = make_bench(&b, &own);
    for (size_t i = 0; status == CDU_OK && i < sizeof tests / sizeof tests[0]; i++) {
        run r = {.count = 0};
        status = tests[i](&b, &r, &own);
        run_end(&b, &r);
    }
    gpu->backend->buffer_destroy(b.upload);
    gpu->backend->buffer_destroy(b.device);
    gpu->backend->buffer_destroy(b.readback);
    gpu->backend->buffer_destroy(b.patch);
    if (status == CDU_OK) return CDU_OK;
    if (status == CDU_NO_DEVICE) {
        if (error) *error = own;
        return status;
    }
    /* whatever else happens on a few kilobytes: nothing larger will go well here */
    return cdu_fail(error, CDU_NO_DEVICE, "%s (%s) fails the self-test: %s", gpu->id, gpu->info.name, own.words);
}
