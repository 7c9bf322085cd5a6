/* Buffers, timing and rows of `lorac bench`; see bench.h. */
#include "cli/bench.h"

#include <stdio.h>
#include <string.h>

#include "base/rng.h"
#include "infer/engine.h"
#include "lorac/mem.h"
#include "ops/backend.h"

#define BLOCK        ((int64_t)1 << 20) /* numbers in the block that fills every buffer */
#define BLOCK_STREAM 0x62656e63u
#define TRIALS       5
#define MAX_CALLS    100000

/* ---- the device and its buffers ---- */

/* Normal numbers, that a product of them neither overflows nor is all zeros: rates go by the
 * data. */
static lc_code make_random(lc_bench *bench, lc_err *err)
{
    lc_rng rng;
    void *memory = NULL;
    LC_TRY(lc_new(&memory, (size_t)BLOCK, sizeof(float), "random numbers", err));
    bench->random = memory;
    LC_TRY(lc_new(&memory, (size_t)BLOCK, sizeof(float), "random numbers", err));
    bench->uniform = memory;
    lc_rng_init(&rng, 1, BLOCK_STREAM);
    for (int64_t i = 0; i < BLOCK; i++) {
        bench->uniform[i] = (float)lc_rng_normal(&rng) * 0.1f;
    }
    if (!lc_convert(bench->uniform, LC_F32, bench->random, bench->dtype, (size_t)BLOCK)) {
        return lc_fail(err, LC_ERR_INTERNAL, "no conversion to %s", lc_dtype_name(bench->dtype));
    }
    for (int64_t i = 0; i < BLOCK; i++) {
        bench->uniform[i] = (float)lc_rng_uniform(&rng);
    }
    return LC_OK;
}

lc_code lc_bench_open(lc_bench *bench, lc_device_kind kind, int64_t threads, lc_err *err)
{
    int count = 0;
    LC_TRY(lc_engine_threads(threads, &count, err));
    const lc_device_options options = {
        .kind = kind, .threads = count, .attention = LC_ATTENTION_LORAC};
    LC_TRY(lc_device_open(&options, &bench->device, err));
    bench->dtype = bench->device->is_host ? LC_F32 : LC_BF16;
    lc_text_init(&bench->rows);
    return make_random(bench, err);
}

void lc_bench_release(lc_bench *bench, int mark)
{
    while (bench->buffer_count > mark) {
        bench->device->ops->free(bench->device, bench->buffers[--bench->buffer_count]);
    }
}

void lc_bench_close(lc_bench *bench)
{
    if (bench->device != NULL) {
        lc_bench_release(bench, 0);
        bench->device->ops->close(bench->device);
    }
    lc_free(bench->random);
    lc_free(bench->uniform);
    lc_text_release(&bench->rows);
}

static lc_code new_buffer(lc_bench *bench, size_t bytes, void **out, lc_err *err)
{
    if (bench->buffer_count >= LC_MAX_BENCH_BUFFERS) {
        return lc_fail(err, LC_ERR_INTERNAL, "bench: more than %d buffers", LC_MAX_BENCH_BUFFERS);
    }
    LC_TRY(bench->device->ops->alloc(bench->device, bytes, out, err));
    bench->buffers[bench->buffer_count++] = *out;
    return LC_OK;
}

static lc_code fill(lc_bench *bench, void *to, const void *block, int64_t count, size_t size,
                    lc_err *err)
{
    for (int64_t done = 0; done < count; done += BLOCK) {
        const int64_t some = count - done < BLOCK ? count - done : BLOCK;
        LC_TRY(bench->device->ops->upload(bench->device, (char *)to + (size_t)done * size, block,
                                          (size_t)some * size, err));
    }
    return LC_OK;
}

lc_code lc_bench_matrix(lc_bench *bench, int64_t rows, int64_t cols, int64_t ld, lc_mat *out,
                        lc_err *err)
{
    void *memory = NULL;
    const size_t size = lc_dtype_bytes(bench->dtype);
    LC_TRY(new_buffer(bench, (size_t)(rows * ld) * size, &memory, err));
    LC_TRY(fill(bench, memory, bench->random, rows * ld, size, err));
    *out = (lc_mat){.data = memory, .rows = rows, .cols = cols, .ld = ld, .dtype = bench->dtype};
    return LC_OK;
}

