/* study_commands.c: cdunet init and cdunet check from outside: what they write and tell about a folder of phantoms, as it is and with faults
 * planted; and the guesses from names. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cdunet/log.h"
#include "core/study/tile_index.h"
#include "tools/init_guess.h"

static char folder[300], output[65536], complaint[8192];

static void read_file(const char *name, char *into, size_t size)
{
    char path[600];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "rb");
    cr_assert_not_null(file, "%s", path);
    into[fread(into, 1, size - 1, file)] = 0;
    fclose(file);
}

/* In the folder: `command`, where cdunet stands for the program. */
static int run(const char *command)
{
    char line[2048];
    snprintf(line, sizeof line, "cd '%s' && cdunet() { '%s/cdunet' --quiet \"$@\"; } && { %s; } >out.txt 2>err.txt", folder, CDUNET_BINARY_DIR, command);
    int status = system(line);
    read_file("out.txt", output, sizeof output);
    read_file("err.txt", complaint, sizeof complaint);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static bool has(const char *text, const char *words)
{
    return strstr(text, words) != NULL;
}

static void ignore_log(cdu_log_level level, const char *line, void *context)
{
    (void)level, (void)line, (void)context;
}

static void begin(void)
{
    snprintf(folder, sizeof folder, "%s/study-commands-XXXXXX", CDUNET_BINARY_DIR);
    cr_assert_not_null(mkdtemp(folder));
    cdu_log_set_handler(ignore_log, NULL, CDU_LOG_ERROR);
    cr_assert_eq(run("cdunet phantom p --slides 9 --stains he,cea,ki67-cd3 --size 512x512 --seed 2"), 0, "%s", complaint);
}

static void end(void)
{
    char line[400];
    snprintf(line, sizeof line, "rm -rf '%s'", folder);
    cr_assert_eq(system(line), 0);
}

TestSuite(study_commands, .init = begin, .fini = end);

static cdu_study *read_study(const char *name)
{
    char path[600];
    cdu_study *study;
    cdu_error error = {0};
    snprintf(path, sizeof path, "%s/%s", folder, name);
    cr_assert(cdu_study_read(path, &study, &error) == CDU_OK, "%s", error.words);
    return study;
}

Test(study_commands, init_writes_a_study_that_check_and_training_take)
{
    cr_assert_eq(run("mkdir q && mv p/slides p/annotations q && cp q/slides/case01-he.tif 'q/slides/odd, \"name\".tif' && echo x > q/broken.svs && "
                     "cdunet init q"), 0, "%s", complaint);
    cr_assert(has(output, "q/study.yaml\nq/slides.csv\n"), "%s", output);
    cdu_study *study = read_study("q/study.yaml");
    cr_assert(eq(sz, study->slide_count, 10));
    size_t splits[3] = {0};
    for (size_t i = 0; i < study->slide_count; i++) {
        const cdu_study_slide *slide = &study->slides[i];
        splits[slide->split]++;
        if (has(slide->slide, "odd")) {
            cr_assert(slide->annotation == NULL && has(slide->slide, "odd, \"name\".tif"));
            continue;
        }
        cr_assert(slide->annotation != NULL);
        const char *name = strrchr(slide->slide, '/') + 1, *own = strrchr(slide->annotation, '/') + 1;
        cr_assert(strncmp(name, own, strcspn(name, ".")) == 0, "%s, %s", name, own);
        cr_assert(strncmp(slide->case_name, name, 6) == 0 && strlen(slide->case_name) == 6);
        cr_assert(eq(str, slide->stain, has(name, "-he") ? "H&E" : has(name, "-cea") ? "CEA" : "Ki67/CD3"));
    }
    cr_assert(splits[CDU_SPLIT_TRAIN] && splits[CDU_SPLIT_VALIDATION] && splits[CDU_SPLIT_TEST]);
    cr_assert(eq(sz, study->class_count, 4));
    cdu_study_free(study);
    static char text[16384];
    read_file("q/slides.csv", text, sizeof text);
    cr_assert(has(text, "# left out: broken.svs: "), "%s", text);
    read_file("q/study.yaml", text, sizeof text);
    cr_assert(has(text, "a guess") && has(text, "size: 256"), "%s", text); /* slides of 256 um */
    cr_assert_eq(run("cdunet check q/study.yaml --no-sheet"), 0, "%s", complaint);
    cr_assert_eq(run("test -e q/check.png"), 1);
}

Test(study_commands, init_writes_nothing_over)
{
    cr_assert_eq(run("rm p/slides.csv && cp p/study.yaml keep && cdunet init p"), 73);
    cr_assert(has(complaint, "p/study.yaml: is there already"), "%s", complaint);
    cr_assert_eq(run("cmp keep p/study.yaml && test ! -e p/slides.csv"), 0);
    cr_assert_eq(run("cdunet init p --out new/place"), 0, "%s", complaint);
    cr_assert_eq(run("cdunet check new/place/study.yaml"), 0, "%s", complaint);
    cr_assert_eq(run("cdunet init p --out new/place"), 73);
    cr_assert_eq(run("mkdir empty && cdunet init empty"), 65);
    cr_assert(has(complaint, "none of 0 files is a slide"), "%s", complaint);
    cr_assert_eq(run("ls empty | wc -l | grep -qx 0"), 0);
    cr_assert_eq(run("cdunet init nowhere"), 65);
}

Test(study_commands, init_names_classes_met_and_says_that_it_guesses)
{
    cr_assert_eq(run("mkdir q && mv p/slides q && for c in Tumour Fold Vessel ROI; do sed 's/\"name\":\"Tumor\"/\"name\":\"'$c'\"/' p/annotations/case01-he.geojson > "
                     "q/case01-he_$c.geojson; done && cdunet init q"), 0, "%s", complaint);
    static char text[16384];
    read_file("q/study.yaml", text, sizeof text);
    cr_assert(has(text, "name: Tumor, color: \"#c80000\", also: [\"Tumour\"]} #"), "%s", text);
    cr_assert(has(text, "name: \"Vessel\""));
    cr_assert(has(text, "exclude: [Exclude, \"Ignore*\", \"Fold\"]"));
    cr_assert(has(text, "region: \"ROI\""));
    read_file("q/slides.csv", text, sizeof text);
    cr_assert(has(text, "slides/case01-he.tif,case01-he_Fold.geojson,H&E,case01,,"), "%s", text);
    cr_assert(has(text, "# left out: case01-he_Vessel.geojson: its slide has another annotation"));
    cdu_study_free(read_study("q/study.yaml"));
}

static json_t *check_json(const char *study, int code)
{
    char line[300];
    json_error_t about;
    snprintf(line, sizeof line, "cdunet check %s --json", study);
    cr_assert_eq(run(line), code, "%s", complaint);
    json_t *found = json_loads(output, 0, &about);
    cr_assert_not_null(found, "%s", about.text);
    return found;
}

static double number(const json_t *object, const char *key, const char *inner)
{
    const json_t *at = json_object_get(object, key);
    return json_number_value(inner ? json_object_get(at, inner) : at);
}

Test(study_commands, check_tells_areas_tiles_and_weights_as_training_sees_them)
{
    json_t *found = check_json("p/study.yaml", 0);
    cdu_study *study = read_study("p/study.yaml");
    cdu_tile_index index;
    cdu_error error = {0};
    float weights[CDU_CLASS_LIMIT];
    double area[CDU_CLASS_LIMIT] = {0};
    cr_assert(cdu_tile_index_build(study, CDU_SPLIT_TRAIN, true, 1, &index, &error) == CDU_OK, "%s", error.words);
    cdu_class_weights(study, &index, weights);
    const json_t *slides = json_object_get(found, "slides"), *train = json_object_get(json_object_get(found, "splits"), "train");
    cr_assert(eq(sz, json_array_size(slides), 9));
    cr_assert(eq(dbl, number(train, "tiles", NULL), (double)index.count));
    for (size_t c = 0; c < study->class_count; c++) {
        const char *name = study->classes[c].name;
        for (size_t i = 0; i < 9; i++)
            if (study->slides[i].split == CDU_SPLIT_TRAIN) area[c] += number(json_array_get(slides, i), "area_mm2", name);
        double expected = (double)index.slide_class_pixels[c] * study->tiles.mpp * study->tiles.mpp / 1e6;
        cr_assert(fabs(area[c] - expected) < 1e-9, "%s: %g, %g", name, area[c], expected);
        cr_assert(fabs(number(found, "class_weights", name) - weights[c]) < 1e-6);
        size_t tiles = 0;
        for (size_t i = 0; i < index.count; i++) tiles += index.tiles[i].pixels[c] > 0;
        cr_assert(eq(dbl, number(train, "class_tiles", name), (double)tiles));
    }
    cr_assert(eq(sz, json_array_size(json_object_get(found, "warnings")), 0));
    cdu_tile_index_free(&index);
    cdu_study_free(study);
    json_decref(found);
    char picture[16] = "";
    read_file("p/check.png", picture, sizeof picture);
    cr_assert(memcmp(picture, "\x89PNG", 4) == 0);
}

static bool warns(const json_t *found, const char *words)
{
    const json_t *list = json_object_get(found, "warnings");
    for (size_t i = 0; i < json_array_size(list); i++)
        if (has(json_string_value(json_array_get(list, i)), words)) return true;
    return false;
}

Test(study_commands, check_tells_planted_faults_and_goes_on)
{
    /* a cut-off slide, a far resolution, an annotation of another slide, one without, a class that is nowhere */
    cr_assert_eq(run("truncate -s 3000 p/slides/case02-he.tif && sed -i '/case01-cea/s/0.5$/2/;s/annotations.case03-cea.geojson//' p/slides.csv && "
                     "sed -i 's/Necrosis, color/Vessel, color/;s/Necrosis/Vessel/;s/^  exclude: .*/&\\n  unknown: exclude/' p/study.yaml && "
                     "python3 -c \"import json; p='p/annotations/case01-he.geojson'; d=json.load(open(p)); d['features'][0]['geometry'] = "
                     "dict(type='Polygon', coordinates=[[[9000,9000],[9100,9000],[9000,9100]]]); json.dump(d, open(p,'w'))\""), 0, "%s", complaint);
    json_t *found = check_json("p/study.yaml", 65);
    cr_assert(has(complaint, "p/study.yaml: 1 of 9 slides cannot be used"), "%s", complaint);
    cr_assert(warns(found, "case02-he.tif"));
    cr_assert(warns(found, "case01-cea.tif has 2 um/px where the middle slide has 0.5"));
    cr_assert(warns(found, "coarser than tiles.mpp"));
    cr_assert(warns(found, "lie off the slide case01-he.tif of 512 x 512 pixels"));
    cr_assert(warns(found, "case03-cea.tif has no annotation"));
    cr_assert(warns(found, "class 'Vessel' has no pixel in the train slides"));
    cr_assert(warns(found, "class 'Vessel' has no pixel in the test slides"));
    const json_t *slides = json_object_get(found, "slides");
    size_t usable = 0;
    for (size_t i = 0; i < json_array_size(slides); i++) usable += json_is_true(json_object_get(json_array_get(slides, i), "usable"));
    cr_assert(eq(sz, usable, 8));
    json_decref(found);
    cr_assert_eq(run("cdunet check p/study.yaml"), 65);
    cr_assert(has(output, "cannot be used") && has(output, "warning: ") && has(output, "p/check.png"), "%s", output);
}

Test(study_commands, check_tells_a_mask_of_0_and_255)
{
    cr_assert_eq(run("python3 -c \"import struct, zlib; chunk = lambda k, d: struct.pack('>I', len(d)) + k + d + struct.pack('>I', zlib.crc32(k + d)); "
                     "open('mask.png', 'wb').write(b'\\x89PNG\\r\\n\\x1a\\n' + chunk(b'IHDR', struct.pack('>IIBBBBB', 512, 512, 8, 0, 0, 0, 0)) + "
                     "chunk(b'IDAT', zlib.compress((b'\\0' + b'\\0' * 256 + b'\\xff' * 256) * 512)) + chunk(b'IEND', b''))\" && "
                     "sed -i 's/annotations.case01-he.geojson/..\\/mask.png/' p/slides.csv"), 0, "%s", complaint);
    json_t *found = check_json("p/study.yaml", 0);
    cr_assert(warns(found, "mask.png: has 0 and 255 alone"));
    json_decref(found);
}

/* ---- guesses ---- */

Test(init_guess, names)
{
    static const struct { const char *path, *stem, *stain, *case_name, *split; } rows[] = {
        {"a/case01-ki67-cd3.ome.tif", "case01-ki67-cd3", "Ki67/CD3", "case01", ""},
        {"test/P9 H&E s2.svs", "P9 H&E s2", "H&E", "P9", "test"},
        {"Training/Ki-67_B12.ndpi", "Ki-67_B12", "Ki67", "B12", "train"},
        {"case7/HE.svs", "HE", "H&E", "case7", ""},
        {"HE/B7.svs", "B7", "H&E", "B7", ""},
        {"TCGA-CR-7395-01A-01-TS1.svs", "TCGA-CR-7395-01A-01-TS1", "", "TCGA-CR-7395", ""},
        {"Case-3-A12-16067.jpg", "Case-3-A12-16067", "", "Case-3", ""},
        {"val/1009009_r27c10.png", "1009009_r27c10", "", "1009009", "validation"},
        {"cheese.svs", "cheese", "", "cheese", ""},
        {"x/S7.svs.geojson.gz", "S7", "", "S7", ""}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char stem[GUESS_LIMIT], stain[GUESS_LIMIT], case_name[GUESS_LIMIT];
        guess_stem(stem, rows[i].path);
        guess_stain(stain, rows[i].path);
        guess_case(case_name, rows[i].path);
        cr_expect(eq(str, stem, (char *)rows[i].stem));
        cr_expect(eq(str, stain, (char *)rows[i].stain), "%s", rows[i].path);
        cr_expect(eq(str, case_name, (char *)rows[i].case_name), "%s", rows[i].path);
        cr_expect(eq(str, (char *)guess_split(rows[i].path), (char *)rows[i].split), "%s", rows[i].path);
    }
    cr_assert(guess_belongs("S7-mask", "S7") && guess_belongs("s7", "S7") > guess_belongs("S7_x", "S7") && !guess_belongs("S70", "S7"));
    cr_assert(guess_belongs("S7-he-mask", "S7-he") > guess_belongs("S7-he-mask", "S7"));
    cr_assert(guess_kind("TUMOUR") == GUESS_TUMOR && guess_kind("Ignore*") == GUESS_EXCLUDE && guess_kind("Vessel") == GUESS_OTHER);
}
