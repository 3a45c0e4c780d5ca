/* train.c: the training loop. The device works on one batch while the loader's threads read the next ones; the host waits once a step,
 * for the loss. Among several ranks every process runs this loop, on its own device with its own tiles of each batch; what they tell each
 * other is in ranks.c, when in core/graph/run.c. */
#include "cdunet/train.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "cdunet/log.h"
#include "core/base/file.h"
#include "core/base/memory.h"
#include "core/base/progress.h"
#include "core/base/random.h"
#include "core/base/stop.h"
#include "core/ops/open.h"
#include "core/ops/ops.h"
#include "core/train/augment.h"
#include "core/train/balance.h"
#include "core/train/checkpoint.h"
#include "core/train/facts.h"
#include "core/train/fault.h"
#include "core/train/folder.h"
#include "core/train/loader.h"
#include "core/train/log.h"
#include "core/train/pace.h"
#include "core/train/ranks.h"
#include "core/train/rate.h"
#include "core/train/saver.h"
#include "core/train/validate.h"

static const double checkpoint_seconds = 300;

/* What a run holds. Zero-initialized; release frees what is there. */
typedef struct {
    const cdu_train_options *options;
    cdu_study *study;
    int lock;
    cdu_tile_index index;
    float class_weights[CDU_CLASS_LIMIT];
    char device[256];     /* as it was named, or chosen among ranks */
    cdu_gpu gpu;
    bool gpu_open;
    cdu_graph *graph;
    cdu_training_graph values;
    cdu_program *program;
    cdu_team team;
    uint32_t part;        /* tiles that the device takes at once: this rank's of a batch, or a whole part of them */
    cdu_augment *augment; /* of a part's tiles; null where the study asks for none */
    cdu_loader *loader;
    cdu_train_log *log;
    cdu_segmenter *segmenter;
    size_t validation_slides;
    cdu_checkpoint state; /* its weights and momentum are those of the last save */
    uint64_t steps_per_epoch, first_step, last_step, saved_step;
    cdu_saver *saver;
    uint64_t fetched_step; /* of the state's weights */
    double held, held_seconds; /* by the last checkpoint, by all */
    double saved_at, train_seconds, timed_seconds, wait_seconds;
    uint64_t timed_steps;
    float loss;
    cdu_exchange_times waits; /* of the last step, for other ranks */
    double part_began;        /* since when this rank works at the part that is under way */
    cdu_pace pace;            /* rank 0's, of all ranks */
    cdu_progress_bar bar;
} run;

static bool writes(const run *r)
{
    return r->team.rank == 0;
}

static void release(run *r)
{
    cdu_saver_destroy(r->saver);
    cdu_loader_destroy(r->loader);
    cdu_train_log_close(r->log);
    cdu_segmenter_destroy(r->segmenter);
    cdu_program_destroy(r->program);
    cdu_graph_destroy(r->graph);
    free(r->augment);
    if (r->gpu_open) cdu_gpu_close(&r->gpu);
    cdu_checkpoint_free(&r->state);
    cdu_tile_index_free(&r->index);
    cdu_study_free(r->study);
    cdu_run_folder_unlock(r->lock);
    cdu_pace_end(&r->pace);
    cdu_team_end(&r->team);
}

/* ---- preparation ---- */

/* What is wrong with the study all ranks find alike: rank 0 warns of it. */
static cdu_log_level hush(const run *r)
{
    cdu_log_level before = cdu_log_set_least(CDU_LOG_ERROR);
    if (writes(r)) cdu_log_set_least(before);
    return before;
}

static cdu_status read_study(run *r, cdu_error *error)
{
    const cdu_train_options *o = r->options;
    cdu_log_level before = hush(r);
    cdu_status status = cdu_study_read(o->study, &r->study, error);
    cdu_log_set_least(before);
    CDU_TRY(status);
    cdu_study *s = r->study;
    if (o->epochs) s->train.epochs = o->epochs;
    if (o->batch) s->train.batch = o->batch;
    if (o->width) s->model.width = o->width;
    if (o->seed_given) s->train.seed = o->seed;
    if (!s->train.epochs || !s->train.batch)
        return cdu_fail(error, CDU_USAGE, "%u epochs of batches of %u: both must be at least 1", s->train.epochs, s->train.batch);
    if (o->accumulate) s->train.accumulate = o->accumulate;
    if (o->exact_conv) s->train.exact_conv = true;
    if (r->team.size == 1 && s->train.batch % s->train.accumulate)
        return cdu_fail(error, CDU_USAGE, "a batch of %u tiles cannot be done in %u equal parts: train.accumulate must divide train.batch",
                        s->train.batch, s->train.accumulate);
    if (o->balance && o->shares)
        return cdu_fail(error, CDU_USAGE, "--balance finds the shares that --shares %s says: only one of the two can be", o->shares);
    if (s->train.early_stop && !s->train.keep_best_macro_f1)
        return cdu_fail(error, CDU_BAD_DATA, "%s: train.early-stop: needs train.keep-best: macro-f1%s", s->path,
                        s->slide_count ? " and annotated validation slides" : "");
    return cdu_team_share(&r->team, o->shares, s->train.batch, s->train.accumulate, error);
}

static cdu_status describe(const run *r, cdu_model_about *about, cdu_error *error)
{
    const cdu_study *s = r->study;
    about->settings = s->model;
    about->mpp = s->tiles.mpp;
    about->tile = s->tiles.size;
    snprintf(about->study, sizeof about->study, "%s", s->name ? s->name : "");
    for (size_t c = 0; c < s->class_count; c++) {
        int used = snprintf(about->class_names[c], sizeof about->class_names[c], "%s", s->classes[c].name);
        if (used >= (int)sizeof about->class_names[c])
            return cdu_fail(error, CDU_BAD_DATA, "%s: class name '%s' is longer than %zu bytes", s->path, s->classes[c].name,
                            sizeof about->class_names[c] - 1);
        memcpy(about->class_colors[c], s->classes[c].color, 3);
    }
    return CDU_OK;
}

