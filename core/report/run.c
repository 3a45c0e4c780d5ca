/* run.c: see run.h. */
#include "core/report/run.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "core/base/file.h"
#include "core/base/memory.h"

enum { TEXT_LIMIT = 64 << 20 };

const char *cdu_run_split_name(int split)
{
    static const char *const names[CDU_RUN_SPLITS] = {"validation", "test", "train"};
    return names[split];
}

/* ---- checks ---- */

static cdu_status damaged(const char *path, cdu_error *error, const char *format, ...) __attribute__((format(printf, 3, 4)));
static cdu_status damaged(const char *path, cdu_error *error, const char *format, ...)
{
    char words[256];
    va_list list;
    va_start(list, format);
    vsnprintf(words, sizeof words, format, list);
    va_end(list);
    return cdu_fail(error, CDU_BAD_DATA, "%s: %s; the file is damaged: delete it, and it is left out of the report", path, words);
}

static bool is_number_or_null(const json_t *value)
{
    return json_is_number(value) || json_is_null(value);
}

static bool is_count(const json_t *value)
{
    return json_is_integer(value) && json_integer_value(value) >= 0;
}

static bool is_color(const json_t *value)
{
    if (json_array_size(value) != 3) return false;
    for (size_t i = 0; i < 3; i++) {
        const json_t *part = json_array_get(value, i);
        if (!is_count(part) || json_integer_value(part) > 255) return false;
    }
    return true;
}

static bool is_interval(const json_t *value)
{
    return !value || json_is_null(value) ||
           (json_array_size(value) == 2 && json_is_number(json_array_get(value, 0)) && json_is_number(json_array_get(value, 1)));
}

static bool are_scores(const json_t *value)
{
    static const char *const names[] = {"precision", "recall", "f1", "iou"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char key[32];
        snprintf(key, sizeof key, "%s_interval", names[i]);
        const json_t *score = json_object_get(value, names[i]);
        if (!is_number_or_null(score) || !is_interval(json_object_get(value, key))) return false;
    }
    return true;
}

static cdu_status check_matrix(const char *path, const char *where, const json_t *part, size_t classes, cdu_error *error)
{
    const json_t *matrix = json_object_get(part, "confusion"), *list = json_object_get(part, "classes");
    if (json_array_size(list) != classes || json_array_size(matrix) != classes || !are_scores(json_object_get(part, "macro")))
        return damaged(path, error, "%s: 'classes', 'confusion' or 'macro' is missing or has another number of classes", where);
    for (size_t c = 0; c < classes; c++) {
        const json_t *one = json_array_get(list, c), *row = json_array_get(matrix, c);
        if (!json_is_string(json_object_get(one, "class")) || !are_scores(one) || !is_count(json_object_get(one, "pixels")))
            return damaged(path, error, "%s: class %zu lacks its name, a score or its pixels", where, c);
        for (size_t k = 0; k < classes; k++)
            if (json_array_size(row) != classes || !is_count(json_array_get(row, k)))
                return damaged(path, error, "%s: row %zu of 'confusion' is no row of %zu counts", where, c, classes);
    }
    return CDU_OK;
}

static cdu_status check_part(const char *path, const char *where, const json_t *part, size_t classes, cdu_error *error)
{
    static const char *const counts[] = {"slides", "cases", "pixels", "excluded_pixels", "boundary_pixels"};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        if (!is_count(json_object_get(part, counts[i]))) return damaged(path, error, "%s: '%s' is no count", where, counts[i]);
    CDU_TRY(check_matrix(path, where, part, classes, error));
    return check_matrix(path, where, json_object_get(part, "off_boundary"), classes, error);
}

static cdu_status check_tiles(const char *path, const json_t *tiles, cdu_error *error)
{
    size_t i;
    json_t *tile;
    if (tiles && !json_is_array(tiles)) return damaged(path, error, "'tiles' is no list");
    json_array_foreach(tiles, i, tile) {
        const json_t *files = json_object_get(tile, "files");
        bool right = json_is_string(json_object_get(tile, "kind")) && json_is_string(json_object_get(tile, "slide")) &&
                     json_is_number(json_object_get(tile, "right")) && is_count(json_object_get(tile, "x")) &&
                     is_count(json_object_get(tile, "y")) && is_count(json_object_get(tile, "side")) && json_array_size(files) == 3;
        for (size_t k = 0; k < 3; k++) right &= json_is_string(json_array_get(files, k));
        if (!right) return damaged(path, error, "tile %zu lacks something", i);
    }
    return CDU_OK;
}

