/* Op cases: linear layers and their adapters. */
#include "cases_draw.h"

/* Every third case sums over more than the longest panel of a staged weight. */
static void draw_product(const op_case *c, int64_t *rows, int64_t *summed, int64_t *cols)
{
    const bool is_long = c->trial % 3 == 0;
    *summed =
        is_long ? 8 * test_int(129, 175) - (c->is_gpu ? 0 : test_int(0, 7)) : any_width(c, 300);
    *rows = any_size(is_long ? 100 : 280);
    *cols = any_width(c, is_long ? 100 : 300);
}

/* A border inside of `cols` columns, or none. */
static int64_t any_tail(const op_case *c, int64_t cols)
{
    const int64_t unit = c->is_gpu ? 8 : 1, most = (cols - 1) / unit;
    return most > 0 && test_int(0, 1) == 0 ? unit * test_int(1, most < 6 ? most : 6) : 0;
}

/* addend: 0 none, 1 another matrix, 2 y itself. */
void draw_linear(op_case *c)
{
    int64_t n, k, out;
    draw_product(c, &n, &k, &out);
    out = whole_strips(c, out);
    const lc_dtype dtype = c->trial == 0 && !c->is_gpu ? LC_BF16 : any_weight(c);
    const int64_t addend = c->trial == 0 ? 0 : test_int(0, 2);
    const bool bias = c->trial > 0 && test_int(0, 1) == 0;
    c->tail = any_tail(c, k);
    DESCRIBE(c, "N %d K %d tail %d out %d w %s addend %d bias %d", (int)n, (int)k, (int)c->tail,
             (int)out, lc_dtype_name(dtype), (int)addend, bias);
    add_act(c, "x", ROLE_IN, n, k, -1, 1);
    add_weight(c, "w", dtype, out, k);
    add_act(c, "y", addend == 2 ? ROLE_ACC : ROLE_OUT, n, out, -1, 1);
    c->number[0] = addend == 1   ? add_act(c, "addend", ROLE_IN, n, out, -1, 1)
                   : addend == 2 ? 2
                                 : -1;
    c->number[1] = bias ? add_act(c, "bias", ROLE_IN, 1, out, -1, 1) : -1;
}

lc_code run_linear(op_case *c, lc_device *device, lc_err *err)
{
    const lc_linear_args args = {.x = view(c, 0),
                                 .w = view(c, 1),
                                 .tail = c->tail,
                                 .y = view(c, 2),
                                 .addend = view(c, (int)c->number[0]),
                                 .bias = view(c, (int)c->number[1]).data};
    ON_DEVICE(linear, args)
    ref_linear(&args);
    return LC_OK;
}

void draw_dropout(op_case *c, int64_t n, bool always)
{
    c->number[6] = -1;
    c->dropout = (lc_dropout){0};
    if (!always && test_int(0, 1) == 0) {
        return;
    }
    c->dropout = (lc_dropout){.p = test_int(0, 1) == 0 ? 0.1f : (float)test_uniform(0.0, 0.95),
                              .layer = (int32_t)test_int(0, 100)};
    c->dropout_key[0] = (uint32_t)test_int(0, UINT32_MAX);
    c->dropout_key[1] = (uint32_t)test_int(0, 100000);
    c->number[6] = add_array(c, "example", ROLE_IN, LC_I64, n, 0, 1e6);
    (void)add_array(c, "position", ROLE_IN, LC_I32, n, 0, 5000);
}

lc_dropout dropout_of(op_case *c)
{
    lc_dropout dropout = c->dropout;
    if (c->number[6] >= 0) {
        dropout.key = for_device(c, c->dropout_key, sizeof c->dropout_key);
        dropout.example = pointer(c, (int)c->number[6]);
        dropout.position = pointer(c, (int)c->number[6] + 1);
    }
    return dropout;
}

int64_t draw_parts(op_case *c, int most)
{
    static const int32_t ranks[] = {1, 5, 16, 16, 32, 48, 64, 80};
    int32_t row = 0, slot = 0;
    c->parts = (lc_lora_parts){.count = (int32_t)test_int(1, most)};
    for (int32_t i = 0; i < c->parts.count; i++) {
        lc_lora_part *part = &c->parts.part[i];
        row += test_int(0, 2) == 0 ? (int32_t)any_width(c, 40) : 0;
        const int32_t rank = ranks[test_int(0, 7)];
        *part = (lc_lora_part){.row = row,
                               .out = (int32_t)any_width(c, 200),
                               .slot = slot,
                               .width = c->is_gpu ? (rank + 15) / 16 * 16 : rank,
                               .module = (int32_t)test_int(0, 6),
                               .scale = (float)test_uniform(0.1, 4.0)};
        row += part->out;
        slot += part->width;
    }
    c->tail = slot;
    return row + (test_int(0, 2) == 0 ? any_width(c, 40) : 0);
}

