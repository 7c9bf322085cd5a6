/* The progress of `lorac train` in its three styles, and the numbers as people read them. */
#include "testing.h"

#include <math.h>

#include "base/format.c"
#include "cli/terminal.c"
#include "cli/progress.c"

static char *page;
static size_t page_bytes;

/* A view that writes into `page`. Not a file: so no terminal, and fileno gives -1. */
static lc_progress_view open_view(lc_progress_style style)
{
    lc_progress_view view;
    FILE *out = open_memstream(&page, &page_bytes);
    assert_non_null(out);
    memset(&view, 0, sizeof view);
    view.out = out;
    view.style = style;
    view.columns = 100;
    return view;
}

static void close_view(lc_progress_view *view)
{
    lc_progress_finish(view);
    assert_int_equal(fclose(view->out), 0);
}

static int lines_of(const char *text)
{
    int count = 0;
    for (; *text != '\0'; text++) {
        count += *text == '\n';
    }
    return count;
}

static void step(lc_progress_view *view, int64_t number, int64_t total, double loss, double valid)
{
    const lc_metrics metrics = {.step = number,
                                .train_loss = loss,
                                .train_mean_token_accuracy = 0.5,
                                .valid_loss = valid,
                                .valid_mean_token_accuracy = valid,
                                .full_valid_loss = NAN,
                                .full_valid_mean_token_accuracy = NAN};
    const lc_progress progress = {.step = number,
                                  .total_steps = total,
                                  .trained_tokens = 100 * number,
                                  .tokens_per_second = 1234.0,
                                  .eta_seconds = 75.0,
                                  .learning_rate = 1e-4,
                                  .grad_norm = NAN};
    const lc_event event = {.id = "ftevent-1",
                            .created_at = 7,
                            .level = "info",
                            .type = "progress",
                            .message = "m",
                            .metrics = &metrics,
                            .progress = &progress};
    lc_progress_show(view, &event);
}

static void say(lc_progress_view *view, const char *level, const char *message)
{
    const lc_event event = {
        .id = "ftevent-0", .created_at = 7, .level = level, .type = "message", .message = message};
    lc_progress_show(view, &event);
}

static void lines_come_once_a_second(void **state)
{
    (void)state;
    lc_progress_view view = open_view(LC_PROGRESS_LINES);
    say(&view, "info", "Job started.");
    say(&view, "warn", "careful");
    for (int64_t n = 1; n <= 1000; n++) {
        step(&view, n, 1000, 1.5, NAN);
    }
    close_view(&view);
    assert_int_equal(lines_of(page), 4); /* two messages, the first and the last step */
    assert_non_null(strstr(page, "Job started.\n"));
    assert_non_null(strstr(page, "warning: careful\n"));
    assert_non_null(strstr(page, "step 1/1000  loss 1.5000  1.2k tokens/s  ETA 1:15\n"));
    assert_non_null(strstr(page, "step 1000/1000"));
    assert_null(strchr(page, '\r'));
    assert_null(strchr(page, '\033'));
    free(page);
}

static void validation_is_always_shown(void **state)
{
    (void)state;
    lc_progress_view view = open_view(LC_PROGRESS_LINES);
    for (int64_t n = 1; n <= 10; n++) {
        step(&view, n, 20, 1.5, n == 5 ? 2.25 : NAN);
    }
    view.is_stopping = true;
    step(&view, 20, 20, NAN, NAN);
    close_view(&view);
    assert_int_equal(lines_of(page), 3);
    assert_non_null(strstr(page, "step 5/20  loss 1.5000  valid 2.2500"));
    assert_non_null(strstr(page, "stopping"));
    free(page);
}

static void the_bar_fits_its_terminal(void **state)
{
    (void)state;
    for (int columns = 20; columns <= 160; columns += 7) {
        lc_progress_view view = open_view(LC_PROGRESS_BAR);
        view.columns = columns;
        view.has_colour = columns % 2 == 0;
        step(&view, 3, 4, 1.5, NAN);
        close_view(&view);
        int width = 0;
        for (const char *at = page; *at != '\0'; at++) {
            if (*at == '\033') {
                at += strcspn(at, "mK");
            } else if (*at != '\r' && *at != '\n') {
                width++;
            }
        }
        assert_true(width < columns);
        assert_true((strstr(page, "\033[32m") != NULL) ==
                    (view.has_colour && strchr(page, '[') != NULL));
        if (columns == 160) {
            assert_non_null(strstr(page, "[==============================          ]"));
        }
        free(page);
    }
}

