/* Checkpoints through damage and full disks, the run folder's lock, the log. */
#include "core/train/checkpoint.h"

#include <math.h>

#include "cdunet/log.h"
#include "core/base/memory.h"
#include "core/model/model.h"
#include "core/train/folder.h"
#include "core/train/log.h"
#include "core/train/metrics.h"
#include "tests/train/fixture.h"

static char folder[64];

static void make_folder(void)
{
    snprintf(folder, sizeof folder, "/tmp/cdunet-check-XXXXXX");
    cr_assert(mkdtemp(folder) != NULL);
}

static void remove_folder(void)
{
    char command[100];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    cr_assert_eq(system(command), 0);
}

static cdu_checkpoint example(uint64_t step)
{
    static float momentum[3] = {1, 2, 3};
    cdu_checkpoint c = {.about = {.settings = {CDU_MODEL_UNET, 2, 2, {6, 3}, 2, false, false, false},
                                  .mpp = 1,
                                  .tile = 32,
                                  .class_names = {"A", "B"}},
                        .momentum = momentum,
                        .momentum_count = 3,
                        .step = step,
                        .validated_step = step - 1,
                        .best_step = 2,
                        .best = 0.1 + 0.2};
    snprintf(c.settings, sizeof c.settings, "width=2 batch=4 seed=1");
    MUST(cdu_model_initialize(&c.about.settings, step, &c.weights, error));
    return c;
}

static void write_example(uint64_t step)
{
    cdu_checkpoint c = example(step);
    MUST(cdu_checkpoint_write(folder, &c, error));
    cdu_weights_free(&c.weights);
}

static uint64_t step_read(void)
{
    cdu_checkpoint c;
    bool found;
    cdu_error fault = {0};
    if (cdu_checkpoint_read(folder, &c, &found, &fault) != CDU_OK || !found) return 0;
    uint64_t step = c.step;
    cdu_checkpoint_free(&c);
    return step;
}

static void damage(const char *name, long place)
{
    char path[CDU_PATH_LIMIT];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "r+b");
    cr_assert(file != NULL);
    fseek(file, place, SEEK_END);
    int byte = fgetc(file);
    fseek(file, place, SEEK_END);
    fputc(byte ^ 1, file);
    fclose(file);
}

Test(checkpoint, comes_back_as_it_was, .init = make_folder, .fini = remove_folder)
{
    cdu_checkpoint c, written = example(8);
    bool found = true;
    MUST(cdu_checkpoint_read(folder, &c, &found, error));
    cr_expect(!found);
    MUST(cdu_checkpoint_write(folder, &written, error));
    MUST(cdu_checkpoint_read(folder, &c, &found, error));
    cr_assert(found);
    cr_expect(c.step == 8 && c.validated_step == 7 && c.best_step == 2 && c.best == 0.1 + 0.2);
    cr_expect(c.momentum_count == 3 && c.momentum[2] == 3);
    cr_expect_eq(c.weights.count, written.weights.count);
    for (size_t i = 0; i < c.weights.count; i++) cr_expect_eq(c.weights.items[i].data[0], written.weights.items[i].data[0]);
    cr_expect_str_eq(c.settings, written.settings);
    cdu_checkpoint_free(&c);
    cdu_weights_free(&written.weights);
}

Test(checkpoint, the_one_before_stands_in_for_a_damaged_one, .init = make_folder, .fini = remove_folder)
{
    write_example(8);
    write_example(9);
    cr_expect_eq(step_read(), 9);
    damage("checkpoint.safetensors", -20);
    cr_expect_eq(step_read(), 8);
    damage("checkpoint-previous.safetensors", -100);
    cdu_checkpoint c;
    bool found;
    cdu_error fault = {0};
    cr_expect_eq(cdu_checkpoint_read(folder, &c, &found, &fault), CDU_BAD_DATA);
    cr_expect(found && strstr(fault.words, "checkpoint.safetensors"), "%s", fault.words);
}

/* Every open, write, sync and rename fails once: the old state or the new one can be read, never nothing. */
Test(checkpoint, a_full_disk_leaves_the_old_one, .init = make_folder, .fini = remove_folder)
{
    bool failed = true;
    write_example(8);
    for (uint64_t n = 1; failed && n < 100; n++) {
        cdu_checkpoint c = example(9);
        cdu_error fault = {0};
        cdu_file_fail_at(n);
        cdu_status status = cdu_checkpoint_write(folder, &c, &fault);
        cdu_file_fail_at(0);
        failed = status != CDU_OK;
        uint64_t step = step_read();
        if (failed)
            cr_expect(status == CDU_CANNOT_WRITE && (step == 8 || step == 9), "operation %lu: status %d, step %lu",
                      (unsigned long)n, (int)status, (unsigned long)step);
        else
            cr_expect(step == 9 && n > 5);
        cdu_weights_free(&c.weights);
        if (step == 9) write_example(8);
    }
    cr_expect(!failed);
}

/* Every allocation of writing and of reading fails once: words, and what lies there can be read. */
Test(checkpoint, failing_memory_leaves_the_old_one, .init = make_folder, .fini = remove_folder)
{
    cdu_checkpoint written = example(8), c;
    write_example(8);
    for (int reading = 0; reading < 2; reading++) {
        cdu_status status = CDU_FAILED;
        uint64_t n = 0;
        while (status != CDU_OK) {
            cdu_error fault = {0};
            bool found = false;
            cdu_allocate_fail_at(++n);
            status = reading ? cdu_checkpoint_read(folder, &c, &found, &fault) : cdu_checkpoint_write(folder, &written, &fault);
            cdu_allocate_fail_at(0);
            if (reading && status == CDU_OK && found) cdu_checkpoint_free(&c);
            cr_assert(status == CDU_OK ? !reading || found : status == CDU_TRY_AGAIN && fault.words[0], "%s, allocation %lu: %d, %s",
                      reading ? "reading" : "writing", (unsigned long)n, (int)status, fault.words);
            cr_assert_eq(step_read(), 8, "allocation %lu", (unsigned long)n);
        }
        cr_expect_gt(n, 10);
    }
    cdu_weights_free(&written.weights);
}

