/* annotation.c: GeoJSON of other people's programs, broken GeoJSON and XML with the words they must get, and writing. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "core/base/file.h"
#include "core/base/memory.h"
#include "core/slide/annotation.h"

#define QUPATH CDUNET_SOURCE_DIR "/../shared/data/annotations/qupath/"
#define BAD CDUNET_SOURCE_DIR "/tests/slide/"

static cdu_annotations parse(const char *text)
{
    cdu_annotations found;
    cdu_error error = {0};
    cdu_status status = cdu_annotations_parse("memory", text, strlen(text), &found, &error);
    cr_assert(status == CDU_OK, "%s", error.words);
    return found;
}

static size_t count_class(const cdu_annotations *found, const char *name)
{
    size_t count = 0;
    for (size_t i = 0; i < found->count; i++) count += !strcmp(found->items[i].class_name, name);
    return count;
}

Test(annotation, reads_qupath_old_style)
{
    if (!cdu_file_exists(QUPATH)) cr_skip_test("the data folder is not there");
    cdu_annotations found;
    cdu_error error = {0};
    cr_assert(cdu_annotations_read(QUPATH "TCGA-EJ-5519-01Z-00-DX1.json", &found, &error) == CDU_OK, "%s", error.words);
    cr_assert(eq(sz, found.count, 3));
    cr_assert(eq(str, found.items[0].class_name, "Tumor"));
    cr_assert(eq(str, found.items[1].class_name, "Other"));
    cr_assert(eq(str, found.items[2].class_name, "Negative"));
    cr_assert(eq(sz, found.items[0].count, 1));
    cr_assert(gt(sz, found.items[1].count, 1)); /* the MultiPolygon */
    cr_assert(eq(sz, found.items[0].line, 2));
    cr_assert(found.items[1].line > 100 && found.items[2].line > found.items[1].line);
    cr_assert(eq(dbl, found.items[0].polygons[0].rings[0].points[0].x, 76793.51));
    for (size_t i = 0; i < 3; i++) cr_assert(found.items[i].is_annotation);
    cdu_annotations_free(&found);
}

Test(annotation, reads_qupath_cells_as_no_annotations)
{
    if (!cdu_file_exists(QUPATH)) cr_skip_test("the data folder is not there");
    cdu_annotations found;
    cdu_error error = {0};
    cr_assert(cdu_annotations_read(QUPATH "luna-test_cell_detections.geojson", &found, &error) == CDU_OK, "%s", error.words);
    cr_assert(eq(sz, found.count, 2));
    cr_assert(eq(sz, count_class(&found, "Other"), 2));
    cr_assert(not(found.items[0].is_annotation));
    cr_assert(eq(sz, found.items[0].polygons[0].rings[0].count, 4)); /* closing point left out */
    cr_assert(eq(u8, found.items[0].color[1], 128));
    cdu_annotations_free(&found);
}

Test(annotation, reads_labels_of_other_programs)
{
    if (!cdu_file_exists(QUPATH)) cr_skip_test("the data folder is not there");
    cdu_annotations found;
    cdu_error error = {0};
    cr_assert(cdu_annotations_read(QUPATH "luna-1006844.annotation.geojson", &found, &error) == CDU_OK, "%s", error.words);
    cr_assert(eq(sz, found.count, 15));
    cr_assert(eq(sz, count_class(&found, "TILs"), 8));
    cr_assert(eq(sz, count_class(&found, "Tumor"), 4));
    cr_assert(eq(sz, count_class(&found, "Other"), 3));
    cr_assert(found.items[7].is_annotation);
    cdu_annotations_free(&found);
}

#define SQUARE "[[0,0],[8,0],[8,8],[0,8],[0,0]]"

