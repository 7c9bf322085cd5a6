/*
 * The linear layers and their adapters (the bordered weight, ops.h): every product goes through
 * lc_cpu_gemm, dropout masks are made row by row from Philox.
 */
#include "ops/check.h"
#include "ops/cpu/cpu.h"

#include <math.h>
#include <string.h>

#include "lorac/mem.h"

/* LC_MODULE_COUNT of the model layer; part of the mask's definition (lc_dropout). */
#define MODULES_PER_LAYER 7

lc_code lc_cpu_linear(lc_device *device, const lc_linear_args *args, lc_err *err)
{
    LC_TRY(lc_linear_check(args, err));
    lc_cpu *cpu = lc_cpu_of(device);
    lc_cpu_gemm(cpu, &(lc_gemm){.ta = 'N',
                                .tb = 'T',
                                .m = args->x.rows,
                                .n = args->w.rows,
                                .k = args->x.cols,
                                .alpha = 1.0f,
                                .a = args->x,
                                .b = args->w,
                                .bias = args->bias,
                                .addend = args->addend,
                                .c = args->y});
    return LC_OK;
}

lc_code lc_cpu_linear_backward(lc_device *device, const lc_linear_backward_args *args, lc_err *err)
{
    LC_TRY(lc_linear_backward_check(args, err));
    lc_cpu *cpu = lc_cpu_of(device);
    lc_cpu_gemm(cpu, &(lc_gemm){.ta = 'N',
                                .tb = 'N',
                                .m = args->dy.rows,
                                .n = args->w.cols,
                                .k = args->dy.cols,
                                .alpha = 1.0f,
                                .a = args->dy,
                                .b = args->w,
                                .c = args->dx,
                                .accumulate = args->accumulate});
    return LC_OK;
}

typedef struct drop_args {
    const lc_dropout *dropout;
    lc_mat from, to;
    bool accumulate;
} drop_args;

static void drop_rows(lc_cpu *cpu, const void *context, int64_t first, int64_t end, int worker)
{
    (void)worker;
    const drop_args *args = context;
    const lc_dropout *dropout = args->dropout;
    lc_mask_row mask = {
        .key = {dropout->seed, dropout->step},
        .counter = {0, 0, (uint32_t)(dropout->layer * MODULES_PER_LAYER + dropout->module)},
        .threshold = (uint32_t)ceil((double)dropout->p * 4294967296.0),
        .scale = (float)(1.0 / (1.0 - (double)dropout->p))};
    for (int64_t i = first; i < end; i++) {
        mask.counter[0] = (uint32_t)(uint64_t)dropout->example[i];
        mask.counter[1] = (uint32_t)dropout->position[i];
        cpu->kernels->dropout(lc_row_f32(args->from, i), lc_row_f32(args->to, i), args->from.cols,
                              &mask, args->accumulate);
    }
}

/* to (+)= drop(from) */
static void drop(lc_cpu *cpu, const lc_dropout *dropout, lc_mat from, lc_mat to, bool accumulate)
{
    const drop_args args = {dropout, from, to, accumulate};
    lc_cpu_rows(cpu, from.rows, 4 * from.cols, drop_rows, &args);
}

/* x itself without dropout, else its dropped copy. */
static lc_mat dropped(lc_cpu *cpu, const lc_dropout *dropout, lc_mat x, lc_mat scratch)
{
    if (dropout->p <= 0.0f) {
        return x;
    }
    drop(cpu, dropout, x, scratch, false);
    return scratch;
}

lc_code lc_cpu_lora_forward(lc_device *device, const lc_lora_forward_args *args, lc_err *err)
{
    LC_TRY(lc_lora_forward_check(args, err));
    lc_cpu *cpu = lc_cpu_of(device);
    lc_cpu_gemm(cpu, &(lc_gemm){.ta = 'N',
                                .tb = 'T',
                                .m = args->x.rows,
                                .n = args->a.rows,
                                .k = args->x.cols,
                                .alpha = 1.0f,
                                .a = dropped(cpu, &args->dropout, args->x, args->x_dropped),
                                .b = args->a,
                                .c = args->s});
    return LC_OK;
}

