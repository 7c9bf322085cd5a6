/*
 * A strict scanner for JSON: grammar of RFC 8259, UTF-8 of RFC 3629, no lone surrogates, no NUL,
 * bounded depth, numbers a double can hold, no duplicate keys. Builds nothing: hands out value by
 * value. No recursion: open containers are on a stack of LC_MAX_JSON_DEPTH. What lc_json_parse,
 * the tape and the tokenizer's reader run on. Knows nothing of cJSON's tree.
 */
#include "base/json_pull.h"

#include <assert.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8_bytes.h"
#include "lorac/mem.h"

#define FEW_KEYS       8 /* compared each with each */
#define BOM            "\xEF\xBB\xBF"
#define MAX_INTEGER    "9007199254740992" /* 2^53 */
#define END_OF_STRING  (-1)
#define KEY_SHOWN      60
#define MAX_CODE_POINT 0x10FFFF

static_assert(LC_MAX_JSON_BYTES <= UINT32_MAX, "offsets have 32 bits");

typedef lc_json_pull scan;
typedef lc_json_key scan_key;

static lc_code scan_begin(scan *s);
static lc_code scan_value(scan *s, lc_json_value *value);
static lc_code scan_after_value(scan *s, bool *more);
static lc_code scan_end(scan *s);

void lc_json_pull_begin(lc_json_pull *s, const char *text, size_t bytes, unsigned flags,
                        const char *what, lc_err *err)
{
    /* not cleared: two kilobytes of it are buffers */
    s->text = (const unsigned char *)text;
    s->bytes = bytes;
    s->at = 0;
    s->flags = flags;
    s->what = what;
    s->err = err;
    s->foreign_depth = 0;
    s->has_begun = false;
    s->is_open = false;
    s->last_key = (lc_json_raw){0};
    s->problem = LC_JSON_SYNTAX;
    s->problem_at = 0;
    s->depth = 0;
    s->keys = s->small;
    s->key_count = 0;
    s->key_capacity = LC_JSON_SMALL_KEYS;
}

void lc_json_pull_end(lc_json_pull *s)
{
    if (s->keys != s->small) {
        lc_free(s->keys);
    }
    s->keys = s->small;
}

lc_code lc_json_next(lc_json_pull *s, lc_json_value *value)
{
    bool more = true;
    if (!s->has_begun) {
        LC_TRY(scan_begin(s));
        s->has_begun = true;
    } else if (!s->is_open) {
        LC_TRY(scan_after_value(s, &more));
    }
    if (!more) {
        value->kind = LC_JSON_DONE;
        value->depth = 0;
        return scan_end(s);
    }
    return scan_value(s, value);
}

lc_code lc_json_check(const char *text, size_t bytes, unsigned flags, const char *what, lc_err *err)
{
    lc_json_pull pull;
    lc_json_value value;
    lc_json_pull_begin(&pull, text, bytes, flags, what, err);
    lc_code code = LC_OK;
    do {
        code = lc_json_next(&pull, &value);
    } while (code == LC_OK && value.kind != LC_JSON_DONE);
    lc_json_pull_end(&pull);
    return code;
}

/* Line and column (in characters, both from 1) of a byte offset. */
static void locate(const scan *s, size_t offset, int64_t *line, int64_t *column)
{
    *line = 1;
    *column = 1;
    for (size_t i = 0; i < offset && i < s->bytes; i++) {
        if (s->text[i] == '\n') {
            *line += 1;
            *column = 1;
        } else if ((s->text[i] & 0xC0) != 0x80) {
            *column += 1;
        }
    }
}

static lc_code LC_PRINTF(3, 4) fail_at(scan *s, size_t offset, const char *format, ...)
{
    char reason[512];
    int64_t line, column;
    va_list arguments;
    s->problem_at = offset;
    if (s->err == NULL) {
        return LC_ERR_INVALID;
    }
    va_start(arguments, format);
    (void)vsnprintf(reason, sizeof reason, format, arguments);
    va_end(arguments);
    locate(s, offset, &line, &column);
    return lc_fail_line(s->err, LC_ERR_INVALID, line, "%s: line %lld column %lld: %s", s->what,
                        (long long)line, (long long)column, reason);
}

/* The failure that follows is of this kind. */
static scan *because(scan *s, lc_json_problem problem)
{
    s->problem = problem;
    return s;
}

