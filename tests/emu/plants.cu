/* The planted mistake in lora_sum.cu's launcher, whose arguments are C++; see plants.h. */
#include "plants.h"

#include "lora.cuh"

#define LORA_SUM(prefix) prefix##_Z16lc_cuda_lora_sum8LoraSumsP11CUstream_st

extern "C" cudaError_t LORA_SUM(__real_)(LoraSums sums, cudaStream_t stream);
extern "C" cudaError_t LORA_SUM(__wrap_)(LoraSums sums, cudaStream_t stream);

extern "C" cudaError_t LORA_SUM(__wrap_)(LoraSums sums, cudaStream_t stream)
{
    LoraSums kept = sums;
    kept.count = 0;
    for (int i = 0; i < sums.count; i++) {
        const bool is_ds = sums.sum[i].bf16_to.data != nullptr;
        if (!(is_ds && planted == PLANT_DS_REDUCE)) {
            kept.sum[kept.count++] = sums.sum[i];
        }
    }
    return LORA_SUM(__real_)(kept, stream);
}
