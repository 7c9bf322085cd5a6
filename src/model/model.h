/*
 * A model ready to run: config, plan, weights with the adapter in their borders, activations.
 * Forward, backward and the head with its loss work on one packed micro-batch (data/batch.h) and on
 * device memory carved by the plan. Nothing here allocates after open.
 */
#ifndef LC_MODEL_MODEL_H
#define LC_MODEL_MODEL_H

#include "data/batch.h"
#include "lorac/ops.h"
#include "model/plan.h"

/* Saved by the forward pass of one layer for its backward pass. */
typedef struct lc_layer_activations {
    lc_mat input; /* h_in, N x C */
    lc_mat qkv;   /* output of the wide projection, N x (H+2K)D; q and k rotated in place unless
                     normed */
    lc_mat qk; /* rotated q and k, N x (H+K)D: with q/k norm a buffer of its own, else a window of
                  qkv */
    /* In the last layer, what comes past attention is of the rows that are read, and o_proj has its
     * input and S in lc_model.read_attended. */
    lc_mat attended; /* attention output, N x H*D, its tail columns hold S of o_proj */
    lc_mat middle;   /* h_mid, N x C */
    lc_mat gate_up;  /* N x (2I + border); the backward pass overwrites it with its gradient */
    lc_mat s[LC_GROUP_COUNT]; /* compact copies of S of each group, N x tail */
    float *rstd1, *rstd2, *rstd_qk, *lse;
} lc_layer_activations;

typedef struct lc_model {
    lc_model_config config;
    lc_adapter_spec spec;
    lc_device *device; /* borrowed */
    lc_dtype dtype;    /* of the base matrices */
    float dropout;
    bool training;
    lc_plan plan;
    lc_weights weights;
    lc_arena arena;                    /* host structs */
    void *blocks[LC_PLAN_CLASS_COUNT]; /* owned device memory */

    /* adapter: device, spec.master_count floats each; the last three with training only */
    float *master, *grad, *adam_m, *adam_v;

    /* activations and scratch, capacity `tokens` rows */
    int64_t tokens;               /* N at most */
    int64_t head_rows;            /* rows of one chunk of logits */
    lc_layer_activations *layers; /* L; without training all share one set */
    lc_mat hidden;                /* N x C: output of the last layer, at the rows that are read */
    lc_mat read_attended;         /* N x (HD + border): its attention output at these rows; in the
                                     backward pass then the gradient of that of all rows */
    lc_mat normed;                /* N x (C + border) */
    lc_mat product;               /* N x (I + border): swiglu output */
    lc_mat dropped;               /* N x max(C, HD, I), with dropout */
    lc_mat d_hidden;              /* N x (C + border) */
    lc_mat d_qkv;                 /* N x ((H+2K)D + border) */
    lc_mat d_product;             /* N x max(I, C, HD) */
    lc_mat d_read;                /* N x C: gradient of the rows that are read, on its way to all */
    lc_mat logits;                /* head_rows x V */
    float *head_rstd, *nll, *correct;
    float *cos, *sin, *delta;
    int32_t *ids, *positions, *target_rows, *targets; /* device copies of the batch */
    int64_t *examples;
    float *target_weights;
    int32_t read_count;     /* rows listed in target_rows: all that is read of the last layer */
    int64_t *read_examples; /* of these rows, with dropout */
    int32_t *read_positions;
    float *host_cos, *host_sin, *host_rows; /* host staging */
    int64_t *host_examples;                 /* with dropout */
    int32_t *host_positions;

    /* KV cache of generation: per layer (slots*rows) x K*D */
    lc_mat *k_cache, *v_cache;
    int64_t cache_slots, cache_rows;
    int32_t *slots;
} lc_model;

typedef struct lc_model_options {
    lc_dtype dtype; /* LC_F32 or LC_BF16 */
    bool training;
    float dropout;
    int64_t tokens;                  /* capacity of a micro-batch, or of a generation step */
    int64_t cache_slots, cache_rows; /* generation; 0: none */
} lc_model_options;

