/* cmd_evaluate.c: `cdunet evaluate STUDY --model M`: how well a model segments the slides of one split, as a table, as JSON
 * and as CSV. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/ops/open.h"
#include "core/report/report.h"
#include "core/report/scores.h"
#include "tools/commands.h"
#include "tools/options.h"

typedef struct {
    const char *study, *model, *split, *device, *json, *csv, *masks, *report;
    bool no_report;
    uint64_t threads, memory;
    bool exact;
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
    size_t width = 12;
    for (size_t c = 0; c < study->class_count; c++)
        width = strlen(study->classes[c].name) > width ? strlen(study->classes[c].name) : width;
    const struct { const cdu_evaluation_part *parts; size_t count; } groups[] = {
        {e->stains, e->stain_count}, {e->cases, e->case_count}, {e->slides, e->slide_count}};
    for (size_t g = 0; g < sizeof groups / sizeof *groups; g++)
        for (size_t i = 0; i < groups[g].count; i++) {
            size_t length = strlen(short_name(groups[g].parts[i].name));
            width = length > width ? length : width;
        }
    return (int)(width < 48 ? width : 48);
}

static void print_interval(cdu_interval interval)
{
    if (isnan(interval.low))
        printf("  %-16s", "-");
    else
        printf("  %.4f to %.4f", interval.low, interval.high);
}

static void print_class(const cdu_evaluation_part *part, const char *name, int width, uint32_t c)
{
    const bool mean = c == part->confusion.classes;
    printf("%-*.*s ", width, width, name);
    for (int s = 0; s < CDU_SCORES; s++) {
        print_number(cdu_confusion_score(&part->confusion, (cdu_score)s, c));
        if (s == CDU_SCORE_F1) print_interval(part->intervals.of[s][c]);
    }
    printf("        ");
    print_number(cdu_confusion_score(&part->interior, CDU_SCORE_F1, c));
    printf("  %13llu\n", (unsigned long long)(mean ? cdu_confusion_pixels(&part->confusion) : cdu_confusion_truth(&part->confusion, c)));
}

static void print_classes(const cdu_study *study, const cdu_evaluation *e, int width)
{
    const cdu_confusion *confusion = &e->whole.confusion;
    printf("%-*s precision   recall       F1  95 %% interval          IoU  F1 off boundary         pixels\n", width, "class");
    for (uint32_t c = 0; c < confusion->classes; c++) print_class(&e->whole, study->classes[c].name, width, c);
    print_class(&e->whole, "macro", width, confusion->classes);
    for (uint32_t c = 0; c < confusion->classes; c++) {
        if (isnan(cdu_confusion_f1(confusion, c))) {
            printf("%s is neither in the truth nor in the segmentation, and not in the macro F1\n", study->classes[c].name);
        }
    }
}

static void print_parts(const cdu_study *study, const cdu_evaluation_part *parts, size_t count, const char *title, int width)
{
    printf("\n%-*s slides", width, title);
    for (size_t c = 0; c < study->class_count; c++) printf(" %10.10s", study->classes[c].name);
    printf("   macro F1  95 %% interval    excluded\n");
    for (size_t i = 0; i < count; i++) {
        const cdu_confusion *confusion = &parts[i].confusion;
        uint64_t pixels = cdu_confusion_pixels(confusion) + parts[i].excluded;
        printf("%-*.*s %6u", width, width, short_name(parts[i].name), parts[i].slides);
        for (uint32_t c = 0; c <= study->class_count; c++) {
            printf("  ");
            print_number(cdu_confusion_score(confusion, CDU_SCORE_F1, c));
        }
        print_interval(parts[i].intervals.of[CDU_SCORE_F1][study->class_count]);
        printf("  %6.2f %%\n", pixels ? 100.0 * (double)parts[i].excluded / (double)pixels : 0.0);
    }
}

/* What was left out, and how much of it there is. */
static void print_excluded(const cdu_evaluation *e)
{
    uint64_t pixels = cdu_confusion_pixels(&e->whole.confusion), all = pixels + e->whole.excluded;
    uint64_t near = pixels - cdu_confusion_pixels(&e->whole.interior);
    printf("excluded, since the truth leaves them open: %llu pixels, %.2f %% of the slides\n", (unsigned long long)e->whole.excluded,
           all ? 100.0 * (double)e->whole.excluded / (double)all : 0.0);
    if (e->boundary_um > 0)
        printf("within %g um of another class, and not in the F1 off boundary: %llu pixels, %.2f %% of the scored ones\n", e->boundary_um,
               (unsigned long long)near, pixels ? 100.0 * (double)near / (double)pixels : 0.0);
    for (size_t i = 0; i < e->unannotated_count; i++) printf("not scored, without annotation: %s\n", e->unannotated[i]);
    if (e->resamples && e->whole.cases < 2)
        printf("no intervals: %u case, and they are drawn over cases\n", e->whole.cases);
    else if (e->resamples)
        printf("intervals: %u resamples of %u cases\n", e->resamples, e->whole.cases);
}

