/* prelude.opencl.h: the kernel dialect in OpenCL C 1.2. shaders/README.md is its manual. */
#define DIALECT_OPENCL 1
#pragma OPENCL FP_CONTRACT ON
#ifndef VW
#define VW 4
#endif
/* DECLARED: what the dialect needs of OpenCL's built-in functions, with the attributes that Clang's header of all of them gives, where the backend keeps a
 * compiler from reading that (backends/opencl/kernel.c). */
#if DECLARED
#define PURE __attribute__((overloadable, const))
#define READS __attribute__((overloadable, pure))
#define STORES __attribute__((overloadable))
#define DECLARE_WHOLE(T) \
    T PURE max(T, T);    \
    T PURE min(T, T);    \
    T PURE clamp(T, T, T);
#define DECLARE_WIDTH(f, i, u) \
    f PURE fma(f, f, f);       \
    f PURE mad(f, f, f);       \
    f PURE fabs(f);            \
    f PURE floor(f);           \
    f PURE rsqrt(f);           \
    f PURE exp(f);             \
    f PURE log(f);             \
    f PURE fmax(f, f);         \
    f PURE mix(f, f, f);       \
    f PURE select(f, f, i);    \
    i PURE select(i, i, i);    \
    u PURE abs(i);             \
    DECLARE_WHOLE(f)           \
    DECLARE_WHOLE(i)           \
    DECLARE_WHOLE(u)
#define DECLARE_SPACE(n, space)                                \
    float##n READS vload##n(size_t, const space float *);      \
    void STORES vstore##n(float##n, size_t, space float *);
