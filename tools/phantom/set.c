/* set.c: plans a set of slides and writes its study. */
#include "tools/phantom/set.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/base/file.h"
#include "core/base/memory.h"
#include "core/base/random.h"
#include "tools/phantom/labels.h"

const phantom_label phantom_labels[] = {
    {"Background", 0, {0, 0, 0}},   {"Tissue", 1, {0, 160, 0}},        {"Tumor", 2, {200, 0, 0}},
    {"Necrosis", 3, {230, 200, 0}}, {"Exclude", 255, {255, 255, 255}},
};
const size_t phantom_label_count = sizeof phantom_labels / sizeof phantom_labels[0];

/* The training settings of phantom studies, in one place. Slides of a millimetre give some 200 tiles each. */
static const struct {
    double mpp;
    unsigned tile, stride, width, depth, epochs, batch, validate_every;
    double learning_rate;
} training = {.mpp = 1.0,
              .tile = 128,
              .stride = 64,
              .width = 8,
              .depth = 5,
              .epochs = 30,
              .batch = 8,
              .validate_every = 1,
              .learning_rate = 0.05};

static const char *const split_names[] = {"train", "validation", "test"};

/* How many slides each case of each split has, into counts[split][case]; returns cases. */
static uint32_t share_out(uint32_t slides, uint32_t stains, phantom_case *cases)
{
    uint32_t whole = (slides + stains - 1) / stains, made = 0;
    if (slides < 3 || whole < 3) {
        /* too few for whole cases: one slide validates, the others are halved between train and test */
        uint32_t validation = slides >= 3, test = slides >= 2 ? (slides - validation) / 2 : 0, train = slides - validation - test;
        cases[made++] = (phantom_case){.split = PHANTOM_TRAIN, .slides = train};
        if (validation) cases[made++] = (phantom_case){.split = PHANTOM_VALIDATION, .slides = validation};
        if (test) cases[made++] = (phantom_case){.split = PHANTOM_TEST, .slides = test};
        return made;
    }
    uint32_t test = (uint32_t)(0.3 * whole + 0.5), validation = (uint32_t)(0.15 * whole + 0.5);
    if (test < 1) test = 1;
    if (validation < 1) validation = 1;
    for (uint32_t i = 0; i < whole; i++) {
        uint32_t train = whole - test - validation;
        cases[made++] = (phantom_case){.split = i < train          ? PHANTOM_TRAIN
                                                : i < train + test ? PHANTOM_TEST
                                                                   : PHANTOM_VALIDATION,
                                       .slides = stains};
    }
    cases[made - 1].slides = slides - (whole - 1) * stains; /* what is left over validates */
    return made;
}

/* The first three cases of a split hold all classes; later ones are as varied as patients are. */
static phantom_shares draw_shares(cdu_random *random, uint32_t nth, double area)
{
    float tissue = 0.37f + 0.16f * cdu_random_float(random), tumor = 0.50f + 0.20f * cdu_random_float(random);
    float necrosis = 0.22f + 0.16f * cdu_random_float(random), kind = cdu_random_float(random), dead = cdu_random_float(random);
    if (nth >= 3 && kind < 0.10f)
        tumor = 0;
    else if (nth >= 3 && kind < 0.20f)
        tumor = 0.93f;
    if (nth >= 3 && dead < 0.15f) necrosis = 0;
    uint32_t most = area < 2 ? 2 : area < 8 ? 3 : 4;
    phantom_shares shares = {.islands = 1 + cdu_random_below(random, most)};
    shares.tissue = tissue * (1 - tumor);
    shares.tumor = tissue * tumor * (1 - necrosis);
    shares.necrosis = tissue * tumor * necrosis;
    return shares;
}

static void draw_cases(const phantom_order *order, phantom_set *set)
{
    uint32_t of_split[3] = {0};
    double area = (double)order->width * (double)order->height * 0.25e-6;
    for (uint32_t i = 0; i < set->case_count; i++) {
        phantom_case *c = &set->cases[i];
        cdu_random random = cdu_random_stream(order->seed, CDU_RANDOM_PHANTOM, 0, i);
        c->seed = (uint64_t)cdu_random_u32(&random) << 32;
        c->seed |= cdu_random_u32(&random);
        c->shares = draw_shares(&random, of_split[c->split]++, area);
        snprintf(c->name, sizeof c->name, "case%02u", i + 1);
    }
}

