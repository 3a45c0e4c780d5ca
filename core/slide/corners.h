/* corners.h: rings of lattice corners: area, simplification, crossing. Private to core/slide. */
#ifndef CDU_SLIDE_CORNERS_H
#define CDU_SLIDE_CORNERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cdunet/error.h"

typedef struct { int32_t x, y; } cdu_corner;                       /* 0 .. 2^30 */
typedef struct { cdu_corner *corners; size_t count; } cdu_corners; /* a ring, closed implicitly */

/* Positive where the ring is clockwise on the screen (y downwards). */
double cdu_corners_area(const cdu_corner *corners, size_t count);
/* Douglas-Peucker on a closed ring into `to` (room for `count`). A ring that would lose its area or turn over is tried again with half
 * the tolerance, at last copied; so the result has at least three corners and an area of the same sign. */
cdu_status cdu_corners_simplify(const cdu_corner *corners, size_t count, double tolerance, cdu_corner *to, size_t *kept, cdu_error *error);
/* Whether sides of the rings cross, overlap, or end within one another; common ends are no crossing. */
cdu_status cdu_corners_cross(const cdu_corners *rings, size_t count, bool *cross, cdu_error *error);

#endif
