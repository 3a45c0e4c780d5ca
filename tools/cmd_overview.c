/* cmd_overview.c: one picture of slides and their label maps side by side: a row a slide, a column a map, with titles, a legend
 * and a scale bar. For reports and the demo; it computes nothing. */
#include <cairo.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cdunet/slide.h"
#include "core/base/memory.h"
#include "core/model/model.h"
#include "core/slide/raster.h"
#include "tools/commands.h"
#include "tools/options.h"
#include "tools/picture.h"

enum { COLUMN_LIMIT = 8, MARGIN = 28, GAP = 16, TITLE = 60, CAPTION = 30, HEADING = 28, LEGEND = 54 };

typedef struct {
    const char *names[COLUMN_LIMIT];   /* of the label columns */
    uint32_t columns;
    uint32_t panel;                    /* width of one picture, pixels */
    const char *title, *out;
    const cdu_model_about *about;
    char *column_words;
} overview;

static cdu_status paint_labels(cairo_t *cairo, const overview *o, const char *path, const cdu_slide_info *info, double left, double top,
                               uint32_t width, uint32_t height, uint8_t *rgb, cdu_error *error)
{
    cdu_label_source *source = NULL;
    uint8_t *labels = NULL;
    CDU_TRY(cdu_label_source_from_image(path, info->width, info->height, o->about->settings.classes, &source, error));
    cdu_status status = cdu_allocate(&labels, (size_t)width * height, 1, error);
    if (status == CDU_OK)
        status = cdu_label_source_read(source, (double)info->width / width, 0, 0, width, height, labels, error);
    for (size_t i = 0; status == CDU_OK && i < (size_t)width * height; i++) {
        const uint8_t *color = labels[i] < o->about->settings.classes ? o->about->class_colors[labels[i]] : cdu_picture_excluded;
        memcpy(rgb + 3 * i, color, 3);
    }
    if (status == CDU_OK) status = cdu_picture_panel(cairo, left, top, width, height, rgb, error);
    free(labels);
    cdu_label_source_destroy(source);
    return status;
}

/* One slide and its label maps; words[0] is the slide, "-" leaves a panel empty. */
static cdu_status paint_row(cairo_t *cairo, const overview *o, const char **words, double top, uint32_t height, cdu_error *error)
{
    cdu_slide *slide = NULL;
    uint8_t *rgb = NULL;
    char name[96];
    CDU_TRY(cdu_slide_open(words[0], 0, &slide, error));
    cdu_slide_info info = cdu_slide_info_of(slide);
    double mpp = info.mpp * (double)info.width / o->panel;
    cdu_status status = cdu_allocate(&rgb, (size_t)o->panel * height, 3, error);
    if (status == CDU_OK) status = cdu_slide_read(slide, mpp, 0, 0, o->panel, height, rgb, error);
    if (status == CDU_OK) status = cdu_picture_panel(cairo, MARGIN, top, o->panel, height, rgb, error);
    if (status == CDU_OK) cdu_picture_scale_bar(cairo, MARGIN, top + height, o->panel, mpp);
    for (uint32_t i = 0; status == CDU_OK && i < o->columns; i++)
        if (strcmp(words[1 + i], "-"))
            status = paint_labels(cairo, o, words[1 + i], &info, MARGIN + (double)(i + 1) * (o->panel + GAP), top, o->panel, height,
                                  rgb, error);
    cdu_picture_name(name, words[0]);
    cairo_set_source_rgb(cairo, 0.25, 0.25, 0.25);
    cdu_picture_text(cairo, MARGIN, top + height + 20, 14, false, name);
    free(rgb);
    cdu_slide_close(slide);
    return status;
}

static void paint_legend(cairo_t *cairo, const cdu_model_about *about, double y)
{
    double x = MARGIN;
    for (uint32_t c = 0; c < about->settings.classes; c++) x = cdu_picture_key(cairo, x, y, about->class_colors[c], about->class_names[c]);
    cdu_picture_key(cairo, x, y, cdu_picture_excluded, "excluded");
}

static cdu_status row_height(const overview *o, const char *path, uint32_t *height, cdu_error *error)
{
    cdu_slide *slide = NULL;
    CDU_TRY(cdu_slide_open(path, 0, &slide, error));
    cdu_slide_info info = cdu_slide_info_of(slide);
    double exact = (double)o->panel * (double)info.height / (double)info.width;
    *height = exact < 1 ? 1 : exact > 8.0 * o->panel ? 8 * o->panel : (uint32_t)lround(exact);
    cdu_slide_close(slide);
    return CDU_OK;
}

