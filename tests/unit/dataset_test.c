/* Tokenized data sets and chat JSONL, end to end through the shipped tokenizer and template. */
#include "testing.h"

#include <math.h>
#include <unistd.h>

#include "base/fault.h"
#include "data/dataset.h"
#include "data/safetensors.h"

#define MODEL  LC_SOURCE_DIR "/models/sprout-3m"
#define SHARED LC_SOURCE_DIR "/../shared/data/datasets/sft"

static lc_tokenizer *tokenizer;
static lc_chat_template *chat_template;

static int load(void **state)
{
    (void)state;
    return lc_tokenizer_load(MODEL, &tokenizer, &test_err) == LC_OK &&
                   lc_chat_template_load(MODEL, &chat_template, &test_err) == LC_OK
               ? 0
               : -1;
}

static int unload(void **state)
{
    (void)state;
    lc_tokenizer_free(tokenizer);
    lc_chat_template_free(chat_template);
    return 0;
}

static const char *path_in(const char *dir, const char *name)
{
    static char path[LC_MAX_PATH_BYTES];
    assert_ok(lc_path_join(dir, name, path, &test_err));
    return path;
}

/* ---- tokenized ---- */

/* A tokenized file to be written; the tensors can be spoilt before. */
typedef struct tokenized {
    int32_t ids[12];
    float weights[12];
    int64_t offsets[5];
    lc_tensor_out tensors[3];
} tokenized;

static void make_tokenized(tokenized *t)
{
    *t = (tokenized){.ids = {5, 6, 7, 8, 9, 0, 1, 2, 3, 4, 5, 6},
                     .weights = {1, 1, 0, 0.5f, 1, 1, 1, 0, 1, 1, 1, 2},
                     .offsets = {0, 4, 6, 10, 12}};
    t->tensors[0] = (lc_tensor_out){"input_ids", LC_I32, 1, {12}, t->ids};
    t->tensors[1] = (lc_tensor_out){"loss_weights", LC_F32, 1, {12}, t->weights};
    t->tensors[2] = (lc_tensor_out){"offsets", LC_I64, 1, {5}, t->offsets};
}

static const char *write_tokenized(const tokenized *t, const char *dir)
{
    const char *path = path_in(dir, "t.safetensors");
    (void)unlink(path);
    assert_ok(lc_safetensors_write(path, t->tensors, 3, NULL, 0, NULL, NULL, &test_err));
    return path;
}

static void loads_tokenized(void **state)
{
    (void)state;
    tokenized t;
    lc_dataset d;
    make_tokenized(&t);
    const char *path = write_tokenized(&t, test_dir());
    const lc_dataset_reading reading = {.what = "Training file", .max_tokens = 100};
    assert_ok(lc_dataset_load(path, &reading, "/nowhere", 10, &d, &test_err));
    static const float weights[] = {0, 1, 0, 0.5f, 0, 1, 0, 0, 1, 1, 0, 2};
    assert_int_equal(d.example_count, 4);
    assert_int_equal(d.token_count, 12);
    assert_memory_equal(d.input_ids, t.ids, sizeof t.ids);
    assert_memory_equal(d.loss_weights, weights,
                        sizeof weights); /* first tokens are never targets */
    assert_memory_equal(d.offsets, t.offsets, sizeof t.offsets);
    assert_int_equal(d.longest, 4);
    assert_int_equal(d.target_count, 6);
    assert_int_equal(d.truncated_count, 0);
    uint8_t digest[32];
    assert_ok(lc_sha256_file(path, digest, NULL, &test_err));
    assert_memory_equal(d.sha256, digest, 32);
    lc_dataset_release(&d);
    assert_null(d.input_ids);
}

static void cuts_tokenized(void **state)
{
    (void)state;
    tokenized t;
    lc_dataset d;
    make_tokenized(&t);
    t.weights[7] = 1;
    const char *path = write_tokenized(&t, test_dir());
    static const int32_t ids[] = {5, 6, 7, 9, 0, 1, 2, 3, 5, 6};
    static const int64_t offsets[] = {0, 3, 5, 8, 10};
    assert_ok(lc_dataset_load_tokenized(path, 10, 3, &d, &test_err));
    assert_int_equal(d.token_count, 10);
    assert_memory_equal(d.input_ids, ids, sizeof ids);
    assert_memory_equal(d.offsets, offsets, sizeof offsets);
    assert_int_equal(d.truncated_count, 2);
    assert_int_equal(d.truncated_tokens, 2);
    assert_int_equal(d.longest, 3);
    lc_dataset_release(&d);
    assert_ok(lc_dataset_load_tokenized(path, 10, 4, &d, &test_err));
    assert_int_equal(d.truncated_count, 0);
    lc_dataset_release(&d);
    assert_fails(lc_dataset_load_tokenized(path, 10, 1, &d, &test_err), LC_ERR_INVALID,
                 "example 0 has no token to train on after it was cut");
}

