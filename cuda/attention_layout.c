/*
 * Fills the layout of a packed batch (attention_layout.h) in host memory: which document a row is
 * in, and the tiles in the order in which they should start, so that no long tile starts last. The
 * host side of the CUDA backend uploads it; the attention kernels read it.
 */
#include "attention_layout.h"

#include <stdlib.h>

static int64_t tile_count(int64_t rows, int64_t tile_rows)
{
    return (rows + tile_rows - 1) / tile_rows;
}

size_t lc_cuda_layout_bytes(int64_t tokens)
{
    const int64_t tiles = tile_count(tokens, LC_WIDE_TILE) + 2 * tile_count(tokens, LC_TILE);
    return sizeof(lc_attention_layout) + (size_t)tokens * sizeof(lc_attention_row) +
           (size_t)tiles * sizeof(lc_attention_tile) + (LC_CUDNN_DOCUMENTS + 2) * sizeof(int32_t);
}

/* Rows past the batch are documents of their own. */
static void fill_rows(const lc_documents *documents, int32_t tokens, lc_attention_row *rows)
{
    const int32_t count = documents->cu_seqlens[documents->count];
    for (int32_t i = 0; i < documents->shared_rows; i++) {
        rows[i] = (lc_attention_row){0, count};
    }
    for (int32_t document = 0; document < documents->count; document++) {
        const int32_t begin = documents->cu_seqlens[document],
                      end = documents->cu_seqlens[document + 1];
        for (int32_t i = begin; i < end; i++) {
            rows[i] = (lc_attention_row){begin, end};
        }
    }
    for (int32_t i = count; i < tokens; i++) {
        rows[i] = (lc_attention_row){i, i + 1};
    }
}

/* Key tiles that queries first..last see: the shared ones and those from the document's begin. */
static int32_t query_work(const lc_attention_row *rows, int32_t shared, int32_t first, int32_t last)
{
    const int32_t own = rows[first].begin / LC_TILE;
    const int32_t common = (int32_t)tile_count(shared, LC_TILE);
    return last / LC_TILE + 1 - own + (common < own ? common : own);
}

/* Query tiles that see keys first..last: up to the batch's end if one of them is shared. */
static int32_t key_work(const lc_attention_row *rows, int32_t shared, int32_t first, int32_t last)
{
    const int32_t end = first < shared ? rows[first].end : rows[last].end;
    return (end - 1) / LC_TILE + 1 - first / LC_TILE;
}

typedef int32_t work_function(const lc_attention_row *rows, int32_t shared, int32_t first,
                              int32_t last);

static int compare_tiles(const void *left, const void *right)
{
    const lc_attention_tile *a = left, *b = right;
    if (a->work != b->work) {
        return a->work < b->work ? 1 : -1;
    }
    return (a->index > b->index) - (a->index < b->index);
}

/* All tiles of the batch by their work, then those past it. */
static void fill_order(const lc_documents *documents, int32_t tokens, const lc_attention_row *rows,
                       int32_t tile_rows, work_function *work, lc_attention_tile *order)
{
    const int32_t count = documents->cu_seqlens[documents->count];
    const int32_t used = (int32_t)tile_count(count, tile_rows);
    for (int32_t i = 0; i < used; i++) {
        const int32_t first = i * tile_rows, end = first + tile_rows;
        order[i] = (lc_attention_tile){
            i, work(rows, documents->shared_rows, first, (end < count ? end : count) - 1)};
    }
    qsort(order, (size_t)used, sizeof *order, compare_tiles);
    for (int32_t i = used; i < (int32_t)tile_count(tokens, tile_rows); i++) {
        order[i] = (lc_attention_tile){i, 0};
    }
}

void lc_cuda_lay_out(const lc_documents *documents, int64_t tokens, void *layout)
{
    lc_attention_layout *head = layout;
    lc_attention_row *rows = (lc_attention_row *)(head + 1);
    lc_attention_tile *wide_queries = (lc_attention_tile *)(rows + tokens);
    lc_attention_tile *queries = wide_queries + tile_count(tokens, LC_WIDE_TILE);
    lc_attention_tile *keys = queries + tile_count(tokens, LC_TILE);
    int32_t *begins = (int32_t *)(keys + tile_count(tokens, LC_TILE));
    *head = (lc_attention_layout){
        .wide_queries = (char *)wide_queries - (char *)layout,
        .queries = (char *)queries - (char *)layout,
        .keys = (char *)keys - (char *)layout,
        .begins = (char *)begins - (char *)layout,
        .used_rows = documents->cu_seqlens[documents->count],
        .shared_rows = documents->shared_rows,
    };
    fill_rows(documents, (int32_t)tokens, rows);
    fill_order(documents, (int32_t)tokens, rows, LC_WIDE_TILE, query_work, wide_queries);
    fill_order(documents, (int32_t)tokens, rows, LC_TILE, query_work, queries);
    fill_order(documents, (int32_t)tokens, rows, LC_TILE, key_work, keys);
    for (int32_t i = 0; i <= LC_CUDNN_DOCUMENTS; i++) {
        begins[i] = documents->cu_seqlens[i < documents->count ? i : documents->count];
    }
}

/* ---- buckets ---- */

/* Rows of a bucket's documents, were all as long as they may be, for each row that there is. */
#define MOST_EMPTY 16
#define FREE_ROWS  4096 /* small batches are quick in any bucket */

lc_attention_bucket lc_cuda_attention_bucket(const lc_documents *documents, int64_t rows)
{
    lc_attention_bucket bucket = {1, LC_CUDNN_LONGEST};
    const lc_attention_bucket none = {0, 0};
    int32_t longest = 0;
    if (documents->shared_rows > 0 || documents->count < 1 ||
        documents->count > LC_CUDNN_DOCUMENTS) {
        return none;
    }
    for (int32_t i = 0; i < documents->count; i++) {
        const int32_t length = documents->cu_seqlens[i + 1] - documents->cu_seqlens[i];
        longest = length > longest ? length : longest;
    }
    while (bucket.documents < documents->count) {
        bucket.documents *= 4;
    }
    while (bucket.longest < longest) {
        bucket.longest *= 2;
    }
    return (int64_t)bucket.documents * bucket.longest <= MOST_EMPTY * rows + FREE_ROWS ? bucket
                                                                                       : none;
}

uint32_t lc_cuda_attention_bucket_key(lc_attention_bucket bucket)
{
    uint32_t key = 1;
    if (bucket.documents == 0) {
        return 0;
    }
    for (int32_t documents = bucket.documents; documents > 1; documents /= 4) {
        key += 32;
    }
    for (int32_t longest = bucket.longest; longest > LC_CUDNN_LONGEST; longest /= 2) {
        key++;
    }
    return key;
}
