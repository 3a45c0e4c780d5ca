/* page.c: see page.h. */
#include "core/report/page.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/report/chart.h"

static const char style[] =
    "body{font-family:system-ui,'Segoe UI',Roboto,'DejaVu Sans',sans-serif;font-size:16px;line-height:1.45;color:#1c1c1c;background:#ffffff;"
    "margin:0 auto;padding:16px;max-width:1180px;overflow-wrap:break-word}\n"
    "h1{font-size:1.7em;margin:.2em 0}h2{font-size:1.3em;margin:1.6em 0 .5em;border-bottom:2px solid #dddddd;padding-bottom:.2em}\n"
    "h3{font-size:1.05em;margin:1.3em 0 .4em}p{margin:.5em 0}.dim{color:#5a5a5a}\n"
    ".facts{display:grid;grid-template-columns:repeat(auto-fill,minmax(150px,1fr));gap:10px;margin:14px 0}\n"
    ".fact{background:#f3f5f7;border-radius:8px;padding:10px 12px}.fact b{display:block;font-size:1.35em}.fact span{font-size:.85em;color:#5a5a5a}\n"
    ".charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,420px),1fr));gap:16px}\n"
    ".charts svg{width:100%;height:auto;display:block}\n"
    ".scroll{overflow-x:auto;margin:.5em 0}table{border-collapse:collapse;font-size:.93em;font-variant-numeric:tabular-nums}\n"
    "th,td{padding:5px 10px;text-align:right;border-bottom:1px solid #e4e4e4;white-space:nowrap}th{background:#f3f5f7;font-weight:600;"
    "white-space:normal;vertical-align:bottom}\n"
    "th:first-child,td:first-child{text-align:left}td.words,th.words{text-align:left}"
    "td.words:last-child{white-space:normal;min-width:9em;overflow-wrap:anywhere}\n"
    ".square{display:inline-block;width:.8em;height:.8em;border:1px solid #888888;margin-right:.5em;vertical-align:-.05em}\n"
    ".tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,440px),1fr));gap:16px}figure{margin:0}\n"
    ".three{display:grid;grid-template-columns:1fr 1fr 1fr;gap:4px}.three img{width:100%;height:auto;display:block;border:1px solid #cccccc;"
    "box-sizing:border-box}\n"
    "figcaption{font-size:.85em;color:#5a5a5a;margin-top:4px}\n"
    "pre{overflow-x:auto;background:#f3f5f7;border-radius:8px;padding:10px;font-size:.85em}details{margin:.7em 0}summary{cursor:pointer}\n"
    ".matrix td+td{text-align:center;min-width:4.5em}.key span{margin-right:1.2em;white-space:nowrap}\n"
    ".settings{display:flex;flex-wrap:wrap;gap:0 28px;align-items:flex-start}.settings td{white-space:normal}small{font-size:.82em;color:#4a4a4a}\n"
    "@media (max-width:480px){body{padding:10px;font-size:15px}th,td{padding:5px 7px}.facts{grid-template-columns:1fr 1fr}}\n";

