/* section.c: draws a slide's parameters, and answers what lies at a place: vessels and portal tracts on jittered lattices, glands
 * as the cells of a warped Voronoi diagram, scars and tears along the zero lines of smooth noise. */
#include "tools/phantom/section.h"

#include <math.h>
#include <string.h>

#include "tools/phantom/noise.h"

static float uniform(cdu_random *r, float low, float high)
{
    return low + (high - low) * cdu_random_float(r);
}

static float log_normal(cdu_random *r, float sigma)
{
    return (float)exp((double)sigma * cdu_random_normal(r));
}

/* Turns a unit vector by about `angle` radians towards a random direction; components stay positive. */
static void turn(cdu_random *r, float v[3], float angle)
{
    float away[3], along = 0, length = 0;
    for (int k = 0; k < 3; k++) away[k] = (float)cdu_random_normal(r);
    for (int k = 0; k < 3; k++) along += away[k] * v[k];
    for (int k = 0; k < 3; k++) {
        away[k] -= along * v[k];
        length += away[k] * away[k];
    }
    length = sqrtf(length) + 1e-6f;
    for (int k = 0; k < 3; k++) v[k] = fmaxf(v[k] + angle * away[k] / length, 0.01f);
}

static void normalize(float v[3])
{
    float length = sqrtf(v[0] * v[0] + v[1] * v[1] + v[2] * v[2]);
    for (int k = 0; k < 3; k++) v[k] = length > 0 ? v[k] / length : 0;
}

/* The lab's habits come from the lab's own stream, the same for all its slides; the slide's on top. */
static void draw_style(cdu_random *r, const phantom_assay *assay, phantom_style *style)
{
    static const float lab_strength[3] = {0.88f, 1.0f, 1.2f};
    style->lab = (int)cdu_random_below(r, 3);
    cdu_random lab = cdu_random_stream(0x1ab, CDU_RANDOM_PHANTOM, 7, (uint32_t)style->lab);
    phantom_stain stains[4] = {PHANTOM_HAEMATOXYLIN, PHANTOM_EOSIN, assay->chromogens[0], assay->chromogens[1]};
    for (int c = 0; c < 4; c++) {
        float *v = style->vector[c];
        phantom_stain_vector(stains[c], style->lab, v);
        if (stains[c] == PHANTOM_NO_STAIN) continue;
        turn(&lab, v, 0.052f);
        for (int k = 0; k < 3; k++) v[k] *= log_normal(r, 0.08f);
        normalize(v);
        float strength = phantom_clamp(lab_strength[style->lab] * log_normal(r, 0.25f), 0.6f, 1.5f);
        if (c == 0) strength *= assay->counterstain;
        for (int k = 0; k < 3; k++) v[k] *= strength;
    }
    if (!assay->eosin) memset(style->vector[1], 0, sizeof style->vector[1]);
    static const float pigment[3] = {0.30f, 0.58f, 0.76f};
    memcpy(style->vector[4], pigment, sizeof pigment);
    for (int k = 0; k < 2; k++) style->haze[k] = assay->chromogens[k] == PHANTOM_NO_STAIN ? 0 : uniform(r, 0.02f, 0.08f);
    style->body = assay->eosin ? 0.06f : uniform(r, 0.16f, 0.28f);
    for (int k = 0; k < 3; k++) style->white[k] = uniform(r, 232, 248) / 255;
    style->blur = uniform(r, 0.35f, 0.9f);
    for (int k = 0; k < 3; k++) {
        float u = uniform(r, -1, 1), v = uniform(r, -1, 1), length = sqrtf(u * u + v * v) + 1e-6f, size = uniform(r, 0, 0.5f);
        style->shift[k][0] = k == 1 ? 0 : size * u / length;
        style->shift[k][1] = k == 1 ? 0 : size * v / length;
    }
    style->noise = uniform(r, 0.8f, 1.2f);
    style->jpeg_quality = 70 + (int)cdu_random_below(r, 21);
    style->jpeg_subsampling = cdu_random_below(r, 2) == 0;
}

