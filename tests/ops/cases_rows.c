/* Op cases: embedding, norms, swiglu, gather and scatter, cross entropy, optimizer. */
#include "cases_draw.h"

void draw_embed(op_case *c)
{
    const int64_t n = any_size(200), width = any_size(300), words = any_size(300);
    DESCRIBE(c, "N %d C %d V %d", (int)n, (int)width, (int)words);
    add_mat(c, "table", ROLE_IN, any_weight(), words, width, -1, 1);
    add_array(c, "ids", ROLE_IN, LC_I32, n, 0, (double)words);
    add_mat(c, "out", ROLE_OUT, LC_F32, n, width, 0, 0);
}

lc_code run_embed(op_case *c, lc_device *device, lc_err *err)
{
    const lc_embed_args args = {.table = view(c, 0), .ids = pointer(c, 1), .out = view(c, 2)};
    ON_DEVICE(embed, args)
    ref_embed(&args);
    return LC_OK;
}

void draw_rmsnorm(op_case *c)
{
    const int64_t n = any_size(200), width = any_size(700);
    const bool wants_rstd = test_int(0, 3) > 0;
    DESCRIBE(c, "N %d C %d rstd %d", (int)n, (int)width, wants_rstd);
    add_mat(c, "x", ROLE_IN, LC_F32, n, width, -2, 3);
    add_array(c, "weight", ROLE_IN, LC_F32, width, -1, 2);
    add_mat(c, "y", ROLE_OUT, LC_F32, n, width, 0, 0);
    c->number[0] = wants_rstd ? add_array(c, "rstd", ROLE_OUT, LC_F32, n, 0, 0) : -1;
}

lc_code run_rmsnorm(op_case *c, lc_device *device, lc_err *err)
{
    const lc_rmsnorm_args args = {.x = view(c, 0),
                                  .weight = pointer(c, 1),
                                  .eps = 1e-5f,
                                  .y = view(c, 2),
                                  .rstd = pointer(c, (int)c->number[0])};
    ON_DEVICE(rmsnorm, args)
    ref_rmsnorm(&args);
    return LC_OK;
}

void draw_rmsnorm_backward(op_case *c)
{
    const int64_t n = any_size(200), width = any_size(700);
    DESCRIBE(c, "N %d C %d", (int)n, (int)width);
    add_mat(c, "dy", ROLE_IN, LC_F32, n, width, -1, 1);
    add_mat(c, "x", ROLE_IN, LC_F32, n, width, -2, 3);
    add_array(c, "weight", ROLE_IN, LC_F32, width, -1, 2);
    add_array(c, "rstd", ROLE_IN, LC_F32, n, 0, 1);
    add_mat(c, "dx", ROLE_ACC, LC_F32, n, width, -1, 1);
    for (int64_t i = 0; i < n; i++) {
        set_element(&c->tensors[3], 0, i, saved_rstd(&c->tensors[1], i, 0, width, 1e-5));
    }
}

lc_code run_rmsnorm_backward(op_case *c, lc_device *device, lc_err *err)
{
    const lc_rmsnorm_backward_args args = {.dy = view(c, 0),
                                           .x = view(c, 1),
                                           .weight = pointer(c, 2),
                                           .rstd = pointer(c, 3),
                                           .dx = view(c, 4)};
    ON_DEVICE(rmsnorm_backward, args)
    ref_rmsnorm_backward(&args, 1e-5);
    return LC_OK;
}

void draw_swiglu(op_case *c)
{
    const int64_t n = any_size(200), width = any_size(500);
    DESCRIBE(c, "N %d I %d", (int)n, (int)width);
    add_mat(c, "gate_up", ROLE_IN, LC_F32, n, 2 * width, -8, 8);
    add_mat(c, "y", ROLE_OUT, LC_F32, n, width, 0, 0);
}

lc_code run_swiglu(op_case *c, lc_device *device, lc_err *err)
{
    const lc_swiglu_args args = {.gate_up = view(c, 0), .y = view(c, 1)};
    ON_DEVICE(swiglu, args)
    ref_swiglu(&args);
    return LC_OK;
}

void draw_swiglu_backward(op_case *c)
{
    const int64_t n = any_size(200), width = any_size(500);
    DESCRIBE(c, "N %d I %d", (int)n, (int)width);
    add_mat(c, "dy", ROLE_IN, LC_F32, n, width, -1, 1);
    add_mat(c, "gate_up", ROLE_ACC, LC_F32, n, 2 * width, -8, 8);
}

lc_code run_swiglu_backward(op_case *c, lc_device *device, lc_err *err)
{
    const lc_swiglu_backward_args args = {.dy = view(c, 0), .gate_up = view(c, 1)};
    ON_DEVICE(swiglu_backward, args)
    ref_swiglu_backward(&args);
    return LC_OK;
}

/* Some of 0..total-1, ascending, into a new I32 array; returns how many. */
static int64_t draw_selection(op_case *c, int64_t total)
{
    int32_t chosen[512];
    int64_t count = 0;
    const double share = test_uniform(0.0, 1.0);
    for (int64_t i = 0; i < total; i++) {
        if (test_uniform(0.0, 1.0) < share) {
            chosen[count++] = (int32_t)i;
        }
    }
    const int at = add_array(c, "rows", ROLE_IN, LC_I32, count, 0, 1);
    for (int64_t i = 0; i < count; i++) {
        set_element(&c->tensors[at], 0, i, chosen[i]);
    }
    return count;
}

