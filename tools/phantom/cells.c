/* cells.c: what has an outline: nuclei of every kind, red cells, vacuoles, pigment, ghosts and debris. Each kind stands on a
 * jittered lattice of its own; a place of the lattice draws from its hash whether something stands there, and asks the section what
 * is around. */
#include <math.h>

#include "tools/phantom/paint.h"

typedef struct {
    const phantom_section *section;
    phantom_tile *tile;
    float x0, y0, x1, y1; /* um painted, with the reach of the largest cell around */
} painter;

/* An ellipse with a boundary that is not quite smooth. */
typedef struct {
    float x, y, along_x, along_y, a, b; /* centre, unit vector of the long axis, half axes; um */
    float haematoxylin, protein;        /* density at its middle; protein: what is left there, negative: as it is */
    float rim, grain;                   /* the border's extra density, the chromatin's unevenness; relative */
    float nucleolus;                    /* extra density of a spot of 1.5 um; 0: none */
    float rough;                        /* of the outline, relative */
    float body;                         /* um of pale cytoplasm around it */
    float crowd;                        /* 0 alone .. 1 amid a heap of its kind */
    float mark[PHANTOM_CELL_PARTS][2];
    uint32_t hash;
} cell;

static float edge(float signed_distance)
{
    return phantom_clamp(0.5f + signed_distance * 1.6f, 0, 1);
}

static void over(float *plane, float value, float alpha)
{
    *plane += (value - *plane) * alpha;
}

static void paint_cell_pixel(painter *p, const cell *c, float dx, float dy, size_t at)
{
    phantom_tile *t = p->tile;
    float u = (dx * c->along_x + dy * c->along_y) / c->a, v = (dy * c->along_x - dx * c->along_y) / c->b, r = sqrtf(u * u + v * v);
    /* outline by two lobes from the hash; the distance is taken along the shorter axis where the ellipse is flat */
    float cosine = r > 0 ? u / r : 1, sine = r > 0 ? v / r : 0, l1 = phantom_unit(c->hash, 71) * 2 - 1,
          l2 = phantom_unit(c->hash, 72) * 2 - 1;
    float out = r * (1 + c->rough * (l1 * (2 * cosine * cosine - 1) + l2 * 2 * cosine * sine * cosine + 0.5f * (l1 - l2) * sine));
    float size = sqrtf(c->a * c->a * cosine * cosine + c->b * c->b * sine * sine),
          distance = (1 - out) * size * (c->a > 1.6f * c->b ? 0.8f : 1);
    float alpha = edge(distance);
    if (c->body > 0) {
        float around = edge(distance + c->body);
        if (around > 0 && c->protein >= 0) over(&t->protein[at], 0.26f, 0.6f * around);
        for (int k = 0; k < 2; k++) {
            t->mark[k][at] += c->mark[PHANTOM_IN_BODY][k] * around;
            if (c->mark[PHANTOM_IN_GRANULES][k] <= 0 || around <= 0) continue;
            float dots = phantom_noise(c->hash + 7, (c->x + dx) / 0.8f, (c->y + dy) / 0.8f);
            t->mark[k][at] += c->mark[PHANTOM_IN_GRANULES][k] * around * (1 - 0.6f * alpha) * phantom_step(0.0f, 0.3f, dots);
        }
    }
    for (int k = 0; k < 2; k++) {
        if (c->mark[PHANTOM_ON_MEMBRANE][k] <= 0) continue;
        float ring = phantom_step(0.95f, 0.25f, fabsf(distance + 0.7f));
        t->mark[k][at] +=
            c->mark[PHANTOM_ON_MEMBRANE][k] * ring * (0.75f + 0.25f * phantom_unit(c->hash ^ (uint32_t)(cosine * 3 + 4), 73));
    }
    if (alpha <= 0) return;
    float px = c->x + dx, py = c->y + dy;
    float texture = phantom_noise(c->hash, px / 1.6f, py / 1.6f), border = phantom_step(1.5f, 0.3f, distance);
    float density = c->haematoxylin * (1 + c->grain * texture) * (1 + c->rim * (border - 0.35f));
    if (c->nucleolus > 0) {
        float sx = dx - 0.35f * c->b * l1, sy = dy - 0.35f * c->b * l2;
        density += c->nucleolus * c->haematoxylin * edge(0.75f - sqrtf(sx * sx + sy * sy));
    }
    /* sections are as thick as nuclei: what lies below shines through */
    float *h = &t->haematoxylin[at];
    float hidden = 1 - 0.45f * phantom_clamp(c->mark[PHANTOM_IN_NUCLEUS][0] + c->mark[PHANTOM_IN_NUCLEUS][1], 0, 1);
    float joined = fmaxf(density + 0.22f * *h, *h) * hidden;
    over(h, phantom_clamp(joined, 0, 1.9f), alpha);
    if (c->protein >= 0) over(&t->protein[at], c->protein, 0.7f * alpha);
    for (int k = 0; k < 2; k++) t->mark[k][at] += c->mark[PHANTOM_IN_NUCLEUS][k] * alpha * (1 + 0.3f * texture);
}

