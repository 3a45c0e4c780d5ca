/* boundary.h: which pixels of a label map lie near a boundary between two classes, where annotators differ and no score means much. */
#ifndef CDU_TRAIN_BOUNDARY_H
#define CDU_TRAIN_BOUNDARY_H

#include "cdunet/study.h"

/* A pixel is near if the centre of a pixel of another class is no further from its own than `radius` pixels (Euclidean). Excluded
 * pixels (255) are no class: they are never near, and nothing is near because of them. `labels` has `rows` rows of `width` bytes;
 * marks[count x width] is set to 1 or 0 for the rows from `first` on. The answer is exact where all rows within the radius are
 * given, or the map ends. CDU_TRY_AGAIN without memory. */
cdu_status cdu_boundary_mark(const uint8_t *labels, uint32_t width, uint32_t rows, uint32_t first, uint32_t count, uint32_t classes,
                             double radius, uint8_t *marks, cdu_error *error);

#endif
