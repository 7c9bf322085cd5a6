/*
 * Forms with one stored part; see form.h.
 */
#include "serve/form.h"

#include <string.h>

#include "lorac/mem.h"
#include "serve/files_internal.h"
#include "serve/multipart.h"

struct lc_form {
    lc_files *files;
    lc_form_options options;
    lc_multipart *parser; /* owned */
    lc_draft *draft;      /* owned */
    bool has_file, has_filename;
    char filename[LC_MAX_PART_FILENAME_BYTES + 1];
    lc_text values[LC_MAX_FORM_FIELDS]; /* owned */
    bool has_value[LC_MAX_FORM_FIELDS];
    /* The part that is coming: where it goes. Both NULL: nowhere. */
    lc_draft *to_draft;
    lc_text *to_value;
};

static lc_code fail_twice(const char *field, lc_err *err)
{
    return lc_fail_param(err, LC_ERR_INVALID, field, "\"%s\" was sent twice", field);
}

static lc_code begin_file(lc_form *form, lc_part *part, lc_err *err)
{
    if (form->has_file) {
        return fail_twice(part->name, err);
    }
    form->has_file = true;
    form->has_filename = part->is_file;
    memcpy(form->filename, part->filename, sizeof form->filename);
    part->max_bytes = form->options.max_bytes;
    LC_TRY(lc_draft_open(form->files, form->options.max_bytes, &form->draft, err));
    form->to_draft = form->draft;
    return LC_OK;
}

static int index_of(const lc_form *form, const char *field)
{
    for (int i = 0; i < LC_MAX_FORM_FIELDS && form->options.fields[i] != NULL; i++) {
        if (strcmp(form->options.fields[i], field) == 0) {
            return i;
        }
    }
    return -1;
}

static lc_code begin(void *context, lc_part *part, lc_err *err)
{
    lc_form *form = context;
    form->to_draft = NULL;
    form->to_value = NULL;
    if (strcmp(part->name, form->options.file_field) == 0) {
        return begin_file(form, part, err);
    }
    part->max_bytes = LC_MAX_FIELD_BYTES; /* of files that nobody asked for, too */
    const int index = index_of(form, part->name);
    if (index < 0) {
        return LC_OK;
    }
    if (form->has_value[index]) {
        return fail_twice(part->name, err);
    }
    form->has_value[index] = true;
    form->to_value = &form->values[index];
    return LC_OK;
}

static lc_code take(void *context, const char *bytes, size_t count, lc_err *err)
{
    lc_form *form = context;
    if (form->to_draft != NULL) {
        return lc_draft_write(form->to_draft, bytes, count, err);
    }
    if (form->to_value != NULL) {
        lc_text_add(form->to_value, bytes, count);
        return lc_text_finish(form->to_value, "a field", err);
    }
    return LC_OK;
}

static lc_code end(void *context, lc_err *err)
{
    const lc_form *form = context;
    const lc_text *value = form->to_value;
    if (value != NULL && value->length > 0 && strlen(value->data) != value->length) {
        return lc_fail(err, LC_ERR_INVALID, "a field has a NUL byte");
    }
    return LC_OK;
}

lc_code lc_form_open(lc_files *files, const char *content_type, const lc_form_options *options,
                     lc_form **out, lc_err *err)
{
    lc_form *form = NULL;
    LC_TRY(lc_new((void **)&form, 1, sizeof *form, "a form", err));
    form->files = files;
    form->options = *options;
    const lc_multipart_sink sink = {begin, take, end, form};
    const lc_code code = lc_multipart_open(content_type, &sink, &form->parser, err);
    if (code != LC_OK) {
        lc_free(form);
        return code;
    }
    *out = form;
    return LC_OK;
}

void lc_form_close(lc_form *form)
{
    if (form == NULL) {
        return;
    }
    lc_draft_abort(form->draft);
    for (int i = 0; i < LC_MAX_FORM_FIELDS; i++) {
        lc_text_release(&form->values[i]);
    }
    lc_multipart_close(form->parser);
    lc_free(form);
}

lc_code lc_form_feed(lc_form *form, const char *bytes, size_t count, lc_err *err)
{
    return lc_multipart_feed(form->parser, bytes, count, err);
}

lc_code lc_form_finish(lc_form *form, lc_err *err)
{
    LC_TRY(lc_multipart_finish(form->parser, err));
    return form->has_file ? LC_OK
                          : lc_fail_param(err, LC_ERR_INVALID, form->options.file_field,
                                          "the form has no \"%s\"", form->options.file_field);
}

const char *lc_form_value(const lc_form *form, const char *field)
{
    const int index = index_of(form, field);
    if (index < 0 || !form->has_value[index]) {
        return NULL;
    }
    return form->values[index].data != NULL ? form->values[index].data : "";
}

const char *lc_form_filename(const lc_form *form)
{
    return form->has_filename ? form->filename : NULL;
}

lc_draft *lc_form_take_draft(lc_form *form)
{
    lc_draft *draft = form->draft;
    form->draft = NULL;
    return draft;
}

/* ---- POST /files ---- */

lc_code lc_file_form_open(lc_files *files, const char *content_type, lc_form **out, lc_err *err)
{
    /* The SDK's brackets, and the classic names. */
    static const char *const fields[] = {
        "purpose", "expires_after[anchor]", "expires_after[seconds]", "anchor", "seconds", NULL};
    const lc_form_options options = {
        .file_field = "file", .max_bytes = files->options.max_file_bytes, .fields = fields};
    return lc_form_open(files, content_type, &options, out, err);
}

static const char *either(const lc_form *form, const char *field, const char *classic)
{
    const char *value = lc_form_value(form, field);
    return value != NULL ? value : lc_form_value(form, classic);
}

lc_code lc_file_form_create(lc_files *files, const char *owner, lc_form *form, lc_text *out,
                            lc_err *err)
{
    LC_TRY(lc_form_finish(form, err));
    lc_file_wish wish = {.filename = lc_form_filename(form),
                         .purpose = lc_form_value(form, "purpose")};
    LC_TRY(lc_expiry_parse(either(form, "expires_after[anchor]", "anchor"),
                           either(form, "expires_after[seconds]", "seconds"), &wish.expires_after,
                           err));
    return lc_files_create(files, owner, lc_form_take_draft(form), &wish, out, err);
}
