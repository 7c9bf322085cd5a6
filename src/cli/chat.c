/*
 * lorac chat: answers on a terminal, in a pipe, or to one prompt, streamed token by token; with
 * --ids token ids in and out and no tokenizer.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/thread.h"
#include "cli/commands.h"
#include "cli/terminal.h"
#include "cli/options.h"
#include "cli/template_options.h"
#include "infer/engine.h"
#include "infer/generate.h"
#include "infer/stop_ids.h"
#include "lorac/mem.h"
#include "text/template.h"
#include "text/tokenizer.h"
#include "text/utf8.h"

#define PREFILL_ROWS    128  /* prompt tokens in one pass */
#define DEFAULT_CONTEXT 4096 /* tokens of a conversation, unless the model has fewer */
#define MAX_INPUT_BYTES ((size_t)16 << 20)
#define MAX_SEED        INT64_C(4294967295)

typedef struct lc_chat_options {
    const char *model_dir, *adapter_dir, *system, *prompt, *dtype, *device;
    lc_template_options chat_template;
    double temperature, top_p;
    int64_t seed, max_tokens, context, threads;
    bool ids, raw;
} lc_chat_options;

typedef struct lc_chat {
    const lc_chat_options *options;
    lc_engine engine;
    lc_generator *generator;         /* owned */
    lc_tokenizer *tokenizer;         /* owned; NULL with --ids */
    lc_chat_template *chat_template; /* owned; NULL: prompts are continued as they are */
    cJSON *messages;                 /* owned; the conversation */
    uint32_t turn;                   /* random stream of the next answer */
    lc_decode_stream stream;
    lc_text answer;     /* text of the answer so far; of a raw prompt with the prompt before it */
    size_t not_printed; /* its first bytes, which are the prompt */
    int64_t printed;
} lc_chat;

/* Set by Ctrl-C in a terminal session: ends the answer, not the program. */
static volatile sig_atomic_t interrupted;

static void on_interrupt(int number)
{
    (void)number;
    interrupted = 1;
}

/* ---- opening ---- */

static lc_code open_generator(lc_chat *chat, lc_err *err)
{
    lc_stop_ids stop;
    LC_TRY(
        lc_stop_ids_find(&chat->engine.config, chat->tokenizer, chat->chat_template, &stop, err));
    return lc_generator_open(chat->engine.model, stop.ids, stop.count, &chat->generator, err);
}

/* A model that has no template, one that was not taught to chat, continues what it is given. */
static lc_code open_template(lc_chat *chat, lc_err *err)
{
    const lc_chat_options *o = chat->options;
    if (o->raw) {
        return LC_OK;
    }
    const lc_code code =
        lc_template_options_open(&o->chat_template, o->model_dir, &chat->chat_template, err);
    if (code != LC_ERR_NOT_FOUND || o->system != NULL) {
        return code;
    }
    (void)fprintf(stderr, "%s has no chat template: prompts are continued as they are (--raw)\n",
                  o->model_dir);
    lc_err_clear(err);
    return LC_OK;
}

static lc_code open_chat(lc_chat *chat, lc_err *err)
{
    const lc_chat_options *o = chat->options;
    LC_TRY(lc_engine_load(o->model_dir, o->adapter_dir, &chat->engine, err));
    if (!o->ids) {
        LC_TRY(
            lc_tokenizer_load_for(o->model_dir, chat->engine.config.vocab, &chat->tokenizer, err));
        LC_TRY(open_template(chat, err));
    }
    int64_t context = o->context > 0 ? o->context : DEFAULT_CONTEXT;
    if (context > chat->engine.config.max_position) {
        context = chat->engine.config.max_position;
    }
    const lc_engine_sizes sizes = {.device = lc_device_choice(o->device),
                                   .dtype = o->dtype,
                                   .threads = (int)o->threads,
                                   .tokens = context < PREFILL_ROWS ? context : PREFILL_ROWS,
                                   .cache_slots = 1,
                                   .cache_rows = context};
    LC_TRY(lc_engine_start(&chat->engine, &sizes, err));
    return open_generator(chat, err);
}