static void paint_cell(painter *p, const cell *c)
{
    float reach = fmaxf(c->a, c->b) * (1 + c->rough) + c->body + 1.8f;
    int32_t i0 = phantom_floor((c->x - reach) / PHANTOM_MPP) - p->tile->x0,
            i1 = phantom_floor((c->x + reach) / PHANTOM_MPP) + 1 - p->tile->x0;
    int32_t j0 = phantom_floor((c->y - reach) / PHANTOM_MPP) - p->tile->y0,
            j1 = phantom_floor((c->y + reach) / PHANTOM_MPP) + 1 - p->tile->y0;
    if (i0 < 0) i0 = 0;
    if (j0 < 0) j0 = 0;
    if (i1 >= PHANTOM_SIDE) i1 = PHANTOM_SIDE - 1;
    if (j1 >= PHANTOM_SIDE) j1 = PHANTOM_SIDE - 1;
    for (int32_t j = j0; j <= j1; j++) {
        for (int32_t i = i0; i <= i1; i++) {
            float dx = ((float)(p->tile->x0 + i) + 0.5f) * PHANTOM_MPP - c->x,
                  dy = ((float)(p->tile->y0 + j) + 0.5f) * PHANTOM_MPP - c->y;
            if (dx * dx + dy * dy > reach * reach) continue;
            paint_cell_pixel(p, c, dx, dy, (size_t)j * PHANTOM_SIDE + (size_t)i);
        }
    }
}

static void set_marks(const painter *p, cell *c, phantom_cell_kind kind)
{
    for (int part = 0; part < PHANTOM_CELL_PARTS; part++) {
        for (int k = 0; k < 2; k++) {
            uint32_t salt = 81 + (uint32_t)(part * 2 + k), ring = 81 + PHANTOM_ON_MEMBRANE * 2 + 1;
            const struct phantom_cell_stain *stain = &p->section->cell[kind][part][k];
            /* the ring's own number again: the smaller share lies within the larger */
            float drawn = phantom_unit(c->hash, stain->of_others ? ring : salt);
            if (drawn < phantom_mix(stain->share, stain->crowded, c->crowd)) {
                c->mark[part][k] = phantom_mix(stain->strength[0], stain->strength[1], phantom_unit(c->hash, salt + 40));
                if (part == PHANTOM_IN_GRANULES) c->body = fmaxf(c->body, 1.6f);
            }
        }
    }
}

/* Turns the cell's long axis to (x, y), give or take `spread` radians. */
static void point_along(cell *c, float x, float y, float spread)
{
    float turn = spread * phantom_bell(c->hash, 91), rx = x - turn * y, ry = y + turn * x, length = sqrtf(rx * rx + ry * ry);
    c->along_x = length > 1e-4f ? rx / length : 1;
    c->along_y = length > 1e-4f ? ry / length : 0;
}

static void point_anywhere(cell *c)
{
    point_along(c, phantom_unit(c->hash, 92) - 0.5f, phantom_unit(c->hash, 93) - 0.5f, 0);
}

static float vary(const cell *c, uint32_t salt, float middle, float relative)
{
    return middle * (1 + relative * phantom_bell(c->hash, salt));
}

/* ---- lattices ---- */

typedef void at_place(painter *p, uint32_t hash, float x, float y);

/* Calls `place` for each place of a jittered lattice that may reach the tile, row after row. */
static void each_place(painter *p, uint32_t salt, float spacing, float jitter, at_place *place)
{
    int32_t i0 = phantom_floor(p->x0 / spacing) - 1, i1 = phantom_floor(p->x1 / spacing) + 1;
    int32_t j0 = phantom_floor(p->y0 / spacing) - 1, j1 = phantom_floor(p->y1 / spacing) + 1;
    for (int32_t j = j0; j <= j1; j++) {
        for (int32_t i = i0; i <= i1; i++) {
            uint32_t h = phantom_hash(p->section->seed + salt, i, j);
            float x = ((float)i + 0.5f + (j & 1 ? 0.5f : 0) + jitter * (2 * phantom_unit(h, 1) - 1)) * spacing;
            float y = ((float)j + 0.5f + jitter * (2 * phantom_unit(h, 2) - 1)) * spacing;
            place(p, h, x, y);
        }
    }
}

static bool in_hole(const phantom_place *at)
{
    return at->tissue < 1.5f || at->tear < 1 || ((at->mucin > 0.01f || at->fat > 0.01f) && at->necrosis < 0);
}

