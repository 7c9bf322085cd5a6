/* tokenizer.json files made by tests: the 256 bytes, "ab", and whatever parts a case replaces. */
#ifndef TESTS_SUPPORT_TOKENIZER_FILES_H
#define TESTS_SUPPORT_TOKENIZER_FILES_H

#include "testing.h"

#include "base/file.h"
#include "base/json.h"
#include "text/bpe.h"
#include "text/tokenizer.h"

/* The parts of a tokenizer.json; NULL: what a plain byte-level file has. */
typedef struct parts {
    const char *normalizer, *pre_tokenizer, *post_processor, *decoder, *added, *model;
    const char *truncation, *padding;
} parts;

static const char *dir; /* where write_file writes */

#define BYTE_LEVEL "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false}"
#define GPT2_LEVEL "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":true}"

static inline void write_file(const char *text, size_t bytes)
{
    char path[LC_MAX_PATH_BYTES];
    if (dir == NULL) {
        dir = test_dir();
    }
    assert_ok(lc_path_join(dir, "tokenizer.json", path, &test_err));
    test_write_file(path, text, bytes);
}

/* The 256 bytes with ids 0..255, without the closing brace. */
static inline void add_byte_vocab(lc_text *text)
{
    for (int byte = 0; byte < 256; byte++) {
        char spelled[4];
        const size_t length = lc_byte_spell((uint8_t)byte, spelled);
        lc_text_add(text, byte > 0 ? "," : "{", 1);
        lc_text_add_json_string(text, spelled, length);
        lc_text_addf(text, ":%d", byte);
    }
}

static inline const char *or_else(const char *text, const char *otherwise)
{
    return text != NULL ? text : otherwise;
}

static inline void write_parts(parts p)
{
    lc_text text;
    lc_text_init(&text);
    lc_text_addf(
        &text,
        "{\"version\":\"1.0\",\"truncation\":%s,\"padding\":%s,\"added_tokens\":%s,"
        "\"normalizer\":%s,\"pre_tokenizer\":%s,\"post_processor\":%s,\"decoder\":%s,\"model\":",
        or_else(p.truncation, "null"), or_else(p.padding, "null"), or_else(p.added, "[]"),
        or_else(p.normalizer, "null"), or_else(p.pre_tokenizer, BYTE_LEVEL),
        or_else(p.post_processor, "null"), or_else(p.decoder, BYTE_LEVEL));
    if (p.model == NULL) {
        lc_text_addf(&text, "{\"type\":\"BPE\",\"vocab\":");
        add_byte_vocab(&text);
        lc_text_addf(&text, ",\"ab\":256},\"merges\":[\"a b\"]}}");
    } else {
        lc_text_addf(&text, "%s}", p.model);
    }
    assert_ok(lc_text_finish(&text, "test", &test_err));
    write_file(text.data, text.length);
    lc_text_release(&text);
}

static inline lc_tokenizer *load_parts(parts p)
{
    lc_tokenizer *tokenizer = NULL;
    write_parts(p);
    assert_ok(lc_tokenizer_load(dir, &tokenizer, &test_err));
    return tokenizer;
}

/* Ids of a text as "1 2 3", in a static buffer; fitted: with the truncation and padding. */
static inline const char *ids_as_text(const lc_tokenizer *tokenizer, const char *text, bool special,
                                      bool fitted)
{
    static char out[4096];
    lc_tokens tokens = {0};
    size_t used = 0;
    out[0] = '\0';
    assert_ok(lc_tokenizer_encode(tokenizer, text, strlen(text), special, &tokens, &test_err));
    if (fitted) {
        assert_ok(lc_tokenizer_fit(tokenizer, special, &tokens, &test_err));
    }
    for (size_t i = 0; i < tokens.count; i++) {
        used += (size_t)snprintf(out + used, sizeof out - used, "%s%d", i > 0 ? " " : "",
                                 tokens.ids[i]);
    }
    lc_tokens_release(&tokens);
    return out;
}

static inline const char *ids_of(const lc_tokenizer *tokenizer, const char *text, bool special)
{
    return ids_as_text(tokenizer, text, special, false);
}

static inline const char *fitted_ids_of(const lc_tokenizer *tokenizer, const char *text,
                                        bool special)
{
    return ids_as_text(tokenizer, text, special, true);
}

#define SPLIT(pattern, rest)                                                                \
    "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{\"Regex\":" \
    "\"" pattern "\"}," rest "}," BYTE_LEVEL "]}"

#endif