static void draw_marks(cdu_random *r, cdu_random *of_case, phantom_section *s)
{
    const phantom_assay *assay = s->assay;
    for (size_t i = 0; i < assay->cell_count; i++) {
        const phantom_cell_mark *mark = &assay->cells[i];
        struct phantom_cell_stain *stain = &s->cell[mark->cell][mark->part][mark->chromogen];
        stain->share = uniform(r, mark->share[0], mark->share[1]);
        stain->crowded = mark->crowded[1] > 0 ? uniform(r, mark->crowded[0], mark->crowded[1]) : stain->share;
        stain->of_others = mark->of_others;
        memcpy(stain->strength, mark->strength, sizeof mark->strength);
    }
    float expression = cdu_random_float(of_case) < 0.15f ? 0.1f : 1.0f; /* some tumors do not make the antigen */
    for (size_t i = 0; i < assay->site_count; i++) {
        const phantom_site_mark *mark = &assay->sites[i];
        float strength = uniform(r, mark->strength[0], mark->strength[1]);
        bool shown = cdu_random_float(r) < mark->slides;
        if (mark->site != PHANTOM_CANALICULUS) strength *= expression;
        s->site[mark->site][mark->chromogen] = shown ? strength : 0;
    }
}

/* One fold a slide and 10 mm2 or so; most small slides have none. */
static void draw_folds(cdu_random *r, phantom_section *s)
{
    float expected = fminf(1.2f, 0.3f + 0.05f * s->width * s->height * 1e-6f);
    for (int i = 0; i < PHANTOM_FOLD_LIMIT; i++) {
        struct phantom_fold f = {.x = uniform(r, 0, s->width),
                                 .y = uniform(r, 0, s->height),
                                 .half = uniform(r, 10, 28),
                                 .length = uniform(r, 120, 320)};
        float u = uniform(r, -1, 1), v = uniform(r, -1, 1), length = sqrtf(u * u + v * v) + 1e-6f;
        f.along_x = u / length;
        f.along_y = v / length;
        f.bend = uniform(r, -1, 1) / 900;
        if (cdu_random_float(r) < expected / PHANTOM_FOLD_LIMIT) s->fold[s->folds++] = f;
    }
}

/* Pen, dust and bubbles, as seldom as folds, three with them at most. Ink is blue, green or black. */
static void draw_strays(cdu_random *r, phantom_section *s)
{
    static const float inks[3][3] = {{1.1f, 0.75f, 0.15f}, {0.9f, 0.35f, 0.8f}, {0.9f, 0.9f, 0.85f}};
    float expected = fminf(1.5f, 0.4f + 0.06f * s->width * s->height * 1e-6f);
    memcpy(s->style.vector[5], inks[cdu_random_below(r, 3)], sizeof inks[0]);
    for (int k = 0; k < 3; k++) s->style.vector[6][k] = 1;
    for (int i = 0; i < PHANTOM_STRAY_LIMIT; i++) {
        struct phantom_stray f = {.x = uniform(r, 0, s->width), .y = uniform(r, 0, s->height), .hash = cdu_random_u32(r)};
        float u = uniform(r, -1, 1), v = uniform(r, -1, 1), length = sqrtf(u * u + v * v) + 1e-6f, kind = cdu_random_float(r);
        f.along_x = u / length;
        f.along_y = v / length;
        f.bend = uniform(r, -1, 1) / 6000;
        f.kind = kind < 0.25f ? PHANTOM_PEN : kind < 0.65f ? PHANTOM_DUST : PHANTOM_BUBBLE;
        f.half = f.kind == PHANTOM_PEN ? uniform(r, 30, 65) : f.kind == PHANTOM_DUST ? uniform(r, 4, 14) : uniform(r, 25, 90);
        f.length = f.kind == PHANTOM_PEN ? uniform(r, 300, 900) : f.kind == PHANTOM_DUST ? uniform(r, 6, 70) : f.half;
        if (cdu_random_float(r) < expected / PHANTOM_STRAY_LIMIT && s->folds + s->strays < PHANTOM_STRAY_LIMIT)
            s->stray[s->strays++] = f;
    }
}

