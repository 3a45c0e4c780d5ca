/* ground.c: what has no outline of its own, pixel by pixel: hepatocytes' bodies and sinusoids, vessels, portal tracts, glands'
 * epithelium and lumens, fibres, dead matrix, holes. One grain runs over everything: no class has a texture of its own making. */
#include <math.h>
#include <string.h>

#include "tools/phantom/paint.h"

enum { NODE = 8, NODES = PHANTOM_SIDE / NODE + 3, PORTAL_LIMIT = 12, HEPATOCYTE_LIMIT = 400 };

typedef struct {
    const phantom_section *section;
    phantom_tile *tile;
    phantom_place nodes[NODES * NODES];
    int32_t node_x, node_y; /* index of the first node */
    phantom_round portals[PORTAL_LIMIT];
    int portal_count;
    phantom_hepatocyte hepatocytes[HEPATOCYTE_LIMIT];
    int32_t hep_i, hep_j, hep_columns;
    float x, y;          /* the pixel's centre, um */
    float grain, coarse; /* textures there, -1 .. 1 */
    size_t at;
} painter;

typedef struct {
    float haematoxylin, protein, mark[2];
} paint;

float phantom_sinusoid(uint32_t a, uint32_t b, float nx, float ny, float radial_x, float radial_y)
{
    float across = fabsf(nx * radial_x + ny * radial_y), u = phantom_unit(a ^ b, 9);
    if (u < 0.16f) return 0;
    return (1.6f + 2.4f * u) * phantom_step(0.97f, 0.45f, across);
}

static float edge(float signed_distance)
{
    return phantom_clamp(0.5f + signed_distance * 1.6f, 0, 1);
}

/* Fibres along the lines of equal `along` (um), wavy: 0 .. 1. */
static float fibres(const painter *p, float along, uint32_t salt)
{
    float wave = 5 * phantom_noise(p->section->seed + 201, p->x / 34, p->y / 34);
    float f = phantom_noise3(p->section->seed + salt, (along + wave) / 3.0f, p->x / 30, p->y / 30);
    return 0.5f + 0.5f * f;
}

static paint collagen(const painter *p, float along, uint32_t salt)
{
    float f = fibres(p, along, salt), gap = phantom_step(0.30f, 0.16f, f) * phantom_step(-0.1f, 0.5f, p->coarse);
    paint c = {.haematoxylin = 0.03f, .protein = (0.15f + 0.25f * f + 0.05f * p->grain) * (1 - 0.85f * gap)};
    return c;
}

static void mix_paint(paint *onto, paint over, float share)
{
    onto->haematoxylin += (over.haematoxylin - onto->haematoxylin) * share;
    onto->protein += (over.protein - onto->protein) * share;
    for (int k = 0; k < 2; k++) onto->mark[k] += (over.mark[k] - onto->mark[k]) * share;
}

static void add_site(const painter *p, paint *c, phantom_site site, float amount)
{
    for (int k = 0; k < 2; k++) c->mark[k] += p->section->site[site][k] * amount;
}

