/*
 * One chat of a worker: what was asked, the tokens of its prompt, and the text of its choices as it
 * grows, with stop strings. Knows no model; the worker's loop feeds it tokens.
 */
#ifndef LC_INFER_WORKER_CHAT_H
#define LC_INFER_WORKER_CHAT_H

#include "infer/generate.h"
#include "infer/worker.h"
#include "text/template.h"
#include "text/tokenizer.h"

typedef struct lc_worker_choice {
    lc_decode_stream stream;
    lc_text text;     /* decoded and not sent: it could be the beginning of a stop string */
    lc_text logprobs; /* of tokens whose text was not sent: elements of a JSON list */
    int64_t tokens;
    bool is_active, has_ended;
} lc_worker_choice;

typedef struct lc_worker_chat {
    struct lc_worker_chat *next;
    char id[LC_MAX_WORKER_NAME_BYTES], owner[LC_MAX_WORKER_NAME_BYTES];
    char adapter[LC_MAX_WORKER_NAME_BYTES]; /* "": the base alone */
    lc_tokens prompt;
    lc_sampling sampling;
    lc_logit_bias *biases; /* owned; of sampling */
    int64_t max_tokens;    /* of a choice */
    bool has_logprobs;
    int top_logprobs;
    int count;        /* of choices */
    int begun, ended; /* of them: given to the generator so far, through */
    char stops[LC_MAX_WORKER_STOPS][LC_MAX_WORKER_STOP_BYTES + 1];
    int stop_count;
    int64_t cached_tokens; /* of the prompt, that were in a cache */
    lc_worker_choice choices[LC_MAX_WORKER_CHOICES];
} lc_worker_chat;

/* From a line with "op": "chat". A line that is wrong is an error that names its field. */
LC_WARN_UNUSED lc_code lc_worker_chat_read(const cJSON *line, lc_worker_chat **out, lc_err *err);
/* Renders the messages and makes tokens of them. context: tokens of prompt and answer. */
LC_WARN_UNUSED lc_code lc_worker_chat_prepare(lc_worker_chat *chat, const cJSON *line,
                                              const lc_chat_template *chat_template,
                                              const lc_tokenizer *tokenizer, int64_t context,
                                              lc_err *err);
void lc_worker_chat_free(lc_worker_chat *chat);

/* Takes a choice's next token; what can be said of it goes to *out as lines. *is_stopped: a stop
 * string ends the choice, which the generator does not know. */
LC_WARN_UNUSED lc_code lc_worker_chat_token(lc_worker_chat *chat, int index,
                                            const lc_generated *token,
                                            const lc_tokenizer *tokenizer, lc_text *out,
                                            bool *is_stopped, lc_err *err);
bool lc_worker_chat_is_done(const lc_worker_chat *chat);
void lc_worker_chat_add_done(const lc_worker_chat *chat, lc_text *out);

/* An "error" line; id or adapter may be NULL. */
void lc_worker_add_error(lc_text *out, const char *key, const char *name, const lc_err *err);

#endif
