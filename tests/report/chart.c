/* chart.c: charts of ordinary and of odd numbers: they end, the lines lie within the picture, names are escaped. */
#include "core/report/chart.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static size_t count(const char *text, const char *part)
{
    size_t n = 0;
    for (; (text = strstr(text, part)); text += strlen(part)) n++;
    return n;
}

static cdu_text draw(const cdu_chart_point *points, size_t n, double y_high, const char *name)
{
    cdu_chart_series series = {.name = name, .color = {200, 0, 0}, .points = points, .count = n};
    cdu_chart chart = {.title = "a & b", .x_label = "epochs", .y_label = "F1", .y_high = y_high, .series = &series, .count = 1};
    cdu_text text = {0};
    cdu_chart_draw(&text, &chart, false);
    cr_assert_eq(text.status, CDU_OK);
    return text;
}

Test(chart, odd_numbers_end_and_stay_within)
{
    static const double ys[][3] = {{0, 0.5, 1}, {0, 0, 0}, {1e-323, 1e-320, 0}, {-3, 5, 2}, {1e99, -1e99, 1}, {7, 7, 7}};
    for (size_t i = 0; i < sizeof ys / sizeof *ys; i++) {
        const cdu_chart_point points[] = {{0, ys[i][0]}, {i == 3 ? 9e15 : 1, ys[i][1]}, {i == 3 ? 9.1e15 : 2, ys[i][2]}};
        cdu_text text = draw(points, 3, 0, "x");
        const char *path = strstr(strstr(text.bytes, "stroke-linejoin"), " d=\"M");
        cr_assert_not_null(path, "row %zu: %s", i, text.bytes);
        path += 5;
        for (int k = 0; k < 3; k++) {
            char *end;
            double x = strtod(path, &end), y = strtod(end, &end);
            cr_assert(x >= 55.9 && x <= 526.1 && y >= 33.9 && y <= 324.1, "row %zu: (%g, %g)", i, x, y);
            path = end + 1;
        }
        cr_assert(count(text.bytes, "<line") < 60 && !strstr(text.bytes, "nan") && !strstr(text.bytes, "inf"), "row %zu", i);
        cdu_text_free(&text);
    }
}

Test(chart, a_value_that_is_not_there_is_a_gap)
{
    const cdu_chart_point points[] = {{0, 0.2}, {1, 0.4}, {2, NAN}, {3, 0.4}, {4, 0.5}};
    cdu_text text = draw(points, 5, 1, "x");
    const char *path = strstr(strstr(text.bytes, "stroke-linejoin"), " d=\"");
    cr_assert(path[4] == 'M' && count(path, "L") == 2 && count(path, "<circle") == 4, "%s", path);
    cdu_text_free(&text);
    text = draw(NULL, 0, 1, "x");
    cr_assert_eq(count(text.bytes, "<circle"), 0);
    cdu_text_free(&text);
}

Test(chart, names_are_escaped)
{
    const cdu_chart_point points[] = {{0, 0.2}};
    cdu_text text = draw(points, 1, 1, "<b>\"\x01\xff\xc3\xa4");
    cr_assert(strstr(text.bytes, "&lt;b&gt;&quot;\xef\xbf\xbd\xef\xbf\xbd\xc3\xa4</text>"), "%s", text.bytes);
    cr_assert(strstr(text.bytes, "a &amp; b"));
    cdu_text_free(&text);
}