static paint liver(const painter *p, const phantom_place *place)
{
    int32_t j0 = phantom_floor(p->y / PHANTOM_HEPATOCYTE_Y);
    const phantom_hepatocyte *near[9], *self = NULL;
    float best = 1e9f;
    int count = 0;
    for (int32_t j = j0 - 1; j <= j0 + 1; j++) {
        int32_t i0 = phantom_floor(p->x / PHANTOM_HEPATOCYTE_X - (j & 1 ? 0.5f : 0.0f));
        for (int32_t i = i0 - 1; i <= i0 + 1; i++) {
            const phantom_hepatocyte *h = &p->hepatocytes[(j - p->hep_j) * p->hep_columns + i - p->hep_i];
            float dx = h->x - p->x, dy = h->y - p->y, d = dx * dx + dy * dy;
            near[count++] = h;
            if (d < best) {
                best = d;
                self = h;
            }
        }
    }
    float inside = 1e9f, touching = 1e9f;
    for (int k = 0; k < count; k++) {
        const phantom_hepatocyte *h = near[k];
        if (h == self) continue;
        float nx = h->x - self->x, ny = h->y - self->y, length = sqrtf(nx * nx + ny * ny);
        nx /= length;
        ny /= length;
        float e = (0.5f * (h->x + self->x) - p->x) * nx + (0.5f * (h->y + self->y) - p->y) * ny;
        float w = phantom_sinusoid(self->hash, h->hash, nx, ny, place->radial_x, place->radial_y);
        if (w < 0.7f) touching = fminf(touching, e);
        float d = e - w, t = phantom_clamp(0.5f + (inside - d) / 5, 0, 1);
        inside = inside > 1e8f ? d : inside + (d - inside) * t - 2.5f * t * (1 - t);
    }
    float body = edge(inside + 0.5f * p->grain), tone = 0.24f + 0.12f * phantom_unit(self->hash, 3);
    paint c = {.haematoxylin = 0.02f + 0.07f * body * (0.7f + 0.5f * p->coarse)};
    c.protein = body * tone * (1 + 0.30f * p->grain + 0.22f * p->coarse) + (1 - body) * 0.05f;
    c.protein += 0.10f * phantom_step(1.3f, 0.2f, touching) * body + 0.10f * phantom_step(1.2f, 0.3f, fabsf(inside + 0.6f));
    add_site(p, &c, PHANTOM_CANALICULUS,
             phantom_step(1.0f, 0.4f, touching) * phantom_step(0.3f, 0.6f, place->patch) * phantom_step(-0.3f, 0.1f, p->coarse));
    return c;
}

static paint portal(const painter *p, const phantom_place *place)
{
    paint c = collagen(p, place->portal, 203);
    float x, y;
    phantom_to_case(p->section, p->x, p->y, &x, &y);
    for (int n = 0; n < p->portal_count; n++) {
        const phantom_round *t = &p->portals[n];
        if ((x - t->x) * (x - t->x) + (y - t->y) * (y - t->y) > 240 * 240) continue;
        phantom_portal_parts parts = phantom_portal_parts_at(p->section, t, x, y);
        mix_paint(&c, (paint){.protein = 0.02f}, edge(-parts.vein));
        mix_paint(&c, (paint){.haematoxylin = 0.06f, .protein = 0.27f * (1 + 0.2f * p->grain)}, edge(-parts.duct));
        mix_paint(&c, (paint){.protein = 0.02f}, edge(-parts.duct - 9));
        mix_paint(&c, (paint){.haematoxylin = 0.02f, .protein = 0.45f * (1 + 0.2f * p->grain)}, edge(-parts.artery));
        mix_paint(&c, (paint){.protein = 0.02f}, edge(-parts.artery - 5));
    }
    return c;
}

