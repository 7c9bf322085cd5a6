/*
 * The inference worker on the device that LORAC_TEST_DEVICE names (emu without it), through its
 * lines: answers with several adapters beside the CPU's, and the same ones whatever comes and goes
 * beside them, adapters too. The same program runs on a GPU.
 */
#include <math.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "generation.h"
#include "ops/backend.h"
#include "parity.h"
#include "testing.h"
#include "worker_run.h"

#define CASE     "smollm3"
#define SLOTS    3
#define CONTEXT  96
#define CHOICES  2
#define REQUESTS 8
#define VALUES   256

static const char *model_dir;
static const char *adapter_dirs[OTHER_ADAPTERS]; /* of "a0", "a1", .. */

/* What no two logits are too close for. The first of each adapter have one prompt. */
static const struct {
    int adapter; /* -1: the base alone */
    const char *text, *more;
} requests[REQUESTS] = {
    {-1, "What is on the table?", ", \"temperature\": 0, \"max_tokens\": 16"},
    {0, "What is on the table?",
     ", \"temperature\": 0, \"max_tokens\": 16, \"logprobs\": true, \"top_logprobs\": 3"},
    {1, "What is on the table?", ", \"temperature\": 0, \"max_tokens\": 16"},
    {2, "What is on the table?", ", \"temperature\": 0, \"max_tokens\": 16"},
    {0, "What?", ", \"temperature\": 0.8, \"seed\": 5, \"n\": 2, \"max_tokens\": 12"},
    {1, "Once there was a cat that had the hat of a dog.",
     ", \"temperature\": 0, \"max_tokens\": 9, \"logprobs\": true"},
    {-1, "Count: 1, 2, 3",
     ", \"temperature\": 1.2, \"seed\": 3, \"top_p\": 0.7, \"max_tokens\": 20"},
    {-1, "a", ", \"temperature\": 0, \"max_tokens\": 20, \"logprobs\": true"},
};

typedef struct answer {
    char text[CHOICES][512], finish[CHOICES][16];
    double values[CHOICES][VALUES]; /* log probabilities, those of a token one after the other */
    int value_count[CHOICES];
    int prompt_tokens, completion_tokens;
    char error[32];
    bool has_ended;
} answer;

static lc_device_kind device_kind(void)
{
    return getenv("LORAC_TEST_DEVICE") != NULL ? parity_device() : LC_DEVICE_EMU;
}

/* ---- a model that can chat, and adapters, as directories ---- */

/* Each id of the case's vocabulary is one character; 1 ends a turn. */
static void write_tokenizer(const char *dir, int32_t vocab)
{
    char path[LC_MAX_PATH_BYTES];
    lc_text text;
    lc_text_init(&text);
    lc_text_addf(&text, "{\"version\": \"1.0\", \"added_tokens\": [{\"id\": 1, \"content\": "
                        "\"</s>\", \"single_word\": false, \"lstrip\": false, \"rstrip\": false, "
                        "\"normalized\": false, \"special\": true}], \"normalizer\": null, "
                        "\"pre_tokenizer\": null, \"post_processor\": null, \"decoder\": "
                        "{\"type\": \"Fuse\"}, \"model\": {\"type\": \"BPE\", \"merges\": [], "
                        "\"vocab\": {\"</s>\": 1");
    for (int32_t id = 0, code = 32; id < vocab; id++) {
        if (id == 1) {
            continue;
        }
        lc_text_addf(&text, ", \"\\u%04x\": %d", code, (int)id);
        code += code == 126 ? 0x100 - 126 : 1;
    }
    lc_text_addf(&text, "}}}");
    assert_ok(lc_path_join(dir, "tokenizer.json", path, &test_err));
    test_write_file(path, text.data, text.length);
    lc_text_release(&text);
}

static void link_file(const char *dir, const char *name)
{
    char from[LC_MAX_PATH_BYTES], to[LC_MAX_PATH_BYTES];
    (void)snprintf(from, sizeof from, "%s/tests/golden/cases/%s/model/%s", LC_SOURCE_DIR, CASE,
                   name);
    assert_ok(lc_path_join(dir, name, to, &test_err));
    assert_int_equal(symlink(from, to), 0);
}

