/* rank_guard.h: a process that stands between mpiexec and a rank, since Hydra counts a rank that leaves with code 0 in the midst of a job as done and
 * sets the codes of the ranks that it then kills to 0: mpiexec would return 0. One call each, on the main thread. */
#ifndef CDU_TOOLS_RANK_GUARD_H
#define CDU_TOOLS_RANK_GUARD_H

#include <stddef.h>

/* Under mpiexec or srun: goes on in a child process, and the process itself waits for the child, then ends as it did: with its code or by its signal,
 * but by SIGABRT where the child left with code 0 and had not called rank_guard_release. Elsewhere, or where there is no process to be
 * had, does nothing. To be called before threads start. `name`: argv[0] with all words behind it, `size` bytes, where the guard writes what it
 * is; the child's stay. */
void rank_guard(char *name, size_t size);
/* A code 0 is meant from here on. */
void rank_guard_release(void);

#endif
