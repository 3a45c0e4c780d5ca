/* fuzz_tune.c: any bytes as a tune pack: refused with words, or entries within bounds, which come back the same when written and read again. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/ops/tuning.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_entry(const cdu_tune_pack *pack, const cdu_tune_entry *entry)
{
    const cdu_conv_problem *p = &entry->problem;
    const uint32_t numbers[] = {p->side, p->stride, p->parities, p->n, p->h, p->w, p->in_lanes, p->out_lanes};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (!numbers[i] || numbers[i] > 1u << 16) abort();
    for (int i = 0; i < CDU_SETTINGS; i++)
        if (entry->choice.setting[i] > CDU_SETTING_LIMIT) abort();
    if (!cdu_conv_variant_named(entry->choice.variant) || cdu_tune_nearest(pack, p) != entry) abort();
}

static void write_and_read(cdu_tune_pack *pack)
{
    char path[64];
    cdu_tune_pack again;
    cdu_error error = {0};
    snprintf(path, sizeof path, "/tmp/cdunet-fuzz-tune-%ld.json", (long)getpid());
    if (cdu_tune_write(path, pack, &error) != CDU_OK || cdu_tune_read(path, &again, &error) != CDU_OK) abort();
    if (again.count != pack->count || strcmp(again.device, pack->device) || strcmp(again.driver, pack->driver)) abort();
    for (size_t i = 0; i < again.count; i++)
        if (memcmp(&again.entries[i].problem, &pack->entries[i].problem, sizeof again.entries[i].problem) ||
            memcmp(&again.entries[i].choice, &pack->entries[i].choice, sizeof again.entries[i].choice))
            abort();
    cdu_tune_free(&again);
    remove(path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    cdu_tune_pack pack;
    cdu_error error = {0};
    if (cdu_tune_parse("fuzz", (const char *)data, size, &pack, &error) != CDU_OK) {
        if (!error.words[0]) abort();
    } else {
        for (size_t i = 0; i < pack.count; i++) check_entry(&pack, &pack.entries[i]);
        write_and_read(&pack);
    }
    cdu_tune_free(&pack);
    return 0;
}
