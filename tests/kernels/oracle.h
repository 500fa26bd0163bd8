/* Each op's formula, element by element in double: independent of every backend's way to loop. */
#ifndef LS_TESTS_ORACLE_H
#define LS_TESTS_ORACLE_H

#include "tensor/graph.h"

/* One element of the node's output; in[i] are the values of its inputs in row-major order. */
double oracle(const ls_node *n, const float *const in[LS_MAX_INPUTS], size_t element);

#endif
