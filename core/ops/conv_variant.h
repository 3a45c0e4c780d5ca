/* conv_variant.h: the ways in which a convolution can be computed, and which one is taken. A variant is a const struct in a file
 * of its own; all compute the same sums, on any driver, and pass the same operator table. For core/ops and for tuning.
 *
 * Taken is, for each pass of each node: what CDUNET_VARIANT forces, where it fits; else what the device's tune pack says, where it
 * fits; else the first variant of cdu_conv_variants that fits and is preferred for this device and shape. With
 * cdu_plan_options.exact no approximate variant is taken. */
#ifndef CDU_OPS_CONV_VARIANT_H
#define CDU_OPS_CONV_VARIANT_H

#include "core/ops/conv_common.h"

enum { CDU_SETTINGS = 4, CDU_SETTING_LIMIT = 1 << 20 };

/* A variant and its settings, whose meaning and order are the variant's; 0 leaves a setting to it. */
typedef struct { char variant[16]; uint32_t setting[CDU_SETTINGS]; } cdu_choice;

typedef enum { CDU_CONV_SUM, CDU_CONV_GRADIENT } cdu_conv_pass; /* forward and data gradient; gradient of weight and bias */

/* One pass of one convolution. h, w: pixels of the result (of d for the gradient; of x with parities). Lanes as in the layouts of x
 * and y (or d), pads included. */
typedef struct {
    cdu_conv_pass pass;
    uint32_t side, stride, parities;
    uint32_t n, h, w, in_lanes, out_lanes;
} cdu_conv_problem;

typedef struct {
    const char *name;
    bool normalizes;                        /* on CPUs: can normalize what it reads (cdu_normalized) */
    bool approximate;                       /* rounds in another domain: Winograd */
    const char *setting[CDU_SETTINGS];      /* names, for tune packs and logs; null behind the last */
    /* The size of subgroups that its kernels are made for on a device, 0 for any; null: any. */
    uint32_t (*subgroup)(const cdu_device_info *, const cdu_conv_problem *);
    /* Whether the device and the shape allow it with these settings. */
    bool (*fits)(const cdu_device_info *, const cdu_conv_problem *, const cdu_choice *);
    /* Whether it is a good default; asked only where it fits. */
    bool (*preferred)(const cdu_device_info *, const cdu_conv_problem *);
    /* What a tuner may try, at most `limit` choices; returns how many. The first has no settings. */
    uint32_t (*candidates)(const cdu_device_info *, const cdu_conv_problem *, cdu_choice *out, uint32_t limit);
    cdu_status (*sum)(cdu_lowering *, const cdu_node *, const char *pass, const cdu_conv_sum *, const cdu_choice *, cdu_error *);
    cdu_status (*gradient)(cdu_lowering *, const cdu_node *, const cdu_conv_gradient *, const cdu_choice *, cdu_error *);
} cdu_conv_variant;

extern const cdu_conv_variant cdu_conv_direct;
/* Winograd's F(4x4, 3x3) with the points 0, +-5/8, +-3/2, infinity: results are off by 0.4e-6 to 2.6e-6 of their norm (direct: 0.1e-6 to
 * 2.8e-6), measured with normally distributed numbers up to 512 channels; at most 5e-6 in the operator table. */
extern const cdu_conv_variant cdu_conv_winograd;
/* The same method, points and error for GPUs and CPUs that run groups of items. */
extern const cdu_conv_variant cdu_conv_winograd_items;
/* An implicit product of matrices in local memory, for GPUs. */
extern const cdu_conv_variant cdu_conv_gemm;
extern const cdu_conv_variant *const cdu_conv_variants[]; /* null-terminated, in the order in which defaults are looked for */
/* Items of a subgroup for kernels with a large register tile an item (docs/kernels.md); 0: the driver's choice. */
uint32_t cdu_conv_subgroup(const cdu_device_info *, const cdu_conv_problem *);
/* Null where there is none of that name. */
const cdu_conv_variant *cdu_conv_variant_named(const char *name);

cdu_conv_problem cdu_conv_problem_of_sum(const cdu_lowering *, const cdu_conv_sum *);
cdu_conv_problem cdu_conv_problem_of_gradient(const cdu_lowering *, const cdu_conv_gradient *);

/* What is taken where nobody asks for anything: the variant, without settings. */
cdu_status cdu_conv_default(const cdu_device_info *, const cdu_conv_problem *, bool exact, cdu_choice *, cdu_error *);
/* The variant that will be taken for a problem, and its settings. CDU_USAGE where CDUNET_VARIANT names none. */
cdu_status cdu_conv_choose(const cdu_lowering *, const cdu_conv_problem *, const cdu_conv_variant **, cdu_choice *, cdu_error *);

/* For `candidates`: those of `count` settings that fit, in their order. */
uint32_t cdu_conv_candidates(const cdu_conv_variant *, const cdu_device_info *, const cdu_conv_problem *,
                             const uint32_t (*settings)[CDU_SETTINGS], size_t count, cdu_choice *out, uint32_t limit);
/* For `fits`: left to the variant, or a power of 2 within these bounds. */
bool cdu_setting_is_power(uint32_t value, uint32_t least, uint32_t most);

/* For this thread's next lowerings, instead of CDUNET_VARIANT and tune packs: the choice, where it fits, else defaults; null: as before.
 * Whoever tunes compares the two. */
void cdu_conv_force(const cdu_choice *);
/* Tells every problem that this thread's next lowerings choose for; null ends it. */
typedef void cdu_conv_observer(void *context, const cdu_conv_problem *);
void cdu_conv_observe(cdu_conv_observer *, void *context);

/* Whether the variant that will be taken normalizes x where it reads it. */
bool cdu_conv_normalizes(const cdu_lowering *, const cdu_conv_problem *);

/* "name" or "name:setting:setting..." into a choice, each setting at most CDU_SETTING_LIMIT. CDU_USAGE with the names there are. */
cdu_status cdu_choice_parse(const char *text, cdu_choice *, cdu_error *);
/* The same text back, without zeros at the end; returns `out`. */
enum { CDU_CHOICE_TEXT = 64 };
const char *cdu_choice_text(const cdu_choice *, char out[CDU_CHOICE_TEXT]);

#endif