static paint tumor(const painter *p, const phantom_place *place)
{
    phantom_gland gland = {.lining = place->lining, .depth = place->gland};
    if (place->gland < -3) {
        paint c = collagen(p, place->gland + 30 * phantom_noise(p->section->seed + 207, p->x / 110, p->y / 110), 208);
        return c;
    }
    gland = phantom_gland_at(p->section, p->x, p->y);
    float depth = gland.depth, lumen = phantom_lumen_at(p->section, &gland, depth, p->x, p->y);
    float streak = phantom_noise(p->section->seed + 209, p->x / 5, p->y / 5);
    paint c = {.haematoxylin = 0.10f + 0.05f * p->coarse,
               .protein = 0.23f * (1 + 0.26f * p->grain + 0.18f * p->coarse + 0.15f * streak)};
    c.protein += 0.14f * phantom_step(2.2f, 0.4f, lumen);
    float patchy = phantom_clamp(0.25f + 0.9f * place->patch + 0.4f * (phantom_unit(gland.hash, 21) - 0.5f), 0, 1.2f);
    add_site(p, &c, PHANTOM_TUMOR_CYTOPLASM, patchy * (0.75f + 0.25f * streak + 0.2f * p->grain));
    add_site(p, &c, PHANTOM_LUMINAL_BORDER, phantom_step(2.2f, 0.8f, lumen) * (0.5f + 0.6f * patchy));
    /* the lumen: white, mucin, or debris */
    paint inside = {.protein = 0.01f};
    float content = phantom_unit(gland.hash, 22);
    if (content > 0.75f && lumen < 0) {
        float strands = phantom_step(0.15f, 0.0f, fabsf(phantom_fractal(p->section->seed + 211, p->x / 16, p->y / 16, 3)));
        inside.haematoxylin = 0.05f + 0.12f * strands;
        inside.protein = 0.05f + 0.10f * strands;
        add_site(p, &inside, PHANTOM_DEBRIS, 0.4f * strands);
    } else if (content > 0.45f && lumen < 0) {
        float clump = phantom_step(-0.15f, 0.35f,
                                   phantom_fractal(p->section->seed + 212, p->x / 15, p->y / 15, 3) - 0.2f +
                                       phantom_step(-3, -14, lumen) * 0.4f);
        inside.protein = 0.03f + clump * 0.42f * (1 + 0.35f * p->grain);
        inside.haematoxylin = clump * (0.08f + 0.08f * p->coarse);
        add_site(p, &inside, PHANTOM_DEBRIS, clump);
    }
    mix_paint(&c, inside, edge(-lumen));
    /* stroma up to the base; here and there the gland has shrunk away from it */
    paint stroma = collagen(p, place->gland + 30 * phantom_noise(p->section->seed + 207, p->x / 110, p->y / 110), 208);
    float cleft = phantom_step(0.25f, 0.45f, phantom_noise(p->section->seed + 213, p->x / 70, p->y / 70)) *
                  phantom_step(2.5f, 1.0f, fabsf(depth + 1.6f));
    mix_paint(&c, stroma, edge(-depth));
    mix_paint(&c, (paint){.protein = 0.01f}, 0.9f * cleft);
    return c;
}

/* Bodies of dead cells: 1 within one, 0 between; `tone` of the nearest. */
static float dead_cells(const painter *p, float *tone)
{
    float spacing = 12.5f, best = 1e9f, radius = 5;
    int32_t i0 = phantom_floor(p->x / spacing), j0 = phantom_floor(p->y / spacing);
    for (int32_t j = j0 - 1; j <= j0 + 1; j++) {
        for (int32_t i = i0 - 1; i <= i0 + 1; i++) {
            uint32_t h = phantom_hash(p->section->seed + 226, i, j);
            float dx = p->x - ((float)i + phantom_unit(h, 1)) * spacing, dy = p->y - ((float)j + phantom_unit(h, 2)) * spacing;
            float d = dx * dx + dy * dy;
            if (d >= best) continue;
            best = d;
            *tone = phantom_unit(h, 3);
            radius = 3.5f + 4 * phantom_unit(h, 4);
        }
    }
    return phantom_step(radius + 1.6f, radius - 0.8f, sqrtf(best) + 1.2f * p->coarse);
}

static paint dead(const painter *p, const phantom_place *place)
{
    float lumps = phantom_fractal(p->section->seed + 221, p->x / 23, p->y / 23, 3),
          slow = phantom_noise(p->section->seed + 222, p->x / 95, p->y / 95);
    float solid = phantom_step(-0.36f, 0.0f, lumps + 0.55f * slow + 0.12f), tone = 0;
    /* where it is not granular through and through, bodies of dead cells lie apart */
    float shape = dead_cells(p, &tone),
          apart = phantom_step(-0.25f, 0.30f, phantom_noise(p->section->seed + 225, p->x / 75, p->y / 75));
    solid *= 1 - 0.8f * apart * (1 - shape);
    tone = phantom_mix(0.45f, tone, apart * shape);
    float strands = phantom_step(0.12f, 0.02f, fabsf(phantom_noise(p->section->seed + 223, p->x / 11, p->y / 11)));
    float grain = 0.30f * p->grain + 0.16f * p->coarse;
    paint c = {.protein =
                   (0.04f + 0.29f * solid * (0.75f + 0.5f * tone)) * (1 + grain + 0.4f * slow) + 0.12f * strands * (1 - solid)};
    c.haematoxylin = (0.02f + 0.08f * solid * tone) * (1 + 0.8f * p->coarse) + 0.05f * phantom_clamp(slow, 0, 1);
    if (p->section->ghost_glands && place->gland < 2) {
        paint stroma = collagen(p, place->gland, 224);
        mix_paint(&c, stroma, 0.45f * edge(-place->gland));
    }
    add_site(p, &c, PHANTOM_DEAD_MATRIX, (0.35f + 0.65f * solid) * (0.1f + 1.3f * place->patch) * (1 + 0.3f * p->grain));
    return c;
}

