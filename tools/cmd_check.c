/* cmd_check.c: a study before it is trained: every slide opened, its labels measured and drawn, splits, tiles and class weights, and what
 * looks wrong. Nothing is trained and nothing of the study is changed. */
#include <jansson.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/base/memory.h"
#include "core/base/progress.h"
#include "core/base/thread.h"
#include "core/study/tile_index.h"
#include "tools/check_slide.h"
#include "tools/commands.h"
#include "tools/options.h"

enum { SPLITS = 3 };
static const char *const split_words[SPLITS] = {"train", "validation", "test"};
static const double FAR_RESOLUTION = 1.9; /* times the study's middle one: 20x among 40x is told */

typedef struct {
    size_t slides, cases, tiles, class_tiles[CDU_CLASS_LIMIT];
    uint64_t pixels, class_pixels[CDU_CLASS_LIMIT];
} split_facts;

typedef struct {
    cdu_study *study;
    checked_slide *slides;
    split_facts splits[SPLITS];
    float weights[CDU_CLASS_LIMIT];
    char **warnings;
    size_t warning_count, warning_capacity, unusable;
    uint32_t panel, threads;
    pthread_mutex_t lock;                  /* of bar and done */
    cdu_progress_bar bar;
    uint64_t done;
    cdu_error *error;
} job;

