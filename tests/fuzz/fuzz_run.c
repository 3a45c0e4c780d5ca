/* fuzz_run.c: what `cdunet report` reads of a run folder: log.csv, or an evaluation's JSON where the first byte is a brace. */
#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "core/report/run.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    cdu_error error = {0};
    if (size && data[0] == '{') {
        json_t *scores = json_loadb((const char *)data, size, 0, NULL);
        if (scores) cdu_run_check_scores("evaluation-test.json", scores, &error);
        json_decref(scores);
        return 0;
    }
    cdu_log_table table;
    if (cdu_log_table_parse("log.csv", (const char *)data, size, &table, &error) == CDU_OK) {
        cdu_log_table_best(&table);
        cdu_log_table_free(&table);
    }
    return 0;
}
