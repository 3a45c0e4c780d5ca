/* noise.h: integer hashes and smooth noise of a place: the same value at the same place for the same seed, whoever asks. Lattice
 * hashes are a small mixing function (a place is asked for millions of times); everything drawn once comes from Philox. Only + - *
 * and comparisons on floats, so the values are the same on every IEEE machine. */
#ifndef CDU_TOOLS_PHANTOM_NOISE_H
#define CDU_TOOLS_PHANTOM_NOISE_H

#include <stdint.h>

static inline uint32_t phantom_hash(uint32_t seed, int32_t x, int32_t y)
{
    uint32_t h = seed + (uint32_t)x * 0x9E3779B1u;
    h = (h << 13 | h >> 19) + (uint32_t)y * 0x85EBCA77u;
    h ^= h >> 15;
    h *= 0x2C1B3C6Du;
    h ^= h >> 12;
    h *= 0x297A2D39u;
    return h ^ h >> 15;
}

/* 0 <= u < 1 from the bits of a hash; `salt` gives further numbers from the same hash. */
static inline float phantom_unit(uint32_t hash, uint32_t salt)
{
    uint32_t h = (hash ^ salt * 0x9E3779B9u) * 0x7FEB352Du;
    h ^= h >> 15;
    h *= 0x846CA68Bu;
    return (float)((h ^ h >> 16) >> 8) * 0x1p-24f;
}

/* Roughly normal, mean 0, deviation 1, within +-3.5: the sum of four uniform numbers. */
static inline float phantom_bell(uint32_t hash, uint32_t salt)
{
    float sum =
        phantom_unit(hash, salt) + phantom_unit(hash, salt + 101) + phantom_unit(hash, salt + 211) + phantom_unit(hash, salt + 307);
    return (sum - 2.0f) * 1.7320508f;
}

static inline int32_t phantom_floor(float x)
{
    int32_t i = (int32_t)x;
    return i - (x < (float)i);
}

static inline float phantom_clamp(float x, float low, float high)
{
    return x < low ? low : x > high ? high : x;
}

/* 0 at `low`, 1 at `high`, smooth between; low > high falls. */
static inline float phantom_step(float low, float high, float x)
{
    float t = phantom_clamp((x - low) / (high - low), 0, 1);
    return t * t * (3 - 2 * t);
}

static inline float phantom_mix(float a, float b, float t)
{
    return a + (b - a) * t;
}

/* Smooth noise in about -1 .. 1, one feature a unit. */
float phantom_noise(uint32_t seed, float x, float y);
/* The same of three coordinates. */
float phantom_noise3(uint32_t seed, float x, float y, float z);
/* Sum of `octaves` noises, each of twice the frequency and half the height; about -1 .. 1. */
float phantom_fractal(uint32_t seed, float x, float y, int octaves);

#endif
