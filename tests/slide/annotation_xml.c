/* annotation_xml.c: XML of ASAP, ImageScope and Halo: classes, shapes, holes, what is left out; and areas of polygons. Counts and areas of whole
 * files are compared with an independent reader by annotations.py. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/base/random.h"
#include "core/slide/raster.h"

#define SAMPLES CDUNET_SOURCE_DIR "/tests/slide/annotations/"

static cdu_annotations parse(const char *text)
{
    cdu_annotations found;
    cdu_error error = {0};
    cr_assert(cdu_annotations_parse("memory", text, strlen(text), &found, &error) == CDU_OK, "%s", error.words);
    return found;
}

static cdu_annotations read_sample(const char *path)
{
    cdu_annotations found;
    cdu_error error = {0};
    cr_assert(cdu_annotations_read(path, &found, &error) == CDU_OK, "%s", error.words);
    return found;
}

static double area_of(const cdu_annotation *item)
{
    double sum = 0, area;
    cdu_error error = {0};
    for (size_t i = 0; i < item->count; i++) {
        cr_assert(cdu_polygon_area(&item->polygons[i], &area, NULL, &error) == CDU_OK);
        sum += area;
    }
    return sum;
}

Test(annotation_xml, asap_class_is_the_group_then_those_above_then_the_name)
{
    cdu_annotations found = read_sample(SAMPLES "asap-kinds.xml");
    cr_assert(eq(str, (char *)found.format, "ASAP XML"));
    cr_assert(not(found.from_bounds));
    cr_assert(eq(sz, found.count, 6));
    cr_assert(eq(str, found.items[0].class_name, "Tumor"));
    cr_assert(eq(sz, found.items[0].also_count, 0));
    cr_assert(eq(sz, found.items[0].line, 4));
    cr_assert(found.items[0].color[0] == 0x64 && found.items[0].color[1] == 0xfe); /* the group's */
    cr_assert(eq(str, found.items[1].class_name, "fold"));
    cr_assert(eq(sz, found.items[1].also_count, 2));
    cr_assert(eq(str, found.items[1].also[0], "artefacts"));
    cr_assert(eq(str, found.items[1].also[1], "Exclude"));
    cr_assert(eq(str, found.items[4].class_name, "crossed & own class"));
    cr_assert(eq(u8, found.items[4].color[2], 0xaa));
    cr_assert(eq(str, found.items[5].class_name, ""));
    cdu_annotations_free(&found);
}

Test(annotation_xml, asap_points_are_sorted_by_order_and_cleaned)
{
    cdu_annotations found = read_sample(SAMPLES "asap-kinds.xml");
    const cdu_ring *ring = &found.items[0].polygons[0].rings[0];
    cr_assert(eq(sz, ring->count, 4));
    cr_assert(ring->points[0].x == 100.5 && ring->points[1].x == 400.5 && ring->points[2].y == 300.25 && ring->points[3].x == 100.5);
    cr_assert(eq(sz, found.items[3].polygons[0].rings[0].count, 4)); /* a rectangle by two corners */
    cr_assert(eq(dbl, area_of(&found.items[3]), 8000));
    cdu_annotations_free(&found);
}

Test(annotation_xml, asap_tells_what_is_left_out)
{
    cdu_annotations found = read_sample(SAMPLES "asap-kinds.xml");
    cr_assert(eq(sz, found.ignored_count, 3));
    cr_assert(eq(sz, found.ignored[0].count, 2)); /* Dot, PointSet */
    cr_assert(eq(str, found.ignored[0].class_name, "Tumor"));
    cr_assert(eq(sz, found.ignored[0].line, 51));
    cr_assert(eq(str, found.ignored[1].class_name, ""));
    cr_assert(strstr(found.ignored[2].reason, "fewer than three") != NULL);
    cdu_annotations_free(&found);
}