/* All that decides the run's bytes, but for how long it lasts. */
static void settings_text(const run *r, char text[CDU_RUN_SETTINGS])
{
    const cdu_study *s = r->study;
    const cdu_model_settings *m = &s->model;
    XXH64_hash_t hash = XXH64(s->slides_path ? "tiles" : "", 0, 0);
    for (size_t i = 0; i < r->index.count; i++) {
        int64_t place[3] = {r->index.tiles[i].slide, r->index.tiles[i].x, r->index.tiles[i].y};
        hash = XXH64(place, sizeof place, hash);
        hash = XXH64(r->index.tiles[i].pixels, sizeof r->index.tiles[i].pixels, hash);
    }
    snprintf(text, CDU_RUN_SETTINGS,
             "kind=%s width=%u depth=%u classes=%u cd-filters=%u,%u input=%s order=%s cd-order=%s mpp=%.17g size=%u batch=%u "
             "learning-rate=%.17g learning-rate-batch=%u momentum=%.17g median-frequency=%d loss-mean=%s seed=%" PRIu64 " flip=%d "
             "hue=%.17g brightness=%.17g scale=%.17g noise=%.17g occlusion=%.17g rotate=%.17g shear=%.17g accumulate=%u exact-conv=%d validate-every=%u tiles=%zu tile-index=%016" PRIx64,
             m->kind == CDU_MODEL_UNET ? "unet" : "cdunet", m->width, m->depth, m->classes, m->cd_filters[0], m->cd_filters[1],
             m->bgr ? "bgr" : "rgb", m->relu_before_batch_norm ? "relu-bn" : "bn-relu",
             m->cd_relu_before_batch_norm ? "relu-bn" : "bn-relu", s->tiles.mpp, s->tiles.size, s->train.batch,
             s->train.learning_rate, s->train.learning_rate_batch, s->train.momentum, s->train.median_frequency,
             s->train.mean_of_pixels ? "pixels" : "class-weights", s->train.seed, s->augment.flip, s->augment.hue,
             s->augment.brightness, s->augment.scale, s->augment.noise, s->augment.occlusion, s->augment.rotate, s->augment.shear,
             s->train.accumulate, s->train.exact_conv, s->train.validate_every, r->index.count, (uint64_t)hash);
    size_t used = strlen(text);
    if (s->train.synchronized) snprintf(text + used, CDU_RUN_SETTINGS - used, " batch-norm=synchronized");
}

/* A hash of what the program is made of; 0 where the system does not tell. */
static uint64_t program_hash(void)
{
    char *bytes;
    size_t size;
    if (cdu_file_read("/proc/self/exe", (uint64_t)1 << 30, &bytes, &size, NULL) != CDU_OK) return 0;
    uint64_t hash = XXH64(bytes, size, 0);
    free(bytes);
    return hash;
}

/* What must be the same on all ranks before anything else is asked of them. */
static void first_facts(const run *r, char *text, size_t size)
{
    snprintf(text, size, "program=%016" PRIx64 " balance=%d", program_hash(), r->options->balance);
}

/* What must be the same on all ranks. Paths may differ from machine to machine, so slides count by name and by how long their files are. */
static void facts_text(const run *r, char *text, size_t size)
{
    const cdu_study *s = r->study;
    const cdu_train_options *o = r->options;
    char settings[CDU_RUN_SETTINGS], classes[512] = "";
    uint64_t slides = 0;
    for (size_t c = 0; c < s->class_count; c++) {
        size_t used = strlen(classes);
        snprintf(classes + used, sizeof classes - used, "%s%s", c ? "," : "", s->classes[c].name);
    }
    for (char *at = classes; *at; at++)
        if (*at == ' ') *at = '_';
    for (size_t i = 0; i < s->slide_count; i++) {
        const cdu_study_slide *slide = &s->slides[i];
        const char *name = strrchr(slide->slide, '/') ? strrchr(slide->slide, '/') + 1 : slide->slide;
        uint64_t about[2] = {cdu_file_size(slide->slide), slide->split};
        slides = XXH64(name, strlen(name), slides);
        slides = XXH64(about, sizeof about, slides);
    }
    settings_text(r, settings);
    snprintf(text, size,
             "class-list=%s slides=%zu slide-files=%016" PRIx64 " %s epochs=%u early-stop=%u keep-best=%d "
             "max-steps=%" PRIu64 " seconds=%.17g bucket=%" PRIu64 " share-of-rank-0=%u resume=%d",
             classes, s->slide_count, slides, settings, s->train.epochs, s->train.early_stop, s->train.keep_best_macro_f1,
             o->max_steps, o->seconds, o->bucket, r->team.shares[0], o->resume);
}

static cdu_status build_index(run *r, cdu_error *error)
{
    cdu_log_level before = hush(r);
    cdu_status status = cdu_tile_index_build(r->study, CDU_SPLIT_TRAIN, true, r->options->threads, &r->index, error);
    cdu_log_set_least(before);
    CDU_TRY(status);
    cdu_class_weights(r->study, &r->index, r->class_weights);
    r->steps_per_epoch = cdu_loader_steps_per_epoch(r->index.count, r->study->train.batch);
    r->last_step = r->steps_per_epoch * r->study->train.epochs;
    if (r->options->max_steps && r->options->max_steps < r->last_step) r->last_step = r->options->max_steps;
    char text[512] = "";
    for (size_t c = 0; c < r->study->class_count; c++) {
        size_t used = strlen(text);
        snprintf(text + used, sizeof text - used, "%s%s %.3g", c ? ", " : "", r->study->classes[c].name,
                 (double)r->class_weights[c]);
    }
    cdu_log(CDU_LOG_INFO, "%zu training tiles of %u pixels at %g um/px, %" PRIu64 " steps an epoch; class weights: %s",
            r->index.count, r->index.size, r->index.mpp, r->steps_per_epoch, text);
    r->validation_slides = cdu_validation_slides(r->study);
    if (!r->validation_slides && writes(r))
        cdu_log(CDU_LOG_WARNING, "the study has no annotated validation slide: the last weights are kept instead of the best");
    return CDU_OK;
}

