/*
 * A form of the API: multipart/form-data with a few small fields and one part that goes to disk as
 * it comes. Between the parser and the files; the routes feed it.
 */
#ifndef LC_SERVE_FORM_H
#define LC_SERVE_FORM_H

#include "serve/files.h"

#define LC_MAX_FORM_FIELDS 8

typedef struct lc_form lc_form;

typedef struct lc_form_options {
    const char *file_field;    /* the part that is stored: "file", "data"; static */
    int64_t max_bytes;         /* of it */
    const char *const *fields; /* that are wanted, NULL-terminated, static; others are dropped */
} lc_form_options;

LC_WARN_UNUSED lc_code lc_form_open(lc_files *files, const char *content_type,
                                    const lc_form_options *options, lc_form **out, lc_err *err);
/* Errors stay, as the parser's. A wanted field or the file twice: LC_ERR_INVALID. */
LC_WARN_UNUSED lc_code lc_form_feed(lc_form *form, const char *bytes, size_t count, lc_err *err);
/* The body has ended: LC_ERR_INVALID unless it was whole and has the file. */
LC_WARN_UNUSED lc_code lc_form_finish(lc_form *form, lc_err *err);
/* After lc_form_finish; the form owns the text. NULL: the field was not sent. */
const char *lc_form_value(const lc_form *form, const char *field);
const char *lc_form_filename(const lc_form *form); /* NULL: it was sent without a name */
/* The stored bytes, which are the caller's from now on. */
lc_draft *lc_form_take_draft(lc_form *form);
void lc_form_close(lc_form *form); /* NULL: nothing */

/* The form of POST /files. */
LC_WARN_UNUSED lc_code lc_file_form_open(lc_files *files, const char *content_type, lc_form **out,
                                         lc_err *err);
/* Ends the form and creates the file; writes its object. The form still has to be closed. */
LC_WARN_UNUSED lc_code lc_file_form_create(lc_files *files, const char *owner, lc_form *form,
                                           lc_text *out, lc_err *err);

#endif
