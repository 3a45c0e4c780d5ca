/* slide_picture.c: PNG and JPEG pictures as slides of one level, decoded whole into memory. Any bit depth and colour type of
 * PNG, over white; gray and colour JPEG. Colour profiles are not applied. */
#include <math.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>
#include <jerror.h>
#include <png.h>

#include "core/base/memory.h"
#include "core/slide/slide_source.h"

/* A microscope's pixel; what printers and screens write (72, 300, 600 dots per inch) lies above. */
static const double LEAST_PLAUSIBLE = 0.05, MOST_PLAUSIBLE = 20;

void cdu_slide_take_density(cdu_slide *slide, double x, double y, const char *format)
{
    if (!(x > 0 && y > 0 && isfinite(x) && isfinite(y))) return;
    double mpp_x = 1e4 / x, mpp_y = 1e4 / y;
    snprintf(slide->file_says, sizeof slide->file_says, "%s resolution of %.4g pixels per cm", format, x);
    if (mpp_x < LEAST_PLAUSIBLE || mpp_x > MOST_PLAUSIBLE || mpp_y < LEAST_PLAUSIBLE || mpp_y > MOST_PLAUSIBLE) return;
    slide->file_mpp[0] = mpp_x;
    slide->file_mpp[1] = mpp_y;
}

cdu_status cdu_picture_allocate(cdu_slide *slide, uint64_t width, uint64_t height, uint32_t channels, cdu_error *error)
{
    if (width < 1 || height < 1 || width > CDU_SIDE_LIMIT || height > CDU_SIDE_LIMIT)
        return cdu_fail(error, CDU_BAD_DATA, "%s: a picture of %llu x %llu pixels cannot be", slide->path,
                        (unsigned long long)width, (unsigned long long)height);
    if (width * height > CDU_PICTURE_LIMIT / channels)
        return cdu_fail(
            error, CDU_BAD_DATA,
            "%s: %llu x %llu pixels would take %llu MiB decoded, more than the %llu MiB for plain pictures; convert it to a "
            "tiled pyramidal TIFF",
            slide->path, (unsigned long long)width, (unsigned long long)height,
            (unsigned long long)(width * height * channels >> 20), (unsigned long long)(CDU_PICTURE_LIMIT >> 20));
    slide->info.width = (int64_t)width;
    slide->info.height = (int64_t)height;
    return cdu_allocate(&slide->pixels, (size_t)width * height, channels, error);
}

static cdu_status read_picture(cdu_slide *slide, uint32_t level, int64_t x, int64_t y, uint32_t width, uint32_t height,
                               uint8_t *rgb, cdu_error *error)
{
    (void)level;
    (void)error;
    for (uint32_t j = 0; j < height; j++)
        memcpy(rgb + (size_t)j * width * 3, slide->pixels + ((size_t)(y + j) * (size_t)slide->info.width + (size_t)x) * 3,
               (size_t)width * 3);
    return CDU_OK;
}

static const cdu_slide_source PICTURE = {read_picture, NULL};

void cdu_picture_finish(cdu_slide *slide, const char *format)
{
    cdu_slide_info *info = &slide->info;
    slide->source = &PICTURE;
    snprintf(info->format, sizeof info->format, "%s", format);
    info->levels = 1;
    info->bounds_x = info->bounds_y = 0;
    info->bounds_width = info->width;
    info->bounds_height = info->height;
    slide->levels[0] = (cdu_slide_level){info->width, info->height, 1, 1};
}

/* Nothing that changes between setjmp and longjmp may live in a local variable, so it lives here. */
typedef struct {
    cdu_slide *slide;
    cdu_error *error;
    cdu_status status;
    FILE *file;
    char words[JMSG_LENGTH_MAX];
    jmp_buf jump;
    png_structp png;
    png_infop info;
    struct jpeg_decompress_struct jpeg;
    struct jpeg_error_mgr jpeg_errors;
    struct jpeg_progress_mgr jpeg_progress;
} decoder;