lc_code lc_cpu_lora_dy(lc_device *device, const lc_lora_dy_args *args, lc_err *err)
{
    LC_TRY(lc_lora_dy_check(args, err));
    lc_cpu *cpu = lc_cpu_of(device);
    lc_cpu_gemm(cpu, &(lc_gemm){.ta = 'N',
                                .tb = 'N',
                                .m = args->dy.rows,
                                .n = args->sb.cols,
                                .k = args->dy.cols,
                                .alpha = 1.0f,
                                .a = args->dy,
                                .b = args->sb,
                                .c = args->ds});
    lc_cpu_gemm(cpu, &(lc_gemm){.ta = 'T',
                                .tb = 'N',
                                .m = args->dy.cols,
                                .n = args->s.cols,
                                .k = args->dy.rows,
                                .alpha = args->scale,
                                .a = args->dy,
                                .b = args->s,
                                .c = args->db,
                                .accumulate = true});
    return LC_OK;
}

lc_code lc_cpu_lora_dx(lc_device *device, const lc_lora_dx_args *args, lc_err *err)
{
    LC_TRY(lc_lora_dx_check(args, err));
    lc_cpu *cpu = lc_cpu_of(device);
    lc_cpu_gemm(cpu, &(lc_gemm){.ta = 'T',
                                .tb = 'N',
                                .m = args->ds.cols,
                                .n = args->x.cols,
                                .k = args->x.rows,
                                .alpha = 1.0f,
                                .a = args->ds,
                                .b = dropped(cpu, &args->dropout, args->x, args->x_dropped),
                                .c = args->da,
                                .accumulate = true});
    return LC_OK;
}

lc_code lc_cpu_lora_dropout_backward(lc_device *device, const lc_lora_dropout_backward_args *args,
                                     lc_err *err)
{
    LC_TRY(lc_lora_dropout_backward_check(args, err));
    lc_cpu *cpu = lc_cpu_of(device);
    lc_cpu_gemm(cpu, &(lc_gemm){.ta = 'N',
                                .tb = 'N',
                                .m = args->ds.rows,
                                .n = args->a.cols,
                                .k = args->ds.cols,
                                .alpha = 1.0f,
                                .a = args->ds,
                                .b = args->a,
                                .c = args->product});
    drop(cpu, &args->dropout, args->product, args->dx, true);
    return LC_OK;
}

typedef struct publish_args {
    lc_mat from, to;
    float scale;
} publish_args;

static void publish_rows(lc_cpu *cpu, const void *context, int64_t first, int64_t end, int worker)
{
    (void)cpu;
    (void)worker;
    const publish_args *args = context;
    for (int64_t i = first; i < end; i++) {
        const float *from = lc_row_f32(args->from, i);
        if (args->to.dtype == LC_BF16) {
            uint16_t *to = (uint16_t *)args->to.data + i * args->to.ld;
            for (int64_t j = 0; j < args->from.cols; j++) {
                to[j] = lc_f32_to_bf16(from[j] * args->scale);
            }
        } else {
            float *to = lc_row_f32(args->to, i);
            for (int64_t j = 0; j < args->from.cols; j++) {
                to[j] = from[j] * args->scale;
            }
        }
    }
}

lc_code lc_cpu_lora_publish(lc_device *device, const lc_lora_publish_args *args, lc_err *err)
{
    LC_TRY(lc_lora_publish_check(args, err));
    const publish_args a = {args->a, args->w_a, 1.0f}, b = {args->b, args->w_b, args->scale};
    lc_cpu_rows(lc_cpu_of(device), a.from.rows, 2 * a.from.cols, publish_rows, &a);
    lc_cpu_rows(lc_cpu_of(device), b.from.rows, 2 * b.from.cols, publish_rows, &b);
    return LC_OK;
}
