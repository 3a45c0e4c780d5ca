/* common.h: what the memory-bound operators share: the vector width that fits all tensors, the shape of a work-group, how pixels are
 * divided among groups. Divisions depend on shapes and on the device's class alone, never on its number of cores, so that results
 * repeat on every machine with the same driver. */
#ifndef CDU_OPS_COMMON_H
#define CDU_OPS_COMMON_H

#include "core/graph/lowering.h"

static inline uint32_t cdu_smaller(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static inline uint32_t cdu_larger(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

static inline uint32_t cdu_ceil_div(uint32_t a, uint32_t b)
{
    return (a + b - 1) / b;
}

/* CPUs with explicit wide vectors: one item a group. */
bool cdu_op_wide(const cdu_device_info *device);

/* Refuses, with words, where the tensors' lanes differ or a channel's lane is not its number (a concatenation whose first part has
 * pads): the kernels here go lane by lane. `what` names the operator. */
cdu_status cdu_op_same_lanes(const cdu_lowering *, const cdu_node *, const cdu_tensor *tensors, uint32_t count, cdu_error *);

/* The largest of 16, 8, 4 that the device likes and that divides pitch, offset and lanes of all tensors. CDU_NO_TENSOR is skipped. */
uint32_t cdu_op_width(const cdu_lowering *, const cdu_tensor *tensors, uint32_t count);

typedef struct {
    uint32_t vectors, width;        /* vectors of `width` lanes a pixel */
    uint32_t size[2], columns;      /* items: over vectors, over pixels; groups over vectors */
    uint32_t per, groups;           /* pixels a group; groups over pixels */
    uint32_t tile;                  /* reductions on CPUs: pixels walked for all vectors before going on */
} cdu_op_division;

/* `streams`: tensors walked at once. */
cdu_op_division cdu_op_divide(const cdu_lowering *, cdu_tensor like, uint32_t width, uint64_t pixels, uint32_t streams, bool reduction);

/* For what is no reduction: fewer pixels a group where a large GPU would have too few groups. */
void cdu_op_division_spread(const cdu_lowering *, cdu_op_division *, uint64_t pixels);

/* Defines of a division (VW, GX, GY, GZ) and its groups. */
void cdu_op_division_apply(const cdu_op_division *, cdu_draft *);

/* Defines STREAM where the kernel's stores to `written` had better go past the caches (STREAMV of the dialect): on wide devices, what is
 * larger than they keep until it is read. Not for what the kernel itself reads. `width`: its vectors. */
void cdu_op_stream(const cdu_lowering *, cdu_draft *, cdu_tensor written, uint32_t width);

/* Where the device is wide and there are pixels enough, the kernel takes a vector of pixels at a time: `wide` takes the kernel's place, `groups`
 * of one item. VW is defined. */
bool cdu_op_pixel_vectors(const cdu_lowering *, cdu_draft *, const char *source, const char *wide, uint64_t pixels, uint32_t groups);

/* Pixels of images [n0, n1). */
uint64_t cdu_op_pixels(const cdu_layout *, uint32_t n0, uint32_t n1);

/* Groups of `size` items for `items` items that walk in strides: at most `limit`. */
uint32_t cdu_op_groups(uint64_t items, uint32_t size, uint32_t limit);

#endif
