/*
 * Linear layers and their adapters (the bordered weight, lorac/ops.h). Most of it can be done in
 * several ways, of which the tuning table names one for each class of shapes (ways.h); the first is
 * the rule:
 *
 *   S, dS with dB, dA           a pass of our kernels, or small products of the library
 *   Y, dX                       one product over the border too; or base and border apart, the
 *                               second added to the first
 *   dX with dS                  also: dS as more columns of dX, whose border is then added
 *   a norm's backward pass      with dropout: what the border's product lacks taken along, or added
 *                               by a pass before
 *
 * F32, which exists for parity, takes products.
 */
#include "cuda.h"
#include "range.h"
#include "tuning.h"
#include "ways.h"

static lc_code run(lc_device *device, const lc_cuda_gemm *gemm, lc_err *err)
{
    lc_cuda *cuda = lc_cuda_of(device);
    return lc_cuda_gemm_run(&cuda->gemms, gemm, cuda->stream, err);
}

static lc_mat columns(lc_mat mat, int64_t first, int64_t count)
{
    return lc_mat_view(mat, 0, first, mat.rows, count);
}

/* The way of this class of shapes; F32 has but one. */
static lc_code take_way(lc_cuda *cuda, lc_cuda_site site, lc_mat rows, int64_t in, int64_t out,
                        const lc_lora_parts *parts, lc_cuda_way *way, lc_err *err)
{
    const int64_t count = cuda->gemms.rows_alone ? LC_CUDA_ROWS_OF_ANY : rows.rows;
    const lc_cuda_way_key key = lc_cuda_way_class(site, count, in, out, parts);
    if (rows.dtype != LC_BF16) {
        *way = LC_WAY_PRODUCTS;
        return LC_OK;
    }
    return lc_cuda_take_way(&cuda->gemms.choices, &key, way, err);
}

/* ---- S ---- */

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

lc_code lc_cuda_op_lora_forward(lc_device *device, const lc_lora_forward_args *args, lc_err *err)
{
    LC_RANGE("lora_forward");
    LC_TRY(lc_lora_forward_check(args, lc_cuda_rules_of(args->x.dtype), err));
    lc_cuda *cuda = lc_cuda_of(device);
    lc_cuda_way way;
    LC_TRY(take_way(cuda, LC_SITE_LORA_FORWARD, args->x, args->x.cols, 0, &args->parts, &way, err));
    return way == LC_WAY_KERNEL
               ? lc_cuda_result(lc_cuda_lora_forward(args, cuda->stream), "lora_forward", err)
               : lora_forward_by_products(device, args->x, args, err);
}

/* ---- the output side ---- */

static lc_code ds_by_products(lc_device *device, lc_mat dy, const lc_lora_dy_args *args,
                              lc_err *err)
{
    for (int32_t i = 0; i < args->parts.count; i++) {
        const lc_lora_part *part = &args->parts.part[i];
        LC_TRY(run(device,
                   &(lc_cuda_gemm){
                       .ta = 'N',
                       .tb = 'N',
                       .m = dy.rows,
                       .n = part->width,
                       .k = part->out,
                       .alpha = 1.0f,
                       .a = columns(dy, part->row, part->out),
                       .b = lc_mat_view(args->sb, part->row, part->slot, part->out, part->width),
                       .c = columns(args->ds, part->slot, part->width)},
                   err));
    }
    return LC_OK;
}

static lc_code db_by_products(lc_device *device, lc_mat dy, const lc_lora_dy_args *args,
                              lc_err *err)
{
    for (int32_t i = 0; i < args->parts.count; i++) {
        const lc_lora_part *part = &args->parts.part[i];
        const lc_mat db = lc_mat_f32(part->db, part->out, part->width, part->width);
        LC_TRY(run(device,
                   &(lc_cuda_gemm){.ta = 'T',
                                   .tb = 'N',
                                   .m = part->out,
                                   .n = part->width,
                                   .k = dy.rows,
                                   .alpha = part->scale,
                                   .a = columns(dy, part->row, part->out),
                                   .b = columns(args->s, part->slot, part->width),
                                   .addend = db,
                                   .c = db},
                   err));
    }
    return LC_OK;
}

