/* slide.c: regions of slides against plain loops, independence of the cut, resolutions, files that must be refused. */
#include "cdunet/slide.h"

#include <math.h>
#include <png.h>
#include <pthread.h>
#include <string.h>
#include <tiffio.h>

#include "core/slide/pyramid.h"
#include "helpers.h"

static void write_png(const char *path, uint32_t width, uint32_t height, uint32_t format, const uint8_t *pixels)
{
    png_image image = {.version = PNG_IMAGE_VERSION, .width = width, .height = height, .format = format};
    cr_assert(png_image_write_to_file(&image, path, 0, pixels, 0, NULL));
}

static uint8_t *random_pixels(size_t bytes)
{
    uint8_t *pixels = malloc(bytes);
    uint32_t state = 7;
    for (size_t i = 0; i < bytes; i++) pixels[i] = (uint8_t)noise(&state);
    return pixels;
}

/* The mean over [x, x + 1) * ratio of one channel, outside white, in double. */
static double plain_mean(const uint8_t *rgb, int64_t width, int64_t height, double ratio, int64_t x, int64_t y, int c)
{
    double sum = 0;
    for (int64_t j = (int64_t)floor((double)y * ratio); (double)j < (double)(y + 1) * ratio; j++)
        for (int64_t i = (int64_t)floor((double)x * ratio); (double)i < (double)(x + 1) * ratio; i++) {
            double across = fmin((double)i + 1, (double)(x + 1) * ratio) - fmax((double)i, (double)x * ratio);
            double down = fmin((double)j + 1, (double)(y + 1) * ratio) - fmax((double)j, (double)y * ratio);
            sum += across * down * (i < width && j < height ? rgb[(j * width + i) * 3 + c] : 255);
        }
    return sum / (ratio * ratio);
}

Test(slide, area_filter_equals_plain_loops)
{
    enum { W = 173, H = 141 };
    char path[CDU_PATH_LIMIT];
    scratch_path(path, "filter.png");
    uint8_t *pixels = random_pixels(W * H * 3);
    write_png(path, W, H, PNG_FORMAT_RGB, pixels);
    cdu_slide *slide;
    MUST(cdu_slide_open(path, 0.5, &slide, error));
    static const double ratios[] = {1, 1.0 + 1.0 / 3, 1.5, 2, 2.004, 3.7, 16, 141, 200};
    for (size_t r = 0; r < sizeof ratios / sizeof *ratios; r++) {
        int64_t width, height;
        cdu_slide_size_at(slide, 0.5 * ratios[r], &width, &height);
        cr_assert_eq(width, (int64_t)ceil(W / ratios[r] - 1e-6));
        uint8_t *rgb = malloc((size_t)(width * height) * 3);
        MUST(cdu_slide_read(slide, 0.5 * ratios[r], 0, 0, (uint32_t)width, (uint32_t)height, rgb, error));
        for (int64_t i = 0; i < width * height * 3; i++) {
            double want = plain_mean(pixels, W, H, ratios[r], i / 3 % width, i / 3 / width, (int)(i % 3));
            cr_assert_float_eq(rgb[i], want, 0.501, "ratio %g, value %lld: %d, want %g", ratios[r], (long long)i, rgb[i], want);
        }
        free(rgb);
    }
    cdu_slide_close(slide);
    free(pixels);
}

