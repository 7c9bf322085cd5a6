/*
 * events.jsonl and results.csv: lines appended as Azure words them, and both files cut back on
 * resume. Nothing here syncs but lc_job_dir_sync; a killed process loses no line that was written,
 * a power cut at most those after the last checkpoint, which are written again.
 */
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "job/directory.h"

#define MESSAGE_BYTES (LC_ERR_MESSAGE_BYTES + 64)

static const char results_header[] =
    "step,train_loss,train_mean_token_accuracy,valid_loss,valid_mean_token_accuracy,"
    "full_valid_loss,full_valid_mean_token_accuracy\n";

/* The measured values in the order of the files. */
static const struct {
    const char *key;
    size_t offset;
} metric_fields[] = {
    {"train_loss", offsetof(lc_metrics, train_loss)},
    {"train_mean_token_accuracy", offsetof(lc_metrics, train_mean_token_accuracy)},
    {"valid_loss", offsetof(lc_metrics, valid_loss)},
    {"valid_mean_token_accuracy", offsetof(lc_metrics, valid_mean_token_accuracy)},
    {"full_valid_loss", offsetof(lc_metrics, full_valid_loss)},
    {"full_valid_mean_token_accuracy", offsetof(lc_metrics, full_valid_mean_token_accuracy)},
};
#define METRIC_COUNT (sizeof metric_fields / sizeof metric_fields[0])

static double metric(const lc_metrics *metrics, size_t index)
{
    double value;
    memcpy(&value, (const char *)metrics + metric_fields[index].offset, sizeof value);
    return value;
}

void lc_job_metrics_write(const lc_metrics *metrics, bool float_step, lc_text *out)
{
    lc_text_addf(out, "{\"step\": %" PRId64 "%s", metrics->step, float_step ? ".0" : "");
    for (size_t i = 0; i < METRIC_COUNT; i++) {
        if (isfinite(metric(metrics, i))) {
            lc_text_addf(out, ", \"%s\": ", metric_fields[i].key);
            lc_text_add_double(out, metric(metrics, i));
        }
    }
    lc_text_addf(out, "}");
}

/* Appends and counts. *length is the file's length before and after. */
static lc_code append(const lc_job_dir *dir, int fd, const char *name, const char *line,
                      size_t bytes, int64_t *length, lc_err *err)
{
    char path[LC_MAX_PATH_BYTES];
    LC_TRY(lc_path_join(dir->path, name, path, err));
    LC_TRY(lc_append(fd, path, line, bytes, false, err));
    *length += (int64_t)bytes;
    return LC_OK;
}

/* Writes one event with everything but id and time given, then hands it on. */
static lc_code put_event(lc_job_dir *dir, lc_event *event, lc_event_fn on_event, void *context,
                         lc_err *err)
{
    char id[LC_JOB_ID_BYTES], number[24];
    lc_text text;
    (void)snprintf(number, sizeof number, "%" PRId64, dir->event_count);
    lc_job_derive_id(dir->state.id, "ftevent-", number, id);
    event->id = id;
    event->created_at = lc_unix_seconds();
    lc_text_init(&text);
    lc_text_addf(&text,
                 "{\"id\": \"%s\", \"object\": \"fine_tuning.job.event\", \"created_at\": %" PRId64
                 ", \"level\": \"%s\", \"message\": ",
                 id, event->created_at, event->level);
    lc_text_add_json_string(&text, event->message, strlen(event->message));
    lc_text_addf(&text, ", \"type\": \"%s\"", event->type);
    if (event->metrics != NULL) {
        lc_text_addf(&text, ", \"data\": ");
        lc_job_metrics_write(event->metrics, false, &text);
    }
    lc_text_addf(&text, "}\n");
    lc_code code = lc_text_finish(&text, "an event", err);
    if (code == LC_OK) {
        code = append(dir, dir->events_fd, "events.jsonl", text.data, text.length,
                      &dir->events_bytes, err);
    }
    lc_text_release(&text);
    LC_TRY(code);
    dir->event_count++;
    if (on_event != NULL) {
        on_event(context, event);
    }
    return LC_OK;
}

