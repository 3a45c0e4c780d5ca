/* cmd_train.c: cdunet train: the options of include/cdunet/train.h, and what the run came to. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cdunet/log.h"
#include "cdunet/train.h"
#include "core/base/file.h"
#include "core/base/memory.h"
#include "core/base/progress.h"
#include "core/ops/open.h"
#include "core/report/report.h"
#include "core/report/scores.h"
#include "dist/collective.h"
#include "tools/commands.h"
#include "tools/options.h"

/* The command as a shell would take it again. */
static cdu_status quote(int argc, char **argv, char **out, cdu_error *error)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:=,+@%";
    size_t size = 16;
    for (int i = 0; i < argc; i++) size += 4 * strlen(argv[i]) + 3;
    CDU_TRY(cdu_allocate(out, size, 1, error));
    char *at = *out + sprintf(*out, "cdunet");
    for (int i = 0; i < argc; i++) {
        bool bare = argv[i][0] && strspn(argv[i], plain) == strlen(argv[i]);
        *at++ = ' ';
        if (!bare) *at++ = '\'';
        for (const char *c = argv[i]; *c; c++) at += *c == '\'' ? sprintf(at, "'\\''") : sprintf(at, "%c", *c);
        if (!bare) *at++ = '\'';
    }
    *at++ = '\n';
    return CDU_OK;
}

static void print_result(const cdu_train_options *options, const cdu_train_result *result)
{
    printf("%s/model.safetensors\n", options->folder);
    printf("steps %" PRIu64 ", epochs %" PRIu64 ", loss %.4f", result->steps, result->epochs, result->loss);
    if (result->best_f1 >= 0) printf(", best macro F1 %.4f at step %" PRIu64, result->best_f1, result->best_step);
    printf("\n%" PRIu64 " parameters, device memory %.1f MiB", result->parameters, (double)result->peak_bytes / 1048576);
    if (result->seconds_per_step > 0)
        printf(", %.3f s a step, device waits %.1f %%", result->seconds_per_step, 100 * result->device_waits);
    printf("\n");
}

/* The best model's scores on the validation slides into the run folder, for the report. */
static cdu_status score(const cdu_train_options *o, const char *device, cdu_error *error)
{
    char path[CDU_PATH_LIMIT], model[CDU_PATH_LIMIT];
    cdu_study *study = NULL;
    cdu_model_about about;
    cdu_weights weights = {0};
    cdu_evaluation evaluation;
    cdu_gpu gpu;
    CDU_TRY(cdu_path_join(path, o->folder, "study.yaml", error));
    CDU_TRY(cdu_path_join(model, o->folder, "model.safetensors", error));
    CDU_TRY(cdu_study_read(path, &study, error));
    cdu_status status = cdu_model_read(model, &about, &weights, error);
    if (status == CDU_OK) status = cdu_open_device(device, false, &gpu, error);
    if (status == CDU_OK) {
        cdu_evaluation_settings settings = {.study = study, .split = CDU_SPLIT_VALIDATION, .about = &about, .weights = &weights,
                                            .memory = o->memory, .exact = study->train.exact_conv, .threads = o->threads,
                                            .gallery = 4, .skip_unreadable = true};
        cdu_scores_about of = {.study = study, .model = model, .split = "validation", .truth = "annotations", .device = gpu.id,
                               .mpp = about.mpp};
        status = cdu_evaluate(&settings, &gpu, &evaluation, error);
        if (status == CDU_OK) {
            status = cdu_scores_write_folder(o->folder, &of, &evaluation, error);
            cdu_evaluation_free(&evaluation);
        }
        cdu_gpu_close(&gpu);
    }
    cdu_weights_free(&weights);
    cdu_study_free(study);
    return status;
}

/* The model is whole by then: whatever fails here says so. */
static cdu_status report(const cdu_train_options *o, const cdu_train_result *result, cdu_error *error)
{
    bool by_steps = o->max_steps && result->steps >= o->max_steps; /* ends without a validation */
    cdu_status status = CDU_OK;
    if (result->best_f1 >= 0 && !by_steps) status = score(o, result->device, error);
    if (status == CDU_BAD_DATA) { /* slides that training could do without */
        cdu_log(CDU_LOG_WARNING, "%s; the report has no scores", error->words);
        status = CDU_OK;
        *error = (cdu_error){0};
    }
    if (status == CDU_OK) status = cdu_report_write(o->folder, error);
    if (status != CDU_OK) return cdu_error_prefix(error, "the training is done and its model is whole; its report is not");
    printf("%s/report.html\n", o->folder);
    return CDU_OK;
}