/* What stands at the current position is not what the grammar wants. */
static lc_code fail_expected(scan *s, const char *expected)
{
    if (s->at >= s->bytes) {
        return fail_at(s, s->at, "the text ends where %s should be", expected);
    }
    const unsigned char c = s->text[s->at];
    if (c > 0x20 && c < 0x7F) {
        return fail_at(s, s->at, "expected %s, found '%c'", expected, c);
    }
    if (c == 0) {
        (void)because(s, LC_JSON_NUL);
    } else if (c >= 0x80 && lc_utf8_bytes_length(s->text + s->at, s->bytes - s->at) == 0) {
        (void)because(s, LC_JSON_BAD_UTF8);
    }
    return fail_at(s, s->at, "expected %s, found byte 0x%02x", expected, c);
}

static int peek(const scan *s)
{
    return s->at < s->bytes ? s->text[s->at] : -1;
}

static void skip_blanks(scan *s)
{
    while (s->at < s->bytes) {
        const unsigned char c = s->text[s->at];
        if (c != ' ' && c != '\n' && c != '\r' && c != '\t') {
            return;
        }
        s->at++;
    }
}

static int hex_digit(unsigned char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    const unsigned char lower = c | 0x20;
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

static int32_t hex4_of(const unsigned char *text)
{
    int32_t value = 0;
    for (size_t i = 0; i < 4; i++) {
        const int digit = hex_digit(text[i]);
        if (digit < 0) {
            return -1;
        }
        value = value << 4 | digit;
    }
    return value;
}

/* Four hexadecimal digits at `offset`, or -1. */
static int32_t hex4(const scan *s, size_t offset)
{
    return offset > s->bytes || s->bytes - offset < 4 ? -1 : hex4_of(s->text + offset);
}

static bool is_high_surrogate(int32_t unit)
{
    return unit >= 0xD800 && unit <= 0xDBFF;
}

static bool is_low_surrogate(int32_t unit)
{
    return unit >= 0xDC00 && unit <= 0xDFFF;
}

/* "\uXXXX" at s->at, with its second half where it has one. */
static lc_code scan_unicode_escape(scan *s)
{
    const int32_t unit = hex4(s, s->at + 2);
    if (unit < 0) {
        return fail_at(s, s->at, "\\u needs four hexadecimal digits");
    }
    if (unit == 0 && (s->flags & LC_JSON_ALLOW_NUL) == 0) {
        return fail_at(because(s, LC_JSON_NUL), s->at, "the character \\u0000 is not accepted");
    }
    if (is_low_surrogate(unit)) {
        return fail_at(because(s, LC_JSON_SURROGATE), s->at, "lone surrogate \\u%04x",
                       (unsigned)unit);
    }
    if (!is_high_surrogate(unit)) {
        s->at += 6;
        return LC_OK;
    }
    const size_t second = s->at + 6;
    const bool is_escape = s->bytes - s->at >= 12 && memcmp(s->text + second, "\\u", 2) == 0;
    if (!is_escape || !is_low_surrogate(hex4(s, second + 2))) {
        return fail_at(because(s, LC_JSON_SURROGATE), s->at, "lone surrogate \\u%04x",
                       (unsigned)unit);
    }
    s->at += 12;
    return LC_OK;
}

static lc_code scan_escape(scan *s)
{
    s->has_escapes = true;
    if (s->bytes - s->at < 2) {
        s->at = s->bytes;
        return fail_expected(s, "the rest of a string");
    }
    const unsigned char c = s->text[s->at + 1];
    if (c == 'u') {
        return scan_unicode_escape(s);
    }
    if (c == '\0' || strchr("\"\\/bfnrt", c) == NULL) {
        return fail_at(s, s->at, "unknown escape in a string");
    }
    s->at += 2;
    return LC_OK;
}

/* One step inside a string at a byte that is not plain ASCII. */
static lc_code scan_special_character(scan *s)
{
    const unsigned char c = s->text[s->at];
    if (c == '\\') {
        return scan_escape(s);
    }
    if (c == 0) {
        return fail_at(because(s, LC_JSON_NUL), s->at, "control character 0x00 in a string");
    }
    if (c < 0x20) {
        return fail_at(s, s->at, "control character 0x%02x in a string must be escaped", c);
    }
    const size_t length = lc_utf8_bytes_length(s->text + s->at, s->bytes - s->at);
    if (length == 0) {
        return fail_at(because(s, LC_JSON_BAD_UTF8), s->at, "byte 0x%02x is not valid UTF-8", c);
    }
    s->at += length;
    return LC_OK;
}

/* The high bit of each of eight characters that is '"', '\\', below 0x20 or above 0x7F; bits above
 * the lowest of these may be wrong. */
static uint64_t special_of_eight(uint64_t eight)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), highs = ones << 7;
    const uint64_t quote = eight ^ (ones * '"'), backslash = eight ^ (ones * '\\');
    return ((quote - ones) | (backslash - ones) | (eight - ones * 0x20) | eight) & highs;
}

