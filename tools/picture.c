/* picture.c: see picture.h. */
#include "tools/picture.h"

#include <cairo.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/base/file.h"

const uint8_t cdu_picture_excluded[3] = {255, 255, 255};

cdu_status cdu_picture_begin(cdu_picture *p, double width, double height, cdu_error *error)
{
    p->surface = cairo_image_surface_create(CAIRO_FORMAT_RGB24, (int)width, (int)height);
    p->cairo = cairo_create(p->surface);
    if (cairo_status(p->cairo) == CAIRO_STATUS_SUCCESS) return CDU_OK;
    cdu_fail(error, CDU_TRY_AGAIN, "no memory for a picture of %.0f x %.0f pixels", width, height);
    return cdu_picture_end(p, NULL, CDU_TRY_AGAIN, error);
}

cdu_status cdu_picture_write(cairo_surface_t *surface, const char *path, cdu_error *error)
{
    char temporary[CDU_PATH_LIMIT];
    CDU_TRY(cdu_file_begin(path, temporary, error));
    cairo_status_t wrote = cairo_surface_write_to_png(surface, temporary);
    if (wrote == CAIRO_STATUS_SUCCESS) return cdu_file_commit(temporary, path, error);
    cdu_file_discard(temporary);
    return cdu_fail(error, CDU_CANNOT_WRITE, "%s: cannot be written: %s", path, cairo_status_to_string(wrote));
}

cdu_status cdu_picture_end(cdu_picture *p, const char *path, cdu_status status, cdu_error *error)
{
    if (status == CDU_OK && path) status = cdu_picture_write(p->surface, path, error);
    cairo_destroy(p->cairo);
    cairo_surface_destroy(p->surface);
    return status;
}

void cdu_picture_text(cairo_t *cairo, double x, double y, double size, bool bold, const char *text)
{
    cairo_select_font_face(cairo, "sans-serif", CAIRO_FONT_SLANT_NORMAL, bold ? CAIRO_FONT_WEIGHT_BOLD : CAIRO_FONT_WEIGHT_NORMAL);
    cairo_set_font_size(cairo, size);
    cairo_move_to(cairo, x, y);
    cairo_show_text(cairo, text);
}

double cdu_picture_text_width(cairo_t *cairo, double size, const char *text)
{
    cairo_text_extents_t extents;
    cairo_select_font_face(cairo, "sans-serif", CAIRO_FONT_SLANT_NORMAL, CAIRO_FONT_WEIGHT_NORMAL);
    cairo_set_font_size(cairo, size);
    cairo_text_extents(cairo, text, &extents);
    return extents.x_advance;
}

cdu_status cdu_picture_panel(cairo_t *cairo, double left, double top, uint32_t width, uint32_t height, const uint8_t *rgb,
                              cdu_error *error)
{
    cairo_surface_t *surface = cairo_image_surface_create(CAIRO_FORMAT_RGB24, (int)width, (int)height);
    if (cairo_surface_status(surface) != CAIRO_STATUS_SUCCESS) {
        cairo_surface_destroy(surface);
        return cdu_fail(error, CDU_TRY_AGAIN, "no memory for a picture of %u x %u pixels", width, height);
    }
    unsigned char *bytes = cairo_image_surface_get_data(surface);
    int stride = cairo_image_surface_get_stride(surface);
    cairo_surface_flush(surface);
    for (uint32_t y = 0; y < height; y++) {
        for (uint32_t x = 0; x < width; x++) {
            const uint8_t *p = rgb + 3 * ((size_t)y * width + x);
            uint32_t word = (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
            memcpy(bytes + (size_t)y * (size_t)stride + 4 * (size_t)x, &word, 4);
        }
    }
    cairo_surface_mark_dirty(surface);
    cairo_set_source_surface(cairo, surface, left, top);
    cairo_paint(cairo);
    cairo_surface_destroy(surface);
    cairo_set_source_rgb(cairo, 0.62, 0.62, 0.62);
    cairo_set_line_width(cairo, 1);
    cairo_rectangle(cairo, left - 0.5, top - 0.5, width + 1.0, height + 1.0);
    cairo_stroke(cairo);
    return CDU_OK;
}

double cdu_picture_key(cairo_t *cairo, double x, double y, const uint8_t color[3], const char *name)
{
    cairo_set_source_rgb(cairo, color[0] / 255.0, color[1] / 255.0, color[2] / 255.0);
    cairo_rectangle(cairo, x, y - 13, 16, 16);
    cairo_fill_preserve(cairo);
    cairo_set_source_rgb(cairo, 0.5, 0.5, 0.5);
    cairo_set_line_width(cairo, 1);
    cairo_stroke(cairo);
    cairo_set_source_rgb(cairo, 0.1, 0.1, 0.1);
    cdu_picture_text(cairo, x + 24, y, 15, false, name);
    return x + 24 + cdu_picture_text_width(cairo, 15, name) + 30;
}

/* The file's name without folder and ending. */
void cdu_picture_name(char out[96], const char *path)
{
    const char *slash = strrchr(path, '/');
    snprintf(out, 96, "%s", slash ? slash + 1 : path);
    char *dot = strrchr(out, '.');
    if (dot && dot != out) *dot = 0;
}

/* A bar of a round length, about a quarter of the panel wide. */
void cdu_picture_scale_bar(cairo_t *cairo, double left, double bottom, uint32_t width, double mpp)
{
    double target = mpp * width / 4, length = pow(10, floor(log10(target)));
    char words[32];
    if (length * 5 <= target) length *= 5;
    else if (length * 2 <= target) length *= 2;
    if (length >= 1000) snprintf(words, sizeof words, "%g mm", length / 1000);
    else snprintf(words, sizeof words, "%g \302\265m", length);
    double pixels = length / mpp, text = cdu_picture_text_width(cairo, 13, words);
    cairo_set_source_rgba(cairo, 1, 1, 1, 0.8);
    cairo_rectangle(cairo, left + 8, bottom - 40, (pixels > text ? pixels : text) + 16, 32);
    cairo_fill(cairo);
    cairo_set_source_rgb(cairo, 0, 0, 0);
    cairo_rectangle(cairo, left + 16, bottom - 17, pixels, 4);
    cairo_fill(cairo);
    cdu_picture_text(cairo, left + 16, bottom - 23, 13, false, words);
}
