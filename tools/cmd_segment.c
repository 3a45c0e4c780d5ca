/* cmd_segment.c: `cdunet segment`: a slide and a model to a label map, polygons and an overlay, and a table of the classes'
 * areas. Each file appears when it is finished; the label map last, so that where it stands the others do too. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cdunet/log.h"
#include "cdunet/slide.h"
#include "core/base/file.h"
#include "core/base/progress.h"
#include "core/ops/open.h"
#include "core/segment/engine.h"
#include "core/slide/contour.h"
#include "core/slide/pyramid.h"
#include "tools/commands.h"
#include "tools/options.h"
#include "tools/segment_overlay.h"

typedef struct {
    const char *slide, *model, *out, *geojson, *overlay, *device;
    double mpp, slide_mpp, smallest;
    uint64_t tile, batch, memory;
    bool exact;
    bool keep_glass, json;
} arguments;

/* What the rows of labels go into. */
typedef struct {
    cdu_pyramid *pyramid;
    cdu_contour *contour;
    cdu_overlay overlay;
    bool wants_overlay;
    uint32_t classes;
    uint64_t pixels[256];
} sink;

static cdu_status take_rows(void *context, int64_t y, uint32_t rows, int64_t width, const uint8_t *labels, cdu_error *error)
{
    (void)y;
    sink *s = context;
    for (size_t i = 0; i < (size_t)width * rows; i++) s->pixels[labels[i]]++;
    if (s->wants_overlay) cdu_overlay_take(&s->overlay, labels, rows);
    if (s->contour) CDU_TRY(cdu_contour_write(s->contour, labels, rows, error));
    return cdu_pyramid_write(s->pyramid, labels, rows, error);
}

static void drop(sink *s)
{
    if (s->contour) cdu_contour_discard(s->contour);
    cdu_pyramid_discard(s->pyramid);
    cdu_overlay_end(&s->overlay);
    s->contour = NULL;
    s->pyramid = NULL;
}

static cdu_status open_sink(sink *s, const arguments *a, const cdu_model_about *about, const char *const *names, cdu_slide *slide,
                            double mpp, cdu_error *error)
{
    char description[512];
    int64_t width, height;
    cdu_slide_size_at(slide, mpp, &width, &height);
    s->classes = about->settings.classes;
    cdu_pyramid_settings settings = {.width = width, .height = height, .mpp = mpp, .labels = true, .description = description};
    int used = snprintf(description, sizeof description, "cdunet label map, MPP = %g; classes:", mpp);
    for (uint32_t c = 0; c < s->classes; c++) {
        memcpy(settings.palette[c], about->class_colors[c], 3);
        if (used > 0 && (size_t)used < sizeof description)
            used += snprintf(description + used, sizeof description - (size_t)used, " %u %s%s", c, names[c],
                             c + 1 < s->classes ? "," : "");
    }
    for (char *at = description; *at; at++)
        if ((unsigned char)*at >= 128) *at = '?'; /* a TIFF's text is ASCII */
    if (a->geojson) {
        cdu_contour_settings contour = {.width = width,
                                        .height = height,
                                        .scale = mpp / cdu_slide_info_of(slide).mpp,
                                        .classes = s->classes,
                                        .skip = 1,
                                        .names = names,
                                        .colors = about->class_colors,
                                        .smallest = a->smallest / (mpp * mpp),
                                        .tolerance = 0.75};
        CDU_TRY(cdu_contour_begin(&contour, &s->contour, error));
    }
    s->wants_overlay = a->overlay != NULL;
    if (s->wants_overlay) CDU_TRY(cdu_overlay_begin(&s->overlay, width, height, mpp, s->classes, about->class_colors, error));
    return cdu_pyramid_begin(a->out, &settings, &s->pyramid, error);
}

/* Areas of different slides get different ids, those of one slide the same at every run (FNV-1a of the file's name). */
static uint64_t id_seed(const char *path)
{
    const char *slash = strrchr(path, '/');
    uint64_t hash = 14695981039346656037u;
    for (const char *at = slash ? slash + 1 : path; *at; at++) hash = (hash ^ (unsigned char)*at) * 1099511628211u;
    return hash;
}

static cdu_status write_polygons(sink *s, const arguments *a, cdu_slide *slide, cdu_error *error)
{
    cdu_annotations polygons = {0};
    cdu_slide_info info = cdu_slide_info_of(slide);
    cdu_status status = cdu_contour_finish(s->contour, &polygons, error);
    s->contour = NULL;
    if (status != CDU_OK) return status;
    cdu_annotations_shift(&polygons, -(double)info.bounds_x, -(double)info.bounds_y); /* QuPath's origin */
    status = cdu_annotations_write(a->geojson, &polygons, id_seed(a->slide), error);
    if (status == CDU_OK) cdu_log(CDU_LOG_INFO, "%s: %zu areas", a->geojson, polygons.count);
    cdu_annotations_free(&polygons);
    return status;
}

