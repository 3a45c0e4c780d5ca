/* corners.c: see corners.h. */
#include "core/slide/corners.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"

double cdu_corners_area(const cdu_corner *corners, size_t count)
{
    double twice = 0;
    for (size_t i = 0; i < count; i++) {
        cdu_corner a = corners[i], b = corners[i + 1 < count ? i + 1 : 0];
        twice += (double)a.x * b.y - (double)b.x * a.y;
    }
    return twice / 2;
}

static double distance_squared(cdu_corner p, cdu_corner a, cdu_corner b)
{
    double dx = (double)b.x - a.x, dy = (double)b.y - a.y, px = (double)p.x - a.x, py = (double)p.y - a.y;
    double length = dx * dx + dy * dy, t = length > 0 ? (px * dx + py * dy) / length : 0;
    t = t < 0 ? 0 : t > 1 ? 1 : t;
    return (px - t * dx) * (px - t * dx) + (py - t * dy) * (py - t * dy);
}

/* Douglas and Peucker (1973) on the open stretch from..to (indices may run past the end, which wraps), marking what stays. */
static void mark_stretch(const cdu_corner *corners, size_t count, size_t from, size_t to, double tolerance, uint8_t *keep, size_t *stack)
{
    size_t depth = 0;
    stack[depth++] = from;
    stack[depth++] = to;
    while (depth) {
        size_t end = stack[--depth], begin = stack[--depth], worst = begin;
        double most = tolerance * tolerance;
        for (size_t i = begin + 1; i < end; i++) {
            double distance = distance_squared(corners[i % count], corners[begin], corners[end % count]);
            if (distance <= most) continue;
            most = distance;
            worst = i;
        }
        if (worst == begin) continue;
        keep[worst % count] = 1;
        stack[depth++] = begin;
        stack[depth++] = worst;
        stack[depth++] = worst;
        stack[depth++] = end;
    }
}

/* Writes the corners that stay into `to`, returns their number. */
static size_t thin_out(const cdu_corner *corners, size_t count, double tolerance, cdu_corner *to, uint8_t *keep, size_t *stack)
{
    size_t far = 0, kept = 0;
    double most = -1;
    for (size_t i = 1; i < count; i++) {
        double distance = distance_squared(corners[i], corners[0], corners[0]);
        if (distance <= most) continue;
        most = distance;
        far = i;
    }
    memset(keep, 0, count);
    keep[0] = keep[far] = 1;
    mark_stretch(corners, count, 0, far, tolerance, keep, stack);
    mark_stretch(corners, count, far, count, tolerance, keep, stack);
    for (size_t i = 0; i < count; i++)
        if (keep[i]) to[kept++] = corners[i];
    return kept;
}

cdu_status cdu_corners_simplify(const cdu_corner *corners, size_t count, double tolerance, cdu_corner *to, size_t *kept, cdu_error *error)
{
    enum { ATTEMPTS = 6 };
    memcpy(to, corners, count * sizeof *to);
    *kept = count;
    if (!(tolerance > 0) || count <= 3) return CDU_OK;
    const bool outline = cdu_corners_area(corners, count) > 0;
    uint8_t *keep = NULL;
    size_t *stack = NULL;
    cdu_status status = cdu_allocate(&keep, count, 1, error);
    if (status == CDU_OK) status = cdu_allocate(&stack, 2 * count + 8, sizeof *stack, error);
    for (int attempt = 0; status == CDU_OK && attempt < ATTEMPTS; attempt++, tolerance /= 2) {
        size_t left = thin_out(corners, count, tolerance, to, keep, stack);
        double area = cdu_corners_area(to, left);
        if (left >= 3 && area != 0 && (area > 0) == outline) {
            *kept = left;
            break;
        }
        memcpy(to, corners, count * sizeof *to);
    }
    free(keep);
    free(stack);
    return status;
}

/* ---- crossing ---- */

typedef struct { cdu_corner a, b; } side;

