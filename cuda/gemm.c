/*
 * cuBLASLt behind lc_cuda_gemm; see gemm.h. A row-major matrix is the transposed column-major one,
 * so the library computes c^T = op(b)^T op(a)^T: what is m, n, a, b there is n, m, b, a here.
 *
 * Only reduction schemes that add partial sums in fp32 are allowed, and a given algorithm adds in a
 * fixed order: the bytes of a product depend on shape and algorithm alone.
 */
#include "gemm.h"

#include <stdlib.h>
#include <string.h>

#include "libraries.h"
#include "tuning.h"

#define MOST_ALIGNMENT_LOG2 8 /* 256 bytes: the library asks for no more */
#define MOST_PROPOSALS      16

static lc_code blas_result(cublasStatus_t status, const char *what, lc_err *err)
{
    if (status == CUBLAS_STATUS_SUCCESS) {
        return LC_OK;
    }
    return lc_fail(err, LC_ERR_DEVICE, "cuBLASLt: %s: %s", what,
                   LC_CUBLASLT(cublasLtGetStatusString)(status));
}

lc_code lc_cuda_gemms_open(lc_cuda_gemms *gemms, lc_err *err)
{
    *gemms = (lc_cuda_gemms){.handle = NULL};
    gemms->plans = calloc(LC_CUDA_GEMM_PLANS, sizeof *gemms->plans);
    if (gemms->plans == NULL) {
        return lc_fail(err, LC_ERR_MEMORY, "no memory for the table of products");
    }
    LC_TRY(lc_cuda_load_cublaslt(err));
    return blas_result(LC_CUBLASLT(cublasLtCreate)(&gemms->handle), "cublasLtCreate", err);
}

static void release_layout(cublasLtMatrixLayout_t layout)
{
    if (layout != NULL) {
        (void)LC_CUBLASLT(cublasLtMatrixLayoutDestroy)(layout);
    }
}

void lc_cuda_gemm_plan_release(lc_cuda_gemm_plan *plan)
{
    if (plan->operation != NULL) {
        (void)LC_CUBLASLT(cublasLtMatmulDescDestroy)(plan->operation);
    }
    release_layout(plan->a);
    release_layout(plan->b);
    release_layout(plan->c);
    release_layout(plan->d);
    *plan = (lc_cuda_gemm_plan){.operation = NULL};
}

void lc_cuda_gemms_forget_plans(lc_cuda_gemms *gemms)
{
    for (int i = 0; gemms->plans != NULL && i < LC_CUDA_GEMM_PLANS; i++) {
        lc_cuda_gemm_plan_release(&gemms->plans[i]);
    }
    gemms->plan_count = 0;
}

void lc_cuda_gemms_close(lc_cuda_gemms *gemms)
{
    if (gemms->handle != NULL) {
        lc_cuda_gemms_forget_plans(gemms);
        (void)LC_CUBLASLT(cublasLtDestroy)(gemms->handle);
    }
    free(gemms->plans);
    free(gemms->choices.items);
    *gemms = (lc_cuda_gemms){.handle = NULL};
}

void lc_cuda_gemms_set_workspace(lc_cuda_gemms *gemms, void *memory, size_t bytes)
{
    if (bytes != gemms->workspace_bytes) {
        lc_cuda_gemms_forget_plans(gemms);
    }
    gemms->workspace = memory;
    gemms->workspace_bytes = bytes;
}

void lc_cuda_gemms_set_rows_alone(lc_cuda_gemms *gemms, bool rows_alone)
{
    if (rows_alone != gemms->rows_alone) {
        lc_cuda_gemms_forget_plans(gemms);
    }
    gemms->rows_alone = rows_alone;
}

/* ---- the plan of a shape ---- */

static uint8_t alignment_log2(const void *address)
{
    uint8_t log2 = 0;
    while (log2 < MOST_ALIGNMENT_LOG2 && ((uintptr_t)address >> log2 & 1) == 0) {
        log2++;
    }
    return log2;
}

/* The addend, or c where there is none: the library wants a C that it does not read then. */
static lc_mat addend_of(const lc_cuda_gemm *gemm)
{
    return gemm->addend.data != NULL ? gemm->addend : gemm->c;
}