static cdu_status close_sink(sink *s, const arguments *a, cdu_slide *slide, cdu_error *error)
{
    if (s->contour) CDU_TRY(write_polygons(s, a, slide, error));
    if (s->wants_overlay) CDU_TRY(cdu_overlay_write(&s->overlay, slide, a->overlay, error));
    cdu_pyramid *pyramid = s->pyramid;
    s->pyramid = NULL;
    return cdu_pyramid_finish(pyramid, error);
}

static double share(uint64_t part, uint64_t whole)
{
    return whole ? 100.0 * (double)part / (double)whole : 0;
}

static void print_json(const sink *s, const char *const *names, double mpp)
{
    printf("{\"mpp\": %.9g, \"classes\": [", mpp);
    for (uint32_t c = 0; c < s->classes; c++) {
        printf("%s{\"name\": \"", c ? ", " : "");
        for (const char *at = names[c]; *at; at++)
            if (*at == '"' || *at == '\\')
                printf("\\%c", *at);
            else if ((unsigned char)*at < 32)
                printf("\\u%04x", (unsigned)*at);
            else
                putchar(*at);
        printf("\", \"pixels\": %llu, \"mm2\": %.9g}", (unsigned long long)s->pixels[c], (double)s->pixels[c] * mpp * mpp * 1e-6);
    }
    printf("]}\n");
}

static void print_areas(const sink *s, const char *const *names, double mpp)
{
    uint64_t all = 0;
    int longest = 5;
    for (uint32_t c = 0; c < s->classes; c++) {
        all += s->pixels[c];
        if ((int)strlen(names[c]) > longest) longest = (int)strlen(names[c]);
    }
    printf("%-*s  %12s  %12s  %17s\n", longest, "class", "area mm2", "% of slide", "% without first");
    for (uint32_t c = 0; c < s->classes; c++) {
        printf("%-*s  %12.4f  %12.2f  ", longest, names[c], (double)s->pixels[c] * mpp * mpp * 1e-6, share(s->pixels[c], all));
        if (c)
            printf("%17.2f\n", share(s->pixels[c], all - s->pixels[0]));
        else
            printf("%17s\n", "");
    }
}

static cdu_status segment(const arguments *a, const cdu_gpu *gpu, cdu_slide *slide, const cdu_model_about *about,
                          const cdu_weights *weights, cdu_error *error)
{
    const cdu_segment_settings settings = {.tile = (uint32_t)a->tile, .batch = (uint32_t)a->batch, .memory = a->memory, .exact = a->exact,
                                           .keep_glass = a->keep_glass};
    const double mpp = a->mpp > 0 ? a->mpp : about->mpp;
    const char *names[CDU_CLASS_LIMIT];
    for (uint32_t c = 0; c < about->settings.classes; c++) names[c] = about->class_names[c];
    if (mpp > 1.25 * about->mpp || mpp < 0.8 * about->mpp)
        cdu_log(CDU_LOG_WARNING, "the model was trained at %g micrometres a pixel and is used at %g", about->mpp, mpp);
    sink s = {0};
    cdu_segmenter *segmenter = NULL;
    cdu_status status = open_sink(&s, a, about, names, slide, mpp, error);
    if (status == CDU_OK) status = cdu_segmenter_create(gpu, about, weights, &settings, &segmenter, error);
    double began = cdu_seconds();
    if (status == CDU_OK) status = cdu_segment_slide(segmenter, slide, mpp, take_rows, &s, "segmenting", error);
    double ended = cdu_seconds();
    cdu_segmenter_destroy(segmenter);
    if (status == CDU_OK) status = close_sink(&s, a, slide, error);
    if (status == CDU_OK) {
        int64_t width, height;
        cdu_slide_size_at(slide, mpp, &width, &height);
        cdu_log(CDU_LOG_INFO, "%s: %lld x %lld pixels of %g micrometres on %s in %.1f s", a->out, (long long)width,
                (long long)height, mpp, gpu->id, ended - began);
        if (a->json)
            print_json(&s, names, mpp);
        else
            print_areas(&s, names, mpp);
    }
    drop(&s);
    return status;
}

/* A folder that cannot be written shall not be found out after an hour. */
static cdu_status try_outputs(const arguments *a, cdu_error *error)
{
    const char *const names[] = {a->out, a->geojson, a->overlay};
    for (int i = 0; i < 3; i++)
        if (names[i]) CDU_TRY(cdu_file_try(names[i], error));
    return CDU_OK;
}

