/* label_image.c: see label_image.h. Grey and palette pictures of one channel with up to 8 bits: the stored number is the class value, colours
 * of a palette play no part. Read row by row (TIFF: by rows of tiles). Left out: interlaced PNG, which has no rows before its end. */
#include "core/slide/label_image.h"

#include <math.h>
#include <png.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tiffio.h>

#include "core/base/memory.h"
#include "core/slide/raster.h"
#include "core/slide/slide_source.h"

struct cdu_label_image {
    int64_t width, height;
    double scale_x, scale_y;           /* level-0 pixels a pixel */
    size_t *rows;                      /* height + 1: first run of each row */
    uint32_t *ends;                    /* of runs: one behind the last pixel */
    uint8_t *values;
    size_t runs, end_capacity, value_capacity;
};

typedef struct {
    const char *path;
    cdu_label_image *image;
    int64_t slide_width, slide_height, row;
    uint32_t classes;
    uint8_t *band;                     /* rows being decoded */
    char complaint[200];
    cdu_error *error;
} reader;

/* Level-0 pixels a picture pixel along one axis: the whole number that gives this size, if there is one. */
static double axis_scale(int64_t slide, int64_t picture)
{
    int64_t whole = (slide + picture / 2) / picture;
    if (whole >= 1 && (slide / whole == picture || (slide + whole - 1) / whole == picture)) return (double)whole;
    return (double)slide / (double)picture;
}

static cdu_status take_size(reader *r, uint64_t width, uint64_t height)
{
    cdu_label_image *image = r->image;
    if (!width || !height || width > CDU_SIDE_LIMIT || height > CDU_SIDE_LIMIT)
        return cdu_fail(r->error, CDU_BAD_DATA, "%s: a label map of %llu x %llu pixels cannot be", r->path, (unsigned long long)width,
                        (unsigned long long)height);
    if (!r->slide_width) {             /* no slide is known: the picture is one */
        r->slide_width = (int64_t)width;
        r->slide_height = (int64_t)height;
    }
    double w = (double)r->slide_width, h = (double)r->slide_height, pw = (double)width, ph = (double)height;
    /* some reduction gives both sides, each within a pixel of rounding */
    if (fmax((pw - 1) / w, (ph - 1) / h) >= fmin((pw + 1) / w, (ph + 1) / h))
        return cdu_fail(r->error, CDU_BAD_DATA, "%s: the label map has %llu x %llu pixels, which is not the shape of the slide, %lld x %lld; it "
                        "must show the whole slide", r->path, (unsigned long long)width, (unsigned long long)height,
                        (long long)r->slide_width, (long long)r->slide_height);
    image->width = (int64_t)width;
    image->height = (int64_t)height;
    image->scale_x = axis_scale(r->slide_width, image->width);
    image->scale_y = axis_scale(r->slide_height, image->height);
    return cdu_allocate(&image->rows, (size_t)height + 1, sizeof *image->rows, r->error);
}

static cdu_status take_row(reader *r, const uint8_t *row)
{
    cdu_label_image *image = r->image;
    for (uint32_t x = 0; x < (uint32_t)image->width;) {
        uint8_t value = row[x];
        uint32_t end = x + 1;
        if (value >= r->classes && value != CDU_EXCLUDED)
            return cdu_fail(r->error, CDU_BAD_DATA, "%s: the label at (%u, %lld) is %u, but the study's %u classes are 0 to %u, and 255 is excluded",
                            r->path, x, (long long)r->row, value, r->classes, r->classes - 1);
        while (end < (uint32_t)image->width && row[end] == value) end++;
        CDU_TRY(cdu_grow(&image->ends, &image->end_capacity, image->runs + 1, sizeof *image->ends, r->error));
        CDU_TRY(cdu_grow(&image->values, &image->value_capacity, image->runs + 1, 1, r->error));
        image->ends[image->runs] = end;
        image->values[image->runs++] = value;
        x = end;
    }
    image->rows[++r->row] = image->runs;
    return CDU_OK;
}

