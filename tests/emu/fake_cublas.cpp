/* cublasLt against the genuine header: descriptors, heuristics and cublasLtMatmul for bf16 and
 * fp32, column-major, with fp32 accumulation. What the real library demands is enforced: alignments
 * as declared to the heuristic, workspace size, the library version of a stored algorithm. The
 * heuristic offers several algorithms that sum in different orders: each gives the same bits every
 * time, and other bits than the next one. */
#include <algorithm>
#include <cublasLt.h>
#include <stdio.h>
#include <string.h>

#include "emu_config.h"
#include "emu_counters_internal.h"
#include "emu_gemm.h"
#include "emu_internal.h"
#include "emu_stream.h"
#include "fake_cublas.h"

using namespace emu;

namespace
{
constexpr uint32_t ALGORITHM_MAGIC = 0x656d754c;

struct Algorithm {
    uint32_t magic, version;
    int32_t id, splits;
    uint32_t reduction_scheme;
    uint32_t alignments[4];
};

static_assert(sizeof(Algorithm) <= sizeof(cublasLtMatmulAlgo_t), "fits");

// By algorithm id, best first. The first one is fast; the others exist to be different.
const SumOrder ORDERS[] = {
    {256, 1, false}, {8, 1, false}, {16, 1, true}, {256, 2, false}, {64, 4, false}, {4, 1, true},
};
constexpr int ORDER_COUNT = sizeof ORDERS / sizeof *ORDERS;
constexpr uint32_t WORKSPACE_ALIGNMENT = 16;
constexpr int64_t MIN_SPLIT_TERMS = 16;
constexpr size_t POISONED_BYTES = size_t(1) << 20; // of a workspace, beside what is used

template <class T> cublasStatus_t hand_out(T value, void *buffer, size_t capacity, size_t *written)
{
    if (written)
        *written = sizeof value;
    if (capacity < sizeof value)
        return CUBLAS_STATUS_INVALID_VALUE;
    memcpy(buffer, &value, sizeof value);
    return CUBLAS_STATUS_SUCCESS;
}

size_t library_version()
{
    return config().cublaslt_version ? config().cublaslt_version : CUBLAS_VERSION;
}

cublasStatus_t refuse(cublasStatus_t status, const char *why)
{
    fprintf(stderr, "EMU: cublasLt: %s\n", why);
    return status;
}

// ---- shapes ----

struct Problem {
    Description desc;
    Layout a, b, c, d;
    int64_t m, n, k;
};

bool is_layout_valid(const Layout &layout)
{
    return layout.rows > 0 && layout.cols > 0 && layout.ld >= int64_t(layout.rows) &&
           gemm_type_bytes(layout.type) > 0;
}

cublasStatus_t make_problem(const Description &desc, const Layout &a, const Layout &b,
                            const Layout &c, const Layout &d, Problem *p)
{
    bool is_a_transposed = desc.transpose_a != CUBLAS_OP_N;
    bool is_b_transposed = desc.transpose_b != CUBLAS_OP_N;
    *p = {desc,
          a,
          b,
          c,
          d,
          int64_t(d.rows),
          int64_t(d.cols),
          int64_t(is_a_transposed ? a.rows : a.cols)};
    if (!is_layout_valid(a) || !is_layout_valid(b) || !is_layout_valid(c) || !is_layout_valid(d))
        return refuse(CUBLAS_STATUS_INVALID_VALUE,
                      "a layout has no extent, ld < rows or an unknown type");
    bool do_shapes_fit = int64_t(is_a_transposed ? a.cols : a.rows) == p->m &&
                         int64_t(is_b_transposed ? b.cols : b.rows) == p->k &&
                         int64_t(is_b_transposed ? b.rows : b.cols) == p->n && c.rows == d.rows &&
                         c.cols == d.cols;
    bool do_batches_fit = a.batch_count == d.batch_count && b.batch_count == d.batch_count &&
                          c.batch_count == d.batch_count;
    if (!do_shapes_fit || !do_batches_fit)
        return refuse(CUBLAS_STATUS_INVALID_VALUE, "the layouts' shapes do not fit each other");
    bool is_fp32_sum = desc.compute_type == CUBLAS_COMPUTE_32F ||
                       desc.compute_type == CUBLAS_COMPUTE_32F_PEDANTIC ||
                       desc.compute_type == CUBLAS_COMPUTE_32F_FAST_TF32;
    if (!is_fp32_sum || desc.scale_type != CUDA_R_32F || a.type != b.type || c.type != d.type)
        return CUBLAS_STATUS_NOT_SUPPORTED;
    uint32_t known = CUBLASLT_EPILOGUE_DEFAULT | CUBLASLT_EPILOGUE_RELU | CUBLASLT_EPILOGUE_BIAS;
    if (desc.epilogue & ~known)
        return CUBLAS_STATUS_NOT_SUPPORTED;
    return CUBLAS_STATUS_SUCCESS;
}

// Bytes from the first to the last element, over all batches.
size_t extent_bytes(const Layout &layout)
{
    int64_t elements = int64_t(layout.cols - 1) * layout.ld + int64_t(layout.rows);
    elements += int64_t(layout.batch_count - 1) * layout.batch_stride;
    return size_t(elements * gemm_type_bytes(layout.type));
}

uint64_t operand_bytes(const Layout &layout)
{
    return layout.rows * layout.cols * uint64_t(layout.batch_count) *
           uint64_t(gemm_type_bytes(layout.type));
}

// ---- algorithms ----

SumOrder order_of(const Algorithm &algorithm)
{
    SumOrder order = ORDERS[algorithm.id];
    order.splits = algorithm.splits;
    return order;
}

Algorithm make_algorithm(int id)
{
    Algorithm algorithm = {};
    algorithm.magic = ALGORITHM_MAGIC;
    algorithm.version = uint32_t(library_version());
    algorithm.id = id;
    algorithm.splits = ORDERS[id].splits;
    algorithm.reduction_scheme = ORDERS[id].splits > 1 ? CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE
                                                       : CUBLASLT_REDUCTION_SCHEME_NONE;
    for (uint32_t &alignment : algorithm.alignments)
        alignment = DEFAULT_ALIGNMENT;
    return algorithm;
}

cublasStatus_t check_algorithm(const Algorithm &algorithm, const Problem &p)
{
    if (algorithm.magic != ALGORITHM_MAGIC || algorithm.id < 0 || algorithm.id >= ORDER_COUNT)
        return refuse(CUBLAS_STATUS_INVALID_VALUE, "this is no algorithm");
    if (algorithm.version != library_version())
        return refuse(CUBLAS_STATUS_NOT_SUPPORTED, "the algorithm is another library version's");
    if (algorithm.splits < 1 || (algorithm.splits > 1 && p.k < algorithm.splits * MIN_SPLIT_TERMS))
        return CUBLAS_STATUS_NOT_SUPPORTED;
    if (algorithm.splits > 1 && p.d.batch_count > 1)
        return CUBLAS_STATUS_NOT_SUPPORTED;
    return CUBLAS_STATUS_SUCCESS;
}

void describe(const Algorithm &algorithm, const Problem &p, cublasLtMatmulHeuristicResult_t *result)
{
    memset(static_cast<void *>(result), 0, sizeof *result);
    put(&result->algo, algorithm);
    result->workspaceSize = size_t(gemm_workspace_bytes(p.m, p.n, order_of(algorithm)));
    result->state = CUBLAS_STATUS_SUCCESS;
    result->wavesCount = 1.0f;
}

bool is_wanted(const Algorithm &algorithm, const Problem &p, const Preference &preference)
{
    int64_t workspace = gemm_workspace_bytes(p.m, p.n, order_of(algorithm));
    bool is_scheme_allowed = algorithm.reduction_scheme == CUBLASLT_REDUCTION_SCHEME_NONE ||
                             (preference.reduction_schemes & algorithm.reduction_scheme);
    bool is_split_possible = algorithm.splits == 1 ||
                             (p.k >= algorithm.splits * MIN_SPLIT_TERMS && p.d.batch_count == 1);
    return is_scheme_allowed && is_split_possible &&
           uint64_t(workspace) <= preference.workspace_bytes;
}

// ---- the product ----

struct Operands {
    const void *alpha, *beta; // host or device, by the pointer mode
    const void *a, *b, *c;
    void *d;
    void *workspace;
    size_t workspace_bytes;
};

bool is_aligned(const void *p, uint64_t alignment)
{
    return uintptr_t(p) % alignment == 0;
}

cublasStatus_t check_memory(const Problem &p, const Operands &o, bool reads_c)
{
    bool is_inside = is_device_memory(o.a, extent_bytes(p.a)) &&
                     is_device_memory(o.b, extent_bytes(p.b)) &&
                     is_device_memory(o.d, extent_bytes(p.d));
    if (!is_inside || (reads_c && !is_device_memory(o.c, extent_bytes(p.c))))
        return refuse(CUBLAS_STATUS_EXECUTION_FAILED,
                      "an operand is not, or not all, in device memory");
    if (reads_c && o.c == o.d && p.c.ld != p.d.ld)
        return refuse(CUBLAS_STATUS_INVALID_VALUE, "C and D are one buffer with two layouts");
    if (p.desc.epilogue & CUBLASLT_EPILOGUE_BIAS) {
        cudaDataType type = p.desc.bias_type >= 0 ? cudaDataType(p.desc.bias_type) : p.d.type;
        if (!is_device_memory(p.desc.bias, size_t(p.m * gemm_type_bytes(type))))
            return refuse(CUBLAS_STATUS_EXECUTION_FAILED,
                          "the bias is not, or not all, in device memory");
    }
    if (o.workspace_bytes && !is_device_memory(o.workspace, o.workspace_bytes))
        return refuse(CUBLAS_STATUS_EXECUTION_FAILED,
                      "the workspace is not, or not all, in device memory");
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t check_alignments(const Problem &p, const Operands &o, const uint32_t *alignments,
                                bool reads_c)
{
    const void *pointers[] = {o.a, o.b, reads_c ? o.c : nullptr, o.d};
    const Layout *layouts[] = {&p.a, &p.b, &p.c, &p.d};
    for (int i = 0; i < 4; i++) {
        uint64_t natural = uint64_t(gemm_type_bytes(layouts[i]->type));
        uint64_t needed = alignments ? std::max(uint64_t(alignments[i]), natural) : natural;
        if (!is_aligned(pointers[i], needed))
            return refuse(CUBLAS_STATUS_NOT_SUPPORTED,
                          "an operand has not the alignment that the heuristic was told");
    }
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t check_workspace(const Operands &o, int64_t needed)
{
    if (needed > int64_t(o.workspace_bytes))
        return refuse(CUBLAS_STATUS_INVALID_VALUE,
                      "the workspace is smaller than the algorithm needs");
    if (needed && !is_aligned(o.workspace, WORKSPACE_ALIGNMENT))
        return refuse(CUBLAS_STATUS_INVALID_VALUE, "the workspace is not aligned");
    return CUBLAS_STATUS_SUCCESS;
}

// Nothing in a workspace survives a call: what is used, and a part of the rest, is made NaN.
void poison_workspace(const Operands &o, int64_t used)
{
    size_t bytes = std::min(o.workspace_bytes, std::max(size_t(used), POISONED_BYTES));
    poison(o.workspace, bytes);
}

float scale_of(const void *pointer)
{
    float value;
    memcpy(&value, pointer, sizeof value);
    return value;
}

const void *batch_of(const void *data, const Layout &layout, int index)
{
    return static_cast<const char *>(data) +
           index * layout.batch_stride * gemm_type_bytes(layout.type);
}

void run(const Problem &p, const Operands &o, float alpha, float beta, const SumOrder &order)
{
    const Description &desc = p.desc;
    bool has_bias = desc.epilogue & CUBLASLT_EPILOGUE_BIAS;
    Gemm g = {};
    g.m = p.m;
    g.n = p.n;
    g.k = p.k;
    g.alpha = alpha;
    g.beta = beta;
    g.bias = has_bias ? desc.bias : nullptr;
    g.bias_type = desc.bias_type >= 0 ? cudaDataType(desc.bias_type) : p.d.type;
    g.has_relu = (desc.epilogue & CUBLASLT_EPILOGUE_RELU) == CUBLASLT_EPILOGUE_RELU;
    g.is_tf32 = desc.compute_type == CUBLAS_COMPUTE_32F_FAST_TF32 && p.a.type == CUDA_R_32F;
    g.order = order;
    g.workspace = static_cast<float *>(o.workspace);
    g.d_type = p.d.type;
    g.d_ld = p.d.ld;
    poison_workspace(o, gemm_workspace_bytes(p.m, p.n, order));
    for (int i = 0; i < p.d.batch_count; i++) {
        g.a = {batch_of(o.a, p.a, i), p.a.type, p.a.ld, desc.transpose_a != CUBLAS_OP_N};
        g.b = {batch_of(o.b, p.b, i), p.b.type, p.b.ld, desc.transpose_b != CUBLAS_OP_N};
        g.c = {batch_of(o.c, p.c, i), p.c.type, p.c.ld, false};
        g.d = const_cast<void *>(batch_of(o.d, p.d, i));
        gemm_run(g);
    }
    poison_workspace(o, gemm_workspace_bytes(p.m, p.n, order));
    bool reads_c = beta > 0 || beta < 0;
    count_operands("cublasLtMatmul",
                   operand_bytes(p.a) + operand_bytes(p.b) + (reads_c ? operand_bytes(p.c) : 0),
                   operand_bytes(p.d));
}

cublasStatus_t matmul(const Problem &p, const Operands &o, const Algorithm *chosen,
                      cudaStream_t stream)
{
    bool is_on_host = p.desc.pointer_mode == CUBLASLT_POINTER_MODE_HOST;
    if (!is_on_host && p.desc.pointer_mode != CUBLASLT_POINTER_MODE_DEVICE)
        return CUBLAS_STATUS_NOT_SUPPORTED;
    float alpha = is_on_host ? scale_of(o.alpha) : 0, beta = is_on_host ? scale_of(o.beta) : 0;
    bool reads_c = !is_on_host || beta > 0 || beta < 0;
    Algorithm algorithm = chosen ? *chosen : make_algorithm(0);
    SumOrder order = ORDERS[0];
    cublasStatus_t status = check_algorithm(algorithm, p);
    if (status == CUBLAS_STATUS_SUCCESS) {
        order = order_of(algorithm);
        status = check_memory(p, o, reads_c);
    }
    if (status == CUBLAS_STATUS_SUCCESS)
        status = check_alignments(p, o, chosen ? algorithm.alignments : nullptr, reads_c);
    if (status == CUBLAS_STATUS_SUCCESS)
        status = check_workspace(o, gemm_workspace_bytes(p.m, p.n, order));
    if (status != CUBLAS_STATUS_SUCCESS)
        return status;
    auto work = [=] {
        float scales[2] = {alpha, beta};
        if (!is_on_host) {
            scales[0] = scale_of(o.alpha);
            scales[1] = scale_of(o.beta);
        }
        run(p, o, scales[0], scales[1], order);
    };
    return enqueue(stream, "cublasLtMatmul", work) == cudaSuccess ? CUBLAS_STATUS_SUCCESS
                                                                  : CUBLAS_STATUS_EXECUTION_FAILED;
}
} // namespace

struct cublasLtContext {
    int unused;
};

extern "C" {
// ---- library ----

cublasStatus_t cublasLtCreate(cublasLtHandle_t *handle)
{
    *handle = new cublasLtContext{0};
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle)
{
    delete handle;
    return CUBLAS_STATUS_SUCCESS;
}

size_t cublasLtGetVersion(void)
{
    return library_version();
}

size_t cublasLtGetCudartVersion(void)
{
    return CUDART_VERSION;
}

const char *cublasLtGetStatusName(cublasStatus_t status)
{
    switch (status) {
    case CUBLAS_STATUS_SUCCESS:
        return "CUBLAS_STATUS_SUCCESS";
    case CUBLAS_STATUS_INVALID_VALUE:
        return "CUBLAS_STATUS_INVALID_VALUE";
    case CUBLAS_STATUS_NOT_SUPPORTED:
        return "CUBLAS_STATUS_NOT_SUPPORTED";
    case CUBLAS_STATUS_EXECUTION_FAILED:
        return "CUBLAS_STATUS_EXECUTION_FAILED";
    default:
        return "CUBLAS_STATUS_INTERNAL_ERROR";
    }
}

const char *cublasLtGetStatusString(cublasStatus_t status)
{
    return status == CUBLAS_STATUS_SUCCESS ? "success" : cublasLtGetStatusName(status);
}

// ---- algorithms ----

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t desc,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t preference, int requested,
                                              cublasLtMatmulHeuristicResult_t results[],
                                              int *returned)
{
    count_call(__func__);
    Problem p;
    *returned = 0;
    if (requested <= 0)
        return CUBLAS_STATUS_INVALID_VALUE;
    cublasStatus_t status = make_problem(get<Description>(desc), get<Layout>(a), get<Layout>(b),
                                         get<Layout>(c), get<Layout>(d), &p);
    if (status != CUBLAS_STATUS_SUCCESS)
        return status;
    Preference wanted = get<Preference>(preference);
    int first = config().cublaslt_by_rows ? int(p.n % ORDER_COUNT) : 0; // n: rows of a row-major C
    for (int i = 0; i < ORDER_COUNT && *returned < requested; i++) {
        Algorithm algorithm = make_algorithm((first + i) % ORDER_COUNT);
        memcpy(algorithm.alignments, wanted.alignments, sizeof algorithm.alignments);
        if (is_wanted(algorithm, p, wanted))
            describe(algorithm, p, &results[(*returned)++]);
    }
    return *returned ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_SUPPORTED;
}

cublasStatus_t cublasLtMatmulAlgoCheck(cublasLtHandle_t, cublasLtMatmulDesc_t desc,
                                       cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                       cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                       const cublasLtMatmulAlgo_t *algo,
                                       cublasLtMatmulHeuristicResult_t *result)
{
    Problem p;
    Algorithm algorithm = get<Algorithm>(algo);
    cublasStatus_t status = make_problem(get<Description>(desc), get<Layout>(a), get<Layout>(b),
                                         get<Layout>(c), get<Layout>(d), &p);
    if (status == CUBLAS_STATUS_SUCCESS)
        status = check_algorithm(algorithm, p);
    if (status != CUBLAS_STATUS_SUCCESS)
        return status;
    describe(algorithm, p, result);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoConfigGetAttribute(const cublasLtMatmulAlgo_t *algo,
                                                    cublasLtMatmulAlgoConfigAttributes_t attribute,
                                                    void *buffer, size_t capacity, size_t *written)
{
    Algorithm algorithm = get<Algorithm>(algo);
    switch (attribute) {
    case CUBLASLT_ALGO_CONFIG_ID:
        return hand_out(algorithm.id, buffer, capacity, written);
    case CUBLASLT_ALGO_CONFIG_SPLITK_NUM:
        return hand_out(algorithm.splits, buffer, capacity, written);
    case CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME:
        return hand_out(algorithm.reduction_scheme, buffer, capacity, written);
    case CUBLASLT_ALGO_CONFIG_TILE_ID:
    case CUBLASLT_ALGO_CONFIG_STAGES_ID:
        return hand_out(uint32_t(0), buffer, capacity, written);
    default:
        return CUBLAS_STATUS_NOT_SUPPORTED;
    }
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t desc, const void *alpha,
                              const void *a, cublasLtMatrixLayout_t a_layout, const void *b,
                              cublasLtMatrixLayout_t b_layout, const void *beta, const void *c,
                              cublasLtMatrixLayout_t c_layout, void *d,
                              cublasLtMatrixLayout_t d_layout, const cublasLtMatmulAlgo_t *algo,
                              void *workspace, size_t workspace_bytes, cudaStream_t stream)
{
    Problem p;
    cublasStatus_t status =
        make_problem(get<Description>(desc), get<Layout>(a_layout), get<Layout>(b_layout),
                     get<Layout>(c_layout), get<Layout>(d_layout), &p);
    if (status != CUBLAS_STATUS_SUCCESS)
        return status;
    Operands o = {alpha, beta, a, b, c, d, workspace, workspace_bytes};
    if (!algo)
        return matmul(p, o, nullptr, stream);
    Algorithm algorithm = get<Algorithm>(algo);
    return matmul(p, o, &algorithm, stream);
}
}
