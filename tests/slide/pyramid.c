/* pyramid.c: what is written as a pyramid is read back, by OpenSlide and by libtiff. */
#include <math.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <tiffio.h>

#include "cdunet/slide.h"
#include "core/slide/pyramid.h"
#include "helpers.h"

enum { WIDTH = 1237, HEIGHT = 941, TILE = 128 };

static uint8_t label_at(int64_t x, int64_t y)
{
    return (uint8_t)(((x / 37) * 7 + (y / 29) * 3 + (x * y > 300000)) % 4);
}

static void write_labels(const char *path, uint32_t rows_at_once)
{
    cdu_pyramid_settings settings = {.width = WIDTH,
                                     .height = HEIGHT,
                                     .mpp = 0.5,
                                     .tile = TILE,
                                     .labels = true,
                                     .palette = {{0, 0, 0}, {0, 160, 0}, {220, 0, 0}, {230, 220, 0}},
                                     .description = "labels of a test"};
    cdu_pyramid *pyramid;
    MUST(cdu_pyramid_begin(path, &settings, &pyramid, error));
    uint8_t *rows = malloc((size_t)WIDTH * rows_at_once);
    for (int64_t y = 0; y < HEIGHT; y += rows_at_once) {
        uint32_t count = (uint32_t)(HEIGHT - y < rows_at_once ? HEIGHT - y : rows_at_once);
        for (int64_t j = 0; j < count; j++)
            for (int64_t x = 0; x < WIDTH; x++) rows[j * WIDTH + x] = label_at(x, y + j);
        MUST(cdu_pyramid_write(pyramid, rows, count, error));
    }
    free(rows);
    MUST(cdu_pyramid_finish(pyramid, error));
}

/* Smooth, so that JPEG has little to lose. */
static void colour_at(int64_t x, int64_t y, uint8_t rgb[3])
{
    rgb[0] = (uint8_t)(128 + 100 * sin((double)x / 40));
    rgb[1] = (uint8_t)(128 + 100 * sin((double)y / 55));
    rgb[2] = (uint8_t)(128 + 100 * sin((double)(x + y) / 70));
}

static void write_colours(const char *path, bool subsampling)
{
    cdu_pyramid_settings settings = {
        .width = WIDTH, .height = HEIGHT, .mpp = 0.25, .tile = TILE, .jpeg_quality = 92, .jpeg_subsampling = subsampling};
    cdu_pyramid *pyramid;
    MUST(cdu_pyramid_begin(path, &settings, &pyramid, error));
    static uint8_t row[WIDTH * 3];
    for (int64_t y = 0; y < HEIGHT; y++) {
        for (int64_t x = 0; x < WIDTH; x++) colour_at(x, y, row + x * 3);
        MUST(cdu_pyramid_write(pyramid, row, 1, error));
    }
    MUST(cdu_pyramid_finish(pyramid, error));
}

Test(pyramid, labels_come_back_exactly)
{
    char path[CDU_PATH_LIMIT];
    scratch_path(path, "labels.tif");
    write_labels(path, 77);
    TIFF *tiff = TIFFOpen(path, "r");
    cr_assert_not_null(tiff);
    uint8_t tile[TILE * TILE];
    for (uint32_t y = 0; y < HEIGHT; y += TILE)
        for (uint32_t x = 0; x < WIDTH; x += TILE) {
            cr_assert_eq(TIFFReadTile(tiff, tile, x, y, 0, 0), TILE * TILE);
            for (uint32_t j = 0; j < TILE && y + j < HEIGHT; j++)
                for (uint32_t i = 0; i < TILE && x + i < WIDTH; i++)
                    cr_assert_eq(tile[j * TILE + i], label_at(x + i, y + j), "at %u %u", x + i, y + j);
        }
    /* level 1: the most frequent of 4, the smallest in a tie */
    uint32_t reduced = 0;
    cr_assert(TIFFReadDirectory(tiff));
    cr_assert(TIFFGetField(tiff, TIFFTAG_SUBFILETYPE, &reduced) && reduced == FILETYPE_REDUCEDIMAGE);
    cr_assert_eq(TIFFReadTile(tiff, tile, 0, 0, 0, 0), TILE * TILE);
    for (uint32_t j = 0; j < TILE; j++)
        for (uint32_t i = 0; i < TILE; i++) {
            int count[4] = {0}, best = 0;
            for (uint32_t k = 0; k < 4; k++) count[label_at(2 * i + k % 2, 2 * j + k / 2)]++;
            for (int c = 1; c < 4; c++)
                if (count[c] > count[best]) best = c;
            cr_assert_eq(tile[j * TILE + i], best, "level 1 at %u %u", i, j);
        }
    TIFFClose(tiff);
}

