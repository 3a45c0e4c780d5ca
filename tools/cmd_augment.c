/* cmd_augment.c: cdunet augment: a sheet of training tiles before and after augmentation, with their labels, as the device makes them: the
 * operator, the draws and the tiles are those of training. A row a tile; a column each part alone, or several draws of one part. */
#include <cairo.h>
#include <inttypes.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/graph/program.h"
#include "core/ops/open.h"
#include "core/train/augment.h"
#include "core/train/loader.h"
#include "tools/commands.h"
#include "tools/options.h"
#include "tools/picture.h"

enum { MARGIN = 24, GAP = 10, HEADING = 44, CAPTION = 26, LEGEND = 44, DRAWS = 8 };

static const struct { const char *name; size_t offset; } parts[] = {
    {"flip", 0},
    {"hue", offsetof(cdu_study, augment.hue)},
    {"brightness", offsetof(cdu_study, augment.brightness)},
    {"scale", offsetof(cdu_study, augment.scale)},
    {"rotate", offsetof(cdu_study, augment.rotate)},
    {"shear", offsetof(cdu_study, augment.shear)},
    {"noise", offsetof(cdu_study, augment.noise)},
    {"occlusion", offsetof(cdu_study, augment.occlusion)},
};
enum { PARTS = sizeof parts / sizeof *parts, ALL = PARTS };

typedef struct {
    const char *path, *out, *device, *part;
    uint64_t rows, panel, epoch, threads, seed;
    bool seed_given;
    cdu_study *study;
    cdu_tile_index index;
    cdu_loader *loader;
    cdu_batch batch;
    cdu_gpu gpu;
    bool gpu_open;
    cdu_graph *graph;
    cdu_program *program;
    cdu_value tile, table, image, label;
    cdu_augment *words;
    float *pixels;
    uint32_t *labels;
    uint8_t *rgb;
} sheet;

/* The study's range of one part alone. */
static cdu_study only(const cdu_study *study, int part)
{
    cdu_study copy = *study;
    if (part == ALL) return copy;
    memset(&copy.augment, 0, sizeof copy.augment);
    if (!parts[part].offset) copy.augment.flip = study->augment.flip;
    else memcpy((char *)&copy + parts[part].offset, (const char *)study + parts[part].offset, sizeof(double));
    return copy;
}

static void title_of(const cdu_study *study, int part, char text[48])
{
    double range = 0;
    if (part == ALL) snprintf(text, 48, "all");
    else if (!parts[part].offset) snprintf(text, 48, "flip%s", study->augment.flip ? "" : ": off");
    else {
        memcpy(&range, (const char *)study + parts[part].offset, sizeof range);
        if (range > 0) snprintf(text, 48, "%s %g", parts[part].name, range);
        else snprintf(text, 48, "%s: off", parts[part].name);
    }
}

static cdu_status find_part(const char *name, int *part, cdu_error *error)
{
    const char *names[PARTS];
    for (int i = 0; i < PARTS; i++) {
        names[i] = parts[i].name;
        *part = i;
        if (!strcmp(name, parts[i].name)) return CDU_OK;
    }
    const char *nearest = cdu_options_nearest(name, names, PARTS);
    return cdu_fail(error, CDU_USAGE,
                    "augment: --part: there is no '%s'%s%s; there are flip, hue, brightness, scale, rotate, shear, noise, occlusion", name,
                    nearest ? ": did you mean " : "", nearest ? nearest : "");
}

/* ---- tiles and device ---- */

static cdu_status prepare(sheet *s, cdu_error *error)
{
    CDU_TRY(cdu_study_read(s->path, &s->study, error));
    if (s->seed_given) s->study->train.seed = s->seed;
    CDU_TRY(cdu_tile_index_build(s->study, CDU_SPLIT_TRAIN, false, (uint32_t)s->threads, &s->index, error));
    cdu_loader_settings settings = {.seed = s->study->train.seed, .batch = (uint32_t)s->rows, .threads = (uint32_t)s->threads};
    CDU_TRY(cdu_loader_create(s->study, &s->index, &settings, &s->loader, error));
    CDU_TRY(cdu_loader_next(s->loader, &s->batch, error));
    uint32_t n = (uint32_t)s->rows, side = s->index.size;
    size_t area = (size_t)n * side * side;
    CDU_TRY(cdu_allocate(&s->words, n, sizeof *s->words, error));
    CDU_TRY(cdu_allocate(&s->pixels, 3 * area, sizeof *s->pixels, error));
    CDU_TRY(cdu_allocate(&s->labels, area, sizeof *s->labels, error));
    CDU_TRY(cdu_allocate(&s->rgb, (size_t)side * side, 3, error));
    CDU_TRY(cdu_open_device(s->device, false, &s->gpu, error));
    s->gpu_open = true;
    CDU_TRY(cdu_graph_create(&s->graph, error));
    s->tile = cdu_graph_input(s->graph, "tile", (cdu_shape){n, side, side, 1}, CDU_U32);
    s->table = cdu_graph_input(s->graph, "augment", (cdu_shape){n, 1, 1, CDU_AUGMENT_WORDS}, CDU_U32);
    s->image = cdu_tile_augment(s->graph, "input", s->tile, s->table, false, &s->label);
    CDU_TRY(cdu_graph_status(s->graph, error));
    cdu_graph_output(s->graph, s->image);
    cdu_graph_output(s->graph, s->label);
    CDU_TRY(cdu_program_create(s->graph, &s->gpu, &(cdu_plan_options){0}, &s->program, error));
    return cdu_program_write(s->program, s->tile, s->batch.pixels, error);
}

