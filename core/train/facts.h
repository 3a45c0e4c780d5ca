/* facts.h: run.json of a run: what reports want to know and neither log.csv nor study.yaml says: the device, its driver, the network's
 * size, memory, when it began, and the data as training saw it. Internal to core/train. */
#ifndef CDU_TRAIN_FACTS_H
#define CDU_TRAIN_FACTS_H

#include "backends/backend.h"
#include "core/study/tile_index.h"
#include "core/train/loader.h"
#include "core/train/ranks.h"

typedef struct {
    const cdu_study *study;
    const cdu_gpu *gpu;
    const cdu_tile_index *index;
    const float *class_weights;
    uint64_t parameters, planned_bytes, steps_per_epoch;
    cdu_loader_counts unreadable;
    const cdu_team *team;   /* several ranks are told with their shares; may be null */
    double began;       /* Unix time of the run's first beginning; cdu_run_facts_write keeps that of a run.json it finds */
} cdu_run_facts;

/* Writes folder/run.json; host memory is that of the process up to now. A run.json that is there and cannot be read is replaced. */
cdu_status cdu_run_facts_write(const char *folder, const cdu_run_facts *facts, cdu_error *error);

#endif
