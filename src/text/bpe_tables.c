/*
 * The tables of byte-pair encoding, see bpe.h: spellings, merges, single characters. Filled while a
 * tokenizer is loaded, which is most of what loading costs.
 */
#include "text/bpe.h"

#include <stdio.h>
#include <string.h>

#include "text/utf8.h"

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

/* Two thirds full at most. */
static size_t table_size(size_t entries)
{
    size_t size = 16;
    while (size < entries + entries / 2) {
        size *= 2;
    }
    return size;
}

lc_code lc_bpe_init(lc_bpe *bpe, int32_t token_count, size_t vocab_count, size_t merge_count,
                    lc_arena *arena, lc_err *err)
{
    void *memory = NULL;
    bpe->token_count = token_count;
    bpe->window = LC_BPE_WINDOW;
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

/* The slot that holds the spelling, or the empty one where it would go. */
static size_t slot_of(const lc_bpe *bpe, const char *spelled, size_t bytes, uint32_t hash)
{
    size_t slot = hash & (bpe->slot_count - 1);
    for (; bpe->slots[slot].id >= 0; slot = (slot + 1) & (bpe->slot_count - 1)) {
        const lc_token *token = &bpe->tokens[bpe->slots[slot].id];
        if (bpe->slots[slot].hash == hash && token->spelled_bytes == bytes &&
            memcmp(token->spelled, spelled, bytes) == 0) {
            break;
        }
    }
    return slot;
}

bool lc_bpe_enter(lc_bpe *bpe, int32_t id)
{
    const lc_token *token = &bpe->tokens[id];
    const uint32_t hash = lc_bpe_hash(token->spelled, token->spelled_bytes);
    const size_t slot = slot_of(bpe, token->spelled, token->spelled_bytes, hash);
    if (bpe->slots[slot].id >= 0) {
        return false;
    }
    bpe->slots[slot] = (lc_spelling){hash, id};
    return true;
}

int32_t lc_bpe_find(const lc_bpe *bpe, const char *spelled, size_t bytes)
{
    return bpe->slots[slot_of(bpe, spelled, bytes, lc_bpe_hash(spelled, bytes))].id;
}

/* ---- merges ---- */

/* Merges that are entered together, so that the memory they need is on its way while others are
 * looked at: the tables are larger than caches. */
#define BATCH 32

/* A merge on its way into the table. */
typedef struct entering {
    struct {
        const char *spelled;
        uint32_t bytes, hash;
        int32_t id;
    } sides[3]; /* left, right, both */
} entering;

static void begin_merge(const lc_bpe *bpe, const char *spellings, const lc_merge_entry *entry,
                        entering *e)
{
    const char *left = spellings + entry->at;
    e->sides[0].spelled = e->sides[2].spelled = left;
    e->sides[1].spelled = left + entry->left_bytes;
    e->sides[0].bytes = entry->left_bytes;
    e->sides[1].bytes = entry->right_bytes;
    e->sides[2].bytes = entry->left_bytes + entry->right_bytes;
    for (int i = 0; i < 3; i++) {
        e->sides[i].hash = lc_bpe_hash(e->sides[i].spelled, e->sides[i].bytes);
        __builtin_prefetch(&bpe->slots[e->sides[i].hash & (bpe->slot_count - 1)]);
    }
}

static void prefetch_tokens(const lc_bpe *bpe, const entering *e)
{
    for (int i = 0; i < 3; i++) {
        const int32_t id = bpe->slots[e->sides[i].hash & (bpe->slot_count - 1)].id;
        __builtin_prefetch(&bpe->tokens[id < 0 ? 0 : id]);
    }
}

static void prefetch_spellings(const lc_bpe *bpe, const entering *e)
{
    for (int i = 0; i < 3; i++) {
        const int32_t id = bpe->slots[e->sides[i].hash & (bpe->slot_count - 1)].id;
        __builtin_prefetch(bpe->tokens[id < 0 ? 0 : id].spelled);
    }
}

/* Finds the three tokens; false when one is none. */
static bool find_sides(const lc_bpe *bpe, entering *e)
{
    for (int i = 0; i < 3; i++) {
        const size_t slot = slot_of(bpe, e->sides[i].spelled, e->sides[i].bytes, e->sides[i].hash);
        e->sides[i].id = bpe->slots[slot].id;
        if (e->sides[i].id < 0) {
            return false;
        }
    }
    const uint64_t pair = lc_bpe_pair(e->sides[0].id, e->sides[1].id);
    __builtin_prefetch(&bpe->merges[lc_bpe_mix(pair) & (bpe->merge_slots - 1)], 1);
    return true;
}

/* How many of at most BATCH merges were entered, up to the first that cannot be. */
static size_t enter_batch(lc_bpe *bpe, const char *spellings, const lc_merge_entry *entries,
                          size_t count, uint32_t rank)
{
    entering batch[BATCH];
    size_t good = 0;
    while (good < count && entries[good].at != LC_NO_MERGE) {
        begin_merge(bpe, spellings, &entries[good], &batch[good]);
        good++;
    }
    for (size_t i = 0; i < good; i++) {
        prefetch_tokens(bpe, &batch[i]);
    }
    for (size_t i = 0; i < good; i++) {
        prefetch_spellings(bpe, &batch[i]);
    }
    size_t found = 0;
    while (found < good && find_sides(bpe, &batch[found])) {
        found++;
    }
    for (size_t i = 0; i < found; i++) {
        const uint64_t pair = lc_bpe_pair(batch[i].sides[0].id, batch[i].sides[1].id);
        *lc_bpe_merge_slot(bpe, pair) =
            (lc_merge){.pair = pair, .rank = rank + (uint32_t)i, .id = batch[i].sides[2].id};
    }
    return found;
}

/* Whether a blank of metaspace stands in the spelling behind something else. */
static bool has_inner_metaspace(const char *spelled, size_t bytes)
{
    for (size_t at = 1; at + 3 <= bytes; at++) {
        if (memcmp(spelled + at, LC_METASPACE, 3) == 0 &&
            (at < 3 || memcmp(spelled + at - 3, LC_METASPACE, 3) != 0)) {
            return true;
        }
    }
    return false;
}

size_t lc_bpe_enter_merges(lc_bpe *bpe, const char *spellings, const lc_merge_entry *entries,
                           size_t count)
{
    size_t entered = 0;
    while (entered < count) {
        const size_t wanted = count - entered < BATCH ? count - entered : BATCH;
        const size_t got =
            enter_batch(bpe, spellings, entries + entered, wanted, (uint32_t)entered);
        entered += got;
        if (got < wanted) {
            return entered;
        }
    }
    bpe->cuts_at_metaspace = !bpe->ignore_merges && lc_bpe_char_id(bpe, 0x2581) >= 0;
    for (size_t i = 0; i < count && bpe->cuts_at_metaspace; i++) {
        const lc_merge_entry *e = &entries[i];
        bpe->cuts_at_metaspace =
            !has_inner_metaspace(spellings + e->at, (size_t)e->left_bytes + e->right_bytes);
    }
    return entered;
}

/* ---- characters ---- */

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
