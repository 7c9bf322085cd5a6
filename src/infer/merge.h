/*
 * Merging an adapter into its base: a new Hugging Face directory that needs no adapter. Works
 * tensor by tensor in blocks of rows, so that memory does not grow with the model.
 */
#ifndef LC_INFER_MERGE_H
#define LC_INFER_MERGE_H

#include "lorac/err.h"

#include <stdint.h>

typedef struct lc_merge_result {
    int64_t matrices; /* merged */
    int64_t bytes;    /* written in weight files */
} lc_merge_result;

/* Writes W + scale*B*A of every adapted matrix, computed in fp32 and rounded once to the dtype
 * of the base's file; all other tensors, names and headers byte for byte as in the base; config
 * and tokenizer files copied. out_dir must be absent or empty (LC_ERR_USAGE); it appears whole,
 * by a rename, or not at all. An fp16 base whose sum overflows is LC_ERR_NUMERIC naming the
 * tensor. */
LC_WARN_UNUSED lc_code lc_merge(const char *base_dir, const char *adapter_dir, const char *out_dir,
                                lc_merge_result *result, lc_err *err);

#endif
