/*
 * What a model's name stands for: a base model (a folder with a config.json), a fine-tuned model,
 * or a checkpoint of one ("...:ckpt-step-N", or its id).
 */
#ifndef LC_SERVE_MODEL_REF_H
#define LC_SERVE_MODEL_REF_H

#include "base/file.h"
#include "serve/ids.h"
#include "serve/store.h"

#define LC_MAX_MODEL_NAME 255 /* bytes */
#define LC_MAX_BASE_NAME  128

typedef struct lc_model_ref {
    char name[LC_MAX_MODEL_NAME + 1]; /* as it is written: base models are found in any case */
    char base[LC_MAX_BASE_NAME + 1];  /* folder among the base models */
    char adapter[LC_MAX_PATH_BYTES];  /* its directory, relative to DATA; "": the base as it is */
    char job_id[LC_ID_BYTES];         /* that made it; "": a base */
} lc_model_ref;

/* Another owner's model, and a base whose folder is gone, are LC_ERR_NOT_FOUND. */
LC_WARN_UNUSED lc_code lc_model_find(lc_db *db, const char *models_dir, const char *owner,
                                     const char *name, lc_model_ref *out, lc_err *err);

/* Whether a folder of this name is a base model. Names have no slashes, control characters, colons
 * (which checkpoints have), quotation marks and backslashes, and do not begin with a dot: none
 * leads out of models_dir. */
LC_WARN_UNUSED lc_code lc_base_is(const char *models_dir, const char *name, bool *is_one,
                                  lc_err *err);

/* The base model of that name in any case: *is_found false for what is none. `name` becomes as it
 * is written there. */
LC_WARN_UNUSED lc_code lc_base_find(const char *models_dir, const char *wanted,
                                    char name[LC_MAX_BASE_NAME + 1], bool *is_found, lc_err *err);

#endif
