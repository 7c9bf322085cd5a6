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

/* What a step did. */
typedef struct lc_results {
    lc_sums sums;
    lc_update update;
} lc_results;

/* One linear group of one of several adapters, by itself. */
typedef struct lc_adapter_group {
    lc_mat a, sb;        /* R x in, out x R; R 0: it adapts none of them */
    lc_lora_parts parts; /* its modules; without gradients */
} lc_adapter_group;

/* Room for an adapter, and the one in it. */
typedef struct lc_adapter_place {
    lc_adapter_group *groups; /* owned: LC_GROUP_COUNT of each layer; NULL: there is none */
    void *block;              /* owned device memory */
    int64_t bytes;            /* of it */
} lc_adapter_place;

typedef struct lc_model {
    lc_model_config config;
    lc_adapter_spec spec;
    lc_device *device; /* borrowed */
    const lc_memory_rules *memory;
    lc_dtype dtype;      /* of the base matrices */
    lc_dtype activation; /* of activations and their gradients */
    float dropout;
    bool training;
    int32_t recompute; /* see lc_model_options */
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
    lc_mat d_product;             /* N x (max(I, C, HD) + border) */
    lc_mat d_read;                /* N x C: gradient of the rows that are read, on its way to all */
    lc_mat logits;                /* head_rows x V */
    float *head_rstd, *nll, *correct, *delta;
    lc_sums *sums;     /* of the micro-batches since lc_model_clear_sums */
    lc_update *update; /* with training only */
    void *workspace;   /* of the device, workspace_bytes */
    size_t workspace_bytes;
    lc_publish_slot *publish_slots; /* the adapter's way into the borders */
    int32_t publish_count, publish_elements;

    /* The batch: one block that is filled in host memory and goes to the device as a whole */
    lc_step_values *values;
    int32_t *ids, *positions, *target_rows, *targets, *slots;
    int64_t *examples;
    float *target_weights, *cos, *sin;
    void *layout;           /* of its documents, where the device wants one */
    int64_t *read_examples; /* of target_rows, with dropout */
    int32_t *read_positions;
    void *host_data[LC_HOST_SLOTS]; /* owned mirrors of the block; NULL where it is host memory */
    int host_slot;                  /* the mirror in use */
    lc_results *host_results;       /* owned, LC_HOST_SLOTS; with training only */
    int64_t results_queued, results_taken;
    int64_t rows;       /* of the batch, as the device runs it (round_rows) */
    int64_t read_count; /* rows listed in target_rows: all that is read of the last
                                       layer; rounded alike */

    /* KV cache of generation: per layer (slots*rows) x K*D */
    lc_mat *k_cache, *v_cache;
    int64_t cache_slots, cache_rows;
    void *host_logits; /* one row of logits, where they are not F32 */

    /* Choosing tokens; what is [slots] has an entry for each sequence of a pass */
    int32_t *chosen;                          /* [slots] the last pass's tokens */
    int32_t *chosen_positions, *chosen_slots; /* [slots] of these, and of their sequences */
    lc_sample_row *chosen_how;                /* [slots] */
    float *cos_by_position, *sin_by_position; /* cache_rows x D/2; NULL: cannot run ahead */
    int32_t *host_chosen[LC_HOST_SLOTS];      /* owned: tokens on their way to the host */
    int32_t sequence_count;                   /* of the last pass */

    /* Adapters of rows, where the spec has copies; of each, its rows of a pass as a list for
     * gather_rows: n where row n has it, else -1. Those of all rows, and of the rows that are read;
     * a step, whose rows are all read, has only the second */
    lc_adapter_place places[LC_MAX_ADAPTER_COPIES];
    int32_t *adapter_rows, *adapter_read_rows; /* copies x tokens */
    uint32_t active_adapters;                  /* bits: copies that a row of the pass has */
    bool is_step;                              /* the pass has a row of each sequence */
    uint64_t passes_chosen, passes_read;       /* how many */
} lc_model;