/* Over characters that stand for themselves, eight at a time. */
static void skip_plain(scan *s)
{
    uint64_t eight;
    while (s->bytes - s->at >= sizeof eight) {
        memcpy(&eight, s->text + s->at, sizeof eight);
        const uint64_t special = special_of_eight(eight);
        if (special != 0) {
            s->at += (size_t)__builtin_ctzll(special) / 8;
            return;
        }
        s->at += sizeof eight;
    }
}
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the first character is the lowest");

/* A string at its opening quote. */
static lc_code scan_string(scan *s)
{
    const size_t start = s->at++;
    s->has_escapes = false;
    while (s->at < s->bytes) {
        const unsigned char c = s->text[s->at];
        if (c == '"') {
            s->at++;
            return LC_OK;
        }
        if (c >= 0x20 && c < 0x80 && c != '\\') {
            s->at++;
            skip_plain(s);
        } else {
            LC_TRY(scan_special_character(s));
        }
    }
    return fail_at(s, start, "the string that begins here does not end");
}

static size_t skip_digits(scan *s)
{
    const size_t start = s->at;
    while (s->at < s->bytes && s->text[s->at] >= '0' && s->text[s->at] <= '9') {
        s->at++;
    }
    return s->at - start;
}

static lc_code check_plain_integer(scan *s, size_t start)
{
    const size_t length = s->at - start;
    const size_t longest = strlen(MAX_INTEGER);
    const char *digits = (const char *)s->text + start;
    for (size_t i = 0; i < length; i++) {
        if (digits[i] < '0' || digits[i] > '9') {
            return fail_at(s, start, "expected an unsigned integer without point or exponent");
        }
    }
    if (length > longest || (length == longest && memcmp(digits, MAX_INTEGER, length) > 0)) {
        return fail_at(s, start, "integer beyond 2^53");
    }
    return LC_OK;
}

/* Without an exponent, what LC_MAX_JSON_NUMBER_BYTES can say is never out of range. */
static lc_code check_number(scan *s, size_t start, bool has_exponent)
{
    char copy[LC_MAX_JSON_NUMBER_BYTES + 1];
    const size_t length = s->at - start;
    if (length >= sizeof copy) {
        return fail_at(because(s, LC_JSON_NUMBER_RANGE), start,
                       "number of %zu characters, limit %d", length, LC_MAX_JSON_NUMBER_BYTES);
    }
    if ((s->flags & LC_JSON_PLAIN_INTEGERS) != 0) {
        return check_plain_integer(s, start);
    }
    if (!has_exponent) {
        return LC_OK;
    }
    memcpy(copy, s->text + start, length);
    copy[length] = '\0';
    if (!isfinite(strtod(copy, NULL))) {
        return fail_at(because(s, LC_JSON_NUMBER_RANGE), start, "number %s is out of range", copy);
    }
    return LC_OK;
}

static lc_code scan_number(scan *s)
{
    const size_t start = s->at;
    if (peek(s) == '-') {
        s->at++;
    }
    if (peek(s) == '0') {
        s->at++;
        if (peek(s) >= '0' && peek(s) <= '9') {
            return fail_at(s, start, "a number may not have leading zeros");
        }
    } else if (skip_digits(s) == 0) {
        return fail_expected(s, "a digit");
    }
    if (peek(s) == '.') {
        s->at++;
        if (skip_digits(s) == 0) {
            return fail_expected(s, "a digit");
        }
    }
    const bool has_exponent = peek(s) == 'e' || peek(s) == 'E';
    if (has_exponent) {
        s->at++;
        if (peek(s) == '+' || peek(s) == '-') {
            s->at++;
        }
        if (skip_digits(s) == 0) {
            return fail_expected(s, "a digit");
        }
    }
    return check_number(s, start, has_exponent);
}

