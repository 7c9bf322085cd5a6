/* Named ranges for Nsight: every op is one. A range ends with the block that opened it. */
#ifndef LC_CUDA_RANGE_H
#define LC_CUDA_RANGE_H

#include <nvtx3/nvToolsExt.h>

static inline void lc_range_end(const int *depth)
{
    (void)depth;
    (void)nvtxRangePop();
}

#define LC_RANGE(name) \
    __attribute__((cleanup(lc_range_end), unused)) const int range_depth = nvtxRangePushA(name)

#endif
