/* What the files beside tokenizer.json say of added tokens; the truth is transformers, with which
 * tests/e2e/test_tokenizers.py compares random folders. */
#include "tokenizer_files.h"

#include <string.h>
#include <unistd.h>

#include "text/tokenizer.h"

#define DECODER(more) \
    "{\"added_tokens_decoder\":{\"4\":{\"content\":\"<e>\",\"special\":true}," more "}}"

static const char *const files[] = {"tokenizer_config.json", "added_tokens.json",
                                    "special_tokens_map.json"};

/* tokenizer.json has a, b, ab, blank and the added token <e>; texts[i] is files[i] or NULL. */
static void write_folder(const char *const texts[3])
{
    char path[LC_MAX_PATH_BYTES];
    write_parts((parts){.model = "{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"ab\":2,\" \":3},"
                                 "\"merges\":[\"a b\"]}",
                        .pre_tokenizer = "null",
                        .decoder = "null",
                        .added = "[{\"id\":4,\"content\":\"<e>\",\"special\":true}]"});
    for (int i = 0; i < 3; i++) {
        assert_ok(lc_path_join(dir, files[i], path, &test_err));
        (void)unlink(path);
        if (texts[i] != NULL) {
            test_write_file(path, texts[i], strlen(texts[i]));
        }
    }
}

