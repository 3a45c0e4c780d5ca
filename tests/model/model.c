/* The network's tensors, initial weights and model files. */
#include "core/model/model.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "core/base/file.h"
#include "core/model/layers.h"
#include "core/model/safetensors.h"

static const cdu_model_settings paper = {CDU_MODEL_CDUNET, 32, 5, {6, 3}, 4, false, false, false};

static cdu_model_about example(void)
{
    cdu_model_about about = {.settings = paper, .mpp = 1.0, .tile = 64, .study = "a study", .training = "2 epochs"};
    about.settings.width = 2;
    about.settings.depth = 2;
    about.settings.cd_relu_before_batch_norm = true;
    for (int c = 0; c < 4; c++) snprintf(about.class_names[c], sizeof about.class_names[c], "class \"%d\" \xc3\xa4", c);
    about.class_colors[1][0] = 255;
    about.class_colors[2][2] = 7;
    return about;
}

Test(model, the_paper_s_network_has_7_766_147_parameters)
{
    cdu_model_settings unet = paper;
    unet.kind = CDU_MODEL_UNET;
    cr_expect_eq(cdu_model_parameters(&paper), 7766147);
    /* without the segment: 3*6+6+12 + 6*3+3+6 fewer */
    cr_expect_eq(cdu_model_parameters(&unet), 7766147 - 63);
    unet.classes = 7;
    cr_expect_eq(cdu_model_parameters(&unet), 7766147 - 63 + 3 * 33);
}

Test(model, settings_that_cannot_be_are_refused)
{
    cdu_error error = {0};
    cdu_weights weights;
    cdu_model_settings s[] = {paper, paper, paper, paper, paper, paper};
    s[0].width = 0;
    s[1].depth = 9;
    s[2].classes = 1;
    s[3].cd_filters[1] = 0;
    s[4].width = 512, s[4].depth = 8;
    s[5].kind = (cdu_model_kind)7;
    for (int i = 0; i < 6; i++) {
        cr_expect_eq(cdu_model_initialize(&s[i], 1, &weights, &error), CDU_BAD_DATA, "case %d", i);
        cr_expect_eq(cdu_model_parameters(&s[i]), 0);
    }
}

Test(model, initial_weights_are_he_s_and_known)
{
    cdu_error error = {0};
    cdu_weights weights, again, other, plain;
    cdu_model_settings unet = paper, cd = paper;
    unet.width = cd.width = 8;
    unet.kind = CDU_MODEL_UNET;
    cr_assert_eq(cdu_model_initialize(&cd, 1, &weights, &error), CDU_OK);
    cr_assert_eq(cdu_model_initialize(&cd, 1, &again, &error), CDU_OK);
    cr_assert_eq(cdu_model_initialize(&cd, 2, &other, &error), CDU_OK);
    cr_assert_eq(cdu_model_initialize(&unet, 1, &plain, &error), CDU_OK);
    const cdu_weight *w = cdu_weights_find(&weights, "down.4.1.0.weight");
    cr_assert(w && w->rank == 4 && w->dims[0] == 128 && w->dims[1] == 128 && w->dims[2] == 3 && w->dims[3] == 3);
    size_t count = 128 * 128 * 9;
    double sum = 0, squares = 0;
    for (size_t i = 0; i < count; i++) sum += w->data[i], squares += (double)w->data[i] * w->data[i];
    cr_expect_float_eq(sum / (double)count, 0, 3e-4);
    cr_expect_float_eq(sqrt(squares / (double)count), sqrt(2.0 / (128 * 9)), 3e-4);
    cr_expect(!memcmp(w->data, cdu_weights_find(&again, w->name)->data, 4 * count));
    cr_expect(!memcmp(w->data, cdu_weights_find(&plain, w->name)->data, 4 * count), "UNET begins as CD-UNET does");
    cr_expect(memcmp(w->data, cdu_weights_find(&other, w->name)->data, 4 * count) != 0);
    cr_expect_eq(cdu_weights_find(&weights, "up.0.weight")->dims[0], 128);
    cr_expect_eq(cdu_weights_find(&weights, "up.0.weight")->dims[1], 64);
    cr_expect_eq(cdu_weights_find(&weights, "cd.1.0.weight")->dims[1], 6);
    cr_expect_null(cdu_weights_find(&plain, "cd.0.0.weight"));
    cr_expect_eq(cdu_weights_find(&weights, "join.3.1.1.weight")->data[7], 1);
    cr_expect_eq(cdu_weights_find(&weights, "join.3.1.1.running_var")->data[7], 1);
    cr_expect_eq(cdu_weights_find(&weights, "join.3.1.1.running_mean")->data[7], 0);
    cr_expect_eq(cdu_weights_find(&weights, "out.bias")->data[3], 0);
    XXH64_hash_t hash = 0;
    for (size_t i = 0; i < weights.count; i++) {
        size_t n = 1;
        for (uint32_t d = 0; d < weights.items[i].rank; d++) n *= weights.items[i].dims[d];
        hash = XXH64(weights.items[i].data, 4 * n, hash);
    }
    cr_expect_eq(hash, 0x951014ce03f16a2ULL, "initial weights have changed: %llx", (unsigned long long)hash);
    cdu_weights_free(&weights);
    cdu_weights_free(&again);
    cdu_weights_free(&other);
    cdu_weights_free(&plain);
}