Test(slide, enlarging_is_bilinear_between_centres)
{
    enum { W = 23, H = 17 };
    char path[CDU_PATH_LIMIT];
    scratch_path(path, "enlarge.png");
    uint8_t *pixels = random_pixels(W * H * 3);
    write_png(path, W, H, PNG_FORMAT_RGB, pixels);
    cdu_slide *slide;
    MUST(cdu_slide_open(path, 1, &slide, error));
    const double ratio = 0.3;
    int64_t width, height;
    cdu_slide_size_at(slide, ratio, &width, &height);
    uint8_t *rgb = malloc((size_t)(width * height) * 3);
    MUST(cdu_slide_read(slide, ratio, 0, 0, (uint32_t)width, (uint32_t)height, rgb, error));
    for (int64_t y = 0; y < height; y++)
        for (int64_t x = 0; x < width; x++) {
            double fx = fmin(fmax(((double)x + 0.5) * ratio - 0.5, 0), W - 1),
                   fy = fmin(fmax(((double)y + 0.5) * ratio - 0.5, 0), H - 1);
            int x0 = (int)fx, y0 = (int)fy, x1 = x0 + 1 < W ? x0 + 1 : x0, y1 = y0 + 1 < H ? y0 + 1 : y0;
            double a = fx - x0, b = fy - y0;
            for (int c = 0; c < 3; c++) {
                double want = (1 - b) * ((1 - a) * pixels[(y0 * W + x0) * 3 + c] + a * pixels[(y0 * W + x1) * 3 + c]) +
                              b * ((1 - a) * pixels[(y1 * W + x0) * 3 + c] + a * pixels[(y1 * W + x1) * 3 + c]);
                cr_assert_float_eq(rgb[(y * width + x) * 3 + c], want, 0.51);
            }
        }
    free(rgb);
    cdu_slide_close(slide);
    free(pixels);
}

Test(slide, outside_is_white)
{
    char path[CDU_PATH_LIMIT];
    scratch_path(path, "outside.png");
    uint8_t pixels[8 * 8 * 3] = {0}, rgb[20 * 20 * 3];
    write_png(path, 8, 8, PNG_FORMAT_RGB, pixels);
    cdu_slide *slide;
    MUST(cdu_slide_open(path, 1, &slide, error));
    MUST(cdu_slide_read(slide, 1, -6, -6, 20, 20, rgb, error));
    for (int i = 0; i < 400; i++) {
        bool inside = i % 20 >= 6 && i % 20 < 14 && i / 20 >= 6 && i / 20 < 14;
        cr_assert_eq(rgb[i * 3 + 1], inside ? 0 : 255);
    }
    MUST(cdu_slide_read(slide, 1, INT64_MAX - 30, INT64_MIN + 30, 20, 20, rgb, error));
    for (int i = 0; i < 1200; i++) cr_assert_eq(rgb[i], 255);
    cdu_slide_close(slide);
}

Test(slide, transparency_is_white)
{
    char path[CDU_PATH_LIMIT];
    scratch_path(path, "alpha.png");
    const uint8_t pixels[4 * 4] = {10, 20, 30, 255, 10, 20, 30, 0, 0, 0, 0, 128, 255, 0, 0, 51};
    uint8_t rgb[12];
    const uint8_t want[12] = {10, 20, 30, 255, 255, 255, 127, 127, 127, 255, 204, 204};
    write_png(path, 4, 1, PNG_FORMAT_RGBA, pixels);
    cdu_slide *slide;
    MUST(cdu_slide_open(path, 1, &slide, error));
    MUST(cdu_slide_read(slide, 1, 0, 0, 4, 1, rgb, error));
    cr_assert_arr_eq(rgb, want, 12);
    cdu_slide_close(slide);
}

/* One read equals many small ones, at ratios that use several levels and none. */
static void cut_independence(const char *name, double mpp)
{
    char path[CDU_PATH_LIMIT];
    data_path(path, name);
    cdu_slide *slide;
    MUST(cdu_slide_open(path, mpp, &slide, error));
    double own = cdu_slide_info_of(slide).mpp;
    static const double ratios[] = {0.7, 1, 1.37, 2, 2.9, 4.1, 9.3};
    enum { SIDE = 230 };
    uint8_t *whole = malloc(SIDE * SIDE * 3), *part = malloc(SIDE * SIDE * 3);
    for (size_t r = 0; r < sizeof ratios / sizeof *ratios; r++) {
        int64_t width, height;
        cdu_slide_size_at(slide, own * ratios[r], &width, &height);
        int64_t x = width / 2 - SIDE / 2, y = height / 2 - SIDE / 2;
        MUST(cdu_slide_read(slide, own * ratios[r], x, y, SIDE, SIDE, whole, error));
        uint32_t state = (uint32_t)r;
        for (int k = 0; k < 12; k++) {
            uint32_t w = 1 + noise(&state) % 90, h = 1 + noise(&state) % 90, i = noise(&state) % (SIDE - w),
                     j = noise(&state) % (SIDE - h);
            MUST(cdu_slide_read(slide, own * ratios[r], x + i, y + j, w, h, part, error));
            for (uint32_t row = 0; row < h; row++)
                cr_assert_eq(memcmp(part + row * w * 3, whole + ((j + row) * SIDE + i) * 3, w * 3), 0,
                             "%s at ratio %g: %ux%u at %u %u differs in row %u", name, ratios[r], w, h, i, j, row);
        }
    }
    free(whole);
    free(part);
    cdu_slide_close(slide);
}

