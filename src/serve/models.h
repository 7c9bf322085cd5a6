/*
 * Models by name: base models are folders, fine-tuned ones and their checkpoints rows of the store.
 */
#ifndef LC_SERVE_MODELS_H
#define LC_SERVE_MODELS_H

#include "serve/service.h"

#define LC_MAX_BASE_MODELS 1024 /* folders that are looked at */

/* Whether a name can be a base model's folder: no path tricks, nothing hidden. */
bool lc_model_name_is_plain(const char *name);

/* The directory of a base model; none of that name: LC_ERR_NOT_FOUND. */
LC_WARN_UNUSED lc_code lc_model_base_dir(const lc_service *service, const char *name,
                                         char path[LC_MAX_PATH_BYTES], lc_err *err);

/* What answers for a base model, a fine-tuned one, or a checkpoint of this owner. */
LC_WARN_UNUSED lc_code lc_model_target(const lc_service *service, const char *owner,
                                       const char *name, lc_worker_target *out, lc_err *err);

#endif
