/* devices.c: the contract of backends/backend.h, the same tests on every driver present. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/thread.h"
#include "tests/backends/support.h"

static void describe(const cdu_gpu *gpu)
{
    const cdu_device_info *d = &gpu->info;
    cr_assert(d->name[0] && d->driver[0] && d->memory > 0);
    cr_assert(d->binding_align >= 256 && (d->binding_align & (d->binding_align - 1)) == 0);
    cr_assert(d->largest_binding > 0 && d->largest_binding <= d->largest_buffer && d->largest_buffer <= d->memory);
    cr_assert(d->group_items >= 128 && d->local_bytes >= 16384 && d->group_count[0] >= 65535);
    cr_assert(d->vector_width == 4 || (d->kind == CDU_CPU && (d->vector_width == 8 || d->vector_width == 16)));
    cr_assert((d->segment_ms == 0) == (d->kind == CDU_CPU));
    cdu_error error = {0};
    uint64_t free_bytes;
    must(gpu->backend->budget(gpu->device, &free_bytes, &error));
    cr_assert(free_bytes > 0);
}

Test(backends, devices_describe_themselves)
{
    each_device(false, describe);
}

static void buffers(const cdu_gpu *gpu)
{
    enum { BYTES = 100004 };
    static unsigned char bytes[BYTES], seen[BYTES];
    cdu_buffer *upload = make(gpu, BYTES, CDU_MEM_UPLOAD), *device = make(gpu, BYTES, CDU_MEM_DEVICE);
    cdu_buffer *readback = make(gpu, BYTES, CDU_MEM_READBACK);
    cdu_step fresh[] = {copy_step(part(device, 0, BYTES, CDU_READ), part(readback, 0, BYTES, CDU_WRITE), 0)};
    run_steps(gpu, fresh, 1);
    get(gpu, readback, seen, BYTES);
    for (int i = 0; i < BYTES; i++) cr_assert_eq(seen[i], 0, "%s: a new buffer is not zero at %d", gpu->id, i);

    for (int i = 0; i < BYTES; i++) bytes[i] = (unsigned char)(i * 7 + i / 251);
    put(gpu, upload, bytes, BYTES);
    cdu_step steps[] = {
        copy_step(part(upload, 4, 5000, CDU_READ), part(device, 12, 5000, CDU_WRITE), 0),
        fill_step(part(device, 1000, 404, CDU_WRITE), 0x01020304, 0),
        copy_step(part(upload, BYTES - 8, 8, CDU_READ), part(device, BYTES - 8, 8, CDU_WRITE), 0),
        copy_step(part(device, 0, BYTES, CDU_READ), part(readback, 0, BYTES, CDU_WRITE), 0),
    };
    run_steps(gpu, steps, 4);
    get(gpu, readback, seen, BYTES);
    for (int i = 0; i < BYTES; i++) {
        int right = 0;
        if (i >= 12 && i < 5012) right = bytes[i - 8];
        if (i >= 1000 && i < 1404) right = 4 - i % 4;
        if (i >= BYTES - 8) right = bytes[i];
        cr_assert_eq(seen[i], right, "%s: byte %d is %d, not %d", gpu->id, i, seen[i], right);
    }
    if (gpu->info.unified) {
        cdu_buffer *both = make(gpu, 256, CDU_MEM_SHARED);
        put(gpu, both, bytes, 256);
        get(gpu, both, seen, 256);
        cr_assert_eq(memcmp(bytes, seen, 256), 0);
        gpu->backend->buffer_destroy(both);
    }
    gpu->backend->buffer_destroy(upload);
    gpu->backend->buffer_destroy(device);
    gpu->backend->buffer_destroy(readback);
}

Test(backends, buffers_copies_and_fills)
{
    each_device(false, buffers);
}

static void misused_buffers(const cdu_gpu *gpu)
{
    cdu_error error = {0};
    cdu_buffer *device = make(gpu, 1024, CDU_MEM_DEVICE), *upload = make(gpu, 1024, CDU_MEM_UPLOAD), *none;
    void *at;
    cr_assert_eq(gpu->backend->buffer_map(device, 0, 4, CDU_READ, &at, &error), CDU_FAILED);
    cr_assert_eq(gpu->backend->buffer_map(upload, 1000, 28, CDU_WRITE, &at, &error), CDU_FAILED);
    cr_assert_eq(gpu->backend->buffer_unmap(upload, &error), CDU_FAILED);
    must(gpu->backend->buffer_map(upload, 1000, 24, CDU_WRITE, &at, &error));
    cr_assert_eq(gpu->backend->buffer_map(upload, 0, 4, CDU_WRITE, &at, &error), CDU_FAILED);
    must(gpu->backend->buffer_unmap(upload, &error));
    cr_assert_neq(gpu->backend->buffer_create(gpu->device, 0, CDU_MEM_DEVICE, &none, &error), CDU_OK);
    cr_assert_eq(gpu->backend->buffer_create(gpu->device, (uint64_t)16 << 40, CDU_MEM_DEVICE, &none, &error), CDU_TRY_AGAIN);
    cr_assert(strstr(error.words, "17592186044416"), "no number in: %s", error.words);
    gpu->backend->buffer_destroy(device);
    gpu->backend->buffer_destroy(upload);
}

Test(backends, misuse_of_buffers_has_words)
{
    each_device(false, misused_buffers);
}

/* 32 parameters, three axes of groups, bindings at an offset. */
static const char many_source[] = "#ifdef KERNEL_many\n"
                                  "PARAMS(many_params)\n"
                                  "    uint a0; uint a1; uint a2; uint a3; uint a4; uint a5; uint a6; uint a7;\n"
                                  "    uint b0; uint b1; uint b2; uint b3; uint b4; uint b5; uint b6; uint b7;\n"
                                  "    int c0; int c1; int c2; int c3; int c4; int c5; int c6; int c7;\n"
                                  "    float d0; float d1; float d2; float d3; float d4; float d5; float d6; float d7;\n"
                                  "PARAMS_END(many_params)\n"
                                  "KERNEL(many)\n"
                                  "    INU(0, x)\n"
                                  "    OUTU(1, y)\n"
                                  "BEGIN(many_params, NO_SHARED)\n"
                                  "    uint i = (WID(2) * WCOUNT(1) + WID(1)) * WCOUNT(0) + WID(0);\n"
                                  "    uint item = (i * GY + LID(1)) * GX + LID(0);\n"
                                  "    uint v = p.a0 + 2u * p.a7 + 3u * p.b4 + to_u(p.c0 + p.c7) + to_u(p.d0 * p.d7);\n"
                                  "    STU(y, item, LDU(x, item) * 1000u + v);\n"
                                  "END\n"
                                  "#endif\n";