Test(slide, cut_does_not_matter_svs)
{
    cut_independence("slides/CMU-1-Small-Region.svs", 0);
}
Test(slide, cut_does_not_matter_jpeg2000)
{
    cut_independence("slides/TCGA-CR-7395-01A-01-TS1.svs", 0.25);
}
Test(slide, cut_does_not_matter_odd_levels)
{
    cut_independence("slides/OS-2-vsi-crop.tif", 0);
}
Test(slide, cut_does_not_matter_ndpi)
{
    cut_independence("slides/test3-DAPI-2-387.ndpi", 0);
}
Test(slide, cut_does_not_matter_jpeg)
{
    cut_independence("ihc/lung-lesion3-He.jpg", 3.5);
}

/* Levels tell nearly the same as level 0. */
Test(slide, levels_lie_on_each_other)
{
    char path[CDU_PATH_LIMIT];
    data_path(path, "slides/OS-2-ndpi-crop.tif");
    cdu_slide *slide;
    MUST(cdu_slide_open(path, 0, &slide, error));
    double own = cdu_slide_info_of(slide).mpp;
    uint8_t a[100 * 100 * 3], b[200 * 200 * 3];
    MUST(cdu_slide_read(slide, own * 4, 300, 300, 100, 100, a, error));
    MUST(cdu_slide_read(slide, own * 1.999, 600, 600, 200, 200, b, error)); /* from level 0 */
    double sum = 0, shifted = 0;
    for (int y = 0; y < 99; y++)
        for (int x = 0; x < 99; x++) {
            double mean = 0, next = 0;
            for (int k = 0; k < 4; k++) mean += b[((2 * y + k / 2) * 200 + 2 * x + k % 2) * 3] / 4.0;
            for (int k = 0; k < 4; k++) next += b[((2 * y + k / 2) * 200 + 2 * (x + 1) + k % 2) * 3] / 4.0;
            sum += fabs(mean - a[(y * 100 + x) * 3]);
            shifted += fabs(next - a[(y * 100 + x) * 3]);
        }
    cr_assert_lt(sum / 9801, 5, "mean difference %g", sum / 9801);
    cr_assert_lt(sum * 2, shifted, "one pixel aside they differ by %g, in place by %g", shifted / 9801, sum / 9801);
    cdu_slide_close(slide);
}

typedef struct {
    cdu_slide *slide;
    double mpp;
    int64_t place;
    uint8_t rgb[128 * 128 * 3];
    cdu_status status;
} job;

static void *read_job(void *context)
{
    job *j = context;
    cdu_error error = {0};
    for (int i = 0; i < 5; i++) j->status |= cdu_slide_read(j->slide, j->mpp, j->place, j->place, 128, 128, j->rgb, &error);
    return NULL;
}

Test(slide, threads_read_what_one_reads)
{
    char path[CDU_PATH_LIMIT];
    data_path(path, "slides/CMU-1-Small-Region.svs");
    cdu_slide *slide;
    MUST(cdu_slide_open(path, 0, &slide, error));
    enum { THREADS = 6 };
    static job jobs[THREADS];
    static uint8_t want[128 * 128 * 3];
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        jobs[i] = (job){.slide = slide, .mpp = 0.8, .place = i * 150};
        pthread_create(&threads[i], NULL, read_job, &jobs[i]);
    }
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    for (int i = 0; i < THREADS; i++) {
        cr_assert_eq(jobs[i].status, CDU_OK);
        MUST(cdu_slide_read(slide, 0.8, i * 150, i * 150, 128, 128, want, error));
        cr_assert_eq(memcmp(want, jobs[i].rgb, sizeof want), 0);
    }
    cdu_slide_close(slide);
}

