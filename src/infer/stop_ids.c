/*
 * Which tokens end an answer, see stop_ids.h. What a template writes behind one, a trial shows.
 */
#include "infer/stop_ids.h"

#include <string.h>

#include "lorac/mem.h"

#define ANSWER "lorac_answer"
#define TRIAL \
    "[{\"role\":\"user\",\"content\":\"x\"},{\"role\":\"assistant\",\"content\":\"" ANSWER "\"}]"

_Static_assert(LC_MAX_STOP_IDS > LC_MAX_EOS, "the sign of a turn's end comes on top");

static void add(lc_stop_ids *out, int32_t id)
{
    for (int32_t i = 0; i < out->count; i++) {
        if (out->ids[i] == id) {
            return;
        }
    }
    out->ids[out->count++] = id;
}

/* The first token of `text` if it is a special one, else -1. */
static lc_code special_at(const lc_tokenizer *tokenizer, const char *text, int32_t *id, lc_err *err)
{
    lc_tokens tokens = {0};
    char *shown = NULL;
    size_t bytes = 1;
    lc_code code;
    *id = -1;
    LC_TRY_GOTO(lc_tokenizer_encode(tokenizer, text, strlen(text), false, &tokens, err));
    if (tokens.count > 0) {
        LC_TRY_GOTO(lc_tokenizer_decode(tokenizer, tokens.ids, 1, true, &shown, &bytes, err));
        *id = bytes == 0 ? tokens.ids[0] : -1;
    }
fail:
    lc_free(shown);
    lc_tokens_release(&tokens);
    return code;
}

static lc_code find_sign(const lc_tokenizer *tokenizer, const lc_chat_template *chat_template,
                         int32_t *id, lc_err *err)
{
    cJSON *messages = NULL;
    lc_rendered rendered = {0};
    *id = -1;
    LC_TRY(lc_json_parse(TRIAL, strlen(TRIAL), LC_JSON_DEFAULT, "trial", &messages, err));
    const lc_template_args args = {.messages = messages};
    lc_code code = lc_chat_template_render(chat_template, &args, &rendered, err);
    const char *end = code == LC_OK ? strstr(rendered.text, ANSWER) : NULL;
    if (end != NULL) {
        end += strlen(ANSWER);
        code = special_at(tokenizer, end + strspn(end, " \r\n"), id, err);
    }
    lc_rendered_release(&rendered);
    cJSON_Delete(messages);
    return code;
}

lc_code lc_stop_ids_find(const lc_model_config *config, const lc_tokenizer *tokenizer,
                         const lc_chat_template *chat_template, lc_stop_ids *out, lc_err *err)
{
    lc_err refusal = {.code = LC_OK};
    int32_t sign = -1;
    out->count = 0;
    for (int32_t i = 0; i < config->eos_count; i++) {
        add(out, config->eos[i]);
    }
    if (tokenizer == NULL || chat_template == NULL) {
        return LC_OK;
    }
    const lc_code code = find_sign(tokenizer, chat_template, &sign, &refusal);
    if (code == LC_ERR_MEMORY) {
        return lc_fail(err, code, "%s", refusal.message);
    }
    if (code == LC_OK && sign >= 0) { /* a template that refuses the trial shows none */
        add(out, sign);
    }
    return LC_OK;
}
