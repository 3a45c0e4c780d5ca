/* study.c: the study file and the slide list: what is read, what is refused with which words, how splits are assigned. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cdunet/log.h"
#include "cdunet/study.h"
#include "core/base/file.h"
#include "core/base/memory.h"
#include "core/study/labels.h"

#define BAD CDUNET_SOURCE_DIR "/tests/study/bad/"

static char folder[100], logged[4096];

static void keep_log(cdu_log_level level, const char *line, void *context)
{
    (void)context;
    if (level >= CDU_LOG_WARNING) snprintf(logged, sizeof logged, "%s", line);
}

static void make_folder(void)
{
    snprintf(folder, sizeof folder, "/tmp/cdunet-study-XXXXXX");
    cr_assert(mkdtemp(folder) != NULL);
    logged[0] = 0;
    cdu_log_set_handler(keep_log, NULL, CDU_LOG_INFO);
}

static void remove_folder(void)
{
    char command[CDU_PATH_LIMIT + 20];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    cr_assert(system(command) == 0);
}

__attribute__((format(printf, 2, 3))) static const char *put(const char *name, const char *format, ...)
{
    static char paths[4][CDU_PATH_LIMIT], text[16384];
    static int turn;
    char *path = paths[turn++ % 4];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    cr_assert(snprintf(path, CDU_PATH_LIMIT, "%s/%s", folder, name) < CDU_PATH_LIMIT);
    FILE *file = fopen(path, "wb");
    cr_assert(file != NULL);
    fputs(text, file);
    fclose(file);
    return path;
}

static cdu_study *read_study(const char *path)
{
    cdu_study *study;
    cdu_error error = {0};
    cr_assert(cdu_study_read(path, &study, &error) == CDU_OK, "%s", error.words);
    return study;
}

TestSuite(study, .init = make_folder, .fini = remove_folder);

Test(study, defaults_are_the_papers)
{
    put("a.svs", "x");
    put("slides.csv", "slide,split\na.svs,train\n");
    cdu_study *study = read_study(put("study.yaml", "slides: slides.csv\n"));
    cr_assert(eq(sz, study->class_count, 4));
    cr_assert(eq(str, study->classes[0].name, "Background"));
    cr_assert(eq(str, study->classes[3].name, "Necrosis"));
    cr_assert(study->classes[2].color[0] == 200 && study->classes[2].color[1] == 0);
    cr_assert(study->tiles.mpp == 1.0 && study->tiles.size == 512 && study->tiles.stride == 256 && study->tiles.empty == 0.1);
    cr_assert(study->model.kind == CDU_MODEL_CDUNET && study->model.width == 32 && study->model.depth == 5 && study->model.bgr);
    cr_assert(study->model.cd_filters[0] == 6 && study->model.cd_filters[1] == 3 && study->model.classes == 4);
    cr_assert(study->train.epochs == 200 && study->train.batch == 16 && study->train.learning_rate == 0.001);
    cr_assert(study->train.momentum == 0.9 && study->train.median_frequency && !study->train.mean_of_pixels);
    cr_assert(eq(sz, study->overlap_count, 5));
    cr_assert(eq(str, study->overlap[0], "Exclude"));
    cr_assert(eq(str, study->overlap[2], "Necrosis"));
    cr_assert(eq(str, study->overlap[4], "Tissue"));
    cr_assert(not(study->unannotated_is_excluded));
    cr_assert(study->bounds == CDU_BOUNDS_QUPATH);
    cr_assert(eq(str, study->slides[0].case_name, "a"));
    cr_assert(eq(str, study->slides[0].stain, "unknown"));
    cdu_study_free(study);
}

Test(study, reads_the_sketch)
{
    const char *path = CDUNET_SOURCE_DIR "/../shared/sketches/study.yaml";
    if (!cdu_file_exists(path)) cr_skip_test("the sketch is not there");
    char *text;
    size_t size;
    cdu_error error = {0};
    cr_assert(cdu_file_read(path, 1 << 20, &text, &size, &error) == CDU_OK);
    put("a.svs", "x");
    put("slides.csv", "slide,split,stain\na.svs,train,cd163/cd68\n");
    cdu_study *study = read_study(put("study.yaml", "%s", text));
    free(text);
    cr_assert(eq(str, study->name, "crc-liver-ihc"));
    cr_assert(eq(str, study->classes[2].also[1], "tumour"));
    cr_assert(eq(sz, study->exclude_count, 3));
    cr_assert(not(study->model.bgr));
    cr_assert(eq(str, study->slides[0].stain, "CD163-CD68"));
    cdu_study_free(study);
}

Test(study, slide_list_in_any_spelling)
{
    put("a b,c.svs", "x");
    put("b.svs", "x");
    put("q\"uote.svs", "x");
    put("a.geojson", "[]");
    put("slides.csv", "\xef\xbb\xbf# made by hand\r\n\r\nStain, split ,mpp,slide,annotation,CASE\r\n\"H&E\",val, 0.25 ,\"a b,c.svs\",,k1\r\n"
        "#x\r\nCEA,Training,,b.svs , a.geojson,k2\r\n\r\n  # y\nHe,testing,,\"q\"\"uote.svs\",,");
    cdu_study *study = read_study(put("study.yaml", "slides: slides.csv\nstains: {HE: [\"H&E\"]}\n"));
    cr_assert(eq(sz, study->slide_count, 3));
    cr_assert(eq(str, study->slides[0].stain, "HE"));
    cr_assert(eq(int, study->slides[0].split, CDU_SPLIT_VALIDATION));
    cr_assert(eq(dbl, study->slides[0].mpp, 0.25));
    cr_assert(study->slides[0].annotation == NULL);
    cr_assert(eq(sz, study->slides[0].line, 4));
    cr_assert(eq(str, study->slides[1].stain, "CEA"));
    cr_assert(eq(int, study->slides[1].split, CDU_SPLIT_TRAIN));
    cr_assert(eq(dbl, study->slides[1].mpp, 0));
    cr_assert(strstr(study->slides[1].annotation, "/a.geojson") != NULL);
    cr_assert(eq(str, study->slides[2].stain, "HE"));
    cr_assert(eq(str, study->slides[2].case_name, "q\"uote"));
    cr_assert(eq(int, study->slides[2].split, CDU_SPLIT_TEST));
    cr_assert(eq(sz, study->slides[2].line, 9));
    cdu_study_free(study);
}

Test(study, bad_files_are_refused_with_words)
{
    FILE *list = fopen(BAD "expected.txt", "r");
    cr_assert(list != NULL);
    char line[512], path[CDU_PATH_LIMIT];
    size_t seen = 0;
    while (fgets(line, sizeof line, list)) {
        line[strcspn(line, "\n")] = 0;
        char *part = strchr(line, '\t');
        cr_assert(part != NULL);
        *part++ = 0;
        if (strstr(line, ".csv")) snprintf(path, sizeof path, "%s", put("study.yaml", "slides: " BAD "%s\n", line));
        else snprintf(path, sizeof path, BAD "%s", line);
        cdu_study *study;
        cdu_error error = {0};
        cr_expect(cdu_study_read(path, &study, &error) == CDU_BAD_DATA, "%s was read", line);
        cr_expect(strstr(error.words, part) != NULL, "%s: '%s' lacks '%s'", line, error.words, part);
        cr_expect(strchr(error.words, '\n') == NULL && study == NULL);
        seen++;
    }
    fclose(list);
    cr_assert(seen > 60);
}

Test(study, writes_what_it_reads)
{
    put("a.svs", "x");
    put("slides.csv", "slide,split\na.svs,train\n");
    const char *path = put("study.yaml",
        "name: \"a \\\"quoted\\\" näme: x\"\nslides: slides.csv\nclasses:\n  - {name: Glass}\n  - {name: \"T: 1\", color: \"#0a0B0c\", also: [x, \"y'z\"]}\n"
        "annotations: {exclude: [Fold], overlap: [\"T: 1\", Fold], unannotated: exclude, region: \"Area*\", unknown: exclude, bounds: all}\n"
        "stains: {HE: [\"H&E\", h], PD1: []}\nsplit: {test: 0.25, validation: 0.2, balance: none, seed: 99}\n"
        "tiles: {mpp: 0.7, size: 96, stride: 31, empty: 0.3}\n"
        "model: {kind: unet, width: 7, depth: 3, cd-filters: [5, 4], input: rgb, order: relu-bn, cd-order: relu-bn}\n"
        "train: {epochs: 3, batch: 5, learning-rate: 0.1, learning-rate-batch: 2, momentum: 0.3, class-weights: none, loss-mean: pixels,"
        " accumulate: 3, exact-conv: yes, validate-every: 4, early-stop: 5, keep-best: last, seed: 9223372036854775807}\n"
        "augment: {hue: 0.01, brightness: 0.02, scale: 0.03, noise: 0.04, occlusion: 0.05, flip: false, rotate: 6.5, shear: 7}\n"
        "evaluate: {boundary-um: 8.25, bootstrap: 9, by: [case]}\n");
    cdu_study *study = read_study(path);
    char second[CDU_PATH_LIMIT], third[CDU_PATH_LIMIT], *a, *b;
    snprintf(second, sizeof second, "%s/second.yaml", folder);
    snprintf(third, sizeof third, "%s/third.yaml", folder);
    cdu_error error = {0};
    cr_assert(cdu_study_write(study, second, "slides.csv", &error) == CDU_OK, "%s", error.words);
    cdu_study *again = read_study(second);
    cr_assert(cdu_study_write(again, third, "slides.csv", &error) == CDU_OK);
    size_t a_size, b_size;
    cr_assert(cdu_file_read(second, 1 << 20, &a, &a_size, &error) == CDU_OK);
    cr_assert(cdu_file_read(third, 1 << 20, &b, &b_size, &error) == CDU_OK);
    cr_assert(eq(str, a, b));
    cr_assert(eq(str, again->name, "a \"quoted\" näme: x"));
    cr_assert(again->tiles.mpp == 0.7 && again->tiles.size == 96 && again->tiles.stride == 31 && again->tiles.empty == 0.3);
    cr_assert(again->model.kind == CDU_MODEL_UNET && again->model.width == 7 && again->model.depth == 3 && !again->model.bgr);
    cr_assert(again->model.cd_filters[0] == 5 && again->model.cd_filters[1] == 4 && again->model.classes == 2);
    cr_assert(again->model.relu_before_batch_norm && again->model.cd_relu_before_batch_norm);
    cr_assert(again->train.epochs == 3 && again->train.batch == 5 && again->train.learning_rate == 0.1);
    cr_assert(again->train.learning_rate_batch == 2 && again->train.momentum == 0.3 && again->train.validate_every == 4);
    cr_assert(again->train.median_frequency == false && again->train.mean_of_pixels && !again->train.keep_best_macro_f1);
    cr_assert(again->train.seed == 9223372036854775807u && again->train.accumulate == 3 && again->train.exact_conv && again->train.early_stop == 5);
    cr_assert(again->augment.flip == false && again->augment.hue == 0.01 && again->augment.shear == 7 && again->augment.rotate == 6.5);
    cr_assert(again->evaluate.boundary_um == 8.25 && again->evaluate.bootstrap == 9);
    cr_assert(again->evaluate.by_stain == false && again->evaluate.by_case && !again->evaluate.by_slide);
    cr_assert(again->split.test == 0.25 && again->split.validation == 0.2 && !again->split.balance_stain && again->split.seed == 99);
    cr_assert(eq(str, again->classes[1].also[1], "y'z"));
    cr_assert(again->classes[1].color[1] == 0x0b);
    cr_assert(again->unannotated_is_excluded && again->unknown_is_excluded && again->bounds == CDU_BOUNDS_ALL);
    cr_assert(eq(str, again->overlap[1], "Fold"));
    cr_assert(eq(str, again->region, "Area*"));
    cr_assert(eq(str, again->stains[0].spellings[1], "h"));
    free(a);
    free(b);
    cdu_study_free(study);
    cdu_study_free(again);
}

static void count_splits(const cdu_study *study, size_t counts[3])
{
    counts[0] = counts[1] = counts[2] = 0;
    for (size_t i = 0; i < study->slide_count; i++) counts[study->slides[i].split]++;
}

/* `cases` cases of two slides each, stains in turn, without splits. */
static const char *many_cases(int cases, const char *settings)
{
    static char list[16384];
    size_t used = (size_t)snprintf(list, sizeof list, "slide,case,stain\n");
    for (int i = 0; i < 2 * cases; i++) {
        char name[32];
        snprintf(name, sizeof name, "s%03d.svs", i);
        put(name, "x");
        used += (size_t)snprintf(list + used, sizeof list - used, "%s,k%d,%s\n", name, i / 2, i / 2 % 2 ? "HE" : "CEA");
    }
    put("slides.csv", "%s", list);
    return put("study.yaml", "slides: slides.csv\n%s", settings);
}