static void release(sheet *s)
{
    cdu_program_destroy(s->program);
    cdu_graph_destroy(s->graph);
    if (s->gpu_open) cdu_gpu_close(&s->gpu);
    cdu_loader_destroy(s->loader);
    cdu_tile_index_free(&s->index);
    cdu_study_free(s->study);
    free(s->words);
    free(s->pixels);
    free(s->labels);
    free(s->rgb);
}

/* All rows' tiles through the device; a null study leaves them as they are. */
static cdu_status compute(sheet *s, const cdu_study *study, uint64_t epoch, cdu_error *error)
{
    cdu_study none = {0};
    for (uint32_t i = 0; i < s->rows; i++)
        cdu_augment_draw(study ? study : &none, s->study->train.seed, epoch, s->batch.asked[i], s->index.size, &s->words[i]);
    CDU_TRY(cdu_program_write(s->program, s->table, s->words, error));
    CDU_TRY(cdu_program_run(s->program, NULL, 0, error));
    CDU_TRY(cdu_program_read(s->program, s->image, s->pixels, error));
    return cdu_program_read(s->program, s->label, s->labels, error);
}

/* ---- the picture ---- */

/* One tile, or its labels, scaled to a panel. */
static cdu_status paint_square(const sheet *s, cairo_t *cairo, double left, double top, cdu_error *error)
{
    double factor = (double)s->panel / s->index.size;
    cairo_save(cairo);
    cairo_translate(cairo, left, top);
    cairo_scale(cairo, factor, factor);
    cdu_status status = cdu_picture_panel(cairo, 0, 0, s->index.size, s->index.size, s->rgb, error);
    cairo_restore(cairo);
    return status;
}

static cdu_status paint_tile(const sheet *s, cairo_t *cairo, uint32_t row, double left, double top, cdu_error *error)
{
    size_t area = (size_t)s->index.size * s->index.size, first = row * area;
    for (size_t i = 0; i < 3 * area; i++) s->rgb[i] = (uint8_t)lround(s->pixels[3 * first + i] * 255.0);
    CDU_TRY(paint_square(s, cairo, left, top, error));
    for (size_t i = 0; i < area; i++) {
        uint32_t value = s->labels[first + i];
        memcpy(s->rgb + 3 * i, value < s->study->class_count ? s->study->classes[value].color : cdu_picture_excluded, 3);
    }
    return paint_square(s, cairo, left, top + (double)s->panel + 3, error);
}

static double row_height(const sheet *s)
{
    return 2.0 * (double)s->panel + 3 + CAPTION;
}

static cdu_status paint_column(sheet *s, cairo_t *cairo, uint32_t column, int part, uint64_t epoch, cdu_error *error)
{
    char title[48] = "before";
    double left = MARGIN + (double)column * ((double)s->panel + GAP), top = MARGIN + HEADING;
    cdu_study study = only(s->study, part < 0 ? ALL : part);
    if (part >= 0) title_of(s->study, part, title);
    CDU_TRY(compute(s, part < 0 ? NULL : &study, epoch, error));
    cairo_set_source_rgb(cairo, 0.1, 0.1, 0.1);
    cdu_picture_text(cairo, left, MARGIN + 26, 15, true, title);
    for (uint32_t r = 0; r < s->rows; r++, top += row_height(s)) CDU_TRY(paint_tile(s, cairo, r, left, top, error));
    return CDU_OK;
}

static void paint_words(const sheet *s, cairo_t *cairo, double height)
{
    double x = MARGIN;
    cairo_set_source_rgb(cairo, 0.25, 0.25, 0.25);
    for (uint32_t r = 0; r < s->rows; r++) {
        char text[300];
        const cdu_tile *tile = &s->index.tiles[s->batch.tiles[r]];
        const char *path = s->study->slides[tile->slide].slide, *slash = strrchr(path, '/');
        snprintf(text, sizeof text, "%s, %" PRId64 ", %" PRId64 " at %g um a pixel", slash ? slash + 1 : path, tile->x, tile->y,
                 s->index.mpp);
        cdu_picture_text(cairo, MARGIN, MARGIN + HEADING + (r + 1) * row_height(s) - 9, 13, false, text);
    }
    for (size_t c = 0; c < s->study->class_count; c++)
        x = cdu_picture_key(cairo, x, height - MARGIN, s->study->classes[c].color, s->study->classes[c].name);
    cdu_picture_key(cairo, x, height - MARGIN, cdu_picture_excluded, "excluded");
}

