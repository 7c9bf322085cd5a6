/*
 * The worker's loop; see worker.h. Between two steps of the generators it takes the lines that have
 * come and lets waiting chats in: of those whose owner has the fewest sequences going the one that
 * came first, so nobody is starved by somebody's thousand requests.
 */
#include "infer/worker.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "infer/engine.h"
#include "infer/stop_ids.h"
#include "infer/worker_chat.h"
#include "infer/worker_input.h"
#include "lorac/mem.h"

#define PREFILL_ROWS    128 /* prompt tokens in one pass, at least */
#define DEFAULT_SLOTS   8
#define DEFAULT_CONTEXT 4096
#define IDLE_SECONDS    0.2 /* between two looks at is_stopping */

/* A place of the model, and the adapter in it. */
typedef struct place {
    char name[LC_MAX_WORKER_NAME_BYTES];
    bool is_taken;
    bool is_dropped; /* takes no more chats; free when those that use it have ended */
} place;

#define NO_PLACE (-1) /* the base alone */

/* A sequence that is being generated: whose choice it is. */
typedef struct sequence {
    lc_worker_chat *chat; /* NULL: free */
    int index;
    int64_t number;
} sequence;

typedef struct worker {
    const lc_worker_run_options *options;
    lc_worker_input *input;
    lc_tokenizer *tokenizer;
    lc_chat_template *chat_template;
    int64_t slots, context;
    lc_engine engine;
    lc_generator *generator; /* owned */
    place places[LC_MAX_WORKER_LOADED];
    sequence sequences[LC_MAX_WORKER_SLOTS];
    int64_t active, next_number;
    lc_worker_chat *first, **last; /* chats that have not ended, as they came */
    int64_t chat_count;
    int64_t prompt_tokens, tokens;
    lc_text out; /* lines of this round */
} worker;

/* ---- the model ---- */

/* One that is dropped too: its chats go on. */
static int32_t find_place(const worker *w, const char *name)
{
    for (int32_t i = 0; i < LC_MAX_WORKER_LOADED && name[0] != '\0'; i++) {
        if (w->places[i].is_taken && strcmp(w->places[i].name, name) == 0) {
            return i;
        }
    }
    return NO_PLACE;
}

static lc_code open_generator(worker *w, lc_err *err)
{
    lc_stop_ids stop;
    LC_TRY(lc_stop_ids_find(&w->engine.config, w->tokenizer, w->chat_template, &stop, err));
    return lc_generator_open(w->engine.model, stop.ids, stop.count, &w->generator, err);
}

static lc_code open_model(worker *w, lc_err *err)
{
    const lc_worker_run_options *o = w->options;
    LC_TRY(lc_engine_load(o->model_dir, NULL, &w->engine, err));
    if (w->context > w->engine.config.max_position) {
        w->context = w->engine.config.max_position;
    }
    const int64_t rows = w->slots > PREFILL_ROWS ? w->slots : PREFILL_ROWS;
    const lc_engine_sizes sizes = {.device = o->device,
                                   .dtype = o->dtype,
                                   .threads = o->threads,
                                   .tokens = rows < w->context ? rows : w->context,
                                   .cache_slots = w->slots,
                                   .cache_rows = w->context,
                                   .adapters = (int32_t)o->adapters,
                                   .rank = LC_MAX_RANK};
    LC_TRY(lc_engine_start(&w->engine, &sizes, err));
    LC_TRY(lc_tokenizer_load_for(o->model_dir, w->engine.config.vocab, &w->tokenizer, err));
    LC_TRY(lc_chat_template_load(o->model_dir, &w->chat_template, err));
    return open_generator(w, err);
}

/* ---- ends of chats ---- */

static void unlink_chat(worker *w, const lc_worker_chat *chat)
{
    lc_worker_chat **at = &w->first;
    while (*at != chat) {
        at = &(*at)->next;
    }
    *at = chat->next;
    if (*at == NULL) {
        w->last = at;
    }
    w->chat_count--;
}

