/* contour.c: label maps to polygons. The map is swept once, a pair of rows at a time, over the lattice of pixel corners. A border edge between
 * two pixels belongs to the border of either pixel's area; it is walked with that area on the right (clockwise on the screen, outlines
 * and holes alike). At each corner every edge that comes in is joined with the one that goes out, so that pixels of one class that touch
 * only at a corner stay apart: areas are 4-connected. Unfinished borders are chains of corners with two open ends, both on the
 * current row. Areas are found by union-find over the same rows; when an outline closes its area is complete, is written out
 * and forgotten. Memory: what is unfinished, and the polygons.
 * A ring that touches itself at a corner is cut there into simple rings, as the rules for valid polygons want; simplified
 * rings of one polygon do not cross. Polygons of neighbouring classes are simplified each by itself, so that slivers may open between
 * them where the tolerance is not 0. */
#include "core/slide/contour.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/slide/corners.h"

#define NONE UINT32_MAX
enum { NO_CLASS = 256, SIDE_LIMIT = 1 << 30, ATTEMPTS = 6 };

typedef cdu_corner corner;
typedef struct { corner at; uint32_t next; } node;             /* of a chain, tail to head */
typedef struct { uint32_t node, peer; } chain_end;             /* the corner there, and the chain's other end */

typedef struct ring {
    struct ring *next;
    corner *corners;
    size_t count;
    double area;                       /* positive: outline, negative: hole; in map pixels */
} ring;

/* An area being built. Merged areas point to their parent; `member` links all that were merged in a circle, to free them together. */
typedef struct {
    uint32_t parent, member;
    uint64_t pixels;
    ring *holes;
} area;

struct cdu_contour {
    cdu_contour_settings settings;
    int64_t row;
    uint16_t *above, *below;           /* classes of the two rows at hand, width + 2 with NO_CLASS at both sides */
    uint32_t *above_area, *below_area; /* the pixels' areas, same layout */
    uint32_t *left_open, *right_open;  /* open chain ends at the column's lattice line: of the area left and right of it; width + 1 */
    node *nodes;
    chain_end *ends;
    area *areas;
    size_t node_capacity, node_count, end_capacity, end_count, area_capacity, area_count, item_capacity;
    uint32_t free_node, free_end, free_area;
    cdu_annotations out;
    cdu_error *error;
};

/* ---- pools ---- */

static cdu_status new_node(cdu_contour *c, int32_t x, int32_t y, uint32_t *out)
{
    if (c->free_node != NONE) {
        *out = c->free_node;
        c->free_node = c->nodes[*out].next;
    } else {
        if (c->node_count >= NONE) return cdu_fail(c->error, CDU_BAD_DATA, "the label map has more border corners than %u", NONE);
        CDU_TRY(cdu_grow(&c->nodes, &c->node_capacity, c->node_count + 1, sizeof *c->nodes, c->error));
        *out = (uint32_t)c->node_count++;
    }
    c->nodes[*out] = (node){{x, y}, NONE};
    return CDU_OK;
}

static cdu_status new_end(cdu_contour *c, uint32_t at, uint32_t *out)
{
    if (c->free_end != NONE) {
        *out = c->free_end;
        c->free_end = c->ends[*out].peer;
    } else {
        CDU_TRY(cdu_grow(&c->ends, &c->end_capacity, c->end_count + 1, sizeof *c->ends, c->error));
        *out = (uint32_t)c->end_count++;
    }
    c->ends[*out] = (chain_end){at, NONE};
    return CDU_OK;
}

static void release_end(cdu_contour *c, uint32_t end)
{
    c->ends[end].peer = c->free_end;
    c->free_end = end;
}

