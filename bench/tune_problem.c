/* tune_problem.c: a problem as a graph of its own, and which steps of its lowering solve it. */
#include <stdio.h>

#include "bench/tune.h"

static bool of_data(const cdu_conv_problem *p)
{
    return p->pass == CDU_CONV_SUM && p->side == 2;
}

cdu_status tune_graph(const cdu_conv_problem *p, cdu_graph **out, cdu_value *x, cdu_value *y, bool *training, cdu_error *error)
{
    *training = of_data(p) || p->pass == CDU_CONV_GRADIENT;
    CDU_TRY(cdu_tune_graph(p, 0, out, x, y, error));
    if (of_data(p)) cdu_graph_want_gradient(*out, *x);
    if (*training) cdu_graph_seed(*out, *y);
    else cdu_graph_output(*out, *y);
    return cdu_graph_status(*out, error);
}

static cdu_status count_steps(const cdu_graph *graph, const cdu_device_info *device, bool training, uint32_t *out, cdu_error *error)
{
    cdu_plan *plan = NULL;
    CDU_TRY(cdu_plan_create(graph, device, &(cdu_plan_options){.training = training, .quiet = true}, &plan, error));
    *out = cdu_plan_drafts(plan);
    cdu_plan_destroy(plan);
    return CDU_OK;
}

/* Of lowerings that choose alike, the longer one begins with the steps of the shorter one: forward, weight gradient, data gradient. */
cdu_status tune_steps(const cdu_conv_problem *p, const cdu_device_info *device, const cdu_graph *graph, uint32_t *first, uint32_t *last,
                      cdu_error *error)
{
    cdu_graph *less = NULL;
    cdu_value x, y;
    bool training = of_data(p) || p->pass == CDU_CONV_GRADIENT;
    *first = 0;
    CDU_TRY(count_steps(graph, device, training, last, error));
    if (!training) return CDU_OK;
    if (!of_data(p)) return count_steps(graph, device, false, first, error);
    cdu_status status = cdu_tune_graph(p, 0, &less, &x, &y, error);
    if (status == CDU_OK) cdu_graph_seed(less, y);
    if (status == CDU_OK) status = count_steps(less, device, true, first, error);
    cdu_graph_destroy(less);
    return status;
}

void tune_problem_text(const cdu_conv_problem *p, char out[TUNE_TEXT])
{
    const char *what = p->pass == CDU_CONV_GRADIENT ? "weight gradient" : p->parities == 4 ? "transposed" : "sum";
    snprintf(out, TUNE_TEXT, "%s %ux%u%s %ux%ux%u, %u-%u lanes", what, p->side, p->side, p->stride > 1 ? " stride 2" : "", p->n, p->h, p->w,
             p->in_lanes, p->out_lanes);
}
