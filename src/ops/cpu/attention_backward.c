/*
 * Attention, backward: p is rebuilt from the saved log sum exp, delta = rowsum(out*dout),
 *   dp = dout v^T,  ds = scale p (dp - delta),  dq = ds k,  dk = ds^T q,  dv = p^T dout.
 * Short documents: one task does all of a document and kv-head, five products per tile. Long ones:
 * one pass by query block for dq, one by key block for dk and dv (seven products), so that one
 * document still feeds many threads. Keys of the common beginning get their gradients from all
 * documents' queries in one task. Every output row has one writer, so nothing is added in an order
 * that could change.
 */
#include "ops/cpu/attention.h"

#include <string.h>

#include "ops/check.h"

/* A document up to this length, behind a beginning up to this length, is short: its keys are one
 * block, and so are those before them. */
#define SHORT_DOCUMENT LC_KEY_BLOCK

/* Queries query..+rows-1 by keys key..+cols-1 of one document and head, as positions in it; the
 * batch row of position 0 would be queries_at and keys_at. */
typedef struct tile {
    int64_t queries_at, keys_at;
    int64_t query, rows;
    int64_t key, cols;
    int64_t head, kv_head;
    int64_t score_ld;
} tile;

typedef struct backward_job {
    lc_cpu *cpu;
    const lc_attention_backward_args *args;
    int64_t blocks;
    bool any_long;
} backward_job;

