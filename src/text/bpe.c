/*
 * Byte-pair encoding of words, see bpe.h. A word that was seen before is looked up; else its
 * characters become units, which bpe_window.c merges.
 */
#include "text/bpe.h"

#include "text/utf8.h"

#define KEPT_SYMBOLS ((size_t)1 << 16) /* of a scratch between texts */

/* ---- words that were seen ---- */

#define CACHED_WORDS  ((size_t)1 << 14) /* a power of two, as the ways */
#define CACHED_BYTES  32
#define CACHED_TOKENS 6

/* A word and its tokens: one line of a processor's cache. */
typedef struct lc_bpe_word {
    uint8_t bytes; /* 0: no word */
    uint8_t count;
    uint8_t ends[CACHED_TOKENS];
    int32_t ids[CACHED_TOKENS];
    char text[CACHED_BYTES];
} word_entry;

/* ---- scratch and output ---- */

void lc_bpe_release_symbols(lc_bpe_scratch *scratch)
{
    lc_free(scratch->symbols);
    lc_free(scratch->tree);
    scratch->symbols = NULL;
    scratch->tree = NULL;
    scratch->capacity = 0;
}

static void release_units(lc_bpe_scratch *scratch)
{
    lc_free(scratch->units);
    scratch->units = NULL;
    scratch->unit_capacity = 0;
}

void lc_bpe_scratch_release(lc_bpe_scratch *scratch)
{
    lc_bpe_release_symbols(scratch);
    release_units(scratch);
    lc_free(scratch->words);
    *scratch = (lc_bpe_scratch){0};
}

void lc_bpe_scratch_shrink(lc_bpe_scratch *scratch)
{
    if (scratch->capacity > KEPT_SYMBOLS) {
        lc_bpe_release_symbols(scratch);
    }
    if (scratch->unit_capacity > KEPT_SYMBOLS) {
        release_units(scratch);
    }
}

/* Room for the units of a word of so many bytes. */
static lc_code reserve(lc_bpe_scratch *scratch, size_t bytes, lc_err *err)
{
    if (bytes < scratch->unit_capacity) {
        return LC_OK;
    }
    size_t capacity = 256;
    while (capacity <= bytes) {
        capacity *= 2;
    }
    release_units(scratch);
    scratch->units = lc_malloc(capacity * sizeof *scratch->units);
    if (scratch->units == NULL) {
        return lc_fail(err, LC_ERR_MEMORY, "no memory to encode a word of %zu bytes", bytes);
    }
    scratch->unit_capacity = capacity;
    return LC_OK;
}

/* Grows one array of a token list; false when there is no memory. */
static bool grow(int32_t **values, size_t capacity)
{
    int32_t *grown = lc_realloc(*values, capacity * sizeof *grown);
    if (grown != NULL) {
        *values = grown;
    }
    return grown != NULL;
}

lc_code lc_tokens_push(lc_tokens *tokens, int32_t id, size_t start, size_t end, lc_err *err)
{
    if (tokens->count == tokens->capacity) {
        const size_t capacity = tokens->capacity < 64 ? 64 : 2 * tokens->capacity;
        if (!grow(&tokens->ids, capacity) || !grow(&tokens->starts, capacity) ||
            !grow(&tokens->ends, capacity)) {
            return lc_fail(err, LC_ERR_MEMORY, "no memory for %zu tokens", capacity);
        }
        tokens->capacity = capacity;
    }
    tokens->ids[tokens->count] = id;
    tokens->starts[tokens->count] = (int32_t)start;
    tokens->ends[tokens->count++] = (int32_t)end;
    return LC_OK;
}

/* ---- the units a word begins with ---- */

static void add_unit(lc_bpe_scratch *scratch, int32_t id, size_t bytes)
{
    lc_bpe_unit *unit = &scratch->units[scratch->unit_count++];
    unit[0].id = id;
    unit[1].start = unit[0].start + (uint32_t)bytes;
}

static void split_bytes(const lc_bpe *bpe, lc_bpe_scratch *scratch, const char *word, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        add_unit(scratch, bpe->byte_ids[(uint8_t)word[i]], 1);
    }
}

/* Adds the bytes of a character as tokens; false, and nothing added, when one of them has none. */
static bool fall_back(const lc_bpe *bpe, lc_bpe_scratch *scratch, const char *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (bpe->fallback_ids[(uint8_t)bytes[i]] < 0) {
            return false;
        }
    }
    for (size_t i = 0; i < length; i++) {
        add_unit(scratch, bpe->fallback_ids[(uint8_t)bytes[i]], 1);
    }
    return true;
}

/* Unknown characters wait until one with a token comes; bytes of a fallback overtake them, as in
 * Hugging Face. */
static lc_code split_chars(const lc_bpe *bpe, lc_bpe_scratch *scratch, const char *word,
                           size_t bytes, lc_err *err)
{
    size_t length = 0, unknown = 0; /* bytes of characters that wait */
    for (size_t at = 0; at < bytes; at += length) {
        (void)lc_utf8_next(word + at, bytes - at, &length);
        const int32_t id = lc_bpe_char_id(bpe, lc_utf8_decode(word + at, length));
        if (id < 0 && bpe->byte_fallback && fall_back(bpe, scratch, word + at, length)) {
            continue;
        }
        if (id < 0 && bpe->unknown == NULL) {
            continue;
        }
        if (unknown > 0 && (id >= 0 || !bpe->fuse_unknown)) {
            add_unit(scratch, bpe->unknown_id, unknown);
            unknown = 0;
        }
        if (id >= 0) {
            add_unit(scratch, id, length);
        } else if (bpe->unknown_id < 0) {
            return lc_fail(err, LC_ERR_INVALID,
                           "the text has a character without a token, and the vocabulary has no "
                           "\"%.64s\" (unk_token) for those",
                           bpe->unknown);
        } else {
            unknown += length;
        }
    }
    if (unknown > 0) {
        add_unit(scratch, bpe->unknown_id, unknown);
    }
    return LC_OK;
}