int draw_output_side(op_case *c, int64_t n, int64_t out)
{
    const int first = add_mat(c, "sb", ROLE_IN, any_weight(c), out, c->tail, 0, 0);
    (void)add_act(c, "s", ROLE_IN, n, c->tail, -1, 1);
    (void)add_act(c, "ds", ROLE_OUT, n, c->tail, 0, 0);
    for (int32_t i = 0; i < c->parts.count; i++) {
        static const char *const names[LC_MAX_LORA_PARTS] = {"db 0", "db 1", "db 2"};
        const lc_lora_part *part = &c->parts.part[i];
        for (int64_t k = 0; k < (int64_t)part->out * part->width; k++) {
            set_element(&c->tensors[first], part->row + k / part->width,
                        part->slot + k % part->width, test_uniform(-1, 1));
        }
        (void)add_array(c, names[i], ROLE_ACC, LC_F32, (int64_t)part->out * part->width, -1, 1);
    }
    return first;
}

lc_lora_dy_args output_side(op_case *c, int first, lc_mat dy)
{
    lc_lora_dy_args args = {.dy = dy,
                            .sb = view(c, first),
                            .s = view(c, first + 1),
                            .ds = view(c, first + 2),
                            .parts = c->parts};
    for (int32_t i = 0; i < args.parts.count; i++) {
        args.parts.part[i].db = pointer(c, first + 3 + i);
    }
    return args;
}

static void describe_parts(op_case *c, int64_t n, int64_t in, int64_t out)
{
    char text[96] = "";
    size_t at = 0;
    for (int32_t i = 0; i < c->parts.count; i++) {
        at += (size_t)snprintf(text + at, sizeof text - at, " %d+%d/%d", c->parts.part[i].row,
                               c->parts.part[i].out, c->parts.part[i].width);
    }
    DESCRIBE(c, "N %d in %d out %d R %d parts%s p %g", (int)n, (int)in, (int)out, (int)c->tail,
             text, (double)c->dropout.p);
}

/* Plain or with a border whose dS is there. */
static void draw_plain_backward(op_case *c)
{
    int64_t n, out, in;
    draw_product(c, &n, &out, &in);
    const lc_dtype dtype = c->trial == 0 && !c->is_gpu ? LC_BF16 : any_weight(c);
    const bool accumulate = c->trial > 0 && test_int(0, 1) == 0;
    c->tail = any_tail(c, out);
    DESCRIBE(c, "N %d M %d tail %d in %d w %s accumulate %d", (int)n, (int)out, (int)c->tail,
             (int)in, lc_dtype_name(dtype), accumulate);
    add_act(c, "dy", ROLE_IN, n, out, -1, 1);
    add_mat(c, "w", ROLE_IN, dtype, out, in, -1, 1);
    add_act(c, "dx", accumulate ? ROLE_ACC : ROLE_OUT, n, in, -1, 1);
    c->number[2] = accumulate;
}

/* number[1]: with adapters, so that dS and dB are made; dy, g and dx have their borders. */
void draw_linear_backward(op_case *c)
{
    c->number[1] = c->trial % 2;
    if (c->number[1] == 0) {
        draw_plain_backward(c);
        return;
    }
    const int64_t n = any_size(200), in = any_width(c, 200), out = draw_parts(c, 3);
    c->number[2] = test_int(0, 3) == 0;
    add_act(c, "dy", ROLE_ACC, n, out + c->tail, -1, 1);
    const int g = add_mat(c, "g", ROLE_IN, any_weight(c), out + c->tail, in + c->tail, -1, 1);
    for (int64_t i = 0; i < out + c->tail; i++) {
        for (int64_t j = in; j < in + c->tail; j++) {
            set_element(&c->tensors[g], i, j, 0.0);
        }
    }
    add_act(c, "dx", ROLE_ACC, n, in + c->tail, -1, 1);
    add_act(c, "nothing", ROLE_IN, n, c->tail, 0, 0);
    add_act(c, "s", ROLE_IN, n, c->tail, -1, 1);
    c->is_rounded = true; /* dS */
    for (int32_t i = 0; i < c->parts.count; i++) {
        const lc_lora_part *part = &c->parts.part[i];
        for (int64_t k = 0; k < (int64_t)part->out * part->width; k++) {
            set_element(&c->tensors[g], part->row + k / part->width,
                        in + part->slot + k % part->width, test_uniform(-1, 1));
        }
        (void)add_array(c, "db", ROLE_ACC, LC_F32, (int64_t)part->out * part->width, -1, 1);
    }
    describe_parts(c, n, in, out);
}

