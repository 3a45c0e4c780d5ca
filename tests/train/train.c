/* Whole small runs on PoCL: the same bytes twice, interrupted and resumed, stopped, killed; a loss that is not finite. */
#include "cdunet/train.h"

#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <time.h>

#include "core/base/stop.h"
#include "core/ops/ops.h"
#include "core/train/checkpoint.h"
#include "core/train/fault.h"
#include "tests/train/fixture.h"

extern char **environ;
static fixture f;

static void begin(void)
{
    fixture_create(&f, "  seed: 3\n");
}

static void end(void)
{
    fixture_remove(&f);
}

/* Trains into folder/`name`; returns the path of `file` in it. */
static const char *in_run(const char *name, const char *file)
{
    static char paths[4][CDU_PATH_LIMIT];
    static int turn;
    char *path = paths[turn++ % 4];
    snprintf(path, CDU_PATH_LIMIT, "%s/%s%s%s", f.folder, name, file ? "/" : "", file ? file : "");
    return path;
}

static cdu_status train(const char *name, cdu_train_options o, cdu_train_result *result, cdu_error *error)
{
    char folder[CDU_PATH_LIMIT];
    snprintf(folder, sizeof folder, "%s", in_run(name, NULL));
    o.study = f.study;
    o.folder = folder;
    if (!o.device) o.device = "opencl:0";
    return cdu_train(&o, result, error);
}

Test(train, the_same_run_twice_gives_the_same_bytes, .init = begin, .fini = end)
{
    cdu_train_result result;
    MUST(train("a", (cdu_train_options){.threads = 1, .command = "cdunet train\n"}, &result, error));
    cr_expect(result.steps == 15 && result.epochs == 3 && result.best_f1 >= 0 && result.best_step > 0 && result.peak_bytes > 0);
    MUST(train("b", (cdu_train_options){.threads = 8}, NULL, error));
    cr_expect(same_files(in_run("a", "model.safetensors"), in_run("b", "model.safetensors")));
    cr_expect(same_files(in_run("a", "checkpoint.safetensors"), in_run("b", "checkpoint.safetensors")));
    MUST(train("c", (cdu_train_options){.seed_given = true, .seed = 4}, NULL, error));
    cr_expect(!same_files(in_run("a", "model.safetensors"), in_run("c", "model.safetensors")));
    cdu_model_about about;
    cdu_weights weights;
    MUST(cdu_model_read(in_run("a", "model.safetensors"), &about, &weights, error));
    cr_expect(about.settings.width == 2 && about.tile == 32 && about.settings.classes == 3 &&
              !strcmp(about.class_names[2], "Tumor"));
    cdu_weights_free(&weights);
    cdu_study *study;
    MUST(cdu_study_read(in_run("c", "study.yaml"), &study, error));
    cr_expect(study->train.seed == 4 && study->slide_count == 4 && cdu_file_exists(study->slides[0].slide));
    cdu_study_free(study);
    cr_expect(cdu_file_exists(in_run("a", "command.txt")) && cdu_file_exists(in_run("a", "log.csv")));
    cdu_error fault = {0};
    cr_expect_eq(train("a", (cdu_train_options){.threads = 1}, NULL, &fault), CDU_USAGE, "a folder with a run is refused");
}

static void set_limit(const char *text, uint64_t *limit)
{
    const char *least = strstr(text, "at least ");
    cr_assert_not_null(least, "%s", text);
    *limit = strtoull(least + strlen("at least "), NULL, 10) << 20;
}

/* Validation is within the limit as well: what a refusal names holds for the whole run. */
Test(train, a_limit_of_memory_changes_no_byte, .init = begin, .fini = end)
{
    cdu_train_result free_result, result;
    uint64_t limit;
    cdu_error fault = {0};
    MUST(train("a", (cdu_train_options){.epochs = 2, .width = 16}, &free_result, error));
    cr_assert_eq(train("b", (cdu_train_options){.epochs = 2, .width = 16, .memory = 1}, NULL, &fault), CDU_TRY_AGAIN);
    cr_assert(!cdu_file_exists(in_run("b", "model.safetensors")));
    set_limit(fault.words, &limit);
    MUST(train("c", (cdu_train_options){.epochs = 2, .width = 16, .memory = limit}, &result, error));
    cr_expect_leq(result.peak_bytes, limit);
    cr_expect_gt(result.best_f1, 0);
    cr_expect(same_files(in_run("a", "model.safetensors"), in_run("c", "model.safetensors")));
    cr_expect(same_files(in_run("a", "checkpoint.safetensors"), in_run("c", "checkpoint.safetensors")));
}

