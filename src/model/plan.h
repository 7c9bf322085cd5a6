/*
 * The memory plan: every buffer of a run (name, class, dtype, shape, bytes) before anything is allocated.
 * One block per class is allocated; the plan's offsets carve it. `lorac plan` prints this table.
 */
#ifndef LC_MODEL_PLAN_H
#define LC_MODEL_PLAN_H

#include "lorac/mem.h"
#include "model/weights.h"

#define LC_MAX_PLAN_BUFFERS 8192

typedef enum lc_plan_class {
    LC_PLAN_WEIGHTS,     /* frozen base with borders */
    LC_PLAN_ADAPTER,     /* masters, gradients, Adam moments, host copies */
    LC_PLAN_ACTIVATIONS, /* saved from forward to backward, per layer */
    LC_PLAN_SCRATCH,     /* reused by every layer */
    LC_PLAN_CACHE,       /* KV cache of generation */
    LC_PLAN_DATA,        /* tokenized data sets, batches */
    LC_PLAN_PROCESS,     /* program, libraries, thread stacks: measured */
    LC_PLAN_CLASS_COUNT
} lc_plan_class;

typedef struct lc_plan_buffer {
    char name[48];
    lc_plan_class plan_class;
    lc_dtype dtype;
    int64_t rows, cols; /* elements; cols is the stride */
    int64_t bytes;
    int64_t offset; /* in its class's block */
} lc_plan_buffer;

typedef struct lc_plan {
    lc_plan_buffer *buffers; /* owned by the arena of lc_plan_init */
    int32_t count;
    int64_t class_bytes[LC_PLAN_CLASS_COUNT];
} lc_plan;

/* What the sizes depend on. */
typedef struct lc_plan_input {
    const lc_model_config *config;
    const lc_adapter_spec *spec; /* all slots rank 0: no adapter */
    lc_dtype dtype;              /* of the base matrices */
    bool training;
    float dropout;
    int64_t tokens;          /* N of the largest micro-batch, or rows of a generation step */
    int64_t head_rows;       /* rows of one head/cross-entropy chunk */
    int64_t cache_slots, cache_rows; /* generation: sequences, tokens each; 0: none */
} lc_plan_input;

LC_WARN_UNUSED lc_code lc_plan_make(const lc_plan_input *input, lc_arena *arena, lc_plan *out, lc_err *err);
/* Adds a buffer; also for callers (data, process). */
LC_WARN_UNUSED lc_code lc_plan_add(lc_plan *plan, lc_plan_class plan_class, lc_dtype dtype, int64_t rows,
                                   int64_t cols, lc_err *err, const char *name_format, ...)
    LC_PRINTF(7, 8);
int64_t lc_plan_total(const lc_plan *plan);
const lc_plan_buffer *lc_plan_find(const lc_plan *plan, const char *name);
const char *lc_plan_class_name(lc_plan_class plan_class);

#endif
