/* conv_variant.c: the table of variants and the choice among them. */
#include "core/ops/conv_variant.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/ops/tuning.h"

const cdu_conv_variant *const cdu_conv_variants[] = {&cdu_conv_winograd, &cdu_conv_winograd_items, &cdu_conv_gemm, &cdu_conv_direct, NULL};

cdu_conv_problem cdu_conv_problem_of_sum(const cdu_lowering *l, const cdu_conv_sum *sum)
{
    const cdu_layout *x = cdu_tensor_layout(l, sum->x), *y = cdu_tensor_layout(l, sum->y);
    const cdu_layout *computed = sum->window.parities == 4 ? x : y;
    return (cdu_conv_problem){.pass = CDU_CONV_SUM, .side = sum->window.side, .stride = sum->window.stride,
                              .parities = sum->window.parities, .n = y->shape.n, .h = computed->shape.h, .w = computed->shape.w,
                              .in_lanes = x->lanes, .out_lanes = y->lanes};
}

cdu_conv_problem cdu_conv_problem_of_gradient(const cdu_lowering *l, const cdu_conv_gradient *g)
{
    const cdu_layout *x = cdu_tensor_layout(l, g->x), *d = cdu_tensor_layout(l, g->d);
    return (cdu_conv_problem){.pass = CDU_CONV_GRADIENT, .side = g->window.side, .stride = g->window.stride,
                              .parities = g->window.parities, .n = d->shape.n, .h = d->shape.h, .w = d->shape.w,
                              .in_lanes = x->lanes, .out_lanes = d->lanes};
}

const cdu_conv_variant *cdu_conv_variant_named(const char *name)
{
    for (uint32_t i = 0; cdu_conv_variants[i]; i++)
        if (!strcmp(cdu_conv_variants[i]->name, name)) return cdu_conv_variants[i];
    return NULL;
}

cdu_status cdu_choice_parse(const char *text, cdu_choice *out, cdu_error *error)
{
    *out = (cdu_choice){0};
    size_t length = strcspn(text, ":");
    snprintf(out->variant, sizeof out->variant, "%.*s", (int)length, text);
    if (!cdu_conv_variant_named(out->variant) || length >= sizeof out->variant) {
        char names[128] = "";
        for (uint32_t i = 0; cdu_conv_variants[i]; i++)
            snprintf(names + strlen(names), sizeof names - strlen(names), "%s%s", i ? ", " : "", cdu_conv_variants[i]->name);
        return cdu_fail(error, CDU_USAGE, "there is no convolution variant '%s'; there are: %s", text, names);
    }
    const char *at = text + length;
    for (uint32_t i = 0; *at == ':'; i++) {
        char *end;
        unsigned long value = strtoul(at + 1, &end, 10);
        if (i == CDU_SETTINGS || end == at + 1 || (*end && *end != ':') || value > CDU_SETTING_LIMIT)
            return cdu_fail(error, CDU_USAGE, "'%s' is no variant with up to %d numbers as in direct or gemm:64:32", text, CDU_SETTINGS);
        out->setting[i] = (uint32_t)value;
        at = end;
    }
    return CDU_OK;
}

const char *cdu_choice_text(const cdu_choice *choice, char out[CDU_CHOICE_TEXT])
{
    uint32_t settings = CDU_SETTINGS;
    while (settings && !choice->setting[settings - 1]) settings--;
    snprintf(out, CDU_CHOICE_TEXT, "%s", choice->variant);
    for (uint32_t i = 0; i < settings; i++) snprintf(out + strlen(out), CDU_CHOICE_TEXT - strlen(out), ":%u", choice->setting[i]);
    return out;
}

static bool usable(const cdu_device_info *device, const cdu_conv_problem *problem, const cdu_choice *choice, bool exact)
{
    const cdu_conv_variant *variant = cdu_conv_variant_named(choice->variant);
    return variant && !(variant->approximate && exact) && variant->fits(device, problem, choice);
}

static _Thread_local const cdu_choice *given;
static _Thread_local cdu_conv_observer *observer;
static _Thread_local void *observing;

void cdu_conv_force(const cdu_choice *choice)
{
    given = choice;
}

void cdu_conv_observe(cdu_conv_observer *seen, void *context)
{
    observer = seen;
    observing = context;
}

cdu_status cdu_conv_default(const cdu_device_info *device, const cdu_conv_problem *problem, bool exact, cdu_choice *choice, cdu_error *error)
{
    for (uint32_t i = 0; cdu_conv_variants[i]; i++) {
        *choice = (cdu_choice){0};
        snprintf(choice->variant, sizeof choice->variant, "%s", cdu_conv_variants[i]->name);
        if (usable(device, problem, choice, exact) && cdu_conv_variants[i]->preferred(device, problem)) return CDU_OK;
    }
    return cdu_fail(error, CDU_FAILED, "no variant fits a convolution of %u to %u lanes", problem->in_lanes, problem->out_lanes);
}

