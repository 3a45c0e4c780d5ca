/* parity_dump.c: trains the network for some steps on seeded inputs and writes all that came of it as a safetensors file, for tests/parity/run
 * to compare with PyTorch, and the initial weights as a model file, OUT.model. With the
 * device `none` only tiles and initial weights are written.
 * Usage: parity_dump DEVICE KIND WIDTH DEPTH BATCH SIZE ORDER CD-ORDER MEAN INPUT SEED STEPS RATE OUT [SHARES STATISTICS FAULT]
 * The last three are for tests/dist: started by mpiexec, ranks have SHARES ("3,1") of the batch and DEVICE is a list; STATISTICS of batch norm are local or
 * synchronized; FAULT is one to be found by the test: none, missing-bucket (rank 1 keeps its own gradients of the second bucket), or no fault but
 * "excluded": the last tile has no labelled pixel. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/debug.h"
#include "core/base/memory.h"
#include "core/base/random.h"
#include "core/model/model.h"
#include "core/model/safetensors.h"
#include "core/ops/ops.h"
#include "core/train/ranks.h"

enum { CLASSES = 4, PARITY_ARGUMENTS = 15, DIST_ARGUMENTS = 18, SMALL_BUCKET = 2048 };
static const float class_weight[CLASSES] = {0.5f, 1.0f, 1.2f, 2.0f}, momentum = 0.9f;

typedef struct {
    cdu_gpu gpu;
    cdu_graph *graph;
    cdu_training_graph values;
    cdu_program *program;
    cdu_safe_file out;
    uint32_t batch, size;
    uint64_t seed;
    cdu_team team;
    bool mean_of_pixels, synchronized, excluded;
} session;

/* Blocks of classes with ignored pixels among them, colours that go with the class, noise over all. */
static void make_tiles(const session *s, uint32_t *tiles)
{
    cdu_random noise = cdu_random_stream(s->seed, CDU_RANDOM_TEST, 0, 0);
    for (uint32_t n = 0; n < s->batch; n++)
        for (uint32_t y = 0; y < s->size; y++)
            for (uint32_t x = 0; x < s->size; x++) {
                cdu_random block = cdu_random_stream(s->seed, CDU_RANDOM_TEST, 1 + n, y / 8 * 1024 + x / 8);
                uint32_t label = cdu_random_below(&block, 5), pixel = 0;
                for (uint32_t c = 0; c < 3; c++) pixel |= (cdu_random_below(&noise, 96) + 40 * ((label + c) & 3)) << (8 * c);
                if (s->excluded && n + 1 == s->batch) label = 4;
                if (label == 4 || cdu_random_below(&noise, 16) == 0) label = 255;
                tiles[(n * s->size + y) * s->size + x] = pixel | label << 24;
            }
}

/* A copy that lives as long as the process, in the file to be written. */
static cdu_status keep(session *s, const char *prefix, const char *name, const uint32_t *dims, uint32_t rank, const float *data,
                       cdu_error *error)
{
    char full[CDU_NAME_LIMIT + 16];
    uint64_t wide[4], count = 1;
    float *copy;
    for (uint32_t i = 0; i < rank; i++) wide[i] = dims[i], count *= dims[i];
    CDU_TRY(cdu_allocate(&copy, count, sizeof *copy, error));
    memcpy(copy, data, count * sizeof *copy);
    snprintf(full, sizeof full, "%s%s", prefix, name);
    return cdu_safe_add(&s->out, full, CDU_SAFE_F32, wide, rank, copy, error);
}

static cdu_status keep_weights(session *s, const char *prefix, const cdu_weights *weights, cdu_error *error)
{
    for (size_t i = 0; i < weights->count; i++)
        CDU_TRY(
            keep(s, prefix, weights->items[i].name, weights->items[i].dims, weights->items[i].rank, weights->items[i].data, error));
    return CDU_OK;
}

static cdu_status keep_state(session *s, const char *prefix, cdu_error *error)
{
    cdu_weights weights;
    CDU_TRY(cdu_model_store(s->graph, s->program, &weights, error));
    cdu_status status = keep_weights(s, prefix, &weights, error);
    cdu_weights_free(&weights);
    return status;
}

static cdu_status keep_gradients(session *s, cdu_error *error)
{
    for (uint32_t v = 0; v < cdu_graph_values(s->graph); v++) {
        const cdu_value_info *info = cdu_graph_value(s->graph, (cdu_value)v);
        float *data;
        if (info->kind != CDU_VALUE_PARAMETER) continue;
        CDU_TRY(cdu_allocate(&data, cdu_value_elements(info), sizeof *data, error));
        cdu_status status = cdu_program_read_gradient(s->program, (cdu_value)v, data, error);
        if (status == CDU_OK) status = keep(s, "gradient.", info->name, info->dims, info->rank, data, error);
        free(data);
        CDU_TRY(status);
    }
    return CDU_OK;
}

