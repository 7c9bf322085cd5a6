/*
 * Whether a plan of cuDNN may be trusted: it runs on a small batch of random numbers with documents
 * of awkward lengths, one of them missing and rows behind the last, first plainly, then recorded,
 * as in a job; its results are held against our own kernels' on the same device. Both round
 * probabilities to BF16, so each head of each row has to agree within a few of its roundings. What
 * has to add up in a fixed order also has to give the same bytes each time.
 *
 * Memory for it is taken and given back: this happens when a plan is made, never in a recorded
 * step.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attention_layout.h"
#include "attention_paths.h"
#include "cuda.h"

#define MOST_ROWS      1024
#define MOST_DOCUMENTS 8
#define TAIL_ROWS      5    /* behind the last document */
#define OF_ITSELF      0.03 /* what a head's row may be off, of its own length */
#define OF_ALL         0.02 /* ... and of the mean length of all rows */
#define LSE_TOLERANCE  0.02

/* A matrix in device memory, with a host copy. */
typedef struct tensor {
    lc_mat mat;
    float *host; /* owned: rows x cols */
} tensor;

enum {
    Q,
    K,
    V,
    DOUT,
    OUT,
    LSE,
    OWN_OUT,
    OWN_LSE,
    DQ,
    DK,
    DV,
    OWN_DQ,
    OWN_DK,
    OWN_DV,
    DELTA,
    COUNT
};

typedef struct probe {
    lc_cuda *cuda;
    const lc_cuda_attention_plan *plan;
    tensor tensors[COUNT];
    int32_t begins[MOST_DOCUMENTS + 1];
    lc_documents documents;
    void *layout; /* owned device memory */
    int64_t rows, used;
    void *bytes; /* owned: raw results of the run before */
} probe;

/* ---- the batch ---- */

/* Documents as the case allows them, with a free place where it has more than one. */
static void choose_documents(probe *p)
{
    static const int32_t lengths[MOST_DOCUMENTS - 1] = {65, 1, 64, 129, 63, 127, 200};
    const lc_cudnn_case *of = &p->plan->of;
    const int64_t room = of->rows < MOST_ROWS ? of->rows : MOST_ROWS;
    const int32_t places = of->documents > 1 ? of->documents - 1 : 1;
    int32_t count = 0;
    int64_t used = 0;
    for (int32_t i = 0; i < MOST_DOCUMENTS - 1 && count < places; i++) {
        int32_t length = lengths[i];
        if (i == 0 && (of->window > 0 || of->documents == 1)) { /* one that a window cuts */
            length = of->window > 0 && of->window < MOST_ROWS / 2 ? of->window + 65 : 193;
        }
        length = length < of->longest ? length : of->longest;
        length = length < room - used ? length : (int32_t)(room - used);
        if (length > 0) {
            used += length;
            p->begins[++count] = (int32_t)used;
        }
    }
    p->documents = (lc_documents){.count = count, .cu_seqlens = p->begins};
    p->used = used;
    p->rows = used + TAIL_ROWS < of->rows ? used + TAIL_ROWS : of->rows;
}

static lc_code upload_layout(probe *p, lc_err *err)
{
    const size_t bytes = lc_cuda_layout_bytes(p->rows);
    LC_TRY(lc_cuda_alloc(&p->cuda->device, bytes, &p->layout, err));
    void *host = malloc(bytes);
    if (host == NULL) {
        return lc_fail(err, LC_ERR_MEMORY, "no memory to check it");
    }
    lc_cuda_lay_out(&p->documents, p->rows, host);
    const lc_code code = lc_cuda_upload(&p->cuda->device, p->layout, host, bytes, err);
    free(host);
    return code;
}

/* ---- its tensors ---- */

static lc_code make_tensor(probe *p, int which, int64_t cols, int64_t ld, lc_dtype dtype,
                           lc_err *err)
{
    tensor *t = &p->tensors[which];
    t->mat = (lc_mat){NULL, p->rows, cols, ld, dtype, 0};
    t->host = malloc((size_t)(p->rows * cols) * sizeof *t->host);
    if (t->host == NULL) {
        return lc_fail(err, LC_ERR_MEMORY, "no memory to check it");
    }
    return lc_cuda_alloc(&p->cuda->device, (size_t)(p->rows * ld) * lc_dtype_bytes(dtype),
                         &t->mat.data, err);
}

