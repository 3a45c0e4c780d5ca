/* child.h: this program, or a peer's script, in a process of its own, with its standard input and output at hand. */
#ifndef CDU_BENCH_CHILD_H
#define CDU_BENCH_CHILD_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>

#include "cdunet/error.h"

typedef struct { pid_t pid; FILE *in, *out, *errors; } bench_child;

/* Starts arguments[0] (null-terminated; searched in PATH where it has no slash); `environment`: "NAME=VALUE" texts set there, null-terminated, or
 * null. `quiet`: what it says on standard error is kept for bench_child_line's words instead of shown. */
cdu_status bench_child_start(bench_child *, const char *const *arguments, const char *const *environment, bool quiet, cdu_error *);
/* One line of JSON from the child. CDU_NO_DEVICE where it ended with 69, CDU_FAILED where it ended otherwise or said something else; the words are
 * the last line that a quiet child said on standard error. */
cdu_status bench_child_line(bench_child *, json_t **, cdu_error *);
/* All that the child prints, as one JSON value; ends it. CDU_FAILED, or the status that it ended with. */
cdu_status bench_child_json(bench_child *, json_t **, cdu_error *);
/* Closes its input and output and waits for its end. */
void bench_child_end(bench_child *);

/* The path of this program. */
cdu_status bench_child_self(char *out, size_t size, cdu_error *);

#endif
