/* What the methods of str and the filters do to texts; see jinja_run.h. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "lorac/mem.h"
#include "text/jinja_run.h"
#include "text/jinja_unicode.h"
#include "text/utf8.h"

size_t lc_jinja_char_offset(const char *text, size_t bytes, size_t index)
{
    size_t at = 0;
    for (; at < bytes; at++) {
        if (((unsigned char)text[at] & 0xc0) != 0x80 && index-- == 0) {
            break;
        }
    }
    return at;
}

/* The character at byte `at` and how long it is. */
static uint32_t code_at(const lc_jvalue *text, size_t at, size_t *length)
{
    *length = 1;
    if ((unsigned char)text->text[at] < 0x80) {
        return (unsigned char)text->text[at];
    }
    (void)lc_utf8_next(text->text + at, text->bytes - at, length);
    return lc_utf8_decode(text->text + at, *length);
}

/* ---- stripping ---- */

static bool is_stripped(const lc_jvalue *text, size_t at, size_t length, const lc_jvalue *chars)
{
    size_t ignored = 0;
    return chars == NULL ? lc_char_is_space(code_at(text, at, &ignored))
                         : memmem(chars->text, chars->bytes, text->text + at, length) != NULL;
}

lc_jvalue lc_jinja_strip(const lc_jvalue *text, const lc_jvalue *chars, bool left, bool right)
{
    size_t begin = 0, end = text->bytes;
    while (left && begin < end) {
        size_t length = 1;
        (void)code_at(text, begin, &length);
        if (!is_stripped(text, begin, length, chars)) {
            break;
        }
        begin += length;
    }
    while (right && end > begin) {
        size_t at = end - 1;
        while (at > begin && ((unsigned char)text->text[at] & 0xc0) == 0x80) {
            at--;
        }
        if (!is_stripped(text, at, end - at, chars)) {
            break;
        }
        end = at;
    }
    return lc_jinja_part(text, begin, end);
}

/* ---- case ---- */

/* Whether a capital sigma at `at` is the last letter of its word. */
static bool is_final_sigma(const lc_jvalue *text, size_t at, size_t behind)
{
    size_t from = at, length = 1;
    bool has_before = false;
    while (from > 0 && !has_before) {
        do {
            from--;
        } while (from > 0 && ((unsigned char)text->text[from] & 0xc0) == 0x80);
        const uint32_t code = code_at(text, from, &length);
        if (!lc_char_is_case_ignorable(code)) {
            if (!lc_char_is_cased(code)) {
                return false;
            }
            has_before = true;
        }
    }
    for (; has_before && behind < text->bytes; behind += length) {
        const uint32_t code = code_at(text, behind, &length);
        if (!lc_char_is_case_ignorable(code)) {
            return !lc_char_is_cased(code);
        }
    }
    return has_before;
}

static size_t map_char(const lc_jvalue *text, size_t at, size_t length, lc_jcase to, bool is_inside,
                       uint32_t out[3])
{
    size_t ignored = 1;
    const uint32_t code = code_at(text, at, &ignored);
    bool is_up = to == LC_J_UPPER;
    if (to == LC_J_FOLD) {
        return lc_char_fold(code, out);
    }
    if (to == LC_J_SWAP) {
        const unsigned classes = lc_char_classes(code);
        if ((classes & (LC_CHAR_LOWER | LC_CHAR_UPPER)) == 0) {
            out[0] = code;
            return 1;
        }
        is_up = (classes & LC_CHAR_LOWER) != 0;
    } else if ((to == LC_J_TITLE || to == LC_J_CAPITAL) && !is_inside) {
        return lc_char_title(code, out);
    }
    if (is_up) {
        return lc_char_upper(code, out);
    }
    if (code == 0x3a3 && is_final_sigma(text, at, at + length)) {
        out[0] = 0x3c2;
        return 1;
    }
    return lc_char_lower(code, out);
}

static bool is_ascii(const lc_jvalue *text)
{
    for (size_t i = 0; i < text->bytes; i++) {
        if ((unsigned char)text->text[i] >= 0x80) {
            return false;
        }
    }
    return true;
}

