/* random.h: Philox4x32-10 (Salmon et al., SC 2011), random numbers from a counter. The same key and counter give the same
 * numbers on every platform, thread and device. Integers only inside; the conversions below are exact in IEEE arithmetic,
 * but for cdu_random_normal, which uses only + - * / and sqrt on doubles and is reproducible for the same reason. */
#ifndef CDU_BASE_RANDOM_H
#define CDU_BASE_RANDOM_H

#include <stdint.h>

typedef struct { uint32_t word[4]; } cdu_random_block;

/* Purposes keep streams apart; add a name here rather than a number at the call. */
typedef enum {
    CDU_RANDOM_WEIGHTS = 1,
    CDU_RANDOM_ORDER,
    CDU_RANDOM_FLIP,
    CDU_RANDOM_AUGMENT,
    CDU_RANDOM_SPLIT,
    CDU_RANDOM_PHANTOM,
    CDU_RANDOM_TEST,
    CDU_RANDOM_IDENTITY,
    CDU_RANDOM_TILES,
    CDU_RANDOM_BOOTSTRAP,
    CDU_RANDOM_NOISE
} cdu_random_purpose;

cdu_random_block cdu_philox(const uint32_t counter[4], const uint32_t key[2]);

/* A stream: numbers one after another from (seed, purpose, a, b). */
typedef struct {
    uint32_t key[2], counter[4];
    cdu_random_block block;
    uint32_t used;
} cdu_random;

cdu_random cdu_random_stream(uint64_t seed, cdu_random_purpose purpose, uint32_t a, uint32_t b);
uint32_t cdu_random_u32(cdu_random *stream);
/* 0 <= x < bound, without bias; bound > 0. */
uint32_t cdu_random_below(cdu_random *stream, uint32_t bound);
/* 0 <= x < 1, 24 bits. */
float cdu_random_float(cdu_random *stream);
/* 0 <= x < 1, 53 bits. */
double cdu_random_double(cdu_random *stream);
/* Mean 0, deviation 1, by the polar method. */
double cdu_random_normal(cdu_random *stream);

#endif
