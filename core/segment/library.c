/* library.c: the public face of the engine (cdunet/segment.h): a model file, a device and a compiled network in one object. */
#include "cdunet/segment.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/ops/open.h"
#include "core/segment/engine.h"

struct cdu_model {
    cdu_model_about about;
    cdu_weights weights;
    cdu_gpu gpu;
    bool open;
    cdu_segmenter *segmenter;
};

cdu_status cdu_model_open(const char *path, const char *device, cdu_model **out, cdu_error *error)
{
    *out = NULL;
    cdu_model *model;
    CDU_TRY(cdu_allocate(&model, 1, sizeof *model, error));
    cdu_status status = cdu_model_read(path, &model->about, &model->weights, error);
    if (status == CDU_OK) status = cdu_open_device(device, false, &model->gpu, error);
    model->open = status == CDU_OK;
    if (status == CDU_OK)
        status = cdu_segmenter_create(&model->gpu, &model->about, &model->weights, NULL, &model->segmenter, error);
    if (status != CDU_OK) {
        cdu_model_close(model);
        return status;
    }
    *out = model;
    return CDU_OK;
}

void cdu_model_close(cdu_model *model)
{
    if (!model) return;
    cdu_segmenter_destroy(model->segmenter);
    if (model->open) cdu_gpu_close(&model->gpu);
    cdu_weights_free(&model->weights);
    free(model);
}

cdu_model_info cdu_model_info_of(const cdu_model *model)
{
    cdu_model_info info = {.classes = model->about.settings.classes, .mpp = model->about.mpp};
    for (uint32_t c = 0; c < info.classes; c++) info.class_names[c] = model->about.class_names[c];
    memcpy(info.class_colors, model->about.class_colors, sizeof info.class_colors);
    snprintf(info.device, sizeof info.device, "%s", model->gpu.id);
    return info;
}

cdu_status cdu_model_segment(cdu_model *model, cdu_slide *slide, double mpp, cdu_label_rows *rows, void *context, cdu_error *error)
{
    return cdu_segment_slide(model->segmenter, slide, mpp, rows, context, NULL, error);
}
