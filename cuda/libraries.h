/*
 * NVIDIA's libraries, opened when they are needed: the backend is built with their headers alone
 * and loads on machines that have no GPU. LC_CUBLASLT(cublasLtMatmul)(...) and LC_NCCL(ncclSend)
 * (...) call a function of them; on the emulator (LORAC_EMULATED) they are linked in.
 */
#ifndef LC_CUDA_LIBRARIES_H
#define LC_CUDA_LIBRARIES_H

#include <cublasLt.h>
#include <nccl.h>

#include "lorac/err.h"

#define LC_CUBLASLT_FUNCTIONS(FUNCTION)            \
    FUNCTION(cublasLtCreate)                       \
    FUNCTION(cublasLtDestroy)                      \
    FUNCTION(cublasLtGetVersion)                   \
    FUNCTION(cublasLtGetStatusString)              \
    FUNCTION(cublasLtMatmul)                       \
    FUNCTION(cublasLtMatmulAlgoCheck)              \
    FUNCTION(cublasLtMatmulAlgoGetHeuristic)       \
    FUNCTION(cublasLtMatmulDescCreate)             \
    FUNCTION(cublasLtMatmulDescDestroy)            \
    FUNCTION(cublasLtMatmulDescSetAttribute)       \
    FUNCTION(cublasLtMatmulPreferenceCreate)       \
    FUNCTION(cublasLtMatmulPreferenceDestroy)      \
    FUNCTION(cublasLtMatmulPreferenceSetAttribute) \
    FUNCTION(cublasLtMatrixLayoutCreate)           \
    FUNCTION(cublasLtMatrixLayoutDestroy)

#define LC_NCCL_FUNCTIONS(FUNCTION)  \
    FUNCTION(ncclGetVersion)         \
    FUNCTION(ncclGetUniqueId)        \
    FUNCTION(ncclGetErrorString)     \
    FUNCTION(ncclGetLastError)       \
    FUNCTION(ncclCommInitRankConfig) \
    FUNCTION(ncclCommGetAsyncError)  \
    FUNCTION(ncclCommFinalize)       \
    FUNCTION(ncclCommDestroy)        \
    FUNCTION(ncclCommAbort)          \
    FUNCTION(ncclGroupStart)         \
    FUNCTION(ncclGroupEnd)           \
    FUNCTION(ncclSend)               \
    FUNCTION(ncclRecv)               \
    FUNCTION(ncclAllGather)          \
    FUNCTION(ncclBroadcast)

#ifdef LORAC_EMULATED
#define LC_CUBLASLT(function) function
#define LC_NCCL(function)     function
#else
#define LC_DECLARE_FUNCTION(function) __typeof__(&function) function##_;
typedef struct lc_cublaslt_functions {
    LC_CUBLASLT_FUNCTIONS(LC_DECLARE_FUNCTION)
} lc_cublaslt_functions;
extern lc_cublaslt_functions lc_cublaslt;
typedef struct lc_nccl_functions {
    LC_NCCL_FUNCTIONS(LC_DECLARE_FUNCTION)
} lc_nccl_functions;
extern lc_nccl_functions lc_nccl;
#define LC_CUBLASLT(function)         lc_cublaslt.function##_
#define LC_NCCL(function)             lc_nccl.function##_
#endif

/* Opens a library once: by the system's search, then in CUDA_HOME and in Python's site-packages.
 */
LC_WARN_UNUSED lc_code lc_cuda_load_cublaslt(lc_err *err);
LC_WARN_UNUSED lc_code lc_cuda_load_nccl(lc_err *err);

#endif