Test(annotation_xml, a_spline_goes_through_its_points_and_beyond_their_polygon)
{
    /* on a circle of radius 100 the curve comes near the circle, which the polygon of 8 points does not */
    char text[2000] = "<ASAP_Annotations><Annotation Type=\"Spline\" PartOfGroup=\"T\">";
    for (int i = 0; i < 8; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "<Coordinate X=\"%.9f\" Y=\"%.9f\"/>", 500 + 100 * cos(i * M_PI / 4), 500 + 100 * sin(i * M_PI / 4));
    strcat(text, "</Annotation></ASAP_Annotations>");
    cdu_annotations found = parse(text);
    const cdu_ring *ring = &found.items[0].polygons[0].rings[0];
    cr_assert(eq(sz, ring->count, 8 * 64)); /* 77 pixels from point to point: the most pieces */
    for (size_t i = 0; i < ring->count; i++) {
        double radius = hypot(ring->points[i].x - 500, ring->points[i].y - 500);
        cr_assert(radius > 98.5 && radius < 100.5, "%g", radius);
        if (i % 64 == 0) cr_assert(fabs(radius - 100) < 1e-6);
    }
    cr_assert(fabs(area_of(&found.items[0]) / (M_PI * 100 * 100) - 1) < 0.015);
    cdu_annotations_free(&found);
}

Test(annotation_xml, imagescope_class_is_name_description_text_or_colour)
{
    cdu_annotations found = read_sample(SAMPLES "imagescope-layers.xml");
    cr_assert(eq(str, (char *)found.format, "ImageScope XML"));
    cr_assert(eq(dbl, found.mpp, 0.5));
    cr_assert(eq(sz, found.count, 5));
    cr_assert(eq(str, found.items[0].class_name, "Tumor"));
    cr_assert(eq(str, found.items[0].also[0], "#ff0000")); /* blue stands in the high byte */
    cr_assert(eq(str, found.items[0].also[1], "255"));
    cr_assert(found.items[0].color[0] == 255 && found.items[0].color[2] == 0);
    cr_assert(eq(str, found.items[2].class_name, "#00ff00"));
    cr_assert(eq(str, found.items[3].class_name, "Necrosis"));
    cr_assert(eq(str, found.items[4].class_name, "Tissue"));
    cr_assert(eq(str, found.items[4].also[0], "left"));
    cr_assert(eq(u8, found.items[4].color[2], 255));
    cdu_annotations_free(&found);
}

Test(annotation_xml, negative_regions_are_cut_out_of_their_layer)
{
    cdu_annotations found = read_sample(SAMPLES "imagescope-layers.xml");
    cr_assert(eq(sz, found.items[0].polygons[0].count, 3));
    cr_assert(eq(sz, found.items[1].polygons[0].count, 1));
    /* 1000^2 less 200^2, less 150 x 200 of the hole across the border, of which 50 x 100 are in the first */
    cr_assert(eq(dbl, area_of(&found.items[0]), 1000000 - 40000 - 30000 + 5000));
    cr_assert(eq(sz, found.ignored_count, 2));
    cr_assert(strstr(found.ignored[1].reason, "negative region") != NULL);
    struct cdu_label_rule table[] = {{"Tumor", 1, 0, false}};
    cdu_label_rules rules = {.rules = table, .count = 1};
    cdu_label_source *source;
    cdu_error error = {0};
    static uint8_t labels[110 * 110];
    cr_assert(cdu_label_source_create("memory", &found, &rules, &source, &error) == CDU_OK, "%s", error.words);
    cr_assert(cdu_label_source_read(source, 10, -10, 0, 110, 110, labels, &error) == CDU_OK, "%s", error.words);
    size_t covered = 0;
    for (size_t i = 0; i < sizeof labels; i++) covered += labels[i] == 1;
    cr_assert(eq(sz, covered, 9350));
    cr_assert(labels[30 * 110 + 7] != 1); /* in the part of the hole that lies outside: nothing is added */
    cdu_label_source_destroy(source);
    cdu_annotations_free(&found);
}

