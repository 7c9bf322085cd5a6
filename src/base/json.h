/*
 * Bounded JSON on top of cJSON. A text is first checked by a strict scanner of our own (grammar of
 * RFC 8259, UTF-8, no lone surrogates, depth, duplicate keys, number range), then parsed by cJSON;
 * so nothing of cJSON's leniency is reachable. Readers are typed and name the field in their error.
 */
#ifndef LC_BASE_JSON_H
#define LC_BASE_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cjson/cJSON.h>

#include "lorac/err.h"

#define LC_MAX_JSON_DEPTH 64
#define LC_MAX_JSON_BYTES ((size_t)256 << 20)

typedef enum lc_json_flags {
    LC_JSON_DEFAULT = 0,
    /* every number must be spelled as an unsigned integer <= 2^53 (safetensors) */
    LC_JSON_PLAIN_INTEGERS = 1,
    LC_JSON_ALLOW_BOM = 2,
    LC_JSON_ALLOW_NUL = 4, /* \u0000 in strings; not for cJSON, whose strings end there */
} lc_json_flags;

/* Routes cJSON's allocations through lc_malloc; call once before anything is parsed
 * (lc_json_parse does). */
void lc_json_init(void);

/* `what` names the text in errors ("config.json"). The error has the line and column. Free with
 * cJSON_Delete. */
LC_WARN_UNUSED lc_code lc_json_parse(const char *text, size_t bytes, unsigned flags,
                                     const char *what, cJSON **out, lc_err *err);
LC_WARN_UNUSED lc_code lc_json_load(const char *path, size_t max_bytes, unsigned flags, cJSON **out,
                                    lc_err *err);

/* Typed readers of object members. A missing or null member leaves *out as it is when `required`
 * is false. Numbers must be finite and in [min, max]; integers exact (|value| < 2^53: 2^53 + 1
 * would read as 2^53). Errors are LC_ERR_INVALID with param = key. */
LC_WARN_UNUSED lc_code lc_json_int(const cJSON *object, const char *key, bool required, int64_t min,
                                   int64_t max, int64_t *out, lc_err *err);
LC_WARN_UNUSED lc_code lc_json_double(const cJSON *object, const char *key, bool required,
                                      double min, double max, double *out, lc_err *err);
LC_WARN_UNUSED lc_code lc_json_bool(const cJSON *object, const char *key, bool required, bool *out,
                                    lc_err *err);
/* *out is borrowed from the tree (or NULL/unchanged). */
LC_WARN_UNUSED lc_code lc_json_string(const cJSON *object, const char *key, bool required,
                                      const char **out, lc_err *err);
LC_WARN_UNUSED lc_code lc_json_object(const cJSON *object, const char *key, bool required,
                                      const cJSON **out, lc_err *err);
LC_WARN_UNUSED lc_code lc_json_array(const cJSON *object, const char *key, bool required,
                                     const cJSON **out, lc_err *err);
/* Case-sensitive member, NULL when absent or null. */
const cJSON *lc_json_get(const cJSON *object, const char *key);
/* What a value is, for messages, into out[LC_JSON_SHOWN_BYTES]: 3.5, "abc", an object. */
#define LC_JSON_SHOWN_BYTES 80
const char *lc_json_show(const cJSON *item, char *out);
/* Refuses members that are not in the NULL-terminated list, naming the first. */
LC_WARN_UNUSED lc_code lc_json_only_keys(const cJSON *object, const char *const *keys,
                                         const char *where, lc_err *err);

/* Text building: grows, never cuts. Failed allocations are remembered and reported by
 * lc_text_finish. */
typedef struct lc_text {
    char *data; /* owned; NUL-terminated once anything was added */
    size_t length;
    size_t capacity;
    bool failed;
} lc_text;

void lc_text_init(lc_text *text);
void lc_text_release(lc_text *text);
void lc_text_add(lc_text *text, const char *bytes, size_t length);
void lc_text_addf(lc_text *text, const char *format, ...) LC_PRINTF(2, 3);
LC_WARN_UNUSED lc_code lc_text_finish(lc_text *text, const char *what, lc_err *err);
/* A JSON string with its quotes, control characters escaped, UTF-8 as it is. */
void lc_text_add_json_string(lc_text *text, const char *bytes, size_t length);
/* Shortest form that reads back as the same double (repr): 0.1, 1e-05, 3 for 3.0. NaN/Inf ->
 * null. */
void lc_text_add_double(lc_text *text, double value);
/* A parsed tree again, in Python json.dumps(ensure_ascii=False) spacing (", " and ": ") when
 * spaced, without any blank otherwise; key order kept. Integral numbers up to 2^53 without point
 * or exponent; a number with a valuestring is written as that (text/number_spelling.h). */
void lc_text_add_json(lc_text *text, const cJSON *item, bool spaced);

#endif
