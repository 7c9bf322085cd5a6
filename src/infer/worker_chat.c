/*
 * See worker_chat.h. A stop string may lie across tokens, so text that could be the beginning of
 * one is held back until the next token tells.
 */
#include "infer/worker_chat.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "lorac/mem.h"

#define LEAST_LOGPROB (-9999.0) /* JSON has no infinity; what OpenAI sends for one */

/* ---- a line ---- */

static lc_code read_name(const cJSON *line, const char *key, bool required, char *out, lc_err *err)
{
    const char *text = "";
    LC_TRY(lc_json_string(line, key, required, &text, err));
    if (strlen(text) >= LC_MAX_WORKER_NAME_BYTES || (required && text[0] == '\0')) {
        return lc_fail_param(err, LC_ERR_INVALID, key, "%s: expected 1 to %d bytes", key,
                             LC_MAX_WORKER_NAME_BYTES - 1);
    }
    memcpy(out, text, strlen(text) + 1);
    return LC_OK;
}

static lc_code read_stops(const cJSON *line, lc_worker_chat *chat, lc_err *err)
{
    const cJSON *list = NULL, *one;
    LC_TRY(lc_json_array(line, "stop", false, &list, err));
    cJSON_ArrayForEach(one, list)
    {
        const char *text = cJSON_GetStringValue(one);
        const size_t length = text != NULL ? strlen(text) : 0;
        if (length < 1 || length > LC_MAX_WORKER_STOP_BYTES ||
            chat->stop_count == LC_MAX_WORKER_STOPS) {
            return lc_fail_param(err, LC_ERR_INVALID, "stop",
                                 "stop: expected at most %d texts of 1 to %d bytes",
                                 LC_MAX_WORKER_STOPS, LC_MAX_WORKER_STOP_BYTES);
        }
        memcpy(chat->stops[chat->stop_count++], text, length + 1);
    }
    return LC_OK;
}

static lc_code read_sampling(const cJSON *line, lc_worker_chat *chat, lc_err *err)
{
    int64_t seed = -1, count = 1;
    chat->sampling = (lc_sampling){.temperature = 1, .top_p = 1};
    LC_TRY(lc_json_double(line, "temperature", false, 0, LC_MAX_TEMPERATURE,
                          &chat->sampling.temperature, err));
    LC_TRY(lc_json_double(line, "top_p", false, 0, 1, &chat->sampling.top_p, err));
    LC_TRY(lc_json_int(line, "seed", false, 0, UINT32_MAX, &seed, err));
    LC_TRY(lc_json_int(line, "n", false, 1, LC_MAX_WORKER_CHOICES, &count, err));
    LC_TRY(lc_json_int(line, "max_tokens", false, 1, INT32_MAX, &chat->max_tokens, err));
    chat->count = (int)count;
    chat->sampling.seed = (uint32_t)seed;
    if (seed < 0) {
        (void)!getrandom(&chat->sampling.seed, sizeof chat->sampling.seed, 0);
    }
    return LC_OK;
}

/* {"TOKEN ID": BIAS, ...}. */
static lc_code read_biases(const cJSON *object, lc_worker_chat *chat, lc_err *err)
{
    void *memory = NULL;
    const cJSON *one;
    const int count = cJSON_GetArraySize(object);
    if (count == 0) {
        return LC_OK;
    }
    if (count > LC_MAX_BIASES) {
        return lc_fail_param(err, LC_ERR_INVALID, "logit_bias",
                             "logit_bias has %d tokens, at most %d may be given", count,
                             LC_MAX_BIASES);
    }
    LC_TRY(lc_new(&memory, (size_t)count, sizeof *chat->biases, "logit_bias", err));
    chat->sampling.biases = chat->biases = memory;
    cJSON_ArrayForEach(one, object)
    {
        double value = 0;
        char *end = NULL;
        const long id = strtol(one->string, &end, 10);
        if (one->string[0] < '0' || one->string[0] > '9' || *end != '\0' || id > INT32_MAX) {
            return lc_fail_param(err, LC_ERR_INVALID, "logit_bias",
                                 "logit_bias: \"%.40s\" is no token id", one->string);
        }
        LC_TRY(lc_json_double(object, one->string, true, -LC_MAX_BIAS, LC_MAX_BIAS, &value, err));
        chat->biases[chat->sampling.bias_count++] =
            (lc_logit_bias){.id = (int32_t)id, .value = (float)value};
    }
    return LC_OK;
}

