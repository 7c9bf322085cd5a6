/*
 * Small tokenizers with the pipelines of the published families, against what Hugging Face's
 * tokenizers gave: ids, offsets, and the texts of ids that no text gives, whole and streamed. The
 * files are made by tests/golden/make_tokenizers.py.
 */
#include "testing.h"

#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "lorac/mem.h"
#include "text/tokenizer.h"
#include "text/utf8.h"

#define GOLDEN LC_SOURCE_DIR "/tests/golden/tokenizers"

static const char *folder; /* being checked */

static void check_ids(const cJSON *expected, const lc_tokens *tokens, const char *text)
{
    int count = 0;
    const cJSON *item = NULL;
    cJSON_ArrayForEach(item, expected)
    {
        if ((size_t)count >= tokens->count || tokens->ids[count] != (int32_t)item->valuedouble) {
            fail_msg("%s: token %d of \"%s\" is not %d", folder, count, text,
                     (int)item->valuedouble);
        }
        count++;
    }
    assert_int_equal(count, tokens->count);
}

static void check_offsets(const cJSON *expected, const lc_tokens *tokens, const char *text)
{
    size_t count = 0;
    const cJSON *item = NULL;
    cJSON_ArrayForEach(item, expected)
    {
        if (tokens->starts[count] != (int32_t)item->child->valuedouble ||
            tokens->ends[count] != (int32_t)item->child->next->valuedouble) {
            fail_msg("%s: token %zu of \"%s\" is at %d..%d, not %d..%d", folder, count, text,
                     tokens->starts[count], tokens->ends[count], (int)item->child->valuedouble,
                     (int)item->child->next->valuedouble);
        }
        count++;
    }
}

static void check_encoding(const lc_tokenizer *tokenizer, const cJSON *text, const cJSON *ids,
                           const cJSON *offsets, const cJSON *plain_ids)
{
    lc_tokens tokens = {0};
    const char *bytes = text->valuestring;
    const size_t count = strlen(bytes);
    assert_ok(lc_tokenizer_encode(tokenizer, bytes, count, true, &tokens, &test_err));
    check_ids(ids, &tokens, bytes);
    for (size_t i = 0; i < tokens.count; i++) { /* untrimmed: whole characters of the text */
        assert_true(tokens.starts[i] <= tokens.ends[i] && (size_t)tokens.ends[i] <= count);
        assert_true((bytes[tokens.starts[i]] & 0xc0) != 0x80);
        assert_true((bytes[tokens.ends[i]] & 0xc0) != 0x80);
    }
    tokens.count = 0;
    assert_ok(lc_tokenizer_encode_offsets(tokenizer, bytes, count, true, &tokens, &test_err));
    check_ids(ids, &tokens, bytes);
    check_offsets(offsets, &tokens, bytes);
    tokens.count = 0;
    assert_ok(lc_tokenizer_encode(tokenizer, bytes, count, false, &tokens, &test_err));
    check_ids(plain_ids, &tokens, bytes);
    lc_tokens_release(&tokens);
}

static void check_stream(const lc_tokenizer *tokenizer, const int32_t *ids, size_t count, bool skip,
                         const char *expected)
{
    lc_decode_stream stream = {0};
    lc_text out;
    lc_text_init(&out);
    for (size_t i = 0; i < count; i++) {
        const size_t before = out.length;
        assert_ok(lc_decode_stream_push(&stream, tokenizer, ids[i], skip, &out, &test_err));
        if (out.length > before) {
            assert_int_equal(lc_utf8_valid_prefix(out.data + before, out.length - before),
                             out.length - before);
            assert_true(strncmp(out.data, expected, out.length) == 0); /* nothing is taken back */
        }
    }
    assert_ok(lc_decode_stream_finish(&stream, tokenizer, &out, &test_err));
    assert_ok(lc_text_finish(&out, "the stream", &test_err));
    assert_string_equal(out.data, expected);
    lc_decode_stream_release(&stream);
    lc_text_release(&out);
}

static void check_decoding(const lc_tokenizer *tokenizer, const cJSON *list, const cJSON *text,
                           bool skip)
{
    int32_t ids[256];
    size_t count = 0, bytes = 0;
    char *decoded = NULL;
    const cJSON *item = NULL;
    cJSON_ArrayForEach(item, list)
    {
        assert_true(count < 256);
        ids[count++] = (int32_t)item->valuedouble;
    }
    assert_ok(lc_tokenizer_decode(tokenizer, ids, count, skip, &decoded, &bytes, &test_err));
    assert_string_equal(decoded, text->valuestring);
    lc_free(decoded);
    check_stream(tokenizer, ids, count, skip, text->valuestring);
}

static int check_folder(const char *name)
{
    char path[LC_MAX_PATH_BYTES], dir[LC_MAX_PATH_BYTES], *text = NULL;
    size_t bytes = 0;
    int count = 0;
    lc_tokenizer *tokenizer = NULL;
    folder = name;
    assert_ok(lc_path_join(GOLDEN, name, dir, &test_err));
    assert_ok(lc_tokenizer_load(dir, &tokenizer, &test_err));
    assert_ok(lc_path_join(dir, "cases.jsonl", path, &test_err));
    assert_ok(lc_file_read(path, 1 << 20, &text, &bytes, &test_err));
    for (char *line = text, *end = NULL; *line != '\0'; line = end + 1, count++) {
        cJSON *row = NULL;
        end = strchr(line, '\n');
        assert_non_null(end);
        assert_ok(
            lc_json_parse(line, (size_t)(end - line), LC_JSON_DEFAULT, path, &row, &test_err));
        const cJSON *c[7];
        for (int i = 0; i < 7; i++) {
            c[i] = cJSON_GetArrayItem(row, i);
            assert_non_null(c[i]);
        }
        check_encoding(tokenizer, c[0], c[1], c[2], c[3]);
        check_decoding(tokenizer, c[4], c[5], false);
        check_decoding(tokenizer, c[4], c[6], true);
        cJSON_Delete(row);
    }
    lc_free(text);
    lc_tokenizer_free(tokenizer);
    return count;
}

static void families(void **state)
{
    (void)state;
    char **names = NULL;
    size_t count = 0;
    int cases = 0;
    assert_ok(lc_list_dir(GOLDEN, &names, &count, &test_err));
    for (size_t i = 0; i < count; i++) {
        cases += check_folder(names[i]);
    }
    assert_true(count >= 20 && cases >= 250);
    lc_list_free(names, count);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(families)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