static void print_table(const request *r, const cdu_study *study, const cdu_model_about *about, const cdu_evaluation *e)
{
    int width = widest(study, e);
    printf("%s, %s: %zu slide%s, %llu pixels of %g um; truth: %s\n\n", r->study, r->split, e->slide_count,
           e->slide_count == 1 ? "" : "s", (unsigned long long)cdu_confusion_pixels(&e->whole.confusion), about->mpp,
           r->masks ? r->masks : "annotations");
    print_classes(study, e, width);
    print_excluded(e);
    if (study->evaluate.by_stain) print_parts(study, e->stains, e->stain_count, "F1 by stain", width);
    if (study->evaluate.by_case) print_parts(study, e->cases, e->case_count, "F1 by case", width);
    if (study->evaluate.by_slide) print_parts(study, e->slides, e->slide_count, "F1 by slide", width);
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

/* `report`: the folder that gets the report; empty: none. */
static cdu_status evaluate(const request *r, const cdu_study *study, const cdu_model_about *about, const cdu_weights *weights,
                           const char *report, cdu_error *error)
{
    cdu_evaluation_settings settings = {
        .study = study, .about = about, .weights = weights, .masks = r->masks, .threads = (uint32_t)r->threads,
        .memory = r->memory, .exact = r->exact, .gallery = report[0] ? 4 : 0};
    cdu_evaluation evaluation;
    cdu_gpu gpu;
    CDU_TRY(find_split(r->split, &settings.split, error));
    cdu_status status = cdu_evaluation_check_classes(study, about, error);
    if (status != CDU_OK) return cdu_error_prefix(error, "%s", r->model);
    CDU_TRY(cdu_open_device(r->device, false, &gpu, error));
    status = cdu_evaluate(&settings, &gpu, &evaluation, error);
    if (status == CDU_OK) {
        print_table(r, study, about, &evaluation);
        cdu_scores_about of = {.study = study, .model = r->model, .split = r->split, .truth = r->masks ? r->masks : "annotations",
                               .device = gpu.id, .mpp = about->mpp};
        if (r->json) status = cdu_scores_write_json(r->json, &of, &evaluation, error);
        if (r->csv && status == CDU_OK) status = cdu_scores_write_csv(r->csv, &of, &evaluation, error);
        if (report[0] && status == CDU_OK) status = cdu_scores_write_folder(report, &of, &evaluation, error);
        if (report[0] && status == CDU_OK) status = cdu_report_write(report, error);
        if (report[0] && status == CDU_OK) printf("\n%s/report.html\n", report);
        cdu_evaluation_free(&evaluation);
    }
    cdu_gpu_close(&gpu);
    return status;
}

/* The folder for the report: the one asked for, else the model's, if it is a run's; empty: none. Tries whether it can be written. */
static cdu_status find_report(const request *r, char folder[CDU_PATH_LIMIT], cdu_error *error)
{
    char path[CDU_PATH_LIMIT];
    folder[0] = 0;
    if (r->no_report && r->report) return cdu_fail(error, CDU_USAGE, "--report and --no-report exclude each other");
    if (r->no_report) return CDU_OK;
    if (r->report) {
        CDU_TRY(cdu_folder_create(r->report, error));
        snprintf(folder, CDU_PATH_LIMIT, "%s", r->report);
    } else {
        CDU_TRY(cdu_path_folder(folder, r->model, error));
        CDU_TRY(cdu_path_join(path, folder, "log.csv", error));
        if (!cdu_file_exists(path)) folder[0] = 0;
    }
    if (!folder[0]) return CDU_OK;
    CDU_TRY(cdu_path_join(path, folder, "report.html", error));
    cdu_status status = cdu_file_try(path, error);
    return status == CDU_OK || r->report ? status : cdu_error_prefix(error, "the report (--no-report leaves it out)");
}

static cdu_status check_names(const request *r, cdu_error *error)
{
    const char *names[] = {r->study, r->model, r->json, r->csv};
    for (int i = 2; i < 4; i++)
        for (int k = 0; names[i] && k < i; k++)
            if (names[k] && cdu_file_same(names[i], names[k]))
                return cdu_fail(error, CDU_USAGE, "%s is named twice; every file needs a name of its own", names[i]);
    return CDU_OK;
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
        {.name = "exact-conv",
         .type = CDU_OPTION_FLAG,
         .value = &r.exact,
         .help = "direct convolution everywhere: slower on CPUs, without the rounding of Winograd's"},
        {.name = "memory",
         .type = CDU_OPTION_BYTES,
         .value = &r.memory,
         .argument = "LIMIT",
         .help = "device memory that may be used, such as 2GiB or 900MiB: fewer tiles at once,\nwith the same results"},
        {.name = "json", .type = CDU_OPTION_TEXT, .value = &r.json, .argument = "F", .help = "also write all scores to this file, as JSON"},
        {.name = "csv", .type = CDU_OPTION_TEXT, .value = &r.csv, .argument = "F", .help = "and as CSV, a row for each class of each group"},
        {.name = "report",
         .type = CDU_OPTION_TEXT,
         .value = &r.report,
         .argument = "DIR",
         .help = "folder for report.html and evaluation-SPLIT.json; without it the model's own, if it is that of a run"},
        {.name = "no-report", .type = CDU_OPTION_FLAG, .value = &r.no_report, .help = "leave the run folder as it is"},
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
    char report[CDU_PATH_LIMIT];
    CDU_TRY(find_split(r.split, &split, error));
    CDU_TRY(check_names(&r, error));
    CDU_TRY(cdu_study_read(r.study, &study, error));
    cdu_status status = cdu_model_read(r.model, &about, &weights, error);
    if (status == CDU_OK && r.json) status = cdu_file_try(r.json, error);
    if (status == CDU_OK && r.csv) status = cdu_file_try(r.csv, error);
    if (status == CDU_OK) status = find_report(&r, report, error);
    if (status == CDU_OK) status = evaluate(&r, study, &about, &weights, report, error);
    cdu_weights_free(&weights);
    cdu_study_free(study);
    return status;
}
