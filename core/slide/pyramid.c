/* pyramid.c: tiled pyramidal TIFF through libtiff. Rows run down through all levels as they come: each level keeps one row of
 * tiles and at most one odd row. libtiff writes one directory at a time, so the reduced levels' tiles go, already compressed,
 * into temporary TIFFs beside the file and are copied behind level 0 at the end. No OME-XML. */
#include "core/slide/pyramid.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <tiffio.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/base/memory.h"
#include "core/slide/slide_source.h"

enum { LEVELS = 24 };
#define CLASSIC_LIMIT 3500000000.0 /* bytes that a file of 32-bit offsets may come to */

/* libtiff's file, which remembers why a write failed. */
typedef struct {
    int handle, fault;
    char words[160];
} stream;

typedef struct {
    TIFF *tiff;
    stream stream;
    char temporary[CDU_PATH_LIMIT];
    int64_t width, height;
    int64_t row;   /* rows taken so far */
    uint8_t *rows; /* `tile` rows of width pixels */
    uint8_t *odd;  /* reduced levels: the row of the level above that waits for its partner */
    bool has_odd;
} level;

struct cdu_pyramid {
    char *path;
    cdu_pyramid_settings settings;
    uint32_t channels, levels;
    level level[LEVELS];
    uint8_t *tile, *reduced; /* one tile; one row of a reduced level */
};

static tmsize_t stream_read(thandle_t context, void *bytes, tmsize_t size)
{
    return read(((stream *)context)->handle, bytes, (size_t)size);
}

static tmsize_t stream_write(thandle_t context, void *bytes, tmsize_t size)
{
    stream *s = context;
    tmsize_t done = 0;
    while (done < size) {
        ssize_t wrote = write(s->handle, (const char *)bytes + done, (size_t)(size - done));
        if (wrote < 0 && errno == EINTR) continue;
        if (wrote <= 0) {
            if (!s->fault) s->fault = errno ? errno : EIO;
            return done ? done : -1;
        }
        done += wrote;
    }
    return done;
}

static toff_t stream_seek(thandle_t context, toff_t offset, int whence)
{
    return (toff_t)lseek(((stream *)context)->handle, (off_t)offset, whence);
}

static int stream_close(thandle_t context)
{
    stream *s = context;
    int result = close(s->handle);
    if (result != 0 && !s->fault) s->fault = errno;
    s->handle = -1;
    return result;
}

static toff_t stream_size(thandle_t context)
{
    struct stat about;
    return fstat(((stream *)context)->handle, &about) == 0 ? (toff_t)about.st_size : 0;
}

static int complain(TIFF *tiff, void *context, const char *module, const char *format, va_list arguments)
{
    (void)tiff;
    (void)module;
    stream *s = context;
    if (!s->words[0]) vsnprintf(s->words, sizeof s->words, format, arguments);
    return 1;
}

static cdu_status cannot_write(cdu_pyramid *p, const level *l, cdu_error *error)
{
    const char *why = l->stream.fault ? strerror(l->stream.fault) : l->stream.words[0] ? l->stream.words : "TIFF failure";
    return cdu_fail(error, CDU_CANNOT_WRITE, "%s: cannot be written: %s", p->path, why);
}

static TIFF *open_stream(level *l, bool big)
{
    l->stream.fault = 0;
    l->stream.words[0] = 0;
    l->stream.handle = open(l->temporary, O_RDWR | O_CLOEXEC);
    if (l->stream.handle < 0) {
        l->stream.fault = errno;
        return NULL;
    }
    TIFFOpenOptions *options = TIFFOpenOptionsAlloc();
    if (options) {
        TIFFOpenOptionsSetErrorHandlerExtR(options, complain, &l->stream);
        TIFFOpenOptionsSetWarningHandlerExtR(options, complain, &l->stream);
    }
    TIFF *tiff = options ? TIFFClientOpenExt(l->temporary, big ? "w8" : "wl", &l->stream, stream_read, stream_write, stream_seek,
                                             stream_close, stream_size, NULL, NULL, options)
                         : NULL;
    if (options) TIFFOpenOptionsFree(options);
    if (!tiff && l->stream.handle >= 0) stream_close(&l->stream);
    return tiff;
}