static void spoil(tokenized *t, int how)
{
    switch (how) {
    case 0:
        t->tensors[0].name = "ids";
        break;
    case 1:
        t->tensors[0].dtype = LC_U32;
        break;
    case 2:
        t->tensors[1].shape[0] = 11;
        break;
    case 3:
        t->tensors[2].shape[0] = 1;
        break;
    case 4:
        t->tensors[2].rank = 0;
        break;
    case 5:
        t->offsets[0] = 1;
        break;
    case 6:
        t->offsets[4] = 11;
        break;
    case 7:
        t->offsets[2] = 4;
        break;
    case 8:
        t->offsets[2] = 3;
        break;
    case 9:
        t->offsets[1] = INT64_MAX;
        break;
    case 10:
        t->offsets[1] = INT64_MIN;
        break;
    case 11:
        t->ids[3] = -1;
        break;
    case 12:
        t->ids[3] = 10;
        break;
    case 13:
        t->weights[3] = -0.5f;
        break;
    case 14:
        t->weights[3] = NAN;
        break;
    case 15:
        t->weights[3] = INFINITY;
        break;
    default:
        t->weights[5] = 0;
        break;
    }
}

static void refuses_spoilt_tokenized(void **state)
{
    (void)state;
    static const char *const messages[] = {
        "no tensor input_ids",
        "tensor input_ids: expected one dimension of I32, found 1 of U32",
        "loss_weights has 11 values for 12 input_ids",
        "offsets has 1 values",
        "tensor offsets: expected one dimension of I64, found 0",
        "offsets run from 1 to 12",
        "offsets run from 0 to 11, expected 0 to the token count 12",
        "example 1 goes from offset 4 to 4",
        "example 1 goes from offset 4 to 3",
        "example 0 goes from offset 0 to 9223372036854775807",
        "example 0 goes from offset 0 to -9223372036854775808",
        "input_ids[3] is -1, outside the model's vocabulary of 10 tokens",
        "input_ids[3] is 10, outside",
        "loss_weights[3] is -0.5",
        "loss_weights[3] is nan",
        "loss_weights[3] is inf",
        "example 1 has no token to train on",
    };
    const char *dir = test_dir();
    for (int how = 0; how < 17; how++) {
        tokenized t;
        lc_dataset d;
        make_tokenized(&t);
        spoil(&t, how);
        const char *path = write_tokenized(&t, dir);
        assert_fails(lc_dataset_load_tokenized(path, 10, 100, &d, &test_err), LC_ERR_INVALID,
                     messages[how]);
        assert_non_null(strstr(test_err.message, "t.safetensors: "));
        assert_null(d.input_ids);
    }
}

/* A sparse file of one token and offsets for `examples` examples. */
static const char *write_sparse(const char *dir, int64_t examples)
{
    char text[512];
    const char *path = path_in(dir, "sparse.safetensors");
    const long long end = 8 * (examples + 1);
    const int length =
        snprintf(text + 8, sizeof text - 8,
                 "{\"offsets\":{\"dtype\":\"I64\",\"shape\":[%lld],\"data_offsets\":[0,%lld]},"
                 "\"input_ids\":{\"dtype\":\"I32\",\"shape\":[1],\"data_offsets\":[%lld,%lld]},"
                 "\"loss_weights\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[%lld,%lld]}}",
                 end / 8, end, end, end + 4, end + 4, end + 8);
    for (int i = 0; i < 8; i++) {
        text[i] = (char)((uint64_t)length >> (8 * i));
    }
    test_write_file(path, text, 8 + (size_t)length);
    assert_int_equal(truncate(path, 8 + length + end + 8), 0);
    return path;
}

