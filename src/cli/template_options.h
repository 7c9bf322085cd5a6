/* --chat-template, which several verbs take. */
#ifndef LC_CLI_TEMPLATE_OPTIONS_H
#define LC_CLI_TEMPLATE_OPTIONS_H

#include "text/template.h"

typedef struct lc_template_options {
    const char *file, *date; /* NULL: not given */
} lc_template_options;

#define LC_CHAT_TEMPLATE_OPTION(options)                                                        \
    {                                                                                           \
        .name = "--chat-template", .value = "FILE",                                             \
        .help = "a Jinja chat template in place of the model's own", .fallback = "the model's", \
        .text = &(options).file                                                                 \
    }

static inline lc_code lc_template_options_open(const lc_template_options *options,
                                               const char *model_dir, lc_chat_template **out,
                                               lc_err *err)
{
    const lc_template_source source = {
        .model_dir = model_dir, .file = options->file, .date = options->date};
    return lc_chat_template_open(&source, out, err);
}

#endif