static lc_cuda_gemm_key key_of(const lc_cuda_gemm *gemm)
{
    lc_cuda_gemm_key key;
    memset(&key, 0, sizeof key); /* compared as bytes */
    key.m = gemm->m;
    key.n = gemm->n;
    key.k = gemm->k;
    key.lda = gemm->a.ld;
    key.ldb = gemm->b.ld;
    key.ldc = addend_of(gemm).ld;
    key.ldd = gemm->c.ld;
    key.ta = (uint8_t)gemm->ta;
    key.tb = (uint8_t)gemm->tb;
    key.input = (uint8_t)gemm->a.dtype;
    key.output = (uint8_t)gemm->c.dtype;
    key.has_bias = gemm->bias != NULL;
    key.has_addend = gemm->addend.data != NULL;
    key.alignment_log2[0] = alignment_log2(gemm->b.data);
    key.alignment_log2[1] = alignment_log2(gemm->a.data);
    key.alignment_log2[2] = alignment_log2(addend_of(gemm).data);
    key.alignment_log2[3] = alignment_log2(gemm->c.data);
    return key;
}

static cudaDataType_t data_type(uint8_t dtype)
{
    return dtype == LC_BF16 ? CUDA_R_16BF : CUDA_R_32F;
}

static lc_code make_layout(cublasLtMatrixLayout_t *layout, uint8_t dtype, int64_t rows,
                           int64_t cols, int64_t ld, lc_err *err)
{
    return blas_result(LC_CUBLASLT(cublasLtMatrixLayoutCreate)(layout, data_type(dtype),
                                                               (uint64_t)rows, (uint64_t)cols, ld),
                       "cublasLtMatrixLayoutCreate", err);
}

static lc_code set_operation(cublasLtMatmulDesc_t operation, cublasLtMatmulDescAttributes_t what,
                             const void *value, size_t bytes, lc_err *err)
{
    return blas_result(LC_CUBLASLT(cublasLtMatmulDescSetAttribute)(operation, what, value, bytes),
                       "cublasLtMatmulDescSetAttribute", err);
}

static lc_code make_operation(lc_cuda_gemm_plan *plan, const void *bias, lc_err *err)
{
    const lc_cuda_gemm_key *key = &plan->key;
    const int32_t ta = key->tb == 'T' ? CUBLAS_OP_T : CUBLAS_OP_N,
                  tb = key->ta == 'T' ? CUBLAS_OP_T : CUBLAS_OP_N;
    const uint32_t epilogue = CUBLASLT_EPILOGUE_BIAS;
    LC_TRY(blas_result(
        LC_CUBLASLT(cublasLtMatmulDescCreate)(&plan->operation, CUBLAS_COMPUTE_32F, CUDA_R_32F),
        "cublasLtMatmulDescCreate", err));
    LC_TRY(set_operation(plan->operation, CUBLASLT_MATMUL_DESC_TRANSA, &ta, sizeof ta, err));
    LC_TRY(set_operation(plan->operation, CUBLASLT_MATMUL_DESC_TRANSB, &tb, sizeof tb, err));
    if (bias == NULL) {
        return LC_OK;
    }
    LC_TRY(set_operation(plan->operation, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof epilogue,
                         err));
    return set_operation(plan->operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof bias,
                         err);
}

static lc_code make_layouts(lc_cuda_gemm_plan *plan, lc_err *err)
{
    const lc_cuda_gemm_key *key = &plan->key;
    const bool b_is_stored_t = key->tb == 'T', a_is_stored_t = key->ta == 'T';
    LC_TRY(make_layout(&plan->a, key->input, b_is_stored_t ? key->k : key->n,
                       b_is_stored_t ? key->n : key->k, key->ldb, err));
    LC_TRY(make_layout(&plan->b, key->input, a_is_stored_t ? key->m : key->k,
                       a_is_stored_t ? key->k : key->m, key->lda, err));
    LC_TRY(make_layout(&plan->c, key->output, key->n, key->m, key->ldc, err));
    return make_layout(&plan->d, key->output, key->n, key->m, key->ldd, err);
}

static lc_code set_preference(cublasLtMatmulPreference_t preference,
                              cublasLtMatmulPreferenceAttributes_t what, const void *value,
                              size_t bytes, lc_err *err)
{
    return blas_result(
        LC_CUBLASLT(cublasLtMatmulPreferenceSetAttribute)(preference, what, value, bytes),
        "cublasLtMatmulPreferenceSetAttribute", err);
}

static lc_code describe_preference(const lc_cuda_gemms *gemms, const lc_cuda_gemm_key *key,
                                   cublasLtMatmulPreference_t preference, lc_err *err)
{
    static const cublasLtMatmulPreferenceAttributes_t alignments[4] = {
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES};
    const uint64_t workspace = gemms->workspace_bytes;
    const uint32_t schemes =
        CUBLASLT_REDUCTION_SCHEME_NONE |
        (key->scope == LC_SCOPE_ROWS ? 0 : CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE);
    LC_TRY(set_preference(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace,
                          sizeof workspace, err));
    LC_TRY(set_preference(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &schemes,
                          sizeof schemes, err));
    for (int i = 0; i < 4; i++) {
        const uint32_t bytes = 1u << key->alignment_log2[i];
        LC_TRY(set_preference(preference, alignments[i], &bytes, sizeof bytes, err));
    }
    return LC_OK;
}