/* ---- PNG ---- */

typedef struct {
    reader *r;
    png_structp png;
    png_infop info;
    FILE *file;
    jmp_buf escape;
} png_reader;

static void png_complain(png_structp png, png_const_charp words)
{
    png_reader *p = png_get_error_ptr(png);
    snprintf(p->r->complaint, sizeof p->r->complaint, "%s", words);
    longjmp(p->escape, 1);
}

static void png_ignore(png_structp png, png_const_charp words)
{
    (void)png;
    (void)words;
}

/* libpng leaves by longjmp; nothing that this function changes is used after it but through pointers. */
static cdu_status decode_png(png_reader *p)
{
    reader *r = p->r;
    if (setjmp(p->escape)) return cdu_fail(r->error, CDU_BAD_DATA, "%s: is a broken PNG: %s", r->path, r->complaint);
    png_init_io(p->png, p->file);
    png_set_user_limits(p->png, CDU_SIDE_LIMIT, CDU_SIDE_LIMIT);
    png_read_info(p->png, p->info);
    int color = png_get_color_type(p->png, p->info), bits = png_get_bit_depth(p->png, p->info);
    if ((color != PNG_COLOR_TYPE_GRAY && color != PNG_COLOR_TYPE_PALETTE) || bits > 8)
        return cdu_fail(r->error, CDU_BAD_DATA, "%s: a label map must have one channel of up to 8 bits, grey or with a palette, whose values are "
                        "classes; this PNG has %d channels of %d bits", r->path, png_get_channels(p->png, p->info), bits);
    if (png_get_interlace_type(p->png, p->info) != PNG_INTERLACE_NONE)
        return cdu_fail(r->error, CDU_BAD_DATA, "%s: is an interlaced PNG; save the label map without interlacing", r->path);
    png_set_packing(p->png);
    png_read_update_info(p->png, p->info);
    CDU_TRY(take_size(r, png_get_image_width(p->png, p->info), png_get_image_height(p->png, p->info)));
    CDU_TRY(cdu_allocate(&r->band, (size_t)r->image->width, 1, r->error));
    for (int64_t y = 0; y < r->image->height; y++) {
        png_read_row(p->png, r->band, NULL);
        CDU_TRY(take_row(r, r->band));
    }
    png_read_end(p->png, NULL);
    return CDU_OK;
}

static cdu_status read_png(reader *r, FILE *file)
{
    png_reader p = {.r = r, .file = file};
    p.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &p, png_complain, png_ignore);
    if (p.png) p.info = png_create_info_struct(p.png);
    cdu_status status = p.info ? decode_png(&p) : cdu_fail(r->error, CDU_TRY_AGAIN, "%s: out of memory", r->path);
    png_destroy_read_struct(&p.png, &p.info, NULL);
    return status;
}

/* ---- TIFF ---- */

static int tiff_complain(TIFF *tiff, void *context, const char *module, const char *format, va_list arguments)
{
    (void)tiff;
    (void)module;
    reader *r = context;
    if (r->complaint[0]) return 1;
    vsnprintf(r->complaint, sizeof r->complaint, format, arguments);
    r->complaint[strcspn(r->complaint, "\n")] = 0;
    return 1;
}

static int tiff_ignore(TIFF *tiff, void *context, const char *module, const char *format, va_list arguments)
{
    (void)tiff;
    (void)context;
    (void)module;
    (void)format;
    (void)arguments;
    return 1;
}

static cdu_status broken_tiff(reader *r)
{
    return cdu_fail(r->error, CDU_BAD_DATA, "%s: row %lld of this TIFF cannot be read: %s", r->path, (long long)r->row,
                    r->complaint[0] ? r->complaint : "libtiff does not say why");
}

