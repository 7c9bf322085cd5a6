/* Reading tokenizer.json: what is refused by name, missing bytes, limits at n-1, n and n+1. */
#include "tokenizer_files.h"

#include <unistd.h>

#include "lorac/mem.h"
#include "text/tokenizer_internal.h"

#define MODEL_WITH(rest) \
    "{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"ab\":2},\"merges\":[]" rest "}"

static void refuses_by_name(void **state)
{
    (void)state;
    static const struct {
        parts p;
        lc_code code;
        const char *message;
    } cases[] = {
        {{.normalizer = "{\"type\":\"Lowercase\"}"},
         LC_ERR_UNSUPPORTED,
         "normalizer type \"Lowercase\" is not supported"},
        {{.normalizer = "{}"}, LC_ERR_INVALID, "normalizer: \"type\" is missing"},
        {{.normalizer = "5"}, LC_ERR_INVALID, "normalizer is not an object"},
        {{.normalizer = "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Sequence\","
                        "\"normalizers\":[{\"type\":\"Nmt\"}]}]}"},
         LC_ERR_UNSUPPORTED,
         "normalizer type \"Nmt\""},
        {{.normalizer = "{\"type\":\"Prepend\",\"prepend\":\"\"}"},
         LC_ERR_UNSUPPORTED,
         "an empty Prepend"},
        {{.normalizer = "{\"type\":\"Replace\",\"content\":\"\",\"pattern\":{\"String\":\"\"}}"},
         LC_ERR_UNSUPPORTED,
         "an empty pattern"},
        {{.normalizer = "{\"type\":\"Replace\",\"content\":\"\",\"pattern\":{\"Regex\":\"a*\"}}"},
         LC_ERR_UNSUPPORTED,
         "normalizer Replace: it can match an empty text"},
        {{.pre_tokenizer = "{\"type\":\"Whitespace\"}"},
         LC_ERR_UNSUPPORTED,
         "pre_tokenizer type \"Whitespace\" is not supported"},
        {{.pre_tokenizer = "{\"type\":\"a\\nb\"}"}, LC_ERR_UNSUPPORTED, "\"(unprintable)\""},
        {{.pre_tokenizer = "{\"type\":\"Metaspace\",\"replacement\":\"ab\"}"},
         LC_ERR_INVALID,
         "\"replacement\" is not one character"},
        {{.pre_tokenizer =
              "{\"type\":\"Metaspace\",\"replacement\":\"_\",\"prepend_scheme\":\"last\"}"},
         LC_ERR_UNSUPPORTED,
         "this prepend_scheme"},
        {{.pre_tokenizer =
              "{\"type\":\"Metaspace\",\"replacement\":\"_\",\"add_prefix_space\":false}"},
         LC_ERR_INVALID,
         "add_prefix_space false and prepend_scheme \"always\""},
        {{.pre_tokenizer = "{\"type\":\"Punctuation\",\"behavior\":\"Bent\"}"},
         LC_ERR_UNSUPPORTED,
         "the behavior \"Bent\""},
        {{.pre_tokenizer = SPLIT("^a", "\"behavior\":\"Isolated\"")},
         LC_ERR_UNSUPPORTED,
         "pre_tokenizer Split: an anchor"},
        {{.pre_tokenizer = "{\"type\":\"Split\",\"pattern\":{},\"behavior\":\"Isolated\"}"},
         LC_ERR_INVALID,
         "Regex"},
        {{.decoder = "{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Fuse\"},{\"type\":"
                     "\"ByteFallback\"}]}"},
         LC_ERR_UNSUPPORTED,
         "a step behind Fuse or ByteLevel"},
        {{.decoder = "{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"ByteFallback\"},{\"type\":"
                     "\"ByteFallback\"}]}"},
         LC_ERR_UNSUPPORTED,
         "the same step twice"},
        {{.decoder = "{\"type\":\"Strip\",\"content\":\" \",\"start\":0,\"stop\":1}"},
         LC_ERR_UNSUPPORTED,
         "Strip at the end"},
        {{.decoder = "{\"type\":\"Replace\",\"content\":\"\",\"pattern\":{\"Regex\":\"a\"}}"},
         LC_ERR_UNSUPPORTED,
         "Replace with a Regex"},
        {{.post_processor =
              "{\"type\":\"Sequence\",\"processors\":[{\"type\":\"ByteLevel\"},{\"type\":"
              "\"ByteLevel\"}]}"},
         LC_ERR_UNSUPPORTED,
         "a second ByteLevel with trim_offsets"},
        {{.decoder = "{\"type\":\"WordPiece\"}"}, LC_ERR_UNSUPPORTED, "decoder type \"WordPiece\""},
        {{.post_processor = "{\"type\":\"BertProcessing\"}"},
         LC_ERR_UNSUPPORTED,
         "post_processor type \"BertProcessing\""},
        {{.post_processor =
              "{\"type\":\"TemplateProcessing\",\"single\":[],\"special_tokens\":{}}"},
         LC_ERR_UNSUPPORTED,
         "this TemplateProcessing"},
        {{.post_processor =
              "{\"type\":\"TemplateProcessing\",\"single\":[{\"Sequence\":{\"id\":\"B\"}}]}"},
         LC_ERR_UNSUPPORTED,
         "this TemplateProcessing"},
        {{.post_processor =
              "{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"x\"}}],"
              "\"special_tokens\":{\"x\":{\"ids\":[257]}}}"},
         LC_ERR_INVALID,
         "a special token's id"},
        {{.model = "{\"type\":\"Unigram\"}"},
         LC_ERR_UNSUPPORTED,
         "model type \"Unigram\" is not supported"},
        {{.model = MODEL_WITH(",\"dropout\":0.1")}, LC_ERR_UNSUPPORTED, "model: dropout"},
        {{.model = MODEL_WITH(",\"continuing_subword_prefix\":\"##\"")},
         LC_ERR_UNSUPPORTED,
         "subword_prefix"},
        {{.model = MODEL_WITH(",\"end_of_word_suffix\":\"</w>\"")},
         LC_ERR_UNSUPPORTED,
         "end_of_word_suffix"},
        {{.model = "{\"vocab\":{},\"merges\":[]}"}, LC_ERR_INVALID, "0 vocabulary entries"},
        {{.model = "{\"vocab\":{\"a\":-1},\"merges\":[]}"}, LC_ERR_INVALID, "not an integer"},
        {{.model = "{\"vocab\":{\"a\":0.5},\"merges\":[]}"}, LC_ERR_INVALID, "not an integer"},
        {{.model = "{\"vocab\":{\"a\":4194304},\"merges\":[]}"}, LC_ERR_INVALID, "0..4194303"},
        {{.model = "{\"vocab\":{\"a\":1,\"b\":1},\"merges\":[]}"}, LC_ERR_INVALID, "have the id 1"},
        {{.model = "{\"vocab\":{\"a\":1},\"merges\":[\"a\"]}"},
         LC_ERR_INVALID,
         "merges[0] does not join"},
        {{.model = "{\"vocab\":{\"a\":1},\"merges\":[\"a a\"]}"},
         LC_ERR_INVALID,
         "merges[0] does not join"},
        {{.model = "{\"vocab\":{\"a\":1},\"merges\":[[\"a\"]]}"},
         LC_ERR_INVALID,
         "merges[0] does not join"},
        {{.model = "{\"vocab\":{\"a\":1,\"aa\":2},\"merges\":[\"a a\",5]}"},
         LC_ERR_INVALID,
         "merges[1]"},
        {{.added = "[{\"id\":257}]"}, LC_ERR_INVALID, "content"},
        {{.added = "[{\"content\":\"x\"}]"}, LC_ERR_INVALID, "an entry has no id"},
        {{.added = "[{\"id\":257,\"content\":\"\"}]"},
         LC_ERR_INVALID,
         "an added token has no content"},
        {{.normalizer = "{\"type\":\"NFC\"}",
          .added = "[{\"id\":257,\"content\":\"e\\u0303\"},{\"id\":258,\"content\":\"\\u1ebd\"}]"},
         LC_ERR_INVALID,
         "the added tokens 25"},
        {{.normalizer = "{\"type\":\"Replace\",\"content\":\"\",\"pattern\":{\"String\":\"<x>\"}}",
          .added = "[{\"id\":257,\"content\":\"<x>\"}]"},
         LC_ERR_INVALID,
         "the normalizer leaves nothing of it"},
        {{.added = "[{\"id\":258,\"content\":\"<x>\"}]"},
         LC_ERR_UNSUPPORTED,
         "has id 258 where 257 would follow"},
        {{.added = "[{\"id\":5,\"content\":\"a\"}]"},
         LC_ERR_UNSUPPORTED,
         "has id 5 where 97 would follow"},
        {{.added = "[{\"id\":97,\"content\":\"a\"},{\"id\":97,\"content\":\"a\"}]"},
         LC_ERR_INVALID,
         "twice"},
        {{.added = "[{\"id\":257,\"content\":\"<x>\",\"special\":true},"
                   "{\"id\":258,\"content\":\"<x>\",\"special\":false}]"},
         LC_ERR_INVALID,
         "added token \"<x>\" is there twice"},
    };
    lc_tokenizer *tokenizer = NULL;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        write_parts(cases[i].p);
        assert_fails(lc_tokenizer_load(dir, &tokenizer, &test_err), cases[i].code,
                     cases[i].message);
        assert_non_null(strstr(test_err.message, "tokenizer.json"));
        assert_null(tokenizer);
    }
    write_file("[]", 2);
    assert_fails(lc_tokenizer_load(dir, &tokenizer, &test_err), LC_ERR_INVALID,
                 "not a JSON object");
    write_file("{}", 2);
    assert_fails(lc_tokenizer_load(dir, &tokenizer, &test_err), LC_ERR_INVALID,
                 "\"model\" is missing");
    write_file("{", 1);
    assert_fails(lc_tokenizer_load(dir, &tokenizer, &test_err), LC_ERR_INVALID, "tokenizer.json");
    assert_fails(lc_tokenizer_load("/nowhere", &tokenizer, &test_err), LC_ERR_NOT_FOUND,
                 "/nowhere");
}