static bool takes(const lc_cuda_gemms *gemms, const lc_cuda_gemm_plan *plan,
                  const cublasLtMatmulAlgo_t *algorithm)
{
    cublasLtMatmulHeuristicResult_t result = {.workspaceSize = 0};
    return LC_CUBLASLT(cublasLtMatmulAlgoCheck)(gemms->handle, plan->operation, plan->a, plan->b,
                                                plan->c, plan->d, algorithm,
                                                &result) == CUBLAS_STATUS_SUCCESS &&
           result.workspaceSize <= gemms->workspace_bytes;
}

/* Keeps the proposals that can do the product with `rows` rows too. */
static lc_code keep_able(const lc_cuda_gemms *gemms, const lc_cuda_gemm_plan *plan, int64_t rows,
                         cublasLtMatmulHeuristicResult_t *results, int *count, lc_err *err)
{
    lc_cuda_gemm_plan other = {.key = plan->key};
    int kept = 0;
    other.key.m = rows;
    const lc_code code = make_layouts(&other, err);
    other.operation = plan->operation;
    for (int i = 0; code == LC_OK && i < *count; i++) {
        if (takes(gemms, &other, &results[i].algo)) {
            results[kept++] = results[i];
        }
    }
    other.operation = NULL; /* the plan's */
    lc_cuda_gemm_plan_release(&other);
    *count = kept;
    return code;
}

static lc_code ask(const lc_cuda_gemms *gemms, const lc_cuda_gemm_plan *plan, int wanted,
                   cublasLtMatmulHeuristicResult_t *results, int *count, lc_err *err)
{
    cublasLtMatmulPreference_t preference = NULL;
    LC_TRY(blas_result(LC_CUBLASLT(cublasLtMatmulPreferenceCreate)(&preference),
                       "cublasLtMatmulPreferenceCreate", err));
    lc_code code = describe_preference(gemms, &plan->key, preference, err);
    if (code == LC_OK) {
        code = blas_result(LC_CUBLASLT(cublasLtMatmulAlgoGetHeuristic)(
                               gemms->handle, plan->operation, plan->a, plan->b, plan->c, plan->d,
                               preference, wanted, results, count),
                           "cublasLtMatmulAlgoGetHeuristic", err);
    }
    (void)LC_CUBLASLT(cublasLtMatmulPreferenceDestroy)(preference);
    return code;
}

lc_code lc_cuda_gemm_propose(const lc_cuda_gemms *gemms, const lc_cuda_gemm_plan *plan, int wanted,
                             cublasLtMatmulHeuristicResult_t *results, int *count, lc_err *err)
{
    cublasLtMatmulHeuristicResult_t proposals[MOST_PROPOSALS];
    *count = 0;
    if (plan->key.scope == LC_SCOPE_ROWS) {
        LC_TRY(ask(gemms, plan, MOST_PROPOSALS, proposals, count, err));
        LC_TRY(keep_able(gemms, plan, 1, proposals, count, err));
        LC_TRY(keep_able(gemms, plan, LC_CUDA_MANY_ROWS, proposals, count, err));
        *count = *count < wanted ? *count : wanted;
        memcpy(results, proposals, (size_t)*count * sizeof *results);
    } else {
        LC_TRY(ask(gemms, plan, wanted, results, count, err));
    }
    if (*count < 1) {
        return lc_fail(err, LC_ERR_DEVICE,
                       "cuBLASLt has no algorithm for a product of %lld x %lld "
                       "x %lld",
                       (long long)plan->key.m, (long long)plan->key.n, (long long)plan->key.k);
    }
    return LC_OK;
}

lc_code lc_cuda_gemm_describe(const lc_cuda_gemm_key *key, const void *bias,
                              lc_cuda_gemm_plan *plan, lc_err *err)
{
    plan->key = *key;
    LC_TRY(make_operation(plan, bias, err));
    return make_layouts(plan, err);
}

/* The library's first proposal for a key, which becomes its choice. */
static lc_code choose(lc_cuda_gemms *gemms, const lc_cuda_gemm_key *key, const void *bias,
                      cublasLtMatmulAlgo_t *algorithm, lc_err *err)
{
    lc_cuda_gemm_plan plan = {.operation = NULL};
    cublasLtMatmulHeuristicResult_t result;
    int count = 0;
    lc_code code = lc_cuda_gemm_describe(key, bias, &plan, err);
    if (code == LC_OK) {
        code = lc_cuda_gemm_propose(gemms, &plan, 1, &result, &count, err);
    }
    lc_cuda_gemm_plan_release(&plan);
    LC_TRY(code);
    const lc_cuda_choice choice = {.key = *key, .algorithm = result.algo};
    *algorithm = result.algo;
    return lc_cuda_choices_add(&gemms->choices, &choice, err);
}