cdu_status phantom_set_plan(const phantom_order *order, phantom_set *out, cdu_error *error)
{
    *out = (phantom_set){0};
    CDU_TRY(cdu_allocate(&out->cases, (size_t)order->slides + 3, sizeof *out->cases, error));
    cdu_status status = cdu_allocate(&out->slides, order->slides, sizeof *out->slides, error);
    if (status != CDU_OK) {
        phantom_set_free(out);
        return status;
    }
    out->case_count = share_out(order->slides, order->stain_count, out->cases);
    draw_cases(order, out);
    for (uint32_t i = 0; i < out->case_count; i++) {
        for (uint32_t k = 0; k < out->cases[i].slides; k++) {
            /* whole cases begin with the first stain by themselves; in small sets the stains go round over the cases */
            const phantom_assay *assay = order->stains[out->slide_count % order->stain_count];
            phantom_slide *slide = &out->slides[out->slide_count++];
            *slide = (phantom_slide){.case_index = i, .section = k, .assay = assay};
            uint32_t round = k / order->stain_count;
            if (round)
                snprintf(slide->name, sizeof slide->name, "%s-%s-%u", out->cases[i].name, slide->assay->name, round + 1);
            else
                snprintf(slide->name, sizeof slide->name, "%s-%s", out->cases[i].name, slide->assay->name);
        }
    }
    return CDU_OK;
}

void phantom_set_free(phantom_set *set)
{
    free(set->cases);
    free(set->slides);
    *set = (phantom_set){0};
}

/* ---- files ---- */

typedef struct {
    char *text;
    size_t size, capacity;
    cdu_status status;
} buffer;

#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
static void
add(buffer *b, cdu_error *error, const char *format, ...)
{
    va_list arguments;
    if (b->status != CDU_OK) return;
    va_start(arguments, format);
    int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    b->status = cdu_grow(&b->text, &b->capacity, b->size + (size_t)length + 1, 1, error);
    if (b->status != CDU_OK) return;
    va_start(arguments, format);
    vsnprintf(b->text + b->size, (size_t)length + 1, format, arguments);
    va_end(arguments);
    b->size += (size_t)length;
}

static cdu_status finish(buffer *b, const char *folder, const char *name, cdu_error *error)
{
    char path[CDU_PATH_LIMIT];
    cdu_status status = b->status;
    if (status == CDU_OK) status = cdu_path_join(path, folder, name, error);
    if (status == CDU_OK) status = cdu_file_write(path, b->text, b->size, error);
    free(b->text);
    return status;
}

static cdu_status write_slides(const phantom_set *set, const char *folder, cdu_error *error)
{
    buffer b = {0};
    add(&b, error, "slide,annotation,stain,case,split,mpp\n");
    for (uint32_t i = 0; i < set->slide_count; i++) {
        const phantom_slide *s = &set->slides[i];
        const phantom_case *c = &set->cases[s->case_index];
        add(&b, error, "slides/%s.tif,annotations/%s.geojson,%s,%s,%s,0.5\n", s->name, s->name, s->assay->title, c->name,
            split_names[c->split]);
    }
    return finish(&b, folder, "slides.csv", error);
}

static cdu_status write_study(const phantom_order *order, const char *folder, cdu_error *error)
{
    buffer b = {0};
    add(&b, error,
        "# Phantom slides, seed %" PRIu64 ", %" PRId64 " x %" PRId64 " px. Exact label maps of all slides lie in masks/.\n",
        order->seed, order->width, order->height);
    add(&b, error, "format: 1\nname: phantom\nslides: slides.csv\nclasses:\n");
    for (size_t i = 0; i < phantom_label_count; i++) {
        const phantom_label *l = &phantom_labels[i];
        if (l->value != 255)
            add(&b, error, "  - {name: %s, color: \"#%02x%02x%02x\"}\n", l->name, l->color[0], l->color[1], l->color[2]);
    }
    add(&b, error,
        "annotations:\n  exclude: [Exclude, \"Ignore*\"]\n  overlap: [Exclude, Necrosis, Tumor, Tissue]\n  unannotated: "
        "background\n");
    add(&b, error, "tiles: {mpp: %.1f, size: %u, stride: %u, empty: 0.10}\n", training.mpp, training.tile, training.stride);
    add(&b, error, "model: {kind: cdunet, width: %u, depth: %u}\n", training.width, training.depth);
    add(&b, error,
        "train:\n  epochs: %u\n  batch: %u\n  learning-rate: %g\n  learning-rate-batch: %u\n  validate-every: %u\n  seed: 1\n",
        training.epochs, training.batch, training.learning_rate, training.batch, training.validate_every);
    return finish(&b, folder, "study.yaml", error);
}

cdu_status phantom_set_write(const phantom_order *order, const phantom_set *set, const char *folder, cdu_error *error)
{
    CDU_TRY(write_slides(set, folder, error));
    return write_study(order, folder, error);
}