/* dy: the columns that are no border. */
static lc_code lora_dy(lc_device *device, lc_mat dy, const lc_lora_dy_args *args, lc_err *err)
{
    lc_cuda *cuda = lc_cuda_of(device);
    lc_lora_dy_args named = *args;
    lc_cuda_way way;
    void *scratch = NULL;
    LC_TRY(take_way(cuda, LC_SITE_LORA_DY, dy, 0, dy.cols, &args->parts, &way, err));
    if (way == LC_WAY_PRODUCTS) {
        LC_TRY(ds_by_products(device, dy, args, err));
        return db_by_products(device, dy, args, err);
    }
    named.dy = dy;
    LC_TRY(lc_cuda_take_scratch(cuda, lc_cuda_lora_dy_scratch(dy.rows, dy.cols, &args->parts),
                                &scratch, err));
    return lc_cuda_result(lc_cuda_lora_dy(&named, scratch, cuda->stream), "lora_dy", err);
}

lc_code lc_cuda_op_lora_dy(lc_device *device, const lc_lora_dy_args *args, lc_err *err)
{
    LC_RANGE("lora_dy");
    LC_TRY(lc_lora_dy_check(args, lc_cuda_rules_of(args->dy.dtype), err));
    return lora_dy(device, args->dy, args, err);
}

lc_code lc_cuda_op_qk_rope_backward(lc_device *device, const lc_qk_rope_backward_args *args,
                                    lc_err *err)
{
    LC_RANGE("qk_rope_backward");
    LC_TRY(lc_qk_rope_backward_check(args, lc_cuda_rules_of(args->dy.dtype), err));
    lc_cuda *cuda = lc_cuda_of(device);
    const lc_lora_dy_args *lora = args->lora;
    lc_cuda_way way = LC_WAY_PRODUCTS;
    void *scratch = NULL;
    if (lora != NULL) {
        LC_TRY(
            take_way(cuda, LC_SITE_LORA_DY, lora->dy, 0, lora->dy.cols, &lora->parts, &way, err));
    }
    if (way != LC_WAY_KERNEL || !lc_cuda_can_turn(args)) {
        LC_TRY(
            lc_cuda_result(lc_cuda_qk_rope_backward(args, cuda->stream), "qk_rope_backward", err));
        return lora != NULL ? lora_dy(device, lora->dy, lora, err) : LC_OK;
    }
    LC_TRY(lc_cuda_take_scratch(
        cuda, lc_cuda_lora_dy_scratch(lora->dy.rows, lora->dy.cols, &lora->parts), &scratch, err));
    return lc_cuda_result(lc_cuda_rope_lora_dy(args, scratch, cuda->stream), "rope_lora_dy", err);
}

/* ---- the input side ---- */

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

lc_code lc_cuda_op_lora_dx(lc_device *device, const lc_lora_dx_args *args, lc_err *err)
{
    LC_RANGE("lora_dx");
    LC_TRY(lc_lora_dx_check(args, lc_cuda_rules_of(args->x.dtype), err));
    lc_cuda *cuda = lc_cuda_of(device);
    lc_cuda_way way;
    void *scratch = NULL;
    LC_TRY(take_way(cuda, args->rstd != NULL ? LC_SITE_LORA_DX_NORMED : LC_SITE_LORA_DX, args->x,
                    args->x.cols, 0, &args->parts, &way, err));
    if (way == LC_WAY_PRODUCTS) {
        return lora_dx_by_products(device, args, err);
    }
    LC_TRY(lc_cuda_take_scratch(
        cuda, lc_cuda_lora_dx_scratch(args->x.rows, args->x.cols, args->ds.cols), &scratch, err));
    return lc_cuda_result(lc_cuda_lora_dx(args, scratch, cuda->stream), "lora_dx", err);
}