static void close_chat(lc_chat *chat)
{
    lc_generator_close(chat->generator);
    if (chat->chat_template != NULL) {
        lc_chat_template_free(chat->chat_template);
    }
    if (chat->tokenizer != NULL) {
        lc_tokenizer_free(chat->tokenizer);
    }
    lc_text_release(&chat->answer);
    lc_decode_stream_release(&chat->stream);
    cJSON_Delete(chat->messages);
    lc_engine_close(&chat->engine);
}

/* ---- one answer ---- */

/* Generates from `prompt`; each token but a stop id goes to show(). */
static lc_code answer_ids(lc_chat *chat, const int32_t *prompt, int64_t prompt_count,
                          lc_on_token_fn show, lc_err *err)
{
    const lc_chat_options *o = chat->options;
    const lc_generate_request request = {
        .prompt = prompt,
        .prompt_count = prompt_count,
        .max_tokens = o->max_tokens,
        .sampling = {.temperature = o->temperature, .top_p = o->top_p, .seed = (uint32_t)o->seed},
        .stream = chat->turn++};
    interrupted = 0;
    const lc_code code = lc_generate_all(chat->generator, &request, 1, show, chat, err);
    if (code == LC_ERR_INTERRUPTED && interrupted) {
        lc_err_clear(err);
        return LC_OK;
    }
    return code;
}

/* Prints the answer from byte `from` on. */
static void show_answer(const lc_chat *chat, size_t from)
{
    from = from < chat->not_printed ? chat->not_printed : from;
    if (chat->answer.length > from) {
        (void)fwrite(chat->answer.data + from, 1, chat->answer.length - from, stdout);
        (void)fflush(stdout);
    }
}

static lc_code show_piece(void *context, const lc_generated *token, lc_err *err)
{
    lc_chat *chat = context;
    const size_t shown = chat->answer.length;
    if (token->finish != LC_FINISH_STOP) {
        LC_TRY(lc_decode_stream_push(&chat->stream, chat->tokenizer, token->id, true, &chat->answer,
                                     err));
        show_answer(chat, shown);
    }
    return interrupted ? lc_fail(err, LC_ERR_INTERRUPTED, "interrupted") : LC_OK;
}

static lc_code add_message(cJSON *messages, const char *role, const char *content, lc_err *err)
{
    cJSON *message = cJSON_CreateObject();
    if (message == NULL || cJSON_AddStringToObject(message, "role", role) == NULL ||
        cJSON_AddStringToObject(message, "content", content) == NULL ||
        !cJSON_AddItemToArray(messages, message)) {
        cJSON_Delete(message);
        return lc_fail(err, LC_ERR_MEMORY, "no memory for a message");
    }
    return LC_OK;
}

static void begin_answer(lc_chat *chat)
{
    lc_text_release(&chat->answer);
    lc_text_init(&chat->answer);
    lc_decode_stream_release(&chat->stream);
    chat->not_printed = 0;
}

/* Streams what the model says behind a prompt. */
static lc_code stream_answer(lc_chat *chat, const lc_tokens *prompt, lc_err *err)
{
    LC_TRY(answer_ids(chat, prompt->ids, (int64_t)prompt->count, show_piece, err));
    const size_t shown = chat->answer.length;
    LC_TRY(lc_decode_stream_finish(&chat->stream, chat->tokenizer, &chat->answer, err));
    show_answer(chat, shown);
    printf("\n");
    return lc_text_finish(&chat->answer, "the answer", err);
}

/* Renders the conversation and streams the assistant's answer. */
static lc_code answer_conversation(lc_chat *chat, lc_err *err)
{
    lc_rendered rendered;
    lc_tokens tokens = {0};
    const lc_template_args args = {.messages = chat->messages, .add_generation_prompt = true};
    memset(&rendered, 0, sizeof rendered);
    LC_TRY(lc_chat_template_render(chat->chat_template, &args, &rendered, err));
    lc_code code =
        lc_tokenizer_encode(chat->tokenizer, rendered.text, rendered.bytes, false, &tokens, err);
    begin_answer(chat);
    if (code == LC_OK) {
        code = stream_answer(chat, &tokens, err);
    }
    lc_tokens_release(&tokens);
    lc_rendered_release(&rendered);
    LC_TRY(code);
    return add_message(chat->messages, "assistant", chat->answer.data, err);
}

/* The prompt's tokens go through the stream too: what the answer's first token looks like hangs on
 * what stands before it. */
