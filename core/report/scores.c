/* scores.c: see scores.h. */
#include "core/report/scores.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <png.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/base/memory.h"
#include "core/base/text.h"

/* ---- JSON ---- */

static json_t *number(double x)
{
    return isnan(x) ? json_null() : json_real(x);
}

static json_t *interval(cdu_interval x)
{
    return isnan(x.low) ? json_null() : json_pack("[f, f]", x.low, x.high);
}

/* All scores of a class, or with class_value = classes the means over them. */
static json_t *scores_of(const cdu_confusion *confusion, const cdu_intervals *intervals, uint32_t class_value)
{
    json_t *all = json_object();
    char key[32];
    for (int s = 0; s < CDU_SCORES; s++) {
        json_object_set_new(all, cdu_score_name((cdu_score)s), number(cdu_confusion_score(confusion, (cdu_score)s, class_value)));
        if (!intervals) continue;
        snprintf(key, sizeof key, "%s_interval", cdu_score_name((cdu_score)s));
        json_object_set_new(all, key, interval(intervals->of[s][class_value]));
    }
    return all;
}

/* Rows of "confusion" are the truth. */
static void add_confusion(json_t *to, const cdu_study *study, const cdu_confusion *confusion, const cdu_intervals *intervals)
{
    json_t *classes = json_array(), *matrix = json_array();
    for (uint32_t c = 0; c < confusion->classes; c++) {
        json_t *one = json_pack("{s:s}", "class", study->classes[c].name), *row = json_array();
        const uint8_t *color = study->classes[c].color;
        json_object_set_new(one, "color", json_pack("[i, i, i]", color[0], color[1], color[2]));
        json_t *scores = scores_of(confusion, intervals, c);
        json_object_update(one, scores);
        json_decref(scores);
        json_object_set_new(one, "pixels", json_integer((json_int_t)cdu_confusion_truth(confusion, c)));
        json_object_set_new(one, "predicted_pixels", json_integer((json_int_t)cdu_confusion_predicted(confusion, c)));
        json_array_append_new(classes, one);
        for (uint32_t k = 0; k < confusion->classes; k++)
            json_array_append_new(row, json_integer((json_int_t)confusion->pixels[c][k]));
        json_array_append_new(matrix, row);
    }
    json_object_set_new(to, "macro_f1", number(cdu_confusion_macro_f1(confusion)));
    json_object_set_new(to, "macro", scores_of(confusion, intervals, confusion->classes));
    json_object_set_new(to, "classes", classes);
    json_object_set_new(to, "confusion", matrix);
}

static void add_part(json_t *to, const cdu_study *study, const cdu_evaluation_part *part)
{
    json_t *interior = json_object();
    uint64_t pixels = cdu_confusion_pixels(&part->confusion);
    json_object_set_new(to, "slides", json_integer(part->slides));
    json_object_set_new(to, "cases", json_integer(part->cases));
    json_object_set_new(to, "pixels", json_integer((json_int_t)pixels));
    json_object_set_new(to, "excluded_pixels", json_integer((json_int_t)part->excluded));
    json_object_set_new(to, "boundary_pixels", json_integer((json_int_t)(pixels - cdu_confusion_pixels(&part->interior))));
    add_confusion(to, study, &part->confusion, &part->intervals);
    add_confusion(interior, study, &part->interior, NULL);
    json_object_set_new(to, "off_boundary", interior);
}

static json_t *parts(const cdu_study *study, const cdu_evaluation_part *from, size_t count, const char *key)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        json_t *one = json_pack("{s:s}", key, from[i].name);
        if (!strcmp(key, "slide")) {
            json_object_set_new(one, "stain", json_string(from[i].stain));
            json_object_set_new(one, "case", json_string(from[i].case_name));
        }
        add_part(one, study, &from[i]);
        json_array_append_new(list, one);
    }
    return list;
}

static json_t *names(const char *const *list, size_t count)
{
    json_t *all = json_array();
    for (size_t i = 0; i < count; i++) json_array_append_new(all, json_string(list[i]));
    return all;
}

