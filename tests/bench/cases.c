/* cases.c: the names of cases, that the paper's network is covered, and the numbers of a report. */
#include <criterion/criterion.h>
#include <string.h>

#include "bench/cases.h"
#include "bench/convs.h"
#include "bench/report.h"

Test(cases, names_go_in_and_out)
{
    char name[BENCH_NAME];
    bench_case c;
    cdu_error error = {0};
    size_t count = 0, hard = 0;
    for (const bench_case_row *row = bench_case_rows; row->name; row++, count++) {
        cr_assert_eq(bench_case_parse(row->name, &c, &error), CDU_OK, "%s: %s", row->name, error.words);
        bench_case_name(&c, name);
        cr_assert_str_eq(name, row->name);
        hard += !strcmp(row->set, "hard");
        for (const bench_case_row *other = bench_case_rows; other != row; other++) cr_assert_str_neq(other->name, row->name);
    }
    cr_assert(count > 50 && hard > 15);
    cr_assert_eq(bench_case_parse("conv3x3-relu-7-9-11x13-n2", &c, &error), CDU_OK);
    cr_assert(c.in == 7 && c.out == 9 && c.h == 11 && c.w == 13 && c.n == 2);
}

Test(cases, names_that_are_none)
{
    static const char *const names[] = {"", "conv3x3", "conv3x3-", "conv3x3-3-32", "conv3x3-3-32-512x512", "conv3x3-3-32-512x512-n1x", "conv3x3-0-32-8x8-n1",
                                        "conv3x3-3-32-8x8-n0", "conv3x3-3-32-8x9999-n1", "conv3x3-99999-1-8x8-n1", "conv5x5-3-32-8x8-n1",
                                        "batch-norm-32-32-8x8-n1", "max-pool-3-8-n1", "update-3", "conv3x3--3-32-8x8-n1"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        bench_case c;
        cdu_error error = {0};
        cr_assert_eq(bench_case_parse(names[i], &c, &error), CDU_USAGE, "%s", names[i]);
        cr_assert(strstr(error.words, "conv3x3-32-64-256x256-n1") && strstr(error.words, "batch-norm"), "%s", error.words);
    }
}

/* 18 convolutions of 3x3 in 14 shapes, and each stands in the set "paper". */
Test(cases, the_papers_convolutions_are_there)
{
    bench_convs convs;
    uint32_t layers = 0;
    bench_convs_list(&convs, 512, 32);
    cr_assert_eq(convs.count, 14);
    for (uint32_t i = 0; i < convs.count; i++) {
        char name[BENCH_NAME];
        bool found = false;
        bench_case_name(&convs.what[i], name);
        for (const bench_case_row *row = bench_case_rows; row->name; row++) found |= !strcmp(row->name, name) && !strcmp(row->set, "paper");
        cr_assert(found, "%s", name);
        layers += convs.times[i];
    }
    cr_assert_eq(layers, 18);
}

Test(report, spread)
{
    double odd[] = {5, 1, 9}, even[] = {4, 1, 2, 10};
    bench_spread a = bench_spread_of(odd, 3), b = bench_spread_of(even, 4), none = bench_spread_of(NULL, 0);
    cr_assert(a.min == 1 && a.median == 5 && a.max == 9);
    cr_assert(b.min == 1 && b.median == 3 && b.max == 10);
    cr_assert(none.min == 0 && none.max == 0);
}
