/*
 * Generation of several sequences at once over one model with a KV cache. A finished sequence
 * leaves its slot and a new one enters while the others go on (continuous batching); long prompts
 * are read in pieces between the others' steps. Knows token ids only, no text.
 */
#ifndef LC_INFER_GENERATE_H
#define LC_INFER_GENERATE_H

#include "infer/sampling.h"
#include "model/model.h"

#define LC_MAX_STOP_IDS 16

typedef enum lc_finish {
    LC_FINISH_NONE,  /* goes on */
    LC_FINISH_STOP,  /* the token is a stop id */
    LC_FINISH_LENGTH /* max_tokens or the end of the context reached; the token is the last one */
} lc_finish;

typedef struct lc_generate_request {
    int64_t number;        /* the caller's name for it, given back with each token */
    const int32_t *prompt; /* copied */
    int64_t prompt_count;  /* 1 .. cache_rows - 1 */
    int64_t max_tokens;    /* new tokens at most, >= 1; the context may end earlier */
    lc_sampling sampling;  /* copied */
    uint32_t stream; /* of random numbers: requests with the same seed and stream draw alike */
    int32_t adapter; /* its place in a model with room for several, -1: none; else not read */
    bool wants_logprobs;
    int32_t top_count; /* most likely tokens whose log probability is wanted too: 0 to
                          LC_MAX_TOP_LOGPROBS */
} lc_generate_request;

#define LC_MAX_TOP_LOGPROBS 20

/* Natural logarithms of what the model gives a token, whatever its sampling settings are. */
typedef struct lc_logprobs {
    float chosen;
    int32_t count; /* the most likely ones, in this order; of equal ones the lower id first */
    int32_t ids[LC_MAX_TOP_LOGPROBS];
    float values[LC_MAX_TOP_LOGPROBS];
} lc_logprobs;

/* One new token of a sequence. */
typedef struct lc_generated {
    int64_t number;
    int32_t id;
    lc_finish finish;
    int64_t cached;              /* tokens of the prompt that had not to be computed */
    const lc_logprobs *logprobs; /* borrowed as the token is; NULL: not wanted */
} lc_generated;

typedef struct lc_generator lc_generator;

/* The model is borrowed and must have been opened with cache_slots >= 1; no more slots than rows
 * per pass. stop_ids end a sequence when sampled. */
LC_WARN_UNUSED lc_code lc_generator_open(lc_model *model, const int32_t *stop_ids,
                                         int32_t stop_count, lc_generator **out, lc_err *err);
void lc_generator_close(lc_generator *generator);

int64_t lc_generator_free_slots(const lc_generator *generator);
int64_t lc_generator_active(const lc_generator *generator);

/* Puts a request into a free slot: the one whose cache shares the longest beginning with the
 * prompt, which is then not computed again. Where another sequence with the same adapter, active or
 * not, shares more, that is copied: so of several answers to one prompt all but the first, added
 * once that has a token, compute one row of it. No free slot: LC_ERR_BUSY. Empty, too long, or an
 * id outside the vocabulary: LC_ERR_INVALID. */
LC_WARN_UNUSED lc_code lc_generator_add(lc_generator *generator, const lc_generate_request *request,
                                        lc_err *err);

/* One pass of the model. Every sequence whose prompt is through gets one token; *tokens is
 * borrowed until the next call, in slot order. Nothing active: *count 0. */
LC_WARN_UNUSED lc_code lc_generator_step(lc_generator *generator, const lc_generated **tokens,
                                         int32_t *count, lc_err *err);

/* Gives up one sequence: its slot is free again. No such number: nothing. */
void lc_generator_cancel_one(lc_generator *generator, int64_t number);

/* Before another adapter is loaded into a place: nothing of the one before is reused. LC_ERR_BUSY
 * while a sequence has it. */
LC_WARN_UNUSED lc_code lc_generator_drop_adapter(lc_generator *generator, int32_t adapter,
                                                 lc_err *err);

/* Gives up all active sequences; their slots are free again. */
void lc_generator_cancel(lc_generator *generator);

/* Called for each token; anything but LC_OK ends the generation with that code. */
typedef lc_code (*lc_on_token_fn)(void *context, const lc_generated *token, lc_err *err);

/* Runs all requests to their ends, entering each as soon as a slot is free, in order. */
LC_WARN_UNUSED lc_code lc_generate_all(lc_generator *generator, const lc_generate_request *requests,
                                       int64_t count, lc_on_token_fn on_token, void *context,
                                       lc_err *err);

#endif