static void kernels(const cdu_gpu *gpu)
{
    enum { ITEMS = 4 * 2 * 3 * 5 * 2 };
    uint32_t values[ITEMS], seen[ITEMS], align = gpu->info.binding_align;
    cdu_buffer *upload = make(gpu, 4 * ITEMS, CDU_MEM_UPLOAD), *device = make(gpu, 16 * align, CDU_MEM_DEVICE);
    cdu_buffer *readback = make(gpu, 4 * ITEMS, CDU_MEM_READBACK);
    for (uint32_t i = 0; i < ITEMS; i++) values[i] = i * i;
    put(gpu, upload, values, sizeof values);
    uint32_t at = (sizeof values + align - 1) / align * align;
    cr_assert(at + align + sizeof values <= 16 * align);
    cdu_kernel *k = kernel(gpu, many_source, "many", "GX=4 GY=2 GZ=1", 2, 32);
    cdu_step steps[] = {
        copy_step(part(upload, 0, sizeof values, CDU_READ), part(device, align, sizeof values, CDU_WRITE), 0),
        {.kind = CDU_STEP_KERNEL, .kernel = k, .bindings = 2, .params = 32, .groups = {3, 5, 2}, .barrier = true, .label = "many"},
        copy_step(part(device, align + at, sizeof values, CDU_READ), part(readback, 0, sizeof values, CDU_WRITE), 0),
    };
    steps[1].bind[0] = part(device, align, sizeof values, CDU_READ);
    steps[1].bind[1] = part(device, align + at, sizeof values, CDU_WRITE);
    uint32_t minus = (uint32_t)-3;
    steps[1].param[0] = 5, steps[1].param[7] = 7, steps[1].param[12] = 11, steps[1].param[16] = minus, steps[1].param[23] = 20;
    steps[1].param[24] = float_bits(2.5f), steps[1].param[31] = float_bits(4.0f);
    run_steps(gpu, steps, 3);
    get(gpu, readback, seen, sizeof seen);
    for (uint32_t i = 0; i < ITEMS; i++)
        cr_assert_eq(seen[i], i * i * 1000 + 5 + 14 + 33 + 17 + 10, "%s: item %u: %u", gpu->id, i, seen[i]);
    gpu->backend->kernel_destroy(k);
    gpu->backend->buffer_destroy(upload);
    gpu->backend->buffer_destroy(device);
    gpu->backend->buffer_destroy(readback);
}