void phantom_section_draw(uint64_t case_seed, uint32_t index, const phantom_map *map, const phantom_assay *assay, float width,
                          float height, phantom_section *s)
{
    *s = (phantom_section){.map = map, .assay = assay, .width = width, .height = height};
    cdu_random of_case = cdu_random_stream(case_seed, CDU_RANDOM_PHANTOM, 2, 0);
    cdu_random r = cdu_random_stream(case_seed, CDU_RANDOM_PHANTOM, 3, index);
    s->anatomy = cdu_random_u32(&of_case);
    s->seed = cdu_random_u32(&r);
    float reach = fminf(100, 0.05f * fminf(width, height)), u = uniform(&r, -1, 1), v = uniform(&r, -1, 1);
    float length = sqrtf(u * u + v * v) + 1e-6f, size = index == 0 ? 0 : uniform(&r, 0.2f, 1) * reach;
    s->shift_x = size * u / length;
    s->shift_y = size * v / length;
    s->gland_spacing = uniform(&of_case, 125, 200);
    s->stroma = uniform(&of_case, 6, 18);
    s->lining = uniform(&of_case, 22, 32);
    s->capsule = cdu_random_float(&of_case) < 0.5f ? uniform(&of_case, 8, 50) : 0;
    s->scars = cdu_random_float(&of_case) < 0.6f ? uniform(&of_case, 5, 22) : 0;
    s->steatosis = cdu_random_float(&of_case) < 0.3f ? uniform(&of_case, 0.05f, 0.3f) : 0.003f;
    s->lipofuscin = uniform(&of_case, 0, 0.25f);
    s->lymphocytes_margin = uniform(&of_case, 300, 2000);
    s->lymphocytes_stroma = uniform(&of_case, 50, 500);
    s->lymphocytes_epithelium = uniform(&of_case, 5, 80);
    s->kupffer = uniform(&of_case, 0.16f, 0.43f);
    s->macrophages_stroma = uniform(&of_case, 80, 400);
    s->macrophages_ring = uniform(&of_case, 700, 2600);
    s->ring = uniform(&of_case, 20, 60);
    s->debris = uniform(&of_case, 1000, 3000);
    s->ghost_glands = cdu_random_float(&of_case) < 0.3f;
    draw_style(&r, assay, &s->style);
    draw_folds(&r, s);
    draw_strays(&r, s);
    draw_marks(&r, &of_case, s);
}

void phantom_section_bare(phantom_section *s)
{
    memset(s->style.vector[1], 0, sizeof *s->style.vector * (PHANTOM_COMPONENTS - 1));
    s->style.body = 0;
}

/* Shifted, and warped by up to 30 um. */
void phantom_to_case(const phantom_section *s, float x, float y, float *cx, float *cy)
{
    *cx = x + s->shift_x + 22 * phantom_noise(s->seed + 11, x / 300, y / 300);
    *cy = y + s->shift_y + 22 * phantom_noise(s->seed + 12, x / 300, y / 300);
}

void phantom_from_case(const phantom_section *s, float cx, float cy, float *x, float *y)
{
    *x = cx - s->shift_x;
    *y = cy - s->shift_y;
    for (int step = 0; step < 4; step++) {
        float there_x, there_y;
        phantom_to_case(s, *x, *y, &there_x, &there_y);
        *x += cx - there_x;
        *y += cy - there_y;
    }
}

static phantom_depths depths_in_case(const phantom_section *s, float cx, float cy)
{
    phantom_depths d = phantom_map_at(s->map, cx, cy);
    float rough = 4 * phantom_noise(s->anatomy + 21, cx / 22, cy / 22);
    d.tissue += rough;
    d.tumor += 5 * phantom_noise(s->anatomy + 22, cx / 26, cy / 26);
    d.necrosis += 6 * phantom_noise(s->anatomy + 23, cx / 24, cy / 24);
    return d;
}

phantom_depths phantom_section_depths(const phantom_section *s, float x, float y)
{
    float cx, cy;
    phantom_to_case(s, x, y, &cx, &cy);
    return depths_in_case(s, cx, cy);
}

