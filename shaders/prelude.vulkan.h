/* prelude.vulkan.h: the kernel dialect in GLSL 450. shaders/README.md is its manual. The backend writes #version before it. */
#define DIALECT_VULKAN 1
#extension GL_EXT_control_flow_attributes : require
/* SUBGROUP: items of a subgroup, which the group's items fill, on devices with CDU_HAS_BROADCAST: SPREAD gives all of them x of one */
#if SUBGROUP
#extension GL_KHR_shader_subgroup_ballot : require
#define SPREAD(x, item) subgroupBroadcast(x, item)
#define SUBGROUP_ITEM gl_SubgroupInvocationID /* need not follow from the place in the group */
#endif
#undef VW
#define VW 4
#define vf vec4
#define vi ivec4
#define f4 vec4
#define IN(i, n) layout(std430, set = 0, binding = i) restrict readonly buffer IN##i { float n[]; };
#define OUT(i, n) layout(std430, set = 0, binding = i) restrict writeonly buffer OUT##i { float n[]; };
#define INOUT(i, n) layout(std430, set = 0, binding = i) buffer IO##i { float n[]; };
#define INV(i, n) layout(std430, set = 0, binding = i) restrict readonly buffer IN##i { vec4 n[]; };
#define OUTV(i, n) layout(std430, set = 0, binding = i) restrict writeonly buffer OUT##i { vec4 n[]; };
#define INOUTV(i, n) layout(std430, set = 0, binding = i) buffer IO##i { vec4 n[]; };
#define INU(i, n) layout(std430, set = 0, binding = i) restrict readonly buffer IN##i { uint n[]; };
#define OUTU(i, n) layout(std430, set = 0, binding = i) restrict writeonly buffer OUT##i { uint n[]; };
#define KERNEL(name) layout(local_size_x = GX, local_size_y = GY, local_size_z = GZ) in;
#define BEGIN(P, LOCALS) layout(push_constant) uniform PUSH { P p; }; LOCALS void main() {
#define END }
#define SHARED(T, n, c) shared T n[c];
#define SHARED_LANES(n, c) shared vec4 n[(c) / 4];
#define NO_SHARED
#define PARAMS(P) struct P {
#define PARAMS_END(P) };
#define FN
#define SYNC() barrier()
/* Mesa 22's llvmpipe takes a memory barrier for one of execution, and no driver's compiler needs it here */
#define FENCE()
#define LID(d) gl_LocalInvocationID[d]
#define WID(d) gl_WorkGroupID[d]
#define WCOUNT(d) gl_NumWorkGroups[d]
#define GID(d) gl_GlobalInvocationID[d]
#define UNROLL [[unroll]]
#define NOUNROLL [[dont_unroll]]
#define LD(b, i) (b[i])
#define ST(b, i, x) (b[i] = (x))
#define LDV(b, i) (b[i])
#define STV(b, i, x) (b[i] = (x))
#define GATHERV(L, b, i, s) vec4(L(b, i), L(b, (i) + (s)), L(b, (i) + 2 * (s)), L(b, (i) + 3 * (s)))
#define STREAMV(b, i, x) STV(b, i, x)
#define LDS(b, i) (b[(i) >> 2][(i) & 3])
#define STS(b, i, x) (b[(i) >> 2][(i) & 3] = (x))
#define LDU(b, i) (b[i])
#define STU(b, i, x) (b[i] = (x))
#define VF(x) vec4(x)
#define F4(a, b, c, d) vec4(a, b, c, d)
#define to_f(x) float(x)
#define to_i(x) int(x)
#define to_u(x) uint(x)
#define index_t int
#define to_index(x) int(x)
#define MAD(a, b, c) fma(a, b, c)
#define MADV(a, b, c) fma(a, b, c)
#define MULHI(a, b) high_product_(a, b)
#define RSQRT(x) inversesqrt(x)
#define FABS(x) abs(x)
#define MAXV(a, b) max(a, b)
#define SELECT_POSITIVE(c, a, b) mix((b), (a), greaterThan((c), vec4(0.0f)))
#define FLOAT_BITS(x) floatBitsToUint(x)
#define BITS_FLOAT(x) uintBitsToFloat(x)
#define FLOAT_BITSV(x) floatBitsToInt(x)
#define BITS_FLOATV(x) intBitsToFloat(x)
#define TO_VI(x) ivec4(x)
#define OF_VI(x) vec4(x)
#define FLOORV(x) floor(x)
#define RELUV(x) GATEV(x, x)
#define GATEV(y, g) mix((g), vec4(0.0f), lessThanEqual((y), vec4(0.0f)))
#define POSITIVE(v, zero) RELUV(v)
/* NORMALIZED: a value is normalized where it is read, as batch_norm_apply does it: 1 plainly, 2 its positive part, 3 with ReLU behind */
#if NORMALIZED == 2
#define NORM(v, mean, scale, shift, zero) MADV(POSITIVE(v, zero) - (mean), scale, shift)
#elif NORMALIZED == 3
#define NORM(v, mean, scale, shift, zero) POSITIVE(MADV((v) - (mean), scale, shift), zero)
#else
#define NORM(v, mean, scale, shift, zero) MADV((v) - (mean), scale, shift)
#endif
#define MASK bvec4
#define LARGER_OR_NAN(a, b) larger_or_nan_(a, b)
#define EQUALV(a, b) equal(a, b)
#define PICKV(m, a, b) mix((b), (a), (m))
#define IS_NAN(x) ((floatBitsToUint(x) & 0x7fffffffu) > 0x7f800000u)
bvec4 larger_or_nan_(vec4 a, vec4 b) {
    bvec4 nan = greaterThan(floatBitsToUint(b) & uvec4(0x7fffffffu), uvec4(0x7f800000u));
    bvec4 larger = greaterThan(b, a);
    return bvec4(larger.x || nan.x, larger.y || nan.y, larger.z || nan.z, larger.w || nan.w);
}
uint high_product_(uint a, uint b) {
    uint high, low;
    umulExtended(a, b, high, low);
    return high;
}
float EXACT_ADD(float a, float b) { precise float r = a + b; return r; }
float EXACT_SUB(float a, float b) { precise float r = a - b; return r; }
float EXACT_MUL(float a, float b) { precise float r = a * b; return r; }
vec4 EXACT_ADDV(vec4 a, vec4 b) { precise vec4 r = a + b; return r; }
vec4 EXACT_SUBV(vec4 a, vec4 b) { precise vec4 r = a - b; return r; }
vec4 EXACT_MULV(vec4 a, vec4 b) { precise vec4 r = a * b; return r; }
