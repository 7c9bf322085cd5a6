/*
 * Reading JSON value by value without a tree: for files whose lists are too long for one. The
 * values come in the order of the text, each with its depth and key; the whole text is checked as
 * lc_json_parse checks it (json.h), up to the value that was pulled last.
 *
 *     lc_json_pull_begin(&pull, text, bytes, LC_JSON_DEFAULT, "tokenizer.json", err);
 *     do {
 *         LC_TRY(lc_json_next(&pull, &value));
 *     } while (value.kind != LC_JSON_DONE);
 */
#ifndef LC_BASE_JSON_PULL_H
#define LC_BASE_JSON_PULL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/json.h"

/* cJSON copies a number into a buffer of 64 bytes before it reads it. */
#define LC_MAX_JSON_NUMBER_BYTES 63
#define LC_JSON_SMALL_KEYS       64

typedef enum lc_json_kind {
    LC_JSON_DONE, /* the text has ended */
    LC_JSON_NULL,
    LC_JSON_FALSE,
    LC_JSON_TRUE,
    LC_JSON_NUMBER,
    LC_JSON_STRING,
    LC_JSON_ARRAY, /* its values follow, one deeper */
    LC_JSON_OBJECT,
} lc_json_kind;

/* What is wrong with a text. */
typedef enum lc_json_problem {
    LC_JSON_SYNTAX,
    LC_JSON_BAD_UTF8,
    LC_JSON_NUL,       /* a byte 0, or \u0000 */
    LC_JSON_SURROGATE, /* half of a pair */
    LC_JSON_DUPLICATE_KEY,
    LC_JSON_TOO_DEEP,
    LC_JSON_NUMBER_RANGE, /* no double holds it, or it has too many characters */
} lc_json_problem;

/* A string as it stands in the text, between its quotes. */
typedef struct lc_json_raw {
    size_t at, bytes;
    bool has_escapes;
} lc_json_raw;

typedef struct lc_json_value {
    lc_json_kind kind;
    int depth;       /* containers around it */
    bool has_key;    /* it is a member of an object */
    lc_json_raw key; /* has_key */
    lc_json_raw raw; /* STRING: between the quotes; the others: the value, '{' or '[' */
} lc_json_value;

/* A key of an object that is still open, and a hash of its decoded characters. */
typedef struct lc_json_key {
    uint32_t at, bytes, hash;
    bool has_escapes;
} lc_json_key;

typedef struct lc_json_frame {
    bool is_object;
    size_t first_key; /* in pull.keys */
} lc_json_frame;

/* The reader. Not copied; its fields are its own but for foreign_depth. */
typedef struct lc_json_pull {
    const unsigned char *text; /* borrowed, as the next ones */
    const char *what;
    lc_err *err;
    lc_json_problem problem; /* after LC_ERR_INVALID, with the byte it was noticed at */
    size_t problem_at;
    size_t bytes, at;
    bool has_escapes; /* the string scanned last has some */
    unsigned flags;
    /* Keys of objects at this depth are not looked at for duplicates: whoever sets it does that. 0:
     * none. */
    int foreign_depth;
    bool has_begun, is_open; /* a value was pulled; it is a container that is not empty */
    lc_json_raw last_key;
    /* Place of the bracket that closed the last container, not empty, with so many around it. */
    size_t closed_at[LC_MAX_JSON_DEPTH];
    int depth;
    lc_json_frame frames[LC_MAX_JSON_DEPTH];
    lc_json_key *keys; /* `small`, or owned */
    size_t key_count, key_capacity;
    lc_json_key small[LC_JSON_SMALL_KEYS];
} lc_json_pull;

/* `what` names the text in errors, which have line and column. err may be NULL: then the reason is
 * in `problem` alone, and costs little. */
void lc_json_pull_begin(lc_json_pull *pull, const char *text, size_t bytes, unsigned flags,
                        const char *what, lc_err *err);
void lc_json_pull_end(lc_json_pull *pull);

/* Pulls all there is: whether the text is right. */
LC_WARN_UNUSED lc_code lc_json_check(const char *text, size_t bytes, unsigned flags,
                                     const char *what, lc_err *err);

/* The next value. LC_ERR_INVALID or LC_ERR_MEMORY. */
LC_WARN_UNUSED lc_code lc_json_next(lc_json_pull *pull, lc_json_value *value);

/* The bytes of a string or key of `text`, its escapes resolved, into out as far as it has room for
 * them (raw->bytes is always enough); returns how many they are. */
size_t lc_json_decode(const char *text, const lc_json_raw *raw, char *out, size_t capacity);
/* Whether a key or string is this text, which has no escapes. */
bool lc_json_raw_is(const lc_json_pull *pull, const lc_json_raw *raw, const char *text);
/* An unsigned integer of at most `max`; false when the value is something else. */
bool lc_json_unsigned(const lc_json_pull *pull, const lc_json_value *value, uint64_t max,
                      uint64_t *out);

#endif
