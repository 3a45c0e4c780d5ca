/* conv_common.c: see conv_common.h. */
#include "core/ops/conv_common.h"

uint32_t cdu_conv_vector_of(const cdu_layout *layout, uint32_t limit)
{
    uint32_t width = limit;
    while (width > 4 && (layout->lanes % width || layout->pitch % width || layout->offset % width)) width /= 2;
    return width;
}

void cdu_conv_channel_params(cdu_draft *draft, const cdu_layout *layout, uint64_t step)
{
    cdu_draft_param(draft, layout->shape.c);
    cdu_draft_param(draft, layout->split);
    cdu_draft_param(draft, layout->split_lane);
    cdu_draft_param(draft, (uint32_t)step);
}
