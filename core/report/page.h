/* page.h: pieces of a report's HTML: one file, no script, nothing from outside; tables scroll sideways where a screen is narrow. */
#ifndef CDU_REPORT_PAGE_H
#define CDU_REPORT_PAGE_H

#include "core/base/text.h"
#include "core/report/run.h"

void cdu_page_begin(cdu_text *out, const char *title);
void cdu_page_end(cdu_text *out);
void cdu_page_heading(cdu_text *out, const char *words);
/* A box with a number and what it is; between cdu_page_facts(out, true) and (out, false). `value` and `note` may hold entities. */
void cdu_page_facts(cdu_text *out, bool begin);
void cdu_page_fact(cdu_text *out, const char *what, const char *value, const char *note);
/* A table with these heads (escaped here; the first column is left-aligned); rows are put by hand, then it is ended. */
void cdu_page_table(cdu_text *out, const char *const *heads, size_t count);
void cdu_page_table_end(cdu_text *out);
/* Cells: words; a number of 3 decimals or a dash; a share of 0 to 1 on a ground that tells how good it is; a count. */
void cdu_page_words(cdu_text *out, const char *words);
void cdu_page_number(cdu_text *out, double number);
void cdu_page_score(cdu_text *out, double score);
/* The same with an interval below it, where there is one. */
void cdu_page_score_interval(cdu_text *out, double score, const json_t *interval);
void cdu_page_count(cdu_text *out, double count);
/* A cell with a class's name behind a square of its colour. */
void cdu_page_class(cdu_text *out, const cdu_run_record *run, uint32_t class_value);
/* "0.812 to 0.905", or a dash; in a cell. */
void cdu_page_interval(cdu_text *out, const json_t *interval);
/* "3 h 12 min", "48 s". */
void cdu_page_duration(char out[32], double seconds);
/* "1.2 GiB", "310 MiB". */
void cdu_page_bytes(char out[32], double bytes);
/* 12 345 678, in groups. */
void cdu_page_grouped(char out[40], double count);
/* An image of the page's own: <img src="data:image/png;base64,...">. */
void cdu_page_png(cdu_text *out, const void *png, size_t size, const char *words);
/* "5 slides of 4 cases". */
void cdu_page_scored(char out[64], const json_t *scores);
/* NaN where the key is missing or null. */
double cdu_page_json_number(const json_t *object, const char *key);

#endif
