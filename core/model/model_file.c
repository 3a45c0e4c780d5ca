/* model_file.c: weights and what they belong to as one safetensors file, which PyTorch's load_state_dict takes as it is. */
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/model/layers.h"
#include "core/model/model_file.h"

static const char format_key[] = "cdunet", format_version[] = "1";

static cdu_status set_number(cdu_safe_file *file, const char *key, uint64_t value, cdu_error *error)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, value);
    return cdu_safe_set(file, key, text, error);
}

static cdu_status set_json(cdu_safe_file *file, const char *key, json_t *value, cdu_error *error)
{
    char *text = json_dumps(value, JSON_COMPACT);
    json_decref(value);
    if (!text) return cdu_fail(error, CDU_FAILED, "model metadata: %s is not UTF-8", key);
    cdu_status status = cdu_safe_set(file, key, text, error);
    free(text);
    return status;
}

static const char *order_name(bool relu_first)
{
    return relu_first ? "relu-bn" : "bn-relu";
}

cdu_status cdu_model_describe(cdu_safe_file *file, const cdu_model_about *about, cdu_error *error)
{
    const cdu_model_settings *s = &about->settings;
    json_t *names = json_array(), *colors = json_array();
    for (uint32_t c = 0; c < s->classes; c++) {
        char color[8];
        snprintf(color, sizeof color, "#%02x%02x%02x", about->class_colors[c][0], about->class_colors[c][1],
                 about->class_colors[c][2]);
        json_array_append_new(names, json_string(about->class_names[c]));
        json_array_append_new(colors, json_string(color));
    }
    cdu_status status = set_json(file, "class-names", names, error), second = set_json(file, "class-colors", colors, error);
    if (status != CDU_OK || second != CDU_OK) return status != CDU_OK ? status : second;
    char text[64];
    snprintf(text, sizeof text, "%.17g", about->mpp);
    CDU_TRY(cdu_safe_set(file, "mpp", text, error));
    snprintf(text, sizeof text, "%u,%u", s->cd_filters[0], s->cd_filters[1]);
    CDU_TRY(cdu_safe_set(file, "cd-filters", text, error));
    CDU_TRY(cdu_safe_set(file, format_key, format_version, error));
    CDU_TRY(cdu_safe_set(file, "format", "pt", error));
    CDU_TRY(cdu_safe_set(file, "kind", s->kind == CDU_MODEL_UNET ? "unet" : "cdunet", error));
    CDU_TRY(set_number(file, "width", s->width, error));
    CDU_TRY(set_number(file, "depth", s->depth, error));
    CDU_TRY(set_number(file, "classes", s->classes, error));
    CDU_TRY(cdu_safe_set(file, "input", s->bgr ? "bgr" : "rgb", error));
    CDU_TRY(cdu_safe_set(file, "order", order_name(s->relu_before_batch_norm), error));
    CDU_TRY(cdu_safe_set(file, "cd-order", order_name(s->cd_relu_before_batch_norm), error));
    CDU_TRY(set_number(file, "tile", about->tile, error));
    CDU_TRY(cdu_safe_set(file, "study", about->study, error));
    return cdu_safe_set(file, "training", about->training, error);
}

cdu_status cdu_model_add_tensors(cdu_safe_file *file, const cdu_model_settings *settings, const cdu_weights *weights,
                                 const int64_t *batches, cdu_error *error)
{
    cdu_layer layers[CDU_LAYERS];
    cdu_layer_tensor tensors[CDU_LAYER_TENSORS];
    CDU_TRY(cdu_model_check(settings, error));
    uint32_t count = cdu_model_layers(settings, layers);
    for (uint32_t i = 0; i < count; i++) {
        char name[CDU_NAME_LIMIT];
        for (uint32_t j = 0, n = cdu_layer_tensors(&layers[i], tensors); j < n; j++) {
            const cdu_weight *weight = cdu_weights_find(weights, tensors[j].name);
            if (!weight || weight->rank != tensors[j].rank ||
                memcmp(weight->dims, tensors[j].dims, weight->rank * sizeof *weight->dims) != 0)
                return cdu_fail(error, CDU_FAILED, "tensor %s is missing or of another shape", tensors[j].name);
            uint64_t dims[4] = {weight->dims[0], weight->dims[1], weight->dims[2], weight->dims[3]};
            CDU_TRY(cdu_safe_add(file, weight->name, CDU_SAFE_F32, dims, weight->rank, weight->data, error));
        }
        if (!layers[i].batch_norm[0]) continue;
        snprintf(name, sizeof name, "%s.num_batches_tracked", layers[i].batch_norm);
        CDU_TRY(cdu_safe_add(file, name, CDU_SAFE_I64, NULL, 0, batches, error));
    }
    return CDU_OK;
}

cdu_status cdu_model_write(const char *path, const cdu_model_about *about, const cdu_weights *weights, cdu_error *error)
{
    cdu_safe_file file = {0};
    static const int64_t no_batches = 0;
    cdu_status status = cdu_model_describe(&file, about, error);
    if (status == CDU_OK) status = cdu_model_add_tensors(&file, &about->settings, weights, &no_batches, error);
    if (status == CDU_OK) status = cdu_safe_seal(&file, error);
    if (status == CDU_OK) status = cdu_safe_write(path, &file, error);
    cdu_safe_free(&file);
    return status;
}