static lc_code stream_prompt(lc_chat *chat, const lc_tokens *prompt, lc_err *err)
{
    char *text = NULL;
    begin_answer(chat);
    for (size_t i = 0; i < prompt->count; i++) {
        LC_TRY(lc_decode_stream_push(&chat->stream, chat->tokenizer, prompt->ids[i], true,
                                     &chat->answer, err));
    }
    LC_TRY(lc_tokenizer_decode(chat->tokenizer, prompt->ids, prompt->count, true, &text,
                               &chat->not_printed, err));
    lc_free(text);
    return LC_OK;
}

/* Continues a text as it is, with the tokenizer's BOS before it. */
static lc_code continue_text(lc_chat *chat, const char *text, lc_err *err)
{
    lc_tokens tokens = {0};
    lc_code code = lc_tokenizer_encode(chat->tokenizer, text, strlen(text), true, &tokens, err);
    if (code == LC_OK) {
        code = stream_prompt(chat, &tokens, err);
    }
    if (code == LC_OK) {
        code = stream_answer(chat, &tokens, err);
    }
    lc_tokens_release(&tokens);
    return code;
}

static lc_code start_conversation(lc_chat *chat, lc_err *err)
{
    cJSON_Delete(chat->messages);
    chat->messages = cJSON_CreateArray();
    if (chat->messages == NULL) {
        return lc_fail(err, LC_ERR_MEMORY, "no memory for the conversation");
    }
    return chat->options->system == NULL
               ? LC_OK
               : add_message(chat->messages, "system", chat->options->system, err);
}

static lc_code say(lc_chat *chat, const char *text, lc_err *err)
{
    const size_t valid = lc_utf8_valid_prefix(text, strlen(text));
    if (text[valid] != '\0') {
        return lc_fail(err, LC_ERR_INVALID, "the prompt is not UTF-8 at byte %zu", valid);
    }
    if (chat->chat_template == NULL) {
        return continue_text(chat, text, err);
    }
    LC_TRY(add_message(chat->messages, "user", text, err));
    return answer_conversation(chat, err);
}

/* ---- token ids ---- */

static lc_code show_id(void *context, const lc_generated *token, lc_err *err)
{
    lc_chat *chat = context;
    printf("%s%d", chat->printed++ == 0 ? "" : " ", token->id);
    (void)fflush(stdout);
    return interrupted ? lc_fail(err, LC_ERR_INTERRUPTED, "interrupted") : LC_OK;
}

/* Numbers between blanks into *ids (lc_free). */
static lc_code parse_ids(const char *text, int32_t **ids, int64_t *count, lc_err *err)
{
    /* A number and the blank before it take two characters or more. */
    void *memory = NULL;
    *count = 0;
    LC_TRY(lc_new(&memory, strlen(text) / 2 + 1, sizeof **ids, "token ids", err));
    *ids = memory;
    for (const char *at = text + strspn(text, " \t\r\n,"); *at != '\0';
         at += strspn(at, " \t\r\n,")) {
        char *end = NULL;
        errno = 0;
        const long id = strtol(at, &end, 10);
        if (end == at || *at < '0' || *at > '9' || errno != 0 || id > INT32_MAX ||
            strchr(" \t\r\n,", *end) == NULL) {
            lc_free(*ids);
            *ids = NULL;
            return lc_fail(err, LC_ERR_INVALID,
                           "\"%.20s\" is not a token id: expected numbers between blanks", at);
        }
        (*ids)[(*count)++] = (int32_t)id;
        at = end;
    }
    return LC_OK;
}

static lc_code answer_id_line(lc_chat *chat, const char *line, lc_err *err)
{
    int32_t *ids = NULL;
    int64_t count = 0;
    LC_TRY(parse_ids(line, &ids, &count, err));
    chat->printed = 0;
    const lc_code code = answer_ids(chat, ids, count, show_id, err);
    lc_free(ids);
    LC_TRY(code);
    printf("\n");
    return LC_OK;
}

/* ---- the loop over input lines ---- */

static void print_greeting(const lc_chat *chat)
{
    printf(
        "%s%s%s. /new begins a new conversation, /exit or Ctrl-D ends; Ctrl-C stops an answer.\n",
        chat->options->model_dir, chat->options->adapter_dir != NULL ? " with " : "",
        chat->options->adapter_dir != NULL ? chat->options->adapter_dir : "");
}

