/* stop.c: one flag. */
#include "core/base/stop.h"

#include <stdatomic.h>

static atomic_bool wanted;

void cdu_stop_request(void)
{
    atomic_store(&wanted, true);
}

bool cdu_stop_requested(void)
{
    return atomic_load(&wanted);
}

void cdu_stop_clear(void)
{
    atomic_store(&wanted, false);
}
