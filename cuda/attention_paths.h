/*
 * Who does the attention of whole batches: cuDNN (attention_cudnn.h) or our own kernels, which are
 * the fallback and the oracle. cuDNN serves BF16 batches without a common beginning, in buckets
 * (attention_layout.h), each by a plan that has shown its results to be ours (attention_check.c).
 * A case whose plan cannot be had or is wrong is our kernels'; the first is told.
 *
 * A plan is a choice of the device (lorac/choices.h), by name; "lorac" where there is none. A
 * device that was given the choices of an earlier run takes those plans or, if results have to be
 * the same, fails. So does one of several ranks that cannot have a plan: others may have it.
 */
#ifndef LC_CUDA_ATTENTION_PATHS_H
#define LC_CUDA_ATTENTION_PATHS_H

#include "attention_cudnn.h"
#include "lorac/backend.h"

typedef struct lc_cuda lc_cuda;

/* One case and who serves it. */
typedef struct lc_cuda_attention_plan {
    lc_cudnn_case of;
    lc_cudnn_plan *plan; /* owned; NULL: our own kernels */
} lc_cuda_attention_plan;

typedef struct lc_cuda_attention_choice {
    char product[LC_PRODUCT_BYTES];
    char algorithm[LC_ALGORITHM_BYTES];
} lc_cuda_attention_choice;

typedef struct lc_cuda_attention_paths {
    int version;       /* of cuDNN; 0: our own kernels alone */
    bool is_ordered;   /* the backward pass has to add up in a fixed order */
    bool is_forced;    /* a plan that fails is an error */
    bool has_warned;   /* of a plan that failed */
    lc_cudnn *library; /* owned; NULL until the first plan */
    void (*warn)(const char *text);
    lc_cuda_attention_plan *plans; /* owned */
    int plan_count, plan_capacity;
    lc_cuda_attention_choice *choices; /* owned, in the order of the device's choices */
    int choice_count, choice_capacity;
} lc_cuda_attention_paths;

/* Looks for cuDNN. LC_ERR_DEVICE: it was asked for and cannot be had. */
LC_WARN_UNUSED lc_code lc_cuda_attention_open(lc_cuda *cuda, const lc_device_options *options,
                                              lc_err *err);
void lc_cuda_attention_close(lc_cuda *cuda);

/* The ops, of calls that have passed their checks. */
LC_WARN_UNUSED lc_code lc_cuda_attention_forward(lc_cuda *cuda, const lc_attention_args *args,
                                                 lc_err *err);
LC_WARN_UNUSED lc_code lc_cuda_attention_back(lc_cuda *cuda, const lc_attention_backward_args *args,
                                              lc_err *err);
/* Bucket of a batch where cuDNN may serve it; else 0. */
uint32_t lc_cuda_attention_key(lc_device *device, const lc_documents *documents, int64_t rows);

/* "lorac", "cudnn 9.28.1" or "cudnn 9.28.1 ordered": the fact that a job's results hang on. */
void lc_cuda_attention_fact(const lc_cuda *cuda, char *text, size_t bytes);
/* Choices of attention begin with this. */
#define LC_CUDA_ATTENTION_PRODUCT "attention "
/* Takes a choice of an earlier run. LC_ERR_INVALID: it has one for the case. */
LC_WARN_UNUSED lc_code lc_cuda_attention_give(lc_cuda *cuda, const lc_choice *choice, lc_err *err);
/* lc_backend.describe_attention */
void lc_cuda_describe_attention(const lc_device_options *options, char text[LC_DESCRIPTION_BYTES]);

/* ---- between attention_paths.c, attention_run.c and attention_check.c ---- */

/* False: cuDNN does not take such a call. */
bool lc_cuda_attention_case(const lc_cuda *cuda, const lc_attention_args *args, lc_cudnn_case *of);
bool lc_cuda_attention_back_case(const lc_cuda *cuda, const lc_attention_backward_args *args,
                                 lc_cudnn_case *of);
/* Queue a plan's work and what belongs to it: offsets before; after it rows without a document are
 * made zero, and dense gradients go to their places. */
LC_WARN_UNUSED lc_code lc_cuda_attention_run(lc_cuda *cuda, const lc_cuda_attention_plan *plan,
                                             const lc_attention_args *args, lc_err *err);
LC_WARN_UNUSED lc_code lc_cuda_attention_run_back(lc_cuda *cuda, const lc_cuda_attention_plan *plan,
                                                  const lc_attention_backward_args *args,
                                                  lc_err *err);
/* Runs a plan, as a job would, on a small batch of random numbers, beside our own kernels. Anything
 * but LC_OK: it failed, or its results are others; the error says what. Waits. */
LC_WARN_UNUSED lc_code lc_cuda_attention_check(lc_cuda *cuda, const lc_cuda_attention_plan *plan,
                                               lc_err *err);

#endif