static cdu_status keep_logits(session *s, cdu_error *error)
{
    uint32_t dims[4] = {s->batch, s->size, s->size, CLASSES};
    float *data;
    CDU_TRY(cdu_allocate(&data, (size_t)s->batch * s->size * s->size * CLASSES, sizeof *data, error));
    cdu_status status = cdu_program_read(s->program, s->values.logits, data, error);
    if (status == CDU_OK) status = keep(s, "", "logits", dims, 4, data, error);
    free(data);
    return status;
}

static cdu_status step(session *s, struct cdu_sgd_patch patch, float *loss, cdu_error *error)
{
    cdu_exchange_times times;
    float all[4];
    const cdu_team_part part = {.program = s->program, .loss = s->values.loss, .pixels = (uint64_t)s->team.batch * s->size * s->size,
                                .mean_of_pixels = s->mean_of_pixels};
    if (s->team.size > 1) return cdu_team_run(&s->team, &part, patch, loss, &times, error);
    CDU_TRY(cdu_program_run(s->program, &patch, sizeof patch, error));
    CDU_TRY(cdu_program_read(s->program, s->values.loss, all, error));
    *loss = all[0];
    return CDU_OK;
}

/* What the update multiplies summed gradients by. */
static cdu_status keep_scale(session *s, cdu_error *error)
{
    uint32_t one = 1;
    double pixels = (double)s->team.batch * s->size * s->size;
    float scale = s->mean_of_pixels ? 1 : (float)(pixels / cdu_team_told(&s->team, CDU_TOLD_DIVISOR));
    return keep(s, "", "scale", &one, 1, &scale, error);
}

/* The weights of all ranks have to be the same bytes. */
static cdu_status compare(session *s, uint32_t steps, cdu_error *error)
{
    cdu_weights weights;
    uint64_t count = cdu_program_arena_elements(s->program, CDU_ARENA_MOMENTUM), hash;
    float *velocity;
    CDU_TRY(cdu_allocate(&velocity, count, sizeof *velocity, error));
    cdu_status status = cdu_program_read_arena(s->program, CDU_ARENA_MOMENTUM, velocity, error);
    if (status == CDU_OK) status = cdu_model_store(s->graph, s->program, &weights, error);
    if (status == CDU_OK) {
        status = cdu_team_compare(&s->team, &weights, velocity, count, steps, &hash, error);
        cdu_weights_free(&weights);
    }
    free(velocity);
    return status;
}

static cdu_status train(session *s, uint32_t steps, float rate, cdu_error *error)
{
    struct cdu_sgd_patch patch = {rate, momentum};
    float *losses;
    CDU_TRY(cdu_allocate(&losses, steps, sizeof *losses, error));
    cdu_status status = CDU_OK;
    for (uint32_t i = 0; i < steps && status == CDU_OK; i++) {
        status = step(s, patch, &losses[i], error);
        if (i || status != CDU_OK) continue;
        status = s->team.size > 1 ? keep_scale(s, error) : keep_logits(s, error);
        if (status == CDU_OK) status = keep_gradients(s, error);
        if (status == CDU_OK) status = keep_state(s, "first.", error);
    }
    if (status == CDU_OK) status = keep_state(s, "last.", error);
    if (status == CDU_OK) status = compare(s, steps, error);
    if (status == CDU_OK) status = keep(s, "", "losses", &steps, 1, losses, error);
    free(losses);
    return status;
}

static cdu_status write_model(const session *s, const cdu_model_settings *settings, const char *path, const cdu_weights *weights,
                              cdu_error *error)
{
    cdu_model_about about = {
        .settings = *settings, .mpp = 1, .tile = s->size, .class_names = {"Background", "Tissue", "Tumor", "Necrosis"}};
    return cdu_model_write(path, &about, weights, error);
}

static cdu_status open_program(session *s, const char *device, const cdu_model_settings *settings,
                               const uint32_t *tiles, const cdu_weights *weights, cdu_error *error)
{
    char mine[128];
    bool alone = s->team.size == 1;
    const cdu_plan_options options = {.training = true, .update = cdu_sgd_update, .ranks = s->team.size, .images = s->team.batch,
                                      .synchronized = s->synchronized, .bucket = SMALL_BUCKET};
    CDU_TRY(cdu_team_device(&s->team, device, true, mine, sizeof mine, error));
    CDU_TRY(cdu_gpu_open(mine, false, false, &s->gpu, error));
    CDU_TRY(cdu_graph_create(&s->graph, error));
    CDU_TRY(cdu_model_build_training(s->graph, settings, s->team.share, s->size, s->size, s->mean_of_pixels, &s->values, error));
    if (alone) cdu_graph_output(s->graph, s->values.logits);
    tiles += (size_t)s->team.first * s->size * s->size;
    CDU_TRY(cdu_program_create(s->graph, &s->gpu, &options, &s->program, error));
    CDU_TRY(cdu_program_write(s->program, s->values.tile, tiles, error));
    CDU_TRY(cdu_program_write(s->program, s->values.class_weight, class_weight, error));
    return cdu_model_load(s->graph, s->program, weights, error);
}

