/* The tokenizer's insides: tokenizer_load.c and tokenizer_parts.c fill them, tokenizer.c runs. */
#ifndef LC_TEXT_TOKENIZER_INTERNAL_H
#define LC_TEXT_TOKENIZER_INTERNAL_H

#include <pthread.h>

#include "base/json.h"
#include "lorac/mem.h"
#include "text/added.h"
#include "text/bpe.h"
#include "text/decoder.h"
#include "text/normalizer.h"
#include "text/split.h"
#include "text/tokenizer.h"
#include "text/tokenizer_file.h"

#define LC_MAX_STEPS        16 /* of the pre-tokenizer; ByteLevel and Metaspace are three each */
#define LC_MAX_AFFIX_TOKENS 16 /* ids that the post-processor puts on one side */

typedef enum lc_step_kind {
    LC_STEP_SPLIT,   /* cuts the piece */
    LC_STEP_REPLACE, /* content for every match */
    LC_STEP_PREPEND, /* content before a piece that does not begin with it */
    LC_STEP_SPELL,   /* bytes become GPT-2's characters */
} lc_step_kind;

/* One step of the pre-tokenizer. */
typedef struct lc_step {
    lc_step_kind kind;
    lc_split split;      /* SPLIT; REPLACE uses its finder. Owned */
    const char *content; /* borrowed */
    size_t content_bytes;
    bool only_first; /* PREPEND: only to the piece that begins the text */
} lc_step;

/* "truncation" and "padding". */
typedef struct lc_fit {
    bool truncates, cuts_left, cuts_second; /* cuts_second: only the second text of a pair */
    bool pads, pads_left;
    int64_t max_length, stride;
    int64_t pad_length;   /* -1: as long as it is */
    int64_t pad_multiple; /* 0: none */
    int32_t pad_id;
} lc_fit;

/* Scratch of one call of lc_tokenizer_encode; between calls it waits in the tokenizer. */
typedef struct lc_encoder {
    const lc_tokenizer *tokenizer; /* borrowed, as all pointers up to err */
    const char *text;
    size_t bytes;
    lc_tokens *tokens;
    lc_err *err;
    bool trims;   /* leave out of the offsets what the post-processor trims */
    size_t first; /* token of the text */
    lc_matcher *matcher;
    lc_bpe_scratch scratch;
    lc_tracked normalized[2];           /* what the normalizer made */
    lc_tracked rewritten[LC_MAX_STEPS]; /* what each step made */
    struct lc_encoder *next;            /* that waits */
} lc_encoder;

/* Encoders that wait: as many as there were calls at once. */
typedef struct lc_encoder_pool {
    pthread_mutex_t lock;
    lc_encoder *first; /* owned */
} lc_encoder_pool;

struct lc_tokenizer {
    lc_arena arena;
    lc_bpe bpe;
    lc_normalizer normalizer;
    lc_step steps[LC_MAX_STEPS];
    int step_count;
    lc_decoder decoder;
    lc_added_set added[2]; /* [0] "normalized": false, [1] true */
    int32_t *added_ids;    /* in the file's order */
    int32_t added_count;
    int32_t prefix[LC_MAX_AFFIX_TOKENS], suffix[LC_MAX_AFFIX_TOKENS];
    int prefix_count, suffix_count;
    bool trims_offsets;     /* ByteLevel of the post-processor: blanks are no part of a token, */
    bool keeps_first_blank; /* but one at the beginning (its add_prefix_space) */
    lc_fit fit;
    uint8_t sha256[32];
    lc_encoder_pool *pool; /* owned; the only part that changes once it is loaded */
    int32_t vocab_count;   /* entries of the model's vocabulary */
    char *spellings;       /* while loading: free room in the pool of the tokens' texts */
};

/* ---- encoder.c ---- */

LC_WARN_UNUSED lc_code lc_encoder_pool_create(lc_encoder_pool **out, lc_err *err);
void lc_encoder_pool_free(lc_encoder_pool *pool);
/* An encoder for one call, with the words that earlier calls have left in its cache; any number of
 * threads may ask. */
LC_WARN_UNUSED lc_code lc_encoder_take(const lc_tokenizer *tokenizer, lc_encoder **out,
                                       lc_err *err);
void lc_encoder_give(lc_encoder *encoder);

/* ---- tokenizer_parts.c ---- */

LC_WARN_UNUSED lc_code lc_read_normalizer(lc_tokenizer *t, const cJSON *root, lc_err *err);
LC_WARN_UNUSED lc_code lc_read_pre_tokenizer(lc_tokenizer *t, const cJSON *root, lc_err *err);
LC_WARN_UNUSED lc_code lc_read_post_processor(lc_tokenizer *t, const cJSON *root, lc_err *err);
LC_WARN_UNUSED lc_code lc_read_decoder(lc_tokenizer *t, const cJSON *root, lc_err *err);

/* tokenizer_fit.c */
LC_WARN_UNUSED lc_code lc_read_fit(lc_tokenizer *t, const cJSON *root, lc_err *err);

/* tokenizer_config.c: what the files beside tokenizer.json in DIR say of its added tokens, into the
 * tree. New tokens whose id is not below limit are left out. */
LC_WARN_UNUSED lc_code lc_tokenizer_config_apply(const char *dir, int64_t limit,
                                                 lc_tokenizer_file *file, bool *changed,
                                                 lc_err *err);

/* LC_ERR_UNSUPPORTED for a type or an option of a part. */
lc_code lc_refuse_type(const char *part, const char *type, lc_err *err);
lc_code lc_refuse_option(const char *part, const char *option, lc_err *err);
/* A token id: an integer in 0..LC_MAX_TOKEN_COUNT-1. */
bool lc_read_token_id(const cJSON *item, int32_t *id);

#endif