/* A byte without a token is dropped, as in Hugging Face; its neighbours meet. */
static void bytes_without_a_token(void **state)
{
    (void)state;
    lc_tokenizer *tokenizer =
        load_parts((parts){.model = "{\"vocab\":{\"a\":0,\"b\":1,\"ab\":2},\"merges\":[\"a b\"]}"});
    assert_string_equal(ids_of(tokenizer, "a-b", false), "2");
    assert_string_equal(ids_of(tokenizer, "--", false), "");
    lc_tokenizer_free(tokenizer);
}

static void limits(void **state)
{
    (void)state;
    lc_text text;
    lc_tokenizer *tokenizer = NULL;
    for (int extra = -1; extra <= 1; extra++) { /* steps of the pre-tokenizer */
        lc_text_init(&text);
        lc_text_addf(&text, "{\"type\":\"Sequence\",\"pretokenizers\":[");
        for (int i = 0; i < LC_MAX_STEPS - 1 /* ByteLevel is one */ + extra; i++) {
            lc_text_addf(&text, "{\"type\":\"Digits\",\"individual_digits\":true},");
        }
        lc_text_addf(&text, BYTE_LEVEL "]}");
        write_parts((parts){.pre_tokenizer = text.data});
        lc_text_release(&text);
        if (extra <= 0) {
            assert_ok(lc_tokenizer_load(dir, &tokenizer, &test_err));
            assert_string_equal(ids_of(tokenizer, "ab1", false), "256 49");
            lc_tokenizer_free(tokenizer);
        } else {
            assert_fails(lc_tokenizer_load(dir, &tokenizer, &test_err), LC_ERR_UNSUPPORTED,
                         "more than 16 steps");
        }
    }
    for (int extra = -1; extra <= 1; extra++) { /* special tokens around the text */
        lc_text_init(&text);
        lc_text_addf(
            &text, "{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"x\"}},"
                   "{\"Sequence\":{\"id\":\"A\"}}],\"special_tokens\":{\"x\":{\"ids\":[1");
        for (int i = 1; i < LC_MAX_AFFIX_TOKENS + extra; i++) {
            lc_text_addf(&text, ",1");
        }
        lc_text_addf(&text, "]}}}");
        write_parts((parts){.post_processor = text.data});
        lc_text_release(&text);
        if (extra <= 0) {
            assert_ok(lc_tokenizer_load(dir, &tokenizer, &test_err));
            lc_tokenizer_free(tokenizer);
        } else {
            assert_fails(lc_tokenizer_load(dir, &tokenizer, &test_err), LC_ERR_UNSUPPORTED,
                         "more than 16 special tokens");
        }
    }
    for (int extra = -1; extra <= 1; extra++) { /* added tokens */
        lc_text_init(&text);
        for (int i = 0; i < LC_MAX_ADDED_TOKENS + extra; i++) {
            lc_text_addf(&text, "%s{\"id\":%d,\"content\":\"<%d>\"}", i > 0 ? "," : "[", 257 + i,
                         i);
        }
        lc_text_addf(&text, "]");
        write_parts((parts){.added = text.data});
        lc_text_release(&text);
        if (extra <= 0) {
            assert_ok(lc_tokenizer_load(dir, &tokenizer, &test_err));
            assert_string_equal(ids_of(tokenizer, "<60000><1", false), "60257 60 49");
            lc_tokenizer_free(tokenizer);
        } else {
            assert_fails(lc_tokenizer_load(dir, &tokenizer, &test_err), LC_ERR_INVALID,
                         "65537 added tokens");
        }
    }
    /* The largest id; one more is refused in refuses_by_name. */
    tokenizer = load_parts((parts){.model = "{\"vocab\":{\"a\":4194303},\"merges\":[]}"});
    assert_int_equal(lc_tokenizer_vocab_size(tokenizer), 4194304);
    assert_string_equal(ids_of(tokenizer, "a", false), "4194303");
    lc_tokenizer_free(tokenizer);
    char path[LC_MAX_PATH_BYTES];
    assert_ok(lc_path_join(dir, "tokenizer.json", path, &test_err));
    assert_int_equal(truncate(path, (off_t)LC_MAX_TOKENIZER_BYTES + 1), 0);
    assert_fails(lc_tokenizer_load(dir, &tokenizer, &test_err), LC_ERR_INVALID, "tokenizer.json");
    assert_int_equal(truncate(path, 0), 0);
}