/* At the limit its 16 GiB are asked for; that allocation fails here, after those before it. */
static void most_examples(void **state)
{
    (void)state;
    const char *dir = test_dir();
    lc_dataset d;
    const char *path = write_sparse(dir, LC_MAX_EXAMPLES);
    int64_t at = 0;
    do {
        lc_err_clear(&test_err);
        lc_fault_set(LC_FAULT_ALLOC, ++at, 0, false);
        const lc_code code = lc_dataset_load_tokenized(path, 10, 100, &d, &test_err);
        lc_fault_set(LC_FAULT_NONE, 0, 0, false);
        assert_int_equal(code, LC_ERR_MEMORY);
    } while (strstr(test_err.message, "out of memory for 17179869192 bytes") == NULL);
    assert_fails(
        lc_dataset_load_tokenized(write_sparse(dir, LC_MAX_EXAMPLES + 1), 10, 100, &d, &test_err),
        LC_ERR_INVALID, "offsets has 2147483650 values: the examples are one less, 1 to");
}

/* ---- JSONL ---- */

/* A file of `count` plain rows; row `odd` (from 0) is `text` instead. */
static const char *write_rows(const char *dir, int count, int odd, const char *text)
{
    const char *path = path_in(dir, "rows.jsonl");
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    for (int i = 0; i < count; i++) {
        if (i == odd) {
            (void)fprintf(file, "%s\n", text);
        } else {
            (void)fprintf(
                file,
                "{\"messages\":[{\"role\":\"user\",\"content\":\"%d\"},{\"role\":\"assistant\","
                "\"content\":\"n%d\"}]}%s",
                i, i, i % 2 == 0 ? "\n" : "\r\n");
        }
    }
    assert_int_equal(fclose(file), 0);
    return path;
}

static lc_code load_rows(const char *path, int64_t max_tokens, lc_dataset *d)
{
    const lc_dataset_reading reading = {.what = "Training file", .max_tokens = max_tokens};
    return lc_dataset_load_jsonl(path, &reading, tokenizer, chat_template, d, &test_err);
}

/* Example e decoded, and its trained part decoded, against the expected texts. */
static void shows(const lc_dataset *d, int64_t e, const char *whole, const char *trained)
{
    int32_t ids[512];
    size_t count = 0, bytes = 0;
    char *text = NULL;
    const int64_t begin = d->offsets[e], end = d->offsets[e + 1];
    assert_ok(lc_tokenizer_decode(tokenizer, d->input_ids + begin, (size_t)(end - begin), false,
                                  &text, &bytes, &test_err));
    assert_string_equal(text, whole);
    lc_free(text);
    for (int64_t t = begin; t < end; t++) {
        if (d->loss_weights[t] > 0.0f) {
            ids[count++] = d->input_ids[t];
        }
    }
    assert_ok(lc_tokenizer_decode(tokenizer, ids, count, false, &text, &bytes, &test_err));
    assert_string_equal(text, trained);
    lc_free(text);
}

