/* slides.c: the slide list, a CSV file (RFC 4180) with a header line: slide, annotation, stain, case, split, mpp in any order, of which
 * only `slide` must be there. Lines that begin with # are comments. A quoted field may not span lines. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/base/file.h"
#include "core/base/memory.h"
#include "core/study/study.h"

#define LIST_LIMIT (64u << 20)
enum { COLUMN_SLIDE, COLUMN_ANNOTATION, COLUMN_STAIN, COLUMN_CASE, COLUMN_SPLIT, COLUMN_MPP, COLUMNS };
static const char *const column_names[COLUMNS] = {"slide", "annotation", "stain", "case", "split", "mpp"};

typedef struct {
    cdu_study *study;
    const char *folder;
    bool check_files;
    size_t line;
    int place[COLUMNS];                /* column of the file, -1: not there */
    int fields;                        /* in the header */
    size_t slide_capacity, origin_capacity;
    cdu_slide_origin *origins;
    cdu_error *error;
} reader;

#define fail_line(r, ...) cdu_fail_line_((r), CDU_STRING(__LINE__), __VA_ARGS__)

__attribute__((format(printf, 3, 4))) static cdu_status cdu_fail_line_(const reader *r, const char *where, const char *format, ...)
{
    char words[600], here[64];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(words, sizeof words, format, arguments);
    va_end(arguments);
    snprintf(here, sizeof here, "core/study/slides.c:%s", where);
    return cdu_error_set(r->error, CDU_BAD_DATA, here, "%s:%zu: %s", r->study->slides_path, r->line, words);
}

/* Splits one line in place into at most COLUMNS + 1 fields, so that one too many is seen. */
static cdu_status split_line(const reader *r, char *line, char *fields[COLUMNS + 1], int *count)
{
    *count = 0;
    for (char *at = line;;) {
        if (*count > COLUMNS) return CDU_OK;
        at += strspn(at, " \t");
        char *end;
        if (*at == '"') {
            char *to = fields[(*count)++] = ++at;
            for (; *at && !(at[0] == '"' && at[1] != '"'); *to++ = *at++)
                if (*at == '"') at++;
            if (!*at) return fail_line(r, "a quoted field is not closed on its line");
            end = at + 1 + strspn(at + 1, " \t");
            *to = 0;
            if (*end && *end != ',') return fail_line(r, "behind a closing quote a comma must stand, not '%.20s'", end);
        } else {
            fields[(*count)++] = at;
            end = at + strcspn(at, ",");
        }
        bool last = !*end;
        char *tail = end;
        *end = 0;
        if (*at != '"')
            while (tail > at && (tail[-1] == ' ' || tail[-1] == '\t')) *--tail = 0;
        if (last) return CDU_OK;
        at = end + 1;
    }
}

static cdu_status read_header(reader *r, char *line)
{
    char *fields[COLUMNS + 1];
    CDU_TRY(split_line(r, line, fields, &r->fields));
    for (int c = 0; c < COLUMNS; c++) r->place[c] = -1;
    for (int i = 0; i < r->fields; i++) {
        int found = -1;
        for (int c = 0; c < COLUMNS; c++)
            if (!strcasecmp(fields[i], column_names[c])) found = c;
        if (found < 0)
            return fail_line(r, "unknown column '%.60s'; the header line may name slide, annotation, stain, case, split and mpp", fields[i]);
        if (r->place[found] >= 0) return fail_line(r, "column '%s' is named twice", column_names[found]);
        r->place[found] = i;
    }
    if (r->place[COLUMN_SLIDE] < 0) return fail_line(r, "the header line has no column 'slide'");
    return CDU_OK;
}

static cdu_status resolve(const reader *r, const char *column, const char *given, char **out)
{
    char path[CDU_PATH_LIMIT];
    cdu_error reason = {0};
    if (cdu_path_join(path, r->folder, given, &reason) != CDU_OK) return fail_line(r, "%s: %s", column, reason.words);
    if (r->check_files && !cdu_file_exists(path)) return fail_line(r, "%s: '%.300s' is not there", column, path);
    return cdu_copy_text(out, path, r->error);
}

