/* stop.h: the wish to end early, said by the program (a signal) and asked for by loops that can end tidily: training asks at every
 * step, writes its checkpoint and returns CDU_STOPPED. Threads: both functions may be called from any thread, the first from a
 * signal handler too. */
#ifndef CDU_BASE_STOP_H
#define CDU_BASE_STOP_H

#include <stdbool.h>

void cdu_stop_request(void);
bool cdu_stop_requested(void);
/* For tests. */
void cdu_stop_clear(void);

#endif
