/* Op cases: linear layers and their adapters. */
#include "cases_draw.h"

/* Every third case sums over more than the longest panel of a staged weight. */
static void draw_product(const op_case *c, int64_t *rows, int64_t *summed, int64_t *cols)
{
    const bool is_long = c->trial % 3 == 0;
    *summed = is_long ? test_int(1025, 1400) : any_size(300);
    *rows = any_size(is_long ? 100 : 280);
    *cols = any_size(is_long ? 100 : 300);
}

/* addend: 0 none, 1 another matrix, 2 y itself. */
void draw_linear(op_case *c)
{
    int64_t n, k, out;
    draw_product(c, &n, &k, &out);
    const lc_dtype dtype = c->trial == 0 ? LC_BF16 : any_weight();
    const int64_t addend = c->trial == 0 ? 0 : test_int(0, 2);
    const bool bias = c->trial > 0 && test_int(0, 1) == 0;
    DESCRIBE(c, "N %d K %d out %d w %s addend %d bias %d", (int)n, (int)k, (int)out,
             lc_dtype_name(dtype), (int)addend, bias);
    add_mat(c, "x", ROLE_IN, LC_F32, n, k, -1, 1);
    add_mat(c, "w", ROLE_IN, dtype, out, k, -1, 1);
    add_mat(c, "y", addend == 2 ? ROLE_ACC : ROLE_OUT, LC_F32, n, out, -1, 1);
    c->number[0] = addend == 1   ? add_mat(c, "addend", ROLE_IN, LC_F32, n, out, -1, 1)
                   : addend == 2 ? 2
                                 : -1;
    c->number[1] = bias ? add_array(c, "bias", ROLE_IN, LC_F32, out, -1, 1) : -1;
}

lc_code run_linear(op_case *c, lc_device *device, lc_err *err)
{
    const lc_linear_args args = {.x = view(c, 0),
                                 .w = view(c, 1),
                                 .y = view(c, 2),
                                 .addend = view(c, (int)c->number[0]),
                                 .bias = pointer(c, (int)c->number[1])};
    ON_DEVICE(linear, args)
    ref_linear(&args);
    return LC_OK;
}

void draw_linear_backward(op_case *c)
{
    int64_t n, out, in;
    draw_product(c, &n, &out, &in);
    const lc_dtype dtype = c->trial == 0 ? LC_BF16 : any_weight();
    c->number[0] = c->trial == 0 ? 0 : test_int(0, 1);
    DESCRIBE(c, "N %d M %d in %d w %s accumulate %d", (int)n, (int)out, (int)in,
             lc_dtype_name(dtype), (int)c->number[0]);
    add_mat(c, "dy", ROLE_IN, LC_F32, n, out, -1, 1);
    add_mat(c, "w", ROLE_IN, dtype, out, in, -1, 1);
    add_mat(c, "dx", c->number[0] != 0 ? ROLE_ACC : ROLE_OUT, LC_F32, n, in, -1, 1);
}

lc_code run_linear_backward(op_case *c, lc_device *device, lc_err *err)
{
    const lc_linear_backward_args args = {
        .dy = view(c, 0), .w = view(c, 1), .dx = view(c, 2), .accumulate = c->number[0] != 0};
    ON_DEVICE(linear_backward, args)
    ref_linear_backward(&args);
    return LC_OK;
}

static int64_t any_rank(void)
{
    static const int64_t ranks[] = {1, 5, 16, 16, 32, 48, 64};
    return ranks[test_int(0, 6)];
}

/* Draws a mask and adds its row keys as tensors `at` and `at`+1, or none at all. */
static void draw_dropout(op_case *c, int64_t n, bool always)
{
    c->number[6] = -1;
    c->dropout = (lc_dropout){0};
    if (!always && test_int(0, 1) == 0) {
        return;
    }
    c->dropout = (lc_dropout){.p = test_int(0, 1) == 0 ? 0.1f : (float)test_uniform(0.0, 0.95),
                              .seed = (uint32_t)test_int(0, UINT32_MAX),
                              .step = (uint32_t)test_int(0, 100000),
                              .layer = (int32_t)test_int(0, 100),
                              .module = (int32_t)test_int(0, 6)};
    c->number[6] = add_array(c, "example", ROLE_IN, LC_I64, n, 0, 1e6);
    (void)add_array(c, "position", ROLE_IN, LC_I32, n, 0, 5000);
}

static lc_dropout dropout_of(const op_case *c)
{
    lc_dropout dropout = c->dropout;
    if (c->number[6] >= 0) {
        dropout.example = pointer(c, (int)c->number[6]);
        dropout.position = pointer(c, (int)c->number[6] + 1);
    }
    return dropout;
}

void draw_lora_forward(op_case *c)
{
    const int64_t n = any_size(300), in = any_size(400), rank = any_rank();
    const lc_dtype dtype = any_weight();
    add_mat(c, "x", ROLE_IN, LC_F32, n, in, -1, 1);
    add_mat(c, "a", ROLE_IN, dtype, rank, in, -1, 1);
    add_mat(c, "s", ROLE_OUT, LC_F32, n, rank, 0, 0);
    add_mat(c, "x_dropped", ROLE_SCRATCH, LC_F32, n, in, 0, 0);
    draw_dropout(c, n, false);
    DESCRIBE(c, "N %d in %d R %d a %s p %g", (int)n, (int)in, (int)rank, lc_dtype_name(dtype),
             (double)c->dropout.p);
}

