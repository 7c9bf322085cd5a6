/* What the files of the op table share: tensors of a case, sizes, and the rows' functions. */
#ifndef TESTS_OPS_CASES_DRAW_H
#define TESTS_OPS_CASES_DRAW_H

#include <math.h>

#include "cases.h"
#include "reference.h"
#include "testing.h"

#define CPU_STRIP 16 /* lc_memory_rules.strip */

#define DESCRIBE(c, ...) (void)snprintf((c)->shape, sizeof(c)->shape, __VA_ARGS__)

/* In a row's run function: the device's op, or go on to the reference. */
#define ON_DEVICE(op, args)                           \
    if (!c->reference) {                              \
        return device->ops->op(device, &(args), err); \
    }

/* A matrix with values in low..high, or left poisoned when it is an output or scratch; its index.
 */
int add_mat(op_case *c, const char *name, role kind, lc_dtype dtype, int64_t rows, int64_t cols,
            double low, double high);
/* A weight that an op reads, with values in -1..1; where its rows allow it mostly in strips. */
int add_weight(op_case *c, const char *name, lc_dtype dtype, int64_t rows, int64_t cols);
/* A cache of keys with values in -2..2; where its slots allow it mostly in strips. */
int add_keys(op_case *c, role kind, int64_t slots, int64_t slot_rows, int64_t cols);
/* `rows`, or in every other case on the CPU rounded up to whole strips. */
int64_t whole_strips(const op_case *c, int64_t rows);
/* An activation, of the case's type. */
int add_act(op_case *c, const char *name, role kind, int64_t rows, int64_t cols, double low,
            double high);
/* The same for a plain array; whole numbers unless it is F32. */
int add_array(op_case *c, const char *name, role kind, lc_dtype dtype, int64_t count, double low,
              double high);
/* Gives two output matrices the wider of their strides. */
void same_ld(op_case *c, int one, int other);
void set_element(tensor *t, int64_t row, int64_t col, double value);
double get_element(const tensor *t, int64_t row, int64_t col);
/* What an op gets: the device's window, or the reference's dense F64 copy. Index -1: none, NULL. */
lc_mat view(const op_case *c, int index);
void *pointer(const op_case *c, int index);
/* The same of an array that stays in host memory. */
void *host_pointer(const op_case *c, int index);
/* A scratch tensor that the op reads is filled: on the device, or for the reference. */
lc_code fill_scratch(const op_case *c, lc_device *device, lc_mat to, lc_mat from, lc_err *err);
/* A copy of host bytes where the device under test can read them (host memory for the reference);
 * it lives as long as the run. */
void *for_device(op_case *c, const void *bytes, size_t count);

/* 1..most, half of the time one of the awkward sizes. */
int64_t any_size(int64_t most);
/* The same, as wide as rows must be where the case runs. */
int64_t any_width(const op_case *c, int64_t most);
lc_dtype any_weight(const op_case *c); /* F32 or BF16; on a GPU as the activations */
/* The rstd that the forward pass would have saved, for columns first..first+count-1. */
double saved_rstd(const tensor *x, int64_t row, int64_t first, int64_t count, double eps);

/* Draws a mask and adds its row keys as tensors `number[6]` and the next, or none (-1). */
void draw_dropout(op_case *c, int64_t rows, bool always);
lc_dropout dropout_of(op_case *c);

/* Into c->parts one to three modules (at most `most`) with slots of any rank; between and behind
 * them there may be rows of modules that are not adapted. Returns the rows of all. */
int64_t draw_parts(op_case *c, int most);
/* Of c->parts: sb, zero outside of their blocks, s, ds and each part's db; the index of sb. */
int draw_output_side(op_case *c, int64_t n, int64_t out);
/* What lora_dy is asked, with these tensors. */
lc_lora_dy_args output_side(op_case *c, int first, lc_mat dy);

#define DECLARE_ROW(op)         \
    void draw_##op(op_case *c); \
    lc_code run_##op(op_case *c, lc_device *device, lc_err *err)

DECLARE_ROW(embed);
DECLARE_ROW(rmsnorm);
DECLARE_ROW(rmsnorm_backward);
DECLARE_ROW(linear);
DECLARE_ROW(linear_backward);
DECLARE_ROW(lora_forward);
DECLARE_ROW(lora_dy);
DECLARE_ROW(lora_dx);
DECLARE_ROW(lora_dropout_backward);
DECLARE_ROW(lora_publish);
DECLARE_ROW(qk_rope);
DECLARE_ROW(qk_rope_backward);
DECLARE_ROW(attention);
DECLARE_ROW(attention_backward);
DECLARE_ROW(cache_append);
DECLARE_ROW(attention_cached);
DECLARE_ROW(swiglu);
DECLARE_ROW(swiglu_backward);
DECLARE_ROW(gather_rows);
DECLARE_ROW(scatter_rows);
DECLARE_ROW(cross_entropy);
DECLARE_ROW(sample);
DECLARE_ROW(advance);
DECLARE_ROW(add_sums);
DECLARE_ROW(adamw);

#endif