/* Numbers in -amount..amount, the same every time. */
static lc_code draw(probe *p, int which, float amount, lc_err *err)
{
    tensor *t = &p->tensors[which];
    uint64_t state = 88172645463325252u + (uint64_t)which;
    const size_t cols = (size_t)t->mat.cols;
    for (size_t i = 0; i < (size_t)p->rows * cols; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        t->host[i] = (float)(int32_t)(state >> 32) * 0x1p-31f * amount;
    }
    const lc_mat host = {t->host, p->rows, t->mat.cols, t->mat.cols, LC_F32, 0};
    return lc_cuda_upload_mat(&p->cuda->device, t->mat, host, err);
}

static lc_code make_tensors(probe *p, lc_err *err)
{
    const lc_cudnn_case *of = &p->plan->of;
    const int64_t heads = of->heads, q_width = heads * of->head_dim,
                  kv_width = (int64_t)of->kv_heads * of->head_dim, border = 16;
    LC_TRY(make_tensor(p, Q, q_width, of->q_ld, LC_BF16, err));
    LC_TRY(make_tensor(p, K, kv_width, of->k_ld, LC_BF16, err));
    LC_TRY(make_tensor(p, V, kv_width, of->v_ld, LC_BF16, err));
    LC_TRY(make_tensor(p, OUT, q_width, of->out_ld, LC_BF16, err));
    LC_TRY(make_tensor(p, LSE, heads, heads, LC_F32, err));
    LC_TRY(make_tensor(p, OWN_OUT, q_width, of->out_ld, LC_BF16, err));
    LC_TRY(make_tensor(p, OWN_LSE, heads, heads, LC_F32, err));
    LC_TRY(draw(p, Q, 1.5f, err));
    LC_TRY(draw(p, K, 1.5f, err));
    LC_TRY(draw(p, V, 1.0f, err));
    if (!of->is_backward) {
        return LC_OK;
    }
    LC_TRY(make_tensor(p, DOUT, q_width, of->dout_ld, LC_BF16, err));
    LC_TRY(make_tensor(p, DELTA, heads, heads, LC_F32, err));
    for (int own = 0; own < 2; own++) {
        const int first = own == 0 ? DQ : OWN_DQ;
        LC_TRY(make_tensor(p, first, q_width, q_width + border, LC_BF16, err));
        LC_TRY(make_tensor(p, first + 1, kv_width, kv_width + border, LC_BF16, err));
        LC_TRY(make_tensor(p, first + 2, kv_width, kv_width + border, LC_BF16, err));
    }
    return draw(p, DOUT, 1.0f, err);
}

static void release(probe *p)
{
    for (int i = 0; i < COUNT; i++) {
        (void)cudaFree(p->tensors[i].mat.data);
        free(p->tensors[i].host);
    }
    (void)cudaFree(p->layout);
    free(p->bytes);
}

/* ---- the runs ---- */

static lc_attention_shape shape_of(const probe *p)
{
    const lc_cudnn_case *of = &p->plan->of;
    const lc_attention_shape shape = {.heads = of->heads,
                                      .kv_heads = of->kv_heads,
                                      .head_dim = of->head_dim,
                                      .scale = of->scale,
                                      .window = of->window,
                                      .documents = p->documents,
                                      .layout = p->layout};
    return shape;
}

static lc_attention_args forward_args(const probe *p, int out)
{
    const tensor *t = p->tensors;
    const lc_attention_args args = {.shape = shape_of(p),
                                    .q = t[Q].mat,
                                    .k = t[K].mat,
                                    .v = t[V].mat,
                                    .out = t[out].mat,
                                    .lse = t[out + 1].mat.data};
    return args;
}

/* From our own forward pass's results. */
static lc_attention_backward_args backward_args(const probe *p, int dq)
{
    const tensor *t = p->tensors;
    const lc_attention_backward_args args = {.shape = shape_of(p),
                                             .q = t[Q].mat,
                                             .k = t[K].mat,
                                             .v = t[V].mat,
                                             .out = t[OWN_OUT].mat,
                                             .dout = t[DOUT].mat,
                                             .lse = t[OWN_LSE].mat.data,
                                             .delta = t[DELTA].mat.data,
                                             .dq = t[dq].mat,
                                             .dk = t[dq + 1].mat,
                                             .dv = t[dq + 2].mat};
    return args;
}