void draw_gather_rows(op_case *c)
{
    const int64_t n = any_size(300), width = any_size(300), count = draw_selection(c, n);
    DESCRIBE(c, "N %d M %d C %d", (int)n, (int)count, (int)width);
    add_mat(c, "x", ROLE_IN, LC_F32, n, width, -1, 1);
    add_mat(c, "y", ROLE_OUT, LC_F32, count, width, 0, 0);
}

lc_code run_gather_rows(op_case *c, lc_device *device, lc_err *err)
{
    const lc_gather_rows_args args = {.rows = pointer(c, 0), .x = view(c, 1), .y = view(c, 2)};
    ON_DEVICE(gather_rows, args)
    ref_gather_rows(&args);
    return LC_OK;
}

void draw_scatter_rows(op_case *c)
{
    const int64_t n = any_size(300), width = any_size(300), count = draw_selection(c, n);
    DESCRIBE(c, "N %d M %d C %d", (int)n, (int)count, (int)width);
    add_mat(c, "x", ROLE_IN, LC_F32, count, width, -1, 1);
    add_mat(c, "y", ROLE_OUT, LC_F32, n, width, 0, 0);
}

lc_code run_scatter_rows(op_case *c, lc_device *device, lc_err *err)
{
    const lc_scatter_rows_args args = {.rows = pointer(c, 0), .x = view(c, 1), .y = view(c, 2)};
    ON_DEVICE(scatter_rows, args)
    ref_scatter_rows(&args);
    return LC_OK;
}

/* Half of the cases have whole-number logits, so that several are the largest and the first one
 * counts. */
void draw_cross_entropy(op_case *c)
{
    const int64_t n = any_size(120),
                  width = test_int(0, 9) == 0 ? test_int(4000, 5000) : any_size(300);
    const bool gradient = test_int(0, 1) == 0, ties = test_int(0, 1) == 0;
    DESCRIBE(c, "M %d V %d gradient %d ties %d", (int)n, (int)width, gradient, ties);
    add_mat(c, "logits", gradient ? ROLE_ACC : ROLE_IN, LC_F32, n, width, -6, 6);
    for (int64_t k = 0; ties && k < n * width; k++) {
        set_element(&c->tensors[0], k / width, k % width, (double)test_int(-1, 1));
    }
    add_array(c, "targets", ROLE_IN, LC_I32, n, 0, (double)width);
    add_array(c, "weights", ROLE_IN, LC_F32, n, 0, 2);
    add_array(c, "nll", ROLE_OUT, LC_F32, n, 0, 0);
    add_array(c, "correct", ROLE_OUT, LC_F32, n, 0, 0);
    c->number[0] = gradient;
    for (int64_t i = 0; i < n;
         i++) { /* half of the targets are the answer, where one column is enough */
        int64_t best = 0;
        for (int64_t j = 1; j < width; j++) {
            best =
                get_element(&c->tensors[0], i, j) > get_element(&c->tensors[0], i, best) ? j : best;
        }
        if (test_int(0, 1) == 0) {
            set_element(&c->tensors[1], 0, i, (double)best);
        }
    }
}

lc_code run_cross_entropy(op_case *c, lc_device *device, lc_err *err)
{
    const lc_cross_entropy_args args = {.logits = view(c, 0),
                                        .targets = pointer(c, 1),
                                        .weights = pointer(c, 2),
                                        .nll = pointer(c, 3),
                                        .correct = pointer(c, 4),
                                        .gradient = c->number[0] != 0};
    ON_DEVICE(cross_entropy, args)
    ref_cross_entropy(&args, NULL);
    return LC_OK;
}

void draw_sum_squares(op_case *c)
{
    const int64_t count = test_int(0, 1) == 0 ? test_int(0, 100) : test_int(0, 60000);
    DESCRIBE(c, "count %d", (int)count);
    add_array(c, "values", ROLE_IN, LC_F32, count, -1, 1);
    add_array(c, "sum_squares", ROLE_OUT, LC_F64, 1, 0, 0);
    c->number[0] = count;
}

lc_code run_sum_squares(op_case *c, lc_device *device, lc_err *err)
{
    const lc_sum_squares_args args = {
        .values = pointer(c, 0), .sum_squares = pointer(c, 1), .count = c->number[0]};
    ON_DEVICE(sum_squares, args)
    ref_sum_squares(&args);
    return LC_OK;
}

void draw_adamw(op_case *c)
{
    const int64_t count = test_int(0, 1) == 0 ? test_int(1, 100) : test_int(1, 50000);
    c->number[0] = count;
    c->number[1] = test_int(1, 300);
    DESCRIBE(c, "count %d t %d", (int)count, (int)c->number[1]);
    add_array(c, "param", ROLE_ACC, LC_F32, count, -1, 1);
    add_array(c, "grad", ROLE_IN, LC_F32, count, -5, 5);
    add_array(c, "m", ROLE_ACC, LC_F32, count, -0.1, 0.1);
    add_array(c, "v", ROLE_ACC, LC_F32, count, 0, 0.1);
    c->real[0] = test_uniform(0.01, 1.0);
    c->real[1] = test_uniform(0.0, 0.1);
}

lc_code run_adamw(op_case *c, lc_device *device, lc_err *err)
{
    const lc_adamw_args args = {.param = pointer(c, 0),
                                .grad = pointer(c, 1),
                                .m = pointer(c, 2),
                                .v = pointer(c, 3),
                                .count = c->number[0],
                                .t = c->number[1],
                                .grad_scale = c->real[0],
                                .lr = 1e-2,
                                .beta1 = 0.9,
                                .beta2 = 0.999,
                                .eps = 1e-8,
                                .weight_decay = c->real[1]};
    ON_DEVICE(adamw, args)
    ref_adamw(&args);
    return LC_OK;
}
