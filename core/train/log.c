/* log.c: see log.h. */
#include "core/train/log.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/base/memory.h"

static const uint64_t log_limit = (uint64_t)1 << 30;
enum { MORE = 3 };
static const char *const more_heads[MORE] = {",waits for network", ",waits for ranks", ",rank behind"};

struct cdu_train_log {
    FILE *file;
    char path[CDU_PATH_LIMIT];
    uint32_t classes;
    uint32_t more;  /* columns for several ranks */
};

/* Class names with quotes and commas are quoted as CSV wants. */
static void print_name(FILE *file, const char *name)
{
    fputs(",\"F1 ", file);
    for (; *name; name++) {
        if (*name == '"') fputc('"', file);
        fputc(*name, file);
    }
    fputc('"', file);
}

static cdu_status flush(cdu_train_log *log, cdu_error *error)
{
    if (fflush(log->file) == 0 && !ferror(log->file)) return CDU_OK;
    return cdu_fail(error, CDU_CANNOT_WRITE, "%s: cannot be written: %s", log->path, strerror(errno));
}

/* step,epoch,,, */
static bool is_validation(const char *row)
{
    const char *comma = strchr(row, ',');
    comma = comma ? strchr(comma + 1, ',') : NULL;
    return comma && comma[1] == ',';
}

/* How many of the columns for several ranks are there: rows of a run that went on with more or fewer ranks fit their heads all the same. */
static uint32_t count_more(const char *text)
{
    uint32_t more = 0;
    size_t length = strcspn(text, "\n");
    for (const char *at = text; more < MORE && (at = strstr(at, more_heads[more])) && at < text + length;) more++;
    return more;
}

/* Keeps the head and whole rows up to `step`. */
static cdu_status cut(const char *path, uint64_t step, bool validated, uint32_t *more, cdu_error *error)
{
    char *text;
    size_t size;
    CDU_TRY(cdu_file_read(path, log_limit, &text, &size, error));
    char *end = strchr(text, '\n');
    if (end) *more = count_more(text);
    while (end) {
        char *row = end + 1, *after = strchr(row, '\n');
        uint64_t its = strtoull(row, NULL, 10);
        if (!after || its > step || (its == step && !validated && is_validation(row))) break;
        end = after;
    }
    cdu_status status = cdu_file_write(path, text, end ? (size_t)(end + 1 - text) : 0, error);
    free(text);
    return status;
}

cdu_status cdu_train_log_open(const char *folder, const cdu_study *study, bool resume, uint64_t step, bool validated, bool several,
                              cdu_train_log **out, cdu_error *error)
{
    cdu_train_log *log;
    CDU_TRY(cdu_allocate(&log, 1, sizeof *log, error));
    cdu_status status = cdu_path_join(log->path, folder, "log.csv", error);
    log->more = several ? MORE : 0;
    bool append = status == CDU_OK && resume && cdu_file_exists(log->path);
    if (append) status = cut(log->path, step, validated, &log->more, error);
    log->file = status == CDU_OK ? fopen(log->path, append ? "ae" : "we") : NULL;
    log->classes = (uint32_t)study->class_count;
    if (status == CDU_OK && !log->file)
        status = cdu_fail(error, CDU_CANNOT_WRITE, "%s: cannot be written: %s", log->path, strerror(errno));
    if (status == CDU_OK && (!append || ftell(log->file) == 0)) {
        fputs("step,epoch,loss,learning rate,seconds,device waits,macro F1", log->file);
        for (size_t c = 0; c < study->class_count; c++) print_name(log->file, study->classes[c].name);
        for (uint32_t i = 0; i < log->more; i++) fputs(more_heads[i], log->file);
        fputc('\n', log->file);
        status = flush(log, error);
    }
    if (status != CDU_OK) return cdu_train_log_close(log), status;
    *out = log;
    return CDU_OK;
}

void cdu_train_log_close(cdu_train_log *log)
{
    if (!log) return;
    if (log->file) fclose(log->file);
    free(log);
}

cdu_status cdu_train_log_step(cdu_train_log *log, uint64_t step, uint64_t epoch, double loss, double rate, double seconds,
                              double waits, double network, double slowest, int behind, cdu_error *error)
{
    fprintf(log->file, "%" PRIu64 ",%" PRIu64 ",%.9g,%.9g,%.4f,%.4f,", step, epoch, loss, rate, seconds, waits);
    for (uint32_t c = 0; c < log->classes; c++) fputc(',', log->file);
    if (log->more > 0) fprintf(log->file, ",%.4f", network);
    if (log->more > 1) fprintf(log->file, ",%.4f", slowest);
    if (log->more > 2) behind < 0 ? fputs(",", log->file) : fprintf(log->file, ",%d", behind);
    fputc('\n', log->file);
    return flush(log, error);
}

static void print_score(FILE *file, double score)
{
    if (isnan(score))
        fputc(',', file);
    else
        fprintf(file, ",%.6f", score);
}

cdu_status cdu_train_log_validation(cdu_train_log *log, uint64_t step, uint64_t epoch, const cdu_confusion *confusion,
                                    double seconds, cdu_error *error)
{
    fprintf(log->file, "%" PRIu64 ",%" PRIu64 ",,,%.4f,", step, epoch, seconds);
    print_score(log->file, cdu_confusion_macro_f1(confusion));
    for (uint32_t c = 0; c < log->classes; c++) print_score(log->file, cdu_confusion_f1(confusion, c));
    for (uint32_t i = 0; i < log->more; i++) fputc(',', log->file);
    fputc('\n', log->file);
    return flush(log, error);
}
