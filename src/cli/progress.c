/*
 * Drawing training progress; see progress.h. At most ten redraws a second on a terminal, a line a
 * second in a pipe; steps with validation figures and the last step are always shown.
 */
#include "cli/progress.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/format.h"
#include "base/params.h"
#include "cli/terminal.h"

#define REDRAW_SECONDS 0.1
#define LINE_SECONDS   1.0
#define MIN_BAR        10
#define MAX_BAR        40
#define MAX_LINE       512

void lc_progress_init(lc_progress_view *view, FILE *out, bool json)
{
    const int fd = fileno(out);
    const bool is_terminal = lc_is_terminal(fd);
    memset(view, 0, sizeof *view);
    view->out = out;
    view->style = json ? LC_PROGRESS_JSON : is_terminal ? LC_PROGRESS_BAR : LC_PROGRESS_LINES;
    view->has_colour = is_terminal && lc_param_text(LC_PARAM_NO_COLOR) == NULL;
    view->columns = lc_terminal_columns(fd);
}

void lc_progress_finish(lc_progress_view *view)
{
    if (view->is_bar_visible) {
        fputc('\n', view->out);
        view->is_bar_visible = false;
    }
    (void)fflush(view->out);
}

static void clear_bar(lc_progress_view *view)
{
    if (view->is_bar_visible) {
        fputs("\r\033[K", view->out);
        view->is_bar_visible = false;
    }
}

/* ---- JSON lines ---- */

static void add_figure(lc_text *text, const char *key, double value)
{
    if (!isnan(value)) {
        lc_text_addf(text, ", \"%s\": ", key);
        lc_text_add_double(text, value);
    }
}

static void add_metrics(lc_text *text, const lc_metrics *metrics)
{
    lc_text_addf(text, ", \"data\": {\"step\": %lld", (long long)metrics->step);
    add_figure(text, "train_loss", metrics->train_loss);
    add_figure(text, "train_mean_token_accuracy", metrics->train_mean_token_accuracy);
    add_figure(text, "valid_loss", metrics->valid_loss);
    add_figure(text, "valid_mean_token_accuracy", metrics->valid_mean_token_accuracy);
    add_figure(text, "full_valid_loss", metrics->full_valid_loss);
    add_figure(text, "full_valid_mean_token_accuracy", metrics->full_valid_mean_token_accuracy);
    lc_text_addf(text, "}");
}

static void add_progress(lc_text *text, const lc_progress *progress)
{
    lc_text_addf(text,
                 ", \"progress\": {\"step\": %lld, \"total_steps\": %lld, \"trained_tokens\": %lld",
                 (long long)progress->step, (long long)progress->total_steps,
                 (long long)progress->trained_tokens);
    add_figure(text, "tokens_per_second", progress->tokens_per_second);
    add_figure(text, "eta_seconds", progress->eta_seconds);
    add_figure(text, "learning_rate", progress->learning_rate);
    add_figure(text, "grad_norm", progress->grad_norm);
    lc_text_addf(text, ", \"nonfinite_steps\": %lld}", (long long)progress->nonfinite_steps);
}

/* "key": "value", left out when there is no text. */
static void add_text_member(lc_text *text, const char *key, const char *value)
{
    if (value != NULL && value[0] != '\0') {
        lc_text_addf(text, "%s\"%s\": ", text->length > 1 ? ", " : "", key);
        lc_text_add_json_string(text, value, strlen(value));
    }
}

/* Members in the order of events.jsonl; a step's progress is no event and has no id. */
static void show_json(lc_progress_view *view, const lc_event *event)
{
    lc_text text;
    lc_err ignored = {.code = LC_OK};
    lc_text_init(&text);
    lc_text_addf(&text, "{");
    add_text_member(&text, "id", event->id);
    add_text_member(&text, "object", event->progress == NULL ? "fine_tuning.job.event" : "");
    lc_text_addf(&text, "%s\"created_at\": %lld", text.length > 1 ? ", " : "",
                 (long long)event->created_at);
    add_text_member(&text, "level", event->level);
    add_text_member(&text, "message", event->message);
    add_text_member(&text, "type", event->type);
    if (event->metrics != NULL) {
        add_metrics(&text, event->metrics);
    }
    if (event->progress != NULL) {
        add_progress(&text, event->progress);
    }
    lc_text_addf(&text, "}\n");
    if (lc_text_finish(&text, "an event", &ignored) == LC_OK) {
        (void)fwrite(text.data, 1, text.length, view->out);
        (void)fflush(view->out);
    }
    lc_text_release(&text);
}

/* ---- for people ---- */

/* "loss 1.2345  valid 1.3456", as far as known. */
static int format_losses(const lc_progress_view *view, char *out, size_t capacity)
{
    const lc_metrics *m = &view->metrics;
    if (!view->has_metrics) {
        return snprintf(out, capacity, "loss -");
    }
    int used = snprintf(out, capacity, "loss %.4f", m->train_loss);
    const double valid = isnan(m->full_valid_loss) ? m->valid_loss : m->full_valid_loss;
    if (!isnan(valid) && used > 0 && (size_t)used < capacity) {
        used += snprintf(out + used, capacity - (size_t)used, "  valid %.4f", valid);
    }
    return used;
}

