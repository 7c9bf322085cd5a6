/*
 * From a worker's events to OpenAI's chat completion objects; see chat.h. Until the first event the
 * request waits (lc_request_defer), so that an error still has a status of its own; then, when it
 * streams, only the stream is touched.
 */
#include "serve/chat.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "lorac/log.h"
#include "serve/api_error.h"
#include "serve/chat_request.h"
#include "serve/ids.h"

typedef struct choice {
    lc_text content, logprobs, tool_calls;
    char finish[16];
} choice;

typedef struct chat {
    lc_worker_pool *pool;
    lc_request *request; /* NULL once it streams */
    lc_stream *stream;   /* a reference, while it streams */
    lc_chat_request asked;
    char id[LC_CHAT_ID_BYTES];
    char base[LC_MODEL_NAME_BYTES];
    int64_t created;
    bool is_cancelled; /* the stream's reader has gone, the worker knows */
    choice choices[LC_MAX_CHAT_CHOICES];
} chat;

static void free_chat(chat *c)
{
    for (int i = 0; i < LC_MAX_CHAT_CHOICES; i++) {
        lc_text_release(&c->choices[i].content);
        lc_text_release(&c->choices[i].logprobs);
        lc_text_release(&c->choices[i].tool_calls);
    }
    if (c->stream != NULL) {
        lc_stream_release(c->stream);
    }
    lc_free(c);
}

/* ---- events ---- */

static int64_t number_of(const cJSON *event, const char *key)
{
    const cJSON *item = lc_json_get(event, key);
    return cJSON_IsNumber(item) ? (int64_t)item->valuedouble : 0;
}

static const char *text_of(const cJSON *event, const char *key)
{
    const char *text = cJSON_GetStringValue(lc_json_get(event, key));
    return text != NULL ? text : "";
}

static choice *choice_of(chat *c, const cJSON *event, int64_t *index)
{
    *index = number_of(event, "index");
    return *index >= 0 && *index < c->asked.choices ? &c->choices[*index] : NULL;
}

static void add_head(const chat *c, const char *object, lc_text *out)
{
    lc_text_addf(out, "{\"id\": \"%s\", \"object\": \"%s\", \"created\": %" PRId64 ", \"model\": ",
                 c->id, object, c->created);
    lc_text_add_json_string(out, c->base, strlen(c->base));
    lc_text_addf(out, ", \"system_fingerprint\": \"lorac-" LC_VERSION "\", \"choices\": [");
}

static void add_usage(const cJSON *done, lc_text *out)
{
    const int64_t prompt = number_of(done, "prompt_tokens");
    const int64_t completion = number_of(done, "completion_tokens");
    lc_text_addf(out,
                 "{\"prompt_tokens\": %" PRId64 ", \"completion_tokens\": %" PRId64
                 ", \"total_tokens\": %" PRId64 ", \"prompt_tokens_details\": {\"cached_tokens\": "
                 "%" PRId64 "}}",
                 prompt, completion, prompt + completion, number_of(done, "cached_tokens"));
}

/* ---- an answer as a whole ---- */

/* The elements of a JSON list, behind those that are there. */
static void append_elements(lc_text *list, const cJSON *added)
{
    const cJSON *one;
    cJSON_ArrayForEach(one, added)
    {
        lc_text_addf(list, list->length > 0 ? ", " : "");
        lc_text_add_json(list, one, true);
    }
}

static void collect(chat *c, const char *kind, const cJSON *event)
{
    int64_t index = 0;
    choice *to = choice_of(c, event, &index);
    if (to == NULL) {
        return;
    }
    if (strcmp(kind, "delta") == 0) {
        const char *content = text_of(event, "content");
        lc_text_add(&to->content, content, strlen(content));
        append_elements(&to->logprobs, lc_json_get(event, "logprobs"));
    } else if (strcmp(kind, "tool_calls") == 0) {
        append_elements(&to->tool_calls, lc_json_get(event, "tool_calls"));
    } else if (strcmp(kind, "finish") == 0) {
        (void)snprintf(to->finish, sizeof to->finish, "%s", text_of(event, "finish_reason"));
    }
}

