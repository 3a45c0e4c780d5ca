/* limit.c: plans under a limit of memory: obeyed, with no more work than needed, or refused with what would do. Nothing runs. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "core/graph/internal.h"
#include "core/model/model.h"
#include "core/ops/ops.h"

static cdu_device_info invented(void)
{
    cdu_device_info d = {.name = "invented", .memory = 1ull << 34, .largest_buffer = 1ull << 31, .largest_binding = 1ull << 31,
                         .binding_align = 256, .group_items = 256, .group_size = {256, 256, 64},
                         .group_count = {65535, 65535, 65535}, .local_bytes = 32768, .compute_units = 4, .vector_width = 4};
    return d;
}

static cdu_graph *network(bool training)
{
    cdu_graph *graph;
    cdu_error error = {0};
    cdu_training_graph values;
    cdu_inference_graph inference;
    cdu_model_settings settings = cdu_model_defaults();
    settings.width = 8;
    settings.depth = 4;
    cr_assert_eq(cdu_graph_create(&graph, &error), CDU_OK);
    cdu_status status = training ? cdu_model_build_training(graph, &settings, 2, 128, 128, false, &values, &error)
                                 : cdu_model_build_inference(graph, &settings, 2, 128, 128, &inference, &error);
    cr_assert_eq(status, CDU_OK, "%s", error.words);
    return graph;
}

static cdu_status plan_within(const cdu_graph *graph, const cdu_plan_options *options, cdu_plan **plan, cdu_error *error)
{
    cdu_device_info device = invented();
    return cdu_plan_create(graph, &device, options, plan, error);
}

static cdu_plan *planned(const cdu_graph *graph, uint64_t memory, bool training)
{
    cdu_plan *plan;
    cdu_error error = {0};
    const cdu_plan_options options = {.training = training, .update = training ? cdu_sgd_update : NULL, .memory = memory, .quiet = true};
    cr_assert_eq(plan_within(graph, &options, &plan, &error), CDU_OK, "%s", error.words);
    return plan;
}

/* The MiB that a refusal says would do. */
static uint64_t refused(const cdu_graph *graph, uint64_t memory, uint64_t reserved, bool training)
{
    cdu_plan *plan;
    cdu_error error = {0};
    const cdu_plan_options options = {.training = training, .memory = memory, .reserved = reserved, .quiet = true};
    cr_assert_eq(plan_within(graph, &options, &plan, &error), CDU_TRY_AGAIN, "%llu bytes suffice", (unsigned long long)memory);
    cr_assert_null(strchr(error.words, '\n'));
    const char *least = strstr(error.words, "at least ");
    cr_assert_not_null(least, "%s", error.words);
    return strtoull(least + strlen("at least "), NULL, 10);
}

static void assert_whole(const cdu_plan *plan)
{
    const cdu_lowering *l = &plan->lowering;
    for (size_t i = 0; i < l->tensor_count; i++) {
        const cdu_tensor_record *a = &l->tensors[i];
        if (a->place != CDU_PLACE_PLANNED || a->root != (cdu_tensor)i || a->first > a->last) continue;
        cr_assert_leq(a->offset + a->bytes, plan->chunk_bytes[a->chunk]);
        for (size_t j = 0; j < i; j++) {
            const cdu_tensor_record *b = &l->tensors[j];
            bool apart = b->place != CDU_PLACE_PLANNED || b->root != (cdu_tensor)j || b->first > b->last || a->last < b->first ||
                         b->last < a->first || a->chunk != b->chunk || a->offset + a->bytes <= b->offset ||
                         b->offset + b->bytes <= a->offset;
            cr_assert(apart, "%s and %s live at the same time in one place", a->name, b->name);
        }
    }
}

/* Every planned tensor is written before it is read: what was dropped is computed again before anybody needs it. */
static void assert_written_first(const cdu_plan *plan)
{
    const cdu_lowering *l = &plan->lowering;
    bool *written = calloc(l->tensor_count, sizeof *written);
    for (size_t d = 0; d < l->draft_count; d++)
        for (int pass = 0; pass < 2; pass++)
            for (uint32_t u = 0; u < l->drafts[d].uses; u++) {
                const cdu_use *use = &l->drafts[d].use[u];
                cdu_tensor root = l->tensors[use->tensor].root;
                if (l->tensors[root].place != CDU_PLACE_PLANNED) continue;
                if (pass) written[root] = written[root] || use->access & CDU_WRITE;
                else cr_assert(written[root] || use->access & CDU_WRITE, "'%s' reads '%s', which nothing wrote", l->drafts[d].label,
                               l->tensors[root].name);
            }
    free(written);
}