/* Everything but the bar itself. */
static void format_line(const lc_progress_view *view, const lc_progress *progress, char *out,
                        size_t capacity)
{
    char losses[96], rate[LC_FORMAT_BYTES], eta[LC_FORMAT_BYTES];
    (void)format_losses(view, losses, sizeof losses);
    (void)snprintf(out, capacity, "step %lld/%lld  %s  %s tokens/s  %s %s",
                   (long long)progress->step, (long long)progress->total_steps, losses,
                   lc_format_count(progress->tokens_per_second, rate),
                   view->is_stopping ? "stopping, would need" : "ETA",
                   lc_format_duration(progress->eta_seconds, eta));
}

/* A bar of which done/total is filled, where there is room, and the line behind it. */
static void draw_bar(lc_progress_view *view, const char *line, int64_t done, int64_t total)
{
    char bar[MAX_BAR + 1];
    const int room = view->columns - 1;
    int width = room - (int)strlen(line) - 4;
    width = width > MAX_BAR ? MAX_BAR : width;
    clear_bar(view);
    if (width >= MIN_BAR && total > 0) {
        const int filled = (int)((double)done / (double)total * width);
        for (int i = 0; i < width; i++) {
            bar[i] = i < filled ? '=' : ' ';
        }
        bar[width] = '\0';
        fprintf(view->out, "%s[%s]%s  %s", view->has_colour ? "\033[32m" : "", bar,
                view->has_colour ? "\033[0m" : "", line);
    } else {
        fprintf(view->out, "%.*s", room > 0 ? room : 0, line);
    }
    view->is_bar_visible = true;
    (void)fflush(view->out);
}

/* A bar that is redrawn, or now and then a line. */
static void show_line(lc_progress_view *view, const char *line, int64_t done, int64_t total)
{
    view->last_drawn = lc_monotonic_seconds();
    if (view->style == LC_PROGRESS_BAR) {
        draw_bar(view, line, done, total);
        return;
    }
    fprintf(view->out, "%s\n", line);
    (void)fflush(view->out);
}

/* The last one is left to the message that the file is done. */
static void show_preparation(lc_progress_view *view, const lc_preparation *preparation)
{
    char line[MAX_LINE];
    const int64_t done = preparation->done_bytes, total = preparation->total_bytes;
    const double pause = view->style == LC_PROGRESS_BAR ? REDRAW_SECONDS : LINE_SECONDS;
    if (lc_monotonic_seconds() - view->last_drawn < pause || done >= total) {
        return;
    }
    (void)snprintf(line, sizeof line, "tokenizing the %s file  %3.0f %% of %.1f MB",
                   preparation->name, 100.0 * (double)done / (double)total, (double)total / 1e6);
    show_line(view, line, done, total);
}

static bool has_validation(const lc_event *event)
{
    return event->metrics != NULL &&
           (!isnan(event->metrics->valid_loss) || !isnan(event->metrics->full_valid_loss));
}

static void show_step(lc_progress_view *view, const lc_event *event)
{
    const lc_progress *progress = event->progress;
    const double now = lc_monotonic_seconds();
    const double pause = view->style == LC_PROGRESS_BAR ? REDRAW_SECONDS : LINE_SECONDS;
    const bool is_due = view->last_drawn <= 0.0 || now - view->last_drawn >= pause ||
                        progress->step >= progress->total_steps ||
                        (view->style == LC_PROGRESS_LINES && has_validation(event));
    if (!is_due) {
        return;
    }
    char line[MAX_LINE];
    format_line(view, progress, line, sizeof line);
    show_line(view, line, progress->step, progress->total_steps);
}

void lc_progress_show_bytes(lc_progress_view *view, int64_t bytes, int64_t total_bytes)
{
    char line[MAX_LINE], done[LC_FORMAT_BYTES], all[LC_FORMAT_BYTES], rate[LC_FORMAT_BYTES],
        eta[LC_FORMAT_BYTES];
    const double now = lc_monotonic_seconds();
    if (view->begun <= 0.0) { /* nothing is known of the rate yet */
        view->begun = view->last_drawn = now;
    }
    if (view->style != LC_PROGRESS_BAR || now - view->last_drawn < REDRAW_SECONDS) {
        return;
    }
    view->last_drawn = now;
    const double speed = (double)bytes / (now - view->begun);
    (void)snprintf(line, sizeof line, "%s of %s  %s/s  ETA %s", lc_format_size(bytes, done),
                   lc_format_size(total_bytes, all), lc_format_size((int64_t)speed, rate),
                   lc_format_duration((double)(total_bytes - bytes) / speed, eta));
    draw_bar(view, line, bytes, total_bytes);
}

void lc_progress_clear(lc_progress_view *view)
{
    clear_bar(view);
    (void)fflush(view->out);
}

static void show_message(lc_progress_view *view, const lc_event *event)
{
    clear_bar(view);
    if (strcmp(event->level, "error") == 0) {
        return; /* the command prints why it failed */
    }
    fprintf(view->out, "%s%s\n",
            strcmp(event->level, "info") == 0 ? "" : "warning: ", event->message);
    (void)fflush(view->out);
}

void lc_progress_show(void *context, const lc_event *event)
{
    lc_progress_view *view = context;
    if (event->metrics != NULL) {
        view->metrics = *event->metrics;
        view->has_metrics = true;
    }
    if (event->preparation != NULL) {
        if (view->style != LC_PROGRESS_JSON) { /* neither an event nor a step */
            show_preparation(view, event->preparation);
        }
    } else if (view->style == LC_PROGRESS_JSON) {
        show_json(view, event);
    } else if (event->progress != NULL) {
        show_step(view, event);
    } else if (strcmp(event->type, "message") == 0) {
        show_message(view, event);
    }
}