static bool in_liver(const phantom_place *at)
{
    return !in_hole(at) && at->tumor < -1 && at->portal > 1 && at->vein > 4 && at->scar > 1;
}

/* ---- liver ---- */

static void hepatocyte_nuclei(painter *p)
{
    int32_t j0 = phantom_floor(p->y0 / PHANTOM_HEPATOCYTE_Y) - 1, j1 = phantom_floor(p->y1 / PHANTOM_HEPATOCYTE_Y) + 1;
    int32_t i0 = phantom_floor(p->x0 / PHANTOM_HEPATOCYTE_X) - 2, i1 = phantom_floor(p->x1 / PHANTOM_HEPATOCYTE_X) + 1;
    for (int32_t j = j0; j <= j1; j++) {
        for (int32_t i = i0; i <= i1; i++) {
            phantom_hepatocyte h = phantom_hepatocyte_at(p->section, i, j);
            phantom_place at;
            phantom_place_at(p->section, h.x, h.y, &at);
            if (!in_liver(&at) || phantom_unit(h.hash, 4) > 0.88f * at.density) continue; /* the section misses some nuclei */
            int nuclei = phantom_unit(h.hash, 5) < 0.18f ? 2 : 1;
            for (int n = 0; n < nuclei; n++) {
                float away = nuclei == 2 ? (n ? 3.8f : -3.8f) : 0, u = phantom_unit(h.hash, 6) * 2 - 1,
                      v = phantom_unit(h.hash, 7) * 2 - 1;
                float length = sqrtf(u * u + v * v) + 1e-3f;
                cell c = {.x = h.x + away * u / length + v,
                          .y = h.y + away * v / length + u,
                          .hash = h.hash + (uint32_t)n,
                          .protein = 0.15f,
                          .rough = 0.03f};
                c.a = phantom_clamp(vary(&c, 11, 3.5f, 0.10f), 2.4f, 4.8f);
                c.b = c.a * 0.94f;
                point_anywhere(&c);
                c.haematoxylin = vary(&c, 12, 0.56f, 0.14f) * at.chromatin;
                c.rim = 0.45f;
                c.grain = 0.30f;
                c.nucleolus = phantom_unit(c.hash, 13) < 0.75f ? 0.75f : 0;
                set_marks(p, &c, PHANTOM_HEPATOCYTE);
                paint_cell(p, &c);
            }
        }
    }
}

/* Lining cells and red cells stand on the edges between hepatocytes that are sinusoids. */
static void sinusoids(painter *p)
{
    static const int32_t steps[2][3][2] = {{{1, 0}, {0, 1}, {-1, 1}}, {{1, 0}, {1, 1}, {0, 1}}};
    int32_t j0 = phantom_floor(p->y0 / PHANTOM_HEPATOCYTE_Y) - 2, j1 = phantom_floor(p->y1 / PHANTOM_HEPATOCYTE_Y) + 1;
    int32_t i0 = phantom_floor(p->x0 / PHANTOM_HEPATOCYTE_X) - 2, i1 = phantom_floor(p->x1 / PHANTOM_HEPATOCYTE_X) + 1;
    for (int32_t j = j0; j <= j1; j++) {
        for (int32_t i = i0; i <= i1; i++) {
            phantom_hepatocyte a = phantom_hepatocyte_at(p->section, i, j);
            for (int k = 0; k < 3; k++) {
                const int32_t *step = steps[j & 1][k];
                phantom_hepatocyte b = phantom_hepatocyte_at(p->section, i + step[0], j + step[1]);
                float nx = b.x - a.x, ny = b.y - a.y, length = sqrtf(nx * nx + ny * ny), x = 0.5f * (a.x + b.x),
                      y = 0.5f * (a.y + b.y);
                phantom_place at;
                phantom_place_at(p->section, x, y, &at);
                if (!in_liver(&at)) continue;
                nx /= length;
                ny /= length;
                float half = phantom_sinusoid(a.hash, b.hash, nx, ny, at.radial_x, at.radial_y);
                if (half < 1.2f) continue;
                uint32_t h = a.hash * 3 + b.hash;
                if (phantom_unit(h, 1) < 0.30f * at.density) {
                    float side = phantom_unit(h, 2) < 0.5f ? -1.0f : 1.0f;
                    bool kupffer = phantom_unit(h, 3) < p->section->kupffer;
                    cell c = {.x = x + side * (half - 1) * nx,
                              .y = y + side * (half - 1) * ny,
                              .hash = h,
                              .protein = 0.1f,
                              .rough = 0.08f,
                              .rim = 0.2f,
                              .grain = 0.2f};
                    c.a = vary(&c, 11, kupffer ? 3.8f : 4.4f, 0.12f);
                    c.b = vary(&c, 12, kupffer ? 1.7f : 1.25f, 0.12f);
                    c.haematoxylin = vary(&c, 13, 0.85f, 0.15f) * at.chromatin;
                    c.body = kupffer ? 1.8f : 0;
                    point_along(&c, -ny, nx, 0.15f);
                    set_marks(p, &c, kupffer ? PHANTOM_MACROPHAGE : PHANTOM_ENDOTHELIUM);
                    paint_cell(p, &c);
                }
                for (uint32_t n = 0; n < 2; n++) {
                    if (phantom_unit(h, 21 + n) > 0.22f || half < 2.2f) continue;
                    float t = (phantom_unit(h, 23 + n) - 0.5f) * 11;
                    cell c = {.x = x - t * ny,
                              .y = y + t * nx,
                              .a = 3.1f,
                              .b = 2.4f,
                              .hash = h + 7 + n,
                              .protein = 0.75f,
                              .haematoxylin = 0.02f,
                              .rough = 0.05f};
                    point_along(&c, -ny, nx, 0.4f);
                    paint_cell(p, &c);
                }
            }
        }
    }
}

