/* The choice between cuDNN and our own kernels; see attention_paths.h. */
#include "attention_paths.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attention_layout.h"
#include "cuda.h"
#include "tuning.h"

#define LEAST_VERSION   90600 /* grouped heads of ragged documents */
#define ORDERED_VERSION 92500 /* ... with a backward pass that adds up in a fixed order */
#define OWN             "lorac"

/* ---- whether it can be had at all ---- */

/* The version of cuDNN that applies on a GPU of this major number; 0, and why none does. */
static int usable_version(int major, bool is_ordered, lc_attention_path path,
                          char why[LC_CUDNN_TEXT_BYTES])
{
    if (path == LC_ATTENTION_LORAC) {
        (void)snprintf(why, LC_CUDNN_TEXT_BYTES, "LORAC_ATTENTION says so");
        return 0;
    }
    if (major != 9 && major != 10) {
        (void)snprintf(why, LC_CUDNN_TEXT_BYTES,
                       "cuDNN is used on sm_9x and sm_10x only, this is sm_%dx", major);
        return 0;
    }
    const int version = lc_cudnn_version(why), least = is_ordered ? ORDERED_VERSION : LEAST_VERSION;
    if (version == 0 || version >= least) {
        return version;
    }
    (void)snprintf(why, LC_CUDNN_TEXT_BYTES, "cuDNN %d.%d.%d %s from %d.%d on", version / 10000,
                   version / 100 % 100, version % 100,
                   is_ordered ? "adds up packed batches in a fixed order only"
                              : "takes packed batches",
                   least / 10000, least / 100 % 100);
    return 0;
}

lc_code lc_cuda_attention_open(lc_cuda *cuda, const lc_device_options *options, lc_err *err)
{
    lc_cuda_attention_paths *attention = &cuda->attention;
    char why[LC_CUDNN_TEXT_BYTES] = "";
    int major = 0;
    CUDA_TRY(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, cuda->index));
    attention->is_ordered = options->deterministic;
    attention->is_forced = options->attention == LC_ATTENTION_CUDNN;
    attention->warn = options->warn;
    attention->version = usable_version(major, options->deterministic, options->attention, why);
    if (attention->version == 0 && attention->is_forced) {
        return lc_fail(err, LC_ERR_DEVICE, "LORAC_ATTENTION is cudnn: %s", why);
    }
    return LC_OK;
}

void lc_cuda_describe_attention(const lc_device_options *options, char text[LC_DESCRIPTION_BYTES])
{
    char why[LC_CUDNN_TEXT_BYTES] = "";
    int major = 0;
    if (cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, options->index) !=
        cudaSuccess) {
        (void)snprintf(text, LC_DESCRIPTION_BYTES, "there is no GPU");
        return;
    }
    const int version = usable_version(major, false, options->attention, why);
    if (version == 0) {
        (void)snprintf(text, LC_DESCRIPTION_BYTES, "our own kernels: %s", why);
        return;
    }
    const bool has_order = usable_version(major, true, options->attention, why) > 0;
    (void)snprintf(text, LC_DESCRIPTION_BYTES,
                   has_order ? "cuDNN %d.%d.%d, with lorac.deterministic too"
                             : "cuDNN %d.%d.%d; with lorac.deterministic our own kernels: %s",
                   version / 10000, version / 100 % 100, version % 100, why);
}

void lc_cuda_attention_fact(const lc_cuda *cuda, char *text, size_t bytes)
{
    const lc_cuda_attention_paths *attention = &cuda->attention;
    const int version = attention->version;
    if (version == 0) {
        (void)snprintf(text, bytes, OWN);
        return;
    }
    (void)snprintf(text, bytes, "cudnn %d.%d.%d%s", version / 10000, version / 100 % 100,
                   version % 100, attention->is_ordered ? " ordered" : "");
}

/* ---- tables ---- */

