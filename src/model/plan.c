/*
 * The memory plan's table. Who allocates what is decided in layout.c; this file only adds up.
 */
#include "model/plan.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define PLAN_ALIGNMENT 256

lc_code lc_plan_init(lc_plan *plan, lc_arena *arena, lc_err *err)
{
    void *buffers = NULL;
    memset(plan, 0, sizeof *plan);
    LC_TRY(lc_arena_alloc(arena, LC_MAX_PLAN_BUFFERS, sizeof *plan->buffers, &buffers, err));
    plan->buffers = buffers;
    return LC_OK;
}

/* rows*cols*element bytes rounded up to the alignment; false on overflow. */
static bool buffer_bytes(lc_dtype dtype, int64_t rows, int64_t cols, int64_t *bytes)
{
    int64_t count, total;
    return rows >= 0 && cols >= 0 && lc_mul_i64(rows, cols, &count) &&
           lc_mul_i64(count, (int64_t)lc_dtype_bytes(dtype), &total) &&
           lc_add_i64(total, PLAN_ALIGNMENT - 1, &total) &&
           (*bytes = total / PLAN_ALIGNMENT * PLAN_ALIGNMENT, true);
}

lc_code lc_plan_add(lc_plan *plan, lc_plan_class plan_class, lc_dtype dtype, int64_t rows,
                    int64_t cols, lc_err *err, const char *name_format, ...)
{
    if (plan->count >= LC_MAX_PLAN_BUFFERS) {
        return lc_fail(err, LC_ERR_UNSUPPORTED, "the memory plan has more than %d buffers",
                       LC_MAX_PLAN_BUFFERS);
    }
    lc_plan_buffer *buffer = &plan->buffers[plan->count];
    va_list arguments;
    va_start(arguments, name_format);
    (void)vsnprintf(buffer->name, sizeof buffer->name, name_format, arguments);
    va_end(arguments);
    int64_t end;
    if (!buffer_bytes(dtype, rows, cols, &buffer->bytes) ||
        !lc_add_i64(plan->class_bytes[plan_class], buffer->bytes, &end)) {
        return lc_fail_param(err, LC_ERR_INVALID, buffer->name,
                             "buffer \"%s\" of %lld x %lld elements is larger than memory can be",
                             buffer->name, (long long)rows, (long long)cols);
    }
    buffer->plan_class = plan_class;
    buffer->dtype = dtype;
    buffer->rows = rows;
    buffer->cols = cols;
    buffer->offset = plan->class_bytes[plan_class];
    plan->class_bytes[plan_class] = end;
    plan->count++;
    return LC_OK;
}

int64_t lc_plan_total(const lc_plan *plan)
{
    int64_t total = 0;
    for (int i = 0; i < LC_PLAN_CLASS_COUNT; i++) {
        if (i != LC_PLAN_HOST && !lc_add_i64(total, plan->class_bytes[i], &total)) {
            return INT64_MAX;
        }
    }
    return total;
}

const char *lc_plan_class_name(lc_plan_class plan_class)
{
    static const char *const names[LC_PLAN_CLASS_COUNT] = {
        "weights", "adapter", "activations", "scratch", "cache", "data", "process", "host"};
    return names[plan_class];
}