static lc_code take_line(lc_chat *chat, const char *line, bool is_session, bool *is_end,
                         lc_err *err)
{
    if (line[strspn(line, " \t")] == '\0') {
        return LC_OK;
    }
    if (is_session && (strcmp(line, "/exit") == 0 || strcmp(line, "/quit") == 0)) {
        *is_end = true;
        return LC_OK;
    }
    if (is_session && strcmp(line, "/new") == 0) {
        return chat->options->ids ? LC_OK : start_conversation(chat, err);
    }
    return chat->options->ids ? answer_id_line(chat, line, err) : say(chat, line, err);
}

typedef enum lc_line_state { LC_LINE_READ, LC_LINE_END, LC_LINE_INTERRUPTED } lc_line_state;

/* One line of standard input without its end into *line (empty before). */
static lc_line_state read_line(lc_text *line)
{
    int character;
    errno = 0;
    while ((character = getchar()) != EOF && character != '\n' && line->length <= MAX_INPUT_BYTES) {
        const char byte = (char)character;
        lc_text_add(line, &byte, 1);
    }
    if (character == EOF && errno == EINTR) {
        clearerr(stdin);
        return LC_LINE_INTERRUPTED;
    }
    return character == EOF && line->length == 0 ? LC_LINE_END : LC_LINE_READ;
}

/* Takes a CR off the end; a text that cannot be a prompt is an error. */
static lc_code finish_line(lc_text *line, lc_err *err)
{
    LC_TRY(lc_text_finish(line, "a line of input", err));
    if (line->length > MAX_INPUT_BYTES || strlen(line->data) != line->length) {
        return lc_fail(err, LC_ERR_INVALID,
                       "an input line is longer than %zu bytes or holds a NUL byte",
                       MAX_INPUT_BYTES);
    }
    if (line->length > 0 && line->data[line->length - 1] == '\r') {
        line->data[line->length - 1] = '\0';
    }
    return LC_OK;
}

static void begin_session(const lc_chat *chat)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_interrupt;
    (void)sigaction(SIGINT, &action, NULL);
    print_greeting(chat);
}

/* Lines of standard input, one user turn each. */
static lc_code converse(lc_chat *chat, lc_err *err)
{
    const bool is_session = lc_is_terminal(STDIN_FILENO) && lc_is_terminal(STDOUT_FILENO);
    bool is_end = false;
    lc_code code = LC_OK;
    if (is_session) {
        begin_session(chat);
    }
    while (code == LC_OK && !is_end) {
        lc_text line;
        lc_text_init(&line);
        if (is_session) {
            printf("> ");
            (void)fflush(stdout);
        }
        const lc_line_state state = read_line(&line);
        if (state == LC_LINE_READ) {
            code = finish_line(&line, err);
            if (code == LC_OK) {
                code = take_line(chat, line.data, is_session, &is_end, err);
            }
        } else if (is_session) {
            printf("\n");
        }
        /* Ctrl-C at the prompt is as in a shell: a new line. */
        is_end |= state == LC_LINE_END || (state == LC_LINE_INTERRUPTED && !is_session);
        lc_text_release(&line);
    }
    return code;
}

static lc_code run_chat(const lc_chat_options *options, lc_err *err)
{
    lc_chat *chat = lc_calloc(1, sizeof *chat);
    if (chat == NULL) {
        return lc_fail(err, LC_ERR_MEMORY, "no memory to chat");
    }
    lc_code code;
    chat->options = options;
    lc_json_init();
    LC_TRY_GOTO(open_chat(chat, err));
    if (!options->ids) {
        LC_TRY_GOTO(start_conversation(chat, err));
    }
    if (options->prompt == NULL) {
        code = converse(chat, err);
    } else {
        code = options->ids ? answer_id_line(chat, options->prompt, err)
                            : say(chat, options->prompt, err);
    }
fail:
    close_chat(chat);
    lc_free(chat);
    return code;
}