static lc_code read_penalties(const cJSON *line, lc_worker_chat *chat, lc_err *err)
{
    lc_sampling *to = &chat->sampling;
    const cJSON *biases = NULL;
    LC_TRY(lc_json_double(line, "presence_penalty", false, -LC_MAX_PENALTY, LC_MAX_PENALTY,
                          &to->presence_penalty, err));
    LC_TRY(lc_json_double(line, "frequency_penalty", false, -LC_MAX_PENALTY, LC_MAX_PENALTY,
                          &to->frequency_penalty, err));
    LC_TRY(lc_json_object(line, "logit_bias", false, &biases, err));
    const lc_code code = read_biases(biases, chat, err);
    return code == LC_OK ? code : lc_err_param(err, "logit_bias");
}

static lc_code read_logprobs(const cJSON *line, lc_worker_chat *chat, lc_err *err)
{
    int64_t count = 0;
    LC_TRY(lc_json_bool(line, "logprobs", false, &chat->has_logprobs, err));
    LC_TRY(lc_json_int(line, "top_logprobs", false, 0, LC_MAX_TOP_LOGPROBS, &count, err));
    chat->top_logprobs = (int)count;
    return LC_OK;
}

lc_code lc_worker_chat_read(const cJSON *line, lc_worker_chat **out, lc_err *err)
{
    lc_code code;
    void *memory = NULL;
    LC_TRY(lc_new(&memory, 1, sizeof **out, "a chat", err));
    lc_worker_chat *chat = memory;
    chat->max_tokens = INT32_MAX;
    LC_TRY_GOTO(read_name(line, "id", true, chat->id, err));
    LC_TRY_GOTO(read_name(line, "owner", false, chat->owner, err));
    LC_TRY_GOTO(read_name(line, "adapter", false, chat->adapter, err));
    LC_TRY_GOTO(read_stops(line, chat, err));
    LC_TRY_GOTO(read_sampling(line, chat, err));
    LC_TRY_GOTO(read_penalties(line, chat, err));
    LC_TRY_GOTO(read_logprobs(line, chat, err));
    LC_TRY_GOTO(lc_sampling_check(&chat->sampling, err));
    for (int i = 0; i < LC_MAX_WORKER_CHOICES; i++) {
        lc_text_init(&chat->choices[i].text);
        lc_text_init(&chat->choices[i].logprobs);
    }
    *out = chat;
    return LC_OK;
fail:
    lc_worker_chat_free(chat);
    return code;
}

void lc_worker_chat_free(lc_worker_chat *chat)
{
    if (chat == NULL) {
        return;
    }
    for (int i = 0; i < LC_MAX_WORKER_CHOICES; i++) {
        lc_text_release(&chat->choices[i].text);
        lc_text_release(&chat->choices[i].logprobs);
        lc_decode_stream_release(&chat->choices[i].stream);
    }
    lc_tokens_release(&chat->prompt);
    lc_free(chat->biases);
    lc_free(chat);
}

/* ---- the prompt ---- */

/* Variables of the template beside the conversation's: one object, as `lorac template` takes it. */
static lc_code make_row(const cJSON *line, cJSON **out, lc_err *err)
{
    const cJSON *variables = NULL;
    LC_TRY(lc_json_object(line, "template", false, &variables, err));
    *out = variables != NULL ? cJSON_Duplicate(variables, 1) : cJSON_CreateObject();
    bool is_whole = *out != NULL;
    static const char *const names[] = {"messages", "tools"};
    for (size_t i = 0; i < 2 && is_whole; i++) {
        const cJSON *item = lc_json_get(line, names[i]);
        cJSON_DeleteItemFromObjectCaseSensitive(*out, names[i]);
        is_whole =
            item == NULL || cJSON_AddItemToObject(*out, names[i], cJSON_Duplicate(item, 1)) != 0;
    }
    cJSON_DeleteItemFromObjectCaseSensitive(is_whole ? *out : NULL, "add_generation_prompt");
    if (!is_whole || cJSON_AddTrueToObject(*out, "add_generation_prompt") == NULL) {
        cJSON_Delete(*out);
        return lc_fail(err, LC_ERR_MEMORY, "no memory for a conversation");
    }
    return LC_OK;
}

