/*
 * Which tokens end an answer.
 */
#ifndef LC_INFER_STOP_IDS_H
#define LC_INFER_STOP_IDS_H

#include "infer/generate.h"
#include "model/config.h"
#include "text/template.h"
#include "text/tokenizer.h"

typedef struct lc_stop_ids {
    int32_t ids[LC_MAX_STOP_IDS];
    int32_t count;
} lc_stop_ids;

/* The model's own (generation_config.json, else config.json) and the special token that
 * `chat_template` writes behind an answer: a model that was tuned with a template has learnt that
 * one, whatever its files say. Tokenizer or template NULL: the model's own alone. LC_ERR_MEMORY. */
LC_WARN_UNUSED lc_code lc_stop_ids_find(const lc_model_config *config,
                                        const lc_tokenizer *tokenizer,
                                        const lc_chat_template *chat_template, lc_stop_ids *out,
                                        lc_err *err);

#endif
