/* cmd_agree.c: how far two label maps agree: the share of equal pixels, and for each class the pixels that both, or one of them,
 * give to it. For two segmentations of one slide (two devices, two models), not for scoring against truth: evaluate does that. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "cdunet/slide.h"
#include "core/base/memory.h"
#include "core/slide/raster.h"
#include "tools/commands.h"
#include "tools/options.h"

enum { CLASSES = 16, ROWS = 64 };

typedef struct { uint64_t pixels, equal, both[256], first[256], second[256]; } agreement;

static cdu_status size_of(const char *path, int64_t *width, int64_t *height, cdu_error *error)
{
    cdu_slide *slide = NULL;
    CDU_TRY(cdu_slide_open(path, 1.0, &slide, error));
    *width = cdu_slide_info_of(slide).width;
    *height = cdu_slide_info_of(slide).height;
    cdu_slide_close(slide);
    return CDU_OK;
}

static cdu_status compare_rows(const cdu_label_source *a, const cdu_label_source *b, int64_t width, int64_t height, uint8_t *rows,
                               agreement *sum, cdu_error *error)
{
    uint8_t *other = rows + (size_t)width * ROWS;
    for (int64_t y = 0; y < height; y += ROWS) {
        uint32_t count = height - y < ROWS ? (uint32_t)(height - y) : ROWS;
        CDU_TRY(cdu_label_source_read(a, 1, 0, y, (uint32_t)width, count, rows, error));
        CDU_TRY(cdu_label_source_read(b, 1, 0, y, (uint32_t)width, count, other, error));
        for (size_t i = 0; i < (size_t)width * count; i++) {
            sum->first[rows[i]]++;
            sum->second[other[i]]++;
            if (rows[i] != other[i]) continue;
            sum->both[rows[i]]++;
            sum->equal++;
        }
        sum->pixels += (uint64_t)width * count;
    }
    return CDU_OK;
}

static cdu_status compare(const char *first, const char *second, agreement *sum, cdu_error *error)
{
    int64_t width, height, other_width, other_height;
    cdu_label_source *a = NULL, *b = NULL;
    uint8_t *rows = NULL;
    CDU_TRY(size_of(first, &width, &height, error));
    CDU_TRY(size_of(second, &other_width, &other_height, error));
    if (width != other_width || height != other_height)
        return cdu_fail(error, CDU_BAD_DATA, "%s has %" PRId64 " x %" PRId64 " pixels, %s has %" PRId64 " x %" PRId64
                        ": they are not of one slide at one resolution", first, width, height, second, other_width, other_height);
    cdu_status status = cdu_label_source_from_image(first, width, height, CLASSES, &a, error);
    if (status == CDU_OK) status = cdu_label_source_from_image(second, width, height, CLASSES, &b, error);
    if (status == CDU_OK) status = cdu_allocate(&rows, (size_t)width * ROWS, 2, error);
    if (status == CDU_OK) status = compare_rows(a, b, width, height, rows, sum, error);
    free(rows);
    cdu_label_source_destroy(a);
    cdu_label_source_destroy(b);
    return status;
}

static void print_json(const agreement *sum)
{
    json_t *classes = json_array(), *root;
    for (int c = 0; c < 256; c++) {
        if (!sum->first[c] && !sum->second[c]) continue;
        json_array_append_new(classes, json_pack("{s:i, s:I, s:I, s:I}", "value", c, "first", (json_int_t)sum->first[c], "second",
                                                 (json_int_t)sum->second[c], "both", (json_int_t)sum->both[c]));
    }
    root = json_pack("{s:I, s:I, s:f, s:o}", "pixels", (json_int_t)sum->pixels, "equal", (json_int_t)sum->equal, "share",
                     (double)sum->equal / (double)sum->pixels, "classes", classes);
    json_dumpf(root, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    printf("\n");
    json_decref(root);
}

static void print_table(const agreement *sum)
{
    printf("equal: %" PRIu64 " of %" PRIu64 " pixels, %.4f %%\n", sum->equal, sum->pixels,
           100.0 * (double)sum->equal / (double)sum->pixels);
    printf("%-8s %14s %14s %14s\n", "value", "first", "second", "both");
    for (int c = 0; c < 256; c++)
        if (sum->first[c] || sum->second[c])
            printf("%-8d %14" PRIu64 " %14" PRIu64 " %14" PRIu64 "\n", c, sum->first[c], sum->second[c], sum->both[c]);
}

cdu_status cmd_agree(int argc, char **argv, cdu_error *error)
{
    const char *first = NULL, *second = NULL;
    bool json = false, done = false;
    const cdu_option options[] = {
        {.name = "json", .type = CDU_OPTION_FLAG, .value = &json, .help = "print JSON"},
        {0},
    };
    const cdu_positional positionals[] = {
        {.name = "A.tif", .value = &first, .help = "a label map"},
        {.name = "B.tif", .value = &second, .help = "another of the same slide at the same resolution"},
        {0},
    };
    const cdu_usage usage = {"agree", "tells how far two label maps of one slide agree", NULL, options, positionals};
    agreement sum = {0};
    CDU_TRY(cdu_options_parse(&usage, argc, argv, &done, error));
    if (done) return CDU_OK;
    CDU_TRY(compare(first, second, &sum, error));
    if (json) print_json(&sum);
    else print_table(&sum);
    return CDU_OK;
}
