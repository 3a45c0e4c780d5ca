/* gallery.c: see gallery.h. */
#include "core/train/gallery.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"

enum { PICTURE = 288 }; /* a picture is at most so wide */

static void free_tile(cdu_gallery_tile *tile)
{
    free(tile->truth);
    free(tile->predicted);
    free(tile->rgb);
    *tile = (cdu_gallery_tile){0};
}

void cdu_gallery_begin(cdu_gallery *g, uint32_t tile, uint32_t most, uint32_t classes)
{
    *g = (cdu_gallery){.tile = tile, .most = most < CDU_GALLERY_MOST ? most : CDU_GALLERY_MOST, .classes = classes};
}

void cdu_gallery_free(cdu_gallery *g)
{
    for (int k = 0; k < CDU_GALLERY_KINDS; k++)
        for (int i = 0; i < CDU_GALLERY_MOST; i++) free_tile(&g->kept[k][i]), free_tile(&g->here[k][i]);
    free(g->truth);
    free(g->predicted);
    *g = (cdu_gallery){0};
}

void cdu_gallery_slide(cdu_gallery *g, int64_t width, int64_t height)
{
    int64_t least = width < height ? width : height;
    g->side = least < g->tile ? (uint32_t)least : g->tile;
    g->y = 0;
    g->filled = 0;
    for (int k = 0; k < CDU_GALLERY_KINDS; k++) { /* those of a slide that failed half-way */
        for (int i = 0; i < CDU_GALLERY_MOST; i++) free_tile(&g->here[k][i]);
        g->here_counts[k] = 0;
    }
}

/* Whether `a` stands before `b` in a list of its kind. */
static bool before(const cdu_gallery_tile *a, const cdu_gallery_tile *b, int kind)
{
    if (a->varied != b->varied) return a->varied;
    if (a->rank != b->rank) return a->rank < b->rank;
    return kind ? a->right < b->right : a->right > b->right;
}

/* Makes room in a sorted list for `tile` and puts it there; false, and nothing is done, where it would be behind the last one. */
static bool insert(cdu_gallery_tile *list, uint32_t *count, uint32_t most, const cdu_gallery_tile *tile, int kind)
{
    uint32_t at = 0;
    while (at < *count && !before(tile, &list[at], kind)) at++;
    if (at == most) return false;
    if (*count == most) free_tile(&list[most - 1]);
    else ++*count;
    memmove(list + at + 1, list + at, (*count - 1 - at) * sizeof *list);
    list[at] = *tile;
    return true;
}

/* One of every `step` pixels of the tile's rows in the buffers. */
static cdu_status copy_labels(const cdu_gallery *g, int64_t width, cdu_gallery_tile *tile, cdu_error *error)
{
    size_t pixels = (size_t)tile->picture * tile->picture;
    CDU_TRY(cdu_allocate(&tile->truth, pixels, 1, error));
    CDU_TRY(cdu_allocate(&tile->predicted, pixels, 1, error));
    for (uint32_t y = 0; y < tile->picture; y++)
        for (uint32_t x = 0; x < tile->picture; x++) {
            size_t from = (size_t)(y * tile->step) * (size_t)width + (size_t)tile->x + x * tile->step;
            tile->truth[y * tile->picture + x] = g->truth[from];
            tile->predicted[y * tile->picture + x] = g->predicted[from];
        }
    return CDU_OK;
}

static cdu_status consider(cdu_gallery *g, int64_t width, int64_t x, cdu_error *error)
{
    const uint32_t side = g->side;
    cdu_confusion confusion = {.classes = g->classes};
    uint64_t hits = 0, present = 0;
    for (uint32_t row = 0; row < side; row++) {
        size_t at = (size_t)row * (size_t)width + (size_t)x;
        cdu_confusion_add(&confusion, g->truth + at, g->predicted + at, side);
    }
    uint64_t pixels = cdu_confusion_pixels(&confusion), all = (uint64_t)side * side;
    if (2 * pixels < all) return CDU_OK;
    for (uint32_t c = 0; c < g->classes; c++) {
        hits += confusion.pixels[c][c];
        present += 100 * cdu_confusion_truth(&confusion, c) >= all;
    }
    cdu_gallery_tile tile = {.x = x, .y = g->y, .side = side, .right = (double)hits / (double)pixels, .varied = present > 1};
    tile.step = (side + PICTURE - 1) / PICTURE;
    tile.picture = side / tile.step;
    for (int kind = 0; kind < CDU_GALLERY_KINDS; kind++) {
        cdu_gallery_tile copy = tile;
        uint32_t count = g->here_counts[kind];
        if (count == g->most && !before(&copy, &g->here[kind][count - 1], kind)) continue;
        cdu_status status = copy_labels(g, width, &copy, error);
        if (status != CDU_OK || !insert(g->here[kind], &g->here_counts[kind], g->most, &copy, kind)) free_tile(&copy);
        CDU_TRY(status);
    }
    return CDU_OK;
}

cdu_status cdu_gallery_rows(cdu_gallery *g, int64_t width, uint32_t rows, const uint8_t *truth, const uint8_t *predicted, cdu_error *error)
{
    size_t pixels = (size_t)width * g->side;
    CDU_TRY(cdu_grow(&g->truth, &g->truth_capacity, pixels, 1, error));
    CDU_TRY(cdu_grow(&g->predicted, &g->predicted_capacity, pixels, 1, error));
    while (rows) {
        uint32_t count = g->side - g->filled < rows ? g->side - g->filled : rows;
        size_t at = (size_t)g->filled * (size_t)width, bytes = (size_t)count * (size_t)width;
        memcpy(g->truth + at, truth, bytes);
        memcpy(g->predicted + at, predicted, bytes);
        truth += bytes;
        predicted += bytes;
        rows -= count;
        g->filled += count;
        if (g->filled < g->side) break;
        for (int64_t x = 0; x + g->side <= width; x += g->side) CDU_TRY(consider(g, width, x, error));
        g->y += g->side;
        g->filled = 0;
    }
    return CDU_OK;
}

cdu_status cdu_gallery_slide_end(cdu_gallery *g, cdu_slide *slide, double mpp, const char *name, const char *stain, cdu_error *error)
{
    for (int kind = 0; kind < CDU_GALLERY_KINDS; kind++) {
        for (uint32_t i = 0; i < g->here_counts[kind]; i++) {
            cdu_gallery_tile *tile = &g->here[kind][i];
            tile->slide = name;
            tile->stain = stain;
            tile->rank = i;
            CDU_TRY(cdu_allocate(&tile->rgb, (size_t)tile->picture * tile->picture, 3, error));
            CDU_TRY(cdu_slide_read(slide, mpp * tile->step, tile->x / tile->step, tile->y / tile->step, tile->picture, tile->picture,
                                   tile->rgb, error));
            if (!insert(g->kept[kind], &g->counts[kind], g->most, tile, kind)) free_tile(tile);
            *tile = (cdu_gallery_tile){0};
        }
        g->here_counts[kind] = 0;
    }
    return CDU_OK;
}