static void add_choice(const chat *c, int64_t index, lc_text *out)
{
    const choice *from = &c->choices[index];
    lc_text_addf(out,
                 "%s{\"index\": %" PRId64 ", \"message\": {\"role\": \"assistant\", \"content\": ",
                 index > 0 ? ", " : "", index);
    if (from->content.length > 0 || from->tool_calls.length == 0) {
        lc_text_add_json_string(out, from->content.data, from->content.length);
    } else {
        lc_text_addf(out, "null");
    }
    lc_text_addf(out, ", \"refusal\": null");
    if (from->tool_calls.length > 0) {
        lc_text_addf(out, ", \"tool_calls\": [%s]", from->tool_calls.data);
    }
    lc_text_addf(out, "}, \"logprobs\": ");
    if (c->asked.has_logprobs) {
        lc_text_addf(out, "{\"content\": [%s], \"refusal\": null}",
                     from->logprobs.length > 0 ? from->logprobs.data : "");
    } else {
        lc_text_addf(out, "null");
    }
    lc_text_addf(out, ", \"finish_reason\": \"%s\"}",
                 from->finish[0] != '\0' ? from->finish : "stop");
}

static void finish_whole(chat *c, const cJSON *done)
{
    lc_text *out = &c->request->response.body;
    add_head(c, "chat.completion", out);
    for (int64_t i = 0; i < c->asked.choices; i++) {
        add_choice(c, i, out);
    }
    lc_text_addf(out, "], \"usage\": ");
    add_usage(done, out);
    lc_text_addf(out, "}\n");
}

/* ---- server-sent events ---- */

static void send_chunk(chat *c, lc_text *chunk)
{
    if (!chunk->failed && !lc_stream_add(c->stream, chunk->data, chunk->length) &&
        !c->is_cancelled) {
        c->is_cancelled = true;
        lc_worker_cancel(c->pool, c->base, c->id);
    }
    lc_text_release(chunk);
}

static void begin_chunk(const chat *c, lc_text *chunk)
{
    lc_text_init(chunk);
    lc_text_addf(chunk, "data: ");
    add_head(c, "chat.completion.chunk", chunk);
}

static void end_chunk(chat *c, lc_text *chunk)
{
    lc_text_addf(chunk, "]%s}\n\n", c->asked.has_usage ? ", \"usage\": null" : "");
    send_chunk(c, chunk);
}

static void send_role(chat *c, int64_t index)
{
    lc_text chunk;
    begin_chunk(c, &chunk);
    lc_text_addf(&chunk,
                 "{\"index\": %" PRId64
                 ", \"delta\": {\"role\": \"assistant\", \"content\": \"\"}, "
                 "\"logprobs\": null, \"finish_reason\": null}",
                 index);
    end_chunk(c, &chunk);
}

/* Calls of tools as deltas: each with its index. */
static void add_tool_deltas(const cJSON *calls, lc_text *out)
{
    const cJSON *call;
    int index = 0;
    lc_text_addf(out, "\"tool_calls\": [");
    cJSON_ArrayForEach(call, calls)
    {
        lc_text one;
        lc_text_init(&one);
        lc_text_add_json(&one, call, true);
        lc_text_addf(out, "%s{\"index\": %d, ", index > 0 ? ", " : "", index);
        if (one.length > 1) {
            lc_text_add(out, one.data + 1, one.length - 1);
        }
        lc_text_release(&one);
        index++;
    }
    lc_text_addf(out, "]");
}

static void stream_event(chat *c, const char *kind, const cJSON *event)
{
    lc_text chunk;
    int64_t index = 0;
    if (choice_of(c, event, &index) == NULL) {
        return;
    }
    begin_chunk(c, &chunk);
    lc_text_addf(&chunk, "{\"index\": %" PRId64 ", \"delta\": {", index);
    if (strcmp(kind, "delta") == 0) {
        const char *content = text_of(event, "content");
        lc_text_addf(&chunk, "\"content\": ");
        lc_text_add_json_string(&chunk, content, strlen(content));
    } else if (strcmp(kind, "tool_calls") == 0) {
        add_tool_deltas(lc_json_get(event, "tool_calls"), &chunk);
    }
    lc_text_addf(&chunk, "}, \"logprobs\": ");
    if (c->asked.has_logprobs && strcmp(kind, "delta") == 0) {
        lc_text list;
        lc_text_init(&list);
        append_elements(&list, lc_json_get(event, "logprobs"));
        lc_text_addf(&chunk, "{\"content\": [%s], \"refusal\": null}",
                     list.length > 0 ? list.data : "");
        lc_text_release(&list);
    } else {
        lc_text_addf(&chunk, "null");
    }
    lc_text_addf(&chunk, ", \"finish_reason\": ");
    if (strcmp(kind, "finish") == 0) {
        lc_text_addf(&chunk, "\"%s\"}", text_of(event, "finish_reason"));
    } else {
        lc_text_addf(&chunk, "null}");
    }
    end_chunk(c, &chunk);
}

