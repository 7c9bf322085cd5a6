/*
 * Which tokens end an answer: those of the model's files, and the one that a template writes behind
 * an answer, found on the shipped tokenizer with templates that end a turn in their own ways.
 */
#include "testing.h"

#include "base/file.h"
#include "infer/stop_ids.h"

#define MODEL                LC_SOURCE_DIR "/models/sprout-3m"
#define TURNS(before, after) "{% for m in messages %}" before "{{ m.content }}" after "{% endfor %}"

enum { END_OF_TEXT, IM_START, IM_END }; /* ids of models/sprout-3m */

static lc_tokenizer *tokenizer;
static const lc_model_config config = {.eos = {END_OF_TEXT, 7, END_OF_TEXT}, .eos_count = 3};

/* What is found beside the model's own, which are always there, once each; -1: none. */
static int32_t sign_of(const char *text)
{
    static const char *dir;
    char path[LC_MAX_PATH_BYTES];
    lc_chat_template *chat_template;
    lc_stop_ids stop;
    if (dir == NULL) {
        dir = test_dir();
    }
    assert_ok(lc_path_join(dir, "t.jinja", path, &test_err));
    test_write_file(path, text, strlen(text));
    const lc_template_source source = {.file = path};
    assert_ok(lc_chat_template_open(&source, &chat_template, &test_err));
    assert_ok(lc_stop_ids_find(&config, tokenizer, chat_template, &stop, &test_err));
    lc_chat_template_free(chat_template);
    assert_true(stop.count == 2 || stop.count == 3);
    assert_int_equal(stop.ids[0], END_OF_TEXT);
    assert_int_equal(stop.ids[1], 7);
    return stop.count == 3 ? stop.ids[2] : -1;
}

static void signs(void **state)
{
    (void)state;
    assert_int_equal(sign_of(TURNS("<|im_start|>", "<|im_end|>\n")), IM_END);
    assert_int_equal(sign_of(TURNS("", " \n<|im_start|> more")), IM_START);
    assert_int_equal(sign_of(TURNS("<|im_start|>", "<|endoftext|>")), -1); /* the model's own */
    assert_int_equal(sign_of(TURNS("<|im_start|>", "\n")), -1);
    assert_int_equal(sign_of(TURNS("", "### Human: ")), -1);              /* no special token */
    assert_int_equal(sign_of("{{ messages[0].content }}<|im_end|>"), -1); /* shows no answer */
    assert_int_equal(sign_of("{{ raise_exception('no') }}"), -1);
}

static void without_template(void **state)
{
    (void)state;
    lc_chat_template *chat_template;
    lc_stop_ids stop;
    assert_ok(lc_stop_ids_find(&config, tokenizer, NULL, &stop, &test_err));
    assert_int_equal(stop.count, 2);
    assert_ok(lc_chat_template_load(MODEL, &chat_template, &test_err));
    assert_ok(lc_stop_ids_find(&config, NULL, chat_template, &stop, &test_err));
    assert_int_equal(stop.count, 2);
    lc_chat_template_free(chat_template);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(signs),
        cmocka_unit_test(without_template),
    };
    assert_ok(lc_tokenizer_load(MODEL, &tokenizer, &test_err));
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    lc_tokenizer_free(tokenizer);
    return failed;
}