static cdu_status paint_all(cairo_t *cairo, const overview *o, const char **words, uint32_t rows, const uint32_t *heights,
                            double picture_height, cdu_error *error)
{
    double top = MARGIN;
    cairo_set_source_rgb(cairo, 1, 1, 1);
    cairo_paint(cairo);
    cairo_set_source_rgb(cairo, 0.1, 0.1, 0.1);
    if (o->title) {
        cdu_picture_text(cairo, MARGIN, top + 24, 24, true, o->title);
        top += TITLE;
    }
    cdu_picture_text(cairo, MARGIN, top + 16, 17, true, "slide");
    for (uint32_t i = 0; i < o->columns; i++)
        cdu_picture_text(cairo, MARGIN + (double)(i + 1) * (o->panel + GAP), top + 16, 17, true, o->names[i]);
    top += HEADING;
    for (uint32_t r = 0; r < rows; r++) {
        CDU_TRY(paint_row(cairo, o, words + (size_t)r * (o->columns + 1), top, heights[r], error));
        top += heights[r] + CAPTION;
    }
    paint_legend(cairo, o->about, picture_height - MARGIN);
    return CDU_OK;
}

static cdu_status write_picture(const overview *o, const char **words, uint32_t rows, const uint32_t *heights, cdu_error *error)
{
    double width = 2 * MARGIN + o->panel + (double)o->columns * (o->panel + GAP);
    double height = 2 * MARGIN + HEADING + LEGEND + (o->title ? TITLE : 0);
    for (uint32_t r = 0; r < rows; r++) height += heights[r] + CAPTION;
    if (width > 32000 || height > 32000)
        return cdu_fail(error, CDU_USAGE, "overview: a picture of %.0f x %.0f pixels is too large; take a smaller --panel", width, height);
    cdu_picture picture;
    CDU_TRY(cdu_picture_begin(&picture, width, height, error));
    cdu_status status = paint_all(picture.cairo, o, words, rows, heights, height, error);
    return cdu_picture_end(&picture, o->out, status, error);
}

static cdu_status take_columns(overview *o, const char *columns, cdu_error *error)
{
    CDU_TRY(cdu_copy_text(&o->column_words, columns, error));
    for (char *word = strtok(o->column_words, ","); word; word = strtok(NULL, ",")) {
        if (o->columns == COLUMN_LIMIT)
            return cdu_fail(error, CDU_USAGE, "overview: --columns: at most %d columns", COLUMN_LIMIT);
        o->names[o->columns++] = word;
    }
    return CDU_OK;
}

static cdu_status draw(overview *o, const char *columns, const char *model, const char **words, size_t count, cdu_error *error)
{
    cdu_model_about about = {0};
    cdu_weights weights = {0};
    uint32_t *heights = NULL;
    cdu_status status = take_columns(o, columns, error);
    if (status == CDU_OK && count % (o->columns + 1))
        status = cdu_fail(error, CDU_USAGE, "overview: %zu files are no multiple of %u: each slide is followed by one label map (or -) "
                          "for each of the columns %s", count, o->columns + 1, columns);
    if (status == CDU_OK) status = cdu_model_read(model, &about, &weights, error);
    cdu_weights_free(&weights);
    o->about = &about;
    uint32_t rows = status == CDU_OK ? (uint32_t)(count / (o->columns + 1)) : 0;
    if (status == CDU_OK) status = cdu_allocate(&heights, rows, sizeof *heights, error);
    for (uint32_t r = 0; status == CDU_OK && r < rows; r++)
        status = row_height(o, words[(size_t)r * (o->columns + 1)], &heights[r], error);
    if (status == CDU_OK) status = write_picture(o, words, rows, heights, error);
    free(heights);
    free(o->column_words);
    return status;
}

cdu_status cmd_overview(int argc, char **argv, cdu_error *error)
{
    overview o = {0};
    const char *model = NULL, *columns = NULL, **words = NULL;
    size_t count = 0;
    uint64_t panel = 0;
    bool done = false;
    const cdu_option options[] = {
        {.name = "out", .letter = 'o', .type = CDU_OPTION_TEXT, .value = &o.out, .argument = "F.png", .required = true,
         .help = "the picture"},
        {.name = "model", .letter = 'm', .type = CDU_OPTION_TEXT, .value = &model, .argument = "M", .required = true,
         .help = "model file: names and colours of the classes"},
        {.name = "columns", .type = CDU_OPTION_TEXT, .value = &columns, .argument = "A,B", .fallback = "truth,segmentation",
         .help = "titles of the label maps that follow each slide"},
        {.name = "title", .type = CDU_OPTION_TEXT, .value = &o.title, .argument = "TEXT", .help = "words above everything"},
        {.name = "panel", .type = CDU_OPTION_UNSIGNED, .value = &panel, .argument = "N", .fallback = "420", .least = 64, .most = 4096,
         .help = "width of each picture in pixels"},
        {0},
    };
    const cdu_positional positionals[] = {
        {.name = "FILE", .values = &words, .count = &count,
         .help = "a slide, then one label map for each column (- for none); again for each further slide"},
        {0},
    };
    const cdu_usage usage = {"overview", "puts slides, truth and segmentations side by side in one picture", NULL, options, positionals};
    CDU_TRY(cdu_options_parse(&usage, argc, argv, &done, error));
    if (done) return CDU_OK;
    o.panel = (uint32_t)panel;
    return draw(&o, columns, model, words, count, error);
}
