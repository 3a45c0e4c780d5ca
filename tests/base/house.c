/* house.c: the base: errors, files whole or not at all, growing memory, random numbers, threads. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/debug.h"
#include "core/base/file.h"
#include "core/base/memory.h"
#include "core/base/progress.h"
#include "core/base/random.h"
#include "core/base/stop.h"
#include "core/base/thread.h"

static char folder[256];

static void make_folder(void)
{
    snprintf(folder, sizeof folder, "%s/base-test-XXXXXX", CDUNET_BINARY_DIR);
    cr_assert_not_null(mkdtemp(folder));
}

static void remove_folder(void)
{
    char command[300];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    cr_assert_eq(system(command), 0);
}

static int entries(void)
{
    char command[300];
    int count = -1;
    snprintf(command, sizeof command, "ls -A '%s' | wc -l", folder);
    FILE *pipe = popen(command, "r");
    cr_assert(pipe && fscanf(pipe, "%d", &count) == 1);
    pclose(pipe);
    return count;
}

Test(error, words_place_and_prefix)
{
    cdu_error error = {0};
    cr_assert_eq(cdu_fail(&error, CDU_BAD_DATA, "tile %d of %d", 3, 7), CDU_BAD_DATA);
    cr_assert_str_eq(error.words, "tile 3 of 7");
    cr_assert(strstr(error.where, "house.c:"));
    cr_assert_eq(cdu_error_prefix(&error, "slide.svs"), CDU_BAD_DATA);
    cr_assert_str_eq(error.words, "slide.svs: tile 3 of 7");
    cr_assert_eq(cdu_fail(NULL, CDU_USAGE, "nobody listens"), CDU_USAGE);
    char longer[3000];
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = 0;
    cdu_fail(&error, CDU_FAILED, "%s", longer);
    cdu_error_prefix(&error, "%s", longer);
    cr_assert_lt(strlen(error.words), sizeof error.words);
}

Test(error, statuses_have_texts)
{
    cr_assert_str_eq(cdu_status_text(CDU_NO_DEVICE), "no usable device");
    cr_assert_eq(CDU_BAD_DATA, 65);
    cr_assert_eq(CDU_STOPPED, 130);
    cr_assert_not_null(cdu_status_text((cdu_status)4711));
}

Test(file, whole_or_not_at_all, .init = make_folder, .fini = remove_folder)
{
    char path[300], *text = NULL;
    size_t size = 0;
    cdu_error error = {0};
    snprintf(path, sizeof path, "%s/file", folder);
    cr_assert_eq(cdu_file_write(path, "first", 5, &error), CDU_OK, "%s", error.words);
    /* every operation of a write fails in turn: the old content stays, no temporary file is left */
    int failed = 0;
    for (uint64_t n = 1; n < 20; n++) {
        cdu_file_fail_at(n);
        cdu_status status = cdu_file_write(path, "second", 6, &error);
        cdu_file_fail_at(0);
        if (status == CDU_OK) break;
        failed++;
        cr_assert_eq(status, CDU_CANNOT_WRITE);
        cr_assert(strstr(error.words, path));
        cr_assert_eq(entries(), 1);
        cr_assert_eq(cdu_file_read(path, 100, &text, &size, &error), CDU_OK);
        /* only the folder's own sync comes after the rename */
        cr_assert(!strcmp(text, "first") || n >= 5);
        free(text);
    }
    cr_assert_geq(failed, 4);
    cr_assert_eq(cdu_file_read(path, 100, &text, &size, &error), CDU_OK);
    cr_assert_str_eq(text, "second");
    cr_assert_eq(size, 6);
    free(text);
}

Test(file, pending_files_are_removed, .init = make_folder, .fini = remove_folder)
{
    char path[300], temporary[CDU_PATH_LIMIT];
    cdu_error error = {0};
    snprintf(path, sizeof path, "%s/picture.png", folder);
    cr_assert_eq(cdu_file_begin(path, temporary, &error), CDU_OK);
    cr_assert_eq(entries(), 1);
    cdu_file_discard_all();
    cr_assert_eq(entries(), 0);
    cr_assert_eq(cdu_file_begin(path, temporary, &error), CDU_OK);
    cr_assert_eq(cdu_file_commit(temporary, path, &error), CDU_OK);
    cdu_file_discard_all();
    cr_assert(cdu_file_exists(path));
}