Test(study, cases_without_split_are_assigned_by_fractions)
{
    cdu_study *study = read_study(many_cases(20, "split: {test: 0.3, validation: 0.2, seed: 3}\n")), *again, *other;
    size_t counts[3], test_of[2] = {0, 0};
    count_splits(study, counts);
    cr_assert(counts[CDU_SPLIT_TEST] == 12 && counts[CDU_SPLIT_VALIDATION] == 6 && counts[CDU_SPLIT_TRAIN] == 22);
    for (size_t i = 0; i < 40; i += 2) {
        cr_assert(eq(int, study->slides[i].split, study->slides[i + 1].split));
        test_of[i / 2 % 2] += study->slides[i].split == CDU_SPLIT_TEST;
    }
    cr_assert(test_of[0] == 3 && test_of[1] == 3); /* balanced over stains */
    again = read_study(many_cases(20, "split: {test: 0.3, validation: 0.2, seed: 3}\n"));
    other = read_study(many_cases(20, "split: {test: 0.3, validation: 0.2, seed: 4}\n"));
    size_t same = 0, others = 0;
    for (size_t i = 0; i < 40; i++) {
        same += study->slides[i].split == again->slides[i].split;
        others += study->slides[i].split == other->slides[i].split;
    }
    cr_assert(same == 40 && others < 40);
    cdu_study_free(study);
    cdu_study_free(again);
    cdu_study_free(other);
}