/* What a device leaves behind dx is its own: it is cleared before the comparison. */
static lc_code run_backward_with_adapters(op_case *c, lc_device *device, lc_err *err)
{
    const lc_mat dy = view(c, 0), g = view(c, 1), wide = view(c, 2);
    const int64_t out = dy.cols - c->tail, in = g.cols - c->tail;
    lc_lora_dy_args lora = {.sb = lc_mat_view(g, 0, in, out, c->tail),
                            .s = view(c, 4),
                            .ds = lc_mat_view(dy, 0, out, dy.rows, c->tail),
                            .parts = c->parts};
    for (int32_t i = 0; i < lora.parts.count; i++) {
        lora.parts.part[i].db = pointer(c, 5 + i);
    }
    const lc_mat dx_tail = lc_mat_view(wide, 0, in, wide.rows, c->tail);
    const lc_linear_backward_args args = {.dy = dy,
                                          .w = lc_mat_view(g, 0, 0, g.rows, in),
                                          .tail = c->tail,
                                          .dx = lc_mat_view(wide, 0, 0, wide.rows, in),
                                          .dx_tail = dx_tail,
                                          .accumulate = c->number[2] != 0,
                                          .lora = &lora};
    if (!c->reference) {
        LC_TRY(device->ops->linear_backward(device, &args, err));
        return device->ops->copy(device, dx_tail, view(c, 3), err);
    }
    ref_linear_backward(&args);
    return LC_OK;
}

lc_code run_linear_backward(op_case *c, lc_device *device, lc_err *err)
{
    if (c->number[1] != 0) {
        return run_backward_with_adapters(c, device, err);
    }
    const lc_linear_backward_args args = {.dy = view(c, 0),
                                          .w = view(c, 1),
                                          .tail = c->tail,
                                          .dx = view(c, 2),
                                          .accumulate = c->number[2] != 0};
    ON_DEVICE(linear_backward, args)
    ref_linear_backward(&args);
    return LC_OK;
}

static bool has_whole_strips(const lc_lora_parts *parts)
{
    for (int32_t i = 0; i < parts->count; i++) {
        if (parts->part[i].width % CPU_STRIP != 0) {
            return false;
        }
    }
    return true;
}

void draw_lora_forward(op_case *c)
{
    const int64_t n = any_size(300), in = any_width(c, 400);
    (void)draw_parts(c, 3);
    add_act(c, "x", ROLE_IN, n, in, -1, 1);
    if (has_whole_strips(&c->parts)) {
        add_weight(c, "a", any_weight(c), c->tail, in);
    } else {
        add_mat(c, "a", ROLE_IN, any_weight(c), c->tail, in, -1, 1);
    }
    add_act(c, "s", ROLE_OUT, n, c->tail, 0, 0);
    add_act(c, "x_dropped", ROLE_SCRATCH, n, in, 0, 0);
    c->number[1] = test_int(0, 1) == 0 ? add_act(c, "saved", ROLE_OUT, n, c->tail, 0, 0) : -1;
    draw_dropout(c, n, false);
    describe_parts(c, n, in, 0);
}

lc_code run_lora_forward(op_case *c, lc_device *device, lc_err *err)
{
    const lc_lora_forward_args args = {.x = view(c, 0),
                                       .a = view(c, 1),
                                       .s = view(c, 2),
                                       .saved = view(c, (int)c->number[1]),
                                       .parts = c->parts,
                                       .x_dropped = view(c, c->number[6] >= 0 ? 3 : -1),
                                       .dropout = dropout_of(c)};
    ON_DEVICE(lora_forward, args)
    ref_lora_forward(&args);
    return LC_OK;
}

void draw_lora_dy(op_case *c)
{
    const int64_t n = any_size(300), out = draw_parts(c, 3);
    add_act(c, "dy", ROLE_IN, n, out, -1, 1);
    c->number[0] = draw_output_side(c, n, out);
    describe_parts(c, n, 0, out);
}

