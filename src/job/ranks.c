/* Ranks of a job; see ranks.h. Everything goes through lc_comm.broadcast, in the same order on all
 * ranks. */
#include "job/ranks.h"

#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "base/params.h"
#include "lorac/log.h"
#include "lorac/mem.h"
#include "ops/backend.h"

#define DEFAULT_DEADLINE_S 300
#define VERSION_BYTES      32

lc_code lc_job_check_ranks(const lc_job *job, lc_device_kind kind, lc_err *err)
{
    if (job->launch.world_size == 1 || kind == LC_DEVICE_AUTO || lc_device_kind_is_gpu(kind)) {
        return LC_OK;
    }
    return lc_fail_param(err, LC_ERR_UNSUPPORTED, "lorac.device",
                         "%s started %d ranks, but the device is %s: several ranks need a GPU each "
                         "(lorac.device cuda); on the CPU start one process",
                         job->launch.launcher, job->launch.world_size, lc_device_kind_name(kind));
}

lc_code lc_job_meet(lc_job *job, lc_err *err)
{
    const lc_launch *launch = &job->launch;
    const lc_backend *backend = NULL;
    int64_t deadline_s = 0;
    if (launch->world_size == 1) {
        lc_comm_single_init(&job->comm);
        return LC_OK;
    }
    LC_TRY(lc_param_int(LC_PARAM_COMM_TIMEOUT, DEFAULT_DEADLINE_S, &deadline_s, err));
    LC_TRY(lc_backend_load(lc_device_kind_of(job->device), &backend, NULL, err));
    const lc_comm_options options = {.rank = launch->rank,
                                     .world_size = launch->world_size,
                                     .address = launch->address,
                                     .deadline_s = (int)deadline_s};
    LC_TRY(backend->comm_open(job->device, &options, &job->comm, err));
    lc_log(LC_LOG_INFO, "rank %d of %d, from %s; rank 0 at %s (%s)", launch->rank,
           launch->world_size, launch->launcher, launch->address, launch->address_source);
    return LC_OK;
}

/* ---- facts ---- */

/* Raw bytes: all ranks run the same program, which is checked before. */
typedef struct facts {
    lc_train_identity identity;
    lc_job_resolved resolved;
    int64_t is_continued, is_deterministic;
    uint8_t tokens_sha256[32];
} facts;

static void hash_tokens(lc_sha256 *hash, const lc_dataset *dataset)
{
    const size_t tokens = (size_t)dataset->token_count, rows = (size_t)dataset->example_count + 1;
    lc_sha256_update(hash, dataset->input_ids, tokens * sizeof *dataset->input_ids);
    lc_sha256_update(hash, dataset->loss_weights, tokens * sizeof *dataset->loss_weights);
    lc_sha256_update(hash, dataset->offsets, rows * sizeof *dataset->offsets);
}

/* Each rank tokenized for itself: with another template, or on another day, it has other tokens. */
static void hash_data(const lc_job *job, uint8_t out[32])
{
    lc_sha256 hash;
    lc_sha256_init(&hash);
    hash_tokens(&hash, &job->training);
    if (job->has_validation) {
        hash_tokens(&hash, &job->validation);
    }
    lc_sha256_final(&hash, out);
}

static lc_code check_version(lc_job *job, lc_err *err)
{
    char version[VERSION_BYTES] = LC_VERSION;
    LC_TRY(job->comm.broadcast(&job->comm, version, sizeof version, err));
    version[sizeof version - 1] = '\0';
    return strcmp(version, LC_VERSION) == 0
               ? LC_OK
               : lc_fail(err, LC_ERR_USAGE, "rank %d runs lorac " LC_VERSION ", rank 0 %s",
                         job->launch.rank, version);
}

static lc_code take_facts(lc_job *job, const facts *shared, lc_err *err)
{
    lc_err why = {.code = LC_OK};
    const lc_device_kind kind = lc_device_kind_of(job->device);
    if (lc_train_identity_compare(&shared->identity, &job->identity, &why) != LC_OK) {
        return lc_fail_param(err, LC_ERR_USAGE, why.param, "rank %d: %s is not that of rank 0",
                             job->launch.rank, why.param);
    }
    uint8_t own[32];
    hash_data(job, own);
    if (memcmp(own, shared->tokens_sha256, sizeof own) != 0) {
        return lc_fail_param(err, LC_ERR_USAGE, "lorac.chat_template",
                             "rank %d: its tokens are not those of rank 0: tokenizer or chat "
                             "template differ, or the template tells the day and "
                             "lorac.template_date is open",
                             job->launch.rank);
    }
    if (kind != shared->resolved.device) {
        return lc_fail_param(err, LC_ERR_USAGE, "lorac.device",
                             "rank %d: the device is %s, rank 0 has %s", job->launch.rank,
                             lc_device_kind_name(kind),
                             lc_device_kind_name(shared->resolved.device));
    }
    job->dir.state.resolved = shared->resolved;
    job->is_continued = shared->is_continued != 0;
    job->spec.deterministic = shared->is_deterministic != 0; /* not in the identity */
    return LC_OK;
}