static cdu_status new_area(cdu_contour *c, uint32_t *out)
{
    if (c->free_area != NONE) {
        *out = c->free_area;
        c->free_area = c->areas[*out].parent;
    } else {
        if (c->area_count >= NONE) return cdu_fail(c->error, CDU_BAD_DATA, "the label map has more areas than %u", NONE);
        CDU_TRY(cdu_grow(&c->areas, &c->area_capacity, c->area_count + 1, sizeof *c->areas, c->error));
        *out = (uint32_t)c->area_count++;
    }
    c->areas[*out] = (area){.parent = *out, .member = *out};
    return CDU_OK;
}

static uint32_t find_area(cdu_contour *c, uint32_t at)
{
    while (c->areas[at].parent != at) {
        c->areas[at].parent = c->areas[c->areas[at].parent].parent;
        at = c->areas[at].parent;
    }
    return at;
}

static uint32_t merge_areas(cdu_contour *c, uint32_t one, uint32_t two)
{
    if (one == two) return one;
    area *a = &c->areas[one], *b = &c->areas[two];
    uint32_t member = a->member;
    a->member = b->member;
    b->member = member;
    b->parent = one;
    a->pixels += b->pixels;
    ring **last = &a->holes;
    if (b->holes) {
        while (*last) last = &(*last)->next;
        *last = b->holes;
        b->holes = NULL;
    }
    return one;
}

static void free_rings(ring *at)
{
    while (at) {
        ring *next = at->next;
        free(at->corners);
        free(at);
        at = next;
    }
}

static void release_area(cdu_contour *c, uint32_t root)
{
    uint32_t at = root;
    free_rings(c->areas[root].holes);
    c->areas[root].holes = NULL;
    do {
        uint32_t next = c->areas[at].member;
        c->areas[at].parent = c->free_area;
        c->areas[at].holes = NULL;
        c->free_area = at;
        at = next;
    } while (at != root);
}

/* ---- rings ---- */

/* Simplified copies of the rings into `to`. If they cross, all is tried again with half the tolerance, at last without any. */
static cdu_status simplify_rings(const cdu_contour *c, const ring *const *from, size_t count, cdu_corners *to)
{
    double tolerance = c->settings.tolerance;
    for (int attempt = 0; attempt <= ATTEMPTS; attempt++, tolerance = attempt < ATTEMPTS ? tolerance / 2 : 0) {
        bool cross = false;
        for (size_t i = 0; i < count; i++)
            CDU_TRY(cdu_corners_simplify(from[i]->corners, from[i]->count, tolerance, to[i].corners, &to[i].count, c->error));
        if (tolerance > 0) CDU_TRY(cdu_corners_cross(to, count, &cross, c->error));
        if (!cross) break;
    }
    return CDU_OK;
}

static cdu_status copy_rings(const cdu_contour *c, const ring *const *from, size_t count, cdu_polygon *polygon)
{
    cdu_corners *corners;
    CDU_TRY(cdu_allocate(&corners, count, sizeof *corners, c->error));
    cdu_status status = CDU_OK;
    for (size_t i = 0; i < count && status == CDU_OK; i++)
        status = cdu_allocate(&corners[i].corners, from[i]->count, sizeof *corners[i].corners, c->error);
    if (status == CDU_OK) status = simplify_rings(c, from, count, corners);
    for (size_t i = 0; i < count && status == CDU_OK; i++) {
        cdu_ring *to = &polygon->rings[polygon->count++];
        status = cdu_allocate(&to->points, corners[i].count, sizeof *to->points, c->error);
        if (status != CDU_OK) break;
        to->count = corners[i].count;
        for (size_t k = 0; k < to->count; k++)
            to->points[k] = (cdu_point){corners[i].corners[k].x * c->settings.scale, corners[i].corners[k].y * c->settings.scale};
    }
    for (size_t i = 0; i < count; i++) free(corners[i].corners);
    free(corners);
    return status;
}

