/*
 * The byte-level BPE tokenizer: against a plain quadratic BPE in this file, against ids that
 * Hugging Face's tokenizers 0.23 gives, splits, added tokens, decoding, threads.
 */
// ctest: threads
#include "tokenizer_files.h"

#include <unistd.h>

#include "base/fault.h"
#include "base/file.h"
#include "base/thread.h"
#include "lorac/mem.h"
#include "text/utf8.h"

#define MODEL  LC_SOURCE_DIR "/models/sprout-3m"
#define SHARED LC_SOURCE_DIR "/../shared/data/tokenizers"

/* ---- against a plain BPE ---- */

#define MOST_MERGES 300
#define LONGEST     24

/* A random vocabulary: 256 bytes, then the results of merges, in the order of their ranks. */
typedef struct model {
    int left[MOST_MERGES], right[MOST_MERGES];
    int merge_count, token_count;
    char bytes[256 + MOST_MERGES][LONGEST];
    int length[256 + MOST_MERGES];
} model;

static int find_token(const model *m, const char *bytes, int length)
{
    for (int i = 0; i < m->token_count; i++) {
        if (m->length[i] == length && memcmp(m->bytes[i], bytes, (size_t)length) == 0) {
            return i;
        }
    }
    return -1;
}

static void make_model(model *m)
{
    static const char alphabet[] = "abc \n\xc3\xa9";
    m->token_count = 256;
    m->merge_count = 0;
    for (int i = 0; i < 256; i++) {
        m->bytes[i][0] = (char)i;
        m->length[i] = 1;
    }
    for (int tries = 0; tries < 3 * MOST_MERGES && m->merge_count < MOST_MERGES; tries++) {
        int side[2];
        for (int s = 0; s < 2; s++) {
            side[s] = m->token_count > 256 && test_int(0, 2) > 0
                          ? (int)test_int(256, m->token_count - 1)
                          : (uint8_t)alphabet[test_int(0, (int64_t)sizeof alphabet - 2)];
        }
        char joined[2 * LONGEST];
        const int length = m->length[side[0]] + m->length[side[1]];
        memcpy(joined, m->bytes[side[0]], (size_t)m->length[side[0]]);
        memcpy(joined + m->length[side[0]], m->bytes[side[1]], (size_t)m->length[side[1]]);
        bool known = length > LONGEST;
        for (int i = 0; i < m->merge_count; i++) { /* the same pair twice would change its rank */
            known = known || (m->left[i] == side[0] && m->right[i] == side[1]);
        }
        if (known) {
            continue;
        }
        if (find_token(m, joined, length) < 0) { /* else a second way to the same token */
            memcpy(m->bytes[m->token_count], joined, (size_t)length);
            m->length[m->token_count++] = length;
        }
        m->left[m->merge_count] = side[0];
        m->right[m->merge_count++] = side[1];
    }
}

static void spell_token(lc_text *text, const model *m, int id)
{
    for (int i = 0; i < m->length[id]; i++) {
        char spelled[4];
        lc_text_add(text, spelled, lc_byte_spell((uint8_t)m->bytes[id][i], spelled));
    }
}

static void write_model(const model *m, bool pairs, bool ignore_merges)
{
    lc_text text, spelled;
    lc_text_init(&text);
    lc_text_addf(&text, "{\"type\":\"BPE\",\"ignore_merges\":%s,\"vocab\":",
                 ignore_merges ? "true" : "false");
    for (int i = 0; i < m->token_count; i++) {
        lc_text_init(&spelled);
        spell_token(&spelled, m, i);
        lc_text_add(&text, i > 0 ? "," : "{", 1);
        lc_text_add_json_string(&text, spelled.data, spelled.length);
        lc_text_addf(&text, ":%d", i);
        lc_text_release(&spelled);
    }
    lc_text_addf(&text, "},\"merges\":[");
    for (int i = 0; i < m->merge_count; i++) {
        lc_text_init(&spelled);
        spell_token(&spelled, m, m->left[i]);
        if (!pairs) {
            lc_text_add(&spelled, " ", 1);
        } else {
            lc_text_addf(&text, "%s[", i > 0 ? "," : "");
            lc_text_add_json_string(&text, spelled.data, spelled.length);
            spelled.length = 0;
        }
        spell_token(&spelled, m, m->right[i]);
        lc_text_add(&text, ",", pairs || i > 0);
        lc_text_add_json_string(&text, spelled.data, spelled.length);
        lc_text_add(&text, "]", pairs);
        lc_text_release(&spelled);
    }
    lc_text_addf(&text, "]}");
    write_parts((parts){.model = text.data});
    lc_text_release(&text);
}