/* A limit holds for validation too, which runs in the memory of training's activations. */
static cdu_status plan_options(const run *r, bool quiet, cdu_plan_options *options, cdu_error *error)
{
    *options = (cdu_plan_options){.training = true, .update = cdu_sgd_update, .spend = CDU_SPEND, .memory = r->options->memory,
                                  .exact = r->study->train.exact_conv, .ranks = r->team.size,
                                  .images = r->team.batch / r->study->train.accumulate, .synchronized = r->study->train.synchronized,
                                  .bucket = r->options->bucket, .quiet = quiet};
    if (options->memory && r->validation_slides) {
        cdu_model_about about = {0};
        cdu_plan_report validation;
        CDU_TRY(describe(r, &about, error));
        CDU_TRY(cdu_segmenter_least(&r->gpu, &about, &(cdu_segment_settings){0}, &validation, error));
        options->reserved = validation.arenas + validation.host_visible;
        options->room = validation.activations;
    }
    return CDU_OK;
}

static cdu_status open_device(run *r, cdu_error *error)
{
    CDU_TRY(cdu_open_device(r->device, false, &r->gpu, error));
    r->gpu_open = true;
    cdu_log(CDU_LOG_INFO, "%s: %s", r->gpu.id, r->gpu.info.name);
    cdu_log(CDU_LOG_INFO, "%s of %" PRIu64 " parameters, batch of %u tiles", r->study->model.kind == CDU_MODEL_UNET ? "UNET" : "CD-UNET",
            cdu_model_parameters(&r->study->model), r->study->train.batch);
    return CDU_OK;
}

static cdu_status build_graph(const run *r, uint32_t tiles, cdu_graph **graph, cdu_training_graph *values, cdu_error *error)
{
    const cdu_study *s = r->study;
    CDU_TRY(cdu_graph_create(graph, error));
    return (cdu_augment_wanted(s) ? cdu_model_build_augmented : cdu_model_build_training)(*graph, &s->model, tiles, s->tiles.size, s->tiles.size,
                                                                                      s->train.mean_of_pixels, values, error);
}

static void drop_program(run *r)
{
    cdu_program_destroy(r->program);
    cdu_graph_destroy(r->graph);
    free(r->augment);
    r->program = NULL;
    r->graph = NULL;
    r->augment = NULL;
}

/* quiet: its memory is not told. */
static cdu_status build_program(run *r, bool quiet, cdu_error *error)
{
    cdu_plan_options options;
    r->part = r->team.share / r->study->train.accumulate;
    CDU_TRY(build_graph(r, r->part, &r->graph, &r->values, error));
    if (cdu_augment_wanted(r->study)) CDU_TRY(cdu_allocate(&r->augment, r->part, sizeof *r->augment, error));
    CDU_TRY(plan_options(r, quiet, &options, error));
    CDU_TRY(cdu_program_create(r->graph, &r->gpu, &options, &r->program, error));
    return cdu_program_write(r->program, r->values.class_weight, r->class_weights, error);
}

/* ---- shares by speed ---- */

/* Weights and tiles as they may be, so that the device has real work: noise of all classes. */
static cdu_status give_noise(run *r, cdu_error *error)
{
    const cdu_study *s = r->study;
    size_t count = (size_t)r->part * s->tiles.size * s->tiles.size;
    cdu_weights weights = {0};
    uint32_t *pixels = NULL;
    cdu_random noise = cdu_random_stream(s->train.seed, CDU_RANDOM_NOISE, r->team.rank, 0);
    cdu_status status = cdu_model_initialize(&s->model, s->train.seed, &weights, error);
    if (status == CDU_OK) status = cdu_model_load(r->graph, r->program, &weights, error);
    if (status == CDU_OK) status = cdu_allocate(&pixels, count, sizeof *pixels, error);
    for (size_t i = 0; status == CDU_OK && i < count; i++)
        pixels[i] = (cdu_random_u32(&noise) & 0xffffff) | (uint32_t)(i / 64 % s->class_count) << 24;
    if (status == CDU_OK) status = cdu_program_write(r->program, r->values.tile, pixels, error);
    for (uint32_t i = 0; r->augment && i < r->part; i++) cdu_augment_draw(s, s->train.seed, 0, i, s->tiles.size, &r->augment[i]);
    if (status == CDU_OK && r->augment) status = cdu_program_write(r->program, r->values.augment, r->augment, error);
    free(pixels);
    cdu_weights_free(&weights);
    return status;
}

static bool has_room(const run *r, uint32_t share)
{
    cdu_plan_options options;
    cdu_graph *graph = NULL;
    cdu_training_graph values;
    cdu_status status = plan_options(r, true, &options, NULL);
    if (status == CDU_OK) status = build_graph(r, share / r->study->train.accumulate, &graph, &values, NULL);
    if (status == CDU_OK) status = cdu_program_check(graph, &r->gpu, &options, NULL);
    cdu_graph_destroy(graph);
    return status == CDU_OK;
}

/* The most tiles that this rank's device takes, of which `least` fit and `most` do not. */
static uint32_t most_tiles(const run *r, uint32_t least, uint32_t most)
{
    uint32_t parts = r->study->train.accumulate;
    while (most - least > parts) {
        uint32_t middle = least + (most - least) / parts / 2 * parts;
        if (has_room(r, middle)) least = middle;
        else most = middle;
    }
    return least;
}

