/* slide_openslide.c: whole slide images through OpenSlide. Its files are checked with libtiff first (slide_tiff.c), since
 * OpenSlide 3.4 believes sizes and GLib ends the process where memory for them cannot be had. Associated images are not read. */
#include <glib.h>
#include <math.h>
#include <openslide.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cdunet/log.h"
#include "core/base/memory.h"
#include "core/slide/slide_source.h"

enum { GRID = 512 };

/* OpenSlide and GLib beneath it print complaints about broken files; the error that follows tells enough. */
static void take_complaint(const gchar *domain, GLogLevelFlags level, const gchar *words, gpointer unused)
{
    (void)level;
    (void)unused;
    cdu_log(CDU_LOG_DEBUG, "%s: %s", domain ? domain : "OpenSlide", words ? words : "");
}

static void silence(void)
{
    const GLogLevelFlags levels = G_LOG_LEVEL_MASK & ~(GLogLevelFlags)G_LOG_LEVEL_ERROR;
    g_log_set_handler("Openslide", levels, take_complaint, NULL);
    g_log_set_handler("GLib", levels, take_complaint, NULL);
}

const char *cdu_openslide_vendor(const char *path)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, silence);
    return openslide_detect_vendor(path);
}

static cdu_status check(cdu_slide *slide, cdu_error *error)
{
    const char *words = openslide_get_error(slide->openslide);
    return words ? cdu_fail(error, CDU_BAD_DATA, "%s: OpenSlide: %.400s", slide->path, words) : CDU_OK;
}

/* Premultiplied ARGB over white. */
static void over_white(const uint32_t *argb, uint32_t width, uint8_t *rgb)
{
    for (uint32_t i = 0; i < width; i++) {
        uint32_t pixel = argb[i], white = 255 - (pixel >> 24);
        for (int c = 0; c < 3; c++) {
            uint32_t value = ((pixel >> (16 - 8 * c)) & 255) + white;
            rgb[i * 3 + (uint32_t)c] = (uint8_t)(value > 255 ? 255 : value);
        }
    }
}

static cdu_status read_argb(cdu_slide *slide, uint32_t level, int64_t x, int64_t y, uint32_t width, uint32_t height, uint32_t *argb,
                            cdu_error *error)
{
    double downsample = openslide_get_level_downsample(slide->openslide, (int32_t)level);
    openslide_read_region(slide->openslide, argb, llround((double)x * downsample), llround((double)y * downsample), (int32_t)level,
                          width, height);
    const char *words = openslide_get_error(slide->openslide);
    if (!words) return CDU_OK;
    return cdu_fail(error, CDU_BAD_DATA, "%s: level %u at (%lld, %lld) cannot be read: %.400s", slide->path, level, (long long)x,
                    (long long)y, words);
}

/* Levels whose downsample is no whole number: OpenSlide takes places in level-0 pixels, so a region begins between two pixels of
 * the level, by a part that depends on the place. Blocks of a fixed grid make that part a pixel's own. */
static cdu_status read_grid(cdu_slide *slide, uint32_t level, int64_t x, int64_t y, uint32_t width, uint32_t height, uint32_t *argb,
                            uint8_t *rgb, cdu_error *error)
{
    const int64_t level_width = slide->levels[level].width, level_height = slide->levels[level].height;
    for (int64_t top = y / GRID * GRID; top < y + height; top += GRID) {
        for (int64_t left = x / GRID * GRID; left < x + width; left += GRID) {
            uint32_t w = (uint32_t)fmin(GRID, (double)(level_width - left)), h = (uint32_t)fmin(GRID, (double)(level_height - top));
            CDU_TRY(read_argb(slide, level, left, top, w, h, argb, error));
            int64_t x0 = left > x ? left : x, x1 = left + w < x + width ? left + w : x + width;
            int64_t y0 = top > y ? top : y, y1 = top + h < y + height ? top + h : y + height;
            for (int64_t j = y0; j < y1 && x0 < x1; j++)
                over_white(argb + (size_t)(j - top) * w + (x0 - left), (uint32_t)(x1 - x0),
                           rgb + ((size_t)(j - y) * width + (size_t)(x0 - x)) * 3);
        }
    }
    return CDU_OK;
}

static cdu_status read_openslide(cdu_slide *slide, uint32_t level, int64_t x, int64_t y, uint32_t width, uint32_t height,
                                 uint8_t *rgb, cdu_error *error)
{
    double downsample = openslide_get_level_downsample(slide->openslide, (int32_t)level);
    bool whole = fabs(downsample - round(downsample)) < 1e-9;
    uint32_t *argb;
    CDU_TRY(cdu_allocate(&argb, whole ? (size_t)width * height : (size_t)GRID * GRID, sizeof *argb, error));
    cdu_status status;
    if (whole) {
        status = read_argb(slide, level, x, y, width, height, argb, error);
        for (uint32_t j = 0; j < height && status == CDU_OK; j++)
            over_white(argb + (size_t)j * width, width, rgb + (size_t)j * width * 3);
    } else {
        status = read_grid(slide, level, x, y, width, height, argb, rgb, error);
    }
    free(argb);
    return status;
}

