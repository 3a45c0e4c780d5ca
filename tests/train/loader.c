/* The loader: the same batches for any number of threads and from any step on; what is damaged is replaced. */
#include "core/train/loader.h"

#include "cdunet/log.h"
#include "core/base/memory.h"
#include "core/train/rate.h"
#include "tests/train/fixture.h"

static int warnings;

static void count_warnings(cdu_log_level level, const char *line, void *context)
{
    (void)line;
    (void)context;
    warnings += level == CDU_LOG_WARNING;
}

typedef struct {
    fixture f;
    cdu_study *study;
    cdu_tile_index index;
} data;

static void open_data(data *d)
{
    fixture_create(&d->f, NULL);
    MUST(cdu_study_read(d->f.study, &d->study, error));
    MUST(cdu_tile_index_build(d->study, CDU_SPLIT_TRAIN, true, 1, &d->index, error));
    cr_assert_eq(d->index.count, 18);
}

static void close_data(data *d)
{
    cdu_tile_index_free(&d->index);
    cdu_study_free(d->study);
    fixture_remove(&d->f);
}

/* `steps` batches from `first` on, one behind another. */
static uint32_t *load(const data *d, uint32_t batch, uint32_t threads, uint64_t first, uint64_t steps, uint32_t *tiles)
{
    size_t area = (size_t)d->index.size * d->index.size;
    cdu_loader_settings settings = {.seed = 5, .batch = batch, .threads = threads, .first = first};
    cdu_loader *loader;
    uint32_t *all = calloc(steps * batch * area, 4);
    MUST(cdu_loader_create(d->study, &d->index, &settings, &loader, error));
    for (uint64_t i = 0; i < steps; i++) {
        cdu_batch got;
        MUST(cdu_loader_next(loader, &got, error));
        cr_expect_eq(got.step, first + i);
        cr_expect_eq(got.epoch, (first + i) / cdu_loader_steps_per_epoch(d->index.count, batch));
        memcpy(all + i * batch * area, got.pixels, 4 * batch * area);
        if (tiles) memcpy(tiles + i * batch, got.tiles, 4 * batch);
    }
    cdu_loader_destroy(loader);
    return all;
}

Test(loader, an_order_is_a_permutation_of_its_own_each_epoch)
{
    uint32_t a[100], b[100], seen[100] = {0}, same = 0;
    cdu_loader_order(1, 0, a, 100);
    for (int i = 0; i < 100; i++) seen[a[i]]++;
    for (int i = 0; i < 100; i++) cr_expect_eq(seen[i], 1);
    cdu_loader_order(1, 0, b, 100);
    cr_expect(!memcmp(a, b, sizeof a));
    cdu_loader_order(1, 1, b, 100);
    for (int i = 0; i < 100; i++) same += a[i] == b[i];
    cr_expect_lt(same, 20);
    cdu_loader_order(2, 0, b, 100);
    cr_expect(memcmp(a, b, sizeof a) != 0);
}

Test(loader, one_thread_and_eight_give_the_same_bytes)
{
    data d;
    open_data(&d);
    uint32_t steps = 12, batch = 4;
    size_t bytes = (size_t)4 * steps * batch * 32 * 32;
    uint32_t *one = load(&d, batch, 1, 0, steps, NULL), *eight = load(&d, batch, 8, 0, steps, NULL);
    uint32_t *later = load(&d, batch, 3, 7, steps - 7, NULL);
    cr_expect(!memcmp(one, eight, bytes));
    cr_expect(!memcmp(one + 7 * batch * 32 * 32, later, bytes / steps * (steps - 7)),
              "a resumed loader goes on as if nothing had been");
    free(one);
    free(eight);
    free(later);
    close_data(&d);
}

Test(loader, an_epoch_holds_every_tile_and_its_last_batch_is_filled_from_its_beginning)
{
    data d;
    open_data(&d);
    uint32_t tiles[5 * 4], seen[18] = {0};
    cr_expect_eq(cdu_loader_steps_per_epoch(18, 4), 5);
    free(load(&d, 4, 2, 0, 5, tiles));
    for (int i = 0; i < 18; i++) seen[tiles[i]]++;
    for (int i = 0; i < 18; i++) cr_expect_eq(seen[i], 1);
    cr_expect(tiles[18] == tiles[0] && tiles[19] == tiles[1]);
    uint32_t large[2 * 40];
    free(load(&d, 40, 2, 0, 2, large));
    cr_expect(large[18] == large[0] && large[36] == large[0] && large[40] != large[0]);
    close_data(&d);
}