/* What is read, where from, and where words go. */
typedef struct {
    const cdu_safe_file *file;
    const char *name;
    cdu_error *error;
} source;

static cdu_status get_text(const source *from, const char *key, const char **out)
{
    *out = cdu_safe_metadata(from->file, key);
    return *out ? CDU_OK : cdu_fail(from->error, CDU_BAD_DATA, "%s: __metadata__ has no '%s'", from->name, key);
}

static cdu_status refuse(const source *from, const char *key, const char *text, const char *wanted)
{
    return cdu_fail(from->error, CDU_BAD_DATA, "%s: __metadata__ '%s' is '%.60s', not %s", from->name, key, text, wanted);
}

static cdu_status get_number(const source *from, const char *key, uint32_t *out)
{
    const char *text;
    char *end;
    CDU_TRY(get_text(from, key, &text));
    unsigned long value = strtoul(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end || value > 1000000) return refuse(from, key, text, "a number from 0 to 1000000");
    *out = (uint32_t)value;
    return CDU_OK;
}

/* *out: whether the value is `yes`; it must be `yes` or `no` */
static cdu_status get_choice(const source *from, const char *key, const char *yes, const char *no, bool *out)
{
    const char *text;
    CDU_TRY(get_text(from, key, &text));
    *out = !strcmp(text, yes);
    if (*out || !strcmp(text, no)) return CDU_OK;
    char wanted[48];
    snprintf(wanted, sizeof wanted, "%s or %s", yes, no);
    return refuse(from, key, text, wanted);
}

static cdu_status get_list(const source *from, const char *key, uint32_t count, json_t **out)
{
    const char *text;
    CDU_TRY(get_text(from, key, &text));
    *out = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    bool good = json_is_array(*out) && json_array_size(*out) == count;
    for (uint32_t i = 0; good && i < count; i++) good = json_is_string(json_array_get(*out, i));
    if (good) return CDU_OK;
    json_decref(*out);
    return refuse(from, key, text, "a JSON list of one text a class");
}

static cdu_status read_classes(const source *from, cdu_model_about *about)
{
    json_t *list;
    cdu_status status = CDU_OK;
    uint32_t count = about->settings.classes;
    CDU_TRY(get_list(from, "class-names", count, &list));
    for (uint32_t c = 0; c < count && status == CDU_OK; c++) {
        const char *name = json_string_value(json_array_get(list, c));
        if (!name[0] || strlen(name) >= sizeof about->class_names[c])
            status = refuse(from, "class-names", name, "of 1 to 47 bytes");
        else
            snprintf(about->class_names[c], sizeof about->class_names[c], "%s", name);
    }
    json_decref(list);
    CDU_TRY(status);
    CDU_TRY(get_list(from, "class-colors", count, &list));
    for (uint32_t c = 0; c < count && status == CDU_OK; c++) {
        const char *color = json_string_value(json_array_get(list, c));
        char *end = NULL;
        unsigned long rgb = strlen(color) == 7 && color[0] == '#' && strspn(color + 1, "0123456789abcdefABCDEF") == 6
                                ? strtoul(color + 1, &end, 16)
                                : 0;
        if (!end) status = refuse(from, "class-colors", color, "like #00a000");
        for (int i = 0; i < 3; i++) about->class_colors[c][i] = (uint8_t)(rgb >> (16 - 8 * i));
    }
    json_decref(list);
    return status;
}

static cdu_status read_about(const source *from, cdu_model_about *about)
{
    cdu_model_settings *s = &about->settings;
    const char *text;
    char *end;
    bool unet;
    text = cdu_safe_metadata(from->file, format_key);
    if (!text)
        return cdu_fail(from->error, CDU_BAD_DATA, "%s: is no model of cdunet: __metadata__ has no '%s'", from->name, format_key);
    if (strcmp(text, format_version) != 0) return refuse(from, format_key, text, "version 1, which this program reads");
    CDU_TRY(get_choice(from, "kind", "unet", "cdunet", &unet));
    s->kind = unet ? CDU_MODEL_UNET : CDU_MODEL_CDUNET;
    CDU_TRY(get_number(from, "width", &s->width));
    CDU_TRY(get_number(from, "depth", &s->depth));
    CDU_TRY(get_number(from, "classes", &s->classes));
    CDU_TRY(get_text(from, "cd-filters", &text));
    int used = 0;
    if (strspn(text, "0123456789,") != strlen(text) || strlen(text) > 15 ||
        sscanf(text, "%u,%u%n", &s->cd_filters[0], &s->cd_filters[1], &used) != 2 || text[used])
        return refuse(from, "cd-filters", text, "two numbers like 6,3");
    CDU_TRY(get_choice(from, "input", "bgr", "rgb", &s->bgr));
    CDU_TRY(get_choice(from, "order", "relu-bn", "bn-relu", &s->relu_before_batch_norm));
    CDU_TRY(get_choice(from, "cd-order", "relu-bn", "bn-relu", &s->cd_relu_before_batch_norm));
    if (cdu_model_check(s, from->error) != CDU_OK)
        return from->error ? cdu_error_prefix(from->error, "%s", from->name) : CDU_BAD_DATA;
    CDU_TRY(get_text(from, "mpp", &text));
    about->mpp = strtod(text, &end);
    if (end == text || *end || !(about->mpp > 0.01 && about->mpp < 1000))
        return refuse(from, "mpp", text, "micrometres per pixel from 0.01 to 1000");
    CDU_TRY(get_number(from, "tile", &about->tile));
    if (about->tile % (1u << (s->depth - 1)) || !about->tile || about->tile > 16384)
        return refuse(from, "tile", cdu_safe_metadata(from->file, "tile"), "a multiple of 2^(depth-1) up to 16384");
    CDU_TRY(get_text(from, "study", &text));
    snprintf(about->study, sizeof about->study, "%s", text);
    CDU_TRY(get_text(from, "training", &text));
    snprintf(about->training, sizeof about->training, "%s", text);
    return read_classes(from, about);
}

