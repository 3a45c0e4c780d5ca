/* checkpoint.c: see checkpoint.h. The new file is whole on disk before the old one gets its second name, and the last rename is atomic:
 * at every moment at least one whole checkpoint has a name that is read. */
#include "core/train/checkpoint.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cdunet/log.h"
#include "core/base/file.h"
#include "core/base/memory.h"
#include "core/model/model_file.h"

static const char last_name[] = "checkpoint.safetensors", previous_name[] = "checkpoint-previous.safetensors";
static const char next_name[] = "checkpoint-next.safetensors", momentum_name[] = "momentum";

void cdu_checkpoint_free(cdu_checkpoint *checkpoint)
{
    cdu_weights_free(&checkpoint->weights);
    free(checkpoint->momentum);
    *checkpoint = (cdu_checkpoint){0};
}

static cdu_status check_finite(const cdu_checkpoint *checkpoint, cdu_error *error)
{
    for (size_t i = 0; i < checkpoint->weights.count; i++) {
        const cdu_weight *weight = &checkpoint->weights.items[i];
        uint64_t count = 1;
        for (uint32_t d = 0; d < weight->rank; d++) count *= weight->dims[d];
        for (uint64_t k = 0; k < count; k++)
            if (!isfinite(weight->data[k]))
                return cdu_fail(error, CDU_FAILED,
                                "after step %" PRIu64 " weight %" PRIu64
                                " of %s is %g: no checkpoint is written; lower the learning rate",
                                checkpoint->step, k, weight->name, (double)weight->data[k]);
    }
    return CDU_OK;
}

static cdu_status set_count(cdu_safe_file *file, const char *key, uint64_t value, cdu_error *error)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, value);
    return cdu_safe_set(file, key, text, error);
}

static cdu_status fill(cdu_safe_file *file, const cdu_checkpoint *c, const int64_t *batches, cdu_error *error)
{
    char text[40];
    CDU_TRY(cdu_model_describe(file, &c->about, error));
    CDU_TRY(cdu_model_add_tensors(file, &c->about.settings, &c->weights, batches, error));
    CDU_TRY(cdu_safe_add(file, momentum_name, CDU_SAFE_F32, &c->momentum_count, 1, c->momentum, error));
    CDU_TRY(set_count(file, "step", c->step, error));
    CDU_TRY(set_count(file, "validated-step", c->validated_step, error));
    CDU_TRY(set_count(file, "best-step", c->best_step, error));
    snprintf(text, sizeof text, "%.17g", c->best);
    CDU_TRY(cdu_safe_set(file, "best", text, error));
    CDU_TRY(cdu_safe_set(file, "run-settings", c->settings, error));
    if (c->ranks > 1) CDU_TRY(set_count(file, "ranks", c->ranks, error));
    if (c->ranks > 1) CDU_TRY(cdu_safe_set(file, "shares", c->shares, error));
    return cdu_safe_seal(file, error);
}

/* The last becomes the one before, the next becomes the last. */
static cdu_status shift(const char *folder, const char *next, cdu_error *error)
{
    char last[CDU_PATH_LIMIT], previous[CDU_PATH_LIMIT];
    CDU_TRY(cdu_path_join(last, folder, last_name, error));
    CDU_TRY(cdu_path_join(previous, folder, previous_name, error));
    if (cdu_file_exists(last)) {
        unlink(previous);
        /* where the file system has no hard links the last goes away for a moment, but keeps its second name */
        if (link(last, previous) != 0 && rename(last, previous) != 0)
            return cdu_fail(error, CDU_CANNOT_WRITE, "%s: cannot be written: %s", previous, strerror(errno));
    }
    return cdu_file_commit(next, last, error);
}

cdu_status cdu_checkpoint_write(const char *folder, const cdu_checkpoint *checkpoint, cdu_error *error)
{
    cdu_safe_file file = {0};
    char next[CDU_PATH_LIMIT];
    int64_t batches = (int64_t)checkpoint->step;
    CDU_TRY(check_finite(checkpoint, error));
    CDU_TRY(cdu_path_join(next, folder, next_name, error));
    cdu_status status = fill(&file, checkpoint, &batches, error);
    if (status == CDU_OK) status = cdu_safe_write(next, &file, error);
    cdu_safe_free(&file);
    return status == CDU_OK ? shift(folder, next, error) : status;
}

