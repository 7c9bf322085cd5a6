/*
 * Continuous batching over lc_model_decode; see generate.h. A pass takes one row of every sequence
 * that is decoding, then fills the rest of its rows with prompts, in slot order. Where the device
 * can run ahead, and as long as the sequences stay the same, the next pass is queued before the
 * tokens of the one before are read; those of sequences that turn out to have ended are dropped.
 */
#include "infer/generate.h"

#include <math.h>
#include <string.h>

#include "lorac/mem.h"
#include "ops/choose.h"

typedef struct lc_sequence {
    bool is_active;
    int32_t *ids;  /* cache_rows; tokens known: the prompt, then what was generated */
    int64_t count; /* of ids */
    int64_t
        cached;    /* tokens whose keys and values are in the cache, or will be when the passes that
                   are queued have run; stays for reuse after the end */
    int64_t limit; /* tokens at which the sequence ends */
    int64_t number;
    int32_t adapter;                /* -1: none */
    int64_t reused;                 /* of the prompt */
    bool wants_logprobs, is_biased; /* either: the host reads its logits */
    int32_t top_count;
    lc_sample_row how;
    float presence_penalty, frequency_penalty;
    int64_t prompt_count;
    lc_logit_bias *biases; /* LC_MAX_BIASES */
    int32_t bias_count;
    uint64_t serial; /* tells apart those that had the slot one after the other */
} lc_sequence;

/* A pass that has chosen tokens and has not been read. */
typedef struct pass {
    int32_t count;
    int32_t *slots;    /* cache_slots; of its tokens' sequences */
    uint64_t *serials; /* cache_slots */
} pass;

struct lc_generator {
    lc_model *model; /* borrowed */
    int32_t stop_ids[LC_MAX_STOP_IDS];
    int32_t stop_count;
    int64_t active;
    lc_sequence *sequences;                                     /* model->cache_slots */
    int32_t *row_ids, *row_positions, *row_slots, *row_lengths; /* model->tokens */
    int32_t *want, *adapters;                                   /* cache_slots */
    lc_sample_row *how;                                         /* cache_slots */
    lc_generated *tokens;                                       /* cache_slots */
    lc_logprobs *logprobs;                                      /* cache_slots */
    float *logits, *biased;                                     /* V */
    int32_t *counts;                                            /* V; zeros between two uses */
    pass passes[LC_HOST_SLOTS];
    uint64_t queued, read; /* passes so far */
    uint64_t serial;       /* of the last sequence */
    lc_arena arena;
};

static lc_code new_array(lc_arena *arena, int64_t count, size_t size, void *out, lc_err *err)
{
    void *memory = NULL;
    LC_TRY(lc_arena_alloc(arena, (size_t)count, size, &memory, err));
    memcpy(out, &memory, sizeof memory);
    return LC_OK;
}

/* Forgets the passes that were not read. */
static void skip_all(lc_generator *g)
{
    for (; g->read < g->queued; g->read++) {
        lc_model_skip_chosen(g->model);
    }
}

static lc_code allocate(lc_generator *g, lc_err *err)
{
    const int64_t slots = g->model->cache_slots, rows = g->model->tokens;
    LC_TRY(new_array(&g->arena, slots, sizeof *g->sequences, &g->sequences, err));
    LC_TRY(new_array(&g->arena, rows, sizeof(int32_t), &g->row_ids, err));
    LC_TRY(new_array(&g->arena, rows, sizeof(int32_t), &g->row_positions, err));
    LC_TRY(new_array(&g->arena, rows, sizeof(int32_t), &g->row_slots, err));
    LC_TRY(new_array(&g->arena, rows, sizeof(int32_t), &g->row_lengths, err));
    LC_TRY(new_array(&g->arena, slots, sizeof(int32_t), &g->want, err));
    LC_TRY(new_array(&g->arena, slots, sizeof(int32_t), &g->adapters, err));
    LC_TRY(new_array(&g->arena, slots, sizeof *g->logprobs, &g->logprobs, err));
    LC_TRY(new_array(&g->arena, g->model->config.vocab, sizeof(float), &g->logits, err));
    LC_TRY(new_array(&g->arena, g->model->config.vocab, sizeof(float), &g->biased, err));
    LC_TRY(new_array(&g->arena, g->model->config.vocab, sizeof(int32_t), &g->counts, err));
    LC_TRY(new_array(&g->arena, slots, sizeof *g->how, &g->how, err));
    LC_TRY(new_array(&g->arena, slots, sizeof *g->tokens, &g->tokens, err));
    for (int i = 0; i < LC_HOST_SLOTS; i++) {
        LC_TRY(new_array(&g->arena, slots, sizeof(int32_t), &g->passes[i].slots, err));
        LC_TRY(new_array(&g->arena, slots, sizeof(uint64_t), &g->passes[i].serials, err));
    }
    for (int64_t slot = 0; slot < slots; slot++) {
        lc_sequence *sequence = &g->sequences[slot];
        LC_TRY(new_array(&g->arena, g->model->cache_rows, sizeof(int32_t), &sequence->ids, err));
        LC_TRY(
            new_array(&g->arena, LC_MAX_BIASES, sizeof *sequence->biases, &sequence->biases, err));
    }
    return LC_OK;
}