Test(study, every_stain_that_is_scored_is_trained)
{
    /* nine stains of one case each, three of two, none given */
    char list[4096] = "slide,case,stain\n";
    for (int i = 0; i < 15; i++) {
        char name[20];
        snprintf(name, sizeof name, "t%d.svs", i);
        put(name, "x");
        snprintf(list + strlen(list), sizeof list - strlen(list), "%s,k%d,S%d\n", name, i, i < 9 ? i : 9 + (i - 9) / 2);
    }
    for (int seed = 1; seed <= 5; seed++) {
        put("slides.csv", "%s", list);
        char text[200];
        snprintf(text, sizeof text, "slides: slides.csv\nsplit: {test: 0.5, validation: 0.2, seed: %d}\n", seed);
        cdu_study *study = read_study(put("study.yaml", "%s", text));
        size_t tested = 0;
        for (size_t i = 0; i < study->slide_count; i++) {
            bool trained = false;
            tested += study->slides[i].split == CDU_SPLIT_TEST;
            for (size_t k = 0; k < study->slide_count; k++)
                trained |= study->slides[k].split == CDU_SPLIT_TRAIN && !strcmp(study->slides[k].stain, study->slides[i].stain);
            if (study->slides[i].split == CDU_SPLIT_TEST) cr_assert(trained, "seed %d, slide %zu", seed, i);
        }
        cr_assert(tested >= 1 && tested <= 3);
        cdu_study_free(study);
    }
}

