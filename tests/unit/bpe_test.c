/*
 * Merging by every way there is (short words, trees, windows, the cache, cuts) against the
 * definition, on random vocabularies: lowest rank first, the leftmost among equals, one pair at a
 * time.
 */
#include "testing.h"

#include "base/file.h"
#include "base/json.h"
#include "lorac/mem.h"
#include "text/tokenizer_internal.h"

#define MAX_TOKENS 200
#define MAX_WORD   400
#define LETTERS    5

typedef struct vocab {
    char spelled[MAX_TOKENS][64];
    int count;
    int left[MAX_TOKENS], right[MAX_TOKENS], merged[MAX_TOKENS];
    int merge_count;
} vocab;

static int find(const vocab *v, const char *spelled)
{
    for (int i = 0; i < v->count; i++) {
        if (strcmp(v->spelled[i], spelled) == 0) {
            return i;
        }
    }
    return -1;
}

/* A symbol that stands for a letter: U+2581 for the last where words are characters. */
static const char *letter(int i, bool metaspace)
{
    static const char *const letters[] = {"a", "b", "c", "d", "e"};
    return metaspace && i == LETTERS - 1 ? LC_METASPACE : letters[i];
}

/* Letters and random merges; `ordered`: as learned from data, else of any order of ranks. */
static void make_vocab(vocab *v, bool metaspace, bool ordered)
{
    v->count = v->merge_count = 0;
    for (int i = 0; i < LETTERS; i++) {
        (void)snprintf(v->spelled[v->count++], 64, "%s", letter(i, metaspace));
    }
    const int64_t wanted = test_int(1, 60);
    for (int64_t tries = 0; tries < 3 * wanted; tries++) {
        char whole[64];
        const int left = (int)test_int(0, v->count - 1), right = (int)test_int(0, v->count - 1);
        const int length =
            snprintf(whole, sizeof whole, "%s%s", v->spelled[left], v->spelled[right]);
        if (length > 24 || v->merge_count == wanted) {
            continue;
        }
        if (find(v, whole) < 0) {
            (void)snprintf(v->spelled[v->count++], 64, "%s", whole);
        }
        v->left[v->merge_count] = left;
        v->right[v->merge_count] = right;
        v->merged[v->merge_count++] = find(v, whole);
    }
    for (int i = v->merge_count - 1; i > 0 && !ordered; i--) {
        const int k = (int)test_int(0, i);
        int *const lists[] = {v->left, v->right, v->merged};
        for (int l = 0; l < 3; l++) {
            const int kept = lists[l][i];
            lists[l][i] = lists[l][k];
            lists[l][k] = kept;
        }
    }
}

/* Byte-level: ids of the other bytes follow. Characters: those of their fallback do. */
static void write_vocab(const vocab *v, bool byte_level, bool ignore_merges, const char *directory)
{
    char path[LC_MAX_PATH_BYTES];
    lc_text text;
    lc_text_init(&text);
    lc_text_addf(&text,
                 "{\"normalizer\":null,\"pre_tokenizer\":%s,\"decoder\":{\"type\":\"%s\"},"
                 "\"post_processor\":null,\"added_tokens\":[],\"model\":{\"type\":\"BPE\","
                 "\"byte_fallback\":%s,\"ignore_merges\":%s,\"vocab\":{",
                 byte_level ? "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,"
                              "\"use_regex\":false}"
                            : "null",
                 byte_level ? "ByteLevel" : "ByteFallback", byte_level ? "false" : "true",
                 ignore_merges ? "true" : "false");
    int id = 0;
    for (; id < v->count; id++) {
        lc_text_addf(&text, "%s", id > 0 ? "," : "");
        lc_text_add_json_string(&text, v->spelled[id], strlen(v->spelled[id]));
        lc_text_addf(&text, ":%d", id);
    }
    for (int byte = 0; byte < 256; byte++) {
        char spelled[8] = "";
        if (byte_level) {
            (void)lc_byte_spell((uint8_t)byte, spelled);
        } else {
            (void)snprintf(spelled, sizeof spelled, "<0x%02X>", (unsigned)byte);
        }
        if (find(v, spelled) < 0) {
            lc_text_addf(&text, ",");
            lc_text_add_json_string(&text, spelled, strlen(spelled));
            lc_text_addf(&text, ":%d", id++);
        }
    }
    lc_text_addf(&text, "},\"merges\":[");
    for (int i = 0; i < v->merge_count; i++) {
        const char *left = v->spelled[v->left[i]], *right = v->spelled[v->right[i]];
        if (i % 2 == 0) {
            lc_text_addf(&text, "%s\"%s %s\"", i > 0 ? "," : "", left, right);
        } else {
            lc_text_addf(&text, ",[\"%s\", \"%s\"]", left, right);
        }
    }
    lc_text_addf(&text, "]}}");
    assert_ok(lc_text_finish(&text, "test", &test_err));
    assert_ok(lc_path_join(directory, "tokenizer.json", path, &test_err));
    test_write_file(path, text.data, text.length);
    lc_text_release(&text);
}