Test(file, refusals_name_the_file, .init = make_folder, .fini = remove_folder)
{
    char path[300], *text = (char *)"untouched";
    cdu_error error = {0};
    snprintf(path, sizeof path, "%s/none", folder);
    cr_assert_eq(cdu_file_read(path, 100, &text, NULL, &error), CDU_BAD_DATA);
    cr_assert(strstr(error.words, path));
    cr_assert_eq(cdu_file_read(folder, 100, &text, NULL, &error), CDU_BAD_DATA);
    cr_assert(strstr(error.words, "regular"));
    cr_assert_eq(cdu_file_write(path, "0123456789", 10, &error), CDU_OK);
    cr_assert_eq(cdu_file_read(path, 9, &text, NULL, &error), CDU_BAD_DATA);
    cr_assert(strstr(error.words, "10 bytes"));
    snprintf(path, sizeof path, "%s/pipe", folder);
    cr_assert_eq(mkfifo(path, 0666), 0);
    alarm(10);
    cr_assert_eq(cdu_file_read(path, 9, &text, NULL, &error), CDU_BAD_DATA);
    cr_assert(strstr(error.words, "regular"));
    alarm(0);
    cr_assert_eq(cdu_file_try("/dev/null", &error), CDU_CANNOT_WRITE);
    cr_assert(strstr(error.words, "/dev/null") && strstr(error.words, "regular"));
    cr_assert_eq(cdu_file_try(folder, &error), CDU_CANNOT_WRITE);
    cr_assert_eq(cdu_file_write("/there/is/no/such/folder/x", "x", 1, &error), CDU_CANNOT_WRITE);
    snprintf(path, sizeof path, "%s/a/b/c", folder);
    cr_assert_eq(cdu_folder_create(path, &error), CDU_OK);
    cr_assert(cdu_file_exists(path));
}

Test(file, one_file_by_two_names, .init = make_folder, .fini = remove_folder)
{
    char plain[300], roundabout[330], other[300];
    cdu_error error = {0};
    snprintf(plain, sizeof plain, "%s/picture", folder);
    snprintf(roundabout, sizeof roundabout, "%s/../%s/./picture", folder, strrchr(folder, '/') + 1);
    snprintf(other, sizeof other, "%s/other", folder);
    cr_assert(cdu_file_same(plain, roundabout));
    cr_assert(!cdu_file_same(plain, other));
    cr_assert_eq(cdu_file_write(plain, "x", 1, &error), CDU_OK);
    cr_assert(cdu_file_same(plain, roundabout));
    cr_assert(!cdu_file_same(plain, other));
    cr_assert_eq(symlink(plain, other), 0);
    cr_assert(cdu_file_same(plain, other));
}

Test(memory, overflow_and_planted_failures)
{
    cdu_error error = {0};
    void *block = NULL;
    cr_assert_eq(cdu_allocate(&block, SIZE_MAX / 2, 4, &error), CDU_TRY_AGAIN);
    cdu_allocate_fail_at(2);
    cr_assert_eq(cdu_allocate(&block, 4, 4, &error), CDU_OK);
    cr_assert_eq(((int *)block)[3], 0);
    free(block);
    cr_assert_eq(cdu_allocate(&block, 4, 4, &error), CDU_TRY_AGAIN);
    cdu_allocate_fail_at(0);
    int *numbers = NULL;
    size_t capacity = 0;
    for (size_t i = 0; i < 1000; i++) {
        cr_assert_eq(cdu_grow(&numbers, &capacity, i + 1, sizeof *numbers, &error), CDU_OK);
        cr_assert_eq(numbers[i], 0);
        numbers[i] = (int)i;
    }
    for (size_t i = 0; i < 1000; i++) cr_assert_eq(numbers[i], (int)i);
    free(numbers);
}

