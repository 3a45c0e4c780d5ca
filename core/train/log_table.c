/* log_table.c: see log_table.h. */
#include "core/train/log_table.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/base/memory.h"

enum { COLUMNS = 64, FIELD = 512 };
static const uint64_t log_limit = (uint64_t)1 << 30;

/* What a column holds. */
enum { STEP, EPOCH, LOSS, RATE, SECONDS, MACRO, NEEDED, WAITS = NEEDED, KNOWN, CLASS = KNOWN, OTHER = CLASS + CDU_CLASS_LIMIT };
static const char *const heads[KNOWN] = {"step", "epoch", "loss", "learning rate", "seconds", "macro F1", "device waits"};

typedef struct {
    const char *path;
    size_t line;
    const char *at, *end; /* of the text that is left */
    int kinds[COLUMNS];
    uint32_t columns;
    char fields[COLUMNS][FIELD];
    uint32_t field_count;
    size_t step_capacity, validation_capacity;
} reader;

static cdu_status bad_row(const reader *r, const char *what, cdu_error *error)
{
    return cdu_fail(error, CDU_BAD_DATA, "%s:%zu: %s; the log is damaged: a copy of the run, or the file without its rows from here on, can "
                    "be read", r->path, r->line, what);
}

/* One row into r->fields. *whole is false where the text ends within it. */
static cdu_status read_row(reader *r, bool *whole, cdu_error *error)
{
    uint32_t column = 0, length = 0;
    bool quoted = false;
    r->line++;
    *whole = false;
    for (; r->at < r->end; r->at++) {
        char c = *r->at;
        if (quoted && c == '"' && r->at + 1 < r->end && r->at[1] == '"') {
            r->at++;
        } else if (c == '"') {
            quoted = !quoted;
            continue;
        } else if (!quoted && (c == ',' || c == '\n')) {
            r->fields[column][length] = 0;
            length = 0;
            column++;
            if (c == '\n') {
                r->at++;
                r->field_count = column;
                *whole = true;
                return CDU_OK;
            }
            if (column == COLUMNS) return bad_row(r, "there are more than 64 columns", error);
            continue;
        } else if (!quoted && c == '\r') {
            continue;
        } else if (!c) {
            return bad_row(r, "there is a zero byte", error);
        }
        if (length + 1 == FIELD) return bad_row(r, "a field is longer than 511 bytes", error);
        r->fields[column][length++] = c;
    }
    return CDU_OK;
}

static cdu_status read_heads(reader *r, cdu_log_table *out, cdu_error *error)
{
    bool whole, found[KNOWN] = {false};
    CDU_TRY(read_row(r, &whole, error));
    for (uint32_t i = 0; whole && i < r->field_count; i++) {
        const char *head = r->fields[i];
        r->kinds[i] = OTHER;
        for (int k = 0; k < KNOWN; k++)
            if (!strcmp(head, heads[k])) r->kinds[i] = k, found[k] = true;
        if (r->kinds[i] != OTHER || strncmp(head, "F1 ", 3)) continue;
        if (out->classes == CDU_CLASS_LIMIT) return bad_row(r, "there are more than 16 classes", error);
        r->kinds[i] = CLASS + (int)out->classes;
        CDU_TRY(cdu_copy_text(&out->class_names[out->classes++], head + 3, error));
    }
    r->columns = r->field_count;
    out->has_waits = found[WAITS];
    for (int k = 0; k < NEEDED; k++)
        if (!found[k])
            return cdu_fail(error, CDU_BAD_DATA, "%s:1: there is no column '%s'; is this the log.csv of a run?", r->path, heads[k]);
    if (!out->classes) return cdu_fail(error, CDU_BAD_DATA, "%s:1: there is no column of a class's F1; is this the log.csv of a run?", r->path);
    return CDU_OK;
}

static cdu_status wrong_field(const reader *r, uint32_t column, cdu_error *error)
{
    char what[160];
    int used = snprintf(what, sizeof what, "column %u holds '%.60s', which is no number that can stand there", column + 1, r->fields[column]);
    for (int i = 0; i < used; i++) /* a damaged file may hold anything */
        if ((unsigned char)what[i] < ' ' || (unsigned char)what[i] > '~') what[i] = '?';
    return bad_row(r, what, error);
}

