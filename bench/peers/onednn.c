/* onednn.c: all 3x3 layers of a network through oneDNN's C API (2.x), each in the layouts that oneDNN chooses for itself; reorders are not
 * timed. Arguments: mode (auto, direct, winograd; nhwc: auto, activations in NHWC), then IN:OUT:SIZE:TIMES for each shape. Prints its version,
 * then for each line read the seconds of the three passes. onednn.py builds and runs this. */
#include <dnnl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#if DNNL_VERSION_MAJOR != 2
#error "this is written for oneDNN 2"
#endif

enum { SHAPES = 64, PASSES = 3 };

typedef struct {
    int in, out, size, times, batch;
    dnnl_primitive_t primitive[PASSES];
    dnnl_exec_arg_t argument[PASSES][3];
} shape;

static dnnl_engine_t engine;
static dnnl_stream_t stream;

static void check(dnnl_status_t status, const char *what)
{
    if (status == dnnl_success) return;
    fprintf(stderr, "oneDNN: %s failed with status %d\n", what, (int)status);
    exit(1);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Memory as the primitive wants it, with numbers in it. */
static dnnl_memory_t memory_of(dnnl_primitive_desc_t primitive, dnnl_query_t which)
{
    const dnnl_memory_desc_t *layout = dnnl_primitive_desc_query_md(primitive, which, 0);
    dnnl_memory_t memory;
    void *bytes;
    check(dnnl_memory_create(&memory, layout, engine, DNNL_MEMORY_ALLOCATE), "memory");
    check(dnnl_memory_get_data_handle(memory, &bytes), "memory");
    float *numbers = bytes;
    for (size_t i = 0, n = dnnl_memory_desc_get_size(layout) / 4; i < n; i++) numbers[i] = (float)(i * 2654435761u % 1000003) / 1000003 - 0.5f;
    return memory;
}

static dnnl_status_t describe(const shape *s, int pass, dnnl_alg_kind_t algorithm, dnnl_format_tag_t tag, dnnl_primitive_desc_t *out)
{
    dnnl_dims_t x = {s->batch, s->in, s->size, s->size}, w = {s->out, s->in, 3, 3}, y = {s->batch, s->out, s->size, s->size}, one = {1, 1};
    dnnl_memory_desc_t mx, mw, my;
    dnnl_convolution_desc_t forward, backward;
    dnnl_primitive_desc_t hint;
    check(dnnl_memory_desc_init_by_tag(&mx, 4, x, dnnl_f32, tag), "layout");
    check(dnnl_memory_desc_init_by_tag(&mw, 4, w, dnnl_f32, dnnl_format_tag_any), "layout");
    check(dnnl_memory_desc_init_by_tag(&my, 4, y, dnnl_f32, tag), "layout");
    check(dnnl_convolution_forward_desc_init(&forward, dnnl_forward_training, algorithm, &mx, &mw, NULL, &my, one, one, one), "shape");
    dnnl_status_t status = dnnl_primitive_desc_create(pass ? &hint : out, &forward, NULL, engine, NULL);
    if (!pass || status != dnnl_success) return status;
    if (pass == 1) check(dnnl_convolution_backward_data_desc_init(&backward, algorithm, &mx, &mw, &my, one, one, one), "shape");
    else check(dnnl_convolution_backward_weights_desc_init(&backward, algorithm, &mx, &mw, NULL, &my, one, one, one), "shape");
    status = dnnl_primitive_desc_create(out, &backward, NULL, engine, hint);
    dnnl_primitive_desc_destroy(hint);
    return status;
}

static void prepare(shape *s, int pass, dnnl_alg_kind_t algorithm, dnnl_format_tag_t tag)
{
    dnnl_primitive_desc_t primitive;
    /* where oneDNN has no Winograd it is asked for its own choice */
    if (describe(s, pass, algorithm, tag, &primitive) != dnnl_success)
        check(describe(s, pass, dnnl_convolution_auto, tag, &primitive), "convolution");
    dnnl_exec_arg_t *a = s->argument[pass];
    a[0].arg = pass == 1 ? DNNL_ARG_DIFF_SRC : DNNL_ARG_SRC;
    a[1].arg = pass == 2 ? DNNL_ARG_DIFF_WEIGHTS : DNNL_ARG_WEIGHTS;
    a[2].arg = pass ? DNNL_ARG_DIFF_DST : DNNL_ARG_DST;
    a[0].memory = memory_of(primitive, pass == 1 ? dnnl_query_diff_src_md : dnnl_query_src_md);
    a[1].memory = memory_of(primitive, pass == 2 ? dnnl_query_diff_weights_md : dnnl_query_weights_md);
    a[2].memory = memory_of(primitive, pass ? dnnl_query_diff_dst_md : dnnl_query_dst_md);
    check(dnnl_primitive_create(&s->primitive[pass], primitive), "primitive");
    dnnl_primitive_desc_destroy(primitive);
}

static double run(const shape *s, int pass)
{
    double began = now();
    check(dnnl_primitive_execute(s->primitive[pass], stream, 3, s->argument[pass]), "execution");
    check(dnnl_stream_wait(stream), "execution");
    return now() - began;
}

int main(int argc, char **argv)
{
    static const struct { const char *name; dnnl_alg_kind_t algorithm; dnnl_format_tag_t tag; } modes[] = {
        {"auto", dnnl_convolution_auto, dnnl_format_tag_any}, {"direct", dnnl_convolution_direct, dnnl_format_tag_any},
        {"winograd", dnnl_convolution_winograd, dnnl_format_tag_any}, {"nhwc", dnnl_convolution_auto, dnnl_nhwc},
    };
    static shape shapes[SHAPES];
    char line[64];
    int mode = 0, count = 0;
    while (argc > 1 && mode < 4 && strcmp(argv[1], modes[mode].name)) mode++;
    if (argc < 3 || mode == 4 || argc - 2 > SHAPES) return fprintf(stderr, "usage: onednn MODE IN:OUT:SIZE:TIMES:BATCH...\n"), 2;
    check(dnnl_engine_create(&engine, dnnl_cpu, 0), "engine");
    check(dnnl_stream_create(&stream, engine, dnnl_stream_default_flags), "stream");
    for (; count < argc - 2; count++) {
        shape *s = &shapes[count];
        if (sscanf(argv[count + 2], "%d:%d:%d:%d:%d", &s->in, &s->out, &s->size, &s->times, &s->batch) != 5) return 2;
        for (int pass = 0; pass < PASSES; pass++) prepare(s, pass, modes[mode].algorithm, modes[mode].tag), run(s, pass);
    }
    const dnnl_version_t *version = dnnl_version();
    printf("%d.%d.%d\n", version->major, version->minor, version->patch);
    fflush(stdout);
    while (fgets(line, sizeof line, stdin)) {
        double seconds[PASSES] = {0};
        for (int i = 0; i < count; i++)
            for (int pass = 0; pass < PASSES; pass++) seconds[pass] += shapes[i].times * run(&shapes[i], pass);
        printf("%.9f %.9f %.9f\n", seconds[0], seconds[1], seconds[2]);
        fflush(stdout);
    }
    return 0;
}