typedef struct lc_model_options {
    lc_dtype dtype;                /* LC_F32 or LC_BF16 */
    const lc_memory_rules *memory; /* of the device that the model is planned for; lc_model_open
                                      asks its device */
    bool training;
    float dropout;
    int32_t recompute; /* what the backward pass computes again rather than have it kept, in steps
                          of lc_model_recompute_steps; changes memory and time, not a bit else */
    int64_t tokens;    /* capacity of a micro-batch, or of a generation step */
    int64_t cache_slots, cache_rows; /* generation; 0: none */
} lc_model_options;

/* So many steps there are, 0 to this: the first half give up gate|up of one layer more each, the
 * others all of a layer but its input. In bytes per microsecond gate|up is the cheapest (at
 * Llama-3.1-8B on an H200 about 176 KB, the rest of a layer 158 KB). The last layer is kept. */
int32_t lc_model_recompute_steps(const lc_model_config *config, const lc_adapter_spec *spec);

/* What so many steps come to: layers of which only the input is kept, and others without gate|up.
 * Both from the first saved layer up, since the backward pass comes to that one last. */
typedef struct lc_recomputed {
    int32_t whole, gate_up;
} lc_recomputed;
lc_recomputed lc_model_recomputed(const lc_model_config *config, const lc_adapter_spec *spec,
                                  int32_t steps);

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
/* An adapter of any targets, ranks and scales into a place that no sequence uses, instead of the
 * one that may be there: 0..copies-1 of the spec that the model was opened with. Takes memory
 * beyond the plan, places[place].bytes; waits for the passes that are queued. A module with a
 * higher rank than that spec's is LC_ERR_UNSUPPORTED, param "r"; after an error the place is as
 * before. */
LC_WARN_UNUSED lc_code lc_model_load_adapter(lc_model *model, int32_t place,
                                             const lc_adapter_spec *spec, const float *master,
                                             lc_err *err);
/* Gives the memory of a place back, which no sequence uses. Empty already: nothing. */
void lc_model_drop_adapter(lc_model *model, int32_t place);
/* Device masters to host. */
LC_WARN_UNUSED lc_code lc_model_get_masters(lc_model *model, float *master, lc_err *err);
/* Forward pass and loss of a packed micro-batch, added to the sums; with `backward` also the
 * gradient of the summed loss, added to model->grad. seed and step key the dropout masks (used with
 * backward only). Queued: nothing is waited for. */
LC_WARN_UNUSED lc_code lc_model_batch(lc_model *model, const lc_batch *batch, bool backward,
                                      uint32_t seed, uint32_t step, lc_err *err);

LC_WARN_UNUSED lc_code lc_model_clear_sums(lc_model *model, lc_err *err);
/* Sets sums->stops to 1: this rank was asked to stop. Waits for the micro-batches so far. */
LC_WARN_UNUSED lc_code lc_model_note_stop(lc_model *model, lc_err *err);
/* Waits for the micro-batches since then. */
LC_WARN_UNUSED lc_code lc_model_read_sums(lc_model *model, lc_sums *sums, lc_err *err);

/* Settings of the optimizer; the rest is in lc_step_values. */
typedef struct lc_update_options {
    double clip; /* 0: off */
    double beta1, beta2, eps, weight_decay;
} lc_update_options;

/* Divides the summed gradient by `weight`, clips, updates the masters, publishes them. Queued, and
 * recorded: `options` are the same in all calls for a model. */
LC_WARN_UNUSED lc_code lc_model_update(lc_model *model, const lc_update_options *options,
                                       double weight, double learning_rate, lc_err *err);
/* Queues the way of sums and update to host memory; LC_HOST_SLOTS at most may be on it. */
LC_WARN_UNUSED lc_code lc_model_queue_results(lc_model *model, lc_err *err);
/* The oldest of those that were queued. Waits for them alone: the device goes on with what was
 * queued behind. */