Test(study, a_case_follows_its_given_slide)
{
    put("a", "x"), put("b", "x"), put("c", "x");
    put("slides.csv", "slide,case,split\na,k1,\nb,k1,test\nc,k2,train\n");
    cdu_study *study = read_study(put("study.yaml", "slides: slides.csv\n"));
    cr_assert(eq(int, study->slides[0].split, CDU_SPLIT_TEST));
    cdu_study_free(study);
}

Test(study, validation_is_held_out_and_said)
{
    size_t counts[3];
    put("a", "x"), put("b", "x"), put("c", "x"), put("d", "x"), put("e", "x");
    const char *path = put("study.yaml", "slides: slides.csv\n");
    put("slides.csv", "slide,case,split\na,k1,train\nb,k2,train\nc,k3,train\nd,k4,train\ne,k4,train\n");
    cdu_study *study = read_study(path);
    count_splits(study, counts);
    cr_assert(counts[CDU_SPLIT_VALIDATION] >= 1 && counts[CDU_SPLIT_VALIDATION] <= 2);
    cr_assert(study->slides[3].split == study->slides[4].split);
    cr_assert(logged[0] == 0);
    cdu_study_free(study);
    put("slides.csv", "slide,case,split\na,k1,train\nb,k1,train\nc,k1,train\nd,k1,train\n");
    study = read_study(path);
    count_splits(study, counts);
    cr_assert(counts[CDU_SPLIT_VALIDATION] == 1 && counts[CDU_SPLIT_TRAIN] == 3);
    cr_assert(strstr(logged, "1 of 4 training slides are held out") != NULL, "%s", logged);
    cr_assert(study->train.keep_best_macro_f1);
    cdu_study_free(study);
    put("slides.csv", "slide,split\na,train\n");
    study = read_study(path);
    count_splits(study, counts);
    cr_assert(counts[CDU_SPLIT_VALIDATION] == 0 && !study->train.keep_best_macro_f1);
    cr_assert(strstr(logged, "cannot be parted") != NULL, "%s", logged);
    cdu_study_free(study);
}