static void tell_shares(const run *r, const cdu_balance_rank *ranks, const uint32_t *before, const uint32_t *wanted)
{
    for (uint32_t i = 0; writes(r) && i < r->team.size; i++) {
        cdu_log(CDU_LOG_INFO, "balance: %s does %.4g tiles a second and gets %u of %u tiles a step", r->team.names[i].words, ranks[i].speed,
                r->team.shares[i], r->team.batch);
        if (wanted[i] > ranks[i].most)
            cdu_log(CDU_LOG_WARNING, "balance: %u tiles would suit the speed of %s, but its memory takes no more than %u", wanted[i],
                    r->team.names[i].words, ranks[i].most);
    }
    if (writes(r) && before && memcmp(before, r->team.shares, r->team.size * sizeof *before) != 0)
        cdu_log(CDU_LOG_WARNING, "--balance changed the shares that the run was begun with: it goes on the same but for rounding; "
                "without --balance it would have kept them");
}

/* Shares by speed, again until each fits its rank's memory: in every round a rank finds out that it takes less, or it is the last. `wanted`: those
 * that memory had no part in. */
static cdu_status share_out(run *r, cdu_balance_rank mine, cdu_balance_rank *ranks, uint32_t *shares, uint32_t *wanted, cdu_error *error)
{
    cdu_team *team = &r->team;
    uint32_t fits = team->share;
    double refused = 1;
    mine.most = team->batch;
    for (uint32_t round = 0; refused > 0; round++) {
        CDU_TRY(team->group.kind->gather(team->group.group, &mine, sizeof mine, ranks, error));
        cdu_balance_shares(ranks, team->size, team->batch, r->study->train.accumulate, shares);
        CDU_TRY(cdu_team_share_as_told(team, shares, error));
        if (!round) memcpy(wanted, team->shares, team->size * sizeof *wanted);
        bool room = team->share <= fits || has_room(r, team->share);
        if (!room) mine.most = most_tiles(r, fits, team->share);
        else if (team->share > fits) fits = team->share;
        refused = !room;
        CDU_TRY(cdu_team_sum(team, &refused, 1, error));
    }
    return CDU_OK;
}

/* All ranks together, each with a program for its share so far, which is gone then. */
static cdu_status balance(run *r, bool resumed, cdu_error *error)
{
    cdu_team *team = &r->team;
    uint32_t *shares;
    cdu_balance_rank mine = {0}, *ranks = NULL;
    if (writes(r)) cdu_log(CDU_LOG_INFO, "balance: measuring how fast the devices of %u ranks are", team->size);
    CDU_TRY(give_noise(r, error));
    CDU_TRY(cdu_balance_measure(team, r->program, r->part, &mine.speed, error));
    drop_program(r);
    CDU_TRY(cdu_allocate(&shares, 3 * (size_t)team->size, sizeof *shares, error));
    uint32_t *before = shares + team->size, *wanted = before + team->size;
    memcpy(before, team->shares, team->size * sizeof *before);
    cdu_status status = cdu_allocate(&ranks, team->size, sizeof *ranks, error);
    if (status == CDU_OK) status = share_out(r, mine, ranks, shares, wanted, error);
    if (status == CDU_OK) tell_shares(r, ranks, resumed ? before : NULL, wanted);
    free(shares);
    free(ranks);
    return status;
}

/* What rank 0 reads of a checkpoint, for all. */
typedef struct {
    uint64_t step, validated_step, best_step;
    double best;
    uint32_t found, ranks;
    char settings[CDU_RUN_SETTINGS], shares[CDU_RUN_SHARES];
} begun;

static cdu_status read_checkpoint(run *r, begun *b, cdu_error *error)
{
    cdu_checkpoint *state = &r->state;
    bool found = false;
    if (!r->options->resume || !writes(r)) return CDU_OK;
    CDU_TRY(cdu_checkpoint_read(r->options->folder, state, &found, error));
    if (!found) return CDU_OK;
    *b = (begun){.found = 1, .step = state->step, .validated_step = state->validated_step, .best_step = state->best_step, .best = state->best,
                 .ranks = state->ranks ? state->ranks : 1};
    memcpy(b->settings, state->settings, sizeof b->settings);
    memcpy(b->shares, state->shares, sizeof b->shares);
    return CDU_OK;
}

/* A run goes on with the batch that it was begun with, whoever shares it now, unless the command says otherwise. */
static cdu_status take_begun(run *r, const begun *b, cdu_error *error)
{
    const char *batch = strstr(b->settings, " batch=");
    uint32_t then = batch ? (uint32_t)strtoul(batch + 7, NULL, 10) : 0;
    if (b->ranks == r->team.size && b->ranks > 1 && !r->options->shares)
        CDU_TRY(cdu_team_share(&r->team, b->shares, 0, r->study->train.accumulate, error));
    else if (b->ranks != r->team.size && then && !r->options->shares && !r->options->batch)
        CDU_TRY(cdu_team_share_evenly(&r->team, then, r->study->train.accumulate, error));
    if (b->ranks != r->team.size && writes(r))
        cdu_log(CDU_LOG_WARNING, "the run was begun with %u rank%s and goes on with %u, %u tiles a step as before: the same but for rounding", b->ranks,
                b->ranks == 1 ? "" : "s", r->team.size, r->team.batch);
    return CDU_OK;
}

