/* roofline.c: the drawing. Left the steps without arithmetic, by GB/s; in the middle the others, by FLOP per byte and GFLOP/s, both
 * logarithmic; right who takes the time. A point's area is its part of the step's time. */
#include "bench/roofline.h"

#include <cairo-svg.h>
#include <cairo.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/base/file.h"

enum { WIDTH = 1240, HEIGHT = 720, KINDS = 16 };
typedef struct { double left, top, right, bottom, x0, x1, y0, y1; } panel; /* a rectangle, and the decimal logarithms at its edges */
typedef struct { char name[64]; double seconds; } kind;

typedef struct {
    cairo_t *cr;
    const json_t *rows;
    double fma, copy, seconds;
    kind kinds[KINDS];
    int kind_count;
    panel memory, roof;
} drawing;

static const double palette[][3] = {
    {0.00, 0.45, 0.70}, {0.90, 0.62, 0.00}, {0.00, 0.62, 0.45}, {0.80, 0.40, 0.00},
    {0.35, 0.70, 0.90}, {0.80, 0.47, 0.65}, {0.55, 0.55, 0.10}, {0.35, 0.35, 0.35},
};
enum { COLORS = sizeof palette / sizeof palette[0] };

static double number(const json_t *row, const char *key)
{
    return json_number_value(json_object_get(row, key));
}

static const char *text(const json_t *row, const char *key)
{
    const char *value = json_string_value(json_object_get(row, key));
    return value ? value : "";
}

static void kind_name(const json_t *row, char out[64])
{
    const char *pass = text(row, "pass");
    bool whole = !strcmp(pass, "update");
    snprintf(out, 64, "%s%s%s", text(row, "operator"), whole ? "" : ", ", whole ? "" : pass);
    for (char *at = out; *at; at++)
        if (*at == '_') *at = ' ';
}

static int kind_of(const drawing *d, const json_t *row)
{
    char name[64];
    kind_name(row, name);
    for (int i = 0; i < d->kind_count; i++)
        if (!strcmp(d->kinds[i].name, name)) return i;
    return d->kind_count;
}

/* Kinds by their seconds, longest first. */
static void gather(drawing *d)
{
    for (size_t r = 0; r < json_array_size(d->rows); r++) {
        const json_t *row = json_array_get(d->rows, r);
        int k = kind_of(d, row);
        if (k == KINDS) continue;
        if (k == d->kind_count) kind_name(row, d->kinds[d->kind_count++].name);
        d->kinds[k].seconds += number(row, "seconds_median");
        d->seconds += number(row, "seconds_median");
    }
    for (int i = 1; i < d->kind_count; i++)
        for (int j = i; j > 0 && d->kinds[j].seconds > d->kinds[j - 1].seconds; j--) {
            kind kept = d->kinds[j];
            d->kinds[j] = d->kinds[j - 1];
            d->kinds[j - 1] = kept;
        }
}

static void use_color(cairo_t *cr, int k, double alpha)
{
    const double *c = palette[k % COLORS];
    double light = k < COLORS ? 1 : 0.6;
    cairo_set_source_rgba(cr, c[0] * light, c[1] * light, c[2] * light, alpha);
}

/* align: 0 begins at x, 0.5 stands about it, 1 ends there. */
static void write_text(cairo_t *cr, double x, double y, double align, double size, const char *words)
{
    cairo_text_extents_t extents;
    cairo_set_font_size(cr, size);
    cairo_text_extents(cr, words, &extents);
    cairo_move_to(cr, x - align * extents.x_advance, y);
    cairo_show_text(cr, words);
}

static double at_x(const panel *p, double value)
{
    return p->left + (log10(value) - p->x0) / (p->x1 - p->x0) * (p->right - p->left);
}

static double at_y(const panel *p, double value)
{
    return p->bottom - (log10(value) - p->y0) / (p->y1 - p->y0) * (p->bottom - p->top);
}

static void line(cairo_t *cr, double x0, double y0, double x1, double y1)
{
    cairo_move_to(cr, x0, y0);
    cairo_line_to(cr, x1, y1);
    cairo_stroke(cr);
}