static void close_openslide(cdu_slide *slide)
{
    if (slide->openslide) openslide_close(slide->openslide);
}

static const cdu_slide_source OPENSLIDE = {read_openslide, close_openslide};

static double property(cdu_slide *slide, const char *name)
{
    const char *text = openslide_get_property_value(slide->openslide, name);
    if (!text) return 0;
    char *end;
    double value = strtod(text, &end);
    return end != text && isfinite(value) ? value : 0;
}

static void read_resolution(cdu_slide *slide)
{
    double x = property(slide, OPENSLIDE_PROPERTY_NAME_MPP_X), y = property(slide, OPENSLIDE_PROPERTY_NAME_MPP_Y);
    if (x > 0 && y > 0) {
        slide->file_mpp[0] = x;
        slide->file_mpp[1] = y;
        return;
    }
    const char *unit = openslide_get_property_value(slide->openslide, "tiff.ResolutionUnit");
    double cm = unit && !strcmp(unit, "centimeter") ? 1 : unit && !strcmp(unit, "inch") ? 1 / 2.54 : 0;
    cdu_slide_take_density(slide, property(slide, "tiff.XResolution") * cm, property(slide, "tiff.YResolution") * cm, "TIFF");
}

static void read_bounds(cdu_slide *slide)
{
    cdu_slide_info *info = &slide->info;
    double x = property(slide, OPENSLIDE_PROPERTY_NAME_BOUNDS_X), y = property(slide, OPENSLIDE_PROPERTY_NAME_BOUNDS_Y);
    double width = property(slide, OPENSLIDE_PROPERTY_NAME_BOUNDS_WIDTH),
           height = property(slide, OPENSLIDE_PROPERTY_NAME_BOUNDS_HEIGHT);
    info->bounds_width = info->width;
    info->bounds_height = info->height;
    if (x >= 0 && y >= 0 && width >= 1 && height >= 1 && x + width <= (double)info->width && y + height <= (double)info->height) {
        info->bounds_x = (int64_t)x;
        info->bounds_y = (int64_t)y;
        info->bounds_width = (int64_t)width;
        info->bounds_height = (int64_t)height;
    }
}

/* Levels are whole fractions of the slide, their sizes rounded one way or the other; the fraction, not the rounded size, says
 * where a pixel lies. */
static double downsample_of(int64_t full, int64_t reduced)
{
    double ratio = (double)full / (double)reduced, whole = round(ratio);
    return whole >= 1 && fabs((double)reduced - (double)full / whole) < 1 ? whole : ratio;
}

static cdu_status read_levels(cdu_slide *slide, cdu_error *error)
{
    int32_t levels = openslide_get_level_count(slide->openslide);
    if (levels < 1) return cdu_fail(error, CDU_BAD_DATA, "%s: has no image", slide->path);
    slide->info.levels = levels < CDU_LEVEL_LIMIT ? (uint32_t)levels : CDU_LEVEL_LIMIT;
    for (uint32_t i = 0; i < slide->info.levels; i++) {
        cdu_slide_level *level = &slide->levels[i];
        openslide_get_level_dimensions(slide->openslide, (int32_t)i, &level->width, &level->height);
        if (level->width < 1 || level->height < 1 || level->width > CDU_SIDE_LIMIT || level->height > CDU_SIDE_LIMIT)
            return cdu_fail(error, CDU_BAD_DATA, "%s: level %u of %lld x %lld pixels cannot be", slide->path, i,
                            (long long)level->width, (long long)level->height);
        level->downsample_x = downsample_of(slide->levels[0].width, level->width);
        level->downsample_y = downsample_of(slide->levels[0].height, level->height);
    }
    slide->info.width = slide->levels[0].width;
    slide->info.height = slide->levels[0].height;
    return check(slide, error);
}

cdu_status cdu_slide_open_openslide(cdu_slide *slide, const char *vendor, cdu_error *error)
{
    static const char *const TIFFS[] = {"aperio", "generic-tiff", "hamamatsu", "leica", "philips", "trestle", "ventana"};
    for (size_t i = 0; i < sizeof TIFFS / sizeof *TIFFS; i++)
        if (!strcmp(vendor, TIFFS[i])) CDU_TRY(cdu_tiff_check(slide->path, error));
    slide->source = &OPENSLIDE;
    slide->openslide = openslide_open(slide->path);
    if (!slide->openslide) return cdu_fail(error, CDU_BAD_DATA, "%s: OpenSlide cannot open it (format %s)", slide->path, vendor);
    CDU_TRY(check(slide, error));
    snprintf(slide->info.format, sizeof slide->info.format, "%s", vendor);
    CDU_TRY(read_levels(slide, error));
    read_resolution(slide);
    read_bounds(slide);
    return CDU_OK;
}