/* Room for one more item. */
static lc_code grow(void **items, size_t item_bytes, int count, int *capacity, lc_err *err)
{
    if (count < *capacity) {
        return LC_OK;
    }
    const int wanted = *capacity > 0 ? 2 * *capacity : 16;
    void *grown = realloc(*items, (size_t)wanted * item_bytes);
    if (grown == NULL) {
        return lc_fail(err, LC_ERR_MEMORY, "no memory for the plans of attention");
    }
    *items = grown;
    *capacity = wanted;
    return LC_OK;
}

static lc_cuda_attention_plan *find_plan(lc_cuda_attention_paths *attention,
                                         const lc_cudnn_case *of)
{
    for (int i = 0; i < attention->plan_count; i++) {
        if (memcmp(&attention->plans[i].of, of, sizeof *of) == 0) {
            return &attention->plans[i];
        }
    }
    return NULL;
}

static const lc_cuda_attention_choice *find_choice(const lc_cuda_attention_paths *attention,
                                                   const char *product)
{
    for (int i = 0; i < attention->choice_count; i++) {
        if (strcmp(attention->choices[i].product, product) == 0) {
            return &attention->choices[i];
        }
    }
    return NULL;
}

static void write_product(const lc_cudnn_case *of, char out[LC_PRODUCT_BYTES])
{
    (void)snprintf(out, LC_PRODUCT_BYTES,
                   LC_CUDA_ATTENTION_PRODUCT
                   "%s %d/%dx%d scale %.9g window %d rows %lld documents %dx%d "
                   "ld %lld,%lld,%lld,%lld,%lld",
                   of->is_backward ? "backward" : "forward", of->heads, of->kv_heads, of->head_dim,
                   (double)of->scale, of->window, (long long)of->rows, of->documents, of->longest,
                   (long long)of->q_ld, (long long)of->k_ld, (long long)of->v_ld,
                   (long long)of->out_ld, (long long)of->dout_ld);
}

/* Also in the device's one list of choices. */
static lc_code add_choice(lc_cuda *cuda, const lc_cuda_attention_choice *choice, lc_err *err)
{
    lc_cuda_attention_paths *attention = &cuda->attention;
    void *items = attention->choices;
    const lc_code code =
        grow(&items, sizeof *choice, attention->choice_count, &attention->choice_capacity, err);
    attention->choices = items;
    LC_TRY(code);
    const lc_cuda_choice place = {.attention = attention->choice_count + 1};
    LC_TRY(lc_cuda_choices_add(&cuda->gemms.choices, &place, err));
    attention->choices[attention->choice_count++] = *choice;
    return LC_OK;
}

static void forget_plans(lc_cuda_attention_paths *attention)
{
    for (int i = 0; i < attention->plan_count; i++) {
        if (attention->plans[i].plan != NULL) {
            lc_cudnn_plan_free(attention->plans[i].plan);
            attention->plans[i].plan = NULL;
        }
    }
}

lc_code lc_cuda_attention_give(lc_cuda *cuda, const lc_choice *text, lc_err *err)
{
    lc_cuda_attention_choice choice;
    if (find_choice(&cuda->attention, text->product) != NULL) {
        return lc_fail(err, LC_ERR_INVALID, "\"%s\" has its algorithm already", text->product);
    }
    memcpy(choice.product, text->product, sizeof choice.product);
    memcpy(choice.algorithm, text->algorithm, sizeof choice.algorithm);
    return add_choice(cuda, &choice, err);
}

void lc_cuda_attention_close(lc_cuda *cuda)
{
    lc_cuda_attention_paths *attention = &cuda->attention;
    forget_plans(attention);
    if (attention->library != NULL) {
        lc_cudnn_close(attention->library);
    }
    free(attention->plans);
    free(attention->choices);
}

/* ---- the plan of a case ---- */