/* Weights to begin with: those of the checkpoint, or initial ones. */
static cdu_status begin_state(run *r, const begun *b, cdu_error *error)
{
    cdu_checkpoint *state = &r->state;
    char settings[CDU_RUN_SETTINGS];
    bool found = b->found;
    settings_text(r, settings);
    memcpy(state->settings, found ? b->settings : settings, sizeof settings);
    if (found) {
        CDU_TRY(cdu_checkpoint_match(state, settings, error));
        state->step = b->step;
        state->validated_step = b->validated_step;
        state->best_step = b->best_step;
        state->best = b->best;
        uint64_t elements = cdu_program_arena_elements(r->program, CDU_ARENA_MOMENTUM);
        if (writes(r) && state->momentum_count != elements)
            return cdu_fail(error, CDU_BAD_DATA,
                            "%s: the checkpoint's momentum has %" PRIu64 " elements, the network needs %" PRIu64,
                            r->options->folder, state->momentum_count, elements);
        if (writes(r)) CDU_TRY(cdu_program_write_arena(r->program, CDU_ARENA_MOMENTUM, state->momentum, error));
        cdu_log(CDU_LOG_INFO, "going on after step %" PRIu64, state->step);
    } else {
        if (r->options->resume) cdu_log(CDU_LOG_INFO, "%s: no checkpoint yet, the run begins at step 0", r->options->folder);
        state->best = -1;
    }
    if (!state->weights.count) CDU_TRY(cdu_model_initialize(&r->study->model, r->study->train.seed, &state->weights, error));
    state->ranks = r->team.size;
    for (uint32_t i = 0, used = 0; i < r->team.size && r->team.size > 1 && used < sizeof state->shares; i++)
        used += (uint32_t)snprintf(state->shares + used, sizeof state->shares - used, "%s%u", i ? "," : "", r->team.shares[i]);
    CDU_TRY(describe(r, &state->about, error));
    r->saved_step = found ? state->step : UINT64_MAX;
    r->first_step = state->step;
    r->fetched_step = UINT64_MAX;
    r->saved_at = cdu_seconds();
    return cdu_model_load(r->graph, r->program, &state->weights, error);
}

/* For reports: at the beginning, so that a run that goes on can be looked at, and at the end with the memory it took. */
static cdu_status write_facts(const run *r, cdu_error *error)
{
    cdu_run_facts facts = {.study = r->study,
                           .gpu = &r->gpu,
                           .index = &r->index,
                           .class_weights = r->class_weights,
                           .parameters = cdu_model_parameters(&r->study->model),
                           .planned_bytes = cdu_program_report(r->program).peak,
                           .steps_per_epoch = r->steps_per_epoch,
                           .team = &r->team};
    if (r->loader) facts.unreadable = cdu_loader_count(r->loader);
    return cdu_run_facts_write(r->options->folder, &facts, error);
}

/* In three stages, after each of which ranks meet: a failure of one is that of all, before step 1. */
static cdu_status begin_folder(run *r, begun *b, cdu_error *error)
{
    const cdu_train_options *o = r->options;
    CDU_TRY(read_study(r, error));
    if (!writes(r)) return CDU_OK;
    CDU_TRY(cdu_run_folder_lock(o->folder, o->resume, &r->lock, error));
    if (r->team.size > 1) CDU_TRY(cdu_run_folder_complete(o->folder, false, error));
    CDU_TRY(cdu_saver_create(o->folder, &r->saver, error));
    return read_checkpoint(r, b, error);
}

static cdu_status begin_program(run *r, const begun *b, cdu_error *error)
{
    if (b->found) CDU_TRY(take_begun(r, b, error));
    r->study->train.batch = r->team.batch;
    CDU_TRY(build_index(r, error));
    CDU_TRY(open_device(r, error));
    return build_program(r, r->options->balance && r->team.size > 1, error);
}

/* Shares by speed, where they are asked for; then the state that the run begins with. */
static cdu_status begin_shares(run *r, const begun *b, cdu_status status, cdu_error *error)
{
    if (r->options->balance && r->team.size > 1) {
        CDU_TRY(cdu_team_agree(&r->team, status, NULL, error));
        CDU_TRY(balance(r, b->found && b->ranks == r->team.size, error));
        status = build_program(r, false, error);
    }
    if (status == CDU_OK) status = begin_state(r, b, error);
    char facts[4096] = "";
    if (status == CDU_OK && r->team.size > 1) facts_text(r, facts, sizeof facts);
    return cdu_team_agree(&r->team, status, facts, error);
}

static cdu_status begin_files(run *r, cdu_error *error)
{
    const cdu_train_options *o = r->options;
    if (writes(r)) CDU_TRY(cdu_run_folder_describe(o->folder, r->study, o->command, error));
    if (writes(r)) CDU_TRY(write_facts(r, error));
    cdu_loader_settings settings = {.seed = r->study->train.seed,
                                    .batch = r->study->train.batch,
                                    .share = r->team.share,
                                    .place = r->team.first,
                                    .threads = o->threads,
                                    .cache = o->cache,
                                    .first = r->state.step};
    CDU_TRY(cdu_loader_create(r->study, &r->index, &settings, &r->loader, error));
    if (!writes(r)) return CDU_OK;
    CDU_TRY(cdu_pace_begin(&r->pace, r->team.size, error));
    return cdu_train_log_open(o->folder, r->study, o->resume, r->state.step, r->state.validated_step == r->state.step, r->team.size > 1,
                              &r->log, error);
}

static cdu_status prepare(run *r, cdu_error *error)
{
    begun b = {0};
    char facts[80] = "";
    if (r->team.size > 1) first_facts(r, facts, sizeof facts);
    CDU_TRY(cdu_team_agree(&r->team, begin_folder(r, &b, error), facts, error));
    CDU_TRY(cdu_team_tell(&r->team, &b, sizeof b, error));
    CDU_TRY(cdu_team_device(&r->team, r->options->device, r->options->oversubscribe, r->device, sizeof r->device, error));
    CDU_TRY(begin_shares(r, &b, begin_program(r, &b, error), error));
    CDU_TRY(cdu_team_spread(&r->team, r->program, error));
    return cdu_team_agree(&r->team, begin_files(r, error), NULL, error);
}

/* ---- saving ---- */