Test(annotation, understands_every_shape_and_class_spelling)
{
    cdu_annotations found = parse(
        "\xef\xbb\xbf[{\"type\":\"Feature\",\"geometry\":{\"type\":\"GeometryCollection\",\"geometries\":[{\"type\":\"Point\",\"coordinates\":[1,2]},"
        "{\"type\":\"Polygon\",\"coordinates\":[" SQUARE ",[[2,2],[4,2],[4,4]]]},{\"type\":\"MultiPolygon\",\"coordinates\":[[" SQUARE "],["
        SQUARE "]]}]},\"properties\":{\"classification\":{\"names\":[\"Tumor\",\"Positive\"],\"color\":[300,20,-5]}}},\n"
        "{\"type\":\"Feature\",\"geometry\":{\"type\":\"LineString\",\"coordinates\":[[0,0],[1,1]]},\"properties\":{}},\n"
        "{\"type\":\"Feature\",\"geometry\":{\"type\":\"Polygon\",\"coordinates\":[" SQUARE "]},\"properties\":{\"classification\":\"Necrosis\","
        "\"measurements\":{\"a [features] \\\" {\":NaN,\"b\":-Infinity}}},\n"
        "{\"type\":\"Feature\",\"id\":\"PathTileObject\",\"geometry\":{\"type\":\"Polygon\",\"coordinates\":[" SQUARE "]},"
        "\"properties\":{\"classification\":{\"name\":\"Tile\",\"colorRGB\":-3670016}}},\n\n"
        "{\"type\":\"Feature\",\"geometry\":{\"type\":\"Polygon\",\"coordinates\":[" SQUARE "]},\"properties\":null}]");
    cr_assert(eq(sz, found.count, 4));
    cr_assert(eq(str, found.items[0].class_name, "Tumor: Positive"));
    cr_assert(eq(sz, found.items[0].count, 3));
    cr_assert(eq(sz, found.items[0].polygons[0].count, 2));
    cr_assert(eq(sz, found.items[0].polygons[0].rings[1].count, 3));
    cr_assert(found.items[0].color[0] == 255 && found.items[0].color[1] == 20 && found.items[0].color[2] == 0);
    cr_assert(eq(str, found.items[1].class_name, "Necrosis"));
    cr_assert(eq(sz, found.items[1].line, 3));
    cr_assert(not(found.items[2].is_annotation));
    cr_assert(found.items[2].color[0] == 200 && found.items[2].color[1] == 0 && found.items[2].color[2] == 0);
    cr_assert(eq(str, found.items[3].class_name, ""));
    cr_assert(eq(sz, found.items[3].line, 6));
    cdu_annotations_shift(&found, 100, -1);
    cr_assert(found.items[0].polygons[0].rings[1].points[1].x == 104 && found.items[0].polygons[0].rings[1].points[1].y == 1);
    cdu_annotations_free(&found);
    cr_assert(eq(sz, found.count, 0));
}

Test(annotation, leaves_out_what_covers_nothing)
{
    cdu_annotations found = parse("{\"type\":\"Feature\",\"geometry\":{\"type\":\"MultiPolygon\",\"coordinates\":[[[[1,1],[1,1],[2,2],[1,1]],"
                                  SQUARE "],[" SQUARE ",[[1,1],[2,2]]]]}}");
    cr_assert(eq(sz, found.count, 1));
    cr_assert(eq(sz, found.items[0].count, 1));
    cr_assert(eq(sz, found.items[0].polygons[0].count, 1));
    cdu_annotations_free(&found);
}

