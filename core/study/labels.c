/* labels.c: the study's class names as rules, and a slide opened with what is known of its classes. */
#include "core/study/labels.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/base/memory.h"

/* Place in the study's overlap list, or `otherwise`. */
static uint32_t place_of(const cdu_study *study, const char *name, uint32_t otherwise)
{
    for (size_t i = 0; i < study->overlap_count; i++)
        if (!strcasecmp(study->overlap[i], name)) return (uint32_t)i + 1;
    return otherwise;
}

/* What is excluded but not in the list goes with the first of its kind that is; if none is, above all. */
static uint32_t excluded_place(const cdu_study *study)
{
    uint32_t place = 0;
    for (size_t i = 0; i < study->exclude_count; i++) {
        uint32_t own = place_of(study, study->exclude[i], 0);
        if (own && (!place || own < place)) place = own;
    }
    return place;
}

/* A class that is not in the list, not by its other names either, comes after all that are, later classes first. */
static uint32_t class_place(const cdu_study *study, size_t c)
{
    uint32_t place = place_of(study, study->classes[c].name, 0);
    for (size_t i = 0; !place && i < study->classes[c].also_count; i++) place = place_of(study, study->classes[c].also[i], 0);
    return place ? place : (uint32_t)(study->overlap_count + 1 + study->class_count - c);
}

cdu_status cdu_study_label_rules(const cdu_study *study, cdu_label_rules *rules, cdu_error *error)
{
    size_t count = study->exclude_count + 1;
    for (size_t c = 0; c < study->class_count; c++) count += 1 + study->classes[c].also_count;
    *rules = (cdu_label_rules){.unannotated = study->unannotated_is_excluded ? CDU_EXCLUDED : 0,
                               .unknown_is_error = !study->unknown_is_excluded};
    CDU_TRY(cdu_allocate(&rules->rules, count, sizeof *rules->rules, error));
    for (size_t c = 0; c < study->class_count; c++) {
        const cdu_class *class = &study->classes[c];
        uint32_t place = class_place(study, c);
        rules->rules[rules->count++] = (struct cdu_label_rule){.pattern = class->name, .value = (uint8_t)c, .precedence = place};
        for (size_t i = 0; i < class->also_count; i++)
            rules->rules[rules->count++] = (struct cdu_label_rule){.pattern = class->also[i], .value = (uint8_t)c, .precedence = place};
    }
    uint32_t common = excluded_place(study);
    for (size_t i = 0; i < study->exclude_count; i++)
        rules->rules[rules->count++] = (struct cdu_label_rule){
            .pattern = study->exclude[i], .value = CDU_EXCLUDED, .precedence = place_of(study, study->exclude[i], common)};
    if (study->region && *study->region)
        rules->rules[rules->count++] = (struct cdu_label_rule){.pattern = study->region, .region = true};
    return CDU_OK;
}

void cdu_study_add_bounds(const cdu_study *study, const cdu_slide_info *info, cdu_annotations *annotations)
{
    if (study->bounds == CDU_BOUNDS_NONE || (study->bounds == CDU_BOUNDS_QUPATH && !annotations->from_bounds)) return;
    cdu_annotations_shift(annotations, (double)info->bounds_x, (double)info->bounds_y);
}

static cdu_status open_polygons(const cdu_study *study, const cdu_study_slide *which, const cdu_slide_info *info,
                                cdu_label_source **out, cdu_error *error)
{
    cdu_annotations annotations;
    cdu_label_rules rules;
    CDU_TRY(cdu_annotations_read(which->annotation, &annotations, error));
    cdu_status status = cdu_study_label_rules(study, &rules, error);
    if (status == CDU_OK) {
        cdu_study_add_bounds(study, info, &annotations);
        status = cdu_label_source_create(which->annotation, &annotations, &rules, out, error);
        free(rules.rules);
    }
    cdu_annotations_free(&annotations);
    return status;
}

cdu_status cdu_labelled_slide_open(const cdu_study *study, const cdu_study_slide *which, cdu_labelled_slide *out, cdu_error *error)
{
    *out = (cdu_labelled_slide){0};
    cdu_status status = cdu_slide_open(which->slide, which->mpp, &out->slide, error);
    if (status == CDU_OK && which->annotation) {
        cdu_slide_info info = cdu_slide_info_of(out->slide);
        if (cdu_is_label_map(which->annotation))
            status = cdu_label_source_from_image(which->annotation, info.width, info.height, (uint32_t)study->class_count, &out->labels, error);
        else status = open_polygons(study, which, &info, &out->labels, error);
        if (status == CDU_OK) cdu_label_source_set_size(out->labels, info.width, info.height);
    }
    if (status == CDU_OK) return CDU_OK;
    cdu_labelled_slide_close(out);
    return cdu_error_prefix(error, "%s:%zu", study->slides_path, which->line), status;
}

void cdu_labelled_slide_close(cdu_labelled_slide *slide)
{
    if (slide->slide) cdu_slide_close(slide->slide);
    cdu_label_source_destroy(slide->labels);
    *slide = (cdu_labelled_slide){0};
}
