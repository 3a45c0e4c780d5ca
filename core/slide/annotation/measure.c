/* measure.c: areas of polygons. The plane is cut into slabs at every height where a ring has a corner; inside a slab edges are straight, so
 * its middle line gives its area, unless edges cross in it, which their order at its upper and lower side tells. Such slabs are
 * cut finer. The meaning of a polygon is raster.c's: the outline even-odd, less each hole even-odd. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/slide/annotation.h"

#define WORK_LIMIT 1e8                 /* edges times slabs; beyond it slabs are equal strips */
#define TOUCH 1e-6                     /* pixels within which edges only touch */
enum { FINER = 64, STRIPS_LEAST = 64, SMALL = 24 };

typedef struct { double x0, y0, x1, y1; uint32_t ring; } edge;
typedef struct { double middle, upper, lower; uint32_t ring; } crossing;

typedef struct {
    edge *edges;                       /* by their upper end */
    size_t count;
    double *heights;                   /* of corners, each once */
    size_t height_count;
    size_t *active;                    /* edges that the slab at hand meets */
    size_t active_count, next;
    crossing *crossings;
    uint8_t *open;                     /* per ring: whether the sweep is inside */
    double area;
    bool crossed;
} sweep;

static int by_number(const void *a, const void *b)
{
    double one = *(const double *)a, two = *(const double *)b;
    return one < two ? -1 : one > two;
}

static int by_upper_end(const void *a, const void *b)
{
    double one = ((const edge *)a)->y0, two = ((const edge *)b)->y0;
    return one < two ? -1 : one > two;
}

static int by_middle(const void *a, const void *b)
{
    const crossing *one = a, *two = b;
    if (one->middle != two->middle) return one->middle < two->middle ? -1 : 1;
    return one->ring < two->ring ? -1 : one->ring > two->ring;
}

static cdu_status collect(const cdu_polygon *polygon, sweep *s, cdu_error *error)
{
    size_t points = 0;
    for (size_t r = 0; r < polygon->count; r++) points += polygon->rings[r].count;
    CDU_TRY(cdu_allocate(&s->edges, points, sizeof *s->edges, error));
    CDU_TRY(cdu_allocate(&s->heights, points, sizeof *s->heights, error));
    CDU_TRY(cdu_allocate(&s->active, points, sizeof *s->active, error));
    CDU_TRY(cdu_allocate(&s->crossings, points, sizeof *s->crossings, error));
    CDU_TRY(cdu_allocate(&s->open, polygon->count, 1, error));
    for (size_t r = 0; r < polygon->count; r++) {
        const cdu_ring *ring = &polygon->rings[r];
        for (size_t i = 0; i < ring->count; i++) {
            cdu_point a = ring->points[i], b = ring->points[i + 1 < ring->count ? i + 1 : 0];
            s->heights[s->height_count++] = a.y;
            if (a.y == b.y) continue;
            s->edges[s->count++] = a.y < b.y ? (edge){a.x, a.y, b.x, b.y, (uint32_t)r} : (edge){b.x, b.y, a.x, a.y, (uint32_t)r};
        }
    }
    if (!s->count) return CDU_OK;
    qsort(s->edges, s->count, sizeof *s->edges, by_upper_end);
    qsort(s->heights, s->height_count, sizeof *s->heights, by_number);
    size_t kept = 1;
    for (size_t i = 1; i < s->height_count; i++)
        if (s->heights[i] != s->heights[kept - 1]) s->heights[kept++] = s->heights[i];
    s->height_count = kept;
    return CDU_OK;
}

static size_t rank(const sweep *s, double height)
{
    size_t from = 0, to = s->height_count;
    while (from < to) {
        size_t middle = (from + to) / 2;
        if (s->heights[middle] < height) from = middle + 1;
        else to = middle;
    }
    return from;
}

