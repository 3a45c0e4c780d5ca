/* facts.c: see facts.h. */
#include "core/train/facts.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "core/base/file.h"

static uint64_t host_peak(void)
{
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) == 0 ? (uint64_t)usage.ru_maxrss * 1024 : 0;
}

/* When the run began: as its run.json says, else now. */
static double began(const char *path)
{
    json_t *old = cdu_file_exists(path) ? json_load_file(path, 0, NULL) : NULL;
    double then = json_number_value(json_object_get(old, "began"));
    json_decref(old);
    return then > 0 ? then : (double)time(NULL);
}

static json_t *counts(const uint64_t *from, size_t count)
{
    json_t *list = json_array();
    for (size_t c = 0; c < count; c++) json_array_append_new(list, json_integer((json_int_t)from[c]));
    return list;
}

static json_t *training_data(const cdu_run_facts *f)
{
    json_t *data = json_object(), *weights = json_array();
    for (size_t c = 0; c < f->study->class_count; c++) json_array_append_new(weights, json_real((double)f->class_weights[c]));
    json_object_set_new(data, "tiles", json_integer((json_int_t)f->index->count));
    json_object_set_new(data, "tile_pixels", counts(f->index->class_pixels, f->study->class_count));
    json_object_set_new(data, "slide_pixels", counts(f->index->slide_class_pixels, f->study->class_count));
    json_object_set_new(data, "class_weights", weights);
    json_object_set_new(data, "unreadable_tiles", json_integer((json_int_t)f->unreadable.unreadable_tiles));
    json_object_set_new(data, "unreadable_slides", json_integer((json_int_t)f->unreadable.unreadable_slides));
    return data;
}

static json_t *ranks(const cdu_team *team)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < team->size; i++)
        json_array_append_new(list, json_pack("{s:s, s:I}", "name", team->names[i].words, "tiles_a_step", (json_int_t)team->shares[i]));
    return list;
}

static json_t *slides(const cdu_study *study)
{
    static const char *const splits[] = {"train", "validation", "test"};
    json_t *list = json_array();
    for (size_t i = 0; i < study->slide_count; i++) {
        const cdu_study_slide *s = &study->slides[i];
        json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s, s:b}", "slide", s->slide, "stain", s->stain ? s->stain : "", "case",
                                              s->case_name ? s->case_name : "", "split", splits[s->split], "annotated",
                                              s->annotation != NULL));
    }
    return list;
}

static json_t *classes(const cdu_study *study)
{
    json_t *list = json_array();
    for (size_t c = 0; c < study->class_count; c++) {
        const cdu_class *k = &study->classes[c];
        json_array_append_new(list, json_pack("{s:s, s:[i, i, i]}", "name", k->name, "color", k->color[0], k->color[1], k->color[2]));
    }
    return list;
}

cdu_status cdu_run_facts_write(const char *folder, const cdu_run_facts *f, cdu_error *error)
{
    char path[CDU_PATH_LIMIT];
    const cdu_device_info *info = &f->gpu->info;
    CDU_TRY(cdu_path_join(path, folder, "run.json", error));
    json_t *root = json_pack("{s:i, s:f, s:f, s:{s:s, s:s, s:s, s:s, s:I}}", "format", 1, "began", f->began > 0 ? f->began : began(path),
                             "written", (double)time(NULL), "device", "id", f->gpu->id, "name", info->name, "vendor", info->vendor,
                             "driver", info->driver, "memory", (json_int_t)info->memory);
    if (!root) return cdu_fail(error, CDU_FAILED, "%s: the device's name could not be put into JSON", path);
    json_object_set_new(root, "study", json_string(f->study->name ? f->study->name : ""));
    json_object_set_new(root, "network", json_string(f->study->model.kind == CDU_MODEL_UNET ? "UNET" : "CD-UNET"));
    json_object_set_new(root, "parameters", json_integer((json_int_t)f->parameters));
    json_object_set_new(root, "device_bytes", json_integer((json_int_t)f->planned_bytes));
    json_object_set_new(root, "host_peak_bytes", json_integer((json_int_t)host_peak()));
    json_object_set_new(root, "steps_per_epoch", json_integer((json_int_t)f->steps_per_epoch));
    json_object_set_new(root, "classes", classes(f->study));
    json_object_set_new(root, "training", training_data(f));
    json_object_set_new(root, "slides", slides(f->study));
    if (f->team && f->team->size > 1) json_object_set_new(root, "ranks", ranks(f->team));
    char *text = json_dumps(root, JSON_INDENT(1) | JSON_REAL_PRECISION(12));
    json_decref(root);
    if (!text) return cdu_fail(error, CDU_FAILED, "%s: the run's facts could not be put into JSON", path);
    cdu_status status = cdu_file_write(path, text, strlen(text), error);
    free(text);
    return status;
}