lc_code run_lora_dy(op_case *c, lc_device *device, lc_err *err)
{
    const lc_lora_dy_args args = output_side(c, (int)c->number[0], view(c, 0));
    ON_DEVICE(lora_dy, args)
    ref_lora_dy(&args);
    return LC_OK;
}

void draw_lora_dx(op_case *c)
{
    const int64_t n = any_size(300), in = any_width(c, 400);
    (void)draw_parts(c, 3);
    add_act(c, "x", ROLE_IN, n, in, -1, 1);
    add_act(c, "ds", ROLE_IN, n, c->tail, -1, 1);
    add_array(c, "da", ROLE_ACC, LC_F32, c->tail * in, -1, 1);
    add_act(c, "x_dropped", ROLE_SCRATCH, n, in, 0, 0);
    add_act(c, "normed", ROLE_SCRATCH, n, in, 0, 0);
    c->number[1] = -1;
    if (test_int(0, 1) == 0) {
        c->is_rounded = true; /* ds * rstd, or the norm's output */
        c->number[1] = add_array(c, "rstd", ROLE_IN, LC_F32, n, 0.2, 2);
        (void)add_array(c, "norm_weight", ROLE_IN, LC_F32, in, -1, 2);
    }
    draw_dropout(c, n, false);
    c->is_rounded = c->is_rounded || c->number[6] >= 0;
    describe_parts(c, n, in, 0);
}

lc_code run_lora_dx(op_case *c, lc_device *device, lc_err *err)
{
    const int norm = (int)c->number[1];
    const lc_lora_dx_args args = {.x = view(c, 0),
                                  .ds = view(c, 1),
                                  .da = pointer(c, 2),
                                  .rstd = pointer(c, norm),
                                  .norm_weight = pointer(c, norm < 0 ? -1 : norm + 1),
                                  .normed = view(c, norm < 0 ? -1 : 4),
                                  .parts = c->parts,
                                  .x_dropped = view(c, c->number[6] >= 0 ? 3 : -1),
                                  .dropout = dropout_of(c)};
    ON_DEVICE(lora_dx, args)
    ref_lora_dx(&args);
    return LC_OK;
}

void draw_lora_dropout_backward(op_case *c)
{
    const int64_t n = any_size(300), in = any_width(c, 400);
    (void)draw_parts(c, 3);
    c->is_rounded = true;
    add_act(c, "ds", ROLE_IN, n, c->tail, -1, 1);
    add_mat(c, "a", ROLE_IN, any_weight(c), c->tail, in, -1, 1);
    add_act(c, "product", ROLE_SCRATCH, n, in, 0, 0);
    add_act(c, "dx", ROLE_ACC, n, in, -1, 1);
    draw_dropout(c, n, true);
    describe_parts(c, n, in, 0);
}

lc_code run_lora_dropout_backward(op_case *c, lc_device *device, lc_err *err)
{
    const lc_lora_dropout_backward_args args = {.ds = view(c, 0),
                                                .a = view(c, 1),
                                                .parts = c->parts,
                                                .product = view(c, 2),
                                                .dx = view(c, 3),
                                                .dropout = dropout_of(c)};
    ON_DEVICE(lora_dropout_backward, args)
    ref_lora_dropout_backward(&args);
    return LC_OK;
}

/* Two modules that share a matrix, and two more of other widths. */
void draw_lora_publish(op_case *c)
{
    const int64_t in = any_width(c, 200), count = test_int(1, 3);
    const lc_dtype dtype = any_weight(c);
    c->number[0] = count;
    c->number[1] = (int64_t)dtype;
    for (int64_t i = 0; i < count; i++) {
        const int64_t out = any_size(200), width = 16 * test_int(1, 4);
        add_array(c, "a", ROLE_IN, LC_F32, width * in, -1, 1);
        add_array(c, "b", ROLE_IN, LC_F32, out * width, -1, 1);
        const int w_a = add_mat(c, "w_a", ROLE_OUT, dtype, width, in, 0, 0);
        const int w_b = add_mat(c, "w_b", ROLE_OUT, dtype, out, width, 0, 0);
        same_ld(c, w_a, w_b);
    }
    DESCRIBE(c, "in %d modules %d to %s", (int)in, (int)count, lc_dtype_name(dtype));
    c->real[0] = test_uniform(0.1, 4.0);
}

