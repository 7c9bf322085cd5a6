/* The fake cublasLt from C11: products against fp64 in every layout that is used, what it refuses,
 * and the promise that algorithms differ in their last bits and are each reproducible. */
#include <cublasLt.h>
#include <cuda_runtime_api.h>
#include <time.h>

#include "host_testing.h"

typedef struct {
    int m, n, k;
    int is_a_transposed, is_b_transposed;
    int a_ld, b_ld, c_ld, d_ld;
    cudaDataType_t type;
    float alpha, beta;
    int has_bias, is_c_separate;
} gemm_case;

typedef struct {
    gemm_case what;
    int a_rows, a_cols, b_rows, b_cols;
    size_t element;
    float *a, *b, *c, *bias; // host, as the device sees them
    void *device_a, *device_b, *device_c, *device_d, *device_bias, *workspace;
    cublasLtMatmulDesc_t desc;
    cublasLtMatrixLayout_t a_layout, b_layout, c_layout, d_layout;
    cublasLtMatmulPreference_t preference;
} gemm_fixture;

enum { WORKSPACE_BYTES = 1 << 22 };

static cublasLtHandle_t handle;

// ---- data ----

// A device matrix of random values; what lies between `rows` and ld stays NaN.
static void *upload(const gemm_case *what, int rows, int cols, int ld, float **host,
                    uint64_t *random)
{
    size_t element = what->type == CUDA_R_32F ? 4 : 2, count = (size_t)ld * (size_t)cols;
    char *raw = malloc(count * element);
    void *device;
    *host = malloc(count * sizeof(float));
    memset(raw, 0xff, count * element);
    for (int col = 0; col < cols; col++) {
        for (int row = 0; row < rows; row++) {
            size_t at = (size_t)col * (size_t)ld + (size_t)row;
            float value = test_random(random);
            uint16_t half = test_to_bf16(value);
            (*host)[at] = what->type == CUDA_R_32F ? value : test_from_bf16(half);
            memcpy(raw + at * element, what->type == CUDA_R_32F ? (void *)&value : (void *)&half,
                   element);
        }
    }
    OK(cudaMalloc(&device, count * element));
    OK(cudaMemcpy(device, raw, count * element, cudaMemcpyHostToDevice));
    free(raw);
    return device;
}

static void set(cublasLtMatmulDesc_t desc, cublasLtMatmulDescAttributes_t attribute,
                const void *value, size_t bytes)
{
    OK(cublasLtMatmulDescSetAttribute(desc, attribute, value, bytes));
}

static void fixture_open(gemm_fixture *f, const gemm_case *what)
{
    uint64_t random = 7, workspace_bytes = WORKSPACE_BYTES;
    int32_t transposed = CUBLAS_OP_T;
    uint32_t epilogue = CUBLASLT_EPILOGUE_BIAS, schemes = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
    const gemm_case *w = &f->what;
    f->what = *what;
    f->element = w->type == CUDA_R_32F ? 4 : 2;
    f->a_rows = w->is_a_transposed ? w->k : w->m;
    f->a_cols = w->is_a_transposed ? w->m : w->k;
    f->b_rows = w->is_b_transposed ? w->n : w->k;
    f->b_cols = w->is_b_transposed ? w->k : w->n;
    f->device_a = upload(w, f->a_rows, f->a_cols, w->a_ld, &f->a, &random);
    f->device_b = upload(w, f->b_rows, f->b_cols, w->b_ld, &f->b, &random);
    f->device_c = upload(w, w->m, w->n, w->c_ld, &f->c, &random);
    f->device_bias = upload(w, w->m, 1, w->m, &f->bias, &random);
    f->device_d = f->device_c;
    if (w->is_c_separate)
        OK(cudaMalloc(&f->device_d, (size_t)w->d_ld * (size_t)w->n * f->element));
    OK(cudaMalloc(&f->workspace, WORKSPACE_BYTES));
    OK(cublasLtMatmulDescCreate(&f->desc, CUBLAS_COMPUTE_32F, CUDA_R_32F));
    if (w->is_a_transposed)
        set(f->desc, CUBLASLT_MATMUL_DESC_TRANSA, &transposed, sizeof transposed);
    if (w->is_b_transposed)
        set(f->desc, CUBLASLT_MATMUL_DESC_TRANSB, &transposed, sizeof transposed);
    if (w->has_bias) {
        set(f->desc, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof epilogue);
        set(f->desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &f->device_bias, sizeof f->device_bias);
    }
    OK(cublasLtMatrixLayoutCreate(&f->a_layout, w->type, (uint64_t)f->a_rows, (uint64_t)f->a_cols,
                                  w->a_ld));
    OK(cublasLtMatrixLayoutCreate(&f->b_layout, w->type, (uint64_t)f->b_rows, (uint64_t)f->b_cols,
                                  w->b_ld));
    OK(cublasLtMatrixLayoutCreate(&f->c_layout, w->type, (uint64_t)w->m, (uint64_t)w->n, w->c_ld));
    OK(cublasLtMatrixLayoutCreate(&f->d_layout, w->type, (uint64_t)w->m, (uint64_t)w->n, w->d_ld));
    OK(cublasLtMatmulPreferenceCreate(&f->preference));
    OK(cublasLtMatmulPreferenceSetAttribute(f->preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                            &workspace_bytes, sizeof workspace_bytes));
    OK(cublasLtMatmulPreferenceSetAttribute(
        f->preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &schemes, sizeof schemes));
}

