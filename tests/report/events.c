/* events.c: records of event files, byte for byte, against the format's own check values. */
#include "core/report/events.h"

#include <criterion/criterion.h>
#include <string.h>

static uint64_t little(const char *bytes, int count)
{
    uint64_t value = 0;
    for (int i = count - 1; i >= 0; i--) value = value << 8 | (uint8_t)bytes[i];
    return value;
}

static uint32_t unmasked(uint32_t masked)
{
    uint32_t turned = masked - 0xa282ead8u;
    return turned >> 17 | turned << 15;
}

Test(events, the_checksum_is_castagnolis)
{
    char zeros[32] = {0};
    cr_assert_eq(cdu_crc32c("123456789", 9), 0xe3069283u);
    cr_assert_eq(cdu_crc32c(zeros, 32), 0x8a9136aau, "RFC 3720, B.4");
    cr_assert_eq(cdu_crc32c("", 0), 0);
}

Test(events, records_are_framed_and_encoded)
{
    cdu_text text = {0};
    const cdu_event_scalar scalar = {"loss", 1.5f};
    cdu_events_begin(&text, 2.0);
    size_t first = text.size;
    cdu_events_add(&text, 2.0, 300, &scalar, 1);
    cr_assert_eq(text.status, CDU_OK);
    size_t at = 0, records = 0;
    while (at < text.size) {
        uint64_t length = little(text.bytes + at, 8);
        cr_assert_eq(unmasked((uint32_t)little(text.bytes + at + 8, 4)), cdu_crc32c(text.bytes + at, 8));
        cr_assert_leq(at + 16 + length, text.size);
        cr_assert_eq(unmasked((uint32_t)little(text.bytes + at + 12 + length, 4)), cdu_crc32c(text.bytes + at + 12, length));
        at += 16 + length;
        records++;
    }
    cr_assert_eq(records, 2);
    /* wall_time 2.0, step 300, summary { value { tag "loss" simple_value 1.5 } } */
    static const char event[] = "\x09\0\0\0\0\0\0\0\x40\x10\xac\x02\x2a\x0d\x0a\x0b\x0a\x04loss\x15\0\0\xc0\x3f";
    cr_assert_eq(little(text.bytes + first, 8), sizeof event - 1);
    cr_assert_eq(memcmp(text.bytes + first + 12, event, sizeof event - 1), 0);
    static const char version[] = "\x09\0\0\0\0\0\0\0\x40\x1a\x0d" "brain.Event:2";
    cr_assert_eq(memcmp(text.bytes + 12, version, sizeof version - 1), 0);
    cdu_text_free(&text);
}