static lc_code run_own(probe *p, lc_err *err)
{
    const lc_attention_args forward = forward_args(p, OWN_OUT);
    CUDA_TRY(lc_cuda_attention(&forward, p->cuda->stream));
    if (p->plan->of.is_backward) {
        const lc_attention_backward_args backward = backward_args(p, OWN_DQ);
        CUDA_TRY(lc_cuda_attention_backward(&backward, p->cuda->stream));
    }
    return LC_OK;
}

static lc_code run_plan(probe *p, lc_err *err)
{
    if (p->plan->of.is_backward) {
        const lc_attention_backward_args args = backward_args(p, DQ);
        return lc_cuda_attention_run_back(p->cuda, p->plan, &args, err);
    }
    const lc_attention_args args = forward_args(p, OUT);
    return lc_cuda_attention_run(p->cuda, p->plan, &args, err);
}

static lc_code run_recorded(probe *p, lc_err *err)
{
    cudaGraph_t graph = NULL;
    cudaGraphExec_t exec = NULL;
    CUDA_TRY(cudaStreamBeginCapture(p->cuda->stream, cudaStreamCaptureModeThreadLocal));
    lc_code code = run_plan(p, err);
    const cudaError_t ended = cudaStreamEndCapture(p->cuda->stream, &graph);
    if (code == LC_OK) {
        code = lc_cuda_result(ended, "cudaStreamEndCapture", err);
    }
    if (code == LC_OK) {
        code = lc_cuda_result(cudaGraphInstantiate(&exec, graph, 0), "cudaGraphInstantiate", err);
    }
    if (code == LC_OK) {
        code = lc_cuda_result(cudaGraphLaunch(exec, p->cuda->stream), "cudaGraphLaunch", err);
    }
    if (code == LC_OK) {
        code = lc_cuda_sync(&p->cuda->device, err);
    }
    (void)cudaGetLastError(); /* it is told here; the next launch is not to blame */
    if (exec != NULL) {
        (void)cudaGraphExecDestroy(exec);
    }
    if (graph != NULL) {
        (void)cudaGraphDestroy(graph);
    }
    return code;
}

/* ---- comparing ---- */

static lc_code fetch(probe *p, int which, void **raw, size_t *bytes, lc_err *err)
{
    const tensor *t = &p->tensors[which];
    *bytes = (size_t)(t->mat.rows * t->mat.ld) * lc_dtype_bytes(t->mat.dtype);
    *raw = malloc(*bytes);
    if (*raw == NULL) {
        return lc_fail(err, LC_ERR_MEMORY, "no memory to check it");
    }
    return lc_cuda_download(&p->cuda->device, *raw, t->mat.data, *bytes, err);
}

static lc_code read_back(probe *p, int which, lc_err *err)
{
    tensor *t = &p->tensors[which];
    void *raw = NULL;
    size_t bytes = 0;
    lc_code code = fetch(p, which, &raw, &bytes, err);
    const size_t row_bytes = (size_t)t->mat.ld * lc_dtype_bytes(t->mat.dtype);
    bool is_known = true;
    for (int64_t row = 0; code == LC_OK && row < p->rows; row++) {
        is_known = is_known && lc_convert((char *)raw + (size_t)row * row_bytes, t->mat.dtype,
                                          t->host + row * t->mat.cols, LC_F32, (size_t)t->mat.cols);
    }
    free(raw);
    return code != LC_OK || is_known ? code : lc_fail(err, LC_ERR_INTERNAL, "a type of results");
}

static double length_of(const float *a, const float *b, int64_t count)
{
    double sum = 0.0;
    for (int64_t i = 0; i < count; i++) {
        const double difference = (double)a[i] - (b != NULL ? (double)b[i] : 0.0);
        sum += difference * difference;
    }
    return sqrt(sum);
}

static lc_code tell(const probe *p, const char *name, int64_t row, int64_t group, double off,
                    double length, lc_err *err)
{
    int32_t document = 0;
    while (document + 1 < p->documents.count && row >= p->begins[document + 1]) {
        document++;
    }
    return lc_fail(err, LC_ERR_DEVICE,
                   "%s differs from our kernels': row %lld of a document of %d, head %lld, by %.3g "
                   "of %.3g",
                   name, (long long)(row - p->begins[document]),
                   p->begins[document + 1] - p->begins[document], (long long)group, off, length);
}