phantom_class phantom_class_at(const phantom_section *s, const phantom_place *p, float x, float y)
{
    if (p->stray < 0) return PHANTOM_EXCLUDED;
    if (p->tissue < 5 || p->tumor < 5 || p->necrosis < 5) {
        float rough = 1.6f * phantom_noise(s->anatomy + 31, x / 6, y / 6);
        if (p->tissue + rough <= 0) return PHANTOM_BACKGROUND;
        if (p->fold < 0) return PHANTOM_EXCLUDED;
        if (p->necrosis + rough > 0) return PHANTOM_NECROSIS;
        return p->tumor + rough > 0 ? PHANTOM_TUMOR : PHANTOM_TISSUE;
    }
    return p->fold < 0 ? PHANTOM_EXCLUDED : PHANTOM_NECROSIS;
}

/* ---- vessels and portal tracts: one a lattice cell, jittered ---- */

enum { LOBULE = 560 };

static phantom_round lattice_round(uint32_t seed, int32_t i, int32_t j, float offset, float jitter)
{
    uint32_t h = phantom_hash(seed, i, j);
    phantom_round made = {.hash = h};
    made.x = ((float)i + offset + jitter * (2 * phantom_unit(h, 1) - 1)) * LOBULE;
    made.y = ((float)j + offset + jitter * (2 * phantom_unit(h, 2) - 1)) * LOBULE;
    return made;
}

static phantom_round vein_of(const phantom_section *s, int32_t i, int32_t j)
{
    phantom_round vein = lattice_round(s->anatomy + 41, i, j, 0.5f, 0.28f);
    vein.radius = 22 + 26 * phantom_unit(vein.hash, 3);
    return vein;
}

static bool portal_of(const phantom_section *s, int32_t i, int32_t j, phantom_round *portal)
{
    *portal = lattice_round(s->anatomy + 42, i, j, 1.0f, 0.2f);
    portal->radius = 45 + 75 * phantom_unit(portal->hash, 3);
    return phantom_unit(portal->hash, 4) < 0.85f;
}

float phantom_portal_distance(const phantom_section *s, const phantom_round *portal, float x, float y)
{
    float dx = x - portal->x, dy = y - portal->y, squeeze = 0.7f + 0.6f * phantom_unit(portal->hash, 5);
    float r = sqrtf(dx * dx * squeeze + dy * dy / squeeze);
    return r - portal->radius * (1 + 0.35f * phantom_noise(s->anatomy + 43, x / 55, y / 55));
}

phantom_round phantom_portal_duct(const phantom_round *t)
{
    return (phantom_round){t->x - 0.45f * t->radius, t->y + 0.30f * t->radius, 15 + 9 * phantom_unit(t->hash, 11), t->hash};
}

phantom_portal_parts phantom_portal_parts_at(const phantom_section *s, const phantom_round *t, float x, float y)
{
    phantom_round duct = phantom_portal_duct(t);
    float wobble = 1.2f * phantom_noise(s->anatomy + 206, x / 12, y / 12), vx = x - t->x - 0.25f * t->radius, vy = y - t->y;
    float dx = x - duct.x, dy = y - duct.y, ax = x - t->x + 0.35f * t->radius, ay = y - t->y + 0.42f * t->radius;
    phantom_portal_parts parts;
    parts.vein = sqrtf(vx * vx + vy * vy * 1.3f) - 0.34f * t->radius + 4 * phantom_noise(s->anatomy + 205, x / 20, y / 20);
    parts.duct = sqrtf(dx * dx + dy * dy) - duct.radius + wobble;
    parts.artery = sqrtf(ax * ax + ay * ay) - 9 - 7 * phantom_unit(t->hash, 12) + wobble;
    return parts;
}

int phantom_portals_near(const phantom_section *s, float x0, float y0, float x1, float y1, phantom_round *out, int limit)
{
    int count = 0;
    int32_t i0 = phantom_floor((x0 - 220) / LOBULE) - 2, i1 = phantom_floor((x1 + 220) / LOBULE) + 1;
    int32_t j0 = phantom_floor((y0 - 220) / LOBULE) - 2, j1 = phantom_floor((y1 + 220) / LOBULE) + 1;
    for (int32_t j = j0; j <= j1; j++) {
        for (int32_t i = i0; i <= i1; i++) {
            phantom_round p;
            if (!portal_of(s, i, j, &p) || p.x < x0 - 220 || p.x > x1 + 220 || p.y < y0 - 220 || p.y > y1 + 220) continue;
            if (count < limit) out[count++] = p;
        }
    }
    return count;
}