static cdu_status paint_all(sheet *s, cairo_t *cairo, int part, double height, cdu_error *error)
{
    cairo_set_source_rgb(cairo, 1, 1, 1);
    cairo_paint(cairo);
    paint_words(s, cairo, height);
    CDU_TRY(paint_column(s, cairo, 0, -1, s->epoch, error));
    if (s->part) {
        for (uint32_t i = 0; i < DRAWS; i++) CDU_TRY(paint_column(s, cairo, 1 + i, part, s->epoch + i, error));
        return CDU_OK;
    }
    for (int i = 0; i < PARTS; i++) CDU_TRY(paint_column(s, cairo, 1 + (uint32_t)i, i, s->epoch, error));
    for (uint32_t i = 0; i < 2; i++) CDU_TRY(paint_column(s, cairo, 1 + PARTS + i, ALL, s->epoch + i, error));
    return CDU_OK;
}

static cdu_status draw(sheet *s, cdu_error *error)
{
    int part = ALL;
    cdu_picture picture;
    if (s->part) CDU_TRY(find_part(s->part, &part, error));
    uint32_t columns = 1 + (s->part ? DRAWS : PARTS + 2);
    double width = 2 * MARGIN + columns * ((double)s->panel + GAP) - GAP;
    double height = 2 * MARGIN + HEADING + (double)s->rows * row_height(s) + LEGEND;
    if (width > 32000 || height > 32000)
        return cdu_fail(error, CDU_USAGE, "augment: a picture of %.0f x %.0f pixels is too large; take a smaller --panel or fewer --tiles",
                        width, height);
    CDU_TRY(prepare(s, error));
    CDU_TRY(cdu_picture_begin(&picture, width, height, error));
    cdu_status status = paint_all(s, picture.cairo, part, height, error);
    return cdu_picture_end(&picture, s->out, status, error);
}

cdu_status cmd_augment(int argc, char **argv, cdu_error *error)
{
    sheet s = {0};
    bool done = false;
    const cdu_option options[] = {
        {.name = "out", .letter = 'o', .type = CDU_OPTION_TEXT, .value = &s.out, .argument = "F.png", .required = true,
         .help = "the picture"},
        {.name = "device", .letter = 'd', .type = CDU_OPTION_TEXT, .value = &s.device, .argument = "D", .fallback = "auto",
         .help = "opencl:0, vulkan:1, a part of the device's name, or auto"},
        {.name = "part", .type = CDU_OPTION_TEXT, .value = &s.part, .argument = "PART",
         .help = "eight draws of one part alone: flip, hue, brightness, scale,\nrotate, shear, noise or occlusion"},
        {.name = "tiles", .type = CDU_OPTION_UNSIGNED, .value = &s.rows, .argument = "N", .fallback = "4", .least = 1, .most = 64,
         .help = "rows: the first N tiles that training sees"},
        {.name = "panel", .type = CDU_OPTION_UNSIGNED, .value = &s.panel, .argument = "N", .fallback = "192", .least = 32, .most = 4096,
         .help = "side of each picture in pixels"},
        {.name = "epoch", .type = CDU_OPTION_UNSIGNED, .value = &s.epoch, .argument = "N", .fallback = "0", .most = 1e6,
         .help = "other draws for the same tiles"},
        {.name = "seed", .type = CDU_OPTION_UNSIGNED, .value = &s.seed, .argument = "S", .given = &s.seed_given,
         .help = "of order and augmentation; overrules the study"},
        {.name = "threads", .letter = 't', .type = CDU_OPTION_UNSIGNED, .value = &s.threads, .argument = "N", .fallback = "0", .most = 64,
         .help = "threads that read tiles; 0: as many as there are processors"},
        {0},
    };
    const cdu_positional positionals[] = {{.name = "STUDY", .value = &s.path, .help = "the study file (YAML)"}, {0}};
    const cdu_usage usage = {"augment", "Draws what augmentation does to training tiles: before and after, labels below each.",
                             "Without --part: before, each part of the study's augment section alone, and twice all together.", options,
                             positionals};
    CDU_TRY(cdu_options_parse(&usage, argc, argv, &done, error));
    if (done) return CDU_OK;
    cdu_status status = draw(&s, error);
    release(&s);
    if (status == CDU_OK) printf("%s\n", s.out);
    return status;
}