lc_code lc_job_event(lc_job_dir *dir, const char *level, lc_event_fn on_event, void *context,
                     lc_err *err, const char *format, ...)
{
    char message[MESSAGE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    lc_event event = {.level = level, .type = "message", .message = message};
    return put_event(dir, &event, on_event, context, err);
}

static lc_code put_step_event(lc_job_dir *dir, const lc_metrics *metrics, lc_event_fn on_event,
                              void *context, lc_err *err)
{
    lc_text message;
    if (!isfinite(metrics->train_loss)) {
        return lc_job_event(dir, "warn", on_event, context, err,
                            "Step %" PRId64 ": loss or gradient is not finite, update skipped.",
                            metrics->step);
    }
    lc_text_init(&message);
    lc_text_addf(&message, "Step %" PRId64 ": training loss=", metrics->step);
    lc_text_add_double(&message, metrics->train_loss);
    lc_code code = lc_text_finish(&message, "an event", err);
    if (code == LC_OK) {
        lc_event event = {
            .level = "info", .type = "metrics", .message = message.data, .metrics = metrics};
        code = put_event(dir, &event, on_event, context, err);
    }
    lc_text_release(&message);
    return code;
}

static lc_code put_results_row(lc_job_dir *dir, const lc_metrics *metrics, lc_err *err)
{
    lc_text row;
    lc_text_init(&row);
    lc_text_addf(&row, "%" PRId64, metrics->step);
    for (size_t i = 0; i < METRIC_COUNT; i++) {
        lc_text_addf(&row, ",");
        if (isfinite(metric(metrics, i))) {
            lc_text_add_double(&row, metric(metrics, i));
        }
    }
    lc_text_addf(&row, "\n");
    lc_code code = lc_text_finish(&row, "a row of results.csv", err);
    if (code == LC_OK) {
        code = append(dir, dir->results_fd, "results.csv", row.data, row.length,
                      &dir->results_bytes, err);
    }
    lc_text_release(&row);
    return code;
}

lc_code lc_job_step(lc_job_dir *dir, const lc_metrics *metrics, const lc_progress *progress,
                    bool write_event, lc_event_fn on_event, void *context, lc_err *err)
{
    LC_TRY(put_results_row(dir, metrics, err));
    if (write_event) {
        LC_TRY(put_step_event(dir, metrics, on_event, context, err));
    }
    if (on_event != NULL) {
        const lc_event event = {.id = "",
                                .created_at = lc_unix_seconds(),
                                .level = "info",
                                .type = "progress",
                                .message = "",
                                .metrics = metrics,
                                .progress = progress};
        on_event(context, &event);
    }
    return LC_OK;
}

lc_code lc_job_results_begin(lc_job_dir *dir, lc_err *err)
{
    if (dir->results_bytes > 0) {
        return LC_OK;
    }
    return append(dir, dir->results_fd, "results.csv", results_header, sizeof results_header - 1,
                  &dir->results_bytes, err);
}

lc_code lc_job_dir_sync(lc_job_dir *dir, lc_err *err)
{
    LC_TRY(lc_append(dir->events_fd, "events.jsonl", "", 0, true, err));
    LC_TRY(lc_append(dir->results_fd, "results.csv", "", 0, true, err));
    if (!dir->is_entry_synced) {
        LC_TRY(lc_sync_dir(dir->path, err));
        dir->is_entry_synced = true;
    }
    return LC_OK;
}

static lc_code cut(const lc_job_dir *dir, const char *name, int64_t bytes, lc_err *err)
{
    char path[LC_MAX_PATH_BYTES];
    struct stat status;
    LC_TRY(lc_path_join(dir->path, name, path, err));
    if (stat(path, &status) != 0) {
        return lc_fail_errno(err, "cannot read %s", path);
    }
    if ((int64_t)status.st_size < bytes) {
        return lc_fail_param(err, LC_ERR_INVALID, name,
                             "%s has %" PRId64 " bytes, the checkpoint counts on %" PRId64
                             ": it was cut or replaced since",
                             path, (int64_t)status.st_size, bytes);
    }
    return (int64_t)status.st_size == bytes ? LC_OK : lc_truncate(path, bytes, err);
}

lc_code lc_job_dir_rewind(lc_job_dir *dir, int64_t event_count, int64_t events_bytes,
                          int64_t results_bytes, lc_err *err)
{
    LC_TRY(cut(dir, "events.jsonl", events_bytes, err));
    LC_TRY(cut(dir, "results.csv", results_bytes, err));
    dir->event_count = event_count;
    dir->events_bytes = events_bytes;
    dir->results_bytes = results_bytes;
    return LC_OK;
}
