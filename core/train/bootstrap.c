/* bootstrap.c: see bootstrap.h. */
#include "core/train/bootstrap.h"

#include <math.h>
#include <stdlib.h>

#include "core/base/memory.h"
#include "core/base/random.h"

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double percentile(const double *sorted, size_t count, double share)
{
    double place = share * (double)(count - 1), below = floor(place);
    size_t i = (size_t)below;
    return i + 1 < count ? sorted[i] + (place - below) * (sorted[i + 1] - sorted[i]) : sorted[i];
}

/* `values` of all resamples, some of which may be NaN; they are reordered. */
static cdu_interval interval_of(double *values, uint32_t resamples)
{
    size_t count = 0;
    for (uint32_t i = 0; i < resamples; i++)
        if (!isnan(values[i])) values[count++] = values[i];
    if (!count) return (cdu_interval){NAN, NAN};
    qsort(values, count, sizeof *values, by_size);
    return (cdu_interval){percentile(values, count, 0.025), percentile(values, count, 0.975)};
}

cdu_status cdu_bootstrap(const cdu_confusion *cases, size_t count, uint32_t resamples, cdu_intervals *out, cdu_error *error)
{
    for (int s = 0; s < CDU_SCORES; s++)
        for (int c = 0; c <= CDU_CLASS_LIMIT; c++) out->of[s][c] = (cdu_interval){NAN, NAN};
    if (count < 2 || !resamples) return CDU_OK;
    const uint32_t columns = cases[0].classes + 1;
    double *values; /* score, class, resample */
    CDU_TRY(cdu_allocate(&values, (size_t)CDU_SCORES * columns * resamples, sizeof *values, error));
    for (uint32_t i = 0; i < resamples; i++) {
        cdu_random draw = cdu_random_stream(0, CDU_RANDOM_BOOTSTRAP, i, 0);
        cdu_confusion sum = {.classes = cases[0].classes};
        for (size_t k = 0; k < count; k++) cdu_confusion_merge(&sum, &cases[cdu_random_below(&draw, (uint32_t)count)]);
        for (int s = 0; s < CDU_SCORES; s++)
            for (uint32_t c = 0; c < columns; c++)
                values[((size_t)s * columns + c) * resamples + i] = cdu_confusion_score(&sum, (cdu_score)s, c);
    }
    for (int s = 0; s < CDU_SCORES; s++)
        for (uint32_t c = 0; c < columns; c++)
            out->of[s][c] = interval_of(values + ((size_t)s * columns + c) * resamples, resamples);
    free(values);
    return CDU_OK;
}