/* At the limit the merges are read (and the first is none); beyond it they are not looked at. */
static void most_merges(void **state)
{
    (void)state;
    lc_tokenizer *tokenizer = NULL;
    for (int64_t extra = 0; extra <= 1; extra++) {
        lc_text text;
        lc_text_init(&text);
        lc_text_addf(&text, "{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[0");
        for (int64_t i = 1; i < LC_MAX_MERGES + extra; i++) {
            lc_text_add(&text, ",0", 2);
        }
        lc_text_addf(&text, "]}");
        write_parts((parts){.model = text.data});
        lc_text_release(&text);
        assert_fails(lc_tokenizer_load(dir, &tokenizer, &test_err), LC_ERR_INVALID,
                     extra == 0 ? "merges[0] does not join" : "and 4194305 merges (limits 1..");
        assert_null(tokenizer);
    }
}

static void longest_text(void **state)
{
    (void)state;
    lc_tokenizer *tokenizer =
        load_parts((parts){.pre_tokenizer = SPLIT("a+", "\"behavior\":\"Removed\"")});
    char *text = malloc(LC_MAX_TEXT_BYTES + 1);
    memset(text, 'a', LC_MAX_TEXT_BYTES + 1);
    lc_tokens tokens = {0};
    for (int extra = -1; extra <= 0; extra++) {
        const size_t bytes = LC_MAX_TEXT_BYTES + (size_t)extra;
        text[bytes - 1] = 'b';
        tokens.count = 0;
        assert_ok(lc_tokenizer_encode(tokenizer, text, bytes, false, &tokens, &test_err));
        assert_int_equal(tokens.count, 1);
        assert_int_equal(tokens.starts[0], bytes - 1);
        text[bytes - 1] = 'a';
    }
    assert_fails(
        lc_tokenizer_encode(tokenizer, text, LC_MAX_TEXT_BYTES + 1, false, &tokens, &test_err),
        LC_ERR_INVALID, "above the limit");
    lc_tokens_release(&tokens);
    free(text);
    lc_tokenizer_free(tokenizer);
}