lc_code lc_bench_floats(lc_bench *bench, int64_t count, float **out, lc_err *err)
{
    void *memory = NULL;
    LC_TRY(new_buffer(bench, (size_t)count * sizeof(float), &memory, err));
    *out = memory;
    return fill(bench, memory, bench->uniform, count, sizeof(float), err);
}

lc_code lc_bench_upload(lc_bench *bench, const void *from, size_t bytes, void **out, lc_err *err)
{
    LC_TRY(new_buffer(bench, bytes, out, err));
    return from == NULL ? LC_OK : bench->device->ops->upload(bench->device, *out, from, bytes, err);
}

/* ---- timing ---- */

lc_bench_timing lc_bench_begin(lc_bench *bench, lc_err *err)
{
    return (lc_bench_timing){.bench = bench, .err = err, .trials = TRIALS, .trial = -2};
}

static double median(double *values, int count)
{
    for (int i = 1; i < count; i++) {
        for (int j = i; j > 0 && values[j] < values[j - 1]; j--) {
            const double value = values[j];
            values[j] = values[j - 1];
            values[j - 1] = value;
        }
    }
    return values[count / 2];
}

/* Ends the trial that has run: -2 warms up, -1 finds how many calls a trial takes. */
static lc_code end_trial(lc_bench_timing *timing)
{
    lc_device *device = timing->bench->device;
    double seconds = 0.0;
    LC_TRY(device->ops->timer_stop(device, &seconds, timing->err));
    seconds /= (double)timing->calls;
    if (timing->trial == -1) {
        const double calls = timing->bench->seconds / TRIALS / (seconds > 1e-7 ? seconds : 1e-7);
        timing->calls = calls < 1.0 ? 1 : calls > MAX_CALLS ? MAX_CALLS : (int64_t)calls;
        timing->trials = timing->bench->seconds > 0.0 ? TRIALS : 1;
    } else if (timing->trial >= 0) {
        timing->trial_seconds[timing->trial] = seconds;
    }
    timing->trial++;
    return LC_OK;
}

bool lc_bench_next(lc_bench_timing *timing)
{
    lc_device *device = timing->bench->device;
    if (timing->left > 0) {
        timing->left--;
        return true;
    }
    if (timing->calls > 0) {
        timing->code = end_trial(timing);
    } else {
        timing->calls = 1;
    }
    if (timing->code == LC_OK && timing->trial == timing->trials) {
        timing->seconds = median(timing->trial_seconds, timing->trials);
        return false;
    }
    if (timing->code == LC_OK) {
        timing->code = device->ops->timer_start(device, timing->err);
    }
    timing->left = timing->calls - 1;
    return timing->code == LC_OK;
}

/* ---- rows ---- */

bool lc_bench_wants(const lc_bench *bench, const char *name)
{
    return bench->filter == NULL || strstr(name, bench->filter) != NULL;
}

static void add_json(lc_bench *bench, const lc_bench_row *row, double share)
{
    lc_text *text = &bench->rows;
    lc_text_addf(text, "%s{\"name\": ", bench->row_count == 0 ? "" : ", ");
    lc_text_add_json_string(text, row->name, strlen(row->name));
    lc_text_addf(text, ", \"microseconds\": %.3f", row->seconds * 1e6);
    if (row->flops > 0.0) {
        lc_text_addf(text, ", \"tflops\": %.5f", row->flops / row->seconds * 1e-12);
    }
    if (row->bytes > 0.0) {
        lc_text_addf(text, ", \"gb_per_s\": %.4f", row->bytes / row->seconds * 1e-9);
    }
    if (share > 0.0) {
        lc_text_addf(text, ", \"of_ceiling\": %.4f", share);
    }
    if (row->plain_seconds > 0.0) {
        lc_text_addf(text, ", \"of_plain\": %.4f", row->plain_seconds / row->seconds);
    }
    lc_text_addf(text, "}");
}