Test(backends, kernels_parameters_groups_and_offsets)
{
    each_device(false, kernels);
}

static const char patch_source[] = "#ifdef KERNEL_patched\n"
                                   "PARAMS(patched_params)\n    uint count; uint unused;\nPARAMS_END(patched_params)\n"
                                   "KERNEL(patched)\n    IN(0, patch_data)\n    OUT(1, y)\nBEGIN(patched_params, NO_SHARED)\n"
                                   "    uint i = GID(0);\n    if (i < p.count) ST(y, i, LD(patch_data, i) + 1.0f);\nEND\n#endif\n";

static void patches(const cdu_gpu *gpu)
{
    enum { WORDS = CDU_PATCH_BYTES / 4 };
    static const cdu_memory kinds[] = {CDU_MEM_UPLOAD, CDU_MEM_DEVICE};
    for (int k = 0; k < 2; k++) {
        cdu_error error = {0};
        cdu_buffer *patch = make(gpu, CDU_PATCH_BYTES, kinds[k]), *readback = make(gpu, CDU_PATCH_BYTES, CDU_MEM_READBACK);
        cdu_kernel *code = kernel(gpu, patch_source, "patched", "GX=64 GY=1 GZ=1", 2, 2);
        cdu_step step = {.kind = CDU_STEP_KERNEL,
                         .kernel = code,
                         .bindings = 2,
                         .params = 2,
                         .param = {WORDS},
                         .groups = {1, 1, 1},
                         .label = "patched"};
        step.bind[0] = part(patch, 0, CDU_PATCH_BYTES, CDU_READ);
        step.bind[1] = part(readback, 0, CDU_PATCH_BYTES, CDU_WRITE);
        cdu_list *list;
        must(gpu->backend->list_create(gpu->device, &step, 1, patch, &list, &error));
        float values[WORDS], seen[WORDS];
        for (int round = 0; round < 4; round++) {
            for (int i = 0; i < WORDS && round < 3; i++) values[i] = (float)(100 * round + i);
            submit_and_wait(gpu, list, 0, round < 3 ? values : NULL,
                            round < 3 ? CDU_PATCH_BYTES : 0); /* the last leaves it as it was */
            get(gpu, readback, seen, sizeof seen);
            for (int i = 0; i < WORDS; i++)
                cr_assert_eq(seen[i], values[i] + 1, "%s: round %d, word %d: %g", gpu->id, round, i, (double)seen[i]);
        }
        cdu_ticket ticket;
        static const char large[CDU_PATCH_BYTES + 4];
        cr_assert_eq(gpu->backend->submit(list, 0, CDU_COMPUTE, large, sizeof large, &ticket, &error), CDU_FAILED);
        gpu->backend->list_destroy(list);
        gpu->backend->kernel_destroy(code);
        gpu->backend->buffer_destroy(patch);
        gpu->backend->buffer_destroy(readback);
    }
}

Test(backends, patch_data_changes_between_runs)
{
    each_device(false, patches);
}