static void must_refuse(const char *path, double mpp, cdu_status want, const char *word)
{
    cdu_error error = {0};
    cdu_slide *slide = NULL;
    cdu_status status = cdu_slide_open(path, mpp, &slide, &error);
    cr_assert_eq(status, want, "%s: status %d, %s", path, (int)status, error.words);
    cr_assert_null(slide);
    cr_assert(strstr(error.words, word), "%s: '%s' does not say '%s'", path, error.words, word);
    cr_assert_null(strchr(error.words, '\n'));
    cr_assert(strstr(error.words, path), "'%s' does not name the file", error.words);
}

Test(slide, a_resolution_is_asked_for)
{
    char path[CDU_PATH_LIMIT];
    scratch_path(path, "no-mpp.png");
    uint8_t pixels[12] = {0};
    write_png(path, 2, 2, PNG_FORMAT_RGB, pixels);
    must_refuse(path, 0, CDU_BAD_DATA, "--slide-mpp");
    must_refuse(path, -1, CDU_USAGE, "between");
    must_refuse(path, NAN, CDU_USAGE, "between");
    must_refuse(path, 1e9, CDU_USAGE, "between");
    data_path(path, "slides/TCGA-CR-7395-01A-01-TS1.svs");
    must_refuse(path, 0, CDU_BAD_DATA, "mpp column of slides.csv");
    data_path(path, "ihc/lung-lesion3-He.jpg");
    must_refuse(path, 0, CDU_BAD_DATA, "cannot be a microscope's");
}

Test(slide, odd_files_are_refused)
{
    char path[CDU_PATH_LIMIT];
    data_path(path, "slides/odd/OS-2-vsi.ome.tif");
    must_refuse(path, 0.35, CDU_BAD_DATA, "TIFF");
    must_refuse("/nonexistent/slide.svs", 0, CDU_BAD_DATA, "No such file");
    must_refuse(CDUNET_SOURCE_DIR, 0, CDU_BAD_DATA, "regular file");
    must_refuse(CDUNET_SOURCE_DIR "/CMakeLists.txt", 1, CDU_BAD_DATA, "neither");
}

Test(slide, pictures_too_large_for_memory_are_refused)
{
    char path[CDU_PATH_LIMIT];
    data_path(path, "crc-val-he/ADI/ADI-TCGA-ALPPQLSF_106.jpg");
    char *bytes;
    size_t size, at = 0;
    MUST(cdu_file_read(path, 1 << 20, &bytes, &size, error));
    for (size_t i = 2; i + 9 < size && !at;
         i += 2 + (size_t)((uint8_t)bytes[i + 2] << 8 | (uint8_t)bytes[i + 3])) /* segment by segment */
        if (((uint8_t)bytes[i + 1] & 0xfc) == 0xc0) at = i;
    cr_assert(at > 0, "no frame header");
    memset(bytes + at + 5, 0x7f, 4);
    scratch_path(path, "large.jpg");
    MUST(cdu_file_write(path, bytes, size, error));
    must_refuse(path, 1, CDU_BAD_DATA, "more than the 1024 MiB for plain pictures");
    free(bytes);
}

