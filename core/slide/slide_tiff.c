/* slide_tiff.c: TIFF pictures that OpenSlide does not take (strips, for one) as slides of one level, decoded whole into memory
 * through libtiff's RGBA reader; and the check of any TIFF before OpenSlide sees it. Of a file with several pages the first is
 * read. */
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <tiffio.h>
#include <unistd.h>

#include "core/base/memory.h"
#include "core/slide/slide_source.h"

enum { DIRECTORY_LIMIT = 1024 };

typedef struct {
    char words[256];
} complaint;

static int complain(TIFF *tiff, void *context, const char *module, const char *format, va_list arguments)
{
    (void)tiff;
    (void)module;
    complaint *c = context;
    if (c->words[0]) return 1;
    vsnprintf(c->words, sizeof c->words, format, arguments);
    for (char *line = c->words; (line = strchr(line, '\n'));) *line = ' '; /* errors are one line */
    return 1;
}

static int ignore(TIFF *tiff, void *context, const char *module, const char *format, va_list arguments)
{
    (void)tiff;
    (void)context;
    (void)module;
    (void)format;
    (void)arguments;
    return 1;
}

static void silence(void)
{
    TIFFSetErrorHandler(NULL);
    TIFFSetWarningHandler(NULL);
}

void cdu_tiff_silence(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, silence);
}

static TIFF *open_tiff(const char *path, complaint *c)
{
    c->words[0] = 0;
    TIFFOpenOptions *options = TIFFOpenOptionsAlloc();
    if (!options) return NULL;
    TIFFOpenOptionsSetErrorHandlerExtR(options, complain, c);
    TIFFOpenOptionsSetWarningHandlerExtR(options, ignore, NULL);
    TIFFOpenOptionsSetMaxSingleMemAlloc(options, (tmsize_t)CDU_PICTURE_LIMIT * 2);
    TIFF *tiff = TIFFOpenExt(path, "rm", options);
    TIFFOpenOptionsFree(options);
    return tiff;
}

/* One directory: every tile or strip lies within the file and is of a size that may be decoded. */
static cdu_status check_directory(const char *path, TIFF *tiff, uint32_t number, uint64_t file_size, bool offsets, cdu_error *error)
{
    uint32_t width = 0, height = 0, tile_width = 0, tile_height = 0;
    TIFFGetField(tiff, TIFFTAG_IMAGEWIDTH, &width);
    TIFFGetField(tiff, TIFFTAG_IMAGELENGTH, &height);
    if (width > CDU_SIDE_LIMIT || height > CDU_SIDE_LIMIT)
        return cdu_fail(error, CDU_BAD_DATA, "%s: directory %u: %u x %u pixels cannot be", path, number, width, height);
    if (TIFFIsTiled(tiff)) {
        TIFFGetField(tiff, TIFFTAG_TILEWIDTH, &tile_width);
        TIFFGetField(tiff, TIFFTAG_TILELENGTH, &tile_height);
        if (!tile_width || !tile_height || (uint64_t)tile_width * tile_height > CDU_TILE_PIXELS_LIMIT)
            return cdu_fail(error, CDU_BAD_DATA, "%s: directory %u: tiles of %u x %u pixels cannot be", path, number, tile_width,
                            tile_height);
    }
    uint32_t count = TIFFIsTiled(tiff) ? TIFFNumberOfTiles(tiff) : TIFFNumberOfStrips(tiff);
    /* an entry of the tables of offsets and sizes takes at least 2 bytes of the file; sparse files may leave the tables out */
    if (count / 2 > file_size)
        return cdu_fail(error, CDU_BAD_DATA, "%s: directory %u: %u tiles cannot be in %llu bytes", path, number, count,
                        (unsigned long long)file_size);
    for (uint32_t i = 0; i < count; i++) {
        int broken = 0;
        uint64_t bytes = TIFFGetStrileByteCountWithErr(tiff, i, &broken),
                 offset = broken ? 0 : TIFFGetStrileOffsetWithErr(tiff, i, &broken);
        if (broken) return cdu_fail(error, CDU_BAD_DATA, "%s: directory %u: its table of tiles cannot be read", path, number);
        if (bytes > file_size || (offsets && offset > file_size - bytes))
            return cdu_fail(error, CDU_BAD_DATA, "%s: directory %u: tile %u is said to be %llu bytes at %llu, in a file of %llu",
                            path, number, i, (unsigned long long)bytes, (unsigned long long)offset, (unsigned long long)file_size);
    }
    return CDU_OK;
}

static bool is_tiff(const char *path)
{
    unsigned char magic[4] = {0};
    FILE *file = fopen(path, "rb");
    if (!file) return false;
    size_t got = fread(magic, 1, sizeof magic, file);
    fclose(file);
    return got == 4 &&
           (!memcmp(magic, "II*\0", 4) || !memcmp(magic, "MM\0*", 4) || !memcmp(magic, "II+\0", 4) || !memcmp(magic, "MM\0+", 4));
}