lc_code lc_generator_open(lc_model *model, const int32_t *stop_ids, int32_t stop_count,
                          lc_generator **out, lc_err *err)
{
    *out = NULL;
    if (model->cache_slots < 1 || model->cache_rows < 2 || model->cache_slots > model->head_rows ||
        stop_count > LC_MAX_STOP_IDS) {
        return lc_fail(
            err, LC_ERR_INTERNAL,
            "a generator of %lld slots of %lld rows with %lld rows of logits and %d stop ids",
            (long long)model->cache_slots, (long long)model->cache_rows,
            (long long)model->head_rows, stop_count);
    }
    void *memory = NULL;
    LC_TRY(lc_new(&memory, 1, sizeof(lc_generator), "the generator", err));
    lc_generator *generator = memory;
    generator->model = model;
    generator->stop_count = stop_count;
    for (int32_t i = 0; i < stop_count; i++) {
        generator->stop_ids[i] = stop_ids[i];
    }
    lc_arena_init(&generator->arena, "generator");
    const lc_code code = allocate(generator, err);
    if (code != LC_OK) {
        lc_generator_close(generator);
        return code;
    }
    *out = generator;
    return LC_OK;
}

void lc_generator_close(lc_generator *generator)
{
    if (generator != NULL) {
        skip_all(generator);
        lc_arena_release(&generator->arena);
        lc_free(generator);
    }
}

int64_t lc_generator_free_slots(const lc_generator *generator)
{
    return generator->model->cache_slots - generator->active;
}

int64_t lc_generator_active(const lc_generator *generator)
{
    return generator->active;
}

void lc_generator_cancel_one(lc_generator *generator, int64_t number)
{
    for (int64_t slot = 0; slot < generator->model->cache_slots; slot++) {
        lc_sequence *sequence = &generator->sequences[slot];
        if (sequence->is_active && sequence->number == number) {
            sequence->is_active = false;
            generator->active--;
        }
    }
}

lc_code lc_generator_drop_adapter(lc_generator *generator, int32_t adapter, lc_err *err)
{
    for (int64_t slot = 0; slot < generator->model->cache_slots; slot++) {
        lc_sequence *sequence = &generator->sequences[slot];
        if (sequence->adapter == adapter && sequence->is_active) {
            return lc_fail(err, LC_ERR_BUSY, "adapter %d is in use", adapter);
        }
    }
    for (int64_t slot = 0; slot < generator->model->cache_slots; slot++) {
        lc_sequence *sequence = &generator->sequences[slot];
        sequence->cached = sequence->adapter == adapter ? 0 : sequence->cached;
    }
    return LC_OK;
}

void lc_generator_cancel(lc_generator *generator)
{
    for (int64_t slot = 0; slot < generator->model->cache_slots; slot++) {
        generator->sequences[slot].is_active = false;
    }
    generator->active = 0;
}

/* -1 too where the model has no choice. */
static int32_t adapter_of(const lc_generator *g, const lc_generate_request *request)
{
    return g->model->spec.copies > 0 && request->adapter >= 0 ? request->adapter : -1;
}