LC_WARN_UNUSED lc_code lc_model_take_results(lc_model *model, lc_results *results, lc_err *err);
/* The number of updates that the optimizer's state has seen. */
LC_WARN_UNUSED lc_code lc_model_set_updates(lc_model *model, int64_t count, lc_err *err);

/* lc_memory_rules.least_shared, or 0 where the rows of a common beginning differ by document, as
 * dropout and rotary scaling by length make them. */
int32_t lc_model_least_shared(const lc_model *model, bool backward);

/* Generation: rows of several sequences at once. Row n is token ids[n] of sequence slots[n] at
 * positions[n]. Of the rows listed in want (ascending) either the logits are given back, or the
 * next tokens are chosen by `how` and wait for lc_model_read_chosen; then no more than cache_slots
 * rows are wanted, and the model has been opened with cache_slots <= head_rows. */
typedef struct lc_decode_args {
    int32_t token_count;
    const int32_t *ids, *positions, *slots; /* host */
    const int32_t *lengths; /* host; of each row's sequence with all of its prompt, which dynamic
                               rotary scaling goes by; NULL: as long as these rows make it */
    const int32_t
        *adapters; /* host, cache_slots: the copy of the adapter that each sequence has, -1
                                none; NULL: no sequence has one, or the spec has no copies */
    const int32_t *want;
    int32_t want_count;       /* <= head_rows */
    float *logits;            /* [out] host, want_count x V; NULL: `how` is given */
    const lc_sample_row *how; /* host, want_count */
} lc_decode_args;
LC_WARN_UNUSED lc_code lc_model_decode(lc_model *model, const lc_decode_args *args, lc_err *err);

/* Whether lc_model_decode_next may be called: on a device that works while the host goes on, with
 * rotation by position alone. */
bool lc_model_can_run_ahead(const lc_model *model);
/* Another pass: a row of each sequence for which the last one has chosen a token, which is that
 * row's token, with no other pass in between; each has room for it in its cache_rows, which is not
 * checked. Queued as one recorded sequence; nothing is uploaded. No more than LC_HOST_SLOTS passes
 * may wait to be read. */
LC_WARN_UNUSED lc_code lc_model_decode_next(lc_model *model, lc_err *err);
/* Waits for the oldest pass that has chosen and was not read: *ids, in the order of `want`, -1
 * where logits were not finite. Borrowed until another pass is queued. */
LC_WARN_UNUSED lc_code lc_model_read_chosen(lc_model *model, const int32_t **ids, lc_err *err);
/* The same without waiting, for a pass that nobody wants to know of. */
void lc_model_skip_chosen(lc_model *model);
/* Logits of row `index` of `want`, V floats, of the last pass that chose: before another one. */
LC_WARN_UNUSED lc_code lc_model_read_logits(lc_model *model, int32_t index, float *logits,
                                            lc_err *err);
/* Keys and values of positions 0..count-1 of one sequence become those of another, too. */
LC_WARN_UNUSED lc_code lc_model_copy_cache(lc_model *model, int64_t from_slot, int64_t to_slot,
                                           int64_t count, lc_err *err);

/* ---- parts, one file each, shared by the functions above ---- */

/* Layers 0..L-1 from ids to model->hidden, which holds the read_count rows of target_rows only.
 * Packed attention by cu_seqlens of `batch`; NULL: attention over the KV cache. */
LC_WARN_UNUSED lc_code lc_model_forward(lc_model *model, int64_t rows, const lc_batch *batch,
                                        const lc_dropout *dropout, lc_err *err);
/* From model->d_hidden (gradient of model->hidden) down to the first adapted layer. */
LC_WARN_UNUSED lc_code lc_model_backward(lc_model *model, const lc_batch *batch,
                                         const lc_dropout *dropout, lc_err *err);
/* Final norm, head and cross-entropy in chunks over the supervised rows, added to the sums; with
 * gradient fills d_hidden. */
LC_WARN_UNUSED lc_code lc_model_head_loss(lc_model *model, bool gradient, lc_err *err);

#endif
