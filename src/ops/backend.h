/* Opening a device of any kind: the CPU's is built in, others come from libraries. */
#ifndef LC_OPS_BACKEND_H
#define LC_OPS_BACKEND_H

#include "lorac/backend.h"

const char *lc_device_kind_name(lc_device_kind kind); /* "auto", "cpu", "cuda", "emu" */

lc_device_kind lc_device_kind_of(const lc_device *device);

static inline bool lc_device_kind_is_gpu(lc_device_kind kind)
{
    return kind == LC_DEVICE_CUDA || kind == LC_DEVICE_EMU;
}

/* What AUTO stands for here: CUDA where a driver, the library and a GPU are found, else CPU. That
 * there is a driver but no usable GPU is said as a warning. */
lc_device_kind lc_device_auto(void);

/* What LORAC_ATTENTION asks for; AUTO if it makes no sense. */
lc_attention_path lc_attention_path_asked(void);
/* LC_ERR_USAGE: the variable says something else. */
LC_WARN_UNUSED lc_code lc_attention_path_check(lc_err *err);

/* Opens a device; close it with device->ops->close. */
LC_WARN_UNUSED lc_code lc_device_open(const lc_device_options *options, lc_device **out,
                                      lc_err *err);

/* The library of a kind, opened once and kept: LORAC_CUDA_LIBRARY, or its name beside the program,
 * or in ../lib seen from there, or where the system looks. *path (borrowed) says which. */
LC_WARN_UNUSED lc_code lc_backend_load(lc_device_kind kind, const lc_backend **out,
                                       const char **path, lc_err *err);

/* How a kind of device wants a model's memory; AUTO counts as CPU. No library is needed. */
const lc_memory_rules *lc_memory_rules_of(lc_device_kind kind);

/* The strip that the keys of a KV cache have: the device's, where slots are whole ones. */
int32_t lc_cache_strip(const lc_memory_rules *rules, int64_t slot_rows);

#endif