/* A folder of files that must be refused, with expected.txt: name, tab, part of the words. */
static void refuse_folder(const char *folder)
{
    char line[512], path[CDU_PATH_LIMIT];
    snprintf(path, sizeof path, "%s/expected.txt", folder);
    FILE *list = fopen(path, "r");
    cr_assert(list != NULL);
    size_t seen = 0;
    while (fgets(line, sizeof line, list)) {
        line[strcspn(line, "\n")] = 0;
        char *part = strchr(line, '\t');
        cr_assert(part != NULL);
        *part++ = 0;
        snprintf(path, sizeof path, "%s/%s", folder, line);
        cdu_annotations found;
        cdu_error error = {0};
        cr_expect(cdu_annotations_read(path, &found, &error) == CDU_BAD_DATA, "%s was read", line);
        cr_expect(strstr(error.words, part) != NULL, "%s: '%s' lacks '%s'", line, error.words, part);
        cr_expect(strstr(error.words, line) != NULL, "'%s' does not name the file %s", error.words, line);
        cr_expect(strchr(error.words, '\n') == NULL);
        cr_expect(eq(sz, found.count, 0));
        seen++;
    }
    fclose(list);
    size_t files = 0;
    DIR *all = opendir(folder);
    cr_assert(all != NULL);
    for (struct dirent *entry; (entry = readdir(all));) files += strstr(entry->d_name, ".geojson") || strstr(entry->d_name, ".xml");
    closedir(all);
    cr_assert(eq(sz, seen, files));
}

Test(annotation, bad_files_are_refused_with_words)
{
    refuse_folder(BAD "bad-geojson");
    refuse_folder(BAD "bad-xml");
}

static void temporary_path(char out[64], const char *name)
{
    snprintf(out, 64, "/tmp/cdunet-annotation-%ld-%s", (long)getpid(), name);
}

static cdu_annotations sample(void)
{
    return parse("{\"type\":\"FeatureCollection\",\"features\":[{\"type\":\"Feature\",\"geometry\":{\"type\":\"Polygon\",\"coordinates\":["
                 "[[0.5,-0.25],[1000000.126,0],[8,8.1],[0.5,-0.25]],[[2,2],[4,2],[4,4]]]},\"properties\":{\"classification\":{\"name\":"
                 "\"Tu\\\"mör\",\"color\":[200,0,1]}}},{\"type\":\"Feature\",\"geometry\":{\"type\":\"MultiPolygon\",\"coordinates\":[["
                 SQUARE "],[" SQUARE "]]},\"properties\":{}}]}");
}

Test(annotation, writes_what_it_reads)
{
    char first[64], second[64];
    temporary_path(first, "a");
    temporary_path(second, "b");
    cdu_annotations items = sample(), again;
    cdu_error error = {0};
    cr_assert(cdu_annotations_write(first, &items, 7, &error) == CDU_OK, "%s", error.words);
    cr_assert(cdu_annotations_read(first, &again, &error) == CDU_OK, "%s", error.words);
    cr_assert(eq(sz, again.count, 2));
    cr_assert(eq(str, again.items[0].class_name, items.items[0].class_name));
    cr_assert(eq(u8, again.items[0].color[2], 1));
    cr_assert(eq(sz, again.items[0].polygons[0].count, 2));
    cdu_point *points = again.items[0].polygons[0].rings[0].points;
    cr_assert(points[0].x == 0.5 && points[0].y == -0.25 && points[1].x == 1000000.13 && points[2].y == 8.1);
    cr_assert(eq(sz, again.items[1].count, 2));
    cr_assert(again.items[1].is_annotation);
    cr_assert(cdu_annotations_write(second, &again, 7, &error) == CDU_OK);
    char *a, *b;
    size_t a_size, b_size;
    cr_assert(cdu_file_read(first, 1 << 20, &a, &a_size, &error) == CDU_OK);
    cr_assert(cdu_file_read(second, 1 << 20, &b, &b_size, &error) == CDU_OK);
    cr_assert(a_size == b_size && !memcmp(a, b, a_size));
    cr_assert(strstr(a, "[[[0.5,-0.25],[1000000.13,0],[8,8.1],[0.5,-0.25]],[[2,2],[4,2],[4,4],[2,2]]]") != NULL);
    /* ids: version 4, different within a file, different for another seed */
    const char *id = strstr(a, "\"id\":\""), *next = strstr(id + 1, "\"id\":\"");
    cr_assert(id[6 + 14] == '4' && strchr("89ab", id[6 + 19]) && id[6 + 36] == '"');
    cr_assert(strncmp(id, next, 42) != 0);
    cr_assert(cdu_annotations_write(second, &again, 8, &error) == CDU_OK);
    free(b);
    cr_assert(cdu_file_read(second, 1 << 20, &b, &b_size, &error) == CDU_OK);
    cr_assert(a_size == b_size && memcmp(a, b, a_size) != 0);
    free(a);
    free(b);
    unlink(first);
    unlink(second);
    cdu_annotations_free(&items);
    cdu_annotations_free(&again);
}