static int describe_pixels(const cdu_pyramid *p, TIFF *tiff)
{
    const cdu_pyramid_settings *s = &p->settings;
    int good = TIFFSetField(tiff, TIFFTAG_BITSPERSAMPLE, 8) && TIFFSetField(tiff, TIFFTAG_SAMPLESPERPIXEL, p->channels) &&
               TIFFSetField(tiff, TIFFTAG_PLANARCONFIG, PLANARCONFIG_CONTIG) &&
               TIFFSetField(tiff, TIFFTAG_ORIENTATION, ORIENTATION_TOPLEFT);
    if (s->labels) {
        uint16_t map[3][256];
        for (int i = 0; i < 256; i++)
            for (int c = 0; c < 3; c++) map[c][i] = (uint16_t)(s->palette[i][c] * 257);
        return good && TIFFSetField(tiff, TIFFTAG_COMPRESSION, COMPRESSION_ADOBE_DEFLATE) &&
               TIFFSetField(tiff, TIFFTAG_PREDICTOR, PREDICTOR_NONE) &&
               TIFFSetField(tiff, TIFFTAG_PHOTOMETRIC, PHOTOMETRIC_PALETTE) &&
               TIFFSetField(tiff, TIFFTAG_COLORMAP, map[0], map[1], map[2]);
    }
    int sampling = s->jpeg_subsampling ? 2 : 1;
    return good && TIFFSetField(tiff, TIFFTAG_COMPRESSION, COMPRESSION_JPEG) &&
           TIFFSetField(tiff, TIFFTAG_PHOTOMETRIC, PHOTOMETRIC_YCBCR) &&
           TIFFSetField(tiff, TIFFTAG_YCBCRSUBSAMPLING, sampling, sampling) &&
           TIFFSetField(tiff, TIFFTAG_JPEGQUALITY, s->jpeg_quality) && TIFFSetField(tiff, TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB);
}

static int describe(const cdu_pyramid *p, TIFF *tiff, uint32_t number)
{
    const level *l = &p->level[number];
    const double per_cm = 1e4 / (p->settings.mpp * (double)((uint32_t)1 << number));
    int good = TIFFSetField(tiff, TIFFTAG_SUBFILETYPE, number ? FILETYPE_REDUCEDIMAGE : 0) &&
               TIFFSetField(tiff, TIFFTAG_IMAGEWIDTH, (uint32_t)l->width) &&
               TIFFSetField(tiff, TIFFTAG_IMAGELENGTH, (uint32_t)l->height) &&
               TIFFSetField(tiff, TIFFTAG_TILEWIDTH, p->settings.tile) &&
               TIFFSetField(tiff, TIFFTAG_TILELENGTH, p->settings.tile) && describe_pixels(p, tiff) &&
               TIFFSetField(tiff, TIFFTAG_RESOLUTIONUNIT, RESUNIT_CENTIMETER) && TIFFSetField(tiff, TIFFTAG_XRESOLUTION, per_cm) &&
               TIFFSetField(tiff, TIFFTAG_YRESOLUTION, per_cm);
    if (good && !number && p->settings.description) good = TIFFSetField(tiff, TIFFTAG_IMAGEDESCRIPTION, p->settings.description);
    return good;
}

static cdu_status begin_level(cdu_pyramid *p, uint32_t number, bool big, cdu_error *error)
{
    level *l = &p->level[number];
    const size_t row = (size_t)l->width * p->channels;
    CDU_TRY(cdu_allocate(&l->rows, row, p->settings.tile, error));
    if (number) CDU_TRY(cdu_allocate(&l->odd, (size_t)p->level[number - 1].width, p->channels, error));
    CDU_TRY(cdu_file_begin(p->path, l->temporary, error));
    l->tiff = open_stream(l, big);
    if (!l->tiff || !describe(p, l->tiff, number)) return cannot_write(p, l, error);
    return CDU_OK;
}

static cdu_status check_settings(const char *path, const cdu_pyramid_settings *s, cdu_error *error)
{
    if (s->width < 1 || s->height < 1 || s->width > CDU_SIDE_LIMIT || s->height > CDU_SIDE_LIMIT)
        return cdu_fail(error, CDU_USAGE, "%s: a picture of %lld x %lld pixels cannot be written", path, (long long)s->width,
                        (long long)s->height);
    if (s->tile % 16 || s->tile > 4096)
        return cdu_fail(error, CDU_USAGE, "%s: tiles of %u pixels; a multiple of 16 up to 4096 is needed", path, s->tile);
    if (!(s->mpp > 0 && s->mpp < 1e6))
        return cdu_fail(error, CDU_USAGE, "%s: %g micrometres a pixel cannot be written", path, s->mpp);
    if (s->jpeg_quality < 0 || s->jpeg_quality > 100)
        return cdu_fail(error, CDU_USAGE, "%s: JPEG quality %d; it goes from 1 to 100", path, s->jpeg_quality);
    return CDU_OK;
}