/* Takes all sequences of a chat back from their generators. */
static void stop_sequences(worker *w, const lc_worker_chat *chat, int index)
{
    for (int64_t i = 0; i < w->slots; i++) {
        sequence *one = &w->sequences[i];
        if (one->chat == chat && (index < 0 || one->index == index)) {
            lc_generator_cancel_one(w->generator, one->number);
            one->chat = NULL;
            w->active--;
        }
    }
}

static void end_chat(worker *w, lc_worker_chat *chat, const lc_err *err)
{
    stop_sequences(w, chat, -1);
    if (err != NULL) {
        lc_worker_add_error(&w->out, "id", chat->id, err);
    } else {
        lc_worker_chat_add_done(chat, &w->out);
    }
    unlink_chat(w, chat);
    lc_worker_chat_free(chat);
}

/* ---- lines ---- */

static bool is_used(const worker *w, const place *one)
{
    for (const lc_worker_chat *chat = w->first; chat != NULL; chat = chat->next) {
        if (strcmp(chat->adapter, one->name) == 0) {
            return true;
        }
    }
    return false;
}

static void free_dropped(worker *w)
{
    for (int i = 0; i < LC_MAX_WORKER_LOADED; i++) {
        place *one = &w->places[i];
        if (one->is_dropped && !is_used(w, one)) {
            lc_text_addf(&w->out, "{\"event\": \"dropped\", \"adapter\": ");
            lc_text_add_json_string(&w->out, one->name, strlen(one->name));
            lc_text_addf(&w->out, "}\n");
            lc_engine_drop_adapter(&w->engine, i);
            memset(one, 0, sizeof *one);
        }
    }
}

static lc_code load_into_free(worker *w, const char *name, const char *dir, int32_t *out,
                              lc_err *err)
{
    int32_t at = 0;
    free_dropped(w);
    while (at < w->options->adapters && w->places[at].is_taken) {
        at++;
    }
    if (at == w->options->adapters) {
        return lc_fail_param(err, LC_ERR_BUSY, "adapter", "%d adapters are loaded already",
                             (int)at);
    }
    LC_TRY(lc_generator_drop_adapter(w->generator, at, err)); /* caches of the one before */
    LC_TRY(lc_engine_load_adapter(&w->engine, at, dir, err));
    w->places[at].is_taken = true;
    (void)snprintf(w->places[at].name, sizeof w->places[at].name, "%s", name);
    *out = at;
    return LC_OK;
}

static lc_code take_load(worker *w, const cJSON *line, lc_err *err)
{
    const char *name = NULL, *dir = NULL;
    LC_TRY(lc_json_string(line, "adapter", true, &name, err));
    LC_TRY(lc_json_string(line, "dir", true, &dir, err));
    if (name[0] == '\0' || strlen(name) >= LC_MAX_WORKER_NAME_BYTES) {
        return lc_fail_param(err, LC_ERR_INVALID, "adapter", "an adapter's name has 1 to %d bytes",
                             LC_MAX_WORKER_NAME_BYTES - 1);
    }
    int32_t at = find_place(w, name);
    if (at != NO_PLACE) {
        w->places[at].is_dropped = false; /* asked for again before it was free */
    } else if (load_into_free(w, name, dir, &at, err) != LC_OK) {
        err->code = err->code == LC_ERR_MEMORY ? LC_ERR_BUSY : err->code; /* others may make room */
        return err->code;
    }
    lc_text_addf(&w->out, "{\"event\": \"loaded\", \"adapter\": ");
    lc_text_add_json_string(&w->out, name, strlen(name));
    lc_text_addf(&w->out, ", \"memory_bytes\": %" PRId64 "}\n", w->engine.model->places[at].bytes);
    return LC_OK;
}

static lc_code take_drop(worker *w, const cJSON *line, lc_err *err)
{
    const char *name = NULL;
    LC_TRY(lc_json_string(line, "adapter", true, &name, err));
    const int32_t found = find_place(w, name);
    if (found != NO_PLACE) {
        w->places[found].is_dropped = true;
    }
    return LC_OK;
}