static void vacuole(painter *p, uint32_t hash, float x, float y)
{
    if (phantom_unit(hash, 3) > p->section->steatosis * 2.2f) return;
    phantom_place at;
    phantom_place_at(p->section, x, y, &at);
    if (!in_liver(&at) || phantom_unit(hash, 4) > 0.4f + 1.2f * at.patch) return;
    float u = phantom_unit(hash, 5), radius = 4 + 16 * u * u;
    if (at.vein < radius + 3 || at.portal < radius || at.tumor > -radius) return;
    cell c = {.x = x, .y = y, .a = radius, .b = radius * 0.94f, .along_x = 1, .hash = hash, .rough = 0.03f};
    int32_t reach = (int32_t)(radius / PHANTOM_MPP) + 3, ci = phantom_floor(x / PHANTOM_MPP) - p->tile->x0,
            cj = phantom_floor(y / PHANTOM_MPP) - p->tile->y0;
    for (int32_t j = cj - reach; j <= cj + reach; j++) {
        for (int32_t i = ci - reach; i <= ci + reach; i++) {
            if (i < 0 || j < 0 || i >= PHANTOM_SIDE || j >= PHANTOM_SIDE) continue;
            float dx = ((float)(p->tile->x0 + i) + 0.5f) * PHANTOM_MPP - x,
                  dy = ((float)(p->tile->y0 + j) + 0.5f) * PHANTOM_MPP - y;
            float alpha = edge(c.a - sqrtf(dx * dx + dy * dy * 1.1f));
            size_t k = (size_t)j * PHANTOM_SIDE + (size_t)i;
            over(&p->tile->haematoxylin[k], 0, alpha);
            over(&p->tile->protein[k], 0, alpha);
            over(&p->tile->mark[0][k], 0, alpha);
            over(&p->tile->mark[1][k], 0, alpha);
        }
    }
}

static void pigment_grain(painter *p, uint32_t hash, float x, float y)
{
    if (phantom_unit(hash, 3) > p->section->lipofuscin) return;
    phantom_place at;
    phantom_place_at(p->section, x, y, &at);
    if (!in_liver(&at)) return;
    for (uint32_t n = 0; n < 3; n++) {
        float gx = x + 4 * (phantom_unit(hash, 10 + n) - 0.5f), gy = y + 4 * (phantom_unit(hash, 20 + n) - 0.5f),
              r = 0.4f + 0.35f * phantom_unit(hash, 30 + n);
        int32_t ci = phantom_floor(gx / PHANTOM_MPP) - p->tile->x0, cj = phantom_floor(gy / PHANTOM_MPP) - p->tile->y0;
        for (int32_t j = cj - 2; j <= cj + 2; j++) {
            for (int32_t i = ci - 2; i <= ci + 2; i++) {
                if (i < 0 || j < 0 || i >= PHANTOM_SIDE || j >= PHANTOM_SIDE) continue;
                float dx = ((float)(p->tile->x0 + i) + 0.5f) * PHANTOM_MPP - gx,
                      dy = ((float)(p->tile->y0 + j) + 0.5f) * PHANTOM_MPP - gy;
                p->tile->pigment[(size_t)j * PHANTOM_SIDE + (size_t)i] += 0.45f * edge(r - sqrtf(dx * dx + dy * dy));
            }
        }
    }
}

