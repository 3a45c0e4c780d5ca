/* assay.c: the table of assays and of stain vectors. Vectors: haematoxylin, eosin, DAB from Ruifrok and Johnston (2001); Fast Red
 * and AEC from Landini's colour deconvolution plugin; purple and yellow are set from absorption peaks near 550 and 430 nm. */
#include "tools/phantom/assay.h"

#include <math.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define MARK(of, where, which) .cell = PHANTOM_##of, .part = PHANTOM_##where, .chromogen = (which)

/* CEA: the luminal border strongest, the cytoplasm in patches, dead tumor too, canaliculi of the liver on half of the slides. */
static const phantom_site_mark cea_sites[] = {
    {PHANTOM_LUMINAL_BORDER, 0, {0.8f, 1.2f}, 1},  {PHANTOM_TUMOR_CYTOPLASM, 0, {0.1f, 0.8f}, 1},
    {PHANTOM_DEBRIS, 0, {0.3f, 0.6f}, 1},          {PHANTOM_DEAD_MATRIX, 0, {0.15f, 0.45f}, 1},
    {PHANTOM_CANALICULUS, 0, {0.2f, 0.35f}, 0.5f},
};

static const phantom_cell_mark ki67_cd3_cells[] = {
    {MARK(TUMOR_CELL, IN_NUCLEUS, 0), .share = {0.2f, 0.8f}, .strength = {0.5f, 1.2f}},
    {MARK(HEPATOCYTE, IN_NUCLEUS, 0), .share = {0.005f, 0.03f}, .strength = {0.4f, 1.0f}},
    {MARK(FIBROBLAST, IN_NUCLEUS, 0), .share = {0.01f, 0.06f}, .strength = {0.4f, 1.0f}},
    {MARK(DUCT_CELL, IN_NUCLEUS, 0), .share = {0.02f, 0.08f}, .strength = {0.4f, 1.0f}},
    {MARK(LYMPHOCYTE, IN_NUCLEUS, 0), .share = {0.1f, 0.3f}, .strength = {0.5f, 1.1f}},
    {MARK(LYMPHOCYTE, ON_MEMBRANE, 1), .share = {0.55f, 0.8f}, .strength = {0.6f, 1.1f}},
};

/* Macrophages: lining the liver's sinusoids, in stroma, in a dense ring at necrosis. */
static const phantom_cell_mark cd163_cd68_cells[] = {
    {MARK(MACROPHAGE, IN_BODY, 0), .share = {0.7f, 0.95f}, .strength = {0.3f, 0.8f}},
    {MARK(MACROPHAGE, ON_MEMBRANE, 0), .share = {0.7f, 0.95f}, .strength = {0.2f, 0.5f}},
    {MARK(MACROPHAGE, IN_BODY, 1), .share = {0.4f, 0.8f}, .strength = {0.3f, 0.8f}},
};

/* CD8 cells are T cells: a brown ring stands on a red one. */
static const phantom_cell_mark cd8_cd3_cells[] = {
    {MARK(LYMPHOCYTE, ON_MEMBRANE, 1), .share = {0.55f, 0.8f}, .strength = {0.5f, 1.0f}},
    {MARK(LYMPHOCYTE, ON_MEMBRANE, 0), .share = {0.2f, 0.45f}, .strength = {0.6f, 1.1f}, .of_others = true},
};

static const phantom_cell_mark foxp3_cells[] = {
    {MARK(LYMPHOCYTE, IN_NUCLEUS, 0), .share = {0.02f, 0.08f}, .strength = {0.6f, 1.1f}},
};

static const phantom_cell_mark ki67_cd8_cells[] = {
    {MARK(TUMOR_CELL, IN_NUCLEUS, 0), .share = {0.2f, 0.8f}, .strength = {0.4f, 1.0f}},
    {MARK(HEPATOCYTE, IN_NUCLEUS, 0), .share = {0.005f, 0.03f}, .strength = {0.3f, 0.9f}},
    {MARK(FIBROBLAST, IN_NUCLEUS, 0), .share = {0.01f, 0.06f}, .strength = {0.3f, 0.9f}},
    {MARK(DUCT_CELL, IN_NUCLEUS, 0), .share = {0.02f, 0.08f}, .strength = {0.3f, 0.9f}},
    {MARK(LYMPHOCYTE, IN_NUCLEUS, 0), .share = {0.1f, 0.3f}, .strength = {0.4f, 1.0f}},
    {MARK(LYMPHOCYTE, ON_MEMBRANE, 1), .share = {0.2f, 0.45f}, .strength = {0.8f, 1.2f}},
};

/* Perforin lies in granules of some T cells. */
static const phantom_cell_mark prf_cd3_cells[] = {
    {MARK(LYMPHOCYTE, ON_MEMBRANE, 1), .share = {0.55f, 0.8f}, .strength = {0.5f, 1.0f}},
    {MARK(LYMPHOCYTE, IN_GRANULES, 0), .share = {0.01f, 0.05f}, .strength = {0.7f, 1.2f}, .of_others = true},
};

static const phantom_cell_mark pd1_cells[] = {
    {MARK(LYMPHOCYTE, ON_MEMBRANE, 0), .share = {0.05f, 0.3f}, .strength = {0.4f, 1.0f}, .crowded = {0.4f, 0.7f}},
};

#define CELLS(marks) .cells = (marks), .cell_count = COUNT(marks)

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
     CELLS(ki67_cd3_cells)},
    {.name = "cd163-cd68",
     .title = "CD163/CD68",
     .counterstain = 0.5f,
     .chromogens = {PHANTOM_DAB, PHANTOM_RED},
     CELLS(cd163_cd68_cells)},
    {.name = "cd8-cd3", .title = "CD8/CD3", .counterstain = 0.5f, .chromogens = {PHANTOM_DAB, PHANTOM_RED}, CELLS(cd8_cd3_cells)},
    {.name = "foxp3", .title = "FoxP3", .counterstain = 0.5f, .chromogens = {PHANTOM_DAB}, CELLS(foxp3_cells)},
    {.name = "ki67-cd8",
     .title = "Ki67/CD8",
     .counterstain = 0.5f,
     .chromogens = {PHANTOM_PURPLE, PHANTOM_YELLOW},
     CELLS(ki67_cd8_cells)},
    {.name = "prf-cd3", .title = "PRF/CD3", .counterstain = 0.5f, .chromogens = {PHANTOM_DAB, PHANTOM_RED}, CELLS(prf_cd3_cells)},
    {.name = "pd1", .title = "PD1", .counterstain = 0.5f, .chromogens = {PHANTOM_DAB}, CELLS(pd1_cells)},
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