#define DECLARE_VECTORS(n)                          \
    DECLARE_WIDTH(float##n, int##n, uint##n)        \
    DECLARE_SPACE(n, __global)                      \
    DECLARE_SPACE(n, __local)                       \
    DECLARE_SPACE(n, __private)                     \
    float##n PURE convert_float##n(int##n);         \
    int##n PURE convert_int##n(float##n);
DECLARE_WIDTH(float, int, uint)
DECLARE_VECTORS(4)
DECLARE_VECTORS(8)
DECLARE_VECTORS(16)
uint PURE mul_hi(uint, uint);
size_t PURE get_global_id(uint);
size_t PURE get_local_id(uint);
size_t PURE get_group_id(uint);
size_t PURE get_num_groups(uint);
void __attribute__((overloadable, convergent)) barrier(cl_mem_fence_flags);
void STORES mem_fence(cl_mem_fence_flags);
#endif
#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)
typedef JOIN(float, VW) vf;
typedef JOIN(int, VW) vi;
typedef float4 f4;
/* OFFSETS: a buffer comes whole, with where its part begins, in 16 bytes: some drivers do badly with sub-buffers (backends/opencl/list.c). */
#if OFFSETS
#define BUFFER(type, n) __global type n, const uint at_##n,
#define FROM(b) ((b) + 4ul * at_##b)
#define NO_OFFSET(n) enum { at_##n = 0 };
#else
#define BUFFER(type, n) __global type n,
#define FROM(b) (b)
#define NO_OFFSET(n)
#endif
#define IN(i, n) BUFFER(const float *restrict, n)
#define OUT(i, n) BUFFER(float *restrict, n)
#define INOUT(i, n) BUFFER(float *, n)
#define INV(i, n) IN(i, n)
#define OUTV(i, n) OUT(i, n)
#define INOUTV(i, n) INOUT(i, n)
#define INU(i, n) BUFFER(const uint *restrict, n)
#define OUTU(i, n) BUFFER(uint *restrict, n)
/* PINNED: items of a subgroup, on devices with cl_intel_required_subgroup_size */
#if PINNED
#define PIN __attribute__((intel_reqd_sub_group_size(PINNED)))
#else
#define PIN
#endif
#define KERNEL(name) __kernel __attribute__((reqd_work_group_size(GX, GY, GZ))) PIN void name(
#define BEGIN(P, LOCALS) P p_) { const P p = p_; LOCALS
#define END }
#define SHARED(T, n, c) __local T n[c]; NO_OFFSET(n)
#define SHARED_LANES(n, c) __local float n[c] __attribute__((aligned(64))); NO_OFFSET(n)
#define NO_SHARED
#define PARAMS(P) typedef struct P {
#define PARAMS_END(P) } P;
#define FN static inline
#define SYNC() barrier(CLK_LOCAL_MEM_FENCE)
#define FENCE() mem_fence(CLK_GLOBAL_MEM_FENCE)
#define LID(d) ((uint)get_local_id(d))
#define WID(d) ((uint)get_group_id(d))
#define WCOUNT(d) ((uint)get_num_groups(d))
#define GID(d) ((uint)get_global_id(d))
#define UNROLL _Pragma("unroll")
#define NOUNROLL _Pragma("nounroll")
/* buffers: scalar, vector (index in vectors), scalar of a vector buffer (index in scalars), unsigned */
#define LD(b, i) (FROM(b)[i])
#define ST(b, i, x) (FROM(b)[i] = (x))
/* Vectors of n floats, from and to memory. vload knows of no alignment: GPUs' compilers make four loads of it, and PoCL pieces of 16 bytes. So, as the backend
 * says (backends/opencl/opencl.c), they are ALIGNED on cards, where vectors are of 4 floats and lie at multiples of their size; WHOLE, at any address, on CPUs with
 * wide ones. Neither is for Intel's GPUs: their compiler makes one load of either, but keeps in memory the arrays that aligned ones go to. */
#if WHOLE || (ALIGNED && VW == 4)
#if ALIGNED && VW == 4
#define PLACED
#else
#define PLACED __attribute__((aligned(4)))
#endif
#define WHOLE_OF(n, space)                                                                                                              \
    static inline float##n __attribute__((overloadable)) load##n(const space float *from, size_t i) { return ((const space whole##n *)from)[i]; } \
    static inline void __attribute__((overloadable)) store##n(space float *to, size_t i, float##n x) { ((space whole##n *)to)[i] = x; }
typedef float4 whole4 PLACED;
typedef float8 whole8 PLACED;
typedef float16 whole16 PLACED;
WHOLE_OF(4, __global)
WHOLE_OF(4, __local)
WHOLE_OF(8, __global)
WHOLE_OF(8, __local)
WHOLE_OF(16, __global)
WHOLE_OF(16, __local)
#define LOADN(n, b, i) JOIN(load, n)(FROM(b), (i))
#define STOREN(n, b, i, x) JOIN(store, n)(FROM(b), (i), (x))
#else
#define LOADN(n, b, i) JOIN(vload, n)((i), FROM(b))
#define STOREN(n, b, i, x) JOIN(vstore, n)((x), (i), FROM(b))
#endif
#define LDV(b, i) LOADN(VW, b, i)
#define STV(b, i, x) STOREN(VW, b, i, x)
/* VW elements `s` apart, by LD, LDS or LDU */
#define FOUR_OF(L, b, i, s) L(b, i), L(b, (i) + (s)), L(b, (i) + 2 * (s)), L(b, (i) + 3 * (s))
#if VW == 4
#define GATHERV(L, b, i, s) ((vf)(FOUR_OF(L, b, i, s)))
#elif VW == 8
#define GATHERV(L, b, i, s) ((vf)(FOUR_OF(L, b, i, s), FOUR_OF(L, b, (i) + 4 * (s), s)))
#else
#define GATHERV(L, b, i, s) \
    ((vf)(FOUR_OF(L, b, i, s), FOUR_OF(L, b, (i) + 4 * (s), s), FOUR_OF(L, b, (i) + 8 * (s), s), FOUR_OF(L, b, (i) + 12 * (s), s)))
#endif
/* STV past the caches (STREAM=1: the next to read it comes when it would be gone anyway): saves reading the line first */
#if STREAM && VW >= 8 && defined(__has_builtin)
#if __has_builtin(__builtin_nontemporal_store)
#define STREAMV(b, i, x) __builtin_nontemporal_store((x), (__global vf *)(FROM(b) + (long)(i) * VW))
#endif
#endif
#ifndef STREAMV
#define STREAMV(b, i, x) STV(b, i, x)
#endif
#define LDS(b, i) LD(b, i)
#define STS(b, i, x) ST(b, i, x)
#define LDU(b, i) LD(b, i)
#define STU(b, i, x) ST(b, i, x)
/* values */
#define VF(x) ((vf)(x))
#define F4(a, b, c, d) ((float4)(a, b, c, d))
#define to_f(x) ((float)(x))
#define to_i(x) ((int)(x))
#define to_u(x) ((uint)(x))
#define index_t long
#define to_index(x) ((long)(x))
/* UNFUSED: the device has no such instruction, and fma would be computed in software */
#if UNFUSED
#define MAD(a, b, c) mad(a, b, c)
#define MADV(a, b, c) mad(a, b, c)
#else
#define MAD(a, b, c) fma(a, b, c)
#define MADV(a, b, c) fma(a, b, c)
#endif
#define MULHI(a, b) mul_hi((uint)(a), (uint)(b))
#define RSQRT(x) rsqrt(x)
#define FABS(x) fabs(x)
#define MAXV(a, b) fmax(a, b)
/* a where the mask component c > 0, else b; per lane */
#define SELECT_POSITIVE(c, a, b) select((b), (a), (c) > (vf)(0.0f))
#define FLOAT_BITS(x) as_uint(x)
#define BITS_FLOAT(x) as_float(x)
#define FLOAT_BITSV(x) JOIN(as_int, VW)(x)
#define BITS_FLOATV(x) JOIN(as_float, VW)(x)
#define TO_VI(x) JOIN(convert_int, VW)(x)
#define OF_VI(x) JOIN(convert_float, VW)(x)
#define FLOORV(x) floor(x)
/* x where it is not <= 0, else 0: NaN stays NaN; g where y is not <= 0, else 0 */
#define RELUV(x) GATEV(x, x)
#define GATEV(y, g) select((g), (vf)(0.0f), (y) <= (vf)(0.0f))
#define POSITIVE(v, zero) select((v), (zero), (v) <= (zero))
/* NORMALIZED: a value is normalized where it is read, as batch_norm_apply does it: 1 plainly, 2 its positive part, 3 with ReLU behind */
#if NORMALIZED == 2
#define NORM(v, mean, scale, shift, zero) MADV(POSITIVE(v, zero) - (mean), scale, shift)
#elif NORMALIZED == 3
#define NORM(v, mean, scale, shift, zero) POSITIVE(MADV((v) - (mean), scale, shift), zero)
#else
#define NORM(v, mean, scale, shift, zero) MADV((v) - (mean), scale, shift)
#endif
/* masks, one a lane: b > a or b is NaN; a == b; a where the mask holds, else b */
#define MASK vi
#define LARGER_OR_NAN(a, b) (((b) > (a)) | ((JOIN(as_int, VW)(b) & 0x7fffffff) > 0x7f800000))
#define EQUALV(a, b) ((a) == (b))
#define PICKV(m, a, b) select((b), (a), (m))
#define IS_NAN(x) ((as_uint(x) & 0x7fffffffu) > 0x7f800000u)
/* each operation rounded on its own: never contracted, never reordered */
FN float EXACT_ADD(float a, float b) {
#pragma OPENCL FP_CONTRACT OFF
    return a + b;
}
FN float EXACT_SUB(float a, float b) {
#pragma OPENCL FP_CONTRACT OFF
    return a - b;
}
FN float EXACT_MUL(float a, float b) {
#pragma OPENCL FP_CONTRACT OFF
    return a * b;
}
FN vf EXACT_ADDV(vf a, vf b) {
#pragma OPENCL FP_CONTRACT OFF
    return a + b;
}
FN vf EXACT_SUBV(vf a, vf b) {
#pragma OPENCL FP_CONTRACT OFF
    return a - b;
}
FN vf EXACT_MULV(vf a, vf b) {
#pragma OPENCL FP_CONTRACT OFF
    return a * b;
}
