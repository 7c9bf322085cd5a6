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

#include "base/system.h"
#include "infer/engine.h"
#include "infer/worker_chat.h"
#include "infer/worker_input.h"
#include "lorac/mem.h"

#define PREFILL_ROWS    128 /* prompt tokens in one pass, at least */
#define DEFAULT_SLOTS   8
#define DEFAULT_CONTEXT 4096
#define IDLE_SECONDS    0.2 /* between two looks at is_stopping */

/* What generates for one adapter, or for the base alone (name ""). */
typedef struct lane {
    char name[LC_MAX_WORKER_NAME_BYTES];
    lc_engine engine;
    lc_generator *generator; /* owned; NULL: the place is free */
    bool is_dropped;         /* takes no more chats; closed when those that use it have ended */
} lane;

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
    lane lanes[LC_MAX_WORKER_LOADED + 1]; /* the first is the base's */
    sequence sequences[LC_MAX_WORKER_SLOTS];
    int64_t active, next_number;
    lc_worker_chat *first, **last; /* chats that have not ended, as they came */
    int64_t chat_count;
    int64_t prompt_tokens, tokens;
    lc_text out; /* lines of this round */
} worker;

/* ---- lanes ---- */

/* One that is dropped too: its chats go on. An adapter of that name is loaded again only when it is
 * closed. */
static lane *find_lane(worker *w, const char *name)
{
    for (int i = 0; i <= LC_MAX_WORKER_LOADED; i++) {
        lane *one = &w->lanes[i];
        if (one->generator != NULL && strcmp(one->name, name) == 0) {
            return one;
        }
    }
    return NULL;
}

static void add_stop_id(int32_t *ids, int32_t *count, int32_t id)
{
    for (int32_t i = 0; i < *count; i++) {
        if (ids[i] == id) {
            return;
        }
    }
    if (id >= 0 && *count < LC_MAX_STOP_IDS) {
        ids[(*count)++] = id;
    }
}

static lc_code open_generator(const worker *w, lane *to, lc_err *err)
{
    int32_t ids[LC_MAX_STOP_IDS], count = 0;
    const lc_model_config *config = &to->engine.config;
    for (int32_t i = 0; i < config->eos_count; i++) {
        add_stop_id(ids, &count, config->eos[i]);
    }
    add_stop_id(ids, &count, lc_tokenizer_id(w->tokenizer, "<|im_end|>"));
    return lc_generator_open(to->engine.model, ids, count, &to->generator, err);
}

static void close_lane(lane *one)
{
    lc_generator_close(one->generator);
    lc_engine_close(&one->engine);
    memset(one, 0, sizeof *one);
}

