/* balance.h: how many tiles of a batch each rank takes: in proportion to what its device does when all work at once. Leaves out what becomes
 * of a rank's speed later: pace.h. Internal to core/train. One thread. */
#ifndef CDU_TRAIN_BALANCE_H
#define CDU_TRAIN_BALANCE_H

#include "core/train/ranks.h"

/* Of one rank: tiles a second, and the most tiles a step that its device has memory for. */
typedef struct {
    double speed;
    uint32_t most;
} cdu_balance_rank;

/* Runs this rank's program, which was planned for the team, again and again without the others' sums, until every rank has run its own often
 * enough: so devices that share a machine are measured beside each other, as they will work. *speed: tiles a second, by the median of the times.
 * Momentum and running statistics are spoilt by it, weights are not. Called by all ranks. */
cdu_status cdu_balance_measure(const cdu_team *team, cdu_program *program, uint32_t tiles, double *speed, cdu_error *error);

/* Shares of a batch in whole multiples of `parts`, at least one for each rank and no more than its memory takes, such that the rank which takes
 * longest is done as early as can be: the next tile goes to whoever would be done with it first, of equals to the lower rank. What all ranks
 * can take together must be enough. */
void cdu_balance_shares(const cdu_balance_rank *ranks, uint32_t size, uint32_t batch, uint32_t parts, uint32_t *shares);

#endif
