/*
 * Files of the API: received into DATA/tmp, then DATA/files/ID; listed, read, deleted; checked by
 * the row rules and let expire by one thread of their own, so that an upload is answered at once.
 * Knows no HTTP: the routes call this.
 *
 * Status: "pending" until the check of a fine-tune file has ended, then "processed", or "error"
 * with the first findings in status_details. A deleted or expired row stays for an hour, so that a
 * list can go on behind it; its bytes go at once. Jobs have links of their own to what they use.
 */
#ifndef LC_SERVE_FILES_H
#define LC_SERVE_FILES_H

#include "base/file.h"
#include "serve/import.h"
#include "serve/page.h"
#include "serve/store.h"

#define LC_MAX_FILE_BYTES         ((int64_t)512 << 20)
#define LC_MAX_TRAINING_FILES     100 /* of an owner, with purpose fine-tune */
#define LC_MAX_FILENAME_BYTES     255
#define LC_MIN_EXPIRY_SECONDS     3600
#define LC_MAX_EXPIRY_SECONDS     2592000
#define LC_MAX_IMPORTS            16 /* waiting or under way */
#define LC_MAX_FILE_LIST          10000
#define LC_FILE_TOMBSTONE_SECONDS 3600
#define LC_FILE_PURPOSE_TRAINING  "fine-tune"
#define LC_FILE_PURPOSE_RESULTS   "fine-tune-results" /* made by jobs, never uploaded */
#define LC_FILE_STATUS_PENDING    "pending"

typedef struct lc_files lc_files;

typedef struct lc_files_options {
    int64_t max_file_bytes;  /* of one file: 0 is LC_MAX_FILE_BYTES */
    int64_t max_owner_bytes; /* of all files and upload parts of an owner; 0: no limit */
    int max_training_files;  /* of an owner; 0 is LC_MAX_TRAINING_FILES */
    int check_threads;       /* 0: one */
    int64_t (*now)(void);    /* unix seconds; NULL: the clock's */
    lc_import_options import;
} lc_files_options;

/* Makes the folders, throws away what a killed server left half done, goes on with what is pending.
 * `store` is borrowed. One per DATA. */
LC_WARN_UNUSED lc_code lc_files_start(lc_store *store, const lc_files_options *options,
                                      lc_files **out, lc_err *err);
/* Waits for the check that is running. NULL: nothing. */
void lc_files_stop(lc_files *files);
/* ---- receiving ---- */

/* Bytes on their way into a file. */
typedef struct lc_draft lc_draft;

LC_WARN_UNUSED lc_code lc_draft_open(lc_files *files, int64_t max_bytes, lc_draft **out,
                                     lc_err *err);
/* Beyond max_bytes: LC_ERR_TOO_LARGE. */
LC_WARN_UNUSED lc_code lc_draft_write(lc_draft *draft, const char *bytes, size_t count,
                                      lc_err *err);
int64_t lc_draft_bytes(const lc_draft *draft);
void lc_draft_abort(lc_draft *draft); /* NULL: nothing */

typedef struct lc_file_wish {
    const char *filename; /* NULL, empty, . and ..: refused; a path is cut off */
    const char *purpose;
    int64_t expires_after; /* seconds; -1: never */
} lc_file_wish;

/* What can be refused before any byte has come: name, purpose, expiry. Writes the name without its
 * path into filename. Errors have the field as param. */
LC_WARN_UNUSED lc_code lc_file_wish_check(const lc_file_wish *wish,
                                          char filename[LC_MAX_FILENAME_BYTES + 1], lc_err *err);
/* expires_after as a form has it: both texts, or both NULL (*out = -1). */
LC_WARN_UNUSED lc_code lc_expiry_parse(const char *anchor, const char *seconds, int64_t *out,
                                       lc_err *err);
/* expires_after of a JSON body: {"anchor": "created_at", "seconds": N}, null or absent. */
LC_WARN_UNUSED lc_code lc_expiry_of(const cJSON *body, int64_t *out, lc_err *err);

/* The draft becomes a file; it is gone in any case. Writes the file object. An empty one is
 * LC_ERR_INVALID. */
LC_WARN_UNUSED lc_code lc_files_create(lc_files *files, const char *owner, lc_draft *draft,
                                       const lc_file_wish *wish, lc_text *out, lc_err *err);

/* POST /files/import: {"purpose", "filename", "content_url", "expires_after"?}. Answers at once
 * with a pending file; what goes wrong later is in its status_details. LC_ERR_UNSUPPORTED unless
 * imports are allowed, LC_ERR_BUSY with LC_MAX_IMPORTS waiting. */
LC_WARN_UNUSED lc_code lc_files_import(lc_files *files, const char *owner, const cJSON *body,
                                       lc_text *out, lc_err *err);

/* ---- what there is ---- */

LC_WARN_UNUSED lc_code lc_files_get(lc_files *files, const char *owner, const char *id,
                                    lc_text *out, lc_err *err);
/* purpose NULL: all. page->limit in 1..LC_MAX_FILE_LIST. */
LC_WARN_UNUSED lc_code lc_files_list(lc_files *files, const char *owner, const char *purpose,
                                     const lc_page *page, lc_text *out, lc_err *err);
LC_WARN_UNUSED lc_code lc_files_delete(lc_files *files, const char *owner, const char *id,
                                       lc_text *out, lc_err *err);
/* Where the bytes of a file are, and its name. LC_ERR_STATE while none are there. */
LC_WARN_UNUSED lc_code lc_files_content(lc_files *files, const char *owner, const char *id,
                                        char path[LC_MAX_PATH_BYTES],
                                        char filename[LC_MAX_FILENAME_BYTES + 1], lc_err *err);

/* For a job that is being made, in its transaction: the absolute path of a file with this purpose.
 * Whoever deletes the file takes the bytes away, so the job keeps a link of its own. A file that is
 * still being checked is given (the job finds the same errors), one with errors or no such file is
 * LC_ERR_INVALID, one that is not there yet LC_ERR_STATE. `param` is the job's field for messages.
 */
LC_WARN_UNUSED lc_code lc_files_find(lc_db *db, const char *data_dir, const char *owner,
                                     const char *id, const char *purpose, const char *param,
                                     char path[LC_MAX_PATH_BYTES], lc_err *err);
/* The same in a transaction of its own. */
LC_WARN_UNUSED lc_code lc_files_path(lc_store *store, const char *owner, const char *id,
                                     const char *purpose, const char *param,
                                     char path[LC_MAX_PATH_BYTES], lc_err *err);

#endif
