/*
 * Safetensors files: a reader at least as strict as the reference, and a writer. Data is read with
 * pread, straight to where it belongs.
 */
#ifndef LC_DATA_SAFETENSORS_H
#define LC_DATA_SAFETENSORS_H

#include "base/file.h"
#include "base/json.h"
#include "lorac/tensor.h"

#define LC_MAX_SAFETENSORS_HEADER 100000000 /* bytes, as the reference */
#define LC_MAX_TENSOR_RANK        8
#define LC_MAX_TENSOR_NAME        1024
#define LC_MAX_TENSORS            1000000
#define LC_MAX_SHARDS             10000

typedef struct lc_tensor_info {
    const char *name; /* borrowed from the file object */
    lc_dtype dtype;
    int rank;
    int64_t shape[LC_MAX_TENSOR_RANK];
    int64_t offset; /* in the file, absolute */
    int64_t bytes;
} lc_tensor_info;

/* One file. Header checked whole at open: length, JSON, keys, dtypes, shapes, offsets tile the data
 * exactly. */
typedef struct lc_safetensors lc_safetensors;
LC_WARN_UNUSED lc_code lc_safetensors_open(const char *path, lc_safetensors **out, lc_err *err);
void lc_safetensors_close(lc_safetensors *file);
int64_t lc_safetensors_count(const lc_safetensors *file);
/* In offset order; NULL outside 0..count-1. */
const lc_tensor_info *lc_safetensors_at(const lc_safetensors *file, int64_t index);
/* NULL when absent, both. */
const lc_tensor_info *lc_safetensors_find(const lc_safetensors *file, const char *name);
const char *lc_safetensors_metadata(const lc_safetensors *file, const char *key);
/* Raw bytes [offset, offset+bytes) of a tensor's data. */
LC_WARN_UNUSED lc_code lc_safetensors_read(const lc_safetensors *file, const lc_tensor_info *tensor,
                                           int64_t offset, void *to, size_t bytes, lc_err *err);

/* Header check alone, for the fuzzer: `bytes` is the whole file in memory. */
LC_WARN_UNUSED lc_code lc_safetensors_check(const uint8_t *data, size_t bytes, lc_err *err);

/* The weights of a model directory: model.safetensors, or shards named by
 * model.safetensors.index.json (each tensor where the index says, no shard outside the directory).
 * */
typedef struct lc_weight_files lc_weight_files;
LC_WARN_UNUSED lc_code lc_weight_files_open(const char *model_dir, lc_weight_files **out,
                                            lc_err *err);
void lc_weight_files_close(lc_weight_files *files);
/* NULL when absent. *file receives the file that holds it. */
const lc_tensor_info *lc_weight_files_find(const lc_weight_files *files, const char *name,
                                           const lc_safetensors **file);
/* All tensors of all files, index 0..count-1 (the loader refuses what the model family does not
 * have). */
int64_t lc_weight_files_count(const lc_weight_files *files);
const lc_tensor_info *lc_weight_files_at(const lc_weight_files *files, int64_t index,
                                         const lc_safetensors **file);
int64_t lc_weight_files_bytes(const lc_weight_files *files); /* tensor bytes in all files */

/* Reads a 2-D tensor (or 1-D: rows 1) into `to` (F32 or BF16 host memory, any ld), converting from
 * F32, BF16 or F16. Shape or dtype not as expected: LC_ERR_INVALID with the tensor's name, expected
 * and found. buffer: caller's scratch of buffer_bytes >= 64 KiB. */
LC_WARN_UNUSED lc_code lc_safetensors_read_mat(const lc_safetensors *file,
                                               const lc_tensor_info *tensor, lc_mat to,
                                               void *buffer, size_t buffer_bytes, lc_err *err);

/* Writer: all tensors are announced first, then written. Layout as the reference writer's (wider
 * dtypes first, then by name; metadata in the order given; header padded to 8 with blanks), so
 * equal input gives equal bytes. */
typedef struct lc_tensor_out {
    const char *name;
    lc_dtype dtype;
    int rank;
    int64_t shape[LC_MAX_TENSOR_RANK];
    const void *data; /* contiguous, borrowed */
} lc_tensor_out;
typedef struct lc_metadata {
    const char *key, *value;
} lc_metadata;
/* Writes path (O_EXCL, fsync). sha256 and bytes may be NULL. */
LC_WARN_UNUSED lc_code lc_safetensors_write(const char *path, const lc_tensor_out *tensors,
                                            int64_t count, const lc_metadata *metadata,
                                            int64_t metadata_count, uint8_t sha256[32],
                                            int64_t *bytes, lc_err *err);

#endif
