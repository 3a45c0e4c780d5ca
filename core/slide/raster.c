/* raster.c: polygons to class maps by scanlines. A pixel belongs to a polygon when its centre is in the outline (even-odd, so that
 * self-crossing outlines have a meaning too) and in none of the holes, wherever these reach. Everything is computed from a pixel's place in doubles, with
 * the window used only to skip work: any window gives the same pixels. cairo could fill masks too, but its coordinates are 24.8 fixed
 * point: +-2^23 pixels in steps of 1/256, which neither holds whole-slide places nor gives the same rounding for every window. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/base/memory.h"
#include "core/slide/label_image.h"
#include "core/slide/raster.h"

/* An edge of a ring, upper end first, so that two polygons with a common edge compute the same crossings. */
typedef struct { double x0, y0, x1, y1; uint32_t ring; } edge;
typedef struct { double x; uint32_t ring; } crossing;

/* Edges of one polygon in horizontal strips of equal height, for finding those near a window. An edge is listed in every strip that
 * it touches. */
typedef struct {
    edge *edges;
    size_t count;
    double left, top, right, bottom, strip_height;
    size_t rings, strips, *starts;            /* strips + 1 */
    uint32_t *listed;
} shape;

typedef struct {
    shape *shapes;
    size_t count;
    uint32_t precedence;
    size_t number;                     /* in the file */
    uint8_t value;
    bool region;
} layer;

struct cdu_label_source {
    layer *layers;                     /* in drawing order: the strongest last */
    size_t count;
    bool regions;                      /* there is at least one Region* */
    uint8_t unannotated;
    double width, height;              /* level-0 size outside of which all is excluded; 0: none */
    cdu_label_image *image;            /* instead of layers */
};

/* ---- building ---- */

static bool matches(const char *pattern, const char *name)
{
    size_t length = strlen(pattern);
    if (length && pattern[length - 1] == '*') return !strncasecmp(pattern, name, length - 1);
    return !strcasecmp(pattern, name);
}

/* A rule that names the class beats one with a star; among equals the first. */
static const struct cdu_label_rule *find_rule(const cdu_label_rules *rules, const char *name)
{
    for (size_t i = 0; i < rules->count; i++)
        if (!strcasecmp(rules->rules[i].pattern, name)) return &rules->rules[i];
    for (size_t i = 0; i < rules->count; i++)
        if (matches(rules->rules[i].pattern, name)) return &rules->rules[i];
    return NULL;
}

const struct cdu_label_rule *cdu_label_rule_of(const cdu_label_rules *rules, const cdu_annotation *item, const char **word)
{
    const char *name = item->class_name;
    const struct cdu_label_rule *rule = find_rule(rules, name);
    for (size_t i = 0; !rule && i < item->also_count; i++) rule = find_rule(rules, name = item->also[i]);
    if (word) *word = rule ? name : NULL;
    return rule;
}

static void collect_edges(const cdu_polygon *polygon, shape *out)
{
    for (size_t r = 0; r < polygon->count; r++) {
        const cdu_ring *ring = &polygon->rings[r];
        for (size_t i = 0; i < ring->count; i++) {
            cdu_point a = ring->points[i], b = ring->points[i + 1 < ring->count ? i + 1 : 0];
            out->left = fmin(out->left, a.x);
            out->right = fmax(out->right, a.x);
            out->top = fmin(out->top, a.y);
            out->bottom = fmax(out->bottom, a.y);
            if (a.y == b.y) continue;
            out->edges[out->count++] = a.y < b.y ? (edge){a.x, a.y, b.x, b.y, (uint32_t)r}
                                                  : (edge){b.x, b.y, a.x, a.y, (uint32_t)r};
        }
    }
}

static size_t strip_of(const shape *s, double y)
{
    double strip = floor((y - s->top) / s->strip_height);
    return !(strip >= 0) ? 0 : strip >= (double)s->strips ? s->strips - 1 : (size_t)strip;
}

static size_t count_listed(shape *s, size_t strips)
{
    size_t total = 0;
    s->strips = strips;
    s->strip_height = (s->bottom - s->top) / (double)strips;
    for (size_t i = 0; i < s->count; i++) total += strip_of(s, s->edges[i].y1) - strip_of(s, s->edges[i].y0) + 1;
    return total;
}

