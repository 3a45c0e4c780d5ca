/* assay.c: the table of assays and of stain vectors. Vectors: haematoxylin, eosin, DAB from Ruifrok and Johnston (2001); Fast Red
 * and AEC from Landini's colour deconvolution plugin; purple and yellow are set from absorption peaks near 550 and 430 nm. */
#include "tools/phantom/assay.h"

#include <math.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* CEA: the luminal border strongest, the cytoplasm in patches, dead tumor too, canaliculi of the liver on half of the slides. */
static const phantom_site_mark cea_sites[] = {
    {PHANTOM_LUMINAL_BORDER, 0, {0.8f, 1.2f}, 1},  {PHANTOM_TUMOR_CYTOPLASM, 0, {0.1f, 0.8f}, 1},
    {PHANTOM_DEBRIS, 0, {0.3f, 0.6f}, 1},          {PHANTOM_DEAD_MATRIX, 0, {0.15f, 0.45f}, 1},
    {PHANTOM_CANALICULUS, 0, {0.2f, 0.35f}, 0.5f},
};

static const phantom_cell_mark ki67_cd3_cells[] = {
    {PHANTOM_TUMOR_CELL, PHANTOM_IN_NUCLEUS, 0, {0.2f, 0.8f}, {0.5f, 1.2f}},
    {PHANTOM_HEPATOCYTE, PHANTOM_IN_NUCLEUS, 0, {0.005f, 0.03f}, {0.4f, 1.0f}},
    {PHANTOM_FIBROBLAST, PHANTOM_IN_NUCLEUS, 0, {0.01f, 0.06f}, {0.4f, 1.0f}},
    {PHANTOM_DUCT_CELL, PHANTOM_IN_NUCLEUS, 0, {0.02f, 0.08f}, {0.4f, 1.0f}},
    {PHANTOM_LYMPHOCYTE, PHANTOM_IN_NUCLEUS, 0, {0.1f, 0.3f}, {0.5f, 1.1f}},
    {PHANTOM_LYMPHOCYTE, PHANTOM_ON_MEMBRANE, 1, {0.55f, 0.8f}, {0.6f, 1.1f}},
};

const phantom_assay phantom_assays[] = {
    {.name = "he", .title = "H&E", .eosin = true, .counterstain = 1},
    {.name = "cea",
     .title = "CEA",
     .counterstain = 0.5f,
     .chromogens = {PHANTOM_DAB},
     .sites = cea_sites,
     .site_count = COUNT(cea_sites)},
    {.name = "ki67-cd3",
     .title = "Ki67/CD3",
     .counterstain = 0.5f,
     .chromogens = {PHANTOM_DAB, PHANTOM_RED},
     .cells = ki67_cd3_cells,
     .cell_count = COUNT(ki67_cd3_cells)},
};
const size_t phantom_assay_count = COUNT(phantom_assays);

const phantom_assay *phantom_assay_find(const char *name)
{
    for (size_t i = 0; i < phantom_assay_count; i++) {
        if (strcmp(phantom_assays[i].name, name) == 0) return &phantom_assays[i];
    }
    return NULL;
}

void phantom_stain_vector(phantom_stain stain, int lab, float vector[3])
{
    static const float table[PHANTOM_STAINS][3] = {
        [PHANTOM_NO_STAIN] = {0, 0, 0},          [PHANTOM_HAEMATOXYLIN] = {.650f, .704f, .286f},
        [PHANTOM_EOSIN] = {.093f, .954f, .283f}, [PHANTOM_DAB] = {.268f, .570f, .776f},
        [PHANTOM_RED] = {.214f, .851f, .478f},   [PHANTOM_PURPLE] = {.36f, .86f, .36f},
        [PHANTOM_YELLOW] = {.03f, .15f, .99f},
    };
    static const float aec[3] = {.274f, .680f, .680f};
    const float *v = stain == PHANTOM_RED && lab == 2 ? aec : table[stain];
    float length = sqrtf(v[0] * v[0] + v[1] * v[1] + v[2] * v[2]);
    for (int k = 0; k < 3; k++) vector[k] = length > 0 ? v[k] / length : 0;
}
