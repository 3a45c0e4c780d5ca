/* profile.c: times by layer, pass and operator. */
#include "bench/profile.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/base/progress.h"

static bool same_group(const bench_group *a, const bench_group *b)
{
    return !strcmp(a->operator, b->operator) && !strcmp(a->layer, b->layer) && !strcmp(a->pass, b->pass);
}

/* The group that equals `like`, a new one if need be. */
static cdu_status find_group(bench_group **groups, size_t *count, size_t *capacity, const bench_group *like, uint32_t runs, size_t *out,
                             cdu_error *error)
{
    size_t g = 0;
    while (g < *count && !same_group(&(*groups)[g], like)) g++;
    *out = g;
    if (g < *count) return CDU_OK;
    CDU_TRY(cdu_grow(groups, capacity, *count + 1, sizeof **groups, error));
    (*groups)[g] = *like;
    (*groups)[g].steps = 0;
    (*groups)[g].gflop = (*groups)[g].gbyte = 0;
    CDU_TRY(cdu_allocate(&(*groups)[g].seconds, runs, sizeof(double), error));
    ++*count;
    return CDU_OK;
}

static bench_group group_of_step(const cdu_program *program, uint32_t step)
{
    const cdu_draft *draft = cdu_program_draft(program, step);
    bench_group group = {0};
    snprintf(group.operator, sizeof group.operator, "%s", !draft ? "poison" : draft->node ? draft->node->operator->name : "update");
    snprintf(group.layer, sizeof group.layer, "%s", draft && draft->node ? draft->node->name : "");
    snprintf(group.pass, sizeof group.pass, "%s", draft ? draft->pass : "");
    snprintf(group.variant, sizeof group.variant, "%s", draft ? draft->variant : "");
    return group;
}

cdu_status bench_profile_begin(bench_profile *p, cdu_program *program, uint32_t most, cdu_error *error)
{
    *p = (bench_profile){.program = program, .most = most};
    uint32_t steps = cdu_program_steps(program);
    CDU_TRY(cdu_allocate(&p->group_of, steps, sizeof *p->group_of, error));
    CDU_TRY(cdu_allocate(&p->nanoseconds, steps, sizeof *p->nanoseconds, error));
    CDU_TRY(cdu_allocate(&p->wall, most, sizeof *p->wall, error));
    CDU_TRY(cdu_allocate(&p->device, most, sizeof *p->device, error));
    for (uint32_t i = 0; i < steps; i++) {
        const cdu_step *step = cdu_program_step(program, i);
        bench_group like = group_of_step(program, i);
        size_t g = 0;
        CDU_TRY(find_group(&p->groups, &p->group_count, &p->capacity, &like, most, &g, error));
        p->group_of[i] = (uint32_t)g;
        p->groups[g].steps++;
        p->groups[g].gflop += step->flops * 1e-9;
        p->groups[g].gbyte += step->bytes * 1e-9;
        p->gflop += step->flops * 1e-9;
        p->gbyte += step->bytes * 1e-9;
    }
    return CDU_OK;
}

void bench_groups_free(bench_group *groups, size_t count)
{
    for (size_t g = 0; g < count; g++) free(groups[g].seconds);
    free(groups);
}

void bench_profile_end(bench_profile *p)
{
    bench_groups_free(p->groups, p->group_count);
    free(p->group_of);
    free(p->nanoseconds);
    free(p->wall);
    free(p->device);
    *p = (bench_profile){0};
}

cdu_status bench_run(cdu_program *program, double *seconds, cdu_error *error)
{
    static const uint32_t patch[CDU_PATCH_BYTES / 4];
    double began = cdu_seconds();
    CDU_TRY(cdu_program_run(program, patch, sizeof patch, error));
    *seconds = cdu_seconds() - began;
    return CDU_OK;
}

