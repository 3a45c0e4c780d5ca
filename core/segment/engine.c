/* engine.c: the loop of segmentation. Tiles are read in the background (reader.h) while the device works; while it works, the
 * tiles before are blended and their labels handed out (blend.h). One batch is on the device at a time; reading the
 * probabilities back waits for it. */
#include "core/segment/engine.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cdunet/log.h"
#include "core/base/memory.h"
#include "core/base/progress.h"
#include "core/base/stop.h"
#include "core/segment/blend.h"
#include "core/segment/reader.h"

enum { TILE_LIMIT = 8192, BATCH_LIMIT = 256 };
/* Networks trained on small tiles run on larger ones: what the zero padding at a tile's border does reaches about 90 pixels far
 * at depth 5, so small tiles would show as blocks. */
enum { DEFAULT_TILE = 512 };

struct cdu_segmenter {
    const cdu_gpu *gpu;
    cdu_model_about about;
    cdu_weights weights; /* a copy: memory may run short after the first slide was begun */
    uint32_t tile, halo, batch;
    uint64_t memory;
    bool exact;
    cdu_program *beside;
    bool keep_glass, halved;
    cdu_graph *graph;
    cdu_program *program;
    cdu_inference_graph values;
    float *probabilities; /* batch x tile x tile x classes */
};

static cdu_status copy_weights(cdu_segmenter *s, const cdu_weights *weights, cdu_error *error)
{
    cdu_weights_free(&s->weights);
    CDU_TRY(cdu_allocate(&s->weights.items, weights->count, sizeof *s->weights.items, error));
    for (size_t i = 0; i < weights->count; i++) {
        const cdu_weight *from = &weights->items[i];
        cdu_weight *to = &s->weights.items[s->weights.count++];
        *to = *from;
        to->data = NULL;
        size_t elements = 1;
        for (uint32_t d = 0; d < from->rank; d++) elements *= from->dims[d];
        CDU_TRY(cdu_allocate(&to->data, elements, sizeof *to->data, error));
        memcpy(to->data, from->data, elements * sizeof *to->data);
    }
    return CDU_OK;
}

static void drop_program(cdu_segmenter *s)
{
    cdu_program_destroy(s->program);
    cdu_graph_destroy(s->graph);
    free(s->probabilities);
    s->program = NULL;
    s->graph = NULL;
    s->probabilities = NULL;
}

static cdu_status build(cdu_segmenter *s, cdu_error *error)
{
    const cdu_plan_options forward = {.memory = s->memory, .exact = s->exact, .keep = true};
    CDU_TRY(cdu_allocate(&s->probabilities, (size_t)s->batch * s->tile * s->tile * s->about.settings.classes,
                         sizeof *s->probabilities, error));
    CDU_TRY(cdu_graph_create(&s->graph, error));
    CDU_TRY(cdu_model_build_inference(s->graph, &s->about.settings, s->batch, s->tile, s->tile, &s->values, error));
    CDU_TRY(cdu_program_create_beside(s->graph, s->gpu, &forward, s->beside, &s->program, error));
    return cdu_model_load_folded(s->graph, s->program, &s->about.settings, &s->weights, error);
}

/* A smaller batch or, where it is one already, tiles of half the size. False where there is nothing smaller. */
static bool shrink(cdu_segmenter *s, const char *why)
{
    uint32_t unit = 1u << (s->about.settings.depth - 1), half = s->tile / 2 / unit * unit;
    if (s->batch > 1 && s->memory) {
        cdu_log(CDU_LOG_INFO, "batches of %u tiles instead of %u, for the limit of memory", s->batch / 2, s->batch);
        s->batch /= 2;
        return true;
    }
    if (s->memory) return false;
    if (s->batch > 1) {
        cdu_log(CDU_LOG_WARNING, "%s; going on with batches of one tile", why);
        s->batch = 1;
        return true;
    }
    if (s->halved || half < 2 * unit) return false;
    cdu_log(CDU_LOG_WARNING, "%s; going on with tiles of %u pixels instead of %u", why, half, s->tile);
    s->halved = true;
    s->halo = s->halo / 2 > unit ? s->halo / 2 / unit * unit : s->halo / 2;
    s->tile = half;
    return true;
}

static cdu_status build_or_shrink(cdu_segmenter *s, cdu_error *error)
{
    cdu_error why = {0};
    for (;;) {
        cdu_status status = build(s, &why);
        if (status == CDU_OK) return CDU_OK;
        drop_program(s);
        if (status == CDU_TRY_AGAIN && shrink(s, why.words)) continue;
        if (error) *error = why;
        return status;
    }
}

