/* What the CUDA backend asks of a model's memory; C without CUDA, also part of `lorac` itself,
 * which plans for GPUs on machines that have none. */
#ifndef LC_CUDA_MEMORY_RULES_H
#define LC_CUDA_MEMORY_RULES_H

#include "lorac/ops.h"

#define LC_CUDA_READERS       8                 /* threads that fill device memory at once */
#define LC_CUDA_CONVERT_BYTES ((size_t)1 << 18) /* of pinned memory of each, to convert in */

/* The first bytes of a workspace belong to the matrix products, the rest to the kernels. */
size_t lc_cuda_product_workspace(size_t workspace_bytes);

/* Through which a communicator moves host memory and sums of doubles. */
#define LC_CUDA_COMM_STAGE_BYTES ((size_t)512 << 10)
/* Values of one rank's chunk in a sum of `count`: whole runs of the kernel that adds. */
int64_t lc_cuda_comm_chunk(int64_t count, int world_size);
/* A chunk from each rank, and their sum. */
size_t lc_cuda_comm_sum_bytes(int64_t count, int world_size);

#endif