static cdu_status read_tensor(const source *from, const cdu_layer_tensor *wanted, cdu_weight *out)
{
    const cdu_safe_tensor *tensor = cdu_safe_find(from->file, wanted->name);
    if (!tensor)
        return cdu_fail(from->error, CDU_BAD_DATA, "%s: tensor %s is missing, which the settings in its __metadata__ want",
                        from->name, wanted->name);
    bool same = tensor->type == CDU_SAFE_F32 && tensor->rank == wanted->rank;
    for (uint32_t i = 0; same && i < wanted->rank; i++) same = tensor->dims[i] == wanted->dims[i];
    if (!same)
        return cdu_fail(from->error, CDU_BAD_DATA,
                        "%s: tensor %s is not F32 of the shape that the settings in its __metadata__ want", from->name,
                        wanted->name);
    memcpy(out->name, wanted->name, sizeof out->name);
    memcpy(out->dims, wanted->dims, sizeof out->dims);
    out->rank = wanted->rank;
    CDU_TRY(cdu_allocate(&out->data, tensor->bytes / sizeof(float), sizeof(float), from->error));
    memcpy(out->data, tensor->data, tensor->bytes);
    bool variance = strstr(wanted->name, "running_var") != NULL;
    for (uint64_t i = 0; i < tensor->bytes / sizeof(float); i++)
        if (!isfinite(out->data[i]) || (variance && out->data[i] < 0))
            return cdu_fail(from->error, CDU_BAD_DATA, "%s: tensor %s: element %" PRIu64 " is %g", from->name, wanted->name, i,
                            (double)out->data[i]);
    return CDU_OK;
}

cdu_status cdu_model_take(const char *name, const cdu_safe_file *file, cdu_model_about *about, cdu_weights *weights,
                          cdu_error *error)
{
    cdu_layer layers[CDU_LAYERS];
    cdu_layer_tensor tensors[CDU_LAYER_TENSORS];
    source from = {file, name, error};
    *weights = (cdu_weights){0};
    memset(about, 0, sizeof *about);
    CDU_TRY(read_about(&from, about));
    CDU_TRY(cdu_allocate(&weights->items, CDU_LAYERS * CDU_LAYER_TENSORS, sizeof *weights->items, error));
    uint32_t count = cdu_model_layers(&about->settings, layers);
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t j = 0, n = cdu_layer_tensors(&layers[i], tensors); j < n; j++) {
            cdu_status status = read_tensor(&from, &tensors[j], &weights->items[weights->count++]);
            if (status != CDU_OK) return cdu_weights_free(weights), status;
        }
    return CDU_OK;
}

static cdu_status refuse_strangers(const char *path, const cdu_safe_file *file, const cdu_weights *weights, cdu_error *error)
{
    static const char counter[] = ".num_batches_tracked";
    for (size_t i = 0; i < file->tensor_count; i++) {
        const char *name = file->tensors[i].name;
        size_t length = strlen(name), end = sizeof counter - 1;
        bool of_checkpoint = !strcmp(name, "momentum") && cdu_safe_metadata(file, "run-settings");
        if (of_checkpoint || cdu_weights_find(weights, name) || (length > end && !strcmp(name + length - end, counter))) continue;
        return cdu_fail(error, CDU_BAD_DATA,
                        "%s: tensor '%.80s' has no place in the network that the settings in its __metadata__ describe", path,
                        name);
    }
    return CDU_OK;
}

cdu_status cdu_model_read(const char *path, cdu_model_about *about, cdu_weights *weights, cdu_error *error)
{
    cdu_safe_file file;
    CDU_TRY(cdu_safe_read(path, &file, error));
    cdu_status status = cdu_safe_verify(&file, path, false, error);
    if (status == CDU_OK) status = cdu_model_take(path, &file, about, weights, error);
    if (status == CDU_OK && (status = refuse_strangers(path, &file, weights, error)) != CDU_OK) cdu_weights_free(weights);
    cdu_safe_free(&file);
    return status;
}
