/*
 * Making a job: the request is checked as a job file is (job/spec.h), then in one transaction its
 * model and files are found, DATA/jobs/ID is filled, and row and first event are written. A
 * directory without a row (a crash in between, a commit that failed) is swept by the supervisor,
 * which holds the writer while it looks.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "job/directory.h"
#include "job/spec.h"
#include "lorac/log.h"
#include "serve/api_code.h"
#include "serve/files.h"
#include "serve/jobs.h"
#include "serve/model_ref.h"
#include "serve/transitions.h"

typedef struct creation {
    lc_store *store;
    const lc_jobs_options *options;
    const char *owner;
    const cJSON *body;
    lc_job_spec request; /* the body, checked; its model and files are names still */
    lc_db *db;
    char id[LC_ID_BYTES];
    char dir[LC_MAX_PATH_BYTES]; /* DATA/jobs/ID */
    lc_model_ref model;
    char name[LC_JOB_NAME_BYTES]; /* of the model it makes */
    int64_t seed;
} creation;

static lc_code check_body(creation *job, lc_err *err);
static lc_code check_rank(const creation *job, lc_err *err);
static lc_code make(creation *job, lc_text *out, lc_err *err);

lc_code lc_jobs_create(lc_store *store, const lc_jobs_options *options, const char *owner,
                       const cJSON *body, lc_text *out, lc_err *err)
{
    creation job = {.store = store, .options = options, .owner = owner, .body = body};
    LC_TRY(check_body(&job, err));
    lc_code code = check_rank(&job, err);
    if (code == LC_OK) {
        code = lc_store_begin(store, &job.db, err);
    }
    if (code == LC_OK) {
        code = make(&job, out, err);
    }
    if (code == LC_OK) {
        code = lc_store_commit(&job.db, err);
    }
    if (code != LC_OK && job.dir[0] != '\0') {
        lc_err why = {.code = LC_OK};
        if (lc_remove_tree(job.dir, &why) != LC_OK) { /* then it is swept */
            lc_log(LC_LOG_WARN, "%s", why.message);
        }
    }
    lc_store_end(&job.db);
    lc_job_spec_release(&job.request);
    return code;
}

/* ---- the request ---- */

/* Paths are for the command line: through the API nobody names files of this machine. */
static lc_code check_no_paths(const cJSON *body, lc_err *err)
{
    static const char *const keys[] = {"init_adapter", "chat_template"};
    const cJSON *lorac = lc_json_get(body, "lorac");
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        if (cJSON_IsObject(lorac) && lc_json_get(lorac, keys[i]) != NULL) {
            char param[64];
            (void)snprintf(param, sizeof param, "lorac.%s", keys[i]);
            return lc_fail_param(
                err, LC_ERR_INVALID, param, "%s: paths are not accepted here%s", param,
                i == 0 ? "; to go on from a fine-tuned model, give it as model" : "");
        }
    }
    return LC_OK;
}

/* A field of Azure's older examples that has no meaning any more. */
static void drop_prompt_loss_weight(cJSON *spec)
{
    cJSON *hyper = cJSON_GetObjectItemCaseSensitive(spec, "hyperparameters");
    if (cJSON_IsObject(hyper)) {
        cJSON_DeleteItemFromObjectCaseSensitive(hyper, "prompt_loss_weight");
    }
}

static lc_code copy_body(const creation *job, cJSON **out, lc_err *err)
{
    *out = cJSON_Duplicate(job->body, true);
    if (*out == NULL) {
        return lc_fail(err, LC_ERR_MEMORY, "no memory for a request");
    }
    drop_prompt_loss_weight(*out);
    return LC_OK;
}

static lc_code check_body(creation *job, lc_err *err)
{
    cJSON *copy = NULL;
    lc_text text;
    if (!cJSON_IsObject(job->body)) {
        return lc_fail(err, LC_ERR_INVALID, "the request has no JSON object as its body");
    }
    LC_TRY(check_no_paths(job->body, err));
    LC_TRY(copy_body(job, &copy, err));
    lc_text_init(&text);
    lc_text_add_json(&text, copy, false);
    cJSON_Delete(copy);
    lc_code code = lc_text_finish(&text, "the request", err);
    if (code == LC_OK) {
        code = lc_job_spec_parse(text.data, text.length, "request", &job->request, err);
    }
    lc_text_release(&text);
    return code;
}