static void vessels_at(const phantom_section *s, float x, float y, phantom_place *place)
{
    int32_t i0 = phantom_floor(x / LOBULE), j0 = phantom_floor(y / LOBULE);
    float nearest = 1e9f, dx = 1, dy = 0;
    place->portal = 1e3f;
    for (int32_t j = j0 - 1; j <= j0 + 1; j++) {
        for (int32_t i = i0 - 1; i <= i0 + 1; i++) {
            phantom_round vein = vein_of(s, i, j), portal;
            float vx = x - vein.x, vy = y - vein.y, d = sqrtf(vx * vx + vy * vy) - vein.radius;
            if (d < nearest) {
                nearest = d;
                dx = vx;
                dy = vy;
            }
            if (!portal_of(s, i, j, &portal)) continue;
            float px = x - portal.x, py = y - portal.y;
            if (px * px + py * py < 240 * 240) place->portal = fminf(place->portal, phantom_portal_distance(s, &portal, x, y));
        }
    }
    place->vein = nearest + 5 * phantom_noise(s->anatomy + 44, x / 35, y / 35);
    /* plates wander: turn the direction by up to half a radian */
    float bend = 0.9f * phantom_noise(s->anatomy + 45, x / 120, y / 120), length = sqrtf(dx * dx + dy * dy) + 1e-3f;
    place->radial_x = (dx - bend * dy) / length;
    place->radial_y = (dy + bend * dx) / length;
}

/* ---- glands ---- */

phantom_gland phantom_gland_at(const phantom_section *s, float x, float y)
{
    float g = s->gland_spacing;
    float wx = x + 20 * phantom_noise(s->seed + 51, x / 75, y / 75) + 6 * phantom_noise(s->seed + 52, x / 28, y / 28);
    float wy = y + 20 * phantom_noise(s->seed + 53, x / 75, y / 75) + 6 * phantom_noise(s->seed + 54, x / 28, y / 28);
    int32_t i0 = phantom_floor(wx / g), j0 = phantom_floor(wy / g);
    float best = 1e18f, ax = 0, ay = 0, cx[25], cy[25];
    uint32_t hash = 0;
    for (int k = 0; k < 25; k++) {
        int32_t i = i0 + k % 5 - 2, j = j0 + k / 5 - 2;
        uint32_t h = phantom_hash(s->seed + 55, i, j);
        cx[k] = ((float)i + 0.5f + 0.44f * (2 * phantom_unit(h, 1) - 1)) * g;
        cy[k] = ((float)j + 0.5f + 0.44f * (2 * phantom_unit(h, 2) - 1)) * g;
        float dx = cx[k] - wx, dy = cy[k] - wy, d = dx * dx + dy * dy;
        if (d < best) {
            best = d;
            ax = cx[k];
            ay = cy[k];
            hash = h;
        }
    }
    float edge = 1e9f;
    for (int k = 0; k < 25; k++) {
        float nx = cx[k] - ax, ny = cy[k] - ay, length = sqrtf(nx * nx + ny * ny);
        if (length < 1) continue;
        float e = ((0.5f * (cx[k] + ax) - wx) * nx + (0.5f * (cy[k] + ay) - wy) * ny) / length;
        /* rounded corners: a smooth minimum */
        float t = phantom_clamp(0.5f + (edge - e) / 20, 0, 1);
        edge = edge > 1e8f ? e : edge + (e - edge) * t - 10 * t * (1 - t);
    }
    float stroma = s->stroma * (1 + 0.9f * phantom_noise(s->seed + 56, x / 160, y / 160)) + 3 +
                   14 * phantom_unit(hash, 6) * phantom_unit(hash, 6);
    phantom_gland gland = {.hash = hash};
    float kind = phantom_unit(hash, 3);
    gland.kind = kind < 0.15f ? PHANTOM_GLAND_SOLID : kind < 0.42f ? PHANTOM_GLAND_CRIBRIFORM : PHANTOM_GLAND_OPEN;
    gland.depth = edge - stroma + 2.5f * phantom_noise(s->seed + 57, x / 14, y / 14);
    gland.lining = s->lining * (0.85f + 0.35f * phantom_unit(hash, 4));
    return gland;
}