static lc_code check_request(const lc_generator *g, const lc_generate_request *request, lc_err *err)
{
    if (request->prompt_count < 1 || request->max_tokens < 1) {
        return lc_fail(err, LC_ERR_INVALID, "the prompt is empty: give at least one token");
    }
    if (request->prompt_count >= g->model->cache_rows) {
        return lc_fail(
            err, LC_ERR_INVALID,
            "the prompt has %lld tokens, but the context has room for %lld and an answer: "
            "shorten the prompt",
            (long long)request->prompt_count, (long long)g->model->cache_rows - 1);
    }
    for (int64_t i = 0; i < request->prompt_count; i++) {
        if (request->prompt[i] < 0 || request->prompt[i] >= g->model->config.vocab) {
            return lc_fail(err, LC_ERR_INVALID,
                           "token id %d at position %lld is outside the vocabulary of %d",
                           request->prompt[i], (long long)i, g->model->config.vocab);
        }
    }
    if (request->wants_logprobs &&
        (request->top_count < 0 || request->top_count > LC_MAX_TOP_LOGPROBS)) {
        return lc_fail_param(err, LC_ERR_USAGE, "top_logprobs",
                             "top_logprobs is %d, expected 0 to %d", request->top_count,
                             LC_MAX_TOP_LOGPROBS);
    }
    if (adapter_of(g, request) >= g->model->spec.copies) {
        return lc_fail(err, LC_ERR_INTERNAL, "adapter %d, the model has room for %d",
                       request->adapter, g->model->spec.copies);
    }
    LC_TRY(lc_sampling_check(&request->sampling, err));
    for (int32_t i = 0; i < request->sampling.bias_count; i++) {
        const int32_t id = request->sampling.biases[i].id;
        if (id < 0 || id >= g->model->config.vocab) {
            return lc_fail_param(err, LC_ERR_INVALID, "logit_bias",
                                 "logit_bias: token id %d is outside the vocabulary of %d", id,
                                 g->model->config.vocab);
        }
    }
    return LC_OK;
}

/* Tokens at the beginning of the prompt that the slot's cache holds already, as made with the same
 * adapter. At least one is left to compute. With dynamic rotary scaling the cached keys belong to
 * another length: nothing is reused. */
static int64_t shared_prefix(const lc_generator *g, const lc_sequence *sequence,
                             const lc_generate_request *request)
{
    int64_t shared = 0;
    if (g->model->config.rope.type == LC_ROPE_DYNAMIC ||
        sequence->adapter != adapter_of(g, request)) {
        return 0;
    }
    while (shared < sequence->cached && shared < sequence->count &&
           shared < request->prompt_count - 1 && sequence->ids[shared] == request->prompt[shared]) {
        shared++;
    }
    return shared;
}

static void take_sampling(lc_sequence *sequence, const lc_generate_request *request)
{
    const lc_sampling *from = &request->sampling;
    sequence->how = lc_sampling_row(from, request->stream);
    sequence->is_biased = lc_sampling_is_biased(from);
    sequence->presence_penalty = (float)from->presence_penalty;
    sequence->frequency_penalty = (float)from->frequency_penalty;
    sequence->prompt_count = request->prompt_count;
    sequence->bias_count = from->bias_count;
    if (from->bias_count > 0) {
        memcpy(sequence->biases, from->biases, (size_t)from->bias_count * sizeof *from->biases);
    }
}

