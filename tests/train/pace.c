/* pace.c: who has fallen behind, and shares by speed, from made-up times. */
#include <criterion/criterion.h>

#include "core/train/balance.h"
#include "core/train/pace.h"

/* Windows of steps of `size` ranks; those of `rank` take `times` as long, every `each`-th step. */
static cdu_pace_news windows(cdu_pace *pace, uint32_t count, double step, uint32_t rank, double times, uint32_t each)
{
    cdu_pace_news last = CDU_PACE_SAME;
    for (uint32_t done = 0, n = 0; done < count && n < 100000; n++) {
        double seconds[2 * 4];
        for (uint32_t i = 0; i < pace->size; i++) seconds[2 * i] = step * (1 + 0.1 * i) * (i == rank && n % each == 0 ? times : 1);
        if (!cdu_pace_step(pace, seconds, 2)) continue;
        done++;
        for (uint32_t i = 0; i < pace->size; i++)
            if (pace->ranks[i].news != CDU_PACE_SAME) {
                cr_expect_eq(i, rank);
                cr_expect_eq(last, CDU_PACE_SAME, "told twice");
                last = pace->ranks[i].news;
            }
    }
    return last;
}

Test(pace, who_falls_behind_is_told_once_and_when_it_is_over)
{
    for (uint32_t size = 2; size <= 4; size++) {
        cdu_pace pace;
        cr_assert_eq(cdu_pace_begin(&pace, size, NULL), CDU_OK);
        double first[2 * 4] = {100, 0, 1, 0, 1, 0, 1, 0}, times; /* compilers at work: not counted */
        for (int i = 0; i < CDU_PACE_SKIPPED; i++) cr_expect_not(cdu_pace_step(&pace, first, 2));
        cr_expect_eq(windows(&pace, 8, 0.05, 0, 1, 1), CDU_PACE_SAME);
        cr_expect_eq(cdu_pace_behind(&pace), -1);
        cr_expect_eq(cdu_pace_slowest(&pace, &times), size - 1);
        cr_expect_eq(windows(&pace, CDU_PACE_WINDOWS - 1, 0.05, 1, 2, 1), CDU_PACE_SAME, "too early");
        cr_expect_eq(windows(&pace, 1, 0.05, 1, 2, 1), CDU_PACE_BEHIND);
        cr_expect_eq(cdu_pace_behind(&pace), 1);
        cr_expect_float_eq(pace.ranks[1].ratio, 2, 0.05);
        cr_expect_eq(windows(&pace, 20, 0.05, 1, 2, 1), CDU_PACE_SAME, "told again");
        cr_expect_eq(windows(&pace, 3, 0.05, 1, 1.35, 1), CDU_PACE_SAME, "neither slow nor fine");
        cr_expect_eq(windows(&pace, 1, 0.05, 1, 1, 1), CDU_PACE_AGAIN);
        cr_expect_eq(cdu_pace_behind(&pace), -1);
        cdu_pace_end(&pace);
    }
}

Test(pace, one_slow_step_is_not_told_and_fits_and_starts_are)
{
    cdu_pace pace;
    cr_assert_eq(cdu_pace_begin(&pace, 2, NULL), CDU_OK);
    windows(&pace, CDU_PACE_FIRST, 0.05, 0, 1, 1);
    double hiccup[4] = {0.05, 0, 30, 0};
    cdu_pace_step(&pace, hiccup, 2);
    cr_expect_eq(windows(&pace, 8, 0.05, 0, 1, 1), CDU_PACE_SAME);
    cr_expect_eq(windows(&pace, 3, 0.05, 1, 9, 5), CDU_PACE_BEHIND, "8 steps more in each 5");
    cdu_pace_end(&pace);
}

Test(pace, a_hiccup_at_the_beginning_is_not_what_is_usual)
{
    cdu_pace pace;
    double hiccup[4] = {0.05, 0, 30, 0}, fine[4] = {0.05, 0, 0.055, 0}, times;
    cr_assert_eq(cdu_pace_begin(&pace, 2, NULL), CDU_OK);
    for (int i = 0; i < CDU_PACE_SKIPPED; i++) cdu_pace_step(&pace, fine, 2);
    for (int i = 0; i < 12; i++) cdu_pace_step(&pace, i == 3 ? hiccup : fine, 2);
    cr_expect_eq(windows(&pace, 8, 0.05, 0, 1, 1), CDU_PACE_SAME);
    cdu_pace_slowest(&pace, &times);
    cr_expect_float_eq(times, 1.1, 0.01);
    cdu_pace_end(&pace);
}

Test(pace, all_slower_together_have_nobody_behind)
{
    cdu_pace pace;
    cr_assert_eq(cdu_pace_begin(&pace, 3, NULL), CDU_OK);
    windows(&pace, CDU_PACE_FIRST, 0.05, 0, 1, 1);
    cr_expect_eq(windows(&pace, 8, 0.5, 0, 1, 1), CDU_PACE_SAME);
    cdu_pace_end(&pace);
}

static void expect_shares(const char *what, uint32_t size, const cdu_balance_rank *ranks, uint32_t batch, uint32_t parts, const uint32_t *wanted)
{
    uint32_t shares[4];
    cdu_balance_shares(ranks, size, batch, parts, shares);
    for (uint32_t i = 0; i < size; i++) cr_expect_eq(shares[i], wanted[i], "%s: rank %u has %u tiles, not %u", what, i, shares[i], wanted[i]);
}

Test(balance, shares_are_in_proportion_to_speed)
{
    enum { ANY = 1000 };
    expect_shares("alike", 3, (cdu_balance_rank[]){{1, ANY}, {1.04, ANY}, {0.98, ANY}}, 12, 1, (uint32_t[]){4, 4, 4});
    expect_shares("in proportion", 3, (cdu_balance_rank[]){{3, ANY}, {1, ANY}, {2, ANY}}, 12, 1, (uint32_t[]){6, 2, 4});
    expect_shares("one each at least", 2, (cdu_balance_rank[]){{100, ANY}, {1, ANY}}, 4, 1, (uint32_t[]){3, 1});
    expect_shares("whole parts", 2, (cdu_balance_rank[]){{3, ANY}, {1, ANY}}, 16, 4, (uint32_t[]){12, 4});
    expect_shares("memory holds one back", 3, (cdu_balance_rank[]){{3, 4}, {1, ANY}, {2, ANY}}, 12, 1, (uint32_t[]){4, 3, 5});
    /* 2.42 and 1.58 tiles in proportion: 2 and 2 would take 1.54 s, 3 and 1 take 1.5 s */
    expect_shares("the slowest is done as early as can be", 2, (cdu_balance_rank[]){{2, ANY}, {1.3, ANY}}, 4, 1, (uint32_t[]){3, 1});
    expect_shares("equals", 4, (cdu_balance_rank[]){{1, ANY}, {1, ANY}, {1, ANY}, {1, ANY}}, 6, 1, (uint32_t[]){2, 2, 1, 1});
}