/* A long chain in which every step needs the one before; a missing or ignored barrier shows sooner or later. */
static void order(const cdu_gpu *gpu)
{
    enum { COUNT = 4096, STEPS = 40 };
    static float values[COUNT], seen[COUNT];
    cdu_buffer *a = make(gpu, 4 * COUNT, CDU_MEM_UPLOAD), *b = make(gpu, 4 * COUNT, CDU_MEM_DEVICE),
               *c = make(gpu, 4 * COUNT, CDU_MEM_READBACK);
    for (int i = 0; i < COUNT; i++) values[i] = (float)i;
    put(gpu, a, values, sizeof values);
    cdu_kernel *k = kernel(gpu, affine_source, "affine", "GX=32 GY=1 GZ=1", 2, 3);
    cdu_step steps[STEPS];
    for (int i = 0; i < STEPS; i++) {
        steps[i] = (cdu_step){.kind = CDU_STEP_KERNEL,
                              .kernel = k,
                              .bindings = 2,
                              .params = 3,
                              .groups = {COUNT / 32, 1, 1},
                              .barrier = true,
                              .label = "affine"};
        steps[i].bind[0] = part(i % 2 ? b : i ? c : a, 0, 4 * COUNT, CDU_READ);
        steps[i].bind[1] = part(i % 2 ? c : b, 0, 4 * COUNT, CDU_WRITE);
        steps[i].param[0] = COUNT;
        steps[i].param[1] = float_bits(i % 3 ? 1.0f : -1.0f);
        steps[i].param[2] = float_bits((float)i);
    }
    run_steps(gpu, steps, STEPS);
    get(gpu, c, seen, sizeof seen);
    for (int n = 0; n < COUNT; n++) {
        float right = (float)n;
        for (int i = 0; i < STEPS; i++) right = right * (i % 3 ? 1.0f : -1.0f) + (float)i;
        cr_assert_eq(seen[n], right, "%s: %d: %g, not %g", gpu->id, n, (double)seen[n], (double)right);
    }
    gpu->backend->kernel_destroy(k);
    gpu->backend->buffer_destroy(a);
    gpu->backend->buffer_destroy(b);
    gpu->backend->buffer_destroy(c);
}

Test(backends, steps_run_in_order)
{
    each_device(false, order);
}

/* The host reads and writes between segments; a segment sees what those before it wrote. */
static void segments(const cdu_gpu *gpu)
{
    enum { COUNT = 64, BYTES = 4 * COUNT };
    cdu_error error = {0};
    float values[COUNT], seen[COUNT];
    cdu_buffer *in = make(gpu, BYTES, CDU_MEM_UPLOAD), *kept = make(gpu, BYTES, CDU_MEM_DEVICE),
               *out = make(gpu, BYTES, CDU_MEM_READBACK);
    cdu_kernel *k = kernel(gpu, affine_source, "affine", "GX=32 GY=1 GZ=1", 2, 3);
    cdu_step steps[] = {
        {.kind = CDU_STEP_KERNEL,
         .kernel = k,
         .bindings = 2,
         .params = 3,
         .param = {COUNT, float_bits(2), float_bits(1)},
         .groups = {2, 1, 1},
         .label = "double"},
        copy_step(part(kept, 0, BYTES, CDU_READ), part(out, 0, BYTES, CDU_WRITE), 0),
        {.kind = CDU_STEP_KERNEL,
         .kernel = k,
         .bindings = 2,
         .params = 3,
         .param = {COUNT, float_bits(10), float_bits(0)},
         .groups = {2, 1, 1},
         .segment = 1,
         .label = "ten"},
        copy_step(part(kept, 0, BYTES, CDU_READ), part(out, 0, BYTES, CDU_WRITE), 3), /* 2 has no step */
    };
    steps[0].bind[0] = part(in, 0, BYTES, CDU_READ);
    steps[0].bind[1] = part(kept, 0, BYTES, CDU_WRITE);
    steps[2].bind[0] = part(in, 0, BYTES, CDU_READ);
    steps[2].bind[1] = part(kept, 0, BYTES, CDU_WRITE);
    cdu_list *list;
    must(gpu->backend->list_create(gpu->device, steps, 4, NULL, &list, &error));
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < COUNT; i++) values[i] = (float)(i + round);
        put(gpu, in, values, BYTES);
        submit_and_wait(gpu, list, 0, NULL, 0);
        get(gpu, out, seen, BYTES);
        for (int i = 0; i < COUNT; i++) cr_assert_eq(seen[i], values[i] * 2 + 1);
        put(gpu, in, seen, BYTES);
        cdu_ticket ticket;
        cdu_progress progress;
        must(gpu->backend->submit(list, 1, CDU_COMPUTE, NULL, 0, &ticket, &error));
        must(gpu->backend->submit(list, 2, CDU_COMPUTE, NULL, 0, &ticket, &error));
        must(gpu->backend->submit(list, 3, CDU_COMPUTE, NULL, 0, &ticket, &error));
        must(gpu->backend->wait(gpu->device, ticket, UINT64_MAX, &progress, &error));
        cr_assert_eq(progress, CDU_DONE);
        get(gpu, out, seen, BYTES);
        for (int i = 0; i < COUNT; i++) cr_assert_eq(seen[i], (values[i] * 2 + 1) * 10);
    }
    cdu_ticket ticket;
    cr_assert_eq(gpu->backend->submit(list, 4, CDU_COMPUTE, NULL, 0, &ticket, &error), CDU_FAILED);
    gpu->backend->list_destroy(list);
    gpu->backend->kernel_destroy(k);
    gpu->backend->buffer_destroy(in);
    gpu->backend->buffer_destroy(kept);
    gpu->backend->buffer_destroy(out);
}