static cdu_status begin(cdu_pyramid *p, const char *path, cdu_error *error)
{
    const cdu_pyramid_settings *s = &p->settings;
    CDU_TRY(cdu_copy_text(&p->path, path, error));
    int64_t width = s->width, height = s->height;
    double bytes = 0;
    while (p->levels < LEVELS) {
        level *l = &p->level[p->levels++];
        l->width = width;
        l->height = height;
        bytes += (double)width * (double)height * p->channels;
        if (width <= s->tile && height <= s->tile) break;
        width = (width + 1) / 2;
        height = (height + 1) / 2;
    }
    for (uint32_t i = 0; i < p->levels; i++) CDU_TRY(begin_level(p, i, bytes > CLASSIC_LIMIT, error));
    CDU_TRY(cdu_allocate(&p->tile, (size_t)s->tile * s->tile, p->channels, error));
    return cdu_allocate(&p->reduced, (size_t)s->width, p->channels, error);
}

cdu_status cdu_pyramid_begin(const char *path, const cdu_pyramid_settings *settings, cdu_pyramid **out, cdu_error *error)
{
    *out = NULL;
    cdu_pyramid *p;
    CDU_TRY(cdu_allocate(&p, 1, sizeof *p, error));
    p->settings = *settings;
    if (!p->settings.tile) p->settings.tile = 256;
    if (!p->settings.jpeg_quality) p->settings.jpeg_quality = 85;
    p->channels = settings->labels ? 1 : CDU_SLIDE_CHANNELS;
    for (int i = 0; i < LEVELS; i++) p->level[i].stream.handle = -1;
    cdu_tiff_silence();
    cdu_status status = check_settings(path, &p->settings, error);
    if (status == CDU_OK) status = begin(p, path, error);
    if (status != CDU_OK)
        cdu_pyramid_discard(p);
    else
        *out = p;
    return status;
}

/* The row of tiles that ends with the last row taken. What a tile has beyond the picture repeats its edge (labels: 0), which JPEG
 * compresses without ringing. */
static cdu_status write_tiles(cdu_pyramid *p, level *l, cdu_error *error)
{
    const int64_t tile = p->settings.tile, top = (l->row - 1) / tile * tile;
    const size_t channels = p->channels, row = (size_t)l->width * channels;
    for (int64_t x = 0; x < l->width; x += tile) {
        int64_t columns = l->width - x < tile ? l->width - x : tile;
        for (int64_t j = 0; j < tile; j++) {
            bool inside = top + j < l->row;
            uint8_t *to = p->tile + (size_t)(j * tile) * channels;
            if (p->settings.labels && !inside) {
                memset(to, 0, (size_t)tile);
                continue;
            }
            memcpy(to, l->rows + (size_t)(inside ? j : l->row - 1 - top) * row + (size_t)x * channels, (size_t)columns * channels);
            if (p->settings.labels)
                memset(to + columns, 0, (size_t)(tile - columns));
            else
                for (int64_t i = columns; i < tile; i++) memcpy(to + i * 3, to + (columns - 1) * 3, 3);
        }
        uint32_t index = TIFFComputeTile(l->tiff, (uint32_t)x, (uint32_t)top, 0, 0);
        if (TIFFWriteEncodedTile(l->tiff, index, p->tile, (tmsize_t)(tile * tile) * (tmsize_t)channels) < 0)
            return cannot_write(p, l, error);
    }
    return CDU_OK;
}

static uint8_t majority(uint8_t a, uint8_t b, uint8_t c, uint8_t d)
{
    uint8_t value[4] = {a, b, c, d}, best = a;
    int most = 0;
    for (int i = 0; i < 4; i++) {
        int count = 0;
        for (int k = 0; k < 4; k++) count += value[k] == value[i];
        if (count > most || (count == most && value[i] < best)) {
            most = count;
            best = value[i];
        }
    }
    return best;
}

/* Rows a and b (the same one at the bottom edge of an odd height) of `width` pixels, to one of half the width. */
static void halve(const cdu_pyramid *p, const uint8_t *a, const uint8_t *b, int64_t width, uint8_t *out)
{
    for (int64_t x = 0; x < width; x += 2) {
        int64_t next = x + 1 < width ? x + 1 : x;
        if (p->settings.labels) {
            out[x / 2] = majority(a[x], a[next], b[x], b[next]);
        } else {
            for (int64_t c = 0; c < 3; c++)
                out[x / 2 * 3 + c] = (uint8_t)((a[x * 3 + c] + a[next * 3 + c] + b[x * 3 + c] + b[next * 3 + c] + 2) / 4);
        }
    }
}

