/* check_slide.h: what `cdunet check` finds out about one slide of a study: whether it and its labels can be read, areas, a small picture with
 * the labels drawn in; and the sheet of those pictures. */
#ifndef CDU_TOOLS_CHECK_SLIDE_H
#define CDU_TOOLS_CHECK_SLIDE_H

#include "cdunet/slide.h"
#include "cdunet/study.h"

typedef struct {
    bool usable;                          /* slide and labels could be read */
    char fault[768];                      /* else why not */
    cdu_slide_info info;
    const char *format;                   /* of the annotation; null: there is none */
    size_t annotations, left_out;         /* left_out: points, lines, cells */
    size_t outside, outside_line;         /* wholly off the slide */
    size_t crossed, crossed_line;
    double area[CDU_CLASS_LIMIT], excluded; /* mm2, every pixel once, overlaps decided */
    uint32_t width, height;               /* of the picture */
    uint8_t *rgb;                         /* width * height * 3 */
} checked_slide;

/* `panel`: the picture's longer side. A slide that cannot be read is no failure: the words go to out->fault. Threads: several at once, each with
 * its own slide. Free out->rgb with free(). */
cdu_status check_slide(const cdu_study *study, size_t slide, uint32_t panel, checked_slide *out, cdu_error *error);

/* All pictures, captions and a legend as PNG. */
cdu_status check_sheet(const cdu_study *study, const checked_slide *slides, uint32_t panel, const char *path, cdu_error *error);

#endif