Test(backends, segments_and_the_host_between_them)
{
    each_device(false, segments);
}

static const char count_source[] = "#ifdef KERNEL_count_up\n"
                                   "PARAMS(count_params)\n    uint count; uint add;\nPARAMS_END(count_params)\n"
                                   "KERNEL(count_up)\n    INOUT(0, y)\nBEGIN(count_params, NO_SHARED)\n"
                                   "    uint i = GID(0);\n    if (i < p.count) ST(y, i, LD(y, i) + to_f(p.add));\nEND\n#endif\n";

/* More submissions than tickets are kept for, without waiting in between. */
static void tickets(const cdu_gpu *gpu)
{
    enum { RUNS = 150 };
    cdu_error error = {0};
    cdu_buffer *y = make(gpu, 256, CDU_MEM_READBACK);
    cdu_kernel *k = kernel(gpu, count_source, "count_up", "GX=64 GY=1 GZ=1", 1, 2);
    cdu_step step = {
        .kind = CDU_STEP_KERNEL, .kernel = k, .bindings = 1, .params = 2, .param = {64, 3}, .groups = {1, 1, 1}, .label = "up"};
    step.bind[0] = part(y, 0, 256, CDU_READ | CDU_WRITE);
    cdu_list *one, *two;
    must(gpu->backend->list_create(gpu->device, &step, 1, NULL, &one, &error));
    must(gpu->backend->list_create(gpu->device, &step, 1, NULL, &two, &error));
    cdu_ticket ticket = 0, before = 0;
    cdu_progress progress;
    for (int i = 0; i < RUNS; i++) {
        must(gpu->backend->submit(i % 2 ? one : two, 0, CDU_COMPUTE, NULL, 0, &ticket, &error));
        cr_assert_eq(ticket, before + 1);
        before = ticket;
    }
    must(gpu->backend->wait(gpu->device, ticket, 0, &progress, &error)); /* a poll: either answer is right */
    must(gpu->backend->wait(gpu->device, ticket, UINT64_MAX, &progress, &error));
    cr_assert_eq(progress, CDU_DONE);
    must(gpu->backend->wait(gpu->device, 1, UINT64_MAX, &progress, &error)); /* long ago */
    cr_assert_eq(progress, CDU_DONE);
    cr_assert_eq(gpu->backend->wait(gpu->device, ticket + 1, 0, &progress, &error), CDU_FAILED);
    float seen[64];
    get(gpu, y, seen, sizeof seen);
    for (int i = 0; i < 64; i++) cr_assert_eq(seen[i], 3 * RUNS);
    gpu->backend->list_destroy(one);
    gpu->backend->list_destroy(two);
    gpu->backend->kernel_destroy(k);
    gpu->backend->buffer_destroy(y);
}