/* Cuboidal nuclei around the ducts of portal tracts. */
static void duct_nuclei(painter *p)
{
    phantom_round tracts[16];
    float middle_x, middle_y;
    phantom_to_case(p->section, 0.5f * (p->x0 + p->x1), 0.5f * (p->y0 + p->y1), &middle_x, &middle_y);
    int count = phantom_portals_near(p->section, middle_x - 150, middle_y - 150, middle_x + 150, middle_y + 150, tracts, 16);
    for (int n = 0; n < count; n++) {
        const phantom_round *t = &tracts[n];
        phantom_round duct = phantom_portal_duct(t);
        float cx, cy, r = duct.radius - 4.8f;
        phantom_from_case(p->section, duct.x, duct.y, &cx, &cy);
        int cells = (int)(6.2832f * r / 7.2f);
        for (int k = 0; k < cells; k++) {
            float angle = 6.2832f * (float)k / (float)cells, dx = cosf(angle), dy = sinf(angle);
            cell c = {.x = cx + r * dx,
                      .y = cy + r * dy,
                      .hash = phantom_hash(t->hash, k, 3),
                      .protein = 0.15f,
                      .rough = 0.05f,
                      .rim = 0.3f,
                      .grain = 0.25f};
            phantom_place at;
            phantom_place_at(p->section, c.x, c.y, &at);
            if (in_hole(&at) || at.portal > -2 || at.tumor > -1) continue;
            c.a = vary(&c, 11, 3.3f, 0.08f);
            c.b = vary(&c, 12, 3.0f, 0.08f);
            c.haematoxylin = vary(&c, 13, 0.85f, 0.12f) * at.chromatin;
            point_along(&c, dx, dy, 0.3f);
            set_marks(p, &c, PHANTOM_DUCT_CELL);
            paint_cell(p, &c);
        }
    }
}

/* ---- tumor ---- */

static void gradient(const painter *p, float x, float y, float *gx, float *gy)
{
    float right = phantom_gland_at(p->section, x + 3, y).depth, left = phantom_gland_at(p->section, x - 3, y).depth;
    float below = phantom_gland_at(p->section, x, y + 3).depth, above = phantom_gland_at(p->section, x, y - 3).depth;
    *gx = right - left;
    *gy = below - above;
}

static float vessel_distance(const phantom_tile *t, float x, float y)
{
    float least = 1e3f;
    for (int n = 0; n < t->capillary_count; n++) {
        const phantom_round *v = &t->capillaries[n];
        float dx = x - v->x, dy = y - v->y;
        least = fminf(least, sqrtf(dx * dx + dy * dy) - v->radius);
    }
    return least;
}

/* Among the cells that live on around a vessel in necrosis. */
static bool in_collar(const phantom_tile *t, float x, float y)
{
    for (int n = 0; n < t->capillary_count; n++) {
        const phantom_round *v = &t->capillaries[n];
        float dx = x - v->x, dy = y - v->y, reach = phantom_collar(v);
        if (dx * dx + dy * dy < reach * reach) return true;
    }
    return false;
}

/* Lining cells around small vessels, red cells in the wider ones. */
static void capillary_cells(painter *p)
{
    for (int n = 0; n < p->tile->capillary_count; n++) {
        const phantom_round *v = &p->tile->capillaries[n];
        phantom_place at;
        phantom_place_at(p->section, v->x, v->y, &at);
        int lining = 2 + (int)(v->radius / 3), inside = v->radius > 5 ? (int)(v->radius * v->radius / 18) : 0;
        for (int k = 0; k < lining + inside; k++) {
            uint32_t h = phantom_hash(v->hash, k, 5);
            float dx = phantom_unit(h, 1) - 0.5f, dy = phantom_unit(h, 2) - 0.5f, length = sqrtf(dx * dx + dy * dy) + 1e-3f;
            float r = k < lining ? v->radius + 1 : (v->radius - 3) * phantom_unit(h, 3);
            cell c = {
                .x = v->x + r * dx / length, .y = v->y + r * dy / length, .hash = h, .rough = 0.06f, .rim = 0.15f, .grain = 0.2f};
            if (k < lining) {
                c.a = vary(&c, 11, 3.6f, 0.12f);
                c.b = vary(&c, 12, 1.2f, 0.12f);
                c.haematoxylin = vary(&c, 13, 0.85f, 0.15f) * at.chromatin;
                c.protein = 0.2f;
                point_along(&c, -dy, dx, 0.15f);
                set_marks(p, &c, PHANTOM_ENDOTHELIUM);
            } else {
                c.a = 3.1f;
                c.b = 2.5f;
                c.haematoxylin = 0.015f;
                c.protein = 0.7f;
                point_anywhere(&c);
            }
            paint_cell(p, &c);
        }
    }
}