static void trains_on_the_assistant_only(void **state)
{
    (void)state;
    lc_dataset d;
    const char *path = write_rows(test_dir(), 11, 10,
                                  "{\"messages\":[{\"role\":\"system\",\"content\":\"S\"},{"
                                  "\"role\":\"user\",\"content\":\"U\"},{\"role\":"
                                  "\"assistant\",\"content\":\"zero\",\"weight\":0},{\"role\":"
                                  "\"user\",\"content\":\"V\"},{\"role\":"
                                  "\"assistant\",\"content\":\"\\nOne<|im_end|>\\n\",\"weight\":1},"
                                  "{\"role\":\"assistant\",\"tool_calls\":"
                                  "[{\"id\":\"1\",\"type\":\"function\",\"function\":"
                                  "{\"name\":\"f\",\"arguments\":\"{}\"}}]}],"
                                  "\"tools\":[{\"type\":\"function\",\"function\":"
                                  "{\"name\":\"f\"}}]}");
    const lc_dataset_reading reading = {.what = "Training file", .max_tokens = 1000};
    assert_ok(
        lc_dataset_load(path, &reading, MODEL, lc_tokenizer_vocab_size(tokenizer), &d, &test_err));
    assert_int_equal(d.example_count, 11);
    shows(&d, 3, "<|im_start|>user\n3<|im_end|>\n<|im_start|>assistant\nn3<|im_end|>\n",
          "n3<|im_end|>");
    shows(
        &d, 10,
        "<|im_start|>tools\n{\"type\": \"function\", \"function\": {\"name\": \"f\"}}\n<|im_end|>\n"
        "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nU<|im_end|>\n<|im_start|>"
        "assistant\nzero<|im_end|>\n"
        "<|im_start|>user\nV<|im_end|>\n<|im_start|>assistant\n\nOne<|im_end|>\n<|im_end|>\n"
        "<|im_start|>assistant\n<tool_call>f\n{}</tool_call><|im_end|>\n",
        "\nOne<|im_end|>\n<|im_end|><tool_call>f\n{}</tool_call><|im_end|>");
    uint8_t digest[32];
    assert_ok(lc_sha256_file(path, digest, NULL, &test_err));
    assert_memory_equal(d.sha256, digest, 32);
    int64_t targets = 0, longest = 0;
    for (int64_t e = 0; e < d.example_count; e++) {
        const int64_t length = d.offsets[e + 1] - d.offsets[e];
        longest = length > longest ? length : longest;
        assert_true(d.loss_weights[d.offsets[e]] <= 0.0f);
    }
    for (int64_t t = 0; t < d.token_count; t++) {
        targets += d.loss_weights[t] > 0.0f;
    }
    assert_int_equal(d.target_count, targets);
    assert_int_equal(d.longest, longest);
    lc_dataset_release(&d);
    assert_fails(lc_dataset_load(path, &reading, MODEL, 100, &d, &test_err), LC_ERR_INVALID,
                 "the model a vocabulary of 100");
    assert_fails(lc_dataset_load(path, &reading, test_dir(), 100, &d, &test_err), LC_ERR_NOT_FOUND,
                 "tokenizer.json");
}

/* A token with any text of the message is trained: one that begins in the role header, and one that
 * goes on behind the message. */
static void tokens_across_the_border(void **state)
{
    (void)state;
    static const char text[] = "{\"messages\":[{\"role\":\"user\",\"content\":\"U\"},{\"role\":"
                               "\"assistant\",\"content\":\"Xyz\"}]}";
    lc_text json;
    lc_text_init(&json);
    lc_text_addf(&json, "{\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false,"
                        "\"use_regex\":false},"
                        "\"decoder\":{\"type\":\"ByteLevel\"},\"model\":{\"merges\":[\"\xc4\x8a "
                        "X\",\"> \xc4\x8a\"],"
                        "\"vocab\":{\"\xc4\x8aX\":500,\">\xc4\x8a\":501,\"\xc4\x8a\":10");
    for (int byte = 33; byte < 127; byte++) {
        lc_text_addf(&json, byte == '"' || byte == '\\' ? ",\"\\%c\":%d" : ",\"%c\":%d", byte,
                     byte);
    }
    lc_text_addf(&json, "}}}");
    const char *dir = test_dir();
    test_write_file(path_in(dir, "tokenizer.json"), json.data, json.length);
    lc_text_release(&json);
    lc_tokenizer *bytes_only = NULL;
    lc_chat_row row;
    lc_tokens tokens = {0};
    float *weights = NULL;
    assert_ok(lc_tokenizer_load(dir, &bytes_only, &test_err));
    assert_ok(lc_chat_row_parse(text, strlen(text), 1, &row, &test_err));
    assert_ok(lc_chat_row_tokenize(&row, bytes_only, chat_template, &tokens, &weights, &test_err));
    static const int32_t tail[] = {'t', 500, 'y', 'z', '<', '|', 'i',
                                   'm', '_', 'e', 'n', 'd', '|', 501};
    const size_t first = tokens.count - 14;
    assert_memory_equal(tokens.ids + first, tail, sizeof tail);
    for (size_t i = 0; i < tokens.count; i++) {
        assert_int_equal(weights[i] > 0.5f, i >= first + 1);
    }
    lc_free(weights);
    lc_tokens_release(&tokens);
    lc_chat_row_release(&row);
    lc_tokenizer_free(bytes_only);
}

