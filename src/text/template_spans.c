/*
 * Which parts of a rendered conversation the assistant wrote; see template_internal.h.
 *
 * Compared: the span of message i is what the text of messages 0..i has beyond that of messages
 * 0..i-1 with the generation prompt (without, where the prompt is no beginning of the text). Both
 * must be beginnings of the whole text, else training would show the model what it never sees
 * when it answers. White space at the span's end goes when a sign of the template stands before
 * it ("...<|im_end|>\n"): the turn ends with the sign. Where only white space ends a turn, it
 * stays.
 */
#include <string.h>

#include "lorac/mem.h"
#include "text/template_internal.h"

static bool is_assistant(const cJSON *message)
{
    const cJSON *role = lc_json_get(message, "role");
    return cJSON_IsString(role) && strcmp(role->valuestring, "assistant") == 0;
}

static bool is_trained(const cJSON *message)
{
    const cJSON *weight = lc_json_get(message, "weight");
    return is_assistant(message) && !(cJSON_IsNumber(weight) && !(weight->valuedouble > 0.0));
}

static lc_code make_room(const cJSON *messages, size_t more, lc_rendered *out, lc_err *err)
{
    void *memory = NULL;
    const size_t count = (size_t)cJSON_GetArraySize(messages) + more + 1;
    LC_TRY(lc_new(&memory, count, sizeof(lc_span), "spans", err));
    out->spans = memory;
    return LC_OK;
}

/* ---- marked ---- */

/* Whether every part stands in a loop that is at a message of the assistant, in their order. */
static bool know_messages(const lc_rendering *r, const lc_output *whole)
{
    const cJSON *message = r->messages != NULL ? r->messages->child : NULL;
    size_t at = 1;
    for (size_t i = 0; i < whole->span_count; i++) {
        for (; message != NULL && at < whole->spans[i].message; at++) {
            message = message->next;
        }
        if (message == NULL || at != whole->spans[i].message || !is_assistant(message)) {
            return false;
        }
    }
    return true;
}

/* Numbers the parts by the messages of the assistant, one for one. Where there are more or less of
 * them nobody may ask whose they are. */
static lc_code count_messages(const lc_rendering *r, lc_output *whole, lc_err *err)
{
    size_t assistants = 0, skipped = 0, number = 0, at = 0;
    const cJSON *message = NULL;
    cJSON_ArrayForEach(message, r->messages)
    {
        number++;
        assistants += is_assistant(message);
        skipped += is_assistant(message) && !is_trained(message);
        if (is_assistant(message) && at < whole->span_count) {
            whole->spans[at++].message = number;
        }
    }
    for (; at < whole->span_count; at++) {
        whole->spans[at].message = number;
    }
    return skipped == 0 || assistants == whole->span_count
               ? LC_OK
               : lc_fail_param(err, LC_ERR_INVALID, "weight",
                               "the template marks %zu parts as the assistant's for %zu messages "
                               "of the assistant, so that one with weight 0 cannot be told apart",
                               whole->span_count, assistants);
}

lc_code lc_template_spans_marked(const lc_rendering *r, lc_output *whole, lc_rendered *out,
                                 lc_err *err)
{
    const cJSON *message = r->messages != NULL ? r->messages->child : NULL;
    size_t index = 0;
    LC_TRY(make_room(r->messages, whole->span_count, out, err));
    if (!know_messages(r, whole)) {
        LC_TRY(count_messages(r, whole, err));
    }
    for (size_t i = 0; i < whole->span_count; i++) {
        const lc_jspan span = whole->spans[i];
        const size_t end = span.end < whole->bytes ? span.end : whole->bytes;
        for (; message != NULL && index + 1 < span.message; index++) {
            message = message->next;
        }
        const bool is_skipped = is_assistant(message) && !is_trained(message);
        if (!is_skipped && span.begin < end) {
            out->spans[out->span_count++] = (lc_span){span.begin, end, index};
        }
    }
    return LC_OK;
}

/* ---- compared ---- */

/* Where the texts part. */
static size_t common_beginning(const lc_output *a, const lc_output *b)
{
    size_t at = 0;
    while (at < a->bytes && at < b->bytes && a->text[at] == b->text[at]) {
        at++;
    }
    return at;
}

static bool begins(const lc_output *part, const lc_output *whole)
{
    return part->bytes <= whole->bytes && memcmp(part->text, whole->text, part->bytes) == 0;
}