/* As many strips as there are edges by eight, but no more than make the lists four times the edges. */
static cdu_status sort_into_strips(shape *s, cdu_error *error)
{
    size_t strips = s->count / 8 + 1, total;
    while ((total = count_listed(s, strips)) > 4 * s->count + 64 && strips > 1) strips /= 2;
    CDU_TRY(cdu_allocate(&s->starts, strips + 1, sizeof *s->starts, error));
    CDU_TRY(cdu_allocate(&s->listed, total, sizeof *s->listed, error));
    for (size_t i = 0; i < s->count; i++)
        for (size_t k = strip_of(s, s->edges[i].y0); k <= strip_of(s, s->edges[i].y1); k++) s->starts[k + 1]++;
    for (size_t k = 0; k < strips; k++) s->starts[k + 1] += s->starts[k];
    for (size_t i = s->count; i-- > 0;)
        for (size_t k = strip_of(s, s->edges[i].y0); k <= strip_of(s, s->edges[i].y1); k++) s->listed[--s->starts[k + 1]] = (uint32_t)i;
    /* filling from behind has moved each start one place down */
    memmove(s->starts, s->starts + 1, strips * sizeof *s->starts);
    s->starts[strips] = total;
    return CDU_OK;
}

static cdu_status build_shape(const cdu_polygon *polygon, shape *out, cdu_error *error)
{
    size_t points = 0;
    for (size_t r = 0; r < polygon->count; r++) points += polygon->rings[r].count;
    if (points > UINT32_MAX) return cdu_fail(error, CDU_BAD_DATA, "a polygon has %zu points, more than %u", points, UINT32_MAX);
    *out = (shape){.rings = polygon->count, .left = INFINITY, .top = INFINITY, .right = -INFINITY, .bottom = -INFINITY};
    CDU_TRY(cdu_allocate(&out->edges, points, sizeof *out->edges, error));
    collect_edges(polygon, out);
    return out->count ? sort_into_strips(out, error) : CDU_OK;
}

static cdu_status build_layer(const cdu_annotation *from, const struct cdu_label_rule *rule, layer *out, cdu_error *error)
{
    out->precedence = rule ? rule->precedence : 0;
    out->value = rule ? rule->value : CDU_EXCLUDED;
    out->region = rule && rule->region;
    CDU_TRY(cdu_allocate(&out->shapes, from->count, sizeof *out->shapes, error));
    for (size_t i = 0; i < from->count; i++) {
        out->count++;
        CDU_TRY(build_shape(&from->polygons[i], &out->shapes[i], error));
    }
    return CDU_OK;
}

/* Weakest first. Of equals the one further down in the file is drawn later, as a viewer would show it. */
static int drawing_order(const void *a, const void *b)
{
    const layer *one = a, *two = b;
    if (one->precedence != two->precedence) return one->precedence > two->precedence ? -1 : 1;
    return one->number < two->number ? -1 : one->number > two->number;
}

static cdu_status build_layers(const char *path, const cdu_annotations *annotations, const cdu_label_rules *rules,
                               cdu_label_source *source, cdu_error *error)
{
    CDU_TRY(cdu_allocate(&source->layers, annotations->count, sizeof *source->layers, error));
    for (size_t i = 0; i < annotations->count; i++) {
        const cdu_annotation *item = &annotations->items[i];
        if (!item->is_annotation) continue;
        const struct cdu_label_rule *rule = cdu_label_rule_of(rules, item, NULL);
        if (!rule && rules->unknown_is_error)
            return cdu_fail(error, CDU_BAD_DATA, "%s:%zu: %s%.100s%s that the study does not know; name it under classes (name or also) or "
                            "annotations.exclude, or set annotations.unknown: exclude", path, item->line,
                            *item->class_name ? "class '" : "an annotation without a class,", item->class_name, *item->class_name ? "'" : "");
        layer *at = &source->layers[source->count++];
        at->number = i;
        CDU_TRY(build_layer(item, rule, at, error));
        source->regions |= at->region;
    }
    qsort(source->layers, source->count, sizeof *source->layers, drawing_order);
    return CDU_OK;
}

cdu_status cdu_label_source_create(const char *path, const cdu_annotations *annotations, const cdu_label_rules *rules,
                                   cdu_label_source **out, cdu_error *error)
{
    *out = NULL;
    cdu_label_source *source;
    CDU_TRY(cdu_allocate(&source, 1, sizeof *source, error));
    source->unannotated = rules->unannotated;
    cdu_status status = build_layers(path, annotations, rules, source, error);
    if (status == CDU_OK) *out = source;
    else cdu_label_source_destroy(source);
    return status;
}

cdu_status cdu_label_source_from_image(const char *path, int64_t slide_width, int64_t slide_height, uint32_t classes,
                                       cdu_label_source **out, cdu_error *error)
{
    *out = NULL;
    cdu_label_source *source;
    CDU_TRY(cdu_allocate(&source, 1, sizeof *source, error));
    cdu_status status = cdu_label_image_open(path, slide_width, slide_height, classes, &source->image, error);
    cdu_label_source_set_size(source, slide_width, slide_height);
    if (status == CDU_OK) *out = source;
    else cdu_label_source_destroy(source);
    return status;
}

