/*
 * The memory plan: every buffer of a run (name, class, dtype, shape, bytes) before anything is
 * allocated. One block per class is allocated; the plan's offsets carve it. `lorac plan` prints
 * this table.
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
    LC_PLAN_HOST,        /* host memory of a job on a GPU; not part of the total */
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
    lc_plan_buffer *buffers; /* owned by the arena given to lc_plan_init */
    int32_t count;
    int64_t class_bytes[LC_PLAN_CLASS_COUNT];
} lc_plan;

/* An empty plan; its table lives in the arena. */
LC_WARN_UNUSED lc_code lc_plan_init(lc_plan *plan, lc_arena *arena, lc_err *err);
/* Adds a buffer at the end of its class, aligned to 256 bytes; also for callers (data, process).
 * Sizes that overflow are LC_ERR_INVALID naming the buffer. */
LC_WARN_UNUSED lc_code lc_plan_add(lc_plan *plan, lc_plan_class plan_class, lc_dtype dtype,
                                   int64_t rows, int64_t cols, lc_err *err, const char *name_format,
                                   ...) LC_PRINTF(7, 8);
/* Of the memory where the job computes. */
int64_t lc_plan_total(const lc_plan *plan);
const char *lc_plan_class_name(lc_plan_class plan_class);

#endif