static cdu_status decoder_open(decoder **out, cdu_slide *slide, cdu_error *error)
{
    decoder *d;
    CDU_TRY(cdu_allocate(&d, 1, sizeof *d, error));
    d->slide = slide;
    d->error = error;
    d->file = fopen(slide->path, "rb");
    if (!d->file) {
        free(d);
        return cdu_fail(error, CDU_BAD_DATA, "%s: cannot be opened", slide->path);
    }
    *out = d;
    return CDU_OK;
}

static cdu_status decoder_close(decoder *d, cdu_status status)
{
    fclose(d->file);
    free(d);
    return status;
}

static void png_failed(png_structp png, png_const_charp words)
{
    decoder *d = png_get_error_ptr(png);
    snprintf(d->words, sizeof d->words, "%s", words);
    longjmp(d->jump, 1);
}

static void png_warned(png_structp png, png_const_charp words)
{
    (void)png;
    (void)words;
}

/* R, G, B, A to R, G, B over white, in place. */
static void flatten(uint8_t *pixels, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const uint8_t *from = pixels + i * 4;
        uint32_t alpha = from[3];
        for (int c = 0; c < 3; c++) pixels[i * 3 + (size_t)c] = (uint8_t)((from[c] * alpha + 255 * (255 - alpha) + 127) / 255);
    }
}

static void png_density(decoder *d)
{
    png_uint_32 x, y;
    int unit;
    if (png_get_pHYs(d->png, d->info, &x, &y, &unit) && unit == PNG_RESOLUTION_METER)
        cdu_slide_take_density(d->slide, x / 100.0, y / 100.0, "PNG");
}

static cdu_status png_decode(decoder *d)
{
    if (setjmp(d->jump))
        return d->status != CDU_OK ? d->status : cdu_fail(d->error, CDU_BAD_DATA, "%s: PNG: %s", d->slide->path, d->words);
    png_init_io(d->png, d->file);
    png_set_user_limits(d->png, CDU_SIDE_LIMIT, CDU_SIDE_LIMIT);
    png_set_chunk_malloc_max(d->png, 64 << 20);
    png_read_info(d->png, d->info);
    png_set_expand(d->png);
    png_set_strip_16(d->png);
    png_set_gray_to_rgb(d->png);
    int passes = png_set_interlace_handling(d->png);
    png_read_update_info(d->png, d->info);
    const uint32_t channels = png_get_channels(d->png, d->info), height = png_get_image_height(d->png, d->info);
    if (channels != 3 && channels != 4) return cdu_fail(d->error, CDU_BAD_DATA, "%s: PNG: %u channels", d->slide->path, channels);
    png_density(d);
    d->status = cdu_picture_allocate(d->slide, png_get_image_width(d->png, d->info), height, channels, d->error);
    if (d->status != CDU_OK) return d->status;
    const size_t row = png_get_rowbytes(d->png, d->info);
    for (int pass = 0; pass < passes; pass++)
        for (uint32_t y = 0; y < height; y++) png_read_row(d->png, d->slide->pixels + y * row, NULL);
    png_read_end(d->png, NULL);
    if (channels == 4) flatten(d->slide->pixels, row / 4 * height);
    return CDU_OK;
}

cdu_status cdu_slide_open_png(cdu_slide *slide, cdu_error *error)
{
    decoder *d;
    CDU_TRY(decoder_open(&d, slide, error));
    d->png = png_create_read_struct(PNG_LIBPNG_VER_STRING, d, png_failed, png_warned);
    if (d->png) d->info = png_create_info_struct(d->png);
    cdu_status status = d->info ? png_decode(d) : cdu_fail(error, CDU_TRY_AGAIN, "%s: out of memory", slide->path);
    png_destroy_read_struct(&d->png, &d->info, NULL);
    if (status == CDU_OK) cdu_picture_finish(slide, "png");
    return decoder_close(d, status);
}

