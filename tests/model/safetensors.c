/* Hostile and damaged safetensors files, and the round trip. */
#include "core/model/safetensors.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/base/memory.h"
#include "core/model/model.h"

static cdu_status parse(const char *header, size_t data, cdu_error *error)
{
    size_t length = strlen(header);
    char *bytes = calloc(1, 8 + length + data); /* of the exact size, so that ASan sees a byte too far */
    for (int i = 0; i < 8; i++) bytes[i] = (char)((uint64_t)length >> (8 * i));
    memcpy(bytes + 8, header, length);
    cdu_safe_file file;
    cdu_status status = cdu_safe_parse("test", bytes, 8 + length + data, &file, error);
    if (status == CDU_OK) cdu_safe_free(&file);
    free(bytes);
    return status;
}

#define A(begin, end) "\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[" #begin "," #end "]}"
#define B(begin, end) "\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[" #begin "," #end "]}"

Test(safetensors, good_headers_are_taken)
{
    cdu_error error = {0};
    cr_expect_eq(parse("{}", 0, &error), CDU_OK, "%s", error.words);
    cr_expect_eq(parse("{" A(0, 8) "," B(8, 12) "}   ", 12, &error), CDU_OK, "%s", error.words);
    cr_expect_eq(parse("{" A(4, 12) "," B(0, 4) ",\"__metadata__\":{\"k\":\"v\"}}", 12, &error), CDU_OK, "%s", error.words);
    cr_expect_eq(parse("{\"a\":{\"dtype\":\"F32\",\"shape\":[0,99999999999],\"data_offsets\":[0,0]}}", 0, &error), CDU_OK, "%s",
                 error.words);
}

Test(safetensors, hostile_headers_are_refused_with_words)
{
    static const struct {
        const char *header;
        size_t data;
        const char *word;
    } rows[] = {
        {"{" A(0, 8) "}", 9, "behind the last"},
        {"{" A(0, 8) "}", 7, "do not lie within"},
        {"{" A(0, 8) "," B(4, 8) "}", 8, "overlaps"},
        {"{" A(0, 8) "," B(9, 13) "}", 13, "hole"},
        {"{" A(1, 9) "}", 9, "hole"},
        {"{" A(0, 8) "," A(0, 8) "}", 8, "broken"},
        {"{" A(8, 0) "}", 8, "do not lie within"},
        {"{" A(-8, 0) "}", 8, "do not lie within"},
        {"{" A(0, 18446744073709551616) "}", 8, "broken"},
        {"{" A(0, 4) "}", 4, "its shape needs"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904,4],\"data_offsets\":[0,0]}}", 0, "overflows"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,0]}}", 0, "whole number"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1.5],\"data_offsets\":[0,0]}}", 0, "whole number"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,4]}}", 4, "dimensions"},
        {"{\"a\":{\"dtype\":\"Q99\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "of type"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4,8]}}", 4, "data_offsets"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],\"x\":1}}", 4, "just dtype"},
        {"{\"a\":7}", 0, "just dtype"},
        {"{\"__metadata__\":{\"k\":1}}", 0, "not a string"},
        {"{\"__metadata__\":[]}", 0, "not an object"},
        {"{\"__metadata__\":{\"k\":\"v\",\"k\":\"v\"}}", 0, "broken"},
        {"{\"a\\u0000b\":{}}", 0, "broken"},
        {"[[[[[[]]]]]]", 0, "deeper"},
        {"[]", 0, "not a JSON object"},
        {"{", 0, "broken"},
        {"{} {}", 0, "broken"},
        {"", 0, "broken"},
        {"{\"\xff\":{}}", 0, "broken"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        cdu_error error = {0};
        cr_expect_eq(parse(rows[i].header, rows[i].data, &error), CDU_BAD_DATA, "%s was taken", rows[i].header);
        cr_expect(strstr(error.words, rows[i].word), "%s: words are: %s", rows[i].header, error.words);
    }
    cdu_safe_file file;
    cdu_error error = {0};
    for (size_t size = 0; size < 8; size++)
        cr_expect_eq(cdu_safe_parse("short", "\0\0\0\0\0\0\0", size, &file, &error), CDU_BAD_DATA);
    cr_expect_eq(cdu_safe_parse("long", "\xff\xff\xff\xff\xff\xff\xff\xff{}", 10, &file, &error), CDU_BAD_DATA);
    cr_expect_eq(cdu_safe_parse("long", "\x03\0\0\0\0\0\0\0{}", 10, &file, &error), CDU_BAD_DATA);
    char *deep = malloc(200001);
    memset(deep, '[', 200000);
    deep[200000] = 0;
    cr_expect_eq(parse(deep, 0, &error), CDU_BAD_DATA);
    free(deep);
}