static void tokens_of_the_other_files(void **state)
{
    (void)state;
    static const struct {
        const char *files[3], *text, *ids;
    } cases[] = {
        {{NULL, NULL, NULL}, "ab <e> b", "2 3 4 3 1"},
        {{"{}", NULL, NULL}, "ab <e> b", "2 3 4 3 1"},
        /* flags of a token that is there; a new one, whatever number it has */
        {{DECODER("\"9\":{\"content\":\"aa\"}"), NULL, NULL}, "aab <e> b", "5 1 3 4 3 1"},
        {{"{\"added_tokens_decoder\":{\"4\":{\"content\":\"<e>\",\"lstrip\":true,\"rstrip\":true}}"
          "}",
          NULL, NULL},
         "ab <e> b",
         "2 4 1"},
        /* by number, not as they stand; one of the vocabulary keeps its id */
        {{DECODER("\"10\":{\"content\":\"bb\"},\"9\":{\"content\":\"aa\"},"
                  "\"2\":{\"content\":\"ab\",\"lstrip\":true}"),
          NULL, NULL},
         "bbaa ab",
         "6 5 2"},
        /* special tokens by name and in lists; the old name of the list counts only alone */
        {{"{\"pad_token\":\"aa\",\"image_token\":\"bb\",\"extra_special_tokens\":[\"<e>\",\"ba\"],"
          "\"additional_special_tokens\":[\"b b\"]}",
          NULL, NULL},
         "aabb b bba",
         "5 6 3 1 3 6 0"},
        {{"{\"additional_special_tokens\":[{\"__type\":\"AddedToken\",\"content\":\"b "
          "b\",\"rstrip\":true}]}",
          NULL, NULL},
         "ab b  a",
         "0 5 0"},
        /* older folders */
        {{"{}", "{\"bb\":6,\"aa\":5}", "{\"pad_token\":\"ba\"}"}, "aabb aba", "5 6 3 0 7"},
        {{NULL, "{\"aa\":5}", "{\"eos_token\":{\"content\":\"bb\",\"lstrip\":true}}"},
         "aa bb",
         "5 6"},
        {{DECODER("\"5\":{\"content\":\"aa\"}"), "{\"bb\":6}", "{\"pad_token\":\"ba\"}"},
         "aabbba",
         "5 1 1 1 0"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        lc_tokenizer *tokenizer = NULL;
        write_folder(cases[i].files);
        assert_ok(lc_tokenizer_load(dir, &tokenizer, &test_err));
        assert_string_equal(ids_as_text(tokenizer, cases[i].text, false, false), cases[i].ids);
        lc_tokenizer_free(tokenizer);
    }
}

/* A name makes a token of the decoder's list special, and not normalized unless it says so; without
 * that list also one that is in tokenizer.json. A list makes special what is new. */
static void names_make_tokens_special(void **state)
{
    (void)state;
    static const char *const config[][3] = {
        {DECODER("\"5\":{\"content\":\"aa\"}"), "0"},
        {DECODER("\"5\":{\"content\":\"aa\"}},\"mask_token\":\"aa\",\"x\":{"), "1"},
        {DECODER("\"5\":{\"content\":\"aa\"}},\"image_token\":\"aa\",\"x\":{"), "1"},
        {DECODER("\"5\":{\"content\":\"aa\"}},\"extra_special_tokens\":{\"i\":\"aa\"},\"x\":{"),
         "1"},
        {DECODER("\"5\":{\"content\":\"aa\"}},\"extra_special_tokens\":[\"aa\"],\"x\":{"), "0"},
        {DECODER("\"5\":{\"content\":\"aa\"}},\"model_specific_special_tokens\":{\"i\":\"aa\"},"
                 "\"x\":{"),
         "1"},
        {DECODER("\"5\":{\"content\":\"aa\"}},\"model_specific_special_tokens\":{\"i\":\"aa\"},"
                 "\"image_token\":\"bb\",\"x\":{"),
         "0"},
        {"{\"extra_special_tokens\":[\"aa\"]}", "1"},
        {"{}", "0", "{\"aa\":5}"},
        {"{\"pad_token\":\"aa\"}", "1", "{\"aa\":5}"},
        {"{\"additional_special_tokens\":[\"aa\"]}", "1", "{\"aa\":5}"},
        {"{\"additional_special_tokens\":[\"aa\"],\"extra_special_tokens\":{\"i\":\"bb\"}}", "0",
         "{\"aa\":5}"},
    };
    for (size_t i = 0; i < sizeof config / sizeof *config; i++) {
        const int32_t ids[] = {1, 5, 1};
        lc_tokenizer *tokenizer = NULL;
        char *text = NULL;
        size_t bytes = 0;
        write_folder((const char *const[]){config[i][0], config[i][2], NULL});
        assert_ok(lc_tokenizer_load(dir, &tokenizer, &test_err));
        assert_ok(lc_tokenizer_decode(tokenizer, ids, 3, true, &text, &bytes, &test_err));
        assert_string_equal(text, config[i][1][0] == '1' ? "b b" : "b aa b");
        lc_free(text);
        lc_tokenizer_free(tokenizer);
    }
}

/* A padding token that the model has no row for is in many folders. */
static void beyond_the_vocabulary(void **state)
{
    (void)state;
    lc_tokenizer *tokenizer = NULL;
    write_folder((const char *const[]){"{\"pad_token\":\"aa\",\"mask_token\":\"bb\"}", NULL, NULL});
    assert_ok(lc_tokenizer_load_for(dir, 6, &tokenizer, &test_err));
    assert_string_equal(ids_as_text(tokenizer, "aabb", false, false), "5 1 1");
    assert_int_equal(lc_tokenizer_vocab_size(tokenizer), 6);
    lc_tokenizer_free(tokenizer);
    assert_ok(lc_tokenizer_load_for(dir, 5, &tokenizer, &test_err));
    assert_string_equal(ids_as_text(tokenizer, "aabb", false, false), "0 2 1");
    lc_tokenizer_free(tokenizer);
    assert_fails(lc_tokenizer_load_for(dir, 4, &tokenizer, &test_err), LC_ERR_INVALID,
                 "ids up to 4");
}

/* The hash says what was read: data sets and caches hang on it. */
static void the_hash_tells(void **state)
{
    (void)state;
    static const char *const configs[] = {NULL, "{\"eos_token\":\"<e>\"}", "{\"eos_token\":\"aa\"}",
                                          "{\"added_tokens_decoder\":{\"4\":{\"content\":\"<e>\","
                                          "\"special\":true,\"lstrip\":true}}}"};
    uint8_t hashes[4][32];
    for (int i = 0; i < 4; i++) {
        lc_tokenizer *tokenizer = NULL;
        write_folder((const char *const[]){configs[i], NULL, NULL});
        assert_ok(lc_tokenizer_load(dir, &tokenizer, &test_err));
        memcpy(hashes[i], lc_tokenizer_sha256(tokenizer), 32);
        lc_tokenizer_free(tokenizer);
    }
    assert_memory_equal(hashes[0], hashes[1], 32);
    assert_memory_not_equal(hashes[0], hashes[2], 32);
    assert_memory_not_equal(hashes[0], hashes[3], 32);
    assert_memory_not_equal(hashes[2], hashes[3], 32);
}

static void refuses_what_it_cannot_read(void **state)
{
    (void)state;
    static const struct {
        const char *config, *added, *message;
    } cases[] = {
        {"{", NULL, "tokenizer_config.json"},
        {"[1, \"a_token\"]", NULL, "tokenizer_config.json: expected an object"},
        {"{}", "[1]", "added_tokens.json: expected an object"},
        {DECODER("\"5\":{}"), NULL, "tokenizer_config.json: the added token 5 has no content"},
        {DECODER("\"5\":{\"content\":\"\"}"), NULL,
         "tokenizer_config.json: the added token 5 has no content"},
        {DECODER("\"5a\":{\"content\":\"aa\"}"), NULL,
         "tokenizer_config.json: the added token \"5a\" has no id"},
        {DECODER("\"\":{\"content\":\"aa\"}"), NULL,
         "tokenizer_config.json: the added token \"\" has no id"},
        {"{}", "{\"aa\":\"5\"}", "added_tokens.json: the added token \"aa\" has no id"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        lc_tokenizer *tokenizer = NULL;
        write_folder((const char *const[]){cases[i].config, cases[i].added, NULL});
        assert_fails(lc_tokenizer_load(dir, &tokenizer, &test_err), LC_ERR_INVALID,
                     cases[i].message);
        assert_null(tokenizer);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokens_of_the_other_files),   cmocka_unit_test(names_make_tokens_special),
        cmocka_unit_test(beyond_the_vocabulary),       cmocka_unit_test(the_hash_tells),
        cmocka_unit_test(refuses_what_it_cannot_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