/* Lumen and wall of small vessels; around some in necrosis, living cells. */
static void capillaries(const painter *p, const phantom_place *place, bool in_dead, paint *c)
{
    for (int n = 0; n < p->tile->capillary_count; n++) {
        const phantom_round *v = &p->tile->capillaries[n];
        float dx = p->x - v->x, dy = p->y - v->y, reach = v->radius + 60;
        if (dx * dx + dy * dy > reach * reach) continue;
        float d = sqrtf(dx * dx + dy * dy) - v->radius + 1.5f * phantom_noise(p->section->seed + 241, p->x / 9, p->y / 9);
        float collar = in_dead ? phantom_collar(v) : 0;
        if (collar > 0 && d < collar) {
            paint alive = {.haematoxylin = 0.10f + 0.05f * p->coarse, .protein = 0.24f * (1 + 0.26f * p->grain)};
            add_site(p, &alive, PHANTOM_TUMOR_CYTOPLASM, place->patch);
            mix_paint(c, alive, edge((collar - v->radius - d + 5 * p->coarse) * 0.2f));
        }
        mix_paint(c, (paint){.haematoxylin = 0.02f, .protein = 0.34f}, edge(2.2f - d));
        mix_paint(c, (paint){.protein = 0.02f}, edge(-d));
    }
}

/* Pale blue strands in clear jelly. */
static paint mucin(const painter *p)
{
    float strands = phantom_step(0.18f, 0.0f, fabsf(phantom_fractal(p->section->seed + 243, p->x / 22, p->y / 22, 3)));
    return (paint){.haematoxylin = 0.05f + 0.12f * strands, .protein = 0.04f + 0.09f * strands};
}

/* Fat cells: round and empty, 30 to 60 um, thin walls between them. */
static paint fat(const painter *p)
{
    const float spacing = 44;
    float nearest = 1e9f, second = 1e9f;
    int32_t i0 = phantom_floor(p->x / spacing), j0 = phantom_floor(p->y / spacing);
    for (int32_t j = j0 - 1; j <= j0 + 1; j++) {
        for (int32_t i = i0 - 1; i <= i0 + 1; i++) {
            uint32_t h = phantom_hash(p->section->seed + 244, i, j);
            float dx = p->x - ((float)i + 0.15f + 0.7f * phantom_unit(h, 1)) * spacing,
                  dy = p->y - ((float)j + 0.15f + 0.7f * phantom_unit(h, 2)) * spacing, d = sqrtf(dx * dx + dy * dy);
            second = fminf(second, fmaxf(d, nearest));
            nearest = fminf(nearest, d);
        }
    }
    float wall = phantom_step(2.6f, 1.0f, 0.5f * (second - nearest) + 0.4f * p->coarse);
    return (paint){.haematoxylin = 0.03f * wall, .protein = 0.01f + 0.24f * wall};
}

/* Ink in uneven strokes; dust is dark; a bubble has a dark rim and blurs what lies under it. */
static void paint_stray(painter *p)
{
    phantom_tile *t = p->tile;
    const struct phantom_stray *f = NULL;
    float d = phantom_stray_at(p->section, p->x, p->y, &f);
    if (!f) return;
    if (f->kind == PHANTOM_PEN) {
        float streak = phantom_noise(f->hash + 1, (p->x * f->along_y - p->y * f->along_x) / 9, (p->x + p->y) / 160);
        t->ink[p->at] = edge(-0.15f * d) * (0.75f + 0.3f * streak);
    } else if (f->kind == PHANTOM_DUST) {
        t->grey[p->at] = edge(-0.4f * d) * (0.9f + 0.4f * phantom_noise(f->hash + 1, p->x / 5, p->y / 5));
    } else {
        t->grey[p->at] = 0.55f * phantom_step(5.5f, 1.0f, fabsf(d + 4));
        t->focus[p->at] = fmaxf(t->focus[p->at], 0.7f * edge(-0.3f * d));
    }
}