static const char *path_for(const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "/tmp/cdunet-test-%ld-%s", (long)getpid(), name);
    return path;
}

Test(safetensors, what_is_written_reads_back_and_is_the_same_twice)
{
    cdu_error error = {0};
    cdu_safe_file file = {0}, back;
    float f[6] = {1, -2, 3.5f, 0, 1e-30f, 6};
    int64_t i64 = -5;
    uint8_t bytes[3] = {1, 2, 3};
    uint64_t dims[2] = {2, 3}, three = 3;
    cr_assert_eq(cdu_safe_add(&file, "bytes", CDU_SAFE_U8, &three, 1, bytes, &error), CDU_OK);
    cr_assert_eq(cdu_safe_add(&file, "floats", CDU_SAFE_F32, dims, 2, f, &error), CDU_OK);
    cr_assert_eq(cdu_safe_add(&file, "count", CDU_SAFE_I64, NULL, 0, &i64, &error), CDU_OK);
    for (int i = 0; i < 20; i++) {
        char key[8];
        snprintf(key, sizeof key, "k%d", i);
        cr_assert_eq(cdu_safe_set(&file, key, "\"quoted\" \xc3\xa4", &error), CDU_OK);
    }
    cr_assert_eq(cdu_safe_set(&file, "k3", "again", &error), CDU_OK);
    cr_assert_eq(cdu_safe_seal(&file, &error), CDU_OK);
    const char *path = path_for("round.safetensors");
    cr_assert_eq(cdu_safe_write(path, &file, &error), CDU_OK, "%s", error.words);
    char *first, *second;
    size_t size, again;
    cr_assert_eq(cdu_file_read(path, 1 << 20, &first, &size, &error), CDU_OK);
    cr_assert_eq(cdu_safe_write(path, &file, &error), CDU_OK);
    cr_assert_eq(cdu_file_read(path, 1 << 20, &second, &again, &error), CDU_OK);
    cr_expect(size == again && !memcmp(first, second, size));
    cr_assert_eq(cdu_safe_read(path, &back, &error), CDU_OK, "%s", error.words);
    cr_assert_eq(back.tensor_count, 3);
    cr_expect_str_eq(back.tensors[0].name, "count", "8-byte data come first");
    const cdu_safe_tensor *floats = cdu_safe_find(&back, "floats");
    cr_assert(floats && floats->rank == 2 && floats->dims[0] == 2 && floats->dims[1] == 3);
    cr_expect(!memcmp(floats->data, f, sizeof f));
    cr_expect(!memcmp(cdu_safe_find(&back, "count")->data, &i64, 8));
    cr_expect(!memcmp(cdu_safe_find(&back, "bytes")->data, bytes, 3));
    cr_expect_str_eq(cdu_safe_metadata(&back, "k3"), "again");
    cr_expect_str_eq(cdu_safe_metadata(&back, "k19"), "\"quoted\" \xc3\xa4");
    cr_expect_eq(cdu_safe_verify(&back, path, true, &error), CDU_OK);
    cdu_safe_free(&back);
    cdu_safe_free(&file);
    free(first);
    free(second);
    unlink(path);
}

