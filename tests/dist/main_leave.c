/* main_leave.c: a library loaded before a program, which then faults, aborts or ends with code 0 in the midst of whatever it does, on real-time
 * signals: SIGSEGV or SIGABRT sent from outside would not do, since a runtime's handler may swallow one that no fault repeats. For campaign.py. */
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

static void leave(int number)
{
    int what = number - SIGRTMIN;
    volatile int *volatile nowhere = NULL; /* a compiler may leave out a plain store before _exit */
    if (what == 1) *nowhere = 0;
    if (what == 2) abort();
    _exit(0);
}

__attribute__((constructor)) static void prepare(void)
{
    for (int i = 1; i <= 3; i++) signal(SIGRTMIN + i, leave);
}