lc_code lc_generator_add(lc_generator *generator, const lc_generate_request *request, lc_err *err)
{
    lc_sequence *best = NULL, *donor = NULL;
    int64_t best_shared = -1, most_shared = -1;
    LC_TRY(check_request(generator, request, err));
    for (int64_t slot = 0; slot < generator->model->cache_slots; slot++) {
        lc_sequence *candidate = &generator->sequences[slot];
        const int64_t shared = shared_prefix(generator, candidate, request);
        if (shared > most_shared) {
            donor = candidate;
            most_shared = shared;
        }
        if (!candidate->is_active && shared > best_shared) {
            best = candidate;
            best_shared = shared;
        }
    }
    if (best == NULL) {
        return lc_fail(err, LC_ERR_BUSY, "all %lld sequences of the generator are in use",
                       (long long)generator->model->cache_slots);
    }
    if (most_shared > best_shared) {
        LC_TRY(lc_model_copy_cache(generator->model, donor - generator->sequences,
                                   best - generator->sequences, most_shared, err));
        best_shared = most_shared;
    }
    memcpy(best->ids, request->prompt, (size_t)request->prompt_count * sizeof *request->prompt);
    best->count = request->prompt_count;
    best->cached = best_shared;
    best->limit = request->max_tokens < generator->model->cache_rows - request->prompt_count
                      ? request->prompt_count + request->max_tokens
                      : generator->model->cache_rows;
    best->number = request->number;
    best->adapter = adapter_of(generator, request);
    best->reused = best_shared;
    best->wants_logprobs = request->wants_logprobs;
    best->top_count = request->top_count;
    take_sampling(best, request);
    best->serial = ++generator->serial;
    best->is_active = true;
    generator->active++;
    return LC_OK;
}

static int64_t pending_of(const lc_sequence *sequence)
{
    return sequence->is_active ? sequence->count - sequence->cached : 0;
}

static pass *pass_at(lc_generator *g, uint64_t index)
{
    return &g->passes[index % LC_HOST_SLOTS];
}

/* Lays out the rows of one pass and moves `cached` on. Returns the row count; the sequences whose
 * rows choose a token go into *next. */
static int32_t collect_rows(lc_generator *g, pass *next)
{
    int64_t room = g->model->tokens;
    int32_t rows = 0;
    next->count = 0;
    for (int64_t slot = 0; slot < g->model->cache_slots; slot++) {
        g->adapters[slot] = g->sequences[slot].adapter;
    }
    for (int64_t slot = 0; slot < g->model->cache_slots; slot++) {
        room -= pending_of(&g->sequences[slot]) == 1;
    }
    for (int64_t slot = 0; slot < g->model->cache_slots; slot++) {
        lc_sequence *sequence = &g->sequences[slot];
        const int64_t pending = pending_of(sequence);
        int64_t take = pending;
        if (pending > 1) {
            take = pending < room ? pending : room;
            room -= take;
        }
        for (int64_t i = 0; i < take; i++, rows++) {
            g->row_ids[rows] = sequence->ids[sequence->cached];
            g->row_positions[rows] = (int32_t)sequence->cached;
            g->row_slots[rows] = (int32_t)slot;
            g->row_lengths[rows] = (int32_t)sequence->count;
            sequence->cached++;
        }
        if (take > 0 && take == pending) {
            g->want[next->count] = rows - 1;
            g->how[next->count] = sequence->how;
            next->slots[next->count] = (int32_t)slot;
            next->serials[next->count++] = sequence->serial;
        }
    }
    return rows;
}

static bool is_stop_id(const lc_generator *g, int32_t id)
{
    for (int32_t i = 0; i < g->stop_count; i++) {
        if (g->stop_ids[i] == id) {
            return true;
        }
    }
    return false;
}

/* Takes the token that a sequence has chosen and decides whether it goes on. */
static lc_code take_token(lc_generator *g, lc_sequence *sequence, int32_t id, lc_generated *token,
                          lc_err *err)
{
    if (id < 0) {
        return lc_fail(
            err, LC_ERR_NUMERIC,
            "the model gave logits that are not finite at position %lld: the base weights or the "
            "adapter are damaged",
            (long long)sequence->count);
    }
    token->id = id;
    token->number = sequence->number;
    token->cached = sequence->reused;
    token->logprobs = NULL;
    sequence->ids[sequence->count++] = id;
    token->finish = is_stop_id(g, id)                    ? LC_FINISH_STOP
                    : sequence->count >= sequence->limit ? LC_FINISH_LENGTH
                                                         : LC_FINISH_NONE;
    if (token->finish != LC_FINISH_NONE) {
        sequence->is_active = false;
        g->active--;
    }
    return LC_OK;
}

static void forget_caches(lc_generator *g)
{
    for (int64_t slot = 0; slot < g->model->cache_slots; slot++) {
        g->sequences[slot].cached = 0;
    }
}