static cdu_status prepare(session *s, const char *device, const cdu_model_settings *settings, const char *model, cdu_error *error)
{
    uint32_t *tiles;
    cdu_weights weights;
    CDU_TRY(cdu_allocate(&tiles, (size_t)s->batch * s->size * s->size, sizeof *tiles, error));
    make_tiles(s, tiles);
    uint64_t dims[4] = {s->batch, s->size, s->size, 4};
    CDU_TRY(cdu_safe_add(&s->out, "tiles", CDU_SAFE_U8, dims, 4, tiles, error));
    uint32_t classes = CLASSES;
    CDU_TRY(keep(s, "", "class_weight", &classes, 1, class_weight, error));
    CDU_TRY(cdu_model_initialize(settings, s->seed, &weights, error));
    cdu_status status = keep_weights(s, "initial.", &weights, error);
    if (status == CDU_OK && !s->team.rank) status = write_model(s, settings, model, &weights, error);
    if (status == CDU_OK && strcmp(device, "none") != 0) status = open_program(s, device, settings, tiles, &weights, error);
    cdu_weights_free(&weights);
    return status;
}

/* The group, or one with a fault in it. */
static const cdu_collective_kind *sound;
static uint32_t large_sums;

static cdu_status lose_a_bucket(cdu_collective *group, cdu_reduction reduction, void *data, size_t count, uint32_t *request, cdu_error *error)
{
    static float elsewhere[1 << 16];
    bool lost = reduction == CDU_REDUCE_SUM_F32 && large_sums++ == 1 && sound->rank(group) == 1 && count <= sizeof elsewhere / sizeof *elsewhere;
    if (lost) memcpy(elsewhere, data, count * sizeof *elsewhere);
    return sound->reduce_start(group, reduction, lost ? elsewhere : data, count, request, error);
}

static cdu_status dump(int count, char **a, const cdu_ranks *group, cdu_error *error)
{
    bool dist = count == DIST_ARGUMENTS;
    cdu_ranks ranks = *group;
    cdu_collective_kind faulty = *group->kind;
    sound = group->kind;
    faulty.reduce_start = lose_a_bucket;
    if (dist && !strcmp(a[17], "missing-bucket")) ranks.kind = &faulty;
    session s = {.batch = (uint32_t)atoi(a[5]), .size = (uint32_t)atoi(a[6]), .seed = strtoull(a[11], NULL, 10)};
    cdu_model_settings settings = {.kind = strcmp(a[2], "unet") ? CDU_MODEL_CDUNET : CDU_MODEL_UNET,
                                   .width = (uint32_t)atoi(a[3]),
                                   .depth = (uint32_t)atoi(a[4]),
                                   .cd_filters = {6, 3},
                                   .classes = CLASSES,
                                   .bgr = !strcmp(a[10], "bgr"),
                                   .relu_before_batch_norm = !strcmp(a[7], "relu-bn"),
                                   .cd_relu_before_batch_norm = !strcmp(a[8], "relu-bn")};
    s.mean_of_pixels = !strcmp(a[9], "pixels");
    s.synchronized = dist && !strcmp(a[16], "synchronized");
    s.excluded = dist && !strcmp(a[17], "excluded");
    CDU_TRY(cdu_debug_load(error));
    cdu_team_begin(&s.team, &ranks);
    CDU_TRY(cdu_team_share(&s.team, dist && ranks.size > 1 ? a[15] : NULL, s.batch, 1, error));
    char model[1024];
    snprintf(model, sizeof model, "%s.model", a[14]);
    CDU_TRY(prepare(&s, a[1], &settings, model, error));
    if (s.program) CDU_TRY(train(&s, (uint32_t)atoi(a[12]), strtof(a[13], NULL), error));
    if (!s.team.rank) CDU_TRY(cdu_safe_write(a[14], &s.out, error));
    cdu_team_end(&s.team);
    if (!s.program) return CDU_OK;
    cdu_program_destroy(s.program);
    cdu_graph_destroy(s.graph);
    cdu_gpu_close(&s.gpu);
    return CDU_OK;
}

int main(int argc, char **argv)
{
    cdu_error error = {0};
    cdu_ranks group;
    if (argc != PARITY_ARGUMENTS && argc != DIST_ARGUMENTS) {
        fprintf(stderr, "usage: parity_dump DEVICE KIND WIDTH DEPTH BATCH SIZE ORDER CD-ORDER MEAN INPUT SEED STEPS RATE OUT [SHARES STATISTICS FAULT]\n");
        return CDU_USAGE;
    }
    cdu_status status = cdu_ranks_open(150, &group, &error);
    if (status == CDU_OK) status = dump(argc, argv, &group, &error);
    if (status != CDU_OK) fprintf(stderr, "parity_dump: %s\n", error.words);
    if (status != CDU_OK && group.size > 1) group.kind->abort(group.group, status);
    if (group.kind) group.kind->close(group.group);
    return (int)status;
}
