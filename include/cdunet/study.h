/* study.h: the study file (YAML) and its slide list (CSV): which slides with which labels, how to cut, train and evaluate. Every error
 * names file, line and key. The slide list's path is relative to the study file, paths in the slide list to the slide list. Threads: a study
 * is not changed after reading; any number of threads may read it. */
#ifndef CDUNET_STUDY_H
#define CDUNET_STUDY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cdunet/error.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { CDU_CLASS_LIMIT = 16, CDU_DEPTH_LIMIT = 8 };

typedef enum { CDU_SPLIT_TRAIN, CDU_SPLIT_VALIDATION, CDU_SPLIT_TEST } cdu_split;
typedef enum { CDU_MODEL_UNET, CDU_MODEL_CDUNET } cdu_model_kind;

typedef struct {
    char *name;
    uint8_t color[3];
    char **also;
    size_t also_count;
} cdu_class;

/* A stain's name in reports and the spellings of it met in slide lists. */
typedef struct {
    char *name;
    char **spellings;
    size_t spelling_count;
} cdu_stain;

/* Everything that decides what the network is. */
typedef struct {
    cdu_model_kind kind;
    uint32_t width;                    /* filters of the first stage; each deeper stage has twice as many */
    uint32_t depth;                    /* stages down, the bottom included */
    uint32_t cd_filters[2];            /* of the colour-deconvolution segment */
    uint32_t classes;
    bool bgr;                          /* channel order of the input */
    bool relu_before_batch_norm;       /* in the UNET: conv, ReLU, batch norm */
    bool cd_relu_before_batch_norm;    /* in the CD segment */
} cdu_model_settings;

typedef struct {
    char *slide, *annotation;          /* paths, resolved; annotation may be empty (null) */
    char *stain;                       /* as reported: the study's name for the spelling met */
    char *case_name;
    cdu_split split;
    double mpp;                        /* 0: from the file */
    size_t line;                       /* in slides.csv */
} cdu_study_slide;

/* Whose coordinates count from the corner of the scanned part (openslide.bounds-x, -y) instead of the slide's: of QuPath's files, of all, of none. */
typedef enum { CDU_BOUNDS_QUPATH, CDU_BOUNDS_ALL, CDU_BOUNDS_NONE } cdu_bounds;

typedef struct {
    char *path, *folder, *name, *slides_path;
    cdu_class *classes;                /* order = value in label maps; the first is the background */
    size_t class_count;
    char **exclude;  size_t exclude_count;
    char **overlap;  size_t overlap_count;
    char *region;
    bool unannotated_is_excluded, unknown_is_excluded;
    cdu_bounds bounds;
    cdu_stain *stains;
    size_t stain_count;
    cdu_study_slide *slides;           /* in the order of the slide list */
    size_t slide_count;

    struct { double mpp; uint32_t size, stride; double empty; } tiles;
    cdu_model_settings model;
    struct {
        uint32_t epochs, batch;
        double learning_rate;
        uint32_t learning_rate_batch;
        double momentum;
        bool median_frequency;         /* else all class weights are 1 */
        bool mean_of_pixels;           /* loss-mean: pixels, else class-weights */
        uint32_t accumulate;           /* equal parts of a batch that are done one after another */
        bool synchronized;             /* batch-norm: synchronized, over all ranks' tiles; else each rank's own */
        bool exact_conv;               /* no approximate way of computing a convolution (Winograd) */
        uint32_t validate_every;
        uint32_t early_stop;           /* end after so many validations without a better one; 0: never */
        bool keep_best_macro_f1;
        uint64_t seed;
    } train;
    struct { bool flip; double hue, brightness, scale, noise, occlusion, rotate, shear; } augment;
    struct { double boundary_um; uint32_t bootstrap; bool by_stain, by_case, by_slide; } evaluate;
    struct { double test, validation; bool balance_stain; uint64_t seed; } split;
} cdu_study;

/* The paper's settings. */
cdu_model_settings cdu_model_defaults(void);

/* Reads and checks the study file and its slide list. CDU_BAD_DATA: unknown key, wrong type, out of range, unknown stain spelling is
 * fine (reported as it is), a case in two splits, a slide that is not there, no training slide, a class named twice. Slides
 * without a split are assigned by case. Where no slide is for validation, the share split.validation (METHOD: 10 %) of the
 * training part is held out: whole cases where there are at least four, else whole slides, with a warning, since sections of one
 * case share anatomy; one training slide alone cannot be parted: a warning, no validation slides, keep_best_macro_f1 off.
 * Free with cdu_study_free. */
cdu_status cdu_study_read(const char *path, cdu_study **out, cdu_error *error);
/* The settings alone, without the slide list, which need not be there; with a null path the defaults. Free with cdu_study_free. */
cdu_status cdu_study_read_settings(const char *path, cdu_study **out, cdu_error *error);
void cdu_study_free(cdu_study *study);
/* All settings in full, defaults spelled out, as YAML that cdu_study_read reads back. `slides_path` as it shall stand there. */
cdu_status cdu_study_write(const cdu_study *study, const char *path, const char *slides_path, cdu_error *error);

#ifdef __cplusplus
}
#endif
#endif