static void cuts_rows(void **state)
{
    (void)state;
    lc_dataset whole, cut;
    const char *path = write_rows(test_dir(), 12, -1, NULL);
    assert_ok(load_rows(path, 1000, &whole));
    const int64_t longest = whole.longest;
    assert_ok(load_rows(path, longest, &cut));
    assert_int_equal(cut.truncated_count, 0);
    lc_dataset_release(&cut);
    assert_ok(load_rows(path, longest - 2, &cut));
    int64_t rows = 0, tokens = 0;
    for (int64_t e = 0; e < 12; e++) {
        const int64_t full = whole.offsets[e + 1] - whole.offsets[e];
        const int64_t kept = full < longest - 2 ? full : longest - 2;
        rows += kept < full;
        tokens += full - kept;
        assert_int_equal(cut.offsets[e + 1] - cut.offsets[e], kept);
        assert_memory_equal(cut.input_ids + cut.offsets[e], whole.input_ids + whole.offsets[e],
                            (size_t)kept * sizeof(int32_t));
    }
    assert_int_equal(cut.truncated_count, rows);
    assert_int_equal(cut.truncated_tokens, tokens);
    assert_int_equal(cut.longest, longest - 2);
    lc_dataset_release(&cut);
    assert_fails(
        load_rows(path, 5, &cut), LC_ERR_INVALID,
        "line 1: no token to train on: the assistant's part lies behind the longest length");
    assert_int_equal(test_err.line, 1);
    lc_dataset_release(&whole);
}

static void refuses_rows(void **state)
{
    (void)state;
    static const struct {
        const char *row, *message;
        lc_code code;
    } cases[] = {
        {"", "line 5: the line is blank [blank_line]", LC_ERR_INVALID},
        {"{", "line 5", LC_ERR_INVALID},
        {"{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}",
         "line 5, messages: there is no assistant message [no_trained_message]", LC_ERR_INVALID},
        {"{\"messages\":[{\"role\":\"assistant\",\"content\":\"x\",\"weight\":0}]}",
         "line 5, messages: all assistant messages have weight 0", LC_ERR_INVALID},
        {"{\"messages\":[{\"role\":\"bot\"}]}", "line 5, messages[0].role: \"bot\"",
         LC_ERR_INVALID},
        {"{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\"}]},"
         "{\"role\":\"assistant\",\"content\":\"x\"}]}",
         "line 5, messages[0].content", LC_ERR_UNSUPPORTED},
    };
    const char *dir = test_dir();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        lc_dataset d;
        const char *path = write_rows(dir, 12, 4, cases[i].row);
        assert_fails(load_rows(path, 1000, &d), cases[i].code, cases[i].message);
        assert_int_equal(test_err.line, 5);
        assert_true(strncmp(test_err.message, path, strlen(path)) == 0);
        assert_null(d.input_ids);
    }
}

static void fewest_rows(void **state)
{
    (void)state;
    const char *dir = test_dir();
    for (int count = 9; count <= 11; count++) {
        lc_dataset d;
        const char *path = write_rows(dir, count, -1, NULL);
        if (count >= 10) {
            assert_ok(load_rows(path, 1000, &d));
            assert_int_equal(d.example_count, count);
            lc_dataset_release(&d);
        } else {
            assert_fails(load_rows(path, 1000, &d), LC_ERR_INVALID,
                         "Training file has 9 example(s), but must have at least 10 examples");
            assert_string_equal(test_err.param, "n_examples");
        }
    }
    lc_dataset d;
    const lc_dataset_reading reading = {.what = "Validation file", .max_tokens = 9};
    assert_fails(lc_dataset_load_jsonl(write_rows(dir, 0, -1, NULL), &reading, tokenizer,
                                       chat_template, &d, &test_err),
                 LC_ERR_INVALID, "Validation file has 0 example(s)");
}

static void saves_and_loads(void **state)
{
    (void)state;
    lc_dataset d, back;
    const char *dir = test_dir();
    assert_ok(load_rows(write_rows(dir, 40, -1, NULL), 1000, &d));
    const char *path = path_in(dir, "cache.safetensors");
    assert_ok(lc_dataset_save(&d, path, lc_tokenizer_sha256(tokenizer), NULL, &test_err));
    assert_ok(lc_dataset_load_tokenized(path, lc_tokenizer_vocab_size(tokenizer), 1000, &back,
                                        &test_err));
    assert_int_equal(back.example_count, d.example_count);
    assert_int_equal(back.token_count, d.token_count);
    assert_int_equal(back.target_count, d.target_count);
    assert_int_equal(back.longest, d.longest);
    assert_memory_equal(back.input_ids, d.input_ids, (size_t)d.token_count * sizeof(int32_t));
    assert_memory_equal(back.loss_weights, d.loss_weights, (size_t)d.token_count * sizeof(float));
    assert_memory_equal(back.offsets, d.offsets, (size_t)(d.example_count + 1) * sizeof(int64_t));
    lc_safetensors *file = NULL;
    char hex[65];
    assert_ok(lc_safetensors_open(path, &file, &test_err));
    lc_hex(d.sha256, 32, hex);
    assert_string_equal(lc_safetensors_metadata(file, "source_sha256"), hex);
    lc_hex(lc_tokenizer_sha256(tokenizer), 32, hex);
    assert_string_equal(lc_safetensors_metadata(file, "tokenizer_sha256"), hex);
    lc_safetensors_close(file);
    lc_dataset_release(&d);
    lc_dataset_release(&back);
}

