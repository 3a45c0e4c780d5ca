/* chart.h: line charts as SVG, for a page or as a file: axes with round ticks, lines in colour and dash, a legend. Leaves out everything else. */
#ifndef CDU_REPORT_CHART_H
#define CDU_REPORT_CHART_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/text.h"

typedef enum { CDU_DASH_SOLID, CDU_DASH_DOTTED, CDU_DASH_DASHED, CDU_DASH_MIXED, CDU_DASHES } cdu_chart_dash;
typedef struct { double x, y; } cdu_chart_point; /* y NaN: a gap */
typedef struct {
    const char *name;              /* in the legend; null: not there */
    uint8_t color[3];              /* R, G, B; near-white ones are drawn darker */
    cdu_chart_dash dash;
    const cdu_chart_point *points; /* by x */
    size_t count;
} cdu_chart_series;

typedef struct {
    const char *title, *x_label, *y_label;
    double y_low, y_high;          /* equal: from the data, 0 included */
    const cdu_chart_series *series;
    size_t count;
} cdu_chart;

/* Appends the <svg> element. `file`: with what a file of its own needs, a white ground included; else for an HTML page. */
void cdu_chart_draw(cdu_text *out, const cdu_chart *chart, bool file);
/* The colour as drawn, "#rrggbb". */
void cdu_chart_color(const uint8_t color[3], char out[8]);
/* Appends text with & < > " as entities; control characters and bytes that are not UTF-8 become U+FFFD. */
void cdu_text_put_escaped(cdu_text *out, const char *words);

#endif
