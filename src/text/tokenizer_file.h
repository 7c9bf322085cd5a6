/*
 * tokenizer.json as it is read: the vocabulary and the merges, hundreds of thousands of entries,
 * as plain lists, and everything else as a JSON tree. Used by the loading of a tokenizer only.
 */
#ifndef LC_TEXT_TOKENIZER_FILE_H
#define LC_TEXT_TOKENIZER_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "base/json.h"

/* An entry of model.vocab. */
typedef struct lc_vocab_entry {
    uint32_t at, bytes; /* spelling in `spellings`, NUL behind it */
    int32_t id;
} lc_vocab_entry;

#define LC_NO_MERGE UINT32_MAX

/* An entry of model.merges, "left right" or ["left", "right"]. */
typedef struct lc_merge_entry {
    uint32_t at; /* of left in `spellings`; right follows at once. LC_NO_MERGE: something else */
    uint32_t left_bytes, right_bytes;
} lc_merge_entry;

typedef struct lc_tokenizer_file {
    cJSON *root; /* owned; model.vocab and model.merges are there, without their entries */
    lc_vocab_entry *vocab;
    lc_merge_entry *merges;
    size_t vocab_count, merge_count;
    char *spellings;
} lc_tokenizer_file;

/* Reads a text. Keys of model.vocab that are there twice are the caller's to find; all else is
 * checked as lc_json_parse does. Ids that are none or above max_id are LC_ERR_INVALID. Release in
 * any case. */
LC_WARN_UNUSED lc_code lc_tokenizer_file_parse(const char *text, size_t bytes, const char *what,
                                               int64_t max_id, lc_tokenizer_file *file,
                                               lc_err *err);
void lc_tokenizer_file_release(lc_tokenizer_file *file);

#endif
