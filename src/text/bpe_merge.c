/*
 * Merging the symbols of a window in Hugging Face's order: the pair of lowest rank, the leftmost of
 * those. A short one is searched anew for each merge. A long one keeps the rank of the pair that
 * begins at each place in the leaves of a tree, whose nodes have the lowest rank below them: a
 * merge changes three leaves, so n symbols cost n log n.
 */
#include "text/bpe.h"

#define NO_RANK     UINT32_MAX
#define SHORT_COUNT 40

typedef lc_bpe_symbol symbol;

static void merge_short(const lc_bpe *bpe, symbol *symbols, int32_t count);
static void merge_long(const lc_bpe *bpe, symbol *symbols, uint32_t *tree, int32_t count);

/* Leaves of a tree for so many symbols: a power of two. Node 1 is the root, node i has the children
 * 2 i and 2 i + 1. */
static size_t leaves_for(size_t count)
{
    size_t leaves = 64;
    while (leaves < count) {
        leaves *= 2;
    }
    return leaves;
}

/* Room for as many symbols, and a tree with a leaf for each. */
static lc_code reserve(lc_bpe_scratch *scratch, size_t count, lc_err *err)
{
    if (count <= scratch->capacity) {
        return LC_OK;
    }
    const size_t capacity = leaves_for(count);
    lc_bpe_release_symbols(scratch);
    scratch->symbols = lc_malloc(capacity * sizeof *scratch->symbols);
    scratch->tree = lc_malloc(2 * capacity * sizeof *scratch->tree);
    if (scratch->symbols == NULL || scratch->tree == NULL) {
        lc_bpe_release_symbols(scratch);
        return lc_fail(err, LC_ERR_MEMORY, "no memory to merge %zu symbols", count);
    }
    scratch->capacity = capacity;
    return LC_OK;
}

lc_code lc_bpe_merge(const lc_bpe *bpe, lc_bpe_scratch *scratch, size_t first, size_t count,
                     lc_err *err)
{
    LC_TRY(reserve(scratch, count, err));
    symbol *symbols = scratch->symbols;
    for (size_t i = 0; i < count; i++) {
        symbols[i] = (symbol){scratch->units[first + i].id, (int32_t)i - 1, (int32_t)i + 1};
    }
    symbols[count - 1].next = -1;
    if (count <= SHORT_COUNT) {
        merge_short(bpe, symbols, (int32_t)count);
    } else {
        merge_long(bpe, symbols, scratch->tree, (int32_t)count);
    }
    return LC_OK;
}

/* The rank of the merge of the pair that begins at a place; *merged is the token it gives. */
static uint32_t rank_at(const lc_bpe *bpe, const symbol *symbols, int32_t place, int32_t *merged)
{
    const symbol *left = &symbols[place];
    if (left->next < 0) {
        return NO_RANK;
    }
    const lc_merge *merge = lc_bpe_merge_slot(bpe, lc_bpe_pair(left->id, symbols[left->next].id));
    *merged = merge->id;
    return merge->id >= 0 ? merge->rank : NO_RANK;
}

/* Takes the right neighbour in; returns its place. */
static int32_t join(symbol *symbols, int32_t place, int32_t merged)
{
    symbol *left = &symbols[place];
    const int32_t gone = left->next;
    left->id = merged;
    left->next = symbols[gone].next;
    symbols[gone].id = -1;
    if (left->next >= 0) {
        symbols[left->next].previous = place;
    }
    return gone;
}

static void merge_short(const lc_bpe *bpe, symbol *symbols, int32_t count)
{
    uint32_t ranks[SHORT_COUNT];
    int32_t merged[SHORT_COUNT];
    for (int32_t i = 0; i < count; i++) {
        ranks[i] = rank_at(bpe, symbols, i, &merged[i]);
    }
    while (count > 0) {
        int32_t best = 0;
        for (int32_t i = 1; i < count; i++) {
            best = ranks[i] < ranks[best] ? i : best;
        }
        if (ranks[best] == NO_RANK) {
            return;
        }
        ranks[join(symbols, best, merged[best])] = NO_RANK;
        ranks[best] = rank_at(bpe, symbols, best, &merged[best]);
        const int32_t before = symbols[best].previous;
        if (before >= 0) {
            ranks[before] = rank_at(bpe, symbols, before, &merged[before]);
        }
    }
}

/* ---- long windows ---- */

static uint32_t lower(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static void set_rank(uint32_t *tree, size_t leaves, int32_t place, uint32_t rank)
{
    size_t node = leaves + (size_t)place;
    tree[node] = rank;
    while (node > 1) {
        node /= 2;
        const uint32_t lowest = lower(tree[2 * node], tree[2 * node + 1]);
        if (tree[node] == lowest) {
            return;
        }
        tree[node] = lowest;
    }
}

static void merge_long(const lc_bpe *bpe, symbol *symbols, uint32_t *tree, int32_t count)
{
    const size_t leaves = leaves_for((size_t)count);
    int32_t merged = -1;
    for (size_t i = 0; i < leaves; i++) {
        tree[leaves + i] = i < (size_t)count ? rank_at(bpe, symbols, (int32_t)i, &merged) : NO_RANK;
    }
    for (size_t node = leaves - 1; node > 0; node--) {
        tree[node] = lower(tree[2 * node], tree[2 * node + 1]);
    }
    while (tree[1] != NO_RANK) {
        size_t node = 1;
        while (node < leaves) {
            node = 2 * node + (tree[2 * node] != tree[1]); /* the leftmost of that rank */
        }
        const int32_t place = (int32_t)(node - leaves);
        (void)rank_at(bpe, symbols, place, &merged);
        const int32_t gone = join(symbols, place, merged);
        set_rank(tree, leaves, gone, NO_RANK);
        set_rank(tree, leaves, place, rank_at(bpe, symbols, place, &merged));
        const int32_t before = symbols[place].previous;
        if (before >= 0) {
            set_rank(tree, leaves, before, rank_at(bpe, symbols, before, &merged));
        }
    }
}
