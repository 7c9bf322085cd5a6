/*
 * Attention, forward: softmax(scale q k^T) v with a running maximum over blocks of keys
 * (FlashAttention, Dao et al. 2022). A task is 64 rows of the packed batch and one head; it treats
 * the piece of each document in its rows by itself. Only key blocks that some query of the piece
 * sees are touched.
 */
#include "ops/cpu/attention.h"

#include <math.h>
#include <string.h>

#define SCORE_LD (LC_KEY_BLOCK + LC_SCORE_PAD)
/* Rows of one task of attention_cached: small, since decoding has few. */
#define CACHED_ROWS 16
#define FLOAT_BYTES (int64_t)sizeof(float)

/* Queries of one sequence (or the heads of one query, position_step 0) against its keys. */
typedef struct segment {
    const float *q; /* rows x dim */
    int64_t q_ld;
    const float *k, *v; /* key and value `shared` of the sequence; those before it: */
    const float *shared_k, *shared_v;
    int64_t shared;
    int64_t k_ld, v_ld;
    bool k_has_strips; /* then shared is 0 and k the first of a strip */
    float *out;
    int64_t out_ld;
    float *lse; /* NULL: not wanted */
    int64_t lse_stride;
    int64_t rows; /* 1..LC_QUERY_BLOCK */
    int64_t position, position_step;
    int64_t dim, window;
    float scale;
} segment;

static int64_t row_position(const segment *s, int64_t row)
{
    return s->position + row * s->position_step;
}

/* Turns a row of scores into exp(score - running maximum), rescales what the row has so far. */
static void softmax_row(const lc_cpu *cpu, const segment *s, lc_cpu_scratch *scratch, int64_t row,
                        int64_t key, int64_t cols, bool first_block)
{
    float *scores = scratch->scores + row * SCORE_LD;
    const lc_key_range seen =
        lc_clip_keys(lc_visible_keys(row_position(s, row), s->window), key, cols);
    memset(scores, 0, (size_t)seen.first * sizeof *scores);
    memset(scores + seen.end, 0, (size_t)(cols - seen.end) * sizeof *scores);
    const int64_t count = seen.end - seen.first;
    if (count == 0) {
        return;
    }
    const float before = scratch->row_max[row];
    float most = cpu->kernels->maximum(scores + seen.first, count);
    if (before > most) {
        most = before;
    }
    float kept = 0.0f;
    if (!first_block) {
        kept = expf(before - most);
        if (kept < 1.0f) {
            cpu->kernels->scale(s->out + row * s->out_ld, s->dim, kept);
        }
    }
    scratch->row_max[row] = most;
    scratch->row_sum[row] =
        scratch->row_sum[row] * kept + cpu->kernels->exp_sum(scores + seen.first, count, most);
}

static const float *sequence_row(const segment *s, const float *shared, const float *own,
                                 int64_t ld, int64_t position)
{
    return position < s->shared ? shared + position * ld : own + (position - s->shared) * ld;
}

/* Where the keys from `key` on stop being of one kind: common or the document's own. */
static int64_t part_end(const segment *s, int64_t key, int64_t end)
{
    return key < s->shared && end > s->shared ? s->shared : end;
}

/* What lies in the last strip behind the keys is scored with them and then not read. */
static int64_t whole_strips(int64_t keys)
{
    return (keys + LC_STRIP - 1) / LC_STRIP * LC_STRIP;
}