static void tumor_nucleus(painter *p, uint32_t hash, float x, float y)
{
    phantom_place at;
    phantom_place_at(p->section, x, y, &at);
    if (in_hole(&at) || at.tumor < 1 || ((at.gland < 2.5f || at.scar < 2) && at.necrosis < 0) ||
        vessel_distance(p->tile, x, y) < 3.5f)
        return;
    bool collar = at.necrosis > 0 && in_collar(p->tile, x, y);
    bool ghost = at.necrosis > 4 - 6 * phantom_unit(hash, 3) && !collar;
    if (ghost && (phantom_unit(hash, 4) > (p->section->ghost_glands ? 0.65f : 0.30f))) return;
    if (!ghost && phantom_unit(hash, 4) > 0.80f * at.density) return;
    phantom_gland gland = phantom_gland_at(p->section, x, y);
    float lumen = phantom_lumen_at(p->section, &gland, gland.depth, x, y);
    /* two or three layers at the base; the side towards the lumen is mostly free */
    if (lumen < 4.5f + 3 * phantom_unit(hash, 5) && !collar && !(ghost && !p->section->ghost_glands)) return;
    if (ghost && at.gland < 2.5f && p->section->ghost_glands) return;
    float gx, gy;
    gradient(p, x, y, &gx, &gy);
    cell c = {.x = x, .y = y, .hash = hash, .protein = 0.14f, .rough = 0.09f};
    c.a = phantom_clamp(vary(&c, 11, 5.6f, 0.16f), 3.2f, 8);
    c.b = phantom_clamp(vary(&c, 12, 2.9f, 0.16f), 1.7f, 4.3f);
    if (gland.kind == PHANTOM_GLAND_SOLID || gland.depth > 34 || at.necrosis > 4) {
        c.a *= 0.85f;
        c.b *= 1.2f;
        point_anywhere(&c);
    } else {
        point_along(&c, gx, gy, 0.28f);
    }
    c.haematoxylin = vary(&c, 13, 0.62f, 0.22f) * (0.8f + 0.4f * phantom_unit(gland.hash, 23)) * at.chromatin;
    c.rim = 0.28f;
    c.grain = 0.5f;
    c.nucleolus = phantom_unit(hash, 14) < 0.35f ? 0.35f : 0;
    if (ghost) {
        c.haematoxylin = 0.06f + 0.10f * phantom_unit(hash, 15);
        c.rim = 1.2f;
        c.nucleolus = 0;
        c.protein = -1;
    } else if (phantom_unit(hash, 16) < 0.006f) { /* a mitosis: a dark plate in a pale cell */
        c.a = 4.2f;
        c.b = 1.5f;
        c.haematoxylin = 1.3f * at.chromatin;
        c.rim = 0;
        c.body = 3;
    }
    if (!ghost) set_marks(p, &c, PHANTOM_TUMOR_CELL);
    paint_cell(p, &c);
}

/* In the vein, duct or artery of a portal tract. */
static bool in_portal_vessel(const phantom_section *s, float x, float y)
{
    phantom_round tracts[16];
    float cx, cy;
    phantom_to_case(s, x, y, &cx, &cy);
    int count = phantom_portals_near(s, cx, cy, cx, cy, tracts, 16);
    for (int n = 0; n < count; n++) {
        phantom_portal_parts parts = phantom_portal_parts_at(s, &tracts[n], cx, cy);
        if (parts.vein < 1.5f || parts.duct < 1.5f || parts.artery < 1) return true;
    }
    return false;
}

static void spindle(painter *p, uint32_t hash, float x, float y)
{
    phantom_place at;
    phantom_place_at(p->section, x, y, &at);
    if (in_hole(&at) || at.necrosis > -1 || phantom_unit(hash, 3) > 0.62f * at.density) return;
    bool band = at.tumor > 1 && at.scar<-2, stroma = at.tumor> 1 && at.gland < -2.5f && !band,
         scar = band || (at.tumor < -1 && (at.scar < -2 || (at.portal < -2 && phantom_unit(hash, 4) < 0.7f)));
    if ((!stroma && !scar) || vessel_distance(p->tile, x, y) < 2) return;
    if (scar && at.portal < 0 && in_portal_vessel(p->section, x, y)) return;
    float gx, gy;
    if (stroma) {
        gradient(p, x, y, &gx, &gy);
    } else {
        phantom_place right, below;
        phantom_place_at(p->section, x + 4, y, &right);
        phantom_place_at(p->section, x, y + 4, &below);
        gx = at.scar < -2 ? right.scar - at.scar : right.portal - at.portal;
        gy = at.scar < -2 ? below.scar - at.scar : below.portal - at.portal;
    }
    cell c = {.x = x, .y = y, .hash = hash, .protein = 0.2f, .rough = 0.06f, .rim = 0.15f, .grain = 0.25f};
    bool plump = phantom_unit(hash, 5) < 0.35f;
    c.a = phantom_clamp(vary(&c, 11, plump ? 5.2f : 6.6f, 0.15f), 3.5f, 9.5f);
    c.b = phantom_clamp(vary(&c, 12, plump ? 1.9f : 1.15f, 0.15f), 0.8f, 2.6f);
    c.haematoxylin = vary(&c, 13, plump ? 0.6f : 0.85f, 0.15f) * at.chromatin;
    point_along(&c, -gy, gx, 0.22f);
    set_marks(p, &c, PHANTOM_FIBROBLAST);
    paint_cell(p, &c);
}

