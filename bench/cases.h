/* cases.h: single operators at shapes of their own. A case is named by what it is, so that any shape can be asked for:
 * conv3x3-32-64-256x256-n1 is a 3x3 convolution from 32 to 64 channels, 256 rows of 256 pixels, 1 image; batch-norm-32-512x512-n1 has
 * one number of channels. */
#ifndef CDU_BENCH_CASES_H
#define CDU_BENCH_CASES_H

#include "core/graph/program.h"

typedef struct bench_operator bench_operator;

typedef struct {
    const bench_operator *operator;
    uint32_t in, out, h, w, n;
} bench_case;

enum { BENCH_NAME = 64 };

/* CDU_USAGE, with the forms there are, where `name` is none. */
cdu_status bench_case_parse(const char *name, bench_case *, cdu_error *);
void bench_case_name(const bench_case *, char out[BENCH_NAME]);

typedef struct { const char *name, *set; } bench_case_row;
/* The cases measured by default; ends with a null name. Sets: "paper" (every operator of the paper's CD-UNET, one tile of 512 x 512), "hard"
 * (odd sizes, 3 channels, 16 images). */
extern const bench_case_row bench_case_rows[];

/* The case as a program with random numbers in its inputs; the graph belongs to the caller even where this fails. */
cdu_status bench_case_open(const bench_case *, const cdu_gpu *, bool exact, cdu_graph **, cdu_program **, cdu_error *);
/* Whether a pass of a node is what the case is about, and not what it takes to build it. */
bool bench_case_counts(const bench_case *, const char *pass);

#endif