static int make_directories(void **state)
{
    static const char chat_template[] = "{% for m in messages %}{{ m.content }}{% endfor %}!";
    char path[LC_MAX_PATH_BYTES];
    lc_model_config config;
    (void)state;
    model_dir = test_dir();
    link_file(model_dir, "config.json");
    link_file(model_dir, "model.safetensors");
    assert_ok(lc_model_config_load(model_dir, &config, &test_err));
    write_tokenizer(model_dir, config.vocab);
    assert_ok(lc_path_join(model_dir, "chat_template.jinja", path, &test_err));
    test_write_file(path, chat_template, sizeof chat_template - 1);
    for (int i = 0; i < OTHER_ADAPTERS; i++) {
        adapter_dirs[i] = test_dir();
        save_other_adapter(CASE, i, adapter_dirs[i]);
    }
    return 0;
}

/* ---- what is said, what is answered ---- */

static void start(lc_device_kind device, const char *dtype, int64_t adapters)
{
    worker_start(&(lc_worker_run_options){.model_dir = model_dir,
                                          .device = device,
                                          .dtype = dtype,
                                          .threads = 1,
                                          .slots = SLOTS,
                                          .context = CONTEXT,
                                          .adapters = adapters});
    worker_expect("ready");
}

static void send_adapter(const char *op, int which)
{
    char line[LC_MAX_PATH_BYTES + 128];
    (void)snprintf(line, sizeof line, "{\"op\": \"%s\", \"adapter\": \"a%d\", \"dir\": \"%s\"}\n",
                   op, which, adapter_dirs[which]);
    worker_send(line);
}

static void send_request(int which)
{
    char line[1024], adapter[16] = "null";
    if (requests[which].adapter >= 0) {
        (void)snprintf(adapter, sizeof adapter, "\"a%d\"", requests[which].adapter);
    }
    (void)snprintf(line, sizeof line,
                   "{\"op\": \"chat\", \"id\": \"%d\", \"adapter\": %s, \"messages\": [{\"role\": "
                   "\"user\", \"content\": \"%s\"}]%s}\n",
                   which, adapter, requests[which].text, requests[which].more);
    worker_send(line);
}

static void add_value(answer *to, int index, const cJSON *token)
{
    assert_in_range(to->value_count[index], 0, VALUES - 1);
    to->values[index][to->value_count[index]++] = lc_json_get(token, "logprob")->valuedouble;
}

static void take_delta(answer *to, int index, const cJSON *event)
{
    const cJSON *token, *other;
    assert_in_range(index, 0, CHOICES - 1);
    strncat(to->text[index], worker_text_of(event, "content"), 100);
    cJSON_ArrayForEach(token, lc_json_get(event, "logprobs"))
    {
        add_value(to, index, token);
        cJSON_ArrayForEach(other, lc_json_get(token, "top_logprobs"))
        {
            add_value(to, index, other);
        }
    }
}

/* One event into the answer that it belongs to; those of other chats ("x..") are dropped. What it
 * is goes to `kind`. */
static void take_event(answer *all, char kind[16])
{
    cJSON *event = worker_event();
    const char *id = worker_text_of(event, "id");
    answer *to = id[0] >= '0' && id[0] < '0' + REQUESTS ? &all[id[0] - '0'] : NULL;
    (void)snprintf(kind, 16, "%s", worker_text_of(event, "event"));
    if (to != NULL && strcmp(kind, "delta") == 0) {
        take_delta(to, worker_number_of(event, "index"), event);
    } else if (to != NULL && strcmp(kind, "finish") == 0) {
        (void)snprintf(to->finish[worker_number_of(event, "index")], 16, "%s",
                       worker_text_of(event, "finish_reason"));
    } else if (to != NULL) {
        to->prompt_tokens = worker_number_of(event, "prompt_tokens");
        to->completion_tokens = worker_number_of(event, "completion_tokens");
        (void)snprintf(to->error, sizeof to->error, "%s", worker_text_of(event, "code"));
        to->has_ended = true;
    }
    cJSON_Delete(event);
}

/* Events until one of this kind that belongs to no answer. */
static void take_until(answer *all, const char *wanted)
{
    char kind[16] = "";
    while (strcmp(kind, wanted) != 0) {
        take_event(all, kind);
    }
}

static void take_answer(answer *all, int which)
{
    char kind[16];
    while (!all[which].has_ended) {
        take_event(all, kind);
    }
}

/* Each request by itself, with all adapters loaded. */
static void ask_alone(lc_device_kind device, const char *dtype, answer *all)
{
    memset(all, 0, REQUESTS * sizeof *all);
    start(device, dtype, OTHER_ADAPTERS);
    for (int i = 0; i < OTHER_ADAPTERS; i++) {
        send_adapter("load", i);
        worker_expect("loaded");
    }
    for (int i = 0; i < REQUESTS; i++) {
        send_request(i);
        take_answer(all, i);
        assert_string_equal(all[i].error, "");
    }
    worker_stop();
}

