/* split.c: which slides train, validate and test. Cases, not slides, are assigned, since serial sections share anatomy. The
 * choice comes from Philox by the study's seed and the sorted names of the cases, so the order of the slide list does not matter. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cdunet/log.h"
#include "core/base/memory.h"
#include "core/base/random.h"
#include "core/study/study.h"

enum { HOLD_OUT_CASES = 4 };           /* with fewer, one case is more than a quarter of the training part */

typedef struct {
    const char *name, *stains;         /* stains: the sorted stains of its slides, for balance */
    size_t first, count;               /* slides, in the sorted order */
    uint32_t key;                      /* random order */
    bool given;
    cdu_split split;
    size_t line;                       /* that gave the split */
} group;

typedef struct {
    cdu_study *study;
    const cdu_slide_origin *origins;
    size_t *sorted;                    /* slides by case, then stain, then line */
    group *groups;
    size_t count;
    char *texts;                       /* what groups[].stains points into */
} split_plan;

static const char *split_name(cdu_split split)
{
    static const char *const names[] = {"train", "validation", "test"};
    return names[split];
}

/* qsort has no context; slides are sorted through pointers instead of indices. */
static int by_case(const void *a, const void *b)
{
    const cdu_study_slide *one = *(cdu_study_slide *const *)a, *two = *(cdu_study_slide *const *)b;
    int order = strcmp(one->case_name, two->case_name);
    if (!order) order = strcmp(one->stain, two->stain);
    return order ? order : one->line < two->line ? -1 : one->line > two->line;
}

static int by_stains_and_key(const void *a, const void *b)
{
    const group *one = a, *two = b;
    int order = strcmp(one->stains, two->stains);
    if (order) return order;
    return one->key != two->key ? (one->key < two->key ? -1 : 1) : strcmp(one->name, two->name);
}

static cdu_status sort_slides(split_plan *plan, cdu_error *error)
{
    cdu_study *study = plan->study;
    cdu_study_slide **pointers;
    CDU_TRY(cdu_allocate(&plan->sorted, study->slide_count, sizeof *plan->sorted, error));
    CDU_TRY(cdu_allocate(&pointers, study->slide_count, sizeof *pointers, error));
    for (size_t i = 0; i < study->slide_count; i++) pointers[i] = &study->slides[i];
    qsort(pointers, study->slide_count, sizeof *pointers, by_case);
    for (size_t i = 0; i < study->slide_count; i++) plan->sorted[i] = (size_t)(pointers[i] - study->slides);
    free(pointers);
    return CDU_OK;
}

static cdu_status make_groups(split_plan *plan, cdu_error *error)
{
    cdu_study *study = plan->study;
    size_t room = 0;
    CDU_TRY(sort_slides(plan, error));
    for (size_t i = 0; i < study->slide_count; i++) room += strlen(study->slides[i].stain) + 2;
    CDU_TRY(cdu_allocate(&plan->groups, study->slide_count, sizeof *plan->groups, error));
    CDU_TRY(cdu_allocate(&plan->texts, room + 1, 1, error));
    char *to = plan->texts;
    const char *stain = NULL;
    for (size_t i = 0; i < study->slide_count; i++) {
        const cdu_study_slide *slide = &study->slides[plan->sorted[i]];
        group *last = plan->count ? &plan->groups[plan->count - 1] : NULL;
        if (!last || strcmp(last->name, slide->case_name) != 0) {
            uint32_t number = (uint32_t)plan->count;
            cdu_random stream = cdu_random_stream(study->split.seed, CDU_RANDOM_SPLIT, number, 0);
            last = &plan->groups[plan->count++];
            *last = (group){.name = slide->case_name, .stains = ++to, .first = i, .key = cdu_random_u32(&stream)};
            stain = NULL;
        }
        last->count++;
        if (study->split.balance_stain && (!stain || strcmp(stain, slide->stain) != 0)) {
            stain = slide->stain;
            to += sprintf(to, "%s\n", stain);
        }
    }
    return CDU_OK;
}

/* A slide without a split goes where the other slides of its case go. */
static cdu_status take_given(split_plan *plan, cdu_error *error)
{
    for (size_t g = 0; g < plan->count; g++) {
        group *at = &plan->groups[g];
        for (size_t i = at->first; i < at->first + at->count; i++) {
            const cdu_study_slide *slide = &plan->study->slides[plan->sorted[i]];
            if (!plan->origins[plan->sorted[i]].given) continue;
            if (at->given && at->split != slide->split)
                return cdu_fail(error, CDU_BAD_DATA, "%s:%zu: split: case '%.100s' is in '%s' here and in '%s' in line %zu; sections of one "
                                "case share anatomy, so a case belongs into one split", plan->study->slides_path, slide->line, at->name,
                                split_name(slide->split), split_name(at->split), at->line);
            if (!at->given) at->line = slide->line;
            at->given = true;
            at->split = slide->split;
        }
    }
    return CDU_OK;
}

/* Every so many of those that `from` lets through, spread evenly over the sorted order, become `to`. Returns how many. */
static size_t take_share(split_plan *plan, double share, bool free_only, cdu_split to)
{
    size_t seen = 0, taken = 0;
    for (size_t g = 0; g < plan->count; g++) {
        group *at = &plan->groups[g];
        if (at->split != CDU_SPLIT_TRAIN || (free_only && at->given)) continue;
        bool take = floor((double)(seen + 1) * share + 0.5) > floor((double)seen * share + 0.5);
        seen++;
        if (!take) continue;
        at->split = to;
        taken++;
    }
    return taken;
}