/* The numbers of a row by what they are; NaN where a field is empty. */
static cdu_status take_numbers(const reader *r, double numbers[OTHER], cdu_error *error)
{
    for (int k = 0; k < OTHER; k++) numbers[k] = NAN;
    for (uint32_t i = 0; i < r->columns; i++) {
        const char *field = r->fields[i];
        char *end;
        if (r->kinds[i] == OTHER || !*field) continue;
        double x = strtod(field, &end);
        if (*end || !(fabs(x) < 1e100)) return wrong_field(r, i, error);
        bool count = r->kinds[i] == STEP || r->kinds[i] == EPOCH, share = r->kinds[i] == MACRO || r->kinds[i] >= CLASS;
        if (count && (x < 0 || x != floor(x) || x > 9e15)) return wrong_field(r, i, error);
        if (share && (x < 0 || x > 1)) return wrong_field(r, i, error);
        if ((r->kinds[i] == SECONDS || r->kinds[i] == WAITS) && x < 0) return wrong_field(r, i, error);
        numbers[r->kinds[i]] = x;
    }
    if (isnan(numbers[STEP]) || isnan(numbers[EPOCH])) return bad_row(r, "step and epoch are needed in every row", error);
    return CDU_OK;
}

static cdu_status take_row(reader *r, cdu_log_table *out, cdu_error *error)
{
    double n[OTHER];
    char what[96];
    if (r->field_count != r->columns) {
        snprintf(what, sizeof what, "there are %u fields, the first line has %u", r->field_count, r->columns);
        return bad_row(r, what, error);
    }
    CDU_TRY(take_numbers(r, n, error));
    uint64_t step = (uint64_t)n[STEP], epoch = (uint64_t)n[EPOCH];
    if (!isnan(n[LOSS])) {
        const cdu_log_step *last = out->step_count ? &out->steps[out->step_count - 1] : NULL;
        if (last && step <= last->step) return bad_row(r, "the step is not behind the one before", error);
        CDU_TRY(cdu_grow(&out->steps, &r->step_capacity,
                         out->step_count < r->step_capacity ? out->step_count + 1 : 2 * out->step_count + 64, sizeof *out->steps, error));
        if (last && out->steps[out->step_count - 1].epoch == 1 && epoch == 2) out->steps_per_epoch = step - 1;
        out->steps[out->step_count++] = (cdu_log_step){step, epoch, n[LOSS], n[RATE], n[SECONDS], n[WAITS]};
        return CDU_OK;
    }
    CDU_TRY(cdu_grow(&out->validations, &r->validation_capacity,
                     out->validation_count < r->validation_capacity ? out->validation_count + 1 : 2 * out->validation_count + 16,
                     sizeof *out->validations, error));
    if (out->validation_count && step < out->validations[out->validation_count - 1].step)
        return bad_row(r, "the step is before that of the validation before", error);
    cdu_log_validation *v = &out->validations[out->validation_count++];
    *v = (cdu_log_validation){.step = step, .epoch = epoch, .seconds = n[SECONDS], .macro = n[MACRO]};
    for (uint32_t c = 0; c < out->classes; c++) v->f1[c] = n[CLASS + c];
    return CDU_OK;
}

cdu_status cdu_log_table_parse(const char *path, const char *text, size_t size, cdu_log_table *out, cdu_error *error)
{
    reader *r;
    *out = (cdu_log_table){0};
    CDU_TRY(cdu_allocate(&r, 1, sizeof *r, error));
    r->path = path;
    r->at = text;
    r->end = text + size;
    cdu_status status = read_heads(r, out, error);
    while (status == CDU_OK && r->at < r->end) {
        bool whole;
        status = read_row(r, &whole, error);
        if (status == CDU_OK && whole) status = take_row(r, out, error);
        if (status == CDU_OK && !whole) out->unfinished = true;
    }
    /* a run that ends with its first epoch: the validation at its end tells */
    if (!out->steps_per_epoch && out->validation_count && out->validations[0].epoch)
        out->steps_per_epoch = out->validations[0].step / out->validations[0].epoch;
    free(r);
    if (status != CDU_OK) cdu_log_table_free(out);
    return status;
}

cdu_status cdu_log_table_read(const char *path, cdu_log_table *out, cdu_error *error)
{
    char *text;
    size_t size;
    *out = (cdu_log_table){0};
    CDU_TRY(cdu_file_read(path, log_limit, &text, &size, error));
    cdu_status status = cdu_log_table_parse(path, text, size, out, error);
    free(text);
    return status;
}

void cdu_log_table_free(cdu_log_table *table)
{
    for (uint32_t c = 0; c < CDU_CLASS_LIMIT; c++) free(table->class_names[c]);
    free(table->steps);
    free(table->validations);
    *table = (cdu_log_table){0};
}

size_t cdu_log_table_best(const cdu_log_table *table)
{
    size_t best = SIZE_MAX;
    for (size_t i = 0; i < table->validation_count; i++) {
        double macro = table->validations[i].macro;
        if (!isnan(macro) && (best == SIZE_MAX || macro > table->validations[best].macro)) best = i;
    }
    return best;
}
