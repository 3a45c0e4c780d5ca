/* model_file.h: the parts of a model file, for checkpoints, which are model files with more in them. Internal to core. */
#ifndef CDU_MODEL_MODEL_FILE_H
#define CDU_MODEL_MODEL_FILE_H

#include "core/model/model.h"
#include "core/model/safetensors.h"

/* Settings into metadata. */
cdu_status cdu_model_describe(cdu_safe_file *file, const cdu_model_about *about, cdu_error *error);
/* Weights, running statistics and num_batches_tracked (*batches, which must outlive the file) in the order of a state_dict. */
cdu_status cdu_model_add_tensors(cdu_safe_file *file, const cdu_model_settings *settings, const cdu_weights *weights,
                                 const int64_t *batches, cdu_error *error);
/* Settings and weights out of a file that was read; other tensors and metadata are left alone. `name` is for words. */
cdu_status cdu_model_take(const char *name, const cdu_safe_file *file, cdu_model_about *about, cdu_weights *weights,
                          cdu_error *error);

#endif