Test(train, learns_the_blocks, .init = begin, .fini = end)
{
    cdu_train_result result;
    MUST(train("a", (cdu_train_options){.epochs = 40, .width = 4}, &result, error));
    cr_expect_gt(result.best_f1, 0.8, "macro F1 %g, loss %g", result.best_f1, result.loss);
}

Test(train, a_run_in_two_parts_ends_as_one, .init = begin, .fini = end)
{
    MUST(train("whole", (cdu_train_options){0}, NULL, error));
    cdu_train_result result;
    MUST(train("parts", (cdu_train_options){.max_steps = 4}, &result, error));
    cr_expect(result.steps == 4 && result.best_f1 < 0);
    cr_expect(cdu_file_exists(in_run("parts", "model.safetensors")), "an early end leaves a model too");
    MUST(train("parts", (cdu_train_options){.max_steps = 11, .resume = true}, NULL, error));
    MUST(train("parts", (cdu_train_options){.resume = true}, &result, error));
    cr_expect_eq(result.steps, 15);
    cr_expect(same_files(in_run("whole", "model.safetensors"), in_run("parts", "model.safetensors")));
    cr_expect(same_files(in_run("whole", "checkpoint.safetensors"), in_run("parts", "checkpoint.safetensors")));
    cdu_error fault = {0};
    cr_expect_eq(train("parts", (cdu_train_options){.resume = true, .batch = 2}, NULL, &fault), CDU_USAGE);
    cr_expect(strstr(fault.words, "batch=4") && strstr(fault.words, "batch=2"), "%s", fault.words);
}

Test(train, a_stop_leaves_a_checkpoint, .init = begin, .fini = end)
{
    cdu_error fault = {0};
    cdu_stop_request();
    cr_expect_eq(train("a", (cdu_train_options){0}, NULL, &fault), CDU_STOPPED);
    cdu_stop_clear();
    cr_expect(cdu_file_exists(in_run("a", "checkpoint.safetensors")));
    MUST(train("a", (cdu_train_options){.resume = true}, NULL, error));
    MUST(train("whole", (cdu_train_options){0}, NULL, error));
    cr_expect(same_files(in_run("whole", "model.safetensors"), in_run("a", "model.safetensors")));
}

Test(train, a_loss_that_is_not_finite_stops_and_keeps_the_last_good_state, .init = begin, .fini = end)
{
    cdu_checkpoint c;
    bool found;
    cdu_error fault = {0};
    char folder[CDU_PATH_LIMIT], kept[CDU_PATH_LIMIT];
    MUST(train("a", (cdu_train_options){.max_steps = 2}, NULL, error));
    snprintf(folder, sizeof folder, "%s", in_run("a", NULL));
    MUST(cdu_checkpoint_read(folder, &c, &found, error));
    for (size_t i = 0; i < c.weights.count; i++)
        if (!strcmp(c.weights.items[i].name, "out.weight")) c.weights.items[i].data[0] = 3e38f, c.weights.items[i].data[1] = 3e38f;
    MUST(cdu_checkpoint_write(folder, &c, error));
    cdu_checkpoint_free(&c);
    snprintf(kept, sizeof kept, "cp '%s/checkpoint.safetensors' '%s/kept'", folder, folder);
    cr_assert_eq(system(kept), 0);
    cr_expect_eq(train("a", (cdu_train_options){.resume = true}, NULL, &fault), CDU_FAILED);
    cr_expect(strstr(fault.words, "step 3") && strstr(fault.words, "out, the logits") && strstr(fault.words, "slide"), "%s",
              fault.words);
    cr_expect(same_files(in_run("a", "checkpoint.safetensors"), in_run("a", "kept")));
}

static double loss_of_step(const char *log, int step)
{
    char *text;
    size_t size;
    double loss = 0;
    MUST(cdu_file_read(log, 1 << 20, &text, &size, error));
    char *row = text;
    for (int i = 0; i < step; i++) row = strchr(row, '\n') + 1;
    cr_assert_eq(sscanf(row, "%*d,%*d,%lf", &loss), 1, "%s", row);
    free(text);
    return loss;
}