/* `tiles`: null or what the report shows; taken over. */
static cdu_status write_json(const char *path, const cdu_scores_about *about, const cdu_evaluation *e, json_t *tiles, cdu_error *error)
{
    json_t *without = names(e->unannotated, e->unannotated_count);
    json_t *root = json_pack("{s:i, s:s, s:s, s:s, s:s, s:f, s:s, s:f, s:i, s:o}", "format", 1, "study", about->study->path, "model",
                             about->model, "split", about->split, "truth", about->truth, "mpp", about->mpp, "device", about->device,
                             "boundary_um", e->boundary_um, "bootstrap_resamples", (int)e->resamples, "slides_without_truth", without);
    if (!root) json_decref(tiles);
    if (!root) return cdu_fail(error, CDU_FAILED, "%s: the scores could not be put into JSON (is a name not UTF-8?)", path);
    json_object_set_new(root, "slides_unreadable", names(e->unreadable, e->unreadable_count));
    if (tiles) json_object_set_new(root, "tiles", tiles);
    add_part(root, about->study, &e->whole);
    json_object_set_new(root, "by_stain", parts(about->study, e->stains, e->stain_count, "stain"));
    json_object_set_new(root, "by_case", parts(about->study, e->cases, e->case_count, "case"));
    json_object_set_new(root, "by_slide", parts(about->study, e->slides, e->slide_count, "slide"));
    char *text = json_dumps(root, JSON_INDENT(1) | JSON_REAL_PRECISION(12));
    json_decref(root);
    if (!text) return cdu_fail(error, CDU_FAILED, "%s: the scores could not be put into JSON", path);
    cdu_status status = cdu_file_write(path, text, strlen(text), error);
    free(text);
    return status;
}

cdu_status cdu_scores_write_json(const char *path, const cdu_scores_about *about, const cdu_evaluation *e, cdu_error *error)
{
    return write_json(path, about, e, NULL, error);
}

/* ---- CSV ---- */

static void put_number(cdu_text *text, double x)
{
    if (isnan(x))
        cdu_text_put(text, ",");
    else
        cdu_text_print(text, ",%.9g", x);
}

static void put_row(cdu_text *text, const cdu_study *study, const char *group, const cdu_evaluation_part *part, uint32_t c)
{
    const cdu_confusion *confusion = &part->confusion;
    const bool mean = c == confusion->classes;
    cdu_text_put(text, group);
    const char *fields[] = {part->name, part->stain, part->case_name, mean ? "macro" : study->classes[c].name};
    for (int i = 0; i < 4; i++) {
        cdu_text_put(text, ",");
        cdu_text_put_csv(text, fields[i]);
    }
    cdu_text_print(text, ",%u,%u", part->slides, part->cases);
    for (int s = 0; s < CDU_SCORES; s++) {
        put_number(text, cdu_confusion_score(confusion, (cdu_score)s, c));
        put_number(text, part->intervals.of[s][c].low);
        put_number(text, part->intervals.of[s][c].high);
    }
    put_number(text, cdu_confusion_score(&part->interior, CDU_SCORE_F1, c));
    uint64_t truth = mean ? cdu_confusion_pixels(confusion) : cdu_confusion_truth(confusion, c);
    uint64_t predicted = mean ? truth : cdu_confusion_predicted(confusion, c);
    uint64_t interior = mean ? cdu_confusion_pixels(&part->interior) : cdu_confusion_truth(&part->interior, c);
    cdu_text_print(text, ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 "\n", truth, predicted, truth - interior, part->excluded);
}

static void put_parts(cdu_text *text, const cdu_study *study, const char *group, const cdu_evaluation_part *part, size_t count)
{
    for (size_t i = 0; i < count; i++)
        for (uint32_t c = 0; c <= part[i].confusion.classes; c++) put_row(text, study, group, &part[i], c);
}

cdu_status cdu_scores_write_csv(const char *path, const cdu_scores_about *about, const cdu_evaluation *e, cdu_error *error)
{
    cdu_text text = {0};
    cdu_text_put(&text, "group,name,stain,case,class,slides,cases");
    for (int s = 0; s < CDU_SCORES; s++) {
        const char *name = cdu_score_name((cdu_score)s);
        cdu_text_print(&text, ",%s,%s low,%s high", name, name, name);
    }
    cdu_text_put(&text, ",f1 off boundary,truth pixels,predicted pixels,boundary pixels,excluded pixels\n");
    put_parts(&text, about->study, "all", &e->whole, 1);
    put_parts(&text, about->study, "stain", e->stains, e->stain_count);
    put_parts(&text, about->study, "case", e->cases, e->case_count);
    put_parts(&text, about->study, "slide", e->slides, e->slide_count);
    cdu_status status = cdu_text_write(&text, path, error);
    cdu_text_free(&text);
    return status;
}

/* ---- tiles ---- */