static void fixture_close(gemm_fixture *f)
{
    if (f->what.is_c_separate)
        OK(cudaFree(f->device_d));
    void *buffers[] = {f->device_a, f->device_b, f->device_c, f->device_bias, f->workspace};
    float *host[] = {f->a, f->b, f->c, f->bias};
    for (int i = 0; i < 5; i++)
        OK(cudaFree(buffers[i]));
    for (int i = 0; i < 4; i++)
        free(host[i]);
    OK(cublasLtMatmulDescDestroy(f->desc));
    cublasLtMatrixLayout_t layouts[] = {f->a_layout, f->b_layout, f->c_layout, f->d_layout};
    for (int i = 0; i < 4; i++)
        OK(cublasLtMatrixLayoutDestroy(layouts[i]));
    OK(cublasLtMatmulPreferenceDestroy(f->preference));
}

static int find_algorithms(gemm_fixture *f, cublasLtMatmulHeuristicResult_t *results, int capacity)
{
    int count = 0;
    OK(cublasLtMatmulAlgoGetHeuristic(handle, f->desc, f->a_layout, f->b_layout, f->c_layout,
                                      f->d_layout, f->preference, capacity, results, &count));
    return count;
}

static cublasStatus_t multiply(gemm_fixture *f, const cublasLtMatmulAlgo_t *algo,
                               size_t workspace_bytes)
{
    return cublasLtMatmul(handle, f->desc, &f->what.alpha, f->device_a, f->a_layout, f->device_b,
                          f->b_layout, &f->what.beta, f->device_c, f->c_layout, f->device_d,
                          f->d_layout, algo, f->workspace, workspace_bytes, NULL);
}

static float *fetch(const gemm_fixture *f)
{
    size_t count = (size_t)f->what.d_ld * (size_t)f->what.n;
    char *raw = malloc(count * f->element);
    float *values = malloc(count * sizeof(float));
    OK(cudaMemcpy(raw, f->device_d, count * f->element, cudaMemcpyDeviceToHost));
    for (size_t i = 0; i < count; i++) {
        uint16_t half;
        memcpy(&half, raw + 2 * i, 2);
        values[i] = test_from_bf16(half);
    }
    if (f->element == 4)
        memcpy(values, raw, count * sizeof(float));
    free(raw);
    return values;
}

static double reference(const gemm_fixture *f, int row, int col)
{
    const gemm_case *w = &f->what;
    double sum = 0;
    for (int k = 0; k < w->k; k++) {
        double a = f->a[w->is_a_transposed ? row * w->a_ld + k : k * w->a_ld + row];
        double b = f->b[w->is_b_transposed ? k * w->b_ld + col : col * w->b_ld + k];
        sum += a * b;
    }
    sum *= (double)w->alpha;
    if (w->beta > 0 || w->beta < 0)
        sum += (double)w->beta * (double)f->c[col * w->c_ld + row];
    return sum + (w->has_bias ? (double)f->bias[row] : 0);
}

static void check(const gemm_fixture *f, const float *values)
{
    const gemm_case *w = &f->what;
    double tolerance = w->type == CUDA_R_32F ? 2e-6 : 5e-3;
    int wrong = 0;
    for (int col = 0; col < w->n; col++) {
        for (int row = 0; row < w->m; row++) {
            double expected = reference(f, row, col);
            double error = fabs((double)values[col * w->d_ld + row] - expected);
            wrong += !(error <= tolerance * (1 + fabs(expected)));
        }
        for (int row = w->m; row < w->d_ld && w->is_c_separate; row++)
            wrong += !isnan(values[col * w->d_ld + row]); // the padding is not touched
    }
    EXPECT(wrong == 0);
}

