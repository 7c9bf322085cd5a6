/*
 * One model, one tokenized data set, one PEFT adapter: gradients of a step, a training run,
 * logits. What the parity probe prints for Python and what golden_test.c and invariance_test.c
 * compare in C. Knows nothing of job files.
 */
#ifndef TESTS_SUPPORT_PARITY_H
#define TESTS_SUPPORT_PARITY_H

#include "data/dataset.h"
#include "lorac/backend.h"
#include "model/model.h"
#include "train/trainer.h"

#define PARITY_CHUNK 256 /* tokens of one parity_logits call at most */

typedef struct parity_options {
    const char *model_dir;
    const char *dataset_path; /* tokenized .safetensors; NULL: none */
    const char *adapter_dir;  /* PEFT adapter */
    int64_t tokens;           /* micro-batch capacity */
    float dropout;
    int threads;
    bool generation;       /* opens for parity_logits instead of training */
    lc_device_kind device; /* LC_DEVICE_AUTO: the CPU */
    lc_dtype dtype;
    int32_t recompute; /* as in lc_model_options */
} parity_options;

/* The device and the type that LORAC_TEST_DEVICE and LORAC_TEST_DTYPE name, else cpu and fp32. */
lc_device_kind parity_device(void);
lc_dtype parity_dtype(void);

typedef struct parity_run {
    parity_options options;
    lc_model_config config;
    lc_adapter_spec spec;
    lc_dataset dataset;
    lc_weight_files *files;
    lc_device *device;
    lc_model model;
    bool model_is_open;
    float *master; /* spec.master_count, as loaded; owned */
} parity_run;

LC_WARN_UNUSED lc_code parity_open(const parity_options *options, parity_run **out, lc_err *err);
void parity_close(parity_run *run);

/* Gradient sums over the whole data set under the loaded adapter, into grad (spec.master_count
 * floats). documents > 0: that many examples in each micro-batch, in file order; 0: the packer
 * decides. */
typedef struct parity_step {
    int64_t documents;
    bool packing;
    bool shares; /* a common beginning once, where the model can */
    uint32_t seed, step;
} parity_step;
LC_WARN_UNUSED lc_code parity_gradient(parity_run *run, const parity_step *step, float *grad,
                                       lc_sums *sums, lc_err *err);

/* Hooks of a training that keeps nothing. */
lc_code parity_ignore_epoch(void *context, int64_t epoch, const lc_metrics *metrics,
                            const float *master, lc_err *err);
lc_code parity_ignore_checkpoint(void *context, lc_train_state *state, lc_err *err);

/* Trains in file order; losses[i] is the mean loss of step i (options->total_steps of them). The
 * result is in run->master afterwards. */
LC_WARN_UNUSED lc_code parity_train(parity_run *run, const lc_train_options *options,
                                    double *losses, lc_err *err);

/* Logits of all tokens of example `example` through the generation path, `chunk` tokens a call:
 * length x V into *logits (lc_malloc, owned by the caller). */
LC_WARN_UNUSED lc_code parity_logits(parity_run *run, int64_t example, int64_t chunk,
                                     float **logits, lc_err *err);

/* The i-th adapter tensor of a spec in the order layer, module, A before B; false behind the last.
 * name is PEFT's ("base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"). Element (r, c)
 * of the rows x cols tensor is at master[offset + r*ld + c]. */
typedef struct parity_tensor {
    char name[128];
    int64_t rows, cols, offset, ld;
} parity_tensor;
bool parity_tensor_at(const parity_run *run, int64_t index, parity_tensor *out);

#endif
