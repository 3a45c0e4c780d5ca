/* tune_journal.c: what the tuner tried, in a text file of lines: a word, a problem's numbers, a choice, and what came of it. The first line
 * says for which device, driver and kernels; a line that is cut off or makes no sense is passed over, as the last may be after a crash. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>
#include <xxhash.h>

#include "bench/tune.h"
#include "core/base/file.h"
#include "core/base/memory.h"
#include "shaders/table.h"

enum { JOURNAL_LIMIT = 64 << 20, LINE = 512 };

typedef struct {
    cdu_conv_problem problem;
    cdu_choice choice;
    tune_state state;
    bool confirmed;
    double share;
    char why[192];
} record;

struct tune_journal {
    FILE *file;
    char path[CDU_PATH_LIMIT];
    record *records;
    size_t count, capacity;
};

static bool same(const record *r, const cdu_conv_problem *p, const cdu_choice *c)
{
    const cdu_conv_problem *q = &r->problem;
    return q->pass == p->pass && q->side == p->side && q->stride == p->stride && q->parities == p->parities && q->n == p->n &&
           q->h == p->h && q->w == p->w && q->in_lanes == p->in_lanes && q->out_lanes == p->out_lanes &&
           !strcmp(r->choice.variant, c->variant) && !memcmp(r->choice.setting, c->setting, sizeof c->setting);
}

static record *find(const tune_journal *journal, const cdu_conv_problem *p, const cdu_choice *c)
{
    for (size_t i = 0; i < journal->count; i++)
        if (same(&journal->records[i], p, c)) return &journal->records[i];
    return NULL;
}

static cdu_status record_of(tune_journal *journal, const cdu_conv_problem *p, const cdu_choice *c, record **out, cdu_error *error)
{
    *out = find(journal, p, c);
    if (*out) return CDU_OK;
    CDU_TRY(cdu_grow(&journal->records, &journal->capacity, journal->count + 1, sizeof *journal->records, error));
    *out = &journal->records[journal->count++];
    **out = (record){.problem = *p, .choice = *c};
    return CDU_OK;
}

/* The hash stands for the kernels' text: with other kernels, or another version, all has to be tried again. */
static void title_of(const cdu_device_info *device, char out[LINE])
{
    XXH64_hash_t sum = 0;
    const char *folder = getenv("CDUNET_SHADERS");
    for (const cdu_shader_row *row = cdu_shader_table; row->name; row++) sum = XXH64(row->text, strlen(row->text), sum);
    if (folder) sum = XXH64(folder, strlen(folder), sum);
    snprintf(out, LINE, "cdunet %s tune journal 1\t%s\t%s\t%u\t%016llx", CDUNET_VERSION, device->name, device->driver,
             device->vector_width, (unsigned long long)sum);
}

/* Into the journal's memory; false where it makes no sense. */
static bool take_line(tune_journal *journal, const char *line)
{
    char word[16], choice_text[CDU_CHOICE_TEXT];
    cdu_conv_problem p = {0};
    cdu_choice c;
    unsigned pass;
    int used = 0;
    if (sscanf(line, "%15s %u %u %u %u %u %u %u %u %u %63s %n", word, &pass, &p.side, &p.stride, &p.parities, &p.n, &p.h, &p.w, &p.in_lanes,
               &p.out_lanes, choice_text, &used) != 11 || !used || pass > CDU_CONV_GRADIENT || cdu_choice_parse(choice_text, &c, NULL) != CDU_OK)
        return false;
    p.pass = (cdu_conv_pass)pass;
    record *r;
    if (record_of(journal, &p, &c, &r, NULL) != CDU_OK) return false;
    r->confirmed = !strcmp(word, "confirm");
    if (!strcmp(word, "begin")) {
        r->state = TUNE_REFUSED;
        snprintf(r->why, sizeof r->why, "the tuner or the machine ended while it was tried");
    } else if (!strcmp(word, "keep") || r->confirmed) {
        r->state = TUNE_KEPT;
        r->share = strtod(line + used, NULL);
    } else if (!strcmp(word, "refuse")) {
        r->state = TUNE_REFUSED;
        snprintf(r->why, sizeof r->why, "%s", line + used);
    } else {
        r->state = TUNE_NEW;
    }
    return true;
}

/* The lines of a journal that is there; *mine: it is one for this device and these kernels. */
static cdu_status take_file(tune_journal *journal, const char *title, bool *mine, cdu_error *error)
{
    char *text = NULL, *save = NULL;
    *mine = false;
    if (!cdu_file_exists(journal->path)) return CDU_OK;
    CDU_TRY(cdu_file_read(journal->path, JOURNAL_LIMIT, &text, NULL, error));
    char *line = strtok_r(text, "\n", &save);
    *mine = line && !strcmp(line, title);
    while (*mine && (line = strtok_r(NULL, "\n", &save))) take_line(journal, line);
    free(text);
    return CDU_OK;
}