Test(backends, tickets)
{
    each_device(false, tickets);
}

static void times(const cdu_gpu *gpu)
{
    enum { BYTES = 4 << 20 };
    cdu_error error = {0};
    cdu_buffer *a = make(gpu, BYTES, CDU_MEM_DEVICE), *b = make(gpu, BYTES, CDU_MEM_DEVICE);
    cdu_step steps[] = {copy_step(part(a, 0, BYTES, CDU_READ), part(b, 0, BYTES, CDU_WRITE), 0),
                        fill_step(part(a, 0, BYTES, CDU_WRITE), 1, 1)};
    cdu_list *list;
    uint64_t ns = 0;
    must(gpu->backend->list_create(gpu->device, steps, 2, NULL, &list, &error));
    cr_assert_eq(gpu->backend->times(list, 0, &ns, &error), CDU_FAILED); /* has not run */
    submit_and_wait(gpu, list, 0, NULL, 0);
    submit_and_wait(gpu, list, 1, NULL, 0);
    must(gpu->backend->times(list, 0, &ns, &error));
    cr_assert(ns > 500 && ns < 2000000000, "%s: a copy of 4 MiB took %llu ns", gpu->id, (unsigned long long)ns);
    must(gpu->backend->times(list, 1, &ns, &error));
    gpu->backend->list_destroy(list);
    gpu->backend->buffer_destroy(a);
    gpu->backend->buffer_destroy(b);
}

Test(backends, a_device_opened_timed_tells_times)
{
    each_device(true, times);
}

static void bad_kernels(const cdu_gpu *gpu)
{
    cdu_error error = {0};
    cdu_kernel *none;
    const cdu_backend *b = gpu->backend;
    static const char broken[] =
        "#ifdef KERNEL_broken\nPARAMS(P)\n    uint a; uint b;\nPARAMS_END(P)\nKERNEL(broken)\n    OUT(0, y)\n"
        "BEGIN(P, NO_SHARED)\n    ST(y, p.a, no_such_thing);\nEND\n#endif\n";
    cr_assert_eq(b->kernel_create(gpu->device, broken, "broken", "GX=1 GY=1 GZ=1", 1, 2, 0, &none, NULL, &error), CDU_NO_DEVICE);
    cr_assert(strstr(error.words, "broken") && strstr(error.words, "no_such_thing"), "%s: %s", gpu->id, error.words);
    /* Oclgrind and NVIDIA's OpenCL count the prelude's lines too */
    bool counts_all = strstr(gpu->info.driver, "Oclgrind") || strstr(gpu->info.driver, "NVIDIA CUDA");
    cr_assert(strstr(error.words, ":8:") || counts_all, "%s: the line is missing: %s", gpu->id,
              error.words);
    cr_assert_neq(b->kernel_create(gpu->device, affine_source, "other", "GX=1 GY=1 GZ=1", 2, 3, 0, &none, NULL, &error), CDU_OK);
    cr_assert_eq(b->kernel_create(gpu->device, affine_source, "affine", "GX=32 GY=1", 2, 3, 0, &none, NULL, &error), CDU_FAILED);
    cr_assert(strstr(error.words, "GZ"));
    cr_assert_eq(b->kernel_create(gpu->device, affine_source, "affine", "GX=32 GY=1 GZ=1", 9, 3, 0, &none, NULL, &error),
                 CDU_FAILED);
    cr_assert_eq(b->kernel_create(gpu->device, affine_source, "affine", "GX=32 GY=1 GZ=1", 2, 33, 0, &none, NULL, &error),
                 CDU_FAILED);
    char huge[64];
    snprintf(huge, sizeof huge, "GX=%u GY=2 GZ=1", gpu->info.group_items);
    cr_assert_neq(b->kernel_create(gpu->device, affine_source, "affine", huge, 2, 3, 0, &none, NULL, &error), CDU_OK);
}