static lc_code fail_different(size_t message, const lc_output *part, const lc_output *whole,
                              lc_err *err)
{
    const size_t at = common_beginning(part, whole);
    const size_t left = whole->bytes - at;
    return lc_fail_param(err, LC_ERR_INVALID, "messages",
                         "messages[%zu]: the chat template writes this answer otherwise once more "
                         "messages follow (\"%.*s...\" at byte %zu was different without them), "
                         "so it cannot be trained where it stands: give earlier answers "
                         "\"weight\": 0, make rows whose only answer is the last message, or put a "
                         "training template of this model's family, one with {%% generation %%} "
                         "tags, into the model's folder as chat_template.jinja (or name it with "
                         "--chat-template, lorac.chat_template in a job file)",
                         message, left < 24 ? (int)left : 24, whole->text + at, at);
}

/* The text up to a message, as the beginning of `to`: *bytes of it. */
static lc_code find_begin(const lc_chat_template *t, const lc_rendering *r, size_t message,
                          const lc_output *to, size_t *bytes, lc_err *err)
{
    lc_rendering before = *r;
    lc_output part;
    lc_err first = {.code = LC_OK};
    before.message_count = message;
    for (int with_prompt = 1; with_prompt >= 0; with_prompt--) {
        before.add_generation_prompt = with_prompt != 0;
        const lc_code code = lc_template_run(t, &before, &part, &first);
        if (code != LC_OK && message == 0 && code == LC_ERR_INVALID) {
            *bytes = 0; /* templates that look at messages[0] */
            return LC_OK;
        }
        if (code != LC_OK) {
            (void)lc_fail_param(err, code, "messages", "%s", first.message);
            return lc_err_context(err, "messages[%zu]: the conversation before it", message);
        }
        const bool is_beginning = begins(&part, to);
        *bytes = part.bytes;
        lc_output_release(&part);
        if (is_beginning) {
            return LC_OK;
        }
        lc_err_clear(&first);
    }
    *bytes = SIZE_MAX;
    return LC_OK;
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Ends the span before white space that stands behind the template's own sign. */
static size_t trim_end(const char *text, size_t begin, size_t end, const cJSON *message)
{
    size_t trimmed = end;
    const cJSON *content = lc_json_get(message, "content");
    while (trimmed > begin && is_space(text[trimmed - 1])) {
        trimmed--;
    }
    if (cJSON_IsString(content)) {
        size_t length = strlen(content->valuestring);
        while (length > 0 && is_space(content->valuestring[length - 1])) {
            length--;
        }
        if (length > 0 && length <= trimmed - begin &&
            memcmp(text + trimmed - length, content->valuestring, length) == 0) {
            return end; /* only white space ends this turn */
        }
    }
    return trimmed > begin ? trimmed : end;
}

static lc_code compare_one(const lc_chat_template *t, const lc_rendering *r, const cJSON *message,
                           size_t index, const lc_output *whole, lc_rendered *out, lc_err *err)
{
    lc_rendering with = *r;
    lc_output part = {0};
    size_t begin = 0;
    lc_code code = LC_OK;
    with.message_count = index + 1;
    with.add_generation_prompt = false;
    const bool is_whole = message->next == NULL && !r->add_generation_prompt;
    const lc_output *to = whole;
    if (!is_whole) {
        LC_TRY(lc_template_run(t, &with, &part, err));
        to = &part;
    }
    if (!begins(to, whole)) {
        code = fail_different(index, to, whole, err);
    }
    if (code == LC_OK) {
        code = find_begin(t, r, index, to, &begin, err);
    }
    if (code == LC_OK && begin == SIZE_MAX) {
        code = lc_fail_param(err, LC_ERR_INVALID, "messages",
                             "messages[%zu]: the chat template writes the conversation before "
                             "this answer otherwise than it does with it: put one with "
                             "{%% generation %%} tags into the model's folder as "
                             "chat_template.jinja (or name it with --chat-template, "
                             "lorac.chat_template in a job file)",
                             index);
    }
    if (code == LC_OK && begin < to->bytes) {
        out->spans[out->span_count++] =
            (lc_span){begin, trim_end(to->text, begin, to->bytes, message), index};
    }
    lc_output_release(&part);
    return code;
}

lc_code lc_template_spans_compared(const lc_chat_template *t, const lc_rendering *r,
                                   const lc_output *whole, lc_rendered *out, lc_err *err)
{
    const cJSON *message = NULL;
    size_t index = 0;
    LC_TRY(make_room(r->messages, 0, out, err));
    cJSON_ArrayForEach(message, r->messages)
    {
        if (is_trained(message)) {
            LC_TRY(compare_one(t, r, message, index, whole, out, err));
        }
        index++;
    }
    return LC_OK;
}