static cdu_status decode_tiles(reader *r, TIFF *tiff)
{
    uint32_t tile_width = 0, tile_height = 0;
    TIFFGetField(tiff, TIFFTAG_TILEWIDTH, &tile_width);
    TIFFGetField(tiff, TIFFTAG_TILELENGTH, &tile_height);
    int64_t width = r->image->width, height = r->image->height;
    if (!tile_width || !tile_height || (uint64_t)tile_width * tile_height > CDU_TILE_PIXELS_LIMIT)
        return cdu_fail(r->error, CDU_BAD_DATA, "%s: tiles of %u x %u pixels cannot be", r->path, tile_width, tile_height);
    uint64_t pitch = ((uint64_t)width + tile_width - 1) / tile_width * tile_width;
    if (pitch * tile_height > CDU_PICTURE_LIMIT)
        return cdu_fail(r->error, CDU_BAD_DATA, "%s: a row of tiles takes %llu bytes; save it with smaller tiles", r->path,
                        (unsigned long long)(pitch * tile_height));
    /* behind the band: one tile as libtiff gives it */
    uint64_t tile_bytes = (uint64_t)tile_width * tile_height;
    CDU_TRY(cdu_allocate(&r->band, (size_t)(pitch * tile_height + tile_bytes), 1, r->error));
    uint8_t *tile = r->band + pitch * tile_height;
    if ((uint64_t)TIFFTileSize(tiff) != tile_bytes) return broken_tiff(r);
    for (int64_t y = 0; y < height; y += tile_height) {
        for (int64_t x = 0; x < width; x += tile_width) {
            if (TIFFReadTile(tiff, tile, (uint32_t)x, (uint32_t)y, 0, 0) < 0) return broken_tiff(r);
            for (uint32_t row = 0; row < tile_height; row++)
                memcpy(r->band + row * pitch + (uint64_t)x, tile + (uint64_t)row * tile_width, tile_width);
        }
        for (uint32_t row = 0; row < tile_height && y + row < height; row++) CDU_TRY(take_row(r, r->band + row * pitch));
    }
    return CDU_OK;
}

static cdu_status decode_tiff(reader *r, TIFF *tiff)
{
    uint32_t width = 0, height = 0;
    uint16_t bits = 1, samples = 1, photometric = PHOTOMETRIC_MINISBLACK;
    TIFFGetField(tiff, TIFFTAG_IMAGEWIDTH, &width);
    TIFFGetField(tiff, TIFFTAG_IMAGELENGTH, &height);
    TIFFGetFieldDefaulted(tiff, TIFFTAG_BITSPERSAMPLE, &bits);
    TIFFGetFieldDefaulted(tiff, TIFFTAG_SAMPLESPERPIXEL, &samples);
    TIFFGetField(tiff, TIFFTAG_PHOTOMETRIC, &photometric);
    if (bits != 8 || samples != 1 || (photometric != PHOTOMETRIC_MINISBLACK && photometric != PHOTOMETRIC_PALETTE))
        return cdu_fail(r->error, CDU_BAD_DATA, "%s: a label map must have one channel of 8 bits, grey or with a palette, whose values are classes; "
                        "this TIFF has %u channels of %u bits, photometric %u", r->path, samples, bits, photometric);
    CDU_TRY(take_size(r, width, height));
    if (TIFFIsTiled(tiff)) return decode_tiles(r, tiff);
    tmsize_t row = TIFFScanlineSize(tiff);
    if (row < (tmsize_t)width || (uint64_t)row > CDU_PICTURE_LIMIT) return broken_tiff(r);
    CDU_TRY(cdu_allocate(&r->band, (size_t)row, 1, r->error));
    for (uint32_t y = 0; y < height; y++) {
        if (TIFFReadScanline(tiff, r->band, y, 0) < 0) return broken_tiff(r);
        CDU_TRY(take_row(r, r->band));
    }
    return CDU_OK;
}