static cdu_status write_area(cdu_contour *c, uint16_t class, const ring *outline, const ring *holes)
{
    size_t count = 1;
    for (const ring *hole = holes; hole; hole = hole->next) count += -hole->area >= c->settings.smallest;
    CDU_TRY(cdu_grow(&c->out.items, &c->item_capacity, c->out.count + 1, sizeof *c->out.items, c->error));
    cdu_annotation *item = &c->out.items[c->out.count++];
    *item = (cdu_annotation){.is_annotation = true};
    if (c->settings.colors) memcpy(item->color, c->settings.colors[class], 3);
    CDU_TRY(cdu_copy_text(&item->class_name, c->settings.names ? c->settings.names[class] : "", c->error));
    CDU_TRY(cdu_allocate(&item->polygons, 1, sizeof *item->polygons, c->error));
    item->count = 1;
    CDU_TRY(cdu_allocate(&item->polygons[0].rings, count, sizeof *item->polygons[0].rings, c->error));
    const ring **kept;
    CDU_TRY(cdu_allocate(&kept, count, sizeof *kept, c->error));
    kept[0] = outline;
    count = 1;
    for (const ring *hole = holes; hole; hole = hole->next)
        if (-hole->area >= c->settings.smallest) kept[count++] = hole;
    cdu_status status = copy_rings(c, kept, count, &item->polygons[0]);
    free(kept);
    return status;
}

static cdu_status add_ring(cdu_contour *c, const corner *corners, size_t count, ring **list)
{
    ring *at;
    CDU_TRY(cdu_allocate(&at, 1, sizeof *at, c->error));
    at->count = count;
    at->area = cdu_corners_area(corners, count);
    at->next = *list;
    *list = at;
    CDU_TRY(cdu_allocate(&at->corners, count, sizeof *at->corners, c->error));
    memcpy(at->corners, corners, count * sizeof *corners);
    return CDU_OK;
}

typedef struct { corner at; size_t index; } place;

static int by_place(const void *a, const void *b)
{
    const place *one = a, *two = b;
    if (one->at.y != two->at.y) return one->at.y < two->at.y ? -1 : 1;
    if (one->at.x != two->at.x) return one->at.x < two->at.x ? -1 : 1;
    return one->index < two->index ? -1 : one->index > two->index;
}

/* Cuts a ring where it touches itself: a corner met for the second time closes a loop, which is taken out. A corner is met at most
 * twice. `twin` tells for each index the index of the same corner's other visit, or itself. */
static cdu_status cut_loops(cdu_contour *c, const corner *corners, size_t count, const size_t *twin, corner *stack, size_t *depth_of,
                            ring **loops)
{
    size_t depth = 0;
    for (size_t i = 0; i < count; i++) {
        if (twin[i] < i) {
            size_t from = depth_of[twin[i]];
            CDU_TRY(add_ring(c, stack + from, depth - from, loops));
            depth = from;
        }
        depth_of[i] = depth;
        stack[depth++] = corners[i];
    }
    return add_ring(c, stack, depth, loops);
}

static cdu_status split_ring(cdu_contour *c, const corner *corners, size_t count, ring **loops)
{
    place *places = NULL;
    size_t *twin = NULL, *depth_of = NULL;
    corner *stack = NULL;
    cdu_status status = cdu_allocate(&places, count, sizeof *places, c->error);
    if (status == CDU_OK) status = cdu_allocate(&twin, count, sizeof *twin, c->error);
    if (status == CDU_OK) status = cdu_allocate(&depth_of, count, sizeof *depth_of, c->error);
    if (status == CDU_OK) status = cdu_allocate(&stack, count, sizeof *stack, c->error);
    if (status == CDU_OK) {
        for (size_t i = 0; i < count; i++) {
            places[i] = (place){corners[i], i};
            twin[i] = i;
        }
        qsort(places, count, sizeof *places, by_place);
        for (size_t i = 1; i < count; i++)
            if (places[i].at.x == places[i - 1].at.x && places[i].at.y == places[i - 1].at.y) {
                twin[places[i].index] = places[i - 1].index;
                twin[places[i - 1].index] = places[i].index;
            }
        status = cut_loops(c, corners, count, twin, stack, depth_of, loops);
    }
    free(places);
    free(twin);
    free(depth_of);
    free(stack);
    return status;
}