static void redraws_are_limited_and_messages_stand_above(void **state)
{
    (void)state;
    lc_progress_view view = open_view(LC_PROGRESS_BAR);
    for (int64_t n = 1; n <= 500; n++) {
        step(&view, n, 1000, 1.5, NAN);
    }
    say(&view, "info", "New checkpoint created: epoch-1");
    close_view(&view);
    int redraws = 0;
    for (const char *at = page; (at = strstr(at, "step ")) != NULL; at++) {
        redraws++;
    }
    assert_in_range(redraws, 1, 3); /* 500 calls take far less than 0.2 s */
    assert_non_null(strstr(page, "\r\033[KNew checkpoint created: epoch-1\n"));
    free(page);
}

static void json_lines_parse(void **state)
{
    (void)state;
    lc_progress_view view = open_view(LC_PROGRESS_JSON);
    say(&view, "info", "quote \" and\nnewline");
    step(&view, 1, 2, 0.1, NAN);
    step(&view, 2, 2, NAN, 0.75);
    close_view(&view);
    assert_int_equal(lines_of(page), 3);
    cJSON *lines[3];
    const char *line = page;
    for (int i = 0; i < 3; i++, line += strcspn(line, "\n") + 1) {
        assert_ok(lc_json_parse(line, strcspn(line, "\n"), LC_JSON_DEFAULT, "a line", &lines[i],
                                &test_err));
    }
    assert_string_equal(lc_json_get(lines[0], "message")->valuestring, "quote \" and\nnewline");
    assert_string_equal(lc_json_get(lines[0], "object")->valuestring, "fine_tuning.job.event");
    assert_null(lc_json_get(lines[0], "data"));
    const cJSON *data = lc_json_get(lines[1], "data"),
                *progress = lc_json_get(lines[1], "progress");
    assert_true(fabs(lc_json_get(data, "train_loss")->valuedouble - 0.1) < 1e-15);
    assert_null(lc_json_get(data, "valid_loss")); /* not measured: left out */
    assert_int_equal(lc_json_get(progress, "total_steps")->valueint, 2);
    assert_null(lc_json_get(progress, "grad_norm"));
    assert_null(lc_json_get(lines[1], "object")); /* progress is no event */
    data = lc_json_get(lines[2], "data");
    assert_null(lc_json_get(data, "train_loss"));
    assert_true(fabs(lc_json_get(data, "valid_loss")->valuedouble - 0.75) < 1e-15);
    for (int i = 0; i < 3; i++) {
        cJSON_Delete(lines[i]);
    }
    free(page);
}

static void numbers_for_people(void **state)
{
    (void)state;
    char out[LC_FORMAT_BYTES];
    assert_string_equal(lc_format_size(0, out), "0 B");
    assert_string_equal(lc_format_size(1023, out), "1023 B");
    assert_string_equal(lc_format_size(1024, out), "1.00 KiB");
    assert_string_equal(lc_format_size((int64_t)3 << 29, out), "1.50 GiB");
    assert_string_equal(lc_format_size(INT64_MAX, out), "8192.00 PiB");
    assert_string_equal(lc_format_count(999.0, out), "999");
    assert_string_equal(lc_format_count(12345.0, out), "12.3k");
    assert_string_equal(lc_format_count(2.5e6, out), "2.5M");
    assert_string_equal(lc_format_count(NAN, out), "-");
    assert_string_equal(lc_format_duration(0.0, out), "0:00");
    assert_string_equal(lc_format_duration(59.6, out), "1:00");
    assert_string_equal(lc_format_duration(3725.0, out), "1:02:05");
    assert_string_equal(lc_format_duration(-1.0, out), "-");
    assert_string_equal(lc_format_duration(NAN, out), "-");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_come_once_a_second),
        cmocka_unit_test(validation_is_always_shown),
        cmocka_unit_test(the_bar_fits_its_terminal),
        cmocka_unit_test(redraws_are_limited_and_messages_stand_above),
        cmocka_unit_test(json_lines_parse),
        cmocka_unit_test(numbers_for_people),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