/* The definition: merge the pair of lowest rank, leftmost first, until none is left. */
static int plain_bpe(const model *m, const char *text, int length, int *ids)
{
    int count = 0;
    for (int i = 0; i < length; i++) {
        ids[count++] = (uint8_t)text[i];
    }
    for (;;) {
        int best = MOST_MERGES, place = -1;
        for (int i = 0; i + 1 < count; i++) {
            for (int r = 0; r < best; r++) {
                if (m->left[r] == ids[i] && m->right[r] == ids[i + 1] && r < m->merge_count) {
                    best = r;
                    place = i;
                }
            }
        }
        if (place < 0) {
            return count;
        }
        char joined[2 * LONGEST];
        const int a = ids[place], b = ids[place + 1];
        memcpy(joined, m->bytes[a], (size_t)m->length[a]);
        memcpy(joined + m->length[a], m->bytes[b], (size_t)m->length[b]);
        ids[place] = find_token(m, joined, m->length[a] + m->length[b]);
        memmove(ids + place + 1, ids + place + 2, (size_t)(count - place - 2) * sizeof *ids);
        count--;
    }
}

/* A place in the text, moved back or on to the edge of a character. */
static int whole_characters(const char *text, int at, int step)
{
    while (((uint8_t)text[at] & 0xc0) == 0x80) {
        at += step;
    }
    return at;
}

static void merges_as_defined(void **state)
{
    (void)state;
    static model m;
    static const char *const pieces[] = {"a",        "b",   "c",   " ", "\n",
                                         "\xc3\xa9", "abc", "aaa", "x", "\xf0\x9f\x8e\x89"};
    for (int round = 0; round < 8; round++) {
        const bool ignore_merges = round % 3 == 2;
        make_model(&m);
        write_model(&m, round % 2 == 1, ignore_merges);
        lc_tokenizer *tokenizer = NULL;
        assert_ok(lc_tokenizer_load(dir, &tokenizer, &test_err));
        assert_int_equal(lc_tokenizer_vocab_size(tokenizer), m.token_count);
        for (int n = 0; n < 150; n++) {
            char text[256] = "";
            int expected[256], length = 0;
            for (int64_t k = test_int(0, n % 10 == 0 ? 60 : 12); k > 0; k--) {
                const char *piece = pieces[test_int(0, 9)];
                memcpy(text + length, piece, strlen(piece));
                length += (int)strlen(piece);
            }
            int count = plain_bpe(&m, text, length, expected);
            if (ignore_merges && length > 0 && find_token(&m, text, length) >= 0) {
                expected[0] = find_token(&m, text, length);
                count = 1;
            }
            lc_tokens tokens = {0};
            assert_ok(
                lc_tokenizer_encode(tokenizer, text, (size_t)length, false, &tokens, &test_err));
            assert_int_equal(tokens.count, count);
            for (int i = 0, at = 0; i < count; i++) {
                assert_int_equal(tokens.ids[i], expected[i]);
                assert_int_equal(tokens.starts[i], whole_characters(text, at, -1));
                at += m.length[expected[i]];
                assert_int_equal(tokens.ends[i], whole_characters(text, at, 1));
            }
            lc_tokens_release(&tokens);
        }
        lc_tokenizer_free(tokenizer);
    }
}