/* ---- everywhere ---- */

/* Follicle-like heaps of lymphocytes, on a wide lattice: 0 outside .. 1 inside. */
static float aggregate(const phantom_section *s, float x, float y)
{
    float spacing = 650, most = 0;
    int32_t i0 = phantom_floor(x / spacing), j0 = phantom_floor(y / spacing);
    for (int32_t j = j0 - 1; j <= j0 + 1; j++) {
        for (int32_t i = i0 - 1; i <= i0 + 1; i++) {
            uint32_t h = phantom_hash(s->anatomy + 301, i, j);
            if (phantom_unit(h, 1) > 0.42f) continue;
            float dx = x - ((float)i + phantom_unit(h, 2)) * spacing, dy = y - ((float)j + phantom_unit(h, 3)) * spacing,
                  r = 50 + 95 * phantom_unit(h, 4);
            if (dx * dx + dy * dy > 4 * r * r) continue;
            float d = sqrtf(dx * dx + dy * dy) / r + 0.35f * phantom_noise(s->seed + 302, x / 40, y / 40);
            most = fmaxf(most, phantom_step(1.0f, 0.75f, d));
        }
    }
    return most;
}

static void lymphocyte(painter *p, uint32_t hash, float x, float y)
{
    const phantom_section *s = p->section;
    float chance = phantom_unit(hash, 3);
    phantom_place at;
    phantom_place_at(s, x, y, &at);
    if (in_hole(&at) || at.necrosis > 6 || at.vein < 3) return;
    float local = 1 + 0.9f * phantom_noise(s->seed + 303, x / 90, y / 90), per_mm2 = 25;
    if (at.tumor < 0) {
        per_mm2 = fmaxf(per_mm2, s->lymphocytes_margin * phantom_step(200, 20, -at.tumor));
        if (at.portal < 0)
            per_mm2 = fmaxf(per_mm2, 300 + 3500 * phantom_step(0.1f, 0.5f, phantom_noise(s->anatomy + 304, x / 160, y / 160)));
        if (at.scar < 0) per_mm2 = fmaxf(per_mm2, s->lymphocytes_stroma);
    } else {
        per_mm2 = at.gland < 0 ? s->lymphocytes_stroma + 0.6f * s->lymphocytes_margin * phantom_step(120, 10, at.tumor)
                               : s->lymphocytes_epithelium;
        if (at.gland > 0) {
            phantom_gland gland = phantom_gland_at(s, x, y);
            if (phantom_lumen_at(s, &gland, gland.depth, x, y) < 0) return;
        }
    }
    per_mm2 = per_mm2 * local * at.density;
    float crowd = at.tumor < 0 || at.gland < 2 ? aggregate(s, x, y) : 0;
    per_mm2 = fmaxf(per_mm2, 14500 * crowd);
    if (chance > per_mm2 * 6.8e-6f * 6.8f) return;
    if (at.tumor < 0 && at.portal < 0 && in_portal_vessel(s, x, y)) return;
    cell c = {
        .x = x, .y = y, .hash = hash, .protein = 0.1f, .rough = 0.05f, .rim = 0.25f, .grain = 0.30f, .body = 0.7f, .crowd = crowd};
    c.a = phantom_clamp(vary(&c, 11, 3.0f, 0.07f), 2.5f, 3.6f);
    c.b = c.a * 0.93f;
    c.haematoxylin = vary(&c, 12, 1.0f, 0.1f) * at.chromatin;
    point_anywhere(&c);
    set_marks(p, &c, PHANTOM_LYMPHOCYTE);
    paint_cell(p, &c);
}

