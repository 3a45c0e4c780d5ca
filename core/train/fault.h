/* fault.h: where numbers ceased to be finite in a step of training. Internal to core/train. */
#ifndef CDU_TRAIN_FAULT_H
#define CDU_TRAIN_FAULT_H

#include "core/graph/program.h"

enum { CDU_FAULT_WORDS = 96 };

/* After a run whose update did not take place (cdu_program_verdict): the first tensor, in the order in which a step runs, that is seen
 * to be not finite: the input of a batch norm, by its running statistics; the logits, where the loss is not finite; the gradient of a
 * parameter, from the last layer to the first. */
void cdu_first_not_finite(const cdu_graph *graph, cdu_program *program, double loss, char out[CDU_FAULT_WORDS]);

#endif
