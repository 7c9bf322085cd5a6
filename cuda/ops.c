/*
 * The table of ops: each checks its call, then queues kernels or matrix products on the device's
 * stream. Linear layers and adapters are in ops_lora.c.
 */
#include "cuda.h"
#include "range.h"

static const lc_op_rules f32_rules = {
    .activation = LC_F32, .weights = 1u << LC_F32, .alignment = 16};
static const lc_op_rules bf16_rules = {
    .activation = LC_BF16, .weights = 1u << LC_BF16, .alignment = 16};

const lc_op_rules *lc_cuda_rules_of(lc_dtype dtype)
{
    return dtype == LC_BF16 ? &bf16_rules : &f32_rules;
}

lc_code lc_cuda_take_scratch(lc_cuda *cuda, size_t bytes, void **out, lc_err *err)
{
    if (bytes > cuda->scratch_bytes) {
        return lc_fail(err, LC_ERR_INTERNAL, "an op needs %zu bytes of workspace, there are %zu",
                       bytes, cuda->scratch_bytes);
    }
    *out = cuda->scratch;
    return LC_OK;
}

/* Ops that are one launcher. */
#define LAUNCHED(name, leading)                                                              \
    static lc_code cuda_##name(lc_device *device, const lc_##name##_args *args, lc_err *err) \
    {                                                                                        \
        LC_RANGE(#name);                                                                     \
        LC_TRY(lc_##name##_check(args, lc_cuda_rules_of(args->leading.dtype), err));         \
        return lc_cuda_result(lc_cuda_##name(args, lc_cuda_of(device)->stream), #name, err); \
    }

LAUNCHED(embed, out)
LAUNCHED(rmsnorm, x)
LAUNCHED(qk_rope, x)
LAUNCHED(cache_append, k)
LAUNCHED(gather_rows, x)
LAUNCHED(scatter_rows, x)
LAUNCHED(cross_entropy, logits)
LAUNCHED(sample, logits)

static lc_code cuda_attention(lc_device *device, const lc_attention_args *args, lc_err *err)
{
    LC_RANGE("attention");
    LC_TRY(lc_attention_check(args, lc_cuda_rules_of(args->q.dtype), err));
    return lc_cuda_attention_forward(lc_cuda_of(device), args, err);
}

static lc_code cuda_attention_backward(lc_device *device, const lc_attention_backward_args *args,
                                       lc_err *err)
{
    LC_RANGE("attention_backward");
    LC_TRY(lc_attention_backward_check(args, lc_cuda_rules_of(args->q.dtype), err));
    return lc_cuda_attention_back(lc_cuda_of(device), args, err);
}

/* ---- swiglu ---- */

static lc_code cuda_swiglu(lc_device *device, const lc_swiglu_args *args, lc_err *err)
{
    LC_RANGE("swiglu");
    LC_TRY(lc_swiglu_check(args, lc_cuda_rules_of(args->y.dtype), err));
    const cudaStream_t stream = lc_cuda_of(device)->stream;
    const bool is_bf16 = args->y.dtype == LC_BF16;
    if (args->lora != NULL && is_bf16 && args->lora->dropout.p <= 0.0f) {
        return lc_cuda_result(lc_cuda_swiglu_lora(args, stream), "swiglu_lora", err);
    }
    LC_TRY(lc_cuda_result(lc_cuda_swiglu(args, stream), "swiglu", err));
    if (args->lora == NULL) {
        return LC_OK;
    }
    lc_lora_forward_args lora = *args->lora;
    lora.x = args->y;
    return lc_cuda_op_lora_forward(device, &lora, err);
}

/* Step by step: dy completed, y for dA of the down projection, the gradients, then dS and dB of
 * gate and up. */
static lc_code swiglu_backward_in_steps(lc_device *device, const lc_swiglu_backward_args *args,
                                        lc_err *err)
{
    const cudaStream_t stream = lc_cuda_of(device)->stream;
    if (args->dropped != NULL) {
        LC_TRY(lc_cuda_op_lora_dropout_backward(device, args->dropped, err));
    }
    if (args->lora_down != NULL) {
        const lc_swiglu_args again = {.gate_up = args->gate_up, .y = args->lora_down->x};
        LC_TRY(lc_cuda_result(lc_cuda_swiglu(&again, stream), "swiglu", err));
        LC_TRY(lc_cuda_op_lora_dx(device, args->lora_down, err));
    }
    LC_TRY(lc_cuda_result(lc_cuda_swiglu_backward(args, stream), "swiglu_backward", err));
    if (args->lora_gate_up == NULL) {
        return LC_OK;
    }
    lc_lora_dy_args gate_up = *args->lora_gate_up;
    gate_up.dy = args->gate_up;
    return lc_cuda_op_lora_dy(device, &gate_up, err);
}

static lc_code cuda_swiglu_backward(lc_device *device, const lc_swiglu_backward_args *args,
                                    lc_err *err)
{
    LC_RANGE("swiglu_backward");
    LC_TRY(lc_swiglu_backward_check(args, lc_cuda_rules_of(args->dy.dtype), err));
    const bool has_lora = args->lora_down != NULL || args->lora_gate_up != NULL;
    const bool has_dropout = args->lora_down != NULL && args->lora_down->dropout.p > 0.0f;
    const bool is_whole = has_dropout == (args->dropped != NULL) &&
                          (!has_dropout || lc_cuda_swiglu_backward_fuses(args));
    if (!has_lora || !is_whole || args->dy.dtype != LC_BF16) {
        return swiglu_backward_in_steps(device, args, err);
    }
    lc_cuda *cuda = lc_cuda_of(device);
    void *scratch = NULL;
    const lc_lora_parts none = {.count = 0};
    const size_t bytes = lc_cuda_swiglu_backward_lora_scratch(
        args->dy.rows, args->dy.cols, args->lora_down != NULL ? args->lora_down->ds.cols : 0,
        args->lora_gate_up != NULL ? &args->lora_gate_up->parts : &none);
    LC_TRY(lc_cuda_take_scratch(cuda, bytes, &scratch, err));
    return lc_cuda_result(lc_cuda_swiglu_backward_lora(args, scratch, cuda->stream),
                          "swiglu_backward_lora", err);
}

/* ---- attention over a cache ---- */

static lc_code cuda_attention_cached(lc_device *device, const lc_attention_cached_args *args,
                                     lc_err *err)
{
    LC_RANGE("attention_cached");
    LC_TRY(lc_attention_cached_check(args, lc_cuda_rules_of(args->q.dtype), err));
    lc_cuda *cuda = lc_cuda_of(device);
    void *scratch = NULL;
    LC_TRY(lc_cuda_take_scratch(cuda,
                                lc_cuda_attention_cached_scratch(args->q.rows, args->heads,
                                                                 args->head_dim, args->slot_rows),
                                &scratch, err));
    return lc_cuda_result(lc_cuda_attention_cached(args, scratch, cuda->stream), "attention_cached",
                          err);
}

/* ---- copies, sums, optimizer ---- */

static lc_code cuda_copy(lc_device *device, lc_mat to, lc_mat from, lc_err *err)
{
    LC_RANGE("copy");
    LC_TRY(lc_copy_check(to, from, err));
    return lc_cuda_result(lc_cuda_copy(to, from, lc_cuda_of(device)->stream), "copy", err);
}

static lc_code cuda_advance(lc_device *device, const lc_advance_args *args, lc_err *err)
{
    LC_RANGE("advance");
    LC_TRY(lc_advance_check(args, err));
    return lc_cuda_result(lc_cuda_advance(args, lc_cuda_of(device)->stream), "advance", err);
}

static lc_code cuda_add_sums(lc_device *device, const lc_add_sums_args *args, lc_err *err)
{
    LC_RANGE("add_sums");
    LC_TRY(lc_add_sums_check(args, err));
    return lc_cuda_result(lc_cuda_add_sums(args, lc_cuda_of(device)->stream), "add_sums", err);
}

static lc_code cuda_adamw(lc_device *device, const lc_adamw_args *args, lc_err *err)
{
    LC_RANGE("adamw");
    LC_TRY(lc_adamw_check(args, err));
    lc_cuda *cuda = lc_cuda_of(device);
    void *scratch = NULL;
    LC_TRY(lc_cuda_take_scratch(cuda, lc_cuda_adamw_scratch(args->count), &scratch, err));
    return lc_cuda_result(lc_cuda_adamw(args, scratch, cuda->stream), "adamw", err);
}

const lc_ops lc_cuda_ops = {
#ifdef LORAC_EMULATED
    .name = "emu",
#else
    .name = "cuda",
#endif
    .alloc = lc_cuda_alloc,
    .free = lc_cuda_free,
    .upload = lc_cuda_upload,
    .upload_mat = lc_cuda_upload_mat,
    .download = lc_cuda_download,
    .host_alloc = lc_cuda_host_alloc,
    .host_free = lc_cuda_host_free,
    .upload_queued = lc_cuda_upload_queued,
    .download_queued = lc_cuda_download_queued,
    .host_wait = lc_cuda_host_wait,
    .set_workspace = lc_cuda_set_workspace,
    .set_rows_alone = lc_cuda_set_rows_alone,
    .record_begin = lc_cuda_record_begin,
    .record_end = lc_cuda_record_end,
    .layout_key = lc_cuda_attention_key,
    .zero = lc_cuda_zero,
    .copy = cuda_copy,
    .sync = lc_cuda_sync,
    .timer_start = lc_cuda_timer_start,
    .timer_stop = lc_cuda_timer_stop,
    .memory = lc_cuda_memory_info,
    .close = lc_cuda_close,
    .embed = cuda_embed,
    .rmsnorm = cuda_rmsnorm,
    .rmsnorm_backward = lc_cuda_op_rmsnorm_backward,
    .linear = lc_cuda_op_linear,
    .linear_backward = lc_cuda_op_linear_backward,
    .lora_forward = lc_cuda_op_lora_forward,
    .lora_dy = lc_cuda_op_lora_dy,
    .lora_dx = lc_cuda_op_lora_dx,
    .lora_dropout_backward = lc_cuda_op_lora_dropout_backward,
    .lora_publish = lc_cuda_op_lora_publish,
    .qk_rope = cuda_qk_rope,
    .qk_rope_backward = lc_cuda_op_qk_rope_backward,
    .attention = cuda_attention,
    .attention_backward = cuda_attention_backward,
    .cache_append = cuda_cache_append,
    .attention_cached = cuda_attention_cached,
    .swiglu = cuda_swiglu,
    .swiglu_backward = cuda_swiglu_backward,
    .gather_rows = cuda_gather_rows,
    .scatter_rows = cuda_scatter_rows,
    .cross_entropy = cuda_cross_entropy,
    .sample = cuda_sample,
    .advance = cuda_advance,
    .add_sums = cuda_add_sums,
    .adamw = cuda_adamw,
};