Test(pyramid, openslide_reads_label_colours)
{
    static const uint8_t colours[4][3] = {{0, 0, 0}, {0, 160, 0}, {220, 0, 0}, {230, 220, 0}};
    char path[CDU_PATH_LIMIT];
    scratch_path(path, "labels-openslide.tif");
    write_labels(path, HEIGHT);
    cdu_slide *slide;
    MUST(cdu_slide_open(path, 0, &slide, error));
    cdu_slide_info info = cdu_slide_info_of(slide);
    cr_assert_str_eq(info.format, "generic-tiff");
    cr_assert_eq(info.width, WIDTH);
    cr_assert_eq(info.height, HEIGHT);
    cr_assert_eq(info.levels, 5);
    cr_assert_float_eq(info.mpp, 0.5, 1e-6);
    uint8_t *rgb = malloc((size_t)WIDTH * HEIGHT * 3);
    MUST(cdu_slide_read(slide, info.mpp, 0, 0, WIDTH, HEIGHT, rgb, error));
    for (int64_t i = 0; i < WIDTH * HEIGHT; i++)
        cr_assert_arr_eq(rgb + i * 3, colours[label_at(i % WIDTH, i / WIDTH)], 3, "at %lld", (long long)i);
    free(rgb);
    cdu_slide_close(slide);
}

static double worst_error(cdu_slide *slide, double mpp, int step)
{
    uint8_t rgb[200 * 200 * 3], want[3];
    double worst = 0;
    MUST(cdu_slide_read(slide, mpp, 20, 30, 200, 200, rgb, error));
    for (int64_t i = 0; i < 200 * 200; i++) {
        double at = (step - 1) / 2.0;
        colour_at((int64_t)((double)(20 + i % 200) * step + at), (int64_t)((double)(30 + i / 200) * step + at), want);
        for (int c = 0; c < 3; c++) worst = fmax(worst, fabs((double)rgb[i * 3 + c] - want[c]));
    }
    return worst;
}

Test(pyramid, openslide_reads_colours_of_all_levels)
{
    for (int subsampling = 0; subsampling < 2; subsampling++) {
        char path[CDU_PATH_LIMIT];
        scratch_path(path, subsampling ? "colours-420.tif" : "colours-444.tif");
        write_colours(path, subsampling);
        cdu_slide *slide;
        MUST(cdu_slide_open(path, 0, &slide, error));
        cdu_slide_info info = cdu_slide_info_of(slide);
        cr_assert_eq(info.levels, 5);
        cr_assert_float_eq(info.mpp, 0.25, 1e-6);
        cr_assert_lt(worst_error(slide, info.mpp, 1), 10);
        cr_assert_lt(worst_error(slide, info.mpp * 2, 2), 12);
        cr_assert_lt(worst_error(slide, info.mpp * 4, 4), 16);
        cdu_slide_close(slide);
    }
}

static char *whole_file(const char *path, size_t *size)
{
    char *bytes;
    MUST(cdu_file_read(path, 1 << 28, &bytes, size, error));
    return bytes;
}

Test(pyramid, equal_input_gives_equal_bytes)
{
    char a[CDU_PATH_LIMIT], b[CDU_PATH_LIMIT];
    scratch_path(a, "equal-a.tif");
    scratch_path(b, "equal-b.tif");
    write_labels(a, 1);
    write_labels(b, 500);
    size_t size_a, size_b;
    char *bytes_a = whole_file(a, &size_a), *bytes_b = whole_file(b, &size_b);
    cr_assert_eq(size_a, size_b);
    cr_assert_eq(memcmp(bytes_a, bytes_b, size_a), 0);
    free(bytes_a);
    free(bytes_b);
}

