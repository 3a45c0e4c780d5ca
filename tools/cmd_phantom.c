/* cmd_phantom.c: `cdunet phantom DIR`: procedural slides with exact masks, hand-like annotations and a study ready to train. */
#include <stdio.h>
#include <string.h>

#include "core/base/file.h"
#include "cdunet/log.h"
#include "tools/commands.h"
#include "tools/options.h"
#include "tools/phantom/set.h"

static cdu_status read_stains(const char *text, phantom_order *order, cdu_error *error)
{
    char known[256] = "", word[64];
    for (size_t i = 0; i < phantom_assay_count; i++) {
        size_t used = strlen(known);
        snprintf(known + used, sizeof known - used, "%s%s", i ? ", " : "", phantom_assays[i].name);
    }
    if (strcmp(text, "all") == 0) {
        for (size_t i = 0; i < phantom_assay_count; i++) order->stains[order->stain_count++] = &phantom_assays[i];
        return CDU_OK;
    }
    while (*text) {
        size_t length = strcspn(text, ",");
        snprintf(word, sizeof word, "%.*s", (int)(length < sizeof word ? length : sizeof word - 1), text);
        text += length + (text[length] == ',');
        const phantom_assay *assay = phantom_assay_find(word);
        if (!assay) return cdu_fail(error, CDU_USAGE, "--stains: '%s' is no stain that phantoms have; known are %s", word, known);
        for (uint32_t i = 0; i < order->stain_count; i++) {
            if (order->stains[i] == assay) return cdu_fail(error, CDU_USAGE, "--stains names '%s' twice", word);
        }
        order->stains[order->stain_count++] = assay;
    }
    if (!order->stain_count) return cdu_fail(error, CDU_USAGE, "--stains is empty; known are %s", known);
    return CDU_OK;
}

static cdu_status check_size(cdu_size size, cdu_error *error)
{
    if (size.width >= PHANTOM_SMALLEST && size.height >= PHANTOM_SMALLEST && size.width <= PHANTOM_LARGEST &&
        size.height <= PHANTOM_LARGEST)
        return CDU_OK;
    return cdu_fail(error, CDU_USAGE, "--size %llux%llu: phantom slides have from %d to %d pixels a side, at 0.5 um each",
                    (unsigned long long)size.width, (unsigned long long)size.height, PHANTOM_SMALLEST, PHANTOM_LARGEST);
}

cdu_status cmd_phantom(int argc, char **argv, cdu_error *error)
{
    const char *folder = NULL, *stains = NULL;
    uint64_t slides = 0, seed = 0, threads = 0;
    cdu_size size = {0};
    bool haematoxylin = false;
    const cdu_option options[] = {{.name = "slides",
                                   .letter = 'n',
                                   .type = CDU_OPTION_UNSIGNED,
                                   .value = &slides,
                                   .argument = "N",
                                   .fallback = "6",
                                   .least = 1,
                                   .most = PHANTOM_SLIDE_LIMIT,
                                   .help = "how many slides"},
                                  {.name = "stains",
                                   .type = CDU_OPTION_TEXT,
                                   .value = &stains,
                                   .argument = "LIST",
                                   .fallback = "he,cea,ki67-cd3",
                                   .help = "assays, separated by commas, or all"},
                                  {.name = "size",
                                   .type = CDU_OPTION_SIZE,
                                   .value = &size,
                                   .argument = "WxH",
                                   .fallback = "2048x2048",
                                   .help = "pixels of a slide, at 0.5 um each"},
                                  {.name = "seed",
                                   .letter = 's',
                                   .type = CDU_OPTION_UNSIGNED,
                                   .value = &seed,
                                   .argument = "S",
                                   .fallback = "1",
                                   .help = "other seeds, other patients; the same seed gives the same bytes"},
                                  {.name = "haematoxylin",
                                   .type = CDU_OPTION_FLAG,
                                   .value = &haematoxylin,
                                   .help = "the same slides with haematoxylin alone: what structure says without marks"},
                                  {.name = "threads",
                                   .type = CDU_OPTION_UNSIGNED,
                                   .value = &threads,
                                   .argument = "N",
                                   .fallback = "0",
                                   .most = 64,
                                   .help = "0: as many as there are processors"},
                                  {0}};
    const cdu_positional positionals[] = {
        {.name = "DIR", .value = &folder, .help = "folder to write; files of earlier phantoms are replaced"}, {0}};
    const cdu_usage usage = {
        "phantom", "makes procedural slides with exact masks, to try everything without data",
        "DIR gets slides/ (pyramidal TIFF), masks/ (exact label maps), annotations/ (GeoJSON, as if drawn by hand),\n"
        "slides.csv and study.yaml. A case has one slide of each stain where there are enough; cases are split into train,\n"
        "validation and test (from 3 slides on, at least one slide each).\n"
        "Assays: he, cea, ki67-cd3, cd163-cd68, cd8-cd3, foxp3, ki67-cd8, prf-cd3, pd1.",
        options, positionals};
    bool done = false;
    CDU_TRY(cdu_options_parse(&usage, argc, argv, &done, error));
    if (done) return CDU_OK;
    phantom_order order = {.slides = (uint32_t)slides,
                           .width = (int64_t)size.width,
                           .height = (int64_t)size.height,
                           .seed = seed,
                           .haematoxylin = haematoxylin};
    CDU_TRY(check_size(size, error));
    CDU_TRY(read_stains(stains, &order, error));
    CDU_TRY(cdu_folder_create(folder, error));
    phantom_set set;
    CDU_TRY(phantom_set_plan(&order, &set, error));
    cdu_status status = phantom_set_render(&order, &set, folder, (uint32_t)threads, error);
    if (status == CDU_OK) status = phantom_set_write(&order, &set, folder, error);
    phantom_set_free(&set);
    if (status == CDU_OK) printf("%s/study.yaml\n", folder);
    return status;
}