cdu_status cdu_run_check_scores(const char *path, const json_t *scores, cdu_error *error)
{
    static const char *const groups[] = {"stain", "case", "slide"}, *const texts[] = {"study", "model", "split", "truth", "device"};
    size_t classes = json_array_size(json_object_get(scores, "classes"));
    if (!classes || classes > CDU_CLASS_LIMIT) return damaged(path, error, "'classes' has %zu entries, not 1 to %d", classes, CDU_CLASS_LIMIT);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (!json_is_string(json_object_get(scores, texts[i]))) return damaged(path, error, "'%s' is no text", texts[i]);
    if (!json_is_number(json_object_get(scores, "mpp")) || !json_is_number(json_object_get(scores, "boundary_um")) ||
        !is_count(json_object_get(scores, "bootstrap_resamples")))
        return damaged(path, error, "'mpp', 'boundary_um' or 'bootstrap_resamples' is no number");
    CDU_TRY(check_part(path, "all slides", scores, classes, error));
    for (size_t c = 0; c < classes; c++)
        if (!is_color(json_object_get(json_array_get(json_object_get(scores, "classes"), c), "color")))
            return damaged(path, error, "class %zu has no colour", c);
    for (size_t g = 0; g < 3; g++) {
        char key[16];
        size_t i;
        json_t *part;
        snprintf(key, sizeof key, "by_%s", groups[g]);
        if (!json_is_array(json_object_get(scores, key))) return damaged(path, error, "'%s' is no list", key);
        json_array_foreach(json_object_get(scores, key), i, part) {
            if (!json_is_string(json_object_get(part, groups[g]))) return damaged(path, error, "%s: entry %zu has no name", key, i);
            CDU_TRY(check_part(path, key, part, classes, error));
        }
    }
    return check_tiles(path, json_object_get(scores, "tiles"), error);
}

static cdu_status check_facts(const char *path, const json_t *facts, cdu_error *error)
{
    static const char *const counts[] = {"parameters", "device_bytes", "host_peak_bytes", "steps_per_epoch"};
    static const char *const words[] = {"id", "name", "vendor", "driver"}, *const of_slide[] = {"slide", "stain", "case", "split"};
    static const char *const pixels[] = {"tile_pixels", "slide_pixels", "class_weights"};
    const json_t *device = json_object_get(facts, "device"), *classes = json_object_get(facts, "classes");
    const json_t *training = json_object_get(facts, "training");
    size_t i;
    json_t *one;
    if (!json_is_number(json_object_get(facts, "began")) || !json_is_string(json_object_get(facts, "network")) ||
        !json_is_string(json_object_get(facts, "study")))
        return damaged(path, error, "'began', 'network' or 'study' is missing");
    for (i = 0; i < sizeof counts / sizeof *counts; i++)
        if (!is_count(json_object_get(facts, counts[i]))) return damaged(path, error, "'%s' is no count", counts[i]);
    for (i = 0; i < sizeof words / sizeof *words; i++)
        if (!json_is_string(json_object_get(device, words[i]))) return damaged(path, error, "device: '%s' is no text", words[i]);
    if (!json_array_size(classes) || json_array_size(classes) > CDU_CLASS_LIMIT) return damaged(path, error, "'classes' is no list of classes");
    json_array_foreach(classes, i, one)
        if (!json_is_string(json_object_get(one, "name")) || !is_color(json_object_get(one, "color")))
            return damaged(path, error, "class %zu lacks its name or its colour", i);
    for (i = 0; i < sizeof pixels / sizeof *pixels; i++) {
        const json_t *list = json_object_get(training, pixels[i]);
        for (size_t c = 0; c < json_array_size(classes); c++)
            if (json_array_size(list) != json_array_size(classes) || !json_is_number(json_array_get(list, c)))
                return damaged(path, error, "training: '%s' is no list of %zu numbers", pixels[i], json_array_size(classes));
    }
    if (!is_count(json_object_get(training, "tiles"))) return damaged(path, error, "training: 'tiles' is no count");
    if (!json_is_array(json_object_get(facts, "slides"))) return damaged(path, error, "'slides' is no list");
    json_array_foreach(json_object_get(facts, "slides"), i, one)
        for (size_t k = 0; k < sizeof of_slide / sizeof *of_slide; k++)
            if (!json_is_string(json_object_get(one, of_slide[k]))) return damaged(path, error, "slide %zu: '%s' is no text", i, of_slide[k]);
    return CDU_OK;
}