static void expect_same(const answer *found, const answer *expected, int which)
{
    if (memcmp(found, expected, sizeof *found) != 0) {
        fail_msg("request %d beside others: \"%s\" \"%s\" %s, alone \"%s\" \"%s\"", which,
                 found->text[0], found->text[1], found->error, expected->text[0],
                 expected->text[1]);
    }
}

/* ---- tests ---- */

static void answers_are_the_cpus(void **state)
{
    (void)state;
    static answer expected[REQUESTS], found[REQUESTS];
    ask_alone(LC_DEVICE_CPU, "fp32", expected);
    ask_alone(device_kind(), "fp32", found);
    for (int i = 0; i < REQUESTS; i++) {
        assert_int_equal(found[i].prompt_tokens, strlen(requests[i].text) + 1);
        assert_int_equal(found[i].completion_tokens, expected[i].completion_tokens);
        for (int c = 0; c < CHOICES; c++) {
            assert_string_equal(found[i].text[c], expected[i].text[c]);
            assert_string_equal(found[i].finish[c], expected[i].finish[c]);
            assert_int_equal(found[i].value_count[c], expected[i].value_count[c]);
            for (int v = 0; v < found[i].value_count[c]; v++) {
                assert_true(fabs(found[i].values[c][v] - expected[i].values[c][v]) < 1e-4);
            }
        }
    }
    for (int i = 0; i < OTHER_ADAPTERS; i++) { /* else nothing would show that they are there */
        assert_string_not_equal(found[i].text[0], found[i + 1].text[0]);
        assert_string_not_equal(found[0].text[0], found[i + 1].text[0]);
    }
    assert_true(found[1].value_count[0] > 40);
    assert_string_not_equal(found[4].text[0], found[4].text[1]);
}

/* A stop string ends an answer where it begins, while others go on. */
static void stop_strings_are_found(void **state)
{
    (void)state;
    static answer whole[REQUESTS], cut[REQUESTS];
    lc_text line;
    lc_text_init(&line);
    memset(whole, 0, sizeof whole);
    memset(cut, 0, sizeof cut);
    start(device_kind(), "fp32", 0);
    send_request(0);
    take_answer(whole, 0);
    const char *stop = whole[0].text[0] + strlen(whole[0].text[0]) / 2;
    while ((*stop & 0xC0) == 0x80) { /* the middle of a character */
        stop++;
    }
    lc_text_addf(&line,
                 "{\"op\": \"chat\", \"id\": \"0\", \"messages\": [{\"role\": \"user\", "
                 "\"content\": \"%s\"}]%s, \"stop\": [",
                 requests[0].text, requests[0].more);
    lc_text_add_json_string(&line, stop, strlen(stop));
    lc_text_addf(&line, "]}\n");
    send_request(6);
    send_request(7);
    worker_send(line.data);
    take_answer(cut, 0);
    take_answer(cut, 6);
    take_answer(cut, 7);
    assert_string_equal(cut[0].finish[0], "stop");
    assert_int_equal(strlen(cut[0].text[0]), strstr(whole[0].text[0], stop) - whole[0].text[0]);
    assert_memory_equal(cut[0].text[0], whole[0].text[0], strlen(cut[0].text[0]));
    worker_stop();
    lc_text_release(&line);
}

static void send_noise(int number)
{
    char line[512];
    static const char *const adapters[] = {"null", "\"a0\"", "\"a1\""};
    (void)snprintf(line, sizeof line,
                   "{\"op\": \"chat\", \"id\": \"x%d\", \"adapter\": %s, \"messages\": [{\"role\": "
                   "\"user\", \"content\": \"%.*s\"}], \"temperature\": 1.5, \"seed\": %d}\n",
                   number, adapters[test_int(0, 2)], (int)test_int(1, 40),
                   "And then they all went home and were glad.", number);
    worker_send(line);
}

static void send_cancel(int number)
{
    char line[64];
    (void)snprintf(line, sizeof line, "{\"op\": \"cancel\", \"id\": \"x%d\"}\n", number);
    worker_send(line);
}

/* The requests in a random order, some at once and some when something is answered; others come,
 * and are cancelled after a while. */