static cdu_status read_split(const reader *r, const char *text, cdu_split *split)
{
    static const struct { const char *word; cdu_split split; } words[] = {
        {"train", CDU_SPLIT_TRAIN}, {"training", CDU_SPLIT_TRAIN}, {"validation", CDU_SPLIT_VALIDATION},
        {"val", CDU_SPLIT_VALIDATION}, {"test", CDU_SPLIT_TEST}, {"testing", CDU_SPLIT_TEST}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (!strcasecmp(text, words[i].word)) return *split = words[i].split, CDU_OK;
    return fail_line(r, "split: '%.60s' is none of train, validation, test", text);
}

static const char *stain_name(const cdu_study *study, const char *spelling)
{
    for (size_t i = 0; i < study->stain_count; i++) {
        if (!strcasecmp(study->stains[i].name, spelling)) return study->stains[i].name;
        for (size_t k = 0; k < study->stains[i].spelling_count; k++)
            if (!strcasecmp(study->stains[i].spellings[k], spelling)) return study->stains[i].name;
    }
    return spelling;
}

/* Without a case of its own a slide is one by itself, named after the file. */
static cdu_status name_case(const reader *r, const char *given, const char *slide, char **out)
{
    if (*given) return cdu_copy_text(out, given, r->error);
    const char *slash = strrchr(slide, '/');
    CDU_TRY(cdu_copy_text(out, slash ? slash + 1 : slide, r->error));
    char *dot = strrchr(*out, '.');
    if (dot && dot != *out) *dot = 0;
    return CDU_OK;
}

static cdu_status read_slide(reader *r, char *line)
{
    char *fields[COLUMNS + 1], *values[COLUMNS];
    int count;
    CDU_TRY(split_line(r, line, fields, &count));
    if (count != r->fields) {
        if (count > COLUMNS) return fail_line(r, "more fields than the header's %d", r->fields);
        return fail_line(r, "%d fields where the header names %d", count, r->fields);
    }
    for (int c = 0; c < COLUMNS; c++) values[c] = r->place[c] < 0 ? "" : fields[r->place[c]];
    if (!*values[COLUMN_SLIDE]) return fail_line(r, "slide: is empty");
    cdu_study *study = r->study;
    CDU_TRY(cdu_grow(&study->slides, &r->slide_capacity, study->slide_count + 1, sizeof *study->slides, r->error));
    CDU_TRY(cdu_grow(&r->origins, &r->origin_capacity, study->slide_count + 1, sizeof *r->origins, r->error));
    cdu_study_slide *slide = &study->slides[study->slide_count];
    r->origins[study->slide_count++].given = *values[COLUMN_SPLIT] != 0;
    slide->line = r->line;
    CDU_TRY(resolve(r, "slide", values[COLUMN_SLIDE], &slide->slide));
    if (*values[COLUMN_ANNOTATION]) CDU_TRY(resolve(r, "annotation", values[COLUMN_ANNOTATION], &slide->annotation));
    CDU_TRY(cdu_copy_text(&slide->stain, *values[COLUMN_STAIN] ? stain_name(study, values[COLUMN_STAIN]) : "unknown", r->error));
    CDU_TRY(name_case(r, values[COLUMN_CASE], values[COLUMN_SLIDE], &slide->case_name));
    if (*values[COLUMN_SPLIT]) CDU_TRY(read_split(r, values[COLUMN_SPLIT], &slide->split));
    if (*values[COLUMN_MPP]) {
        char *end;
        slide->mpp = strtod(values[COLUMN_MPP], &end);
        if (*end || !(slide->mpp >= 0.01 && slide->mpp <= 100))
            return fail_line(r, "mpp: '%.60s' is no number of micrometres per pixel from 0.01 to 100", values[COLUMN_MPP]);
    }
    return CDU_OK;
}

static int by_path_and_line(const void *a, const void *b)
{
    const cdu_study_slide *one = *(cdu_study_slide *const *)a, *two = *(cdu_study_slide *const *)b;
    int order = strcmp(one->slide, two->slide);
    return order ? order : one->line < two->line ? -1 : one->line > two->line;
}

static cdu_status refuse_twins(reader *r)
{
    cdu_study *study = r->study;
    cdu_study_slide **sorted;
    CDU_TRY(cdu_allocate(&sorted, study->slide_count, sizeof *sorted, r->error));
    for (size_t i = 0; i < study->slide_count; i++) sorted[i] = &study->slides[i];
    qsort(sorted, study->slide_count, sizeof *sorted, by_path_and_line);
    cdu_status status = CDU_OK;
    for (size_t i = 1; i < study->slide_count && status == CDU_OK; i++) {
        if (strcmp(sorted[i - 1]->slide, sorted[i]->slide) != 0) continue;
        r->line = sorted[i]->line;
        status = fail_line(r, "slide: '%.300s' already stands in line %zu", sorted[i]->slide, sorted[i - 1]->line);
    }
    free(sorted);
    return status;
}

static cdu_status read_lines(reader *r, char *text, size_t size)
{
    if (strlen(text) != size) return fail_line(r, "holds a zero byte, so it is no CSV text");
    char *at = text;
    bool header = false;
    if (!strncmp(at, "\xef\xbb\xbf", 3)) at += 3;
    for (r->line = 1; *at; r->line++) {
        size_t length = strcspn(at, "\r\n");
        char *next = at + length;
        if (next[0] == '\r' && next[1] == '\n') *next++ = 0;
        if (*next) *next++ = 0;
        const char *first = at + strspn(at, " \t");
        if (*first && *first != '#') {
            if (header) CDU_TRY(read_slide(r, at));
            else CDU_TRY(read_header(r, at));
            header = true;
        }
        at = next;
    }
    r->line = 1;
    if (!header) return fail_line(r, "has no header line; it must name the columns slide,annotation,stain,case,split,mpp");
    if (!r->study->slide_count) return fail_line(r, "names no slide");
    return refuse_twins(r);
}

cdu_status cdu_study_parse_slides(cdu_study *study, const char *text, size_t size, bool check_files, cdu_slide_origin **origins,
                                  cdu_error *error)
{
    char folder[CDU_PATH_LIMIT], *copy;
    *origins = NULL;
    reader r = {.study = study, .folder = folder, .check_files = check_files, .line = 1, .error = error};
    CDU_TRY(cdu_path_folder(folder, study->slides_path, error));
    CDU_TRY(cdu_allocate(&copy, size + 1, 1, error));
    memcpy(copy, text, size);
    cdu_status status = read_lines(&r, copy, size);
    free(copy);
    if (status == CDU_OK) *origins = r.origins;
    else free(r.origins);
    return status;
}

cdu_status cdu_study_read_slides(cdu_study *study, cdu_slide_origin **origins, cdu_error *error)
{
    char *text;
    size_t size;
    CDU_TRY(cdu_file_read(study->slides_path, LIST_LIMIT, &text, &size, error));
    cdu_status status = cdu_study_parse_slides(study, text, size, true, origins, error);
    free(text);
    return status;
}