/* The chain from node `first` is a closed ring: take its corners, free its nodes. */
static cdu_status take_corners(cdu_contour *c, uint32_t first, corner **out, size_t *count)
{
    *count = 0;
    for (uint32_t at = first; at != NONE; at = c->nodes[at].next) ++*count;
    CDU_TRY(cdu_allocate(out, *count, sizeof **out, c->error));
    size_t i = 0;
    for (uint32_t at = first, next; at != NONE; at = next) {
        next = c->nodes[at].next;
        (*out)[i++] = c->nodes[at].at;
        c->nodes[at].next = c->free_node;
        c->free_node = at;
    }
    return CDU_OK;
}

/* `outline`: the ring is one, and its area is complete. */
static cdu_status close_ring(cdu_contour *c, uint32_t first, uint16_t class, uint32_t root, bool outline)
{
    corner *corners = NULL;
    size_t count;
    ring *loops = NULL, *shell = NULL;
    CDU_TRY(take_corners(c, first, &corners, &count));
    cdu_status status = split_ring(c, corners, count, &loops);
    free(corners);
    while (loops) {
        ring *at = loops;
        loops = at->next;
        at->next = NULL;
        if (outline && at->area > 0 && !shell) {
            shell = at;
        } else {
            at->next = c->areas[root].holes;
            c->areas[root].holes = at;
        }
    }
    if (status == CDU_OK && shell && (double)c->areas[root].pixels >= c->settings.smallest)
        status = write_area(c, class, shell, c->areas[root].holes);
    free_rings(shell);
    if (outline) release_area(c, root);
    return status;
}

/* ---- the sweep ---- */

/* What the borders around one corner are doing. The four pixels: 0 above left, 1 above right, 2 below left, 3 below right. Each pixel has
 * at most one edge coming in (with the pixel on its right) and one going out. */
typedef struct {
    uint32_t above, below;             /* open ends on the horizontal edge left of the corner: of the area above it, and below */
} carried;

static cdu_status append(cdu_contour *c, uint32_t head, int32_t x, int32_t y)
{
    uint32_t at;
    CDU_TRY(new_node(c, x, y, &at));
    c->nodes[c->ends[head].node].next = at;
    c->ends[head].node = at;
    return CDU_OK;
}

static cdu_status prepend(cdu_contour *c, uint32_t tail, int32_t x, int32_t y)
{
    uint32_t at;
    CDU_TRY(new_node(c, x, y, &at));
    c->nodes[at].next = c->ends[tail].node;
    c->ends[tail].node = at;
    return CDU_OK;
}

static cdu_status begin_chain(cdu_contour *c, int32_t x, int32_t y, uint32_t *head, uint32_t *tail)
{
    uint32_t at;
    CDU_TRY(new_node(c, x, y, &at));
    CDU_TRY(new_end(c, at, head));
    CDU_TRY(new_end(c, at, tail));
    c->ends[*head].peer = *tail;
    c->ends[*tail].peer = *head;
    return CDU_OK;
}

/* `head` goes on at `tail`. */
static cdu_status join(cdu_contour *c, uint32_t head, uint32_t tail, uint16_t class, uint32_t area_at, bool outline)
{
    if (c->ends[head].peer == tail) {
        uint32_t first = c->ends[tail].node;
        release_end(c, head);
        release_end(c, tail);
        return close_ring(c, first, class, find_area(c, area_at), outline);
    }
    uint32_t start = c->ends[head].peer, finish = c->ends[tail].peer;
    c->nodes[c->ends[head].node].next = c->ends[tail].node;
    c->ends[start].peer = finish;
    c->ends[finish].peer = start;
    release_end(c, head);
    release_end(c, tail);
    return CDU_OK;
}