static cdu_status read_tiff(reader *r)
{
    cdu_tiff_silence();
    CDU_TRY(cdu_tiff_check(r->path, r->error));
    TIFFOpenOptions *options = TIFFOpenOptionsAlloc();
    if (!options) return cdu_fail(r->error, CDU_TRY_AGAIN, "%s: out of memory", r->path);
    TIFFOpenOptionsSetErrorHandlerExtR(options, tiff_complain, r);
    TIFFOpenOptionsSetWarningHandlerExtR(options, tiff_ignore, NULL);
    TIFF *tiff = TIFFOpenExt(r->path, "r", options);
    TIFFOpenOptionsFree(options);
    if (!tiff) return cdu_fail(r->error, CDU_BAD_DATA, "%s: cannot be opened as TIFF: %s", r->path, r->complaint);
    cdu_status status = decode_tiff(r, tiff);
    TIFFClose(tiff);
    return status;
}

static cdu_status read_any(reader *r)
{
    uint8_t magic[8] = {0};
    FILE *file = fopen(r->path, "rb");
    if (!file) return cdu_fail(r->error, CDU_BAD_DATA, "%s: the label map cannot be opened", r->path);
    size_t got = fread(magic, 1, sizeof magic, file);
    cdu_status status;
    if (got == sizeof magic && !png_sig_cmp(magic, 0, sizeof magic)) {
        rewind(file);
        status = read_png(r, file);
    } else if (!memcmp(magic, "II", 2) || !memcmp(magic, "MM", 2)) {
        status = read_tiff(r);
    } else {
        status = cdu_fail(r->error, CDU_BAD_DATA, "%s: is neither a PNG nor a TIFF label map", r->path);
    }
    fclose(file);
    return status;
}

cdu_status cdu_label_image_open(const char *path, int64_t slide_width, int64_t slide_height, uint32_t classes, cdu_label_image **out,
                                cdu_error *error)
{
    *out = NULL;
    reader r = {.path = path, .slide_width = slide_width, .slide_height = slide_height, .classes = classes, .error = error};
    CDU_TRY(cdu_allocate(&r.image, 1, sizeof *r.image, error));
    cdu_status status = read_any(&r);
    free(r.band);
    if (status == CDU_OK) *out = r.image;
    else cdu_label_image_close(r.image);
    return status;
}

void cdu_label_image_close(cdu_label_image *image)
{
    if (!image) return;
    free(image->rows);
    free(image->ends);
    free(image->values);
    free(image);
}

void cdu_label_image_look(const cdu_label_image *image, int64_t *width, int64_t *height, double *scale, uint64_t counts[256])
{
    *width = image->width;
    *height = image->height;
    *scale = image->scale_x;
    memset(counts, 0, 256 * sizeof *counts);
    for (int64_t row = 0; row < image->height; row++) {
        uint32_t begin = 0;
        for (size_t run = image->rows[row]; run < image->rows[row + 1]; run++) {
            counts[image->values[run]] += image->ends[run] - begin;
            begin = image->ends[run];
        }
    }
}

static size_t find_run(const cdu_label_image *image, int64_t row, int64_t column)
{
    size_t low = image->rows[row], high = image->rows[row + 1] - 1;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if ((int64_t)image->ends[middle] > column) high = middle;
        else low = middle + 1;
    }
    return low;
}

void cdu_label_image_read(const cdu_label_image *image, double scale, int64_t x, int64_t y, uint32_t width, uint32_t height,
                          uint8_t *labels)
{
    for (uint32_t i = 0; i < height; i++) {
        uint8_t *to = labels + (size_t)i * width;
        double row = floor(((double)(y + i) + 0.5) * scale / image->scale_y);
        memset(to, CDU_EXCLUDED, width);
        if (!(row >= 0 && row < (double)image->height)) continue;
        size_t run = 0;
        bool found = false;
        for (uint32_t k = 0; k < width; k++) {
            double column = floor(((double)(x + k) + 0.5) * scale / image->scale_x);
            if (column < 0) continue;
            if (column >= (double)image->width) break;
            if (!found) run = find_run(image, (int64_t)row, (int64_t)column);
            found = true;
            while ((double)image->ends[run] <= column) run++;
            to[k] = image->values[run];
        }
    }
}