static cdu_status get_count(const cdu_safe_file *file, const char *path, const char *key, uint64_t *out, cdu_error *error)
{
    const char *text = cdu_safe_metadata(file, key);
    char *end;
    if (!text || text[0] < '0' || text[0] > '9')
        return cdu_fail(error, CDU_BAD_DATA, "%s: is no checkpoint: __metadata__ has no number '%s'", path, key);
    *out = strtoull(text, &end, 10);
    return *end ? cdu_fail(error, CDU_BAD_DATA, "%s: __metadata__ '%s' is no number", path, key) : CDU_OK;
}

static cdu_status take(const char *path, const cdu_safe_file *file, cdu_checkpoint *out, cdu_error *error)
{
    CDU_TRY(cdu_safe_verify(file, path, true, error));
    CDU_TRY(get_count(file, path, "step", &out->step, error));
    CDU_TRY(get_count(file, path, "validated-step", &out->validated_step, error));
    CDU_TRY(get_count(file, path, "best-step", &out->best_step, error));
    const char *best = cdu_safe_metadata(file, "best"), *settings = cdu_safe_metadata(file, "run-settings");
    const cdu_safe_tensor *momentum = cdu_safe_find(file, momentum_name);
    if (!best || !settings || !momentum || momentum->type != CDU_SAFE_F32)
        return cdu_fail(error, CDU_BAD_DATA, "%s: is no checkpoint: momentum, best or run-settings are missing", path);
    out->best = strtod(best, NULL);
    const char *shares = cdu_safe_metadata(file, "shares");
    uint64_t ranks = 1;
    if (cdu_safe_metadata(file, "ranks")) CDU_TRY(get_count(file, path, "ranks", &ranks, error));
    out->ranks = (uint32_t)ranks;
    snprintf(out->shares, sizeof out->shares, "%s", shares ? shares : "");
    snprintf(out->settings, sizeof out->settings, "%s", settings);
    out->momentum_count = momentum->bytes / sizeof(float);
    CDU_TRY(cdu_allocate(&out->momentum, out->momentum_count, sizeof(float), error));
    memcpy(out->momentum, momentum->data, momentum->bytes);
    return cdu_model_take(path, file, &out->about, &out->weights, error);
}

static cdu_status read_one(const char *path, cdu_checkpoint *out, cdu_error *error)
{
    cdu_safe_file file;
    *out = (cdu_checkpoint){0};
    CDU_TRY(cdu_safe_read(path, &file, error));
    cdu_status status = take(path, &file, out, error);
    cdu_safe_free(&file);
    if (status != CDU_OK) cdu_checkpoint_free(out);
    return status;
}

cdu_status cdu_checkpoint_read(const char *folder, cdu_checkpoint *out, bool *found, cdu_error *error)
{
    static const char *const names[] = {last_name, previous_name};
    cdu_status status = CDU_OK;
    *found = false;
    *out = (cdu_checkpoint){0};
    for (int i = 0; i < 2; i++) {
        char path[CDU_PATH_LIMIT];
        cdu_error fault = {0};
        CDU_TRY(cdu_path_join(path, folder, names[i], error));
        if (!cdu_file_exists(path)) continue;
        *found = true;
        cdu_status result = read_one(path, out, &fault);
        if (result == CDU_OK) return CDU_OK;
        if (status == CDU_OK && error) *error = fault;
        status = result;
        if (result != CDU_BAD_DATA) return result;
        cdu_log(CDU_LOG_WARNING, "%s", fault.words);
    }
    return status;
}

cdu_status cdu_checkpoint_match(const cdu_checkpoint *checkpoint, const char *now, cdu_error *error)
{
    const char *then = checkpoint->settings;
    while (*then && *then == *now) then++, now++;
    if (*then == *now) return CDU_OK;
    while (then > checkpoint->settings && then[-1] != ' ') then--, now--;
    return cdu_fail(error, CDU_USAGE,
                    "the run was begun with %.*s, now it is %.*s: resume with the same settings, or begin another run",
                    (int)strcspn(then, " "), then, (int)strcspn(now, " "), now);
}
