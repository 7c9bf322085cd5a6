/*
 * What the attention kernels know of a packed batch beyond its shapes, as it lies in device memory:
 * one lc_attention_layout, the rows, then three orders of tiles. Tiles are runs of consecutive rows
 * whatever the documents are, so that grids depend on shapes alone and a recorded launch serves
 * every batch of its size. For the attention files of cuda/ only; C and C++.
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
    int64_t shared_rows;
} lc_attention_layout;

#ifdef __cplusplus
extern "C" {
#endif

/* As lc_memory_rules has them. */
size_t lc_cuda_layout_bytes(int64_t tokens);
void lc_cuda_lay_out(const lc_documents *documents, int64_t tokens, void *layout);

#ifdef __cplusplus
}
#endif
#endif
