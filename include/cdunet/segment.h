/* segment.h: a trained model as a thing that labels slides. Opening compiles the network for one device; then any number of slides can
 * be segmented, of any size: memory is bounded by a row of tiles. `cdunet segment` writes files with it (label map, polygons); a
 * program of yours can take the rows of labels as they are finished. */
#ifndef CDUNET_SEGMENT_H
#define CDUNET_SEGMENT_H

#include <stdint.h>

#include "cdunet/error.h"
#include "cdunet/slide.h"
#include "cdunet/study.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct cdu_model cdu_model;

typedef struct {
    uint32_t classes;                          /* values of the label map: 0 to classes - 1; 0 is the background */
    const char *class_names[CDU_CLASS_LIMIT];  /* belong to the model */
    uint8_t class_colors[CDU_CLASS_LIMIT][3];  /* R, G, B */
    double mpp;                                /* micrometres a pixel at which it was trained */
    char device[24];                           /* "vulkan:0" */
} cdu_model_info;

/* Takes `rows` rows of class values, `width` bytes each, the first of which is row `y` of the slide at the resolution asked for. The bytes
 * are valid during the call alone. Whatever but CDU_OK it returns ends the segmentation with that status. */
typedef cdu_status cdu_label_rows(void *context, int64_t y, uint32_t rows, int64_t width, const uint8_t *labels, cdu_error *error);

/* Reads a model file (model.safetensors of `cdunet train`) and compiles it for the device that `device` means (device.h; null:
 * "auto"). CDU_BAD_DATA for the file, CDU_NO_DEVICE, CDU_TRY_AGAIN where the device has too little memory even for small tiles. Close
 * with cdu_model_close. Threads: a model belongs to the thread that opened it. */
cdu_status cdu_model_open(const char *path, const char *device, cdu_model **out, cdu_error *error);
void cdu_model_close(cdu_model *model);
cdu_model_info cdu_model_info_of(const cdu_model *model);

/* The whole slide at `mpp` micrometres a pixel (0: the model's), all its rows once, from top to bottom. The size of the label map is that
 * of cdu_slide_size_at. CDU_BAD_DATA for a corrupt slide, CDU_STOPPED after a stop request. */
cdu_status cdu_model_segment(cdu_model *model, cdu_slide *slide, double mpp, cdu_label_rows *rows, void *context, cdu_error *error);

#ifdef __cplusplus
}
#endif
#endif
