/* hand.h: polygons as a person would draw them around what a section holds. */
#ifndef CDU_TOOLS_PHANTOM_HAND_H
#define CDU_TOOLS_PHANTOM_HAND_H

#include "core/slide/annotation.h"
#include "tools/phantom/section.h"

/* Tissue as its outline, Tumor and Necrosis within, Exclude over artefacts; they overlap. Vertices 30 to 60 um apart, moved by
 * smooth noise of 10 um; of small regions 2 % are missed. Level-0 pixels, clipped to the slide. Free with cdu_annotations_free. */
cdu_status phantom_hand_draw(const phantom_section *section, cdu_annotations *out, cdu_error *error);

#endif