/* The sequence of a pass's token, NULL when it has ended since. */
static lc_sequence *sequence_of(const lc_generator *g, const pass *from, int32_t index)
{
    lc_sequence *sequence = &g->sequences[from->slots[index]];
    return sequence->is_active && sequence->serial == from->serials[index] ? sequence : NULL;
}

/* Forgets passes from which nobody wants a token. */
static void skip_dropped(lc_generator *g)
{
    for (; g->read < g->queued; g->read++) {
        const pass *oldest = pass_at(g, g->read);
        for (int32_t i = 0; i < oldest->count; i++) {
            if (sequence_of(g, oldest, i) != NULL) {
                return;
            }
        }
        lc_model_skip_chosen(g->model);
    }
}

/* A pass of rows whose tokens the host knows; nothing is unread. */
static lc_code queue_rows(lc_generator *g, lc_err *err)
{
    pass *next = pass_at(g, g->queued);
    const int32_t rows = collect_rows(g, next);
    if (rows == 0) {
        return LC_OK;
    }
    const lc_decode_args args = {.token_count = rows,
                                 .ids = g->row_ids,
                                 .positions = g->row_positions,
                                 .slots = g->row_slots,
                                 .lengths = g->row_lengths,
                                 .adapters = g->adapters,
                                 .want = g->want,
                                 .want_count = next->count,
                                 .how = g->how};
    LC_TRY(lc_model_decode(g->model, &args, err));
    g->queued += next->count > 0;
    return LC_OK;
}

/* Whether the pass queued last can be followed by one more of the same sequences: these are all
 * there are, and none has its last token in it. */
static bool can_run_ahead(lc_generator *g)
{
    const pass *last = pass_at(g, g->queued - 1);
    if (!lc_model_can_run_ahead(g->model) || g->queued == g->read ||
        g->queued - g->read == LC_HOST_SLOTS || last->count != g->active) {
        return false;
    }
    for (int32_t i = 0; i < last->count; i++) {
        const lc_sequence *sequence = sequence_of(g, last, i);
        if (sequence == NULL || sequence->wants_logprobs || sequence->is_biased ||
            sequence->cached + 1 >= sequence->limit) {
            return false;
        }
    }
    return true;
}

static lc_code queue_next(lc_generator *g, lc_err *err)
{
    const pass *last = pass_at(g, g->queued - 1);
    pass *next = pass_at(g, g->queued);
    next->count = last->count;
    memcpy(next->slots, last->slots, (size_t)last->count * sizeof *next->slots);
    memcpy(next->serials, last->serials, (size_t)last->count * sizeof *next->serials);
    for (int32_t i = 0; i < next->count; i++) {
        g->sequences[next->slots[i]].cached++;
    }
    LC_TRY(lc_model_decode_next(g->model, err));
    g->queued++;
    return LC_OK;
}

/* The place of a token among the most likely ones, from which on the others move back. */
static void insert_likely(lc_logprobs *out, int32_t most, int32_t id, float logit)
{
    int32_t at = out->count;
    while (at > 0 && out->values[at - 1] < logit) {
        at--;
    }
    if (at == most) {
        return;
    }
    out->count += out->count < most;
    for (int32_t i = out->count - 1; i > at; i--) {
        out->ids[i] = out->ids[i - 1];
        out->values[i] = out->values[i - 1];
    }
    out->ids[at] = id;
    out->values[at] = logit;
}

/* log p = logit - log sum exp, in double and in the order of ids. */
static void fill_logprobs(const float *logits, int32_t vocab, int32_t chosen, int32_t most,
                          lc_logprobs *out)
{
    float largest = logits[0];
    double sum = 0.0;
    out->count = 0;
    for (int32_t id = 0; id < vocab; id++) {
        insert_likely(out, most, id, logits[id]);
        largest = logits[id] > largest ? logits[id] : largest;
    }
    for (int32_t id = 0; id < vocab; id++) {
        sum += exp((double)logits[id] - (double)largest);
    }
    const double shift = (double)largest + log(sum);
    out->chosen = (float)((double)logits[chosen] - shift);
    for (int32_t i = 0; i < out->count; i++) {
        out->values[i] = (float)((double)out->values[i] - shift);
    }
}