lc_code run_lora_publish(op_case *c, lc_device *device, lc_err *err)
{
    lc_publish_slot slots[3];
    int32_t most = 0;
    for (int i = 0; i < (int)c->number[0]; i++) {
        const lc_mat w_a = view(c, 4 * i + 2), w_b = view(c, 4 * i + 3);
        slots[i] = (lc_publish_slot){.a = pointer(c, 4 * i),
                                     .b = pointer(c, 4 * i + 1),
                                     .w_a = w_a.data,
                                     .w_b = w_b.data,
                                     .ld = w_a.ld,
                                     .in = (int32_t)w_a.cols,
                                     .out = (int32_t)w_b.rows,
                                     .width = (int32_t)w_a.rows,
                                     .scale = (float)(c->real[0] + i)};
        const int32_t elements = slots[i].width * (slots[i].in + slots[i].out);
        most = elements > most ? elements : most;
        if (c->reference) {
            ref_publish_slot(&slots[i], w_a, w_b);
        }
    }
    const lc_lora_publish_args args = {.slots = for_device(c, slots, sizeof slots),
                                       .count = (int32_t)c->number[0],
                                       .most_elements = most,
                                       .dtype = (lc_dtype)c->number[1]};
    ON_DEVICE(lora_publish, args)
    return LC_OK;
}

/* ---- swiglu, alone and with what its neighbours' adapters want ---- */

void draw_swiglu(op_case *c)
{
    const int64_t n = any_size(200), width = any_width(c, 500);
    const bool has_lora = test_int(0, 1) == 0;
    c->number[0] = has_lora;
    c->number[1] = c->number[6] = -1;
    add_act(c, "gate_up", ROLE_IN, n, 2 * width, -8, 8);
    add_act(c, "y", ROLE_OUT, n, width, 0, 0);
    if (has_lora) {
        (void)draw_parts(c, 1);
        c->is_rounded = true; /* y */
        add_mat(c, "a", ROLE_IN, any_weight(c), c->tail, width, -1, 1);
        const int s = add_act(c, "s", ROLE_OUT, n, c->tail, 0, 0);
        c->tensors[s].least_rms = sqrt((double)width); /* a fifth or less of what it mostly is */
        add_act(c, "x_dropped", ROLE_SCRATCH, n, width, 0, 0);
        c->number[1] = -1;
        if (test_int(0, 1) == 0) {
            c->number[1] = add_act(c, "saved", ROLE_OUT, n, c->tail, 0, 0);
            c->tensors[c->number[1]].least_rms = c->tensors[s].least_rms;
        }
        draw_dropout(c, n, false);
    }
    DESCRIBE(c, "N %d I %d R %d p %g", (int)n, (int)width, has_lora ? (int)c->tail : 0,
             (double)c->dropout.p);
}

lc_code run_swiglu(op_case *c, lc_device *device, lc_err *err)
{
    lc_lora_forward_args lora = {0};
    if (c->number[0] != 0) {
        lora = (lc_lora_forward_args){.x = view(c, 1),
                                      .a = view(c, 2),
                                      .s = view(c, 3),
                                      .saved = view(c, (int)c->number[1]),
                                      .parts = c->parts,
                                      .x_dropped = view(c, c->number[6] >= 0 ? 4 : -1),
                                      .dropout = dropout_of(c)};
    }
    const lc_swiglu_args args = {
        .gate_up = view(c, 0), .y = view(c, 1), .lora = c->number[0] != 0 ? &lora : NULL};
    ON_DEVICE(swiglu, args)
    ref_swiglu(&args);
    if (args.lora != NULL) {
        ref_lora_forward(args.lora);
    }
    return LC_OK;
}