/* A string that begins with "#version" is no merge, wherever it stands; a pair is. */
static void version_of_merges(void **state)
{
    (void)state;
    static const struct {
        const char *merges, *ids;
    } cases[] = {
        {"\"#version: 0.2\",\"# v\",\"#v e\",\"#ve r\",\"i o\",\"s io\",\"sio n\",\"#ver sion\","
         "\"#version s\",\"a s\"",
         "5 6 9"},
        {"[\"#\",\"v\"],[\"#v\",\"e\"],[\"#ve\",\"r\"],[\"i\",\"o\"],[\"s\",\"io\"],[\"sio\",\"n\"]"
         ","
         "[\"#ver\",\"sion\"],[\"#version\",\"s\"],[\"a\",\"s\"]",
         "7 9"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char model[1024];
        (void)snprintf(model, sizeof model,
                       "{\"vocab\":{\"#\":0,\"v\":1,\"#v\":2,\"#ve\":3,\"#ver\":4,\"#version\":5,"
                       "\"s\":6,\"#versions\":7,\"a\":8,\"as\":9,\"e\":10,\"r\":11,\"i\":12,"
                       "\"sion\":13,\"o\":14,\"n\":15,\"io\":16,\"sio\":17},\"merges\":[%s]}",
                       cases[i].merges);
        lc_tokenizer *tokenizer =
            load_parts((parts){.pre_tokenizer = "null", .decoder = "null", .model = model});
        assert_string_equal(ids_as_text(tokenizer, "#versionsas", false, false), cases[i].ids);
        lc_tokenizer_free(tokenizer);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_by_name), cmocka_unit_test(bytes_without_a_token),
        cmocka_unit_test(limits),          cmocka_unit_test(most_merges),
        cmocka_unit_test(longest_text),    cmocka_unit_test(version_of_merges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