/* The device's weights and momentum into the state. */
static cdu_status fetch(run *r, cdu_error *error)
{
    cdu_checkpoint *state = &r->state;
    cdu_weights_free(&state->weights);
    CDU_TRY(cdu_model_store(r->graph, r->program, &state->weights, error));
    if (!state->momentum) {
        state->momentum_count = cdu_program_arena_elements(r->program, CDU_ARENA_MOMENTUM);
        CDU_TRY(cdu_allocate(&state->momentum, state->momentum_count, sizeof(float), error));
    }
    return cdu_program_read_arena(r->program, CDU_ARENA_MOMENTUM, state->momentum, error);
}

/* A checkpoint of this step; written beside the training, which is held up while the weights are fetched. */
static cdu_status save(run *r, cdu_error *error)
{
    double began = cdu_seconds();
    uint64_t hash = 0;
    if (writes(r)) CDU_TRY(cdu_saver_wait(r->saver, error));
    if (r->fetched_step != r->state.step) {
        CDU_TRY(fetch(r, error));
        CDU_TRY(cdu_team_compare(&r->team, &r->state.weights, r->state.momentum, r->state.momentum_count, r->state.step, &hash, error));
        if (r->team.size > 1)
            cdu_log(CDU_LOG_INFO, "step %" PRIu64 ": weights and momentum are the same on all %u ranks, hash %016" PRIx64, r->state.step,
                    r->team.size, hash);
    }
    r->fetched_step = r->state.step;
    snprintf(r->state.about.training, sizeof r->state.about.training, "%" PRIu64 " steps of %u tiles, seed %" PRIu64, r->state.step,
             r->study->train.batch, r->study->train.seed);
    if (writes(r)) CDU_TRY(cdu_saver_begin(r->saver, &r->state, error));
    r->saved_step = r->state.step;
    r->saved_at = cdu_seconds();
    r->held = r->saved_at - began;
    r->held_seconds += r->held;
    cdu_log(CDU_LOG_DEBUG, "step %" PRIu64 ": the checkpoint held the training up for %.1f ms", r->state.step, r->held * 1e3);
    return CDU_OK;
}

/* Where nothing else asks for a checkpoint: at the end of an epoch, unless epochs are so short that this would take 1 % of the time;
 * and every five minutes. */
static bool checkpoint_is_due(const run *r, uint64_t step)
{
    double since = cdu_seconds() - r->saved_at;
    bool epoch_end = step && step % r->steps_per_epoch == 0;
    return (epoch_end && since > 100 * r->held && !cdu_saver_busy(r->saver)) || since > checkpoint_seconds;
}

/* model.safetensors from the state's weights. */
static cdu_status save_model(run *r, cdu_error *error)
{
    char path[CDU_PATH_LIMIT];
    CDU_TRY(cdu_path_join(path, r->options->folder, "model.safetensors", error));
    if (writes(r)) CDU_TRY(cdu_model_write(path, &r->state.about, &r->state.weights, error));
    r->state.best_step = r->state.step;
    return CDU_OK;
}

static void tell_scores(const run *r, const cdu_confusion *confusion, double macro)
{
    char text[512] = "";
    for (size_t c = 0; c < r->study->class_count; c++) {
        size_t used = strlen(text);
        snprintf(text + used, sizeof text - used, ", %s %.3f", r->study->classes[c].name, cdu_confusion_f1(confusion, (uint32_t)c));
    }
    cdu_log(CDU_LOG_INFO, "step %" PRIu64 ": validation macro F1 %.4f%s", r->state.step, macro, text);
}

/* The state was saved at this step before: whoever is killed while validating begins here again. */
static cdu_status validate(run *r, cdu_error *error)
{
    cdu_confusion confusion;
    double began = cdu_seconds();
    const cdu_segment_settings settings = {.memory = r->options->memory, .beside = r->program, .exact = r->study->train.exact_conv};
    CDU_TRY(cdu_validate(r->study, &r->gpu, &r->state.about, &r->state.weights, &settings, &r->segmenter, &r->team, &confusion,
                         error));
    double macro = cdu_confusion_macro_f1(&confusion);
    tell_scores(r, &confusion, macro);
    if (writes(r))
        CDU_TRY(cdu_train_log_validation(r->log, r->state.step, r->state.step / r->steps_per_epoch, &confusion, cdu_seconds() - began,
                                         error));
    if (isnan(macro)) macro = 0;
    bool better = macro > r->state.best || !r->study->train.keep_best_macro_f1;
    if (better) {
        r->state.best = macro;
        CDU_TRY(save_model(r, error));
    }
    r->state.validated_step = r->state.step;
    return save(r, error);
}

/* ---- the loop ---- */

/* Nothing has been updated, and a state with such statistics never reaches a checkpoint. */
static cdu_status refuse_part(run *r, const cdu_batch *batch, uint32_t first, cdu_error *error)
{
    char text[400] = "", tensor[CDU_FAULT_WORDS];
    cdu_first_not_finite(r->graph, r->program, (double)r->loss, tensor);
    for (uint32_t i = first; i < first + r->part; i++) {
        const cdu_tile *tile = &r->index.tiles[batch->tiles[i]];
        size_t used = strlen(text);
        snprintf(text + used, sizeof text - used, "%s%s at (%" PRId64 ", %" PRId64 ")", i > first ? ", " : "",
                 r->study->slides[tile->slide].slide, tile->x, tile->y);
    }
    return cdu_fail(error, CDU_FAILED,
                    "step %" PRIu64 ": the loss is %g, the first tensor not finite is %s; nothing was updated, the last good checkpoint "
                    "is kept; lower the learning rate, or look at the step's tiles: %s",
                    batch->step + 1, (double)r->loss, tensor, text);
}

/* Tiles [first, first + part) of the batch, with what augmentation does to them. */
static cdu_status give(run *r, const cdu_batch *batch, uint32_t first, cdu_error *error)
{
    size_t area = (size_t)r->index.size * r->index.size;
    CDU_TRY(cdu_program_write(r->program, r->values.tile, batch->pixels + first * area, error));
    if (!r->augment) return CDU_OK;
    for (uint32_t i = 0; i < r->part; i++)
        cdu_augment_draw(r->study, r->study->train.seed, batch->epoch, batch->asked[first + i], r->index.size, &r->augment[i]);
    return cdu_program_write(r->program, r->values.augment, r->augment, error);
}

