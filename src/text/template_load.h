/* Finding a model's chat template and special tokens. Private to template.c. */
#ifndef LC_TEXT_TEMPLATE_LOAD_H
#define LC_TEXT_TEMPLATE_LOAD_H

#include "text/template.h"

/* A template's text and what to call it. */
typedef struct lc_template_text {
    char *text; /* owned; NULL: there is none */
    size_t bytes;
    char name[64];
} lc_template_text;

typedef struct lc_template_texts {
    lc_template_text usual, for_tools;
    bool has_named; /* there is a list of templates by name */
    cJSON *tokens;  /* owned: {"bos_token": "...", ...} */
} lc_template_texts;

LC_WARN_UNUSED lc_code lc_template_find(const lc_template_source *source, lc_template_texts *out,
                                        lc_err *err);
void lc_template_texts_release(lc_template_texts *texts);

#endif
