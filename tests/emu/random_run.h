/*
 * A random model with a random adapter and data set, made and opened within the test: on the CPU,
 * or on the backend that the test program is linked with, so that the test reaches the emulator's
 * counters and can put something in between. Everything follows from the shapes.
 */
#ifndef TESTS_EMU_RANDOM_RUN_H
#define TESTS_EMU_RANDOM_RUN_H

#include "data/dataset.h"
#include "lorac/backend.h"
#include "model/model.h"
#include "testing.h"

const lc_backend *lc_backend_entry(void); /* of the backend that the program is linked with */

typedef struct random_shape {
    const char *family; /* as config.json spells it: llama, qwen2 (biases), qwen3 (q/k norm) */
    int32_t layers, width, mlp, heads, kv_heads, head_dim, vocab;
    int32_t rank; /* of the adapter of every linear */
} random_shape;

typedef struct random_options {
    random_shape shape;
    lc_device_kind device; /* LC_DEVICE_CPU, or LC_DEVICE_EMU */
    lc_dtype dtype;
    bool generation; /* opens with a KV cache instead of for training */
    float dropout;
    int64_t tokens; /* capacity of a micro-batch */
    int64_t cache_slots, cache_rows;
} random_options;

typedef struct random_run {
    lc_model_config config;
    lc_adapter_spec spec;
    lc_weight_files *files; /* owned */
    lc_device *device;      /* owned */
    lc_model model;
    float *master; /* spec.master_count; owned */
    lc_arena arena;
} random_run;

lc_model_config random_config(const random_shape *shape);
lc_adapter_spec *random_adapter(const random_shape *shape, const lc_model_config *config);

/* Fails the test where something does not work. */
random_run *random_run_open(const random_options *options);
void random_run_close(random_run *run);

/* `count` examples of `length` tokens, all of them trained but the first; in arena. */
lc_dataset random_dataset(int64_t count, int64_t length, int32_t vocab, lc_arena *arena);
/* Examples first .. first+count-1 as one micro-batch of `capacity` rows; in arena. */
lc_batch random_batch(const lc_dataset *dataset, int64_t first, int64_t count, int64_t capacity,
                      lc_arena *arena);

#endif
