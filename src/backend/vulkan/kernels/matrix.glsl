/* Matrices of which each subgroup multiplies some at a time: VK_KHR_cooperative_matrix, of shapes
 * that launch.c gives. Factors are halves, sums are floats; in shared memory they are arrays of
 * chunks of 16 bytes, and so are places and strides counted.
 *
 * Compilers that know only NVIDIA's older extension get that. It has no uses of matrices: these are
 * added to the number of columns, for to_khr.py, which makes the new extension's code of it. */
#ifdef KHR
#extension GL_KHR_cooperative_matrix : require
#else
#extension GL_NV_cooperative_matrix : require
#endif
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_KHR_shader_subgroup_basic : require
#pragma use_vulkan_memory_model

layout(constant_id = 7) const uint MATRIX_ROWS = 8;
layout(constant_id = 8) const uint MATRIX_COLUMNS = 8;
layout(constant_id = 9) const uint MATRIX_DEPTH = 8;
layout(constant_id = 10) const uint LANES = 8; /* of a subgroup */

#ifdef KHR
#define MATRIX_LEFT coopmat<float16_t, gl_ScopeSubgroup, MATRIX_ROWS, MATRIX_DEPTH, gl_MatrixUseA>
#define MATRIX_RIGHT                                                                               \
    coopmat<float16_t, gl_ScopeSubgroup, MATRIX_DEPTH, MATRIX_COLUMNS, gl_MatrixUseB>
#define MATRIX_SUM                                                                                 \
    coopmat<float, gl_ScopeSubgroup, MATRIX_ROWS, MATRIX_COLUMNS, gl_MatrixUseAccumulator>
#define MATRIX_LOAD(m, from, at, stride)                                                           \
    coopMatLoad(m, from, at, stride, gl_CooperativeMatrixLayoutRowMajor)
#define MATRIX_LOAD_TRANSPOSED(m, from, at, stride)                                                \
    coopMatLoad(m, from, at, stride, gl_CooperativeMatrixLayoutColumnMajor)
#define MATRIX_STORE(m, to, at, stride)                                                            \
    coopMatStore(m, to, at, stride, gl_CooperativeMatrixLayoutRowMajor)
#define MATRIX_MULTIPLY_ADD coopMatMulAdd
#else
const uint LEFT_USE = MATRIX_DEPTH + 0x10000, RIGHT_USE = MATRIX_COLUMNS + 0x20000;
const uint SUM_USE = MATRIX_COLUMNS + 0x30000;
#define MATRIX_LEFT fcoopmatNV<16, gl_ScopeSubgroup, MATRIX_ROWS, LEFT_USE>
#define MATRIX_RIGHT fcoopmatNV<16, gl_ScopeSubgroup, MATRIX_DEPTH, RIGHT_USE>
#define MATRIX_SUM fcoopmatNV<32, gl_ScopeSubgroup, MATRIX_ROWS, SUM_USE>
#define MATRIX_LOAD(m, from, at, stride) coopMatLoadNV(m, from, at, stride, false)
#define MATRIX_LOAD_TRANSPOSED(m, from, at, stride) coopMatLoadNV(m, from, at, stride, true)
#define MATRIX_STORE(m, to, at, stride) coopMatStoreNV(m, to, at, stride, false)
#define MATRIX_MULTIPLY_ADD coopMatMulAddNV
#endif