/* ASCII: a byte a character. */
static void change_ascii(const lc_jvalue *text, lc_jcase to, char *out)
{
    bool is_inside = false;
    for (size_t i = 0; i < text->bytes; i++) {
        const char c = text->text[i];
        const bool is_lower = c >= 'a' && c <= 'z', is_upper = c >= 'A' && c <= 'Z';
        const bool is_up = to == LC_J_UPPER || (to == LC_J_SWAP && is_lower) ||
                           ((to == LC_J_TITLE || to == LC_J_CAPITAL) && !is_inside);
        out[i] = is_up && is_lower ? (char)(c - 32) : !is_up && is_upper ? (char)(c + 32) : c;
        is_inside = to == LC_J_CAPITAL || is_lower || is_upper;
    }
}

lc_code lc_jinja_change_case(lc_jvm *vm, const lc_jvalue *text, lc_jcase to, lc_jvalue *out)
{
    char *copy = NULL;
    size_t used = 0, length = 1;
    bool is_inside = false;
    if (is_ascii(text)) {
        LC_TRY(lc_jinja_new_text(vm, text->bytes, &copy));
        change_ascii(text, to, copy);
        *out = lc_jinja_text(copy, text->bytes);
        out->flags = text->flags;
        return LC_OK;
    }
    LC_TRY(lc_jinja_pay(vm, (size_t)text->bytes * 16));
    LC_TRY(lc_jinja_new_text(vm, (size_t)text->bytes * 6, &copy)); /* three for one, at most */
    for (size_t at = 0; at < text->bytes; at += length) {
        uint32_t mapped[3];
        const uint32_t code = code_at(text, at, &length);
        const size_t count = map_char(text, at, length, to, is_inside, mapped);
        for (size_t i = 0; i < count; i++) {
            used += lc_utf8_encode(mapped[i], copy + used);
        }
        is_inside = to == LC_J_CAPITAL || (to == LC_J_TITLE && lc_char_is_cased(code));
    }
    *out = lc_jinja_text(copy, used);
    out->flags = text->flags;
    return LC_OK;
}

bool lc_jinja_is_lower(const lc_jvalue *text, bool is_upper)
{
    const unsigned wanted = is_upper ? LC_CHAR_UPPER : LC_CHAR_LOWER;
    bool has_one = false;
    size_t length = 1;
    for (size_t at = 0; at < text->bytes; at += length) {
        const unsigned classes = lc_char_classes(code_at(text, at, &length));
        const unsigned cased = classes & (LC_CHAR_UPPER | LC_CHAR_LOWER | LC_CHAR_TITLE);
        if (cased != 0 && (cased & wanted) == 0) {
            return false;
        }
        has_one = has_one || cased != 0;
    }
    return has_one;
}

/* ---- building ---- */

static size_t count_occurrences(const lc_jvalue *text, const lc_jvalue *part, int64_t most)
{
    size_t count = 0;
    const char *at = text->text, *end = text->text + text->bytes;
    while (most < 0 || (int64_t)count < most) {
        const char *found = memmem(at, (size_t)(end - at), part->text, part->bytes);
        if (found == NULL) {
            break;
        }
        count++;
        at = found + part->bytes;
    }
    return count;
}

/* The new text before every character and at the end. */
static lc_code replace_nothing(lc_jvm *vm, const lc_jvalue *text, const lc_jvalue *new_text,
                               int64_t most, lc_jvalue *out)
{
    const size_t chars = lc_jinja_count_chars(text->text, text->bytes);
    size_t count = most < 0 || (uint64_t)most > chars + 1 ? chars + 1 : (size_t)most;
    size_t bytes = 0, used = 0, length = 1, at = 0;
    char *copy = NULL;
    if (!lc_mul_size(count, new_text->bytes, &bytes) || !lc_add_size(bytes, text->bytes, &bytes) ||
        bytes > LC_MAX_TEMPLATE_MEMORY) {
        return lc_jinja_fail(vm, "replace: the text becomes too long");
    }
    LC_TRY(lc_jinja_new_text(vm, bytes, &copy));
    for (; count > 0; count--) {
        memcpy(copy + used, new_text->text, new_text->bytes);
        used += new_text->bytes;
        if (at < text->bytes) {
            (void)code_at(text, at, &length);
            memcpy(copy + used, text->text + at, length);
            used += length;
            at += length;
        }
    }
    memcpy(copy + used, text->text + at, text->bytes - at);
    *out = lc_jinja_text(copy, bytes);
    return LC_OK;
}

