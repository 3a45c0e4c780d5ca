/* slide.c: opening a slide by what its file is, and reading a region at any resolution. The sources (OpenSlide, pictures) are
 * behind slide_source.h, the filter in slide_filter.c, the search for tissue in slide_tissue.c. */
#include "cdunet/slide.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cdunet/log.h"
#include "core/base/memory.h"
#include "core/slide/slide_source.h"

enum { BLOCK = 2048, RATIO_LIMIT = 4096 }; /* source pixels of a side read at once; the coarsest reading of one level */
static const double LEAST_MPP = 0.01, MOST_MPP = 10000;

/* What the first bytes say, for files that OpenSlide does not know. */
static cdu_status open_picture(cdu_slide *slide, cdu_error *error)
{
    unsigned char magic[8] = {0};
    FILE *file = fopen(slide->path, "rb");
    if (!file) return cdu_fail(error, CDU_BAD_DATA, "%s: cannot be opened: %s", slide->path, strerror(errno));
    size_t got = fread(magic, 1, sizeof magic, file);
    fclose(file);
    if (got >= 8 && !memcmp(magic, "\x89PNG\r\n\x1a\n", 8)) return cdu_slide_open_png(slide, error);
    if (got >= 3 && !memcmp(magic, "\xff\xd8\xff", 3)) return cdu_slide_open_jpeg(slide, error);
    if (got >= 4 &&
        (!memcmp(magic, "II*\0", 4) || !memcmp(magic, "MM\0*", 4) || !memcmp(magic, "II+\0", 4) || !memcmp(magic, "MM\0+", 4)))
        return cdu_slide_open_tiff(slide, error);
    return cdu_fail(error, CDU_BAD_DATA, "%s: is neither a slide that OpenSlide knows nor a PNG, JPEG or TIFF picture",
                    slide->path);
}

static cdu_status settle_mpp(cdu_slide *slide, double mpp, cdu_error *error)
{
    static const char *const HOW = "give its resolution in the mpp column of slides.csv or with --slide-mpp";
    if (mpp == 0) {
        double x = slide->file_mpp[0], y = slide->file_mpp[1];
        if (!(x > 0 && y > 0)) {
            if (slide->file_says[0])
                return cdu_fail(error, CDU_BAD_DATA, "%s: what it says of its pixel size (%s) cannot be a microscope's; %s",
                                slide->path, slide->file_says, HOW);
            return cdu_fail(error, CDU_BAD_DATA, "%s: does not say how many micrometres a pixel is; %s", slide->path, HOW);
        }
        mpp = (x + y) / 2;
        if (!(mpp >= LEAST_MPP && mpp <= MOST_MPP))
            return cdu_fail(error, CDU_BAD_DATA, "%s: says %g micrometres a pixel, which cannot be; %s", slide->path, mpp, HOW);
        if (fabs(x - y) > 0.02 * mpp)
            cdu_log(CDU_LOG_WARNING, "%s: pixels of %g x %g micrometres are taken as squares of %g", slide->path, x, y, mpp);
    } else if (!(mpp >= LEAST_MPP && mpp <= MOST_MPP)) {
        return cdu_fail(error, CDU_USAGE, "%s: a resolution of %g micrometres a pixel; it must be between %g and %g", slide->path,
                        mpp, LEAST_MPP, MOST_MPP);
    }
    slide->info.mpp = mpp;
    return CDU_OK;
}

static cdu_status open_source(cdu_slide *slide, cdu_error *error)
{
    struct stat about;
    if (stat(slide->path, &about) != 0)
        return cdu_fail(error, CDU_BAD_DATA, "%s: cannot be opened: %s", slide->path, strerror(errno));
    if (!S_ISREG(about.st_mode)) return cdu_fail(error, CDU_BAD_DATA, "%s: is not a regular file", slide->path);
    cdu_tiff_silence();
    const char *vendor = cdu_openslide_vendor(slide->path);
    return vendor ? cdu_slide_open_openslide(slide, vendor, error) : open_picture(slide, error);
}

cdu_status cdu_slide_open(const char *path, double mpp, cdu_slide **out, cdu_error *error)
{
    *out = NULL;
    cdu_slide *slide;
    CDU_TRY(cdu_allocate(&slide, 1, sizeof *slide, error));
    cdu_status status = cdu_copy_text(&slide->path, path, error);
    if (status == CDU_OK) status = open_source(slide, error);
    if (status == CDU_OK) status = settle_mpp(slide, mpp, error);
    if (status != CDU_OK) {
        cdu_slide_close(slide);
        return status;
    }
    *out = slide;
    return CDU_OK;
}

void cdu_slide_close(cdu_slide *slide)
{
    if (!slide) return;
    if (slide->source && slide->source->close) slide->source->close(slide);
    free(slide->pixels);
    free(slide->path);
    free(slide);
}

cdu_slide_info cdu_slide_info_of(const cdu_slide *slide)
{
    return slide->info;
}

const char *cdu_slide_path(const cdu_slide *slide)
{
    return slide->path;
}

void cdu_slide_size_at(const cdu_slide *slide, double mpp, int64_t *width, int64_t *height)
{
    /* what is left of a pixel by rounding of the division is no pixel */
    double scale = slide->info.mpp / mpp;
    *width = (int64_t)ceil((double)slide->info.width * scale - 1e-6);
    *height = (int64_t)ceil((double)slide->info.height * scale - 1e-6);
    if (*width < 1) *width = 1;
    if (*height < 1) *height = 1;
}