Test(annotation_xml, halo_gives_rectangles_and_ellipses_by_corners)
{
    cdu_annotations found = read_sample(SAMPLES "halo-shapes.xml");
    cr_assert(eq(str, (char *)found.format, "Halo XML"));
    cr_assert(eq(sz, found.count, 1));
    cr_assert(eq(dbl, area_of(&found.items[0]), 100 * 200 - 20 * 20));
    cdu_annotations_free(&found);
    found = parse("<Annotations><Annotation Name=\"T\" LineColor=\"1\"><Regions><Region Type=\"Ellipse\"><Vertices><V X=\"30\" Y=\"0\"/>"
                  "<V X=\"10\" Y=\"40\"/></Vertices></Region></Regions></Annotation></Annotations>");
    cr_assert(fabs(area_of(&found.items[0]) / (M_PI * 10 * 20) - 1) < 1e-3);
    cdu_annotations_free(&found);
}

Test(annotation_xml, rules_try_a_files_other_words_in_turn)
{
    cdu_annotations found = read_sample(SAMPLES "asap-kinds.xml");
    struct cdu_label_rule table[] = {{"Exclude", CDU_EXCLUDED, 0, false}, {"Tumor", 1, 0, false}};
    cdu_label_rules rules = {.rules = table, .count = 2};
    const char *word;
    cr_assert(cdu_label_rule_of(&rules, &found.items[0], &word) == &table[1]);
    cr_assert(eq(str, (char *)word, "Tumor"));
    cr_assert(cdu_label_rule_of(&rules, &found.items[1], &word) == &table[0]);
    cr_assert(eq(str, (char *)word, "Exclude"));
    cr_assert(cdu_label_rule_of(&rules, &found.items[2], &word) == NULL && word == NULL);
    cdu_annotations_free(&found);
    found = parse("{\"type\":\"Feature\",\"geometry\":{\"type\":\"Polygon\",\"coordinates\":[[[0,0],[1,0],[1,1]]]},\"properties\":{\"classification\":"
                  "{\"names\":[\"Tumor\",\"Positive\"]}}}");
    cr_assert(cdu_label_rule_of(&rules, &found.items[0], &word) == &table[1]);
    cdu_annotations_free(&found);
}

Test(annotation_xml, numbers_do_not_follow_the_locale)
{
    if (!setlocale(LC_ALL, "de_DE.UTF-8") && !setlocale(LC_ALL, "fr_FR.UTF-8")) cr_skip_test("no locale with a decimal comma is installed");
    cdu_annotations found = read_sample(SAMPLES "asap-kinds.xml");
    cr_assert(eq(dbl, found.items[0].polygons[0].rings[0].points[0].x, 100.5));
    cdu_annotations_free(&found);
}

Test(annotation_xml, utf_16_is_read)
{
    const char *plain = "<?xml version=\"1.0\" encoding=\"UTF-16\"?><Annotations><Annotation Name=\"T\" LineColor=\"1\"><Region Type=\"1\"><Vertices>"
                        "<V X=\"1\" Y=\"1\"/><V X=\"3\" Y=\"4\"/></Vertices></Region></Annotation></Annotations>";
    char wide[1000] = "\xff\xfe";
    for (size_t i = 0; plain[i]; i++) wide[2 + 2 * i] = plain[i];
    cdu_annotations found;
    cdu_error error = {0};
    cr_assert(cdu_annotations_parse("memory", wide, 2 + 2 * strlen(plain), &found, &error) == CDU_OK, "%s", error.words);
    cr_assert(eq(dbl, area_of(&found.items[0]), 6));
    cdu_annotations_free(&found);
}

Test(annotation_xml, survives_failing_memory)
{
    cdu_error error = {0};
    static const char *const samples[] = {SAMPLES "asap-kinds.xml", SAMPLES "imagescope-layers.xml", SAMPLES "qupath-names.geojson"};
    for (size_t i = 0; i < 3; i++)
        for (uint64_t n = 1;; n++) {
            cdu_annotations found;
            cdu_allocate_fail_at(n);
            cdu_status status = cdu_annotations_read(samples[i], &found, &error);
            cdu_allocate_fail_at(0);
            if (status == CDU_OK) {
                cr_assert(n > 10);
                cdu_annotations_free(&found);
                break;
            }
            cr_assert(eq(int, status, CDU_TRY_AGAIN));
            cr_assert(eq(sz, found.count, 0));
        }
}

