/*
 * The table of op tests, for any backend: a row per op that draws a case (odd shapes, strides wider
 * than the rows, in-place variants, BF16 weights) and can run it on a device or on the fp64
 * reference. ops_test.c drives it for the CPU backend, emu/ops_test.c for the CUDA backend.
 * Everything around an op's windows is poisoned and compared afterwards.
 */
#ifndef TESTS_OPS_CASES_H
#define TESTS_OPS_CASES_H

#include "lorac/ops.h"

#define MAX_TENSORS 24
#define MAX_EXTRAS  8
#define GUARD_BYTES 64

typedef enum role {
    ROLE_IN,      /* must come back unchanged */
    ROLE_OUT,     /* poisoned before, every element must be written */
    ROLE_ACC,     /* read and written */
    ROLE_SCRATCH, /* poisoned, contents not compared */
} role;

typedef struct tensor {
    const char *name;
    role role;
    bool is_vector; /* a plain array of rows*cols elements, passed as a pointer */
    int64_t rows, cols, ld;
    lc_dtype dtype;
    int32_t strip; /* lc_mat.strip */
    double
        least_rms; /* values smaller than this come from cancellation: errors are relative to it */
    size_t bytes;  /* of data, guards included */
    uint8_t *data; /* owned: guard, rows, guard; what a device in host memory sees */
    uint8_t *on_device; /* owned by the device under test: its copy of data; NULL in host memory */
    uint8_t *before;    /* owned: data at the start of every run */
    double *exact;      /* owned: rows x cols for the reference, matrices only */
    uint8_t *plain;     /* owned: the reference's copy of a vector */
} tensor;

typedef struct op_case {
    tensor tensors[MAX_TENSORS];
    int count;
    int trial;                /* from 0; the first take the paths that chance might miss */
    bool reference;           /* views are those of the reference */
    lc_dtype activation;      /* F32, or BF16 on a GPU */
    bool is_gpu;              /* weights are as activations, rows begin at multiples of 16 bytes */
    bool is_rounded;          /* something in between is kept in BF16: wider bounds */
    bool is_same_any_way;     /* all ways that a GPU can do it give the same bytes */
    lc_device *device;        /* under test; owns what follows */
    void *extras[MAX_EXTRAS]; /* structs and arrays in device memory */
    int extra_count;
    char shape[256]; /* printed when something fails */
    /* Scalars of the op; each row uses what it needs. */
    int64_t number[8];
    double real[8];
    lc_attention_shape attention;
    lc_dropout dropout;
    uint32_t dropout_key[2];
    lc_lora_parts parts;
    int64_t tail; /* columns of all parts */
} op_case;

typedef struct op_row {
    const char *name;
    void (*draw)(op_case *c); /* shapes, tensors, scalars */
    /* On the device, or with c->reference on the reference (device NULL). */
    lc_code (*run)(op_case *c, lc_device *device, lc_err *err);
} op_row;

extern const op_row op_rows[];
extern const int op_row_count;

void case_release(op_case *c);
/* Runs the row on a device: its tensors as they are now, what it wrote back into data. */
lc_code case_run(op_case *c, const op_row *row, lc_device *device, lc_err *err);
/* Notes every tensor's data as it is now, and copies it for the reference. */
void case_remember(op_case *c);
/* Puts every tensor's data back to its first bytes. */
void case_reset(op_case *c);
/* After a device run: outputs within `tolerance` (relative L2; BF16 ones within their rounding) of
 * the reference and finite, nothing else changed. Fails the cmocka test with names and shape
 * otherwise. */
void case_compare(const op_case *c, const char *op, double tolerance);

#endif
