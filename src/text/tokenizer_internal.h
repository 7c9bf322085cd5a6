/* The tokenizer's insides: what tokenizer_load.c fills and tokenizer.c runs. */
#ifndef LC_TEXT_TOKENIZER_INTERNAL_H
#define LC_TEXT_TOKENIZER_INTERNAL_H

#include "lorac/mem.h"
#include "text/bpe.h"
#include "text/regex.h"
#include "text/tokenizer.h"

#define LC_MAX_SPLITS       8 /* steps of the pre-tokenizer */
#define LC_MAX_ADDED_TOKENS 65536
#define LC_MAX_AFFIX_TOKENS 16 /* ids that the post-processor puts on one side */

/* One step of the pre-tokenizer: cuts a piece at the matches and keeps what it is told to. */
typedef struct lc_split {
    lc_regex *regex; /* owned */
    bool keep_matched, keep_unmatched;
} lc_split;

/* Added tokens that are looked for in one pass over the text: ids by first byte, longer ones first.
 * */
typedef struct lc_added_set {
    int32_t *ids;       /* owned by the arena */
    int32_t first[257]; /* ids of first byte b are ids[first[b]] .. ids[first[b+1]-1] */
} lc_added_set;

struct lc_tokenizer {
    lc_arena arena;
    lc_bpe bpe;
    lc_split splits[LC_MAX_SPLITS];
    int split_count;
    lc_added_set added[2]; /* [0] first pass: "normalized": false, [1] second pass: true */
    int32_t *added_ids;    /* in the file's order */
    int32_t added_count;
    int32_t prefix[LC_MAX_AFFIX_TOKENS], suffix[LC_MAX_AFFIX_TOKENS];
    int prefix_count, suffix_count;
    uint8_t sha256[32];
    int32_t vocab_count;   /* entries of the model's vocabulary */
    char *spellings, *raw; /* while loading: free room in the pools of the tokens' texts */
};

#endif
