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

/* A document up to this length, its beginning included, is short: its keys are one block. */
#define SHORT_DOCUMENT LC_KEY_BLOCK

/* Queries query..+rows-1 by keys key..+cols-1 of one document and head, as positions in it. Those
 * before `shared` are common rows of the batch, the others lie `at` rows further on. */
typedef struct tile {
    int64_t at, shared;
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

static int64_t batch_row(const tile *t, int64_t position)
{
    return position < t->shared ? position : t->at + position;
}

static float *query_row(const lc_attention_backward_args *args, lc_mat mat, const tile *t)
{
    return lc_row_f32(mat, batch_row(t, t->query)) + t->head * args->shape.head_dim;
}

static float *key_row(const lc_attention_backward_args *args, lc_mat mat, const tile *t)
{
    return lc_row_f32(mat, batch_row(t, t->key)) + t->kv_head * args->shape.head_dim;
}

/* The part of a tile from key `from` on whose keys are of one kind, common or the document's own.
 */
static tile part_of(const tile *whole, int64_t from)
{
    tile part = *whole;
    const int64_t end = whole->key + whole->cols;
    part.key = from;
    part.cols = (from < whole->shared && end > whole->shared ? whole->shared : end) - from;
    return part;
}

/* scores = alpha a b^T with the a rows of queries, the b rows of keys. */
static void query_by_key(const backward_job *job, const tile *t, float alpha, lc_mat a, lc_mat b,
                         float *c, lc_cpu_scratch *scratch)
{
    tile part;
    for (int64_t from = t->key; from < t->key + t->cols; from += part.cols) {
        part = part_of(t, from);
        lc_cpu_sgemm(job->cpu, scratch,
                     &(lc_sgemm){.ta = 'N',
                                 .tb = 'T',
                                 .m = part.rows,
                                 .n = part.cols,
                                 .k = job->args->shape.head_dim,
                                 .alpha = alpha,
                                 .a = query_row(job->args, a, &part),
                                 .lda = a.ld,
                                 .b = key_row(job->args, b, &part),
                                 .ldb = b.ld,
                                 .c = c + (from - t->key),
                                 .ldc = t->score_ld});
    }
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
        const int64_t at = (batch_row(t, t->query) + row) * shape->heads + t->head;
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
    tile part;
    for (int64_t from = t->key; from < t->key + t->cols; from += part.cols) {
        part = part_of(t, from);
        lc_cpu_sgemm(job->cpu, scratch,
                     &(lc_sgemm){.ta = 'N',
                                 .tb = 'N',
                                 .m = part.rows,
                                 .n = args->shape.head_dim,
                                 .k = part.cols,
                                 .alpha = 1.0f,
                                 .accumulate = !first || from > t->key,
                                 .a = scratch->gradients + (from - t->key),
                                 .lda = t->score_ld,
                                 .b = key_row(args, args->k, &part),
                                 .ldb = args->k.ld,
                                 .c = query_row(args, args->dq, &part),
                                 .ldc = args->dq.ld});
    }
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

/* Gradients of the tile's keys from `from` on, which are of one kind. */
static void add_dk_dv(const backward_job *job, const tile *t, int64_t from, lc_cpu_scratch *scratch)
{
    const int64_t offset = from - t->key;
    if (offset < t->cols) {
        const tile part = part_of(t, from);
        add_transposed(job, &part, scratch->scores + offset, job->args->dout, job->args->dv,
                       scratch);
        add_transposed(job, &part, scratch->gradients + offset, job->args->q, job->args->dk,
                       scratch);
    }
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

static tile tile_of(const lc_document *document, int64_t kv_head)
{
    const tile t = {.at = document->start - document->shared,
                    .shared = document->shared,
                    .head = kv_head,
                    .kv_head = kv_head};
    return t;
}

static int64_t last_query(const lc_attention_shape *shape, const tile *t, int64_t length)
{
    return shape->window > 0 ? minimum(length, t->key + t->cols - 1 + shape->window) : length;
}

/* Gradients of common keys key..+cols-1 from the queries of all documents. */
static void shared_keys(const backward_job *job, int64_t key, int64_t cols, int64_t kv_head,
                        lc_cpu_scratch *scratch)
{
    const lc_attention_shape *shape = &job->args->shape;
    const int64_t group = shape->heads / shape->kv_heads;
    const int64_t chunk = cols <= LC_QUERY_BLOCK ? LC_KEY_BLOCK : LC_QUERY_BLOCK;
    for (int32_t i = 0; i < shape->documents.count; i++) {
        const lc_document document = {shape->documents.cu_seqlens[i],
                                      shape->documents.cu_seqlens[i + 1],
                                      shape->documents.shared_rows};
        tile t = tile_of(&document, kv_head);
        t.key = key;
        t.cols = cols;
        t.score_ld = LC_QUERY_BLOCK + LC_KEY_BLOCK - chunk + LC_SCORE_PAD;
        const int64_t end = last_query(shape, &t, document.stop - t.at);
        for (t.head = kv_head * group; t.head < (kv_head + 1) * group; t.head++) {
            for (t.query = t.shared; t.query < end; t.query += chunk) {
                t.rows = minimum(chunk, end - t.query);
                gradient_tile(job, &t, scratch);
                add_dk_dv(job, &t, key, scratch);
            }
        }
    }
}

static void short_document(const backward_job *job, const lc_document *document, int64_t kv_head,
                           lc_cpu_scratch *scratch)
{
    const lc_attention_shape *shape = &job->args->shape;
    const int64_t group = shape->heads / shape->kv_heads;
    tile t = tile_of(document, kv_head);
    const int64_t length = document->stop - t.at;
    t.score_ld = LC_KEY_BLOCK + LC_SCORE_PAD;
    t.key = t.shared;
    t.cols = length - t.shared;
    zero_dk_dv(job, &t);
    for (t.head = kv_head * group; t.head < (kv_head + 1) * group; t.head++) {
        for (t.query = t.shared; t.query < length; t.query += LC_QUERY_BLOCK) {
            t.rows = minimum(LC_QUERY_BLOCK, length - t.query);
            t.key = lc_visible_keys(t.query, shape->window).first;
            t.cols = t.query + t.rows - t.key;
            gradient_tile(job, &t, scratch);
            add_dq(job, &t, true, scratch);
            add_dk_dv(job, &t, t.key > t.shared ? t.key : t.shared, scratch);
        }
    }
    if (document->start < shape->documents.shared_rows) {
        shared_keys(job, 0, length, kv_head, scratch);
    }
}

/* Batch rows from..to-1 of a document as queries. */
static void long_queries(const backward_job *job, const lc_document *document, int64_t from,
                         int64_t to, int64_t head, lc_cpu_scratch *scratch)
{
    const lc_attention_shape *shape = &job->args->shape;
    tile t = tile_of(document, head / (shape->heads / shape->kv_heads));
    t.head = head;
    t.query = from - t.at;
    t.rows = to - from;
    t.score_ld = LC_KEY_BLOCK + LC_SCORE_PAD;
    const int64_t first = lc_visible_keys(t.query, shape->window).first;
    const int64_t end = t.query + t.rows;
    for (t.key = first; t.key < end; t.key += LC_KEY_BLOCK) {
        t.cols = minimum(LC_KEY_BLOCK, end - t.key);
        gradient_tile(job, &t, scratch);
        add_dq(job, &t, t.key == first, scratch);
    }
}

/* Batch rows from..to-1 of a document as keys. */
static void long_keys(const backward_job *job, const lc_document *document, int64_t from,
                      int64_t to, int64_t kv_head, lc_cpu_scratch *scratch)
{
    const lc_attention_shape *shape = &job->args->shape;
    const int64_t group = shape->heads / shape->kv_heads;
    tile t = tile_of(document, kv_head);
    t.key = from - t.at;
    t.cols = to - from;
    t.score_ld = LC_QUERY_BLOCK + LC_SCORE_PAD;
    const int64_t end = last_query(shape, &t, document->stop - t.at);
    zero_dk_dv(job, &t);
    for (t.head = kv_head * group; t.head < (kv_head + 1) * group; t.head++) {
        for (t.query = t.key; t.query < end; t.query += LC_KEY_BLOCK) {
            t.rows = minimum(LC_KEY_BLOCK, end - t.query);
            gradient_tile(job, &t, scratch);
            add_dk_dv(job, &t, t.key, scratch);
        }
    }
    if (document->start < shape->documents.shared_rows) {
        shared_keys(job, t.key, t.cols, kv_head, scratch);
    }
}

static bool is_short(const lc_document *document)
{
    return document->shared + document->stop - document->start <= SHORT_DOCUMENT;
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
    LC_TRY(lc_attention_backward_check(args, &lc_cpu_rules, err));
    if (args->dropped != NULL) {
        LC_TRY(lc_cpu_lora_dropout_backward(device, args->dropped, err));
    }
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
