/* fault.c: see fault.h. Activations are gone by then, their memory used again; what is left of them are the statistics. */
#include "core/train/fault.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"

typedef cdu_status read_tensor(cdu_program *, cdu_value, void *, cdu_error *);

static cdu_status read_state(cdu_program *program, cdu_value value, void *dense, cdu_error *error)
{
    return cdu_program_read_parameter(program, value, dense, error);
}

static bool not_finite(cdu_program *program, cdu_value value, const cdu_value_info *info, read_tensor *read)
{
    uint64_t count = 1;
    float *dense;
    bool found = false;
    for (uint32_t d = 0; d < info->rank; d++) count *= info->dims[d];
    if (cdu_allocate(&dense, count, sizeof *dense, NULL) != CDU_OK) return false;
    if (read(program, value, dense, NULL) == CDU_OK)
        for (uint64_t i = 0; i < count && !found; i++) found = !isfinite(dense[i]);
    free(dense);
    return found;
}

void cdu_first_not_finite(const cdu_graph *graph, cdu_program *program, double loss, char out[CDU_FAULT_WORDS])
{
    uint32_t count = cdu_graph_values(graph);
    for (uint32_t v = 0; v < count; v++) {
        const cdu_value_info *info = cdu_graph_value(graph, (cdu_value)v);
        if (info->kind == CDU_VALUE_STATE && strstr(info->name, ".running_") && not_finite(program, (cdu_value)v, info, read_state)) {
            snprintf(out, CDU_FAULT_WORDS, "%.80s", info->name);
            return;
        }
    }
    if (!isfinite(loss)) {
        snprintf(out, CDU_FAULT_WORDS, "out, the logits");
        return;
    }
    snprintf(out, CDU_FAULT_WORDS, "unknown");
    for (uint32_t v = count; v-- > 0;) {
        const cdu_value_info *info = cdu_graph_value(graph, (cdu_value)v);
        if (info->kind == CDU_VALUE_PARAMETER && not_finite(program, (cdu_value)v, info, cdu_program_read_gradient)) {
            snprintf(out, CDU_FAULT_WORDS, "the gradient of %.70s", info->name);
            return;
        }
    }
}