Test(loader, pixels_are_the_slide_s_with_its_labels)
{
    data d;
    open_data(&d);
    uint32_t tiles[4];
    uint32_t *pixels = load(&d, 4, 2, 0, 1, tiles);
    uint8_t rgb[32 * 32 * 3], labels[32 * 32];
    for (int i = 0; i < 4; i++) {
        const cdu_tile *tile = &d.index.tiles[tiles[i]];
        cdu_labelled_slide slide;
        MUST(cdu_labelled_slide_open(d.study, &d.study->slides[tile->slide], &slide, error));
        MUST(cdu_slide_read(slide.slide, 1.0, tile->x, tile->y, 32, 32, rgb, error));
        MUST(cdu_label_source_read(slide.labels, 1.0, tile->x, tile->y, 32, 32, labels, error));
        for (int k = 0; k < 32 * 32; k++)
            cr_assert_eq(pixels[i * 1024 + k], rgb[3 * k] | rgb[3 * k + 1] << 8 | rgb[3 * k + 2] << 16 | (uint32_t)labels[k] << 24);
        cdu_labelled_slide_close(&slide);
    }
    free(pixels);
    close_data(&d);
}

Test(loader, a_corrupt_slide_is_left_out_with_one_warning)
{
    data d;
    open_data(&d);
    char path[CDU_PATH_LIMIT];
    cdu_log_set_handler(count_warnings, NULL, CDU_LOG_INFO);
    fixture_path(path, &d.f, "slide0.png");
    MUST(cdu_file_write(path, "broken", 6, error));
    uint32_t tiles[5 * 4], again[5 * 4];
    uint32_t *pixels = load(&d, 4, 8, 0, 5, tiles);
    cr_expect_eq(warnings, 1);
    for (int i = 0; i < 20; i++) cr_expect_eq(d.index.tiles[tiles[i]].slide, 1);
    uint32_t *one = load(&d, 4, 1, 0, 5, again);
    cr_expect(!memcmp(pixels, one, 4 * 20 * 1024) && !memcmp(tiles, again, sizeof tiles));
    free(pixels);
    free(one);
    fixture_path(path, &d.f, "slide1.png");
    MUST(cdu_file_write(path, "broken", 6, error));
    cdu_loader_settings settings = {.seed = 5, .batch = 4, .threads = 4};
    cdu_loader *loader;
    cdu_batch batch;
    cdu_error fault = {0};
    MUST(cdu_loader_create(d.study, &d.index, &settings, &loader, error));
    cr_expect_eq(cdu_loader_next(loader, &batch, &fault), CDU_BAD_DATA);
    cr_expect(strstr(fault.words, "none of the 18"), "%s", fault.words);
    cdu_loader_destroy(loader);
    close_data(&d);
}

/* Bounded, equal with and without, from one thread and from eight. */
Test(loader, a_cache_changes_nothing_and_keeps_its_bound)
{
    data d;
    open_data(&d);
    static const uint64_t limits[] = {1, 5 * 4096 + 100, 1 << 20};
    static const uint64_t kept[] = {0, 5 * 4096, 18 * 4096};
    uint32_t *without = NULL;
    for (int i = 0; i < 3; i++) {
        cdu_loader_settings settings = {.seed = 5, .batch = 6, .threads = i == 1 ? 8 : 2, .cache = limits[i]};
        cdu_loader *loader;
        uint32_t *all = calloc(9 * 6 * 1024, 4);
        MUST(cdu_loader_create(d.study, &d.index, &settings, &loader, error));
        for (int step = 0; step < 9; step++) {
            cdu_batch batch;
            MUST(cdu_loader_next(loader, &batch, error));
            memcpy(all + step * 6 * 1024, batch.pixels, 4 * 6 * 1024);
            cr_expect_leq(cdu_loader_count(loader).cached_bytes, limits[i]);
        }
        cdu_loader_counts counts = cdu_loader_count(loader);
        cr_expect(counts.cached_bytes == kept[i] && counts.cache_limit == limits[i], "%llu bytes kept",
                  (unsigned long long)counts.cached_bytes);
        cr_expect(!counts.unreadable_tiles && !counts.unreadable_slides);
        cdu_loader_destroy(loader);
        if (i) cr_expect(!memcmp(without, all, 9 * 6 * 1024 * 4));
        if (i) free(all);
        else without = all;
    }
    free(without);
    close_data(&d);
}