static lc_code scan_word(scan *s, const char *word)
{
    const size_t length = strlen(word);
    if (s->bytes - s->at < length || memcmp(s->text + s->at, word, length) != 0) {
        return fail_expected(s, "a value");
    }
    s->at += length;
    return LC_OK;
}

/* The next byte of a checked string with its escapes resolved: *at moves on, `pending` holds the
 * rest of a character above U+007F. END_OF_STRING at the end. */
typedef struct decoder {
    const unsigned char *text;
    size_t at, end;
    unsigned char pending[4];
    int pending_count, pending_at;
} decoder;

static decoder decode(const unsigned char *text, size_t at, size_t bytes)
{
    const decoder d = {.text = text, .at = at, .end = at + bytes};
    return d;
}

static int32_t code_point_at(decoder *d)
{
    const int32_t unit = hex4_of(d->text + d->at + 2);
    d->at += 6;
    if (!is_high_surrogate(unit)) {
        return unit;
    }
    const int32_t low = hex4_of(d->text + d->at + 2);
    d->at += 6;
    return 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00);
}

static void pend_utf8(decoder *d, int32_t point)
{
    assert(point >= 0x80 && point <= MAX_CODE_POINT);
    const int count = point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    static const unsigned char leads[] = {0, 0, 0xC0, 0xE0, 0xF0};
    for (int i = count - 1; i > 0; i--) {
        d->pending[i] = (unsigned char)(0x80 | (point & 0x3F));
        point >>= 6;
    }
    d->pending[0] = (unsigned char)(leads[count] | point);
    d->pending_count = count;
    d->pending_at = 0;
}

static int next_byte(decoder *d)
{
    if (d->pending_at < d->pending_count) {
        return d->pending[d->pending_at++];
    }
    if (d->at >= d->end) {
        return END_OF_STRING;
    }
    const unsigned char c = d->text[d->at];
    if (c != '\\') {
        d->at++;
        return c;
    }
    const unsigned char kind = d->text[d->at + 1];
    if (kind == 'u') {
        const int32_t point = code_point_at(d);
        if (point < 0x80) {
            return point;
        }
        pend_utf8(d, point);
        return d->pending[d->pending_at++];
    }
    d->at += 2;
    static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
    const char *found = strchr(from, kind);
    return found != NULL ? to[found - from] : kind;
}

/* Order of the decoded keys: by hash, then by bytes; equal keys give 0. */
static int compare_keys(const scan *s, const scan_key *a, const scan_key *b)
{
    if (a->hash != b->hash) {
        return a->hash < b->hash ? -1 : 1;
    }
    decoder left = decode(s->text, a->at, a->bytes), right = decode(s->text, b->at, b->bytes);
    for (;;) {
        const int x = next_byte(&left), y = next_byte(&right);
        if (x != y) {
            return x < y ? -1 : 1;
        }
        if (x == END_OF_STRING) {
            return 0;
        }
    }
}

/* FNV-1a. Collisions cost comparisons, never more than n log n of them. */
static uint32_t hash_key(const scan *s, const scan_key *key)
{
    uint32_t hash = 2166136261u;
    if (!key->has_escapes) {
        for (size_t i = 0; i < key->bytes; i++) {
            hash = (hash ^ s->text[key->at + i]) * 16777619u;
        }
        return hash;
    }
    decoder d = decode(s->text, key->at, key->bytes);
    for (int c = next_byte(&d); c != END_OF_STRING; c = next_byte(&d)) {
        hash = (hash ^ (uint32_t)c) * 16777619u;
    }
    return hash;
}

static lc_code grow_keys(scan *s)
{
    const size_t capacity = s->key_capacity * 2;
    scan_key *old = s->keys == s->small ? NULL : s->keys;
    scan_key *keys = lc_realloc(old, capacity * sizeof *keys);
    if (keys == NULL) {
        return lc_fail(s->err, LC_ERR_MEMORY, "%s: out of memory for %zu keys", s->what, capacity);
    }
    if (old == NULL) {
        memcpy(keys, s->small, s->key_count * sizeof *keys);
    }
    s->keys = keys;
    s->key_capacity = capacity;
    return LC_OK;
}

/* Keeps the last key for the end of its object. */
static lc_code note_key(scan *s)
{
    if (s->key_count == s->key_capacity) {
        LC_TRY(grow_keys(s));
    }
    scan_key *key = &s->keys[s->key_count++];
    key->at = (uint32_t)s->last_key.at;
    key->bytes = (uint32_t)s->last_key.bytes;
    key->has_escapes = s->has_escapes;
    key->hash = hash_key(s, key);
    return LC_OK;
}