static void macrophage(painter *p, uint32_t hash, float x, float y)
{
    phantom_place at;
    phantom_place_at(p->section, x, y, &at);
    bool fibrous = at.tumor < -1 && (at.scar < -2 || at.portal < -2);
    if (in_hole(&at) || (at.tumor < 1 && !fibrous)) return;
    /* the ring lies over the border, through glands and stroma alike; elsewhere they keep to stroma */
    float from_ring = fabsf(at.necrosis + 0.2f * p->section->ring);
    float per_mm2 = fibrous ? 0 : p->section->macrophages_ring * phantom_step(0.55f, 0.4f, from_ring / p->section->ring);
    if (fibrous || (at.gland < -2 && at.necrosis < 0)) per_mm2 = fmaxf(per_mm2, p->section->macrophages_stroma);
    if (phantom_unit(hash, 3) > per_mm2 * 1.3e-5f * 13) return;
    if (fibrous && at.portal < 0 && in_portal_vessel(p->section, x, y)) return;
    cell c = {.x = x, .y = y, .hash = hash, .protein = 0.22f, .rough = 0.10f, .rim = 0.3f, .grain = 0.3f, .body = 3};
    c.a = vary(&c, 11, 3.9f, 0.12f);
    c.b = vary(&c, 12, 2.7f, 0.12f);
    c.haematoxylin = vary(&c, 13, 0.62f, 0.15f) * at.chromatin;
    point_anywhere(&c);
    set_marks(p, &c, PHANTOM_MACROPHAGE);
    paint_cell(p, &c);
}

static void red_cell(painter *p, uint32_t hash, float x, float y)
{
    phantom_place at;
    phantom_place_at(p->section, x, y, &at);
    if (at.tissue < 3 || at.tear < 0) return;
    float chance = at.blood > 0 ? 0.85f : 0;
    if (at.tumor < 0 && at.vein < -3)
        chance = phantom_clamp(0.15f + 1.6f * phantom_noise(p->section->seed + 305, x / 45, y / 45), 0, 0.9f);
    if (phantom_unit(hash, 3) > chance) return;
    cell c = {
        .x = x, .y = y, .hash = hash, .protein = 0.62f + 0.3f * phantom_unit(hash, 4), .haematoxylin = 0.015f, .rough = 0.05f};
    c.a = 3.2f;
    c.b = 2.4f + 0.8f * phantom_unit(hash, 5);
    point_anywhere(&c);
    paint_cell(p, &c);
}

/* Dust of dead nuclei, in necrosis and in the lumens that hold debris; some apoptotic bodies everywhere. */
static void debris(painter *p, uint32_t hash, float x, float y)
{
    const phantom_section *s = p->section;
    phantom_place at;
    phantom_place_at(s, x, y, &at);
    if (in_hole(&at)) return;
    float per_mm2 = 15;
    if (at.necrosis > 0) {
        per_mm2 = s->debris * phantom_clamp(0.45f + 1.1f * phantom_noise(s->seed + 306, x / 120, y / 120), 0, 1);
    } else if (at.tumor > 0 && at.gland > 10) {
        phantom_gland gland = phantom_gland_at(s, x, y);
        float content = phantom_unit(gland.hash, 22);
        if (content > 0.45f && content < 0.75f && phantom_lumen_at(s, &gland, gland.depth, x, y) < -3) per_mm2 = 2600;
    }
    float odds = phantom_unit(hash, 3) / (6.4e-6f * 6.4f);
    if (odds > per_mm2) return;
    bool shrunken = phantom_unit(hash, 4) < 0.12f;
    cell c = {.x = x, .y = y, .hash = hash, .protein = -1, .rough = 0.18f, .grain = 0.2f};
    c.a = shrunken ? 1.5f + 0.8f * phantom_unit(hash, 5) : 0.4f + 0.85f * phantom_unit(hash, 5);
    c.b = c.a * (0.65f + 0.3f * phantom_unit(hash, 6));
    c.haematoxylin = (shrunken ? 1.1f : 0.45f + 0.6f * phantom_unit(hash, 7)) * at.chromatin;
    point_anywhere(&c);
    paint_cell(p, &c);
}

void phantom_paint_cells(const phantom_section *section, phantom_tile *tile)
{
    if (tile->empty) return;
    enum { REACH = 18 };
    float x0 = (float)tile->x0 * PHANTOM_MPP, y0 = (float)tile->y0 * PHANTOM_MPP, side = PHANTOM_SIDE * PHANTOM_MPP;
    painter p = {section, tile, x0 - REACH, y0 - REACH, x0 + side + REACH, y0 + side + REACH};
    each_place(&p, 402, 11, 0.45f, pigment_grain);
    sinusoids(&p);
    hepatocyte_nuclei(&p);
    each_place(&p, 401, 17, 0.35f, vacuole);
    duct_nuclei(&p);
    each_place(&p, 403, 12.5f, 0.40f, spindle);
    capillary_cells(&p);
    each_place(&p, 404, 6.9f, 0.30f, tumor_nucleus);
    each_place(&p, 405, 13, 0.45f, macrophage);
    each_place(&p, 406, 6.8f, 0.24f, lymphocyte);
    each_place(&p, 407, 6.2f, 0.25f, red_cell);
    each_place(&p, 408, 6.4f, 0.45f, debris);
}
