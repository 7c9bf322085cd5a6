/*
 * Timing a product's algorithms, for `lorac bench --tune` alone: no job calls this. Operands are
 * random (zeros run faster than real numbers); what is timed is the product by itself, its operands
 * as warm as the repetition before has left them.
 */
#include <stdlib.h>
#include <string.h>

#include "cuda.h"
#include "libraries.h"
#include "tuning.h"

#define MAX_CANDIDATES  32
#define LEAST_GAIN      0.02 /* below that a difference is noise: the first proposal stays */
#define RANDOM_ELEMENTS ((size_t)1000003) /* prime: the pattern does not repeat by rows */

enum { A, B, C, BIAS, OPERANDS };

typedef struct tuning {
    lc_cuda *cuda;
    lc_cuda_gemm_plan plan;
    void *operands[OPERANDS]; /* owned device memory; the result goes into C */
    cudaEvent_t start, stop;
    const lc_tune_options *options;
} tuning;

/* ---- operands ---- */

/* Values in -1..1, of either type. */
static void draw(void *to, uint8_t dtype, uint64_t state)
{
    uint16_t *halves = to;
    float *floats = to;
    for (size_t i = 0; i < RANDOM_ELEMENTS; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        const float value = (float)(int32_t)(state >> 32) * 0x1p-31f;
        uint32_t bits;
        memcpy(&bits, &value, sizeof bits);
        if (dtype == LC_BF16) {
            halves[i] = (uint16_t)(bits >> 16);
        } else {
            floats[i] = value;
        }
    }
}

lc_code lc_cuda_random(lc_device *device, lc_dtype dtype, int64_t elements, uint64_t seed,
                       void **out, lc_err *err)
{
    const size_t element = lc_dtype_bytes(dtype), bytes = (size_t)elements * element;
    const size_t block = RANDOM_ELEMENTS * element;
    void *random = malloc(block);
    if (random == NULL) {
        return lc_fail(err, LC_ERR_MEMORY, "no memory for random numbers");
    }
    draw(random, (uint8_t)dtype, seed);
    lc_code code = lc_cuda_alloc(device, bytes, out, err);
    for (size_t done = 0; done < bytes && code == LC_OK; done += block) {
        const size_t part = bytes - done < block ? bytes - done : block;
        code = lc_cuda_upload(device, (char *)*out + done, random, part, err);
    }
    free(random);
    return code;
}

static lc_code make_operand(tuning *t, int which, uint8_t dtype, int64_t rows, int64_t ld,
                            lc_err *err)
{
    return lc_cuda_random(&t->cuda->device, (lc_dtype)dtype, rows * ld, (uint64_t)which + 1,
                          &t->operands[which], err);
}

static lc_code make_operands(tuning *t, const lc_cuda_gemm_key *key, lc_err *err)
{
    const int64_t ldc = key->ldc > key->ldd ? key->ldc : key->ldd;
    LC_TRY(make_operand(t, A, key->input, key->ta == 'T' ? key->k : key->m, key->lda, err));
    LC_TRY(make_operand(t, B, key->input, key->tb == 'T' ? key->n : key->k, key->ldb, err));
    LC_TRY(make_operand(t, C, key->output, key->m, ldc, err));
    LC_TRY(make_operand(t, BIAS, key->output, 1, key->n, err));
    CUDA_TRY(cudaEventCreate(&t->start));
    CUDA_TRY(cudaEventCreate(&t->stop));
    return LC_OK;
}

static void release(tuning *t)
{
    for (int i = 0; i < OPERANDS; i++) {
        (void)cudaFree(t->operands[i]);
    }
    if (t->start != NULL) {
        (void)cudaEventDestroy(t->start);
    }
    if (t->stop != NULL) {
        (void)cudaEventDestroy(t->stop);
    }
    lc_cuda_gemm_plan_release(&t->plan);
}

/* ---- time ---- */