static int64_t minimum(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static float *query_row(const lc_attention_backward_args *args, lc_mat mat, const tile *t)
{
    return lc_row_f32(mat, t->queries_at + t->query) + t->head * args->shape.head_dim;
}

static float *key_row(const lc_attention_backward_args *args, lc_mat mat, const tile *t)
{
    return lc_row_f32(mat, t->keys_at + t->key) + t->kv_head * args->shape.head_dim;
}

/* scores = alpha a b^T with the a rows of queries, the b rows of keys. */
static void query_by_key(const backward_job *job, const tile *t, float alpha, lc_mat a, lc_mat b,
                         float *c, lc_cpu_scratch *scratch)
{
    lc_cpu_sgemm(job->cpu, scratch,
                 &(lc_sgemm){.ta = 'N',
                             .tb = 'T',
                             .m = t->rows,
                             .n = t->cols,
                             .k = job->args->shape.head_dim,
                             .alpha = alpha,
                             .a = query_row(job->args, a, t),
                             .lda = a.ld,
                             .b = key_row(job->args, b, t),
                             .ldb = b.ld,
                             .c = c,
                             .ldc = t->score_ld});
}

/* scratch->scores = p, scratch->gradients = ds of the tile. */
static void gradient_tile(const backward_job *job, const tile *t, lc_cpu_scratch *scratch)
{
    const lc_attention_backward_args *args = job->args;
    const lc_attention_shape *shape = &args->shape;
    query_by_key(job, t, shape->scale, args->q, args->k, scratch->scores, scratch);
    query_by_key(job, t, 1.0f, args->dout, args->v, scratch->gradients, scratch);
    for (int64_t row = 0; row < t->rows; row++) {
        float *p = scratch->scores + row * t->score_ld,
              *ds = scratch->gradients + row * t->score_ld;
        const lc_key_range seen =
            lc_clip_keys(lc_visible_keys(t->query + row, shape->window), t->key, t->cols);
        const int64_t at = (t->queries_at + t->query + row) * shape->heads + t->head;
        const size_t before = (size_t)seen.first * sizeof *p;
        const size_t behind = (size_t)(t->cols - seen.end) * sizeof *p;
        memset(p, 0, before);
        memset(ds, 0, before);
        memset(p + seen.end, 0, behind);
        memset(ds + seen.end, 0, behind);
        job->cpu->kernels->attention_gradient(p + seen.first, ds + seen.first,
                                              seen.end - seen.first, args->lse[at], args->delta[at],
                                              shape->scale);
    }
}

/* dq (+)= ds k */
static void add_dq(const backward_job *job, const tile *t, bool first, lc_cpu_scratch *scratch)
{
    const lc_attention_backward_args *args = job->args;
    lc_cpu_sgemm(job->cpu, scratch,
                 &(lc_sgemm){.ta = 'N',
                             .tb = 'N',
                             .m = t->rows,
                             .n = args->shape.head_dim,
                             .k = t->cols,
                             .alpha = 1.0f,
                             .accumulate = !first,
                             .a = scratch->gradients,
                             .lda = t->score_ld,
                             .b = key_row(args, args->k, t),
                             .ldb = args->k.ld,
                             .c = query_row(args, args->dq, t),
                             .ldc = args->dq.ld});
}

/* to += scores^T from, over the tile's queries. */
static void add_transposed(const backward_job *job, const tile *t, const float *scores, lc_mat from,
                           lc_mat to, lc_cpu_scratch *scratch)
{
    lc_cpu_sgemm(job->cpu, scratch,
                 &(lc_sgemm){.ta = 'T',
                             .tb = 'N',
                             .m = t->cols,
                             .n = job->args->shape.head_dim,
                             .k = t->rows,
                             .alpha = 1.0f,
                             .accumulate = true,
                             .a = scores,
                             .lda = t->score_ld,
                             .b = query_row(job->args, from, t),
                             .ldb = from.ld,
                             .c = key_row(job->args, to, t),
                             .ldc = to.ld});
}

static void add_dk_dv(const backward_job *job, const tile *t, lc_cpu_scratch *scratch)
{
    add_transposed(job, t, scratch->scores, job->args->dout, job->args->dv, scratch);
    add_transposed(job, t, scratch->gradients, job->args->q, job->args->dk, scratch);
}

static void zero_dk_dv(const backward_job *job, const tile *t)
{
    const lc_attention_backward_args *args = job->args;
    const size_t bytes = (size_t)args->shape.head_dim * sizeof(float);
    for (int64_t i = 0; i < t->cols; i++) {
        memset(key_row(args, args->dk, t) + i * args->dk.ld, 0, bytes);
        memset(key_row(args, args->dv, t) + i * args->dv.ld, 0, bytes);
    }
}

/* The part of keys first..end-1 that begins at `first`, at most `most`, of one kind: common or the
 * document's own. */
static void set_keys(tile *t, const lc_document *document, int64_t first, int64_t end, int64_t most)
{
    const bool is_shared = first < document->shared;
    t->keys_at = is_shared ? 0 : document->start - document->shared;
    t->key = first;
    t->cols = minimum(minimum(most, end - first), is_shared ? document->shared - first : most);
}

/* Gradients of common keys key..+cols-1 from the queries of all documents. */
static void shared_keys(const backward_job *job, tile t, lc_cpu_scratch *scratch)
{
    const lc_attention_shape *shape = &job->args->shape;
    const int64_t group = shape->heads / shape->kv_heads;
    const int64_t chunk = t.cols <= LC_QUERY_BLOCK ? LC_KEY_BLOCK : LC_QUERY_BLOCK;
    t.score_ld = LC_QUERY_BLOCK + LC_KEY_BLOCK - chunk + LC_SCORE_PAD;
    t.keys_at = 0;
    for (int32_t i = 0; i < shape->document_count; i++) {
        t.queries_at = shape->cu_seqlens[i] - shape->shared_rows;
        int64_t end = shape->cu_seqlens[i + 1] - t.queries_at;
        if (shape->window > 0) {
            end = minimum(end, t.key + t.cols - 1 + shape->window);
        }
        for (t.head = t.kv_head * group; t.head < (t.kv_head + 1) * group; t.head++) {
            for (t.query = shape->shared_rows; t.query < end; t.query += chunk) {
                t.rows = minimum(chunk, end - t.query);
                gradient_tile(job, &t, scratch);
                add_dk_dv(job, &t, scratch);
            }
        }
    }
}

static void short_document(const backward_job *job, const lc_document *document, int64_t kv_head,
                           lc_cpu_scratch *scratch)
{
    const lc_attention_shape *shape = &job->args->shape;
    const int64_t group = shape->heads / shape->kv_heads, shared = document->shared;
    const int64_t length = shared + document->stop - document->start;
    tile t = {.queries_at = document->start - shared,
              .kv_head = kv_head,
              .score_ld = LC_KEY_BLOCK + LC_SCORE_PAD};
    set_keys(&t, document, shared, length, LC_KEY_BLOCK);
    zero_dk_dv(job, &t);
    for (t.head = kv_head * group; t.head < (kv_head + 1) * group; t.head++) {
        for (t.query = shared; t.query < length; t.query += LC_QUERY_BLOCK) {
            t.rows = minimum(LC_QUERY_BLOCK, length - t.query);
            const int64_t first = lc_visible_keys(t.query, shape->window).first;
            const int64_t end = t.query + t.rows;
            for (int64_t key = first; key < end; key += t.cols) {
                set_keys(&t, document, key, end, LC_KEY_BLOCK);
                gradient_tile(job, &t, scratch);
                add_dq(job, &t, key == first, scratch);
                if (key >= shared) {
                    add_dk_dv(job, &t, scratch);
                }
            }
        }
    }
    if (document->start < shape->shared_rows) {
        set_keys(&t, document, 0, length, LC_KEY_BLOCK);
        shared_keys(job, t, scratch);
    }
}

/* Batch rows from..to-1 of a document as queries. */
static void long_queries(const backward_job *job, const lc_document *document, int64_t from,
                         int64_t to, int64_t head, lc_cpu_scratch *scratch)
{
    const lc_attention_shape *shape = &job->args->shape;
    tile t = {.queries_at = document->start - document->shared,
              .rows = to - from,
              .head = head,
              .kv_head = head / (shape->heads / shape->kv_heads),
              .score_ld = LC_KEY_BLOCK + LC_SCORE_PAD};
    t.query = from - t.queries_at;
    const int64_t first = lc_visible_keys(t.query, shape->window).first;
    const int64_t end = t.query + t.rows;
    for (int64_t key = first; key < end; key += t.cols) {
        set_keys(&t, document, key, end, LC_KEY_BLOCK);
        gradient_tile(job, &t, scratch);
        add_dq(job, &t, key == first, scratch);
    }
}

/* Batch rows from..to-1 of a document as keys. */
static void long_keys(const backward_job *job, const lc_document *document, int64_t from,
                      int64_t to, int64_t kv_head, lc_cpu_scratch *scratch)
{
    const lc_attention_shape *shape = &job->args->shape;
    const int64_t group = shape->heads / shape->kv_heads;
    const int64_t at = document->start - document->shared;
    tile t = {.queries_at = at,
              .keys_at = at,
              .key = from - at,
              .cols = to - from,
              .kv_head = kv_head,
              .score_ld = LC_QUERY_BLOCK + LC_SCORE_PAD};
    int64_t end = document->stop - at;
    if (shape->window > 0) {
        end = minimum(end, t.key + t.cols - 1 + shape->window);
    }
    zero_dk_dv(job, &t);
    for (t.head = t.kv_head * group; t.head < (t.kv_head + 1) * group; t.head++) {
        for (t.query = t.key; t.query < end; t.query += LC_KEY_BLOCK) {
            t.rows = minimum(LC_KEY_BLOCK, end - t.query);
            gradient_tile(job, &t, scratch);
            add_dk_dv(job, &t, scratch);
        }
    }
    if (document->start < shape->shared_rows) {
        shared_keys(job, t, scratch);
    }
}

static bool is_short(const lc_document *document)
{
    return document->stop - document->start <= SHORT_DOCUMENT && document->shared <= SHORT_DOCUMENT;
}

typedef enum pass { QUERY_PASS, KEY_PASS, SHORT_PASS } pass;

/* Runs one pass over the 64 batch rows of a block: long documents by the piece inside the block,
 * short ones by the documents that start in it. */
static void run_block(const backward_job *job, pass kind, int64_t block, int64_t head,
                      lc_cpu_scratch *scratch)
{
    const int64_t first = block * LC_QUERY_BLOCK;
    const int64_t end = minimum(job->args->q.rows, first + LC_QUERY_BLOCK);
    for (int64_t row = first, to; row < end; row = to) {
        const lc_document document = lc_cpu_document_at(&job->args->shape, row);
        to = minimum(document.stop, end);
        if (is_short(&document) != (kind == SHORT_PASS)) {
            continue;
        }
        if (kind == QUERY_PASS) {
            long_queries(job, &document, row, to, head, scratch);
        } else if (kind == KEY_PASS) {
            long_keys(job, &document, row, to, head, scratch);
        } else if (document.start == row) {
            short_document(job, &document, head, scratch);
        }
    }
}

/* Tasks: key pass (early blocks have most queries), query pass (late blocks have most keys), short
 * ones. */
static void backward_task(void *context, int64_t index, int worker)
{
    const backward_job *job = context;
    const lc_attention_shape *shape = &job->args->shape;
    lc_cpu_scratch *scratch = &job->cpu->scratch[worker];
    if (job->any_long) {
        const int64_t key_tasks = job->blocks * shape->kv_heads,
                      query_tasks = job->blocks * shape->heads;
        if (index < key_tasks) {
            run_block(job, KEY_PASS, index / shape->kv_heads, index % shape->kv_heads, scratch);
            return;
        }
        index -= key_tasks;
        if (index < query_tasks) {
            run_block(job, QUERY_PASS, job->blocks - 1 - index / shape->heads, index % shape->heads,
                      scratch);
            return;
        }
        index -= query_tasks;
    }
    run_block(job, SHORT_PASS, index / shape->kv_heads, index % shape->kv_heads, scratch);
}

static void delta_rows(lc_cpu *cpu, const void *context, int64_t first, int64_t end, int worker)
{
    (void)worker;
    const lc_attention_backward_args *args = context;
    const int64_t heads = args->shape.heads, dim = args->shape.head_dim;
    for (int64_t i = first; i < end; i++) {
        const float *out = lc_row_f32(args->out, i), *dout = lc_row_f32(args->dout, i);
        for (int64_t head = 0; head < heads; head++) {
            args->delta[i * heads + head] =
                cpu->kernels->dot(out + head * dim, dout + head * dim, dim);
        }
    }
}

lc_code lc_cpu_attention_backward(lc_device *device, const lc_attention_backward_args *args,
                                  lc_err *err)
{
    LC_TRY(lc_attention_backward_check(args, err));
    lc_cpu *cpu = lc_cpu_of(device);
    const lc_attention_shape *shape = &args->shape;
    backward_job job = {.cpu = cpu, .args = args};
    job.blocks = (args->q.rows + LC_QUERY_BLOCK - 1) / LC_QUERY_BLOCK;
    for (int64_t row = 0; row < args->q.rows && !job.any_long;) {
        const lc_document document = lc_cpu_document_at(shape, row);
        job.any_long = !is_short(&document);
        row = document.stop;
    }
    lc_cpu_rows(cpu, args->q.rows, 2 * args->q.cols, delta_rows, args);
    int64_t tasks = job.blocks * shape->kv_heads;
    if (job.any_long) {
        tasks += job.blocks * (shape->heads + shape->kv_heads);
    }
    lc_cpu_run(cpu, tasks, backward_task, &job);
    return LC_OK;
}