static lc_code check_rank(const creation *job, lc_err *err)
{
    const int64_t most = job->options->max_rank;
    return most == 0 || job->request.rank <= most
               ? LC_OK
               : lc_fail_param(err, LC_ERR_INVALID, "lorac.rank",
                               "lorac.rank: expected at most %lld, what this service takes "
                               "(--max-rank), found %lld",
                               (long long)most, (long long)job->request.rank);
}

/* ---- what it refers to ---- */

static lc_code count_pending(lc_db *db, const char *owner, int64_t *all, int64_t *own, lc_err *err)
{
    lc_rows rows;
    LC_TRY(lc_db_query(db,
                       "SELECT count(*), ifnull(sum(owner = ?1), 0) FROM jobs "
                       "WHERE status = 'pending'",
                       LC_BIND(lc_sql_text(owner)), &rows, err));
    if (lc_rows_next(&rows)) {
        *all = lc_rows_int(&rows, 0);
        *own = lc_rows_int(&rows, 1);
    }
    return lc_rows_end(&rows, err);
}

static lc_code check_queue(const creation *job, lc_err *err)
{
    int64_t all = 0, own = 0;
    LC_TRY(count_pending(job->db, job->owner, &all, &own, err));
    if (all < job->options->queued_limit && own < job->options->queued_limit_per_key) {
        return LC_OK;
    }
    const bool is_all = all >= job->options->queued_limit;
    (void)lc_fail(err, LC_ERR_BUSY, "%lld jobs%s are queued already, the limit.",
                  (long long)(is_all ? all : own), is_all ? "" : " of this key");
    return lc_err_api_code(err, LC_API_QUOTA);
}

/* A name that is not there is a wrong value of the request, not a wrong path. */
static lc_code find_model(creation *job, lc_err *err)
{
    const char *name = job->request.model;
    const lc_code code =
        lc_model_find(job->db, job->options->models_dir, job->owner, name, &job->model, err);
    if (code == LC_ERR_NOT_FOUND) {
        lc_err_clear(err);
        return lc_fail_param(err, LC_ERR_INVALID, "model",
                             "model: there is no model \"%.200s\" that can be fine-tuned", name);
    }
    return code;
}

/* ---- the directory ---- */

/* What a row names may be gone from the disk: a checkpoint that its trainer has just removed. */
static lc_code link_file(const char *from, const char *dir, const char *name, const char *field,
                         lc_err *err)
{
    char to[LC_MAX_PATH_BYTES];
    LC_TRY(lc_path_join(dir, name, to, err));
    if (link(from, to) == 0) {
        return LC_OK;
    }
    return errno == ENOENT
               ? lc_fail_param(err, LC_ERR_INVALID, field, "%s is not there any more", field)
               : lc_fail_errno(err, "cannot link %s to %s", to, from);
}

static lc_code link_data(const creation *job, const char *field, const char *id, const char *name,
                         lc_err *err)
{
    char from[LC_MAX_PATH_BYTES];
    LC_TRY(lc_files_find(job->db, lc_store_dir(job->store), job->owner, id,
                         LC_FILE_PURPOSE_TRAINING, field, from, err));
    return link_file(from, job->dir, name, field, err);
}

static lc_code link_adapter(const creation *job, lc_err *err)
{
    static const char *const names[] = {"adapter_config.json", "adapter_model.safetensors"};
    char dir[LC_MAX_PATH_BYTES], from_dir[LC_MAX_PATH_BYTES], from[LC_MAX_PATH_BYTES];
    LC_TRY(lc_path_join(job->dir, LC_JOB_INIT, dir, err));
    LC_TRY(lc_path_join(lc_store_dir(job->store), job->model.adapter, from_dir, err));
    LC_TRY(lc_mkdir(dir, err));
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        LC_TRY(lc_path_join(from_dir, names[i], from, err));
        LC_TRY(link_file(from, dir, names[i], "model", err));
    }
    return lc_sync_dir(dir, err);
}