Test(study, survives_failing_memory_and_disk)
{
    const char *path = many_cases(3, "stains: {A: [b]}\nclasses: [{name: A}, {name: B, also: [c]}]\n");
    cdu_study *study;
    cdu_error error = {0};
    uint64_t n = 1;
    for (;; n++) {
        cdu_allocate_fail_at(n);
        cdu_status status = cdu_study_read(path, &study, &error);
        cdu_allocate_fail_at(0);
        if (status == CDU_OK) break;
        cr_assert(status == CDU_TRY_AGAIN && study == NULL, "%s", error.words);
    }
    cr_assert(n > 40);
    char to[CDU_PATH_LIMIT];
    snprintf(to, sizeof to, "%s/out.yaml", folder);
    for (n = 1;; n++) {
        cdu_file_fail_at(n);
        cdu_status status = cdu_study_write(study, to, "slides.csv", &error);
        cdu_file_fail_at(0);
        if (status == CDU_OK) break;
        cr_assert(eq(int, status, CDU_CANNOT_WRITE));
    }
    cdu_study_free(study);
}

Test(study, annotations_move_from_the_corner_of_the_scanned_part)
{
    static const struct { cdu_bounds bounds; bool qupath, moves; } cases[] = {
        {CDU_BOUNDS_QUPATH, true, true}, {CDU_BOUNDS_QUPATH, false, false}, {CDU_BOUNDS_ALL, false, true}, {CDU_BOUNDS_NONE, true, false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cdu_point points[3] = {{1, 2}, {3, 4}, {-5.5, 6}};
        cdu_ring ring = {.points = points, .count = 3};
        cdu_polygon polygon = {.rings = &ring, .count = 1};
        cdu_annotation item = {.polygons = &polygon, .count = 1};
        cdu_annotations annotations = {.items = &item, .count = 1, .from_bounds = cases[i].qupath};
        cdu_study study = {.bounds = cases[i].bounds};
        cdu_slide_info info = {.bounds_x = 1000, .bounds_y = 70};
        cdu_study_add_bounds(&study, &info, &annotations);
        cr_assert(points[2].x == (cases[i].moves ? 994.5 : -5.5) && points[2].y == (cases[i].moves ? 76 : 6), "case %zu", i);
    }
}