/* At rate 0 the weights stay, so that a batch of 4 in two parts sees what two batches of 2 see. */
Test(train, a_batch_in_parts_is_the_mean_of_its_parts, .init = begin, .fini = end)
{
    char rates[CDU_PATH_LIMIT + 64];
    cdu_error fault = {0};
    MUST(train("one", (cdu_train_options){.max_steps = 3}, NULL, error));
    MUST(train("two", (cdu_train_options){.max_steps = 3, .accumulate = 2}, NULL, error));
    MUST(train("again", (cdu_train_options){.max_steps = 2, .accumulate = 2, .threads = 1}, NULL, error));
    MUST(train("again", (cdu_train_options){.max_steps = 3, .accumulate = 2, .resume = true}, NULL, error));
    cr_expect(same_files(in_run("two", "checkpoint.safetensors"), in_run("again", "checkpoint.safetensors")));
    cr_expect(!same_files(in_run("one", "checkpoint.safetensors"), in_run("two", "checkpoint.safetensors")));
    cr_expect_eq(train("again", (cdu_train_options){.resume = true}, NULL, &fault), CDU_USAGE);
    cr_expect(strstr(fault.words, "accumulate=2"), "%s", fault.words);
    cr_expect_eq(train("odd", (cdu_train_options){.accumulate = 3}, NULL, &fault), CDU_USAGE);
    snprintf(rates, sizeof rates, "sed -i 's/learning-rate: .*/learning-rate: 0/' '%s'", f.study);
    cr_assert_eq(system(rates), 0);
    MUST(train("parts", (cdu_train_options){.max_steps = 1, .accumulate = 2}, NULL, error));
    MUST(train("small", (cdu_train_options){.max_steps = 2, .batch = 2}, NULL, error));
    double mean = (loss_of_step(in_run("small", "log.csv"), 1) + loss_of_step(in_run("small", "log.csv"), 2)) / 2;
    cr_expect_float_eq(loss_of_step(in_run("parts", "log.csv"), 1), mean, 1e-6);
}

/* Weights do not move here, but for the running statistics, which settle. */
Test(train, ends_early_where_nothing_gets_better, .init = begin, .fini = end)
{
    char rates[CDU_PATH_LIMIT + 64];
    cdu_train_result result;
    snprintf(rates, sizeof rates, "sed -i 's/learning-rate: .*/learning-rate: 0\\n  early-stop: 2/;s/validate-every: .*/validate-every: 1/' '%s'", f.study);
    cr_assert_eq(system(rates), 0);
    MUST(train("a", (cdu_train_options){.epochs = 50}, &result, error));
    uint64_t ended = result.steps;
    cr_expect(ended == result.best_step + 2 * 5 && ended < 250, "%llu steps, best at %llu", (unsigned long long)ended,
              (unsigned long long)result.best_step);
    MUST(train("a", (cdu_train_options){.epochs = 50, .resume = true}, &result, error));
    cr_expect_eq(result.steps, ended);
    MUST(train("b", (cdu_train_options){.epochs = 50, .max_steps = 7}, NULL, error));
    MUST(train("b", (cdu_train_options){.epochs = 50, .resume = true}, &result, error));
    cr_expect(result.steps == ended && same_files(in_run("a", "checkpoint.safetensors"), in_run("b", "checkpoint.safetensors")));
}

/* A gradient may overflow where the loss is fine; what comes first in the backward pass is named. */
Test(train, the_first_tensor_that_is_not_finite_is_named)
{
    cdu_gpu gpu;
    cdu_graph *graph;
    cdu_program *program;
    char words[CDU_FAULT_WORDS];
    float seed[16] = {1, 2, 3, NAN};
    MUST(cdu_gpu_open("opencl:0", false, true, &gpu, error));
    MUST(cdu_graph_create(&graph, error));
    cdu_value x = cdu_graph_input(graph, "x", (cdu_shape){1, 2, 2, 4}, CDU_F32);
    cdu_value y = cdu_batch_norm(graph, "b", cdu_batch_norm(graph, "a", x, CDU_BATCH_NORM_ONLY, 1e-5f, 0.1f), CDU_BATCH_NORM_ONLY, 1e-5f, 0.1f);
    cdu_graph_output(graph, y);
    cdu_graph_seed(graph, y);
    MUST(cdu_program_create(graph, &gpu, &(cdu_plan_options){.training = true, .update = cdu_sgd_update}, &program, error));
    for (int i = 0; i < 3; i++) {
        float values[16];
        for (int k = 0; k < 16; k++) values[k] = i == 2 ? INFINITY : (float)k;
        bool updated = true;
        MUST(cdu_program_write(program, x, values, error));
        MUST(cdu_program_write_gradient(program, y, seed, error));
        MUST(cdu_program_run(program, &(struct cdu_sgd_patch){0.1f, 0.9f}, sizeof(struct cdu_sgd_patch), error));
        MUST(cdu_program_verdict(program, &updated, error));
        cr_expect(!updated);
        cdu_first_not_finite(graph, program, i ? (double)NAN : 1.0, words);
        cr_expect_str_eq(words, i == 0 ? "the gradient of b.bias" : i == 1 ? "out, the logits" : "a.running_mean");
    }
    cdu_program_destroy(program);
    cdu_graph_destroy(graph);
    cdu_gpu_close(&gpu);
}