/* A plan that may be trusted, or an error. */
static lc_code make_plan(lc_cuda *cuda, const char *wanted, lc_cuda_attention_plan *plan,
                         lc_err *err)
{
    lc_cuda_attention_paths *attention = &cuda->attention;
    const lc_cudnn_case *of = &plan->of;
    char why[LC_CUDNN_TEXT_BYTES] = "";
    if (attention->library == NULL) {
        attention->library = lc_cudnn_open(cuda->stream, why);
    }
    if (attention->library != NULL) {
        plan->plan = lc_cudnn_plan_make(attention->library, of, wanted, why);
    }
    if (plan->plan == NULL) {
        return lc_fail(err, LC_ERR_DEVICE, "%s", why);
    }
    const size_t bytes = lc_cudnn_plan_workspace(plan->plan);
    const size_t most = lc_cudnn_workspace_bytes(of->rows, of->heads, of->kv_heads, of->head_dim);
    if (bytes > most) {
        return lc_fail(err, LC_ERR_MEMORY, "it wants %zu MiB of workspace, planned are %zu MiB",
                       bytes >> 20, most >> 20);
    }
    return lc_cuda_attention_check(cuda, plan, err);
}

/* One of several ranks cannot have a plan. Each meets its own cases, and the ledger is rank 0's: if
 * this rank went on by itself, a case could be served in two ways, and in another one after a
 * resume. So it ends here, and the others with it. */
static lc_code refuse_among_ranks(const lc_cuda *cuda, const char *product, const lc_err *why,
                                  lc_err *err)
{
    int rank = 0, world_size = 0;
    lc_cuda_comm_place(cuda->comm, &rank, &world_size);
    return lc_fail(err, LC_ERR_DEVICE,
                   "rank %d of %d: cuDNN's %s: %s; with lorac.deterministic all ranks have to be "
                   "served alike: go on with --resume once it can be had, or begin anew with "
                   "LORAC_ATTENTION=lorac on all of them",
                   rank, world_size, product, why->message);
}

/* What a plan that failed means. */
static lc_code refuse(lc_cuda *cuda, const char *product, bool is_given, const lc_err *why,
                      lc_err *err)
{
    lc_cuda_attention_paths *attention = &cuda->attention;
    char text[sizeof why->message + LC_PRODUCT_BYTES + 128];
    if (attention->is_forced || (is_given && attention->is_ordered)) {
        return lc_fail(err, LC_ERR_DEVICE, "cuDNN's %s: %s%s", product, why->message,
                       attention->is_forced
                           ? " (LORAC_ATTENTION is cudnn)"
                           : "; the job began with it, and lorac.deterministic is true");
    }
    if (attention->is_ordered && cuda->comm != NULL) {
        return refuse_among_ranks(cuda, product, why, err);
    }
    (void)snprintf(text, sizeof text, "cuDNN's %s: %s; our own kernels do it", product,
                   why->message);
    if (attention->warn != NULL && !attention->has_warned) {
        attention->warn(text);
    }
    attention->has_warned = true;
    return LC_OK;
}

/* Makes the plan of a new case, by the choice that it has or as a new one. A case that cuDNN cannot
 * do is ours alone; others are tried for themselves, so that who serves a case never hangs on what
 * came up before it, nor on where a job was resumed. */
static lc_code choose_plan(lc_cuda *cuda, lc_cuda_attention_plan *plan, lc_err *err)
{
    lc_cuda_attention_choice choice = {.algorithm = OWN};
    lc_err why = {.code = LC_OK};
    write_product(&plan->of, choice.product);
    const lc_cuda_attention_choice *given = find_choice(&cuda->attention, choice.product);
    if (given != NULL && strcmp(given->algorithm, OWN) == 0 && !cuda->attention.is_forced) {
        return LC_OK;
    }
    if (make_plan(cuda, given != NULL ? given->algorithm : NULL, plan, &why) == LC_OK) {
        (void)snprintf(choice.algorithm, sizeof choice.algorithm, "%s",
                       lc_cudnn_plan_name(plan->plan));
    } else {
        if (plan->plan != NULL) {
            lc_cudnn_plan_free(plan->plan);
            plan->plan = NULL;
        }
        LC_TRY(refuse(cuda, choice.product, given != NULL, &why, err));
    }
    return given != NULL ? LC_OK : add_choice(cuda, &choice, err);
}