/* sinh is none of the functions that the prelude declares to PoCL's compiler. */
static void other_functions(const cdu_gpu *gpu)
{
    static const char source[] = "#ifdef KERNEL_curve\nPARAMS(P)\n    uint count;\nPARAMS_END(P)\nKERNEL(curve)\n    OUT(0, y)\n"
                                 "BEGIN(P, NO_SHARED)\n    uint i = GID(0);\n    if (i < p.count) ST(y, i, sinh(to_f(i)));\nEND\n#endif\n";
    cdu_kernel *k = kernel(gpu, source, "curve", "GX=4 GY=1 GZ=1", 1, 1);
    cdu_buffer *y = make(gpu, 4 * sizeof(float), CDU_MEM_READBACK);
    cdu_step step = {.kind = CDU_STEP_KERNEL, .kernel = k, .bindings = 1, .params = 1, .param = {4}, .groups = {1, 1, 1}, .label = "curve"};
    float seen[4];
    step.bind[0] = part(y, 0, sizeof seen, CDU_WRITE);
    run_steps(gpu, &step, 1);
    get(gpu, y, seen, sizeof seen);
    for (int i = 0; i < 4; i++) cr_assert_float_eq(seen[i], sinh(i), 1e-3, "%s: sinh(%d) is %g", gpu->id, i, seen[i]);
    gpu->backend->buffer_destroy(y);
    gpu->backend->kernel_destroy(k);
}

Test(backends, kernels_may_use_built_in_functions_that_the_prelude_does_not_declare)
{
    each_device(false, other_functions);
}

/* y[i] = the size of the item's subgroup, i being its place in the group. */
static const char subgroup_source[] =
    "#ifdef KERNEL_sizes\nPARAMS(sizes_params)\n    uint count;\nPARAMS_END(sizes_params)\n"
    "KERNEL(sizes)\n    OUTU(0, y)\nBEGIN(sizes_params, NO_SHARED)\n    uint i = GID(0);\n"
    "#if DIALECT_VULKAN\n    if (i < p.count) STU(y, i, gl_SubgroupSize);\n"
    "#else\n    if (i < p.count) STU(y, i, get_max_sub_group_size());\n#endif\nEND\n#endif\n";

static void sizes_are_those_asked_for(const cdu_gpu *gpu, uint32_t size)
{
    cdu_error error = {0};
    cdu_kernel *k;
    uint32_t seen[64] = {0};
    must(gpu->backend->kernel_create(gpu->device, subgroup_source, "sizes", "SUBGROUP=1 GX=64 GY=1 GZ=1", 1, 1, size, &k, NULL, &error));
    cdu_buffer *y = make(gpu, sizeof seen, CDU_MEM_READBACK);
    cdu_step step = {.kind = CDU_STEP_KERNEL, .kernel = k, .bindings = 1, .params = 1, .param = {64}, .groups = {1, 1, 1}, .label = "sizes"};
    step.bind[0] = part(y, 0, sizeof seen, CDU_WRITE);
    run_steps(gpu, &step, 1);
    get(gpu, y, seen, sizeof seen);
    for (int i = 0; i < 64; i++) cr_assert_eq(seen[i], size, "%s: item %d is in a subgroup of %u, not %u", gpu->id, i, seen[i], size);
    gpu->backend->buffer_destroy(y);
    gpu->backend->kernel_destroy(k);
}

/* Every size that the device offers; one that it does not is refused in words that name it. */
static void choose_sizes(const cdu_gpu *gpu)
{
    const cdu_device_info *info = &gpu->info;
    cdu_error error = {0};
    cdu_kernel *none = NULL;
    bool chooses = info->features & CDU_HAS_SUBGROUP_SIZE;
    for (uint32_t size = info->subgroup_min; chooses && size <= info->subgroup_max; size *= 2) sizes_are_those_asked_for(gpu, size);
    const uint32_t wrong[] = {2 * info->subgroup_max + 2, info->subgroup_min / 2 + 1, 3};
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(gpu->backend->kernel_create(gpu->device, affine_source, "affine", "GX=32 GY=1 GZ=1", 2, 3, wrong[i], &none, NULL, &error),
                     CDU_NO_DEVICE, "%s: subgroups of %u", gpu->id, wrong[i]);
        cr_assert(strstr(error.words, info->name) && strstr(error.words, "subgroups of"), "%s", error.words);
    }
}