static void draw_frame(const drawing *d, const panel *p, bool with_x, const char *x_words, const char *y_words)
{
    char words[32];
    cairo_set_line_width(d->cr, 1);
    for (double e = ceil(p->y0); e <= p->y1; e++) {
        double y = at_y(p, pow(10, e));
        cairo_set_source_rgb(d->cr, 0.9, 0.9, 0.9);
        line(d->cr, p->left, y, p->right, y);
        cairo_set_source_rgb(d->cr, 0.2, 0.2, 0.2);
        snprintf(words, sizeof words, "%g", pow(10, e));
        write_text(d->cr, p->left - 6, y + 4, 1, 12, words);
    }
    for (double e = ceil(p->x0); with_x && e <= p->x1; e++) {
        double x = at_x(p, pow(10, e));
        cairo_set_source_rgb(d->cr, 0.9, 0.9, 0.9);
        line(d->cr, x, p->top, x, p->bottom);
        cairo_set_source_rgb(d->cr, 0.2, 0.2, 0.2);
        snprintf(words, sizeof words, "%g", pow(10, e));
        write_text(d->cr, x, p->bottom + 18, 0.5, 12, words);
    }
    cairo_set_source_rgb(d->cr, 0.2, 0.2, 0.2);
    cairo_rectangle(d->cr, p->left, p->top, p->right - p->left, p->bottom - p->top);
    cairo_stroke(d->cr);
    write_text(d->cr, (p->left + p->right) / 2, p->bottom + 40, 0.5, 13, x_words);
    write_text(d->cr, p->left, p->top - 10, 0, 13, y_words);
}

static void draw_roof(const drawing *d)
{
    const panel *p = &d->roof;
    char words[64];
    double ridge = d->fma / d->copy, left = pow(10, p->x0), right = pow(10, p->x1);
    cairo_set_source_rgb(d->cr, 0, 0, 0);
    cairo_set_line_width(d->cr, 2);
    line(d->cr, at_x(p, left), at_y(p, d->copy * left), at_x(p, ridge), at_y(p, d->fma));
    line(d->cr, at_x(p, ridge), at_y(p, d->fma), at_x(p, right), at_y(p, d->fma));
    snprintf(words, sizeof words, "multiply-add %.0f GFLOP/s", d->fma);
    write_text(d->cr, at_x(p, right) - 8, at_y(p, d->fma) + 18, 1, 12, words);
    snprintf(words, sizeof words, "copy %.1f GB/s", d->copy);
    write_text(d->cr, at_x(p, left) + 26, at_y(p, d->copy * left) + 4, 0, 12, words);
    p = &d->memory;
    line(d->cr, p->left, at_y(p, d->copy), p->right, at_y(p, d->copy));
}

static void point(const drawing *d, double x, double y, double seconds, int k)
{
    double radius = 2 + 60 * sqrt(seconds / d->seconds / 3.14159);
    use_color(d->cr, k, 0.55);
    cairo_arc(d->cr, x, y, radius, 0, 2 * 3.14159265);
    cairo_fill_preserve(d->cr);
    use_color(d->cr, k, 1);
    cairo_set_line_width(d->cr, 1);
    cairo_stroke(d->cr);
}

static double within(double value, double low, double high)
{
    return value < low ? low : value > high ? high : value;
}

static void draw_points(const drawing *d)
{
    int without = 0;
    for (size_t r = 0; r < json_array_size(d->rows); r++) {
        const json_t *row = json_array_get(d->rows, r);
        double seconds = number(row, "seconds_median"), gflop = number(row, "gflop"), gbyte = number(row, "gbyte");
        if (seconds <= 0 || gbyte <= 0) continue;
        const panel *p = gflop > 0 ? &d->roof : &d->memory;
        if (gflop > 0) {
            double x = within(gflop / gbyte, pow(10, p->x0), pow(10, p->x1)), y = within(gflop / seconds, pow(10, p->y0), pow(10, p->y1));
            point(d, at_x(p, x), at_y(p, y), seconds, kind_of(d, row));
        } else { /* side by side, since there is nothing to spread them by */
            double x = p->left + 12 + (without++ * 29 % 100) / 100.0 * (p->right - p->left - 24);
            point(d, x, at_y(p, within(gbyte / seconds, pow(10, p->y0), pow(10, p->y1))), seconds, kind_of(d, row));
        }
    }
}