static lc_code open_lane(worker *w, lane *to, const char *name, const char *dir, lc_err *err)
{
    lc_code code;
    const lc_worker_run_options *o = w->options;
    (void)snprintf(to->name, sizeof to->name, "%s", name);
    LC_TRY_GOTO(lc_engine_load(o->model_dir, dir, &to->engine, err));
    if (w->context == 0 || w->context > to->engine.config.max_position) {
        w->context = to->engine.config.max_position;
    }
    const int64_t rows = w->slots > PREFILL_ROWS ? w->slots : PREFILL_ROWS;
    const lc_engine_sizes sizes = {.device = o->device,
                                   .dtype = o->dtype,
                                   .threads = o->threads,
                                   .tokens = rows < w->context ? rows : w->context,
                                   .cache_slots = w->slots,
                                   .cache_rows = w->context};
    LC_TRY_GOTO(lc_engine_start(&to->engine, &sizes, err));
    if (w->tokenizer == NULL) {
        LC_TRY_GOTO(
            lc_tokenizer_load_for(o->model_dir, to->engine.config.vocab, &w->tokenizer, err));
    }
    LC_TRY_GOTO(open_generator(w, to, err));
    return LC_OK;
fail:
    close_lane(to);
    return code;
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
            lane *in = find_lane(w, chat->adapter);
            if (in != NULL) {
                lc_generator_cancel_one(in->generator, one->number);
            }
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

static lc_code take_load(worker *w, const cJSON *line, lc_err *err)
{
    const char *name = NULL, *dir = NULL;
    lane *to = NULL;
    LC_TRY(lc_json_string(line, "adapter", true, &name, err));
    LC_TRY(lc_json_string(line, "dir", true, &dir, err));
    if (name[0] == '\0' || strlen(name) >= LC_MAX_WORKER_NAME_BYTES) {
        return lc_fail_param(err, LC_ERR_INVALID, "adapter", "an adapter's name has 1 to %d bytes",
                             LC_MAX_WORKER_NAME_BYTES - 1);
    }
    lane *found = find_lane(w, name);
    if (found != NULL) {
        found->is_dropped = false; /* asked for again before it was closed */
    } else {
        for (int64_t i = 1; i <= w->options->adapters && to == NULL; i++) {
            to = w->lanes[i].generator == NULL ? &w->lanes[i] : NULL;
        }
        if (to == NULL) {
            return lc_fail_param(err, LC_ERR_BUSY, "adapter",
                                 "%" PRId64 " adapters are loaded already", w->options->adapters);
        }
        LC_TRY(open_lane(w, to, name, dir, err));
    }
    lc_text_addf(&w->out, "{\"event\": \"loaded\", \"adapter\": ");
    lc_text_add_json_string(&w->out, name, strlen(name));
    lc_text_addf(&w->out, "}\n");
    return LC_OK;
}

static bool is_used(const worker *w, const lane *one)
{
    for (const lc_worker_chat *chat = w->first; chat != NULL; chat = chat->next) {
        if (strcmp(chat->adapter, one->name) == 0) {
            return true;
        }
    }
    return false;
}

static void close_dropped(worker *w)
{
    for (int i = 1; i <= LC_MAX_WORKER_LOADED; i++) {
        lane *one = &w->lanes[i];
        if (one->is_dropped && !is_used(w, one)) {
            lc_text_addf(&w->out, "{\"event\": \"dropped\", \"adapter\": ");
            lc_text_add_json_string(&w->out, one->name, strlen(one->name));
            lc_text_addf(&w->out, "}\n");
            close_lane(one);
        }
    }
}

static lc_code take_drop(worker *w, const cJSON *line, lc_err *err)
{
    const char *name = NULL;
    LC_TRY(lc_json_string(line, "adapter", true, &name, err));
    lane *found = name[0] != '\0' ? find_lane(w, name) : NULL;
    if (found != NULL) {
        found->is_dropped = true;
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
    const lane *in = find_lane(w, chat->adapter);
    if (in == NULL || in->is_dropped) {
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
    for (int i = 1; i <= LC_MAX_WORKER_LOADED; i++) {
        if (w->lanes[i].generator != NULL) {
            lc_text_addf(&w->out, "%s", comma);
            lc_text_add_json_string(&w->out, w->lanes[i].name, strlen(w->lanes[i].name));
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

static lc_worker_chat *next_chat(worker *w)
{
    lc_worker_chat *best = NULL;
    int64_t fewest = INT64_MAX;
    for (lc_worker_chat *chat = w->first; chat != NULL; chat = chat->next) {
        const int64_t active = chat->begun < chat->count ? active_of(w, chat->owner) : INT64_MAX;
        if (active < fewest) {
            best = chat;
            fewest = active;
        }
    }
    return best;
}

static lc_code begin_choice(worker *w, lc_worker_chat *chat, lc_err *err)
{
    sequence *place = w->sequences;
    while (place->chat != NULL) {
        place++;
    }
    const lane *in = find_lane(w, chat->adapter);
    const lc_generate_request request = {.number = w->next_number,
                                         .prompt = chat->prompt.ids,
                                         .prompt_count = (int64_t)chat->prompt.count,
                                         .max_tokens = chat->max_tokens,
                                         .sampling = chat->sampling,
                                         .stream = (uint32_t)chat->begun};
    LC_TRY(lc_generator_add(in->generator, &request, err));
    chat->choices[chat->begun].is_active = true;
    *place = (sequence){.chat = chat, .index = chat->begun++, .number = w->next_number++};
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

/* A step that fails ends the chats of its lane: their caches are not to be trusted. */
static void fail_lane(worker *w, const lane *failed, const lc_err *err)
{
    for (lc_worker_chat *chat = w->first, *next; chat != NULL; chat = next) {
        next = chat->next;
        if (chat->begun > 0 && strcmp(chat->adapter, failed->name) == 0) {
            end_chat(w, chat, err);
        }
    }
    lc_generator_cancel(failed->generator);
}

static void step(worker *w)
{
    for (int i = 0; i <= LC_MAX_WORKER_LOADED; i++) {
        const lane *one = &w->lanes[i];
        const lc_generated *tokens = NULL;
        int32_t count = 0;
        lc_err err = {.code = LC_OK};
        if (one->generator == NULL || lc_generator_active(one->generator) == 0) {
            continue;
        }
        if (lc_generator_step(one->generator, &tokens, &count, &err) != LC_OK) {
            fail_lane(w, one, &err);
            continue;
        }
        for (int32_t t = 0; t < count; t++) {
            take_token(w, &tokens[t]);
        }
    }
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
                 w->slots, w->context, w->options->adapters, lc_system_resident_bytes());
    for (;;) {
        LC_TRY(send_lines(w, err));
        if (!take_lines(w)) {
            return LC_OK; /* who asked is gone */
        }
        if (*w->options->is_stopping && w->chat_count == 0) {
            return send_lines(w, err);
        }
        close_dropped(w);
        admit(w);
        step(w);
    }
}

static lc_code open_worker(worker *w, lc_err *err)
{
    const lc_worker_run_options *o = w->options;
    w->slots = o->slots > 0 ? o->slots : DEFAULT_SLOTS;
    w->context = o->context > 0 ? o->context : DEFAULT_CONTEXT;
    w->last = &w->first;
    lc_text_init(&w->out);
    LC_TRY(open_lane(w, &w->lanes[0], "", NULL, err));
    LC_TRY(lc_chat_template_load(o->model_dir, &w->chat_template, err));
    return lc_worker_input_open(o->fd_in, &w->input, err);
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
    }
    while (w->first != NULL) {
        lc_worker_chat *next = w->first->next;
        lc_worker_chat_free(w->first);
        w->first = next;
    }
    for (int i = 0; i <= LC_MAX_WORKER_LOADED; i++) {
        close_lane(&w->lanes[i]);
    }
    if (w->tokenizer != NULL) {
        lc_tokenizer_free(w->tokenizer);
    }
    lc_chat_template_free(w->chat_template);
    lc_text_release(&w->out);
    lc_worker_input_close(w->input);
    lc_free(w);
    return code;
}
