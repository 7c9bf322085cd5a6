/* Op cases: embedding, norms, swiglu, gather and scatter, cross entropy, optimizer. */
#include "cases_draw.h"

void draw_embed(op_case *c)
{
    const int64_t n = any_size(200), width = any_width(c, 300);
    const int64_t words = whole_strips(c, any_size(300));
    DESCRIBE(c, "N %d C %d V %d", (int)n, (int)width, (int)words);
    add_weight(c, "table", any_weight(c), words, width);
    add_array(c, "ids", ROLE_IN, LC_I32, n, 0, (double)words);
    add_act(c, "out", ROLE_OUT, n, width, 0, 0);
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
    const int64_t n = any_size(200), width = any_width(c, 700);
    const bool wants_rstd = test_int(0, 3) > 0;
    DESCRIBE(c, "N %d C %d rstd %d", (int)n, (int)width, wants_rstd);
    add_act(c, "x", ROLE_IN, n, width, -2, 3);
    add_array(c, "weight", ROLE_IN, LC_F32, width, -1, 2);
    add_act(c, "y", ROLE_OUT, n, width, 0, 0);
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

/* number[3]: dS of the linears that read the norm, whose share dy still lacks; then A, the product
 * and what dy is before; or -1. The first trials are as wide as a GPU makes differences: narrow,
 * with fewer rows at once, and too wide for one pass. */
void draw_rmsnorm_backward(op_case *c)
{
    const bool is_wide = c->trial == 1 || c->trial == 2;
    const int64_t n = any_size(is_wide ? 40 : 200);
    const int64_t width = c->trial == 1   ? 8 * test_int(370, 500)
                          : c->trial == 2 ? 8 * test_int(900, 1000)
                                          : any_width(c, 700);
    const bool has_dropped = c->trial < 3 || test_int(0, 1) == 0;
    DESCRIBE(c, "N %d C %d", (int)n, (int)width);
    const int dy = add_act(c, "dy", ROLE_IN, n, width, -1, 1);
    add_act(c, "x", ROLE_IN, n, width, -2, 3);
    add_array(c, "weight", ROLE_IN, LC_F32, width, -1, 2);
    add_array(c, "rstd", ROLE_IN, LC_F32, n, 0, 1);
    add_act(c, "dx", ROLE_ACC, n, width, -1, 1);
    for (int64_t i = 0; i < n; i++) {
        set_element(&c->tensors[3], 0, i, saved_rstd(&c->tensors[1], i, 0, width, 1e-5));
    }
    c->number[3] = c->number[6] = -1;
    if (!has_dropped) {
        return;
    }
    (void)draw_parts(c, 3);
    c->is_rounded = true; /* the completed dy */
    c->is_same_any_way = true;
    c->number[3] = add_act(c, "ds", ROLE_IN, n, c->tail, -1, 1);
    (void)add_mat(c, "a", ROLE_IN, any_weight(c), c->tail, width, -1, 1);
    (void)add_act(c, "product", ROLE_SCRATCH, n, width, 0, 0);
    (void)add_act(c, "dy before", ROLE_IN, n, width, -1, 1);
    c->tensors[dy].role = ROLE_SCRATCH;
    draw_dropout(c, n, true);
    DESCRIBE(c, "N %d C %d R %d of %d parts p %g", (int)n, (int)width, (int)c->tail, c->parts.count,
             (double)c->dropout.p);
}

lc_code run_rmsnorm_backward(op_case *c, lc_device *device, lc_err *err)
{
    const int ds = (int)c->number[3];
    lc_lora_dropout_backward_args dropped = {0};
    if (ds >= 0) {
        dropped = (lc_lora_dropout_backward_args){.ds = view(c, ds),
                                                  .a = view(c, ds + 1),
                                                  .parts = c->parts,
                                                  .dropout = dropout_of(c),
                                                  .product = view(c, ds + 2),
                                                  .dx = view(c, 0)};
        LC_TRY(fill_scratch(c, device, view(c, 0), view(c, ds + 3), err));
    }
    const lc_rmsnorm_backward_args args = {.dy = view(c, 0),
                                           .x = view(c, 1),
                                           .weight = pointer(c, 2),
                                           .rstd = pointer(c, 3),
                                           .dx = view(c, 4),
                                           .dropped = ds >= 0 ? &dropped : NULL};
    ON_DEVICE(rmsnorm_backward, args)
    if (ds >= 0) {
        ref_lora_dropout_backward(&dropped);
    }
    ref_rmsnorm_backward(&args, 1e-5);
    return LC_OK;
}

/* Some of 0..total-1, ascending, into a new I32 array; returns how many. In half of the cases there
 * are some -1 too: among them, or, for a scatter, behind. */
static int64_t draw_selection(op_case *c, int64_t total, bool is_scatter)
{
    int32_t chosen[512];
    int64_t count = 0, nowhere = 0;
    const double share = test_uniform(0.0, 1.0);
    const double none = c->trial % 2 == 0 ? test_uniform(0.0, 1.0) : 0.0;
    for (int64_t i = 0; i < total; i++) {
        if (test_uniform(0.0, 1.0) < share) {
            const bool is_none = test_uniform(0.0, 1.0) < none;
            nowhere += is_none;
            if (!is_none || !is_scatter) {
                chosen[count++] = is_none ? -1 : (int32_t)i;
            }
        }
    }
    for (; is_scatter && nowhere > 0; nowhere--) {
        chosen[count++] = -1;
    }
    const int at = add_array(c, "rows", ROLE_IN, LC_I32, count, 0, 1);
    for (int64_t i = 0; i < count; i++) {
        set_element(&c->tensors[at], 0, i, chosen[i]);
    }
    return count;
}

/* Every third case in place: a row stays, or becomes zeros. */
void draw_gather_rows(op_case *c)
{
    const int64_t n = any_size(300), width = any_width(c, 300);
    c->number[0] = c->trial % 3 == 2;
    if (c->number[0]) {
        const double none = test_uniform(0.0, 1.0);
        const int at = add_array(c, "rows", ROLE_IN, LC_I32, n, 0, 1);
        for (int64_t i = 0; i < n; i++) {
            set_element(&c->tensors[at], 0, i, test_uniform(0.0, 1.0) < none ? -1 : (double)i);
        }
        DESCRIBE(c, "N %d C %d in place", (int)n, (int)width);
        add_act(c, "x and y", ROLE_ACC, n, width, -1, 1);
        return;
    }
    const int64_t count = draw_selection(c, n, false);
    DESCRIBE(c, "N %d M %d C %d", (int)n, (int)count, (int)width);
    add_act(c, "x", ROLE_IN, n, width, -1, 1);
    add_act(c, "y", ROLE_OUT, count, width, 0, 0);
}

lc_code run_gather_rows(op_case *c, lc_device *device, lc_err *err)
{
    const lc_gather_rows_args args = {
        .rows = pointer(c, 0), .x = view(c, 1), .y = view(c, c->number[0] ? 1 : 2)};
    ON_DEVICE(gather_rows, args)
    ref_gather_rows(&args);
    return LC_OK;
}

void draw_scatter_rows(op_case *c)
{
    const int64_t n = any_size(300), width = any_width(c, 300), count = draw_selection(c, n, true);
    DESCRIBE(c, "N %d M %d C %d", (int)n, (int)count, (int)width);
    add_act(c, "x", ROLE_IN, count, width, -1, 1);
    add_act(c, "y", ROLE_OUT, n, width, 0, 0);
}

lc_code run_scatter_rows(op_case *c, lc_device *device, lc_err *err)
{
    const lc_scatter_rows_args args = {.rows = pointer(c, 0), .x = view(c, 1), .y = view(c, 2)};
    ON_DEVICE(scatter_rows, args)
    ref_scatter_rows(&args);
    return LC_OK;
}

/* Half of the cases have whole-number logits, so that several are the largest and the first one
 * counts. In some the answer is next to certain: loss and gradient are then what is left of 1 - 1,
 * right to the last digit of 1 and not to theirs. */
void draw_cross_entropy(op_case *c)
{
    const int64_t n = any_size(120),
                  width = test_int(0, 9) == 0 ? test_int(4000, 5000) : any_size(300);
    const bool gradient = test_int(0, 1) == 0, ties = test_int(0, 1) == 0;
    const bool certain = test_int(0, 3) == 0;
    DESCRIBE(c, "M %d V %d gradient %d ties %d certain %d", (int)n, (int)width, gradient, ties,
             certain);
    add_act(c, "logits", gradient ? ROLE_ACC : ROLE_IN, n, width, -6, 6);
    for (int64_t k = 0; ties && k < n * width; k++) {
        set_element(&c->tensors[0], k / width, k % width, (double)test_int(-1, 1));
    }
    add_array(c, "targets", ROLE_IN, LC_I32, n, 0, (double)width);
    add_array(c, "weights", ROLE_IN, LC_F32, n, 0, 2);
    add_array(c, "nll", ROLE_OUT, LC_F32, n, 0, 0);
    add_array(c, "correct", ROLE_OUT, LC_F32, n, 0, 0);
    c->tensors[0].least_rms = 0.2 / sqrt((double)width);
    c->tensors[3].least_rms = 0.2;
    c->number[0] = gradient;
    for (int64_t i = 0; i < n;
         i++) { /* half of the targets are the answer, where one column is enough */
        int64_t best = 0;
        for (int64_t j = 1; j < width; j++) {
            best =
                get_element(&c->tensors[0], i, j) > get_element(&c->tensors[0], i, best) ? j : best;
        }
        if (certain || test_int(0, 1) == 0) {
            set_element(&c->tensors[1], 0, i, (double)best);
        }
        if (certain) {
            const double logit = get_element(&c->tensors[0], i, best);
            set_element(&c->tensors[0], i, best, logit + 10.0);
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

/* Every third case has whole-number logits: ties at the edge of the candidates. Rows of all kinds:
 * greedy, flat to sharp, from next to nothing to all of the weight, one that is damaged. */
void draw_sample(op_case *c)
{
    const int64_t n = any_size(20),
                  width = test_int(0, 5) == 0 ? test_int(4000, 9000) : any_size(700);
    const bool ties = c->trial % 3 == 0;
    DESCRIBE(c, "M %d V %d ties %d", (int)n, (int)width, ties);
    add_act(c, "logits", ROLE_IN, n, width, -12, 12);
    for (int64_t k = 0; ties && k < n * width; k++) {
        set_element(&c->tensors[0], k / width, k % width, (double)test_int(-3, 1));
    }
    add_array(c, "rows", ROLE_IN, LC_I32, 4 * n, 0, 1);
    lc_sample_row *rows = host_pointer(c, 1);
    for (int64_t i = 0; i < n; i++) {
        const int kind = (int)test_int(0, 5);
        rows[i] = (lc_sample_row){
            .sharpness = kind == 0 ? 0.0f : (float)pow(2.0, test_uniform(-2.0, 6.0)),
            .top_p = kind == 1   ? 0
                     : kind == 2 ? 1
                     : kind == 3 ? UINT32_MAX
                                 : (uint32_t)(test_uniform(0.0, 1.0) * 4294967295.0),
            .seed = (uint32_t)test_int(0, 1 << 30),
            .stream = (uint32_t)test_int(0, 9)};
    }
    add_array(c, "positions", ROLE_IN, LC_I32, n, 0, 100000);
    add_array(c, "ids", ROLE_OUT, LC_I32, n, 0, 0);
    if (test_int(0, 2) == 0) {
        static const double bad[] = {(double)NAN, (double)INFINITY, -(double)INFINITY};
        set_element(&c->tensors[0], test_int(0, n - 1), test_int(0, width - 1),
                    bad[test_int(0, 2)]);
    }
}

lc_code run_sample(op_case *c, lc_device *device, lc_err *err)
{
    const lc_sample_args args = {.logits = view(c, 0),
                                 .rows = pointer(c, 1),
                                 .positions = pointer(c, 2),
                                 .ids = pointer(c, 3)};
    ON_DEVICE(sample, args)
    ref_sample(&args);
    return LC_OK;
}

/* Positions beyond the tables, sequences that are none, tokens that were not chosen. */
void draw_advance(op_case *c)
{
    const int64_t n = any_size(70), known = any_size(300), half = any_size(140);
    const bool rotates = test_int(0, 3) > 0;
    DESCRIBE(c, "M %d P %d D/2 %d rotates %d", (int)n, (int)known, (int)half, rotates);
    add_array(c, "chosen", ROLE_IN, LC_I32, n, -1, 1000);
    add_array(c, "slots", ROLE_IN, LC_I32, n, -1, 9);
    add_array(c, "chosen_positions", ROLE_ACC, LC_I32, n, 0, (double)known + 3);
    add_array(c, "ids", ROLE_OUT, LC_I32, n, 0, 0);
    add_array(c, "positions", ROLE_OUT, LC_I32, n, 0, 0);
    add_array(c, "row_slots", ROLE_OUT, LC_I32, n, 0, 0);
    add_array(c, "rows", ROLE_OUT, LC_I32, n, 0, 0);
    c->number[0] = n;
    c->number[1] = known;
    c->number[2] = half;
    c->number[3] =
        rotates ? add_array(c, "cos_by_position", ROLE_IN, LC_F32, known * half, -1, 1) : -1;
    c->number[4] =
        rotates ? add_array(c, "sin_by_position", ROLE_IN, LC_F32, known * half, -1, 1) : -1;
    c->number[5] = rotates ? add_array(c, "cos", ROLE_OUT, LC_F32, n * half, 0, 0) : -1;
    c->number[6] = rotates ? add_array(c, "sin", ROLE_OUT, LC_F32, n * half, 0, 0) : -1;
}

lc_code run_advance(op_case *c, lc_device *device, lc_err *err)
{
    const int64_t known = c->number[1], half = c->number[2];
    const lc_advance_args args = {
        .count = c->number[0],
        .chosen = pointer(c, 0),
        .slots = pointer(c, 1),
        .chosen_positions = pointer(c, 2),
        .ids = pointer(c, 3),
        .positions = pointer(c, 4),
        .row_slots = pointer(c, 5),
        .rows = pointer(c, 6),
        .cos_by_position = lc_mat_f32(pointer(c, (int)c->number[3]), known, half, half),
        .sin_by_position = lc_mat_f32(pointer(c, (int)c->number[4]), known, half, half),
        .cos = pointer(c, (int)c->number[5]),
        .sin = pointer(c, (int)c->number[6])};
    ON_DEVICE(advance, args)
    ref_advance(&args);
    return LC_OK;
}

void draw_add_sums(op_case *c)
{
    const int64_t count = test_int(0, 1) == 0 ? test_int(0, 100) : test_int(0, 5000);
    DESCRIBE(c, "count %d", (int)count);
    add_array(c, "nll", ROLE_IN, LC_F32, count, 0, 9);
    add_array(c, "correct", ROLE_IN, LC_F32, count, 0, 1);
    add_array(c, "weights", ROLE_IN, LC_F32, count, 0, 2);
    for (int64_t i = 0; i < count; i += 3) { /* what does not count, whatever it is */
        set_element(&c->tensors[2], 0, i, 0.0);
        set_element(&c->tensors[0], 0, i, (double)NAN);
    }
    add_array(c, "sums", ROLE_ACC, LC_F64, 4, 0, 100);
    c->number[0] = count;
}

lc_code run_add_sums(op_case *c, lc_device *device, lc_err *err)
{
    const lc_add_sums_args args = {.nll = pointer(c, 0),
                                   .correct = pointer(c, 1),
                                   .weights = pointer(c, 2),
                                   .sums = pointer(c, 3),
                                   .count = c->number[0]};
    ON_DEVICE(add_sums, args)
    ref_add_sums(&args);
    return LC_OK;
}

/* Of seven cases, one has a loss and one a gradient that is not finite. */
void draw_adamw(op_case *c)
{
    const int64_t count = test_int(0, 1) == 0 ? test_int(1, 100) : test_int(1, 50000);
    c->number[0] = count;
    c->number[1] = test_int(0, 300);
    c->number[2] = c->trial % 7 == 5;
    DESCRIBE(c, "count %d updates %d bad loss %d bad gradient %d", (int)count, (int)c->number[1],
             (int)c->number[2], c->trial % 7 == 6);
    add_array(c, "param", ROLE_ACC, LC_F32, count, -1, 1);
    add_array(c, "grad", ROLE_IN, LC_F32, count, -5, 5);
    add_array(c, "m", ROLE_ACC, LC_F32, count, -0.1, 0.1);
    add_array(c, "v", ROLE_ACC, LC_F32, count, 0, 0.1);
    add_array(c, "result", ROLE_OUT, LC_F64, 3, 0, 0);
    if (c->trial % 7 == 6) {
        set_element(&c->tensors[1], 0, test_int(0, count - 1), INFINITY);
    }
    c->real[0] = test_uniform(0.01, 1.0);
    c->real[1] = test_uniform(0.0, 0.1);
    c->real[2] = test_int(0, 1) == 0 ? 0.0 : test_uniform(0.1, 100.0);
    c->real[3] = test_uniform(0.5, 500.0);
}

/* The update as numbers that can be compared: count, skipped, norm (0 where it is not finite). */
static void note_update(const lc_update *update, double result[3])
{
    result[0] = (double)update->count;
    result[1] = (double)update->skipped;
    result[2] = isfinite(update->grad_norm) ? update->grad_norm : 0.0;
}

lc_code run_adamw(op_case *c, lc_device *device, lc_err *err)
{
    const lc_sums sums = {.loss = c->number[2] != 0 ? (double)NAN : 3.0};
    const lc_step_values values = {.weight = c->real[3], .learning_rate = 1e-2};
    lc_update update = {.count = c->number[1]};
    double result[3];
    const lc_adamw_args args = {.param = pointer(c, 0),
                                .grad = pointer(c, 1),
                                .m = pointer(c, 2),
                                .v = pointer(c, 3),
                                .count = c->number[0],
                                .clip = c->real[2],
                                .beta1 = 0.9,
                                .beta2 = 0.999,
                                .eps = 1e-8,
                                .weight_decay = c->real[1],
                                .sums = for_device(c, &sums, sizeof sums),
                                .values = for_device(c, &values, sizeof values),
                                .update = for_device(c, &update, sizeof update)};
    if (c->reference) {
        ref_adamw(&args);
        note_update(args.update, pointer(c, 4));
        return LC_OK;
    }
    LC_TRY(device->ops->adamw(device, &args, err));
    LC_TRY(device->ops->download(device, &update, args.update, sizeof update, err));
    note_update(&update, result);
    return device->ops->upload(device, pointer(c, 4), result, sizeof result, err);
}
