/* paint.h: a square of a section as optical densities, then as the scanner sees it. Painting goes ground first (what has no outline
 * of its own: cytoplasm, fibres, matrix, holes), then cells in a fixed order, so that a pixel is the same in whatever tile it is
 * painted. */
#ifndef CDU_TOOLS_PHANTOM_PAINT_H
#define CDU_TOOLS_PHANTOM_PAINT_H

#include "tools/phantom/section.h"

/* A tile's side, and how much more is painted around it for the blur; px. */
enum {
    PHANTOM_TILE = 256,
    PHANTOM_MARGIN = 8,
    PHANTOM_SIDE = PHANTOM_TILE + 2 * PHANTOM_MARGIN,
    PHANTOM_AREA = PHANTOM_SIDE * PHANTOM_SIDE,
    PHANTOM_CAPILLARIES = 48
};

typedef struct {
    int32_t x0, y0;                   /* px of the first painted pixel, the margin included */
    bool empty;                       /* nothing but glass */
    float haematoxylin[PHANTOM_AREA]; /* densities along each stain's vector, before the slide's strength */
    float protein[PHANTOM_AREA];      /* what eosin takes; a little of it takes haematoxylin */
    float mark[2][PHANTOM_AREA];      /* chromogens */
    float pigment[PHANTOM_AREA];
    float ink[PHANTOM_AREA], grey[PHANTOM_AREA]; /* on the glass, not in the section: thickness does not scale them */
    float thickness[PHANTOM_AREA], focus[PHANTOM_AREA];
    uint8_t class_of[PHANTOM_AREA];
    phantom_round capillaries[PHANTOM_CAPILLARIES]; /* in reach of the tile */
    int capillary_count;
    float work[4][PHANTOM_AREA]; /* for developing */
} phantom_tile;

void phantom_paint_ground(const phantom_section *section, phantom_tile *tile);
void phantom_paint_cells(const phantom_section *section, phantom_tile *tile);
/* The tile without its margin: R, G, B rows of `stride` bytes, and classes, rows of `width` bytes; only the first width x height
 * pixels. */
void phantom_develop(const phantom_section *section, phantom_tile *tile, uint32_t width, uint32_t height, uint8_t *rgb,
                     uint8_t *classes, size_t row_pixels);
/* Call once before the first phantom_develop. */
void phantom_develop_prepare(void);

/* Hepatocytes stand on a jittered hexagonal lattice; ground and cells both need it. */
#define PHANTOM_HEPATOCYTE_X 21.0f
#define PHANTOM_HEPATOCYTE_Y 18.5f
typedef struct {
    float x, y;
    uint32_t hash;
} phantom_hepatocyte;
static inline phantom_hepatocyte phantom_hepatocyte_at(const phantom_section *section, int32_t i, int32_t j);
/* Half the width of the sinusoid between two of them, 0 where they touch. (nx, ny): from one to the other; radial as in
 * phantom_place. */
float phantom_sinusoid(uint32_t a, uint32_t b, float nx, float ny, float radial_x, float radial_y);

#include "tools/phantom/noise.h"

static inline phantom_hepatocyte phantom_hepatocyte_at(const phantom_section *section, int32_t i, int32_t j)
{
    uint32_t h = phantom_hash(section->seed + 101, i, j);
    float x = ((float)i + 0.5f + (j & 1 ? 0.5f : 0.0f) + 0.27f * (2 * phantom_unit(h, 1) - 1)) * PHANTOM_HEPATOCYTE_X;
    float y = ((float)j + 0.5f + 0.27f * (2 * phantom_unit(h, 2) - 1)) * PHANTOM_HEPATOCYTE_Y;
    return (phantom_hepatocyte){x, y, h};
}

#endif
