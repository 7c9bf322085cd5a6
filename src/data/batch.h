/*
 * From examples to steps to micro-batches. A step is batch_size examples (the last of an epoch may
 * have fewer); its examples are packed, whole and in a fixed order, into micro-batches of at most
 * micro_batch_tokens tokens. Everything is a function of (seed, epoch, step), so a resume needs
 * only the step number.
 */
#ifndef LC_DATA_BATCH_H
#define LC_DATA_BATCH_H

#include "data/dataset.h"

/* One packed micro-batch. A document's rows end with the one that predicts its last supervised
 * token: attention is causal, so nothing behind it reaches a loss or a gradient. A beginning that
 * all documents have in common (a system prompt) stands in rows 0..shared_rows-1 once; the rows of
 * a document are then those behind it. Arrays have room for token_capacity tokens and are owned by
 * the batch's arena. */
typedef struct lc_batch {
    int32_t token_count; /* N, rows */
    int32_t shared_rows;
    int32_t document_count;
    int64_t whole_tokens;  /* of its examples, with those that have no row */
    int32_t *ids;          /* N */
    int32_t *positions;    /* N: in the document */
    int64_t *examples;     /* N: index of the token's example in the data set */
    int32_t *cu_seqlens;   /* document_count + 1, from shared_rows to N */
    int32_t *lengths;      /* document_count: tokens of the whole example */
    int32_t target_count;  /* M: rows that are supervised */
    int32_t *target_rows;  /* M, ascending: row n predicts the token after it */
    int32_t *targets;      /* M: the token to predict */
    float *target_weights; /* M, > 0 */
    int64_t token_capacity;
    int64_t document_capacity;
} lc_batch;

LC_WARN_UNUSED lc_code lc_batch_init(lc_batch *batch, int64_t token_capacity, lc_arena *arena,
                                     lc_err *err);

/* Rows that example e has in a batch: up to its last supervised token, at least 1. */
int64_t lc_batch_rows(const lc_dataset *dataset, int64_t example);
void lc_batch_clear(lc_batch *batch);
/* The first `rows` tokens of an example become the common beginning of an empty batch. */
void lc_batch_share(lc_batch *batch, const lc_dataset *dataset, int64_t example, int64_t rows);
/* Appends an example as a document; the caller has checked that it fits, and that it begins as the
 * others and has more rows than they share. */
void lc_batch_add(lc_batch *batch, const lc_dataset *dataset, int64_t example);

/* The order of an epoch: identity without shuffle, else a permutation keyed (seed, epoch). */
typedef struct lc_sampler {
    const lc_dataset *dataset; /* borrowed */
    int64_t *order;            /* example_count; owned by the arena given at init */
    uint32_t seed;
    bool shuffle;
    int64_t batch_size;
    int64_t epoch; /* of `order`, from 0; -1: none yet */
} lc_sampler;

LC_WARN_UNUSED lc_code lc_sampler_init(lc_sampler *sampler, const lc_dataset *dataset,
                                       uint32_t seed, bool shuffle, int64_t batch_size,
                                       lc_arena *arena, lc_err *err);
int64_t lc_sampler_steps_per_epoch(const lc_sampler *sampler); /* ceil(examples / batch_size) */
/* Examples of step `step` (from 0, over all epochs), in order; *examples is borrowed until the next
 * call. */
void lc_sampler_step(lc_sampler *sampler, int64_t step, const int64_t **examples, int64_t *count);

/* Walks the micro-batches of a list of examples. packing: as many whole documents as fit, taken in
 * the order that wastes least (first-fit decreasing over the step, ties by position: a function of
 * their rows only); without packing one document per micro-batch. shares: what all examples begin
 * with, before the first row that predicts a supervised token, is put into each batch once.
 *
 * Ranks: every rank lays out the same list, and walks the micro-batches of its share only. Examples
 * are dealt out, those with most rows first, each to the rank with the fewest so far: shares of
 * even size, also of a list that one micro-batch would hold. A share may be empty. */
typedef struct lc_packer {
    const lc_dataset *dataset; /* borrowed */
    int64_t micro_batch_tokens;
    bool packing;
    int32_t least_shared;     /* a shorter beginning stands in each of them; 0, until the owner
                                 sets it: any does. Needs packing */
    int32_t rank, world_size; /* 0 of 1 until the owner sets them */
    int64_t *rows; /* scratch for the largest step, owned by the arena: rows of each example */
    int64_t *bin;  /* bin of each example */
    int64_t *sorted;
    int64_t *bin_tokens;
    int64_t *own;     /* the examples of this rank's share */
    int64_t capacity; /* examples in the largest step */
    const int64_t *examples;
    int64_t example_count;
    int64_t shared; /* rows that all examples share */
    int64_t bin_count;
    int64_t next_bin;
} lc_packer;

LC_WARN_UNUSED lc_code lc_packer_init(lc_packer *packer, const lc_dataset *dataset,
                                      int64_t micro_batch_tokens, bool packing,
                                      int64_t max_examples, lc_arena *arena, lc_err *err);
/* Lays out `count` <= max_examples examples; each is at most micro_batch_tokens long. Allocates
 * nothing. */
void lc_packer_begin(lc_packer *packer, const int64_t *examples, int64_t count);
/* Fills the next micro-batch; false when there is none left. */
bool lc_packer_next(lc_packer *packer, lc_batch *batch);

#endif
