/* The ops that treat rows one by one: embedding, gather and scatter, the KV cache, the gate of
 * swiglu, cross entropy. */
#include "ops/cpu/cpu.h"

#include <string.h>

/* Index arrays lie in host memory here, so that a wrong one can be refused instead of read through.
 */
static lc_code check_range(const char *op, const char *field, const int32_t *indices, int64_t count,
                           int32_t least, int64_t limit, lc_err *err)
{
    for (int64_t i = 0; i < count; i++) {
        if (indices[i] < least || indices[i] >= limit) {
            return lc_fail_param(err, LC_ERR_INTERNAL, field,
                                 "%s: %s[%lld] is %d, expected %d..%lld", op, field, (long long)i,
                                 (int)indices[i], (int)least, (long long)limit - 1);
        }
    }
    return LC_OK;
}

static lc_code check_indices(const char *op, const char *field, const int32_t *indices,
                             int64_t count, int64_t limit, lc_err *err)
{
    return check_range(op, field, indices, count, 0, limit, err);
}

static void embed_rows(lc_cpu *cpu, const void *context, int64_t first, int64_t end, int worker)
{
    (void)worker;
    const lc_embed_args *args = context;
    for (int64_t i = first; i < end; i++) {
        lc_cpu_expand(cpu, args->table, args->ids[i], 0, args->out.cols, lc_row_f32(args->out, i));
    }
}

lc_code lc_cpu_embed(lc_device *device, const lc_embed_args *args, lc_err *err)
{
    LC_TRY(lc_embed_check(args, &lc_cpu_rules, err));
    LC_TRY(check_indices("embed", "ids", args->ids, args->out.rows, args->table.rows, err));
    lc_cpu_rows(lc_cpu_of(device), args->out.rows, 2 * args->out.cols, embed_rows, args);
    return LC_OK;
}

/* Entries before the first -1. */
static int64_t selected_count(const int32_t *rows, int64_t count)
{
    while (count > 0 && rows[count - 1] == -1) {
        count--;
    }
    return count;
}

static void gather(lc_cpu *cpu, const void *context, int64_t first, int64_t end, int worker)
{
    (void)cpu;
    (void)worker;
    const lc_gather_rows_args *args = context;
    const size_t bytes = (size_t)args->y.cols * sizeof(float);
    for (int64_t i = first; i < end; i++) {
        if (args->rows[i] < 0) {
            memset(lc_row_f32(args->y, i), 0, bytes);
        } else if (lc_row_f32(args->y, i) != lc_row_f32(args->x, args->rows[i])) {
            memcpy(lc_row_f32(args->y, i), lc_row_f32(args->x, args->rows[i]), bytes);
        }
    }
}

lc_code lc_cpu_gather_rows(lc_device *device, const lc_gather_rows_args *args, lc_err *err)
{
    LC_TRY(lc_gather_rows_check(args, &lc_cpu_rules, err));
    LC_TRY(check_range("gather_rows", "rows", args->rows, args->y.rows, -1, args->x.rows, err));
    lc_cpu_rows(lc_cpu_of(device), args->y.rows, 2 * args->y.cols, gather, args);
    return LC_OK;
}