/* A model file of about 6 KB: every byte flipped in one bit and in all, every truncation: refused, or read as the very same model. */
Test(safetensors, every_damage_is_refused_or_harmless)
{
    cdu_error error = {0};
    cdu_model_about about = {.settings = {CDU_MODEL_CDUNET, 1, 1, {2, 1}, 2, false, false, false}, .mpp = 1, .tile = 8};
    strcpy(about.class_names[0], "Background");
    strcpy(about.class_names[1], "Tumor");
    cdu_weights weights;
    cr_assert_eq(cdu_model_initialize(&about.settings, 1, &weights, &error), CDU_OK);
    char path[256];
    snprintf(path, sizeof path, "%s", path_for("damage.safetensors"));
    cr_assert_eq(cdu_model_write(path, &about, &weights, &error), CDU_OK, "%s", error.words);
    char *bytes;
    size_t size, refused = 0;
    cr_assert_eq(cdu_file_read(path, 1 << 20, &bytes, &size, &error), CDU_OK);
    cr_expect_lt(size, 8192);
    for (size_t i = 0; i < 3 * size; i++) {
        char *copy = malloc(size);
        memcpy(copy, bytes, size);
        size_t length = i < 2 * size ? size : i - 2 * size;
        if (i < size)
            copy[i] ^= (char)(1 << i % 8);
        else if (i < 2 * size)
            copy[i - size] ^= (char)0xff;
        copy = realloc(copy, length ? length : 1);
        cdu_safe_file file;
        cdu_status status = cdu_safe_parse("damaged", copy, length, &file, &error);
        if (status == CDU_OK) {
            status = cdu_safe_verify(&file, "damaged", true, &error);
            cdu_safe_free(&file);
        }
        if (status != CDU_OK) refused++;
        /* what the sum does not cover is white space in the header */
        else
            cr_expect(i < 2 * size && strchr(" \t\r\n", bytes[i % size]), "damage %zu of a file of %zu was not seen", i, size);
        free(copy);
    }
    cr_expect_geq(refused, 3 * size - 16);
    free(bytes);
    cdu_weights_free(&weights);
    unlink(path);
}

/* Every allocation of writing and reading a model fails once, every file operation of writing: words, no leak, and the old file stays whole. */
Test(safetensors, survives_failing_memory_and_disk)
{
    cdu_model_about about = {.settings = {CDU_MODEL_CDUNET, 1, 1, {2, 1}, 2, false, false, false}, .mpp = 1, .tile = 8}, read;
    strcpy(about.class_names[0], "Background");
    strcpy(about.class_names[1], "Tumor");
    cdu_weights weights, back;
    cdu_error error = {0};
    char path[256];
    cr_assert_eq(cdu_model_initialize(&about.settings, 1, &weights, &error), CDU_OK);
    snprintf(path, sizeof path, "%s", path_for("failing.safetensors"));
    cr_assert_eq(cdu_model_write(path, &about, &weights, &error), CDU_OK, "%s", error.words);
    for (int what = 0; what < 3; what++) {
        cdu_status status = CDU_FAILED, expected = what == 2 ? CDU_CANNOT_WRITE : CDU_TRY_AGAIN;
        uint64_t n = 0;
        while (status != CDU_OK) {
            error = (cdu_error){0};
            (what == 2 ? cdu_file_fail_at : cdu_allocate_fail_at)(++n);
            status = what ? cdu_model_write(path, &about, &weights, &error) : cdu_model_read(path, &read, &back, &error);
            cdu_file_fail_at(0);
            cdu_allocate_fail_at(0);
            cr_assert(status == CDU_OK || (status == expected && error.words[0]), "%d, failure %lu: %d, %s", what, (unsigned long)n, (int)status,
                      error.words);
            if (!what && status == CDU_OK) cdu_weights_free(&back);
            cr_assert_eq(cdu_model_read(path, &read, &back, &error), CDU_OK, "%d, failure %lu: %s", what, (unsigned long)n, error.words);
            cr_assert(back.count == weights.count && !memcmp(back.items[0].data, weights.items[0].data, sizeof(float)));
            cdu_weights_free(&back);
        }
        cr_expect_gt(n, 4);
    }
    cdu_weights_free(&weights);
    unlink(path);
}
