/* cmd_evaluate.c: `cdunet evaluate STUDY --model M`: how well a model segments the slides of one split, as a table and as JSON. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/ops/open.h"
#include "core/train/evaluate.h"
#include "tools/commands.h"
#include "tools/options.h"

typedef struct {
    const char *study, *model, *split, *device, *json, *masks;
    uint64_t threads;
} request;

/* ---- the table ---- */

static void print_number(double x)
{
    if (isnan(x))
        printf("        -");
    else
        printf("   %.4f", x);
}

static const char *short_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static int widest(const cdu_study *study, const cdu_evaluation *e)
{
    size_t width = 10;
    for (size_t c = 0; c < study->class_count; c++)
        width = strlen(study->classes[c].name) > width ? strlen(study->classes[c].name) : width;
    for (size_t i = 0; i < e->stain_count; i++) width = strlen(e->stains[i].name) > width ? strlen(e->stains[i].name) : width;
    for (size_t i = 0; i < e->slide_count; i++) {
        size_t length = strlen(short_name(e->slides[i].name));
        width = length > width ? length : width;
    }
    return (int)(width < 48 ? width : 48);
}

static void print_classes(const cdu_study *study, const cdu_evaluation *e, int width)
{
    printf("%-*s precision   recall       F1      IoU        pixels\n", width, "class");
    for (uint32_t c = 0; c < e->confusion.classes; c++) {
        printf("%-*s ", width, study->classes[c].name);
        print_number(cdu_confusion_precision(&e->confusion, c));
        print_number(cdu_confusion_recall(&e->confusion, c));
        print_number(cdu_confusion_f1(&e->confusion, c));
        print_number(cdu_confusion_iou(&e->confusion, c));
        printf("  %12llu\n", (unsigned long long)cdu_confusion_truth(&e->confusion, c));
    }
    printf("%-*s                   ", width, "macro F1");
    print_number(cdu_confusion_macro_f1(&e->confusion));
    printf("\n");
    for (uint32_t c = 0; c < e->confusion.classes; c++) {
        if (isnan(cdu_confusion_f1(&e->confusion, c))) {
            printf("%s is neither in the truth nor in the segmentation, and not in the macro F1\n", study->classes[c].name);
        }
    }
}

/* `files`: the parts are named by paths, of which the file's name is enough. */
static void print_parts(const cdu_study *study, const cdu_evaluation_part *parts, size_t count, bool files, const char *title, int width)
{
    printf("\n%-*s slides", width, title);
    for (size_t c = 0; c < study->class_count; c++) printf(" %10.10s", study->classes[c].name);
    printf("   macro F1\n");
    for (size_t i = 0; i < count; i++) {
        printf("%-*.*s %6u", width, width, files ? short_name(parts[i].name) : parts[i].name, parts[i].slides);
        for (uint32_t c = 0; c < study->class_count; c++) {
            printf("  ");
            print_number(cdu_confusion_f1(&parts[i].confusion, c));
        }
        printf("  ");
        print_number(cdu_confusion_macro_f1(&parts[i].confusion));
        printf("\n");
    }
}

static void print_table(const request *r, const cdu_study *study, const cdu_model_about *about, const cdu_evaluation *e)
{
    uint64_t pixels = 0;
    int width = widest(study, e);
    for (uint32_t c = 0; c < e->confusion.classes; c++) pixels += cdu_confusion_truth(&e->confusion, c);
    printf("%s, %s: %zu slide%s, %llu pixels of %g um, %llu more excluded; truth: %s\n\n", r->study, r->split, e->slide_count,
           e->slide_count == 1 ? "" : "s", (unsigned long long)pixels, about->mpp, (unsigned long long)e->excluded,
           r->masks ? r->masks : "annotations");
    print_classes(study, e, width);
    print_parts(study, e->stains, e->stain_count, false, "F1 by stain", width);
    print_parts(study, e->slides, e->slide_count, true, "F1 by slide", width);
}

/* ---- JSON ---- */

static json_t *number(double x)
{
    return isnan(x) ? json_null() : json_real(x);
}

/* Scores of one confusion matrix; rows of "confusion" are the truth. */
static json_t *scores(const cdu_study *study, const cdu_confusion *confusion)
{
    json_t *all = json_object(), *classes = json_array(), *matrix = json_array();
    for (uint32_t c = 0; c < confusion->classes; c++) {
        json_t *one = json_object(), *row = json_array();
        json_object_set_new(one, "class", json_string(study->classes[c].name));
        json_object_set_new(one, "precision", number(cdu_confusion_precision(confusion, c)));
        json_object_set_new(one, "recall", number(cdu_confusion_recall(confusion, c)));
        json_object_set_new(one, "f1", number(cdu_confusion_f1(confusion, c)));
        json_object_set_new(one, "iou", number(cdu_confusion_iou(confusion, c)));
        json_object_set_new(one, "pixels", json_integer((json_int_t)cdu_confusion_truth(confusion, c)));
        json_array_append_new(classes, one);
        for (uint32_t k = 0; k < confusion->classes; k++)
            json_array_append_new(row, json_integer((json_int_t)confusion->pixels[c][k]));
        json_array_append_new(matrix, row);
    }
    json_object_set_new(all, "macro_f1", number(cdu_confusion_macro_f1(confusion)));
    json_object_set_new(all, "classes", classes);
    json_object_set_new(all, "confusion", matrix);
    return all;
}

static json_t *parts(const cdu_study *study, const cdu_evaluation_part *from, size_t count, const char *key)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        json_t *one = json_object();
        json_object_set_new(one, key, json_string(from[i].name));
        if (strcmp(key, "stain"))
            json_object_set_new(one, "stain", json_string(from[i].stain));
        else
            json_object_set_new(one, "slides", json_integer(from[i].slides));
        json_t *of = scores(study, &from[i].confusion);
        json_object_update(one, of);
        json_decref(of);
        json_array_append_new(list, one);
    }
    return list;
}