__attribute__((format(printf, 2, 3))) static cdu_status warn(job *j, const char *format, ...)
{
    char words[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(words, sizeof words, format, arguments);
    va_end(arguments);
    CDU_TRY(cdu_grow(&j->warnings, &j->warning_capacity, j->warning_count + 1, sizeof *j->warnings, j->error));
    CDU_TRY(cdu_copy_text(&j->warnings[j->warning_count], words, j->error));
    j->warning_count++;
    return CDU_OK;
}

static const char *short_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* ---- what looks wrong with a slide ---- */

static int by_number(const void *a, const void *b)
{
    double one = *(const double *)a, two = *(const double *)b;
    return one < two ? -1 : one > two;
}

static cdu_status middle_resolution(job *j, double *middle)
{
    double *all;
    size_t count = 0;
    CDU_TRY(cdu_allocate(&all, j->study->slide_count, sizeof *all, j->error));
    for (size_t i = 0; i < j->study->slide_count; i++)
        if (j->slides[i].usable) all[count++] = j->slides[i].info.mpp;
    if (count > 1) qsort(all, count, sizeof *all, by_number);
    *middle = count ? all[(count - 1) / 2] : 0;
    free(all);
    return CDU_OK;
}

/* A mask of 0 and 255, as many programs write them: 255 is left out here, so nothing but the first class is left. */
static bool is_black_and_white(const checked_slide *slide)
{
    bool others = false;
    for (size_t c = 1; c < CDU_CLASS_LIMIT; c++) others = others || slide->area[c] > 0;
    return slide->format && !strcmp(slide->format, "label map") && slide->excluded > 0 && !others;
}

static cdu_status warn_of_slide(job *j, size_t i, double middle)
{
    const checked_slide *slide = &j->slides[i];
    const cdu_study_slide *which = &j->study->slides[i];
    const double mpp = slide->info.mpp;
    if (!slide->usable) return warn(j, "%s", slide->fault);
    if (!slide->format) CDU_TRY(warn(j, "%s:%zu: %s has no annotation and gives no tiles", j->study->slides_path, which->line, short_name(which->slide)));
    if (mpp > middle * FAR_RESOLUTION || mpp * FAR_RESOLUTION < middle)
        CDU_TRY(warn(j, "%s:%zu: %s has %g um/px where the middle slide has %g; if that is wrong, set it in the column mpp", j->study->slides_path,
                     which->line, short_name(which->slide), mpp, middle));
    if (mpp > j->study->tiles.mpp * 1.05)
        CDU_TRY(warn(j, "%s:%zu: %s has %g um/px, coarser than tiles.mpp %g: it would be enlarged", j->study->slides_path, which->line,
                     short_name(which->slide), mpp, j->study->tiles.mpp));
    if (slide->outside)
        CDU_TRY(warn(j, "%s:%zu: %zu of %zu annotations lie off the slide %s of %lld x %lld pixels; do they belong to it?", which->annotation,
                     slide->outside_line, slide->outside, slide->annotations, short_name(which->slide), (long long)slide->info.width,
                     (long long)slide->info.height));
    if (is_black_and_white(slide))
        CDU_TRY(warn(j, "%s: has 0 and 255 alone, and 255 is left out: write the number of the class instead of 255", which->annotation));
    if (slide->format && !slide->annotations && strcmp(slide->format, "label map") != 0)
        CDU_TRY(warn(j, "%s: holds no annotation that covers anything", which->annotation));
    return CDU_OK;
}

static bool stain_in(const cdu_study *study, cdu_split split, const char *stain)
{
    for (size_t i = 0; i < study->slide_count; i++)
        if (study->slides[i].split == split && !strcmp(study->slides[i].stain, stain)) return true;
    return false;
}

static cdu_status warn_of_stains(job *j)
{
    const cdu_study *study = j->study;
    for (size_t i = 0; i < study->slide_count; i++) {
        const cdu_study_slide *slide = &study->slides[i];
        bool first = true;
        for (size_t k = 0; k < i; k++) first &= strcmp(study->slides[k].stain, slide->stain) != 0;
        if (first && !stain_in(study, CDU_SPLIT_TRAIN, slide->stain))
            CDU_TRY(warn(j, "%s:%zu: the stain %s is in no training slide", study->slides_path, slide->line, slide->stain));
    }
    return CDU_OK;
}

/* ---- splits ---- */

static void count_split(const cdu_study *study, cdu_split split, split_facts *out)
{
    for (size_t i = 0; i < study->slide_count; i++) {
        if (study->slides[i].split != split) continue;
        bool first = true;
        for (size_t k = 0; k < i; k++) first &= study->slides[k].split != split || strcmp(study->slides[k].case_name, study->slides[i].case_name) != 0;
        out->slides++;
        out->cases += first;
    }
}

/* The tiles of the slides that can be used. */
static cdu_status index_split(job *j, const cdu_study *usable, cdu_split split)
{
    split_facts *out = &j->splits[split];
    cdu_tile_index index;
    cdu_error reason = {0};
    count_split(j->study, split, out);
    if (!out->slides) return CDU_OK;
    cdu_status status = cdu_tile_index_build(usable, split, false, j->threads, &index, &reason);
    if (status == CDU_BAD_DATA) return warn(j, "%s", reason.words);
    if (status != CDU_OK) return *j->error = reason, status;
    out->tiles = index.count;
    for (size_t c = 0; c < usable->class_count; c++) {
        for (size_t i = 0; i < index.count; i++) out->class_tiles[c] += index.tiles[i].pixels[c] > 0;
        out->class_pixels[c] = index.class_pixels[c];
        out->pixels += index.class_pixels[c];
    }
    if (split == CDU_SPLIT_TRAIN) cdu_class_weights(usable, &index, j->weights);
    cdu_tile_index_free(&index);
    for (size_t c = 0; c < usable->class_count; c++)
        if (!out->class_pixels[c])
            CDU_TRY(warn(j, "%s: class '%s' has no pixel in the %s slides%s", usable->path, usable->classes[c].name, split_words[split],
                         split == CDU_SPLIT_TRAIN ? "; training refuses that" : ", so its F1 there says nothing"));
    return CDU_OK;
}

static cdu_status index_splits(job *j)
{
    cdu_study usable = *j->study;
    CDU_TRY(cdu_allocate(&usable.slides, usable.slide_count, sizeof *usable.slides, j->error));
    usable.slide_count = 0;
    for (size_t i = 0; i < j->study->slide_count; i++)
        if (j->slides[i].usable && j->slides[i].format) usable.slides[usable.slide_count++] = j->study->slides[i];
    cdu_status status = CDU_OK;
    for (int split = 0; split < SPLITS && status == CDU_OK; split++) status = index_split(j, &usable, (cdu_split)split);
    free(usable.slides);
    return status;
}

/* ---- printing ---- */

static void print_slides(const job *j)
{
    const cdu_study *study = j->study;
    printf("%-28s %-10s %-12s %-12s %7s %12s %-15s", "slide", "split", "case", "stain", "um/px", "size mm", "annotations");
    for (size_t c = 0; c < study->class_count; c++) printf(" %10.10s", study->classes[c].name);
    printf(" %10s\n", "excluded");
    for (size_t i = 0; i < study->slide_count; i++) {
        const checked_slide *slide = &j->slides[i];
        const cdu_study_slide *which = &study->slides[i];
        char size[32] = "", annotations[40] = "";
        if (slide->usable) snprintf(size, sizeof size, "%.1f x %.1f", (double)slide->info.width * slide->info.mpp / 1000, (double)slide->info.height * slide->info.mpp / 1000);
        if (slide->format && !strcmp(slide->format, "label map")) snprintf(annotations, sizeof annotations, "label map");
        else if (slide->format) snprintf(annotations, sizeof annotations, "%zu %.*s", slide->annotations, (int)strcspn(slide->format, " "), slide->format);
        else snprintf(annotations, sizeof annotations, "%s", slide->usable ? "none" : "");
        printf("%-28.28s %-10s %-12.12s %-12.12s %7.4g %12s %-15s", short_name(which->slide), split_words[which->split], which->case_name, which->stain,
               slide->usable ? slide->info.mpp : 0, size, annotations);
        if (!slide->usable) printf(" cannot be used");
        for (size_t c = 0; slide->format && c < study->class_count; c++) printf(" %10.4f", slide->area[c]);
        if (slide->format) printf(" %10.4f", slide->excluded);
        printf("\n");
    }
    printf("areas in mm2, every pixel once, overlaps decided\n");
}

static void print_splits(const job *j)
{
    const cdu_study *study = j->study;
    printf("\n%-12s %7s %6s %8s", "split", "slides", "cases", "tiles");
    for (size_t c = 0; c < study->class_count; c++) printf(" %18.18s", study->classes[c].name);
    printf("\n");
    for (int s = 0; s < SPLITS; s++) {
        const split_facts *at = &j->splits[s];
        printf("%-12s %7zu %6zu %8zu", split_words[s], at->slides, at->cases, at->tiles);
        for (size_t c = 0; c < study->class_count; c++) {
            char words[40];
            double share = at->pixels ? 100.0 * (double)at->class_pixels[c] / (double)at->pixels : 0;
            snprintf(words, sizeof words, "%zu (%.1f %%)", at->class_tiles[c], share);
            printf(" %18s", words);
        }
        printf("\n");
    }
    printf("%-12s %7s %6s %8s", "class weight", "", "", "");
    for (size_t c = 0; c < study->class_count; c++) printf(" %18.4f", (double)j->weights[c]);
    printf("\ntiles of %u x %u pixels at %g um/px, %u apart; for each class the tiles that hold some of it, and its share of the labelled pixels\n",
           study->tiles.size, study->tiles.size, study->tiles.mpp, study->tiles.stride);
}

static void print_text(const job *j)
{
    print_slides(j);
    print_splits(j);
    if (j->warning_count) printf("\n");
    for (size_t i = 0; i < j->warning_count; i++) printf("warning: %s\n", j->warnings[i]);
}

static json_t *slide_as_json(const job *j, size_t i)
{
    const checked_slide *slide = &j->slides[i];
    const cdu_study_slide *which = &j->study->slides[i];
    json_t *item = json_pack("{s:s, s:s, s:s, s:s, s:b}", "slide", which->slide, "split", split_words[which->split], "case", which->case_name,
                             "stain", which->stain, "usable", slide->usable);
    if (!slide->usable) return json_object_set_new(item, "fault", json_string(slide->fault)), item;
    json_object_update_new(item, json_pack("{s:f, s:I, s:I, s:s?, s:I}", "mpp", slide->info.mpp, "width", (json_int_t)slide->info.width, "height",
                                           (json_int_t)slide->info.height, "annotation_format", slide->format, "annotations",
                                           (json_int_t)slide->annotations));
    json_t *areas = json_object();
    for (size_t c = 0; slide->format && c < j->study->class_count; c++) json_object_set_new(areas, j->study->classes[c].name, json_real(slide->area[c]));
    json_object_set_new(item, "area_mm2", areas);
    json_object_set_new(item, "excluded_mm2", json_real(slide->excluded));
    return item;
}

static json_t *split_as_json(const job *j, const split_facts *at)
{
    json_t *tiles = json_object(), *shares = json_object();
    for (size_t c = 0; c < j->study->class_count; c++) {
        json_object_set_new(tiles, j->study->classes[c].name, json_integer((json_int_t)at->class_tiles[c]));
        json_object_set_new(shares, j->study->classes[c].name, json_real(at->pixels ? (double)at->class_pixels[c] / (double)at->pixels : 0));
    }
    return json_pack("{s:I, s:I, s:I, s:o, s:o}", "slides", (json_int_t)at->slides, "cases", (json_int_t)at->cases, "tiles", (json_int_t)at->tiles,
                     "class_tiles", tiles, "class_shares", shares);
}

static void print_json(const job *j)
{
    json_t *slides = json_array(), *splits = json_object(), *weights = json_object(), *warnings = json_array();
    for (size_t i = 0; i < j->study->slide_count; i++) json_array_append_new(slides, slide_as_json(j, i));
    for (int s = 0; s < SPLITS; s++) json_object_set_new(splits, split_words[s], split_as_json(j, &j->splits[s]));
    for (size_t c = 0; c < j->study->class_count; c++) json_object_set_new(weights, j->study->classes[c].name, json_real((double)j->weights[c]));
    for (size_t i = 0; i < j->warning_count; i++) json_array_append_new(warnings, json_string(j->warnings[i]));
    json_t *all = json_pack("{s:o, s:o, s:o, s:o}", "slides", slides, "splits", splits, "class_weights", weights, "warnings", warnings);
    char *text = json_dumps(all, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    printf("%s\n", text ? text : "{}");
    free(text);
    json_decref(all);
}

/* ---- the command ---- */

static cdu_status check_one(void *context, size_t i, cdu_error *error)
{
    job *j = context;
    cdu_status status = check_slide(j->study, i, j->panel, &j->slides[i], error);
    pthread_mutex_lock(&j->lock);
    cdu_progress_update(&j->bar, ++j->done, short_name(j->study->slides[i].slide));
    pthread_mutex_unlock(&j->lock);
    return status;
}

static cdu_status check_study(job *j, const char *path, const char *sheet, bool json)
{
    double middle;
    CDU_TRY(cdu_study_read(path, &j->study, j->error));
    char beside[CDU_PATH_LIMIT];
    if (sheet && !*sheet) {
        CDU_TRY(cdu_path_join(beside, j->study->folder, "check.png", j->error));
        sheet = beside;
    }
    if (sheet) CDU_TRY(cdu_file_try(sheet, j->error));
    CDU_TRY(cdu_allocate(&j->slides, j->study->slide_count, sizeof *j->slides, j->error));
    j->bar = cdu_progress_begin("slides", j->study->slide_count);
    cdu_status status = cdu_parallel(j->threads, j->study->slide_count, check_one, j, j->error);
    cdu_progress_end(&j->bar);
    CDU_TRY(status);
    CDU_TRY(middle_resolution(j, &middle));
    for (size_t i = 0; i < j->study->slide_count; i++) {
        CDU_TRY(warn_of_slide(j, i, middle));
        j->unusable += !j->slides[i].usable;
    }
    CDU_TRY(warn_of_stains(j));
    CDU_TRY(index_splits(j));
    if (json) print_json(j);
    else print_text(j);
    if (sheet) {
        CDU_TRY(check_sheet(j->study, j->slides, j->panel, sheet, j->error));
        if (!json) printf("\n%s: every slide with its labels drawn in\n", sheet);
    }
    if (j->unusable)
        return cdu_fail(j->error, CDU_BAD_DATA, "%s: %zu of %zu slides cannot be used, see the warnings", path, j->unusable, j->study->slide_count);
    return CDU_OK;
}

cdu_status cmd_check(int argc, char **argv, cdu_error *error)
{
    job j = {.error = error, .lock = PTHREAD_MUTEX_INITIALIZER};
    const char *study = NULL, *sheet = "";
    uint64_t panel = 0, threads = 0;
    bool json = false, no_sheet = false, done = false;
    const cdu_option options[] = {
        {.name = "sheet", .type = CDU_OPTION_TEXT, .value = &sheet, .argument = "F.png",
         .help = "the contact sheet: every slide with its labels drawn in\n(default: check.png beside the study file)"},
        {.name = "no-sheet", .type = CDU_OPTION_FLAG, .value = &no_sheet, .help = "no contact sheet"},
        {.name = "panel", .type = CDU_OPTION_UNSIGNED, .value = &panel, .argument = "N", .fallback = "300", .least = 64, .most = 2000,
         .help = "longer side of each picture on it, in pixels"},
        {.name = "threads", .type = CDU_OPTION_UNSIGNED, .value = &threads, .argument = "N", .fallback = "0", .least = 0, .most = 1024,
         .help = "0: as many as there are processors"},
        {.name = "json", .type = CDU_OPTION_FLAG, .value = &json, .help = "print JSON"},
        {0}};
    const cdu_positional positionals[] = {{.name = "STUDY", .value = &study, .help = "the study file"}, {0}};
    const cdu_usage usage = {"check", "opens every slide of a study and shows labels, splits, tiles and what looks wrong",
                             "Ends with 65 where a slide or its annotation cannot be read; all of them are tried and told.", options, positionals};
    CDU_TRY(cdu_options_parse(&usage, argc, argv, &done, error));
    if (done) return CDU_OK;
    j.panel = (uint32_t)panel;
    j.threads = (uint32_t)threads;
    cdu_status status = check_study(&j, study, no_sheet ? NULL : sheet, json);
    for (size_t i = 0; j.slides && i < j.study->slide_count; i++) free(j.slides[i].rgb);
    for (size_t i = 0; i < j.warning_count; i++) free(j.warnings[i]);
    free(j.slides);
    free(j.warnings);
    cdu_study_free(j.study);
    return status;
}
