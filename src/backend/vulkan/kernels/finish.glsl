/* What becomes of sums: act(sum + bias) + residual, or act(sum + bias + residual). The including
 * kernel's parameters `p` begin with FINISH. */
#define FINISH                                                                                     \
    uint64_t results, bias, residual, bad;                                                         \
    uint rows, outputs, act, kinds /* bytes: act_last, out_float, residual_float */

layout(buffer_reference, scalar, buffer_reference_align = 8) buffer half4_ref { f16vec4 v; };
layout(buffer_reference, scalar, buffer_reference_align = 16) buffer four_ref { vec4 v; };

#define FINISH_FUNCTIONS                                                                           \
    float finished(uint64_t at, uint column, float sum)                                            \
    {                                                                                              \
        float residual = 0;                                                                        \
        if (p.bias != 0)                                                                           \
            sum += load_float(p.bias, column);                                                     \
        if (p.residual != 0)                                                                       \
            residual = (p.kinds & 0xff0000u) != 0 ? load_float(p.residual, at)                     \
                                                  : load_half(p.residual, at);                     \
        return (p.kinds & 0xffu) != 0 ? apply_act(p.act, sum + residual)                           \
                                      : apply_act(p.act, sum) + residual;                          \
    }                                                                                              \
    void finish(uint row, uint column, float sum)                                                  \
    {                                                                                              \
        const uint64_t at = uint64_t(row) * p.outputs + column;                                    \
        const float v = finished(at, column, sum);                                                 \
        if ((p.kinds & 0xff00u) != 0)                                                              \
            store_float(p.results, at, v);                                                         \
        else                                                                                       \
            store_half(p.results, at, v, p.bad);                                                   \
    }                                                                                              \
    /* Of as many columns as there are. Values are moved by fours where they are aligned. */        \
    void finish_four(uint row, uint column, vec4 sums)                                             \
    {                                                                                              \
        const uint64_t at = uint64_t(row) * p.outputs + column;                                    \
        if ((p.outputs & 3u) != 0 || (p.kinds & 0xff00u) != 0) {                                   \
            [[dont_unroll]] for (uint i = 0; i < 4 && column + i < p.outputs; i++)                 \
                finish(row, column + i, sums[i]);                                                  \
            return;                                                                                \
        }                                                                                          \
        vec4 residual = vec4(0);                                                                   \
        if (p.bias != 0)                                                                           \
            sums += four_ref(p.bias + 4 * column).v;                                               \
        if (p.residual != 0) {                                                                     \
            if ((p.kinds & 0xff0000u) != 0)                                                        \
                residual = four_ref(p.residual + 4 * at).v;                                        \
            else                                                                                   \
                residual = vec4(half4_ref(p.residual + 2 * at).v);                                 \
        }                                                                                          \
        bool any = false;                                                                          \
        [[unroll]] for (uint i = 0; i < 4; i++) {                                                  \
            sums[i] = (p.kinds & 0xffu) != 0 ? apply_act(p.act, sums[i] + residual[i])             \
                                             : apply_act(p.act, sums[i]) + residual[i];            \
            any = any || overflows(sums[i]);                                                       \
        }                                                                                          \
        half4_ref(p.results + 2 * at).v = f16vec4(sums);                                           \
        if (any)                                                                                   \
            flag_ref(p.bad).v = 1;                                                                 \
    }
