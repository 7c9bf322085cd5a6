/* What the forward pass, the backward pass and the head share; private to src/model. */
#ifndef LC_MODEL_PASSES_H
#define LC_MODEL_PASSES_H

#include "model/model.h"

/* What record_begin tells apart. */
typedef enum lc_record_kind {
    LC_RECORD_FORWARD = 1,
    LC_RECORD_BACKWARD,
    LC_RECORD_DECODE,
    LC_RECORD_UPDATE
} lc_record_kind;

/* Of the batch's sizes as they are. */
uint64_t lc_record_key(const lc_model *model, lc_record_kind kind, uint32_t layout);

/* Takes the mirror of the batch that was used longest ago, once its last upload is done. */
LC_WARN_UNUSED lc_code lc_begin_upload(lc_model *model, lc_err *err);
/* Where the host writes what the device reads at `device_address`, in the block of the batch. */
void *lc_host_of(const lc_model *model, const void *device_address);
/* `count` numbers, then `filler` up to `rows`. */
void lc_put_ints(const lc_model *model, int32_t *to, const int32_t *from, int64_t count,
                 int64_t rows, int32_t filler);
/* Queues the batch's way to the device. */
LC_WARN_UNUSED lc_code lc_end_upload(lc_model *model, lc_err *err);

/* decode.c: what a model with a KV cache has beside its buffers. Close undoes a part of open. */
LC_WARN_UNUSED lc_code lc_open_generation(lc_model *model, lc_err *err);
void lc_close_generation(lc_model *model);

/* A linear group of one layer: its bordered matrix and its slots. */
typedef struct lc_group {
    lc_group_shape shape;
    lc_lora_parts parts; /* its adapted modules; without gradients where there is no training */
    lc_mat g;            /* (out + tail) x (in + tail) */
    const void *bias;    /* out, or NULL */
    float *da;           /* tail x in: gradient of A of all parts, one below the other */
    int32_t index;       /* of the group in each place's groups */
    const int32_t *adapter_rows; /* lists of the places' rows among those that the group has */
} lc_group;

lc_group lc_group_of(const lc_model *model, int32_t layer, lc_group_kind kind);

/* The modules of a group that a spec adapts, without gradients. */
lc_lora_parts lc_group_parts(const lc_model_config *config, const lc_adapter_spec *spec,
                             int32_t layer, lc_group_kind kind);

/* Past its attention, this layer has only the rows that are read. */
bool lc_is_last_layer(const lc_model *model, int32_t layer);

/* The first `rows` rows of a buffer that has room for more. */
lc_mat lc_rows(lc_mat mat, int64_t rows);

/* The dropout of rows that are read: keyed by their own examples and positions. */
lc_dropout lc_dropout_of_read_rows(const lc_model *model, const lc_dropout *dropout);

/* The dropout of one layer. */
lc_dropout lc_dropout_of(const lc_dropout *dropout, int32_t layer);

/* Rotated q, rotated k and v of a layer, as windows of `rows` rows. */
void lc_qkv_windows(const lc_model *model, const lc_layer_activations *layer, int64_t rows,
                    lc_mat *q, lc_mat *k, lc_mat *v);

/* Borrows the batch's cu_seqlens. */
lc_documents lc_documents_of(const lc_batch *batch);

lc_attention_shape lc_attention_shape_of(const lc_model *model, int32_t layer,
                                         const lc_batch *batch);

/* Fills in again what the forward pass has not kept of a layer (lc_model_layer_kept): the same
 * products of the same operands, so the same bytes. */
LC_WARN_UNUSED lc_code lc_restore_layer(lc_model *model, int32_t layer, const lc_batch *batch,
                                        lc_err *err);

/* rmsnorm of x into the first columns of y; rstd may be NULL. */
LC_WARN_UNUSED lc_code lc_norm_rows(lc_model *model, lc_mat x, const float *weight, lc_mat y,
                                    float *rstd, lc_err *err);

/* logits of the first `count` entries of model->target_rows into model->logits; count <= head_rows.
 */
LC_WARN_UNUSED lc_code lc_model_head_logits(lc_model *model, int32_t count, lc_err *err);

#endif