/* ---- reading ---- */

/* *out stays null where the file is not there. */
static cdu_status read_text(const char *folder, const char *name, char path[CDU_PATH_LIMIT], char **out, size_t *size, cdu_error *error)
{
    CDU_TRY(cdu_path_join(path, folder, name, error));
    return cdu_file_exists(path) ? cdu_file_read(path, TEXT_LIMIT, out, size, error) : CDU_OK;
}

static cdu_status read_json(const char *folder, const char *name, char path[CDU_PATH_LIMIT], json_t **out, cdu_error *error)
{
    char *text = NULL;
    size_t size = 0;
    json_error_t fault;
    CDU_TRY(read_text(folder, name, path, &text, &size, error));
    if (!text) return CDU_OK;
    *out = json_loadb(text, size, 0, &fault);
    free(text);
    if (*out) return CDU_OK;
    return cdu_fail(error, CDU_BAD_DATA, "%s:%d: %s; the file is damaged: delete it, and it is left out of the report", path, fault.line,
                    fault.text);
}

/* The classes of the first file that names them; those of later ones must be the same. */
static cdu_status take_classes(cdu_run_record *run, const char *path, size_t count, const char *const *names, cdu_error *error)
{
    if (!run->classes) {
        for (size_t c = 0; c < count; c++) CDU_TRY(cdu_copy_text(&run->class_names[run->classes++], names[c], error));
        return CDU_OK;
    }
    bool same = count == run->classes;
    for (size_t c = 0; same && c < count; c++) same = !strcasecmp(names[c], run->class_names[c]);
    if (same) return CDU_OK;
    return cdu_fail(error, CDU_BAD_DATA, "%s: its classes are not those of the run's other files (%zu beginning with '%s' here, %u beginning with "
                    "'%s' there): it belongs to another run", path, count, names[0], run->classes, run->class_names[0]);
}

static cdu_status take_json_classes(cdu_run_record *run, const char *path, const json_t *list, const char *key, cdu_error *error)
{
    const char *names[CDU_CLASS_LIMIT];
    size_t count = json_array_size(list);
    for (size_t c = 0; c < count; c++) {
        const json_t *color = json_object_get(json_array_get(list, c), "color");
        names[c] = json_string_value(json_object_get(json_array_get(list, c), key));
        for (size_t k = 0; k < 3; k++) run->colors[c][k] = (uint8_t)json_integer_value(json_array_get(color, k));
    }
    return take_classes(run, path, count, names, error);
}

static cdu_status read_files(cdu_run_record *run, cdu_error *error)
{
    char path[CDU_PATH_LIMIT], name[32];
    size_t size;
    CDU_TRY(cdu_path_join(path, run->folder, "log.csv", error));
    run->has_log = cdu_file_exists(path);
    if (run->has_log) {
        CDU_TRY(cdu_log_table_read(path, &run->log, error));
        CDU_TRY(take_classes(run, path, run->log.classes, (const char *const *)run->log.class_names, error));
    }
    CDU_TRY(read_json(run->folder, "run.json", path, &run->facts, error));
    if (run->facts) {
        CDU_TRY(check_facts(path, run->facts, error));
        CDU_TRY(take_json_classes(run, path, json_object_get(run->facts, "classes"), "name", error));
    }
    for (int s = 0; s < CDU_RUN_SPLITS; s++) {
        snprintf(name, sizeof name, "evaluation-%s.json", cdu_run_split_name(s));
        CDU_TRY(read_json(run->folder, name, path, &run->scores[s], error));
        if (!run->scores[s]) continue;
        CDU_TRY(cdu_run_check_scores(path, run->scores[s], error));
        CDU_TRY(take_json_classes(run, path, json_object_get(run->scores[s], "classes"), "class", error));
    }
    CDU_TRY(read_text(run->folder, "study.yaml", path, &run->study, &size, error));
    return read_text(run->folder, "command.txt", path, &run->command, &size, error);
}

