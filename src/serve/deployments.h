/*
 * Deployments: names under which models answer chats. Made by the classic data plane's POST or by
 * the control plane's PUT; both are the same rows.
 */
#ifndef LC_SERVE_DEPLOYMENTS_H
#define LC_SERVE_DEPLOYMENTS_H

#include "serve/service.h"

#define LC_MAX_DEPLOYMENTS           100 /* of one owner */
#define LC_MAX_DEPLOYMENT_NAME_BYTES 64

/* The model behind a deployment's name. *is_found false: there is none of that name. */
LC_WARN_UNUSED lc_code lc_deployment_model(const lc_service *service, const char *owner,
                                           const char *name, char model[LC_MODEL_NAME_BYTES],
                                           bool *is_found, lc_err *err);

#endif