Test(backends, subgroups_have_the_size_that_was_asked_for)
{
    each_device(false, choose_sizes);
}

Test(backends, bad_kernels_have_words)
{
    each_device(false, bad_kernels);
}

static void refuse(const cdu_gpu *gpu, cdu_step step, const char *why)
{
    cdu_error error = {0};
    cdu_list *list;
    cr_assert_eq(gpu->backend->list_create(gpu->device, &step, 1, NULL, &list, &error), CDU_FAILED, "%s: %s was taken", gpu->id,
                 why);
    cr_assert(strstr(error.words, "affine") || strstr(error.words, "copy"), "%s: no label in: %s", why, error.words);
}

static void bad_steps(const cdu_gpu *gpu)
{
    uint32_t align = gpu->info.binding_align;
    cdu_buffer *a = make(gpu, 4 * align, CDU_MEM_DEVICE);
    cdu_kernel *k = kernel(gpu, affine_source, "affine", "GX=32 GY=1 GZ=1", 2, 3);
    cdu_step good = {.kind = CDU_STEP_KERNEL,
                     .kernel = k,
                     .bindings = 2,
                     .params = 3,
                     .param = {64, 0, 0},
                     .groups = {2, 1, 1},
                     .label = "affine"};
    good.bind[0] = part(a, 0, align, CDU_READ);
    good.bind[1] = part(a, align, align, CDU_WRITE);
    run_steps(gpu, &good, 1);
    cdu_step bad = good;
    bad.bind[1].offset = align + 4;
    refuse(gpu, bad, "an offset that is not aligned");
    bad = good;
    bad.bind[1].bytes = 4 * align;
    refuse(gpu, bad, "a range beyond the buffer");
    bad = good;
    bad.bind[1].bytes = 0;
    refuse(gpu, bad, "an empty range");
    bad = good;
    bad.bindings = 1;
    refuse(gpu, bad, "a missing buffer");
    bad = good;
    bad.params = 2;
    refuse(gpu, bad, "a missing parameter");
    bad = good;
    bad.groups[1] = 0;
    refuse(gpu, bad, "no groups");
    bad = good;
    bad.groups[1] = 65536;
    if (gpu->info.group_count[1] < 65536) refuse(gpu, bad, "too many groups");
    refuse(gpu, copy_step(part(a, 0, 8, CDU_READ), part(a, 16, 12, CDU_WRITE), 0), "a copy of two sizes");
    refuse(gpu, copy_step(part(a, 2, 8, CDU_READ), part(a, 16, 8, CDU_WRITE), 0), "a copy from byte 2");
    cdu_step falling[] = {good, good};
    falling[0].segment = 1;
    cdu_list *list;
    cdu_error error = {0};
    cr_assert_eq(gpu->backend->list_create(gpu->device, falling, 2, NULL, &list, &error), CDU_FAILED);
    gpu->backend->kernel_destroy(k);
    gpu->backend->buffer_destroy(a);
}

Test(backends, bad_steps_are_refused_when_the_list_is_made)
{
    each_device(false, bad_steps);
}

typedef struct {
    const cdu_gpu *gpu;
    cdu_kernel *kernels[6];
} many;

static cdu_status make_one(void *context, size_t i, cdu_error *error)
{
    many *m = context;
    char defines[64];
    snprintf(defines, sizeof defines, "GX=32 GY=1 GZ=1 VARIANT=%zu", i);
    return m->gpu->backend->kernel_create(m->gpu->device, affine_source, "affine", defines, 2, 3, 0, &m->kernels[i], NULL, error);
}

static void parallel(const cdu_gpu *gpu)
{
    cdu_error error = {0};
    many m = {.gpu = gpu};
    must(cdu_parallel(4, 6, make_one, &m, &error));
    for (int i = 0; i < 6; i++) gpu->backend->kernel_destroy(m.kernels[i]);
}

Test(backends, kernels_are_compiled_on_several_threads)
{
    each_device(false, parallel);
}
