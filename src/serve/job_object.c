/*
 * Azure's job object: every field always there, null where nothing is known.
 */
#include <inttypes.h>
#include <string.h>

#include "serve/jobs.h"
#include "serve/transitions.h"

/* Places in LC_JOB_COLUMNS. */
enum {
    ID,
    CREATED_AT,
    FINISHED_AT,
    MODEL,
    MODEL_NAME,
    STATUS,
    ERROR_CODE,
    ERROR_MESSAGE,
    ERROR_PARAM,
    N_EPOCHS,
    BATCH_SIZE,
    MULTIPLIER,
    SEED,
    TRAINING_FILE,
    VALIDATION_FILE,
    RESULT_FILE,
    TRAINED_TOKENS,
    ESTIMATED_FINISH,
    INTEGRATIONS,
    METADATA,
    SUFFIX,
    TRAINING_TYPE
};

static void add_text(const lc_rows *rows, const char *key, int column, lc_text *out)
{
    lc_json_add_text(out, key, lc_rows_text(rows, column));
}

static void add_int(const lc_rows *rows, const char *key, int column, lc_text *out)
{
    lc_json_add_int(out, key, lc_rows_is_null(rows, column) ? -1 : lc_rows_int(rows, column));
}

static void add_error(const lc_rows *rows, lc_text *out)
{
    if (lc_rows_is_null(rows, ERROR_CODE)) {
        lc_json_add_raw(out, "error", NULL);
        return;
    }
    const char *code = lc_rows_text(rows, ERROR_CODE);
    lc_text_addf(out, ", \"error\": {\"code\": ");
    lc_text_add_json_string(out, code, strlen(code));
    add_text(rows, "message", ERROR_MESSAGE, out);
    add_text(rows, "param", ERROR_PARAM, out);
    lc_text_addf(out, "}");
}

/* -1 is Azure's "not yet decided". */
static void add_hyperparameters(const lc_rows *rows, lc_text *out)
{
    lc_text_addf(out, "{\"n_epochs\": %" PRId64 ", \"batch_size\": %" PRId64,
                 lc_rows_int(rows, N_EPOCHS), lc_rows_int(rows, BATCH_SIZE));
    lc_text_addf(out, ", \"learning_rate_multiplier\": ");
    lc_text_add_double(out, lc_rows_real(rows, MULTIPLIER));
    lc_text_addf(out, "}");
}

void lc_job_object_write(const lc_rows *rows, lc_text *out)
{
    const bool has_succeeded = lc_status_of(lc_rows_text(rows, STATUS)) == LC_STATUS_SUCCEEDED;
    lc_text_addf(out, "{\"id\": \"%s\", \"object\": \"fine_tuning.job\"", lc_rows_text(rows, ID));
    add_int(rows, "created_at", CREATED_AT, out);
    add_int(rows, "finished_at", FINISHED_AT, out);
    add_text(rows, "model", MODEL, out);
    lc_json_add_text(out, "fine_tuned_model",
                     has_succeeded ? lc_rows_text(rows, MODEL_NAME) : NULL);
    add_text(rows, "status", STATUS, out);
    add_error(rows, out);
    lc_json_add_raw(out, "organization_id", NULL);
    lc_text_addf(out, ", \"hyperparameters\": ");
    add_hyperparameters(rows, out);
    lc_text_addf(out,
                 ", \"method\": {\"type\": \"supervised\", \"supervised\": {\"hyperparameters\": ");
    add_hyperparameters(rows, out);
    lc_text_addf(out, "}}");
    add_int(rows, "seed", SEED, out);
    add_text(rows, "training_file", TRAINING_FILE, out);
    add_text(rows, "validation_file", VALIDATION_FILE, out);
    const char *result = lc_rows_text(rows, RESULT_FILE);
    lc_text_addf(out, result != NULL ? ", \"result_files\": [\"%s\"]" : ", \"result_files\": []%s",
                 result != NULL ? result : "");
    add_int(rows, "trained_tokens", TRAINED_TOKENS, out);
    add_int(rows, "estimated_finish", ESTIMATED_FINISH, out);
    lc_json_add_raw(out, "integrations", lc_rows_text(rows, INTEGRATIONS));
    lc_json_add_raw(out, "metadata", lc_rows_text(rows, METADATA));
    add_text(rows, "suffix", SUFFIX, out);
    add_text(rows, "user_provided_suffix", SUFFIX, out);
    add_text(rows, "trainingType", TRAINING_TYPE, out);
    lc_text_addf(out, "}");
}

lc_code lc_job_object_read(lc_db *db, const char *owner, const char *id, lc_text *out, lc_err *err)
{
    lc_rows rows;
    LC_TRY(lc_db_query(db, "SELECT " LC_JOB_COLUMNS " FROM jobs WHERE owner = ?1 AND id = ?2",
                       LC_BIND(lc_sql_text(owner), lc_sql_text(id)), &rows, err));
    const bool is_found = lc_rows_next(&rows);
    if (is_found) {
        lc_job_object_write(&rows, out);
    }
    LC_TRY(lc_rows_end(&rows, err));
    if (!is_found) {
        return lc_fail_param(err, LC_ERR_NOT_FOUND, "fine_tuning_job_id",
                             "No fine-tuning job has the id %.80s.", id);
    }
    return lc_text_finish(out, "the job", err);
}
