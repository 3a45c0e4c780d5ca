/* chart.c: see chart.h. Sizes are in units of the picture's own, which the page scales: letters are large enough for a phone. */
#include "core/report/chart.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { WIDTH = 540, PLOT_HEIGHT = 290, LEFT = 56, RIGHT = 14, TOP = 34, BELOW = 50, LEGEND_ROW = 22, MARKERS_BELOW = 40 };

typedef struct { double low, high, step; } axis;

/* Length of the UTF-8 sequence at `s`, 0 where it is none or a control character. */
static int sequence(const unsigned char *s)
{
    if (s[0] < 0x80) return s[0] >= 0x20 || s[0] == '\n' || s[0] == '\t';
    int length = s[0] >= 0xf0 && s[0] < 0xf5 ? 4 : s[0] >= 0xe0 && s[0] < 0xf0 ? 3 : s[0] >= 0xc2 && s[0] < 0xe0 ? 2 : 0;
    for (int i = 1; i < length; i++)
        if ((s[i] & 0xc0) != 0x80) return 0;
    if (length == 3 && ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f))) return 0;
    if (length == 4 && ((s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))) return 0;
    return length;
}

void cdu_text_put_escaped(cdu_text *out, const char *words)
{
    const unsigned char *s = (const unsigned char *)words;
    while (*s) {
        int length = sequence(s);
        if (!length) cdu_text_put(out, "\xef\xbf\xbd");
        else if (*s == '&') cdu_text_put(out, "&amp;");
        else if (*s == '<') cdu_text_put(out, "&lt;");
        else if (*s == '>') cdu_text_put(out, "&gt;");
        else if (*s == '"') cdu_text_put(out, "&quot;");
        else cdu_text_add(out, s, (size_t)length);
        s += length ? length : 1;
    }
}

void cdu_chart_color(const uint8_t color[3], char out[8])
{
    double light = (0.3 * color[0] + 0.59 * color[1] + 0.11 * color[2]) / 255, share = light > 0.75 ? 0.75 / light : 1;
    snprintf(out, 8, "#%02x%02x%02x", (unsigned)(color[0] * share), (unsigned)(color[1] * share), (unsigned)(color[2] * share));
}

/* About five round ticks that cover the range. */
static axis round_axis(double low, double high, bool whole)
{
    if (!(high - low > 1e-100)) high = low + (low != 0 ? fabs(low) : 1);
    double raw = (high - low) / 5, power = pow(10, floor(log10(raw))), share = raw / power;
    double step = power * (share <= 1 ? 1 : share <= 2 ? 2 : share <= 5 ? 5 : 10);
    if (whole && step < 1) step = 1;
    return (axis){floor(low / step + 1e-9) * step, ceil(high / step - 1e-9) * step, step};
}

static void ranges(const cdu_chart *chart, axis *x, axis *y)
{
    double least_x = INFINITY, most_x = -INFINITY, least_y = 0, most_y = 0;
    for (size_t s = 0; s < chart->count; s++)
        for (size_t i = 0; i < chart->series[s].count; i++) {
            cdu_chart_point p = chart->series[s].points[i];
            if (!isfinite(p.y)) continue;
            least_x = fmin(least_x, p.x);
            most_x = fmax(most_x, p.x);
            least_y = fmin(least_y, p.y);
            most_y = fmax(most_y, p.y);
        }
    if (!(least_x <= most_x)) least_x = 0, most_x = 1;
    if (least_x > 0) least_x = 0;
    *x = round_axis(least_x, most_x, most_x > 4);
    x->low = least_x < x->low + 1e-12 ? x->low : least_x;
    x->high = most_x > x->low ? fmin(x->high, most_x * 1.02) : x->high;
    *y = chart->y_low < chart->y_high ? (axis){chart->y_low, chart->y_high, (chart->y_high - chart->y_low) / 5}
                                      : round_axis(least_y, most_y, false);
}

static double place_x(const axis *x, double at)
{
    return LEFT + (at - x->low) / (x->high - x->low) * (WIDTH - LEFT - RIGHT);
}

static double place_y(const axis *y, double at)
{
    double share = (at - y->low) / (y->high - y->low);
    return TOP + (1 - fmin(1, fmax(0, share))) * PLOT_HEIGHT;
}

