/*
 * The tables of lorac.db. seq orders rows as they came and is what lists page by; times are unix
 * seconds; paths are relative to DATA; owner is the id of an API key, "" without keys.
 */
#include "serve/schema.h"

static const char step_1[] =
    "CREATE TABLE keys ("
    " id TEXT PRIMARY KEY,"
    " name TEXT NOT NULL,"
    " hash BLOB NOT NULL," /* SHA-256 over id and secret */
    " created_at INTEGER NOT NULL,"
    " revoked_at INTEGER"
    ") STRICT, WITHOUT ROWID;"

    "CREATE TABLE files ("
    " seq INTEGER PRIMARY KEY AUTOINCREMENT,"
    " id TEXT NOT NULL UNIQUE,"
    " owner TEXT NOT NULL,"
    " filename TEXT NOT NULL,"
    " purpose TEXT NOT NULL,"
    " bytes INTEGER," /* NULL: as many as the file at path has now */
    " created_at INTEGER NOT NULL,"
    " expires_at INTEGER,"
    " status TEXT NOT NULL,"
    " status_details TEXT,"
    " path TEXT NOT NULL"
    ") STRICT;"
    "CREATE INDEX files_by_owner ON files (owner, seq);"

    "CREATE TABLE uploads ("
    " seq INTEGER PRIMARY KEY AUTOINCREMENT,"
    " id TEXT NOT NULL UNIQUE,"
    " owner TEXT NOT NULL,"
    " filename TEXT NOT NULL,"
    " purpose TEXT NOT NULL,"
    " mime_type TEXT NOT NULL,"
    " bytes INTEGER NOT NULL," /* announced */
    " created_at INTEGER NOT NULL,"
    " expires_at INTEGER NOT NULL,"
    " file_expires_after INTEGER," /* seconds, of the file it will be */
    " status TEXT NOT NULL,"
    " file_id TEXT"
    ") STRICT;"
    "CREATE TABLE upload_parts ("
    " seq INTEGER PRIMARY KEY AUTOINCREMENT,"
    " id TEXT NOT NULL UNIQUE,"
    " upload_id TEXT NOT NULL REFERENCES uploads (id) ON DELETE CASCADE,"
    " bytes INTEGER NOT NULL,"
    " created_at INTEGER NOT NULL"
    ") STRICT;"
    "CREATE INDEX parts_by_upload ON upload_parts (upload_id, seq);"

    "CREATE TABLE jobs ("
    " seq INTEGER PRIMARY KEY AUTOINCREMENT,"
    " id TEXT NOT NULL UNIQUE,"
    " owner TEXT NOT NULL,"
    " status TEXT NOT NULL," /* transitions.h */
    " created_at INTEGER NOT NULL,"
    " finished_at INTEGER,"
    " model TEXT NOT NULL,"      /* as asked for: a base, a fine-tuned model or a checkpoint */
    " base TEXT NOT NULL,"       /* folder among the base models */
    " model_name TEXT NOT NULL," /* of the model it makes */
    " suffix TEXT,"
    " training_file TEXT NOT NULL,"
    " validation_file TEXT,"
    " seed INTEGER NOT NULL,"
    " n_epochs INTEGER NOT NULL," /* -1: not yet decided */
    " batch_size INTEGER NOT NULL,"
    " learning_rate_multiplier REAL NOT NULL,"
    " integrations TEXT," /* JSON, as sent */
    " metadata TEXT,"
    " training_type TEXT,"
    " result_file TEXT,"
    " trained_tokens INTEGER,"
    " estimated_finish INTEGER,"
    " error_code TEXT,"
    " error_message TEXT,"
    " error_param TEXT,"
    " restarts INTEGER NOT NULL DEFAULT 0" /* after crashes, since the last step forward */
    ") STRICT;"
    "CREATE INDEX jobs_by_owner ON jobs (owner, seq);"
    "CREATE INDEX jobs_by_status ON jobs (status, seq);"

    "CREATE TABLE events ("
    " seq INTEGER PRIMARY KEY AUTOINCREMENT,"
    " id TEXT NOT NULL UNIQUE,"
    " job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,"
    " created_at INTEGER NOT NULL,"
    " level TEXT NOT NULL,"
    " message TEXT NOT NULL,"
    " type TEXT NOT NULL,"
    " data TEXT" /* JSON */
    ") STRICT;"
    "CREATE INDEX events_by_job ON events (job_id, seq);"

    "CREATE TABLE checkpoints ("
    " seq INTEGER PRIMARY KEY AUTOINCREMENT,"
    " id TEXT NOT NULL UNIQUE,"
    " job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,"
    " created_at INTEGER NOT NULL,"
    " step_number INTEGER NOT NULL,"
    " name TEXT NOT NULL,"    /* fine_tuned_model_checkpoint */
    " metrics TEXT NOT NULL," /* JSON */
    " path TEXT NOT NULL"     /* of the adapter */
    ") STRICT;"
    "CREATE INDEX checkpoints_by_job ON checkpoints (job_id, seq);"
    "CREATE INDEX checkpoints_by_name ON checkpoints (name);"

    "CREATE TABLE models (" /* fine-tuned ones; base models are folders */
    " seq INTEGER PRIMARY KEY AUTOINCREMENT,"
    " id TEXT NOT NULL UNIQUE," /* its name */
    " owner TEXT NOT NULL,"
    " base TEXT NOT NULL,"
    " job_id TEXT NOT NULL," /* which may have been deleted */
    " created_at INTEGER NOT NULL,"
    " path TEXT NOT NULL" /* of the adapter */
    ") STRICT;"
    "CREATE INDEX models_by_owner ON models (owner, seq);"

    "CREATE TABLE deployments ("
    " seq INTEGER PRIMARY KEY AUTOINCREMENT,"
    " owner TEXT NOT NULL,"
    " name TEXT NOT NULL,"
    " model TEXT NOT NULL," /* a base, a fine-tuned model or a checkpoint */
    " sku TEXT,"            /* JSON, as sent */
    " created_at INTEGER NOT NULL,"
    " updated_at INTEGER NOT NULL,"
    " UNIQUE (owner, name)"
    ") STRICT;";

const char *const lc_schema_steps[] = {step_1};
const int lc_schema_version = (int)(sizeof lc_schema_steps / sizeof lc_schema_steps[0]);
