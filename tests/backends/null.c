/* null.c: the backend that runs nothing must find every planted fault and accept what is right. */
#include <criterion/criterion.h>
#include <string.h>

#include "tests/backends/support.h"

/* In and out marks of all kinds. */
static const char source[] =
    "#ifdef KERNEL_sum\nPARAMS(sum_params)\n    uint count; uint unused;\nPARAMS_END(sum_params)\n"
    "KERNEL(sum)\n    INV(0, a)\n    IN(1, b)\n    OUTV(2, y)\n    INOUT(3, total)\nBEGIN(sum_params, NO_SHARED)\nEND\n#endif\n"
    "#ifdef KERNEL_twice\nPARAMS(twice_params)\n    uint count; uint unused;\nPARAMS_END(twice_params)\n"
    "KERNEL(twice)\n    INOUT(0, y)\n    INOUT(1, z)\nBEGIN(twice_params, NO_SHARED)\nEND\n#endif\n";

enum { BYTES = 4096, PIECE = 1024 };
static cdu_gpu gpu;
static cdu_buffer *memory, *other;
static cdu_kernel *sum, *twice;

static void begin(void)
{
    cdu_error error = {0};
    must(cdu_gpu_open("null:0", false, false, &gpu, &error));
    memory = make(&gpu, BYTES, CDU_MEM_DEVICE);
    other = make(&gpu, BYTES, CDU_MEM_UPLOAD);
    sum = kernel(&gpu, source, "sum", "GX=32 GY=1 GZ=1", 4, 2);
    twice = kernel(&gpu, source, "twice", "GX=32 GY=1 GZ=1", 2, 2);
}

static void end(void)
{
    gpu.backend->kernel_destroy(sum);
    gpu.backend->kernel_destroy(twice);
    gpu.backend->buffer_destroy(memory);
    gpu.backend->buffer_destroy(other);
    cdu_gpu_close(&gpu);
}

TestSuite(null, .init = begin, .fini = end);

static cdu_step sum_step(void)
{
    cdu_step step = {.kind = CDU_STEP_KERNEL, .kernel = sum, .bindings = 4, .params = 2, .groups = {1, 1, 1}, .label = "adding"};
    for (uint32_t i = 0; i < 4; i++) step.bind[i] = part(memory, PIECE * i, PIECE, CDU_READ);
    step.bind[2].access = CDU_WRITE;
    step.bind[3].access = CDU_READ | CDU_WRITE;
    return step;
}

static void refused(const cdu_step *steps, uint32_t count, const char *words)
{
    cdu_error error = {0};
    cdu_list *list = NULL;
    cr_assert_eq(gpu.backend->list_create(gpu.device, steps, count, NULL, &list, &error), CDU_FAILED, "not refused: %s", words);
    cr_assert(strstr(error.words, words), "\"%s\" is not in: %s", words, error.words);
}

static void accepted(const cdu_step *steps, uint32_t count)
{
    cdu_error error = {0};
    cdu_list *list;
    must(gpu.backend->list_create(gpu.device, steps, count, NULL, &list, &error));
    gpu.backend->list_destroy(list);
}

Test(null, marks)
{
    cdu_step step = sum_step();
    accepted(&step, 1);
    step.bind[3].access = CDU_WRITE; /* sets what it may also add to */
    accepted(&step, 1);
    for (uint32_t i = 0; i < 4; i++) {
        static const uint32_t wrong[] = {CDU_WRITE, CDU_READ | CDU_WRITE, CDU_READ, CDU_READ};
        step = sum_step();
        step.bind[i].access = wrong[i];
        refused(&step, 1, "is marked");
        step.bind[i].access = 0;
        refused(&step, 1, "is marked nothing");
    }
    cdu_step copy = copy_step(part(memory, 0, 64, CDU_WRITE), part(other, 0, 64, CDU_WRITE), 0);
    refused(&copy, 1, "is marked");
}

Test(null, ranges_alignment_and_groups)
{
    cdu_step step = sum_step();
    step.bind[1].offset = 128;
    refused(&step, 1, "not a multiple of 256");
    step = sum_step();
    step.bind[1].bytes = 1022;
    refused(&step, 1, "size 1022 not of 4");
    step = sum_step();
    step.bind[3].bytes = PIECE + 4;
    refused(&step, 1, "bytes 3072 to 4100 are bound of a buffer of 4096");
    step = sum_step();
    step.groups[1] = 65536;
    refused(&step, 1, "65536 groups on axis 1");
    step = sum_step();
    step.params = 3;
    refused(&step, 1, "do not fit its kernel");
    step = sum_step();
    step.bindings = 3;
    refused(&step, 1, "do not fit its kernel");
    cdu_step steps[] = {sum_step(), sum_step()};
    steps[0].segment = 1;
    refused(steps, 2, "follows segment 1");
    cdu_error error = {0};
    cdu_kernel *none;
    cr_assert_eq(gpu.backend->kernel_create(gpu.device, source, "sum", "GX=32 GY=1 GZ=1", 3, 2, 0, &none, NULL, &error),
                 CDU_FAILED);
    cr_assert(strstr(error.words, "declares buffer 3"), "%s", error.words);
}

