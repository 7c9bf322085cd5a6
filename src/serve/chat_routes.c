/*
 * Where chats come in: by deployment in the path (classic) or as the body's model.
 */
#include <string.h>

#include "serve/api_error.h"
#include "serve/chat.h"
#include "serve/deployments.h"
#include "serve/models.h"

static void fail_unknown(lc_request *request)
{
    lc_api_fail(request, &(lc_api_error){
                             .status = 404,
                             .code = "DeploymentNotFound",
                             .type = "invalid_request_error",
                             .message = "The API deployment for this resource does not exist. If "
                                        "you created the deployment within the last 5 minutes, "
                                        "please wait a moment and try again."});
}

/* A deployment's name, or directly a model's. */
static lc_code chat_with(lc_request *request, const char *name, lc_err *err)
{
    char model[LC_MODEL_NAME_BYTES];
    bool is_deployed = false;
    lc_worker_target target;
    lc_service *service = request->service;
    LC_TRY(lc_deployment_model(service, request->owner, name, model, &is_deployed, err));
    const lc_code code =
        lc_model_target(service, request->owner, is_deployed ? model : name, &target, err);
    if (code == LC_ERR_NOT_FOUND) {
        fail_unknown(request);
        return LC_OK;
    }
    LC_TRY(code);
    return lc_chat_begin(request, service->workers, &target, err);
}

static lc_code handle_by_model(lc_request *request, lc_err *err)
{
    const char *model = NULL;
    if (request->body == NULL) {
        return lc_fail_param(err, LC_ERR_INVALID, "model", "model is missing");
    }
    LC_TRY(lc_json_string(request->body, "model", true, &model, err));
    return chat_with(request, model, err);
}

static lc_code handle_by_deployment(lc_request *request, lc_err *err)
{
    return chat_with(request, request->params[0], err);
}

static const lc_route routes[] = {
    {.method = "POST",
     .pattern = "/chat/completions",
     .handle = handle_by_model,
     .body = LC_BODY_JSON},
    {.method = "POST",
     .pattern = "/deployments/{deployment}/chat/completions",
     .handle = handle_by_deployment,
     .body = LC_BODY_JSON},
};
const lc_route_table lc_chat_routes = {routes, sizeof routes / sizeof *routes};