Test(annotation, reads_gzip)
{
    char path[64];
    temporary_path(path, "c.geojson.gz");
    const char *text = "{\"type\":\"Feature\",\"geometry\":{\"type\":\"Polygon\",\"coordinates\":[" SQUARE "]},\"properties\":{\"label\":\"X\"}}";
    gzFile file = gzopen(path, "wb");
    gzwrite(file, text, 40);
    gzclose(file);
    file = gzopen(path, "ab"); /* a second member */
    gzwrite(file, text + 40, (unsigned)strlen(text + 40));
    gzclose(file);
    cdu_annotations found;
    cdu_error error = {0};
    cr_assert(cdu_annotations_read(path, &found, &error) == CDU_OK, "%s", error.words);
    cr_assert(eq(str, found.items[0].class_name, "X"));
    cdu_annotations_free(&found);
    unlink(path);
}

Test(annotation, refuses_depth_and_bombs)
{
    enum { DEPTH = 100000, MEBIBYTES = 257 };
    cdu_annotations found;
    cdu_error error = {0};
    char *text = malloc(DEPTH), path[64];
    memset(text, '[', DEPTH / 2);
    memset(text + DEPTH / 2, ']', DEPTH / 2);
    cr_assert(cdu_annotations_parse("deep", text, DEPTH, &found, &error) == CDU_BAD_DATA);
    cr_assert(strstr(error.words, "deep:1: broken JSON") && strstr(error.words, "depth"), "%s", error.words);
    free(text);
    temporary_path(path, "bomb");
    text = calloc(1, 1 << 20);
    gzFile file = gzopen(path, "wb1");
    for (int i = 0; i < MEBIBYTES; i++) gzwrite(file, text, 1 << 20);
    gzclose(file);
    free(text);
    cr_assert(cdu_annotations_read(path, &found, &error) == CDU_BAD_DATA);
    cr_assert(strstr(error.words, "unpacks to more than 256 MiB") != NULL, "%s", error.words);
    unlink(path);
}

Test(annotation, survives_failing_memory_and_disk)
{
    char path[64];
    temporary_path(path, "d");
    cdu_annotations items = sample();
    cdu_error error = {0};
    const char *text = "[{\"type\":\"Feature\",\"geometry\":{\"type\":\"Polygon\",\"coordinates\":[" SQUARE "]},\"properties\":{\"label\":NaN}}]";
    for (uint64_t n = 1;; n++) {
        cdu_annotations found;
        cdu_allocate_fail_at(n);
        cdu_status status = cdu_annotations_parse("memory", text, strlen(text), &found, &error);
        cdu_allocate_fail_at(0);
        if (status == CDU_OK) {
            cr_assert(n > 5);
            cdu_annotations_free(&found);
            break;
        }
        cr_assert(eq(int, status, CDU_TRY_AGAIN));
    }
    for (uint64_t n = 1;; n++) {
        cdu_file_fail_at(n);
        cdu_status status = cdu_annotations_write(path, &items, 1, &error);
        cdu_file_fail_at(0);
        if (status == CDU_OK) {
            cr_assert(n > 3);
            break;
        }
        cr_assert(eq(int, status, CDU_CANNOT_WRITE));
    }
    unlink(path);
    cdu_annotations_free(&items);
}
