/* annotation_summary.c: see annotation_summary.h. */
#include "tools/annotation_summary.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"

static const char *name_of(const cdu_study *study, const cdu_label_rules *rules, const struct cdu_label_rule *rule)
{
    if (!rule) return rules->unknown_is_error ? "(unknown)" : "(excluded)";
    if (rule->region) return "(region)";
    return rule->value == CDU_EXCLUDED ? "(excluded)" : study->classes[rule->value].name;
}

/* The row of a class and what it maps to; known_by may differ between two annotations of one class. */
static cdu_status find_row(annotation_summary *out, size_t *capacity, const summary_row *wanted, summary_row **row, cdu_error *error)
{
    for (size_t i = 0; i < out->count; i++) {
        *row = &out->rows[i];
        if (!strcmp((*row)->class_name, wanted->class_name) && !strcmp((*row)->maps_to, wanted->maps_to) &&
            !(*row)->known_by == !wanted->known_by && (!wanted->known_by || !strcmp((*row)->known_by, wanted->known_by)))
            return CDU_OK;
    }
    CDU_TRY(cdu_grow(&out->rows, capacity, out->count + 1, sizeof *out->rows, error));
    *row = &out->rows[out->count++];
    **row = *wanted;
    return CDU_OK;
}

static cdu_status add_item(annotation_summary *out, summary_row *row, const cdu_annotation *item, const cdu_slide_info *info, cdu_error *error)
{
    double left = INFINITY, top = INFINITY, right = -INFINITY, bottom = -INFINITY;
    bool any_crossed = false;
    row->count++;
    row->polygons += item->count;
    for (size_t k = 0; k < item->count; k++) {
        double area;
        bool crossed;
        CDU_TRY(cdu_polygon_area(&item->polygons[k], &area, &crossed, error));
        row->area += area;
        any_crossed |= crossed;
        for (size_t r = 0; r < item->polygons[k].count; r++) row->points += item->polygons[k].rings[r].count;
        const cdu_ring *outline = &item->polygons[k].rings[0];
        for (size_t i = 0; i < outline->count; i++) {
            left = fmin(left, outline->points[i].x);
            right = fmax(right, outline->points[i].x);
            top = fmin(top, outline->points[i].y);
            bottom = fmax(bottom, outline->points[i].y);
        }
    }
    if (any_crossed && !out->crossed++) out->crossed_line = item->line;
    if (info && (right <= 0 || bottom <= 0 || left >= (double)info->width || top >= (double)info->height) && !out->outside++)
        out->outside_line = item->line;
    out->left = fmin(out->left, left);
    out->right = fmax(out->right, right);
    out->top = fmin(out->top, top);
    out->bottom = fmax(out->bottom, bottom);
    return CDU_OK;
}

cdu_status annotation_summarize(const cdu_annotations *annotations, const cdu_study *study, const cdu_slide_info *info, annotation_summary *out,
                                cdu_error *error)
{
    cdu_label_rules rules;
    size_t capacity = 0;
    *out = (annotation_summary){.left = INFINITY, .top = INFINITY, .right = -INFINITY, .bottom = -INFINITY};
    CDU_TRY(cdu_study_label_rules(study, &rules, error));
    cdu_status status = CDU_OK;
    for (size_t i = 0; status == CDU_OK && i < annotations->count; i++) {
        const cdu_annotation *item = &annotations->items[i];
        if (!item->is_annotation) continue;
        summary_row wanted = {.class_name = item->class_name}, *row = NULL;
        const struct cdu_label_rule *rule = cdu_label_rule_of(&rules, item, &wanted.known_by);
        wanted.maps_to = name_of(study, &rules, rule);
        memcpy(wanted.color, item->color, sizeof wanted.color);
        out->unknown += !rule;
        status = find_row(out, &capacity, &wanted, &row, error);
        if (status == CDU_OK) status = add_item(out, row, item, info, error);
    }
    free(rules.rules);
    if (status == CDU_OK) return CDU_OK;
    free(out->rows);
    *out = (annotation_summary){0};
    return status;
}