/* One row into a level and, where it completes a pair, half of it into the next. */
static cdu_status take_row(cdu_pyramid *p, uint32_t number, const uint8_t *pixels, cdu_error *error)
{
    for (;; number++) {
        level *l = &p->level[number];
        const size_t row = (size_t)l->width * p->channels;
        memcpy(l->rows + (size_t)(l->row % p->settings.tile) * row, pixels, row);
        l->row++;
        if (l->row % p->settings.tile == 0 || l->row == l->height) CDU_TRY(write_tiles(p, l, error));
        if (number + 1 == p->levels) return CDU_OK;
        level *next = &p->level[number + 1];
        if (!next->has_odd && l->row < l->height) {
            memcpy(next->odd, pixels, row);
            next->has_odd = true;
            return CDU_OK;
        }
        /* `pixels` may be p->reduced itself: halving runs from left to right and never writes ahead of what it reads */
        halve(p, next->has_odd ? next->odd : pixels, pixels, l->width, p->reduced);
        next->has_odd = false;
        pixels = p->reduced;
    }
}

cdu_status cdu_pyramid_write(cdu_pyramid *p, const uint8_t *pixels, uint32_t rows, cdu_error *error)
{
    level *l = &p->level[0];
    if (rows > l->height - l->row)
        return cdu_fail(error, CDU_FAILED, "%s: %lld rows given, %lld expected", p->path, (long long)(l->row + rows),
                        (long long)l->height);
    for (uint32_t j = 0; j < rows; j++) CDU_TRY(take_row(p, 0, pixels + (size_t)j * (size_t)l->width * p->channels, error));
    return CDU_OK;
}

/* The tiles of a reduced level behind what the file already has, without decoding them. */
static cdu_status append_level(cdu_pyramid *p, uint32_t number, uint8_t **buffer, size_t *buffer_size, cdu_error *error)
{
    level *l = &p->level[number], *file = &p->level[0];
    if (!TIFFWriteDirectory(l->tiff) || !TIFFSetDirectory(l->tiff, 0)) return cannot_write(p, l, error);
    if (!describe(p, file->tiff, number)) return cannot_write(p, file, error);
    uint32_t size = 0;
    void *tables = NULL;
    if (!p->settings.labels && TIFFGetField(l->tiff, TIFFTAG_JPEGTABLES, &size, &tables) &&
        !TIFFSetField(file->tiff, TIFFTAG_JPEGTABLES, size, tables))
        return cannot_write(p, file, error);
    for (uint32_t i = 0; i < TIFFNumberOfTiles(l->tiff); i++) {
        uint64_t bytes = TIFFGetStrileByteCount(l->tiff, i);
        CDU_TRY(cdu_grow(buffer, buffer_size, (size_t)bytes, 1, error));
        if (TIFFReadRawTile(l->tiff, i, *buffer, (tmsize_t)bytes) != (tmsize_t)bytes) return cannot_write(p, l, error);
        if (TIFFWriteRawTile(file->tiff, i, *buffer, (tmsize_t)bytes) < 0) return cannot_write(p, file, error);
    }
    if (!TIFFWriteDirectory(file->tiff)) return cannot_write(p, file, error);
    TIFFClose(l->tiff);
    l->tiff = NULL;
    cdu_file_discard(l->temporary);
    l->temporary[0] = 0;
    return CDU_OK;
}

static cdu_status finish(cdu_pyramid *p, cdu_error *error)
{
    level *file = &p->level[0];
    if (file->row != file->height)
        return cdu_fail(error, CDU_FAILED, "%s: %lld rows given, %lld expected", p->path, (long long)file->row,
                        (long long)file->height);
    if (!TIFFWriteDirectory(file->tiff)) return cannot_write(p, file, error);
    uint8_t *buffer = NULL;
    size_t buffer_size = 0;
    cdu_status status = CDU_OK;
    for (uint32_t i = 1; i < p->levels && status == CDU_OK; i++) status = append_level(p, i, &buffer, &buffer_size, error);
    free(buffer);
    CDU_TRY(status);
    TIFFClose(file->tiff);
    file->tiff = NULL;
    if (file->stream.fault || file->stream.words[0]) return cannot_write(p, file, error);
    status = cdu_file_commit(file->temporary, p->path, error);
    file->temporary[0] = 0; /* gone either way */
    return status;
}

cdu_status cdu_pyramid_finish(cdu_pyramid *pyramid, cdu_error *error)
{
    cdu_status status = finish(pyramid, error);
    cdu_pyramid_discard(pyramid);
    return status;
}

void cdu_pyramid_discard(cdu_pyramid *p)
{
    if (!p) return;
    for (uint32_t i = 0; i < LEVELS; i++) {
        level *l = &p->level[i];
        if (l->tiff) TIFFClose(l->tiff);
        if (l->temporary[0]) cdu_file_discard(l->temporary);
        free(l->rows);
        free(l->odd);
    }
    free(p->tile);
    free(p->reduced);
    free(p->path);
    free(p);
}
