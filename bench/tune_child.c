/* tune_child.c: work in a child process with a deadline. fork without exec: the parent has opened no driver and has no threads, so the
 * child may use all of the library. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

#include "bench/tune.h"
#include "core/base/progress.h"

enum { GRACE_SECONDS = 20 };

void tune_pause(long ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

/* What a child says: that it compiles, that it runs, and once its answer. */
enum { COMPILES = 'c', RUNS = 'r', ANSWERS = 'a', COMPILATION = 10 };
static int parent_end = -1;

static void say(char what)
{
    while (parent_end >= 0 && write(parent_end, &what, 1) < 0 && errno == EINTR) continue;
}

void tune_phase(bool compiles)
{
    say(compiles ? COMPILES : RUNS);
}

static void be_child(tune_work *work, const void *request, void *answer, size_t size, int to, pid_t parent)
{
    signal(SIGINT, SIG_IGN);    /* the parent decides */
    signal(SIGTERM, SIG_DFL);
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
#ifdef __linux__
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(1);
#else
    (void)parent;
#endif
    cdu_progress_set_stream(NULL);
    parent_end = to;
    work(request, answer);
    say(ANSWERS);
    for (const char *at = answer; size;) {
        ssize_t n = write(to, at, size);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) _exit(1);
        at += n;
        size -= (size_t)n;
    }
    _exit(0);
}

/* Reads until the answer is there, the other end is closed, or a phase takes too long. Returns the bytes of the answer. */
static size_t listen_to(int from, char *to, size_t size, double seconds, double *limit, bool *late)
{
    size_t used = 0;
    bool answers = false;
    double since = cdu_seconds();
    *limit = seconds * COMPILATION;
    *late = false;
    while (used < size) {
        double left = since + *limit - cdu_seconds();
        char word = 0;
        if (left <= 0) return *late = true, used;
        struct pollfd wait = {.fd = from, .events = POLLIN};
        int ready = poll(&wait, 1, left > 1 ? 1000 : (int)(left * 1000) + 1);
        if (ready < 0 && errno != EINTR) break;
        if (ready <= 0) continue;
        ssize_t n = answers ? read(from, to + used, size - used) : read(from, &word, 1);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) break;
        if (answers) used += (size_t)n;
        answers = answers || word == ANSWERS;
        if (word) *limit = word == COMPILES ? seconds * COMPILATION : seconds;
        since = cdu_seconds();
    }
    return used;
}

/* Waits until `deadline`; false where the child is still there. */
static bool reap(pid_t child, double deadline, int *how)
{
    for (;;) {
        pid_t got = waitpid(child, how, WNOHANG);
        if (got == child || (got < 0 && errno != EINTR)) return true;
        if (cdu_seconds() > deadline) return false;
        tune_pause(2);
    }
}

cdu_status tune_child(tune_work *work, const void *request, void *answer, size_t size, double seconds, tune_end *end, char why[192],
                      cdu_error *error)
{
    int ends[2], how = 0;
    if (pipe(ends)) return cdu_fail(error, CDU_FAILED, "a pipe to a child process: %s", strerror(errno));
    fflush(NULL);
    double limit;
    bool late;
    pid_t parent = getpid(), child = fork();
    if (child < 0) {
        close(ends[0]);
        close(ends[1]);
        return cdu_fail(error, CDU_TRY_AGAIN, "a child process could not be started: %s", strerror(errno));
    }
    if (!child) {
        close(ends[0]);
        be_child(work, request, answer, size, ends[1], parent);
    }
    close(ends[1]);
    size_t got = listen_to(ends[0], answer, size, seconds, &limit, &late);
    close(ends[0]);
    bool over = reap(child, late ? 0 : cdu_seconds() + 2, &how);
    if (!over) {
        kill(child, SIGKILL);
        over = reap(child, cdu_seconds() + GRACE_SECONDS, &how);
    }
    *end = !over ? TUNE_STUCK : got == size ? TUNE_ANSWERED : late ? TUNE_HUNG : TUNE_DIED;
    if (*end == TUNE_STUCK) snprintf(why, 192, "did not end within %.0f s and its process cannot be ended", limit);
    else if (*end == TUNE_HUNG) snprintf(why, 192, "did not end within %.0f s", limit);
    else if (*end == TUNE_DIED && WIFSIGNALED(how)) snprintf(why, 192, "ended its process: %s", strsignal(WTERMSIG(how)));
    else if (*end == TUNE_DIED) snprintf(why, 192, "ended its process with code %d", WIFEXITED(how) ? WEXITSTATUS(how) : -1);
    return CDU_OK;
}