/* The n-th open, write, sync or rename fails: 73, and what is there goes on to the same bytes. */
Test(train, a_full_disk_loses_nothing, .init = begin, .fini = end, .timeout = 120)
{
    static const uint64_t fails[] = {1, 5, 10, 14, 19, 27, 33};
    MUST(train("whole", (cdu_train_options){0}, NULL, error));
    for (size_t i = 0; i < sizeof fails / sizeof *fails; i++) {
        cdu_error fault = {0};
        cdu_file_fail_at(fails[i]);
        cdu_status status = train("full", (cdu_train_options){.resume = i > 0}, NULL, &fault);
        cdu_file_fail_at(0);
        cr_expect(status == CDU_CANNOT_WRITE || status == CDU_OK, "operation %d: %d %s", (int)fails[i], (int)status, fault.words);
        if (!i) cr_expect_eq(status, CDU_CANNOT_WRITE);
    }
    MUST(train("full", (cdu_train_options){.resume = true}, NULL, error));
    cr_expect(same_files(in_run("whole", "model.safetensors"), in_run("full", "model.safetensors")));
    cr_expect(same_files(in_run("whole", "checkpoint.safetensors"), in_run("full", "checkpoint.safetensors")));
}

static size_t lines(const char *path)
{
    FILE *file = fopen(path, "r");
    size_t count = 0;
    for (int c; file && (c = fgetc(file)) != EOF;) count += c == '\n';
    if (file) fclose(file);
    return count;
}

static pid_t spawn_train(const char *run, const char *more)
{
    static char program[] = CDUNET_BINARY_DIR "/cdunet";
    char *words[] = {program,
                     (char[]){"train"},
                     f.study,
                     (char[]){"--out"},
                     strdup(run),
                     (char[]){"--device"},
                     (char[]){"opencl:0"},
                     more ? strdup(more) : NULL,
                     NULL};
    posix_spawn_file_actions_t actions;
    pid_t child;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    cr_assert_eq(posix_spawn(&child, program, &actions, NULL, words, environ), 0);
    return child;
}

static void wait_for_rows(const char *path, size_t rows)
{
    for (int i = 0; i < 3000 && lines(path) < rows; i++) nanosleep(&(struct timespec){0, 10000000}, NULL);
    cr_assert_geq(lines(path), rows, "%s has not grown", path);
}

static int exit_code(pid_t child)
{
    int status;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

Test(train, a_killed_run_goes_on_to_the_same_bytes, .init = begin, .fini = end, .timeout = 120)
{
    if (access(CDUNET_BINARY_DIR "/cdunet", X_OK) != 0) cr_skip_test("the program is not built");
    MUST(train("whole", (cdu_train_options){0}, NULL, error));
    for (size_t row = 2; row < 16; row += 5) {
        pid_t child = spawn_train(in_run("killed", NULL), "--resume");
        wait_for_rows(in_run("killed", "log.csv"), row);
        kill(child, SIGKILL);
        exit_code(child);
    }
    cr_expect_eq(exit_code(spawn_train(in_run("killed", NULL), "--resume")), 0);
    cr_expect(same_files(in_run("whole", "model.safetensors"), in_run("killed", "model.safetensors")));
    cr_expect_eq(lines(in_run("whole", "log.csv")), lines(in_run("killed", "log.csv")));
}

Test(train, a_signal_ends_with_130_and_a_second_process_gets_73, .init = begin, .fini = end, .timeout = 120)
{
    if (access(CDUNET_BINARY_DIR "/cdunet", X_OK) != 0) cr_skip_test("the program is not built");
    pid_t child = spawn_train(in_run("a", NULL), "--epochs=100000");
    wait_for_rows(in_run("a", "log.csv"), 3);
    cdu_error fault = {0};
    cr_expect_eq(train("a", (cdu_train_options){.resume = true}, NULL, &fault), CDU_CANNOT_WRITE);
    kill(child, SIGINT);
    cr_expect_eq(exit_code(child), 130);
    cr_expect(cdu_file_exists(in_run("a", "checkpoint.safetensors")));
}