/* ---- areas ---- */

static double area_of_rings(size_t rings, size_t points, const cdu_point *from, bool *crossed)
{
    cdu_ring list[4];
    double area;
    cdu_error error = {0};
    for (size_t r = 0; r < rings; r++) list[r] = (cdu_ring){(cdu_point *)(uintptr_t)(from + r * points), points};
    cr_assert(cdu_polygon_area(&(cdu_polygon){list, rings}, &area, crossed, &error) == CDU_OK);
    return area;
}

Test(annotation_xml, areas_of_simple_polygons_are_exact)
{
    bool crossed = true;
    cr_assert(eq(dbl, area_of_rings(1, 3, (const cdu_point[]){{0.25, 0}, {4.25, 0}, {1, 7.5}}, &crossed), 15));
    cr_assert(not(crossed));
    /* an L, and holes: inside, and touching the outline */
    cr_assert(eq(dbl, area_of_rings(1, 6, (const cdu_point[]){{0, 0}, {9, 0}, {9, 2}, {2, 2}, {2, 8}, {0, 8}}, &crossed), 30));
    cr_assert(eq(dbl, area_of_rings(3, 4, (const cdu_point[]){{0, 0}, {10, 0}, {10, 10}, {0, 10}, {2, 2}, {4, 2}, {4, 4}, {2, 4}, {5, 0}, {6, 0}, {6, 3}, {5, 3}}, &crossed), 93));
    cr_assert(not(crossed));
}

Test(annotation_xml, areas_of_crossing_rings_are_near)
{
    bool crossed = false;
    double bow = area_of_rings(1, 4, (const cdu_point[]){{0, 0}, {10, 10}, {10, 0}, {0, 10}}, &crossed);
    cr_assert(crossed && fabs(bow - 50) < 0.05, "%g", bow);
    /* a pentagram: even-odd leaves its heart out; against a count of points */
    cdu_point star[5];
    for (int i = 0; i < 5; i++) star[i] = (cdu_point){100 * cos(4 * M_PI * i / 5), 100 * sin(4 * M_PI * i / 5)};
    const double inner = 100 * (3 - sqrt(5)) / 2;
    double expected = 5 * 100 * inner * sin(M_PI / 5) - 2.5 * inner * inner * sin(2 * M_PI / 5);
    double area = area_of_rings(1, 5, star, &crossed);
    cr_assert(crossed && fabs(area / expected - 1) < 1e-3, "%g is not %g", area, expected);
}

Test(annotation_xml, a_jagged_outline_of_a_hundred_thousand_long_edges_is_measured_in_bounded_work)
{
    enum { COUNT = 100000 };
    cdu_random random = cdu_random_stream(3, CDU_RANDOM_TEST, 0, 0);
    cdu_point *points;
    cdu_error error = {0};
    cr_assert(cdu_allocate(&points, COUNT + 2, sizeof *points, &error) == CDU_OK);
    for (int i = 0; i < COUNT; i++) points[i] = (cdu_point){i, (i % 2 ? 90000 : 0) + 10000 * cdu_random_double(&random)};
    points[COUNT] = (cdu_point){COUNT - 1, 110000};
    points[COUNT + 1] = (cdu_point){0, 110000};
    double expected = 0;
    for (int i = 0; i < COUNT + 2; i++) {
        cdu_point a = points[i], b = points[(i + 1) % (COUNT + 2)];
        expected += (a.x * b.y - b.x * a.y) / 2;
    }
    double area = area_of_rings(1, COUNT + 2, points, NULL);
    cr_assert(fabs(area / expected - 1) < 1e-4, "%g, %g", area, expected);
    free(points);
}
