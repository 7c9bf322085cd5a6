/*
 * The ledger of a job, DIR/ledger.json: checked before a resume touches anything, given to the
 * device before its first product, extended before each checkpoint by what the device has chosen
 * since. Jobs on the CPU have none. On several ranks it is rank 0's, and all devices get it.
 *
 * A product that comes up for the first time after a resume takes what it would have taken without
 * the interruption: the ledger has the whole tuning table that the job began with, and what the
 * same library proposes for the same shape on the same GPU is the same. So does a product that only
 * another rank meets: that rank has the table, and a device and libraries that are rank 0's.
 */
#include <stdio.h>
#include <string.h>

#include "job/prepare.h"
#include "lorac/log.h"
#include "ops/backend.h"

#define LEDGER_NAME "ledger.json"

static lc_code path_of(const lc_job *job, char path[LC_MAX_PATH_BYTES], lc_err *err)
{
    return lc_path_join(job->dir.path, LEDGER_NAME, path, err);
}

static lc_code save(const lc_job *job, lc_err *err)
{
    char path[LC_MAX_PATH_BYTES];
    LC_TRY(path_of(job, path, err));
    return lc_ledger_save(&job->ledger, path, err);
}

/* What a resume cannot have: an error, or with deterministic false a warning to come. */
static lc_code deviate(lc_job *job, const char *why, lc_err *err)
{
    if (job->spec.deterministic) {
        return lc_fail_param(err, LC_ERR_INVALID, LEDGER_NAME,
                             "%s: the job would go on with other last digits. Restore what it "
                             "began with, or set lorac.deterministic to false to go on like that",
                             why);
    }
    (void)snprintf(job->deviation, sizeof job->deviation, "%s", why);
    return LC_OK;
}

/* ---- a resume ---- */

static lc_code compare_device(lc_job *job, lc_err *err)
{
    char difference[LC_LEDGER_DIFFERENCE_BYTES], why[LC_LEDGER_DIFFERENCE_BYTES + 64];
    lc_ledger now;
    LC_TRY(lc_job_open_device(job, job->dir.state.resolved.device, err));
    lc_ledger_of_device(job->device, &now);
    if (!lc_ledger_difference(&job->ledger, &now, true, difference)) {
        return LC_OK;
    }
    (void)snprintf(why, sizeof why, LEDGER_NAME ": %s", difference);
    return deviate(job, why, err);
}

lc_code lc_job_ledger_check(lc_job *job, lc_err *err)
{
    const lc_job_state *state = &job->dir.state;
    char path[LC_MAX_PATH_BYTES];
    lc_err why = {.code = LC_OK};
    if (!state->resolved_known || state->status == LC_JOB_SUCCEEDED ||
        !lc_device_kind_is_gpu(state->resolved.device)) {
        return LC_OK;
    }
    LC_TRY(path_of(job, path, err));
    const lc_code code = lc_ledger_load(path, &job->ledger, &why);
    if (code == LC_OK) {
        return compare_device(job, err);
    }
    if (code != LC_ERR_NOT_FOUND && code != LC_ERR_INVALID) {
        return lc_fail(err, code, "%s", why.message);
    }
    return deviate(job, why.message, err);
}

lc_code lc_job_ledger_compare(lc_job *job, const lc_train_state *checkpoint, lc_err *err)
{
    uint8_t digest[32] = {0};
    const int64_t count = checkpoint->ledger_count;
    if (job->deviation[0] != '\0' || !lc_device_kind_is_gpu(job->dir.state.resolved.device)) {
        return LC_OK;
    }
    if (count <= job->ledger.count) {
        lc_ledger_digest(&job->ledger, count, digest);
    }
    if (memcmp(digest, checkpoint->ledger_sha256, sizeof digest) == 0) {
        return LC_OK;
    }
    return deviate(job, LEDGER_NAME " is not the one that the newest checkpoint was made with",
                   err);
}

/* ---- the run ---- */