Test(checkpoint, weights_that_are_not_finite_are_not_kept, .init = make_folder, .fini = remove_folder)
{
    cdu_error fault = {0};
    write_example(8);
    cdu_checkpoint c = example(9);
    c.weights.items[3].data[0] = NAN;
    cr_expect_eq(cdu_checkpoint_write(folder, &c, &fault), CDU_FAILED);
    cr_expect(strstr(fault.words, c.weights.items[3].name) && strstr(fault.words, "step 9"), "%s", fault.words);
    cr_expect_eq(step_read(), 8);
    cdu_weights_free(&c.weights);
}

Test(checkpoint, other_settings_are_named)
{
    cdu_checkpoint c = {.settings = "width=2 batch=4 seed=1"};
    cdu_error fault = {0};
    cr_expect_eq(cdu_checkpoint_match(&c, "width=2 batch=4 seed=1", &fault), CDU_OK);
    cr_expect_eq(cdu_checkpoint_match(&c, "width=2 batch=42 seed=1", &fault), CDU_USAGE);
    cr_expect(strstr(fault.words, "begun with batch=4, now it is batch=42"), "%s", fault.words);
    cr_expect_eq(cdu_checkpoint_match(&c, "width=2 batch=4 seed=12", &fault), CDU_USAGE);
    cr_expect(strstr(fault.words, "seed=12"), "%s", fault.words);
}

Test(folder, a_second_process_is_refused_at_once, .init = make_folder, .fini = remove_folder)
{
    int lock, second;
    cdu_error fault = {0};
    MUST(cdu_run_folder_lock(folder, false, &lock, error));
    cr_expect_eq(cdu_run_folder_lock(folder, false, &second, &fault), CDU_CANNOT_WRITE);
    cr_expect(strstr(fault.words, "another process"), "%s", fault.words);
    cdu_run_folder_unlock(lock);
    MUST(cdu_run_folder_lock(folder, false, &lock, error));
    cdu_run_folder_unlock(lock);
    write_example(8);
    cr_expect_eq(cdu_run_folder_lock(folder, false, &lock, &fault), CDU_USAGE);
    cr_expect(strstr(fault.words, "--resume"), "%s", fault.words);
    MUST(cdu_run_folder_lock(folder, true, &lock, error));
    cdu_run_folder_unlock(lock);
}

static void expect_log(const char *wanted)
{
    char path[CDU_PATH_LIMIT], *text;
    snprintf(path, sizeof path, "%s/log.csv", folder);
    MUST(cdu_file_read(path, 1 << 20, &text, NULL, error));
    cr_expect_str_eq(text, wanted);
    free(text);
}

Test(log, rows_that_will_be_done_again_are_dropped, .init = make_folder, .fini = remove_folder)
{
    char name[] = "say \"ah\"", other[] = "B";
    cdu_class classes[2] = {{.name = name}, {.name = other}};
    cdu_study study = {.classes = classes, .class_count = 2};
    cdu_confusion confusion = {.classes = 2};
    cdu_train_log *log;
    confusion.pixels[0][0] = 3, confusion.pixels[0][1] = 1, confusion.pixels[1][1] = 4;
    MUST(cdu_train_log_open(folder, &study, false, 0, false, false, &log, error));
    MUST(cdu_train_log_step(log, 1, 1, 1.5, 0.25, 2, 0.5, 0, 0, -1, error));
    MUST(cdu_train_log_step(log, 2, 1, 1.25, 0.25, 2, 0.5, 0, 0, -1, error));
    MUST(cdu_train_log_validation(log, 2, 1, &confusion, 7, error));
    MUST(cdu_train_log_step(log, 3, 2, 1, 0.25, 2, 0.5, 0, 0, -1, error));
    cdu_train_log_close(log);
    static const char head[] = "step,epoch,loss,learning rate,seconds,device waits,macro F1,\"F1 say \"\"ah\"\"\",\"F1 B\"\n";
    char wanted[1000];
    MUST(cdu_train_log_open(folder, &study, true, 2, true, false, &log, error));
    cdu_train_log_close(log);
    snprintf(wanted, sizeof wanted, "%s1,1,1.5,0.25,2.0000,0.5000,,,\n2,1,1.25,0.25,2.0000,0.5000,,,\n2,1,,,7.0000,,0.873016,0.857143,0.888889\n",
             head);
    expect_log(wanted);
    MUST(cdu_train_log_open(folder, &study, true, 2, false, false, &log, error));
    cdu_train_log_close(log);
    snprintf(wanted, sizeof wanted, "%s1,1,1.5,0.25,2.0000,0.5000,,,\n2,1,1.25,0.25,2.0000,0.5000,,,\n", head);
    expect_log(wanted);
}

/* As docs/training.md says: `cdunet evaluate` and `segment` take it. */
Test(checkpoint, is_a_model_file_too, .init = make_folder, .fini = remove_folder)
{
    write_example(7);
    char path[CDU_PATH_LIMIT];
    cdu_model_about about;
    cdu_weights weights;
    snprintf(path, sizeof path, "%s/checkpoint.safetensors", folder);
    MUST(cdu_model_read(path, &about, &weights, error));
    cr_expect_eq(about.tile, 32u);
    cdu_weights_free(&weights);
}