lc_code lc_worker_chat_prepare(lc_worker_chat *chat, const cJSON *line,
                               const lc_chat_template *chat_template, const lc_tokenizer *tokenizer,
                               int64_t context, lc_err *err)
{
    const cJSON *messages = NULL, *tools = NULL;
    cJSON *row = NULL;
    lc_rendered rendered = {0};
    lc_code code;
    LC_TRY(lc_json_array(line, "messages", true, &messages, err));
    LC_TRY(lc_json_array(line, "tools", false, &tools, err));
    LC_TRY(make_row(line, &row, err));
    const lc_template_args args = {.row = row};
    LC_TRY_GOTO(lc_chat_template_render(chat_template, &args, &rendered, err));
    LC_TRY_GOTO(
        lc_tokenizer_encode(tokenizer, rendered.text, rendered.bytes, false, &chat->prompt, err));
    if ((int64_t)chat->prompt.count >= context) {
        code = lc_fail_param(err, LC_ERR_INVALID, "messages",
                             "The conversation has %zu tokens, but the context has room for "
                             "%" PRId64 " and an answer.",
                             chat->prompt.count, context - 1);
    }
fail:
    if (code != LC_OK && err->param[0] == '\0') {
        (void)lc_err_param(err, "messages");
    }
    lc_rendered_release(&rendered);
    cJSON_Delete(row);
    return code;
}

/* ---- the answer ---- */

static void add_member(lc_text *out, const char *key, const char *text)
{
    lc_text_addf(out, ", \"%s\": ", key);
    lc_text_add_json_string(out, text, strlen(text));
}

/* Nothing when there is neither text nor a token's log probability to tell. */
static void add_delta(lc_worker_chat *chat, int index, const char *text, size_t bytes, lc_text *out)
{
    lc_text *logprobs = &chat->choices[index].logprobs;
    if (bytes == 0 && logprobs->length == 0) {
        return;
    }
    lc_text_addf(out, "{\"event\": \"delta\"");
    add_member(out, "id", chat->id);
    lc_text_addf(out, ", \"index\": %d, \"content\": ", index);
    lc_text_add_json_string(out, text != NULL ? text : "", bytes);
    if (logprobs->length > 0) {
        lc_text_addf(out, ", \"logprobs\": [");
        lc_text_add(out, logprobs->data, logprobs->length);
        lc_text_addf(out, "]");
        logprobs->length = 0;
    }
    lc_text_addf(out, "}\n");
}

/* The bytes of one token by itself: its text, and what waits for the rest of a character. */
static lc_code add_bytes(const lc_tokenizer *tokenizer, int32_t id, lc_text *out, lc_err *err)
{
    lc_decode_stream stream;
    lc_text text;
    memset(&stream, 0, sizeof stream);
    lc_text_init(&text);
    const lc_code code = lc_decode_stream_push(&stream, tokenizer, id, false, &text, err);
    lc_text_add(&text, stream.held, stream.held_bytes);
    lc_text_add(&text, stream.run != NULL ? stream.run : "", stream.run_bytes);
    for (size_t i = 0; i < text.length; i++) {
        lc_text_addf(out, "%s%d", i > 0 ? ", " : "", (unsigned char)text.data[i]);
    }
    lc_text_release(&text);
    lc_decode_stream_release(&stream);
    return code;
}

/* The members of a token in OpenAI's list, without the closing brace. */
static lc_code add_token(const lc_tokenizer *tokenizer, int32_t id, float value, lc_text *out,
                         lc_err *err)
{
    char *text = NULL;
    size_t bytes = 0;
    LC_TRY(lc_tokenizer_decode(tokenizer, &id, 1, false, &text, &bytes, err));
    lc_text_addf(out, "{\"token\": ");
    lc_text_add_json_string(out, text, bytes);
    lc_free(text);
    lc_text_addf(out, ", \"logprob\": ");
    lc_text_add_double(out, (double)value < LEAST_LOGPROB ? LEAST_LOGPROB : (double)value);
    lc_text_addf(out, ", \"bytes\": [");
    LC_TRY(add_bytes(tokenizer, id, out, err));
    lc_text_addf(out, "]");
    return LC_OK;
}

static lc_code add_logprobs(const lc_generated *token, const lc_tokenizer *tokenizer, lc_text *out,
                            lc_err *err)
{
    const lc_logprobs *from = token->logprobs;
    lc_text_addf(out, out->length > 0 ? ", " : "");
    LC_TRY(add_token(tokenizer, token->id, from->chosen, out, err));
    lc_text_addf(out, ", \"top_logprobs\": [");
    for (int32_t i = 0; i < from->count; i++) {
        lc_text_addf(out, i > 0 ? ", " : "");
        LC_TRY(add_token(tokenizer, from->ids[i], from->values[i], out, err));
        lc_text_addf(out, "}");
    }
    lc_text_addf(out, "]}");
    return LC_OK;
}