void cdu_label_source_set_size(cdu_label_source *source, int64_t width, int64_t height)
{
    source->width = (double)width;
    source->height = (double)height;
}

void cdu_label_source_destroy(cdu_label_source *source)
{
    if (!source) return;
    for (size_t i = 0; source->layers && i < source->count; i++) {
        for (size_t k = 0; source->layers[i].shapes && k < source->layers[i].count; k++) {
            free(source->layers[i].shapes[k].edges);
            free(source->layers[i].shapes[k].starts);
            free(source->layers[i].shapes[k].listed);
        }
        free(source->layers[i].shapes);
    }
    free(source->layers);
    cdu_label_image_close(source->image);
    free(source);
}

/* ---- reading ---- */

typedef struct {
    double scale;
    int64_t x, y;
    uint32_t width, height;
    edge *active;                      /* edges of the shape at hand that the window may meet, by their upper end */
    size_t active_capacity;
    crossing *crossings;
    size_t crossing_capacity;
    uint8_t *open;                     /* per ring: whether the row is inside; all 0 between rows */
    size_t open_capacity;
    uint32_t *current;                 /* indices into active of the edges that cross the row */
    size_t current_capacity;
    cdu_error *error;
} window;

static double centre(const window *w, int64_t pixel)
{
    return ((double)pixel + 0.5) * w->scale;
}

/* The first pixel whose centre is at or right of x, clamped to the window; exact, whatever the division rounds to. */
static uint32_t first_pixel(const window *w, double x)
{
    if (x <= centre(w, w->x)) return 0;
    if (x > centre(w, w->x + w->width - 1)) return w->width;
    int64_t pixel = (int64_t)ceil(x / w->scale - 0.5);
    while (centre(w, pixel) < x) pixel++;
    while (centre(w, pixel - 1) >= x) pixel--;
    return (uint32_t)(pixel - w->x);
}

static int by_top(const void *a, const void *b)
{
    double one = ((const edge *)a)->y0, two = ((const edge *)b)->y0;
    return one < two ? -1 : one > two;
}

static int by_place(const void *a, const void *b)
{
    double one = ((const crossing *)a)->x, two = ((const crossing *)b)->x;
    return one < two ? -1 : one > two;
}

static void sort_crossings(crossing *list, size_t count)
{
    if (count > 32) {
        qsort(list, count, sizeof *list, by_place);
        return;
    }
    for (size_t i = 1; i < count; i++) {
        crossing value = list[i];
        size_t k = i;
        for (; k && list[k - 1].x > value.x; k--) list[k] = list[k - 1];
        list[k] = value;
    }
}

/* Copies the edges that cross a row of the window. Edges wholly right of the window do not change what is inside it; those left of it
 * do. */
static cdu_status gather(window *w, const shape *s, size_t *count)
{
    double top = centre(w, w->y), bottom = centre(w, w->y + w->height - 1), right = centre(w, w->x + w->width - 1);
    size_t from = strip_of(s, top), to = strip_of(s, bottom);
    *count = 0;
    for (size_t k = from; k <= to; k++)
        for (size_t i = s->starts[k]; i < s->starts[k + 1]; i++) {
            const edge *e = &s->edges[s->listed[i]];
            if (e->y1 <= top || e->y0 > bottom || fmin(e->x0, e->x1) > right) continue;
            if (k > from && strip_of(s, e->y0) < k) continue; /* seen in a strip before */
            CDU_TRY(cdu_grow(&w->active, &w->active_capacity, *count + 1, sizeof *w->active, w->error));
            w->active[(*count)++] = *e;
        }
    if (*count > 1) qsort(w->active, *count, sizeof *w->active, by_top);
    CDU_TRY(cdu_grow(&w->crossings, &w->crossing_capacity, *count, sizeof *w->crossings, w->error));
    CDU_TRY(cdu_grow(&w->open, &w->open_capacity, s->rings, 1, w->error));
    return cdu_grow(&w->current, &w->current_capacity, *count, sizeof *w->current, w->error);
}