/* What any rank settles for all, of the state after `step`. Clocks are rank 0's. */
static uint32_t wishes(const run *r, uint64_t step)
{
    uint32_t all = cdu_stop_requested() ? CDU_WISH_STOP : 0;
    if (!writes(r)) return all;
    if (r->options->seconds > 0 && r->train_seconds >= r->options->seconds) all |= CDU_WISH_TIME;
    return all | (checkpoint_is_due(r, step) ? CDU_WISH_SAVE : 0);
}

/* For cdu_team_run: of the step that is under way. */
static uint32_t wishes_then(const void *context)
{
    const run *r = context;
    return wishes(r, r->state.step + 1);
}

/* Who has fallen behind, on rank 0. */
static void watch(run *r)
{
    bool known = r->pace.known;
    if (!writes(r) || !cdu_pace_step(&r->pace, r->team.told + CDU_TOLD_BUSY, CDU_TOLD)) return;
    double times;
    uint32_t slowest = cdu_pace_slowest(&r->pace, &times);
    if (!known && r->pace.known && times > CDU_PACE_SLOW)
        cdu_log(CDU_LOG_INFO, "%s takes %.1f times as long for its share of a step as the others for theirs, who wait: %s", r->team.names[slowest].words, times,
                r->options->balance || r->team.shares[slowest] == r->study->train.accumulate ? "a larger batch can be shared out more evenly"
                                                                                             : "--balance evens that out");
    for (uint32_t i = 0; i < r->team.size; i++) {
        const cdu_pace_rank *rank = &r->pace.ranks[i];
        const char *name = r->team.names[i].words;
        if (rank->news == CDU_PACE_BEHIND)
            cdu_log(CDU_LOG_WARNING, "step %" PRIu64 ": %s has fallen behind: its tiles take it %.1f times as long as when its share was set, "
                    "measured by the other ranks, who wait for it", r->state.step + 1, name, rank->ratio);
        if (rank->news == CDU_PACE_AGAIN)
            cdu_log(CDU_LOG_INFO, "step %" PRIu64 ": %s keeps up again", r->state.step + 1, name);
    }
}

/* This rank's tiles of a part with the others': *loss is that of all. */
static cdu_status run_shared(run *r, struct cdu_sgd_patch patch, float *loss, double *busy, cdu_error *error)
{
    const cdu_team_part part = {.program = r->program, .loss = r->values.loss, .mean_of_pixels = r->study->train.mean_of_pixels,
                                .pixels = (uint64_t)(r->team.batch / r->study->train.accumulate) * r->index.size * r->index.size,
                                .began = r->part_began, .wishes = wishes_then, .context = r};
    cdu_exchange_times times;
    double began = cdu_seconds();
    CDU_TRY(cdu_team_run(&r->team, &part, patch, loss, &times, error));
    *busy += cdu_seconds() - began - times.gathering - times.slowest - times.network;
    watch(r);
    r->part_began = cdu_seconds();
    r->waits.gathering += times.gathering;
    r->waits.slowest += times.slowest;
    r->waits.network += times.network;
    return CDU_OK;
}

/* A part of a batch: its gradients are added up in the momentum, the last part moves the weights. With p parts the momentum is p times
 * that of the mean, so the rate is divided. */
static cdu_status run_part(run *r, const cdu_batch *batch, uint32_t first, double rate, double *busy, cdu_error *error)
{
    const cdu_study *s = r->study;
    uint32_t parts = s->train.accumulate;
    bool last = first + r->part == r->team.share;
    struct cdu_sgd_patch patch = {last ? (float)(rate / parts) : 0, first ? 1 : (float)s->train.momentum};
    float loss[4];
    bool updated;
    CDU_TRY(give(r, batch, first, error));
    double began = cdu_seconds();
    if (r->team.size > 1) {
        CDU_TRY(run_shared(r, patch, loss, busy, error));
    } else {
        CDU_TRY(cdu_program_run(r->program, &patch, sizeof patch, error));
        *busy += cdu_seconds() - began;
        CDU_TRY(cdu_program_read(r->program, r->values.loss, loss, error));
    }
    CDU_TRY(cdu_program_verdict(r->program, &updated, error));
    bool fine = isfinite(loss[0]) && updated;
    r->loss = fine ? r->loss + loss[0] / (float)parts : loss[0];
    if (fine) return CDU_OK;
    cdu_status mine = refuse_part(r, batch, first, error);
    if (cdu_team_others_bad(&r->team)) mine = CDU_OK; /* who has it names its tiles */
    return cdu_team_agree(&r->team, mine, NULL, error);
}

static cdu_status one_step(run *r, cdu_error *error)
{
    cdu_batch batch;
    double began = cdu_seconds(), rate = cdu_learning_rate(r->study), busy = 0;
    r->part_began = began;
    CDU_TRY(cdu_loader_next(r->loader, &batch, error));
    r->loss = 0;
    r->waits = (cdu_exchange_times){0};
    for (uint32_t first = 0; first < r->team.share; first += r->part)
        CDU_TRY(run_part(r, &batch, first, rate, &busy, error));
    double took = cdu_seconds() - began;
    r->train_seconds += took;
    if (r->state.step) r->timed_seconds += took, r->wait_seconds += took - busy, r->timed_steps++;
    r->state.step++;
    char note[96];
    snprintf(note, sizeof note, "loss %.4f, %.3f s a step", (double)r->loss, took);
    r->bar.most_left = r->options->seconds > 0 ? fmax(r->options->seconds - r->train_seconds, 1) : 0;
    cdu_progress_update(&r->bar, r->state.step - r->first_step, note);
    if (!writes(r)) return CDU_OK;
    return cdu_train_log_step(r->log, r->state.step, batch.epoch + 1, (double)r->loss, rate, took, took - busy,
                              r->waits.gathering + r->waits.network, r->waits.slowest, cdu_pace_behind(&r->pace), error);
}

