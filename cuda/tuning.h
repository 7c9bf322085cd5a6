/*
 * Which algorithm a product takes, and which way an op (ways.h). A choice holds for a class of
 * products: all that differ only in their number of rows, up to the next of eight sizes an octave,
 * since batches rarely have the same number twice. It is made with the largest of the class. Which
 * choice a product takes depends on its shape and the table alone, not on what was made before it.
 */
#ifndef LC_CUDA_TUNING_H
#define LC_CUDA_TUNING_H

#include "gemm.h"
#include "lorac/choices.h"

/* N rounded up to the next of eight sizes between two powers of two. */
int64_t lc_cuda_round_rows(int64_t rows);
/* The key of a product's class: rows (m, or k of a product of transposed a) rounded up. */
lc_cuda_gemm_key lc_cuda_gemm_class(const lc_cuda_gemm_key *key);

/* Rows with which a choice for any number of rows is made, and those that it must be able to do
 * too, beside one. Decoding has few rows and wants the memory's rate from any tile. */
#define LC_CUDA_ROWS_OF_ANY 64
#define LC_CUDA_MANY_ROWS   4096
/* The key of a product with any number of rows (LC_SCOPE_ROWS), where rows begin at multiples of 16
 * bytes: so the choice is the same for all windows of one shape. */
lc_cuda_gemm_key lc_cuda_gemm_any_rows(const lc_cuda_gemm_key *key);

/* The choice of a class, or of another scope; NULL: none yet. Borrowed until the next
 * one is added. */
const lc_cuda_choice *lc_cuda_choices_find(const lc_cuda_choices *choices,
                                           const lc_cuda_gemm_key *key);
/* LC_ERR_DEVICE: there are LC_MAX_CHOICES. */
LC_WARN_UNUSED lc_code lc_cuda_choices_add(lc_cuda_choices *choices, const lc_cuda_choice *choice,
                                           lc_err *err);

void lc_cuda_choice_write(const lc_cuda_choice *choice, lc_choice *out);
/* LC_ERR_INVALID: not a text that lc_cuda_choice_write makes. */
LC_WARN_UNUSED lc_code lc_cuda_choice_read(const lc_choice *text, lc_cuda_choice *out, lc_err *err);

/* tune.c: device memory of random numbers in -1..1, of either type. */
LC_WARN_UNUSED lc_code lc_cuda_random(lc_device *device, lc_dtype dtype, int64_t elements,
                                      uint64_t seed, void **out, lc_err *err);
#define LC_TUNE_REPETITIONS 100 /* at most */
/* How many runs are asked for, and the median of their times. */
int lc_tune_repetitions(const lc_tune_options *options);
double lc_tune_median(double *times, int count);
/* Whether a candidate that takes `us` replaces the best so far. */
bool lc_tune_is_better(const lc_tuned *so_far, double us);

/* tune_ways.c: the same for the choice of a way. */
LC_WARN_UNUSED lc_code lc_cuda_tune_way(lc_device *device, int64_t index,
                                        const lc_tune_options *options, lc_tuned *out, lc_err *err);

/* tune.c: lc_choice_ops.tune. */
lc_code lc_cuda_tune(lc_device *device, int64_t index, const lc_tune_options *options,
                     lc_tuned *out, lc_err *err);

extern const lc_choice_ops lc_cuda_choice_ops;

#endif