lc_code lc_jinja_replace(lc_jvm *vm, const lc_jvalue *text, const lc_jvalue *old,
                         const lc_jvalue *new_text, int64_t most, lc_jvalue *out)
{
    size_t extra = 0, bytes = 0;
    char *copy = NULL;
    LC_TRY(lc_jinja_pay(vm, text->bytes));
    if (old->bytes == 0) {
        return replace_nothing(vm, text, new_text, most, out);
    }
    const size_t count = count_occurrences(text, old, most);
    if (count == 0) {
        *out = *text;
        out->flags = 0;
        return LC_OK;
    }
    bytes = text->bytes - count * old->bytes;
    if (!lc_mul_size(count, new_text->bytes, &extra) || !lc_add_size(bytes, extra, &bytes) ||
        bytes > LC_MAX_TEMPLATE_MEMORY) {
        return lc_jinja_fail(vm, "replace: the text becomes too long");
    }
    LC_TRY(lc_jinja_new_text(vm, bytes, &copy));
    const char *at = text->text, *end = text->text + text->bytes;
    char *to = copy;
    for (size_t i = 0; i < count; i++) {
        const char *found = memmem(at, (size_t)(end - at), old->text, old->bytes);
        memcpy(to, at, (size_t)(found - at));
        to += found - at;
        memcpy(to, new_text->text, new_text->bytes);
        to += new_text->bytes;
        at = found + old->bytes;
    }
    memcpy(to, at, (size_t)(end - at));
    *out = lc_jinja_text(copy, bytes);
    return LC_OK;
}

static bool is_line_end(uint32_t code)
{
    return (code >= 10 && code <= 13) || (code >= 0x1c && code <= 0x1e) || code == 0x85 ||
           code == 0x2028 || code == 0x2029;
}

lc_code lc_jinja_split_lines(lc_jvm *vm, const lc_jvalue *text, bool keeps_ends, lc_jvalue *out)
{
    lc_jlist *list = NULL;
    lc_jvalue made;
    size_t capacity = 0, begin = 0, length = 1;
    LC_TRY(lc_jinja_pay(vm, text->bytes));
    LC_TRY(lc_jinja_list(vm, LC_J_LIST, 0, &list, &made));
    for (size_t at = 0; at < text->bytes;) {
        const uint32_t code = code_at(text, at, &length);
        size_t behind = at + length;
        if (!is_line_end(code)) {
            at = behind;
            continue;
        }
        behind += code == '\r' && behind < text->bytes && text->text[behind] == '\n';
        const lc_jvalue line = lc_jinja_part(text, begin, keeps_ends ? behind : at);
        LC_TRY(lc_jinja_append(vm, list, &capacity, &line));
        begin = at = behind;
    }
    if (begin < text->bytes) {
        const lc_jvalue line = lc_jinja_part(text, begin, text->bytes);
        LC_TRY(lc_jinja_append(vm, list, &capacity, &line));
    }
    *out = made;
    return LC_OK;
}

lc_code lc_jinja_repeat(lc_jvm *vm, const lc_jvalue *text, int64_t count, lc_jvalue *out)
{
    size_t bytes = 0;
    char *copy = NULL;
    if (!lc_mul_size(count > 0 ? (size_t)count : 0, text->bytes, &bytes) ||
        bytes > LC_MAX_TEMPLATE_MEMORY) {
        return lc_jinja_fail(vm,
                             "the template's values take more than %zu MiB "
                             "(LC_MAX_TEMPLATE_MEMORY)",
                             LC_MAX_TEMPLATE_MEMORY >> 20);
    }
    LC_TRY(lc_jinja_new_text(vm, bytes, &copy));
    for (size_t at = 0; at < bytes; at += text->bytes) {
        memcpy(copy + at, text->text, text->bytes);
    }
    *out = lc_jinja_text(copy, bytes);
    out->flags = text->flags;
    return LC_OK;
}

lc_code lc_jinja_pad(lc_jvm *vm, const lc_jvalue *text, const lc_jvalue *fill, size_t left,
                     size_t right, lc_jvalue *out)
{
    lc_jvalue before, after;
    LC_TRY(lc_jinja_repeat(vm, fill, left > INT32_MAX ? INT32_MAX : (int64_t)left, &before));
    LC_TRY(lc_jinja_repeat(vm, fill, right > INT32_MAX ? INT32_MAX : (int64_t)right, &after));
    LC_TRY(lc_jinja_join_texts(vm, &before, text, &before));
    LC_TRY(lc_jinja_join_texts(vm, &before, &after, out));
    out->flags = text->flags;
    return LC_OK;
}

/* ---- numbers ---- */