/* The best is as many validations old as the study allows. */
static bool stops_early(const run *r)
{
    const cdu_study *s = r->study;
    uint64_t patience = (uint64_t)s->train.early_stop * s->train.validate_every * r->steps_per_epoch;
    return patience && r->state.best >= 0 && r->state.validated_step == r->state.step && r->state.step >= r->state.best_step + patience;
}

static bool validation_is_due(const run *r, bool ending)
{
    const cdu_study *s = r->study;
    if (!r->validation_slides || r->state.validated_step == r->state.step || !r->state.step) return false;
    bool by_steps = r->options->max_steps && r->state.step >= r->options->max_steps;
    if (ending && !by_steps) return true;
    uint64_t every = r->steps_per_epoch * (s->train.validate_every ? s->train.validate_every : s->train.epochs);
    return r->state.step % every == 0;
}

/* Ranks settled theirs in the last step; before the first they have to meet. */
static cdu_status settle_wishes(run *r, uint32_t *out, cdu_error *error)
{
    bool done = r->team.size == 1 || r->state.step > r->first_step;
    double mine[CDU_TOLD] = {[CDU_TOLD_WISHES] = wishes(r, r->state.step)};
    if (r->team.size == 1) return *out = (uint32_t)mine[CDU_TOLD_WISHES], CDU_OK;
    for (uint32_t round = 0; !done; cdu_collective_pause(&round)) CDU_TRY(cdu_team_tell_all(&r->team, mine, &done, error));
    *out = cdu_team_wishes(&r->team);
    return CDU_OK;
}

static cdu_status loop(run *r, cdu_error *error)
{
    for (;;) {
        if (writes(r) && !cdu_saver_busy(r->saver)) CDU_TRY(cdu_saver_wait(r->saver, error)); /* a full disk is told at the next step */
        uint32_t wanted = 0;
        CDU_TRY(settle_wishes(r, &wanted, error));
        bool ending = r->state.step >= r->last_step || wanted & CDU_WISH_TIME;
        bool due = validation_is_due(r, ending);
        bool stopping = wanted & CDU_WISH_STOP;
        if ((ending || stopping || due || wanted & CDU_WISH_SAVE) && r->saved_step != r->state.step) CDU_TRY(save(r, error));
        if (stopping && writes(r)) CDU_TRY(cdu_saver_wait(r->saver, error));
        r->team.agreed = stopping;
        if (stopping)
            return cdu_fail(error, CDU_STOPPED, "stopped after step %" PRIu64 "; a checkpoint is written, --resume goes on",
                            r->state.step);
        if (due) CDU_TRY(validate(r, error));
        if (ending) return CDU_OK;
        if (stops_early(r)) {
            cdu_log(CDU_LOG_INFO, "step %" PRIu64 ": no better macro F1 in %u validations, the run ends; the best was at step %" PRIu64,
                    r->state.step, r->study->train.early_stop, r->state.best_step);
            return CDU_OK;
        }
        CDU_TRY(one_step(r, error));
    }
}

static cdu_status finish(run *r, cdu_error *error)
{
    if (writes(r)) CDU_TRY(cdu_saver_wait(r->saver, error));
    if (r->state.best < 0) CDU_TRY(save_model(r, error));
    cdu_loader_counts counts = cdu_loader_count(r->loader);
    if (counts.unreadable_tiles)
        cdu_log(CDU_LOG_WARNING, "%" PRIu64 " tiles of %" PRIu64 " slides could not be read, others took their places",
                counts.unreadable_tiles, counts.unreadable_slides);
    if (r->timed_steps)
        cdu_log(CDU_LOG_INFO, "device waits %.2f %%; checkpoints held the training up for %.2f %% of the time",
                100 * r->wait_seconds / r->timed_seconds, 100 * r->held_seconds / (r->held_seconds + r->train_seconds));
    if (writes(r)) CDU_TRY(write_facts(r, error));
    if (writes(r) && r->team.size > 1) CDU_TRY(cdu_run_folder_complete(r->options->folder, true, error));
    return CDU_OK;
}

cdu_status cdu_train(const cdu_train_options *options, cdu_train_result *result, cdu_error *error)
{
    run r = {.options = options, .lock = -1};
    cdu_team_begin(&r.team, options->ranks);
    cdu_status status = prepare(&r, error);
    if (status == CDU_OK) {
        r.bar = cdu_progress_begin("training", r.last_step > r.first_step ? r.last_step - r.first_step : 0);
        status = loop(&r, error);
        cdu_progress_end(&r.bar);
        if (status == CDU_OK) status = finish(&r, error);
    }
    if (result) {
        *result =
            (cdu_train_result){.steps = r.state.step, .loss = r.loss, .best_f1 = r.state.best, .best_step = r.state.best_step};
        result->agreed = r.team.agreed;
        if (r.steps_per_epoch) result->epochs = r.state.step / r.steps_per_epoch;
        if (r.loader) {
            cdu_loader_counts counts = cdu_loader_count(r.loader);
            result->unreadable_tiles = counts.unreadable_tiles;
            result->unreadable_slides = counts.unreadable_slides;
        }
        if (r.study) result->parameters = cdu_model_parameters(&r.study->model);
        if (r.gpu_open) memcpy(result->device, r.gpu.id, sizeof result->device);
        if (r.program) result->peak_bytes = cdu_program_report(r.program).peak;
        if (r.timed_steps) result->seconds_per_step = r.timed_seconds / (double)r.timed_steps;
        if (r.timed_steps) result->device_waits = r.wait_seconds / r.timed_seconds;
    }
    release(&r);
    return status;
}