static lc_code add_chat(worker *w, const cJSON *line, lc_worker_chat *chat, lc_err *err)
{
    if (*w->options->is_stopping) {
        return lc_fail(err, LC_ERR_BUSY, "the worker is being stopped; ask again");
    }
    if (w->chat_count >= LC_MAX_WORKER_QUEUE) {
        return lc_fail(err, LC_ERR_BUSY, "%d chats wait already", LC_MAX_WORKER_QUEUE);
    }
    for (const lc_worker_chat *other = w->first; other != NULL; other = other->next) {
        if (strcmp(other->id, chat->id) == 0) {
            return lc_fail_param(err, LC_ERR_INVALID, "id", "there is a chat of this id");
        }
    }
    const int32_t in = find_place(w, chat->adapter);
    if (chat->adapter[0] != '\0' && (in == NO_PLACE || w->places[in].is_dropped)) {
        return lc_fail_param(err, LC_ERR_NOT_FOUND, "adapter", "no adapter \"%.200s\" is loaded",
                             chat->adapter);
    }
    LC_TRY(lc_worker_chat_prepare(chat, line, w->chat_template, w->tokenizer, w->context, err));
    w->prompt_tokens += (int64_t)chat->prompt.count;
    *w->last = chat;
    w->last = &chat->next;
    w->chat_count++;
    return LC_OK;
}

static void take_chat(worker *w, const cJSON *line)
{
    lc_worker_chat *chat = NULL;
    lc_err err = {.code = LC_OK};
    if (lc_worker_chat_read(line, &chat, &err) != LC_OK || add_chat(w, line, chat, &err) != LC_OK) {
        const char *id = cJSON_GetStringValue(lc_json_get(line, "id"));
        lc_worker_add_error(&w->out, "id", id, &err);
        lc_worker_chat_free(chat);
    }
}

static void take_cancel(worker *w, const cJSON *line)
{
    const char *id = cJSON_GetStringValue(lc_json_get(line, "id"));
    lc_err err = {.code = LC_OK};
    (void)lc_fail(&err, LC_ERR_INTERRUPTED, "cancelled");
    for (lc_worker_chat *chat = w->first; id != NULL && chat != NULL; chat = chat->next) {
        if (strcmp(chat->id, id) == 0) {
            end_chat(w, chat, &err);
            return;
        }
    }
}

static void take_ping(worker *w)
{
    const char *comma = "";
    lc_text_addf(&w->out,
                 "{\"event\": \"pong\", \"active\": %" PRId64 ", \"queued\": %" PRId64
                 ", \"prompt_tokens\": %" PRId64 ", \"tokens\": %" PRId64 ", \"adapters\": [",
                 w->active, w->chat_count, w->prompt_tokens, w->tokens);
    for (int i = 0; i < LC_MAX_WORKER_LOADED; i++) {
        if (w->places[i].is_taken) {
            lc_text_addf(&w->out, "%s", comma);
            lc_text_add_json_string(&w->out, w->places[i].name, strlen(w->places[i].name));
            comma = ", ";
        }
    }
    lc_text_addf(&w->out, "]}\n");
}

static void take_line(worker *w, const lc_worker_line *line)
{
    const char *op = cJSON_GetStringValue(lc_json_get(line->object, "op"));
    const char *adapter = cJSON_GetStringValue(lc_json_get(line->object, "adapter"));
    lc_err err = {.code = LC_OK};
    if (line->object == NULL) {
        lc_worker_add_error(&w->out, "id", NULL, &line->err);
    } else if (op != NULL && strcmp(op, "chat") == 0) {
        take_chat(w, line->object);
    } else if (op != NULL && strcmp(op, "cancel") == 0) {
        take_cancel(w, line->object);
    } else if (op != NULL && strcmp(op, "ping") == 0) {
        take_ping(w);
    } else if (op != NULL && (strcmp(op, "load") == 0 || strcmp(op, "drop") == 0)) {
        if ((op[0] == 'l' ? take_load(w, line->object, &err) : take_drop(w, line->object, &err)) !=
            LC_OK) {
            lc_worker_add_error(&w->out, "adapter", adapter, &err);
        }
    } else {
        (void)lc_fail_param(&err, LC_ERR_INVALID, "op",
                            "op: expected load, drop, chat, cancel or ping");
        lc_worker_add_error(&w->out, "id", NULL, &err);
    }
}

