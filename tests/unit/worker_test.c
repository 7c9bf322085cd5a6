/* The inference worker through its lines, on the shipped base model: answers, choices, stop
 * strings, limits, cancelling, turns between owners; the same answer whatever else is going on. */
#include "testing.h"

#include "base/file.h"
#include "worker_run.h"

static void start(int64_t slots, int64_t context)
{
    worker_start(&(lc_worker_run_options){.model_dir = LC_SOURCE_DIR "/models/sprout-3m",
                                          .device = LC_DEVICE_CPU,
                                          .dtype = "auto",
                                          .threads = 1,
                                          .slots = slots,
                                          .context = context,
                                          .adapters = 2});
}

typedef struct answer {
    char text[4][4096]; /* of up to four choices */
    char finish[4][16];
    char error[32], param[64];
    int prompt_tokens, completion_tokens;
} answer;

/* Reads events until the chat has ended; those of others are dropped. */
static void read_answer(const char *id, answer *to)
{
    memset(to, 0, sizeof *to);
    for (bool is_last = false; !is_last;) {
        cJSON *event = worker_event();
        if (strcmp(worker_text_of(event, "id"), id) == 0) {
            const char *kind = worker_text_of(event, "event");
            const int index = worker_number_of(event, "index");
            if (strcmp(kind, "delta") == 0) {
                strncat(to->text[index], worker_text_of(event, "content"), 1000);
            } else if (strcmp(kind, "finish") == 0) {
                (void)snprintf(to->finish[index], 16, "%s", worker_text_of(event, "finish_reason"));
            } else if (strcmp(kind, "error") == 0) {
                (void)snprintf(to->error, sizeof to->error, "%s", worker_text_of(event, "code"));
                (void)snprintf(to->param, sizeof to->param, "%s", worker_text_of(event, "param"));
                is_last = true;
            } else {
                assert_string_equal(kind, "done");
                to->prompt_tokens = worker_number_of(event, "prompt_tokens");
                to->completion_tokens = worker_number_of(event, "completion_tokens");
                is_last = true;
            }
        }
        cJSON_Delete(event);
    }
}

static void send_chat(const char *id, const char *owner, const char *text, const char *more)
{
    char line[8192];
    (void)snprintf(line, sizeof line,
                   "{\"op\": \"chat\", \"id\": \"%s\", \"owner\": \"%s\", \"adapter\": null, "
                   "\"messages\": [{\"role\": \"user\", \"content\": \"%s\"}]%s}\n",
                   id, owner, text, more);
    worker_send(line);
}

static void ask(const char *text, const char *more, answer *to)
{
    send_chat("only", "", text, more);
    read_answer("only", to);
}

#define PROMPT "Hello! I need ten berries in green, shipped to Ghent. thx Laura"
#define GREEDY ", \"temperature\": 0, \"max_tokens\": 24"
#define DRAWN  ", \"temperature\": 1.5, \"seed\": 9, \"max_tokens\": 24"

static void test_lines(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "x\n",
        "[]\n",
        "{}\n",
        "{\"op\": 5}\n",
        "{\"op\": \"fly\"}\n",
        "{\"op\": \"load\"}\n",
        "{\"op\": \"load\", \"adapter\": \"a\", \"dir\": \"/none\"}\n",
        "{\"op\": \"drop\"}\n",
        "{\"op\": \"chat\"}\n",
        "{\"op\": \"chat\", \"id\": \"\"}\n",
        "{\"op\": \"chat\", \"id\": \"a\"}\n"};
    start(2, 128);
    worker_expect("ready");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        worker_send(bad[i]);
        worker_expect("error");
    }
    worker_send(
        "{\"op\": \"cancel\", \"id\": \"none\"}\n{\"op\": \"drop\", \"adapter\": \"none\"}\n");
    worker_send("{\"op\": \"ping\"}\n");
    worker_expect("pong");
    worker_stop();
}