/* *out: the plan of a case, its .plan NULL where our own kernels serve it. */
static lc_code take_plan(lc_cuda *cuda, const lc_cudnn_case *of, lc_cuda_attention_plan *out,
                         lc_err *err)
{
    lc_cuda_attention_paths *attention = &cuda->attention;
    const lc_cuda_attention_plan *known = find_plan(attention, of);
    if (known != NULL) {
        *out = *known;
        return LC_OK;
    }
    if (cuda->recording != NULL) {
        return lc_fail(err, LC_ERR_INTERNAL, "attention has no plan for what is being recorded");
    }
    void *items = attention->plans;
    const lc_code code =
        grow(&items, sizeof *out, attention->plan_count, &attention->plan_capacity, err);
    attention->plans = items;
    LC_TRY(code);
    *out = (lc_cuda_attention_plan){.of = *of};
    LC_TRY(choose_plan(cuda, out, err));
    attention->plans[attention->plan_count++] = *out;
    return LC_OK;
}

/* ---- the ops ---- */

uint32_t lc_cuda_attention_key(lc_device *device, const lc_documents *documents, int64_t rows)
{
    const lc_cuda_attention_paths *attention = &lc_cuda_of(device)->attention;
    return attention->version == 0
               ? 0
               : lc_cuda_attention_bucket_key(lc_cuda_attention_bucket(documents, rows));
}

/* A call that cuDNN never takes, though it was asked for; a common beginning is taken by ours. */
static lc_code check_forced(const lc_cuda *cuda, const lc_attention_shape *shape, lc_dtype dtype,
                            lc_err *err)
{
    if (!cuda->attention.is_forced || (dtype == LC_BF16 && lc_cudnn_takes(shape->head_dim))) {
        return LC_OK;
    }
    return lc_fail(
        err, LC_ERR_DEVICE,
        "LORAC_ATTENTION is cudnn, which takes BF16 and heads of 64 to 256 in steps of 16 "
        "alone, not %s and %d; auto leaves such models to our own kernels",
        lc_dtype_name(dtype), shape->head_dim);
}

lc_code lc_cuda_attention_forward(lc_cuda *cuda, const lc_attention_args *args, lc_err *err)
{
    lc_cuda_attention_plan plan = {.plan = NULL};
    lc_cudnn_case of;
    LC_TRY(check_forced(cuda, &args->shape, args->q.dtype, err));
    if (lc_cuda_attention_case(cuda, args, &of)) {
        LC_TRY(take_plan(cuda, &of, &plan, err));
    }
    return plan.plan != NULL
               ? lc_cuda_attention_run(cuda, &plan, args, err)
               : lc_cuda_result(lc_cuda_attention(args, cuda->stream), "attention", err);
}

lc_code lc_cuda_attention_back(lc_cuda *cuda, const lc_attention_backward_args *args, lc_err *err)
{
    lc_cuda_attention_plan plan = {.plan = NULL};
    lc_attention_backward_args complete = *args;
    lc_cudnn_case of;
    if (lc_cuda_attention_back_case(cuda, args, &of)) {
        LC_TRY(take_plan(cuda, &of, &plan, err));
    }
    if (args->dropped != NULL && (plan.plan != NULL || !lc_cuda_can_drop_delta(args))) {
        LC_TRY(lc_cuda_op_lora_dropout_backward(&cuda->device, args->dropped, err));
        complete.dropped = NULL;
    }
    return plan.plan != NULL ? lc_cuda_attention_run_back(cuda, &plan, &complete, err)
                             : lc_cuda_result(lc_cuda_attention_backward(&complete, cuda->stream),
                                              "attention_backward", err);
}