static char rank_prefix[24];

/* Ranks but the first say only what is wrong. */
static void print_rank_line(cdu_log_level level, const char *line, void *context)
{
    (void)context;
    fprintf(stderr, "%s: %s%s\n", rank_prefix, level == CDU_LOG_WARNING ? "warning: " : level == CDU_LOG_ERROR ? "error: " : "", line);
}

static void speak_as_rank(uint32_t rank)
{
    snprintf(rank_prefix, sizeof rank_prefix, "rank %u", rank);
    cdu_log_set_handler(print_rank_line, NULL, CDU_LOG_WARNING);
    cdu_progress_set_stream(NULL);
}

/* After a failure. What all ranks know of, each ends with in good order, and rank 0 tells it; from any other, the others would wait for this
 * one: it tells and ends all. */
static void leave(const cdu_ranks *ranks, cdu_status status, bool agreed, const cdu_error *error)
{
    if (ranks->size <= 1 || (agreed && !ranks->rank)) return;
    if (agreed) {
        ranks->kind->close(ranks->group);
        _exit((int)status);
    }
    cdu_progress_clear();
    fprintf(stderr, "cdunet: rank %u: %s\n", ranks->rank, error->words);
    fflush(stderr);
    cdu_file_discard_for_good();
    ranks->kind->abort(ranks->group, status);
}