/* One word of a mebibyte: the merges form a binary tree, so the result is known. */
static void long_words(void **state)
{
    (void)state;
    lc_text model_text;
    lc_text_init(&model_text);
    lc_text_addf(&model_text, "{\"type\":\"BPE\",\"vocab\":");
    add_byte_vocab(&model_text);
    static const char eight[] = "aaaaaaaa";
    lc_text_addf(&model_text, ",\"aa\":256,\"aaaa\":257,\"aaaaaaaa\":258},\"merges\":[");
    for (int n = 1; n <= 4; n *= 2) {
        lc_text_addf(&model_text, "%s\"%.*s %.*s\"", n > 1 ? "," : "", n, eight, n, eight);
    }
    lc_text_addf(&model_text, "]}");
    lc_tokenizer *tokenizer = load_parts((parts){.model = model_text.data});
    lc_text_release(&model_text);
    const size_t bytes = (1u << 20) + 3;
    char *text = malloc(bytes);
    memset(text, 'a', bytes);
    lc_tokens tokens = {0};
    assert_ok(lc_tokenizer_encode(tokenizer, text, bytes, false, &tokens, &test_err));
    assert_int_equal(tokens.count, (1u << 17) + 2);
    assert_int_equal(tokens.ids[(1u << 17) - 1], 258);
    assert_int_equal(tokens.ids[1u << 17], 256);
    assert_int_equal(tokens.ids[(1u << 17) + 1], 'a');
    assert_int_equal(tokens.starts[(1u << 17) + 1], bytes - 1);
    assert_int_equal(tokens.ends[(1u << 17) + 1], bytes);
    lc_tokens_release(&tokens);
    free(text);
    lc_tokenizer_free(tokenizer);
}

static void patterns_that_never_end(void **state)
{
    (void)state;
    lc_tokenizer *tokenizer = load_parts((parts){
        .pre_tokenizer =
            "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{\"Regex\":"
            "\"(?:a|aa)+[bc]\"},\"behavior\":\"Isolated\",\"invert\":false}," BYTE_LEVEL "]}"});
    char text[4000];
    memset(text, 'a', sizeof text);
    lc_tokens tokens = {0};
    assert_fails(lc_tokenizer_encode(tokenizer, text, sizeof text, false, &tokens, &test_err),
                 LC_ERR_INVALID, "too many steps");
    assert_int_equal(tokens.count, 0);
    lc_tokens_release(&tokens);
    lc_tokenizer_free(tokenizer);
}

/* ---- splits and added tokens ---- */