static void test_fields(void **state)
{
    (void)state;
    static const struct {
        const char *more, *param; /* param NULL: it is fine */
    } cases[] = {
        {", \"temperature\": 2.5", "temperature"},
        {", \"top_p\": 2", "top_p"},
        {", \"max_tokens\": 0", "max_tokens"},
        {", \"n\": 17", "n"},
        {", \"seed\": -1", "seed"},
        {", \"stop\": [\"\"]", "stop"},
        {", \"stop\": [\"1\", \"2\", \"3\", \"4\", \"5\"]", "stop"},
        {", \"adapter\": \"none\"", "adapter"},
        {", \"presence_penalty\": 2.5", "presence_penalty"},
        {", \"frequency_penalty\": \"1\"", "frequency_penalty"},
        {", \"logit_bias\": []", "logit_bias"},
        {", \"logit_bias\": {\"x\": 1}", "logit_bias"},
        {", \"logit_bias\": {\"-1\": 1}", "logit_bias"},
        {", \"logit_bias\": {\"5\": 100.5}", "logit_bias"},
        {", \"logit_bias\": {\"99999999\": 1}", "logit_bias"},
        {", \"logit_bias\": {\"99999999999999999999\": 1}", "logit_bias"},
        {", \"logit_bias\": {\"5\": -100, \"6\": 0.5}, \"presence_penalty\": -2, "
         "\"frequency_penalty\": 2, \"max_tokens\": 3",
         NULL},
        {", \"stop\": [\"1\", \"2\", \"3\", \"4\"], \"n\": 2, \"seed\": 4294967295, "
         "\"max_tokens\": 1",
         NULL},
    };
    answer got;
    start(2, 128);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char line[1024];
        (void)snprintf(line, sizeof line,
                       "{\"op\": \"chat\", \"id\": \"only\", \"messages\": [{\"role\": \"user\", "
                       "\"content\": \"hi\"}]%s}\n",
                       cases[i].more);
        worker_send(line);
        read_answer("only", &got);
        if (cases[i].param != NULL) {
            assert_string_equal(got.param, cases[i].param);
        } else {
            assert_string_equal(got.error, "");
        }
    }
    worker_send("{\"op\": \"chat\", \"id\": \"only\", \"messages\": 5}\n");
    read_answer("only", &got);
    assert_string_equal(got.param, "messages");
    worker_stop();
}

static void test_answers(void **state)
{
    (void)state;
    answer alone, many, stopped, cut;
    start(4, 256);
    ask(PROMPT, GREEDY, &alone);
    assert_true(strlen(alone.text[0]) > 8);
    assert_int_equal(alone.prompt_tokens > 8, 1);
    /* a stop string that lies in the middle of the text, at every place */
    for (size_t at = 1; at + 3 < strlen(alone.text[0]); at += 2) {
        char more[256], stop_text[4];
        (void)snprintf(stop_text, sizeof stop_text, "%.3s", alone.text[0] + at);
        if (strpbrk(stop_text, "\"\\\n") != NULL) {
            continue;
        }
        (void)snprintf(more, sizeof more, GREEDY ", \"stop\": [\"%s\", \"never\"]", stop_text);
        ask(PROMPT, more, &stopped);
        const size_t length = (size_t)(strstr(alone.text[0], stop_text) - alone.text[0]);
        assert_int_equal(strlen(stopped.text[0]), length);
        assert_memory_equal(stopped.text[0], alone.text[0], length);
        assert_string_equal(stopped.finish[0], "stop");
    }
    ask(PROMPT, ", \"temperature\": 0, \"max_tokens\": 2", &cut);
    assert_string_equal(cut.finish[0], "length");
    assert_int_equal(cut.completion_tokens, 2);
    assert_memory_equal(cut.text[0], alone.text[0], strlen(cut.text[0]));
    /* one token that is wanted more than any other, twelve times and as often again */
    ask(PROMPT, GREEDY ", \"logit_bias\": {\"70\": 100}", &many);
    const size_t half = strlen(many.text[0]) / 2;
    assert_true(half >= 12);
    assert_memory_equal(many.text[0], many.text[0] + half, half);
    /* choices: the first is what one alone would be, the others are drawn apart */
    ask(PROMPT, DRAWN, &alone);
    ask(PROMPT, DRAWN ", \"n\": 4", &many);
    assert_string_equal(many.text[0], alone.text[0]);
    assert_string_not_equal(many.text[1], many.text[0]);
    assert_string_not_equal(many.text[2], many.text[1]);
    worker_stop();
}