// ---- tests ----

static void test_products(void)
{
    const gemm_case cases[] = {
        // m, n, k, A^T, B^T, lds, type, alpha, beta, bias, C apart
        {37, 29, 50, 1, 0, 64, 56, 40, 48, CUDA_R_16BF, 1.0f, 0.0f, 0, 1},
        {37, 29, 50, 1, 0, 50, 50, 37, 37, CUDA_R_16BF, 1.0f, 1.0f, 0, 1},
        {64, 16, 48, 0, 0, 72, 48, 64, 80, CUDA_R_16BF, 0.5f, -2.0f, 1, 1},
        {33, 65, 17, 0, 1, 40, 72, 33, 33, CUDA_R_16BF, 1.0f, 1.0f, 0, 0},
        {1, 1, 1, 1, 0, 1, 1, 1, 1, CUDA_R_16BF, 2.0f, 0.0f, 1, 1},
        {37, 29, 50, 1, 0, 64, 56, 40, 48, CUDA_R_32F, 1.0f, 0.5f, 1, 1},
        {128, 40, 300, 0, 1, 128, 40, 128, 128, CUDA_R_32F, 1.0f, 0.0f, 0, 1},
        {20, 200, 64, 1, 1, 64, 200, 20, 24, CUDA_R_32F, -1.0f, 0.0f, 0, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        gemm_fixture f;
        cublasLtMatmulHeuristicResult_t results[16];
        fixture_open(&f, &cases[i]);
        int count = find_algorithms(&f, results, 16);
        EXPECT(count >= 3);
        for (int j = 0; j < (cases[i].is_c_separate ? count : 1); j++) {
            OK(multiply(&f, &results[j].algo, WORKSPACE_BYTES));
            float *values = fetch(&f);
            check(&f, values);
            free(values);
        }
        fixture_close(&f);
    }
}

static const gemm_case PLAIN = {64, 48, 200, 1, 0, 208, 200, 64, 64, CUDA_R_32F, 1.0f, 0.0f, 0, 1};

// Each algorithm twice gives the same bits, any two of them others.
static void test_algorithms_differ(void)
{
    gemm_fixture f;
    cublasLtMatmulHeuristicResult_t results[16];
    float *values[16];
    fixture_open(&f, &PLAIN);
    int count = find_algorithms(&f, results, 16);
    size_t bytes = (size_t)PLAIN.d_ld * (size_t)PLAIN.n * sizeof(float);
    EXPECT(count >= 5);
    for (int i = 0; i < count; i++) {
        OK(multiply(&f, &results[i].algo, WORKSPACE_BYTES));
        values[i] = fetch(&f);
        OK(multiply(&f, &results[i].algo, WORKSPACE_BYTES));
        float *again = fetch(&f);
        EXPECT(memcmp(values[i], again, bytes) == 0);
        free(again);
        for (int j = 0; j < i; j++)
            EXPECT(memcmp(values[i], values[j], bytes) != 0);
    }
    for (int i = 0; i < count; i++)
        free(values[i]);
    fixture_close(&f);
}

static void test_refusals(void)
{
    gemm_fixture f;
    cublasLtMatmulHeuristicResult_t results[16], checked;
    fixture_open(&f, &PLAIN);
    int count = find_algorithms(&f, results, 16), split = -1;
    for (int i = 0; i < count; i++)
        split = results[i].workspaceSize > 0 ? i : split;
    EXPECT(split >= 0);
    EXPECT_RESULT(multiply(&f, &results[split].algo, results[split].workspaceSize - 1),
                  CUBLAS_STATUS_INVALID_VALUE);
    // A declared alignment holds: 256 bytes by default, less only if the heuristic was told.
    void *aligned = f.device_b;
    f.device_b = (char *)f.device_b + 16;
    EXPECT_RESULT(multiply(&f, &results[0].algo, 0), CUBLAS_STATUS_EXECUTION_FAILED); // overruns
    uint64_t columns = (uint64_t)PLAIN.n - 1;
    OK(cublasLtMatrixLayoutSetAttribute(f.b_layout, CUBLASLT_MATRIX_LAYOUT_COLS, &columns,
                                        sizeof columns));
    OK(cublasLtMatrixLayoutSetAttribute(f.c_layout, CUBLASLT_MATRIX_LAYOUT_COLS, &columns,
                                        sizeof columns));
    OK(cublasLtMatrixLayoutSetAttribute(f.d_layout, CUBLASLT_MATRIX_LAYOUT_COLS, &columns,
                                        sizeof columns));
    EXPECT_RESULT(multiply(&f, &results[0].algo, 0), CUBLAS_STATUS_NOT_SUPPORTED);
    uint32_t sixteen = 16;
    OK(cublasLtMatmulPreferenceSetAttribute(
        f.preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, &sixteen, sizeof sixteen));
    find_algorithms(&f, results, 1);
    OK(multiply(&f, &results[0].algo, 0));
    f.device_b = aligned;
    // Too small a workspace, or no reduction allowed: no split sums.
    uint64_t none = 0;
    OK(cublasLtMatmulPreferenceSetAttribute(f.preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                            &none, sizeof none));
    count = find_algorithms(&f, results, 16);
    for (int i = 0; i < count; i++)
        EXPECT(results[i].workspaceSize == 0);
    // Stored and restored, byte by byte; another version's is refused.
    cublasLtMatmulAlgo_t stored;
    memcpy(&stored, &results[1].algo, sizeof stored);
    OK(cublasLtMatmulAlgoCheck(handle, f.desc, f.a_layout, f.b_layout, f.c_layout, f.d_layout,
                               &stored, &checked));
    OK(multiply(&f, &stored, 0));
    ((uint32_t *)&stored)[1]++; // where the emulator keeps the version
    EXPECT_RESULT(cublasLtMatmulAlgoCheck(handle, f.desc, f.a_layout, f.b_layout, f.c_layout,
                                          f.d_layout, &stored, &checked),
                  CUBLAS_STATUS_NOT_SUPPORTED);
    EXPECT_RESULT(multiply(&f, &stored, 0), CUBLAS_STATUS_NOT_SUPPORTED);
    fixture_close(&f);
}

// Nothing that a program leaves in the workspace is there after a call.
static void test_workspace_is_poisoned(void)
{
    gemm_fixture f;
    float value = 0;
    fixture_open(&f, &PLAIN);
    OK(cudaMemset(f.workspace, 0, WORKSPACE_BYTES));
    OK(multiply(&f, NULL, WORKSPACE_BYTES));
    OK(cudaMemcpy(&value, f.workspace, sizeof value, cudaMemcpyDeviceToHost));
    EXPECT(isnan(value));
    fixture_close(&f);
}

static void test_capture(void)
{
    gemm_fixture f;
    cudaStream_t stream;
    cudaGraph_t graph;
    cudaGraphExec_t exec;
    float alpha = 1, beta = 0;
    fixture_open(&f, &PLAIN);
    OK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    OK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
    OK(cublasLtMatmul(handle, f.desc, &alpha, f.device_a, f.a_layout, f.device_b, f.b_layout, &beta,
                      f.device_c, f.c_layout, f.device_d, f.d_layout, NULL, f.workspace,
                      WORKSPACE_BYTES, stream));
    OK(cudaStreamEndCapture(stream, &graph));
    OK(cudaGraphInstantiate(&exec, graph, 0));
    alpha = 5; // was taken at the call
    OK(cudaGraphLaunch(exec, stream));
    OK(cudaStreamSynchronize(stream));
    float *values = fetch(&f);
    check(&f, values);
    free(values);
    OK(cudaGraphExecDestroy(exec));
    OK(cudaGraphDestroy(graph));
    OK(cudaStreamDestroy(stream));
    fixture_close(&f);
}

// The rate of a big product in one thread; printed, not judged.
static void measure(void)
{
    gemm_case big = {1024, 1024, 1024, 1, 0, 1024, 1024, 1024, 1024, CUDA_R_16BF, 1.0f, 0.0f, 0, 1};
    gemm_fixture f;
    struct timespec start, end;
    fixture_open(&f, &big);
    clock_gettime(CLOCK_MONOTONIC, &start);
    OK(multiply(&f, NULL, 0));
    OK(cudaDeviceSynchronize());
    clock_gettime(CLOCK_MONOTONIC, &end);
    double seconds =
        (double)(end.tv_sec - start.tv_sec) + 1e-9 * (double)(end.tv_nsec - start.tv_nsec);
    printf("1024^3 bf16: %.1f GFLOP/s\n", 2e-9 * 1024 * 1024 * 1024 / seconds);
    fixture_close(&f);
}

int main(void)
{
    OK(cublasLtCreate(&handle));
    test_products();
    test_algorithms_differ();
    test_refusals();
    test_workspace_is_poisoned();
    test_capture();
    measure();
    OK(cublasLtDestroy(handle));
    return test_finish();
}
