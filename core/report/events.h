/* events.h: TensorBoard's event files, written: scalars alone. A file is a row of TFRecords (length, CRC, bytes, CRC), each an Event message in
 * protobuf's encoding; the CRCs are CRC32C, masked. Leaves out reading, and every other kind of summary. */
#ifndef CDU_REPORT_EVENTS_H
#define CDU_REPORT_EVENTS_H

#include <stdint.h>

#include "core/base/text.h"

typedef struct { const char *tag; float value; } cdu_event_scalar;

/* The first record: the format's version. `seconds`: Unix time. */
void cdu_events_begin(cdu_text *out, double seconds);
/* One record with some scalars of one step. */
void cdu_events_add(cdu_text *out, double seconds, uint64_t step, const cdu_event_scalar *scalars, size_t count);

/* CRC32C (Castagnoli) of bytes: 0xe3069283 for "123456789". */
uint32_t cdu_crc32c(const void *bytes, size_t size);

#endif
