/*
 * The table of ops: each checks its call, then queues kernels or matrix products on the device's
 * stream. BF16 runs on the fused LoRA kernels; F32, which exists for parity, makes the same results
 * of plain products.
 */
#include "cuda.h"
#include "range.h"

static const lc_op_rules f32_rules = {
    .activation = LC_F32, .weights = 1u << LC_F32, .alignment = 16};
static const lc_op_rules bf16_rules = {
    .activation = LC_BF16, .weights = 1u << LC_BF16, .alignment = 16};

/* A call is of the type of its first matrix; anything but BF16 is held to F32. */
static const lc_op_rules *rules_of(lc_dtype dtype)
{
    return dtype == LC_BF16 ? &bf16_rules : &f32_rules;
}

/* Scratch of `bytes`, or an error: the model has not set the workspace that the rules ask for. */
static lc_code take_scratch(lc_cuda *cuda, size_t bytes, void **out, lc_err *err)
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
        LC_TRY(lc_##name##_check(args, rules_of(args->leading.dtype), err));                 \
        return lc_cuda_result(lc_cuda_##name(args, lc_cuda_of(device)->stream), #name, err); \
    }

LAUNCHED(embed, out)
LAUNCHED(rmsnorm, x)
LAUNCHED(rmsnorm_backward, dy)
LAUNCHED(qk_rope, x)
LAUNCHED(qk_rope_backward, dy)
LAUNCHED(attention_cached, q)
LAUNCHED(cache_append, k)
LAUNCHED(gather_rows, x)
LAUNCHED(scatter_rows, x)
LAUNCHED(cross_entropy, logits)

static lc_code cuda_attention(lc_device *device, const lc_attention_args *args, lc_err *err)
{
    LC_RANGE("attention");
    LC_TRY(lc_attention_check(args, rules_of(args->q.dtype), err));
    return lc_cuda_attention_forward(lc_cuda_of(device), args, err);
}

static lc_code cuda_attention_backward(lc_device *device, const lc_attention_backward_args *args,
                                       lc_err *err)
{
    LC_RANGE("attention_backward");
    LC_TRY(lc_attention_backward_check(args, rules_of(args->q.dtype), err));
    return lc_cuda_attention_back(lc_cuda_of(device), args, err);
}

/* ---- linear layers ---- */

static lc_code run(lc_device *device, const lc_cuda_gemm *gemm, lc_err *err)
{
    lc_cuda *cuda = lc_cuda_of(device);
    return lc_cuda_gemm_run(&cuda->gemms, gemm, cuda->stream, err);
}

static lc_code cuda_linear(lc_device *device, const lc_linear_args *args, lc_err *err)
{
    LC_RANGE("linear");
    LC_TRY(lc_linear_check(args, rules_of(args->x.dtype), err));
    return run(device,
               &(lc_cuda_gemm){.ta = 'N',
                               .tb = 'T',
                               .m = args->x.rows,
                               .n = args->w.rows,
                               .k = args->x.cols,
                               .alpha = 1.0f,
                               .a = args->x,
                               .b = args->w,
                               .bias = args->bias,
                               .addend = args->addend,
                               .c = args->y},
               err);
}

static lc_code cuda_linear_backward(lc_device *device, const lc_linear_backward_args *args,
                                    lc_err *err)
{
    LC_RANGE("linear_backward");
    LC_TRY(lc_linear_backward_check(args, rules_of(args->dy.dtype), err));
    const lc_mat none = {.data = NULL};
    return run(device,
               &(lc_cuda_gemm){.ta = 'N',
                               .tb = 'N',
                               .m = args->dy.rows,
                               .n = args->w.cols,
                               .k = args->dy.cols,
                               .alpha = 1.0f,
                               .a = args->dy,
                               .b = args->w,
                               .addend = args->accumulate ? args->dx : none,
                               .c = args->dx},
               err);
}

/* ---- adapters ---- */

static lc_mat columns(lc_mat mat, int64_t first, int64_t count)
{
    return lc_mat_view(mat, 0, first, mat.rows, count);
}

/* x itself without dropout, else its dropped copy. */
static lc_code dropped(lc_device *device, const lc_dropout *dropout, int32_t module, lc_mat *x,
                       lc_mat scratch, lc_err *err)
{
    if (dropout->p <= 0.0f) {
        return LC_OK;
    }
    LC_TRY(lc_cuda_result(
        lc_cuda_drop(dropout, module, *x, scratch, false, lc_cuda_of(device)->stream), "drop",
        err));
    *x = scratch;
    return LC_OK;
}

static lc_code lora_forward_by_products(lc_device *device, lc_mat x,
                                        const lc_lora_forward_args *args, lc_err *err)
{
    for (int32_t i = 0; i < args->parts.count; i++) {
        const lc_lora_part *part = &args->parts.part[i];
        lc_mat input = x;
        LC_TRY(dropped(device, &args->dropout, part->module, &input, args->x_dropped, err));
        LC_TRY(run(device,
                   &(lc_cuda_gemm){.ta = 'N',
                                   .tb = 'T',
                                   .m = x.rows,
                                   .n = part->width,
                                   .k = x.cols,
                                   .alpha = 1.0f,
                                   .a = input,
                                   .b = lc_mat_view(args->a, part->slot, 0, part->width, x.cols),
                                   .c = columns(args->s, part->slot, part->width)},
                   err));
    }
    return args->saved.data == NULL
               ? LC_OK
               : lc_cuda_result(lc_cuda_copy(args->saved, args->s, lc_cuda_of(device)->stream),
                                "copy", err);
}

static lc_code cuda_lora_forward(lc_device *device, const lc_lora_forward_args *args, lc_err *err)
{
    LC_RANGE("lora_forward");
    LC_TRY(lc_lora_forward_check(args, rules_of(args->x.dtype), err));
    return args->x.dtype == LC_BF16
               ? lc_cuda_result(lc_cuda_lora_forward(args, lc_cuda_of(device)->stream),
                                "lora_forward", err)
               : lora_forward_by_products(device, args->x, args, err);
}

static lc_code lora_dy_by_products(lc_device *device, lc_mat dy, const lc_lora_dy_args *args,
                                   lc_err *err)
{
    for (int32_t i = 0; i < args->parts.count; i++) {
        const lc_lora_part *part = &args->parts.part[i];
        const lc_mat from = columns(dy, part->row, part->out);
        const lc_mat db = lc_mat_f32(part->db, part->out, part->width, part->width);
        LC_TRY(run(device,
                   &(lc_cuda_gemm){
                       .ta = 'N',
                       .tb = 'N',
                       .m = dy.rows,
                       .n = part->width,
                       .k = part->out,
                       .alpha = 1.0f,
                       .a = from,
                       .b = lc_mat_view(args->sb, part->row, part->slot, part->out, part->width),
                       .c = columns(args->ds, part->slot, part->width)},
                   err));
        LC_TRY(run(device,
                   &(lc_cuda_gemm){.ta = 'T',
                                   .tb = 'N',
                                   .m = part->out,
                                   .n = part->width,
                                   .k = dy.rows,
                                   .alpha = part->scale,
                                   .a = from,
                                   .b = columns(args->s, part->slot, part->width),
                                   .addend = db,
                                   .c = db},
                   err));
    }
    return LC_OK;
}

static lc_code cuda_lora_dy(lc_device *device, const lc_lora_dy_args *args, lc_err *err)
{
    LC_RANGE("lora_dy");
    LC_TRY(lc_lora_dy_check(args, rules_of(args->dy.dtype), err));
    if (args->dy.dtype != LC_BF16) {
        return lora_dy_by_products(device, args->dy, args, err);
    }
    lc_cuda *cuda = lc_cuda_of(device);
    void *scratch = NULL;
    LC_TRY(take_scratch(cuda, lc_cuda_lora_dy_scratch(args->dy.rows, args->dy.cols, &args->parts),
                        &scratch, err));
    return lc_cuda_result(lc_cuda_lora_dy(args, scratch, cuda->stream), "lora_dy", err);
}

static lc_code lora_dx_by_products(lc_device *device, const lc_lora_dx_args *args, lc_err *err)
{
    const int64_t in = args->x.cols;
    lc_mat x = args->x;
    if (args->rstd != NULL) {
        LC_TRY(lc_cuda_result(lc_cuda_scale_rows(args->x, args->rstd, args->norm_weight,
                                                 args->normed, lc_cuda_of(device)->stream),
                              "scale_rows", err));
        x = args->normed;
    }
    for (int32_t i = 0; i < args->parts.count; i++) {
        const lc_lora_part *part = &args->parts.part[i];
        const lc_mat da = lc_mat_f32(args->da + part->slot * in, part->width, in, in);
        lc_mat input = x;
        LC_TRY(dropped(device, &args->dropout, part->module, &input, args->x_dropped, err));
        LC_TRY(run(device,
                   &(lc_cuda_gemm){.ta = 'T',
                                   .tb = 'N',
                                   .m = part->width,
                                   .n = in,
                                   .k = x.rows,
                                   .alpha = 1.0f,
                                   .a = columns(args->ds, part->slot, part->width),
                                   .b = input,
                                   .addend = da,
                                   .c = da},
                   err));
    }
    return LC_OK;
}

static lc_code cuda_lora_dx(lc_device *device, const lc_lora_dx_args *args, lc_err *err)
{
    LC_RANGE("lora_dx");
    LC_TRY(lc_lora_dx_check(args, rules_of(args->x.dtype), err));
    if (args->x.dtype != LC_BF16) {
        return lora_dx_by_products(device, args, err);
    }
    lc_cuda *cuda = lc_cuda_of(device);
    void *scratch = NULL;
    LC_TRY(take_scratch(cuda, lc_cuda_lora_dx_scratch(args->x.rows, args->x.cols, args->ds.cols),
                        &scratch, err));
    return lc_cuda_result(lc_cuda_lora_dx(args, scratch, cuda->stream), "lora_dx", err);
}

static lc_code dropout_backward_by_products(lc_device *device,
                                            const lc_lora_dropout_backward_args *args, lc_err *err)
{
    for (int32_t i = 0; i < args->parts.count; i++) {
        const lc_lora_part *part = &args->parts.part[i];
        LC_TRY(
            run(device,
                &(lc_cuda_gemm){.ta = 'N',
                                .tb = 'N',
                                .m = args->ds.rows,
                                .n = args->a.cols,
                                .k = part->width,
                                .alpha = 1.0f,
                                .a = columns(args->ds, part->slot, part->width),
                                .b = lc_mat_view(args->a, part->slot, 0, part->width, args->a.cols),
                                .c = args->product},
                err));
        LC_TRY(lc_cuda_result(lc_cuda_drop(&args->dropout, part->module, args->product, args->dx,
                                           true, lc_cuda_of(device)->stream),
                              "drop", err));
    }
    return LC_OK;
}

static lc_code cuda_lora_dropout_backward(lc_device *device,
                                          const lc_lora_dropout_backward_args *args, lc_err *err)
{
    LC_RANGE("lora_dropout_backward");
    LC_TRY(lc_lora_dropout_backward_check(args, rules_of(args->ds.dtype), err));
    return args->ds.dtype == LC_BF16
               ? lc_cuda_result(lc_cuda_lora_dropout_backward(args, lc_cuda_of(device)->stream),
                                "lora_dropout_backward", err)
               : dropout_backward_by_products(device, args, err);
}

static lc_code cuda_lora_publish(lc_device *device, const lc_lora_publish_args *args, lc_err *err)
{
    LC_RANGE("lora_publish");
    LC_TRY(lc_lora_publish_check(args, rules_of(args->dtype), err));
    return lc_cuda_result(lc_cuda_lora_publish(args, lc_cuda_of(device)->stream), "lora_publish",
                          err);
}

/* ---- swiglu ---- */

static lc_code cuda_swiglu(lc_device *device, const lc_swiglu_args *args, lc_err *err)
{
    LC_RANGE("swiglu");
    LC_TRY(lc_swiglu_check(args, rules_of(args->y.dtype), err));
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
    return cuda_lora_forward(device, &lora, err);
}

/* Step by step: y for dA of the down projection, the gradients, then dS and dB of gate and up. */
static lc_code swiglu_backward_in_steps(lc_device *device, const lc_swiglu_backward_args *args,
                                        lc_err *err)
{
    const cudaStream_t stream = lc_cuda_of(device)->stream;
    if (args->lora_down != NULL) {
        const lc_swiglu_args again = {.gate_up = args->gate_up, .y = args->lora_down->x};
        LC_TRY(lc_cuda_result(lc_cuda_swiglu(&again, stream), "swiglu", err));
        LC_TRY(cuda_lora_dx(device, args->lora_down, err));
    }
    LC_TRY(lc_cuda_result(lc_cuda_swiglu_backward(args, stream), "swiglu_backward", err));
    if (args->lora_gate_up == NULL) {
        return LC_OK;
    }
    lc_lora_dy_args gate_up = *args->lora_gate_up;
    gate_up.dy = args->gate_up;
    return cuda_lora_dy(device, &gate_up, err);
}

static lc_code cuda_swiglu_backward(lc_device *device, const lc_swiglu_backward_args *args,
                                    lc_err *err)
{
    LC_RANGE("swiglu_backward");
    LC_TRY(lc_swiglu_backward_check(args, rules_of(args->dy.dtype), err));
    const bool has_lora = args->lora_down != NULL || args->lora_gate_up != NULL;
    const bool has_dropout = args->lora_down != NULL && args->lora_down->dropout.p > 0.0f;
    if (!has_lora || has_dropout || args->dy.dtype != LC_BF16) {
        return swiglu_backward_in_steps(device, args, err);
    }
    lc_cuda *cuda = lc_cuda_of(device);
    void *scratch = NULL;
    const lc_lora_parts none = {.count = 0};
    const size_t bytes = lc_cuda_swiglu_backward_lora_scratch(
        args->dy.rows, args->dy.cols, args->lora_down != NULL ? args->lora_down->ds.cols : 0,
        args->lora_gate_up != NULL ? &args->lora_gate_up->parts : &none);
    LC_TRY(take_scratch(cuda, bytes, &scratch, err));
    return lc_cuda_result(lc_cuda_swiglu_backward_lora(args, scratch, cuda->stream),
                          "swiglu_backward_lora", err);
}

/* ---- copies, sums, optimizer ---- */

static lc_code cuda_copy(lc_device *device, lc_mat to, lc_mat from, lc_err *err)
{
    LC_RANGE("copy");
    LC_TRY(lc_copy_check(to, from, err));
    return lc_cuda_result(lc_cuda_copy(to, from, lc_cuda_of(device)->stream), "copy", err);
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
    LC_TRY(take_scratch(cuda, lc_cuda_adamw_scratch(args->count), &scratch, err));
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
    .host_wait = lc_cuda_host_wait,
    .set_workspace = lc_cuda_set_workspace,
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
    .rmsnorm_backward = cuda_rmsnorm_backward,
    .linear = cuda_linear,
    .linear_backward = cuda_linear_backward,
    .lora_forward = cuda_lora_forward,
    .lora_dy = cuda_lora_dy,
    .lora_dx = cuda_lora_dx,
    .lora_dropout_backward = cuda_lora_dropout_backward,
    .lora_publish = cuda_lora_publish,
    .qk_rope = cuda_qk_rope,
    .qk_rope_backward = cuda_qk_rope_backward,
    .attention = cuda_attention,
    .attention_backward = cuda_attention_backward,
    .cache_append = cuda_cache_append,
    .attention_cached = cuda_attention_cached,
    .swiglu = cuda_swiglu,
    .swiglu_backward = cuda_swiglu_backward,
    .gather_rows = cuda_gather_rows,
    .scatter_rows = cuda_scatter_rows,
    .cross_entropy = cuda_cross_entropy,
    .add_sums = cuda_add_sums,
    .adamw = cuda_adamw,
};
