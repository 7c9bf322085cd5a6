/*
 * RMS norms and rotary positions, row by row (formulas in ops.h). The norms over the head dimension
 * of q and k are done together with the rotation.
 */
#include "ops/cpu/cpu.h"

#include <math.h>
#include <string.h>

static float reciprocal_rms(const lc_kernels *kernels, const float *x, int64_t count, float eps)
{
    return 1.0f / sqrtf(kernels->dot(x, x, count) / (float)count + eps);
}

static void rmsnorm_rows(lc_cpu *cpu, const void *context, int64_t first, int64_t end, int worker)
{
    (void)worker;
    const lc_rmsnorm_args *args = context;
    for (int64_t i = first; i < end; i++) {
        const float *x = lc_row_f32(args->x, i);
        const float rstd = reciprocal_rms(cpu->kernels, x, args->x.cols, args->eps);
        cpu->kernels->rmsnorm(x, args->weight, rstd, lc_row_f32(args->y, i), args->x.cols);
        if (args->rstd != NULL) {
            args->rstd[i] = rstd;
        }
    }
}

lc_code lc_cpu_rmsnorm(lc_device *device, const lc_rmsnorm_args *args, lc_err *err)
{
    LC_TRY(lc_rmsnorm_check(args, &lc_cpu_rules, err));
    lc_cpu_rows(lc_cpu_of(device), args->x.rows, 2 * args->x.cols, rmsnorm_rows, args);
    return LC_OK;
}

typedef struct scale_args {
    lc_mat x, y;
    const float *rstd, *weight;
} scale_args;

static void scale_rows(lc_cpu *cpu, const void *context, int64_t first, int64_t end, int worker)
{
    (void)worker;
    const scale_args *args = context;
    for (int64_t i = first; i < end; i++) {
        cpu->kernels->rmsnorm(lc_row_f32(args->x, i), args->weight, args->rstd[i],
                              lc_row_f32(args->y, i), args->x.cols);
    }
}

void lc_cpu_scale_rows(lc_cpu *cpu, lc_mat x, const float *rstd, const float *weight, lc_mat y)
{
    const scale_args args = {x, y, rstd, weight};
    lc_cpu_rows(cpu, x.rows, 2 * x.cols, scale_rows, &args);
}

static void rmsnorm_backward_rows(lc_cpu *cpu, const void *context, int64_t first, int64_t end,
                                  int worker)
{
    (void)worker;
    const lc_rmsnorm_backward_args *args = context;
    for (int64_t i = first; i < end; i++) {
        cpu->kernels->rmsnorm_backward(lc_row_f32(args->dy, i), lc_row_f32(args->x, i),
                                       args->weight, args->rstd[i], true, lc_row_f32(args->dx, i),
                                       args->x.cols);
    }
}

lc_code lc_cpu_rmsnorm_backward(lc_device *device, const lc_rmsnorm_backward_args *args,
                                lc_err *err)
{
    LC_TRY(lc_rmsnorm_backward_check(args, &lc_cpu_rules, err));
    if (args->dropped != NULL) {
        LC_TRY(lc_cpu_lora_dropout_backward(device, args->dropped, err));
    }
    lc_cpu_rows(lc_cpu_of(device), args->x.rows, 4 * args->x.cols, rmsnorm_backward_rows, args);
    return LC_OK;
}

static void rope_rows(lc_cpu *cpu, const void *context, int64_t first, int64_t end, int worker)
{
    (void)worker;
    const lc_qk_rope_args *args = context;
    const lc_kernels *kernels = cpu->kernels;
    const int64_t heads = args->q_heads + args->k_heads, dim = args->head_dim, half = dim / 2;
    for (int64_t i = first; i < end; i++) {
        for (int64_t head = 0; head < heads; head++) {
            const float *x = lc_row_f32(args->x, i) + head * dim;
            float *y = lc_row_f32(args->y, i) + head * dim;
            const float *norm = head < args->q_heads ? args->q_norm : args->k_norm;
            if (norm != NULL) {
                const float rstd = reciprocal_rms(kernels, x, dim, args->eps);
                args->rstd[i * heads + head] = rstd;
                kernels->rmsnorm(x, norm, rstd, y, dim);
                x = y;
            }
            if (args->cos != NULL) {
                kernels->rotate(x, args->cos + i * half, args->sin + i * half, 1.0f, y, half);
            } else if (x != y) {
                memcpy(y, x, (size_t)dim * sizeof *y);
            }
        }
    }
}

lc_code lc_cpu_qk_rope(lc_device *device, const lc_qk_rope_args *args, lc_err *err)
{
    LC_TRY(lc_qk_rope_check(args, &lc_cpu_rules, err));
    lc_cpu_rows(lc_cpu_of(device), args->x.rows, 3 * args->x.cols, rope_rows, args);
    return LC_OK;
}

static void rope_backward_rows(lc_cpu *cpu, const void *context, int64_t first, int64_t end,
                               int worker)
{
    (void)worker;
    const lc_qk_rope_backward_args *args = context;
    const lc_kernels *kernels = cpu->kernels;
    const int64_t heads = args->q_heads + args->k_heads, dim = args->head_dim, half = dim / 2;
    for (int64_t i = first; i < end; i++) {
        for (int64_t head = 0; head < heads; head++) {
            float *dy = lc_row_f32(args->dy, i) + head * dim;
            const float *norm = head < args->q_heads ? args->q_norm : args->k_norm;
            if (args->cos != NULL) {
                kernels->rotate(dy, args->cos + i * half, args->sin + i * half, -1.0f, dy, half);
            }
            if (norm != NULL) {
                kernels->rmsnorm_backward(dy, lc_row_f32(args->x, i) + head * dim, norm,
                                          args->rstd[i * heads + head], false, dy, dim);
            }
        }
    }
}

lc_code lc_cpu_qk_rope_backward(lc_device *device, const lc_qk_rope_backward_args *args,
                                lc_err *err)
{
    LC_TRY(lc_qk_rope_backward_check(args, &lc_cpu_rules, err));
    lc_cpu_rows(lc_cpu_of(device), args->dy.rows, 4 * args->dy.cols, rope_backward_rows, args);
    return args->lora != NULL ? lc_cpu_lora_dy(device, args->lora, err) : LC_OK;
}
