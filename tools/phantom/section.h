/* section.h: one slide before it is painted: what was drawn for it (stains, scanner, how much of what), and what lies where.
 * Everything asked of a place depends on the place and the seeds alone. Lengths in um, the origin at the slide's top left corner.
 */
#ifndef CDU_TOOLS_PHANTOM_SECTION_H
#define CDU_TOOLS_PHANTOM_SECTION_H

#include <stdint.h>

#include "core/base/random.h"
#include "tools/phantom/assay.h"
#include "tools/phantom/map.h"

#define PHANTOM_MPP 0.5f

/* Scanner and stains, drawn without regard to class or assay. Stain 0 haematoxylin, 1 eosin, 2 and 3 the chromogens, 4 pigment,
 * 5 a pen's ink, 6 what is grey: dust, the rims of bubbles. */
enum { PHANTOM_COMPONENTS = 7, PHANTOM_FOLD_LIMIT = 3, PHANTOM_STRAY_LIMIT = 3 };
typedef enum { PHANTOM_PEN, PHANTOM_DUST, PHANTOM_BUBBLE } phantom_stray_kind;
typedef struct {
    int lab;
    float vector[PHANTOM_COMPONENTS][3]; /* optical density a unit, with the slide's strength in it */
    float haze[2];                       /* of each chromogen over all tissue */
    float body;                          /* haematoxylin that cell bodies and fibres take, a unit of protein */
    float white[3], blur, shift[3][2];   /* white point; px */
    float noise;                         /* factor of the sensor's deviation */
    int jpeg_quality;
    bool jpeg_subsampling;
} phantom_style;

typedef struct {
    const phantom_map *map;
    const phantom_assay *assay;
    uint32_t anatomy, seed; /* of the case: vessels, lobules; of the slide: cells and textures */
    float width, height;
    float shift_x, shift_y;                                               /* this section against the case's map */
    float gland_spacing, stroma, lining;                                  /* um */
    float steatosis, lipofuscin;                                          /* share of places with a fat vacuole, a pigment grain */
    float lymphocytes_margin, lymphocytes_stroma, lymphocytes_epithelium; /* a mm2 */
    float kupffer, macrophages_stroma, macrophages_ring, ring;            /* share of sinusoids' cells; a mm2; um wide */
    float capsule, scars;                                                 /* um; width of scars, 0: none */
    float debris;                                                         /* a mm2, at most */
    bool ghost_glands;
    struct phantom_cell_stain {
        float share, crowded, strength[2]; /* as in phantom_cell_mark, drawn for this slide */
        bool of_others;
    } cell[PHANTOM_CELL_KINDS][PHANTOM_CELL_PARTS][2];
    float site[PHANTOM_SITES][2];
    int strays; /* what lies on the glass */
    struct phantom_stray {
        phantom_stray_kind kind;
        float x, y, along_x, along_y, half, length, bend; /* um; a bubble's radius is `half` */
        uint32_t hash;
    } stray[PHANTOM_STRAY_LIMIT];
    int folds;
    struct phantom_fold {
        float x, y, along_x, along_y, half, length, bend;
    } fold[PHANTOM_FOLD_LIMIT];
    phantom_style style;
} phantom_section;

/* Draws a section. `index`: which of the case's sections it is. */
void phantom_section_draw(uint64_t case_seed, uint32_t index, const phantom_map *map, const phantom_assay *assay, float width,
                          float height, phantom_section *out);
/* Leaves the haematoxylin alone, without the other stains and what lies on the glass: what structure says without marks. */
void phantom_section_bare(phantom_section *section);

