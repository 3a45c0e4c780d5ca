/* assay.h: what each assay stains. An assay is a row: its counterstain, its chromogens, and marks that say which part of which
 * cell, or which place, takes how much of them. A new assay is a new row and its marks. */
#ifndef CDU_TOOLS_PHANTOM_ASSAY_H
#define CDU_TOOLS_PHANTOM_ASSAY_H

#include <stdbool.h>
#include <stddef.h>

typedef enum {
    PHANTOM_HEPATOCYTE,
    PHANTOM_TUMOR_CELL,
    PHANTOM_LYMPHOCYTE,
    PHANTOM_MACROPHAGE,
    PHANTOM_ENDOTHELIUM,
    PHANTOM_FIBROBLAST,
    PHANTOM_DUCT_CELL,
    PHANTOM_CELL_KINDS
} phantom_cell_kind;

typedef enum {
    PHANTOM_IN_NUCLEUS,
    PHANTOM_ON_MEMBRANE,
    PHANTOM_IN_BODY,
    PHANTOM_IN_GRANULES,
    PHANTOM_CELL_PARTS
} phantom_cell_part;

typedef enum {
    PHANTOM_LUMINAL_BORDER,
    PHANTOM_TUMOR_CYTOPLASM,
    PHANTOM_DEBRIS,
    PHANTOM_DEAD_MATRIX,
    PHANTOM_CANALICULUS,
    PHANTOM_SITES
} phantom_site;

typedef enum {
    PHANTOM_NO_STAIN,
    PHANTOM_HAEMATOXYLIN,
    PHANTOM_EOSIN,
    PHANTOM_DAB,
    PHANTOM_RED,
    PHANTOM_PURPLE,
    PHANTOM_YELLOW,
    PHANTOM_STAINS
} phantom_stain;

typedef struct {
    phantom_cell_kind cell;
    phantom_cell_part part;
    int chromogen;               /* 0 or 1: which of the assay's */
    float share[2], strength[2]; /* least and most: of such cells marked (drawn a slide); optical density */
    bool of_others;              /* only cells that carry the ring of chromogen 1; `share` is still of all such cells */
    float crowded[2];            /* the share amid a heap of lymphocytes; 0, 0: the same as elsewhere */
} phantom_cell_mark;

typedef struct {
    phantom_site site;
    int chromogen;
    float strength[2];
    float slides; /* share of the slides that show it */
} phantom_site_mark;

typedef struct {
    const char *name, *title; /* on the command line and in file names; in reports */
    bool eosin;
    float counterstain; /* haematoxylin, relative to H&E */
    phantom_stain chromogens[2];
    const phantom_cell_mark *cells;
    size_t cell_count;
    const phantom_site_mark *sites;
    size_t site_count;
} phantom_assay;

extern const phantom_assay phantom_assays[];
extern const size_t phantom_assay_count;
/* Null where no row has that name. */
const phantom_assay *phantom_assay_find(const char *name);

/* Optical density per channel (R, G, B) of one unit, length 1. Lab 2 has AEC for its red. */
void phantom_stain_vector(phantom_stain stain, int lab, float vector[3]);

#endif
