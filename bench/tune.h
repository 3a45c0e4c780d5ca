/* tune.h: what the parts of `cdunet-bench tune` share. The tuner's own process opens no device: whatever touches a driver runs in a child
 * process with a deadline (tune_child.c), so that a kernel that hangs or ends its process costs one candidate. What a child does: tune_try.c,
 * tune_check.c. What was tried is written down before and after (tune_journal.c). The search itself: cmd_tune.c. */
#ifndef CDU_BENCH_TUNE_H
#define CDU_BENCH_TUNE_H

#include "bench/report.h"
#include "core/base/file.h"
#include "core/graph/program.h"
#include "core/ops/tuning.h"

/* ---- children ---- */

typedef enum { TUNE_ANSWERED, TUNE_HUNG, TUNE_DIED, TUNE_STUCK } tune_end;  /* STUCK: hung, and cannot be ended */

/* Runs work(request, answer) in a child, which writes `size` bytes of answer; ends it where a phase of its work takes longer than
 * `seconds`, or ten times that where it compiles, as it does at first. `why` says in words what became of it where that is not
 * TUNE_ANSWERED. Children end with their parent. */
typedef void tune_work(const void *request, void *answer);
cdu_status tune_child(tune_work *work, const void *request, void *answer, size_t size, double seconds, tune_end *end, char why[192],
                      cdu_error *error);

/* In the child: another phase begins. */
void tune_phase(bool compiles);
void tune_pause(long milliseconds);

/* ---- problems ---- */

/* A graph whose lowering solves the problem, and what goes in (x, and with *training the gradient of y) and comes out. */
cdu_status tune_graph(const cdu_conv_problem *, cdu_graph **, cdu_value *x, cdu_value *y, bool *training, cdu_error *);
/* Whether a step of that graph's lowering is one of those that solve the problem. */
bool tune_solves(const cdu_conv_problem *, const cdu_draft *);
/* "sum 3x3 1x512x512, 32-64 lanes" */
enum { TUNE_TEXT = 96 };
void tune_problem_text(const cdu_conv_problem *, char out[TUNE_TEXT]);

/* ---- what children do ---- */

enum { TUNE_PROBLEMS = 256 };

typedef struct { char device[64]; uint32_t width, size, batch; } tune_network;

/* The device, which has passed its self-test, and the convolutions of a training step and of inference there. */
typedef struct {
    cdu_status status;
    cdu_error error;
    cdu_device_info info;
    char id[24];
    cdu_conv_problem problems[TUNE_PROBLEMS];
    uint32_t times[TUNE_PROBLEMS], count;
} tune_description;
tune_work tune_describe;        /* of a tune_network */

/* Is the candidate right, and how fast beside `standard`? `reference`: the direct variant can be trusted, and is compared with. */
typedef struct {
    char device[64];
    cdu_conv_problem problem;
    cdu_choice candidate, standard;
    bool reference;
    bool again;                 /* it was found right before: time it alone, and for longer */
} tune_trial;
typedef struct {
    bool opened;                /* the device could be opened at all */
    cdu_status status;          /* CDU_BAD_DATA: it computes wrong */
    cdu_error error;
    double share;               /* of the standard's time: the median of pairs of runs, one after the other; 1 where they are the same */
} tune_verdict;
tune_work tune_try;             /* of a tune_trial */

/* A training step with defaults and with a pack, alternating. */
typedef struct { tune_network network; char pack[CDU_PATH_LIMIT]; } tune_step_trial;
typedef struct {
    cdu_status status;
    cdu_error error;
    bench_spread ms[2];         /* defaults, pack */
    double loss[2];
} tune_step_verdict;
tune_work tune_step;            /* of a tune_step_trial */

/* The candidate's check: small shapes with odd tails against plain loops in double precision, in concatenations and adding up, and the
 * problem itself at corners, edges and other places against the loops and everywhere against the direct variant. CDU_BAD_DATA with words
 * where it computes wrong. */
cdu_status tune_check(const cdu_gpu *gpu, const tune_trial *trial, cdu_error *error);

/* ---- the journal ---- */

typedef struct tune_journal tune_journal;
typedef enum { TUNE_NEW, TUNE_KEPT, TUNE_REFUSED } tune_state;

/* Opens or begins the journal at `path`, for one device, driver and set of kernels; one of something else begins anew. A try that was begun
 * and neither ended nor taken back ended the machine or the tuner: it is refused. */
cdu_status tune_journal_open(const char *path, const cdu_device_info *device, tune_journal **out, cdu_error *error);
void tune_journal_close(tune_journal *journal);
/* What is known of a problem and a choice: *share of the standard's time where it was kept, `why` where it was refused. */
tune_state tune_journal_look(const tune_journal *journal, const cdu_conv_problem *, const cdu_choice *, double *share, const char **why);
/* On disk before this returns. */
cdu_status tune_journal_begin(tune_journal *journal, const cdu_conv_problem *, const cdu_choice *, cdu_error *error);
cdu_status tune_journal_keep(tune_journal *journal, const cdu_conv_problem *, const cdu_choice *, double share, cdu_error *error);
/* The share of a second, longer measurement takes the first one's place: the best of many is best by luck, too. */
cdu_status tune_journal_confirm(tune_journal *journal, const cdu_conv_problem *, const cdu_choice *, double share, cdu_error *error);
bool tune_journal_confirmed(const tune_journal *journal, const cdu_conv_problem *, const cdu_choice *);
cdu_status tune_journal_refuse(tune_journal *journal, const cdu_conv_problem *, const cdu_choice *, const char *why, cdu_error *error);
/* Neither: it is tried another time. */
cdu_status tune_journal_take_back(tune_journal *journal, const cdu_conv_problem *, const cdu_choice *, cdu_error *error);

#endif