static void draw_axes(cdu_text *out, const cdu_chart *chart, const axis *x, const axis *y)
{
    for (double at = y->low; at <= y->high + y->step / 1e6; at += y->step) {
        double place = place_y(y, at);
        cdu_text_print(out, "<line x1=\"%d\" y1=\"%.1f\" x2=\"%d\" y2=\"%.1f\" stroke=\"#dddddd\"/>\n", LEFT, place, WIDTH - RIGHT, place);
        cdu_text_print(out, "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%.6g</text>\n", LEFT - 7, place + 5,
                       fabs(at) < y->step / 1e6 ? 0.0 : at);
    }
    for (double at = ceil(x->low / x->step - 1e-9) * x->step; at <= x->high + x->step / 1e6; at += x->step) {
        double place = place_x(x, at);
        cdu_text_print(out, "<line x1=\"%.1f\" y1=\"%d\" x2=\"%.1f\" y2=\"%d\" stroke=\"#999999\"/>\n", place, TOP + PLOT_HEIGHT, place,
                       TOP + PLOT_HEIGHT + 5);
        cdu_text_print(out, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%.6g</text>\n", place, TOP + PLOT_HEIGHT + 20,
                       fabs(at) < x->step / 1e6 ? 0.0 : at);
    }
    cdu_text_print(out, "<path d=\"M%d %dV%dH%d\" fill=\"none\" stroke=\"#666666\"/>\n", LEFT, TOP, TOP + PLOT_HEIGHT, WIDTH - RIGHT);
    cdu_text_print(out, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">", (LEFT + WIDTH - RIGHT) / 2, TOP + PLOT_HEIGHT + 40);
    cdu_text_put_escaped(out, chart->x_label);
    cdu_text_print(out, "</text>\n<text x=\"15\" y=\"%d\" text-anchor=\"middle\" transform=\"rotate(-90 15 %d)\">", TOP + PLOT_HEIGHT / 2,
                   TOP + PLOT_HEIGHT / 2);
    cdu_text_put_escaped(out, chart->y_label);
    cdu_text_print(out, "</text>\n<text x=\"%d\" y=\"20\" text-anchor=\"middle\" font-weight=\"bold\">", (LEFT + WIDTH - RIGHT) / 2);
    cdu_text_put_escaped(out, chart->title);
    cdu_text_put(out, "</text>\n");
}

static const char *dash_words(cdu_chart_dash dash)
{
    static const char *const words[CDU_DASHES] = {"", " stroke-dasharray=\"2 4\"", " stroke-dasharray=\"9 4\"",
                                                  " stroke-dasharray=\"9 4 2 4\""};
    return words[dash];
}

static void draw_series(cdu_text *out, const cdu_chart_series *s, const axis *x, const axis *y)
{
    char color[8];
    bool pen = false;
    cdu_chart_color(s->color, color);
    cdu_text_print(out, "<path fill=\"none\" stroke=\"%s\" stroke-width=\"2\" stroke-linejoin=\"round\"%s d=\"", color, dash_words(s->dash));
    for (size_t i = 0; i < s->count; i++) {
        bool there = isfinite(s->points[i].y);
        if (there) cdu_text_print(out, "%c%.1f %.1f", pen ? 'L' : 'M', place_x(x, s->points[i].x), place_y(y, s->points[i].y));
        pen = there;
    }
    cdu_text_put(out, "\"/>\n");
    for (size_t i = 0; i < s->count && s->count < MARKERS_BELOW; i++)
        if (isfinite(s->points[i].y))
            cdu_text_print(out, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"2.5\" fill=\"%s\"/>\n", place_x(x, s->points[i].x),
                           place_y(y, s->points[i].y), color);
}

/* Places the legend's entries in rows; draws them where `out` is given. Returns the number of rows. */
static int legend(cdu_text *out, const cdu_chart *chart)
{
    double at = LEFT;
    int row = 0;
    for (size_t s = 0; s < chart->count; s++) {
        const cdu_chart_series *one = &chart->series[s];
        char color[8];
        if (!one->name) continue;
        double width = 34 + 8.2 * (double)strlen(one->name) + 16;
        if (at > LEFT && at + width > WIDTH) at = LEFT, row++;
        int y = TOP + PLOT_HEIGHT + BELOW + 14 + row * LEGEND_ROW;
        cdu_chart_color(one->color, color);
        if (out) {
            cdu_text_print(out, "<line x1=\"%.0f\" y1=\"%d\" x2=\"%.0f\" y2=\"%d\" stroke=\"%s\" stroke-width=\"3\"%s/>\n", at, y - 5, at + 28,
                           y - 5, color, dash_words(one->dash));
            cdu_text_print(out, "<text x=\"%.0f\" y=\"%d\">", at + 34, y);
            cdu_text_put_escaped(out, one->name);
            cdu_text_put(out, "</text>\n");
        }
        at += width;
    }
    return row + 1;
}

void cdu_chart_draw(cdu_text *out, const cdu_chart *chart, bool file)
{
    axis x, y;
    int height = TOP + PLOT_HEIGHT + BELOW + legend(NULL, chart) * LEGEND_ROW + 8;
    ranges(chart, &x, &y);
    cdu_text_print(out, "<svg%s viewBox=\"0 0 %d %d\" role=\"img\" font-family=\"sans-serif\" font-size=\"15\" fill=\"#222222\"%s",
                   file ? " xmlns=\"http://www.w3.org/2000/svg\"" : "", WIDTH, height, " aria-label=\"");
    cdu_text_put_escaped(out, chart->title);
    cdu_text_put(out, "\">\n");
    if (file) cdu_text_print(out, "<rect width=\"%d\" height=\"%d\" fill=\"#ffffff\"/>\n", WIDTH, height);
    draw_axes(out, chart, &x, &y);
    for (size_t s = 0; s < chart->count; s++) draw_series(out, &chart->series[s], &x, &y);
    legend(out, chart);
    cdu_text_put(out, "</svg>\n");
}