static void run_round(const answer *alone)
{
    static answer beside[REQUESTS];
    int order[REQUESTS] = {0}, sent = 0, ended = 0, noise = 0;
    char kind[16];
    memset(beside, 0, sizeof beside);
    for (int i = 0; i < REQUESTS; i++) {
        const int at = (int)test_int(0, i);
        order[i] = order[at];
        order[at] = i;
    }
    while (ended < REQUESTS) {
        if (sent < REQUESTS && (sent == ended || test_int(0, 3) == 0)) {
            send_request(order[sent++]);
        }
        if (noise < 6 && test_int(0, 5) == 0) {
            send_noise(noise++);
        }
        if (noise > 0 && test_int(0, 5) == 0) {
            send_cancel((int)test_int(0, noise - 1));
        }
        take_event(beside, kind);
        ended = 0;
        for (int i = 0; i < sent; i++) {
            ended += beside[order[i]].has_ended;
        }
    }
    for (int i = 0; i < noise; i++) {
        send_cancel(i);
    }
    for (int i = 0; i < REQUESTS; i++) {
        expect_same(&beside[i], &alone[i], i);
    }
    worker_send("{\"op\": \"ping\"}\n");
    take_until(beside, "pong");
}

/* Those of the requests by themselves, in the type that a GPU has. */
static const answer *answers_alone(void)
{
    static answer alone[REQUESTS];
    if (!alone[0].has_ended) {
        ask_alone(device_kind(), "bf16", alone);
    }
    return alone;
}

static void company_changes_nothing(void **state)
{
    (void)state;
    const answer *alone = answers_alone();
    start(device_kind(), "bf16", OTHER_ADAPTERS);
    for (int i = OTHER_ADAPTERS; i-- > 0;) {
        send_adapter("load", i);
        worker_expect("loaded");
    }
    for (int round = 0; round < (getenv("EMU_CHECKED") != NULL ? 1 : 3); round++) {
        run_round(alone);
    }
    worker_stop();
}

/* Two places for three adapters: what a chat has stays until it has ended, and who comes into the
 * place finds nothing of the one before. */
static void adapters_come_and_go(void **state)
{
    (void)state;
    static answer beside[REQUESTS];
    const answer *alone = answers_alone();
    start(device_kind(), "bf16", 2);
    send_adapter("load", 0);
    worker_expect("loaded");
    for (int round = 0; round < 2; round++) {
        const int one = 1 + round % 2, other = 3 - one;
        memset(beside, 0, sizeof beside);
        send_adapter("load", one);
        send_request(one + 1);
        take_until(beside, "loaded");
        send_request(4);
        send_request(7);
        send_adapter("drop", one);
        send_adapter("load", other); /* perhaps the place is not free yet: an error */
        take_until(beside, "dropped");
        assert_true(beside[one + 1].has_ended);
        send_adapter("load", other);
        take_until(beside, "loaded");
        send_request(one + 1); /* is not there any more */
        send_request(other + 1);
        send_request(1);
        const answer kept = beside[one + 1];
        memset(&beside[one + 1], 0, sizeof beside[one + 1]);
        for (int which = 0; which < REQUESTS; which++) {
            if (which == 1 || which == 2 || which == 3 || which == 4 || which == 7) {
                take_answer(beside, which);
            }
        }
        assert_string_equal(beside[one + 1].error, "not_found");
        expect_same(&kept, &alone[one + 1], one + 1);
        expect_same(&beside[other + 1], &alone[other + 1], other + 1);
        expect_same(&beside[1], &alone[1], 1);
        expect_same(&beside[4], &alone[4], 4);
        expect_same(&beside[7], &alone[7], 7);
        send_adapter("drop", other);
        take_until(beside, "dropped");
    }
    worker_stop();
}

/* EMU_BREAKS_AT: whoever waits is told, and the worker ends, as none of its passes would work. */
static void a_broken_device_is_the_end(void **state)
{
    (void)state;
    static answer all[REQUESTS];
    memset(all, 0, sizeof all);
    start(device_kind(), "bf16", 0);
    send_request(0);
    send_request(7);
    take_answer(all, 0);
    take_answer(all, 7);
    assert_string_equal(all[0].error, "device");
    assert_string_equal(all[7].error, "device");
    worker_wait_for(LC_ERR_DEVICE);
}

int main(void)
{
    /* Other numbers of rows are proposed other algorithms, as by the library. */
    (void)setenv("EMU_CUBLASLT_BY_ROWS", "1", 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_are_the_cpus),
        cmocka_unit_test(stop_strings_are_found),
        cmocka_unit_test(company_changes_nothing),
        cmocka_unit_test(adapters_come_and_go),
    };
    const struct CMUnitTest broken[] = {cmocka_unit_test(a_broken_device_is_the_end)};
    return getenv("EMU_BREAKS_AT") != NULL ? cmocka_run_group_tests(broken, make_directories, NULL)
                                           : cmocka_run_group_tests(tests, make_directories, NULL);
}