/* Long jagged outlines would take for ever: their slabs become equal strips, as many as the work allows. */
static void bound_work(sweep *s)
{
    double work = 0, length = 0, top = s->heights[0], bottom = s->heights[s->height_count - 1];
    for (size_t i = 0; i < s->count; i++) {
        work += (double)(rank(s, s->edges[i].y1) - rank(s, s->edges[i].y0));
        length += s->edges[i].y1 - s->edges[i].y0;
    }
    if (work <= WORK_LIMIT) return;
    double strips = floor(WORK_LIMIT * (bottom - top) / length);
    size_t count = strips < STRIPS_LEAST ? STRIPS_LEAST : strips < (double)(s->height_count - 1) ? (size_t)strips : s->height_count - 1;
    if (count + 1 > s->height_count) return;
    for (size_t i = 0; i <= count; i++) s->heights[i] = top + (bottom - top) * (double)i / (double)count;
    s->height_count = count + 1;
}

static double x_at(const edge *e, double y)
{
    double x = e->x0 + (y - e->y0) * ((e->x1 - e->x0) / (e->y1 - e->y0));
    return fmin(fmax(x, fmin(e->x0, e->x1)), fmax(e->x0, e->x1));
}

static void sort_crossings(crossing *c, size_t count)
{
    if (count > SMALL) {
        qsort(c, count, sizeof *c, by_middle);
        return;
    }
    for (size_t i = 1; i < count; i++) {
        crossing value = c[i];
        size_t k = i;
        for (; k && by_middle(&c[k - 1], &value) > 0; k--) c[k] = c[k - 1];
        c[k] = value;
    }
}

/* Width of the polygon on the slab's middle line; tells whether edges cross in the slab. */
static double measure_slab(sweep *s, double upper, double lower, bool *crosses)
{
    double middle = (upper + lower) / 2, width = 0, since = 0;
    size_t count = 0, holes = 0;
    for (size_t i = 0; i < s->active_count; i++) {
        const edge *e = &s->edges[s->active[i]];
        if (e->y0 > middle || e->y1 <= middle) continue;
        s->crossings[count++] = (crossing){x_at(e, middle), x_at(e, fmax(upper, e->y0)), x_at(e, fmin(lower, e->y1)), e->ring};
    }
    sort_crossings(s->crossings, count);
    for (size_t i = 0; i < count; i++) {
        const crossing *c = &s->crossings[i];
        if (i && (c[-1].upper > c->upper + TOUCH || c[-1].lower > c->lower + TOUCH)) *crosses = true;
        bool was = s->open[0] && !holes;
        s->open[c->ring] ^= 1;
        if (c->ring) holes += s->open[c->ring] ? 1 : (size_t)-1;
        bool is = s->open[0] && !holes;
        if (is && !was) since = c->middle;
        if (was && !is) width += c->middle - since;
    }
    for (size_t i = 0; i < count; i++) s->open[s->crossings[i].ring] = 0;
    return width;
}

static void measure_between(sweep *s, double upper, double lower)
{
    size_t kept = 0;
    for (size_t i = 0; i < s->active_count; i++)
        if (s->edges[s->active[i]].y1 > upper) s->active[kept++] = s->active[i];
    for (; s->next < s->count && s->edges[s->next].y0 < lower; s->next++) s->active[kept++] = s->next;
    s->active_count = kept;
    bool crosses = false, ignored = false;
    double area = (lower - upper) * measure_slab(s, upper, lower, &crosses);
    if (crosses) {
        double step = (lower - upper) / FINER;
        s->crossed = true;
        area = 0;
        for (int i = 0; i < FINER; i++) area += step * measure_slab(s, upper + i * step, upper + (i + 1) * step, &ignored);
    }
    s->area += area;
}

cdu_status cdu_polygon_area(const cdu_polygon *polygon, double *area, bool *crossed, cdu_error *error)
{
    sweep s = {0};
    cdu_status status = collect(polygon, &s, error);
    if (status == CDU_OK && s.count) {
        bound_work(&s);
        for (size_t i = 0; i + 1 < s.height_count; i++) measure_between(&s, s.heights[i], s.heights[i + 1]);
    }
    *area = s.area;
    if (crossed) *crossed = s.crossed;
    free(s.edges);
    free(s.heights);
    free(s.active);
    free(s.crossings);
    free(s.open);
    return status;
}