static cdu_status visit_corner(cdu_contour *c, int32_t x, int32_t y, carried *left)
{
    const uint16_t pixel[4] = {c->above[x], c->above[x + 1], c->below[x], c->below[x + 1]};
    /* in: over the upper edge (0), the right (1), the left (2), the lower (3); out: left, upper, lower, right. A pixel has the edge when
     * the pixel on its other side is of another class. */
    static const uint8_t in_other[4] = {1, 3, 0, 2}, out_other[4] = {2, 0, 3, 1};
    const uint32_t in_end[4] = {c->left_open[x], NONE, left->below, NONE}, out_end[4] = {left->above, c->right_open[x], NONE, NONE};
    uint32_t came[4] = {NONE, NONE, NONE, NONE}, went[4] = {NONE, NONE, NONE, NONE}; /* new open ends, tails and heads */
    for (int p = 0; p < 4; p++) {
        if (pixel[p] == NO_CLASS || pixel[in_other[p]] == pixel[p]) continue;
        int q = p, same = 0;
        for (int k = 0; k < 4; k++) same += pixel[k] == pixel[p];
        if (pixel[out_other[p]] == pixel[p]) /* else the pixel's own corner is turned around, also where another touches here */
            for (q = 0; pixel[q] != pixel[p] || pixel[out_other[q]] == pixel[p];) q++;
        bool in_known = p == 0 || p == 2, out_known = q < 2, straight = q != p && same == 2;
        if (in_known && out_known) {
            CDU_TRY(append(c, in_end[p], x, y));
            CDU_TRY(join(c, in_end[p], out_end[q], pixel[p], p == 0 ? c->above_area[x] : c->below_area[x], p == 0));
        } else if (in_known) {
            if (!straight) CDU_TRY(append(c, in_end[p], x, y));
            went[q] = in_end[p];
        } else if (out_known) {
            if (!straight) CDU_TRY(prepend(c, out_end[q], x, y));
            came[p] = out_end[q];
        } else {
            CDU_TRY(begin_chain(c, x, y, &went[q], &came[p]));
        }
    }
    left->above = came[1];
    left->below = went[3];
    c->left_open[x] = went[2];
    c->right_open[x] = came[3];
    return CDU_OK;
}

/* Gives the pixels of the row below their areas: those of touching pixels of the same class above, merged, or new ones. */
static cdu_status find_areas(cdu_contour *c)
{
    const int64_t width = c->settings.width;
    for (int64_t x = 1, end; x <= width; x = end) {
        uint16_t class = c->below[x];
        uint32_t at = NONE, seen = NONE;
        for (end = x; end <= width && c->below[end] == class; end++) {
            if (class == NO_CLASS || c->above[end] != class || c->above_area[end] == seen) continue;
            seen = c->above_area[end];
            uint32_t root = find_area(c, seen);
            at = at == NONE ? root : merge_areas(c, at, root);
        }
        if (class == NO_CLASS) continue;
        if (at == NONE) CDU_TRY(new_area(c, &at));
        c->areas[at].pixels += (uint64_t)(end - x);
        for (int64_t i = x; i < end; i++) c->below_area[i] = at;
    }
    return CDU_OK;
}

/* Corners between c->above and c->below; afterwards the lower row is the upper one. */
static cdu_status sweep(cdu_contour *c)
{
    const int32_t width = (int32_t)c->settings.width, y = (int32_t)c->row;
    carried left = {NONE, NONE};
    CDU_TRY(find_areas(c));
    for (int32_t x = 0; x <= width; x++) {
        const uint16_t *above = c->above + x, *below = c->below + x;
        if (above[0] == above[1] && below[0] == below[1] && above[0] == below[0]) continue;
        CDU_TRY(visit_corner(c, x, y, &left));
    }
    uint16_t *row = c->above;
    c->above = c->below;
    c->below = row;
    uint32_t *areas = c->above_area;
    c->above_area = c->below_area;
    c->below_area = areas;
    c->row++;
    return CDU_OK;
}

