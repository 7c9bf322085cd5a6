/*
 * NVIDIA's libraries, opened when they are needed: the backend is built with their headers alone
 * and loads on machines that have no GPU. LC_CUBLASLT(cublasLtMatmul)(...) calls a function of the
 * library; on the emulator (LORAC_EMULATED) it is linked in.
 */
#ifndef LC_CUDA_LIBRARIES_H
#define LC_CUDA_LIBRARIES_H

#include <cublasLt.h>

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

#ifdef LORAC_EMULATED
#define LC_CUBLASLT(function) function
#else
#define LC_DECLARE_FUNCTION(function) __typeof__(&function) function##_;
typedef struct lc_cublaslt_functions {
    LC_CUBLASLT_FUNCTIONS(LC_DECLARE_FUNCTION)
} lc_cublaslt_functions;
extern lc_cublaslt_functions lc_cublaslt;
#define LC_CUBLASLT(function)         lc_cublaslt.function##_
#endif

/* Opens the library once: by the system's search, then in CUDA_HOME and in Python's site-packages.
 */
LC_WARN_UNUSED lc_code lc_cuda_load_cublaslt(lc_err *err);

#endif
