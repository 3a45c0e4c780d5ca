/* random.c: Philox4x32-10 and streams over it. The logarithm of the polar method is computed here with basic operations, since
 * the C library's log may differ in the last bit between platforms and initial weights must not. */
#include "core/base/random.h"

#include <math.h>

cdu_random_block cdu_philox(const uint32_t counter[4], const uint32_t key[2])
{
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3], k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
        uint32_t n0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0, n2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        c0 = n0;
        c2 = n2;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return (cdu_random_block){{c0, c1, c2, c3}};
}

cdu_random cdu_random_stream(uint64_t seed, cdu_random_purpose purpose, uint32_t a, uint32_t b)
{
    cdu_random stream = {.key = {(uint32_t)seed, (uint32_t)(seed >> 32)}, .counter = {0, (uint32_t)purpose, a, b}, .used = 4};
    return stream;
}

uint32_t cdu_random_u32(cdu_random *stream)
{
    if (stream->used == 4) {
        stream->block = cdu_philox(stream->counter, stream->key);
        stream->counter[0]++;
        stream->used = 0;
    }
    return stream->block.word[stream->used++];
}

uint32_t cdu_random_below(cdu_random *stream, uint32_t bound)
{
    uint32_t limit = (uint32_t)(-bound) % bound, x;
    do x = cdu_random_u32(stream);
    while (x < limit);
    return x % bound;
}

float cdu_random_float(cdu_random *stream)
{
    return (float)(cdu_random_u32(stream) >> 8) * 0x1p-24f;
}

double cdu_random_double(cdu_random *stream)
{
    uint64_t high = cdu_random_u32(stream) >> 5, low = cdu_random_u32(stream) >> 6;
    return (double)(high << 26 | low) * 0x1p-53;
}

/* ln(x), 0 < x < 1: x = m * 2^e with m in [sqrt(1/2), sqrt(2)), then 2 atanh((m-1)/(m+1)) as a series; error below 1e-15. */
static double exact_log(double x)
{
    int exponent;
    double m = frexp(x, &exponent);
    if (m < 0.70710678118654752) {
        m *= 2;
        exponent--;
    }
    double t = (m - 1) / (m + 1), square = t * t, sum = 0;
    for (int k = 27; k >= 1; k -= 2) sum = sum * square + 1.0 / k;
    return 2 * t * sum + exponent * 0.69314718055994531;
}

double cdu_random_normal(cdu_random *stream)
{
    for (;;) {
        double u = 2 * cdu_random_double(stream) - 1, v = 2 * cdu_random_double(stream) - 1, s = u * u + v * v;
        if (s > 0 && s < 1) return u * sqrt(-2 * exact_log(s) / s);
    }
}