lc_code run_lora_forward(op_case *c, lc_device *device, lc_err *err)
{
    const lc_lora_forward_args args = {.x = view(c, 0),
                                       .a = view(c, 1),
                                       .s = view(c, 2),
                                       .x_dropped = view(c, c->number[6] >= 0 ? 3 : -1),
                                       .dropout = dropout_of(c)};
    ON_DEVICE(lora_forward, args)
    ref_lora_forward(&args);
    return LC_OK;
}

void draw_lora_dy(op_case *c)
{
    const int64_t n = any_size(300), out = any_size(400), rank = any_rank();
    const lc_dtype dtype = any_weight();
    DESCRIBE(c, "N %d out %d R %d sb %s", (int)n, (int)out, (int)rank, lc_dtype_name(dtype));
    add_mat(c, "dy", ROLE_IN, LC_F32, n, out, -1, 1);
    add_mat(c, "sb", ROLE_IN, dtype, out, rank, -1, 1);
    add_mat(c, "s", ROLE_IN, LC_F32, n, rank, -1, 1);
    add_mat(c, "ds", ROLE_OUT, LC_F32, n, rank, 0, 0);
    add_mat(c, "db", ROLE_ACC, LC_F32, out, rank, -1, 1);
    c->real[0] = test_uniform(0.1, 4.0);
}

lc_code run_lora_dy(op_case *c, lc_device *device, lc_err *err)
{
    const lc_lora_dy_args args = {.dy = view(c, 0),
                                  .sb = view(c, 1),
                                  .s = view(c, 2),
                                  .ds = view(c, 3),
                                  .db = view(c, 4),
                                  .scale = (float)c->real[0]};
    ON_DEVICE(lora_dy, args)
    ref_lora_dy(&args);
    return LC_OK;
}

void draw_lora_dx(op_case *c)
{
    const int64_t n = any_size(300), in = any_size(400), rank = any_rank();
    add_mat(c, "x", ROLE_IN, LC_F32, n, in, -1, 1);
    add_mat(c, "ds", ROLE_IN, LC_F32, n, rank, -1, 1);
    add_mat(c, "da", ROLE_ACC, LC_F32, rank, in, -1, 1);
    add_mat(c, "x_dropped", ROLE_SCRATCH, LC_F32, n, in, 0, 0);
    draw_dropout(c, n, false);
    DESCRIBE(c, "N %d in %d R %d p %g", (int)n, (int)in, (int)rank, (double)c->dropout.p);
}

lc_code run_lora_dx(op_case *c, lc_device *device, lc_err *err)
{
    const lc_lora_dx_args args = {.x = view(c, 0),
                                  .ds = view(c, 1),
                                  .da = view(c, 2),
                                  .x_dropped = view(c, c->number[6] >= 0 ? 3 : -1),
                                  .dropout = dropout_of(c)};
    ON_DEVICE(lora_dx, args)
    ref_lora_dx(&args);
    return LC_OK;
}

void draw_lora_dropout_backward(op_case *c)
{
    const int64_t n = any_size(300), in = any_size(400), rank = any_rank();
    const lc_dtype dtype = any_weight();
    add_mat(c, "ds", ROLE_IN, LC_F32, n, rank, -1, 1);
    add_mat(c, "a", ROLE_IN, dtype, rank, in, -1, 1);
    add_mat(c, "product", ROLE_SCRATCH, LC_F32, n, in, 0, 0);
    add_mat(c, "dx", ROLE_ACC, LC_F32, n, in, -1, 1);
    draw_dropout(c, n, true);
    DESCRIBE(c, "N %d in %d R %d a %s p %g", (int)n, (int)in, (int)rank, lc_dtype_name(dtype),
             (double)c->dropout.p);
}

lc_code run_lora_dropout_backward(op_case *c, lc_device *device, lc_err *err)
{
    const lc_lora_dropout_backward_args args = {.ds = view(c, 0),
                                                .a = view(c, 1),
                                                .product = view(c, 2),
                                                .dx = view(c, 3),
                                                .dropout = dropout_of(c)};
    ON_DEVICE(lora_dropout_backward, args)
    ref_lora_dropout_backward(&args);
    return LC_OK;
}

void draw_lora_publish(op_case *c)
{
    const int64_t in = any_size(400), out = any_size(400), rank = any_rank();
    const lc_dtype dtype = any_weight();
    DESCRIBE(c, "in %d out %d R %d to %s", (int)in, (int)out, (int)rank, lc_dtype_name(dtype));
    add_mat(c, "a", ROLE_IN, LC_F32, rank, in, -1, 1);
    add_mat(c, "b", ROLE_IN, LC_F32, out, rank, -1, 1);
    add_mat(c, "w_a", ROLE_OUT, dtype, rank, in, 0, 0);
    add_mat(c, "w_b", ROLE_OUT, dtype, out, rank, 0, 0);
    c->real[0] = test_uniform(0.1, 4.0);
}

lc_code run_lora_publish(op_case *c, lc_device *device, lc_err *err)
{
    const lc_lora_publish_args args = {.a = view(c, 0),
                                       .b = view(c, 1),
                                       .w_a = view(c, 2),
                                       .w_b = view(c, 3),
                                       .scale = (float)c->real[0]};
    ON_DEVICE(lora_publish, args)
    ref_lora_publish(&args);
    return LC_OK;
}
