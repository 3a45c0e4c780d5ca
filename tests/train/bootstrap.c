/* bootstrap.c: intervals over cases: the same every time, what they must be where that is plain, none where there can be none. */
#include "core/train/bootstrap.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

static cdu_confusion matrix(uint64_t right, uint64_t wrong)
{
    cdu_confusion c = {.classes = 2};
    c.pixels[0][0] = right;
    c.pixels[0][1] = wrong;
    c.pixels[1][1] = 100;
    return c;
}

static cdu_intervals intervals_of(const cdu_confusion *cases, size_t count, uint32_t resamples)
{
    cdu_intervals out;
    cdu_error error = {0};
    cr_assert_eq(cdu_bootstrap(cases, count, resamples, &out, &error), CDU_OK, "%s", error.words);
    return out;
}

Test(bootstrap, the_same_numbers_every_time)
{
    const cdu_confusion cases[] = {matrix(90, 10), matrix(50, 50), matrix(70, 30), matrix(20, 80)};
    cdu_intervals a = intervals_of(cases, 4, 500), b = intervals_of(cases, 4, 500);
    cr_assert_eq(memcmp(&a, &b, sizeof a), 0);
    cdu_interval recall = a.of[CDU_SCORE_RECALL][0];
    cr_assert(recall.low >= 0.2 && recall.low < 0.5 && recall.high > 0.65 && recall.high <= 0.9, "%g %g", recall.low, recall.high);
    /* frozen: whoever changes the draws changes published intervals */
    cr_assert(fabs(recall.low - 0.29875) < 1e-12 && fabs(recall.high - 0.8) < 1e-12, "%.17g %.17g", recall.low, recall.high);
}

Test(bootstrap, two_cases_give_either_or_both)
{
    /* a quarter of the draws takes the one case twice, a quarter the other: the ends are the two cases' own scores */
    const cdu_confusion cases[] = {matrix(90, 10), matrix(50, 50)};
    cdu_intervals a = intervals_of(cases, 2, 1000);
    cr_assert(fabs(a.of[CDU_SCORE_RECALL][0].low - 0.5) < 1e-12 && fabs(a.of[CDU_SCORE_RECALL][0].high - 0.9) < 1e-12);
    cr_assert(fabs(a.of[CDU_SCORE_RECALL][2].low - 0.75) < 1e-12 && fabs(a.of[CDU_SCORE_RECALL][2].high - 0.95) < 1e-12, "the mean");
}

Test(bootstrap, equal_cases_have_no_width)
{
    const cdu_confusion cases[] = {matrix(90, 10), matrix(90, 10), matrix(90, 10)};
    cdu_interval f1 = intervals_of(cases, 3, 100).of[CDU_SCORE_F1][0];
    cr_assert(fabs(f1.low - f1.high) < 1e-12 && fabs(f1.low - cdu_confusion_f1(cases, 0)) < 1e-12);
}

Test(bootstrap, none_for_one_case_or_a_class_that_is_nowhere)
{
    cdu_confusion cases[] = {matrix(90, 10), matrix(50, 50)};
    cr_assert(isnan(intervals_of(cases, 1, 100).of[CDU_SCORE_F1][0].low));
    cr_assert(isnan(intervals_of(cases, 2, 0).of[CDU_SCORE_F1][2].high));
    cases[0].classes = cases[1].classes = 3;
    cdu_intervals a = intervals_of(cases, 2, 100);
    cr_assert(isnan(a.of[CDU_SCORE_F1][2].low) && !isnan(a.of[CDU_SCORE_F1][1].low) && !isnan(a.of[CDU_SCORE_F1][3].low));
    /* present in one case only: resamples without it do not count */
    cases[0].pixels[2][2] = 5;
    cr_assert(fabs(intervals_of(cases, 2, 100).of[CDU_SCORE_RECALL][2].low - 1) < 1e-12);
}
