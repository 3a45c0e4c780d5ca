/* main.c of cdunet-compile: a process that compiles kernels for another one, which starts it, speaks to it through its standard input and
 * needs nothing of it (backends/backend.h). Not for people. */
#include <stdio.h>
#include <sys/socket.h>

#include "backends/backend.h"

int main(void)
{
    int type;
    if (getsockopt(0, SOL_SOCKET, SO_TYPE, &type, &(socklen_t){sizeof type})) {
        fprintf(stderr, "cdunet-compile: cdunet starts this program by itself, where compiling in several processes is faster\n");
        return 64;
    }
    cdu_compilers_serve(0);
    return 0;
}