/* ---- generation ---- */

static int64_t active_of(const worker *w, const char *owner)
{
    int64_t count = 0;
    for (int64_t i = 0; i < w->slots; i++) {
        count += w->sequences[i].chat != NULL && strcmp(w->sequences[i].chat->owner, owner) == 0;
    }
    return count;
}

/* Whether a chat has a choice to begin. Its others wait for the first one's first token: then they
 * take the prompt over from its cache. */
static bool is_ready(const lc_worker_chat *chat)
{
    return chat->begun == 0 || (chat->begun < chat->count &&
                                (chat->choices[0].tokens > 0 || chat->choices[0].has_ended));
}

static lc_worker_chat *next_chat(worker *w)
{
    lc_worker_chat *best = NULL;
    int64_t fewest = INT64_MAX;
    for (lc_worker_chat *chat = w->first; chat != NULL; chat = chat->next) {
        const int64_t active = is_ready(chat) ? active_of(w, chat->owner) : INT64_MAX;
        if (active < fewest) {
            best = chat;
            fewest = active;
        }
    }
    return best;
}

static lc_code begin_choice(worker *w, lc_worker_chat *chat, lc_err *err)
{
    sequence *to = w->sequences;
    while (to->chat != NULL) {
        to++;
    }
    const lc_generate_request request = {.number = w->next_number,
                                         .prompt = chat->prompt.ids,
                                         .prompt_count = (int64_t)chat->prompt.count,
                                         .max_tokens = chat->max_tokens,
                                         .sampling = chat->sampling,
                                         .stream = (uint32_t)chat->begun,
                                         .adapter = find_place(w, chat->adapter),
                                         .wants_logprobs = chat->has_logprobs,
                                         .top_count = chat->top_logprobs};
    LC_TRY(lc_generator_add(w->generator, &request, err));
    chat->choices[chat->begun].is_active = true;
    *to = (sequence){.chat = chat, .index = chat->begun++, .number = w->next_number++};
    w->active++;
    return LC_OK;
}

static void admit(worker *w)
{
    lc_worker_chat *chat;
    while (w->active < w->slots && (chat = next_chat(w)) != NULL) {
        lc_err err = {.code = LC_OK};
        if (begin_choice(w, chat, &err) != LC_OK) {
            end_chat(w, chat, &err);
        }
    }
}

static void take_token(worker *w, const lc_generated *token)
{
    sequence *from = NULL;
    bool is_stopped = false;
    lc_err err = {.code = LC_OK};
    for (int64_t i = 0; i < w->slots; i++) {
        if (w->sequences[i].chat != NULL && w->sequences[i].number == token->number) {
            from = &w->sequences[i];
        }
    }
    if (from == NULL) {
        return; /* its chat was cancelled by a token of this very step */
    }
    lc_worker_chat *chat = from->chat;
    const int index = from->index;
    w->tokens++;
    if (lc_worker_chat_token(chat, index, token, w->tokenizer, &w->out, &is_stopped, &err) !=
        LC_OK) {
        end_chat(w, chat, &err);
        return;
    }
    if (is_stopped) {
        stop_sequences(w, chat, index);
    } else if (token->finish != LC_FINISH_NONE) {
        from->chat = NULL;
        w->active--;
    }
    if (lc_worker_chat_is_done(chat)) {
        end_chat(w, chat, NULL);
    }
}

/* After a step that failed no cache is to be trusted: all chats that have begun end. */
static void fail_all(worker *w, const lc_err *err)
{
    for (lc_worker_chat *chat = w->first, *next; chat != NULL; chat = next) {
        next = chat->next;
        if (chat->begun > 0) {
            end_chat(w, chat, err);
        }
    }
    lc_generator_cancel(w->generator);
}

/* LC_ERR_DEVICE alone is the worker's end: a GPU that has failed once serves this process no more,
 * the next one perhaps. */