static cdu_status run(const arguments *a, cdu_error *error)
{
    cdu_model_about about = {0};
    cdu_weights weights = {0};
    cdu_slide *slide = NULL;
    cdu_gpu gpu = {0};
    CDU_TRY(cdu_model_read(a->model, &about, &weights, error));
    cdu_status status = cdu_slide_open(a->slide, a->slide_mpp, &slide, error);
    if (status == CDU_OK) status = try_outputs(a, error);
    if (status == CDU_OK) status = cdu_open_device(a->device, false, &gpu, error);
    if (status == CDU_OK) {
        status = segment(a, &gpu, slide, &about, &weights, error);
        cdu_gpu_close(&gpu);
    }
    cdu_slide_close(slide);
    cdu_weights_free(&weights);
    return status;
}

static cdu_status check_outputs(const arguments *a, cdu_error *error)
{
    const char *const names[] = {a->out, a->geojson, a->overlay, a->slide, a->model};
    for (int i = 0; i < 3; i++)
        for (int k = i + 1; k < 5; k++)
            if (names[i] && names[k] && cdu_file_same(names[i], names[k]))
                return cdu_fail(error, CDU_USAGE, "%s is named twice; every file needs a name of its own", names[i]);
    return CDU_OK;
}

cdu_status cmd_segment(int argc, char **argv, cdu_error *error)
{
    arguments a = {.device = "auto"};
    const cdu_option options[] = {
        {.name = "model",
         .letter = 'm',
         .type = CDU_OPTION_TEXT,
         .value = &a.model,
         .argument = "FILE",
         .required = true,
         .help = "model.safetensors, as `cdunet train` writes it"},
        {.name = "out",
         .letter = 'o',
         .type = CDU_OPTION_TEXT,
         .value = &a.out,
         .argument = "FILE",
         .required = true,
         .help = "label map: tiled pyramidal TIFF with a palette"},
        {.name = "geojson",
         .type = CDU_OPTION_TEXT,
         .value = &a.geojson,
         .argument = "FILE",
         .help = "polygons of each class but the first, for QuPath"},
        {.name = "overlay",
         .type = CDU_OPTION_TEXT,
         .value = &a.overlay,
         .argument = "FILE",
         .help = "PNG of the slide with the classes, at most 2000 pixels a side"},
        {.name = "device",
         .letter = 'd',
         .type = CDU_OPTION_TEXT,
         .value = &a.device,
         .argument = "DEVICE",
         .fallback = "auto",
         .help = "opencl:0, vulkan:1, a part of a device's name, or auto"},
        {.name = "mpp",
         .type = CDU_OPTION_FLOAT,
         .value = &a.mpp,
         .argument = "X",
         .least = 0.01,
         .most = 1000,
         .help = "micrometres a pixel at which the slide is segmented, and of the label map;\nthe model's if not given"},
        {.name = "slide-mpp",
         .type = CDU_OPTION_FLOAT,
         .value = &a.slide_mpp,
         .argument = "X",
         .least = 0.01,
         .most = 10000,
         .help = "micrometres a pixel of the slide, where its file does not say"},
        {.name = "tile",
         .type = CDU_OPTION_UNSIGNED,
         .value = &a.tile,
         .argument = "N",
         .least = 16,
         .most = 8192,
         .help = "pixels of a tile's side; the model's training tile, at least 512, if not given"},
        {.name = "batch",
         .type = CDU_OPTION_UNSIGNED,
         .value = &a.batch,
         .argument = "N",
         .least = 1,
         .most = 256,
         .help = "tiles at once; chosen by the device if not given"},
        {.name = "exact-conv",
         .type = CDU_OPTION_FLAG,
         .value = &a.exact,
         .help = "direct convolution everywhere: slower on CPUs, without the rounding of Winograd's"},
        {.name = "memory",
         .type = CDU_OPTION_BYTES,
         .value = &a.memory,
         .argument = "LIMIT",
         .help = "device memory that may be used, such as 2GiB or 900MiB: fewer tiles at once,\nwith the same results"},
        {.name = "smallest",
         .type = CDU_OPTION_FLOAT,
         .value = &a.smallest,
         .argument = "UM2",
         .fallback = "400",
         .least = 0,
         .most = 1e9,
         .help = "polygons and holes under this area, in square micrometres, are left out"},
        {.name = "keep-glass", .type = CDU_OPTION_FLAG, .value = &a.keep_glass, .help = "run the network on empty glass too"},
        {.name = "json", .type = CDU_OPTION_FLAG, .value = &a.json, .help = "print the areas as JSON"},
        {0},
    };
    const cdu_positional positionals[] = {
        {.name = "SLIDE", .value = &a.slide, .help = "what OpenSlide reads, or a PNG, JPEG or TIFF picture"}, {0}};
    const cdu_usage usage = {"segment", "segments a slide: label map, polygons, overlay; prints each class's area", NULL, options,
                             positionals};
    bool done = false;
    CDU_TRY(cdu_options_parse(&usage, argc, argv, &done, error));
    if (done) return CDU_OK;
    CDU_TRY(check_outputs(&a, error));
    return run(&a, error);
}