static bool put_text(cJSON *object, const char *key, const char *text)
{
    cJSON_DeleteItemFromObjectCaseSensitive(object, key);
    return cJSON_AddStringToObject(object, key, text) != NULL;
}

/* The request as a job file: names become paths in the job's place, what only the API needs goes.
 */
static bool turn_into_spec(const creation *job, cJSON *spec)
{
    static const char *const api_only[] = {"metadata", "integrations", "trainingType", "seed"};
    char model[LC_MAX_BASE_NAME + 16];
    (void)snprintf(model, sizeof model, LC_JOB_MODELS "/%s", job->model.base);
    for (size_t i = 0; i < sizeof api_only / sizeof api_only[0]; i++) {
        cJSON_DeleteItemFromObjectCaseSensitive(spec, api_only[i]);
    }
    bool is_done = put_text(spec, "model", model) &&
                   put_text(spec, "training_file", LC_JOB_TRAINING) &&
                   cJSON_AddNumberToObject(spec, "seed", (double)job->seed) != NULL;
    if (job->request.validation_file != NULL) {
        is_done = is_done && put_text(spec, "validation_file", LC_JOB_VALIDATION);
    }
    if (job->model.adapter[0] == '\0') {
        return is_done;
    }
    cJSON *lorac = cJSON_GetObjectItemCaseSensitive(spec, "lorac");
    if (!cJSON_IsObject(lorac)) {
        cJSON_DeleteItemFromObjectCaseSensitive(spec, "lorac");
        lorac = cJSON_AddObjectToObject(spec, "lorac");
    }
    return is_done && lorac != NULL && put_text(lorac, "init_adapter", LC_JOB_INIT);
}

static lc_code write_spec(const creation *job, lc_err *err)
{
    char path[LC_MAX_PATH_BYTES];
    cJSON *spec = NULL;
    lc_text text;
    LC_TRY(lc_path_join(job->dir, LC_JOB_SPEC, path, err));
    LC_TRY(copy_body(job, &spec, err));
    lc_text_init(&text);
    lc_code code = LC_OK;
    if (turn_into_spec(job, spec)) {
        lc_text_add_json(&text, spec, true);
        lc_text_addf(&text, "\n");
        code = lc_text_finish(&text, "the job file", err);
    } else {
        code = lc_fail(err, LC_ERR_MEMORY, "no memory for a job file");
    }
    cJSON_Delete(spec);
    if (code == LC_OK) {
        code = lc_file_write_atomic(path, text.data, text.length, err);
    }
    lc_text_release(&text);
    return code;
}

static lc_code make_dir(creation *job, lc_err *err)
{
    char parent[LC_MAX_PATH_BYTES], dir[LC_MAX_PATH_BYTES];
    LC_TRY(lc_path_join(lc_store_dir(job->store), LC_JOBS_DIR, parent, err));
    LC_TRY(lc_path_join(parent, job->id, dir, err));
    LC_TRY(lc_mkdir_parents(dir, err));
    memcpy(job->dir, dir, sizeof dir);
    LC_TRY(link_data(job, "training_file", job->request.training_file, LC_JOB_TRAINING, err));
    if (job->request.validation_file != NULL) {
        LC_TRY(link_data(job, "validation_file", job->request.validation_file, LC_JOB_VALIDATION,
                         err));
    }
    if (job->model.adapter[0] != '\0') {
        LC_TRY(link_adapter(job, err));
    }
    LC_TRY(write_spec(job, err)); /* and the directory is synced */
    return lc_sync_dir(parent, err);
}

/* ---- the row ---- */

