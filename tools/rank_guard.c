/* rank_guard.c: see rank_guard.h. Knows no launcher's protocol: what a launcher watches, the guard's own end and the connection that both processes have
 * inherited, goes on until the guard has told how the rank ended. Leaves out passing on signals: launchers send theirs to the process group, which
 * guard and rank share. */
#include "tools/rank_guard.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

#include "dist/collective.h"

static int told = -1;   /* in the child: takes one byte, once code 0 is meant */

static void end_by(int number)
{
    sigset_t none;
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0}); /* the rank has left its own */
    signal(number, SIG_DFL);
    sigemptyset(&none);
    raise(number);
    sigprocmask(SIG_SETMASK, &none, NULL);
    _exit(128 + number);
}

/* Never returns. */
static void watch(pid_t rank, int meant)
{
    int status = 0;
    char byte;
    pid_t got;
    while ((got = waitpid(rank, &status, 0)) < 0 && errno == EINTR) continue;
    if (got != rank) _exit(CDU_FAILED);
    if (WIFSIGNALED(status)) end_by(WTERMSIG(status));
    if (WEXITSTATUS(status) != 0 || read(meant, &byte, 1) == 1) _exit(WEXITSTATUS(status));
    const char *number = getenv("PMI_RANK");
    fprintf(stderr, "cdunet: rank %s left with code 0 before its work was done; the job ends here: start it again with --resume\n", number ? number : "?");
    end_by(SIGABRT);
}

void rank_guard(char *name, size_t size)
{
    int ends[2];
    if (!cdu_ranks_started() || pipe(ends) != 0) return;
    pid_t self = getpid(), child = fork();
    if (child > 0) {
        sigset_t all;
        sigfillset(&all);
        sigprocmask(SIG_SETMASK, &all, NULL);
        close(ends[1]);
        memset(name, 0, size);
        snprintf(name, size, "cdunet: guard of process %ld", (long)child);
        watch(child, ends[0]);
    }
    close(ends[0]);
    if (child < 0) {
        close(ends[1]);
        return;
    }
    told = ends[1];
#ifdef __linux__
    prctl(PR_SET_PDEATHSIG, SIGKILL);
#endif
    if (getppid() != self) _exit(CDU_FAILED);
}

void rank_guard_release(void)
{
    if (told < 0) return;
    ssize_t ignored = write(told, "", 1);
    (void)ignored;
}
