/*
 * Models by name: base models are folders, fine-tuned ones and their checkpoints rows of the store.
 */
#ifndef LC_SERVE_MODELS_H
#define LC_SERVE_MODELS_H

#include "serve/service.h"

#define LC_MAX_BASE_MODELS 1024 /* folders that are looked at */

/* What answers for a base model, a fine-tuned one, or a checkpoint of this owner. Its adapter is
 * named as model_ref.h has it. */
LC_WARN_UNUSED lc_code lc_model_target(const lc_service *service, const char *owner,
                                       const char *name, lc_worker_target *out, lc_err *err);

#endif
