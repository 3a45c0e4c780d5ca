/* noise.c: gradient noise of two and value noise of three coordinates. */
#include "tools/phantom/noise.h"

static float corner(uint32_t h, float x, float y)
{
    /* eight directions, long enough that the noise fills -1 .. 1 */
    float u = h & 4 ? y : x, v = h & 4 ? x : y;
    return (h & 1 ? -u : u) + (h & 2 ? -v : v) * (h & 8 ? 0.4f : 1.0f);
}

static float fade(float t)
{
    return t * t * t * (t * (t * 6 - 15) + 10);
}

float phantom_noise(uint32_t seed, float x, float y)
{
    int32_t i = phantom_floor(x), j = phantom_floor(y);
    float fx = x - (float)i, fy = y - (float)j, u = fade(fx), v = fade(fy);
    float a = corner(phantom_hash(seed, i, j), fx, fy), b = corner(phantom_hash(seed, i + 1, j), fx - 1, fy);
    float c = corner(phantom_hash(seed, i, j + 1), fx, fy - 1), d = corner(phantom_hash(seed, i + 1, j + 1), fx - 1, fy - 1);
    return 1.1f * phantom_mix(phantom_mix(a, b, u), phantom_mix(c, d, u), v);
}

static float slice(uint32_t seed, int32_t i, int32_t j, float u, float v)
{
    float a = phantom_unit(phantom_hash(seed, i, j), 0), b = phantom_unit(phantom_hash(seed, i + 1, j), 0);
    float c = phantom_unit(phantom_hash(seed, i, j + 1), 0), d = phantom_unit(phantom_hash(seed, i + 1, j + 1), 0);
    return phantom_mix(phantom_mix(a, b, u), phantom_mix(c, d, u), v);
}

float phantom_noise3(uint32_t seed, float x, float y, float z)
{
    int32_t i = phantom_floor(x), j = phantom_floor(y), k = phantom_floor(z);
    float u = fade(x - (float)i), v = fade(y - (float)j), w = fade(z - (float)k);
    uint32_t low = seed + (uint32_t)k * 0xC2B2AE3Du, high = low + 0xC2B2AE3Du;
    return 2 * phantom_mix(slice(low, i, j, u, v), slice(high, i, j, u, v), w) - 1;
}

float phantom_fractal(uint32_t seed, float x, float y, int octaves)
{
    float sum = 0, height = 0.6f;
    for (int i = 0; i < octaves; i++) {
        sum += height * phantom_noise(seed + (uint32_t)i * 0x51ED27u, x, y);
        x = 2 * x + 17.3f;
        y = 2 * y - 9.1f;
        height *= 0.5f;
    }
    return sum;
}