/* What is kept in memory needs no slide any more: they are all gone after the first epoch. */
Test(loader, a_tile_in_the_cache_is_not_read_again)
{
    data d;
    open_data(&d);
    cdu_loader_settings settings = {.seed = 5, .batch = 18, .threads = 1, .cache = 1 << 20};
    cdu_loader *loader;
    MUST(cdu_loader_create(d.study, &d.index, &settings, &loader, error));
    cdu_batch batch;
    MUST(cdu_loader_next(loader, &batch, error));
    while (cdu_loader_count(loader).cached_bytes < 18 * 4096) usleep(1000);
    char path[CDU_PATH_LIMIT];
    for (int i = 0; i < 2; i++) {
        fixture_path(path, &d.f, i ? "slide1.png" : "slide0.png");
        MUST(cdu_file_write(path, "broken", 6, error));
    }
    for (int i = 0; i < 8; i++) MUST(cdu_loader_next(loader, &batch, error));
    cr_expect_eq(cdu_loader_count(loader).unreadable_tiles, 0);
    cdu_loader_destroy(loader);
    close_data(&d);
}

/* A pyramid whose pixels are read as they are asked for; its bytes from a third on are overwritten behind the loader's back. */
Test(loader, a_slide_that_breaks_in_the_middle_of_a_run_is_said_once_and_counted, .timeout = 120)
{
    char folder[] = "/tmp/cdunet-loader-XXXXXX", command[700], path[CDU_PATH_LIMIT];
    if (access(CDUNET_BINARY_DIR "/cdunet", X_OK) != 0) cr_skip_test("the program is not built");
    cr_assert(mkdtemp(folder) != NULL);
    snprintf(command, sizeof command, "'%s/cdunet' --quiet phantom %s --slides 3 --stains he --size 2048x1024 --seed 2 && cd %s && "
             "sed -i 's/size: 128, stride: 64, empty: 0.10/size: 64, stride: 64, empty: 1/' study.yaml && "
             "sed -i 's/,validation,/,train,/;s/,test,/,train,/' slides.csv", CDUNET_BINARY_DIR, folder, folder);
    cr_assert_eq(system(command), 0);
    cdu_study *study;
    cdu_tile_index index;
    cdu_loader *loader;
    cdu_batch batch;
    snprintf(path, sizeof path, "%s/study.yaml", folder);
    MUST(cdu_study_read(path, &study, error));
    MUST(cdu_tile_index_build(study, CDU_SPLIT_TRAIN, false, 1, &index, error));
    cr_assert_gt(index.count, 100); /* two slides: the third is held out */
    cdu_loader_settings settings = {.seed = 5, .batch = 4, .threads = 4, .cache = 1};
    MUST(cdu_loader_create(study, &index, &settings, &loader, error));
    cdu_log_set_handler(count_warnings, NULL, CDU_LOG_INFO);
    for (int i = 0; i < 2; i++) MUST(cdu_loader_next(loader, &batch, error));
    cr_expect(!warnings && !cdu_loader_count(loader).unreadable_tiles);
    FILE *file = fopen(study->slides[index.tiles[0].slide].slide, "r+b");
    cr_assert(file && fseek(file, 0, SEEK_END) == 0);
    long size = ftell(file);
    fseek(file, size / 3, SEEK_SET);
    for (long i = size / 3; i < size; i++) fputc(0xff, file);
    fclose(file);
    for (size_t i = 0; i < index.count / 4; i++) MUST(cdu_loader_next(loader, &batch, error));
    cdu_loader_counts counts = cdu_loader_count(loader);
    cr_expect(counts.unreadable_tiles > 0 && counts.unreadable_tiles <= index.count / 2, "%llu of %zu tiles",
              (unsigned long long)counts.unreadable_tiles, index.count);
    cr_expect(counts.unreadable_slides == 1 && warnings == 1, "%d warnings", warnings);
    cdu_loader_destroy(loader);
    cdu_tile_index_free(&index);
    cdu_study_free(study);
    snprintf(command, sizeof command, "rm -rf %s", folder);
    cr_assert_eq(system(command), 0);
}

Test(loader, the_learning_rate_grows_with_the_batch)
{
    cdu_study study = {.train = {.batch = 240, .learning_rate = 0.001, .learning_rate_batch = 16}};
    cr_expect_float_eq(cdu_learning_rate(&study), 0.015, 1e-12);
    study.train.batch = 16;
    cr_expect_float_eq(cdu_learning_rate(&study), 0.001, 1e-12);
}
