/*
 * Uploads in parts: begun with the number of bytes to come, completed by naming the parts in order.
 * Parts are DATA/uploads/UPLOAD/PART until then. An upload that is not completed in two hours
 * expires. Objects and names: azure-compatible, with a part's id as its azure_block_id too.
 */
#ifndef LC_SERVE_UPLOADS_H
#define LC_SERVE_UPLOADS_H

#include "serve/form.h"

#define LC_MAX_UPLOAD_BYTES      ((int64_t)8 << 30)
#define LC_MAX_UPLOAD_PART_BYTES ((int64_t)64 << 20)
#define LC_MAX_UPLOAD_PARTS      1024 /* received, of one upload */
#define LC_MAX_OPEN_UPLOADS      64   /* of an owner */
#define LC_MAX_MIME_TYPE_BYTES   127
#define LC_UPLOAD_SECONDS        7200

/* POST /uploads: {"bytes", "filename", "mime_type", "purpose", "expires_after"?}. */
LC_WARN_UNUSED lc_code lc_uploads_create(lc_files *files, const char *owner, const cJSON *body,
                                         lc_text *out, lc_err *err);

/* POST /uploads/ID/parts: a form with the part as "data". Whether the upload can take parts is
 * asked before any byte comes, and again at the end. */
LC_WARN_UNUSED lc_code lc_part_form_open(lc_files *files, const char *owner, const char *upload_id,
                                         const char *content_type, lc_form **out, lc_err *err);
LC_WARN_UNUSED lc_code lc_part_form_add(lc_files *files, const char *owner, const char *upload_id,
                                        lc_form *form, lc_text *out, lc_err *err);

/* POST /uploads/ID/complete: {"part_ids": [...], "md5"?}. Joins the parts into a file, whose object
 * is in the answer. What is wrong with the parts leaves the upload as it was. */
LC_WARN_UNUSED lc_code lc_uploads_complete(lc_files *files, const char *owner,
                                           const char *upload_id, const cJSON *body, lc_text *out,
                                           lc_err *err);
LC_WARN_UNUSED lc_code lc_uploads_cancel(lc_files *files, const char *owner, const char *upload_id,
                                         lc_text *out, lc_err *err);

#endif
