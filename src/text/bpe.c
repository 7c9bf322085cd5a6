/*
 * Byte-pair encoding, see bpe.h. The order of merges is Hugging Face's: lowest rank first,
 * leftmost among equal ranks. Immutable after loading; scratch is per call.
 */
#include "text/bpe.h"

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

lc_code lc_tokens_push(lc_tokens *tokens, int32_t id, size_t start, lc_err *err)
{
    if (tokens->count == tokens->capacity) {
        const size_t capacity = tokens->capacity < 64 ? 64 : 2 * tokens->capacity;
        int32_t *ids = lc_realloc(tokens->ids, capacity * sizeof *ids);
        if (ids != NULL) {
            tokens->ids = ids;
        }
        int32_t *starts =
            ids != NULL ? lc_realloc(tokens->starts, capacity * sizeof *starts) : NULL;
        if (starts == NULL) {
            return lc_fail(err, LC_ERR_MEMORY, "no memory for %zu tokens", capacity);
        }
        tokens->starts = starts;
        tokens->capacity = capacity;
    }
    tokens->ids[tokens->count] = id;
    tokens->starts[tokens->count++] = (int32_t)start;
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

/* The symbols of the word's bytes; bytes without a token are left out. Returns their count. */
static int32_t split_bytes(const lc_bpe *bpe, lc_bpe_scratch *scratch, const char *word,
                           size_t bytes)
{
    int32_t count = 0;
    for (size_t i = 0; i < bytes; i++) {
        const int32_t id = bpe->byte_ids[(uint8_t)word[i]];
        if (id >= 0) {
            scratch->symbols[count] = (symbol){id, count - 1, count + 1, (uint32_t)i};
            count++;
        }
    }
    if (count > 0) {
        scratch->symbols[count - 1].next = -1;
    }
    return count;
}

/* The token that is the whole word, -1 when there is none. */
static int32_t whole_word(const lc_bpe *bpe, const char *word, size_t bytes)
{
    char spelled[512];
    size_t length = 0;
    if (2 * bytes > sizeof spelled) {
        return -1; /* load refuses longer tokens when merges may be ignored */
    }
    for (size_t i = 0; i < bytes; i++) {
        length += lc_byte_spell((uint8_t)word[i], spelled + length);
    }
    return lc_bpe_find(bpe, spelled, length);
}

lc_code lc_bpe_encode(const lc_bpe *bpe, lc_bpe_scratch *scratch, const char *word, size_t bytes,
                      size_t offset, lc_tokens *tokens, lc_err *err)
{
    const int32_t whole = bpe->ignore_merges ? whole_word(bpe, word, bytes) : -1;
    if (whole >= 0) {
        return lc_tokens_push(tokens, whole, offset, err);
    }
    LC_TRY(reserve(scratch, bytes, err));
    const int32_t count = split_bytes(bpe, scratch, word, bytes);
    scratch->heap_count = 0;
    for (int32_t i = 0; i < count; i++) {
        offer(bpe, scratch, i);
    }
    while (scratch->heap_count > 0) {
        const candidate item = heap_pop(scratch);
        merge_at(bpe, scratch, &item);
    }
    for (int32_t i = count > 0 ? 0 : -1; i >= 0; i = scratch->symbols[i].next) {
        LC_TRY(lc_tokens_push(tokens, scratch->symbols[i].id, offset + scratch->symbols[i].start,
                              err));
    }
    return LC_OK;
}