/* number[1]: 0 no adapter below, else its rank; number[2]: adapters of gate, up or both. */
void draw_swiglu_backward(op_case *c)
{
    static const int32_t ranks[] = {16, 16, 16, 32, 48, 80};
    const int64_t n = any_size(200), width = any_width(c, 500);
    c->number[1] = test_int(0, 2) == 0 ? 0 : ranks[test_int(0, 5)];
    c->number[2] = test_int(0, 3); /* bit 0: gate, bit 1: up */
    c->number[6] = -1;
    c->is_rounded = true;
    const int dy = add_act(c, "dy", ROLE_IN, n, width, -1, 1);
    add_act(c, "gate_up", ROLE_ACC, n, 2 * width, -8, 8);
    add_act(c, "y", ROLE_SCRATCH, n, width, 0, 0);
    add_act(c, "x_dropped", ROLE_SCRATCH, n, width, 0, 0);
    if (c->number[1] > 0) {
        add_act(c, "ds_down", ROLE_IN, n, c->number[1], -1, 1);
        add_array(c, "da_down", ROLE_ACC, LC_F32, c->number[1] * width, -1, 1);
        draw_dropout(c, n, false);
    }
    c->number[3] = -1;
    if (c->number[6] >= 0 && test_int(0, 3) > 0) { /* dy is to be completed; what is left of it? */
        c->number[3] = add_mat(c, "a_down", ROLE_IN, any_weight(c), c->number[1], width, -1, 1);
        (void)add_act(c, "product", ROLE_SCRATCH, n, width, 0, 0);
        c->number[4] = add_act(c, "dy before", ROLE_IN, n, width, -1, 1);
        c->tensors[dy].role = ROLE_SCRATCH;
    }
    c->parts = (lc_lora_parts){0};
    c->tail = 0;
    const int32_t rank = ranks[test_int(0, 5)];
    for (int which = 0; which < 2; which++) {
        if ((c->number[2] >> which & 1) != 0) {
            c->parts.part[c->parts.count++] = (lc_lora_part){.row = which * (int32_t)width,
                                                             .out = (int32_t)width,
                                                             .slot = (int32_t)c->tail,
                                                             .width = rank,
                                                             .module = 4 + which,
                                                             .scale = 2.0f};
            c->tail += rank;
        }
    }
    if (c->tail > 0) {
        c->number[0] = draw_output_side(c, n, 2 * width);
    }
    DESCRIBE(c, "N %d I %d down %d gate %d up %d rank %d p %g", (int)n, (int)width,
             (int)c->number[1], (int)c->number[2] & 1, (int)c->number[2] >> 1, rank,
             (double)c->dropout.p);
}

lc_code fill_scratch(const op_case *c, lc_device *device, lc_mat to, lc_mat from, lc_err *err)
{
    if (!c->reference) {
        return device->ops->copy(device, to, from, err);
    }
    for (int64_t i = 0; i < to.rows; i++) {
        for (int64_t j = 0; j < to.cols; j++) {
            ref_put(to, i, j, ref_get(from, i, j));
        }
    }
    return LC_OK;
}

lc_code run_swiglu_backward(op_case *c, lc_device *device, lc_err *err)
{
    const int32_t rank = (int32_t)c->number[1];
    const lc_lora_parts down_parts = {
        .count = 1, .part = {{.out = 8, .width = rank, .module = 6, .scale = 1.0f}}};
    lc_lora_dx_args down = {0};
    lc_lora_dy_args gate_up = {0};
    if (rank > 0) {
        down = (lc_lora_dx_args){.x = view(c, 2),
                                 .ds = view(c, 4),
                                 .da = pointer(c, 5),
                                 .parts = down_parts,
                                 .x_dropped = view(c, c->number[6] >= 0 ? 3 : -1),
                                 .dropout = dropout_of(c)};
    }
    if (c->tail > 0) {
        gate_up = output_side(c, (int)c->number[0], view(c, 1));
    }
    const bool has_dropped = c->number[3] >= 0;
    lc_lora_dropout_backward_args dropped = {0};
    if (has_dropped) {
        const int a = (int)c->number[3];
        dropped = (lc_lora_dropout_backward_args){.ds = down.ds,
                                                  .a = view(c, a),
                                                  .parts = down.parts,
                                                  .dropout = down.dropout,
                                                  .product = view(c, a + 1),
                                                  .dx = view(c, 0)};
        LC_TRY(fill_scratch(c, device, view(c, 0), view(c, (int)c->number[4]), err));
    }
    const lc_swiglu_backward_args args = {.dy = view(c, 0),
                                          .gate_up = view(c, 1),
                                          .lora_down = rank > 0 ? &down : NULL,
                                          .lora_gate_up = c->tail > 0 ? &gate_up : NULL,
                                          .dropped = has_dropped ? &dropped : NULL};
    ON_DEVICE(swiglu_backward, args)
    if (has_dropped) {
        ref_lora_dropout_backward(&dropped);
    }
    if (args.lora_down != NULL) {
        ref_swiglu(&(lc_swiglu_args){.gate_up = args.gate_up, .y = down.x});
        ref_lora_dx(args.lora_down);
    }
    ref_swiglu_backward(&args);
    if (args.lora_gate_up != NULL) {
        ref_lora_dy(args.lora_gate_up);
    }
    return LC_OK;
}