static cdu_status write_line(tune_journal *journal, const char *line, cdu_error *error)
{
    if (fprintf(journal->file, "%s\n", line) < 0 || fflush(journal->file) || fsync(fileno(journal->file)))
        return cdu_fail(error, CDU_CANNOT_WRITE, "%s: %s", journal->path, strerror(errno));
    return CDU_OK;
}

static cdu_status open_file(tune_journal *journal, const cdu_device_info *device, cdu_error *error)
{
    char title[LINE];
    bool mine;
    title_of(device, title);
    CDU_TRY(take_file(journal, title, &mine, error));
    journal->file = fopen(journal->path, "a");
    if (!journal->file) return cdu_fail(error, CDU_CANNOT_WRITE, "%s: %s", journal->path, strerror(errno));
    if (flock(fileno(journal->file), LOCK_EX | LOCK_NB))
        return cdu_fail(error, CDU_CANNOT_WRITE, "%s: another tuner is at work on it", journal->path);
    if (mine) return write_line(journal, "", error);    /* behind a line that was cut off */
    if (ftruncate(fileno(journal->file), 0)) return cdu_fail(error, CDU_CANNOT_WRITE, "%s: %s", journal->path, strerror(errno));
    return write_line(journal, title, error);
}

cdu_status tune_journal_open(const char *path, const cdu_device_info *device, tune_journal **out, cdu_error *error)
{
    tune_journal *journal;
    CDU_TRY(cdu_allocate(&journal, 1, sizeof *journal, error));
    snprintf(journal->path, sizeof journal->path, "%s", path);
    cdu_status status = open_file(journal, device, error);
    if (status != CDU_OK) tune_journal_close(journal);
    else *out = journal;
    return status;
}

void tune_journal_close(tune_journal *journal)
{
    if (!journal) return;
    if (journal->file) fclose(journal->file);
    free(journal->records);
    free(journal);
}

tune_state tune_journal_look(const tune_journal *journal, const cdu_conv_problem *p, const cdu_choice *c, double *share, const char **why)
{
    const record *r = find(journal, p, c);
    if (!r) return TUNE_NEW;
    *share = r->share;
    *why = r->why;
    return r->state;
}

static cdu_status put(tune_journal *journal, const char *word, const cdu_conv_problem *p, const cdu_choice *c, const char *rest,
                      cdu_error *error)
{
    char choice[CDU_CHOICE_TEXT], line[LINE];
    cdu_choice_text(c, choice);
    snprintf(line, sizeof line, "%s %u %u %u %u %u %u %u %u %u %s %s", word, p->pass, p->side, p->stride, p->parities, p->n, p->h, p->w,
             p->in_lanes, p->out_lanes, choice, rest);
    for (char *at = line; *at; at++)
        if (*at == '\n') *at = ' ';
    CDU_TRY(write_line(journal, line, error));
    return take_line(journal, line) ? CDU_OK : cdu_fail(error, CDU_FAILED, "the tuner's journal does not take '%s'", line);
}

cdu_status tune_journal_begin(tune_journal *journal, const cdu_conv_problem *p, const cdu_choice *c, cdu_error *error)
{
    return put(journal, "begin", p, c, "", error);
}

static cdu_status put_share(tune_journal *journal, const char *word, const cdu_conv_problem *p, const cdu_choice *c, double share, cdu_error *error)
{
    char text[32];
    snprintf(text, sizeof text, "%.4f", share);
    return put(journal, word, p, c, text, error);
}

cdu_status tune_journal_keep(tune_journal *journal, const cdu_conv_problem *p, const cdu_choice *c, double share, cdu_error *error)
{
    return put_share(journal, "keep", p, c, share, error);
}

cdu_status tune_journal_confirm(tune_journal *journal, const cdu_conv_problem *p, const cdu_choice *c, double share, cdu_error *error)
{
    return put_share(journal, "confirm", p, c, share, error);
}

bool tune_journal_confirmed(const tune_journal *journal, const cdu_conv_problem *p, const cdu_choice *c)
{
    const record *r = find(journal, p, c);
    return r && r->confirmed;
}

cdu_status tune_journal_refuse(tune_journal *journal, const cdu_conv_problem *p, const cdu_choice *c, const char *why, cdu_error *error)
{
    return put(journal, "refuse", p, c, why, error);
}

cdu_status tune_journal_take_back(tune_journal *journal, const cdu_conv_problem *p, const cdu_choice *c, cdu_error *error)
{
    return put(journal, "again", p, c, "", error);
}
