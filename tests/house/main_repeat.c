/* main_repeat.c: stands in for libFuzzer: gives every file of the folders named on the command line to the target, then some of its
 * prefixes and copies with flipped bytes, always the same ones. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SIZE_LIMIT = 1 << 20, PREFIXES = 64, FLIPS = 256 };

static void repeat(const uint8_t *data, size_t size)
{
    uint32_t state = 1;
    uint8_t *copy = malloc(size ? size : 1);
    if (!copy) abort();
    LLVMFuzzerTestOneInput(data, size);
    for (size_t i = 0; i < PREFIXES && size; i++) {
        /* a block of its own size, so that a read behind the end is seen */
        size_t length = size * i / PREFIXES;
        uint8_t *prefix = malloc(length ? length : 1);
        if (!prefix) abort();
        memcpy(prefix, data, length);
        LLVMFuzzerTestOneInput(prefix, length);
        free(prefix);
    }
    for (size_t i = 0; i < FLIPS && size; i++) {
        memcpy(copy, data, size);
        state = state * 1664525u + 1013904223u;
        copy[(state >> 8) % size] ^= (uint8_t)(1u << (state >> 5 & 7));
        LLVMFuzzerTestOneInput(copy, size);
    }
    free(copy);
}

static int repeat_file(const char *path)
{
    static uint8_t bytes[SIZE_LIMIT];
    FILE *file = fopen(path, "rb");
    if (!file) return 0;
    size_t size = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    repeat(bytes, size);
    return 1;
}

int main(int argc, char **argv)
{
    int files = 0;
    for (int i = 1; i < argc; i++) {
        DIR *folder = opendir(argv[i]);
        if (!folder) continue;
        for (struct dirent *entry = readdir(folder); entry; entry = readdir(folder)) {
            char path[4096];
            if (entry->d_name[0] == '.') continue;
            snprintf(path, sizeof path, "%s/%s", argv[i], entry->d_name);
            files += repeat_file(path);
        }
        closedir(folder);
    }
    printf("%d seeds\n", files);
    return files ? 0 : 1;
}