/* First index m with rows[m] >= wanted. */
static int64_t lower_bound(const int32_t *rows, int64_t count, int64_t wanted)
{
    int64_t low = 0, high = count;
    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        if (rows[middle] < wanted) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static void scatter(lc_cpu *cpu, const void *context, int64_t first, int64_t end, int worker)
{
    (void)cpu;
    (void)worker;
    const lc_scatter_rows_args *args = context;
    const size_t bytes = (size_t)args->y.cols * sizeof(float);
    int64_t m = lower_bound(args->rows, args->x.rows, first);
    for (int64_t i = first; i < end; i++) {
        if (m < args->x.rows && args->rows[m] == i) {
            memcpy(lc_row_f32(args->y, i), lc_row_f32(args->x, m), bytes);
            m++;
        } else {
            memset(lc_row_f32(args->y, i), 0, bytes);
        }
    }
}

lc_code lc_cpu_scatter_rows(lc_device *device, const lc_scatter_rows_args *args, lc_err *err)
{
    LC_TRY(lc_scatter_rows_check(args, &lc_cpu_rules, err));
    lc_scatter_rows_args job = *args;
    job.x.rows = selected_count(args->rows, args->x.rows);
    LC_TRY(check_indices("scatter_rows", "rows", args->rows, job.x.rows, args->y.rows, err));
    for (int64_t m = 1; m < job.x.rows; m++) {
        if (args->rows[m] <= args->rows[m - 1]) {
            return lc_fail_param(err, LC_ERR_INTERNAL, "rows",
                                 "scatter_rows: rows[%lld] is %d, expected above rows[%lld] = %d",
                                 (long long)m, (int)args->rows[m], (long long)m - 1,
                                 (int)args->rows[m - 1]);
        }
    }
    lc_cpu_rows(lc_cpu_of(device), args->y.rows, 2 * args->y.cols, scatter, &job);
    return LC_OK;
}

typedef struct gate_args {
    lc_mat gate_up, other; /* y, or dy */
} gate_args;

static void gate_rows(lc_cpu *cpu, const void *context, int64_t first, int64_t end, int worker)
{
    (void)worker;
    const gate_args *args = context;
    const int64_t width = args->other.cols;
    for (int64_t i = first; i < end; i++) {
        const float *gate = lc_row_f32(args->gate_up, i);
        cpu->kernels->swiglu(gate, gate + width, lc_row_f32(args->other, i), width);
    }
}

void lc_cpu_gate(lc_cpu *cpu, lc_mat gate_up, lc_mat y)
{
    const gate_args args = {gate_up, y};
    lc_cpu_rows(cpu, y.rows, 6 * y.cols, gate_rows, &args);
}

static void gate_backward_rows(lc_cpu *cpu, const void *context, int64_t first, int64_t end,
                               int worker)
{
    (void)worker;
    const gate_args *args = context;
    const int64_t width = args->other.cols;
    for (int64_t i = first; i < end; i++) {
        float *gate = lc_row_f32(args->gate_up, i);
        cpu->kernels->swiglu_backward(lc_row_f32(args->other, i), gate, gate + width, width);
    }
}

void lc_cpu_gate_backward(lc_cpu *cpu, lc_mat dy, lc_mat gate_up)
{
    const gate_args args = {gate_up, dy};
    lc_cpu_rows(cpu, dy.rows, 8 * dy.cols, gate_backward_rows, &args);
}

static void cross_entropy_rows(lc_cpu *cpu, const void *context, int64_t first, int64_t end,
                               int worker)
{
    (void)worker;
    const lc_cross_entropy_args *args = context;
    for (int64_t i = first; i < end; i++) {
        const lc_row_loss loss =
            cpu->kernels->cross_entropy(lc_row_f32(args->logits, i), args->logits.cols,
                                        args->targets[i], args->weights[i], args->gradient);
        args->nll[i] = loss.nll;
        args->correct[i] = loss.correct;
    }
}

lc_code lc_cpu_cross_entropy(lc_device *device, const lc_cross_entropy_args *args, lc_err *err)
{
    LC_TRY(lc_cross_entropy_check(args, &lc_cpu_rules, err));
    LC_TRY(check_indices("cross_entropy", "targets", args->targets, args->logits.rows,
                         args->logits.cols, err));
    lc_cpu_rows(lc_cpu_of(device), args->logits.rows, 4 * args->logits.cols, cross_entropy_rows,
                args);
    return LC_OK;
}

/* A row of floats into a matrix that may have a strip. */
static void put_row(lc_mat to, int64_t row, const float *from)
{
    float *first = (float *)to.data + lc_mat_at(to, row, 0);
    if (to.strip == 0) {
        memcpy(first, from, (size_t)to.cols * sizeof *from);
        return;
    }
    for (int64_t j = 0; j < to.cols; j++) {
        first[j * to.strip] = from[j];
    }
}

/* Positions are distinct pairs, so rows may go in any order. */
static void append_rows(lc_cpu *cpu, const void *context, int64_t first, int64_t end, int worker)
{
    (void)cpu;
    (void)worker;
    const lc_cache_append_args *args = context;
    const size_t bytes = (size_t)args->k.cols * sizeof(float);
    for (int64_t i = first; i < end; i++) {
        if (args->slots[i] < 0) {
            continue;
        }
        const int64_t row = args->slots[i] * args->slot_rows + args->positions[i];
        put_row(args->k_cache, row, lc_row_f32(args->k, i));
        memcpy(lc_row_f32(args->v_cache, row), lc_row_f32(args->v, i), bytes);
    }
}

lc_code lc_cpu_cache_append(lc_device *device, const lc_cache_append_args *args, lc_err *err)
{
    LC_TRY(lc_cache_append_check(args, &lc_cpu_rules, err));
    LC_TRY(check_range("cache_append", "slots", args->slots, args->k.rows, -1,
                       args->k_cache.rows / args->slot_rows, err));
    LC_TRY(check_indices("cache_append", "positions", args->positions, args->k.rows,
                         args->slot_rows, err));
    lc_cpu_rows(lc_cpu_of(device), args->k.rows, 4 * args->k.cols, append_rows, args);
    return LC_OK;
}

/* A few numbers a row: one thread, row after row. */
lc_code lc_cpu_add_sums(lc_device *device, const lc_add_sums_args *args, lc_err *err)
{
    (void)device;
    LC_TRY(lc_add_sums_check(args, err));
    lc_sums *sums = args->sums;
    for (int64_t i = 0; i < args->count; i++) {
        if (args->weights[i] > 0.0f) {
            sums->loss += (double)args->weights[i] * (double)args->nll[i];
            sums->weight += (double)args->weights[i];
            sums->correct += (double)args->correct[i];
            sums->targets += 1.0;
        }
    }
    return LC_OK;
}