static lc_code take_choice(lc_cuda_gemms *gemms, const lc_cuda_gemm_key *key, const void *bias,
                           cublasLtMatmulAlgo_t *algorithm, lc_err *err)
{
    const lc_cuda_choice *known = lc_cuda_choices_find(&gemms->choices, key);
    if (known == NULL) {
        return choose(gemms, key, bias, algorithm, err);
    }
    *algorithm = known->algorithm;
    return LC_OK;
}

/* The choice of the shape's class; where that cannot do this shape, one for it alone. That would
 * be another order of summation, so not where rows are to be alone. */
static lc_code make_plan(lc_cuda_gemms *gemms, const lc_cuda_gemm_key *key, const void *bias,
                         lc_cuda_gemm_plan *plan, lc_err *err)
{
    lc_cuda_gemm_key wanted =
        gemms->rows_alone ? lc_cuda_gemm_any_rows(key) : lc_cuda_gemm_class(key);
    LC_TRY(lc_cuda_gemm_describe(key, bias, plan, err));
    LC_TRY(take_choice(gemms, &wanted, bias, &plan->algorithm, err));
    if (takes(gemms, plan, &plan->algorithm)) {
        return LC_OK;
    }
    if (gemms->rows_alone) {
        return lc_fail(err, LC_ERR_DEVICE,
                       "cuBLASLt's algorithm for a product of any number of rows of %lld to %lld "
                       "cannot do %lld of them",
                       (long long)key->k, (long long)key->n, (long long)key->m);
    }
    wanted = *key;
    wanted.scope = LC_SCOPE_SHAPE;
    return take_choice(gemms, &wanted, bias, &plan->algorithm, err);
}

static uint64_t hash_of(const lc_cuda_gemm_key *key)
{
    const unsigned char *bytes = (const unsigned char *)key;
    uint64_t hash = 0xCBF29CE484222325u; /* FNV-1a */
    for (size_t i = 0; i < sizeof *key; i++) {
        hash = (hash ^ bytes[i]) * 0x100000001B3u;
    }
    return hash;
}

static lc_code find_plan(lc_cuda_gemms *gemms, const lc_cuda_gemm *gemm, lc_cuda_gemm_plan **out,
                         lc_err *err)
{
    const lc_cuda_gemm_key key = key_of(gemm);
    uint64_t place = hash_of(&key) % LC_CUDA_GEMM_PLANS;
    while (gemms->plans[place].operation != NULL) {
        if (memcmp(&gemms->plans[place].key, &key, sizeof key) == 0) {
            *out = &gemms->plans[place];
            return LC_OK;
        }
        place = (place + 1) % LC_CUDA_GEMM_PLANS;
    }
    if (gemms->plan_count >= LC_CUDA_GEMM_PLANS - 1) { /* an empty place ends each search */
        lc_cuda_gemms_forget_plans(gemms);
        place = hash_of(&key) % LC_CUDA_GEMM_PLANS;
    }
    *out = &gemms->plans[place];
    const lc_code code = make_plan(gemms, &key, gemm->bias, *out, err);
    if (code != LC_OK) {
        lc_cuda_gemm_plan_release(*out); /* half a plan must not be found */
        return code;
    }
    gemms->plan_count++;
    return LC_OK;
}

/* ---- the product ---- */

lc_code lc_cuda_gemm_run(lc_cuda_gemms *gemms, const lc_cuda_gemm *gemm, cudaStream_t stream,
                         lc_err *err)
{
    lc_cuda_gemm_plan *plan = NULL;
    if (gemm->m == 0 || gemm->n == 0) {
        return LC_OK;
    }
    LC_TRY(find_plan(gemms, gemm, &plan, err));
    if (gemm->bias != NULL) { /* the one thing of a plan that calls do not share */
        LC_TRY(set_operation(plan->operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &gemm->bias,
                             sizeof gemm->bias, err));
    }
    const float beta = gemm->addend.data != NULL ? 1.0f : 0.0f;
    return blas_result(
        LC_CUBLASLT(cublasLtMatmul)(gemms->handle, plan->operation, &gemm->alpha, gemm->b.data,
                                    plan->a, gemm->a.data, plan->b, &beta, addend_of(gemm).data,
                                    plan->c, gemm->c.data, plan->d, &plan->algorithm,
                                    gemms->workspace, gemms->workspace_bytes, stream),
        "cublasLtMatmul", err);
}
