/*
 * Byte-pair encoding, see bpe.h. The order of merges is Hugging Face's: lowest rank first,
 * leftmost among equal ranks. Immutable after loading; scratch is per call.
 */
#include "text/bpe.h"

#include <stdio.h>
#include <string.h>

#include "text/utf8.h"

/* A symbol of the word: a linked list, so that a merge costs nothing. */
struct lc_bpe_symbol {
    int32_t id;             /* -1: merged into the one before */
    int32_t previous, next; /* -1 at the ends */
    uint32_t start;
};

/* A pair that could be merged; stale when the symbols at its place are no longer this pair. */
struct lc_bpe_candidate {
    uint32_t rank, place;
    int32_t left, right, merged;
};

typedef struct lc_bpe_symbol symbol;
typedef struct lc_bpe_candidate candidate;

/* ---- the 256 characters of GPT-2 ---- */

/* Printable Latin-1 stands for itself, the rest is moved to U+0100 and on, in order. */
static bool is_its_own(uint32_t byte)
{
    return (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
}

static uint32_t spell(uint8_t byte)
{
    if (is_its_own(byte)) {
        return byte;
    }
    if (byte <= 0x20) {
        return 0x100 + byte;
    }
    return byte == 0xad ? 0x143 : 0x121 + (byte - 0x7fu); /* 0x7f .. 0xa0, then 0xad */
}

/* The byte of a character, -1 when it is none of the 256. */
static int unspell(uint32_t code_point)
{
    if (code_point < 0x100) {
        return is_its_own(code_point) ? (int)code_point : -1;
    }
    if (code_point <= 0x120) {
        return (int)(code_point - 0x100);
    }
    if (code_point <= 0x142) {
        return (int)(code_point - 0x121 + 0x7f);
    }
    return code_point == 0x143 ? 0xad : -1;
}

size_t lc_byte_spell(uint8_t byte, char *out)
{
    return lc_utf8_encode(spell(byte), out);
}

size_t lc_byte_unspell(const char *spelled, size_t bytes, char *out)
{
    size_t count = 0, length = 0;
    for (size_t at = 0; at < bytes; at += length) {
        int byte = -1;
        if (lc_utf8_next(spelled + at, bytes - at, &length) == LC_UTF8_CHARACTER) {
            byte = unspell(lc_utf8_decode(spelled + at, length));
        }
        if (byte < 0) {
            memcpy(out, spelled, bytes);
            return bytes;
        }
        out[count++] = (char)byte;
    }
    return count;
}

/* ---- tables ---- */

static size_t table_size(size_t entries)
{
    size_t size = 16;
    while (size < 2 * entries) {
        size *= 2;
    }
    return size;
}

lc_code lc_bpe_init(lc_bpe *bpe, int32_t token_count, size_t vocab_count, size_t merge_count,
                    lc_arena *arena, lc_err *err)
{
    void *memory = NULL;
    bpe->token_count = token_count;
    bpe->slot_count = table_size(vocab_count);
    bpe->merge_slots = table_size(merge_count);
    LC_TRY(lc_arena_alloc(arena, (size_t)token_count, sizeof *bpe->tokens, &memory, err));
    bpe->tokens = memory;
    LC_TRY(lc_arena_alloc(arena, bpe->slot_count, sizeof *bpe->slots, &memory, err));
    bpe->slots = memory;
    LC_TRY(lc_arena_alloc(arena, bpe->merge_slots, sizeof *bpe->merges, &memory, err));
    bpe->merges = memory;
    memset(bpe->slots, 0xff, bpe->slot_count * sizeof *bpe->slots);
    memset(bpe->merges, 0xff, bpe->merge_slots * sizeof *bpe->merges);
    return LC_OK;
}

static uint64_t mix(uint64_t value)
{
    value ^= value >> 32;
    value *= 0x9e3779b97f4a7c15ull;
    return value ^ value >> 29;
}

static size_t slot_of(const lc_bpe *bpe, const char *spelled, size_t bytes)
{
    uint64_t hash = 0xcbf29ce484222325ull; /* FNV-1a */
    for (size_t i = 0; i < bytes; i++) {
        hash = (hash ^ (uint8_t)spelled[i]) * 0x100000001b3ull;
    }
    size_t slot = mix(hash) & (bpe->slot_count - 1);
    for (int32_t id = bpe->slots[slot]; id >= 0; id = bpe->slots[slot]) {
        const lc_token *token = &bpe->tokens[id];
        if (token->spelled_bytes == bytes && memcmp(token->spelled, spelled, bytes) == 0) {
            break;
        }
        slot = (slot + 1) & (bpe->slot_count - 1);
    }
    return slot;
}

bool lc_bpe_enter(lc_bpe *bpe, int32_t id)
{
    const lc_token *token = &bpe->tokens[id];
    const size_t slot = slot_of(bpe, token->spelled, token->spelled_bytes);
    if (bpe->slots[slot] >= 0) {
        return false;
    }
    bpe->slots[slot] = id;
    return true;
}

int32_t lc_bpe_find(const lc_bpe *bpe, const char *spelled, size_t bytes)
{
    return bpe->slots[slot_of(bpe, spelled, bytes)];
}

/* The slot that holds the pair, or the empty one where it would go. */
static lc_merge *merge_slot(const lc_bpe *bpe, int32_t left, int32_t right)
{
    const uint64_t pair = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    size_t slot = mix(pair) & (bpe->merge_slots - 1);
    while (bpe->merges[slot].id >= 0 && bpe->merges[slot].pair != pair) {
        slot = (slot + 1) & (bpe->merge_slots - 1);
    }
    return &bpe->merges[slot];
}

void lc_bpe_enter_merge(lc_bpe *bpe, int32_t left, int32_t right, uint32_t rank, int32_t merged)
{
    *merge_slot(bpe, left, right) = (lc_merge){
        .pair = (uint64_t)(uint32_t)left << 32 | (uint32_t)right, .rank = rank, .id = merged};
}

/* Enters the tokens that are one character each; *page_count pages have been handed out. Without
 * char_ids only counts. */
static void enter_chars(lc_bpe *bpe, uint16_t *page_count)
{
    for (int32_t id = 0; id < bpe->token_count; id++) {
        const lc_token *token = &bpe->tokens[id];
        size_t length = 0;
        if (token->spelled == NULL || token->spelled_bytes == 0 || token->spelled_bytes > 4 ||
            lc_utf8_next(token->spelled, token->spelled_bytes, &length) != LC_UTF8_CHARACTER ||
            length != token->spelled_bytes) {
            continue;
        }
        const uint32_t code_point = lc_utf8_decode(token->spelled, length);
        uint16_t *page = &bpe->pages[code_point / 256];
        if (*page == 0) {
            *page = ++*page_count;
        }
        if (bpe->char_ids != NULL) {
            bpe->char_ids[(size_t)(*page - 1) * 256 + code_point % 256] = id;
        }
    }
}

lc_code lc_bpe_index(lc_bpe *bpe, lc_arena *arena, lc_err *err)
{
    uint16_t pages = 0;
    void *memory = NULL;
    enter_chars(bpe, &pages);
    LC_TRY(lc_arena_alloc(arena, (size_t)pages * 256 + 1, sizeof *bpe->char_ids, &memory, err));
    bpe->char_ids = memory;
    memset(bpe->char_ids, 0xff, (size_t)pages * 256 * sizeof *bpe->char_ids);
    enter_chars(bpe, &pages);
    for (int byte = 0; byte < 256; byte++) {
        char spelled[8];
        bpe->byte_ids[byte] = lc_bpe_find(bpe, spelled, lc_byte_spell((uint8_t)byte, spelled));
        (void)snprintf(spelled, sizeof spelled, "<0x%02X>", (unsigned)byte);
        bpe->fallback_ids[byte] = lc_bpe_find(bpe, spelled, 6);
    }
    return LC_OK;
}

/* ---- scratch and output ---- */

void lc_bpe_scratch_release(lc_bpe_scratch *scratch)
{
    lc_free(scratch->symbols);
    lc_free(scratch->heap);
    *scratch = (lc_bpe_scratch){0};
}

/* A word of n bytes has at most n - 1 pairs at first, and each of at most n - 1 merges adds two. */
static lc_code reserve(lc_bpe_scratch *scratch, size_t bytes, lc_err *err)
{
    if (bytes <= scratch->capacity) {
        return LC_OK;
    }
    const size_t capacity = bytes < 64 ? 64 : bytes + bytes / 2;
    lc_bpe_scratch_release(scratch);
    scratch->symbols = lc_malloc(capacity * sizeof *scratch->symbols);
    scratch->heap = lc_malloc(3 * capacity * sizeof *scratch->heap);
    if (scratch->symbols == NULL || scratch->heap == NULL) {
        lc_bpe_scratch_release(scratch);
        return lc_fail(err, LC_ERR_MEMORY, "no memory to encode a word of %zu bytes", bytes);
    }
    scratch->capacity = capacity;
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

/* ---- merging ---- */

static bool goes_before(const candidate *a, const candidate *b)
{
    return a->rank != b->rank ? a->rank < b->rank : a->place < b->place;
}

static void heap_push(lc_bpe_scratch *scratch, candidate item)
{
    size_t at = scratch->heap_count++;
    while (at > 0 && goes_before(&item, &scratch->heap[(at - 1) / 2])) {
        scratch->heap[at] = scratch->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    scratch->heap[at] = item;
}

static candidate heap_pop(lc_bpe_scratch *scratch)
{
    const candidate top = scratch->heap[0];
    const candidate item = scratch->heap[--scratch->heap_count];
    const size_t count = scratch->heap_count;
    size_t at = 0;
    for (size_t child = 1; child < count; child = 2 * at + 1) {
        if (child + 1 < count && goes_before(&scratch->heap[child + 1], &scratch->heap[child])) {
            child++;
        }
        if (!goes_before(&scratch->heap[child], &item)) {
            break;
        }
        scratch->heap[at] = scratch->heap[child];
        at = child;
    }
    scratch->heap[at] = item;
    return top;
}

/* Offers the pair that begins at symbol `place`. */
static void offer(const lc_bpe *bpe, lc_bpe_scratch *scratch, int32_t place)
{
    const symbol *left = &scratch->symbols[place];
    if (left->next < 0) {
        return;
    }
    const symbol *right = &scratch->symbols[left->next];
    const lc_merge *merge = merge_slot(bpe, left->id, right->id);
    if (merge->id >= 0) {
        heap_push(scratch,
                  (candidate){merge->rank, (uint32_t)place, left->id, right->id, merge->id});
    }
}

static void merge_at(const lc_bpe *bpe, lc_bpe_scratch *scratch, const candidate *item)
{
    symbol *left = &scratch->symbols[item->place];
    if (left->id != item->left || left->next < 0 ||
        scratch->symbols[left->next].id != item->right) {
        return; /* stale */
    }
    symbol *right = &scratch->symbols[left->next];
    left->id = item->merged;
    left->next = right->next;
    right->id = -1;
    if (left->next >= 0) {
        scratch->symbols[left->next].previous = (int32_t)item->place;
    }
    if (left->previous >= 0) {
        offer(bpe, scratch, left->previous);
    }
    offer(bpe, scratch, (int32_t)item->place);
}

/* ---- the symbols a word begins with ---- */

static void add_symbol(lc_bpe_scratch *scratch, int32_t id, size_t bytes)
{
    const int32_t place = scratch->count++;
    scratch->symbols[place] = (symbol){id, place - 1, place + 1, scratch->end};
    scratch->end += (uint32_t)bytes;
}

static void split_bytes(const lc_bpe *bpe, lc_bpe_scratch *scratch, const char *word, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        add_symbol(scratch, bpe->byte_ids[(uint8_t)word[i]], 1);
    }
}

static int32_t char_id(const lc_bpe *bpe, uint32_t code_point)
{
    const uint16_t page = bpe->pages[code_point / 256];
    return page == 0 ? -1 : bpe->char_ids[(size_t)(page - 1) * 256 + code_point % 256];
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
        add_symbol(scratch, bpe->fallback_ids[(uint8_t)bytes[i]], 1);
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
        const int32_t id = char_id(bpe, lc_utf8_decode(word + at, length));
        if (id < 0 && bpe->byte_fallback && fall_back(bpe, scratch, word + at, length)) {
            continue;
        }
        if (id < 0 && bpe->unknown == NULL) {
            continue;
        }
        if (unknown > 0 && (id >= 0 || !bpe->fuse_unknown)) {
            add_symbol(scratch, bpe->unknown_id, unknown);
            unknown = 0;
        }
        if (id >= 0) {
            add_symbol(scratch, id, length);
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
        add_symbol(scratch, bpe->unknown_id, unknown);
    }
    return LC_OK;
}

static lc_code split_word(const lc_bpe *bpe, lc_bpe_scratch *scratch, const char *word,
                          size_t bytes, lc_err *err)
{
    LC_TRY(reserve(scratch, bytes, err));
    scratch->count = 0;
    scratch->end = 0;
    scratch->heap_count = 0;
    if (bpe->byte_level) {
        split_bytes(bpe, scratch, word, bytes);
    } else {
        LC_TRY(split_chars(bpe, scratch, word, bytes, err));
    }
    if (scratch->count > 0) {
        scratch->symbols[scratch->count - 1].next = -1;
    }
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

lc_code lc_bpe_encode(const lc_bpe *bpe, lc_bpe_scratch *scratch, const char *word, size_t bytes,
                      lc_tokens *tokens, lc_err *err)
{
    const int32_t whole = bpe->ignore_merges ? whole_word(bpe, word, bytes) : -1;
    if (whole >= 0) {
        return lc_tokens_push(tokens, whole, 0, bytes, err);
    }
    LC_TRY(split_word(bpe, scratch, word, bytes, err));
    for (int32_t i = 0; i < scratch->count; i++) {
        offer(bpe, scratch, i);
    }
    while (scratch->heap_count > 0) {
        const candidate item = heap_pop(scratch);
        merge_at(bpe, scratch, &item);
    }
    for (int32_t i = scratch->count > 0 ? 0 : -1; i >= 0;) {
        const symbol *s = &scratch->symbols[i];
        const uint32_t end = s->next >= 0 ? scratch->symbols[s->next].start : scratch->end;
        LC_TRY(lc_tokens_push(tokens, s->id, s->start, end, err));
        i = s->next;
    }
    return LC_OK;
}