static void jpeg_failed(j_common_ptr jpeg)
{
    decoder *d = jpeg->client_data;
    jpeg->err->format_message(jpeg, d->words);
    longjmp(d->jump, 1);
}

/* libjpeg fills up what is missing and only warns; missing pixels are no data. */
static void jpeg_warned(j_common_ptr jpeg, int level)
{
    int code = jpeg->err->msg_code;
    if (level < 0 && (code == JWRN_JPEG_EOF || code == JWRN_HIT_MARKER || code == JWRN_HUFF_BAD_CODE || code == JWRN_MUST_RESYNC))
        jpeg_failed(jpeg);
}

static void jpeg_silent(j_common_ptr jpeg)
{
    (void)jpeg;
}

/* A small file can ask for thousands of passes over a large picture. */
static void jpeg_pass(j_common_ptr jpeg)
{
    decoder *d = jpeg->client_data;
    if (((j_decompress_ptr)jpeg)->input_scan_number <= 200) return;
    snprintf(d->words, sizeof d->words, "more than 200 scans");
    longjmp(d->jump, 1);
}

static void jpeg_density(decoder *d)
{
    double cm = d->jpeg.density_unit == 2 ? 1 : d->jpeg.density_unit == 1 ? 1 / 2.54 : 0;
    if (d->jpeg.saw_JFIF_marker) cdu_slide_take_density(d->slide, d->jpeg.X_density * cm, d->jpeg.Y_density * cm, "JPEG");
}

static cdu_status jpeg_decode(decoder *d)
{
    if (setjmp(d->jump)) return cdu_fail(d->error, CDU_BAD_DATA, "%s: JPEG: %s", d->slide->path, d->words);
    jpeg_stdio_src(&d->jpeg, d->file);
    d->jpeg.mem->max_memory_to_use = (long)CDU_PICTURE_LIMIT;
    jpeg_read_header(&d->jpeg, TRUE);
    if (d->jpeg.num_components != 1 && d->jpeg.num_components != 3)
        return cdu_fail(d->error, CDU_BAD_DATA, "%s: JPEG: %d components; only gray and colour pictures are read", d->slide->path,
                        d->jpeg.num_components);
    d->jpeg.out_color_space = JCS_RGB;
    jpeg_density(d);
    cdu_status status = cdu_picture_allocate(d->slide, d->jpeg.image_width, d->jpeg.image_height, 3, d->error);
    if (status != CDU_OK) return status;
    jpeg_start_decompress(&d->jpeg);
    while (d->jpeg.output_scanline < d->jpeg.output_height) {
        JSAMPROW row = d->slide->pixels + (size_t)d->jpeg.output_scanline * d->jpeg.output_width * 3;
        jpeg_read_scanlines(&d->jpeg, &row, 1);
    }
    jpeg_finish_decompress(&d->jpeg);
    return CDU_OK;
}

cdu_status cdu_slide_open_jpeg(cdu_slide *slide, cdu_error *error)
{
    decoder *d;
    CDU_TRY(decoder_open(&d, slide, error));
    d->jpeg.err = jpeg_std_error(&d->jpeg_errors);
    d->jpeg_errors.error_exit = jpeg_failed;
    d->jpeg_errors.emit_message = jpeg_warned;
    d->jpeg_errors.output_message = jpeg_silent;
    d->jpeg.client_data = d;
    cdu_status status = CDU_OK;
    if (setjmp(d->jump)) {
        status = cdu_fail(error, CDU_FAILED, "%s: JPEG: %s", slide->path, d->words);
    } else {
        jpeg_create_decompress(&d->jpeg);
        d->jpeg.client_data = d;
        d->jpeg.progress = &d->jpeg_progress;
        d->jpeg_progress.progress_monitor = jpeg_pass;
    }
    if (status == CDU_OK) status = jpeg_decode(d);
    jpeg_destroy_decompress(&d->jpeg);
    if (status == CDU_OK) cdu_picture_finish(slide, "jpeg");
    return decoder_close(d, status);
}
