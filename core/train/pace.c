/* pace.c: see pace.h. Sums over a window tell a rank that works in fits and starts; what happens once, such as a slow write, spoils one window
 * and is not told. */
#include "core/train/pace.h"

#include <stdlib.h>

#include "core/base/memory.h"

cdu_status cdu_pace_begin(cdu_pace *pace, uint32_t size, cdu_error *error)
{
    *pace = (cdu_pace){.size = size};
    CDU_TRY(cdu_allocate(&pace->ranks, size, sizeof *pace->ranks, error));
    return cdu_allocate(&pace->others, size, sizeof *pace->others, error);
}

void cdu_pace_end(cdu_pace *pace)
{
    free(pace->ranks);
    free(pace->others);
    *pace = (cdu_pace){0};
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

double cdu_median(double *values, size_t count)
{
    qsort(values, count, sizeof *values, by_size);
    return values[(count - 1) / 2];
}

static double median_of_others(const cdu_pace *pace, uint32_t but, double (*of)(const cdu_pace_rank *))
{
    size_t count = 0;
    for (uint32_t i = 0; i < pace->size; i++)
        if (i != but) pace->others[count++] = of(&pace->ranks[i]);
    return count ? cdu_median(pace->others, count) : 0;
}

static double usual_of(const cdu_pace_rank *rank)
{
    return rank->usual;
}

static double slowness_of(const cdu_pace_rank *rank)
{
    return rank->usual > 0 ? rank->window / rank->usual : 0;
}

static void judge(cdu_pace *pace, uint32_t i)
{
    cdu_pace_rank *rank = &pace->ranks[i];
    double others = median_of_others(pace, i, slowness_of);
    rank->ratio = others > 0 ? slowness_of(rank) / others : 1;
    rank->slow = rank->ratio > CDU_PACE_SLOW ? rank->slow + 1 : 0;
    if (!rank->behind && rank->slow >= CDU_PACE_WINDOWS) rank->behind = true, rank->news = CDU_PACE_BEHIND;
    else if (rank->behind && rank->ratio < CDU_PACE_FINE) rank->behind = false, rank->news = CDU_PACE_AGAIN;
}

static void end_window(cdu_pace *pace)
{
    for (uint32_t i = 0; i < pace->size; i++) {
        cdu_pace_rank *rank = &pace->ranks[i];
        if (pace->known) judge(pace, i);
        else rank->first[pace->windows] = rank->window / pace->steps;
        if (!pace->known && pace->windows + 1 == CDU_PACE_FIRST) rank->usual = cdu_median(rank->first, CDU_PACE_FIRST);
    }
    for (uint32_t i = 0; i < pace->size; i++) pace->ranks[i].window = 0;
    if (!pace->known) pace->known = ++pace->windows == CDU_PACE_FIRST;
    pace->steps = 0;
    pace->seconds = 0;
}

bool cdu_pace_step(cdu_pace *pace, const double *seconds, size_t stride)
{
    double slowest = 0;
    for (uint32_t i = 0; i < pace->size; i++) pace->ranks[i].news = CDU_PACE_SAME;
    if (pace->size < 2 || pace->skipped++ < CDU_PACE_SKIPPED) return false;
    pace->skipped = CDU_PACE_SKIPPED;
    for (uint32_t i = 0; i < pace->size; i++) {
        double took = seconds[i * stride];
        pace->ranks[i].window += took;
        if (took > slowest) slowest = took;
    }
    pace->seconds += slowest;
    if (++pace->steps < CDU_PACE_STEPS || pace->seconds < CDU_PACE_SECONDS) return false;
    end_window(pace);
    return true;
}

int cdu_pace_behind(const cdu_pace *pace)
{
    int behind = -1;
    for (uint32_t i = 0; i < pace->size; i++)
        if (pace->ranks[i].behind && (behind < 0 || pace->ranks[i].ratio > pace->ranks[behind].ratio)) behind = (int)i;
    return behind;
}

uint32_t cdu_pace_slowest(const cdu_pace *pace, double *times)
{
    uint32_t slowest = 0;
    for (uint32_t i = 1; i < pace->size; i++)
        if (pace->ranks[i].usual > pace->ranks[slowest].usual) slowest = i;
    double others = median_of_others(pace, slowest, usual_of);
    *times = others > 0 ? pace->ranks[slowest].usual / others : 1;
    return slowest;
}