static void splits(void **state)
{
    (void)state;
    static const struct {
        const char *pre_tokenizer, *text, *ids;
    } cases[] = {
        {NULL, "abab", "256 256"},
        {SPLIT("b", "\"behavior\":\"Isolated\",\"invert\":false"), "abab", "97 98 97 98"},
        {SPLIT("b", "\"behavior\":\"Isolated\",\"invert\":true"), "abab", "97 98 97 98"},
        {SPLIT("-", "\"behavior\":\"Removed\",\"invert\":false"), "ab-a-b", "256 97 98"},
        {SPLIT("[a-b]+", "\"behavior\":\"Removed\",\"invert\":true"), "-ab-a-b", "256 97 98"},
        {SPLIT("-", "\"behavior\":\"Removed\""), "--", ""},
        {GPT2_LEVEL, "ab ab 1ab", "256 32 256 32 49 256"},
        {"{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Digits\",\"individual_digits\":"
         "true}," BYTE_LEVEL "]}",
         "ab12", "256 49 50"},
        {"{\"type\":\"Sequence\",\"pretokenizers\":[" BYTE_LEVEL "]}", "ab", "256"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        lc_tokenizer *tokenizer = load_parts((parts){.pre_tokenizer = cases[i].pre_tokenizer});
        assert_string_equal(ids_of(tokenizer, cases[i].text, false), cases[i].ids);
        assert_string_equal(ids_of(tokenizer, "", false), "");
        lc_tokenizer_free(tokenizer);
    }
}

#define ADDED(id, content, rest)            \
    "{\"id\":" id ",\"content\":\"" content \
    "\",\"single_word\":false,\"lstrip\":false,\"rstrip\":false," rest "}"

static void added_tokens(void **state)
{
    (void)state;
    /* clang-format off */
    static const char added[] =
        "[" ADDED("257", "<x>", "\"normalized\":false,\"special\":true")
        "," ADDED("258", "<x><y>", "\"normalized\":false,\"special\":false")
        "," ADDED("259", "b<", "\"normalized\":true,\"special\":false")
        "," ADDED("97", "a", "\"normalized\":true,\"special\":false")
        "," ADDED("260", "\xc3\xa9 z", "\"special\":true") "]";
    /* clang-format on */
    lc_tokenizer *tokenizer = load_parts((parts){.added = added});
    assert_int_equal(lc_tokenizer_vocab_size(tokenizer), 261);
    assert_string_equal(ids_of(tokenizer, "<x>", false), "257");
    assert_string_equal(ids_of(tokenizer, "<x><x><y><y>", false), "257 258 60 121 62");
    assert_string_equal(ids_of(tokenizer, "b<x>", false),
                        "98 257"); /* the first pass goes before the second */
    assert_string_equal(ids_of(tokenizer, "b<", false), "259");
    assert_string_equal(ids_of(tokenizer, "ab", false), "97 98"); /* cut out, so never merged */
    assert_string_equal(ids_of(tokenizer, "\xc3\xa9 z\xc3\xa9", false), "260 195 169");
    assert_int_equal(lc_tokenizer_id(tokenizer, "<x>"), 257);
    assert_int_equal(lc_tokenizer_id(tokenizer, "ab"), 256);
    assert_int_equal(lc_tokenizer_id(tokenizer, "\xc4\xa0"), 32); /* the spelling of the blank */
    assert_int_equal(lc_tokenizer_id(tokenizer, "<x"), -1);
    const int32_t ids[] = {257, 256, 258, 32, 260};
    char *text = NULL;
    size_t bytes = 0;
    assert_ok(lc_tokenizer_decode(tokenizer, ids, 5, false, &text, &bytes, &test_err));
    assert_string_equal(
        text, "<x>ab<x><y> \xc3\xa9 z"); /* a blank is none of the 256: the token as it is */
    lc_free(text);
    assert_ok(lc_tokenizer_decode(tokenizer, ids, 5, true, &text, &bytes, &test_err));
    assert_string_equal(text, "ab<x><y> ");
    assert_int_equal(bytes, 9);
    lc_free(text);
    const int32_t unknown[] = {97, 999, 98}, wrong[] = {1, -5};
    assert_ok(lc_tokenizer_decode(tokenizer, unknown, 3, false, &text, &bytes, &test_err));
    assert_string_equal(text, "ab"); /* a model's vocabulary may be larger than its tokenizer's */
    lc_free(text);
    assert_fails(lc_tokenizer_decode(tokenizer, wrong, 2, false, &text, &bytes, &test_err),
                 LC_ERR_INVALID, "-5 is no token id");
    lc_tokenizer_free(tokenizer);
}

static void post_processors(void **state)
{
    (void)state;
    static const char template[] = "{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":"
                                   "{\"id\":\"<s>\",\"type_id\":0}},"
                                   "{\"Sequence\":{\"id\":\"A\",\"type_id\":0}},{\"SpecialToken\":{"
                                   "\"id\":\"</s>\",\"type_id\":0}}],"
                                   "\"pair\":[],\"special_tokens\":{\"<s>\":{\"id\":\"<s>\","
                                   "\"ids\":[1,2],\"tokens\":[\"a\",\"b\"]},"
                                   "\"</s>\":{\"id\":\"</s>\",\"ids\":[3],\"tokens\":[\"c\"]}}}";
    char sequence[sizeof template + 128];
    (void)snprintf(sequence, sizeof sequence,
                   "{\"type\":\"Sequence\",\"processors\":[{\"type\":\"ByteLevel\",\"trim_"
                   "offsets\":true},%s]}",
                   template);
    lc_tokenizer *tokenizer = load_parts((parts){.post_processor = template});
    assert_string_equal(ids_of(tokenizer, "ab", true), "1 2 256 3");
    assert_string_equal(ids_of(tokenizer, "ab", false), "256");
    assert_string_equal(ids_of(tokenizer, "", true), "1 2 3");
    lc_tokenizer_free(tokenizer);
    tokenizer = load_parts((parts){.post_processor = sequence});
    lc_tokens tokens = {0};
    assert_ok(lc_tokenizer_encode(tokenizer, "ab", 2, true, &tokens, &test_err));
    assert_ok(lc_tokenizer_encode(tokenizer, "cab", 3, false, &tokens, &test_err)); /* appends */
    static const int32_t ids[] = {1, 2, 256, 3, 'c', 256}, starts[] = {0, 0, 0, 0, 0, 1},
                         ends[] = {0, 0, 2, 0, 1, 3};
    assert_int_equal(tokens.count, 6);
    assert_memory_equal(tokens.ids, ids, sizeof ids);
    assert_memory_equal(tokens.starts, starts, sizeof starts);
    assert_memory_equal(tokens.ends, ends, sizeof ends);
    lc_tokens_release(&tokens);
    lc_tokenizer_free(tokenizer);
}

/* What Hugging Face's encode makes of "abcabc" (with 1 and 2 before and 3 behind) under the file's
 * truncation and padding. */
static void truncation_and_padding(void **state)
{
    (void)state;
#define CUT(length, rest)   "{\"max_length\":" length ",\"stride\":0" rest "}"
#define PAD(strategy, rest) "{\"strategy\":" strategy ",\"pad_id\":9" rest "}"
    static const char post[] = "{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":"
                               "{\"id\":\"s\"}},{\"Sequence\":{\"id\":\"A\"}},{\"SpecialToken\":"
                               "{\"id\":\"e\"}}],\"special_tokens\":{\"s\":{\"ids\":[1,2]},"
                               "\"e\":{\"ids\":[3]}}}";
    static const struct {
        const char *truncation, *padding, *ids, *plain_ids, *message;
    } cases[] = {
        {NULL, NULL, "1 2 256 99 256 99 3", "256 99 256 99", NULL},
        {CUT("7", ""), NULL, "1 2 256 99 256 99 3", "256 99 256 99", NULL},
        {CUT("5", ""), NULL, "1 2 256 99 3", "256 99 256 99", NULL},
        {CUT("3", ""), NULL, "1 2 3", "256 99 256", NULL},
        {CUT("2", ""), NULL, NULL, "256 99", "max_length 2"},
        {CUT("4", ",\"direction\":\"Left\""), NULL, "1 2 99 3", "256 99 256 99", NULL},
        {CUT("3", ",\"direction\":\"Left\""), NULL, "1 2 3", "99 256 99", NULL},
        {CUT("5", ",\"strategy\":\"OnlySecond\""), NULL, NULL, "256 99 256 99", "max_length 5"},
        {NULL, PAD("\"BatchLongest\"", ""), "1 2 256 99 256 99 3", "256 99 256 99", NULL},
        {NULL, PAD("{\"Fixed\":6}", ""), "1 2 256 99 256 99 3", "256 99 256 99 9 9", NULL},
        {NULL, PAD("{\"Fixed\":0}", ",\"pad_to_multiple_of\":3"), "1 2 256 99 256 99 3",
         "256 99 256 99", NULL},
        {NULL, PAD("\"BatchLongest\"", ",\"pad_to_multiple_of\":4,\"direction\":\"Left\""),
         "9 1 2 256 99 256 99 3", "256 99 256 99", NULL},
        {CUT("4", ""), PAD("{\"Fixed\":5}", ",\"direction\":\"Left\""), "9 1 2 256 3",
         "9 256 99 256 99", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        lc_tokenizer *tokenizer = load_parts((parts){.post_processor = post,
                                                     .truncation = cases[i].truncation,
                                                     .padding = cases[i].padding});
        assert_string_equal(fitted_ids_of(tokenizer, "abcabc", false), cases[i].plain_ids);
        if (cases[i].ids != NULL) {
            assert_string_equal(fitted_ids_of(tokenizer, "abcabc", true), cases[i].ids);
        } else {
            lc_tokens tokens = {0};
            assert_ok(lc_tokenizer_encode(tokenizer, "abcabc", 6, true, &tokens, &test_err));
            lc_err_clear(&test_err);
            assert_true(lc_tokenizer_fit(tokenizer, true, &tokens, &test_err) != LC_OK);
            assert_non_null(strstr(test_err.message, cases[i].message));
            lc_tokens_release(&tokens);
        }
        lc_tokenizer_free(tokenizer);
    }
    lc_tokens tokens = {0};
    lc_tokenizer *trims = load_parts((parts){.post_processor = "{\"type\":\"ByteLevel\"}",
                                             .truncation = CUT("3", ",\"direction\":\"Left\"")});
    assert_ok(lc_tokenizer_encode(trims, "abcabc", 6, true, &tokens, &test_err));
    assert_fails(lc_tokenizer_fit(trims, true, &tokens, &test_err), LC_ERR_UNSUPPORTED,
                 "the direction Left with a ByteLevel");
    lc_tokens_release(&tokens);
    lc_tokenizer_free(trims);
}

static void text_that_is_not_utf8(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"a\xff", "byte 1"},
        {"\x80", "byte 0"},
        {"ab\xc3", "byte 2"},
        {"\xc0\x80", "byte 0"},
        {"x\xed\xa0\x80", "byte 1"},
        {"\xe0\x80\x80", "byte 0"},
        {"\xf4\x90\x80\x80", "byte 0"},
        {"\xf0\x8f\xbf\xbf", "byte 0"},
        {"\xe2\x82", "byte 0"},
    };
    lc_tokenizer *tokenizer = load_parts((parts){0});
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        lc_tokens tokens = {0};
        assert_fails(lc_tokenizer_encode(tokenizer, cases[i].text, strlen(cases[i].text), false,
                                         &tokens, &test_err),
                     LC_ERR_INVALID, cases[i].message);
        assert_int_equal(tokens.count, 0);
        lc_tokens_release(&tokens);
    }
    lc_tokenizer_free(tokenizer);
}

