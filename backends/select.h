/* select.h: which device a name means; pure functions over the device list, so that the rules can be tested without devices. */
#ifndef CDU_BACKENDS_SELECT_H
#define CDU_BACKENDS_SELECT_H

#include "cdunet/device.h"

/* Fills same_as: the id of the first row with the same uuid, where that is not empty. */
void cdu_select_mark_same(cdu_device_row *rows, uint32_t count);

/* The row that `name` (null: "auto") means, as device.h says. CDU_NO_DEVICE with a list of what there is where none matches, and
 * where a part of a name fits two different cards. */
cdu_status cdu_select(const cdu_device_row *rows, uint32_t count, const char *name, uint32_t *chosen, cdu_error *error);

/* How good a choice a device is: lower is better. Discrete, integrated, then processors. */
int cdu_select_rank(const cdu_device_row *row);

/* Splits "opencl:0"; false where `name` is not of that form. */
bool cdu_select_parse(const char *name, char backend[24], uint32_t *index);

#endif