/* The first byte of the first stop string in the text; NULL: none is in it. */
static const char *find_stop(const lc_worker_chat *chat, const lc_text *text)
{
    const char *first = NULL;
    for (int i = 0; i < chat->stop_count; i++) {
        const char *at = memmem(text->data, text->length, chat->stops[i], strlen(chat->stops[i]));
        if (at != NULL && (first == NULL || at < first)) {
            first = at;
        }
    }
    return first;
}

/* How many bytes at the text's end could be the beginning of a stop string. */
static size_t held_back(const lc_worker_chat *chat, const lc_text *text)
{
    size_t held = 0;
    for (int i = 0; i < chat->stop_count; i++) {
        const size_t longest = strlen(chat->stops[i]) - 1;
        for (size_t n = longest < text->length ? longest : text->length; n > held; n--) {
            if (memcmp(text->data + text->length - n, chat->stops[i], n) == 0) {
                held = n;
            }
        }
    }
    return held;
}

static void send_text(lc_worker_chat *chat, int index, lc_text *text, size_t bytes, lc_text *out)
{
    add_delta(chat, index, text->data, bytes, out);
    if (bytes > 0) {
        memmove(text->data, text->data + bytes, text->length - bytes);
        text->length -= bytes;
    }
}

static void end_choice(lc_worker_chat *chat, int index, const char *reason, lc_text *out)
{
    lc_worker_choice *choice = &chat->choices[index];
    choice->is_active = false;
    choice->has_ended = true;
    chat->ended++;
    lc_text_addf(out, "{\"event\": \"finish\"");
    add_member(out, "id", chat->id);
    lc_text_addf(out, ", \"index\": %d, \"finish_reason\": \"%s\"}\n", index, reason);
}

lc_code lc_worker_chat_token(lc_worker_chat *chat, int index, const lc_generated *token,
                             const lc_tokenizer *tokenizer, lc_text *out, bool *is_stopped,
                             lc_err *err)
{
    lc_worker_choice *choice = &chat->choices[index];
    lc_text *text = &choice->text;
    choice->tokens++;
    *is_stopped = false;
    if (index == 0 && choice->tokens == 1) {
        chat->cached_tokens = token->cached;
    }
    if (token->finish != LC_FINISH_STOP) {
        LC_TRY(lc_decode_stream_push(&choice->stream, tokenizer, token->id, true, text, err));
        if (token->logprobs != NULL) {
            LC_TRY(add_logprobs(token, tokenizer, &choice->logprobs, err));
        }
    }
    if (token->finish != LC_FINISH_NONE) {
        LC_TRY(lc_decode_stream_finish(&choice->stream, tokenizer, text, err));
    }
    if (text->failed || choice->logprobs.failed) {
        return lc_fail(err, LC_ERR_MEMORY, "no memory for an answer");
    }
    const char *stop = text->length > 0 ? find_stop(chat, text) : NULL;
    if (stop != NULL) {
        *is_stopped = token->finish == LC_FINISH_NONE;
        send_text(chat, index, text, (size_t)(stop - text->data), out);
        end_choice(chat, index, "stop", out);
    } else if (token->finish != LC_FINISH_NONE) {
        send_text(chat, index, text, text->length, out);
        end_choice(chat, index, token->finish == LC_FINISH_STOP ? "stop" : "length", out);
    } else {
        send_text(chat, index, text, text->length - held_back(chat, text), out);
    }
    return LC_OK;
}

bool lc_worker_chat_is_done(const lc_worker_chat *chat)
{
    return chat->ended == chat->count;
}

void lc_worker_chat_add_done(const lc_worker_chat *chat, lc_text *out)
{
    int64_t tokens = 0;
    for (int i = 0; i < chat->count; i++) {
        tokens += chat->choices[i].tokens;
    }
    lc_text_addf(out, "{\"event\": \"done\"");
    add_member(out, "id", chat->id);
    lc_text_addf(out,
                 ", \"prompt_tokens\": %zu, \"completion_tokens\": %" PRId64
                 ", \"cached_tokens\": %" PRId64 "}\n",
                 chat->prompt.count, tokens, chat->cached_tokens);
}

void lc_worker_add_error(lc_text *out, const char *key, const char *name, const lc_err *err)
{
    lc_text_addf(out, "{\"event\": \"error\"");
    if (name != NULL) {
        add_member(out, key, name);
    }
    add_member(out, "code", lc_code_name(err->code));
    add_member(out, "message", err->message);
    add_member(out, "param", err->param);
    lc_text_addf(out, "}\n");
}