static cdu_status settle(cdu_segmenter *s, const cdu_segment_settings *settings, cdu_error *error)
{
    const uint32_t unit = 1u << (s->about.settings.depth - 1);
    s->tile = settings->tile ? settings->tile : s->about.tile;
    if (!settings->tile && s->tile < DEFAULT_TILE) s->tile = DEFAULT_TILE;
    if (s->tile % unit || s->tile < unit || s->tile > TILE_LIMIT)
        return cdu_fail(error, CDU_USAGE, "tiles of %u pixels: this model needs a multiple of %u up to %d", s->tile, unit,
                        TILE_LIMIT);
    s->halo = settings->halo ? settings->halo : s->tile / 8 * 3;
    if (!settings->halo && s->halo > unit) s->halo = s->halo / unit * unit; /* every tile's pooling then starts at like places */
    if (s->halo > s->tile / 2)
        return cdu_fail(error, CDU_USAGE, "a halo of %u pixels: at most half of the tile's %u is possible", s->halo, s->tile);
    s->batch = settings->batch ? settings->batch : s->gpu->info.kind == CDU_CPU ? 1 : 4;
    if (s->batch > BATCH_LIMIT) return cdu_fail(error, CDU_USAGE, "batches of %u tiles: at most %d", s->batch, BATCH_LIMIT);
    s->keep_glass = settings->keep_glass;
    s->memory = settings->memory;
    s->exact = settings->exact;
    s->beside = settings->beside;
    return CDU_OK;
}

cdu_status cdu_segmenter_create(const cdu_gpu *gpu, const cdu_model_about *about, const cdu_weights *weights,
                                const cdu_segment_settings *settings, cdu_segmenter **out, cdu_error *error)
{
    static const cdu_segment_settings DEFAULTS;
    *out = NULL;
    cdu_segmenter *s;
    CDU_TRY(cdu_allocate(&s, 1, sizeof *s, error));
    s->gpu = gpu;
    s->about = *about;
    cdu_status status = settle(s, settings ? settings : &DEFAULTS, error);
    if (status == CDU_OK) status = copy_weights(s, weights, error);
    if (status == CDU_OK) status = build_or_shrink(s, error);
    if (status != CDU_OK)
        cdu_segmenter_destroy(s);
    else
        *out = s;
    return status;
}

cdu_status cdu_segmenter_least(const cdu_gpu *gpu, const cdu_model_about *about, const cdu_segment_settings *settings,
                               cdu_plan_report *out, cdu_error *error)
{
    cdu_segmenter s = {.gpu = gpu, .about = *about};
    cdu_graph *graph;
    cdu_inference_graph values;
    cdu_plan *plan = NULL;
    CDU_TRY(settle(&s, settings, error));
    CDU_TRY(cdu_graph_create(&graph, error));
    cdu_status status = cdu_model_build_inference(graph, &about->settings, 1, s.tile, s.tile, &values, error);
    if (status == CDU_OK) status = cdu_plan_create(graph, &gpu->info, &(cdu_plan_options){.quiet = true, .exact = settings->exact}, &plan, error);
    if (status == CDU_OK) *out = cdu_plan_report_of(plan);
    cdu_plan_destroy(plan);
    cdu_graph_destroy(graph);
    return status;
}

void cdu_segmenter_destroy(cdu_segmenter *s)
{
    if (!s) return;
    drop_program(s);
    cdu_weights_free(&s->weights);
    free(s);
}

cdu_status cdu_segmenter_set_weights(cdu_segmenter *s, const cdu_weights *weights, cdu_error *error)
{
    CDU_TRY(copy_weights(s, weights, error));
    if (!s->program) return build_or_shrink(s, error);
    return cdu_model_load_folded(s->graph, s->program, &s->about.settings, &s->weights, error);
}

/* One slide on its way. */
typedef struct {
    cdu_segmenter *segmenter;
    cdu_blend blend;
    uint8_t *cells;
    cdu_tile_place *places; /* of the tiles that the network sees, in order */
    size_t count, blended;  /* blended: tiles of all, also those left out */
    cdu_label_rows *rows;
    void *context;
    bool emitted;
    cdu_progress_bar bar;
    bool shows;
} job;

static cdu_status list_tiles(job *j, cdu_error *error)
{
    const cdu_blend *b = &j->blend;
    const int64_t step = b->tile - b->halo;
    size_t capacity = 0;
    j->count = 0;
    for (uint32_t row = 0; row < b->rows; row++)
        for (uint32_t column = 0; column < b->columns; column++) {
            if (!cdu_blend_needed(b, row, column)) continue;
            CDU_TRY(cdu_grow(&j->places, &capacity, j->count + 1, sizeof *j->places, error));
            j->places[j->count++] = (cdu_tile_place){column * step, row * step};
        }
    return CDU_OK;
}

static cdu_status blend_one(job *j, const float *probabilities, cdu_error *error)
{
    cdu_blend *b = &j->blend;
    const uint32_t row = (uint32_t)(j->blended / b->columns), column = (uint32_t)(j->blended % b->columns);
    cdu_blend_tile(b, row, column, probabilities);
    j->blended++;
    if (column + 1 < b->columns) return CDU_OK;
    j->emitted = true;
    return j->rows(j->context, (int64_t)row * (b->tile - b->halo), cdu_blend_finished(b, row), b->width, b->labels, error);
}

