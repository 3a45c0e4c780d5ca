/* command.c: `cdunet segment` as a program: what it leaves and with which code it ends. */
#include <criterion/criterion.h>
#include <jansson.h>
#include <png.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cdunet/slide.h"
#include "core/base/file.h"
#include "core/model/model.h"

#define FOLDER CDUNET_BINARY_DIR "/scratch/segment"

static void write_model(void)
{
    cdu_model_about about = {.settings = cdu_model_defaults(), .mpp = 1, .tile = 64};
    cdu_weights weights = {0};
    cdu_error error = {0};
    about.settings.width = 4;
    about.settings.depth = 2;
    about.settings.classes = 3;
    for (int c = 0; c < 3; c++) {
        snprintf(about.class_names[c], sizeof about.class_names[c], "Class %d", c);
        memset(about.class_colors[c], 80 * c, 3);
    }
    cr_assert_eq(cdu_model_initialize(&about.settings, 9, &weights, &error), CDU_OK);
    cr_assert_eq(cdu_model_write(FOLDER "/model.safetensors", &about, &weights, &error), CDU_OK, "%s", error.words);
    cdu_weights_free(&weights);
}

static void write_slide(void)
{
    static uint8_t rgb[150 * 130 * 3];
    for (int i = 0; i < 150 * 130 * 3; i++) rgb[i] = (uint8_t)(90 + i * i % 97 + i / 450 % 60);
    png_image image = {.version = PNG_IMAGE_VERSION, .width = 150, .height = 130, .format = PNG_FORMAT_RGB};
    cr_assert(png_image_write_to_file(&image, FOLDER "/slide.png", 0, rgb, 0, NULL));
}

/* Runs the program in the folder; its last line of errors goes into `line`. */
static int run(const char *arguments, char *line, size_t size)
{
    char command[4096];
    snprintf(command, sizeof command, "cd '%s' && '%s/cdunet' segment %s > output 2> errors", FOLDER, CDUNET_BINARY_DIR, arguments);
    int status = system(command);
    FILE *file = fopen(FOLDER "/errors", "r");
    char text[1024];
    line[0] = 0;
    while (file && fgets(text, sizeof text, file)) snprintf(line, size, "%s", text);
    if (file) fclose(file);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void prepare(void)
{
    mkdir(CDUNET_BINARY_DIR "/scratch", 0777);
    mkdir(FOLDER, 0777);
    if (access(CDUNET_BINARY_DIR "/cdunet", X_OK) != 0) cr_skip_test("the program is not built");
    cr_assert_eq(system("rm -f '" FOLDER "'/*"), 0);
    write_model();
    write_slide();
}

Test(segment_command, bad_input_gets_a_line_and_a_code)
{
    static const struct {
        const char *arguments;
        int code;
        const char *words;
    } cases[] = {
        {"slide.png -m model.safetensors -o out.tif", CDU_BAD_DATA, "--slide-mpp"},
        {"none.svs -m model.safetensors -o out.tif", CDU_BAD_DATA, "none.svs"},
        {"slide.png -m none.safetensors -o out.tif --slide-mpp 1", CDU_BAD_DATA, "none.safetensors"},
        {"slide.png -m slide.png -o out.tif --slide-mpp 1", CDU_BAD_DATA, "slide.png"},
        {"model.safetensors -m model.safetensors -o out.tif --slide-mpp 1", CDU_BAD_DATA, "neither"},
        {"slide.png -m model.safetensors -o nowhere/out.tif --slide-mpp 1", CDU_CANNOT_WRITE, "nowhere/out.tif"},
        {"slide.png -m model.safetensors -o out.tif --geojson nowhere/a.geojson --slide-mpp 1", CDU_CANNOT_WRITE,
         "nowhere/a.geojson"},
        {"slide.png -m model.safetensors -o out.tif --overlay out.tif --slide-mpp 1", CDU_USAGE, "twice"},
        {"slide.png -m model.safetensors --slide-mpp 1", CDU_USAGE, "--out"},
        {"slide.png -m model.safetensors -o out.tif --slide-mpp 1 --device nosuch", CDU_NO_DEVICE, "nosuch"},
    };
    prepare();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char line[1024];
        int code = run(cases[i].arguments, line, sizeof line);
        cr_assert_eq(code, (int)cases[i].code, "%s: %d %s", cases[i].arguments, code, line);
        cr_assert(strstr(line, cases[i].words), "%s: %s", cases[i].arguments, line);
        cr_assert_neq(system("ls '" FOLDER "' | grep -e out.tif -e part"), 0, "%s left a file", cases[i].arguments);
    }
}

Test(segment_command, all_files_come)
{
    char line[1024];
    prepare();
    int code =
        run("slide.png -m model.safetensors -o out.tif --geojson out.geojson --overlay out.png --slide-mpp 0.5 --device opencl:0 "
            "--keep-glass --smallest 0 --json",
            line, sizeof line);
    if (code == CDU_NO_DEVICE) cr_skip_test("no OpenCL device: %s", line);
    cr_assert_eq(code, 0, "%s", line);
    json_error_t broken;
    json_t *areas = json_load_file(FOLDER "/output", 0, &broken), *item;
    cr_assert_not_null(areas, "%s", broken.text);
    size_t i;
    json_int_t pixels = 0;
    json_array_foreach(json_object_get(areas, "classes"), i, item) pixels += json_integer_value(json_object_get(item, "pixels"));
    cr_assert_eq(pixels, 75 * 65);
    json_decref(areas);
    json_t *polygons = json_load_file(FOLDER "/out.geojson", 0, &broken);
    cr_assert_str_eq(json_string_value(json_object_get(polygons, "type")), "FeatureCollection");
    cr_assert_gt(json_array_size(json_object_get(polygons, "features")), 0);
    json_decref(polygons);
    cdu_slide *slide;
    cdu_error error = {0};
    cr_assert_eq(cdu_slide_open(FOLDER "/out.tif", 0, &slide, &error), CDU_OK, "%s", error.words);
    cdu_slide_info info = cdu_slide_info_of(slide);
    cr_assert(info.width == 75 && info.height == 65);
    cr_assert_float_eq(info.mpp, 1, 1e-6);
    cdu_slide_close(slide);
    cr_assert_eq(cdu_slide_open(FOLDER "/out.png", 1, &slide, &error), CDU_OK, "%s", error.words);
    cdu_slide_close(slide);
}