Test(pyramid, tiffinfo_has_nothing_to_say_against_it)
{
    char path[2][CDU_PATH_LIMIT], command[4 * CDU_PATH_LIMIT + 200];
    scratch_path(path[0], "clean-labels.tif");
    scratch_path(path[1], "clean-colours.tif");
    write_labels(path[0], 100);
    write_colours(path[1], true);
    if (system("command -v tiffinfo > /dev/null") != 0) cr_skip_test("tiffinfo is not here");
    for (int i = 0; i < 2; i++) {
        snprintf(command, sizeof command,
                 "tiffinfo '%s' 2>&1 >/dev/null | grep . && exit 1; tiffinfo '%s' | grep -c 'TIFF Directory' | grep -qx 5", path[i],
                 path[i]);
        cr_assert_eq(system(command), 0, "%s", command);
    }
}

Test(pyramid, an_unfinished_one_leaves_nothing)
{
    char path[CDU_PATH_LIMIT], command[2 * CDU_PATH_LIMIT + 200];
    scratch_path(path, "unfinished.tif");
    unlink(path);
    cdu_pyramid_settings settings = {.width = 600, .height = 600, .mpp = 1, .labels = true};
    cdu_pyramid *pyramid;
    uint8_t row[600] = {0};
    MUST(cdu_pyramid_begin(path, &settings, &pyramid, error));
    for (int i = 0; i < 300; i++) MUST(cdu_pyramid_write(pyramid, row, 1, error));
    cdu_pyramid_discard(pyramid);
    MUST(cdu_pyramid_begin(path, &settings, &pyramid, error));
    cdu_error error = {0};
    cr_assert_eq(cdu_pyramid_finish(pyramid, &error), CDU_FAILED, "rows are missing");
    snprintf(command, sizeof command, "ls %s* 2> /dev/null | grep .", path);
    cr_assert_neq(system(command), 0);
}

Test(pyramid, a_planted_fault_of_every_file_call_is_73)
{
    char path[CDU_PATH_LIMIT], command[2 * CDU_PATH_LIMIT + 200];
    scratch_path(path, "fault.tif");
    unlink(path);
    cdu_pyramid_settings settings = {.width = 600, .height = 600, .mpp = 1, .labels = true};
    uint8_t row[600] = {0};
    for (uint64_t n = 1; n < 100; n++) {
        cdu_pyramid *pyramid = NULL;
        cdu_error error = {0};
        cdu_file_fail_at(n);
        cdu_status status = cdu_pyramid_begin(path, &settings, &pyramid, &error);
        for (int i = 0; i < 600 && status == CDU_OK; i++) status = cdu_pyramid_write(pyramid, row, 1, &error);
        if (status == CDU_OK)
            status = cdu_pyramid_finish(pyramid, &error);
        else
            cdu_pyramid_discard(pyramid);
        cdu_file_fail_at(0);
        if (status == CDU_OK) {
            cr_assert_gt(n, 4);
            return;
        }
        cr_assert_eq(status, CDU_CANNOT_WRITE, "%s", error.words);
        snprintf(command, sizeof command, "ls %s.part* 2> /dev/null | grep .", path);
        cr_assert_neq(system(command), 0, "fault %d left a file", (int)n);
    }
    cr_assert_fail("the faults never ended");
}

/* A file that may not grow past 64 KiB fails as a full disk does; each test runs in a process of its own. */
Test(pyramid, a_full_disk_is_73_and_leaves_nothing)
{
    char path[CDU_PATH_LIMIT], command[2 * CDU_PATH_LIMIT + 200];
    scratch_path(path, "full.tif");
    unlink(path);
    signal(SIGXFSZ, SIG_IGN);
    struct rlimit limit = {65536, 65536};
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    cdu_pyramid_settings settings = {.width = 800, .height = 800, .mpp = 1, .labels = true};
    cdu_pyramid *pyramid;
    uint8_t *pixels = malloc(800 * 800);
    uint32_t state = 3;
    for (int i = 0; i < 800 * 800; i++) pixels[i] = (uint8_t)noise(&state);
    MUST(cdu_pyramid_begin(path, &settings, &pyramid, error));
    cdu_error error = {0};
    cdu_status status = cdu_pyramid_write(pyramid, pixels, 800, &error);
    if (status == CDU_OK)
        status = cdu_pyramid_finish(pyramid, &error);
    else
        cdu_pyramid_discard(pyramid);
    cr_assert_eq(status, CDU_CANNOT_WRITE, "%s", error.words);
    cr_assert(strstr(error.words, "File too large"), "%s", error.words);
    snprintf(command, sizeof command, "ls %s* 2> /dev/null | grep .", path);
    cr_assert_neq(system(command), 0);
    free(pixels);
}