static cdu_status write_json(const request *r, const cdu_study *study, const cdu_model_about *about, const char *device,
                             const cdu_evaluation *e, cdu_error *error)
{
    json_t *root = json_object();
    json_object_set_new(root, "study", json_string(r->study));
    json_object_set_new(root, "model", json_string(r->model));
    json_object_set_new(root, "split", json_string(r->split));
    json_object_set_new(root, "truth", json_string(r->masks ? r->masks : "annotations"));
    json_object_set_new(root, "mpp", json_real(about->mpp));
    json_object_set_new(root, "device", json_string(device));
    json_object_set_new(root, "excluded_pixels", json_integer((json_int_t)e->excluded));
    json_t *of = scores(study, &e->confusion);
    json_object_update(root, of);
    json_decref(of);
    json_object_set_new(root, "by_stain", parts(study, e->stains, e->stain_count, "stain"));
    json_object_set_new(root, "by_slide", parts(study, e->slides, e->slide_count, "slide"));
    char *text = json_dumps(root, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    json_decref(root);
    if (!text) return cdu_fail(error, CDU_FAILED, "%s: the scores could not be put into JSON", r->json);
    cdu_status status = cdu_file_write(r->json, text, strlen(text), error);
    free(text);
    return status;
}

/* ---- the command ---- */

static cdu_status find_split(const char *name, cdu_split *split, cdu_error *error)
{
    static const cdu_split all[] = {CDU_SPLIT_TRAIN, CDU_SPLIT_VALIDATION, CDU_SPLIT_TEST};
    for (int i = 0; i < 3; i++) {
        if (strcmp(name, cdu_split_name(all[i]))) continue;
        *split = all[i];
        return CDU_OK;
    }
    return cdu_fail(error, CDU_USAGE, "--split: '%s' is none of train, validation, test", name);
}

static cdu_status evaluate(const request *r, const cdu_study *study, const cdu_model_about *about, const cdu_weights *weights,
                           cdu_error *error)
{
    cdu_evaluation_settings settings = {
        .study = study, .about = about, .weights = weights, .masks = r->masks, .threads = (uint32_t)r->threads};
    cdu_evaluation evaluation;
    cdu_gpu gpu;
    CDU_TRY(find_split(r->split, &settings.split, error));
    cdu_status status = cdu_evaluation_check_classes(study, about, error);
    if (status != CDU_OK) return cdu_error_prefix(error, "%s", r->model);
    CDU_TRY(cdu_open_device(r->device, false, &gpu, error));
    status = cdu_evaluate(&settings, &gpu, &evaluation, error);
    if (status == CDU_OK) {
        print_table(r, study, about, &evaluation);
        if (r->json) status = write_json(r, study, about, gpu.id, &evaluation, error);
        cdu_evaluation_free(&evaluation);
    }
    cdu_gpu_close(&gpu);
    return status;
}

cdu_status cmd_evaluate(int argc, char **argv, cdu_error *error)
{
    request r = {0};
    const cdu_option options[] = {
        {.name = "model",
         .letter = 'm',
         .type = CDU_OPTION_TEXT,
         .value = &r.model,
         .argument = "M",
         .required = true,
         .help = "model.safetensors of a run"},
        {.name = "split",
         .type = CDU_OPTION_TEXT,
         .value = &r.split,
         .argument = "S",
         .fallback = "test",
         .help = "test, validation or train"},
        {.name = "device",
         .letter = 'd',
         .type = CDU_OPTION_TEXT,
         .value = &r.device,
         .argument = "D",
         .fallback = "auto",
         .help = "opencl:0, vulkan:1, a part of the device's name, or auto"},
        {.name = "json", .type = CDU_OPTION_TEXT, .value = &r.json, .argument = "F", .help = "also write the scores to this file"},
        {.name = "masks",
         .type = CDU_OPTION_TEXT,
         .value = &r.masks,
         .argument = "DIR",
         .help = "score on label maps DIR/NAME.tif instead of the annotations (phantoms have exact ones)"},
        {.name = "threads",
         .letter = 't',
         .type = CDU_OPTION_UNSIGNED,
         .value = &r.threads,
         .argument = "N",
         .fallback = "0",
         .most = 64,
         .help = "threads that draw the truth; 0: as many as there are processors"},
        {0}};
    const cdu_positional positionals[] = {{.name = "STUDY", .value = &r.study, .help = "the study file (YAML)"}, {0}};
    const cdu_usage usage = {
        "evaluate", "scores a model on the slides of a study",
        "Slides are segmented whole at the model's resolution; every pixel counts once, excluded ones not at all.", options,
        positionals};
    bool done = false;
    CDU_TRY(cdu_options_parse(&usage, argc, argv, &done, error));
    if (done) return CDU_OK;
    cdu_study *study = NULL;
    cdu_model_about about;
    cdu_weights weights = {0};
    cdu_split split;
    CDU_TRY(find_split(r.split, &split, error));
    if (r.json && (cdu_file_same(r.json, r.model) || cdu_file_same(r.json, r.study)))
        return cdu_fail(error, CDU_USAGE, "%s is named twice; every file needs a name of its own", r.json);
    CDU_TRY(cdu_study_read(r.study, &study, error));
    cdu_status status = cdu_model_read(r.model, &about, &weights, error);
    if (status == CDU_OK && r.json) status = cdu_file_try(r.json, error);
    if (status == CDU_OK) status = evaluate(&r, study, &about, &weights, error);
    cdu_weights_free(&weights);
    cdu_study_free(study);
    return status;
}