/* Gray, with a palette, 16 bits: all come as R, G, B. */
Test(slide, kinds_of_png)
{
    char path[CDU_PATH_LIMIT];
    cdu_slide *slide;
    uint8_t rgb[6];
    scratch_path(path, "gray.png");
    write_png(path, 2, 1, PNG_FORMAT_GRAY, (const uint8_t[]){7, 200});
    MUST(cdu_slide_open(path, 1, &slide, error));
    MUST(cdu_slide_read(slide, 1, 0, 0, 2, 1, rgb, error));
    cr_assert_arr_eq(rgb, ((uint8_t[]){7, 7, 7, 200, 200, 200}), 6);
    cdu_slide_close(slide);

    scratch_path(path, "palette.png");
    png_image image = {
        .version = PNG_IMAGE_VERSION, .width = 2, .height = 1, .format = PNG_FORMAT_RGB_COLORMAP, .colormap_entries = 2};
    cr_assert(png_image_write_to_file(&image, path, 0, (const uint8_t[]){1, 0}, 0, (const uint8_t[]){10, 20, 30, 40, 50, 60}));
    MUST(cdu_slide_open(path, 1, &slide, error));
    MUST(cdu_slide_read(slide, 1, 0, 0, 2, 1, rgb, error));
    cr_assert_arr_eq(rgb, ((uint8_t[]){40, 50, 60, 10, 20, 30}), 6);
    cdu_slide_close(slide);

    data_path(path, "camelyon/masks/10072.png"); /* 1 bit */
    static uint8_t mask[512 * 512 * 3];
    size_t white = 0;
    MUST(cdu_slide_open(path, 1, &slide, error));
    MUST(cdu_slide_read(slide, 1, 0, 0, 512, 512, mask, error));
    for (size_t i = 0; i < sizeof mask; i++) {
        cr_assert(mask[i] == 0 || mask[i] == 255);
        white += mask[i] == 255;
    }
    cr_assert(white > sizeof mask / 5 && white < sizeof mask * 4 / 5);
    cdu_slide_close(slide);
}

static void write_bytes(const char *path, const char *bytes, size_t size)
{
    MUST(cdu_file_write(path, bytes, size, error));
}

static char *whole_file(const char *path, size_t *size)
{
    char *bytes;
    MUST(cdu_file_read(path, 1 << 28, &bytes, size, error));
    return bytes;
}

/* A tiled TIFF whose tiles claim more bytes than the file has would make OpenSlide's GLib end the process. */
Test(slide, tiles_beyond_the_file_are_refused)
{
    char path[CDU_PATH_LIMIT];
    scratch_path(path, "hostile.tif");
    cdu_pyramid_settings settings = {.width = 300, .height = 300, .mpp = 1, .tile = 128, .labels = true};
    cdu_pyramid *pyramid;
    uint8_t row[300] = {0};
    MUST(cdu_pyramid_begin(path, &settings, &pyramid, error));
    for (int i = 0; i < 300; i++) MUST(cdu_pyramid_write(pyramid, row, 1, error));
    MUST(cdu_pyramid_finish(pyramid, error));
    size_t size;
    char *bytes = whole_file(path, &size);
    TIFF *tiff = TIFFOpen(path, "r");
    uint64_t *counts;
    cr_assert(TIFFGetField(tiff, TIFFTAG_TILEBYTECOUNTS, &counts));
    const uint64_t first = counts[0];
    TIFFClose(tiff);
    int changed = 0;
    for (size_t width = 2; width <= 4 && !changed; width += 2) /* libtiff writes the 9 counts as 16 or 32 bits */
        for (size_t i = 0; i + 9 * width <= size && !changed; i++) {
            bool table = true;
            for (size_t k = 0; k < 9; k++) {
                uint32_t value = 0;
                memcpy(&value, bytes + i + k * width, width);
                table &= value == first;
            }
            if (table) memset(bytes + i, 0xff, 2), changed++;
        }
    cr_assert_eq(changed, 1);
    write_bytes(path, bytes, size);
    must_refuse(path, 1, CDU_BAD_DATA, "tile 0 is said to be 65535 bytes");
    free(bytes);
}

/* Every truncation and many flipped bytes: an error with words or a slide that reads or says why not, never an end of the
 * process. */
