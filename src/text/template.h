/*
 * Chat templates: conversations to text, byte for byte as transformers does with Jinja2, and which
 * parts of it the assistant wrote. A template that is loaded is immutable: any number of threads
 * may render with it at once.
 *
 * Where a model directory has it, in this order: chat_template.jinja, and NAME.jinja in
 * additional_chat_templates; tokenizer_config.json "chat_template" (a text, or a list of {name,
 * template}); chat_template.json "chat_template". Of several, "tool_use" is taken where tools are
 * given, else "default".
 */
#ifndef LC_TEXT_TEMPLATE_H
#define LC_TEXT_TEMPLATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/json.h"
#include "lorac/err.h"
#include "text/template_limits.h"

typedef struct lc_chat_template lc_chat_template;

/* Where a template and what it sees come from. */
typedef struct lc_template_source {
    const char *model_dir;  /* templates and special tokens; NULL: none, `file` alone */
    const char *file;       /* a template that replaces the model's; NULL: the model's */
    const cJSON *variables; /* object: more variables of every rendering; NULL: none. Copied */
    const char *date;       /* "YYYY-MM-DD" for strftime_now; NULL: the clock */
} lc_template_source;

LC_WARN_UNUSED lc_code lc_chat_template_open(const lc_template_source *source,
                                             lc_chat_template **out, lc_err *err);
/* The model's own template, with the clock. */
LC_WARN_UNUSED lc_code lc_chat_template_load(const char *model_dir, lc_chat_template **out,
                                             lc_err *err);
void lc_chat_template_free(lc_chat_template *chat_template); /* NULL: nothing */

/* What a rendering hangs on besides the conversation: texts, special tokens, variables, date. */
const uint8_t *lc_chat_template_sha256(const lc_chat_template *chat_template); /* 32 bytes */
/* "YYYY-MM-DD" is a date that exists. */
LC_WARN_UNUSED lc_code lc_template_date_check(const char *date, lc_err *err);
#define LC_TEMPLATE_DATE_BYTES 16
/* The day (UTC) of a time in seconds since 1970, and today, as lc_template_source.date. */
void lc_template_date_of(int64_t seconds, char out[LC_TEMPLATE_DATE_BYTES]);
void lc_template_date_today(char out[LC_TEMPLATE_DATE_BYTES]);

/* Byte ranges of the rendered text that the assistant wrote: what follows the header of its
 * message, with the sign that ends a turn, without white space that the template puts behind that
 * sign. */
typedef struct lc_span {
    size_t begin, end;
    size_t message; /* index of the message in the conversation */
} lc_span;

typedef struct lc_rendered {
    char *text; /* owned; NUL-terminated */
    size_t bytes;
    lc_span *spans; /* owned; in order */
    size_t span_count;
} lc_rendered;
void lc_rendered_release(lc_rendered *rendered);

typedef struct lc_template_args {
    const cJSON *messages; /* array of objects; with `row`, may be NULL */
    const cJSON *tools;    /* array, or NULL */
    bool add_generation_prompt;
    /* Spans by {% generation %} where the template has it, else by rendering the conversation up to
     * each assistant message: text up to it and with it must begin the whole. Where it does not,
     * that is an error with advice; messages with weight 0 are left out. */
    bool with_spans;
    /* All variables at once, in place of messages, tools and add_generation_prompt: the members of
     * this object, as they are (`lorac template`). "continue_final_message" is no variable: where
     * it is true, or the name of a member, the text ends behind that text of the last message. */
    const cJSON *row;
    /* The messages as they are. Without it they become what transformers' apply_chat_template makes
     * of them: members that are null are dropped, reasoning goes by all its names (thinking,
     * reasoning, reasoning_content); and `weight` is not shown. Arguments of tool calls become the
     * objects that they spell where the template wants objects, their text where it wants that, and
     * lists of text parts become their text where it wants strings. */
    bool is_raw;
} lc_template_args;

/* Errors of the template are LC_ERR_INVALID with its name, line and message. */
LC_WARN_UNUSED lc_code lc_chat_template_render(const lc_chat_template *chat_template,
                                               const lc_template_args *args, lc_rendered *out,
                                               lc_err *err);

#endif
