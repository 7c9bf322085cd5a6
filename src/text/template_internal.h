/* What the files behind template.h share. */
#ifndef LC_TEXT_TEMPLATE_INTERNAL_H
#define LC_TEXT_TEMPLATE_INTERNAL_H

#include "text/jinja_program.h"
#include "text/template.h"

struct lc_chat_template {
    lc_jprogram *usual, *for_tools; /* owned; either may be NULL, not both */
    char name[64], tools_name[64];
    cJSON *variables; /* owned: special tokens and the caller's variables */
    int64_t now;
    bool has_date;
    bool wants_objects; /* arguments of tool calls as objects, not as their text */
    bool wants_texts;   /* the other way round; neither: it takes both */
    bool wants_strings; /* content as a string, not as a list of parts */
    int64_t steps;      /* fuel of one rendering, LC_MAX_TEMPLATE_STEPS but in tests */
    uint8_t sha256[32];
};

/* One run of the template: the first message_count messages. */
typedef struct lc_rendering {
    const cJSON *messages, *tools, *row;
    size_t message_count;
    bool add_generation_prompt, is_raw;
    bool is_trial;         /* of a short conversation: ends at a small part of the limits */
    const char *continued; /* the last message's member that the text ends with; NULL: none */
} lc_rendering;

typedef struct lc_output {
    char *text; /* owned; NUL behind */
    size_t bytes;
    lc_jspan *spans; /* owned; of {% generation %} */
    size_t span_count;
} lc_output;

LC_WARN_UNUSED lc_code lc_template_run(const lc_chat_template *t, const lc_rendering *r,
                                       lc_output *out, lc_err *err);
void lc_output_release(lc_output *output);

/* Finds out what the template wants. */
LC_WARN_UNUSED lc_code lc_template_try_forms(lc_chat_template *t, lc_err *err);
/* A copy of the messages (owned by the caller) in the forms that the template wants; NULL where
 * they are in these already. */
LC_WARN_UNUSED lc_code lc_template_read_forms(const lc_chat_template *t, const cJSON *messages,
                                              cJSON **out, lc_err *err);

/* Puts a mark behind the last message's `field`; *was is what stands there. And ends the output
 * where the mark came out. */
LC_WARN_UNUSED lc_code lc_template_mark_end(lc_jvm *vm, const lc_jvalue *messages,
                                            const char *field, lc_jvalue *was);
LC_WARN_UNUSED lc_code lc_template_cut_at_mark(lc_jvm *vm, const lc_jvalue *was);

/* What the assistant wrote, into out->spans (owned by the caller in any case): by the template's
 * own marks, or by comparing with the text of the conversation's beginnings. */
LC_WARN_UNUSED lc_code lc_template_spans_marked(const lc_rendering *r, lc_output *whole,
                                                lc_rendered *out, lc_err *err);
LC_WARN_UNUSED lc_code lc_template_spans_compared(const lc_chat_template *t, const lc_rendering *r,
                                                  const lc_output *whole, lc_rendered *out,
                                                  lc_err *err);

#endif
