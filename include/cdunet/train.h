/* train.h: trains a network on the slides of a study. The run folder gets model.safetensors (the best by macro F1 on the validation
 * slides, or the last where there are none), checkpoint.safetensors (the last state; checkpoint-previous.safetensors the one before),
 * log.csv, study.yaml (all settings in full) and command.txt. The same study, seed, batch and driver give the same bytes, for any
 * number of loader threads, interrupted and resumed or not. */
#ifndef CDUNET_TRAIN_H
#define CDUNET_TRAIN_H

#include <stdbool.h>
#include <stdint.h>

#include "cdunet/error.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    const char *study;             /* path of the study file */
    const char *folder;            /* the run folder; created */
    const char *device;            /* as in device.h; null: auto. Among ranks a list */
    bool oversubscribe;            /* ranks may share a card */
    const char *command;           /* text for command.txt, or null */
    bool resume;                   /* go on with the run in the folder, or begin where there is no checkpoint yet */
    uint32_t threads;              /* of the tile loader; 0: as many as processors */
    uint64_t cache;                /* bytes of decoded tiles to keep in memory; 0: a quarter of what is free, at most 4 GiB */
    uint64_t max_steps;            /* end after so many steps in all; 0: no limit */
    double seconds;                /* end after so much training, validation apart; 0: no limit */
    uint32_t epochs, batch, width, accumulate; /* overrule the study where not 0 */
    bool exact_conv;               /* overrules the study where true */
    uint64_t memory;               /* bytes of device memory that may be used, at the price of time; 0: as much as it takes */
    bool seed_given;
    uint64_t seed; /* overrules the study where given */
    /* Several processes, one device each, that train together (dist/collective.h); null: alone. All call this with the same options; `device` is
     * one name for all then, or a list, "opencl:0,vulkan:0": one for each rank, or for each on its machine; "auto" takes a card that no other has. The study's batch is each rank's. Rank 0 writes the folder, which the others need not see. */
    const struct cdu_ranks *ranks;
    const char *shares;            /* "3,1": tiles of each rank in a step, instead of the batch for each */
    bool balance;                  /* instead: as many tiles for each rank as its device is fast, measured before the first step; the batch stays */
    uint64_t bucket;               /* bytes of gradients that are summed over ranks at once, at least; 0: 4 MiB */
} cdu_train_options;

typedef struct {
    uint64_t steps, epochs;          /* done in all, epochs whole */
    uint64_t parameters, peak_bytes; /* peak: planned device memory of the training program */
    double loss;                     /* of the last step */
    double best_f1;                  /* macro F1; negative: no validation took place */
    char device[24];                 /* that this process trained on: "opencl:0" */
    uint64_t best_step;              /* step of model.safetensors */
    double seconds_per_step;         /* mean, the first step apart */
    uint64_t unreadable_tiles, unreadable_slides; /* replaced by others; slides that have such tiles */
    bool agreed;                     /* a failure that all ranks know of and return alike; else the others wait for this one */
    double device_waits;             /* share of that time in which the device had nothing to do, 0 to 1 */
} cdu_train_result;

/* CDU_BAD_DATA for the study or its slides, CDU_CANNOT_WRITE for a full disk or a folder in use by another process, CDU_USAGE for a
 * folder with a run where `resume` is false, CDU_FAILED for a loss that is not finite (step and tiles named), CDU_STOPPED after a
 * stop request (core/base/stop.h) with a checkpoint written, CDU_TRY_AGAIN for a lost device and for a limit of memory that is too small
 * (the words name the least that would do). `result` may be null. One call at a
 * time in a process for each folder. */
cdu_status cdu_train(const cdu_train_options *options, cdu_train_result *result, cdu_error *error);

#ifdef __cplusplus
}
#endif
#endif