Test(null, aliases)
{
    cdu_step step = {.kind = CDU_STEP_KERNEL, .kernel = twice, .bindings = 2, .params = 2, .groups = {1, 1, 1}, .label = "twice"};
    step.bind[0] = part(memory, 0, PIECE, CDU_READ | CDU_WRITE);
    step.bind[1] = step.bind[0];
    accepted(&step, 1); /* both INOUT */
    step = sum_step();
    step.bind[2].offset = 0;
    refused(&step, 1, "are the same memory");
}

/* Each hazard without its barrier, with it, and with a new segment in its place. */
Test(null, barriers)
{
    enum { HAZARDS = 3 };
    cdu_binding low = part(memory, 0, 512, CDU_WRITE), overlapping = part(memory, 508, 512, CDU_WRITE),
                apart = part(memory, 512, 512, CDU_WRITE);
    cdu_binding from = part(other, 0, 512, CDU_READ), to = part(other, 1024, 512, CDU_WRITE);
    cdu_binding read = overlapping;
    read.access = CDU_READ;
    cdu_step pairs[HAZARDS][2] = {
        {fill_step(low, 1, 0), fill_step(overlapping, 2, 0)}, /* write after write */
        {fill_step(low, 1, 0), copy_step(read, to, 0)},       /* read after write */
        {copy_step(read, to, 0), fill_step(low, 2, 0)},       /* write after read */
    };
    for (int i = 0; i < HAZARDS; i++) {
        pairs[i][1].barrier = false;
        refused(pairs[i], 2, "a barrier is missing before step");
        pairs[i][1].segment = 1;
        accepted(pairs[i], 2);
        pairs[i][1].segment = 0;
        pairs[i][1].barrier = true;
        accepted(pairs[i], 2);
        /* a barrier in between serves as well */
        cdu_step three[] = {pairs[i][0], copy_step(from, part(other, 2048, 512, CDU_WRITE), 0), pairs[i][1]};
        three[2].barrier = false;
        accepted(three, 3);
        three[1].barrier = false;
        refused(three, 3, "a barrier is missing before step");
    }
    cdu_step harmless[] = {fill_step(low, 1, 0), fill_step(apart, 2, 0), copy_step(from, to, 0)};
    harmless[1].barrier = harmless[2].barrier = false;
    accepted(harmless, 3);
    cdu_step reads[] = {copy_step(from, low, 0), copy_step(from, apart, 0)};
    reads[1].barrier = false;
    accepted(reads, 2);
}

Test(null, copies_fills_and_patches_are_done)
{
    cdu_error error = {0};
    uint32_t words[BYTES / 4], seen[BYTES / 4];
    for (uint32_t i = 0; i < BYTES / 4; i++) words[i] = i * 77;
    put(&gpu, other, words, BYTES);
    cdu_buffer *back = make(&gpu, BYTES, CDU_MEM_READBACK), *patch = make(&gpu, CDU_PATCH_BYTES, CDU_MEM_UPLOAD);
    cdu_step steps[] = {copy_step(part(other, 0, BYTES, CDU_READ), part(memory, 0, BYTES, CDU_WRITE), 0),
                        fill_step(part(memory, 40, 8, CDU_WRITE), 5, 0),
                        copy_step(part(memory, 0, BYTES, CDU_READ), part(back, 0, BYTES, CDU_WRITE), 0)};
    cdu_list *list;
    must(gpu.backend->list_create(gpu.device, steps, 3, patch, &list, &error));
    submit_and_wait(&gpu, list, 0, "abcd", 4);
    get(&gpu, back, seen, BYTES);
    words[10] = words[11] = 5;
    cr_assert_eq(memcmp(words, seen, BYTES), 0);
    get(&gpu, patch, seen, 4);
    cr_assert_eq(memcmp(seen, "abcd", 4), 0);
    /* still mapped: the host forgot to give it back */
    void *at;
    cdu_ticket ticket;
    must(gpu.backend->buffer_map(back, 0, 4, CDU_READ, &at, &error));
    cr_assert_eq(gpu.backend->submit(list, 0, CDU_COMPUTE, NULL, 0, &ticket, &error), CDU_FAILED);
    cr_assert(strstr(error.words, "still mapped"));
    must(gpu.backend->buffer_unmap(back, &error));
    gpu.backend->list_destroy(list);
    gpu.backend->buffer_destroy(back);
    gpu.backend->buffer_destroy(patch);
}

Test(null, the_host_writes_behind_a_buffers_end)
{
    cdu_error error = {0};
    char *at;
    must(gpu.backend->buffer_map(other, 0, BYTES, CDU_WRITE, (void **)&at, &error));
    at[BYTES + 3] = 1;
    cr_assert_eq(gpu.backend->buffer_unmap(other, &error), CDU_FAILED);
    cr_assert(strstr(error.words, "behind the end"));
}
