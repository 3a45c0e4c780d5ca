/* engine.c: a tiny network of random weights over small pictures: tiles against one run of the whole, glass, repeats, failures.
 * Runs on the first OpenCL device; skipped where there is none. */
#include "core/segment/engine.h"

#include <criterion/criterion.h>
#include <math.h>
#include <png.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cdunet/log.h"
#include "core/base/file.h"
#include "core/base/memory.h"
#include "core/base/stop.h"

#define MUST(call)                                                                                                                 \
    do {                                                                                                                           \
        cdu_error error_ = {0}, *error = &error_;                                                                                  \
        cdu_status status_ = (call);                                                                                               \
        cr_assert(status_ == CDU_OK, "%s: %d %s (%s)", #call, (int)status_, error->words, error->where);                           \
    } while (0)

enum { WIDTH = 232, HEIGHT = 170, MARGIN = 24 }; /* MARGIN: the reach of the network below */

static cdu_model_about tiny(uint32_t depth)
{
    cdu_model_about about = {.settings = cdu_model_defaults(), .mpp = 1, .tile = 256};
    about.settings.width = 4;
    about.settings.depth = depth;
    about.settings.classes = 3;
    return about;
}

/* Something like tissue on the left, white glass on the right. */
static cdu_slide *picture(const char *name, int64_t glass_from)
{
    char path[CDU_PATH_LIMIT];
    mkdir(CDUNET_BINARY_DIR "/scratch", 0777);
    snprintf(path, sizeof path, "%s/scratch/%s", CDUNET_BINARY_DIR, name);
    uint8_t *rgb = malloc(WIDTH * HEIGHT * 3);
    for (int64_t y = 0; y < HEIGHT; y++)
        for (int64_t x = 0; x < WIDTH; x++) {
            uint8_t *p = rgb + (y * WIDTH + x) * 3;
            double a = sin((double)x / 7) * cos((double)y / 9), b = sin((double)(x * x + y * y) / 900);
            p[0] = x >= glass_from ? 243 : (uint8_t)(150 + 60 * a + 40 * b);
            p[1] = x >= glass_from ? 242 : (uint8_t)(90 + 60 * b);
            p[2] = x >= glass_from ? 244 : (uint8_t)(150 - 50 * a + 30 * b);
        }
    png_image image = {.version = PNG_IMAGE_VERSION, .width = WIDTH, .height = HEIGHT, .format = PNG_FORMAT_RGB};
    cr_assert(png_image_write_to_file(&image, path, 0, rgb, 0, NULL));
    free(rgb);
    cdu_slide *slide;
    MUST(cdu_slide_open(path, 1, &slide, error));
    return slide;
}

static cdu_gpu device(void)
{
    cdu_gpu gpu;
    cdu_error error = {0};
    if (cdu_gpu_open("opencl:0", false, true, &gpu, &error) != CDU_OK) cr_skip_test("no OpenCL device: %s", error.words);
    return gpu;
}

typedef struct {
    uint8_t *map;
    int64_t next;
    cdu_status answer;
} collected;

static cdu_status collect(void *context, int64_t y, uint32_t rows, int64_t width, const uint8_t *labels, cdu_error *error)
{
    collected *c = context;
    cr_assert_eq(y, c->next, "rows come in order, each once");
    cr_assert_leq(y + rows, HEIGHT);
    cr_assert_eq(width, WIDTH);
    memcpy(c->map + y * width, labels, (size_t)(rows * width));
    c->next = y + rows;
    if (c->answer != CDU_OK) return cdu_fail(error, c->answer, "planted");
    return CDU_OK;
}

static void segment(const cdu_gpu *gpu, cdu_slide *slide, uint32_t depth, cdu_segment_settings settings, uint8_t *map)
{
    cdu_model_about about = tiny(depth);
    cdu_weights weights = {0};
    cdu_segmenter *segmenter;
    collected c = {map, 0, CDU_OK};
    MUST(cdu_model_initialize(&about.settings, 9, &weights, error));
    MUST(cdu_segmenter_create(gpu, &about, &weights, &settings, &segmenter, error));
    MUST(cdu_segment_slide(segmenter, slide, 0, collect, &c, NULL, error));
    cr_assert_eq(c.next, HEIGHT);
    cdu_segmenter_destroy(segmenter);
    cdu_weights_free(&weights);
}

Test(engine, tiles_give_what_the_whole_gives)
{
    static uint8_t whole[WIDTH * HEIGHT], tiled[WIDTH * HEIGHT], again[WIDTH * HEIGHT];
    cdu_gpu gpu = device();
    cdu_slide *slide = picture("engine.png", WIDTH);
    segment(&gpu, slide, 3, (cdu_segment_settings){.tile = 256, .keep_glass = true}, whole);
    segment(&gpu, slide, 3, (cdu_segment_settings){.tile = 96, .halo = 32, .batch = 3, .keep_glass = true}, tiled);
    segment(&gpu, slide, 3, (cdu_segment_settings){.tile = 96, .halo = 32, .batch = 2, .keep_glass = true}, again);
    size_t counts[3] = {0}, core = 0, core_differs = 0, differs = 0;
    for (int64_t i = 0; i < WIDTH * HEIGHT; i++) {
        int64_t x = i % WIDTH, y = i / WIDTH;
        counts[whole[i]]++;
        differs += whole[i] != tiled[i];
        /* tiles begin every 64 pixels and share 32 */
        bool inner = (x < 64 || (x % 64 >= 32)) && (y < 64 || (y % 64 >= 32)) && WIDTH - x > MARGIN && HEIGHT - y > MARGIN;
        if (!inner) continue;
        core++;
        core_differs += whole[i] != tiled[i];
    }
    cr_assert_gt(core, WIDTH * HEIGHT / 8);
    for (int c = 0, present = 0; c < 3; c++) {
        present += counts[c] > WIDTH * HEIGHT / 50;
        cr_assert(c < 2 || present >= 2, "the picture has one class only: %zu %zu %zu", counts[0], counts[1], counts[2]);
    }
    cr_assert_leq(core_differs, core / 1000, "%zu of %zu pixels beyond the edges' reach differ", core_differs, core);
    cr_assert_lt(differs, WIDTH * HEIGHT / 50, "%zu of %d pixels differ", differs, WIDTH * HEIGHT);
    cr_assert_eq(memcmp(tiled, again, sizeof tiled), 0, "the batch must not matter");
    cdu_slide_close(slide);
    cdu_gpu_close(&gpu);
}

/* The reach of two stages is 9 pixels; of 48 shared ones the outermost 12 have no weight: no pixel can see a tile's edge. */
Test(engine, no_seam_where_the_halo_is_wide_enough)
{
    static uint8_t whole[WIDTH * HEIGHT], tiled[WIDTH * HEIGHT];
    cdu_gpu gpu = device();
    cdu_slide *slide = picture("engine-seam.png", WIDTH);
    segment(&gpu, slide, 2, (cdu_segment_settings){.tile = 256, .keep_glass = true}, whole);
    segment(&gpu, slide, 2, (cdu_segment_settings){.tile = 96, .halo = 48, .keep_glass = true}, tiled);
    size_t differs = 0, other = 0;
    for (int64_t i = 0; i < WIDTH * HEIGHT; i++) {
        differs += whole[i] != tiled[i];
        other += whole[i] != whole[0];
    }
    cr_assert_gt(other, WIDTH * HEIGHT / 50, "one class only");
    cr_assert_leq(differs, WIDTH * HEIGHT / 2000, "%zu of %d pixels differ", differs, WIDTH * HEIGHT); /* near ties */
    cdu_slide_close(slide);
    cdu_gpu_close(&gpu);
}

Test(engine, glass_is_background_for_any_tile)
{
    static uint8_t a[WIDTH * HEIGHT], b[WIDTH * HEIGHT], all[WIDTH * HEIGHT];
    cdu_gpu gpu = device();
    cdu_slide *slide = picture("engine-glass.png", 60);
    segment(&gpu, slide, 3, (cdu_segment_settings){.tile = 64}, a);
    segment(&gpu, slide, 3, (cdu_segment_settings){.tile = 128}, b);
    segment(&gpu, slide, 3, (cdu_segment_settings){.tile = 128, .keep_glass = true}, all);
    size_t tissue = 0, kept = 0;
    for (int64_t i = 0; i < WIDTH * HEIGHT; i++) {
        if (i % WIDTH >= 192) {
            cr_assert_eq(a[i], 0);
            cr_assert_eq(b[i], 0);
            kept += all[i] != 0;
        } else {
            tissue += a[i] != 0;
        }
    }
    cr_assert_gt(tissue, 1000);
    cr_assert_gt(kept, 1000, "this network calls glass something else, if asked");
    cdu_slide_close(slide);
    cdu_gpu_close(&gpu);
}

Test(engine, failures_come_through)
{
    static uint8_t map[WIDTH * HEIGHT];
    cdu_gpu gpu = device();
    cdu_slide *slide = picture("engine-failures.png", WIDTH);
    cdu_model_about about = tiny(3);
    cdu_weights weights = {0};
    cdu_segmenter *segmenter;
    cdu_error fault = {0};
    MUST(cdu_model_initialize(&about.settings, 9, &weights, error));
    cr_assert_eq(cdu_segmenter_create(&gpu, &about, &weights, &(cdu_segment_settings){.tile = 70}, &segmenter, &fault), CDU_USAGE);
    cr_assert(strstr(fault.words, "multiple of 4"), "%s", fault.words);
    cr_assert_eq(cdu_segmenter_create(&gpu, &about, &weights, &(cdu_segment_settings){.tile = 64, .halo = 40}, &segmenter, &fault),
                 CDU_USAGE);
    MUST(cdu_segmenter_create(&gpu, &about, &weights, &(cdu_segment_settings){.tile = 64}, &segmenter, error));
    collected c = {map, 0, CDU_CANNOT_WRITE};
    cr_assert_eq(cdu_segment_slide(segmenter, slide, 0, collect, &c, NULL, &fault), CDU_CANNOT_WRITE);
    cr_assert_str_eq(fault.words, "planted");
    cr_assert_lt(c.next, HEIGHT);
    cdu_stop_request();
    c = (collected){map, 0, CDU_OK};
    cr_assert_eq(cdu_segment_slide(segmenter, slide, 0, collect, &c, NULL, &fault), CDU_STOPPED);
    cdu_stop_clear();
    c = (collected){map, 0, CDU_OK};
    MUST(cdu_segment_slide(segmenter, slide, 0, collect, &c, NULL, error));
    cr_assert_eq(c.next, HEIGHT);
    cdu_segmenter_destroy(segmenter);
    cdu_weights_free(&weights);
    cdu_slide_close(slide);
    cdu_gpu_close(&gpu);
}

static uint32_t batch_lines;

static void count_batches(cdu_log_level level, const char *line, void *context)
{
    (void)level, (void)context;
    batch_lines += strstr(line, "for the limit of memory") != NULL;
}

/* A limit makes batches smaller, with the same labels; where one tile is too much, the least that would do is named. */
Test(engine, a_limit_of_memory_means_smaller_batches_and_the_same_labels)
{
    static uint8_t maps[2][WIDTH * HEIGHT];
    cdu_gpu gpu = device();
    cdu_slide *slide = picture("engine-limit.png", WIDTH);
    cdu_model_about about = tiny(2);
    cdu_weights weights = {0};
    cdu_plan_report least;
    cdu_segmenter *segmenter;
    cdu_error fault = {0};
    cdu_segment_settings settings = {.tile = 128, .batch = 5, .keep_glass = true};
    MUST(cdu_model_initialize(&about.settings, 9, &weights, error));
    MUST(cdu_segmenter_least(&gpu, &about, &settings, &least, error));
    cdu_log_set_handler(count_batches, NULL, CDU_LOG_INFO);
    for (int i = 0; i < 2; i++) {
        collected c = {maps[i], 0, CDU_OK};
        settings.memory = i ? least.peak : 0;
        MUST(cdu_segmenter_create(&gpu, &about, &weights, &settings, &segmenter, error));
        cr_assert_eq(batch_lines, i ? 2 : 0, "5, 2, 1");
        MUST(cdu_segment_slide(segmenter, slide, 0, collect, &c, NULL, error));
        cdu_segmenter_destroy(segmenter);
    }
    cr_assert(!memcmp(maps[0], maps[1], sizeof maps[0]));
    settings.memory = least.peak - 1;
    cr_assert_eq(cdu_segmenter_create(&gpu, &about, &weights, &settings, &segmenter, &fault), CDU_TRY_AGAIN);
    cr_assert(strstr(fault.words, "at least"), "%s", fault.words);
    cdu_log_set_handler(NULL, NULL, CDU_LOG_ERROR);
    cdu_weights_free(&weights);
    cdu_slide_close(slide);
    cdu_gpu_close(&gpu);
}

static char warning[1024];

static void keep_warning(cdu_log_level level, const char *line, void *context)
{
    (void)context;
    if (level == CDU_LOG_WARNING) snprintf(warning, sizeof warning, "%s", line);
}

/* The allocation of the probabilities' memory, which comes behind those of the segmenter and its weights, is made to fail. */
Test(engine, short_memory_means_smaller_batches_then_smaller_tiles)
{
    static uint8_t map[WIDTH * HEIGHT];
    cdu_gpu gpu = device();
    cdu_slide *slide = picture("engine-memory.png", WIDTH);
    cdu_model_about about = tiny(2);
    cdu_weights weights = {0};
    MUST(cdu_model_initialize(&about.settings, 9, &weights, error));
    cdu_log_set_handler(keep_warning, NULL, CDU_LOG_WARNING);
    for (uint32_t batch = 2; batch >= 1; batch--) {
        const cdu_segment_settings settings = {.tile = 128, .batch = batch};
        cdu_segmenter *segmenter;
        collected c = {map, 0, CDU_OK};
        warning[0] = 0;
        cdu_allocate_fail_at(1 + 1 + weights.count + 1);
        MUST(cdu_segmenter_create(&gpu, &about, &weights, &settings, &segmenter, error));
        cdu_allocate_fail_at(0);
        cr_assert(strstr(warning, batch == 2 ? "batches of one tile" : "tiles of 64 pixels instead of 128"), "'%s'", warning);
        MUST(cdu_segment_slide(segmenter, slide, 0, collect, &c, NULL, error));
        cr_assert_eq(c.next, HEIGHT);
        cdu_segmenter_destroy(segmenter);
    }
    cdu_log_set_handler(NULL, NULL, CDU_LOG_ERROR);
    cdu_weights_free(&weights);
    cdu_slide_close(slide);
    cdu_gpu_close(&gpu);
}
