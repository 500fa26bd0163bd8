/* The activations of kernels: the values of ls_act. */
#ifndef LS_CUDA_ACT_H
#define LS_CUDA_ACT_H

enum { ACT_NONE, ACT_SILU, ACT_GELU, ACT_RELU, ACT_SIGMOID };

#endif
