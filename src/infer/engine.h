/*
 * A base model with or without an adapter, opened for generation and evaluation: what `lorac chat`,
 * `eval` and `export` share, and the inference worker later. Loading is two steps, because the
 * sizes of the second depend on what the first has read.
 */
#ifndef LC_INFER_ENGINE_H
#define LC_INFER_ENGINE_H

#include "lorac/backend.h"
#include "model/model.h"

typedef struct lc_engine {
    lc_model_config config;
    lc_adapter_spec *spec;  /* owned; no slot has a rank without an adapter */
    float *master;          /* owned; host masters, NULL without an adapter or once started */
    lc_weight_files *files; /* owned */
    lc_device *device;      /* owned */
    lc_model *model;        /* owned; NULL until lc_engine_start */
} lc_engine;

typedef struct lc_engine_sizes {
    lc_device_kind device;
    const char *dtype; /* of the base matrices in memory: "fp32", "bf16", or "auto": fp32 on the
                          CPU, bf16 on a GPU */
    int threads;       /* 0: LORAC_THREADS, else all cores of this process */
    int64_t tokens;    /* rows of one pass at most */
    int64_t cache_slots, cache_rows; /* sequences at once, tokens of each; 0: no generation */
    int32_t adapters, rank; /* room for so many adapters of so high a rank, which sequences choose
                               among (lc_engine_load_adapter); 0: none but the one loaded at first,
                               which all have */
} lc_engine_sizes;

/* Reads config.json, generation_config.json, the headers of the weights, and the adapter
 * (adapter_dir NULL: none). On failure nothing is left open. */
LC_WARN_UNUSED lc_code lc_engine_load(const char *base_dir, const char *adapter_dir,
                                      lc_engine *engine, lc_err *err);

/* Opens the device, allocates, loads the weights. On failure the engine may still be closed. */
LC_WARN_UNUSED lc_code lc_engine_start(lc_engine *engine, const lc_engine_sizes *sizes,
                                       lc_err *err);

/* A PEFT directory into place 0..adapters-1, which no sequence uses, while others generate; takes
 * what memory the adapter needs. One of another base, damaged or of too high a rank is refused, or
 * there is no memory: the place is as before. */
LC_WARN_UNUSED lc_code lc_engine_load_adapter(lc_engine *engine, int32_t place,
                                              const char *adapter_dir, lc_err *err);

/* Gives the memory of a place back, which no sequence uses. */
void lc_engine_drop_adapter(lc_engine *engine, int32_t place);

/* Also for an engine that is zeroed or was closed before. */
void lc_engine_close(lc_engine *engine);

/* Compute threads for a request of `asked`: that number, or LORAC_THREADS, or all cores (asked
 * 0). */
LC_WARN_UNUSED lc_code lc_engine_threads(int64_t asked, int *threads, lc_err *err);

#endif