/* ---- decoding ---- */

/* Broken bytes as Python's bytes.decode("utf-8", "replace") shows them. */
static void broken_bytes(void **state)
{
    (void)state;
    static const struct {
        const char *bytes, *text;
    } cases[] = {
#define X "\xef\xbf\xbd"
        {"a\xff"
         "b",
         "a" X "b"},
        {"\xe2\x82", X},
        {"\xe2\x82"
         "a",
         X "a"},
        {"\xf0\x9f\x8e", X},
        {"\x80\x80", X X},
        {"\xe0\x80\x80", X X X},
        {"\xed\xa0\x80", X X X},
        {"\xf4\x90\x80\x80", X X X X},
        {"\xf0\x80", X X},
        {"\xc3\xa9\xc3", "\xc3\xa9" X},
        {"\xe1\x80\xe2\xf0\x91\x92\xf1\xbf"
         "A",
         X X X X "A"},
    };
    lc_tokenizer *tokenizer = load_parts((parts){0});
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int32_t ids[16];
        size_t bytes = 0;
        char *text = NULL;
        const size_t count = strlen(cases[i].bytes);
        for (size_t k = 0; k < count; k++) {
            ids[k] = (uint8_t)cases[i].bytes[k];
        }
        assert_ok(lc_tokenizer_decode(tokenizer, ids, count, false, &text, &bytes, &test_err));
        assert_string_equal(text, cases[i].text);
        assert_int_equal(bytes, strlen(cases[i].text));
        lc_free(text);
    }
    lc_tokenizer_free(tokenizer);
}