static void mutate(const char *name, const char *bytes, size_t size, uint32_t rounds)
{
    char path[CDU_PATH_LIMIT];
    scratch_path(path, name);
    char *copy = malloc(size);
    uint32_t state = 11;
    static uint8_t rgb[64 * 64 * 3];
    for (uint32_t round = 0; round < rounds; round++) {
        memcpy(copy, bytes, size);
        size_t length = size;
        if (round % 3 == 0)
            length = (noise(&state) * (uint64_t)97) % size;
        else
            for (uint32_t k = 0; k <= round % 4; k++)
                copy[(noise(&state) % (round % 3 == 1 ? 600 : (uint32_t)size)) % size] ^= (char)(1 + noise(&state) % 255);
        FILE *file = fopen(path, "wb");
        fwrite(copy, 1, length, file);
        fclose(file);
        cdu_error error = {0};
        cdu_slide *slide;
        cdu_status status = cdu_slide_open(path, 1, &slide, &error);
        if (status == CDU_OK) {
            status = cdu_slide_read(slide, 1.3, 10, 10, 64, 64, rgb, &error);
            cdu_slide_close(slide);
        }
        cr_assert(status == CDU_OK || status == CDU_BAD_DATA, "round %u: %d %s", round, (int)status, error.words);
        cr_assert(status == CDU_OK || error.words[0]);
    }
    free(copy);
}

Test(slide, broken_png)
{
    char path[CDU_PATH_LIMIT];
    scratch_path(path, "good.png");
    uint8_t *pixels = random_pixels(90 * 80 * 3);
    write_png(path, 90, 80, PNG_FORMAT_RGB, pixels);
    free(pixels);
    size_t size;
    char *bytes = whole_file(path, &size);
    mutate("broken.png", bytes, size, 150);
    free(bytes);
}

Test(slide, half_a_jpeg_is_refused)
{
    char path[CDU_PATH_LIMIT];
    data_path(path, "crc-val-he/ADI/ADI-TCGA-ALPPQLSF_106.jpg");
    size_t size;
    char *bytes = whole_file(path, &size);
    scratch_path(path, "half.jpg");
    write_bytes(path, bytes, size / 2);
    must_refuse(path, 1, CDU_BAD_DATA, "JPEG");
    free(bytes);
}

Test(slide, broken_jpeg)
{
    char path[CDU_PATH_LIMIT];
    data_path(path, "crc-val-he/ADI/ADI-TCGA-ALPPQLSF_106.jpg");
    size_t size;
    char *bytes = whole_file(path, &size);
    mutate("broken.jpg", bytes, size, 150);
    free(bytes);
}

static void small_tiff(const char *path, bool strips)
{
    uint8_t *pixels = random_pixels(200 * 200 * 3);
    if (!strips) {
        cdu_pyramid_settings settings = {.width = 200, .height = 200, .mpp = 1, .tile = 64};
        cdu_pyramid *pyramid;
        MUST(cdu_pyramid_begin(path, &settings, &pyramid, error));
        MUST(cdu_pyramid_write(pyramid, pixels, 200, error));
        MUST(cdu_pyramid_finish(pyramid, error));
    } else {
        TIFF *tiff = TIFFOpen(path, "w");
        TIFFSetField(tiff, TIFFTAG_IMAGEWIDTH, 200);
        TIFFSetField(tiff, TIFFTAG_IMAGELENGTH, 200);
        TIFFSetField(tiff, TIFFTAG_SAMPLESPERPIXEL, 3);
        TIFFSetField(tiff, TIFFTAG_BITSPERSAMPLE, 8);
        TIFFSetField(tiff, TIFFTAG_PLANARCONFIG, PLANARCONFIG_CONTIG);
        TIFFSetField(tiff, TIFFTAG_PHOTOMETRIC, PHOTOMETRIC_RGB);
        TIFFSetField(tiff, TIFFTAG_COMPRESSION, COMPRESSION_LZW);
        TIFFSetField(tiff, TIFFTAG_ROWSPERSTRIP, 16);
        TIFFSetField(tiff, TIFFTAG_RESOLUTIONUNIT, RESUNIT_CENTIMETER);
        TIFFSetField(tiff, TIFFTAG_XRESOLUTION, 20000.0);
        TIFFSetField(tiff, TIFFTAG_YRESOLUTION, 20000.0);
        for (uint32_t y = 0; y < 200; y++) TIFFWriteScanline(tiff, pixels + y * 600, y, 0);
        TIFFClose(tiff);
    }
    free(pixels);
}

Test(slide, broken_tiffs)
{
    for (int strips = 0; strips < 2; strips++) {
        char path[CDU_PATH_LIMIT];
        scratch_path(path, "good.tif");
        small_tiff(path, strips);
        size_t size;
        char *bytes = whole_file(path, &size);
        mutate("broken.tif", bytes, size, 300);
        free(bytes);
    }
}

