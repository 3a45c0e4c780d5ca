/* log_table.c: log.csv read back: what was written, what is damaged, what was being written. */
#include "core/train/log_table.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "core/train/log.h"
#include "tests/train/fixture.h"

#define HEAD "step,epoch,loss,learning rate,seconds,device waits,macro F1,\"F1 A, \"\"b\"\"\",F1 C\n"

static cdu_status parse(const char *text, cdu_log_table *table, cdu_error *error)
{
    return cdu_log_table_parse("RUN/log.csv", text, strlen(text), table, error);
}

Test(log_table, gives_back_what_the_log_wrote)
{
    char folder[] = "/tmp/cdunet-log-XXXXXX", path[CDU_PATH_LIMIT];
    static char names[3][16] = {"Ground", "Tissue, \"x\"", "Tumor"};
    cdu_class classes[3] = {{.name = names[0]}, {.name = names[1]}, {.name = names[2]}};
    cdu_study study = {.classes = classes, .class_count = 3};
    cdu_confusion confusion = {.classes = 3};
    cdu_train_log *log;
    cdu_log_table table;
    confusion.pixels[0][0] = 3, confusion.pixels[0][1] = 1, confusion.pixels[1][1] = 5;
    cr_assert_not_null(mkdtemp(folder));
    MUST(cdu_train_log_open(folder, &study, false, 0, false, false, &log, error));
    for (uint64_t step = 1; step <= 4; step++) MUST(cdu_train_log_step(log, step, (step + 1) / 2, 1.0 / (double)step, 0.01, 0.25, 0.125, 0, 0, -1, error));
    MUST(cdu_train_log_validation(log, 4, 2, &confusion, 3, error));
    cdu_train_log_close(log);
    snprintf(path, sizeof path, "%s/log.csv", folder);
    MUST(cdu_log_table_read(path, &table, error));
    cr_assert(table.classes == 3 && !strcmp(table.class_names[1], "Tissue, \"x\"") && table.step_count == 4 && table.validation_count == 1);
    cr_assert(table.steps_per_epoch == 2 && table.has_waits && !table.unfinished);
    cr_assert(fabs(table.steps[2].loss - 1.0 / 3) < 1e-8 && table.steps[2].epoch == 2 && table.steps[2].seconds == 0.25 &&
              table.steps[2].waits == 0.125 && table.steps[2].rate == 0.01);
    cr_assert(table.validations[0].step == 4 && fabs(table.validations[0].f1[0] - cdu_confusion_f1(&confusion, 0)) < 1e-6);
    cr_assert(isnan(table.validations[0].f1[2]) && fabs(table.validations[0].macro - cdu_confusion_macro_f1(&confusion)) < 1e-6);
    cr_assert_eq(cdu_log_table_best(&table), 0);
    cdu_log_table_free(&table);
    remove(path);
    rmdir(folder);
}

Test(log_table, a_row_that_is_being_written_is_left_out)
{
    cdu_log_table table;
    cdu_error error = {0};
    cr_assert_eq(parse(HEAD "1,1,0.5,0.1,1,0,,,\n2,1,0.4,0.1", &table, &error), CDU_OK, "%s", error.words);
    cr_assert(table.step_count == 1 && table.unfinished && !strcmp(table.class_names[0], "A, \"b\""));
    cdu_log_table_free(&table);
    cr_assert_eq(parse("step,epoch,loss,learning rate,seconds,macro F1,F1 A,new\n1,1,0.5,0.1,1,,,7\n", &table, &error), CDU_OK,
                 "an old log without waits, a later one with more: %s", error.words);
    cr_assert(!table.has_waits && table.classes == 1);
    cdu_log_table_free(&table);
}

Test(log_table, damage_is_named_with_its_line)
{
    static const struct { const char *text, *words; } rows[] = {
        {"", "log.csv:1: there is no column 'step'"},
        {"a,b\n", "log.csv:1: there is no column 'step'"},
        {"step,epoch,loss,learning rate,seconds,macro F1\n", "log.csv:1: there is no column of a class's F1"},
        {HEAD "1,1,0.5,0.1,1,0,,,\n2,1,0.4\n", "log.csv:3: there are 3 fields"},
        {HEAD "1,1,x,0.1,1,0,,,\n", "log.csv:2: column 3 holds 'x'"},
        {HEAD "1,1,nan,0.1,1,0,,,\n", "log.csv:2: column 3 holds 'nan'"},
        {HEAD "1,1,0.5,0.1,1,0,,,\n1,1,0.5,0.1,1,0,,,\n", "log.csv:3: the step is not behind"},
        {HEAD "1,1,1e200,0.1,1,0,,,\n", "log.csv:2: column 3 holds '1e200'"},
        {HEAD "1,1,\x1b[2J,0.1,1,0,,,\n", "log.csv:2: column 3 holds '?[2J'"},
        {HEAD "-1,1,0.5,0.1,1,0,,,\n", "log.csv:2: column 1 holds '-1'"},
        {HEAD "1.5,1,0.5,0.1,1,0,,,\n", "log.csv:2: column 1"},
        {HEAD ",1,0.5,0.1,1,0,,,\n", "log.csv:2: step and epoch are needed"},
        {HEAD "4,1,,,1,,1.5,0.5,0.5\n", "log.csv:2: column 7 holds '1.5'"},
        {HEAD "4,1,,,1,,0.5,0.5,0.5\n3,1,,,1,,0.5,0.5,0.5\n", "log.csv:3: the step is before"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        cdu_log_table table;
        cdu_error error = {0};
        cr_assert_eq(parse(rows[i].text, &table, &error), CDU_BAD_DATA, "row %zu is taken", i);
        cr_assert(strstr(error.words, rows[i].words), "row %zu: %s", i, error.words);
    }
}
