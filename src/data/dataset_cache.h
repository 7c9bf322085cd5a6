/*
 * Tokenized data sets that were made before, in the user's cache folder: a second run with the same
 * text, tokenizer, template and length starts at once. Called by lc_dataset_load alone. A cache
 * can only save time: what goes wrong with it is logged, and the text is tokenized. It lies where
 * LORAC_DATASETS says ("off": there is none), else in lorac/datasets of XDG_CACHE_HOME or ~/.cache.
 */
#ifndef LC_DATA_DATASET_CACHE_H
#define LC_DATA_DATASET_CACHE_H

#include "data/dataset.h"

/* All files of the cache together; beyond it the ones unused for longest are removed. */
#define LC_MAX_DATASET_CACHE_BYTES ((int64_t)16 << 30)

/* Everything that a data set's tokens hang on. */
typedef struct lc_dataset_origin {
    uint8_t file_sha256[32], tokenizer_sha256[32], template_sha256[32];
    int64_t max_tokens;
} lc_dataset_origin;

/* *found: the data set of this origin is in the cache and is what was written; it is in *out, as
 * lc_dataset_load_jsonl would have made it. */
void lc_dataset_cache_find(const lc_dataset_origin *origin, int64_t vocab_size, lc_dataset *out,
                           bool *found);

/* Keeps a copy for the next time. */
void lc_dataset_cache_keep(const lc_dataset_origin *origin, const lc_dataset *dataset);

#endif