/* A member of the body as text; empty where it is absent, null or an empty list. */
static lc_code keep_json(const cJSON *body, const char *key, lc_text *out, lc_err *err)
{
    const cJSON *item = lc_json_get(body, key);
    lc_text_init(out);
    if (item != NULL && item->child != NULL) {
        lc_text_add_json(out, item, true);
    }
    return lc_text_finish(out, key, err);
}

static lc_sql_value text_or_null(const lc_text *text)
{
    return lc_sql_text(text->length > 0 ? text->data : NULL);
}

static lc_code insert_row(const creation *job, const lc_text *integrations, const lc_text *metadata,
                          lc_err *err)
{
    const lc_job_spec *request = &job->request;
    const double multiplier = request->learning_rate_multiplier;
    return lc_db_run(
        job->db,
        "INSERT INTO jobs (id, owner, status, created_at, model, base, model_name, suffix, "
        "training_file, validation_file, seed, n_epochs, batch_size, learning_rate_multiplier, "
        "integrations, metadata, training_type) "
        "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)",
        LC_BIND(lc_sql_text(job->id), lc_sql_text(job->owner),
                lc_sql_text(lc_status_name(LC_STATUS_PENDING)), lc_sql_int(lc_unix_seconds()),
                lc_sql_text(job->model.name), lc_sql_text(job->model.base), lc_sql_text(job->name),
                lc_sql_text(request->suffix), lc_sql_text(request->training_file),
                lc_sql_text(request->validation_file), lc_sql_int(job->seed),
                lc_sql_int(request->n_epochs), lc_sql_int(request->batch_size),
                lc_sql_real(multiplier < 0.0 ? 1.0 : multiplier), text_or_null(integrations),
                text_or_null(metadata), lc_sql_text(request->training_type)),
        err);
}

/* The first event has the id that the trainer's own first line will have: it is not said twice. */
static lc_code insert_event(const creation *job, lc_err *err)
{
    char id[LC_JOB_ID_BYTES];
    lc_job_derive_id(job->id, LC_PREFIX_EVENT, "0", id);
    return lc_db_run(job->db,
                     "INSERT INTO events (id, job_id, created_at, level, message, type) "
                     "VALUES (?1, ?2, ?3, 'info', "
                     "'Job enqueued. Waiting for jobs ahead to complete.', 'message')",
                     LC_BIND(lc_sql_text(id), lc_sql_text(job->id), lc_sql_int(lc_unix_seconds())),
                     err);
}

static lc_code insert(const creation *job, lc_err *err)
{
    lc_text integrations, metadata;
    lc_text_init(&metadata);
    lc_code code = keep_json(job->body, "integrations", &integrations, err);
    if (code == LC_OK) {
        code = keep_json(job->body, "metadata", &metadata, err);
    }
    if (code == LC_OK) {
        code = insert_row(job, &integrations, &metadata, err);
    }
    lc_text_release(&integrations);
    lc_text_release(&metadata);
    LC_TRY(code);
    return insert_event(job, err);
}

static lc_code draw_seed(creation *job, lc_err *err)
{
    char digits[65];
    unsigned long long drawn = 0;
    job->seed = job->request.seed;
    if (job->seed != LC_AUTO) {
        return LC_OK;
    }
    LC_TRY(lc_secret_new(digits, err));
    (void)sscanf(digits, "%8llx", &drawn);
    job->seed = (int64_t)drawn & LC_MAX_SEED;
    return LC_OK;
}

static lc_code make(creation *job, lc_text *out, lc_err *err)
{
    lc_job_spec named = job->request; /* the trainer names its models after the base */
    lc_job_state state = {.created_at = 0};
    LC_TRY(check_queue(job, err));
    LC_TRY(find_model(job, err));
    LC_TRY(lc_id_new(LC_PREFIX_JOB, job->id, err));
    LC_TRY(draw_seed(job, err));
    named.model = job->model.base;
    (void)snprintf(state.id, sizeof state.id, "%s", job->id);
    lc_job_model_name(&state, &named, job->name);
    LC_TRY(make_dir(job, err));
    LC_TRY(insert(job, err));
    return lc_job_object_read(job->db, job->owner, job->id, out, err);
}