/* The same request gives the same text beside any others, in any order. */
static void test_company(void **state)
{
    (void)state;
    answer alone[6], beside[6];
    char text[6][128], more[6][128], id[6][16];
    start(3, 256);
    for (int i = 0; i < 6; i++) {
        (void)snprintf(text[i], sizeof text[i], "%.*s", (int)test_int(5, 60), PROMPT);
        (void)snprintf(more[i], sizeof more[i],
                       ", \"temperature\": %s, \"seed\": %d, \"max_tokens\": %d",
                       i % 2 == 0 ? "0" : "1.2", i, (int)test_int(4, 30));
        (void)snprintf(id[i], sizeof id[i], "c%d", i);
        ask(text[i], more[i], &alone[i]);
    }
    for (int round = 0; round < 3; round++) {
        const int shift = (int)test_int(0, 5);
        for (int i = 0; i < 6; i++) {
            const int which = (i + shift) % 6;
            send_chat(id[which], "", text[which], more[which]);
        }
        int ended = 0;
        memset(beside, 0, sizeof beside);
        while (ended < 6) {
            cJSON *event = worker_event();
            const char *kind = worker_text_of(event, "event");
            const int which = worker_text_of(event, "id")[1] - '0';
            assert_true(which >= 0 && which < 6);
            if (strcmp(kind, "delta") == 0) {
                strncat(beside[which].text[0], worker_text_of(event, "content"), 1000);
            }
            ended += strcmp(kind, "done") == 0;
            assert_string_not_equal(kind, "error");
            cJSON_Delete(event);
        }
        for (int i = 0; i < 6; i++) {
            assert_string_equal(beside[i].text[0], alone[i].text[0]);
        }
    }
    worker_stop();
}

static void test_limits(void **state)
{
    (void)state;
    answer got;
    char text[2048];
    start(1, 64);
    memset(text, 0, sizeof text);
    for (int i = 0; i < 200; i++) {
        strncat(text, "many ", 8);
    }
    ask(text, GREEDY, &got);
    assert_string_equal(got.error, "invalid");
    assert_string_equal(got.param, "messages");
    ask("hi", ", \"temperature\": 0", &got); /* without max_tokens: to the context's end at most */
    assert_true(got.prompt_tokens + got.completion_tokens <= 64);
    send_chat("a", "", PROMPT, ", \"temperature\": 2, \"max_tokens\": 40");
    send_chat("a", "", PROMPT, GREEDY);
    read_answer("a", &got); /* the second has the id of the first, unless that was through */
    if (got.error[0] != '\0') {
        assert_string_equal(got.param, "id");
        read_answer("a", &got);
    }
    worker_stop();
}

static void test_turns(void **state)
{
    (void)state;
    bool has_ended[9] = {false};
    char id[16];
    start(2, 256);
    for (int i = 0; i < 8; i++) {
        (void)snprintf(id, sizeof id, "c%d", i);
        send_chat(id, "greedy", PROMPT, ", \"temperature\": 2, \"seed\": 3, \"max_tokens\": 40");
    }
    send_chat("c8", "modest", PROMPT, ", \"temperature\": 0, \"max_tokens\": 4");
    int ended = 0, before = 0;
    while (ended < 9) {
        cJSON *event = worker_event();
        if (strcmp(worker_text_of(event, "event"), "done") == 0) {
            const int which = worker_text_of(event, "id")[1] - '0';
            has_ended[which] = true;
            before += which != 8 && !has_ended[8];
            ended++;
        }
        cJSON_Delete(event);
    }
    assert_true(before <= 4); /* it had to wait for a place, not for all who came before */
    worker_stop();
}

static void test_cancel(void **state)
{
    (void)state;
    answer got;
    start(1, 256);
    send_chat("long", "", PROMPT, ", \"temperature\": 2, \"seed\": 3, \"max_tokens\": 200");
    send_chat("next", "", PROMPT, ", \"temperature\": 0, \"max_tokens\": 4");
    worker_send("{\"op\": \"cancel\", \"id\": \"long\"}\n");
    read_answer("long", &got);
    assert_true(got.error[0] == '\0' || strcmp(got.error, "interrupted") == 0);
    read_answer("next", &got);
    assert_string_equal(got.error, "");
    send_chat("end", "", PROMPT, ", \"temperature\": 0, \"max_tokens\": 8");
    worker_expect("delta");
    worker_ask_to_end(); /* what is there is answered, then it ends though its input is open */
    read_answer("end", &got);
    assert_string_equal(got.error, "");
    worker_wait();
}

int main(void)
{
    if (!lc_path_exists(LC_SOURCE_DIR "/models/sprout-3m/model.safetensors")) {
        print_message("models/sprout-3m has no weights\n");
        return 0;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines),   cmocka_unit_test(test_fields),
        cmocka_unit_test(test_answers), cmocka_unit_test(test_company),
        cmocka_unit_test(test_limits),  cmocka_unit_test(test_turns),
        cmocka_unit_test(test_cancel),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
