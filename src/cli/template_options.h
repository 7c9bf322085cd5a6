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

#define LC_TEMPLATE_DATE_OPTION(options)                                                    \
    {                                                                                       \
        .name = "--date", .value = "YYYY-MM-DD",                                            \
        .help = "the day that the chat template's strftime_now tells", .fallback = "today", \
        .text = &(options).date                                                             \
    }

static inline lc_code lc_template_options_open(const lc_template_options *options,
                                               const char *model_dir, lc_chat_template **out,
                                               lc_err *err)
{
    const lc_template_source source = {
        .model_dir = model_dir, .file = options->file, .date = options->date};
    return lc_chat_template_open(&source, out, err);
}

/* The same with a day that stays the same while the data is read. */
static inline lc_code lc_template_options_open_pinned(const lc_template_options *options,
                                                      const char *model_dir, lc_chat_template **out,
                                                      lc_err *err)
{
    lc_template_options pinned = *options;
    char today[LC_TEMPLATE_DATE_BYTES];
    lc_template_date_today(today);
    pinned.date = options->date != NULL ? options->date : today;
    return lc_template_options_open(&pinned, model_dir, out, err);
}

#endif