static void paint_pixel(painter *p, const phantom_place *place)
{
    phantom_tile *t = p->tile;
    const phantom_section *s = p->section;
    phantom_class class_of = phantom_class_at(s, place, p->x, p->y);
    t->class_of[p->at] = (uint8_t)class_of;
    t->thickness[p->at] = place->thickness * (place->fold < 2 ? 1 + 0.8f * edge(-place->fold * 0.5f) : 1);
    t->focus[p->at] = place->focus;
    if (place->stray < 10) paint_stray(p);
    if (place->tissue < -4) return;
    p->grain = phantom_noise(s->seed + 231, p->x / 1.7f, p->y / 1.7f);
    p->coarse = phantom_noise(s->seed + 232, p->x / 4.5f, p->y / 4.5f);
    float rough = 1.6f * phantom_noise(s->anatomy + 31, p->x / 6, p->y / 6);
    float present = edge(place->tissue + rough), in_tumor = edge((place->tumor + rough) * 0.4f),
          in_dead = edge((place->necrosis + rough) * 0.1f);
    paint c = {0};
    if (in_tumor < 1) {
        c = place->portal < 1 ? portal(p, place) : liver(p, place);
        if (place->portal < 1 && place->portal > -1) mix_paint(&c, liver(p, place), edge(place->portal));
        if (place->vein < 5) {
            paint wall = collagen(p, place->vein, 233), lumen = {.protein = 0.015f};
            mix_paint(&c, wall, edge(4.0f - place->vein));
            mix_paint(&c, lumen, edge(-place->vein));
        }
        if (place->scar < 1) mix_paint(&c, collagen(p, place->scar, 234), edge(-place->scar * 0.5f));
    }
    if (in_tumor > 0 && in_dead < 1) {
        paint alive = tumor(p, place);
        if (place->scar < 1) mix_paint(&alive, collagen(p, place->scar, 234), edge(-place->scar * 0.5f));
        mix_paint(&c, alive, in_tumor);
    }
    if (place->mucin > 0) mix_paint(&c, mucin(p), 0.95f * phantom_step(0, 0.04f, place->mucin));
    if (place->fat > 0) mix_paint(&c, fat(p), phantom_step(0, 0.03f, place->fat));
    if (in_dead > 0) mix_paint(&c, dead(p, place), in_dead * in_tumor);
    if (in_tumor >= 1) capillaries(p, place, in_dead >= 1, &c);
    if (place->blood > 0) mix_paint(&c, (paint){.protein = 0.12f}, 0.8f * phantom_step(0, 0.08f, place->blood));
    float hole = place->tear < 12 ? edge(-phantom_tear_at(s, p->x, p->y)) : 0;
    mix_paint(&c, (paint){0}, hole);
    float solid = phantom_clamp(c.protein / 0.25f, 0, 1.2f),
          twice = 1 + fmaxf(in_dead * in_tumor, phantom_step(22, 4, place->tissue));
    for (int k = 0; k < 2; k++) c.mark[k] += s->style.haze[k] * solid * twice;
    float chromatin = place->chromatin * present;
    t->haematoxylin[p->at] = fmaxf(c.haematoxylin, 0) * chromatin;
    t->protein[p->at] = fmaxf(c.protein, 0) * present;
    for (int k = 0; k < 2; k++) t->mark[k][p->at] = fmaxf(c.mark[k], 0) * present;
}