static void end_stream(chat *c, const char *kind, const cJSON *event)
{
    lc_text chunk;
    if (strcmp(kind, "error") == 0) {
        const char *message = text_of(event, "message");
        lc_text_init(&chunk);
        lc_text_addf(&chunk, "data: {\"error\": {\"code\": \"serviceUnavailable\", \"message\": ");
        lc_text_add_json_string(&chunk, message, strlen(message));
        lc_text_addf(&chunk, ", \"param\": null, \"type\": \"server_error\"}}\n\n");
        send_chunk(c, &chunk);
    } else if (c->asked.has_usage) {
        begin_chunk(c, &chunk);
        lc_text_addf(&chunk, "], \"usage\": ");
        add_usage(event, &chunk);
        lc_text_addf(&chunk, "}\n\n");
        send_chunk(c, &chunk);
    }
    if (strcmp(kind, "error") != 0) {
        lc_text_init(&chunk);
        lc_text_addf(&chunk, "data: [DONE]\n\n");
        send_chunk(c, &chunk);
    }
    lc_stream_end(c->stream);
}

/* From now on the request is the server's: only the stream is ours. */
static lc_code begin_stream(chat *c, lc_err *err)
{
    lc_request *request = c->request;
    LC_TRY(lc_stream_new(&c->stream, err));
    lc_stream_hold(c->stream);
    request->response.stream = c->stream;
    request->response.type = "text/event-stream; charset=utf-8";
    c->request = NULL;
    for (int64_t i = 0; i < c->asked.choices; i++) {
        send_role(c, i);
    }
    lc_request_resume(request);
    return LC_OK;
}

/* ---- the worker's thread ---- */

static void fail_whole(chat *c, const cJSON *event)
{
    lc_err err = {.code = LC_OK};
    (void)lc_fail_param(&err, lc_worker_error_code(event), text_of(event, "param"), "%s",
                        text_of(event, "message"));
    lc_api_fail_with(c->request, &err);
}

static void on_event(void *context, const char *kind, const cJSON *event)
{
    chat *c = context;
    const bool is_error = strcmp(kind, "error") == 0;
    const bool is_last = is_error || strcmp(kind, "done") == 0;
    if (c->request != NULL && c->asked.is_streaming && !is_error) {
        lc_err err = {.code = LC_OK};
        if (begin_stream(c, &err) != LC_OK) {
            lc_log(LC_LOG_ERROR, "chat %s: %s", c->id, err.message);
        }
    }
    if (c->stream != NULL && is_last) {
        end_stream(c, kind, event);
    } else if (c->stream != NULL) {
        stream_event(c, kind, event);
    } else if (is_error) {
        fail_whole(c, event);
    } else if (is_last) {
        finish_whole(c, event);
    } else {
        collect(c, kind, event);
    }
    if (is_last) {
        if (c->request != NULL) {
            lc_request_resume(c->request); /* after it no on_gone can look at c */
        }
        free_chat(c);
    }
}

/* The client has hung up before the first token: nobody wants the others. */
static void on_gone(lc_request *request)
{
    const chat *c = request->pending;
    lc_worker_cancel(c->pool, c->base, c->id);
}

lc_code lc_chat_begin(lc_request *request, lc_worker_pool *pool, const lc_worker_target *target,
                      lc_err *err)
{
    void *memory = NULL;
    lc_text members;
    lc_text_init(&members);
    LC_TRY(lc_new(&memory, 1, sizeof(chat), "a chat", err));
    chat *c = memory;
    c->pool = pool;
    c->request = request;
    c->created = lc_unix_seconds();
    (void)snprintf(c->base, sizeof c->base, "%s", target->base);
    lc_code code = lc_chat_request_read(request->body, request->owner, &c->asked, &members, err);
    if (code == LC_OK) {
        code = lc_id_new("chatcmpl-", c->id, err);
    }
    if (code == LC_OK) {
        request->pending = c;
        request->on_gone = on_gone;
        lc_request_defer(request);
        code = lc_worker_chat(pool, target, c->id, &members, on_event, c, err);
        if (code != LC_OK) { /* nobody else knows of it: it is answered here after all */
            lc_api_fail_with(request, err);
            lc_request_resume(request);
            free_chat(c);
        }
        lc_text_release(&members);
        return LC_OK;
    }
    free_chat(c);
    lc_text_release(&members);
    return code;
}
