/*
 * The CPU backend: opening, memory, copies, the table. Everything runs when it is called, on the
 * device's own thread pool; sync has nothing to wait for.
 */
#include "ops/cpu/cpu.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/system.h"
#include "lorac/mem.h"

#define ALIGNMENT   256
#define TOUCH_BYTES ((size_t)2 << 20) /* one huge page, or 512 usual ones */
#define TASK_FLOATS 16384 /* floats touched by one row task: 64 KiB, a few microseconds */

static void cpu_close(lc_device *device);
static const lc_ops cpu_ops;

/* Nothing of that kind is needed. */
static size_t no_workspace(const lc_workspace_extent *extent)
{
    (void)extent;
    return 0;
}

static size_t no_layout_bytes(int64_t tokens)
{
    (void)tokens;
    return 0;
}

static void lay_out_nothing(const lc_documents *documents, int64_t tokens, void *layout)
{
    (void)documents, (void)tokens, (void)layout;
}

static int64_t same_rows(int64_t rows, int64_t capacity)
{
    (void)capacity;
    return rows;
}

const lc_memory_rules lc_cpu_memory = {.pitch = 16,
                                       .alignment = 1,
                                       .least_shared = 1,
                                       .strip = LC_STRIP,
                                       .head_rows = 256,
                                       .round_rows = same_rows,
                                       .workspace_bytes = no_workspace,
                                       .layout_bytes = no_layout_bytes,
                                       .lay_out = lay_out_nothing};

const lc_op_rules lc_cpu_rules = {.activation = LC_F32,
                                  .weights = 1u << LC_F32 | 1u << LC_BF16,
                                  .strip = LC_STRIP,
                                  .alignment = 1};

