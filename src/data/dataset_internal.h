/* What the files that build a data set (dataset.c, jsonl.c) share. */
#ifndef LC_DATA_DATASET_INTERNAL_H
#define LC_DATA_DATASET_INTERNAL_H

#include "data/dataset.h"

/* Arrays for that many tokens and examples from the data set's arena; sets the counts. */
LC_WARN_UNUSED lc_code lc_dataset_allocate(lc_dataset *dataset, int64_t tokens, int64_t examples,
                                           lc_err *err);

/* Takes the weight off the example's first token, updates `longest` and `target_count`; returns how
 * many targets the example has. */
int64_t lc_dataset_finish_example(lc_dataset *dataset, int64_t begin, int64_t length);

#endif
