/* `cdunet augment` as a program: the sheet, its columns, and what a wrong word gets. */
#include <sys/wait.h>

#include "tests/train/fixture.h"

static fixture f;

static void begin(void)
{
    fixture_create(&f, NULL);
    if (access(CDUNET_BINARY_DIR "/cdunet", X_OK) != 0) cr_skip_test("the program is not built");
}

static void end(void)
{
    fixture_remove(&f);
}

static int run(const char *arguments)
{
    char command[1024];
    snprintf(command, sizeof command, "cd '%s' && '%s/cdunet' --quiet augment study.yaml --device opencl:0 %s >out 2>err", f.folder,
             CDUNET_BINARY_DIR, arguments);
    int status = system(command);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static uint8_t *read_png(const char *name, uint32_t *width, uint32_t *height)
{
    char path[CDU_PATH_LIMIT];
    png_image image = {.version = PNG_IMAGE_VERSION};
    fixture_path(path, &f, name);
    cr_assert(png_image_begin_read_from_file(&image, path), "%s: %s", path, image.message);
    image.format = PNG_FORMAT_RGB;
    uint8_t *pixels = malloc(PNG_IMAGE_SIZE(image));
    cr_assert(png_image_finish_read(&image, NULL, pixels, 0, NULL));
    *width = image.width;
    *height = image.height;
    return pixels;
}

/* A panel is as large as a tile here, so that columns can be compared: the picture, and 35 pixels below its top its labels. */
static bool same_column(const uint8_t *pixels, uint32_t width, uint32_t a, uint32_t b, bool labels)
{
    for (uint32_t y = 0; y < 32; y++) {
        size_t row = (size_t)(24 + 44 + y + (labels ? 35 : 0)) * width;
        if (memcmp(pixels + 3 * (row + 24 + a * 42), pixels + 3 * (row + 24 + b * 42), 96) != 0) return false;
    }
    return true;
}

Test(augment, a_sheet_shows_each_part_alone, .init = begin, .fini = end)
{
    enum { BEFORE, FLIP, HUE, BRIGHTNESS, SCALE, ROTATE, SHEAR, NOISE, OCCLUSION, ALL, AGAIN };
    uint32_t width, height;
    cr_assert_eq(run("--out a.png --panel 32 --tiles 2 --epoch 1"), 0);
    uint8_t *pixels = read_png("a.png", &width, &height);
    cr_assert(width == 2 * 24 + 11 * 42 - 10 && height > 2 * 67);
    for (uint32_t part = HUE; part <= AGAIN; part++) cr_expect(!same_column(pixels, width, BEFORE, part, false), "column %u", part);
    static const uint32_t kept[] = {HUE, BRIGHTNESS, NOISE, OCCLUSION}, moved[] = {ROTATE, ALL, AGAIN};
    for (int i = 0; i < 4; i++) cr_expect(same_column(pixels, width, BEFORE, kept[i], true), "labels of column %u", kept[i]);
    for (int i = 0; i < 3; i++) cr_expect(!same_column(pixels, width, BEFORE, moved[i], true), "labels of column %u", moved[i]);
    cr_expect(!same_column(pixels, width, ALL, AGAIN, false));
    free(pixels);
    cr_assert_eq(run("--out b.png --panel 32 --tiles 2 --epoch 1 --threads 1"), 0);
    char a[CDU_PATH_LIMIT], b[CDU_PATH_LIMIT];
    fixture_path(a, &f, "a.png");
    fixture_path(b, &f, "b.png");
    cr_expect(same_files(a, b));
    cr_assert_eq(run("--out c.png --panel 32 --tiles 1 --part noise"), 0);
    pixels = read_png("c.png", &width, &height);
    for (uint32_t i = 1; i < 9; i++)
        cr_expect(!same_column(pixels, width, i - 1, i, false) && same_column(pixels, width, 0, i, true));
    free(pixels);
}

Test(augment, a_wrong_word_is_one_line_and_leaves_nothing, .init = begin, .fini = end)
{
    char path[CDU_PATH_LIMIT], *text;
    size_t size;
    cr_expect_eq(run("--out a.png --part nois"), 2);
    fixture_path(path, &f, "err");
    MUST(cdu_file_read(path, 4096, &text, &size, error));
    cr_expect(strstr(text, "did you mean noise") && strchr(text, '\n') == text + size - 1, "%s", text);
    free(text);
    fixture_path(path, &f, "a.png");
    cr_expect(!cdu_file_exists(path));
    cr_expect_eq(run("--out missing/a.png"), 73);
}
