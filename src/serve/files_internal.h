/* What files.c, file_rows.c, file_check_task.c, uploads.c and import.c share. */
#ifndef LC_SERVE_FILES_INTERNAL_H
#define LC_SERVE_FILES_INTERNAL_H

#include <pthread.h>

#include "serve/files.h"

typedef struct lc_imports lc_imports;

struct lc_files {
    lc_store *store;     /* borrowed */
    lc_imports *imports; /* owned; NULL: not allowed */
    lc_files_options options;
    char tmp_dir[LC_MAX_PATH_BYTES];
    pthread_t thread;
    pthread_mutex_t lock; /* of the two flags */
    pthread_cond_t poked;
    bool is_poked, is_stopping;
};

int64_t lc_files_now(const lc_files *files);

/* Closes the draft's file, safe on the disk, and renames it to DATA/`path`. The draft is freed in
 * any case; after a failure nothing of it is left. */
LC_WARN_UNUSED lc_code lc_draft_keep(lc_draft *draft, const char *path, lc_err *err);

/* Whether this owner may have one more file, and so many more bytes. */
LC_WARN_UNUSED lc_code lc_files_check_quota(lc_db *db, const lc_files_options *options,
                                            const char *owner, const char *purpose, int64_t bytes,
                                            lc_err *err);

typedef struct lc_file_row {
    const char *id, *owner, *filename, *purpose, *status;
    const char *path;               /* relative to DATA; "": no bytes yet */
    int64_t bytes;                  /* -1: not known yet */
    int64_t created_at, expires_at; /* expires_at -1: never */
} lc_file_row;

/* The path, relative to DATA, of a file with this id. */
#define LC_FILE_PATH_BYTES 64
void lc_file_path_of(const char *id, char out[LC_FILE_PATH_BYTES]);
/* DATA/path. */
LC_WARN_UNUSED lc_code lc_files_resolve(const char *data_dir, const char *path,
                                        char out[LC_MAX_PATH_BYTES], lc_err *err);

/* A new file's id and place. */
typedef struct lc_file_name {
    char id[LC_ID_BYTES];
    char path[LC_FILE_PATH_BYTES]; /* relative to DATA */
    char absolute[LC_MAX_PATH_BYTES];
} lc_file_name;
LC_WARN_UNUSED lc_code lc_file_name_new(const lc_files *files, lc_file_name *out, lc_err *err);
/* Its row; bytes -1: they are still to come, path "" then. Everything in it is borrowed. */
lc_file_row lc_file_row_of(const lc_files *files, const char *owner, const lc_file_name *name,
                           const lc_file_wish *wish, int64_t bytes);

LC_WARN_UNUSED lc_code lc_file_row_insert(lc_db *db, const lc_file_row *row, lc_err *err);
/* The object of a file of this owner. */
LC_WARN_UNUSED lc_code lc_file_object(lc_db *db, const char *data_dir, const char *owner,
                                      const char *id, lc_text *out, lc_err *err);

/* Marks what a restart has interrupted; *out stays NULL when imports are not allowed. Stop waits
 * for a fetch to notice. */
LC_WARN_UNUSED lc_code lc_imports_start(lc_files *files, lc_imports **out, lc_err *err);
void lc_imports_stop(lc_imports *imports);

/* Wakes the thread: there is something to check or to remove. */
void lc_files_poke(lc_files *files);
/* Marks what has expired, removes the bytes of deleted files, and forgets old rows. */
LC_WARN_UNUSED lc_code lc_files_sweep(lc_files *files, lc_err *err);
/* The same for uploads, as part of it. *count: so many have expired; clean has to follow. */
LC_WARN_UNUSED lc_code lc_uploads_expire(lc_db *db, int64_t now, int64_t *count, lc_err *err);
/* Removes the folders in DATA/uploads that no open upload has. */
LC_WARN_UNUSED lc_code lc_uploads_clean(lc_files *files, lc_err *err);
/* At the start: those that were being completed can be completed again. */
LC_WARN_UNUSED lc_code lc_uploads_resume(lc_files *files, lc_err *err);
/* Bytes under DATA/files and DATA/tmp that belong to nothing: left by a server that was killed. */
LC_WARN_UNUSED lc_code lc_files_clean(lc_files *files, lc_err *err);
/* Checks the oldest pending file. *is_idle: there was none. */
LC_WARN_UNUSED lc_code lc_files_check_next(lc_files *files, bool *is_idle, lc_err *err);

#endif