float phantom_lumen_at(const phantom_section *s, const phantom_gland *gland, float depth, float x, float y)
{
    if (gland->kind == PHANTOM_GLAND_SOLID) return 40;
    float wave = 3.5f * phantom_noise(s->seed + 61, x / 13, y / 13) + 1.5f * phantom_noise(s->seed + 62, x / 5, y / 5);
    if (gland->kind == PHANTOM_GLAND_OPEN) return gland->lining - depth + wave;
    float spacing = 46, least = 1e9f;
    int32_t i0 = phantom_floor(x / spacing), j0 = phantom_floor(y / spacing);
    for (int32_t j = j0 - 1; j <= j0 + 1; j++) {
        for (int32_t i = i0 - 1; i <= i0 + 1; i++) {
            uint32_t h = phantom_hash(s->seed + 63, i, j);
            float dx = x - ((float)i + 0.25f + 0.5f * phantom_unit(h, 1)) * spacing,
                  dy = y - ((float)j + 0.25f + 0.5f * phantom_unit(h, 2)) * spacing;
            float r = 4 + 12 * phantom_unit(h, 3);
            least = fminf(least, sqrtf(dx * dx + dy * dy) - r);
        }
    }
    return fmaxf(least, 0.7f * gland->lining - depth) + wave;
}

float phantom_collar(const phantom_round *capillary)
{
    return phantom_unit(capillary->hash, 5) < 0.3f ? capillary->radius + 18 + 22 * phantom_unit(capillary->hash, 6) : 0;
}

int phantom_capillaries_near(const phantom_section *s, float x0, float y0, float x1, float y1, phantom_round *out, int limit)
{
    enum { SPACING = 105, REACH = 80 };
    int count = 0;
    for (int32_t j = phantom_floor((y0 - REACH) / SPACING); j <= phantom_floor((y1 + REACH) / SPACING); j++) {
        for (int32_t i = phantom_floor((x0 - REACH) / SPACING); i <= phantom_floor((x1 + REACH) / SPACING); i++) {
            uint32_t h = phantom_hash(s->seed + 91, i, j);
            float u = phantom_unit(h, 3);
            phantom_round c = {((float)i + phantom_unit(h, 1)) * SPACING, ((float)j + phantom_unit(h, 2)) * SPACING,
                               3.5f + 9 * u * u, h};
            if (phantom_unit(h, 4) > 0.7f || count == limit) continue;
            phantom_depths d = phantom_section_depths(s, c.x, c.y);
            if (d.tumor < 12 || d.tissue < 12) continue;
            if (d.necrosis < 25 && phantom_gland_at(s, c.x, c.y).depth > -c.radius - 2) continue;
            out[count++] = c;
        }
    }
    return count;
}

/* ---- all at once ---- */

static float ridge(uint32_t seed, float x, float y, float wave)
{
    return 0.75f * wave *
           fabsf(phantom_noise(seed, x / wave, y / wave) + 0.25f * phantom_noise(seed + 1, 3 * x / wave, 3 * y / wave));
}

float phantom_artefact_at(const phantom_section *s, float x, float y)
{
    float nearest = 1e3f;
    for (int i = 0; i < s->folds; i++) {
        const struct phantom_fold *f = &s->fold[i];
        float dx = x - f->x, dy = y - f->y, along = dx * f->along_x + dy * f->along_y,
              across = dy * f->along_x - dx * f->along_y - f->bend * along * along;
        float taper = along / f->length, half = f->half * (1 - taper * taper);
        nearest = fminf(nearest, fabsf(across + 6 * phantom_noise(s->seed + 89, x / 50, y / 50)) - half);
    }
    return fminf(nearest, 1e3f);
}

