/* write.c: a study as YAML, every setting in full. Texts are written as JSON strings, which YAML's double quotes take as they are. */
#include <jansson.h>
#include <stdio.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/base/memory.h"
#include "core/study/keys.h"

typedef struct {
    char *text;
    size_t size, capacity;
    cdu_status status;                 /* the first failure; later calls do nothing */
    cdu_error *error;
} writer;

__attribute__((format(printf, 2, 3))) static void put(writer *w, const char *format, ...)
{
    char part[8192];
    if (w->status != CDU_OK) return;
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(part, sizeof part, format, arguments);
    va_end(arguments);
    if (length < 0 || (size_t)length >= sizeof part) {
        w->status = cdu_fail(w->error, CDU_FAILED, "a text of %d bytes is too long for a study file", length);
        return;
    }
    w->status = cdu_grow(&w->text, &w->capacity, w->size + (size_t)length + 1, 1, w->error);
    if (w->status != CDU_OK) return;
    memcpy(w->text + w->size, part, (size_t)length + 1);
    w->size += (size_t)length;
}

static void put_text(writer *w, const char *text)
{
    json_t *value = json_string(text);
    char *quoted = value ? json_dumps(value, JSON_ENCODE_ANY) : NULL;
    json_decref(value);
    if (quoted) put(w, "%s", quoted);
    else if (w->status == CDU_OK) w->status = cdu_fail(w->error, CDU_BAD_DATA, "'%.200s' is not UTF-8 and cannot stand in a study file", text);
    free(quoted);
}

static void put_list(writer *w, char *const *list, size_t count)
{
    put(w, "[");
    for (size_t i = 0; i < count; i++) {
        if (i) put(w, ", ");
        put_text(w, list[i]);
    }
    put(w, "]");
}

/* The shortest form that reads back as the same number, with a point whatever the locale. */
static void put_number(writer *w, double value)
{
    char text[40];
    for (int digits = 6; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value) break;
    }
    char *comma = strchr(text, ',');
    if (comma) *comma = '.';
    put(w, "%s", text);
}

typedef struct {
    int value;
    const char *word;
} choice;
#define CHOICE(value, word) {value, word},
#define CHOICES(name, list) static const choice choices_##name[] = {list(CHOICE)};
CDU_STUDY_WORDS(CHOICES)

static void put_choice(writer *w, const choice *list, size_t count, int value)
{
    for (size_t i = 0; i < count; i++)
        if (list[i].value == value) {
            put(w, "%s", list[i].word);
            return;
        }
}
#define PUT_CHOICE(w, list, value) put_choice((w), choices_##list, sizeof choices_##list / sizeof *choices_##list, (int)(value))

#define WRITE_U(section, member, key, ...) put(w, "  " key ": %llu\n", (unsigned long long)study->section.member);
#define WRITE_D(section, member, key, ...) put(w, "  " key ": "), put_number(w, study->section.member), put(w, "\n");
#define WRITE_E(section, member, key, list) put(w, "  " key ": "), PUT_CHOICE(w, list, study->section.member), put(w, "\n");

static void put_classes(writer *w, const cdu_study *study)
{
    put(w, "classes:\n");
    for (size_t i = 0; i < study->class_count; i++) {
        const cdu_class *class = &study->classes[i];
        put(w, "  - {name: ");
        put_text(w, class->name);
        put(w, ", color: \"#%02x%02x%02x\", also: ", class->color[0], class->color[1], class->color[2]);
        put_list(w, class->also, class->also_count);
        put(w, "}\n");
    }
    put(w, "annotations:\n  exclude: ");
    put_list(w, study->exclude, study->exclude_count);
    put(w, "\n  overlap: ");
    put_list(w, study->overlap, study->overlap_count);
    put(w, "\n  unannotated: ");
    PUT_CHOICE(w, unannotated, study->unannotated_is_excluded);
    put(w, "\n  region: ");
    put_text(w, study->region ? study->region : "");
    put(w, "\n  unknown: ");
    PUT_CHOICE(w, unknown, study->unknown_is_excluded);
    put(w, "\n  bounds: ");
    PUT_CHOICE(w, bounds, study->bounds);
    put(w, "\n");
}

static void put_stains(writer *w, const cdu_study *study)
{
    if (study->stain_count) put(w, "stains:\n");
    for (size_t i = 0; i < study->stain_count; i++) {
        put(w, "  ");
        put_text(w, study->stains[i].name);
        put(w, ": ");
        put_list(w, study->stains[i].spellings, study->stains[i].spelling_count);
        put(w, "\n");
    }
}

static void put_sections(writer *w, const cdu_study *study)
{
    put(w, "split:\n  by: case\n");
    CDU_SPLIT_KEYS(WRITE_U, WRITE_U, WRITE_D, WRITE_E)
    put(w, "tiles:\n");
    CDU_TILES_KEYS(WRITE_U, WRITE_U, WRITE_D, WRITE_E)
    put(w, "model:\n");
    CDU_MODEL_KEYS(WRITE_U, WRITE_U, WRITE_D, WRITE_E)
    put(w, "  cd-filters: [%u, %u]\n", study->model.cd_filters[0], study->model.cd_filters[1]);
    put(w, "train:\n");
    CDU_TRAIN_KEYS(WRITE_U, WRITE_U, WRITE_D, WRITE_E)
    put(w, "augment:\n");
    CDU_AUGMENT_KEYS(WRITE_U, WRITE_U, WRITE_D, WRITE_E)
    put(w, "evaluate:\n");
    CDU_EVALUATE_KEYS(WRITE_U, WRITE_U, WRITE_D, WRITE_E)
    const char *by[3];
    size_t count = 0;
    if (study->evaluate.by_stain) by[count++] = "stain";
    if (study->evaluate.by_case) by[count++] = "case";
    if (study->evaluate.by_slide) by[count++] = "slide";
    put(w, "  by: [");
    for (size_t i = 0; i < count; i++) put(w, "%s%s", i ? ", " : "", by[i]);
    put(w, "]\n");
}

cdu_status cdu_study_write(const cdu_study *study, const char *path, const char *slides_path, cdu_error *error)
{
    writer w = {.error = error};
    put(&w, "format: 1\nname: ");
    put_text(&w, study->name ? study->name : "study");
    put(&w, "\nslides: ");
    put_text(&w, slides_path);
    put(&w, "\n");
    put_classes(&w, study);
    put_stains(&w, study);
    put_sections(&w, study);
    cdu_status status = w.status;
    if (status == CDU_OK) status = cdu_file_write(path, w.text, w.size, error);
    free(w.text);
    return status;
}
