/*
 * The linear layers and their adapters (the bordered weight, ops.h): every product goes through
 * lc_cpu_gemm, dropout masks are made row by row from Philox.
 */
#include "ops/cpu/cpu.h"

#include <math.h>

/* LC_MODULE_COUNT of the model layer; part of the mask's definition (lc_dropout). */
#define MODULES_PER_LAYER 7

lc_code lc_cpu_linear(lc_device *device, const lc_linear_args *args, lc_err *err)
{
    LC_TRY(lc_linear_check(args, &lc_cpu_rules, err));
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

typedef struct drop_args {
    const lc_dropout *dropout;
    int32_t module;
    lc_mat from, to;
    bool accumulate;
} drop_args;

static void drop_rows(lc_cpu *cpu, const void *context, int64_t first, int64_t end, int worker)
{
    (void)worker;
    const drop_args *args = context;
    const lc_dropout *dropout = args->dropout;
    lc_mask_row mask = {
        .key = {dropout->key[0], dropout->key[1]},
        .counter = {0, 0, (uint32_t)(dropout->layer * MODULES_PER_LAYER + args->module)},
        .threshold = (uint32_t)ceil((double)dropout->p * 4294967296.0),
        .scale = (float)(1.0 / (1.0 - (double)dropout->p))};
    for (int64_t i = first; i < end; i++) {
        mask.counter[0] = (uint32_t)(uint64_t)dropout->example[i];
        mask.counter[1] = (uint32_t)dropout->position[i];
        cpu->kernels->dropout(lc_row_f32(args->from, i), lc_row_f32(args->to, i), args->from.cols,
                              &mask, args->accumulate);
    }
}

/* to (+)= drop(from), by the mask of one module */
static void drop(lc_cpu *cpu, const lc_dropout *dropout, int32_t module, lc_mat from, lc_mat to,
                 bool accumulate)
{
    const drop_args args = {dropout, module, from, to, accumulate};
    lc_cpu_rows(cpu, from.rows, 4 * from.cols, drop_rows, &args);
}

/* The parts of a product with one mask each; without dropout one part that has all slots. */
static lc_lora_parts masked_parts(const lc_lora_parts *parts, const lc_dropout *dropout)
{
    lc_lora_parts one = *parts;
    if (dropout->p > 0.0f) {
        return one;
    }
    for (int32_t i = 1; i < parts->count; i++) {
        one.part[0].width += parts->part[i].width;
    }
    one.count = 1;
    return one;
}

/* x itself without dropout, else its dropped copy. */
static lc_mat dropped(lc_cpu *cpu, const lc_dropout *dropout, int32_t module, lc_mat x,
                      lc_mat scratch)
{
    if (dropout->p <= 0.0f) {
        return x;
    }
    drop(cpu, dropout, module, x, scratch, false);
    return scratch;
}

static lc_mat columns(lc_mat mat, int64_t first, int64_t count)
{
    return lc_mat_view(mat, 0, first, mat.rows, count);
}

static void lora_forward(lc_cpu *cpu, lc_mat x, const lc_lora_forward_args *args)
{
    const lc_lora_parts parts = masked_parts(&args->parts, &args->dropout);
    for (int32_t i = 0; i < parts.count; i++) {
        const lc_lora_part *part = &parts.part[i];
        lc_cpu_gemm(cpu,
                    &(lc_gemm){.ta = 'N',
                               .tb = 'T',
                               .m = x.rows,
                               .n = part->width,
                               .k = x.cols,
                               .alpha = 1.0f,
                               .a = dropped(cpu, &args->dropout, part->module, x, args->x_dropped),
                               .b = lc_mat_view(args->a, part->slot, 0, part->width, x.cols),
                               .c = columns(args->s, part->slot, part->width)});
    }
    if (args->saved.data != NULL) {
        lc_cpu_copy(cpu, args->saved, args->s);
    }
}

lc_code lc_cpu_lora_forward(lc_device *device, const lc_lora_forward_args *args, lc_err *err)
{
    LC_TRY(lc_lora_forward_check(args, &lc_cpu_rules, err));
    lora_forward(lc_cpu_of(device), args->x, args);
    return LC_OK;
}

static void lora_dy(lc_cpu *cpu, lc_mat dy, const lc_lora_dy_args *args)
{
    for (int32_t i = 0; i < args->parts.count; i++) {
        const lc_lora_part *part = &args->parts.part[i];
        const lc_mat from = columns(dy, part->row, part->out);
        lc_cpu_gemm(cpu, &(lc_gemm){.ta = 'N',
                                    .tb = 'N',
                                    .m = dy.rows,
                                    .n = part->width,
                                    .k = part->out,
                                    .alpha = 1.0f,
                                    .a = from,
                                    .b = lc_mat_view(args->sb, part->row, part->slot, part->out,
                                                     part->width),
                                    .c = columns(args->ds, part->slot, part->width)});
        lc_cpu_gemm(cpu, &(lc_gemm){.ta = 'T',
                                    .tb = 'N',
                                    .m = part->out,
                                    .n = part->width,
                                    .k = dy.rows,
                                    .alpha = part->scale,
                                    .a = from,
                                    .b = columns(args->s, part->slot, part->width),
                                    .c = lc_mat_f32(part->db, part->out, part->width, part->width),
                                    .accumulate = true});
    }
}

lc_code lc_cpu_linear_backward(lc_device *device, const lc_linear_backward_args *args, lc_err *err)
{
    LC_TRY(lc_linear_backward_check(args, &lc_cpu_rules, err));
    lc_cpu *cpu = lc_cpu_of(device);
    if (args->lora != NULL) {
        const int64_t out = args->dy.cols - args->tail;
        lora_dy(cpu, lc_mat_view(args->dy, 0, 0, args->dy.rows, out), args->lora);
    }
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

lc_code lc_cpu_lora_dy(lc_device *device, const lc_lora_dy_args *args, lc_err *err)
{
    LC_TRY(lc_lora_dy_check(args, &lc_cpu_rules, err));
    lora_dy(lc_cpu_of(device), args->dy, args);
    return LC_OK;
}

static void lora_dx(lc_cpu *cpu, const lc_lora_dx_args *args)
{
    const lc_lora_parts parts = masked_parts(&args->parts, &args->dropout);
    const int64_t in = args->x.cols;
    lc_mat x = args->x;
    if (args->rstd != NULL) {
        lc_cpu_scale_rows(cpu, args->x, args->rstd, args->norm_weight, args->normed);
        x = args->normed;
    }
    for (int32_t i = 0; i < parts.count; i++) {
        const lc_lora_part *part = &parts.part[i];
        lc_cpu_gemm(cpu,
                    &(lc_gemm){.ta = 'T',
                               .tb = 'N',
                               .m = part->width,
                               .n = in,
                               .k = x.rows,
                               .alpha = 1.0f,
                               .a = columns(args->ds, part->slot, part->width),
                               .b = dropped(cpu, &args->dropout, part->module, x, args->x_dropped),
                               .c = lc_mat_f32(args->da + part->slot * in, part->width, in, in),
                               .accumulate = true});
    }
}

lc_code lc_cpu_lora_dx(lc_device *device, const lc_lora_dx_args *args, lc_err *err)
{
    LC_TRY(lc_lora_dx_check(args, &lc_cpu_rules, err));
    lora_dx(lc_cpu_of(device), args);
    return LC_OK;
}

lc_code lc_cpu_lora_dropout_backward(lc_device *device, const lc_lora_dropout_backward_args *args,
                                     lc_err *err)
{
    LC_TRY(lc_lora_dropout_backward_check(args, &lc_cpu_rules, err));
    lc_cpu *cpu = lc_cpu_of(device);
    for (int32_t i = 0; i < args->parts.count; i++) {
        const lc_lora_part *part = &args->parts.part[i];
        lc_cpu_gemm(cpu,
                    &(lc_gemm){.ta = 'N',
                               .tb = 'N',
                               .m = args->ds.rows,
                               .n = args->a.cols,
                               .k = part->width,
                               .alpha = 1.0f,
                               .a = columns(args->ds, part->slot, part->width),
                               .b = lc_mat_view(args->a, part->slot, 0, part->width, args->a.cols),
                               .c = args->product});
        drop(cpu, &args->dropout, part->module, args->product, args->dx, true);
    }
    return LC_OK;
}

lc_code lc_cpu_swiglu(lc_device *device, const lc_swiglu_args *args, lc_err *err)
{
    LC_TRY(lc_swiglu_check(args, &lc_cpu_rules, err));
    lc_cpu *cpu = lc_cpu_of(device);
    lc_cpu_gate(cpu, args->gate_up, args->y);
    if (args->lora != NULL) {
        lora_forward(cpu, args->y, args->lora);
    }
    return LC_OK;
}

lc_code lc_cpu_swiglu_backward(lc_device *device, const lc_swiglu_backward_args *args, lc_err *err)
{
    LC_TRY(lc_swiglu_backward_check(args, &lc_cpu_rules, err));
    lc_cpu *cpu = lc_cpu_of(device);
    if (args->dropped != NULL) {
        LC_TRY(lc_cpu_lora_dropout_backward(device, args->dropped, err));
    }
    if (args->lora_down != NULL) {
        lc_cpu_gate(cpu, args->gate_up, args->lora_down->x);
        lora_dx(cpu, args->lora_down);
    }
    lc_cpu_gate_backward(cpu, args->dy, args->gate_up);
    if (args->lora_gate_up != NULL) {
        lora_dy(cpu, args->gate_up, args->lora_gate_up);
    }
    return LC_OK;
}

static void publish_rows(const float *from, int64_t rows, int64_t cols, float scale, lc_mat to)
{
    for (int64_t i = 0; i < rows; i++) {
        const float *row = from + i * cols;
        for (int64_t j = 0; j < cols; j++) {
            if (to.dtype == LC_BF16) {
                ((uint16_t *)to.data)[lc_mat_at(to, i, j)] = lc_f32_to_bf16(row[j] * scale);
            } else {
                ((float *)to.data)[lc_mat_at(to, i, j)] = row[j] * scale;
            }
        }
    }
}

static void publish_task(void *context, int64_t index, int worker)
{
    (void)worker;
    const lc_lora_publish_args *args = context;
    const lc_publish_slot *slot = &args->slots[index];
    const lc_mat a = {slot->w_a, slot->width, slot->in, slot->ld, args->dtype, slot->strip};
    const lc_mat b = {slot->w_b, slot->out, slot->width, slot->ld, args->dtype, slot->strip};
    publish_rows(slot->a, slot->width, slot->in, 1.0f, a);
    publish_rows(slot->b, slot->out, slot->width, slot->scale, b);
}

lc_code lc_cpu_lora_publish(lc_device *device, const lc_lora_publish_args *args, lc_err *err)
{
    LC_TRY(lc_lora_publish_check(args, &lc_cpu_rules, err));
    lc_lora_publish_args job = *args;
    lc_cpu_run(lc_cpu_of(device), args->count, publish_task, &job);
    return LC_OK;
}