/* A key with its colon; s->at is where the key should be. Leaves s->at before the value. */
static lc_code scan_key_and_colon(scan *s)
{
    if (peek(s) != '"') {
        return fail_expected(s, "a key in double quotes");
    }
    const size_t start = s->at;
    LC_TRY(scan_string(s));
    s->last_key = (lc_json_raw){start + 1, s->at - start - 2, s->has_escapes};
    if (s->depth != s->foreign_depth) {
        LC_TRY(note_key(s));
    }
    skip_blanks(s);
    if (peek(s) != ':') {
        return fail_expected(s, "':' after the key");
    }
    s->at++;
    return LC_OK;
}

/* No two of a few keys have the same hash: then they differ. */
static bool are_few_and_different(const scan_key *keys, size_t count)
{
    if (count > FEW_KEYS) {
        return false;
    }
    for (size_t i = 1; i < count; i++) {
        for (size_t j = 0; j < i; j++) {
            if (keys[i].hash == keys[j].hash) {
                return false;
            }
        }
    }
    return true;
}

static void sift_down(const scan *s, scan_key *keys, size_t root, size_t count)
{
    for (;;) {
        size_t child = 2 * root + 1;
        if (child >= count) {
            return;
        }
        if (child + 1 < count && compare_keys(s, &keys[child], &keys[child + 1]) < 0) {
            child++;
        }
        if (compare_keys(s, &keys[root], &keys[child]) >= 0) {
            return;
        }
        const scan_key kept = keys[root];
        keys[root] = keys[child];
        keys[child] = kept;
        root = child;
    }
}

/* Heap sort: n log n for any input, no memory. */
static void sort_keys(const scan *s, scan_key *keys, size_t count)
{
    for (size_t i = count / 2; i > 0; i--) {
        sift_down(s, keys, i - 1, count);
    }
    for (size_t end = count; end > 1; end--) {
        const scan_key kept = keys[0];
        keys[0] = keys[end - 1];
        keys[end - 1] = kept;
        sift_down(s, keys, 0, end - 1);
    }
}

static lc_code check_unique_keys(scan *s, size_t first)
{
    scan_key *keys = s->keys + first;
    const size_t count = s->key_count - first;
    if (are_few_and_different(keys, count)) {
        return LC_OK;
    }
    sort_keys(s, keys, count);
    for (size_t i = 1; i < count; i++) {
        if (compare_keys(s, &keys[i - 1], &keys[i]) == 0) {
            const scan_key *later = keys[i - 1].at > keys[i].at ? &keys[i - 1] : &keys[i];
            const int shown = later->bytes < KEY_SHOWN ? (int)later->bytes : KEY_SHOWN;
            return fail_at(because(s, LC_JSON_DUPLICATE_KEY), later->at - 1,
                           "duplicate key \"%.*s\"", shown, (const char *)s->text + later->at);
        }
    }
    return LC_OK;
}

static lc_code close_container(scan *s)
{
    const lc_json_frame *frame = &s->frames[--s->depth];
    s->at++;
    if (frame->is_object) {
        LC_TRY(check_unique_keys(s, frame->first_key));
        s->key_count = frame->first_key;
    }
    return LC_OK;
}

/* Opens an array or object. *has_value: s->at is before its first value; otherwise it was empty. */
static lc_code open_container(scan *s, bool is_object, bool *has_value)
{
    if (s->depth == LC_MAX_JSON_DEPTH) {
        return fail_at(because(s, LC_JSON_TOO_DEEP), s->at, "nested deeper than %d levels",
                       LC_MAX_JSON_DEPTH);
    }
    s->frames[s->depth].is_object = is_object;
    s->frames[s->depth].first_key = s->key_count;
    s->depth++;
    s->at++;
    skip_blanks(s);
    if (peek(s) == (is_object ? '}' : ']')) {
        *has_value = false;
        return close_container(s);
    }
    *has_value = true;
    return is_object ? scan_key_and_colon(s) : LC_OK;
}