Test(limit, is_obeyed_by_computing_more_again)
{
    cdu_graph *graph = network(true);
    cdu_plan *whole = planned(graph, 0, true);
    const cdu_plan_report free_report = cdu_plan_report_of(whole);
    uint64_t least = refused(graph, 1, 0, true) << 20;
    cr_assert_lt((double)least, 0.85 * (double)free_report.peak, "%llu of %llu bytes", (unsigned long long)least,
                 (unsigned long long)free_report.peak);
    double before = free_report.work;
    for (int percent = 100; percent >= 0; percent -= 25) {
        uint64_t limit = least + (free_report.peak - least) / 100 * (uint64_t)percent;
        cdu_plan *plan = planned(graph, limit, true);
        cdu_plan_report report = cdu_plan_report_of(plan);
        cr_assert_leq(report.peak, limit, "%d %%", percent);
        cr_assert_geq(report.work, before * 0.95, "a lower limit costs no less");
        cr_assert_lt(report.work, free_report.work * 1.5);
        if (percent < 100) cr_assert_gt(report.steps, free_report.steps);
        assert_whole(plan);
        assert_written_first(plan);
        before = report.work;
        cdu_plan_destroy(plan);
    }
    cdu_plan_destroy(whole);
    cdu_graph_destroy(graph);
}

Test(limit, that_is_wide_changes_nothing)
{
    cdu_graph *graph = network(true);
    cdu_plan *a = planned(graph, 0, true), *b = planned(graph, 1ull << 40, true);
    cr_assert_eq(a->step_count, b->step_count);
    cr_assert_eq(cdu_plan_report_of(a).peak, cdu_plan_report_of(b).peak);
    cdu_plan_destroy(a);
    cdu_plan_destroy(b);
    cdu_graph_destroy(graph);
}

Test(limit, what_a_refusal_names_would_do)
{
    cdu_graph *graph = network(true);
    uint64_t least = refused(graph, 1 << 20, 0, true);
    cdu_plan_destroy(planned(graph, least << 20, true));
    cr_assert_eq(refused(graph, (least - 1) << 20, 0, true), least, "the same is named, however small the limit");
    cr_assert_eq(refused(graph, least << 20, 5 << 20, true), least + 5, "what others take counts");
    cdu_graph_destroy(graph);
}

Test(limit, for_inference_is_met_or_refused)
{
    cdu_graph *graph = network(false);
    cdu_plan *plan = planned(graph, 0, false);
    uint64_t peak = cdu_plan_report_of(plan).peak;
    cdu_plan_destroy(plan);
    cdu_plan_destroy(planned(graph, peak, false));
    cr_assert_eq(refused(graph, peak - 1, 0, false), (peak + 1048575) >> 20);
    cdu_graph_destroy(graph);
}

Test(limit, search_gives_the_same_plan_twice)
{
    cdu_graph *graph = network(true);
    uint64_t limit = (refused(graph, 1, 0, true) + 1) << 20;
    cdu_plan *a = planned(graph, limit, true), *b = planned(graph, limit, true);
    cr_assert_eq(a->lowering.draft_count, b->lowering.draft_count);
    for (size_t d = 0; d < a->lowering.draft_count; d++) cr_assert_str_eq(a->lowering.drafts[d].label, b->lowering.drafts[d].label);
    cdu_plan_destroy(a);
    cdu_plan_destroy(b);
    cdu_graph_destroy(graph);
}

Test(limit, what_costs_little_is_computed_again_without_one)
{
    cdu_graph *graph = network(true);
    cdu_plan *whole = planned(graph, 0, true), *thrifty;
    cdu_error error = {0};
    cdu_plan_options options = {.training = true, .update = cdu_sgd_update, .spend = CDU_SPEND, .quiet = true};
    cr_assert_eq(plan_within(graph, &options, &thrifty, &error), CDU_OK, "%s", error.words);
    cdu_plan_report before = cdu_plan_report_of(whole), after = cdu_plan_report_of(thrifty);
    cr_assert_lt((double)after.peak, 0.95 * (double)before.peak, "%llu of %llu bytes", (unsigned long long)after.peak,
                 (unsigned long long)before.peak);
    cr_assert_leq(after.work, before.work * (1 + CDU_SPEND));
    assert_whole(thrifty);
    assert_written_first(thrifty);
    cdu_plan_destroy(thrifty);
    uint64_t least = refused(graph, 1, 0, true);
    options.memory = least << 20;
    cr_assert_eq(plan_within(graph, &options, &thrifty, &error), CDU_OK, "%s", error.words);
    cr_assert_leq(cdu_plan_report_of(thrifty).peak, options.memory, "a limit is obeyed beyond what is spent");
    cdu_plan_destroy(thrifty);
    cdu_plan_destroy(whole);
    cdu_graph_destroy(graph);
}