cdu_status cmd_train(int argc, char **argv, cdu_error *error)
{
    cdu_train_options o = {0};
    bool no_report = false;
    double deadline = 0;
    cdu_ranks ranks = {0};
    uint64_t epochs = 0, batch = 0, width = 0, threads = 0, accumulate = 0;
    const cdu_option options[] = {
        {.name = "out",
         .letter = 'o',
         .type = CDU_OPTION_TEXT,
         .value = &o.folder,
         .argument = "RUN",
         .required = true,
         .help = "the run folder: model.safetensors, checkpoints, log.csv, settings"},
        {.name = "device",
         .letter = 'd',
         .type = CDU_OPTION_TEXT,
         .value = &o.device,
         .argument = "D",
         .fallback = "auto",
         .help = "opencl:0, vulkan:1, a part of the device's name, or auto; with mpiexec one for each rank,\nor for each on its machine, with commas between them; auto: each rank a card of its own"},
        {.name = "oversubscribe", .type = CDU_OPTION_FLAG, .value = &o.oversubscribe, .help = "with mpiexec: ranks may share a device"},
        {.name = "epochs",
         .type = CDU_OPTION_UNSIGNED,
         .value = &epochs,
         .argument = "N",
         .least = 1,
         .most = 1e6,
         .help = "passes over the training tiles; overrules the study"},
        {.name = "batch",
         .type = CDU_OPTION_UNSIGNED,
         .value = &batch,
         .argument = "N",
         .least = 1,
         .most = 65536,
         .help = "tiles a step; overrules the study"},
        {.name = "accumulate",
         .type = CDU_OPTION_UNSIGNED,
         .value = &accumulate,
         .argument = "N",
         .least = 1,
         .most = 65536,
         .help = "do a batch in N parts, for less memory; overrules the study"},
        {.name = "max-steps",
         .type = CDU_OPTION_UNSIGNED,
         .value = &o.max_steps,
         .argument = "N",
         .least = 1,
         .most = 1e15,
         .help = "end after N steps in all, without a last validation"},
        {.name = "seconds",
         .type = CDU_OPTION_FLOAT,
         .value = &o.seconds,
         .argument = "N",
         .least = 0.001,
         .most = 1e9,
         .help = "end after N seconds of training, then validate"},
        {.name = "seed",
         .type = CDU_OPTION_UNSIGNED,
         .value = &o.seed,
         .argument = "S",
         .given = &o.seed_given,
         .help = "of initial weights, order and augmentation; overrules the study"},
        {.name = "threads",
         .letter = 't',
         .type = CDU_OPTION_UNSIGNED,
         .value = &threads,
         .argument = "N",
         .fallback = "0",
         .most = 64,
         .help = "threads that read tiles; 0: as many as there are processors"},
        {.name = "cache",
         .type = CDU_OPTION_BYTES,
         .value = &o.cache,
         .argument = "LIMIT",
         .help = "memory for decoded tiles, such as 8GiB; default: a quarter of what is free, at most 4GiB"},
        {.name = "width",
         .type = CDU_OPTION_UNSIGNED,
         .value = &width,
         .argument = "N",
         .least = 1,
         .most = 512,
         .help = "filters of the first stage; overrules the study"},
        {.name = "exact-conv",
         .type = CDU_OPTION_FLAG,
         .value = &o.exact_conv,
         .help = "direct convolution everywhere: slower on CPUs, without the rounding of Winograd's"},
        {.name = "memory",
         .type = CDU_OPTION_BYTES,
         .value = &o.memory,
         .argument = "LIMIT",
         .help = "device memory that may be used, such as 2GiB or 900MiB: more is computed again\ninstead of stored, with the same results"},
        {.name = "shares",
         .type = CDU_OPTION_TEXT,
         .value = &o.shares,
         .argument = "N,N",
         .help = "with mpiexec: tiles a step of each rank, such as 3,1, where they shall differ"},
        {.name = "balance",
         .type = CDU_OPTION_FLAG,
         .value = &o.balance,
         .help = "with mpiexec: measure how fast each rank's device is, and give each tiles in proportion;\n--resume without it keeps the shares"},
        {.name = "bucket",
         .type = CDU_OPTION_BYTES,
         .value = &o.bucket,
         .argument = "SIZE",
         .help = "with mpiexec: gradients are summed over ranks in pieces of at least that; default: 4MiB"},
        {.name = "deadline",
         .type = CDU_OPTION_FLOAT,
         .value = &deadline,
         .argument = "SECONDS",
         .fallback = "600",
         .least = 0.1,
         .most = 1e6,
         .help = "with mpiexec: how long a rank waits for the others before all end with code 74"},
        {.name = "no-report", .type = CDU_OPTION_FLAG, .value = &no_report, .help = "do not score the validation slides once more for report.html"},
        {.name = "resume", .type = CDU_OPTION_FLAG, .value = &o.resume, .help = "go on with the run that lies in RUN"},
        {0}};
    const cdu_positional positionals[] = {{.name = "STUDY", .value = &o.study, .help = "the study file (YAML)"}, {0}};
    const cdu_usage usage = {
        "train", "Trains a network on the slides of a study.",
        "Ctrl-C writes a checkpoint and ends with code 130; the same command with --resume goes on to the same bytes.\n\n"
        "mpiexec -n 4 cdunet train ... --device opencl:0,vulkan:0,opencl:1,vulkan:1 trains one model on four devices. The batch is each\n"
        "rank's then. Trust the file RUN/complete, not mpiexec's exit code.", options,
        positionals};
    bool done = false;
    char *command = NULL;
    cdu_train_result result;
    CDU_TRY(quote(argc, argv, &command, error)); /* before parsing, which reorders argv */
    cdu_status status = cdu_options_parse(&usage, argc, argv, &done, error);
    if (status == CDU_OK && !done) {
        o.epochs = (uint32_t)epochs, o.batch = (uint32_t)batch, o.width = (uint32_t)width, o.threads = (uint32_t)threads, o.accumulate = (uint32_t)accumulate;
        o.command = command;
        status = cdu_ranks_open(deadline, &ranks, error);
        o.ranks = &ranks;
    }
    if (status == CDU_OK && !done) {
        if (ranks.rank) speak_as_rank(ranks.rank);
        status = cdu_train(&o, &result, error);
        if (status != CDU_OK) leave(&ranks, status, result.agreed, error);
        if (status == CDU_OK && !ranks.rank) print_result(&o, &result);
        /* the others have ended by then: a failure of the report is rank 0's alone */
        ranks.kind->close(ranks.group);
        if (status == CDU_OK && !ranks.rank && !no_report) status = report(&o, &result, error);
    }
    free(command);
    return status;
}