lc_code lc_command_chat(int argc, char **argv, lc_err *err)
{
    lc_chat_options o = {
        .dtype = "auto", .device = "auto", .temperature = 0.7, .top_p = 1.0, .max_tokens = 512};
    bool done = false;
    const lc_option options[] = {
        {.name = "--model",
         .value = "DIR",
         .help = "base model directory (Hugging Face layout)",
         .text = &o.model_dir,
         .is_required = true},
        {.name = "--adapter",
         .value = "DIR",
         .help = "PEFT LoRA adapter on top of it",
         .text = &o.adapter_dir},
        LC_CHAT_TEMPLATE_OPTION(o.chat_template),
        {.name = "--system",
         .value = "TEXT",
         .help = "system message at the beginning of the conversation",
         .text = &o.system},
        {.name = "--prompt",
         .value = "TEXT",
         .help = "answer this and end; only the answer is printed",
         .fallback = "turns are read from standard input, one a line",
         .text = &o.prompt},
        {.name = "--temperature",
         .value = "T",
         .help = "0: greedy, the most likely token each time",
         .fallback = "0.7",
         .number = &o.temperature,
         .min = 0.0,
         .max = LC_MAX_TEMPERATURE},
        {.name = "--top-p",
         .value = "P",
         .help = "sample from the most likely tokens with this share of the "
                 "probability",
         .fallback = "1",
         .number = &o.top_p,
         .min = 1e-6,
         .max = 1.0},
        {.name = "--seed",
         .value = "N",
         .help = "random seed; the same seed gives the same answer",
         .fallback = "0",
         .integer = &o.seed,
         .low = 0,
         .high = MAX_SEED},
        {.name = "--max-tokens",
         .value = "N",
         .help = "longest answer",
         .fallback = "512",
         .integer = &o.max_tokens,
         .low = 1,
         .high = LC_MAX_POSITION},
        {.name = "--context",
         .value = "N",
         .help = "tokens of the whole conversation for which memory is taken",
         .fallback = "4096 or the model's context",
         .integer = &o.context,
         .low = 2,
         .high = LC_MAX_POSITION},
        {.name = "--ids",
         .help = "read and print token ids instead of text: each line of standard input (or "
                 "--prompt \"1 2 3\") is one prompt by itself; no tokenizer is needed",
         .flag = &o.ids},
        {.name = "--raw",
         .help = "no chat template: each prompt by itself is continued as it is, behind the "
                 "tokenizer's BOS; so are those of a model without a template",
         .flag = &o.raw},
        {.name = "--dtype",
         .value = "TYPE",
         .help = "type of the base weights in memory",
         .fallback = "auto: fp32 on the CPU, bf16 on a GPU",
         .text = &o.dtype,
         .choices = lc_dtype_choices},
        {.name = "--device",
         .value = "NAME",
         .help = "where to compute",
         .fallback = "auto: a GPU where there is one",
         .text = &o.device,
         .choices = lc_device_choices},
        {.name = "--threads",
         .value = "N",
         .help = "compute threads",
         .fallback = "LORAC_THREADS, else all cores of this process",
         .integer = &o.threads,
         .low = 1,
         .high = LC_MAX_THREADS},
    };
    const lc_command command = {
        .name = "chat",
        .description = "Streams the model's answers. On a terminal it is a conversation; in a pipe "
                       "each line is a\n"
                       "user turn of one conversation and each answer is printed as it comes; with "
                       "--prompt it\n"
                       "answers once.\n",
        .examples = "  lorac chat --model models/sprout-3m --adapter runs/quickstart/adapter\n"
                    "  lorac chat --model models/sprout-3m --prompt \"Hello\" --temperature 0\n"
                    "  lorac chat --model DIR --raw --prompt \"Once upon a time\" --temperature 0\n"
                    "  lorac chat --model DIR --ids --prompt \"1 403 407\" --temperature 0 "
                    "--max-tokens 32\n",
        .options = options,
        .option_count = sizeof options / sizeof *options};
    LC_TRY(lc_command_begin(&command, argc, argv, &done, err));
    if (done) {
        return LC_OK;
    }
    if (o.ids && o.system != NULL) {
        return lc_fail(err, LC_ERR_USAGE,
                       "--ids takes no --system: put its tokens into the prompt");
    }
    if (o.raw && (o.ids || o.system != NULL)) {
        return lc_fail(err, LC_ERR_USAGE, "--raw takes neither --ids nor --system");
    }
    return run_chat(&o, err);
}
