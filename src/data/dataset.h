/*
 * A tokenized data set in memory: from chat JSONL (through tokenizer and template), from a
 * tokenized .safetensors file, or from the cache of a job directory. Knows nothing of batches.
 */
#ifndef LC_DATA_DATASET_H
#define LC_DATA_DATASET_H

#include "base/hash.h"
#include "data/row_rules.h"
#include "lorac/err.h"
#include "lorac/mem.h"
#include "text/template.h"
#include "text/tokenizer.h"

#define LC_MIN_JSONL_EXAMPLES   10
#define LC_MAX_JSONL_BYTES      ((int64_t)512 << 20) /* Azure's limit for one file */
#define LC_MAX_JSONL_LINE_BYTES ((size_t)16 << 20)
#define LC_MAX_EXAMPLES         ((int64_t)1 << 31)

/* Example e has tokens offsets[e] .. offsets[e+1]-1. loss_weights[t] is the weight of token t as a
 * target (0: not trained on); an example's first token always has weight 0. */
typedef struct lc_dataset {
    int64_t example_count;
    int64_t token_count;
    int32_t *input_ids;       /* token_count */
    float *loss_weights;      /* token_count, finite, >= 0 */
    int64_t *offsets;         /* example_count + 1 */
    int64_t truncated_count;  /* rows cut to max_tokens */
    int64_t truncated_tokens; /* tokens cut off */
    int64_t longest;          /* tokens of the longest example, after cutting */
    int64_t target_count;     /* tokens with weight > 0 */
    uint8_t sha256[32];       /* of the source file's bytes */
    lc_arena arena;           /* owns the arrays */
} lc_dataset;

void lc_dataset_release(lc_dataset *dataset);

/* Tokens and summed target weights of `count` examples. */
void lc_dataset_totals(const lc_dataset *dataset, const int64_t *examples, int64_t count,
                       int64_t *tokens, double *weight);

/* How a data set is read, beside its file. */
typedef struct lc_dataset_reading {
    const char *what;   /* in errors: "Training file" or "Validation file" */
    int64_t max_tokens; /* >= 1: longer rows are cut at the end */
    int threads;        /* that tokenize; 0: all cores. The result does not depend on it */
    lc_template_source chat_template; /* lc_dataset_load of text: which, of the model or not;
                                         model_dir is filled in */
    bool use_cache; /* lc_dataset_load of text: look in the cache first, keep there */
    /* Told bytes of the text done and in all, some times a second at most; false: stop, which is
     * LC_ERR_INTERRUPTED. May be NULL. */
    bool (*on_progress)(void *context, int64_t done_bytes, int64_t total_bytes);
    void *context;
} lc_dataset_reading;

/* Chat JSONL, tokenized on all cores. Errors carry the line: broken JSON, unknown role, weight not
 * 0/1, no trained token left, fewer than LC_MIN_JSONL_EXAMPLES rows ("Training file has 7
 * example(s), but must have at least 10 examples"); of several bad rows the first is told. */
LC_WARN_UNUSED lc_code lc_dataset_load_jsonl(const char *path, const lc_dataset_reading *reading,
                                             const lc_tokenizer *tokenizer,
                                             const lc_chat_template *chat_template, lc_dataset *out,
                                             lc_err *err);

/* Tokenized .safetensors: input_ids i32 (T), loss_weights f32 (T), offsets i64 (examples+1). Ids
 * must be in 0..vocab_size-1. No tokenizer needed. */
LC_WARN_UNUSED lc_code lc_dataset_load_tokenized(const char *path, int64_t vocab_size,
                                                 int64_t max_tokens, lc_dataset *out, lc_err *err);

/* By the file's name: .safetensors is tokenized, everything else JSONL. tokenizer and template are
 * loaded from model_dir only for JSONL; an error in them has param "model". */
LC_WARN_UNUSED lc_code lc_dataset_load(const char *path, const lc_dataset_reading *reading,
                                       const char *model_dir, int64_t vocab_size, lc_dataset *out,
                                       lc_err *err);

/* Writes the tokenized form (metadata: format, source hash, what was cut off, and the tokenizer's
 * unless NULL). sha256: of the file written, may be NULL. */
LC_WARN_UNUSED lc_code lc_dataset_save(const lc_dataset *dataset, const char *path,
                                       const uint8_t tokenizer_sha256[32], uint8_t sha256[32],
                                       lc_err *err);

/* One JSONL row for other users (eval, validate, the fuzzer): checks Azure's rules and normalises
 * the deprecated spellings (functions -> tools, function_call -> tool_calls). *row is owned by the
 * caller (cJSON_Delete); messages and tools are borrowed from it (tools may be NULL). */
typedef struct lc_chat_row {
    cJSON *row;
    const cJSON *messages;
    const cJSON *tools;
    const char *output; /* of a dpo row the one that is behind its input, else NULL */
    bool is_prompt;     /* an answer is to follow it: no token is trained */
} lc_chat_row;
LC_WARN_UNUSED lc_code lc_chat_row_parse(const char *line, size_t bytes, int64_t line_number,
                                         lc_chat_row *out, lc_err *err);
void lc_chat_row_release(lc_chat_row *row);

/* The conversations of a row that the rules of its method found no error in: a supervised row
 * itself; of dpo the input with the preferred output behind it and with the other, of which the
 * output alone is trained; of reinforcement the prompt. */
#define LC_MAX_CONVERSATIONS 2
LC_WARN_UNUSED lc_code lc_chat_row_conversations(const lc_row_text *text, lc_method method,
                                                 lc_chat_row out[LC_MAX_CONVERSATIONS], int *count,
                                                 lc_err *err);

/* Tokens and loss weights of a parsed row, appended to *tokens; weights has room for tokens->count
 * floats afterwards (grown with lc_realloc). */
LC_WARN_UNUSED lc_code lc_chat_row_tokenize(const lc_chat_row *row, const lc_tokenizer *tokenizer,
                                            const lc_chat_template *chat_template,
                                            lc_tokens *tokens, float **weights, lc_err *err);

/* Lines of a JSONL file, one at a time, without holding the file: BOM skipped, CR before LF
 * dropped, a missing final newline accepted, blank lines at the end ignored (elsewhere an error by
 * the row parser). */
typedef struct lc_line_reader lc_line_reader;
LC_WARN_UNUSED lc_code lc_line_reader_open(const char *path, lc_line_reader **out, lc_err *err);
/* *line is borrowed until the next call; *line NULL at the end. */
LC_WARN_UNUSED lc_code lc_line_reader_next(lc_line_reader *reader, const char **line, size_t *bytes,
                                           int64_t *line_number, lc_err *err);
void lc_line_reader_close(lc_line_reader *reader);
int64_t lc_line_reader_bytes(const lc_line_reader *reader); /* of the whole file */
/* SHA-256 of all bytes read so far. */
void lc_line_reader_sha256(const lc_line_reader *reader, uint8_t digest[32]);

#endif
