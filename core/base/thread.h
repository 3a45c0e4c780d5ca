/* thread.h: work on several threads where results do not depend on which thread does what. */
#ifndef CDU_BASE_THREAD_H
#define CDU_BASE_THREAD_H

#include <stddef.h>
#include <stdint.h>

#include "cdunet/error.h"

/* Processors this process may use; at least 1. */
uint32_t cdu_processors(void);

/* Calls work(context, i, error) once for each i in [0, count), from at most `threads` threads at once (0: as many as there are
 * processors), in no set order. After a failure no new item starts; the error returned is that of the failed item with the
 * smallest i, so that the words do not depend on timing more than they must. */
typedef cdu_status cdu_work(void *context, size_t i, cdu_error *error);
cdu_status cdu_parallel(uint32_t threads, size_t count, cdu_work *work, void *context, cdu_error *error);

#endif