static void draw_legend(const drawing *d, double left, double top)
{
    char words[96];
    cairo_set_source_rgb(d->cr, 0.1, 0.1, 0.1);
    write_text(d->cr, left, top, 0, 13, "where the time goes (area: part of it)");
    for (int k = 0; k < d->kind_count; k++) {
        double y = top + 24 + 27 * k, part = d->kinds[k].seconds / d->seconds;
        use_color(d->cr, k, 0.75);
        cairo_rectangle(d->cr, left, y - 10, 1 + 230 * part, 12);
        cairo_fill(d->cr);
        cairo_set_source_rgb(d->cr, 0.1, 0.1, 0.1);
        snprintf(words, sizeof words, "%s: %.1f %%", d->kinds[k].name, 100 * part);
        write_text(d->cr, left + 4, y + 13, 0, 11, words);
    }
}

static void draw(drawing *d, const json_t *report)
{
    const json_t *device = json_array_get(json_object_get(report, "devices"), 0);
    const json_t *network = json_array_get(json_object_get(report, "network"), 0);
    char words[256];
    cairo_set_source_rgb(d->cr, 1, 1, 1);
    cairo_paint(d->cr);
    cairo_select_font_face(d->cr, "DejaVu Sans", CAIRO_FONT_SLANT_NORMAL, CAIRO_FONT_WEIGHT_NORMAL);
    cairo_set_source_rgb(d->cr, 0.1, 0.1, 0.1);
    snprintf(words, sizeof words, "%s: %.3f s, %.0f GFLOP/s", text(network, "what"), number(network, "wall_median"), number(network, "gflops"));
    write_text(d->cr, 60, 32, 0, 18, words);
    snprintf(words, sizeof words, "%s, %s", text(device, "name"), text(device, "driver"));
    write_text(d->cr, 60, 52, 0, 12, words);
    draw_frame(d, &d->memory, false, "no arithmetic counted", "GB/s");
    draw_frame(d, &d->roof, true, "FLOP per byte; convolutions count as direct ones, so Winograd may pass the roof", "GFLOP/s");
    draw_roof(d);
    draw_points(d);
    draw_legend(d, 940, 96);
}

typedef struct { const json_t *report; const char *path; bool svg; } picture;

static cdu_status draw_into(const picture *p, const char *path, cdu_error *error)
{
    cairo_surface_t *surface = p->svg ? cairo_svg_surface_create(path, WIDTH, HEIGHT) : cairo_image_surface_create(CAIRO_FORMAT_RGB24, WIDTH, HEIGHT);
    drawing d = {.cr = cairo_create(surface), .rows = json_object_get(p->report, "layers")};
    const json_t *limits = json_object_get(p->report, "limits");
    d.fma = number(json_array_get(limits, 0), "rate_median");
    d.copy = number(json_array_get(limits, 1), "rate_median");
    double top = ceil(log10(d.fma * 4));
    d.memory = (panel){60, 90, 190, HEIGHT - 60, 0, 1, floor(log10(d.copy / 100)), ceil(log10(d.copy * 4))};
    d.roof = (panel){250, 90, 910, HEIGHT - 60, -1, 3, top - 4, top};
    gather(&d);
    draw(&d, p->report);
    cairo_destroy(d.cr);
    cairo_surface_flush(surface);
    cairo_status_t state = cairo_surface_status(surface);
    if (state == CAIRO_STATUS_SUCCESS && !p->svg) state = cairo_surface_write_to_png(surface, path);
    cairo_surface_finish(surface);
    if (state == CAIRO_STATUS_SUCCESS) state = cairo_surface_status(surface);
    cairo_surface_destroy(surface);
    return state == CAIRO_STATUS_SUCCESS ? CDU_OK : cdu_fail(error, CDU_CANNOT_WRITE, "%s: %s", p->path, cairo_status_to_string(state));
}

static cdu_status write_picture(const picture *p, cdu_error *error)
{
    char temporary[CDU_PATH_LIMIT];
    CDU_TRY(cdu_file_begin(p->path, temporary, error));
    cdu_status status = draw_into(p, temporary, error);
    if (status == CDU_OK) status = cdu_file_commit(temporary, p->path, error);
    else cdu_file_discard(temporary);
    return status;
}

cdu_status bench_roofline_draw(const json_t *report, const char *svg, const char *png, cdu_error *error)
{
    CDU_TRY(write_picture(&(picture){report, svg, true}, error));
    return write_picture(&(picture){report, png, false}, error);
}