/* ---- Y ---- */

/* y = x w^T + addend (+ bias) over `count` columns of x and w from `first` on. */
static lc_code forward_product(lc_device *device, const lc_linear_args *args, int64_t first,
                               int64_t count, const void *bias, lc_mat addend, lc_err *err)
{
    return run(device,
               &(lc_cuda_gemm){.ta = 'N',
                               .tb = 'T',
                               .m = args->x.rows,
                               .n = args->w.rows,
                               .k = count,
                               .alpha = 1.0f,
                               .a = columns(args->x, first, count),
                               .b = columns(args->w, first, count),
                               .bias = bias,
                               .addend = addend,
                               .c = args->y},
               err);
}

lc_code lc_cuda_op_linear(lc_device *device, const lc_linear_args *args, lc_err *err)
{
    LC_RANGE("linear");
    LC_TRY(lc_linear_check(args, lc_cuda_rules_of(args->x.dtype), err));
    const int64_t tail = args->tail, in = args->x.cols - tail;
    lc_cuda_way way = LC_WAY_BORDERED;
    if (tail > 0) {
        LC_TRY(take_way(lc_cuda_of(device), LC_SITE_LINEAR, args->x, in, args->w.rows,
                        &(lc_lora_parts){.count = 1, .part = {{.width = (int32_t)tail}}}, &way,
                        err));
    }
    if (way != LC_WAY_APART) {
        return forward_product(device, args, 0, in + tail, args->bias, args->addend, err);
    }
    LC_TRY(forward_product(device, args, 0, in, args->bias, args->addend, err));
    return forward_product(device, args, in, tail, NULL, args->y, err);
}

/* ---- dX ---- */

/* dx (+)= dy w over `count` columns of dy and rows of w from `first` on. */
static lc_code backward_product(lc_device *device, const lc_linear_backward_args *args,
                                int64_t first, int64_t count, bool accumulate, lc_err *err)
{
    const lc_mat none = {.data = NULL};
    return run(device,
               &(lc_cuda_gemm){.ta = 'N',
                               .tb = 'N',
                               .m = args->dy.rows,
                               .n = args->w.cols,
                               .k = count,
                               .alpha = 1.0f,
                               .a = columns(args->dy, first, count),
                               .b = lc_mat_view(args->w, first, 0, count, args->w.cols),
                               .addend = accumulate ? args->dx : none,
                               .c = args->dx},
               err);
}

/* [dX|dS] = dY [W|sB] can be had: sB lies behind W, and there is room behind dX. */
static bool can_widen(const lc_linear_backward_args *args)
{
    const int64_t in = args->w.cols;
    const size_t element = lc_dtype_bytes(args->dx.dtype);
    return args->lora != NULL && args->tail > 0 && !args->accumulate &&
           args->dx_tail.data == (char *)args->dx.data + (size_t)in * element &&
           args->dx_tail.ld == args->dx.ld && args->lora->sb.ld == args->w.ld &&
           args->lora->sb.data == (char *)args->w.data + (size_t)in * element;
}

static lc_code backward_widened(lc_device *device, const lc_linear_backward_args *args, lc_err *err)
{
    const int64_t in = args->w.cols, tail = args->tail, out = args->dy.cols - tail;
    lc_linear_backward_args wide = *args;
    wide.w = lc_mat_view(args->w, 0, 0, out, in);
    wide.w.cols = wide.dx.cols = in + tail;
    LC_TRY(backward_product(device, &wide, 0, out, false, err));
    LC_TRY(lc_cuda_result(lc_cuda_copy(args->lora->ds, args->dx_tail, lc_cuda_of(device)->stream),
                          "copy", err));
    LC_TRY(db_by_products(device, columns(args->dy, 0, out), args->lora, err));
    return backward_product(device, args, out, tail, true, err);
}