static cdu_status write_png(const char *path, uint32_t side, const uint8_t *rgb, cdu_error *error)
{
    png_image image = {.version = PNG_IMAGE_VERSION, .width = side, .height = side, .format = PNG_FORMAT_RGB};
    png_alloc_size_t size = 0;
    uint8_t *bytes = NULL;
    bool made = png_image_write_to_memory(&image, NULL, &size, 0, rgb, 0, NULL);
    if (made) CDU_TRY(cdu_allocate(&bytes, size, 1, error));
    made = made && png_image_write_to_memory(&image, bytes, &size, 0, rgb, 0, NULL);
    cdu_status status = made ? cdu_file_write(path, bytes, size, error) : cdu_fail(error, CDU_FAILED, "%s: PNG: %s", path, image.message);
    free(bytes);
    return status;
}

static cdu_status write_labels(const char *path, const cdu_study *study, uint32_t side, const uint8_t *labels, cdu_error *error)
{
    uint8_t *rgb;
    CDU_TRY(cdu_allocate(&rgb, (size_t)side * side, 3, error));
    for (size_t i = 0; i < (size_t)side * side; i++) {
        static const uint8_t white[3] = {255, 255, 255};
        memcpy(rgb + 3 * i, labels[i] < study->class_count ? study->classes[labels[i]].color : white, 3);
    }
    cdu_status status = write_png(path, side, rgb, error);
    free(rgb);
    return status;
}

/* Three PNGs of one tile; `name` is what their names begin with, within `folder`. */
static cdu_status write_tile(const char *folder, const char *name, const char *kind, const cdu_study *study, const cdu_gallery_tile *tile,
                             json_t *list, cdu_error *error)
{
    static const char *const ends[] = {"slide", "truth", "segmentation"};
    char files[3][96], path[CDU_PATH_LIMIT];
    for (int k = 0; k < 3; k++) {
        snprintf(files[k], sizeof files[k], "%s-%s.png", name, ends[k]);
        CDU_TRY(cdu_path_join(path, folder, files[k], error));
        CDU_TRY(k == 0 ? write_png(path, tile->picture, tile->rgb, error)
                       : write_labels(path, study, tile->picture, k == 1 ? tile->truth : tile->predicted, error));
    }
    json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:I, s:I, s:i, s:f, s:[s, s, s]}", "kind", kind, "slide", tile->slide, "stain",
                                          tile->stain, "x", (json_int_t)tile->x, "y", (json_int_t)tile->y, "side", (int)tile->side,
                                          "right", tile->right, "files", files[0], files[1], files[2]));
    return CDU_OK;
}

/* Where there are few tiles the worst are among the best too. */
static bool is_kept_as_best(const cdu_gallery *gallery, const cdu_gallery_tile *tile)
{
    for (uint32_t i = 0; i < gallery->counts[0]; i++) {
        const cdu_gallery_tile *best = &gallery->kept[0][i];
        if (best->slide == tile->slide && best->x == tile->x && best->y == tile->y) return true;
    }
    return false;
}

static cdu_status write_tiles(const char *folder, const cdu_scores_about *about, const cdu_gallery *gallery, json_t *list, cdu_error *error)
{
    static const char *const kinds[CDU_GALLERY_KINDS] = {"best", "worst"};
    char name[96], path[CDU_PATH_LIMIT];
    snprintf(name, sizeof name, "evaluation-%s-tiles", about->split);
    CDU_TRY(cdu_path_join(path, folder, name, error));
    CDU_TRY(cdu_folder_create(path, error));
    for (int kind = 0; kind < CDU_GALLERY_KINDS; kind++)
        for (uint32_t i = 0; i < gallery->counts[kind]; i++) {
            if (kind && is_kept_as_best(gallery, &gallery->kept[kind][i])) continue;
            snprintf(name, sizeof name, "evaluation-%s-tiles/%s-%u", about->split, kinds[kind], i + 1);
            CDU_TRY(write_tile(folder, name, kinds[kind], about->study, &gallery->kept[kind][i], list, error));
        }
    return CDU_OK;
}

cdu_status cdu_scores_write_folder(const char *folder, const cdu_scores_about *about, const cdu_evaluation *e, cdu_error *error)
{
    char name[64], path[CDU_PATH_LIMIT];
    json_t *tiles = json_array();
    cdu_status status = write_tiles(folder, about, &e->gallery, tiles, error);
    snprintf(name, sizeof name, "evaluation-%s.csv", about->split);
    if (status == CDU_OK) status = cdu_path_join(path, folder, name, error);
    if (status == CDU_OK) status = cdu_scores_write_csv(path, about, e, error);
    snprintf(name, sizeof name, "evaluation-%s.json", about->split);
    if (status == CDU_OK) status = cdu_path_join(path, folder, name, error);
    if (status != CDU_OK) return json_decref(tiles), status;
    return write_json(path, about, e, tiles, error);
}