static void print_row(const lc_bench_row *row, double share)
{
    printf("%-30s %11.1f us", row->name, row->seconds * 1e6);
    if (row->flops > 0.0) {
        printf(" %9.3f TFLOP/s", row->flops / row->seconds * 1e-12);
    } else {
        printf(" %9.1f GB/s   ", row->bytes / row->seconds * 1e-9);
    }
    printf(share > 0.0 ? " %4.0f %%" : "    - ", share * 100.0);
    if (row->plain_seconds > 0.0) {
        printf("  %5.2f of plain", row->plain_seconds / row->seconds);
    }
    printf("\n");
    (void)fflush(stdout);
}

void lc_bench_add(lc_bench *bench, const lc_bench_row *row)
{
    const double rate = (row->flops > 0.0 ? row->flops : row->bytes) / row->seconds;
    const double ceiling = row->flops > 0.0 ? bench->flops_ceiling : bench->bytes_ceiling;
    const double share = ceiling > 0.0 ? rate / ceiling : 0.0;
    if (bench->json) {
        add_json(bench, row, share);
    } else {
        print_row(row, share);
    }
    bench->row_count++;
}

/* ---- ceilings ---- */

lc_code lc_bench_plain_product(lc_bench *bench, int64_t n, int64_t in, int64_t out, bool backward,
                               double *seconds, lc_err *err)
{
    lc_device *device = bench->device;
    const int mark = bench->buffer_count;
    lc_mat x, w, y;
    LC_TRY(lc_bench_matrix(bench, n, in, in, &x, err));
    LC_TRY(lc_bench_matrix(bench, out, in, in, &w, err));
    LC_TRY(lc_bench_matrix(bench, n, out, out, &y, err));
    if (backward) {
        LC_BENCH(bench, *seconds, LC_OP(device, linear_backward, {.dy = y, .w = w, .dx = x}, err));
    } else {
        LC_BENCH(bench, *seconds, LC_OP(device, linear, {.x = x, .w = w, .y = y}, err));
    }
    lc_bench_release(bench, mark);
    return LC_OK;
}

/* Sides of the square product, and rows of 4096 numbers to be copied: enough to fill the device. */
static void ceiling_sizes(const lc_bench *bench, int64_t *side, int64_t *rows)
{
    static const int64_t sizes[LC_DEVICE_KIND_COUNT][2] = {[LC_DEVICE_CPU] = {1024, 4096},
                                                           [LC_DEVICE_CUDA] = {8192, 131072},
                                                           [LC_DEVICE_EMU] = {64, 16}};
    const lc_device_kind kind = lc_device_kind_of(bench->device);
    *side = sizes[kind][0];
    *rows = sizes[kind][1];
}

lc_code lc_bench_ceilings(lc_bench *bench, lc_err *err)
{
    int64_t side, rows;
    lc_mat from, to;
    const int mark = bench->buffer_count;
    lc_bench_row product = {.name = "ceiling: square product"}, copy = {.name = "ceiling: copy"};
    ceiling_sizes(bench, &side, &rows);
    LC_TRY(lc_bench_plain_product(bench, side, side, side, false, &product.seconds, err));
    product.flops = 2.0 * (double)side * (double)side * (double)side;
    LC_TRY(lc_bench_matrix(bench, rows, 4096, 4096, &from, err));
    LC_TRY(lc_bench_matrix(bench, rows, 4096, 4096, &to, err));
    LC_BENCH(bench, copy.seconds, bench->device->ops->copy(bench->device, to, from, err));
    copy.bytes = 2.0 * (double)rows * 4096.0 * (double)lc_dtype_bytes(bench->dtype);
    lc_bench_release(bench, mark);
    bench->flops_ceiling = product.flops / product.seconds;
    bench->bytes_ceiling = copy.bytes / copy.seconds;
    lc_bench_add(bench, &product);
    lc_bench_add(bench, &copy);
    return LC_OK;
}