cdu_status cdu_contour_begin(const cdu_contour_settings *settings, cdu_contour **out, cdu_error *error)
{
    *out = NULL;
    if (settings->width < 1 || settings->height < 1 || settings->width > SIDE_LIMIT || settings->height > SIDE_LIMIT || !settings->classes ||
        settings->classes > 256 || !(settings->scale > 0))
        return cdu_fail(error, CDU_FAILED, "contours of a map of %lld x %lld pixels, %u classes, scale %g cannot be made",
                        (long long)settings->width, (long long)settings->height, settings->classes, settings->scale);
    cdu_contour *c;
    CDU_TRY(cdu_allocate(&c, 1, sizeof *c, error));
    c->settings = *settings;
    c->free_node = c->free_end = c->free_area = NONE;
    size_t room = (size_t)settings->width + 2;
    cdu_status status = cdu_allocate(&c->above, room, sizeof *c->above, error);
    if (status == CDU_OK) status = cdu_allocate(&c->below, room, sizeof *c->below, error);
    if (status == CDU_OK) status = cdu_allocate(&c->above_area, room, sizeof *c->above_area, error);
    if (status == CDU_OK) status = cdu_allocate(&c->below_area, room, sizeof *c->below_area, error);
    if (status == CDU_OK) status = cdu_allocate(&c->left_open, room, sizeof *c->left_open, error);
    if (status == CDU_OK) status = cdu_allocate(&c->right_open, room, sizeof *c->right_open, error);
    if (status != CDU_OK) {
        cdu_contour_discard(c);
        return status;
    }
    for (size_t i = 0; i < room; i++) c->above[i] = c->below[i] = NO_CLASS;
    *out = c;
    return CDU_OK;
}

cdu_status cdu_contour_write(cdu_contour *c, const uint8_t *labels, uint32_t rows, cdu_error *error)
{
    c->error = error;
    if (c->row + rows > c->settings.height)
        return cdu_fail(error, CDU_FAILED, "%lld rows where the label map has %lld", (long long)(c->row + rows), (long long)c->settings.height);
    for (uint32_t i = 0; i < rows; i++) {
        const uint8_t *from = labels + (size_t)i * (size_t)c->settings.width;
        for (int64_t x = 0; x < c->settings.width; x++) {
            bool counts = from[x] < c->settings.classes && !(from[x] < 32 && c->settings.skip >> from[x] & 1);
            c->below[x + 1] = counts ? from[x] : NO_CLASS;
        }
        CDU_TRY(sweep(c));
    }
    return CDU_OK;
}

cdu_status cdu_contour_finish(cdu_contour *c, cdu_annotations *out, cdu_error *error)
{
    *out = (cdu_annotations){0};
    c->error = error;
    cdu_status status = CDU_OK;
    if (c->row != c->settings.height)
        status = cdu_fail(error, CDU_FAILED, "%lld rows were given where the label map has %lld", (long long)c->row, (long long)c->settings.height);
    if (status == CDU_OK) {
        for (int64_t x = 0; x < c->settings.width; x++) c->below[x + 1] = NO_CLASS;
        status = sweep(c);
    }
    if (status == CDU_OK) {
        *out = c->out;
        c->out = (cdu_annotations){0};
    }
    cdu_contour_discard(c);
    return status;
}

void cdu_contour_discard(cdu_contour *c)
{
    if (!c) return;
    for (size_t i = 0; i < c->area_count; i++) free_rings(c->areas[i].holes);
    free(c->above);
    free(c->below);
    free(c->above_area);
    free(c->below_area);
    free(c->left_open);
    free(c->right_open);
    free(c->nodes);
    free(c->ends);
    free(c->areas);
    cdu_annotations_free(&c->out);
    free(c);
}