/* One product between the events, in milliseconds. *is_able false: the library will not do it. */
static lc_code run_once(const tuning *t, const cublasLtMatmulAlgo_t *algorithm, bool *is_able,
                        float *ms, lc_err *err)
{
    const lc_cuda_gemms *gemms = &t->cuda->gemms;
    const lc_cuda_gemm_plan *plan = &t->plan;
    const bool is_apart = plan->key.ldc != plan->key.ldd; /* nothing in place then: no addend */
    const float alpha = 1.0f, beta = plan->key.has_addend && !is_apart ? 1.0f : 0.0f;
    CUDA_TRY(cudaEventRecord(t->start, t->cuda->stream));
    *is_able = LC_CUBLASLT(cublasLtMatmul)(gemms->handle, plan->operation, &alpha, t->operands[B],
                                           plan->a, t->operands[A], plan->b, &beta, t->operands[C],
                                           plan->c, t->operands[C], plan->d, algorithm,
                                           gemms->workspace, gemms->workspace_bytes,
                                           t->cuda->stream) == CUBLAS_STATUS_SUCCESS;
    CUDA_TRY(cudaEventRecord(t->stop, t->cuda->stream));
    CUDA_TRY(cudaEventSynchronize(t->stop));
    CUDA_TRY(cudaEventElapsedTime(ms, t->start, t->stop));
    return LC_OK;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double lc_tune_median(double *times, int count)
{
    qsort(times, (size_t)count, sizeof *times, by_value);
    return times[count / 2];
}

int lc_tune_repetitions(const lc_tune_options *options)
{
    const int wanted = options->repetitions;
    return wanted < 1 ? 1 : wanted < LC_TUNE_REPETITIONS ? wanted : LC_TUNE_REPETITIONS;
}

bool lc_tune_is_better(const lc_tuned *so_far, double us)
{
    return us < so_far->best_us && us < so_far->first_us * (1.0 - LEAST_GAIN);
}

/* Median of the repetitions in microseconds; the first run, which loads code, does not count. */
static lc_code measure(const tuning *t, const cublasLtMatmulAlgo_t *algorithm, bool *is_able,
                       double *us, lc_err *err)
{
    double times[LC_TUNE_REPETITIONS];
    const int repetitions = lc_tune_repetitions(t->options);
    float ms = 0.0f;
    LC_TRY(run_once(t, algorithm, is_able, &ms, err));
    for (int i = 0; i < repetitions && *is_able; i++) {
        LC_TRY(run_once(t, algorithm, is_able, &ms, err));
        times[i] = 1000.0 * (double)ms;
    }
    if (*is_able) {
        *us = lc_tune_median(times, repetitions);
    }
    return LC_OK;
}

static lc_code warm_up(const tuning *t, const cublasLtMatmulAlgo_t *algorithm, lc_err *err)
{
    bool is_able = true;
    for (double spent = 0.0; spent < t->options->warm_up_ms && is_able;) {
        float ms = 0.0f;
        LC_TRY(run_once(t, algorithm, &is_able, &ms, err));
        spent += ms > 0.01f ? (double)ms : 0.01;
    }
    return LC_OK;
}

static lc_code compare(tuning *t, lc_cuda_choice *choice, lc_tuned *out, lc_err *err)
{
    cublasLtMatmulHeuristicResult_t results[MAX_CANDIDATES];
    int count = 0;
    LC_TRY(lc_cuda_gemm_describe(&choice->key, t->operands[BIAS], &t->plan, err));
    LC_TRY(lc_cuda_gemm_propose(&t->cuda->gemms, &t->plan, MAX_CANDIDATES, results, &count, err));
    LC_TRY(warm_up(t, &results[0].algo, err));
    for (int i = 0; i < count; i++) {
        bool is_able = false;
        double us = 0.0;
        LC_TRY(measure(t, &results[i].algo, &is_able, &us, err));
        if (!is_able) {
            continue;
        }
        if (out->candidates++ == 0) {
            out->first_us = out->best_us = us;
            choice->algorithm = results[i].algo;
        } else if (lc_tune_is_better(out, us)) {
            out->best_us = us;
            choice->algorithm = results[i].algo;
        }
    }
    if (out->candidates == 0) {
        return lc_fail(err, LC_ERR_DEVICE, "cuBLASLt does none of its %d proposals", count);
    }
    choice->is_measured = true;
    return LC_OK;
}

lc_code lc_cuda_tune(lc_device *device, int64_t index, const lc_tune_options *options,
                     lc_tuned *out, lc_err *err)
{
    lc_cuda *cuda = lc_cuda_of(device);
    lc_cuda_choice *choice = &cuda->gemms.choices.items[index];
    tuning t = {.cuda = cuda, .options = options};
    *out = (lc_tuned){.candidates = 0};
    if (choice->site.rows > 0) {
        return lc_cuda_tune_way(device, index, options, out, err);
    }
    if (choice->attention != 0) {
        return lc_fail(err, LC_ERR_INTERNAL, "attention has nothing to tune");
    }
    lc_code code = make_operands(&t, &choice->key, err);
    if (code == LC_OK) {
        code = compare(&t, choice, out, err);
    }
    release(&t);
    lc_cuda_gemms_forget_plans(&cuda->gemms);
    return code;
}