/* Tiles [first, end) of the list, whose probabilities have come, and the glass before each. */
static cdu_status blend_batch(job *j, size_t first, size_t end, cdu_error *error)
{
    const cdu_blend *b = &j->blend;
    const int64_t step = b->tile - b->halo;
    const size_t values = (size_t)b->tile * b->tile * b->classes;
    for (size_t i = first; i < end; i++) {
        size_t index = (size_t)(j->places[i].y / step) * b->columns + (size_t)(j->places[i].x / step);
        while (j->blended < index) CDU_TRY(blend_one(j, NULL, error));
        CDU_TRY(blend_one(j, j->segmenter->probabilities + (i - first) * values, error));
    }
    if (end == j->count)
        while (j->blended < (size_t)b->rows * b->columns) CDU_TRY(blend_one(j, NULL, error));
    if (j->shows) cdu_progress_update(&j->bar, end, NULL);
    return CDU_OK;
}

static cdu_status run_batches(job *j, cdu_tile_reader *reader, cdu_error *error)
{
    cdu_segmenter *s = j->segmenter;
    for (size_t first = 0, before = 0; first < j->count; before = first, first += s->batch) {
        const uint32_t *pixels;
        if (cdu_stop_requested()) return cdu_fail(error, CDU_STOPPED, "stopped while segmenting");
        CDU_TRY(cdu_tile_reader_next(reader, &pixels, error));
        CDU_TRY(cdu_program_write(s->program, s->values.tile, pixels, error));
        CDU_TRY(cdu_program_submit(s->program, NULL, 0, error));
        cdu_status blended = first > before ? blend_batch(j, before, first, error) : CDU_OK;
        cdu_error later = {0};
        cdu_status waited = cdu_program_wait(s->program, blended == CDU_OK ? error : &later);
        if (blended != CDU_OK || waited != CDU_OK) return blended != CDU_OK ? blended : waited;
        CDU_TRY(cdu_program_read(s->program, s->values.probabilities, s->probabilities, error));
    }
    size_t last = j->count ? (j->count - 1) / s->batch * s->batch : 0;
    return blend_batch(j, last, j->count, error);
}

static cdu_status segment_once(job *j, cdu_slide *slide, double mpp, const char *progress, cdu_error *error)
{
    cdu_segmenter *s = j->segmenter;
    int64_t width, height;
    uint32_t cell_columns = 0, cell_rows = 0;
    cdu_slide_size_at(slide, mpp, &width, &height);
    if (!s->keep_glass) CDU_TRY(cdu_slide_find_tissue(slide, mpp, CDU_GLASS_CELL, &j->cells, &cell_columns, &cell_rows, error));
    CDU_TRY(cdu_blend_begin(&j->blend, width, height, s->tile, s->halo, s->about.settings.classes, j->cells, cell_columns,
                            cell_rows, error));
    CDU_TRY(list_tiles(j, error));
    cdu_tile_reader *reader;
    CDU_TRY(cdu_tile_reader_begin(slide, mpp, s->tile, s->batch, j->places, j->count, &reader, error));
    j->shows = progress != NULL;
    if (progress) j->bar = cdu_progress_begin(progress, j->count);
    cdu_status status = run_batches(j, reader, error);
    cdu_tile_reader_end(reader);
    if (progress) cdu_progress_end(&j->bar);
    return status;
}

cdu_status cdu_segment_slide(cdu_segmenter *segmenter, cdu_slide *slide, double mpp, cdu_label_rows *rows, void *context,
                             const char *progress, cdu_error *error)
{
    if (mpp == 0) mpp = segmenter->about.mpp;
    if (!(mpp > 0 && isfinite(mpp))) return cdu_fail(error, CDU_USAGE, "a resolution of %g micrometres a pixel is none", mpp);
    if (!segmenter->program) CDU_TRY(build_or_shrink(segmenter, error)); /* an earlier slide ended without memory */
    for (;;) {
        cdu_error why = {0};
        job j = {.segmenter = segmenter, .rows = rows, .context = context};
        cdu_status status = segment_once(&j, slide, mpp, progress, &why);
        cdu_blend_end(&j.blend);
        free(j.cells);
        free(j.places);
        if (status == CDU_OK) return CDU_OK;
        /* memory that ran short at the first batch, as with drivers that allocate lazily, may suffice for less */
        bool again = status == CDU_TRY_AGAIN && !j.emitted && shrink(segmenter, why.words);
        if (!again) {
            if (error) *error = why;
            return status;
        }
        drop_program(segmenter);
        CDU_TRY(build_or_shrink(segmenter, error));
    }
}
