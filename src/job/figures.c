/*
 * figures.json as text and back; see figures.h. Writing allocates nothing: steps do it.
 */
#include "job/figures.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"

#define FILE_NAME      "figures.json"
#define MAX_BYTES      2048
#define MAX_READ_BYTES ((size_t)65536)

const double lc_figures_bounds[LC_FIGURES_BUCKETS - 1] = {0.01, 0.03, 0.1, 0.3, 1,
                                                          3,    10,   30,  100, 300};

void lc_histogram_add(lc_histogram *histogram, double seconds)
{
    int bucket = 0;
    while (bucket < LC_FIGURES_BUCKETS - 1 && seconds > lc_figures_bounds[bucket]) {
        bucket++;
    }
    histogram->counts[bucket]++;
    histogram->seconds += seconds;
}

/* ---- writing ---- */

typedef struct line {
    char text[MAX_BYTES];
    size_t length;
} line;

__attribute__((format(printf, 2, 3))) static void add(line *to, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    const int count =
        vsnprintf(to->text + to->length, sizeof to->text - to->length, format, arguments);
    va_end(arguments);
    to->length += count > 0 ? (size_t)count : 0;
    to->length = to->length < sizeof to->text ? to->length : sizeof to->text - 1;
}

static void add_double(line *to, const char *key, double value)
{
    if (isfinite(value)) {
        add(to, ", \"%s\": %.9g", key, value);
    }
}

static void add_histogram(line *to, const char *key, const lc_histogram *histogram)
{
    add(to, ", \"%s\": {\"seconds\": %.9g, \"counts\": [", key, histogram->seconds);
    for (int i = 0; i < LC_FIGURES_BUCKETS; i++) {
        add(to, "%s%" PRId64, i > 0 ? ", " : "", histogram->counts[i]);
    }
    add(to, "]}");
}

/* The file becomes the new one as a whole, without waiting for the disk as lc_file_write_atomic
 * does: a step may not. What a killed process leaves, the next run's directory.c takes away. */
static lc_code replace(const char *dir, const line *by, lc_err *err)
{
    char path[LC_MAX_PATH_BYTES], temporary[LC_MAX_PATH_BYTES], name[64];
    int fd = -1;
    (void)snprintf(name, sizeof name, "." FILE_NAME ".tmp-%ld", (long)getpid());
    LC_TRY(lc_path_join(dir, FILE_NAME, path, err));
    LC_TRY(lc_path_join(dir, name, temporary, err));
    (void)unlink(temporary);
    LC_TRY(lc_append_open(temporary, &fd, err));
    lc_code code = lc_append(fd, temporary, by->text, by->length, false, err);
    if (close(fd) != 0 && code == LC_OK) {
        code = lc_fail_errno(err, "cannot close %s", temporary);
    }
    if (code == LC_OK && rename(temporary, path) != 0) {
        code = lc_fail_errno(err, "cannot rename %s to %s", temporary, path);
    }
    if (code != LC_OK) {
        (void)unlink(temporary);
    }
    return code;
}

lc_code lc_job_figures_write(const char *dir, lc_job_figures *figures, lc_err *err)
{
    const lc_progress *progress = &figures->progress;
    line out = {.length = 0};
    figures->written_at = lc_monotonic_seconds();
    add(&out,
        "{\"step\": %" PRId64 ", \"trained_tokens\": %" PRId64 ", \"nonfinite_steps\": %" PRId64
        ", \"checkpoint_failures\": %" PRId64,
        progress->step, progress->trained_tokens, progress->nonfinite_steps,
        figures->checkpoint_failures);
    add_double(&out, "tokens_per_second", progress->tokens_per_second);
    add_double(&out, "learning_rate", progress->learning_rate);
    add_double(&out, "grad_norm", progress->grad_norm);
    if (figures->gpu_used_bytes >= 0) {
        add(&out, ", \"gpu_used_bytes\": %" PRId64, figures->gpu_used_bytes);
    }
    add_histogram(&out, "steps", &figures->steps);
    add_histogram(&out, "checkpoints", &figures->checkpoints);
    add(&out, "}\n");
    return replace(dir, &out, err);
}

/* ---- reading ---- */

static lc_code read_histogram(const cJSON *root, const char *key, lc_histogram *out, lc_err *err)
{
    const cJSON *object = NULL;
    LC_TRY(lc_json_object(root, key, true, &object, err));
    LC_TRY(lc_json_double(object, "seconds", true, 0, HUGE_VAL, &out->seconds, err));
    const cJSON *counts = lc_json_get(object, "counts");
    if (cJSON_GetArraySize(counts) != LC_FIGURES_BUCKETS) {
        return lc_fail_param(err, LC_ERR_INVALID, key, "%s.counts must have %d numbers", key,
                             LC_FIGURES_BUCKETS);
    }
    for (int i = 0; i < LC_FIGURES_BUCKETS; i++) {
        const double count = cJSON_GetNumberValue(cJSON_GetArrayItem(counts, i));
        out->counts[i] = count >= 0 && count < 1e15 ? (int64_t)count : 0;
    }
    return LC_OK;
}

static lc_code read_all(const cJSON *root, lc_job_figures *out, lc_err *err)
{
    lc_progress *progress = &out->progress;
    const int64_t most = INT64_MAX / 1024;
    LC_TRY(lc_json_int(root, "step", true, 0, most, &progress->step, err));
    LC_TRY(lc_json_int(root, "trained_tokens", true, 0, most, &progress->trained_tokens, err));
    LC_TRY(lc_json_int(root, "nonfinite_steps", true, 0, most, &progress->nonfinite_steps, err));
    LC_TRY(lc_json_int(root, "checkpoint_failures", true, 0, most, &out->checkpoint_failures, err));
    LC_TRY(lc_json_int(root, "gpu_used_bytes", false, 0, most, &out->gpu_used_bytes, err));
    LC_TRY(lc_json_double(root, "tokens_per_second", false, 0, HUGE_VAL,
                          &progress->tokens_per_second, err));
    LC_TRY(
        lc_json_double(root, "learning_rate", false, 0, HUGE_VAL, &progress->learning_rate, err));
    LC_TRY(lc_json_double(root, "grad_norm", false, 0, HUGE_VAL, &progress->grad_norm, err));
    LC_TRY(read_histogram(root, "steps", &out->steps, err));
    return read_histogram(root, "checkpoints", &out->checkpoints, err);
}

lc_code lc_job_figures_read(const char *dir, lc_job_figures *out, lc_err *err)
{
    char path[LC_MAX_PATH_BYTES];
    cJSON *root = NULL;
    lc_job_figures found = {
        .gpu_used_bytes = -1,
        .progress = {.tokens_per_second = NAN, .learning_rate = NAN, .grad_norm = NAN}};
    LC_TRY(lc_path_join(dir, FILE_NAME, path, err));
    LC_TRY(lc_json_load(path, MAX_READ_BYTES, LC_JSON_DEFAULT, &root, err));
    const lc_code code = read_all(root, &found, err);
    cJSON_Delete(root);
    if (code == LC_OK) {
        *out = found;
    }
    return code;
}