void cdu_page_begin(cdu_text *out, const char *title)
{
    cdu_text_put(out, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>");
    cdu_text_put_escaped(out, title);
    cdu_text_put(out, "</title>\n<style>\n");
    cdu_text_put(out, style);
    cdu_text_put(out, "</style>\n</head>\n<body>\n");
}

void cdu_page_end(cdu_text *out)
{
    cdu_text_put(out, "</body>\n</html>\n");
}

void cdu_page_heading(cdu_text *out, const char *words)
{
    cdu_text_put(out, "<h2>");
    cdu_text_put_escaped(out, words);
    cdu_text_put(out, "</h2>\n");
}

void cdu_page_facts(cdu_text *out, bool begin)
{
    cdu_text_put(out, begin ? "<div class=\"facts\">\n" : "</div>\n");
}

void cdu_page_fact(cdu_text *out, const char *what, const char *value, const char *note)
{
    cdu_text_print(out, "<div class=\"fact\">%s<b>%s</b><span>%s</span></div>\n", what, value, note);
}

void cdu_page_table(cdu_text *out, const char *const *heads, size_t count)
{
    cdu_text_put(out, "<div class=\"scroll\"><table>\n<tr>");
    for (size_t i = 0; i < count; i++) {
        cdu_text_put(out, "<th>");
        cdu_text_put_escaped(out, heads[i]);
        cdu_text_put(out, "</th>");
    }
    cdu_text_put(out, "</tr>\n");
}

void cdu_page_table_end(cdu_text *out)
{
    cdu_text_put(out, "</table></div>\n");
}

void cdu_page_words(cdu_text *out, const char *words)
{
    cdu_text_put(out, "<td class=\"words\">");
    cdu_text_put_escaped(out, words);
    cdu_text_put(out, "</td>");
}

void cdu_page_number(cdu_text *out, double number)
{
    if (isnan(number))
        cdu_text_put(out, "<td>&ndash;</td>");
    else
        cdu_text_print(out, "<td>%.3f</td>", number);
}

/* From white at 0 over light yellow to green at 1. */
void cdu_page_score(cdu_text *out, double score)
{
    cdu_page_score_interval(out, score, NULL);
}

void cdu_page_score_interval(cdu_text *out, double score, const json_t *interval)
{
    if (isnan(score)) {
        cdu_text_put(out, "<td>&ndash;</td>");
        return;
    }
    static const int from[3] = {246, 190, 180}, middle[3] = {252, 243, 200}, to[3] = {150, 212, 160};
    const int *a = score < 0.6 ? from : middle, *b = score < 0.6 ? middle : to;
    double share = score < 0.6 ? score / 0.6 : (score - 0.6) / 0.4;
    int color[3];
    for (int k = 0; k < 3; k++) color[k] = (int)lround(a[k] + share * (b[k] - a[k]));
    cdu_text_print(out, "<td style=\"background:#%02x%02x%02x\">%.3f", color[0], color[1], color[2], score);
    if (json_array_size(interval) == 2)
        cdu_text_print(out, "<br><small>%.3f to %.3f</small>", json_number_value(json_array_get(interval, 0)),
                       json_number_value(json_array_get(interval, 1)));
    cdu_text_put(out, "</td>");
}

void cdu_page_grouped(char out[40], double count)
{
    char digits[24];
    snprintf(digits, sizeof digits, "%.0f", count);
    size_t length = strlen(digits), at = 0;
    for (size_t i = 0; i < length; i++) {
        if (i && (length - i) % 3 == 0) at += (size_t)sprintf(out + at, "\xe2\x80\xaf"); /* narrow no-break space */
        out[at++] = digits[i];
        if (at > 34) break;
    }
    out[at] = 0;
}

void cdu_page_count(cdu_text *out, double count)
{
    char words[40];
    cdu_page_grouped(words, count);
    cdu_text_print(out, "<td>%s</td>", words);
}

void cdu_page_class(cdu_text *out, const cdu_run_record *run, uint32_t c)
{
    const uint8_t *k = run->colors[c];
    cdu_text_print(out, "<td><span class=\"square\" style=\"background:#%02x%02x%02x\"></span>", k[0], k[1], k[2]);
    cdu_text_put_escaped(out, run->class_names[c]);
    cdu_text_put(out, "</td>");
}

void cdu_page_interval(cdu_text *out, const json_t *interval)
{
    if (json_array_size(interval) != 2)
        cdu_text_put(out, "<td>&ndash;</td>");
    else
        cdu_text_print(out, "<td>%.3f to %.3f</td>", json_number_value(json_array_get(interval, 0)),
                       json_number_value(json_array_get(interval, 1)));
}

void cdu_page_duration(char out[32], double seconds)
{
    if (seconds >= 86400) snprintf(out, 32, "%.0f d %.0f h", floor(seconds / 86400), floor(fmod(seconds, 86400) / 3600));
    else if (seconds >= 3600) snprintf(out, 32, "%.0f h %.0f min", floor(seconds / 3600), floor(fmod(seconds, 3600) / 60));
    else if (seconds >= 60) snprintf(out, 32, "%.0f min %.0f s", floor(seconds / 60), floor(fmod(seconds, 60)));
    else snprintf(out, 32, seconds < 10 ? "%.2f s" : "%.0f s", seconds);
}

void cdu_page_bytes(char out[32], double bytes)
{
    if (bytes >= 1073741824.0) snprintf(out, 32, "%.2f GiB", bytes / 1073741824.0);
    else snprintf(out, 32, bytes < 10485760 ? "%.2f MiB" : "%.0f MiB", bytes / 1048576.0);
}

void cdu_page_png(cdu_text *out, const void *png, size_t size, const char *words)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const uint8_t *at = png;
    cdu_text_put(out, "<img alt=\"");
    cdu_text_put_escaped(out, words);
    cdu_text_put(out, "\" src=\"data:image/png;base64,");
    for (size_t i = 0; i < size; i += 3) {
        size_t left = size - i;
        uint32_t bits = (uint32_t)at[i] << 16 | (left > 1 ? (uint32_t)at[i + 1] << 8 : 0) | (left > 2 ? at[i + 2] : 0u);
        char four[4] = {digits[bits >> 18], digits[bits >> 12 & 63], left > 1 ? digits[bits >> 6 & 63] : '=', left > 2 ? digits[bits & 63] : '='};
        cdu_text_add(out, four, 4);
    }
    cdu_text_put(out, "\">");
}

double cdu_page_json_number(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

void cdu_page_scored(char out[64], const json_t *scores)
{
    double slides = cdu_page_json_number(scores, "slides"), cases = cdu_page_json_number(scores, "cases");
    snprintf(out, 64, "%.0f slide%s of %.0f case%s", slides, slides == 1 ? "" : "s", cases, cases == 1 ? "" : "s");
}