/* The definition. A later rank of a pair replaces the earlier one. */
static size_t merge_plainly(const vocab *v, int *ids, size_t count)
{
    for (;;) {
        size_t best = count;
        int best_rank = v->merge_count;
        for (size_t i = 0; i + 1 < count; i++) {
            int rank = v->merge_count - 1;
            while (rank >= 0 && !(v->left[rank] == ids[i] && v->right[rank] == ids[i + 1])) {
                rank--;
            }
            if (rank >= 0 && rank < best_rank) {
                best_rank = rank;
                best = i;
            }
        }
        if (best == count) {
            return count;
        }
        ids[best] = v->merged[best_rank];
        count--;
        memmove(ids + best + 1, ids + best + 2, (count - best - 1) * sizeof *ids);
    }
}

static void check_word(const lc_tokenizer *t, const vocab *v, bool metaspace, bool ignore_merges,
                       int64_t letters)
{
    char word[3 * MAX_WORD + 1];
    int ids[MAX_WORD];
    size_t bytes = 0, count = 0;
    lc_tokens tokens = {0};
    int64_t some = test_int(1, LETTERS);
    for (int64_t i = 0; i < letters; i++) {
        ids[count] = (int)test_int(0, some - 1);
        some = metaspace && test_int(0, 9) == 0 ? LETTERS : some;
        const size_t length = strlen(v->spelled[ids[count]]);
        memcpy(word + bytes, v->spelled[ids[count++]], length);
        bytes += length;
    }
    word[bytes] = '\0';
    const int whole = ignore_merges ? find(v, word) : -1;
    count = whole >= 0 ? 1 : merge_plainly(v, ids, count);
    ids[0] = whole >= 0 ? whole : ids[0];
    for (int again = 0; again < 2; again++) { /* the second time from the cache */
        tokens.count = 0;
        assert_ok(lc_tokenizer_encode(t, word, bytes, false, &tokens, &test_err));
        assert_int_equal(tokens.count, count);
        size_t at = 0;
        for (size_t i = 0; i < count; i++) {
            assert_int_equal(tokens.ids[i], ids[i]);
            assert_int_equal(tokens.starts[i], at);
            at += strlen(v->spelled[ids[i]]);
            assert_int_equal(tokens.ends[i], at);
        }
    }
    lc_tokens_release(&tokens);
}

static void all_ways_merge_as_defined(void **state)
{
    (void)state;
    static vocab v;
    const char *directory = test_dir();
    static const size_t windows[] = {16, 64, LC_BPE_WINDOW};
    int cut = 0, whole = 0;
    for (int round = 0; round < 120; round++) {
        const bool byte_level = round % 2 == 0, ignore_merges = test_int(0, 3) == 0;
        lc_tokenizer *t = NULL;
        make_vocab(&v, !byte_level, test_int(0, 1) == 0);
        write_vocab(&v, byte_level, ignore_merges, directory);
        assert_ok(lc_tokenizer_load(directory, &t, &test_err));
        assert_true(t->bpe.byte_level == byte_level);
        t->bpe.window = windows[test_int(0, 2)];
        cut += t->bpe.cuts_at_metaspace ? 1 : 0;
        whole += t->bpe.cuts_at_metaspace ? 0 : 1;
        for (int i = 0; i < 60; i++) {
            const int64_t most = test_int(0, 2) == 0 ? MAX_WORD : 45;
            check_word(t, &v, !byte_level, ignore_merges, test_int(1, most));
        }
        lc_tokenizer_free(t);
    }
    assert_true(cut > 0 && whole > 60); /* byte-level vocabularies are never cut so */
}

/* A long word takes the memory of a window, and gives what merging it as a whole gives. */
static void long_words_stay_in_windows(void **state)
{
    (void)state;
    static vocab v;
    static char word[50000];
    const char *directory = test_dir();
    for (int round = 0; round < 10; round++) {
        lc_tokenizer *t = NULL;
        lc_tokens tokens = {0}, whole = {0};
        make_vocab(&v, false, true);
        write_vocab(&v, true, false, directory);
        assert_ok(lc_tokenizer_load(directory, &t, &test_err));
        const int64_t letters = test_int(1, LETTERS);
        for (size_t i = 0; i < sizeof word; i++) {
            word[i] = (char)('a' + test_int(0, letters - 1));
        }
        assert_ok(lc_tokenizer_encode(t, word, sizeof word, false, &tokens, &test_err));
        assert_int_equal(t->pool->first->scratch.capacity, LC_BPE_WINDOW);
        t->bpe.window = SIZE_MAX;
        assert_ok(lc_tokenizer_encode(t, word, sizeof word, false, &whole, &test_err));
        assert_true(t->pool->first->scratch.capacity > LC_BPE_WINDOW);
        assert_int_equal(tokens.count, whole.count);
        assert_memory_equal(tokens.ids, whole.ids, whole.count * sizeof *whole.ids);
        assert_memory_equal(tokens.ends, whole.ends, whole.count * sizeof *whole.ends);
        lc_tokens_release(&tokens);
        lc_tokens_release(&whole);
        lc_tokenizer_free(t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(long_words_stay_in_windows),
        cmocka_unit_test(all_ways_merge_as_defined),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
