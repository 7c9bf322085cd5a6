/* What the CUDA backend asks of a model's memory; C without CUDA, also part of `lorac` itself,
 * which plans for GPUs on machines that have none. */
#ifndef LC_CUDA_MEMORY_RULES_H
#define LC_CUDA_MEMORY_RULES_H

#include "lorac/ops.h"

/* The first bytes of a workspace belong to the matrix products, the rest to the kernels. */
size_t lc_cuda_product_workspace(size_t workspace_bytes);

#endif