static void attend_block(lc_cpu *cpu, const segment *s, lc_cpu_scratch *scratch, int64_t key,
                         int64_t end, bool first_block)
{
    if (s->k_has_strips &&
        s->rows <= LC_FEW_ROWS) { /* done sooner than values come by themselves */
        lc_cpu_fetch(s->v + key * s->v_ld, end - key, s->dim * FLOAT_BYTES, s->v_ld * FLOAT_BYTES);
    }
    for (int64_t from = key, to; from < end; from = to) {
        to = part_end(s, from, end);
        const int64_t keys = to - from;
        lc_cpu_sgemm(cpu, scratch,
                     &(lc_sgemm){.ta = 'N',
                                 .tb = 'T',
                                 .m = s->rows,
                                 .n = s->k_has_strips ? whole_strips(keys) : keys,
                                 .k = s->dim,
                                 .alpha = s->scale,
                                 .a = s->q,
                                 .lda = s->q_ld,
                                 .b = sequence_row(s, s->shared_k, s->k, s->k_ld, from),
                                 .ldb = s->k_ld,
                                 .b_has_strips = s->k_has_strips,
                                 .c = scratch->scores + (from - key),
                                 .ldc = SCORE_LD});
    }
    for (int64_t row = 0; row < s->rows; row++) {
        softmax_row(cpu, s, scratch, row, key, end - key, first_block);
    }
    for (int64_t from = key, to; from < end; from = to) {
        to = part_end(s, from, end);
        lc_cpu_sgemm(cpu, scratch,
                     &(lc_sgemm){.ta = 'N',
                                 .tb = 'N',
                                 .m = s->rows,
                                 .n = s->dim,
                                 .k = to - from,
                                 .alpha = 1.0f,
                                 .accumulate = !first_block || from > key,
                                 .a = scratch->scores + (from - key),
                                 .lda = SCORE_LD,
                                 .b = sequence_row(s, s->shared_v, s->v, s->v_ld, from),
                                 .ldb = s->v_ld,
                                 .c = s->out,
                                 .ldc = s->out_ld});
    }
}

/* Blocks begin at the same keys for every query, so that which others are treated with it does not
 * show. */
static int64_t first_block_of(const segment *s)
{
    return lc_visible_keys(s->position, s->window).first / LC_KEY_BLOCK * LC_KEY_BLOCK;
}

static void attend(lc_cpu *cpu, const segment *s, lc_cpu_scratch *scratch)
{
    for (int64_t row = 0; row < s->rows; row++) {
        scratch->row_max[row] = -INFINITY;
        scratch->row_sum[row] = 0.0f;
    }
    const int64_t first = first_block_of(s);
    const int64_t end = row_position(s, s->rows - 1) + 1;
    for (int64_t key = first; key < end; key += LC_KEY_BLOCK) {
        attend_block(cpu, s, scratch, key, end - key < LC_KEY_BLOCK ? end : key + LC_KEY_BLOCK,
                     key == first);
    }
    for (int64_t row = 0; row < s->rows; row++) {
        const float sum = scratch->row_sum[row];
        cpu->kernels->scale(s->out + row * s->out_ld, s->dim, 1.0f / sum);
        if (s->lse != NULL) {
            s->lse[row * s->lse_stride] = scratch->row_max[row] + logf(sum);
        }
    }
}