/* The token that a sequence takes of logits with its biases, and without what it has said too often
 * (OpenAI's formula; the prompt does not count). */
static int32_t choose_biased(lc_generator *g, const lc_sequence *sequence)
{
    const int64_t vocab = g->model->config.vocab;
    const int32_t *begin = sequence->ids + sequence->prompt_count;
    const int32_t *end = sequence->ids + sequence->count;
    memcpy(g->biased, g->logits, (size_t)vocab * sizeof *g->biased);
    for (int32_t i = 0; i < sequence->bias_count; i++) {
        g->biased[sequence->biases[i].id] += sequence->biases[i].value;
    }
    for (const int32_t *id = begin; id < end; id++) {
        g->counts[*id]++;
    }
    for (const int32_t *id = begin; id < end; id++) {
        if (g->counts[*id] > 0) {
            g->biased[*id] -=
                (float)g->counts[*id] * sequence->frequency_penalty + sequence->presence_penalty;
        }
        g->counts[*id] = 0;
    }
    return lc_choose_token(g->biased, vocab, &sequence->how, (int32_t)sequence->count);
}

/* The next token of a sequence. Where the host wants its logits, those of the pass that was read
 * last are there still: no other one is queued. */
static lc_code next_token(lc_generator *g, lc_sequence *sequence, int32_t index, int32_t chosen,
                          lc_generated *token, lc_err *err)
{
    if (sequence->wants_logprobs || sequence->is_biased) {
        LC_TRY(lc_model_read_logits(g->model, index, g->logits, err));
    }
    if (sequence->is_biased && chosen >= 0) {
        chosen = choose_biased(g, sequence);
    }
    LC_TRY(take_token(g, sequence, chosen, token, err));
    if (sequence->wants_logprobs) {
        lc_logprobs *out = &g->logprobs[token - g->tokens];
        fill_logprobs(g->logits, g->model->config.vocab, token->id, sequence->top_count, out);
        token->logprobs = out;
    }
    return LC_OK;
}

static lc_code read_pass(lc_generator *g, int32_t *count, lc_err *err)
{
    const pass *oldest = pass_at(g, g->read);
    const int32_t *ids = NULL;
    LC_TRY(lc_model_read_chosen(g->model, &ids, err));
    g->read++;
    for (int32_t i = 0; i < oldest->count; i++) {
        lc_sequence *sequence = sequence_of(g, oldest, i);
        if (sequence != NULL) {
            lc_generated *token = &g->tokens[(*count)++];
            LC_TRY(next_token(g, sequence, i, ids[i], token, err));
        }
    }
    return LC_OK;
}

static lc_code step(lc_generator *g, int32_t *count, lc_err *err)
{
    skip_dropped(g);
    if (g->queued == g->read) {
        LC_TRY(queue_rows(g, err));
    }
    if (can_run_ahead(g)) {
        LC_TRY(queue_next(g, err));
    }
    return g->read < g->queued ? read_pass(g, count, err) : LC_OK;
}

lc_code lc_generator_step(lc_generator *generator, const lc_generated **tokens, int32_t *count,
                          lc_err *err)
{
    *tokens = generator->tokens;
    *count = 0;
    const lc_code code = step(generator, count, err);
    if (code != LC_OK) {
        *count = 0;
        skip_all(generator);
        forget_caches(generator); /* perhaps half written */
    }
    return code;
}

lc_code lc_generate_all(lc_generator *generator, const lc_generate_request *requests, int64_t count,
                        lc_on_token_fn on_token, void *context, lc_err *err)
{
    lc_code code;
    int64_t next = 0;
    while (next < count || generator->active > 0) {
        while (next < count && lc_generator_free_slots(generator) > 0) {
            LC_TRY_GOTO(lc_generator_add(generator, &requests[next++], err));
        }
        const lc_generated *tokens = NULL;
        int32_t token_count = 0;
        LC_TRY_GOTO(lc_generator_step(generator, &tokens, &token_count, err));
        for (int32_t i = 0; i < token_count; i++) {
            LC_TRY_GOTO(on_token(context, &tokens[i], err));
        }
    }
    return LC_OK;
fail:
    lc_generator_cancel(generator);
    return code;
}
