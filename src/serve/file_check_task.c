/*
 * Checking pending files by the row rules; see files.h. What a file is meant for (sft, dpo, rft) is
 * not said when it comes, so it is good if it is good by the rules of one method; else the method
 * with the fewest errors has the word.
 */
#include <stdio.h>
#include <string.h>

#include "data/file_check.h"
#include "lorac/log.h"
#include "serve/files_internal.h"

typedef struct lc_verdict {
    bool is_good;
    int64_t error_count;
    char details[LC_ERR_MESSAGE_BYTES];
} lc_verdict;

static void check_as(const lc_files *files, const char *path, lc_method method, lc_verdict *best)
{
    lc_check_report report = {0};
    lc_err err = {0}, findings_err = {0};
    const lc_check_options options = {.path = path,
                                      .what = "The file",
                                      .method = method,
                                      .threads = files->options.check_threads};
    lc_code code = lc_check_file(&options, &report, &err);
    const char *details = "the file could not be read";
    if (code != LC_OK) { /* the message may name the server's paths */
        lc_log(LC_LOG_WARN, "files: %s", err.message);
    }
    if (report.findings.error_count > 0) {
        code = lc_findings_fail(&report.findings, &findings_err);
        details = findings_err.message;
    }
    if (code == LC_OK) {
        *best = (lc_verdict){.is_good = true};
    } else if (best->error_count < 0 || report.findings.error_count < best->error_count) {
        best->error_count = report.findings.error_count;
        (void)snprintf(best->details, sizeof best->details, "%s", details);
    }
    lc_check_report_release(&report);
}

static lc_code find_pending(lc_files *files, char id[LC_ID_BYTES], char path[LC_MAX_PATH_BYTES],
                            bool *is_idle, lc_err *err)
{
    lc_db *db = NULL;
    lc_rows rows;
    LC_TRY(lc_store_read(files->store, &db, err));
    lc_code code = lc_db_query(db,
                               "SELECT id, path FROM files WHERE status = 'pending'"
                               " AND path != '' ORDER BY seq LIMIT 1",
                               LC_BIND_NONE, &rows, err);
    if (code == LC_OK) {
        *is_idle = !lc_rows_next(&rows);
        if (!*is_idle) {
            lc_rows_copy(&rows, 0, id, LC_ID_BYTES);
            code = lc_files_resolve(lc_store_dir(files->store), lc_rows_text(&rows, 1), path, err);
        }
        const lc_code ended = lc_rows_end(&rows, err);
        code = code != LC_OK ? code : ended;
    }
    lc_store_end(&db);
    return code;
}

/* The file may have been deleted meanwhile. */
static lc_code note(lc_files *files, const char *id, const lc_verdict *verdict, lc_err *err)
{
    lc_db *db = NULL;
    LC_TRY(lc_store_begin(files->store, &db, err));
    lc_code code =
        lc_db_run(db,
                  "UPDATE files SET status = ?2, status_details = ?3"
                  " WHERE id = ?1 AND status = 'pending'",
                  LC_BIND(lc_sql_text(id), lc_sql_text(verdict->is_good ? "processed" : "error"),
                          lc_sql_text(verdict->is_good ? NULL : verdict->details)),
                  err);
    if (code == LC_OK) {
        code = lc_store_commit(&db, err);
    }
    lc_store_end(&db);
    return code;
}

lc_code lc_files_check_next(lc_files *files, bool *is_idle, lc_err *err)
{
    char id[LC_ID_BYTES], path[LC_MAX_PATH_BYTES];
    lc_verdict verdict = {.error_count = -1};
    LC_TRY(find_pending(files, id, path, is_idle, err));
    if (*is_idle) {
        return LC_OK;
    }
    for (int method = 0; method < LC_METHOD_COUNT && !verdict.is_good; method++) {
        check_as(files, path, (lc_method)method, &verdict);
    }
    return note(files, id, &verdict, err);
}