/* Streamed text of random ids is the whole text, and every push gives whole characters. */
static void streams(void **state)
{
    (void)state;
    lc_tokenizer *tokenizer = NULL;
    assert_ok(lc_tokenizer_load(MODEL, &tokenizer, &test_err));
    for (int round = 0; round < 300; round++) {
        int32_t ids[40];
        char *whole = NULL;
        size_t bytes = 0;
        lc_text shown;
        const bool skip = round % 2 == 0;
        const int64_t count = test_int(0, 40);
        lc_decode_stream stream = {0};
        lc_text_init(&shown);
        for (int64_t i = 0; i < count; i++) {
            const size_t before = shown.length;
            ids[i] = (int32_t)test_int(
                0, test_int(0, 1) == 0 ? 260 : lc_tokenizer_vocab_size(tokenizer) - 1);
            assert_ok(lc_decode_stream_push(&stream, tokenizer, ids[i], skip, &shown, &test_err));
            const size_t pushed = shown.length - before;
            if (pushed > 0) {
                assert_int_equal(lc_utf8_valid_prefix(shown.data + before, pushed), pushed);
            }
        }
        assert_ok(lc_decode_stream_finish(&stream, tokenizer, &shown, &test_err));
        assert_ok(lc_text_finish(&shown, "the stream", &test_err));
        assert_ok(
            lc_tokenizer_decode(tokenizer, ids, (size_t)count, skip, &whole, &bytes, &test_err));
        assert_int_equal(shown.length, bytes);
        assert_memory_equal(shown.data, whole, bytes);
        lc_decode_stream_release(&stream);
        lc_text_release(&shown);
        lc_free(whole);
    }
    lc_tokenizer_free(tokenizer);
}