static cdu_status choose(const cdu_device_info *device, const cdu_conv_problem *problem, bool exact, cdu_choice *choice, cdu_error *error)
{
    const char *forced = getenv("CDUNET_VARIANT");
    if (given) {
        *choice = *given;
        if (usable(device, problem, choice, exact)) return CDU_OK;
        return cdu_conv_default(device, problem, exact, choice, error);
    }
    if (forced && *forced) {
        CDU_TRY(cdu_choice_parse(forced, choice, error));
        if (usable(device, problem, choice, exact)) return CDU_OK;
    }
    const cdu_choice *tuned = cdu_tune_find(device, problem);
    if (tuned) *choice = *tuned;
    if (tuned && usable(device, problem, choice, exact)) return CDU_OK;
    return cdu_conv_default(device, problem, exact, choice, error);
}

cdu_status cdu_conv_choose(const cdu_lowering *l, const cdu_conv_problem *problem, const cdu_conv_variant **variant, cdu_choice *choice,
                           cdu_error *error)
{
    if (observer) observer(observing, problem);
    CDU_TRY(choose(cdu_lowering_device(l), problem, cdu_lowering_exact(l), choice, error));
    *variant = cdu_conv_variant_named(choice->variant);
    return CDU_OK;
}

bool cdu_conv_normalizes(const cdu_lowering *l, const cdu_conv_problem *problem)
{
    cdu_choice choice;
    return choose(cdu_lowering_device(l), problem, cdu_lowering_exact(l), &choice, NULL) == CDU_OK &&
           cdu_conv_variant_named(choice.variant)->normalizes;
}

uint32_t cdu_conv_subgroup(const cdu_device_info *device, const cdu_conv_problem *problem)
{
    (void)problem;
    uint32_t least = device->subgroup_min, most = device->subgroup_max, size = 32;
    if (!(device->features & CDU_HAS_SUBGROUP_SIZE)) return 0;
    if (device->kind == CDU_CPU) size = least == most ? least : 0;      /* one size: what SPREAD relies on */
    else if (cdu_conv_few_registers(device)) size = cdu_larger(least, 8);
    return size >= least && size <= most ? size : 0;
}

static void pin(cdu_lowering *l, const cdu_conv_variant *variant, const cdu_conv_problem *problem)
{
    cdu_lowering_pin(l, variant->subgroup ? variant->subgroup(cdu_lowering_device(l), problem) : 0);
}

cdu_status cdu_conv_append_sum(cdu_lowering *l, const cdu_node *node, const char *pass, const cdu_conv_sum *sum, cdu_error *error)
{
    cdu_conv_problem problem = cdu_conv_problem_of_sum(l, sum);
    const cdu_conv_variant *variant;
    cdu_choice choice;
    CDU_TRY(cdu_conv_choose(l, &problem, &variant, &choice, error));
    char words[CDU_CHOICE_TEXT];
    cdu_lowering_mark(l, pass, cdu_choice_text(&choice, words));
    pin(l, variant, &problem);
    cdu_status status = variant->sum(l, node, pass, sum, &choice, error);
    cdu_lowering_pin(l, 0);
    cdu_lowering_mark(l, NULL, NULL);
    return status;
}

cdu_status cdu_conv_append_gradient(cdu_lowering *l, const cdu_node *node, const cdu_conv_gradient *g, cdu_error *error)
{
    cdu_conv_problem problem = cdu_conv_problem_of_gradient(l, g);
    const cdu_conv_variant *variant;
    cdu_choice choice;
    CDU_TRY(cdu_conv_choose(l, &problem, &variant, &choice, error));
    char words[CDU_CHOICE_TEXT];
    cdu_lowering_mark(l, "weight gradient", cdu_choice_text(&choice, words));
    pin(l, variant, &problem);
    cdu_status status = variant->gradient(l, node, g, &choice, error);
    cdu_lowering_pin(l, 0);
    cdu_lowering_mark(l, NULL, NULL);
    return status;
}

bool cdu_setting_is_power(uint32_t value, uint32_t least, uint32_t most)
{
    return !value || (value >= least && value <= most && !(value & (value - 1)));
}

uint32_t cdu_conv_candidates(const cdu_conv_variant *variant, const cdu_device_info *device, const cdu_conv_problem *problem,
                             const uint32_t (*settings)[CDU_SETTINGS], size_t count, cdu_choice *out, uint32_t limit)
{
    uint32_t fitting = 0;
    for (size_t i = 0; i < count && fitting < limit; i++) {
        cdu_choice choice = {0};
        snprintf(choice.variant, sizeof choice.variant, "%s", variant->name);
        memcpy(choice.setting, settings[i], sizeof choice.setting);
        if (variant->fits(device, problem, &choice)) out[fitting++] = choice;
    }
    return fitting;
}