/* Each group of `width` columns of each row; behind the documents only zeros. */
static lc_code compare(probe *p, const char *name, int which, int own, int64_t width, double fixed,
                       lc_err *err)
{
    LC_TRY(read_back(p, which, err));
    LC_TRY(read_back(p, own, err));
    const int64_t cols = p->tensors[own].mat.cols;
    const float *ours = p->tensors[own].host, *theirs = p->tensors[which].host;
    const double groups = (double)(p->used * cols / width);
    const double mean = length_of(ours, NULL, p->used * cols) / sqrt(groups);
    for (int64_t i = 0; i < p->used * cols; i += width) {
        const double length = length_of(ours + i, NULL, width);
        const double off = length_of(theirs + i, ours + i, width);
        const double most = fixed > 0.0 ? fixed : OF_ITSELF * length + OF_ALL * mean;
        if (!(off <= most)) { /* also of NaN */
            return tell(p, name, i / cols, i % cols / width, off, length, err);
        }
    }
    for (int64_t i = p->used * cols; i < p->rows * cols; i++) {
        if (theirs[i] < 0.0f || theirs[i] > 0.0f || isnan(theirs[i])) {
            return lc_fail(err, LC_ERR_DEVICE, "%s is not zero behind the last document", name);
        }
    }
    return LC_OK;
}

/* The bytes of the results: kept the first time, compared the second. */
static lc_code compare_bytes(probe *p, lc_err *err)
{
    const int first = p->plan->of.is_backward ? DQ : OUT, end = first + (first == DQ ? 3 : 2);
    size_t total = 0, at = 0;
    for (int i = first; i < end; i++) {
        const lc_mat *mat = &p->tensors[i].mat;
        total += (size_t)(mat->rows * mat->ld) * lc_dtype_bytes(mat->dtype);
    }
    const bool is_first = p->bytes == NULL;
    if (is_first && (p->bytes = malloc(total)) == NULL) {
        return lc_fail(err, LC_ERR_MEMORY, "no memory to check it");
    }
    for (int i = first; i < end; i++) {
        void *raw = NULL;
        size_t bytes = 0;
        char *kept = (char *)p->bytes + at;
        const lc_code code = fetch(p, i, &raw, &bytes, err);
        const bool differs = code == LC_OK && !is_first && memcmp(kept, raw, bytes) != 0;
        if (code == LC_OK && is_first) {
            memcpy(kept, raw, bytes);
        }
        free(raw);
        LC_TRY(code);
        if (differs) {
            return lc_fail(err, LC_ERR_DEVICE, "it gives other bytes when it runs again");
        }
        at += bytes;
    }
    return LC_OK;
}

static lc_code compare_all(probe *p, lc_err *err)
{
    const int64_t head_dim = p->plan->of.head_dim;
    if (!p->plan->of.is_backward) {
        LC_TRY(compare(p, "the output", OUT, OWN_OUT, head_dim, 0.0, err));
        return compare(p, "log sum exp", LSE, OWN_LSE, 1, LSE_TOLERANCE, err);
    }
    LC_TRY(compare(p, "dq", DQ, OWN_DQ, head_dim, 0.0, err));
    LC_TRY(compare(p, "dk", DK, OWN_DK, head_dim, 0.0, err));
    return compare(p, "dv", DV, OWN_DV, head_dim, 0.0, err);
}

lc_code lc_cuda_attention_check(lc_cuda *cuda, const lc_cuda_attention_plan *plan, lc_err *err)
{
    probe p = {.cuda = cuda, .plan = plan};
    lc_code code;
    choose_documents(&p);
    LC_TRY_GOTO(upload_layout(&p, err));
    LC_TRY_GOTO(make_tensors(&p, err));
    LC_TRY_GOTO(run_own(&p, err));
    LC_TRY_GOTO(run_plan(&p, err));
    LC_TRY_GOTO(lc_cuda_sync(&cuda->device, err));
    LC_TRY_GOTO(compare_all(&p, err));
    if (cuda->attention.is_ordered) {
        LC_TRY_GOTO(compare_bytes(&p, err));
    }
    LC_TRY_GOTO(run_recorded(&p, err));
    LC_TRY_GOTO(compare_all(&p, err));
    if (cuda->attention.is_ordered) {
        LC_TRY_GOTO(compare_bytes(&p, err));
    }
fail:
    release(&p);
    return code;
}