/* ---- real tokenizers ---- */

static void shipped_tokenizer(void **state)
{
    (void)state;
    /* ids from tokenizers 0.23.3 */
    static const struct {
        const char *text, *ids;
    } cases[] = {
        {"Hello, world!", "42 71 306 81 14 273 276 78 70 3"},
        {"I'll say: it's 1234 and you'VE 5.",
         "43 9 306 760 28 747 9 85 223 19 20 21 22 336 542 9 56 39 223 23 16"},
        {"<|im_start|>user\nHi<|im_end|>\n", "1 272 201 42 75 2 201"},
        {"  two  spaces \n\n\n and\ttabs \r\n",
         "223 727 223 778 67 69 281 223 201 201 201 336 200 86 588 85 223 204 201"},
        {"na\xc3\xafve caf\xc3\xa9 \xe4\xbd\xa0\xe5\xa5\xbd \xf0\x9f\x8e\x89",
         "838 130 110 303 283 666 130 105 223 163 124 257 164 101 124 223 175 256 239 234"},
        {" <|im_start|><|im_end|>x<|im_en", "223 1 2 90 30 94 437 65 278"},
        {"a\xe1\xa0\x8e\xc2\xa0"
         "b\xe2\x80\xa8"
         "c \xf0\xb1\x8d\x90x",
         "67 160 257 239 129 257 68 161 225 104 69 223 175 112 238 241 90"},
        {"<|endoftext|><|im_start|>assistant\nOnce upon a time, there was a little dog.<|im_end|>",
         "0 1 271 201 1059 1035 284 292 260 437 71 14 627 326 292 282 287 731 347 73 16 2"},
    };
    lc_tokenizer *tokenizer = NULL;
    assert_ok(lc_tokenizer_load(MODEL, &tokenizer, &test_err));
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_string_equal(ids_of(tokenizer, cases[i].text, false), cases[i].ids);
    }
    lc_tokenizer_free(tokenizer);
}

/* Texts separated by a marker line and, for each, one line of ids (from llama.cpp's tests). */
static void check_vectors(const char *name, const char *vectors)
{
    static const char marker[] = "\n__ggml_vocab_test__\n";
    char path[LC_MAX_PATH_BYTES], *texts = NULL, *ids = NULL;
    size_t bytes = 0;
    lc_tokenizer *tokenizer = NULL;
    (void)snprintf(path, sizeof path, SHARED "/%s", name);
    assert_ok(lc_tokenizer_load(path, &tokenizer, &test_err));
    (void)snprintf(path, sizeof path, SHARED "/vectors/%s.inp", vectors);
    assert_ok(lc_file_read(path, 1 << 20, &texts, &bytes, &test_err));
    (void)snprintf(path, sizeof path, SHARED "/vectors/%s.out", vectors);
    assert_ok(lc_file_read(path, 1 << 20, &ids, &bytes, &test_err));
    char *text = texts, *line = ids;
    int count = 0;
    for (; *line != '\0'; count++) {
        char *text_end = strstr(text, marker), *line_end = strchr(line, '\n');
        assert_non_null(line_end);
        *line_end = '\0';
        line += strspn(line, " ");
        for (char *tail = line_end; tail > line && tail[-1] == ' '; tail--) {
            tail[-1] = '\0';
        }
        if (text_end != NULL) {
            *text_end = '\0';
        }
        assert_string_equal(ids_of(tokenizer, text, false), line);
        line = line_end + 1;
        if (text_end == NULL) {
            break;
        }
        text = text_end + sizeof marker - 1;
    }
    assert_true(count > 30);
    lc_free(texts);
    lc_free(ids);
    lc_tokenizer_free(tokenizer);
}

static void published_tokenizers(void **state)
{
    (void)state;
    if (!lc_path_is_dir(SHARED "/vectors")) {
        print_message("skipped: no published tokenizers in " SHARED "\n");
        skip();
    }
    check_vectors("gpt2", "gpt-2");
    check_vectors("llama-3", "llama-bpe");
    check_vectors("llama2-tinyllama", "llama-spm");
    check_vectors("qwen2.5", "qwen2");
}