/* Scans a value whose first byte is known; *opened: it is a container with values of its own. */
static lc_code scan_kind(scan *s, int c, lc_json_kind *kind, bool *opened)
{
    *opened = false;
    switch (c) {
    case '{':
        *kind = LC_JSON_OBJECT;
        return open_container(s, true, opened);
    case '[':
        *kind = LC_JSON_ARRAY;
        return open_container(s, false, opened);
    case '"':
        *kind = LC_JSON_STRING;
        return scan_string(s);
    case 't':
    case 'f':
        *kind = c == 't' ? LC_JSON_TRUE : LC_JSON_FALSE;
        return scan_word(s, c == 't' ? "true" : "false");
    case 'n':
        *kind = LC_JSON_NULL;
        return scan_word(s, "null");
    default:
        *kind = LC_JSON_NUMBER;
        if (c == '-' || (c >= '0' && c <= '9')) {
            return scan_number(s);
        }
        return fail_expected(s, "a value");
    }
}

static lc_code scan_value(scan *s, lc_json_value *value)
{
    skip_blanks(s);
    const size_t start = s->at;
    value->depth = s->depth;
    value->has_key = s->depth > 0 && s->frames[s->depth - 1].is_object;
    value->key = s->last_key;
    LC_TRY(scan_kind(s, peek(s), &value->kind, &s->is_open));
    value->raw = (lc_json_raw){start, s->at - start, false};
    if (value->kind == LC_JSON_STRING) {
        value->raw = (lc_json_raw){start + 1, s->at - start - 2, s->has_escapes};
    } else if (value->kind >= LC_JSON_ARRAY) {
        value->raw.bytes = 1;
    }
    return LC_OK;
}

/* After a value: closes what ends here. *more: another value follows. */
static lc_code scan_after_value(scan *s, bool *more)
{
    *more = false;
    while (s->depth > 0) {
        const bool is_object = s->frames[s->depth - 1].is_object;
        skip_blanks(s);
        if (peek(s) == ',') {
            s->at++;
            skip_blanks(s);
            *more = true;
            return is_object ? scan_key_and_colon(s) : LC_OK;
        }
        if (peek(s) != (is_object ? '}' : ']')) {
            return fail_expected(s, is_object ? "',' or '}'" : "',' or ']'");
        }
        s->closed_at[s->depth - 1] = s->at;
        LC_TRY(close_container(s));
    }
    return LC_OK;
}

static lc_code scan_bom(scan *s)
{
    if (s->bytes < 3 || memcmp(s->text, BOM, 3) != 0) {
        return LC_OK;
    }
    if ((s->flags & LC_JSON_ALLOW_BOM) == 0) {
        return fail_at(s, 0, "the text begins with a byte order mark; save it without one");
    }
    s->at = 3;
    return LC_OK;
}

static lc_code scan_begin(scan *s)
{
    if (s->bytes > LC_MAX_JSON_BYTES) {
        return lc_fail(s->err, LC_ERR_INVALID, "%s: %zu bytes of JSON, limit %zu", s->what,
                       s->bytes, LC_MAX_JSON_BYTES);
    }
    return scan_bom(s);
}

static lc_code scan_end(scan *s)
{
    skip_blanks(s);
    return s->at < s->bytes ? fail_expected(s, "the end of the text") : LC_OK;
}

/* ---- what was pulled ---- */

size_t lc_json_decode(const char *text, const lc_json_raw *raw, char *out, size_t capacity)
{
    if (!raw->has_escapes) {
        memcpy(out, text + raw->at, raw->bytes < capacity ? raw->bytes : capacity);
        return raw->bytes;
    }
    decoder d = decode((const unsigned char *)text, raw->at, raw->bytes);
    size_t count = 0;
    for (int c = next_byte(&d); c != END_OF_STRING; c = next_byte(&d), count++) {
        if (count < capacity) {
            out[count] = (char)c;
        }
    }
    return count;
}

bool lc_json_raw_is(const lc_json_pull *s, const lc_json_raw *raw, const char *text)
{
    return raw->bytes == strlen(text) && memcmp(s->text + raw->at, text, raw->bytes) == 0;
}

bool lc_json_unsigned(const lc_json_pull *s, const lc_json_value *value, uint64_t max,
                      uint64_t *out)
{
    uint64_t number = 0;
    if (value->kind != LC_JSON_NUMBER || value->raw.bytes > 18) {
        return false;
    }
    for (size_t i = 0; i < value->raw.bytes; i++) {
        const unsigned char c = s->text[value->raw.at + i];
        if (c < '0' || c > '9') {
            return false;
        }
        number = 10 * number + (c - '0');
    }
    *out = number;
    return number <= max;
}
