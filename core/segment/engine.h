/* engine.h: segments slides of any size with a trained model. Tiles with a halo are read, run and blended row by row, so memory is
 * bounded by a row of tiles. Labels come out in rows from top to bottom, for whoever wants them: a pyramid, contours, a score. */
#ifndef CDU_SEGMENT_ENGINE_H
#define CDU_SEGMENT_ENGINE_H

#include "cdunet/slide.h"
#include "core/model/model.h"

typedef struct cdu_segmenter cdu_segmenter;

typedef struct {
    uint32_t tile;      /* pixels; 0: the model's training tile */
    uint32_t halo;      /* pixels around a tile's core that overlap its neighbours; 0: a quarter of the tile */
    uint32_t batch;     /* 0: chosen by device */
    bool keep_glass;    /* run the network on glass too, instead of calling it background at once */
} cdu_segment_settings;

/* Compiles the inference program once, for any number of slides. */
cdu_status cdu_segmenter_create(const cdu_gpu *gpu, const cdu_model_about *about, const cdu_weights *weights,
                                const cdu_segment_settings *settings, cdu_segmenter **out, cdu_error *error);
void cdu_segmenter_destroy(cdu_segmenter *segmenter);
/* New weights, same settings (validation while training). */
cdu_status cdu_segmenter_set_weights(cdu_segmenter *segmenter, const cdu_weights *weights, cdu_error *error);

/* Takes `rows` rows of class values, `width` bytes each, the first of which is row `y` of the slide at the model's resolution. */
typedef cdu_status cdu_label_rows(void *context, int64_t y, uint32_t rows, int64_t width, const uint8_t *labels, cdu_error *error);

/* The whole slide at `mpp` (0: the model's), in order. `progress` is a label for the progress bar, or null. */
cdu_status cdu_segment_slide(cdu_segmenter *segmenter, cdu_slide *slide, double mpp, cdu_label_rows *rows, void *context,
                             const char *progress, cdu_error *error);

#endif