/* The tuning table of a device that `facts` describes. */
static lc_code give_table(lc_job *job, const lc_ledger *facts, lc_err *err)
{
    lc_ledger table;
    lc_code code = lc_tuning_load(facts, &table, err);
    if (code == LC_OK) {
        code = lc_ledger_give(&table, job->device, err);
    }
    lc_ledger_release(&table);
    return code;
}

static lc_code begin_anew(lc_job *job, lc_err *err)
{
    int64_t added = 0;
    lc_ledger_release(&job->ledger);
    lc_ledger_of_device(job->device, &job->ledger);
    LC_TRY(give_table(job, &job->ledger, err));
    LC_TRY(lc_ledger_take(&job->ledger, job->device, &added, err));
    return save(job, err);
}

/* A job that was killed before it had begun may have left its ledger: then that is the one. */
static bool has_left_ledger(lc_job *job, const lc_ledger *now)
{
    char path[LC_MAX_PATH_BYTES], difference[LC_LEDGER_DIFFERENCE_BYTES];
    lc_err ignored = {.code = LC_OK};
    return job->dir.resumed && path_of(job, path, &ignored) == LC_OK &&
           lc_ledger_load(path, &job->ledger, &ignored) == LC_OK &&
           !lc_ledger_difference(&job->ledger, now, true, difference);
}

lc_code lc_job_ledger_begin(lc_job *job, lc_err *err)
{
    char difference[LC_LEDGER_DIFFERENCE_BYTES];
    lc_ledger now;
    if (job->device->choices == NULL) {
        return LC_OK;
    }
    job->has_ledger = true;
    lc_ledger_of_device(job->device, &now);
    if (job->deviation[0] != '\0') {
        lc_log(LC_LOG_WARN, "%s: goes on with other last digits (lorac.deterministic is false)",
               job->deviation);
        return begin_anew(job, err);
    }
    if (!job->dir.state.resolved_known && !has_left_ledger(job, &now)) {
        return begin_anew(job, err);
    }
    if (lc_ledger_difference(&job->ledger, &now, false, difference)) {
        lc_log(LC_LOG_WARN, "since this job began, %s; the results should not notice", difference);
    }
    return lc_ledger_give(&job->ledger, job->device, err);
}

lc_code lc_job_ledger_follow(lc_job *job, const lc_ledger *first, lc_err *err)
{
    const int rank = job->launch.rank;
    const char *there = NULL;
    lc_ledger own;
    lc_ledger_of_device(job->device, &own);
    const lc_fact *fact = lc_ledger_other_fact(first, &own, true, &there);
    if (fact != NULL && job->spec.deterministic) {
        return lc_fail_param(
            err, LC_ERR_INVALID, fact->name,
            "rank %d: %s is %s, the ledger of rank 0 says %s: results would depend on which rank "
            "computes what. Give all ranks the same, or set lorac.deterministic "
            "to false",
            rank, fact->name, fact->value, there);
    }
    if (fact != NULL) {
        lc_log(LC_LOG_WARN,
               "rank %d: %s is %s, the ledger of rank 0 says %s: goes on with choices of its own "
               "(lorac.deterministic is false)",
               rank, fact->name, fact->value, there);
        return give_table(job, &own, err);
    }
    fact = lc_ledger_other_fact(first, &own, false, &there);
    if (fact != NULL) {
        lc_log(LC_LOG_WARN,
               "rank %d: %s is %s, the ledger of rank 0 says %s; the results should not notice",
               rank, fact->name, fact->value, there);
    }
    return lc_ledger_give(first, job->device, err);
}

lc_code lc_job_ledger_update(lc_job *job, lc_err *err)
{
    int64_t added = 0;
    if (!job->has_ledger) {
        return LC_OK;
    }
    LC_TRY(lc_ledger_take(&job->ledger, job->device, &added, err));
    return added > 0 ? save(job, err) : LC_OK;
}

void lc_job_ledger_note(const lc_job *job, lc_train_state *state)
{
    if (job->has_ledger) {
        state->ledger_count = job->ledger.count;
        lc_ledger_digest(&job->ledger, job->ledger.count, state->ledger_sha256);
    }
}
