/* engine.h: segments slides of any size with a trained model. Tiles with a halo are read, run and blended row by row, so memory is
 * bounded by a row of tiles. Labels come out in rows from top to bottom, for whoever wants them: a pyramid, contours, a score. */
#ifndef CDU_SEGMENT_ENGINE_H
#define CDU_SEGMENT_ENGINE_H

#include "cdunet/segment.h"
#include "core/model/model.h"

typedef struct cdu_segmenter cdu_segmenter;

typedef struct {
    uint32_t tile;   /* pixels; 0: the model's training tile, at least 512 */
    uint32_t halo;   /* pixels that neighbouring tiles share, at most half of the tile; 0: three eighths of it */
    uint32_t batch;  /* 0: chosen by device */
    uint64_t memory; /* bytes that may be taken on the device; 0: no limit */
    cdu_program *beside; /* its memory for activations is used too (cdu_program_create_beside), and counts for `memory`; or null */
    bool exact;      /* no approximate way of computing a convolution (cdu_plan_options.exact) */
    bool keep_glass; /* run the network on glass too, instead of calling it background at once */
} cdu_segment_settings;

/* Compiles the inference program once, for any number of slides. Where the device's memory does not suffice, then or at a
 * slide's first batch, batches of one tile are tried and then, once, tiles of half the size, with a warning. A limit makes batches
 * smaller, which changes no result, but not tiles, which would: CDU_TRY_AGAIN where a batch of one tile is too large, with the
 * least that would do. `gpu` and `beside` are kept, the rest copied. */
cdu_status cdu_segmenter_create(const cdu_gpu *gpu, const cdu_model_about *about, const cdu_weights *weights,
                                const cdu_segment_settings *settings, cdu_segmenter **out, cdu_error *error);
/* What such a segmenter takes at least, with batches of one tile; nothing is made. */
cdu_status cdu_segmenter_least(const cdu_gpu *gpu, const cdu_model_about *about, const cdu_segment_settings *settings,
                               cdu_plan_report *out, cdu_error *error);
void cdu_segmenter_destroy(cdu_segmenter *segmenter);
/* New weights, same settings (validation while training). */
cdu_status cdu_segmenter_set_weights(cdu_segmenter *segmenter, const cdu_weights *weights, cdu_error *error);

/* The whole slide, read and segmented at `mpp` (0: the model's), in order: every row once. Cells of glass
 * (cdu_slide_find_tissue) get class 0 without the network unless keep_glass. `progress` is a label for the progress bar, or
 * null. CDU_STOPPED where cdu_stop_requested, at the next batch; what `rows` returns other than CDU_OK ends it too. */
cdu_status cdu_segment_slide(cdu_segmenter *segmenter, cdu_slide *slide, double mpp, cdu_label_rows *rows, void *context,
                             const char *progress, cdu_error *error);

#endif