static lc_code split_word(const lc_bpe *bpe, lc_bpe_scratch *scratch, const char *word,
                          size_t bytes, lc_err *err)
{
    LC_TRY(reserve(scratch, bytes, err));
    scratch->unit_count = 0;
    scratch->units[0].start = 0;
    if (!bpe->byte_level) {
        return split_chars(bpe, scratch, word, bytes, err);
    }
    split_bytes(bpe, scratch, word, bytes);
    return LC_OK;
}

/* The token that is the whole word, -1 when there is none. */
static int32_t whole_word(const lc_bpe *bpe, const char *word, size_t bytes)
{
    char spelled[LC_MAX_WHOLE_WORD + 1];
    size_t length = 0;
    if (!bpe->byte_level) {
        return lc_bpe_find(bpe, word, bytes);
    }
    for (size_t i = 0; i < bytes; i++) {
        if (length + 2 > sizeof spelled) {
            return -1; /* no token is longer, load has seen to that */
        }
        length += lc_byte_spell((uint8_t)word[i], spelled + length);
    }
    return lc_bpe_find(bpe, spelled, length);
}

/* The tokens of a word that is no known one, behind `from`, where those before it end. */
static lc_code encode_word(const lc_bpe *bpe, lc_bpe_scratch *scratch, const char *word,
                           size_t bytes, size_t from, lc_tokens *tokens, lc_err *err)
{
    const int32_t whole = bpe->ignore_merges ? whole_word(bpe, word, bytes) : -1;
    if (whole >= 0) {
        return lc_tokens_push(tokens, whole, from, from + bytes, err);
    }
    LC_TRY(split_word(bpe, scratch, word, bytes, err));
    return lc_bpe_encode_units(bpe, scratch, from, tokens, err);
}

/* The line of the cache that the word belongs into; NULL when it is too long, or there is no cache
 * for want of memory. */
static word_entry *entry_of(lc_bpe_scratch *scratch, const char *word, size_t bytes)
{
    if (bytes > CACHED_BYTES) {
        return NULL;
    }
    if (!scratch->has_cache) {
        scratch->words = lc_calloc(CACHED_WORDS, sizeof *scratch->words);
        scratch->has_cache = true;
    }
    return scratch->words == NULL ? NULL
                                  : &scratch->words[lc_bpe_hash(word, bytes) & (CACHED_WORDS - 1)];
}

static void remember(word_entry *entry, const char *word, size_t bytes, size_t from,
                     const lc_tokens *tokens, size_t first)
{
    const size_t count = tokens->count - first;
    if (count > CACHED_TOKENS) {
        return;
    }
    entry->bytes = (uint8_t)bytes;
    entry->count = (uint8_t)count;
    memcpy(entry->text, word, bytes);
    for (size_t i = 0; i < count; i++) {
        entry->ids[i] = tokens->ids[first + i];
        entry->ends[i] = (uint8_t)((size_t)tokens->ends[first + i] - from);
    }
}

static lc_code encode_part(const lc_bpe *bpe, lc_bpe_scratch *scratch, const char *word,
                           size_t bytes, size_t from, lc_tokens *tokens, lc_err *err)
{
    const size_t first = tokens->count;
    word_entry *entry = entry_of(scratch, word, bytes);
    if (entry != NULL && entry->bytes == bytes && memcmp(entry->text, word, bytes) == 0) {
        size_t start = from;
        for (int i = 0; i < entry->count; i++) {
            const size_t end = from + entry->ends[i];
            LC_TRY(lc_tokens_push(tokens, entry->ids[i], start, end, err));
            start = end;
        }
        return LC_OK;
    }
    LC_TRY(encode_word(bpe, scratch, word, bytes, from, tokens, err));
    if (entry != NULL) {
        remember(entry, word, bytes, from, tokens, first);
    }
    return LC_OK;
}

/* Where the part that begins the word ends: in front of the first U+2581 that is behind something
 * else. */
static size_t part_end(const char *word, size_t bytes)
{
    size_t at = 0;
    while (bytes - at >= 3 && memcmp(word + at, LC_METASPACE, 3) == 0) {
        at += 3;
    }
    const char *next = memmem(word + at, bytes - at, LC_METASPACE, 3);
    return next != NULL ? (size_t)(next - word) : bytes;
}

lc_code lc_bpe_encode(const lc_bpe *bpe, lc_bpe_scratch *scratch, const char *word, size_t bytes,
                      lc_tokens *tokens, lc_err *err)
{
    if (bpe->byte_level || !bpe->cuts_at_metaspace) {
        return bytes == 0 ? LC_OK : encode_part(bpe, scratch, word, bytes, 0, tokens, err);
    }
    const size_t first = tokens->count;
    for (size_t at = 0; at < bytes;) {
        const size_t length = part_end(word + at, bytes - at);
        const size_t from = tokens->count > first ? (size_t)tokens->ends[tokens->count - 1] : 0;
        LC_TRY(encode_part(bpe, scratch, word + at, length, from, tokens, err));
        at += length;
    }
    return LC_OK;
}
