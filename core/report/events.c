/* events.c: see events.h. Field numbers: Event has wall_time 1 (double), step 2, file_version 3, summary 5; Summary has value 1; a value has
 * tag 1 and simple_value 2 (float). */
#include "core/report/events.h"

#include <string.h>

uint32_t cdu_crc32c(const void *bytes, size_t size)
{
    const uint8_t *at = bytes;
    uint32_t crc = 0xffffffffu;
    for (size_t i = 0; i < size; i++) {
        crc ^= at[i];
        for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
    }
    return ~crc;
}

static void put_little(cdu_text *out, uint64_t value, int bytes)
{
    uint8_t buffer[8];
    for (int i = 0; i < bytes; i++) buffer[i] = (uint8_t)(value >> 8 * i);
    cdu_text_add(out, buffer, (size_t)bytes);
}

static void put_varint(cdu_text *out, uint64_t value)
{
    uint8_t buffer[10];
    size_t count = 0;
    do buffer[count++] = (uint8_t)((value & 127) | (value > 127 ? 128 : 0));
    while (value >>= 7);
    cdu_text_add(out, buffer, count);
}

/* A field's key: number and wire type (0 varint, 1 eight bytes, 2 length and bytes, 5 four bytes). */
static void put_key(cdu_text *out, uint32_t field, uint32_t wire)
{
    put_varint(out, field << 3 | wire);
}

static void put_bytes(cdu_text *out, uint32_t field, const void *bytes, size_t size)
{
    put_key(out, field, 2);
    put_varint(out, size);
    cdu_text_add(out, bytes, size);
}

static void put_masked_crc(cdu_text *out, const void *bytes, size_t size)
{
    uint32_t crc = cdu_crc32c(bytes, size);
    put_little(out, (uint32_t)((crc >> 15 | crc << 17) + 0xa282ead8u), 4);
}

static void put_record(cdu_text *out, cdu_text *event)
{
    size_t length_at = out->size;
    put_little(out, event->size, 8);
    if (out->status == CDU_OK) put_masked_crc(out, out->bytes + length_at, 8);
    cdu_text_add(out, event->bytes, event->size);
    put_masked_crc(out, event->bytes, event->size);
    if (event->status != CDU_OK && out->status == CDU_OK) out->status = event->status, out->error = event->error;
    cdu_text_free(event);
}

static void put_time(cdu_text *event, double seconds)
{
    uint64_t bits;
    memcpy(&bits, &seconds, 8);
    put_key(event, 1, 1);
    put_little(event, bits, 8);
}

void cdu_events_begin(cdu_text *out, double seconds)
{
    static const char version[] = "brain.Event:2";
    cdu_text event = {0};
    put_time(&event, seconds);
    put_bytes(&event, 3, version, strlen(version));
    put_record(out, &event);
}

void cdu_events_add(cdu_text *out, double seconds, uint64_t step, const cdu_event_scalar *scalars, size_t count)
{
    cdu_text event = {0}, summary = {0};
    for (size_t i = 0; i < count; i++) {
        cdu_text value = {0};
        uint32_t bits;
        memcpy(&bits, &scalars[i].value, 4);
        put_bytes(&value, 1, scalars[i].tag, strlen(scalars[i].tag));
        put_key(&value, 2, 5);
        put_little(&value, bits, 4);
        put_bytes(&summary, 1, value.bytes, value.size);
        cdu_text_free(&value);
    }
    put_time(&event, seconds);
    put_key(&event, 2, 0);
    put_varint(&event, step);
    put_bytes(&event, 5, summary.bytes, summary.size);
    cdu_text_free(&summary);
    put_record(out, &event);
}