cdu_status cdu_tiff_check(const char *path, cdu_error *error)
{
    struct stat about;
    if (!is_tiff(path)) return CDU_OK;
    if (stat(path, &about) != 0) return cdu_fail(error, CDU_BAD_DATA, "%s: cannot be opened", path);
    uint64_t size = (uint64_t)about.st_size;
    size_t length = strlen(path);
    bool ndpi = length > 5 && !strcmp(path + length - 5, ".ndpi");
    /* NDPI above 4 GiB has offsets that libtiff cannot follow, and OpenSlide follows them without it */
    if (ndpi && size >= UINT32_MAX) return CDU_OK;
    complaint c;
    TIFF *tiff = open_tiff(path, &c);
    if (!tiff) return cdu_fail(error, CDU_BAD_DATA, "%s: TIFF: %s", path, c.words[0] ? c.words : "cannot be opened");
    cdu_status status = CDU_OK;
    uint32_t number = 0;
    do {
        status = check_directory(path, tiff, number, size, !ndpi, error);
        if (++number > DIRECTORY_LIMIT && status == CDU_OK)
            status = cdu_fail(error, CDU_BAD_DATA, "%s: more than %d directories", path, DIRECTORY_LIMIT);
    } while (status == CDU_OK && TIFFReadDirectory(tiff));
    TIFFClose(tiff);
    return status;
}

static void take_resolution(cdu_slide *slide, TIFF *tiff)
{
    float x = 0, y = 0;
    uint16_t unit = RESUNIT_INCH;
    TIFFGetFieldDefaulted(tiff, TIFFTAG_RESOLUTIONUNIT, &unit);
    if (!TIFFGetField(tiff, TIFFTAG_XRESOLUTION, &x) || !TIFFGetField(tiff, TIFFTAG_YRESOLUTION, &y)) return;
    double cm = unit == RESUNIT_CENTIMETER ? 1 : unit == RESUNIT_INCH ? 1 / 2.54 : 0;
    cdu_slide_take_density(slide, x * cm, y * cm, "TIFF");
}

/* libtiff's raster: 0xAABBGGRR, premultiplied. */
static void flatten(uint8_t *pixels, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint32_t pixel;
        memcpy(&pixel, pixels + i * 4, sizeof pixel);
        uint32_t white = 255 - TIFFGetA(pixel), value[3] = {TIFFGetR(pixel), TIFFGetG(pixel), TIFFGetB(pixel)};
        for (int c = 0; c < 3; c++) pixels[i * 3 + (size_t)c] = (uint8_t)(value[c] + white > 255 ? 255 : value[c] + white);
    }
}

static cdu_status decode(cdu_slide *slide, TIFF *tiff, complaint *c, cdu_error *error)
{
    uint32_t width = 0, height = 0;
    char words[1024] = "";
    TIFFGetField(tiff, TIFFTAG_IMAGEWIDTH, &width);
    TIFFGetField(tiff, TIFFTAG_IMAGELENGTH, &height);
    if (!TIFFRGBAImageOK(tiff, words)) return cdu_fail(error, CDU_BAD_DATA, "%s: TIFF: %.300s", slide->path, words);
    CDU_TRY(cdu_picture_allocate(slide, width, height, 4, error));
    int done = TIFFReadRGBAImageOriented(tiff, width, height, (uint32_t *)(void *)slide->pixels, ORIENTATION_TOPLEFT, 1);
    if (!done || c->words[0])
        return cdu_fail(error, CDU_BAD_DATA, "%s: TIFF: %s", slide->path, c->words[0] ? c->words : "cannot be decoded");
    flatten(slide->pixels, (size_t)width * height);
    uint8_t *smaller = realloc(slide->pixels, (size_t)width * height * 3); /* house: allowed, it only shrinks */
    if (smaller) slide->pixels = smaller;
    take_resolution(slide, tiff);
    cdu_picture_finish(slide, "tiff");
    return CDU_OK;
}

cdu_status cdu_slide_open_tiff(cdu_slide *slide, cdu_error *error)
{
    struct stat about;
    if (stat(slide->path, &about) != 0) return cdu_fail(error, CDU_BAD_DATA, "%s: cannot be opened", slide->path);
    complaint c;
    TIFF *tiff = open_tiff(slide->path, &c);
    if (!tiff) return cdu_fail(error, CDU_BAD_DATA, "%s: TIFF: %s", slide->path, c.words[0] ? c.words : "cannot be opened");
    cdu_status status = check_directory(slide->path, tiff, 0, (uint64_t)about.st_size, true, error);
    if (status == CDU_OK) status = decode(slide, tiff, &c, error);
    TIFFClose(tiff);
    return status;
}
