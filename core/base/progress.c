/* progress.c: see progress.h. */
#include "core/base/progress.h"

#include <string.h>
#include <time.h>
#include <unistd.h>

static FILE *target;
static int terminal, standing;

double cdu_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

void cdu_progress_set_stream(FILE *stream)
{
    target = stream;
    terminal = stream && isatty(fileno(stream));
}

void cdu_progress_clear(void)
{
    if (!standing) return;
    fputs("\r\033[K", target);
    fflush(target);
    standing = 0;
}

cdu_progress_bar cdu_progress_begin(const char *label, uint64_t total)
{
    cdu_progress_bar bar = {.total = total, .began = cdu_seconds()};
    snprintf(bar.label, sizeof bar.label, "%s", label);
    bar.shown = bar.began;
    return bar;
}

static void format_time(char out[32], double seconds)
{
    unsigned long s = seconds < 0 ? 0 : (unsigned long)(seconds + 0.5);
    if (s >= 3600) snprintf(out, 32, "%lu h %02lu min", s / 3600, s / 60 % 60);
    else if (s >= 60) snprintf(out, 32, "%lu min %02lu s", s / 60, s % 60);
    else snprintf(out, 32, "%lu s", s);
}

static void show(cdu_progress_bar *bar, const char *note, int last)
{
    double now = cdu_seconds(), spent = now - bar->began;
    char left[32];
    double wait = bar->done ? spent / (double)bar->done * (double)(bar->total - bar->done) : 0;
    if (bar->most_left > 0 && bar->most_left < wait) wait = bar->most_left;
    format_time(left, last ? spent : wait);
    double share = bar->total ? 100.0 * (double)bar->done / (double)bar->total : 100.0;
    fprintf(target, "%s%s: %llu of %llu (%.0f %%), %s %s%s%s%s", terminal ? "\r\033[K" : "", bar->label,
            (unsigned long long)bar->done, (unsigned long long)bar->total, share, left, last ? "spent" : "left",
            note ? ", " : "", note ? note : "", terminal && !last ? "" : "\n");
    fflush(target);
    standing = terminal && !last;
    bar->shown = now;
}

void cdu_progress_update(cdu_progress_bar *bar, uint64_t done, const char *note)
{
    bar->done = done < bar->total ? done : bar->total;
    if (target && cdu_seconds() - bar->shown >= (terminal ? 0.1 : 10.0)) show(bar, note, 0);
}

void cdu_progress_end(cdu_progress_bar *bar)
{
    if (!target) return;
    if (terminal || cdu_seconds() - bar->began >= 1.0) show(bar, NULL, 1);
}
