/* tile_index.c: see tile_index.h. Each slide is worked on by one thread and gives its own list; the lists are joined in the study's
 * order, so the number of threads changes nothing. */
#include "core/study/tile_index.h"

#include <stdlib.h>
#include <string.h>

#include "cdunet/log.h"
#include "core/base/memory.h"
#include "core/base/random.h"
#include "core/base/thread.h"

typedef struct {
    cdu_tile *tiles;
    size_t count, capacity;
    uint64_t pixels[CDU_CLASS_LIMIT];        /* over all tiles */
    uint64_t slide_pixels[CDU_CLASS_LIMIT];  /* every pixel once */
} part;

typedef struct {
    const cdu_study *study;
    const uint32_t *slides;
    part *parts;
} job;

typedef struct {
    uint8_t *cells;
    uint32_t cell, columns, rows;
} glass_map;

static bool all_glass(const glass_map *map, int64_t x, int64_t y, uint32_t size)
{
    for (int64_t row = y / map->cell; row <= (y + size - 1) / map->cell && row < map->rows; row++)
        for (int64_t column = x / map->cell; column <= (x + size - 1) / map->cell && column < map->columns; column++)
            if (map->cells[row * map->columns + column]) return false;
    return true;
}

/* Tiles along an axis: one every stride; the last is moved back so that it ends with the slide. */
static int64_t tiles_along(int64_t length, uint32_t size, uint32_t stride)
{
    return length <= size ? 1 : (length - size + stride - 1) / stride + 1;
}

static int64_t tile_start(int64_t number, int64_t length, uint32_t size, uint32_t stride)
{
    int64_t start = number * stride, last = length > size ? length - size : 0;
    return start < last ? start : last;
}

/* Counts classes in the tile, and once more those pixels that no earlier tile had: right of `seen_x` and below `seen_y`. */
static void count_classes(const uint8_t *labels, cdu_tile *tile, uint32_t size, int64_t seen_x, int64_t seen_y, part *to)
{
    uint32_t all[256] = {0}, fresh[256] = {0};
    for (uint32_t row = 0; row < size; row++) {
        const uint8_t *at = labels + (size_t)row * size;
        for (uint32_t column = 0; column < size; column++) all[at[column]]++;
        if (tile->y + row < seen_y) continue;
        for (int64_t x = tile->x > seen_x ? tile->x : seen_x; x < tile->x + size; x++) fresh[at[x - tile->x]]++;
    }
    for (int c = 0; c < CDU_CLASS_LIMIT; c++) {
        tile->pixels[c] = all[c];
        to->slide_pixels[c] += fresh[c];
    }
}

static bool keep_tile(const job *j, const cdu_tile *tile, const glass_map *map, uint64_t number)
{
    uint64_t others = 0;
    for (int c = 1; c < CDU_CLASS_LIMIT; c++) others += tile->pixels[c];
    if (others) return true;
    if (!tile->pixels[0]) return false; /* nothing of it is labelled */
    if (!map->cells || !all_glass(map, tile->x, tile->y, j->study->tiles.size)) return true;
    cdu_random stream = cdu_random_stream(j->study->train.seed, CDU_RANDOM_TILES, tile->slide, (uint32_t)number);
    return cdu_random_double(&stream) < j->study->tiles.empty;
}

static cdu_status scan_tiles(const job *j, cdu_labelled_slide *opened, const glass_map *map, uint32_t slide, uint8_t *labels, part *out,
                             cdu_error *error)
{
    const uint32_t size = j->study->tiles.size, stride = j->study->tiles.stride;
    const double mpp = j->study->tiles.mpp, scale = mpp / cdu_slide_info_of(opened->slide).mpp;
    int64_t width, height, seen_y = 0;
    cdu_slide_size_at(opened->slide, mpp, &width, &height);
    const int64_t columns = tiles_along(width, size, stride), rows = tiles_along(height, size, stride);
    for (int64_t row = 0; row < rows; row++) {
        int64_t seen_x = 0, y = tile_start(row, height, size, stride);
        for (int64_t column = 0; column < columns; column++) {
            cdu_tile tile = {.slide = slide, .x = tile_start(column, width, size, stride), .y = y};
            CDU_TRY(cdu_label_source_read(opened->labels, scale, tile.x, tile.y, size, size, labels, error));
            count_classes(labels, &tile, size, seen_x, seen_y, out);
            seen_x = tile.x + size;
            if (!keep_tile(j, &tile, map, (uint64_t)(row * columns + column))) continue;
            CDU_TRY(cdu_grow(&out->tiles, &out->capacity, out->count + 1, sizeof *out->tiles, error));
            out->tiles[out->count++] = tile;
            for (int c = 0; c < CDU_CLASS_LIMIT; c++) out->pixels[c] += tile.pixels[c];
        }
        seen_y = y + size;
    }
    return CDU_OK;
}

