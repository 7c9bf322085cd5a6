/*
 * The rows of an evaluation: a JSONL file read into token ids for the loss, and into prompt and
 * expected answer for exact match. Used by eval.c alone.
 */
#ifndef LC_CLI_EVAL_ROWS_H
#define LC_CLI_EVAL_ROWS_H

#include "data/batch.h"
#include "data/dataset.h"

typedef struct lc_eval_row {
    int64_t line;
    char *label;     /* owned; value of the --by key, NULL: none */
    char *expected;  /* owned; text of the last assistant message, NULL: no text to compare */
    int32_t *prompt; /* owned; ids of everything before it and the assistant's header */
    int64_t prompt_count;
    int64_t expected_count; /* tokens of `expected` */
    lc_tokens answer;       /* what the model generated */
    char *answer_text;      /* owned; decoded */
    bool is_exact;
} lc_eval_row;

typedef struct lc_eval_rows {
    lc_eval_row *rows; /* owned */
    int64_t count, capacity;
    int64_t answer_rows; /* with `expected` */
    lc_dataset dataset; /* the same rows for the loss; its arrays are owned here, not by an arena */
    int64_t token_capacity;
    int64_t longest_prompt;
} lc_eval_rows;

typedef struct lc_eval_reading {
    const char *path;
    const lc_tokenizer *tokenizer;
    const lc_chat_template *chat_template;
    int64_t max_tokens; /* longer rows are cut at the end */
    int64_t limit;      /* rows at most; 0: all */
    const char *by;     /* top-level key that labels a row; NULL: none */
} lc_eval_reading;

/* Any number of rows >= 1; a bad row is an error with its line. Release in any case. */
LC_WARN_UNUSED lc_code lc_eval_rows_read(const lc_eval_reading *reading, lc_eval_rows *out,
                                         lc_err *err);
void lc_eval_rows_release(lc_eval_rows *rows);

#endif
