/* set.h: a set of phantom slides: which cases and stains, which split, and the study that goes with them. */
#ifndef CDU_TOOLS_PHANTOM_SET_H
#define CDU_TOOLS_PHANTOM_SET_H

#include <stdint.h>

#include "tools/phantom/assay.h"
#include "tools/phantom/map.h"

enum { PHANTOM_SLIDE_LIMIT = 9999, PHANTOM_STAIN_LIMIT = 16, PHANTOM_SMALLEST = 512, PHANTOM_LARGEST = 131072 };

typedef enum { PHANTOM_TRAIN, PHANTOM_VALIDATION, PHANTOM_TEST } phantom_split;

typedef struct {
    const phantom_assay *stains[PHANTOM_STAIN_LIMIT];
    uint32_t stain_count, slides;
    int64_t width, height; /* px */
    uint64_t seed;
    bool haematoxylin; /* that stain alone */
} phantom_order;

typedef struct {
    char name[32];
    phantom_split split;
    uint64_t seed;
    phantom_shares shares;
    uint32_t slides;
} phantom_case;

typedef struct {
    char name[64];
    uint32_t case_index, section; /* which of the case's sections */
    const phantom_assay *assay;
} phantom_slide;

typedef struct {
    phantom_case *cases;
    phantom_slide *slides; /* case by case */
    uint32_t case_count, slide_count;
} phantom_set;

/* Cases share the stains: with S stains a case has S slides as long as there are enough, so that every stain stands in every split.
 * From 3 slides on there is at least one of each split; cases are never in two. Free with phantom_set_free. */
cdu_status phantom_set_plan(const phantom_order *order, phantom_set *out, cdu_error *error);
void phantom_set_free(phantom_set *set);

/* slides.csv and study.yaml into `folder`. */
cdu_status phantom_set_write(const phantom_order *order, const phantom_set *set, const char *folder, cdu_error *error);

/* Renders all slides, masks and annotations into folder/slides, /masks, /annotations. */
cdu_status phantom_set_render(const phantom_order *order, const phantom_set *set, const char *folder, uint32_t threads,
                              cdu_error *error);

#endif