Test(slide, tiff_in_strips_is_a_picture)
{
    char path[CDU_PATH_LIMIT];
    scratch_path(path, "strips.tif");
    small_tiff(path, true);
    cdu_slide *slide;
    MUST(cdu_slide_open(path, 0, &slide, error));
    cdu_slide_info info = cdu_slide_info_of(slide);
    cr_assert_str_eq(info.format, "tiff");
    cr_assert_float_eq(info.mpp, 0.5, 1e-9);
    uint8_t *want = random_pixels(200 * 200 * 3), *rgb = malloc(200 * 200 * 3);
    MUST(cdu_slide_read(slide, 0.5, 0, 0, 200, 200, rgb, error));
    cr_assert_eq(memcmp(want, rgb, 200 * 200 * 3), 0);
    free(want);
    free(rgb);
    cdu_slide_close(slide);
}

static double tissue_share(const char *name, double mpp)
{
    char path[CDU_PATH_LIMIT];
    data_path(path, name);
    cdu_slide *slide;
    uint8_t *cells;
    uint32_t columns, rows, tissue = 0;
    MUST(cdu_slide_open(path, mpp, &slide, error));
    MUST(cdu_slide_find_tissue(slide, cdu_slide_info_of(slide).mpp * 2, 64, &cells, &columns, &rows, error));
    for (uint32_t i = 0; i < columns * rows; i++) tissue += cells[i];
    free(cells);
    cdu_slide_close(slide);
    return (double)tissue / (columns * rows);
}

Test(slide, glass_is_found_with_caution)
{
    double share = tissue_share("slides/CMU-1-Small-Region.svs", 0);
    cr_assert(share > 0.45 && share < 0.85, "%g", share);
    share = tissue_share("ihc/kidney-48-5-CD3-CD20.png", 3.5);
    cr_assert(share > 0.02 && share < 0.4, "%g", share);
    share = tissue_share("ihc/lung-lesion3-CD31-3.jpg", 3.5); /* pale, and all tissue */
    cr_assert_gt(share, 0.97);
    share = tissue_share("slides/test3-DAPI-2-387.ndpi", 0); /* dark: nothing is glass */
    cr_assert_eq(share, 1);
}

/* Smooth patches little darker, or little redder, than the glass around them are tissue; the glass's own shade is not. */
Test(slide, pale_tissue_is_tissue)
{
    enum { SIDE = 576, CELL = 32 }; /* patches of 3 x 3 cells: the inner cell does not see the patch's edge */
    static const uint8_t shades[3][3] = {{222, 224, 226}, {252, 231, 238}, {240, 240, 242}};
    char path[CDU_PATH_LIMIT];
    scratch_path(path, "pale.png");
    uint8_t *rgb = malloc(SIDE * SIDE * 3);
    for (int i = 0; i < SIDE * SIDE; i++) {
        int x = i % SIDE / (3 * CELL), y = i / SIDE / (3 * CELL);
        for (int c = 0; c < 3; c++) rgb[i * 3 + c] = y == 3 && x % 2 ? shades[x / 2][c] : (uint8_t)(242 + c % 2);
    }
    write_png(path, SIDE, SIDE, PNG_FORMAT_RGB, rgb);
    free(rgb);
    cdu_slide *slide;
    uint8_t *cells;
    uint32_t columns, rows;
    MUST(cdu_slide_open(path, 1, &slide, error));
    MUST(cdu_slide_find_tissue(slide, 1, CELL, &cells, &columns, &rows, error));
    cr_assert(columns == 18 && rows == 18);
    cr_assert_eq(cells[10 * 18 + 4], 1, "gray tissue");
    cr_assert_eq(cells[10 * 18 + 10], 1, "pink tissue");
    cr_assert_eq(cells[10 * 18 + 16], 0, "glass");
    for (int i = 0; i < 18 * 8; i++) cr_assert_eq(cells[i], 0, "glass far off");
    free(cells);
    cdu_slide_close(slide);
}
