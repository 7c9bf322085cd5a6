/*
 * What the attention kernels know of a packed batch beyond its shapes, as it lies in device memory:
 * one lc_attention_layout, the rows, three orders of tiles, then the documents' begins. Tiles are
 * runs of consecutive rows whatever the documents are, so that grids depend on shapes alone and a
 * recorded launch serves every batch of its size. For the attention files of cuda/ only; C and C++.
 */
#ifndef LC_CUDA_ATTENTION_LAYOUT_H
#define LC_CUDA_ATTENTION_LAYOUT_H

#include "lorac/ops.h"

/* Rows of a tile: queries of the forward pass with small heads; queries elsewhere, and keys. */
#define LC_WIDE_TILE 128
#define LC_TILE      64

/* Row i is in the document that begins at row `begin`, 0 for shared rows; the last row that may see
 * it as a key is end - 1. */
typedef struct lc_attention_row {
    int32_t begin;
    int32_t end;
} lc_attention_row;

/* A tile of an order, the longest work first. */
typedef struct lc_attention_tile {
    int32_t index; /* its first row is index * rows of a tile */
    int32_t work;  /* tiles of LC_TILE rows that it meets */
} lc_attention_tile;

/* Where the orders are, in bytes from the head. The rows follow the head. */
typedef struct lc_attention_layout {
    int64_t wide_queries; /* tiles of LC_WIDE_TILE rows and the keys they see */
    int64_t queries;      /* the same for LC_TILE rows */
    int64_t keys;         /* tiles of LC_TILE keys and the rows that see them */
    int64_t begins;       /* int32: the first row of each of LC_CUDNN_DOCUMENTS documents, and the
                             end of the last; those that there are not begin and end there */
    int64_t shared_rows;
    int64_t used_rows; /* the end of the last document */
} lc_attention_layout;

/* Documents that cuDNN is given at most, and the least that "the longest" is rounded up to. */
#define LC_CUDNN_DOCUMENTS 256
#define LC_CUDNN_LONGEST   128

/* What a plan of cuDNN, and a recorded launch of it, is good for: up to `documents` documents (a
 * power of four) of up to `longest` rows (a power of two). Its grids go by their product, not by
 * the batch's rows. */
typedef struct lc_attention_bucket {
    int32_t documents, longest; /* 0, 0: not for cuDNN */
} lc_attention_bucket;

#ifdef __cplusplus
extern "C" {
#endif

/* As lc_memory_rules has them. */
size_t lc_cuda_layout_bytes(int64_t tokens);
void lc_cuda_lay_out(const lc_documents *documents, int64_t tokens, void *layout);

/* The bucket of a batch of `rows` rows. None with a common beginning, with too many documents, or
 * where most of its tiles would be empty. */
lc_attention_bucket lc_cuda_attention_bucket(const lc_documents *documents, int64_t rows);
/* A number below 256 that tells buckets apart; 0: none. */
uint32_t lc_cuda_attention_bucket_key(lc_attention_bucket bucket);

#ifdef __cplusplus
}
#endif
#endif