lc_document lc_cpu_document_at(const lc_attention_shape *shape, int64_t row)
{
    if (row < shape->documents.shared_rows) {
        const lc_document beginning = {.stop = shape->documents.shared_rows};
        return beginning;
    }
    int32_t low = 0, high = shape->documents.count - 1;
    while (low < high) {
        const int32_t middle = low + (high - low) / 2;
        if (shape->documents.cu_seqlens[middle + 1] <= row) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    const lc_document document = {shape->documents.cu_seqlens[low],
                                  shape->documents.cu_seqlens[low + 1],
                                  shape->documents.shared_rows};
    return document;
}

typedef struct forward_job {
    lc_cpu *cpu;
    const lc_attention_args *args;
    int64_t blocks;
} forward_job;

/* Later blocks see more keys, so they come first. */
static void forward_task(void *context, int64_t index, int worker)
{
    const forward_job *job = context;
    const lc_attention_args *args = job->args;
    const lc_attention_shape *shape = &args->shape;
    const int64_t head = index % shape->heads, dim = shape->head_dim;
    const int64_t kv_head = head / (shape->heads / shape->kv_heads);
    int64_t row = (job->blocks - 1 - index / shape->heads) * LC_QUERY_BLOCK;
    const int64_t block_end =
        args->q.rows - row < LC_QUERY_BLOCK ? args->q.rows : row + LC_QUERY_BLOCK;
    for (int64_t end; row < block_end; row = end) {
        const lc_document document = lc_cpu_document_at(shape, row);
        end = document.stop < block_end ? document.stop : block_end;
        attend(job->cpu,
               &(segment){.q = lc_row_f32(args->q, row) + head * dim,
                          .q_ld = args->q.ld,
                          .k = lc_row_f32(args->k, document.start) + kv_head * dim,
                          .v = lc_row_f32(args->v, document.start) + kv_head * dim,
                          .shared_k = lc_row_f32(args->k, 0) + kv_head * dim,
                          .shared_v = lc_row_f32(args->v, 0) + kv_head * dim,
                          .shared = document.shared,
                          .k_ld = args->k.ld,
                          .v_ld = args->v.ld,
                          .out = lc_row_f32(args->out, row) + head * dim,
                          .out_ld = args->out.ld,
                          .lse = args->lse != NULL ? args->lse + row * shape->heads + head : NULL,
                          .lse_stride = shape->heads,
                          .rows = end - row,
                          .position = document.shared + row - document.start,
                          .position_step = 1,
                          .dim = dim,
                          .window = shape->window,
                          .scale = shape->scale},
               &job->cpu->scratch[worker]);
    }
}

lc_code lc_cpu_attention(lc_device *device, const lc_attention_args *args, lc_err *err)
{
    LC_TRY(lc_attention_check(args, &lc_cpu_rules, err));
    lc_cpu *cpu = lc_cpu_of(device);
    forward_job job = {.cpu = cpu, .args = args};
    job.blocks = (args->q.rows + LC_QUERY_BLOCK - 1) / LC_QUERY_BLOCK;
    lc_cpu_run(cpu, job.blocks * args->shape.heads, forward_task, &job);
    return LC_OK;
}

/* A single row's query heads of one kv-head are the rows of a segment; a run of consecutive
 * positions is treated head by head instead. */
typedef struct cached_job {
    lc_cpu *cpu;
    const lc_attention_cached_args *args;
} cached_job;

static segment cached_segment(const lc_attention_cached_args *args, int64_t row, int64_t kv_head)
{
    const int64_t dim = args->head_dim, base = args->slots[row] * args->slot_rows;
    const int64_t k_at = lc_mat_at(args->k_cache, base, kv_head * dim);
    const segment s = {.k = (const float *)args->k_cache.data + k_at,
                       .v = lc_row_f32(args->v_cache, base) + kv_head * dim,
                       .k_ld = args->k_cache.ld,
                       .v_ld = args->v_cache.ld,
                       .k_has_strips = args->k_cache.strip > 0,
                       .position = args->positions[row],
                       .dim = dim,
                       .window = args->window,
                       .scale = args->scale};
    return s;
}

/* The first block of keys of the row that comes next. */
static void fetch_keys(const lc_attention_cached_args *args, int64_t row, int64_t kv_head)
{
    const segment s = cached_segment(args, row, kv_head);
    const int64_t first = first_block_of(&s), left = s.position + 1 - first;
    const int64_t keys = whole_strips(left < LC_KEY_BLOCK ? left : LC_KEY_BLOCK);
    const int64_t strip_bytes = LC_STRIP * FLOAT_BYTES;
    if (s.k_has_strips) {
        lc_cpu_fetch(s.k + first * s.k_ld, keys / LC_STRIP, s.dim * strip_bytes,
                     s.k_ld * strip_bytes);
    }
}

static void attend_cached_run(lc_cpu *cpu, const lc_attention_cached_args *args, int64_t row,
                              int64_t rows, int64_t kv_head, lc_cpu_scratch *scratch)
{
    const int64_t dim = args->head_dim, group = args->heads / args->kv_heads;
    segment s = cached_segment(args, row, kv_head);
    if (rows == 1) {
        for (int64_t first = 0; first < group; first += LC_QUERY_BLOCK) {
            const int64_t offset = (kv_head * group + first) * dim;
            s.q = lc_row_f32(args->q, row) + offset;
            s.out = lc_row_f32(args->out, row) + offset;
            s.q_ld = s.out_ld = dim;
            s.rows = group - first < LC_QUERY_BLOCK ? group - first : LC_QUERY_BLOCK;
            attend(cpu, &s, scratch);
        }
        return;
    }
    s.rows = rows;
    s.position_step = 1;
    s.q_ld = args->q.ld;
    s.out_ld = args->out.ld;
    for (int64_t head = kv_head * group; head < (kv_head + 1) * group; head++) {
        s.q = lc_row_f32(args->q, row) + head * dim;
        s.out = lc_row_f32(args->out, row) + head * dim;
        attend(cpu, &s, scratch);
    }
}

/* Rows of no sequence: zeros in the heads of kv_head. */
static void clear_heads(const lc_attention_cached_args *args, int64_t first, int64_t end,
                        int64_t kv_head)
{
    const int64_t width = (int64_t)args->heads / args->kv_heads * args->head_dim;
    for (int64_t row = first; row < end; row++) {
        memset(lc_row_f32(args->out, row) + kv_head * width, 0, (size_t)width * sizeof(float));
    }
}

static void cached_task(void *context, int64_t index, int worker)
{
    const cached_job *job = context;
    const lc_attention_cached_args *args = job->args;
    const int64_t first = index / args->kv_heads * CACHED_ROWS, kv_head = index % args->kv_heads;
    const int64_t end = args->q.rows - first < CACHED_ROWS ? args->q.rows : first + CACHED_ROWS;
    for (int64_t row = first, stop; row < end; row = stop) {
        for (stop = row + 1; stop < end && args->slots[stop] == args->slots[row] &&
                             args->positions[stop] == args->positions[stop - 1] + 1;
             stop++) {}
        if (args->slots[row] < 0) {
            clear_heads(args, row, stop, kv_head);
            continue;
        }
        if (stop < end && args->slots[stop] >= 0) {
            fetch_keys(args, stop, kv_head);
        }
        attend_cached_run(job->cpu, args, row, stop - row, kv_head, &job->cpu->scratch[worker]);
    }
}

static lc_code check_cache_rows(const lc_attention_cached_args *args, lc_err *err)
{
    const int64_t slots = args->k_cache.rows / args->slot_rows;
    for (int64_t i = 0; i < args->q.rows; i++) {
        if (args->slots[i] < -1 || args->slots[i] >= slots) {
            return lc_fail_param(err, LC_ERR_INTERNAL, "slots",
                                 "attention_cached: slots[%lld] is %d, expected -1..%lld",
                                 (long long)i, (int)args->slots[i], (long long)slots - 1);
        }
        if (args->positions[i] < 0 || args->positions[i] >= args->slot_rows) {
            return lc_fail_param(err, LC_ERR_INTERNAL, "positions",
                                 "attention_cached: positions[%lld] is %d, expected 0..%lld",
                                 (long long)i, (int)args->positions[i],
                                 (long long)args->slot_rows - 1);
        }
    }
    return LC_OK;
}

lc_code lc_cpu_attention_cached(lc_device *device, const lc_attention_cached_args *args,
                                lc_err *err)
{
    LC_TRY(lc_attention_cached_check(args, &lc_cpu_rules, err));
    LC_TRY(check_cache_rows(args, err));
    lc_cpu *cpu = lc_cpu_of(device);
    cached_job job = {.cpu = cpu, .args = args};
    lc_cpu_run(cpu, (args->q.rows + CACHED_ROWS - 1) / CACHED_ROWS * args->kv_heads, cached_task,
               &job);
    return LC_OK;
}