/* Files as people write them; rows are counted by a plain look at the lines. */
static void real_files(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int64_t rows;
        const char *message; /* NULL: loads */
    } files[] = {
        {"drone_training.jsonl", 103, NULL},
        {"gsm8k_chat_train.jsonl", 449, NULL},
        {"gsm8k_chat_validation.jsonl", 50, NULL},
        {"stock_toolcall_training.jsonl", 86, NULL},
        {"mistral_client_weight.jsonl", 0,
         "line 3, messages: all assistant messages have weight 0"},
        {"mslearn_weight_multiturn.jsonl", 0, "has 3 example(s)"},
        {"stock_toolcall_validation.jsonl", 10, NULL},
        {"toy_chat_fine_tuning.jsonl", 0, "has 5 example(s)"},
    };
    if (access(SHARED, R_OK) != 0) {
        print_message("skipped: no real data sets in " SHARED "\n");
        skip();
    }
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        lc_dataset d;
        const char *path = path_in(SHARED, files[i].name);
        if (files[i].rows > 0) {
            assert_ok(load_rows(path, 100000, &d));
            assert_int_equal(d.example_count, files[i].rows);
            lc_dataset_release(&d);
        } else {
            assert_fails(load_rows(path, 100000, &d), LC_ERR_INVALID, files[i].message);
        }
    }
}

static void survives_faults(void **state)
{
    (void)state;
    const char *dir = test_dir();
    char rows[LC_MAX_PATH_BYTES], cache[LC_MAX_PATH_BYTES];
    (void)snprintf(rows, sizeof rows, "%s", write_rows(dir, 10, -1, NULL));
    (void)snprintf(cache, sizeof cache, "%s", path_in(dir, "cache.safetensors"));
    for (int kind = 0; kind < 2; kind++) {
        int64_t at = 1;
        for (lc_code code = LC_ERR_IO; code != LC_OK; at++) {
            lc_dataset d = {0}, back = {0};
            (void)unlink(cache);
            lc_err_clear(&test_err);
            lc_fault_set(kind == 0 ? LC_FAULT_ALLOC : LC_FAULT_IO, at, 5 /* EIO */, false);
            code = load_rows(rows, 1000, &d);
            if (code == LC_OK) {
                code = lc_dataset_save(&d, cache, lc_tokenizer_sha256(tokenizer), NULL, &test_err);
            }
            if (code == LC_OK) {
                code = lc_dataset_load_tokenized(cache, 100000, 1000, &back, &test_err);
            }
            lc_fault_set(LC_FAULT_NONE, 0, 0, false);
            if (code != LC_OK && code != (kind == 0 ? LC_ERR_MEMORY : LC_ERR_IO)) {
                fail_msg("fault %d: %s", (int)at, test_err.message);
            }
            lc_dataset_release(&d);
            lc_dataset_release(&back);
        }
        assert_true(at > 10);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loads_tokenized),
        cmocka_unit_test(cuts_tokenized),
        cmocka_unit_test(refuses_spoilt_tokenized),
        cmocka_unit_test(most_examples),
        cmocka_unit_test(trains_on_the_assistant_only),
        cmocka_unit_test(tokens_across_the_border),
        cmocka_unit_test(cuts_rows),
        cmocka_unit_test(refuses_rows),
        cmocka_unit_test(fewest_rows),
        cmocka_unit_test(saves_and_loads),
        cmocka_unit_test(real_files),
        cmocka_unit_test(survives_faults),
    };
    return cmocka_run_group_tests(tests, load, unload);
}