static void find_nodes(painter *p)
{
    phantom_tile *t = p->tile;
    p->node_x = phantom_floor((float)t->x0 / NODE);
    p->node_y = phantom_floor((float)t->y0 / NODE);
    t->empty = true;
    for (int32_t j = 0; j < NODES; j++) {
        for (int32_t i = 0; i < NODES; i++) {
            phantom_place *node = &p->nodes[j * NODES + i];
            phantom_place_at(p->section, (float)(p->node_x + i) * NODE * PHANTOM_MPP, (float)(p->node_y + j) * NODE * PHANTOM_MPP,
                             node);
            if (node->tissue > -12) t->empty = false;
        }
    }
}

static void find_hepatocytes(painter *p)
{
    float x0 = (float)p->tile->x0 * PHANTOM_MPP, y0 = (float)p->tile->y0 * PHANTOM_MPP, side = PHANTOM_SIDE * PHANTOM_MPP;
    p->hep_i = phantom_floor(x0 / PHANTOM_HEPATOCYTE_X) - 2;
    p->hep_j = phantom_floor(y0 / PHANTOM_HEPATOCYTE_Y) - 2;
    p->hep_columns = (int32_t)(side / PHANTOM_HEPATOCYTE_X) + 6;
    int32_t rows = (int32_t)(side / PHANTOM_HEPATOCYTE_Y) + 6;
    for (int32_t j = 0; j < rows; j++) {
        for (int32_t i = 0; i < p->hep_columns; i++) {
            p->hepatocytes[j * p->hep_columns + i] = phantom_hepatocyte_at(p->section, p->hep_i + i, p->hep_j + j);
        }
    }
}

void phantom_paint_ground(const phantom_section *section, phantom_tile *tile)
{
    painter p = {.section = section, .tile = tile};
    size_t bytes = PHANTOM_AREA * sizeof(float);
    memset(tile->haematoxylin, 0, bytes);
    memset(tile->protein, 0, bytes);
    memset(tile->mark, 0, 2 * bytes);
    memset(tile->pigment, 0, bytes);
    memset(tile->ink, 0, bytes);
    memset(tile->grey, 0, bytes);
    tile->capillary_count = 0;
    find_nodes(&p);
    if (!tile->empty) {
        float x0 = (float)tile->x0 * PHANTOM_MPP, y0 = (float)tile->y0 * PHANTOM_MPP, side = PHANTOM_SIDE * PHANTOM_MPP;
        find_hepatocytes(&p);
        tile->capillary_count =
            phantom_capillaries_near(section, x0, y0, x0 + side, y0 + side, tile->capillaries, PHANTOM_CAPILLARIES);
        float cx, cy;
        phantom_to_case(section, x0 + 0.5f * side, y0 + 0.5f * side, &cx, &cy);
        p.portal_count = phantom_portals_near(section, cx - 120, cy - 120, cx + 120, cy + 120, p.portals, PORTAL_LIMIT);
    }
    for (int32_t y = 0; y < PHANTOM_SIDE; y++) {
        float fy = (float)(tile->y0 + y) / NODE - (float)p.node_y;
        int32_t j = (int32_t)fy;
        float v = fy - (float)j;
        float rows[NODES][PHANTOM_PLACE_FIELDS];
        for (int32_t i = 0; i < NODES; i++) {
            const float *a = (const float *)&p.nodes[j * NODES + i], *b = (const float *)&p.nodes[(j + 1) * NODES + i];
            for (int k = 0; k < PHANTOM_PLACE_FIELDS; k++) rows[i][k] = phantom_mix(a[k], b[k], v);
        }
        p.y = ((float)(tile->y0 + y) + 0.5f) * PHANTOM_MPP;
        for (int32_t x = 0; x < PHANTOM_SIDE; x++) {
            float fx = (float)(tile->x0 + x) / NODE - (float)p.node_x;
            int32_t i = (int32_t)fx;
            float u = fx - (float)i;
            phantom_place place;
            float *fields = (float *)&place;
            for (int k = 0; k < PHANTOM_PLACE_FIELDS; k++) fields[k] = phantom_mix(rows[i][k], rows[i + 1][k], u);
            p.x = ((float)(tile->x0 + x) + 0.5f) * PHANTOM_MPP;
            p.at = (size_t)y * PHANTOM_SIDE + (size_t)x;
            paint_pixel(&p, &place);
        }
    }
}