/* Known answers of Salmon et al., Random123's kat_vectors. */
Test(random, known_answers_of_philox)
{
    cdu_random_block zero = cdu_philox((uint32_t[4]){0}, (uint32_t[2]){0});
    cr_assert_arr_eq(zero.word, ((uint32_t[]){0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}), sizeof zero.word);
    cdu_random_block ones = cdu_philox((uint32_t[4]){0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
                                       (uint32_t[2]){0xffffffff, 0xffffffff});
    cr_assert_arr_eq(ones.word, ((uint32_t[]){0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}), sizeof ones.word);
    cdu_random_block pi = cdu_philox((uint32_t[4]){0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
                                     (uint32_t[2]){0xa4093822, 0x299f31d0});
    cr_assert_arr_eq(pi.word, ((uint32_t[]){0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}), sizeof pi.word);
}

Test(random, streams_are_apart_and_repeat)
{
    cdu_random a = cdu_random_stream(7, CDU_RANDOM_TEST, 1, 2), b = cdu_random_stream(7, CDU_RANDOM_TEST, 1, 2);
    cdu_random c = cdu_random_stream(7, CDU_RANDOM_TEST, 1, 3);
    int same = 0;
    double sum = 0, squares = 0;
    for (int i = 0; i < 20000; i++) {
        uint32_t x = cdu_random_u32(&a);
        cr_assert_eq(x, cdu_random_u32(&b));
        same += x == cdu_random_u32(&c);
    }
    cr_assert_leq(same, 1);
    for (int i = 0; i < 20000; i++) {
        double n = cdu_random_normal(&a);
        sum += n;
        squares += n * n;
        cr_assert_lt(cdu_random_below(&b, 3), 3);
        float f = cdu_random_float(&c);
        cr_assert(f >= 0 && f < 1);
    }
    cr_assert_float_eq(sum / 20000, 0, 0.03);
    cr_assert_float_eq(squares / 20000, 1, 0.04);
}

static cdu_status square(void *context, size_t i, cdu_error *error)
{
    int *out = context;
    if (i == 70 || i == 90) return cdu_fail(error, CDU_BAD_DATA, "item %zu", i);
    out[i] += (int)(i * i);
    return CDU_OK;
}

Test(thread, each_once_and_the_first_error)
{
    int squares[100] = {0};
    cdu_error error = {0};
    cr_assert_eq(cdu_parallel(4, 60, square, squares, &error), CDU_OK);
    for (int i = 0; i < 60; i++) cr_assert_eq(squares[i], i * i);
    cr_assert_eq(cdu_parallel(1, 100, square, squares, &error), CDU_BAD_DATA);
    cr_assert_str_eq(error.words, "item 70");
    cr_assert_eq(cdu_parallel(4, 0, square, squares, &error), CDU_OK);
    cr_assert_geq(cdu_processors(), 1);
}

Test(debug, words_from_the_environment)
{
    cdu_error error = {0};
    setenv("CDUNET_DEBUG", "poison,no-reuse", 1);
    cr_assert_eq(cdu_debug_load(&error), CDU_OK);
    cr_assert(cdu_debug(CDU_DEBUG_POISON) && cdu_debug(CDU_DEBUG_NO_REUSE) && !cdu_debug(CDU_DEBUG_BARRIERS));
    setenv("CDUNET_DEBUG", "poisson", 1);
    cr_assert_eq(cdu_debug_load(&error), CDU_USAGE);
    cr_assert(strstr(error.words, "poisson") && strstr(error.words, "no-recompute"));
}

Test(progress, plain_lines_where_there_is_no_terminal, .init = make_folder, .fini = remove_folder)
{
    char text[512] = "";
    FILE *stream = tmpfile();
    cdu_progress_set_stream(stream);
    cdu_progress_bar bar = cdu_progress_begin("tiles", 200);
    bar.began -= 20;
    bar.shown -= 20;
    cdu_progress_update(&bar, 50, "loss 0.5");
    bar.shown -= 20;
    bar.most_left = 12;
    cdu_progress_update(&bar, 51, NULL);
    cdu_progress_end(&bar);
    cdu_progress_set_stream(NULL);
    rewind(stream);
    cr_assert_gt(fread(text, 1, sizeof text - 1, stream), 0);
    fclose(stream);
    cr_assert(strstr(text, "tiles: 50 of 200 (25 %), 1 min 00 s left, loss 0.5\n"), "%s", text);
    cr_assert(strstr(text, "tiles: 51 of 200 (26 %), 12 s left\n"), "%s", text); /* a limit of time that comes first */
    cr_assert(!strchr(text, '\r') && !strchr(text, '\033'));
}

Test(stop, is_a_wish)
{
    cr_assert(!cdu_stop_requested());
    cdu_stop_request();
    cr_assert(cdu_stop_requested());
    cdu_stop_clear();
    cr_assert(!cdu_stop_requested());
}