static lc_code step(worker *w, lc_err *err)
{
    const lc_generated *tokens = NULL;
    int32_t count = 0;
    const lc_code code = lc_generator_step(w->generator, &tokens, &count, err);
    if (code != LC_OK) {
        fail_all(w, err);
        return code == LC_ERR_DEVICE ? code : LC_OK;
    }
    for (int32_t t = 0; t < count; t++) {
        take_token(w, &tokens[t]);
    }
    return LC_OK;
}

/* ---- the loop ---- */

static lc_code send_lines(worker *w, lc_err *err)
{
    LC_TRY(lc_text_finish(&w->out, "the answers", err));
    for (size_t sent = 0; sent < w->out.length;) {
        const ssize_t count = write(w->options->fd_out, w->out.data + sent, w->out.length - sent);
        if (count < 0 && errno == EINTR) {
            continue;
        }
        if (count <= 0) {
            return lc_fail_errno(err, "nobody reads the answers");
        }
        sent += (size_t)count;
    }
    w->out.length = 0;
    return LC_OK;
}

/* All lines that are there; waits a little for one when there is nothing else to do. */
static bool take_lines(worker *w)
{
    bool has_ended = false, is_idle = w->chat_count == 0;
    lc_worker_line *line;
    while ((line = lc_worker_input_take(w->input, is_idle ? IDLE_SECONDS : 0, &has_ended)) !=
           NULL) {
        take_line(w, line);
        lc_worker_line_free(line);
        is_idle = false;
    }
    return !has_ended;
}

static lc_code work(worker *w, lc_err *err)
{
    lc_text_addf(&w->out,
                 "{\"event\": \"ready\", \"slots\": %" PRId64 ", \"context\": %" PRId64
                 ", \"adapters\": %" PRId64 ", \"memory_bytes\": %" PRId64 "}\n",
                 w->slots, w->context, w->options->adapters, lc_plan_total(&w->engine.model->plan));
    for (;;) {
        LC_TRY(send_lines(w, err));
        if (!take_lines(w)) {
            return LC_OK; /* who asked is gone */
        }
        if (*w->options->is_stopping && w->chat_count == 0) {
            return send_lines(w, err);
        }
        free_dropped(w);
        admit(w);
        lc_err step_err = {.code = LC_OK};
        if (step(w, &step_err) != LC_OK) {
            LC_TRY(send_lines(w, err));
            *err = step_err;
            return err->code;
        }
    }
}

static lc_code open_worker(worker *w, lc_err *err)
{
    const lc_worker_run_options *o = w->options;
    w->slots = o->slots > 0 ? o->slots : DEFAULT_SLOTS;
    w->context = o->context > 0 ? o->context : DEFAULT_CONTEXT;
    w->last = &w->first;
    lc_text_init(&w->out);
    LC_TRY(open_model(w, err));
    return lc_worker_input_open(o->fd_in, &w->input, err);
}

/* It cannot work: who started it learns that before it ends, if it still reads. */
static void tell_why(worker *w, const lc_err *why)
{
    lc_err ignored = {.code = LC_OK};
    lc_worker_add_error(&w->out, "id", NULL, why);
    (void)!send_lines(w, &ignored);
}

lc_code lc_worker_run(const lc_worker_run_options *options, lc_err *err)
{
    void *memory = NULL;
    LC_TRY(lc_new(&memory, 1, sizeof(worker), "the worker", err));
    worker *w = memory;
    w->options = options;
    lc_code code = open_worker(w, err);
    if (code == LC_OK) {
        code = work(w, err);
    } else {
        tell_why(w, err);
    }
    while (w->first != NULL) {
        lc_worker_chat *next = w->first->next;
        lc_worker_chat_free(w->first);
        w->first = next;
    }
    lc_generator_close(w->generator);
    lc_engine_close(&w->engine);
    if (w->tokenizer != NULL) {
        lc_tokenizer_free(w->tokenizer);
    }
    lc_chat_template_free(w->chat_template);
    lc_text_release(&w->out);
    lc_worker_input_close(w->input);
    lc_free(w);
    return code;
}