static cdu_status name_of(const char *folder, char **out, cdu_error *error)
{
    char *whole = realpath(folder, NULL);
    const char *slash = whole ? strrchr(whole, '/') : NULL;
    cdu_status status = cdu_copy_text(out, slash && slash[1] ? slash + 1 : folder, error);
    free(whole);
    return status;
}

cdu_status cdu_run_record_read(const char *folder, cdu_run_record *out, cdu_error *error)
{
    /* black, green, red, yellow as in the paper, then what differs from them; used where no file tells the colours */
    static const uint8_t palette[][3] = {{0, 0, 0}, {0, 160, 0}, {200, 0, 0}, {230, 200, 0}, {0, 90, 200}, {150, 0, 170}, {0, 160, 170}, {150, 90, 30}};
    struct stat about;
    *out = (cdu_run_record){0};
    for (int c = 0; c < CDU_CLASS_LIMIT; c++) memcpy(out->colors[c], palette[c % 8], 3);
    if (stat(folder, &about) != 0 || !S_ISDIR(about.st_mode))
        return cdu_fail(error, CDU_BAD_DATA, "%s: there is no such folder", folder);
    cdu_status status = cdu_copy_text(&out->folder, folder, error);
    if (status == CDU_OK) status = name_of(folder, &out->name, error);
    if (status == CDU_OK) status = read_files(out, error);
    bool scored = false;
    for (int s = 0; s < CDU_RUN_SPLITS; s++) scored |= out->scores[s] != NULL;
    if (status == CDU_OK && !out->has_log && !scored)
        status = cdu_fail(error, CDU_BAD_DATA, "%s: no run lies here: there is neither log.csv nor evaluation-SPLIT.json", folder);
    out->steps_per_epoch = out->log.steps_per_epoch;
    if (out->facts && !out->steps_per_epoch)
        out->steps_per_epoch = (uint64_t)json_integer_value(json_object_get(out->facts, "steps_per_epoch"));
    if (status != CDU_OK) cdu_run_record_free(out);
    return status;
}

void cdu_run_record_free(cdu_run_record *run)
{
    free(run->folder);
    free(run->name);
    for (int c = 0; c < CDU_CLASS_LIMIT; c++) free(run->class_names[c]);
    cdu_log_table_free(&run->log);
    json_decref(run->facts);
    for (int s = 0; s < CDU_RUN_SPLITS; s++) json_decref(run->scores[s]);
    free(run->study);
    free(run->command);
    *run = (cdu_run_record){0};
}

static void list_classes(const cdu_run_record *run, char *out, size_t size)
{
    size_t used = 0;
    out[0] = 0;
    for (uint32_t c = 0; c < run->classes && used < size; c++)
        used += (size_t)snprintf(out + used, size - used, "%s%s", c ? ", " : "", run->class_names[c]);
}

cdu_status cdu_run_record_same_classes(const cdu_run_record *a, const cdu_run_record *b, cdu_error *error)
{
    char ours[256], theirs[256];
    bool same = a->classes == b->classes;
    for (uint32_t c = 0; same && c < a->classes; c++) same = !strcasecmp(a->class_names[c], b->class_names[c]);
    if (same) return CDU_OK;
    list_classes(a, ours, sizeof ours);
    list_classes(b, theirs, sizeof theirs);
    return cdu_fail(error, CDU_BAD_DATA, "%s has the classes %s, %s has %s; only runs with the same classes in the same order can be compared",
                    a->folder, ours, b->folder, theirs);
}
