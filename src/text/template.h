/*
 * Chat templates. This version renders exactly one template, the one that ships with the base
 * model (models/sprout-3m/chat_template.jinja, recognised by its text); others are refused by
 * name. Where a model directory has it: chat_template.jinja, else tokenizer_config.json
 * "chat_template".
 */
#ifndef LC_TEXT_TEMPLATE_H
#define LC_TEXT_TEMPLATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/json.h"
#include "lorac/err.h"

typedef struct lc_chat_template lc_chat_template;

LC_WARN_UNUSED lc_code lc_chat_template_load(const char *model_dir, lc_chat_template **out,
                                             lc_err *err);
void lc_chat_template_free(lc_chat_template *chat_template);
/* Of all that a rendered text hangs on beside the conversation; 32 bytes. */
const uint8_t *lc_chat_template_sha256(const lc_chat_template *chat_template);

/* Byte ranges of the rendered text that the assistant wrote: content, tool calls and the closing
 * <|im_end|>, but not the role header and not the newline after it. */
typedef struct lc_span {
    size_t begin, end;
    size_t message; /* index of the message in the conversation */
} lc_span;

typedef struct lc_rendered {
    char *text; /* owned */
    size_t bytes;
    lc_span *spans; /* owned; assistant messages in order */
    size_t span_count;
} lc_rendered;
void lc_rendered_release(lc_rendered *rendered);

/* messages: JSON array of {role, content, tool_calls...}; tools: JSON array or NULL. The text
 * equals what Jinja2, set up as transformers does, gives for the template. */
LC_WARN_UNUSED lc_code lc_chat_template_render(const lc_chat_template *chat_template,
                                               const cJSON *messages, const cJSON *tools,
                                               bool add_generation_prompt, lc_rendered *out,
                                               lc_err *err);

#endif