/* ---- threads, memory ---- */

typedef struct shared_work {
    const lc_tokenizer *tokenizer;
    char texts[64][128];
    int32_t first_ids[64], counts[64];
} shared_work;

static void encode_one(void *context, int64_t index, int worker)
{
    shared_work *work = context;
    lc_tokens tokens = {0};
    lc_err err = {0};
    (void)worker;
    const char *text = work->texts[index % 64];
    const lc_code code =
        lc_tokenizer_encode(work->tokenizer, text, strlen(text), true, &tokens, &err);
    if (index < 64) {
        work->counts[index] = code == LC_OK ? (int32_t)tokens.count : -1;
        work->first_ids[index] = tokens.count > 0 ? tokens.ids[tokens.count - 1] : -1;
    }
    lc_tokens_release(&tokens);
}

static void threads_share_one(void **state)
{
    (void)state;
    static shared_work work;
    lc_tokenizer *tokenizer = NULL;
    lc_pool *pool = NULL;
    assert_ok(lc_tokenizer_load(MODEL, &tokenizer, &test_err));
    work.tokenizer = tokenizer;
    for (int i = 0; i < 64; i++) {
        for (int k = 0; k < 100; k++) {
            work.texts[i][k] = " abcdefg1.\n"[test_int(0, 10)];
        }
    }
    assert_ok(lc_pool_start(4, NULL, NULL, &pool, &test_err));
    lc_pool_run(pool, 256, encode_one, &work);
    lc_pool_stop(pool);
    for (int i = 0; i < 64; i++) {
        lc_tokens tokens = {0};
        assert_ok(lc_tokenizer_encode(tokenizer, work.texts[i], 100, true, &tokens, &test_err));
        assert_int_equal(work.counts[i], tokens.count);
        assert_int_equal(work.first_ids[i], tokens.ids[tokens.count - 1]);
        lc_tokens_release(&tokens);
    }
    lc_tokenizer_free(tokenizer);
}

static void survives_faults(void **state)
{
    (void)state;
    write_parts((parts){.pre_tokenizer = SPLIT("b", "\"behavior\":\"Isolated\""),
                        .added = "[" ADDED("257", "<x>", "\"special\":true") "]"});
    int64_t at = 1;
    for (lc_code code = LC_ERR_MEMORY; code != LC_OK; at++) {
        lc_tokenizer *tokenizer = NULL;
        lc_tokens tokens = {0};
        char *text = NULL;
        size_t bytes = 0;
        lc_err_clear(&test_err);
        /* Long runs of equal steps (the JSON tree's nodes) are passed in larger strides. */
        const int64_t place = at < 60 ? at : 60 + (at - 60) * 17;
        lc_fault_set(LC_FAULT_ALLOC, place, 0, false);
        code = lc_tokenizer_load(dir, &tokenizer, &test_err);
        if (code == LC_OK) {
            code = lc_tokenizer_encode(tokenizer, "ab<x>cd", 7, true, &tokens, &test_err);
        }
        if (code == LC_OK) {
            code = lc_tokenizer_decode(tokenizer, tokens.ids, tokens.count, false, &text, &bytes,
                                       &test_err);
        }
        lc_fault_set(LC_FAULT_NONE, 0, 0, false);
        if (code != LC_OK && code != LC_ERR_MEMORY) {
            fail_msg("fault %d: %s", (int)place, test_err.message);
        }
        lc_free(text);
        lc_tokens_release(&tokens);
        lc_tokenizer_free(tokenizer);
    }
    assert_true(at > 60);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(merges_as_defined),
        cmocka_unit_test(long_words),
        cmocka_unit_test(patterns_that_never_end),
        cmocka_unit_test(splits),
        cmocka_unit_test(added_tokens),
        cmocka_unit_test(post_processors),
        cmocka_unit_test(truncation_and_padding),
        cmocka_unit_test(text_that_is_not_utf8),
        cmocka_unit_test(broken_bytes),
        cmocka_unit_test(streams),
        cmocka_unit_test(shipped_tokenizer),
        cmocka_unit_test(published_tokenizers),
        cmocka_unit_test(threads_share_one),
        cmocka_unit_test(survives_faults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
