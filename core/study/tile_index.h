/* tile_index.h: which tiles there are: overlapping squares at the target resolution over all slides of one split, with how many pixels
 * of each class they hold. Tiles of glass alone are kept by the share that the study sets, chosen by Philox, so the same study and
 * seed give the same index. Class frequencies and median frequency balancing (Eigen and Fergus, ICCV 2015) come from here. */
#ifndef CDU_STUDY_TILE_INDEX_H
#define CDU_STUDY_TILE_INDEX_H

#include "core/study/labels.h"

typedef struct {
    uint32_t slide;                    /* index into study->slides */
    int64_t x, y;                      /* top left corner, pixels at the target resolution */
    uint32_t pixels[CDU_CLASS_LIMIT];  /* of each class; the rest of size * size is excluded */
} cdu_tile;

typedef struct {
    cdu_tile *tiles;
    size_t count;
    uint32_t size, classes;
    double mpp;
    uint64_t class_pixels[CDU_CLASS_LIMIT];      /* over all tiles */
    uint64_t present_pixels[CDU_CLASS_LIMIT];    /* over the tiles of all slides in which the class is present */
    uint64_t slide_class_pixels[CDU_CLASS_LIMIT];/* over all slides, every pixel once */
} cdu_tile_index;

/* Tiles stand every study->tiles.stride pixels; the last of a row or column is moved back to end with the slide, and a slide smaller than a
 * tile has one, beyond whose edge labels are excluded. Slides without annotation give no tiles (a warning). A tile of glass alone has
 * no label but background's and no cell where cdu_slide_find_tissue sees tissue. Tiles with no labelled pixel are left out. CDU_BAD_DATA where none is left, or where `need_all_classes` and a class has no pixel (the
 * words name it). Slides are opened, read in parallel and closed. */
cdu_status cdu_tile_index_build(const cdu_study *study, cdu_split split, bool need_all_classes, uint32_t threads,
                                cdu_tile_index *out, cdu_error *error);
void cdu_tile_index_free(cdu_tile_index *index);
/* weight(c) = median(freq) / freq(c), freq(c) = pixels of c / labelled pixels of the slides in which c is present, both
 * counted over the tiles, since these are what training sees; 0 for a class
 * without pixels. All ones where the study does not ask for balancing. */
void cdu_class_weights(const cdu_study *study, const cdu_tile_index *index, float weights[CDU_CLASS_LIMIT]);

#endif