static bool stain_trains(const split_plan *plan, const char *stain)
{
    for (size_t g = 0; g < plan->count; g++)
        for (size_t i = 0; plan->groups[g].split == CDU_SPLIT_TRAIN && i < plan->groups[g].count; i++)
            if (!strcmp(plan->study->slides[plan->sorted[plan->groups[g].first + i]].stain, stain)) return true;
    return false;
}

/* A stain can only be scored where it was trained: cases of stains that no training case has, as those of one case alone, go back, unless
 * their split was given. */
static void keep_stains_in_training(split_plan *plan)
{
    for (size_t g = 0; g < plan->count; g++) {
        group *at = &plan->groups[g];
        for (size_t i = 0; i < at->count && !at->given && at->split != CDU_SPLIT_TRAIN; i++)
            if (!stain_trains(plan, plan->study->slides[plan->sorted[at->first + i]].stain)) at->split = CDU_SPLIT_TRAIN;
    }
}

static size_t count_split(const cdu_study *study, cdu_split split)
{
    size_t count = 0;
    for (size_t i = 0; i < study->slide_count; i++) count += study->slides[i].split == split;
    return count;
}

static void apply(split_plan *plan)
{
    for (size_t g = 0; g < plan->count; g++)
        for (size_t i = 0; i < plan->groups[g].count; i++)
            plan->study->slides[plan->sorted[plan->groups[g].first + i]].split = plan->groups[g].split;
}

static void hold_out_cases(split_plan *plan, size_t cases)
{
    cdu_study *study = plan->study;
    if (!take_share(plan, study->split.validation, false, CDU_SPLIT_VALIDATION)) {
        cdu_random stream = cdu_random_stream(study->split.seed, CDU_RANDOM_SPLIT, 0, 1);
        uint32_t chosen = cdu_random_below(&stream, (uint32_t)cases);
        for (size_t g = 0; g < plan->count; g++)
            if (plan->groups[g].split == CDU_SPLIT_TRAIN && chosen-- == 0) plan->groups[g].split = CDU_SPLIT_VALIDATION;
    }
    apply(plan);
    cdu_log(CDU_LOG_INFO, "%s: no slide is for validation: %zu of %zu training slides, whole cases, are held out", study->slides_path,
            count_split(study, CDU_SPLIT_VALIDATION), count_split(study, CDU_SPLIT_VALIDATION) + count_split(study, CDU_SPLIT_TRAIN));
}

static void hold_out_slides(cdu_study *study, size_t slides)
{
    size_t wanted = (size_t)floor(study->split.validation * (double)slides + 0.5);
    if (!wanted) wanted = 1;
    if (wanted >= slides) wanted = slides - 1;
    cdu_random stream = cdu_random_stream(study->split.seed, CDU_RANDOM_SPLIT, 0, 2);
    for (size_t taken = 0; taken < wanted; taken++) {
        uint32_t chosen = cdu_random_below(&stream, (uint32_t)(slides - taken));
        for (size_t i = 0; i < study->slide_count; i++)
            if (study->slides[i].split == CDU_SPLIT_TRAIN && chosen-- == 0) study->slides[i].split = CDU_SPLIT_VALIDATION;
    }
    cdu_log(CDU_LOG_WARNING, "%s: no slide is for validation and fewer than %d cases train: %zu of %zu training slides are held out; they may "
            "share a case with slides that train, so validation F1 will look better than it is", study->slides_path, HOLD_OUT_CASES,
            wanted, slides);
}

static void hold_out(split_plan *plan)
{
    cdu_study *study = plan->study;
    if (count_split(study, CDU_SPLIT_VALIDATION)) return;
    size_t cases = 0, slides = count_split(study, CDU_SPLIT_TRAIN);
    for (size_t g = 0; g < plan->count; g++) cases += plan->groups[g].split == CDU_SPLIT_TRAIN;
    if (study->split.validation > 0 && cases >= HOLD_OUT_CASES) return hold_out_cases(plan, cases);
    if (study->split.validation > 0 && slides >= 2) return hold_out_slides(study, slides);
    study->train.keep_best_macro_f1 = false;
    cdu_log(CDU_LOG_WARNING, "%s: no slide is for validation%s: the last weights are kept, not the best", study->slides_path,
            study->split.validation > 0 ? " and one training slide cannot be parted" : " and split.validation is 0");
}

cdu_status cdu_study_assign_splits(cdu_study *study, const cdu_slide_origin *origins, cdu_error *error)
{
    split_plan plan = {.study = study, .origins = origins};
    cdu_status status = make_groups(&plan, error);
    if (status == CDU_OK) status = take_given(&plan, error);
    if (status == CDU_OK) {
        qsort(plan.groups, plan.count, sizeof *plan.groups, by_stains_and_key);
        take_share(&plan, study->split.test, true, CDU_SPLIT_TEST);
        take_share(&plan, study->split.validation, true, CDU_SPLIT_VALIDATION);
        if (study->split.balance_stain) keep_stains_in_training(&plan);
        apply(&plan);
        if (!count_split(study, CDU_SPLIT_TRAIN))
            status = cdu_fail(error, CDU_BAD_DATA, "%s: none of the %zu slides is for training; give some the split 'train'", study->slides_path,
                              study->slide_count);
        else hold_out(&plan);
    }
    free(plan.sorted);
    free(plan.groups);
    free(plan.texts);
    return status;
}
