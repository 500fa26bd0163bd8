/* What the kernels have in common. Each takes the struct of the same name in backend/gpu/params, and
 * has the grid that CUDA's kernel of its name has, but for blocks in x beyond 32768, which are in z:
 * few devices take more. Sizes of blocks and of their parts are specialisation constants, which
 * launch.c gives.
 *
 * Rules: no atomics, nothing shared between blocks, no arithmetic in float16; what decides about
 * infinity and NaN looks at bits, since compilers need not respect them. */
#extension GL_EXT_buffer_reference : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_EXT_scalar_block_layout : require
#extension GL_EXT_shader_16bit_storage : require
#extension GL_EXT_shader_explicit_arithmetic_types_int64 : require

layout(local_size_x_id = 0) in;

#define BLOCK_X (gl_WorkGroupID.z * 32768u + gl_WorkGroupID.x)
#define BLOCK_Y gl_WorkGroupID.y
#define THREAD gl_LocalInvocationIndex
#define THREADS gl_WorkGroupSize.x

layout(buffer_reference, scalar, buffer_reference_align = 2) buffer half_ref { float16_t v; };
layout(buffer_reference, scalar, buffer_reference_align = 16) buffer halves_ref { f16vec4 v[2]; };
layout(buffer_reference, scalar, buffer_reference_align = 2) buffer bits_ref { uint16_t v; };
layout(buffer_reference, scalar, buffer_reference_align = 16) buffer chunk_ref { uvec4 v; };
layout(buffer_reference, scalar, buffer_reference_align = 4) buffer float_ref { float v; };
layout(buffer_reference, scalar, buffer_reference_align = 16) buffer floats_ref { vec4 v[2]; };
layout(buffer_reference, scalar, buffer_reference_align = 4) buffer flag_ref { uint v; };

float load_half(uint64_t x, uint64_t i)
{
    return float(half_ref(x + 2 * i).v);
}

float load_float(uint64_t x, uint64_t i)
{
    return float_ref(x + 4 * i).v;
}

void store_float(uint64_t y, uint64_t i, float v)
{
    float_ref(y + 4 * i).v = v;
}

/* Whether a float is infinite or NaN, or will be as a half. */
bool overflows(float x)
{
    return (floatBitsToUint(x) & 0x7fffffffu) >= floatBitsToUint(65520.0);
}

bool not_finite(float x)
{
    return (floatBitsToUint(x) & 0x7f800000u) == 0x7f800000u;
}

void store_half(uint64_t y, uint64_t i, float v, uint64_t bad)
{
    half_ref(y + 2 * i).v = float16_t(v);
    if (overflows(v))
        flag_ref(bad).v = 1;
}

/* The two halves of a word, and back. */
vec4 unpack(uvec2 w)
{
    return vec4(unpackHalf2x16(w.x), unpackHalf2x16(w.y));
}

/* Eight neighbours of a row at once: 16 bytes of halves where all are there and aligned, one by one
 * at ends of rows and in rows whose length is no multiple of eight. */
const uint SPAN = 8;

bool is_whole(uint64_t x, uint count)
{
    return count == SPAN && (uint(x) & 15u) == 0;
}

/* Elements from `count` on become 0. */
void load_halves(out float v[SPAN], uint64_t x, uint count)
{
    if (is_whole(x, count)) {
        const uvec4 w = chunk_ref(x).v;
        const vec4 a = unpack(w.xy), b = unpack(w.zw);
        [[unroll]] for (uint i = 0; i < 4; i++) {
            v[i] = a[i];
            v[4 + i] = b[i];
        }
    } else {
        [[unroll]] for (uint i = 0; i < SPAN; i++) {
            v[i] = 0;
            if (i < count)
                v[i] = load_half(x, i);
        }
    }
}

void store_halves(uint64_t y, const float v[SPAN], uint count, uint64_t bad)
{
    bool any = false;
    if (is_whole(y, count)) {
        halves_ref(y).v[0] = f16vec4(vec4(v[0], v[1], v[2], v[3]));
        halves_ref(y).v[1] = f16vec4(vec4(v[4], v[5], v[6], v[7]));
        [[unroll]] for (uint i = 0; i < SPAN; i++)
            any = any || overflows(v[i]);
    } else {
        [[unroll]] for (uint i = 0; i < SPAN; i++)
            if (i < count) {
                half_ref(y + 2 * i).v = float16_t(v[i]);
                any = any || overflows(v[i]);
            }
    }
    if (any)
        flag_ref(bad).v = 1;
}

void load_floats(out float v[SPAN], uint64_t x, uint count)
{
    if (is_whole(x, count)) {
        const vec4 a = floats_ref(x).v[0], b = floats_ref(x).v[1];
        [[unroll]] for (uint i = 0; i < 4; i++) {
            v[i] = a[i];
            v[4 + i] = b[i];
        }
    } else {
        [[unroll]] for (uint i = 0; i < SPAN; i++) {
            v[i] = 0;
            if (i < count)
                v[i] = load_float(x, i);
        }
    }
}

uint divide_up(uint a, uint b)
{
    return (a + b - 1) / b;
}

/* Activations, numbered as in backend/gpu/params/act.h. exp() overflows to infinity, whose
 * reciprocal need not be 0: arguments are kept from that. */
float sigmoid(float x)
{
    return 1 / (1 + exp(min(-x, 80)));
}

/* x times the normal distribution's share below x: see CUDA's functions.h. */
float gelu(float x)
{
    const float a = abs(x), t = 1 / (1 + 0.3 * a);
    float p = 0.0377277934;
    p = p * t - 0.165910786;
    p = p * t + 0.221695996;
    p = p * t - 0.0682027762;
    p = p * t + 0.136511227;
    p = p * t + 0.0974011083;
    p = p * t + 0.121177513;
    p = p * t + 0.119599949;
    return max(x, 0) - a * (t * p * exp(max(-0.5 * a * a, -80)));
}

float apply_act(uint act, float x)
{
    float y = x;
    if (act == 1)
        y = x * sigmoid(x);
    else if (act == 2)
        y = gelu(x);
    else if (act == 3)
        y = max(x, 0);
    else if (act == 4)
        y = sigmoid(x);
    return not_finite(x) ? x : y;
}