static const char *path_for(const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "/tmp/cdunet-test-%ld-%s", (long)getpid(), name);
    return path;
}

Test(model, a_model_file_reads_back)
{
    cdu_error error = {0};
    cdu_model_about about = example(), back;
    cdu_weights weights, read;
    const char *path = path_for("model.safetensors");
    cr_assert_eq(cdu_model_initialize(&about.settings, 3, &weights, &error), CDU_OK);
    cr_assert_eq(cdu_model_write(path, &about, &weights, &error), CDU_OK, "%s", error.words);
    cr_assert_eq(cdu_model_read(path, &back, &read, &error), CDU_OK, "%s", error.words);
    cr_expect(!memcmp(&about, &back, sizeof about), "settings, names, colours, study come back");
    cr_assert_eq(weights.count, read.count);
    for (size_t i = 0; i < read.count; i++) {
        cr_expect_str_eq(read.items[i].name, weights.items[i].name);
        cr_expect_eq(read.items[i].data[0], weights.items[i].data[0]);
    }
    cdu_weights_free(&weights);
    cdu_weights_free(&read);
    unlink(path);
}

/* One model file with a change in its metadata or tensors, made by hand. */
static void expect_refusal(const char *key, const char *value, float poison, const char *word)
{
    cdu_error error = {0};
    cdu_model_about about = example(), back;
    cdu_weights weights, read;
    cdu_safe_file file;
    const char *path = path_for("bad.safetensors");
    cr_assert_eq(cdu_model_initialize(&about.settings, 3, &weights, &error), CDU_OK);
    if (poison != 0) weights.items[4].data[0] = poison;
    cr_assert_eq(cdu_model_write(path, &about, &weights, &error), CDU_OK);
    cr_assert_eq(cdu_safe_read(path, &file, &error), CDU_OK);
    if (key) cr_assert_eq(cdu_safe_set(&file, key, value, &error), CDU_OK);
    cr_assert_eq(cdu_safe_seal(&file, &error), CDU_OK);
    cr_assert_eq(cdu_safe_write(path, &file, &error), CDU_OK);
    cdu_status status = cdu_model_read(path, &back, &read, &error);
    cr_expect_eq(status, CDU_BAD_DATA, "%s = %s was taken", key ? key : "weight", value ? value : "");
    cr_expect(strstr(error.words, word) && strstr(error.words, path), "%s = %s: %s", key ? key : "weight", value ? value : "",
              error.words);
    cdu_safe_free(&file);
    cdu_weights_free(&weights);
    unlink(path);
}