/* The plan that lc_model_open would allocate, without allocating it. */
LC_WARN_UNUSED lc_code lc_model_plan(const lc_model_config *config, const lc_adapter_spec *spec,
                                     const lc_model_options *options, lc_arena *arena,
                                     lc_plan *plan, lc_err *err);

/* Allocates by the plan and loads the weights of `files`. config and spec are copied. Masters are
 * zero until lc_model_set_masters. *model is large: allocate it with lc_calloc. */
LC_WARN_UNUSED lc_code lc_model_open(const lc_model_config *config, const lc_adapter_spec *spec,
                                     const lc_weight_files *files, const lc_model_options *options,
                                     lc_device *device, lc_model *model, lc_err *err);
void lc_model_close(lc_model *model);

/* Copies host masters (spec.master_count floats) to the device and into the borders. */
LC_WARN_UNUSED lc_code lc_model_set_masters(lc_model *model, const float *master, lc_err *err);
/* Device masters to host. */
LC_WARN_UNUSED lc_code lc_model_get_masters(lc_model *model, float *master, lc_err *err);
/* After the optimizer changed the device masters: writes A and scale*B into the borders. */
LC_WARN_UNUSED lc_code lc_model_publish(lc_model *model, lc_err *err);

/* Sums over one micro-batch's supervised positions. */
typedef struct lc_batch_sums {
    double loss;    /* sum of weight * nll */
    double weight;  /* sum of weights */
    double correct; /* number of positions whose argmax is the target */
    double targets; /* number of positions */
} lc_batch_sums;

static inline void lc_batch_sums_add(lc_batch_sums *total, const lc_batch_sums *part)
{
    total->loss += part->loss;
    total->weight += part->weight;
    total->correct += part->correct;
    total->targets += part->targets;
}

/* Forward pass and loss of a packed micro-batch; with `backward` also the gradient of the summed
 * loss, added to model->grad. seed and step key the dropout masks (used with backward only). */
LC_WARN_UNUSED lc_code lc_model_batch(lc_model *model, const lc_batch *batch, bool backward,
                                      uint32_t seed, uint32_t step, lc_batch_sums *sums,
                                      lc_err *err);

/* Whether a batch may hold a common beginning once: not where its rows differ by document, as
 * dropout and rotary scaling by length make them. */
bool lc_model_can_share(const lc_model *model, bool backward);

/* Generation: rows of several sequences at once. Row n is token ids[n] of sequence slots[n] at
 * positions[n]; logits [out]: host memory, want_count x V, of the rows listed in want (ascending).
 */
typedef struct lc_decode_args {
    int32_t token_count;
    const int32_t *ids, *positions, *slots; /* host */
    const int32_t *lengths; /* host; of each row's sequence with all of its prompt, which dynamic
                               rotary scaling goes by; NULL: as long as these rows make it */
    const int32_t *want;
    int32_t want_count; /* <= head_rows */
    float *logits;
} lc_decode_args;
LC_WARN_UNUSED lc_code lc_model_decode(lc_model *model, const lc_decode_args *args, lc_err *err);

/* ---- parts, one file each, shared by the functions above ---- */

/* Layers 0..L-1 from ids to model->hidden, which holds the read_count rows of target_rows only.
 * decode NULL: packed attention by cu_seqlens of `batch`. */
LC_WARN_UNUSED lc_code lc_model_forward(lc_model *model, int32_t token_count, const lc_batch *batch,
                                        const lc_decode_args *decode, const lc_dropout *dropout,
                                        lc_err *err);
/* From model->d_hidden (gradient of model->hidden) down to the first adapted layer. */
LC_WARN_UNUSED lc_code lc_model_backward(lc_model *model, const lc_batch *batch,
                                         const lc_dropout *dropout, lc_err *err);
/* Final norm, head and cross-entropy in chunks over the supervised rows; with gradient fills
 * d_hidden. */
LC_WARN_UNUSED lc_code lc_model_head_loss(lc_model *model, const lc_batch *batch, bool gradient,
                                          lc_batch_sums *sums, lc_err *err);

#endif
