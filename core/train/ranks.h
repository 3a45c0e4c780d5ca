/* ranks.h: what the ranks of a training run, one process and one device each, tell each other: that they are about to do the same thing, whose
 * tiles are whose, sums of gradients and losses, wishes (to stop, to save), and that they hold the same weights. Knows groups of processes by
 * collective.h alone. With one rank every call returns at once. Internal to core/train. One thread. */
#ifndef CDU_TRAIN_RANKS_H
#define CDU_TRAIN_RANKS_H

#include "core/model/model.h"
#include "core/ops/ops.h"
#include "core/train/metrics.h"
#include "dist/collective.h"

/* What one rank wants at the end of a step and any rank's wish settles for all. */
enum { CDU_WISH_STOP = 1, CDU_WISH_TIME = 2, CDU_WISH_SAVE = 4 };

typedef struct { char words[200]; } cdu_rank_name; /* "rank 1 on HOST (vulkan:0: the device's name)" */

typedef struct {
    cdu_ranks group;            /* kind null: alone */
    uint32_t rank, size;
    uint32_t *shares;           /* tiles of each rank in a step; their sum is the batch */
    uint32_t batch, first, share; /* of all; this rank's are [first, first + share) */
    struct cdu_team_running *running; /* the part that is under way */
    double *told;               /* size x CDU_TOLD */
    cdu_rank_name *names;       /* of all ranks, once cdu_team_device has gone well among several */
    uint32_t request;           /* of the telling that is under way */
    bool telling;
    bool agreed;                /* the failure is known to all ranks */
} cdu_team;

/* What each rank tells all others in a step. */
enum { CDU_TOLD_LOSS, CDU_TOLD_DIVISOR, CDU_TOLD_BAD, CDU_TOLD_WISHES, CDU_TOLD_BUSY, CDU_TOLD };

/* group: null, or open. The shares are set by cdu_team_share. */
void cdu_team_begin(cdu_team *team, const cdu_ranks *group);
void cdu_team_end(cdu_team *team);
/* shares: "3,1", or null: `each` for every rank. CDU_USAGE where the list does not fit the ranks or a share is 0 or no multiple of `parts`. */
cdu_status cdu_team_share(cdu_team *team, const char *shares, uint32_t each, uint32_t parts, cdu_error *error);
/* What rank 0 has, on all ranks. */
cdu_status cdu_team_share_as_told(cdu_team *team, const uint32_t *shares, cdu_error *error);
/* `batch` tiles over the ranks as evenly as multiples of `parts` go. */
cdu_status cdu_team_share_evenly(cdu_team *team, uint32_t batch, uint32_t parts, cdu_error *error);

/* Ranks meet: returns the failure of the first rank that failed, with its number in front unless all failed alike, on all ranks. facts:
 * "key=value key=value", null where there are none: CDU_USAGE, naming key and rank, where they differ. */
cdu_status cdu_team_agree(cdu_team *team, cdu_status mine, const char *facts, cdu_error *error);
/* Rank 0's bytes to all. */
cdu_status cdu_team_tell(const cdu_team *team, void *data, size_t bytes, cdu_error *error);
/* Rank 0's parameters, momentum and running statistics into all ranks' programs. */
cdu_status cdu_team_spread(const cdu_team *team, cdu_program *program, cdu_error *error);

/* Begins to tell `mine` and to hear what the others tell, or looks whether it is there: then team->told has a row of every rank. */
cdu_status cdu_team_tell_all(cdu_team *team, const double mine[CDU_TOLD], bool *done, cdu_error *error);
/* Of the last telling: the sum of a column, in the order of ranks; all wishes. */
double cdu_team_told(const cdu_team *team, uint32_t column);
uint32_t cdu_team_wishes(const cdu_team *team);

/* One sum over all ranks, in place. */
cdu_status cdu_team_sum(const cdu_team *team, double *values, size_t count, cdu_error *error);
cdu_status cdu_team_sum_confusion(const cdu_team *team, cdu_confusion *confusion, cdu_error *error);
/* The running statistics of all ranks become their mean, weighted by shares: the same bytes on all. */
cdu_status cdu_team_join_states(const cdu_team *team, cdu_program *program, cdu_error *error);
/* Whether weights, statistics and momentum are the same bytes on all ranks: *hash is theirs. CDU_FAILED with rank and tensor where not. */
cdu_status cdu_team_compare(const cdu_team *team, const cdu_weights *weights, const float *momentum, uint64_t elements, uint64_t step,
                            uint64_t *hash, cdu_error *error);

/* seats.c: the device that this rank takes, of what all ranks see and were told (backend.h, cdu_gpu_assign); alone, the name as it is. All
 * ranks come to the same choice or failure. */
cdu_status cdu_team_device(cdu_team *team, const char *list, bool oversubscribe, char *out, size_t size, cdu_error *error);

/* A step, or a part of one, of all ranks. */
typedef struct {
    cdu_program *program;       /* planned for the team's ranks, with cdu_sgd_update */
    cdu_value loss;             /* cross entropy's result */
    uint64_t pixels;            /* of all ranks' tiles */
    bool mean_of_pixels;
    double began;               /* when this rank began to work for it, by cdu_seconds */
    uint32_t (*wishes)(const void *context); /* this rank's, asked once its gradients are there; may be null */
    const void *context;
} cdu_team_part;
/* Runs it: gradients are those of all ranks' tiles, divided by the sum of all weights; then running statistics are joined. *loss: that of all
 * ranks' tiles, NaN where one's is not finite; nothing is moved then. Afterwards the team knows what was told. */
cdu_status cdu_team_run(cdu_team *team, const cdu_team_part *part, struct cdu_sgd_patch patch, float *loss, cdu_exchange_times *times,
                        cdu_error *error);
/* In the last step a rank's loss was not finite, and not this one's. */
bool cdu_team_others_bad(const cdu_team *team);

#endif