lc_code lc_cuda_op_linear_backward(lc_device *device, const lc_linear_backward_args *args,
                                   lc_err *err)
{
    LC_RANGE("linear_backward");
    LC_TRY(lc_linear_backward_check(args, lc_cuda_rules_of(args->dy.dtype), err));
    const int64_t tail = args->tail, out = args->dy.cols - tail;
    lc_cuda_way way = LC_WAY_BORDERED;
    if (tail > 0) {
        const lc_lora_parts border = {.count = 1, .part = {{.width = (int32_t)tail}}};
        LC_TRY(take_way(lc_cuda_of(device), LC_SITE_LINEAR_BACKWARD, args->dy, args->w.cols, out,
                        args->lora != NULL ? &args->lora->parts : &border, &way, err));
    }
    if (way == LC_WAY_WIDENED && can_widen(args)) {
        return backward_widened(device, args, err);
    }
    if (args->lora != NULL) {
        LC_TRY(lora_dy(device, columns(args->dy, 0, out), args->lora, err));
    }
    if (way != LC_WAY_APART) {
        return backward_product(device, args, 0, out + tail, args->accumulate, err);
    }
    LC_TRY(backward_product(device, args, 0, out, args->accumulate, err));
    return backward_product(device, args, out, tail, true, err);
}

/* ---- dropout, borders ---- */

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

lc_code lc_cuda_op_lora_dropout_backward(lc_device *device,
                                         const lc_lora_dropout_backward_args *args, lc_err *err)
{
    LC_RANGE("lora_dropout_backward");
    LC_TRY(lc_lora_dropout_backward_check(args, lc_cuda_rules_of(args->ds.dtype), err));
    return args->ds.dtype == LC_BF16
               ? lc_cuda_result(lc_cuda_lora_dropout_backward(args, lc_cuda_of(device)->stream),
                                "lora_dropout_backward", err)
               : dropout_backward_by_products(device, args, err);
}

/* Where the norm's pass takes the other along, by the table or, first, always: it spares a reading
 * and a writing of dy and a launch, and reads A for 16 or 32 rows at once instead of 64, from the
 * second-level cache. The bytes are the same. */
static lc_code drops_on_the_way(lc_cuda *cuda, const lc_rmsnorm_backward_args *args, bool *out,
                                lc_err *err)
{
    lc_cuda_way way = LC_WAY_APART;
    if (lc_cuda_can_drop_norm(args)) {
        LC_TRY(take_way(cuda, LC_SITE_NORM_BACKWARD, args->dy, args->dy.cols, 0,
                        &args->dropped->parts, &way, err));
    }
    *out = way == LC_WAY_FUSED;
    return LC_OK;
}

lc_code lc_cuda_op_rmsnorm_backward(lc_device *device, const lc_rmsnorm_backward_args *args,
                                    lc_err *err)
{
    LC_RANGE("rmsnorm_backward");
    LC_TRY(lc_rmsnorm_backward_check(args, lc_cuda_rules_of(args->dy.dtype), err));
    lc_cuda *cuda = lc_cuda_of(device);
    bool is_fused = false;
    if (args->dropped != NULL) {
        LC_TRY(drops_on_the_way(cuda, args, &is_fused, err));
        if (!is_fused) {
            LC_TRY(lc_cuda_op_lora_dropout_backward(device, args->dropped, err));
        }
    }
    return is_fused ? lc_cuda_result(lc_cuda_rmsnorm_backward_lora(args, cuda->stream),
                                     "rmsnorm_backward_lora", err)
                    : lc_cuda_result(lc_cuda_rmsnorm_backward(args, cuda->stream),
                                     "rmsnorm_backward", err);
}

lc_code lc_cuda_op_lora_publish(lc_device *device, const lc_lora_publish_args *args, lc_err *err)
{
    LC_RANGE("lora_publish");
    LC_TRY(lc_lora_publish_check(args, lc_cuda_rules_of(args->dtype), err));
    return lc_cuda_result(lc_cuda_lora_publish(args, lc_cuda_of(device)->stream), "lora_publish",
                          err);
}