static cdu_status index_slide(void *context, size_t i, cdu_error *error)
{
    job *j = context;
    const cdu_study_slide *which = &j->study->slides[j->slides[i]];
    const uint32_t size = j->study->tiles.size;
    cdu_labelled_slide opened;
    CDU_TRY(cdu_labelled_slide_open(j->study, which, &opened, error));
    glass_map map = {.cell = size >= 128 ? size / 16 : 8};
    uint8_t *labels = NULL;
    cdu_status status = cdu_allocate(&labels, (size_t)size * size, 1, error);
    if (status == CDU_OK && j->study->tiles.empty < 1)
        status = cdu_slide_find_tissue(opened.slide, j->study->tiles.mpp, map.cell, &map.cells, &map.columns, &map.rows, error);
    if (status == CDU_OK) status = scan_tiles(j, &opened, &map, j->slides[i], labels, &j->parts[i], error);
    free(map.cells);
    free(labels);
    cdu_labelled_slide_close(&opened);
    return status;
}

static cdu_status join(const job *j, size_t slides, cdu_tile_index *out, cdu_error *error)
{
    size_t total = 0;
    for (size_t i = 0; i < slides; i++) total += j->parts[i].count;
    CDU_TRY(cdu_allocate(&out->tiles, total, sizeof *out->tiles, error));
    for (size_t i = 0; i < slides; i++) {
        const part *from = &j->parts[i];
        uint64_t labelled = 0;
        if (from->count) memcpy(out->tiles + out->count, from->tiles, from->count * sizeof *from->tiles);
        out->count += from->count;
        for (int c = 0; c < CDU_CLASS_LIMIT; c++) labelled += from->pixels[c];
        for (int c = 0; c < CDU_CLASS_LIMIT; c++) {
            out->class_pixels[c] += from->pixels[c];
            out->slide_class_pixels[c] += from->slide_pixels[c];
            if (from->pixels[c]) out->present_pixels[c] += labelled;
        }
    }
    return CDU_OK;
}

static const char *split_word(cdu_split split)
{
    return split == CDU_SPLIT_TRAIN ? "training" : split == CDU_SPLIT_VALIDATION ? "validation" : "test";
}

static cdu_status check(const cdu_study *study, cdu_split split, bool need_all_classes, size_t slides, const cdu_tile_index *index,
                        cdu_error *error)
{
    if (!index->count)
        return cdu_fail(error, CDU_BAD_DATA, "%s: the %zu annotated %s slides give no tile with labelled pixels at %g um/px; annotate slides, or "
                        "look at annotations.unannotated and annotations.region", study->path, slides, split_word(split), index->mpp);
    for (size_t c = 0; need_all_classes && c < study->class_count; c++)
        if (!index->class_pixels[c])
            return cdu_fail(error, CDU_BAD_DATA, "%s: class '%s' has no pixel in the %zu annotated %s slides; annotate it or take it out of classes",
                            study->path, study->classes[c].name, slides, split_word(split));
    return CDU_OK;
}

static size_t choose_slides(const cdu_study *study, cdu_split split, uint32_t *slides)
{
    size_t count = 0;
    for (size_t i = 0; i < study->slide_count; i++) {
        if (study->slides[i].split != split) continue;
        if (study->slides[i].annotation) slides[count++] = (uint32_t)i;
        else cdu_log(CDU_LOG_WARNING, "%s:%zu: this %s slide has no annotation and gives no tiles", study->slides_path, study->slides[i].line,
                     split_word(split));
    }
    return count;
}

cdu_status cdu_tile_index_build(const cdu_study *study, cdu_split split, bool need_all_classes, uint32_t threads,
                                cdu_tile_index *out, cdu_error *error)
{
    *out = (cdu_tile_index){.size = study->tiles.size, .classes = (uint32_t)study->class_count, .mpp = study->tiles.mpp};
    uint32_t *slides;
    CDU_TRY(cdu_allocate(&slides, study->slide_count, sizeof *slides, error));
    size_t count = choose_slides(study, split, slides);
    job j = {.study = study, .slides = slides};
    cdu_status status = cdu_allocate(&j.parts, count, sizeof *j.parts, error);
    if (status == CDU_OK) status = cdu_parallel(threads, count, index_slide, &j, error);
    if (status == CDU_OK) status = join(&j, count, out, error);
    if (status == CDU_OK) status = check(study, split, need_all_classes, count, out, error);
    for (size_t i = 0; j.parts && i < count; i++) free(j.parts[i].tiles);
    free(j.parts);
    free(slides);
    if (status != CDU_OK) cdu_tile_index_free(out);
    return status;
}

void cdu_tile_index_free(cdu_tile_index *index)
{
    free(index->tiles);
    *index = (cdu_tile_index){0};
}

void cdu_class_weights(const cdu_study *study, const cdu_tile_index *index, float weights[CDU_CLASS_LIMIT])
{
    double frequencies[CDU_CLASS_LIMIT], sorted[CDU_CLASS_LIMIT];
    size_t count = 0;
    for (size_t c = 0; c < CDU_CLASS_LIMIT; c++) {
        weights[c] = c < index->classes && !study->train.median_frequency;
        frequencies[c] = index->present_pixels[c] ? (double)index->class_pixels[c] / (double)index->present_pixels[c] : 0;
        if (c >= index->classes || !(frequencies[c] > 0)) continue;
        size_t at = count++;
        for (; at && sorted[at - 1] > frequencies[c]; at--) sorted[at] = sorted[at - 1];
        sorted[at] = frequencies[c];
    }
    if (!study->train.median_frequency || !count) return;
    double median = (sorted[(count - 1) / 2] + sorted[count / 2]) / 2;
    for (size_t c = 0; c < index->classes; c++)
        if (frequencies[c] > 0) weights[c] = (float)(median / frequencies[c]);
}
