/* gallery.c: which tiles are kept as best and worst, whatever the rows come in, and what their pictures show. */
#include "core/train/gallery.h"

#include <math.h>

#include "tests/train/fixture.h"

enum { SIDE = FIXTURE_SIDE, TILE = 32 };

static uint8_t truth[SIDE * SIDE], predicted[SIDE * SIDE];

/* Nine tiles; tile t has t * 40 wrong pixels; tile 0 has one class only, tile 8 hardly a truth. */
static void draw(void)
{
    uint32_t wrong[9] = {0};
    for (uint32_t i = 0; i < SIDE * SIDE; i++) {
        uint32_t x = i % SIDE, y = i / SIDE, tile = y / TILE * 3 + x / TILE;
        truth[i] = tile ? x % TILE < 16 : 1;
        if (tile == 8 && y % TILE) truth[i] = 255;
        predicted[i] = truth[i] < 2 ? truth[i] : 0;
        if (wrong[tile] < tile * 40 && truth[i] < 2) predicted[i] ^= 1, wrong[tile]++;
    }
}

static void feed(cdu_gallery *gallery, cdu_slide *slide, uint32_t rows, const char *name)
{
    cdu_gallery_slide(gallery, SIDE, SIDE);
    for (uint32_t y = 0; y < SIDE; y += rows) {
        uint32_t count = SIDE - y < rows ? SIDE - y : rows;
        MUST(cdu_gallery_rows(gallery, SIDE, count, truth + y * SIDE, predicted + y * SIDE, error));
    }
    MUST(cdu_gallery_slide_end(gallery, slide, 1.0, name, "HE", error));
}

static void expect_tile(const cdu_gallery_tile *tile, uint32_t number, const char *slide)
{
    cr_expect(tile->x == number % 3 * TILE && tile->y == number / 3 * TILE, "(%d, %d) instead of tile %u", (int)tile->x, (int)tile->y, number);
    cr_expect(fabs(tile->right - (1 - number * 40 / 1024.0)) < 1e-12, "tile %u: %g right", number, tile->right);
    cr_expect_str_eq(tile->slide, slide);
}

Test(gallery, keeps_the_best_and_worst_of_tiles_with_several_classes)
{
    static const uint32_t rows[] = {1, 7, 32, 45, 96};
    fixture f;
    char path[CDU_PATH_LIMIT];
    cdu_slide *slide;
    fixture_create(&f, NULL);
    fixture_path(path, &f, "slide0.png");
    MUST(cdu_slide_open(path, 1.0, &slide, error));
    draw();
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        cdu_gallery gallery;
        cdu_gallery_begin(&gallery, TILE, 3, 2);
        feed(&gallery, slide, rows[r], "a");
        cr_assert(gallery.counts[0] == 3 && gallery.counts[1] == 3);
        for (uint32_t i = 0; i < 3; i++) expect_tile(&gallery.kept[0][i], 1 + i, "a"), expect_tile(&gallery.kept[1][i], 7 - i, "a");
        /* pictures: the slide's own pixels and the labels of that place */
        const cdu_gallery_tile *tile = &gallery.kept[0][0];
        uint8_t rgb[TILE * TILE * 3];
        cr_assert(tile->picture == TILE && tile->varied);
        MUST(cdu_slide_read(slide, 1.0, tile->x, tile->y, TILE, TILE, rgb, error));
        cr_assert_eq(memcmp(rgb, tile->rgb, sizeof rgb), 0);
        for (uint32_t y = 0; y < TILE; y++) {
            size_t at = (size_t)(tile->y + y) * SIDE + (size_t)tile->x;
            cr_assert(!memcmp(truth + at, tile->truth + y * TILE, TILE) && !memcmp(predicted + at, tile->predicted + y * TILE, TILE));
        }
        /* a second slide: the best of each comes before the second of either */
        feed(&gallery, slide, rows[r], "b");
        expect_tile(&gallery.kept[0][0], 1, "a");
        expect_tile(&gallery.kept[0][1], 1, "b");
        expect_tile(&gallery.kept[0][2], 2, "a");
        cdu_gallery_free(&gallery);
    }
    cdu_slide_close(slide);
    fixture_remove(&f);
}

Test(gallery, one_class_alone_is_kept_where_there_is_nothing_else)
{
    fixture f;
    char path[CDU_PATH_LIMIT];
    cdu_slide *slide;
    cdu_gallery gallery;
    fixture_create(&f, NULL);
    fixture_path(path, &f, "slide0.png");
    MUST(cdu_slide_open(path, 1.0, &slide, error));
    memset(truth, 1, sizeof truth);
    memset(predicted, 1, sizeof predicted);
    cdu_gallery_begin(&gallery, 64, 8, 2);
    feed(&gallery, slide, 10, "a");
    cr_assert(gallery.counts[0] == 1 && !gallery.kept[0][0].varied && gallery.kept[0][0].right == 1, "one whole tile of 64 in 96 pixels");
    cdu_gallery_free(&gallery);
    cdu_gallery_begin(&gallery, 512, 8, 2);
    feed(&gallery, slide, 10, "a");
    cr_assert(gallery.counts[0] == 1 && gallery.kept[0][0].side == SIDE, "a slide smaller than a tile");
    cdu_gallery_free(&gallery);
    cdu_slide_close(slide);
    fixture_remove(&f);
}