Test(model, files_of_other_settings_are_refused)
{
    expect_refusal("width", "4", 0, "shape");
    expect_refusal("depth", "3", 0, "missing");
    expect_refusal("depth", "1", 0, "no place");
    expect_refusal("kind", "unet", 0, "no place");
    expect_refusal("kind", "transformer", 0, "kind");
    expect_refusal("classes", "5", 0, "class-names");
    expect_refusal("classes", "1000", 0, "classes");
    expect_refusal("width", "-1", 0, "width");
    expect_refusal("width", "2x", 0, "width");
    expect_refusal("cd-filters", "6", 0, "cd-filters");
    expect_refusal("cd-filters", "6,4", 0, "shape");
    expect_refusal("mpp", "nan", 0, "mpp");
    expect_refusal("tile", "63", 0, "tile");
    expect_refusal("class-names", "[\"a\",\"b\"]", 0, "class-names");
    expect_refusal("class-colors", "[\"red\",\"b\",\"c\",\"d\"]", 0, "class-colors");
    expect_refusal("order", "sideways", 0, "order");
    expect_refusal("cdunet", "2", 0, "version");
    expect_refusal(NULL, NULL, NAN, "element 0");
    expect_refusal(NULL, NULL, INFINITY, "element 0");
}
Test(model, a_graph_of_a_size_that_does_not_fit_is_refused)
{
    cdu_error error = {0};
    cdu_training_graph out;
    cr_expect_eq(cdu_model_build_training(NULL, &paper, 1, 500, 512, false, &out, &error), CDU_USAGE);
    cr_expect(strstr(error.words, "512 x 496"), "%s", error.words);
    cr_expect_eq(cdu_model_build_training(NULL, &paper, 0, 512, 512, false, &out, &error), CDU_USAGE);
}

static void expect_same_tensors(cdu_model_settings settings)
{
    cdu_error error = {0};
    cdu_training_graph values;
    cdu_graph *graph;
    cdu_layer layers[CDU_LAYERS];
    cdu_layer_tensor tensors[CDU_LAYER_TENSORS];
    uint32_t in_graph = 0, in_list = 0, count = cdu_model_layers(&settings, layers);
    cr_assert_eq(cdu_graph_create(&graph, &error), CDU_OK);
    cr_assert_eq(cdu_model_build_training(graph, &settings, 1, 64, 32, false, &values, &error), CDU_OK, "%s", error.words);
    for (uint32_t v = 0; v < cdu_graph_values(graph); v++) {
        cdu_value_kind kind = cdu_graph_value(graph, (cdu_value)v)->kind;
        in_graph += kind == CDU_VALUE_PARAMETER || kind == CDU_VALUE_STATE;
    }
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t j = 0, n = cdu_layer_tensors(&layers[i], tensors); j < n; j++, in_list++) {
            cdu_value value = cdu_graph_find(graph, tensors[j].name);
            cr_assert_neq(value, CDU_NO_VALUE, "%s is not in the graph", tensors[j].name);
            const cdu_value_info *info = cdu_graph_value(graph, value);
            cr_expect(info->rank == tensors[j].rank && !memcmp(info->dims, tensors[j].dims, 4 * info->rank), "%s", info->name);
            cr_expect(info->init == tensors[j].init && (info->kind == CDU_VALUE_PARAMETER) == tensors[j].trained, "%s", info->name);
            if (info->init == CDU_INIT_HE)
                cr_expect_eq(info->fan_in, tensors[j].fan_in, "%s: %u, %u", info->name, info->fan_in, tensors[j].fan_in);
        }
    cr_expect_eq(in_graph, in_list);
    const cdu_value_info *logits = cdu_graph_value(graph, values.logits);
    cr_expect(logits->shape.h == 64 && logits->shape.w == 32 && logits->shape.c == settings.classes);
    cdu_graph_destroy(graph);
}

Test(model, graph_and_list_of_layers_have_the_same_tensors)
{
    cdu_model_settings s = paper;
    expect_same_tensors(s);
    s.kind = CDU_MODEL_UNET, s.width = 3, s.classes = 7, s.relu_before_batch_norm = true;
    expect_same_tensors(s);
    s.kind = CDU_MODEL_CDUNET, s.depth = 1, s.cd_filters[0] = 5, s.cd_filters[1] = 1;
    expect_same_tensors(s);
}