lc_code lc_job_share_facts(lc_job *job, lc_err *err)
{
    facts shared;
    if (job->comm.world_size == 1) {
        return LC_OK;
    }
    memset(&shared, 0, sizeof shared);
    shared.identity = job->identity;
    shared.resolved = job->dir.state.resolved;
    shared.is_continued = job->is_continued;
    shared.is_deterministic = job->spec.deterministic;
    hash_data(job, shared.tokens_sha256);
    LC_TRY(check_version(job, err));
    LC_TRY(job->comm.broadcast(&job->comm, &shared, sizeof shared, err));
    return lc_job_is_follower(job) ? take_facts(job, &shared, err) : LC_OK;
}

/* ---- the ledger ---- */

/* Rank 0's choices into *first, which has its counts. */
static lc_code take_choices(lc_job *job, lc_ledger *first, lc_err *err)
{
    const size_t count = (size_t)first->count;
    void *memory = NULL;
    first->choices = NULL;
    if (count > 0) {
        LC_TRY(lc_new(&memory, count, sizeof *first->choices, "rank 0's ledger", err));
        first->choices = memory;
    }
    return job->comm.broadcast(&job->comm, first->choices, count * sizeof *first->choices, err);
}

lc_code lc_job_share_ledger(lc_job *job, lc_err *err)
{
    lc_comm *comm = &job->comm;
    lc_ledger first = job->ledger;
    if (comm->world_size == 1 || job->device->choices == NULL) {
        return LC_OK;
    }
    LC_TRY(comm->broadcast(comm, &first, sizeof first, err));
    if (!lc_job_is_follower(job)) {
        return comm->broadcast(comm, first.choices, (size_t)first.count * sizeof *first.choices,
                               err);
    }
    lc_code code = take_choices(job, &first, err);
    if (code == LC_OK) {
        code = lc_job_ledger_follow(job, &first, err);
    }
    lc_ledger_release(&first);
    return code;
}

/* ---- the checkpoint ---- */

lc_code lc_job_share_checkpoint(lc_job *job, lc_err *err)
{
    lc_comm *comm = &job->comm;
    lc_train_state *state = lc_trainer_state(job->trainer);
    const lc_train_state own = *state;
    const size_t bytes = (size_t)own.count * sizeof *own.master;
    if (comm->world_size == 1 || !job->is_continued) {
        return LC_OK;
    }
    LC_TRY(comm->broadcast(comm, state, sizeof *state, err));
    state->master = own.master; /* the counters are rank 0's, the memory stays ours */
    state->m = own.m;
    state->v = own.v;
    state->count = own.count;
    LC_TRY(comm->broadcast(comm, state->master, bytes, err));
    LC_TRY(comm->broadcast(comm, state->m, bytes, err));
    LC_TRY(comm->broadcast(comm, state->v, bytes, err));
    return lc_job_is_follower(job) ? lc_trainer_restore(job->trainer, err) : LC_OK;
}

lc_code lc_job_compare_adapters(lc_job *job, lc_err *err)
{
    uint8_t own[32], first[32];
    const float *master = NULL;
    if (job->comm.world_size == 1) {
        return LC_OK;
    }
    LC_TRY(lc_trainer_masters(job->trainer, &master, err));
    lc_sha256_of(master, (size_t)job->adapter->master_count * sizeof *master, own);
    memcpy(first, own, sizeof first);
    LC_TRY(job->comm.broadcast(&job->comm, first, sizeof first, err));
    return memcmp(own, first, sizeof own) == 0
               ? LC_OK
               : lc_fail(err, LC_ERR_DEVICE,
                         "rank %d has come to another adapter than rank 0: one of the devices "
                         "computes wrongly (%s here)",
                         job->launch.rank, job->device->description);
}