/* Digits of any script as ASCII, white space off both ends; false where something else stands. */
static bool plain_number(const lc_jvalue *text, char *out, size_t capacity)
{
    const lc_jvalue inner = lc_jinja_strip(text, NULL, true, true);
    size_t used = 0, length = 1;
    for (size_t at = 0; at < inner.bytes; at += length) {
        const uint32_t code = code_at(&inner, at, &length);
        const int digit = lc_char_decimal(code);
        if ((code >= 0x80 && digit < 0) || used + 1 >= capacity || code == 0) {
            return false;
        }
        out[used++] = digit >= 0 ? (char)('0' + digit) : (char)code;
    }
    out[used] = '\0';
    return used > 0;
}

/* Drops underscores, which must stand between digits of `base`. */
static bool drop_underscores(char *digits, int64_t base)
{
    char *to = digits;
    for (const char *at = digits; *at != '\0'; at++) {
        if (*at != '_') {
            *to++ = *at;
            continue;
        }
        const char before = at > digits ? at[-1] : '\0';
        const bool has_before = (before >= '0' && before <= '9') ||
                                (base > 10 && ((before | 0x20) >= 'a' && (before | 0x20) <= 'z'));
        const bool has_after = (at[1] >= '0' && at[1] <= '9') ||
                               (base > 10 && ((at[1] | 0x20) >= 'a' && (at[1] | 0x20) <= 'z'));
        if (!has_before || !has_after) {
            return false;
        }
    }
    *to = '\0';
    return true;
}

/* 0x, 0o, 0b: *base becomes theirs where it is 0 or the same. */
static char *skip_prefix(char *at, int64_t *base)
{
    const char letter = at[0] == '0' && at[1] != '\0' ? (char)(at[1] | 0x20) : '\0';
    const int64_t prefixed = letter == 'x' ? 16 : letter == 'o' ? 8 : letter == 'b' ? 2 : 0;
    if (prefixed != 0 && (*base == 0 || *base == prefixed)) {
        *base = prefixed;
        at += 2;
        return *at == '_' ? at + 1 : at;
    }
    if (*base == 0) {
        *base = 10;
        const size_t zeros = strspn(at, "0_");
        if (at[0] == '0' && at[zeros] != '\0') {
            return NULL; /* 010 is no number of base 0 */
        }
    }
    return at;
}

lc_jparsed lc_jinja_parse_int(const lc_jvalue *text, int64_t base, int64_t *out)
{
    char digits[512], *end = NULL;
    if (!plain_number(text, digits, sizeof digits)) {
        return LC_J_BAD_NUMBER;
    }
    const bool is_minus = digits[0] == '-';
    char *at = digits + (is_minus || digits[0] == '+');
    at = skip_prefix(at, &base);
    if (at == NULL || base < 2 || base > 36 || !drop_underscores(at, base) || *at == '\0' ||
        *at == '-' || *at == '+' || lc_char_is_space((unsigned char)*at) ||
        (base == 16 && at[0] == '0' && (at[1] | 0x20) == 'x')) {
        return LC_J_BAD_NUMBER;
    }
    errno = 0;
    const unsigned long long value = strtoull(at, &end, (int)base);
    if (*end != '\0') {
        return LC_J_BAD_NUMBER;
    }
    if (errno != 0 || value > (unsigned long long)INT64_MAX + is_minus) {
        return LC_J_TOO_LARGE;
    }
    *out = is_minus ? (int64_t)(0 - value) : (int64_t)value;
    return LC_J_NUMBER;
}

static bool is_word(const char *text, const char *const *words)
{
    const char *at = text + (*text == '-' || *text == '+');
    for (; *words != NULL; words++) {
        size_t i = 0;
        while ((*words)[i] != '\0' && (at[i] | 0x20) == (*words)[i]) {
            i++;
        }
        if ((*words)[i] == '\0' && at[i] == '\0') {
            return true;
        }
    }
    return false;
}

bool lc_jinja_parse_float(lc_jvm *vm, const lc_jvalue *text, double *out)
{
    static const char *const words[] = {"inf", "infinity", "nan", NULL};
    char digits[1100], *end = NULL;
    (void)vm;
    if (!plain_number(text, digits, sizeof digits) || !drop_underscores(digits, 10)) {
        return false;
    }
    const bool is_plain = strspn(digits, "+-.0123456789eE") == strlen(digits);
    if (!is_plain && !is_word(digits, words)) {
        return false;
    }
    *out = strtod(digits, &end);
    return *end == '\0' && end != digits;
}
