/* check_sheet.c: the contact sheet of `cdunet check`: every slide with its labels drawn in, so that a shifted or swapped annotation is seen. */
#include <cairo.h>
#include <stdio.h>
#include <string.h>

#include "tools/check_slide.h"
#include "tools/picture.h"

enum { MARGIN = 24, GAP = 14, CAPTION = 40, LEGEND = 44, COLUMNS_MOST = 6, SIDE_LIMIT = 32000 };

static const char *const split_words[] = {"train", "validation", "test"};

typedef struct {
    const cdu_study *study;
    const checked_slide *slides;
    uint32_t panel, columns;
} sheet;

static uint32_t row_height(const sheet *s, size_t first)
{
    uint32_t height = 40;
    for (size_t i = first; i < first + s->columns && i < s->study->slide_count; i++)
        if (s->slides[i].rgb && s->slides[i].height > height) height = s->slides[i].height;
    return height;
}

/* Cut to what fits under a panel, about 6.5 pixels a letter. */
static void caption(cairo_t *cairo, const sheet *s, double x, double y, bool bold, const char *text)
{
    char cut[128];
    size_t most = s->panel / 7;
    if (strlen(text) <= most) snprintf(cut, sizeof cut, "%s", text);
    else snprintf(cut, sizeof cut, "%.*s...", (int)(most > 120 ? 120 : most - 3), text);
    cdu_picture_text(cairo, x, y, 12, bold, cut);
}

static cdu_status draw_slide(cairo_t *cairo, const sheet *s, size_t i, double left, double top, uint32_t height, cdu_error *error)
{
    const checked_slide *slide = &s->slides[i];
    const cdu_study_slide *which = &s->study->slides[i];
    char name[96], words[400];
    if (slide->rgb) {
        CDU_TRY(cdu_picture_panel(cairo, left, top, slide->width, slide->height, slide->rgb, error));
        double longest = slide->width > slide->height ? slide->width : slide->height;
        double side = (double)(slide->info.width > slide->info.height ? slide->info.width : slide->info.height);
        if (slide->width >= 120 && slide->height >= 60) cdu_picture_scale_bar(cairo, left, top + slide->height, slide->width, slide->info.mpp * side / longest);
    }
    cdu_picture_name(name, which->slide);
    cairo_set_source_rgb(cairo, 0.1, 0.1, 0.1);
    caption(cairo, s, left, top + height + 16, true, name);
    if (!slide->usable) {
        cairo_set_source_rgb(cairo, 0.75, 0, 0);
        snprintf(words, sizeof words, "cannot be used");
    } else {
        cairo_set_source_rgb(cairo, 0.35, 0.35, 0.35);
        snprintf(words, sizeof words, "%s, %.100s, %.100s%s", split_words[which->split], which->stain, which->case_name,
                 slide->format ? "" : ", no annotation");
    }
    caption(cairo, s, left, top + height + 31, false, words);
    return CDU_OK;
}

static cdu_status draw_all(cairo_t *cairo, const sheet *s, double bottom, cdu_error *error)
{
    double top = MARGIN, x = MARGIN;
    cairo_set_source_rgb(cairo, 1, 1, 1);
    cairo_paint(cairo);
    for (size_t first = 0; first < s->study->slide_count; first += s->columns) {
        uint32_t height = row_height(s, first);
        for (size_t i = first; i < first + s->columns && i < s->study->slide_count; i++)
            CDU_TRY(draw_slide(cairo, s, i, MARGIN + (double)(i - first) * (s->panel + GAP), top, height, error));
        top += height + CAPTION + GAP;
    }
    for (size_t c = 1; c < s->study->class_count; c++) x = cdu_picture_key(cairo, x, bottom, s->study->classes[c].color, s->study->classes[c].name);
    cdu_picture_key(cairo, x, bottom, cdu_picture_excluded, "excluded (pale)");
    return CDU_OK;
}

cdu_status check_sheet(const cdu_study *study, const checked_slide *slides, uint32_t panel, const char *path, cdu_error *error)
{
    sheet s = {.study = study, .slides = slides, .panel = panel, .columns = COLUMNS_MOST};
    if (study->slide_count < s.columns) s.columns = (uint32_t)study->slide_count;
    double width = 2.0 * MARGIN + (double)s.columns * (panel + GAP) - GAP, height = 2.0 * MARGIN + LEGEND;
    if (width < 640) width = 640; /* the legend's */
    for (size_t first = 0; first < study->slide_count; first += s.columns) height += row_height(&s, first) + CAPTION + GAP;
    if (width > SIDE_LIMIT || height > SIDE_LIMIT)
        return cdu_fail(error, CDU_USAGE, "a sheet of %.0f x %.0f pixels is too large; take a smaller --panel or --no-sheet", width, height);
    cdu_picture picture;
    CDU_TRY(cdu_picture_begin(&picture, width, height, error));
    cdu_status status = draw_all(picture.cairo, &s, height - MARGIN, error);
    return cdu_picture_end(&picture, path, status, error);
}
