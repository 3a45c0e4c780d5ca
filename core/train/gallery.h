/* gallery.h: the tiles that a model labels best and worst, for people to look at: gathered while a slide is segmented, a row of tiles at a
 * time, so memory is bounded by such a row. Threads: one caller. */
#ifndef CDU_TRAIN_GALLERY_H
#define CDU_TRAIN_GALLERY_H

#include "cdunet/slide.h"
#include "core/train/metrics.h"

enum { CDU_GALLERY_KINDS = 2, CDU_GALLERY_MOST = 8 }; /* kinds: best, worst */

/* A square of labels. The pictures are `picture` pixels wide, each one of every `step`-th pixel of the tile. */
typedef struct {
    const char *slide, *stain;     /* belong to the study */
    int64_t x, y;                  /* top left corner, pixels at the model's resolution */
    uint32_t side, picture, step;
    double right;                  /* share of the pixels with a truth that have its class */
    bool varied;                   /* two classes or more in the truth, each with at least 1 % of the tile */
    uint32_t rank;                 /* among those of its slide, 0 first */
    uint8_t *truth, *predicted;    /* picture x picture classes; 255: excluded */
    uint8_t *rgb;
} cdu_gallery_tile;

typedef struct {
    uint32_t tile, most, classes;  /* side; how many of each kind are kept */
    cdu_gallery_tile kept[CDU_GALLERY_KINDS][CDU_GALLERY_MOST];
    uint32_t counts[CDU_GALLERY_KINDS];
    /* the slide at hand */
    cdu_gallery_tile here[CDU_GALLERY_KINDS][CDU_GALLERY_MOST];
    uint32_t here_counts[CDU_GALLERY_KINDS];
    uint32_t side;
    int64_t y;
    uint8_t *truth, *predicted;    /* rows of the row of tiles at hand */
    size_t truth_capacity, predicted_capacity;
    uint32_t filled;               /* rows in them */
} cdu_gallery;

/* `tile` pixels wide; `most` of each kind, at most CDU_GALLERY_MOST. Free with cdu_gallery_free. */
void cdu_gallery_begin(cdu_gallery *gallery, uint32_t tile, uint32_t most, uint32_t classes);
/* For each slide: its size at the model's resolution; then all rows in order; then the end, at which pictures are read from it. Tiles stand side
 * by side; what is left at the right and lower edge is not looked at. Kept are first tiles that have several classes, then, of these,
 * the best (worst) of each slide, then the second of each, and so on. A tile needs a truth in half of its pixels. */
void cdu_gallery_slide(cdu_gallery *gallery, int64_t width, int64_t height);
cdu_status cdu_gallery_rows(cdu_gallery *gallery, int64_t width, uint32_t rows, const uint8_t *truth, const uint8_t *predicted,
                            cdu_error *error);
cdu_status cdu_gallery_slide_end(cdu_gallery *gallery, cdu_slide *slide, double mpp, const char *name, const char *stain, cdu_error *error);
void cdu_gallery_free(cdu_gallery *gallery);

#endif