/* The outline is ring 0. Rings that are open at the end close right of the window. */
static void fill_row(window *w, size_t count, uint8_t value, uint8_t *row)
{
    uint32_t from = 0, holes = 0;
    sort_crossings(w->crossings, count);
    for (size_t i = 0; i < count; i++) {
        const crossing *c = &w->crossings[i];
        bool was = w->open[0] && !holes;
        w->open[c->ring] ^= 1;
        if (c->ring) holes += w->open[c->ring] ? 1 : -1u;
        bool is = w->open[0] && !holes;
        if (was == is) continue;
        uint32_t at = first_pixel(w, c->x);
        if (was && at > from) memset(row + from, value, at - from);
        from = at;
    }
    if (w->open[0] && !holes && from < w->width) memset(row + from, value, w->width - from);
    for (size_t i = 0; i < count; i++) w->open[w->crossings[i].ring] = 0;
}

static cdu_status draw(window *w, const shape *s, uint8_t value, uint8_t *pixels)
{
    if (!s->count || s->bottom <= centre(w, w->y) || s->top > centre(w, w->y + w->height - 1) || s->right <= centre(w, w->x) ||
        s->left > centre(w, w->x + w->width - 1))
        return CDU_OK;
    size_t count, next = 0, current = 0;
    CDU_TRY(gather(w, s, &count));
    for (uint32_t row = 0; row < w->height; row++) {
        double y = centre(w, w->y + row);
        size_t kept = 0, crossings = 0;
        for (; next < count && w->active[next].y0 <= y; next++) w->current[current++] = (uint32_t)next;
        for (size_t i = 0; i < current; i++) {
            const edge *e = &w->active[w->current[i]];
            if (e->y1 <= y) continue;
            w->current[kept++] = w->current[i];
            double x = e->x0 + (y - e->y0) * ((e->x1 - e->x0) / (e->y1 - e->y0));
            /* rounding must not carry it beyond the edge, where a window's choice of edges would show */
            w->crossings[crossings++] = (crossing){fmin(fmax(x, fmin(e->x0, e->x1)), fmax(e->x0, e->x1)), e->ring};
        }
        current = kept;
        if (crossings) fill_row(w, crossings, value, pixels + (size_t)row * w->width);
    }
    return CDU_OK;
}

static cdu_status draw_layers(window *w, const cdu_label_source *source, bool regions, uint8_t *pixels)
{
    for (size_t i = 0; i < source->count; i++) {
        const layer *at = &source->layers[i];
        if (at->region != regions) continue;
        for (size_t k = 0; k < at->count; k++) CDU_TRY(draw(w, &at->shapes[k], regions ? 1 : at->value, pixels));
    }
    return CDU_OK;
}

static cdu_status exclude_outside_regions(window *w, const cdu_label_source *source, uint8_t *labels)
{
    uint8_t *inside;
    size_t pixels = (size_t)w->width * w->height;
    CDU_TRY(cdu_allocate(&inside, pixels, 1, w->error));
    cdu_status status = draw_layers(w, source, true, inside);
    for (size_t i = 0; status == CDU_OK && i < pixels; i++)
        if (!inside[i]) labels[i] = CDU_EXCLUDED;
    free(inside);
    return status;
}

static void exclude_outside_slide(const window *w, const cdu_label_source *source, uint8_t *labels)
{
    if (source->width <= 0) return;
    for (uint32_t row = 0; row < w->height; row++) {
        double y = centre(w, w->y + row);
        uint32_t from = first_pixel(w, 0), to = first_pixel(w, source->width);
        if (y < 0 || y >= source->height) from = to = w->width;
        uint8_t *at = labels + (size_t)row * w->width;
        memset(at, CDU_EXCLUDED, from);
        memset(at + to, CDU_EXCLUDED, w->width - to);
    }
}

cdu_status cdu_label_source_read(const cdu_label_source *source, double scale, int64_t x, int64_t y, uint32_t width,
                                 uint32_t height, uint8_t *labels, cdu_error *error)
{
    enum { PLACE_BITS = 40 };          /* so that pixel numbers stay exact in doubles */
    if (!(scale > 1e-6 && scale < 1e9) || llabs(x) > 1LL << PLACE_BITS || llabs(y) > 1LL << PLACE_BITS)
        return cdu_fail(error, CDU_FAILED, "labels at scale %g, place (%lld, %lld) cannot be computed", scale, (long long)x, (long long)y);
    if (!width || !height) return CDU_OK;
    window w = {.scale = scale, .x = x, .y = y, .width = width, .height = height, .error = error};
    cdu_status status = CDU_OK;
    if (source->image) {
        cdu_label_image_read(source->image, scale, x, y, width, height, labels);
    } else {
        memset(labels, source->unannotated, (size_t)width * height);
        status = draw_layers(&w, source, false, labels);
        if (status == CDU_OK && source->regions) status = exclude_outside_regions(&w, source, labels);
    }
    exclude_outside_slide(&w, source, labels);
    free(w.active);
    free(w.crossings);
    free(w.open);
    free(w.current);
    return status;
}
