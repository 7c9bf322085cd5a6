/* cublasLt's descriptors: layouts, operations and preferences are created, and their attributes
 * set. Attributes that mean nothing to the emulator are refused rather than ignored,
 * SM_COUNT_TARGET excepted. */
#include "fake_cublas.h"

using namespace emu;

namespace
{
// Sets a member from an attribute's buffer of exactly its size.
template <class T> cublasStatus_t assign(T *member, const void *buffer, size_t bytes)
{
    if (bytes != sizeof *member || !buffer)
        return CUBLAS_STATUS_INVALID_VALUE;
    memcpy(member, buffer, bytes);
    return CUBLAS_STATUS_SUCCESS;
}
} // namespace

extern "C" {
cublasStatus_t cublasLtMatrixLayoutInit_internal(cublasLtMatrixLayout_t layout, size_t bytes,
                                                 cudaDataType_t type, uint64_t rows, uint64_t cols,
                                                 int64_t ld)
{
    if (bytes < sizeof *layout)
        return CUBLAS_STATUS_ALLOC_FAILED;
    put(layout, Layout{type, rows, cols, ld, 1, 0});
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *layout, cudaDataType_t type,
                                          uint64_t rows, uint64_t cols, int64_t ld)
{
    *layout = new cublasLtMatrixLayoutOpaque_t;
    return cublasLtMatrixLayoutInit_internal(*layout, sizeof **layout, type, rows, cols, ld);
}

cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout)
{
    delete layout;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t layout,
                                                cublasLtMatrixLayoutAttribute_t attribute,
                                                const void *buffer, size_t bytes)
{
    Layout value = get<Layout>(layout);
    int32_t order = CUBLASLT_ORDER_COL;
    cublasStatus_t status = CUBLAS_STATUS_NOT_SUPPORTED;
    switch (attribute) {
    case CUBLASLT_MATRIX_LAYOUT_ORDER:
        status = assign(&order, buffer, bytes);
        if (order != CUBLASLT_ORDER_COL)
            status = CUBLAS_STATUS_NOT_SUPPORTED;
        break;
    case CUBLASLT_MATRIX_LAYOUT_ROWS:
        status = assign(&value.rows, buffer, bytes);
        break;
    case CUBLASLT_MATRIX_LAYOUT_COLS:
        status = assign(&value.cols, buffer, bytes);
        break;
    case CUBLASLT_MATRIX_LAYOUT_LD:
        status = assign(&value.ld, buffer, bytes);
        break;
    case CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT:
        status = assign(&value.batch_count, buffer, bytes);
        break;
    case CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET:
        status = assign(&value.batch_stride, buffer, bytes);
        break;
    default:
        break;
    }
    put(layout, value);
    return status;
}

cublasStatus_t cublasLtMatmulDescInit_internal(cublasLtMatmulDesc_t desc, size_t bytes,
                                               cublasComputeType_t compute_type,
                                               cudaDataType_t scale_type)
{
    if (bytes < sizeof *desc)
        return CUBLAS_STATUS_ALLOC_FAILED;
    put(desc, Description{compute_type, scale_type, CUBLAS_OP_N, CUBLAS_OP_N,
                          CUBLASLT_POINTER_MODE_HOST, CUBLASLT_EPILOGUE_DEFAULT, nullptr, -1});
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *desc,
                                        cublasComputeType_t compute_type, cudaDataType_t scale_type)
{
    *desc = new cublasLtMatmulDescOpaque_t;
    return cublasLtMatmulDescInit_internal(*desc, sizeof **desc, compute_type, scale_type);
}

cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t desc)
{
    delete desc;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t desc,
                                              cublasLtMatmulDescAttributes_t attribute,
                                              const void *buffer, size_t bytes)
{
    Description value = get<Description>(desc);
    int32_t ignored;
    cublasStatus_t status = CUBLAS_STATUS_NOT_SUPPORTED;
    switch (attribute) {
    case CUBLASLT_MATMUL_DESC_TRANSA:
        status = assign(&value.transpose_a, buffer, bytes);
        break;
    case CUBLASLT_MATMUL_DESC_TRANSB:
        status = assign(&value.transpose_b, buffer, bytes);
        break;
    case CUBLASLT_MATMUL_DESC_POINTER_MODE:
        status = assign(&value.pointer_mode, buffer, bytes);
        break;
    case CUBLASLT_MATMUL_DESC_EPILOGUE:
        status = assign(&value.epilogue, buffer, bytes);
        break;
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER:
        status = assign(&value.bias, buffer, bytes);
        break;
    case CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE:
        status = assign(&value.bias_type, buffer, bytes);
        break;
    case CUBLASLT_MATMUL_DESC_SM_COUNT_TARGET:
        status = assign(&ignored, buffer, bytes);
        break;
    default:
        break;
    }
    put(desc, value);
    return status;
}

cublasStatus_t cublasLtMatmulPreferenceInit_internal(cublasLtMatmulPreference_t preference,
                                                     size_t bytes)
{
    if (bytes < sizeof *preference)
        return CUBLAS_STATUS_ALLOC_FAILED;
    put(preference,
        Preference{0,
                   CUBLASLT_REDUCTION_SCHEME_MASK,
                   {DEFAULT_ALIGNMENT, DEFAULT_ALIGNMENT, DEFAULT_ALIGNMENT, DEFAULT_ALIGNMENT}});
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *preference)
{
    *preference = new cublasLtMatmulPreferenceOpaque_t;
    return cublasLtMatmulPreferenceInit_internal(*preference, sizeof **preference);
}

cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference)
{
    delete preference;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
                                                    cublasLtMatmulPreferenceAttributes_t attribute,
                                                    const void *buffer, size_t bytes)
{
    Preference value = get<Preference>(preference);
    cublasStatus_t status = CUBLAS_STATUS_NOT_SUPPORTED;
    switch (attribute) {
    case CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES:
        status = assign(&value.workspace_bytes, buffer, bytes);
        break;
    case CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK:
        status = assign(&value.reduction_schemes, buffer, bytes);
        break;
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES:
        status = assign(&value.alignments[0], buffer, bytes);
        break;
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES:
        status = assign(&value.alignments[1], buffer, bytes);
        break;
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES:
        status = assign(&value.alignments[2], buffer, bytes);
        break;
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES:
        status = assign(&value.alignments[3], buffer, bytes);
        break;
    default:
        break;
    }
    put(preference, value);
    return status;
}
}
