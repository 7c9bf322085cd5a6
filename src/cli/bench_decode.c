/*
 * The ops of generation alone, for `lorac bench ops`: attention over a cache and the choice of
 * tokens.
 */
#include <stdio.h>

#include "cli/bench.h"
#include "ops/backend.h"

#define SAMPLE_ROWS 64
#define DECODE_ROWS 8
#define NAME_BYTES  64

static double element_bytes(const lc_bench *bench)
{
    return (double)lc_dtype_bytes(bench->dtype);
}

/* One token of each of a few sequences that fill their caches. */
static lc_code bench_attention_cached(lc_bench *bench, const lc_model_config *c, int64_t length,
                                      lc_err *err)
{
    static const int32_t counts[] = {1, DECODE_ROWS};
    const int mark = bench->buffer_count;
    const int64_t kv = (int64_t)c->kv_heads * c->head_dim;
    int32_t slots[DECODE_ROWS], positions[DECODE_ROWS];
    void *slot_list = NULL, *position_list = NULL;
    lc_mat q, out, k, v;
    if (!lc_bench_wants(bench, "attention_cached")) {
        return LC_OK;
    }
    for (int32_t i = 0; i < DECODE_ROWS; i++) {
        slots[i] = i;
        positions[i] = (int32_t)length - 1;
    }
    LC_TRY(lc_bench_upload(bench, slots, sizeof slots, &slot_list, err));
    LC_TRY(lc_bench_upload(bench, positions, sizeof positions, &position_list, err));
    LC_TRY(lc_bench_matrix(bench, DECODE_ROWS, (int64_t)c->heads * c->head_dim,
                           (int64_t)c->heads * c->head_dim, &q, err));
    LC_TRY(lc_bench_matrix(bench, DECODE_ROWS, q.cols, q.cols, &out, err));
    LC_TRY(lc_bench_matrix(bench, DECODE_ROWS * length, kv, kv, &k, err));
    LC_TRY(lc_bench_matrix(bench, DECODE_ROWS * length, kv, kv, &v, err));
    k.strip = lc_cache_strip(bench->device->memory, length);
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        char name[NAME_BYTES];
        lc_bench_row row = {
            .name = name, .bytes = 2.0 * element_bytes(bench) * counts[i] * (double)(length * kv)};
        q.rows = out.rows = counts[i];
        (void)snprintf(name, sizeof name, "attention_cached %d x %lld", (int)counts[i],
                       (long long)length);
        LC_BENCH(bench, row.seconds,
                 LC_OP(bench->device, attention_cached,
                       {.heads = c->heads,
                        .kv_heads = c->kv_heads,
                        .head_dim = c->head_dim,
                        .scale = 0.1f,
                        .slots = slot_list,
                        .positions = position_list,
                        .slot_rows = length,
                        .q = q,
                        .k_cache = k,
                        .v_cache = v,
                        .out = out},
                       err));
        lc_bench_add(bench, &row);
    }
    lc_bench_release(bench, mark);
    return LC_OK;
}

/* Rows of logits as one step has them, each choosing by temperature and top-p. */
static lc_code bench_sample(lc_bench *bench, int64_t vocab, lc_err *err)
{
    lc_sample_row rows[SAMPLE_ROWS];
    const int mark = bench->buffer_count;
    void *kinds = NULL, *positions = NULL, *ids = NULL;
    lc_mat logits;
    lc_bench_row row = {.name = "sample",
                        .bytes = element_bytes(bench) * (double)(SAMPLE_ROWS * vocab)};
    if (!lc_bench_wants(bench, row.name)) {
        return LC_OK;
    }
    for (int i = 0; i < SAMPLE_ROWS; i++) {
        rows[i] = (lc_sample_row){.sharpness = 2.0f, .top_p = 0xE6666666u};
    }
    LC_TRY(lc_bench_upload(bench, rows, sizeof rows, &kinds, err));
    LC_TRY(lc_bench_upload(bench, NULL, SAMPLE_ROWS * sizeof(int32_t), &positions, err));
    LC_TRY(lc_bench_upload(bench, NULL, SAMPLE_ROWS * sizeof(int32_t), &ids, err));
    LC_TRY(lc_bench_matrix(bench, SAMPLE_ROWS, vocab, (vocab + 63) / 64 * 64, &logits, err));
    LC_BENCH(bench, row.seconds,
             LC_OP(bench->device, sample,
                   {.logits = logits, .rows = kinds, .positions = positions, .ids = ids}, err));
    lc_bench_add(bench, &row);
    lc_bench_release(bench, mark);
    return LC_OK;
}

lc_code lc_bench_decode(lc_bench *bench, const lc_model_config *config, int64_t length, lc_err *err)
{
    LC_TRY(bench_attention_cached(bench, config, length, err));
    return bench_sample(bench, config->vocab, err);
}
