/* faults.c: reports where memory or the disk fails: a plain code, words, and files that are the old ones or the new ones, never parts. */
#include <criterion/criterion.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/report/report.h"
#include "core/report/run.h"
#include "tests/train/fixture.h"

static char folder[64], page[128], second[128];
static const char *const files[] = {"curves.csv", "curves-f1.svg", "curves-loss.svg", "tensorboard/events.out.tfevents.cdunet", "report.html"};
enum { FILES = sizeof files / sizeof *files };

#define HEAD "step,epoch,loss,learning rate,seconds,device waits,macro F1,F1 A,F1 B\n"
static const char *const logs[] = {HEAD "1,1,0.5,0.1,1,0,,,\n1,1,,,2.5,,0.6,0.7,0.5\n",
                                   HEAD "1,1,0.5,0.1,1,0,,,\n1,1,,,2.5,,0.6,0.7,0.5\n2,2,0.25,0.1,1,0,,,\n"};

static void put_log(int which)
{
    char path[128];
    cdu_error fault = {0};
    snprintf(path, sizeof path, "%s/log.csv", folder);
    cr_assert_eq(cdu_file_write(path, logs[which], strlen(logs[which]), &fault), CDU_OK, "%s", fault.words);
}

static void make_run(void)
{
    snprintf(folder, sizeof folder, "/tmp/cdunet-report-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    snprintf(page, sizeof page, "%s/both.html", folder);
    put_log(0);
}

static void remove_run(void)
{
    char command[100];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    cr_assert_eq(system(command), 0);
}

static char *contents(int file)
{
    char path[200], *text;
    size_t size;
    cdu_error fault = {0};
    snprintf(path, sizeof path, "%s/%s", folder, files[file]);
    cr_assert_eq(cdu_file_read(path, 1 << 24, &text, &size, &fault), CDU_OK, "%s", fault.words);
    char *all = calloc(1, 2 * size + 1); /* event files hold zeros */
    for (size_t i = 0; i < size; i++) snprintf(all + 2 * i, 3, "%02x", (unsigned char)text[i]);
    free(text);
    return all;
}

static void nothing_is_left_over(void)
{
    char command[200];
    snprintf(command, sizeof command, "! find '%s' -name '*.part-*' | grep . >/dev/null", folder);
    cr_assert_eq(system(command), 0);
}

static cdu_status compare(cdu_error *error)
{
    return cdu_report_compare((const char *const[]){folder, second}, 2, page, error);
}

static cdu_status report(cdu_error *error)
{
    return cdu_report_write(folder, error);
}

/* Plants one failure after another until none is met; returns how many there were. */
static uint64_t each_failure(cdu_status (*work)(cdu_error *), void (*plant)(uint64_t), cdu_status code)
{
    for (uint64_t n = 1;; n++) {
        cdu_error fault = {0};
        cr_assert_lt(n, 100000);
        plant(n);
        cdu_status status = work(&fault);
        plant(0);
        nothing_is_left_over();
        if (status == CDU_OK) return n - 1;
        cr_assert(status == code && fault.words[0], "failure %lu: %d, %s", (unsigned long)n, (int)status, fault.words);
    }
}

Test(report_faults, a_full_disk_leaves_whole_files, .init = make_run, .fini = remove_run)
{
    char *old[FILES], *fresh[FILES];
    MUST(cdu_report_write(folder, error));
    for (int i = 0; i < FILES; i++) old[i] = contents(i);
    put_log(1);
    MUST(cdu_report_write(folder, error));
    for (int i = 0; i < FILES; i++) fresh[i] = contents(i);
    cr_assert_str_neq(old[4], fresh[4]);
    uint64_t failures = 0;
    for (uint64_t n = 1;; n++) {
        cdu_error fault = {0};
        put_log(0);
        MUST(cdu_report_write(folder, error));
        put_log(1);
        cdu_file_fail_at(n);
        cdu_status status = cdu_report_write(folder, &fault);
        cdu_file_fail_at(0);
        nothing_is_left_over();
        for (int i = 0; i < FILES; i++) {
            char *now = contents(i);
            cr_assert(!strcmp(now, fresh[i]) || (status != CDU_OK && !strcmp(now, old[i])), "failure %lu: %s is neither", (unsigned long)n, files[i]);
            free(now);
        }
        if (status == CDU_OK) break;
        failures++;
        cr_assert(status == CDU_CANNOT_WRITE && strstr(fault.words, folder), "failure %lu: %d, %s", (unsigned long)n, (int)status, fault.words);
    }
    cr_expect_geq(failures, 4 * FILES, "%lu operations failed", (unsigned long)failures);
    for (int i = 0; i < FILES; i++) free(old[i]), free(fresh[i]);
}

Test(report_faults, failing_memory_and_disk_have_words, .init = make_run, .fini = remove_run)
{
    snprintf(second, sizeof second, "%s", folder);
    cr_expect_geq(each_failure(report, cdu_allocate_fail_at, CDU_TRY_AGAIN), 20);
    cr_expect_geq(each_failure(compare, cdu_allocate_fail_at, CDU_TRY_AGAIN), 20);
    cr_expect_geq(each_failure(compare, cdu_file_fail_at, CDU_CANNOT_WRITE), 16);
}