/* What is at a place. Fields that vary smoothly, so that painting may interpolate them. */
typedef struct {
    float tissue, tumor, necrosis; /* um to the border, positive inside, without the finest roughness */
    float vein, portal;            /* um to the wall of a central vein, to a portal tract; negative inside */
    float radial_x, radial_y;      /* away from the nearest central vein */
    float gland;                   /* um into a gland, negative in stroma */
    float lining;                  /* um: height of its epithelium */
    float scar;                    /* um to capsule or scar, negative inside */
    float tear;                    /* um to a tear, negative inside */
    float blood;                   /* positive in haemorrhage */
    float mucin;                   /* positive in a pool of mucin, outside of necrosis */
    float fat;                     /* positive among fat cells, outside of necrosis */
    float stray;                   /* um to pen, dust or bubble, negative inside; large where there is none */
    float density, chromatin;      /* regional factors, the same law for all classes */
    float thickness;               /* factor on all optical densities */
    float focus;                   /* 0 sharp .. 1 out of focus */
    float patch;                   /* 0 .. 1: patchiness of marks */
    float fold;                    /* um to a fold, negative inside; large where there is none */
} phantom_place;
enum { PHANTOM_PLACE_FIELDS = sizeof(phantom_place) / sizeof(float) };

void phantom_place_at(const phantom_section *section, float x, float y, phantom_place *place);

typedef enum { PHANTOM_BACKGROUND, PHANTOM_TISSUE, PHANTOM_TUMOR, PHANTOM_NECROSIS, PHANTOM_EXCLUDED = 255 } phantom_class;
/* The exact class of a place, its smooth fields given. */
phantom_class phantom_class_at(const phantom_section *section, const phantom_place *place, float x, float y);
/* The same without the finest roughness, as someone drawing by hand would see it. */
phantom_depths phantom_section_depths(const phantom_section *section, float x, float y);

typedef enum { PHANTOM_GLAND_OPEN, PHANTOM_GLAND_CRIBRIFORM, PHANTOM_GLAND_SOLID } phantom_gland_kind;
typedef struct {
    phantom_gland_kind kind;
    uint32_t hash;
    float depth, lining; /* as in phantom_place */
} phantom_gland;
/* um to a fold, negative inside, large where there is none. */
float phantom_artefact_at(const phantom_section *section, float x, float y);
/* The same for what lies on the glass: pen, dust, bubbles; over glass and tissue alike. `nearest`: which, or null. */
float phantom_stray_at(const phantom_section *section, float x, float y, const struct phantom_stray **nearest);
float phantom_tear_at(const phantom_section *section, float x, float y);
phantom_gland phantom_gland_at(const phantom_section *section, float x, float y);
/* um to the nearest lumen's border in a gland, negative in a lumen. */
float phantom_lumen_at(const phantom_section *section, const phantom_gland *gland, float depth, float x, float y);

typedef struct {
    float x, y, radius;
    uint32_t hash;
} phantom_round;
/* Small vessels of the tumor's stroma, in dead tumor too, where some keep a collar of living cells; for the square, as below. */
int phantom_capillaries_near(const phantom_section *section, float x0, float y0, float x1, float y1, phantom_round *out, int limit);
/* um from a small vessel within which cells live on in necrosis; 0: it has no collar. */
float phantom_collar(const phantom_round *capillary);
/* Portal tracts whose reach touches the square [x0, x1] x [y0, y1]; returns how many were written. */
int phantom_portals_near(const phantom_section *section, float x0, float y0, float x1, float y1, phantom_round *out, int limit);
/* um to the walls of a portal tract's vein, bile duct and artery, negative inside; the places are in the case's frame. */
typedef struct {
    float vein, duct, artery;
} phantom_portal_parts;
phantom_portal_parts phantom_portal_parts_at(const phantom_section *section, const phantom_round *portal, float x, float y);
phantom_round phantom_portal_duct(const phantom_round *portal);
/* A place of the section in the case's frame, where vessels and portal tracts stand; and back. */
void phantom_to_case(const phantom_section *section, float x, float y, float *case_x, float *case_y);
void phantom_from_case(const phantom_section *section, float case_x, float case_y, float *x, float *y);
/* Distance to a portal tract's border, negative inside. */
float phantom_portal_distance(const phantom_section *section, const phantom_round *portal, float x, float y);

#endif
