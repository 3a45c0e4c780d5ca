/* tune_problem.c: a problem as a graph of its own, and which steps of its lowering solve it. */
#include <stdio.h>
#include <string.h>

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

bool tune_solves(const cdu_conv_problem *p, const cdu_draft *draft)
{
    const char *pass = p->pass == CDU_CONV_GRADIENT ? "weight gradient" : of_data(p) ? "data gradient" : "forward";
    return draft && !strcmp(draft->pass, pass);
}

void tune_problem_text(const cdu_conv_problem *p, char out[TUNE_TEXT])
{
    const char *what = p->pass == CDU_CONV_GRADIENT ? "weight gradient" : p->parities == 4 ? "transposed" : "sum";
    snprintf(out, TUNE_TEXT, "%s %ux%u%s %ux%ux%u, %u-%u lanes", what, p->side, p->side, p->stride > 1 ? " stride 2" : "", p->n, p->h, p->w,
             p->in_lanes, p->out_lanes);
}