cdu_status bench_profile_run(bench_profile *p, bench_limits *limits, cdu_error *error)
{
    double ignored;
    CDU_TRY(bench_run(p->program, &ignored, error));
    if (limits) CDU_TRY(bench_limits_sample(limits, error));
    for (; p->runs < p->most; p->runs++) {
        CDU_TRY(bench_run(p->program, &p->wall[p->runs], error));
        CDU_TRY(cdu_program_times(p->program, p->nanoseconds, error));
        for (uint32_t i = 0; i < cdu_program_steps(p->program); i++) {
            double seconds = (double)p->nanoseconds[i] * 1e-9;
            p->groups[p->group_of[i]].seconds[p->runs] += seconds;
            p->device[p->runs] += seconds;
        }
        if (limits) CDU_TRY(bench_limits_sample(limits, error));
    }
    return CDU_OK;
}

static double median_of(const double *numbers, uint32_t count)
{
    double kept[1000];
    if (count > 1000) count = 1000;
    memcpy(kept, numbers, count * sizeof *kept);
    return bench_spread_of(kept, count).median;
}

static uint32_t sorted_runs; /* of the groups being sorted */

static int longer_first(const void *a, const void *b)
{
    double x = median_of(((const bench_group *)a)->seconds, sorted_runs), y = median_of(((const bench_group *)b)->seconds, sorted_runs);
    return x < y ? 1 : x > y ? -1 : 0;
}

cdu_status bench_profile_by_operator(const bench_profile *p, bench_group **out, size_t *count, cdu_error *error)
{
    size_t capacity = 0;
    *out = NULL;
    *count = 0;
    for (size_t i = 0; i < p->group_count; i++) {
        const bench_group *from = &p->groups[i];
        bench_group like = *from;
        size_t g = 0;
        like.layer[0] = 0;
        CDU_TRY(find_group(out, count, &capacity, &like, p->most, &g, error));
        bench_group *to = &(*out)[g];
        if (strcmp(to->variant, from->variant)) snprintf(to->variant, sizeof to->variant, "several");
        to->steps += from->steps;
        to->gflop += from->gflop;
        to->gbyte += from->gbyte;
        for (uint32_t r = 0; r < p->runs; r++) to->seconds[r] += from->seconds[r];
    }
    sorted_runs = p->runs;
    if (*count) qsort(*out, *count, sizeof **out, longer_first);
    return CDU_OK;
}

const bench_column bench_group_columns[] = {
    {"case", "case", 0, 0}, {"layer", "layer", 0, 0}, {"operator", "operator", 0, 0}, {"pass", "pass", 0, 0}, {"variant", "variant", 0, 0},
    {"steps", "steps", 1, 0}, {"seconds_min", "ms min", 1e3, 3}, {"seconds_median", "median", 1e3, 3}, {"seconds_max", "max", 1e3, 3},
    {"part", "% of time", 100, 1}, {"gflop", NULL, 0, 0}, {"gbyte", NULL, 0, 0}, {"gflops", "GFLOP/s", 1, 1}, {"gbytes", "GB/s", 1, 1},
    {"share", "% of limit", 100, 1}, {"bound", "bound by", 0, 0}, {"repeat", NULL, 0, 0}, {0},
};

json_t *bench_group_row(const bench_group *group, uint32_t runs, const bench_limits *limits, double share_of)
{
    double kept[1000];
    if (runs > 1000) runs = 1000;
    memcpy(kept, group->seconds, runs * sizeof *kept);
    bench_spread spread = bench_spread_of(kept, runs);
    double seconds = spread.median > 0 ? spread.median : 1e-9;
    const char *bound = "";
    json_t *row = json_pack("{s:s, s:s, s:s, s:s, s:I, s:f, s:f, s:f, s:f}", "layer", group->layer, "operator", group->operator, "pass",
                            group->pass, "variant", group->variant, "steps", (json_int_t)group->steps, "gflop", group->gflop, "gbyte",
                            group->gbyte, "gflops", group->gflop / seconds, "gbytes", group->gbyte / seconds);
    bench_row_spread(row, "seconds", spread);
    if (limits) {
        json_object_set_new(row, "share", json_real(bench_limits_share(limits, group->gflop, group->gbyte, seconds, &bound)));
        json_object_set_new(row, "bound", json_string(bound));
    }
    if (share_of > 0) json_object_set_new(row, "part", json_real(spread.median / share_of));
    return row;
}
