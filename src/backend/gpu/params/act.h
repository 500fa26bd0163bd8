/* The activations of kernels: the values of ls_act. */
#ifndef LS_GPU_PARAMS_ACT_H
#define LS_GPU_PARAMS_ACT_H

enum { ACT_NONE, ACT_SILU, ACT_GELU, ACT_RELU, ACT_SIGMOID };

#endif
