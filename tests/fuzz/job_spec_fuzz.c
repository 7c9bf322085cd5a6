/*
 * Any bytes as a job file, and as a job.json. What is accepted must keep its bounds, be resolvable
 * for any data, have a canonical text that is JSON and the same job as itself, and come back from
 * job.json.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "job/directory.h"
#include "job/fields.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool is_true)
{
    if (!is_true) {
        abort();
    }
}

static void check_bounds(const lc_job_spec *spec)
{
    check(spec->model != NULL && spec->model[0] != '\0' && spec->training_file != NULL);
    check(spec->seed >= LC_AUTO && spec->seed <= LC_MAX_SEED);
    check(spec->n_epochs == LC_AUTO || (spec->n_epochs >= 1 && spec->n_epochs <= LC_MAX_EPOCHS));
    check(spec->batch_size == LC_AUTO ||
          (spec->batch_size >= 1 && spec->batch_size <= LC_MAX_BATCH_SIZE));
    check(spec->rank >= 1 && spec->rank <= 1024);
    check(spec->alpha > 0 && isfinite(spec->alpha));
    check(spec->dropout >= 0 && spec->dropout < 1);
    check(spec->warmup_ratio >= 0 && spec->warmup_ratio <= 1);
    check(spec->max_seq_len >= 2 && spec->log_every_steps >= 1 && spec->keep_checkpoints >= 1);
    check(spec->suffix == NULL || strlen(spec->suffix) <= LC_MAX_SUFFIX);
    check(spec->target_count >= 0 && spec->target_count <= LC_MAX_TARGETS);
    check(spec->all_linear + (spec->target_regex != NULL) + (spec->target_count > 0) == 1);
    for (int32_t i = 0; i < spec->layer_count; i++) {
        check(spec->layers[i] >= 0 && (i == 0 || spec->layers[i] > spec->layers[i - 1]));
    }
}

static void check_canonical(const lc_job_spec *spec)
{
    cJSON *object = NULL;
    lc_err err = {.code = LC_OK};
    char difference[LC_JOB_DIFFERENCE_BYTES];
    const size_t length = strlen(spec->canonical);
    check(lc_json_parse(spec->canonical, length, LC_JSON_DEFAULT, "canonical", &object, &err) ==
          LC_OK);
    lc_job_spec_difference(spec, object, difference);
    check(difference[0] == '\0');
    cJSON_Delete(object);
}

static void check_state(const lc_job_spec *spec, const lc_job_resolved *resolved)
{
    lc_text text;
    lc_err err = {.code = LC_OK};
    cJSON *canonical = NULL;
    lc_job_state state = {.id = "ftjob-0123456789abcdef0123456789abcdef",
                          .created_at = 1,
                          .trained_tokens = -1,
                          .world_size = 1};
    lc_job_state again;
    state.resolved_known = true;
    state.resolved = *resolved;
    lc_text_init(&text);
    lc_job_state_write(&state, spec, &text);
    check(!text.failed);
    check(lc_job_state_read(text.data, text.length, "job.json", &again, &canonical, &err) == LC_OK);
    check(again.resolved.total_steps == resolved->total_steps);
    check(memcmp(&again.resolved.learning_rate, &resolved->learning_rate, sizeof(double)) == 0);
    cJSON_Delete(canonical);
    lc_text_release(&text);
}

static void check_resolved(const lc_job_spec *spec)
{
    static const lc_job_facts facts[] = {{1, 2, 64, LC_DEVICE_CPU},
                                         {12345, 4000, 8192, LC_DEVICE_CUDA},
                                         {INT64_C(1) << 31, 1, 1 << 20, LC_DEVICE_CPU}};
    for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++) {
        lc_err err = {.code = LC_OK};
        lc_job_resolved resolved;
        if (lc_job_resolve(spec, &facts[i], 7, &resolved, &err) != LC_OK) {
            check(spec->micro_batch_tokens != LC_AUTO && err.message[0] != '\0');
            continue;
        }
        check(resolved.total_steps >= 1 && resolved.warmup_steps >= 0 &&
              resolved.warmup_steps <= resolved.total_steps);
        check(resolved.micro_batch_tokens >= facts[i].longest_example);
        check(resolved.learning_rate > 0 && resolved.learning_rate <= 1);
        check_state(spec, &resolved);
    }
}

static void read_as_state(const char *text, size_t size)
{
    lc_err err = {.code = LC_OK};
    cJSON *canonical = NULL;
    lc_job_state state;
    const lc_code code = lc_job_state_read(text, size, "job.json", &state, &canonical, &err);
    check((code == LC_OK) == (err.code == LC_OK));
    check(code != LC_OK || (canonical != NULL && strlen(state.id) == 38));
    cJSON_Delete(canonical);
}

/* What may change on a resume does not show in the digest. */
static void check_digest(lc_job_spec *spec)
{
    lc_err err = {.code = LC_OK};
    uint8_t digest[32];
    memcpy(digest, spec->sha256, sizeof digest);
    spec->deterministic = !spec->deterministic;
    spec->recompute = LC_RECOMPUTE_ALL;
    check(lc_job_spec_canonicalise(spec, &err) == LC_OK);
    check(memcmp(digest, spec->sha256, sizeof digest) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    lc_job_spec spec;
    lc_err err = {.code = LC_OK};
    const char *text = (const char *)data;
    read_as_state(text, size);
    if (lc_job_spec_parse(text, size, "job", &spec, &err) != LC_OK) {
        check(err.code == LC_ERR_INVALID || err.code == LC_ERR_UNSUPPORTED);
        check(err.message[0] != '\0');
        return 0;
    }
    check_bounds(&spec);
    check_canonical(&spec);
    check_resolved(&spec);
    check_digest(&spec);
    lc_job_spec_release(&spec);
    return 0;
}