lc_code lc_cpu_open(int threads, lc_device **out, lc_err *err)
{
    lc_code code;
    lc_cpu *cpu = NULL;
    if (threads < 1 || threads > LC_MAX_THREADS) {
        return lc_fail(err, LC_ERR_USAGE, "threads is %d, expected 1..%d", threads, LC_MAX_THREADS);
    }
    void *memory = NULL;
    LC_TRY(lc_new(&memory, 1, sizeof *cpu, "the CPU device", err));
    cpu = memory;
    LC_TRY_GOTO(lc_new(&memory, LC_MAX_PARTIALS, sizeof *cpu->partials, "partial sums", err));
    cpu->partials = memory;
    const size_t scratch_bytes = (size_t)threads * sizeof *cpu->scratch;
    cpu->scratch =
        lc_aligned_alloc(ALIGNMENT, (scratch_bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT);
    if (cpu->scratch == NULL) {
        code = lc_fail(err, LC_ERR_MEMORY, "out of memory: %zu bytes of scratch for %d threads",
                       scratch_bytes, threads);
        goto fail;
    }
    memset(cpu->scratch, 0, scratch_bytes);
    LC_TRY_GOTO(lc_pool_start(threads, NULL, NULL, &cpu->pool, err));
    cpu->kernels = lc_kernels_best();
    (void)snprintf(cpu->description, sizeof cpu->description, "cpu, %d thread%s, %s", threads,
                   threads == 1 ? "" : "s", cpu->kernels->name);
    cpu->device = (lc_device){.ops = &cpu_ops,
                              .description = cpu->description,
                              .reader_count = threads,
                              .is_host = true,
                              .memory = &lc_cpu_memory,
                              .state = cpu};
    *out = &cpu->device;
    return LC_OK;
fail:
    lc_free(cpu->scratch);
    lc_free(cpu->partials);
    lc_free(cpu);
    return code;
}

static void cpu_close(lc_device *device)
{
    if (device == NULL) {
        return;
    }
    lc_cpu *cpu = lc_cpu_of(device);
    lc_pool_stop(cpu->pool);
    lc_free(cpu->scratch);
    lc_free(cpu->partials);
    lc_free(cpu);
}

typedef struct touch_args {
    char *memory;
    size_t bytes;
} touch_args;

static void touch_task(void *context, int64_t index, int worker)
{
    (void)worker;
    const touch_args *args = context;
    const size_t first = (size_t)index * TOUCH_BYTES;
    const size_t end = args->bytes - first < TOUCH_BYTES ? args->bytes : first + TOUCH_BYTES;
    for (size_t at = first; at < end; at += LC_PAGE_BYTES) {
        ((volatile char *)args->memory)[at] = 0;
    }
}

/* Every page is made resident now, by all threads: a step meets no page fault, and what a plan says
 * is what the process holds. */
static lc_code cpu_alloc(lc_device *device, size_t bytes, void **out, lc_err *err)
{
    void *memory = lc_pages_alloc(bytes);
    if (memory == NULL) {
        return lc_fail(err, LC_ERR_MEMORY, "out of memory: %zu bytes on the CPU", bytes);
    }
    touch_args args = {.memory = memory, .bytes = bytes};
    lc_cpu_run(lc_cpu_of(device), (int64_t)((bytes + TOUCH_BYTES - 1) / TOUCH_BYTES), touch_task,
               &args);
    *out = memory;
    return LC_OK;
}

static lc_code cpu_host_alloc(lc_device *device, size_t bytes, void **out, lc_err *err)
{
    (void)device;
    *out = lc_pages_alloc(bytes);
    return *out != NULL ? LC_OK
                        : lc_fail(err, LC_ERR_MEMORY, "out of memory: %zu bytes on the CPU", bytes);
}

static void cpu_free(lc_device *device, void *memory)
{
    (void)device;
    lc_pages_free(memory);
}

static lc_code cpu_move(lc_device *device, void *to, const void *from, size_t bytes, lc_err *err)
{
    (void)device;
    if (bytes > 0 && (to == NULL || from == NULL)) {
        return lc_fail(err, LC_ERR_INTERNAL, "upload/download: %s is NULL, expected memory",
                       to == NULL ? "to" : "from");
    }
    if (bytes > 0) {
        memcpy(to, from, bytes);
    }
    return LC_OK;
}

/* Either way. */
static lc_code cpu_copy_queued(lc_device *device, void *to, const void *from, size_t bytes,
                               int slot, lc_err *err)
{
    (void)slot;
    return cpu_move(device, to, from, bytes, err);
}

static lc_code cpu_host_wait(lc_device *device, int slot, lc_err *err)
{
    (void)device, (void)slot, (void)err;
    return LC_OK;
}

/* Everything runs when it is called: nothing is recorded. */
static uint32_t cpu_layout_key(lc_device *device, const lc_documents *documents, int64_t rows)
{
    (void)device;
    (void)documents;
    (void)rows;
    return 0;
}

static lc_code cpu_record_begin(lc_device *device, const char *name, uint64_t key, bool *replayed,
                                lc_err *err)
{
    (void)device, (void)name, (void)key, (void)err;
    *replayed = false;
    return LC_OK;
}

static lc_code cpu_record_end(lc_device *device, bool is_whole, lc_err *err)
{
    (void)device, (void)is_whole, (void)err;
    return LC_OK;
}

static void cpu_set_workspace(lc_device *device, void *memory, size_t bytes)
{
    (void)device, (void)memory, (void)bytes;
}

/* Products sum alike in any case (gemm.c). */
static void cpu_set_rows_alone(lc_device *device, bool rows_alone)
{
    (void)device, (void)rows_alone;
}

static lc_code cpu_zero(lc_device *device, void *memory, size_t bytes, lc_err *err)
{
    (void)device;
    if (bytes > 0 && memory == NULL) {
        return lc_fail(err, LC_ERR_INTERNAL, "zero: memory is NULL, expected %zu bytes", bytes);
    }
    if (bytes > 0) {
        memset(memory, 0, bytes);
    }
    return LC_OK;
}

typedef struct copy_args {
    lc_mat to, from;
} copy_args;

static void copy_row(lc_mat to, lc_mat from, int64_t row)
{
    const size_t to_bytes = lc_dtype_bytes(to.dtype), from_bytes = lc_dtype_bytes(from.dtype);
    char *target = (char *)to.data + (size_t)(row * to.ld) * to_bytes;
    const char *source = (const char *)from.data + (size_t)(row * from.ld) * from_bytes;
    if (to.dtype == from.dtype) {
        memmove(target, source, (size_t)to.cols * to_bytes);
    } else {
        const bool converted = lc_convert(source, from.dtype, target, to.dtype, (size_t)to.cols);
        assert(converted); /* lc_copy_check let the pair through */
        (void)converted;
    }
}

static void copy_rows(lc_cpu *cpu, const void *context, int64_t first, int64_t end, int worker)
{
    (void)cpu;
    (void)worker;
    const copy_args *args = context;
    for (int64_t i = first; i < end; i++) {
        copy_row(args->to, args->from, i);
    }
}

void lc_cpu_copy(lc_cpu *cpu, lc_mat to, lc_mat from)
{
    const copy_args args = {to, from};
    lc_cpu_rows(cpu, to.rows, 2 * to.cols, copy_rows, &args);
}

static lc_code cpu_copy(lc_device *device, lc_mat to, lc_mat from, lc_err *err)
{
    LC_TRY(lc_copy_check(to, from, err));
    lc_cpu_copy(lc_cpu_of(device), to, from);
    return LC_OK;
}

#define SPREAD_COLS 64 /* of a strip at a time, so that its lines stay in the nearest cache */

/* Values of row `row`, columns first..first+count-1, to their places in a strip. */
static void spread(const void *values, lc_mat to, int64_t row, int64_t first, int64_t count)
{
    const int64_t at = lc_mat_at(to, row, first), strip = to.strip;
    for (int64_t j = 0; j < count; j++) {
        if (to.dtype == LC_BF16) {
            ((uint16_t *)to.data)[at + j * strip] = ((const uint16_t *)values)[j];
        } else {
            ((float *)to.data)[at + j * strip] = ((const float *)values)[j];
        }
    }
}

static void copy_to_strips(lc_mat to, lc_mat from)
{
    float values[SPREAD_COLS];
    for (int64_t top = 0; top < to.rows; top += to.strip) {
        for (int64_t first = 0; first < to.cols; first += SPREAD_COLS) {
            const int64_t left = to.cols - first, count = left < SPREAD_COLS ? left : SPREAD_COLS;
            for (int64_t row = top; row < top + to.strip; row++) {
                const lc_mat run = {values, 1, count, count, to.dtype, 0};
                copy_row(run, lc_mat_view(from, row, first, 1, count), 0);
                spread(values, to, row, first, count);
            }
        }
    }
}

static lc_code cpu_upload_mat(lc_device *device, lc_mat to, lc_mat from, lc_err *err)
{
    if (to.strip > 0) {
        lc_mat rows = to;
        rows.strip = 0;
        LC_TRY(lc_copy_check(rows, from, err));
        copy_to_strips(to, from);
        return LC_OK;
    }
    LC_TRY(lc_copy_check(to, from, err));
    const copy_args args = {to, from};
    copy_rows(lc_cpu_of(device), &args, 0, to.rows, 0);
    return LC_OK;
}

static lc_code cpu_sync(lc_device *device, lc_err *err)
{
    (void)device;
    (void)err;
    return LC_OK;
}

static lc_code cpu_timer_start(lc_device *device, lc_err *err)
{
    (void)err;
    lc_cpu_of(device)->timer_began = lc_monotonic_seconds();
    return LC_OK;
}

static lc_code cpu_timer_stop(lc_device *device, double *seconds, lc_err *err)
{
    (void)err;
    *seconds = lc_monotonic_seconds() - lc_cpu_of(device)->timer_began;
    return LC_OK;
}

static lc_code cpu_memory(lc_device *device, int64_t *used, int64_t *available, lc_err *err)
{
    (void)device;
    (void)err;
    *used = lc_system_resident_bytes();
    *available = -1; /* the job layer knows more of host memory: control groups, limits */
    return LC_OK;
}

void lc_cpu_run(lc_cpu *cpu, int64_t count, void (*task)(void *context, int64_t index, int worker),
                void *context)
{
    if (count == 1) {
        task(context, 0, 0);
    } else if (count > 1) {
        lc_pool_run(cpu->pool, count, task, context);
    }
}

typedef struct row_job {
    lc_cpu *cpu;
    lc_cpu_row_fn fn;
    const void *args;
    int64_t rows, chunk;
} row_job;

static void row_task(void *context, int64_t index, int worker)
{
    const row_job *job = context;
    const int64_t first = index * job->chunk;
    const int64_t end = job->rows - first < job->chunk ? job->rows : first + job->chunk;
    job->fn(job->cpu, job->args, first, end, worker);
}

void lc_cpu_rows(lc_cpu *cpu, int64_t rows, int64_t row_floats, lc_cpu_row_fn fn, const void *args)
{
    if (rows <= 0) {
        return;
    }
    const int64_t floats = row_floats > 0 ? row_floats : 1;
    const int64_t chunk = floats < TASK_FLOATS ? TASK_FLOATS / floats : 1;
    row_job job = {.cpu = cpu, .fn = fn, .args = args, .rows = rows, .chunk = chunk};
    lc_cpu_run(cpu, (rows + chunk - 1) / chunk, row_task, &job);
}

void lc_cpu_expand(const lc_cpu *cpu, lc_mat mat, int64_t row, int64_t first, int64_t count,
                   float *to)
{
    if (mat.strip > 0) {
        const int64_t at = lc_mat_at(mat, row, first);
        for (int64_t j = 0; j < count; j++) {
            to[j] = mat.dtype == LC_BF16
                        ? lc_bf16_to_f32(((const uint16_t *)mat.data)[at + j * mat.strip])
                        : ((const float *)mat.data)[at + j * mat.strip];
        }
    } else if (mat.dtype == LC_BF16) {
        cpu->kernels->expand_bf16((const uint16_t *)mat.data + row * mat.ld + first, to, count);
    } else {
        memcpy(to, lc_row_f32(mat, row) + first, (size_t)count * sizeof *to);
    }
}

static const lc_ops cpu_ops = {
    .name = "cpu",
    .alloc = cpu_alloc,
    .free = cpu_free,
    .upload = cpu_move,
    .upload_mat = cpu_upload_mat,
    .download = cpu_move,
    .host_alloc = cpu_host_alloc,
    .host_free = cpu_free,
    .upload_queued = cpu_copy_queued,
    .download_queued = cpu_copy_queued,
    .host_wait = cpu_host_wait,
    .set_workspace = cpu_set_workspace,
    .set_rows_alone = cpu_set_rows_alone,
    .record_begin = cpu_record_begin,
    .layout_key = cpu_layout_key,
    .record_end = cpu_record_end,
    .zero = cpu_zero,
    .copy = cpu_copy,
    .sync = cpu_sync,
    .timer_start = cpu_timer_start,
    .timer_stop = cpu_timer_stop,
    .memory = cpu_memory,
    .close = cpu_close,
    .embed = lc_cpu_embed,
    .rmsnorm = lc_cpu_rmsnorm,
    .rmsnorm_backward = lc_cpu_rmsnorm_backward,
    .linear = lc_cpu_linear,
    .linear_backward = lc_cpu_linear_backward,
    .lora_forward = lc_cpu_lora_forward,
    .lora_dy = lc_cpu_lora_dy,
    .lora_dx = lc_cpu_lora_dx,
    .lora_dropout_backward = lc_cpu_lora_dropout_backward,
    .lora_publish = lc_cpu_lora_publish,
    .qk_rope = lc_cpu_qk_rope,
    .qk_rope_backward = lc_cpu_qk_rope_backward,
    .attention = lc_cpu_attention,
    .attention_backward = lc_cpu_attention_backward,
    .cache_append = lc_cpu_cache_append,
    .attention_cached = lc_cpu_attention_cached,
    .swiglu = lc_cpu_swiglu,
    .swiglu_backward = lc_cpu_swiglu_backward,
    .gather_rows = lc_cpu_gather_rows,
    .scatter_rows = lc_cpu_scatter_rows,
    .cross_entropy = lc_cpu_cross_entropy,
    .sample = lc_cpu_sample,
    .advance = lc_cpu_advance,
    .add_sums = lc_cpu_add_sums,
    .adamw = lc_cpu_adamw,
};
