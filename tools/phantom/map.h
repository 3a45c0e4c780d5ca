/* map.h: where a case has tissue, tumor and necrosis: three signed distances on a coarse grid, shared by all slides of the case. */
#ifndef CDU_TOOLS_PHANTOM_MAP_H
#define CDU_TOOLS_PHANTOM_MAP_H

#include <stdint.h>

#include "cdunet/error.h"

typedef struct {
    float cell, x0, y0; /* um: size of a cell, place of the first sample */
    int32_t columns, rows;
    float *tissue, *tumor, *necrosis; /* um to the border, positive inside; tumor counts necrosis in */
} phantom_map;

typedef struct {
    float tissue, tumor, necrosis; /* shares of the slide's area that are aimed at; tumor without its necrosis */
    uint32_t islands;
} phantom_shares;

/* A frame of width x height um; the grid reaches beyond it by PHANTOM_MAP_MARGIN, since sections are shifted. Free with
 * phantom_map_free. */
enum { PHANTOM_MAP_MARGIN = 160 };
cdu_status phantom_map_make(uint64_t seed, float width, float height, const phantom_shares *shares, phantom_map *out,
                            cdu_error *error);
void phantom_map_free(phantom_map *map);

typedef struct {
    float tissue, tumor, necrosis;
} phantom_depths;
phantom_depths phantom_map_at(const phantom_map *map, float x, float y);

#endif