float phantom_stray_at(const phantom_section *s, float x, float y, const struct phantom_stray **which)
{
    float nearest = 1e3f;
    for (int i = 0; i < s->strays; i++) {
        const struct phantom_stray *f = &s->stray[i];
        float dx = x - f->x, dy = y - f->y, along = dx * f->along_x + dy * f->along_y,
              across = dy * f->along_x - dx * f->along_y - f->bend * along * along;
        float d = sqrtf(dx * dx + dy * dy) - f->half;
        if (d > f->length + 60) continue; /* the roughness below never reaches that far */
        if (f->kind != PHANTOM_BUBBLE) {
            /* a stroke or a fibre with round ends */
            float beyond = fmaxf(fabsf(along) - f->length, 0), rough = f->kind == PHANTOM_PEN ? 0.12f : 0.45f;
            d = sqrtf(across * across + beyond * beyond) -
                f->half * (1 + rough * phantom_noise(f->hash, along / (2 * f->half), across / (2 * f->half)));
        }
        if (d >= nearest) continue;
        nearest = d;
        if (which) *which = f;
    }
    return nearest;
}

float phantom_tear_at(const phantom_section *s, float x, float y)
{
    float open = phantom_clamp(2.4f * phantom_noise(s->seed + 86, x / 150, y / 150) - 0.7f, -1, 1);
    return ridge(s->seed + 84, x, y, 260) - 5 * open + 0.8f * phantom_noise(s->seed + 88, x / 4, y / 4);
}

/* A factor that varies over the slide: log-normal with that deviation. */
static float regional(float sigma, uint32_t seed, float x, float y)
{
    const float unit = 0.33f; /* deviation of phantom_noise */
    return expf(sigma / unit * phantom_noise(seed, x, y));
}

void phantom_place_at(const phantom_section *s, float x, float y, phantom_place *p)
{
    float cx, cy;
    phantom_to_case(s, x, y, &cx, &cy);
    phantom_depths d = depths_in_case(s, cx, cy);
    p->tissue = d.tissue;
    p->tumor = d.tumor;
    p->necrosis = d.necrosis;
    p->vein = p->portal = p->scar = p->tear = p->fold = 1e3f;
    p->stray = phantom_stray_at(s, x, y, NULL);
    p->mucin = p->fat = -1;
    p->radial_x = p->gland = p->lining = p->blood = p->focus = p->patch = 0;
    p->radial_y = p->density = p->chromatin = p->thickness = 1;
    p->thickness =
        1 + 0.12f * phantom_noise(s->seed + 71, x / 1400, y / 1400) + 0.04f * phantom_noise(s->seed + 72, x / 300, y / 300);
    p->focus = phantom_step(0.50f, 0.62f, phantom_noise(s->seed + 73, x / 420, y / 420));
    if (d.tissue < -30) return;
    p->density = regional(0.30f, s->seed + 74, x / 260, y / 260);
    p->chromatin = regional(0.25f, s->seed + 75, x / 230, y / 230);
    p->patch = phantom_clamp(0.5f + 0.8f * phantom_noise(s->seed + 76, x / 130, y / 130), 0, 1);
    if (d.tumor < 40)
        vessels_at(s, cx, cy, p);
    else
        p->vein = p->portal = 1e3f;
    if (d.tumor > -20) {
        phantom_gland gland = phantom_gland_at(s, x, y);
        p->gland = gland.depth;
        p->lining = gland.lining;
    }
    if (s->scars > 0) p->scar = ridge(s->anatomy + 81, cx, cy, 420) - s->scars * (0.6f + 0.8f * p->patch);
    if (s->capsule > 0 && d.tumor < 1) {
        float width = s->capsule * phantom_clamp(0.6f + 1.2f * phantom_noise(s->anatomy + 83, cx / 200, cy / 200), 0, 2);
        p->scar = fminf(p->scar, -d.tumor - width);
    }
    p->tear = phantom_tear_at(s, x, y);
    p->fold = phantom_artefact_at(s, x, y);
    p->blood = phantom_noise(s->seed + 87, x / 190, y / 190) - 0.62f;
    p->mucin = phantom_noise(s->seed + 90, x / 150, y / 150) - 0.60f;
    p->fat = phantom_noise(s->seed + 92, x / 210, y / 210) - 0.60f;
}
