/* render.c: slides band by band: the tiles of a band are painted by several threads, then the band goes to the files. A pixel
 * depends on its place and the seeds alone, so the bytes are the same for any number of threads. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/base/memory.h"
#include "core/base/progress.h"
#include "core/base/thread.h"
#include "core/slide/pyramid.h"
#include "tools/phantom/hand.h"
#include "tools/phantom/labels.h"
#include "tools/phantom/paint.h"
#include "tools/phantom/set.h"

typedef struct {
    const phantom_section *section;
    int64_t width, y; /* px; first row of the band */
    uint32_t rows;
    uint8_t *rgb, *classes; /* the band */
} band;

static cdu_status paint_tile(void *context, size_t i, cdu_error *error)
{
    band *b = context;
    phantom_tile *tile = NULL;
    CDU_TRY(cdu_allocate(&tile, 1, sizeof *tile, error));
    int64_t x = (int64_t)i * PHANTOM_TILE;
    uint32_t width = b->width - x < PHANTOM_TILE ? (uint32_t)(b->width - x) : PHANTOM_TILE;
    tile->x0 = (int32_t)x - PHANTOM_MARGIN;
    tile->y0 = (int32_t)b->y - PHANTOM_MARGIN;
    phantom_paint_ground(b->section, tile);
    phantom_paint_cells(b->section, tile);
    phantom_develop(b->section, tile, width, b->rows, b->rgb + 3 * x, b->classes + x, (size_t)b->width);
    free(tile);
    return CDU_OK;
}

typedef struct {
    const phantom_order *order;
    const char *folder;
    uint32_t threads;
    cdu_progress_bar bar;
    uint64_t done;
    uint8_t *rgb, *classes;
} renderer;

static cdu_status path_of(const renderer *r, const char *part, const phantom_slide *slide, const char *ending,
                          char path[CDU_PATH_LIMIT], cdu_error *error)
{
    char name[128];
    snprintf(name, sizeof name, "%s/%s%s", part, slide->name, ending);
    return cdu_path_join(path, r->folder, name, error);
}

static cdu_status render_bands(renderer *r, const phantom_section *section, const phantom_slide *slide, cdu_pyramid *image,
                               cdu_pyramid *mask, cdu_error *error)
{
    band b = {.section = section, .width = r->order->width, .rgb = r->rgb, .classes = r->classes};
    for (b.y = 0; b.y < r->order->height; b.y += PHANTOM_TILE) {
        b.rows = r->order->height - b.y < PHANTOM_TILE ? (uint32_t)(r->order->height - b.y) : PHANTOM_TILE;
        CDU_TRY(cdu_parallel(r->threads, (size_t)((b.width + PHANTOM_TILE - 1) / PHANTOM_TILE), paint_tile, &b, error));
        CDU_TRY(cdu_pyramid_write(image, r->rgb, b.rows, error));
        CDU_TRY(cdu_pyramid_write(mask, r->classes, b.rows, error));
        cdu_progress_update(&r->bar, ++r->done, slide->name);
    }
    return CDU_OK;
}

static cdu_status render_images(renderer *r, const phantom_section *section, const phantom_slide *slide, cdu_error *error)
{
    char path[CDU_PATH_LIMIT], description[160];
    snprintf(description, sizeof description, "cdunet phantom, %s, seed %llu", slide->name, (unsigned long long)r->order->seed);
    cdu_pyramid_settings settings = {.width = r->order->width,
                                     .height = r->order->height,
                                     .mpp = (double)PHANTOM_MPP,
                                     .jpeg_quality = section->style.jpeg_quality,
                                     .jpeg_subsampling = section->style.jpeg_subsampling,
                                     .description = description};
    cdu_pyramid *image = NULL, *mask = NULL;
    CDU_TRY(path_of(r, "slides", slide, ".tif", path, error));
    CDU_TRY(cdu_pyramid_begin(path, &settings, &image, error));
    cdu_pyramid_settings labels = {
        .width = settings.width, .height = settings.height, .mpp = settings.mpp, .labels = true, .description = description};
    for (size_t i = 0; i < phantom_label_count; i++) memcpy(labels.palette[phantom_labels[i].value], phantom_labels[i].color, 3);
    cdu_status status = path_of(r, "masks", slide, ".tif", path, error);
    if (status == CDU_OK) status = cdu_pyramid_begin(path, &labels, &mask, error);
    if (status == CDU_OK) status = render_bands(r, section, slide, image, mask, error);
    if (status == CDU_OK) {
        status = cdu_pyramid_finish(image, error);
        image = NULL;
    }
    if (status == CDU_OK) {
        status = cdu_pyramid_finish(mask, error);
        mask = NULL;
    }
    if (image) cdu_pyramid_discard(image);
    if (mask) cdu_pyramid_discard(mask);
    return status;
}

static cdu_status render_slide(renderer *r, const phantom_set *set, const phantom_slide *slide, const phantom_map *map,
                               cdu_error *error)
{
    const phantom_case *of = &set->cases[slide->case_index];
    phantom_section section;
    float width = (float)r->order->width * PHANTOM_MPP, height = (float)r->order->height * PHANTOM_MPP;
    phantom_section_draw(of->seed, slide->section, map, slide->assay, width, height, &section);
    if (r->order->haematoxylin) phantom_section_bare(&section);
    CDU_TRY(render_images(r, &section, slide, error));
    char path[CDU_PATH_LIMIT];
    cdu_annotations drawn = {0};
    CDU_TRY(path_of(r, "annotations", slide, ".geojson", path, error));
    CDU_TRY(phantom_hand_draw(&section, &drawn, error));
    cdu_status status = cdu_annotations_write(path, &drawn, of->seed + slide->section, error);
    cdu_annotations_free(&drawn);
    return status;
}

static cdu_status render_all(renderer *r, const phantom_set *set, cdu_error *error)
{
    float width = (float)r->order->width * PHANTOM_MPP, height = (float)r->order->height * PHANTOM_MPP;
    uint32_t slide = 0;
    for (uint32_t i = 0; i < set->case_count; i++) {
        const phantom_case *of = &set->cases[i];
        phantom_map map = {0};
        CDU_TRY(phantom_map_make(of->seed, width, height, &of->shares, &map, error));
        cdu_status status = CDU_OK;
        for (uint32_t k = 0; k < of->slides && status == CDU_OK; k++)
            status = render_slide(r, set, &set->slides[slide++], &map, error);
        phantom_map_free(&map);
        if (status != CDU_OK) return status;
    }
    return CDU_OK;
}

cdu_status phantom_set_render(const phantom_order *order, const phantom_set *set, const char *folder, uint32_t threads,
                              cdu_error *error)
{
    static const char *const parts[] = {"slides", "masks", "annotations"};
    char path[CDU_PATH_LIMIT];
    for (int i = 0; i < 3; i++) {
        CDU_TRY(cdu_path_join(path, folder, parts[i], error));
        CDU_TRY(cdu_folder_create(path, error));
    }
    phantom_develop_prepare();
    renderer r = {.order = order, .folder = folder, .threads = threads};
    size_t pixels = (size_t)order->width * PHANTOM_TILE;
    CDU_TRY(cdu_allocate(&r.rgb, pixels, 4, error));
    r.classes = r.rgb + 3 * pixels;
    r.bar = cdu_progress_begin("phantom slides", set->slide_count * (uint64_t)((order->height + PHANTOM_TILE - 1) / PHANTOM_TILE));
    cdu_status status = render_all(&r, set, error);
    cdu_progress_end(&r.bar);
    free(r.rgb);
    return status;
}