static int32_t least_x(const side *s)
{
    return s->a.x < s->b.x ? s->a.x : s->b.x;
}

static int32_t most_x(const side *s)
{
    return s->a.x > s->b.x ? s->a.x : s->b.x;
}

static int by_least_x(const void *one, const void *two)
{
    int32_t a = least_x(one), b = least_x(two);
    return a < b ? -1 : a > b;
}

/* Which side of a to b p lies on: -1, 0, 1. Exact: differences stay below 2^31. */
static int turn(cdu_corner a, cdu_corner b, cdu_corner p)
{
    int64_t left = ((int64_t)b.x - a.x) * ((int64_t)p.y - a.y), right = ((int64_t)b.y - a.y) * ((int64_t)p.x - a.x);
    return left < right ? -1 : left > right;
}

/* p, known to be on the line through a and b, lies between them and is neither. */
static bool within(cdu_corner a, cdu_corner b, cdu_corner p)
{
    int64_t dot = ((int64_t)b.x - a.x) * ((int64_t)p.x - a.x) + ((int64_t)b.y - a.y) * ((int64_t)p.y - a.y);
    int64_t length = ((int64_t)b.x - a.x) * ((int64_t)b.x - a.x) + ((int64_t)b.y - a.y) * ((int64_t)b.y - a.y);
    return dot > 0 && dot < length;
}

static bool same_corner(cdu_corner a, cdu_corner b)
{
    return a.x == b.x && a.y == b.y;
}

static bool sides_cross(const side *s, const side *t)
{
    if ((s->a.y < t->a.y && s->a.y < t->b.y && s->b.y < t->a.y && s->b.y < t->b.y) ||
        (s->a.y > t->a.y && s->a.y > t->b.y && s->b.y > t->a.y && s->b.y > t->b.y))
        return false;
    int ta = turn(s->a, s->b, t->a), tb = turn(s->a, s->b, t->b), sa = turn(t->a, t->b, s->a), sb = turn(t->a, t->b, s->b);
    if (ta * tb < 0 && sa * sb < 0) return true;
    if ((!ta && within(s->a, s->b, t->a)) || (!tb && within(s->a, s->b, t->b)) || (!sa && within(t->a, t->b, s->a)) ||
        (!sb && within(t->a, t->b, s->b)))
        return true;
    return (same_corner(s->a, t->a) && same_corner(s->b, t->b)) || (same_corner(s->a, t->b) && same_corner(s->b, t->a));
}

cdu_status cdu_corners_cross(const cdu_corners *rings, size_t count, bool *cross, cdu_error *error)
{
    size_t total = 0, used = 0;
    int32_t left = INT32_MAX, right = 0, top = INT32_MAX, bottom = 0;
    for (size_t r = 0; r < count; r++) total += rings[r].count;
    for (size_t i = 0; i < rings[0].count; i++) {
        cdu_corner at = rings[0].corners[i];
        left = at.x < left ? at.x : left;
        right = at.x > right ? at.x : right;
        top = at.y < top ? at.y : top;
        bottom = at.y > bottom ? at.y : bottom;
    }
    const bool tall = bottom - top > right - left; /* sorted along the longer way, fewer sides share a place */
    side *sides;
    CDU_TRY(cdu_allocate(&sides, total, sizeof *sides, error));
    for (size_t r = 0; r < count; r++)
        for (size_t i = 0; i < rings[r].count; i++) {
            cdu_corner a = rings[r].corners[i], b = rings[r].corners[i + 1 < rings[r].count ? i + 1 : 0];
            sides[used++] = tall ? (side){{a.y, a.x}, {b.y, b.x}} : (side){a, b};
        }
    qsort(sides, used, sizeof *sides, by_least_x);
    *cross = false;
    for (size_t i = 0; i < used && !*cross; i++)
        for (size_t k = i + 1; k < used && least_x(&sides[k]) <= most_x(&sides[i]) && !*cross; k++) *cross = sides_cross(&sides[i], &sides[k]);
    free(sides);
    return CDU_OK;
}