/* The coarsest level that is no coarser than what is asked for (a thousandth is forgiven: vendors round the sizes of levels). */
static uint32_t best_level(const cdu_slide *slide, double scale)
{
    uint32_t best = 0;
    double coarsest = 0;
    for (uint32_t i = 0; i < slide->info.levels; i++) {
        double downsample = fmax(slide->levels[i].downsample_x, slide->levels[i].downsample_y);
        if (downsample <= scale * 1.001 && downsample > coarsest) {
            coarsest = downsample;
            best = i;
        }
    }
    return best;
}

static double ratio_of(double scale, double downsample)
{
    double ratio = scale / downsample, whole = round(ratio);
    return whole >= 1 && fabs(ratio - whole) < 1e-9 * whole ? whole : ratio;
}

typedef struct {
    uint32_t level;
    double ratio_x, ratio_y;
    size_t stride;
    uint8_t *buffer;
    size_t buffer_size;
} reading;

static cdu_status read_block(cdu_slide *slide, reading *r, int64_t x, int64_t y, uint32_t width, uint32_t height, uint8_t *rgb,
                             cdu_error *error)
{
    const cdu_slide_level *level = &slide->levels[r->level];
    int64_t x0, x1, y0, y1;
    if (r->ratio_x == 1 && r->ratio_y == 1) {
        x0 = x, x1 = x + width, y0 = y, y1 = y + height;
        if (x1 > level->width) x1 = level->width;
        if (y1 > level->height) y1 = level->height;
        if (x0 >= x1 || y0 >= y1) return CDU_OK;
    } else {
        cdu_filter_reach(r->ratio_x, level->width, x, width, &x0, &x1);
        cdu_filter_reach(r->ratio_y, level->height, y, height, &y0, &y1);
    }
    uint32_t source_width = (uint32_t)(x1 - x0), source_height = (uint32_t)(y1 - y0);
    CDU_TRY(cdu_grow(&r->buffer, &r->buffer_size, (size_t)source_width * source_height * CDU_SLIDE_CHANNELS, 1, error));
    CDU_TRY(slide->source->read(slide, r->level, x0, y0, source_width, source_height, r->buffer, error));
    if (r->ratio_x == 1 && r->ratio_y == 1) {
        size_t row = (size_t)source_width * CDU_SLIDE_CHANNELS;
        for (uint32_t j = 0; j < source_height; j++) memcpy(rgb + j * r->stride, r->buffer + j * row, row);
        return CDU_OK;
    }
    return cdu_filter_resample(r->buffer, x0, y0, source_width, level, r->ratio_x, r->ratio_y, x, y, width, height, rgb, r->stride,
                               error);
}

/* [*first, *end) of [start, start + count) that lies in [0, size), as offsets. */
static bool clip(int64_t start, uint32_t count, int64_t size, uint32_t *first, uint32_t *end)
{
    if (start >= size || start <= -(int64_t)count) return false;
    *first = start < 0 ? (uint32_t)-start : 0;
    *end = size - start < (int64_t)count ? (uint32_t)(size - start) : count;
    return true;
}

cdu_status cdu_slide_read(cdu_slide *slide, double mpp, int64_t x, int64_t y, uint32_t width, uint32_t height, uint8_t *rgb,
                          cdu_error *error)
{
    if (!(mpp >= LEAST_MPP / 4 && mpp <= MOST_MPP * RATIO_LIMIT))
        return cdu_fail(error, CDU_USAGE, "%s: cannot be read at %g micrometres a pixel", slide->path, mpp);
    double scale = mpp / slide->info.mpp;
    reading r = {.level = best_level(slide, scale), .stride = (size_t)width * CDU_SLIDE_CHANNELS};
    r.ratio_x = ratio_of(scale, slide->levels[r.level].downsample_x);
    r.ratio_y = ratio_of(scale, slide->levels[r.level].downsample_y);
    if (r.ratio_x > RATIO_LIMIT || r.ratio_y > RATIO_LIMIT || r.ratio_x < 1.0 / RATIO_LIMIT || r.ratio_y < 1.0 / RATIO_LIMIT)
        return cdu_fail(error, CDU_USAGE, "%s: %g micrometres a pixel is too far from the slide's %g", slide->path, mpp,
                        slide->info.mpp);
    memset(rgb, 255, r.stride * height);
    int64_t full_width, full_height;
    cdu_slide_size_at(slide, mpp, &full_width, &full_height);
    uint32_t x0, x1, y0, y1;
    if (!clip(x, width, full_width, &x0, &x1) || !clip(y, height, full_height, &y0, &y1)) return CDU_OK;
    uint32_t columns = (uint32_t)fmax(1, BLOCK / r.ratio_x), rows = (uint32_t)fmax(1, BLOCK / r.ratio_y);
    cdu_status status = CDU_OK;
    for (uint32_t j = y0; j < y1 && status == CDU_OK; j += rows)
        for (uint32_t i = x0; i < x1 && status == CDU_OK; i += columns)
            status = read_block(slide, &r, x + i, y + j, x1 - i < columns ? x1 - i : columns, y1 - j < rows ? y1 - j : rows,
                                rgb + j * r.stride + (size_t)i * CDU_SLIDE_CHANNELS, error);
    free(r.buffer);
    return status;
}
